"""A client that is as often wrong as ever and only calls more: the endpoint's share of client errors rises, and no one's has.

A job asks for what is not there with a fifth of its calls, and comes once a night; when it comes by day with ten times as many, that is
its share and not the endpoint's.
"""

from __future__ import annotations

import math

import polars as pl

from apilens.detect.baseline import Fleet
from apilens.detect.bins import HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown, unexplained, week_before
from apilens.detect.incidents import REFUSALS
from apilens.detect.runs import HINT_EXCESS, Run

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
    now, week = (part.group_by("consumer").agg(*_counts(run)) for part in parts)
    excess = int(now["failed"].sum()) - float(run.at_open["expected"]) * int(now["calls"].sum())
    top = now.filter(pl.col("consumer").is_not_null()).sort("failed", "consumer", descending=True).head(1)
    if excess <= 0 or top.is_empty() or top["failed"][0] < HINT_EXCESS * excess:
        return False
    calls, failed = top.select("calls", "failed").row(0)
    calls_before, failed_before = (
        week.filter(consumer=top["consumer"][0]).select(pl.col("calls", "failed").sum()).row(0)
    )
    if failed_before < TOLD:
        return False
    usual = USUAL * failed_before / calls_before * calls
    return bool(failed <= usual + SURE * math.sqrt(usual))


def _counts(run: Run) -> tuple[pl.Expr, pl.Expr]:
    calls = pl.col("calls")
    return calls.sum(), calls.filter(pl.col("status_code") == run.status).sum().alias("failed")
