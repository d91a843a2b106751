"""Calls that one client tries again, told from failures that go on: what it does within two minutes, or with growing pauses, is one moment."""

from __future__ import annotations

from collections.abc import Iterable

#: Failed calls of one consumer so many minutes after the first of a moment are another, unless they are its repetitions.
APART = 2
#: Repetitions with growing pauses (after 10, 30, 90 s, or each after twice as long) come when the time since the first has grown so
#: many times at least and at most, give or take a minute: the first of them within five minutes, for before it there is no pause to
#: grow. They are at most a third of the calls that came at once, in the first two minutes.
GROWN, MOST_GROWN, FEWER = 2, 5, 3


def moments(failed: Iterable[tuple[int, str | None, int]], status: int | None) -> int:
    """How many moments failed calls are. failed: their minutes in order, consumers (None: not named) and numbers of calls; status: theirs.

    Clients that are not named are taken for one, but each that waits longer than two minutes for another. Below 500 nothing is
    tried again with growing pauses: the call itself is wrong.
    """
    found = 0
    counted: dict[str | None, list[tuple[int, int]]] = {}
    for minute, consumer, calls in failed:
        before = counted.get(consumer)
        patient = consumer is not None and status is not None and status >= 500
        again = before is not None and (
            minute - before[0][0] < APART or (patient and _tried_again(before, minute, calls))
        )
        if before is None or not again:
            found += 1
            before = counted[consumer] = []
        before.append((minute, calls))
    return found


def _tried_again(before: list[tuple[int, int]], minute: int, calls: int) -> bool:
    """Whether failed calls in a minute repeat those before, with pauses that grow."""
    first, last = before[0][0], before[-1][0]
    at_once = sum(each for at, each in before if at - first < APART)
    grown = GROWN * (last - first) - 1 <= minute - first <= MOST_GROWN * (last - first + 1)
    return grown and FEWER * calls <= at_once
