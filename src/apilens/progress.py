"""What a long run tells about how far it is."""

from __future__ import annotations

from collections.abc import Callable

#: (bytes of the inputs read so far, bytes in all or None where that is not known, lines read since the last call)
Progress = Callable[[int, int | None, int], None]


def unseen(done: int, total: int | None, more_lines: int) -> None:
    """Nobody looks."""
