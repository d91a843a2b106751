"""When slowness and surges and drops of traffic began: where the calls turned, which the window that proved it need not begin with."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl

from apilens.detect.baseline import Fleet, by_bin
from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Floats
from apilens.detect.lasting import LEAST_LEFT, Timed
from apilens.detect.latency import PRIOR_WANDER
from apilens.detect.runs import Run

#: A window proves what it holds; what came this long before it may belong to it as well.
BEFORE = HOUR // 2


def turned(runs: list[Run], rows: pl.DataFrame, fleet: Fleet) -> list[Run]:
    """The runs, those of the mean latency and of traffic with the bin in which calls turned; a drift has none.

    The bin from which on what was found when the run opened is likelier than what was expected then, by the most. Nothing that came
    after it opened, or after it ended before that, is looked at. rows: as baseline.fleet returns them. Source: Hinkley, Biometrika 57 (1970) 1, the maximum likelihood
    of a change-point between two known levels.
    """
    watched = {run.endpoint for run in runs if _turns(run)}
    parts = rows.filter(pl.col("endpoint").is_in(watched)).partition_by("endpoint", as_dict=True)
    return [replace(run, turned=_turn(run, parts[(run.endpoint,)], fleet.bins)) if _turns(run) else run for run in runs]


def _turns(run: Run) -> bool:
    """Of a status code the first failed call says it, of a tail its few slow calls say no more than the window does."""
    return run.at_open["unit"] != "ratio" and not run.lasts_a_day


def _turn(run: Run, rows: pl.DataFrame, bins: int) -> int:
    # A job that stayed away is raised an hour later (bursts.py), and may have come by then.
    last = min(run.opened, run.last(run.known))
    span = slice(max(run.start - BEFORE, 0), last + 1)
    found = float(run.at_open["observed"]) / float(run.at_open["expected"])
    if run.signal == "traffic":
        expected, left = float(run.at_open["expected"]), max(found, LEAST_LEFT)
        step = by_bin(rows, bins)[span] * math.log(left) - expected * (left - 1)
    else:
        step = _of_latency(run, Timed.of(rows, bins), span, math.log(found))
    # Of two bins that say it equally well, as where one has no calls, the later one.
    return last - int(np.cumsum(step[::-1]).argmax())


def _of_latency(run: Run, timed: Timed, span: slice, slower: float) -> Floats:
    """Log likelihood ratio of each bin's log latencies for those that were found against those that were expected."""
    usual = math.log(float(run.at_open["expected"]))
    # From an hour before the week on, as latency.py does: a weekly job may have had all its calls in that hour.
    past = slice(max(run.start - WEEK_DAYS * DAY - HOUR, 0), run.start)
    _, variance = timed.usual(past)
    n = timed.n[span]
    step: Floats = slower * (timed.total[span] - n * (usual + slower / 2)) / (variance + n * PRIOR_WANDER)
    return step
