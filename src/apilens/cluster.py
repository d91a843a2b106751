"""The same units on a Dask cluster: this process reads, cuts and commits, workers parse and write files.

A task is done again when its worker dies; what a dead worker wrote is never committed. Workers need this package, the lake
under the same name, and the credentials for it; they return file names. Bytes of a file that the workers can read too they
read themselves; all others (at most 16 MiB a task) travel with it.
"""

from __future__ import annotations

import re
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from apilens.errors import InputError, LakeError, UsageError
from apilens.formats.block import Reader
from apilens.ingest.workers import Desk, Hire, Task, Workers, Written
from apilens.lake import Lake, open_lake
from apilens.objects import is_url
from apilens.version import __version__

if TYPE_CHECKING:
    from distributed import Client

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_TIMEOUT_S = 30
_WARNS_FROM, _TASK_MB = "distributed.admin.large-graph-warning-threshold", 64
#: Dask looks at each worker's stack a hundred times a second, whether the worker's loop is late and how the machine fares, for a
#: dashboard that nobody opens: a third of all CPU on a machine that others use too, because it goes by the clock and not by the work.
_UNWATCHED = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
#: A worker that waits for its next task costs more than 16 MiB more on the way.
_AHEAD_PER_THREAD = 2


def scheduler(address: str) -> Hire:
    """Workers of the Dask cluster at `tcp://HOST:PORT` (or tls://), or `local:N`: N processes of this machine.

    Raises UsageError for another address, or when Dask is not installed; InputError when the cluster does not answer, or has
    other versions than this process.
    """
    local = re.fullmatch(r"local:([1-9]\d{0,2})", address)
    if local is None and not re.fullmatch(r"(tcp|tls)://\S+:\d+", address):
        raise UsageError(f"--scheduler {address}: expected tcp://HOST:PORT, tls://HOST:PORT or local:N")
    try:
        import dask
        import distributed  # noqa: F401
    except ImportError:
        raise UsageError("--scheduler needs Dask: pip install 'apilens[dask]'") from None

    @contextmanager
    def hire(lake: Lake) -> Iterator[Workers]:
        # Dask warns of more than 10 MB; that a task brings its bytes is meant.
        with (
            dask.config.set({_WARNS_FROM: f"{_TASK_MB}MB", **_UNWATCHED}),
            _processes(int(local[1])) if local else _connected(address) as client,
        ):
            yield _Cluster(client, lake)

    return hire


@contextmanager
def _processes(count: int) -> Iterator[Client]:
    from distributed import Client, LocalCluster

    # One thread each: Polars' own threads would only take the cores from one another.
    environment = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    # A port of its own: of two runs at once one would be warned that the other has the dashboard's.
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0,
            env=environment, silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=_TIMEOUT_S)
        client.wait_for_workers(1, timeout=_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {address}: no answer within {_TIMEOUT_S} s, or no worker there ({error}); check that it runs: dask scheduler, dask worker {address}"
        ) from None
    with client:
        _check_versions(client, address)
        yield client


def _check_versions(client: Client, address: str) -> None:
    """Raises InputError when a worker has not the versions of this process: layouts travel as Python code, rows as Polars has them."""
    ours = _versions()
    for worker, found in sorted(client.run(_versions, on_error="return").items()):
        if isinstance(found, ImportError):
            raise InputError(
                f"--scheduler {address}: a worker there cannot import apilens ({found}); install it: pip install apilens=={ours['apilens']}"
            )
        if isinstance(found, OSError):  # it died meanwhile: others do its work
            continue
        for name, version in ours.items():
            if found.get(name) != version:
                raise InputError(
                    f"--scheduler {address}: worker {worker} has {name} {found.get(name)}, this process {version}; install the same there"
                )


def _versions() -> dict[str, str]:
    return {
        "apilens": __version__,
        "polars": pl.__version__,
        "Python": ".".join(map(str, sys.version_info[:2])),
    }


