"""What all endpoints did together: by how much their calls grew since the same time of past days, and when many of them rose at once."""

from __future__ import annotations

import numpy as np
import polars as pl

from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Bools, Floats, Ints, back, same_time, window_sum

#: Windows of the traffic detector, in bins.
GROWTH_WINDOWS = (3, 6, 12, 48)
#: So many groups with so many calls at least tell the growth; with fewer, only the same weekday a week ago compares.
MIN_GROUPS = 4
MIN_GROUP_CALLS = 8
#: So much more than usual on such a share of the groups is a payday or a campaign, which each endpoint follows by a factor of its own.
RISEN_FACTOR, RISEN_SHARE = 1.7, 0.25
#: Fewer groups rise together by chance where traffic comes in bursts.
RISEN_GROUPS = 12
#: Difference of log growth between a window and the hour around it that only missing logs explain.
HOLE = 0.4


def by_group(rows: pl.DataFrame, group: Ints, begin: int, end: int) -> Floats:
    """(groups, bins) calls in the bins begin .. end-1. group: that of each endpoint."""
    endpoint, bin_, calls = (rows[name].to_numpy() for name in ("endpoint", "bin", "calls"))
    if begin:
        late = bin_ >= begin
        endpoint, bin_, calls = endpoint[late], bin_[late] - begin, calls[late]
    shape = (int(group.max(initial=0)) + 1, end - begin)
    sums = np.bincount(group[endpoint] * shape[1] + bin_, calls, shape[0] * shape[1])
    return sums.astype(np.float64, copy=False).reshape(shape)


def growth_of(groups: Floats, since: int) -> dict[int, Floats]:
    """By window of GROWTH_WINDOWS: (7, bins) by which factor the fleet's traffic changed since the same time 1..7 days ago;
    NaN: cannot be told.

    groups: (groups, bins) calls; since: bins before are not asked for. Medians over an hour, which are steadier, except where the window itself says
    something quite different: a hole in the logs.
    """
    middles = {span: _middle_growth(window_sum(groups, span), since) for span in {*GROWTH_WINDOWS, HOUR}}
    result = {}
    for width in GROWTH_WINDOWS:
        growth, own = middles[max(width, HOUR)], middles[width]
        differs = np.isnan(growth) | (np.abs(np.log((own + 0.01) / (growth + 0.01))) > HOLE)
        growth = np.where(~np.isnan(own) & differs, own, growth)
        growth[WEEK_DAYS - 1, np.isnan(growth).all(axis=0)] = 1.0
        result[width] = np.where((growth > 0.05) & (growth < 20), growth, np.nan)
    return result


def _middle_growth(calls: Floats, since: int) -> Floats:
    """(7, bins) median over groups of calls in relation to those of 1..7 days ago; NaN: too few groups have calls enough."""
    # Groups that never have enough, most of a quarter of an hour's, would only be sorted.
    each = np.ascontiguousarray(calls[(calls >= MIN_GROUP_CALLS).any(axis=1)].T)
    growth = np.full((WEEK_DAYS, len(each)), np.nan)
    for day in range(1, WEEK_DAYS + 1):
        # As many bins at once as the processor's cache holds, see PIECE.
        for first in range(max(day * DAY, since), len(each), DAY):
            now = each[first : first + DAY]
            before = each[first - day * DAY :][: len(now)]
            enough = before >= MIN_GROUP_CALLS
            known = np.count_nonzero(enough, axis=1)
            at = np.flatnonzero(known >= MIN_GROUPS)
            # What is not known comes last.
            ratio = np.divide(now, before, out=np.full(before.shape, np.inf), where=enough)
            ratio.sort(axis=1)
            low, high = (ratio[at, place] for place in ((known[at] - 1) // 2, known[at] // 2))
            growth[day - 1, at + first] = (low + high) / 2
    return growth


def risen_in(groups: Floats, logged: bool) -> Bools:
    """(bins) whether in the quarter of an hour that ends with a bin many groups had far more calls than the hour before, and than at
    this time of the seven days before.

    groups: (groups, bins) calls. Of groups that have MIN_GROUP_CALLS to be expected by both. logged: whether there were calls before.
    """
    quarter = HOUR // 4
    calls = window_sum(groups, quarter)
    begun = np.maximum.accumulate(groups.any(axis=0)) | logged
    there = same_time(begun.astype(np.float64)[None, :])
    before = back(window_sum(groups, HOUR), quarter, 0.0) * quarter / HOUR
    days = same_time(calls) / np.maximum(there, 1.0)
    known = np.minimum(before, days) >= MIN_GROUP_CALLS
    rose = (known & (calls > RISEN_FACTOR * np.maximum(before, days))).sum(axis=0)
    told = known.sum(axis=0)
    risen: Bools = (told >= RISEN_GROUPS) & (rose >= MIN_GROUPS) & (rose >= RISEN_SHARE * told)
    return risen
