"""What clients without identity that are refused somewhere meet elsewhere."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files

import duckdb
import polars as pl

from apilens import schema
from apilens.arrow import Stream, frame

#: So long before the first window that is asked for, what a client met is told as well.
BEFORE = timedelta(days=7)


def strangers(connection: duckdb.DuckDBPyConnection, asked: pl.DataFrame) -> pl.DataFrame:
    """Rows of schema.STRANGERS of each client that had one of the asked status codes in one of the asked windows, and no name then; of answers
    those of endpoints on which it was refused, too.

    connection: one with a view or table `calls` (columns of schema.CALLS). asked: schema.STRANGERS_ASKED. A client is a block of
    addresses (256 of IPv4, a /64 of IPv6) with one user agent; calls with neither are nobody's.
    """
    if asked.is_empty():
        return schema.STRANGERS.to_frame()
    query = files("apilens.measure").joinpath("strangers.sql").read_text(encoding="utf-8")
    # Hours are told as a whole, so that one more question about another time changes nothing.
    first, last = asked.select((pl.col("start").min() - BEFORE).dt.truncate("1h"), pl.col("end").max()).row(0)
    connection.register("asked", Stream(asked))
    try:
        found = frame(connection.sql(query, params={"first": first, "last": last}))
    finally:
        connection.unregister("asked")
    return found.select(pl.col(name).cast(dtype) for name, dtype in schema.STRANGERS.items())
