"""Too few or too many calls against what the other endpoints behind the same upstream have."""

from __future__ import annotations

import numpy as np
import polars as pl

from apilens.detect.baseline import Fleet, Series, habit, spread
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
from apilens.detect.traffic_forecast import (
    BEFORE,
    BOTH_LOG10_P,
    DROP_FACTOR,
    DROP_RECENT,
    ERROR_LIMIT,
    MIN_EXPECTED,
    PRIOR_SPREAD,
    SURGE_FACTOR,
    SURGE_RECENT,
    YOUNG_DROP,
    Forecast,
    as_anomalies,
    as_on_a_day_off,
    first_weekend,
    log10_chance,
    set_in,
)

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


def opens_alone(direction: int, width: int) -> tuple[float, float]:
    """log10 of the chance at which siblings alone open a window, and how many times the habit it must reach."""
    return (APART if width >= HOUR // 2 else APART_SOON)[direction]


def apart_from_siblings(
    series: Series, steady: Floats, fleet: Fleet, width: int, forecast: Forecast, logged: Bools, at: Ints
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
    weekend = first_weekend(fleet, born, logged, width)[0]
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
            # Siblings do not say when a job of this endpoint's own is over.
            mean = np.minimum(theirs * np.minimum(share, lately), forecast.mean) * forecast.over
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
        log10_p = log10_chance(k[rows, bins], expected[rows, bins], variance[rows, bins], direction)
        least, beyond = opens_alone(direction, width)
        needed = np.where((direction == -1) & weekend[rows, bins], BOTH_LOG10_P, least)
        strong = log10_p < needed - fleet.many[bins]
        usually = habit(deviance, fleet, (rows[strong], bins[strong]))[rows, bins]
        opens = strong & (deviance[rows, bins] > beyond * usually)
        if direction == -1:
            hours = (own.past(BEFORE, width) * width / BEFORE)[rows, bins]
            now = calls[rows, bins]
            opens &= ~as_on_a_day_off(now, forecast.fewest[rows, bins]) | set_in(now, hours, DROP_FACTOR, direction)
        found.append(
            as_anomalies(
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
