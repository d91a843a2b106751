"""How many calls past days and the hour before let expect in a window, and how far from that is far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import betainc

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, spread
from apilens.detect.bins import (
    DAY,
    HOUR,
    WEEK_DAYS,
    Bools,
    Floats,
    Ints,
    Sums,
    around_max,
    back,
    same_time,
    window_max,
    window_sum,
)

#: What sets in at once is beyond the hours before by so many roots of what these let expect.
SET_IN = 3.0
#: DETECTION: only where at least 10 calls are expected.
MIN_EXPECTED = 10.0
DROP_FACTOR, SURGE_FACTOR = 0.6, 1.7
#: A job has so many times the calls of the hours beside it. No morning begins that steeply.
JOB_FACTOR = 3.0
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
#: What came on each of so many past days at this time, half as much as usual at least, and of which so small a share came within the longest
#: window, is gone: a nightly job's hour before says nothing of it. Calls expected, and the chance by past days. Picked on 115 worlds (decision 13).
GONE_DAYS, GONE_LEFT, GONE_EXPECTED, GONE_LOG10_P = 5, 0.02, 30.0, -6.0
#: By six in the morning, UTC, a Saturday that is quieter than a Friday has shown it on either side of the Atlantic.
WEEKEND_BEGINS = 6 * HOUR
#: Squared relative errors above this are incidents, not spread.
ERROR_LIMIT = 4.0
#: Endpoints follow the fleet's growth up to so much of its logarithm (a guess, held against worlds with unequal
#: weekends).
GROWTH_SPREAD = 0.35
#: Spread between days of the same kind, as a squared coefficient of variation.
DAY_SPREAD = 0.02
#: No forecast is more certain than this squared coefficient of variation.
MIN_SPREAD = 0.005
#: Nor is that of the hour before.
MIN_SPREAD_LATELY = 0.01


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the same time on the past seven days lets expect in each window; (endpoints, bins)."""

    mean: Floats  # scaled by the fleet's growth since
    highest: Floats  # unscaled, at the busiest moment within half an hour
    lowest: Floats  # unscaled
    unlike: Floats  # variance between those days
    apart: Floats  # squared coefficient of variation for days of another kind than today
    days: Floats  # how many days it rests on
    over: Floats  # share of its calls that is left where what came at this time comes up to half an hour sooner
    fewest: Floats  # unscaled, of the day that had fewest; inf: none is known


def of_past_days(first_calls: Ints, fleet: Fleet, each: Floats, calls: Floats, logged: Bools, width: int) -> Forecast:
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
    least, most, fewest = np.full_like(calls, np.inf), np.full_like(calls, -np.inf), np.full_like(calls, np.inf)
    every = [day_before(day) for day in range(1, WEEK_DAYS + 1)]
    for raw, value, valid, _ in every:
        total += value * valid
        days += valid
        compared = valid > 0
        np.minimum(fewest, np.where(compared, raw, np.inf), out=fewest)
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
    late, over = _left(each, width)
    lowest *= late
    unlike = np.maximum(square / weights - mean**2, 0.0) * days / np.maximum(days - 1, 1.0)
    return Forecast(
        mean, highest / weights, lowest / weights, window_max(unlike, HOUR), apart / weights, days, over, fewest
    )


