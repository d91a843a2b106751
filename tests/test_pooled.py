"""One client's refusals on several endpoints are raised when they are enough together, and named as that client's."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

import duckdb
import polars as pl
import pytest

from apilens.detect import find_candidates
from apilens.detect.memory import Memory
from apilens.measure.clients import clients
from test_detect import FAULT, START, Logged, busiest, during, overlapping, quiet_world, rollups_of, scan

WHO = "app-expired"
MINUTES = 40


def client(calls: pl.DataFrame, status: pl.Expr) -> pl.DataFrame:
    """The same calls and those of one client more: one a minute, of the busiest six endpoints in turn, answered by `status`."""
    routes = pl.Series([busiest(calls, rank) for rank in range(6)])
    end = int((START + timedelta(days=6) - START).total_seconds()) // 60
    turn = pl.int_range(end) % 6
    mine = (
        pl.concat([calls.head(1)] * end)
        .with_columns(
            start_time=pl.lit(START) + pl.duration(minutes=pl.int_range(end), seconds=30),
            route=pl.lit(routes).gather(turn),
            consumer=pl.lit(WHO),
            request_id=pl.format("c{}", pl.int_range(end)),
        )
        .with_columns(upstream_name=pl.lit("svc-0"), status_code=status.cast(pl.Int16))
    )
    return pl.concat([calls, mine.select(calls.columns).cast(dict(calls.schema))]).sort("start_time")


@cache
def expired() -> pl.DataFrame:
    """A client whose calls are all answered with 401 from the fault on, one a minute, each on another endpoint."""
    return client(quiet_world(1), pl.when(during(MINUTES)).then(401).otherwise(200))


def test_refusals_on_several_endpoints_are_raised_before_any_of_them_has_enough() -> None:
    calls = expired()
    found = overlapping(scan(calls), MINUTES)
    assert [(row["signal"], row["hint"]["consumer"]) for row in found.to_dicts()] == [("auth", WHO)]
    known = found["detected_at"][0]
    refused = calls.filter(pl.col("status_code") == 401)
    so_far = refused.filter(pl.col("start_time") < known).group_by("route").len()
    assert so_far["len"].max() < 3, "MIN_CALLS of one endpoint: what it has cannot open it"
    assert set(found["endpoints"][0]) == {f"GET {route}" for route in refused["route"].unique()}


@pytest.mark.parametrize("back", [False, True], ids=["always there", "back after weeks"])
def test_scans_that_remember_say_the_same_and_read_two_weeks(back: bool) -> None:
    """Of three copies of a tenth of the world one after the other, so that the log is longer than what is read of it."""
    calls = expired().filter((pl.col("consumer") == WHO) | (pl.col("request_id").hash(3) % 10 == 0))
    days = timedelta(days=8)
    calls = pl.concat([calls.with_columns(pl.col("start_time") + i * days) for i in range(3)])
    begun = FAULT + 2 * days
    away = pl.col("start_time").is_between(START + timedelta(hours=6), begun, closed="left") & (
        pl.col("consumer") == WHO
    )
    calls = calls.filter(~(away & back))
    read: list[timedelta] = []

    class Measured(Logged):
        def clients(self, environment: str | None, start: datetime, since: datetime, end: datetime) -> pl.DataFrame:
            read.append(end - start)
            return super().clients(environment, start, since, end)

    def found(now: datetime, remembered: Memory) -> pl.DataFrame:
        logged = calls.filter(pl.col("start_time") < now)
        with duckdb.connect() as connection:
            connection.register("calls", logged.to_arrow())
            return find_candidates(rollups_of(logged), Measured(connection), now=now, remembered=remembered)

    remembered = Memory()
    for minutes in (-5, 12, 47):
        now = begun + timedelta(minutes=minutes)
        kept = found(now, remembered)
        remembered = Memory(remembered.to_bytes())
        assert minutes < 0 or read[-1] < timedelta(days=18)
    assert back or kept.filter(pl.col("start") >= begun - timedelta(minutes=5), pl.col("signal") == "auth").height == 1
    assert kept.equals(found(now, Memory()))


def test_calls_whose_rollups_are_not_there_yet_wait_for_them() -> None:
    """An ingest that is under way while a scan runs commits calls first."""
    calls = expired()
    late = (pl.col("route") == busiest(calls, 5)) & (pl.col("status_code") == 401)
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        end = START + timedelta(days=6)
        found = overlapping(find_candidates(rollups_of(calls.filter(~late)), Logged(connection), now=end), MINUTES)
    assert [row["hint"]["consumer"] for row in found.to_dicts()] == [WHO]
    assert f"GET {busiest(calls, 5)}" not in found["endpoints"][0]


def test_they_are_known_at_the_end_of_a_minute_and_not_before() -> None:
    calls = expired()
    known = overlapping(scan(calls), MINUTES)["detected_at"][0]
    for until, raised in ((known, [known]), (known - timedelta(minutes=1), [])):
        found = scan(calls.filter(pl.col("start_time") < until), now=until)
        assert overlapping(found, MINUTES)["detected_at"].to_list() == raised, until


def test_what_all_clients_have_is_not_one_clients() -> None:
    """A whole endpoint refuses; the client that calls others as well, and is refused there now and then, does not draw these in."""
    here = busiest(quiet_world(1))
    now_and_then = (pl.col("start_time").dt.epoch("s") // 60) % 97 == 0
    calls = client(quiet_world(1), pl.when(now_and_then).then(401).otherwise(200))
    lot = pl.col("request_id").hash(3) % 2 == 0
    calls = calls.with_columns(
        status_code=pl.when(during(MINUTES) & (pl.col("route") == here) & lot)
        .then(pl.lit(401, pl.Int16))
        .otherwise("status_code")
    )
    found = overlapping(scan(calls), MINUTES)
    assert [(row["endpoints"], row["hint"]["consumer"]) for row in found.to_dicts()] == [([f"GET {here}"], None)]


def test_what_a_client_has_each_day_is_no_news() -> None:
    each_day = (pl.col("start_time") - pl.lit(FAULT)).dt.total_minutes() % 1440 < MINUTES
    calls = client(quiet_world(1), pl.when(each_day).then(429).otherwise(200))
    assert overlapping(scan(calls), MINUTES).is_empty()


def test_clients_are_those_refused_three_times_within_an_hour_on_several_endpoints() -> None:
    """Against a count by hand of generated refusals, each a quarter of an hour after the one before."""
    calls = quiet_world(1).head(9)
    at = [START + timedelta(minutes=15 * number) for number in range(9)]
    here, there = busiest(calls), busiest(quiet_world(1), 1)
    routes = {"both": [here, there] * 5, "one": [here] * 9, "later": [here] * 5 + [there] + [here] * 3}
    answers = {"both": [401, 401, 200, 401, 200, 200, 200, 200, 200], "one": [401] * 9, "later": [401, 401, 200] * 3}
    made = pl.concat(
        calls.with_columns(
            start_time=pl.Series(at).cast(calls.schema["start_time"]),
            consumer=pl.lit(who),
            route=pl.Series(routes[who][:9]),
            status_code=pl.Series(answers[who], dtype=pl.Int16),
        )
        for who in routes
    )
    with duckdb.connect() as connection:
        elsewhere = made.with_columns(environment=pl.lit("staging"))
        connection.register("calls", pl.concat([made, elsewhere]).to_arrow())
        found = clients(connection, "default", START, START, START + timedelta(hours=3))

    def qualifies(who: str) -> bool:
        mine = made.filter(pl.col("consumer") == who, pl.col("status_code") == 401)
        hours = [
            mine.filter(pl.col("start_time").is_between(moment - timedelta(hours=1), moment))
            for moment in mine["start_time"]
        ]
        return any(hour.height >= 3 and hour["route"].n_unique() > 1 for hour in hours)

    asked = [who for who in routes if qualifies(who)]
    assert 0 < len(asked) < len(routes)
    refused = pl.col("status_code") == 401
    wanted = (
        made.filter(pl.col("consumer").is_in(asked))
        .group_by(
            "consumer",
            bin_start=pl.col("start_time").dt.truncate("5m"),
            route=pl.when(refused).then("route"),
            status_code=pl.when(refused).then("status_code"),
        )
        .agg(calls=pl.len())
        .sort("consumer", "bin_start")
    )
    counted = found.with_columns(calls=pl.col("minute_calls").list.sum()).sort("consumer", "bin_start")
    assert counted.select(wanted.columns).cast(dict(wanted.schema)).equals(wanted)
