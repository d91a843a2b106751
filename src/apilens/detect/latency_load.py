"""How much of a slower answer more calls explain: those of the fleet, of the endpoint itself, and of all behind its upstream.

Bins of a burst are left out altogether.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import numpy as np
import polars as pl

from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Bools, Floats, Sums, same_time, window_sum

WEEK = WEEK_DAYS * DAY
#: Ridge of the regression on log load, in units of its variance: a flat load explains nothing.
LOAD_RIDGE = 0.005
#: Steps of load per doubling, calls that make a step known, and calls of the endpoint's mean that each step is shrunk by.
LOAD_STEPS, LOAD_CALLS, LOAD_PRIOR = 3, 20, 30
#: A load is known when it was there for twenty minutes in all.
LOAD_BINS = 4
#: Twice the calls may take 1.75 times as long (a queue near its limit; picked on two kinds of worlds).
LOAD_ELASTICITY = 0.8
#: A bin with so many times the usual calls (and three standard deviations) is a burst.
BURST_FACTOR = 1.6


class Totals:
    """Sums of a piece's series, each made once, and when it is first asked for."""

    def __init__(self, series: Series, fleet: Fleet) -> None:
        logged = np.maximum(window_sum((fleet.load > 0).astype(np.float64), HOUR), 1.0)
        self._load = np.log(np.maximum(window_sum(fleet.load, HOUR) / logged, 1.0))
        self._series = series
        self._since = 0
        self._made: dict[str, Sums] = {}

    def tail(self, since: int) -> Totals:
        """The same sums, returned from a bin on."""
        other = copy(self)
        other._since = since
        return other

    def _sums(self, name: str, matrix: Callable[[], Floats]) -> Sums:
        if name not in self._made:
            self._made[name] = Sums(matrix())
        return self._made[name].tail(self._since)

    @property
    def calls(self) -> Sums:
        return self._sums("calls", lambda: self._series.calls)

    @property
    def beside(self) -> Sums:
        return self._sums("beside", lambda: self._series.beside)

    @property
    def timed(self) -> Sums:
        return self._sums("timed", lambda: self._series.timed)

    @property
    def log_sum(self) -> Sums:
        return self._sums("log_sum", lambda: self._series.log_sum)

    @property
    def log_sumsq(self) -> Sums:
        return self._sums("log_sumsq", lambda: self._series.log_sumsq)

    @property
    def load(self) -> Sums:
        """Of the fleet's log load, per call."""
        return self._sums("load", lambda: self._series.timed * self._load)

    @property
    def load_sq(self) -> Sums:
        return self._sums("load_sq", lambda: self._series.timed * self._load**2)

    @property
    def log_sum_load(self) -> Sums:
        return self._sums("log_sum_load", lambda: self._series.log_sum * self._load)


def without_busy_bins(series: Series) -> Series:
    """The series without the calls of bins that had far more of them than the two hours before and this time of day.

    What a batch job or a crowd does to the latency is their matter, and the traffic detector's.
    """
    return only_bins(series, calm_bins(series.calls, usual_calls(series)))


