"""sample_logs/ is what its generator makes, and TRUTH.json says what is in it; counted without apilens' parsers."""

from __future__ import annotations

import bz2
import csv
import json
import re
import subprocess
import sys
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zstandard

SAMPLE = Path(__file__).parent.parent / "sample_logs"
MADE = ("edge", "partner", "restored", "feedback")
EDGE_CALL = re.compile(
    rb'(?P<ip>\S+) - (?P<user>.+?) \[(?P<time>\S+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) \d+ "[^"]*" "[^"]*" '
    rb"\d+ \d+\.\d{3} (?P<upstream>.+) \S+ edge-[12] (?P<id>[0-9a-f]{32})"
)
ERROR_LOG = re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[error\] ")


def content(path: Path) -> bytes:
    """The uncompressed bytes, as far as they can be had."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        return zlib.decompressobj(31).decompress(raw)
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(raw).read()
    return bz2.decompress(raw) if path.suffix == ".bz2" else raw


def made_files(folder: Path) -> dict[str, Path]:
    paths = [path for name in MADE for path in (folder / name).iterdir()] + [folder / "TRUTH.json"]
    return {path.relative_to(folder).as_posix(): path for path in paths}


@pytest.fixture(scope="module")
def truth() -> Any:
    return json.loads((SAMPLE / "TRUTH.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def logs() -> dict[str, bytes]:
    return {
        name: content(path) for name, path in made_files(SAMPLE).items() if name.startswith(("edge", "part", "rest"))
    }


class Call(NamedTuple):
    method: str
    path: str
    status: int
    consumer: str
    request_id: str


def calls(logs: dict[str, bytes]) -> Iterator[Call]:
    """Every HTTP call, the restored copy left out."""
    for name, data in logs.items():
        for line in data.split(b"\n")[:-1]:
            if name.startswith("edge") and (m := EDGE_CALL.fullmatch(line)):
                method, _, rest = m["request"].decode().partition(" ")
                path = rest.split(" ")[0].partition("?")[0]
                yield Call(method, path, int(m["status"]), m["user"].decode(), m["id"].decode())
            elif name.startswith("partner") and classify(name, line) == "calls":
                record = json.loads(line)
                request, status = record["request"], record["response"]["status"]
                path = request["uri"].partition("?")[0]
                yield Call(request["method"], path, status, record["consumer"]["username"], request["id"])


def classify(name: str, line: bytes) -> str:
    if not line:
        return "blank"
    if name.startswith("partner"):
        try:
            json.loads(line)
        except ValueError:  # JSONDecodeError and UnicodeDecodeError
            return "broken"
        return "calls"
    if ERROR_LOG.match(line):
        return "filtered"
    return "calls" if EDGE_CALL.fullmatch(line) else "broken"


def test_generating_again_gives_the_same_files(tmp_path: Path) -> None:
    subprocess.run([sys.executable, SAMPLE / "generate.py", "--out", tmp_path], check=True)
    here, again = made_files(SAMPLE), made_files(tmp_path)
    assert sorted(here) == sorted(again)
    # Compared uncompressed: another release of zlib or zstd may pack the same bytes differently.
    assert [name for name in here if content(here[name]) != content(again[name])] == []


def test_the_whole_folder_stays_small_enough_for_git() -> None:
    paths = [
        *made_files(SAMPLE).values(),
        *(path for path in SAMPLE.iterdir() if path.suffix in (".py", ".toml", ".md")),
    ]
    assert sum(path.stat().st_size for path in paths) < 5_000_000
    assert sum(len(zlib.compress(path.read_bytes())) for path in paths) < 4_500_000


def test_lines_of_each_file_are_those_the_truth_counts(logs: dict[str, bytes], truth: Any) -> None:
    assert sorted(logs) == sorted(truth["conservation"]["files"])
    for name, data in logs.items():
        expected = truth["conservation"]["files"][name]
        *lines, unfinished = data.split(b"\n")
        counts = Counter(classify(name, line) for line in lines)
        found = {"lines": len(lines), "records": len(lines) - counts["blank"], "unfinished": len(unfinished)}
        found |= {kind: counts[kind] for kind in ("blank", "calls", "broken", "filtered")}
        expected = {"unfinished": expected.get("unfinished_bytes", 0)} | {
            k: expected[k] for k in found if k in expected
        }
        assert found == expected, name


def test_conservation_totals_are_the_sums_of_the_files(truth: Any) -> None:
    files, total = truth["conservation"]["files"], truth["conservation"]["total"]
    for kind in ("lines", "blank", "records", "calls", "broken", "filtered"):
        assert total[kind] == sum(counts[kind] for counts in files.values())
    assert total["lines"] == total["records"] + total["blank"]
    assert total["records"] == total["calls"] + total["broken"] + total["filtered"]


def test_the_restored_archive_holds_the_same_bytes_and_the_cut_one_ends_in_mid_line(
    logs: dict[str, bytes], truth: Any
) -> None:
    files = truth["conservation"]["files"]
    (copy,) = [name for name in files if "same_bytes_as" in files[name]]
    (cut,) = [name for name in files if files[name].get("truncated")]
    assert logs[copy] == logs[files[copy]["same_bytes_as"]]
    assert not logs[cut].endswith(b"\n")
    unpacker = zlib.decompressobj(31)
    unpacker.decompress((SAMPLE / cut).read_bytes())
    assert not unpacker.eof


def matching(seen: list[Call], endpoint: str) -> list[Call]:
    method, template = endpoint.split(" ")
    route = re.compile(re.escape(template).replace(r"\{id\}", "[^/]+"))
    return [call for call in seen if call.method == method and route.fullmatch(call.path)]


def test_faults_can_be_found_in_the_logs(logs: dict[str, bytes], truth: Any) -> None:
    seen = list(calls(logs))
    for fault in truth["faults"]:
        (endpoint,) = fault["endpoints"]
        hit = matching(seen, endpoint)
        assert {call.consumer for call in hit} >= set(fault["consumers"]), fault["id"]
        assert max(fault["affected_calls"], fault.get("missing_calls", 0)) > 30
        if status := fault["hint"]["status"]:
            hit = [call for call in hit if call.status == int(status)]
        assert len(hit) >= fault["affected_calls"], fault["id"]


def test_all_routes_of_the_truth_are_called(logs: dict[str, bytes], truth: Any) -> None:
    seen = list(calls(logs))
    assert len(truth["routes"]) == 34
    side_effects = [endpoint for fault in truth["faults"] for endpoint in fault.get("side_effects", [])]
    assert [endpoint for endpoint in truth["routes"] + side_effects if not matching(seen, endpoint)] == []


def feedback() -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for path in sorted((SAMPLE / "feedback").iterdir()):
        with path.open(encoding="utf-8", newline="") as lines:
            items += csv.DictReader(lines) if path.suffix == ".csv" else map(json.loads, lines)
    return items


def test_feedback_names_only_request_ids_that_occur(logs: dict[str, bytes]) -> None:
    named = set(re.findall(r"\b[0-9a-f]{32}\b", " ".join(item["body"] for item in feedback())))
    assert len(named) >= 3
    assert named <= {call.request_id for call in calls(logs)}


def test_feedback_truth_names_every_item_once_and_the_login_loop_stays_silent(truth: Any) -> None:
    ids = [item["id"] for item in feedback()]
    linked = truth["feedback"]["items"]
    assert sorted(ids) == sorted(linked)
    assert len(ids) == len(set(ids)) == 48
    assert len(truth["feedback"]["duplicates"]) == 6
    assert len(truth["feedback"]["questions"]) == 18
    assert set(linked.values()) == {fault["id"] for fault in truth["faults"]} - {"login-loop"} | {None}


def test_accounts_in_the_feedback_are_those_of_the_context() -> None:
    accounts = tomllib.loads((SAMPLE / "context.toml").read_text("utf-8"))["accounts"]
    for item in feedback():
        if item["account"]:
            assert item["reporter"].split("@")[1] in accounts[item["account"]]["domains"], item["id"]


def test_each_fake_secret_is_somewhere_in_the_logs(logs: dict[str, bytes], truth: Any) -> None:
    everything = b"".join(logs.values())
    assert [secret for secret in truth["secrets"] if secret.encode() not in everything] == []
