"""Slow changes over weeks and months: what grows, what degrades, and when it will have doubled."""

from __future__ import annotations

from statistics import NormalDist

import polars as pl

from apilens.schema import ENDPOINT, table

#: One row per endpoint with at least MIN_DAYS days of calls, fastest degradation first.
TRENDS = table(
    {
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "days": pl.Int64,  # UTC days with calls
        "calls_per_day": pl.Float64,  # median
        "calls_per_week": pl.Float64,  # growth of calls per week, 0.1: a tenth more every week; null: cannot be told
        "latency_ms": pl.Float64,  # median of the daily geometric means; null: none was timed
        "latency_per_week": pl.Float64,  # as calls_per_week
        "error_ratio": pl.Float64,  # of all days, 5xx, 0..1
        "error_points_per_week": pl.Float64,  # growth of the 5xx ratio per week, 0.01: one point
        "busiest_5_minutes": pl.Int64,
        "weeks_to_double": pl.Float64,  # of calls, at this growth; null: does not grow beyond doubt
        "finding": pl.String,  # slower | more errors | growing | null: no trend beyond doubt
    }
)
MIN_DAYS = 10
#: A trend stands when so few of a hundred slopes without one are as steep, corrected for the endpoints looked at.
SIGNIFICANCE = 0.01
MIN_PER_WEEK = 0.02


def trends(rollups: pl.DataFrame) -> pl.DataFrame:
    """TRENDS of some months. rollups: schema.ROLLUPS, any order; bots, scanners and health checks left out.

    A trend is the median of the slopes between all pairs of days of the same kind (a Saturday with a Saturday), which a
    bad day cannot bend; it counts when Kendall's S of these pairs is beyond chance, and the slope beyond what wanders from day to day.
    Sources: Theil 1950; Sen, JASA 63 (1968) 1379; Hirsch, Slack, Smith, Water Resources Research 18 (1982) 107.
    """
    good = pl.col("status_code") < 400
    real = rollups.filter(pl.col("synthetic_type").is_null())
    daily = (
        real.group_by(*ENDPOINT, day=pl.col("bin_start").dt.truncate("1d"))
        .agg(
            pl.col("calls").sum(),
            pl.col("calls").filter(pl.col("status_code") >= 500).sum().alias("errors"),
            log_ms=pl.col("log_duration_sum").filter(good).sum() / pl.col("durations").filter(good).sum(),
        )
        .with_columns(
            pl.col("log_ms").fill_nan(None),
            log_calls=pl.col("calls").log(),
            ratio=pl.col("errors") / pl.col("calls"),
            weekday=pl.col("day").dt.weekday(),
        )
        # The first and the last day are seldom whole.
        .filter(
            (pl.col("day") > real["bin_start"].dt.truncate("1d").min())
            & (pl.col("day") < real["bin_start"].dt.truncate("1d").max())
        )
    )
    pairs = daily.join(daily, on=[*ENDPOINT, "weekday"], nulls_equal=True, suffix="_later").filter(
        pl.col("day_later") > pl.col("day")
    )
    weeks = (pl.col("day_later") - pl.col("day")).dt.total_days() / 7
    slopes = pairs.with_columns(
        [((pl.col(f"{name}_later") - pl.col(name)) / weeks).alias(f"{name}_slope") for name in _SLOPES]
    )
    # Per season (weekday) S has the variance n(n-1)(2n+5)/18; seasons add up.
    season = daily.group_by(*ENDPOINT, "weekday").agg(n=pl.len())
    n = pl.col("n")
    variance = season.group_by(ENDPOINT).agg(variance=(n * (n - 1) * (2 * n + 5) / 18).sum())
    found = slopes.group_by(ENDPOINT).agg(
        *(pl.col(f"{name}_slope").median() for name in _SLOPES),
        *(pl.col(f"{name}_slope").sign().sum().alias(f"{name}_s") for name in _SLOPES),
    )
    busiest = (
        real.group_by(*ENDPOINT, "bin_start")
        .agg(pl.col("calls").sum())
        .group_by(ENDPOINT)
        .agg(busiest_5_minutes=pl.col("calls").max())
    )
    whole = daily.group_by(ENDPOINT).agg(
        days=pl.len(),
        calls_per_day=pl.col("calls").median(),
        latency_ms=pl.col("log_ms").median().exp(),
        error_ratio=pl.col("errors").sum() / pl.col("calls").sum(),
    )
    on = list(ENDPOINT)
    rows = (
        whole.filter(pl.col("days") >= MIN_DAYS)
        .join(found, on=on, how="left", nulls_equal=True)
        .join(variance, on=on, how="left", nulls_equal=True)
        .join(_errors_of(daily, found), on=on, how="left", nulls_equal=True)
        .join(busiest, on=on, how="left", nulls_equal=True)
    )
    # Bonferroni over endpoints; the bound on z is that of a normal tail, one-sided.
    z = -NormalDist().inv_cdf(SIGNIFICANCE / max(rows.height, 1))
    grows = {
        name: (pl.col(f"{name}_s") > z * pl.col("variance").sqrt())
        & (pl.col(f"{name}_slope") > z * pl.col(f"{name}_error"))
        for name in _SLOPES
    }
    per_week = {name: pl.col(f"{name}_slope").exp() - 1 for name in ("log_calls", "log_ms")}
    slower = grows["log_ms"] & (per_week["log_ms"] >= MIN_PER_WEEK)
    failing = grows["ratio"] & (pl.col("ratio_slope") > 0.0005)
    growing = grows["log_calls"] & (per_week["log_calls"] >= MIN_PER_WEEK)
    return (
        rows.with_columns(
            calls_per_week=per_week["log_calls"],
            latency_per_week=per_week["log_ms"],
            error_points_per_week=pl.col("ratio_slope"),
            weeks_to_double=pl.when(growing).then(pl.lit(2.0).log() / pl.col("log_calls_slope")),
            finding=pl.when(failing)
            .then(pl.lit("more errors"))
            .when(slower)
            .then(pl.lit("slower"))
            .when(growing)
            .then(pl.lit("growing")),
        )
        .sort(pl.col("finding").is_null(), -pl.col("latency_per_week").fill_null(0.0), *ENDPOINT)
        .select(pl.col(name).cast(dtype) for name, dtype in TRENDS.items())
    )


