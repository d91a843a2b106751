"""Ingest from the outside: what is read is accounted for, what is known is not added again, what is bad is said."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import polars as pl
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apilens.errors import InputError
from apilens.formats.block import Block
from apilens.ingest import pieces
from apilens.ingest.lines import Lines
from apilens.ingest.pieces import Cut, Origin, cut
from apilens.ingest.sources import Input, expand, open_input
from apilens.lake import open_lake
from commands import apilens, calls, ingest, totals
from logs import broken, line, log

#: Kind of line -> its bytes as the i-th line of the test, and what must become of it.
KINDS: dict[str, tuple[Callable[[int], bytes], str]] = {
    "call": (line, "stored"),
    "invalid UTF-8": (lambda i: line(i, agent=b"caf\xe9 \xff\xfe"), "stored"),
    "behind NUL padding": (lambda i: b"\0" * (1 + i % 5) + line(i), "stored"),
    "other text": (broken, "rejected"),
    "bytes": (lambda i: b"\xff\x00\x1b[31m\x0b\x0c\xc2\x85 %d" % i, "rejected"),
    "cut call": (lambda i: line(i)[:-20], "rejected"),
    "empty": (lambda i: b"", "blank"),
    "spaces": (lambda i: b" \t" * (1 + i % 3), "blank"),
    "NUL": (lambda i: b"\0" * (1 + i % 9), "blank"),
}
FILES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from([b"\n", b"\r\n"])), max_size=12),
        st.booleans(),  # whether the last line has its end
    ),
    min_size=1,
    max_size=3,
)
Files = list[tuple[list[tuple[str, bytes]], bool]]


def written(files: Files, folder: Path, *, final: bool) -> tuple[list[Path], dict[str, int]]:
    """The files on disk, and what must be counted: worked out here from the kinds, not from the bytes."""
    expected = dict.fromkeys(("stored", "rejected", "blank"), 0)
    paths = []
    for n, (lines, whole) in enumerate(files):
        text = line(1000 * n) + b"\n"  # a file that begins with a call: which format it has is not the question here
        expected["stored"] += 1
        for i, (kind, end) in enumerate(lines, 1):
            make, fate = KINDS[kind]
            last = i == len(lines) and not whole
            body = make(1000 * n + i)
            text += body if last else body + end
            if not last or (final and body):
                expected[fate] += 1
        paths.append(folder / f"{n}.log")
        paths[-1].write_bytes(text)
    return paths, expected


@settings(max_examples=8, deadline=None)
@given(files=FILES, block=st.integers(160, 1500), final=st.booleans(), backwards=st.booleans())
@example(files=[([("NUL", b"\n"), ("empty", b"\r\n")], False)], block=160, final=True, backwards=False)
def test_every_line_is_counted_once_whatever_it_holds_and_however_the_input_is_cut(
    files: Files, block: int, final: bool, backwards: bool
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        paths, expected = written(files, folder, final=final)
        options = ["--final"] if final else []
        whole = ingest(folder / "whole", *paths, *options)
        assert {key: whole[key] for key in expected} == expected
        assert whole["filtered"] == whole["duplicate"] == whole["header"] == 0
        assert whole["bytes"] + sum(part["waiting_bytes"] for part in whole["inputs"]) == sum(
            path.stat().st_size for path in paths
        )
        with mock.patch.object(pieces, "BLOCK_BYTES", block):
            small = ingest(folder / "small", *(paths[::-1] if backwards else paths), *options)
            again = ingest(folder / "small", *paths, *options)
        assert {key: small[key] for key in expected} == expected
        assert (again["stored"], again["units"]) == (0, 0)
        assert calls(folder / "small") == calls(folder / "whole")
        assert len(calls(folder / "small")) == expected["stored"]
        raw = [open_lake(str(folder / lake)).rejects().sort("raw")["raw"].to_list() for lake in ("small", "whole")]
        assert raw[0] == raw[1]
        assert len(raw[0]) == expected["rejected"]


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(st.sampled_from([b"a", b"bc\n", b"\n", b"\r\n", b"\0", b"a long line of text\n"])).map(b"".join),
    block=st.integers(20, 60),
    step=st.integers(1, 50),
)
def test_pieces_are_whole_lines_and_together_the_input(data: bytes, block: int, step: int) -> None:
    with TemporaryDirectory() as name, mock.patch.multiple(pieces, BLOCK_BYTES=block, _READ=step):
        path = Path(name, "some.log")
        path.write_bytes(data)
        state = Cut()
        found = list(cut(open_input(Input("some.log", path)), Origin(), lambda head: [], state, final=True))
    assert state.problem is None
    at, number = 0, 1
    for piece in found:
        assert (piece.block.offset, piece.block.line) == (at, number)
        whole = data[at : at + piece.block.size]
        at += len(whole)
        assert whole.endswith(b"\n") or at == len(data)
        if piece.block.left_out:
            assert whole.count(b"\n") <= 1 < block < len(whole)
            assert whole.lstrip(b"\0").startswith(piece.block.data)
            assert piece.block.cut == (len(whole.lstrip(b"\0")) > block)
            number += 1
        else:
            assert piece.block.data == whole
            number += whole.count(b"\n")
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    assert (state.bytes, state.lines) == (len(data), lines)


# -- the same data again -------------------------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_file_again_adds_nothing(desk: Path) -> None:
    (desk / "a.log").write_bytes(log(range(40)) + broken(1) + b"\n")
    first = ingest(desk / "lake", "a.log")
    before = totals(desk / "lake")
    second = ingest(desk / "lake", "a.log")
    assert (first["stored"], first["rejected"]) == (40, 1)
    assert (second["read"], second["duplicate"], second["units"]) == (41, 41, 0)
    assert totals(desk / "lake") == before


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "two gzip members": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
}


@pytest.mark.parametrize("kind", COMPRESSED)
def test_an_archive_of_known_bytes_adds_nothing_and_an_archive_first_makes_the_plain_file_known(
    desk: Path, kind: str
) -> None:
    (desk / "a.log").write_bytes(log(range(40)))
    (desk / "archive").write_bytes(COMPRESSED[kind](log(range(40))))  # no suffix: told by its bytes
    ingest(desk / "lake", "a.log")
    assert ingest(desk / "lake", "archive")["duplicate"] == 40
    assert ingest(desk / "other", "archive")["stored"] == 40
    assert ingest(desk / "other", "a.log")["duplicate"] == 40
    assert calls(desk / "lake") == calls(desk / "other")


def test_of_a_cut_archive_every_whole_line_that_can_be_decoded_is_kept(desk: Path) -> None:
    whole = gzip.compress(log(range(2000)))
    for left in range(8, 5000, 1000):
        packed = whole[:-left]
        (desk / "cut.gz").write_bytes(packed)
        done = ingest(desk / "lake", desk / "cut.gz", "--source", str(left))
        assert done["exit_code"] == 4
        assert done["stored"] == zlib.decompressobj(31).decompress(packed).count(b"\n")


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_of_a_damaged_archive_every_line_before_the_damage_is_kept(desk: Path, kind: str, members: int) -> None:
    packing: dict[str, tuple[Any, Any]] = {
        "gz": (gzip.compress, lambda: zlib.decompressobj(31)),
        "bz2": (lambda data: bz2.compress(data, 1), bz2.BZ2Decompressor),
        "xz": (lzma.compress, lzma.LZMADecompressor),
    }
    compress, decoder = packing[kind]
    packed = [compress(log(range(n * 10_000, (n + 1) * 10_000))) for n in range(members)]
    last = packed[-1]
    for at in (len(last) // 3, len(last) * 2 // 3, len(last) - 6):
        damaged = bytearray(last)
        damaged[at : at + 64] = bytes(byte ^ 0xFF for byte in damaged[at : at + 64])
        (desk / "damaged").write_bytes(b"".join(packed[:-1]) + damaged)
        one, text = decoder(), b""
        try:  # bytes in, one at a time: all that any decoder can tell of it
            for byte in damaged:
                text += one.decompress(bytes([byte]))
        except (OSError, lzma.LZMAError, zlib.error):
            pass
        done = ingest(desk / "lake", desk / "damaged", "--source", str(at))
        assert done["exit_code"] == 4 and "damaged" in done["inputs"][0]["problem"]
        # More of bzip2, which hands out a block before it knows that it is damaged.
        assert done["lines"] >= (members - 1) * 10_000 + text.count(b"\n")


def test_zstd_that_begins_with_a_frame_to_be_skipped_is_read(desk: Path) -> None:
    skipped = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 3) + b"abc"
    (desk / "parallel.zst").write_bytes(
        skipped + zstandard.compress(log(range(10))) + skipped + zstandard.compress(log(range(10, 20)))
    )
    assert ingest(desk / "lake", desk / "parallel.zst")["stored"] == 20


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_padding_between_the_parts_of_an_archive_ends_none(compress: Callable[[bytes], bytes], desk: Path) -> None:
    (desk / "padded").write_bytes(compress(log(range(10))) + b"\0" * 4 + compress(log(range(10, 20))) + b"\0" * 8)
    assert ingest(desk / "lake", desk / "padded")["stored"] == 20


def test_an_archive_that_asks_for_more_memory_than_is_taken_is_said_with_what_to_do(desk: Path) -> None:
    large = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]
    (desk / "large.xz").write_bytes(lzma.compress(log(range(10)), filters=large))
    (problem,) = (part["problem"] for part in ingest(desk / "lake", desk / "large.xz")["inputs"])
    assert "more memory than is taken" in problem and "decompress it first" in problem


def test_standard_input_that_is_closed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="-: standard input is closed"):
        open_input(Input("-"))


def test_rotated_copied_linked_moved_and_piped_data_are_known(desk: Path) -> None:
    data = log(range(30))
    (desk / "logs").mkdir()
    live = desk / "logs" / "access.log"
    live.write_bytes(data)
    ingest(desk / "lake", "logs")
    live.rename(desk / "logs" / "access.log.1")
    live.write_bytes(log(range(30, 50)))
    (desk / "copy").write_bytes(data)
    (desk / "link").symlink_to(desk / "logs" / "access.log.1")
    done = ingest(desk / "lake", "logs", "copy", "link", "-", stdin=data)
    assert done["stored"] == 20
    # The link is the rotated file itself, which is read once; the copy and the pipe are read, and known.
    assert done["duplicate"] == 90
    assert len(calls(desk / "lake")) == 50


def test_the_same_data_twice_in_one_run_are_stored_once(desk: Path) -> None:
    for name in ("a.log", "b.log", "c.log"):
        (desk / name).write_bytes(log(range(30)))
    done = ingest(desk / "lake", "*.log")
    assert (done["stored"], done["duplicate"]) == (30, 60)
    assert len(calls(desk / "lake")) == 30


@settings(max_examples=5, deadline=None)
@given(cuts=st.lists(st.integers(0, 4500), min_size=1, max_size=5), block=st.sampled_from([300, 1200, 1 << 20]))
def test_a_file_that_grows_between_runs_ends_up_as_if_read_at_once(cuts: list[int], block: int) -> None:
    data = log(range(20)) + broken(1) + b"\r\n" + log(range(30, 50))
    with TemporaryDirectory() as name, mock.patch.object(pieces, "BLOCK_BYTES", block):
        folder = Path(name)
        stored = 0
        for length in [*sorted(cuts), len(data)]:
            (folder / "a.log").write_bytes(data[:length])
            stored += ingest(folder / "lake", folder / "a.log")["stored"]
        assert stored == 40
        assert len(set(calls(folder / "lake"))) == len(calls(folder / "lake")) == 40
        assert open_lake(str(folder / "lake")).rejects()["raw"].to_list() == [broken(1)]


def test_rejects_of_which_none_fits_are_said_to_need_a_layout_and_stay(desk: Path) -> None:
    (desk / "a.log").write_bytes(log(range(20)) + broken(1) + b"\n")
    ingest(desk / "lake", "a.log")
    for options in ((), ("--log-format", "[$time_local] $status")):
        ran = apilens("rejects", "--lake", desk / "lake", "--refeed", *options)
        assert ran.code == 3 and "apilens rejects --refeed --log-format LAYOUT" in ran.err, ran
        assert "apilens ingest" not in ran.err
    assert open_lake(str(desk / "lake")).rejects()["raw"].to_list() == [broken(1)]


def test_what_an_input_holds_several_times_is_said_to_be_stored_once(desk: Path) -> None:
    (desk / "a.log").write_bytes(log(range(20)) * 5)
    with mock.patch.object(pieces, "BLOCK_BYTES", len(log(range(20)))):
        done = ingest(desk / "lake", "a.log")
    assert done["duplicate"] > 0 and done["stored"] == len(calls(desk / "lake")) == 100 - done["duplicate"]


@pytest.mark.parametrize("lines", [3, 12, 18, 32, 45])
def test_a_copy_that_is_cut_short_anywhere_adds_nothing(lines: int, desk: Path) -> None:
    with mock.patch.object(pieces, "BLOCK_BYTES", 20 * (len(line(1)) + 1)):
        (desk / "a.log").write_bytes(log(range(50)))
        assert ingest(desk / "lake", "a.log")["stored"] == 50
        (desk / "b.log").write_bytes(log(range(lines)))
        again = ingest(desk / "lake", "b.log")
    assert (again["stored"], again["duplicate"]) == (0, lines)


@pytest.mark.parametrize(("query", "most"), [("", 8000), ("?q=" + "x" * 900, 4000)], ids=["usual", "long"])
def test_a_piece_is_as_long_as_its_lines_allow_and_the_end_is_shared_out(query: str, most: int, desk: Path) -> None:
    lines = [line(i, query=query) + b"\n" for i in range(230)]
    (desk / "x.log").write_bytes(b"".join(lines))
    with mock.patch.multiple(pieces, BLOCK_BYTES=8000, _READ=100):
        assert ingest(desk / "lake", "x.log")["stored"] == 230
    sizes = open_lake(str(desk / "lake")).ledger().sort("offset")["bytes"].to_list()
    assert most - len(lines[-1]) < max(sizes) <= most
    assert all(size <= 4000 for size in sizes[-2:])


def test_equal_bytes_of_two_hosts_are_told_apart_by_source_and_environment(desk: Path) -> None:
    (desk / "a.log").write_bytes(log(range(10)))
    for options in ([], ["--source", "gw-1"], ["--source", "gw-2"], ["--environment", "test"]):
        assert ingest(desk / "lake", "a.log", *options)["stored"] == 10
        assert ingest(desk / "lake", "a.log", *options)["duplicate"] == 10
    assert len(calls(desk / "lake")) == 40


# -- the last line -------------------------------------------------------------------------------------------------


def test_a_last_line_without_end_waits_until_it_is_whole(desk: Path) -> None:
    path = desk / "a.log"
    path.write_bytes(log(range(5)) + line(5)[:-6])
    first = ingest(desk / "lake", path)
    assert (first["stored"], first["rejected"], first["inputs"][0]["waiting_bytes"]) == (5, 0, len(line(5)) - 6)
    path.write_bytes(log(range(6)))
    assert ingest(desk / "lake", path)["stored"] == 1
    assert len(calls(desk / "lake")) == 6


def test_final_takes_a_last_line_without_end_and_its_end_later_adds_nothing(desk: Path) -> None:
    path = desk / "a.log"
    path.write_bytes(log(range(5)) + line(5))
    assert ingest(desk / "lake", path)["stored"] == 5
    assert ingest(desk / "lake", path, "--final")["stored"] == 1
    path.write_bytes(log(range(8)))
    assert ingest(desk / "lake", path)["stored"] == 2
    assert len(calls(desk / "lake")) == 8


def test_a_pipe_and_an_intact_archive_are_complete_without_final(desk: Path) -> None:
    (desk / "a.gz").write_bytes(gzip.compress(log(range(5)) + line(5)))
    assert ingest(desk / "lake", "a.gz")["stored"] == 6
    assert ingest(desk / "other", "-", stdin=log(range(5)) + line(5))["stored"] == 6
    reading, writing = os.pipe()
    os.write(writing, log(range(6, 9)) + line(9))
    os.close(writing)
    assert ingest(desk / "lake", f"/dev/fd/{reading}")["stored"] == 4
    os.close(reading)


# -- another layout, rejects ---------------------------------------------------------------------------------------

#: A layout that no known format resembles.
PIPED = "$remote_addr|$time_iso8601|$request|$status|$body_bytes_sent|$request_time"


def piped(i: int, query: str = "") -> bytes:
    """A call in the layout PIPED, without a line end."""
    return (
        f"10.1.0.{i}|2026-11-02T09:00:{i % 60:02d}+00:00|GET /api/carts/{i}{query} HTTP/1.1|200|{i}|0.{i:03d}".encode()
    )


def mixed(desk: Path) -> Path:
    """A file of 30 calls in the combined format and 4 in another, of which one carries a secret."""
    rest = b"".join(piped(i) + b"\n" for i in (100, 101, 102))
    path = desk / "mixed.log"
    path.write_bytes(log(range(15)) + rest + log(range(15, 30)) + piped(103, "?token=s3cr3t-value") + b"\r\n")
    return path


def test_a_wrong_layout_first_does_not_block_the_right_one(desk: Path) -> None:
    path = desk / "a.log"
    path.write_bytes(b"".join(piped(i) + b"\n" for i in range(20)))
    wrong = PIPED.replace("$body_bytes_sent", "$bytes_sent")
    assert ingest(desk / "lake", path, "--log-format", wrong)["stored"] == 20
    assert ingest(desk / "lake", path, "--log-format", PIPED)["duplicate"] == 20
    assert ingest(desk / "lake", path, "--log-format", PIPED, "--replace")["stored"] == 20
    ingest(desk / "right", path, "--log-format", PIPED)
    assert totals(desk / "lake") == totals(desk / "right")


def test_rejects_are_kept_byte_for_byte_outside_masked_spans_and_where_they_stood(desk: Path) -> None:
    path = mixed(desk)
    with mock.patch.object(pieces, "BLOCK_BYTES", 700):
        ingest(desk / "lake", path)
    data, rows = path.read_bytes(), open_lake(str(desk / "lake")).rejects()
    assert rows.height == 4
    for row in rows.iter_rows(named=True):
        end = data.index(b"\n", row["source_offset"])
        original = data[row["source_offset"] : end].rstrip(b"\r")
        parts = re.split(rb"masked\.[0-9a-f]{12}", row["raw"])
        assert re.fullmatch(b".+".join(map(re.escape, parts)), original, re.DOTALL)
        assert data.count(b"\n", 0, row["source_offset"]) == row["line"] - 1
        assert row["reason"]
    assert sum(b"masked." in raw for raw in rows["raw"]) == 1
    assert b"s3cr3t" not in b"".join(rows["raw"])


def test_the_parts_of_two_streams_are_joined_wherever_pieces_end(tmp_path: Path) -> None:
    def cri(text: bytes, stream: bytes, tag: bytes) -> bytes:
        return b"2026-03-09T14:00:00.1Z %s %s %s\n" % (stream, tag, text)

    def docker(text: bytes, stream: bytes, tag: bytes) -> bytes:
        ended = text + b"\n" if tag == b"F" else text
        members = {"log": ended.decode(), "stream": stream.decode(), "time": "2026-03-09T14:00:00.1Z"}
        return json.dumps(members, separators=(",", ":")).encode() + b"\n"

    for wrap in (cri, docker):
        data = b""
        for i in range(0, 12, 2):
            out, err = line(i), line(i + 1)
            data += wrap(out[:40], b"stdout", b"P") + wrap(err[:30], b"stderr", b"P")
            data += (
                wrap(out[40:], b"stdout", b"F") + wrap(err[30:60], b"stderr", b"P") + wrap(err[60:], b"stderr", b"F")
            )
        path = tmp_path / f"{wrap.__name__}.log"
        path.write_bytes(data)
        for block in (900, 1250):
            with mock.patch.object(pieces, "BLOCK_BYTES", block):
                done = ingest(tmp_path / f"{wrap.__name__}{block}", path)
            assert (done["stored"], done["rejected"]) == (12, 0)


@pytest.mark.parametrize("wrap", ["%s", "2026-03-09T14:00:00Z stdout F %s"])
def test_directives_hold_in_later_pieces_inside_a_wrapper_too(desk: Path, wrap: str) -> None:
    fields = "#Fields: date time cs-method cs-uri-stem sc-status time-taken"
    rows = [f"2026-03-09 14:00:{i:02} GET /v1/carts 200 42" for i in range(30)]
    (desk / "x.log").write_text("".join(wrap % text + "\n" for text in (fields, *rows)))
    with mock.patch.object(pieces, "BLOCK_BYTES", 600):
        done = ingest(desk / "lake", "x.log")
    assert (done["stored"], done["rejected"], done["header"]) == (30, 0, 1)


def test_a_line_longer_than_a_piece_is_one_reject_and_the_rest_goes_on(desk: Path) -> None:
    long, other = (b'{"streams":[' + digit * 1000 + b"1]}\n" for digit in (b"1,", b"2,"))
    (desk / "x.log").write_bytes(line(1) + b"\n" + long + line(2) + b"\n" + other + line(3) + b"\n")
    with mock.patch.multiple(pieces, BLOCK_BYTES=500, _READ=100, _KEPT=40):
        done = ingest(desk / "lake", "x.log")
        again = ingest(desk / "lake", "x.log")
    assert (done["stored"], done["rejected"], done["lines"], done["exit_code"]) == (3, 2, 5, 4)
    assert done["bytes"] == (desk / "x.log").stat().st_size
    assert (again["units"], again["duplicate"]) == (0, 5)
    rejects = open_lake(str(desk / "lake")).rejects()
    assert sorted(rejects["raw"]) == [long[:40], other[:40]]
    assert "have each written as a line of its own" in rejects["reason"][0]


def test_nul_padding_longer_than_a_piece_hides_no_call(desk: Path) -> None:
    (desk / "x.log").write_bytes(b"\0" * 3000 + line(1) + b"\n" + line(2) + b"\n")
    with mock.patch.multiple(pieces, BLOCK_BYTES=500, _READ=100):
        done = ingest(desk / "lake", "x.log")
    assert (done["stored"], done["rejected"], done["bytes"]) == (2, 0, (desk / "x.log").stat().st_size)


def test_a_line_longer_than_a_head_is_told_whole_by_every_command(desk: Path) -> None:
    logged = [[str(1_773_064_800_000_000_000 + i), line(i).decode()] for i in range(4000)]
    path = desk / "loki.json"
    path.write_text(json.dumps({"streams": [{"stream": {"pod": "gw-1"}, "values": logged}]}))
    assert path.stat().st_size > 300_000
    assert ingest(desk / "lake", "--final", path)["stored"] == 4000
    assert len(apilens("parse", path).rows()) == 4000


def test_the_summary_names_every_format_of_a_mixed_file(desk: Path) -> None:
    combined = line(1) + b"\n"
    common = b'203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512\n'
    path = desk / "mixed.log"
    path.write_bytes(combined * 3 + common * 2)
    ran = apilens("ingest", "--lake", desk / "lake", path)
    assert "mixed.log: nginx_combined 3, apache_common 2: 5 stored" in ran.out
    path.write_bytes(combined * 2 + common * 2)
    ran = apilens("ingest", "--lake", desk / "other", "--json", path)
    assert ran.json()["inputs"][0]["formats"] == {"nginx_combined": 2, "apache_common": 2}


def test_the_reason_of_a_line_with_a_secret_speaks_of_a_masked_value(desk: Path) -> None:
    path = desk / "x.log"
    path.write_bytes(line(1) + b"\n" + line(2, query="?token=s3cr3t-s3cr3t-s3cr3t").replace(b" 200 ", b" 2OO ") + b"\n")
    ingest(desk / "lake", path)
    assert open_lake(str(desk / "lake")).rejects()["reason"].to_list() == [
        "does not fit the layout: status is a masked value, expected a number 100..999"
    ]


def test_refed_rejects_are_stored_exactly_once(desk: Path) -> None:
    path = mixed(desk)
    done = ingest(desk / "lake", path)
    assert (done["stored"], done["rejected"]) == (30, 4)
    again = ["rejects", "--lake", desk / "lake", "--refeed", "--log-format", PIPED]
    first, second = apilens(*again), apilens(*again)
    assert "stored 4" in first.out, first
    assert "read 0 rejects = stored 0" in second.out, second
    assert len(calls(desk / "lake")) == len(set(calls(desk / "lake"))) == 34
    assert totals(desk / "lake")["rejects"] == []
    assert ingest(desk / "lake", path)["stored"] == 0
    offsets = pl.Series([json.loads(row)["source_offset"] for row in calls(desk / "lake", how=True)])
    assert offsets.sort().to_list() == sorted(Block(path.read_bytes()).offsets(pl.Series(range(34))).to_list())


def test_a_replaced_file_forgets_what_was_refed_from_it(desk: Path) -> None:
    path = mixed(desk)
    ingest(desk / "lake", path)
    refeed = ["rejects", "--lake", desk / "lake", "--refeed", "--log-format", PIPED]
    apilens(*refeed)
    ingest(desk / "lake", path, "--replace")
    assert len(calls(desk / "lake")) == 30
    assert len(totals(desk / "lake")["rejects"]) == 4
    assert "stored 4" in apilens(*refeed).out
    assert len(set(calls(desk / "lake"))) == len(calls(desk / "lake")) == 34


def test_refeeding_with_a_layout_that_fits_nothing_changes_nothing(desk: Path) -> None:
    ingest(desk / "lake", mixed(desk))
    before = totals(desk / "lake")
    ran = apilens("rejects", "--lake", desk / "lake", "--refeed", "--log-format", "$msec $status")
    assert ran.code == 3, ran
    assert totals(desk / "lake") == before


# -- records that are not lines ------------------------------------------------------------------------------------


def cri(text: bytes, tag: bytes = b"F") -> bytes:
    return b"2026-11-02T09:00:00.5Z stdout " + tag + b" " + text + b"\n"


def listed(texts: list[bytes]) -> bytes:
    """A push to Loki, one line."""
    values = [["1", text.decode()] for text in texts]
    return json.dumps({"streams": [{"stream": {"pod": "gw-1"}, "values": values}]}).encode() + b"\n"


@settings(max_examples=6, deadline=None)
@given(
    groups=st.lists(
        st.lists(st.sampled_from(["call", "piped", "broken", "blank"]), min_size=1, max_size=4), min_size=1, max_size=5
    ),
    joined=st.booleans(),
    block=st.sampled_from([600, 1 << 20]),
)
def test_records_that_share_or_span_lines_are_counted_kept_and_refed_once(
    groups: list[list[str]], joined: bool, block: int
) -> None:
    made = {"call": line, "piped": piped, "broken": broken, "blank": lambda i: b""}
    data, n, fates = (cri(line(0)) if joined else listed([line(0)])), 0, ["call"]
    for kinds in groups:
        texts = []
        for kind in kinds:
            n += 1
            texts.append(made[kind](n))
            fates.append(kind)
        for text in texts if joined else ():
            data += cri(text[:20], b"P") + cri(text[20:]) if len(text) > 20 else cri(text)
        data += b"" if joined else listed(texts)
    with TemporaryDirectory() as name, mock.patch.object(pieces, "BLOCK_BYTES", block):
        lake, path = Path(name) / "lake", Path(name) / "a.log"
        path.write_bytes(data)
        done = ingest(lake, path)
        counted = {fate: fates.count(fate) for fate in made}
        assert (done["stored"], done["rejected"]) == (counted["call"], counted["piped"] + counted["broken"])
        assert done["read"] == len(fates) - counted["blank"]
        assert done["lines"] == data.count(b"\n") == done["record_lines"] + done["header"] + done["blank"]
        kept = open_lake(str(lake)).rejects()
        wanted = [made[fate](i) for i, fate in enumerate(fates) if fate in ("piped", "broken")]
        assert sorted(raw.rpartition(b" stdout F ")[2] for raw in shown(kept["raw"], joined)) == sorted(wanted)
        assert kept.select("source_offset", "record").is_unique().all()
        for offset, number in kept.select("source_offset", "line").rows():
            assert data[:offset].count(b"\n") == number - 1
        refeed = ["rejects", "--lake", lake, "--refeed", "--log-format", PIPED]
        apilens(*refeed)
        apilens(*refeed)
        assert len(set(calls(lake))) == len(calls(lake)) == counted["call"] + counted["piped"]
        assert len(totals(lake)["rejects"]) == counted["broken"]
        assert ingest(lake, path)["stored"] == 0


def shown(raw: pl.Series, joined: bool) -> list[bytes]:
    """The records in rejects, a line of Loki that holds only one taken apart."""
    if joined:
        return list(raw)
    return [json.loads(text)["streams"][0]["values"][0][1].encode() if text.startswith(b"{") else text for text in raw]


def test_a_container_s_line_in_parts_waits_until_it_is_whole(desk: Path) -> None:
    text = line(5)
    (desk / "a.log").write_bytes(cri(line(1)) + cri(text[:30], b"P"))
    first = ingest(desk / "lake", "a.log")
    assert (first["stored"], first["rejected"], first["inputs"][0]["waiting_bytes"]) == (
        1,
        0,
        len(cri(text[:30], b"P")),
    )
    (desk / "a.log").write_bytes(cri(line(1)) + cri(text[:30], b"P") + cri(text[30:]))
    assert ingest(desk / "lake", "a.log")["stored"] == 1


# -- input that is not lines ---------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["\\", '\\"', "},{", "][", "a\nb", "\u2028"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=4), JSON, min_size=1, max_size=3), min_size=2, max_size=5)


class Steps:
    """Bytes that come in steps."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int) -> bytes:
        return self._data.read(min(size, self._step))

    def close(self) -> None:
        pass


