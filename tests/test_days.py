"""Day files: a month counted from them is the month counted from its bins, whatever became of the lake meanwhile."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from apilens.ingest.rollup import roll_up
from apilens.lake import Lake, open_lake, upkeep
from apilens.lake.days import FOLDER, whole_days
from apilens.lens import Lens
from apilens.schema import ENDPOINT
from apilens.window import Window
from commands import apilens, ingest
from naive import naive_endpoints

LAYOUT = '$remote_addr - $remote_user [$time_iso8601] "$request" $status $body_bytes_sent $request_time'
START = datetime(2026, 3, 9, tzinfo=UTC)
DAY = timedelta(days=1)
FIGURES = ("calls", "durations", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms")
#: All, whole days, days with parts of others around them, less than a day, open on a side.
WINDOWS = [
    (None, None),
    (START, START + 2 * DAY),
    (START + timedelta(hours=7, minutes=3), START + 3 * DAY + timedelta(hours=1, minutes=11)),
    (START + timedelta(hours=9), START + timedelta(hours=17)),
    (START + DAY, None),
    (None, START + 2 * DAY + timedelta(minutes=5)),
]
#: minutes after START, consumer, status code, milliseconds.
CALLS = st.lists(
    st.tuples(st.integers(0, 4 * 1440 - 1), st.integers(0, 2), st.sampled_from([200, 503]), st.integers(0, 60_000)),
    min_size=1,
    max_size=12,
)
STEPS = st.one_of(
    st.tuples(st.just("ingest"), CALLS),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("compact, killed"), st.integers(0, 3)),
    st.tuples(st.just("replace"), st.integers(0, 9)),
    st.tuples(st.just("vacuum"), st.sampled_from([0, 168])),
    st.tuples(st.just("forget consumer"), st.integers(0, 2)),
    st.tuples(st.just("forget before"), st.integers(1, 3)),
)


def log(calls: list[tuple[int, int, int, int]], n: int) -> bytes:
    """Lines of the layout; n: of the file, so that no two files are the same data."""
    lines = [
        f'10.0.{n}.{i} - app-{consumer} [{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S+00:00}] "GET /api/orders/{i} HTTP/1.1"'
        f" {status} 100 {ms / 1000:.3f}\n"
        for i, (minute, consumer, status, ms) in enumerate(calls)
    ]
    return "".join(lines).encode()


def counted(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Calls, bytes and histogram of every endpoint, status and kind of caller."""
    key = [*ENDPOINT, "status_code", "synthetic_type"]
    sums = rows.group_by(key).agg(
        pl.col("calls", "durations", "response_bytes").sum(), pl.col("first_seen").min(), pl.col("last_seen").max()
    )
    buckets = rows.select(*key, "bucket", "bucket_calls").explode("bucket", "bucket_calls").drop_nulls("bucket")
    buckets = buckets.group_by(*key, "bucket").agg(pl.col("bucket_calls").cast(pl.Int64).sum())
    return [*sums.sort(key).rows(), *buckets.sort(*key, "bucket").rows()]


def do(lake: Path, step: str, value: Any, logs: list[Path]) -> None:
    """One step in the life of a lake."""
    options = ("--log-format", LAYOUT)
    match step:
        case "ingest":
            logs.append(lake.parent / f"{len(logs)}.log")
            logs[-1].write_bytes(log(value, len(logs)))
            ingest(lake, logs[-1], *options)
        case "replace":
            ingest(lake, logs[value % len(logs)], "--replace", *options)
        case "compact":
            upkeep.compact(open_lake(str(lake)))
        case "compact, killed":
            real, left = Lake.write_days, iter(range(value))

            def write_days(self: Lake, path: str) -> None:
                if next(left, None) is None:
                    raise SystemExit
                real(self, path)

            with mock.patch.object(Lake, "write_days", write_days), suppress(SystemExit):
                upkeep.compact(open_lake(str(lake)))
        case "vacuum":
            upkeep.vacuum(open_lake(str(lake)), retention_hours=value)
        case "forget consumer":
            apilens("lake", "forget", "--lake", lake, "--consumer", f"app-{value}")
        case "forget before":
            apilens("lake", "forget", "--lake", lake, "--before", (START + value * DAY).isoformat())


@settings(
    max_examples=6, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)  # shrinking takes minutes