def usual_calls(series: Series) -> Floats:
    """Per bin the calls at this time of the seven days before, within a quarter of an hour."""
    calls = same_time(Sums(series.calls).window(HOUR // 2) / (HOUR // 2), HOUR // 4)
    around: Floats = calls / np.maximum(days_known(series), 1.0)
    return around


def calm_bins(calls: Floats, around: Floats) -> Bools:
    """Which bins are no burst. around: of the last bins at least, of which it is said."""
    new = calls.shape[1] - around.shape[1]
    usual = np.maximum(Sums(calls, new).past(2 * HOUR, 1) / (2 * HOUR), around)
    calm: Bools = calls[:, new:] <= BURST_FACTOR * usual + 3 * np.sqrt(usual) + 3
    return calm


def only_bins(series: Series, calm: Bools) -> Series:
    kept = calm[series.buckets["row"].to_numpy(), series.buckets["bin"].to_numpy()]
    return replace(
        series,
        timed=series.timed * calm,
        log_sum=series.log_sum * calm,
        log_sumsq=series.log_sumsq * calm,
        buckets=series.buckets.filter(pl.Series(kept, dtype=pl.Boolean)),
    )


def days_known(series: Series) -> Floats:
    """Per bin how many of the seven days before the endpoint was there at that time."""
    age = np.arange(series.calls.shape[1])[None, :] - series.born[:, None]
    days: Floats = np.clip(age // DAY, 0, WEEK_DAYS).astype(np.float64)
    return days


def by_crowd(series: Series, totals: Totals, width: int) -> Floats:
    """By how much more calls than the two hours before and this time of day had explain a higher log latency: the
    endpoint's own, or those of all behind the same upstream."""
    pairs = []
    for each in (totals.calls, totals.beside):
        calls = each.window(width)
        lately = each.past(2 * HOUR, width) * width / (2 * HOUR)
        pairs.append((calls, np.maximum(lately, same_time(calls) / np.maximum(days_known(series), 1.0))))
    return by_more_calls(pairs)


def by_more_calls(pairs: list[tuple[Floats, Floats]]) -> Floats:
    """By how much a higher log latency is explained where there are more calls than usual: the most of (calls, usual)."""
    most = np.zeros_like(pairs[0][0])
    for calls, usual in pairs:
        most = np.maximum(most, LOAD_ELASTICITY * np.log((calls + 3) / (usual + 3)))
    return most


def by_load(totals: Totals, width: int, behind: int) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of the log latency in the past week, and the share of today's mean that today's load explains.

    Many systems answer slower when all consumers are awake; a regression of the endpoint's latency on the fleet's log
    load, from the past only, takes that out. It only ever explains slowness by more load, never by less.
    """
    mean, variance, slope, load_mean = on_load(totals, behind)
    today = totals.load.window(width) / np.maximum(totals.timed.window(width), 1.0)
    return mean, variance, slope * (today - load_mean)


def on_load(totals: Totals, behind: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean and variance of the log latency in the past week, its slope on the fleet's log load, and the mean of that."""
    n = np.maximum(totals.timed.past(WEEK, behind), 1.0)
    mean = totals.log_sum.past(WEEK, behind) / n
    variance = np.maximum(totals.log_sumsq.past(WEEK, behind) / n - mean**2, 0.01)
    load_mean = totals.load.past(WEEK, behind) / n
    load_variance = np.maximum(totals.load_sq.past(WEEK, behind) / n - load_mean**2, 0.0)
    together = totals.log_sum_load.past(WEEK, behind) / n - load_mean * mean
    return mean, variance, np.clip(together / (load_variance + LOAD_RIDGE), 0.0, 1.5), load_mean


def under_load(series: Series, fleet: Fleet, of: Floats, among: Floats) -> tuple[Floats, Bools]:
    """What at_load says of the endpoint's own load, or of that of all behind its upstream where that explains more; bins
    with an unseen load of either kind."""
    own, unseen = at_load(series.calls, fleet, of, among)
    beside, unseen_beside = at_load(series.beside, fleet, of, among, per_doubling=2 * LOAD_STEPS)
    return np.maximum(own, beside), unseen | unseen_beside


def at_load(
    load: Floats,
    fleet: Fleet,
    of: Floats,
    among: Floats,
    *,
    skip_days: int = 0,
    steps: int = 1,
    per_doubling: int = LOAD_STEPS,
) -> tuple[Floats, Bools]:
    """Per bin by how much `of` per call `among` was higher on the seven days before, at the load of that bin or less, than
    in all of them (negative: lower). skip_days: the seven days end so many days earlier. steps: how much more load counts
    as the same. per_doubling: steps of load; the sum over several endpoints is steadier and bears finer ones.

    Systems answer slower the more they are asked, and rarely in a straight line: a batch job's calls compare with those
    of earlier batch jobs. Second: bins with more load than those days ever had, of which nothing can be said.
    """
    step = np.floor(per_doubling * np.log2(window_sum(load, 3) + 1)).astype(np.int64)
    levels = int(step.max(initial=0)) + 1
    endpoints, day = load.shape[0], fleet.day_of(np.arange(fleet.bins))
    at = ((np.arange(endpoints)[:, None] * fleet.days + day[None, :]) * levels + step).ravel()
    shape = (endpoints, fleet.days, levels)
    sums, calls = (
        sums_of_week(
            np.bincount(at, each.ravel(), endpoints * fleet.days * levels).astype(np.float64).reshape(shape), skip_days
        )
        for each in (of, among)
    )
    # One after the other, so that it does not matter how many steps the others in the piece have.
    whole = np.cumsum(sums, axis=2)[:, :, -1:] / np.maximum(calls.sum(axis=2, keepdims=True), 1.0)
    mean = (sums + LOAD_PRIOR * whole) / (calls + LOAD_PRIOR)
    mean = np.maximum.accumulate(np.where(calls >= LOAD_CALLS, mean, -np.inf), axis=2)
    with_calls = np.bincount(at, (among > 0).ravel().astype(np.float64), endpoints * fleet.days * levels)
    bins = sums_of_week(with_calls.astype(np.float64).reshape(shape), skip_days)
    seen = np.where((calls >= LOAD_CALLS) & (bins >= LOAD_BINS), np.arange(levels), -1).max(axis=2)
    per_bin = np.arange(endpoints)[:, None], day[None, :]
    more = mean[(*per_bin, np.clip(step + steps, 0, np.maximum(seen[per_bin], step)))] - whole[(*per_bin, 0)]
    return np.where(np.isfinite(more), more, 0.0), step > seen[per_bin]


def sums_of_week(daily: Floats, skip_days: int) -> Floats:
    """Sum over the seven days that end `skip_days` before each day, along the second axis."""
    total = np.concatenate([np.zeros_like(daily[:, :1]), np.cumsum(daily, axis=1)], axis=1)
    day = np.arange(daily.shape[1]) - skip_days
    week: Floats = total[:, np.maximum(day, 0)] - total[:, np.maximum(day - WEEK_DAYS, 0)]
    return week