_SLOPES = ("log_calls", "log_ms", "ratio")
#: A series that wanders more than this cannot be told from a trend by some months.
_MOST_ALIKE = 0.95


def _errors_of(daily: pl.DataFrame, slopes: pl.DataFrame) -> pl.DataFrame:
    """Per endpoint the standard error of each slope (`*_error`, per week), for days of which one resembles the day before.

    What wanders from day to day looks like a trend to a test that takes days for independent: with a correlation of 0.8 it found
    one in 31 of 40 sets of ten endpoints without any (60 days). The error is that of a line through days whose rest, beside slope
    and weekday, is autoregressive; its correlation r is estimated, too low by about (1 + 3r) / days, which is made up for.
    Sources: Bayley, Hammersley, Suppl. JRSS 8 (1946) 184; Marriott, Pope, Biometrika 41 (1954) 390.
    """
    on, weeks = list(ENDPOINT), (pl.col("day") - pl.col("day").min()).dt.total_days() / 7
    given = daily.join(
        slopes.select(*on, *(f"{name}_slope" for name in _SLOPES)), on=on, how="inner", nulls_equal=True
    ).with_columns(weeks=weeks)
    level = given.with_columns([pl.col(name) - pl.col(f"{name}_slope") * pl.col("weeks") for name in _SLOPES])
    rest = level.with_columns([pl.col(name) - pl.col(name).mean().over([*on, "weekday"]) for name in _SLOPES])
    before = rest.select(*on, pl.col("day").dt.offset_by("1d"), *_SLOPES)
    pairs = rest.join(before, on=[*on, "day"], how="left", nulls_equal=True, suffix="_before")
    n, length = pl.len().cast(pl.Int64), (pl.col("weeks") - pl.col("weeks").mean()).pow(2).sum()
    found = []
    for name in _SLOPES:
        squares = pl.col(name).pow(2).sum()
        seen = ((pl.col(name) * pl.col(f"{name}_before")).sum() / squares).fill_nan(0.0)
        r = ((n * seen + 1) / (n - 3)).clip(0.0, _MOST_ALIKE)
        # A mean of each weekday and a slope were taken out.
        found.append((squares / (n - 8).clip(1) * (1 + r) / (1 - r) / length).sqrt().alias(f"{name}_error"))
    return pairs.group_by(on).agg(found)
