"""Calls of a maps and geodata platform, with faults and labels, by an author who saw neither the detector nor its figures.

Geocoding, tiles, routing, places, traffic, elevation and accounts, sold by API keys. Thousands of small keys of three regions call
beside six huge customers, batch jobs, free-tier abuse and scanners; cache hits of some milliseconds stand beside slow computations;
data are released every Wednesday; traffic and places come from providers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from calls import Columns, Hinted, arrivals, label, ornstein, ticks, within
from worlds import World

T0 = 1_778_025_600  # Wednesday 2026-05-06T00:00:00Z
DAY, HOUR = 1440, 60  # minutes
HOLIDAY, FESTIVAL = 8, 10  # in Europe: Ascension Day, a Thursday; a Saturday on which people drive out and home
WARMUP, MARGIN = 4, 4 * 3600  # days without faults; seconds between two things that happen to an endpoint
SEARCH, MAP, ROUTE, FLOW = "geocoder", "tile-cache", "router", "traffic-provider"
PLACES, ACCOUNT, DATA, TERRAIN, RENDER = "places-provider", "accounts", "datasets", "terrain", "renderer"


class Route(NamedTuple):
    """An endpoint; weight: its share of the calls; ms: a computation's median; cached: the share of hits."""

    method: str
    path: str
    upstream: str
    weight: float
    ms: float
    cached: float
    rhythm: str


