"""What carries a change: a table of calls where it is known, and a candidate through the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from apilens import schema
from apilens.measure.addresses import addresses
from apilens.measure.explain import explain
from commands import apilens, ingest

START = datetime(2026, 3, 3, 9, tzinfo=UTC)
END = START + timedelta(hours=2)


def calls(seed: int) -> pl.DataFrame:
    """A day and two hours of 4,000 calls by ten consumers through three nodes, 1 % of them answered with 500."""
    random = np.random.default_rng(seed)
    n = 4_000
    given = pl.DataFrame(
        {
            "start_time": [START - timedelta(days=1) + timedelta(hours=26 * at) for at in np.sort(random.random(n))],
            "consumer": random.integers(0, 10, n).astype(str),
            "node": random.integers(0, 3, n).astype(str),
            "duration_ms": np.exp(random.normal(4, 0.5, n)),
            "status_code": np.where(random.random(n) < 0.01, 500, 200),
        }
    )
    texts = {"method": "GET", "route": "/pay", "environment": "default", "user_agent": "x/1"}
    return given.select(
        *(
            pl.col(name).cast(dtype)
            if name in given.columns
            else pl.lit(texts.get(name), pl.String).alias(name).cast(dtype)
            for name, dtype in schema.CALLS.items()
            if name != "attributes"
        )
    )


def carriers(frame: pl.DataFrame, signal: str = "errors", status: int | None = 500) -> list[tuple[str, str]]:
    with duckdb.connect() as connection:
        connection.register("calls", frame.to_arrow())
        found = explain(
            connection,
            environment="default",
            endpoints=["GET /pay"],
            signal=signal,
            status=status,
            start=START,
            end=END,
        )
    return found.filter("carries").select("dimension", "value").rows()


def inside(where: pl.Expr) -> pl.Expr:
    return (pl.col("start_time") >= START) & where


def test_the_node_that_fails_is_named_and_nothing_else() -> None:
    broken = calls(1).with_columns(
        status_code=pl.when(inside(pl.col("node") == "1")).then(pl.lit(500, pl.Int16)).otherwise("status_code")
    )
    assert carriers(broken) == [("node", "1")]


@pytest.mark.parametrize("named", [True, False])
def test_an_upstream_without_a_name_is_one_dimension_and_one_with_a_name_two(named: bool) -> None:
    address = pl.format("10.0.0.{}:80", "node")
    frame = calls(1).with_columns(
        upstream_address=address, upstream_name=pl.lit("pay") if named else pl.lit(None, pl.String)
    )
    broken = inside(pl.col("node") == "1")
    frame = frame.with_columns(node=pl.lit("gw-1"), status_code=pl.when(broken).then(500).otherwise("status_code"))
    assert carriers(frame) == [("address" if named else "upstream", "10.0.0.1:80")]


def test_the_consumer_that_waits_longer_is_named() -> None:
    slow = calls(2).with_columns(
        duration_ms=pl.when(inside(pl.col("consumer") == "3")).then(pl.col("duration_ms") * 20).otherwise("duration_ms")
    )
    assert carriers(slow, "latency", None) == [("consumer", "3")]


def test_the_consumer_that_stopped_calling_is_named() -> None:
    assert carriers(calls(3).filter(~inside(pl.col("consumer") == "3")), "traffic", None) == [("consumer", "3")]


@pytest.mark.parametrize("share", [1.0, 0.7, 0.1])
def test_calls_that_everybody_made_fewer_of_are_nobodys(share: float) -> None:
    """What is missing of each is a small difference of large numbers: its chance is that of the numbers, not of itself."""
    for seed in range(5):
        kept = pl.Series(np.random.default_rng(seed).random(4_000) < share)
        assert carriers(calls(seed).filter(~inside(pl.lit(True)) | kept), "traffic", None) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_failure_of_everybody_is_nobodys(seed: int) -> None:
    broken = calls(seed).with_columns(
        status_code=pl.when(inside(pl.lit(True))).then(pl.lit(500, pl.Int16)).otherwise("status_code")
    )
    assert carriers(broken) == []
    assert carriers(calls(seed)) == []


def outage(folder: Path, *, named: bool) -> dict[str, Any]:
    """The one candidate of a lake in which every call of one of six consumers fails for two hours; named: the log says who."""
    random = np.random.default_rng(4)
    lines = []
    for second in np.sort(random.random(9_000)) * 3 * 86_400:
        at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=int(second))
        who = random.integers(6)
        status = 500 if who == 2 and START <= at < END else 200
        user = f"app-{who}" if named else "-"
        lines.append(
            f'203.0.113.{who} - {user} [{at:%d/%b/%Y:%H:%M:%S} +0000] "GET /pay HTTP/1.1" {status} 9 "-" "x/1"\n'
        )
    (folder / "access.log").write_text("".join(lines))
    ingest(folder / "lake", folder / "access.log")
    (found,) = apilens("scan", "--lake", folder / "lake", "--output", "ndjson").rows()
    return found


def test_where_no_call_names_a_consumer_the_addresses_and_the_first_failure_are_shown(tmp_path: Path) -> None:
    found = outage(tmp_path, named=False)
    assert found["consumers_hit"] is None
    lines = [line for line in (tmp_path / "access.log").read_text().splitlines() if " 500 9 " in line]
    inside = [line for line in lines if "[03/Mar/2026:" in line]
    first = datetime.strptime(inside[0].partition("[")[2][:20], "%d/%b/%Y:%H:%M:%S").replace(tzinfo=UTC)
    assert datetime.fromisoformat(found["first_affected_at"]) == first
    ran = apilens("explain", found["id"], "--lake", tmp_path / "lake", "--output", "json").json()
    assert [(row["client_ip"], row["affected"]) for row in ran["addresses"]] == [("203.0.113.2", len(inside))]
    shown = apilens("explain", found["id"], "--lake", tmp_path / "lake").out
    assert re.search(rf"203\.0\.113\.2 +{len(inside)} +{len(inside)} +{first:%F %T}", shown), shown


def test_a_value_that_all_calls_have_is_no_row_and_that_none_carries_it_is_said(tmp_path: Path) -> None:
    found = outage(tmp_path, named=False)
    shown = apilens("explain", found["id"], "--lake", tmp_path / "lake").out
    kept = apilens("explain", found["id"], "--lake", tmp_path / "lake", "--output", "json").json()["carriers"]
    assert "(not logged)" not in shown.partition("calls that name")[0]
    assert [row for row in kept if row["value"] == "" and row["traffic_share"] == 1]  # machines get all
    assert not any(row["carries"] for row in kept)
    assert "No one value carries it: in all the log names they are alike.\n" in shown and "of the excess" not in shown
    named = outage(tmp_path, named=True)
    by_consumer = apilens("explain", named["id"], "--lake", tmp_path / "lake").out
    assert "No one value" not in by_consumer and "of the excess" in by_consumer, by_consumer


def test_where_each_call_names_its_consumer_no_address_is_shown(tmp_path: Path) -> None:
    found = outage(tmp_path, named=True)
    assert apilens("explain", found["id"], "--lake", tmp_path / "lake", "--output", "json").json()["addresses"] == []


def test_addresses_are_those_of_affected_calls_that_name_nobody() -> None:
    fails = inside(pl.col("node") == "1")
    given = calls(5).with_columns(
        client_ip="node",
        consumer=pl.when(pl.col("consumer") < "5").then("consumer"),
        status_code=pl.when(fails).then(pl.lit(500, pl.Int16)).otherwise(pl.lit(200, pl.Int16)),
    )
    asked = {"environment": "default", "endpoints": ["GET /pay"], "start": START, "end": END}
    unnamed = given.filter(pl.col("consumer").is_null(), inside(pl.lit(True)))
    of = dict(unnamed.group_by("client_ip").len().rows())
    with duckdb.connect() as connection:
        connection.register("calls", given.to_arrow())
        errors = addresses(connection, **asked, signal="errors", status=500, most=9)
        slow = addresses(connection, **asked, signal="latency", status=None, most=9)
        most = addresses(connection, **asked, signal="traffic", status=None, most=2)
    assert errors.select("client_ip", "affected", "calls").rows() == [("1", of["1"], of["1"])]
    assert set(slow["client_ip"]) == {"0", "2"}
    assert most["affected"].to_list() == sorted(of.values(), reverse=True)[:2]


def test_a_candidate_is_explained_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    found = outage(tmp_path, named=True)
    ran = apilens("explain", found["id"][:9], "--lake", tmp_path / "lake", "--output", "json")
    assert ran.code == 0, ran.err
    named = [(one["dimension"], one["value"]) for one in ran.json()["carriers"] if one["carries"]]
    assert named == [("consumer", "app-2")]
    assert "app-2" in apilens("explain", found["id"], "--lake", tmp_path / "lake").out
    wrong = apilens("explain", "nothing", "--lake", tmp_path / "lake")
    assert wrong.code == 2
    assert "is no candidate" in wrong.err
