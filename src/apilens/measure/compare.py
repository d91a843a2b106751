"""Two windows of the same endpoints side by side: what changed, by how much, and how sure that is."""

from __future__ import annotations

import math

import polars as pl

from apilens.schema import ENDPOINT, table

#: One row per endpoint called in either window, worse first, then most called.
COMPARISON = table(
    {
        "environment": pl.String,
        "service": pl.String,
        "method": pl.String,
        "route": pl.String,
        "calls_before": pl.Int64,
        "calls_after": pl.Int64,
        "error_ratio_before": pl.Float64,  # 4xx and 5xx of real calls, 0..1; null: no calls
        "error_ratio_after": pl.Float64,
        "error_difference": pl.Float64,  # after - before; null: one window has no calls
        "error_low": pl.Float64,  # 95 % interval of the difference; null: as the difference, or both windows have calls in one bin alone
        "error_high": pl.Float64,
        "latency_before_ms": pl.Float64,  # geometric mean of calls below 400; null: none was timed
        "latency_after_ms": pl.Float64,
        "latency_factor": pl.Float64,  # after / before
        "latency_low": pl.Float64,  # 95 % interval of the factor; null: as error_low
        "latency_high": pl.Float64,
        "verdict": pl.String,  # worse | better | same | new | gone | unknown (too few calls or bins to say)
    }
)

#: Share of false discoveries among what is called worse or better. Source: Benjamini, Hochberg, JRSS B 57 (1995) 289.
FALSE_DISCOVERIES = 0.05
#: Changes below these are no matter, however certain (picked: half a point, a tenth).
MIN_ERROR_DIFFERENCE, MIN_LATENCY_FACTOR = 0.005, 1.10
MIN_CALLS = 30


