"""The command line as a whole: help, flags, exit codes, what goes to which stream, and hostile text on the screen."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
import polars as pl
import pytest

from apilens.cli import COMMANDS, cli
from apilens.cli.scan import print_candidates
from apilens.errors import Exit, worst
from apilens.formats import FORMATS
from apilens.ingest.run import Request
from apilens.lake import Lake, open_lake
from apilens.lens import Lens
from apilens.pipeline.logs import _same_job
from commands import Ran, apilens, ingest
from people import candidate, candidates

GOOD = '203.0.113.7 - - [09/Mar/2026:14:00:{:02}.000 +0000] "GET /v1/orders/{} HTTP/1.1" {} 512 "-" "client"\n'.replace(
    ".000", ""
)
#: Colours, a title set by OSC, a C1 introducer, a bidi override, a line separator and a bell.
HOSTILE = "a\x1b[31mb\x1b]0;owned\x07c\x9b2Jd\u202egnp\u2028e\u0085f"


MAIN = "from apilens.cli import main; main()"


def lines(n: int, status: int = 200) -> str:
    return "".join(GOOD.format(i % 60, i, status) for i in range(n))


def all_commands(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, (*words, name))
        else:
            yield (*words, name), command


ALL = dict(all_commands(cli))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    path.write_text(lines(20) + lines(2, 503) + "no call at all\n")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of the calls of `log`, made once; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "access.log").write_text(lines(20) + lines(2, 503) + "no call at all\n")
    ingest(folder / "lake", folder / "access.log")
    return folder / "lake"


@pytest.fixture
def lake(tmp_path: Path, made: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "lake"))


# -- help --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), *ALL], ids=" ".join)
def test_every_help_shows_two_examples_to_paste(words: tuple[str, ...]) -> None:
    ran = apilens(*words, "--help")
    assert (ran.code, ran.err) == (0, "")
    examples = [line for line in ran.out.split("\n") if re.search(rf"\bapilens {' '.join(words)}", line)]
    assert len([line for line in examples if "Usage:" not in line]) >= 2, ran.out


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_example_of_the_help_is_accepted_by_the_parser(words: tuple[str, ...]) -> None:
    import shlex

    text = ALL[words].help or ""
    found = 0
    for line in text.split("\n"):
        for part in re.split(r"\||&&|(?<!-)>", line):
            given = shlex.split(part.strip()) if "'" not in part or part.count("'") % 2 == 0 else []
            if given[: len(words) + 1] == ["apilens", *words]:
                ALL[words].make_context("apilens", given[len(words) + 1 :])
                found += 1
    assert found, "the help shows no example of its own command"


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    program = (
        "import sys; from apilens.cli import run; run(sys.argv[1:]);"
        "print([m for m in ('polars', 'duckdb', 'deltalake', 'pyarrow', 'sklearn', 'plotly', 'sqlalchemy') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words, "--help"], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"


def test_numpy_starts_no_threads_of_its_own() -> None:
    code = (
        "import atexit, os\n"
        "def count():\n    import numpy\n    print('threads', len(os.listdir('/proc/self/task')))\n"
        f"atexit.register(count)\n{MAIN}"
    )
    alone = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    ran = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, env=alone, timeout=60, check=True
    )
    assert ran.stdout.endswith("threads 1\n"), ran


# -- flags -------------------------------------------------------------------------------------------------------

CONFIG = 'apdex_ms = 250\n[[sources]]\nmatch = "*.log"\nsource = "edge"\nenvironment = "test"\n'
LOG_FORMAT = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)

#: Every flag of the commands around the lake, used: command, flag, its value, and what must then hold of the run.
FLAGS: list[tuple[str, str, str | None, Any]] = [
    ("ingest", "--lake", "{tmp}/other", lambda ran, tmp: len(Lens(f"{tmp}/other").calls().collect()) == 22),
    ("ingest", "--config", "{tmp}/my.toml", lambda ran, tmp: ledger(tmp)["environment"].to_list() == ["test"]),
    ("ingest", "--source", "gw-1", lambda ran, tmp: ledger(tmp)["source"].to_list() == ["gw-1"]),
    ("ingest", "--environment", "prod", lambda ran, tmp: ledger(tmp)["environment"].to_list() == ["prod"]),
    ("ingest", "--format", "apache_combined", lambda ran, tmp: ledger(tmp)["format"].to_list() == ["apache_combined"]),
    ("ingest", "--log-format", LOG_FORMAT, lambda ran, tmp: ledger(tmp)["log_format"].to_list() == [LOG_FORMAT]),
    ("ingest", "--log-format-from", "{tmp}/nginx.conf", lambda ran, tmp: ledger(tmp)["log_format"].to_list() == [LOG_FORMAT]),
    ("ingest", "--columns", "path=x", lambda ran, tmp: ran.code == 0),
    ("ingest", "--tz", "Asia/Tokyo", lambda ran, tmp: ran.code == 0),
    ("ingest", "--final", None, lambda ran, tmp: ran.code == 0),
    ("ingest", "--replace", None, lambda ran, tmp: ran.code == 0),
    ("ingest", "--lookback", "2h", lambda ran, tmp: len(list((tmp / "lake" / "_apilens").glob("ingest-*.json"))) == 1),
    ("ingest", "--now", "2026-04-01T00:00Z", lambda ran, tmp: str(ledger(tmp)["ingested_at"][0])[:10] == "2026-04-01"),
    ("ingest", "--metrics", "{tmp}/a.prom", lambda ran, tmp: 'records{outcome="stored"} 22' in (tmp / "a.prom").read_text()),
    ("ingest", "--scheduler", "local:1", lambda ran, tmp: ledger(tmp)["stored"].to_list() == [22]),
    ("ingest", "--json", None, lambda ran, tmp: ran.json()["stored"] == 22),
    ("parse", "--format", "apache_combined", lambda ran, tmp: ran.rows()[0]["gateway"] == "apache_combined"),
    ("parse", "--log-format", LOG_FORMAT, lambda ran, tmp: ran.rows()[0]["gateway"] == "nginx_log_format"),
    ("parse", "--log-format-from", "{tmp}/nginx.conf", lambda ran, tmp: ran.rows()[0]["gateway"] == "nginx_log_format"),
    ("parse", "--columns", "path=x", lambda ran, tmp: len(ran.rows()) == 22),
    ("parse", "--tz", "Asia/Tokyo", lambda ran, tmp: len(ran.rows()) == 22),
    ("parse", "--output", "table", lambda ran, tmp: ran.out.startswith("timestamp\t")),
    ("formats", "--detect", "{tmp}/access.log", lambda ran, tmp: "nginx_combined" in ran.out),
    ("formats", "--log-format-from", "{tmp}/nginx.conf", lambda ran, tmp: "kong_json" in ran.out),
    ("formats", "--tz", "Asia/Tokyo", lambda ran, tmp: "kong_json" in ran.out),
    ("formats", "--output", "json", lambda ran, tmp: set(ran.json()) == set(FORMATS)),
    ("rejects", "--lake", "{tmp}/lake", lambda ran, tmp: "no call at all" in ran.out),
    ("rejects", "--refeed", None, lambda ran, tmp: ran.code == 3),
    ("rejects", "--format", "kong_json", lambda ran, tmp: ran.code == 0),
    ("rejects", "--log-format", "$msec", lambda ran, tmp: ran.code == 0),
    ("rejects", "--log-format-from", "{tmp}/nginx.conf", lambda ran, tmp: ran.code == 0),
    ("rejects", "--columns", "path=x", lambda ran, tmp: ran.code == 0),
    ("rejects", "--tz", "Asia/Tokyo", lambda ran, tmp: ran.code == 0),
    ("rejects", "--now", "2026-04-01", lambda ran, tmp: ran.code == 0),
    ("rejects", "--output", "raw", lambda ran, tmp: ran.out == "no call at all\n"),
    ("endpoints", "--since", "2026-03-09T14:00:10Z", lambda ran, tmp: " 10 " in ran.out),
    ("endpoints", "--until", "2026-03-09T14:00:10Z", lambda ran, tmp: " 12 " in ran.out),
    ("endpoints", "--now", "2026-03-09", lambda ran, tmp: " 22 " in ran.out),
    ("endpoints", "--exact", None, lambda ran, tmp: " 22 " in ran.out),
    ("endpoints", "--include-synthetic", None, lambda ran, tmp: " 22 " in ran.out),
    ("endpoints", "--openapi", "{tmp}/api.yaml", lambda ran, tmp: "/v1/orders/{id}" in ran.out),
    ("endpoints", "--lake", "{tmp}/lake", lambda ran, tmp: " 22 " in ran.out),
    ("endpoints", "--config", "{tmp}/my.toml", lambda ran, tmp: " 22 " in ran.out),
    ("endpoints", "--output", "csv", lambda ran, tmp: ran.out.startswith("environment,service,method,route,calls,")),
    ("models", "--since", "2026-03-09", lambda ran, tmp: "no call of this window" in ran.err),
    ("models", "--until", "2026-03-09", lambda ran, tmp: "no call of this window" in ran.err),
    ("models", "--now", "2026-03-09", lambda ran, tmp: ran.code == 0),
    ("models", "--include-synthetic", None, lambda ran, tmp: ran.code == 0),
    ("models", "--openapi", "{tmp}/api.yaml", lambda ran, tmp: ran.code == 0),
    ("models", "--lake", "{tmp}/lake", lambda ran, tmp: "names a model" in ran.err),
    ("models", "--config", "{tmp}/my.toml", lambda ran, tmp: ran.code == 0),
    ("models", "--output", "csv", lambda ran, tmp: ran.out.startswith("environment,service,method,route,provider,")),
    ("routes", "--openapi", "{tmp}/api.yaml", lambda ran, tmp: "getOrder" in ran.out),
    ("routes", "--lake", "{tmp}/lake", lambda ran, tmp: "/v1/orders/{id}" in ran.out),
    ("routes", "--output", "json", lambda ran, tmp: ran.json()["routes"][0]["calls"] == 22),
    ("inventory", "--since", "2026-03-01", lambda ran, tmp: "1 in use" in ran.err),
    ("inventory", "--until", "2026-03-01", lambda ran, tmp: "1 unused" in ran.err),
    ("inventory", "--fail-on", "unused", lambda ran, tmp: ran.code == 0),
    ("inventory", "--openapi", "{tmp}/api.yaml", lambda ran, tmp: "no document" not in ran.err),
    ("inventory", "--now", "2026-03-10", lambda ran, tmp: "1 in use" in ran.err),
    ("inventory", "--lake", "{tmp}/lake", lambda ran, tmp: "1 in use" in ran.err),
    ("inventory", "--output", "json", lambda ran, tmp: ran.json()["endpoints"][0]["calls"] == 22),
    ("sql", "--lake", "{tmp}/lake", lambda ran, tmp: "22" in ran.out),
    ("sql", "--output", "json", lambda ran, tmp: ran.json()["rows"] == [{"n": 22}]),
    ("look", "--config", "{tmp}/my.toml", lambda ran, tmp: "22 stored" in ran.out),
    ("look", "--format", "apache_combined", lambda ran, tmp: "apache_combined: 22 stored" in ran.out),
    ("look", "--log-format", LOG_FORMAT, lambda ran, tmp: "nginx_log_format: 22 stored" in ran.out),
    ("look", "--log-format-from", "{tmp}/nginx.conf", lambda ran, tmp: "nginx_log_format: 22 stored" in ran.out),
    ("look", "--columns", "path=x", lambda ran, tmp: "22 stored" in ran.out),
    ("look", "--tz", "Asia/Tokyo", lambda ran, tmp: "22 stored" in ran.out),
    ("look", "--since", "10s", lambda ran, tmp: re.search(r"GET /v1/orders/\{id\} +10 ", ran.out)),
    ("look", "--until", "2026-03-09T14:00:05Z", lambda ran, tmp: re.search(r"GET /v1/orders/\{id\} +7 ", ran.out)),
    ("look", "--top", "1", lambda ran, tmp: "22 stored" in ran.out),
    ("scan", "--since", "2026-03-01", lambda ran, tmp: ran.code == 0),
    ("scan", "--until", "2026-04-01", lambda ran, tmp: ran.code == 0),
    ("scan", "--now", "2026-03-10T00:00Z", lambda ran, tmp: ran.out == "nothing abnormal found in the calls from 2026-03-09 14:00Z to 2026-03-10 00:00Z\n" and "as of 2026-03-10 00:00Z" in ran.err),
    ("scan", "--fail-on", "low", lambda ran, tmp: ran.code == 0),
    ("scan", "--baseline", "{tmp}/lake", lambda ran, tmp: ran.code == 2 and "is this lake itself" in ran.err),
    ("scan", "--config", "{tmp}/my.toml", lambda ran, tmp: ran.code == 0),
    ("scan", "--openapi", "{tmp}/api.yaml", lambda ran, tmp: ran.code == 0),
    ("scan", "--lake", "{tmp}/lake", lambda ran, tmp: ran.code == 0),
    ("scan", "--state", "sqlite:///{tmp}/state.db", lambda ran, tmp: (tmp / "state.db").exists()),
    ("scan", "--output", "json", lambda ran, tmp: ran.json()["candidates"] == []),
]  # fmt: skip


def ledger(tmp: Path) -> pl.DataFrame:
    return open_lake(str(tmp / "lake")).ledger()


def test_every_flag_of_these_commands_is_used_below() -> None:
    flags = {(words[0], param.opts[0]) for words, command in ALL.items() for param in command.params if param.opts[0].startswith("--")}  # fmt: skip
    covered = {name for name, *_ in FLAGS}
    assert {(name, flag) for name, flag, *_ in FLAGS} == {(name, flag) for name, flag in flags if name in covered}


@pytest.mark.parametrize(("name", "flag", "value", "holds"), FLAGS, ids=[f"{name} {flag}" for name, flag, *_ in FLAGS])
def test_a_flag_does_what_it_says(
    name: str, flag: str, value: str | None, holds: Any, tmp_path: Path, log: Path, made: Path
) -> None:
    (tmp_path / "my.toml").write_text(CONFIG)
    (tmp_path / "nginx.conf").write_text(f"log_format main '{LOG_FORMAT}';\naccess_log access.log main;\n")
    (tmp_path / "api.yaml").write_text("openapi: 3.0.0\npaths:\n  /v1/orders/{n}: {get: {operationId: getOrder}}\n")
    own = [] if flag == "--lake" else ["--lake", str(tmp_path / "lake")]
    if name in ("rejects", "endpoints", "models", "routes", "inventory", "sql", "scan"):
        shutil.copytree(made, tmp_path / "lake")
    words = {
        "ingest": [log, *own],
        "parse": [log],
        "formats": [],
        "look": [log],
        "sql": ["SELECT count(*) AS n FROM calls", *own],
    }.get(name, own)
    given = [flag] if value is None else [flag, value.format(tmp=tmp_path) if "{tmp}" in value else value]
    ran = apilens(name, *words, *given)
    assert "internal error" not in ran.err, ran.err
    assert holds(ran, tmp_path), (ran.out, ran.err)


def test_a_flag_beats_the_environment_and_that_the_default(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    apilens("ingest", log)
    assert (tmp_path / "apilens-data" / "calls").is_dir()
    monkeypatch.setenv("APILENS_LAKE", str(tmp_path / "from-environment"))
    apilens("ingest", log)
    assert (tmp_path / "from-environment" / "calls").is_dir()
    apilens("ingest", log, "--lake", tmp_path / "from-flag")
    assert (tmp_path / "from-flag" / "calls").is_dir()


# -- exit codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["ingest"],
        ["ingest", "{log}", "--no-such-flag"],
        ["ingest", "{log}", "--format", "ngnix_combined"],
        ["ingest", "{log}", "--log-format", "$status only"],
        ["ingest", "{log}", "--log-format", "%h %r"],
        ["ingest", "{log}", "--log-format", "%h %{{msec_frac}}t"],
        ["ingest", "{log}", "--tz", "Mars/Olympus"],
        ["ingest", "{log}", "--tz", "localtime"],
        ["ingest", "{log}", "--tz", "../etc/passwd"],
        ["ingest", "{log}", "--columns", "nonsense"],
        ["ingest", "{log}", "--config", "{tmp}/missing.toml"],
        ["ingest", "{log}", "--now", "soon"],
        ["endpoints", "--since", "yesteryear"],
        ["endpoints", "--since", "2026-03-10", "--until", "2026-03-09"],
        ["endpoints", "--since", "999999999w"],
        ["endpoints", "--output", "yaml"],
        ["sql", "DROP TABLE calls"],
        ["scan", "--fail-on", "catastrophic"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_cannot_be_meant_is_a_usage_error_that_names_it(
    arguments: list[str], lake: Path, log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("APILENS_LAKE", str(lake))
    ran = apilens(*(text.format(log=log, tmp=tmp_path) for text in arguments))
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert "Traceback" not in ran.err
    assert len(ran.err) > 20


def test_a_mistyped_format_is_answered_with_the_nearest_one(log: Path) -> None:
    assert "did you mean nginx_combined?" in apilens("parse", log, "--format", "ngnix_combined").err
    for written in ("nginx", "ngnix", "NGINX", "ngimx"):
        assert "did you mean nginx_ingress or nginx_combined or" in apilens("parse", log, "--format", written).err
    assert "did you mean envoy_text or envoy_json?" in apilens("parse", log, "--format", "envoi").err
    assert "did you mean" not in apilens("parse", log, "--format", "zeus").err


def test_a_mistyped_command_is_answered_with_the_nearest_one() -> None:
    ran = apilens("endpont")
    assert ran.code == Exit.USAGE and "Did you mean 'endpoints'?" in ran.err
    assert "Known: ingest, look" in apilens("xyzzy").err


def test_unknown_layouts_name_what_reads_them_furthest_and_say_once_what_to_type(tmp_path: Path, log: Path) -> None:
    line = '203.0.113.7 - - [09/Mar/2026:14:00:01 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "client" 0.012s "a:80"\n'
    timed = [tmp_path / name for name in ("timed.log", "timed.log.1")]
    for path in timed:
        path.write_text(line * 3)
    ran = apilens("look", *timed)
    assert ran.code == 3
    assert (
        ran.err.count('Nearest:\n  nginx_combined: line 1: does not fit the layout: the layout ends before " 0.012s')
        == 2
    )
    assert ran.err.count("--log-format-from /etc/nginx/nginx.conf") == 1


def test_an_error_log_is_told_from_an_access_log(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text('2026/03/09 14:00:01 [error] 7#7: *1 connect() failed, server: x, request: "GET / HTTP/1.1"\n' * 2)
    ran = apilens("look", path)
    assert ran.code == 3 and "error log" in ran.err and "Nearest" not in ran.err


@pytest.mark.parametrize(
    ("call", "messages", "configuration"),
    [
        (
            None,
            '2026/03/09 14:00:01 [error] 7#7: *1 connect() failed, server: x, request: "GET / HTTP/1.1"\n' * 2,
            f"log_format main '{LOG_FORMAT}';\naccess_log access.log main;\n",
        ),
        (
            '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5 "-" "client" 12000\n',
            "AH00558: apache2: Could not reliably determine the server's fully qualified domain name\n"
            "[Mon Mar 09 14:00:00.1 2026] [mpm_event:notice] [pid 7:tid 7] AH00489: Apache/2.4.65 (Debian) configured\n"
            "[Mon Mar  9 14:00:01 2026] [error] [client 203.0.113.7] File does not exist: /srv/v1\n",
            r"""LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D" main""",
        ),
    ],
    ids=["nginx", "httpd"],
)
def test_an_error_log_beside_an_access_log_is_passed_over_and_said(
    call: str | None, messages: str, configuration: str, tmp_path: Path
) -> None:
    """Whole folders are given to a scheduled job: it must not fail for the file that stands in each of them."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "access.log").write_text(call * 20 if call else lines(20))
    (tmp_path / "logs" / "error.log").write_text(messages)
    (tmp_path / "server.conf").write_text(configuration)
    for how in ([], ["--log-format-from", tmp_path / "server.conf"]):
        ran = apilens("ingest", tmp_path / "logs", "--lake", tmp_path / f"lake{len(how)}", *how)
        assert (ran.code, ran.err.count("an error log, passed over")) == (0, 1), ran.err
        assert "read 20 = stored 20" in ran.out


def test_a_missing_argument_is_answered_with_what_to_type() -> None:
    for words in (["compare"], ["tickets", "plan"], ["explain"], ["ingest"]):
        ran = apilens(*words)
        assert ran.code == Exit.USAGE
        assert f"\nFor example: apilens {' '.join(words)} " in ran.err


def test_an_interrupted_look_says_that_it_kept_nothing(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apilens.pipeline.logs.ingest", mock.Mock(side_effect=KeyboardInterrupt))
    ran = apilens("look", log, "--tz", "Asia/Tokyo")
    assert ran.code == 130
    assert "keeps nothing" in ran.err and f"apilens ingest {log} --tz Asia/Tokyo" in ran.err


def test_what_to_type_next_names_the_lake_that_was_typed(tmp_path: Path, log: Path) -> None:
    other = tmp_path / "an other"
    assert f"apilens rejects --lake '{other}'" in apilens("ingest", log, "--lake", other).out
    assert apilens("endpoints", "--since", "1h", "--lake", other).err.endswith(f"--lake '{other}'\n")


@pytest.mark.parametrize("name", ["endpoints", "models", "routes", "rejects", "scan", "sql"])
def test_without_a_lake_a_command_says_how_to_make_one(name: str, tmp_path: Path) -> None:
    ran = apilens(name, *(["SELECT 1"] if name == "sql" else []), "--lake", tmp_path / "none")
    assert (ran.code, ran.out) == (Exit.INPUT, "")
    assert "apilens ingest" in ran.err
    assert not (tmp_path / "none").exists()


def test_an_unknown_format_is_explained_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "odd.log").write_text("\nWed 14:00 GET /x took 3\n")
    for name in ("ingest", "parse"):
        ran = apilens(name, tmp_path / "odd.log", *(["--lake", tmp_path / "lake"] if name == "ingest" else []))
        assert ran.code == Exit.INPUT
        said = ran.err.split("\n")
        assert "looks like a call: 'Wed 14:00 GET /x took 3'" in said[0]
        assert any("--log-format '$remote_addr" in line for line in said)


def test_of_several_inputs_the_good_ones_are_done_and_the_others_named(tmp_path: Path, log: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04rest")
    (tmp_path / "a.parquet").write_bytes(b"PAR1rest")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines(3_000).encode())[:-100])
    (tmp_path / "empty").write_bytes(b"")
    wrong = ["missing: a.log", "dir", "a.zip", "a.parquet", "nothing*.log"]
    done = ingest(tmp_path / "lake", log, *(tmp_path / name for name in (*wrong, "cut.gz", "empty")))
    assert done["exit_code"] == Exit.PARTIAL
    problems = {Path(report["input"]).name: report["problem"] for report in done["inputs"]}
    assert {name for name, problem in problems.items() if problem} == {*wrong, "cut.gz"}
    assert problems["empty"] is None
    assert done["stored"] > 22
    ran = apilens("ingest", *(tmp_path / name for name in wrong), "--lake", tmp_path / "lake")
    assert ran.code == Exit.INPUT
    assert all(str(tmp_path / name) in ran.err for name in wrong)


def test_an_empty_input_is_said_and_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "empty.log").write_bytes(b"")
    ran = apilens("ingest", tmp_path / "empty.log", "--lake", tmp_path / "lake")
    assert (ran.code, ran.err) == (Exit.DONE, "")
    assert "empty.log: empty" in ran.out
    assert "holds no calls yet" in apilens("endpoints", "--lake", tmp_path / "lake").err


def test_an_input_of_which_nothing_can_be_read_is_not_called_empty(tmp_path: Path) -> None:
    (tmp_path / "cut.gz").write_bytes(gzip.compress(lines(20).encode())[:15])
    ran = apilens("ingest", tmp_path / "cut.gz", "--lake", tmp_path / "lake")
    assert ran.code in (Exit.PARTIAL, Exit.INPUT)
    assert "empty" not in ran.out
    print(ran)


def test_more_rejects_than_the_configuration_allows_make_a_run_partial(tmp_path: Path, log: Path) -> None:
    assert apilens("ingest", log, "--lake", tmp_path / "a").code == Exit.DONE
    (tmp_path / "strict.toml").write_text("max_reject_ratio = 0.01\n")
    assert apilens("ingest", log, "--lake", tmp_path / "b", "--config", tmp_path / "strict.toml").code == Exit.PARTIAL


def test_a_bug_exits_70_with_its_traceback_and_no_result(lake: Path) -> None:
    for kind in (RuntimeError, pl.exceptions.PanicException):
        with mock.patch("apilens.lens.Lens.endpoints_and_apart", side_effect=kind("boom")):
            ran = apilens("endpoints", "--lake", lake)
        assert (ran.code, ran.out) == (Exit.INTERNAL, "")
        assert "boom" in ran.err


def test_the_worst_of_several_exit_codes_wins() -> None:
    order = [Exit.INTERNAL, Exit.LOCKED, Exit.OUTBOUND, Exit.INPUT, Exit.PARTIAL, Exit.FINDINGS, Exit.DONE]
    for i, code in enumerate(order):
        assert worst(*reversed(order[i:])) == code
    assert worst() == Exit.DONE


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('apdex = 3\n', ["'apdex'", "'apdex_ms'"]),
        ('apdex_ms = "quick"\n', ["apdex_ms", "quick"]),
        ('apdex_ms = 0\n', ["apdex_ms"]),
        ('[[sources]]\nmatch = "*"\nlogformat = "x"\n', ["logformat", "'log_format'"]),
        ('[[sources]]\nsource = "x"\n', ["sources.0.match"]),
        ('[[source]]\nmatch = "*"\n', ["'source'", "'sources'"]),
        ("apdex_ms = \n", ["is no TOML", "line 1"]),
        ("\xff", ["is no TOML"]),
    ],
)  # fmt: skip
def test_a_malformed_configuration_names_file_key_and_the_nearest_key(
    text: str, named: list[str], tmp_path: Path, log: Path
) -> None:
    (tmp_path / "my.toml").write_bytes(text.encode("latin-1"))
    ran = apilens("ingest", log, "--lake", tmp_path / "lake", "--config", tmp_path / "my.toml")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert all(word in ran.err for word in [str(tmp_path / "my.toml"), *named]), ran.err
    assert not (tmp_path / "lake").exists()


# -- streams -----------------------------------------------------------------------------------------------------


def test_json_has_the_promised_keys_and_stands_alone_on_stdout(tmp_path: Path, log: Path) -> None:
    ran = apilens("ingest", log, tmp_path / "missing", "--lake", tmp_path / "lake", "--json")
    promised = {"read", "stored", "rejected", "filtered", "duplicate", "blank", "lines", "bytes", "units", "seconds"}
    assert ran.out.count("\n") == 1
    assert promised <= set(ran.json())
    assert all({"input", "format", "stored", "problem"} <= set(report) for report in ran.json()["inputs"])
    assert "missing: does not exist" in ran.err
    assert "missing" not in re.sub(r'"inputs".*', "", ran.out)


def test_results_are_on_stdout_and_messages_on_stderr(lake: Path, log: Path) -> None:
    parsed = apilens("parse", log)
    assert len(parsed.rows()) == 22
    assert "line 23" in parsed.err
    assert "no call" not in parsed.out
    for arguments in (
        ["endpoints", "--output", "json"],
        ["endpoints", "--output", "json", "--since", "24h", "--now", "2030-01-01"],
        ["scan", "--output", "json"],
        ["routes", "--output", "json"],
        ["sql", "SELECT 1 AS one", "--output", "json"],
    ):
        ran = apilens(*arguments, "--lake", lake)
        assert ran.json()["schema_version"] == 1, ran.out


def test_parse_says_the_line_of_a_reject_behind_the_first_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apilens.ingest.pieces.BLOCK_BYTES", 300)
    (tmp_path / "x.log").write_text(lines(10) + "no call\n" + lines(10) + "nor this\n")
    ran = apilens("parse", tmp_path / "x.log")
    assert len(ran.rows()) == 20
    assert [int(number) for number in re.findall(r": line (\d+):", ran.err)] == [11, 22]


def test_a_reader_that_leaves_early_ends_a_command_quietly(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_text(lines(5_000))
    program = "import sys; from apilens.cli import main; main()"
    command = [sys.executable, "-c", program, "parse", str(tmp_path / "x.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_reader_of_both_streams_that_is_gone_is_no_finding() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-c", "from apilens.cli import main; main()", "formats"]
    try:
        assert subprocess.run(command, stdout=write_end, stderr=write_end, timeout=60).returncode == 0
    finally:
        os.close(write_end)


@pytest.mark.parametrize("command", ["endpoints", "endpoints --output csv", "formats", "--help"])
def test_a_full_disk_behind_the_output_is_said_and_is_no_bug(command: str, lake: Path) -> None:
    words = [*command.split(), *(["--lake", str(lake)] if command.startswith("endpoints") else [])]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-c", MAIN, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert ran.returncode == Exit.OUTBOUND
    said = ran.stderr.splitlines()
    assert said[-1] == (
        "apilens: the output cannot be written (No space left on device) and ends early; what was committed to the lake stays"
    )
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr


def test_a_full_disk_under_a_file_is_not_taken_for_one_behind_the_output(tmp_path: Path, lake: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    ran = subprocess.run(
        [sys.executable, "-c", MAIN, "report", "--lake", str(lake), "--out", str(tmp_path / "r.html"), "--state", f"sqlite:///{tmp_path}/none.db"],
        capture_output=True, text=True, timeout=60, preexec_fn=no_room,
    )  # fmt: skip
    assert (ran.returncode, "the output" in ran.stderr, "Traceback" in ran.stderr) == (Exit.INPUT, False, False), ran


@pytest.mark.parametrize("stream", [1, 2])
def test_a_job_may_be_started_without_an_output(stream: int, lake: Path) -> None:
    typed = shlex.join([sys.executable, "-c", MAIN, "endpoints", "--lake", str(lake)])
    ran = subprocess.run(["sh", "-c", f"{typed} {stream}>&-"], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)
    assert ("GET /v1/orders/{id}" in ran.stdout) is (stream == 2)


def test_unbuffered_results_and_messages_come_in_their_order(lake: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-u", "-c", MAIN, "lake", "info", "--lake", str(lake)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("table") and "the last one committed" in "".join(lines[1:])


def test_a_full_disk_under_the_state_database_is_said_and_is_no_bug(lake: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    ran = subprocess.run(
        [sys.executable, "-c", MAIN, "triage", "--lake", str(lake)],
        capture_output=True, text=True, timeout=60, preexec_fn=no_room,
    )  # fmt: skip
    assert ran.returncode == Exit.INPUT, ran.stderr
    assert ran.stderr.startswith("apilens: sqlite:///") and "Traceback" not in ran.stderr


def test_look_leaves_nothing_behind(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    before = sorted(tmp_path.rglob("*"))
    other = b'203.0.113.7 - - [09/Mar/2026:14:00:01 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "client"\n'
    ran = apilens("look", "-", "--top", "1", stdin=log.read_bytes() + other + b"no call\n")
    assert ran.code == 4  # 2 of 25 lines fit no format
    assert "23 stored" in ran.out and "GET /v1/orders/{id}" in ran.out
    assert "nothing abnormal found; with less than a day of logs" in ran.out
    assert "failing all the same, with 5xx: GET /v1/orders/{id} (9.1 % of 22 calls: 2 × 503)" in ran.out
    assert sorted(tmp_path.rglob("*")) == before
    assert re.search(r"the first one: -:23: does not fit .*\(format nginx_combined\)", ran.out)
    # What it says next must not need the lake that is gone.
    assert "why lines were rejected: apilens parse" in ran.out and "more: --top" in ran.out
    assert "apilens rejects" not in ran.out and "more: apilens endpoints" not in ran.out


def test_of_a_log_that_is_mostly_rejected_no_figures_are_offered_and_its_layout_is_asked_for(tmp_path: Path) -> None:
    longer = GOOD.replace('"client"\n', '"client" 16429 aw0Q -\n')
    malformed = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "-" 408 0 "-" "-"\n'
    (tmp_path / "x.log").write_text("".join(longer.format(i, i, 200) for i in range(20)) + malformed * 2)
    for ran in (
        apilens("look", tmp_path / "x.log"),
        apilens("ingest", "--lake", tmp_path / "lake", tmp_path / "x.log"),
    ):
        assert ran.code == 4
        assert "most of its records have another layout" in ran.out and "--log-format-from /etc/nginx" in ran.out
    looked = apilens("look", tmp_path / "x.log").out
    assert "what follows is about 2 of 22 records only" in looked
    assert "keep it and go on" not in looked
    fits = apilens("look", tmp_path / "x.log", "--format", "nginx_combined").out
    assert "x.log:1: does not fit the layout: the layout ends before" in fits


def test_look_says_what_was_answered_and_who_calls_most(tmp_path: Path) -> None:
    line = '203.0.113.{} - {} [09/Mar/2026:14:00:01 +0000] "GET /v1/a HTTP/1.1" {} 5 "-" "{}"\n'
    rows = (
        [(7, "-", 200, "c")] * 6
        + [(7, "-", 502, "c")] * 2
        + [(8, "ann", 404, "c")] * 2
        + [(9, "-", 200, "Googlebot/2.1")]
    )
    (tmp_path / "x.log").write_text("".join(line.format(*row) for row in rows))
    out = apilens("look", tmp_path / "x.log").out
    assert "answered with:    200 6 (60 %), 404 2 (20 %), 502 2 (20 %)\n" in out
    assert (
        "busiest callers:  203.0.113.7 8 (80 % of all; 25 % of them 5xx), ann 2 (20 % of all; 0 % of them 5xx)\n" in out
    )
    bots = '203.0.113.9 - - [09/Mar/2026:14:00:01 +0000] "GET /v1/a HTTP/1.1" 200 5 "-" "Googlebot/2.1"\n'
    (tmp_path / "bots.log").write_text(bots * 3)
    alone = apilens("look", tmp_path / "bots.log")
    assert "answered with" not in alone.out and "3 calls of bots are set apart\n" in alone.err


def test_endpoints_say_of_which_time_and_calls_they_are(lake: Path) -> None:
    said = apilens("endpoints", "--lake", lake).err
    assert "22 calls of 1 endpoint, 2026-03-09 14:00 to 2026-03-09 14:00 UTC" in said


def test_bytes_that_no_line_has_are_not_shown_as_none(tmp_path: Path) -> None:
    row = {"time": "2026-03-09T14:00:00Z", "method": "GET", "path": "/a", "status": 200}
    (tmp_path / "x.json").write_text(json.dumps(row) + "\n")
    ingest(tmp_path / "lake", tmp_path / "x.json")
    assert "bytes" not in apilens("endpoints", "--lake", tmp_path / "lake").out.splitlines()[0]
    (tmp_path / "y.json").write_text(json.dumps({**row, "path": "/b", "response_bytes": 70}) + "\n")
    ingest(tmp_path / "lake", tmp_path / "y.json")
    shown = {line.split()[1]: line for line in apilens("endpoints", "--lake", tmp_path / "lake").out.splitlines()[1:]}
    assert "70 B" in shown["/b"] and "0 B" not in shown["/a"] and "–" in shown["/a"]


def test_the_bytes_a_broken_archive_ends_with_are_no_line_that_could_be_taken(tmp_path: Path, log: Path) -> None:
    whole = gzip.compress(log.read_bytes() * 50, 1)
    (tmp_path / "x.log.gz").write_bytes(whole[: len(whole) // 2])
    ran = apilens("ingest", "--lake", tmp_path / "lake", tmp_path / "x.log.gz")
    assert ran.code == 4
    assert "are the beginning of a line" in ran.out and "--final" not in ran.out


# -- hostile text ------------------------------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A lake of calls with acting characters in every text, from a file with such a name; and that file."""
    record = {
        "started_at": 1773064800125,
        "latencies": {"request": 125},
        "request": {"method": "GET", "uri": f"/x/{HOSTILE}", "headers": {"user-agent": HOSTILE, "host": HOSTILE}},
        "response": {"status": 200},
        "service": {"name": HOSTILE},
        "route": {"name": f"/{HOSTILE}"},
        "consumer": {"username": HOSTILE},
        "upstream_uri": HOSTILE,
    }
    log = tmp_path / f"{HOSTILE.replace('/', '')}.log"
    log.write_text(f"{json.dumps(record)}\nno {HOSTILE} call\n", encoding="utf-8")
    ingest(tmp_path / "lake", log)
    return tmp_path / "lake", log


