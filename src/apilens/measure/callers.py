"""Who calls, and what is answered: the busiest callers of a window, and the status codes of its endpoints."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens.arrow import frame
from apilens.schema import table

#: One row per caller, the busiest first.
CALLERS = table(
    {
        "caller": pl.String,  # consumer, else client address; null: neither was logged
        "calls": pl.Int64,
        "errors": pl.Int64,  # answered with 5xx
    }
)
#: One row per endpoint and status code, the most frequent first.
STATUSES = table(
    {
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "status_code": pl.Int16,  # null: the gateway sent none
        "calls": pl.Int64,
    }
)


def callers(connection: duckdb.DuckDBPyConnection, most: int) -> pl.DataFrame:
    """CALLERS of the view `calls`, at most `most` of them; without bots, scanners and health checks."""
    query = files("apilens.measure").joinpath("callers.sql").read_text(encoding="utf-8")
    return _as(CALLERS, frame(connection.sql(query, params={"most": most})))


def statuses(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """STATUSES of the view `calls`; without bots, scanners and health checks."""
    query = files("apilens.measure").joinpath("statuses.sql").read_text(encoding="utf-8")
    return _as(STATUSES, frame(connection.sql(query)))


def _as(schema: pl.Schema, found: pl.DataFrame) -> pl.DataFrame:
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
