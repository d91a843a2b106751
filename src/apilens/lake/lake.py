"""The only place that commits. Layout, visibility and commit order: docs/decisions/0001-lake-units-and-identity.md."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from apilens.errors import ConflictError, LakeError, LockedError, UsageError
from apilens.lake import days
from apilens.lake.days import Sums
from apilens.lake.storage import Hold, Storage, storage_at
from apilens.objects import is_url
from apilens.schema import BIN_S, CALLS, INGESTS, METRIC_SERIES, METRICS, REJECTS, ROLLUPS, SUMS, TIMESTAMP, table
from apilens.window import ALWAYS, Window

#: Raised when an older apilens could not read what this one writes.
LAYOUT_VERSION = 1

Table = Literal["calls", "rollups", "rejects", "ingests", "metrics"]
Actions = list[AddAction | RemoveAction]
TABLES: dict[Table, pl.Schema] = {
    "calls": CALLS,
    "rollups": ROLLUPS,
    "rejects": REJECTS,
    "ingests": INGESTS,
    "metrics": METRICS,
}
#: Made by the first import: lakes without metrics, and those of the first versions, have no such table.
LATER: tuple[Table, ...] = ("metrics",)
#: Time column by whose statistics readers prune files.
TIME: dict[str, str] = {"calls": "start_time", "rollups": "bin_start", "metrics": "timestamp"}
_PARTITIONED = ("calls",)
#: How names of files begin that hold the rows of several units.
MERGED = "merged-"
#: Days, then months, over which one unit may spread before its partitions get coarser.
_MAX_PARTITIONS = 62
_KEY_BYTES = 32
_MARKER = "_apilens/lake.json"
#: What scans have decided; may be deleted at any time.
DECIDED = "decided.bin"
_COMMITTED = table({"path": pl.String, "first": TIMESTAMP, "last": TIMESTAMP})
#: Files of the ledger above which a commit puts those together that have at most so many rows: every run reads all of them, at
#: a third of a millisecond each. Picked.
_LEDGER_FILES, _LEDGER_ROWS = 32, 50_000
#: Columns that lakes of 0.1.0 lack, and what their rows meant: each record was a line.
_NOT_IN_0_1_0: dict[str, dict[str, pl.Expr]] = {
    "ingests": {"record_lines": pl.col("read")},
    "rejects": {"record": pl.lit(0, pl.Int64)},
}
#: What the library of the tables takes for something else in a path: escapes, separators, line ends.
_UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|[\\\x00-\x1f]")
_TRANSACTIONS = pl.Schema({"unit_id": pl.String, "attempt": pl.Int64})
#: Commits read at once: a bucket answers each after some 20 ms, and there are up to 50 behind a checkpoint.
_LOG_READERS = 8


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
    """The lake in folder `path`, or under a URL (s3://bucket/prefix).

    Raises UsageError for a path that cannot hold one, LakeError when there is none (unless create), or when a newer apilens laid it out: nothing is changed then.
    """
    storage = storage_at(path)
    try:
        there = storage.read(_MARKER) is not None
    except OSError:
        there = False  # what stands in the way is told by whoever tries to make a lake
    if not there:
        if not create:
            raise LakeError(f"{path}: no lake here; make one with: apilens ingest YOUR.log --lake {path}")
        if (unsafe := _UNSAFE.search(path if is_url(path) else str(Path(path).absolute()))) is not None:
            raise UsageError(
                f"--lake {path!r}: a lake cannot lie in a folder whose path holds {unsafe.group()!r}: Delta Lake reads its names as URLs; choose another"
            )
        try:
            storage.create("_apilens/masking.key", secrets.token_hex(_KEY_BYTES).encode())
            for name, schema in TABLES.items():
                if name not in LATER:
                    _create_table(storage, name, schema)
            storage.create(_MARKER, json.dumps({"layout_version": LAYOUT_VERSION}).encode() + b"\n")
        except (OSError, DeltaError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LakeError(f"{path}: the lake cannot be made here: {reason}; give --lake DIR") from None
    refuse_newer(path)
    lake = Lake(path)
    if create:
        _add_columns(lake)
    return lake


def _add_columns(lake: Lake) -> None:
    """Tell readers that go by the tables' own schema of the columns that this version has and the one that made the lake had not."""
    columns = sha256(repr([(name, list(schema.items())) for name, schema in TABLES.items()]).encode()).hexdigest()[:16]
    marker = json.loads(lake.storage.read(_MARKER) or b"{}")
    if marker.get("columns") == columns:
        return
    with lake.lock("commit"):
        for name in lake.tables:
            table = lake.table(name)
            there = {field.name for field in table.schema().fields}
            fields = Schema.from_arrow(TABLES[name].to_frame().to_arrow().schema).fields
            missing = [field for field in fields if field.name not in there]
            try:
                if missing:
                    table.alter.add_columns(missing)
            except (OSError, DeltaError) as error:
                raise LakeError(f"{lake.storage.uri(name)}: cannot be written ({_cause(error)})") from None
        lake.save_text("lake.json", json.dumps({**marker, "columns": columns}) + "\n")


def refuse_newer(path: str) -> None:
    """Raises LakeError when the lake at `path` was laid out by a newer apilens, or its marker is damaged."""
    try:
        marker = storage_at(path).read(_MARKER)
        version = LAYOUT_VERSION if marker is None else json.loads(marker)["layout_version"]
    except (OSError, ValueError, KeyError, TypeError):
        where = storage_at(path).uri(_MARKER)
        raise LakeError(f'{where}: is damaged; expected {{"layout_version": {LAYOUT_VERSION}}}') from None
    if not isinstance(version, int) or version > LAYOUT_VERSION:
        raise LakeError(
            f"{path}: the lake has layout version {version}, this apilens knows up to {LAYOUT_VERSION}; nothing was changed."
            " Upgrade with: pip install --upgrade apilens"
        )


def _create_table(storage: Storage, name: Table, schema: pl.Schema) -> None:
    columns = schema.to_frame()
    if name in _PARTITIONED:
        columns = columns.with_columns(date=pl.lit(None, pl.Date))
    DeltaTable.create(
        storage.uri(name),
        Schema.from_arrow(columns.to_arrow().schema),
        mode="ignore",
        partition_by=["date"] if name in _PARTITIONED else None,
        configuration={"delta.checkpointInterval": "50"},
        storage_options=storage.options,
    )


class Lake:
    """Reads committed data only; every reader sees whole units."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.storage = storage_at(root)
        self._run = secrets.token_hex(8)
        self._logs = {name: _Log(self.storage, name) for name in TABLES}
        self._tables: dict[Table, DeltaTable] = {}
        self._hold: Hold | None = None
        self._entries = INGESTS.to_frame().with_columns(file=pl.lit("", pl.String))

    @cached_property
    def masking_key(self) -> bytes:
        """The key under which secrets are masked. Raises LakeError when it is lost: new hashes would not match old ones."""
        try:
            key = bytes.fromhex((self.storage.read("_apilens/masking.key") or b"").decode().strip())
            if len(key) != _KEY_BYTES:
                raise ValueError
            return key
        except (OSError, ValueError):
            raise LakeError(
                f"{self.storage.uri('_apilens/masking.key')} is missing or damaged; masked values would no longer match those stored."
                " Restore it from a backup, or start a new lake with --lake DIR"
            ) from None

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def tables(self) -> list[Table]:
        """The tables that this lake has."""
        return [name for name in TABLES if name not in LATER or self._is_there(name)]

    def _is_there(self, name: Table) -> bool:
        log = f"{name}/_delta_log"
        return any(self.storage.read(f"{log}/{file}") is not None for file in (f"{0:020}.json", "_last_checkpoint"))

    def table(self, name: Table) -> DeltaTable:
        """The table at its latest version. The next call for it moves what this one gave on to the version that is the latest then."""
        known = self._tables.get(name)
        if known is not None:
            try:
                known.update_incremental()  # reads what was committed since, where opening reads the whole log
            except (DeltaError, OSError):
                known = None  # the log was cleaned up meanwhile; what else is wrong, opening says
        if known is None:
            known = self._tables[name] = self._open(name)
        return known

    def _open(self, name: Table) -> DeltaTable:
        try:
            return DeltaTable(self.storage.uri(name), storage_options=self.storage.options)
        except TableNotFoundError:
            raise LakeError(f"{self.root}: table {name} is missing; the lake is damaged") from None
        except (DeltaError, OSError) as error:
            raise LakeError(f"{self.root}: table {name} cannot be read ({error}); the lake is damaged") from None

    def files(self, name: Table, window: Window = ALWAYS) -> list[str]:
        """Paths of the committed Parquet files that may hold rows of the window."""
        if name in LATER and not self._is_there(name):
            return []
        return self._present(name, _overlapping(self._committed(name), window))

    def calls_of(self, window: Window) -> tuple[list[str], list[str]]:
        """The files of calls that may hold rows of the window: those that hold no others, and those that it cuts."""
        committed = _overlapping(self._committed("calls"), window)
        # The library of the tables may keep the last moment to the millisecond.
        last = pl.col("last").dt.offset_by("1ms")
        after = pl.lit(True) if window.start is None else pl.col("first") >= window.start
        before = pl.lit(True) if window.end is None else last < window.end
        inside = (after & before).fill_null(False)
        return self._present("calls", committed.filter(inside)), self._present("calls", committed.filter(~inside))

    def _committed(self, name: Table) -> pl.DataFrame:
        """One row per committed file: path (in its table), first and last: its start times, null where none are kept."""
        return self._files_of(name, self.table(name))

    @staticmethod
    def _files_of(name: Table, table: DeltaTable) -> pl.DataFrame:
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        if actions.is_empty():
            return _COMMITTED.to_frame()
        times = {end: f"{side}.{TIME.get(name)}" for end, side in (("first", "min"), ("last", "max"))}
        known = {end: pl.col(column) for end, column in times.items() if column in actions.columns}
        found = actions.select("path", **{end: known.get(end, pl.lit(None)) for end in times}).cast(_COMMITTED)
        if name == "rollups":  # a bin reaches past its start; one bin more does no harm
            found = found.with_columns(pl.col("last").dt.offset_by(f"{BIN_S}s"))
        return found.sort("path")

    def _present(self, name: Table, committed: pl.DataFrame) -> list[str]:
        files = [self.storage.uri(f"{name}/{path}") for path in committed["path"]]
        if (lost := self.storage.lost(files)) is not None:
            raise LakeError(
                f"{lost}: is missing; the lake is damaged. Restore the file, or start a new lake: --lake DIR"
            )
        return files

    def sums(self, window: Window = ALWAYS) -> Sums:
        """Where the rollups of a window are read with the fewest rows: whole days from day files, where there are any."""
        committed = _overlapping(self._committed("rollups"), window)
        made = pl.col("path").is_in(self.storage.names(days.FOLDER))
        summed, whole = committed.filter(made), days.whole_days(window)
        if whole is None or summed.is_empty():
            return Sums(None, [], [], self._present("rollups", committed))
        early = pl.lit(False) if whole.start is None else pl.col("first") < whole.start
        late = pl.lit(False) if whole.end is None else pl.col("last") > whole.end
        return Sums(
            whole,
            [self.storage.uri(f"{days.FOLDER}/{path}") for path in _overlapping(summed, whole)["path"]],
            self._present("rollups", summed.filter((early | late).fill_null(True))),
            self._present("rollups", committed.filter(~made)),
        )

    def scan_sums(self, window: Window = ALWAYS) -> pl.LazyFrame:
        """schema.SUMS of the window: whole days where there are day files, bins elsewhere; every call is in one row.

        What adds up comes out as from scan("rollups"), but for the last digits of sums of floating-point numbers.
        """
        sums = self.sums(window)
        inside = pl.lit(False) if sums.whole is None else _within("bin_start", sums.whole)
        parts = [self._scan(sums.days, SUMS).filter(inside)] if sums.days else []
        for files, condition in ((sums.cut, ~inside), (sums.bins, pl.lit(True))):
            if files:
                rows = self.scan_files("rollups", files).filter(_within("bin_start", window), condition)
                parts.append(rows.select(pl.col(name).cast(dtype) for name, dtype in SUMS.items()))
        return pl.concat(parts) if parts else SUMS.to_frame().lazy()

    def write_days(self, path: str) -> None:
        """Make the day file of a file of rollups (its path in the table), whole or not at all. The lock "commit" must be held."""
        rows = self.scan_files("rollups", [self.storage.uri(f"rollups/{path}")]).collect()
        data = BytesIO()
        days.by_day(rows).write_parquet(data, compression="zstd", compression_level=3)
        try:
            self.storage.replace(f"{days.FOLDER}/{path}", data.getvalue())
        except OSError as error:
            raise LakeError(
                f"{self.storage.uri(f'{days.FOLDER}/{path}')}: cannot be written ({error}). Make room, then run it again"
            ) from None

    def scan(self, name: Table, window: Window = ALWAYS) -> pl.LazyFrame:
        """The committed rows of a table, as stored; for calls and rollups those whose start lies in the window."""
        files = self.files(name, window)
        schema = TABLES[name]
        if not files:
            return schema.to_frame().lazy()
        rows = self.scan_files(name, files)
        return rows.filter(_within(TIME[name], window)) if name in TIME and window != ALWAYS else rows

    def scan_files(self, name: Table, files: Sequence[str]) -> pl.LazyFrame:
        """The rows of some files of a table, named as by files()."""
        return self._scan(files, TABLES[name])

    def _scan(self, files: Sequence[str], schema: pl.Schema, *, file: str | None = None) -> pl.LazyFrame:
        return pl.scan_parquet(
            list(files),
            glob=False,
            schema=schema,
            include_file_paths=file,
            missing_columns="insert",
            extra_columns="ignore",
            hive_partitioning=False,
            storage_options=self.storage.options,
            credential_provider=None,
        )

    def ledger(self) -> pl.DataFrame:
        """schema.INGESTS of the units that are committed: the entry whose attempt `calls` carries."""
        attempts = self._attempts("calls")  # before the entries, as in committed
        return _counting(self._read_entries(self.table("ingests")).drop("file"), attempts)

    def _read_entries(self, ingests: DeltaTable) -> pl.DataFrame:
        """schema.INGESTS, committed or not, and file: the file of the ledger it stands in. A file never changes and is read once."""
        paths = self._present("ingests", self._files_of("ingests", ingests))
        fresh = sorted(set(paths) - set(self._entries["file"]))
        parts = [self._entries.filter(pl.col("file").is_in(paths))]
        if fresh:
            parts.append(_as_now("ingests", self._scan(fresh, INGESTS, file="file")).collect())
        self._entries = pl.concat(parts).sort("file", maintain_order=True)
        return self._entries

    def rejects(self) -> pl.DataFrame:
        """schema.REJECTS of committed units that were not re-fed since."""
        rows = self.committed("rejects")
        resolved = rows.filter(pl.col("resolves_unit_id").is_not_null()).select(
            pl.col("resolves_unit_id").alias("unit_id"), "source_offset", "record"
        )
        open_rows = rows.filter(pl.col("resolves_unit_id").is_null())
        return open_rows.join(resolved, on=["unit_id", "source_offset", "record"], how="anti")

    def committed(self, name: Literal["ingests", "rejects"], files: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows that count of a table, or of some of its files (named as by files())."""
        # A commit writes these rows before the attempt that makes them count: read the other way round, those of one that
        # takes place meanwhile would be missed.
        attempts = self._attempts("calls")
        rows = self.scan(name) if files is None else self.scan_files(name, files)
        return _counting(_as_now(name, rows).collect(), attempts)

    def _attempts(self, name: Literal["calls", "rollups"]) -> pl.DataFrame:
        """Every unit's committed attempt: unit_id, attempt."""
        return self._logs[name].transactions()

    def read_text(self, name: str) -> str | None:
        """A file of what is no table (routes.json, forgotten.json); None: it was never written."""
        data = self.storage.read(f"_apilens/{name}")
        return None if data is None else data.decode()

    def recall(self, name: str) -> bytes | None:
        """What memorise() kept under a name; None: nothing, or it cannot be read."""
        try:
            return self.storage.read(f"_apilens/{name}")
        except (OSError, LakeError):
            return None

    # -- writing -------------------------------------------------------------------------------------------------

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lake's lock `name`; raises LockedError when another run has it and wait is False."""
        with self.storage.lock(name, wait=wait) as hold:
            if name != "commit":
                yield
                return
            self._hold = hold
            try:
                yield
            finally:
                self._hold = None

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
        if name == "calls":
            # A third of the writing went into columns that the format does not log; what a file lacks reads as null.
            rows = rows.select(column for column in rows if column.null_count() < rows.height)
        columns = sha256(",".join(rows.columns).encode()).hexdigest()[:8]
        path = f"{folder}/{stem}-{columns}.parquet" if folder else f"{stem}-{columns}.parquet"
        try:
            size = self.storage.write_parquet(f"{name}/{path}", rows, level)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise LakeError(
                f"{self.storage.uri(f'{name}/{path}')}: cannot be written ({error}); nothing of it counts. Make room, then run it again"
            ) from None
        column = TIME.get(name)
        first, last = (rows[column].min(), rows[column].max()) if column else (None, None)
        return DataFile(path, size, rows.height, partition, first, last)  # type: ignore[arg-type]  # min() of a Datetime column is a datetime

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
        """Make units visible, all or none: ledger and rejects first, then calls with the units' transactions, then rollups.

        Raises ConflictError when another run committed since the ledger was read, LockedError when one deleted files of these units.
        """
        if not units:
            return
        self._still_there(units)
        ingests = self.table("ingests")
        self._unchanged("calls", self.table("calls"))
        entries = pl.DataFrame([unit.entry for unit in units], schema=INGESTS)
        written = [added(file) for file in self.write("ingests", entries, secrets.token_hex(16), 1)]
        known = self._read_entries(ingests)
        # A run that died between these steps left rows of the same attempts; this commit would make them count.
        gone = known.join(entries, on=["unit_id", "attempt"], how="semi")["file"].unique()
        sizes = known.filter(~pl.col("file").is_in(gone.implode())).group_by("file").len()
        small = sizes.filter(pl.col("len") <= _LEDGER_ROWS)["file"]
        if small.len() > _LEDGER_FILES:
            # Not in one file with this commit's, which goes as a whole should this run die before its calls are committed.
            rows = known.filter(pl.col("file").is_in(small.implode())).drop("file")
            rows = _counting(rows, self._logs["calls"].latest)
            if rows.height:
                written.append(added(self.write_file("ingests", rows, {}, f"{MERGED}{secrets.token_hex(16)}", level=3)))
            gone = pl.concat([gone, small])
        left = _removes(ingests, [PurePosixPath(file).name for file in gone])
        self.transact("ingests", [*left, *written], table=ingests)
        dead = _removes(self.table("rejects"), [f"{_stem(unit.unit_id)}-{unit.attempt}-" for unit in units])
        rejects = [added(file) for unit in units for file in unit.rejects]
        if dead or rejects:
            self.transact("rejects", [*dead, *rejects])
        self._register("calls", units)
        self._register("rollups", units)

    def _still_there(self, units: Sequence[Unit]) -> None:
        """Raises LockedError when a file is gone: a table that names one cannot be read any more."""
        named: list[tuple[Table, tuple[DataFile, ...]]] = []
        for unit in units:
            named += [("calls", unit.calls), ("rollups", unit.rollups), ("rejects", unit.rejects)]
        files = [self.storage.uri(f"{name}/{file.path}") for name, written in named for file in written]
        if (gone := self.storage.lost(files, ask=True)) is not None:
            raise LockedError(
                f"{gone}: another run (forget, vacuum) deleted it before it was committed; what was committed stays, run it again"
            )

    def add_metrics(self, samples: pl.DataFrame, import_id: str) -> int:
        """Keep samples of schema.METRICS; how many of them were there already (same series and moment: the first one stays)."""
        with self.lock("commit"):
            if not self._is_there("metrics"):
                _create_table(self.storage, "metrics", METRICS)
            table = self.table("metrics")
            first, last = samples["timestamp"].min(), samples["timestamp"].max()
            keys = [*METRIC_SERIES, "timestamp"]
            window = ALWAYS
            if isinstance(first, datetime) and isinstance(last, datetime):
                window = Window(first, last + timedelta(microseconds=1))
            known = self.scan("metrics", window).select(keys).collect()
            once = samples.unique(keys, keep="first", maintain_order=True)
            fresh = once.join(known, on=keys, how="anti", nulls_equal=True, maintain_order="left")
            if fresh.height:
                files = self.write("metrics", fresh.select(METRICS.names()), import_id, 1)
                self.transact("metrics", [added(file, TIME["metrics"]) for file in files], table=table)
        return samples.height - fresh.height

    def _register(self, name: Literal["calls", "rollups"], units: Sequence[Unit]) -> None:
        table = self.table(name)
        if name == "calls":
            self._unchanged(name, table)
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
            if not PurePosixPath(file["path"]).name.startswith(only):
                continue
            rows = self.scan_files(name, [self.storage.uri(f"{name}/{file['path']}")])
            hit = drop.fill_null(False)
            if not rows.select(hit.any()).collect().item():
                continue
            removes.append(removed(file["path"], file["size_bytes"]))
            left = rows.filter(~hit).collect()
            if left.height:
                stem = (
                    f"{only}{secrets.token_hex(16)}"
                    if only
                    else f"{PurePosixPath(file['path']).stem}-{secrets.token_hex(4)}"
                )
                adds.append(added(self.write_file(name, left, partition_of(file["path"]), stem), TIME.get(name)))
        return removes, adds

    def _unchanged(self, name: Table, table: DeltaTable) -> None:
        """Raises ConflictError when a table is not the one whose transactions were read: units were chosen by those."""
        if table.version() != self._logs[name].seen:
            raise ConflictError(f"{self.root}: another run committed after the ledger was read; run it again")

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
        """Commit on top of the version of `table` (None: the latest) and of no other.

        Raises ConflictError when another run committed meanwhile, LakeError when the commit cannot be written.
        """
        table = table or self.table(name)
        if self._hold is not None:
            self._hold.check()
        try:
            table.create_write_transaction(
                list(actions),
                mode="append",
                schema=table.schema(),
                partition_by=["date"] if name in _PARTITIONED else None,
                commit_properties=CommitProperties(app_transactions=transactions, max_commit_retries=0),
            )
        except CommitFailedError as error:
            raise ConflictError(
                f"{self.root}: another run committed to {name} meanwhile ({error}); run it again"
            ) from None
        except (OSError, DeltaError) as error:
            raise LakeError(
                f"{self.storage.uri(name)}: the commit cannot be written ({_cause(error)}); nothing in it counts. Make room or mend the rights, then run it again"
            ) from None

    def save_text(self, name: str, text: str) -> None:
        """Replace a file of what is no table, at once for every reader."""
        try:
            self.storage.replace(f"_apilens/{name}", text.encode())
        except OSError as error:
            raise LakeError(f"{self.storage.uri(f'_apilens/{name}')}: cannot be written ({error})") from None

    def memorise(self, name: str, data: bytes) -> None:
        """Keep what could be made again, whole or not at all: a lake that takes no file does without it."""
        with suppress(OSError, LakeError):
            self.storage.replace(f"_apilens/{name}", data)

    def unfinished_rollups(self) -> list[tuple[str, int]]:
        """(unit_id, attempt) whose calls are committed while their rollups are not: a run died between the two."""
        missing = self.ledger().join(self._attempts("rollups"), on=["unit_id", "attempt"], how="anti")
        return list(missing.select("unit_id", "attempt").iter_rows())

    def register_rollups(self, units: Sequence[Unit]) -> None:
        """Commit rollups that were rebuilt from committed calls; see unfinished_rollups."""
        self._register("rollups", units)


def _as_now(name: Literal["ingests", "rejects"], rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with what those of an older lake lack."""
    return rows.with_columns(pl.coalesce(column, meant) for column, meant in _NOT_IN_0_1_0[name].items())


def _counting(rows: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """The rows of committed attempts."""
    return rows.join(attempts, on=["unit_id", "attempt"], how="semi", maintain_order="left")


def _overlapping(committed: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The files of Lake._committed that may hold rows of the window."""
    if window.end is not None:
        committed = committed.filter((pl.col("first") < window.end).fill_null(True))
    if window.start is not None:
        committed = committed.filter((pl.col("last") >= window.start).fill_null(True))
    return committed


def _within(column: str, window: Window) -> pl.Expr:
    """Whether a time lies in [start, end)."""
    time = pl.col(column)
    after = pl.lit(True) if window.start is None else time >= window.start
    return after if window.end is None else after & (time < window.end)


class _Log:
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
        pointer = self._storage.read(f"{self._folder}/_last_checkpoint")
        since = -1 if pointer is None else int(json.loads(pointer)["version"])
        if since > self._since:
            file = self._storage.uri(f"{self._folder}/{since:020}.checkpoint.parquet")
            scan = pl.scan_parquet(file, glob=False, storage_options=self._storage.options, credential_provider=None)
            entries = scan.select(pl.col("txn").struct.field("appId", "version")).collect().drop_nulls("appId")
            self._known = entries.select(unit_id="appId", attempt=pl.col("version").cast(pl.Int64))
            self._since = since
            self._commits = {version: pairs for version, pairs in self._commits.items() if version > since}
        names = self._storage.names(self._folder, f"{self._since:020}.json" if self._since >= 0 else "")
        fresh = [int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()]
        fresh = [version for version in fresh if version > self._since and version not in self._commits]
        with ThreadPoolExecutor(_LOG_READERS) as pool:
            for version, pairs in zip(fresh, pool.map(self._read, fresh), strict=True):
                if pairs is None:
                    return self.transactions()  # a vacuum took it; the checkpoint it made has it
                self._commits[version] = pairs
        self.seen = max(self._commits, default=self._since)
        later = [pair for version in sorted(self._commits) for pair in self._commits[version]]
        recent = pl.DataFrame(later, schema=_TRANSACTIONS, orient="row")
        self.latest = pl.concat([self._known, recent]).unique("unit_id", keep="last", maintain_order=True)
        return self.latest

    def _read(self, version: int) -> list[tuple[str, int]] | None:
        """The transactions of a commit; None: it is gone."""
        text = self._storage.read(f"{self._folder}/{version:020}.json")
        if text is None:
            return None
        actions = (json.loads(line) for line in text.decode().splitlines() if '"txn"' in line)
        return [(action["txn"]["appId"], action["txn"]["version"]) for action in actions if "txn" in action]


def _cause(error: BaseException) -> str:
    """The last of the causes that the library of the tables draws as a coloured tree."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
    return next((line.removeprefix("↳").strip() for line in reversed(lines) if line), "no reason given")


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
