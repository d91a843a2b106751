"""Detection on small worlds made here: seeded noise, planted faults, gaps, and the laws that hold for any of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import duckdb
import numpy as np
import polars as pl
import pytest

from apilens import histogram, schema
from apilens.detect import (
    DETECTORS,
    anomalies,
    baseline,
    candidates,
    find_candidates,
    incidents,
    lasting,
    latency,
    traffic,
    traffic_forecast,
)
from apilens.detect.bins import DAY, around_max, back, same_time, window_max, window_sum
from apilens.detect.convincing import convincing
from apilens.detect.runs import Run
from apilens.measure.breakdown import breakdown
from apilens.measure.clients import clients
from apilens.measure.refusals import refusals
from apilens.measure.strangers import strangers

START = datetime(2026, 5, 4, tzinfo=UTC)  # a Monday
DAYS = 8
FAULT = START + timedelta(days=5, hours=10, minutes=7)
Fault = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@cache
def quiet_world(seed: int, endpoints: int = 20, days: int = DAYS) -> pl.DataFrame:
    """Calls of endpoints that are uneven in size, rhythm, weekends, latency and errors, without any fault.

    Wandering rates, a daily batch job that starts at varying minutes, ten-minute bursts, slow bins, latency that follows load, client
    errors that cluster, one-minute restarts, retries after errors, and a holiday.
    """
    random = np.random.default_rng(seed)
    bins = np.arange(days * 288)
    hour, day = bins % 288 / 12, bins // 288
    frames = []
    for endpoint in range(endpoints):
        rate = float(np.clip(np.exp(random.normal(np.log(5), 1.2)), 0.3, 40))
        rhythm = 1 + random.uniform(0.3, 0.9) * np.cos((hour - random.normal(14, 2)) / 24 * 2 * np.pi)
        kind_of_day = np.where(day % 7 >= 5, random.uniform(0.4, 1.0), 1.0) * np.where(
            day == 4, random.uniform(0.6, 0.9), 1
        )
        wander = np.zeros(len(bins))
        steps = random.normal(0, 0.243, len(bins))
        for at in range(1, len(bins)):
            wander[at] = 0.97 * wander[at - 1] + steps[at]
        mean = rate * rhythm * kind_of_day * np.exp(random.uniform(0.03, 0.12) * wander)
        if endpoint % 5 == 1:
            for start in np.arange(days) * 288 + random.integers(30, 250) + random.integers(0, 6, days):
                mean[start : start + 6] += 4 * rate
        if endpoint % 5 == 3:
            for start in random.integers(0, len(bins) - 2, 2 * days):
                mean[start : start + 2] += random.uniform(1, 3) * rate
        calls = random.poisson(mean)
        bin_ = np.repeat(bins, calls)
        n = len(bin_)
        slow = np.zeros(len(bins))
        slow[random.integers(0, len(bins), days)] = random.uniform(0.2, 0.6, days)
        level = np.log(np.exp(random.normal(np.log(80), 0.7)))
        spread = random.standard_t(3, n) * 0.35 if endpoint % 3 == 0 else random.normal(0, 0.6, n)
        log_ms = (
            level + 0.2 * np.log(rhythm * kind_of_day)[bin_] + 0.04 * np.roll(wander, 99)[bin_] + slow[bin_] + spread
        )
        cluster = np.exp(0.3 * np.roll(wander, 37))[bin_]
        chance = random.random(n)
        client, server = (
            min(float(random.lognormal(np.log(0.01), 1)), 0.1),
            min(float(random.lognormal(np.log(0.001), 1)), 0.01),
        )
        status = np.where(chance < server * cluster, 500, np.where(chance < (server + client) * cluster, 404, 200))
        second = random.random(n) * 300
        restart = np.isin(bin_, random.integers(0, len(bins), 2)) & (second < 55)
        status = np.where(restart & (random.random(n) < 0.5), 502, status)
        consumer = random.choice(12, n, p=random.dirichlet(np.full(12, 0.5)))
        frame = pl.DataFrame(
            {
                "start_time": START.timestamp() + bin_ * 300 + second,
                "duration_ms": np.exp(log_ms),
                "status_code": status.astype(np.int16),
                "consumer": consumer,
                "node": random.integers(0, 3, n),
            }
        ).with_columns(route=pl.lit(f"/v1/things{endpoint}/{{id}}"), upstream=pl.lit(f"svc-{endpoint % 4}"))
        retried = frame.filter(pl.col("status_code") >= 500).with_columns(pl.col("start_time") + 2)
        frames += [frame, retried]
    return with_columns_of_calls(pl.concat(frames).filter(pl.col("start_time") < START.timestamp() + days * 86400))


def with_columns_of_calls(world: pl.DataFrame) -> pl.DataFrame:
    return world.select(
        start_time=pl.from_epoch((pl.col("start_time") * 1e6).cast(pl.Int64), "us").dt.replace_time_zone("UTC"),
        duration_ms="duration_ms",
        method=pl.lit("GET"),
        route="route",
        status_code="status_code",
        consumer=pl.format("app-{}", "consumer"),
        node=pl.format("gw-{}", "node"),
        upstream_name="upstream",
        upstream_address=pl.lit(None, pl.String),
        environment=pl.lit("default"),
        service=pl.lit(None, pl.String),
        request_id=pl.format("r{}", pl.int_range(pl.len())),
        synthetic_type=pl.lit(None, pl.String),
        client_ip=pl.lit(None, pl.String),
        user_agent=pl.lit(None, pl.String),
    ).sort("start_time")


def rollups_of(calls: pl.DataFrame) -> pl.DataFrame:
    """schema.ROLLUPS, one row per call: the sums are the detector's business."""
    minute_calls = pl.lit(pl.Series(np.identity(5, dtype=np.int32).tolist()))
    log = pl.col("duration_ms").clip(histogram.SMALLEST_MS).log()
    return calls.select(
        bin_start=pl.col("start_time").dt.truncate("5m"),
        environment="environment",
        service="service",
        method="method",
        route="route",
        status_code="status_code",
        synthetic_type="synthetic_type",
        calls=pl.lit(1),
        minute_calls=minute_calls.gather(pl.col("start_time").dt.minute() % 5),
        durations=pl.lit(1),
        duration_sum_ms="duration_ms",
        log_duration_sum=log,
        log_duration_sumsq=log**2,
        bucket=pl.concat_list(histogram.bucket(pl.col("duration_ms"))),
        bucket_calls=pl.concat_list(pl.lit(1, pl.Int32)),
        response_bytes=pl.lit(0),
        first_seen="start_time",
        last_seen="start_time",
        unit_id=pl.lit("u"),
    ).cast(dict(schema.ROLLUPS))


@dataclass
class Logged:
    """detect.Log of the table `calls` of a connection."""

    connection: duckdb.DuckDBPyConnection

    def breakdown(self, windows: pl.DataFrame) -> pl.DataFrame:
        return breakdown(self.connection, windows)

    def refusals(self, asked: pl.DataFrame) -> pl.DataFrame:
        return refusals(self.connection, asked)

    def strangers(self, asked: pl.DataFrame) -> pl.DataFrame:
        return strangers(self.connection, asked)

    def clients(self, environment: str | None, start: datetime, since: datetime, end: datetime) -> pl.DataFrame:
        return clients(self.connection, environment, start, since, end)


