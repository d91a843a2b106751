"""`apilens rejects`: lines that were set aside."""

from __future__ import annotations

import sys

import click

from apilens.cli.options import lake_option, log_format_from_option, moment, now_option, output_option, tz_option
from apilens.errors import Exit


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@lake_option
@click.option("--refeed", is_flag=True, help="Parse the rejects again; what fits now is stored.")
@click.option("--format", "format_", metavar="NAME", help="With --refeed: read as this format.")
@click.option("--log-format", metavar="LAYOUT", help="With --refeed: the layout these lines have.")
@log_format_from_option
@click.option("--columns", multiple=True, metavar="COLUMN=NAME[:UNIT]", help="With --refeed: a table's columns.")
@tz_option
@now_option
@output_option("table", "ndjson", "raw")
def rejects(
    inputs: tuple[str, ...],
    lake: str,
    refeed: bool,
    format_: str | None,
    log_format: str | None,
    log_format_from: str | None,
    columns: tuple[str, ...],
    tz: str | None,
    now: str | None,
    output: str,
) -> int:
    """List the lines that no layout took, with input, line, byte offset and reason; or feed them again.

    INPUT: only lines of this input. A line that is fed again and fits is stored exactly once and leaves the list.
    --output raw prints the lines themselves, secrets masked.

    \b
    apilens rejects access.log
    apilens rejects --refeed --log-format '$remote_addr [$time_local] "$request" $status'
    """
    from datetime import UTC, datetime

    import polars as pl

    from apilens.cli.inputs import parse_options
    from apilens.ingest.refeed import refeed as feed
    from apilens.lake import open_lake
    from apilens.reports.ndjson import as_text
    from apilens.reports.terminal import Column, safe, table

    opened = open_lake(lake)
    if refeed:
        options = parse_options(format_, log_format, columns, tz, log_format_from)
        done = feed(opened, options, inputs, now=moment(now) or datetime.now(UTC))
        click.echo(
            f"read {done.read:,} rejects = stored {done.stored:,} + filtered {done.filtered:,}"
            f" + still rejected {done.still_rejected.height:,}"
        )
        return Exit.PARTIAL if done.still_rejected.height else Exit.DONE
    rows = opened.rejects().sort("source_file", "source_offset")
    if inputs:
        rows = rows.filter(pl.col("source_file").is_in(inputs))
    if output == "raw":
        for raw in rows["raw"].to_list():
            sys.stdout.buffer.write(raw + b"\n")
        return Exit.DONE
    listed = rows.select("source_file", "line", "source_offset", "reason", "raw", "format")
    listed = as_text(listed)
    if output == "ndjson":
        click.echo(listed.write_ndjson(), nl=False)
        return Exit.DONE
    if listed.is_empty():
        click.echo(f"no rejected lines{' of ' + safe(', '.join(inputs)) if inputs else ''}", err=True)
        return Exit.DONE
    headings: list[Column | str] = ["input", Column("line", "right"), Column("offset", "right"), "reason", "text"]
    table("", headings, ((*row[:4], row[4][:120]) for row in listed.iter_rows()))
    return Exit.DONE
