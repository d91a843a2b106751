"""The only place that commits. Layout, visibility and commit order: docs/decisions/0001-lake-units-and-identity.md."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from apilens.errors import ConflictError, LakeError, LockedError, UnansweredError, UsageError
from apilens.lake import days
from apilens.lake.committed import KEY_BYTES, Committed, counting
from apilens.lake.log import added, cause, removals, removed
from apilens.lake.storage import Storage, storage_at
from apilens.lake.tables import (
    LATER,
    MARKER,
    MERGED,
    PARTITIONED,
    TABLES,
    TIME,
    DataFile,
    Table,
    Unit,
    partition_of,
    stem_of,
)
from apilens.objects import is_failure, is_outage, is_url, words
from apilens.schema import INGESTS, METRIC_SERIES, METRICS
from apilens.window import ALWAYS, Window

#: Raised when an older apilens could not read what this one writes.
LAYOUT_VERSION = 1

#: Days, then months, over which one unit may spread before its partitions get coarser.
_MAX_PARTITIONS = 62
#: What scans have decided; may be deleted at any time.
DECIDED = "decided.bin"
#: Files of the ledger above which a commit puts those together that have at most so many rows: every run reads all of them, at
#: a third of a millisecond each. Picked.
_LEDGER_FILES, _LEDGER_ROWS = 32, 50_000
#: More than one commit takes in a table's log.
_ROOM = 256 << 10
#: What the library of the tables takes for something else in a path: escapes, separators, line ends.
_UNSAFE = re.compile(r"%[0-9A-Fa-f]{2}|[\\\x00-\x1f]")
#: In a URL also its other parts, and what those who list a bucket take for a pattern.
_UNSAFE_URL = re.compile(rf"{_UNSAFE.pattern}|[?#*\[\]]")


def open_lake(path: str, *, create: bool = False) -> Lake:
    """The lake in folder `path`, or under a URL (s3://bucket/prefix).

    Raises UsageError for a path that cannot hold one, LakeError when there is none (unless create), or when a newer apilens laid it out: nothing is changed then.
    """
    storage = storage_at(path)
    if storage.read(MARKER) is None:
        if not create:
            raise no_lake(path)
        unsafe = _UNSAFE_URL.search(path) if is_url(path) else _UNSAFE.search(str(Path(path).absolute()))
        if unsafe is not None:
            raise UsageError(
                f"--lake {path!r}: a lake cannot lie in a folder whose path holds {unsafe.group()!r}: Delta Lake reads its names as URLs; choose another"
            )
        try:
            storage.create("_apilens/masking.key", secrets.token_hex(KEY_BYTES).encode())
            for name, schema in TABLES.items():
                if name not in LATER:
                    _create_table(storage, name, schema)
                    storage.settle([f"{name}/_delta_log/{0:020}.json"])
            storage.create(MARKER, json.dumps({"layout_version": LAYOUT_VERSION}).encode() + b"\n")
        except (OSError, DeltaError) as error:
            reason = getattr(error, "strerror", None) or error
            raise LakeError(f"{path}: the lake cannot be made here: {reason}; give --lake DIR") from None
    refuse_newer(path)
    lake = Lake(path)
    if create:
        if not is_url(path):
            _mend_logs(lake)
        _add_columns(lake)
    return lake


def _mend_logs(lake: Lake) -> None:
    """Put an entry without actions in place of the last one of a log that a power loss has cut off: its writer never came to say it was done."""
    for name in lake.tables:
        if (cut_off := lake.cut_off(name)) is not None:
            with lake.lock("commit"):
                if lake.cut_off(name) == cut_off:
                    lake.storage.replace(cut_off, b'{"commitInfo":{"operation":"MEND"}}\n')


def _add_columns(lake: Lake) -> None:
    """Tell readers that go by the tables' own schema of the columns that this version has and the one that made the lake had not."""
    columns = sha256(repr([(name, list(schema.items())) for name, schema in TABLES.items()]).encode()).hexdigest()[:16]
    marker = json.loads(lake.storage.read(MARKER) or b"{}")
    if marker.get("columns") == columns:
        return
    with lake.lock("commit"):
        for name in lake.tables:
            table = lake.table(name)
            there = {field.name for field in table.schema().fields}
            fields = Schema.from_arrow(TABLES[name].to_frame().to_arrow().schema).fields
            missing = [field for field in fields if field.name not in there]
            if missing:
                with lake.explained(name, "its new columns cannot be written", "no row is changed"):
                    table.alter.add_columns(missing)
        lake.save_text("lake.json", json.dumps({**marker, "columns": columns}) + "\n")


def no_lake(path: str) -> LakeError:
    """What is said where a lake is read and there is none."""
    if not is_url(path) and Path(path).is_file():
        return LakeError(f"{path}: is a file; expected the folder of a lake, which apilens ingest makes: --lake DIR")
    return LakeError(f"{path}: no lake here; make one with: apilens ingest YOUR.log --lake {path}")


def refuse_newer(path: str) -> None:
    """Raises LakeError when the lake at `path` was laid out by a newer apilens, or its marker is damaged."""
    try:
        marker = storage_at(path).read(MARKER)
        version = LAYOUT_VERSION if marker is None else json.loads(marker)["layout_version"]
    except (OSError, ValueError, KeyError, TypeError):
        where = storage_at(path).uri(MARKER)
        raise LakeError(f'{where}: is damaged; expected {{"layout_version": {LAYOUT_VERSION}}}') from None
    if not isinstance(version, int) or version > LAYOUT_VERSION:
        raise LakeError(
            f"{path}: the lake has layout version {version}, this apilens knows up to {LAYOUT_VERSION}; nothing was changed."
            " Upgrade with: pip install --upgrade apilens"
        )


def _create_table(storage: Storage, name: Table, schema: pl.Schema) -> None:
    columns = schema.to_frame()
    if name in PARTITIONED:
        columns = columns.with_columns(date=pl.lit(None, pl.Date))
    try:
        DeltaTable.create(
            storage.uri(name),
            Schema.from_arrow(columns.to_arrow().schema),
            mode="ignore",
            partition_by=["date"] if name in PARTITIONED else None,
            configuration={"delta.checkpointInterval": "50"},
            storage_options=storage.table_options,
        )
    except CommitFailedError:
        # Another run made it at the same moment: only a table that was there before is ignored.
        if not DeltaTable.is_deltatable(storage.uri(name), storage.table_options):
            raise


class Lake(Committed):
    """A lake to read, as Committed says, and to change."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._run = secrets.token_hex(8)

    @contextmanager
    def lock(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lake's lock `name`; raises LockedError when another run has it and wait is False."""
        with self.storage.lock(name, wait=wait) as hold:
            if name != "commit":
                yield
                return
            self._seen.hold = hold
            try:
                yield
            finally:
                self._seen.hold = None

    def write(self, name: Table, rows: pl.DataFrame, unit_id: str, attempt: int) -> tuple[DataFile, ...]:
        """Write rows as Parquet files of a table without making them visible; one file per partition."""
        # Two runs that meet the same unit write files of their own; at most one of them is registered.
        stem = f"{stem_of(unit_id)}-{attempt}-{self._run}"
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
                f"{self.storage.uri(f'{name}/{path}')}: cannot be written ({error}); nothing of it counts. Make room or mend the rights, then run it again"
            ) from None
        column = TIME.get(name)
        first, last = (rows[column].min(), rows[column].max()) if column else (None, None)
        return DataFile(path, size, rows.height, partition, first, last)  # type: ignore[arg-type]  # min() of a Datetime column is a datetime

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

    def _partitions(self, name: Table, rows: pl.DataFrame) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
        if rows.is_empty():
            return
        if name not in PARTITIONED:
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
            rows = counting(rows, self._seen.logs["calls"].latest)
            if rows.height:
                written.append(added(self.write_file("ingests", rows, {}, f"{MERGED}{secrets.token_hex(16)}", level=3)))
            gone = pl.concat([gone, small])
        left = removals(ingests, [PurePosixPath(file).name for file in gone])
        self.transact("ingests", [*left, *written], table=ingests)
        known_rejects = removals(self.table("rejects"), [f"{stem_of(unit.unit_id)}-{unit.attempt}-" for unit in units])
        ours = {file.path: file for unit in units for file in unit.rejects}
        # Those of ours that are there already: the calls of this commit met a conflict, or a bucket's answer was lost.
        dead = [file for file in known_rejects if file.path not in ours]
        rejects = [added(ours[path]) for path in ours.keys() - {file.path for file in known_rejects}]
        if dead or rejects:
            self.transact("rejects", [*dead, *rejects])
        with self.storage.kept_free(_ROOM):  # on a full disk calls would be seen without their rollups
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
        removes = removals(table, [f"{stem_of(unit)}-" for unit in replaced])
        if replaced:
            # Compaction may have put their rows into files that hold others too.
            rewritten, rest = self.without(name, pl.col("unit_id").is_in(replaced), table, only=MERGED)
            removes, adds = [*removes, *rewritten], [*adds, *rest]
        self.transact(name, [*removes, *adds], [Transaction(unit, n) for unit, n in transactions.items()], table)

    def register_rollups(self, units: Sequence[Unit]) -> None:
        """Commit rollups that were rebuilt from committed calls; see unfinished_rollups."""
        self._register("rollups", units)

    def without(
        self, name: Table, drop: pl.Expr | dict[str, pl.Series], table: DeltaTable, *, only: str = ""
    ) -> tuple[list[RemoveAction], list[AddAction]]:
        """Actions that take the rows for which `drop` holds out of a table; only: of files whose name begins with it.

        drop: of each row, or by the path of a file, whether each of its rows is to go. Files without such a row are left alone.
        Writes the others' remaining rows to new files.
        """
        removes, adds = [], []
        for file in pl.DataFrame(table.get_add_actions()).select("path", "size_bytes").iter_rows(named=True):
            if not PurePosixPath(file["path"]).name.startswith(only):
                continue
            rows = self.scan_files(name, [self.storage.uri(f"{name}/{file['path']}")])
            if isinstance(drop, dict):
                if file["path"] not in drop:
                    continue
                left = rows.collect().filter(~drop[file["path"]])
            else:
                hit = drop.fill_null(False)
                if not rows.select(hit.any()).collect().item():
                    continue
                left = rows.filter(~hit).collect()
            removes.append(removed(file["path"], file["size_bytes"]))
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
        if table.version() != self._seen.logs[name].seen:
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

        Raises ConflictError when another run committed meanwhile, UnansweredError when a bucket did not say whether it did, LakeError
        when the commit cannot be written.
        """
        table = table or self.table(name)
        if self._seen.hold is not None:
            self._seen.hold.check()
        with self.explained(name, "the commit cannot be written", "nothing in it counts"):
            # What a commit names is on the disk before it, and the commit before the next one: whatever a power loss takes, it
            # takes from the end.
            self.storage.settle([f"{name}/{action.path}" for action in actions if isinstance(action, AddAction)])
            try:
                table.create_write_transaction(
                    list(actions),
                    mode="append",
                    schema=table.schema(),
                    partition_by=["date"] if name in PARTITIONED else None,
                    commit_properties=CommitProperties(app_transactions=transactions, max_commit_retries=0),
                )
            except CommitFailedError as error:
                raise ConflictError(
                    f"{self.root}: another run committed to {name} meanwhile ({error}); run it again"
                ) from None
            except (OSError, DeltaError) as error:
                if not is_outage(error):
                    raise
                raise UnansweredError(words(error, self.storage.uri(name))) from None
        self._settle_log(name, table.version() + 1)

    def _settle_log(self, name: Table, version: int) -> None:
        ends = (f"{version:020}.json", f"{version:020}.checkpoint.parquet", "_last_checkpoint")
        with self.explained(name, "what was committed cannot be brought to the disk", "a power loss may take it"):
            self.storage.settle([f"{name}/_delta_log/{end}" for end in ends])

    def shorten_log(self, name: Table) -> None:
        """Put the log of a table into a checkpoint and delete what of it is too old. Raises LakeError when that cannot be written."""
        table = self.table(name)
        with self.explained(name, "the checkpoint of its log cannot be written", "no row is changed"):
            table.create_checkpoint()
            self._settle_log(name, table.version())
            table.cleanup_metadata()

    @contextmanager
    def explained(self, name: Table, failed: str, state: str) -> Iterator[None]:
        """Turns what the library of the tables raises into a LakeError that says what failed, and in which state that leaves the table."""
        try:
            yield
        except (OSError, DeltaError) as error:
            if is_failure(error):
                raise LakeError(words(error, self.storage.uri(name))) from None
            raise LakeError(
                f"{self.storage.uri(name)}: {failed} ({cause(error)}); {state}. Make room or mend the rights, then run it again"
            ) from None

    def save_text(self, name: str, text: str) -> None:
        """Replace a file of what is no table, at once for every reader."""
        try:
            self.storage.replace(f"_apilens/{name}", text.encode())
        except OSError as error:
            raise LakeError(
                f"{self.storage.uri(f'_apilens/{name}')}: cannot be written ({error}). Make room or mend the rights, then run it again"
            ) from None

    def memorise(self, name: str, data: bytes) -> None:
        """Keep what could be made again, whole or not at all: a lake that takes no file does without it."""
        with suppress(OSError, LakeError):
            self.storage.replace(f"_apilens/{name}", data)
