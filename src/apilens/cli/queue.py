"""`apilens queue`: the ranked queue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from apilens.cli.options import context_option, lake_option, moment, now_option, output_option, state_option
from apilens.errors import Exit

if TYPE_CHECKING:
    import polars as pl

_HEADINGS = ("rank", "priority", "weight", "severity", "hit", "told", "silent", "problem", "why")
_NUMBERS = ("rank", "weight", "hit", "told", "silent")


@click.command()
@context_option
@now_option
@click.option(
    "--silent", is_flag=True, help="Whom to tell: problems with consumers who were hit and said nothing, most first."
)
@output_option("table", "json", "ndjson", "markdown")
@lake_option
@state_option
def queue(context: str | None, now: str | None, silent: bool, output: str, lake: str, state: str | None) -> int:
    """Rank candidates and reports together: severity, priority with its parts, and who was hit, told, stayed silent.

    Reads the state database, changes nothing. Links, context and --now are those of the last `apilens triage` unless
    given. One row per problem, heaviest first.

    \b
    apilens queue
    apilens queue --output json | jq '.queue[] | select(.silent > 10) | .silent_consumers'
    """
    from apilens.pipeline import people
    from apilens.reports.markdown import md
    from apilens.reports.terminal import Column, table
    from apilens.triage import silent_first, surprise

    ranked = people.queue(lake=lake, state=state, context=context, now=moment(now))
    if silent:
        ranked = silent_first(ranked)
    if output == "ndjson":
        click.echo(ranked.write_ndjson(), nl=False)
    elif output == "json":
        rows = [json.loads(line) for line in ranked.write_ndjson().split("\n")[:-1]]
        click.echo(json.dumps({"schema_version": 1, "queue": rows}, ensure_ascii=False))
    elif output == "markdown":
        click.echo("| " + " | ".join(_HEADINGS) + " |")
        click.echo("|" + "|".join("---:" if name in _NUMBERS else "---" for name in _HEADINGS) + "|")
        for cells in _rows(ranked):
            click.echo("| " + " | ".join("–" if cell is None else md(str(cell)) for cell in cells) + " |")
    elif silent:
        table(
            f"{ranked.height:,} problems with silent consumers",
            [
                "rank",
                "priority",
                Column("hit", "right"),
                Column("told", "right"),
                Column("silent", "right"),
                "known",
                "problem",
                "who to tell",
            ],
            (
                (
                    row["rank"],
                    row["priority"],
                    row["hit"],
                    row["told"],
                    row["silent"],
                    # The share of calls whose consumer is known: behind shared addresses "hit" is no number of people.
                    "–" if row["identity_coverage"] is None else f"{row['identity_coverage']:.0%}",
                    row["title"] or row["id"],
                    _some(row["silent_consumers"] or []),
                )
                for row in ranked.to_dicts()
            ),
        )
    elif ranked.is_empty():
        click.echo(
            "the queue is empty: no candidates and no feedback; type: apilens scan, apilens feedback import FILE"
        )
    else:
        columns = [Column(name, "right" if name in _NUMBERS else "left") for name in _HEADINGS]
        table(f"{ranked.height:,} problems, times in UTC", columns, _rows(ranked))
        if (why := surprise(ranked)) is not None:
            click.echo(why)
    return Exit.DONE


def _rows(ranked: pl.DataFrame) -> list[tuple[Any, ...]]:
    return [
        (
            row["rank"],
            row["priority"],
            f"{row['weight']:.1f}",
            row["severity"],
            row["hit"],
            row["told"],
            row["silent"],
            _problem(row),
            row["why"],
        )
        for row in ranked.to_dicts()
    ]


def _some(names: list[str]) -> str:
    """The first few; all of them are in --output json."""
    return ", ".join(names[:12]) + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")


def _problem(row: dict[str, Any]) -> str:
    title = row["title"] or row["id"]
    title = title if len(title) <= 120 else title[:120] + "…"
    since = f"since {row['start']:%m-%d %H:%MZ}"
    if row["kind"] == "feedback":
        return f"{row['id']}: {title} (no trace: {row['no_trace_reason']})"
    return f"{title}, {'OPEN' if row['state'] == 'open' else row['state']} {since}"
