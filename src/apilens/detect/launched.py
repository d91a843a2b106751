"""What is bad since the go-live, on one endpoint or on all behind its upstream.

Later, two endpoints that begin to fail within two hours behind one upstream have one cause: that is rare. At a launch everything begins
at once, and each mistake in a configuration or a contract is one problem.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from apilens.detect.baseline import Fleet
from apilens.detect.bins import MINUTES
from apilens.detect.incidents import SAME_UPSTREAM
from apilens.detect.runs import Run

#: Half of the run's share of failed calls on another endpoint is the same problem. So many failed calls must be expected by that: fewer
#: calls tell nothing.
STILL, ENOUGH = 0.5, 0.5


def apart(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, upstreams: dict[int, str]) -> list[Run]:
    """The runs; `alone` are those with a status code that began with the launch, while less than half of the others behind the same
    upstream had it too.

    Until the run was raised, and of the same code; of any server error, where it is one. rows: as baseline.fleet returns them. upstreams: by endpoint, where known.
    """
    begun = [run.status is not None and fleet.launch <= run.start < fleet.launch + SAME_UPSTREAM for run in runs]
    if not any(begun):
        return runs
    last = max(run.opened for run, at_launch in zip(runs, begun, strict=True) if at_launch)
    early = rows.filter(pl.col("bin").is_between(fleet.launch, last))
    return [
        replace(run, alone=_alone(run, early, upstreams)) if at_launch else run
        for run, at_launch in zip(runs, begun, strict=True)
    ]


def _alone(run: Run, rows: pl.DataFrame, upstreams: dict[int, str]) -> bool:
    mine = upstreams.get(run.endpoint)
    others = [endpoint for endpoint, name in upstreams.items() if name == mine and endpoint != run.endpoint]
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
