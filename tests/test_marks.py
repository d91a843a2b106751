"""The go-live mark, deployments, and a baseline from another lake, through the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from apilens.config import Mark
from commands import apilens, ingest

LAUNCH = datetime(2026, 3, 9, tzinfo=UTC)


def log(path: Path, start: datetime, days: float, failing: float, slow: float = 1.0, seed: int = 1) -> None:
    """Six endpoints with 40 calls an hour each; `failing`: share of /v1/a's calls that are answered with 500."""
    random = np.random.default_rng(seed)
    lines = []
    for second in np.sort(random.random(int(days * 24 * 240))) * days * 86_400:
        route = "abcdef"[random.integers(6)]
        status = 500 if random.random() < (failing if route == "a" else 0.002) else 200
        took = np.exp(random.normal(-2, 0.4)) * (slow if route == "b" else 1)
        at = start + timedelta(seconds=int(second))
        lines.append(
            f'203.0.113.9 - u{random.integers(9)} [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET /v1/{route} HTTP/1.1" {status} 9 "-" "x/1" {took:.3f}\n'
        )
    path.write_text("".join(lines))


def lake_of(path: Path, *logs: tuple[Any, ...]) -> Path:
    for number, one in enumerate(logs):
        file = path.with_suffix(f".{number}.log")
        log(file, *one, seed=number)  # type: ignore[misc]
        ingest(path, file, "--log-format", '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time')  # fmt: skip
    return path


def found(lake: Path, *options: object) -> list[tuple[str, str, str]]:
    ran = apilens("scan", "--lake", lake, "--output", "ndjson", *options)
    assert ran.code == 0, ran.err
    return [(row["signal"], row["endpoints"][0], row["detected_at"][:10]) for row in ran.rows()]


def test_marks_are_kept_once_and_listed_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = lake_of(tmp_path / "lake", (LAUNCH, 0.1, 0.0))
    for nothing in ("mark", "mute"):  # a heading alone, or nothing at all, looks like a failure
        ran = apilens(nothing, "--lake", lake)
        assert (ran.code, ran.out) == (0, "") and f"next: apilens {nothing} " in ran.err
    for _ in range(2):
        assert apilens("mark", "deploy", "2026-03-10T12:00Z", "--label", "orders 2", "--lake", lake).code == 0
    ran = apilens("mark", "go-live", "2026-03-09", "--lake", lake, "--output", "json")
    assert [(one["label"], one["go_live"]) for one in ran.json()["marks"]] == [("go-live", True), ("orders 2", False)]
    assert "orders 2" in apilens("mark", "--lake", lake).out
    marked = Mark.model_validate({"time": "2026-03-09T07:00+01:00", "label": "declared in another zone"})
    assert f"{marked.time:%H:%M}" == "06:00"  # what is printed as UTC is
    wrong = apilens("mark", "deploy", "2026-03-10T12:00Z", "--remove", "--label", "orders 3", "--lake", lake)
    assert wrong.code == 2 and "no deploy at 2026-03-10 12:00Z labelled 'orders 3'" in wrong.err
    assert apilens("mark", "go-live", "2026-03-10T12:00Z", "--remove", "--lake", lake).code == 2
    ran = apilens("mark", "deploy", "2026-03-10T13:00:30+01:00", "--remove", "--lake", lake, "--output", "json")
    assert "1 mark removed" in ran.err and [one["label"] for one in ran.json()["marks"]] == ["go-live"]
    assert apilens("mark", "--remove", "--lake", lake).code == 2
    monkeypatch.chdir(tmp_path)
    Path("apilens.toml").write_text('marks = [{time = "2026-03-09T06:00:20Z", label = "v2"}]')
    assert (
        "it stands in the configuration"
        in apilens("mark", "deploy", "2026-03-09T06:00Z", "--remove", "--lake", lake).err
    )
    assert apilens("mark", "deploy", "--lake", lake).code == 2
    assert apilens("mark", "--label", "x", "--lake", lake).code == 2


