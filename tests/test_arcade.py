"""The world of benchmarks/arcade.py says of itself what is true."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
arcade = importlib.import_module("arcade")

SMALL = {"endpoints": 40, "days": 9, "calls_per_minute": 20.0}
#: What a line of Kong's holds, behind syslog's head.
LOGGED = pl.Struct(
    {
        "started_at": pl.Int64,
        "latencies": pl.Struct({"request": pl.Int64, "proxy": pl.Int64}),
        "request": pl.Struct({"method": pl.String, "uri": pl.String}),
        "response": pl.Struct({"status": pl.Int64}),
        "service": pl.Struct({"name": pl.String}),
        "consumer": pl.Struct({"username": pl.String}),
        "tries": pl.List(pl.Struct({"ip": pl.String, "port": pl.Int64})),
    }
)


@pytest.fixture(scope="module")
def world() -> Any:
    return arcade.make("arcade", 3, **SMALL)


@pytest.fixture(scope="module")
def calls(world: Any) -> pl.DataFrame:
    """The calls that the lines tell of: at (seconds since the epoch), node, consumer, upstream, status, ms, endpoint (null: a scanner's)."""
    ids = {f"{one['method']} {one['path']}": one["id"] for one in world.catalog["endpoints"]}
    parts = world.calls.select(
        pl.col("line").str.extract(r"^\w{3} [ \d]\d [\d:]{8} (kong-\d) kong\[\d+\]: ").alias("node"),
        pl.col("line").str.extract(r" kong\[\d+\]: (\{.*\})$").str.json_decode(LOGGED).alias("said"),
    ).unnest("said")
    name = pl.col("request").struct.field("method") + " " + pl.col("request").struct.field("uri")
    machine = pl.col("tries").list.first()
    return parts.select(
        "node",
        at=pl.col("started_at") / 1000,
        consumer=pl.col("consumer").struct.field("username"),
        upstream=pl.format("{}:{}", machine.struct.field("ip"), machine.struct.field("port")),
        status=pl.col("response").struct.field("status"),
        ms=pl.col("latencies").struct.field("request"),
        endpoint=name.str.replace(r"/\d{8}(/|$)", "/{id}${1}").replace_strict(ids, default=None, return_dtype=pl.Int64),
    )


def test_the_same_seed_makes_the_same_log_and_labels(world: Any) -> None:
    again = arcade.make("arcade", 3, **SMALL)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_every_line_is_a_call_of_an_endpoint_or_a_scanners(calls: pl.DataFrame) -> None:
    assert calls.select("node", "at", "status", "ms").null_count().row(0) == (0, 0, 0, 0)
    scanned = calls.filter(pl.col("endpoint").is_null())
    assert 0 < len(scanned) < 0.02 * len(calls)
    assert scanned["status"].unique().to_list() == [404]


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
        for column in ("upstream", "consumer", "node"):
            if fault[column] is not None:
                mine = mine.filter(pl.col(column) == fault[column])
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


def test_silence_leaves_no_call_though_the_hours_beside_it_have_some(world: Any, calls: pl.DataFrame) -> None:
    silent = [fault for fault in world.labels["faults"] if fault["kind"] == "silence" and fault["detectable"]]
    assert silent
    for fault in silent:
        mine = calls.filter(pl.col("endpoint").is_in(fault["endpoints"]))
        length = fault["end"] - fault["start"]
        assert mine.filter(pl.col("at").is_between(fault["start"], fault["end"] - 1)).is_empty(), fault
        assert len(mine.filter(pl.col("at").is_between(fault["start"] - length, fault["end"] + length))) >= 25, fault


def test_a_quiet_arcade_has_the_same_events_and_no_fault(world: Any) -> None:
    quiet = arcade.make("quiet-arcade", 3, **SMALL)
    assert quiet.labels["faults"] == []
    assert quiet.labels["events"] == world.labels["events"]
    assert quiet.labels["ambiguous"] == world.labels["ambiguous"]
    assert {"deployment", "flash event", "farmers"} <= {one["what"] for one in quiet.labels["events"]}


def test_the_patch_closes_the_game_and_everybody_comes_back_to_an_endpoint_that_moves(
    world: Any, calls: pl.DataFrame
) -> None:
    closed, rush = (next(one for one in world.labels["ambiguous"] if one["what"] == f"patch: {what}") for what in ("maintenance", "rush"))  # fmt: skip
    queue = calls.filter(
        endpoint=next(one["id"] for one in world.catalog["endpoints"] if one["path"] == "/matchmaking/v3/tickets")
    )
    during = queue.filter(pl.col("at").is_between(closed["start"] + 60, closed["start"] + 6000))
    assert len(during) > 20
    # Who tries again is let in.
    assert (during["status"] == 503).mean() > 0.5
    last = calls["at"].max() - 86_400
    old, new = (
        len(
            calls.filter(
                pl.col("at") > last,
                endpoint=next(one["id"] for one in world.catalog["endpoints"] if one["path"] == path),
            )
        )
        for path in (arcade.OLD, arcade.NEW_PATH)
    )
    assert new > 3 * old > 0
    assert calls.filter(pl.col("at") < rush["start"] - 7200)["endpoint"].n_unique() < calls["endpoint"].n_unique()


def test_a_silent_function_starts_cold(world: Any) -> None:
    quiet = arcade.Arcade(arcade.np.random.default_rng([3, 2606]), **SMALL)
    found = quiet.answered(quiet.traffic())
    mine = found.where(found.endpoint == quiet.path.index("/ugc/v1/thumbnails"))
    order = arcade.np.argsort(mine.at)
    cold = arcade.np.diff(mine.at[order], prepend=-1e9) > 1000
    assert cold.sum() > 30
    assert arcade.np.median(mine.ms[order][cold]) > arcade.np.median(mine.ms[order][~cold]) + 1000
