"""Slower answers: a shift of the mean log latency, a drift over days, and a heavier tail.

All three compare with the endpoint's own past and ask twice: is it improbable under that past's spread, and is it beyond
what the endpoint does on its second worst day anyway (a nightly backup, the morning peak)? More calls than usual explain
slowness.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, fields, replace

import numpy as np
import polars as pl
from scipy.special import betainc, ndtr, ndtri, stdtr

from apilens.detect import anomalies
from apilens.detect.baseline import (
    DAY,
    HOUR,
    WEEK_DAYS,
    Bools,
    Fleet,
    Floats,
    Ints,
    Series,
    Sums,
    back,
    habit,
    same_time,
    spread,
    window_max,
    window_sum,
)

WEEK = WEEK_DAYS * DAY
#: Windows of shift and tail in bins, and by which factor the geometric mean must have grown.
SHIFT_WINDOWS = ((3, 1.3), (6, 1.25), (12, 1.25), (48, 1.25))
#: A slow degradation: a whole day against the week that ended three days before (DETECTION), so that it cannot hide in
#: its own baseline.
DRIFT_WINDOW, DRIFT_SKIP, DRIFT_FACTOR = DAY, 3 * DAY, 1.15
#: A call is slow when it takes longer than 97 % of the calls of the week before (DETECTION: q97).
TAIL_SHARE = 0.03
TAIL_FACTOR = 3.0
MIN_TIMED = 8
#: A shift waits while it passes: against so many bins before, by so many standard errors. See _passes.
PASSING_BINS, PASSING_ERRORS = 3, 2.5
#: Means of heavy-tailed latencies are not normal: Student's t asks a shift for 5.0 standard errors to open, a drift for 5.9.
#: Those of a handful of calls are even less so: of ten calls, 6.8.
T_DEGREES, DRIFT_DEGREES = 100, 30
DEGREES_PER_CALL = 2
#: Mean square of standardised residuals before the endpoint's own are known; 1.0 would be a perfect model.
PRIOR_SPREAD = 2.0
#: What is known of a time of day, and of the two hours before, is held back by so many calls.
PROFILE_CALLS, RECENT_CALLS = 30.0, 30.0
#: Variance of an endpoint's mean log latency around its forecast, beyond sampling: before its own is known, and at least.
PRIOR_WANDER, MIN_WANDER = 0.02, 0.002
#: Day means wander more than calls do; from days of ordinary endpoints.
DRIFT_PRIOR_SPREAD = 6.0
#: A tail that hardly moves the mean opens by this chance. At that of the others such tails were two faults and a dozen false
#: tickets in 40 worlds; at this one of the faults and one of the two false ones that were looked at again are left.
TAIL_ALONE_LOG10_P = -8.0
#: A shift, a tail and a drift open at one window in a million.
OPEN_LOG10_P = -6.0
#: One in a hundred thousand is enough for an endpoint whose own week stays far below: what it did then says more of its
#: spread than any model. Picked on eleven worlds: two more faults, one more false ticket.
CLEAR_LOG10_P, CLEAR_FACTOR = -5.0, 1.4
#: Ridge of the regression on log load, in units of its variance: a flat load explains nothing.
LOAD_RIDGE = 0.005
#: Steps of load per doubling, calls that make a step known, and calls of the endpoint's mean that each step is shrunk by.
LOAD_STEPS, LOAD_CALLS, LOAD_PRIOR = 3, 20, 30
#: A load is known when it was there for twenty minutes in all.
LOAD_BINS = 4
#: A load that was never seen is no excuse for being so many times as slow as is explained: its steps are coarse, and where calls come as often
#: every day one call more may be the next step. Without a limit it cost nine false tickets (decision 13).
UNSEEN_FACTOR = 2.0
#: Twice the calls may take 1.75 times as long (a queue near its limit; picked on two kinds of worlds).
LOAD_ELASTICITY = 0.8
#: A bin with so many times the usual calls (and three standard deviations) is a burst.
BURST_FACTOR = 1.6
#: Squares above this are incidents, not spread.
SQUARE_LIMIT = 64.0
#: No own habit is known before two days of traffic.
YOUNG = 2 * DAY
#: Least overdispersion of slow calls.
MIN_OVER = 0.3
#: What a window is compared with lies within so many bins: slow calls with those of their week, each day of it with the week
#: by which slow is told, and that with the week by which bursts are; a drift with less.
REACH = 3 * WEEK + 2 * DAY


@dataclass(frozen=True, slots=True)
class _Usual:
    """Of windows of one size: mean and variance of the log latency in the week before, and what load explains of today's."""

    mean: Floats
    variance: Floats
    explained: Floats  # the fleet's load
    crowd: Floats  # more calls than usual