def test_marks_that_cannot_be_read_are_said_and_left_as_they_are(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", (LAUNCH, 0.01, 0.0))
    for damaged in ("{bad", "3", '[{"time": "x"}]'):
        (lake / "_apilens" / "marks.json").write_text(damaged)
        for command in (("mark",), ("mark", "deploy", "now"), ("mark", "deploy", "now", "--remove"), ("scan",)):
            ran = apilens(*command, "--lake", lake)
            assert ran.code == 3 and "marks.json: is damaged" in ran.err, ran
        assert (lake / "_apilens" / "marks.json").read_text() == damaged


def test_a_fault_that_stands_since_the_marked_go_live_is_found_behind_weeks_of_rehearsal(tmp_path: Path) -> None:
    """In the rehearsal, six days long, /v1/a failed as well: only the mark says that this is now a fault.

    Were it as bad as to be raised by itself in the rehearsal (12 %), that ticket would simply stay open.
    """
    lake = lake_of(tmp_path / "lake", (LAUNCH - timedelta(days=6), 6, 0.1), (LAUNCH, 1, 0.1))
    before = [one for one in found(lake) if one[2] >= "2026-03-09"]
    apilens("mark", "go-live", LAUNCH.isoformat(), "--lake", lake)
    assert before == []
    assert [one for one in found(lake) if one[2] >= "2026-03-09"] == [("errors", "GET /v1/a", "2026-03-09")]


def test_the_old_system_as_baseline_shows_on_the_first_day_what_became_slower(tmp_path: Path) -> None:
    new = lake_of(tmp_path / "new", (LAUNCH, 0.5, 0.0, 3.0))
    old = lake_of(tmp_path / "old", (LAUNCH - timedelta(days=300), 4, 0.0))
    assert found(new) == []
    assert found(new, "--baseline", old) == [("latency", "GET /v1/b", "2026-03-09")]


def test_a_baseline_of_another_environment_or_gateway_is_the_past_of_the_same_routes(tmp_path: Path) -> None:
    new = lake_of(tmp_path / "new", (LAUNCH, 0.5, 0.0, 3.0))
    log(tmp_path / "old.log", LAUNCH - timedelta(days=300), 4, 0.0, seed=0)
    calls = (tmp_path / "old.log").read_text()
    ingest(tmp_path / "rehearsal", tmp_path / "old.log", "--environment", "test")
    pattern = r'^\S+ - (?<consumer>\S+) \[(?<timestamp>[^\]]+)\] "(?<method>\S+) (?<path>\S+) [^"]+" (?<status_code>\d+) \d+ "-" "[^"]+" (?<duration_s>\S+)$'
    named = pl.Series(calls.splitlines()).str.extract_groups(pattern).struct.unnest()
    at = pl.col("timestamp").str.to_datetime("%d/%b/%Y:%H:%M:%S %z").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    other = named.with_columns(at, service=pl.concat_str(pl.lit("legacy-"), pl.col("path").str.tail(1)))
    other.write_csv(tmp_path / "gateway.csv")
    ingest(tmp_path / "gateway", tmp_path / "gateway.csv")
    for old in ("rehearsal", "gateway"):
        assert found(new, "--baseline", tmp_path / old) == [("latency", "GET /v1/b", "2026-03-09")], old
        ran = apilens("scan", "--lake", new, "--baseline", tmp_path / old)
        assert "the baseline has a past for 6 of 6 endpoints" in ran.err


def test_a_baseline_that_says_nothing_is_told(tmp_path: Path) -> None:
    new = lake_of(tmp_path / "new", (LAUNCH, 0.1, 0.0))
    (tmp_path / "other.log").write_text(
        '203.0.113.9 - a [01/Mar/2026:10:00:00 +0000] "GET /old HTTP/1.1" 200 9 "-" "x"\n'
    )
    ingest(tmp_path / "other", tmp_path / "other.log")
    ran = apilens("scan", "--lake", new, "--baseline", tmp_path / "other")
    assert ran.code == 0 and "a past for 0 of 6 endpoints: it changes nothing" in ran.err
    ran = apilens("scan", "--lake", new, "--baseline", f"{new}/")
    assert ran.code == 2 and "is this lake itself" in ran.err