def scan(calls: pl.DataFrame, *, now: datetime | None = None) -> pl.DataFrame:
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        last = calls["start_time"].max()
        assert isinstance(last, datetime)
        return find_candidates(
            rollups_of(calls),
            Logged(connection),
            now=now or last + timedelta(minutes=5),
        )


def during(minutes: int, start: datetime = FAULT) -> pl.Expr:
    return pl.col("start_time").is_between(start, start + timedelta(minutes=minutes), closed="left")


def failing(calls: pl.DataFrame, where: pl.Expr, code: int, share: float = 0.6) -> pl.DataFrame:
    """The same calls, `share` of those `where` answered with `code`."""
    lot = pl.Series(np.random.default_rng(1).random(calls.height) < share)
    return calls.with_columns(status_code=pl.when(where & lot).then(pl.lit(code, pl.Int16)).otherwise("status_code"))


def busiest(calls: pl.DataFrame, rank: int = 0) -> str:
    counts = calls.group_by("route").len().sort("len", "route", descending=True)
    return str(counts["route"][rank])


def overlapping(found: pl.DataFrame, minutes: int) -> pl.DataFrame:
    end = FAULT + timedelta(minutes=minutes + 60)
    return found.filter(pl.col("detected_at").is_between(FAULT, end))


def test_a_burst_of_errors_is_one_candidate_with_its_status_and_endpoint() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    found = overlapping(scan(failing(calls, during(40) & (pl.col("route") == route), 500)), 40)
    assert found.select("signal", "endpoints", "category").rows() == [("errors", [f"GET {route}"], "bug")]
    assert found["hint"][0]["status"] == "500"
    assert found["hint"][0]["consumer"] is None
    assert found["detected_at"][0] <= FAULT + timedelta(minutes=15)
    assert found["observed"][0] > 0.3 > found["expected"][0]
    assert len(found["request_ids"][0]) == 20


@pytest.mark.parametrize(("code", "category"), [(400, "training_gap"), (499, "capacity"), (409, "bug")])
def test_what_many_get_wrong_and_what_they_do_not_wait_for_is_no_bug(code: int, category: str) -> None:
    calls = quiet_world(1)
    found = overlapping(scan(failing(calls, during(40) & (pl.col("route") == busiest(calls)), code)), 40)
    assert found.select("signal", "category").rows() == [("errors", category)]


def test_how_many_were_hit_is_unknown_where_no_call_names_its_consumer() -> None:
    calls = quiet_world(1).with_columns(consumer=pl.lit(None, dtype=pl.String))
    found = overlapping(scan(failing(calls, during(40) & (pl.col("route") == busiest(calls)), 500)), 40)
    assert found.select("consumers_hit", "identity_coverage").rows() == [(None, 0.0)]


def test_how_many_miss_calls_is_unknown_where_no_day_before_says_whose_they_were() -> None:
    """The baseline of another lake has rollups, and none of its calls are in this one."""
    calls = quiet_world(1)
    gone = calls.filter(~(during(90) & (pl.col("route") == busiest(calls))))
    with duckdb.connect() as connection:
        connection.register("calls", gone.filter(pl.col("start_time") >= FAULT).to_arrow())
        found = find_candidates(rollups_of(gone), Logged(connection), now=FAULT + timedelta(minutes=60))
    found = overlapping(found, 60).filter(pl.col("signal") == "traffic")
    assert found.select("consumers_hit", "identity_coverage").rows() == [(None, None)]


def failing_at_eight_past() -> pl.DataFrame:
    calls = quiet_world(1)
    return failing(calls, during(60, FAULT + timedelta(minutes=1)) & (pl.col("route") == busiest(calls)), 500, 1.0)


def test_failures_are_raised_in_the_minute_that_proves_them() -> None:
    """The third minute of a total failure of the busiest endpoint; its five minutes are over four minutes later."""
    found = overlapping(scan(failing_at_eight_past()), 60)
    assert found["detected_at"].to_list() == [FAULT + timedelta(minutes=4)]


def test_the_minutes_after_now_are_not_looked_at() -> None:
    """What a lake holds of them, though of the same five, says nothing yet; nor is the candidate's end there."""
    calls = failing_at_eight_past()
    nows = [FAULT + timedelta(minutes=at, seconds=50) for at in (3, 4)]
    early, late = (overlapping(scan(calls, now=now), 60) for now in nows)
    assert (early.height, late["end"].to_list()) == (0, [FAULT + timedelta(minutes=4)])


@pytest.mark.parametrize(
    ("clients_of", "day_before", "known"),
    [(["app-9", "app-3"], False, [5]), (["app-9", "app-9"], False, []), (["app-9", "app-3"], True, [])],
    ids=["two clients", "one client", "known before"],
)
def test_a_client_error_that_was_never_there_is_known_with_its_second_minute(
    clients_of: list[str], day_before: bool, known: list[int]
) -> None:
    """Two calls of about eight, three minutes apart."""
    calls = quiet_world(1)
    here = pl.col("route") == busiest(calls, 9)
    earlier = FAULT - timedelta(days=1) if day_before else START - timedelta(days=1)
    calls = failing(calls, here & during(5, earlier), 451, 1.0)
    for minute, consumer in zip((1, 4), clients_of, strict=True):
        calls = failing(calls, here & during(1, FAULT + timedelta(minutes=minute)), 451, 1.0).with_columns(
            consumer=pl.when(here & during(1, FAULT + timedelta(minutes=minute)))
            .then(pl.lit(consumer))
            .otherwise("consumer")
        )
    assert calls.filter(here & during(10), pl.col("status_code") == 451).height == 2
    found = overlapping(scan(calls), 10)["detected_at"].to_list()
    assert found == [FAULT + timedelta(minutes=minute) for minute in known]


@pytest.mark.parametrize(
    ("code", "known"), [(451, [5]), (499, []), (500, [])], ids=["client error", "gave up", "server error"]
)
def test_a_client_error_that_was_never_there_needs_no_share_of_the_calls_when_it_is_beyond_doubt(
    code: int, known: list[int]
) -> None:
    """Two of many calls in each of two minutes, three minutes apart, by four clients; a server hiccups like that."""
    calls = quiet_world(1)
    here = pl.col("route") == busiest(calls)
    for minute in (1, 4):
        this = here & during(1, FAULT + timedelta(minutes=minute))
        first = this & (this.cum_sum() <= 2)
        calls = calls.with_columns(
            status_code=pl.when(first).then(pl.lit(code, pl.Int16)).otherwise("status_code"),
            consumer=pl.when(first).then(pl.format("app-{}{}", pl.lit(minute), this.cum_sum())).otherwise("consumer"),
        )
    window = calls.filter(here & during(5))
    assert window.height * 0.15 > window.filter(pl.col("status_code") == code).height == 4
    found = overlapping(scan(calls), 10)["detected_at"].to_list()
    assert found == [FAULT + timedelta(minutes=minute) for minute in known]


