"""Too few or too many calls, against the same time on past days and against what the whole fleet does today.

The fleet's growth since each of those days cancels weekends, holidays, campaigns and gaps in the logs: all endpoints share them.
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
    Fleet,
    Floats,
    Series,
    back,
    past_sum,
    second_highest_day,
    window_sum,
)

WINDOWS = (3, 12, 48)
#: DETECTION: only where at least 10 calls are expected.
MIN_EXPECTED = 10.0
DROP_FACTOR, SURGE_FACTOR = 0.6, 1.7
#: Groups of endpoints whose median tells the fleet's growth; with fewer, only the same weekday a week ago is comparable.
MIN_GROUPS = 4
MIN_GROUP_CALLS = 8
HABIT_FACTOR = 1.3
#: Endpoints follow the fleet's growth up to so much of its logarithm (a guess, held against worlds with unequal weekends).
GROWTH_SPREAD = 0.35
WEEK = WEEK_DAYS * DAY


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal traffic; observed and expected in calls per 5 minutes, direction -1 or 1."""
    return anomalies.strongest(pl.concat([_window(series, fleet, width) for width in WINDOWS]))


def _growth(fleet: Fleet, width: int) -> Floats:
    """(7, bins) by which factor the fleet's traffic changed since the same time 1..7 days ago; NaN: cannot be told."""
    growth = np.full((WEEK_DAYS, fleet.bins), np.nan)
    for span in (max(width, HOUR), width):
        calls = window_sum(fleet.groups, span)
        for day in range(1, WEEK_DAYS + 1):
            before = back(calls, day * DAY, 0.0)
            ratio = np.where(before >= MIN_GROUP_CALLS, calls / np.maximum(before, 1.0), np.nan)
            enough = (~np.isnan(ratio)).sum(axis=0) >= MIN_GROUPS
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # bins in which no group has enough calls
                middle = np.nanmedian(ratio, axis=0)
            growth[day - 1] = np.where(enough, middle, growth[day - 1])
    unknown = np.isnan(growth).all(axis=0)
    growth[WEEK_DAYS - 1, unknown] = 1.0
    return growth


def _window(series: Series, fleet: Fleet, width: int) -> pl.DataFrame:
    calls = window_sum(series.calls, width)
    growth = _growth(fleet, width)
    # Bins without any call in the whole fleet are missing data: they are nobody's drop, and no day to compare with.
    logged = window_sum((fleet.load > 0).astype(np.float64), width) >= width
    total, square, days = np.zeros_like(calls), np.zeros_like(calls), np.zeros_like(calls)
    lowest, highest = np.full_like(calls, np.inf), np.full_like(calls, -np.inf)
    born = series.born[:, None] + width - 1
    at = np.arange(fleet.bins)[None, :]
    for day in range(1, WEEK_DAYS + 1):
        factor = growth[day - 1]
        known = back(logged.astype(np.float64), day * DAY, 0.0) > 0
        valid = (at - day * DAY >= born) & (known & ~np.isnan(factor) & (factor > 0.05) & (factor < 20))[None, :]
        value = np.where(valid, back(calls, day * DAY, 0.0) * np.nan_to_num(factor)[None, :], 0.0)
        total += value
        square += value**2
        days += valid
        lowest = np.where(valid, np.minimum(lowest, value), lowest)
        highest = np.where(valid, np.maximum(highest, value), highest)
    trim = days >= 4
    used = np.maximum(days - 2 * trim, 1.0)
    mean = (total - np.where(trim, lowest, 0.0) - np.where(trim, highest, 0.0)) / used
    usable = (days >= 2) & logged[None, :] & (mean >= MIN_EXPECTED)
    # Spread of this endpoint around the same forecast in the past week, beyond Poisson, as a squared coefficient of variation.
    error = np.where(usable, (calls - mean) ** 2 - mean * (1 + 1 / used), 0.0)
    error = np.minimum(error, (0.7 * mean) ** 2)
    behind = width + HOUR
    known_errors = past_sum(usable.astype(np.float64), WEEK, behind)
    weight = past_sum(np.where(usable, mean, 0.0) ** 2, WEEK, behind)
    typical = weight / np.maximum(known_errors, 1.0) * DAY
    phi = (past_sum(error, WEEK, behind) + 0.03 * (typical + 1.0)) / (weight + typical + 1.0)
    # The more the fleet's traffic changed, the less alike its endpoints are: they share a weekend, but not to the same degree.
    known_growth = np.where(np.isnan(growth), 1.0, np.clip(growth, 0.05, 20.0))
    apart = ((GROWTH_SPREAD * np.log(known_growth)) ** 2).max(axis=0)
    phi = np.clip(phi, 0.005, 1.0) + apart[None, :]
    variance = mean * (1 + 1 / used) + phi * mean**2
    z = np.where(usable, (calls - mean) / np.sqrt(np.maximum(variance, 1.0)), 0.0)
    third = max(width // 3, 1)
    recent, recent_mean = window_sum(series.calls, third), mean * third / width
    found = []
    for direction, changed in (
        (-1, (calls < DROP_FACTOR * mean) & (recent < 0.75 * recent_mean)),
        (1, (calls > SURGE_FACTOR * mean) & (recent > 1.35 * recent_mean)),
    ):
        rows, bins = np.nonzero(usable & changed & (direction * z > 2.0))
        mu, k = mean[rows, bins], calls[rows, bins]
        shape = mu**2 / np.maximum(variance[rows, bins] - mu, 1e-6)
        chance = mu / (mu + shape)
        p = betainc(np.maximum(k, 1e-9), shape, chance) if direction == 1 else betainc(shape, k + 1.0, 1 - chance)
        log10_p = anomalies.log10_tail(p)
        habit = second_highest_day(direction * z, fleet)[rows, bins]
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
                    "opens": (log10_p < anomalies.OPEN_LOG10_P) & (direction * z[rows, bins] > HABIT_FACTOR * habit),
                    "log10_p": log10_p,
                    "observed": k / width,
                    "expected": mu / width,
                    "unit": "calls",
                    "n": k,
                    "excess": np.abs(k - mu),
                },
                schema=dict(anomalies.ANOMALIES),
                strict=False,
            ).filter(pl.col("log10_p") < anomalies.HOLD_LOG10_P)
        )
    return pl.concat(found)
