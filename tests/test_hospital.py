"""The world of benchmarks/hospital.py says of itself what is true."""

from __future__ import annotations

import importlib
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
hospital = importlib.import_module("hospital")
scoring = importlib.import_module("scoring")

SMALL = {"endpoints": 20, "days": 9, "calls_per_minute": 15.0}
METHODS = {2: "DELETE", 3: "GET", 7: "POST", 8: "PUT"}  # HttpMethod of gravitee-common


@pytest.fixture(scope="module")
def world() -> Any:
    return hospital.make("hospital", 3, **SMALL)


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = hospital.make("hospital", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert again.labels == world.labels


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(world: Any) -> None:
    routes = {
        one["id"]: (one["method"], re.compile(re.escape(one["path"]).replace(r"\{id\}", r"\d+") + "$"))
        for one in world.catalog["endpoints"]
    }
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 4
    for fault in failing:
        lines = world.calls.filter(world.calls["at"].is_between(fault["start"], fault["end"] + 60))["line"]
        mine = [
            call
            for call in map(json.loads, lines)
            if call["status"] == fault["code"]
            and any(
                METHODS[call["method"]] == routes[i][0] and routes[i][1].match(call["uri"]) for i in fault["endpoints"]
            )
            and fault["consumer"] in (None, call["application"])
            and fault["node"] in (None, call["gateway"])
            and fault["upstream"] in (None, call["endpoint"])
        ]
        # the log has a hole, and endpoints with one such call are not named
        assert len(mine) >= 0.7 * fault["affected_calls"] >= 2, fault


def test_a_quiet_hospital_has_the_same_events_and_no_fault(world: Any) -> None:
    quiet = hospital.make("quiet-hospital", 3, **SMALL)
    assert quiet.labels["faults"] == []
    what = [one["what"] for one in world.labels["events"]]
    assert [one["what"] for one in quiet.labels["events"]] == what
    assert {"month-end", "passwords tried out", "payer-5 hammers"} & set(what)


def test_a_fault_is_detectable_when_nothing_like_it_is_there_without_it(world: Any) -> None:
    for fault in world.labels["faults"]:
        above = fault["figures"]["z"] > fault["figures"]["z_without"]
        assert fault["detectable"] == (above and fault["endpoints"] != []), fault


def test_a_ticket_about_an_ambiguous_event_is_neither_right_nor_false(world: Any) -> None:
    event = next(one for one in world.labels["ambiguous"] if one["start"] > world.labels["t0"] + 4 * 86_400)
    first = next(one for one in world.catalog["endpoints"] if one["id"] in event["endpoints"])
    at = datetime.fromtimestamp(event["start"] + 300, UTC)
    ticket = {
        "detected_at": at, "end": at, "endpoints": [f"{first['method']} {first['path']}"], "signal": "traffic", "title": "more calls", "hint": {}, "score": 1.0,
    }  # fmt: skip
    score = scoring.Score()
    score.add(world.labels | {"faults": []}, world.catalog, [ticket])
    assert (len(score.ambiguous), score.false) == (1, [])
