"""Error budgets against sums by hand, and the documents they are read from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from apilens import histogram, schema
from apilens.config import Config, load_config
from apilens.errors import ConfigError
from apilens.lens import load_slos
from apilens.measure.slo import Slo, budgets, burning, longest, silent
from commands import apilens, ingest

NOW = datetime(2026, 3, 29, tzinfo=UTC)


def rollups(rows: list[tuple[datetime, str, int, int, float]]) -> pl.DataFrame:
    """rows: bin, route, status, calls, ms of each."""
    frame = pl.DataFrame(rows, schema=["bin_start", "route", "status_code", "calls", "ms"], orient="row")
    return frame.select(
        *(
            pl.col(name).cast(dtype)
            if name in frame.columns
            else pl.lit("GET").alias(name)
            if name == "method"
            else pl.lit(None, dtype).alias(name)
            for name, dtype in schema.ROLLUPS.items()
            if name not in ("bucket", "bucket_calls")
        ),
        bucket=pl.concat_list(histogram.bucket(pl.col("ms"))),
        bucket_calls=pl.concat_list(pl.col("calls").cast(pl.Int32)),
    )


def hourly(bad_per_hour: dict[int, int], hours: int = 28 * 24) -> pl.DataFrame:
    """100 calls an hour for so many hours before NOW; bad_per_hour: hours ago → calls with a 500."""
    rows = []
    for ago in range(1, hours + 1):
        bad, at = bad_per_hour.get(ago, 0), NOW - timedelta(hours=ago)
        rows += [(at, "/pay", 200, 100 - bad, 40.0)] + ([(at, "/pay", 500, bad, 40.0)] if bad else [])
    return rollups(rows)


def one(frame: pl.DataFrame, slo: Slo) -> dict[str, object]:
    return budgets(frame, [slo], now=NOW).row(0, named=True)


def test_the_budget_that_is_left_is_what_was_allowed_less_what_was_spent() -> None:
    found = one(hourly({500: 60, 400: 7}), Slo("pay", 0.999))
    assert (found["calls"], found["bad"]) == (67_200, 67)
    assert found["budget_left"] == pytest.approx(1 - 67 / 67.2)
    assert (found["burn_6h"], found["hours_left"], found["alert"]) == (0.0, None, None)


def test_an_overspent_budget_is_negative_and_has_no_hours_left() -> None:
    found = one(hourly(dict.fromkeys(range(1, 200), 1)), Slo("pay", 0.999))
    assert found["budget_left"] == pytest.approx(1 - 199 / 67.2)
    assert found["hours_left"] == 0.0


def test_hours_to_exhaustion_follow_from_the_pace_of_six_hours() -> None:
    found = one(hourly(dict.fromkeys(range(1, 7), 5)), Slo("pay", 0.99))
    left = 1 - 30 / 672
    assert found["burn_6h"] == pytest.approx(5.0)
    assert found["hours_left"] == pytest.approx(left * 28 * 24 / 5)


def test_a_fast_burn_pages_only_while_it_lasts() -> None:
    rows = [(NOW - timedelta(minutes=5 * i), "/pay", 500 if i <= 12 else 200, 10, 1.0) for i in range(1, 600)]
    assert one(rollups(rows), Slo("pay", 0.99))["alert"] == "page"
    mended = [(NOW - timedelta(minutes=5 * i), "/pay", 500 if 7 <= i <= 12 else 200, 10, 1.0) for i in range(1, 600)]
    assert one(rollups(mended), Slo("pay", 0.99))["alert"] == "ticket"


def test_what_was_not_measured_is_not_up() -> None:
    found = one(hourly({}, hours=12), Slo("pay", 0.99, days=1))
    assert found["coverage"] == pytest.approx(12 / 288)
    assert found["good_ratio"] == 1.0
    nothing = one(hourly({}), Slo("other", 0.99, endpoints="GET /other"))
    assert (nothing["calls"], nothing["good_ratio"], nothing["budget_left"], nothing["coverage"]) == (
        0,
        None,
        None,
        0.0,
    )


def test_slow_calls_are_bad_where_the_objective_has_a_limit() -> None:
    frame = rollups(
        [(NOW - timedelta(hours=1), "/pay", 200, 90, 100.0), (NOW - timedelta(hours=1), "/pay", 404, 10, 900.0)]
    )
    assert one(frame, Slo("pay", 0.9, latency_ms=300.0))["bad"] == 10
    assert one(frame, Slo("pay", 0.9))["bad"] == 0


def test_the_seconds_of_a_bin_that_has_just_begun_silence_no_page() -> None:
    """Two seconds after the hour one good call has come: the last five minutes are still all but lost."""
    failing = [(NOW - timedelta(minutes=5 * i), "/pay", 500, 10, 1.0) for i in range(1, 13)]
    fine = [(NOW - timedelta(minutes=5 * i), "/pay", 200, 10, 1.0) for i in range(13, 600)]
    frame = rollups([(NOW, "/pay", 200, 1, 1.0), *failing, *fine])
    late = NOW + timedelta(seconds=2)
    found = budgets(frame, [Slo("pay", 0.99)], now=late).row(0, named=True)
    assert found["alert"] == "page"
    assert found["burn_1h"] == pytest.approx(100 * 120 / 121)
    assert longest([Slo("pay", 0.99, days=1)], late).start == NOW - timedelta(days=1)


def test_a_period_with_calls_in_each_of_its_bins_is_measured_as_a_whole() -> None:
    frame = rollups([(NOW - timedelta(minutes=5 * i), "/pay", 200, 1, 1.0) for i in range(300)])
    found = budgets(frame, [Slo("pay", 0.99, days=1)], now=NOW + timedelta(minutes=2))
    assert found["coverage"].item() == 1.0


def test_what_is_silent_and_what_burns_is_told_of_objectives_of_one_name() -> None:
    """Two files may call theirs alike: each is told by its own row."""
    rows = [(NOW - timedelta(minutes=5 * i), "/pay", 500 if i <= 12 else 200, 10, 1.0) for i in range(1, 600)]
    objectives = [Slo("pay", 0.99, endpoints="GET /pay"), Slo("pay", 0.99, endpoints="GET /refunds"), Slo("slow", 0.1)]
    found = budgets(rollups(rows), objectives, now=NOW)
    assert silent(found, objectives) == [objectives[1]]
    assert burning(found, "page")["name"].to_list() == ["pay"]
    ticket = found.with_columns(alert=pl.lit("ticket"))
    assert (burning(ticket, "page").height, burning(ticket, "ticket").height) == (0, 3)


@pytest.mark.parametrize("objective", [1.0, 0.0, 1.2])
def test_an_objective_without_a_budget_is_refused(objective: float) -> None:
    with pytest.raises(ConfigError, match="less than 100 %"):
        Slo("pay", objective)


OPENSLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: pay-fast, annotations: {endpoints: "* /v1/pay*"}}
spec:
  service: shop
  timeWindow: [{duration: 4w, isRolling: true}]
  objectives:
    - {displayName: fast, op: lte, value: 0.3, target: 0.95}
    - {displayName: slow, op: lte, value: 2, targetPercent: 99.5}
"""
SLOTH = """
version: prometheus/v1
service: shop
slos:
  - {name: available, objective: 99.9}
"""

