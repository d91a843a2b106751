"""The worlds of benchmarks/ say of themselves what is true: what a label tells is in the log, where and when it tells it."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
scoring = importlib.import_module("scoring")

AT = "at"  # of a call, as the world knows it: seconds since the epoch


def nginx(lines: pl.DataFrame) -> pl.DataFrame:
    pattern = (
        r'^\S+ - (?<consumer>\S+) \[[^\]]+\] "(?<method>\S+) (?<path>\S+) HTTP/1.1" (?<status>\d+) \d+ "-" "[^"]+" \S+ \S+ '
        r"(?<upstream>\S+) (?<node>\S+)$"
    )
    return lines.select(AT, pl.col("line").str.extract_groups(pattern).alias("part")).unnest("part")


def apisix(lines: pl.DataFrame) -> pl.DataFrame:
    part = pl.struct(
        method=said("$.request.method"), path=said("$.request.uri"), status=said("$.response.status"), consumer=said("$.consumer.username"),
        node=said("$.server.hostname"), upstream=said("$.upstream"),
    )  # fmt: skip
    return lines.select(AT, part.alias("part")).unnest("part")


def gravitee(lines: pl.DataFrame) -> pl.DataFrame:
    methods = {"2": "DELETE", "3": "GET", "7": "POST", "8": "PUT"}  # HttpMethod of gravitee-common
    part = pl.struct(
        method=said("$.method").replace_strict(methods), path=said("$.uri"), status=said("$.status"), consumer=said("$.application"),
        node=said("$.gateway"), upstream=said("$.endpoint"),
    )  # fmt: skip
    return lines.select(AT, part.alias("part")).unnest("part")


def traefik(lines: pl.DataFrame) -> pl.DataFrame:
    pod = pl.col("line").str.extract(r"^\S+ (\S+) ")
    part = pl.struct(
        method=said("$.RequestMethod"), path=said("$.RequestPath"), status=said("$.DownstreamStatus"), consumer=said("$.ClientUsername"),
        upstream=said("$.ServiceName"),
    )  # fmt: skip
    message = pl.col("line").str.replace(r"^[^{]*", "")
    return lines.select(AT, pod.alias("node"), line=message).select(AT, "node", part.alias("part")).unnest("part")


def haproxy(lines: pl.DataFrame) -> pl.DataFrame:
    pattern = (
        r"^\S+ +\d+ \S+ (?<node>\S+) haproxy\[\d+\]: \S+ \[[^\]]+\] portal~ (?<upstream>[^/]+)/\S+ \S+ "
        r'(?<status>\d+) .*"(?<method>[A-Z]+) (?<path>\S+) HTTP/1.1"$'
    )
    part = pl.col("line").str.extract_groups(pattern).alias("part")
    return lines.select(AT, part).unnest("part").with_columns(consumer=pl.lit(None, pl.String)).drop_nulls("status")


def said(path: str) -> pl.Expr:
    return pl.col("line").str.json_path_match(path)


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of world in small, how its lines are read, and how much of what a label counts is in the log."""

    name: str
    reader: Any
    small: dict[str, float]
    failing: int  # least number of faults whose calls are looked for
    share: float = 0.7  # the log has holes, and endpoints with one such call are not named
    clear: float | None = None  # detectable from this z on
    events: frozenset[str] = frozenset()  # some of those that are in every such world

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(self.name)

    @cache  # noqa: B019 - as many as there are kinds
    def world(self, seed: int = 3, quiet: bool = False) -> Any:
        return self.module.make(f"quiet-{self.name}" if quiet else self.name, seed, **self.small)

    @cache  # noqa: B019
    def calls(self, seed: int = 3) -> pl.DataFrame:
        """at, endpoint (its number; null: a stranger's), status, consumer, node, upstream, path, line by line."""
        world = self.world(seed)
        read = self.reader(world.calls).with_columns(pl.col("status").cast(pl.Int64))
        routes = [
            (one["id"], re.compile(re.escape(f"{one['method']} {one['path']}").replace(r"\{id\}", "[0-9a-f-]*[0-9][0-9a-f-]*") + r"(\?.*)?$"))
            for one in world.catalog["endpoints"]
        ]  # fmt: skip
        asked = pl.concat_str(
            pl.col("method") + " ", pl.col("path").str.replace_all(r"/[0-9a-f-]*\d{3,}[0-9a-f-]*", "/1")
        )
        number = {
            name: next((at for at, route in routes if route.match(name)), None) for name in read.select(asked.unique()).to_series()
        }  # fmt: skip
        return read.with_columns(endpoint=asked.replace_strict(number, return_dtype=pl.Int64))