def compare(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """COMPARISON of two windows. before, after: schema.ROLLUPS, any order; bots, scanners and health checks left out.

    Calls of one moment share their fate, so the five-minute bin is what counts as independent: the variance is that of
    a ratio over clusters, and not less than that of single calls. Few bins tell their spread badly: intervals and verdicts are
    Student's, with the degrees of freedom of Welch. One bin alone does not tell how bins differ: it is taken to as those of the other window
    do, and where that has but one as well there is no interval, and the verdict is unknown.
    Sources: Cochran, Sampling Techniques, section 2.11; Welch, Biometrika 34 (1947) 28.
    """
    from scipy.special import stdtrit  # takes half a second to import

    sides = [
        _ratios(side).rename({name: f"{name}_{word}" for name in _SUMS})
        for side, word in ((before, "before"), (after, "after"))
    ]
    both = sides[0].join(sides[1], on=list(ENDPOINT), how="full", coalesce=True, nulls_equal=True)
    errors = pl.col("error_ratio_after") - pl.col("error_ratio_before")
    latency = pl.col("log_ms_after") - pl.col("log_ms_before")
    both = both.with_columns(
        _with_the_others_spread(name, side, other)
        for name in ("error", "log")
        for side, other in (("before", "after"), ("after", "before"))
    ).unnest("error_before", "error_after", "log_before", "log_after")
    rows = both.with_columns(
        pl.col("calls_before", "calls_after").fill_null(0),
        error_difference=errors,
        error_se=(pl.col("error_var_before") + pl.col("error_var_after")).sqrt(),
        error_df=_freedom("error"),
        log_factor=latency,
        latency_se=(pl.col("log_var_before") + pl.col("log_var_after")).sqrt(),
        latency_df=_freedom("log"),
    )
    rows = rows.with_columns(
        pl.Series(f"{name}_t", stdtrit(rows[f"{name}_df"].to_numpy(), 0.975)) for name in ("error", "latency")
    )
    enough = (pl.min_horizontal("calls_before", "calls_after") >= MIN_CALLS) & pl.col("error_se").is_not_null()
    rows = rows.with_columns(enough=enough)
    significant = _discoveries(
        pl.concat([_two_sided(rows, "error_difference", "error"), _two_sided(rows, "log_factor", "latency")])
    )
    error_matters = (pl.col("error_difference").abs() >= MIN_ERROR_DIFFERENCE) & significant.head(rows.height)
    slow_matters = (pl.col("log_factor").abs() >= math.log(MIN_LATENCY_FACTOR)) & significant.tail(rows.height)
    worse = (error_matters & (pl.col("error_difference") > 0)) | (slow_matters & (pl.col("log_factor") > 0))
    better = (error_matters & (pl.col("error_difference") < 0)) | (slow_matters & (pl.col("log_factor") < 0))
    verdict = (
        pl.when(pl.col("calls_before") == 0)
        .then(pl.lit("new"))
        .when(pl.col("calls_after") == 0)
        .then(pl.lit("gone"))
        .when(~pl.col("enough"))
        .then(pl.lit("unknown"))
        .when(worse.fill_null(False))
        .then(pl.lit("worse"))
        .when(better.fill_null(False))
        .then(pl.lit("better"))
        .otherwise(pl.lit("same"))
    )
    return (
        rows.with_columns(
            verdict=verdict,
            error_low=pl.col("error_difference") - pl.col("error_t") * pl.col("error_se"),
            error_high=pl.col("error_difference") + pl.col("error_t") * pl.col("error_se"),
            latency_before_ms=pl.col("log_ms_before").exp(),
            latency_after_ms=pl.col("log_ms_after").exp(),
            latency_factor=pl.col("log_factor").exp(),
            latency_low=(pl.col("log_factor") - pl.col("latency_t") * pl.col("latency_se")).exp(),
            latency_high=(pl.col("log_factor") + pl.col("latency_t") * pl.col("latency_se")).exp(),
        )
        .sort(
            pl.col("verdict") != "worse",
            pl.col("calls_before") + pl.col("calls_after"),
            *ENDPOINT,
            descending=[False, True, False, False, False, False],
        )
        .select(pl.col(name).cast(dtype) for name, dtype in COMPARISON.items())
    )


_SUMS = ("calls", "bins", "error_ratio", "error_single", "error_spread", "log_ms", "log_single", "log_spread")
#: Degrees of freedom from which on Student's t is normal, for all that matters.
_MANY = 1e6


def _with_the_others_spread(name: str, side: str, other: str) -> pl.Expr:
    """Variance (`NAME_var_SIDE`) of an estimate and its degrees of freedom (`NAME_df_SIDE`): over bins, and not less than over calls; of one
    bin over calls, and what bins of the other window differ by beyond that. Null: neither has two bins."""
    bins, single, spread = (pl.col(f"{what}_{side}") for what in ("bins", f"{name}_single", f"{name}_spread"))
    others, their_single, their_spread = (
        pl.col(f"{what}_{other}") for what in ("bins", f"{name}_single", f"{name}_spread")
    )
    beyond = others * (their_spread - their_single).clip(0.0)
    known = pl.max_horizontal("bins_before", "bins_after") > 1
    variance = pl.when(bins > 1).then(pl.max_horizontal(single, spread)).when(known).then(single + beyond)
    by_bins = pl.when(bins > 1).then(spread > single).otherwise(beyond > 0)
    freedom = pl.when(by_bins).then(pl.when(bins > 1).then(bins).otherwise(others) - 1).otherwise(_MANY)
    return pl.struct(
        variance.alias(f"{name}_var_{side}"), pl.when(known).then(freedom.cast(pl.Float64)).alias(f"{name}_df_{side}")
    ).alias(f"{name}_{side}")


def _freedom(name: str) -> pl.Expr:
    """Degrees of freedom of the difference of two estimates, from the variance and degrees of freedom of each; null: none."""
    variances = [pl.col(f"{name}_var_{side}") for side in ("before", "after")]
    parts = [v**2 / pl.col(f"{name}_df_{side}") for v, side in zip(variances, ("before", "after"), strict=True)]
    return ((variances[0] + variances[1]) ** 2 / (parts[0] + parts[1])).fill_nan(_MANY).clip(1, _MANY)


def _ratios(rollups: pl.DataFrame) -> pl.DataFrame:
    """Per endpoint calls, bins, error ratio, mean log ms of calls below 400, and the variances of both over calls and over bins."""
    good = pl.col("status_code") < 400
    bins = (
        rollups.filter(pl.col("synthetic_type").is_null())
        .group_by(*ENDPOINT, "bin_start")
        .agg(
            pl.col("calls").sum(),
            pl.col("calls").filter(pl.col("status_code") >= 400).sum().alias("errors"),
            pl.col("durations", "log_duration_sum", "log_duration_sumsq").filter(good).sum(),
        )
        .with_columns(
            r=pl.col("errors").sum().over(ENDPOINT) / pl.col("calls").sum().over(ENDPOINT),
            m=pl.col("log_duration_sum").sum().over(ENDPOINT) / pl.col("durations").sum().over(ENDPOINT),
        )
    )
    n, timed, clusters = pl.col("calls").sum(), pl.col("durations").sum(), pl.len()
    correction = clusters / (clusters - 1).clip(1)
    # Agresti-Coull: no errors in a hundred calls are not a certainty.
    shrunk = (pl.col("errors").sum() + 2) / (n + 4)
    binomial = shrunk * (1 - shrunk) / (n + 4)
    spread = correction * ((pl.col("errors") - pl.col("r") * pl.col("calls")) ** 2).sum() / n**2
    single = (pl.col("log_duration_sumsq").sum() / timed - pl.col("m").first() ** 2).clip(0) / timed
    clustered = correction * ((pl.col("log_duration_sum") - pl.col("m") * pl.col("durations")) ** 2).sum() / timed**2
    return bins.group_by(ENDPOINT).agg(
        n.alias("calls"),
        clusters.cast(pl.Int64).alias("bins"),
        pl.col("r").first().alias("error_ratio"),
        binomial.alias("error_single"),
        spread.alias("error_spread"),
        pl.col("m").first().fill_nan(None).alias("log_ms"),
        single.fill_nan(None).alias("log_single"),
        clustered.fill_nan(None).alias("log_spread"),
    )


def _two_sided(rows: pl.DataFrame, value: str, name: str) -> pl.Series:
    """p of each row's change against none; 1.0 where there are too few calls."""
    t = rows.select(
        pl.when(pl.col("enough"))
        .then((pl.col(value) / pl.col(f"{name}_se").clip(1e-12)).abs())
        .otherwise(0.0)
        .fill_null(0.0)
    ).to_series()
    from scipy.special import stdtr

    return pl.Series("p", 2 * stdtr(rows[f"{name}_df"].fill_null(_MANY).to_numpy(), -t.to_numpy()))


def _discoveries(p: pl.Series) -> pl.Series:
    """Which of many p-values stand, by the step-up procedure of Benjamini and Hochberg."""
    ordered = p.sort()
    highest = ordered.filter(
        ordered <= FALSE_DISCOVERIES * pl.int_range(1, p.len() + 1, eager=True) / max(p.len(), 1)
    ).max()
    return p <= (-1.0 if highest is None else highest)
