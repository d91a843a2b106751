"""Faults since the launch, which a trailing baseline would take for normal."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from test_detect import START, busiest, failing, quiet_world, scan


@pytest.mark.parametrize(("code", "signal"), [(500, "errors"), (403, "auth"), (404, "errors")])
def test_what_fails_since_the_first_call_is_a_candidate_on_the_first_day(code: int, signal: str) -> None:
    calls = quiet_world(1, days=2)
    route = busiest(calls)
    found = scan(failing(calls, pl.col("route") == route, code, 0.3))
    assert found.select("signal", "endpoints").rows() == [(signal, [f"GET {route}"])]
    assert found["detected_at"][0] <= START + timedelta(days=1)
    assert found["hint"][0]["status"] == str(code)


def test_two_endpoints_that_fail_since_the_launch_are_two_candidates() -> None:
    calls = quiet_world(1, days=2)
    most = calls.group_by("upstream_name", "route").len().sort("len", "route", descending=True)
    apart = most.unique("upstream_name", keep="first", maintain_order=True)["route"].head(2).to_list()
    found = scan(failing(calls, pl.col("route").is_in(apart), 500, 0.3))
    assert sorted(found["endpoints"].to_list()) == sorted([f"GET {route}"] for route in apart)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_launch_without_faults_has_no_candidates(seed: int) -> None:
    assert scan(quiet_world(seed, days=2))["title"].to_list() == []
