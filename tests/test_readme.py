"""Every command the documentation shows is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from apilens.config import load_config
from apilens.triage import read_context
from commands import apilens

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: First lines of the blocks that are not run here, because they set up a machine, show output or need a gateway.
NOT_RUN = {
    "README.md": ["make demo", "[1/5] ingest sample_logs/", "*/5 * * * *"],
    "adding-a-format.md": [
        '"""Acme: the JSON object',  # read by test_docs
        "acme.FORMAT,\n",
        "apilens formats --detect tests/",
        "from apilens.formats import Format",  # built, installed and read by test_detection
        "[build-system]",
        "pip install .",
        "apilens formats\napilens formats --detect piped.log",
    ],
    "commands.md": ["apilens explain 1361c5c5d0"],  # there is no such candidate; run by test_explain
    "detection.md": [
        "python benchmarks/detection.py heldout",
        "python benchmarks/detection.py golive:101",
        "python benchmarks/peers.py calm:101",
        "python benchmarks/incremental.py",
    ],
    "scheduling.md": ["PATH=/opt/apilens", "# /etc/systemd", "apiVersion: batch/v1", "- alert: ApilensIngestStale"],
    "scaling.md": [
        "apilens ingest 's3://logs",
        "apiVersion: kubernetes.dask.org/v1",
        "from dask_jobqueue import",
        "spark.read",
        "CALL delta.system",
        "CREATE EXTERNAL TABLE",
    ],
}


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    """(language, text) of the fenced blocks of these languages, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the documentation names."""
    folder = tmp_path_factory.mktemp("desk")
    call = '203.0.113.9 - app-06 [09/Mar/2026:14:{:02d}:{:02d} +0000] "GET /v1/carts/{} HTTP/1.1" {} 512 {}\n'
    rows = [call.format(i // 60, i % 60, i, 502 if i % 40 == 0 else 200, '"-" "client/1.0"') for i in range(600)]
    (folder / "access.log").write_text("".join(rows))
    timed = [call.format(i // 60, i % 60, i, 200, f"0.{i % 10}50") for i in range(600)]
    (folder / "api.log").write_text("".join(timed))
    (folder / "exports.csv").write_text(
        "when,method,path,result,took\n1773064800000,GET,/v1/stock,200,0.125\n1773064801000,GET,/v1/stock,503,2.5\n"
    )
    (folder / "nginx.conf").write_text(
        "log_format timed '$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent '\n"
        "                 '$request_time';\naccess_log /var/log/nginx/api.log timed;\n"
    )
    (folder / "api.yaml").write_text("openapi: 3.1.0\npaths:\n  /v1/carts/{cart}:\n    get: {operationId: getCart}\n")
    (folder / "slo.yaml").write_text(
        "version: prometheus/v1\nservice: shop\nslos:\n- {name: carts, objective: 99.9, labels: {endpoints: 'GET /v1/carts*'}}\n"
    )
    (folder / "feedback.csv").write_text(
        "id,channel,created_at,reporter,account,title,body,status\n"
        "T-1,ticket,2026-03-09T14:20:00Z,mia@acme.example,acme,Cart fails,GET /v1/carts/80 answers 502,open\n"
    )
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_that_are_not_run_are_the_ones_listed(page: Path) -> None:
    skipped = [text for _, text in blocks(page, "", "text", "console")]
    starts = NOT_RUN.get(page.name, [])
    assert [text[: len(start)] for text, start in zip(skipped, starts, strict=True)] == starts


def test_commands_and_python_blocks_of_the_readme_run_in_their_order(desk: Path) -> None:
    found = blocks(ROOT / "README.md", "sh", "python")
    assert len(found) >= 5
    for language, text in found:
        check(language, text, desk)
    assert (desk / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.name)
def test_blocks_of_the_other_pages_run_after_it(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (desk / "apilens-data").exists():
        check("sh", "apilens ingest access.log && apilens feedback import feedback.csv", desk)
    monkeypatch.chdir(desk)
    for language, text in blocks(page, "sh", "python"):
        for part in text.splitlines() if language == "sh" else [text]:
            words = plain(part) if language == "sh" else None
            if words is None:
                check(language, part, desk)
            else:
                # Without a process of its own per command this takes a third of the time; the README has them.
                ran = apilens(*words)
                assert ran.code == 0, f"{part}\n{ran.out[-1500:]}\n{ran.err[-1500:]}"


def test_the_configuration_shown_loads(tmp_path: Path) -> None:
    (_, config), (_, context) = blocks(ROOT / "docs" / "configuration.md", "toml")
    (tmp_path / "apilens.toml").write_text(config)
    loaded = load_config(str(tmp_path / "apilens.toml"))
    assert loaded.sources[1].columns["timestamp"] == "when:ms"
    assert loaded.marks[0].go_live
    assert read_context(context, "context.toml").accounts["acme"].consumers == ["app-06"]


def test_the_pages_name_no_machine() -> None:
    for page in PAGES:
        assert re.findall(r"/(?:work|home|root|Users)/\S+", page.read_text(encoding="utf-8")) == []


def test_the_picture_of_the_report_is_small() -> None:
    picture = ROOT / "docs" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert 10_000 < picture.stat().st_size < 250_000


def plain(command: str) -> list[str] | None:
    """The arguments of an `apilens` command that needs no shell; None: it needs one."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    if any(set(token) <= set("();<>|&") for token in lexer) or not command.startswith("apilens "):
        return None
    return shlex.split(command)[1:]


def check(language: str, text: str, desk: Path) -> None:
    """Run a block as a reader would paste it; every command must succeed."""
    bin_folder = str(Path(sys.executable).parent)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APILENS_")}
    environment["PATH"] = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", "-e", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