def test_an_outage_of_an_upstream_on_five_endpoints_is_one_candidate() -> None:
    calls = failing(quiet_world(1), during(60) & (pl.col("upstream_name") == "svc-2"), 504)
    found = overlapping(scan(calls), 60)
    assert found.height == 1
    assert found["hint"][0] == {"status": "504", "upstream": "svc-2", "consumer": None, "node": None}
    assert len(found["endpoints"][0]) >= 4
    assert found["category"][0] == "dependency"


def test_an_outage_of_a_node_is_one_candidate_that_names_the_node() -> None:
    found = overlapping(scan(failing(quiet_world(1), during(40) & (pl.col("node") == "gw-1"), 503)), 40)
    assert found.height == 1
    assert (found["hint"][0]["node"], found["hint"][0]["upstream"]) == ("gw-1", None)


def test_a_consumer_turned_away_everywhere_is_one_auth_candidate_that_names_it() -> None:
    calls = quiet_world(1)
    consumer = calls.group_by("consumer").len().sort("len", descending=True)["consumer"][2]
    found = overlapping(scan(failing(calls, during(90) & (pl.col("consumer") == consumer), 403, 0.9)), 90)
    assert found.select("signal", "category").rows() == [("auth", "configuration")]
    assert found["hint"][0]["consumer"] == consumer
    assert found["affected_consumers"][0][0] == consumer


@pytest.mark.parametrize(("minutes", "everybody", "raised"), [(15, False, []), (60, False, [30]), (15, True, [0])])
def test_client_errors_of_one_consumer_are_raised_when_they_last(
    minutes: int, everybody: bool, raised: list[int]
) -> None:
    """Who struggles with a form for a quarter of an hour is no incident of the endpoint; the same on all consumers is."""
    calls = quiet_world(1)
    route = pl.col("route") == busiest(calls)
    consumer = calls.filter(route).group_by("consumer").len().sort("len", descending=True)["consumer"][1]
    whose = pl.lit(True) if everybody else pl.col("consumer") == consumer
    found = overlapping(scan(failing(calls, during(minutes) & route & whose, 422, 0.8)), minutes)
    assert found["signal"].to_list() == ["errors"] * len(raised)
    for least, detected in zip(raised, found["detected_at"], strict=True):
        assert timedelta(minutes=least) <= detected - FAULT <= timedelta(minutes=least + 20)


def six_failures() -> Run:
    """Of twelve calls until minute 9 of an only endpoint."""
    at = {"observed": 0.5, "expected": 0.01, "unit": "ratio", "n": 12, "excess": 6, "log10_p": -9.0}
    return Run(
        endpoint=0, signal="errors", status=500, direction=1, start=1, known=9, bins=np.array([1]), early={},
        strong=np.array([9]), proofs=[], at_open=at, at_peak=at, expected=0.01,
    )  # fmt: skip


@pytest.mark.parametrize(("consumers", "opens"), [(["a"] * 6, []), (["a", "b", "a", "b", "c", "a"], [9])])
def test_a_broken_call_that_one_client_tries_again_is_one_moment(consumers: list[str], opens: list[int]) -> None:
    """Six failed calls of minutes 5 to 8, expected is one in a hundred: of one client they are two moments, of three five."""
    failed = zip([5, 5, 6, 6, 7, 8], consumers, strict=True)
    calls = pl.DataFrame(list(failed), schema=["window_id", "consumer"], orient="row").with_columns(
        pl.col("window_id") - 5
    )
    rows = calls.group_by("window_id", "consumer").agg(calls=pl.len()).with_columns(status_code=500)
    found = pl.concat([schema.BREAKDOWN.to_frame(), rows.cast({"calls": pl.Int64})], how="diagonal_relaxed")
    run = replace(six_failures(), early={1: 9}, strong=np.array([9]), proofs=[(1, 6.0, 0.01)])
    fleet, rows = baseline.fleet(rollups_of(quiet_world(1, endpoints=1, days=1)), _bins(1))
    of_them = {"endpoint": [0], "bin": [1], "status_code": [500], "calls": [6], "minute_calls": [[2, 2, 1, 1, 0]]}
    rows = pl.concat([rows.clear(), pl.DataFrame(of_them)], how="diagonal_relaxed").cast(dict(baseline.ROWS))
    asked = []

    def breakdown_of(windows: pl.DataFrame) -> pl.DataFrame:
        asked.append(windows.height)
        return found

    assert [one.known for one in convincing([run], rows, fleet, breakdown_of)] == opens
    assert asked == [4]


def test_what_a_problem_comes_to_says_nothing_of_whom_it_was_about_when_it_opened() -> None:
    fleet, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=1, days=1)), _bins(1))
    calls = pl.DataFrame({"consumer": ["a", "b"], "status_code": [500, 200], "calls": [6, 6]}).with_columns(window_id=0)
    found = pl.concat([schema.BREAKDOWN.to_frame(), calls.cast({"calls": pl.Int64})], how="diagonal_relaxed")
    run = six_failures()
    worse = replace(run, at_peak=run.at_open | {"expected": 0.4, "excess": 90})
    then, later = (incidents.group([one], fleet, lambda windows: found)[0] for one in (run, worse))
    assert (then.consumer, then.profile) == (later.consumer, later.profile)


def test_calls_that_take_three_times_as_long_are_a_latency_candidate() -> None:
    calls = quiet_world(1)
    slow = during(120) & (pl.col("route") == busiest(calls))
    calls = calls.with_columns(duration_ms=pl.when(slow).then(pl.col("duration_ms") * 3).otherwise("duration_ms"))
    assert overlapping(scan(calls), 120)["signal"].to_list() == ["latency"]


def test_slowness_that_goes_down_from_bin_to_bin_is_no_candidate_and_one_that_stays_is() -> None:
    """A cache answers four of five calls ten times as fast; after a deployment it is empty, and fills."""
    calls = quiet_world(1)
    lot = pl.Series(np.random.default_rng(1).random(calls.height))
    begin = FAULT.replace(minute=10)

    def signals(*hits: float) -> list[str]:
        share = pl.lit(0.8)
        for i, each in enumerate(hits):
            share = pl.when(during(5, begin + timedelta(minutes=5 * i))).then(each).otherwise(share)
        hit = (pl.col("route") == busiest(calls)) & (lot < share)
        cached = pl.when(hit).then(pl.col("duration_ms") / 10).otherwise("duration_ms")
        return overlapping(scan(calls.with_columns(duration_ms=cached)), 30)["signal"].to_list()

    assert signals(0.0, 0.25, 0.6, 0.75) == []
    assert signals(0.3, 0.3, 0.3, 0.3) == ["latency"]


def behind_one_upstream(calls: pl.DataFrame) -> list[str]:
    """Routes behind the upstream of the busiest endpoint, the busiest first."""
    upstream = calls.filter(pl.col("route") == busiest(calls))["upstream_name"][0]
    here = calls.filter(pl.col("upstream_name") == upstream)
    return [busiest(here, rank) for rank in range(here["route"].n_unique())]


