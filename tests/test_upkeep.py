"""The lake over its life: many small commits, compaction, deletion and what must never come back."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from apilens.config import Config
from apilens.errors import ConflictError, LakeError
from apilens.ingest.forget import Tombstone
from apilens.ingest.rollup import roll_up
from apilens.ingest.run import IngestRun, Request
from apilens.lake import Lake, open_lake, upkeep
from apilens.lake import lake as lake_module
from apilens.lake.storage import Folder
from apilens.lens import Lens
from commands import apilens, calls, ingest, totals
from logs import broken, line, log


def commits(folder: Path, n: int, *, lines: int = 20) -> Path:
    """A lake of `n` ingests of a growing file, each bringing `lines` new calls, and one broken line in all."""
    path = folder / "growing.log"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(broken(1) + b"\n")
    for i in range(n):
        with path.open("ab") as out:
            out.write(log(range(i * lines, (i + 1) * lines)))
        ingest(folder / "lake", path)
    return folder / "lake"


def by_consumer(i: int) -> bytes:
    """Call `i` of app-0 … app-3 in turn."""
    return line(i).replace(b" - - [", f" - app-{i % 4} [".encode(), 1)


def files(lake: Path, table: str) -> int:
    tables: dict[str, Any] = apilens("lake", "info", "--lake", lake, "--output", "json").json()["tables"]
    return int(tables[table]["files"])


def stored_bytes(lake: Path) -> list[pl.DataFrame]:
    """Every Parquet file on disk, committed or not."""
    return [
        pl.read_parquet(path, hive_partitioning=False)
        for path in lake.rglob("*.parquet")
        if "_delta_log" not in path.parts
    ]


def test_compaction_leaves_every_number_as_it_was_and_few_files(tmp_path: Path) -> None:
    lake = commits(tmp_path, 8)
    before, endpoints = totals(lake), Lens(str(lake)).endpoints(exact=True)
    assert files(lake, "calls") == files(lake, "ingests") == 8
    assert apilens("lake", "compact", "--lake", lake).code == 0
    assert [files(lake, name) for name in ("calls", "rollups", "rejects", "ingests")] == [1, 1, 1, 1]
    assert totals(lake) == before
    assert Lens(str(lake)).endpoints(exact=True).equals(endpoints)
    assert ingest(lake, tmp_path / "growing.log")["duplicate"] == 161
    assert "nothing to merge" in apilens("lake", "compact", "--lake", lake).out
    assert totals(lake) == before


def test_wide_rows_are_merged_into_as_many_files_as_memory_asks_for_and_once(tmp_path: Path) -> None:
    lake = commits(tmp_path, 5)
    before = totals(lake)
    size = open_lake(str(lake)).scan("calls").collect().estimated_size()
    with mock.patch.multiple(upkeep, _MEMORY=int(size / 5 * 1.5), _STEP=1):
        assert apilens("lake", "compact", "--lake", lake).code == 0
        assert files(lake, "calls") == 3
        assert "calls: nothing to merge" in apilens("lake", "compact", "--lake", lake).out
    assert totals(lake) == before


def test_what_was_compacted_can_still_be_replaced_and_refed(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    before = totals(lake)
    apilens("lake", "compact", "--lake", lake)
    ingest(lake, tmp_path / "growing.log", "--replace")
    assert totals(lake) == before
    apilens("lake", "compact", "--lake", lake)
    assert totals(lake) == before
    ran = apilens("rejects", "--lake", lake, "--refeed", "--log-format", "upstream says $msec: $status lost $args")
    assert ran.code in (3, 4)  # it fits nothing; nothing may change
    assert totals(lake) == before


def test_a_reader_of_the_version_before_still_reads_it(tmp_path: Path) -> None:
    lake = commits(tmp_path, 4)
    old = open_lake(str(lake)).scan("calls")
    rows = calls(lake)
    apilens("lake", "compact", "--lake", lake)
    apilens("lake", "vacuum", "--lake", lake)
    assert old.collect().height == len(rows)
    assert calls(lake) == rows


@pytest.mark.parametrize("at", range(3))
def test_a_compaction_that_dies_anywhere_changes_no_number(tmp_path: Path, at: int) -> None:
    lake = commits(tmp_path, 3)
    before, real, step = totals(lake), Lake.transact, iter(range(100))

    def transact(self: Lake, *args: Any, **named: Any) -> None:
        if next(step) == at:
            raise SystemExit
        real(self, *args, **named)

    with mock.patch.object(Lake, "transact", transact), pytest.raises(SystemExit):
        upkeep.compact(open_lake(str(lake)))
    assert totals(lake) == before
    assert ingest(lake, tmp_path / "growing.log")["stored"] == 0
    apilens("lake", "compact", "--lake", lake)
    assert totals(lake) == before


def test_ingest_and_compaction_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    lake = commits(tmp_path, 6)
    program = "from apilens.lake import open_lake, upkeep; import sys\nfor _ in range(6): upkeep.compact(open_lake(sys.argv[1]))"
    paths = []
    for n in range(12):
        paths.append(tmp_path / f"new-{n}.log")
        paths[-1].write_bytes(log(range(5000 + n * 50, 5050 + n * 50)))
    compacting = subprocess.Popen([sys.executable, "-c", program, str(lake)])
    for path in paths:
        ingest(lake, path)
    assert compacting.wait(timeout=120) == 0
    whole = ingest(tmp_path / "whole", tmp_path / "growing.log", *paths)
    assert whole["stored"] == 120 + 600
    assert totals(lake) == totals(tmp_path / "whole")


def test_vacuum_takes_what_a_killed_run_left_and_no_file_of_a_run_that_goes_on(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    before = totals(lake)
    fresh, stale = lake / "rollups" / "fresh-1-a.parquet", lake / "rollups" / "stale-1-a.parquet"
    for orphan in (fresh, stale):
        orphan.write_bytes(next((lake / "rollups").glob("*.parquet")).read_bytes())
    long_ago = time.time() - 400 * 3600
    os.utime(stale, (long_ago, long_ago))
    assert apilens("lake", "vacuum", "--lake", lake).out == "1 files deleted\n"
    assert fresh.exists() and not stale.exists()
    assert totals(lake) == before
    assert apilens("lake", "vacuum", "--lake", lake, "--retention-hours", "-1").code == 2


def test_vacuum_counts_what_it_deletes_and_not_what_is_gone_already(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    apilens("lake", "compact", "--lake", lake)
    for _ in range(2):
        before = len(stored_bytes(lake))
        out = apilens("lake", "vacuum", "--lake", lake, "--retention-hours", "0").out
        assert out == f"{before - len(stored_bytes(lake))} files deleted\n"
    assert out == "0 files deleted\n"


def test_vacuum_deletes_what_it_can_before_it_writes_to_a_disk_that_is_full(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    before = totals(lake)
    apilens("lake", "compact", "--lake", lake)
    full = DeltaError("Kernel error: No space left on device (os error 28)")
    with mock.patch.multiple(DeltaTable, create_checkpoint=mock.Mock(side_effect=full)):
        ran = apilens("lake", "vacuum", "--retention-hours", "0", "--lake", lake)
    assert ran.code == 3 and "No space left on device" in ran.err and "Traceback" not in ran.err
    tables = ("calls", "rollups", "rejects", "ingests")
    assert all(len(list((lake / table).rglob("merged-*.parquet"))) == 1 for table in ("calls", "rollups", "ingests"))
    assert sum(len([*(lake / table).glob("*.parquet"), *(lake / table).glob("date*/*")]) for table in tables) == 4
    assert totals(lake) == before


def test_a_file_that_vacuum_may_not_delete_is_said(tmp_path: Path) -> None:
    lake = commits(tmp_path, 2)
    apilens("lake", "compact", "--lake", lake)
    with mock.patch.object(Path, "unlink", side_effect=PermissionError(13, "Permission denied")):
        ran = apilens("lake", "vacuum", "--retention-hours", "0", "--lake", lake)
    assert ran.code == 3 and "Permission denied" in ran.err and "Traceback" not in ran.err


def test_a_disk_that_fails_under_vacuum_is_said_without_the_calls_that_led_there(tmp_path: Path) -> None:
    lake = commits(tmp_path, 1)
    failure = DeltaError("Kernel error: Input/output error (os error 5)\n   0: <unknown>\n   1: start_thread\n")
    with mock.patch.object(DeltaTable, "vacuum", side_effect=failure):
        ran = apilens("lake", "vacuum", "--lake", lake)
    assert (
        ran.code == 3 and "(Kernel error: Input/output error (os error 5))" in ran.err and "start_thread" not in ran.err
    )


@pytest.mark.parametrize("compacted", [False, True], ids=["as ingested", "compacted"])
def test_a_forgotten_consumer_is_gone_from_the_disk_and_does_not_come_back(tmp_path: Path, compacted: bool) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(
        b"".join(by_consumer(i) + b"\n" for i in range(40)) + b"app-3 broke off\nsomebody else broke off\n"
    )
    ingest(lake, path)
    if compacted:
        (tmp_path / "b.log").write_bytes(by_consumer(100) + b"\n")
        ingest(lake, tmp_path / "b.log")
        apilens("lake", "compact", "--lake", lake)
    dry = apilens("lake", "forget", "--lake", lake, "--consumer", "app-3", "--dry-run")
    assert dry.out == "10 calls and 1 rejected lines would go; 0 files deleted\n"
    assert apilens("lake", "forget", "--lake", lake, "--consumer", "app-3").out.startswith("10 calls and 1 rejected")
    left = Lens(str(lake)).calls().collect()
    assert left["consumer"].unique().sort().to_list() == ["app-0", "app-1", "app-2"]
    assert not any("app-3" in str(frame.to_dicts()) for frame in stored_bytes(lake))
    assert "app-3" not in (lake / "_apilens" / "forgotten.json").read_text()
    endpoints = Lens(str(lake)).endpoints()
    assert endpoints["calls"].sum() == left.height
    (tmp_path / "c.log").write_bytes(by_consumer(99) + b"\n" + path.read_bytes() + by_consumer(98) + b"\n")
    again = ingest(lake, tmp_path / "c.log")
    assert again["filtered"] == 12  # call 99 is one of app-3's too, and one line names it
    assert "app-3" not in Lens(str(lake)).calls().collect()["consumer"].to_list()
    ingest(lake, path, "--replace")
    assert "app-3" not in Lens(str(lake)).calls().collect()["consumer"].to_list()
    assert not any("app-3" in str(frame.to_dicts()) for frame in stored_bytes(lake))


def test_rejected_lines_that_name_a_forgotten_consumer_in_any_spelling_stay_out(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    named = [
        b"Zo\xc3\xab & Co broke off",
        b'{"who": "Zo\\u00eb & Co"',
        b"who=Zo%C3%AB+%26+Co&x",
        b"who=Zo%C3%AB%20%26%20Co",
    ]
    path.write_bytes(log(range(5)) + b"\n".join([*named, b"Zoo & Co broke off", b""]))
    assert ingest(lake, path)["rejected"] == 5
    forget = apilens("lake", "forget", "--lake", lake, "--consumer", "Zoë & Co")
    assert forget.out.startswith("0 calls and 4 rejected lines forgotten")
    again = ingest(lake, path, "--source", "other")
    assert (again["rejected"], again["filtered"]) == (1, 4)


def test_forgetting_a_consumer_leaves_rejected_lines_that_name_another(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(5)) + b"app-17 broke off\nfor=app-1\n")
    ingest(lake, path)
    assert apilens("lake", "forget", "--lake", lake, "--consumer", "").code == 2
    ran = apilens("lake", "forget", "--lake", lake, "--consumer", "app-1")
    assert ran.out.startswith("0 calls and 1 rejected lines forgotten")
    assert totals(lake)["rejects"] == [b"app-17 broke off"]
    again = ingest(lake, path, "--replace")
    assert (again["rejected"], again["filtered"]) == (1, 1)


def test_each_rejected_line_is_asked_once_whether_it_names_a_forgotten_consumer(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(5)) + b"".join(b"app-%d broke off\n" % i for i in range(40)))
    ingest(lake, path)
    with mock.patch.object(Tombstone, "names_one", autospec=True, side_effect=Tombstone.names_one) as asked:
        ran = apilens("lake", "forget", "--lake", lake, "--consumer", "app-1")
    assert ran.out.startswith("0 calls and 1 rejected lines forgotten"), ran
    assert asked.call_count == 40
    assert len(totals(lake)["rejects"]) == 39


def test_forgetting_holds_the_rejects_of_one_file_at_a_time(tmp_path: Path) -> None:
    program = (
        "import re, sys; from pathlib import Path; from apilens.cli import run; code = run(sys.argv[1:]);"
        "print(code, re.search('VmHWM: *([0-9]+)', Path('/proc/self/status').read_text().replace('\\t', ' '))[1])"
    )

    def peak_mb(lake: Path, lines: int) -> float:
        told = ["lake", "forget", "--lake", str(lake), "--consumer", "app-1", "--dry-run"]
        ran = subprocess.run([sys.executable, "-c", program, *told], check=True, capture_output=True, text=True)
        counted, measured = ran.stdout.splitlines()
        assert counted.startswith(f"0 calls and {lines} rejected") and measured.startswith("0 "), ran
        return int(measured.split()[1]) / 1024

    for n in range(8):
        path = tmp_path / f"{n}.log"
        lines = (b"app-1 %d %s\n" % (n, b"x" * 60_000) for _ in range(120))
        path.write_bytes(log(range(n, n + 200)) + b"".join(lines))
        ingest(tmp_path / "many", path)
    ingest(tmp_path / "few", tmp_path / "0.log")
    more = peak_mb(tmp_path / "many", 960) - peak_mb(tmp_path / "few", 120)
    assert more < 25  # 7 MB of lines in each; all at once took 50 MB more than those of one


def test_rejected_lines_among_calls_that_are_too_old_stay_out(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(5)) + broken(1) + b"\n")
    ingest(lake, path)
    assert apilens("lake", "forget", "--lake", lake, "--before", "2026-11-03").out.startswith("5 calls and 1 rejected")
    assert ingest(lake, path, "--replace")["filtered"] == 6


def test_what_is_older_than_a_time_is_forgotten_to_the_bin(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(900)))  # 08:00:00 … 08:14:59
    ingest(lake, path)
    assert apilens("lake", "forget", "--lake", lake, "--before", "2026-11-02T08:07Z").out.startswith("300 calls")
    left = Lens(str(lake)).calls().collect()
    assert left.height == 600
    rollups = Lens(str(lake)).rollups().collect()
    assert rollups["calls"].sum() == 600
    assert roll_up(left, "x")["calls"].sum() == 600
    assert ingest(lake, path)["duplicate"] == 900
    assert ingest(lake, path, "--source", "other")["filtered"] == 300
    info = apilens("lake", "info", "--lake", lake, "--output", "json").json()
    assert info["forgotten"] == {"before": "2026-11-02 08:05:00+00:00", "consumers": 0, "unfinished": False}


def agree(lake: Path) -> bool:
    lens = Lens(str(lake))
    return bool(lens.rollups().collect()["calls"].sum() == lens.calls().collect().height)


@pytest.mark.parametrize("told", [("--consumer", "app-3"), ("--before", "2026-11-02T08:10Z")], ids=["consumer", "time"])
@pytest.mark.parametrize("at", range(4))
def test_a_forget_that_dies_anywhere_is_said_and_ended_by_the_next_ingest(
    tmp_path: Path, at: int, told: tuple[str, str]
) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(b"".join(by_consumer(i) + b"\n" for i in range(1200)) + b"app-3 broke off\n")
    ingest(lake, path)
    shutil.copytree(lake, tmp_path / "whole")
    apilens("lake", "forget", "--lake", tmp_path / "whole", *told)
    real, step, disagree = Lake.transact, iter(range(100)), []

    def transact(self: Lake, *args: Any, **named: Any) -> None:
        if next(step) == at:
            raise SystemExit
        real(self, *args, **named)
        disagree.append(not agree(lake))

    with (
        mock.patch.object(Lake, "transact", transact),
        mock.patch("apilens.ingest.forget.sweep", side_effect=SystemExit),
        pytest.raises(SystemExit),
    ):
        apilens("lake", "forget", "--lake", lake, *told)
    assert sum(disagree) <= 1  # between the commits of rollups and of calls, which come one right after the other
    assert "died before its end" in apilens("lake", "info", "--lake", lake).err
    (tmp_path / "b.log").write_bytes(line(5000) + b"\n")
    ingest(lake, tmp_path / "b.log")
    ingest(tmp_path / "whole", tmp_path / "b.log")
    assert "died" not in apilens("lake", "info", "--lake", lake).err
    assert totals(lake) == totals(tmp_path / "whole")
    if told[0] == "--consumer":
        assert not any("app-3" in str(frame.to_dicts()) for frame in stored_bytes(lake))


def test_forget_needs_something_to_forget(tmp_path: Path) -> None:
    lake = commits(tmp_path, 1)
    ran = apilens("lake", "forget", "--lake", lake)
    assert (ran.code, "--before" in ran.err) == (2, True)


def test_commits_keep_the_ledger_in_few_files_and_a_death_between_takes_no_entry_with_it(tmp_path: Path) -> None:
    with mock.patch.object(lake_module, "_LEDGER_FILES", 2):
        lake = commits(tmp_path, 4, lines=2)  # the fourth commit puts the files of the first three together
        before, ledger = totals(lake), open_lake(str(lake)).ledger().sort("unit_id")
        assert (files(lake, "ingests"), ledger.height) == (2, 4)
        (tmp_path / "late.log").write_bytes(log(range(100, 103)))
        commits_in = itertools.count()
        real = Lake.transact

        def transact(self: Lake, name: str, *args: Any, **named: Any) -> None:
            if name == "calls" and next(commits_in) == 0:
                raise SystemExit
            real(self, name, *args, **named)

        ingest(
            lake, tmp_path / "growing.log", "--replace"
        )  # two files again, with entries that count no more among them
        before, ledger = totals(lake), open_lake(str(lake)).ledger().sort("unit_id")
        with mock.patch.object(Lake, "transact", transact), pytest.raises(SystemExit):
            opened = open_lake(str(lake))
            IngestRun(opened, Request([str(tmp_path / "late.log")]), Config(), now=datetime.now(UTC)).run()
        assert totals(lake) == before
        assert open_lake(str(lake)).ledger().sort("unit_id").equals(ledger)
        assert ingest(lake, tmp_path / "late.log")["stored"] == 3
        assert open_lake(str(lake)).ledger().height == ledger.height + 1


def test_hundreds_of_commits_stay_few_files_to_open(tmp_path: Path) -> None:
    lake = commits(tmp_path, 60, lines=2)
    before = totals(lake)
    opened = open_lake(str(lake))
    # The ledger goes by the log of `calls`, read at once; the library reads it unit by unit.
    attempts = opened.ledger().select("unit_id", "attempt").rows()
    assert attempts == [(unit, opened.table("calls").transaction_version(unit)) for unit, _ in attempts]
    assert len(attempts) == 60
    apilens("lake", "compact", "--lake", lake)
    apilens("lake", "vacuum", "--lake", lake, "--retention-hours", "0")
    assert totals(lake) == before
    info = apilens("lake", "info", "--lake", lake, "--output", "json").json()
    assert info["units"] == 60
    assert max(table["files"] for table in info["tables"].values()) == 1
    # One of each table, and the day file of the rollups.
    assert len([path for path in lake.rglob("*.parquet") if "_delta_log" not in path.parts]) == 5


def test_forgetting_after_a_death_before_the_rollups_doubles_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_bytes(b"".join(by_consumer(i) + b"\n" for i in range(20)))
    second.write_bytes(log(range(100, 110)))
    register = Lake._register

    def dies(self: Lake, name: Any, units: Any) -> None:
        if name == "rollups":
            raise RuntimeError("killed")
        register(self, name, units)

    with mock.patch.object(Lake, "_register", dies):
        apilens("ingest", "--lake", tmp_path / "lake", first)
    assert apilens("lake", "forget", "--lake", tmp_path / "lake", "--consumer", "app-1").code == 0
    ingest(tmp_path / "lake", second)
    lens = Lens(str(tmp_path / "lake"))
    assert lens.sql("SELECT sum(calls) AS n FROM rollups")["n"].to_list() == [25]


@pytest.mark.parametrize("command", [("forget", "--consumer", "app-1"), ("vacuum", "--retention-hours", "0")])
def test_deleting_while_a_run_is_about_to_commit_damages_no_lake_and_brings_nothing_back(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    first, second, lake = tmp_path / "a.log", tmp_path / "b.log", tmp_path / "lake"
    first.write_bytes(b"".join(by_consumer(i) + b"\n" for i in range(20)))
    second.write_bytes(b"".join(by_consumer(i) + b"\n" for i in range(20, 40)))
    ingest(lake, first)
    commit = IngestRun._commit

    def meanwhile(self: IngestRun, done: Any) -> None:
        if done:
            assert apilens("lake", *command, "--lake", lake).code == 0
        commit(self, done)

    with mock.patch.object(IngestRun, "_commit", meanwhile):
        assert apilens("ingest", "--lake", lake, second).code == 75
    forgotten = command[0] == "forget"
    assert len(totals(lake)["calls"]) == (15 if forgotten else 20)
    ingest(lake, second)
    assert len(totals(lake)["calls"]) == (30 if forgotten else 40)


def test_two_compactions_at_once_double_no_row(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    before, groups = totals(lake), upkeep._groups

    def meanwhile(name: Any, files: pl.DataFrame) -> Any:
        found = list(groups(name, files))
        if name == "ingests":
            with mock.patch.object(upkeep, "_groups", groups):
                upkeep.compact(open_lake(str(lake)))
        return found

    with mock.patch.object(upkeep, "_groups", meanwhile):
        upkeep.compact(open_lake(str(lake)))
    assert totals(lake) == before


def test_a_vacuum_between_listing_the_log_and_reading_it_hides_no_unit(tmp_path: Path) -> None:
    lake = commits(tmp_path, 3)
    opened, names = open_lake(str(lake)), Folder.names

    def meanwhile(self: Folder, folder: str, after: str = "") -> list[str]:
        found = names(self, folder, after)
        opened.table("calls").create_checkpoint()
        for version in range(opened.table("calls").version()):
            (lake / f"calls/_delta_log/{version:020}.json").unlink(missing_ok=True)
        return found

    with mock.patch.object(Folder, "names", meanwhile):
        assert opened.ledger().height == 3


def test_a_file_that_is_replaced_while_views_are_made_is_in_the_ledger_as_before_or_after(tmp_path: Path) -> None:
    lake, listed = commits(tmp_path, 1), Lake.files

    def meanwhile(self: Lake, name: Any, *args: Any) -> list[str]:
        found = listed(self, name, *args)
        if name == "ingests":
            with mock.patch.object(Lake, "files", listed):
                ingest(lake, tmp_path / "growing.log", "--replace")
        return found

    lens = Lens(str(lake))
    with mock.patch.object(Lake, "files", meanwhile):
        assert lens.sql("SELECT sum(stored) AS n FROM ingests")["n"].to_list() == [20]


def test_feeding_rejects_after_a_death_before_the_rollups_loses_none(tmp_path: Path) -> None:
    path, lake, register = tmp_path / "a.log", tmp_path / "lake", Lake._register
    path.write_bytes(log(range(5)) + b"10.1.0.1|2026-11-02T09:00:01+00:00|GET /a HTTP/1.1|200\n")
    refeed = ("rejects", "--lake", lake, "--refeed", "--log-format", "$remote_addr|$time_iso8601|$request|$status")

    def dies(self: Lake, name: Any, units: Any) -> None:
        if name == "rollups":
            raise RuntimeError("killed")
        register(self, name, units)

    ingest(lake, path)
    apilens(*refeed)
    with mock.patch.object(Lake, "_register", dies):
        apilens("ingest", "--lake", lake, path, "--replace")
    assert "stored 1" in apilens(*refeed).out
    ingest(lake, path)
    assert Lens(str(lake)).rollups().collect()["calls"].sum() == len(calls(lake)) == 6


@pytest.mark.parametrize("table", ["calls", "rejects"])
def test_a_compaction_whose_files_a_vacuum_takes_leaves_them_for_the_next_time(tmp_path: Path, table: str) -> None:
    lake, groups = commits(tmp_path, 3), upkeep._groups
    (tmp_path / "other.log").write_bytes(log(range(500, 503)) + broken(2) + b"\n")
    ingest(lake, tmp_path / "other.log")
    before = totals(lake)

    def meanwhile(name: Any, files: pl.DataFrame) -> Any:
        found = list(groups(name, files))
        if name == table:
            with mock.patch.object(upkeep, "_groups", groups):
                upkeep.compact(open_lake(str(lake)))
                upkeep.vacuum(open_lake(str(lake)), retention_hours=0)
        return found

    with mock.patch.object(upkeep, "_groups", meanwhile):
        upkeep.compact(open_lake(str(lake)))
    assert totals(lake) == before


def test_a_table_that_goes_while_a_lake_is_open_is_said(tmp_path: Path) -> None:
    lens = Lens(str(commits(tmp_path, 1)))
    assert lens.calls().collect().height == 20
    shutil.rmtree(tmp_path / "lake" / "calls")
    with pytest.raises(LakeError, match="the lake is damaged"):
        lens.calls()


@pytest.mark.parametrize(
    "command", [("endpoints",), ("trends",), ("trace", "--consumer", "x"), ("sql", "SELECT count(*) FROM calls")]
)
def test_a_reader_whose_files_go_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    lake, present = commits(tmp_path, 1), Lake._present

    def forgotten(self: Lake, *args: Any) -> list[str]:
        found = present(self, *args)
        for file in found:
            Path(file).unlink()
        return found

    with mock.patch.object(Lake, "_present", forgotten):
        ran = apilens(*command, "--lake", lake)
    assert (ran.code, "run this again" in ran.err) == (75, True)


def test_a_thread_that_reads_takes_nothing_from_under_one_that_commits(tmp_path: Path) -> None:
    lake, made = commits(tmp_path, 1), []
    (tmp_path / "b.log").write_bytes(log(range(100, 103)))
    with mock.patch.object(Lake, "commit", lambda self, units: made.extend(units)):
        ingest(lake, tmp_path / "b.log")
    ours, others = Lake(str(lake)), Lake(str(lake))
    ours.ledger()  # by which the unit is new
    others.ledger()
    others.commit(made)
    reader = threading.Thread(target=ours.ledger)
    reader.start()
    reader.join()
    with pytest.raises(ConflictError):
        ours.commit(made)
    assert Lens(str(lake)).calls().collect().height == 23


def test_threads_that_share_a_lens_see_whole_commits(tmp_path: Path) -> None:
    lens, goes_on = Lens(str(commits(tmp_path, 1))), threading.Event()

    def look() -> set[tuple[int, int]]:
        seen = set()
        while not goes_on.is_set() or not seen:
            seen.add((lens.lake.ledger().height, lens.sql("SELECT count(*) AS n FROM ingests")["n"][0]))
        return seen

    with ThreadPoolExecutor(3) as pool:
        looks = [pool.submit(look) for _ in range(3)]
        for n in range(2):
            (tmp_path / f"{n}.log").write_bytes(log(range(100 + n * 10, 105 + n * 10)))
            ingest(tmp_path / "lake", tmp_path / f"{n}.log")
        goes_on.set()
        seen = set().union(*(each.result() for each in looks))
    assert all(1 <= ledger <= view <= 3 for ledger, view in seen), seen


def test_the_period_of_a_lake_is_that_of_the_calls_it_still_has(tmp_path: Path) -> None:
    lake = commits(tmp_path, 1, lines=400)
    apilens("lake", "forget", "--before", "2026-11-02T08:05:00", "--lake", lake)
    period = Lens(str(lake)).period
    assert period is not None and f"{period[0]:%H:%M:%S}" == "08:05:00"
