"""What one request, or one consumer, met: its calls in sequence across gateways, and what failed first."""

from __future__ import annotations

from datetime import timedelta
from importlib.resources import files

import duckdb
import polars as pl

from apilens.window import Window

#: Many gateways stamp to the second.
STAMPED = timedelta(seconds=1)
#: More calls than anybody reads; a consumer's hour may have more.
MOST = 1_000


def trace(
    connection: duckdb.DuckDBPyConnection, *, request: str | None = None, consumer: str | None = None, window: Window
) -> pl.DataFrame:
    """At most MOST calls of a request id (or trace id) or of a consumer in a window, by start_time;
    a client address stands for the consumer of calls that name none.

    connection: has the view `calls`. Columns are those of schema.CALLS that trace.sql names, and `note`: "failed first"
    at the innermost call among the first failures (a gateway passes on what the one behind it answered), "retry" where
    the same consumer asks for the same again within a minute of a failure's end, else null. Calls of other gateways under the same
    ids are among them.
    """
    query = files("apilens.measure").joinpath("trace.sql").read_text(encoding="utf-8")
    found: pl.DataFrame = connection.sql(
        query,
        params={"request": request, "consumer": consumer, "first": window.start, "last": window.end, "most": MOST},
    ).pl()
    rows = found.with_row_index("_at").with_columns(
        end_time=pl.col("start_time") + pl.duration(microseconds=pl.col("duration_ms").fill_null(0.0) * 1000)
    )
    failures = rows.filter(pl.col("status_code") >= 400)
    return rows.with_columns(
        note=pl.when(pl.col("_at").is_in(_failed_first(failures).implode()))
        .then(pl.lit("failed first"))
        .when(pl.col("_at").is_in(_retries(rows, failures).implode()))
        .then(pl.lit("retry"))
    ).drop("_at", "end_time")


def _retries(rows: pl.DataFrame, failures: pl.DataFrame) -> pl.Series:
    """Rows that one gateway logged within a minute of the end of a failure of the same, under another id."""
    same = ["consumer", "method", "path", "gateway"]
    waited = pl.col("start_time") - pl.col("end_time_failed")
    return (
        rows.join(failures, on=same, how="inner", nulls_equal=True, suffix="_failed")
        .filter(
            waited.is_between(-STAMPED, pl.duration(minutes=1)) & (pl.col("start_time") > pl.col("start_time_failed")),
            pl.col("request_id").ne_missing(pl.col("request_id_failed")) | pl.col("request_id").is_null(),
        )["_at"]
        .unique()
    )


def _failed_first(failures: pl.DataFrame) -> pl.Series:
    """Row of the failure that ended first; where it passed several gateways, the innermost, which holds no other one: it
    answered before the others did, whatever their clocks say."""
    earliest = failures.sort("end_time", "start_time", descending=[False, True]).head(1)
    ids = [pl.col(name).is_in(earliest[name].drop_nulls().implode()) for name in ("request_id", "trace_id")]
    one = pl.concat([earliest, failures.filter(pl.any_horizontal(ids))]).unique("_at").sort("end_time", "_at")
    outer = (
        one.join(one, how="cross", suffix="_inner")
        .filter(
            pl.struct("node", "gateway") != pl.struct(node="node_inner", gateway="gateway_inner"),
            pl.col("duration_ms") > pl.col("duration_ms_inner"),
            pl.col("start_time") - STAMPED <= pl.col("start_time_inner"),
            pl.col("end_time") + STAMPED >= pl.col("end_time_inner"),
        )["_at"]
        .unique()
    )
    return one.filter(~pl.col("_at").is_in(outer.implode()))["_at"].head(1)
