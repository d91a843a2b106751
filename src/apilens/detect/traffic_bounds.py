"""Which endpoints could open in traffic.py, by bounds on its expectations: from few sums, and from the last bins alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import (
    DAY,
    WEEK_DAYS,
    Bools,
    Floats,
    Ints,
    Sums,
    back,
    window_max,
    window_sum,
)
from apilens.detect.movements import GROWTH_WINDOWS
from apilens.detect.traffic import busy_rows
from apilens.detect.traffic_forecast import (
    BOTH_LOG10_P,
    DAY_SPREAD,
    DROP_FACTOR,
    DROP_RECENT,
    EACH_LOG10_P,
    GONE_EXPECTED,
    GONE_LEFT,
    GONE_LOG10_P,
    GROWTH_SPREAD,
    MIN_EXPECTED,
    MIN_SPREAD,
    MIN_SPREAD_LATELY,
    SURGE_FACTOR,
    SURGE_RECENT,
    hour_before,
    log10_chance,
)
from apilens.detect.traffic_siblings import APART_WINDOWS, MIN_APART, opens_alone

#: Past days, the window and the half hours around them lie within so many bins.
REACH = WEEK_DAYS * DAY + max(GROWTH_WINDOWS) + DAY


def may_open(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    """Which rows of the series can have an anomaly in bin `since` or later that opens; see latency_bounds.may_open.

    What _window asks for with the forecast of past days alone, which expects no less of a surge and no more of a drop, and with
    no spread below its floor; then, on the few rows that are left, with that of the hour before.
    """
    first = max(since - REACH, 0)
    busy, only = busy_rows(series), replace(series, buckets=series.buckets.clear()).since(first)
    fleet, since = fleet.since(first), since - first
    found = np.zeros(len(series.born), dtype=bool)
    for rows, piece in only.pieces(busy):
        sums = Sums(piece.calls, since)
        for width in GROWTH_WINDOWS:
            logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width
            far = _far(partial(_days_before, sums, width), piece.calls, sums, piece.born, fleet, logged, since, width)
            found[rows] |= _may_open_within(far, piece, fleet, logged, since, width, anyway)
    return found


def _days_before(sums: Sums, width: int, day: int) -> Floats:
    return sums.past(width, day * DAY)


def past_days(rows: pl.DataFrame, fleet: Fleet, since: int) -> Floats:
    """(days, endpoints, bins) calls at the same time of the seven days before the bins from `since` on, less than a day, and as long before that
    as the longest window goes; rows as baseline.fleet returns them."""
    endpoint, bin_ = rows["endpoint"].to_numpy(), rows["bin"].to_numpy()
    longest = max(GROWTH_WINDOWS) - 1
    size = longest + fleet.bins - since
    assert size <= DAY, "a bin would belong to two of the days"
    begin = since - longest - WEEK_DAYS * DAY
    ago, place = np.divmod(bin_ - begin, DAY)
    there = (bin_ >= begin) & (ago < WEEK_DAYS) & (place < size)
    shape = (WEEK_DAYS, fleet.endpoints.height, size)
    at = ((WEEK_DAYS - 1 - ago[there].astype(np.int64)) * shape[1] + endpoint[there]) * size + place[there]
    calls = np.bincount(at, rows["calls"].to_numpy()[there], math.prod(shape))
    return calls.astype(np.float64).reshape(shape)


def may_open_by(past: Floats, series: Series, fleet: Fleet, new: int, since: int, anyway: float) -> Bools:
    """may_open of a series of the last bins alone, whose column `new` is bin `since` of the fleet: too many where only longer ones tell.

    past: past_days of the fleet. The series begins with the longest window, or sooner.
    """
    found = np.zeros(len(series.born), dtype=bool)
    mine = slice(series.first_endpoint, series.first_endpoint + len(series.born))
    days = [Sums(calls[mine], max(GROWTH_WINDOWS) - 1) for calls in past]
    sums = Sums(series.calls, new)
    for width in GROWTH_WINDOWS:
        logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width

        def before(day: int, width: int = width) -> Floats:
            return days[day - 1].window(width)

        far = _far(before, series.calls, sums, fleet.born[mine], fleet, logged, since, width, new)
        found |= _may_open_within(far, None, fleet, logged, since, width, anyway)
    return found


@dataclass(frozen=True, slots=True)
class _Far:
    """Windows of one direction that are beyond its factors of what past days let expect; one each."""

    direction: int
    endpoints: int  # of how many rows these are
    rows: Ints
    bins: Ints  # of the new ones
    calls: Floats
    k: Floats  # calls, of a surge without its two busiest bins
    mean: Floats
    variance: Floats


def _far(
    before: Callable[[int], Floats],
    each: Floats,
    sums: Sums,
    born: Ints,
    fleet: Fleet,
    logged: Bools,
    since: int,
    width: int,
    new: int | None = None,
) -> list[_Far]:
    """Drops and surges in bins `since` and later by the forecast of past days.

    before: calls in the windows so many days before; each: calls, whose column `new` (since, if not given) is bin `since`; sums: of these.
    """
    new = since if new is None else new
    at, third = np.arange(since, fleet.bins), max(width // 3, 1)
    calls, recent = sums.window(width), sums.window(third)
    # Their mean lies between the least and the most of them: whatever is not beyond these is not beyond it. An endpoint that is younger
    # than others of these may have too low a least.
    least, most = np.full_like(calls, np.inf), np.zeros_like(calls)
    of_days = []
    for day in range(1, WEEK_DAYS + 1):
        factor = fleet.growth[width][day - 1, since:]
        known = (back(logged.astype(np.float64), day * DAY, 0.0)[since:] > 0) & ~np.isnan(factor)
        first = max(int(born.min()) + day * DAY + width - 1 - since, 0)
        if not known[first:].any():
            continue
        factor = np.where(known, factor, 0.0)
        value = before(day)
        value *= factor
        of_days.append((day, value, known, (GROWTH_SPREAD * np.log(np.where(known, factor, 1.0))) ** 2))
        np.maximum(most[:, first:], value[:, first:], out=most[:, first:])
        there = value[:, first:] if known[first:].all() else value[:, first:] + np.where(known, 0.0, np.inf)[first:]
        np.minimum(least[:, first:], there, out=least[:, first:])
    part = third / width
    more = (calls > SURGE_FACTOR * least - anomalies.SLACK) & (recent > SURGE_RECENT * part * least - anomalies.SLACK)
    fewer = (calls < DROP_FACTOR * most + anomalies.SLACK) & (recent < DROP_RECENT * part * most + anomalies.SLACK)
    rows, bins = np.nonzero((more | fewer) & (most >= MIN_EXPECTED - anomalies.SLACK) & logged[since:])
    calls, recent = calls[rows, bins], recent[rows, bins]
    days, mean, variance = _by_days(
        [
            (value[rows, bins], known[bins] & (at[bins] >= born[rows] + (day * DAY + width - 1)), apart[bins])
            for day, value, known, apart in of_days
        ]
    )
    usable = (days >= 1) & (mean >= MIN_EXPECTED - anomalies.SLACK)
    more = (
        usable
        & (calls > SURGE_FACTOR * mean - anomalies.SLACK)
        & (recent > SURGE_RECENT * part * mean - anomalies.SLACK)
    )
    fewer = (
        usable & (calls < DROP_FACTOR * mean + anomalies.SLACK) & (recent < DROP_RECENT * part * mean + anomalies.SLACK)
    )
    found = []
    for direction, changed in ((1, more), (-1, fewer)):
        row, bin_, k = rows[changed], bins[changed], calls[changed]
        if direction == 1 and len(row):
            begin = max(new - width, 0)
            mine, place = np.unique(row, return_inverse=True)
            highest = window_max(each[mine, begin:], width)[place, bin_ + new - begin]
            k = np.maximum(k - 2 * highest, 0.0)
        found.append(_Far(direction, len(each), row, bin_, calls[changed], k, mean[changed], variance[changed]))
    return found


def _by_days(of_days: list[tuple[Floats, Bools, Floats]]) -> tuple[Floats, Floats, Floats]:
    """Of some windows how many past days compare, the mean of these as of_past_days has it, and the least variance of that.

    of_days: of each the calls, scaled; whether they compare; and how far its kind of day is from today's.
    """
    if not of_days:
        return (np.zeros(0),) * 3
    total, days = np.zeros(len(of_days[0][0])), np.zeros(len(of_days[0][0]))
    least, most = np.full_like(total, np.inf), np.full_like(total, -np.inf)
    for value, valid, _ in of_days:
        total += value * valid
        days += valid
        least = np.minimum(least, np.where(valid, value, np.inf))
        most = np.maximum(most, np.where(valid, value, -np.inf))
    trim = days >= 4
    middle = total - np.where(trim, least, 0.0) - np.where(trim, most, 0.0)
    middle /= np.maximum(days - 2 * trim, 1.0)
    half, double = 0.5 * middle, 2 * middle
    held, weights, apart = np.zeros_like(total), np.zeros_like(total), np.zeros_like(total)
    for value, valid, distance in of_days:
        weight = valid / (DAY_SPREAD + distance)
        held += weight * np.minimum(np.maximum(value, half), double)
        weights += weight
        apart += weight * distance
    weights = np.maximum(weights, 1e-9)
    mean: Floats = held / weights
    variance: Floats = (1 + 1 / np.maximum(days, 1.0)) * mean + (MIN_SPREAD + apart / weights) * mean**2
    return days, mean, variance


def _may_open_within(
    far: list[_Far], series: Series | None, fleet: Fleet, logged: Bools, since: int, width: int, anyway: float
) -> Bools:
    """Which rows have a window among those that may open. series: of the rows; None: not known, then the hour before and the siblings are not
    asked."""
    found = np.zeros(far[0].endpoints, dtype=bool)
    for one in far:
        direction, rows, bins, k, mu, var = one.direction, one.rows, one.bins, one.k, one.mean, one.variance
        if len(rows) == 0:
            continue
        kept, times = ((width - 2) / width, SURGE_FACTOR) if direction == 1 else (1.0, DROP_FACTOR)
        if width in APART_WINDOWS:
            # apart_from_siblings's forecast is no nearer to what was seen than that of past days, nor surer than this.
            floor = kept**2 * (mu + MIN_APART * mu**2) + (kept - kept**2) * mu
            alone = direction * (k - kept * mu) > 0
            if series is not None:
                mine, place = np.unique(rows, return_inverse=True)
                alone &= Sums(series.siblings[mine], since).window(width)[place, bins] > 0
            chance = np.zeros(len(k))
            chance[alone] = log10_chance(k[alone], kept * mu[alone], floor[alone], direction)
            limit = np.maximum(opens_alone(direction, width)[0] - fleet.many[bins + since], anyway)
            found[rows[chance <= limit + anomalies.SLACK]] = True
        z = direction * (k - kept * mu) / np.sqrt(np.maximum(var, 1.0))
        log10_p = np.zeros(len(k))
        enough = z > 2.0 - anomalies.SLACK
        log10_p[enough] = log10_chance(
            k[enough], kept * mu[enough], kept**2 * var[enough] + (kept - kept**2) * mu[enough], direction
        )
        found[rows[log10_p <= anyway + anomalies.SLACK]] = True
        if direction == -1 and width == max(GROWTH_WINDOWS):
            gone = (mu >= GONE_EXPECTED - anomalies.SLACK) & (one.calls <= GONE_LEFT * mu + anomalies.SLACK)
            found[rows[gone & (log10_p < GONE_LOG10_P - fleet.many[bins + since] + anomalies.SLACK)]] = True
        left = (log10_p < EACH_LOG10_P + anomalies.SLACK) & ~found[rows]
        rows, bins, k, whole, log10_p = rows[left], bins[left], k[left], one.calls[left], log10_p[left]
        mine, row = np.unique(rows, return_inverse=True)
        if series is None:
            found[rows] = True
            continue
        if len(mine) == 0:
            continue
        each = series.calls[mine]
        lately, poisson = hour_before(each, window_sum(each, width), width, fleet, series.born[mine], logged)
        before, spread_before = lately[row, bins + since], poisson[row, bins + since]
        spread_before += MIN_SPREAD_LATELY * before**2
        before *= kept
        chance = log10_chance(k, np.maximum(before, 1e-3), np.maximum(spread_before, before * 1.001), direction)
        chance = np.where(before > 0, chance, 0.0)
        sudden = (chance < EACH_LOG10_P + anomalies.SLACK) & (
            log10_p + chance < BOTH_LOG10_P - fleet.many[bins + since] + anomalies.SLACK
        )
        sudden &= direction * (whole * kept - times * before) > -anomalies.SLACK
        found[rows[sudden]] = True
    return found