HUMAN, OFFICE, RUSH, STEADY, TILE = "human", "business", "commute", "machine", "/{id}/{id}/{id}"
# fmt: off
BEHIND = {  # upstream: method, path, share of the calls, ms and share of cache hits of its endpoints, when they are called
    MAP: (("GET", "tiles/streets" + TILE, 17, 110, 0.9, HUMAN), ("GET", "tiles/satellite" + TILE, 6, 140, 0.85, HUMAN),
        ("GET", "tiles/terrain" + TILE, 2.5, 90, 0.8, HUMAN), ("GET", "styles/{id}", 3, 35, 0.7, HUMAN)),
    SEARCH: (("GET", "geocode/autocomplete", 11, 38, 0.4, HUMAN), ("GET", "geocode/forward", 8, 75, 0.25, OFFICE), ("GET", "geocode/reverse", 7, 45, 0.3, HUMAN),
        ("POST", "geocode/batch", 0.9, 900, 0, OFFICE), ("GET", "geocode/batch/{id}", 1.6, 30, 0, OFFICE), ("POST", "addresses/validate", 0.9, 120, 0, OFFICE)),
    PLACES: (("GET", "places/search", 3, 210, 0.2, HUMAN), ("GET", "places/nearby", 2.2, 180, 0.2, HUMAN),
        ("GET", "places/{id}", 2.8, 95, 0.5, HUMAN), ("GET", "places/{id}/photos", 1, 150, 0.5, HUMAN)),
    ROUTE: (("GET", "directions/driving", 6.5, 130, 0.1, RUSH), ("GET", "directions/walking", 1.6, 60, 0.1, HUMAN), ("GET", "directions/cycling", 0.8, 75, 0.1, RUSH),
        ("GET", "directions/truck", 1.4, 240, 0, OFFICE), ("POST", "matrix/driving", 2.2, 420, 0, OFFICE), ("POST", "matrix/truck", 0.6, 700, 0, OFFICE),
        ("GET", "isochrones/driving", 0.8, 520, 0.1, OFFICE), ("GET", "isochrones/walking", 0.35, 260, 0.1, HUMAN), ("GET", "trips/{id}", 0.5, 25, 0, OFFICE),
        ("POST", "trips/optimize", 0.25, 2600, 0, OFFICE), ("POST", "roads/snap", 1.6, 90, 0, STEADY), ("GET", "roads/limits", 0.8, 40, 0.3, STEADY)),
    FLOW: (("GET", "traffic/flow", 2, 85, 0.3, RUSH), ("GET", "traffic/incidents", 1.3, 110, 0.3, RUSH), ("GET", "transit/departures", 0.9, 160, 0.2, RUSH)),
    RENDER: (("GET", "static/{id}", 1.6, 320, 0.3, HUMAN),), TERRAIN: (("GET", "elevation/point", 0.7, 22, 0.3, HUMAN), ("POST", "elevation/profile", 0.35, 140, 0, STEADY)),
    ACCOUNT: (("POST", "tokens", 0.8, 40, 0, HUMAN), ("GET", "account/usage", 0.5, 380, 0.3, STEADY), ("POST", "account/sessions", 0.12, 210, 0, OFFICE),
        ("GET", "billing/invoices", 0.06, 140, 0, OFFICE), ("POST", "billing/payments", 0.025, 900, 0, OFFICE)),
    DATA: (("GET", "datasets/{id}/features", 0.8, 130, 0.2, STEADY), ("PUT", "datasets/{id}/features", 0.12, 310, 0, STEADY)),
}
# fmt: on
ROUTES = [Route(row[0], "/v1/" + row[1], upstream, *row[2:]) for upstream, rows in BEHIND.items() for row in rows]
NEWCOMER = Route("GET", "/v2/isochrones/driving", ROUTE, 0.3, 300, 0.1, OFFICE)  # beside the others, from day 6
PROBES = ("/v1/status", "/.env", "/wp-login.php", "/.git/config", "/admin/login")  # by a monitor and scanners
HABIT = {  # status and share of the calls that are answered so on a good day
    SEARCH: (404, 0.03), MAP: (404, 0.012), ROUTE: (422, 0.015), FLOW: (404, 0.008), PLACES: (404, 0.025),
    ACCOUNT: (403, 0.01), DATA: (404, 0.02), TERRAIN: (400, 0.008), RENDER: (400, 0.01),
}  # fmt: skip
REGIONS = (("eu", 0.5, 2), ("us", 0.32, -5), ("ap", 0.18, 8))  # share of the small keys' calls, hours from UTC
NODES = ("gw-eu-1", "gw-eu-2", "gw-us-1", "gw-us-2", "gw-ap-1")  # two in each region, one in the last
AGENTS = (
    "maps-js/4.12.1", "maps-js/4.13.0", "maps-android/7.3.2", "maps-ios/7.1.0", "maps-python/2.8.0", "maps-java/3.4.1", "okhttp/4.12.0",
    "python-requests/2.31.0", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "zgrab/0.x", "StatusCake",
)  # fmt: skip
JS_NEW, SCRIPT, CRAWLER, SCANNER, MONITOR = 1, 7, 8, 9, 10
HUGE = (  # name, region, rhythm, share of all calls, agent, what they call
    ("acct-parcelroute", 0, OFFICE, 0.06, 5, ("truck", "matrix", "trips", "validate")), ("acct-skyfeed", 2, HUMAN, 0.045, 3, ("satellite", "reverse")),
    ("acct-hopride", 1, RUSH, 0.06, 2, ("directions/driving", "traffic/flow", "snap", "reverse")),
    ("acct-homefinder", 0, HUMAN, 0.05, 0, ("tiles/streets", "isochrones", "nearby", "autocomplete")),
    ("acct-fleetsense", 1, STEADY, 0.045, 5, ("roads", "elevation", "datasets")), ("acct-tafelo", 2, HUMAN, 0.04, 2, ("autocomplete", "places", "walking", "tokens")),
)  # fmt: skip
JOBS = (  # name, region, when, calls per minute, minutes, times in two weeks when irregular, what they call
    ("acct-versa", 0, "nightly", 7.0, (70, 95), 0, "geocode/batch"), ("acct-parcelroute", 0, "hourly", 3.0, (4, 6), 0, "matrix"),
    ("acct-fleetsense", 1, "daily", 1.5, (50, 60), 0, "roads/limits"), ("acct-geolab", 0, "irregular", 0.5, (10, 40), 16, "isochrones"),
    ("acct-crmworks", 1, "irregular", 2.2, (15, 80), 11, "geocode/forward"),
)  # fmt: skip
SMALL = 2600  # keys of the free and the starter plan, and some hundred of the growth plan
STRENGTH = {  # share of calls that fail, factor on latency or on traffic: strong, middling, weak
    "errors": ((0.25, 0.7), (0.04, 0.11), (0.015, 0.035)), "latency_step": ((1.8, 2.6), (1.4, 1.6), (1.2, 1.32)),
    "latency_tail": ((0.2, 0.3), (0.1, 0.16), (0.05, 0.07)), "latency_drift": ((1.8, 2.3), (1.4, 1.6), (1.18, 1.3)),
    "traffic_drop": ((0.02, 0.1), (0.3, 0.42), (0.52, 0.63)), "traffic_spike": ((3.5, 5.5), (2.1, 2.7), (1.7, 2.0)),
    "traffic_silence": ((0.0, 0.0),), "low_traffic_fail": ((0.6, 0.95),),
}  # fmt: skip
SIGNAL = {kind: kind.split("_")[0] for kind in STRENGTH if kind.startswith(("latency", "traffic"))}
SIGNAL |= {"auth_failure": "auth", "rate_limit": "rate_limit"}
# What may happen: kind, strengths (0 strong .. 2 weak), minutes, how many calls it should meet, statuses, who or what is hit.
PLAN: tuple[tuple[str, tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int | None, ...], str], ...] = (
    ("node_outage", (0, 1), (8, 30), (60, 10_000), (503,), "node"), ("latency_drift", (0, 2), (1800, 3300), (1500, 40_000), (None,), ""),
    ("validation_regression", (0, 2), (400, 1900), (300, 6000), (400, 422), "sdk"),
    ("low_traffic_fail", (0, 0), (420, 1600), (12, 50), (500, 502), ""), ("new_code", (1, 2), (150, 1000), (150, 2500), (410, 451), ""),
    ("upstream_timeout", (0, 1), (12, 80), (60, 1500), (504, 502), "upstream"),
    ("auth_failure", (0,), (40, 300), (50, 2000), (401,), "huge"), ("auth_failure", (1, 2), (60, 420), (100, 2000), (403, 403), ""),
    ("rate_limit", (0,), (40, 240), (50, 2000), (429,), "huge"), ("rate_limit", (1,), (60, 360), (120, 2000), (429,), ""),
    ("traffic_drop", (0, 2), (50, 260), (120, 1800), (None,), ""), ("traffic_spike", (0, 1, 2), (35, 170), (40, 500), (None,), ""),
    ("traffic_silence", (0,), (60, 480), (40, 900), (None,), ""), ("latency_step", (0, 1, 2), (40, 540), (150, 3000), (None,), ""),
    ("latency_tail", (1, 2), (60, 400), (300, 4000), (None,), ""), ("error_burst", (0, 1, 2), (12, 130), (60, 1500), (500, 503, 500), ""),
)  # fmt: skip


