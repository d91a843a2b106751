"""Access log lines made on the spot: each one its own, so that a call that is lost or doubled cannot hide."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

_BEGIN = datetime(2026, 11, 2, 8, 0, 0)


def line(i: int, *, query: str = "", when: str | None = None, agent: bytes = b"curl/8.0") -> bytes:
    """Call number `i` in NGINX's combined format, a second after the one before; without a line end."""
    stamp = when or f"{_BEGIN + timedelta(seconds=i):%d/%b/%Y:%H:%M:%S} +0000"
    status = 503 if i % 7 == 0 else 200
    request = (
        f'10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255} - - [{stamp}] "GET /api/orders/{i}{query} HTTP/1.1" {status}'
    )
    return f'{request} {100 + i} "-" "'.encode() + agent + b'"'


def log(numbers: Iterable[int]) -> bytes:
    """The calls of `numbers`, a line each, every one terminated."""
    return b"".join(line(i) + b"\n" for i in numbers)


def broken(i: int) -> bytes:
    """A line that is no call in any format."""
    return f"upstream says {i}: connection lost while reading".encode()
