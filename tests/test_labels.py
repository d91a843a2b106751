"""The worlds of benchmarks/ say of themselves what is true: what a label tells is in the log, where and when it tells it."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from small_worlds import KINDS, Kind, forget, ingested

scoring = importlib.import_module("scoring")

#: Some of the events that are in every such world.
EVENTS = {
    "airline": {"rollout of the gateway", "snow storm", "deployment"},
    "portal": {"deployment", "canary"},
    "arcade": {"deployment", "flash event", "farmers"},
    "delivery": {"deployment", "canary", "offer pushed in london", "rain in berlin", "maps are slow"},
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    yield request.param
    forget()


def only(*names: str) -> Any:
    """The worlds that a test is about."""
    return pytest.mark.parametrize("kind", [KINDS[name] for name in names], ids=names, indirect=True)


def number(kind: Kind, path: str) -> int:
    return next(one["id"] for one in kind.world().catalog["endpoints"] if one["path"] == path)


def test_the_same_seed_makes_the_same_log_and_labels(kind: Kind) -> None:
    world, again = kind.world(), kind.make(3)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_every_line_is_a_call(kind: Kind) -> None:
    lines, calls = kind.world().calls, kind.calls()
    if kind.name == "portal":  # or a message of the proxy, or no HTTP
        others = pl.col("line").str.contains('"<BADREQ>"|: Server ')
        assert len(lines.filter(others)) > 5
        lines, calls = lines.filter(~others), calls.drop_nulls("status")
    assert len(calls) == len(lines)
    said = calls.select(pl.col("at", "method", "path", "status", "node"), pl.col("^ms$"))
    assert sum(said.null_count().row(0)) == 0


def test_the_calls_that_a_label_says_failed_are_in_the_log_where_it_says(kind: Kind) -> None:
    failing = [fault for fault in kind.world().labels["faults"] if fault["code"] and fault["detectable"]]
    assert len(failing) >= 6
    for fault in failing:
        mine = kind.calls().filter(pl.col("at").is_between(fault["start"], fault["end"]), status=fault["code"])
        # An endpoint with one such call is not named: much of what a node of these fails.
        if fault["node"] is None or kind.name not in ("arcade", "tickets"):
            mine = mine.filter(pl.col("endpoint").is_in(fault["endpoints"]))
        for column in ("consumer", "node"):
            if fault[column] is not None:
                mine = mine.filter(pl.col(column) == fault[column])
        if fault["upstream"] is not None:
            named = [name for name in ("upstream", "cluster") if name in mine.columns]
            mine = mine.filter(pl.any_horizontal(pl.col(named) == fault["upstream"]))
        # the log has holes
        assert len(mine) >= 0.7 * fault["affected_calls"] >= (5 if kind.name in ("arcade", "delivery") else 1.4), fault


def test_a_quiet_world_has_the_same_events_and_no_fault(kind: Kind) -> None:
    loud, quiet = kind.world(), kind.make(3, quiet=True)
    assert quiet.labels["faults"] == []
    assert loud.labels["faults"] != []
    assert quiet.calls.height > 0.9 * loud.calls.height
    what, same = ([one["what"] for one in world.labels.get("events", [])] for world in (loud, quiet))
    assert what == same
    assert EVENTS.get(kind.name, set()) <= set(what)
    if kind.name == "hospital":  # half a world has not all of them
        assert {"month-end", "passwords tried out", "payer-5 hammers"} & set(what)
    else:
        for told in ("events", "ambiguous"):
            assert loud.labels.get(told) == quiet.labels.get(told)


def test_silence_leaves_no_call_and_a_spike_more_than_the_hours_beside_it(kind: Kind) -> None:
    seen = Counter[bool]()
    for seed in (3, 4) if kind.name in ("airline", "portal", "delivery") else (3,):
        for fault in kind.world(seed).labels["faults"]:
            spike = fault["kind"] == "traffic_spike"
            if not fault["detectable"] or not (spike or fault["kind"] in ("silence", "traffic_silence")):
                continue
            mine = kind.calls(seed).filter(pl.col("endpoint").is_in(fault["endpoints"]))["at"]
            length = fault["end"] - fault["start"]
            inside, around = (
                mine.is_between(fault["start"] - beside * length, fault["end"] + beside * length, closed="left").sum()
                for beside in (0, 1)
            )
            as_long = (around - inside) / 2
            if spike:
                assert inside > as_long, fault
            else:  # a pod of airline has a clock that is ahead
                assert inside <= (0.1 * min(as_long, fault["affected_calls"]) if kind.name == "airline" else 0), fault
            assert around - inside >= 25, fault
            seen[spike] += 1
    assert set(seen) == ({False} if kind.name == "grid" else {False, True})


@only("arcade", "delivery")
def test_what_is_no_call_of_an_endpoint_is_a_scanners(kind: Kind) -> None:
    scanned = kind.calls().filter(pl.col("endpoint").is_null())
    assert 0 < len(scanned) < 0.02 * len(kind.calls())
    assert scanned["status"].unique().to_list() == [404]
    if kind.name == "delivery":
        assert scanned["flags"].unique().to_list() == ["NR"]


@only("delivery", "grid", "mobility", "saas", "tickets")
def test_apilens_reads_every_line_and_finds_the_endpoints_of_the_catalog(kind: Kind) -> None:
    world = kind.world()
    calls = kind.calls() if kind.reader is None else ingested(world, kind.module.LOG_FORMAT)
    assert len(calls) == len(world.calls)
    assert {one["id"] for one in world.catalog["endpoints"]} <= set(calls["endpoint"])
    people = calls.filter(~pl.col("synthetic"))
    assert people["endpoint"].null_count() < 0.02 * len(people)


@only("telco", "hospital", "portal")
def test_a_ticket_about_an_ambiguous_event_is_neither_right_nor_false(kind: Kind) -> None:
    world = kind.world()
    event = next(one for one in world.labels["ambiguous"] if one["start"] > world.labels["t0"] + 4 * 86_400)
    first = next(one for one in world.catalog["endpoints"] if one["id"] in event["endpoints"])
    at = datetime.fromtimestamp(event["start"] + 300, UTC)
    ticket = {
        "detected_at": at, "end": at, "endpoints": [f"{first['method']} {first['path']}"], "signal": "traffic", "title": "more calls", "hint": {}, "score": 1.0,
    }  # fmt: skip
    score = scoring.Score()
    score.add(world.labels | {"faults": []}, world.catalog, [ticket])
    assert (len(score.ambiguous), score.false) == (1, [])
    score.add(world.labels | {"faults": [], "ambiguous": []}, world.catalog, [ticket])
    assert (len(score.ambiguous), len(score.false)) == (1, 1)


@only("airline", "portal", "arcade", "delivery")
def test_what_stands_out_is_detectable_and_nothing_else(kind: Kind) -> None:
    faults = kind.world().labels["faults"]
    found = Counter(fault["detectable"] for fault in faults)
    assert found[True] >= 10
    assert found[False] >= 1
    for fault in faults:
        assert fault["detectable"] == (fault["figures"]["z"] >= 5 and fault["endpoints"] != []), fault


@only("portal", "arcade", "delivery")
def test_a_grade_says_how_much_stands_out(kind: Kind) -> None:
    easy = [fault for fault in kind.world().labels["faults"] if fault["grade"] == "easy"]
    assert easy
    for fault in easy:
        assert fault["figures"]["z"] >= 15, fault
        assert fault["affected_calls"] >= (20 if kind.name == "portal" else 25), fault


@only("arcade", "delivery")
def test_a_label_says_how_much_and_what_users_had_of_it(kind: Kind) -> None:
    for fault in kind.world().labels["faults"]:
        assert fault["effect"].endswith(" min")
        if fault["detectable"] and fault["kind"] not in ("traffic_drop", "silence"):
            assert fault["figures"]["during"] > fault["figures"]["usual"], fault


@only("bank", "telco")
def test_the_log_is_in_order_of_time(kind: Kind) -> None:
    assert kind.world().calls["at"].is_sorted()


@only("bank")
def test_every_line_of_bank_says_when_a_call_ended_and_in_which_second_it_began(kind: Kind) -> None:
    lines = kind.world().calls["line"]
    begun = lines.str.extract(r"\[([^\]]+)\]").str.to_datetime("%Y-%m-%dT%H:%M:%S%z").dt.epoch("s")
    ended = lines.str.extract(r'" (\d+\.\d+) ').cast(pl.Float64).floor().cast(pl.Int64)
    assert set((ended - begun).unique()) <= {0, 1}


@only("hospital")
def test_a_fault_of_hospital_is_detectable_when_nothing_like_it_is_there_without_it(kind: Kind) -> None:
    for fault in kind.world().labels["faults"]:
        above = fault["figures"]["z"] > fault["figures"]["z_without"]
        assert fault["detectable"] == (above and fault["endpoints"] != []), fault


@only("airline")
def test_a_rollout_of_airline_renames_every_pod(kind: Kind) -> None:
    rollout = next(one["start"] for one in kind.world().labels["events"] if one["what"] == "rollout of the gateway")
    before = set(kind.calls().filter(pl.col("at") < rollout - 60)["node"])
    after = set(kind.calls().filter(pl.col("at") > rollout + 60)["node"])
    assert len(before) > 4
    assert before.isdisjoint(after)


@only("airline")
def test_one_agency_of_airline_fills_its_quota_at_the_end_of_hours(kind: Kind) -> None:
    lines = kind.module.make("quiet-airline", 3, endpoints=24, days=9, calls_per_minute=60.0).calls
    refused = lines.filter(pl.col("line").str.contains('"DownstreamStatus":429', literal=True))
    assert refused["line"].str.contains(kind.module.AGENCIES[0], literal=True).all()
    assert len(refused) > 100
    assert (refused["at"] % 3600).median() > 3300


@only("portal")
def test_the_rush_of_portal_ends_with_the_deadline(kind: Kind) -> None:
    ends = next(one["end"] for one in kind.world().labels["ambiguous"] if one["what"] == "tax deadline") - 3600
    assert datetime.fromtimestamp(ends, UTC).hour == 22  # midnight there
    tax = kind.calls().filter(upstream="tax")["at"]
    last, next_evening = (tax.is_between(ends + day * 86_400 - 4 * 3600, ends + day * 86_400).sum() for day in (0, 1))
    assert last > 4 * next_evening > 0


@only("portal")
def test_strangers_at_portal_ask_for_what_no_portal_has(kind: Kind) -> None:
    strangers = kind.calls().filter(pl.col("endpoint").is_null())["path"].drop_nulls().unique()
    assert all(re.search(r"php|env|admin|actuator|cgi|git|owa", path) for path in strangers)


@only("arcade")
def test_the_patch_of_arcade_closes_the_game_and_everybody_comes_back_to_an_endpoint_that_moves(kind: Kind) -> None:
    calls, ambiguous = kind.calls(), kind.world().labels["ambiguous"]
    closed, rush = (next(one["start"] for one in ambiguous if one["what"] == f"patch: {what}") for what in ("maintenance", "rush"))  # fmt: skip
    queue = calls.filter(endpoint=number(kind, "/matchmaking/v3/tickets"))
    during = queue.filter(pl.col("at").is_between(closed + 60, closed + 6000))
    assert len(during) > 20
    # Who tries again is let in.
    assert (during["status"] == 503).mean() > 0.5
    old, new = on_the_last_day(kind)
    assert new > 3 * old > 0
    assert calls.filter(pl.col("at") < rush - 7200)["endpoint"].n_unique() < calls["endpoint"].n_unique()


def on_the_last_day(kind: Kind) -> list[int]:
    """Calls of the path that a release moves from, and of the one that it moves to."""
    last = kind.calls().filter(pl.col("at") > kind.calls()["at"].max() - 86_400)
    return [len(last.filter(endpoint=number(kind, path))) for path in (kind.module.OLD, kind.module.NEW_PATH)]


@only("arcade")
def test_a_silent_function_of_arcade_starts_cold(kind: Kind) -> None:
    quiet = kind.module.Arcade(np.random.default_rng([3, 2606]), **kind.small)
    found = quiet.answered(quiet.traffic())
    mine = found.where(found.endpoint == quiet.path.index("/ugc/v1/thumbnails"))
    order = np.argsort(mine.at)
    cold = np.diff(mine.at[order], prepend=-1e9) > 1000
    assert cold.sum() > 30
    assert np.median(mine.ms[order][cold]) > np.median(mine.ms[order][~cold]) + 1000


@only("delivery")
def test_tablets_of_delivery_are_switched_on_at_ten(kind: Kind) -> None:
    mine = kind.calls().filter(endpoint=number(kind, "/catalog/v2/restaurants/{id}/availability"))
    local = (mine["at"] / 60 + 120) % 1440  # Berlin's
    assert local.is_between(600, 610).sum() > 4 * local.is_between(610, 640).sum() / 3 > 0
    polls = kind.calls().filter(endpoint=number(kind, "/orders/v3/kitchen/queue"))
    opening = polls.filter(((pl.col("at") / 60 + 120) % 1440).is_between(600, 606))
    assert (opening["status"] == 401).mean() > 3 * (polls["status"] == 401).mean()


@only("delivery")
def test_the_app_of_delivery_moves_menus_and_the_gateway_renames_its_pods(kind: Kind) -> None:
    calls = kind.calls().drop_nulls("endpoint")
    old, new = on_the_last_day(kind)
    assert new > 2 * old > 0
    release = [one["start"] for one in kind.world().labels["events"] if one["what"] == "gateway release"]
    before, after = (set(calls.filter(pl.col("at").is_between(at - 86_400, at - 60))["node"]) for at in (release[0], release[1]))  # fmt: skip
    assert len(before) >= 3
    assert before.isdisjoint(after)


@only("delivery")
def test_phones_hang_up_and_envoy_says_so_and_how_often_it_asked(kind: Kind) -> None:
    calls = kind.calls()
    assert sum(calls.drop("endpoint").null_count().row(0)) == 0
    for status, flag in ((0, "DC"), (504, "UT"), (429, "RL")):
        assert set(calls.filter(status=status)["flags"]) == {flag}
    failed = calls.filter(method="GET", status=503)
    assert (failed["tries"] == 3).mean() > 0.9
    assert set(calls.filter(status=429)["tries"]) == {0}
