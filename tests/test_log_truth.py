"""The truth of the log: instances that stop writing, silence, clocks that disagree; and what is none of these."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from apilens.detect.log_truth import find_gaps
from apilens.measure.facts import INSTANCES, skew
from apilens.reports import traces
from apilens.triage.severity import severity
from commands import apilens, ingest

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
HOLE = START + timedelta(days=3, hours=10)


def instances(
    silent: Any = lambda at, node: False,
    *,
    days: int = 5,
    seed: int = 1,
    rate: float = 12.0,
    taken_over: bool = False,
    nodes: tuple[str, ...] = ("gw-0", "gw-1", "gw-2"),
    calmer: datetime | None = None,
) -> pl.DataFrame:
    """Gateways with a daily rhythm and quiet weekends; silent: (time, node) -> whether it wrote nothing; calmer: from then on
    calls are fewer."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(days * 288):
        at = START + timedelta(minutes=5 * i)
        level = rate * (0.15 + np.exp(-(((at.hour - 14) / 5) ** 2))) * (0.5 if at.weekday() >= 5 else 1.0)
        level *= 0.7 if calmer is not None and at >= calmer else 1.0
        up = [node for node in nodes if not silent(at, node)]
        share = 3 / max(len(up), 1) if taken_over else 1.0
        rows += [("prod", node, "kong_json", at, int(random.poisson(level * share))) for node in up]
    frame = pl.DataFrame(rows, schema=dict(INSTANCES), orient="row")
    return frame.filter(pl.col("calls") > 0)


def gaps(frame: pl.DataFrame, days: int = 5) -> list[tuple[str | None, timedelta, timedelta]]:
    """Node, start and end behind HOLE."""
    found = find_gaps(frame, now=START + timedelta(days=days))
    return [(row["hint"]["node"], row["start"] - HOLE, row["end"] - HOLE) for row in found.to_dicts()]


def hole(hours: float, *nodes: str) -> Any:
    return lambda at, node: node in nodes and HOLE <= at < HOLE + timedelta(hours=hours)


ALL = ("gw-0", "gw-1", "gw-2")


@pytest.mark.parametrize("seed", range(3))
def test_a_log_without_holes_has_no_gap(seed: int) -> None:
    assert gaps(instances(seed=seed, days=9), days=9) == []
    assert gaps(instances(seed=seed, rate=0.3, days=9), days=9) == []


@pytest.mark.parametrize("bins", range(1, 14))
def test_a_log_of_minutes_is_judged_as_far_as_it_goes(bins: int) -> None:
    begin = START + timedelta(hours=12)
    frame = instances(days=1, rate=40).filter(
        pl.col("bin_start").is_between(begin, begin + timedelta(minutes=5 * bins), closed="left")
    )
    assert frame.height == 3 * bins
    assert find_gaps(frame, now=begin + timedelta(minutes=5 * bins)).is_empty()


def test_one_that_stops_writing_while_the_others_go_on_is_named() -> None:
    assert gaps(instances(hole(2, "gw-1"))) == [("gw-1", timedelta(0), timedelta(hours=2))]


def test_two_that_stop_at_once_are_one_gap_and_silence_of_all_another() -> None:
    assert gaps(instances(hole(2, "gw-1", "gw-2"))) == [(None, timedelta(0), timedelta(hours=2))]
    (row,) = find_gaps(instances(hole(1, *ALL)), now=START + timedelta(days=5)).to_dicts()
    assert (row["signal"], row["category"], row["state"], row["end"] - row["start"]) == (
        "log_gap",
        "configuration",
        "ended",
        timedelta(hours=1),
    )
    assert row["detected_at"] == HOLE + timedelta(minutes=15)
    expected = instances().filter(pl.col("bin_start").is_between(HOLE, HOLE + timedelta(minutes=55)))["calls"].sum()
    assert row["excess_calls"] == pytest.approx(expected, rel=0.25)


def test_what_others_took_over_is_missing_in_no_log() -> None:
    assert gaps(instances(hole(3, "gw-1"), taken_over=True)) == []


@pytest.mark.parametrize("many", [4, 5, 6])
def test_one_of_many_that_stops_is_named_where_the_sum_of_all_is_steady(many: int) -> None:
    nodes = tuple(f"gw-{number}" for number in range(many))
    (found,) = gaps(instances(hole(1, "gw-1"), nodes=nodes, rate=150.0))
    assert found == ("gw-1", timedelta(), timedelta(hours=1))
    assert gaps(instances(hole(1, "gw-1"), nodes=nodes, rate=150.0 * many / 3, taken_over=True)) == []


