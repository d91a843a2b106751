"""A surge that is somebody's habit is no news, at whatever hour it comes; a job at another hour is no drop, and a late one is told once."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest

from test_detect import FAULT, START, busiest, quiet_world, scan

HERE = 1  # rank of the endpoint by calls
CALLS = quiet_world(1, endpoints=6)


def burst(at: datetime, count: int, *, who: str | None = "campaigner", minutes: int = 25) -> pl.DataFrame:
    """So many calls to one endpoint, spread evenly over some minutes."""
    of = CALLS.filter(pl.col("route") == busiest(CALLS, HERE)).head(1)
    more = pl.concat([of] * count).with_columns(
        start_time=pl.lit(at) + pl.duration(seconds=pl.int_range(count) * (60 * minutes) // count),
        consumer=pl.lit(who, pl.String),
        request_id=pl.format("b{}", pl.int_range(count)),
    )
    return more.select(CALLS.columns).cast(dict(CALLS.schema))


def on_days(days: range, hours: tuple[int, ...], count: int, **how: object) -> list[pl.DataFrame]:
    """A burst on each of some days, at one hour after the other."""
    moments = [START + timedelta(days=day, hours=hours[day % len(hours)], minutes=10) for day in days]
    return [burst(moment, count, **how) for moment in moments]  # type: ignore[arg-type]


def told(*more: pl.DataFrame, now: datetime | None = None) -> pl.DataFrame:
    """What is told of traffic, but for what the world says without these calls."""
    found = scan(pl.concat([CALLS, *more]).sort("start_time"), now=now)
    return found.filter(pl.col("signal") == "traffic", pl.col("endpoints").list.contains(f"GET {busiest(CALLS, HERE)}"))


CAMPAIGNS = on_days(range(5), (9, 14, 20, 11, 17), 400)


@pytest.mark.parametrize(
    ("count", "who", "raised"), [(900, "campaigner", 0), (2500, "campaigner", 1), (900, "runs-wild", 1)]
)
def test_a_consumers_burst_is_news_when_it_goes_beyond_those_of_its_own(count: int, who: str, raised: int) -> None:
    found = told(*CAMPAIGNS, burst(FAULT, count, who=who)).filter(pl.col("detected_at") > FAULT)
    assert found["hint"].struct.field("consumer").to_list() == [who] * raised


@pytest.mark.parametrize(("count", "raised"), [(590, 0), (2500, 1)])
def test_bursts_of_whom_the_log_does_not_name_are_held_against_each_other(count: int, raised: int) -> None:
    campaigns = on_days(range(5), (9, 14, 20, 11, 17), 400, who=None)
    found = told(*campaigns, burst(FAULT, count, who=None)).filter(pl.col("detected_at") > FAULT)
    assert found.height == raised


def test_a_burst_that_goes_on_far_longer_than_the_others_is_news_then() -> None:
    found = told(*CAMPAIGNS, burst(FAULT, 9_600, minutes=480)).filter(pl.col("detected_at") > FAULT)
    assert found.height == 1
    known = found["detected_at"][0]
    assert known > FAULT + timedelta(minutes=60)
    assert told(*CAMPAIGNS, burst(FAULT, 9_600, minutes=480), now=known - timedelta(minutes=1)).height == 0


def test_nights_of_the_same_surge_are_one_ticket() -> None:
    found = told(*on_days(range(3, 5), (1, 4), 600, minutes=120))
    assert found["start"].dt.date().to_list() == [(START + timedelta(days=3)).date()]
    assert found["end"].item() > START + timedelta(days=4)
    assert "It came back 1 more time." in found["explanation"][0]


JOB = on_days(range(4), (3,), 1_500, minutes=60)
FRIDAY = range(4, 5)


def test_a_job_an_hour_earlier_is_neither_surge_nor_drop() -> None:
    assert told(*JOB, *on_days(FRIDAY, (2,), 1_500, minutes=60)).height == 0


def test_a_job_that_is_late_is_told_once_and_over_when_it_came() -> None:
    found = told(*JOB, *on_days(FRIDAY, (6,), 1_500, minutes=60))
    assert "traffic drop" in found["title"].item()
    came = START + timedelta(days=4, hours=6, minutes=10)
    assert came < found["end"].item() < came + timedelta(minutes=60)
    assert "Most of it came late, by 2026-05-08 06:" in found["explanation"].item()


def test_a_job_that_comes_an_hour_later_is_no_drop() -> None:
    """As by a local clock, the day its zone's summer time ends."""
    assert told(*JOB, *on_days(FRIDAY, (4,), 1_500, minutes=60)).height == 0


def test_a_job_that_stays_away_is_a_drop_when_it_has_been_given_an_hour() -> None:
    found = told(*JOB)
    assert "traffic drop" in found["title"].item()
    assert "late" not in found["explanation"].item()
    known = found["detected_at"].item()
    assert known > START + timedelta(days=4, hours=4, minutes=10)
    assert told(*JOB, now=known).height == 1
    assert told(*JOB, now=known - timedelta(minutes=5)).height == 0


def test_a_busier_evening_before_is_not_the_job_that_stays_away() -> None:
    evenings = [*on_days(range(3), (17,), 1_500, minutes=60), *on_days(range(3, 4), (17,), 2_700, minutes=60)]
    friday = START + timedelta(days=4)
    found = told(*JOB, *evenings).filter(pl.col("detected_at").is_between(friday, friday + timedelta(hours=6)))
    assert "traffic drop" in found["title"].item()


def test_a_job_that_moved_is_its_consumers_habit_on_its_second_day_too() -> None:
    """What is more on that day than on the one before is chance, and nobody's."""
    moved = [*on_days(range(3), (3,), 1_500, minutes=60), *on_days(range(3, 5), (8,), 1_500, minutes=60)]
    surges = told(*moved).filter(pl.col("title").str.contains("surge"))
    assert surges.height == 0


@pytest.mark.parametrize(("an_hour", "named"), [(55, []), (240, ["newcomer"])])
def test_a_new_user_is_a_surge_only_when_it_calls_more_than_once_a_minute(an_hour: int, named: list[str]) -> None:
    """On an endpoint that others call every other minute."""
    begin = START + timedelta(days=4, hours=10)
    here = pl.col("route") == busiest(CALLS, HERE)
    new = burst(begin, 8 * an_hour, who="newcomer", minutes=480)
    calls = pl.concat([CALLS.filter(~here), CALLS.filter(here).gather_every(4), new]).sort("start_time")
    found = scan(calls).filter(pl.col("signal") == "traffic", pl.col("detected_at") > begin)
    assert found["hint"].struct.field("consumer").to_list() == named
