"""Calls, errors, tokens and latency per model of the AI gateways."""

from __future__ import annotations

from importlib.resources import files

import duckdb
import polars as pl

from apilens.schema import TIMESTAMP, table

#: One row per (endpoint, provider, model), most called first.
MODELS = table(
    {
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "provider": pl.String,  # null: not logged
        "model": pl.String,  # as requested; null: not logged
        "calls": pl.Int64,
        "error_ratio": pl.Float64,  # 5xx, 0..1 of calls
        "rate_limited_ratio": pl.Float64,  # 429, 0..1 of calls
        "input_tokens": pl.Int64,  # null: logged of no call
        "output_tokens": pl.Int64,
        "counted": pl.Int64,  # calls whose tokens were logged
        "tokens_per_call": pl.Float64,  # input and output, over counted; null: none
        "p50_ms": pl.Float64,  # null: no duration was logged
        "p95_ms": pl.Float64,
        "durations": pl.Int64,  # calls behind the percentiles
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
    }
)
_MOST = 2**63 - 1


def models(connection: duckdb.DuckDBPyConnection, *, window: str, include_synthetic: bool = False) -> pl.DataFrame:
    """MODELS of the calls for which the SQL condition `window` holds; connection: has the view `calls`."""
    query = files("apilens.measure").joinpath("models.sql").read_text(encoding="utf-8").format(window=window)
    found: pl.DataFrame = connection.sql(query, params={"synthetic": include_synthetic}).pl()
    # Two calls of 2^63-1 tokens (a hostile log) must neither fail nor come out negative.
    tokens = [pl.col(name).clip(upper_bound=_MOST) for name in ("input_tokens", "output_tokens")]
    return found.with_columns(tokens).select(pl.col(name).cast(dtype) for name, dtype in MODELS.items())
