"""`apilens scan`: what became abnormal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from apilens.cli.commandline import command_line, lake_given
from apilens.cli.options import (
    config_option,
    lake_option,
    moment,
    now_option,
    openapi_option,
    output_option,
    since_option,
    state_option,
    until_option,
)
from apilens.errors import Exit
from apilens.objects import shown_url

if TYPE_CHECKING:
    import polars as pl


@click.command()
@since_option
@until_option
@now_option
@click.option(
    "--fail-on",
    type=click.Choice(["critical", "high", "medium", "low"]),
    help="Exit 1 when an open candidate is at least this severe.",
)
@click.option(
    "--baseline",
    "baseline",
    metavar="DIR",
    help="Lake of a test run or of the old system: it counts as the days right before this lake's first call.",
)
@openapi_option
@lake_option
@state_option
@config_option
@output_option("table", "json", "ndjson")
def scan(
    since: str | None,
    until: str | None,
    now: str | None,
    fail_on: str | None,
    baseline: str | None,
    openapi: str | None,
    lake: str,
    state: str | None,
    config: str | None,
    output: str,
) -> int:
    """Compare the rollups with their own past and raise candidate tickets: one per incident, with its evidence.

    Only the past is looked at: a scan as of T finds what a scheduled scan at T had found. --now: default is the end of
    the data. --since, --until: list only candidates of that window. Candidates are kept in the state database.

    \b
    apilens scan
    apilens scan --since 24h --fail-on high --output ndjson
    """
    from apilens.pipeline import incidents
    from apilens.reports.ndjson import ndjson_text, records

    result = incidents.scan(
        lake, state, since=since, until=until, now=moment(now), openapi=openapi, config=config, baseline=baseline
    )
    found, advice = result.candidates, None
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        rows = records(found)
        body = {"schema_version": 1, "now": result.now and result.now.isoformat(), "candidates": rows}
        click.echo(json.dumps(body, ensure_ascii=False))
    elif found.height:
        worst = print_candidates(found)
        where = lake_given(lake)
        advice = f"why: {command_line('explain', worst, given=where)}; ranked with what people report: "
        advice += f"{command_line('triage', given=where)} && {command_line('queue', given=where)}"
    elif result.now is not None:
        asked = " ".join(f"{flag} {given}" for flag, given in (("--since", since), ("--until", until)) if given)
        looked = (
            f"in the calls from {result.begin:%Y-%m-%d %H:%M}Z to {result.now:%Y-%m-%d %H:%M}Z"
            if result.begin is not None
            else f"and no calls before {result.now:%Y-%m-%d %H:%M}Z"
        )
        click.echo(f"nothing abnormal found {f'with {asked}, ' if asked else ''}{looked}")
    if result.now is None:
        click.echo("the lake holds no calls yet; next: apilens ingest YOUR.log", err=True)
    else:
        click.echo(f"as of {result.now:%Y-%m-%d %H:%M}Z: {result.summary()}", err=True)
        click.echo(", ".join(f"{number} {name}" for name, number in result.changes.items()), err=True)
    if result.with_past is not None:
        known, many = result.with_past
        said = f"the baseline has a past for {known:,} of {many:,} endpoints"
        if known == 0:
            its = command_line("endpoints", given={"--lake": baseline and shown_url(baseline)})
            said += f": it changes nothing, as none has their methods and routes; see {its}"
        click.echo(said, err=True)
    if advice is not None:
        click.echo(advice, err=True)
    return Exit.FINDINGS if fail_on is not None and result.at_least(fail_on) else Exit.DONE


def print_candidates(found: pl.DataFrame) -> str:
    """Candidates for people, the most severe first; the id of the first open one, else of the first."""
    from apilens.reports.terminal import Column, several_environments, table
    from apilens.reports.units import count
    from apilens.schema import SEVERITIES

    ranked = found.sort(
        found["severity"].replace_strict({name: i for i, name in enumerate(SEVERITIES)}, default=9),
        -found["score"],
        maintain_order=True,
    )
    several = several_environments(found)
    table(
        "",
        [
            "severity",
            "state",
            *(["environment"] if several else []),
            "since (UTC)",
            Column("hit", "right"),
            Column("excess", "right", spare=True),
            "problem",
            "id",
        ],
        (
            (
                row["severity"],
                row["state"],
                *([row["environment"]] if several else []),
                # Of errors the first one is known to the second, else the five minutes in which it began.
                f"{row['first_affected_at']:%m-%d %H:%M:%S}"
                if row["first_affected_at"]
                else f"{row['start']:%m-%d %H:%M}",
                row["consumers_hit"],
                count(round(row["excess_calls"])),
                row["title"],
                row["id"],
            )
            for row in ranked.iter_rows(named=True)
        ),
    )
    return str(ranked.sort(ranked["state"] != "open", maintain_order=True)["id"][0])