KINDS = [
    # A call of bank that ran into its time limit at the very end, or gave up, is not among those of the label.
    Kind("bank", nginx, {"endpoints": 12, "days": 8, "calls_per_minute": 20.0, "faults": 16}, failing=5),
    # In telco, those of a minority that gave up before they were answered have another code.
    Kind("telco", apisix, {"endpoints": 20, "days": 8, "calls_per_minute": 15.0}, failing=4, share=0.5),
    Kind(
        "hospital", gravitee, {"endpoints": 20, "days": 9, "calls_per_minute": 15.0}, failing=4,
        events=frozenset({"month-end", "passwords tried out", "payer-5 hammers"}),
    ),
    Kind(
        "airline", traefik, {"endpoints": 24, "days": 9, "calls_per_minute": 15.0}, failing=6, clear=5,
        events=frozenset({"rollout of the gateway", "snow storm", "deployment"}),
    ),
    Kind(
        "portal", haproxy, {"endpoints": 36, "days": 9, "calls_per_minute": 20.0}, failing=6, clear=5,
        events=frozenset({"deployment", "canary"}),
    ),
]  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_same_seed_makes_the_same_log_and_labels(kind: Kind) -> None:
    world, again = kind.world(), kind.module.make(kind.name, 3, **kind.small)
    assert again.calls.equals(world.calls)
    assert (again.labels, again.catalog) == (world.labels, world.catalog)


def test_every_call_that_a_label_says_failed_is_in_the_log_where_it_says(kind: Kind) -> None:
    labels = kind.world().labels["faults"]
    failing = [one for one in labels if one["code"] and one["detectable"] and one["kind"] != "recurring"]
    assert len(failing) >= kind.failing
    for fault in failing:
        codes = [fault["code"]]
        if (kind.name, fault["kind"]) == ("airline", "upstream_timeout"):
            codes.append(503)  # what the breaker answers
        # a pod's clock is ahead, and what is tried again comes a little later
        mine = kind.calls().filter(
            pl.col("at").is_between(fault["start"], fault["end"] + 60),
            pl.col("endpoint").is_in(fault["endpoints"]),
            pl.col("status").is_in(codes),
        )
        for column in ("consumer", "upstream", "node"):
            if fault[column] is not None:
                mine = mine.filter(pl.col(column) == fault[column])
        assert len(mine) >= kind.share * fault["affected_calls"] >= 1.4, fault


def test_a_quiet_world_has_the_same_events_and_no_fault(kind: Kind) -> None:
    loud, quiet = (kind.world(quiet=quiet).labels for quiet in (False, True))
    assert quiet["faults"] == []
    assert loud["faults"] != []
    what, same = ([one["what"] for one in labels.get("events", [])] for labels in (loud, quiet))
    assert what == same
    # half a world has not all of them
    assert kind.events & set(what) if kind.name == "hospital" else kind.events <= set(what)


@pytest.mark.parametrize("name", ["airline", "portal", "telco"])
def test_what_happens_in_a_quiet_world_happens_at_the_same_time(name: str) -> None:
    loud, quiet = (BY_NAME[name].world(quiet=quiet).labels for quiet in (False, True))
    assert (loud["events"], loud["ambiguous"]) == (quiet["events"], quiet["ambiguous"])


@pytest.mark.parametrize("name", ["telco", "hospital", "portal"])
def test_a_ticket_about_an_ambiguous_event_is_neither_right_nor_false(name: str) -> None:
    world = BY_NAME[name].world()
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


@pytest.mark.parametrize("name", [kind.name for kind in KINDS if kind.clear])
def test_what_stands_out_is_detectable_and_nothing_else(name: str) -> None:
    kind = BY_NAME[name]
    faults = kind.world().labels["faults"]
    found = Counter(fault["detectable"] for fault in faults)
    assert found[True] >= 10
    assert found[False] >= 1
    for fault in faults:
        assert fault["detectable"] == (fault["figures"]["z"] >= kind.clear and fault["endpoints"] != []), fault


