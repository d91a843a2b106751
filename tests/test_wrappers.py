"""What carries a gateway's lines: taken off, they are read as if it were not there.

tests/cases/wrappers/<name>/ holds an input and the calls expected of it, non-null columns without source_file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import Block, Parsed, Reader, Wrapper, parse, unwrap
from apilens.formats.otlp import Otlp
from apilens.formats.wrappers import WRAPPERS
from apilens.pipeline.logs import canonical
from commands import apilens
from logs import line

CASES = Path(__file__).parent / "cases"
NAMES = sorted(case.name for case in (CASES / "wrappers").iterdir())
STAMP = "2026-03-09T14:00:00.123456789Z"

#: Named where the format is not the question: trying all of them takes its time.
NGINX = Options(format="nginx_combined")

Wrap = Callable[[str], str]


def packed(**members: Any) -> str:
    """A JSON object as programs write it, without blanks."""
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)


#: A line of each wrapper around a line of a gateway, and the node that it names.
ONE: dict[str, tuple[Wrap, str | None]] = {
    "docker json-file": (lambda text: packed(log=text + "\n", stream="stdout", time=STAMP), None),
    "docker json-file, copied without line breaks": (lambda text: packed(log=text, stream="stdout", time=STAMP), None),
    "CRI": (lambda text: f"{STAMP} stdout F {text}", None),
    "kubectl logs --prefix": (lambda text: f"[pod/gw-7d9f8c6b5-x2x4z/nginx] {text}", "gw-7d9f8c6b5-x2x4z"),
    "kail": (lambda text: f"prod/gw-7d9f8c6b5-x2x4z[nginx]: {text}", "gw-7d9f8c6b5-x2x4z"),
    "kubetail": (lambda text: f"[gw-7d9f8c6b5-x2x4z] {text}", "gw-7d9f8c6b5-x2x4z"),
    "stern": (lambda text: f"gw-7d9f8c6b5-x2x4z nginx {text}", "gw-7d9f8c6b5-x2x4z"),
    "docker compose logs": (lambda text: f"gw-1  | {text}", "gw-1"),
    "docker compose logs in colour": (lambda text: f"\x1b[36mgw-1  | \x1b[0m{text}", "gw-1"),
    "docker service logs": (lambda text: f"gw.1.k3j@node-a    | {text}", "gw.1.k3j@node-a"),
    "RFC 3164": (lambda text: f"<190>Mar  9 14:00:00 gw-1 nginx: {text}", "gw-1"),
    "RFC 3164 in a file": (lambda text: f"Mar  9 14:00:00 gw-1 nginx[12]: {text}", "gw-1"),
    "RFC 3164 with a year": (lambda text: f"Mar  9 2026 14:00:00 gw-1 nginx[12]: {text}", "gw-1"),
    "RFC 3164 without host": (lambda text: f"<134>Mar  9 14:00:00 haproxy[12]: {text}", None),
    "RFC 3164 without tag": (lambda text: f"<134>Mar  9 14:00:00 gw-1 {text}", "gw-1"),
    "rsyslog with high precision": (lambda text: f"2026-03-09T14:00:00.123456+00:00 gw-1 nginx: {text}", "gw-1"),
    "only a priority": (lambda text: f"<134>nginx: {text}", None),
    "RFC 5424": (lambda text: f"<134>1 {STAMP} gw-1 nginx 12 access - {text}", "gw-1"),
    "rsyslog, RFC 3164 forwarded as RFC 5424": (lambda text: f"<134>1 {STAMP} gw-1 nginx 12 - -  {text}", "gw-1"),
    "RFC 5424 with data": (lambda text: f'<134>1 {STAMP} gw-1 nginx - - [a@1 b="c\\"\\]"][d@1] \ufeff{text}', "gw-1"),
    "RFC 5424, nothing said": (lambda text: f"<134>1 - - - - - - {text}", None),
    "RFC 6587 frame": (lambda text: f"{len(text)} <134>1 - gw-1 - - - - {text}", "gw-1"),
    "Heroku drain": (lambda text: f"<134>1 {STAMP} gw-1 heroku web.1 - {text}", "gw-1"),
    "journalctl -o short-iso": (lambda text: f"2026-03-09T14:00:00+0000 gw-1 nginx[12]: {text}", "gw-1"),
    "journalctl -o short-full": (lambda text: f"Mon 2026-03-09 14:00:00 UTC gw-1 nginx[12]: {text}", "gw-1"),
    "journalctl -o json": (lambda text: packed(__CURSOR="s=1", _HOSTNAME="gw-1", MESSAGE=text), "gw-1"),
    "journalctl -o json, bytes": (
        lambda text: packed(__CURSOR="s=1", _HOSTNAME="gw-1", MESSAGE=list(text.encode())), "gw-1",
    ),
    "Fluent Bit": (lambda text: packed(log=text + "\n", kubernetes={"pod_name": "gw-1"}, stream="stdout"), "gw-1"),
    "Vector": (lambda text: packed(file="/var/log/gw.log", host="gw-1", message=text, timestamp=STAMP), "gw-1"),
    "Filebeat": (
        lambda text: packed(host={"name": "gw-1"}, log={"offset": 0, "file": {"path": "/x"}}, message=text), "gw-1",
    ),
    "Elasticsearch hit": (lambda text: packed(_index="logs", _source={"message": text, "host": {"name": "gw-1"}}), "gw-1"),
    "Cloud Logging": (lambda text: packed(insertId="1", textPayload=text, timestamp=STAMP), None),
    "GELF": (lambda text: packed(version="1.1", host="gw-1", short_message=text), "gw-1"),
    "CloudWatch event": (lambda text: packed(timestamp=1, message=text, logStreamName="gw-1"), "gw-1"),
    "logcli -o jsonl": (lambda text: packed(labels={"pod": "gw-1"}, line=text, timestamp=STAMP), "gw-1"),
    "logcli": (lambda text: f'2026-03-09T14:00:00Z {{app="gw", pod="gw-1"}} {text}', None),
    "CloudWatch in S3, docker logs -t": (lambda text: f"{STAMP} {text}", None),
    "aws logs tail": (lambda text: f"2026-03-09T14:00:00.123000+00:00 gw/nginx/0a1b {text}", "gw/nginx/0a1b"),
    "Fluentd out_file": (lambda text: f"{STAMP}\tkube.gw\t" + packed(log=text), None),
    "Azure blob, a line": (lambda text: packed(message=text) + ",", None),
    "an array of one": (lambda text: json.dumps([{"message": text}]), None),
    "hypercorn, gunicorn": (lambda text: f"[2026-03-09 14:00:00 +0000] [17] [INFO] {text}", None),
    "pm2 logs": (lambda text: f"0|gw-1  | {text}", "0|gw-1"),
    "pm2 logs --timestamp, of lines with a date": (
        lambda text: f"2026-03-09-14:00:00 12|gw-1 | 2026-03-09T14:00:00: {text}", "12|gw-1",
    ),
    "syslog in docker in the journal": (
        lambda text: packed(
            _HOSTNAME="gw-1", MESSAGE=packed(log=f"<134>Mar  9 14:00:00 in-1 nginx: {text}\n", stream="stdout", time=STAMP)
        ),
        "in-1",
    ),
}  # fmt: skip

#: All lines of a gateway in one line.
ALL: dict[str, tuple[Callable[[list[str]], str], str | None]] = {
    "CloudWatch subscription": (
        lambda texts: packed(messageType="DATA_MESSAGE", logStream="gw-1", logEvents=[{"id": "1", "message": t} for t in texts]),
        "gw-1",
    ),
    "aws logs get-log-events": (
        lambda texts: packed(events=[{"timestamp": 1, "message": t} for t in texts], nextForwardToken="f/1"), None,
    ),
    "Loki push": (lambda texts: packed(streams=[{"stream": {"pod": "gw-1"}, "values": [["1", t] for t in texts]}]), "gw-1"),
    "Loki answer": (
        lambda texts: packed(
            status="success", data={"resultType": "streams", "result": [{"stream": {"pod": "gw-1"}, "values": [["1", t]]} for t in texts]}
        ),
        "gw-1",
    ),
    "Elasticsearch answer": (lambda texts: packed(took=1, hits={"hits": [{"_source": {"message": t}} for t in texts]}), None),
    "array of strings": (lambda texts: json.dumps(texts), None),
}  # fmt: skip


def sample(name: str) -> list[str]:
    """The lines of a format's sample that a JSON string can hold, that is those in UTF-8."""
    text = next((CASES / "formats" / name).glob("input.*")).read_bytes().decode("utf-8", "replace")
    return [one.rstrip("\r") for one in text.split("\n") if one.strip() and "\ufffd" not in one and "\0" not in one]


