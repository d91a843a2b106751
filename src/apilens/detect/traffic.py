"""Too few or too many calls, against the same time on past days and against what the whole fleet does today.

The fleet's growth since each of those days cancels weekends, holidays, campaigns and gaps in the logs: all endpoints
share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from scipy.special import betainc

from apilens.detect import anomalies
from apilens.detect.baseline import (
    DAY,
    GROWTH_WINDOWS,
    HOUR,
    WEEK_DAYS,
    Bools,
    Fleet,
    Floats,
    Ints,
    Series,
    Sums,
    around_max,
    back,
    habit,
    same_time,
    spread,
    window_max,
    window_sum,
    without_bursts,
)

#: DETECTION: only where at least 10 calls are expected.
MIN_EXPECTED = 10.0
DROP_FACTOR, SURGE_FACTOR = 0.6, 1.7
#: While but one day is known.
YOUNG_DROP, YOUNG_SURGE = 0.3, 3.0
#: Hours before a window that its first day is judged by, and the upper quartile of the square of a normal deviate.
BEFORE, QUARTILE = 2 * HOUR, 1.323
#: And so much in the last third of the window: what ended is no news.
DROP_RECENT, SURGE_RECENT = 0.75, 1.35
#: Squared coefficient of variation of a forecast, before the endpoint's own errors are known; weighs like a day of
#: them.
PRIOR_SPREAD = 0.05
#: To open, a window must be improbable by both forecasts, that of past days and that of the hour before: alone each is
#: wrong too often (holidays; the morning rush), together they may be less sure of themselves.
EACH_LOG10_P, BOTH_LOG10_P = -3.0, -8.5
#: By six in the morning, UTC, a Saturday that is quieter than a Friday has shown it on either side of the Atlantic.
WEEKEND_BEGINS = 6 * HOUR
#: Squared relative errors above this are incidents, not spread.
ERROR_LIMIT = 4.0
#: Share of an endpoint in the calls of its siblings: hours around a window and before it, and by how many of their calls
#: it is held to the share of the whole week, and of this time of day.
SHARE_REACH, SHARE_PRIOR, LATELY_PRIOR = 4 * HOUR, 100.0, 30.0
#: That forecast is asked in windows of a quarter of an hour to an hour. Alone it may open a window, by its direction (1: more calls) at
#: such a chance, and beyond so many times the endpoint's own habit (surges often have none: in a week nothing of the kind came).
APART_WINDOWS = (3, 6, 12)
APART = {1: (-5.5, 1.0), -1: (-5.0, 1.5)}
#: The same of windows shorter than half an hour, which have seen less.
APART_SOON = {1: (-7.5, 1.5), -1: (-6.5, 1.5)}
#: A share of which two days are known has shown little of how it varies: in the first days of go-lives all it told were false.
APART_DAYS = 3
#: No such forecast is more certain than this squared coefficient of variation.
MIN_APART = 0.01
#: Endpoints follow the fleet's growth up to so much of its logarithm (a guess, held against worlds with unequal
#: weekends).
GROWTH_SPREAD = 0.35
#: In an endpoint's first week more or fewer calls set in at once: beyond the hours before by so many roots of what these let expect.
SET_IN = 3.0
#: A job is missing at once when it stays away: on so many days before there were so many times the calls of the hours before.
#: No morning begins that steeply.
JOB_DAYS, JOB_FACTOR = 3, 3.0
#: Spread between days of the same kind, as a squared coefficient of variation.
DAY_SPREAD = 0.02
#: No forecast is more certain than this squared coefficient of variation.
MIN_SPREAD = 0.005
#: Nor is that of the hour before.
MIN_SPREAD_LATELY = 0.01
#: Past days, the window and the half hours around them lie within so many bins.
REACH = WEEK_DAYS * DAY + max(GROWTH_WINDOWS) + DAY


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal traffic; observed and expected are calls per 5 minutes."""
    found = [anomalies.ANOMALIES.to_frame()]
    for rows, piece in replace(series, buckets=series.buckets.clear()).pieces(_busy(series)):
        steady = without_bursts(piece.calls)
        begun = {direction: np.zeros(piece.calls.shape, dtype=np.bool_) for direction in (-1, 1)}
        far = anomalies.strongest(pl.concat([_window(piece, steady, fleet, width, begun) for width in GROWTH_WINDOWS]))
        found.append(
            far.with_columns(endpoint=pl.Series(rows[far["endpoint"]] + series.first_endpoint, dtype=pl.Int64))
        )
    return pl.concat(found)


