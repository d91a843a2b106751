"""Measures against a slow obvious reference, the histogram against its bound, and SQL that can do nothing but read."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import apilens as package
from apilens import histogram
from apilens.arrow import Stream
from apilens.distinct import categories
from apilens.errors import LakeError, UsageError
from apilens.ingest.rollup import numbered, roll_up
from apilens.lens import Lens
from apilens.measure.endpoints import endpoints
from apilens.schema import CALLS, SUMS
from commands import apilens, ingest
from naive import naive_endpoints, naive_percentile

START = datetime(2026, 3, 9, 14, tzinfo=UTC)
MEASURES = ["calls", "error_ratio", "client_error_ratio", "durations", "response_bytes", "first_seen", "last_seen"]
PERCENTILES = ["p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms"]


def record(rng: random.Random) -> dict[str, Any]:
    """A call somewhere in three hours, on a microsecond, often on the edge of a bin or on a percentile's tie."""
    at = START + timedelta(microseconds=rng.choice([rng.randrange(3 * 3600 * 10**6), rng.randrange(36) * 300 * 10**6]))
    duration = rng.choice([None, 0.0, 500.0, 2000.0, 0.0005, rng.lognormvariate(3, 2), rng.lognormvariate(3, 2)])
    return {
        "timestamp": at.isoformat(),
        "method": rng.choice(["GET", "POST", None]),
        "path": rng.choice(["/a", "/b/17", "/b/18", None]),
        "service": rng.choice(["shop", None]),
        "status": rng.choice([200, 200, 200, 204, 302, 404, 429, 499, 500, 503, 599, 600, None]),
        "duration_ms": duration,
        "response_bytes": rng.choice([None, 0, 2**40]),
        "user_agent": rng.choice(["client", "Googlebot/2.1"]),
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lens, list[dict[str, Any]]]:
    """A lake of 3,000 calls in five units, and the calls themselves."""
    folder, rng = tmp_path_factory.mktemp("measured"), random.Random(5)
    for part in range(5):
        records = [record(rng) for _ in range(600)]
        # What says neither what was called nor how it went is no call.
        records = [
            row | {"path": row["path"] or ("/a" if row["method"] is row["status"] is None else None)} for row in records
        ]
        rows = pl.DataFrame(records, infer_schema_length=None)
        (folder / f"{part}.json").write_text(rows.write_ndjson())
        assert ingest(folder / "lake", folder / f"{part}.json")["stored"] == 600
    lens = package.open(str(folder / "lake"))
    return lens, list(lens.calls().collect().iter_rows(named=True))


def windows() -> Iterator[tuple[datetime | None, datetime | None]]:
    """Whole bins, edges on both sides, inside one bin, within a second, open on a side, and beyond the data."""
    rng = random.Random(6)
    yield from [(None, None), (START, START + timedelta(minutes=5)), (START + timedelta(days=1), None), (None, START)]
    yield START + timedelta(minutes=1), START + timedelta(minutes=4)
    yield START + timedelta(minutes=4), START + timedelta(minutes=6)
    yield START + timedelta(seconds=299.999999), START + timedelta(minutes=5)
    yield START, START + timedelta(microseconds=1)
    yield START + timedelta(minutes=7), None
    yield None, START + timedelta(minutes=7, microseconds=1)
    for _ in range(8):
        start = START + timedelta(microseconds=rng.randrange(3 * 3600 * 10**6))
        yield start, start + timedelta(microseconds=rng.randrange(1, 3600 * 10**6))


@pytest.mark.parametrize("everybody", [False, True], ids=["real", "everybody"])
@pytest.mark.parametrize("window", list(windows()), ids=str)
def test_endpoints_are_those_of_the_slow_reference(
    measured: tuple[Lens, list[dict[str, Any]]], window: tuple[datetime | None, datetime | None], everybody: bool
) -> None:
    lens, calls = measured
    expected = naive_endpoints(calls, *window, apdex_ms=500, include_synthetic=everybody)
    exact = lens.endpoints(*window, exact=True, include_synthetic=everybody)
    estimated = lens.endpoints(*window, include_synthetic=everybody)
    assert exact.height == estimated.height == len(expected)
    assert exact["calls"].to_list() == sorted(exact["calls"].to_list(), reverse=True)
    for frame in (exact, estimated):
        for row in frame.iter_rows(named=True):
            want = expected[row["environment"], row["service"], row["method"], row["route"]]
            assert {name: row[name] for name in MEASURES} == {name: want[name] for name in MEASURES}
    for row in exact.iter_rows(named=True):
        want = expected[row["environment"], row["service"], row["method"], row["route"]]
        assert {name: row[name] for name in PERCENTILES} == {name: want[name] for name in PERCENTILES}
        assert row["apdex"] == pytest.approx(want["apdex"], abs=1e-12)
    for row in estimated.iter_rows(named=True):
        want = expected[row["environment"], row["service"], row["method"], row["route"]]
        for name in PERCENTILES:
            assert close(row[name], want[name]), (name, row[name], want[name])


