"""Implicit signals: a log in which each has its own endpoint, and a quiet one with nothing to say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from apilens.measure.signals import IMPLICIT, SIGNALS
from commands import apilens, ingest

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
LAYOUT = '$remote_addr - $remote_user [$time_iso8601] "$request" $status $body_bytes_sent'
Call = tuple[float, str, str, int, int]  # seconds, consumer, path, status, bytes


def lake_of(folder: Path, calls: list[Call]) -> Path:
    lines = [
        f'203.0.113.9 - {who} [{(START + timedelta(seconds=int(at))).isoformat()}] "GET {path} HTTP/1.1" {status} {size}\n'
        for at, who, path, status, size in sorted(calls)
    ]
    (folder / "access.log").write_text("".join(lines))
    ingest(folder / "lake", folder / "access.log", "--log-format", LAYOUT)
    return folder / "lake"


def quiet() -> list[Call]:
    """Ten consumers at work for eight hours, one call in forty fails, nobody minds."""
    return [
        (90.0 * i + 7 * who, f"app-{who}", f"/v1/things{i % 3}/{i}", 404 if (i + who) % 40 == 0 else 200, 300 + i)
        for who in range(10)
        for i in range(320)
    ]


#: What happens on an endpoint of its own, per signal.
STORIES: dict[str, list[Call]] = {
    "retries": [(600.0 * i + 10 * n, f"app-{i % 10}", "/v1/pay", 503 if n < 2 else 200, 9) for i in range(12) for n in range(3)],
    "abandonment": [(60.0 * n + 9_000 * k, f"user-{u}", "/v1/form" if n == 5 else "/v1/page", 500 if n == 5 else 200, 9 + n) for u in range(5) for k in range(3) for n in range(6)],
    "polling": [(5.0 * n, "app-3", "/v1/jobs/7", 200, 44) for n in range(400)],
    "auth_loop": [(20.0 * n, "app-4", "/v1/token", 401, 9) for n in range(60)],
    "client_mistakes": [(300.0 * n, f"app-{n % 5}", "/v1/search", 422 if n % 2 else 200, n) for n in range(90)],
    "quota": [(300.0 * n, "app-6", "/v1/export", 429 if n % 3 == 0 else 200, n) for n in range(90)],
    "client_aborts": [(300.0 * n, f"app-{n % 4}", "/v1/report", 499 if n % 5 == 0 else 200, n) for n in range(90)],
    "old_version": [(900.0 * n, f"app-{n % 2}", f"/v{1 + n % 2}/orders", 200, n) for n in range(30)],
}  # fmt: skip


def found(folder: Path, calls: list[Call]) -> pl.DataFrame:
    ran = apilens("signals", "--lake", lake_of(folder, calls), "--output", "ndjson")
    assert ran.code == 0, ran.err
    rows = ran.rows()
    return pl.DataFrame(rows, schema_overrides={"signal": pl.String}) if rows else IMPLICIT.to_frame()


def test_every_signal_has_a_story_here() -> None:
    assert set(STORIES) == set(SIGNALS)


@pytest.mark.parametrize("name", STORIES)
def test_each_story_is_told_by_its_signal(name: str, tmp_path: Path) -> None:
    rows = found(tmp_path, quiet() + STORIES[name]).filter(pl.col("signal") == name)
    expected = {
        "retries": ("/v1/pay", 24, 10), "abandonment": ("/v1/form", 15, 5), "polling": ("/v1/jobs/{id}", 360, 1),
        "auth_loop": ("/v1/token", 60, 1), "client_mistakes": ("/v1/search", 45, 5), "quota": ("/v1/export", 30, 1),
        "client_aborts": ("/v1/report", 18, 4), "old_version": ("/v1/orders", 15, 1),
    }[name]  # fmt: skip
    assert rows.select("route", "calls", "consumers").rows() == [expected]
    assert rows["category"].to_list() == [SIGNALS[name].category]
    assert "{calls}" not in rows["says"][0] and "{share}" not in rows["says"][0]
    assert "1 consumers" not in rows["says"][0]


def test_a_retry_begins_behind_the_end_of_a_failure_and_a_second_gateway_is_none(tmp_path: Path) -> None:
    edge, inner = [], []
    for n in range(12):
        at = START + timedelta(minutes=10 * n)
        for behind_s, status, took_s, path in ((0, 504, 60, "/slow"), (62, 200, 1, "/slow"), (0, 503, 1, "/passed")):
            end = at + timedelta(seconds=behind_s + took_s)
            edge.append(
                f'203.0.113.9 - app-{n % 3} [{end.isoformat()}] "GET {path}/{n} HTTP/1.1" {status} 5 {took_s}.000\n'
            )
        inner.append(
            f'{{"started_at":{at.timestamp() * 1000 + 20:.0f},"latencies":{{"request":900}},"request":{{"method":"GET","uri":"/passed/{n}"}},'
            f'"response":{{"status":503}},"consumer":{{"username":"app-{n % 3}"}}}}\n'
        )
    (tmp_path / "access.log").write_text("".join(edge))
    (tmp_path / "kong.json").write_text("".join(inner))
    ingest(tmp_path / "lake", tmp_path / "access.log", "--log-format", LAYOUT + " $request_time")
    ingest(tmp_path / "lake", tmp_path / "kong.json")
    rows = apilens("signals", "--lake", tmp_path / "lake", "--output", "ndjson").rows()
    assert [(row["route"], row["calls"]) for row in rows if row["signal"] == "retries"] == [("/slow/{id}", 12)]


def test_callers_that_nobody_names_are_not_none(tmp_path: Path) -> None:
    (says,) = found(tmp_path, [(20.0 * n, "-", "/v1/token", 401, 9) for n in range(60)])["says"]
    assert says == "GET /v1/token turned unnamed callers away in a loop, 60 times"


def test_ordinary_work_with_an_odd_error_says_nothing(tmp_path: Path) -> None:
    assert found(tmp_path, quiet())["says"].to_list() == []
    ran = apilens("signals", "--lake", tmp_path / "lake")
    assert ran.out == "" and "no signals in this window" in ran.err
