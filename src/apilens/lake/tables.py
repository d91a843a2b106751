"""The tables of a lake, and what is known of a file of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from apilens.lake import days
from apilens.schema import CALLS, INGESTS, METRICS, REJECTS, ROLLUPS

#: The file by which a folder is known to be a lake.
MARKER = "_apilens/lake.json"
Table = Literal["calls", "rollups", "rejects", "ingests", "metrics"]
TABLES: dict[Table, pl.Schema] = {
    "calls": CALLS,
    "rollups": ROLLUPS,
    "rejects": REJECTS,
    "ingests": INGESTS,
    "metrics": METRICS,
}
#: What a lake has its files in.
LAKE_FOLDERS = (*TABLES, days.FOLDER, "_apilens")
#: Made by the first import: lakes without metrics, and those of the first versions, have no such table.
LATER: tuple[Table, ...] = ("metrics",)
#: Time column by whose statistics readers prune files.
TIME: dict[str, str] = {"calls": "start_time", "rollups": "bin_start", "metrics": "timestamp"}
PARTITIONED = ("calls",)
#: How names of files begin that hold the rows of several units.
MERGED = "merged-"


@dataclass(frozen=True)
class DataFile:
    """A Parquet file that is written but not yet visible. path: relative to its table."""

    path: str
    bytes: int
    rows: int
    partition: dict[str, str]
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Unit:
    """A parsed piece, ready to be committed. entry: its row of the ledger; attempt > 1: replaces the attempt before."""

    entry: dict[str, Any]
    calls: tuple[DataFile, ...]
    rollups: tuple[DataFile, ...]
    rejects: tuple[DataFile, ...] = ()

    @property
    def unit_id(self) -> str:
        return str(self.entry["unit_id"])

    @property
    def attempt(self) -> int:
        return int(self.entry["attempt"])


def partition_of(path: str) -> dict[str, str]:
    """The partition that a file's path names."""
    return dict(part.split("=", 1) for part in path.split("/")[:-1])


def stem_of(unit_id: str) -> str:
    """The part of a file's name that says whose rows it holds; 128 bits of the content hash."""
    return unit_id[:32]
