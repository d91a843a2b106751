"""The same data met again: twelve ways, none of which adds a call; and which inputs a scheduled run looks at."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import zstandard
from obstore.store import S3Store

from apilens.ingest import run as ingest_run
from commands import apilens, calls, ingest, totals
from logs import broken, line, log

_OLD, _NEW = log(range(40)), log(range(40, 55))

#: Way -> what happens to `logs/access.log` (holding _OLD, ingested), and what is read then; new calls are those of _NEW or none.
WAYS: dict[str, tuple[Callable[[Path], object], int]] = {}


def way(name: str, new: int = 0) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def keep(change: Callable[[Path], object]) -> Callable[[Path], object]:
        WAYS[name] = (change, new)
        return change

    return keep


way("copy")(lambda log: shutil.copy(log, log.with_name("copy.log")))
way("rename")(lambda log: log.rename(log.with_name("other.log")))
way("gz")(lambda log: log.with_name("access.log.gz").write_bytes(gzip.compress(_OLD)))
way("zst")(lambda log: log.with_name("access.log.zst").write_bytes(zstandard.compress(_OLD)))
way("appended", 15)(lambda log: log.write_bytes(_OLD + _NEW))
way("concatenated after known data", 15)(lambda log: log.with_name("all.log").write_bytes(_OLD + _OLD + _NEW))
way("symlink")(lambda log: log.with_name("link.log").symlink_to(log))
way("other folder")(lambda log: shutil.copytree(log.parent, log.parent / "deeper"))


@way("rotated", 15)
def _rotated(log: Path) -> None:
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(_NEW)


@way("copytruncate", 15)
def _copytruncate(log: Path) -> None:
    shutil.copy(log, log.with_name("access.log.1"))
    log.write_bytes(b"\0" * len(_OLD) + _NEW)  # the gateway writes on where it was


@pytest.mark.parametrize("name", WAYS)
def test_the_same_data_met_again_add_nothing(name: str, tmp_path: Path) -> None:
    change, new = WAYS[name]
    log = tmp_path / "logs" / "access.log"
    log.parent.mkdir()
    log.write_bytes(_OLD)
    ingest(tmp_path / "lake", tmp_path / "logs")
    change(log)
    done = ingest(tmp_path / "lake", tmp_path / "logs")
    again = ingest(tmp_path / "lake", tmp_path / "logs")
    assert (done["stored"], again["stored"]) == (new, 0)
    assert len(calls(tmp_path / "lake")) == 40 + new


def test_the_same_data_from_standard_input_and_from_a_bucket_add_nothing(bucket: S3Store, tmp_path: Path) -> None:
    (tmp_path / "access.log").write_bytes(_OLD)
    ingest(tmp_path / "lake", tmp_path / "access.log")
    before = totals(tmp_path / "lake")
    bucket.put("access.log", _OLD)
    assert ingest(tmp_path / "lake", "-", stdin=_OLD)["duplicate"] == 40
    assert ingest(tmp_path / "lake", f"s3://{bucket.config['bucket']}/access.log")["duplicate"] == 40
    assert totals(tmp_path / "lake") == before


# -- lookback ------------------------------------------------------------------------------------------------------


def test_lookback_leaves_out_what_did_not_change_and_never_what_a_run_has_missed(tmp_path: Path) -> None:
    logs, lake = tmp_path / "logs", tmp_path / "lake"
    logs.mkdir()
    (logs / "a.log").write_bytes(log(range(5)))
    (logs / "b.log").write_bytes(log(range(5, 10)))
    with mock.patch.object(ingest_run.IngestRun, "_commit", side_effect=SystemExit), pytest.raises(SystemExit):
        ingest(lake, logs, "--lookback", "0s")  # killed: does not count
    time.sleep(0.05)
    first = ingest(lake, logs, "--lookback", "0s")
    assert (first["stored"], first["unchanged_inputs"]) == (10, 0)
    again = ingest(lake, logs, "--lookback", "0s")
    assert (again["read"], again["unchanged_inputs"], again["exit_code"]) == (0, 2, 0)
    assert ingest(lake, logs, "--lookback", "1h")["duplicate"] == 10
    assert ingest(lake, logs)["duplicate"] == 10
    old = tmp_path / "old.log"
    old.write_bytes(log(range(10, 20)))
    os.utime(old, (1, 1))
    shutil.move(old, logs / "moved.log")  # keeps its time of 1970
    last = ingest(lake, logs, "--lookback", "0s")
    assert (last["stored"], last["unchanged_inputs"]) == (10, 2)
    (logs / "cut.gz").write_bytes(gzip.compress(log(range(20, 30)))[:-4])
    assert ingest(lake, logs, "--lookback", "0s")["exit_code"] == 4
    assert len(ingest(lake, logs, "--lookback", "0s")["inputs"]) == 1  # looked at until it can be read to its end


def test_a_last_line_that_waits_is_taken_by_final_also_with_lookback(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5))[:-1])
    time.sleep(0.05)
    for options, stored in (((), 4), ((), 0), (("--final",), 1)):
        assert ingest(tmp_path / "lake", tmp_path / "a.log", "--lookback", "0s", *options)["stored"] == stored
    assert ingest(tmp_path / "lake", tmp_path / "a.log", "--lookback", "0s", "--final")["unchanged_inputs"] == 1


@pytest.mark.parametrize("pattern", ["", "*/*.log"])
def test_lookback_takes_old_files_that_came_with_their_folder_or_by_a_link(pattern: str, tmp_path: Path) -> None:
    logs, lake = tmp_path / "logs", tmp_path / "lake"
    for folder in ("known", "moved"):
        (tmp_path / folder).mkdir()
    logs.mkdir()
    shutil.move(tmp_path / "known", logs / "known")
    (logs / "known" / "a.log").write_bytes(log(range(5)))
    (tmp_path / "moved" / "b.log").write_bytes(log(range(5, 15)))
    (tmp_path / "c.log").write_bytes(log(range(15, 17)))
    time.sleep(0.05)
    assert ingest(lake, logs / pattern, "--lookback", "0s")["stored"] == 5
    time.sleep(0.05)
    shutil.move(tmp_path / "moved", logs / "moved")  # the files in it do not change by that
    done = ingest(lake, logs / pattern, "--lookback", "0s")
    assert (done["stored"], done["unchanged_inputs"]) == (10, 1)
    time.sleep(0.05)
    (logs / "known" / "c.log").symlink_to(tmp_path / "c.log")
    assert ingest(lake, logs / pattern, "--lookback", "0s")["stored"] == 2


def test_rotation_in_place_has_only_the_new_file_read(tmp_path: Path) -> None:
    logs, lake = tmp_path / "logs", tmp_path / "lake"
    logs.mkdir()
    for n in range(3):
        (logs / f"access.log.{n}").write_bytes(log(range(n * 5, n * 5 + 5)))
    time.sleep(0.05)
    ingest(lake, logs, "--lookback", "0s")
    time.sleep(0.05)
    for n in reversed(range(3)):
        (logs / f"access.log.{n}").rename(logs / f"access.log.{n + 1}")
    (logs / "access.log.0").write_bytes(log(range(15, 20)))
    done = ingest(lake, logs, "--lookback", "0s")
    assert (done["stored"], done["read"], done["unchanged_inputs"]) == (5, 5, 3)
    shutil.copy2(logs / "access.log.3", logs / "copy.log")  # another file, though with the old time
    assert ingest(lake, logs, "--lookback", "0s")["duplicate"] == 5


def test_replacing_with_lookback_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5)))
    ran = apilens("ingest", tmp_path / "a.log", "--replace", "--lookback", "0s", "--lake", tmp_path / "lake")
    assert ran.code == 2 and "--lookback" in ran.err


@pytest.mark.parametrize("compacted", [False, True])
def test_a_copy_in_the_making_adds_nothing(tmp_path: Path, compacted: bool) -> None:
    lake, path = tmp_path / "lake", tmp_path / "access.log"
    whole = broken(0) + b"\n" + log(range(2000))
    path.write_bytes(whole)
    ingest(lake, path)
    before = totals(lake)
    if compacted:
        apilens("lake", "compact", "--lake", lake)
    archive, copy = tmp_path / "access.log.1.gz", tmp_path / "copy.log"
    archive.write_bytes(gzip.compress(whole)[:20_000])  # logrotate is at it
    copy.write_bytes(whole[:50_000])
    (tmp_path / "copy2.log").write_bytes(whole[:50_000])
    done = ingest(lake, archive, copy, tmp_path / "copy2.log")
    assert done["exit_code"] == 4 and done["stored"] == done["rejected"] == 0 and done["duplicate"] > 1000
    copy.write_bytes(whole + log(range(2000, 2005)))
    assert ingest(lake, copy)["stored"] == 5
    assert len(totals(lake)["calls"]) == len(before["calls"]) + 5


def test_a_copy_that_has_its_headers_alone_at_first_adds_nothing(tmp_path: Path) -> None:
    lake, path, copy = tmp_path / "lake", tmp_path / "u_ex.log", tmp_path / "copy.log"
    head = b"#Software: Microsoft Internet Information Services 10.0\n#Fields: date time cs-method cs-uri-stem sc-status time-taken\n"
    rows = b"".join(b"2026-03-09 10:00:%02d GET /v1/items 200 %d\n" % (i, i) for i in range(40))
    path.write_bytes(head + rows)
    assert ingest(lake, path)["stored"] == 40
    for end in (len(head), len(head) + len(rows) // 2):
        copy.write_bytes((head + rows)[:end])
        assert ingest(lake, copy)["stored"] == 0
    other = rows.replace(b"items", b"carts")
    copy.write_bytes(head)
    ingest(lake, copy)
    copy.write_bytes(head + other)
    assert ingest(lake, copy)["stored"] == 40


def test_the_log_of_another_server_that_differs_in_names_alone_is_no_copy_cut_short(tmp_path: Path) -> None:
    head = "#Software: Microsoft Internet Information Services 10.0\n"
    head += "#Fields: date time s-computername s-ip cs-method cs-uri-stem c-ip sc-status time-taken\n"
    for server, probes in (("1", 20), ("2", 5)):
        text = "".join(
            f"2026-03-09 10:00:{i:02} WEB{server} 10.0.0.{server} GET /health 10.9.9.9 200 1\n" for i in range(probes)
        )
        (tmp_path / f"web{server}.log").write_text(head + text)
        assert ingest(tmp_path / "lake", tmp_path / f"web{server}.log")["stored"] == probes


def test_a_new_log_that_begins_like_an_older_one_is_stored_whole(tmp_path: Path) -> None:
    lake, path = tmp_path / "lake", tmp_path / "access.log"
    path.write_bytes(log(range(100)))
    ingest(lake, path)
    path.write_bytes(log([0]))
    assert ingest(lake, path)["stored"] == 0  # nothing tells it from a copy yet
    path.write_bytes(log([0]) + line(1, query="?a=1") + b"\n")
    assert ingest(lake, path)["stored"] == 2


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_an_archive_of_several_logs_is_refused_with_what_to_type_and_that_works(tmp_path: Path, mode: str) -> None:
    logs = tmp_path / "it's logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(_OLD)
    (logs / "b.log.gz").write_bytes(gzip.compress(_NEW))
    archive = tmp_path / "it's all"
    if mode == "zip":
        shutil.make_archive(str(archive), "zip", logs)
        archive = archive.with_name(f"{archive.name}.zip")
    else:
        with tarfile.open(archive, mode) as made:
            made.add(logs, "var/log")
    ran = apilens("ingest", archive, "--lake", tmp_path / "lake")
    assert ran.code == 3 and "archive" in ran.err, ran
    assert apilens("ingest", "-", "--lake", tmp_path / "lake", stdin=archive.read_bytes()).code == 3
    make, unpack, again = ran.err.rsplit(": ", 1)[1].split(" && ")
    assert again.split() == ["apilens", "ingest", "logs"]
    if mode == "zip":  # not every machine has an unzip
        shutil.unpack_archive(archive, tmp_path / "logs")
    else:
        subprocess.run(f"{make} && {unpack}", shell=True, check=True, cwd=tmp_path)
    done = ingest(tmp_path / "lake", tmp_path / "logs")
    assert (done["stored"], done["rejected"], len(done["inputs"])) == (55, 0, 2)


def test_no_caller_can_make_a_log_an_archive(tmp_path: Path) -> None:
    padding = (257 - len(line(0).partition(b" HTTP")[0])) * "x"  # the magic of tar stands at byte 257
    (tmp_path / "a.log").write_bytes(line(0, query=f"{padding}ustar") + b"\n" + _NEW)
    assert ingest(tmp_path / "lake", tmp_path / "a.log")["stored"] == 16


def test_a_pattern_of_a_lakes_own_files_is_refused_for_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(_OLD)
    ingest(tmp_path / "lake", tmp_path / "a.log")
    ran = apilens("ingest", tmp_path / "lake" / "calls" / "**" / "*.parquet", "--lake", tmp_path / "other")
    assert ran.code == 3 and "files of a lake" in ran.err
