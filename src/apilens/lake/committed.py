"""What is committed in a lake. Reads, and changes nothing; what changes a lake is lake.py."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from apilens.errors import LakeError
from apilens.lake import days
from apilens.lake.days import Sums
from apilens.lake.log import Log
from apilens.lake.storage import Hold, Storage, storage_at
from apilens.lake.tables import LATER, TABLES, TIME, Table
from apilens.objects import is_failure, words
from apilens.schema import BIN_S, INGESTS, SUMS, TIMESTAMP, table
from apilens.window import ALWAYS, Window

KEY_BYTES = 32
_COMMITTED = table({"path": pl.String, "first": TIMESTAMP, "last": TIMESTAMP})
#: Columns that lakes of 0.1.0 lack, and what their rows meant: each record was a line.
_NOT_IN_0_1_0: dict[str, dict[str, pl.Expr]] = {
    "ingests": {"record_lines": pl.col("read")},
    "rejects": {"record": pl.lit(0, pl.Int64)},
}


#: What a rejected record is known by.
_REJECT = ["unit_id", "source_offset", "record"]


class _Seen(threading.local):
    """What a thread has read of a lake, and the lock it holds.

    Each has its own: a table moves on when it is read again, and a commit takes place on what its own thread chose units from.
    """

    def __init__(self, storage: Storage) -> None:
        self.logs = {name: Log(storage, name) for name in TABLES}
        self.tables: dict[Table, DeltaTable] = {}
        self.entries = INGESTS.to_frame().with_columns(file=pl.lit("", pl.String))
        self.hold: Hold | None = None


class Committed:
    """Every reader sees whole units, and committed ones only. Several threads may use one at once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.storage = storage_at(root)
        self._seen = _Seen(self.storage)

    @cached_property
    def masking_key(self) -> bytes:
        """The key under which secrets are masked. Raises LakeError when it is lost: new hashes would not match old ones."""
        try:
            key = bytes.fromhex((self.storage.read("_apilens/masking.key") or b"").decode().strip())
            if len(key) != KEY_BYTES:
                raise ValueError
            return key
        except (OSError, ValueError):
            raise LakeError(
                f"{self.storage.uri('_apilens/masking.key')} is missing or damaged; masked values would no longer match those stored."
                " Restore it from a backup, or start a new lake with --lake DIR"
            ) from None

    @property
    def tables(self) -> list[Table]:
        """The tables that this lake has."""
        return [name for name in TABLES if name not in LATER or self._is_there(name)]

    def _is_there(self, name: Table) -> bool:
        log = f"{name}/_delta_log"
        return any(self.storage.read(f"{log}/{file}") is not None for file in (f"{0:020}.json", "_last_checkpoint"))

    def table(self, name: Table) -> DeltaTable:
        """The table at its latest version. The next call for it moves what this one gave on to the version that is the latest then."""
        known = self._seen.tables.get(name)
        if known is not None:
            try:
                known.update_incremental()  # reads what was committed since, where opening reads the whole log
            except (DeltaError, OSError):
                known = None  # the log was cleaned up meanwhile; what else is wrong, opening says
        if known is None:
            known = self._seen.tables[name] = self._open(name)
        return known

    def _open(self, name: Table) -> DeltaTable:
        try:
            return DeltaTable(self.storage.uri(name), storage_options=self.storage.table_options)
        except TableNotFoundError:
            raise LakeError(f"{self.root}: table {name} is missing; the lake is damaged") from None
        except (DeltaError, OSError) as error:
            if is_failure(error):
                raise LakeError(words(error, self.storage.uri(name))) from None
            if (cut_off := self.cut_off(name)) is not None:
                raise LakeError(
                    f"{self.storage.uri(cut_off)}: was cut off, by a power loss perhaps; what it was about to add does not count. Mend it with: apilens ingest YOUR.log --lake {self.root}"
                ) from None
            raise LakeError(f"{self.root}: table {name} cannot be read ({error}); the lake is damaged") from None

    def cut_off(self, name: Table) -> str | None:
        """The last entry of a table's log, where it is no JSON; None: it is."""
        folder = f"{name}/_delta_log"
        last = max((file for file in self.storage.names(folder) if file.endswith(".json")), default=None)
        text = None if last is None else self.storage.read(f"{folder}/{last}")
        try:
            for line in (text or b"").splitlines():
                json.loads(line)
        except ValueError:
            return f"{folder}/{last}"
        return None

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
            storage_options=self.storage.scan_options,
            credential_provider=None,
        )

    def ledger(self) -> pl.DataFrame:
        """schema.INGESTS of the units that are committed: the entry whose attempt `calls` carries."""
        attempts = self._attempts("calls")  # before the entries, as in committed
        return counting(self._read_entries(self.table("ingests")).drop("file"), attempts)

    def _read_entries(self, ingests: DeltaTable) -> pl.DataFrame:
        """schema.INGESTS, committed or not, and file: the file of the ledger it stands in. A file never changes and is read once."""
        paths = self._present("ingests", self._files_of("ingests", ingests))
        fresh = sorted(set(paths) - set(self._seen.entries["file"]))
        parts = [self._seen.entries.filter(pl.col("file").is_in(paths))]
        if fresh:
            parts.append(_as_now("ingests", self._scan(fresh, INGESTS, file="file")).collect())
        self._seen.entries = pl.concat(parts).sort("file", maintain_order=True)
        return self._seen.entries

    def rejects(self) -> pl.DataFrame:
        """schema.REJECTS of committed units that were not re-fed since."""
        rows = self.committed("rejects")
        open_rows = rows.filter(pl.col("resolves_unit_id").is_null())
        return open_rows.join(_resolved(rows), on=_REJECT, how="anti")

    def rejects_by_file(self) -> Iterator[tuple[str, pl.DataFrame, pl.Series]]:
        """A file of rejects at a time: its path in the table, its rows, committed or not, and which of them rejects() has."""
        attempts = self._attempts("calls").with_columns(counts=True)
        resolving = self.scan("rejects").filter(pl.col("resolves_unit_id").is_not_null()).drop("raw")
        resolved = _resolved(counting(_as_now("rejects", resolving).collect(), attempts)).unique()
        resolved = resolved.with_columns(resolved=True)
        for path in self._committed("rejects")["path"]:
            files = self._present("rejects", pl.DataFrame({"path": [path]}))
            rows = _as_now("rejects", self.scan_files("rejects", files)).collect()
            known = rows.select("unit_id", "attempt", "source_offset", "record", "resolves_unit_id")
            known = known.join(attempts, on=["unit_id", "attempt"], how="left", maintain_order="left")
            known = known.join(resolved, on=_REJECT, how="left", maintain_order="left")
            no_more = pl.any_horizontal(pl.col("resolves_unit_id", "resolved").is_not_null())
            yield path, rows, known.select(is_open=pl.col("counts").is_not_null() & ~no_more)["is_open"]

    def committed(self, name: Literal["ingests", "rejects"], files: Sequence[str] | None = None) -> pl.DataFrame:
        """The rows that count of a table, or of some of its files (named as by files())."""
        # A commit writes these rows before the attempt that makes them count: read the other way round, those of one that
        # takes place meanwhile would be missed.
        attempts = self._attempts("calls")
        rows = self.scan(name) if files is None else self.scan_files(name, files)
        return counting(_as_now(name, rows).collect(), attempts)

    def _attempts(self, name: Literal["calls", "rollups"]) -> pl.DataFrame:
        """Every unit's committed attempt: unit_id, attempt."""
        return self._seen.logs[name].transactions()

    def unfinished_rollups(self) -> list[tuple[str, int]]:
        """(unit_id, attempt) whose calls are committed while their rollups are not: a run died between the two."""
        missing = self.ledger().join(self._attempts("rollups"), on=["unit_id", "attempt"], how="anti")
        return list(missing.select("unit_id", "attempt").iter_rows())

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


def _as_now(name: Literal["ingests", "rejects"], rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with what those of an older lake lack."""
    return rows.with_columns(pl.coalesce(column, meant) for column, meant in _NOT_IN_0_1_0[name].items())


def _resolved(rows: pl.DataFrame) -> pl.DataFrame:
    """What the rows that resolve others among some rows of rejects resolve."""
    resolving = rows.filter(pl.col("resolves_unit_id").is_not_null())
    return resolving.select(pl.col("resolves_unit_id").alias("unit_id"), "source_offset", "record")


def counting(rows: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """The rows of committed attempts."""
    return rows.join(attempts, on=["unit_id", "attempt"], how="semi", maintain_order="left")


def _overlapping(committed: pl.DataFrame, window: Window) -> pl.DataFrame:
    """The files of Committed._committed that may hold rows of the window."""
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
