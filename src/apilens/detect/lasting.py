"""How long a problem with a status code, of latency or of missing calls lasts: until its rate has recovered, by the measure of the day
it began.

A trailing baseline learns whatever goes on for days and then calls it normal; by that a standing fault would end by
itself. So once a run is open, its expectation stays what it was, and a sequential test decides from bin to bin whether
calls still fail (are slow, are missing) as in the open incident or as expected again. Too few calls to tell (a quiet night) decide
nothing: silence is not recovery.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from apilens.detect.baseline import Fleet, by_bin
from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Bools, Floats, window_sum
from apilens.detect.incidents import Incident
from apilens.detect.latency import PRIOR_WANDER, PROFILE_CALLS
from apilens.detect.runs import Run

#: Log likelihood ratio at which recovery is believed (one in twenty is wrong), and above which more failures are not
#: saved up: however bad it was, recovery shows equally soon. Source: Page, Continuous inspection schemes, Biometrika
#: 1954 (the same test turned round); Wald, Sequential Analysis, 1947, for the bound.
RECOVERED, SAVED = -3.0, 3.0
#: Latency and traffic wander more than this test knows of, and a step lasts for days: at 3.0 a latency of ×2.5 had recovered in its second night.
SAVED_LONG = 6.0
#: Log likelihood ratio, and failed calls, from which a known problem is back; and how long it is waited for.
BACK, LEAST_BACK, COMES_BACK = 5.0, 3, 8 * DAY
#: Calls that are missing for a week are what the endpoint has now.
FOR_GOOD = WEEK_DAYS * DAY
#: Below a fifth of the calls it makes no difference how few there are: with half of them it has recovered.
LEAST_LEFT = 0.2
#: Calls come in bursts: so many more expected are not that much surer.
STEADY_CALLS = 10.0
#: Half of the rate it opened with still counts as the same problem.
STILL = 0.5


def outlasting(runs: list[Run], rows: pl.DataFrame, fleet: Fleet) -> list[Run]:
    """The runs, those about a status code, the mean latency or missing calls with every bin until they recovered; `recovered` None:
    they have not.

    rows: as baseline.fleet returns them. Decided from the past only: what a run's `last` says of a moment never
    depends on what came after it.
    """
    watched = {run.endpoint for run in runs if _is_followed(run)}
    parts = rows.filter(pl.col("endpoint").is_in(watched)).partition_by("endpoint", as_dict=True)
    timed: dict[int, Timed] = {}
    result: list[Run] = []
    places: dict[tuple[int, str, int | None, int], list[int]] = {}  # of the runs of each series in result
    for run in runs:
        if not _is_followed(run):
            result.append(run)
            continue
        part = parts[(run.endpoint,)]
        if run.signal == "traffic":
            followed = _still_missing(run, by_bin(part, fleet.bins), fleet.load)
        elif run.status is None:
            if run.endpoint not in timed:
                timed[run.endpoint] = Timed.of(part, fleet.bins)
            followed = _still_slow(run, timed[run.endpoint])
        else:
            failed = by_bin(part.filter(pl.col("status_code") == run.status), fleet.bins)
            followed = _followed(run, failed, by_bin(part, fleet.bins))
        earlier = places.setdefault(run.series, [])
        for place in earlier:
            result[place] = _ended_with(result[place], followed)
        earlier.append(len(result))
        result.append(followed)
    return result


def coming_back(problems: list[Incident], rows: pl.DataFrame, fleet: Fleet) -> list[Incident]:
    """The incidents; those with a status code that came back once at their hour, with each later day on which they did so again.

    A detector that has seen a problem on two days of the week takes it for the endpoint's habit, and it would end by that. A day
    counts when its calls within an hour of that time fail at the rate the incident opened with, by the sequential test of what
    lasts. Such a day never makes an incident: it prolongs one. rows: as baseline.fleet returns them.
    """
    again = [one for one in problems if one.repeats and one.first.status is not None]
    watched = {one.first.endpoint for one in again}
    parts = rows.filter(pl.col("endpoint").is_in(watched)).partition_by("endpoint", as_dict=True)
    for incident in again:
        first = incident.first
        part = parts[(first.endpoint,)]
        calls = by_bin(part, fleet.bins)
        failed = by_bin(part.filter(pl.col("status_code") == first.status), fleet.bins)
        expected, still = _rates(first)
        if still <= expected:
            continue
        step = _of_rates(failed, calls, expected, still)
        last = max(int(run.bins[-1]) for run in incident.runs)
        at = incident.repeats[-1]
        while at - incident.repeats[-1] < COMES_BACK and at + DAY - HOUR < fleet.bins:
            at += DAY
            begin = max(at - HOUR, last + 1)
            day = slice(begin, at + HOUR)
            walked = np.cumsum(step[day])
            risen = walked - np.minimum(np.minimum.accumulate(walked), 0.0)
            known = np.flatnonzero((risen >= BACK) & (np.cumsum(failed[day]) >= LEAST_BACK))
            if len(known) == 0:
                continue
            sums_begin = np.flatnonzero(risen[: known[0]] <= 0)
            start = begin + (int(sums_begin[-1]) + 1 if len(sums_begin) else 0)
            last = begin + int(risen.argmax())
            incident.repeats.append(start)
            bins = np.arange(start, last + 1)
            incident.runs.append(replace(first, start=start, bins=bins, early={}, watched=False, recovered=None))
    return problems


def _is_followed(run: Run) -> bool:
    if run.signal == "traffic":
        # More calls than ever are news until they are habit; a job that was late has come.
        return run.direction == -1 and run.came is None
    return run.status is not None or run.at_open["unit"] == "ms"


def _ended_with(run: Run, later: Run) -> Run:
    """The run, which ends at the latest when `later`, of its series, recovers.

    An outage that began as one call in two hundred would need a thousand good ones to be over, and be the home of the next. Of slow
    (missing) calls the first run alone knows what was usual: what comes on top of them is over when they are as slow as before it.
    """
    if run.status is None:
        return run
    over = run.recovered is not None and later.recovered is not None and run.recovered <= later.recovered
    if later.recovered is None or over or not run.watched:
        return run
    return replace(run, bins=run.bins[run.bins <= max(later.bins[-1], run.opened)], recovered=later.recovered)


def _followed(run: Run, failed: Floats, calls: Floats) -> Run:
    expected, still = _rates(run)
    if still <= expected:
        return run
    k, n = failed[run.opened + 1 :], calls[run.opened + 1 :]
    return _until_recovered(run, _of_rates(k, n, expected, still), k > 0, SAVED, 0.0)


def _rates(run: Run) -> tuple[float, float]:
    """Share of failed calls that was expected when the run opened, and that at which it still goes on."""
    expected, opened_with = float(run.at_open["expected"]), float(run.at_open["observed"])
    return expected, min(max(STILL * opened_with, 2 * expected), 0.98)


def _of_rates(failed: Floats, calls: Floats, expected: float, still: float) -> Floats:
    """Log likelihood ratio of each bin's calls for the second rate against the first."""
    step: Floats = failed * math.log(still / expected) + (calls - failed) * math.log((1 - still) / (1 - expected))
    return step


