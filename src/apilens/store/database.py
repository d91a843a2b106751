"""One database, SQLite or PostgreSQL: where it is, how it is opened and migrated, and its transactions."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import sqlalchemy as sa

from apilens import objects
from apilens.errors import LakeError, LockedError, UsageError
from apilens.lake import no_lake, refuse_newer

#: Every revision this version knows, oldest first (a test holds it equal to the migration files).
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007")
_VERSION_TABLE = "apilens_version"  # not Alembic's default name: a team's database may hold another application's
_BUSY_MS = 30_000
_INDEX_BYTES = 32 << 10  # of the index of a journal at least (SQLite, "WAL-mode File Format")
_ONE_WRITER = 7_308_043_225_310_753  # PostgreSQL advisory lock: one writer at a time, as SQLite has it by nature


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite state database at `path`."""
    return sa.URL.create("sqlite", database=str(path)).render_as_string()


def default_state(lake: str, *, create: bool = True) -> str:
    """The state database that belongs to a lake when `--state` does not name another.

    create: whether there may be nothing yet at `lake`. Raises LakeError for a lake of a newer version, and for none
    where one is only read: a mistyped folder must not look like an empty queue. UsageError for a lake on an object store.
    """
    if objects.is_url(lake):
        raise UsageError(
            f"--lake {lake}: a lake on an object store has no place for the state database;"
            " give --state sqlite:///FILE or --state postgresql+psycopg://USER@HOST/NAME"
        )
    if not create and not (Path(lake) / "_apilens").is_dir():
        raise no_lake(lake)
    refuse_newer(lake)
    return sqlite_url(Path(lake) / "_apilens" / "state.db")


class NoRoomError(LakeError):
    """The disk has no room for what SQLite writes beside a database, even to read it."""


def connect(url: str, *, create: bool, full: bool = False) -> tuple[sa.Engine, str]:
    """The engine of a state database, and its URL as it may be shown; raises as open_store, but for what its content says.

    full: nothing can be written beside its file.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError(f"--state {url!r} is no database URL; expected for example sqlite:///state.db") from None
    shown = objects.shown_url(url)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise UsageError(f"--state {shown}: expected sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME")
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        if not create and not Path(parsed.database).is_file():
            raise LakeError(
                f"--state {shown}: no state database here, expected a file that apilens made; is the name right? "
                "apilens scan and apilens feedback import make one"
            )
        try:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(f"--state {shown}: its folder cannot be made: {error.strerror or error}") from None
    read_only = None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        path = Path(parsed.database)
        # Nothing can be written there (a snapshot, a read-only mount, a full disk), but by others perhaps.
        read_only = path if full or (path.is_file() and not os.access(path.parent, os.W_OK)) else None
    try:
        engine = sa.create_engine(parsed) if read_only is None else _reader(read_only)
    except ModuleNotFoundError as missing:
        raise LakeError(f"--state {shown} needs {missing.name}; type: pip install 'apilens[postgres]'") from None
    except (sa.exc.ArgumentError, TypeError, ValueError) as wrong:
        raise UsageError(
            f"--state {shown} is no database URL: {wrong}; expected for example sqlite:///state.db"
        ) from None
    sa.event.listen(engine, "connect", _on_connect)
    sa.event.listen(engine, "begin", _on_begin)
    return engine, shown


def _reader(path: Path) -> sa.Engine:
    """An engine for a SQLite file beside which nothing can be written: each transaction opens it anew, as it is then.

    Raises LockedError at the end of a transaction during which somebody else wrote to the file, LakeError for one that cannot be
    read without writing.
    """

    def opened(_dialect: sa.Dialect, connection: sa.pool.ConnectionPoolEntry, *_: object) -> sqlite3.Connection:
        # Without the two files that its journal needs and that cannot be made here; where a writer has made them, with them.
        still = _is_still(path)
        if not still and not _has_index(path):
            raise LakeError(
                f"{path}: its journal, {_beside(path, 'wal').name}, holds what was not moved into it yet (a snapshot of a run, or one that was killed),"
                f" and nothing can be written in this folder to read it, or the disk is full. Copy both, and name the copy: cp {shlex.quote(str(path))}* FOLDER/;"
                f" --state sqlite:///FOLDER/{path.name}"
            )
        connection.info["file"] = _look(path) if still else None
        how = "mode=ro&immutable=1" if still else "mode=ro"
        return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, check_same_thread=False)

    def commit(db: sa.Connection) -> None:
        # With its journal, what is read is of one moment, whoever writes.
        if db.info["file"] not in (None, _look(path)):
            raise LockedError(f"{path}: another run wrote to it while this one read it; run it again")

    engine = sa.create_engine("sqlite://", poolclass=sa.NullPool)
    sa.event.listen(engine, "do_connect", opened)
    sa.event.listen(engine, "commit", commit)
    return engine


def _is_still(path: Path) -> bool:
    """Whether all that a SQLite file says is in itself: nobody has it open to write, and nothing is left in a `-wal`."""
    try:
        unmoved = _beside(path, "wal").stat().st_size > 0
    except OSError:
        return True
    return not unmoved and not _has_index(path)


def _has_index(path: Path) -> bool:
    """Whether the index of a journal is there: one that is shorter is what a full disk left of it, and nobody's."""
    index = _beside(path, "shm")
    return index.exists() and index.stat().st_size >= _INDEX_BYTES


