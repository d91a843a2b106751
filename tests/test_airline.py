"""The world of benchmarks/airline.py says of itself what is true."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
airline = importlib.import_module("airline")

SMALL = {"endpoints": 24, "days": 9, "calls_per_minute": 15.0}


@pytest.fixture(scope="module")
def world() -> Any:
    return airline.make("airline", 3, **SMALL)


@pytest.fixture(scope="module")
def calls(world: Any) -> list[dict[str, Any]]:
    """The lines as objects, with the pod, the number of the endpoint, and seconds since the epoch as the world knows them."""
    routes = [
        (one["id"], one["method"], re.compile(re.escape(one["path"]).replace(r"\{id\}", r"\d+") + "$"))
        for one in world.catalog["endpoints"]
    ]
    found: dict[tuple[str, str], int] = {}
    read = []
    for at, line in world.calls.iter_rows():
        head, _, text = line.partition(": ")
        call = json.loads(text)
        key = (call["RequestMethod"], re.sub(r"\d{5,}", "10000", call["RequestPath"]))
        if key not in found:
            found[key] = next(number for number, method, path in routes if method == key[0] and path.match(key[1]))
        read.append(call | {"at": at, "pod": head.split()[1], "endpoint": found[key]})
    return read


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = airline.make("airline", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(
    world: Any, calls: list[dict[str, Any]]
) -> None:
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 6
    for fault in failing:
        codes = {fault["code"]} | ({503} if fault["kind"] == "upstream_timeout" else set())  # what the breaker answers
        mine = [
            call
            for call in calls
            if fault["start"] <= call["at"] < fault["end"] + 60  # a pod's clock is ahead
            and call["DownstreamStatus"] in codes
            and call["endpoint"] in fault["endpoints"]
            and fault["consumer"] in (None, call["ClientUsername"])
            and fault["node"] in (None, call["pod"])
            and fault["upstream"] in (None, call["ServiceName"])
        ]
        # the log has a hole, and endpoints with one such call are not named
        assert len(mine) >= 0.7 * fault["affected_calls"] >= 3, fault


def test_what_stands_out_is_detectable_and_nothing_else(world: Any) -> None:
    found = Counter(fault["detectable"] for fault in world.labels["faults"])
    assert found[True] >= 10
    assert found[False] >= 1
    for fault in world.labels["faults"]:
        assert fault["detectable"] == (fault["figures"]["z"] >= 5 and fault["endpoints"] != []), fault


def test_silence_leaves_no_call_and_a_spike_more_than_the_hours_beside_it(
    world: Any, calls: list[dict[str, Any]]
) -> None:
    counted = 0
    for fault in world.labels["faults"]:
        if fault["kind"] not in ("silence", "traffic_drop", "traffic_spike") or not fault["detectable"]:
            continue
        at = np.array([call["at"] for call in calls if call["endpoint"] in fault["endpoints"]])
        length = fault["end"] - fault["start"]
        inside, around = (
            ((at >= fault["start"] - beside * length) & (at < fault["end"] + beside * length)).sum()
            for beside in (0, 1)
        )
        rate = (around - inside) / 2
        assert (
            inside <= 0.1 * rate
            if fault["kind"] == "silence"
            else (inside > rate) == (fault["kind"] == "traffic_spike")
        ), fault
        counted += 1
    assert counted >= 2


def test_a_quiet_airline_has_the_same_events_and_no_fault(world: Any) -> None:
    quiet = airline.make("quiet-airline", 3, **SMALL)
    assert quiet.labels["faults"] == []
    assert quiet.labels["events"] == world.labels["events"]
    assert {"rollout of the gateway", "snow storm", "deployment"} <= {one["what"] for one in quiet.labels["events"]}


def test_a_rollout_renames_every_pod(world: Any, calls: list[dict[str, Any]]) -> None:
    rollout = next(one["start"] for one in world.labels["events"] if one["what"] == "rollout of the gateway")
    before, after = (
        {call["pod"] for call in calls if (call["at"] < rollout - 60, call["at"] > rollout + 60)[later]}
        for later in (0, 1)
    )
    assert len(before) > 4
    assert before.isdisjoint(after)


def test_one_agency_fills_its_quota_at_the_end_of_hours() -> None:
    lines = airline.make("quiet-airline", 3, endpoints=24, days=9, calls_per_minute=60.0).calls
    refused = lines.filter(lines["line"].str.contains('"DownstreamStatus":429'))
    assert refused["line"].str.contains(airline.AGENCIES[0]).all()
    assert len(refused) > 100
    assert (refused["at"] % 3600).median() > 3300
