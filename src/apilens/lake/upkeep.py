"""Keeping a lake quick and small: few large files instead of many small ones, and nothing on disk that no reader needs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from apilens.lake import days
from apilens.lake.lake import Lake
from apilens.lake.log import added, removed
from apilens.lake.tables import MERGED, TIME, DataFile, Table, partition_of
from apilens.schema import ENDPOINT, METRIC_SERIES

#: Rows of one compacted file: some 100 MB of calls in memory, some 20 MB on disk. We picked it.
FILE_ROWS: dict[Table, int] = {
    "calls": 500_000,
    "rollups": 200_000,
    "rejects": 100_000,
    "ingests": 100_000,
    "metrics": 1_000_000,
}
#: Bytes in memory that are merged at once, and on disk that are read at once for it. Half a million usual calls are 141 MB (and 525
#: MiB of the process), with thirty headers in attributes 800 (and 1.7 GB), of which the disk has 20 or 180: it does not tell. Picked.
_MEMORY, _STEP = 160 << 20, 1 << 20
#: How names of merged files begin that such bytes have filled: with more rows they would not fit into memory.
_FULL = f"{MERGED}full-"
#: Rows of one endpoint stand together, so that a query for one reads few row groups (DETECTION, PERFORMANCE: twice as quick).
_ORDER: dict[Table, list[str]] = {
    "calls": [*ENDPOINT, "start_time"],
    "rollups": [*ENDPOINT, "bin_start"],
    "rejects": ["unit_id", "attempt", "source_offset", "record"],
    "ingests": ["ingested_at", "unit_id"],
    "metrics": [*METRIC_SERIES, "timestamp"],
}
#: Delta's own default: how long a reader of an older version may still need its files.
RETENTION_HOURS = 168


@dataclass(frozen=True)
class TableInfo:
    """What a table consists of. small_files: those that compaction would merge; log_files: commits since the checkpoint."""

    version: int
    files: int
    small_files: int
    bytes: int
    rows: int


def info(lake: Lake) -> dict[Table, TableInfo]:
    """What each table consists of, from its log; rows counts uncommitted ledger and reject rows too."""
    found: dict[Table, TableInfo] = {}
    for name in lake.tables:
        table, files = lake.table(name), _files(lake, name)
        small = sum(len(group) for group in _groups(name, files))
        found[name] = TableInfo(
            table.version(), files.height, small, int(files["size_bytes"].sum()), int(files["num_records"].sum())
        )
    return found


def compact(lake: Lake) -> dict[Table, tuple[int, int]]:
    """Merge small files, partition by partition; per table how many files went and how many took their place.

    Rows stay as they are; ledger and rejects lose those that never counted (of killed or replaced attempts). Readers see the
    table before or after. What another run replaces meanwhile is left for the next time. Every file of rollups gets its day file.
    """
    merged = {name: _compact_table(lake, name) for name in lake.tables}
    made = set(lake.storage.names(days.FOLDER))
    for path in _files(lake, "rollups")["path"]:
        if path not in made:
            with lake.lock("commit"):  # nothing that is being forgotten may come back in a day file
                if path in _files(lake, "rollups")["path"]:
                    lake.write_days(path)
    return merged


def _compact_table(lake: Lake, name: Table) -> tuple[int, int]:
    gone = came = 0
    for group in _groups(name, _files(lake, name)):
        while len(group) > 1:
            try:
                if name == "ingests" or name == "rejects":
                    # A commit in progress has its rows here before they count: nobody may be at it.
                    with lake.lock("commit"):
                        part, made = _merged(lake, name, group)
                        swapped = _swap(lake, name, part, made)
                else:
                    part, made = _merged(lake, name, group)
                    with lake.lock("commit"):
                        swapped = _swap(lake, name, part, made)
            except FileNotFoundError:
                break  # another run changed the group, and a vacuum without retention took what was in it
            if swapped:
                gone, came = gone + len(part), came + (made is not None)
            group = group[len(part) :]
    return gone, came


def _merged(lake: Lake, name: Table, group: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], DataFile | None]:
    """The first files of a group, as many as fit into memory, and their rows in one file, which nobody sees yet; None: there are none."""
    parts, taken, size = list[pl.DataFrame](), 0, 0
    while taken < len(group) and size < _MEMORY:
        step = pl.Series([file["size_bytes"] for file in group[taken:]]).cum_sum().search_sorted(_STEP) + 1
        files = [lake.storage.uri(f"{name}/{file['path']}") for file in group[taken : taken + step]]
        if name == "ingests" or name == "rejects":
            parts.append(lake.committed(name, files))
        else:
            parts.append(lake.scan_files(name, files).collect())
        taken, size = taken + len(files), size + int(parts[-1].estimated_size())
    rows = pl.concat(parts)
    if rows.is_empty():
        return group[:taken], None
    rows = rows.sort(_ORDER[name], nulls_last=False, maintain_order=True)
    stem = f"{_FULL if size >= _MEMORY else MERGED}{secrets.token_hex(16)}"
    return group[:taken], lake.write_file(name, rows, partition_of(group[0]["path"]), stem, level=3)


def _swap(lake: Lake, name: Table, group: list[dict[str, Any]], made: DataFile | None) -> bool:
    """Put a file in the place of its group; False: another run changed one of them since they were listed. The commit lock is held."""
    still = set(_files(lake, name)["path"])
    if not all(file["path"] in still for file in group):
        if made is not None:  # with rows, perhaps, that were forgotten meanwhile
            lake.storage.delete([f"{name}/{made.path}"])
        return False
    if made is not None and lake.storage.lost([lake.storage.uri(f"{name}/{made.path}")], ask=True) is not None:
        return False  # a vacuum without retention took it
    adds = [added(made, TIME.get(name), data_change=False)] if made is not None else []
    lake.transact(name, [*(removed(file["path"], file["size_bytes"], data_change=False) for file in group), *adds])
    return True


def _files(lake: Lake, name: Table) -> pl.DataFrame:
    """One row per file of the table's latest version: path, size_bytes, num_records, first (start time; null: not kept)."""
    files = pl.DataFrame(lake.table(name).get_add_actions(flatten=True))
    first = f"min.{TIME.get(name)}"
    return files.select(
        "path", "size_bytes", "num_records", first=pl.col(first) if first in files.columns else pl.lit(None)
    )


