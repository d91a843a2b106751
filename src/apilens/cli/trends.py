"""`apilens trends`: what changes slowly."""

from __future__ import annotations

import json

import click

from apilens.cli.options import lake_option, moment, now_option, output_option, since_option, until_option
from apilens.errors import Exit


@click.command()
@since_option
@until_option
@now_option
@lake_option
@output_option("table", "json", "ndjson")
def trends(since: str | None, until: str | None, now: str | None, lake: str, output: str) -> int:
    """Growth of calls, latency and error ratio per week, over weeks and months, and which of it is beyond chance.

    Compares days of the same kind (a Monday with Mondays), robustly, corrected for the number of endpoints; ten days
    are the least. Reads the rollups.

    \b
    apilens trends
    apilens trends --since 90d --output json
    """
    from datetime import UTC, datetime

    from apilens.lens import Lens
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import Column, endpoint_names, table
    from apilens.reports.units import count, milliseconds

    lens = Lens(lake)
    found = lens.trends(since, until, now=moment(now) or lens.data_end or datetime.now(UTC))
    if output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        click.echo(json.dumps({"schema_version": 1, "endpoints": records(found)}, ensure_ascii=False))
    elif found.height:
        headings = ["days", "calls a day", "a week", "doubles in", "latency", "a week", "5xx points a week"]
        table(
            "",
            ["finding", "endpoint", *(Column(name, "right") for name in headings)],
            (
                (
                    row["finding"] or "",
                    endpoint,
                    row["days"],
                    count(row["calls_per_day"]),
                    _growth(row["calls_per_week"]),
                    None if row["weeks_to_double"] is None else f"{row['weeks_to_double']:.1f} weeks",
                    milliseconds(row["latency_ms"]),
                    _growth(row["latency_per_week"]),
                    None if row["error_points_per_week"] is None else f"{100 * row['error_points_per_week']:+.2f}",
                )
                for endpoint, row in zip(endpoint_names(found), found.iter_rows(named=True), strict=True)
            ),
        )
    if found.is_empty():
        click.echo("no endpoint was called on ten days of this window; next: apilens endpoints", err=True)
    return Exit.DONE


def _growth(per_week: float | None) -> str | None:
    return None if per_week is None else f"{100 * per_week:+.1f} %"
