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
        "durations": pl.Int64,  # calls behind the percentiles
        "apdex": pl.Float64,  # 0..1; null: no duration was logged
        "response_bytes": pl.Int64,
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
        "operation_id": pl.String,  # of the OpenAPI document; null: none was given, or it has no such operation
    }
)
_ENDPOINT = "environment, service, method, route"
_SAME = " AND ".join(f"t.{name} IS NOT DISTINCT FROM v.{name}" for name in _ENDPOINT.split(", "))
#: Of the status only whether it is a server's error matters to latencies.
_FAILED = "coalesce(status_code >= 500, false) AS failed"
#: Durations that differ by less than some two percent share a number, and a longer one never has a smaller one. Picked: on 10 M
#: calls whose durations nearly all differ, four percent of them lie where a percentile does.
_RANGE = "ceil(50 * ln(least(greatest(duration_ms, 1e-6), 1e15)))::INTEGER"


def endpoints(
    connection: duckdb.DuckDBPyConnection,
    *,
    bins: str,
    edges: pl.DataFrame,
    exact: str | None,
    apdex_ms: float,
    operations: pl.DataFrame,
    include_synthetic: bool = False,
) -> pl.DataFrame:
    """ENDPOINTS of a window, without the calls of bots, scanners and health checks unless include_synthetic.

    connection: has the view `sums`, and `calls` if exact. bins: SQL condition on `sums` for what lies in the window as a whole.
    edges: schema.SUMS rows of the rest. exact: SQL condition on `calls` for the window: percentiles are then of the
    logged values; None: from histograms, off by at most histogram.RELATIVE_ERROR. operations: method, route, operation_id.
    """
    connection.register("edges", Stream(edges))
    real = "true" if include_synthetic else "synthetic_type IS NULL"
    if exact is None:
        latencies = _text("histograms.sql").format(estimate=histogram.ESTIMATE_SQL)
    else:
        latencies = _logged(connection, f"duration_ms IS NOT NULL AND {exact} AND {real}")
    measured = f"SELECT * FROM ({_measured(bins)}) WHERE {real}"
    try:
        text = _text("endpoints.sql").format(measured=measured, latencies=latencies)
        found = frame(connection.sql(text, params={"apdex_ms": apdex_ms}))
    finally:
        connection.unregister("edges")
    found = found.join(operations, on=["method", "route"], how="left", maintain_order="left")
    return found.select(pl.col(name).cast(dtype) for name, dtype in ENDPOINTS.items())


def _logged(connection: duckdb.DuckDBPyConnection, condition: str) -> str:
    """SQL for the logged durations of `calls`, prepared in the connection; see exact.sql."""
    logged = f"SELECT {_ENDPOINT}, {_FAILED}, duration_ms FROM calls WHERE {condition}"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE ranges AS SELECT {_ENDPOINT}, failed, {_RANGE} AS range,"
        f" max(duration_ms) AS value_ms, count(*) AS n FROM ({logged}) GROUP BY ALL"
    )
    values = _text("exact.sql").format(range=_RANGE, logged=logged)
    return f"SELECT id, failed, value_ms, n FROM ({values}) AS v JOIN totals AS t ON {_SAME}"


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
