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


@pytest.mark.parametrize(
    ("route", "code", "share", "told"),
    [
        ("/lab/results/{id}", 404, 0.22, False),  # not there yet
        ("/lab/results/{id}", 404, 0.6, True),
        ("/lab/results", 404, 0.22, True),
        ("/lab/results/{id}", 403, 0.22, True),
        ("/appointments", 409, 0.22, False),
        ("/oauth2/token", 401, 0.22, False),
        ("/oauth2/token", 401, 0.8, True),
        ("/oauth2/token", 403, 0.22, True),
        ("/tokenizers", 401, 0.22, True),
    ],
)
def test_what_an_answer_means_on_such_a_route_is_no_fault_of_the_launch(
    route: str, code: int, share: float, told: bool
) -> None:
    calls = quiet_world(1, days=1)
    calls = calls.with_columns(route=pl.when(pl.col("route") == busiest(calls)).then(pl.lit(route)).otherwise("route"))
    found = scan(failing(calls, pl.col("route") == route, code, share))
    standing = found.filter(
        pl.col("start") == pl.col("start").min(), pl.col("hint").struct.field("status") == str(code)
    )
    assert standing["endpoints"].to_list() == [[f"GET {route}"]] * told


def test_what_first_days_prove_is_not_called_less_likely_than_it_is() -> None:
    """A standing fault opens at one in a thousand, other status codes at one in a hundred thousand."""
    calls = quiet_world(1, days=1)
    found = scan(failing(calls, pl.col("route") == busiest(calls), 500, 0.1))
    (text,) = found.filter(pl.col("start") == pl.col("start").min())["explanation"]
    assert int(text.rpartition("by accident 10^")[2].rstrip(").")) == -4
