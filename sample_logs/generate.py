"""Makes the sample logs: 14 days of a small web shop behind two gateways, with six planted faults.

    python sample_logs/generate.py [--out DIR]

Reads apilens.toml (the log_format it fills in) and people.py (what people wrote) beside it; writes edge/, restored/,
partner/, feedback/ and TRUTH.json into DIR, by default beside it. Same bytes on every run. The world is in the tables
below (routes, callers, faults, damage); the code under them only draws it. Does not import apilens, so that the
expected counts in TRUTH.json are an opinion of their own.

Random numbers come from numpy's RandomState, whose streams are frozen (NEP 19), one stream per purpose.
"""
# ruff: noqa: SIM905 - a table reads better with one row a line, a list of words better as words

from __future__ import annotations

import argparse
import base64
import bz2
import csv
import gzip
import io
import json
import re
import tomllib
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard

from people import ITEMS, Item

HERE = Path(__file__).parent
SEED = 20260302
START = datetime(2026, 3, 2, tzinfo=UTC)
END = datetime(2026, 3, 16, tzinfo=UTC)
GO_LIVE = datetime(2026, 3, 9, 6, tzinfo=UTC)
PILOT_SHARE = 0.3  # traffic before the go-live against after it
BIN_S = 300
DAY_S = 86_400


def at(text: str) -> datetime:
    """The moment of the sample period written like "03-09 14:10", UTC."""
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def second(moment: datetime) -> float:
    """Seconds since START: the clock of every table below."""
    return (moment - START).total_seconds()


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- The world: routes ------------------------------------------------------------------------------------------


class Route(NamedTuple):
    method: str
    template: str  # {kind}: a variable segment, drawn by SEGMENTS[kind]
    per_day: float  # calls on a weekday after the go-live
    median_ms: float  # of the upstream
    group: str  # upstream group, a key of NODES
    audience: str = "all"  # a key of AUDIENCES
    rhythm: str = "people"  # a key of RHYTHMS
    sigma: float = 0.45  # of ln(latency)
    errors: tuple[tuple[int, float], ...] = ()  # background: (status, share of calls), beside EVERYWHERE
    kilobytes: float = 2.0  # median of the response body
    query: str = ""  # "search" | "page" | ""
    created: int = 200  # status of success


EDGE = (
    Route("GET", "/v1/search", 1850, 61, "search", "public", kilobytes=9, query="search"),
    Route("GET", "/v1/products", 830, 38, "catalog", "public", kilobytes=12, query="page"),
    Route("GET", "/v1/products/{slug}", 1350, 24, "catalog", "public", errors=((404, 0.02),), kilobytes=4),
    Route("GET", "/v1/products/{slug}/reviews", 330, 33, "catalog", "public", kilobytes=6, query="page"),
    Route("POST", "/v1/products/{slug}/reviews", 16, 52, "catalog", errors=((400, 0.04),), created=201),
    Route("GET", "/v1/categories/{category}", 460, 21, "catalog", "public", kilobytes=8),
    Route("GET", "/v1/carts/{cart}", 680, 17, "cart", errors=((404, 0.015),)),
    Route("POST", "/v1/carts", 200, 26, "cart", created=201),
    Route("PUT", "/v1/carts/{cart}/items/{item}", 390, 31, "cart", errors=((409, 0.01), (404, 0.01))),
    Route("DELETE", "/v1/carts/{cart}/items/{item}", 70, 22, "cart", errors=((404, 0.02),), created=204, kilobytes=0),
    Route("POST", "/v1/orders", 260, 140, "orders", errors=((400, 0.012), (409, 0.008)), created=201),
    Route("GET", "/v1/orders/{order}", 480, 29, "orders", errors=((404, 0.01),)),
    Route("GET", "/v1/orders", 170, 64, "orders", query="page", kilobytes=7),
    Route("POST", "/v1/orders/{order}/pay", 470, 118, "pay", sigma=0.55, errors=((402, 0.03), (502, 0.0012))),
    Route("POST", "/v1/orders/{order}/refunds", 34, 210, "pay", "refunds", errors=((422, 0.01),), created=201),
    Route("GET", "/v1/orders/{order}/invoice", 80, 190, "orders", errors=((404, 0.02),), kilobytes=48),
    Route("POST", "/v1/auth/token", 380, 88, "auth", errors=((401, 0.035),)),
    Route("POST", "/v1/auth/refresh", 420, 41, "auth", errors=((401, 0.02),)),
    Route("DELETE", "/v1/auth/session", 50, 19, "auth", created=204, kilobytes=0),
    Route("GET", "/v1/users/{email}", 70, 27, "account", errors=((404, 0.02), (403, 0.01))),
    Route("PATCH", "/v1/users/{email}", 11, 58, "account", errors=((400, 0.05),)),
    Route("GET", "/v1/users/{email}/addresses", 45, 25, "account"),
    Route("GET", "/v1/contracts/{contract}", 44, 72, "account", "apps", "office", errors=((404, 0.02),), kilobytes=5),
    Route("POST", "/v1/contracts/{contract}/renew", 4, 330, "account", "apps", "office", created=202),
    Route("POST", "/v1/exports", 60, 85, "export", rhythm="office", created=202),
    Route("GET", "/v1/exports/{export}", 560, 640, "export", rhythm="office", sigma=0.5, kilobytes=120),
    Route("GET", "/v1/coupons/{coupon}", 52, 18, "cart", errors=((404, 0.12),)),
    Route("POST", "/v1/newsletter/subscriptions", 5, 47, "account", "public", created=202),
)
PARTNER = (
    Route("POST", "/partner/v2/stock/updates", 1100, 46, "stock", "partners", "machines", created=202, kilobytes=0.2),
    Route("GET", "/partner/v2/stock/{sku}", 420, 22, "stock", "partners", "machines", errors=((404, 0.015), (429, 0.004))),
    Route("GET", "/partner/v2/orders/{purchase}", 180, 35, "fulfil", "partners", "machines", errors=((404, 0.01),)),
    Route("POST", "/partner/v2/orders/{purchase}/shipments", 90, 120, "fulfil", "partners", "office",
          errors=((422, 0.015),), created=201),
    Route("GET", "/partner/v2/prices/{day}", 40, 260, "stock", "partners", "machines", kilobytes=60),
    Route("POST", "/partner/v2/webhooks/{hook}/test", 3, 95, "fulfil", "partners", "office"),
)  # fmt: skip
EVERYWHERE = ((499, 0.0012), (500, 0.0005), (502, 0.0002), (503, 0.0003), (504, 0.0001))

