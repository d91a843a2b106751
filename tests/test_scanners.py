"""A stranger that is refused wherever it comes is a scan; a client that is refused where it was answered is news."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import polars as pl
import pytest

from apilens import schema
from apilens.detect import find_candidates, scanners
from apilens.detect.memory import Memory
from apilens.measure.strangers import strangers
from test_detect import FAULT, START, Logged, busiest, quiet_world, rollups_of, scan

AGENT = "Go-http-client/1.1"


def nameless(
    calls: pl.DataFrame, at: datetime, count: int, *, endpoints: int, status: int = 401, last: bool = False
) -> pl.DataFrame:
    """So many calls without a name within ten minutes, spread over the busiest (last: least busy) endpoints, each from another address of one block."""
    total = calls["route"].n_unique()
    routes = [busiest(calls, rank) for rank in range(total)][total - endpoints if last else 0 :][:endpoints]
    number = pl.int_range(count)
    more = pl.concat([calls.head(1)] * count).with_columns(
        start_time=pl.lit(at) + pl.duration(milliseconds=number * 600_000 // count),
        route=pl.Series([routes[one % endpoints] for one in range(count)]),
        status_code=pl.lit(status, pl.Int16),
        consumer=pl.lit(None, pl.String),
        client_ip=pl.format("198.51.100.{}", 7 * number % 256),
        user_agent=pl.lit(AGENT),
        request_id=pl.format("n{}", number),
    )
    return more.select(calls.columns).cast(dict(calls.schema))


def refused(*more: pl.DataFrame, now: datetime | None = None) -> list[str]:
    calls = pl.concat([quiet_world(1), *more]).sort("start_time")
    if now is not None:
        calls = calls.filter(pl.col("start_time") < now)
    return scan(calls, now=now).filter(pl.col("detected_at") > FAULT, pl.col("signal") == "auth")["id"].to_list()


def test_a_stranger_who_is_refused_at_many_endpoints_is_no_candidate() -> None:
    assert refused(nameless(quiet_world(1), FAULT, 200, endpoints=16)) == []


@pytest.mark.parametrize("probes", [False, True])
def test_a_few_endpoints_are_a_scan_only_to_who_asks_for_what_scanners_ask_for(probes: bool) -> None:
    calls = quiet_world(1)
    probe = nameless(calls, FAULT - timedelta(hours=1), 3, endpoints=1, status=404)
    probe = probe.with_columns(route=pl.lit("/.env"), synthetic_type=pl.lit("scanner")).filter(probes)
    assert bool(refused(nameless(calls, FAULT, 100, endpoints=4), probe)) is not probes


def test_what_is_missing_is_missed_by_no_user_where_only_a_scanner_asks_for_it() -> None:
    """One path that never was, asked for together with one that only scanners ask for, from the second day on."""
    calls = quiet_world(1, endpoints=6)
    times = [START + timedelta(days=1, hours=6 * n) for n in range(12)]
    probes = [nameless(calls, at, 4, endpoints=1, status=404).with_columns(route=pl.lit("/.env")) for at in times]
    probed = pl.concat(probes).with_columns(synthetic_type=pl.lit("scanner"))
    missing = pl.concat([nameless(calls, at, 4, endpoints=1, status=404) for at in times])
    missing = missing.with_columns(route=pl.lit("/old.php"))

    def told(*more: pl.DataFrame) -> int:
        found = scan(pl.concat([calls, *more]).sort("start_time"))
        return found.filter(pl.col("title").str.contains("old.php", literal=True)).height

    assert (told(missing), told(missing, probed)) == (1, 0)


def test_clients_that_are_refused_at_too_few_endpoints_are_not_looked_at_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """People who mistype a password are many: 60,000 would take minutes."""
    monkeypatch.setattr(scanners, "_client", lambda _: pytest.fail("looked at one that can be no scanner"))
    assert refused(nameless(quiet_world(1), FAULT, 100, endpoints=4))


def test_a_client_that_is_refused_where_it_was_answered_before_is_news() -> None:
    """With a name, as a gateway knows one only of those whom it lets in."""
    calls = quiet_world(1)
    answered = nameless(calls, FAULT - timedelta(days=3), 64, endpoints=16, status=200)
    assert refused(nameless(calls, FAULT, 200, endpoints=16), answered.with_columns(consumer=pl.lit("shop")))


def test_others_who_are_refused_as_well_are_raised_in_the_minute_in_which_they_outweigh_the_scan() -> None:
    """A scan of the calls until then says the same."""
    calls = quiet_world(1)
    later = FAULT + timedelta(minutes=4)
    others = nameless(calls, later, 60, endpoints=1).with_columns(
        client_ip=pl.lit(None, pl.String), user_agent=pl.lit(None, pl.String), consumer=pl.lit("shop")
    )
    both = nameless(calls, FAULT, 200, endpoints=16), others
    whole = refused(*both)
    assert len(whole) == 1
    assert refused(*both, now=later) == []
    assert refused(*both, now=later + timedelta(minutes=5)) == whole


def test_of_a_scan_that_is_over_the_log_is_not_asked_again() -> None:
    calls = pl.concat([quiet_world(1), nameless(quiet_world(1), FAULT, 200, endpoints=16)]).sort("start_time")
    asked: list[int] = []
    remembered = Memory()

    def found(now: datetime, remembered: Memory) -> pl.DataFrame:
        logged = calls.filter(pl.col("start_time") < now)
        with duckdb.connect() as connection:
            connection.register("calls", logged.to_arrow())

            class Counted(Logged):
                def strangers(self, windows: pl.DataFrame) -> pl.DataFrame:
                    asked.append(windows.height)
                    return super().strangers(windows)

            return find_candidates(rollups_of(logged), Counted(connection), now=now, remembered=remembered)

    later = FAULT + timedelta(minutes=50)
    first = found(later, remembered)
    assert asked
    remembered = Memory(remembered.to_bytes())
    asked.clear()
    again = found(later + timedelta(minutes=5), remembered)
    assert asked == []
    assert again.equals(found(later + timedelta(minutes=5), Memory()))
    assert again.height == first.height


def test_what_clients_met_is_told_of_those_that_were_refused_in_the_window() -> None:
    calls = quiet_world(1).head(50)
    scanner = nameless(calls, FAULT, 12, endpoints=3)
    neighbour = scanner.with_columns(client_ip=pl.lit("203.0.113.9"), route=pl.lit("/elsewhere"))
    answered = scanner.with_columns(start_time=pl.lit(FAULT) - timedelta(days=2), status_code=pl.lit(200, pl.Int16))
    beside = answered.with_columns(route=pl.lit("/where it was never refused"))
    asked = pl.DataFrame(
        [("default", None, "GET", busiest(calls), FAULT, FAULT + timedelta(minutes=5), 401)],
        schema=schema.STRANGERS_ASKED,
        orient="row",
    )
    with duckdb.connect() as connection:
        connection.register("calls", pl.concat([calls, scanner, neighbour, answered, beside]).to_arrow())
        found = strangers(connection, asked)
    assert found["client"].unique().to_list() == [f"198.51.100. {AGENT}"]
    # Until the end of the window, on all its endpoints; of answers an hour is one row, on those endpoints only.
    assert found.filter(pl.col("refused") == 401)["calls"].sum() == 6
    assert found.filter(pl.col("refused").is_null()).height == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.51.100.7", "198.51.100.77", True),
        ("198.51.100.7", "198.51.10.7", False),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.77", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.10.7", False),
        ("2001:db8:1:2::7", "2001:db8:1:2:9:8:7:6", True),
        ("2001:db8:1:2::7", "2001:db8:1:3::7", False),
        ("2001:db8::7", "2001:db8::9:8:7:6", True),
        ("2001:db8::7", "2001:db8:0:0:9::", True),
        ("2001:db8::7", "2001:db8::1:9:8:7:6", False),
        ("1:2:3:4:5:6:7:8:9:a::1:2:3:4:5:6:7:8:9:a", "x::y::z", False),
    ],
)
def test_a_client_is_a_block_of_addresses_however_they_are_written(one: str, other: str, same: bool) -> None:
    calls = nameless(quiet_world(1).head(50), FAULT, 1, endpoints=1)
    both = pl.concat(calls.with_columns(client_ip=pl.lit(address)) for address in (one, other))
    asked = both.head(1).select(
        "environment", "service", "method", "route", start=FAULT, end=FAULT + timedelta(minutes=5), status_code=401
    )
    with duckdb.connect() as connection:
        connection.register("calls", both.to_arrow())
        found = strangers(connection, asked.cast(dict(schema.STRANGERS_ASKED)))
    assert (found["client"].n_unique() == 1) is same
    assert found["calls"].sum() == 2
