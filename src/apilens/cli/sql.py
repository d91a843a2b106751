"""`apilens sql`: one SELECT over the lake."""

from __future__ import annotations

import json

import click

from apilens.cli.options import lake_option, output_option
from apilens.errors import Exit


@click.command()
@click.argument("query")
@lake_option
@output_option("table", "json", "ndjson", "csv")
def sql(query: str, lake: str, output: str) -> int:
    """Run one SELECT over the views calls, rollups, rejects, ingests and metrics (DuckDB SQL).

    Also WITH, FROM, PIVOT, SHOW TABLES, DESCRIBE and SUMMARIZE. Nothing else runs: no other statement, no file outside the lake,
    no setting.

    \b
    apilens sql "DESCRIBE calls"
    apilens sql "SELECT status_code, count(*) FROM calls GROUP BY 1 ORDER BY 2 DESC"
    apilens sql "SELECT route, quantile_cont(duration_ms, 0.999) FROM calls GROUP BY 1" --output csv
    """
    from apilens.lens import Lens
    from apilens.reports.csv import csv_text
    from apilens.reports.ndjson import ndjson_text, records
    from apilens.reports.terminal import table

    found = Lens(lake).sql(query)
    if output == "csv":
        click.echo(csv_text(found), nl=False)
    elif output == "ndjson":
        click.echo(ndjson_text(found), nl=False)
    elif output == "json":
        rows = records(found)
        click.echo(json.dumps({"schema_version": 1, "rows": rows}, ensure_ascii=False))
    else:
        table("", found.columns, found.iter_rows())
    return Exit.DONE
