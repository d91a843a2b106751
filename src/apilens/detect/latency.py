"""Slower answers: a shift of the mean log latency, a drift over days, and a heavier tail.

All three compare with the endpoint's own past and ask twice: is it improbable under that past's spread, and is it beyond
what the endpoint does on its second worst day anyway (a nightly backup, the morning peak)? More calls than usual explain
slowness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import betainc, ndtr, ndtri, stdtr

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series, habit, spread
from apilens.detect.bins import DAY, HOUR, Bools, Floats, Ints, Sums, back, same_time, window_max, window_sum
from apilens.detect.latency_load import (
    WEEK,
    Totals,
    at_load,
    by_crowd,
    by_load,
    by_more_calls,
    sums_of_week,
    under_load,
    without_busy_bins,
)

#: Windows of shift and tail in bins, and by which factor the geometric mean must have grown.
SHIFT_WINDOWS = ((3, 1.3), (6, 1.25), (12, 1.25), (48, 1.25))
#: A slow degradation: a whole day against the week that ended a day before, so that it does not hide in its own baseline. Against the week that
#: ended three days before, a fifth of the drifts that are found was missed: what a week does not know cannot be held against the day (decision 13).
DRIFT_WINDOW, DRIFT_SKIP, DRIFT_FACTOR = DAY, DAY, 1.15
MIN_TIMED = 8
#: What is slow is known where so many calls of a week were; and their share is held to that by so many calls.
MIN_SLOW, PRIOR_CALLS = 3, 100.0
#: A shift waits while it passes: against so many bins before, by so many standard errors. See _passes.
PASSING_BINS, PASSING_ERRORS = 3, 2.5
#: Means of heavy-tailed latencies are not normal: Student's t asks a shift for 5.0 standard errors to open, a drift for 5.9.
#: Those of a handful of calls are even less so: of ten calls, 6.8.
T_DEGREES, DRIFT_DEGREES = 100, 30
DEGREES_PER_CALL = 2
#: Mean square of standardised residuals before the endpoint's own are known; 1.0 would be a perfect model.
PRIOR_SPREAD = 2.0
#: What is known of a time of day, and of the two hours before, is held back by so many calls.
PROFILE_CALLS, RECENT_CALLS = 30.0, 30.0
#: Variance of an endpoint's mean log latency around its forecast, beyond sampling: before its own is known, and at least.
PRIOR_WANDER, MIN_WANDER = 0.02, 0.002
#: Day means wander more than calls do; from days of ordinary endpoints.
DRIFT_PRIOR_SPREAD = 5.0
#: A shift and a tail open at one window in a million.
OPEN_LOG10_P = -6.0
#: A day opens at one in ten million where it is a fifth slower; a seventh must be beyond any doubt: each five of those found cost four that are none.
DRIFT_OPENS = ((1.2, -7.0), (DRIFT_FACTOR, -18.0))
#: Days get rarer half as fast as other windows do with the chance asked of them (baseline.RARER): a service has slow days, whatever its model says.
DRIFT_RARER = 2.0
#: It must also go so far beyond what the endpoint's own week reached: where a service's latency wanders for hours, the next week has a
#: little more than any before it. Some three in a million are enough where that week stays far below: what it did then says more of its spread
#: than any model. Picked on 85 worlds (decision 13): the same faults, a quarter of all false tickets less.
HABIT_FACTOR = 1.2
CLEAR_LOG10_P, CLEAR_FACTOR = -5.5, 1.4
#: Less than half as slow again is what services are now and then (slow neighbours, caches, releases): so many decades of chance more are asked of it.
#: In four kinds of worlds whose authors had not seen the detector 28 of 38 hours that opened so were no fault, of slower ones 2 of 28 (decision 13).
SMALL_FACTOR, SMALL_DOUBT = 1.5, 1.0
#: A load that was never seen is no excuse for being so many times as slow as is explained: its steps are coarse, and where calls come as often
#: every day one call more may be the next step. Without a limit it cost nine false tickets (decision 13).
UNSEEN_FACTOR = 2.0
#: Squares above this are incidents, not spread.
SQUARE_LIMIT, DRIFT_SQUARE_LIMIT = 64.0, 144.0
#: No own habit is known before two days of traffic.
YOUNG = 2 * DAY
#: Least overdispersion of slow calls.
MIN_OVER = 0.3
#: What load explains of the slow calls may be wrong by so much of itself, as a standard deviation. Of nine false tails in quiet worlds eight came
#: with two to seven times the usual calls, and load explained half of the expected share; true ones have no such load.
LOAD_DOUBT = 0.5


@dataclass(frozen=True, slots=True)
class Tail:
    """Which calls are slow, and when a window has too many: those that take longer than all but `share` of the calls of the week before.

    A window has `factor` times as many as expected, and so many more that they are `least` of its calls. Where the mean is hardly slower,
    it opens by the chance alone_log10_p.
    """

    share: float
    factor: float
    least: float
    alone_log10_p: float


#: The first is DETECTION's q97. At the chance of the others it opened, where the mean is hardly slower, two faults and a dozen false tickets in 40
#: worlds; at its own, one of the faults and one of the two false ones that were looked at again are left. The second sees what the first cannot:
#: of one call in thirty that takes ten times as long the first makes two where one was expected, the second seven (decision 13).
TAILS = (Tail(0.03, 3.0, 0.05, -8.0), Tail(0.005, 4.0, 0.01, OPEN_LOG10_P))


@dataclass(frozen=True, slots=True)
class Slow:
    """Slow calls per bin, and the calls they were counted among; (endpoints, bins), and their sums."""

    calls: Floats
    among: Floats
    sums: Sums
    among_sums: Sums


@dataclass(frozen=True, slots=True)
class _Usual:
    """Of windows of one size: mean and variance of the log latency in the week before, and what load explains of today's."""

    mean: Floats
    variance: Floats
    explained: Floats  # the fleet's load
    crowd: Floats  # more calls than usual


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal latency; observed and expected in ms (geometric mean) or as ratio of
    slow calls."""
    # Endpoints that are never asked enough on a day are not worth the arithmetic; each row is judged by itself.
    timed = Sums(series.timed)
    enough = np.flatnonzero(timed.window(DAY).max(axis=1) >= MIN_TIMED)
    # Those with few calls together: for them the short windows need not be looked at.
    enough = enough[np.argsort(-timed.window(SHIFT_WINDOWS[0][0]).max(axis=1)[enough], kind="stable")]
    found = [anomalies.ANOMALIES.to_frame()]
    for rows, piece in series.pieces(enough):
        slow = _slower(without_busy_bins(piece), fleet)
        found.append(
            slow.with_columns(endpoint=pl.Series(rows[slow["endpoint"]] + series.first_endpoint, dtype=pl.Int64))
        )
    return pl.concat(found)


def _slower(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies of a piece, strongest windows only."""
    totals = Totals(series, fleet)
    load = under_load(series, fleet, series.log_sum, series.timed)
    tails = [
        (tail, slow, under_load(series, fleet, slow.calls, slow.among))
        for tail, slow in zip(TAILS, count_slow(series, fleet, slow_limits(series, fleet)), strict=True)
    ]
    found = []
    for width, factor in SHIFT_WINDOWS:
        if totals.timed.window(width).max() < MIN_TIMED:
            continue
        usual = _Usual(*by_load(totals, width, width + HOUR), by_crowd(series, totals, width))
        shift, slower = _shift(series, fleet, totals, load, usual, width, factor)
        found.append(shift)
        found.extend(_tail(series, fleet, tail, slow, load_of, usual, slower, width) for tail, slow, load_of in tails)
    load = at_load(series.calls, fleet, series.log_sum, series.timed, skip_days=DRIFT_SKIP // DAY, steps=0)
    found.append(_drift(series, fleet, totals, load))
    return anomalies.strongest(pl.concat(found))


def _shift(
    series: Series,
    fleet: Fleet,
    totals: Totals,
    load: tuple[Floats, Bools],
    usual: _Usual,
    width: int,
    factor: float,
) -> tuple[pl.DataFrame, Bools]:
    """Windows whose mean log latency lies above what load, time of day and the two hours before let expect; and which windows
    are slower by the factor at all.

    An additive forecast of three parts, each learned from the past only and each held to the one before by so many
    calls: the endpoint's own load; what that leaves at this time of day; what that leaves in the two hours before,
    where it was slow already (weather: a cache that empties, a slow neighbour). Source: shrinkage of random effects,
    e.g. Gelman et al., Bayesian Data Analysis, section 5.
    """
    n, s = totals.timed.window(width), totals.log_sum.window(width)
    behind = width + HOUR
    past_n = totals.timed.past(WEEK, behind)
    safe_n = np.maximum(n, 1.0)
    past_mean, variance, explained = usual.mean, usual.variance, usual.explained
    own, unseen = load
    left = Sums(series.log_sum - series.timed * (past_mean + own))
    reach = max(width, 2 * HOUR)
    ahead = (reach - width) // 2  # centred on the window
    profile, profile_n = (same_time(each.window(reach), ahead) for each in (left, totals.timed))
    profile /= profile_n + PROFILE_CALLS
    left_recent = left.past(2 * HOUR, width)
    recent_n = totals.timed.past(2 * HOUR, width)
    recent = (left_recent - recent_n * profile) / (recent_n + RECENT_CALLS)
    own = window_sum(own * series.timed, width) / safe_n
    expected = past_mean + np.maximum(explained, own + profile + np.maximum(recent, 0.0)) + usual.crowd
    usable = (n >= MIN_TIMED) & (past_n >= 50) & (_age(series, fleet) >= behind + YOUNG)
    # A single slow bin is a pause of the garbage collector or one huge request: the others must be slow without it.
    each = series.log_sum - series.timed * past_mean
    worst = np.maximum(window_max(each, width), 0.0)
    rest = (s - worst - safe_n * past_mean) / (safe_n * (1 - 1 / width))
    residual = np.where(usable, rest + past_mean - expected, 0.0)
    comparable = (2 * window_sum(unseen * series.timed, width) <= n) | (residual > math.log(UNSEEN_FACTOR))
    sampling = variance * (1 / (safe_n * (1 - 1 / width)) + 1 / (profile_n + PROFILE_CALLS))
    # Only the upper side is asked for: without its worst bin a window is faster than forecast, mostly.
    above = 2 * np.minimum(np.maximum(residual, 0.0) ** 2, 9 * (sampling + PRIOR_WANDER))
    wander = spread(above - sampling, usable, fleet, prior=PRIOR_WANDER, weight=DAY / 4)
    z = residual / np.sqrt(sampling + np.maximum(wander, MIN_WANDER))
    changed = residual > math.log(factor)
    slower = usable & (z > 2.5) & changed & _still(totals, width, residual, factor)
    rows, bins = np.nonzero(slower)
    degrees = np.minimum(T_DEGREES, DEGREES_PER_CALL * n[rows, bins])
    log10_p = anomalies.log10_tail(stdtr(degrees, -z[rows, bins]))
    lasting = comparable[rows, bins] & ~_passes(series, rows, bins, expected[rows, bins], variance)
    doubt = np.where(residual[rows, bins] < math.log(SMALL_FACTOR), SMALL_DOUBT, 0.0)
    opens = _opens(log10_p + fleet.many[bins] + doubt, z, rows, bins, lasting, fleet)
    excess = n * (1.0 - np.exp(-np.maximum(residual, 0.0)))
    observed = np.exp(s / safe_n)
    return _frame(series, rows, bins, width, log10_p, opens, observed, np.exp(expected), "ms", n, excess), slower


def _passes(series: Series, rows: Ints, bins: Ints, expected: Floats, variance: Floats) -> Bools:
    """Whether slowness goes down by itself, as it does while caches fill after a deployment: (row, bin) is less than half as slow (of logs)
    as one of the bins before it, beyond what is chance with so few calls."""
    spread = np.broadcast_to(variance, series.timed.shape)[rows, bins]

    def slowness(ago: int) -> tuple[Floats, Floats]:
        at = np.maximum(bins - ago, 0)
        n = series.timed[rows, at]
        return np.where(n > 0, series.log_sum[rows, at] / np.maximum(n, 1.0) - expected, 0.0), np.maximum(n, 0.5)

    now, n = slowness(0)
    passes = np.zeros(len(rows), dtype=bool)
    for ago in range(1, PASSING_BINS + 1):
        before, calls = slowness(ago)
        passes |= (now < before / 2) & (before - now > PASSING_ERRORS * np.sqrt(spread * (1 / n + 1 / calls)))
    return passes


def _opens(log10_p: Floats, z: Floats, rows: Ints, bins: Ints, may: Bools, fleet: Fleet) -> Bools:
    """Which of the windows that end with (rows, bins) open, by their chance and their standard errors, given what the
    endpoint itself reaches anyway (habit). may: nothing else speaks against it."""
    strong = may & (log10_p < OPEN_LOG10_P)
    usual = habit(z, fleet, (rows[strong], bins[strong]))[rows, bins]
    clear: Bools = may & (log10_p < CLEAR_LOG10_P) & (z[rows, bins] > CLEAR_FACTOR * usual)
    return clear | (strong & (z[rows, bins] > HABIT_FACTOR * usual))


def _drift(series: Series, fleet: Fleet, totals: Totals, load: tuple[Floats, Bools]) -> pl.DataFrame:
    """Days whose mean log latency lies above that of the week which ended a day before."""
    n, s = totals.timed.window(DRIFT_WINDOW), totals.log_sum.window(DRIFT_WINDOW)
    behind = DRIFT_WINDOW + DRIFT_SKIP
    past_n = totals.timed.past(WEEK, behind)
    safe_n, safe_past = np.maximum(n, 1.0), np.maximum(past_n, 1.0)
    past_mean, variance, explained = by_load(totals, DRIFT_WINDOW, behind)
    own, unseen = load
    own = window_sum(np.maximum(own, 0.0) * series.timed, DRIFT_WINDOW) / safe_n
    # A day busier than any of that week (a first weekend, a campaign) is slower by as much as busier minutes are.
    days = [each.window(DRIFT_WINDOW) for each in (totals.calls, totals.beside)]
    crowd = by_more_calls([(day, back(window_max(day, WEEK), behind, 0.0)) for day in days])
    expected = past_mean + np.maximum(explained, own) + crowd
    usable = (n >= MIN_TIMED) & (past_n >= 50) & (_age(series, fleet) >= behind + YOUNG)
    comparable = 2 * window_sum(unseen * series.timed, DRIFT_WINDOW) <= n
    residual = np.where(usable, s / safe_n - expected, 0.0)
    z = residual / np.sqrt(variance / safe_n + variance / safe_past)
    # Of the upper side, as in _shift: load explains slowness that most busy days do not have, so z is below nought on nearly all of them.
    above = 2 * np.minimum(np.maximum(z, 0.0) ** 2, DRIFT_SQUARE_LIMIT)
    noise = spread(above, usable, fleet, prior=DRIFT_PRIOR_SPREAD, weight=DAY, skip_days=DRIFT_SKIP // DAY)
    z /= np.sqrt(np.maximum(noise, 1.0))
    changed = (residual > math.log(DRIFT_FACTOR)) & _still(totals, DRIFT_WINDOW, residual, DRIFT_FACTOR)
    changed &= _already(totals, DRIFT_WINDOW, residual, DRIFT_FACTOR)
    rows, bins = np.nonzero(usable & (z > 2.5) & changed)
    log10_p = anomalies.log10_tail(stdtr(DRIFT_DEGREES, -z[rows, bins]))
    slower = residual[rows, bins]
    told = [
        (slower > math.log(factor)) & (log10_p < rule - DRIFT_RARER * fleet.many[bins]) for factor, rule in DRIFT_OPENS
    ]
    opens = np.any(told, axis=0) & comparable[rows, bins]
    excess = n * (1.0 - np.exp(-np.maximum(residual, 0.0)))
    observed = np.exp(s / safe_n)
    found = _frame(series, rows, bins, DRIFT_WINDOW, log10_p, opens, observed, np.exp(expected), "ms", n, excess)
    # A day that is somewhat slower, since an hour of it was far slower, does not make that hour last for a day.
    return found.filter(pl.col("log10_p") < DRIFT_OPENS[0][1])


def _age(series: Series, fleet: Fleet) -> Floats:
    age: Floats = np.arange(fleet.bins, dtype=np.float64)[None, :] - series.born[:, None]
    return age


def _still(totals: Totals, width: int, residual: Floats, factor: float) -> Bools:
    """Whether the last third of the window is slow as well: what ended is no news."""
    return _as_slow(totals, width, max(width // 3, 1), 0, residual, factor)


def _already(totals: Totals, width: int, residual: Floats, factor: float) -> Bools:
    """Whether the first two thirds of the window are slow as well: what is in the last hours alone is no drift."""
    return _as_slow(totals, width, width - width // 3, width // 3, residual, factor)


def _as_slow(totals: Totals, width: int, part: int, skip: int, residual: Floats, factor: float) -> Bools:
    """Whether `part` bins of a window, `skip` before its end, are at least half as slow as the factor asks of all."""
    mean = totals.log_sum.past(part, skip) / np.maximum(totals.timed.past(part, skip), 1.0)
    whole = totals.log_sum.window(width) / np.maximum(totals.timed.window(width), 1.0)
    return mean - whole + residual > math.log(factor) / 2


def count_slow(series: Series, fleet: Fleet, limits: Iterable[Floats]) -> list[Slow]:
    """The slow calls of each of TAILS. limits: as slow_limits has them."""
    row, day = series.buckets["row"].to_numpy(), fleet.day_of(series.buckets["bin"].to_numpy())
    return [count_above(series, limit[row, day]) for limit in limits]


def slow_limits(series: Series, fleet: Fleet) -> list[Floats]:
    """For each of TAILS, (endpoints, UTC days) the bucket above which calls are slow; NaN: too few in the seven days before."""
    row, bin_, bucket = (series.buckets[name].to_numpy().astype(np.int64) for name in ("row", "bin", "bucket"))
    if len(row) == 0:
        return [np.full((len(series.born), fleet.days), np.nan) for _ in TAILS]
    calls, lowest = series.buckets["calls"].to_numpy().astype(np.float64), bucket.min()
    shape = (len(series.born), fleet.days, int(bucket.max() - lowest) + 1)
    at = (row * shape[1] + fleet.day_of(bin_)) * shape[2] + bucket - lowest
    week = sums_of_week(np.bincount(at, calls, math.prod(shape)).astype(np.float64).reshape(shape), 0)
    below = np.cumsum(week, axis=2)
    total = below[:, :, -1]
    return [
        np.where(
            total >= MIN_SLOW / tail.share,
            (below >= (1 - tail.share) * total[:, :, None]).argmax(axis=2) + lowest,
            np.nan,
        )
        for tail in TAILS
    ]


def count_above(series: Series, limit: Floats) -> Slow:
    """The calls in buckets above a limit, among those whose limit is known. limit: of each row of the series' buckets."""
    endpoints, bins = series.calls.shape
    row, bin_, bucket, calls = (series.buckets[name].to_numpy() for name in ("row", "bin", "bucket", "calls"))
    at = row.astype(np.int64) * bins + bin_
    slow, timed = (
        np.bincount(at[kept], calls[kept], endpoints * bins).astype(np.float64).reshape(endpoints, bins)
        for kept in (bucket > limit, ~np.isnan(limit))
    )
    return Slow(slow, timed, Sums(slow), Sums(timed))


def _tail(
    series: Series,
    fleet: Fleet,
    tail: Tail,
    slow: Slow,
    load: tuple[Floats, Bools],
    usual: _Usual,
    slower: Bools,
    width: int,
) -> pl.DataFrame:
    """Windows in which far more calls than usual are slow. load: what load explains of them (under_load); slower: which windows are slower by the
    factor of a shift, however sure that is."""
    k, n = slow.sums.window(width) - window_max(slow.calls, width), slow.among_sums.window(width)
    behind = width + HOUR
    past_n = slow.among_sums.past(WEEK, behind)
    past_share = (slow.sums.past(WEEK, behind) + PRIOR_CALLS * tail.share) / (past_n + PRIOR_CALLS)
    # More load makes more calls slow: by as much as it moves a normal distribution over its quantile.
    variance, explained = usual.variance, np.maximum(usual.explained, 0.0) + usual.crowd
    limit = -ndtri(tail.share)
    share = np.maximum(past_share, past_share * ndtr(explained / np.sqrt(variance) - limit) / tail.share)
    own, unseen = np.maximum(load[0], 0.0), load[1]
    share = np.maximum(share, past_share + window_sum(own * slow.among, width) / np.maximum(n, 1.0))
    comparable = 2 * window_sum(unseen * slow.among, width) <= n
    mean = n * share * (width - 1) / width
    usable = (n >= MIN_TIMED) & (_age(series, fleet) >= YOUNG) & (past_n >= 50)
    z = np.where(usable, (k - mean) / np.sqrt(np.maximum(mean, 0.1)), 0.0)
    # A gamma-Poisson with the variance that past windows of this size had.
    # Of the upper side: more load than usual lets expect slow calls, most of which do not come.
    above = np.minimum(2 * np.maximum(z, 0.0) ** 2, SQUARE_LIMIT)
    over = np.maximum(spread(above, usable, fleet, prior=PRIOR_SPREAD, weight=DAY / 4) - 1.0, MIN_OVER)
    third = max(width // 3, 1)
    reach = max(width, 2 * HOUR)
    before_k, before_n = (each.past(reach, width) for each in (slow.sums, slow.among_sums))
    # Slow weather (see _shift): the two hours before had less than half of it.
    sudden = before_k <= np.maximum(share * before_n, k / np.maximum(n, 1.0) * before_n / 2)
    still = slow.sums.window(third) > 1.5 * share * slow.among_sums.window(third)
    rows, bins = np.nonzero(
        usable
        & (k >= 4)
        & (k > tail.factor * mean)
        & (k - mean > tail.least * n)
        & still
        & (z > 2.5 * np.sqrt(1 + over))
    )
    # Past windows tell that variance at the usual load. Where load explains slow calls, how many is a guess.
    doubt = (LOAD_DOUBT * n * (share - past_share) * (width - 1) / width) ** 2
    over += doubt / np.maximum(mean, 0.1)
    shape = mean[rows, bins] / over[rows, bins]
    log10_p = anomalies.log10_tail(betainc(k[rows, bins], shape, mean[rows, bins] / (mean[rows, bins] + shape)))
    corrected = log10_p + fleet.many[bins]
    told = (comparable & sudden)[rows, bins] & (slower[rows, bins] | (corrected < tail.alone_log10_p))
    opens = _opens(corrected, z, rows, bins, told, fleet)
    return _frame(
        series, rows, bins, width, log10_p, opens, k / np.maximum(n, 1.0), share, "ratio", n, np.maximum(k - mean, 0.0)
    )


def _frame(
    series: Series,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    bins: np.ndarray[tuple[int], np.dtype[np.intp]],
    width: int,
    log10_p: Floats,
    opens: Bools,
    observed: Floats,
    expected: Floats,
    unit: str,
    n: Floats,
    excess: Floats,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "endpoint": rows + series.first_endpoint,
            "detector": "latency",
            "signal": "latency",
            "status_code": None,
            "direction": 1,
            "bin": bins,
            "minutes": None,
            "start_bin": np.maximum(bins - width + 1, 0),
            "opens": opens,
            "log10_p": log10_p,
            "observed": observed[rows, bins],
            "expected": expected[rows, bins],
            "unit": unit,
            "n": n[rows, bins],
            "excess": excess[rows, bins],
        },
        schema=dict(anomalies.ANOMALIES),
        strict=False,
    )
