"""Callers without a name that are turned away where everybody who is answered has one: scrapers, whatever they call themselves.

They come on top of those who call anyway. When a gateway forgets who its users are, these have no name either, but then as many with a name
are gone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import DAY, HOUR, MINUTES, WEEK_DAYS
from apilens.detect.breakdowns import Breakdown, unexplained
from apilens.detect.runs import HINT_EXCESS, Run

#: What somebody is told who is not wanted. A client that is set up with wrong credentials is told 401, and is news.
CODES = (403, 429)
#: At most such a share of the nameless calls is answered: somebody may look at what is public. Picked.
ANSWERED = 0.05
#: If those with a name have lost theirs, half of those who were turned away are missing among them, or half of themselves; and so many
#: standard errors.
GONE, SURE = 0.5, 2.5
#: Days before a window that say how many call with a name.
_AGO = (0, 1, WEEK_DAYS)


def turned_away(runs: list[Run], fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; 403 and 429 of callers without a name, on endpoints that answer only callers with one, and surges of such calls, opened when
    others had most of them, and are left out where they never had."""
    asked = [run for run in runs if run.status in CODES or (run.signal == "traffic" and run.direction == 1)]
    return unexplained(runs, asked, _windows, _on_top, fleet, breakdown)


def _windows(run: Run, at: int) -> list[tuple[int, int]]:
    """The last hour at most, and the same time of days that tell how many call with a name; minutes."""
    first = max(run.start * MINUTES, at - HOUR * MINUTES)
    return [(first - ago * DAY * MINUTES, at - ago * DAY * MINUTES) for ago in _AGO]


def _on_top(run: Run, parts: list[pl.DataFrame]) -> bool:
    """Whether most of the excess of a window is of callers without a name that are hardly ever answered, and nobody with a name is missing.

    parts: breakdowns of _windows; a day without calls tells nothing.
    """
    now, *before = (_counts(part, run) for part in parts)
    days = [day for day in before if day.calls]
    if not days:
        return False
    if run.status is None:
        turned, excess = now.kept_out, now.calls - sum(day.calls for day in days) / len(days)
    else:
        turned, excess = now.turned, now.failed - float(run.at_open["expected"]) * now.calls
    usual = sum(day.named for day in days) / len(days)
    missing = max(GONE * now.kept_out, SURE * math.sqrt(usual * (1 + 1 / len(days))))
    # Who is refused tries again: however many are turned away, half of those with a name must not be missing. A weekend has fewer.
    fewest = min(day.named for day in days)
    missing_too = max(GONE * fewest, SURE * math.sqrt(2 * fewest))
    gone = usual - now.named >= missing or fewest - now.named >= missing_too > 0
    hardly = all(each.let_in <= ANSWERED * each.theirs for each in (now, *days))
    return hardly and now.named + usual > 0 and turned >= HINT_EXCESS * excess > 0 and not gone


class _Counts(NamedTuple):
    """Calls of a window."""

    calls: int
    failed: int  # with the run's code
    theirs: int  # without a name, as all below but the last
    let_in: int  # answered
    turned: int  # with the run's code
    kept_out: int  # with one of CODES
    named: int  # with a name, answered


def _counts(part: pl.DataFrame, run: Run) -> _Counts:
    nameless, answered = pl.col("consumer").is_null(), pl.col("status_code") < 400
    alike = pl.col("status_code").eq_missing(pl.lit(run.status, schema.BREAKDOWN["status_code"]))
    chosen = {
        "calls": pl.lit(True),
        "failed": alike,
        "theirs": nameless,
        "let_in": nameless & answered,
        "turned": nameless & alike,
        "kept_out": nameless & pl.col("status_code").is_in(CODES),
        "named": ~nameless & answered,
    }
    counts = part.select(pl.col("calls").filter(rows).sum().alias(name) for name, rows in chosen.items())
    return _Counts(**counts.row(0, named=True))
