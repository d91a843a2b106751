"""What consumers that were refused on several endpoints were answered, bin by bin."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files

import duckdb
import polars as pl

from apilens import schema
from apilens.arrow import frame


def clients(
    connection: duckdb.DuckDBPyConnection, environment: str | None, start: datetime, since: datetime, end: datetime
) -> pl.DataFrame:
    """Rows of schema.CLIENTS for the calls in [start, end) of consumers of one environment that were refused (401, 403, 429) three times
    within an hour of [since, end) with one code, and not on one endpoint alone.

    connection: one with a view or table `calls` (columns of schema.CALLS). Calls of bots, scanners and health checks are left out.
    """
    query = files("apilens.measure").joinpath("clients.sql").read_text(encoding="utf-8")
    params = {"environment": environment, "start": start, "since": since, "end": end}
    found = frame(connection.sql(query, params=params))
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.CLIENTS.items())
