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
    bad day cannot bend; it counts when Kendall's S of these pairs is beyond chance, and the slope beyond what wanders from day to day,
    by Student's t of as many days as are worth independent ones.
    Sources: Theil 1950; Sen, JASA 63 (1968) 1379; Hirsch, Slack, Smith, Water Resources Research 18 (1982) 107.
    """
    from scipy.special import stdtrit  # takes half a second to import

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
        .filter((pl.col("day") > pl.col("day").min()) & (pl.col("day") < pl.col("day").max()))
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
    long = whole.filter(pl.col("days") >= MIN_DAYS)
    rows = (
        long.join(found, on=on, how="left", nulls_equal=True)
        .join(variance, on=on, how="left", nulls_equal=True)
        .join(
            _errors_of(daily.join(long, on=on, how="semi", nulls_equal=True), found),
            on=on,
            how="left",
            nulls_equal=True,
        )
        .join(busiest, on=on, how="left", nulls_equal=True)
    )
    # Bonferroni over endpoints, one-sided.
    chance = SIGNIFICANCE / max(rows.height, 1)
    z = -NormalDist().inv_cdf(chance)
    rows = rows.with_columns(
        pl.Series(f"{name}_t", -stdtrit(rows[f"{name}_freedom"].fill_null(1.0).to_numpy(), chance)) for name in _SLOPES
    )
    grows = {
        name: (pl.col(f"{name}_s") > z * pl.col("variance").sqrt())
        & (pl.col(f"{name}_slope") > pl.col(f"{name}_t") * pl.col(f"{name}_error"))
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
#: Days are never taken for more alike than this: what is left of them would be worth nothing.
_MOST_ALIKE, _MOST_LIKELY = 0.98, 0.95
#: A mean of each weekday and a slope are taken out of the days of an endpoint.
_FITTED = 8


def _errors_of(daily: pl.DataFrame, slopes: pl.DataFrame) -> pl.DataFrame:
    """Per endpoint the standard error of each slope (`*_error`, per week), for days of which one resembles the day before, and its
    degrees of freedom (`*_freedom`): how many independent days these are worth, less what was fitted.

    What wanders from day to day looks like a trend to a test that takes days for independent. The error is that of a line through
    days whose rest, beside slope and weekday, is autoregressive. Its correlation r is estimated, too low by about (1 + 3r) / days,
    which is made up for; by some weeks it is told so badly that half of the endpoints would pass for steadier than they are. So it
    is held to that of the others, by as much as chance can make them differ, and taken for one standard error higher than it seems.
    Of ten endpoints and 30 days with r = 0.8 and no trend, 26 of 100 sets had one before, and 2 have; at r = 0 a growth of 5 % a
    week is found on 76 of 100 endpoints instead of 81.
    Sources: Bayley, Hammersley, Suppl. JRSS 8 (1946) 184; Marriott, Pope, Biometrika 41 (1954) 390; shrinkage: Efron, Morris, JASA
    70 (1975) 311.
    """
    on, weeks = list(ENDPOINT), (pl.col("day") - pl.col("day").min()).dt.total_days() / 7
    given = daily.join(
        slopes.select(*on, *(f"{name}_slope" for name in _SLOPES)), on=on, how="inner", nulls_equal=True
    ).with_columns(weeks=weeks)
    level = given.with_columns([pl.col(name) - pl.col(f"{name}_slope") * pl.col("weeks") for name in _SLOPES])
    rest = level.with_columns([pl.col(name) - pl.col(name).mean().over([*on, "weekday"]) for name in _SLOPES])
    before = rest.select(*on, pl.col("day").dt.offset_by("1d"), *_SLOPES)
    pairs = rest.join(before, on=[*on, "day"], how="left", nulls_equal=True, suffix="_before")
    days = pl.len().cast(pl.Int64)
    found = pairs.group_by(on).agg(
        days=days,
        length=(pl.col("weeks") - pl.col("weeks").mean()).pow(2).sum(),
        **{f"{name}_squares": pl.col(name).pow(2).sum() for name in _SLOPES},
        **{f"{name}_products": (pl.col(name) * pl.col(f"{name}_before")).sum() for name in _SLOPES},
    )
    n, free = pl.col("days"), (pl.col("days") - _FITTED).clip(1).cast(pl.Float64)
    for name in _SLOPES:
        squares = pl.col(f"{name}_squares")
        seen = pl.when(squares > 0).then(pl.col(f"{name}_products") / squares)
        found = found.with_columns(r=(n * seen + 1) / (n - 3))
        fleet = pl.col("r").mean().clip(0.0, _MOST_LIKELY)
        chance = (1 - fleet**2) / free
        # How far endpoints differ beyond chance; of few endpoints that is told badly.
        differ = (pl.col("r").var().fill_null(0.0) - chance).clip(0.0) + 2 * chance / pl.col("r").count()
        own = differ / (differ + chance)
        r = (own * pl.col("r") + (1 - own) * fleet).clip(0.0, _MOST_LIKELY).fill_null(0.0)
        doubt = (own * (1 - r**2) / free + (1 - own) * chance / pl.col("r").count()).sqrt().fill_null(0.0)
        most = (r + doubt).clip(0.0, _MOST_ALIKE)
        found = found.with_columns(
            (squares / free * (1 + most) / (1 - most) / pl.col("length")).sqrt().alias(f"{name}_error"),
            (free * (1 - r) / (1 + r)).clip(1.0).alias(f"{name}_freedom"),
        )
    return found.select(*on, *(f"{name}_{what}" for name in _SLOPES for what in ("error", "freedom")))
