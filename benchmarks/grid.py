"""Worlds of a mid-size energy utility's gateway, by an author who knew neither the detector nor the other worlds.

Meters and stations report on schedules, people follow Viennese time (with a public holiday, in one fortnight the end of summer time),
settlement runs each night, billing on some evenings, partners' jobs when they please. Grades are measured on the calls: see Judge.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from calls import Columns, Hinted, arrivals, label, ornstein, ticks
from worlds import World

DAY = 1440
# Mondays on which a fortnight begins, and the day of the public holiday in it.
FORTNIGHTS = [("2026-04-27", 4), ("2026-05-04", 10), ("2026-05-18", 7), ("2026-10-19", 7), ("2025-12-01", 7)]
NODES, NODE_SHARE = ["edge-1", "edge-2", "edge-3"], [0.4, 0.35, 0.25]
REGIONS = [
    "",
    "/east",
    "/west",
    "/south",
    "/alps",
    "/lakes",
    "/city",
    "/rail",
]  # the subsidiaries have the same endpoints
# Seconds of answers that nobody worked on, or was waited for in vain.
QUICK = {401: 0.004, 403: 0.005, 429: 0.002, 503: 0.01, 400: 0.02, 422: 0.03, 504: 30.0}
NO_NAME = ("-", "crawler", "scanner")  # callers that the log shows as "-"


@dataclass(frozen=True)
class Route:
    """One endpoint; share: calls per minute of a gateway of 60; ms: median duration; failing: share of 5xx on a good day."""

    method: str
    path: str
    upstream: str
    crowd: str
    shape: str
    share: float
    ms: float
    spread: float
    failing: float
    habit: tuple[int, float] = (404, 0.0)


# fmt: off
# Who calls, by kind of caller, with their share.
CROWDS: dict[str, dict[str, float]] = {
    "meters": {"headend-east": 0.28, "headend-west": 0.22, "smgw-lot1": 0.2, "smgw-lot2": 0.18, "smgw-lot3": 0.12},
    "stations": {"cpo-city": 0.38, "cpo-motorway": 0.27, "cpo-retail": 0.2, "roaming-hub": 0.15},
    "people": {"app-android": 0.34, "app-ios": 0.3, "web-portal": 0.32, "call-centre": 0.04},
    "public": {"-": 0.42, "app-android": 0.22, "app-ios": 0.2, "compare-24": 0.16},
    "prices": {"trading-desk": 0.35, "aggregator-volt": 0.2, "aggregator-flexo": 0.18, "app-backend": 0.27},
    "resellers": {"reseller-alpin": 0.38, "reseller-stadt": 0.27, "reseller-green": 0.2, "reseller-biz": 0.15},
    "aggregators": {"aggregator-volt": 0.45, "aggregator-flexo": 0.35, "aggregator-sun": 0.2},
    "settlement": {"job-settlement": 0.9, "job-etl": 0.1}, "billing": {"job-billing": 1.0},
    "staff": {"call-centre": 0.8, "job-etl": 0.2}, "planners": {"job-forecast": 0.6, "trading-desk": 0.4}, "strangers": {"scanner": 1.0},
}
# Clients with a habit of their own: share of their calls that is answered so, on a good day too.
HABITS = {
    ("/partners/v1/customers/{id}", "reseller-green"): (404, 0.14), ("/partners/v1/switches", "reseller-stadt"): (409, 0.09),
    ("/charging/v1/authorize", "roaming-hub"): (403, 0.1), ("/ingest/v2/meters/{id}/readings", "smgw-lot2"): (409, 0.05),
    ("/public/v1/quotes", "compare-24"): (400, 0.07), ("/settlement/v1/balance-groups/{id}", "job-etl"): (404, 0.16),
    ("/auth/v1/token", "app-android"): (401, 0.08), ("/market/v2/prices/day-ahead", "aggregator-flexo"): (429, 0.02),
}
ROUTES = [
    Route("POST", "/ingest/v2/meters/{id}/readings", "mdm-ingest", "meters", "quarters", 8.5, 42, 0.45, 0.0008, (409, 0.012)),
    Route("POST", "/ingest/v2/meters/{id}/events", "mdm-ingest", "meters", "flat weather", 1.3, 38, 0.45, 0.0008, (400, 0.006)),
    Route("GET", "/ingest/v2/meters/{id}/config", "mdm-ingest", "meters", "ticks 3600", 1.9, 25, 0.35, 0.0005, (404, 0.01)),
    Route("POST", "/charging/v1/stations/{id}/heartbeat", "csms", "stations", "ticks 300", 4.2, 14, 0.3, 0.0004),
    Route("POST", "/charging/v1/sessions", "csms", "stations", "driving", 0.9, 120, 0.5, 0.002, (409, 0.01)),
    Route("PUT", "/charging/v1/sessions/{id}", "csms", "stations", "driving", 3.2, 48, 0.45, 0.001, (404, 0.004)),
    Route("POST", "/charging/v1/sessions/{id}/stop", "csms", "stations", "driving", 0.8, 150, 0.5, 0.002, (404, 0.008)),
    Route("POST", "/charging/v1/authorize", "csms", "stations", "driving", 1.1, 85, 0.55, 0.0015, (403, 0.035)),
    Route("GET", "/charging/v1/stations", "csms", "public", "driving", 1.7, 130, 0.6, 0.0012, (400, 0.004)),
    Route("GET", "/charging/v1/stations/{id}", "csms", "public", "driving", 1.5, 55, 0.5, 0.001, (404, 0.02)),
    Route("POST", "/auth/v1/token", "identity", "people", "people", 3.1, 95, 0.4, 0.0006, (401, 0.05)),
    Route("GET", "/portal/v3/me", "portal-bff", "people", "people", 2.6, 45, 0.45, 0.001, (401, 0.015)),
    Route("GET", "/portal/v3/contracts", "portal-bff", "people", "people", 1.7, 90, 0.5, 0.0015, (499, 0.003)),
    Route("GET", "/portal/v3/contracts/{id}", "portal-bff", "people", "people", 1.1, 110, 0.5, 0.0015, (404, 0.006)),
    Route("GET", "/portal/v3/consumption/{id}", "mdm-query", "people", "people weather", 1.9, 260, 0.7, 0.003, (499, 0.012)),
    Route("GET", "/portal/v3/invoices", "billing", "people", "people", 1.3, 140, 0.55, 0.002, (499, 0.004)),
    Route("GET", "/portal/v3/invoices/{id}/pdf", "billing", "people", "people", 0.6, 620, 0.7, 0.004, (404, 0.012)),
    Route("POST", "/portal/v3/meter-readings", "mdm-query", "people", "people", 0.28, 160, 0.5, 0.002, (422, 0.08)),
    Route("POST", "/portal/v3/payments", "billing", "people", "people", 0.24, 420, 0.6, 0.004, (402, 0.04)),
    Route("GET", "/portal/v3/notifications", "portal-bff", "people", "people", 1.8, 30, 0.4, 0.0008, (401, 0.01)),
    Route("GET", "/public/v1/tariffs", "tariffs", "public", "people", 1.4, 60, 0.5, 0.001, (404, 0.01)),
    Route("POST", "/public/v1/quotes", "tariffs", "public", "people", 0.7, 210, 0.55, 0.002, (400, 0.02)),
    Route("GET", "/public/v1/outages", "grid-ops", "public", "flat weather", 0.9, 40, 0.45, 0.001),
    Route("GET", "/market/v2/prices/day-ahead", "price-feed", "prices", "auction", 2.2, 35, 0.4, 0.001, (404, 0.004)),
    Route("GET", "/market/v2/prices/intraday", "price-feed", "prices", "ticks 60", 4.0, 28, 0.4, 0.001),
    Route("POST", "/market/v2/nominations", "price-feed", "prices", "nominations", 0.3, 330, 0.5, 0.002, (422, 0.03)),
    Route("POST", "/settlement/v1/timeseries", "settlement", "settlement", "nightly", 2.2, 310, 0.5, 0.002, (422, 0.006)),
    Route("GET", "/settlement/v1/balance-groups/{id}", "settlement", "settlement", "batch-and-office", 0.9, 180, 0.5, 0.001, (404, 0.02)),
    Route("POST", "/billing/v2/runs/{id}/items", "billing", "billing", "runs", 2.0, 230, 0.5, 0.002, (422, 0.004)),
    Route("GET", "/billing/v2/dunning/{id}", "billing", "staff", "office", 0.16, 190, 0.5, 0.003, (404, 0.03)),
    Route("GET", "/partners/v1/customers/{id}", "partner-hub", "resellers", "office", 1.3, 120, 0.5, 0.0015, (404, 0.02)),
    Route("POST", "/partners/v1/switches", "partner-hub", "resellers", "office", 0.28, 380, 0.5, 0.003, (422, 0.06)),
    Route("GET", "/partners/v1/switches/{id}", "partner-hub", "resellers", "polled", 1.1, 75, 0.45, 0.001, (404, 0.006)),
    Route("POST", "/partners/v1/flex/offers", "flex", "aggregators", "quarters", 0.9, 140, 0.5, 0.002, (422, 0.015)),
    Route("GET", "/partners/v1/flex/activations", "flex", "aggregators", "ticks 60", 3.0, 22, 0.35, 0.0006),
    Route("GET", "/forecast/v1/load", "forecast", "planners", "quarters weather", 0.9, 480, 0.6, 0.003),
    Route("GET", "/forecast/v1/feed-in/{id}", "forecast", "planners", "polled", 0.5, 350, 0.6, 0.003, (404, 0.01)),
    Route("PUT", "/portal/v3/contracts/{id}/instalment", "billing", "people", "people", 0.13, 240, 0.5, 0.003, (422, 0.05)),
    Route("POST", "/portal/v3/moves", "portal-bff", "people", "people", 0.06, 520, 0.5, 0.004, (422, 0.07)),
    Route("GET", "/portal/v3/dynamic-price", "price-feed", "people", "people", 0.5, 65, 0.5, 0.001),
]
# Asked for by scanners of the internet, and no part of the catalog.
SCANNED = [Route("GET", path, "-", "strangers", "flat", 0.0, 1, 0.2, 0.0, (404, 9.0)) for path in ("/.env", "/wp-login.php")]
# fmt: on
ARRIVING = "/portal/v3/dynamic-price"  # comes with an app release in the second week


@dataclass
class Calls(Columns):
    """at: seconds since the world's beginning; fault: its number, -1 for none."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    node: np.ndarray
    status: np.ndarray
    seconds: np.ndarray
    fault: np.ndarray


