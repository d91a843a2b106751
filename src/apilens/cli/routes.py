"""`apilens routes`: the templates behind the endpoints."""

from __future__ import annotations

import click

from apilens.cli.options import lake_option, output_option
from apilens.errors import Exit


@click.command()
@lake_option
@output_option("table", "json")
def routes(lake: str, output: str) -> int:
    """List the route templates, and the merges that were learned from many paths and are applied on reading.

    Merges are learned after each ingest and only ever added to, so an endpoint keeps its name.

    \b
    apilens routes
    apilens routes --output json > routes.json
    """
    import json

    from apilens.lens import Lens
    from apilens.reports.ndjson import records
    from apilens.reports.terminal import Column, safe, table

    lens = Lens(lake)
    listed = lens.sql(
        "SELECT service, route, count(DISTINCT method) AS methods, sum(calls) AS calls FROM rollups"
        " GROUP BY ALL ORDER BY calls DESC, service NULLS FIRST, route NULLS FIRST"
    )
    if output == "json":
        rows = records(listed)
        merges = json.loads(lens.merges.to_json())
        click.echo(json.dumps({"schema_version": 1, "routes": rows, "learned": merges}, ensure_ascii=False))
        return Exit.DONE
    table("", ["service", "route", Column("methods", "right"), Column("calls", "right")], listed.iter_rows())
    for merge in lens.merges.merges:
        kept = f" except {', '.join(merge.keep)}" if merge.keep else ""
        click.echo(safe(f"learned: below {merge.prefix or '/'} every name is {{id}}{kept}"), err=True)
    return Exit.DONE
