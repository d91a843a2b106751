"""How long a candidate goes on: as long as its problem does, though the baseline has learned it, and no longer."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from test_detect import FAULT, busiest, during, failing, overlapping, quiet_world, scan

LASTS = timedelta(hours=5)


def slow(calls: pl.DataFrame, where: pl.Expr, factor: float = 2.5) -> pl.DataFrame:
    return calls.with_columns(duration_ms=pl.when(where).then(pl.col("duration_ms") * factor).otherwise("duration_ms"))


def missing(calls: pl.DataFrame, where: pl.Expr, share: float) -> pl.DataFrame:
    lot = pl.Series(np.random.default_rng(2).random(calls.height) < share)
    return calls.filter(~(where & lot))


def of(found: pl.DataFrame, route: str) -> pl.DataFrame:
    return found.filter(pl.col("endpoints").list.first() == f"GET {route}", pl.col("detected_at") >= FAULT)


def ended(found: pl.DataFrame) -> datetime:
    (state,), (end,) = found["state"], found["end"]
    assert state == "ended"
    assert isinstance(end, datetime)
    return end


@pytest.mark.parametrize("world", [1, 2])
def test_slowness_that_stays_is_one_open_candidate(world: int) -> None:
    calls = quiet_world(world)
    route = busiest(calls)
    found = of(scan(slow(calls, (pl.col("start_time") >= FAULT) & (pl.col("route") == route))), route)
    assert found.select("signal", "state").rows() == [("latency", "open")]
    assert found["observed"][0] / found["expected"][0] == pytest.approx(2.5, rel=0.25)


@pytest.mark.parametrize("world", [1, 2])
def test_slowness_has_ended_when_it_has(world: int) -> None:
    calls = quiet_world(world)
    route = busiest(calls)
    where = during(int(LASTS.total_seconds()) // 60) & (pl.col("route") == route)
    found = of(scan(slow(calls, where)), route).filter(pl.col("signal") == "latency")
    assert abs(ended(found) - (FAULT + LASTS)) <= timedelta(minutes=30)


def test_slowness_goes_on_behind_hours_that_were_worse() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    calls = slow(calls, (pl.col("start_time") >= FAULT) & (pl.col("route") == route), 2.0)
    worse = during(4 * 60, FAULT + timedelta(hours=36)) & (pl.col("route") == route)
    assert of(scan(slow(calls, worse, 4.0)), route)["state"].to_list() == ["open"]


@pytest.mark.parametrize(("route", "factor"), [("/v1/things12/{id}", 2.5), ("/v1/things3/{id}", 4.0)])
def test_one_quick_call_among_few_ends_no_slowness(route: str, factor: float) -> None:
    calls = slow(quiet_world(1), slowed := (pl.col("start_time") >= FAULT) & (pl.col("route") == route), factor)
    later = calls.filter(slowed & (pl.col("start_time") >= FAULT + timedelta(hours=20)))["start_time"].min()
    quick = slowed & (pl.col("start_time") == later)
    calls = calls.with_columns(duration_ms=pl.when(quick).then(0.2).otherwise("duration_ms"))
    assert of(scan(calls), route).select("signal", "state").rows() == [("latency", "open")]


def test_slowness_that_began_small_has_ended_when_it_has() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    calls = slow(calls, during(60) & (pl.col("route") == route), 1.5)
    calls = slow(calls, during(4 * 60, FAULT + timedelta(hours=1)) & (pl.col("route") == route), 3.0)
    assert abs(ended(of(scan(calls), route)) - (FAULT + LASTS)) <= timedelta(minutes=30)


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_calls_that_stay_away_are_one_open_candidate(share: float) -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    found = of(scan(missing(calls, (pl.col("start_time") >= FAULT) & (pl.col("route") == route), share)), route)
    assert found.select("signal", "state").rows() == [("traffic", "open")]
    lost = calls.filter(pl.col("start_time") >= FAULT, pl.col("route") == route).height * share
    assert found["excess_calls"][0] == pytest.approx(lost, rel=0.25)


def test_calls_that_came_back_have() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    where = during(int(LASTS.total_seconds()) // 60) & (pl.col("route") == route)
    assert abs(ended(of(scan(missing(calls, where, 1.0)), route)) - (FAULT + LASTS)) <= timedelta(minutes=30)


def test_calls_that_are_missing_for_a_week_are_missed_no_longer() -> None:
    calls = quiet_world(1, endpoints=8, days=14)
    route = busiest(calls)
    found = of(scan(missing(calls, (pl.col("start_time") >= FAULT) & (pl.col("route") == route), 1.0)), route)
    assert timedelta(days=7) <= ended(found) - FAULT <= timedelta(days=7, hours=12)


def test_what_comes_back_every_day_at_its_hour_goes_on_as_long_as_it_does() -> None:
    """Two days of it are an endpoint's habit to the detectors; the third and the fourth prolong the candidate all the same."""
    calls = quiet_world(1)
    route, days = busiest(calls), range(-2, 2)
    for day in days:
        calls = failing(calls, during(20, FAULT + timedelta(days=day)) & (pl.col("route") == route), 500)
    found = scan(calls).filter(pl.col("signal") == "errors", pl.col("endpoints").list.contains(f"GET {route}"))
    assert abs(ended(found) - FAULT - timedelta(days=1, minutes=20)) <= timedelta(minutes=10)
    assert "It came back 3 more times." in found["explanation"][0]
    # From the five minutes that it begins in to those that it ends in.
    whole = sum(
        calls.filter(during(25, FAULT + timedelta(days=day, minutes=-2)), pl.col("route") == route).height
        for day in days
    )
    assert found["n"][0] == whole


