"""Every format against every other one's samples: each knows its own, and takes nothing that its rules refuse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from apilens.errors import FormatError, UsageError
from apilens.formats import FORMATS, Format, Options, detect, registry, trials
from apilens.formats.block import FILLED, Block, Layout, parse, parse_records, unwrap
from apilens.formats.format import fixed
from apilens.formats.w3c import W3cLayout
from commands import apilens

ROOT = Path(__file__).parent.parent
CASES = Path(__file__).parent / "cases" / "formats"
#: Read any object or any table whose columns have usual names: that is what they are for.
GENERIC = {"table_json", "table_csv", "generic_json"}
#: (sample, format): documented relatives beside those marked `plain`, one of which writes a line that is also the other's.
RELATIVES = {
    ("traefik_clf", "apache_combined"),  # a missing referrer is `-` without quotes, as in a combined layout without any
    ("aws_cloudfront", "iis_w3c"),  # W3C logs name their own columns: told by hand, either reads the other's
    ("iis_w3c", "aws_cloudfront"),
}


def sample(name: str) -> bytes:
    return next((CASES / name).glob("input.*")).read_bytes()


#: Formats that are told without a layout being given; that each has a sample is held by test_formats.
SAMPLED = [name for name in FORMATS if (CASES / name).is_dir()]
TOLD = [name for name in SAMPLED if FORMATS[name].open(Block(sample(name)).lines, Options())]


def related(written: str, read: str) -> bool:
    # Access logs: one line can be of several servers.
    return (FORMATS[written].plain and FORMATS[read].plain) or (written, read) in RELATIVES


@pytest.mark.parametrize("name", TOLD)
def test_a_sample_is_told_as_its_format_and_the_runners_up_come_by_how_much_they_fit(name: str) -> None:
    data = sample(name)
    found = detect(Block(data), Options(), "x")
    assert found.format == name
    assert found.runners_up == tuple(sorted(found.runners_up, key=lambda trial: -trial.fits / max(trial.records, 1)))


@cache
def records(name: str) -> pl.DataFrame:
    """What a sample holds under its wrappers, and whose it is: row, line, written."""
    block = Block(sample(name))
    found = unwrap(block.lines, detect(block, Options(), "x").reader.wrappers).filter(
        pl.col("line").str.contains(FILLED)
    )
    return found.select("row", "line", written=pl.lit(name))


@pytest.mark.parametrize("read", [name for name in TOLD if name not in GENERIC])
def test_no_format_takes_a_call_out_of_the_sample_of_another(read: str) -> None:
    opened: dict[tuple[int, ...], tuple[tuple[Layout, ...], list[pl.DataFrame]]] = {}
    for written in TOLD:
        if read == written or related(written, read):
            continue
        try:
            layouts = tuple(FORMATS[read].open(records(written).select("row", "line"), Options(format=read)))
        except UsageError:  # which names the columns that it would need
            continue
        # Most formats open every input with the same layouts: those read all samples in one go.
        opened.setdefault(tuple(map(id, layouts)), (layouts, []))[1].append(records(written))
    assert opened
    for layouts, samples in opened.values():
        lines = pl.concat(samples).with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
        calls = parse_records(lines.select("row", "line"), layouts).calls
        assert lines.join(calls.select("row"), on="row")["written"].unique().to_list() == []


@pytest.mark.parametrize(
    "data", [b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, b"access.log" + bytes(502) + b"a b c\n" * 9]
)
def test_binary_data_is_called_so_and_not_quoted(data: bytes) -> None:
    with pytest.raises(FormatError, match="binary data") as failed:
        detect(Block(data), Options(), "x")
    assert str(failed.value).isprintable()


def test_what_is_passed_over_at_a_glance_fits_no_line_when_it_is_looked_at() -> None:
    """Detection looks closer at few layouts: the others are told by literals and names that no line of the head has."""
    samples = [Block(sample(name)).lines for name in SAMPLED if name != "table_parquet"]
    samples += [Block(next(case.glob("input.*")).read_bytes()).lines for case in (CASES.parent / "wrappers").iterdir()]
    lines = pl.concat(samples).select(row=pl.int_range(pl.len(), dtype=pl.UInt32), line="line")
    lines = lines.filter(lines["line"].str.contains(r"\S"))
    layouts = [layout for format in FORMATS.values() for layout in format.open(lines, Options())]
    told = trials._fits(lines, layouts)
    seen = 0
    for layout in layouts:
        # A line of a W3C log fits under what another one says.
        heads = [s for s in samples if s.height] if isinstance(layout, W3cLayout) else [lines]
        for head in heads:
            fits = layout.fits(head)
            taken = head["line"].filter(fits).to_list()
            assert all(layout.may_fit([line] if head is lines else head["line"].to_list()) for line in taken)
            seen += len(taken)
        if id(layout) in told:
            assert layout.fits(lines).to_list() == told[id(layout)].tolist()
    assert seen > 200


def test_detection_names_the_wrappers_and_the_first_line_each_runner_up_refuses(tmp_path: Path) -> None:
    line = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5"'
    timed = f"{line} 0.042 0.041"
    (tmp_path / "x.log").write_text(f"{timed}\n{line}\n{timed}\n")
    ran = apilens("formats", "--detect", tmp_path / "x.log", "--output", "json")
    found = ran.json()
    assert (found["format"], found["wrappers"]) == ("nginx_combined", [])
    assert found["why"] == "3 of the first 3 records fit nginx_combined"
    assert found["runners_up"]["apache_combined"]["fits"] == 1
    refused = found["runners_up"]["apache_combined"]["first_reject"]
    assert refused.startswith("line 1: does not fit the layout: the layout ends before")
    assert "apache_combined: fits 1 of 3; refuses line 1:" in apilens("formats", "--detect", tmp_path / "x.log").out


OBJECTS = (
    "kong_json",
    "apisix_json",
    "traefik_json",
    "caddy_json",
    "gcp_lb",
    "azure_apim",
    "cloudflare_logpush",
    "tyk_json",
)


def read(*lines: str) -> tuple[list[str], list[str]]:
    """Gateways of the calls and reasons of the rejects, in the order of the lines."""
    block = Block(("\n".join(lines) + "\n").encode())
    part = parse(block, detect(block.head, Options(), "x").reader)
    assert part.read == part.calls.height + part.rejects.height + part.filtered
    return part.calls.sort("row")["gateway"].to_list(), part.rejects.sort("row")["reason"].to_list()


def test_a_file_of_many_gateways_objects_is_read_line_by_line_not_as_a_table() -> None:
    assert read(*(FORMATS[name].example for name in OBJECTS)) == (list(OBJECTS), [])


def test_a_format_that_the_head_had_no_line_of_is_read_all_the_same() -> None:
    text, late = FORMATS["nginx_combined"].example, [FORMATS[name].example for name in ("kong_json", "traefik_json")]
    assert read(*[text] * 250, *late) == (["nginx_combined"] * 250 + ["kong_json", "traefik_json"], [])
    assert read(*[late[0]] * 250, text, late[1]) == (["kong_json"] * 250 + ["nginx_combined", "traefik_json"], [])


def test_what_one_gateway_writes_between_its_calls_may_be_the_call_of_another() -> None:
    """Caddy's calls have the level and the message that Traefik's own messages are told by."""
    written = FORMATS["caddy_json"].example.replace("{", '{"level":"info","msg":"handled request",', 1)
    own = '{"level":"info","msg":"Configuration loaded","time":"2026-03-09T14:00:00Z"}'
    calls = [FORMATS["traefik_json"].example] * 3 + [written] * 2
    assert read(*calls, own) == (["traefik_json"] * 3 + ["caddy_json"] * 2, [])


def test_every_format_is_listed_with_a_description_and_an_example() -> None:
    listed = apilens("formats").out
    for format in FORMATS.values():
        assert format.description and format.example
        assert format.name in listed
        assert format.description.split("\n")[0][:30] in listed


@pytest.mark.parametrize("name", TOLD)
def test_the_example_of_a_format_is_a_line_of_it(name: str) -> None:
    found = detect(Block(FORMATS[name].example.encode() + b"\n"), Options(format=name), "x")
    part = parse(Block(FORMATS[name].example.encode() + b"\n"), found.reader)
    assert part.rejects.is_empty() or FORMATS[name].plain is False, part.rejects["reason"].to_list()
    assert part.calls.height == 1 or name in GENERIC


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].pasted is None])
def test_the_example_alone_is_told_as_its_format(name: str) -> None:
    # A table's example is told by any format whose fields it names; the tables come last.
    assert name in GENERIC or detect(Block(FORMATS[name].example.encode() + b"\n"), Options(), "x").format == name


# -- formats of other packages -----------------------------------------------------------------------------------------

#: The files of docs/adding-a-format.md, as they stand there.
PACKAGE, PROJECT = re.findall(
    r"^```text\n((?:from apilens|\[build-system).*?)^```",
    (ROOT / "docs" / "adding-a-format.md").read_text("utf-8"),
    re.MULTILINE | re.DOTALL,
)


def test_a_package_that_brings_a_format_is_installed_and_read(tmp_path: Path) -> None:
    project, target = tmp_path / "project", tmp_path / "site"
    project.mkdir()
    (project / "apilens_piped.py").write_text(PACKAGE)
    broken = '"apilens.formats"]\nbroken = "apilens_piped:MISSING"\n'
    (project / "pyproject.toml").write_text(PROJECT.replace('"apilens.formats"]\n', broken))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*pip, "--target", str(target), str(project)], capture_output=True, text=True, timeout=180)
    assert built.returncode == 0, built.stderr
    (tmp_path / "x.log").write_text("1773064800.125|GET|/v1/carts|200\n")
    paths = [str(target), *(path for path in sys.path if path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    program = [sys.executable, "-c", "from apilens.cli import main; main()"]
    ran = subprocess.run(
        [*program, "parse", str(tmp_path / "x.log")], capture_output=True, text=True, env=environment, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert '"gateway":"piped"' in ran.stdout and '"status_code":200' in ran.stdout
    # The entry point beside it that leads nowhere is said by name, and stops nothing.
    assert "format broken (apilens_piped:MISSING of apilens-piped) cannot be loaded and is left out" in ran.stderr


class _Entry:
    def __init__(self, name: str, brings: object) -> None:
        self.name, self.value, self.dist, self._brings = name, f"pkg:{name}", None, brings

    def __lt__(self, other: _Entry) -> bool:
        return self.name < other.name

    def load(self) -> object:
        if isinstance(self._brings, Exception):
            raise self._brings
        return self._brings


def test_what_keeps_a_strangers_format_from_being_used_is_said(tmp_path: Path) -> None:
    good = fixed("good", "good", "x", lambda options: [])
    same = fixed("kong_json", "mine", "x", lambda options: [])
    entries = [_Entry("a", good), _Entry("b", RuntimeError("boom")), _Entry("c", "no format"), _Entry("d", same)]
    problems: list[str] = []
    with (
        mock.patch.object(registry, "entry_points", lambda group: entries),
        mock.patch.object(registry, "PROBLEMS", problems),
    ):
        found: dict[str, Format] = registry._registry([FORMATS["kong_json"], *registry._others()])
    assert list(found) == ["kong_json", "good"]
    assert found["kong_json"] is FORMATS["kong_json"]
    assert [text.split(":")[0] for text in problems] == ["format b (pkg", "format c (pkg", "format kong_json of another package is left out"]  # fmt: skip
    (tmp_path / "x.log").write_text("1773064800.125\n")
    with mock.patch("apilens.cli.inputs.PROBLEMS", problems):
        ran = apilens("parse", tmp_path / "x.log", "--log-format", "$msec")
    assert (ran.code, len(ran.rows())) == (0, 1)
    assert "RuntimeError: boom" in ran.err and "found str, expected apilens.formats.Format" in ran.err


@pytest.mark.parametrize(
    "line",
    [
        'INFO:     127.0.0.19:54359 - "GET /v1/carts HTTP/1.1" 200 OK',  # uvicorn
        "GET /v1/carts 200 12 - 2.122 ms",  # morgan, tiny
        "\x1b[0mGET /v1/carts \x1b[32m200\x1b[0m 2.122 ms - 12\x1b[0m",  # dev
    ],
)
def test_calls_without_a_time_are_told_that_they_have_none(line: str) -> None:
    with pytest.raises(FormatError, match="what was called, but not when"):
        detect(Block(f"{line}\n".encode() * 3), Options(), "x")
    timed = Block(f"2026-03-09T14:00:00.123456789Z {line}\n".encode())
    if line.startswith("INFO"):  # what the message says to type
        layout = '%{%Y-%m-%dT%H:%M:%S.%9fZ}t %{level}n %h:%{remote}p - "%r" %>s %{reason}n'
        calls = parse(timed, detect(timed, Options(log_format=layout), "x").reader).calls
        assert calls.select("path", "status_code", "client_ip").row(0) == ("/v1/carts", 200, "127.0.0.19")


def test_fastify_s_parted_records_are_told_how_to_become_one() -> None:
    first = (
        '{"level":30,"time":1773064800125,"reqId":"req-2","req":{"method":"GET","url":"/v1"},"msg":"incoming request"}'
    )
    last = '{"level":30,"time":1773064800167,"reqId":"req-2","res":{"statusCode":200},"responseTime":42,"msg":"request completed"}'
    with pytest.raises(FormatError) as refused:
        detect(Block(f"{first}\n{last}\n".encode()), Options(), "x")
    assert "disableRequestLogging" in str(refused.value) and "--columns" not in str(refused.value)


def test_what_is_called_a_status_is_suggested_before_what_looks_like_one() -> None:
    line = '{"when":"2026-03-09T14:00:00Z","message":"GET /v1 200","in":{"query":{"n":"176"},"verb":"GET","uri":"/v1"},"out":{"statusCode":200}}'
    with pytest.raises(FormatError, match=r"--columns status_code=out\.statusCode"):
        detect(Block(f"{line}\n".encode()), Options(), "x")
