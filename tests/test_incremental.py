"""A scan that remembers finds what a scan from nothing finds, whatever happened to the lake or to what is remembered."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy.special import betainc

from apilens import histogram, schema
from apilens.config import Detect
from apilens.detect import (
    DETECTORS,
    MAY_OPEN,
    ahead,
    anomalies,
    baseline,
    latency,
    latency_bounds,
    memory,
    traffic_forecast,
)
from apilens.detect import judged as judged_by_all
from apilens.detect.bins import HOUR, Bools
from apilens.detect.latency_load import Totals, without_busy_bins
from apilens.detect.runs import runs_of
from apilens.detect.settings import anyway, sensitised
from apilens.lake import DECIDED
from apilens.pipeline.incidents import LOOK_BACK, past_of
from apilens.store import open_store
from commands import Ran, apilens, ingest

START = datetime(2026, 3, 2, 7, tzinfo=UTC)
BIN = timedelta(minutes=5)
ENDPOINTS, DAYS = 6, 11
BINS = DAYS * 288


@cache
def world(seed: int, endpoints: int = ENDPOINTS, days: int = DAYS) -> pl.DataFrame:
    """schema.ROLLUPS of endpoints that every now and then, for minutes to days, are somewhat or much slower, busier, quieter or worse."""
    random, end = np.random.default_rng(seed), days * 288
    bins = np.arange(end)
    parts = []
    for endpoint in range(endpoints):
        rate = np.full(end, float(np.exp(random.uniform(-1, 3.5)))) * (1 + 0.5 * np.sin(bins / 288 * 2 * np.pi))
        slower, failing, slow_share = np.zeros(end), np.full(end, 0.004), np.full(end, 0.01)
        for kind in random.integers(0, 4, days // 2):
            first = int(random.integers(2 * 288, end))
            during = slice(first, first + int(np.exp(random.uniform(1, 6.5))))
            if kind == 0:
                slower[during] += random.uniform(0.15, 1.2)
            elif kind == 1:
                slow_share[during] = random.uniform(0.08, 0.15)
            elif kind == 2:
                rate[during] *= random.choice([0.0, 0.3, 0.6, 1.7, 2.5, 4.0])
            else:
                failing[during] = random.uniform(0.05, 0.6)
        calls = random.poisson(rate)
        failed = random.binomial(calls, failing)
        for status, n in ((200, calls - failed), (500, failed)):
            at = np.flatnonzero(n)
            log = random.normal(3 + endpoint % 5 + slower[at], 0.6 / np.sqrt(n[at]))
            slow = random.binomial(n[at], slow_share[at])
            bucket = [histogram.bucket(pl.lit(pl.Series(np.exp(log + more)))) for more in (0.0, 1.5)]
            minute = random.integers(0, 5, len(at))
            parts.append(
                pl.select(
                    bin_start=pl.lit(START) + pl.lit(pl.Series(at)) * BIN,
                    environment=pl.lit("default"),
                    service=pl.lit("even" if endpoint % 2 == 0 else None, pl.String),
                    method=pl.lit("GET"),
                    route=pl.lit(f"/v1/things{endpoint}/{{id}}"),
                    status_code=pl.lit(status),
                    calls=pl.lit(pl.Series(n[at])),
                    minute_calls=pl.concat_list(
                        [
                            pl.lit(pl.Series(np.where(n[at] >= 3, n[at] // 5 + 1, n[at] * (minute == i))))
                            for i in range(5)
                        ]
                    ),
                    durations=pl.lit(pl.Series(n[at])),
                    log_duration_sum=pl.lit(pl.Series(n[at] * log + 1.5 * slow)),
                    log_duration_sumsq=pl.lit(pl.Series(n[at] * (log**2 + 0.36) + slow * (3 * log + 2.25))),
                    bucket=pl.concat_list(bucket),
                    bucket_calls=pl.concat_list([pl.lit(pl.Series(k)).cast(pl.Int32) for k in (n[at] - slow, slow)]),
                )
            )
    made = pl.concat(parts)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.ROLLUPS.items() if name not in made.columns]
    return made.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in schema.ROLLUPS.items())


def runs(
    rollups: pl.DataFrame, now: datetime, remembered: memory.Memory | None = None, settings: Detect | None = None
) -> list[dict[str, object]]:
    """What incidents are made of, as find_candidates makes it."""
    remembered, settings = remembered or memory.Memory(), settings or Detect()
    rollups = rollups.filter(pl.col("bin_start") < now)
    span, before = bins_of(rollups), remembered.of("x")
    endpoints = baseline.numbered(rollups.select(schema.ENDPOINT).unique())
    rows = baseline.narrow(rollups.lazy(), endpoints, span[0])
    bins, least = memory.digests(endpoints, rows, span[1] - span[0]), anyway(settings, anomalies.OPEN_LOG10_P)
    since = memory.first_new(before, span[0], bins, least)
    fleet = baseline.together(endpoints, rows, span, 0, None if before is None else before.movements, since)
    abnormal, known = judged_by_all(fleet, rows, behind(fleet), before, bins, least)
    remembered.learn("x", known)
    return told(sensitised(abnormal, fleet.endpoints, settings, anomalies.OPEN_LOG10_P))


def runs_of_all(rollups: pl.DataFrame, now: datetime, settings: Detect) -> list[dict[str, object]]:
    """The same with every rule asked about every endpoint."""
    fleet, rows = fleet_of(rollups.filter(pl.col("bin_start") < now))
    found = [
        detect(series, fleet) for series in baseline.chunks(fleet, rows, behind(fleet)) for detect in DETECTORS.values()
    ]
    return told(sensitised(pl.concat(found), fleet.endpoints, settings, anomalies.OPEN_LOG10_P))


def told(abnormal: pl.DataFrame) -> list[dict[str, object]]:
    found = [{name: getattr(run, name) for name in run.__slots__} for run in runs_of(abnormal)]
    return [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in run.items()}
        for run in found
    ]


def fleet_of(rollups: pl.DataFrame) -> tuple[baseline.Fleet, pl.DataFrame]:
    return baseline.fleet(rollups, bins_of(rollups))


def bins_of(rollups: pl.DataFrame) -> tuple[int, int]:
    last = rollups.select((pl.col("bin_start").dt.epoch("s") // 300).max()).item()
    return int(START.timestamp()) // 300, last + 1


def behind(fleet: baseline.Fleet) -> dict[int, str]:
    """Upstreams by endpoint: each service has one."""
    return dict(fleet.endpoints.drop_nulls("service").select("endpoint", "service").iter_rows())


def until(rollups: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return rollups.filter(pl.col("bin_start") < now)


def judged(rollups: pl.DataFrame) -> tuple[baseline.Fleet, baseline.Series]:
    fleet, rows = fleet_of(rollups)
    return fleet, next(iter(baseline.chunks(fleet, rows, behind(fleet))))


def cut(fleet: baseline.Fleet, series: baseline.Series, bins: int) -> tuple[baseline.Fleet, baseline.Series]:
    """The same as of the end of so many bins: of all this, nothing knows what comes later."""
    growth = {width: factor[:, :bins] for width, factor in fleet.growth.items()}
    names = ("calls", "beside", "siblings", "timed", "log_sum", "log_sumsq")
    tables = {name: getattr(series, name).filter(pl.col("bin") < bins) for name in ("codes", "buckets")}
    return (
        replace(fleet, bins=bins, load=fleet.load[:bins], growth=growth, many=fleet.many[:bins]),
        replace(series, **{name: getattr(series, name)[:, :bins] for name in names}, **tables),
    )


@pytest.mark.parametrize("sensitivity", ["normal", "high"])
@pytest.mark.parametrize("detector", ["errors", "latency", "traffic"])
def test_what_opens_was_named_as_what_may_open(detector: str, sensitivity: Literal["normal", "high"]) -> None:
    """For the bins in which an endpoint has a window that hardly opens by the rule or at a sensitivity: asked then, it is named."""
    fleet, series = judged(world(9, 20, 25))  # longer than what is looked back on
    found = DETECTORS[detector](series, fleet)
    least = anyway(Detect(sensitivity=sensitivity), anomalies.OPEN_LOG10_P)
    could = found.filter(pl.col("opens") | (pl.col("log10_p") <= least))
    hardly = could.sort("log10_p", descending=True).head(50)
    assert hardly.height == 50
    named = 0
    for endpoint, bin_ in hardly.select("endpoint", "bin").iter_rows():
        then, known = cut(fleet, series, bin_ + 1)
        asked = MAY_OPEN[detector](known, then, bin_, least)
        assert asked[endpoint], (endpoint, bin_)
        named += int(asked.sum())
    assert named < 0.6 * 20 * 50, "a rule that names everything names nothing"


@pytest.mark.parametrize("sensitivity", ["normal", "high"])
def test_a_scan_from_nothing_finds_what_every_rule_finds_everywhere(sensitivity: Literal["normal", "high"]) -> None:
    given, rollups = Detect(sensitivity=sensitivity), world(4, 12, 9)
    asked = []
    fleet, series = judged(rollups)
    for may_open in MAY_OPEN.values():
        asked.append(may_open(series, fleet, 0, anyway(given, anomalies.OPEN_LOG10_P)))
    assert 0 < np.sum(asked) < np.size(asked), "all or nobody named shows nothing"
    assert runs(rollups, START + 9 * 288 * BIN, settings=given) == runs_of_all(rollups, START + 9 * 288 * BIN, given)


@settings(max_examples=150, deadline=None)
@given(
    direction=st.sampled_from([1, -1]),
    mean=st.floats(10, 1e4),
    off=st.floats(0, 5),
    days=st.integers(2, 7),
    spread=st.floats(0.005, 0.3),
    further=st.floats(1, 3),
    wider=st.floats(1, 20),
    width=st.sampled_from([3, 6, 12, 48]),
)
def test_a_chance_by_the_least_expectation_and_spread_is_the_least(
    direction: Literal[1, -1],
    mean: float,
    off: float,
    days: int,
    spread: float,
    further: float,
    wider: float,
    width: int,
) -> None:
    """Where a window opens by what its rule expects, it would by the lowest (highest) that this can be and the least spread too."""
    kept = (width - 2) / width if direction == 1 else 1.0
    k = np.array([mean * kept * (1 + off) if direction == 1 else mean / (1 + off)])

    def chance(expected: float, spread: float) -> float:
        variance = (1 + 1 / days) * expected + spread * expected**2
        var = kept**2 * variance + (kept - kept**2) * expected
        return float(traffic_forecast.log10_chance(k, np.array([kept * expected]), np.array([var]), direction)[0])

    rule = chance(mean * further**direction, spread * wider)
    assert rule > traffic_forecast.EACH_LOG10_P or chance(mean, spread) <= rule + anomalies.SLACK
    over, calls = latency.MIN_OVER, np.ceil(k * further)

    def slow(expected: float, over: float) -> float:
        shape = expected / over
        return float(anomalies.log10_tail(betainc(calls, shape, expected / (expected + shape)))[0])

    slower = slow(mean * further, over * wider)
    assert slower > latency.CLEAR_LOG10_P or slow(mean, over) <= slower + anomalies.SLACK


@pytest.mark.parametrize("sensitivity", ["normal", "high"])
@pytest.mark.parametrize("detector", ["latency", "traffic"])
def test_what_opens_was_named_by_what_was_known_up_to_an_hour_before(
    detector: str, sensitivity: Literal["normal", "high"]
) -> None:
    """As above, from what was known then and the last day; calls may have come in late since."""
    fleet, rows = fleet_of(world(9, 20, 25))
    (series,) = baseline.chunks(fleet, rows, behind(fleet))
    least = anyway(Detect(sensitivity=sensitivity), anomalies.OPEN_LOG10_P)
    could = DETECTORS[detector](series, fleet).filter(pl.col("opens") | (pl.col("log10_p") <= least))
    # Of each size of windows those that hardly open.
    hardly = (
        could.sort("log10_p", descending=True).group_by((pl.col("bin") - pl.col("start_bin")).alias("size")).head(12)
    )
    named = asked = 0
    for at, (endpoint, bin_) in enumerate(hardly.sort("endpoint", "bin").select("endpoint", "bin").iter_rows()):
        made_at = bin_ + ahead.LATE - at % ahead.REACH
        if (made_at + fleet.first_bin) // 288 != (bin_ + fleet.first_bin) // 288:
            made_at = bin_
        before, past = cut(fleet, series, made_at)
        # Of the bins that may change nothing was there yet.
        for name in ("calls", "timed", "log_sum", "log_sumsq"):
            late = getattr(past, name).copy()
            late[:, -ahead.LATE :] = 0.0
            past = replace(past, **{name: late})
        parts: list[pl.DataFrame] = []
        list(ahead.made_of([past], before, parts))
        now, _ = cut(fleet, series, bin_ + 1)
        known = rows.filter(pl.col("bin") <= bin_)
        assert ahead.holds(parts[0], now, bin_)
        mine = ahead.named(parts[0], now, known, bin_, least)[detector]
        assert endpoint in mine, (endpoint, bin_)
        named += len(mine)
        asked += 20
    assert asked >= 20 * 30 and named < 0.7 * asked, "a rule that names everything names nothing"


@pytest.mark.parametrize("made_at", [20 * 288 + 3, 21 * 288 + 190, 23 * 288 + 60])
def test_what_is_known_beforehand_bounds_what_a_series_of_weeks_says(
    made_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bin by bin, and the calls of the last day that are no bursts, and slow, are the same."""
    rollups = world(9, 20, 25)
    crowd = rollups.filter(pl.col("bin_start").is_between(START + (made_at - 90) * BIN, START + (made_at - 88) * BIN))
    fleet, rows = fleet_of(pl.concat([rollups, *[crowd] * 4]))
    (series,) = baseline.chunks(fleet, rows, behind(fleet))
    before, past = cut(fleet, series, made_at)
    parts: list[pl.DataFrame] = []
    list(ahead.made_of([past], before, parts))
    since, bins = made_at - ahead.LATE, made_at + 12
    now, whole = cut(fleet, series, bins)
    told: list[Any] = []

    def seen(*given: Any) -> Bools:
        told.extend(given)
        return np.zeros(20, dtype=bool)

    monkeypatch.setattr(latency_bounds, "_slower_than", seen)
    ahead.named(parts[0], now, rows.filter(pl.col("bin") < bins), since, -math.inf)
    bound_of, piece, _, slow = told[:4]
    bare = without_busy_bins(whole)
    exact_slow = latency.count_slow(bare, now, latency.slow_limits(bare, now))
    assert (bare.timed[:, -288:] < whole.timed[:, -288:]).any(), "no bursts, nothing shown"
    compared = [(piece.timed, bare.timed, 288 + 12), (piece.log_sum, bare.log_sum, 288 + 12)]
    for mine, exact in zip(slow, exact_slow, strict=True):
        compared += [(mine.calls, exact.calls, 48 + 12), (mine.among, exact.among, 48 + 12)]
    assert len(compared) == 2 + 2 * len(latency.TAILS)
    for had, exact, last in compared:
        assert exact[:, -last:].any() and had[:, -last:].tolist() == exact[:, -last:].tolist()
    totals = Totals(bare, now)
    for width in (*dict(latency.SHIFT_WINDOWS), latency.DRIFT_WINDOW):
        week, bound = latency_bounds._week_before(totals, exact_slow, width, since), bound_of(width)
        assert week.enough.any()
        for name in ("mean", "variance", "slope", "offset"):
            assert (getattr(bound, name) <= getattr(week, name) + 1e-9).all(), (name, width)
        for name in ("mean_of_bins", "n", "enough"):
            assert (getattr(bound, name) >= getattr(week, name) - 1e-9).all(), (name, width)
        for (share, enough), (least, may) in zip(week.tails, bound.tails, strict=True):
            assert (least <= share + 1e-9).all() and (may >= enough).all(), width