def close(estimate: float | None, value: float | None) -> bool:
    """Within the histogram's stated error; up to its smallest value it reads 0."""
    if estimate is None or value is None:
        return estimate is value
    if value <= histogram.SMALLEST_MS:
        return estimate == 0
    return abs(estimate - value) <= value * (histogram.RELATIVE_ERROR + 1e-9)


def test_windows_that_touch_add_up_to_the_whole(measured: tuple[Lens, list[dict[str, Any]]]) -> None:
    lens, calls = measured
    cuts = [None, *sorted(START + timedelta(seconds=s) for s in random.Random(7).sample(range(10_800), 12)), None]
    parts = [lens.endpoints(a, b)["calls"].sum() + sum(lens.set_apart(a, b).values()) for a, b in pairwise(cuts)]
    assert sum(parts) == len(calls)


def test_python_and_the_command_line_give_the_same_numbers(measured: tuple[Lens, list[dict[str, Any]]]) -> None:
    lens, _ = measured
    lake = lens.lake.root
    for arguments, window in (
        ([], {}),
        (["--since", "2026-03-09T14:07Z", "--exact"], {"since": "2026-03-09T14:07Z", "exact": True}),
        (["--since", "90m", "--until", "17m", "--now", "2026-03-09T17:00Z"], {"since": "90m", "until": "17m"}),
    ):
        frame = lens.endpoints(**window, now=datetime(2026, 3, 9, 17, tzinfo=UTC))  # type: ignore[arg-type]  # the three share no type
        ran = apilens("endpoints", "--lake", lake, "--output", "ndjson", *arguments)
        assert ran.rows() == [json.loads(line) for line in frame.write_ndjson().split("\n")[:-1]]
        assert apilens("endpoints", "--lake", lake, "--output", "json", *arguments).json()["endpoints"] == ran.rows()
    by_sql = lens.sql(
        "SELECT count(*) AS calls, count(*) FILTER (status_code >= 500 AND status_code < 600) AS e FROM calls"
    )
    whole = lens.endpoints(include_synthetic=True)
    assert by_sql["calls"].item() == whole["calls"].sum()
    assert by_sql["e"].item() == round((whole["error_ratio"] * whole["calls"]).sum())


def test_a_relative_window_behind_the_data_says_where_they_end(measured: tuple[Lens, list[dict[str, Any]]]) -> None:
    lens, _ = measured
    ran = apilens("endpoints", "--since", "24h", "--lake", lens.lake.root, "--now", "2027-01-01T00:00Z")
    assert ran.code == 0
    assert "data end at 2026-03-09T" in ran.err
    again = ran.err.split("Next: apilens ")[1].split()
    assert apilens(*again, "--lake", lens.lake.root, "--output", "json").json()["endpoints"]


def test_two_calls_of_the_largest_size_do_not_wrap_around(tmp_path: Path) -> None:
    line = '{{"timestamp":"2026-03-09T14:00:0{}Z","status":200,"url":"/x","response_bytes":9223372036854775807}}\n'
    (tmp_path / "a.json").write_text(line.format(0) + line.format(1))
    (tmp_path / "b.json").write_text(line.format(2))
    ingest(tmp_path / "lake", tmp_path / "a.json", tmp_path / "b.json")
    assert package.open(str(tmp_path / "lake")).endpoints()["response_bytes"].to_list() == [2**63 - 1]


def users(names: list[str], status: int = 200) -> bytes:
    """A call per name, a second apart from 14:01:00 on, in NGINX's combined format."""
    at = [START + timedelta(seconds=60 + i) for i in range(len(names))]
    line = '203.0.113.7 - - [{:%d/%b/%Y:%H:%M:%S} +0000] "GET /users/{} HTTP/1.1" {} 5 "-" "c"\n'
    return "".join(line.format(moment, name, status) for moment, name in zip(at, names, strict=True)).encode()