def test_refusals_in_a_log_that_names_no_consumer_are_about_the_upstream_that_has_them() -> None:
    calls = quiet_world(1).with_columns(consumer=pl.lit(None, pl.String))
    first, second, *_ = behind_one_upstream(calls)
    refused = failing(calls, during(40) & pl.col("route").is_in([first, second]), 401)
    (hint,) = overlapping(scan(refused), 40)["hint"].to_list()
    assert (hint["status"], hint["consumer"], hint["upstream"]) == ("401", None, "svc-3")


@pytest.mark.parametrize("code", [502, 503])
@pytest.mark.parametrize(("one_of", "tickets"), [(1, 2), (30, 1)])
def test_what_was_well_while_another_failed_has_a_cause_of_its_own(code: int, one_of: int, tickets: int) -> None:
    """Behind one upstream, 40 minutes later: an endpoint with many calls would have shown it at once, one with few shows it late."""
    calls = quiet_world(1)
    first, second, *_ = behind_one_upstream(calls)
    there = pl.col("route") == second
    calls = calls.filter(~there | (pl.int_range(pl.len()).over("route") % one_of == 0))
    calls = failing(calls, during(180) & (pl.col("route") == first), 502)
    calls = failing(calls, during(140, FAULT + timedelta(minutes=40)) & there, code, 1.0)
    found = overlapping(scan(calls), 180)
    assert (len(found), set(found["endpoints"].explode())) == (tickets, {f"GET {first}", f"GET {second}"})


@pytest.mark.parametrize(("share", "tickets"), [(0.6, 1), (0.4, 1), (0.1, 2)])
def test_what_fails_as_badly_again_within_half_a_day_is_the_same_candidate(share: float, tickets: int) -> None:
    calls = quiet_world(1)
    here, later = pl.col("route") == busiest(calls), FAULT + timedelta(hours=7)
    twice = failing(failing(calls, during(40) & here, 500), during(40, later) & here, 500, share)
    found = scan(twice).filter(pl.col("detected_at") > FAULT, pl.col("signal") == "errors")
    assert len(found) == tickets
    assert found["end"].max() > later


def test_the_same_slowness_two_days_later_is_a_candidate_again() -> None:
    """What went wrong once in a week is no habit that would excuse the next time."""
    calls = quiet_world(1)
    slow = (during(60) | during(60, FAULT - timedelta(days=2))) & (pl.col("route") == busiest(calls))
    calls = calls.with_columns(duration_ms=pl.when(slow).then(pl.col("duration_ms") * 3).otherwise("duration_ms"))
    found = scan(calls).filter(pl.col("signal") == "latency")
    assert [start.day for start in found["start"]] == [(FAULT - timedelta(days=2)).day, FAULT.day]


def test_a_day_with_an_incident_leaves_the_habit_to_the_other_days() -> None:
    strength = np.ones((1, 8 * DAY))
    noon = 3 * DAY + 144
    strength[0, noon] = 9
    shape, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=2)), _bins(8))
    none, one = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)), (np.array([0]), np.array([noon]))
    day = 5 * DAY
    assert baseline.habit(strength, shape, none)[0, day] == pytest.approx(1.2 * baseline.HABIT_HIGHEST * 9)
    assert baseline.habit(strength, shape, one)[0, day] == pytest.approx(1.2 * baseline.HABIT_SECOND)
    # What happened on two days is a habit, incident or not.
    strength[0, noon + DAY] = 9
    twice = np.array([0, 0]), np.array([noon, noon + DAY])
    assert baseline.habit(strength, shape, twice)[0, day] == pytest.approx(1.2 * baseline.HABIT_SECOND * 9)


def test_an_endpoint_slower_while_its_upstream_has_far_more_calls_is_no_candidate() -> None:
    """Its own calls are as ever: the load is that of its neighbours."""
    calls = quiet_world(1)
    route = busiest(calls)
    slow = during(120) & (pl.col("route") == route)
    calls = calls.with_columns(duration_ms=pl.when(slow).then(pl.col("duration_ms") * 1.6).otherwise("duration_ms"))
    neighbours = pl.col("upstream_name") == calls.filter(pl.col("route") == route)["upstream_name"][0]
    crowd = calls.filter(during(120), neighbours, pl.col("route") != route)
    crowded = pl.concat([calls, *[crowd.with_columns(pl.col("start_time") + timedelta(seconds=1))] * 4])
    raised = [
        overlapping(scan(world.sort("start_time")), 120)
        .filter(pl.col("signal") == "latency", pl.col("endpoints").list.contains(f"GET {route}"))
        .height
        for world in (calls, crowded)
    ]
    assert raised == [1, 0]


@pytest.mark.parametrize(("busier", "drifts"), [(1.0, True), (1.6, False)])
def test_a_day_on_which_its_upstream_is_busier_than_ever_is_no_drift(busier: float, drifts: bool) -> None:
    random = np.random.default_rng(1)
    bins, days = np.arange(12 * 288), 12
    last = bins >= (days - 1) * 288
    frames = []
    for route, rate, slower in (("/a", 10.0, 1.25), ("/b", 30 * np.where(last, busier, 1.0), 1.0)):
        n = random.poisson(rate, len(bins)) + 1
        mean = np.log(80) + np.where(last, np.log(slower), 0.0) + random.normal(0, 0.4, len(bins)) / np.sqrt(n)
        frames.append(
            pl.DataFrame({"bin_start": bins, "route": route, "calls": n, "log_duration_sum": n * mean}).with_columns(
                log_duration_sumsq=pl.Series(n * (mean**2 + 0.16))
            )
        )
    rollups = _timed_rollups(pl.concat(frames))
    fleet, parts = baseline.fleet(rollups, _bins(days))
    (series,) = baseline.chunks(fleet, parts, {0: "svc", 1: "svc"})
    found = latency.detect(series, fleet).filter("opens", pl.col("bin") - pl.col("start_bin") == 287)
    assert (0 in found["endpoint"]) == drifts


@pytest.mark.parametrize("slower", [1.0, 1.3])
def test_a_day_that_is_slower_is_a_drift_from_the_fifth_day_on(slower: float) -> None:
    drifted = _days_that_drift([1.0, 1.0, 1.0, 1.0, slower, slower], calls=6.0)
    assert drifted == ({4, 5} if slower > 1 else set())


def test_days_that_were_faster_than_expected_excuse_no_slow_one() -> None:
    """Squares of what days fell short by would make a day that is slower look usual."""
    assert _days_that_drift([1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 1.0, 0.75, 1.0, 1.0, 1.4]) == {10}


def test_a_day_that_is_somewhat_slower_keeps_no_hour_of_slowness_alive() -> None:
    slower = [1.0] * 10 + [1.25]
    assert _slow_days(slower, calls=0.1).is_empty()
    assert not _slow_days(slower, calls=2.0).is_empty()


def test_a_slow_day_of_one_of_many_endpoints_must_be_the_rarer() -> None:
    """By twice as many decades as other windows."""
    slower = [1.0] * 10 + [1.3]
    few, lots = (_slow_days(slower, calls=1.5, endpoints=number).filter("opens") for number in (1, 200))
    many = np.log10(200 / baseline.FEW) / baseline.RARER
    rare = few.filter(pl.col("log10_p") < latency.DRIFT_OPENS[0][1] - 2 * many)
    assert 0 < lots.height < few.height
    assert lots["bin"].to_list() == rare["bin"].to_list()