class _Cluster:
    def __init__(self, client: Client, lake: Lake) -> None:
        # Another key for each run: what a worker has looked up about the lake must not outlive it.
        self._lake = lake.root if is_url(lake.root) else str(Path(lake.root).absolute())
        self._run = secrets.token_hex(8)
        self._pool = client.get_executor(pure=False)
        self._sees_files = True  # until a worker says that it does not
        self.ahead = _AHEAD_PER_THREAD * max(sum(client.nthreads().values()), 1)
        self._reader: Reader | None = None
        self._pickled = b""

    def submit(self, task: Task, reader: Reader) -> _Answer:
        import cloudpickle

        if reader is not self._reader:
            # Layouts hold closures; 15 to 70 ms, so not for every piece.
            self._reader, self._pickled = reader, cloudpickle.dumps(reader)
        block = task.piece.block
        bare = replace(task, piece=replace(task.piece, block=replace(block, data=b"")))
        where = (self._lake, self._run, self._pickled)

        def sent() -> Future[Written]:
            # An array travels beside the pickled rest, without being copied into it.
            future: Future[Written] = self._pool.submit(_work, *where, bare, np.frombuffer(block.data, np.uint8))
            return future

        if task.file is None or block.left_out or not self._sees_files:
            return _Answer(sent())
        bare = replace(bare, file=task.file.absolute())
        return _Answer(self._pool.submit(_work_on_file, *where, bare, len(block.data)), lambda: self._blind(sent))

    def _blind(self, sent: Callable[[], Future[Written]]) -> Future[Written]:
        self._sees_files = False
        return sent()


class _Answer:
    """What a worker will have made of a task. other: the task sent anew, when the worker does not find its bytes."""

    def __init__(
        self, future: Future[Written] | Future[Written | None], other: Callable[[], Future[Written]] | None = None
    ) -> None:
        self._future, self._other = future, other

    def result(self) -> Written:
        """Waits for it. Raises LakeError when the cluster went away, or its workers die of this task."""
        from distributed import KilledWorker

        try:
            written = self._future.result()
            if written is None:
                assert self._other is not None
                written = self._other().result()
            return written
        except CancelledError:
            raise LakeError(
                "--scheduler: the connection to the scheduler was lost; what was committed stays, start the cluster and run it again"
            ) from None
        except KilledWorker as error:
            raise LakeError(
                f"--scheduler: workers died each time they were given one piece ({error}); what was committed stays. Give them more memory"
                " (1 GiB each will do), then run it again"
            ) from None


def _work(lake: str, run: str, reader: bytes, bare: Task, data: Bytes) -> Written:
    """On a worker, of bytes that were sent."""
    return _written(lake, run, reader, bare, data.tobytes())


def _work_on_file(lake: str, run: str, reader: bytes, bare: Task, size: int) -> Written | None:
    """On a worker, of `size` bytes of the task's file; None: they are not there, or not those the task is about."""
    assert bare.file is not None
    try:
        with bare.file.open("rb") as file:
            file.seek(bare.piece.block.offset)
            data = file.read(size)
    except OSError:
        return None
    # Another machine may have another file of this name, and a log may have been rotated away meanwhile.
    content = bare.origin.hash()
    content.update(data)
    return _written(lake, run, reader, bare, data) if content.hexdigest() == bare.piece.unit_id else None


def _written(lake: str, run: str, reader: bytes, bare: Task, data: bytes) -> Written:
    block = replace(bare.piece.block, data=data)
    try:
        return _desk(lake, run).work(replace(bare, piece=replace(bare.piece, block=block)), _reader(reader))
    except LakeError as error:
        raise LakeError(
            f"on worker {socket.gethostname()}: {error}. Workers need the lake in the same place, with the right to write there: a bucket, or a folder that all of them mount"
        ) from None


@lru_cache(maxsize=2)
def _desk(lake: str, run: str) -> Desk:
    return Desk(open_lake(lake))


@lru_cache(maxsize=8)
def _reader(pickled: bytes) -> Reader:
    import cloudpickle

    return cast(Reader, cloudpickle.loads(pickled))