@dataclass(frozen=True, slots=True)
class Timed:
    """Of an endpoint, per bin: calls below 400 with a duration, and the sums of their log durations and of the squares."""

    n: Floats
    total: Floats
    squares: Floats

    @classmethod
    def of(cls, rows: pl.DataFrame, bins: int) -> Timed:
        """rows: of the endpoint, as baseline.fleet returns them."""
        good = rows.filter((pl.col("status_code") < 400) & (pl.col("durations") > 0))
        at = good["bin"].to_numpy()
        return cls(
            *(
                np.bincount(at, good[name].to_numpy(), bins).astype(np.float64)
                for name in ("durations", "log_duration_sum", "log_duration_sumsq")
            )
        )

    def usual(self, past: slice) -> tuple[float, float]:
        """Mean and variance of the log durations of some bins that have any; at least 0.01."""
        calls = float(self.n[past].sum())
        mean = float(self.total[past].sum()) / calls
        return mean, max(float(self.squares[past].sum()) / calls - mean**2, 0.01)


def _still_slow(run: Run, timed: Timed) -> Run:
    """Between the log latency it opened with and the one expected then, by as much as this time of day differed from that one on
    the seven days before it began."""
    past = slice(max(run.start - WEEK_DAYS * DAY, 0), run.start)
    if timed.n[past].sum() == 0:
        return run
    mean, variance = timed.usual(past)
    rhythm = _rhythm(timed, mean, past)
    begin, at_opening = run.opened + 1, np.arange(run.start, run.opened + 1)
    then = np.average(rhythm[at_opening % DAY], weights=timed.n[at_opening] + 1e-9)
    observed, usual = (float(run.at_open[name]) for name in ("observed", "expected"))
    n, slower = timed.n[begin:], math.log(observed / usual)
    expected = math.log(usual) + rhythm[np.arange(begin, len(timed.n)) % DAY] - then
    above = timed.total[begin:] - n * (expected + STILL * slower)
    # Calls of one bin have their minutes in common: many of them are not that much surer. And no bin alone ends it: where calls are few,
    # one that a cache answered weighs as much as an hour of slow ones.
    step = np.maximum(slower * above / (variance + n * PRIOR_WANDER), RECOVERED)
    return _until_recovered(run, step, above > 0, SAVED_LONG, SAVED_LONG)


