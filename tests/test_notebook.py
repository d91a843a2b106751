"""The notebook's cells run in their order on a lake made from sample logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apilens.cli import run

ROOT = Path(__file__).parent.parent


def test_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = str(tmp_path / "lake")
    logs = [
        str(ROOT / "sample_logs" / "edge" / name) for name in ("access.log-20260309.bz2", "access.log-20260310.bz2")
    ]
    assert run(["ingest", *logs, "--lake", lake, "--config", str(ROOT / "sample_logs" / "apilens.toml")]) == 0
    assert run(["feedback", "import", str(ROOT / "sample_logs" / "feedback"), "--lake", lake]) == 0
    assert run(["triage", "--lake", lake]) == 0
    monkeypatch.setenv("APILENS_LAKE", lake)
    notebook = json.loads((ROOT / "notebooks" / "explore.ipynb").read_text(encoding="utf-8"))
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"])
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "explore.ipynb", "exec"), names)
    series = names["series"]
    assert series["calls"].sum() > 0  # type: ignore[index]  # a Polars frame of the notebook
    assert series["error_ratio"].is_between(0, 1).all()  # type: ignore[index]  # as above
    queue = names["queue"]
    assert queue["rank"].to_list() == list(range(1, queue.height + 1))  # type: ignore[index,attr-defined]  # as above
    assert queue.height > 10  # type: ignore[attr-defined]  # as above
