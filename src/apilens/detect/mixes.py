"""A client that is as often wrong as ever and only calls more: the endpoint's share of client errors rises, and no one's has.

A job asks for what is not there with a fifth of its calls, and comes once a night; when it comes by day with ten times as many, that is
its share and not the endpoint's.
"""

from __future__ import annotations

import math

import polars as pl

from apilens.detect.baseline import Fleet
from apilens.detect.bins import HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, unexplained, week_before, who_fails
from apilens.detect.incidents import REFUSALS
from apilens.detect.runs import Run

#: So many failed calls in the week before tell a client's share.
TOLD = 10
#: That share may be so many times as high, and three standard errors.
USUAL, SURE = 1.5, 3.0


def without_mixes(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; 4xx (but those of habits.py) that one consumer carries opened when its own share of them had risen, and are left out where it never
    had."""
    asked = [run for run in runs if run.status is not None and 400 <= run.status < 500 and run.status not in REFUSALS]
    return unexplained(runs, asked, _windows, _as_ever, fleet, breakdown)


def _windows(run: Run, at: int) -> list[tuple[int, int]]:
    """The last hour at most, and the week before the run; minutes."""
    return [(max(run.start * MINUTES, at - HOUR * MINUTES), at), week_before(run)]


def _as_ever(run: Run, parts: list[pl.DataFrame]) -> bool:
    """Whether the consumer that has most of the excess of a window fails no more often than in the week before."""
    consumer = who_fails(run, parts[0])
    if consumer is None:
        return False
    (calls, failed), (calls_before, failed_before) = (_counts(run, part.filter(consumer=consumer)) for part in parts)
    if failed_before < TOLD:
        return False
    usual = USUAL * failed_before / calls_before * calls
    return bool(failed <= usual + SURE * math.sqrt(usual))


def _counts(run: Run, part: pl.DataFrame) -> tuple[int, int]:
    """Calls in all and with the run's code."""
    return int(part["calls"].sum()), int(part.filter(status_code=run.status)["calls"].sum())
