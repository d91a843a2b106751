"""W3C extended logs: what a directive says holds until the next one, in whatever pieces the file is read."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.formats import Options, detect
from apilens.formats.block import Block, parse
from apilens.ingest import pieces
from commands import apilens, calls, ingest

IIS = Options(format="iis_w3c")
#: Name of a field -> value as logged, and the column that it fills.
FIELDS: dict[str, tuple[st.SearchStrategy[str], str, Any]] = {
    "cs-method": (st.sampled_from(["GET", "POST", "PROPFIND"]), "method", str),
    "cs-uri-stem": (st.from_regex(r"/[a-z0-9+%&='\"#]{0,8}", fullmatch=True), "path", str),
    "cs-uri-query": (st.from_regex(r"[a-z0-9=&+%]{1,8}", fullmatch=True), "query", str),
    "sc-status": (st.integers(100, 599).map(str), "status_code", int),
    "time-taken": (st.integers(0, 10**9).map(str), "duration_ms", float),
    "sc-bytes": (st.integers(0, 2**63 - 1).map(str), "response_bytes", int),
    "s-port": (st.integers(1, 65535).map(str), "server_port", int),
    "c-ip": (st.ip_addresses().map(str), "client_ip", str),
    "cs-username": (st.from_regex(r"[A-Za-z\\]{1,8}", fullmatch=True), "user_name", str),
    "cs(User-Agent)": (
        st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=6).map(
            lambda text: text + "/1+x"
        ),
        "user_agent",
        lambda raw: raw.replace("+", " "),
    ),
}
PART = st.lists(st.sampled_from(sorted(FIELDS)), min_size=2, unique=True).flatmap(
    lambda names: st.tuples(
        st.just(names),
        st.booleans(),
        st.lists(st.tuples(*(st.none() | FIELDS[name][0] for name in names)), max_size=4),
    )
)


@settings(deadline=None, max_examples=40)
@given(
    parts=st.lists(PART, min_size=1, max_size=3), end=st.sampled_from(["\n", "\r\n"]), gap=st.sampled_from([" ", "\t"])
)
def test_values_come_back_under_fields_that_change_inside_a_file(parts: Any, end: str, gap: str) -> None:
    lines, expected, headers = [], [], 0
    for day, (names, dated, rows) in enumerate(parts, 1):
        lines += [f"#Date: 2026-03-{day:02d} 00:00:00", f"#Fields: {'date ' if dated else ''}time {' '.join(names)}"]
        headers += 2
        for second, values in enumerate(rows):
            stamp = ([f"2026-03-{day:02d}"] if dated else []) + [f"14:00:{second:02d}"]
            lines.append(gap.join([*stamp, *("-" if value is None else value for value in values)]))
            made = zip(names, values, strict=True)
            call = {FIELDS[name][1]: FIELDS[name][2](value) for name, value in made if value is not None}
            expected.append(call | {"timestamp": f"2026-03-{day:02d}T14:00:{second:02d}"})
    block = Block("".join(line + end for line in lines).encode())
    part = parse(block, detect(block, Options(format="iis_w3c"), "x").reader)
    assert (part.header, part.rejects.height, part.read) == (headers, 0, len(expected))
    columns = ["timestamp", *(column for _, column, _ in FIELDS.values())]
    found = part.calls.sort("row").select(name for name in columns if name in part.calls.columns).to_dicts()
    for row, call in zip(found, expected, strict=True):
        row["timestamp"] = f"{row['timestamp']:%Y-%m-%dT%H:%M:%S}"
        assert {name: value for name, value in row.items() if value is not None} == call


def test_directives_hold_in_later_pieces_and_in_lines_that_a_file_grew_by() -> None:
    head = "#Software: Microsoft Internet Information Services 10.0\n#Date: 2026-03-09 14:00:00\n#Fields: time cs-method cs-uri-stem sc-status time-taken\n"
    rows = [f"14:00:{i:02d} GET /v1/orders/{i} 200 {i}\n" for i in range(60)]
    with TemporaryDirectory() as name, mock.patch.object(pieces, "BLOCK_BYTES", 300):
        path, lake = Path(name) / "ex.log", Path(name) / "lake"
        path.write_text(head + "".join(rows[:40]))
        first = ingest(lake, path)
        assert (first["stored"], first["header"], first["rejected"]) == (40, 3, 0)
        path.write_text(head + "".join(rows))
        assert ingest(lake, path)["stored"] == 20
        found = sorted(json.loads(row)["duration_ms"] for row in calls(lake))
        assert found == [float(i) for i in range(60)]


@pytest.mark.parametrize(
    "row",
    [
        "14:00:00 GET /a 2OO 1",
        "14:00:00 GET /a 200 -5x",
        "14:00:00 GET /a 200",
        "14:00:00 GET /a 200 1 2",
        "25:00:00 GET /a 200 1",
        "14:00:00 GET /a 200 99999999999999999999",
        "\x1b[31m",
        "#",
        "# a remark",
    ],
)
def test_a_row_that_is_none_is_set_aside_and_disturbs_no_other(row: str) -> None:
    good = "14:00:00 GET /a 200 1"
    text = f"#Date: 2026-03-09\n#Fields: time cs-method cs-uri-stem sc-status time-taken\n{good}\n{row}\n{good}\n"
    block = Block(text.encode())
    part = parse(block, detect(block, IIS, "x").reader)
    assert part.calls["row"].to_list() == [2, 4]
    assert part.rejects["row"].to_list() == [3]
    assert part.rejects["reason"][0]


def test_seconds_of_the_draft_and_milliseconds_of_iis_are_told_apart(tmp_path: Path) -> None:
    head = (
        "#Software: {}\n#Fields: date time cs-method cs-uri sc-status time-taken\n2026-03-09 14:00:00 GET /a 200 {}\n"
    )
    for software, taken, ms in [
        ("Microsoft Internet Information Services 10.0", "125", 125.0),
        ("Some Proxy 1.0", "0.125", 125.0),
        ("Some Proxy 1.0", "125", None),
    ]:
        (tmp_path / "a.log").write_text(head.format(software, taken))
        assert apilens("parse", tmp_path / "a.log").rows()[0]["duration_ms"] == ms


def test_the_zone_of_a_client_s_address_is_kept(tmp_path: Path) -> None:
    fields = (
        b"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip sc-status time-taken\n"
    )
    row = b"2026-03-09 14:00:00 10.0.0.1 GET /v1/carts - 443 - %s 200 42\n"
    (tmp_path / "x.log").write_bytes(fields + row.replace(b"%s", b"fe80::1%12") + row.replace(b"%s", b"203.0.113.7"))
    zoned, plain = apilens("parse", tmp_path / "x.log").rows()
    assert (zoned["client_ip"], dict(zoned["attributes"])["c-ip"]) == ("fe80::1", "fe80::1%12")
    assert plain["client_ip"] == "203.0.113.7" and "c-ip" not in (plain["attributes"] or {})