def _busy(series: Series) -> Ints:
    """Rows worth the arithmetic: those that ever had half the calls. _window asks "until now", so that the future has no say."""
    return np.flatnonzero(window_sum(series.calls, max(GROWTH_WINDOWS)).max(axis=1) >= MIN_EXPECTED / 2)


def may_open(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    """Which rows of the series can have an anomaly in bin `since` or later that opens; see latency.may_open.

    What _window asks for with the forecast of past days alone, which expects no less of a surge and no more of a drop, and with
    no spread below its floor; then, on the few rows that are left, with that of the hour before.
    """
    first = max(since - REACH, 0)
    busy, only = _busy(series), replace(series, buckets=series.buckets.clear()).since(first)
    fleet, since = fleet.since(first), since - first
    found = np.zeros(len(series.born), dtype=bool)
    for rows, piece in only.pieces(busy):
        sums = Sums(piece.calls, since)
        for width in GROWTH_WINDOWS:
            logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width
            far = _far(partial(_days_before, sums, width), piece.calls, sums, piece.born, fleet, logged, since, width)
            found[rows] |= _may_open_within(far, piece, fleet, logged, since, width, anyway)
    return found


def _alone(direction: int, width: int) -> tuple[float, float]:
    """log10 of the chance at which siblings alone open a window, and how many times the habit it must reach."""
    return (APART if width >= HOUR // 2 else APART_SOON)[direction]


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
    """Of some windows how many past days compare, the mean of these as _forecast has it, and the least variance of that.

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
            # _apart's forecast is no nearer to what was seen than that of past days, nor surer than this.
            floor = kept**2 * (mu + MIN_APART * mu**2) + (kept - kept**2) * mu
            alone = direction * (k - kept * mu) > 0
            if series is not None:
                mine, place = np.unique(rows, return_inverse=True)
                alone &= Sums(series.siblings[mine], since).window(width)[place, bins] > 0
            chance = np.zeros(len(k))
            chance[alone] = _log10_tail(k[alone], kept * mu[alone], floor[alone], direction)
            limit = np.maximum(_alone(direction, width)[0] - fleet.many[bins + since], anyway)
            found[rows[chance <= limit + anomalies.SLACK]] = True
        z = direction * (k - kept * mu) / np.sqrt(np.maximum(var, 1.0))
        log10_p = np.zeros(len(k))
        enough = z > 2.0 - anomalies.SLACK
        log10_p[enough] = _log10_tail(
            k[enough], kept * mu[enough], kept**2 * var[enough] + (kept - kept**2) * mu[enough], direction
        )
        found[rows[log10_p <= anyway + anomalies.SLACK]] = True
        left = (log10_p < EACH_LOG10_P + anomalies.SLACK) & ~found[rows]
        rows, bins, k, whole, log10_p = rows[left], bins[left], k[left], one.calls[left], log10_p[left]
        mine, row = np.unique(rows, return_inverse=True)
        if series is None:
            found[rows] = True
            continue
        if len(mine) == 0:
            continue
        each = series.calls[mine]
        lately, poisson = _hour_before(each, window_sum(each, width), width, fleet, series.born[mine], logged)
        before, spread_before = lately[row, bins + since], poisson[row, bins + since]
        spread_before += MIN_SPREAD_LATELY * before**2
        before *= kept
        chance = _log10_tail(k, np.maximum(before, 1e-3), np.maximum(spread_before, before * 1.001), direction)
        chance = np.where(before > 0, chance, 0.0)
        sudden = (chance < EACH_LOG10_P + anomalies.SLACK) & (
            log10_p + chance < BOTH_LOG10_P - fleet.many[bins + since] + anomalies.SLACK
        )
        sudden &= direction * (whole * kept - times * before) > -anomalies.SLACK
        found[rows[sudden]] = True
    return found


@dataclass(frozen=True, slots=True)
class _Forecast:
    """What the same time on the past seven days lets expect in each window; (endpoints, bins)."""

    mean: Floats  # scaled by the fleet's growth since
    highest: Floats  # unscaled, at the busiest moment within half an hour
    lowest: Floats  # unscaled
    unlike: Floats  # variance between those days
    apart: Floats  # squared coefficient of variation for days of another kind than today
    days: Floats  # how many days it rests on


def _forecast(first_calls: Ints, fleet: Fleet, each: Floats, calls: Floats, logged: Bools, width: int) -> _Forecast:
    growth = fleet.growth[width]
    born = first_calls[:, None] + width - 1
    at = np.arange(fleet.bins)[None, :]
    around = around_max(calls, HOUR // 2)

    far = WEEK_DAYS * DAY
    past = np.concatenate([np.zeros((len(calls), far)), calls], axis=1)
    past_around = np.concatenate([np.zeros((len(calls), far)), around], axis=1)

    def day_before(day: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Calls of that day, raw and scaled (0.0 where it cannot be compared), whether it can, and how far its kind of day is
        from today's."""
        factor = growth[day - 1]
        known = (back(logged.astype(np.float64), day * DAY, 0.0) > 0) & ~np.isnan(factor)
        valid = ((at - day * DAY >= born) & known[None, :]).astype(np.float64)
        factor = np.where(known, factor, 1.0)
        raw = past[:, far - day * DAY :][:, : fleet.bins]
        return raw, raw * factor, valid, (GROWTH_SPREAD * np.log(factor)) ** 2

    total, days = np.zeros_like(calls), np.zeros_like(calls)
    least, most = np.full_like(calls, np.inf), np.full_like(calls, -np.inf)
    every = [day_before(day) for day in range(1, WEEK_DAYS + 1)]
    for _, value, valid, _ in every:
        total += value * valid
        days += valid
        compared = valid > 0
        np.minimum(least, np.where(compared, value, np.inf), out=least)
        np.maximum(most, np.where(compared, value, -np.inf), out=most)
    trim = days >= 4
    middle = total - np.where(trim, least, 0.0) - np.where(trim, most, 0.0)
    middle /= np.maximum(days - 2 * trim, 1.0)
    half, double, four = 0.5 * middle, 2 * middle, 4 * middle
    # A day on which the fleet did about the same (a Saturday for a Saturday) says more; an odd day counts at most
    # double or half.
    total, square, weights, apart, highest, lowest = (np.zeros_like(calls) for _ in range(6))
    for day, (raw, value, valid, distance) in enumerate(every, 1):
        weight = valid / (DAY_SPREAD + distance)
        value = np.minimum(np.maximum(value, half), double)
        weighted = weight * value
        total += weighted
        square += weighted * value
        weights += weight
        apart += weight * distance
        near = past_around[:, far - day * DAY :][:, : fleet.bins]
        highest += weight * np.minimum(np.maximum(near, half), four)
        lowest += weight * np.minimum(np.maximum(raw, half), double)
    weights = np.maximum(weights, 1e-9)
    mean = total / weights
    # What came on this weekday (a weekly report) may come again.
    week_ago = WEEK_DAYS * DAY
    again = at - week_ago >= born
    highest = np.maximum(highest, np.where(again, weights * back(around, week_ago, 0.0), 0.0))
    lowest *= _late(each, width)
    unlike = np.maximum(square / weights - mean**2, 0.0) * days / np.maximum(days - 1, 1.0)
    return _Forecast(mean, highest / weights, lowest / weights, window_max(unlike, HOUR), apart / weights, days)


def _late(each: Floats, width: int) -> Floats:
    """Share of the past days' calls that is left where what came at this time comes up to half an hour sooner or later.

    Close to 1 for people, close to 0 for a nightly job. each: calls per bin; width of the windows asked about.
    """
    half = HOUR // 2
    reach = max(width, half)
    # Half an hour further than there are bins: what past days had then is known.
    padded = np.pad(each, ((0, 0), (0, half)))
    days = same_time(window_sum(padded, reach), (reach - width) // 2)
    left: Floats = ((1 - around_max(-days, half)) / (days + 1))[:, : each.shape[1]]
    return left


def _from_recent(
    each: Floats, calls: Floats, width: int, fleet: Fleet, born: Ints, logged: Bools
) -> tuple[Floats, Floats]:
    """What the hour before the window lets expect in it, and the variance of that; (endpoints, bins)."""
    mean, poisson = _hour_before(each, calls, width, fleet, born, logged)
    usable = (mean >= 5.0) & logged[None, :]
    error = np.where(usable, ((calls - mean) ** 2 - poisson) / np.maximum(mean, 1.0) ** 2, 0.0)
    phi = spread(np.minimum(error, ERROR_LIMIT), usable, fleet, prior=PRIOR_SPREAD, weight=DAY / 2)
    return mean, poisson + np.maximum(phi, MIN_SPREAD_LATELY) * mean**2


def _hour_before(
    each: Floats, calls: Floats, width: int, fleet: Fleet, born: Ints, logged: Bools
) -> tuple[Floats, Floats]:
    """The mean of _from_recent, and its variance were calls independent of each other.

    The hour before, times what the same window had relative to the same hour on the past seven days: an own weekend, a
    holiday or a slow growth is in both. Mean 0.0 where that hour or those days are unknown.
    """
    reach = max(width, HOUR)
    before = back(window_sum(each, reach), width, 0.0)
    whole = back(window_sum(logged.astype(np.float64)[None, :], reach), width, 0.0)[0] >= reach
    at = np.arange(fleet.bins)[None, :]
    then, then_before = np.zeros_like(calls), np.zeros_like(calls)
    for day in range(1, WEEK_DAYS + 1):
        valid = (at - day * DAY >= born[:, None] + reach + width) & (
            back((logged & whole).astype(np.float64), day * DAY, 0.0) > 0
        )[None, :]
        then += np.where(valid, back(calls, day * DAY, 0.0), 0.0)
        then_before += np.where(valid, back(before, day * DAY, 0.0), 0.0)
    share = (then + width) / (then_before + reach)
    mean = np.where(whole[None, :] & (then_before > 0), before * share, 0.0)
    return mean, mean * (1 + share) + mean**2 / np.maximum(then, 1.0)


def _first_day_spread(each: Floats, siblings: Floats, born: Ints, width: int) -> Floats:
    """Per endpoint the squared coefficient of variation of windows of its first day around the two hours before them, moved as its siblings
    have since; PRIOR_SPREAD where there were too few calls to tell.

    What past days teach later (_window) is not known on the second day.
    """
    calls, others = Sums(each), Sums(siblings)
    now, theirs = calls.window(width), others.window(width)
    before, theirs_before = (of.past(BEFORE, width) * width / BEFORE for of in (calls, others))
    usual = before * np.where(theirs_before >= MIN_EXPECTED, (theirs + 1) / (theirs_before + 1), 1.0)
    age = np.arange(each.shape[1])[None, :] - born[:, None]
    judged = (age >= BEFORE + width) & (age < DAY) & (usual >= MIN_EXPECTED / 2)
    error = np.maximum((now - usual) ** 2 - usual * (1 + width / BEFORE), 0.0) / np.maximum(usual, 1.0) ** 2
    ordered = np.sort(np.where(judged, error, np.inf), axis=1)
    many = judged.sum(axis=1)
    quartile = np.take_along_axis(ordered, (3 * many // 4 - (many > 0))[:, None].clip(0), axis=1)[:, 0]
    return np.where(many >= HOUR, np.minimum(quartile, ERROR_LIMIT) / QUARTILE, PRIOR_SPREAD)


def _log10_tail(k: Floats, mean: Floats, variance: Floats, direction: int) -> Floats:
    """log10 of the chance of k or more (direction 1) or k or fewer under a negative binomial of that mean and variance."""
    size = mean**2 / np.maximum(variance - mean, 1e-6)
    chance = mean / (mean + size)
    p = betainc(np.maximum(k, 1e-9), size, chance) if direction == 1 else betainc(size, k + 1.0, 1 - chance)
    return anomalies.log10_tail(p)


def _apart(
    series: Series, steady: Floats, fleet: Fleet, width: int, forecast: _Forecast, logged: Bools, at: Ints
) -> pl.DataFrame:
    """Windows far from what the other endpoints behind the same upstream let expect.

    Endpoints with the same users rise and fall with them, whatever day it is: theirs times the share that this one had in
    them at this time of the past week, and in the last hours; neither this nor past days may expect as many (few). How
    well that forecast holds is learned from the past week: where it does not, nothing opens. What is learned is learned of calls
    without bursts (steady, of all rows of the series): jobs of its own would make each forecast look loose. at: rows that are asked.
    """
    born, each, siblings = series.born[at], series.calls[at], series.siblings[at]
    calls = window_sum(each, width)
    own, others = Sums(steady[at]), Sums(siblings)
    theirs = others.window(width)
    week = own.past(WEEK_DAYS * DAY, width) / np.maximum(others.past(WEEK_DAYS * DAY, width), 1.0)
    ahead = (SHARE_REACH - width) // 2
    then = same_time(own.window(SHARE_REACH), ahead) + SHARE_PRIOR * week
    share = then / (same_time(others.window(SHARE_REACH), ahead) + SHARE_PRIOR)
    lately = (own.past(SHARE_REACH, width) + LATELY_PRIOR * share) / (others.past(SHARE_REACH, width) + LATELY_PRIOR)
    old = np.arange(fleet.bins)[None, :] - born[:, None] >= APART_DAYS * DAY + width
    forecast_known = (theirs > 0) & logged[None, :]
    known = forecast_known & old & (forecast.days >= 2)
    usual = theirs * share
    foretold = forecast_known & (forecast.days >= 1) & (usual >= MIN_EXPECTED / 2)
    error = np.where(
        foretold, ((own.window(width) - usual) ** 2 - usual * (1 + share)) / np.maximum(usual, 1.0) ** 2, 0.0
    )
    of_all, phi = (
        spread(np.minimum(error, ERROR_LIMIT) * judged, judged, fleet, prior=PRIOR_SPREAD, weight=DAY / 2)
        for judged in (foretold, foretold & known)
    )
    # On the first day on which it may open a window, all that is known of how well it holds are those before.
    first = np.arange(fleet.bins)[None, :] - born[:, None] < (APART_DAYS + 1) * DAY + width
    phi = np.maximum(np.where(first, np.maximum(of_all, phi), phi), MIN_APART)
    third = max(width // 3, 1)
    recent = window_sum(each, third)
    weekend = _first_weekend(fleet, born, logged, width)[0]
    found = []
    for direction in (-1, 1):
        if direction == 1:
            # What was more on this weekday than siblings let expect then (a weekly report) may come again.
            near, theirs_near = (
                back(around_max(each_week, HOUR // 2), WEEK_DAYS * DAY, 0.0) for each_week in (calls, theirs)
            )
            mean = theirs * np.maximum(share, lately) + np.maximum(near - theirs_near * share, 0.0)
            mean = np.maximum(mean, forecast.mean)
            kept = (width - 2) / width
            k = np.maximum(calls - 2 * window_max(each, width), 0.0)
            changed = (calls > SURGE_FACTOR * mean) & (recent > SURGE_RECENT * mean * third / width)
        else:
            mean = np.minimum(theirs * np.minimum(share, lately), forecast.mean)
            kept, k = 1.0, calls
            changed = (calls < DROP_FACTOR * mean) & (recent < DROP_RECENT * mean * third / width)
            # Which share of its users works at weekends is each endpoint's own: only silence beyond doubt is told.
            changed &= ~weekend | (calls < YOUNG_DROP * mean)
        sampling = mean * (1 + share) + mean**2 / (then + 1)
        variance = kept**2 * (sampling + phi * mean**2) + (kept - kept**2) * mean
        expected = kept * mean
        far = (
            known & (np.minimum(mean, forecast.mean) >= MIN_EXPECTED) & (direction * (k - expected) > np.sqrt(variance))
        )
        deviance = np.zeros_like(mean)
        deviance[far] = _deviance(k[far], expected[far], variance[far])
        rows, bins = np.nonzero(far & changed & (deviance > 2.5))
        log10_p = _log10_tail(k[rows, bins], expected[rows, bins], variance[rows, bins], direction)
        least, beyond = _alone(direction, width)
        needed = np.where((direction == -1) & weekend[rows, bins], BOTH_LOG10_P, least)
        strong = log10_p < needed - fleet.many[bins]
        usually = habit(deviance, fleet, (rows[strong], bins[strong]))[rows, bins]
        opens = strong & (deviance[rows, bins] > beyond * usually)
        found.append(
            _frame(
                at[rows] + series.first_endpoint,
                direction,
                bins,
                width,
                opens,
                log10_p,
                calls[rows, bins],
                mean[rows, bins],
            )
        )
    # What goes on is for longer windows to say.
    return pl.concat(found) if width >= HOUR // 2 else pl.concat(found).filter("opens")


def _deviance(k: Floats, mean: Floats, variance: Floats) -> Floats:
    """Root of the deviance of k under a negative binomial of that mean and variance: standard errors without the bound that
    no calls at all set to them. Source: McCullagh and Nelder, Generalized Linear Models, 2.3 and 11.2."""
    size = mean**2 / np.maximum(variance - mean, 1e-6)
    own = k * np.log(np.maximum(k, 1e-9) / mean) - (k + size) * np.log((k + size) / (mean + size))
    root: Floats = np.sqrt(np.maximum(2 * own, 0.0))
    return root


def _frame(
    endpoints: Ints, direction: int, bins: Ints, width: int, opens: Bools, log10_p: Floats, calls: Floats, mean: Floats
) -> pl.DataFrame:
    """ANOMALIES of windows that end with `bins`, those strong enough to hold."""
    return pl.DataFrame(
        {
            "endpoint": endpoints,
            "detector": "traffic",
            "signal": "traffic",
            "status_code": None,
            "direction": direction,
            "bin": bins,
            "minutes": None,
            "start_bin": np.maximum(bins - width + 1, 0),
            "opens": opens,
            "log10_p": log10_p,
            "observed": calls / width,
            "expected": mean / width,
            "unit": "calls",
            "n": calls,
            "excess": np.abs(calls - mean),
        },
        schema=dict(anomalies.ANOMALIES),
        strict=False,
    ).filter(pl.col("log10_p") < anomalies.HOLD_LOG10_P)


def _within_a_day(begun: Bools) -> Bools:
    """(endpoints, bins) whether one of the day's bins that end with each is true."""
    at = np.arange(begun.shape[1])
    within: Bools = at - np.maximum.accumulate(np.where(begun, at, -DAY), axis=1) < DAY
    return within


def _due(calls: Floats, hours: Floats) -> Bools:
    """(endpoints, bins) whether a job began at this time on each of JOB_DAYS days before. hours: what the hours before let expect of a window."""
    began = (calls > JOB_FACTOR * hours) & (calls - hours > SET_IN * np.sqrt(hours))
    due: Bools = np.ones(calls.shape, dtype=np.bool_)
    for days in range(1, JOB_DAYS + 1):
        due[:, : days * DAY] = False
        due[:, days * DAY :] &= began[:, : -days * DAY]
    return due


def _first_weekend(fleet: Fleet, born: Ints, logged: Bools, width: int) -> tuple[Bools, Bools]:
    """(endpoints, bins) Saturdays and Sundays without one before, and of these the bins whose past hours are still a
    Friday's somewhere: of neither is known how many of the endpoint's users work then."""
    at, weekday = np.arange(fleet.bins), _weekday(fleet)
    known = (at[None, :] - WEEK_DAYS * DAY >= born[:, None]) & (
        back(logged.astype(np.float64), WEEK_DAYS * DAY, 0.0) > 0
    )
    first = (weekday >= 5)[None, :] & ~known
    return first, first & ((weekday == 5) & ((at + fleet.first_bin) % DAY < WEEKEND_BEGINS + width + max(width, HOUR)))[
        None, :
    ]


def _weekday(fleet: Fleet) -> Ints:
    """Of each bin, UTC; 0 is Monday."""
    # 1970-01-01 was a Thursday.
    weekday: Ints = ((np.arange(fleet.bins) + fleet.first_bin) // DAY + 3) % 7
    return weekday


def _window(series: Series, steady: Floats, fleet: Fleet, width: int, begun: dict[int, Bools]) -> pl.DataFrame:
    """Anomalies of windows of a width. begun: by direction, (endpoints, bins) where one that opens set in at once, or a due job was missing, in
    windows up to an hour; to be filled by these, from the shortest on."""
    calls = window_sum(series.calls, width)
    # Bins without any call in the whole fleet are missing data: they are nobody's drop, and no day to compare with.
    logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width
    # Endpoints that never had half the calls are not worth the arithmetic; "until now", so that the future has no say.
    busy = np.maximum.accumulate(calls, axis=1) >= MIN_EXPECTED / 2
    kept_rows = np.flatnonzero(busy[:, -1])
    calls, busy, each, born = calls[kept_rows], busy[kept_rows], series.calls[kept_rows], series.born[kept_rows]
    forecast = _forecast(born, fleet, each, calls, logged, width)
    mean = forecast.mean
    young = forecast.days < 2
    # One working day says nothing of a Saturday, nor a Sunday of a Monday.
    known = np.where(young, (forecast.days == 1) & ~np.isin(_weekday(fleet), [0, 5]), True)
    usable = known & logged[None, :] & (mean >= MIN_EXPECTED) & busy
    drop, surge = np.where(young, YOUNG_DROP, DROP_FACTOR), np.where(young, YOUNG_SURGE, SURGE_FACTOR)
    # Spread of this endpoint around the same forecast in the past week, beyond Poisson, as a squared coefficient of
    # variation.
    poisson = 1 + 1 / np.maximum(forecast.days, 1.0)
    # What one past day foretold says nothing of how well several do.
    judged = usable & ~young
    error = np.where(judged, ((calls - mean) ** 2 - poisson * mean) / np.maximum(mean, 1.0) ** 2, 0.0)
    phi = np.maximum(spread(error, judged, fleet, prior=PRIOR_SPREAD, weight=DAY), MIN_SPREAD) + forecast.apart
    lately, lately_variance = _from_recent(each, calls, width, fleet, born, logged)
    first_day = _first_day_spread(each, series.siblings[kept_rows], born, width)[:, None]
    phi = np.where(young, np.maximum(phi, first_day), phi)
    lately_variance = np.where(young, np.maximum(lately_variance, lately + first_day * lately**2), lately_variance)
    hours_before, half_before = (Sums(each).past(span, width) * width / span for span in (BEFORE, HOUR // 2))
    old = np.arange(fleet.bins)[None, :] - born[:, None] >= WEEK_DAYS * DAY + width
    third = max(width // 3, 1)
    recent = window_sum(each, third)
    found = []
    if width in APART_WINDOWS:
        found.append(_apart(series, steady, fleet, width, forecast, logged, kept_rows))
    for direction in (-1, 1):
        # Not every endpoint follows the fleet into the weekend, nor starts its batch job on the minute: both forecasts
        # must be broken, the scaled and the plain one.
        expected = np.maximum(mean, forecast.highest) if direction == 1 else np.minimum(mean, forecast.lowest)
        variance = np.maximum(poisson * expected + phi * expected**2, forecast.unlike)
        if direction == 1:
            # More calls must last longer than ten minutes: without the two busiest bins.
            kept = (width - 2) / width
            k_all = np.maximum(calls - 2 * window_max(each, width), 0.0)
            changed = (calls > surge * expected) & (recent > SURGE_RECENT * expected * third / width)
        else:
            kept, k_all = 1.0, calls
            changed = (calls < drop * expected) & (recent < DROP_RECENT * expected * third / width)
        z = np.where(usable, direction * (k_all - kept * expected) / np.sqrt(np.maximum(variance, 1.0)), 0.0)
        rows, bins = np.nonzero(usable & changed & (z > 2.0))
        mu, k = kept * expected[rows, bins], k_all[rows, bins]
        log10_p = _log10_tail(
            k, mu, kept**2 * variance[rows, bins] + (kept - kept**2) * expected[rows, bins], direction
        )
        before, spread_before = kept * lately[rows, bins], lately_variance[rows, bins]
        log10_p_before = np.where(
            before > 0,
            _log10_tail(k, np.maximum(before, 1e-3), np.maximum(spread_before, before * 1.001), direction),
            0.0,
        )
        if direction == -1:
            first, beginning = (of[rows, bins] for of in _first_weekend(fleet, born, logged, width))
            log10_p = np.where(first, np.maximum(log10_p, EACH_LOG10_P - 1e-9), log10_p)
            log10_p_before = np.where(beginning, 0.0, log10_p_before)
        sudden = (
            (log10_p_before < EACH_LOG10_P)
            & (log10_p < EACH_LOG10_P)
            & (log10_p + log10_p_before < BOTH_LOG10_P - fleet.many[bins])
        )
        sudden &= (
            (calls[rows, bins] > surge[rows, bins] * lately[rows, bins])
            if direction == 1
            else (calls[rows, bins] < drop[rows, bins] * lately[rows, bins])
        )
        usual = habit(np.where(young, 0.0, z), fleet, (rows[sudden], bins[sudden]))[rows, bins]
        opens = (z[rows, bins] > usual) & sudden
        # Of a weekday that nobody has seen nothing is known but how it began: what only fails to rise with days of another kind (a first
        # holiday), or rises over hours (a first working day), has set in with no failure. Longer windows may tell how it goes on.
        hours, factor = (
            (np.maximum(hours_before, half_before), SURGE_FACTOR) if direction == 1 else (hours_before, DROP_FACTOR)
        )
        at_once = (direction * (calls - factor * hours) > 0) & (direction * (calls - hours) > SET_IN * np.sqrt(hours))
        if width <= HOUR:
            begun[direction][kept_rows[rows], bins] |= opens & at_once[rows, bins]
            if direction == -1:
                begun[direction][kept_rows] |= _due(calls, hours) & (calls < DROP_FACTOR * expected)
        opens &= old[rows, bins] | _within_a_day(begun[direction])[kept_rows[rows], bins]
        found.append(
            _frame(
                kept_rows[rows] + series.first_endpoint,
                direction,
                bins,
                width,
                opens,
                log10_p,
                calls[rows, bins],
                mean[rows, bins],
            )
        )
    return pl.concat(found)
