"""Which runs are one ticket: what gets slower behind one upstream, what comes back at its hour, what only happens meanwhile; and whose node it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from apilens import schema
from apilens.detect import alone, anomalies, baseline, incidents, nodes
from apilens.detect.bins import DAY, HOUR, MINUTES
from apilens.detect.breakdowns import Breakdown
from apilens.detect.runs import Profile, Run, runs_of
from test_detect import START

ENDPOINTS = 4


def fleet_and_rows(failed: dict[int, int] | None = None, bins: int = 10 * DAY) -> tuple[baseline.Fleet, pl.DataFrame]:
    """Endpoints with twenty calls in the first bin and in the last; failed: by endpoint, of those answered 502 in the first minute of the first."""
    rows = [(f"/{one}", at, 200, 20) for one in range(ENDPOINTS) for at in (0, bins - 1)]
    rows += [(f"/{one}", 0, 502, calls) for one, calls in (failed or {}).items()]
    table = pl.DataFrame(rows, schema=["route", "bin", "status_code", "calls"], orient="row").with_columns(
        bin_start=pl.from_epoch(pl.col("bin") * schema.BIN_S + int(START.timestamp())).dt.replace_time_zone("UTC"),
        minute_calls=pl.concat_list(["calls", 0, 0, 0, 0]),
    )
    table = table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.ROLLUPS.items()
    )
    first = int(START.timestamp()) // schema.BIN_S
    return baseline.fleet(table, (first, first + bins))


def run_of(
    endpoint: int, signal: str, start: int, opened: int, last: int, *, status: int | None = None, direction: int = 1
) -> Run:
    figures: dict[str, float | str] = {
        "observed": 0.2 if status else 20.0,
        "expected": 0.01 if status else 10.0,
        "unit": "ratio" if status else "ms" if signal == "latency" else "calls",
        "n": 20,
        "excess": 4.0,
        "log10_p": -9.0,
    }
    known = (opened + 1) * MINUTES
    return Run(
        endpoint=endpoint, signal=signal, status=status, direction=direction, start=start, known=known, bins=np.arange(start, last + 1),
        early={}, strong=np.array([known]), proofs=[], at_open=figures, at_peak=figures, expected=10.0,
    )  # fmt: skip


def behind(upstreams: list[str], *, before: int = 50) -> Breakdown:
    """A breakdown in which each endpoint has its upstream, 100 slow calls and 100 that failed with 503; of the same time a day before, of
    which the detector asks in each third window, so many."""

    def breakdown(windows: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for window, route in windows.select("window_id", "route").iter_rows():
            one, calls = int(route[1:]), before if window % 3 == 2 else 100
            for status in (200, 503):
                rows.append((window, status, upstreams[one], calls, calls, calls * float(np.log(20))))
        names = ["window_id", "status_code", "upstream", "calls", "timed", "log_duration_sum"]
        found = pl.DataFrame(rows, schema=names, orient="row")
        return found.select(
            (pl.col(name) if name in names else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.BREAKDOWN.items()
        )

    return breakdown


def grouped(runs: list[Run], breakdown: Breakdown) -> list[list[int]]:
    fleet, _ = fleet_and_rows()
    return [[run.endpoint for run in one.runs] for one in incidents.group(runs, fleet, breakdown)]


@pytest.mark.parametrize(
    ("upstreams", "length", "tickets"),
    [(["a"] * 4, DAY, [[0, 1]]), (["a", "b", "c", "d"], DAY, [[0], [1]]), (["a"] * 4, HOUR, [[0], [1]])],
    ids=["same upstream", "other upstream", "sudden"],
)
def test_what_gets_slower_for_days_behind_one_upstream_is_one_ticket(
    upstreams: list[str], length: int, tickets: list[list[int]]
) -> None:
    first = run_of(0, "latency", DAY, 2 * DAY, 9 * DAY)
    later = run_of(1, "latency", 5 * DAY - length, 5 * DAY, 9 * DAY)
    assert grouped([first, later], behind(upstreams)) == tickets


@pytest.mark.parametrize(("length", "tickets"), [(HOUR // 4, [[0, 1]]), (DAY, [[0], [1]])], ids=["sudden", "days"])
def test_what_gets_slower_for_days_has_no_moment_in_common(length: int, tickets: list[list[int]]) -> None:
    """Behind two upstreams, raised in the same minute."""
    runs = [run_of(one, "latency", 3 * DAY - length, 3 * DAY, 4 * DAY) for one in range(2)]
    assert grouped(runs, behind(["a", "b", "c", "d"])) == tickets


def test_what_gets_slower_for_days_is_not_of_the_hour_a_day_before_behind_its_upstream() -> None:
    runs = [
        run_of(0, "latency", 3 * DAY - 6, 3 * DAY, 3 * DAY + 3),
        run_of(1, "latency", 3 * DAY, 4 * DAY, 5 * DAY),
    ]
    assert grouped(runs, behind(["a"] * 4)) == [[0], [1]]


@pytest.mark.parametrize(
    ("machines", "tickets"),
    [
        (["abc", "abc"], [[0, 1]]),
        (["abc", "cab"], [[0, 1]]),
        (["abc", "cde"], [[0], [1]]),
        (["abc", "def"], [[0], [1]]),
    ],
)
def test_what_fails_on_the_same_machines_is_one_ticket_though_their_upstream_has_no_name(
    machines: list[str], tickets: list[list[int]]
) -> None:
    """An hour apart, behind machines that answer in turn."""

    def breakdown(windows: pl.DataFrame) -> pl.DataFrame:
        rows = [
            (window, status, f"10.0.0.{machine}:80", 40)
            for window, route in windows.select("window_id", "route").iter_rows()
            for machine in machines[int(route[1:])]
            for status in (200, 503)
        ]
        found = pl.DataFrame(rows, schema=["window_id", "status_code", "upstream", "calls"], orient="row")
        return found.select(
            (pl.col(name) if name in found.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.BREAKDOWN.items()
        )

    runs = [run_of(one, "errors", at, at + 2, at + 20, status=503) for one, at in ((0, DAY), (1, DAY + HOUR))]
    assert grouped(runs, breakdown) == tickets


@pytest.mark.parametrize(("slower", "tickets"), [((0, 1), [[0], [1]]), ((0, 1, 2), [[0, 1]]), ((0, 1, 2, 3), [[0, 1]])])
def test_days_of_slowness_are_the_upstreams_where_half_of_the_others_have_them(
    slower: tuple[int, ...], tickets: list[list[int]]
) -> None:
    """Four endpoints behind one upstream with a call a bin; the first two were raised as twice as slow, on the eleventh day and half a day later."""
    bins = 13 * DAY
    rows = pl.DataFrame({"endpoint": np.repeat(np.arange(4), bins), "bin": np.tile(np.arange(bins), 4)}).with_columns(
        status_code=200,
        durations=1,
        log_duration_sum=np.log(10)
        + pl.when((pl.col("bin") >= 10 * DAY) & pl.col("endpoint").is_in(slower)).then(np.log(2)).otherwise(0.0),
    )
    fleet, _ = fleet_and_rows(bins=bins)
    runs = [run_of(one, "latency", at - DAY, at, bins - 1) for one, at in ((0, 11 * DAY), (1, 11 * DAY + DAY // 2))]
    told = alone.apart(runs, rows, fleet, dict.fromkeys(range(4), "a"))
    # When the first was raised there was nothing to tell it from.
    assert not told[0].alone
    assert [[run.endpoint for run in one.runs] for one in incidents.group(told, fleet, behind(["a"] * 4))] == tickets


@pytest.mark.parametrize(("direction", "before"), [(-1, 200), (1, 50)], ids=["drop", "surge"])
def test_what_moves_behind_one_upstream_within_an_hour_is_one_ticket(direction: int, before: int) -> None:
    runs = [
        run_of(one, "traffic", at, at + 6, at + 20, direction=direction) for one, at in ((0, 3 * DAY), (1, 3 * DAY + 8))
    ]
    assert grouped(runs, behind(["a"] * 4, before=before)) == [[0, 1]]
    assert grouped(runs, behind(["a", "b", "c", "d"], before=before)) == [[0], [1]]


@pytest.mark.parametrize(
    ("signal", "days", "others", "tickets"),
    [
        ("errors", [1, 2], False, 1),
        ("errors", [1, 3], False, 1),
        ("errors", [1, 8], False, 1),
        ("errors", [1, 5], False, 2),
        ("errors", [1, 2], True, 2),
        ("latency", [1, 2], False, 1),
        ("latency", [1, 3], False, 2),
    ],
)
def test_what_comes_back_at_its_hour_is_one_ticket(signal: str, days: list[int], others: bool, tickets: int) -> None:
    """Tomorrow; with a status code in two days and in a week as well; not another consumer's."""
    fleet, _ = fleet_and_rows()
    status = 503 if signal == "errors" else None
    found = []
    for number, day in enumerate(days):
        run = run_of(0, signal, day * DAY + 5, day * DAY + 7, day * DAY + 9, status=status)
        found.append(incidents.Incident([run], Profile(), consumer=f"app-{number}" if others else None))
    kept = incidents._fold(found, fleet)
    assert len(kept) == tickets
    assert len(kept[0].repeats) == 2 - tickets