def _days_that_drift(factors: list[float], calls: float = 0.6) -> set[int]:
    """Days at whose end an endpoint has drifted whose latency has a factor for each; calls per bin."""
    found = _slow_days(factors, calls).filter("opens")
    return {int(bin_) // 288 for bin_ in found["bin"] if (int(bin_) + 1) % 288 == 0}


def _slow_days(factors: list[float], calls: float, endpoints: int = 1) -> pl.DataFrame:
    """Anomalies of windows of a day, of one of so many endpoints."""
    random = np.random.default_rng(1)
    n = random.poisson(calls, len(factors) * 288) + 1
    logs = np.log(80 * np.repeat(factors, 288)) + random.normal(0, 0.4, len(n)) / np.sqrt(n)
    return _latency(n, logs, endpoints).filter(pl.col("bin") - pl.col("start_bin") == 287)


def _latency(calls: np.ndarray, logs: np.ndarray, endpoints: int = 1) -> pl.DataFrame:
    """Anomalies of the latency of one of so many endpoints. calls, logs: of each bin, whole days; the mean log duration of its calls."""
    table = pl.DataFrame(
        {"bin_start": np.arange(len(calls)), "route": "/a", "calls": calls, "log_duration_sum": calls * logs}
    )
    rollups = _timed_rollups(table.with_columns(log_duration_sumsq=pl.Series(calls * (logs**2 + 0.16))))
    fleet, rows = baseline.fleet(rollups, _bins(len(calls) // 288))
    (series,) = baseline.chunks(fleet, rows)
    many = np.full(fleet.bins, max(np.log10(endpoints / baseline.FEW), 0.0) / baseline.RARER)
    return latency.detect(series, replace(fleet, many=many))


def _timed_rollups(table: pl.DataFrame) -> pl.DataFrame:
    """schema.ROLLUPS of bin_start (bins since START), route, calls answered with 200, and their log_duration_sum and log_duration_sumsq."""
    rows = table.with_columns(
        bin_start=pl.from_epoch(pl.col("bin_start") * schema.BIN_S + int(START.timestamp())).dt.replace_time_zone(
            "UTC"
        ),
        status_code=pl.lit(200),
        durations="calls",
        minute_calls=pl.concat_list(["calls", pl.lit(0), pl.lit(0), pl.lit(0), pl.lit(0)]),
        bucket=pl.concat_list(pl.lit(100)),
        bucket_calls=pl.concat_list("calls"),
    )
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )


@pytest.mark.parametrize(("slower", "least"), [(1.4, 1.0), (1.8, 0.0)])
def test_what_is_less_than_half_as_slow_again_must_be_the_rarer(slower: float, least: float) -> None:
    random = np.random.default_rng(2)
    bins = np.arange(12 * 288)
    now = (bins >= 11 * 288 + 100) & (bins < 11 * 288 + 148)
    logs = np.log(80) + np.where(now, np.log(slower), 0.0) + random.normal(0, 0.1, len(bins))
    found = _latency(np.full(len(bins), 10), logs)
    opened = found.filter("opens", pl.col("bin") - pl.col("start_bin") < 287)
    chance = latency.CLEAR_LOG10_P - least
    assert chance - 0.5 < opened["log10_p"].max() < chance


@pytest.mark.parametrize(("slower", "opens"), [(2.5, True), (1.6, False)])
def test_a_call_more_than_ever_does_not_excuse_what_is_twice_as_slow(slower: float, opens: bool) -> None:
    """Of a client that calls as often each day the load is known by steps, and one call more may be the next of them."""
    random = np.random.default_rng(1)
    bins = np.arange(12 * 288)
    now = (bins >= 11 * 288 + 100) & (bins < 11 * 288 + 136)
    calls = np.where(bins >= 11 * 288, 43, 42)
    noise = random.normal(0, 0.4, len(bins)) / np.sqrt(calls)
    found = _latency(calls, np.log(80) + np.where(now, np.log(slower), 0.0) + noise)
    found = found.filter("opens", pl.col("unit") == "ms", pl.col("bin") < 11 * 288 + 136)
    assert (found.height > 0) == opens


def test_an_endpoint_that_nobody_calls_any_more_is_a_traffic_candidate() -> None:
    calls = quiet_world(1)
    silent = during(180) & (pl.col("route") == busiest(calls))
    found = overlapping(scan(calls.filter(~silent)), 180)
    assert found.select("signal", "endpoints").rows() == [("traffic", [f"GET {busiest(calls)}"])]
    assert re.search(r": traffic drop to [\d.]+ calls per 5 minutes, expected [\d.]+$", found["title"][0])
    # The window in which it was noticed began before; the numbers are those of the time that is named.
    (start, end, n, observed) = found.select("start", "end", "n", "observed").row(0)
    named = pl.col("start_time").is_between(start, end, closed="left") & (pl.col("route") == busiest(calls))
    assert n == calls.filter(~silent & named).height
    assert observed == pytest.approx(n / ((end - start) / timedelta(minutes=5)))


def test_an_endpoint_that_leaves_its_siblings_is_found_where_its_own_past_says_nothing() -> None:
    """Users who come and go as they like; what they ask of one endpoint goes with what they ask of its siblings."""
    random = np.random.default_rng(5)
    days, now = 9, slice(8 * 288 + 140, 8 * 288 + 158)
    users = np.repeat(np.exp(random.normal(0, 0.7, days * 24)), 12)
    usual = np.stack([users * 9, users * 25, users * 14, *np.full((3, len(users)), 10.0)])
    shared = dict.fromkeys(range(3), "svc")
    for left, behind, found in (((0.25, 1, 1), shared, [0]), ((0.25, 1, 1), {}, []), ((0.25, 0.25, 0.25), shared, [])):
        rate = usual.copy()
        rate[:3, now] *= np.array(left)[:, None]
        calls = random.poisson(rate)
        fleet, rows = baseline.fleet(_rollups_of(calls), _bins(days))
        (series,) = baseline.chunks(fleet, rows, behind)
        opened = traffic.detect(series, fleet).filter("opens", pl.col("bin").is_between(now.start, now.stop))
        assert opened["endpoint"].unique().to_list() == found


@pytest.mark.parametrize(("factor", "bins"), [(0.0, 2), (5.0, 3)], ids=["silence", "surge"])
def test_a_quarter_of_an_hour_is_enough_for_siblings_to_tell_what_is_beyond_doubt(factor: float, bins: int) -> None:
    """Of silence ten minutes of it; more calls must last longer."""
    random = np.random.default_rng(5)
    days, begin = 9, 8 * 288 + 140
    users = np.repeat(np.exp(random.normal(0, 0.5, days * 24)), 12)
    rate = np.stack([users * 60, users * 90, users * 80, *np.full((3, len(users)), 10.0)])
    rate[0, begin : begin + 12] *= factor
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(days))
    (series,) = baseline.chunks(fleet, rows, dict.fromkeys(range(3), "svc"))
    opened = traffic.detect(series, fleet).filter("opens", pl.col("bin") >= begin)
    assert (opened["endpoint"].unique().to_list(), opened["bin"].min()) == ([0], begin + bins - 1)


@pytest.mark.parametrize(
    ("alone_last_week", "found"), [(False, [0]), (True, [])], ids=["busy with its siblings", "a weekly report"]
)
def test_a_busier_week_ago_excuses_a_surge_only_where_siblings_were_not_busier_as_well(
    alone_last_week: bool, found: list[int]
) -> None:
    random = np.random.default_rng(5)
    days, now = 11, slice(10 * 288 + 140, 10 * 288 + 158)
    week_ago = slice(now.start - 7 * 288, now.stop - 7 * 288)
    users = np.repeat(np.exp(random.normal(0, 0.3, days * 24)), 12)
    users[week_ago], users[now] = 1.0, 1.0
    rate = np.stack([users * 60, users * 90, users * 80, *np.full((3, len(users)), 10.0)])
    rate[: 1 if alone_last_week else 3, week_ago] *= 2.5
    rate[0, now] *= 2.5
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(days))
    (series,) = baseline.chunks(fleet, rows, dict.fromkeys(range(3), "svc"))
    opened = traffic.detect(series, fleet).filter("opens", pl.col("bin").is_between(now.start, now.stop))
    assert opened["endpoint"].unique().to_list() == found


