"""Where a lake lies: a folder, or a prefix of a bucket. The same few operations on both; nothing else knows which one it is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl

from apilens import objects
from apilens.errors import ConflictError, LakeError, LockedError, UsageError

if TYPE_CHECKING:
    import duckdb
    from obstore.store import ObjectStore

#: How long a lock in a bucket outlives the process that held it. Picked: a killed run delays the next one by half a minute.
LEASE_S = 30.0
_RENEWALS = 3  # of a lease, before it would end
_POLL_S = 0.2
#: Requests on their way at once: a bucket answers each after some 20 ms.
_REQUESTS = 8
#: A disk on which a write failed and that has less than this left is full.
_FULL_BYTES = 64 << 10
#: Rows of a block at most, but of the shortest lines. Of such a file the table's log says when it begins and ends, which is all that
#: readers ask; to look for the least and greatest value of every column took a seventh of the writing. In longer files, which have
#: several row groups, readers pass over those that lie elsewhere.
_SHORT = 1 << 18
_NULLS_ONLY = {"min": False, "max": False, "distinct_count": False, "null_count": True}


class Hold(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Raises LakeError when the lock may have gone to another run meanwhile."""


class Storage(Protocol):
    """Paths are relative to the lake, with slashes."""

    #: For the libraries that open the lake's files by themselves: that of the tables, and Polars.
    table_options: dict[str, str] | None
    scan_options: dict[str, Any] | None

    def uri(self, path: str) -> str:
        """What names a file of the lake for those libraries."""

    def read(self, path: str) -> bytes | None:
        """All bytes of a file; None: there is none."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file at once for every reader, in place of the one that is there."""

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that only its owner may read, whole or not at all; False: another one is there, and stays."""

    def names(self, folder: str, after: str = "") -> list[str]:
        """Names in a folder that sort behind `after`, sorted; none of a folder that is not there."""

    def delete(self, paths: Sequence[str]) -> int:
        """Delete files, and how many there were; those that are not there are no error."""

    def settle(self, paths: Sequence[str]) -> None:
        """Return when files, and their names, would be there after a power loss; those that are not there are no error."""

    def write_parquet(self, path: str, rows: pl.DataFrame, level: int) -> int:
        """Write rows as one zstd-compressed Parquet file, whole or not at all; its bytes."""

    def kept_free(self, size: int) -> AbstractContextManager[None]:
        """Context: so many bytes of the disk, which are free again at its end. Raises LakeError where there are fewer."""

    def lost(self, files: Sequence[str], *, ask: bool = False) -> str | None:
        """The first of these files (as named by uri) that is not there, as far as that is cheap to know; ask: in any case."""

    def lock(self, name: str, *, wait: bool) -> Any:
        """Context: hold the lock `name`. Raises LockedError when another run has it and wait is False."""

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection read the lake's files."""


def _write_parquet(rows: pl.DataFrame, to: Path | BytesIO, level: int) -> None:
    """Write rows; categories, whose numbers are written as they are, read as the text that they stand for."""
    told = None
    if text := {name: pl.String for name, dtype in rows.schema.items() if isinstance(dtype, pl.Categorical)}:
        # What readers of Arrow are told of the columns: else categories come back as such, which to Polars clash with text.
        columns = rows.clear().cast(text).to_arrow(compat_level=pl.CompatLevel.oldest()).schema  # type: ignore[arg-type]
        told = {"ARROW:schema": b64encode(columns.serialize()).decode()}
    statistics = _NULLS_ONLY if rows.height <= _SHORT else True
    rows.write_parquet(to, compression="zstd", compression_level=level, statistics=statistics, metadata=told)


def storage_at(path: str) -> Storage:
    """The storage that a folder's path or a URL names."""
    return Bucket(path) if objects.is_url(path) else Folder(Path(path))


