"""Which candidates need a ticket, and which have one: the same problem is filed once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from apilens.schema import TIMESTAMP

#: A problem that comes back within this time is the same ticket; later it is a new one.
REOPEN_WINDOW = timedelta(days=7)

#: One row per candidate that is to have a ticket.
PLAN = pl.Schema(
    [
        ("action", pl.String),  # create | keep (the ticket exists, or another row creates it)
        ("ticket", pl.String),  # id of the candidate it was or will be opened for
        ("candidate_id", pl.String),
        ("fingerprint", pl.String),
        ("start", TIMESTAMP),
        ("end", TIMESTAMP),
        ("environment", pl.String),
        ("severity", pl.String),
        ("title", pl.String),
    ]
)


@dataclass(slots=True)
class _Span:
    """A ticket and the time its occurrences cover."""

    ticket: str
    start: datetime
    end: datetime

    def is_near(self, other: _Span) -> bool:
        return other.start <= self.end + REOPEN_WINDOW and other.end >= self.start - REOPEN_WINDOW


def plan(candidates: pl.DataFrame, tickets: pl.DataFrame, include_ended: bool) -> pl.DataFrame:
    """PLAN: what filing these candidates would do, oldest first.

    candidates: schema.CANDIDATES; tickets: store.TICKETS of the tracker. Candidates that have ended are left out
    unless include_ended: the first run over old logs must not file what is long over. A candidate belongs to a ticket
    of its fingerprint when the two lie at most REOPEN_WINDOW apart. The same input gives the same plan.
    """
    wanted = candidates.filter(pl.col("state").is_in(["open", "ended"] if include_ended else ["open"]))
    filed: dict[str, list[_Span]] = {}
    for key, fingerprint, start, end in tickets.select("id", "fingerprint", "start", "end").rows():
        filed.setdefault(fingerprint, []).append(_Span(key, start, end))
    rows = []
    for candidate in wanted.sort("start", "id").to_dicts():
        own = filed.setdefault(candidate["fingerprint"], [])
        here = _Span(candidate["id"], candidate["start"], candidate["end"])
        same = next((span for span in reversed(own) if span.is_near(here)), None)
        if same is None:
            own.append(here)
        else:
            same.end = max(same.end, here.end)
        action, ticket = ("create", here.ticket) if same is None else ("keep", same.ticket)
        rows.append({**candidate, "action": action, "ticket": ticket, "candidate_id": candidate["id"]})
    return pl.DataFrame([{name: row[name] for name in PLAN} for row in rows], schema=PLAN, orient="row")


def plan_hash(made: pl.DataFrame) -> str:
    """Twelve hex digits that are the same as long as applying the plan would create the same tickets."""
    creates = made.filter(pl.col("action") == "create").select("ticket", "fingerprint").sort("ticket").rows()
    return hashlib.sha256(json.dumps(creates).encode()).hexdigest()[:12]
