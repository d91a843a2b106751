"""Surges that are somebody's habit, and jobs that come at another hour: bursts of calls that past days had as well.

The traffic detector compares with the same time of past days. Text campaigns, downloads of a new firmware and jobs by a local clock
come at any time; what they do is held against the bursts of the seven days before, at whatever hour, of the same consumer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet, by_bin
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS, Floats, Ints, Sums, same_time
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.incidents import Incident
from apilens.detect.runs import HINT_EXCESS, HINT_TRAFFIC, Run, reopened, when_raised
from apilens.detect.traffic_forecast import JOB_FACTOR, SURGE_FACTOR

#: A consumer's burst must be so many times that of its second highest day, and its highest. Picked on worlds whose campaigns reach 2.4 and
#: 1.3 times, their faults 3.9 and 3.5.
BEYOND, AGAIN = 3.0, 1.5
#: Those whom the log does not name, or by a name that nearly all calls have, are many: their bursts differ less.
BEYOND_MANY = 1.5
#: Fewer calls a minute of somebody who never called the endpoint before are a new user, and no surge.
FEW_A_MINUTE = 1.0
#: A job has JOB_FACTOR times the calls of the two hours before it and after it, when it came; of the four hours around its usual one, which
#: it may have reached into, still twice the calls.
JOB_HOUR_FACTOR, AROUND_JOB = 2.0, 4 * HOUR
#: What a burst is told from: the hours before it (and after it).
BESIDE = 2 * HOUR
#: A job that came at another hour has so much of what is missing at its own.
MOVED = 0.5
#: And is given an hour, as those who watch jobs give it: clocks change, jobs wait for others.
GRACE = HOUR


Verdict = Literal["news", "again", "usual"]


@dataclass(frozen=True, slots=True)
class _Burst:
    """More calls than usual in the bins first .. end-1."""

    first: int
    end: int
    surplus: float

    @property
    def middle(self) -> int:
        return (self.first + self.end) // 2

    def window(self, endpoint: int) -> tuple[int, int, int]:
        return endpoint, self.first * MINUTES, self.end * MINUTES


@dataclass(frozen=True, slots=True)
class _Look:
    """A surge as it was known at the end of one minute, and the largest burst of each day before it began that had one."""

    run: Run
    known: int
    now: _Burst
    past: list[_Burst]
    without: int  # days before: the last on which this time had no such surge

    @property
    def slow(self) -> bool:
        return self.now.surplus < FEW_A_MINUTE * MINUTES * (self.now.end - self.now.first)

    def held_against(self, past: list[float], factor: float) -> Verdict:
        """news: it is more than these bursts of earlier days, `factor` times the second highest; again: it was there once."""
        highest, second = sorted([*past, 0.0, 0.0], reverse=True)[:2]
        if self.now.surplus < factor * second:
            return "usual"
        return "again" if self.now.surplus < AGAIN * highest else "news"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the log says of a look."""

    verdict: Verdict
    like: _Burst | None = None  # the largest burst of the days before that is of the same consumer
    many: bool = False  # no single consumer makes it


def unusual(
    runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown
) -> tuple[list[Run], list[tuple[Run, int]]]:
    """The runs, without surges that are a habit and jobs that came at another hour; and the surges left out that came once before,
    each with the bin of the week before in which that was.

    A surge that one consumer makes opens when it goes beyond this consumer's bursts of the seven days before on the endpoint, at
    whatever hour; one that many make together is left out only as the repetition of one that opened. rows: as baseline.fleet returns
    them. The log is asked for eleven windows at most per surge and doubling of its length, and only where past days had such bursts.
    """
    mine = [run for run in runs if run.signal == "traffic"]
    hit = {run.endpoint for run in mine}
    parts = rows.filter(pl.col("endpoint").is_in(hit)).partition_by("endpoint", as_dict=True)
    calls = {endpoint: by_bin(parts[(endpoint,)], fleet.bins) for endpoint in hit}
    looks = [look for run in mine if run.direction == 1 for look in _looks(run, calls[run.endpoint])]
    looks.sort(key=lambda look: look.known)
    opened, again = _opened(looks, _seen(looks, fleet, breakdown))
    kept = [
        _moved(run, calls[run.endpoint]) if run.signal == "traffic" and run.direction == -1 else run
        for run in reopened(runs, opened)
    ]
    return sorted((run for run in kept if run is not None), key=when_raised), again


def recurring(incidents: list[Incident], again: list[tuple[Run, int]]) -> list[Incident]:
    """The incidents, those whose surge came again on a later day with that as another occurrence. again: as unusual() returns it."""
    for run, before in again:
        home = next((one for one in incidents[::-1] if any(_covers(other, run, before) for other in one.runs)), None)
        if home is not None:
            home.repeats.append(run.start)
            home.runs.append(run)
    return incidents