def _left(each: Floats, width: int) -> tuple[Floats, Floats]:
    """Share of the past days' calls that is left where what came at this time comes up to half an hour sooner or later; and where it comes sooner.

    Close to 1 for people, close to 0 for a nightly job and for its end. each: calls per bin; width of the windows asked about.
    """
    half = HOUR // 2
    reach = max(width, half)
    # Half an hour further than there are bins: what past days had then is known.
    padded = np.pad(each, ((0, 0), (0, half)))
    days = same_time(window_sum(padded, reach), (reach - width) // 2)
    least, least_ahead = -around_max(-days, half), -window_max(-days, half + 1)[:, half:]
    bins = each.shape[1]
    late: Floats = ((1 + least) / (days + 1))[:, :bins]
    over: Floats = (1 + least_ahead[:, :bins]) / (days[:, :bins] + 1)
    return late, over


def of_hour_before(
    each: Floats, calls: Floats, width: int, fleet: Fleet, born: Ints, logged: Bools
) -> tuple[Floats, Floats]:
    """What the hour before the window lets expect in it, and the variance of that; (endpoints, bins)."""
    mean, poisson = hour_before(each, calls, width, fleet, born, logged)
    usable = (mean >= 5.0) & logged[None, :]
    error = np.where(usable, ((calls - mean) ** 2 - poisson) / np.maximum(mean, 1.0) ** 2, 0.0)
    phi = spread(np.minimum(error, ERROR_LIMIT), usable, fleet, prior=PRIOR_SPREAD, weight=DAY / 2)
    return mean, poisson + np.maximum(phi, MIN_SPREAD_LATELY) * mean**2


def hour_before(
    each: Floats, calls: Floats, width: int, fleet: Fleet, born: Ints, logged: Bools
) -> tuple[Floats, Floats]:
    """The mean of of_hour_before, and its variance were calls independent of each other.

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


def first_day_spread(each: Floats, siblings: Floats, born: Ints, width: int) -> Floats:
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


def log10_chance(k: Floats, mean: Floats, variance: Floats, direction: int) -> Floats:
    """log10 of the chance of k or more (direction 1) or k or fewer under a negative binomial of that mean and variance."""
    size = mean**2 / np.maximum(variance - mean, 1e-6)
    chance = mean / (mean + size)
    p = betainc(np.maximum(k, 1e-9), size, chance) if direction == 1 else betainc(size, k + 1.0, 1 - chance)
    return anomalies.log10_tail(p)


def set_in(calls: Floats, hours: Floats, factor: float, direction: int) -> Bools:
    """Whether windows have more (direction 1; -1: fewer) calls at once: beyond so many times what the hours before let expect, and what varies."""
    at_once: Bools = (direction * (calls - factor * hours) > 0) & (
        direction * (calls - hours) > SET_IN * np.sqrt(hours)
    )
    return at_once


def as_on_a_day_off(calls: Floats, fewest: Floats) -> Bools:
    """Whether so many calls are no fewer than on the day of the past week that had fewest: a holiday is a Sunday to those who work in an office,
    and not to the rest."""
    known = np.isfinite(fewest)
    usual = np.where(known, np.maximum(fewest, 1e-3), 1.0)
    fewer = log10_chance(calls, usual, usual * 1.001 + MIN_SPREAD_LATELY * usual**2, -1) <= EACH_LOG10_P
    as_few: Bools = known & ~fewer
    return as_few


def as_anomalies(
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


def first_weekend(fleet: Fleet, born: Ints, logged: Bools, width: int) -> tuple[Bools, Bools]:
    """(endpoints, bins) Saturdays and Sundays without one before, and of these the bins whose past hours are still a
    Friday's somewhere: of neither is known how many of the endpoint's users work then."""
    at, weekday = np.arange(fleet.bins), weekday_of(fleet)
    known = (at[None, :] - WEEK_DAYS * DAY >= born[:, None]) & (
        back(logged.astype(np.float64), WEEK_DAYS * DAY, 0.0) > 0
    )
    first = (weekday >= 5)[None, :] & ~known
    return first, first & ((weekday == 5) & ((at + fleet.first_bin) % DAY < WEEKEND_BEGINS + width + max(width, HOUR)))[
        None, :
    ]


def weekday_of(fleet: Fleet) -> Ints:
    """Of each bin, UTC; 0 is Monday."""
    # 1970-01-01 was a Thursday.
    weekday: Ints = ((np.arange(fleet.bins) + fleet.first_bin) // DAY + 3) % 7
    return weekday
