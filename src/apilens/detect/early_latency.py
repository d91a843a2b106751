"""Slower answers within the first two days of an endpoint, before it has a past of days (latency.py).

What is known by then are its calls so far and the two hours before. Neither knows the time of day, so only what is far beyond both opens:
a step to almost twice the latency. Slow calls on a multiple of the usual share were tried as well, without a gain.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import stdtr

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, Bools, Floats, Ints, Sums, window_max

#: From then on latency.py knows two days.
YOUNG = 2 * DAY
#: A launch's first two hours are a matter of warming up, and in all so many calls tell what is usual.
WAIT, ENOUGH = 2 * HOUR, 60
WINDOWS = (6, 12, 24)
LATELY = 2 * HOUR
MIN_TIMED = 8
#: A guess between a medium fault and an easy one: the time of day, which nothing is known of yet, makes a third.
FACTOR = 1.8
#: The two hours before are held to all calls so far by so many calls.
LATELY_CALLS = 20.0
#: Twice the calls may take 1.75 times as long, as in latency.py.
LOAD_ELASTICITY = 0.8
#: Variance of a mean log latency around its forecast beyond sampling: before the endpoint's own is known, which weighs like four hours, and at
#: least. On the second day that of the first is.
WANDER, WANDER_WEIGHT, MIN_WANDER = 0.02, 4 * HOUR, 0.004
DEGREES, DEGREES_PER_CALL = 100, 2
OPEN_LOG10_P = -5.5


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal latency; observed and expected in ms (geometric mean)."""
    asked = np.flatnonzero(Sums(series.timed).window(WINDOWS[-1]).max(axis=1) >= MIN_TIMED)
    found = [anomalies.ANOMALIES.to_frame()]
    for rows, piece in replace(series, buckets=series.buckets.clear()).pieces(asked):
        early = _First(piece, fleet)
        found.extend(early.shifted(rows + series.first_endpoint, width) for width in WINDOWS)
    return anomalies.strongest(pl.concat(found))


def may_open(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    """Which rows of the series are that young in bin `since`. See memory.MayOpen."""
    return young(series.born, fleet, since)


def young(born: Ints, fleet: Fleet, since: int) -> Bools:
    """Whether endpoints first called in these bins have windows of that age in bin `since` or later."""
    found: Bools = (born + YOUNG + HOUR + WINDOWS[-1] > since) & (born < fleet.bins)
    return found


class _First:
    """The first two days of a piece, each endpoint's from its first call on."""

    def __init__(self, series: Series, fleet: Fleet) -> None:
        self.fleet, self.born = fleet, series.born
        columns = series.born[:, None] + np.arange(YOUNG + HOUR + WINDOWS[-1])[None, :]
        self.there = columns < fleet.bins
        rows = np.arange(len(columns))[:, None]

        def first(matrix: Floats) -> Floats:
            young: Floats = matrix[rows, np.minimum(columns, fleet.bins - 1)] * self.there
            return young

        self.each, self.each_log = first(series.timed), first(series.log_sum)
        self.timed, self.log_sum = Sums(self.each), Sums(self.each_log)
        self.log_sumsq = Sums(first(series.log_sumsq))
        self.loads = [Sums(first(calls)) for calls in (series.calls, series.beside)]
        self.age = np.arange(columns.shape[1])

    def _usable(self, width: int) -> tuple[Floats, Floats, Bools]:
        """Calls of the windows, those before them, and which windows are asked."""
        n, past_n = self.timed.window(width), self.timed.past(YOUNG, width)
        old = (self.age >= WAIT + width) & (self.age < YOUNG + HOUR + width)
        return n, past_n, self.there & old[None, :] & (n >= MIN_TIMED) & (past_n >= ENOUGH)

    def _crowd(self, width: int, span: int) -> Floats:
        """What more calls explain than there were in the `span` bins before the window (since the first call), of the endpoint or
        of all behind its upstream."""
        known = np.clip(self.age - width + 1, 1, span)
        more = [(load.window(width) + 3) / (load.past(span, width) * width / known[None, :] + 3) for load in self.loads]
        crowd: Floats = LOAD_ELASTICITY * np.log(np.maximum(np.maximum(*more), 1.0))
        return crowd

    def shifted(self, endpoints: Ints, width: int) -> pl.DataFrame:
        """Anomalies (anomalies.ANOMALIES) of windows whose mean log latency lies above that of all calls before and of the two hours before."""
        n, past_n, usable = self._usable(width)
        safe_n, safe_past = np.maximum(n, 1.0), np.maximum(past_n, 1.0)
        mean = self.log_sum.past(YOUNG, width) / safe_past
        variance = np.maximum(self.log_sumsq.past(YOUNG, width) / safe_past - mean**2, 0.01)
        lately_n = self.timed.past(LATELY, width)
        lately = (self.log_sum.past(LATELY, width) + LATELY_CALLS * mean) / (lately_n + LATELY_CALLS)
        expected = np.maximum(mean + self._crowd(width, YOUNG), lately + self._crowd(width, LATELY))
        # Without the worst bin, as in latency.py.
        worst = np.maximum(window_max(self.each_log - self.each * mean, width), 0.0)
        rest_n = safe_n * (1 - 1 / width)
        whole = self.log_sum.window(width)
        residual = (whole - worst - safe_n * mean) / rest_n + mean - expected
        sampling = variance * (1 / rest_n + 1 / (lately_n + LATELY_CALLS))
        z = residual / np.sqrt(sampling + self._wander(residual, sampling, usable))
        third = width // 3
        still = self.log_sum.window(third) > (expected + math.log(FACTOR) / 2) * self.timed.window(third)
        rows, at = np.nonzero(usable & (residual > math.log(FACTOR)) & (z > 2.5) & still)
        excess = n * (1 - np.exp(-np.maximum(residual, 0.0)))
        bins = at + self.born[rows]
        log10_p = anomalies.log10_tail(stdtr(np.minimum(DEGREES, DEGREES_PER_CALL * n[rows, at]), -z[rows, at]))
        return pl.DataFrame(
            {
                "endpoint": endpoints[rows],
                "detector": "early_latency",
                "signal": "latency",
                "status_code": None,
                "direction": 1,
                "bin": bins,
                "minutes": None,
                "start_bin": bins - width + 1,
                "opens": log10_p < OPEN_LOG10_P - self.fleet.many[bins],
                "log10_p": log10_p,
                "observed": np.exp(whole / safe_n)[rows, at],
                "expected": np.exp(expected)[rows, at],
                "unit": "ms",
                "n": n[rows, at],
                "excess": excess[rows, at],
            },
            schema=dict(anomalies.ANOMALIES),
            strict=False,
        ).filter(pl.col("log10_p") < anomalies.HOLD_LOG10_P)

    def _wander(self, residual: Floats, sampling: Floats, usable: Bools) -> Floats:
        """Variance of the windows around their forecast, from the upper side of those of the first day when that is over."""
        first = usable & (self.age < DAY)[None, :]
        above = np.minimum(2 * np.maximum(residual, 0.0) ** 2, 9 * (sampling + WANDER)) - sampling
        learned = ((above * first).sum(axis=1) + WANDER_WEIGHT * WANDER) / (first.sum(axis=1) + WANDER_WEIGHT)
        return np.where((self.age >= DAY)[None, :], np.maximum(learned, MIN_WANDER)[:, None], WANDER)