def _covers(earlier: Run, run: Run, bin_: int) -> bool:
    """Whether the earlier run is the same kind of surge, and went on in a bin (give or take an hour)."""
    return earlier.series == run.series and earlier.start - HOUR <= bin_ <= int(earlier.bins[-1]) + HOUR


def _looks(run: Run, calls: Floats) -> Iterator[_Look]:
    """The surge when it opens, and each time it is twice as long, for a day at most. calls: per bin, of its endpoint."""
    begin = max(run.start - (2 * WEEK_DAYS + 1) * DAY, 0)
    longest = 0
    for known in run.strong[run.strong >= run.known].tolist():
        end = (known - 1) // MINUTES + 1
        width = end - run.start
        if width < 2 * longest or width > DAY:
            continue
        longest, recent = width, calls[begin:end]
        more, typical = _typical(recent, width)
        # What opens exceeds other forecasts than this as well. Theirs may be of a longer or a shorter window.
        rate = float(run.at_open["observed"]) - float(run.at_open["expected"])
        now = max(float(more[-1] - typical[-1]), min(float(run.at_open["excess"]), rate * width))
        surplus = np.where(more > SURGE_FACTOR * typical, more - typical, 0.0)
        before = np.maximum(surplus[: run.start - begin], _peaks(recent[: run.start - begin], width))
        past = []
        for high in range(len(before), max(len(before) - WEEK_DAYS * DAY, 0), -DAY):
            low = max(high - DAY, 0)
            best = low + int(before[low:high].argmax())
            if before[best] > 0:
                last = begin + best + 1
                past.append(_Burst(max(last - width, 0), last, float(before[best])))
        yield _Look(run, known, _Burst(run.start, end, now), past, _day_without(calls, run.start, end))