def _groups(name: Table, files: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    """Small files of one partition that together make one file of at most FILE_ROWS rows; each group has two or more.

    Those of about the same time go together: a reader of some hours or days leaves the others alone.
    """
    most = FILE_ROWS[name]
    is_small = (pl.col("num_records") <= most // 2) & ~pl.col("path").str.contains(f"(^|/){_FULL}")
    small = files.filter(is_small).with_columns(folder=pl.col("path").str.extract("^(.*)/").fill_null(""))
    for _, part in small.sort("first", "path").group_by("folder", maintain_order=True):
        bins = part.with_columns(group=pl.col("num_records").cum_sum() // most)
        for _, group in bins.group_by("group", maintain_order=True):
            if group.height > 1:
                yield group.to_dicts()


def vacuum(lake: Lake, *, retention_hours: int = RETENTION_HOURS) -> int:
    """Delete what no version younger than retention_hours needs, and what killed runs left; how many files that were."""
    with lake.lock("commit"):
        return sweep(lake, retention_hours)


def sweep(lake: Lake, retention_hours: int) -> int:
    """What vacuum does; the lock "commit" must be held."""
    gone = 0
    # Nothing is written before all of it is deleted: on a full disk this is what makes room. The library's own deleting
    # begins with a commit.
    for name in lake.tables:
        table = lake.table(name)
        with lake.explained(name, "what no reader needs cannot be told", "nothing of it was deleted"):
            unneeded = table.vacuum(retention_hours, dry_run=True, enforce_retention_duration=False, full=True)
        gone += lake.storage.delete([f"{name}/{path}" for path in unneeded])  # it names what is gone already, too
    # A day file goes with the file it is made of, and so does what a killed run left of one.
    there = set(lake.storage.names("rollups"))
    orphans = [name for name in lake.storage.names(days.FOLDER) if name not in there]
    gone += lake.storage.delete([f"{days.FOLDER}/{name}" for name in orphans])
    for name in lake.tables:
        lake.shorten_log(name)
    return gone


def last_ingest(lake: Lake) -> datetime | None:
    """When the last unit was committed; None: nothing was."""
    moment = lake.ledger()["ingested_at"].max()
    return moment if isinstance(moment, datetime) else None
