"""Calls of some windows, counted by status code, consumer, node and upstream."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens import histogram, schema


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
    connection.register("windows", windows.to_arrow())
    try:
        result = connection.sql(
            query,
            params={
                "smallest_ms": histogram.SMALLEST_MS,
                "synthetic": include_synthetic,
                "first": windows["start"].min(),
                "last": windows["end"].max(),
            },
        ).to_arrow_table()
    finally:
        connection.unregister("windows")
    frame = pl.from_arrow(result)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(
        pl.col(name).cast(dtype).fill_null([]) if name == "request_ids" else pl.col(name).cast(dtype)
        for name, dtype in schema.BREAKDOWN.items()
    )
