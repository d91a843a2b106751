"""The world of benchmarks/portal.py says of itself what is true."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
portal = importlib.import_module("portal")

SMALL = {"endpoints": 36, "days": 9, "calls_per_minute": 20.0}


@pytest.fixture(scope="module")
def world() -> Any:
    return portal.make("portal", 3, **SMALL)


@pytest.fixture(scope="module")
def calls(world: Any) -> pl.DataFrame:
    """The calls that the lines tell of: at (seconds since the epoch), node, upstream, status, ms, endpoint (null: a scanner's)."""
    ids = {f"{one['method']} {one['path']}": one["id"] for one in world.catalog["endpoints"]}
    name = (
        (pl.col("method") + " " + pl.col("path"))
        .str.replace(r"\?.*$", "")
        .str.replace(r"/(?:\d{8}|[0-9a-f]{8}-[0-9a-f-]{27})(/|$)", "/{id}${1}")
    )
    pattern = (
        r"^\S+ +\d+ \S+ (?<node>\S+) haproxy\[\d+\]: \S+ \[(?<time>[^\]]+)\] portal~ (?<upstream>[^/]+)/\S+ \S+/(?<ms>\d+) "
        r'(?<status>\d+) .*"(?<method>[A-Z]+) (?<path>\S+) HTTP/1.1"$'
    )
    return (
        world.calls.select(pl.col("line").str.extract_groups(pattern).alias("part"))
        .unnest("part")
        .drop_nulls("status")
        .with_columns(
            pl.col("status", "ms").cast(pl.Int64),
            at=pl.col("time").str.to_datetime("%d/%b/%Y:%H:%M:%S%.3f", time_zone="UTC").dt.epoch("ms") / 1000,
            endpoint=name.replace_strict(ids, default=None, return_dtype=pl.Int64),
        )
    )


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = portal.make("portal", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(world: Any, calls: pl.DataFrame) -> None:
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 6
    for fault in failing:
        mine = calls.filter(
            pl.col("at").is_between(fault["start"], fault["end"] + 60),
            pl.col("endpoint").is_in(fault["endpoints"]),
            status=fault["code"],
        )
        for column in ("upstream", "node"):
            assert fault[column] in (None, *mine[column]), fault
            if fault[column] is not None:
                mine = mine.filter(pl.col(column) == fault[column])
        # the log has holes, and endpoints with one such call are not named
        assert len(mine) >= 0.7 * fault["affected_calls"] >= 3, fault


def test_what_stands_out_is_detectable_and_a_grade_says_how_much(world: Any) -> None:
    found = Counter(fault["detectable"] for fault in world.labels["faults"])
    assert found[True] >= 10
    assert found[False] >= 1
    for fault in world.labels["faults"]:
        z = fault["figures"]["z"]
        assert fault["detectable"] == (z >= 5 and fault["endpoints"] != []), fault
        if fault["grade"] == "easy":
            assert z >= 15, fault
            assert fault["affected_calls"] >= 20, fault


def test_silence_leaves_no_call_and_a_surge_more_than_the_hours_beside_it(world: Any, calls: pl.DataFrame) -> None:
    kinds = Counter[str]()
    for seed in (3, 4, 5):
        faults = world.labels["faults"] if seed == 3 else portal.make("portal", seed, **SMALL).labels["faults"]
        kinds.update(fault["kind"] for fault in faults)
    assert {"silence", "traffic_drop", "traffic_spike"} <= set(kinds)
    silent = [fault for fault in world.labels["faults"] if fault["kind"] == "silence" and fault["endpoints"]]
    assert silent
    for fault in silent:
        mine = calls.filter(pl.col("endpoint").is_in(fault["endpoints"]))
        length = fault["end"] - fault["start"]
        assert mine.filter(pl.col("at").is_between(fault["start"], fault["end"] - 1)).is_empty(), fault
        assert len(mine.filter(pl.col("at").is_between(fault["start"] - length, fault["end"] + length))) >= 10, fault


def test_a_quiet_portal_has_the_same_events_and_no_fault(world: Any) -> None:
    quiet = portal.make("quiet-portal", 3, **SMALL)
    assert quiet.labels["faults"] == []
    assert quiet.labels["events"] == world.labels["events"]
    assert quiet.labels["ambiguous"] == world.labels["ambiguous"]
    assert {"deployment", "canary"} <= {one["what"] for one in quiet.labels["events"]}


def test_the_rush_ends_with_the_deadline(world: Any, calls: pl.DataFrame) -> None:
    ends = next(one["end"] for one in world.labels["ambiguous"] if one["what"] == "tax deadline") - 3600
    assert datetime.fromtimestamp(ends, UTC).hour == 22  # midnight there
    tax = calls.filter(pl.col("upstream") == "tax")["at"]
    last, next_evening = (tax.is_between(ends + day * 86_400 - 4 * 3600, ends + day * 86_400).sum() for day in (0, 1))
    assert last > 4 * next_evening > 0


def test_every_line_is_a_call_a_message_of_the_proxy_or_no_http(world: Any, calls: pl.DataFrame) -> None:
    others = world.calls.filter(pl.col("line").str.contains('"<BADREQ>"') | pl.col("line").str.contains(": Server "))
    assert len(calls) + len(others) == len(world.calls)
    assert len(others) > 5
    paths = calls.filter(pl.col("endpoint").is_null())["path"].unique()
    assert all(re.search(r"php|env|admin|actuator|cgi|git|owa", path) for path in paths)