def test_a_day_without_it_is_no_occurrence() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    for day in (-2, -1):
        calls = failing(calls, during(20, FAULT + timedelta(days=day)) & (pl.col("route") == route), 500)
    found = scan(calls).filter(pl.col("signal") == "errors", pl.col("endpoints").list.contains(f"GET {route}"))
    assert "It came back 1 more time." in found["explanation"][0]


def test_what_two_minutes_prove_is_not_called_likely() -> None:
    """Of what opens with its second minute the chance of one of them, a thousandth, is not that of both."""
    calls = quiet_world(3)
    found = overlapping(scan(failing(calls, during(40) & (pl.col("route") == busiest(calls, 6)), 500)), 40)
    (text,) = found["explanation"]
    assert int(text.rpartition("by accident 10^")[2].rstrip(").")) <= -5


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("after", [7, 33])
def test_slowness_and_missing_calls_began_where_the_calls_turned(world: int, after: int) -> None:
    """The windows that prove these are up to an hour long, and begin up to a quarter of an hour before them, or half an hour after."""
    calls, began = quiet_world(world), FAULT + timedelta(minutes=after)
    route = busiest(calls)
    where = during(180, began) & (pl.col("route") == route)
    for changed in (slow(calls, where, 1.5), missing(calls, where, 0.7)):
        found = of(scan(changed), route)
        assert [abs(start - began) <= timedelta(minutes=5) for start in found["start"]] == [True]
        known = scan(changed, now=found["detected_at"][0])
        assert found["id"][0] in known["id"].to_list()


@pytest.mark.parametrize(
    ("world", "rank", "share", "hours"), [(1, 0, 0.12, 3), (3, 0, 0.12, 9), (2, 0, 0.12, 14), (1, 2, 0.08, 9)]
)
def test_an_endpoint_of_which_some_calls_are_slow_and_then_all_is_one_candidate(
    world: int, rank: int, share: float, hours: int
) -> None:
    """A tail of thirty hours, and on top of it twice the latency: one problem, whichever is told first, and over when it is."""
    calls = quiet_world(world)
    route = busiest(calls, rank)
    here, lot = pl.col("route") == route, pl.Series(np.random.default_rng(5).random(calls.height) < share)
    calls = slow(calls, during(30 * 60) & here & lot, 8.0 if share > 0.1 else 10.0)
    calls = slow(calls, (worse := during(6 * 60, FAULT + timedelta(hours=hours))) & here, 2.0)
    found = of(scan(calls), route).filter(pl.col("signal") == "latency")
    # Scans of every hour and one at the end raise the same.
    known = pl.concat([scan(calls, now=FAULT + timedelta(hours=hour)) for hour in (4, hours + 1)])
    assert set(known.filter(pl.col("signal") == "latency", pl.col("detected_at") >= FAULT)["id"]) == set(found["id"])
    assert found.height == 1
    assert found["unit"].to_list() == ["ms"]
    assert FAULT + timedelta(hours=12) <= ended(found) <= FAULT + timedelta(hours=36)
    typical = calls.filter(worse, here, pl.col("status_code") < 400)["duration_ms"].log().mean()
    assert isinstance(typical, float)
    assert found["expected"][0] == pytest.approx(np.exp(typical) / 2, rel=0.5)


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (3, 2)])
def test_of_some_calls_that_are_very_slow_the_share_is_told(world: int, rank: int) -> None:
    """One in twenty-five for three hours: twice as many as usual are slow, five times as many very slow."""
    calls = quiet_world(world)
    route = busiest(calls, rank)
    lot = pl.Series(np.random.default_rng(5).random(calls.height) < 0.04)
    found = of(scan(slow(calls, during(3 * 60) & (pl.col("route") == route) & lot, 8.0)), route)
    assert found.select("signal", "unit").rows() == [("latency", "ratio")]
    assert 0.02 <= found["observed"][0] <= 0.05
    assert found["observed"][0] > 4 * found["expected"][0]
    assert "% were expected to, from the week before and its load" in found["explanation"][0]