@given(CALLS, st.lists(STEPS, min_size=1, max_size=5))
def test_days_and_bins_say_the_same_after_any_history(first: list[Any], steps: list[tuple[str, Any]]) -> None:
    with TemporaryDirectory() as folder:
        lake, logs = Path(folder) / "lake", list[Path]()
        do(lake, "ingest", first, logs)
        since = Lens(str(lake))
        assert since.lake.ledger().height == 1
        for step, value in [*steps, ("compact", None)]:
            do(lake, step, value, logs)
            if step.startswith("forget"):
                # Gone is gone: what is left of day files is made of files that are there, and counts what those do.
                for file in (lake / FOLDER).glob("*.parquet"):
                    assert (
                        pl.read_parquet(file)["calls"].sum()
                        == pl.read_parquet(lake / "rollups" / file.name)["calls"].sum()
                    )
        lens = Lens(str(lake))
        # Who has the lake open since its first ingest sees what became of it.
        assert since.lake.ledger().sort("unit_id").equals(lens.lake.ledger().sort("unit_id"))
        assert counted(since.lake.scan_sums().collect()) == counted(lens.lake.scan_sums().collect())
        for window in (Window(*bounds) for bounds in WINDOWS):
            rows = roll_up(lens.lake.scan("calls", window).collect(), "all")
            bins = lens.lake.scan("rollups", window).collect()
            days = lens.lake.scan_sums(window).collect()
            assert counted(days) == counted(bins)
            if all(bound is None or bound.minute % 5 == 0 for bound in (window.start, window.end)):
                assert counted(days) == counted(rows)
        calls = lens.lake.scan("calls").collect().rows(named=True)
        for bounds in WINDOWS[::2]:
            # Exact figures read the times of no file that lies in the window as a whole.
            exact = lens.endpoints(*bounds, exact=True).select(*ENDPOINT, *FIGURES).rows()
            expected = naive_endpoints(calls, *bounds, apdex_ms=500, include_synthetic=False)
            assert {row[:4]: row[4:] for row in exact} == {
                key: tuple(want[name] for name in FIGURES) for key, want in expected.items()
            }
        answers = [lens.endpoints_and_apart(*bounds) for bounds in WINDOWS[::2]]
        # All that is said is said without them too.
        committed = {Path(file).name for file in lens.lake.files("rollups")}
        assert committed <= set(lens.lake.storage.names(FOLDER))
        shutil.rmtree(lake / FOLDER, ignore_errors=True)
        for window, (endpoints, apart) in zip(WINDOWS[::2], answers, strict=True):
            again, apart_again = lens.endpoints_and_apart(*window)
            assert endpoints.equals(again)
            assert apart == apart_again


def test_a_month_is_read_from_day_files_and_its_edges_from_bins(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for n in range(4):
        do(lake, "ingest", [(n * 1440 + i * 7, 0, 200, i) for i in range(60)], list(tmp_path.glob("*.log")))
    upkeep.compact(open_lake(str(lake)))
    opened = open_lake(str(lake))
    sums = opened.sums(Window(START + timedelta(hours=1), START + 4 * DAY))
    assert (len(sums.days), len(sums.cut), len(sums.bins)) == (1, 1, 0)
    assert sums.whole == Window(START + DAY, START + 4 * DAY)
    assert opened.scan_sums().collect().height < opened.scan("rollups").collect().height / 4
    assert opened.sums(Window(START, START + timedelta(hours=3))).days == []


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (timedelta(), DAY, (timedelta(), DAY)),
        (timedelta(microseconds=1), DAY, None),
        (timedelta(microseconds=1), 2 * DAY, (DAY, 2 * DAY)),
        (timedelta(), 2 * DAY - timedelta(microseconds=1), (timedelta(), DAY)),
        (timedelta(hours=3), timedelta(hours=23), None),
    ],
)
def test_whole_days_lie_in_the_window_to_the_microsecond(
    start: timedelta, end: timedelta, days: tuple[timedelta, timedelta] | None
) -> None:
    expected = None if days is None else Window(START + days[0], START + days[1])
    assert whole_days(Window(START + start, START + end)) == expected


def test_whole_days_at_the_ends_of_time() -> None:
    last, first = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    assert whole_days(Window(last, None)) is None
    assert whole_days(Window(first, last)) == Window(first, last.replace(hour=0, minute=0, second=0, microsecond=0))
