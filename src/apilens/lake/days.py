"""Rollups summed by day: what a question about a month reads instead of its 8,640 bins. See docs/decisions/0011-day-files.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from apilens.schema import ENDPOINT, SUMS
from apilens.window import Window

#: Where the day files of a lake are; each is named as the file of rollups it is made of.
FOLDER = "rollup_days"
_KEY = ("bin_start", *ENDPOINT, "status_code", "synthetic_type")
_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Sums:
    """The files that hold the rollups of a window, every call in one of them.

    whole: the days whose rows of `days` count, and outside of which those of `cut` do; None: the window has no whole day, and
    `days` is empty. All rows of `bins` count.
    """

    whole: Window | None
    days: list[str]
    cut: list[str]
    bins: list[str]


def whole_days(window: Window) -> Window | None:
    """The UTC days that lie in a window as a whole; None: not one does, or it starts on the last day that there is."""
    if window.start is not None and window.start > _LAST:
        return None
    start = None if window.start is None else -(-_since_epoch(window.start) // _DAY) * _DAY + _EPOCH
    end = None if window.end is None else _since_epoch(window.end) // _DAY * _DAY + _EPOCH
    if start is not None and end is not None and start >= end:
        return None
    return Window(start, end)


def by_day(rollups: pl.DataFrame) -> pl.DataFrame:
    """schema.SUMS of some rollups (schema.ROLLUPS): one row per UTC day, endpoint, status code and kind of caller."""
    groups = (
        rollups.with_columns(pl.col("bin_start").dt.truncate("1d"))
        .group_by(_KEY)
        .agg(
            pl.col("calls", "durations", "duration_sum_ms", "log_duration_sum", "log_duration_sumsq").sum(),
            pl.col("response_bytes").cast(pl.Int128).sum().clip(upper_bound=2**63 - 1).cast(pl.Int64),
            pl.col("first_seen").min(),
            pl.col("last_seen").max(),
            "bucket",
            "bucket_calls",
        )
        .sort(*ENDPOINT, "bin_start", "status_code", "synthetic_type")
        .with_row_index("group")
    )
    pairs = groups.select("group", "bucket", "bucket_calls").explode("bucket", "bucket_calls")
    histograms = (
        pairs.explode("bucket", "bucket_calls")
        .drop_nulls()
        .group_by("group", "bucket")
        .agg(pl.col("bucket_calls").cast(pl.Int64).sum())
        .sort("group", "bucket")
        .group_by("group", maintain_order=True)
        .agg("bucket", "bucket_calls")
    )
    rows = groups.drop("bucket", "bucket_calls").join(histograms, on="group", how="left", maintain_order="left")
    return rows.with_columns(pl.col("bucket", "bucket_calls").fill_null([])).select(
        pl.col(name).cast(dtype) for name, dtype in SUMS.items()
    )


def _since_epoch(moment: datetime) -> timedelta:
    return moment - _EPOCH
