"""What one client is refused day by day is its habit; what goes beyond that is raised."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import polars as pl
import pytest

from apilens import schema
from apilens.detect import find_candidates
from apilens.detect.memory import Memory
from apilens.measure.refusals import refusals
from test_detect import FAULT, START, Logged, busiest, quiet_world, rollups_of, scan

CLIENT = "at-its-quota"


def refused(
    calls: pl.DataFrame, at: datetime, count: int, *, rank: int, minutes: int = 15, who: str = CLIENT, code: int = 429
) -> pl.DataFrame:
    """So many more calls to the endpoint of a rank by calls, spread over some minutes and answered with a code."""
    of = calls.filter(pl.col("route") == busiest(calls, rank)).head(1)
    seconds = pl.int_range(count) * (60 * minutes) // count
    more = pl.concat([of] * count).with_columns(
        start_time=pl.lit(at) + pl.duration(seconds=seconds),
        status_code=pl.lit(code, pl.Int16),
        consumer=pl.lit(who),
        request_id=pl.format("q{}-{}", pl.lit(code), pl.int_range(count)),
    )
    return more.select(calls.columns).cast(dict(calls.schema))


def at_its_quota(*, now: int, minutes: int = 15, others: int = 0) -> pl.DataFrame:
    """Calls of a week in which a client is turned away 40 times within a quarter of an hour each day, on one of three endpoints;
    and, on a fourth, `now` times within some minutes when the fault is, others so many times."""
    calls = quiet_world(1, endpoints=6)
    days = [refused(calls, START + timedelta(days=day, hours=9 + 2 * day), 40, rank=day % 3) for day in range(5)]
    fault = refused(calls, FAULT, now, rank=3, minutes=minutes)
    rest = [
        refused(calls, FAULT, others, rank=3, minutes=minutes, who=f"other-{one}") for one in range(3 * (others > 0))
    ]
    return pl.concat([calls, *days, fault, *rest]).sort("start_time")


def raised(calls: pl.DataFrame) -> list[str]:
    found = scan(calls).filter(pl.col("detected_at") > FAULT, pl.col("signal") == "rate_limit")
    return found["endpoints"].explode().to_list()


def test_what_goes_beyond_a_habit_is_raised_in_the_minute_in_which_it_does() -> None:
    """Within five minutes that are not over; a scan of the calls until then raises it, one a minute earlier does not."""
    calls = at_its_quota(now=300, minutes=30)
    names = ["id", "detected_at"]
    whole = scan(calls).filter(pl.col("detected_at") > FAULT, pl.col("signal") == "rate_limit").select(names)
    moment = whole["detected_at"][0]
    assert moment.minute % 5
    for until, known in ((moment, whole.rows()), (moment - timedelta(minutes=1), [])):
        found = scan(calls.filter(pl.col("start_time") < until), now=until).filter(pl.col("detected_at") > FAULT)
        assert found.select(names).rows() == known, until


def test_what_a_client_at_its_quota_has_each_day_is_no_candidate_on_another_endpoint() -> None:
    assert raised(at_its_quota(now=40)) == []


@pytest.mark.parametrize(
    ("now", "minutes", "others"), [(160, 15, 0), (240, 240, 0), (40, 15, 20)], ids=["more", "longer", "others too"]
)
def test_what_goes_beyond_a_clients_habit_is_a_candidate(now: int, minutes: int, others: int) -> None:
    calls = at_its_quota(now=now, minutes=minutes, others=others)
    assert raised(calls) == [f"GET {busiest(quiet_world(1, endpoints=6), 3)}"]


@pytest.mark.parametrize(("answered", "told"), [(200, True), (0, False)], ids=["elsewhere", "nowhere"])
def test_a_client_that_is_refused_by_one_endpoint_and_answered_by_others_meanwhile_has_good_credentials(
    answered: int, told: bool
) -> None:
    """Each day tokens of an app's users run out, on one of three endpoints; now as many are refused on a fourth."""
    calls = quiet_world(1, endpoints=6)
    days = [
        refused(calls, START + timedelta(days=day, hours=9 + 2 * day), 40, rank=day % 3, code=401) for day in range(5)
    ]
    others = [refused(calls, FAULT, answered, rank=0, code=200)] if answered else []
    here = refused(calls, FAULT, 40, rank=3, code=401)
    found = scan(pl.concat([calls, *days, *others, here]).sort("start_time"))
    assert (found.filter(pl.col("detected_at") > FAULT, pl.col("signal") == "auth").height > 0) == told


@pytest.mark.parametrize("answered", [False, True])
def test_a_job_that_is_wrong_day_by_day_is_no_candidate_on_another_endpoint_unless_it_is_right_meanwhile(
    answered: bool,
) -> None:
    """A file of which every line is wrong; and one of which most are right, so that this endpoint has changed."""
    calls = quiet_world(1, endpoints=6)
    times = [(START + timedelta(days=day, hours=9 + 2 * day), day % 3) for day in range(5)] + [(FAULT, 3)]
    job = [refused(calls, at, 80, rank=rank, minutes=60, who="job", code=422) for at, rank in times]
    if answered:
        job += [refused(calls, FAULT, 400, rank=rank, minutes=60, who="job", code=200) for rank in range(3)]
    found = scan(pl.concat([calls, *job]).sort("start_time"))
    told = found.filter(pl.col("detected_at") > FAULT, pl.col("title").str.contains("422")).height > 0
    assert told == answered


