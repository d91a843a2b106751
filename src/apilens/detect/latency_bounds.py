"""Which endpoints could open in latency.py, by bounds on its expectations: from few sums, and of bins that are yet to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
from scipy.special import betainc, stdtr

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, Bools, Floats, Sums, window_max
from apilens.detect.latency import (
    CLEAR_LOG10_P,
    DEGREES_PER_CALL,
    DRIFT_DEGREES,
    DRIFT_FACTOR,
    DRIFT_SKIP,
    DRIFT_WINDOW,
    MIN_OVER,
    MIN_TIMED,
    MIN_WANDER,
    PRIOR_CALLS,
    SHIFT_WINDOWS,
    T_DEGREES,
    TAILS,
    Slow,
    count_above,
    count_slow,
    slow_limits,
)
from apilens.detect.latency_load import WEEK, Totals, calm_bins, on_load, only_bins, usual_calls, without_busy_bins

#: What a window is compared with lies within so many bins: slow calls with those of their week, each day of it with the week
#: by which slow is told, and that with the week by which bursts are; a drift with less.
REACH = 3 * WEEK + 2 * DAY


def may_open(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    """Which rows of the series can have an anomaly in bin `since` or later that opens by its rule, or whose chance is `anyway`
    (its log10) or less.

    What detect() asks a window for, as far as it follows from a few sums: an expectation is never below the week's mean
    with the fleet's load, and no spread below its floor.
    """
    first = max(since - REACH, 0)
    fleet, late, since = fleet.since(first), series.since(first), since - first
    timed = Sums(late.timed, since)
    widths = (*(width for width, _ in SHIFT_WINDOWS), DRIFT_WINDOW)
    most = [timed.window(width).max(axis=1) for width in widths]
    asked = np.flatnonzero(np.max(most, axis=0) >= MIN_TIMED)
    # Those with few calls together, see detect().
    asked = asked[np.argsort(-most[0][asked], kind="stable")]
    found = np.zeros(len(series.born), dtype=bool)
    for rows, piece in late.pieces(asked):
        found[rows] = _may_be_slower(without_busy_bins(piece), fleet, since, anyway)
    return found


@dataclass(frozen=True, slots=True)
class _Before:
    """What the week before says of windows of one size; (endpoints, bins), or (endpoints, 1): the bound of all bins that lets more open."""

    enough: Bools  # calls of that week
    mean: Floats
    mean_of_bins: Floats  # from `width` bins sooner on: the mean by which each bin of a window is told to be its worst
    variance: Floats
    slope: Floats  # by load: slope * today's + offset is explained
    offset: Floats
    n: Floats
    tails: list[tuple[Floats, Bools]]  # for each of TAILS, the share of slow calls; enough calls among which they are


def _may_be_slower(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    totals = Totals(series, fleet)
    slow = count_slow(series, fleet, slow_limits(series, fleet))

    def before(width: int) -> _Before:
        return _week_before(totals, slow, width, since)

    return _slower_than(before, series, totals, slow, fleet.many, since, anyway)


def _week_before(totals: Totals, slow: Iterable[Slow], width: int, since: int) -> _Before:
    """What is known of the windows of a size that end in bin `since` or later, whatever they hold; of a drift there is no share."""
    behind = DRIFT_WINDOW + DRIFT_SKIP if width == DRIFT_WINDOW else width + HOUR
    of, sooner = totals.tail(since), totals.tail(max(since - width, 0))
    past_n = of.timed.past(WEEK, behind)
    mean, variance, slope, load_mean = on_load(of, behind)
    if width == DRIFT_WINDOW:
        mean_of_bins = mean
        tails = [(np.zeros_like(mean), np.zeros(mean.shape, dtype=bool)) for _ in TAILS]
    else:
        mean_of_bins = sooner.log_sum.past(WEEK, behind) / np.maximum(sooner.timed.past(WEEK, behind), 1.0)
        tails = []
        for tail, one in zip(TAILS, slow, strict=True):
            among = one.among_sums.tail(since).past(WEEK, behind)
            share = (one.sums.tail(since).past(WEEK, behind) + PRIOR_CALLS * tail.share) / (among + PRIOR_CALLS)
            tails.append((share, among >= 50))
    return _Before(past_n >= 50, mean, mean_of_bins, variance, slope, -slope * load_mean, past_n, tails)


def _slower_than(
    before: Callable[[int], _Before],
    series: Series,
    totals: Totals,
    slow: Sequence[Slow],
    many: Floats,
    since: int,
    anyway: float,
) -> Bools:
    """Which rows can have a window that ends in bin `since` or later and opens, by what is known before it.

    series: without bursts; totals: its sums; slow: for each of TAILS; many: as in Fleet.
    """
    found = np.zeros(len(series.born), dtype=bool)
    shift_or_tail, drift = (
        np.maximum(rule - many[since:], anyway) + anomalies.SLACK for rule in (CLEAR_LOG10_P, anomalies.OPEN_LOG10_P)
    )
    of = totals.tail(since)
    for width, factor in SHIFT_WINDOWS:
        n = of.timed.window(width)
        if n.max(initial=0) < MIN_TIMED:
            continue
        week = before(width)
        # Some bins sooner, because a window is asked for without its worst bin.
        begin = max(since - width, 0)
        new = slice(since - begin, None)
        rest_n = np.maximum(n, 1.0) * (1 - 1 / width)
        worst = window_max(series.log_sum[:, begin:] - series.timed[:, begin:] * week.mean_of_bins, width)[:, new]
        explained = week.slope * (of.load.window(width) / np.maximum(n, 1.0)) + week.offset
        above = (
            of.log_sum.window(width) - np.maximum(worst, 0.0) - np.maximum(n, 1.0) * week.mean
        ) / rest_n - explained
        enough = (n >= MIN_TIMED) & week.enough
        rows, bins = np.nonzero(enough & (above > math.log(factor) - anomalies.SLACK))
        variance = np.broadcast_to(week.variance, n.shape)[rows, bins]
        n, rest_n, above = (of_all[rows, bins] for of_all in (n, rest_n, above))
        z = above / np.sqrt(variance / rest_n + MIN_WANDER)
        chance = anomalies.log10_tail(stdtr(np.minimum(T_DEGREES, DEGREES_PER_CALL * n), -z))
        found[rows[chance <= shift_or_tail[bins]]] = True
        third = max(width // 3, 1)
        for tail, (share, enough), one in zip(TAILS, week.tails, slow, strict=True):
            slow_late, among = one.sums.tail(since), one.among_sums.tail(since)
            counted = among.window(width)
            k = slow_late.window(width) - window_max(one.calls[:, begin:], width)[:, new]
            least = counted * share * (width - 1) / width
            heavier = (
                (counted >= MIN_TIMED)
                & enough
                & (k >= 4)
                & (k > tail.factor * least - anomalies.SLACK)
                & (k - least > tail.least * counted - anomalies.SLACK)
            )
            heavier &= slow_late.window(third) > 1.5 * share * among.window(third) - anomalies.SLACK
            rows, bins = np.nonzero(heavier)
            k, least = k[rows, bins], least[rows, bins]
            shape = least / MIN_OVER
            chance = anomalies.log10_tail(betainc(k, shape, least / (least + shape)))
            found[rows[chance <= shift_or_tail[bins]]] = True
    n = of.timed.window(DRIFT_WINDOW)
    if found.all() or n.max(initial=0) < MIN_TIMED:
        return found
    week = before(DRIFT_WINDOW)
    explained = week.slope * (of.load.window(DRIFT_WINDOW) / np.maximum(n, 1.0)) + week.offset
    above = of.log_sum.window(DRIFT_WINDOW) / np.maximum(n, 1.0) - week.mean - explained
    rows, bins = np.nonzero((n >= MIN_TIMED) & week.enough & (above > math.log(DRIFT_FACTOR) - anomalies.SLACK))
    variance, past_n = (np.broadcast_to(each, n.shape)[rows, bins] for each in (week.variance, week.n))
    z = above[rows, bins] / np.sqrt(variance / n[rows, bins] + variance / past_n)
    chance = anomalies.log10_tail(stdtr(DRIFT_DEGREES, -z))
    found[rows[chance <= drift[bins]]] = True
    return found


#: What `_bounds` has of windows of one size: the fields of _Before one by one, and of each of TAILS two.
_BOUNDS = len(fields(_Before)) - 1 + 2 * len(TAILS)
#: Of an endpoint, what is known of bins some of which are yet to come: of windows of each size the bounds of what the week before says of them
#: (as `_bounds` has them); calls at the same time of the days before, bin by bin; from which bucket on calls are slow on the day
#: before and on this one, for each of TAILS (NaN: too few calls); and which bins of the 24 hours before were bursts, counted back from the first.
OUTLOOK = pl.Schema(
    [
        ("weeks", pl.Array(pl.Float64, (len(SHIFT_WINDOWS) + 1) * _BOUNDS)),
        ("around", pl.List(pl.Float64)),
        ("slow_before", pl.Array(pl.Float64, len(TAILS))),
        ("slow", pl.Array(pl.Float64, len(TAILS))),
        ("bursts", pl.List(pl.Int32)),
    ]
)


def outlook(series: Series, fleet: Fleet, first: int, end: int) -> pl.DataFrame:
    """OUTLOOK of the bins first .. end-1, all of one UTC day and few enough that what the shortest window is compared with ends before them;
    one row per endpoint of the series."""
    begin = max(first - REACH, 0)
    later = end - fleet.bins
    fleet, late, first, end = _longer(fleet.since(begin), later), series.since(begin), first - begin, end - begin
    day = int(fleet.day_of(np.array([first]))[0])
    found = []
    for _, bare in late.pieces(np.arange(len(series.born))):
        padding = ((0, 0), (0, later))
        piece = replace(
            bare,
            calls=np.pad(bare.calls, padding),
            timed=np.pad(bare.timed, padding),
            log_sum=np.pad(bare.log_sum, padding),
            log_sumsq=np.pad(bare.log_sumsq, padding),
        )
        around = usual_calls(piece)
        calm = calm_bins(piece.calls, around)
        piece = only_bins(piece, calm)
        totals, limits = Totals(piece, fleet), slow_limits(piece, fleet)
        slow = count_slow(piece, fleet, limits)
        weeks = [_bounds(_week_before(totals, slow, width, first)) for width in (*dict(SHIFT_WINDOWS), DRIFT_WINDOW)]
        # (endpoints, days, tails)
        slow_from = np.stack(limits, axis=2)
        row, burst = np.nonzero(~calm[:, max(first - DAY, 0) : first])
        bursts = [(burst[row == at] + max(-DAY, -first)).tolist() for at in range(len(piece.born))]
        found.append(
            pl.DataFrame(
                {
                    "weeks": np.concatenate(weeks, axis=1),
                    "around": around[:, first:end].tolist(),
                    "slow_before": slow_from[:, day - 1] if day else np.full((len(bursts), len(TAILS)), np.nan),
                    "slow": slow_from[:, day],
                    "bursts": bursts,
                },
                schema=OUTLOOK,
            )
        )
    return pl.concat([OUTLOOK.to_frame(), *found])


def _longer(fleet: Fleet, bins: int) -> Fleet:
    """With so many more bins, of which nothing is known."""
    return replace(
        fleet,
        bins=fleet.bins + bins,
        load=np.pad(fleet.load, (0, bins)),
        many=np.pad(fleet.many, (0, bins), mode="edge"),
    )


def _bounds(week: _Before) -> Floats:
    """(endpoints, _BOUNDS) of each endpoint what lets most open: of a higher mean, load and share less is beyond it, of more calls more sure."""
    mean, variance, slope, offset = (each.min(axis=1) for each in (week.mean, week.variance, week.slope, week.offset))
    mean_of_bins, n = (each.max(axis=1) for each in (week.mean_of_bins, week.n))
    tails = [each for share, enough in week.tails for each in (share.min(axis=1), enough.any(axis=1))]
    bounds: Floats = np.stack([week.enough.any(axis=1), mean, mean_of_bins, variance, slope, offset, n, *tails], axis=1)
    return bounds


def may_open_by(known: pl.DataFrame, series: Series, fleet: Fleet, first: int, since: int, anyway: float) -> Bools:
    """may_open of a series of the last bins alone: too many where the bounds of what is known are wide.

    known: OUTLOOK of the endpoints of the series (null: all is null, and false is returned); first: its first bin. The series begins a day and
    some hours sooner, or with the first call.
    """
    told = np.flatnonzero(known["weeks"].is_not_null())
    found = np.zeros(len(series.born), dtype=bool)
    if len(told) == 0:
        return found
    if len(told) < len(found):
        known, series = known[told], series.only(told)
    bins = series.calls.shape[1]
    calm = np.ones(series.calls.shape, dtype=bool)
    each = known.select(pl.int_range(pl.len()).alias("row"), "bursts").explode("bursts").drop_nulls()
    calm[each["row"].to_numpy(), each["bursts"].to_numpy() + first] = False
    around = np.array(known["around"].to_list())[:, : bins - first]
    calm[:, first:] = calm_bins(series.calls, around)
    piece = only_bins(series, calm)
    totals = Totals(piece, fleet)
    midnight = first - (fleet.first_bin + first) % DAY
    row, today = piece.buckets["row"].to_numpy(), piece.buckets["bin"].to_numpy() >= midnight
    now, day_before = (known[name].to_numpy()[row] for name in ("slow", "slow_before"))
    slow = [count_above(piece, np.where(today, now[:, at], day_before[:, at])) for at in range(len(TAILS))]
    weeks = known["weeks"].to_numpy().reshape(len(told), len(SHIFT_WINDOWS) + 1, -1)

    def before(width: int) -> _Before:
        at = [*dict(SHIFT_WINDOWS), DRIFT_WINDOW].index(width)
        enough, mean, mean_of_bins, variance, slope, offset, n, *tails = weeks[:, at].T[:, :, None]
        shares = [(share, among > 0) for share, among in zip(tails[::2], tails[1::2], strict=True)]
        return _Before(enough > 0, mean, mean_of_bins, variance, slope, offset, n, shares)

    found[told] = _slower_than(before, piece, totals, slow, fleet.many, since, anyway)
    return found