def test_a_merge_learned_later_holds_for_earlier_calls_in_every_view_and_stays(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    ingest(lake, "-", "--source", "few", stdin=users(["ann", "bob"]))
    assert set(Lens(str(lake)).endpoints()["route"]) == {"/users/ann", "/users/bob"}
    many = [f"{a}{b}{c}" for a in "klmnopqr" for b in "aeiou" for c in "abcdefghij"]
    ingest(lake, "-", "--source", "many", stdin=users(many))
    lens = Lens(str(lake))
    learned = lens.lake.read_text("routes.json")
    assert lens.merges.merges
    ingest(lake, "-", "--source", "later", stdin=users(["zoe"], 503))
    lens = Lens(str(lake))
    assert lens.lake.read_text("routes.json") == learned
    inside_a_bin = START + timedelta(seconds=60), START + timedelta(seconds=61)
    for frame, calls in (
        (lens.endpoints(), 403),
        (lens.endpoints(exact=True), 403),
        (lens.endpoints(*inside_a_bin), 3),
        (lens.rollups().select("route", "calls").collect(), 403),
        (lens.sql("SELECT route, sum(calls)::BIGINT AS calls FROM rollups GROUP BY 1"), 403),
        (lens.sql("SELECT route, count(*) AS calls FROM calls GROUP BY 1"), 403),
        (lens.calls().select("route", calls=1).collect(), 403),
    ):
        assert set(frame["route"]) == {"/users/{id}"}
        assert frame["calls"].sum() == calls
    assert lens.endpoints()["error_ratio"].item() == 1 / 403


DURATIONS = st.lists(
    st.one_of(
        st.floats(0, 3e10),
        st.floats(1e-6, 1.0),
        st.integers(1, 36_000).map(lambda i: histogram.SMALLEST_MS * 1.02 ** (i / 25)),
    ),
    min_size=1,
    max_size=80,
)


def calls_of(durations: list[float], statuses: list[int] | None = None) -> pl.DataFrame:
    rows = {"duration_ms": durations, "start_time": [START + timedelta(seconds=7 * i) for i in range(len(durations))]}
    if statuses is not None:
        rows["status_code"] = statuses  # type: ignore[assignment]  # columns of several types
    frame = pl.DataFrame(rows)
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in CALLS.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in CALLS.items())


