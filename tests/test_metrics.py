"""System metrics: exports as Prometheus and Grafana write them, what is counted, limits, the past, and evidence."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from apilens.detect.system import coincident, find_system, series_of
from apilens.lens import Lens
from apilens.metrics import Rule, read_metrics
from apilens.reports import traces
from apilens.schema import METRICS
from commands import apilens, ingest

START = datetime(2026, 3, 2, tzinfo=UTC)
NUL_AND_ESC = "a\x1b[31m\x00\u202e<script>=1+1'; DROP TABLE metrics; --"


def matrix(*series: tuple[dict[str, str], list[Any]]) -> str:
    result = [{"metric": labels, "values": values} for labels, values in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def rows(text: str, name: str = "cpu.json", **more: Any) -> list[tuple[Any, ...]]:
    found = read_metrics(text, name, tz=UTC, **more)
    return found.samples.select("metric", "node", "kind", "unit", "value", pl.col("timestamp").dt.epoch("s")).rows()


# -- exports -----------------------------------------------------------------------------------------------------


def test_a_range_query_is_read_with_its_nodes_and_units() -> None:
    text = matrix(
        ({"__name__": "node_memory_used_percent", "instance": "gw-1:9100", "env": "prod"}, [[1772409600, "42"]]),
        ({"__name__": "db_query_seconds", "host": "db-1"}, [[1772409600.5, "0.25"]]),
        ({"instance": "[::1]:9100"}, [[1772409600, "0.5"]]),
    )
    assert rows(text) == [
        ("node_memory_used_percent", "gw-1", "memory", "ratio", 0.42, 1772409600),
        ("db_query_seconds", "db-1", "database", "ms", 250.0, 1772409600),
        ("cpu", "[::1]", "cpu", "ratio", 0.5, 1772409600),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '"Time","cpu gw-1","mem_used{instance=""gw-2""}"\n2026-03-02 00:00:00,12.5%,1.5 GiB\n',
            [("cpu gw-1", None, "cpu", "ratio", 0.125), ("mem_used", "gw-2", "memory", "bytes", 1.5 * 2**30)],
        ),
        ("sep=;\r\nSeries;Time;Value\r\ncpu_usage;2026-03-02T00:00:00Z;80\r\n", [("cpu_usage", None, "cpu", "ratio", 0.8)]),
        ("time,host,disk_used,note\n1772409600000,gw-1,0.5,x\n", [("disk_used", "gw-1", "disk", "ratio", 0.5)]),
        ("ts\tmetric\tnode\tvalue\n1772409600\tpg_latency_ms\tdb\t1,200.5\n", [("pg_latency_ms", "db", "database", "ms", 1200.5)]),
        ("Time;cpu;mem\n2026-03-02 00:00:00;12,5 %;1,5 GiB\n", [("cpu", None, "cpu", "ratio", 0.125), ("mem", None, "memory", "bytes", 1.5 * 2**30)]),
        ("time;db_latency_ms\n2026-03-02;1.234,5\n", [("db_latency_ms", None, "database", "ms", 1234.5)]),
        ('time,db_latency_ms\n2026-03-02,"0,123"\n', [("db_latency_ms", None, "database", "ms", 0.123)]),
        ("Time;Host;cpu\n02.03.2026 00:00;gw-1;0,5\n", [("cpu", "gw-1", "cpu", "ratio", 0.5)]),
        ("time,cpu\n2026/03/02 00:00:00,0.5\n", [("cpu", None, "cpu", "ratio", 0.5)]),
        ("timestamp;hostname;%memused\n2026-03-02 00:00:00 UTC;gw-1;50.00\n", [("%memused", "gw-1", "memory", "ratio", 0.5)]),
        ("time;host;0\n2026-03-02;gw-1;50\n", [("0", "gw-1", "other", "", 50.0)]),
        ("#group,false,true\n#default,,\n,_time,_value,_field,host\n,2026-03-02T00:00:00Z,50,cpu_percent,gw-1\n", [("cpu_percent", "gw-1", "cpu", "ratio", 0.5)]),
    ],
    ids=["grafana wide", "grafana rows", "one column per metric", "one row per sample",
         "decimal comma", "decimal comma with dots", "quoted decimal comma", "day first", "slashes", "sadf", "a name that is a number", "influx"],
)  # fmt: skip
def test_tables_are_read(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert [row[:5] for row in rows(text, "panel.csv")] == expected
    assert {row[5] for row in rows(text, "panel.csv")} == {1772409600}


def test_what_is_no_sample_is_counted_and_said() -> None:
    points = [
        [1772409600, "1"],
        [1772409660, "NaN"],
        [1772409720, "x"],
        [None, "1"],
        [99e99, "1"],
        [1772409780, "1e300"],
        "y",
    ]
    found = read_metrics(matrix(({"__name__": "cpu"}, points)), "x", tz=UTC)
    assert (found.read, found.samples.height, found.empty, len(found.rejects)) == (7, 1, 1, 5)
    assert ("cpu sample 3", "value is \"[1772409720, 'x']\", expected a number") in found.rejects
    stale = '{"metric":{"__name__":"up"},"values":[1,null],"timestamps":[1772409600000,1772409660000]}\n'
    found = read_metrics(stale, "victoria", tz=UTC)
    assert (found.samples.height, found.empty, found.rejects) == (1, 1, [])
    found = read_metrics("time,cpu\n1772409600,1\n1772409660\n1772409720,\nlater,3\n1772409780,abc\n", "x", tz=UTC)
    assert (found.read, found.samples.height, found.empty) == (5, 1, 1)
    assert found.rejects[0] == ("line 3", "has 1 fields, expected 2")


def test_a_quiet_hour_in_percent_is_not_read_as_ratios() -> None:
    first = read_metrics("time,cpu_usage\n1772409600,55\n", "x", tz=UTC)
    known = first.samples
    again = read_metrics("time,cpu_usage\n1772413200,0.8\n", "x", tz=UTC, known=known)
    assert again.samples["value"].to_list() == pytest.approx([0.008])
    said = read_metrics("time,cpu_usage\n1772413200,0.8\n", "x", tz=UTC, rules=(Rule("cpu*", unit="percent"),))
    assert said.samples["value"].to_list() == pytest.approx([0.008])


# -- import ------------------------------------------------------------------------------------------------------


def test_importing_again_adds_nothing_whatever_the_file_is_called(tmp_path: Path) -> None:
    early, late = ([[1772409600 + 60 * i, str(i)] for i in numbers] for numbers in (range(50), range(30, 80)))
    for name, points in (("a.json", early), ("b.json", late), ("copy.json", early)):
        # An export that was made pretty is the same export.
        (tmp_path / name).write_text(json.dumps(json.loads(matrix(({"__name__": "m"}, points))), indent=1))
    lake = tmp_path / "lake"
    ran = apilens("metrics", "import", tmp_path / "a.json", tmp_path / "b.json", "--lake", lake, "--output", "json")
    assert [(one["read"], one["stored"], one["duplicate"]) for one in ran.json()["files"]] == [
        (50, 50, 0),
        (50, 30, 20),
    ]
    ran = apilens("metrics", "import", tmp_path / "copy.json", "--lake", lake)
    assert "read 50 = stored 0 + rejected 0 + empty 0 + duplicate 50" in ran.out
    assert "80" in apilens("sql", "SELECT count(*) FROM metrics", "--lake", lake).out
    apilens("lake", "compact", "--lake", lake)
    apilens("lake", "vacuum", "--retention-hours", 0, "--lake", lake)
    assert apilens("metrics", "--lake", lake, "--output", "ndjson").rows()[0]["samples"] == 80
    assert apilens("lake", "info", "--lake", lake, "--output", "json").json()["tables"]["metrics"]["rows"] == 80


def test_what_cannot_be_used_says_why_and_how_it_ended(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("time,cpu\n1772409600,1\n")
    (tmp_path / "failed.json").write_text('{"status":"error","error":"query timed out"}')
    (tmp_path / "scalar.json").write_text('{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}')
    (tmp_path / "prose.txt").write_text("nothing of use\n")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "words.csv").write_text("time,name\nyesterday,x\n")
    (tmp_path / "nameless.csv").write_text("2026-03-02T00:00:00Z,0.5\n2026-03-02T00:01:00Z,0.6\n")
    lake = tmp_path / "lake"
    bad = ("failed.json", "scalar.json", "prose.txt", "deep.json", "words.csv", "nameless.csv", "missing.csv")
    ran = apilens("metrics", "import", *(tmp_path / name for name in bad), "--lake", lake)
    assert (ran.code, ran.out) == (3, "")
    for name, word in zip(
        bad, ("timed out", "scalar", "no export", "JSON", "times", "line of names", "does not exist"), strict=True
    ):
        assert any(name in line and word in line for line in ran.err.splitlines()), (name, ran.err)
    assert apilens("metrics", "import", tmp_path / "good.csv", tmp_path / "prose.txt", "--lake", lake).code == 4
    assert apilens("metrics", "import", "-", "--name", "cpu_x", "--lake", lake, stdin=b'[{"metric":{},"values":[[1772409600,"1"]]}]').code == 0  # fmt: skip
    assert "cpu_x" in apilens("metrics", "--lake", lake).out
    ran = apilens(
        "metrics", "import", "-", "--tz", "Asia/Tokyo", "--lake", lake, stdin=b"time,mem\n2026-03-02 09:00:00,1\n"
    )
    assert (
        ran.code,
        str(Lens(str(lake)).metrics().filter(pl.col("metric") == "mem").collect()["timestamp"][0])[:16],
    ) == (
        0,
        "2026-03-02 00:00",
    )


def test_hostile_names_stay_text_on_their_way(tmp_path: Path) -> None:
    labels = {"__name__": NUL_AND_ESC, "instance": NUL_AND_ESC, "env": "prod", NUL_AND_ESC: NUL_AND_ESC}
    values = [[1772409600 + 300 * i, "0.99"] for i in range(12)] + [[2**64, "1"], [1772409600, str(2**64)]]
    (tmp_path / "x.json").write_text(matrix((labels, values)))
    (tmp_path / "my.toml").write_text('[[metrics]]\nmatch = "*"\nkind = "cpu"\nunit = "ratio"\nabove = 0.9\n')
    ingest(tmp_path / "lake", tmp_path / "access.log") if (tmp_path / "access.log").write_text(
        "".join(f'203.0.113.7 - - [02/Mar/2026:{h:02}:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "c"\n' for h in range(3))
    ) else None
    own = ("--lake", tmp_path / "lake", "--config", tmp_path / "my.toml")
    assert apilens("metrics", "import", tmp_path / "x.json", *own).code == 4
    for ran in (apilens("metrics", *own), apilens("scan", *own)):
        assert (ran.code, "\x1b" in ran.out + ran.err, "\x00" in ran.out) == (0, False, False), ran.err
    (found,) = apilens("scan", *own, "--output", "ndjson").rows()
    assert (found["signal"], found["severity"], found["environment"]) == ("system", "high", "prod")
    apilens("triage", "--lake", tmp_path / "lake")
    for command in (("queue",), ("tickets", "plan", "--tracker", f"folder:{tmp_path}/t"), ("explain", found["id"])):
        ran = apilens(*command, "--lake", tmp_path / "lake")
        assert (ran.code, "\x1b" in ran.out) == (0, False), (command, ran.err)
    ran = apilens("report", "--lake", tmp_path / "lake", "--out", tmp_path / "r.html")
    assert ran.code == 0, ran.err
    page = (tmp_path / "r.html").read_text()
    assert "<script>=1" not in page and 'svg class="spark"' in page


# -- candidates and evidence --------------------------------------------------------------------------------------


def samples(
    change: Any = None, *, days: int = 6, seed: int = 1, metric: str = "cpu_usage", nodes: int = 2
) -> pl.DataFrame:
    """A daily rhythm with noise on some nodes; change: (time, node) -> what is added."""
    random = np.random.default_rng(seed)
    parts = []
    for node in range(nodes):
        times = [START + timedelta(minutes=5 * i) for i in range(days * 288)]
        level = [0.3 + 0.15 * math.cos((at.hour - 14) / 24 * 2 * math.pi) for at in times]
        value = [
            one + random.normal(0, 0.03) + (change(at, node) if change else 0.0)
            for at, one in zip(times, level, strict=True)
        ]
        csv = "time,host,value,metric\n" + "".join(
            f"{at.isoformat()},gw-{node},{max(one, 0.0)},{metric}\n" for at, one in zip(times, value, strict=True)
        )
        parts.append(read_metrics(csv, "x", tz=UTC).samples)
    texts = {name: pl.lit("", pl.String) for name in ("source_file", "import_id")}
    return pl.concat(parts).with_columns(**texts).select(METRICS.names())


def found(frame: pl.DataFrame, now: datetime = START + timedelta(days=6), rules: tuple[Rule, ...] = ()) -> pl.DataFrame:
    return find_system(series_of(frame, rules, now=now), now=now, environment=None)


FAULT = START + timedelta(days=4, hours=10)


def during(hours: float, add: float) -> Any:
    return lambda at, node: add if node == 1 and FAULT <= at < FAULT + timedelta(hours=hours) else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_quiet_world_raises_nothing(seed: int) -> None:
    assert found(samples(seed=seed, nodes=6)).is_empty()


def test_beyond_its_limit_a_machine_is_raised_after_a_quarter_of_an_hour() -> None:
    rows = found(samples(during(3, 0.6)))
    assert rows.select("signal", "category", "state", "start", "detected_at").rows() == [
        ("system", "capacity", "ended", FAULT, FAULT + timedelta(minutes=15))
    ]
    assert rows["hint"].struct.field("node").to_list() == ["gw-1"]
    assert "limit 90 %" in rows["title"][0]
    assert 0.9 < rows["evidence"][0][0]["during"] < 1.1


def test_the_picture_is_of_the_series_whose_figures_stand_above_it() -> None:
    frame = pl.concat([samples(during(3, 0.6)), samples(during(3, 0.6), metric="a_queue", seed=2)])
    (row,) = found(frame).to_dicts()
    drawn = traces.of_metric(row, frame, (), now=START + timedelta(days=6))
    assert drawn["name"].unique().to_list() == ["cpu_usage gw-1"]
    inside = drawn.filter(pl.col("bin_start").is_between(row["start"], row["end"], closed="left"))
    assert inside["value"].mean() == pytest.approx(row["observed"])
    assert drawn.height == 6 * 288 and drawn["beside"].is_null().all()


def test_far_above_its_past_it_is_raised_after_an_hour() -> None:
    rows = found(samples(during(3, 0.3)))
    assert [str(at - FAULT) for at in rows["detected_at"]] == ["1:00:00"]
    assert found(samples(during(0.5, 0.3))).is_empty()


def test_limits_are_those_of_the_configuration() -> None:
    assert found(samples(), rules=(Rule("cpu*", above=0.35, minutes=60),)).height > 0
    assert found(samples(during(3, 0.6)), rules=(Rule("cpu*", unit="percent", above=150),)).height == 1  # by its past
    assert found(samples(during(3, 0.6), days=1), now=START + timedelta(days=1)).is_empty()


def test_the_past_cut_at_any_time_gives_the_same_candidates() -> None:
    frame = samples(lambda at, node: 0.6 if (at - START) % timedelta(hours=31) > timedelta(hours=29) else 0.0)
    whole = found(frame)
    assert whole.height >= 2
    for cut in (START + timedelta(days=2, hours=3), FAULT, START + timedelta(days=5, hours=7, minutes=35)):
        then = found(frame.filter(pl.col("timestamp") < cut), now=cut)
        fixed = ["id", "detected_at", "start"]
        assert then.select(fixed).rows() == whole.filter(pl.col("detected_at") <= cut).select(fixed).rows()


def test_the_buckets_of_a_histogram_are_counters_and_no_latencies() -> None:
    points = [[1772409600 + 60 * i, str(60 * i)] for i in range(3)]
    found = read_metrics(matrix(({"__name__": "db_query_seconds_bucket", "le": "+Inf"}, points)), "x", tz=UTC).samples
    assert found.select("counter", "unit", "value").row(2) == (True, "", 120.0)


def test_what_is_counted_and_falls_is_no_counter() -> None:
    connections = [[1772409600 + 60 * i, str(80 + 5 * (i % 3))] for i in range(30)]
    calls = [[1772409600 + 60 * i, str(500 + 3 * i if i < 20 else 3 * i)] for i in range(30)]
    flat = [[1772409600 + 60 * i, "80"] for i in range(3)]
    series = (
        ({"__name__": "pg_stat_activity_count"}, connections),
        ({"__name__": "http_server_requests_count"}, calls),  # restarted once
        ({"__name__": "db_query_seconds_count"}, connections),
        ({"__name__": "hikari_connections_count"}, flat),
    )
    rules = (Rule("hikari_*", above=180),)
    found = read_metrics(matrix(*series), "x", tz=UTC, rules=rules).samples
    assert dict(found.select("metric", "counter").unique().rows()) == {
        "pg_stat_activity_count": False,
        "http_server_requests_count": True,
        "db_query_seconds_count": True,
        "hikari_connections_count": False,
    }


def test_a_counter_is_judged_by_its_increase_and_survives_a_restart() -> None:
    busy = samples(during(4, 5.0), metric="disk_io_time_total").sort("node", "timestamp")
    total = pl.col("value").cum_sum().over("node") * 300
    restarted = pl.when(pl.col("timestamp") >= START + timedelta(days=3)).then(total - 40_000).otherwise(total)
    rows = found(busy.with_columns(value=restarted, counter=pl.lit(True), unit=pl.lit("")))
    assert rows.select("start", pl.col("hint").struct.field("node")).rows() == [(FAULT, "gw-1")]


def test_what_moved_with_an_incident_is_named_and_a_morning_is_not() -> None:
    moved = series_of(samples(during(1, 0.4)), (), now=START + timedelta(days=6))
    named = coincident(moved, FAULT, FAULT + timedelta(hours=1))
    assert [(one["name"], one["value"]) for one in named] == [("cpu_usage", "gw-1")]
    assert named[0]["during"] - named[0]["before"] == pytest.approx(0.4, abs=0.06)
    for hour in range(24):
        at = START + timedelta(days=3, hours=hour)
        assert coincident(moved, at, at + timedelta(hours=1)) == []


def test_a_scan_names_the_metric_in_the_evidence_of_the_incident(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    lines = []
    for second in np.sort(random.random(9_000)) * 6 * 86_400:
        at = START + timedelta(seconds=int(second))
        status = 500 if FAULT <= at < FAULT + timedelta(hours=2) and random.random() < 0.7 else 200
        lines.append(f'203.0.113.9 - app [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET /pay HTTP/1.1" {status} 9 "-" "x/1"\n')
    (tmp_path / "access.log").write_text("".join(lines))
    ingest(tmp_path / "lake", tmp_path / "access.log")
    frame = samples(during(2, 0.4))
    frame.select("timestamp", "node", "metric", "value").write_csv(tmp_path / "cpu.csv", datetime_format="%FT%TZ")
    assert apilens("metrics", "import", tmp_path / "cpu.csv", "--lake", tmp_path / "lake").code == 0
    (incident,) = apilens("scan", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(one["kind"], one["name"], one["value"]) for one in incident["evidence"]] == [
        ("metric", "cpu_usage", "gw-1")
    ]
    assert "At the same time cpu_usage of gw-1 went from" in incident["explanation"]
    again = apilens("scan", "--lake", tmp_path / "lake", "--output", "ndjson")
    assert again.rows() == [incident]


def test_what_is_forgotten_takes_its_metrics_along(tmp_path: Path) -> None:
    call = '203.0.113.9 - app [02/Mar/2026:{:02}:00:00 +0000] "GET /pay HTTP/1.1" 200 9 "-" "x/1"\n'
    (tmp_path / "access.log").write_text("".join(call.format(hour) for hour in range(24)))
    (tmp_path / "cpu.csv").write_text(
        "time,cpu\n" + "".join(f"2026-03-02T{hour:02}:00:00Z,0.5\n" for hour in range(24))
    )
    lake = tmp_path / "lake"
    ingest(lake, tmp_path / "access.log")
    apilens("metrics", "import", tmp_path / "cpu.csv", "--lake", lake)
    assert apilens("lake", "forget", "--before", "2026-03-02T06:00Z", "--lake", lake).code == 0
    assert apilens("metrics", "--lake", lake, "--output", "ndjson").rows()[0]["samples"] == 18
