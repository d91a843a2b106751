"""`apilens related`: problems that cause or block each other."""

from __future__ import annotations

from datetime import datetime

import click

from apilens.cli.options import decision_options, lake_option, output_option, state_option
from apilens.errors import Exit


@click.group(invoke_without_command=True)
@output_option("table", "json", "ndjson")
@lake_option
@state_option
@click.pass_context
def related(ctx: click.Context, output: str, lake: str, state: str | None) -> int:
    """Which problem causes or blocks which: proposed from shared machines, consumers and time, decided by people.

    Reads the state, changes nothing.

    \b
    apilens related
    apilens related confirm LATER caused_by EARLIER
    """
    if ctx.invoked_subcommand is not None:
        return Exit.DONE
    from apilens.pipeline import people
    from apilens.reports.ndjson import for_machines
    from apilens.reports.terminal import table

    found = people.related_problems(lake=lake, state=state)
    if (text := for_machines(found, output, "related")) is not None:
        click.echo(text, nl=False)
    else:
        table(
            f"{found.height:,} pairs",
            ["problem", "is", "other", "verdict", "because"],
            ((row["id"], row["kind"], row["other"], row["verdict"], row["why"]) for row in found.to_dicts()),
        )
    return Exit.DONE


def _deciding(verdict: str, help_text: str) -> click.Command:
    @related.command(verdict.removesuffix("ed"), help=help_text)
    @click.argument("candidate")
    @click.argument("kind", type=click.Choice(["caused_by", "blocks"]))
    @click.argument("other")
    @decision_options
    @lake_option
    @state_option
    def decide(
        candidate: str,
        kind: str,
        other: str,
        who: str,
        why: str | None,
        now: datetime,
        lake: str,
        state: str | None,
    ) -> int:
        from apilens.pipeline import people

        people.decide_related(candidate, kind, other, verdict, lake=lake, state=state, who=who, why=why, now=now)
        return Exit.DONE

    return decide


_deciding(
    "confirmed",
    """Say that a problem is caused by, or blocks, another one; it holds for every occurrence of the two.

    \b
    apilens related confirm LATER caused_by EARLIER --who kim
    apilens related confirm MIGRATION blocks FIX
    """,
)
_deciding(
    "rejected",
    """Say that it does not; it is not proposed again.

    \b
    apilens related reject LATER caused_by EARLIER --why "chance"
    apilens related reject A blocks B --who kim
    """,
)