@given(DURATIONS, st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_quantile_of_merged_histograms_lies_within_the_stated_error(durations: list[float], percent: int) -> None:
    rolled = pl.concat([roll_up(calls_of(durations[i::3]), f"u{i}") for i in range(3)])
    pairs = rolled.select("bucket", "bucket_calls").explode("bucket", "bucket_calls").drop_nulls()
    counted = pairs.group_by("bucket").agg(pl.col("bucket_calls").sum()).sort("bucket")
    ranks = counted["bucket_calls"].cum_sum()
    at = counted.filter(ranks >= math.ceil(percent * len(durations) / 100))["bucket"][0]
    estimate = pl.select(histogram.estimate_ms(pl.lit(at, pl.Int16))).item()
    assert close(estimate, naive_percentile(durations, percent))


KEYS = st.lists(
    st.tuples(
        *(st.sampled_from([None, "a", "b", "Ä"]) for _ in range(4)),
        st.sampled_from([None, -1, 200, 503]),
        st.integers(-10, 10**6),
    ),
    max_size=40,
)


@given(KEYS)
def test_rollups_are_the_same_from_text_and_from_categories_one_per_key(
    keys: list[tuple[str | None, str | None, str | None, str | None, int | None, int]],
) -> None:
    names = ["service", "method", "route", "synthetic_type"]
    calls = calls_of([1.0] * len(keys)).with_columns(
        *(pl.Series(name, [key[i] for key in keys], pl.String) for i, name in enumerate(names)),
        pl.Series("status_code", [key[4] for key in keys], pl.Int16),
        pl.Series("start_time", [START + timedelta(seconds=key[5]) for key in keys], CALLS["start_time"]),
    )
    by = ["bin_start", *names, "status_code"]
    rolled = roll_up(calls, "u").sort(by)
    assert rolled.equals(roll_up(calls.with_columns(categories(calls[name]) for name in names), "u").sort(by))
    counted = Counter((*key[:5], (START + timedelta(seconds=key[5])).timestamp() // 300) for key in keys)
    rows = rolled.select(*names, "status_code", pl.col("bin_start").dt.epoch("s") / 300, "calls").rows()
    assert dict(counted) == {row[:-1]: row[-1] for row in rows}
    assert all(sum(minutes) == calls for minutes, calls in rolled.select("minute_calls", "calls").rows())


@given(st.lists(st.tuples(*(st.sampled_from([None, 0, 1, 2**31]) for _ in range(4))), min_size=1, max_size=30))
def test_keys_too_many_for_one_number_are_still_told_apart(rows: list[tuple[int | None, ...]]) -> None:
    number = numbered([pl.Series([row[i] for row in rows], dtype=pl.Int64) for i in range(4)])
    assert number.max() <= 2**46  # type: ignore[operator]  # max() of numbers is one
    assert len(set(zip(rows, number, strict=True))) == len(set(rows)) == number.n_unique()


#: On an edge of the histogram's buckets, or next to one.
EDGES = st.builds(
    lambda bucket, ulps: histogram.SMALLEST_MS * 1.02 ** (bucket + 1e-9) * (1 + ulps * 2.0**-52),
    st.integers(0, 900),
    st.integers(-4, 4),
)
LOGGED = st.lists(
    st.tuples(
        st.one_of(st.none(), st.sampled_from([0.0, 0.001, 0.25, 1.0, 500.0, 1e300]), EDGES, st.floats(0, 1e12)),
        st.sampled_from(["default", "test"]),
        st.sampled_from(["shop", None]),
        st.sampled_from([200, 503, None]),
        st.sampled_from([None, None, None, "bot"]),
        st.sampled_from([True] * 7 + [False]),
    ),
    max_size=40,
)


@settings(max_examples=20, deadline=None)
@given(LOGGED, st.sampled_from([0.25, 500.0, 1e12]), st.booleans())
def test_exact_figures_are_those_of_the_calls_whatever_the_rollups_say(
    rows: list[tuple[Any, ...]], apdex_ms: float, everybody: bool
) -> None:
    """The last of a row: whether its rollup is there. Rollups say where to look, and which endpoints there are."""
    names = ["duration_ms", "environment", "service", "status_code", "synthetic_type", "rolled"]
    calls = calls_of([row[0] for row in rows]).with_columns(
        pl.Series(name, [row[i] for row in rows], dtype=CALLS.get(name, pl.Boolean)) for i, name in enumerate(names)
    )
    calls = calls.with_columns(pl.col("start_time").fill_null(START))
    sums = roll_up(calls.filter("rolled"), "u").select(pl.col(name).cast(dtype) for name, dtype in SUMS.items())
    with duckdb.connect() as connection:
        for name, frame in (("calls", calls.drop("attributes")), ("sums", sums)):
            connection.register("frame", Stream(frame))
            connection.execute(f"CREATE TABLE {name} AS FROM frame")
        found = endpoints(
            connection,
            bins="true",
            edges=SUMS.to_frame(),
            exact=True,
            apdex_ms=apdex_ms,
            operations=pl.DataFrame(schema={"method": pl.String, "route": pl.String, "operation_id": pl.String}),
            include_synthetic=everybody,
        )
    expected = naive_endpoints(calls.rows(named=True), None, None, apdex_ms, everybody)
    rolled = naive_endpoints(calls.filter("rolled").rows(named=True), None, None, apdex_ms, everybody)
    assert found.height == len(rolled)
    for row in found.iter_rows(named=True):
        want = expected[row["environment"], row["service"], row["method"], row["route"]]
        assert {name: row[name] for name in [*PERCENTILES, "durations"]} == {
            name: want[name] for name in [*PERCENTILES, "durations"]
        }
        assert row["apdex"] == pytest.approx(want["apdex"], abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(EDGES, st.floats(0, 1e300)), min_size=1, max_size=50))
def test_a_value_lies_between_the_bounds_of_its_bucket(durations: list[float]) -> None:
    found = pl.DataFrame({"ms": durations}).with_columns(bucket=histogram.bucket(pl.col("ms")))
    outside = duckdb.sql(f"FROM found WHERE ms <= {histogram.ABOVE_SQL} OR ms > {histogram.UPTO_SQL}").fetchall()
    assert found.height
    assert outside == []


def merged(rollups: pl.DataFrame) -> list[Any]:
    """Rollups of several units as one: counts by bucket, summed; in an order of their own."""
    pairs = rollups.explode("bucket", "bucket_calls").drop_nulls("bucket")
    buckets = pairs.group_by("bin_start", "status_code", "bucket").agg(pl.col("bucket_calls").sum())
    minutes = [pl.col("minute_calls").list.get(i).sum().alias(f"minute{i}") for i in range(5)]
    sums = rollups.group_by("bin_start", "status_code").agg(
        pl.col("calls", "durations").sum(), *minutes, pl.col("first_seen").min(), pl.col("last_seen").max()
    )
    return [*sorted(map(str, buckets.rows())), *sorted(map(str, sums.rows()))]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(0, 1e5), st.sampled_from([200, 404, 503])), min_size=1, max_size=60), st.data())