def _day_without(calls: Floats, start: int, end: int) -> int:
    """How many days before the bins start .. end-1 the same time last had so few calls that theirs are a surge; 1 where it never had."""
    now = calls[start:end].sum()
    days = range(1, min(WEEK_DAYS, start // DAY) + 1)
    return next((day for day in days if SURGE_FACTOR * calls[start - day * DAY : end - day * DAY].sum() < now), 1)


def _age(calls: Floats) -> Ints:
    """Whole days since the first call at each bin, at least one and at most seven."""
    return np.clip((np.arange(len(calls)) - int((calls > 0).argmax())) // DAY, 1, WEEK_DAYS)


def _typical(calls: Floats, width: int) -> tuple[Floats, Floats]:
    """Calls in the window that ends with each bin, and how many are typical: what came around this time of the days before (mean root,
    which a burst on one of them hardly moves), or in the hours before the window if that is more."""
    sums = Sums(calls[None, :])
    reach = max(width, HOUR)
    roots = same_time(np.sqrt(sums.window(reach)), (reach - width) // 2)[0]
    around = (roots / _age(calls)) ** 2 * width / reach
    return sums.window(width)[0], np.maximum(around, sums.past(BESIDE, width)[0] * width / BESIDE)


def _peaks(calls: Floats, width: int) -> Floats:
    """Calls in the window that ends with each bin above those in the hours before or after it, if that is more; 0.0 where they are
    no job, or what came after them is not known yet."""
    sums = Sums(calls[None, :])
    now, before = sums.window(width)[0], sums.past(BESIDE, width)[0]
    told = max(len(calls) - BESIDE, 0)
    beside = np.maximum(before[:told], sums.window(BESIDE)[0][BESIDE:]) * width / BESIDE
    peaks = np.zeros(len(calls))
    peaks[:told] = np.where(now[:told] > JOB_FACTOR * beside, now[:told] - beside, 0.0)
    return peaks


def _seen(looks: list[_Look], fleet: Fleet, breakdown: Breakdown) -> list[_Seen]:
    """What the log says of each look. It is asked about those only that the endpoint's own past, or few calls, make doubtful."""
    spans: list[tuple[int, int, int]] = []
    places: dict[int, int] = {}
    day_before = DAY * MINUTES
    for at, look in enumerate(looks):
        if look.slow or look.held_against([burst.surplus for burst in look.past], BEYOND) != "news":
            places[at] = len(spans)
            endpoint, start, end = look.now.window(look.run.endpoint)
            spans += [
                (endpoint, start, end),
                *(
                    (endpoint, max(start - day, 0), max(end - day, MINUTES))
                    for day in (day_before, look.without * day_before)
                ),
                (endpoint, max(start - WEEK_DAYS * DAY * MINUTES, 0) if look.slow else start, start),
                *(burst.window(endpoint) for burst in look.past),
            ]
    parts = breakdown(windows_frame(spans, fleet)).partition_by("window_id", as_dict=True) if spans else {}
    nothing = schema.BREAKDOWN.to_frame()
    result = []
    for at, look in enumerate(looks):
        if at not in places:
            result.append(_Seen("news"))
            continue
        now, yesterday, without, week, *bursts = (
            parts.get((places[at] + n,), nothing) for n in range(4 + len(look.past))
        )
        profile = profile_of(look.run, now, yesterday, look.run.at_open)
        if sum(max(more, 0.0) for more in profile.excess["consumer"].values()) < 0.5 * look.now.surplus:
            # Yesterday had it too, as on the second day of a job that moved: what is more now is chance.
            profile = profile_of(look.run, now, without, look.run.at_open)
        result.append(_told(look, profile.top("consumer"), now, week, bursts))
    return result


def _told(
    look: _Look,
    top: tuple[str | None, float, float],
    now: pl.DataFrame,
    week: pl.DataFrame,
    bursts: list[pl.DataFrame],
) -> _Seen:
    """top: the consumer with most of the excess ("": those who are not named), its share of that and of the calls; now, week, bursts: breakdowns of the surge, of
    the week before it and of the bursts of past days."""
    if look.slow and _new_users(look, now, week):
        return _Seen("usual")
    who, share, traffic = top
    many = who is None or share < HINT_EXCESS
    past = [
        burst.surplus if many else min(burst.surplus, _calls_of(part, who or None))
        for burst, part in zip(look.past, bursts, strict=True)
    ]
    like = max(zip(past, look.past, strict=True), key=lambda one: one[0])[1] if past else None
    factor = BEYOND if who and not many and traffic <= HINT_TRAFFIC else BEYOND_MANY
    return _Seen(look.held_against(past, factor), like, many)


def _calls_of(part: pl.DataFrame, consumer: str | None) -> float:
    return float(part.filter(pl.col("consumer").eq_missing(pl.lit(consumer, pl.String)))["calls"].sum())


def _new_users(look: _Look, now: pl.DataFrame, week: pl.DataFrame) -> bool:
    """Whether there is no surge without the consumers that did not call the endpoint in the week before."""
    new = now.drop_nulls("consumer").join(week, on="consumer", how="anti")
    calls = float(now["calls"].sum())
    return calls - float(new["calls"].sum()) <= SURGE_FACTOR * (calls - look.now.surplus)


def _opened(looks: list[_Look], seen: list[_Seen]) -> tuple[dict[int, int | None], list[tuple[Run, int]]]:
    """By id of its run when each surge opens (None: never); and those that do not, but came once before, with a bin of that time.
    looks: in the order in which they are known."""
    opened: dict[int, int | None] = {}
    raised: list[Run] = []
    again: dict[int, tuple[Run, int]] = {}
    for look, told in zip(looks, seen, strict=True):
        run, like = look.run, told.like
        if opened.setdefault(id(run), None) is not None:
            continue
        told_before = like is not None and any(_covers(other, run, like.middle) for other in raised)
        if told.verdict == "news" or (told.many and not told_before):
            opened[id(run)] = look.known
            raised.append(run)
        elif told.verdict == "again" and like is not None:
            again[id(run)] = run, like.middle
            if told_before:
                raised.append(run)
    return opened, [one for key, one in again.items() if opened[key] is None]


def _moved(run: Run, calls: Floats) -> Run | None:
    """A drop: None where it is a job of which most came at another hour of the twelve before, or within the hour after, for which it waits;
    without its bins after the one in which most had come, where that is later; else as it is. calls: per bin, of its endpoint."""
    width = run.opened + 1 - run.start
    sums, age = Sums(calls[None, :]), _age(calls)
    now, days = sums.window(width)[0], same_time(sums.window(width))[0]
    usual = days / age
    at, near, far = run.opened, HOUR, HOUR + max(width, AROUND_JOB)
    # From an hour before (after) the window on: a job may have begun before it.
    inner, outer = (float(same_time(sums.window(width + 2 * side), side)[0][at]) for side in (near, far))
    around = (outer - inner) / age[at] * width / (2 * (far - near))
    if usual[at] < JOB_HOUR_FACTOR * around:
        return run
    # Windows that began in these twelve hours.
    first, told = min(max(run.start - DAY // 2 + width, 0), at), at + GRACE
    # A morning with half as many people again as usual is no job.
    came_elsewhere = np.where(now > JOB_FACTOR * usual, now - usual, 0.0)
    if told >= len(calls) or came_elsewhere[first : told + 1].max() >= MOVED * (usual[at] - now[at]):
        return None
    run = replace(run, known=(told + 1) * MINUTES)
    end = min(int(run.bins[-1]) + DAY // 2, len(calls))
    lacking = np.cumsum(same_time(calls[None, :])[0][run.start : end] / age[run.start : end] - calls[run.start : end])
    back = np.flatnonzero(lacking <= (1 - MOVED) * np.maximum.accumulate(lacking)) + run.start
    came = back[back > at]
    if len(came) and came[0] <= told:
        return None
    return run if len(came) == 0 else _until(run, int(came[0]))


def _until(run: Run, came: int) -> Run:
    """The run without what is known of it after a bin."""
    strong = run.strong <= (came + 1) * MINUTES
    return replace(
        run, bins=run.bins[run.bins <= came], strong=run.strong[strong], proofs=run.proofs[: strong.sum()], came=came
    )