def read(lines: list[str], options: Options) -> Parsed:
    block = Block("".join(text + "\n" for text in lines).encode())
    return parse(block, detect(block, options, "x").reader)


def rows(part: Parsed) -> list[dict[str, Any]]:
    """The calls as canonical rows, without where they stood and what the wrapper adds."""
    return [
        {
            name: value
            for name, value in row.items()
            if value is not None and name not in ("row", "node", "source_offset")
        }
        for row in canonical(part.calls).iter_rows(named=True)
    ]


#: Every format that has lines. Tables name their columns in a line or a mapping, and OTLP is a wrapper itself.
WRAPPED = [name for name in FORMATS if not name.startswith(("table", "otlp"))]


@cache
def chain(wrapper: str) -> tuple[Wrapper, ...]:
    """The wrappers that are found around plain access log lines."""
    texts = [line(i).decode() for i in range(3)]
    wrapped = [ONE[wrapper][0](text) for text in texts] if wrapper in ONE else [ALL[wrapper][0](texts)]
    found = detect(Block("".join(text + "\n" for text in wrapped).encode()), NGINX, "x")
    assert found.reader.wrappers, wrapper
    return found.reader.wrappers


#: The lines of all of them.
TEXTS = [text for name in WRAPPED for text in sample(name)]


