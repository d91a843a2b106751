"""What a fleet without faults shows now and then, and how much more than that is a problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from apilens import schema
from apilens.detect import DETECTORS, baseline
from apilens.detect.baseline import Fleet, Series
from apilens.detect.bins import DAY
from test_detect import START

FIRST = int(START.timestamp()) // schema.BIN_S


def seen(rows: pl.DataFrame, days: int) -> tuple[Fleet, Series]:
    """The fleet and the only chunk of rows (route, bin since START, status_code, calls; buckets with `bucket`), all calls in the first minute."""
    start = pl.from_epoch(pl.col("bin") * schema.BIN_S + int(START.timestamp())).dt.replace_time_zone("UTC")
    made = rows.with_columns(bin_start=start, minute_calls=pl.concat_list("calls", *[pl.lit(0)] * 4))
    rollups = made.select(
        (pl.col(name) if name in made.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )
    fleet, parts = baseline.fleet(rollups, (FIRST, FIRST + days * DAY))
    (series,) = baseline.chunks(fleet, parts)
    return fleet, series


def answers(failed: np.ndarray, code: int, calls: int) -> pl.DataFrame:
    """Of one endpoint with so many calls in each bin, of which `failed` were answered with a code."""
    bins = np.arange(len(failed))
    rows = [
        pl.DataFrame({"route": "/a", "bin": bins, "status_code": status, "calls": number})
        for status, number in ((200, calls - failed), (code, failed))
    ]
    return pl.concat(rows).filter(pl.col("calls") > 0)


def test_a_code_of_one_of_many_endpoints_must_be_the_rarer() -> None:
    """Ten times as many endpoints are asked ten times as often whether something is improbable."""
    failed = np.zeros(8 * DAY, dtype=np.int64)
    failed[::40] = 1
    failed[7 * DAY + 100 : 7 * DAY + 104] = 2
    fleet, series = seen(answers(failed, 500, 40), 8)

    def opened(endpoints: int) -> pl.DataFrame:
        many = np.full(fleet.bins, np.log10(endpoints / baseline.FEW))
        found: pl.DataFrame = DETECTORS["errors"](series, replace(fleet, many=many))
        return found.filter("opens")

    few, lots = opened(baseline.FEW), opened(4_000)
    assert few.filter(pl.col("log10_p") > -7).height > 0
    assert lots["log10_p"].to_list() == few.filter(pl.col("log10_p") < -7)["log10_p"].to_list()


@pytest.mark.parametrize(("every", "lots"), [(40, False), (100, True)], ids=["fails now and then", "hardly ever fails"])
def test_the_lesser_of_two_bad_moments_of_one_of_many_endpoints_must_be_the_rarer_too(every: int, lots: bool) -> None:
    """All calls of one bin fail and more than half of the next: one hiccup is beyond all chance, and two are on some endpoint of many."""
    failed = np.zeros(8 * DAY, dtype=np.int64)
    failed[::every] = 1
    failed[7 * DAY + 100 : 7 * DAY + 102] = 5, 3
    fleet, series = seen(answers(failed, 500, 5), 8)

    def opens(endpoints: int) -> bool:
        many = np.full(fleet.bins, np.log10(endpoints / baseline.FEW) / baseline.RARER)
        return bool(DETECTORS["errors"](series, replace(fleet, many=many))["opens"].any())

    assert (opens(baseline.FEW), opens(200)) == (True, lots)


@pytest.mark.parametrize(("code", "told"), [(415, True), (500, False)])
def test_a_few_calls_of_a_day_are_news_where_a_client_makes_a_new_mistake_and_not_where_a_server_fails(
    code: int, told: bool
) -> None:
    """Eight of four thousand: one of its codes a server has not had for a week, now and then."""
    failed = np.zeros(9 * DAY, dtype=np.int64)
    failed[8 * DAY + 10 : 8 * DAY + 170 : 20] = 1
    fleet, series = seen(answers(failed, code, 25), 9)
    found = pl.concat(DETECTORS[name](series, fleet) for name in ("errors", "new_status"))
    assert (found.filter("opens").height > 0) == told


def test_a_share_near_what_an_interface_may_have_is_no_standing_fault_for_having_been_looked_at_often() -> None:
    """Failures that swing around their share reach a chance of one in a thousand in one of a thousand looks."""
    least = 0.06
    failed, calls = np.full(4 * DAY, 1), 15
    failed[::10] = 2
    share = failed.mean() / calls
    assert least < share < 1.3 * least
    peers = [answers(np.zeros_like(failed), 500, calls).with_columns(route=pl.lit(f"/b{at}")) for at in range(4)]
    fleet, series = seen(pl.concat([answers(failed, 500, calls), *peers]), 4)
    first = DETECTORS["standing"](series, fleet)["bin"].min()
    k, n = failed[: first + 1].sum(), calls * (first + 1)
    deviations = (k / n - least) / np.sqrt(least * (1 - least) / n)
    assert 3.5 < deviations < 4.2


@pytest.mark.parametrize(("busier", "told"), [(1.0, True), (1.7, False)], ids=["as ever", "busier"])
def test_slow_calls_of_which_load_explains_a_part_must_be_the_more(busier: float, told: bool) -> None:
    """An hour in which a sixth of the calls is slow. How many of them more calls make slow is known roughly."""
    random = np.random.default_rng(1)
    days = 12
    bins = np.arange(days * DAY)
    calls = np.where(random.random(len(bins)) < 0.15, int(20 * busier), 20)
    now = slice(11 * DAY + 140, 11 * DAY + 152)
    calls[now] = 20 * busier
    slow = random.binomial(calls, 0.02)
    slow[now] = calls[now] // 6
    rows = pl.concat(
        pl.DataFrame({"route": "/a", "bin": bins, "status_code": 200, "calls": number, "level": level})
        for number, level in ((calls - slow, 100), (slow, 130))
    ).filter(pl.col("calls") > 0)
    rows = rows.with_columns(
        durations="calls",
        # The mean hardly moves.
        log_duration_sum=4.0 * pl.col("calls"),
        log_duration_sumsq=17.0 * pl.col("calls"),
        bucket=pl.concat_list("level"),
        bucket_calls=pl.concat_list("calls"),
    )
    fleet, series = seen(rows, days)
    found = DETECTORS["latency"](series, fleet).filter("opens", pl.col("unit") == "ratio", pl.col("bin") >= 11 * DAY)
    assert (found.height > 0) == told


def test_five_times_as_many_endpoints_are_asked_for_more_than_five_times_the_certainty() -> None:
    """Windows of quiet fleets that are ten times less probable are not ten times rarer."""
    bins = np.arange(400)
    rows = pl.concat(
        pl.DataFrame({"route": f"/{at}", "bin": bins if at < 40 else bins[100:], "status_code": 200, "calls": 1})
        for at in range(200)
    )
    fleet, _ = seen(rows, 2)
    assert fleet.many[99] == 0
    assert 2.5 < fleet.many[100] < 2.6


@pytest.mark.parametrize(("further", "told"), [(1.1, False), (1.35, True)])
def test_what_is_hardly_slower_than_two_days_of_the_week_were_is_how_its_latency_wanders(
    further: float, told: bool
) -> None:
    """An hour of the last day, so many times as far beyond its forecast as what two days of the week let expect."""
    days, calls = 12, 40
    level = np.full(days * DAY, 4.0) + np.random.default_rng(1).normal(0, 0.4 / np.sqrt(calls), days * DAY)
    hour = np.arange(140, 152)
    for day in (7, 9):
        level[day * DAY + hour] += 0.3
    level[11 * DAY + hour] += 0.3 * (1 + 1 / 7) * baseline.HABIT_SECOND * further
    rows = pl.DataFrame({"bin": np.arange(len(level)), "level": level}).with_columns(
        route=pl.lit("/a"),
        status_code=200,
        calls=calls,
        durations=calls,
        log_duration_sum=calls * pl.col("level"),
        log_duration_sumsq=calls * (pl.col("level") ** 2 + 0.16),
        bucket=pl.concat_list(pl.lit(100)),
        bucket_calls=pl.concat_list(pl.lit(calls)),
    )
    fleet, series = seen(rows, days)
    found = DETECTORS["latency"](series, fleet).filter("opens", pl.col("bin") >= 11 * DAY)
    assert (found.height > 0) == told
