"""Failures of one gateway instance that show on one endpoint first: a few there, a few on each of many others, all from one node.

An endpoint's own handful of failed calls cannot tell its node from chance, nor from the upstream that it has alone. What fails with the same
code meanwhile on other endpoints can.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from apilens import schema
from apilens.detect.baseline import Fleet
from apilens.detect.bins import MINUTES
from apilens.detect.breakdowns import Breakdown, profile_of, windows_frame
from apilens.detect.incidents import EVERYWHERE
from apilens.detect.runs import HINT_EXCESS, Run

#: Where so many calls of a run failed, they tell themselves whose they are.
FEW_CALLS = 30
#: So many endpoints, the run's own and those with most failures, are asked.
MOST = 40


def suspected(runs: list[Run], rows: pl.DataFrame, fleet: Fleet, breakdown: Breakdown) -> list[Run]:
    """The runs; `node` of those of a few server errors is the node that carries, beyond chance, what failed with the same code until the run
    was raised on three endpoints or more, its own among them.

    rows: as baseline.fleet returns them.
    """
    few = {at: run for at, run in enumerate(runs) if _few(run)}
    failures = rows.filter(pl.col("status_code").is_in({run.status for run in few.values()}))
    hit = {at: others for at, run in few.items() if (others := _failing(run, failures))}
    spans = [(endpoint, runs[at].start * MINUTES, runs[at].known) for at, others in hit.items() for endpoint in others]
    if not spans:
        return runs
    owner = pl.DataFrame(
        [(at, endpoint) for at, others in hit.items() for endpoint in others],
        schema={"run": pl.Int64, "endpoint": pl.Int64},
        orient="row",
    )
    found = breakdown(windows_frame(spans, fleet)).join(
        owner.with_columns(window_id=pl.int_range(pl.len())), on="window_id"
    )
    result = list(runs)
    for (at,), part in found.group_by("run"):
        result[int(at)] = replace(runs[int(at)], node=_carrier(runs[int(at)], part.drop("run", "window_id")))
    return result


def _few(run: Run) -> bool:
    """Whether it was raised for server errors too few to tell themselves whose they are."""
    failed = float(run.at_open["observed"]) * float(run.at_open["n"])
    return run.status is not None and run.status >= 500 and failed <= FEW_CALLS


def _failing(run: Run, failures: pl.DataFrame) -> list[int]:
    """Endpoints with failed calls with the run's code until it was raised, its own and those with most first; none where these are too few, or not
    the run's. failures: rows with such codes."""
    minutes = pl.when(pl.col("bin") == run.opened).then(run.known - run.opened * MINUTES).otherwise(MINUTES)
    failed = (
        failures.filter((pl.col("status_code") == run.status) & pl.col("bin").is_between(run.start, run.opened))
        .group_by("endpoint")
        .agg(pl.col("minute_calls").list.head(minutes).list.sum().sum().alias("failed"))
        .filter(pl.col("failed") > 0)
        .sort(pl.col("endpoint") != run.endpoint, -pl.col("failed"), "endpoint")
    )
    others = failed["endpoint"].head(MOST).to_list()
    return others if len(others) >= EVERYWHERE and others[0] == run.endpoint else []


def _carrier(run: Run, part: pl.DataFrame) -> str | None:
    """The node that has the failures of the run and of all endpoints together. part: schema.BREAKDOWN of these, and `endpoint`."""
    nothing = schema.BREAKDOWN.to_frame()
    node = profile_of(run, part, nothing, run.at_open).carrier("node")
    mine, share, _ = profile_of(run, part.filter(pl.col("endpoint") == run.endpoint), nothing, run.at_open).top("node")
    if node is None or node != mine or share < HINT_EXCESS:
        return None
    theirs = part.filter((pl.col("status_code") == run.status) & (pl.col("node") == node))
    return node if theirs["endpoint"].n_unique() >= EVERYWHERE else None
