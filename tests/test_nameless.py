"""Scrapers that are turned away are no problem of an endpoint; users whose names the gateway has lost are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from apilens import schema
from apilens.detect import baseline
from apilens.detect.nameless import turned_away
from test_detect import FAULT, _bins, busiest, quiet_world, rollups_of, scan, six_failures
from test_scanners import nameless


def spread(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls from an address each, as through rented proxies."""
    number = pl.int_range(pl.len())
    return calls.with_columns(client_ip=pl.format("198.{}.{}.7", number % 200, number // 200))


def told(calls: pl.DataFrame) -> list[str]:
    found = scan(calls.sort("start_time")).filter(pl.col("detected_at") > FAULT)
    return found.filter(pl.col("signal").is_in(["auth", "rate_limit", "traffic"]))["id"].to_list()


@pytest.mark.parametrize("count", [150, 4000], ids=["some", "a surge"])
@pytest.mark.parametrize("status", [403, 429])
def test_scrapers_that_are_turned_away_are_no_candidate(status: int, count: int) -> None:
    calls = quiet_world(1, endpoints=12)
    more = [nameless(calls, FAULT + timedelta(minutes=10 * n), count, endpoints=3, status=status) for n in range(3)]
    assert told(pl.concat([calls, *map(spread, more)])) == []


def test_a_surge_of_callers_without_a_name_who_are_answered_is_news() -> None:
    calls = quiet_world(1, endpoints=12)
    more = [nameless(calls, FAULT + timedelta(minutes=10 * n), 4000, endpoints=3, status=200) for n in range(3)]
    assert told(pl.concat([calls, *map(spread, more)]))


def test_a_client_that_is_set_up_with_wrong_credentials_is_news() -> None:
    calls = quiet_world(1, endpoints=12)
    assert told(pl.concat([calls, nameless(calls, FAULT, 150, endpoints=3, status=401)]))


@pytest.mark.parametrize("when", [timedelta(0), timedelta(days=-1)], ids=["meanwhile", "the day before"])
def test_callers_without_a_name_that_are_answered_as_a_rule_are_news_when_they_are_not(when: timedelta) -> None:
    """What is public has callers without a name, who may be turned away by mistake."""
    calls = quiet_world(1, endpoints=12)
    answered = nameless(calls, FAULT + when, 60, endpoints=3, status=200)
    assert told(pl.concat([calls, answered, spread(nameless(calls, FAULT, 150, endpoints=3, status=403))]))


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize(
    ("one_in", "tries", "minutes"),
    [(3, 1, 25), (2, 1, 60), (1, 1, 60), (1, 3, 60), (1, 10, 60)],
    ids=["soon over", "half", "all", "tried again", "often"],
)
def test_users_whose_names_are_lost_are_missing_among_those_with_one(
    one_in: int, tries: int, minutes: int, status: int
) -> None:
    """The gateway lets nobody in any more, and so knows nobody; who is refused tries again."""
    calls = quiet_world(1, endpoints=12)
    theirs = (
        (pl.col("route") == busiest(calls))
        & pl.col("start_time").is_between(FAULT, FAULT + timedelta(minutes=minutes), closed="left")
        & (pl.int_range(pl.len()) % one_in == 0)
    )
    lost = calls.with_columns(
        status_code=pl.when(theirs).then(pl.lit(status, pl.Int16)).otherwise("status_code"),
        consumer=pl.when(~theirs).then("consumer"),
    )
    again = [
        lost.filter(theirs).with_columns(
            pl.col("start_time") + timedelta(seconds=2 * one), request_id=pl.format("t{}-{}", one, "request_id")
        )
        for one in range(1, tries)
    ]
    assert told(pl.concat([lost, *again]))


def test_a_surge_is_explained_by_nobody_in_a_window_that_has_no_more_calls_than_the_days_before() -> None:
    fleet, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=1, days=1)), _bins(1))
    run = replace(six_failures(), signal="traffic", status=None)

    def counted(windows: pl.DataFrame) -> pl.DataFrame:
        rows = windows.select("window_id", status_code=200, consumer=pl.lit("app"), calls=pl.Series([100, 120, 110]))
        return pl.concat([schema.BREAKDOWN.to_frame(), rows], how="diagonal_relaxed")

    assert turned_away([run], fleet, counted) == [run]


def test_where_nobody_has_a_name_nothing_is_known_of_who_has_none() -> None:
    calls = quiet_world(1, endpoints=12).with_columns(consumer=pl.lit(None, pl.String))
    assert told(pl.concat([calls, spread(nameless(calls, FAULT, 150, endpoints=3, status=403))]))


def test_a_problem_that_begins_during_a_raid_is_raised_within_the_hour() -> None:
    calls = quiet_world(1, endpoints=12)
    raid = [spread(nameless(calls, FAULT + timedelta(minutes=10 * n), 60, endpoints=1, status=403)) for n in range(12)]
    theirs = (
        (pl.col("route") == busiest(calls))
        & pl.col("start_time").is_between(FAULT + timedelta(minutes=60), FAULT + timedelta(minutes=120))
        & pl.col("consumer").is_not_null()
    )
    refused = calls.with_columns(status_code=pl.when(theirs).then(pl.lit(403, pl.Int16)).otherwise("status_code"))
    assert told(pl.concat([calls, *raid])) == []
    assert told(pl.concat([refused, *raid]))