def test_an_endpoint_that_only_one_client_calls_is_told_as_soon_as_others_that_it_fails() -> None:
    """A tenth of its calls ask for what is not there, on every day; now all do, while the rest of the client's calls is answered."""
    calls = quiet_world(1)
    route = busiest(calls, 3)
    owned = calls.with_columns(consumer=pl.when(pl.col("route") == route).then(pl.lit("app-1")).otherwise("consumer"))
    assert 0.1 < owned.filter(route=route).select((pl.col("status_code") == 404).mean()).item() < 0.11
    fails = (pl.col("route") == route) & pl.col("start_time").is_between(FAULT, FAULT + timedelta(hours=6))
    found = scan(owned.with_columns(status_code=pl.when(fails).then(pl.lit(404, pl.Int16)).otherwise("status_code")))
    told = found.filter(pl.col("detected_at") > FAULT, pl.col("title").str.contains(f"{route}: 404", literal=True))
    assert told["detected_at"].to_list()[0] < FAULT + timedelta(minutes=30)


def test_what_a_client_never_had_is_a_candidate_at_once() -> None:
    calls = quiet_world(1, endpoints=6)
    calls = pl.concat([calls, refused(calls, FAULT, 40, rank=3)]).sort("start_time")
    assert len(raised(calls)) == 1


@pytest.mark.parametrize(("answered", "told"), [(4, 0), (1, 1)], ids=["limit", "fault"])
def test_what_a_limit_refuses_of_a_client_that_calls_more_is_no_candidate(answered: int, told: int) -> None:
    """Two to four calls a minute until then; now six are refused each minute beside as many as ever, or instead of most of them."""
    calls = quiet_world(1, endpoints=6)
    of = calls.filter(pl.col("route") == busiest(calls, 3)).head(1)

    def each_minute(start: datetime, minutes: int, many: pl.Expr, status: int) -> pl.DataFrame:
        at = pl.select(minute=pl.int_range(minutes)).with_columns(many=many).select(pl.col("minute").repeat_by("many"))
        seconds = at.explode("minute").drop_nulls()["minute"] * 60
        return (
            pl.concat([of] * len(seconds))
            .with_columns(
                start_time=pl.lit(start) + pl.duration(seconds=seconds),
                status_code=pl.lit(status, pl.Int16),
                consumer=pl.lit(CLIENT),
                request_id=pl.format("c{}-{}", pl.lit(status), pl.int_range(len(seconds))),
            )
            .select(calls.columns)
            .cast(dict(calls.schema))
        )

    more = [
        each_minute(FAULT - timedelta(days=2), 2 * 1440, 2 + pl.col("minute") % 3, 200),
        each_minute(FAULT, 30, pl.lit(answered), 200),
        each_minute(FAULT, 30, pl.lit(6), 429),
    ]
    assert len(raised(pl.concat([calls, *more]).sort("start_time"))) == told


def test_of_a_client_whose_refusals_are_over_the_log_is_not_asked_again() -> None:
    """Scans that remember say what those from nothing say: while it goes on, when it is over, later, and when more of it comes late."""
    calls = at_its_quota(now=300, minutes=30)
    late = refused(calls, FAULT + timedelta(minutes=4), 40, rank=3)
    asked: list[int] = []

    def found(calls: pl.DataFrame, now: datetime, remembered: Memory) -> pl.DataFrame:
        with duckdb.connect() as connection:
            connection.register("calls", calls.filter(pl.col("start_time") < now).to_arrow())

            class Counted(Logged):
                def refusals(self, windows: pl.DataFrame) -> pl.DataFrame:
                    asked.append(windows.height)
                    return super().refusals(windows)

            rollups = rollups_of(calls.filter(pl.col("start_time") < now))
            return find_candidates(rollups, Counted(connection), now=now, remembered=remembered)

    remembered, new = Memory(), []
    later = FAULT + timedelta(minutes=50)
    for now, logged in ((FAULT + timedelta(minutes=20), calls), (later, calls), (later + timedelta(minutes=5), calls)):
        remembered = Memory(remembered.to_bytes())
        asked.clear()
        kept = found(logged, now, remembered)
        new.append(list(asked))
        assert kept.equals(found(logged, now, Memory())), now
    assert new[1] and not new[2]
    with_late = pl.concat([calls, late]).sort("start_time")
    assert found(with_late, later, Memory(remembered.to_bytes())).equals(found(with_late, later, Memory()))


def test_refusals_are_counted_per_consumer_code_endpoint_and_minute() -> None:
    calls = at_its_quota(now=40)
    start, end = FAULT.replace(minute=10), FAULT.replace(minute=20)
    spans = [("default", CLIENT, code, start, end) for code in (429, None)]
    asked = pl.DataFrame(spans, schema=schema.REFUSALS_ASKED, orient="row")
    with duckdb.connect() as connection:
        connection.register("calls", calls.to_arrow())
        every = refusals(connection, asked).sort("minute")
    counted, in_all = (every.filter(pl.col("status_code").eq_missing(code)) for code in (429, None))
    wanted = (
        calls.filter(pl.col("consumer") == CLIENT, pl.col("start_time").is_between(start, end, closed="left"))
        .group_by(minute=pl.col("start_time").dt.truncate("1m"))
        .agg(calls=pl.len().cast(pl.Int64))
        .sort("minute")
    )
    assert wanted["calls"].sum() > 0
    assert counted.select("minute", "calls").equals(wanted)
    assert counted["route"].unique().to_list() == [busiest(calls, 3)]
    # All of its calls were refused, on one endpoint.
    assert in_all.select("minute", "calls").equals(wanted)
    assert in_all.select("service", "method", "route").unique().rows() == [(None, None, None)]