def test_rollups_merge_to_the_same_however_the_calls_were_cut(
    rows: list[tuple[float, int]], data: st.DataObject
) -> None:
    calls = calls_of([duration for duration, _ in rows], [status for _, status in rows])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    edges = [0, *cuts, len(rows)]
    parts = [roll_up(calls.slice(a, b - a), str(a)) for a, b in pairwise(edges)]
    whole = roll_up(calls, "whole")
    assert merged(pl.concat(parts)) == merged(pl.concat(reversed(parts))) == merged(whole)
    assert whole["calls"].sum() == len(rows)
    assert whole.select((pl.col("minute_calls").list.sum() == pl.col("calls")).all()).item()
    assert whole.select((pl.col("bucket_calls").list.sum() == pl.col("durations")).all()).item()


def test_the_estimate_in_sql_is_the_one_in_polars() -> None:
    index = pl.DataFrame({"bucket": pl.int_range(0, 2_000, dtype=pl.Int16, eager=True)})
    values = index.select(estimate=histogram.estimate_ms(pl.col("bucket")))["estimate"]
    found = duckdb.sql(f"SELECT bucket, {histogram.ESTIMATE_SQL} AS estimate FROM index ORDER BY 1").pl()["estimate"]
    assert ((found - values).abs() <= 1e-12 * values).all()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.0), (0.0, 0.001), (3.2e10, 1e300)])
def test_beyond_its_ends_the_histogram_saturates(low: float, high: float) -> None:
    found = pl.DataFrame({"d": [low, high]}).select(histogram.bucket(pl.col("d")))["d"]
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sql")
    line = '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1 HTTP/1.1" 200 5 "-" "c"\nno call\n'
    (folder / "a.log").write_text(line)
    ingest(folder / "lake", folder / "a.log")
    return folder / "lake"


FORBIDDEN = [
    "COPY (SELECT 1) TO '{out}'",
    "COPY calls FROM '{file}'",
    "COPY (SELECT 1 a) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}'",
    "ATTACH ':memory:' AS more",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA enable_profiling = 'json'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW calls",
    "",
    ";",
    "-- nothing",
    "CREATE TABLE x AS SELECT 1",
    "INSERT INTO parts.attempts VALUES ('u', 1)",
    "UPDATE parts.attempts SET attempt = 9",
    "DELETE FROM parts.attempts",
    "COPY (PIVOT calls ON method USING count(*)) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
    "/* select */ COPY (PIVOT calls ON method USING count(*)) TO '{out}'",
    "EXPLAIN ANALYZE COPY (PIVOT calls ON method USING count(*)) TO '{file}' (FORMAT parquet, USE_TMP_FILE false)",
    "CREATE TABLE x AS PIVOT calls ON method USING count(*)",
    "WITH p AS (PIVOT calls ON method USING count(*)) DELETE FROM parts.attempts",
    "DROP VIEW calls",
    "CALL pragma_version()",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_blob('/etc/hostname')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_json('{out}')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('{stray}')",
    "SELECT * FROM '{stray}'",
    "SELECT * FROM read_parquet('{folder}/*.parquet')",
    "SELECT * FROM read_text('{key}')",
    "SELECT * FROM read_text('http://127.0.0.1:9/x')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM parquet_metadata('{stray}')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{out}''')",
    "SELECT getenv('HOME')",
    "SELECT FROM WHERE",
    "SELECT nothing FROM calls",
    "SELECT * FROM calls WHERE path = 'x",
    "SELECT 1::INTEGER / 'a'",
    "SELECT INTERVAL 1 DAY",
]  # fmt: skip