def test_of_an_endpoint_that_is_new_nothing_is_known_beforehand() -> None:
    rollups = world(1)
    fleet, rows = fleet_of(until(rollups, START + 2_000 * BIN))
    parts: list[pl.DataFrame] = []
    list(ahead.made_of(baseline.chunks(fleet, rows), fleet, parts))
    born = rollups.filter(pl.col("bin_start") == START + 2_000 * BIN).with_columns(route=pl.lit("/a"))
    later, rows = fleet_of(pl.concat([until(rollups, START + 2_001 * BIN), born]))
    numbers = ahead.named(parts[0], later, rows, 2_000, -math.inf)
    mine = later.endpoints.filter(pl.col("route") == "/a")["endpoint"].to_list()
    assert mine and all(set(mine) <= set(of.tolist()) for of in numbers.values())


def test_an_outlook_ends_where_something_before_it_changes_and_with_its_hour() -> None:
    rollups = world(1)
    fleet, rows = fleet_of(until(rollups, START + 2_000 * BIN))
    parts: list[pl.DataFrame] = []
    list(ahead.made_of(baseline.chunks(fleet, rows), fleet, parts))
    outlook = pl.concat(parts)

    def later(bins: int) -> baseline.Fleet:
        return fleet_of(until(rollups, START + bins * BIN))[0]

    assert not ahead.holds(ahead.OUTLOOK.to_frame(), fleet, 2_000)
    assert ahead.holds(outlook, later(2_001), 2_000) and ahead.holds(outlook, later(2_012), 2_011)
    assert ahead.holds(outlook, later(2_001), 2_000 - ahead.LATE)
    assert not ahead.holds(outlook, later(2_001), 1_999 - ahead.LATE)
    assert not ahead.holds(outlook, later(2_013), 2_012)


