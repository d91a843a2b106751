"""Too few or too many calls, against the same time on past days and against what the whole fleet does today.

The fleet's growth since each of those days cancels weekends, holidays, campaigns and gaps in the logs: all endpoints
share them.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
from scipy.special import betainc

from apilens.detect import anomalies
from apilens.detect.baseline import (
    DAY,
    HOUR,
    WEEK_DAYS,
    Bools,
    Fleet,
    Floats,
    Series,
    back,
    habit,
    spread,
    window_max,
    window_sum,
)

WINDOWS = (3, 12, 48)
#: DETECTION: only where at least 10 calls are expected.
MIN_EXPECTED = 10.0
DROP_FACTOR, SURGE_FACTOR = 0.6, 1.7
#: Groups of endpoints whose median tells the fleet's growth; with fewer, only the same weekday a week ago is
#: comparable.
MIN_GROUPS = 4
MIN_GROUP_CALLS = 8
#: Squared coefficient of variation of a forecast, before the endpoint's own errors are known; weighs like a day of
#: them.
PRIOR_SPREAD = 0.05
#: Endpoints follow the fleet's growth up to so much of its logarithm (a guess, held against worlds with unequal
#: weekends).
GROWTH_SPREAD = 0.35
#: Spread between days of the same kind, as a squared coefficient of variation.
DAY_SPREAD = 0.02
#: Difference of log growth between the window and the hour around it that only missing logs explain.
HOLE = 0.4


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal traffic; observed and expected are calls per 5 minutes."""
    return anomalies.strongest(pl.concat([_window(series, fleet, width) for width in WINDOWS]))


def _growth(fleet: Fleet, width: int) -> Floats:
    """(7, bins) by which factor the fleet's traffic changed since the same time 1..7 days ago; NaN: cannot be told.

    Medians over an hour, which are steadier, except where the window itself says something quite different: a hole in
    the logs.
    """
    growth = np.full((WEEK_DAYS, fleet.bins), np.nan)
    for span in sorted({max(width, HOUR), width}, reverse=True):
        calls = window_sum(fleet.groups, span)
        for day in range(1, WEEK_DAYS + 1):
            before = back(calls, day * DAY, 0.0)
            ratio = np.where(before >= MIN_GROUP_CALLS, calls / np.maximum(before, 1.0), np.nan)
            enough = (~np.isnan(ratio)).sum(axis=0) >= MIN_GROUPS
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # bins in which no group has enough calls
                middle = np.nanmedian(ratio, axis=0)
            steady = growth[day - 1]
            differs = np.isnan(steady) | (np.abs(np.log((middle + 0.01) / (steady + 0.01))) > HOLE)
            growth[day - 1] = np.where(enough & differs, middle, steady)
    unknown = np.isnan(growth).all(axis=0)
    growth[WEEK_DAYS - 1, unknown] = 1.0
    return np.where((growth > 0.05) & (growth < 20), growth, np.nan)


