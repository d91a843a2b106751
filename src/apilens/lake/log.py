"""The log of a Delta table: the attempts that count, and the actions that add files and take them out."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import polars as pl
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from apilens.errors import LakeError
from apilens.lake.storage import Storage
from apilens.lake.tables import DataFile, Table, partition_of
from apilens.objects import is_failure

Actions = list[AddAction | RemoveAction]
_TRANSACTIONS = pl.Schema({"unit_id": pl.String, "attempt": pl.Int64})
#: Commits read at once: a bucket answers each after some 20 ms, and there are up to 50 behind a checkpoint.
_READERS = 8


class Log:
    """The application transactions in a table's log.

    The library hands them out one by one and goes through the log each time (2.6 ms a unit at 60 commits). Read at once
    here, and a commit, which never changes, only once. seen: the version up to which they were read; latest: what they were.
    """

    def __init__(self, storage: Storage, name: Table) -> None:
        self._storage, self._folder = storage, f"{name}/_delta_log"
        self._since = self.seen = -1
        self.latest = _TRANSACTIONS.to_frame()
        self._known = _TRANSACTIONS.to_frame()  # up to the checkpoint `_since`
        self._commits: dict[int, list[tuple[str, int]]] = {}  # and behind it

    def transactions(self) -> pl.DataFrame:
        """unit_id, attempt: the latest of each unit."""
        since = self._last_checkpoint()
        if since > self._since:
            file = self._storage.uri(f"{self._folder}/{since:020}.checkpoint.parquet")
            scan = pl.scan_parquet(
                file, glob=False, storage_options=self._storage.scan_options, credential_provider=None
            )
            try:
                entries = scan.select(pl.col("txn").struct.field("appId", "version")).collect().drop_nulls("appId")
            except pl.exceptions.ComputeError as error:
                if is_failure(error):
                    raise
                raise LakeError(
                    f"{file}: cannot be read ({error}); the lake is damaged, restore it from a backup"
                ) from None
            self._known = entries.select(unit_id="appId", attempt=pl.col("version").cast(pl.Int64))
            self._since = since
            self._commits = {version: pairs for version, pairs in self._commits.items() if version > since}
        names = self._storage.names(self._folder, f"{self._since:020}.json" if self._since >= 0 else "")
        fresh = [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()]
        fresh = [version for version in fresh if version > self._since and version not in self._commits]
        with ThreadPoolExecutor(_READERS) as pool:
            for version, pairs in zip(fresh, pool.map(self._read, fresh), strict=True):
                if pairs is None:
                    return self.transactions()  # a vacuum took it; the checkpoint it made has it
                self._commits[version] = pairs
        self.seen = max(self._commits, default=self._since)
        later = [pair for version in sorted(self._commits) for pair in self._commits[version]]
        recent = pl.DataFrame(later, schema=_TRANSACTIONS, orient="row")
        self.latest = pl.concat([self._known, recent]).unique("unit_id", keep="last", maintain_order=True)
        return self.latest

    def _last_checkpoint(self) -> int:
        """The version of the last checkpoint; -1: there is none."""
        pointer = self._storage.read(f"{self._folder}/_last_checkpoint")
        try:
            return -1 if pointer is None else int(json.loads(pointer)["version"])
        except (ValueError, KeyError, TypeError):  # cut off by a power loss: the library, too, looks for itself then
            ends = ".checkpoint.parquet"
            names = self._storage.names(self._folder)
            return max((int(name.removesuffix(ends)) for name in names if name.endswith(ends)), default=-1)

    def _read(self, version: int) -> list[tuple[str, int]] | None:
        """The transactions of a commit; None: it is gone."""
        text = self._storage.read(f"{self._folder}/{version:020}.json")
        if text is None:
            return None
        try:
            actions = [json.loads(line) for line in text.decode().splitlines() if '"txn"' in line]
        except ValueError:
            return []  # cut off: who opens the table says so
        return [(action["txn"]["appId"], action["txn"]["version"]) for action in actions if "txn" in action]


def added(file: DataFile, time_column: str | None = None, *, data_change: bool = True) -> AddAction:
    stats: dict[str, Any] = {"numRecords": file.rows}
    if time_column is not None and file.first is not None and file.last is not None:
        stats |= {
            "minValues": {time_column: _iso(file.first)},
            "maxValues": {time_column: _iso(file.last)},
            "nullCount": {time_column: 0},
        }
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return AddAction(file.path, file.bytes, file.partition, now_ms, data_change, json.dumps(stats))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def removed(path: str, size: int, *, data_change: bool = True) -> RemoveAction:
    """Take a file out of its table; data_change: whether rows go with it, and do not come back in other files."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return RemoveAction(path, data_change, now_ms, size, dict(partition_of(path)))


def removals(table: DeltaTable, names: list[str]) -> list[RemoveAction]:
    """Actions that take every file whose name holds one of `names` out of a table."""
    if not names:
        return []
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    hit = actions.filter(pl.col("path").str.contains_any(names))
    return [removed(path, size) for path, size in hit.select("path", "size_bytes").iter_rows()]


def cause(error: BaseException) -> str:
    """The last of the causes that the library of the tables draws as a coloured tree, before the calls that led to it."""
    text = re.sub(r"\x1b\[\d*m", "", str(error)).partition("\n   0: ")[0]
    lines = [line.strip() for line in text.splitlines()]
    return next((line.removeprefix("↳").strip() for line in reversed(lines) if line), "no reason given")