def test_what_may_open_sees_the_bursts_as_a_scan_of_all_does() -> None:
    """A job of each noon is no burst to who knows the week before; slow calls are told by a week, of each day of another."""
    bins = np.arange(25 * 288)
    calls = np.where(bins % 288 // 6 == 24, 3000.0, 10.0)[None, :]
    nothing = pl.DataFrame(schema={"row": pl.Int64, "bin": pl.Int64, "bucket": pl.Int64, "calls": pl.Int64})
    series = baseline.Series(
        0, calls, calls, 0 * calls, np.zeros(1, np.int64), calls, 3 * calls, 9 * calls, nothing, nothing
    )
    since = len(bins) - 1
    first, oldest = since - latency_bounds.REACH, since - latency.SHIFT_WINDOWS[-1][0] - HOUR - 15 * 288
    late, whole = (without_busy_bins(each).timed for each in (series.since(first), series))
    assert whole[0, oldest:].tolist() == late[0, oldest - first :].tolist()


def test_what_is_known_of_the_fleets_traffic_is_what_is_told_anew() -> None:
    rollups = world(9, 20, 25)
    campaign = rollups.filter(pl.col("bin_start").is_between(START + 20.3 * 288 * BIN, START + 20.4 * 288 * BIN))
    rollups = pl.concat([rollups, campaign, campaign])
    fleet, rows = fleet_of(rollups)
    told = fleet.movements
    assert fleet.risen.any() and not np.isnan(fleet.growth[48]).all()
    for since in (1, 9 * 288 + 7, int(20.35 * 288), fleet.bins - 1, fleet.bins):
        known = told.with_columns(pl.when(pl.int_range(pl.len()) < since).then(pl.all()).otherwise(-7.0))
        again = baseline.together(fleet.endpoints, rows, bins_of(rollups), 0, known, since)
        assert again.movements.equals(told), since


WINDOWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 3)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(rounds=st.lists(WINDOWS, min_size=1, max_size=4), until=st.integers(0, 9), most=st.sampled_from([4, 500_000]))
def test_what_the_log_said_is_asked_once(rounds: list[list[tuple[int, int, int]]], until: int, most: int) -> None:
    """Windows of three endpoints, some asked twice; each minute has a call of each of its consumers, but the third endpoint has none."""
    asked: list[tuple[object, ...]] = []

    def log(windows: pl.DataFrame) -> pl.DataFrame:
        asked.extend(windows.select("route", "start", "end").rows())
        of_each = [
            {"window_id": window, "status_code": 200, "consumer": f"{route}{minute}", "calls": minute + 1}
            for window, route, start, end in windows.select("window_id", "route", "start", "end").iter_rows()
            for minute in range(int((start - START).seconds / 60), int((end - START).seconds / 60))
            if route != "/2"
        ]
        return pl.DataFrame(of_each, schema=schema.BREAKDOWN)

    def windows(spans: list[tuple[int, int, int]]) -> pl.DataFrame:
        minute = timedelta(minutes=1)
        rows = [
            (10 + at, "x", None, "GET", f"/{route}", START + first * minute, START + (first + size) * minute)
            for at, (route, first, size) in enumerate(spans)
        ]
        return pl.DataFrame(rows, schema=schema.BREAKDOWN_WINDOWS, orient="row")

    def ordered(found: pl.DataFrame) -> pl.DataFrame:
        return found.sort("window_id", "consumer")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_MOST_ANSWERS", most)
        answers = memory.Answers(log)
        for spans in rounds:
            assert ordered(answers(windows(spans))).equals(ordered(log(windows(spans))))
        kept, said = answers.asked()
        assert said.height <= most
        nothing = pl.DataFrame()
        known = memory.Known(0, 0.0, np.zeros(0, np.int64), nothing, nothing, kept, said)
        later = memory.Answers(log, known, START + timedelta(minutes=until))
        asked.clear()
        whole = windows([span for spans in rounds for span in spans])
        found = later(whole)
        anew = list(asked)
        assert ordered(found).equals(ordered(log(whole)))
    assert len(set(anew)) == len(anew)
    if most > 4:
        assert all(end > START + timedelta(minutes=until) for _, _, end in anew)  # type: ignore[operator]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 30)),
        st.tuples(st.just("late"), st.integers(1, 900)),
        st.tuples(st.just("forgotten"), st.integers(1, 900)),
        st.tuples(st.just("reordered"), st.integers(0, 9)),
        st.tuples(st.just("another endpoint"), st.integers(0, ENDPOINTS - 1)),
        st.tuples(st.just("sensitivity"), st.integers(0, 2)),
        st.tuples(st.just("damaged"), st.integers(0, 10_000)),
        st.tuples(st.just("earlier"), st.integers(1, 200)),
    ),
    min_size=2,
    max_size=4,
)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(1, 3), begin=st.integers(8 * 288, BINS - 160), steps=STEPS)
@example(
    seed=1,
    begin=9 * 288,
    steps=[("wait", 1), ("wait", 1), ("late", 700), ("wait", 2), ("damaged", 50), ("earlier", 100), ("wait", 3)],
)
@example(
    seed=2,
    begin=9 * 288 + 77,
    steps=[("wait", 12), ("another endpoint", 3), ("sensitivity", 2), ("wait", 1), ("reordered", 1), ("forgotten", 2)],
)
def test_a_scan_that_remembers_finds_what_one_from_nothing_finds(
    seed: int, begin: int, steps: list[tuple[str, int]]
) -> None:
    rollups, now, given = world(seed), START + begin * BIN, Detect()
    kept, seen = b"", memory.Memory()
    runs(rollups, now, seen)
    for step, n in [*steps, ("wait", 1)]:
        kept = seen.to_bytes()
        when = now
        if step == "wait":
            when = now = now + n * BIN
        elif step == "earlier":
            when = now - n * BIN
        elif step == "late":  # ten minutes of a node
            more = pl.col("bin_start").is_between(now - n * BIN, now - (n - 1) * BIN)
            rollups = pl.concat([rollups, rollups.filter(more)])
        elif step == "forgotten":
            rollups = rollups.filter(~pl.col("bin_start").is_between(now - (n + 20) * BIN, now - n * BIN))
        elif step == "reordered":
            rollups = rollups.sample(fraction=1.0, shuffle=True, seed=n)
        elif step == "another endpoint":  # that comes first in the fleet
            born = rollups.filter((pl.col("bin_start") > now - 9 * BIN) & pl.col("route").str.contains(f"things{n}/"))
            rollups = pl.concat([rollups, born.with_columns(route=pl.lit("/a"), service=pl.lit("a"))])
        elif step == "sensitivity":
            given = Detect(sensitivity=("low", "normal", "high")[n])
        else:
            kept = kept[: n % len(kept)] + bytes([kept[n % len(kept)] ^ 1]) + kept[n % len(kept) + 1 :]
        seen = memory.Memory(kept)
        assert runs(rollups, when, seen, given) == runs(rollups, when, settings=given)