KUBERNETES = """
apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata: {name: sloth-slo-shop}
spec: {service: shop, slos: [{name: available, objective: 99.9}]}
"""


def test_openslo_and_sloth_become_objectives(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OPENSLO)
    (tmp_path / "b.yaml").write_text(SLOTH)
    found = load_slos(Config(), [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")])
    assert found == [
        Slo("pay-fast fast", 0.95, "* /v1/pay*", None, 300.0, 28),
        Slo("pay-fast slow", 0.995, "* /v1/pay*", None, 2000.0, 28),
        Slo("available", 99.9 / 100, "*", "shop", None, 30),
    ]
    (tmp_path / "c.yaml").write_text(KUBERNETES)
    assert load_slos(Config(), [str(tmp_path / "c.yaml")]) == [found[2]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SLOTH.replace("99.9", "100"), r"x\.yaml: .*100 %"),
        (
            OPENSLO.replace('"* /v1/pay*"', '["GET /v1/pay", "GET /v1/refunds"]'),
            "2 patterns of endpoints, expected one",
        ),
        (SLOTH.replace("99.9", "often"), "expected a number"),
        (OPENSLO.replace("4w", "soon"), "expected for example 28d"),
        ("a: 1", "holds no SLO"),
        (SLOTH.replace(", objective: 99.9", ""), "is missing; expected a number"),
        (SLOTH.replace("99.9", "0.999"), r"in percent. Next: 99\.9$"),
        (OPENSLO.replace("op: lte, ", ""), "op of SLO 'pay-fast' is None; expected lt or lte"),
        (OPENSLO.replace("op: lte", "op: gte"), "op of SLO 'pay-fast' is 'gte'; expected lt or lte"),
        (
            OPENSLO.replace("timeWindow: [{duration: 4w, isRolling: true}]", "timeWindows: [{count: 7, unit: Day}]"),
            "expected timeWindow",
        ),
    ],
)
def test_a_document_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_slos(Config(), [str(tmp_path / "x.yaml")])


