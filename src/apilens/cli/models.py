"""`apilens models`: what the AI gateways' models cost and how they answer."""

from __future__ import annotations

import json

import click

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


@click.command()
@since_option
@until_option
@now_option
@click.option("--include-synthetic", is_flag=True, help="Count bots, scanners and health checks too.")
@openapi_option
@lake_option
@config_option
@output_option("table", "json", "ndjson", "csv")
def models(
    since: str | None,
    until: str | None,
    now: str | None,
    include_synthetic: bool,
    openapi: str | None,
    lake: str,
    config: str | None,
    output: str,
) -> int:
    """Calls, error ratio (5xx), share of 429, tokens and latency per provider, model and endpoint of AI gateways.

    A call counts here when its gateway logged a provider, a model or tokens. Reads the calls of the window.

    \b
    apilens models --since 24h
    apilens models --output csv
    """
    from datetime import UTC, datetime

    from apilens.config import load_config
    from apilens.lens import Lens
    from apilens.reports.csv import csv_text
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, endpoint_names, table
    from apilens.reports.units import count, milliseconds, percent

    lens = Lens(lake, load_config(config), openapi=openapi)
    clock = moment(now) or datetime.now(UTC)
    found = lens.models(since, until, now=clock, include_synthetic=include_synthetic)
    if found.is_empty():
        end = lens.data_end
        click.echo(
            "the lake holds no calls yet; next: apilens ingest YOUR.log"
            if end is None
            else f"no call of this window names a model; the data end at {end:%Y-%m-%dT%H:%M:%SZ}",
            err=True,
        )
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "models": records(found)}, ensure_ascii=False))
    elif output == "csv":
        click.echo(csv_text(found), nl=False)
    elif found.height:
        numbers = ["calls", "5xx", "429", "tokens in", "tokens out", "per call", "p50", "p95"]
        table(
            "",
            ["provider", "model", "endpoint", *(Column(name, "right") for name in numbers)],
            (
                (
                    row["provider"],
                    row["model"],
                    endpoint,
                    count(row["calls"]),
                    percent(row["error_ratio"]),
                    percent(row["rate_limited_ratio"]),
                    *(None if row[name] is None else count(row[name]) for name in ("input_tokens", "output_tokens")),
                    None if row["tokens_per_call"] is None else count(round(row["tokens_per_call"])),
                    milliseconds(row["p50_ms"]),
                    milliseconds(row["p95_ms"]),
                )
                for endpoint, row in zip(endpoint_names(found), found.iter_rows(named=True), strict=True)
            ),
        )
    return Exit.DONE