ROWS = st.lists(
    st.tuples(st.integers(0, 900), st.sampled_from([1, 3, 12, 48, 288]), st.booleans()), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(1, 250), min_size=1, max_size=5))
@example(rows=[(100, 3, True), (110, 12, False), (400, 288, False)], cuts=[105, 10, 20])
@example(rows=[(100, 3, True), (387, 288, False)], cuts=[105, 150, 160])
def test_a_problem_goes_on_though_nothing_new_opens(rows: list[tuple[int, int, bool]], cuts: list[int]) -> None:
    """A rule that names exactly what opens, on one endpoint: its windows (last bin, width, whether they open) are known as they end."""
    table = pl.DataFrame(
        [(bin_, max(bin_ - width + 1, 0), opens, -8.0 if opens else -3.0) for bin_, width, opens in rows],
        schema={"bin": pl.Int64, "start_bin": pl.Int64, "opens": pl.Boolean, "log10_p": pl.Float64},
        orient="row",
    ).unique("bin", keep="first", maintain_order=True)
    said = {"endpoint": 0, "detector": "it", "signal": "latency", "status_code": None, "direction": 1, "unit": "ms"}
    said |= {"minutes": None}
    of = table.with_columns(pl.lit(value).alias(name) for name, value in said.items()).with_columns(
        pl.lit(1).alias(name) for name in ("observed", "expected", "n", "excess")
    )
    of = of.select(pl.col(name).cast(dtype) for name, dtype in anomalies.ANOMALIES.items())

    def detect(series: baseline.Series, fleet: baseline.Fleet) -> pl.DataFrame:
        return of.filter(pl.lit(len(series.born) == 1) & (pl.col("bin") < fleet.bins))

    def may_open(series: baseline.Series, fleet: baseline.Fleet, since: int, _: float) -> Bools:
        return np.array([detect(series, fleet).filter(pl.col("opens"))["bin"].max() or 0]) >= since  # type: ignore[operator]

    known, bins = None, 0
    for more in cuts:
        bins += more
        fleet = baseline.Fleet(
            pl.DataFrame({"endpoint": [0], "environment": "x", "service": None, "method": "GET", "route": "/a"}),
            0, bins, np.ones(bins), {}, np.zeros(bins, bool), np.zeros(bins), 0, {},
        )  # fmt: skip
        nothing = np.zeros((1, bins))
        empty = pl.DataFrame(schema={"row": pl.Int64, "bin": pl.Int64})
        series = baseline.Series(
            0, nothing, nothing, nothing, np.zeros(1, np.int64), nothing, nothing, nothing, empty, empty
        )
        seen = np.arange(1, bins + 1)
        found, known = memory.judge([series], fleet, {"it": detect}, {"it": may_open}, known, seen)
        assert told(found) == told(detect(series, fleet))


