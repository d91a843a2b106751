"""What carries a gateway's lines: taken off, they are read as if it were not there.

tests/cases/wrappers/<name>/ holds an input and the calls expected of it, non-null columns without source_file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilens.errors import FormatError
from apilens.formats import FORMATS, Options, detect
from apilens.formats.block import BLANK, Block, Parsed, parse
from apilens.formats.wrappers import WRAPPERS
from apilens.pipeline.logs import canonical
from commands import apilens
from logs import line

CASES = Path(__file__).parent / "cases"
NAMES = sorted(case.name for case in (CASES / "wrappers").iterdir())
STAMP = "2026-03-09T14:00:00.123456789Z"

Wrap = Callable[[str], str]


def packed(**members: Any) -> str:
    """A JSON object as programs write it, without blanks."""
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)


#: A line of each wrapper around a line of a gateway, and the node that it names.
ONE: dict[str, tuple[Wrap, str | None]] = {
    "docker json-file": (lambda text: packed(log=text + "\n", stream="stdout", time=STAMP), None),
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
        {name: value for name, value in row.items() if value is not None and name not in ("row", "node", "source_offset")}
        for row in canonical(part.calls).iter_rows(named=True)
    ]


def given_options(name: str) -> Options:
    file = CASES / "formats" / name / "args.txt"
    words = file.read_text("utf-8").splitlines() if file.exists() else []
    said = dict(zip(words[::2], words[1::2], strict=False))
    return Options(format=said.get("--format"), log_format=said.get("--log-format"), tz=said.get("--tz", "UTC"))


#: Every format that has lines. Tables name their columns in a line or a mapping, and stand in no wrapper.
WRAPPED = [name for name in FORMATS if not name.startswith("table")]


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_line_gives_the_call_that_it_gives_alone(name: str) -> None:
    texts, options = sample(name), given_options(name)
    alone = rows(read(texts, options))
    for wrapper, (wrap, node) in ONE.items():
        part = read([wrap(text) for text in texts], options)
        assert rows(part) == alone, wrapper
        assert part.lines + part.header + part.blank == len(texts), wrapper
        if node is not None:
            logged = any("node" in row for row in canonical(read(texts, options).calls).drop_nulls("node").to_dicts())
            assert logged or set(part.calls["node"]) == {node}, wrapper
    for wrapper, (wrap_all, node) in ALL.items():
        part = read([wrap_all(texts)], options)
        assert rows(part) == alone, wrapper
        assert part.lines + part.header + part.blank == 1, wrapper
