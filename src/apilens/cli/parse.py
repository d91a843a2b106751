"""`apilens parse`: what the calls of a file would look like."""

from __future__ import annotations

import click

from apilens.cli.options import log_format_from_option, output_option, tz_option
from apilens.errors import Exit


@click.command()
@click.argument("file")
@click.option("--format", "format_", metavar="NAME", help="Read as this format instead of detecting it.")
@click.option("--log-format", metavar="LAYOUT", help="The gateway's own log_format or LogFormat, pasted as it is.")
@log_format_from_option
@click.option("--columns", multiple=True, metavar="COLUMN=NAME[:UNIT]", help="Mapping of a table's columns.")
@tz_option
@output_option("ndjson", "table")
def parse(
    file: str,
    format_: str | None,
    log_format: str | None,
    log_format_from: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    output: str,
) -> int:
    """Preview the calls of FILE (or - for standard input) as canonical rows; stores nothing and masks nothing.

    Reads the input once, a block at a time; a last line without line end is taken, as `ingest --final` does. Lines that fit
    no layout are named on stderr (exit 4).

    \b
    apilens parse access.log | head
    apilens parse access.log --log-format '$remote_addr [$time_local] "$request" $status $request_time'
    """
    import polars as pl

    from apilens.cli.inputs import parse_options
    from apilens.pipeline import logs
    from apilens.reports.csv import flat
    from apilens.reports.terminal import safe

    def say(doubt: str) -> None:
        click.echo(f"apilens: {safe(doubt)}", err=True)

    rejected = 0
    for part in logs.preview(file, parse_options(format_, log_format, columns, tz, log_format_from), say):
        calls = part.calls.drop("row")
        if output == "ndjson":
            click.echo(calls.write_ndjson(), nl=False)
        else:
            shown = [name for name in calls.columns if calls[name].null_count() < calls.height]
            text = flat(calls.select(shown)).with_columns(pl.col(pl.String).map_elements(safe, pl.String))
            click.echo(text.write_csv(separator="\t"), nl=False)
        rejected += part.rejects.height
        for row, reason in part.rejects.head(5).select("row", "reason").iter_rows():
            click.echo(f"{safe(file)}: line {row + 1}: {safe(reason)}", err=True)
    if rejected:
        click.echo(f"{rejected} lines fit no layout", err=True)
    return Exit.PARTIAL if rejected else Exit.DONE