@pytest.mark.parametrize(("left", "found"), [(0.0, [0]), (0.4, [])], ids=["silence", "fewer users"])
def test_on_a_first_weekend_siblings_tell_silence_alone(left: float, found: list[int]) -> None:
    """How many of its users work on a Saturday nobody knows yet."""
    random = np.random.default_rng(5)
    days, now = 6, slice(5 * 288 + 200, 5 * 288 + 218)
    users = np.repeat(np.exp(random.normal(0, 0.7, days * 24)), 12)
    rate = np.stack([users * 60, users * 90, users * 80, *np.full((3, len(users)), 10.0)])
    rate[0, now] *= left
    fleet, rows = baseline.fleet(_rollups_of(random.poisson(rate)), _bins(days))
    (series,) = baseline.chunks(fleet, rows, dict.fromkeys(range(3), "svc"))
    opened = traffic.detect(series, fleet).filter("opens", pl.col("bin").is_between(now.start, now.stop))
    assert opened["endpoint"].unique().to_list() == found


def test_jobs_of_its_own_do_not_hide_that_an_endpoint_leaves_its_siblings() -> None:
    """At odd hours, so that no past day expects them; they are no part of what its users ask for."""
    random = np.random.default_rng(5)
    days, now = 9, slice(8 * 288 + 140, 8 * 288 + 158)
    users = np.repeat(np.exp(random.normal(0, 0.4, days * 24)), 12)
    rate = np.stack([users * 9, users * 25, users * 14, *np.full((3, len(users)), 10.0)])
    for start in random.integers(0, 8 * 288, 30):
        rate[0, start : start + 2] += 60
    for factor, found in ((0.25, [0]), (3.0, [0]), (1.0, [])):
        left = rate.copy()
        left[0, now] *= factor
        fleet, rows = baseline.fleet(_rollups_of(random.poisson(left)), _bins(days))
        (series,) = baseline.chunks(fleet, rows, dict.fromkeys(range(3), "svc"))
        opened = traffic.detect(series, fleet).filter("opens", pl.col("bin").is_between(now.start, now.stop))
        assert opened["endpoint"].unique().to_list() == found, factor


def _rollups_of(calls: np.ndarray) -> pl.DataFrame:
    """schema.ROLLUPS of (endpoints, bins) calls that are answered with 200."""
    endpoint, at = np.nonzero(calls)
    rows = pl.DataFrame({"route": [f"/{one}" for one in endpoint], "bin": at, "calls": calls[endpoint, at]})
    start = pl.from_epoch(pl.col("bin") * schema.BIN_S + int(START.timestamp())).dt.replace_time_zone("UTC")
    rows = rows.with_columns(bin_start=start, status_code=200, minute_calls=pl.concat_list(["calls", 0, 0, 0, 0]))
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )


def test_what_a_drop_of_days_and_nights_is_held_against_is_of_days_and_nights() -> None:
    """Not the hour in which most calls were missing."""
    calls = quiet_world(1)
    minutes, route = 60 * 30, pl.col("route") == busiest(calls)
    left = calls.filter(~(during(minutes) & route & (pl.int_range(pl.len()) % 5 > 0)))
    found = scan(left, now=FAULT + timedelta(minutes=minutes)).filter(pl.col("detected_at") > FAULT)
    (start, end, expected, missing) = found.select("start", "end", "expected", "excess_calls").row(0)
    usual, seen = (
        each.filter(route, pl.col("start_time").is_between(start, end, closed="left")).height for each in (calls, left)
    )
    assert end - start > timedelta(hours=24)
    assert expected == pytest.approx(usual / ((end - start) / timedelta(minutes=5)), rel=0.25)
    assert missing == pytest.approx(usual - seen, rel=0.25)


def test_a_drop_that_other_hours_made_up_for_is_told_by_its_worst_window() -> None:
    """It said "traffic drop 11 calls, expected 9.9"."""
    figures: dict[str, float | str] = {
        "observed": 1.0,
        "expected": 9.0,
        "excess": 48.0,
        "unit": "calls",
        "log10_p": -9.0,
    }
    drop = Run(
        endpoint=0, signal="traffic", status=None, direction=-1, start=0, known=30, bins=np.array([5, 60, 119]), early={},
        strong=np.array([30]), proofs=[], at_open=figures, at_peak=figures, expected=10.0,
    )  # fmt: skip
    for calls, told in ((1320, (1.0, 9.0)), (600, (5.0, 10.0))):
        part = pl.DataFrame({"calls": [calls]})
        measured = candidates._measure("traffic", [(drop, part)], 600)
        assert (measured.observed, measured.expected) == told
        assert measured.excess >= 48.0


def test_calls_of_a_drop_that_goes_on_are_those_of_the_time_that_as_many_were_expected_in() -> None:
    """Its last bins had more than half of the usual: they go on as long as it has not recovered."""
    figures: dict[str, float | str] = {
        "observed": 1.0,
        "expected": 10.0,
        "excess": 9.0,
        "unit": "calls",
        "log10_p": -9.0,
    }
    drop = Run(
        endpoint=0, signal="traffic", status=None, direction=-1, start=0, known=30, bins=np.arange(8), early={},
        strong=np.array([30]), proofs=[], at_open=figures, at_peak=figures, expected=10.0, watched=True,
    )  # fmt: skip
    measured = candidates._measure("traffic", [(drop, pl.DataFrame({"calls": [36]}))], 60)
    assert (measured.observed, measured.expected, measured.excess) == (3.0, 10.0, 84.0)