def test_five_minutes_later_few_endpoints_are_judged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, int] = dict.fromkeys(MAY_OPEN, 0)

    def counted(name: str, detect: memory.Detector) -> memory.Detector:
        def count(series: baseline.Series, fleet: baseline.Fleet) -> pl.DataFrame:
            asked[name] += len(series.born)
            return detect(series, fleet)

        return count

    for name in MAY_OPEN:
        monkeypatch.setitem(DETECTORS, name, counted(name, DETECTORS[name]))
    rollups, now, seen = world(1), START + 10 * 288 * BIN, memory.Memory()
    runs(rollups, now, seen)
    at_first = sum(asked.values())
    asked.update(dict.fromkeys(asked, 0))
    runs(rollups, now + BIN, seen)
    assert sum(asked.values()) < at_first


def test_what_other_rules_decided_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, now = memory.Memory(), START + 3 * 288 * BIN
    runs(world(1), now, seen)
    kept = seen.to_bytes()
    assert memory.Memory(kept).of("x") is not None
    monkeypatch.setattr(memory, "_rules", lambda: b"another text of the rules")
    assert memory.Memory(kept).of("x") is None


# -- with a lake ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days of two endpoints; /pay is slow for two hours at their end."""
    folder = tmp_path_factory.mktemp("remembers")
    random = np.random.default_rng(4)
    seconds = np.sort(random.random(9_000)) * 5 * 86_400
    slow = np.where(seconds > 4.9 * 86_400, 2.0, 0.0)
    took = np.exp(random.normal(-2 + slow, 0.4))
    (folder / "access.log").write_text(
        "".join(
            f'203.0.113.9 - - [{START + timedelta(seconds=int(at)):%d/%b/%Y:%H:%M:%S +0000}] "GET /pay HTTP/1.1" 200 9 "-" "x/1" {s:.3f}\n'
            for at, s in zip(seconds, took, strict=True)
        )
    )
    layout = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time'
    ingest(folder / "lake", folder / "access.log", "--log-format", layout)
    return folder / "lake"


