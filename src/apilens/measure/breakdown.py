"""Calls of some windows, counted by status code, consumer, node and upstream."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens import histogram, schema
from apilens.arrow import Stream, frame


def breakdown(
    connection: duckdb.DuckDBPyConnection, windows: pl.DataFrame, *, include_synthetic: bool = False
) -> pl.DataFrame:
    """Rows of schema.BREAKDOWN for windows of single endpoints.

    connection: one with a view or table `calls` (columns of schema.CALLS). windows: schema.BREAKDOWN_WINDOWS. Calls of
    bots, scanners and health checks are left out unless include_synthetic.
    """
    if windows.is_empty():
        return schema.BREAKDOWN.to_frame()
    query = files("apilens.measure").joinpath("breakdown.sql").read_text(encoding="utf-8")
    connection.register("windows", Stream(windows))
    try:
        params = {
            "smallest_ms": histogram.SMALLEST_MS,
            "synthetic": include_synthetic,
            "first": windows["start"].min(),
            "last": windows["end"].max(),
        }
        found = frame(connection.sql(query, params=params))
    finally:
        connection.unregister("windows")
    return found.select(
        pl.col(name).cast(dtype).fill_null([]) if name == "request_ids" else pl.col(name).cast(dtype)
        for name, dtype in schema.BREAKDOWN.items()
    )
