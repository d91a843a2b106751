"""Ingest on a Dask cluster: the lake of one process, whatever happens to the workers."""

from __future__ import annotations

import gzip
import os
import signal
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from apilens.ingest import pieces
from apilens.lake import Lake, open_lake
from commands import apilens, calls, ingest, totals
from logs import broken, log

if os.environ.get("CI"):
    import dask
    import distributed
else:
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two worker processes on 127.0.0.1, each watched by a nanny that starts it again."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as running,
        distributed.Client(running) as client,
    ):
        yield client


def parts(folder: Path, *, files: int, lines: int) -> list[Path]:
    folder.mkdir()
    for n in range(files):
        (folder / f"{n}.log").write_bytes(log(range(n * lines, (n + 1) * lines)) + broken(n) + b"\n")
    return sorted(folder.iterdir())


def dies_once(marker: str) -> None:
    """In a worker: the first process to write calls dies right behind that, before anybody hears of it."""
    real = Lake.write

    def write(self: Lake, name: Any, *rest: Any) -> Any:
        written = real(self, name, *rest)
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return written
        os.kill(os.getpid(), signal.SIGKILL)
        return written

    Lake.write = write  # type: ignore[method-assign]


def test_a_worker_killed_in_the_middle_of_a_unit_changes_no_total(cluster: Any, tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=3, lines=200)
    one, many = tmp_path / "one", tmp_path / "many"
    with mock.patch.object(pieces, "BLOCK_BYTES", 6000):
        ingest(one, *paths)
        cluster.run(dies_once, str(tmp_path / "died"))
        address = cluster.scheduler_info()["address"]
        done = ingest(many, *paths, "--scheduler", address)
        again = ingest(many, *paths, "--scheduler", address)
    assert (tmp_path / "died").exists()
    assert (done["stored"], done["rejected"]) == (600, 3) and done["units"] > 6
    assert (again["stored"], again["duplicate"]) == (0, 603)
    assert calls(many, how=True) == calls(one, how=True)
    assert totals(many) == totals(one)
    left = sum(1 for _ in (many / "calls").rglob("*.parquet")) - len(Lake(str(many)).files("calls"))
    assert left == 1  # what the dead worker wrote; vacuum takes it


@pytest.mark.parametrize("seen", ["the same bytes", "other bytes", "nothing", "an archive"])
def test_workers_read_the_bytes_of_files_they_see_and_are_sent_all_others(
    cluster: Any, tmp_path: Path, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=200)
    if seen == "an archive":
        paths = [
            path.with_suffix(".gz")
            for path in paths
            if path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
        ]
    there = {"nothing": tmp_path / "nowhere", "other bytes": tmp_path / "logs"}.get(seen)
    if there is not None:
        (tmp_path / "logs" / "other.log").write_bytes(log(range(1000, 1200)))
        monkeypatch.setattr(
            "apilens.cluster.Path.absolute", lambda self: there / "other.log" if self.suffix == ".log" else self
        )
    sent: list[int] = []
    real = distributed.cfexecutor.ClientExecutor.submit

    def submit(self: Any, function: Any, *rest: Any, **options: Any) -> Any:
        sent.append(getattr(rest[-1], "nbytes", 0))
        return real(self, function, *rest, **options)

    monkeypatch.setattr("distributed.cfexecutor.ClientExecutor.submit", submit)
    with mock.patch.object(pieces, "BLOCK_BYTES", 6000):
        done = ingest(tmp_path / "many", *paths, "--scheduler", cluster.scheduler_info()["address"])
    monkeypatch.undo()
    with mock.patch.object(pieces, "BLOCK_BYTES", 6000):
        ingest(tmp_path / "one", *paths)
    assert done["stored"] == 400 and calls(tmp_path / "many", how=True) == calls(tmp_path / "one", how=True)
    size = done["bytes"]
    assert sum(sent) == (0 if seen == "the same bytes" else size)
    # Once a worker has said that it does not see them, nobody is asked again, but for what was on its way.
    assert sent.count(0) <= (len(sent) if seen == "the same bytes" else 0 if seen == "an archive" else 5)


def test_workers_of_this_machine_are_not_watched(tmp_path: Path) -> None:
    from apilens.cluster import scheduler

    def watching() -> list[Any]:
        import threading

        import dask

        names = [thread.name for thread in threading.enumerate() if "Profile" in thread.name]
        return [names, dask.config.get("distributed.admin.tick.interval")]

    with scheduler("local:1")(open_lake(str(tmp_path / "lake"), create=True)):
        assert distributed.default_client().run(watching).popitem()[1] == [[], "1s"]


def test_two_runs_on_this_machine_are_no_warning(tmp_path: Path) -> None:
    from apilens.cluster import scheduler

    lake = open_lake(str(tmp_path / "lake"), create=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with scheduler("local:1")(lake), scheduler("local:1")(lake):
            pass


def test_the_size_of_a_task_is_no_warning(cluster: Any, tmp_path: Path) -> None:
    (path,) = parts(tmp_path / "logs", files=1, lines=100)
    address = cluster.scheduler_info()["address"]
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1kB"}), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert ingest(tmp_path / "lake", path, "--scheduler", address)["stored"] == 100


def test_what_goes_wrong_on_a_cluster_is_said(cluster: Any, tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=100)
    address, lake = cluster.scheduler_info()["address"], tmp_path / "lake"

    def run(*, code: int = 3) -> str:
        ran = apilens("ingest", *paths, "--lake", lake, "--scheduler", address)
        assert ran.code == code and "Traceback" not in ran.err, ran
        return ran.err

    with mock.patch("apilens.cluster.__version__", "0.0.0"):
        assert "this process 0.0.0; install the same there" in run()
    with mock.patch("apilens.cluster.Path.absolute", lambda self: tmp_path / "not mounted there"):
        assert "on worker" in (said := run()) and "not mounted there" in said and "bucket, or a folder" in said
    for error, words in (
        (CancelledError(), "connection to the scheduler was lost"),
        (distributed.KilledWorker("x", mock.Mock(address="tcp://x"), 3), "memory"),
    ):
        with mock.patch("distributed.cfexecutor.ClientExecutor.submit") as submit:
            submit.return_value.result.side_effect = error
            assert words in run() and totals(lake)["calls"] == []

    def gone(self: Any, function: Any, *, on_error: str = "raise") -> dict[str, Exception]:
        error = distributed.comm.CommClosedError("Stream is closed")
        if on_error == "raise":
            raise error
        return {"tcp://127.0.0.1:9": error}

    with mock.patch("distributed.Client.run", gone):  # a worker that died right then is missed by nobody
        run(code=0)
    assert ingest(lake, *paths)["duplicate"] == 202


def test_an_address_that_is_none_or_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = parts(tmp_path / "logs", files=1, lines=5)
    for address in ("local:0", "127.0.0.1:8786", "http://127.0.0.1:1"):
        ran = apilens("ingest", path, "--lake", tmp_path / "lake", "--scheduler", address)
        assert ran.code == 2 and "local:N" in ran.err, ran
    monkeypatch.setattr("apilens.cluster._TIMEOUT_S", 1)
    ran = apilens("ingest", path, "--lake", tmp_path / "lake", "--scheduler", "tcp://127.0.0.1:9")
    assert ran.code == 3 and "dask scheduler" in ran.err, ran