@dataclass
class Fault(Hinted):
    """share: of the calls that it hits; factor: of the durations, or of the traffic."""

    share: float = 1.0
    factor: float = 1.0
    hidden: np.ndarray = field(default_factory=lambda: np.zeros(0))  # moments of calls that were lost or added


def bump(hour: np.ndarray, middle: float, width: float) -> np.ndarray:
    """A bell over the hours of a day."""
    return np.exp(-0.5 * ((hour - middle) / width) ** 2)


class Utility:
    """The operation on a good day: who calls what and when, how long it takes, what it answers."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, calls_per_minute: float) -> None:
        self.random, self.endpoints, self.days, self.minutes = random, endpoints, days, days * DAY
        monday, self.holiday = FORTNIGHTS[random.integers(len(FORTNIGHTS))]
        self.t0 = int(datetime.fromisoformat(monday).replace(tzinfo=UTC).timestamp())
        every = [(one, region) for region in REGIONS for one in ROUTES][:endpoints]
        every = [replace(one, path=at + one.path, upstream=one.upstream + at.replace("/", "-")) for one, at in every]
        self.routes = every + SCANNED
        self.number = {route.path: i for i, route in enumerate(self.routes)}
        self.consumers = sorted({name for crowd in CROWDS.values() for name in crowd} | {"crawler"})
        self.upstreams = sorted({route.upstream for route in self.routes})
        self.upstream_of = np.array([self.upstreams.index(route.upstream) for route in self.routes])
        hours = [datetime.fromtimestamp(self.t0 + 3600 * h, ZoneInfo("Europe/Vienna")) for h in range(days * 24)]
        self.offset = np.repeat([(one.utcoffset() or timedelta()).seconds // 60 for one in hours], 60)
        self.clock, self.events = np.arange(self.minutes), list[dict[str, Any]]()
        self.hour, self.local_day = (self.clock + self.offset) % DAY / 60, (self.clock + self.offset) // DAY
        self.free = (self.local_day % 7 >= 5) | (self.local_day == self.holiday)
        self.weather = np.exp(ornstein(random, self.minutes, 2 * DAY, 0.13))
        self.scale = 0.95 * calls_per_minute / sum(route.share for route in self.routes)
        self.patterns, self.swell = self.rhythms(), self.swollen()

    def minute(self, day: float, local_hour: float) -> int:
        """Minute of the world at which it is so late on a day in Vienna."""
        late = min(max(int(day * DAY + local_hour * 60), 0), self.minutes - 1)
        return late - int(self.offset[max(late - self.offset[late], 0)])

    def event(self, what: str, start: float, minutes: float, paths: list[str], ambiguous: bool = False) -> None:
        begin, numbers = self.t0 + int(start * 60), [self.number[path] for path in paths if path in self.number]
        end = begin + int(minutes * 60)
        self.events.append({"what": what, "start": begin, "end": end, "endpoints": numbers, "ambiguous": ambiguous})

    def rhythms(self) -> dict[str, np.ndarray]:
        """Calls per minute, in no unit, of each kind of caller over the world's minutes."""
        hour, free, random = self.hour, self.free, self.random
        people = 0.06 + 0.7 * bump(hour, 8, 1.6) + 0.6 * bump(hour, 12.7, 2) + bump(hour, 19.5, 2.2)
        driving = 0.15 + 0.8 * bump(hour, 7.5, 1.3) + 0.5 * bump(hour, 12.5, 2.5) + bump(hour, 17.5, 2.2)
        office = 0.04 + 1 / (1 + np.exp(-3 * (hour - 7.5))) / (1 + np.exp(2 * (hour - 17)))
        out = np.exp(-4 * np.clip(hour - 12.75, 0, 9)) * (hour > 12.7)  # tomorrow's prices
        batches = {"nightly": np.zeros(self.minutes), "runs": np.zeros(self.minutes)}
        for day in range(self.days):
            start = max(self.minute(day, (70 + random.normal(0, 2.5)) / 60), 0)
            batches["nightly"][start : start + int(random.normal(44, 5))] = np.exp(random.normal(0, 0.08))
            if day % 7 < 5 and random.random() < 0.55:  # when the accountants press the button
                start = self.minute(day, random.uniform(17.5, 22.5))
                batches["runs"][start : start + int(random.uniform(70, 190))] = 1
        rhythms = {
            "people": np.where(free, 0.06 + 0.65 * bump(hour, 11, 2.6) + 0.75 * bump(hour, 19.5, 2.8), people),
            "driving": np.where(free, 0.15 + 0.95 * bump(hour, 13, 3.6), driving),
            "office": np.where(free, 0.03, office),
            "polled": np.where(free, 0.7, 0.8 + 0.5 * ((hour > 7) & (hour < 18))),
            "quarters": 0.25 + 3.5 * np.exp(-(self.clock % 15) / 2.2),
            "auction": 0.5 + 6 * out + 1.5 * bump(hour, 12.6, 0.15),
            "nominations": 0.15 + 5 * bump(hour, 14.0, 0.35) * np.where(free, 0.7, 1),  # gate closure
            "batch-and-office": 18 * batches["nightly"] + np.where(free, 0.03, office),
            "flat": np.ones(self.minutes),
            **batches,
        }
        return {name: rate / (rate.mean() or 1.0) for name, rate in rhythms.items()}

    def swollen(self) -> dict[str, np.ndarray]:
        """By path: what days out of the ordinary do to its rate."""
        random, swell = self.random, {path: np.ones(self.minutes) for path in self.number}
        workdays = [day for day in range(3, self.days) if day % 7 < 5 and day != self.holiday] or [1]
        anytime = random.uniform(4.5, max(self.days - 1, 5), 2) * DAY
        read = {"/portal/v3/invoices": 1.7, "/auth/v1/token": 1.4, "/public/v1/tariffs": 1.6, "/portal/v3/me": 1.4}
        looked = {"/public/v1/outages": random.uniform(4, 7), "/ingest/v2/meters/{id}/events": random.uniform(1.8, 2.6)}
        for what, start, minutes, factors in zip(
            ("mail about new prices", "storm", "comparison site reads all tariffs"),
            (self.minute(random.choice(workdays), random.uniform(9, 11)), *anytime),
            (150.0, random.uniform(80, 150), 45.0), (read, looked, {"/public/v1/quotes": 4.5}), strict=True,
        ):  # fmt: skip
            since = np.maximum(self.clock - start, 0)
            for path, factor in factors.items():
                if path in swell:
                    swell[path] *= 1 + (factor - 1) * np.clip(since / 8, 0, 1) * np.exp(-since / minutes)
            self.event(what, start, 3 * minutes, list(factors), ambiguous=not what.startswith("mail"))
        if ARRIVING in swell:
            arrives = self.random.uniform(0.45, 0.65) * self.minutes
            swell[ARRIVING] = np.clip((self.clock - arrives) / (2 * DAY), 0, 1)
            self.event("new endpoint", arrives, self.minutes - arrives, [ARRIVING])
        return swell

    def traffic(self) -> Calls:
        """Who calls what and when; the answer and its duration are still to come."""
        random, parts = self.random, self.jobs()
        for e, route in enumerate(self.routes):
            share = np.array([*CROWDS[route.crowd].values()])
            known = np.array([self.consumers.index(name) for name in CROWDS[route.crowd]])
            first, _, then = route.shape.partition(" ")
            if first == "ticks":
                for owner in random.choice(known, max(3, round(route.share * self.scale * float(then) / 60)), p=share):
                    at = ticks(random, float(then), 0.05, self.minutes * 60)
                    at = at[random.random(len(at)) > 0.02]  # lost on the air
                    parts.append((at, np.full(len(at), e), np.full(len(at), owner)))
                continue
            rate = route.share * self.scale * self.patterns[first] * self.swell[route.path]
            wander = ornstein(random, self.minutes, 120, 0.09) + random.normal(0, 0.04, self.days + 2)[self.local_day]
            rate = rate * np.exp(wander) * (self.weather if then == "weather" else 1.0)
            rate = rate * (1 + 0.006 * (route.crowd in ("people", "stations", "public")) * self.clock / DAY)
            at = arrivals(random, rate)
            parts.append((at, np.full(len(at), e), random.choice(known, len(at), p=share)))
        at, endpoint, consumer = (np.concatenate(column) for column in zip(*parts, strict=True))
        node = random.choice(3, len(at), p=NODE_SHARE)
        for start in random.uniform(0, self.minutes * 60, self.days // 2):  # a node is drained, patched, comes back
            drained = random.integers(3)
            rows = (node == drained) & (at >= start) & (at < start + random.uniform(400, 1500))
            node[rows] = (drained + random.integers(1, 3, rows.sum())) % 3
        calls = Calls(at, endpoint, consumer, node, np.full(len(at), 200), np.zeros(len(at)), np.full(len(at), -1))
        return calls.where((at >= 0) & (at < self.minutes * 60))

    def jobs(self) -> list[tuple[np.ndarray, ...]]:
        """What partners, crawlers and the data platform run on their own, at fixed and at no fixed times."""
        random, parts = self.random, []
        crawled = ["/public/v1/tariffs", "/charging/v1/stations/{id}", "/charging/v1/stations"]
        # path, who, how often a day (0: each workday), between which hours, for how many minutes, how many a minute
        jobs = [
            ("/partners/v1/customers/{id}", "reseller-biz", 0, (6, 6), (28, 42), (8.5, 9.5)),
            ("/portal/v3/notifications", "app-android", 0, (17, 17), (12, 16), (3, 5)),  # the app's message at five
            ("/partners/v1/switches/{id}", "reseller-stadt", 1.2, (8, 20), (8, 25), (6, 14)),
            *((path, "crawler", 0.27, (0, 24), (40, 200), (1, 2.5)) for path in crawled),
            ("/settlement/v1/balance-groups/{id}", "job-etl", 0.3, (6, 22), (20, 60), (4, 9)),
            ("/ingest/v2/meters/{id}/readings", "headend-east", 0.25, (0, 24), (10, 30), (5, 12)),  # not sent before
            *((route.path, "scanner", 0.5, (0, 24), (4, 12), (10, 25)) for route in SCANNED),
        ]
        for path, who, often, hours, length, rate in [job for job in jobs if job[0] in self.number]:
            for day in range(self.days):
                for _ in range(random.poisson(often) if often else int(day % 7 < 5)):
                    minutes, times = random.uniform(*length), random.uniform(*rate) * self.scale
                    at = random.uniform(0, minutes, random.poisson(minutes * times))
                    at = 60 * (self.minute(day, random.uniform(*hours)) + at)
                    parts.append((at, *np.full((len(at), 2), (self.number[path], self.consumers.index(who))).T))
        return parts

    def answered(self, calls: Calls) -> Calls:
        """The calls with the status and the duration of a good day, which depend on the load of the upstream."""
        random = self.random
        minute, upstream = (calls.at / 60).astype(int), self.upstream_of[calls.endpoint]
        load, slow = np.empty((2, len(self.upstreams), self.minutes))
        for u, name in enumerate(self.upstreams):
            counts = np.convolve(np.bincount(minute[upstream == u], minlength=self.minutes), np.ones(5) / 5, "same")
            load[u] = np.clip(counts / max(np.quantile(counts, 0.997), 1e-9), 0, 1.3)
            slow[u] = 0.55 * load[u] ** 2 + ornstein(random, self.minutes, 240, 0.05)
            slow[u] += 0.22 * (name in ("mdm-query", "mdm-ingest", "billing")) * ((self.hour > 3) & (self.hour < 3.7))
        ms, spread, failing = np.array([(one.ms, one.spread, one.failing) for one in self.routes]).T[:, calls.endpoint]
        own = np.array([ornstein(random, self.minutes, 60, 0.04) for _ in self.routes])
        for e in np.flatnonzero(random.random(self.endpoints) < 0.15):  # a release, a little slower or faster for good
            at, change = int(random.uniform(0.1, 0.95) * self.minutes), random.uniform(-0.15, 0.1)
            own[e, at:] += change
            self.event(f"release, durations {change:+.0%}", at, self.minutes - at, [self.routes[e].path])
        log = slow[upstream, minute] + own[calls.endpoint, minute] + spread * random.normal(0, 1, len(calls))
        log += random.normal(0, 0.06, len(self.consumers))[calls.consumer]
        tail = np.where(random.random(len(calls)) < 0.012, 1 + 2 * random.pareto(1.5, len(calls)), 1.0)
        calls.seconds = np.minimum(ms / 1000 * np.exp(log) * tail, 28.0)
        wander = np.array([np.exp(ornstein(random, self.minutes, 300, 0.22)) for _ in self.routes])
        draw = random.random(len(calls)) / wander[calls.endpoint, minute]
        for e, route in enumerate(self.routes):
            calls.status[(calls.endpoint == e) & (draw < route.habit[1])] = route.habit[0]
        for (path, who), (code, share) in HABITS.items():
            hers = (calls.endpoint == self.number.get(path, -1)) & (calls.consumer == self.consumers.index(who))
            calls.status[hers & (draw < share)] = code
        fails = random.random(len(calls)) < failing * (1 + 2 * load[upstream, minute] ** 4)
        for start in random.uniform(0, self.minutes * 60, self.days):  # pods are replaced: a minute of some 5xx
            blip = (calls.at >= start) & (calls.at < start + random.uniform(20, 70))
            blip &= upstream == random.integers(len(self.upstreams))
            fails |= blip & (random.random(len(calls)) < 0.12)
        calls.status[fails] = random.choice([500, 502, 503, 504], fails.sum(), p=[0.55, 0.2, 0.15, 0.1])
        return calls

    def tried_again(self, random: np.random.Generator, calls: Calls, faults: list[Fault]) -> Calls:
        """The calls and, after a failure, those of clients that try again: machines mostly, people now and then."""
        noise = random.normal(0, 0.3, len(calls))
        for code, seconds in QUICK.items():
            quick = calls.status == code
            calls.seconds[quick] = seconds * np.exp(noise[quick] * (code != 504))
        patience = np.array([0.3 if name in (*CROWDS["people"], *NO_NAME) else 0.75 for name in self.consumers])
        ms, again = np.array([route.ms for route in self.routes]), calls
        for _ in range(2):
            failed = (again.status >= 500) | (again.status == 429)
            again = again.where(failed & (random.random(len(again)) < patience[again.consumer]))
            again.at = again.at + again.seconds + random.exponential(12, len(again)) + 1
            still = np.zeros(len(again), dtype=bool)
            for number, fault in enumerate(faults):
                still |= (again.fault == number) & fault.inside(again.at)
            well = ~still | (random.random(len(again)) > 0.6)
            again.status[well], again.fault[well] = 200, -1
            again.seconds[well] = ms[again.endpoint[well]] / 1000 * np.exp(random.normal(0.1, 0.5, well.sum()))
            again.node[well] = random.choice(3, well.sum(), p=NODE_SHARE)
            calls = calls.and_those(again)
        return calls.where(calls.at < self.minutes * 60)

    def without_gaps(self, random: np.random.Generator, calls: Calls) -> Calls:
        """Log shipping stops twice for all nodes and once for one."""
        lost = np.zeros(len(calls), dtype=bool)
        for node in (None, None, random.integers(3)):
            start, minutes = random.uniform(0.1, 0.97) * self.minutes, random.uniform(6, 22)
            gap = (calls.at >= start * 60) & (calls.at < (start + minutes) * 60)
            lost |= gap if node is None else gap & (calls.node == node)
            self.event("log gap", start, minutes, [route.path for route in self.routes[: self.endpoints]])
        return calls.where(~lost)

    def logged(self, random: np.random.Generator, calls: Calls) -> pl.DataFrame:
        """One row per call in the order of the log: at (seconds since the epoch when it was answered) and its line."""
        calls = calls.where(np.argsort(calls.at + calls.seconds, kind="stable"))
        size = np.exp(random.normal(7, 0.6, len(self.routes))[calls.endpoint] + random.normal(0, 0.3, len(calls)))
        agents = {"crawler": "Mozilla/5.0 (compatible; Bot/2.1)", "-": "Mozilla/5.0 (Linux)", "scanner": "zgrab/0.x"}
        agent = [agents.get(name, f"{name}/{1 + i % 4}.{i % 7}") for i, name in enumerate(self.consumers)]

        def named(texts: list[str], rows: np.ndarray) -> pl.Series:
            return pl.Series(texts, dtype=pl.String).gather(rows)

        frame = pl.DataFrame({
            "at": np.round(self.t0 + calls.at + calls.seconds, 3), "seconds": np.round(calls.seconds, 3),
            "network": named([f"10.40.{i}" for i in range(len(self.consumers))], calls.consumer),
            "host": random.integers(1, 255, len(calls)),
            "consumer": named(["-" if name in NO_NAME else name for name in self.consumers], calls.consumer),
            "request": named([f"{one.method} {one.path}" for one in self.routes], calls.endpoint),
            "id": pl.Series(random.integers(100_000, 180_000, len(calls))).cast(pl.String),
            "status": calls.status, "bytes": np.where(calls.status >= 400, 170, size).astype(int),
            "agent": named(agent, calls.consumer), "node": named(NODES, calls.node),
            "upstream": named([route.upstream for route in self.routes], calls.endpoint),
        })  # fmt: skip
        time = pl.from_epoch(pl.col("at").floor().cast(pl.Int64), "s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
        template = '{}.{} - {} [{}] "{} HTTP/1.1" {} {} "-" "{}" {} {} {} {}'
        request = pl.col("request").str.replace("{id}", pl.col("id"), literal=True)
        first, then = ["network", "host", "consumer", time, request], ["status", "bytes", "agent", "at", "seconds"]
        return frame.select("at", line=pl.format(template, *first, *then, "upstream", "node"))


class Kind(NamedTuple):
    """planned: in a world; strengths: share of the calls, or a factor, from strong to weak; least: calls per minute."""

    planned: int
    strengths: tuple[tuple[float, float], ...]
    minutes: tuple[float, float]
    where: str
    least: float
    codes: tuple[int, ...] = ()
    signal: str = "errors"


KINDS = {
    "error_burst": Kind(4, ((0.25, 0.6), (0.06, 0.15), (0.02, 0.05)), (12, 90), "neighbours", 0.25, (500, 502, 503)),
    "upstream_timeout": Kind(3, ((0.3, 0.8), (0.08, 0.2), (0.025, 0.06)), (10, 50), "upstream", 0.3, (504,)),
    "latency_step": Kind(3, ((1.8, 2.6), (1.35, 1.7), (1.18, 1.3)), (60, 840), "neighbours", 0.3, (), "latency"),
    "auth_failure": Kind(3, ((0.95, 1.0), (0.15, 0.4), (0.05, 0.12)), (20, 300), "consumer", 0.01, (401, 403), "auth"),
    "latency_tail": Kind(2, ((0.16, 0.28), (0.09, 0.14), (0.05, 0.08)), (60, 360), "one", 0.9, (), "latency"),
    "latency_drift": Kind(2, ((1.8, 2.4), (1.45, 1.8), (1.25, 1.4)), (2400, 5000), "one", 0.5, (), "latency"),
    "rate_limit": Kind(2, ((0.5, 0.75), (0.12, 0.25), (0.05, 0.1)), (20, 120), "consumer", 0.2, (429,), "rate_limit"),
    "traffic_drop": Kind(2, ((0.85, 0.97), (0.55, 0.75), (0.35, 0.5)), (40, 240), "neighbours", 0.8, (), "traffic"),
    "traffic_spike": Kind(2, ((4.5, 7.0), (2.3, 3.5), (1.6, 2.0)), (30, 180), "one", 0.5, (), "traffic"),
    "new_code": Kind(2, ((0.1, 0.25), (0.03, 0.07), (0.01, 0.02)), (60, 600), "one", 0.3, (405, 410, 415, 451, 501)),
    "validation_regression": Kind(2, ((0.2, 0.4), (0.05, 0.1), (0.02, 0.04)), (360, 2100), "writes", 0.1, (400, 422)),
    "low_traffic_fail": Kind(2, ((0.85, 1.0), (0.35, 0.55), (0.12, 0.25)), (240, 1200), "quiet", 0.01, (500,)),
    "node_outage": Kind(1, ((0.7, 1.0), (0.2, 0.4), (0.04, 0.1)), (8, 35), "node", 0.01, (502, 503)),
    "traffic_silence": Kind(1, ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)), (35, 100), "one", 1.5, (), "traffic"),
}
SIGNALS = {name: kind.signal for name, kind in KINDS.items()}
# Least z and size of the change, of counts of calls and of durations and traffic; picked by eye from tables of seeds 1 and 2.
GRADES = {"easy": ((22, 0.08), (9, 0.5)), "medium": ((11, 0.015), (5, 0.22)), "hard": ((4.5, 0.0), (3, 0.12))}