@pytest.mark.parametrize("wrapper", ONE)
def test_under_a_wrapper_the_lines_of_every_format_come_out_as_they_were(wrapper: str) -> None:
    wrap, node = ONE[wrapper]
    found = unwrap(Block("".join(wrap(text) + "\n" for text in TEXTS).encode()).lines, chain(wrapper))
    assert found["line"].to_list() == TEXTS
    assert found["at"].to_list() == list(range(len(TEXTS)))
    assert set(found["node"]) == {node}


@pytest.mark.parametrize("wrapper", ALL)
def test_out_of_one_line_the_lines_of_every_format_come_as_they_were(wrapper: str) -> None:
    wrap_all, node = ALL[wrapper]
    found = unwrap(Block(wrap_all(TEXTS).encode()).lines, chain(wrapper))
    assert found["line"].to_list() == TEXTS
    assert found["record"].to_list() == list(range(len(TEXTS)))
    assert set(found["node"]) == {node}


@pytest.mark.parametrize("name", ["nginx_combined", "kong_json", "iis_w3c"])
def test_a_wrapped_line_gives_the_call_that_it_gives_alone(name: str) -> None:
    texts = sample(name)
    alone = read(texts, Options(format=name))
    for wrapper, (wrap, _) in ONE.items():
        part = read([wrap(text) for text in texts], Options(format=name))
        assert rows(part) == rows(alone), wrapper
        assert part.lines + part.header + part.blank == len(texts), wrapper
    for wrapper, (wrap_all, _) in ALL.items():
        part = read([wrap_all(texts)], Options(format=name))
        assert rows(part) == rows(alone), wrapper
        assert part.lines + part.header + part.blank == 1, wrapper


