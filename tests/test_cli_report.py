"""`apilens report` writes the file whole or not at all and says where it is."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from apilens.cli import run
from apilens.errors import Exit
from apilens.pipeline import reporting


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked the pipeline for; the page it gets is 1,234,000 bytes long."""
    seen: dict[str, Any] = {}

    def report(**options: Any) -> str:
        seen.update(options)
        return "é" * 617_000

    monkeypatch.setattr(reporting, "report", report)
    return seen


def test_report_is_written_and_its_path_and_size_are_printed(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    options = ["--since", "7d", "--until", "now", "--context", "c.toml", "--lake", "L", "--state", "sqlite:///s.db"]
    assert run(["report", "--out", str(out), "--now", "2026-03-16T00:00Z", *options]) == Exit.DONE
    assert capsys.readouterr().out == f"{out} (1.2 MB, offline)\n"
    assert out.stat().st_size == 1_234_000
    assert list(tmp_path.iterdir()) == [out]
    assert asked["now"].isoformat() == "2026-03-16T00:00:00+00:00"
    assert {name: asked[name] for name in ("since", "until", "context", "lake", "state")} == {
        "since": "7d",
        "until": "now",
        "context": "c.toml",
        "lake": "L",
        "state": "sqlite:///s.db",
    }


def test_report_goes_to_stdout_when_asked(asked: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--out", "-"]) == Exit.DONE
    assert capsys.readouterr().out == "é" * 617_000


def test_folder_that_does_not_exist_is_wrong_usage_and_named(
    asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", "--out", str(tmp_path / "none" / "r.html")]) == Exit.USAGE
    assert "none/r.html: cannot be written (No such file or directory)" in capsys.readouterr().err


def test_a_device_or_a_pipe_is_written_to_and_stays_one(asked: dict[str, Any], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        assert run(["report", "--out", str(pipe)]) == Exit.DONE
        assert read.result(30) == "é" * 617_000
    assert pipe.is_fifo()
