"""`apilens endpoints`: error ratios and latency percentiles."""

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
    until_option,
)
from apilens.errors import Exit

if TYPE_CHECKING:
    import polars as pl


@click.command()
@since_option
@until_option
@now_option
@click.option("--exact", is_flag=True, help="Percentiles of the logged values; default: histograms, within 1 %.")
@click.option("--include-synthetic", is_flag=True, help="Count bots, scanners and health checks too.")
@openapi_option
@lake_option
@config_option
@output_option("table", "json", "ndjson", "csv", "markdown")
def endpoints(
    since: str | None,
    until: str | None,
    now: str | None,
    exact: bool,
    include_synthetic: bool,
    openapi: str | None,
    lake: str,
    config: str | None,
    output: str,
) -> int:
    """Calls, error ratio (5xx), client error ratio (4xx), latency percentiles, Apdex and bytes of every endpoint.

    Bots, scanners and health checks are set apart, and how many they were is said; --include-synthetic counts them.

    Reads the rollups, so the cost does not grow with the number of calls; --exact reads the calls of the window.

    \b
    apilens endpoints --since 24h
    apilens endpoints --since 2026-03-09T06:00Z --output json
    """
    from datetime import UTC, datetime

    import polars as pl

    from apilens.config import load_config
    from apilens.lens import Lens

    lens = Lens(lake, load_config(config), openapi=openapi)
    clock = moment(now) or datetime.now(UTC)
    found, apart = lens.endpoints_and_apart(since, until, now=clock, exact=exact, include_synthetic=include_synthetic)
    apart = {} if include_synthetic else apart
    if any(apart.values()):
        print_set_apart(apart, "; --include-synthetic counts them")
    elif found.is_empty():
        end = lens.data_end
        if end is None:
            click.echo("the lake holds no calls yet; next: apilens ingest YOUR.log", err=True)
        else:
            ended = f"{end:%Y-%m-%dT%H:%M:%SZ}"
            again = command_line("endpoints", given={"--since": since or "24h", "--now": ended, **lake_given(lake)})
            click.echo(f"no calls in this window; the data end at {ended}. Next: {again}", err=True)
    if found.height:
        first, last = found.select(pl.col("first_seen").min(), pl.col("last_seen").max()).row(0)
        of = f"{found.height:,} endpoint{'s' if found.height > 1 else ''}"
        click.echo(
            f"{found['calls'].sum():,} calls of {of}, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC", err=True
        )
    print_endpoints(found, output, apart)
    return Exit.DONE


def print_set_apart(apart: dict[str, int], advice: str = "") -> None:
    """How many calls are no real use, by kind, to stderr; nothing where there are none."""
    total = sum(apart.values())
    kinds = [f"{kind.replace('_', ' ')}s" + (f" ({n:,})" if n < total else "") for kind, n in apart.items() if n]
    if kinds:
        listed = " and ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))
        calls = "1 call" if total == 1 else f"{total:,} calls"
        click.echo(f"{calls} of {listed} {'is' if total == 1 else 'are'} set apart{advice}", err=True)


def print_endpoints(
    found: pl.DataFrame, output: str, apart: dict[str, int] | None = None, *, first: int | None = None
) -> None:
    """Endpoints to stdout in one of the command's forms; apart: calls set apart by kind; first: only so many rows of a table."""
    from apilens.reports.csv import csv_text
    from apilens.reports.markdown import markdown_table
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, endpoint_names, table
    from apilens.reports.units import count, milliseconds, percent, size

    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        rows = records(found)
        click.echo(json.dumps({"schema_version": 1, "endpoints": rows, "set_apart": apart or {}}, ensure_ascii=False))
    elif output == "csv":
        click.echo(csv_text(found), nl=False)
    else:
        timed = found["p50_ms"].null_count() < found.height
        latency = ["p50", "p90", "p95", "p99", "apdex"] if timed else []
        # Of no endpoint a byte: the log does not have them. A rollup says 0 for "not logged".
        sized = ["bytes"] if found["response_bytes"].sum() else []
        headings = ["endpoint", "calls", "5xx", "4xx", *latency, *sized, "last seen (UTC)"]
        cells = [
            (
                endpoint,
                count(row["calls"]),
                percent(row["error_ratio"]),
                percent(row["client_error_ratio"]),
                *(milliseconds(row[f"{name}_ms"]) for name in latency[:-1]),
                *((None if row["apdex"] is None else f"{row['apdex']:.2f}",) if timed else ()),
                *([size(row["response_bytes"] or None)] if sized else []),
                f"{row['last_seen']:%Y-%m-%d %H:%M}",
            )
            for endpoint, row in zip(
                endpoint_names(found), found.head(first or found.height).iter_rows(named=True), strict=False
            )
        ]
        spare = ("p90", "apdex", "bytes", "last seen (UTC)")
        columns = [Column(name, "right" if name != "endpoint" else "left", spare=name in spare) for name in headings]
        if output == "markdown":
            click.echo(markdown_table(columns, cells), nl=False)
            return
        table("", columns, cells)
        if found.height and not timed:
            click.echo(
                "no call has a duration, so there is no latency; let the gateway log one (NGINX $request_time, httpd %D)."
                " In JSON and CSV a name has to tell the unit (latency_ms), or --columns does: duration_ms=NAME:s, and all other columns",
                err=True,
            )
        if first is not None and found.height > first:
            click.echo(f"… and {found.height - first} more: --top {found.height}")