class Planter:
    """Puts faults into the calls of a good day; no two within three hours of each other on one endpoint."""

    def __init__(self, random: np.random.Generator, utility: Utility, calls: Calls) -> None:
        self.random, self.utility, self.calls, self.faults = random, utility, calls, list[Fault]()
        rate = np.bincount(calls.endpoint, minlength=len(utility.routes))[: utility.endpoints] / utility.minutes
        self.rate = np.where([route.path == ARRIVING for route in utility.routes[: utility.endpoints]], 0.0, rate)

    def plant(self) -> tuple[Calls, list[Fault]]:
        kinds = [name for name, kind in KINDS.items() for _ in range(kind.planned)]
        for kind in self.random.permutation(kinds)[self.random.integers(1, 6) :].tolist():
            fault = next((fault for fault in (self.drawn(kind) for _ in range(40)) if fault.spans), None)
            if fault is not None:
                self.happens(len(self.faults), fault)
                self.faults.append(fault)
        return self.calls, self.faults

    def drawn(self, kind: str) -> Fault:
        """A fault of this kind at a moment that is still free; without spells when there is none."""
        random, routes, of = self.random, self.utility.routes, KINDS[kind]
        strength = float(random.uniform(*of.strengths[random.choice(3, p=[0.3, 0.38, 0.32])]))
        fitting = (self.rate >= of.least) & (self.rate < (0.32 if of.where == "quiet" else np.inf))
        for e, route in enumerate(routes[: len(fitting)]):  # nobody knows when the next billing run is
            fitting[e] &= route.method != "GET" or of.where != "writes"
            fitting[e] &= route.shape != "runs" or of.signal != "traffic"
        first = int(random.choice(np.flatnonzero(fitting) if fitting.any() else np.flatnonzero(self.rate)))
        upstream = self.utility.upstream_of[: len(fitting)]
        same = np.flatnonzero((self.rate > 0) & (upstream == upstream[first])).tolist()
        fault = Fault(kind, "", [], [first], code=int(random.choice(of.codes)) if of.codes else None, share=strength)
        if strength > 1 or kind == "latency_tail":
            fault.factor, fault.share = (strength, 1.0) if strength > 1 else (random.uniform(6, 12), strength)
        if of.where == "neighbours":  # none to two others of its upstream
            others = [e for e in same if e != first and self.rate[e] > 0.2]
            fault.endpoints += random.permutation(others)[: random.choice(3, p=[0.6, 0.25, 0.15])].astype(int).tolist()
        elif of.where == "upstream":
            fault.endpoints, fault.upstream = same, routes[first].upstream
        elif of.where == "node":
            fault.endpoints, fault.node = np.flatnonzero(self.rate).tolist(), str(random.choice(NODES))
        elif of.where == "consumer":
            crowds = ("resellers", "aggregators", "prices", "stations", "meters")
            calling = {self.utility.consumers[i] for i in np.unique(self.calls.consumer)}
            fault.consumer = str(random.choice([who for crowd in crowds for who in CROWDS[crowd] if who in calling]))
            hers = self.calls.endpoint[self.calls.consumer == self.utility.consumers.index(fault.consumer)]
            fault.endpoints = [e for e in np.unique(hers).tolist() if self.rate[e] > 0]
        if kind == "rate_limit":
            fault.endpoints, fault.factor = [int(random.choice(fault.endpoints))], random.uniform(1.5, 4)
        if kind == "traffic_drop" and strength > 0.8 and random.random() < 0.5:  # one client is gone
            crowd = CROWDS[routes[first].crowd]
            fault.endpoints, fault.consumer = [first], max(crowd, key=lambda who: crowd[who])
        self.place(fault, float(np.exp(random.uniform(*np.log(of.minutes)))))
        return fault

    def place(self, fault: Fault, minutes: float) -> None:
        """Gives the fault its spells, where its endpoints have calls and no other fault, if there is such a moment."""
        utility, random = self.utility, self.random
        batch = utility.number.get("/settlement/v1/timeseries")
        missed = fault.kind == "traffic_silence" and batch is not None and random.random() < 0.5
        moments = self.calls.at[np.isin(self.calls.endpoint, fault.endpoints)] / 60
        for _ in range(60):
            start = random.choice(moments) - random.uniform(0, min(minutes, 120))
            if missed:  # the settlement of a night does not start
                fault.endpoints, minutes = [batch or 0], 62.0
                start = utility.minute(random.integers(4, max(utility.days, 5)), 62 / 60)
            near = [other for other in self.faults if set(fault.endpoints) & set(other.endpoints)]
            free = all(start > other.end / 60 + 180 or start + minutes < other.start / 60 - 180 for other in near)
            if free and 4 * DAY + 60 <= start < utility.minutes - 60 - minutes:
                flaps = fault.kind == "error_burst" and minutes > 45 and random.random() < 0.5  # comes and goes
                begins, part = (start + minutes * np.array([0, 0.36, 0.72]), 0.28) if flaps else (np.array([start]), 1)
                fault.spans = [(60 * one, 60 * (one + part * minutes)) for one in begins.tolist()]
                return

    def happens(self, number: int, fault: Fault) -> None:
        random, calls, utility = self.random, self.calls, self.utility
        hit = fault.inside(calls.at) & np.isin(calls.endpoint, fault.endpoints) & (calls.fault < 0)
        if fault.consumer is not None:
            hit &= calls.consumer == utility.consumers.index(fault.consumer)
        if fault.node is not None:
            hit &= calls.node == NODES.index(fault.node)
        if fault.kind in ("traffic_spike", "rate_limit"):  # a client in a loop
            copied = random.permutation(np.flatnonzero(hit).repeat(8))
            extra = calls.where(copied[: int(hit.sum() * (fault.factor - 1))])
            extra.at = np.clip(extra.at + random.normal(0, 240, len(extra)), fault.start, fault.end - 1)
            who = fault.consumer or random.choice([*CROWDS[utility.routes[fault.endpoints[0]].crowd]])
            extra.consumer[:] = utility.consumers.index(who)
            extra.node = random.choice(3, len(extra), p=NODE_SHARE)
            calls, hit = calls.and_those(extra), np.concatenate([hit, np.ones(len(extra), dtype=bool)])
        hit &= random.random(len(calls)) < fault.share
        calls.fault[hit] = number
        if fault.kind == "traffic_spike":
            fault.hidden = calls.at[len(calls) - len(extra) :]
        elif SIGNALS[fault.kind] == "traffic":
            fault.hidden, calls = calls.at[hit], calls.where(~hit)
        elif SIGNALS[fault.kind] == "latency":
            grown = (calls.at[hit] - fault.start) / (fault.end - fault.start) if fault.kind == "latency_drift" else 1.0
            calls.seconds[hit] = np.minimum(calls.seconds[hit] * fault.factor**grown, 58)
        else:
            calls.status[hit] = fault.code or 0
        self.calls = calls


