"""`apilens inventory`: which endpoints there are, and which there should not be."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from apilens.cli.options import (
    lake_option,
    moment,
    now_option,
    openapi_option,
    output_option,
    since_option,
    until_option,
)
from apilens.errors import Exit, UsageError


@click.command()
@since_option
@until_option
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    type=click.Choice(["undocumented", "unused", "deprecated"]),
    help="Exit 1 when there is such an endpoint; once per kind.",
)
@openapi_option
@now_option
@lake_option
@output_option("table", "json", "ndjson")
def inventory(
    since: str | None,
    until: str | None,
    fail_on: tuple[str, ...],
    openapi: str | None,
    now: str | None,
    lake: str,
    output: str,
) -> int:
    """Endpoints that no document has, that nobody calls, and deprecated ones that are called; with calls, consumers and
    when each was seen last. The table leaves out what is in use as it should be; JSON has every endpoint.

    Reads all calls. Without --openapi (here, or kept by apilens routes) nothing counts as undocumented. Bots, scanners
    and health checks are left out, and paths that were never answered with anything but 404 or 405 stand apart.

    \b
    apilens inventory --openapi api.yaml --fail-on undocumented
    apilens inventory --since 30d --output json
    """
    import polars as pl

    from apilens.lens import Lens
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, endpoint_names, table
    from apilens.reports.units import count
    from apilens.reports.units import moment as at

    lens = Lens(lake, openapi=openapi)
    if "undocumented" in fail_on and not lens.openapi.operations:
        raise UsageError(
            "--fail-on undocumented has no document to go by, and would always pass; next: apilens inventory --openapi FILE"
        )
    found = lens.inventory(since, until, now=moment(now) or lens.data_end or datetime.now(UTC))
    counts = dict(found["status"].value_counts().rows())
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        body = {"schema_version": 1, "documented": bool(lens.openapi.operations), "counts": counts}
        click.echo(json.dumps({**body, "endpoints": records(found)}, ensure_ascii=False))
    elif found.filter(~pl.col("status").is_in(["in_use", "not_found"])).height:
        table(
            "",
            [
                "status",
                "endpoint",
                Column("calls", "right"),
                Column("consumers", "right"),
                "top consumer",
                "last seen (UTC)",
                "because",
            ],
            (
                (
                    row["status"],
                    endpoint,
                    count(row["calls"]),
                    count(row["consumers"]),
                    row["top_consumer"],
                    at(row["last_seen"]),
                    row["because"],
                )
                for endpoint, row in zip(endpoint_names(found), found.iter_rows(named=True), strict=True)
                if row["status"] not in ("in_use", "not_found")
            ),
        )
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("undocumented", "deprecated", "unused"))
    click.echo(f"{counts.get('in_use', 0)} in use, {said}; {counts.get('not_found', 0)} paths not found", err=True)
    if not found["calls"].sum():
        ends = f"; the data end at {lens.data_end:%Y-%m-%dT%H:%M:%SZ}" if lens.data_end else ""
        click.echo(f"no call in this window: what is unused cannot be told{ends}", err=True)
    if not lens.openapi.operations:
        click.echo("no document, so nothing can be undocumented; next: apilens inventory --openapi FILE", err=True)
    return Exit.FINDINGS if any(counts.get(name) for name in fail_on) else Exit.DONE
