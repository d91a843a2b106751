"""From the queue to the tracker."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

from apilens.errors import UsageError
from apilens.pipeline.people import ranked
from apilens.store import Filing, open_state
from apilens.trackers import open_tracker
from apilens.trackers.outbox import deliver
from apilens.trackers.plan import PLAN, plan, plan_hash
from apilens.trackers.ticket import ticket


@dataclass(frozen=True)
class Filed:
    """plan: PLAN as it was applied; outcomes: OUTCOMES of what this run delivered; tracker: its full name."""

    tracker: str
    plan: pl.DataFrame
    outcomes: pl.DataFrame


def plan_tickets(
    *, lake: str, state: str | None, tracker: str, include_ended: bool, config: str | None = None
) -> tuple[pl.DataFrame, str]:
    """PLAN and its hash: what apply_tickets would do now. Changes nothing.

    In the order of the queue, with its priority (a column more) and its severity, which the tickets will have. config: whose [[rules]]
    hold, as for triage.
    """
    where = open_tracker(tracker)
    with open_state(lake, state, create=False) as store:
        made = plan(store.candidates(), store.tickets(where.name), include_ended)
        judged = ranked(store, None, None, config).select("rank", "priority", "severity", candidate_id="id")
    ordered = made.drop("severity").join(judged, on="candidate_id", how="left").sort("rank", "candidate_id")
    return ordered.select(*PLAN.names(), "priority"), plan_hash(made)


def apply_tickets(
    *,
    lake: str,
    state: str | None,
    tracker: str,
    include_ended: bool,
    expected: str | None,
    now: datetime | None,
    config: str | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Filed:
    """File each open candidate (or all) once, however often and from however many processes this runs.

    expected: hash of the plan that was looked at; raises UsageError, and does nothing, when it is another now.
    now: as of which the priority in the ticket is; claims in the outbox go by `clock`. config: whose [[rules]] hold, as for
    triage.
    """
    where = open_tracker(tracker)
    with open_state(lake, state, create=False) as store:
        candidates = store.candidates()
        problems = {
            row["id"]: row for row in ranked(store, None, now, config).filter(pl.col("kind") == "candidate").to_dicts()
        }
        rows = {row["id"]: row for row in candidates.to_dicts()}

        def decide(filed: pl.DataFrame) -> tuple[pl.DataFrame, list[Filing]]:
            made = plan(candidates, filed, include_ended)
            if expected is not None and plan_hash(made) != expected:
                raise UsageError(
                    f"--plan {expected}: the plan is {plan_hash(made)} by now; nothing was done. "
                    "Look again: apilens tickets plan"
                )
            creates = made.filter(pl.col("action") == "create")["ticket"]
            return made, [Filing(key, ticket(key, problems[key], rows[key]).payload()) for key in creates]

        made = store.enqueue(where.name, decide, clock())
        return Filed(where.name, made, deliver(store, where, clock, sleep))