def scanned(lake: Path, tmp_path: Path) -> Ran:
    ran = apilens("scan", "--lake", lake, "--state", f"sqlite:///{tmp_path}/state.db", "--output", "ndjson")
    assert ran.code == 0, ran.err
    return ran


def test_what_is_remembered_may_be_deleted_cut_and_changed(lake: Path, tmp_path: Path) -> None:
    first = scanned(lake, tmp_path)
    file = lake / "_apilens" / DECIDED
    whole = file.read_bytes()
    assert first.rows() and "unchanged" in scanned(lake, tmp_path).err
    for damaged in (whole[:-7], whole[:40] + b"?" + whole[41:]):
        file.write_bytes(damaged)
        assert scanned(lake, tmp_path).rows() == first.rows()
        assert file.read_bytes() == whole
    file.unlink()
    file.mkdir()  # it can be neither read nor written
    assert scanned(lake, tmp_path).rows() == first.rows()
    file.rmdir()


def test_a_scan_killed_while_it_writes_what_it_remembers_costs_nothing_but_time(lake: Path, tmp_path: Path) -> None:
    first = scanned(lake, tmp_path)
    file = lake / "_apilens" / DECIDED
    file.write_bytes(b"of another version")
    program = (
        "import os, pathlib, signal, sys; from apilens.cli import run\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(sys.argv[1:])"
    )
    arguments = ["scan", "--lake", str(lake), "--state", f"sqlite:///{tmp_path}/state.db"]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], env=dict(os.environ), capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert file.read_bytes() == b"of another version"
    assert scanned(lake, tmp_path).rows() == first.rows()


