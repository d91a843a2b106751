"""What one request, or one consumer, met: its calls in sequence across gateways, and what failed first."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens.window import Window

#: More calls than anybody reads; a consumer's hour may have more.
MOST = 1_000


def trace(
    connection: duckdb.DuckDBPyConnection, *, request: str | None = None, consumer: str | None = None, window: Window
) -> pl.DataFrame:
    """At most MOST calls of a request id (or trace id) or of a consumer in a window, by start_time.

    connection: has the view `calls`. Columns are those of schema.CALLS that trace.sql names, and `note`: "failed first"
    at the innermost call among the first failures (a gateway passes on what the one behind it answered), "retry" where
    the same consumer asks for the same again within a minute of a failure, else null.
    """
    query = files("apilens.measure").joinpath("trace.sql").read_text(encoding="utf-8")
    found: pl.DataFrame = connection.sql(
        query,
        params={"request": request, "consumer": consumer, "first": window.start, "last": window.end, "most": MOST},
    ).pl()
    failed = pl.col("status_code") >= 400
    same = ["consumer", "method", "path"]
    again = (
        failed.shift(1).over(same)
        & ((pl.col("start_time") - pl.col("start_time").shift(1).over(same)) <= pl.duration(minutes=1))
    ).fill_null(False)
    origin = _failed_first(found)
    return (
        found.with_row_index("_at")
        .with_columns(
            note=pl.when(pl.col("_at") == (-1 if origin is None else origin))
            .then(pl.lit("failed first"))
            .when(again)
            .then(pl.lit("retry"))
        )
        .drop("_at")
    )


def _failed_first(found: pl.DataFrame) -> int | None:
    """Row of the failure that ended first: where a call passes several gateways, the innermost answers before the others do."""
    ends = found.with_row_index("_at").filter(pl.col("status_code") >= 400)
    if ends.is_empty():
        return None
    end = pl.col("start_time") + pl.duration(microseconds=(pl.col("duration_ms").fill_null(0.0) * 1000))
    row = ends.sort(end, "start_time", descending=[False, True]).row(0, named=True)
    return int(row["_at"])