def lined(data: bytes, step: int) -> tuple[str | None, bytes]:
    found = Lines(Steps(data, step))
    return (b"".join(iter(lambda: found.read(1 << 20), b"")), found.form)[::-1]


@settings(deadline=None)
@given(
    records=RECORDS,
    step=st.integers(1, 40),
    indent=st.sampled_from([0, 1, 2, "\t"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_document_over_many_lines_becomes_a_line_per_record(
    records: list[Any], step: int, indent: Any, end: str
) -> None:
    printed = [json.dumps(record, indent=indent) for record in records]
    documents = [
        json.dumps(records, indent=indent),
        json.dumps(records, indent=indent, ensure_ascii=False),
        "\n".join(printed),
        ",\n".join(printed),
        "".join(json.dumps(record) for record in records),
        "[\n" + ",\n".join(json.dumps(record) for record in records) + "\n]\n",
    ]
    for document in documents:
        form, lines = lined(document.replace("\n", end).encode("utf-8", "surrogatepass"), step)
        assert form == "JSON document"
        assert [json.loads(text) for text in lines.decode().split("\n") if text] == records
        assert b"\n\n" not in lines


@given(records=RECORDS, step=st.integers(1, 40))
def test_json_lines_stay_as_they_are(records: list[Any], step: int) -> None:
    data = "\n".join(map(json.dumps, records)).encode()
    assert lined(data, step) == (None, data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"b":{\n{"a":2}\n{"a":3}\n',  # a line that was cut off, then whole ones
        b"[2026-11-02 09:00:00] {\n[2026-11-02 09:00:01] {\n",
        b"[pod/gw-1/nginx] {\n",
        b"{\n",
        b'[{"a":1},{"a":2}]\n[{"a":3}]\n',  # a batch per line: an HTTP logger
        b"",
        b"\0" * 100 + b"abc\n",
        b"abc\r",
    ],
)
def test_lines_that_only_look_like_something_else_stay_as_they_are(data: bytes) -> None:
    assert lined(data, 7) == (None, data)


@settings(deadline=None)
@given(
    text=st.text(st.characters(codec="utf-16", exclude_characters="\0\r\ufeff"), min_size=4, max_size=30),
    encoding=st.sampled_from(["utf-16-le", "utf-16-be"]),
    step=st.integers(1, 9),
)
def test_utf_16_is_read_as_the_same_text(text: str, encoding: str, step: int) -> None:
    text = "2026 GET /a 200 " + text
    mark = "\ufeff".encode(encoding)
    assert lined(mark + text.encode(encoding), step)[1].decode() == text
    assert lined(("x" * 400 + text).encode(encoding), step)[1].decode() == "x" * 400 + text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_input_in_another_guise_gives_the_same_calls(desk: Path, encoding: str, end: str) -> None:
    (desk / "a.log").write_bytes(log(range(20)))
    (desk / "b.log").write_bytes(log(range(20)).decode().replace("\n", end).encode(encoding))
    ingest(desk / "lake", "a.log")
    done = ingest(desk / "other", "b.log")
    assert (done["stored"], done["rejected"], done["blank"]) == (20, 0, 0)
    assert calls(desk / "other") == calls(desk / "lake")


def test_a_document_is_said_in_the_report_and_known_again(desk: Path) -> None:
    pretty = json.dumps({"events": [{"timestamp": i, "message": line(i).decode()} for i in range(20)]}, indent=4)
    (desk / "a.json").write_text(pretty)
    done = ingest(desk / "lake", "a.json")
    assert (done["stored"], done["lines"], done["inputs"][0]["form"]) == (20, 1, "JSON document")
    assert ingest(desk / "lake", "a.json")["duplicate"] == 20


def test_a_document_of_any_length_is_read_in_little_memory(desk: Path) -> None:
    with mock.patch.object(pieces, "BLOCK_BYTES", 4000):
        (desk / "a.json").write_text(json.dumps([{"message": line(i).decode()} for i in range(300)], indent=2))
        assert ingest(desk / "lake", "a.json")["stored"] == 300


def test_a_file_name_that_is_no_utf8_stops_nobody(desk: Path) -> None:
    folder = desk / "odd"
    folder.mkdir()
    (folder / os.fsdecode(b"bad\xff.log")).write_bytes(log(range(5)))
    (folder / "good.log").write_bytes(log(range(5, 10)))
    done = ingest(desk / "odd-lake", folder)
    assert done["stored"] == 10
    assert any("bad\\xff.log" in part["input"] for part in done["inputs"])


def test_a_disk_that_is_full_is_said_and_nothing_of_the_unit_counts(desk: Path) -> None:
    path = desk / "full.log"
    path.write_bytes(log(range(5)))
    full = OSError(28, "No space left on device")
    with mock.patch.object(pl.DataFrame, "write_parquet", side_effect=full):
        ran = apilens("ingest", path, "--lake", desk / "full-lake")
    assert ran.code == 3
    assert "No space left on device" in ran.err and "Traceback" not in ran.err
    assert ingest(desk / "full-lake", path)["stored"] == 5


def test_a_piece_has_no_more_lines_than_memory_holds_and_the_same_data_is_known_again(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(25)) + b"\n" * 50 + log(range(25, 30)))
    with mock.patch.object(pieces, "MAX_LINES", 10):
        first = ingest(tmp_path / "lake", tmp_path / "a.log")
        assert (first["stored"], first["blank"], first["lines"]) == (30, 50, 80)
        entries = open_lake(str(tmp_path / "lake")).ledger()
        assert entries["lines"].max() == 10
    again = ingest(tmp_path / "lake", tmp_path / "a.log")
    assert (again["stored"], again["duplicate"]) == (0, 30)


@pytest.mark.parametrize("columns", [8, 60, 400])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_piece_has_no_more_cells_than_memory_holds_and_the_same_data_is_known_again(
    columns: int, form: str, tmp_path: Path
) -> None:
    times = [f"2026-03-09T14:{i // 60:02d}:{i % 60:02d}Z" for i in range(400)]
    rows = pl.DataFrame({"ts": times, "path": "/", "status": 200} | {f"c{i}": 1 for i in range(columns)})
    (rows.write_csv if form == "csv" else rows.write_ndjson)(tmp_path / "wide")
    with mock.patch.multiple(pieces, MAX_CELLS=10_000, _GLANCE=1, _NARROW=13):
        first = ingest(tmp_path / "lake", tmp_path / "wide")
    entries = open_lake(str(tmp_path / "lake")).ledger()
    most = 10_000 if form == "csv" else 5_000
    assert first["stored"] == 400
    assert entries["lines"].max() * (columns + 2) <= most  # type: ignore[operator]  # of a column of numbers
    assert len(entries) <= 400 // (most // (columns + 3)) + 1
    again = ingest(tmp_path / "lake", tmp_path / "wide")
    assert (again["stored"], again["duplicate"]) == (0, 400)


def test_lines_as_gateways_write_them_are_not_cut_into_smaller_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(log(range(400)))
    with mock.patch.multiple(pieces, MAX_CELLS=100, _GLANCE=1):
        ingest(tmp_path / "lake", tmp_path / "a.log")
    assert len(open_lake(str(tmp_path / "lake")).ledger()) == 1


@pytest.mark.parametrize(("columns", "code"), [(4_000, 0), (20_001, 3)])
def test_a_table_may_have_thousands_of_columns_and_beyond_that_is_none(columns: int, code: int, tmp_path: Path) -> None:
    cells = [f"c{i}" for i in range(columns - 3)], ["1"] * (columns - 3), ["1"] * (columns - 4)
    lines = ["ts,path,status", "2026-03-09T14:00:00Z,/,200", "2026-03-09T14:00:01Z,/,200"]
    text = "".join(f"{line},{','.join(rest)}\n" for line, rest in zip(lines, cells, strict=True))
    (tmp_path / "wide.csv").write_text(text)
    ran = apilens("ingest", "--lake", tmp_path / "lake", tmp_path / "wide.csv")
    if code:
        assert (ran.code, "internal error" in ran.err) == (code, False), ran
    else:
        assert "1 stored, 1 rejected" in ran.out


def test_a_doubt_about_a_recognised_layout_is_said_once_with_its_input(tmp_path: Path) -> None:
    line = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5 "-" "c" '
    (tmp_path / "t.log").write_text("".join(f"{line}{seconds}\n" for seconds in (0, 1, 0)))
    ran = apilens("ingest", tmp_path / "t.log", "--lake", tmp_path / "lake")
    assert ran.code == 0
    assert ran.err.count("t.log: the whole number at the end of its lines is too small for microseconds") == 1
    pasted = ("--log-format", '%h %l %u %t "%r" %s %b "%{Referer}i" "%{User-Agentt}i" %T')
    ran = apilens("ingest", tmp_path / "t.log", "--lake", tmp_path / "other", *pasted)
    assert ran.err.count("did you mean") == 1


@pytest.mark.parametrize("pattern", ["*", "**", "*[!.]", "[alo]*"])
def test_a_quoted_glob_takes_what_the_shell_would_make_of_it(pattern: str, tmp_path: Path) -> None:
    open_lake(str(tmp_path / "logs" / "lake"), create=True)
    taken = ["a.log", "lake/stray.log", "old/b.log", "old/more/c.log"]
    for i, name in enumerate([*taken, "old/.hidden", "none/.hidden", ".d/e.log"]):
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "logs" / name).write_bytes(log([i]))
    found = [one.name for one in expand([f"{tmp_path}/logs/{pattern}"]) if isinstance(one, Input)]
    assert sorted(found) == [f"{tmp_path}/logs/{name}" for name in taken]
    (refused,) = expand([f"{tmp_path}/logs/non*"])
    assert "matches only folders that hold nothing to read" in str(refused)
