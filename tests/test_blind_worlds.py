"""The worlds of authors who had not read the detector say of themselves what is true: in the log stands what a label says."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from apilens.formats import Options
from apilens.ingest.run import Request
from apilens.lens import Lens
from apilens.pipeline.logs import ingest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
worlds = importlib.import_module("worlds")

NAMES = ["grid", "mobility", "saas", "tickets"]


def make(profile: str, seed: int) -> Any:
    module = importlib.import_module(profile.removeprefix("quiet-"))
    return module.make(profile, seed, endpoints=40, days=9, calls_per_minute=30.0)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(name: str) -> Any:
    return make(name, 3)


@pytest.fixture(scope="module")
def calls(world: Any, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """The calls that apilens reads out of the log, endpoint by its number (null: none of the catalog's)."""
    folder = tmp_path_factory.mktemp("world")
    worlds.write(world, folder)
    ingest(str(folder / "lake"), Request([str(folder / "access.log")], Options(log_format=worlds.LOG_FORMAT)), None)
    ids = {f"{one['method']} {one['path']}": one["id"] for one in world.catalog["endpoints"]}
    found = Lens(str(folder / "lake")).calls().with_columns(pl.format("{} {}", "method", "route").alias("name"))
    kept = ("start_time", "status_code", "consumer", "node", "upstream_name", "synthetic_type", "endpoint")
    numbered = pl.col("name").replace_strict(ids, default=None, return_dtype=pl.Int64).alias("endpoint")
    return found.with_columns(numbered).select(kept).collect()


def test_the_same_seed_makes_the_same_log_and_labels(name: str, world: Any) -> None:
    again = make(name, 3)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_every_line_is_read_and_nearly_all_are_calls_of_the_catalogs_endpoints(world: Any, calls: pl.DataFrame) -> None:
    assert calls.height == world.calls.height
    people = calls.filter(pl.col("synthetic_type").is_null())
    assert people["endpoint"].null_count() < 0.02 * people.height
    assert calls["endpoint"].n_unique() >= 40


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(world: Any, calls: pl.DataFrame) -> None:
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 6
    for fault in failing:
        begin, end = (pl.from_epoch(pl.lit(fault[at])).dt.replace_time_zone("UTC") for at in ("start", "end"))
        mine = calls.filter(
            pl.col("start_time").is_between(begin, end),
            # An endpoint on which a node failed once or twice is not named.
            pl.col("endpoint").is_in(fault["endpoints"]) | pl.lit(fault["node"] is not None),
            status_code=fault["code"],
        )
        for column, hint in (("consumer", "consumer"), ("node", "node"), ("upstream_name", "upstream")):
            if fault[hint] is not None:
                mine = mine.filter(pl.col(column) == fault[hint])
        # The logs have gaps.
        assert mine.height >= 0.7 * fault["affected_calls"] > 0, fault


def test_silence_leaves_next_to_no_call(world: Any, calls: pl.DataFrame) -> None:
    kinds = ("silence", "traffic_silence")
    silent = [fault for fault in world.labels["faults"] if fault["kind"] in kinds and fault["detectable"]]
    assert silent
    for fault in silent:
        begin, end = (pl.from_epoch(pl.lit(fault[at])).dt.replace_time_zone("UTC") for at in ("start", "end"))
        mine = calls.filter(pl.col("endpoint").is_in(fault["endpoints"]), pl.col("start_time").is_between(begin, end))
        assert mine.height <= 0.1 * fault["affected_calls"], fault


def test_a_quiet_world_has_the_same_events_and_no_fault(name: str, world: Any) -> None:
    quiet = make(f"quiet-{name}", 3)
    assert quiet.labels["faults"] == []
    assert quiet.labels["ambiguous"] == world.labels["ambiguous"]
    assert quiet.calls.height > 0.9 * world.calls.height
