"""One cause on many endpoints is one candidate, and says what they have in common."""

from __future__ import annotations

import polars as pl

from test_detect import FAULT, busiest, during, failing, overlapping, quiet_world, scan
from test_habits import refused


def test_refusals_of_the_whole_gateway_are_one_candidate_though_quiet_endpoints_show_them_later() -> None:
    found = overlapping(scan(failing(quiet_world(1), during(120), 403, share=0.2)), 120)
    found = found.filter(pl.col("signal") == "auth")
    assert found.height == 1
    assert len(found["endpoints"][0]) > 10
    assert not any(found["hint"][0][name] for name in ("consumer", "node", "upstream"))


def test_a_slow_upstream_is_one_candidate_also_where_only_the_share_of_slow_calls_shows_it() -> None:
    calls = quiet_world(1)
    slow = during(240) & (pl.col("upstream_name") == "svc-3")
    found = scan(calls.with_columns(duration_ms=pl.col("duration_ms") * pl.when(slow).then(2.0).otherwise(1.0)))
    found = overlapping(found, 240).filter(pl.col("signal") == "latency")
    assert found["hint"].struct.field("upstream").to_list() == ["svc-3"]
    assert len(found["endpoints"][0]) == 5


def test_refusals_name_their_client_and_are_one_candidate_where_nearly_all_calls_are_its_own() -> None:
    calls = quiet_world(1, endpoints=6)
    mine = calls.with_columns(
        consumer=pl.when(pl.col("route") == busiest(calls)).then(pl.lit("mine")).otherwise("consumer")
    )
    own = failing(mine, during(60) & (pl.col("consumer") == "mine"), 429)
    elsewhere = refused(calls, FAULT.replace(minute=20), 40, rank=3, minutes=40, who="mine")
    found = overlapping(scan(pl.concat([own, elsewhere]).sort("start_time")), 60)
    assert found["hint"].struct.field("consumer").to_list() == ["mine"]
    assert len(found["endpoints"][0]) == 2
