"""compare, trace and trends from a log file, through the command line."""

from __future__ import annotations

import json
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from apilens import schema
from apilens.lens import Lens
from apilens.measure.compare import compare
from apilens.measure.trends import trends
from commands import apilens, ingest

START = datetime(2026, 3, 2, tzinfo=UTC)
LAYOUT = '$remote_addr - $remote_user [$time_iso8601] "$request" $status $request_time $hostname $request_id'


def write(path: Path, calls: list[tuple[datetime, str, str, int, float, str, str]]) -> None:
    """calls: start, consumer, path, status, seconds, node, request id; nginx stamps the end."""
    path.write_text(
        "".join(
            f'203.0.113.9 - {who} [{(at + timedelta(seconds=took)).isoformat(timespec="seconds")}] "GET {route} HTTP/1.1" {status} {took:.3f} {node} {request}\n'
            for at, who, route, status, took, node, request in calls
        )
    )


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five weeks: /slower takes 8 % more every week, /grows has a tenth more calls every week, /breaks fails from day 30 on."""
    folder = tmp_path_factory.mktemp("weeks")
    random = np.random.default_rng(5)
    calls = []
    for day in range(35):
        for route, rate in (("/steady", 60), ("/slower", 60), ("/grows", 60 * 1.1 ** (day / 7)), ("/breaks", 60)):
            for second in sorted(random.random(int(random.poisson(rate))) * 86_400):
                took = float(np.exp(random.normal(np.log(0.1), 0.3))) * (1.08 ** (day / 7) if route == "/slower" else 1)
                status = 500 if route == "/breaks" and day >= 30 and random.random() < 0.3 else 200
                at = START + timedelta(days=day, seconds=float(second))
                calls.append((at, "app-1", route, status, took, "gw-0", f"r{len(calls)}"))
    write(folder / "access.log", calls)
    ingest(folder / "lake", folder / "access.log", "--log-format", LAYOUT)
    return folder / "lake"


def verdicts(lake: Path, before: str, after: str) -> dict[str, str]:
    ran = apilens("compare", "--lake", lake, "--before", before, "--after", after, "--output", "ndjson")
    return {row["route"]: row["verdict"] for row in ran.rows()}


def test_only_the_endpoint_that_broke_is_worse_and_the_exit_code_says_so(lake: Path) -> None:
    windows = ("--before", "2026-03-30..2026-04-01", "--after", "2026-04-01..2026-04-03")
    ran = apilens("compare", "--lake", lake, *windows, "--fail-on", "worse", "--output", "ndjson")
    found = {row["route"]: row for row in ran.rows()}
    del found["/slower"]  # is slower in any two windows
    assert {route: row["verdict"] for route, row in found.items()} == {
        "/breaks": "worse",
        "/steady": "same",
        "/grows": "same",
    }
    assert found["/breaks"]["error_low"] < 0.3 < found["/breaks"]["error_high"]
    assert ran.code == 1
    assert apilens("compare", "--lake", lake, *windows).code == 0


def test_the_same_window_twice_is_the_same_and_turned_round_worse_is_better(lake: Path) -> None:
    assert set(verdicts(lake, "2026-03-20..2026-03-25", "2026-03-20..2026-03-25").values()) == {"same"}
    assert verdicts(lake, "2026-04-01..2026-04-06", "2026-03-27..2026-04-01")["/breaks"] == "better"


def unrest(seed: int, bins: int, factor: float = 1.0) -> pl.DataFrame:
    """Rollups of 200 endpoints and some bins of 50 calls, which are slower or faster from bin to bin (0.2), all times a factor."""
    random = np.random.default_rng(seed)
    rows = [
        (START + timedelta(minutes=5 * at), f"/e{one}", 50, 50 * level, 50 * (level**2 + 1))
        for at in range(bins)
        for one, level in enumerate(random.normal(4 + np.log(factor), 0.2, 200))
    ]
    given = pl.DataFrame(
        rows, schema=["bin_start", "route", "calls", "log_duration_sum", "log_duration_sumsq"], orient="row"
    ).with_columns(durations="calls", status_code=pl.lit(200), method=pl.lit("GET"))
    return given.select(
        pl.col(name).cast(dtype) if name in given.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )


def test_a_few_bins_tell_little_of_their_spread_and_the_interval_says_so() -> None:
    """Of 1,000 pairs of windows that are alike about 50 may lie outside their interval, and none should have a verdict."""
    outside = wrong = 0
    for seed in range(5):
        found = compare(unrest(seed, 4), unrest(seed + 100, 4))
        outside += found.filter(~pl.lit(1.0).is_between("latency_low", "latency_high")).height
        wrong += found.filter(pl.col("verdict") != "same").height
    assert outside <= 55  # 70 by the normal quantile
    assert wrong <= 5
    assert compare(unrest(1, 12), unrest(2, 12, 2.0))["verdict"].to_list().count("worse") >= 190


def test_a_single_five_minutes_is_taken_to_differ_as_those_of_the_other_window_do() -> None:
    """Of 200 endpoints that are alike about ten may lie outside their interval; taken for single calls, 30 and 25 did."""
    for before, after in ((12, 1), (1, 12)):
        found = compare(unrest(1, before), unrest(2, after))
        assert found.filter(~pl.lit(1.0).is_between("latency_low", "latency_high")).height <= 20
        assert found["verdict"].to_list().count("same") >= 199
    assert compare(unrest(1, 12), unrest(2, 1, 4.0))["verdict"].to_list().count("worse") >= 190


def test_two_windows_of_a_single_five_minutes_claim_nothing() -> None:
    found = compare(unrest(1, 1), unrest(2, 1, 4.0))
    assert set(found["verdict"]) == {"unknown"}
    assert found.select("error_low", "error_high", "latency_low", "latency_high").null_count().row(0) == (200,) * 4
    assert found["latency_factor"].null_count() == 0


def test_what_is_no_window_is_said_with_what_to_type(lake: Path) -> None:
    ran = apilens("compare", "--lake", lake, "--before", "2d", "--after", "1d..now")
    assert ran.code == 2
    assert "expected START..END" in ran.err


def test_a_window_without_calls_is_no_success_and_odd_windows_are_named(lake: Path) -> None:
    """A gate that compares with a day nobody logged must not be green."""
    day, other, nobody = "2026-03-20..2026-03-22", "2026-03-21..2026-03-23", "2025-03-20..2025-03-22"
    for before, after, said, code in (
        (nobody, day, ["no call in --before"], 4),
        (day, nobody, ["no call in --after"], 4),
        (day, other, ["the windows overlap"], 0),
        (other, "2026-03-18..2026-03-20", ["--after lies before --before"], 0),
        (day, "2026-03-22..2026-03-24", [], 0),
    ):
        ran = apilens("compare", "--lake", lake, "--before", before, "--after", after, "--fail-on", "worse")
        notes = [line for line in ran.err.splitlines() if "endpoints:" not in line]
        assert (ran.code, len(notes)) == (code, len(said)), (before, after, ran.err)
        assert all(word in note for word, note in zip(said, notes, strict=True))


def test_windows_are_cut_to_the_five_minutes_inside_them(tmp_path: Path) -> None:
    at = START + timedelta(hours=9)
    calls = [(at + timedelta(minutes=m), "app-1", "/x", 200, 0.1, "gw", f"r{m}") for m in range(30)]
    write(tmp_path / "access.log", calls)
    ingest(tmp_path / "lake", tmp_path / "access.log", "--log-format", LAYOUT)
    window = {"before": "2026-03-02T09:02..2026-03-02T09:14", "after": "2026-03-02T09:15..2026-03-02T09:29"}
    (row,) = apilens("compare", "--lake", tmp_path / "lake", "--before", window["before"], "--after", window["after"], "--output", "ndjson").rows()  # fmt: skip
    assert (row["calls_before"], row["calls_after"]) == (5, 10)
    bins = {"before": "2026-03-02T09:05..2026-03-02T09:10", "after": "2026-03-02T09:15..2026-03-02T09:20"}
    ran = apilens("compare", "--lake", tmp_path / "lake", "--before", bins["before"], "--after", bins["after"])
    assert "more than one five minutes of either window" in ran.err
    ran = apilens(
        "compare",
        "--lake",
        tmp_path / "lake",
        "--before",
        "2026-03-02T09:02..2026-03-02T09:09",
        "--after",
        window["after"],
    )
    assert (ran.code, "no whole five minutes" in ran.err) == (2, True)


def test_trends_tell_slower_from_growing_and_take_a_step_for_none(lake: Path) -> None:
    rows = apilens("trends", "--lake", lake, "--output", "ndjson").rows()
    found = {row["route"]: row for row in rows}
    assert {route: row["finding"] for route, row in found.items()} == {
        "/steady": None, "/slower": "slower", "/grows": "growing", "/breaks": None
    }  # fmt: skip
    assert found["/slower"]["latency_per_week"] == pytest.approx(0.08, abs=0.03)
    assert found["/grows"]["weeks_to_double"] == pytest.approx(7.3, rel=0.4)
    assert "slower" in apilens("trends", "--lake", lake).out
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Polars warned of comparing with nothing
        none = apilens("trends", "--lake", lake, "--since", "2100-01-01")
    assert (none.code, none.err) == (0, "no endpoint was called on ten days of this window; next: apilens endpoints\n")


def wandering(seed: int, growth: float, days: int = 60, alike: float = 0.8) -> pl.DataFrame:
    """Rollups of ten endpoints, each day of which resembles the one before, whose latency grows weekly."""
    random = np.random.default_rng(seed)
    endpoints = 10
    level = np.zeros((days, endpoints))
    for day in range(1, days):
        level[day] = alike * level[day - 1] + random.normal(0, 0.06, endpoints)
    rows = [
        (START + timedelta(days=day), f"/e{one}", 1_000, 1_000 * (4 + level[day, one] + np.log(growth) * day / 7))
        for day in range(days)
        for one in range(endpoints)
    ]
    given = pl.DataFrame(rows, schema=["bin_start", "route", "calls", "log_duration_sum"], orient="row")
    given = given.with_columns(durations="calls", status_code=pl.lit(200), method=pl.lit("GET"))
    return given.select(
        pl.col(name).cast(dtype) if name in given.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )


def test_days_that_resemble_the_day_before_are_no_trend() -> None:
    runs = [trends(wandering(seed, 1.0, days=32))["finding"].count() for seed in range(20)]
    assert sum(map(bool, runs)) <= 1  # of 20; 4 where an endpoint's days were taken for as alike as they seem
    assert sum(trends(wandering(seed, 1.0))["finding"].count() for seed in range(10)) == 0  # of 100


def test_a_trend_is_found_among_days_that_resemble_the_day_before_and_sooner_among_others() -> None:
    months = [trends(wandering(seed, 1.10))["finding"].count() for seed in range(6)]
    assert sum(months) >= 36  # of 60
    four_weeks = [trends(wandering(seed, 1.10, days=32, alike=0.0))["finding"].count() for seed in range(6)]
    assert sum(four_weeks) >= 58


def test_calls_that_name_no_consumer_are_followed_by_their_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = START + timedelta(hours=9)
    rows = [
        (at + timedelta(seconds=n), who, f"/{n}", 200, 1.0, "edge", f"q{n}")
        for n, who in enumerate(["-", "app-1", "-"])
    ]
    write(tmp_path / "access.log", rows)
    ingest(tmp_path / "lake", tmp_path / "access.log", "--log-format", LAYOUT)
    address = Lens(str(tmp_path / "lake")).sql("SELECT any_value(client_ip) FROM calls").item()
    found = apilens("trace", "--consumer", address, "--lake", tmp_path / "lake", "--output", "ndjson")
    assert [row["path"] for row in found.rows()] == ["/0", "/2"]
    assert found.err == "2 calls\n"
    monkeypatch.setattr("apilens.measure.trace.MOST", 1)
    cut = apilens("trace", "--consumer", address, "--lake", tmp_path / "lake")
    typed = f"apilens trace --consumer {address} --around 2026-03-02T09:00:00Z --lake {tmp_path}/lake --minutes 5"
    assert cut.err == f"1 call\nthe earliest ones, there may be more behind them; a shorter time: {typed}\n"


def test_a_request_is_followed_through_two_gateways_to_the_inner_failure(tmp_path: Path) -> None:
    at = START + timedelta(hours=9)
    write(
        tmp_path / "access.log",
        [
            (at, "app-1", "/edge/pay", 502, 3.0, "edge", "q1"),
            (at + timedelta(seconds=1), "app-1", "/pay", 502, 1.0, "inner", "q1"),
            (at + timedelta(seconds=9), "app-1", "/edge/pay", 200, 1.0, "edge", "q2"),
            (at + timedelta(hours=5), "app-1", "/edge/pay", 200, 1.0, "edge", "q3"),
            (at, "app-2", "/edge/pay", 200, 1.0, "edge", "q4"),
        ],
    )
    ingest(tmp_path / "lake", tmp_path / "access.log", "--log-format", LAYOUT)
    one = apilens("trace", "q1", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(row["path"], row["note"]) for row in one] == [("/edge/pay", None), ("/pay", "failed first")]
    around = ("--around", "2026-03-02T09:00Z", "--minutes", 30)
    rows = apilens("trace", "--consumer", "app-1", *around, "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(row["request_id"], row["note"]) for row in rows] == [("q1", None), ("q1", "failed first"), ("q2", "retry")]
    assert apilens("trace", "q1", "--consumer", "app-1", "--lake", tmp_path / "lake").code == 2
    assert "failed first" in apilens("trace", "q1", "--lake", tmp_path / "lake").out
    by_address = apilens("trace", "--consumer", "203.0.113.9", "--lake", tmp_path / "lake")
    assert by_address.out == ""  # each call of it names its consumer
    nothing = apilens("trace", "203.0.113.9", "--lake", tmp_path / "lake")
    assert nothing.out == "" and "no call of request id or trace id '203.0.113.9' in the lake" in nothing.err


def test_the_innermost_failed_first_whatever_is_rounded_and_no_gateway_retries_another(tmp_path: Path) -> None:
    """NGINX stamps whole seconds, the Envoy behind it does not know the consumer, the Kong behind that logs no id."""
    at = START + timedelta(hours=9)
    edge = [(at - timedelta(milliseconds=650), "app-7", "/orders/9", 504, 5.65, "edge-1", "q1"), (at + timedelta(seconds=8), "app-7", "/orders/9", 200, 0.5, "edge-1", "q2")]  # fmt: skip
    write(tmp_path / "access.log", edge)
    (tmp_path / "envoy.log").write_text(
        "".join(
            f'[{(at + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:-6]}Z] "GET /orders/9 HTTP/1.1" {status} {flag} 0 24 {took} - "10.1.0.9" "okhttp/4.9" "{id_}" "orders.svc" "10.2.0.7:80"\n'
            for ms, status, flag, took, id_ in ((80, 504, "UT", 5590, "q1"), (8100, 200, "-", 300, "q2"))
        )
    )
    (tmp_path / "kong.json").write_text(
        json.dumps(
            {
                "started_at": round(at.timestamp() * 1000) + 90,
                "latencies": {"request": 5560},
                "consumer": {"username": "app-7"},
                "request": {"method": "GET", "uri": "/orders/9"},
                "response": {"status": 500},
            }
        )
        + "\n"
    )
    ingest(tmp_path / "lake", tmp_path / "access.log", "--log-format", LAYOUT)
    ingest(tmp_path / "lake", tmp_path / "envoy.log", tmp_path / "kong.json")
    one = apilens("trace", "q1", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(row["gateway"], row["note"]) for row in one] == [
        ("nginx_log_format", None),
        ("envoy_text", "failed first"),
    ]
    assert (
        "envoy_text" in apilens("trace", "q1", "--lake", tmp_path / "lake").out
    )  # which gateway it was, where no node is logged
    rows = apilens("trace", "--consumer", "app-7", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(row["gateway"], row["note"]) for row in rows] == [
        ("nginx_log_format", None),
        ("envoy_text", "failed first"),
        ("kong_json", None),
        ("nginx_log_format", "retry"),
        ("envoy_text", "retry"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("trace", "--consumer", "app-1", "--around", "0001-01-01"),
        ("trace", "--consumer", "app-1", "--around", "9999-12-31T23:59Z"),
        ("scan", "--now", "0001-01-02"),
        ("trends", "--since", "999999999w"),
        ("mark", "deploy", "0001-01-01"),
        ("mute", "--signal", "errors", "--until", "9999999d"),
    ],
)
def test_a_moment_beyond_every_log_is_wrong_usage(arguments: tuple[str, ...], lake: Path) -> None:
    ran = apilens(*arguments, "--lake", lake)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert "expected" in ran.err
