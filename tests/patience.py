"""A guard against work that grows with the square of its input: it would not end within hours, so a slow machine passes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE_S = 300


@contextmanager
def comes_to_an_end() -> Iterator[None]:
    """Raises TimeoutError in the block after five minutes."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done after {_PATIENCE_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_PATIENCE_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
