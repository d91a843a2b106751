"""Too few or too many calls, against the same time on past days and against what the whole fleet does today.

The fleet's growth since each of those days cancels weekends, holidays, campaigns and gaps in the logs: all endpoints
share them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series, habit, spread, without_bursts
from apilens.detect.bins import (
    DAY,
    HOUR,
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
from apilens.detect.traffic_forecast import (
    BEFORE,
    BOTH_LOG10_P,
    DROP_FACTOR,
    DROP_RECENT,
    EACH_LOG10_P,
    GONE_DAYS,
    GONE_EXPECTED,
    GONE_LEFT,
    GONE_LOG10_P,
    JOB_FACTOR,
    MIN_EXPECTED,
    MIN_SPREAD,
    PRIOR_SPREAD,
    SURGE_FACTOR,
    SURGE_RECENT,
    YOUNG_DROP,
    YOUNG_SURGE,
    as_anomalies,
    as_on_a_day_off,
    first_day_spread,
    first_weekend,
    log10_chance,
    of_hour_before,
    of_past_days,
    set_in,
    weekday_of,
)
from apilens.detect.traffic_siblings import APART_WINDOWS, apart_from_siblings

#: A job is missing at once when it stays away: on so many days before it came.
JOB_DAYS = 3
#: And over so many bins after it began.
JOB_OVER = 4 * HOUR


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal traffic; observed and expected are calls per 5 minutes."""
    found = [anomalies.ANOMALIES.to_frame()]
    for rows, piece in replace(series, buckets=series.buckets.clear()).pieces(busy_rows(series)):
        steady = without_bursts(piece.calls)
        begun = {direction: np.zeros(piece.calls.shape, dtype=np.bool_) for direction in (-1, 1)}
        far = anomalies.strongest(pl.concat([_window(piece, steady, fleet, width, begun) for width in GROWTH_WINDOWS]))
        found.append(
            far.with_columns(endpoint=pl.Series(rows[far["endpoint"]] + series.first_endpoint, dtype=pl.Int64))
        )
    return pl.concat(found)


def busy_rows(series: Series) -> Ints:
    """Rows worth the arithmetic: those that ever had half the calls. _window asks "until now", so that the future has no say."""
    return np.flatnonzero(window_sum(series.calls, max(GROWTH_WINDOWS)).max(axis=1) >= MIN_EXPECTED / 2)


def _within_a_day(begun: Bools) -> Bools:
    """(endpoints, bins) whether one of the day's bins that end with each is true."""
    at = np.arange(begun.shape[1])
    within: Bools = at - np.maximum.accumulate(np.where(begun, at, -DAY), axis=1) < DAY
    return within


def _due(calls: Floats, hours: Floats) -> Bools:
    """(endpoints, bins) whether a job began at this time on each of JOB_DAYS days before. hours: what the hours before let expect of a window.

    Many times the calls of the hours before, and of those hours later: an office that opens at once goes on.
    """
    beside = np.maximum(hours, back(hours[:, ::-1], JOB_OVER, 0.0)[:, ::-1])
    began = set_in(calls, beside, JOB_FACTOR, 1)
    due: Bools = np.ones(calls.shape, dtype=np.bool_)
    for days in range(1, JOB_DAYS + 1):
        due[:, : days * DAY] = False
        due[:, days * DAY :] &= began[:, : -days * DAY]
    return due


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
    forecast = of_past_days(born, fleet, each, calls, logged, width)
    mean = forecast.mean
    young = forecast.days < 2
    # One working day says nothing of a Saturday, nor a Sunday of a Monday.
    known = np.where(young, (forecast.days == 1) & ~np.isin(weekday_of(fleet), [0, 5]), True)
    usable = known & logged[None, :] & (mean >= MIN_EXPECTED) & busy
    drop, surge = np.where(young, YOUNG_DROP, DROP_FACTOR), np.where(young, YOUNG_SURGE, SURGE_FACTOR)
    # Spread of this endpoint around the same forecast in the past week, beyond Poisson, as a squared coefficient of
    # variation.
    poisson = 1 + 1 / np.maximum(forecast.days, 1.0)
    # What one past day foretold says nothing of how well several do.
    judged = usable & ~young
    error = np.where(judged, ((calls - mean) ** 2 - poisson * mean) / np.maximum(mean, 1.0) ** 2, 0.0)
    phi = np.maximum(spread(error, judged, fleet, prior=PRIOR_SPREAD, weight=DAY), MIN_SPREAD) + forecast.apart
    lately, lately_variance = of_hour_before(each, calls, width, fleet, born, logged)
    first_day = first_day_spread(each, series.siblings[kept_rows], born, width)[:, None]
    phi = np.where(young, np.maximum(phi, first_day), phi)
    lately_variance = np.where(young, np.maximum(lately_variance, lately + first_day * lately**2), lately_variance)
    hours_before, half_before = (Sums(each).past(span, width) * width / span for span in (BEFORE, HOUR // 2))
    old = np.arange(fleet.bins)[None, :] - born[:, None] >= WEEK_DAYS * DAY + width
    third = max(width // 3, 1)
    recent = window_sum(each, third)
    found = []
    if width in APART_WINDOWS:
        found.append(apart_from_siblings(series, steady, fleet, width, forecast, logged, kept_rows))
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
        log10_p = log10_chance(
            k, mu, kept**2 * variance[rows, bins] + (kept - kept**2) * expected[rows, bins], direction
        )
        before, spread_before = kept * lately[rows, bins], lately_variance[rows, bins]
        log10_p_before = np.where(
            before > 0,
            log10_chance(k, np.maximum(before, 1e-3), np.maximum(spread_before, before * 1.001), direction),
            0.0,
        )
        if direction == -1:
            first, beginning = (of[rows, bins] for of in first_weekend(fleet, born, logged, width))
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
        # Of a weekday that nobody has seen, and of a day like one off, nothing is known but how it began: what only fails to rise with days of
        # another kind (a holiday), or rises over hours (a first working day), has set in with no failure. Longer windows may tell how it goes on.
        hours, factor = (
            (np.maximum(hours_before, half_before), SURGE_FACTOR)
            if direction == 1
            else (np.minimum(hours_before, half_before), DROP_FACTOR)
        )
        at_once = set_in(calls, hours, factor, direction)
        if width <= HOUR:
            begun[direction][kept_rows[rows], bins] |= opens & at_once[rows, bins]
            if direction == -1:
                begun[direction][kept_rows] |= _due(calls, hours) & (calls < DROP_FACTOR * expected)
        seen = old[rows, bins]
        if direction == -1:
            seen &= ~as_on_a_day_off(calls[rows, bins], forecast.fewest[rows, bins])
        opens &= seen | _within_a_day(begun[direction])[kept_rows[rows], bins]
        if direction == -1 and width == max(GROWTH_WINDOWS):
            regular = (forecast.days >= GONE_DAYS) & (forecast.fewest >= mean / 2) & np.isfinite(forecast.fewest)
            gone = regular & (mean >= GONE_EXPECTED) & (calls <= GONE_LEFT * mean)
            opens |= gone[rows, bins] & (log10_p < GONE_LOG10_P - fleet.many[bins]) & (z[rows, bins] > usual)
        found.append(
            as_anomalies(
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