@pytest.mark.parametrize("name", [name for name in WRAPPED if FORMATS[name].pasted is None])
def test_a_wrapped_line_is_told_from_itself_alone(name: str) -> None:
    text = next(text for text in sample(name) if not text.startswith("#"))
    assert detect(Block(ONE["docker json-file"][0](text).encode()), Options(), "x").format == name


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].pasted is None])
def test_lines_without_a_wrapper_are_read_without_one(name: str) -> None:
    data = next((CASES / "formats" / name).glob("input.*")).read_bytes()
    assert detect(Block(data), Options(), "x").reader.wrappers == ((Otlp(),) if name.startswith("otlp") else ())


@pytest.mark.parametrize("case", NAMES)
def test_the_calls_of_a_wrapped_sample_are_the_expected_ones(case: str) -> None:
    ran = apilens("parse", next((CASES / "wrappers" / case).glob("input.*")))
    found = [{k: v for k, v in row.items() if v is not None and k != "source_file"} for row in ran.rows()]
    expected = (CASES / "wrappers" / case / "expected.ndjson").read_text("utf-8").split("\n")[:-1]
    assert found == [json.loads(row) for row in expected]


def test_every_wrapper_of_the_registry_has_a_sample() -> None:
    inputs = [Block(next((CASES / "wrappers" / case).glob("input.*")).read_bytes()) for case in NAMES]
    used = {wrapper.name for block in inputs for wrapper in detect(block, Options(), "x").reader.wrappers}
    # OTLP stands with its format's sample.
    assert {wrapper.name for wrapper in WRAPPERS} - used <= {"OTLP"}


@settings(max_examples=15, deadline=None)
@given(
    kinds=st.lists(
        st.sampled_from(["plain", "docker json-file", "CRI", "RFC 3164", "journalctl -o json", "garbage", ""]),
        max_size=12,
    )
)
def test_a_file_wrapped_in_part_is_read_line_by_line(kinds: list[str]) -> None:
    texts = [line(i).decode() for i in range(len(kinds) + 1)]
    made = {"plain": lambda text: text, "garbage": lambda text: "no call at all", "": lambda text: ""}
    wraps = [made[kind] if kind in made else ONE[kind][0] for kind in ["plain", *kinds]]
    part = read([wrap(text) for wrap, text in zip(wraps, texts, strict=True)], NGINX)
    wanted = [i for i, kind in enumerate(["plain", *kinds]) if kind not in ("garbage", "")]
    assert part.calls["row"].sort().to_list() == wanted
    assert part.rejects["row"].sort().to_list() == [i for i, kind in enumerate(kinds, 1) if kind == "garbage"]
    assert part.blank == kinds.count("")


@settings(max_examples=15, deadline=None)
@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.lists(st.integers(1, 60), max_size=3)),
        min_size=1,
        max_size=6,
    ),
    order=st.randoms(use_true_random=False),
    runtime=st.sampled_from(["CRI", "docker"]),
)
def test_the_parts_of_a_long_line_are_joined_by_stream(
    parts: list[tuple[str, list[int]]], order: Any, runtime: str
) -> None:
    queues: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for i, (stream, places) in enumerate(parts):
        text = line(i).decode()
        cuts = [0, *sorted({min(place, len(text) - 1) for place in places}), len(text)]
        pieces = [text[a:b] for a, b in pairwise(cuts)]
        for piece in pieces[:-1]:
            queues[stream].append(
                f"{STAMP} {stream} P {piece}" if runtime == "CRI" else packed(log=piece, stream=stream, time=STAMP)
            )
        last = pieces[-1]
        queues[stream].append(
            f"{STAMP} {stream} F {last}" if runtime == "CRI" else packed(log=last + "\n", stream=stream, time=STAMP)
        )
    lines = []
    while any(queues.values()):
        lines.append(queues[order.choice([stream for stream in queues if queues[stream]])].pop(0))
    part = read(lines, NGINX)
    assert sorted(part.calls["path"]) == sorted(f"/api/orders/{i}" for i in range(len(parts)))
    assert (part.read, part.lines, part.blank) == (len(parts), len(lines), 0)


