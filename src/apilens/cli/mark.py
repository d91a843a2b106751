"""`apilens mark`: moments that explain changes."""

from __future__ import annotations

import json

import click

from apilens.cli.options import lake_option, moment, now_option, output_option
from apilens.errors import Exit, UsageError


@click.command()
@click.argument("kind", required=False, type=click.Choice(["go-live", "deploy"]))
@click.argument("time", required=False)
@click.option("--label", "label", metavar="TEXT", help="What happened, for example orders 1.8.2; default: KIND.")
@click.option(
    "--remove", "remove", is_flag=True, help="Take out the marks of this KIND, TIME and, where given, --label."
)
@now_option
@lake_option
@output_option("table", "json")
def mark(
    kind: str | None, time: str | None, label: str | None, remove: bool, now: str | None, lake: str, output: str
) -> int:
    """Keep a moment with the lake, or list those that are kept: KIND go-live or deploy, TIME as for --since.

    A go-live tells the scan from when on endpoints are new: what is bad since then is a standing fault, found within
    days 0 to 4; what was called before it (a test run) is what it compares with. All marks stand in the report's
    charts, beside those of apilens.toml. The same mark twice is kept once; --remove takes out one that was wrong.

    \b
    apilens mark go-live 2026-03-09T06:00Z
    apilens mark deploy 2h --label "orders 1.8.2"
    apilens mark go-live 2026-03-09T06:00Z --remove
    """
    from datetime import UTC, datetime

    from apilens.lens import Lens
    from apilens.pipeline import incidents
    from apilens.reports.terminal import table
    from apilens.window import parse_time

    if kind is not None:
        if time is None:
            raise UsageError(f"apilens mark {kind} needs a TIME, for example 2026-03-09T06:00Z or now")
        at = parse_time(time, now=moment(now) or datetime.now(UTC))
        if remove:
            gone = incidents.unmark(lake, at, label or None, go_live=kind == "go-live")
            click.echo(f"{gone} mark{'' if gone == 1 else 's'} removed", err=True)
        else:
            incidents.mark(lake, at, label or kind, go_live=kind == "go-live")
    elif remove:
        raise UsageError("--remove needs a mark; for example: apilens mark go-live 2026-03-09T06:00Z --remove")
    elif label is not None:
        raise UsageError("--label needs a mark; for example: apilens mark deploy now --label 'orders 1.8.2'")
    marks = Lens(lake).marks
    if output == "json":
        rows = [{"time": one.time.isoformat(), "label": one.label, "go_live": one.go_live} for one in marks]
        click.echo(json.dumps({"schema_version": 1, "marks": rows}, ensure_ascii=False))
    elif not marks:
        click.echo(
            "no marks yet; next: apilens mark go-live TIME, or apilens mark deploy now --label 'orders 1.8.2'", err=True
        )
    else:
        table(
            "", ["time (UTC)", "kind", "label"],
            ((f"{one.time:%Y-%m-%d %H:%M}", "go-live" if one.go_live else "deploy", one.label) for one in marks),
        )  # fmt: skip
    return Exit.DONE
