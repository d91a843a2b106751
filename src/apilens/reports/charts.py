"""Series for the report's charts, from rollups: tables in, small tables out.

Everywhere `rollups` are rows of `schema.ROLLUPS` (unit_id not needed), bins of 5 minutes or a multiple of it. Calls of
bots, scanners and health checks are left out of every series: they are not what users ran into.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from apilens import histogram
from apilens.schema import BIN_S, ENDPOINT

#: Bin widths in seconds that a reader can name.
_WIDTHS_S = (300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800)
#: Two-sided 99 %: with 95 % one of twenty endpoints which did not change would look as if it had. Our choice.
_Z99 = 2.5758
#: Edges in ms of the latency bands in the heatmap; 1-2-5 steps are read without thinking.
BANDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000)


def width_s(first: datetime, last: datetime, *, at_most: int) -> int:
    """Width in seconds of bins such that at most `at_most` of them cover first..last; whole weeks beyond the list."""
    span_s = (last - first).total_seconds() + BIN_S
    for width in _WIDTHS_S:
        if span_s <= width * at_most:
            return width
    week = _WIDTHS_S[-1]
    return week * -int(-span_s // (week * at_most))


def of_users(rollups: pl.DataFrame) -> pl.DataFrame:
    """The rollups of calls that are taken for real use."""
    return rollups.filter(pl.col("synthetic_type").is_null())


def over_time(rollups: pl.DataFrame, *, every_s: int) -> pl.DataFrame:
    """One row per bin of `every_s` seconds from the first call to the last, without holes.

    Columns: bin_start, calls, status_2xx, status_3xx, status_4xx, status_5xx, status_other (calls whose status is
    unknown or outside 200..599), error_ratio (5xx, 0..1), client_error_ratio (4xx), p50_ms, p95_ms, p99_ms
    (nearest rank of the histogram, within 1 %). Counts are 0, ratios and percentiles null in an empty bin.
    """
    binned = of_users(rollups).with_columns(_bin(every_s))
    status = pl.col("status_code")
    counts = binned.group_by("bin_start").agg(
        pl.col("calls").sum(),
        *(
            pl.col("calls").filter(status.is_between(first, first + 99)).sum().alias(f"status_{first // 100}xx")
            for first in (200, 300, 400, 500)
        ),
    )
    middle = percentiles(binned, ["bin_start"])
    if counts.is_empty():
        return _with_ratios(counts).join(middle.drop("n"), on="bin_start", how="left")
    first, last = counts.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    steps = pl.select(bin_start=pl.datetime_range(first, last, interval=f"{every_s}s"))
    whole = steps.join(counts, on="bin_start", how="left").with_columns(pl.exclude("bin_start").fill_null(0))
    return _with_ratios(whole).join(middle.drop("n"), on="bin_start", how="left").sort("bin_start")


def _bin(every_s: int) -> pl.Expr:
    return pl.col("bin_start").dt.truncate(f"{every_s}s")


def _with_ratios(counts: pl.DataFrame) -> pl.DataFrame:
    calls = pl.col("calls")
    return counts.with_columns(
        status_other=calls - pl.sum_horizontal(pl.col("^status_.xx$")),
        error_ratio=pl.when(calls > 0).then(pl.col("status_5xx") / calls),
        client_error_ratio=pl.when(calls > 0).then(pl.col("status_4xx") / calls),
    )


def percentiles(rollups: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """p50_ms, p95_ms, p99_ms per group of `by`, and n, the calls whose duration is known; no row for a group without.

    Nearest rank: the value of the bucket that holds call number ceil(q·n) in ascending order.
    """
    cumulated = _cumulated(rollups, by)
    return (
        cumulated.group_by(by)
        .agg(pl.col("n").first(), *(_quantile_ms(q).alias(f"p{q * 100:.0f}_ms") for q in (0.5, 0.95, 0.99)))
        .sort(by)
    )


def _cumulated(rollups: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """One row per (group, bucket), ascending: rank (calls up to and with the bucket), n (calls of the group)."""
    return (
        rollups.lazy()
        .select(*by, "bucket", "bucket_calls")
        .filter(pl.col("bucket").list.len() > 0)
        .explode("bucket", "bucket_calls")
        .group_by(*by, "bucket")
        .agg(pl.col("bucket_calls").cast(pl.Int64).sum().alias("in_bucket"))
        .sort("bucket")
        .with_columns(rank=pl.col("in_bucket").cum_sum().over(list(by)), n=pl.col("in_bucket").sum().over(list(by)))
        .collect(engine="streaming")
        .sort(*by, "bucket")
    )


def _quantile_ms(share: float | pl.Expr) -> pl.Expr:
    """Within a group of `_cumulated`: the duration at nearest rank ceil(share·n), share clipped to 0..1."""
    wanted = (pl.lit(share) if isinstance(share, float) else share) * pl.col("n").first()
    rank = wanted.ceil().clip(1, pl.col("n").first())
    return histogram.estimate_ms(pl.col("bucket").filter(pl.col("rank") >= rank).first())


def expected_band(
    series: pl.DataFrame, abnormal: Sequence[tuple[datetime, datetime]], *, memory: timedelta = timedelta(days=7)
) -> pl.DataFrame:
    """What error ratio was to be expected in each bin of `over_time`: expected, low, high (0..1), one row per bin.

    expected is the ratio p over the preceding `memory`, abnormal windows [start, end) left out; low and high are
    p ± 3·sqrt(p(1-p)/n) for the n calls of the bin. Null until the memory holds one day and 100 calls, and for n = 0.
    Source: the p-chart of Shewhart, Economic Control of Quality of Manufactured Product (1931).
    """
    start, calls = pl.col("bin_start"), pl.col("calls")
    usual = ~pl.any_horizontal(pl.lit(False), *((start >= first) & (start < last) for first, last in abnormal))
    rows = series.select("bin_start", "calls", "status_5xx").with_columns(
        usual_calls=pl.when(usual).then(calls).otherwise(0),
        usual_errors=pl.when(usual).then("status_5xx").otherwise(0),
    )
    past = rows.with_columns(
        # closed="left": a bin is never part of its own expectation.
        pl.col("usual_calls", "usual_errors").rolling_sum_by("bin_start", window_size=memory, closed="left")
    )
    p = pl.col("usual_errors") / pl.col("usual_calls")
    known = (start >= start.min() + timedelta(days=1)) & (pl.col("usual_calls") >= 100) & (calls > 0)
    spread = 3 * (pl.col("expected") * (1 - pl.col("expected")) / calls).sqrt()
    return past.select("bin_start", "calls", expected=pl.when(known).then(p)).select(
        "bin_start",
        "expected",
        low=(pl.col("expected") - spread).clip(0, 1),
        high=(pl.col("expected") + spread).clip(0, 1),
    )


def latency_bands(rollups: pl.DataFrame, *, every_s: int) -> pl.DataFrame:
    """How the calls of each bin spread over BANDS_MS: bin_start, band (0 = up to the first edge), share (0..1)."""
    estimate = histogram.estimate_ms(pl.col("bucket"))
    band = pl.sum_horizontal((estimate > edge).cast(pl.Int16) for edge in BANDS_MS)
    return (
        _cumulated(of_users(rollups).with_columns(_bin(every_s)), ["bin_start"])
        .with_columns(band=band)
        .group_by("bin_start", "band")
        .agg(share=pl.col("in_bucket").sum() / pl.col("n").first())
        .sort("bin_start", "band")
    )


def gaps(rollups: pl.DataFrame, *, at_least: timedelta = timedelta(minutes=30)) -> pl.DataFrame:
    """Stretches without a single call, synthetic ones included, in which 30 would be expected at the mean rate.

    Columns start, end, expected_calls. 30: a Poisson process is silent that long once in 1e13 stretches, so either the
    log or the gateway was away, or the traffic sleeps at night; which one is for the reader to say.
    """
    bins = rollups.filter(pl.col("calls") > 0).select("bin_start").unique().sort("bin_start")
    if bins.height < 2:
        return pl.DataFrame(
            schema={"start": bins.schema["bin_start"], "end": bins.schema["bin_start"], "expected_calls": pl.Float64}
        )
    grain = bins.select(pl.col("bin_start").diff().min()).item()
    first, last = bins.select(first=pl.col("bin_start").min(), last=pl.col("bin_start").max()).row(0)
    per_second = rollups["calls"].sum() / ((last - first) + grain).total_seconds()
    start, end = pl.col("bin_start") + grain, pl.col("bin_start").shift(-1)
    expected = (pl.col("end") - pl.col("start")).dt.total_seconds() * per_second
    return (
        bins.select(start=start, end=end)
        .with_columns(expected_calls=expected)
        .filter((pl.col("end") - pl.col("start") >= at_least) & (pl.col("expected_calls") >= 30))
    )


def changes(rollups: pl.DataFrame, mark: datetime) -> pl.DataFrame:
    """Each endpoint since `mark` against before it: one row per endpoint with calls on both sides.

    Columns: ENDPOINT, calls_before, calls_after; errors_ratio, errors_low, errors_high: error ratio (5xx) after over
    before with its 99 % interval, null where neither side has an error; p95_ratio, p95_low, p95_high likewise, null
    where durations are unknown. The bin that holds `mark` counts as before when it starts before it.
    Source: log ratio of proportions with 1/2 added (Walter, 1975; Katz et al., Biometrics 34, 1978); order-statistic
    interval of a quantile, combined by square-and-add on the log scale (Donner and Zou, 2012).
    """
    sides = of_users(rollups).with_columns(after=pl.col("bin_start") >= mark)
    after, failed = pl.col("after"), pl.col("status_code").is_between(500, 599)
    counted = (
        sides.group_by(ENDPOINT)
        .agg(
            calls_before=pl.col("calls").filter(~after).sum(),
            calls_after=pl.col("calls").filter(after).sum(),
            errors_before=pl.col("calls").filter(~after & failed).sum(),
            errors_after=pl.col("calls").filter(after & failed).sum(),
        )
        .filter((pl.col("calls_before") > 0) & (pl.col("calls_after") > 0))
    )
    a, n = pl.col("errors_after") + 0.5, pl.col("calls_after") + 0.5
    b, m = pl.col("errors_before") + 0.5, pl.col("calls_before") + 0.5
    spread = _Z99 * (1 / a - 1 / n + 1 / b - 1 / m).clip(0).sqrt()
    ratio = (a / n) / (b / m)
    seen = pl.col("errors_after") + pl.col("errors_before") > 0
    compared = counted.with_columns(
        errors_ratio=pl.when(seen).then(ratio),
        errors_low=pl.when(seen).then(ratio * (-spread).exp()),
        errors_high=pl.when(seen).then(ratio * spread.exp()),
    ).drop("errors_before", "errors_after")
    return compared.join(_p95_changes(sides), on=ENDPOINT, how="left", nulls_equal=True).sort(ENDPOINT)


def _p95_changes(sides: pl.DataFrame) -> pl.DataFrame:
    q = 0.95
    reach = _Z99 * (q * (1 - q) / pl.col("n").first()).sqrt()
    sided = (
        _cumulated(sides, [*ENDPOINT, "after"])
        .group_by(*ENDPOINT, "after")
        .agg(
            p95=_quantile_ms(q).clip(histogram.SMALLEST_MS).log(),
            low=_quantile_ms(q - reach).clip(histogram.SMALLEST_MS).log(),
            high=_quantile_ms(q + reach).clip(histogram.SMALLEST_MS).log(),
        )
    )
    before, after = sided.filter(~pl.col("after")), sided.filter(pl.col("after"))
    pair = after.join(before, on=ENDPOINT, suffix="_before", nulls_equal=True)
    shift = pl.col("p95") - pl.col("p95_before")
    down = ((pl.col("p95") - pl.col("low")) ** 2 + (pl.col("high_before") - pl.col("p95_before")) ** 2).sqrt()
    up = ((pl.col("high") - pl.col("p95")) ** 2 + (pl.col("p95_before") - pl.col("low_before")) ** 2).sqrt()
    return pair.select(*ENDPOINT, p95_ratio=shift.exp(), p95_low=(shift - down).exp(), p95_high=(shift + up).exp())


def of_problem(rollups: pl.DataFrame, *, environment: str, service: str | None, endpoints: list[str]) -> pl.DataFrame:
    """The rollups of a candidate's endpoints ("METHOD /route"); service None: of any service."""
    name = pl.concat_str(pl.col("method").fill_null("-"), pl.col("route").fill_null("-"), separator=" ")
    chosen = (pl.col("environment") == environment) & name.is_in(endpoints)
    return rollups.filter(chosen if service is None else chosen & (pl.col("service") == service))


