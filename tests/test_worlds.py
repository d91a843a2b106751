"""The detector on small worlds of benchmarks/worlds.py, through log file, ingest and scan."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
detection = importlib.import_module("detection")
scoring = importlib.import_module("scoring")
worlds = importlib.import_module("worlds")

SMALL = {"endpoints": 12, "days": 8, "rate": 12.0}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worlds")


def found(folder: Path, now: datetime | None = None) -> pl.DataFrame:
    rows: list[dict[str, Any]] = detection.candidates(folder, now)
    return pl.DataFrame(rows, infer_schema_length=None)


def test_a_first_weekend_with_a_quarter_of_the_traffic_is_no_drop(work: Path) -> None:
    folder = detection.world_folder(work, "quiet:3", **SMALL)
    after_warm_up = datetime.fromtimestamp(worlds.MONDAY, UTC) + timedelta(days=4)
    rows = found(folder)
    assert rows.is_empty() or rows.filter(pl.col("detected_at") >= after_warm_up)["title"].to_list() == []


def test_a_stormy_world_cut_at_some_time_knew_the_same_candidates_until_then(work: Path) -> None:
    folder = detection.world_folder(work, "stormy:3", **SMALL)
    everything = found(folder)
    assert everything.height >= 3
    cut = everything["detected_at"][everything.height // 2]
    fixed = ["id", "detected_at", "start", "signal"]
    known = found(folder, cut)
    assert known.select(fixed).rows() == everything.filter(pl.col("detected_at") <= cut).select(fixed).rows()


def test_a_ticket_on_the_fault_counts_once_and_one_elsewhere_is_false() -> None:
    catalog = {"endpoints": [{"id": i, "method": "GET", "path": f"/{i}"} for i in range(2)]}
    fault = {"id": "F0", "kind": "error_burst", "grade": "easy", "start": 5 * 86_400, "end": 5 * 86_400 + 3_600}
    fault |= {"signal": "errors", "endpoints": [0], "affected_calls": 9, "detectable": True, "code": 500}
    fault |= {"upstream": None, "consumer": None, "node": None}
    labels = {"t0": 0, "minutes": 14 * 1_440, "faults": [fault]}
    moment = datetime.fromtimestamp(5 * 86_400 + 600, UTC)
    ticket = {"detected_at": moment, "end": moment, "signal": "errors", "score": 1.0, "title": "x"}
    ticket |= {"hint": {"status": "500", "upstream": None, "consumer": None, "node": None}}
    score = scoring.Score()
    score.add(labels, catalog, [ticket | {"endpoints": ["GET /0"]}, ticket | {"endpoints": ["GET /1"]}])
    assert (score.recall(), len(score.false), score.delays_min) == (1.0, 1, {"error_burst": [10.0]})
    assert score.endpoint_weeks == pytest.approx(2 * 10 / 7)