def test_a_code_that_was_never_there_is_found_below_the_share_of_ordinary_errors() -> None:
    calls = quiet_world(1)
    new = during(240) & (pl.col("route") == busiest(calls))
    found = overlapping(scan(failing(calls, new, 415, 0.02)), 240)
    assert [hint["status"] for hint in found["hint"]] == ["415"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_world_without_faults_has_no_candidates_after_warm_up(seed: int) -> None:
    found = scan(quiet_world(seed)).filter(pl.col("detected_at") >= START + timedelta(days=4))
    assert found["title"].to_list() == []


def test_missing_logs_of_the_whole_gateway_are_no_traffic_drop() -> None:
    whole = quiet_world(1)
    before = scan(whole)["id"].to_list()
    assert scan(whole.filter(~during(130)))["id"].to_list() == before


def test_the_file_of_one_node_that_arrives_late_is_no_traffic_drop() -> None:
    whole = quiet_world(1)
    late = during(130) & (pl.col("node") == "gw-0")
    assert scan(whole.filter(~late))["id"].to_list() == scan(whole)["id"].to_list()


def test_a_scan_cut_at_some_time_knew_the_same_candidates_until_then() -> None:
    calls = failing(quiet_world(1), during(60) & (pl.col("upstream_name") == "svc-2"), 504)
    calls = failing(calls, during(30, FAULT + timedelta(hours=5, minutes=1)) & (pl.col("node") == "gw-0"), 503)
    fixed = ["id", "fingerprint", "detected_at", "start", "signal"]
    everything = scan(calls)
    assert everything.height >= 2
    # The minutes in which they are raised, and those before, lie within five minutes that are not over.
    raised = [moment - timedelta(minutes=early) for moment in everything["detected_at"][:2] for early in (0, 1)]
    assert any(moment.minute % 5 for moment in everything["detected_at"])
    for cut in (*raised, FAULT + timedelta(minutes=48), FAULT + timedelta(hours=5, minutes=33)):
        known = scan(calls.filter(pl.col("start_time") < cut), now=cut)
        expected = everything.filter(pl.col("detected_at") <= cut)
        assert known.select(fixed).rows() == expected.select(fixed).rows(), cut


def test_what_peers_do_later_in_the_hour_changes_no_standing_fault() -> None:
    bins = np.arange(96)
    failed = np.zeros((6, 96))
    failed[0] = 2
    failed[1:, 88:] = 12
    frames = [
        pl.DataFrame({"bin": bins, "route": f"/{endpoint}", "status_code": status, "calls": calls})
        for endpoint, bad in enumerate(failed)
        for status, calls in ((200, 12 - bad), (500, bad))
    ]
    made = pl.concat(frames).filter(pl.col("calls") > 0)
    made = made.with_columns(
        bin_start=pl.from_epoch(pl.col("bin") * schema.BIN_S + int(START.timestamp())).dt.replace_time_zone("UTC"),
        minute_calls=pl.concat_list("calls", *[pl.lit(0.0)] * 4),
    )
    rollups = made.select(
        (pl.col(name) if name in made.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )

    def found(end: int) -> list[tuple[object, ...]]:
        first = int(START.timestamp()) // schema.BIN_S
        fleet, rows = baseline.fleet(rollups.filter(made["bin"] < end), (first, first + end))
        (series,) = baseline.chunks(fleet, rows)
        return DETECTORS["standing"](series, fleet).filter(pl.col("bin") < 86).rows()

    assert found(86) == found(96) != []


@pytest.mark.parametrize("bins", [1, 2, 13, 40])
@pytest.mark.parametrize("width", [1, 2, 3, 6, 13, 48])
def test_the_highest_of_a_window_is_that_of_its_bins(bins: int, width: int) -> None:
    matrix = np.random.default_rng(bins).permutation(3 * bins).reshape(3, bins) - 20.0
    ends = [matrix[:, max(end - width, 0) : end].max(axis=1) for end in range(1, bins + 1)]
    assert window_max(matrix, width).T.tolist() == np.array(ends).tolist()
    near = [matrix[0, max(at - width, 0) : at + width + 1].max() for at in range(bins)]
    assert around_max(matrix[0], width).tolist() == near


def test_more_endpoints_later_change_nothing_before() -> None:
    """How many endpoints there are says how certain a finding must be: of those that were there by then."""
    fleet, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=60, days=1)), _bins(1))
    early = quiet_world(1, endpoints=60, days=1).filter(pl.col("start_time") < START + timedelta(hours=6))
    cut, _ = baseline.fleet(rollups_of(early), _bins(1))
    assert fleet.many[-1] > 0
    assert cut.many[:72].tolist() == fleet.many[:72].tolist()


@pytest.mark.parametrize("ahead", [0, 7])
def test_the_same_time_of_seven_days_is_summed_day_by_day(ahead: int) -> None:
    matrix = np.random.default_rng(1).random((2, 10 * DAY + 5))
    slow = sum(back(matrix, day * DAY - ahead, 0.0) for day in range(1, 8))
    assert np.allclose(same_time(matrix, ahead), slow)


@pytest.mark.parametrize("width", [3, 48])
def test_what_comes_late_is_told_from_the_past_only(width: int) -> None:
    each = np.random.default_rng(1).poisson(3.0, (2, 4 * DAY)).astype(float)
    cut = 3 * DAY + 17
    whole, known = (traffic_forecast._left(part, width) for part in (each, each[:, :cut]))
    assert all(np.array_equal(of_all[:, :cut], then) for of_all, then in zip(whole, known, strict=True))


@pytest.mark.parametrize("width", [3, 6, 12])
def test_a_job_that_may_come_half_an_hour_off_is_expected_in_no_window(width: int) -> None:
    each = np.zeros((1, 6 * DAY))
    due = np.arange(6) * DAY + 100
    each[0, due], each[0, due + 1] = 60, 40
    past = same_time(window_sum(each, width))
    left, sooner = traffic_forecast._left(each, width)
    # In longer windows it may stay inside however late it is; those that end with or begin after it are missed first.
    ends = due[-1] + np.array([1, width - 1])
    assert (past[0, ends] > 0).all()
    assert (left[0, ends] < 0.02).all()
    # What comes sooner is over by then; when it begins there is still as much to come.
    assert sooner[0, ends[1]] < 0.02
    assert (sooner >= left).all()


def _bins(days: int) -> tuple[int, int]:
    first = int(START.timestamp()) // schema.BIN_S
    return first, first + days * DAY


def test_the_same_problem_a_day_later_has_the_same_fingerprint_and_another_id() -> None:
    calls = quiet_world(1)
    where = pl.col("route") == busiest(calls)
    once = overlapping(scan(failing(calls, during(40) & where, 500, 0.5)), 40)
    later = scan(failing(calls, during(70, FAULT + timedelta(days=1, hours=3)) & where, 500, 0.9))
    later = later.filter(pl.col("detected_at") > FAULT + timedelta(days=1))
    assert later["fingerprint"].to_list() == once["fingerprint"].to_list()
    assert later["id"].to_list() != once["id"].to_list()
    assert once["fingerprint"].str.contains("^[0-9a-f]{20}$").all()


def test_the_order_of_rollup_rows_does_not_matter() -> None:
    calls = failing(quiet_world(1), during(40) & (pl.col("node") == "gw-1"), 503)
    rollups = rollups_of(calls)
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        results = [
            find_candidates(
                rows,
                Logged(connection),
                now=START + timedelta(days=DAYS),
            )
            for rows in (rollups, rollups.sample(fraction=1.0, shuffle=True, seed=5))
        ]
    assert results[0].height > 0
    assert results[0].drop("explanation").equals(results[1].drop("explanation"))