NODES = {
    "catalog": ["10.0.1.11:8080", "10.0.1.12:8080", "10.0.1.13:8080"],
    "search": ["10.0.2.11:9200", "10.0.2.12:9200"],
    "cart": ["10.0.3.11:8080", "10.0.3.12:8080"],
    "pay": ["10.0.4.11:8080", "10.0.4.12:8080", "10.0.4.13:8080"],
    "orders": ["10.0.5.11:8080", "10.0.5.12:8080"],
    "auth": ["10.0.6.11:8080", "10.0.6.12:8080"],
    "account": ["10.0.7.11:8080"],
    "export": ["10.0.8.11:8080", "10.0.8.12:8080"],
    "stock": ["10.1.0.21:8443", "10.1.0.22:8443"],
    "fulfil": ["10.1.0.31:8443"],
}
EDGE_HOSTS = ("edge-1", "edge-2")

#: Share of a day's traffic per hour 0..23 UTC; (weekday, weekend), normalised so that a weekday's mean is 1.
RHYTHMS: dict[str, tuple[list[float], list[float]]] = {
    "people": (
        [2, 1, 1, 1, 1, 2, 4, 7, 9, 11, 12, 12, 11, 10, 10, 10, 10, 11, 12, 13, 12, 9, 6, 3],
        [2, 1, 1, 1, 1, 1, 2, 3, 5, 7, 9, 9, 8, 8, 8, 8, 8, 8, 9, 10, 10, 8, 5, 3],
    ),
    "office": (
        [0.3, 0.3, 0.3, 0.3, 0.3, 1, 4, 9, 14, 15, 14, 12, 9, 11, 12, 11, 8, 4, 2, 1, 1, 0.5, 0.5, 0.3],
        [0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.5, 1, 1.5, 1.5, 1.5, 1, 1, 1, 1, 1, 0.8, 0.5, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2],
    ),
    "machines": (
        [8, 8, 8, 8, 9, 10, 11, 12, 13, 13, 13, 13, 12, 13, 13, 13, 12, 11, 10, 10, 9, 9, 8, 8],
        [7, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7],
    ),
}


# --- The world: who calls ---------------------------------------------------------------------------------------

FIRST = (
    "anna ben carla david elif farid greta hugo ines jonas karim lena maja nils olga paul rosa sami tilda yusuf".split()
)
LAST = "albers brandt costa dupont engel fischer garcia haas ivanov jansen koch lorenz marin novak vogt".split()
APPS = [f"app-{i:02d}" for i in range(1, 41)]
USERS = ["lena.vogt", "kiosk 3"] + [f"{FIRST[i % 20]}.{LAST[(i * 7 + i // 20) % 14]}" for i in range(68)]
PARTNERS = [f"partner-{n}" for n in "nordlog tandem kargo velox brisk altona meridian pontis sable quill".split()]
PILOTS = {*APPS[:20], *USERS[:14], *PARTNERS}

#: Who calls a route and how often one against another; None: nobody signed in.
AUDIENCES: dict[str, list[tuple[str | None, float]]] = {
    "all": [(name, (3 + i) ** -0.7) for i, name in enumerate(APPS + USERS)],
    "apps": [(name, (3 + i) ** -0.7) for i, name in enumerate(APPS)],
    "refunds": [("app-17", 0.5), ("app-03", 0.2), ("app-08", 0.15), ("app-11", 0.15)],
    "partners": [(name, (2 + i) ** -0.8) for i, name in enumerate(PARTNERS)],
}
AUDIENCES["public"] = [*AUDIENCES["all"], (None, 0.13 * sum(w for _, w in AUDIENCES["all"]))]

