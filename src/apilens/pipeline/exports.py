"""Exports that are read as a whole: feedback and system metrics."""

from __future__ import annotations

from apilens.errors import InputError
from apilens.ingest.sources import Input, open_input


def whole(item: Input, *, most: int, advice: str) -> tuple[bytes, str | None]:
    """An export's bytes, decompressed, and what is wrong with them; None: nothing.

    Raises InputError, with the advice, for more than `most` bytes.
    """
    stream = open_input(item)
    try:
        parts, size = [], 0
        while part := stream.read(2**20):
            parts.append(part)
            size += len(part)
            if size > most:
                raise InputError(f"{item.name}: more than {most >> 20} MiB; {advice}")
    finally:
        stream.close()
    return b"".join(parts), f"{item.name}: {stream.problem}; kept what came before" if stream.problem else None