def acting(text: str) -> set[str]:
    """Characters that would act on a screen instead of standing on it; a line feed ends a line."""
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs")}


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "{log}", "--lake", "{lake}"],
        ["ingest", "{log}.missing", "--lake", "{lake}"],
        ["ingest", "{log}", "--lake", "{lake}", "--format", "table_csv"],
        ["ingest", "{log}", "--lake", "{lake}", "--config", "{log}"],
        ["look", "{log}"],
        ["parse", "{log}", "--output", "table"],
        ["parse", "{log}.missing"],
        ["parse", "{log}", "--format", "nginx_combined"],
        ["formats", "--detect", "{log}"],
        ["formats", "--detect", "{log}.missing"],
        ["rejects", "--lake", "{lake}"],
        ["rejects", "--lake", "{lake}", "--refeed"],
        ["endpoints", "--lake", "{lake}"],
        ["endpoints", "--lake", "{lake}", "--output", "markdown"],
        ["endpoints", "--lake", "{log}"],
        ["endpoints", "--lake", "{lake}", "--since", HOSTILE],
        ["routes", "--lake", "{lake}"],
        ["routes", "--lake", "{lake}", "--openapi", "{log}"],
        ["parse", "{log}", "--log-format-from", "{log}"],
        ["models", "--lake", "{lake}"],
        ["scan", "--lake", "{lake}"],
        ["sql", "SELECT * FROM calls", "--lake", "{lake}"],
        ["sql", f"SELECT '{HOSTILE}' AS \"{HOSTILE}\"", "--lake", "{lake}"],
        ["sql", f"SELECT {HOSTILE}", "--lake", "{lake}"],
    ],
    ids=lambda arguments: " ".join(arguments).encode("ascii", "backslashreplace").decode(),
)
def test_hostile_text_stands_on_the_screen_and_does_not_act(arguments: list[str], hostile: tuple[Path, Path]) -> None:
    lake, log = hostile
    ran: Ran = apilens(*(text.replace("{log}", str(log)).replace("{lake}", str(lake)) for text in arguments))
    assert ran.code != Exit.INTERNAL, ran.err
    assert acting(ran.out.replace("\t", "")) == set()
    assert acting(ran.err) == set()


