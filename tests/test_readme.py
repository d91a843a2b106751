"""Every command the documentation shows is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apilens.config import load_config
from apilens.triage import read_context

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the files that the documentation names."""
    folder = tmp_path_factory.mktemp("desk")
    call = '203.0.113.9 - app-06 [09/Mar/2026:14:{:02d}:{:02d} +0000] "GET /v1/carts/{} HTTP/1.1" {} 512 {}\n'
    rows = [call.format(i // 60, i % 60, i, 502 if i % 40 == 0 else 200, '"-" "client/1.0"') for i in range(600)]
    (folder / "access.log").write_text("".join(rows))
    timed = [call.format(i // 60, i % 60, i, 200, f"0.{i % 10}50") for i in range(600)]
    (folder / "api.log").write_text("".join(timed))
    (folder / "feedback.csv").write_text(
        "id,channel,created_at,reporter,account,title,body,status\n"
        "T-1,ticket,2026-03-09T14:20:00Z,mia@acme.example,acme,Cart fails,GET /v1/carts/80 answers 502,open\n"
    )
    return folder


def test_every_page_has_something_to_run_or_names_none() -> None:
    assert [page.name for page in PAGES if blocks(page, "sh") or blocks(page, "python") or blocks(page, "toml")]
    assert (ROOT / "docs" / "report.png").stat().st_size > 10_000


def test_commands_and_python_blocks_of_the_readme_run_in_their_order(desk: Path) -> None:
    found = re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(found) >= 4
    for language, text in found:
        check(language, text, desk)


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "README.md"], ids=lambda page: page.name)
def test_blocks_of_the_other_pages_run_after_it(page: Path, desk: Path) -> None:
    if not (desk / "apilens-data").exists():
        check("sh", "apilens ingest access.log", desk)
    for language in ("sh", "python"):
        for text in blocks(page, language):
            check(language, text, desk)


def test_the_configuration_shown_loads(tmp_path: Path) -> None:
    config, context = blocks(ROOT / "docs" / "configuration.md", "toml")
    (tmp_path / "apilens.toml").write_text(config)
    loaded = load_config(str(tmp_path / "apilens.toml"))
    assert loaded.sources[1].columns["timestamp"] == "when:ms"
    assert loaded.marks[0].go_live
    assert read_context(context, "context.toml").accounts["acme"].consumers == ["app-06"]


def check(language: str, text: str, desk: Path) -> None:
    """Run a block as a reader would paste it; every command must succeed."""
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", "-e", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