def signal_over_time(
    rollups: pl.DataFrame, *, signal: str, unit: str, status: str | None, every_s: int
) -> pl.DataFrame:
    """The quantity a candidate's observed and expected are about, per bin: bin_start, value (null: nothing counted).

    errors, auth and rate_limit: share of calls (0..1) that ended with `status`, else with 5xx, 401/403 or 429.
    latency: geometric mean in ms of the calls below status 400 where unit is ms, else their p95 in ms.
    traffic: calls per 5 minutes.
    """
    series = over_time(rollups, every_s=every_s)
    if signal == "traffic":
        return series.select("bin_start", value=pl.col("calls") * (BIN_S / every_s))
    if signal == "latency":
        good = of_users(rollups).filter(pl.col("status_code") < 400).with_columns(_bin(every_s))
        if unit == "ms":
            logs, timed = pl.col("log_duration_sum").sum(), pl.col("durations").sum()
            value = good.group_by("bin_start").agg(value=pl.when(timed > 0).then((logs / timed).exp()))
        else:
            value = percentiles(good, ["bin_start"]).select("bin_start", value="p95_ms")
        return series.select("bin_start").join(value, on="bin_start", how="left").sort("bin_start")
    if status is not None and status.isdecimal():
        meant = pl.col("status_code") == int(status)
    else:
        meant = {
            "auth": pl.col("status_code").is_in([401, 403]),
            "rate_limit": pl.col("status_code") == 429,
        }.get(signal, pl.col("status_code").is_between(500, 599))
    hits = of_users(rollups).filter(meant).group_by(_bin(every_s)).agg(hits=pl.col("calls").sum())
    return (
        series.join(hits, on="bin_start", how="left")
        .sort("bin_start")
        .select("bin_start", value=pl.when(pl.col("calls") > 0).then(pl.col("hits").fill_null(0) / pl.col("calls")))
    )


def by_endpoint(rollups: pl.DataFrame, *, every_s: int) -> pl.DataFrame:
    """One row per (endpoint, bin) with calls: ENDPOINT, bin_start, calls, durations (calls with one), errors (5xx)."""
    return (
        of_users(rollups)
        .group_by(*ENDPOINT, _bin(every_s))
        .agg(
            pl.col("calls", "durations").sum(),
            errors=pl.col("calls").filter(pl.col("status_code").is_between(500, 599)).sum(),
        )
        .sort(*ENDPOINT, "bin_start")
    )
