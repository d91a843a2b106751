"""`apilens links`: which report is about which problem, and what people say about it."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from apilens.cli.options import (
    config_option,
    lake_option,
    moment,
    now_option,
    output_option,
    state_option,
    who_option,
    why_option,
)
from apilens.errors import Exit

if TYPE_CHECKING:
    import polars as pl


@click.group(invoke_without_command=True)
@config_option
@output_option("table", "json", "ndjson")
@lake_option
@state_option
@click.pass_context
def links(ctx: click.Context, config: str | None, output: str, lake: str, state: str | None) -> int:
    """Which report is about which candidate, with confidence, band (auto, suggested, none) and reasons.

    Reads the state as the last triage left it; where feedback, candidates or rules came in since, triage runs first. Confirm what is
    suggested, reject what is wrong: both stand, and the other links learn from them.

    \b
    apilens links --output ndjson | jq 'select(.band == "suggested")'
    apilens links confirm mail:MAIL-304 f844a470c4c54bf9d8e3-20260309T1500Z
    """
    if ctx.invoked_subcommand is not None:
        return Exit.DONE
    from apilens.pipeline import people
    from apilens.reports.ndjson import for_machines

    found, anew = people.links(lake=lake, state=state, config=config)
    if anew:
        click.echo("feedback, candidates or rules came in since the last triage: linked anew", err=True)
    if (text := for_machines(found, output, "links")) is not None:
        click.echo(text, nl=False)
    else:
        show_links(f"{found.height:,} reports", found)
    return Exit.DONE


def show_links(title: str, found: pl.DataFrame) -> None:
    """Print links (schema.LINKS) as a table, the surest first."""
    from apilens.reports.terminal import Column, table

    table(
        title,
        ["item", "candidate", Column("confidence", "right"), "band", "because"],
        (
            (
                f"{row['channel']}:{row['feedback_id']}",
                row["candidate_id"],
                f"{row['confidence']:.2f}",
                row["band"],
                "; ".join(row["reasons"]),
            )
            for row in found.sort("confidence", descending=True, maintain_order=True).to_dicts()
        ),
    )


@links.command()
@click.argument("item", metavar="CHANNEL:ID")
@click.argument("candidate", required=False)
@who_option
@why_option
@now_option
@lake_option
@state_option
def confirm(
    item: str, candidate: str | None, who: str | None, why: str | None, now: str | None, lake: str, state: str | None
) -> int:
    """Say that a report is about this candidate; without one: about none of them.

    It stands whatever the logs say, and the others are linked anew with what it teaches.

    \b
    apilens links confirm mail:MAIL-304 f844a470c4c54bf9d8e3-20260309T1500Z
    apilens links confirm chat:CHAT-28 --why "about the kitchen"
    """
    return _decided(item, candidate, "confirmed", who, why, now, lake, state)


@links.command()
@click.argument("item", metavar="CHANNEL:ID")
@click.argument("candidate")
@who_option
@why_option
@now_option
@lake_option
@state_option
def reject(
    item: str, candidate: str, who: str | None, why: str | None, now: str | None, lake: str, state: str | None
) -> int:
    """Say that a report is not about this candidate; it is never linked with it again.

    \b
    apilens links reject mail:MAIL-304 f844a470c4c54bf9d8e3-20260309T1500Z
    apilens links reject chat:CHAT-35 c208d18bc9f0890ae904-20260310T0900Z --who kim
    """
    return _decided(item, candidate, "rejected", who, why, now, lake, state)


def _decided(
    item: str,
    candidate: str | None,
    verdict: str,
    who: str | None,
    why: str | None,
    now: str | None,
    lake: str,
    state: str | None,
) -> int:
    from apilens.pipeline import people
    from apilens.reports import units

    done = people.decide_link(
        item,
        candidate,
        verdict,
        lake=lake,
        state=state,
        who=who or getpass.getuser(),
        why=why,
        now=moment(now) or datetime.now(UTC),
    )
    click.echo(f"{item} {verdict}: {candidate or 'no candidate'}; linked anew as of {units.moment(done.now)}", err=True)
    return Exit.DONE
