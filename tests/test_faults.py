"""Disks that are full, broken or not ours: what is said, and that nothing half-written counts or stays in the way."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from apilens.errors import ConflictError
from apilens.lake import Lake, open_lake
from apilens.lake.storage import Folder
from commands import apilens, ingest, totals
from logs import broken, log

_NOBODY = 65534


@pytest.fixture
def tiny() -> Iterator[Path]:
    """A disk of 6 MiB of our own; skipped where nobody may mount one."""
    folder = Path(tempfile.mkdtemp(prefix="apilens-tiny-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def filled(disk: Path, left: int) -> Path:
    """Fill a disk up to some bytes."""
    state = os.statvfs(disk)
    ballast = disk / "ballast"
    with ballast.open("wb") as out:
        out.write(b"\0" * max(state.f_bavail * state.f_frsize - left, 0))
    return ballast


def written(path: Path, numbers: range) -> Path:
    path.write_bytes(log(numbers) + broken(1) + b"\n")
    return path


def test_a_full_disk_at_any_moment_is_said_and_the_next_run_makes_up_for_it(tiny: Path, tmp_path: Path) -> None:
    old, new = written(tmp_path / "old.log", range(500)), written(tmp_path / "new.log", range(500, 3000))
    ingest(tmp_path / "whole", old, new)
    expected, failed = totals(tmp_path / "whole"), 0
    lake = tiny / "lake"
    for left in (
        0,
        8 << 10,
        *range(44 << 10, 68 << 10, 4 << 10),
        100 << 10,
        172 << 10,
        *range(296 << 10, 320 << 10, 4 << 10),
    ):
        ingest(lake, old)
        before = totals(lake)
        ballast = filled(tiny, left)
        ran = apilens("ingest", new, "--lake", lake)
        assert "Traceback" not in ran.err, ran.err
        if ran.code != 0:
            failed += 1
            assert ran.code == 3 and "o space left" in ran.err and str(lake) in ran.err, (left, ran)
            assert totals(lake) == before, left
        ballast.unlink()
        assert ingest(lake, new)["exit_code"] == 0
        assert totals(lake) == expected, left
        subprocess.run(["rm", "-r", lake], check=True)
    assert failed >= 3


def test_on_a_full_disk_reports_and_the_queue_are_read_and_what_would_be_written_is_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the report goes
    lake = tiny / "lake"
    ingest(lake, written(tiny / "a.log", range(500)))
    assert apilens("scan", "--lake", lake).code in (0, 1)
    asked = [("report",), ("queue", "--output", "csv"), ("endpoints", "--output", "csv")]
    with_room = [apilens(*command, "--lake", lake) for command in asked]
    filled(tiny, 0)
    for command, before in zip(asked, with_room, strict=True):
        for _ in range(2):  # the first one leaves a journal without room behind
            ran = apilens(*command, "--lake", lake)
            assert (ran.code, ran.out.splitlines()[1:]) == (before.code, before.out.splitlines()[1:]), ran
    ran = apilens("triage", "--lake", lake)
    assert (ran.code, "Make room" in ran.err) == (3, True), ran


def test_a_lake_on_a_full_disk_is_said_and_can_be_made_later(tiny: Path, tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", range(20))
    for left in (0, 8 << 10, 20 << 10):
        ballast = filled(tiny, left)
        ran = apilens("ingest", path, "--lake", tiny / "lake")
        assert ran.code == 3 and "o space left" in ran.err and "Traceback" not in ran.err, (left, ran)
        ballast.unlink()
    assert ingest(tiny / "lake", path)["stored"] == 20


def test_a_lake_on_a_disk_that_is_read_only_can_be_read_and_not_written(tiny: Path, tmp_path: Path) -> None:
    path, more = written(tmp_path / "a.log", range(20)), written(tmp_path / "b.log", range(20, 40))
    ingest(tiny / "lake", path)
    ingest(tiny / "lake", written(tmp_path / "c.log", range(40, 60)))
    before = totals(tiny / "lake")
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    for command in (["ingest", more], ["lake", "compact"], ["lake", "forget", "--before", "2027-01-01"]):
        ran = apilens(*command, "--lake", tiny / "lake")
        assert ran.code == 3 and "ead-only" in ran.err and "Traceback" not in ran.err, ran
    assert apilens("ingest", more, "--lake", tiny / "new").code == 3
    assert totals(tiny / "lake") == before


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to do everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_we_may_not_read_or_write_is_said() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, lake = Path(name), Path(name, "lake")
        folder.chmod(0o755)
        closed, open_ = written(folder / "closed.log", range(5)), written(folder / "open.log", range(5, 10))
        ingest(lake, open_)
        closed.chmod(0)
        for path in (lake, *lake.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = totals(lake)
        with nobody():
            if os.access(closed, os.R_OK, effective_ids=True):
                pytest.skip("this user may do everything")
            ran = apilens("ingest", closed, "--lake", lake)
            assert ran.code == 3 and "ermission denied" in ran.err and "Traceback" not in ran.err, ran
            ran = apilens("ingest", open_, "--lake", folder / "other")
            assert ran.code == 3 and "ermission denied" in ran.err and "--lake" in ran.err, ran
            assert totals(lake) == before
        for path in (lake, *lake.rglob("*")):
            path.chmod(0o755)
        ran = apilens("ingest", closed, open_, "--lake", lake)
        assert ran.code in (0, 4)


def test_a_folder_we_may_not_look_into_is_said_and_the_rest_is_read() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs" / "shut").mkdir(parents=True)
        written(folder / "logs" / "shut" / "a.log", range(5))
        written(folder / "logs" / "b.log", range(5, 10))
        folder.chmod(0o777)
        (folder / "logs" / "shut").chmod(0)
        with nobody():
            if os.access(folder / "logs" / "shut", os.R_OK, effective_ids=True):
                pytest.skip("this user may do everything")
            some = ingest(folder / "lake", folder / "logs")
            none = [
                apilens("ingest", folder / "logs" / "shut" / path, "--lake", folder / "lake") for path in ("", "a.log")
            ]
        (folder / "logs" / "shut").chmod(0o755)
    assert some["stored"] == 5 and some["exit_code"] == 4
    assert [ran.code for ran in none] == [3, 3] and all("shut" in ran.err and "ermission" in ran.err for ran in none)


def test_an_empty_name_is_not_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a.log", range(5))
    monkeypatch.chdir(tmp_path)
    ran = apilens("ingest", "", "--lake", tmp_path / "lake")
    assert ran.code == 3 and "is no name" in ran.err


def test_an_input_that_cannot_be_read_to_its_end_is_said() -> None:
    with tempfile.TemporaryDirectory() as name:
        good = written(Path(name, "a.log"), range(5))
        ran = apilens("ingest", "/proc/self/mem", good, "--lake", Path(name, "lake"))  # the kernel answers EIO
        assert ran.code == 4 and "nput/output error" in ran.err and "Traceback" not in ran.err, ran
        assert "5 stored" in ran.out


@pytest.mark.parametrize("again", [(), ("--replace",)])
@pytest.mark.parametrize("table", ["ingests", "rejects", "calls", "rollups"])
def test_a_commit_whose_answer_was_lost_is_known_as_ours(tmp_path: Path, table: str, again: tuple[str, ...]) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(20)) + broken(1) + b"\n")
    for where in (tmp_path / "whole", lake):
        open_lake(str(where), create=True)
        if again:
            ingest(where, path)
    ingest(tmp_path / "whole", path, *again)
    lost, real = [table], Lake.transact

    def transact(self: Lake, name: Any, *args: Any, **named: Any) -> None:
        real(self, name, *args, **named)
        if name in lost:
            lost.remove(name)
            raise ConflictError("the library wrote it twice, and met itself")

    with mock.patch.object(Lake, "transact", transact):
        done = ingest(lake, path, *again)
    assert not lost
    assert (done["stored"], done["rejected"], done["duplicate"], done["exit_code"]) == (20, 1, 0, 0)
    assert totals(lake) == totals(tmp_path / "whole")
    assert Lake(str(lake)).unfinished_rollups() == []


@pytest.mark.parametrize("at", range(8))
def test_a_disk_that_fails_at_any_write_leaves_nothing_half_visible(tmp_path: Path, at: int) -> None:
    old, new = written(tmp_path / "old.log", range(20)), written(tmp_path / "new.log", range(20, 60))
    lake = tmp_path / "lake"
    ingest(tmp_path / "whole", old, new)
    ingest(lake, old)
    count = iter(range(1000))
    real_write, real_transact = Folder.write_parquet, type(open_lake(str(lake))).transact

    def failing() -> bool:
        return next(count) == at

    def write(self: Folder, path: str, rows: pl.DataFrame, level: int) -> int:
        if failing():
            (lake / path).parent.mkdir(exist_ok=True)
            (lake / path).write_bytes(b"PAR1 half")
            with mock.patch.object(pl.DataFrame, "write_parquet", side_effect=OSError(errno.EIO, "Input/output error")):
                return real_write(self, path, rows, level)
        return real_write(self, path, rows, level)

    def transact(self: Any, *args: Any, **named: Any) -> None:
        if failing():
            with mock.patch(
                "deltalake.DeltaTable.create_write_transaction", side_effect=OSError(errno.EIO, "Input/output error")
            ):
                return real_transact(self, *args, **named)
        return real_transact(self, *args, **named)

    with mock.patch.object(Folder, "write_parquet", write), mock.patch("apilens.lake.lake.Lake.transact", transact):
        ran = apilens("ingest", new, "--lake", lake)
    assert next(count) > at
    assert ran.code == 3 and "nput/output error" in ran.err and "Traceback" not in ran.err, ran
    assert not [path for path in lake.rglob("*.parquet") if path.read_bytes().startswith(b"PAR1 half")]
    ingest(lake, new)
    assert totals(lake) == totals(tmp_path / "whole")


# -- inputs that are larger than they look -------------------------------------------------------------------------


def bomb(path: Path) -> None:
    """A thousandth of what it becomes, behind one call; an eighth of 2 GiB is enough to be far beyond every limit."""
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as out:
        out.write(packer.compress(log(range(1))))
        chunk = b"y" * (1 << 20)
        for _ in range(256):
            out.write(packer.compress(chunk))
        out.write(packer.flush())


def lines_bomb(path: Path) -> None:
    """Lines that shrink further than any log does."""
    with path.open("wb") as out:
        out.write(zstandard.compress(log(range(1)) + b"\n" * (100 << 20), 3))


def long_line(path: Path) -> None:
    """A line of 1 GB behind one call, on a disk that holds none of it but its first letter."""
    with path.open("wb") as out:
        out.write(log(range(1)) + b"x")
        out.truncate(1 << 30)


@pytest.mark.parametrize(
    ("make", "said"),
    [(bomb, "decompression bomb"), (lines_bomb, "decompression bomb"), (long_line, "longer than 8 MiB")],
    ids=["gzip that becomes a thousand times as much", "blank lines without end", "a line of 1 GiB"],
)
def test_an_input_without_end_stops_at_a_limit_with_memory_flat(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "big")
    assert (tmp_path / "big").stat().st_blocks * 512 < 4 << 20
    program = (
        "import atexit, re; from apilens.cli import main;"
        r"atexit.register(lambda: print(int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1]) >> 10)); main()"
    )
    command = [sys.executable, "-c", program, "ingest", str(tmp_path / "big"), "--lake", str(tmp_path / "lake")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 4 and said in ran.stderr, ran
    assert "1 stored" in ran.stdout
    assert int(ran.stdout.split()[-1]) < 700


def test_an_archive_without_end_that_comes_through_a_pipe_stops_at_the_same_limit(tmp_path: Path) -> None:
    lines_bomb(tmp_path / "big")
    with subprocess.Popen(["cat", tmp_path / "big"], stdout=subprocess.PIPE) as pipe:
        program = "from apilens.cli import main; main()"
        command = [sys.executable, "-c", program, "ingest", "-", "--lake", tmp_path / "lake"]
        ran = subprocess.run(command, stdin=pipe.stdout, capture_output=True, text=True)
    assert ran.returncode == 4 and "decompression bomb" in ran.stderr and "1 stored" in ran.stdout, ran


@pytest.mark.parametrize(("rows", "width"), [(5_000, 20_000), (600, 200_000)])
def test_wide_rows_of_parquet_are_read_in_little_memory(rows: int, width: int, tmp_path: Path) -> None:
    paths = [
        f"/{os.urandom(width // 2).hex()}" for _ in range(rows)
    ]  # no two alike: nothing of it is small as it is stored
    pl.DataFrame({"path": paths}).write_parquet(tmp_path / "wide")
    program = (
        "import re, sys; from pathlib import Path; from apilens.ingest.sources import Input, open_input;"
        "stream = open_input(Input('wide', Path(sys.argv[1]))); sizes = iter(lambda: len(stream.read(1 << 20)), 0);"
        r"print(sum(sizes), int(re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1]) >> 10)"
    )
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "wide")], capture_output=True, text=True)
    size, memory = map(int, ran.stdout.split())
    assert size > 100_000_000 and memory < 220, ran


def test_numbers_of_parquet_with_more_than_38_digits_are_read_as_those_with_fewer(tmp_path: Path) -> None:
    for name, kind in {"few": pa.decimal128(30, 2), "many": pa.decimal256(60, 2)}.items():
        took = pa.array([Decimal("42.10"), None], kind)
        columns = {
            "timestamp": ["2026-03-09T14:00:00Z"] * 2,
            "path": ["/v1"] * 2,
            "status": [200, 500],
            "duration_ms": took,
        }
        nested = {"in": [{"a": [Decimal(1)]}, None]}
        inside = pa.array(nested["in"], pa.struct({"a": pa.list_(kind)}))
        pq.write_table(pa.table({**columns, "cost": took, "in": inside}), tmp_path / name)
    few, many = (apilens("parse", tmp_path / name) for name in ("few", "many"))
    assert (many.code, many.err) == (0, ""), many
    assert [call["duration_ms"] for call in many.rows()] == [42.1, None]
    assert [call["attributes"] for call in many.rows()] == [call["attributes"] for call in few.rows()]


def test_a_line_that_was_cut_is_said_by_the_run_that_met_it(tmp_path: Path) -> None:
    path, lake = tmp_path / "a.log", tmp_path / "lake"
    path.write_bytes(log(range(30)) + b"x" * (9 << 20) + b"\n" + log(range(30, 60)))
    ran = apilens("ingest", "--lake", lake, path)
    assert (ran.code, "line 31 is longer than 8 MiB" in ran.err) == (4, True), ran
    assert "60 stored, 1 rejected" in ran.out
    again = apilens("ingest", "--lake", lake, path)
    assert (again.code, again.err) == (0, ""), again