def test_a_slow_day_is_not_the_hour_of_slowness_of_the_day_before_again() -> None:
    fleet, _ = fleet_and_rows()
    hour, day = run_of(0, "latency", DAY + 5, DAY + 7, DAY + 9), run_of(0, "latency", 2 * DAY + 5, 3 * DAY + 5, 4 * DAY)
    found = [incidents.Incident([run], Profile()) for run in (hour, day)]
    assert incidents._fold(found, fleet) == found


@pytest.mark.parametrize(("hours", "tickets"), [(2, [[0, 0]]), (30, [[0], [0]])])
def test_what_happens_where_calls_have_failed_for_a_day_is_a_ticket_of_its_own(
    hours: int, tickets: list[list[int]]
) -> None:
    failing = run_of(0, "errors", DAY, DAY + 2, 9 * DAY, status=503)
    at = DAY + hours * HOUR
    assert grouped([failing, run_of(0, "traffic", at, at + 3, at + 6)], behind(["a"] * 4)) == tickets


def nodes_of(share: Callable[[int], str]) -> Breakdown:
    """Two calls in ten fail, on the node that an endpoint has them on; the others are on four nodes alike."""

    def breakdown(windows: pl.DataFrame) -> pl.DataFrame:
        rows = []
        for window, route in windows.select("window_id", "route").iter_rows():
            rows += [(window, 200, f"gw-{node}", "a", 4) for node in range(4)]
            rows.append((window, 502, share(int(route[1:])), "a", 4))
        names = ["window_id", "status_code", "node", "upstream", "calls"]
        found = pl.DataFrame(rows, schema=names, orient="row")
        return found.select(
            (pl.col(name) if name in names else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.BREAKDOWN.items()
        )

    return breakdown


@pytest.mark.parametrize(
    ("failed", "share", "node"),
    [
        ({0: 4, 1: 4, 2: 4}, lambda _: "gw-1", "gw-1"),
        ({0: 4} | dict.fromkeys(range(1, 2 + nodes.MOST), 5), lambda _: "gw-1", "gw-1"),
        ({0: 4}, lambda _: "gw-1", None),
        ({0: 4, 1: 4, 2: 4}, lambda one: f"gw-{one}", None),
    ],
    ids=["on many endpoints", "on more than are asked", "on one", "on several nodes"],
)
def test_a_node_is_told_by_what_fails_alike_elsewhere(
    failed: dict[int, int], share: Callable[[int], str], node: str | None
) -> None:
    fleet, rows = fleet_and_rows(failed, bins=DAY)
    run = run_of(0, "errors", 0, 0, 1, status=502)
    (told,) = nodes.suspected([run], rows, fleet, nodes_of(share))
    assert told.node == node
    # What fails after it was raised says nothing yet.
    early = run_of(0, "errors", 0, 0, 1, status=502)
    early.known = 0
    assert nodes.suspected([early], rows, fleet, nodes_of(share))[0].node is None


def test_what_opens_in_longer_windows_for_days_is_one_later_occurrence() -> None:
    """It was one for each bin: the windows of a day did not count as what the next ones go on from."""
    bins = np.r_[20:24, 320:2400]
    figures = {"log10_p": -9.0, "observed": 2.0, "expected": 1.0, "unit": "ms", "n": 9, "excess": 1.0}
    named = {"endpoint": 0, "detector": "latency", "signal": "latency", "status_code": None, "direction": 1}
    found = pl.DataFrame({"bin": bins, "start_bin": np.where(bins < 24, bins - 2, bins - 287)}).with_columns(
        minutes=None, opens=True, **{name: pl.lit(value) for name, value in (named | figures).items()}
    )
    runs = runs_of(found.select(pl.col(name).cast(dtype) for name, dtype in anomalies.ANOMALIES.items()))
    assert [(run.start, run.bins[0], run.bins[-1]) for run in runs] == [(18, 20, 23), (36, 323, 2399)]