@dataclass
class Calls(Columns):
    """One entry per call; at: seconds since the beginning; fault: the number of the one that changed it, or -1."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    node: np.ndarray
    agent: np.ndarray
    cached: np.ndarray
    status: np.ndarray
    ms: np.ndarray
    fault: np.ndarray


@dataclass
class Fault(Hinted):
    """strength: the share that fails, or the factor; who, where, agent: the consumer, node and SDK hit; missing: calls not made."""

    strength: float = 0.0
    who: int | None = None
    where: int | None = None
    agent: int | None = None
    missing: int = 0

    def hits(self, calls: Calls) -> np.ndarray:
        """Which calls it could change."""
        rows = self.inside(calls.at) & np.isin(calls.endpoint, self.endpoints)
        for value, values in ((self.who, calls.consumer), (self.where, calls.node), (self.agent, calls.agent)):
            rows &= True if value is None else values == value
        return rows


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `maps`, or `quiet-maps` for the same one without faults. At least 20 endpoints, 7 days."""
    platform = Platform(np.random.default_rng([seed, 611]), endpoints, days, calls_per_minute)
    calls = platform.answered(platform.random, platform.traffic())
    random = np.random.default_rng([seed, 612])
    faults = [] if profile.startswith("quiet") else plan(random, platform, calls)
    calls = failed = struck(random, platform, faults, moved(random, platform, faults, calls))
    for chance in (0.45, 0.25):  # clients try again what failed, and once more
        failed = failed.where((failed.status >= 500) & (random.random(len(failed)) < chance))
        failed.at, failed.fault = failed.at + 0.3 + random.exponential(6, len(failed)), np.full(len(failed), -1)
        failed = struck(random, platform, faults, platform.answered(random, failed.where(failed.at < days * 86_400)))
        calls = calls.and_those(failed)
    calls = calls.where(~within(platform.gaps, [0], calls.at + T0))
    people = calls.where(calls.agent < CRAWLER)
    told = labels_of(platform, faults, people.where(np.lexsort((people.at, people.endpoint))))
    span = {"t0": T0, "minutes": platform.minutes}
    ambiguous = [event for event in platform.events if event["ambiguous"]]
    labels = {**span, "faults": told, "events": platform.events, "ambiguous": ambiguous}
    return World(platform.logged(random, calls), labels, {**span, "endpoints": platform.catalog})


