"""Failed calls that may be but one client's, who tries again: raised when they convince as moments, and when they go on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import gammainc

from apilens import schema
from apilens.detect.baseline import Fleet, by_minute
from apilens.detect.bins import HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.retries import moments
from apilens.detect.runs import HINT_EXCESS, HINT_TRAFFIC, Profile, Run, when_raised

#: One consumer's client errors are raised when they go on half an hour after the bin in which they began.
PATIENCE = HOUR // 2
#: So few failed calls within an hour may be one client's, who tried again: its moments (retries.py)
#: must be as improbable as calls. Picked on quiet worlds: of ten false tickets of four to six calls, none had three moments.
FEW_CALLS, MOMENTS_P, TWO_MOMENTS_P = 12.5, 1e-5, 1e-6


def patient(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; client errors of one consumer opened PATIENCE after they began, and are left out where they were over by then.

    Someone who struggles with a form, or tries what is not there, is done after minutes; a client that was released
    broken is not. Authentication and rate limits are one consumer's matter by nature and wait for nothing.
    """
    result, asked, spans = [], [], []
    for run in convincing(runs, rows, fleet, breakdown):
        if run.signal != "errors" or run.status is None or run.status >= 500:
            result.append(run)
            continue
        early = run.strong[run.strong < (run.start + 1 + PATIENCE) * MINUTES].tolist()
        asked.append((run, early))
        spans += [(run.endpoint, run.start * MINUTES, known) for known in early]
    parts = breakdown(windows_frame(spans, fleet)).partition_by("window_id", as_dict=True) if spans else {}
    nothing = schema.BREAKDOWN.to_frame()
    window = 0
    for run, early in asked:
        profiles = [
            profile_of(run, parts.get((window + at,), nothing), nothing, run.at_open) for at in range(len(early))
        ]
        window += len(early)
        opened = [known for known, profile in zip(early, profiles, strict=True) if not _of_one(profile)]
        opened += run.strong[len(early) :].tolist()
        if opened:
            result.append(replace(run, known=opened[0]))
    return sorted(result, key=when_raised)


def convincing(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; those of a few failed calls opened when they are improbable as moments of their consumers too, and left out
    where they never were.

    A client tries a broken call again within seconds, and a person a form within a minute: ten such calls are one moment. The
    expectation has them as calls, which errs on the side of silence. Authentication and rate limits are left as they are: one
    consumer that is turned away is what they are about. rows: as baseline.fleet returns them; the log is asked for the minutes with
    failed calls alone.
    """
    few = {at: proofs for at, run in enumerate(runs) if (proofs := _few(run))}
    hit = {runs[at].endpoint for at in few}
    of_endpoint = rows.filter(pl.col("endpoint").is_in(hit)).partition_by("endpoint", as_dict=True)
    expected: dict[tuple[int, int], float] = {}
    failures = []
    for at, proofs in few.items():
        run, first, end = runs[at], min(begin for _, begin, _ in proofs), proofs[-1][0]
        part = of_endpoint[(run.endpoint,)]
        failed, calls = (
            by_minute(each, first // MINUTES, -(-end // MINUTES))[: end - first]
            for each in (part.filter(pl.col("status_code") == run.status), part)
        )
        failures += [(at, first + minute) for minute in np.flatnonzero(failed).tolist()]
        expected |= {
            (at, known): ratio * float(calls[begin - first : known - first].sum()) for known, begin, ratio in proofs
        }
    tried = _tried(failures, runs, fleet, breakdown)
    result = []
    for at, run in enumerate(runs):
        doubted = [
            known
            for known, begin, _ in few.get(at, [])
            if not _improbable([one for one in tried[at] if begin <= one[0] < known], run.status, expected[at, known])
        ]
        opened = run.strong[~np.isin(run.strong, doubted)]
        if run.known not in doubted:
            result.append(run)
        elif len(opened):
            result.append(replace(run, known=int(opened[0]), strong=opened))
    return sorted(result, key=when_raised)


def _few(run: Run) -> list[tuple[int, int, float]]:
    """Of the windows that open a run, those of a few failed calls: the minutes at whose ends they are known, and begin, and the
    expected ratio."""
    hour = HOUR * MINUTES
    # What opens again an hour later is believed.
    return [
        (known, begin * MINUTES, ratio)
        for known, (begin, hits, ratio) in zip(run.strong.tolist(), run.proofs, strict=True)
        if run.signal == "errors"
        and hits <= FEW_CALLS
        and known - begin * MINUTES <= hour
        and known <= run.known + hour
    ]


def _tried(
    failures: list[tuple[int, int]], runs: list[Run], fleet: Fleet, breakdown: Breakdown
) -> dict[int, list[tuple[int, str | None, int]]]:
    """By place in `runs` the minutes with its failed calls, in their order, each with every consumer that had them and how many.

    failures: such places and minutes.
    """
    tried: dict[int, list[tuple[int, str | None, int]]] = {at: [] for at in range(len(runs))}
    if failures:
        windows = windows_frame([(runs[at].endpoint, minute, minute + 1) for at, minute in failures], fleet)
        codes = pl.Series("status_code", [runs[at].status for at, _ in failures], schema.BREAKDOWN["status_code"])
        of_them = windows.select("window_id", codes)
        found = breakdown(windows).join(of_them, on=["window_id", "status_code"], how="semi")
        each = found.group_by("window_id", "consumer").agg(pl.col("calls").sum()).sort("window_id")
        for window, consumer, calls in each.iter_rows():
            at, minute = failures[window]
            tried[at].append((minute, consumer, calls))
    return tried


def _improbable(tried: list[tuple[int, str | None, int]], status: int | None, expected: float) -> bool:
    """Whether failed calls are beyond chance as moments. tried, status: see retries.moments; expected: calls. Tail of a Poisson
    distribution."""
    seen = moments(tried, status)
    return seen > 1 and float(gammainc(seen, expected)) < (MOMENTS_P if seen > 2 else TWO_MOMENTS_P)


def _of_one(profile: Profile) -> bool:
    """Whether one of several consumers has all of the excess, be it by chance."""
    value, share, traffic = profile.top("consumer")
    return bool(value) and share >= HINT_EXCESS and traffic <= HINT_TRAFFIC