def test_one_that_ends_as_another_begins_is_replaced() -> None:
    """Blue goes and green comes, at the hour at which a quiet day begins: what is missing is missing to all."""

    def silent(at: datetime, node: str) -> bool:
        return (node == "green" and at < HOLE) or (node == "gw-2" and at >= HOLE)

    nodes = ("gw-0", "gw-1", "gw-2", "green")
    assert gaps(instances(silent, nodes=nodes, rate=100.0, calmer=HOLE)) == []
    # The same without green: the log of one is missing.
    assert gaps(instances(silent, nodes=nodes[:3], rate=100.0, calmer=HOLE))


def test_a_night_without_calls_and_a_machine_that_comes_and_goes_are_no_gaps() -> None:
    office = instances(lambda at, node: not 7 <= at.hour < 19, days=9)
    assert gaps(office, days=9) == []
    assert gaps(instances(lambda at, node: node == "gw-2" and at.hour % 3 > 0)) == []


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_log_of_which_only_some_minutes_were_kept_has_no_gaps(every: int) -> None:
    sampled = instances(lambda at, node: at.hour % every or at.minute > 10, rate=60)
    assert gaps(sampled) == []


def test_on_the_first_day_a_hole_is_told_when_it_is_over() -> None:
    at = START + timedelta(hours=12)
    frame = instances(lambda when, node: at <= when < at + timedelta(hours=1), days=1)
    (row,) = find_gaps(frame, now=START + timedelta(days=1)).to_dicts()
    assert (row["start"], row["end"], row["detected_at"]) == (
        at,
        at + timedelta(hours=1),
        at + timedelta(hours=1, minutes=15),
    )


def back_one_by_one(at: datetime, node: str) -> bool:
    """Both stop at once; gw-2 is back hours before gw-1."""
    return hole(5, "gw-1")(at, node) or hole(1.5, "gw-2")(at, node)


def one_earlier(at: datetime, node: str) -> bool:
    """gw-1, of which less is missing at first, stops five minutes before gw-2."""
    return hole(3, "gw-1")(at, node) or (hole(3, "gw-2")(at, node) and at >= HOLE + timedelta(minutes=5))


@pytest.mark.parametrize("silent", [hole(5, "gw-1"), back_one_by_one, one_earlier])
@pytest.mark.parametrize("seed", [1, 2])
def test_cut_at_any_time_the_same_gaps_are_known(silent: Any, seed: int) -> None:
    frame = instances(silent, seed=seed, rate=60.0)
    whole = find_gaps(frame, now=START + timedelta(days=5))
    assert whole.height == 1
    for minutes in (5, 15, 20, 25, 60, 100, 299, 310, 900):
        now = HOLE + timedelta(minutes=minutes)
        then = find_gaps(frame.filter(pl.col("bin_start") < now), now=now)
        assert then["id"].to_list() == whole.filter(pl.col("detected_at") <= now)["id"].to_list()


# -- through the command line -------------------------------------------------------------------------------------

LAYOUT = '$remote_addr - $remote_user [$time_iso8601] "$request" $status $body_bytes_sent $request_time $hostname $request_id'


def lake_of(folder: Path, off: timedelta = timedelta(0), lost: Any = lambda at: False) -> Path:
    """An edge gateway in front of two inner ones, a call each 20 s over four days; the clock of inner-1 is `off`, and it loses lines."""
    random = np.random.default_rng(2)
    lines = []
    for i in range(4 * 24 * 180):
        at = START + timedelta(seconds=20 * i)
        inner = "inner-1" if i % 3 else "inner-2"
        path = "/only" if i % 3 else "/pay"
        took = random.uniform(0.2, 0.6)
        late = at - timedelta(seconds=random.uniform(0.01, 0.1))
        stamps = [("edge", late, took)] if i % 5 else []
        if not (inner == "inner-1" and lost(at)):
            stamps.append((inner, at + (off if inner == "inner-1" else timedelta(0)), took - 0.15))
        elif stamps and lost(at):
            stamps = []
        lines += [
            f'203.0.113.9 - app-{i % 7} [{when.isoformat(timespec="milliseconds")}] "GET {path} HTTP/1.1" 200 9 {duration:.3f} {node} r{i:08}\n'
            for node, when, duration in stamps
        ]  # fmt: skip
    (folder / "access.log").write_text("".join(lines))
    ingest(folder / "lake", folder / "access.log", "--log-format", LAYOUT)
    return folder / "lake"


def scanned(lake: Path, *options: object) -> list[dict[str, Any]]:
    ran = apilens("scan", "--lake", lake, "--output", "ndjson", *options)
    assert ran.code == 0, ran.err
    return ran.rows()


def report(lake: Path) -> str:
    apilens("triage", "--lake", lake)
    ran = apilens("report", "--lake", lake, "--out", lake.parent / "r.html")
    assert ran.code == 0, ran.err
    return (lake.parent / "r.html").read_text()