def _window(series: Series, fleet: Fleet, width: int) -> pl.DataFrame:
    calls = window_sum(series.calls, width)
    growth = _growth(fleet, width)
    # Bins without any call in the whole fleet are missing data: they are nobody's drop, and no day to compare with.
    logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width
    born = series.born[:, None] + width - 1
    at = np.arange(fleet.bins)[None, :]

    def day_before(day: int) -> tuple[Floats, Bools, Floats]:
        """What that day lets expect now, where it can, and how far its kind of day is from today's."""
        factor = growth[day - 1]
        known = (back(logged.astype(np.float64), day * DAY, 0.0) > 0) & ~np.isnan(factor)
        valid = (at - day * DAY >= born) & known[None, :]
        factor = np.where(known, factor, 1.0)
        return back(calls, day * DAY, 0.0) * factor, valid, (GROWTH_SPREAD * np.log(factor)) ** 2

    total, days = np.zeros_like(calls), np.zeros_like(calls)
    lowest, highest = np.full_like(calls, np.inf), np.full_like(calls, -np.inf)
    for day in range(1, WEEK_DAYS + 1):
        value, valid, _ = day_before(day)
        total += np.where(valid, value, 0.0)
        days += valid
        lowest = np.where(valid, np.minimum(lowest, value), lowest)
        highest = np.where(valid, np.maximum(highest, value), highest)
    trim = days >= 4
    middle = total - np.where(trim, lowest, 0.0) - np.where(trim, highest, 0.0)
    middle /= np.maximum(days - 2 * trim, 1.0)
    # A day on which the fleet did about the same (a Saturday for a Saturday) says more; an odd day counts at most
    # double or half.
    total, square, weights, apart = (np.zeros_like(calls) for _ in range(4))
    for day in range(1, WEEK_DAYS + 1):
        value, valid, distance = day_before(day)
        weight = valid / (DAY_SPREAD + distance)[None, :]
        value = np.clip(value, 0.5 * middle, 2 * middle)
        total += weight * value
        square += weight * value**2
        weights += weight
        apart += weight * distance[None, :]
    weights = np.maximum(weights, 1e-9)
    mean, apart = total / weights, apart / weights
    usable = (days >= 2) & logged[None, :] & (mean >= MIN_EXPECTED)
    # Spread of this endpoint around the same forecast in the past week, beyond Poisson, as a squared coefficient of
    # variation.
    safe = np.maximum(mean, 1.0)
    poisson = mean * (1 + 1 / np.maximum(days, 1.0))
    error = np.where(usable, ((calls - mean) ** 2 - poisson) / safe**2, 0.0)
    phi = np.maximum(spread(error, usable, fleet, prior=PRIOR_SPREAD, weight=DAY), 0.005) + apart
    # Where the past days differ at this time of day (a batch job that starts now and then earlier), today may differ
    # as much.
    unlike = window_max(np.maximum(square / weights - mean**2, 0.0), HOUR)
    variance = np.maximum(poisson + phi * mean**2, unlike * days / np.maximum(days - 1, 1.0))
    drop = np.where(usable, (mean - calls) / np.sqrt(np.maximum(variance, 1.0)), 0.0)
    # More calls must last longer than ten minutes: without the two busiest bins.
    rest = calls - 2 * window_max(series.calls, width)
    surge = np.where(usable, (rest - mean * (width - 2) / width) / np.sqrt(np.maximum(variance, 1.0)), 0.0)
    third = max(width // 3, 1)
    recent, recent_mean = window_sum(series.calls, third), mean * third / width
    found = []
    for direction, z, k_all, scale, changed in (
        (-1, drop, calls, 1.0, (calls < DROP_FACTOR * mean) & (recent < 0.75 * recent_mean)),
        (
            1,
            surge,
            np.maximum(rest, 0.0),
            (width - 2) / width,
            (calls > SURGE_FACTOR * mean) & (recent > 1.35 * recent_mean),
        ),
    ):
        rows, bins = np.nonzero(usable & changed & (z > 2.0))
        mu, k = scale * mean[rows, bins], k_all[rows, bins]
        shape = mean[rows, bins] ** 2 / np.maximum(variance[rows, bins] - mean[rows, bins], 1e-6)
        chance = mu / (mu + shape)
        p = betainc(np.maximum(k, 1e-9), shape, chance) if direction == 1 else betainc(shape, k + 1.0, 1 - chance)
        log10_p = anomalies.log10_tail(p)
        usual = habit(z, fleet)[rows, bins]
        found.append(
            pl.DataFrame(
                {
                    "endpoint": rows + series.first_endpoint,
                    "detector": "traffic",
                    "signal": "traffic",
                    "status_code": None,
                    "direction": direction,
                    "bin": bins,
                    "start_bin": np.maximum(bins - width + 1, 0),
                    "opens": anomalies.opens(log10_p, z[rows, bins], usual),
                    "log10_p": log10_p,
                    "observed": calls[rows, bins] / width,
                    "expected": mean[rows, bins] / width,
                    "unit": "calls",
                    "n": calls[rows, bins],
                    "excess": np.abs(calls - mean)[rows, bins],
                },
                schema=dict(anomalies.ANOMALIES),
                strict=False,
            ).filter(pl.col("log10_p") < anomalies.HOLD_LOG10_P)
        )
    return pl.concat(found)
