"""How long a problem with a status code lasts: until its rate has recovered, by the measure of the day it began.

A trailing baseline learns whatever goes on for days and then calls it normal; by that a standing fault would end by
itself. So once a run is open, its expectation stays what it was, and a sequential test decides from bin to bin whether
calls still fail at the open incident's rate or at the expected one again. Too few calls to tell (a quiet night) decide
nothing: silence is not recovery.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl

from apilens.detect.baseline import Fleet, Floats, by_bin
from apilens.detect.incidents import Run

#: Log likelihood ratio at which recovery is believed (one in twenty is wrong), and above which more failures are not
#: saved up: however bad it was, recovery shows equally soon. Source: Page, Continuous inspection schemes, Biometrika
#: 1954 (the same test turned round); Wald, Sequential Analysis, 1947, for the bound.
RECOVERED, SAVED = -3.0, 3.0
#: Half of the rate it opened with still counts as the same problem.
STILL = 0.5


def outlasting(runs: list[Run], rows: pl.DataFrame, fleet: Fleet) -> list[Run]:
    """The runs, those about a status code with every bin until they recovered; `recovered` None: they have not.

    rows: as baseline.fleet returns them. Decided from the past only: what a run's `last` says of a moment never
    depends on what came after it.
    """
    watched = {run.endpoint for run in runs if run.status is not None}
    parts = rows.filter(pl.col("endpoint").is_in(watched)).partition_by("endpoint", as_dict=True)
    result = []
    for run in runs:
        if run.status is None:
            result.append(run)
            continue
        part = parts[(run.endpoint,)]
        failed = by_bin(part.filter(pl.col("status_code") == run.status), fleet.bins)
        followed = _followed(run, failed, by_bin(part, fleet.bins))
        result = [*(_ended_with(earlier, followed) for earlier in result), followed]
    return result


def _ended_with(run: Run, later: Run) -> Run:
    """The run, which ends at the latest when a later one of its series recovers.

    An outage that began as one call in two hundred would need a thousand good ones to be over, and be the home of the next.
    """
    over = run.recovered is not None and later.recovered is not None and run.recovered <= later.recovered
    if later.series != run.series or later.recovered is None or over or not run.watched:
        return run
    return replace(run, bins=run.bins[run.bins <= max(later.bins[-1], run.opened)], recovered=later.recovered)


def _followed(run: Run, failed: Floats, calls: Floats) -> Run:
    expected, opened_with = float(run.at_open["expected"]), float(run.at_open["observed"])
    still = min(max(STILL * opened_with, 2 * expected), 0.98)
    begin = run.opened + 1
    k, n = failed[begin:], calls[begin:]
    if still <= expected:
        return run
    step = k * math.log(still / expected) + (n - k) * math.log((1 - still) / (1 - expected))
    walked = np.cumsum(step)
    # Reflected at SAVED: the sum above it is given away as it comes.
    evidence = walked - np.maximum(np.maximum.accumulate(walked) - SAVED, 0.0)
    over = np.flatnonzero(evidence <= RECOVERED)
    recovered = None if len(over) == 0 else begin + int(over[0])
    failing = np.flatnonzero(k[: None if recovered is None else recovered - begin] > 0)
    last = begin + int(failing[-1]) if len(failing) else run.opened
    bins = np.union1d(run.bins, np.arange(run.opened, last + 1))
    return replace(run, bins=bins, watched=True, recovered=recovered)
