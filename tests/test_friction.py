"""Friction as candidates: each signal where it is much and by several, nothing in ordinary worlds, and none behind a known cause."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.friction import THRESHOLDS, behind, find_friction
from apilens.measure.signals import SIGNALS, friction
from apilens.schema import OTHER_SIGNALS
from apilens.store import open_state
from commands import apilens, ingest
from test_detect import quiet_world, rollups_of
from test_signals import LAYOUT, START, Call


def at_work(hours: int) -> list[Call]:
    """Ten consumers at work, one call in forty fails, nobody minds."""
    return [
        (90.0 * i + 7 * who, f"app-{who}", f"/v1/things{i % 3}/{i}", 404 if (i + who) % 40 == 0 else 200, 300 + i)
        for who in range(10)
        for i in range(hours * 40)
    ]


#: What happens on an endpoint of its own within a quarter of a day, per signal; and how many consumers it hits.
STORIES: dict[str, tuple[list[Call], int]] = {
    "retries": ([(600.0 * i + 10 * n, f"app-{i % 10}", "/v1/pay", 503 if n < 2 else 200, 9) for i in range(12) for n in range(3)], 10),
    "abandonment": ([(60.0 * n + 5_400 * k, f"user-{u}", "/v1/form" if n == 5 else "/v1/page", 500 if n == 5 else 200, 9 + n) for u in range(5) for k in range(3) for n in range(6)], 5),
    "polling": ([(5.0 * n, "app-3", "/v1/jobs/7", 200, 44) for n in range(400)], 1),
    "auth_loop": ([(20.0 * n, "app-4", "/v1/token", 401, 9) for n in range(60)], 1),
    "client_mistakes": ([(200.0 * n, f"app-{n % 5}", "/v1/search", 422 if n % 2 else 200, n) for n in range(90)], 5),
    "quota": ([(200.0 * n, "app-6", "/v1/export", 429 if n % 3 == 0 else 200, n) for n in range(90)], 1),
    "client_aborts": ([(100.0 * n, f"app-{n % 4}", "/v1/report", 499 if n % 5 == 0 else 200, n) for n in range(180)], 4),
    "old_version": ([(200.0 * n, f"app-{n % 4}", f"/v{1 + n % 2}/orders", 200, n) for n in range(90)], 2),
}  # fmt: skip


def lake_of(folder: Path, calls: list[Call]) -> Path:
    (folder / "access.log").write_text(
        "".join(
            f'203.0.113.9 - {who} [{(START + timedelta(seconds=int(at))).isoformat()}] "GET {path} HTTP/1.1" {status} {size}\n'
            for at, who, path, status, size in sorted(calls)
        )
    )
    ingest(folder / "lake", folder / "access.log", "--log-format", LAYOUT)
    return folder / "lake"


def scanned(lake: Path) -> list[dict[str, Any]]:
    ran = apilens("scan", "--lake", lake, "--output", "ndjson")
    assert ran.code == 0, ran.err
    return ran.rows()


def test_every_signal_has_a_threshold_a_word_and_a_story() -> None:
    assert set(THRESHOLDS) == set(SIGNALS) == set(STORIES)
    assert set(OTHER_SIGNALS) == {"system", "clock_skew", "log_gap", *SIGNALS}
    assert {name: one.category for name, one in THRESHOLDS.items()} == {
        name: one.category for name, one in SIGNALS.items()
    }


def test_each_story_stands_in_the_queue_as_a_ticket_or_behind_the_incident_it_belongs_to(tmp_path: Path) -> None:
    """START is 08:00: the quarter of the day from 12:00 to 18:00 holds the stories."""
    late = [(at + 4 * 3600 + 60, *rest) for story, _ in STORIES.values() for at, *rest in story]
    lake = lake_of(tmp_path, at_work(12) + late)  # type: ignore[arg-type]  # a star in the middle loses the types
    rows = scanned(lake)
    own = {row["signal"]: row for row in rows if row["signal"] in STORIES}
    beside = {one["name"]: row for row in rows for one in row["evidence"] if one["kind"] == "friction"}
    assert set(own) | set(beside) == set(STORIES)
    assert set(own) & set(beside) == set()
    assert {name: row["consumers_hit"] for name, row in own.items()} == {name: STORIES[name][1] for name in own}
    for name, row in own.items():
        assert (row["category"], row["detected_at"][:16]) == (SIGNALS[name].category, "2026-03-02T18:30")
        assert row["endpoints"][0] in row["title"]
    for name, row in beside.items():
        assert row["signal"] in THRESHOLDS[name].behind
    queued = apilens("queue", "--lake", lake, "--output", "ndjson").rows()
    assert {row["id"] for row in rows} <= {row["id"] for row in queued}


def test_a_story_without_an_incident_is_a_ticket(tmp_path: Path) -> None:
    """One client that polls harms nobody."""
    story = [(at + 4 * 3600 + 60, *rest) for at, *rest in STORIES["polling"][0]]
    lake = lake_of(tmp_path, at_work(12) + story)  # type: ignore[arg-type]  # a star in the middle loses the types
    (row,) = scanned(lake)
    assert (row["signal"], row["category"], row["hint"]["consumer"]) == ("polling", "enhancement", "app-3")
    assert scanned(lake) == [row]  # from what is kept of the blocks
    with open_state(str(lake), None) as store:
        assert "app-3" in str(store.blocks())
    assert apilens("lake", "forget", "--consumer", "app-3", "--lake", lake).code == 0
    with open_state(str(lake), None) as store:
        assert (store.blocks(), "app-3" in str(store.candidates().to_dicts())) == ({}, False)


def test_ordinary_work_is_no_ticket(tmp_path: Path) -> None:
    assert scanned(lake_of(tmp_path, at_work(24))) == []


def test_an_uneven_world_without_friction_raises_nothing() -> None:
    world = quiet_world(3, endpoints=8, days=4)
    calls = world.with_columns(
        path=pl.format("{}/{}", "route", pl.int_range(pl.len())),
        client_ip=pl.lit("203.0.113.9"),
        response_bytes=pl.lit(100),
        response_body_bytes=pl.lit(None, pl.Int64),
        response_flags=pl.lit(None, pl.String),
        gateway=pl.lit("nginx"),
        source_file=pl.lit("x"),
        source_offset=pl.int_range(pl.len()),
    )
    first, last = (calls["start_time"].dt.truncate("6h").min(), calls["start_time"].max())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("calls", calls.to_arrow())
        rows = friction(connection, first, first + timedelta(days=4))  # type: ignore[operator, arg-type]  # a Datetime column
    found = find_friction(rows, rollups_of(world), now=last)  # type: ignore[arg-type]
    assert found["title"].to_list() == []


def rows_of(
    shares: list[float], calls: int = 400, signal: str = "client_mistakes"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """FRICTION and ROLLUPS of one endpoint, a share per quarter of a day."""
    blocks = [START.replace(hour=0) + timedelta(hours=6 * i) for i in range(len(shares))]
    names = {"environment": "default", "service": None, "method": "GET", "route": "/x"}
    from apilens.measure.signals import FRICTION

    marked = [
        {"block": at, "signal": signal, **names, "calls": int(share * calls), "consumers": 6, "top_consumer": "app-1",
         "top_share": 0.3, "first_seen": at, "last_seen": at + timedelta(hours=5), "request_ids": [f"r{at:%d%H}"]}
        for at, share in zip(blocks, shares, strict=True) if share * calls >= 5
    ]  # fmt: skip
    counted = [{"bin_start": at, **names, "calls": calls} for at in blocks]
    return pl.DataFrame(marked, schema=FRICTION), pl.DataFrame(counted, schema=schema.ROLLUPS)


def test_what_is_usual_for_an_endpoint_is_no_news_and_three_times_that_is() -> None:
    usual = [0.08] * 16
    assert find_friction(*rows_of(usual), now=START + timedelta(days=9)).is_empty()
    found = find_friction(*rows_of([*usual, 0.26, 0.26]), now=START + timedelta(days=9))
    assert found.select("consumers_hit", pl.col("expected").round(3), pl.col("observed").round(3)).rows() == [
        (6, 0.08, 0.26)
    ]
    assert found["start"][0] == START.replace(hour=0) + timedelta(days=4)


def test_cut_at_any_time_the_same_friction_is_known() -> None:
    marked, counted = rows_of([0.02] * 12 + list(np.tile([0.4, 0.02, 0.02], 4)))
    whole = find_friction(marked, counted, now=START + timedelta(days=9))
    for hours in range(60, 120, 7):
        now = START + timedelta(hours=hours)
        then = find_friction(marked, counted.filter(pl.col("bin_start") < now), now=now)
        assert then["id"].to_list() == whole.filter(pl.col("detected_at") <= now)["id"].to_list()


def test_a_surge_made_by_polling_is_one_ticket() -> None:
    found = find_friction(*rows_of([0.02] * 12 + [0.9], signal="polling"), now=START + timedelta(days=9))
    surge = {"id": "i", "signal": "traffic", "environment": "default", "endpoints": ["GET /x"], "detected_at": found["detected_at"][0], "observed": 90.0, "expected": 9.0}  # fmt: skip
    alone, evidence = behind(found, pl.DataFrame([surge], schema=schema.CANDIDATES))
    assert (alone.height, [one["name"] for one in evidence["i"]]) == (0, ["polling"])
    drop = surge | {"observed": 1.0}
    assert behind(found, pl.DataFrame([drop], schema=schema.CANDIDATES))[0].height == 1


def test_the_other_side_of_a_known_incident_is_its_evidence() -> None:
    found = find_friction(*rows_of([0.02] * 12 + [0.4]), now=START + timedelta(days=9))
    incident = {"id": "i", "signal": "errors", "environment": "default", "endpoints": ["GET /x"], "detected_at": found["detected_at"][0]}  # fmt: skip
    alone, evidence = behind(found, pl.DataFrame([incident], schema=schema.CANDIDATES))
    assert alone.is_empty()
    assert [(one["kind"], one["name"], one["value"]) for one in evidence["i"]] == [
        ("friction", "client_mistakes", "GET /x")
    ]
    for other in (
        {"signal": "traffic"},
        {"endpoints": ["GET /y"]},
        {"detected_at": found["detected_at"][0] + timedelta(seconds=1)},
    ):
        alone, evidence = behind(found, pl.DataFrame([incident | other], schema=schema.CANDIDATES))
        assert (alone.height, evidence) == (1, {})