def detect(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies (anomalies.ANOMALIES) of signal latency; observed and expected in ms (geometric mean) or as ratio of
    slow calls."""
    # Endpoints that are never asked enough on a day are not worth the arithmetic; each row is judged by itself.
    timed = Sums(series.timed)
    enough = np.flatnonzero(timed.window(DAY).max(axis=1) >= MIN_TIMED)
    # Those with few calls together: for them the short windows need not be looked at.
    enough = enough[np.argsort(-timed.window(SHIFT_WINDOWS[0][0]).max(axis=1)[enough], kind="stable")]
    found = [anomalies.ANOMALIES.to_frame()]
    for rows, piece in series.pieces(enough):
        slow = _slower(_without_bursts(piece), fleet)
        found.append(
            slow.with_columns(endpoint=pl.Series(rows[slow["endpoint"]] + series.first_endpoint, dtype=pl.Int64))
        )
    return pl.concat(found)


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
        found[rows] = _may_be_slower(_without_bursts(piece), fleet, since, anyway)
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
    share: Floats  # of slow calls
    enough_of_share: Bools


def _may_be_slower(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    totals = _Totals(series, fleet)
    slow, timed = _slow_calls(series, fleet)
    slow_sums, timed_sums = Sums(slow), Sums(timed)

    def before(width: int) -> _Before:
        return _week_before(totals, slow_sums, timed_sums, width, since)

    return _slower_than(before, series, totals, (slow, timed), (slow_sums, timed_sums), fleet.many, since, anyway)


def _week_before(totals: _Totals, slow: Sums, timed: Sums, width: int, since: int) -> _Before:
    """What is known of the windows of a size that end in bin `since` or later, whatever they hold; of a drift there is no share."""
    behind = DRIFT_WINDOW + DRIFT_SKIP if width == DRIFT_WINDOW else width + HOUR
    of, sooner = totals.tail(since), totals.tail(max(since - width, 0))
    past_n = of.timed.past(WEEK, behind)
    mean, variance, slope, load_mean = _on_load(of, behind)
    if width == DRIFT_WINDOW:
        mean_of_bins, share, enough = mean, np.zeros_like(mean), np.zeros(mean.shape, dtype=bool)
    else:
        mean_of_bins = sooner.log_sum.past(WEEK, behind) / np.maximum(sooner.timed.past(WEEK, behind), 1.0)
        among = timed.tail(since).past(WEEK, behind)
        share = (slow.tail(since).past(WEEK, behind) + 100 * TAIL_SHARE) / (among + 100)
        enough = among >= 50
    return _Before(past_n >= 50, mean, mean_of_bins, variance, slope, -slope * load_mean, past_n, share, enough)


def _slower_than(
    before: Callable[[int], _Before],
    series: Series,
    totals: _Totals,
    slow: tuple[Floats, Floats],
    slow_sums: tuple[Sums, Sums],
    many: Floats,
    since: int,
    anyway: float,
) -> Bools:
    """Which rows can have a window that ends in bin `since` or later and opens, by what is known before it.

    series: without bursts; totals: its sums; slow: slow calls, and those they are counted among; many: as in Fleet.
    """
    found = np.zeros(len(series.born), dtype=bool)
    slow_calls, among = slow_sums[0].tail(since), slow_sums[1].tail(since)
    shift_or_tail, drift = (
        np.maximum(rule - many[since:], anyway) + anomalies.SLACK for rule in (CLEAR_LOG10_P, anomalies.OPEN_LOG10_P)
    )
    of = totals.tail(since)
    for width, factor in SHIFT_WINDOWS:
        n, counted = of.timed.window(width), among.window(width)
        if max(n.max(initial=0), counted.max(initial=0)) < MIN_TIMED:
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
        k = slow_calls.window(width) - window_max(slow[0][:, begin:], width)[:, new]
        least = counted * week.share * (width - 1) / width
        third = max(width // 3, 1)
        heavier = (
            (counted >= MIN_TIMED)
            & week.enough_of_share
            & (k >= 4)
            & (k > TAIL_FACTOR * least - anomalies.SLACK)
            & (k - least > 0.05 * counted - anomalies.SLACK)
        )
        heavier &= slow_calls.window(third) > 1.5 * week.share * among.window(third) - anomalies.SLACK
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


#: Of an endpoint, what is known of bins some of which are yet to come: of windows of each size the bounds of what the week before says of them
#: (_Before's fields, one by one); calls at the same time of the days before, bin by bin; from which bucket on calls are slow on the day
#: before and on this one (NaN: too few calls); and which bins of the 24 hours before were bursts, counted back from the first.
OUTLOOK = pl.Schema(
    [
        ("weeks", pl.Array(pl.Float64, (len(SHIFT_WINDOWS) + 1) * len(fields(_Before)))),
        ("around", pl.List(pl.Float64)),
        ("slow_before", pl.Float64),
        ("slow", pl.Float64),
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
        around = _around(piece)
        calm = _calm(piece.calls, around)
        piece = _kept(piece, calm)
        totals, slow_from = _Totals(piece, fleet), _slow_from(piece, fleet)
        slow, timed = (Sums(each) for each in _slower_calls(piece, _of_buckets(piece, fleet, slow_from)))
        weeks = [
            _bounds(_week_before(totals, slow, timed, width, first)) for width in (*dict(SHIFT_WINDOWS), DRIFT_WINDOW)
        ]
        row, burst = np.nonzero(~calm[:, max(first - DAY, 0) : first])
        bursts = [(burst[row == at] + max(-DAY, -first)).tolist() for at in range(len(piece.born))]
        found.append(
            pl.DataFrame(
                {
                    "weeks": np.concatenate(weeks, axis=1),
                    "around": around[:, first:end].tolist(),
                    "slow_before": slow_from[:, day - 1] if day else np.full(len(bursts), np.nan),
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


def _of_buckets(series: Series, fleet: Fleet, slow_from: Floats) -> Floats:
    day = fleet.day_of(series.buckets["bin"].to_numpy())
    limit: Floats = slow_from[series.buckets["row"].to_numpy(), day]
    return limit


def _bounds(week: _Before) -> Floats:
    """(endpoints, fields) of each endpoint what lets most open: of a higher mean, load and share less is beyond it, of more calls more sure."""
    lowest = (week.mean, week.variance, week.slope, week.offset, week.share)
    mean, variance, slope, offset, share = (each.min(axis=1) for each in lowest)
    mean_of_bins, n = (each.max(axis=1) for each in (week.mean_of_bins, week.n))
    enough, enough_of_share = (each.any(axis=1) for each in (week.enough, week.enough_of_share))
    bounds: Floats = np.stack([enough, mean, mean_of_bins, variance, slope, offset, n, share, enough_of_share], axis=1)
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
    calm[:, first:] = _calm(series.calls, around)
    piece = _kept(series, calm)
    totals = _Totals(piece, fleet)
    midnight = first - (fleet.first_bin + first) % DAY
    row, today = piece.buckets["row"].to_numpy(), piece.buckets["bin"].to_numpy() >= midnight
    slow_from = (known[name].cast(pl.Float64).fill_null(np.nan).to_numpy()[row] for name in ("slow", "slow_before"))
    slow = _slower_calls(piece, np.where(today, *slow_from))
    weeks = known["weeks"].to_numpy().reshape(len(told), len(SHIFT_WINDOWS) + 1, -1)

    def before(width: int) -> _Before:
        at = [*dict(SHIFT_WINDOWS), DRIFT_WINDOW].index(width)
        enough, mean, mean_of_bins, variance, slope, offset, n, share, enough_of_share = weeks[:, at].T[:, :, None]
        return _Before(enough > 0, mean, mean_of_bins, variance, slope, offset, n, share, enough_of_share > 0)

    found[told] = _slower_than(before, piece, totals, slow, (Sums(slow[0]), Sums(slow[1])), fleet.many, since, anyway)
    return found


class _Totals:
    """Sums of a piece's series, each made once, and when it is first asked for."""

    def __init__(self, series: Series, fleet: Fleet) -> None:
        logged = np.maximum(window_sum((fleet.load > 0).astype(np.float64), HOUR), 1.0)
        self._load = np.log(np.maximum(window_sum(fleet.load, HOUR) / logged, 1.0))
        self._series = series
        self._since = 0
        self._made: dict[str, Sums] = {}

    def tail(self, since: int) -> _Totals:
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


def _slower(series: Series, fleet: Fleet) -> pl.DataFrame:
    """Anomalies of a piece, strongest windows only."""
    totals = _Totals(series, fleet)
    load = _under_load(series, fleet, series.log_sum, series.timed)
    slow, timed = _slow_calls(series, fleet)
    slow_load = _under_load(series, fleet, slow, timed)
    found = []
    for width, factor in SHIFT_WINDOWS:
        if totals.timed.window(width).max() < MIN_TIMED:
            continue
        usual = _Usual(*_by_load(totals, width, width + HOUR), _crowd(series, totals, width))
        shift, slower = _shift(series, fleet, totals, load, usual, width, factor)
        found.extend([shift, _tail(series, fleet, slow_load, usual, slower, slow, timed, width)])
    load = _at_load(series.calls, fleet, series.log_sum, series.timed, skip_days=DRIFT_SKIP // DAY, steps=0)
    found.append(_drift(series, fleet, totals, load))
    return anomalies.strongest(pl.concat(found))


def _without_bursts(series: Series) -> Series:
    """The series without the calls of bins that had far more of them than the two hours before and this time of day.

    What a batch job or a crowd does to the latency is their matter, and the traffic detector's.
    """
    return _kept(series, _calm(series.calls, _around(series)))


def _around(series: Series) -> Floats:
    """Per bin the calls at this time of the seven days before, within a quarter of an hour."""
    calls = same_time(Sums(series.calls).window(HOUR // 2) / (HOUR // 2), HOUR // 4)
    around: Floats = calls / np.maximum(_days(series), 1.0)
    return around


def _calm(calls: Floats, around: Floats) -> Bools:
    """Which bins are no burst. around: of the last bins at least, of which it is said."""
    new = calls.shape[1] - around.shape[1]
    usual = np.maximum(Sums(calls, new).past(2 * HOUR, 1) / (2 * HOUR), around)
    calm: Bools = calls[:, new:] <= BURST_FACTOR * usual + 3 * np.sqrt(usual) + 3
    return calm


def _kept(series: Series, calm: Bools) -> Series:
    kept = calm[series.buckets["row"].to_numpy(), series.buckets["bin"].to_numpy()]
    return replace(
        series,
        timed=series.timed * calm,
        log_sum=series.log_sum * calm,
        log_sumsq=series.log_sumsq * calm,
        buckets=series.buckets.filter(pl.Series(kept, dtype=pl.Boolean)),
    )


def _days(series: Series) -> Floats:
    """Per bin how many of the seven days before the endpoint was there at that time."""
    age = np.arange(series.calls.shape[1])[None, :] - series.born[:, None]
    days: Floats = np.clip(age // DAY, 0, WEEK_DAYS).astype(np.float64)
    return days


def _crowd(series: Series, totals: _Totals, width: int) -> Floats:
    """By how much more calls than the two hours before and this time of day had explain a higher log latency: the
    endpoint's own, or those of all behind the same upstream."""
    pairs = []
    for each in (totals.calls, totals.beside):
        calls = each.window(width)
        lately = each.past(2 * HOUR, width) * width / (2 * HOUR)
        pairs.append((calls, np.maximum(lately, same_time(calls) / np.maximum(_days(series), 1.0))))
    return _explained_by_more(pairs)


def _explained_by_more(pairs: list[tuple[Floats, Floats]]) -> Floats:
    """By how much a higher log latency is explained where there are more calls than usual: the most of (calls, usual)."""
    most = np.zeros_like(pairs[0][0])
    for calls, usual in pairs:
        most = np.maximum(most, LOAD_ELASTICITY * np.log((calls + 3) / (usual + 3)))
    return most


def _by_load(totals: _Totals, width: int, behind: int) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of the log latency in the past week, and the share of today's mean that today's load explains.

    Many systems answer slower when all consumers are awake; a regression of the endpoint's latency on the fleet's log
    load, from the past only, takes that out. It only ever explains slowness by more load, never by less.
    """
    mean, variance, slope, load_mean = _on_load(totals, behind)
    today = totals.load.window(width) / np.maximum(totals.timed.window(width), 1.0)
    return mean, variance, slope * (today - load_mean)


def _on_load(totals: _Totals, behind: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean and variance of the log latency in the past week, its slope on the fleet's log load, and the mean of that."""
    n = np.maximum(totals.timed.past(WEEK, behind), 1.0)
    mean = totals.log_sum.past(WEEK, behind) / n
    variance = np.maximum(totals.log_sumsq.past(WEEK, behind) / n - mean**2, 0.01)
    load_mean = totals.load.past(WEEK, behind) / n
    load_variance = np.maximum(totals.load_sq.past(WEEK, behind) / n - load_mean**2, 0.0)
    together = totals.log_sum_load.past(WEEK, behind) / n - load_mean * mean
    return mean, variance, np.clip(together / (load_variance + LOAD_RIDGE), 0.0, 1.5), load_mean


def _under_load(series: Series, fleet: Fleet, of: Floats, among: Floats) -> tuple[Floats, Bools]:
    """What _at_load says of the endpoint's own load, or of that of all behind its upstream where that explains more; bins
    with an unseen load of either kind."""
    own, unseen = _at_load(series.calls, fleet, of, among)
    beside, unseen_beside = _at_load(series.beside, fleet, of, among, per_doubling=2 * LOAD_STEPS)
    return np.maximum(own, beside), unseen | unseen_beside


def _at_load(
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
        _before(
            np.bincount(at, each.ravel(), endpoints * fleet.days * levels).astype(np.float64).reshape(shape), skip_days
        )
        for each in (of, among)
    )
    # One after the other, so that it does not matter how many steps the others in the piece have.
    whole = np.cumsum(sums, axis=2)[:, :, -1:] / np.maximum(calls.sum(axis=2, keepdims=True), 1.0)
    mean = (sums + LOAD_PRIOR * whole) / (calls + LOAD_PRIOR)
    mean = np.maximum.accumulate(np.where(calls >= LOAD_CALLS, mean, -np.inf), axis=2)
    with_calls = np.bincount(at, (among > 0).ravel().astype(np.float64), endpoints * fleet.days * levels)
    bins = _before(with_calls.astype(np.float64).reshape(shape), skip_days)
    seen = np.where((calls >= LOAD_CALLS) & (bins >= LOAD_BINS), np.arange(levels), -1).max(axis=2)
    per_bin = np.arange(endpoints)[:, None], day[None, :]
    more = mean[(*per_bin, np.clip(step + steps, 0, np.maximum(seen[per_bin], step)))] - whole[(*per_bin, 0)]
    return np.where(np.isfinite(more), more, 0.0), step > seen[per_bin]


def _before(daily: Floats, skip_days: int) -> Floats:
    """Sum over the seven days that end `skip_days` before each day, along the second axis."""
    total = np.concatenate([np.zeros_like(daily[:, :1]), np.cumsum(daily, axis=1)], axis=1)
    day = np.arange(daily.shape[1]) - skip_days
    week: Floats = total[:, np.maximum(day, 0)] - total[:, np.maximum(day - WEEK_DAYS, 0)]
    return week


def _shift(
    series: Series,
    fleet: Fleet,
    totals: _Totals,
    load: tuple[Floats, Bools],
    usual: _Usual,
    width: int,
    factor: float,
) -> tuple[pl.DataFrame, Bools]:
    """Windows whose mean log latency lies above what load, time of day and the two hours before let expect; and which windows
    are slower by the factor at all.

    An additive forecast of three parts, each learned from the past only and each held to the one before by so many
    calls: the endpoint's own load; what that leaves at this time of day; what that leaves in the two hours before,
    where it was slow already (weather: a cache that empties, a slow neighbour). Source: shrinkage of random effects,
    e.g. Gelman et al., Bayesian Data Analysis, section 5.
    """
    n, s = totals.timed.window(width), totals.log_sum.window(width)
    behind = width + HOUR
    past_n = totals.timed.past(WEEK, behind)
    safe_n = np.maximum(n, 1.0)
    past_mean, variance, explained = usual.mean, usual.variance, usual.explained
    own, unseen = load
    left = Sums(series.log_sum - series.timed * (past_mean + own))
    reach = max(width, 2 * HOUR)
    ahead = (reach - width) // 2  # centred on the window
    profile, profile_n = (same_time(each.window(reach), ahead) for each in (left, totals.timed))
    profile /= profile_n + PROFILE_CALLS
    left_recent = left.past(2 * HOUR, width)
    recent_n = totals.timed.past(2 * HOUR, width)
    recent = (left_recent - recent_n * profile) / (recent_n + RECENT_CALLS)
    own = window_sum(own * series.timed, width) / safe_n
    expected = past_mean + np.maximum(explained, own + profile + np.maximum(recent, 0.0)) + usual.crowd
    usable = (n >= MIN_TIMED) & (past_n >= 50) & (_age(series, fleet) >= behind + YOUNG)
    # A single slow bin is a pause of the garbage collector or one huge request: the others must be slow without it.
    each = series.log_sum - series.timed * past_mean
    worst = np.maximum(window_max(each, width), 0.0)
    rest = (s - worst - safe_n * past_mean) / (safe_n * (1 - 1 / width))
    residual = np.where(usable, rest + past_mean - expected, 0.0)
    comparable = (2 * window_sum(unseen * series.timed, width) <= n) | (residual > math.log(UNSEEN_FACTOR))
    sampling = variance * (1 / (safe_n * (1 - 1 / width)) + 1 / (profile_n + PROFILE_CALLS))
    # Only the upper side is asked for: without its worst bin a window is faster than forecast, mostly.
    above = 2 * np.minimum(np.maximum(residual, 0.0) ** 2, 9 * (sampling + PRIOR_WANDER))
    wander = spread(above - sampling, usable, fleet, prior=PRIOR_WANDER, weight=DAY / 4)
    z = residual / np.sqrt(sampling + np.maximum(wander, MIN_WANDER))
    changed = residual > math.log(factor)
    slower = usable & (z > 2.5) & changed & _still(totals, width, residual, factor)
    rows, bins = np.nonzero(slower)
    degrees = np.minimum(T_DEGREES, DEGREES_PER_CALL * n[rows, bins])
    log10_p = anomalies.log10_tail(stdtr(degrees, -z[rows, bins]))
    lasting = comparable[rows, bins] & ~_passes(series, rows, bins, expected[rows, bins], variance)
    opens = _opens(log10_p + fleet.many[bins], z, rows, bins, lasting, fleet)
    excess = n * (1.0 - np.exp(-np.maximum(residual, 0.0)))
    observed = np.exp(s / safe_n)
    return _frame(series, rows, bins, width, log10_p, opens, observed, np.exp(expected), "ms", n, excess), slower


def _passes(series: Series, rows: Ints, bins: Ints, expected: Floats, variance: Floats) -> Bools:
    """Whether slowness goes down by itself, as it does while caches fill after a deployment: (row, bin) is less than half as slow (of logs)
    as one of the bins before it, beyond what is chance with so few calls."""
    spread = np.broadcast_to(variance, series.timed.shape)[rows, bins]

    def slowness(ago: int) -> tuple[Floats, Floats]:
        at = np.maximum(bins - ago, 0)
        n = series.timed[rows, at]
        return np.where(n > 0, series.log_sum[rows, at] / np.maximum(n, 1.0) - expected, 0.0), np.maximum(n, 0.5)

    now, n = slowness(0)
    passes = np.zeros(len(rows), dtype=bool)
    for ago in range(1, PASSING_BINS + 1):
        before, calls = slowness(ago)
        passes |= (now < before / 2) & (before - now > PASSING_ERRORS * np.sqrt(spread * (1 / n + 1 / calls)))
    return passes


def _opens(log10_p: Floats, z: Floats, rows: Ints, bins: Ints, may: Bools, fleet: Fleet) -> Bools:
    """Which of the windows that end with (rows, bins) open, by their chance and their standard errors, given what the
    endpoint itself reaches anyway (habit). may: nothing else speaks against it."""
    strong = may & (log10_p < OPEN_LOG10_P)
    usual = habit(z, fleet, (rows[strong], bins[strong]))[rows, bins]
    clear: Bools = may & (log10_p < CLEAR_LOG10_P) & (z[rows, bins] > CLEAR_FACTOR * usual)
    return clear | (strong & (z[rows, bins] > usual))


def _drift(series: Series, fleet: Fleet, totals: _Totals, load: tuple[Floats, Bools]) -> pl.DataFrame:
    """Days whose mean log latency lies above that of the week which ended three days before."""
    n, s = totals.timed.window(DRIFT_WINDOW), totals.log_sum.window(DRIFT_WINDOW)
    behind = DRIFT_WINDOW + DRIFT_SKIP
    past_n = totals.timed.past(WEEK, behind)
    safe_n, safe_past = np.maximum(n, 1.0), np.maximum(past_n, 1.0)
    past_mean, variance, explained = _by_load(totals, DRIFT_WINDOW, behind)
    own, unseen = load
    own = window_sum(np.maximum(own, 0.0) * series.timed, DRIFT_WINDOW) / safe_n
    # A day busier than any of that week (a first weekend, a campaign) is slower by as much as busier minutes are.
    days = [each.window(DRIFT_WINDOW) for each in (totals.calls, totals.beside)]
    crowd = _explained_by_more([(day, back(window_max(day, WEEK), behind, 0.0)) for day in days])
    expected = past_mean + np.maximum(explained, own) + crowd
    usable = (n >= MIN_TIMED) & (past_n >= 50) & (_age(series, fleet) >= behind + YOUNG)
    comparable = 2 * window_sum(unseen * series.timed, DRIFT_WINDOW) <= n
    residual = np.where(usable, s / safe_n - expected, 0.0)
    z = residual / np.sqrt(variance / safe_n + variance / safe_past)
    square = np.minimum(z**2, SQUARE_LIMIT)
    noise = spread(square, usable, fleet, prior=DRIFT_PRIOR_SPREAD, weight=DAY, skip_days=DRIFT_SKIP // DAY)
    z /= np.sqrt(np.maximum(noise, 1.0))
    changed = (residual > math.log(DRIFT_FACTOR)) & _still(totals, DRIFT_WINDOW, residual, DRIFT_FACTOR)
    changed &= _already(totals, DRIFT_WINDOW, residual, DRIFT_FACTOR)
    rows, bins = np.nonzero(usable & (z > 2.5) & changed)
    log10_p = anomalies.log10_tail(stdtr(DRIFT_DEGREES, -z[rows, bins]))
    opens = (log10_p < OPEN_LOG10_P - fleet.many[bins]) & comparable[rows, bins]
    excess = n * (1.0 - np.exp(-np.maximum(residual, 0.0)))
    observed = np.exp(s / safe_n)
    return _frame(series, rows, bins, DRIFT_WINDOW, log10_p, opens, observed, np.exp(expected), "ms", n, excess)


def _age(series: Series, fleet: Fleet) -> Floats:
    age: Floats = np.arange(fleet.bins, dtype=np.float64)[None, :] - series.born[:, None]
    return age


def _still(totals: _Totals, width: int, residual: Floats, factor: float) -> Bools:
    """Whether the last third of the window is slow as well: what ended is no news."""
    return _as_slow(totals, width, max(width // 3, 1), 0, residual, factor)


def _already(totals: _Totals, width: int, residual: Floats, factor: float) -> Bools:
    """Whether the first two thirds of the window are slow as well: what is in the last hours alone is no drift."""
    return _as_slow(totals, width, width - width // 3, width // 3, residual, factor)


def _as_slow(totals: _Totals, width: int, part: int, skip: int, residual: Floats, factor: float) -> Bools:
    """Whether `part` bins of a window, `skip` before its end, are at least half as slow as the factor asks of all."""
    mean = totals.log_sum.past(part, skip) / np.maximum(totals.timed.past(part, skip), 1.0)
    whole = totals.log_sum.window(width) / np.maximum(totals.timed.window(width), 1.0)
    return mean - whole + residual > math.log(factor) / 2


def _slow_calls(series: Series, fleet: Fleet) -> tuple[Floats, Floats]:
    """Per bin the calls above the q97 of the seven days before, and the calls they were counted among."""
    return _slower_calls(series, _of_buckets(series, fleet, _slow_from(series, fleet)))


def _slow_from(series: Series, fleet: Fleet) -> Floats:
    """(endpoints, UTC days) the bucket of the q97 of the seven days before; NaN: too few calls."""
    row, bin_, bucket = (series.buckets[name].to_numpy().astype(np.int64) for name in ("row", "bin", "bucket"))
    if len(row) == 0:
        return np.full((len(series.born), fleet.days), np.nan)
    calls, lowest = series.buckets["calls"].to_numpy().astype(np.float64), bucket.min()
    shape = (len(series.born), fleet.days, int(bucket.max() - lowest) + 1)
    at = (row * shape[1] + fleet.day_of(bin_)) * shape[2] + bucket - lowest
    week = _before(np.bincount(at, calls, math.prod(shape)).astype(np.float64).reshape(shape), 0)
    below = np.cumsum(week, axis=2)
    total = below[:, :, -1]
    limit = (below >= (1 - TAIL_SHARE) * total[:, :, None]).argmax(axis=2) + lowest
    return np.where(total >= 100, limit, np.nan)


def _slower_calls(series: Series, limit: Floats) -> tuple[Floats, Floats]:
    """Per bin the calls in buckets above a limit, and those whose limit is known. limit: of each row of the series' buckets."""
    endpoints, bins = series.calls.shape
    row, bin_, bucket, calls = (series.buckets[name].to_numpy() for name in ("row", "bin", "bucket", "calls"))
    at = row.astype(np.int64) * bins + bin_
    slow, timed = (
        np.bincount(at[kept], calls[kept], endpoints * bins).astype(np.float64).reshape(endpoints, bins)
        for kept in (bucket > limit, ~np.isnan(limit))
    )
    return slow, timed


def _tail(
    series: Series,
    fleet: Fleet,
    load: tuple[Floats, Bools],
    usual: _Usual,
    slower: Bools,
    slow: Floats,
    timed: Floats,
    width: int,
) -> pl.DataFrame:
    """Windows in which far more calls than usual are slow. slower: which are slower by the factor of a shift, however sure that is."""
    slow_sums, timed_sums = Sums(slow), Sums(timed)
    k, n = slow_sums.window(width) - window_max(slow, width), timed_sums.window(width)
    behind = width + HOUR
    past_n = timed_sums.past(WEEK, behind)
    past_share = (slow_sums.past(WEEK, behind) + 100 * TAIL_SHARE) / (past_n + 100)
    # More load makes more calls slow: by as much as it moves a normal distribution over its q97.
    variance, explained = usual.variance, np.maximum(usual.explained, 0.0) + usual.crowd
    limit = -ndtri(TAIL_SHARE)
    share = np.maximum(past_share, past_share * ndtr(explained / np.sqrt(variance) - limit) / TAIL_SHARE)
    own, unseen = np.maximum(load[0], 0.0), load[1]
    share = np.maximum(share, past_share + window_sum(own * timed, width) / np.maximum(n, 1.0))
    comparable = 2 * window_sum(unseen * timed, width) <= n
    mean = n * share * (width - 1) / width
    usable = (n >= MIN_TIMED) & (_age(series, fleet) >= YOUNG) & (past_n >= 50)
    z = np.where(usable, (k - mean) / np.sqrt(np.maximum(mean, 0.1)), 0.0)
    # A gamma-Poisson with the variance that past windows of this size had.
    # Of the upper side: more load than usual lets expect slow calls, most of which do not come.
    above = np.minimum(2 * np.maximum(z, 0.0) ** 2, SQUARE_LIMIT)
    over = np.maximum(spread(above, usable, fleet, prior=PRIOR_SPREAD, weight=DAY / 4) - 1.0, MIN_OVER)
    third = max(width // 3, 1)
    reach = max(width, 2 * HOUR)
    before_k, before_n = (each.past(reach, width) for each in (slow_sums, timed_sums))
    # Slow weather, see _onset: the two hours before had less than half of it.
    sudden = before_k <= np.maximum(share * before_n, k / np.maximum(n, 1.0) * before_n / 2)
    still = slow_sums.window(third) > 1.5 * share * timed_sums.window(third)
    rows, bins = np.nonzero(
        usable & (k >= 4) & (k > TAIL_FACTOR * mean) & (k - mean > 0.05 * n) & still & (z > 2.5 * np.sqrt(1 + over))
    )
    shape = mean[rows, bins] / over[rows, bins]
    log10_p = anomalies.log10_tail(betainc(k[rows, bins], shape, mean[rows, bins] / (mean[rows, bins] + shape)))
    corrected = log10_p + fleet.many[bins]
    told = (comparable & sudden)[rows, bins] & (slower[rows, bins] | (corrected < TAIL_ALONE_LOG10_P))
    opens = _opens(corrected, z, rows, bins, told, fleet)
    return _frame(
        series, rows, bins, width, log10_p, opens, k / np.maximum(n, 1.0), share, "ratio", n, np.maximum(k - mean, 0.0)
    )


def _frame(
    series: Series,
    rows: np.ndarray[tuple[int], np.dtype[np.intp]],
    bins: np.ndarray[tuple[int], np.dtype[np.intp]],
    width: int,
    log10_p: Floats,
    opens: Bools,
    observed: Floats,
    expected: Floats,
    unit: str,
    n: Floats,
    excess: Floats,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "endpoint": rows + series.first_endpoint,
            "detector": "latency",
            "signal": "latency",
            "status_code": None,
            "direction": 1,
            "bin": bins,
            "minutes": None,
            "start_bin": np.maximum(bins - width + 1, 0),
            "opens": opens,
            "log10_p": log10_p,
            "observed": observed[rows, bins],
            "expected": expected[rows, bins],
            "unit": unit,
            "n": n[rows, bins],
            "excess": excess[rows, bins],
        },
        schema=dict(anomalies.ANOMALIES),
        strict=False,
    )