class Folder:
    """A lake in a folder of this machine."""

    table_options: dict[str, str] | None = None
    scan_options: dict[str, Any] | None = None

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = os.path.join(root, "")  # noqa: PTH118 - put before thousands of names, which Path takes 60 µs each for

    def uri(self, path: str) -> str:
        return f"{self._prefix}{path}"

    def read(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise LakeError(
                f"{self.uri(path)}: cannot be read ({error.strerror}); mend the rights or the disk, then run it again"
            ) from None

    def replace(self, path: str, data: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(exist_ok=True)
        partial = target.with_suffix(f".{secrets.token_hex(8)}")
        try:
            partial.write_bytes(data)
            _settle(partial)  # else a power loss may leave an empty file in place of both
            partial.replace(target)
            _settle(target.parent)
        finally:
            partial.unlink(missing_ok=True)

    def create(self, path: str, data: bytes) -> bool:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(data)
            _settle(partial)
            os.link(partial, target)  # fails where another run was quicker
            _settle(target.parent)
        except FileExistsError:
            return False
        finally:
            partial.unlink(missing_ok=True)
        return True

    def names(self, folder: str, after: str = "") -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._root / folder) if name > after)  # noqa: PTH208 - a third of the time of Path
        except FileNotFoundError:
            return []

    def delete(self, paths: Sequence[str]) -> int:
        gone = 0
        for path in paths:
            try:
                (self._root / path).unlink()
                gone += 1
            except FileNotFoundError:
                pass
            except OSError as error:
                raise LakeError(
                    f"{self.uri(path)}: cannot be deleted ({error.strerror}); mend the rights, then run it again"
                ) from None
        return gone

    def settle(self, paths: Sequence[str]) -> None:
        files = [self._root / path for path in paths]
        folders = {folder for file in files for folder in file.parents if folder.is_relative_to(self._root)}
        with ThreadPoolExecutor(_REQUESTS) as pool:  # the disk writes what is asked for at once together
            list(pool.map(_settle, files))
            list(pool.map(_settle, folders))

    def write_parquet(self, path: str, rows: pl.DataFrame, level: int) -> int:
        target = self._root / path
        try:
            target.parent.mkdir(exist_ok=True)
            _write_parquet(rows, target, level)
            return target.stat().st_size
        except (OSError, pl.exceptions.ComputeError):
            full = shutil.disk_usage(self._root).free < _FULL_BYTES
            target.unlink(missing_ok=True)
            if full:  # Polars has no words of its own for a disk that fills up below a file's footer
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise

    @contextmanager
    def kept_free(self, size: int) -> Iterator[None]:
        path = self._root / "_apilens" / "room"
        try:
            try:
                path.write_bytes(bytes(size))
            except OSError as error:
                raise LakeError(
                    f"{self.uri('_apilens')}: there is no room for what is read ({error.strerror}); nothing of it counts. Make room, then run it again"
                ) from None
            yield
        finally:
            path.unlink(missing_ok=True)

    def lost(self, files: Sequence[str], *, ask: bool = False) -> str | None:
        return next((file for file in files if not os.path.exists(file)), None)  # noqa: PTH110 - half the time of Path

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[Hold]:
        file = self._root / "_apilens" / f"{name}.lock"
        try:
            handle = file.open("w")
        except OSError as error:
            raise LakeError(
                f"{file}: cannot be written: {error.strerror or error}; nothing was changed. Make room or mend the rights, then run it again"
            ) from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(_locked(str(self._root), name)) from None
            yield _Held()

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Files are what it reads anyway."""


def _settle(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that does this for no folder
            raise
    finally:
        os.close(handle)


class _Held:
    """A lock of the operating system: held until this process lets go of it."""

    def check(self) -> None:
        """It cannot be lost."""


class Bucket:
    """A lake under a prefix of a bucket.

    Locks are leases: safe is what a commit writes, because it takes place only on top of the version it was made from
    (conditional put), and a lease keeps others from waiting for a run that was killed.
    """

    table_options: dict[str, str] | None = objects.TABLE_OPTIONS
    scan_options: dict[str, Any] | None = objects.SCAN_OPTIONS

    def __init__(self, url: str) -> None:
        objects.check(url, UsageError)
        self._url = url.rstrip("/")

    @cached_property
    def _store(self) -> ObjectStore:
        return objects.open_store(self._url)

    def _ask(self, request: Callable[[ObjectStore], objects.Answer]) -> objects.Answer:
        with objects.explained(self._url, LakeError):
            return objects.patiently(self._url, lambda: request(self._store))

    def uri(self, path: str) -> str:
        return f"{self._url}/{path}"

    def read(self, path: str) -> bytes | None:
        try:
            return self._ask(lambda store: bytes(store.get(path).bytes()))
        except FileNotFoundError:
            return None

    def replace(self, path: str, data: bytes) -> None:
        self._ask(lambda store: store.put(path, data))

    def create(self, path: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        def made(store: ObjectStore) -> bool:
            try:
                store.put(path, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

        return self._ask(made)

    def names(self, folder: str, after: str = "") -> list[str]:
        found = self._ask(lambda store: store.list(f"{folder}/", offset=f"{folder}/{after}").collect())
        return sorted(meta["path"].rpartition("/")[2] for meta in found)

    def delete(self, paths: Sequence[str]) -> int:
        # A store does not say whether it had what it deletes, and is asked for no more than it has.
        def listed(folder: str) -> set[str]:
            return {meta["path"] for meta in self._ask(lambda store: store.list(f"{folder}/").collect())}

        there = set[str]().union(*(listed(folder) for folder in {path.partition("/")[0] for path in paths}))
        there.intersection_update(paths)

        def gone(path: str) -> None:
            with suppress(FileNotFoundError):
                self._ask(lambda store: store.delete(path))

        with ThreadPoolExecutor(_REQUESTS) as pool:
            list(pool.map(gone, there))
        return len(there)

    def settle(self, paths: Sequence[str]) -> None:
        """A store answers when it has what it was sent."""

    def write_parquet(self, path: str, rows: pl.DataFrame, level: int) -> int:
        data = BytesIO()
        _write_parquet(rows, data, level)
        self._ask(lambda store: store.put(path, data.getbuffer()))
        return data.tell()

    def kept_free(self, size: int) -> AbstractContextManager[None]:
        return nullcontext()

    def lost(self, files: Sequence[str], *, ask: bool = False) -> str | None:
        if not ask:
            return None  # a request per file; the reader that meets it says so
        with ThreadPoolExecutor(_REQUESTS) as pool:
            there = pool.map(self._is_there, [file.removeprefix(f"{self._url}/") for file in files])
            return next((file for file, found in zip(files, there, strict=True) if not found), None)

    def _is_there(self, path: str) -> bool:
        try:
            self._ask(lambda store: store.head(path))
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def lock(self, name: str, *, wait: bool) -> Iterator[Hold]:
        lease = _Lease(self._store, self._url, name)
        with objects.explained(self._url, LakeError):
            while not objects.patiently(self._url, lease.taken):
                if not wait:
                    until = time.strftime("%H:%M:%SZ", time.gmtime(lease.until))
                    raise LockedError(f"{_locked(self._url, name)} (or did when it was killed: free at {until})")
                time.sleep(_POLL_S)
        renewing = threading.Thread(target=lease.keep, name=f"apilens-lock-{name}", daemon=True)
        renewing.start()
        try:
            yield lease
        finally:
            lease.ended.set()
            renewing.join()
            lease.give_back()

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        from obstore.fsspec import FsspecStore

        scheme = self._url.partition(":")[0]
        # DuckDB's own extension for object stores is a download that sites without internet do not have.
        connection.register_filesystem(FsspecStore(scheme, **objects.FILE_SYSTEM_OPTIONS))  # type: ignore[call-overload]  # scheme is one of its names


class _Lease:
    """A lock object in a bucket: who has it, until when. Renewed while it is held; what was not renewed is free for others."""

    def __init__(self, store: ObjectStore, url: str, name: str) -> None:
        self._store, self._url, self._path, self._said = store, url, f"_apilens/{name}.lock", _locked(url, name)
        self._owner = secrets.token_hex(8)
        self._version: Any = None
        self.until = 0.0
        self.ended = threading.Event()

    def taken(self) -> bool:
        """Try to take the lock; False: another run has it, until `until`."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            self._put("create")
        except AlreadyExistsError:
            try:
                found = self._store.get(self._path)
                self.until = float(json.loads(bytes(found.bytes()))["until"])
                if time.time() < self.until:
                    return False
                self._put(_version(found.meta))
            except (FileNotFoundError, PreconditionError):
                return False  # given back, or another one was quicker
        return True

    def _put(self, mode: Any) -> None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        until = time.time() + LEASE_S
        body = json.dumps({"owner": self._owner, "until": until}).encode()
        try:
            self._version = _version(self._store.put(self._path, body, mode=mode))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as refused:
            # What is put again because its answer was lost meets what it wrote itself.
            try:
                found = self._store.get(self._path)
            except FileNotFoundError:
                raise refused from None  # given back meanwhile
            there = json.loads(bytes(found.bytes()))
            if there["owner"] != self._owner:
                raise
            self._version, until = _version(found.meta), float(there["until"])
        self.until = until

    def keep(self) -> None:
        """Renew the lease until the lock is given back, or another run has taken it over."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        while not self.ended.wait(LEASE_S / _RENEWALS):
            try:
                self._put(self._version)
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                return  # check() says so to whom it concerns
            except Exception as error:
                if objects.is_outage(error):  # of anything else check() says what it is
                    objects.say_waiting(self._url, error)

    def check(self) -> None:
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if time.time() <= self.until - LEASE_S / _RENEWALS:
            return
        # Nobody could renew it, the store was out: it is ours as long as no other run has put its own in place of it.
        with objects.explained(self._url, LakeError):
            try:
                objects.patiently(self._url, lambda: self._put(self._version))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError):
                raise ConflictError(
                    f"{self._said} by now, because this one could not renew it in time; run it again"
                ) from None

    def give_back(self) -> None:
        """Let others have the lock at once. Where the store does not answer they wait until the lease has run out."""
        try:
            if json.loads(bytes(self._store.get(self._path).bytes()))["owner"] == self._owner:
                self._store.delete(self._path)
        except FileNotFoundError:
            return
        except Exception as error:
            if not objects.is_failure(error):
                raise


def _version(meta: Any) -> dict[str, str]:
    """What a conditional put asks for: stores tell versions by one of these, or by both."""
    return {key: meta[key] for key in ("e_tag", "version") if meta[key] is not None}


def _locked(where: str, name: Literal["commit", "routes"] | str) -> str:
    return f"{where}: another run holds the {name} lock; this one changed nothing"
