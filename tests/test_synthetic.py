"""Bots, scanners and health checks: who is one, who is not, and that they stay in the lake and out of the figures."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilens.distinct import distinct
from apilens.ingest.synthetic import rhythmic, synthetic_type
from apilens.lens import Lens
from apilens.schema import TIMESTAMP
from commands import apilens, ingest

START = datetime(2026, 3, 9, 14, tzinfo=UTC)


def kind(agent: str | None, path: str | None = "/v1/carts") -> str | None:
    found = synthetic_type(distinct(pl.Series([agent], dtype=pl.String)), distinct(pl.Series([path], dtype=pl.String)))[
        0
    ]
    assert found is None or isinstance(found, str)
    return found


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "bot"),
        ("Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "bot"),
        ("Mozilla/5.0 (compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)", "bot"),
        ("Mozilla/5.0; ChatGPT-User/1.0", "bot"),
        ("Claude-User/1.0", "bot"),
        ("meta-externalagent/1.1", "bot"),
        ("Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)", "bot"),
        ("CCBot/2.0 (https://commoncrawl.org/faq/)", "bot"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/5.0 (compatible; bingbot/2.0)", "bot"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0)", "bot"),
        ("Mozilla/5.0 (compatible; SemrushBot/7~bl)", "bot"),
        ("Mozilla/5.0 (Applebot/0.1)", "bot"),
        ("Amazonbot/0.1", "bot"),
        ("facebookexternalhit/1.1", "bot"),
        ("Scrapy/2.11", "bot"),
        ("kube-probe/1.30", "health_check"),
        ("ELB-HealthChecker/2.0", "health_check"),
        ("GoogleHC/1.0", "health_check"),
        ("GoogleStackdriverMonitoring-UptimeChecks(https://cloud.google.com/monitoring)", "health_check"),
        ("Amazon-Route53-Health-Check-Service (ref x)", "health_check"),
        ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "health_check"),
        ("Uptime-Kuma/1.23.11", "health_check"),
        ("Better Uptime Bot Mozilla/5.0", "health_check"),
        ("Pingdom.com_bot_version_1.4", "health_check"),
        ("Datadog/Synthetics", "health_check"),
        ("Blackbox Exporter/0.25.0", "health_check"),
        ("check_http/v2.3 (monitoring-plugins 2.3)", "health_check"),
        ("Edge Health Probe", "health_check"),
        ("sqlmap/1.8#stable (https://sqlmap.org)", "scanner"),
        ("Mozilla/5.0 zgrab/0.x", "scanner"),
        ("Nuclei - Open-source project (github.com/projectdiscovery/nuclei)", "scanner"),
        ("Mozilla/5.0 (compatible; CensysInspect/1.1)", "scanner"),
        ("Fuzz Faster U Fool v2.1.0", "scanner"),
        ("Expanse, a Palo Alto Networks company, searches across the global IPv4 space", "scanner"),
        # not synthetic: people, applications, phones and companies whose names only sound like it
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36", None),
        ("Mozilla/5.0 (Linux; Android 13; CUBOT X70) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36", None),
        ("Mozilla/5.0 (Linux; Android 12; CUBOT)", None),
        ("curl/8.5.0", None),
        ("python-requests/2.32", None),
        ("okhttp/4.12.0", None),
        ("Go-http-client/2.0", None),
        ("PostmanRuntime/7.43", None),
        ("RoboticsPlatform/3.1", None),
        ("robotics-control/1.0", None),
        ("shop-ios/5.2 (iPhone; iOS 19.1)", None),
        ("Apache-HttpClient/5.3 (Java/21)", None),
        ("HealthApp/2.0 (patient portal)", None),
        ("StatusPageClient/1.0", None),
        ("Botanica/1.0", None),
        ("abbott-labs-client/2", None),
        ("PayPal/8.1", None),
        ("Talbots-App/4.0", None),
        (None, None),
    ],
)  # fmt: skip
def test_a_user_agent_says_whether_it_is_a_machine_nobody_waits_for(agent: str | None, expected: str | None) -> None:
    assert kind(agent) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/.env", "scanner"),
        ("/.git/config", "scanner"),
        ("/wp-login.php", "scanner"),
        ("/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "scanner"),
        ("/actuator/env", "scanner"),
        ("/actuator/health", None),
        ("/v1/environment", None),
        ("/status", None),
        ("/manager", None),
        (None, None),
    ],
)
def test_a_path_that_only_scanners_ask_for_tells_them(path: str | None, expected: str | None) -> None:
    assert kind("Mozilla/5.0", path) == expected


def steady(n: int, every_s: float, jitter_s: float = 0.0, **given: Any) -> list[dict[str, Any]]:
    rng = random.Random(3)
    call = {"client_ip": "10.0.0.9", "method": "GET", "path": "/health", "user_agent": "probe/1", "consumer": None}
    return [
        call | {"start_time": START + timedelta(seconds=i * every_s + rng.uniform(-jitter_s, jitter_s))} | given
        for i in range(n)
    ]


def rhythm(rows: list[dict[str, Any]]) -> list[bool]:
    kinds = dict.fromkeys(("client_ip", "method", "path", "user_agent", "consumer"), pl.String)
    calls = pl.DataFrame(rows, schema=kinds | {"start_time": TIMESTAMP})
    return rhythmic(calls, distinct(calls["path"])).to_list()


#: Somebody with a user agent, without whom nobody can be told by having none.
OTHER = steady(1, 1, client_ip="10.0.0.1", path="/v1/carts", user_agent="shop/1")


@pytest.mark.parametrize(
    "given",
    [
        steady(60, 10, 0.5),
        steady(12, 60, 2, path="/api/v1/status"),
        steady(400, 5, path="/actuator/health/readiness"),
        steady(40, 30, 1, path="/readyz"),
        steady(40, 30, 1, path="/LiveZ/"),
        steady(60, 10, 0.5, path="/v1/carts", user_agent=None),
        [row for i, row in enumerate(steady(80, 10)) if i % 16],  # one in sixteen was lost
    ],
)
def test_a_steady_client_without_identity_is_a_health_check(given: list[dict[str, Any]]) -> None:
    assert rhythm([*given, *OTHER]) == [True] * len(given) + [False]


@pytest.mark.parametrize(
    "given",
    [
        steady(60, 10, 0.5, consumer="app-06"),  # polls, and says who it is
        steady(60, 10, 0.5, path="/v1/carts"),  # an application with a name of its own
        steady(60, 10, 0.5, path="/v1/jobs/17/status"),  # waits for something of its own
        steady(60, 10, 0.5, path="/orders/status"),
        steady(60, 10, 8),  # irregular
        steady(9, 60, 0.5),  # too few to say
        steady(60, 1, 0.1),  # a burst
        steady(20, 6),  # two minutes are no habit
        steady(60, 10, 0.5, client_ip=None),
        [row | {"path": f"/v1/carts/{i}", "user_agent": None} for i, row in enumerate(steady(60, 10))],
    ],
)
def test_real_use_is_not_taken_for_a_health_check(given: list[dict[str, Any]]) -> None:
    assert not any(rhythm([*given, *OTHER]))


def test_where_nobody_has_a_user_agent_having_none_means_nothing() -> None:
    assert not any(rhythm(steady(60, 10, path="/v1/carts", user_agent=None)))


@given(st.integers(0, 10_000), st.floats(5, 60), st.sampled_from(["/v1/carts", "/health"]))
def test_callers_at_random_moments_have_no_rhythm(seed: int, mean_s: float, path: str) -> None:
    rng, at, rows = random.Random(seed), START, []
    for _ in range(200):
        at += timedelta(seconds=rng.expovariate(1 / mean_s))
        rows.append(steady(1, 1, path=path, user_agent=None)[0] | {"start_time": at})
    assert not any(rhythm([*rows, *OTHER]))


def test_the_order_of_the_lines_does_not_change_who_has_a_rhythm() -> None:
    rows = [*steady(60, 10, 0.5), *steady(60, 10, 8, client_ip="10.0.0.8"), *OTHER]
    shuffled = list(enumerate(rows))
    random.Random(1).shuffle(shuffled)
    found = rhythm([row for _, row in shuffled])
    assert [is_check for _, is_check in sorted(zip((i for i, _ in shuffled), found, strict=True))] == rhythm(rows)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    calls = [
        {
            "timestamp": START.isoformat(),
            "method": "GET",
            "path": "/v1/carts",
            "status": 200,
            "client_ip": "10.0.0.1",
            "user_agent": agent,
        }
        for agent in ["shop/1"] * 5 + ["Googlebot/2.1"] * 3 + ["kube-probe/1.30"] * 2
    ]
    probes = [
        {"timestamp": row["start_time"].isoformat(), "method": "GET", "path": "/health", "status": 200, "client_ip": "::1"}
        for row in steady(40, 10)
    ]  # fmt: skip
    (tmp_path / "x.json").write_text("".join(json.dumps(row) + "\n" for row in [*calls, *probes]))
    ingest(tmp_path / "lake", tmp_path / "x.json")
    return tmp_path / "lake"


def test_endpoints_leave_them_out_say_so_and_can_count_them(lake: Path) -> None:
    ran = apilens("endpoints", "--lake", lake, "--output", "json")
    assert [(row["route"], row["calls"]) for row in ran.json()["endpoints"]] == [("/v1/carts", 5)]
    assert ran.json()["set_apart"] == {"bot": 3, "health_check": 42, "scanner": 0}
    said = "45 calls of bots (3) and health checks (42) are set apart; --include-synthetic counts them\n"
    window = "of 1 endpoint, 2026-03-09 14:00 to 2026-03-09 14:00 UTC\n"
    assert ran.err == f"{said}5 calls {window}"
    both = apilens("endpoints", "--lake", lake, "--output", "json", "--include-synthetic")
    assert [(row["route"], row["calls"]) for row in both.json()["endpoints"]] == [("/health", 40), ("/v1/carts", 10)]
    assert both.err == "50 calls of 2 endpoints, 2026-03-09 14:00 to 2026-03-09 14:06 UTC\n"


@pytest.mark.parametrize("exact", [False, True])
def test_figures_and_windows_leave_them_out_alike(lake: Path, exact: bool) -> None:
    lens = Lens(str(lake))
    end = START + timedelta(seconds=7)  # inside a bin
    assert lens.endpoints(None, end, exact=exact)["calls"].to_list() == [5]
    assert lens.endpoints(None, end, exact=exact, include_synthetic=True)["calls"].to_list() == [10, 1]
    assert lens.set_apart(None, end) == {"bot": 3, "health_check": 3, "scanner": 0}


def test_they_stay_in_the_lake(lake: Path) -> None:
    assert Lens(str(lake)).calls().collect().height == 50