def test_a_fault_of_hospital_is_detectable_when_nothing_like_it_is_there_without_it() -> None:
    for fault in BY_NAME["hospital"].world().labels["faults"]:
        above = fault["figures"]["z"] > fault["figures"]["z_without"]
        assert fault["detectable"] == (above and fault["endpoints"] != []), fault


def test_a_grade_of_portal_says_how_much_stands_out() -> None:
    easy = [fault for fault in BY_NAME["portal"].world().labels["faults"] if fault["grade"] == "easy"]
    assert easy
    for fault in easy:
        assert fault["figures"]["z"] >= 15, fault
        assert fault["affected_calls"] >= 20, fault


@pytest.mark.parametrize("name", ["airline", "portal"])
def test_silence_leaves_no_call_and_a_spike_more_than_the_hours_beside_it(name: str) -> None:
    kind = BY_NAME[name]
    seen = Counter[str]()
    for seed in (3, 4):
        calls = kind.calls(seed)
        for fault in kind.world(seed).labels["faults"]:
            if fault["kind"] not in ("silence", "traffic_spike") or not fault["detectable"]:
                continue
            mine = calls.filter(pl.col("endpoint").is_in(fault["endpoints"]))["at"]
            length = fault["end"] - fault["start"]
            inside, around = (
                mine.is_between(fault["start"] - beside * length, fault["end"] + beside * length, closed="left").sum()
                for beside in (0, 1)
            )
            beside = (around - inside) / 2
            assert inside <= 0.1 * beside if fault["kind"] == "silence" else inside > beside, fault
            seen[fault["kind"]] += 1
    assert set(seen) == {"silence", "traffic_spike"}


@pytest.mark.parametrize("name", ["bank", "telco"])
def test_the_log_is_in_order_of_time(name: str) -> None:
    assert BY_NAME[name].world().calls["at"].is_sorted()


def test_every_line_of_bank_is_of_the_log_format() -> None:
    lines, calls = BY_NAME["bank"].world().calls, BY_NAME["bank"].calls()
    assert calls["status"].null_count() == 0
    begun = lines["line"].str.extract(r"\[([^\]]+)\]").str.to_datetime("%Y-%m-%dT%H:%M:%S%z").dt.epoch("s")
    ended = lines["line"].str.extract(r'" (\d+\.\d+) ').cast(pl.Float64).floor().cast(pl.Int64)
    assert set((ended - begun).unique()) <= {0, 1}


def test_a_rollout_of_airline_renames_every_pod() -> None:
    kind = BY_NAME["airline"]
    rollout = next(one["start"] for one in kind.world().labels["events"] if one["what"] == "rollout of the gateway")
    before = set(kind.calls().filter(pl.col("at") < rollout - 60)["node"])
    after = set(kind.calls().filter(pl.col("at") > rollout + 60)["node"])
    assert len(before) > 4
    assert before.isdisjoint(after)


def test_one_agency_of_airline_fills_its_quota_at_the_end_of_hours() -> None:
    airline = BY_NAME["airline"].module
    lines = airline.make("quiet-airline", 3, endpoints=24, days=9, calls_per_minute=60.0).calls
    refused = lines.filter(lines["line"].str.contains('"DownstreamStatus":429'))
    assert refused["line"].str.contains(airline.AGENCIES[0]).all()
    assert len(refused) > 100
    assert (refused["at"] % 3600).median() > 3300


def test_the_rush_of_portal_ends_with_the_deadline() -> None:
    kind = BY_NAME["portal"]
    ends = next(one["end"] for one in kind.world().labels["ambiguous"] if one["what"] == "tax deadline") - 3600
    assert datetime.fromtimestamp(ends, UTC).hour == 22  # midnight there
    tax = kind.calls().filter(pl.col("upstream") == "tax")["at"]
    last, next_evening = (tax.is_between(ends + day * 86_400 - 4 * 3600, ends + day * 86_400).sum() for day in (0, 1))
    assert last > 4 * next_evening > 0


def test_every_line_of_portal_is_a_call_a_message_of_the_proxy_or_no_http() -> None:
    lines, calls = BY_NAME["portal"].world().calls["line"], BY_NAME["portal"].calls()
    others = lines.filter(lines.str.contains('"<BADREQ>"') | lines.str.contains(": Server "))
    assert len(calls) + len(others) == len(lines)
    assert len(others) > 5
    strangers = calls.filter(pl.col("endpoint").is_null())["path"].unique()
    assert all(re.search(r"php|env|admin|actuator|cgi|git|owa", path) for path in strangers)
