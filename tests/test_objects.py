"""Object stores, on a real S3 server: logs read from a bucket, a lake in one, and what is said when it fails."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
import zstandard
from deltalake import DeltaTable
from obstore.exceptions import GenericError
from obstore.store import S3Store

from apilens import objects
from apilens.errors import ConflictError
from apilens.lake import Lake, open_lake, storage
from buckets import S3Server, new_bucket
from commands import apilens, calls, ingest, totals
from logs import broken, log


def url(bucket: S3Store, key: str = "") -> str:
    return f"s3://{bucket.config['bucket']}/{key}"


# -- logs in a bucket ----------------------------------------------------------------------------------------------


def test_objects_are_found_by_name_glob_and_beginning(bucket: S3Store) -> None:
    for key in (
        "logs/a.log",
        "logs/b.log.1",
        "logs/deep/er/c.log",
        "logs/.part",
        "logs/.tmp/x.log",
        "logsnot/d.log",
        "e f.log",
    ):
        bucket.put(key, b"x")
    bucket.put("logs/empty.log", b"")

    def found(key: str) -> list[str]:
        return [one.url.removeprefix(url(bucket)) for one in objects.find(url(bucket, key))]

    assert found("logs/a.log") == ["logs/a.log"]
    assert found("logs/") == ["logs/a.log", "logs/b.log.1", "logs/deep/er/c.log"]
    assert found("logs") == [*found("logs/"), "logsnot/d.log"]
    assert found("logs/*.log") == ["logs/a.log"]
    assert found("logs/**/*.log") == ["logs/a.log", "logs/deep/er/c.log"]
    assert found("logs/[!a].log.?") == ["logs/b.log.1"]
    assert found("logs/.part") == ["logs/.part"]
    assert found("none/") == []
    assert len(found("")) == 5


def test_a_lake_among_the_logs_is_no_log(bucket: S3Store, tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "a.log").write_bytes(log(range(5)))
    bucket.put("calls/a.log", (tmp_path / "calls" / "a.log").read_bytes())
    places = [(str(tmp_path), str(tmp_path / "lake")), (url(bucket), url(bucket, "lake"))]
    for logs, lake in places:
        runs = [ingest(lake, logs) for _ in range(2)]  # type: ignore[arg-type]
        assert [(run["read"], run["stored"], len(run["inputs"]), run["exit_code"]) for run in runs] == [
            (5, 5, 1, 0),
            (5, 0, 1, 0),
        ]
    everything = ingest(tmp_path / "lake", str(tmp_path / "**" / "*"))
    assert [one["input"] for one in everything["inputs"]] == [str(tmp_path / "calls" / "a.log")]
    for inside in ("calls", "_apilens/lake.json", ""):
        ran = apilens("ingest", tmp_path / "lake" / inside, "--lake", tmp_path / "lake")
        assert ran.code == 3 and "lake" in ran.err, ran


def test_the_same_data_from_a_bucket_and_from_files_are_stored_once(bucket: S3Store, tmp_path: Path) -> None:
    text = [log(range(n * 50, n * 50 + 50)) + broken(n) + b"\n" for n in range(3)]
    (tmp_path / "a.log").write_bytes(text[0])
    bucket.put("logs/a.log", text[0])
    bucket.put("logs/b.log.gz", gzip.compress(text[1]))
    bucket.put("logs/c.zst", zstandard.compress(text[2]))
    lake = tmp_path / "lake"
    ingest(lake, tmp_path / "a.log")
    done = ingest(lake, url(bucket, "logs/"))
    assert (done["stored"], done["rejected"], done["duplicate"]) == (100, 2, 51)
    assert [part["compression"] for part in done["inputs"]] == [None, "gzip", "zstd"]
    assert [part["input"] for part in done["inputs"]] == [
        url(bucket, f"logs/{n}") for n in ("a.log", "b.log.gz", "c.zst")
    ]
    (tmp_path / "b.log").write_bytes(text[1])
    (tmp_path / "c.log").write_bytes(text[2] + log(range(900, 910)))
    again = ingest(lake, tmp_path / "b.log", tmp_path / "c.log", url(bucket, "logs/*"))
    assert (again["stored"], again["duplicate"]) == (10, 5 * 51)
    assert len(calls(lake)) == 160


def test_an_object_is_read_in_ranges_whatever_is_asked_for(bucket: S3Store) -> None:
    data = bytes(range(256)) * 40
    bucket.put("x", data)
    with mock.patch.object(objects, "RANGE_BYTES", 1000):
        reader = objects.ObjectReader(url(bucket, "x"))
        assert b"".join(iter(lambda: reader.read(777) or b"", b"")) == data
        reader.seek(-300, 2)
        assert reader.read(1000) == data[-300:]
        reader.seek(5)
        assert (reader.read(3), reader.tell()) == (data[5:8], 8)
        reader.close()


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(bucket: S3Store, tmp_path: Path) -> None:
    bucket.put("x.log", log(range(400)))
    with mock.patch.object(objects, "RANGE_BYTES", 4000):
        real, asked = objects.ObjectReader._fetch, iter(range(1000))

        def fetch(self: objects.ObjectReader, start: int) -> bytes:
            if next(asked) == 3:
                bucket.put("x.log", log(range(1000, 1400)))
            return real(self, start)

        with mock.patch.object(objects.ObjectReader, "_fetch", fetch):
            ran = apilens("ingest", "--lake", tmp_path / "lake", url(bucket, "x.log"))
    assert ran.code == 4 and "replaced while it was read" in ran.err, ran
    stored = calls(tmp_path / "lake")
    assert len(stored) < 400
    assert not any("/api/orders/1000" in call for call in stored)


def test_sources_are_declared_by_url(bucket: S3Store, tmp_path: Path) -> None:
    bucket.put("logs/edge/a.log", log(range(5)))
    bucket.put("logs/notes.txt", b"nothing of ours\n")
    config = tmp_path / "apilens.toml"
    config.write_text('[[sources]]\nmatch = "s3://*/edge/*"\nsource = "edge"\n')
    done = ingest(tmp_path / "lake", url(bucket, "logs/"), "--config", config)
    assert done["stored"] == 5 and len(done["inputs"]) == 1
    assert open_lake(str(tmp_path / "lake")).ledger()["source"].to_list() == ["edge"]


def test_lookback_leaves_out_objects_that_no_run_can_have_missed(bucket: S3Store, tmp_path: Path) -> None:
    bucket.put("logs/a.log", log(range(5)))
    first = ingest(tmp_path / "lake", url(bucket, "logs/"), "--lookback", "0s")
    time.sleep(1.1)  # a store's clock knows whole seconds
    again = ingest(tmp_path / "lake", url(bucket, "logs/"), "--lookback", "1s")
    bucket.put("logs/b.log", log(range(5, 12)))
    last = ingest(tmp_path / "lake", url(bucket, "logs/"), "--lookback", "2s")
    assert (first["stored"], again["stored"], last["stored"]) == (5, 0, 7)


# -- a lake in a bucket --------------------------------------------------------------------------------------------


def test_a_lake_in_a_bucket_answers_as_one_in_a_folder(bucket: S3Store, tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.log").write_bytes(log(range(n * 200, n * 200 + 200)) + broken(n) + b"\n")
    near, far = tmp_path / "lake", url(bucket, "some/lake")
    for name in ("0.log", "1.log", "2.log", "1.log"):
        assert ingest(near, tmp_path / name)["stored"] == ingest(far, tmp_path / name)["stored"]  # type: ignore[arg-type]
    assert totals(near) == totals(far)  # type: ignore[arg-type]
    query = "SELECT route, status_code, count(*) AS n FROM calls GROUP BY ALL ORDER BY ALL"
    for command in (["endpoints", "--output", "json"], ["sql", query], ["rejects"]):
        here, there = (apilens(*command, "--lake", lake) for lake in (near, far))
        assert (here.code, here.out) == (there.code, there.out), there
    assert apilens("lake", "compact", "--lake", far).code == 0
    assert totals(near) == totals(far)  # type: ignore[arg-type]
    assert len(open_lake(far).files("calls")) == 1
    assert apilens("lake", "vacuum", "--retention-hours", "0", "--lake", far).code == 0
    ran = apilens("lake", "forget", "--before", "2026-11-02T08:05Z", "--lake", far)
    assert ran.code == 0, ran
    asked = ("lake", "forget", "--consumer", "nobody", "--dry-run", "--lake")
    assert "give --state URL" in apilens(*asked, far).err
    assert "give --state URL" not in apilens(*asked, near).err
    here = apilens("lake", "forget", "--before", "2026-11-02T08:05Z", "--lake", near)
    assert here.out.partition(";")[0] == ran.out.partition(";")[0]
    assert (
        ingest(far, tmp_path / "0.log", "--replace")["stored"]
        == ingest(near, tmp_path / "0.log", "--replace")["stored"]
    )  # type: ignore[arg-type]
    assert totals(near) == totals(far)  # type: ignore[arg-type]
    assert pl.scan_delta(
        f"{far}/calls", storage_options={"allow_http": "true"}, credential_provider=None
    ).collect().height == len(calls(near))


def test_the_state_of_a_lake_in_a_bucket_is_kept_where_the_user_says(bucket: S3Store, tmp_path: Path) -> None:
    bucket.put("a.log", log(range(20)))
    lake = url(bucket, "lake")
    ingest(lake, url(bucket, "a.log"))  # type: ignore[arg-type]
    ran = apilens("scan", "--lake", lake)
    assert ran.code == 2 and "--state sqlite:///" in ran.err, ran
    assert apilens("scan", "--lake", lake, "--state", f"sqlite:///{tmp_path}/state.db").code in (0, 1)


def test_processes_that_commit_to_a_bucket_at_once_store_each_call_once(bucket: S3Store, tmp_path: Path) -> None:
    paths = []
    for n in range(6):
        paths.append(tmp_path / f"{n}.log")
        paths[-1].write_bytes(log(range(n * 100, n * 100 + 100)) + broken(n) + b"\n")
    lake = url(bucket, "lake")
    command = [sys.executable, "-c", "from apilens.cli import main; main()", "ingest", "--json", "--lake", lake]
    runs = [
        subprocess.Popen([*command, *map(str, [*paths[n * 2 :], *paths[: n * 2]][:4])], stdout=-1, stderr=-1)
        for n in range(3)
    ]
    done = [(process, *process.communicate()) for process in runs]
    assert [process.returncode for process, _, _ in done] == [0] * 3, [err.decode() for _, _, err in done]
    assert sum(json.loads(out)["stored"] for _, out, _ in done) == 600
    ingest(tmp_path / "one", *paths)
    assert totals(tmp_path / "one") == totals(lake)  # type: ignore[arg-type]


def test_a_lock_of_a_killed_run_is_free_after_its_lease_and_a_held_one_is_kept(bucket: S3Store) -> None:
    place = storage.storage_at(url(bucket, "lake"))
    with mock.patch.object(storage, "LEASE_S", 1.5):
        with place.lock("x", wait=False):
            time.sleep(2.5)  # longer than the lease: it is renewed
            with pytest.raises(storage.LockedError, match="free at"), place.lock("x", wait=False):
                pass
        with place.lock("x", wait=False):
            pass
        killed = storage._Lease(objects.open_store(url(bucket, "lake")), url(bucket, "lake"), "x")
        assert killed.taken()
        began = time.monotonic()
        with place.lock("x", wait=True):
            assert time.monotonic() - began > 1.0
            with pytest.raises(storage.LakeError, match="could not renew"):
                killed.check()


def test_what_two_runs_create_at_once_is_made_by_one(bucket: S3Store) -> None:
    place = storage.storage_at(url(bucket, "lake"))
    assert [place.create("x", b"one"), place.create("x", b"two"), place.read("x")] == [True, False, b"one"]


def test_a_lock_that_is_given_back_while_another_asks_for_it_is_no_error(bucket: S3Store) -> None:
    holder, other = (storage._Lease(bucket, url(bucket), "commit") for _ in range(2))
    assert holder.taken()
    real = bucket.get
    with mock.patch.object(S3Store, "get", lambda self, path: (bucket.delete(path), real(path))[1]):
        assert not other.taken()
    assert other.taken()


def test_a_lock_whose_writing_was_not_answered_is_held(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, puts = bucket.put, 0

    class Lossy:
        """The library writes, hears nothing, writes again, and meets what it wrote."""

        def __getattr__(self, name: str) -> Any:
            return getattr(bucket, name)

        def put(self, path: str, body: bytes, *, mode: Any) -> Any:
            nonlocal puts
            puts += 1
            real(path, body, mode=mode)
            return real(path, body, mode=mode)

    monkeypatch.setattr(storage, "LEASE_S", 0.6)
    lease = storage._Lease(Lossy(), url(bucket), "commit")  # type: ignore[arg-type]
    other = storage._Lease(bucket, url(bucket), "commit")
    assert lease.taken() and not other.taken()
    renewing = threading.Thread(target=lease.keep)
    renewing.start()
    time.sleep(1)
    lease.check()
    assert puts > 2 and not other.taken()
    lease.ended.set()
    renewing.join()
    lease.give_back()
    assert other.taken()


@pytest.mark.parametrize("step", ["calls", "ingests"])
def test_a_run_whose_lock_was_taken_over_commits_nothing_twice(bucket: S3Store, tmp_path: Path, step: str) -> None:
    """The worst a lease can do: this run goes to sleep in the middle of its commit, another one does the same work."""
    for name, numbers in (("a.log", range(30)), ("copy.log", range(30)), ("b.log", range(30, 60))):
        (tmp_path / name).write_bytes(log(numbers))
    lake = url(bucket, "lake")
    ingest(lake, tmp_path / "b.log")  # type: ignore[arg-type]
    opened = open_lake(lake)
    real = type(opened).transact
    slept = threading.Event()

    def transact(self: Any, name: Any, *rest: Any, **named: Any) -> None:
        if name == step and not slept.is_set():
            slept.set()
            bucket.delete("lake/_apilens/commit.lock")  # as if the lease had run out
            other = [sys.executable, "-c", "from apilens.cli import main; main()", "ingest", "--lake", lake]
            subprocess.run([*other, str(tmp_path / "copy.log")], check=True, capture_output=True)
        real(self, name, *rest, **named)

    with mock.patch.object(type(opened), "transact", transact):
        ran = apilens("ingest", "--lake", lake, tmp_path / "a.log")
    assert ran.code == 0, ran
    ingest(tmp_path / "one", tmp_path / "a.log", tmp_path / "b.log")
    found, expected = totals(lake), totals(tmp_path / "one")  # type: ignore[arg-type]
    assert found == expected


# -- a store that is out for a while -----------------------------------------------------------------------------------

INGEST = [
    sys.executable, "-c",
    "from apilens.ingest import run; run.BATCH = 1; from apilens.cli import main; main()", "ingest", "--json", "--lake",
]  # fmt: skip


def test_a_run_goes_on_when_its_store_was_killed_and_comes_back(
    mortal_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in mortal_s3_server.environment.items():
        monkeypatch.setenv(key, value)
    bucket = new_bucket(mortal_s3_server)
    for n in range(12):
        bucket.put(f"logs/{n:02}.log", log(range(n * 4000, n * 4000 + 4000)) + broken(n) + b"\n")
    lake = url(bucket, "lake")
    run = subprocess.Popen([*INGEST, lake, url(bucket, "logs/")], stdout=-1, stderr=-1, text=True)
    while not bucket.list("lake/calls/date=2026-11-02/").collect():  # in the middle of its work
        assert run.poll() is None
        time.sleep(0.05)
    mortal_s3_server.kill()
    time.sleep(10)
    assert run.poll() is None
    mortal_s3_server.start()
    out, err = run.communicate()
    done = json.loads(out)
    assert (run.returncode, done["stored"], done["rejected"], done["duplicate"]) == (0, 48_000, 12, 0), err
    assert err == f"apilens: waiting for {url(bucket).rstrip('/')}: it cannot be reached; tried again for 60 s\n"
    assert (len(calls(lake)), len(totals(lake)["rejects"])) == (48_000, 12)  # type: ignore[arg-type]
    assert "lake/_apilens/commit.lock" not in [one["path"] for one in bucket.list("lake/_apilens/").collect()]


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


OUT, BUSY = "HTTP error: error sending request", "Server returned non-2xx status code: 503 Service Unavailable"
MISSING = "Server returned non-2xx status code: 404 Not Found"


@pytest.mark.parametrize(
    ("answers", "waited"),
    [((OUT,), 5), ((BUSY,), 60), (("", OUT), 60), ((MISSING, OUT), 60), ((OUT, BUSY), 60)],
    ids=["never reached", "busy", "reached before", "said before that there is nothing", "out, then busy"],
)
def test_a_store_that_was_never_reached_is_not_waited_for_as_one_that_is_out_for_a_moment(
    answers: tuple[str, ...], waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(objects, "time", clock)
    monkeypatch.setattr(objects, "_reached", set())
    left = list(answers)

    def ask() -> None:
        text = left.pop(0) if len(left) > 1 else left[0]
        if text:
            raise OSError(f"Generic S3 error: {text}")

    if answers[0] in ("", MISSING):
        with nullcontext() if not answers[0] else pytest.raises(OSError, match="404"):
            objects.patiently("s3://some/lake", ask)
    with pytest.raises(OSError, match="Generic S3"):
        objects.patiently("s3://some/lake", ask)
    assert waited < clock.now <= waited + 2


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("Generic S3 error: Error performing GET http://127.0.0.1:9/b/tokens/x in 2s - HTTP error: error sending request", True),
        ("Generic S3 error: Error performing GET http://127.0.0.1:9/b/x - Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>", True),
        ("Generic S3 error: HTTP error: request or response body error", True),
        ("Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 2s - HTTP error: error sending request", False),
        ("Generic S3 error: Error performing PUT http://127.0.0.1:9/latest/api/token in 2s - HTTP error: error sending request", False),
        ("Generic S3 error: Error performing GET http://127.0.0.1:9/b - Server returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>", False),
        ("No such file or directory", False),
    ],
)  # fmt: skip
def test_only_what_may_pass_is_waited_for(text: str, out: bool) -> None:
    assert objects.is_outage(OSError(text)) == out


def test_a_lease_that_ran_out_while_the_store_was_out_is_kept_unless_another_run_took_it(bucket: S3Store) -> None:
    holder, other = (storage._Lease(bucket, url(bucket), "commit") for _ in range(2))
    assert holder.taken()
    holder.until = time.time() - 5  # nobody could renew it
    holder.check()
    assert holder.until > time.time() and not other.taken()
    with mock.patch.object(storage, "LEASE_S", -1.0):
        assert storage._Lease._put(holder, holder._version) is None
    assert other.taken()
    with pytest.raises(ConflictError, match="could not renew"):
        holder.check()
    holder.give_back()
    assert not storage._Lease(bucket, url(bucket), "commit").taken()  # it is the other's


def test_a_lock_that_cannot_be_given_back_hides_nothing_of_what_happened(bucket: S3Store) -> None:
    place = storage.storage_at(url(bucket, "lake"))
    down = GenericError("Generic S3 error: error sending request")
    with (
        pytest.raises(ZeroDivisionError),
        mock.patch.object(storage._Lease, "_put"),
        mock.patch.object(S3Store, "get", side_effect=down),
        place.lock("x", wait=False),
    ):
        raise ZeroDivisionError


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_a_commit_whose_answer_is_lost_with_the_store_is_made_once(
    bucket: S3Store, tmp_path: Path, written: bool
) -> None:
    (tmp_path / "a.log").write_bytes(log(range(30)) + broken(1) + b"\n")
    lake = url(bucket, "lake")
    real, left = DeltaTable.create_write_transaction, ["ingests", "rejects", "calls", "rollups"]

    def lossy(self: DeltaTable, *args: Any, **named: Any) -> None:
        name = self.table_uri.rstrip("/").rpartition("/")[2]
        first = name in left
        if first:
            left.remove(name)
        if written or not first:
            real(self, *args, **named)
        if first:
            raise OSError("Kernel error -> Generic S3 error: HTTP error: request or response body error")

    with mock.patch.object(DeltaTable, "create_write_transaction", lossy):
        done = ingest(lake, tmp_path / "a.log")  # type: ignore[arg-type]
    assert not left and (done["stored"], done["rejected"], done["duplicate"]) == (30, 1, 0)
    ingest(tmp_path / "one", tmp_path / "a.log")
    assert totals(lake) == totals(tmp_path / "one")  # type: ignore[arg-type]


# -- what is said when it fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Generic S3 error: Error performing PUT http://127.0.0.1:9/b/x in 1.403ms - HTTP error: error sending request", "cannot be reached"),
        ("Error performing GET http://127.0.0.1:9/b/x in 401.2µs, after 0 retries - error sending request", "cannot be reached"),
        ("Error performing GET http://127.0.0.1:9/b/x in 403ms - error sending request", "cannot be reached"),
        ("Client error with status 403 Forbidden: <Error><Code>AccessDenied</Code></Error>", "refuses access (AccessDenied)"),
        ("Error performing GET http://127.0.0.1:9/b/x in 2ms - Server returned non-2xx status code: 401 Unauthorized: ", "refuses access"),
        ("Error performing GET http://127.0.0.1:9/b in 99ms, after 5 retries, max_retries: 5, retry_timeout: 60s  - Server returned non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>", "answered 503 Service Unavailable SlowDown"),
        ("Error performing GET http://127.0.0.1:9/b in 99ms, after 5 retries, max_retries: 5, retry_timeout: 60s  - Server returned non-2xx status code: 500 Internal Server Error: ", "answered 500 Internal Server Error each"),
        ("Error performing GET http://127.0.0.1:9/b in 1ms - Server returned non-2xx status code: 400 Bad Request: <Error><Code>AuthorizationHeaderMalformed</Code></Error>", "set AWS_REGION"),
        ("Error performing GET http://127.0.0.1:9/b in 1ms - Received redirect without LOCATION, this normally indicates an incorrectly configured region", "set AWS_REGION"),
        ("Error performing GET http://127.0.0.1:9/b in 1ms - Server returned non-2xx status code: 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>", "clock"),
        ("Generic S3 error: HTTP error: request or response body error", "cannot be reached"),
        ("Kernel error -> Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:9/b in 2s, retry_timeout\n  \x1b[31m↳\x1b[0m 180s  - Server returned non-2xx status code\n  \x1b[31m↳\x1b[0m 500 Internal Server Error\n", "answered 500 Internal Server Error each"),
    ],
)  # fmt: skip
def test_what_a_store_answers_is_said_in_words_and_how_long_it_took_is_no_status(text: str, said: str) -> None:
    assert said in objects.words(OSError(text), "s3://b/x")


@pytest.mark.parametrize("command", [("sql", "SELECT count(*) FROM calls"), ("rejects",)])
def test_a_reader_of_a_bucket_whose_files_go_says_so(bucket: S3Store, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5)) + broken(1) + b"\n")
    lake, present = url(bucket, "lake"), Lake._present
    ingest(lake, tmp_path / "a.log")  # type: ignore[arg-type]

    def forgotten(self: Lake, *args: Any) -> list[str]:
        found = present(self, *args)
        for file in found:
            bucket.delete(objects.split(file)[1])
        return found

    with mock.patch.object(Lake, "_present", forgotten):
        ran = apilens(*command, "--lake", lake)
    assert (ran.code, "run this again" in ran.err) == (75, True), ran


@pytest.mark.parametrize("key", ["/x", "../x", "x/./y", "x#1", "x?y", "x[1]*", "x%20y"])
def test_a_lake_that_its_libraries_would_look_for_in_different_places_is_refused(
    bucket: S3Store, tmp_path: Path, key: str
) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5)))
    ran = apilens("ingest", tmp_path / "a.log", "--lake", url(bucket, key))
    assert ran.code == 2 and "another" in ran.err, ran
    assert bucket.list().collect() == []


def test_what_cannot_be_named_in_a_bucket_is_said_and_the_rest_is_read(bucket: S3Store, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5)))
    for name, said in (
        ("s3://", "s3://BUCKET/PREFIX"),
        (url(bucket, "a/../b.log"), "'..'"),
        (url(bucket, "a//"), "empty"),
    ):
        ran = apilens("ingest", name, tmp_path / "a.log", "--lake", tmp_path / "lake")
        assert ran.code == 4 and said in ran.err, ran
        assert apilens("ingest", tmp_path / "a.log", "--lake", name).code == 2
    # Some other client put one there: the listing cannot be read past it.
    said = objects.words(
        OSError('Encountered object with invalid path: Path "a//b" contained empty path segment'), "s3://b/"
    )
    assert "a//b" in said and "longer beginning" in said


def test_failures_of_a_store_say_what_to_do(bucket: S3Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.log").write_bytes(log(range(5)))
    lake = url(bucket, "lake")
    ingest(lake, tmp_path / "a.log")  # type: ignore[arg-type]
    attempts = {
        "read": ["ingest", url(bucket, "logs/"), "--lake", tmp_path / "lake"],
        "lake": ["endpoints", "--lake", lake],
        "new": ["ingest", tmp_path / "a.log", "--lake", url(bucket, "other")],
    }

    def check(*expected: str) -> None:
        for name, command in attempts.items():
            ran = apilens(*command)
            assert ran.code == 3, (name, ran)
            assert any(text in ran.err for text in expected), (name, ran.err)
            assert "Traceback" not in ran.err

    ran = apilens("ingest", "s3://no-such-bucket-here/x/", "--lake", tmp_path / "lake")
    assert ran.code == 3 and "does not exist" in ran.err, ran
    ran = apilens("endpoints", "--lake", "s3://no-such-bucket-here/x")
    assert ran.code == 3 and "does not exist" in ran.err, ran
    ran = apilens("ingest", url(bucket, "none.log"), "--lake", tmp_path / "lake")
    assert ran.code == 3 and "no such object" in ran.err, ran
    monkeypatch.setattr(objects, "_RETRIES", 0)
    monkeypatch.setattr(objects, "PATIENCE_S", 0)
    monkeypatch.setattr(objects, "FIRST_PATIENCE_S", 0)
    objects.open_store.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        check("refuses access")
    objects.open_store.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        check("cannot be reached")
    objects.open_store.cache_clear()
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        patch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
        check("no credentials found")
    objects.open_store.cache_clear()


@pytest.mark.parametrize(
    "value",
    ["127.0.0.1:9000", "", "http://127.0.0.1:9000\n", "http://127.0.0.1:90000", "ftp://x", "http://u:secret@[::1"],
)
@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"])
def test_an_endpoint_that_is_no_url_is_said(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv(name, value)
    objects.open_store.cache_clear()
    ran = apilens("lake", "info", "--lake", "s3://bucket/lake")
    assert (ran.code, ran.err.count("\n")) == (2, 1) and f"{name}=" in ran.err and "is no URL" in ran.err, ran
    assert "secret" not in ran.err


def test_azure_without_an_account_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    ran = apilens("ingest", "az://container/logs/", "--lake", tmp_path / "lake")
    assert ran.code == 2 and "AZURE_STORAGE_ACCOUNT_NAME" in ran.err, ran
