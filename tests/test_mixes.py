"""A client whose share of client errors is what it was explains a rise of the endpoint's; one whose share rose does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl
import pytest

from apilens import schema
from apilens.detect import baseline
from apilens.detect.mixes import without_mixes
from test_detect import FAULT, START, _bins, busiest, quiet_world, rollups_of, scan, six_failures


def job(calls: pl.DataFrame, at: datetime, count: int, wrong: int) -> pl.DataFrame:
    """So many calls of one job to the busiest endpoint within half an hour, of which one in `wrong` asks for what is not there."""
    number = pl.int_range(count)
    more = pl.concat([calls.head(1)] * count).with_columns(
        start_time=pl.lit(at) + pl.duration(milliseconds=number * 1_800_000 // count),
        route=pl.lit(busiest(calls)),
        status_code=pl.when(number % wrong == 0).then(404).otherwise(200),
        consumer=pl.lit("job"),
        request_id=pl.format("j{}-{}", pl.lit(str(at)), number),
    )
    return more.select(calls.columns).cast(dict(calls.schema))


@pytest.mark.parametrize(
    ("before", "now", "news"),
    [(5, 5, False), (50, 5, True), (None, 5, True)],
    ids=["as ever", "more often wrong", "somebody new"],
)
def test_client_errors_of_a_client_that_only_calls_more_are_no_candidate(
    before: int | None, now: int, news: bool
) -> None:
    calls = quiet_world(1)
    days = (FAULT - START).days
    nights = [START + timedelta(days=day, hours=2) for day in range(days)] if before else []
    usual = [job(calls, night, 60, before or 1) for night in nights]
    found = scan(pl.concat([calls, *usual, job(calls, FAULT, 400, now)]).sort("start_time"))
    told = found.filter(pl.col("detected_at") > FAULT, pl.col("title").str.contains("404"))
    assert bool(told.height) is news


def test_nobody_explains_what_an_hour_without_more_failures_than_usual_does_not_show() -> None:
    """A window of many hours opened; in the last one a client failed once, as it does."""
    fleet, _ = baseline.fleet(rollups_of(quiet_world(1, endpoints=1, days=1)), _bins(1))
    run = replace(six_failures(), status=404, at_open=six_failures().at_open | {"expected": 0.2})

    def counted(windows: pl.DataFrame) -> pl.DataFrame:
        rows = [
            (at, code, calls)
            for at, failed, all_ in [(0, 1, 10), (1, 50, 500)]
            for code, calls in [(404, failed), (200, all_ - failed)]
        ]
        told = pl.DataFrame(rows, ["window_id", "status_code", "calls"], orient="row").with_columns(
            consumer=pl.lit("job")
        )
        return pl.concat([schema.BREAKDOWN.to_frame(), told], how="diagonal_relaxed")

    assert without_mixes([run], fleet, counted) == [run]