@pytest.mark.parametrize("query", FORBIDDEN)
def test_sql_of_a_user_reads_the_lake_and_does_nothing_else(query: str, lake: Path, tmp_path: Path) -> None:
    committed = next((lake / "calls").rglob("*.parquet"))
    stray = committed.with_name("stray.parquet")
    pl.DataFrame({"secret": ["x"]}).write_parquet(stray)
    before = {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    key = lake / "_apilens" / "masking.key"
    text = query.format(out=out, file=committed, stray=stray, folder=committed.parent, key=key)
    with pytest.raises(UsageError):
        Lens(str(lake)).sql(text)
    assert not out.exists()
    assert {path: path.read_bytes() for path in lake.rglob("*") if path.is_file()} == before
    assert apilens("sql", text, "--lake", lake).code == 2


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SHOW TABLES", ("calls",)),
        ("DESCRIBE calls", ("timestamp", "TIMESTAMP WITH TIME ZONE", "YES", None, None, None)),
        ("PIVOT (SELECT method, status_code FROM calls) ON status_code USING count(*)", ("GET", 1)),
        ("/* é */ (PIVOT (SELECT method, status_code FROM calls) ON status_code USING count(*))", ("GET", 1)),
        ("WITH p AS (PIVOT calls ON method USING count(*) GROUP BY path) FROM p", ("/v1", 1)),
    ],
)
def test_what_an_analyst_tries_first_runs(query: str, row: tuple[object, ...], lake: Path) -> None:
    found = Lens(str(lake)).sql(query)
    assert found.row(0) == row
    if query == "SHOW TABLES":
        assert set(found["name"]) == {"calls", "rollups", "rejects", "ingests", "metrics"}


def test_what_is_no_sql_is_answered_with_the_views(lake: Path) -> None:
    assert "The views are calls, rollups, rejects, ingests, metrics; their columns: DESCRIBE calls" in apilens("sql", ".tables", "--lake", lake).err  # fmt: skip


def test_sql_opens_the_tables_that_the_query_names(lake: Path, tmp_path: Path) -> None:
    shutil.copytree(lake, tmp_path / "lake")
    shutil.rmtree(tmp_path / "lake" / "rollups")
    lens = Lens(str(tmp_path / "lake"))
    assert lens.sql("SELECT count(*) FROM Calls").item() > 0
    with pytest.raises(LakeError, match="table rollups is missing"):
        lens.sql("SELECT count(*) FROM rollups")
    views = Lens(str(lake)).sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")["view_name"]
    assert set(views) == {"calls", "rollups", "rejects", "ingests", "metrics"}


def test_sql_of_an_unknown_table_names_those_there_are(lake: Path) -> None:
    with pytest.raises(UsageError, match=r"'?call'? does not exist! The views are calls, rollups, rejects"):
        Lens(str(lake)).sql("SELECT * FROM call")


def test_a_side_effect_inside_a_select_stays_inside_its_connection(lake: Path) -> None:
    lens = Lens(str(lake))
    query = "WITH gone AS (DELETE FROM attempts RETURNING *) SELECT count(*) FROM gone"
    with suppress(UsageError):
        lens.sql(query)
    assert lens.sql("SELECT count(*) FROM ingests").item() == 1


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM calls",
        "SELECT * FROM rollups",
        "SELECT * FROM rejects",
        "SELECT * FROM ingests",
        "DESCRIBE calls",
        "SELECT * FROM calls WHERE false",
        "SELECT 1 AS a, 2 AS a, NULL, [1, 2], {'a': 1}, MAP {'a': 1}, 1::HUGEINT, 1.5::DECIMAL(38, 10)",
        "SELECT 'a\u2028b\u0085c\x0bd', '=1+1', DATE '2026-03-09', TIMESTAMPTZ '2026-03-09', uuid(), '\\xFF'::BLOB",
    ],
)
def test_every_column_a_query_can_give_has_a_form_in_every_output(query: str, output: str, lake: Path) -> None:
    ran = apilens("sql", query, "--lake", lake, "--output", output)
    assert (ran.code, ran.err) == (0, "")
    height = Lens(str(lake)).sql(query).height
    if output == "json":
        assert len(ran.json()["rows"]) == height
    elif output == "ndjson":
        assert len(ran.rows()) == height
