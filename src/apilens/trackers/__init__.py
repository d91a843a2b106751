"""Where tickets go: one tracker per file."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from apilens.errors import UsageError
from apilens.trackers.folder import Folder
from apilens.trackers.ticket import Ticket, Tracker

#: kind -> how the rest of `kind:REST` becomes a tracker.
TRACKERS: dict[str, Callable[[str], Tracker]] = {"folder": Folder}


def open_tracker(name: str) -> Tracker:
    """The tracker that `--tracker KIND:WHERE` names, e.g. folder:tickets. Raises UsageError for an unknown kind."""
    kind, _, where = name.partition(":")
    if kind not in TRACKERS:
        near = difflib.get_close_matches(kind, TRACKERS, n=1)
        hint = f"; did you mean {near[0]}:{where or 'OUT'}?" if near else ""
        raise UsageError(f"--tracker {name!r}: unknown kind {kind!r}, expected one of {', '.join(TRACKERS)}{hint}")
    if not where:
        raise UsageError(f"--tracker {name!r} does not say where; expected for example {kind}:tickets")
    return TRACKERS[kind](where)


__all__ = ["TRACKERS", "Ticket", "Tracker", "open_tracker"]