@dataclass
class Rounded(Logged):
    """The same with sums of durations that differ by a factor."""

    by: float

    def breakdown(self, windows: pl.DataFrame) -> pl.DataFrame:
        return super().breakdown(windows).with_columns(pl.col("log_duration_sum") * self.by)


def test_the_last_digits_of_a_sum_change_no_candidate() -> None:
    """DuckDB adds up in several threads, in another order each time."""
    calls = quiet_world(1)
    slow = during(240) & (pl.col("route") == busiest(calls))
    calls = calls.with_columns(duration_ms=pl.when(slow).then(pl.col("duration_ms") * 2).otherwise("duration_ms"))
    rollups = rollups_of(calls)
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        results = [
            find_candidates(
                rollups,
                Rounded(connection, by),
                now=START + timedelta(days=DAYS),
            )
            for by in (1.0, 1 + 1e-13)
        ]
    assert "latency" in results[0]["signal"]
    assert results[0].drop("explanation").equals(results[1].drop("explanation"))


def test_an_incident_is_open_until_ninety_quiet_minutes_have_passed() -> None:
    calls = quiet_world(1)
    calls = failing(calls, during(40) & (pl.col("route") == busiest(calls)), 500)
    states = []
    for minutes in (45, 200):
        now = FAULT + timedelta(minutes=minutes)
        found = scan(calls.filter(pl.col("start_time") < now), now=now)
        states.append(overlapping(found, 40)["state"].to_list())
    assert states == [["open"], ["ended"]]


def test_what_began_slowly_is_over_when_it_has_been_worse_and_recovered() -> None:
    """One call in two hundred at first, half of them from bin 24 to 26, none after: by the first rate alone that is no end yet."""
    shape, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=1, days=1)), _bins(1))
    failed = np.zeros(60, np.int64)
    failed[[3, 12, 20]], failed[24:27] = 1, 10
    bins = [*range(60), *np.flatnonzero(failed)]
    rows = pl.DataFrame(
        {
            "endpoint": 0,
            "bin": bins,
            "status_code": [200] * 60 + [500] * 6,
            "calls": [*(20 - failed), *failed[failed > 0]],
        }
    )
    first, worse = (
        replace(
            six_failures(),
            start=start,
            known=5 * (opened + 1),
            bins=np.array([opened]),
            at_open={**six_failures().at_open, "observed": rate, "expected": 1e-4},
        )
        for start, opened, rate in ((3, 20, 0.007), (24, 25, 0.5))
    )
    (alone,) = lasting.outlasting([first], rows, shape)
    assert alone.recovered is None
    both = lasting.outlasting([first, worse], rows, shape)
    assert [(run.recovered, int(run.bins[-1])) for run in both] == 2 * [(28, 26)]


def test_scanners_are_left_out() -> None:
    calls = quiet_world(1)
    bots = calls.filter(during(60)).with_columns(
        status_code=pl.lit(404, pl.Int16),
        synthetic_type=pl.lit("scanner"),
        start_time=pl.col("start_time") + timedelta(seconds=1),
    )
    assert scan(pl.concat([calls, bots, bots]).sort("start_time"))["id"].to_list() == scan(calls)["id"].to_list()


@pytest.mark.parametrize(("answered", "status", "raised"), [(0, 400, 0), (1, 400, 1), (0, 502, 1)])
def test_a_wave_of_what_was_no_request_is_no_error_of_an_endpoint(answered: int, status: int, raised: int) -> None:
    """Without method and path; unless the log has calls like that which are answered, or a server failed."""
    calls = quiet_world(1)
    junk = (
        calls.filter(during(30))
        .gather_every(20)
        .with_columns(method=pl.lit(None, pl.String), route=pl.lit(None, pl.String))
    )

    def some(count: int, code: int, days: int = 0) -> pl.DataFrame:
        ago = pl.col("start_time") - timedelta(days=days)
        return junk.head(count).with_columns(status_code=pl.lit(code, pl.Int16), start_time=ago)

    earlier = [some(5, 400, days) for days in (1, 2, 4)] + [some(50, 200, 3)] * answered
    found = scan(pl.concat([calls, *earlier, some(50, status)]).sort("start_time"))
    assert found.filter(pl.col("endpoints").list.contains("- -")).height == raised


def test_nothing_to_look_at_gives_an_empty_table_of_candidates() -> None:
    with duckdb.connect() as connection:
        found = find_candidates(schema.ROLLUPS.to_frame(), Logged(connection), now=START)
    assert found.schema == schema.CANDIDATES
    assert found.height == 0


def test_every_detector_returns_the_table_of_anomalies_even_from_silence() -> None:
    rollups = rollups_of(quiet_world(1).head(1))
    first = int(rollups["bin_start"][0].timestamp()) // schema.BIN_S
    fleet, rows = baseline.fleet(rollups, (first, first + 1))
    for series in baseline.chunks(fleet, rows):
        for name, detect in DETECTORS.items():
            found = detect(series, fleet)
            assert (name, found.schema, found.height) == (name, anomalies.ANOMALIES, 0)


def test_a_breakdown_counts_the_calls_of_its_windows_and_no_others() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    end = FAULT + timedelta(minutes=30)
    windows = pl.DataFrame(
        [
            (0, "default", None, "GET", route, FAULT, end),
            (1, "default", None, "GET", route, FAULT, FAULT + timedelta(minutes=5)),
            (2, "default", None, "GET", "/nowhere", FAULT, end),
        ],
        schema=schema.BREAKDOWN_WINDOWS,
        orient="row",
    )
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        found = breakdown(connection, windows)
    assert found.schema == schema.BREAKDOWN
    counts = dict(found.group_by("window_id").agg(pl.col("calls").sum()).rows())
    inside = calls.filter(pl.col("route") == route)
    assert counts == {0: inside.filter(during(30)).height, 1: inside.filter(during(5)).height}


def test_a_problem_that_goes_on_stays_open_after_the_baseline_has_learned_it() -> None:
    """Two days at 12 % failures: a trailing week would call that normal long before the end."""
    calls = quiet_world(1)
    begin = START + timedelta(days=5, hours=10)
    route = busiest(calls)
    since = (pl.col("start_time") >= begin) & (pl.col("route") == route)
    found = scan(failing(calls, since, 502, 0.12)).filter(pl.col("signal") == "errors")
    assert found.select("state", "endpoints").rows() == [("open", [f"GET {route}"])]
    end_of_data = calls["start_time"].max()
    assert isinstance(end_of_data, datetime)
    assert found["end"][0] <= end_of_data + timedelta(minutes=5)  # what is to come is not known yet
    assert found["detected_at"][0] <= begin + timedelta(hours=2)
    hit = calls.filter(since).height * 0.12
    assert found["excess_calls"][0] == pytest.approx(hit, rel=0.15)


def test_a_problem_ends_when_its_rate_has_recovered() -> None:
    calls = quiet_world(1)
    route = busiest(calls)
    found = overlapping(scan(failing(calls, during(300) & (pl.col("route") == route), 502, 0.3)), 300)
    assert found["state"].to_list() == ["ended"]
    assert abs(found["end"][0] - (FAULT + timedelta(minutes=300))) <= timedelta(minutes=30)