def _beside(path: Path, what: Literal["wal", "shm"]) -> Path:
    """The file that SQLite keeps beside a database: its journal, or the index of that."""
    return path.with_name(f"{path.name}-{what}")


def _look(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


class Database:
    """Readers never wait; writers queue up, on PostgreSQL as on SQLite."""

    def __init__(self, engine: sa.Engine, shown: str, no_room: NoRoomError | None = None) -> None:
        """no_room: what is said to who would write."""
        self._engine = engine
        self._shown = shown
        self._no_room = no_room

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def migrate(self) -> None:
        """Bring the database to this version's form; see open_store."""
        with self._read() as db:
            revision = self._known_revision(db)
        if revision == REVISIONS[-1]:
            return
        if self._engine.dialect.name == "sqlite":
            with self._explained(), self._engine.connect() as db:
                db.connection.driver_connection.execute("PRAGMA journal_mode=WAL")  # type: ignore[union-attr] # sqlite3
        with self._write() as db:
            if self._known_revision(db) != REVISIONS[-1]:
                _upgrade(db)

    # -- transactions

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._explained(), self._engine.begin() as db:
            yield db

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        if self._no_room is not None:
            raise self._no_room
        with self._explained(), self._engine.execution_options(writes=True).begin() as db:
            yield db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The database's own errors in words."""
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:  # sqlite3's own: of statements that go around SQLAlchemy
            said = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).strip()
            text = said.splitlines()[0] if said else "no reason given"
            if "locked" in text:
                raise LockedError(
                    f"{self._shown}: another run held it for {_BUSY_MS // 1000} s; let it end and run this again"
                ) from error
            if "disk is full" in text or "readonly database" in text:
                raise LakeError(
                    f"{self._shown}: {text}; nothing was changed. Another one: --state sqlite:///FILE"
                ) from error
            if "disk I/O error" in text:  # as SQLite says it where its journal's index finds no room
                raise NoRoomError(
                    f"{self._shown}: the state database answers {text!r}, as on a disk that is full; nothing was changed."
                    " Make room or mend the disk, then run it again. Another one: --state sqlite:///FILE"
                ) from error
            raise LakeError(
                f"{self._shown}: the state database answers {text!r}; "
                "expected one that apilens made and may write. Another one: --state sqlite:///FILE"
            ) from error

    def _known_revision(self, db: sa.Connection) -> str | None:
        """The database's revision; None when it is empty. Raises LakeError when it is none of ours."""
        if not sa.inspect(db).has_table(_VERSION_TABLE):
            return None
        found = db.execute(sa.text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one_or_none()
        if found is not None and found not in REVISIONS:
            raise LakeError(
                f"{self._shown}: written by a newer apilens (revision {found}, this one knows up to {REVISIONS[-1]}); "
                "nothing was changed. Upgrade: pip install -U apilens"
            )
        return found


def _on_connect(connection: Any, _: object) -> None:
    """SQLite: leave BEGIN to us (the driver's own is deferred and would fail instead of wait), and wait when busy."""
    if hasattr(connection, "isolation_level") and type(connection).__module__.startswith("sqlite3"):
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")


def _on_begin(db: sa.Connection) -> None:
    writes = bool(db.get_execution_options().get("writes"))
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")


def _upgrade(db: sa.Connection) -> None:
    # Alembic takes 0.2 s to import; a database that is up to date never needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = db
    config.attributes["version_table"] = _VERSION_TABLE
    command.upgrade(config, "head")
