"""The lake under death and company: whatever kills a run, and whoever runs beside it, every call is there once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from unittest import mock

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from apilens.config import Config
from apilens.ingest import pieces, run
from apilens.lake import Lake, open_lake
from apilens.lens import Lens
from commands import apilens, calls, ingest, totals
from logs import broken, log


def parts(folder: Path, *, files: int, lines: int) -> list[Path]:
    """Files of access log lines, each with a reject and a copy of one line range of nobody else."""
    folder.mkdir()
    for n in range(files):
        text = log(range(n * lines, (n + 1) * lines)) + broken(n) + b"\n"
        (folder / f"part-{n:03d}.log").write_bytes(text)
    return sorted(folder.iterdir())


def started(lake: Path, paths: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A real `apilens ingest` in a process of its own."""
    command = [sys.executable, "-c", "from apilens.cli import main; main()", "ingest", "--json", "--lake", str(lake)]
    return subprocess.Popen([*command, *map(str, paths)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


#: Kills per run of the suite; by hand more: APILENS_KILLS=100 pytest tests/test_lake.py -k killed_at_any
KILLS = int(os.environ.get("APILENS_KILLS", "10"))
_PER_LAKE = 5


def test_a_run_killed_at_any_moment_and_run_again_ends_as_if_undisturbed(tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=36, lines=1000)
    began = time.monotonic()
    undisturbed = started(tmp_path / "whole", paths)
    out, err = undisturbed.communicate()
    took = time.monotonic() - began
    assert undisturbed.returncode == 0, err.decode()
    assert json.loads(out)["stored"] == 36_000
    # Each new lake is killed several times on its way, at moments spread over a whole run.
    moments, killed = random.Random(7), 0
    lakes = [tmp_path / f"killed-{n}" for n in range(-(-KILLS // _PER_LAKE))]
    for lake in lakes:
        for k in range(_PER_LAKE):
            process = started(lake, paths)
            try:
                process.communicate(timeout=took * (k + moments.random()) / _PER_LAKE)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += process.returncode == -signal.SIGKILL
        last = started(lake, paths)
        _, err = last.communicate()
        assert last.returncode == 0, err.decode()
    print(f"{killed} of {len(lakes) * _PER_LAKE} runs were killed before their end")
    assert killed >= KILLS * 0.4
    expected = totals(tmp_path / "whole")
    for lake in lakes:
        assert totals(lake) == expected


class Died(SystemExit):
    """The process ends here; the one exception that nothing in the program catches, the command line included."""


def until_death(at: int, *, after: bool) -> Any:
    """A Lake.transact that dies at its `at`-th call (0-based), before or after the commit took place."""
    real, count = Lake.transact, iter(range(10_000))

    def transact(self: Lake, *args: Any, **named: Any) -> None:
        number = next(count)
        if number == at and not after:
            raise Died
        real(self, *args, **named)
        if number == at:
            raise Died

    return mock.patch.object(Lake, "transact", transact)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_each_commit_step_loses_and_doubles_nothing(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH", 2)
    paths = parts(tmp_path / "logs", files=5, lines=20)
    ingest(tmp_path / "whole", *paths)
    expected = totals(tmp_path / "whole")
    at = 0
    while True:
        lake = tmp_path / f"lake-{at}"
        with until_death(at, after=after):
            try:
                ingest(lake, *paths)
            except Died:
                died = True
            else:
                died = False
        ingest(lake, *paths)
        assert totals(lake) == expected, f"died at commit step {at}"
        if not died:
            break
        at += 1
    assert at >= 8  # two batches, each of ledger, rejects, calls and rollups


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, int, int]]:
    """What was brought to the disk: inode, bytes and time of its content."""
    seen: set[tuple[int, int, int]] = set()
    real = os.fsync

    def fsync(handle: int) -> None:
        state = os.fstat(handle)
        seen.add((state.st_ino, state.st_size, state.st_mtime_ns))
        real(handle)

    monkeypatch.setattr("os.fsync", fsync)
    return seen


def lose_power(lake: Path, settled: set[tuple[int, int, int]]) -> int:
    """Leave an empty file in place of each that was not brought to the disk, as file systems do; how many those are."""
    lost = 0
    for path in lake.rglob("*"):
        state = path.stat()
        if path.is_file() and state.st_size and (state.st_ino, state.st_size, state.st_mtime_ns) not in settled:
            path.write_bytes(b"")
            lost += 1
    return lost


def test_a_power_loss_takes_nothing_of_a_run_that_ended(tmp_path: Path, settled: set[tuple[int, int, int]]) -> None:
    paths = parts(tmp_path / "logs", files=5, lines=20)
    ingest(tmp_path / "lake", *paths)
    before = totals(tmp_path / "lake")
    lose_power(tmp_path / "lake", settled)
    assert totals(tmp_path / "lake") == before
    for command in (["compact"], ["vacuum", "--retention-hours", "0"], ["forget", "--before", "2000-01-01"]):
        assert apilens("lake", *command, "--lake", tmp_path / "lake").code == 0
        lose_power(tmp_path / "lake", settled)
        assert totals(tmp_path / "lake") == before
    assert ingest(tmp_path / "lake", *paths)["duplicate"] == 105


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_power_loss_at_each_commit_step_loses_and_doubles_nothing(
    tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch, settled: set[tuple[int, int, int]]
) -> None:
    monkeypatch.setattr(run, "BATCH", 2)
    paths = parts(tmp_path / "logs", files=5, lines=20)
    ingest(tmp_path / "whole", *paths)
    lost = 0
    for at in range(20):
        lake = tmp_path / f"lake-{at}"
        with until_death(at, after=after):
            try:
                ingest(lake, *paths)
            except Died:
                lost += lose_power(lake, settled)
            else:
                break
        ingest(lake, *paths)
        assert totals(lake) == totals(tmp_path / "whole"), f"died at commit step {at}"
    assert at >= 8 and (lost or after)


@pytest.mark.parametrize("table", ["calls", "rollups", "ingests", "rejects"])
def test_an_entry_of_a_log_that_is_cut_off_is_said_and_mended_by_the_next_run(tmp_path: Path, table: str) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=20)
    ingest(tmp_path / "whole", *paths)
    ingest(tmp_path / "lake", paths[0])
    steps = ["ingests", "rejects", "calls", "rollups"]
    with until_death(steps.index(table), after=True), pytest.raises(Died):
        ingest(tmp_path / "lake", paths[1])
    entry = max((tmp_path / "lake" / table / "_delta_log").glob("*.json"))
    entry.write_bytes(entry.read_bytes()[:-40])
    ran = apilens("sql", "SELECT count(*) FROM calls, rollups, ingests, rejects", "--lake", tmp_path / "lake")
    assert ran.code == 3 and "was cut off" in ran.err and "apilens ingest" in ran.err
    ingest(tmp_path / "lake", *paths)
    assert totals(tmp_path / "lake") == totals(tmp_path / "whole")


@pytest.mark.parametrize("at", range(4))
def test_a_death_while_replacing_leaves_the_old_or_the_new_and_never_both(tmp_path: Path, at: int) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=20)
    ingest(tmp_path / "lake", *paths)
    expected = totals(tmp_path / "lake")
    with until_death(at, after=False), pytest.raises(Died):
        ingest(tmp_path / "lake", *paths, "--replace")
    assert calls(tmp_path / "lake") == expected["calls"]
    ingest(tmp_path / "lake", *paths)  # a plain run repairs what the dead one left open
    assert totals(tmp_path / "lake") == expected
    ingest(tmp_path / "lake", *paths, "--replace")
    assert totals(tmp_path / "lake") == expected


def test_processes_that_ingest_overlapping_files_at_once_store_each_call_once(tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=12, lines=500)
    runs = [started(tmp_path / "lake", [*paths[n * 2 :], *paths[: n * 2 - 3]][:9]) for n in range(4)]
    done = [(process, *process.communicate()) for process in runs]
    assert [process.returncode for process, _, _ in done] == [0] * 4, [err.decode() for _, _, err in done]
    ingest(tmp_path / "lake", *paths)
    assert ingest(tmp_path / "one", *paths)["stored"] == 6000
    assert totals(tmp_path / "lake") == totals(tmp_path / "one")
    results = [json.loads(out) for _, out, _ in done]
    for result in results:
        assert result["read"] == result["stored"] + result["rejected"] + result["filtered"] + result["duplicate"]
        assert result["read"] == 9 * 501


@contextmanager
def before_the_commit(act: Callable[[], object]) -> Iterator[None]:
    """What another run does once, when one is about to commit."""
    commit, left = run.IngestRun._commit, [act]

    def meanwhile(self: run.IngestRun, done: Any) -> None:
        if done and left:
            left.pop()()
        commit(self, done)

    with mock.patch.object(run.IngestRun, "_commit", meanwhile):
        yield


def test_runs_that_make_the_same_lake_at_once_make_one(tmp_path: Path) -> None:
    for n in range(20):
        together = threading.Barrier(6)

        def make(path: str = str(tmp_path / str(n)), together: threading.Barrier = together) -> bytes:
            together.wait()
            return open_lake(path, create=True).masking_key

        with ThreadPoolExecutor(6) as pool:
            keys = [pool.submit(make) for _ in range(6)]
        assert len({key.result() for key in keys}) == 1


def test_two_runs_that_replace_the_same_at_once_lose_no_entry_of_the_ledger(tmp_path: Path) -> None:
    paths, lake = parts(tmp_path / "logs", files=2, lines=20), tmp_path / "lake"
    ingest(lake, *paths)
    expected = totals(lake)
    with before_the_commit(lambda: ingest(lake, *paths, "--replace")):
        assert ingest(lake, paths[0], "--replace")["stored"] == 20
    assert open_lake(str(lake)).ledger().height == 2
    assert ingest(lake, *paths)["stored"] == 0
    assert totals(lake) == expected


def table_csv(n: int, rows: int) -> bytes:
    """A table of some calls; what the first bytes say is the same in all of them."""
    text = "".join(f"2026-03-{n + 1:02}T10:00:{i:02}Z,GET,/v1/items/{n},200,{i}\n" for i in range(rows))
    return f"timestamp,method,path,status,duration_ms\n{text}".encode()


@pytest.mark.parametrize("theirs", [5, 15])
def test_tables_with_the_same_header_keep_no_other_run_from_its_own(tmp_path: Path, theirs: int) -> None:
    lake, other, own = tmp_path / "lake", tmp_path / "other.csv", tmp_path / "own.csv"
    other.write_bytes(table_csv(1, theirs))
    own.write_bytes(table_csv(2, 10))
    with before_the_commit(lambda: ingest(lake, other)), mock.patch.object(run, "_RETRIES", 1):
        assert ingest(lake, own)["stored"] == 10  # without reading it again


@pytest.mark.parametrize("theirs", [5, 15])
def test_a_piece_that_another_run_takes_meanwhile_is_known_whether_shorter_or_longer(
    tmp_path: Path, theirs: int
) -> None:
    lake, other, own = tmp_path / "lake", tmp_path / "other.csv", tmp_path / "own.csv"
    other.write_bytes(table_csv(1, theirs))
    own.write_bytes(table_csv(1, 10))
    with before_the_commit(lambda: ingest(lake, other)):
        assert ingest(lake, own)["stored"] == max(10 - theirs, 0)
    assert len(calls(lake)) == max(theirs, 10)


def test_a_line_that_was_cut_is_said_also_where_another_run_has_the_input_read_again(tmp_path: Path) -> None:
    lake, other, own = tmp_path / "lake", tmp_path / "other.log", tmp_path / "own.log"
    other.write_bytes(log(range(30, 60)))
    own.write_bytes(log(range(30)) + b"x" * (9 << 20) + b"\n" + log(range(30, 60)))
    with (
        before_the_commit(lambda: ingest(lake, other)),
        mock.patch.object(run, "BATCH", 1),
        mock.patch.object(pieces, "BLOCK_BYTES", len(log(range(30)))),
    ):
        ran = apilens("ingest", "--lake", lake, own)
    assert "30 stored, 1 rejected, 30 duplicate" in ran.out, ran
    assert (ran.code, "line 31 is longer than 8 MiB" in ran.err) == (4, True), ran


def test_what_one_input_has_stored_is_no_duplicate_of_it_where_another_that_holds_it_is_read_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "b.log").write_bytes(log(range(20)))
    ours = run.IngestRun(
        open_lake(str(tmp_path / "lake"), create=True),
        run.Request((str(tmp_path / "b.log"),)),
        Config(),
        now=datetime(2026, 3, 10, tzinfo=UTC),
    )
    ours.run()
    (unit_id,), ours._counted = ours._own, set()  # as at the start of another try
    first, second = run.InputReport("a.log"), run.InputReport(ours.reports[0].name)
    for report in (first, second, second):
        ours._count_duplicate(unit_id, report)
    assert (first.counts.stored, first.counts.duplicate) == (0, 20)
    assert (second.counts.stored, second.counts.duplicate) == (20, 20)


def test_a_checkpoint_is_found_without_the_file_that_names_it_and_said_where_it_is_damaged(tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=20)
    ingest(tmp_path / "lake", paths[0])
    assert apilens("lake", "vacuum", "--lake", tmp_path / "lake").code == 0
    log = tmp_path / "lake" / "calls" / "_delta_log"
    entries = sorted(log.glob("*.json"))
    for cut_off in (b"", b'{"ver'):
        (log / "_last_checkpoint").write_bytes(cut_off)
        for entry in entries:
            entry.unlink(missing_ok=True)  # as they go in time: the checkpoint alone has what they had
        again = ingest(tmp_path / "lake", paths[0])
        assert (again["stored"], again["duplicate"]) == (0, again["read"])
    checkpoint = max(log.glob("*.checkpoint.parquet"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    ran = apilens("ingest", "--lake", tmp_path / "lake", paths[1])
    assert ran.code == 3 and "the lake is damaged" in ran.err and "Traceback" not in ran.err


def test_no_input_is_opened_while_others_wait_for_the_lock(tmp_path: Path) -> None:
    lake, other, own = tmp_path / "lake", tmp_path / "other.csv", tmp_path / "own.csv"
    other.write_bytes(table_csv(1, 5))
    own.write_bytes(table_csv(2, 10))
    held, opened, lock, real = [], [], Lake.lock, run.open_input

    @contextmanager
    def holding(self: Lake, name: str, **how: bool) -> Iterator[None]:
        with lock(self, name, **how):
            held.append(name)
            try:
                yield
            finally:
                held.remove(name)

    def noted(item: Any) -> Any:
        opened.append((Path(item.name).name, "commit" in held))
        return real(item)

    with (
        before_the_commit(lambda: ingest(lake, other)),
        mock.patch.object(Lake, "lock", holding),
        mock.patch.object(run, "open_input", noted),
    ):
        assert ingest(lake, own)["stored"] == 10
    assert opened == [("own.csv", False), ("other.csv", False), ("own.csv", False)]


def test_a_pipe_that_would_have_to_be_read_twice_is_said_and_loses_nothing(tmp_path: Path) -> None:
    lake, other = tmp_path / "lake", tmp_path / "other.csv"
    other.write_bytes(table_csv(1, 5))
    with before_the_commit(lambda: ingest(lake, other)):
        ran = apilens("ingest", "--lake", lake, "-", stdin=table_csv(2, 10))
    assert ran.code == 75 and "feed it again" in ran.err
    assert ingest(lake, "-", stdin=table_csv(2, 10))["stored"] == 10


def test_small_tables_with_the_same_header_are_committed_together(tmp_path: Path) -> None:
    logs, lake = tmp_path / "logs", tmp_path / "lake"
    logs.mkdir()
    for n in range(30):
        (logs / f"{n:02}.csv").write_bytes(table_csv(n, 50 - n))
    assert ingest(lake, logs)["stored"] == sum(50 - n for n in range(30))
    assert open_lake(str(lake)).table("calls").version() == 1


def test_what_a_killed_run_repeats_is_limited_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, lake = parts(tmp_path / "logs", files=6, lines=20), tmp_path / "lake"
    monkeypatch.setattr(run, "BATCH_BYTES", 2 * min(path.stat().st_size for path in paths))
    monkeypatch.setattr(run, "BLOCK_BYTES", 0)
    ingest(lake, *paths)
    assert open_lake(str(lake)).table("calls").version() == 3


# -- a lake that must not be touched -------------------------------------------------------------------------------


def contents(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("marker", ['{"layout_version": 2}', '{"layout_version": 99}', "{}", "not JSON"])
def test_a_lake_of_a_newer_or_unreadable_layout_is_refused_and_left_as_it_is(tmp_path: Path, marker: str) -> None:
    paths = parts(tmp_path / "logs", files=1, lines=5)
    lake = tmp_path / "lake"
    ingest(lake, *paths)
    (lake / "_apilens" / "lake.json").write_text(marker)
    before = contents(lake)
    (paths[0]).write_bytes(log(range(50)))
    for command in (["ingest", paths[0]], ["endpoints"], ["rejects", "--refeed"], ["scan"], ["sql", "SELECT 1"]):
        ran = apilens(*command, "--lake", lake)
        assert ran.code == 3, (command, ran)
        assert str(lake) in ran.err
    assert contents(lake) == before


def test_a_lake_without_its_masking_key_takes_no_more_logs(tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=1, lines=5)
    lake = tmp_path / "lake"
    ingest(lake, *paths)
    key = lake / "_apilens" / "masking.key"
    assert key.stat().st_mode & 0o077 == 0
    key.unlink()
    before = contents(lake)
    paths[0].write_bytes(log(range(100, 120)))
    ran = apilens("ingest", "--lake", lake, *paths)
    assert ran.code == 3
    assert "masking.key" in ran.err and "backup" in ran.err
    assert contents(lake) == before
    assert len(calls(lake)) == 5  # reading goes on


@pytest.mark.parametrize("reason", [13, 5], ids=["rights", "disk"])
def test_a_file_of_the_lake_that_cannot_be_read_is_said(tmp_path: Path, reason: int) -> None:
    paths = parts(tmp_path / "logs", files=2, lines=5)
    ingest(tmp_path / "lake", paths[0])
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.name == f"{1:020}.json":
            raise OSError(reason, os.strerror(reason))
        return real(self)

    with mock.patch.object(Path, "read_bytes", read_bytes):
        ran = apilens("ingest", "--lake", tmp_path / "lake", paths[1])
    assert ran.code == 3 and f"cannot be read ({os.strerror(reason)})" in ran.err and "Traceback" not in ran.err


def test_a_lake_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    paths = parts(tmp_path / "logs", files=1, lines=5)
    (tmp_path / "file").write_bytes(b"")
    ran = apilens("ingest", "--lake", tmp_path / "file" / "lake", *paths)
    assert ran.code == 3 and "--lake" in ran.err, ran
    assert apilens("endpoints", "--lake", tmp_path / "none").code == 3
    assert not os.path.lexists(tmp_path / "none")


@pytest.mark.parametrize("name", ["lake [1] *x?", "läke über {a,b}#1"])
def test_a_lake_in_a_folder_of_any_name_knows_what_it_holds(tmp_path: Path, name: str) -> None:
    path, lake = tmp_path / "a.log", tmp_path / name
    path.write_bytes(log(range(10)))
    ingest(lake, path)
    path.write_bytes(log(range(15)))
    assert ingest(lake, path)["duplicate"] == 10
    assert apilens("lake", "compact", "--lake", lake).code == apilens("lake", "vacuum", "--lake", lake).code == 0
    assert len(totals(lake)["calls"]) == 15


@pytest.mark.parametrize("name", ["a%20b", "a\\b", "a\nb"])
def test_a_path_that_delta_lake_cannot_name_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.log").write_bytes(log(range(10)))
    ran = apilens("ingest", "--lake", tmp_path / name, tmp_path / "a.log")
    assert ran.code == 2 and "choose another" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def made_by_0_1_0(lake: Path) -> None:
    """Take out of a lake what 0.1.0 did not write."""
    for table, column in (("ingests", "record_lines"), ("rejects", "record")):
        for file in (lake / table).glob("*.parquet"):
            # Names end with what columns the file has.
            pl.read_parquet(file).drop(column).write_parquet(file.with_stem(file.stem[:-8] + "0" * 8))
            file.unlink()
        for commit in (lake / table / "_delta_log").glob("*.json"):
            actions = [json.loads(line) for line in commit.read_text().splitlines()]
            for action in actions:
                if "metaData" in action:
                    schema = json.loads(action["metaData"]["schemaString"])
                    schema["fields"] = [field for field in schema["fields"] if field["name"] != column]
                    action["metaData"]["schemaString"] = json.dumps(schema)
                if "add" in action:
                    path = PurePosixPath(action["add"]["path"])
                    action["add"]["path"] = str(path.with_stem(path.stem[:-8] + "0" * 8))
                    action["add"]["size"] = (lake / table / action["add"]["path"]).stat().st_size
            commit.write_text("".join(json.dumps(action) + "\n" for action in actions))
    (lake / "_apilens" / "lake.json").write_text('{"layout_version": 1}\n')


def test_a_lake_of_the_first_release_knows_its_data_and_takes_new_columns(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(20)) + broken(1) + b"\n")
    ingest(lake, path)
    made_by_0_1_0(lake)
    assert "record" not in pl.scan_delta(str(lake / "rejects")).collect_schema()
    path.write_bytes(path.read_bytes() + log(range(20, 25)) + broken(2) + b"\n")
    done = ingest(lake, path)
    assert (done["duplicate"], done["stored"], done["rejected"]) == (21, 5, 1)
    rejects = pl.scan_delta(str(lake / "rejects")).select("record").collect()["record"]
    assert rejects.to_list() in ([0, None], [None, 0])
    assert open_lake(str(lake)).rejects()["record"].to_list() == [0, 0]
    ingest(lake, path, "--replace")
    assert len(totals(lake)["calls"]) == 25


def test_a_reject_of_the_first_release_that_was_fed_again_is_none_in_sql_either(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(5)) + broken(1) + b"\n10.1.0.1|2026-11-02T09:00:01+00:00|GET /a HTTP/1.1|200\n")
    ingest(lake, path)
    made_by_0_1_0(lake)
    layout = "$remote_addr|$time_iso8601|$request|$status"
    assert "stored 1" in apilens("rejects", "--lake", lake, "--refeed", "--log-format", layout).out
    lens = Lens(str(lake))
    assert lens.sql("SELECT raw, record FROM rejects").rows() == [(broken(1), 0)]
    ledger = lens.sql("SELECT record_lines, header, blank, lines FROM ingests WHERE lines > 0")
    assert ledger.rows() == [(7, 0, 0, 7)]


@pytest.mark.parametrize("command", [("ingest", "a.log"), ("lake", "info"), ("lake", "forget", "--consumer", "x")])
def test_a_lake_that_cannot_tell_what_is_forgotten_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.log").write_bytes(log(range(10)))
    ingest(Path("lake"), "a.log")
    Path("lake/_apilens/forgotten.json").write_text("{")
    Path("a.log").write_bytes(log(range(12)))
    ran = apilens(*command, "--lake", "lake")
    assert ran.code == 3 and "forgotten.json: is damaged" in ran.err


def test_a_damaged_moment_of_the_last_run_has_all_read_once_more(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(10)))
    ingest(lake, path)
    for moment in (lake / "_apilens").glob("ingest-*.json"):
        moment.write_text("{")
    os.utime(path, (0, 0))
    assert ingest(lake, path, "--lookback", "1s")["duplicate"] == 10


def test_text_that_is_written_as_categories_is_text_to_every_reader(tmp_path: Path) -> None:
    lake = open_lake(str(tmp_path / "lake"), create=True)
    rows = pl.DataFrame({"reason": ["", "a", "b", "a"], "format": [None, "x", "x", None]})
    written = lake.write_file("rejects", rows.cast(pl.Categorical), {}, "a")
    file = lake.storage.uri(f"rejects/{written.path}")
    assert lake.scan_files("rejects", [file]).select("reason", "format").collect().equals(rows)
    assert pl.read_parquet(file).equals(rows)
    assert [str(field.type) for field in pq.read_schema(file)] == ["large_string"] * 2
    assert duckdb.read_parquet(file).fetchall() == rows.rows()


@pytest.mark.parametrize(("rows", "kept"), [(1 << 18, False), ((1 << 18) + 1, True)])
def test_only_a_file_of_several_row_groups_says_what_values_each_has(tmp_path: Path, rows: int, kept: bool) -> None:
    lake = open_lake(str(tmp_path / "lake"), create=True)
    frame = pl.DataFrame({"attempt": range(rows), "reason": pl.Series([None], dtype=pl.String).new_from_index(0, rows)})
    written = lake.write_file("rejects", frame, {}, "a")
    groups = pq.ParquetFile(lake.storage.uri(f"rejects/{written.path}")).metadata
    each = [groups.row_group(i) for i in range(groups.num_row_groups)]
    assert all(group.column(0).statistics.has_min_max is kept for group in each)
    assert sum(group.column(1).statistics.null_count for group in each) == rows
