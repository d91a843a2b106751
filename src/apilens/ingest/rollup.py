"""Calls become rollups: five-minute bins that merge by SUM."""

from __future__ import annotations

import polars as pl

from apilens import histogram
from apilens.schema import BIN_S, ENDPOINT, ROLLUPS

_KEY = ("bin_start", *ENDPOINT, "status_code", "synthetic_type")


def roll_up(calls: pl.DataFrame, unit_id: str) -> pl.DataFrame:
    """schema.ROLLUPS rows of some calls (schema.CALLS), named unit_id; one row per bin, endpoint, status and kind.

    duration columns leave out calls whose duration is unknown.
    """
    minutes = BIN_S // 60
    base = calls.select(
        pl.col("start_time").dt.truncate(f"{BIN_S}s").alias("bin_start"),
        *ENDPOINT, "status_code", "synthetic_type", "start_time", "duration_ms",
        (pl.col("start_time").dt.epoch("s") % BIN_S // 60).cast(pl.Int8).alias("minute"),
        pl.coalesce("response_bytes", "response_body_bytes").alias("response_bytes"),
        histogram.bucket(pl.col("duration_ms")).alias("bucket"),
        pl.col("duration_ms").clip(histogram.SMALLEST_MS).log().alias("log_ms"),
    )  # fmt: skip
    sums = base.group_by(_KEY).agg(
        pl.len().cast(pl.Int64).alias("calls"),
        pl.concat_list([(pl.col("minute") == i).sum().cast(pl.Int32) for i in range(minutes)]).alias("minute_calls"),
        pl.col("duration_ms").count().cast(pl.Int64).alias("durations"),
        pl.col("duration_ms").sum().alias("duration_sum_ms"),
        pl.col("log_ms").sum().alias("log_duration_sum"),
        pl.col("log_ms").pow(2).sum().alias("log_duration_sumsq"),
        # Two calls of 2^63-1 bytes (a hostile log) must not come out as -2.
        pl.col("response_bytes").cast(pl.Int128).sum().clip(upper_bound=2**63 - 1).cast(pl.Int64),
        pl.col("start_time").min().alias("first_seen"),
        pl.col("start_time").max().alias("last_seen"),
    )
    # Counting (key, bucket) pairs first is twice as quick as run lengths inside every group.
    pairs = (
        base.filter(pl.col("bucket").is_not_null()).group_by(*_KEY, "bucket").agg(bucket_calls=pl.len()).sort("bucket")
    )
    histograms = pairs.group_by(_KEY, maintain_order=False).agg("bucket", "bucket_calls")
    rows = sums.join(histograms, on=_KEY, how="left", nulls_equal=True)
    return rows.with_columns(
        pl.col("bucket").fill_null([]), pl.col("bucket_calls").fill_null([]), pl.lit(unit_id).alias("unit_id")
    ).select(pl.col(name).cast(dtype) for name, dtype in ROLLUPS.items())
