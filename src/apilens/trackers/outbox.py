"""Deliver what waits in the outbox, each ticket once, whoever else delivers and whenever somebody dies."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import polars as pl

from apilens.errors import OutboundError
from apilens.trackers.ticket import Ticket, Tracker

#: One row per ticket this run delivered or failed to.
OUTCOMES = pl.Schema(
    [
        ("ticket", pl.String),
        ("outcome", pl.String),  # created | adopted (was there already) | failed
        ("reference", pl.String),  # what the tracker calls it; null: failed
        ("error", pl.String),
    ]
)
_PAUSE_S = 0.05


class Filing(Protocol):
    """A ticket that was claimed."""

    @property
    def ticket(self) -> str: ...
    @property
    def payload(self) -> dict[str, object]: ...
    @property
    def in_doubt(self) -> bool: ...


class Outbox(Protocol):
    """The part of the store that delivery needs."""

    def claim(self, tracker: str, who: str, now: datetime, settle: timedelta, skip: list[str]) -> Filing | None: ...
    def delivered(self, tracker: str, ticket: str, reference: str, now: datetime) -> None: ...
    def undelivered(self, tracker: str, ticket: str, error: str, who: str) -> None: ...
    def being_sent(self, tracker: str) -> int: ...


def deliver(
    outbox: Outbox, tracker: Tracker, clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> pl.DataFrame:
    """OUTCOMES: every filing that waits for this tracker, delivered; returns when none is left to be sent by anybody.

    Order: claim (committed) → deliver → note (committed). Who dies in between leaves a claim; after the tracker's
    settle time it is taken over in doubt, looked up, and adopted or created. A failure is noted and not tried again
    in this run.
    """
    who = uuid.uuid4().hex
    settle = timedelta(seconds=tracker.settle_s)
    failed: list[str] = []
    outcomes: list[tuple[str, str, str | None, str | None]] = []
    while True:
        filing = outbox.claim(tracker.name, who, clock(), settle, failed)
        if filing is None:
            if not outbox.being_sent(tracker.name):
                return pl.DataFrame(outcomes, schema=OUTCOMES, orient="row")
            sleep(_PAUSE_S)
            continue
        ticket = Ticket.of(filing.payload)
        try:
            found = tracker.find(ticket) if filing.in_doubt else None
            reference = tracker.create(ticket) if found is None else found
        except OutboundError as error:
            outbox.undelivered(tracker.name, filing.ticket, str(error), who)
            failed.append(filing.ticket)
            outcomes.append((filing.ticket, "failed", None, str(error)))
            continue
        outbox.delivered(tracker.name, filing.ticket, reference, clock())
        outcomes.append((filing.ticket, "created" if found is None else "adopted", reference, None))