@pytest.mark.parametrize(
    "text",
    [
        '{"log":"\\q","stream":"stdout","time":"2026-03-09T14:00:00Z"}',
        '{"log":"a","stream":"stdout","time":"2026-03-09T14:00:00Z"',
        '{"MESSAGE":null,"_HOSTNAME":"a"}',
        '{"MESSAGE":[1,2,999,"x"],"_HOSTNAME":"a"}',
        '{"MESSAGE":[255,0,27],"_HOSTNAME":"a"}',
        '{"streams":[{"stream":{},"values":[[]]}]}',
        '{"streams":[{"stream":{},"values":[]}]}',
        '{"logEvents":[]}',
        '{"logEvents":[{"message":17}]}',
        '[{"a":1},2,null,[3]]',
        "[" * 50_000,
        '{"log":"' * 20_000,
        "<999>1 - - - - - -",
        "<134>",
        "2026-03-09T14:00:00Z stdout F ",
        "2026-03-09T14:00:00Z stdout P half of a line",
        "\x1b[31m\x1b[0m",
        ",",
    ],
)
def test_a_broken_wrapper_is_set_aside_and_disturbs_no_other_line(text: str) -> None:
    for kind in ("docker json-file", "journalctl -o json", "RFC 5424"):
        wrap = ONE[kind][0]
        lines = [wrap(line(1).decode()), text, wrap(line(2).decode())]
        part = read(lines, NGINX)
        assert part.calls["path"].to_list() == ["/api/orders/1", "/api/orders/2"]
        assert part.lines + part.blank == 3
        assert part.read == 2 + part.rejects.height
        assert set(part.rejects["row"]) <= {1}


def test_no_record_of_any_wrapper_is_lost_whatever_it_holds() -> None:
    texts = [line(1).decode(), "", " ", "no call", line(2).decode()]
    for wrapper, (wrap_all, _) in ALL.items():
        part = read([wrap_all(texts)], NGINX)
        assert (part.calls.height, part.rejects.height, part.read) == (2, 1, 3), wrapper
        assert part.rejects["text"].to_list() == ["no call"], wrapper
        assert (part.lines, part.blank) == (1, 0), wrapper


def test_a_blank_line_in_a_wrapper_is_blank() -> None:
    for wrapper, (wrap, _) in ONE.items():
        if wrapper in ("logcli", "CloudWatch in S3, docker logs -t", "aws logs tail"):
            continue  # a time and nothing behind it: nothing says that it is no line of its own
        part = read([wrap(line(1).decode()), wrap(""), wrap(line(2).decode())], NGINX)
        assert (part.calls.height, part.blank, part.rejects.height) == (2, 1, 0), wrapper


def test_what_rsyslog_wrote_as_octal_numbers_is_undone() -> None:
    call = line(1).decode().replace("curl/8.0", "agent#011of#033[1mtwo#words")
    block = Block(f"Mar  9 14:00:00 gw-1 nginx: {call}\n".encode())
    calls = parse(block, detect(block, NGINX, "x").reader).calls
    assert calls["user_agent"].to_list() == ["agent\tof\x1b[1mtwo#words"]


def test_lines_that_are_read_in_parts_are_read_as_all_at_once() -> None:
    """Of a block of spans, with broken and blank lines among them: calls, reasons and counts."""
    spans = sample("otlp_trace")
    block = Block("\n".join([*spans, "", "no span", *spans, "{}", *spans, ""]).encode())
    reader = detect(block, Options(), "spans").reader
    assert [wrapper.name for wrapper in reader.wrappers] == ["OTLP"]
    whole, parts = (parse(block, Reader(reader.layouts, (Otlp(at_once=size),))) for size in (len(block.data), 1))
    assert whole.calls.height > 3 and whole.rejects.height > 1
    assert parts.calls["row"].to_list() == whole.calls["row"].to_list()
    assert rows(parts) == rows(whole)
    assert_frame_equal(parts.rejects.sort("row"), whole.rejects.sort("row"))
    assert replace(parts, calls=whole.calls, rejects=whole.rejects) == whole