class Platform:
    """Who calls what, and how it is answered when nothing is wrong."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, rate: float) -> None:
        self.random, self.minutes, self.days = random, days * DAY, days
        known = [ROUTES[int(i)] for i in np.linspace(0, len(ROUTES) - 1, min(endpoints - 1, len(ROUTES)))]
        more = [known[i % len(known)] for i in range(endpoints - 1 - len(known))]
        renamed = [route._replace(path=f"/labs{i // len(known)}{route.path}") for i, route in enumerate(more)]
        self.routes: list[Route] = [*known, *renamed, NEWCOMER]
        self.catalog = [{"id": i, **route._asdict()} for i, route in enumerate(self.routes)]
        self.rate = rate * np.array([route.weight for route in self.routes])  # calls per minute
        self.rate, self.scale = self.rate / sum(route.weight for route in self.routes), rate / 60
        self.routes += [Route("GET", path, "-", 0, 2, 0, STEADY) for path in PROBES]
        keys = [f"key-{number:06x}" for number in random.choice(16**6, SMALL + 60, replace=False)]
        named = [*sorted({name for name, *_ in (*HUGE, *JOBS)}), "-"]
        self.names = keys[:SMALL] + named + keys[SMALL:]  # the last 60 copy data with free keys
        self.nobody = self.names.index("-")
        self.size = random.lognormal(0, 1.2, SMALL)
        self.home = random.choice(len(REGIONS), SMALL, p=[share for _, share, _ in REGIONS])
        self.taste = random.choice(sorted(HABIT), SMALL)
        self.sdk = random.choice(8, SMALL, p=[0.34, 0.0, 0.16, 0.14, 0.14, 0.08, 0.06, 0.08])
        self.clumsy = np.where(random.random(SMALL) < 0.04, random.uniform(0.15, 0.5, SMALL), 0.0)
        # A free key whose daily quota is used up hears 429 until midnight UTC.
        spent = (self.size < 2.5) & (random.random(SMALL) < 0.08)
        self.quota_s = np.where(spent, random.uniform(0.35, 1.0, SMALL), 9.0) * 86_400
        self.upgraded_s = random.uniform(0, 40 * 86_400, SMALL)  # when an app goes over to the new SDK
        self.newcomer_s = min(6, days - 1) * 86_400 + random.uniform(7, 11) * 3600
        self.deployed_s = {name: random.uniform(0.5, 2 * days) * 86_400 for name in HABIT}  # half of them not at all
        self.changed = {name: random.uniform(0.92, 1.1) for name in HABIT}
        self.errors = random.uniform(0.0004, 0.003, len(self.routes))
        self.restarts = {name: random.random(self.minutes) < 1 / DAY for name in HABIT}
        self.slow: dict[str, np.ndarray] = {}  # what a computation takes longer, by upstream and minute
        self.events: list[dict] = []
        for start in random.uniform(0, days * 86_400, 2):
            self.event("no log", start, start + 60 * random.uniform(8, 25), list(range(endpoints)))
        self.gaps = list(self.events)
        for day in range(4, days, 7):
            start = (day * 24 + 3) * 3600
            self.event("the places provider's announced maintenance", start, start + 1080, self.finds("places"), True)

    def finds(self, *words: str) -> list[int]:
        """Endpoints of the catalog with one of these words in their path, without the newcomer."""
        return [one["id"] for one in self.catalog[:-1] if any(word in one["path"] for word in words)]

    def event(self, what: str, start: float, end: float, endpoints: list[int], ambiguous: bool = False) -> None:
        """Keep what happens without being a fault; start, end: seconds since the beginning."""
        span = {"start": int(T0 + start), "end": int(T0 + end), "endpoints": endpoints}
        self.events.append({"what": what, "ambiguous": ambiguous, **span})

    def shape(self, rhythm: str, region: int) -> np.ndarray:
        """How much is called per minute, around 1, by the region's own clock and calendar."""
        clock = np.arange(self.minutes) + REGIONS[region][2] * HOUR
        hour, day = clock % DAY / HOUR, clock // DAY
        weekend, holiday = np.isin(day % 7, (3, 4)), (day == HOLIDAY) & (region == 0)

        def bump(at: float, width: float) -> np.ndarray:
            return np.exp(-0.5 * (((hour - at + 12) % 24 - 12) / width) ** 2)

        if rhythm == STEADY:
            return 1 + 0.15 * bump(13, 4) - 0.06 * weekend
        if rhythm == OFFICE:
            return (0.15 + 1.6 * bump(10.5, 2) + 1.5 * bump(15, 2.2)) * np.select([weekend, holiday], [0.35, 0.45], 1)
        if rhythm == RUSH:
            working = 1.7 * bump(8, 1.5) + 1.9 * bump(17.5, 2) + 0.7 * bump(13, 2)
            festival = 0.6 * (bump(17, 1.2) + bump(23, 0.8)) * ((day == FESTIVAL) & (region == 0))
            return 0.2 + np.where(weekend | holiday, 1.5 * bump(14.5, 3.5), working) + festival
        return (0.25 + 1.2 * bump(13, 3.5) + 1.1 * bump(20, 2.3)) * np.where(weekend | holiday, 1.08, 1.0)

    def by(self, consumer: Any, at: np.ndarray, endpoint: int, region: int, agent: Any) -> Calls:
        """Calls of one consumer (by name) or of several (by number), not answered yet; the region's nodes share them."""
        node, zero = self.random.integers(2 * region, min(2 * region + 2, 5), len(at)), np.zeros(len(at), dtype=int)
        number = self.names.index(consumer) if isinstance(consumer, str) else consumer
        return Calls(at, zero + endpoint, zero + number, node, zero + agent, zero > 0, zero, zero + 0.0, zero - 1)

    def of(self, calls: Calls, name: str) -> np.ndarray:
        """What is written of each call's route."""
        return np.array([getattr(route, name) for route in self.routes])[calls.endpoint]

    def traffic(self) -> Calls:
        """All calls of the world without faults, not answered yet."""
        random, trend = self.random, 1 + 0.008 * np.arange(self.minutes) / DAY
        parts: list[Calls] = []
        for endpoint, route in enumerate(self.routes[: len(self.catalog)]):
            wander = np.exp(ornstein(random, self.minutes, 200, random.uniform(0.05, 0.11)))
            for region, (_, share, _) in enumerate(REGIONS):
                days = np.exp(random.normal(0, 0.035, self.days))
                rate = 0.69 * self.rate[endpoint] * share * self.shape(route.rhythm, region) * wander * trend
                if route is NEWCOMER:
                    rate *= np.clip((np.arange(self.minutes) - self.newcomer_s / 60) / (2 * DAY), 0, 1)
                several = 0.35 if route.rhythm == HUMAN else 0.7  # people look at more than one tile
                at = arrivals(random, rate * np.repeat(days, DAY) * several)
                visits = random.geometric(several, len(at))
                liking = self.size * np.where(self.taste == route.upstream, 1, 0.12) * (self.home == region)
                consumer = np.repeat(random.choice(SMALL, len(at), p=liking / liking.sum()), visits)
                at = np.repeat(at, visits) + random.exponential(25, visits.sum())
                agent = self.sdk[consumer]
                agent[(agent == 0) & (at > self.upgraded_s[consumer])] = JS_NEW
                given_up = (at % 86_400 > self.quota_s[consumer]) & (random.random(len(at)) < 0.5)
                parts.append(self.by(consumer, at, endpoint, region, agent).where(~given_up))
        for name, region, rhythm, share, agent, words in HUGE:
            mine = self.finds(*words)
            weights = self.rate[mine] ** 0.7 / (self.rate[mine] ** 0.7).sum()
            for endpoint, weight in zip(mine, weights, strict=True):
                rate = self.shape(rhythm, region) * np.exp(ornstein(random, self.minutes, 300, 0.08))
                at = arrivals(random, 60 * self.scale * share * weight * rate)
                parts.append(self.by(name, at, endpoint, region, agent))
        calls = parts[0].and_those(*parts[1:], *self.programs())
        calls = calls.where((calls.at >= 0) & (calls.at < self.minutes * 60))
        for upstream in HABIT:
            minute = (calls.at[self.of(calls, "upstream") == upstream] // 60).astype(int)
            busy = np.convolve(np.bincount(minute, minlength=self.minutes)[: self.minutes], np.ones(15) / 15, "same")
            load = np.clip(busy / max(busy.mean(), 1e-9) - 0.5, 0, 4)
            self.slow[upstream] = (1 + 0.1 * load**1.4) * np.exp(ornstein(random, self.minutes, 240, 0.04))
        return calls

    def programs(self) -> Iterator[Calls]:
        """What batch jobs, one expired key, two farms of free keys, a monitor, scanners and a crawler without a key call."""
        random, first, end, whole = self.random, len(self.catalog), self.minutes * 60, np.arange(self.minutes)
        for name, region, when, rate, minutes, times, word in JOBS:
            days = np.array([day for day in range(self.days) if when != "nightly" or day % 7 not in (3, 4)])
            starts = days * DAY + (90 if when == "nightly" else 1300) + random.normal(0, 3, len(days))
            if when == "irregular":
                starts = random.uniform(0, self.minutes, times * self.days // 14 + 1)
            elif when == "hourly":
                starts = (days[:, None] * DAY + np.arange(4, 20) * HOUR + 5).ravel()
            running = np.zeros(self.minutes)
            for start in starts:
                running[(whole >= start) & (whole < start + random.uniform(*minutes))] = random.uniform(0.85, 1.15)
            for endpoint in (mine := self.finds(word)):
                share = self.rate[endpoint] / self.rate[mine].sum()
                yield self.by(name, arrivals(random, rate * self.scale * share * running), endpoint, region, 4)
        for endpoint in self.finds("account/usage"):
            yield self.by(self.names[0], ticks(random, 900, 0.02, end), endpoint, int(self.home[0]), SCRIPT)
        for endpoint in (*self.finds("geocode/forward")[:1], *self.finds("places/nearby")[:1]):
            start, length = random.uniform(DAY, self.minutes - DAY), random.uniform(90, 300)
            at = start * 60 + arrivals(random, np.full(int(length), self.rate[endpoint] * random.uniform(0.4, 0.8)))
            yield self.by(random.integers(self.nobody + 1, len(self.names), len(at)), at, endpoint, 2, SCRIPT)
            self.event("free keys copy data", start * 60, (start + length) * 60, [endpoint], ambiguous=True)
        yield self.by("-", ticks(random, 300, 0.02, end), first, 0, MONITOR)
        for endpoint in range(first + 1, len(self.routes)):
            raids = 0.5 * (random.random(self.minutes) < 0.002)
            yield self.by("-", arrivals(random, 0.02 + raids), endpoint, int(random.integers(3)), SCANNER)
        for endpoint in self.finds("static"):
            crawl = 0.6 * self.scale * (whole // 180 % 11 == random.integers(11))
            yield self.by("-", arrivals(random, crawl), endpoint, 1, CRAWLER)

    def answered(self, random: np.random.Generator, calls: Calls) -> Calls:
        """The calls with a status and how long they took, as on a good day."""
        n, hour = len(calls), calls.at / 3600
        upstream, ms, cached, method = (self.of(calls, name) for name in ("upstream", "ms", "cached", "method"))
        # Wednesday's release empties the tile cache at 04:00 UTC; it fills within some hours.
        cached = cached * np.where(upstream == MAP, 1 - 0.22 * np.exp(-((hour - 4) % 168) / 1.2) * (hour >= 4), 1)
        calls.cached = random.random(n) < cached
        took = ms * np.exp(random.normal(0, np.where(method == "GET", 0.5, 0.75))) * (1 + 0.2 * (calls.node == 4))
        minute = np.minimum(calls.at // 60, self.minutes - 1).astype(int)
        error = self.errors[calls.endpoint] * (calls.consumer != self.nobody)
        for name in HABIT:
            rows = upstream == name
            took[rows] *= self.slow[name][minute[rows]]
            took[rows] *= np.where(calls.at[rows] > self.deployed_s[name], self.changed[name], 1)
            error[rows] += 0.03 * self.restarts[name][minute[rows]]
        took *= np.where(random.random(n) < 0.02, 1 + random.pareto(1.3, n), 1)
        calls.ms = np.where(calls.cached, 5 * np.exp(random.normal(0, 0.35, n)), np.minimum(took, 29_000)) + 1
        habits = np.array([HABIT.get(route.upstream, (404, 1)) for route in self.routes])[calls.endpoint]
        small, key, chance = calls.consumer < SMALL, np.minimum(calls.consumer, SMALL - 1), random.random((4, n))
        away = (upstream == PLACES) & ((hour - 99) % 168 < 0.3) & ~calls.cached  # maintained on Sundays at 03:00 UTC
        reasons = [  # the first that holds
            (503, away & (chance[2] < 0.5)),
            (403, calls.agent == CRAWLER),
            (401, (calls.consumer == 0) & (calls.agent == SCRIPT)),  # its key expired long ago
            (random.choice([401, 403], n), small & (chance[3] < 0.004)),  # a typing error in the key, a forbidden site
            (429, (calls.consumer > self.nobody) & (chance[2] < 0.2)),
            (429, small & (calls.at % 86_400 > self.quota_s[key])),
            (random.choice([500, 502, 503, 504], n, p=[0.5, 0.2, 0.2, 0.1]), chance[1] < error),
            (habits[:, 0], (chance[0] < np.maximum(self.clumsy[key] * small, habits[:, 1])) & (calls.agent != MONITOR)),
        ]
        calls.status = np.select([holds for _, holds in reasons], [status for status, _ in reasons], 200).astype(int)
        return quick_or_late(random, calls, np.ones(n, dtype=bool))

    def logged(self, random: np.random.Generator, calls: Calls) -> pl.DataFrame:
        """Log lines in order of time: `at` (seconds since the epoch) and `line`, in the layout worlds.LOG_FORMAT."""
        n = len(calls)
        address = np.where(calls.agent < 4, random.integers(0, 60_000, n), calls.consumer * 7919 % 60_000)
        size = np.where(calls.status < 300, random.lognormal(8, 0.8, n).astype(int) + 180, 140)
        bare = [route.method == "GET" and "{id}" not in route.path and route.upstream != "-" for route in self.routes]
        path = np.array([route.path + "?ll=48.{id},11.{id}" * bare[i] for i, route in enumerate(self.routes)])
        frame = pl.DataFrame({
            "at": T0 + calls.at, "name": np.array(self.names)[calls.consumer], "method": self.of(calls, "method"), "bytes": size,
            "path": path[calls.endpoint], "status": calls.status, "agent": np.array(AGENTS)[calls.agent], "b": address % 250,
            "seconds": calls.ms / 1000, "upstream": self.of(calls, "upstream"), "node": np.array(NODES)[calls.node],
            "net": np.array([81, 66, 103])[calls.node // 2], "a": address // 250, "item": random.integers(10, 90_000, n),
        })  # fmt: skip
        filled, item, at = pl.col("path"), pl.col("item"), pl.col("at")
        for value in (item % 18 + 1, item, item * 37 % 65_536):
            filled = filled.str.replace("{id}", value.cast(pl.String), literal=True)
        local = pl.from_epoch(at.floor().cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        line = pl.format(
            '{}.12.{}.{} - {} [{}] "{} {} HTTP/1.1" {} {} "-" "{}" {} {} {} {}', "net", "a", "b", "name", local, "method", filled, "status",
            "bytes", "agent", at.round(3).cast(pl.Decimal(18, 3)), pl.col("seconds").cast(pl.Decimal(12, 3)), "upstream", "node",
        )  # fmt: skip
        return frame.sort("at").select("at", line=line)


def quick_or_late(random: np.random.Generator, calls: Calls, rows: np.ndarray) -> Calls:
    """How long it takes to refuse a call, and until a timeout, where rows is true."""
    n, brief = len(calls), np.isin(calls.status, (400, 401, 403, 410, 413, 415, 422, 429, 451, 503))
    calls.ms = np.where(rows & brief, 2 + random.exponential(3, n), calls.ms)
    calls.ms = np.where(rows & (calls.status == 504), 10_000 + random.exponential(40, n), calls.ms)
    return calls


def plan(random: np.random.Generator, platform: Platform, calls: Calls) -> list[Fault]:
    """Faults at times and on endpoints where they meet enough calls, and hours away from whatever else these endpoints go through."""
    faults, taken = [], list(platform.events)
    every, calm = list(range(len(platform.catalog) - 1)), calls.where(np.argsort(calls.at))
    for kind, levels, minutes, (least, most), codes, whom in PLAN:
        for number, level in enumerate(levels):
            for _ in range(0 if level == 2 and random.random() < 0.3 else 400):
                length = 60 * np.exp(random.uniform(*np.log(minutes)))
                start = random.uniform(WARMUP * 86_400, platform.minutes * 60 - 14_400 - length)
                endpoint = int(random.choice(every))
                fault = Fault(kind, "", [(start, start + length)], [endpoint], codes[number % len(codes)])
                fault.strength = random.uniform(*STRENGTH.get(kind, STRENGTH["errors"])[level])
                if whom == "node":
                    fault.endpoints, fault.where = every, int(random.integers(len(NODES)))
                    fault.node, fault.strength = NODES[fault.where], 0.9 - 0.5 * level
                elif whom == "upstream":
                    fault.upstream = platform.routes[endpoint].upstream
                    fault.endpoints = [i for i in every if platform.routes[i].upstream == fault.upstream]
                elif whom == "huge":
                    fault.consumer, *_, words = HUGE[random.integers(len(HUGE))]
                    fault.endpoints, fault.who = platform.finds(*words), platform.names.index(fault.consumer)
                elif whom == "sdk":
                    fault.agent, fault.strength = int(random.choice([0, 2, 3])), min(1.0, 2 * fault.strength)
                if kind in ("latency_drift", "latency_tail") and platform.routes[endpoint].cached > 0.5:
                    continue  # few would meet it
                met = fault.hits(calm.where(np.arange(*np.searchsorted(calm.at, fault.spans[0])))).sum()
                around = T0 + np.arange(fault.start - MARGIN, fault.end + MARGIN, 240)
                if least * (1 + level) <= met <= most and not within(taken, fault.endpoints, around).any():
                    faults.append(fault)
                    taken.append({"start": T0 + fault.start, "end": T0 + fault.end, "endpoints": fault.endpoints})
                    break
    return faults


def moved(random: np.random.Generator, platform: Platform, faults: list[Fault], calls: Calls) -> Calls:
    """The calls without those that a fault kept away, with those that it brought: half of the times of one consumer."""
    for number, fault in enumerate(faults):
        if SIGNAL.get(fault.kind) != "traffic":
            continue
        rows = np.flatnonzero(fault.hits(calls))
        if fault.strength > 1:
            more = calls.where(random.choice(rows, int((fault.strength - 1) * len(rows))))
            if random.random() < 0.5:
                who, node, agent = (int(getattr(more, name)[0]) for name in ("consumer", "node", "agent"))
                fault.consumer = platform.names[who]
                more = platform.by(np.full(len(more), who), more.at, fault.endpoints[0], node // 2, agent)
            more.at, more.fault = more.at + random.uniform(-60, 60, len(more)), np.full(len(more), number)
            calls = calls.and_those(platform.answered(random, more))
        else:
            gone = rows[random.random(len(rows)) >= fault.strength]
            fault.missing = len(gone)
            calls = calls.where(np.delete(np.arange(len(calls)), gone))
    return calls


def struck(random: np.random.Generator, platform: Platform, faults: list[Fault], calls: Calls) -> Calls:
    """The calls with the statuses and durations that the faults gave them."""
    cacheable = platform.of(calls, "cached") >= 0.5
    for number, fault in enumerate(faults):
        rows, signal = np.flatnonzero(fault.hits(calls)), SIGNAL.get(fault.kind)
        since = calls.at[rows] - fault.start
        waves = random.uniform(0.65, 1.2, 400)[(since // 300).astype(int) % 400]  # of 5 minutes each
        chosen = rows[random.random(len(rows)) < fault.strength * waves]
        if signal == "latency":
            factor = np.full(len(rows), fault.strength)
            if fault.kind == "latency_drift":
                factor = 1 + (fault.strength - 1) * since / (fault.end - fault.start)
            elif fault.kind == "latency_tail":
                rows, factor = chosen, random.uniform(4, 10, len(chosen))
            else:  # all computations are slow; where most calls hit a cache, a part of it is lost, too
                lost = rows[(cacheable & calls.cached)[rows]]
                lost = lost[random.random(len(lost)) < (fault.strength - 1) / 2]
                calls.cached[lost], calls.ms[lost] = False, 60 * np.exp(random.normal(0, 0.5, len(lost)))
            calls.ms[rows] *= np.where(calls.cached[rows], 1, factor)
            calls.fault[rows] = number
        elif signal != "traffic":
            chosen = chosen[calls.status[chosen] < 429]
            calls.status[chosen], calls.fault[chosen] = fault.code, number
            calls = quick_or_late(random, calls, calls.fault == number)
    return calls


def labels_of(platform: Platform, faults: list[Fault], calls: Calls) -> list[dict]:
    """The faults as scoring.py wants them, graded by what is seen of them; calls: in order of endpoint, then time."""
    edges, told = np.searchsorted(calls.endpoint, np.arange(len(platform.routes) + 1)), []
    for number, fault in enumerate(faults):
        counts = np.bincount(calls.endpoint[calls.fault == number], minlength=len(platform.routes))
        counts[fault.endpoints[0]] += fault.missing
        endpoints, z = np.flatnonzero(counts >= 2).tolist(), fault.missing**0.5 * (fault.kind == "traffic_silence")
        for endpoint in endpoints:
            mine = calls.where(np.arange(edges[endpoint], edges[endpoint + 1]))
            others, bad = [one.spans[0] for one in faults if endpoint in one.endpoints], [mine.status == fault.code]
            if SIGNAL.get(fault.kind) == "latency":
                bad = [mine.ms > limit for limit in np.quantile(mine.ms[~fault.inside(mine.at)], (0.5, 0.85, 0.97))]
            elif SIGNAL.get(fault.kind) == "traffic":
                bad = [mine.at >= 0]  # all of them
            z = max(z, *(seen_by(fault, mine.at, one, others, platform.days, alike) for one in bad for alike in (0, 1)))
        parts = np.clip((fault.end - fault.start) / 900, 1, 8)  # a plot has so many points within the fault
        fault.grade = "easy" if z / parts**0.5 >= 5 else "medium" if z / parts**0.5 >= 2.5 and z >= 4 else "hard"
        span, affected = (T0 + fault.start, T0 + fault.end), int(counts.sum())
        figures = {"z": round(z, 1), "strength": round(fault.strength, 3), "detectable": z >= 4 and affected >= 4}
        told.append(label(number, fault, *span, SIGNAL, endpoints, affected, **figures))
    return told


def seen_by(fault: Fault, at: np.ndarray, bad: np.ndarray, faults: list[Any], days: int, alike: int) -> float:
    """How many standard deviations an endpoint's bad calls are from their share in the same hours of other days without faults.

    bad all: the calls themselves, as a share of those in the hours around; alike: on days of the same sort only. The root of a
    Poisson deviance, over what the other days vary; of a drift the last third counts.
    """
    begin = fault.end - (fault.end - fault.start) / (3 if fault.kind == "latency_drift" else 1)
    starts = begin + 86_400 * np.arange(-days, days + 1)
    ends, around = starts + fault.end - begin, 14_400 * bad.all()
    weekend = np.isin(starts // 86_400 % 7, (3, 4))
    usable = (starts >= around) & (ends <= days * 86_400 - around) & ((weekend == weekend[days]) | (alike == 0))
    for start, end in faults:
        usable &= (ends <= start) | (starts >= end)
    first, last, before, after = (np.searchsorted(at, when) for when in (starts, ends, starts - around, ends + around))
    hits = np.diff(np.concatenate([[0], np.cumsum(bad)])[[first, last]], axis=0)[0]
    calls = np.maximum(after - before - hits * bad.all(), 1)
    if not usable.any():
        return 0.0
    scaled = hits[usable] / calls[usable] * calls[days]
    usual = hits[usable].sum() / calls[usable].sum() * calls[days]
    found, expected = max(hits[days], 1e-9), max(usual, 0.5, 0.003 * calls[days])  # less is not looked at
    deviance = 2 * (found * np.log(found / expected) - found + expected)
    spread = 1.48 * np.median(np.abs(scaled - np.median(scaled)))
    return float(np.sqrt(deviance / max(1, spread**2 / expected)))
