"""Who turns new pieces into units: threads of this process here; a cluster does the same work with the same function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import polars as pl

from apilens.formats.block import Reader
from apilens.ingest.enrich import Declared
from apilens.ingest.forget import Tombstone, tombstone
from apilens.ingest.pieces import Origin, Piece
from apilens.ingest.redact import Redactor
from apilens.ingest.unit import Counts, make_unit
from apilens.lake import Lake, Unit
from apilens.lake.tables import Table

#: Threads that parse and write at once. Polars and zstd release the GIL; a third thread brought nothing on two cores.
THREADS = 2


@dataclass(frozen=True)
class Task:
    """One new piece, and what is known about it. file: where its bytes stand as they are, from the block's offset on; None:
    nowhere, they were decoded.
    """

    piece: Piece
    origin: Origin
    declared: Declared
    attempt: int
    now: datetime
    file: Path | None = None


@dataclass(frozen=True)
class Written:
    """What became of a task: a unit whose files nobody sees yet. formats: stored calls by the format that read them."""

    unit: Unit
    counts: Counts
    formats: dict[str, int]


class Answer(Protocol):
    """What a task will have become."""

    def result(self) -> Written:
        """Waits for it; raises what the work raised, or LakeError."""


class Workers(Protocol):
    """Where tasks are done."""

    #: Tasks to have on their way at once, so that nobody waits for the next one.
    ahead: int

    def submit(self, task: Task, reader: Reader) -> Answer:
        """The unit a task becomes, its files written and not yet visible."""


Hire = Callable[[Lake], AbstractContextManager[Workers]]


class Desk:
    """What a worker needs of a lake, looked up once: the masking key and what must stay forgotten."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._redactor = Redactor(lake.masking_key)
        self._forgotten: Tombstone = tombstone(lake)

    def work(self, task: Task, reader: Reader) -> Written:
        """Parse a piece and write its files, which nobody sees before they are committed. Raises LakeError."""
        made = make_unit(
            task.piece, reader, self._redactor, forgotten=self._forgotten,
            origin=task.origin, declared=task.declared, attempt=task.attempt, now=task.now,
        )  # fmt: skip
        frames: dict[Table, pl.DataFrame] = {"calls": made.calls, "rollups": made.rollups, "rejects": made.rejects}
        files = {
            name: self._lake.write(name, frame, task.piece.unit_id, task.attempt) for name, frame in frames.items()
        }
        unit = Unit(made.entry, files["calls"], files["rollups"], files["rejects"])
        return Written(unit, made.counts, made.formats)


class _Threads:
    ahead = THREADS

    def __init__(self, lake: Lake, pool: ThreadPoolExecutor) -> None:
        self._desk, self._pool = Desk(lake), pool

    def submit(self, task: Task, reader: Reader) -> Future[Written]:
        return self._pool.submit(self._desk.work, task, reader)


@contextmanager
def threads(lake: Lake) -> Iterator[Workers]:
    """Threads of this process."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="apilens-parse") as pool:
        yield _Threads(lake, pool)
