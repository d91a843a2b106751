"""Since when: where the calls turned, of jobs that run once a week and of those that came after all as well."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from apilens.detect import begins
from apilens.detect.bins import DAY, HOUR, MINUTES
from apilens.detect.runs import Run
from test_folding import fleet_and_rows, run_of

BEGAN = 8 * DAY


def turned(run: Run, bins: dict[int, int], ms: float = 10.0) -> int | None:
    """Of an endpoint with so many calls by bin; they take 20 ms from BEGAN on, and `ms` before."""
    fleet, _ = fleet_and_rows()
    at, calls = np.array(list(bins)), np.array(list(bins.values()), np.float64)
    log = np.log(np.where(at >= BEGAN, 20.0, ms))
    rows = pl.DataFrame(
        {
            "endpoint": run.endpoint,
            "bin": at,
            "status_code": 200,
            "calls": calls,
            "durations": calls,
            "log_duration_sum": calls * log,
            "log_duration_sumsq": calls * (log**2 + 0.3),
        }
    )
    (found,) = begins.turned([run], rows, fleet)
    return found.turned


@pytest.mark.parametrize("before", [30, HOUR])
def test_slowness_of_a_job_that_runs_once_a_week_began_where_it_turned(before: int) -> None:
    """Its last calls came more than a week before: the window's forecast knows them, a week before its beginning has none."""
    week_ago = BEGAN - 7 * DAY
    bins = dict.fromkeys(range(week_ago - before, week_ago - 2), 20) | dict.fromkeys(range(BEGAN, BEGAN + 6), 20)
    assert turned(run_of(0, "latency", BEGAN, BEGAN + 5, BEGAN + 5), bins) == BEGAN


@pytest.mark.parametrize("later", [0, 20, 60])
def test_a_job_that_is_told_an_hour_after_it_stayed_away_began_to_stay_away_then(later: int) -> None:
    """Calls that come in the hour in which it is waited for, when it is missed no longer, say nothing of its beginning."""
    usual, job = range(BEGAN - 2 * HOUR, BEGAN), range(BEGAN, BEGAN + 6)
    bins = dict.fromkeys(usual, 10) | dict.fromkeys(job, 1) | dict.fromkeys(range(BEGAN + 6, BEGAN + 18), later)
    run = run_of(0, "traffic", BEGAN, BEGAN + 17, BEGAN + 5, direction=-1)
    run.at_open = run.at_open | {"observed": 1.0, "expected": 10.0}
    assert run.bins[-1] < run.opened == run.known // MINUTES - 1
    assert turned(run, {bin_: n for bin_, n in bins.items() if n}) == BEGAN