def test_a_log_read_anew_and_a_forgotten_consumer_are_not_remembered_as_they_were(tmp_path: Path) -> None:
    """The same calls, minute by minute, of consumers that are named by another field of the line."""
    random, log, lake = np.random.default_rng(4), tmp_path / "access.log", tmp_path / "lake"
    failing = [
        (minute, 500 if minute > 4_300 else 200) for minute in sorted(random.choice(4_320, 3_000, replace=False))
    ]
    log.write_text(
        "".join(
            f'203.0.113.9 - one [{START + timedelta(minutes=int(minute)):%d/%b/%Y:%H:%M:%S +0000}] "GET /pay HTTP/1.1" {status} 9 "two"\n'
            for minute, status in failing
        )
    )
    fields = '$remote_addr - {} [$time_local] "$request" $status $body_bytes_sent "{}"'
    ingest(lake, log, "--log-format", fields.format("$remote_user", "$http_referer"))
    assert [row["affected_consumers"] for row in scanned(lake, tmp_path).rows()] == [["one"]]
    ingest(lake, log, "--replace", "--log-format", fields.format("$http_referer", "$remote_user"))
    assert [row["affected_consumers"] for row in scanned(lake, tmp_path).rows()] == [["two"]]
    assert apilens("lake", "forget", "--lake", lake, "--consumer", "two").code == 0
    assert (lake / "_apilens" / DECIDED).read_bytes() == b""


