"""What rises with many other endpoints is a campaign; what one client does meanwhile, or what goes on after it, is a surge."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

import polars as pl

from test_detect import FAULT, busiest, during, quiet_world, scan

HOUR = 60


def busier(calls: pl.DataFrame, where: pl.Expr, times: int, *, who: str | None = None) -> pl.DataFrame:
    """The calls `where` as many times more, up to ten minutes later; all by one consumer where named."""
    more = pl.concat([calls.filter(where)] * times).with_columns(
        start_time=pl.col("start_time") + pl.duration(seconds=pl.int_range(pl.len()) * 7919 % 600)
    )
    return more if who is None else more.with_columns(consumer=pl.lit(who))


@cache
def payday() -> pl.DataFrame:
    """Calls double or triple on all endpoints for an hour, and come seven times on the three busiest."""
    calls = quiet_world(1)
    most = pl.col("route").is_in([busiest(calls, rank) for rank in range(3)])
    third = pl.col("start_time").dt.microsecond() % 2 == 0
    return pl.concat(
        [
            calls,
            busier(calls, during(HOUR), 1),
            busier(calls, during(HOUR) & third, 1),
            busier(calls, during(HOUR) & most, 4),
        ]
    )


def surges(calls: pl.DataFrame, *, until: datetime | None = None) -> list[tuple[datetime, list[str]]]:
    """When surges are raised and where, by all calls or those until a moment."""
    known = calls.filter(pl.col("start_time") < until) if until else calls
    found = scan(known.sort("start_time"), now=until).filter(
        pl.col("detected_at") > FAULT, pl.col("signal") == "traffic"
    )
    return list(found.select("detected_at", "endpoints").iter_rows())


def test_calls_that_rise_on_all_endpoints_by_factors_of_their_own_are_no_candidate() -> None:
    assert surges(payday()) == []


def test_what_one_client_does_meanwhile_is_a_candidate() -> None:
    here = busiest(quiet_world(1), 4)
    mine = busier(quiet_world(1), during(HOUR) & (pl.col("route") == here), 25, who="runs-wild")
    assert [endpoints for _, endpoints in surges(pl.concat([payday(), mine]))] == [[f"GET {here}"]]


def test_what_goes_on_after_it_is_a_candidate_then() -> None:
    here = busiest(quiet_world(1))
    goes_on = busier(quiet_world(1), during(5 * HOUR) & (pl.col("route") == here), 4)
    calls = pl.concat([payday(), goes_on])
    found = surges(calls)
    assert [endpoints for _, endpoints in found] == [[f"GET {here}"]]
    raised = found[0][0]
    assert raised > FAULT + timedelta(minutes=HOUR)
    assert surges(calls, until=raised) == found
