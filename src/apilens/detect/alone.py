"""Whether what shows on an endpoint is its own matter, though others behind its upstream have the like: the rest of them are well.

Two endpoints that begin to fail within two hours behind one upstream have one cause: that is rare. Unless one of them had calls that were
answered well while the other failed already: a later problem is another one. At a launch everything begins at once, and
each mistake in a configuration or a contract is one problem. And what gets slower for days meets what else does in a week.
"""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, MINUTES
from apilens.detect.incidents import SAME_UPSTREAM
from apilens.detect.latency import DRIFT_SKIP
from apilens.detect.latency_load import WEEK
from apilens.detect.runs import Run

#: Half of what the run has on another endpoint, as a share of failed calls or as growth of the log latency, is the same problem. So many failed
#: calls must be expected by that, or be timed on the day and in the week it is compared with: fewer calls tell nothing.
STILL, ENOUGH, ENOUGH_TIMED = 0.5, 0.5, 50
#: Calls before a run of which so many had failed by half of its share say that the endpoint had the problem not yet: what failed of them did not make the
#: run begin with it. 3 and 10 gave the same tickets.
WELL = 5.0


def apart(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, upstreams: dict[int, str]) -> list[Run]:
    """The runs; `alone` are those with a status code that began with the launch, and days of slowness, while less than half of the others
    behind the same upstream had it too. Those with a status code know until when their endpoint was `well`.

    Until the run was raised. Of the same code; of any server error, where it is one. Days of slowness are asked only where another endpoint
    behind the upstream had one by then. rows: as baseline.fleet returns them. upstreams: by endpoint, where known.
    """
    runs = _that_know_until_when_they_were_well(runs, rows)
    begun = [run.status is not None and fleet.launch <= run.start < fleet.launch + SAME_UPSTREAM for run in runs]
    slow = [run for run in runs if run.lasts_a_day and run.endpoint in upstreams]
    met = [
        run.lasts_a_day
        and any(_before(other, run) and upstreams[other.endpoint] == upstreams.get(run.endpoint) for other in slow)
        for run in runs
    ]
    if not any(begun) and not any(met):
        return runs
    last = max((run.opened for run, at_launch in zip(runs, begun, strict=True) if at_launch), default=-1)
    early = rows.filter(pl.col("bin").is_between(fleet.launch, last))
    names = {upstreams.get(run.endpoint) for run, meets in zip(runs, met, strict=True) if meets}
    involved = [endpoint for endpoint, name in upstreams.items() if name in names]
    timed = rows.filter(pl.col("endpoint").is_in(involved), pl.col("status_code") < 400)
    beside = timed.select("endpoint", "bin", "durations", "log_duration_sum").partition_by("endpoint", as_dict=True)
    result = []
    for run, at_launch, meets in zip(runs, begun, met, strict=True):
        mine = upstreams.get(run.endpoint)
        others = [endpoint for endpoint, name in upstreams.items() if name == mine and endpoint != run.endpoint]
        if at_launch:
            run = replace(run, alone=_fails_alone(run, early, others))
        elif meets:
            parts = [beside[(endpoint,)] for endpoint in others if (endpoint,) in beside]
            run = replace(run, alone=bool(parts) and _slows_alone(run, pl.concat(parts)))
        result.append(run)
    return result


def _that_know_until_when_they_were_well(runs: list[Run], rows: pl.DataFrame) -> list[Run]:
    failing = {run.endpoint for run in runs if run.status is not None}
    if not failing:
        return runs
    by_bin = rows.filter(pl.col("endpoint").is_in(failing)).group_by("endpoint", "bin").agg(pl.col("calls").sum())
    calls = by_bin.partition_by("endpoint", as_dict=True)
    return [run if run.status is None else replace(run, well=_well_until(run, calls[(run.endpoint,)])) for run in runs]


def _well_until(run: Run, calls: pl.DataFrame) -> int:
    """The bin from which on, up to its start, a run had so many calls that with half of its share of failures WELL of them had failed; -1: there were
    fewer in what may be told of one cause. calls: `bin`, `calls` of its endpoint."""
    before = calls.filter(pl.col("bin").is_between(run.start - SAME_UPSTREAM, run.start - 1)).sort(
        "bin", descending=True
    )
    enough = before.filter(pl.col("calls").cum_sum() * STILL * float(run.at_open["observed"]) >= WELL)
    return int(enough["bin"][0]) if enough.height else -1


def _before(other: Run, run: Run) -> bool:
    """Whether it is another endpoint's and was known by then: what comes later may not say which incidents there are."""
    return other.endpoint != run.endpoint and other.known <= run.known


def _fails_alone(run: Run, rows: pl.DataFrame, others: list[int]) -> bool:
    minutes = pl.when(pl.col("bin") == run.opened).then(run.known - run.opened * MINUTES).otherwise(MINUTES)
    known = pl.col("minute_calls").list.head(minutes).list.sum()
    alike = pl.col("status_code") >= 500 if (run.status or 0) >= 500 else pl.col("status_code") == run.status
    found = (
        rows.filter(pl.col("bin").is_between(run.start, run.opened) & pl.col("endpoint").is_in(others))
        .group_by("endpoint")
        .agg(known.sum().alias("calls"), known.filter(alike).sum().alias("failed"))
    )
    failed, calls = (found[name].to_numpy() for name in ("failed", "calls"))
    expected = STILL * float(run.at_open["observed"]) * calls
    told = expected >= ENOUGH
    return bool(2 * (told & (failed >= expected)).sum() < told.sum())


def _slows_alone(run: Run, rows: pl.DataFrame) -> bool:
    """rows: of successful calls, of the others."""
    last = run.opened - DAY - DRIFT_SKIP
    spans = {
        "day": pl.col("bin").is_between(run.opened - DAY + 1, run.opened),
        "week": pl.col("bin").is_between(last - WEEK + 1, last),
    }
    sums = [
        pl.col(name).filter(within).sum().alias(f"{name}_{span}")
        for name in ("durations", "log_duration_sum")
        for span, within in spans.items()
    ]
    found = rows.group_by("endpoint").agg(sums)
    calls = [found[f"durations_{span}"].to_numpy() for span in spans]
    told = (calls[0] >= ENOUGH_TIMED) & (calls[1] >= ENOUGH_TIMED)
    day, week = (
        found[f"log_duration_sum_{span}"].to_numpy()[told] / n[told] for span, n in zip(spans, calls, strict=True)
    )
    grown = math.log(float(run.at_open["observed"]) / float(run.at_open["expected"]))
    return bool(2 * (day - week >= STILL * grown).sum() < told.sum())