class Judge:
    """Grades faults: their window against windows of the same endpoints without faults, what a plot of them would show."""

    def __init__(self, utility: Utility, calls: Calls, faults: list[Fault]) -> None:
        self.utility, self.faults, self.calls = utility, faults, calls.where(np.argsort(calls.at, kind="stable"))

    def against(self, fault: Fault, endpoints: list[int]) -> tuple[float, float]:
        """z and size (a share of the calls, or a difference of logarithms) of what is unlike windows at other times."""
        calls, signal = self.calls.where(np.isin(self.calls.endpoint, endpoints)), SIGNALS[fault.kind]
        utility, begin, end = self.utility, fault.start, fault.end
        if fault.kind == "latency_drift":  # its last third, where it is plain
            begin = end - min((end - begin) / 3, 86_400)
        days, hours = np.arange(-utility.days, utility.days + 1), np.arange(24)
        begins = begin + 3600.0 * hours[:, None] + 86_400.0 * days
        minute = np.clip(begins / 60, 0, utility.minutes - 1).astype(int)
        begins -= 60 * (utility.offset[minute] - utility.offset[int(begin / 60)])
        ends = begins + (end - begin)
        possible = (begins >= 0) & (ends <= utility.minutes * 60)
        for other in self.faults:
            if set(other.endpoints) & set(endpoints):
                possible &= (begins > other.end + 600) | (ends < other.start - 600)
        steady = all(utility.routes[e].shape.split()[0] in ("ticks", "quarters", "flat", "nightly") for e in endpoints)
        if signal == "traffic" and not steady:
            possible &= utility.free[minute] == utility.free[int(begin / 60)]
        first, last = np.searchsorted(calls.at, begins), np.searchsorted(calls.at, ends)
        n, here = np.maximum(last - first, 1e-9), (0, self.utility.days)

        def summed(values: np.ndarray) -> np.ndarray:
            total = np.concatenate([[0.0], np.cumsum(values)])
            return total[last] - total[first]

        if signal not in ("latency", "traffic") or fault.kind == "latency_tail":
            failed = calls.status >= 500 if fault.code in (500, 502, 503, 504) else calls.status == fault.code
            x = summed(calls.seconds > np.quantile(calls.seconds, 0.97) if fault.code is None else failed)
            share = x[possible].sum() / max(n[possible].sum(), 1)
            some = possible & (n * share > 0.5)
            uneven = max(1.0, np.mean((x[some] - n[some] * share) ** 2 / (n[some] * share)) if some.any() else 1.0)
            z = (x[here] - n[here] * share) / np.sqrt(uneven * n[here] * share + 1)
            return float(z), float(x[here] / n[here] - share)
        if signal == "traffic":
            value, noise = np.log(n + 1), np.sqrt(0.05**2 + 1 / (n + 1))
        else:
            log = np.log(calls.seconds + 0.001)
            value, noise = summed(log) / n, np.sqrt(0.02**2 + log.var() / n)
            possible &= n >= 8
        if possible[0].sum() < 2 or (signal == "latency" and n[here] < 8):
            return 0.0, 0.0
        count = np.maximum(possible.sum(axis=1), 1)
        usual, noise = (np.where(possible, one, 0).sum(axis=1) / count for one in (value, noise))
        strays = np.abs((value - usual[:, None]) / np.maximum(noise, 1e-9)[:, None])[possible]
        uneven = max(1.0, np.sqrt(np.mean(strays**2)), np.quantile(strays, 0.99) / 2.6)
        size = float(abs(value[here] - usual[0]))
        return size / float(noise[0] * uneven), size

    def graded(self, number: int, fault: Fault) -> dict[str, Any]:
        """The fault's label; sets its grade."""
        hits = np.bincount(self.calls.endpoint[self.calls.fault == number], minlength=len(self.utility.routes))
        hidden = SIGNALS[fault.kind] == "traffic"
        endpoints = [e for e in fault.endpoints if hidden or hits[e] > 0]
        affected = len(fault.hidden) if hidden else int(hits.sum())
        compared = hidden or fault.kind in ("latency_step", "latency_drift")
        groups = [[e] for e in endpoints] + ([endpoints] if endpoints and not compared else [])
        z, size = max((self.against(fault, group) for group in groups), default=(0.0, 0.0))
        limits = [(name, *pair[compared]) for name, pair in GRADES.items()]
        reached = [name for name, least, large in limits if z >= least and size >= large and affected >= 4]
        fault.grade = reached[0] if reached else "hard"
        begin, end = self.utility.t0 + fault.start, self.utility.t0 + fault.end
        more = {"detectable": bool(reached), "measured": {"z": round(z, 1), "size": round(size, 3)}}
        return label(number, fault, begin, end, SIGNALS, endpoints, affected, **more)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; `grid`, or `quiet-grid` for the same one without faults. At least 20 endpoints; faults from the fifth day."""
    good, bad, after, gaps, text = (np.random.default_rng([seed, 2611, i]) for i in range(5))
    utility = Utility(good, endpoints, days, calls_per_minute)
    calls, faults = utility.answered(utility.traffic()), list[Fault]()
    if not profile.startswith("quiet"):
        calls, faults = Planter(bad, utility, calls).plant()
    calls = utility.without_gaps(gaps, utility.tried_again(after, calls, faults))
    judge, span = Judge(utility, calls, faults), {"t0": utility.t0, "minutes": utility.minutes}
    labels = {**span, "faults": [judge.graded(*one) for one in enumerate(faults)], "events": utility.events}
    labels["ambiguous"] = [event for event in utility.events if event["ambiguous"]]
    known = enumerate(utility.routes[:endpoints])
    catalog = [{"id": i, "method": one.method, "path": one.path, "upstream": one.upstream} for i, one in known]
    return World(utility.logged(text, calls), labels, {**span, "endpoints": catalog})