def _rhythm(timed: Timed, mean: float, past: slice) -> Floats:
    """(DAY) by how much the log latency of the two hours around each time of day was above the mean on the days of `past`; held back by
    PROFILE_CALLS calls. Of bins since the first one, not of midnight."""
    at = np.arange(past.start, past.stop) % DAY
    n, total = (np.bincount(at, each[past], DAY).astype(np.float64) for each in (timed.n, timed.total))
    rhythm: Floats = _around(total - n * mean) / (_around(n) + PROFILE_CALLS)
    return rhythm


def _still_missing(run: Run, calls: Floats, load: Floats) -> Run:
    """Between the share of its calls that it opened with and all of them: those of the fleet, times the endpoint's share in them at this
    time of day on the seven days before it began. load: see Fleet."""
    past = slice(max(run.start - WEEK_DAYS * DAY, 0), run.start)
    at = np.arange(past.start, past.stop) % DAY
    mine, every = (_around(np.bincount(at, each[past], DAY).astype(np.float64)) for each in (calls, load))
    expected = (mine / np.maximum(every, 1.0))[np.arange(len(calls)) % DAY] * load
    begin, end = run.opened + 1, run.opened + 1 + FOR_GOOD
    left = float(run.at_open["observed"]) / max(float(run.at_open["expected"]), 1e-9)
    left = min(max(left, LEAST_LEFT), 0.9)
    step = (calls * math.log(left) + expected * (1 - left)) / (1 + expected / STEADY_CALLS)
    bad = (step > 0) & (expected >= 1)
    followed = _until_recovered(run, step[begin:end], bad[begin:end], SAVED_LONG, SAVED_LONG)
    if followed.recovered is None and end < len(calls):
        followed = replace(followed, recovered=end)
    over = len(calls) if followed.recovered is None else int(followed.bins[-1]) + 1
    return replace(followed, expected=float(expected[run.start : over].mean()))


def _around(by_time: Floats) -> Floats:
    """Sums of the two hours around each bin of a day."""
    return window_sum(np.r_[by_time[-HOUR:], by_time, by_time[:HOUR]], 2 * HOUR + 1)[2 * HOUR :]


def _until_recovered(run: Run, step: Floats, bad: Bools, saved: float, at_first: float) -> Run:
    """The run with all bins from its opening to the last bad one before it recovered. step: log likelihood ratio of each bin after
    the one in which it opened, for still against recovered, of which at most `saved` is kept, and `at_first` to begin with; bad: whether a bin shows it."""
    begin = run.opened + 1
    walked = at_first + np.cumsum(step)
    # Reflected there: the sum above it is given away as it comes.
    evidence = walked - np.maximum(np.maximum.accumulate(walked) - saved, 0.0)
    over = np.flatnonzero(evidence <= RECOVERED)
    recovered = None if len(over) == 0 else begin + int(over[0])
    showing = np.flatnonzero(bad[: None if recovered is None else recovered - begin])
    last = begin + int(showing[-1]) if len(showing) else run.opened
    bins = np.union1d(run.bins, np.arange(run.opened, last + 1))
    return replace(run, bins=bins, watched=True, recovered=recovered)
