"""Is this status code more frequent than it used to be? Counting statistics over several windows at once.

Errors of an endpoint are counts that cluster, so the tail is that of a negative binomial around a rate learned from
the past; a static threshold pages on one of three calls and sleeps through 90 % failure at half a call per second.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl
from scipy.special import betainc

from apilens.detect import anomalies
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS, Bools, Floats, Ints

#: The caller hung up: NGINX and AWS ALB.
ABORTS = (499, 460)
#: 5 minutes to a day, in bins (DETECTION: 5 m, 15 m, 1 h, 4 h, 24 h; those between find what is not so strong sooner).
WINDOWS = (1, 2, 3, 6, 12, 24, 48, 288)
#: Longer windows are looked at when a bin is over: for what takes hours a minute is nothing, and the first failed call of an
#: outage would be counted with the last of the one before.
SOON = HOUR // 2
#: Two minutes are enough where a server fails a quarter of the calls or more, with at least a minute between them: chances of the
#: window as a whole and without its worst minute. Whether they are two clients' is asked later (convincing.py). A client error
#: that was not there in the week before (no 401, 403 or 429, which are not asked that) needs a smaller share, and at
#: the chances below no share: servers hiccup in pairs, and 499 is a client that gave up on one. In twelve worlds that gave no false ticket;
#: the same for servers (at lower chances) four.
TWO_RATIO, TWO_UNSEEN_RATIO = 0.25, 0.15
TWO_LOG10_P, TWO_REST_LOG10_P = -5.0, -2.5
TWO_SMALL_LOG10_P, TWO_SMALL_REST_LOG10_P = -6.0, -3.0
#: The fleet's ratio counts like so many calls of the endpoint's own.
PRIOR_CALLS = 300.0
#: A code nobody had in the week before is expected at least this often.
RATIO_FLOOR = 2e-5
#: Squared coefficient of variation of a code's rate from hour to hour, before the endpoint's own is known; weighs like
#: so many errors. Client errors depend on what clients do and vary more. Picked on worlds with clustered errors.
PRIOR_SPREAD, PRIOR_ERRORS = 0.1, 10.0
MIN_SPREAD = 0.08
#: Where an endpoint is younger than two days, its own habit is unknown: 5xx and 4xx are expected at these ratios at
#: least, and 4xx wait for six hours.
YOUNG = 2 * DAY
YOUNG_RATIO = 0.02
YOUNG_CLIENT_RATIO = 0.05
YOUNG_WAIT = 6 * HOUR
#: What it had until then says more than what others have: against so many calls of these, where it had more than they.
YOUNG_PRIOR_CALLS = 30.0
#: DETECTION: at least 3 calls in at least 3 minutes, excess at least 0.4 points and 1.5 times.
MIN_CALLS = 3
MIN_MINUTES = 3
MIN_EXCESS_RATIO = 0.004
#: A code that was never there before needs no such share: 415 on one of a thousand calls is still a client that broke.
MIN_UNSEEN_RATIO = 0.001
MIN_FACTOR = 1.5
#: The worst twelfth of a window is left out (DETECTION: the worst minute).
PARTS = 12
#: Errors open sooner than slowness and traffic (anomalies.OPEN_LOG10_P): they are rarer and less whimsical. Measured on three worlds,
#: 4xx as well as 5xx: no more false tickets. Of many endpoints they must be the rarer, as those (Fleet.many).
OPEN_LOG10_P = -5.0
#: A window must beat the second worst day of the last week by this factor (see baseline.habit).
HABIT_FACTOR = 1.5


def excess_of_codes(
    series: Series,
    fleet: Fleet,
    codes: pl.Expr,
    *,
    detector: str,
    signal: str,
    unseen_only: bool = False,
    habit_factor: float = HABIT_FACTOR,
) -> pl.DataFrame:
    """Anomalies of status codes that are more frequent than in the past week, in windows from 5 minutes to a day.

    A window ends with each bin that has the code, and opens as soon as it does so at the end of a minute with it.

    codes: which rows of series.codes, by status_code. unseen_only: only codes that the endpoint did not have in the
    week before. habit_factor: by how much a window must beat the second worst day of the week before. Rows as in
    anomalies.ANOMALIES with status_code, direction 1 and unit "ratio".
    Source: negative-binomial (gamma-Poisson) predictive tail, e.g. Gelman et al., Bayesian Data Analysis, section 2.6.
    """
    table = series.codes.filter(codes)
    if table.is_empty():
        return anomalies.ANOMALIES.to_frame()
    events = Events(table, series, fleet)
    found = []
    for width in WINDOWS:
        found.append(
            _window(events, width, detector=detector, signal=signal, unseen_only=unseen_only, habit_factor=habit_factor)
        )
    rows = anomalies.strongest(pl.concat(found))
    # Later minutes of a bin say what the first that opens said, and what the whole bin says.
    first = pl.col("minutes").min().over("endpoint", "status_code", "bin")
    return rows.filter(pl.col("minutes").is_null() | (pl.col("minutes") == first))


def may_open(series: Series, fleet: Fleet, since: int, anyway: float) -> Bools:
    """Which rows of the series can have an anomaly in bin `since` or later: those that have a failed call there, as what else passes
    makes no code more frequent. See memory.MayOpen."""
    found = np.full(len(series.born), since == 0)
    found[series.codes.filter(pl.col("bin") >= since)["row"].to_numpy()] = True
    return found


class Events:
    """Bins in which a code occurred, per (endpoint, code) pair, with sums over any past window by two lookups."""

    def __init__(self, table: pl.DataFrame, series: Series, fleet: Fleet) -> None:
        self.fleet = fleet
        self.series = series
        self.row = table["row"].to_numpy().astype(np.int64)
        self.code = table["status_code"].to_numpy().astype(np.int64)
        self.bin = table["bin"].to_numpy().astype(np.int64)
        self.calls = table["calls"].to_numpy().astype(np.int64)
        by_minute, all_by_minute = (
            table[name].to_numpy().reshape(-1, MINUTES) for name in ("by_minute", "all_by_minute")
        )
        # Of the first minutes of the bin; the last column is the whole of it.
        self.so_far = np.cumsum(by_minute, axis=1)
        self.so_far[:, -1] = self.calls
        self.all_so_far = np.cumsum(all_by_minute, axis=1)
        self.all_so_far[:, -1] = series.calls[self.row, self.bin]
        self.bad_so_far = np.cumsum(by_minute > 0, axis=1)
        self.first_minute = (by_minute > 0).argmax(axis=1)
        self.worst_so_far = np.maximum.accumulate(by_minute, axis=1)
        new = np.r_[True, (np.diff(self.row) != 0) | (np.diff(self.code) != 0)]
        self.pair = np.cumsum(new) - 1
        self.key = self.pair * fleet.bins + self.bin
        self.call_sum = np.r_[0, np.cumsum(self.calls)].astype(np.float64)
        self.minute_sum = np.r_[0, np.cumsum(self.bad_so_far[:, -1])].astype(np.float64)
        self.total = np.zeros((series.calls.shape[0], fleet.bins + 1))
        np.cumsum(series.calls, axis=1, out=self.total[:, 1:])
        prior = np.array([fleet.code_ratio[int(code)] for code in np.unique(self.code)])
        codes = np.searchsorted(np.unique(self.code), self.code)
        self.prior = np.maximum(prior[codes, fleet.day_of(self.bin)], RATIO_FLOOR)
        self.age = self.bin - series.born[self.row]

    def between(self, at: Ints, first: Ints, end: Ints) -> tuple[Floats, Floats]:
        """Calls with the code, and all calls, in bins first .. end-1 of the pairs of events `at`."""
        first = np.clip(first, 0, self.fleet.bins)
        end = np.maximum(np.clip(end, 0, self.fleet.bins), first)
        base = self.pair[at] * self.fleet.bins
        low = np.searchsorted(self.key, base + first)
        high = np.searchsorted(self.key, base + end)
        row = self.row[at]
        return self.call_sum[high] - self.call_sum[low], self.total[row, end] - self.total[row, first]

    def rate(self, at: Ints, width: int) -> tuple[Floats, Floats, Floats]:
        """Expected ratio, the calls it rests on, and the code's calls in the week before the window.

        The higher of the week's ratio and that of the same hour on other days (without the worst of them), both shrunk
        to the fleet.
        """
        end = self.bin[at] - width + 1
        k, n = self.between(at, end - WEEK_DAYS * DAY, end)
        least = np.where(self.code[at] >= 500, YOUNG_RATIO, YOUNG_CLIENT_RATIO)
        young = self.age[at] < YOUNG
        prior = np.where(young, np.maximum(self.prior[at], least), self.prior[at])
        ratio = (k + PRIOR_CALLS * prior) / (n + PRIOR_CALLS)
        own = (k + YOUNG_PRIOR_CALLS * prior) / (n + YOUNG_PRIOR_CALLS)
        ratio = np.where(young & (self.code[at] < 500), np.maximum(ratio, own), ratio)
        if width < DAY:
            reach = max(width, HOUR)
            hits, calls, worst = np.zeros(len(at)), np.zeros(len(at)), np.zeros(len(at))
            for day in range(1, WEEK_DAYS + 1):
                middle = self.bin[at] - day * DAY - width // 2
                day_k, day_n = self.between(at, middle - reach, np.minimum(middle + reach, end))
                hits, calls, worst = hits + day_k, calls + day_n, np.maximum(worst, day_k)
            ratio = np.maximum(ratio, (hits - worst + PRIOR_CALLS * ratio) / (calls + PRIOR_CALLS))
        return np.minimum(ratio, 1.0), n, k

    @cached_property
    def spread(self) -> Floats:
        """Per event the squared coefficient of variation of the code's rate from hour to hour in the days before.

        From the hours of the seven previous days without the worst day, so that one outage does not excuse the next.
        """
        days = self.fleet.days
        offset = self.fleet.first_bin % DAY
        hours = days * 24
        pairs = int(self.pair[-1]) + 1
        rows = self.row[np.r_[True, np.diff(self.pair) != 0]]
        hour = (self.bin + offset) // HOUR
        k = np.zeros((pairs, hours))
        np.add.at(k, (self.pair, hour), self.calls)
        per_hour = np.zeros((self.series.calls.shape[0], hours))
        edges = (np.arange(self.fleet.bins) + offset) // HOUR
        np.add.at(per_hour.T, edges, self.series.calls.T)
        n = per_hour[rows]
        k_day, n_day = k.reshape(pairs, days, 24), n.reshape(pairs, days, 24)
        k_past, n_past = _before(k_day.sum(axis=2)), _before(n_day.sum(axis=2))
        mean = n_day * (k_past / np.maximum(n_past, 1.0))[:, :, None]
        extra = (np.clip((k_day - mean) ** 2, 0, 25 * (mean + 1)) - mean).sum(axis=2)
        up, down = _before(extra) - _worst_before(extra), _before((mean**2).sum(axis=2))
        phi = ((up + PRIOR_SPREAD * PRIOR_ERRORS) / (down + PRIOR_ERRORS))[self.pair, self.fleet.day_of(self.bin)]
        clipped: Floats = np.clip(phi, np.where(self.code >= 500, MIN_SPREAD, 2 * MIN_SPREAD), 2.0)
        return clipped

    def habit(self, at: Ints, k: Floats) -> Floats:
        """Per event `at` the second highest daily maximum of k over the seven days before; 0.0 without."""
        day = self.fleet.day_of(self.bin[at])
        daily = np.zeros((int(self.pair[-1]) + 1, self.fleet.days))
        np.maximum.at(daily, (self.pair[at], day), k)
        highest, second = np.zeros(len(at)), np.zeros(len(at))
        for lag in range(1, WEEK_DAYS + 1):
            value = np.where(day >= lag, daily[self.pair[at], np.maximum(day - lag, 0)], 0.0)
            second = np.maximum(second, np.minimum(highest, value))
            highest = np.maximum(highest, value)
        return second


def _before(daily: Floats) -> Floats:
    """Sum over the seven days before each day."""
    total = np.concatenate([np.zeros((daily.shape[0], 1)), np.cumsum(daily, axis=1)], axis=1)
    day = np.arange(daily.shape[1])
    week: Floats = total[:, day] - total[:, np.maximum(day - WEEK_DAYS, 0)]
    return week


def _worst_before(daily: Floats) -> Floats:
    """Highest of the seven days before each day; at least 0.0."""
    worst = np.zeros_like(daily)
    for lag in range(1, min(WEEK_DAYS, daily.shape[1] - 1) + 1):
        worst[:, lag:] = np.maximum(worst[:, lag:], daily[:, :-lag])
    return worst


def _moments(events: Events, width: int) -> tuple[Ints, Ints]:
    """When windows of a width are looked at: the number of an event, and how many minutes of its bin are over. At the end of each
    bin, and of each minute with the code before that; what else passes makes no code more frequent."""
    # Whether clients gave up on a crowd's slow answers is known when the bin is over (gave_up.py): latency has no minutes.
    soon = ~np.isin(events.code, ABORTS)[:, None] & (width <= SOON)
    bad = (np.diff(events.bad_so_far, axis=1, prepend=0) > 0) & soon
    bad[:, -1] = True
    at, minute = np.nonzero(bad)
    return at, minute + 1


def _window(
    events: Events, width: int, *, detector: str, signal: str, unseen_only: bool, habit_factor: float
) -> pl.DataFrame:
    everything = np.arange(len(events.bin))
    first = events.bin - width + 1
    before, all_before = events.between(everything, first, events.bin)
    # What ended long ago is no news: the last third of a long window must carry its part.
    recent_before, _ = events.between(everything, events.bin - max(width // 3, 1) + 1, events.bin)
    low = np.searchsorted(events.key, events.pair * events.fleet.bins + np.maximum(first, 0))
    # A single bad minute is a restart or one client's hiccup, a single bad hour of a day the echo of a burst that
    # shorter windows saw: what remains without it must be abnormal by itself.
    part = width // PARTS
    if part:
        part_before, _ = events.between(everything, events.bin - part + 1, events.bin)
        parts, part_so_far = part_before + events.calls, part_before[:, None] + events.so_far
    else:
        parts, part_so_far = events.worst_so_far[:, -1], events.worst_so_far
    edges = np.c_[low, everything].ravel()
    worst_before = np.where(low < everything, np.maximum.reduceat(np.r_[parts, 0], edges)[::2], 0)

    at, minute = _moments(events, width)
    k, n = before[at] + events.so_far[at, minute - 1], all_before[at] + events.all_so_far[at, minute - 1]
    recent = recent_before[at] + events.so_far[at, minute - 1]
    bad = events.minute_sum[at] - events.minute_sum[low[at]] + events.bad_so_far[at, minute - 1]
    least = MIN_UNSEEN_RATIO if unseen_only else MIN_EXCESS_RATIO
    # Minutes from the first with the code to this one.
    apart = events.bin[at] * MINUTES + minute - 1 - (events.bin[low] * MINUTES + events.first_minute[low])[at]
    server, refused = events.code[at] >= 500, np.isin(events.code[at], [401, 403, 429])
    two = (
        (bad == 2)
        & (apart >= 2)
        & ((events.code[at] < 499) | (k >= np.where(server, TWO_RATIO, TWO_UNSEEN_RATIO) * n))
        & ~refused
        & (width <= SOON)
    )
    asked = (
        (((k >= MIN_CALLS) & (bad >= MIN_MINUTES)) | two)
        & (k - n * events.prior[at] >= n * least)
        & (recent >= 0.2 * k)
    )
    # Before the window, not in it: what is there since the first call is for standing.py to say.
    asked &= (events.age[at] >= YOUNG_WAIT + width) | (events.code[at] >= 500)
    if not asked.any():
        return anomalies.ANOMALIES.to_frame()
    at, minute, k, n, two, server = at[asked], minute[asked], k[asked], n[asked], two[asked], server[asked]
    once, of = np.unique(at, return_inverse=True)
    ratio, weight, past = (each[of] for each in events.rate(once, width))
    mean = n * ratio
    rest = k - np.maximum(worst_before[at], part_so_far[at, minute - 1])
    uncertain = 1.0 / ((weight + PRIOR_CALLS) * ratio + 0.5)
    shape = 1.0 / (events.spread[at] + np.minimum(uncertain, 2.0))
    log10_p = anomalies.log10_tail(betainc(np.maximum(rest, 1e-9), shape, mean / (mean + shape)))
    effect = (k >= MIN_FACTOR * mean) & (k - mean >= n * least) & (rest > mean)
    whole_log10_p = anomalies.log10_tail(betainc(k, shape, mean / (mean + shape)))
    small = k < TWO_UNSEEN_RATIO * n
    whole_least, rest_least = (
        np.where(small, *chances)
        for chances in ((TWO_SMALL_LOG10_P, TWO_LOG10_P), (TWO_SMALL_REST_LOG10_P, TWO_REST_LOG10_P))
    )
    many = events.fleet.many[events.bin[at]]
    proven = np.where(
        two, (whole_log10_p < whole_least - many) & (log10_p < rest_least - many), log10_p < OPEN_LOG10_P - many
    )
    proven &= ~two | server | (past == 0)
    opens = effect & proven & (k >= habit_factor * events.habit(at, k))
    keep = effect & (log10_p < anomalies.HOLD_LOG10_P) & (opens | (~two & (minute == MINUTES)))
    if unseen_only:
        keep &= past == 0
    frame = pl.DataFrame(
        {
            "endpoint": events.row[at] + events.series.first_endpoint,
            "status_code": events.code[at],
            "bin": events.bin[at],
            "minutes": minute,
            "start_bin": events.bin[low[at]],
            "opens": opens,
            "log10_p": log10_p,
            "observed": k / n,
            "expected": ratio,
            "n": n,
            "excess": k - mean,
        }
    ).filter(keep)
    return frame.with_columns(
        pl.col("minutes").replace(MINUTES, None),
        pl.lit(detector).alias("detector"),
        pl.lit(signal).alias("signal"),
        pl.lit(1).alias("direction"),
        pl.lit("ratio").alias("unit"),
    ).select(pl.col(name).cast(dtype) for name, dtype in anomalies.ANOMALIES.items())