APP_AGENTS = (
    "ShopApp/5.2.1 (Android 15) okhttp/4.12.0",
    "python-requests/2.32.3",
    "axios/1.7.9",
    "Java-http-client/21.0.2",
    "ShopApp/5.2.0 CFNetwork/1568.300.101 Darwin/24.2.0",
    "Go-http-client/2.0",
    'Kasse "Süd" 2.4\\beta',
    "GuzzleHttp/7",
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:135.0) Gecko/20100101 Firefox/135.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1",
)
BOTS = (
    ("66.249.66.17", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    ("40.77.167.9", "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"),
    ("54.36.148.21", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
)
BOT_CALLS_PER_DAY = 170
HEALTH = (("10.0.0.2", "kube-probe/1.31", 0), ("10.0.0.7", "ELB-HealthChecker/2.0", 300))  # ip, agent, offset in s
HEALTH_EVERY_S = 600  # real ones ask every few seconds; this keeps the sample small
SCANNER_VISITS = 15
SCANNED = (
    "/wp-login.php", "/.env", "/.git/config", "/xmlrpc.php", "/phpmyadmin/index.php", "/admin/login", "/.aws/credentials",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", "/cgi-bin/luci/;stok=/locale", "/actuator/env", "/server-status",
    "/boaform/admin/formLogin", "/owa/auth/logon.aspx", "/solr/admin/info/system", "/config.json", "/backup.zip", "/.DS_Store",
    "/wp-content/plugins/hello.php?cmd=id", "/index.php?s=/Index/\\think\\app/invokefunction", "/shell?cd+/tmp;wget+x",
)  # fmt: skip
#: Requests that are not HTTP, or hardly: (request line as received, status). They are calls all the same.
MALFORMED = (
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x9b\x8e", 400),
    (b'\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03"\\\x7f', 400),
    (b"GET /", 404),
    (b"-", 400),
    (b"-", 408),
    (b'{"id":1,"jsonrpc":"2.0","method":"login"}', 400),
    (b"GET /a b c HTTP/1.1", 400),
    (b"\x03\x00\x00/*\xe0\x00\x00\x00\x00\x00Cookie: mstshash=Administr", 400),
)
MALFORMED_CALLS = 56

#: Fake secrets that appear in query strings; none may ever reach a lake.
SECRETS = (
    *(f"demo-{uuid.uuid5(uuid.NAMESPACE_DNS, f'key{i}.example').hex}" for i in range(6)),
    *(
        ".".join(
            base64.urlsafe_b64encode(part.encode()).decode().rstrip("=")
            for part in ('{"alg":"HS256","typ":"JWT"}', f'{{"sub":"nobody-{i}"}}', f"not a signature {i}")
        )
        for i in range(6)
    ),
)
SECRET_SHARE = 0.004  # of GET calls


class Deployment(NamedTuple):
    """A benign one: nodes restart one after the other, nginx tries the next node, caches are cold for ten minutes."""

    at: datetime
    group: str
    version: str


DEPLOYMENTS = (Deployment(at("03-05 10:00"), "orders", "1.8.2"), Deployment(at("03-12 20:00"), "catalog", "1.9.0"))


# --- The world: faults ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """One planted fault: whom it hits (endpoint, consumers, node, share of calls) and what it does to them."""

    id: str
    kind: str
    grade: str  # easy | medium | hard
    signal: str  # errors | latency | traffic | auth | rate_limit
    title: str
    endpoint: str  # "METHOD template" of the routes table
    windows: tuple[tuple[datetime, datetime], ...]  # half-open
    open: bool = False  # still going on when the data end
    share: float = 1.0
    consumers: tuple[str, ...] = ()  # empty: anyone
    node: str = ""  # upstream address; empty: any
    status: int = 0  # 0: as it was
    took_ms: float = 0.0  # median upstream time of a failed call; 0: as it was
    slower: float = 1.0  # factor on the upstream time...
    ramp_s: float = 0.0  # ...reached linearly over this long; 0: at once
    silent: bool = False  # no calls arrive at all
    repeats: tuple[float, ...] = ()  # the caller tries again, with the same result: chance of the 1st, 2nd... repeat
    retries: float = 0.0  # the caller tries again, and succeeds on another node: chance
    follow_up: str = ""  # endpoint called with success after the last failure


LOOPING = ("app-01", "app-03", "app-07", "app-10", "app-14", "app-16", "app-19", "app-22", "app-25", "app-28", "app-33",
           "app-37", *USERS[2:54:2])  # fmt: skip

FAULTS = (
    Fault("pay-502", "upstream_node_errors", "easy", "errors", "pay: 502 from node pay-2", "POST /v1/orders/{order}/pay",
          ((at("03-09 14:10"), END),), open=True, share=0.3, node="10.0.4.12:8080", status=502, took_ms=4600,
          retries=0.55),
    Fault("refunds-422", "consumer_client_errors", "medium", "errors", "refunds: 422 for app-17 only",
          "POST /v1/orders/{order}/refunds", ((at("03-10 08:00"), at("03-13 08:00")),), share=0.95, consumers=("app-17",),
          status=422, took_ms=35, repeats=(0.5, 0.3)),
    Fault("login-loop", "auth_loop", "easy", "auth", "login loop: 401 after key rotation", "POST /v1/auth/refresh",
          ((at("03-12 05:30"), END),), open=True, consumers=LOOPING, status=401, took_ms=12, repeats=(1.0, 0.9),
          follow_up="POST /v1/auth/token"),
    Fault("export-slow", "recurring_latency", "medium", "latency", "export slow 09:00-10:00, recurring",
          "GET /v1/exports/{export}",
          tuple((at(f"03-{d} 09:00"), at(f"03-{d} 10:00")) for d in (10, 11, 12, 13)), slower=6.0),
    Fault("stock-silence", "silence", "medium", "traffic", "partner stock updates stopped arriving",
          "POST /partner/v2/stock/updates", ((at("03-11 12:00"), at("03-11 14:00")),), silent=True),
    Fault("search-drift", "latency_drift", "hard", "latency", "search: latency drifted up by 9 %", "GET /v1/search",
          ((at("03-10 00:00"), END),), open=True, slower=1.09, ramp_s=3 * DAY_S),
)  # fmt: skip


# --- The world: files and what is wrong with them -----------------------------------------------------------------

EDGE_ROTATION = tuple(START + timedelta(days=d, hours=20) for d in range(14))  # daily, archives named by date
#: What logrotate compressed with, newest choice first: the shop found out what packs its request ids best.
COMPRESSED = ((at("03-09 00:00"), ".bz2"), (at("03-06 00:00"), ".zst"), (START, ".gz"))
PARTNER_ROTATION = tuple(at(f"03-{d:02d} 20:00") for d in (4, 8, 11, 15))  # archives numbered, 1 is the newest
CUT_ARCHIVE = "edge/access.log-20260303.gz"  # the disk was full: no intact copy exists
CUT_AT = 0.7  # of its bytes
RESTORED = ("edge/access.log-20260308.zst", "restored/access.log-20260308.gz")  # the same data again
DAMAGE = {  # lines per gateway
    "edge": {"cut": 5, "junk": 3, "blank": 4, "error_log": 11},
    "partner": {"cut": 3, "junk": 1, "blank": 2, "error_log": 0},
}


# --- Drawing: columns -------------------------------------------------------------------------------------------

Table = dict[str, np.ndarray[Any, Any]]


def stream(purpose: str) -> np.random.RandomState:
    return np.random.RandomState((SEED + zlib.crc32(purpose.encode())) % 2**32)


def take(table: Table, rows: np.ndarray[Any, Any]) -> Table:
    return {name: column[rows].copy() for name, column in table.items()}


def stack(tables: Sequence[Table]) -> Table:
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


def words(values: Iterable[object]) -> np.ndarray[Any, Any]:
    """A column of Python objects (strings, None), never of numpy's fixed-width strings."""
    values = list(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _pool(purpose: str, size: int) -> list[str]:
    raw = stream(purpose).bytes(16 * size)
    return [str(uuid.UUID(bytes=raw[i * 16 : i * 16 + 16], version=4)) for i in range(size)]


def _slugs() -> list[str]:
    looks = "blue red sand olive plain tiny tall round soft raw bright mossy".split()
    stuff = "ceramic linen oak wool cotton steel glass paper".split()
    things = "mug lamp chair blanket bowl shelf vase towel clock basket".split()
    return [f"{a}-{b}-{c}" for a in looks for b in stuff for c in things]


ROOMS = "kitchen bath garden office hall kids bed dining attic balcony".split()
EMAILS = [f"{f}.{name}{n}%40post.example" for f in FIRST for name in LAST for n in ("", "7", "88")]
_order = stream("which slugs sell").permutation(960)
SEGMENTS: dict[str, list[str]] = {
    "slug": [_slugs()[i] for i in _order[:260]],
    "category": [f"{room}-{kind}" for room in ROOMS for kind in ("furniture", "textiles", "lighting", "storage")],
    "cart": _pool("carts", 1500),
    "export": _pool("exports", 300),
    "hook": _pool("hooks", 12),
    "order": [str(n) for n in 700_000 + stream("orders").permutation(90_000)[:9000]],
    "item": [str(n) for n in range(1, 25)],
    "email": EMAILS,
    "contract": [f"eW-CM{n}" for n in 190_000_000 + stream("contracts").permutation(9_999_999)[:400]],
    "coupon": [f"SPRING26-{n:04X}" for n in stream("coupons").permutation(65_536)[:90]],
    "purchase": [f"PO-2026-{a}{n:05d}" for a in ("NL", "TD", "KG") for n in stream("po").permutation(99_999)[:500]],
    "sku": [f"SKU-{n}-{v}" for n in range(48_200, 48_500) for v in "AB"],
    "day": [(START + timedelta(days=d)).strftime("%Y-%m-%d") for d in range(-30, 14)],
}
SOUGHT = "lamp mug oak+chair blanket wool+throw vase clock towel garden+table Gürtel kids+bed sofa shelf rug gift+card".split()


def route_of(template: str) -> str:
    """The template as apilens writes it: every variable is {id}."""
    return re.sub(r"\{\w+\}", "{id}", template)


def intensity(rhythm: str) -> np.ndarray[Any, Any]:
    """Factor per 5-minute bin on a weekday's mean rate after the go-live: hour of day, weekend, pilot or full traffic."""
    bins = np.arange(int(second(END)) // BIN_S)
    hour = (bins * BIN_S % DAY_S) / 3600
    weekday, weekend = (np.append(shares, shares[0]) / np.mean(RHYTHMS[rhythm][0]) for shares in RHYTHMS[rhythm])
    resting = bins * BIN_S // DAY_S % 7 >= 5
    daily = np.where(resting, np.interp(hour, np.arange(25), weekend), np.interp(hour, np.arange(25), weekday))
    return np.asarray(daily * np.where(bins * BIN_S < second(GO_LIVE), PILOT_SHARE, 1.0))


def draw_times(name: str, routes: Sequence[Route]) -> tuple[Table, dict[str, float]]:
    """Start second and route index of every call, and how many calls each silence kept away."""
    random = stream(f"{name} times")
    bins = int(second(END)) // BIN_S
    # Days and hours differ more than Poisson allows: that is what real traffic does to tests that assume it.
    mood = np.repeat(np.exp(random.normal(0, 0.04, 14)), DAY_S // BIN_S)
    mood = mood * np.repeat(np.exp(random.normal(0, 0.07, 14 * 24)), 3600 // BIN_S)
    missing: dict[str, float] = {}
    starts, indices = [], []
    for index, route in enumerate(routes):
        rate = route.per_day / DAY_S * BIN_S * intensity(route.rhythm) * mood
        for fault in FAULTS:
            if fault.silent and fault.endpoint == f"{route.method} {route.template}":
                gone = within(np.arange(bins) * BIN_S, fault)
                missing[fault.id] = float(rate[gone].sum())
                rate = np.where(gone, 0, rate)
        bin_of_call = np.repeat(np.arange(bins), random.poisson(rate))
        starts.append((bin_of_call + random.random_sample(len(bin_of_call))) * BIN_S)
        indices.append(np.full(len(bin_of_call), index))
    return {"start": np.round(np.concatenate(starts), 3), "route": np.concatenate(indices)}, missing


def within(seconds: np.ndarray[Any, Any], fault: Fault) -> np.ndarray[Any, Any]:
    return np.asarray(np.any([(seconds >= second(a)) & (seconds < second(b)) for a, b in fault.windows], axis=0))


def draw_consumers(random: np.random.RandomState, audience: str, starts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    names = words(name for name, _ in AUDIENCES[audience])
    weights = np.array([weight for _, weight in AUDIENCES[audience]])
    piloting = weights * [name is None or name in PILOTS for name in names]
    where = random.random_sample(len(starts))
    early = np.searchsorted(np.cumsum(piloting) / piloting.sum(), where)
    late = np.searchsorted(np.cumsum(weights) / weights.sum(), where)
    return names[np.where(starts < second(GO_LIVE), early, late)]


def draw_targets(random: np.random.RandomState, route: Route, n: int) -> np.ndarray[Any, Any]:
    columns: list[list[str]] = []
    for part in re.split(r"(\{\w+\})", route.template):
        if part.startswith("{"):
            pool = SEGMENTS[part[1:-1]]
            columns.append([pool[int(len(pool) * x**1.6)] for x in random.random_sample(n)])
        elif part:
            columns.append([part] * n)
    if route.query == "page":
        columns.append(
            [f"?page={k}" if k > 1 else "" for k in (1 / (1 - random.random_sample(n))).astype(int).clip(1, 9)]
        )
    if route.query == "search":
        columns.append([f"?q={SOUGHT[i]}&size=24" for i in random.randint(0, len(SOUGHT), n)])
    targets = ["".join(parts) for parts in zip(*columns, strict=True)]
    if route.method == "GET":
        for i in np.flatnonzero(random.random_sample(n) < SECRET_SHARE):
            which = random.randint(0, len(SECRETS) + 4)
            leak = f"email={EMAILS[which * 11]}" if which >= len(SECRETS) else (
                f"{'api_key' if SECRETS[which].startswith('demo') else 'token'}={SECRETS[which]}")  # fmt: skip
            targets[i] += ("&" if "?" in targets[i] else "?") + leak
    return words(targets)


def draw_calls(name: str, routes: Sequence[Route]) -> tuple[Table, dict[str, float]]:
    """Every ordinary call of one gateway, faults included; one row per call.

    Columns: start (s), ms and upstream_ms, status, route (index), target, consumer (None: anonymous), node (index into the
    group's nodes), first_node (a node that failed before it; -1: none), body (bytes), fault (id or "").
    """
    calls, missing = draw_times(name, routes)
    random = stream(f"{name} calls")
    n = len(calls["start"])
    consumer, target = np.empty(n, dtype=object), np.empty(n, dtype=object)
    status, node = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    median, sigma, body = np.zeros(n), np.zeros(n), np.zeros(n)
    for index, route in enumerate(routes):
        rows = np.flatnonzero(calls["route"] == index)
        consumer[rows] = draw_consumers(random, route.audience, calls["start"][rows])
        target[rows] = draw_targets(random, route, len(rows))
        node[rows] = random.randint(0, len(NODES[route.group]), len(rows))
        chances = (*route.errors, *EVERYWHERE)
        edges = np.cumsum([share for _, share in chances])
        codes = np.array([code for code, _ in chances] + [route.created])
        status[rows] = codes[np.searchsorted(edges, random.random_sample(len(rows)), side="right")]
        median[rows], sigma[rows] = route.median_ms, route.sigma
        body[rows] = np.round(route.kilobytes * 1024 * np.exp(random.normal(0, 0.35, len(rows))))
    load = (intensity("people") / intensity("people").max())[(calls["start"] // BIN_S).astype(int)]
    slow_tail = np.where(random.random_sample(n) < 0.008, random.uniform(3, 14, n), 1.0)
    upstream_ms = median * (1 + 0.04 * load) * np.exp(random.normal(0, 1, n) * sigma) * slow_tail
    upstream_ms = np.where((status >= 400) & (status < 500) & (status != 499), 0.4 * upstream_ms, upstream_ms)
    upstream_ms = np.where(status == 504, 30_000.0, upstream_ms)
    calls |= {"consumer": consumer, "target": target, "status": status, "node": node, "upstream_ms": upstream_ms,
              "first_node": np.full(n, -1), "body": body, "fault": words([""] * n)}  # fmt: skip

    retried_by_nginx = random.random_sample(n) < 0.003
    for deployment in DEPLOYMENTS:
        since = calls["start"] - second(deployment.at)
        own = np.array([r.group == deployment.group for r in routes])[calls["route"]]
        retried_by_nginx |= own & (since >= 0) & (since < 240) & (random.random_sample(n) < 0.4)
        calls["upstream_ms"][own & (since >= 0) & (since < 600)] *= 1.25
    several = np.array([r.method == "GET" and len(NODES[r.group]) > 1 for r in routes])[calls["route"]]
    retried_by_nginx &= several & (status < 400)
    calls["first_node"] = np.where(retried_by_nginx, (node + 1) % 2, -1)
    calls["node"] = np.where(retried_by_nginx, node % 2, node)

    for fault in FAULTS:
        calls = plant(fault, calls, routes)
    failed = np.flatnonzero(
        (calls["status"] >= 500) & (calls["fault"] == "") & (random.random_sample(len(calls["start"])) < 0.5)
    )
    return stack([calls, later(take(calls, failed), random, routes, status=0)]), missing


def later(calls: Table, random: np.random.RandomState, routes: Sequence[Route], status: int) -> Table:
    """The same calls tried again some seconds after they ended; status 0: with success, on the next node."""
    n = len(calls["start"])
    calls["start"] = np.round(calls["start"] + calls["upstream_ms"] / 1000 + random.uniform(0.8, 6, n), 3)
    if status == 0:
        calls["status"] = np.array([r.created for r in routes])[calls["route"]]
        sizes = np.array([len(NODES[r.group]) for r in routes])[calls["route"]]
        calls["node"] = (calls["node"] + 1) % sizes
        medians = np.array([r.median_ms for r in routes])[calls["route"]]
        calls["upstream_ms"] = medians * np.exp(random.normal(0, 0.45, n))
        calls["fault"] = words([""] * n)
    return calls


def plant(fault: Fault, calls: Table, routes: Sequence[Route]) -> Table:
    """`calls` as they look with the fault: hit rows changed and tagged, the callers' repeats added."""
    names = [f"{r.method} {r.template}" for r in routes]
    if fault.endpoint not in names:
        return calls
    random = stream(f"fault {fault.id}")
    index = names.index(fault.endpoint)
    group = routes[index].group
    hit = (
        (calls["route"] == index)
        & within(calls["start"], fault)
        & (random.random_sample(len(calls["start"])) < fault.share)
    )
    if fault.consumers:
        hit &= np.isin(calls["consumer"].astype(str), fault.consumers)
    if fault.node:
        hit &= calls["node"] == NODES[group].index(fault.node)
    rows = np.flatnonzero(hit)
    progress = (
        1.0 if not fault.ramp_s else np.minimum(1, (calls["start"][rows] - second(fault.windows[0][0])) / fault.ramp_s)
    )
    calls["upstream_ms"][rows] *= 1 + (fault.slower - 1) * progress
    calls["fault"][rows] = fault.id
    if not fault.status:
        return calls
    calls["status"][rows] = fault.status
    calls["upstream_ms"][rows] = fault.took_ms * np.exp(random.normal(0, 0.15, len(rows)))

    added, last = [], take(calls, rows)
    for chance in fault.repeats:
        last = later(
            take(last, np.flatnonzero(random.random_sample(len(last["start"])) < chance)), random, routes, fault.status
        )
        added.append(last)
    if fault.retries:
        again = np.flatnonzero(random.random_sample(len(rows)) < fault.retries)
        added.append(later(take(calls, rows[again]), random, routes, status=0))
    if fault.follow_up:
        after = take(last, np.arange(len(last["start"])))
        after["route"][:] = names.index(fault.follow_up)
        after["target"] = words([routes[names.index(fault.follow_up)].template] * len(after["start"]))
        added.append(later(after, random, routes, status=0))
    return stack([calls, *added])


# --- Drawing: lines ---------------------------------------------------------------------------------------------


@dataclass
class Line:
    ended: float  # seconds since START; lines are written when the call is over
    text: bytes
    kind: str = "call"  # call | broken | blank | filtered
    fault: str = ""
    facts: dict[str, str] = field(default_factory=dict)  # what a reporter could have seen; of fault lines only


def escape(value: bytes | str) -> str:
    """What nginx's escape=default writes: `"`, `\\` and bytes outside 0x20..0x7e as \\xHH."""
    raw = value.encode() if isinstance(value, str) else value
    return "".join(chr(b) if 0x20 <= b <= 0x7E and b not in b'"\\' else f"\\x{b:02X}" for b in raw)


def stamp(seconds: float, form: str = "%Y-%m-%dT%H:%M:%S+00:00") -> str:
    return (START + timedelta(seconds=int(seconds))).strftime(form)


def identifiers(purpose: str, n: int) -> list[str]:
    raw = stream(purpose).bytes(16 * n).hex()
    return [raw[i * 32 : i * 32 + 32] for i in range(n)]


def profile(consumer: str | None, draw: float) -> tuple[str, str, str]:
    """(address, user agent, HTTP version) a consumer calls with; `draw` (0..1) chooses among several."""
    if consumer is None:
        k = int(draw * 700)
        address = f"2001:db8:{k:x}::{k * 7 % 251:x}" if k % 9 == 0 else f"198.51.{100 + k % 3}.{1 + k % 250}"
        return address, BROWSERS[k % len(BROWSERS)], "2.0"
    k = zlib.crc32(consumer.encode())
    address = f"203.0.113.{1 + (k + (draw > 0.8)) % 250}"
    if consumer.startswith(("app-", "partner-")):
        return address, APP_AGENTS[k % len(APP_AGENTS)], "1.1"
    return address, BROWSERS[k % len(BROWSERS)], "2.0"


class EdgeWriter:
    """Fills in the log_format of apilens.toml."""

    def __init__(self) -> None:
        sources = tomllib.loads((HERE / "apilens.toml").read_text("utf-8"))["sources"]
        layout = next(s["log_format"] for s in sources if s["match"] == "edge/*")
        self.layout = re.sub(r"\$(\w+)", r"{\1}", layout)

    def line(self, ended: float, request: str | bytes, status: int, *, address: str, agent: str = "-", user: str = "-",
             referer: str = "-", sent: int = 0, length: int = 0, ms: float = 0.0, upstream: tuple[str, str, str, str]
             = ("-", "-", "-", "-"), host: str = "edge-1", request_id: str = "") -> bytes:  # fmt: skip
        upstream_addr, upstream_time, upstream_status, group = upstream
        return (
            self.layout.format(
                remote_addr=address, remote_user=escape(user), time_iso8601=stamp(ended), request=escape(request),
                status=status, body_bytes_sent=sent, http_referer=escape(referer), http_user_agent=escape(agent),
                request_length=length, request_time=f"{ms / 1000:.3f}", upstream_addr=upstream_addr,
                upstream_response_time=upstream_time, upstream_status=upstream_status, proxy_host=group, hostname=host,
                request_id=request_id,
            )
            + "\n"
        ).encode()  # fmt: skip


def edge_lines(calls: Table) -> list[Line]:
    writer, random = EdgeWriter(), stream("edge lines")
    n = len(calls["start"])
    draws, hosts, waits = random.random_sample(n), random.randint(0, 2, n), random.exponential(1.2, n)
    lines = []
    for row, request_id, draw, host, wait in zip(
        zip(*(column.tolist() for column in calls.values()), strict=True),
        identifiers("edge ids", n),
        draws,
        hosts,
        waits,
        strict=True,
    ):
        c = dict(zip(calls, row, strict=True))
        route = EDGE[c["route"]]
        address, agent, version = profile(c["consumer"], draw)
        nodes, took = NODES[route.group], c["upstream_ms"] / 1000
        answer = "-" if c["status"] == 499 else str(c["status"])
        seen = (nodes[c["node"]], f"{took:.3f}", answer, route.group)
        ms = round(c["upstream_ms"] + wait)
        if c["first_node"] >= 0:
            seen = (f"{nodes[c['first_node']]}, {seen[0]}", f"0.001, {took:.3f}", f"502, {answer}", route.group)
            ms += 1
        ended = c["start"] + ms / 1000
        body = {204: 0, 499: 0, 502: 157, 503: 197, 504: 167}.get(
            c["status"], int(c["body"]) if c["status"] < 400 else 96
        )
        text = writer.line(
            ended, f"{route.method} {c['target']} HTTP/{version}", c["status"], address=address, agent=agent,
            user=c["consumer"] or "-", sent=body, ms=ms, upstream=seen, host=EDGE_HOSTS[host], request_id=request_id,
            length=210 + len(c["target"]) + (int(draw * 400) if route.method in ("POST", "PUT", "PATCH") else 0),
            referer="https://shop.example/" if agent in BROWSERS else "-",
        )  # fmt: skip
        lines.append(fact_line(ended, text, c, request_id, route))
    return lines


def fact_line(ended: float, text: bytes, call: dict[str, Any], request_id: str, route: Route) -> Line:
    if not call["fault"]:
        return Line(ended, text)
    order = re.search(r"/orders/(\w+)", call["target"])
    facts = {
        "rid": request_id, "path": call["target"].partition("?")[0], "method": route.method, "status": str(call["status"]),
        "hhmm": stamp(ended, "%H:%M"), "when": stamp(ended, "%Y-%m-%d %H:%M:%S"), "order": order[1] if order else "",
        "seconds": f"{call['upstream_ms'] / 1000:.0f}", "consumer": call["consumer"] or "",
    }  # fmt: skip
    return Line(ended, text, "call", call["fault"], facts)


def side_lines() -> list[Line]:
    """Traffic that is nobody's use of the shop: health checks, bots, scanners, requests that are not HTTP."""
    writer, random = EdgeWriter(), stream("side traffic")
    made: list[tuple[float, str | bytes, int, dict[str, Any]]] = []
    for address, agent, offset in HEALTH:
        for i in range(int(second(END)) // HEALTH_EVERY_S):
            made.append((offset + i * HEALTH_EVERY_S + 0.5, "GET /healthz HTTP/1.1", 200, {"address": address, "agent": agent,
                         "sent": 3, "length": 96, "host": EDGE_HOSTS[i % 2]}))  # fmt: skip
    for moment in np.sort(random.uniform(0, second(END), BOT_CALLS_PER_DAY * 14)):
        address, agent = BOTS[int(3 * random.random_sample() ** 1.5)]
        pick = random.random_sample()
        ms = float(np.round(28 * np.exp(random.normal(0, 0.4))))
        node = NODES["catalog"][random.randint(0, 3)]
        slug = SEGMENTS["slug"][random.randint(0, 260)] + ("-old" if pick > 0.9 else "")
        own = pick < 0.04
        made.append((moment, "GET /robots.txt HTTP/1.1" if own else f"GET /v1/products/{slug} HTTP/1.1",
                     404 if pick > 0.9 else 200, {"address": address, "agent": agent, "length": 260, "ms": 0 if own else ms,
                     "sent": 60 if own else 4100, "upstream": ("-",) * 4 if own else
                     (node, f"{ms / 1000:.3f}", "404" if pick > 0.9 else "200", "catalog")}))  # fmt: skip
    for visit in np.sort(random.uniform(0, second(END) - 600, SCANNER_VISITS)):
        address = f"192.0.2.{random.randint(1, 250)}"
        agent = ("Mozilla/5.0 zgrab/0.x", "-", "Mozilla/5.0 (compatible; Nmap Scripting Engine)")[random.randint(0, 3)]
        for i in range(random.randint(25, 75)):
            path = SCANNED[i % len(SCANNED)]
            made.append((visit + i * random.uniform(0.5, 2), f"GET {path} HTTP/1.1", 404, {"address": address, "agent": agent,
                         "sent": 146, "length": 120 + len(path)}))  # fmt: skip
    for i, moment in enumerate(np.sort(random.uniform(0, second(END), MALFORMED_CALLS))):
        request, status = MALFORMED[i % len(MALFORMED)]
        made.append((moment, request, status, {"address": f"192.0.2.{random.randint(1, 250)}", "sent": 0 if status == 408 else 157,
                     "ms": 60_000 if status == 408 else float(random.randint(0, 180))}))  # fmt: skip
    return [
        Line(ended, writer.line(ended, request, status, request_id=request_id, **rest))
        for (ended, request, status, rest), request_id in zip(made, identifiers("side ids", len(made)), strict=True)
    ]


def partner_lines(calls: Table) -> list[Line]:
    """One JSON object per call, as Kong's file-log plug-in writes it (lua-cjson escapes slashes)."""
    random = stream("partner lines")
    n = len(calls["start"])
    draws, waits = random.random_sample(n), random.exponential(1.5, n)
    lines = []
    for row, request_id, draw, wait in zip(
        zip(*(column.tolist() for column in calls.values()), strict=True),
        identifiers("partner ids", n),
        draws,
        waits,
        strict=True,
    ):
        c = dict(zip(calls, row, strict=True))
        route = PARTNER[c["route"]]
        address, agent, _ = profile(c["consumer"], draw)
        refused = c["status"] == 429  # by Kong itself: no upstream was asked
        proxy, kong = (-1 if refused else max(1, round(c["upstream_ms"]))), 1 + round(wait)
        request_ms = kong + max(0, proxy)
        started = int(START.timestamp() * 1000) + round(c["start"] * 1000)
        tries = []
        for node in [k for k in (c["first_node"], c["node"]) if k >= 0 and not refused]:
            ip, port = NODES[route.group][node].split(":")
            failed = {} if node == c["node"] else {"state": "failed", "code": 502}
            tries.append(
                {"balancer_start": started + kong, "balancer_latency": 0, "ip": ip, "port": int(port)} | failed
            )
        name = f"{route.group}-{route.method.lower()}-{route.template.rsplit('/', 1)[-1].strip('{}')}"
        service_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{route.group}.internal.example"))
        upstream_status = (
            {} if refused else {"upstream_status": ("502, " if c["first_node"] >= 0 else "") + str(c["status"])}
        )
        record = {
            "started_at": started,
            "client_ip": address,
            "request": {
                "id": request_id, "method": route.method, "uri": c["target"],
                "url": f"https://partner.shop.example:443{c['target']}", "size": 300 + int(draw * 500), "querystring": {},
                "headers": {"host": "partner.shop.example", "user-agent": agent, "accept": "application/json"},
                "tls": {"version": "TLSv1.3"},
            },
            "response": {"status": c["status"], "size": 240 + int(c["body"]), "headers": {"content-type": "application/json"}},
            "latencies": {"request": request_ms, "kong": kong, "proxy": proxy, "receive": 0},
            "tries": tries,
            "source": "exit" if refused else "upstream",
            "upstream_uri": c["target"],
            "service": {"id": service_id, "name": route.group, "host": f"{route.group}.internal.example", "port": 8443,
                        "protocol": "https"},
            "route": {"id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), "name": name, "strip_path": False,
                      "service": {"id": service_id}},
            "consumer": {"id": str(uuid.uuid5(uuid.NAMESPACE_DNS, c["consumer"])), "username": c["consumer"]},
            "workspace_name": "default",
        } | upstream_status  # fmt: skip
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/") + "\n"
        lines.append(fact_line(c["start"] + request_ms / 1000, text.encode(), c, request_id, route))
    return lines


def damage(gateway: str, lines: list[Line]) -> list[Line]:
    """The lines in the order they were written, with what went wrong on the way; lines of a fault stay whole."""
    lines = sorted((line for line in lines if 0 <= line.ended < second(END)), key=lambda line: line.ended)
    random, plan = stream(f"{gateway} damage"), DAMAGE[gateway]
    whole = [i for i, line in enumerate(lines) if not line.fault and len(line.text) > 150]
    for i in random.choice(whole, plan["cut"], replace=False):
        keep = lines[i].text.find(b'"') + 4 + random.randint(0, 12)  # inside the first quoted string
        lines[i] = Line(lines[i].ended, lines[i].text[:keep] + b"\n", "broken")
    extra = []
    for i in random.choice(len(lines), plan["junk"], replace=False):
        extra.append(Line(lines[i].ended, bytes(random.randint(0x80, 0x100, 70).astype(np.uint8)) + b"\n", "broken"))
    for i in random.choice(len(lines), plan["blank"], replace=False):
        extra.append(Line(lines[i].ended, b"\n", "blank"))
    told = [line for line in lines if line.fault == "pay-502"] if plan["error_log"] else []
    for k, line in enumerate(told[:: max(1, len(told) // plan["error_log"])][: plan["error_log"]] if told else []):
        text = (
            f"{stamp(line.ended, '%Y/%m/%d %H:%M:%S')} [error] 31#31: *{4100 + 977 * k} upstream prematurely closed connection "
            f"while reading response header from upstream, client: 203.0.113.{k + 20}, server: api.shop.example, request: "
            f'"POST {line.facts["path"]} HTTP/1.1", upstream: "http://10.0.4.12:8080{line.facts["path"]}", host: "api.shop.example"\n'
        )
        extra.append(Line(line.ended, text.encode(), "filtered"))
    return sorted(lines + extra, key=lambda line: line.ended)


# --- Writing ----------------------------------------------------------------------------------------------------


def compress(data: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data, 9, mtime=0)
    if suffix == ".zst":
        return zstandard.ZstdCompressor(level=12).compress(data)
    if suffix == ".bz2":
        return bz2.compress(data)
    return data


def cut_gzip(data: bytes, keep: int) -> bytes:
    """A gzip stream that ends in mid-air, from which exactly data[:keep] can be read whatever zlib made it.

    The first half ends in a sync flush; a few bytes of the next block's header follow, too few to yield a byte.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = deflate.compress(data[:keep]) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return head + (deflate.compress(data[keep:]) + deflate.flush())[:5]


def rotate(lines: list[Line], moments: Sequence[datetime], names: Sequence[str]) -> dict[str, list[Line]]:
    """File name -> its lines; names: one per moment, then the live file."""
    ends = [second(m) for m in moments] + [float("inf")]
    files: dict[str, list[Line]] = {name: [] for name in names}
    which = 0
    for line in lines:
        while line.ended >= ends[which]:
            which += 1
        files[names[which]].append(line)
    return files


def count(lines: Sequence[Line]) -> dict[str, int]:
    """The conservation equation of one file: lines = records + blank, records = calls + broken + filtered."""
    kinds = Counter(line.kind for line in lines)
    return {"lines": len(lines), "blank": kinds["blank"], "records": len(lines) - kinds["blank"], "calls": kinds["call"],
            "broken": kinds["broken"], "filtered": kinds["filtered"]}  # fmt: skip


def write_logs(out: Path, files: dict[str, list[Line]]) -> dict[str, dict[str, Any]]:
    """Writes the files; returns what can be read from each."""
    counts: dict[str, dict[str, Any]] = {}
    for name, lines in files.items():
        data = b"".join(line.text for line in lines)
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        counts[name] = count(lines) | {"bytes": len(data)}
        if name == CUT_ARCHIVE:
            lost_from = data.rindex(b"\n", 0, int(len(data) * CUT_AT)) + 1
            keep = lost_from + 90  # in the middle of a line
            full = lines[: data[:lost_from].count(b"\n")]
            counts[name] = count(full) | {"bytes": lost_from, "truncated": True, "unfinished_bytes": keep - lost_from,
                                          "lost_lines": len(lines) - len(full)}  # fmt: skip
            path.write_bytes(cut_gzip(data, keep))
        else:
            path.write_bytes(compress(data, path.suffix))
        if name == RESTORED[0]:
            copy = out / RESTORED[1]
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(compress(data, copy.suffix))
            counts[RESTORED[1]] = counts[name] | {"same_bytes_as": name}
    return counts


def fill_in(item: Item, lines: list[Line]) -> dict[str, Any]:
    """The item with {rid}, {path}, {when}... taken from the last call of `item.seen_by` that the fault hit before it was written."""
    facts: dict[str, str] = {}
    if item.seen_by:
        before = second(at(item.created_at))
        seen = [
            ln for ln in lines if ln.fault == item.fault and ln.facts["consumer"] == item.seen_by and ln.ended < before
        ]
        if not seen:
            raise ValueError(
                f"people.py, {item.id}: {item.seen_by} was not hit by {item.fault} before {item.created_at}"
            )
        facts = seen[-1].facts
    row: dict[str, Any] = {
        "id": item.id, "channel": item.channel, "created_at": iso(at(item.created_at)), "reporter": item.reporter,
        "account": item.account or None, "title": item.title.format(**facts), "body": item.body.format(**facts),
        "status": item.history[-1][1] if item.history else "new", "resolved_at": None,
    }  # fmt: skip
    if row["status"] in ("resolved", "closed"):
        row["resolved_at"] = next(iso(at(moment)) for moment, status in item.history if status == "resolved")
    if item.channel == "ticket":
        steps = [(item.created_at, "new"), *item.history]
        row["history"] = [
            {"at": iso(at(moment)), "from": before, "to": after} for (_, before), (moment, after) in pairwise(steps)
        ]
    if item.channel == "survey":
        row["score"] = item.score
    return row


def write_feedback(out: Path, lines: list[Line]) -> dict[str, Any]:
    rows = [fill_in(item, lines) for item in ITEMS]
    folder = out / "feedback"
    folder.mkdir(parents=True, exist_ok=True)
    for channel, name in (
        ("ticket", "tickets.ndjson"),
        ("chat", "chat.csv"),
        ("mail", "mail.ndjson"),
        ("survey", "survey.csv"),
    ):
        own = sorted((row for row in rows if row["channel"] == channel), key=lambda row: row["created_at"])
        text = io.StringIO(newline="")
        if name.endswith(".csv"):
            table = csv.DictWriter(text, list(own[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(own)
        else:
            text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in own)
        (folder / name).write_text(text.getvalue(), "utf-8", newline="")
    return {
        "items": {item.id: item.fault or None for item in ITEMS},
        "duplicates": {item.id: item.duplicate_of for item in ITEMS if item.duplicate_of},
        "questions": [item.id for item in ITEMS if item.question],
    }


def fault_truth(fault: Fault, lines: list[Line], missing: dict[str, float]) -> dict[str, Any]:
    method, template = fault.endpoint.split(" ")
    hit = [line for line in lines if line.fault == fault.id and line.kind == "call"]
    truth: dict[str, Any] = {
        "id": fault.id, "kind": fault.kind, "grade": fault.grade, "signal": fault.signal, "title": fault.title,
        "start": iso(fault.windows[0][0]), "end": iso(fault.windows[-1][1]), "state": "open" if fault.open else "ended",
        "endpoints": [f"{method} {route_of(template)}"], "affected_calls": len(hit),
        "hint": {"status": str(fault.status) if fault.status else None, "upstream": fault.node or None,
                 "consumer": fault.consumers[0] if len(fault.consumers) == 1 else None, "node": None},
        "consumers": sorted({line.facts["consumer"] for line in hit} - {""}),
    }  # fmt: skip
    if len(fault.windows) > 1:
        truth["windows"] = [[iso(a), iso(b)] for a, b in fault.windows]
    if fault.silent:
        truth |= {"missing_calls": round(missing[fault.id]), "consumers": sorted(PARTNERS)}
    if fault.follow_up:
        truth["side_effects"] = [fault.follow_up]  # more calls than usual, as a consequence
    if fault.slower != 1:
        truth["slower_by_factor"] = fault.slower
    return truth


def generate(out: Path) -> None:
    """Writes everything into `out`."""
    edge_calls, edge_missing = draw_calls("edge", EDGE)
    partner_calls, partner_missing = draw_calls("partner", PARTNER)
    edge = damage("edge", edge_lines(edge_calls) + side_lines())
    partner = damage("partner", partner_lines(partner_calls))
    suffixes = [next(suffix for since, suffix in COMPRESSED if moment >= since) for moment in EDGE_ROTATION]
    edge_names = [f"edge/access.log-{m:%Y%m%d}{suffix}" for m, suffix in zip(EDGE_ROTATION, suffixes, strict=True)]
    partner_names = [f"partner/kong.log.{k}.zst" for k in range(len(PARTNER_ROTATION), 0, -1)]
    files = rotate(edge, EDGE_ROTATION, [*edge_names, "edge/access.log"])
    files |= rotate(partner, PARTNER_ROTATION, [*partner_names, "partner/kong.log"])
    conservation = write_logs(out, files)
    totals = Counter[str]()
    for counts in conservation.values():
        totals.update({k: counts[k] for k in ("lines", "blank", "records", "calls", "broken", "filtered")})
    totals["duplicate"] = conservation[RESTORED[1]]["records"]
    totals["stored"] = totals["calls"] - conservation[RESTORED[1]]["calls"]
    missing = edge_missing | partner_missing
    truth = {
        "schema_version": 1,
        "seed": SEED,
        "period": {"start": iso(START), "end": iso(END)},
        "go_live": iso(GO_LIVE),
        "deployments": [{"at": iso(d.at), "service": d.group, "version": d.version} for d in DEPLOYMENTS],
        "routes": sorted(f"{r.method} {route_of(r.template)}" for r in (*EDGE, *PARTNER)),
        "faults": [fault_truth(fault, edge + partner, missing) for fault in FAULTS],
        "secrets": list(SECRETS),
        "feedback": write_feedback(out, edge + partner),
        "conservation": {"files": conservation, "total": dict(totals)},
    }
    (out / "TRUTH.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into (default: beside this script)")
    generate(parser.parse_args().out)