def test_a_finding_is_an_exit_code_and_its_hostile_names_do_not_act(tmp_path: Path) -> None:
    begin, rows = 1773014400, []
    for second in range(0, 36 * 3600, 15):
        failing = second >= 35 * 3600
        call = {"timestamp": begin + second, "status": 502 if failing else 200, "path": f"/x/{HOSTILE}"}
        rows.append(call | {"service": HOSTILE, "method": "GET", "application": f"{HOSTILE}{second % 7}"})
    (tmp_path / "x.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(tmp_path / "lake", tmp_path / "x.json")
    ran = apilens("scan", "--lake", tmp_path / "lake", "--fail-on", "low")
    assert ran.code == Exit.FINDINGS
    assert "502" in ran.out
    assert acting(ran.out) == acting(ran.err) == set()
    stored = apilens("scan", "--lake", tmp_path / "lake", "--output", "json").json()["candidates"]
    assert {row["service"] for row in stored} == {HOSTILE}


@pytest.mark.parametrize("name", ["endpoints", "routes", "scan"])
def test_hostile_text_breaks_no_json(name: str, hostile: tuple[Path, Path]) -> None:
    ran = apilens(name, "--lake", hostile[0], "--output", "json")
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert ran.json()


def test_a_cell_that_a_spreadsheet_would_run_is_defused(tmp_path: Path) -> None:
    record = {"timestamp": "2026-03-09T14:00:00Z", "status": 200, "service": "=cmd|' /C calc'!A0", "url": "/x"}
    (tmp_path / "x.json").write_text(json.dumps(record) + "\n")
    ingest(tmp_path / "lake", tmp_path / "x.json")
    assert ",'=cmd|" in apilens("endpoints", "--lake", tmp_path / "lake", "--output", "csv").out


def test_a_second_run_over_the_same_files_ends_at_once_and_another_does_not(tmp_path: Path, log: Path) -> None:
    ingest(tmp_path / "lake", log)
    other = tmp_path / "other.log"
    other.write_bytes(log.read_bytes())
    with open_lake(str(tmp_path / "lake")).lock(f"ingest-{_same_job(Request([str(log)]))}"):
        ran = apilens("ingest", log, "--lake", tmp_path / "lake")
        assert (ran.code, ran.out) == (75, "")
        assert "another run" in ran.err
        assert ingest(tmp_path / "lake", other)["duplicate"] == 23
        assert ingest(tmp_path / "lake", "-", stdin=log.read_bytes())["duplicate"] == 23
    assert ingest(tmp_path / "lake", log)["duplicate"] == 23


def test_a_failed_run_leaves_the_time_of_the_last_success(tmp_path: Path, log: Path) -> None:
    metrics = tmp_path / "apilens.prom"

    def figures(*args: object) -> dict[str, str]:
        apilens("ingest", "--lake", tmp_path / "lake", "--metrics", metrics, *args)
        lines = [line for line in metrics.read_text().split("\n") if line and not line.startswith("#")]
        return {name: value for name, _, value in (line.rpartition(" ") for line in lines)}

    first = figures(log, "--now", "2026-04-01T00:00Z")
    failed = figures(tmp_path / "missing.log", "--now", "2026-04-02T00:00Z")
    assert first["apilens_ingest_last_success_timestamp_seconds"] == "1775001600.0"
    assert failed["apilens_ingest_last_success_timestamp_seconds"] == "1775001600.0"
    assert failed["apilens_ingest_last_run_timestamp_seconds"] == "1775088000.0"
    assert (first["apilens_ingest_exit_code"], failed["apilens_ingest_exit_code"]) == ("0", "3")
    assert figures(log)["apilens_ingest_exit_code"] == "0"
    (tmp_path / "lake" / "_apilens" / "lake.json").write_text('{"layout_version": 99}')
    unusable = figures(log, "--now", "2026-04-03T00:00Z")  # no run at all, and what was last seen was a 0
    assert (unusable["apilens_ingest_exit_code"], unusable["apilens_ingest_lines"]) == ("3", "0")
    (tmp_path / "lake" / "_apilens" / "lake.json").write_text('{"layout_version": 1}')
    with Lake(str(tmp_path / "lake")).lock(f"ingest-{_same_job(Request([str(log)]))}"):
        assert figures(log) == unusable  # the run that has the lock leaves its own
    assert apilens("ingest", log, "--lake", tmp_path / "lake", "--metrics", tmp_path / "no" / "x.prom").code == 2
    for folder in (tmp_path / "lake", "."):
        assert apilens("ingest", log, "--lake", tmp_path / "lake", "--metrics", folder).code == 2
    assert not list(tmp_path.glob(".lake.*"))  # what could not take its place is not left beside it


def test_what_is_no_log_and_no_lake_is_told_by_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello\nworld\n")
    (tmp_path / "app.log").write_text("2026-11-27 10:00:01,123 INFO com.acme.Foo - started in 3 ms\n" * 20)
    (tmp_path / "dangling.log").symlink_to("nowhere")
    said = [
        apilens("ingest", tmp_path / name, "--lake", tmp_path / "l").err
        for name in ("words.txt", "app.log", "dangling.log")
    ]
    assert "like no calls at all: 'hello'" in said[0] and "--log-format" in said[0]
    assert "like no calls at all: '2026-11-27 10:00:01,123 INFO" in said[1] and "Nearest" not in said[1]
    assert "is a link to nowhere, which does not exist" in said[2]
    for command in ("endpoints", "queue"):
        assert "is a file; expected the folder of a lake" in apilens(command, "--lake", tmp_path / "words.txt").err


def test_where_no_call_has_a_duration_there_are_no_columns_of_latency(tmp_path: Path) -> None:
    line = '203.0.113.7 - - [09/Mar/2026:14:00:0{} +0000] "GET /v1 HTTP/1.1" 200 5 "-" "c"\n'
    (tmp_path / "access.log").write_text("".join(line.format(n) for n in range(9)))
    ingest(tmp_path / "lake", tmp_path / "access.log")
    ran = apilens("endpoints", "--lake", tmp_path / "lake")
    assert ran.out.splitlines()[0].split() == ["endpoint", "calls", "5xx", "4xx", "bytes", "last", "seen", "(UTC)"]
    assert "no call has a duration" in ran.err
    apilens("report", "--lake", tmp_path / "lake", "--out", tmp_path / "r.html")
    assert ">p99</th>" not in (tmp_path / "r.html").read_text()


def test_endpoints_of_several_environments_are_told_apart(
    tmp_path: Path, lake: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "default" not in apilens("endpoints", "--lake", lake).out
    ingest(lake, log, "--environment", "staging", "--source", "other")
    rows = apilens("endpoints", "--lake", lake).out.splitlines()[1:]
    assert {row.split()[0] for row in rows} == {"default", "staging"}
    apilens("report", "--lake", lake, "--out", tmp_path / "r.html")
    assert "<td>staging</td>" in (tmp_path / "r.html").read_text()
    print_candidates(candidates(candidate("a", environment="default"), candidate("b", environment="staging")))
    assert re.findall(r"default|staging", capsys.readouterr().out) == ["default", "staging"]


def test_a_message_that_is_lost_on_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    """Neither the results that were to come nor the exit code: 1 would be a finding."""

    def ran(*words: str) -> tuple[int, str]:
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-c", MAIN, *words], stdout=subprocess.PIPE, stderr=full, text=True, timeout=120
            )
        return done.returncode, done.stdout

    log = tmp_path / "access.log"
    log.write_text(
        '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 9 "-" "app"\n' * 40 + "odd\n"
    )
    assert ran("endpoints", "--lake", str(tmp_path / "none")) == (Exit.INPUT, "")
    assert ran("endpoints", "--no-such") == (Exit.USAGE, "")
    code, said = ran("look", str(log))
    assert code in (Exit.DONE, Exit.PARTIAL) and "answered with" in said


@pytest.mark.parametrize("name", ["http:path", "took:ms", "a:s:ms", "a=b", "a,b", " a b", "a.b", "in.a:s", 'a"b', "a'b", "a\\b", "a*[0]"])  # fmt: skip
def test_what_is_advised_for_json_with_names_of_its_own_can_be_pasted(tmp_path: Path, name: str) -> None:
    log = tmp_path / "own.json"
    records = ((f"2026-03-09T14:00:0{i}Z", f"/v1/{i}", 200 + i) for i in range(5))
    log.write_text(
        "".join(json.dumps({f"{i}{name}": value for i, value in enumerate(record)}) + "\n" for record in records)
    )
    refused = apilens("ingest", log, "--lake", tmp_path / "lake")
    advised = next(
        line for line in refused.err.splitlines() if line.startswith("  apilens ingest") and "--columns" in line
    )
    given = shlex.split(advised.removesuffix(" --columns duration_ms=NAME:s"))[1:]
    assert apilens(*given, "--lake", tmp_path / "lake").code == 0
    query = "SELECT count(DISTINCT start_time), count(DISTINCT path), count(DISTINCT status_code) FROM calls"
    assert apilens("sql", query, "--lake", tmp_path / "lake", "--output", "csv").out.splitlines()[1] == "5,5,5"


def test_a_duration_without_a_unit_is_said_by_every_command_that_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "t.ndjson"
    path.write_text('{"time":"2026-03-09T14:00:00Z","method":"GET","path":"/x","latency":125}\n')
    said = "nothing says whether latency is in s, ms, us or ns"
    for command in (("parse", path), ("ingest", "--lake", tmp_path / "lake", path), ("look", path)):
        assert apilens(*command).err.count(f"{path}: {said}") == 1
    assert said in apilens("formats", "--detect", path).out
    assert said in apilens("formats", "--detect", path, "--output", "json").json()["doubts"][0]


def test_a_log_of_an_unknown_layout_shows_what_one_of_envoy_s_looks_like(tmp_path: Path) -> None:
    path = tmp_path / "envoy.log"
    path.write_text('[2026-03-09T14:00:00.125Z] "GET /v1/carts HTTP/2" 200 42 edge-1\n')
    ran = apilens("parse", path)
    (typed,) = (line for line in ran.err.split("\n") if "%START_TIME%" in line)
    command = shlex.split(typed)
    assert ran.code == 3 and command[:2] == ["apilens", "ingest"]
    (row,) = apilens("parse", *command[2:]).rows()
    assert (row["duration_ms"], row["node"]) == (42.0, "edge-1")
