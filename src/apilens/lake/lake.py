"""The only place that commits. Layout, visibility and commit order: docs/decisions/0001-lake-units-and-identity.md."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from apilens.errors import LakeError, LockedError
from apilens.schema import CALLS, INGESTS, REJECTS, ROLLUPS
from apilens.window import ALWAYS, Window

#: Raised when an older apilens could not read what this one writes.
LAYOUT_VERSION = 1

Table = Literal["calls", "rollups", "rejects", "ingests"]
Actions = list[AddAction | RemoveAction]
TABLES: dict[Table, pl.Schema] = {"calls": CALLS, "rollups": ROLLUPS, "rejects": REJECTS, "ingests": INGESTS}
#: Time column by whose statistics readers prune files.
TIME: dict[str, str] = {"calls": "start_time", "rollups": "bin_start"}
_PARTITIONED = ("calls",)
#: How names of files begin that hold the rows of several units.
MERGED = "merged-"
#: Days, then months, over which one unit may spread before its partitions get coarser.
_MAX_PARTITIONS = 62
_KEY_BYTES = 32


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


def open_lake(path: str, *, create: bool = False) -> Lake:
    """The lake in folder `path`.

    Raises LakeError when there is none (unless create), or when a newer apilens laid it out: nothing is changed then.
    """
    root = Path(path)
    marker = root / "_apilens" / "lake.json"
    if not marker.exists():
        if not create:
            raise LakeError(f"{path}: no lake here; make one with: apilens ingest YOUR.log --lake {path}")
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            for name, schema in TABLES.items():
                _create_table(root / name, schema, name in _PARTITIONED)
            _create_key(marker.parent / "masking.key")
        except FileExistsError:
            pass  # another run is making the same lake; what it wrote first stays
        except OSError as error:
            raise LakeError(
                f"{path}: the lake cannot be made here: {error.strerror or error}; give --lake DIR"
            ) from None
        partial = marker.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"layout_version": LAYOUT_VERSION}) + "\n")
        partial.replace(marker)
    refuse_newer(root)
    return Lake(root)


def _create_key(path: Path) -> None:
    """Make the masking key, whole or not at all; one that is there stays."""
    if path.exists():
        return
    partial = path.with_suffix(f".{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(secrets.token_hex(_KEY_BYTES))
        os.link(partial, path)  # fails where another run was quicker
    finally:
        partial.unlink(missing_ok=True)


def refuse_newer(root: Path) -> None:
    """Raises LakeError when the lake at `root` was laid out by a newer apilens, or its marker is damaged."""
    marker = root / "_apilens" / "lake.json"
    if not marker.exists():
        return
    try:
        version = json.loads(marker.read_text())["layout_version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise LakeError(f'{marker}: is damaged; expected {{"layout_version": {LAYOUT_VERSION}}}') from None
    if not isinstance(version, int) or version > LAYOUT_VERSION:
        raise LakeError(
            f"{root}: the lake has layout version {version}, this apilens knows up to {LAYOUT_VERSION}; nothing was changed."
            " Upgrade with: pip install --upgrade apilens"
        )


def _create_table(path: Path, schema: pl.Schema, partitioned: bool) -> None:
    columns = schema.to_frame()
    if partitioned:
        columns = columns.with_columns(date=pl.lit(None, pl.Date))
    DeltaTable.create(
        str(path),
        Schema.from_arrow(columns.to_arrow().schema),
        mode="ignore",
        partition_by=["date"] if partitioned else None,
        configuration={"delta.checkpointInterval": "50"},
    )


class Lake:
    """Reads committed data only; every reader sees whole units."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._run = secrets.token_hex(8)

    @cached_property
    def masking_key(self) -> bytes:
        """The key under which secrets are masked. Raises LakeError when it is lost: new hashes would not match old ones."""
        try:
            key = bytes.fromhex((self.root / "_apilens" / "masking.key").read_text().strip())
            if len(key) != _KEY_BYTES:
                raise ValueError
            return key
        except (OSError, ValueError):
            raise LakeError(
                f"{self.root}/_apilens/masking.key is missing or damaged; masked values would no longer match those stored."
                " Restore it from a backup, or start a new lake with --lake DIR"
            ) from None

    # -- reading -------------------------------------------------------------------------------------------------

    def table(self, name: Table) -> DeltaTable:
        """The table at its latest version."""
        try:
            return DeltaTable(str(self.root / name))
        except TableNotFoundError:
            raise LakeError(f"{self.root}: table {name} is missing; the lake is damaged") from None
        except DeltaError as error:
            raise LakeError(f"{self.root}: table {name} cannot be read ({error}); the lake is damaged") from None

    def files(self, name: Table, window: Window = ALWAYS) -> list[str]:
        """Paths of the committed Parquet files that may hold rows of the window."""
        actions = pl.DataFrame(self.table(name).get_add_actions(flatten=True))
        if actions.is_empty():
            return []
        column = TIME.get(name)
        if column is not None and f"min.{column}" in actions.columns:
            if window.end is not None:
                actions = actions.filter((pl.col(f"min.{column}") < window.end).fill_null(True))
            if window.start is not None:
                # A rollup bin reaches past its start; one bin more does no harm.
                first = pl.col(f"max.{column}").dt.offset_by("5m" if name == "rollups" else "0s")
                actions = actions.filter((first >= window.start).fill_null(True))
        files = [self.root / name / path for path in actions["path"].sort()]
        if (lost := next((file for file in files if not file.exists()), None)) is not None:
            raise LakeError(
                f"{lost}: is missing; the lake is damaged. Restore the file, or start a new lake: --lake DIR"
            )
        return [str(file) for file in files]

    def scan(self, name: Table, window: Window = ALWAYS) -> pl.LazyFrame:
        """The committed rows of a table, as stored; for calls and rollups those whose start lies in the window."""
        files = self.files(name, window)
        schema = TABLES[name]
        if not files:
            return schema.to_frame().lazy()
        rows = pl.scan_parquet(
            files, schema=schema, missing_columns="insert", extra_columns="ignore", hive_partitioning=False
        )
        if name in TIME:
            column = pl.col(TIME[name])
            if window.start is not None:
                rows = rows.filter(column >= window.start)
            if window.end is not None:
                rows = rows.filter(column < window.end)
        return rows

    def ledger(self) -> pl.DataFrame:
        """schema.INGESTS of the units that are committed: the entry whose attempt `calls` carries."""
        entries = self.scan("ingests").collect()
        return self.committed(entries)

    def rejects(self) -> pl.DataFrame:
        """schema.REJECTS of committed units that were not re-fed since."""
        rows = self.committed(self.scan("rejects").collect())
        resolved = rows.filter(pl.col("resolves_unit_id").is_not_null()).select(
            pl.col("resolves_unit_id").alias("unit_id"), "source_offset", "record"
        )
        open_rows = rows.filter(pl.col("resolves_unit_id").is_null())
        return open_rows.join(resolved, on=["unit_id", "source_offset", "record"], how="anti")

    def committed(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.join(self._attempts("calls"), on=["unit_id", "attempt"], how="semi", maintain_order="left")

    def _attempts(self, name: Literal["calls", "rollups"]) -> pl.DataFrame:
        """Every unit's committed attempt: unit_id, attempt.

        These are the table's application transactions, read from its log at once; the library hands them out one by one and
        goes through the log each time (2.6 ms a unit at 60 commits).
        """
        log = self.root / name / "_delta_log"
        try:
            pointer = json.loads((log / "_last_checkpoint").read_text())
            since = int(pointer["version"])
            checkpoint = pl.read_parquet(log / f"{since:020}.checkpoint.parquet", columns=["txn"])["txn"].drop_nulls()
            known = checkpoint.struct.unnest().select(unit_id="appId", attempt=pl.col("version").cast(pl.Int64))
        except FileNotFoundError:
            since, known = -1, pl.DataFrame(schema={"unit_id": pl.String, "attempt": pl.Int64})
        commits = sorted(path for path in log.glob("*.json") if path.stem.isdigit() and int(path.stem) > since)
        actions = (json.loads(line) for path in commits for line in path.read_text().splitlines() if '"txn"' in line)
        later = [(action["txn"]["appId"], action["txn"]["version"]) for action in actions if "txn" in action]
        fresh = pl.DataFrame(later, schema={"unit_id": pl.String, "attempt": pl.Int64}, orient="row")
        return pl.concat([known, fresh]).unique("unit_id", keep="last", maintain_order=True)

    def read_text(self, name: str) -> str | None:
        """A file of what is no table (routes.json, forgotten.json); None: it was never written."""
        try:
            return (self.root / "_apilens" / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    # -- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lake's lock `name` on this machine; raises LockedError when another run has it and wait is False."""
        with (self.root / "_apilens" / f"{name}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(f"{self.root}: another run holds the {name} lock; this one changed nothing") from None
            yield

    def write(self, name: Table, rows: pl.DataFrame, unit_id: str, attempt: int) -> tuple[DataFile, ...]:
        """Write rows as Parquet files of a table without making them visible; one file per partition."""
        # Two runs that meet the same unit write files of their own; at most one of them is registered.
        stem = f"{_stem(unit_id)}-{attempt}-{self._run}"
        return tuple(self.write_file(name, part, partition, stem) for partition, part in self._partitions(name, rows))

    def write_file(
        self, name: Table, rows: pl.DataFrame, partition: dict[str, str], stem: str, *, level: int = 1
    ) -> DataFile:
        """Write rows of one partition as one Parquet file without making it visible; level: of the zstd compression.

        Files whose names end alike have the same columns.
        """
        folder = "/".join(f"{key}={value}" for key, value in partition.items())
        (self.root / name / folder).mkdir(exist_ok=True)
        if name == "calls":
            # A third of the writing went into columns that the format does not log; what a file lacks reads as null.
            rows = rows.select(column for column in rows if column.null_count() < rows.height)
        columns = sha256(",".join(rows.columns).encode()).hexdigest()[:8]
        path = f"{folder}/{stem}-{columns}.parquet" if folder else f"{stem}-{columns}.parquet"
        target = self.root / name / path
        try:
            rows.write_parquet(target, compression="zstd", compression_level=level)
        except (OSError, pl.exceptions.ComputeError) as error:
            target.unlink(missing_ok=True)
            raise LakeError(
                f"{target}: cannot be written ({error}); nothing of it counts. Make room, then run it again"
            ) from None
        column = TIME.get(name)
        first, last = (rows[column].min(), rows[column].max()) if column else (None, None)
        return DataFile(path, target.stat().st_size, rows.height, partition, first, last)  # type: ignore[arg-type]  # min() of a Datetime column is a datetime

    def _partitions(self, name: Table, rows: pl.DataFrame) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
        if rows.is_empty():
            return
        if name not in _PARTITIONED:
            yield {}, rows
            return
        day = rows["start_time"].dt.date()
        first, last = day.min(), day.max()
        if first == last:
            yield {"date": str(first)}, rows
            return
        period = day
        for step in ("1d", "1mo", "1y"):
            period = day.dt.truncate(step)
            if period.n_unique() <= _MAX_PARTITIONS:
                break
        for (start,), part in rows.with_columns(period.alias("date")).group_by("date", maintain_order=True):
            assert isinstance(start, date)
            yield {"date": start.isoformat()}, part.drop("date")

    def commit(self, units: Sequence[Unit]) -> None:
        """Make units visible, all or none: ledger and rejects first, then calls with the units' transactions, then rollups."""
        if not units:
            return
        entries = pl.DataFrame([unit.entry for unit in units], schema=INGESTS)
        written = [added(file) for file in self.write("ingests", entries, secrets.token_hex(16), 1)]
        # A run that died between these steps left rows of the same attempts; this commit would make them count.
        self.transact("ingests", [*_removes(self.table("ingests"), self._dead_entries(entries)), *written])
        dead = _removes(self.table("rejects"), [f"{_stem(unit.unit_id)}-{unit.attempt}-" for unit in units])
        rejects = [added(file) for unit in units for file in unit.rejects]
        if dead or rejects:
            self.transact("rejects", [*dead, *rejects])
        self._register("calls", units)
        self._register("rollups", units)

    def _dead_entries(self, entries: pl.DataFrame) -> list[str]:
        """Names of ledger files that hold one of these (unit, attempt): a commit is one file, all or nothing of it counts."""
        files = self.files("ingests")
        if not files:
            return []
        held = pl.scan_parquet(files, include_file_paths="file").select("unit_id", "attempt", "file")
        same = held.join(entries.lazy().select("unit_id", "attempt"), on=["unit_id", "attempt"], how="semi")
        return [Path(file).name for file in same.select(pl.col("file").unique()).collect()["file"]]

    def _register(self, name: Literal["calls", "rollups"], units: Sequence[Unit]) -> None:
        table = self.table(name)
        transactions = {unit.unit_id: unit.attempt for unit in units}
        replaced = [unit.unit_id for unit in units if unit.attempt > 1]
        for child in self._refed(replaced):
            # What was re-fed from the rejects of the attempt before goes with it; a higher attempt hides its ledger row.
            if (attempt := table.transaction_version(child)) is not None:
                transactions[child] = attempt + 1
                replaced.append(child)
        adds = [added(file, TIME[name]) for unit in units for file in (unit.calls if name == "calls" else unit.rollups)]
        removes = _removes(table, [f"{_stem(unit)}-" for unit in replaced])
        if replaced:
            # Compaction may have put their rows into files that hold others too.
            rewritten, rest = self.without(name, pl.col("unit_id").is_in(replaced), table, only=MERGED)
            removes, adds = [*removes, *rewritten], [*adds, *rest]
        self.transact(name, [*removes, *adds], [Transaction(unit, n) for unit, n in transactions.items()], table)

    def without(
        self, name: Table, drop: pl.Expr, table: DeltaTable, *, only: str = ""
    ) -> tuple[list[RemoveAction], list[AddAction]]:
        """Actions that take the rows for which `drop` holds out of a table; only: of files whose name begins with it.

        Files without such a row are left alone. Writes the others' remaining rows to new files.
        """
        removes, adds = [], []
        for file in pl.DataFrame(table.get_add_actions()).select("path", "size_bytes").iter_rows(named=True):
            if not Path(file["path"]).name.startswith(only):
                continue
            rows = pl.scan_parquet(self.root / name / file["path"], schema=TABLES[name], missing_columns="insert", hive_partitioning=False)  # fmt: skip
            hit = drop.fill_null(False)
            if not rows.select(hit.any()).collect().item():
                continue
            removes.append(removed(file["path"], file["size_bytes"]))
            left = rows.filter(~hit).collect()
            if left.height:
                stem = f"{only}{secrets.token_hex(16)}" if only else f"{Path(file['path']).stem}-{secrets.token_hex(4)}"
                adds.append(added(self.write_file(name, left, partition_of(file["path"]), stem), TIME.get(name)))
        return removes, adds

    def _refed(self, units: Sequence[str]) -> list[str]:
        """Units that hold what was re-fed from the rejects of `units`."""
        if not units:
            return []
        children = self.scan("rejects").filter(pl.col("resolves_unit_id").is_in(list(units)))
        return children.select(pl.col("unit_id").unique().sort()).collect()["unit_id"].to_list()

    def transact(
        self,
        name: Table,
        actions: Sequence[AddAction | RemoveAction],
        transactions: list[Transaction] | None = None,
        table: DeltaTable | None = None,
    ) -> None:
        table = table or self.table(name)
        table.create_write_transaction(
            list(actions),
            mode="append",
            schema=table.schema(),
            partition_by=["date"] if name in _PARTITIONED else None,
            commit_properties=CommitProperties(app_transactions=transactions),
        )

    def save_text(self, name: str, text: str) -> None:
        """Replace a file of what is no table, at once for every reader."""
        target = self.root / "_apilens" / name
        partial = target.with_suffix(f".{self._run}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)

    def unfinished_rollups(self) -> list[tuple[str, int]]:
        """(unit_id, attempt) whose calls are committed while their rollups are not: a run died between the two."""
        missing = self.ledger().join(self._attempts("rollups"), on=["unit_id", "attempt"], how="anti")
        return list(missing.select("unit_id", "attempt").iter_rows())

    def register_rollups(self, units: Sequence[Unit]) -> None:
        """Commit rollups that were rebuilt from committed calls; see unfinished_rollups."""
        self._register("rollups", units)


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


def _removes(table: DeltaTable, names: list[str]) -> list[RemoveAction]:
    """Actions that take every file whose name holds one of `names` out of a table."""
    if not names:
        return []
    actions = pl.DataFrame(table.get_add_actions(flatten=True))
    hit = actions.filter(pl.col("path").str.contains_any(names))
    return [removed(path, size) for path, size in hit.select("path", "size_bytes").iter_rows()]


def removed(path: str, size: int, *, data_change: bool = True) -> RemoveAction:
    """Take a file out of its table; data_change: whether rows go with it, and do not come back in other files."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return RemoveAction(path, data_change, now_ms, size, dict(partition_of(path)))


def partition_of(path: str) -> dict[str, str]:
    """The partition that a file's path names."""
    return dict(part.split("=", 1) for part in path.split("/")[:-1])


def _stem(unit_id: str) -> str:
    """The part of a file's name that says whose rows it holds; 128 bits of the content hash."""
    return unit_id[:32]