def test_a_clock_that_is_ahead_is_named_once_and_one_that_agrees_is_not(tmp_path: Path) -> None:
    (found,) = scanned(lake_of(tmp_path, timedelta(seconds=90)))
    assert (found["signal"], found["category"], found["severity"]) == ("clock_skew", "configuration", "medium")
    assert "inner-1 is 90" in found["title"] and "ahead of edge" in found["title"]
    assert found["observed"] == pytest.approx(90, abs=0.5)
    assert scanned(tmp_path / "lake") == [found]  # from what is kept of the blocks
    assert "clocks of edge and inner-1 apart, top 90 s" in report(tmp_path / "lake")
    for command in ("queue", "triage"):
        assert apilens(command, "--lake", tmp_path / "lake").code == 0
    explained = apilens("explain", found["id"], "--lake", tmp_path / "lake").out
    assert (
        "90" in explained and "apilens sql" not in explained
    )  # a clock has no calls whose addresses could be asked for


def test_one_wrong_clock_in_a_chain_of_gateways_is_one_disagreement() -> None:
    """Edge, middle and inner log 30 calls each under one id; a retry makes the inner one log an id twice, which tells nothing."""
    begin, took = START + timedelta(hours=1), {"edge": 900.0, "middle": 700.0, "inner": 500.0}
    calls = pl.DataFrame(
        [
            {"environment": "prod", "trace_id": None, "request_id": f"r{i}", "node": node, "gateway": "x",
             "start_time": begin + timedelta(seconds=i, milliseconds=50 * place + (7_000 if node == "middle" else 0)), "duration_ms": took[node]}
            for i in range(40)
            for place, node in enumerate(("edge", "middle", "inner", *(("inner",) if i >= 30 else ())))
        ],
        schema_overrides={"trace_id": pl.String},
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("calls", calls.to_arrow())
        found = skew(connection, START, START + timedelta(hours=6))
    assert found.select("outer_node", "inner_node", "pairs").rows() == [("edge", "middle", 30)]
    assert found["offset_s"].to_list() == pytest.approx([7.0], abs=0.2)


def test_a_hole_in_one_log_is_a_gap_and_no_traffic_drop(tmp_path: Path) -> None:
    begin = START + timedelta(days=3, hours=12)
    lake = lake_of(tmp_path, lost=lambda at: begin <= at < begin + timedelta(hours=3))
    found = scanned(lake)
    assert [(row["signal"], row["hint"]["node"], row["start"][:16]) for row in found] == [
        ("log_gap", "inner-1", f"{begin:%Y-%m-%dT%H:%M}")
    ]
    assert scanned(lake) == found
    assert "calls logged by inner-1 (grey: all others)" in report(lake)


def test_the_picture_of_a_gap_has_the_calls_of_those_that_fell_silent_and_of_the_others() -> None:
    frame = instances(hole(2, "gw-1", "gw-2"))
    (gap,) = find_gaps(frame, now=START + timedelta(days=5)).to_dicts()
    drawn = traces.of_gap(gap, frame)
    (name,) = drawn["name"].unique()
    assert name == "calls logged by gw-1, gw-2 (grey: all others)"
    assert drawn["bin_start"].diff().drop_nulls().unique().to_list() == [timedelta(minutes=5)]
    inside = drawn.filter(pl.col("bin_start").is_between(gap["start"], gap["end"], closed="left"))
    assert (inside.height, inside["value"].sum()) == (24, 0) and inside["beside"].min() > 0
    by_node = dict(frame.group_by("node").agg(pl.col("calls").sum()).iter_rows())
    assert drawn["value"].sum() == by_node["gw-1"] + by_node["gw-2"] and drawn["beside"].sum() == by_node["gw-0"]


def test_a_gap_is_as_bad_as_its_detector_says() -> None:
    rows = find_gaps(instances(hole(2, "gw-1")), now=START + timedelta(days=5))
    assert severity(rows)["severity_score"].to_list() == [0.25]


def test_calls_from_the_future_are_a_clock_that_is_ahead_unless_all_are(tmp_path: Path) -> None:
    line = '203.0.113.9 - app [02/Mar/{}:{:02}:00:00 +0000] "GET /pay HTTP/1.1" 200 9 "-" "x/1"\n'
    # One bad stamp in a file of good ones, as well.
    (tmp_path / "good.log").write_text("".join(line.format(2026, hour) for hour in range(24)) + line.format(2071, 3))
    (tmp_path / "ahead.log").write_text(line.format(2071, 1))
    ingest(tmp_path / "lake", tmp_path / "ahead.log")
    assert scanned(tmp_path / "lake") == []
    ingest(tmp_path / "lake", tmp_path / "good.log")
    (found,) = scanned(tmp_path / "lake")
    assert (found["signal"], found["n"]) == ("clock_skew", 2)
    assert "ahead.log" in found["title"]
    assert scanned(tmp_path / "lake") == [found]
