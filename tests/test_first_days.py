"""What is told in the days after a go-live, when an endpoint has no past, or one day of it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from apilens.detect import baseline, early_latency, traffic
from test_detect import START, _bins, _rollups_of, busiest, failing, quiet_world, scan


def later(hours: int, minutes: int) -> pl.Expr:
    begin = START + timedelta(hours=hours)
    return pl.col("start_time").is_between(begin, begin + timedelta(minutes=minutes), closed="left")


@pytest.mark.parametrize("hours", [10, 34])
def test_calls_that_take_four_times_as_long_are_told_on_the_first_two_days(hours: int) -> None:
    calls = quiet_world(1, days=2)
    slow = later(hours, 120) & (pl.col("route") == busiest(calls))
    slower = calls.with_columns(duration_ms=pl.when(slow).then(pl.col("duration_ms") * 4).otherwise("duration_ms"))
    begin = START + timedelta(hours=hours)
    found = scan(slower).filter(pl.col("signal") == "latency")
    assert found["endpoints"].to_list() == [[f"GET {busiest(calls)}"]]
    assert begin < found["detected_at"][0] <= begin + timedelta(hours=1)
    assert scan(calls).filter(pl.col("signal") == "latency").is_empty()


def test_slowness_under_three_times_the_calls_is_theirs() -> None:
    random = np.random.default_rng(3)
    calls = np.full((1, 288), 20)
    calls[0, 150:180] = 60
    rollups = _rollups_of(calls).with_columns(durations="calls")
    for slower, opens in ((2.2, False), (6.0, True)):
        mean = np.log(80) + random.normal(0, 0.05, 288)
        mean[150:180] += np.log(slower)
        logs = pl.Series(mean)
        timed = rollups.with_columns(
            log_duration_sum=pl.col("calls") * logs, log_duration_sumsq=pl.col("calls") * (logs**2 + 0.1)
        )
        fleet, rows = baseline.fleet(timed, _bins(1))
        (series,) = baseline.chunks(fleet, rows)
        assert early_latency.detect(series, fleet)["opens"].any() == opens, slower


def test_who_is_young_may_open_and_nobody_else() -> None:
    calls = np.zeros((2, 5 * 288), int)
    calls[0], calls[1, 3 * 288 :] = 5, 5
    fleet, rows = baseline.fleet(_rollups_of(calls), _bins(5))
    (series,) = baseline.chunks(fleet, rows)
    assert early_latency.may_open(series, fleet, 4 * 288, -np.inf).tolist() == [False, True]


@pytest.mark.parametrize(("factor", "direction"), [(0.03, -1), (5.0, 1)])
def test_silence_and_far_more_calls_are_told_on_the_second_day(factor: float, direction: int) -> None:
    random = np.random.default_rng(2)
    now = slice(288 + 140, 288 + 164)
    rate = np.repeat(np.exp(random.normal(0, 0.1, 24 * 2)), 12) * np.full((6, 1), 20.0)
    rate[0, now] *= factor
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(2))
    (series,) = baseline.chunks(fleet, rows)
    opened = traffic.detect(series, fleet).filter("opens")
    assert opened.select("endpoint", "direction").unique().rows() == [(0, direction)]


def test_an_endpoint_that_wandered_on_its_first_day_may_wander_on_its_second() -> None:
    """Windows of the first day say how far those of the second may be off."""
    random = np.random.default_rng(1)
    rate = np.full((6, 576), 20.0)
    rate[0] *= np.repeat(np.exp(random.normal(0, 0.9, 96)), 6)
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(2))
    (series,) = baseline.chunks(fleet, rows)
    assert traffic.detect(series, fleet).filter("opens").is_empty()


def test_a_monday_is_not_judged_by_a_sunday_alone() -> None:
    """Shops, whose other endpoints make no difference on Mondays, and one that works from Monday on."""
    random = np.random.default_rng(2)
    rate = np.full((6, 2 * 288), 20.0)
    rate[0, 288 + 100 :] *= 6
    found = []
    for sunday in (True, False):
        rollups = _rollups_of(random.poisson(rate))
        shift = timedelta(days=-1 if sunday else 0)
        first, end = _bins(2)
        days = shift.days * 288
        moved = rollups.with_columns(pl.col("bin_start") + shift)
        fleet, rows = baseline.fleet(moved, (first + days, end + days))
        (series,) = baseline.chunks(fleet, rows)
        found.append(traffic.detect(series, fleet)["opens"].any())
    assert found == [False, True]


@pytest.mark.parametrize(
    ("usual", "now"),
    [
        (30.0, 3.0),  # a first holiday: nobody comes in the morning
        (3.0, 15.0),  # a first working day: everybody does, within four hours
    ],
    ids=["holiday", "working day"],
)
@pytest.mark.parametrize("sudden", [False, True])
def test_a_day_of_another_kind_is_told_only_when_it_sets_in_at_once(usual: float, now: float, sudden: bool) -> None:
    """An endpoint that is used by day, among others that are used alike day and night, on the fourth day."""
    random = np.random.default_rng(4)
    hour = np.arange(4 * 288) % 288 / 12
    office = np.clip(np.minimum(hour - 6, 20 - hour) / 4, 0, 1)
    rate = np.full((6, 4 * 288), 20.0)
    rate[0] = 3 + (usual - 3) * office
    today = slice(3 * 288 + (12 * 12 if sudden else 0), None)
    rate[0, today] = 3 + (now - 3) * (1 if sudden else office[today])
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(4))
    (series,) = baseline.chunks(fleet, rows)
    opened = traffic.detect(series, fleet).filter("opens", pl.col("bin") >= 3 * 288)
    assert opened.is_empty() != sudden


@pytest.mark.parametrize("comes", [True, False])
def test_a_job_that_comes_does_not_make_its_endpoints_first_holiday_a_drop(comes: bool) -> None:
    """One that stays away is told, before the office would open."""
    random = np.random.default_rng(4)
    hour = np.arange(4 * 288) % 288 / 12
    rate = np.full((6, 4 * 288), 20.0)
    rate[0] = 3 + 27 * np.clip(np.minimum(hour - 6, 20 - hour) / 4, 0, 1)
    rate[0, 3 * 288 :] = 3
    for day in range(4 if comes else 3):
        rate[0, day * 288 + 24 : day * 288 + 36] = 40
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(4))
    (series,) = baseline.chunks(fleet, rows)
    opened = traffic.detect(series, fleet).filter("opens", pl.col("bin") >= 3 * 288)
    assert opened.is_empty() == comes
    assert comes or opened["bin"].min() == 3 * 288 + 30


def test_two_mistakes_of_a_launch_behind_one_upstream_are_two_candidates() -> None:
    calls = quiet_world(1, days=2)
    behind = calls.filter(pl.col("upstream_name") == "svc-1")
    bad = [busiest(behind), busiest(behind, 1)]
    broken = failing(calls, pl.col("route") == bad[0], 500, 0.5)
    both = failing(broken, pl.col("route") == bad[1], 502, 0.5)
    found = scan(both).filter(pl.col("signal") == "errors")
    assert sorted(found["endpoints"].to_list()) == sorted([[f"GET {route}"] for route in bad])


def test_an_upstream_that_fails_as_a_whole_since_the_launch_is_one_candidate() -> None:
    calls = quiet_world(1, days=2)
    found = scan(failing(calls, pl.col("upstream_name") == "svc-1", 502, 0.5))
    assert found.filter(pl.col("signal") == "errors")["endpoints"].list.len().to_list() == [5]
