"""Surges that are nobody's: a payday, a campaign, a push notice. Calls rise on many endpoints at once, each by a factor of its own.

The fleet's growth, a median, is too little for the endpoints that such a day is about. What rises with many others is no
problem of one endpoint, unless one consumer makes these calls.
"""

from __future__ import annotations

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.runs import Run, reopened


def without_campaigns(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; surges that no consumer carries and that set in while calls rose on many endpoints (Fleet.risen) opened when they had
    outlasted that, and are left out where they never did."""
    asked = [
        run
        for run in runs
        if run.signal == "traffic" and run.direction == 1 and fleet.risen[run.start : run.opened + 1].any()
    ]
    spans = [
        (run.endpoint, (run.start - ago) * MINUTES, run.known - ago * MINUTES) for run in asked for ago in (0, DAY)
    ]
    parts = breakdown(windows_frame(spans, fleet)).partition_by("window_id", as_dict=True) if spans else {}
    nothing = schema.BREAKDOWN.to_frame()
    opened: dict[int, int | None] = {}
    for at, run in enumerate(asked):
        now, before = (parts.get((2 * at + part,), nothing) for part in range(2))
        if profile_of(run, now, before, run.at_open).carrier("consumer") is None:
            opened[id(run)] = _outlasts(run, fleet)
    return reopened(runs, opened)


def _outlasts(run: Run, fleet: Fleet) -> int | None:
    """The minute at whose end is known the first abnormal bin with no rise of the fleet in the longest window that may go on the run; None: there is none.

    Weak ones as well: what has lasted for an hour is not sudden any more, by which a surge opens.
    """
    width = max(2 * (run.opened + 1 - run.start), HOUR)
    later = run.bins[run.bins > run.opened].tolist()
    return next(
        ((bin_ + 1) * MINUTES for bin_ in later if not fleet.risen[max(bin_ + 1 - width, 0) : bin_ + 1].any()), None
    )
