"""The world of benchmarks/bank.py says of itself what is true."""

from __future__ import annotations

import importlib
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
bank = importlib.import_module("bank")
worlds = importlib.import_module("worlds")

SMALL = {"endpoints": 12, "days": 8, "calls_per_minute": 20.0, "faults": 16}
LINE = re.compile(r'^\S+ - (\S+) \[([^\]]+)\] "(\S+) (\S+) HTTP/1.1" (\d+) \d+ "-" "[^"]+" (\S+) (\S+) (\S+) (\S+)$')


@pytest.fixture(scope="module")
def world() -> Any:
    return bank.make("bank", 3, **SMALL)


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = bank.make("bank", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert again.labels == world.labels


def test_every_line_is_of_the_log_format_and_in_order_of_time(world: Any) -> None:
    found = [LINE.match(line) for line in world.calls["line"][::97]]
    assert all(found)
    for one in filter(None, found):
        assert int(datetime.fromisoformat(one[2]).timestamp()) in (int(float(one[6])), int(float(one[6])) - 1)
    assert world.calls["at"].is_sorted()


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(world: Any) -> None:
    routes = [
        (one["method"], re.compile(re.escape(one["path"]).replace(r"\{id\}", r"\d+") + "$"))
        for one in world.catalog["endpoints"]
    ]
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["kind"] != "recurring"]
    assert len(failing) >= 5
    for fault in failing:
        lines = world.calls.filter(world.calls["at"].is_between(fault["start"], fault["end"]))["line"]
        calls = [one.groups() for one in map(LINE.match, lines) if one]
        mine = [
            call
            for call in calls
            if call[4] == str(fault["code"])
            and any(call[2] == routes[i][0] and routes[i][1].match(call[3]) for i in fault["endpoints"])
            and fault["consumer"] in (None, call[0])
            and fault["node"] in (None, call[8])
            and fault["upstream"] in (None, call[7])
        ]
        # a call that ran into its time limit at the very end, or gave up, is not among them
        assert len(mine) >= 0.7 * fault["affected_calls"] >= 5, fault


def test_a_quiet_bank_has_no_fault() -> None:
    assert bank.make("quiet-bank", 3, **SMALL).labels["faults"] == []
