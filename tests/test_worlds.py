"""The detector on small worlds of benchmarks/worlds.py, through log file, ingest and scan."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from apilens.pipeline.incidents import scan
from apilens.store import open_state

SOURCES = str(Path(__file__).parent.parent / "src")
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


def test_scans_every_eleven_hours_raise_what_one_scan_at_the_end_does(work: Path) -> None:
    """Each scan says what it raises since the one before, the last of them everything: both are the same tickets."""
    folder = detection.world_folder(work, "market:6", **SMALL)
    fixed = ["id", "fingerprint", "detected_at", "start", "signal"]
    everything = found(folder)
    assert everything.height >= 5
    end = everything["detected_at"].max()
    moment = everything["detected_at"].min() - timedelta(minutes=35)
    raised: list[tuple[Any, ...]] = []
    seen = moment
    while seen < end:
        moment += timedelta(hours=11)
        now = found(folder, moment)
        if now.height:
            raised += now.filter(pl.col("detected_at").is_between(seen, moment, closed="right")).select(fixed).rows()
        seen = moment
    assert raised == everything.select(fixed).rows()


def test_a_scan_that_is_killed_leaves_a_state_from_which_the_next_one_ends_as_if_undisturbed(
    work: Path, tmp_path: Path
) -> None:
    lake = str(detection.world_folder(work, "market:3", **SMALL) / "lake")
    calm, rough = (f"sqlite:///{tmp_path}/{name}.db" for name in ("calm", "rough"))
    scan(lake, calm)
    script = f"""
import os, signal, threading
from apilens.pipeline.incidents import scan
from apilens.store.store import Store
save = Store.save_candidates
def killed(self, *given):
    threading.Timer(0.005, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    save(self, *given)
    threading.Event().wait()
Store.save_candidates = killed
scan({lake!r}, {rough!r})
"""
    for wait in ("0.005",):
        run = subprocess.run(
            [sys.executable, "-c", script, wait], check=False, env=os.environ | {"PYTHONPATH": SOURCES}
        )
        assert run.returncode == -signal.SIGKILL
    scan(lake, rough)
    with open_state(lake, calm) as one, open_state(lake, rough) as other:
        kept = ["id", "fingerprint", "detected_at", "start", "state"]
        assert one.candidates().height >= 5
        assert one.candidates().sort("id").select(kept).rows() == other.candidates().sort("id").select(kept).rows()


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
