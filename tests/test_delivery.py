"""The world of benchmarks/delivery.py says of itself what is true."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from apilens.formats import Options
from apilens.ingest.run import Request
from apilens.lens import Lens
from apilens.pipeline.logs import ingest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
delivery = importlib.import_module("delivery")
worlds = importlib.import_module("worlds")

SMALL = {"endpoints": 40, "days": 9, "calls_per_minute": 20.0}
#: A line of `delivery.LOG_FORMAT`.
LINE = (
    r'^\[(?<at>[^\]]+)\] "(?<method>[A-Z]+) (?<path>\S+) HTTP/2" (?<status>\d+) (?<flags>\S+) \S+ \d+ \d+ (?<ms>\d+) \S+ \S+ "[^"]+" '
    r'"[^"]+" "[0-9a-f-]{36}" "api.market.example" "(?<address>\S+)" (?<cluster>\S+) (?<tries>\d) (?<consumer>\S+) (?<node>edge-\S+)$'
)


@pytest.fixture(scope="module")
def world() -> Any:
    return delivery.make("delivery", 3, **SMALL)


def read(world: Any) -> pl.DataFrame:
    """The calls that the lines tell of: LINE's groups, at in seconds since the epoch, endpoint (null: a scanner's)."""
    ids = {f"{one['method']} {one['path']}": one["id"] for one in world.catalog["endpoints"]}
    part = world.calls.select(pl.col("line").str.extract_groups(LINE).alias("part")).unnest("part")
    name = pl.concat_str("method", pl.lit(" "), pl.col("path").str.replace(r"/(\d{8}|RX\d{8}DE|[0-9a-f-]{36})(/|$)", "/{id}${2}"))  # fmt: skip
    return part.with_columns(
        pl.col("status", "ms", "tries").cast(pl.Int64),
        at=pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ").dt.epoch("ms") / 1000,
        endpoint=name.replace_strict(ids, default=None, return_dtype=pl.Int64),
    )


@pytest.fixture(scope="module")
def calls(world: Any) -> pl.DataFrame:
    return read(world)


def number(world: Any, path: str) -> int:
    return next(one["id"] for one in world.catalog["endpoints"] if one["path"] == path)


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = delivery.make("delivery", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_every_line_is_a_call_of_an_endpoint_or_a_scanners(calls: pl.DataFrame) -> None:
    assert sum(calls.drop("endpoint").null_count().row(0)) == 0
    scanned = calls.filter(pl.col("endpoint").is_null())
    assert 0 < len(scanned) < 0.02 * len(calls)
    assert scanned["flags"].unique().to_list() == ["NR"]


def test_apilens_reads_every_line_and_finds_the_endpoints_of_the_catalog(world: Any, tmp_path: Path) -> None:
    worlds.write(world, tmp_path)
    request = Request([str(tmp_path / "access.log")], Options(log_format=delivery.LOG_FORMAT))
    ingest(str(tmp_path / "lake"), request, None)
    calls = Lens(str(tmp_path / "lake")).calls().select("method", "route", "node", "upstream_name").collect()
    assert len(calls) == len(world.calls)
    known = {f"{one['method']} {one['path']}" for one in world.catalog["endpoints"]}
    assert known <= set(calls.select(pl.format("{} {}", "method", "route")).to_series())


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(world: Any, calls: pl.DataFrame) -> None:
    failing = [fault for fault in world.labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 6
    for fault in failing:
        mine = calls.filter(
            pl.col("at").is_between(fault["start"], fault["end"] + 60),
            # An endpoint with one such call is not named.
            pl.col("endpoint").is_in(fault["endpoints"]) | pl.lit(fault["node"] is not None),
            status=fault["code"],
        )
        for column in ("consumer", "node"):
            if fault[column] is not None:
                mine = mine.filter(pl.col(column) == fault[column])
        if fault["upstream"] is not None:
            mine = mine.filter((pl.col("address") == fault["upstream"]) | (pl.col("cluster") == fault["upstream"]))
        # the log has holes
        assert len(mine) >= 0.7 * fault["affected_calls"] >= 5, fault


def test_what_stands_out_is_detectable_and_a_label_says_how_much_and_what_users_had_of_it(world: Any) -> None:
    found = Counter(fault["detectable"] for fault in world.labels["faults"])
    assert found[True] >= 10
    for fault in world.labels["faults"]:
        figures = fault["figures"]
        assert fault["detectable"] == (figures["z"] >= 5 and fault["endpoints"] != []), fault
        assert fault["effect"].endswith(" min")
        if fault["grade"] == "easy":
            assert figures["z"] >= 15, fault
            assert fault["affected_calls"] >= 25, fault
        if fault["detectable"] and fault["kind"] not in ("traffic_drop", "silence"):
            assert figures["during"] > figures["usual"], fault


def test_silence_leaves_no_call_though_the_hours_beside_it_have_some() -> None:
    seen = 0
    for seed in (3, 4):
        world = delivery.make("delivery", seed, **SMALL)
        calls = read(world)
        for fault in world.labels["faults"]:
            if fault["kind"] != "silence" or not fault["detectable"]:
                continue
            mine = calls.filter(pl.col("endpoint").is_in(fault["endpoints"]))
            length = fault["end"] - fault["start"]
            assert mine.filter(pl.col("at").is_between(fault["start"] + 1, fault["end"] - 1)).is_empty(), fault
            assert len(mine.filter(pl.col("at").is_between(fault["start"] - length, fault["end"] + length))) >= 25
            seen += 1
    assert seen


def test_a_quiet_delivery_has_the_same_events_and_no_fault(world: Any) -> None:
    quiet = delivery.make("quiet-delivery", 3, **SMALL)
    assert quiet.labels["faults"] == []
    assert quiet.labels["events"] == world.labels["events"]
    assert quiet.labels["ambiguous"] == world.labels["ambiguous"]
    assert {"deployment", "canary", "offer pushed in london", "rain in berlin", "maps are slow"} <= {
        one["what"] for one in quiet.labels["events"]
    }


def test_tablets_are_switched_on_at_ten(world: Any, calls: pl.DataFrame) -> None:
    mine = calls.filter(endpoint=number(world, "/catalog/v2/restaurants/{id}/availability"))
    local = (mine["at"] / 60 + 120) % 1440  # Berlin's
    assert local.is_between(600, 610).sum() > 4 * local.is_between(610, 640).sum() / 3 > 0
    polls = calls.filter(endpoint=number(world, "/orders/v3/kitchen/queue"))
    opening = polls.filter(((pl.col("at") / 60 + 120) % 1440).is_between(600, 606))
    assert (opening["status"] == 401).mean() > 3 * (polls["status"] == 401).mean()


def test_the_app_moves_menus_and_the_gateway_renames_its_pods(world: Any, calls: pl.DataFrame) -> None:
    last = calls["at"].max() - 86_400
    old, new = (
        calls.filter(pl.col("at") > last, endpoint=number(world, path)).height
        for path in (delivery.OLD, delivery.NEW_PATH)
    )
    assert new > 2 * old > 0
    release = [one["start"] for one in world.labels["events"] if one["what"] == "gateway release"]
    pods = [set(calls.filter(pl.col("at").is_between(at - 86_400, at - 60), pl.col("endpoint").is_not_null())["node"]) for at in (*release, last + 86_400)]  # fmt: skip
    assert len(pods[0]) >= 3
    assert pods[0].isdisjoint(pods[1])


def test_phones_hang_up_and_envoy_says_so_and_how_often_it_asked(calls: pl.DataFrame) -> None:
    assert set(calls.filter(status=0)["flags"]) == {"DC"}
    assert set(calls.filter(status=504)["flags"]) == {"UT"}
    assert set(calls.filter(status=429)["flags"]) == {"RL"}
    failed = calls.filter(pl.col("method") == "GET", status=503)
    assert (failed["tries"] == 3).mean() > 0.9
    assert set(calls.filter(status=429)["tries"]) == {0}