def test_an_objective_that_no_call_is_about_is_no_success(tmp_path: Path) -> None:
    """A gate whose service the logs do not name, or whose pattern has a slip, must not be green."""
    (tmp_path / "access.log").write_text('203.0.113.9 - - [02/Mar/2026:10:00:00 +0000] "GET /v1/pay HTTP/1.1" 200 9\n')
    ingest(tmp_path / "lake", tmp_path / "access.log")
    (tmp_path / "slo.yaml").write_text(SLOTH)
    ran = apilens("slo", "--lake", tmp_path / "lake", "--slo", tmp_path / "slo.yaml", "--fail-on", "page")
    assert ran.code == 4
    assert "'available' has no call of service 'shop' in its 30 days" in ran.err
    (tmp_path / "slo.yaml").write_text(SLOTH.replace("99.9}", '99.9, labels: {endpoints: "GET /v1/pay"}}'))
    assert apilens("slo", "--lake", tmp_path / "lake", "--slo", tmp_path / "slo.yaml").code == 0


def test_the_command_reads_the_configuration_and_fails_on_a_page(tmp_path: Path) -> None:
    lines = [
        f'203.0.113.9 - - [02/Mar/2026:{h:02d}:{m:02d}:00 +0000] "GET /v1/pay HTTP/1.1" {500 if h >= 11 else 200} 9\n'
        for h in range(12)
        for m in range(60)
    ]
    (tmp_path / "access.log").write_text("".join(lines))
    ingest(tmp_path / "lake", tmp_path / "access.log")
    (tmp_path / "apilens.toml").write_text('[[slo]]\nname = "pay"\nobjective = 0.999\nendpoints = "GET /v1/pay"\n')
    assert load_config(str(tmp_path / "apilens.toml")).slo[0].days == 28
    arguments = ("--lake", tmp_path / "lake", "--config", tmp_path / "apilens.toml", "--now", "2026-03-02T12:00Z")
    ran = apilens("slo", *arguments, "--fail-on", "page", "--output", "json")
    assert (ran.code, ran.json()["objectives"][0]["alert"], ran.json()["objectives"][0]["bad"]) == (1, "page", 60)
    assert "page" in apilens("slo", *arguments).out
    # 660 of 720: beside an objective of 92 %, 92 % would say nothing.
    assert "  91.66 %  " in apilens("slo", *arguments).out
    # A second objective that is silent hides no page: its exit code stands first, and what burns is named.
    with (tmp_path / "apilens.toml").open("a") as more:
        more.write('[[slo]]\nname = "refunds"\nobjective = 0.9\nendpoints = "GET /v1/refunds"\n')
    ran = apilens("slo", *arguments, "--fail-on", "page")
    assert ran.code == 4
    assert "'pay' (page)" in ran.err
    assert apilens("slo", "--lake", tmp_path / "lake").code == 2
