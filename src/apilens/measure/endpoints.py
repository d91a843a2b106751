"""Error ratios, latency percentiles and traffic per endpoint."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens import histogram
from apilens.arrow import Stream, frame
from apilens.schema import SYNTHETIC_TYPES, TIMESTAMP, table

#: One row per endpoint, most called first.
ENDPOINTS = table(
    {
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "calls": pl.Int64,
        "error_ratio": pl.Float64,  # 5xx, 0..1 of calls
        "client_error_ratio": pl.Float64,  # 4xx, 0..1 of calls
        "p50_ms": pl.Float64,  # null: no duration was logged
        "p90_ms": pl.Float64,
        "p95_ms": pl.Float64,
        "p99_ms": pl.Float64,
        "p999_ms": pl.Float64,  # of 99.9 %
        "durations": pl.Int64,  # calls behind the percentiles
        "apdex": pl.Float64,  # 0..1; null: no duration was logged
        "response_bytes": pl.Int64,
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
        "operation_id": pl.String,  # of the OpenAPI document; null: none was given, or it has no such operation
    }
)
#: Of the status only whether it is a server's error matters to latencies.
_FAILED = "coalesce(status_code >= 500, false)"


def endpoints(
    connection: duckdb.DuckDBPyConnection,
    *,
    bins: str,
    edges: pl.DataFrame,
    exact: bool,
    apdex_ms: float,
    operations: pl.DataFrame,
    include_synthetic: bool = False,
) -> pl.DataFrame:
    """ENDPOINTS of a window, without the calls of bots, scanners and health checks unless include_synthetic.

    connection: has the view `sums`, and `calls` of the window if exact. bins: SQL condition on `sums` for what lies in the window
    as a whole. edges: schema.SUMS rows of the rest. exact: percentiles are of the logged values; else from histograms, off by at
    most histogram.RELATIVE_ERROR. operations: method, route, operation_id.
    """
    connection.register("edges", Stream(edges))
    every = _measured(bins)
    real = "true" if include_synthetic else "synthetic_type IS NULL"
    measured = f"SELECT * FROM ({every}) WHERE {real}"
    try:
        connection.execute(f"CREATE OR REPLACE TEMP TABLE totals AS {_text('totals.sql').format(measured=measured)}")
        buckets = _text("histograms.sql").format(measured=measured)
        if not exact:
            latencies = f"SELECT id, failed, {histogram.ESTIMATE_SQL} AS value_ms, n FROM ({buckets})"
        else:
            connection.execute(f"CREATE OR REPLACE TEMP TABLE buckets AS {buckets}")
            latencies = _logged(connection, every, real, apdex_ms)
        found = frame(connection.sql(_text("endpoints.sql").format(latencies=latencies), params={"apdex_ms": apdex_ms}))
    finally:
        connection.unregister("edges")
    found = found.join(operations, on=["method", "route"], how="left", maintain_order="left")
    return found.select(pl.col(name).cast(dtype) for name, dtype in ENDPOINTS.items())


def _logged(connection: duckdb.DuckDBPyConnection, every: str, real: str, apdex_ms: float) -> str:
    """SQL for the logged durations as endpoints.sql wants its latencies, without holding every distinct value: the values only
    where a percentile or an Apdex threshold lies, elsewhere the buckets, of which only the counts matter."""
    thresholds = pl.DataFrame({"ms": [apdex_ms, 4 * apdex_ms]}).select(histogram.bucket(pl.col("ms").cast(pl.Float64)))
    apdex_buckets = thresholds.to_series().unique().to_list()
    apdex = " ".join(
        f"OR (duration_ms > {_of(bucket, histogram.ABOVE_SQL)} AND duration_ms <= {_of(bucket, histogram.UPTO_SQL)})"
        for bucket in apdex_buckets
    )
    parts = {
        "above": histogram.ABOVE_SQL,
        "upto": histogram.UPTO_SQL,
        "apdex": apdex,
        "apdex_buckets": ", ".join(map(str, apdex_buckets)),
        "failed": _FAILED,
        "condition": f"duration_ms IS NOT NULL AND {real}",
        "measured": every,
    }
    for name in ("exact.sql", "doubt.sql"):
        connection.execute(_text(name).format(**parts))
    return (
        f"SELECT id, failed, {histogram.ESTIMATE_SQL} AS value_ms, n FROM buckets ANTI JOIN wanted USING (id, bucket)"
        " UNION ALL SELECT id, failed, value_ms, n FROM logged"
    )


def _of(bucket: int, sql: str) -> str:
    return f"(SELECT {sql} FROM (SELECT {bucket} AS bucket))"


def _text(name: str) -> str:
    return files("apilens.measure").joinpath(name).read_text(encoding="utf-8")


def set_apart(connection: duckdb.DuckDBPyConnection, *, bins: str, edges: pl.DataFrame) -> dict[str, int]:
    """Calls of bots, scanners and health checks in a window, by kind; arguments as in `endpoints`."""
    connection.register("edges", Stream(edges))
    try:
        counted = connection.sql(
            f"SELECT synthetic_type, sum(calls)::BIGINT FROM ({_measured(bins)}) WHERE synthetic_type IS NOT NULL GROUP BY 1"
        ).fetchall()
    finally:
        connection.unregister("edges")
    return dict.fromkeys(SYNTHETIC_TYPES, 0) | dict(counted)


def _measured(bins: str) -> str:
    return f"SELECT * FROM sums WHERE {bins} UNION ALL BY NAME SELECT * FROM edges"
