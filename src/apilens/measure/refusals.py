"""How often some consumers were answered with some status codes, minute by minute."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens import schema
from apilens.arrow import Stream, frame


def refusals(
    connection: duckdb.DuckDBPyConnection, asked: pl.DataFrame, *, include_synthetic: bool = False
) -> pl.DataFrame:
    """Rows of schema.REFUSALS for pairs of a consumer and a status code, on all endpoints of their environment.

    connection: one with a view or table `calls` (columns of schema.CALLS). asked: schema.REFUSALS_ASKED, each pair once (calls count in each
    row that asks for them); of a null code all calls count, on all endpoints together. Calls of bots, scanners and health checks are left out unless
    include_synthetic.
    """
    if asked.is_empty():
        return schema.REFUSALS.to_frame()
    query = files("apilens.measure").joinpath("refusals.sql").read_text(encoding="utf-8")
    connection.register("asked", Stream(asked))
    try:
        params = {"synthetic": include_synthetic, "first": asked["start"].min(), "last": asked["end"].max()}
        found = frame(connection.sql(query, params=params))
    finally:
        connection.unregister("asked")
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.REFUSALS.items())