def test_the_past_begins_at_the_same_moment_for_a_week() -> None:
    """Or every scan would begin elsewhere, and nothing that was decided would hold."""
    moments = [past_of(START + hours * timedelta(hours=1)) for hours in range(0, 24 * 20, 5)]
    assert len(set(moments)) <= 4
    assert all(
        LOOK_BACK <= START + timedelta(hours=5 * n) - at < LOOK_BACK + timedelta(days=7) for n, at in enumerate(moments)
    )


def test_what_was_judged_stays_when_the_past_moves_on_and_its_edge_is_no_launch(tmp_path: Path) -> None:
    """Scans of days 60, 66 and 84, whose pasts begin on other days: a fault in the days between keeps its candidate, and an
    endpoint that failed a third of its calls then is not taken for one that was launched so."""
    random, log, lake = np.random.default_rng(5), tmp_path / "access.log", tmp_path / "lake"
    minutes = np.sort(random.choice(84 * 1440, 84 * 24 * 20, replace=False))
    pay = np.where((minutes // 1440 < 30) & (random.random(len(minutes)) < 0.3), 500, 200)
    orders = np.where((minutes // 1440 == 19) & (minutes % 1440 < 300), 500, 200)
    log.write_text(
        "".join(
            f'203.0.113.9 - one [{START + timedelta(minutes=int(minute)):%d/%b/%Y:%H:%M:%S +0000}] "GET /{path} HTTP/1.1" {status} 9 "-" "app"\n'
            for minute, failing, broken in zip(minutes.tolist(), pay.tolist(), orders.tolist(), strict=True)
            for path, status in (("pay", failing), ("orders", broken), ("carts", 200), ("users", 200), ("items", 200))
        )
    )
    ingest(lake, log)
    state = f"sqlite:///{tmp_path}/state.db"
    found = []
    for day in (60, 66, 84):
        ran = apilens(
            "scan", "--lake", lake, "--state", state, "--now", f"{START + timedelta(days=day):%Y-%m-%dT%H:%MZ}"
        )
        assert ran.code == 0, ran.err
        with open_store(state) as store:
            found.append(store.candidates().select("id", "start").sort("start"))
    assert [at.date() for at in found[0]["start"]] == [START.date(), (START + timedelta(days=19)).date()]
    assert found[1].rows() == found[0].rows() and found[2].rows() == found[0].rows()
