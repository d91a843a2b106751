"""The gateway of a German insurance company over two weeks around the end of April, with and without faults.

Brokers work in office hours, customers in the evening, comparison sites ask for quotes in packs and refresh their prices at odd hours,
renewals run at night and invoices at the end of the month, the mainframe is slow while its batches run. The first of May is a holiday,
and one evening there is a storm. All of that is usual here. The log is in UTC, people live two hours ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import planted
import polars as pl
import services
from calls import arrivals, ornstein, peak, ticks, wave
from planted import COUNTED, GRADES, SLOW, Fault, Figures, Split, Strength, split, z_of_mean
from services import Calls, Route, Sent, Services, joined, sent
from worlds import DAY, World

THURSDAY = 1_776_902_400  # 2026-04-23T00:00:00Z
AHEAD = 120  # minutes that people's clocks are ahead
MONTH_END, HOLIDAY, FIRST_WORKDAY = 7, 8, 11  # Thursday the 30th of April, the first of May, the Monday after it
SUNDAYS = (3, 10)
GATES = ["gw-fra-1", "gw-fra-2", "gw-muc-1"]
BROKERS = [
    "nordmakler", "sued-pool", "fonds-und-schutz", "makler-union", "assekuranz-weber", "vbk-gruppe", "rhein-pool", "kanzlei-otto",
    "finanzhaus-4", "elbe-makler", "dvm-netz", "hansa-vermittlung",
]  # fmt: skip
CONSUMERS = [
    "-", "customer-app", "customer-web", "comparo", "preisfuchs", "tarif24", *BROKERS, "garage-net", "assessor-hub", "tow-24", "psp",
    "batch-renewal", "batch-invoice", "dwh", "uptime", "registry",
]  # fmt: skip
#: Who the callers of a kind are, and how much each calls beside the others.
CALLERS: dict[str, dict[str, float]] = {
    "app": {"customer-app": 0.6, "customer-web": 0.4}, "mobile": {"customer-app": 1.0}, "web": {"customer-web": 1.0}, "site": {"-": 1.0},
    "broker": {name: 1 / (2 + i) for i, name in enumerate(BROKERS)}, "sites": {"comparo": 0.45, "preisfuchs": 0.3, "tarif24": 0.25},
    "garage": {"garage-net": 0.6, "assessor-hub": 0.4}, "tow": {"tow-24": 1.0}, "registry": {"registry": 1.0},
}  # fmt: skip
AGENTS = {
    "-": "Mozilla/5.0 (X11; Linux x86_64)", "customer-app": "MeinSchutz/4.11 (iOS 18.4)", "customer-web": "Mozilla/5.0 (Windows NT 10.0)",
    "comparo": "comparo-rates/7", "preisfuchs": "python-requests/2.31", "tarif24": "Apache-HttpClient/4.5.14", "uptime": "uptime/2.0",
    "psp": "psp-notify/1", "dwh": "Airflow/2.9",
}  # fmt: skip
BOT = 1_000_000  # numbers of clients from here on are crawlers
#: Beside 200: what is answered to a client because of its own habits: path, consumer, code, share.
HABITS = [
    ("/quotes/v2/motor", "comparo", 422, 0.11), ("/quotes/v2/household", "tarif24", 400, 0.06),
    ("/policies/v1/policies/{id}", "nordmakler", 404, 0.24), ("/claims/v1/claims/{id}/estimates", "garage-net", 409, 0.09),
    ("/brokers/v1/deliveries", "sued-pool", 403, 0.3), ("/exports/v1/changes", "dwh", 401, 0.03),
    ("/identity/v1/token", "kanzlei-otto", 401, 0.5), ("/documents/v1/documents/{id}", "dvm-netz", 404, 0.12),
]  # fmt: skip
ROUTES: list[Route] = [
    ("quotes", "POST", "/quotes/v2/motor", 6.0, 420, 0.45, "sites", {422: 0.02, 400: 0.004}),
    ("quotes", "POST", "/quotes/v2/household", 2.6, 260, 0.4, "sites+web", {422: 0.015}),
    ("quotes", "POST", "/quotes/v2/liability", 1.4, 190, 0.4, "sites+web", {422: 0.02}),
    ("quotes", "GET", "/quotes/v2/quotes/{id}", 2.2, 60, 0.5, "broker+web", {404: 0.02, 304: 0.1}),
    ("quotes", "POST", "/quotes/v2/quotes/{id}/bind", 0.35, 900, 0.5, "broker+web", {409: 0.03, 422: 0.04}),
    ("policies", "GET", "/policies/v1/policies", 2.6, 170, 0.5, "app+broker", {}),
    ("policies", "GET", "/policies/v1/policies/{id}", 4.2, 120, 0.5, "broker+app", {404: 0.015, 403: 0.002}),
    ("policies", "GET", "/policies/v2/policies/{id}", 1.8, 90, 0.45, "app", {404: 0.006}),
    ("policies", "PATCH", "/policies/v1/policies/{id}", 0.5, 380, 0.5, "broker", {409: 0.02, 422: 0.04}),
    ("policies", "POST", "/policies/v1/confirmations", 0.7, 230, 0.4, "broker+sites", {422: 0.02}),
    ("policies", "POST", "/policies/v1/renewals", 2.4, 310, 0.5, "renewals", {409: 0.01}),
    ("claims", "POST", "/claims/v1/claims", 0.7, 520, 0.5, "mobile+broker", {422: 0.05}),
    ("claims", "GET", "/claims/v1/claims", 1.6, 140, 0.5, "app+garage", {}),
    ("claims", "GET", "/claims/v1/claims/{id}", 2.2, 110, 0.5, "app+garage", {404: 0.01}),
    ("claims", "POST", "/claims/v1/claims/{id}/photos", 1.5, 1300, 0.9, "mobile", {413: 0.018, 499: 0.03, 415: 0.004}),
    ("claims", "GET", "/claims/v1/claims/{id}/photos", 0.9, 240, 0.7, "garage+app", {304: 0.2, 404: 0.01}),
    ("claims", "PUT", "/claims/v1/claims/{id}/estimates", 0.45, 350, 0.5, "garage", {422: 0.03}),
    ("identity", "POST", "/identity/v1/token", 3.4, 75, 0.35, "app+broker", {401: 0.05, 429: 0.001}),
    ("customers", "GET", "/customers/v1/me", 3.0, 45, 0.45, "app", {401: 0.03, 304: 0.15}),
    ("customers", "PUT", "/customers/v1/me", 0.25, 160, 0.5, "app", {422: 0.06}),
    ("customers", "GET", "/customers/v1/customers/{id}", 1.7, 80, 0.5, "broker", {404: 0.02, 403: 0.006}),
    ("customers", "GET", "/customers/v1/search", 1.1, 330, 0.7, "broker", {400: 0.01}),
    ("billing", "GET", "/billing/v1/invoices", 1.2, 150, 0.5, "app", {}),
    ("billing", "GET", "/billing/v1/invoices/{id}", 0.9, 190, 0.5, "app+broker", {404: 0.01}),
    ("billing", "POST", "/billing/v1/invoices", 1.2, 240, 0.4, "invoices", {409: 0.004}),
    ("billing", "POST", "/billing/v1/payments", 0.4, 780, 0.6, "app", {402: 0.05, 422: 0.02}),
    ("billing", "POST", "/billing/v1/callbacks", 0.9, 55, 0.4, "hooks", {409: 0.01}),
    ("documents", "GET", "/documents/v1/documents/{id}", 2.0, 260, 0.8, "app+broker", {404: 0.012, 304: 0.05}),
    ("documents", "POST", "/documents/v1/documents", 1.0, 600, 0.7, "broker+invoices", {413: 0.008}),
    ("brokers", "GET", "/brokers/v1/portfolio", 1.5, 480, 0.6, "broker", {}),
    ("brokers", "GET", "/brokers/v1/commissions", 0.45, 650, 0.6, "broker", {403: 0.01}),
    ("brokers", "POST", "/brokers/v1/applications", 0.4, 850, 0.5, "broker", {422: 0.07}),
    ("brokers", "GET", "/brokers/v1/deliveries", 1.6, 90, 0.4, "polls", {204: 0.6}),
    ("partners", "GET", "/partners/v1/vehicles/{id}", 1.3, 300, 0.7, "sites+registry", {404: 0.04}),
    ("partners", "POST", "/partners/v1/towing", 0.22, 270, 0.5, "tow", {409: 0.01}),
    ("partners", "GET", "/partners/v1/garages", 0.8, 70, 0.5, "mobile+site", {304: 0.25}),
    ("content", "GET", "/content/v1/pages/{id}", 2.4, 25, 0.5, "site", {304: 0.2, 404: 0.02, 301: 0.03}),
    ("content", "GET", "/content/v1/faq", 0.8, 30, 0.5, "site", {304: 0.3}),
    ("exports", "GET", "/exports/v1/changes", 0.7, 1600, 0.6, "export", {204: 0.2}),
    ("edge", "GET", "/status/v1/health", 2.0, 4, 0.3, "probe", {}),
    ("claims", "POST", "/claims/v1/claims/{id}/messages", 0.5, 210, 0.5, "app+garage", {422: 0.02}),
    ("billing", "PUT", "/billing/v1/mandates/{id}", 0.12, 330, 0.5, "app", {422: 0.08}),
    ("brokers", "DELETE", "/brokers/v1/deliveries/{id}", 0.6, 110, 0.4, "broker", {404: 0.05}),
    ("quotes", "GET", "/quotes/v2/tariffs", 0.5, 40, 0.4, "sites+web", {304: 0.4}),
]  # fmt: skip
STRENGTHS = {
    "easy": Strength(fails=0.5, slower=2.8, in_tail=0.22, left=0.08, more=4.0, low_fails=0.8, new=0.4),
    "medium": Strength(fails=0.16, slower=1.9, in_tail=0.12, left=0.35, more=2.6, low_fails=0.5, new=0.15),
    "hard": Strength(fails=0.065, slower=1.5, in_tail=0.08, left=0.5, more=2.0, low_fails=0.3, new=0.06),
}
#: Kind, how often, median length in minutes. Those on most endpoints are planted first.
KINDS = [
    ("node_outage", 2, 25), ("upstream_timeout", 3, 45), ("latency_drift", 2, 1800), ("latency_step", 3, 240), ("latency_tail", 2, 240),
    ("error_burst", 3, 40), ("recurring", 1, 30), ("auth_failure", 2, 100), ("rate_limit", 2, 80), ("validation_regression", 2, 300),
    ("new_code", 1, 360), ("low_traffic_fail", 2, 400), ("traffic_drop", 2, 150), ("traffic_spike", 1, 80), ("silence", 1, 150),
]  # fmt: skip
SHOWN, SHOWN_BY_COUNT = {"easy": 40, "medium": 20}, {"easy": 200, "medium": 80}  # calls affected
MACHINES = ("renewals", "invoices", "hooks", "export", "probe")


@dataclass
class Asked(Calls):
    """Calls, and the number of the consumer of each."""

    who: np.ndarray


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `insurance`, or `quiet-insurance` for the same one without faults. 36 to 44 endpoints, at least 9 days."""
    world = Insurance(np.random.default_rng([seed, 4711]), endpoints, days, calls_per_minute)
    calls = quiet = world.ordinary()
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        random, known = np.random.default_rng([seed, 4712]), split(quiet, endpoints)
        calls, faults = planted.plant(
            random, KINDS, quiet, partial(drawn, random, world, known), partial(done, random, world)
        )
        calls = world.without_holes(calls, calls.gate)
        given = split(calls, endpoints)
        for fault in faults:
            graded(world, known, given, fault)
    told = planted.labels(faults, world, GATES, partial(planted.in_words, world, CONSUMERS))
    return world.world([world.lines(calls), world.scanned()], told)


@dataclass
class Insurance(Services):
    """Who calls what, and how it is answered when nothing is wrong. Minutes count from the world's beginning."""

    t0: ClassVar[int] = THURSDAY

    def __post_init__(self) -> None:
        random = self.random
        self.open("insurance", ROUTES)
        local = self.minute + AHEAD
        self.hour = local / 60 % 24
        day = local // DAY
        weekday = (day + 3) % 7
        self.off = (weekday >= 5) | (day == HOLIDAY)
        self.factor *= (1 + random.uniform(0.001, 0.006) * self.minute / DAY)[None, :]
        self.shape = {kind: shape / shape.mean() for kind, shape in self.shapes(weekday).items()}
        self.calendar()
        self.releases()
        self.storm()
        self.shaky(120, 0.8, 0.008)
        self.gaps(len(GATES), 200)

    def number(self, *paths: str) -> np.ndarray:
        """Numbers of the endpoints `METHOD /path` that this world has."""
        return np.array([e for e in range(self.endpoints) if f"{self.method[e]} {self.path[e]}" in paths], dtype=int)

    def shapes(self, weekday: np.ndarray) -> dict[str, np.ndarray]:
        """How much callers of each kind call, per minute."""
        h, off, random = self.hour, self.off, self.random
        office = (peak(h, 10, 1.6) + 0.85 * peak(h, 14.8, 1.8)) * np.where(weekday == 4, np.where(h > 13, 0.6, 1), 1)
        office = 0.01 + office * np.where(off, np.where(weekday == 5, 0.12, 0.05), np.where(weekday == 0, 1.12, 1))
        evening = 0.03 + 0.25 * peak(h, 8, 1.2) + 0.45 * peak(h, 12.7, 2) + peak(h, 20, 2.3)
        evening *= np.where(off, 0.85, 1)
        night = 0.06 + 0.5 * peak(h, 13, 3) + peak(h, 20.5, 2.2)
        night *= np.where(off, 1.15, 1)
        night *= 1 + 0.6 * (weekday == 5) * wave(h * 60, 1200, 1350, 15, 60)  # the commercials of a show
        shops = 0.01 + (peak(h, 9, 2) + 0.8 * peak(h, 14, 2.5)) * np.where(off, np.where(weekday == 5, 0.3, 0.02), 1)
        roads = 0.25 + 0.7 * peak(h, 8, 2) + peak(h, 17, 2.5)
        found = {"app": evening, "mobile": evening, "web": evening, "site": 0.1 + evening, "broker": office, "sites": night, "garage": shops, "tow": roads, "registry": office}  # fmt: skip
        mood = {kind: np.exp(ornstein(random, self.minutes, 600, 0.07)) for kind in ("office", "people", "sites")}
        group = {"broker": "office", "garage": "office", "registry": "office", "sites": "sites"}
        return {kind: shape * mood[group.get(kind, "people")] for kind, shape in found.items()}

    def calendar(self) -> None:
        """What a calendar brings: the mainframe's nights and Sundays, the end of the month, statements of commission."""
        random, minute = self.random, self.minute
        host = self.of("policies", "billing")
        for day in range(-1, self.days):
            night = wave(minute - day * DAY, 1350, 1350 + 180 * random.lognormal(0, 0.15), 20, 20)
            self.slower[host] *= 1 + random.uniform(0.25, 0.5) * night
        for day in SUNDAYS:  # 5:30 local; whoever asks the mainframe then may be told to come back
            at, length = day * DAY + 210, int(random.uniform(30, 50))
            closed = self.of("policies")
            self.failing[closed, at : at + length] += 0.25
            self.named("maintenance of the mainframe", at, at + length, closed, ambiguous=True)
        self.month_end = (MONTH_END * DAY + random.uniform(15, 17) * 60, random.uniform(7, 10) * 60)
        runs = self.number("POST /billing/v1/invoices", "POST /documents/v1/documents")
        self.named("invoices of the month", self.month_end[0], sum(self.month_end) + 60, runs, ambiguous=True)
        self.slower[self.of("billing", "documents")] *= 1 + 0.25 * wave(minute, self.month_end[0], sum(self.month_end), 30, 30)  # fmt: skip
        read = self.number("GET /billing/v1/invoices", "GET /billing/v1/invoices/{id}")
        self.factor[read] *= 1 + 0.4 * wave(minute, (MONTH_END + 0.3) * DAY, (MONTH_END + 4) * DAY, 600, 3 * DAY)
        statements = self.number("GET /brokers/v1/commissions")
        since = minute - FIRST_WORKDAY * DAY
        self.factor[statements] *= 1 + 0.7 * wave(since, 300, 1000, 90, 240)

    def releases(self) -> None:
        """Deployments on evenings of workdays, and the second version of an endpoint, to which the app moves."""
        random = self.random
        evenings = [day for day in range(self.days) if (day + 3) % 7 in (0, 1, 2, 3) and day != MONTH_END]
        for service in range(len(self.services)):
            for day in random.choice(evenings, 2, replace=False):
                at = int(day * DAY + random.uniform(17.5, 19.5) * 60)
                self.deployed(service, at, random.uniform(0.2, 0.7), 8, 0.06)
                self.failing[self.of(self.services[service]), at : at + 2] += 0.08
        begin = int(random.integers(5, 7)) * DAY + random.uniform(7, 10) * 60
        moved = np.clip((self.minute - begin) / (2.5 * DAY), 0, 1) ** 1.3
        self.moves("/policies/v1/policies/{id}", "/policies/v2/policies/{id}", moved, 0.3)
        self.named("new version", begin, begin + 2.5 * DAY, self.number("GET /policies/v1/policies/{id}", "GET /policies/v2/policies/{id}"))  # fmt: skip
        self.release = begin + random.uniform(-600, 600)  # of the app

    def storm(self) -> None:
        """Hail on one afternoon: claims at once, photos of them until the next evening, and whoever tows cars is busy."""
        random = self.random
        day = int(random.choice([day for day in (5, 6, 12) if day < self.days - 1]))
        begin = day * DAY + random.uniform(13, 16) * 60
        hail = random.uniform(1.8, 3.2) * wave(self.minute, begin, begin + 540, 50, 260)
        after = random.uniform(0.5, 0.9) * wave(self.minute, begin + 540, begin + 1600, 60, 500)
        hit = np.concatenate([self.of("claims"), self.number("POST /partners/v1/towing", "GET /partners/v1/garages")])
        self.factor[hit] *= 1 + hail + after
        self.named("storm", begin, begin + 1600, hit, ambiguous=True)

    def by(self, kind: str, at: np.ndarray) -> Sent:
        """Calls of people or programs of a kind at these moments: which consumer each is, and from which address."""
        random, weights = self.random, CALLERS[kind]
        share = np.array(list(weights.values()))
        who = random.choice([CONSUMERS.index(name) for name in weights], len(at), p=share / share.sum())
        addresses = {"app": 900, "mobile": 900, "web": 900, "site": 900, "broker": 25}.get(kind, 4)
        return at, who, who * 1000 + (addresses * random.random(len(at)) ** 1.5).astype(int)

    def one(self, name: str, at: np.ndarray) -> Sent:
        """Calls of one consumer from one address."""
        who = CONSUMERS.index(name)
        return sent(at, who, who * 1000)

    def calls_of(self, e: int) -> Sent:
        """The calls of an endpoint, by all who call it."""
        kinds = self.kind[e].split("+")
        shares = np.array([0.62, 0.38]) if len(kinds) == 2 else np.ones(1)
        found = [self.calls_by(kind, e, self.rate[e] * share) for kind, share in zip(kinds, shares, strict=True)]
        if f"{self.method[e]} {self.path[e]}" in ("GET /policies/v1/policies/{id}", "GET /customers/v1/customers/{id}"):
            found += [self.one("makler-union", self.session(*when, 0.7 * self.rate[e])) for when in self.reconciled]
        return joined(found)

    def calls_by(self, kind: str, e: int, rate: float) -> Sent:
        random, end = self.random, self.minutes * 60
        if kind == "polls":  # every broker's program looks into its letter-box, some in step with the clock
            return self.kept(joined([self.one(name, ticks(random, 60 * len(BROKERS) / rate, 0.02, end)) for name in BROKERS]), self.factor[e])  # fmt: skip
        if kind == "probe":
            return self.one("uptime", services.probed(random, rate, end))
        if kind == "renewals":
            return self.kept(self.one("batch-renewal", self.nightly(rate, 23 * 60, 10, 90, 160)), self.factor[e])
        if kind == "invoices":
            usual = self.nightly(0.6 * rate, 21 * 60, 8, 60, 100)
            return self.one("batch-invoice", np.concatenate([usual, self.session(*self.month_end, 8 * rate)]))
        if kind == "hooks":
            return self.one(
                "psp", self.notices(0.6 * rate * self.shape["app"] * self.factor[e], 0.4 * rate * DAY, 1500)
            )
        if kind == "export":  # by day every hour, at times by hand
            hourly = [np.arange(0.25, end / 3600, 1) * 3600 + random.normal(0, 20)]
            by_hand = random.uniform(0, end, int(self.days * 1.5))
            return self.one("dwh", services.packs(random, np.concatenate([*hourly, by_hand]), 50 * rate, 400))
        strength = rate * self.shape[kind] * self.factor[e]
        if kind == "sites":
            calls = self.by(kind, services.packs(random, arrivals(random, 0.85 * strength / 3), 3, 1.2))
            faster = 0.07 * rate * self.minutes / sum(length for _, length in self.refreshes)
            return joined([calls, *(self.one("preisfuchs", self.session(*when, faster)) for when in self.refreshes)])
        calls = self.by(kind, arrivals(random, strength))
        if kind == "site":
            at = self.scraped(rate, 0.15)
            return joined([calls, sent(at, 0, BOT + random.integers(0, 6, len(at)))])
        return calls

    def ordinary(self) -> Asked:
        """All calls as they are when nothing is wrong, in order of time."""
        random = self.random
        #: When (minutes, and for how many) a comparison site renews the prices it keeps, and when brokers go through all their contracts.
        self.refreshes = [(random.uniform(0, self.minutes), random.uniform(10, 30)) for _ in range(3 * self.days)]
        days = (1, *random.choice(np.arange(4, self.days), 3, replace=False))
        self.reconciled = [(day * DAY + random.uniform(7, 13) * 60, random.uniform(60, 170)) for day in days]
        at, endpoint, who, client = self.in_order([(e, self.calls_of(e)) for e in range(self.endpoints)])
        slot = random.integers(0, 3, len(at))
        instance, blank = self.of_service[endpoint] * 10 + slot, np.zeros(len(at))
        calls = Asked(at, endpoint, client, self.gate(at), instance, blank.astype(int), blank, who)
        calls.status = self.answered(calls, slot)
        ms = self.takes(calls, self.scaled(calls, 4, 1.3)[1], 0.35)
        services.with_tail(random, ms, 1.7)
        uploads = np.isin(calls.endpoint, self.number("POST /claims/v1/claims/{id}/photos"))
        ms[uploads] *= random.lognormal(0, 0.3, uploads.sum())  # sizes
        self.slow_neighbours(calls, ms, slot)
        ms = services.refused_sooner(random, calls.status, ms, [400, 401, 403, 404, 409, 422])
        self.cold_starts(calls, ms, self.number("PUT /billing/v1/mandates/{id}"))
        late = ms > self.limit[calls.endpoint]
        calls.status = np.where(late, 504, calls.status)
        calls.ms = np.where(late, self.limit[calls.endpoint] + random.exponential(3, len(ms)), ms)
        failed = np.isin(calls.status, [500, 502, 503, 504])
        calls = calls.and_those(planted.tried_again(random, self, calls, failed, None, 0.5, (0.7, 1.4), self.gate))
        calls = calls.where(np.argsort(calls.at, kind="stable")).where(slice(np.count_nonzero(calls.at < self.minutes * 60)))  # fmt: skip
        return self.without_holes(calls, calls.gate)

    def answered(self, calls: Asked, slot: np.ndarray) -> np.ndarray:
        """Statuses of calls on ordinary days."""
        random, e = self.random, calls.endpoint
        answers = [known | {500: self.never_good[i]} for i, known in enumerate(self.answers)]
        status = self.usually(calls, answers, 360, 2)
        draw = random.random(len(calls))
        for path, name, code, share in HABITS:
            mine = np.isin(e, [i for i in range(self.endpoints) if self.path[i] == path])
            status[mine & (calls.who == CONSUMERS.index(name)) & (draw < share)] = code
        minute = calls.at / 60
        greedy = calls.who == CONSUMERS.index("preisfuchs")
        for begin, length in self.refreshes:
            status[greedy & (minute >= begin + 4) & (minute < begin + length) & (draw < 0.25)] = 429
        status[random.random(len(calls)) < self.failing[e, minute.astype(int)]] = 503
        self.fall_over(calls, status, slot, 502, 0.7)
        return status

    def gate(self, at: np.ndarray) -> np.ndarray:
        """The node of the gateway that calls meet."""
        return self.random.choice(len(GATES), len(at), p=[0.36, 0.36, 0.28])

    def lines(self, calls: Asked) -> pl.DataFrame:
        """The log, in the layout of worlds.LOG_FORMAT; at: beginning of each call, order: when its line came (seconds since the epoch)."""
        random, n, e = self.random.spawn(1)[0], len(calls), calls.endpoint
        bigger = np.exp(random.normal(np.log(1800), 0.9, self.endpoints))
        before, after = zip(*((*path.split("{id}"), "")[:2] for path in self.path), strict=True)
        has_id, number = np.array(["{id}" in path for path in self.path]), random.integers(10_000_000, 99_999_999, n)
        page = np.where(random.random(n) < 0.3, random.integers(2, 6, n), 0)
        listed = np.array([self.method[i] == "GET" and not has_id[i] and self.kind[i] != "probe" for i in range(self.endpoints)])  # fmt: skip
        size = bigger[e] * self.bigger[self.of_service[e], np.minimum(calls.at // 60, self.minutes - 1).astype(int)] * random.lognormal(0, 0.5, n)  # fmt: skip
        size = np.where(calls.status == 304, 0, np.where(calls.status >= 400, random.integers(60, 180, n), size))
        newer = (calls.client % 97 / 97) < np.clip((calls.at / 60 - self.release) / (3 * DAY), 0, 0.9)
        agents = [AGENTS.get(name, "bipro-client/2.6") for name in CONSUMERS] + ["MeinSchutz/4.12 (iOS 18.4)", "Googlebot/2.1"]  # fmt: skip
        agent = np.where((calls.who == 1) & newer, len(CONSUMERS), np.where(calls.client >= BOT, len(CONSUMERS) + 1, calls.who))  # fmt: skip
        end = self.t0 + calls.at + calls.ms / 1000
        frame = pl.DataFrame({
            "at": self.t0 + calls.at, "order": end + self.late(calls, calls.gate, np.zeros(n)), "end": end, "s": calls.ms / 1000,
            "client": calls.client, "status": calls.status, "size": size.astype(int),
            "id": np.where(has_id[e], number, 0), "page": np.where(listed[e], page, 0),
        })  # fmt: skip
        return frame.select("at", "order", line=pl.format(
            '10.{}.{}.{} - {} [{}+00:00] "{} {}{}{}{} HTTP/1.1" {} {} "-" "{}" {} {} {} {}',
            20 + pl.col("client") // 65_536, pl.col("client") // 256 % 256, pl.col("client") % 256, named(CONSUMERS, calls.who),
            pl.from_epoch(pl.col("end").cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%S"), named(self.method, e), named(list(before), e),
            pl.when(pl.col("id") > 0).then(pl.col("id").cast(pl.String)).otherwise(pl.lit("")), named(list(after), e),
            pl.when(pl.col("page") > 1).then(pl.format("?page={}", "page")).otherwise(pl.lit("")),
            "status", "size", named(agents, agent), seconds("end"), seconds("s"), named(self.service, e), named(GATES, calls.gate),
        ))  # fmt: skip

    def scanned(self) -> pl.DataFrame:
        """Lines of scanners that ask for what is not there."""
        random, at = self.random, self.scans()
        paths = ["/.env", "/wp-login.php", "/.git/config", "/admin/", "/actuator/health", "/api/swagger.json"]
        asked = random.integers(0, len(paths), len(at))
        return pl.DataFrame({"at": at, "order": at}).select("at", "order", line=pl.format(
            '10.9.{}.7 - - [{}+00:00] "GET {} HTTP/1.1" 404 153 "-" "Mozilla/5.0 zgrab/0.x" {} 0.001 - {}',
            pl.Series(random.integers(0, 9, len(at))), pl.from_epoch(pl.col("at").cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%S"),
            named(paths, asked), seconds("at"), named(GATES, self.gate(at)),
        ))  # fmt: skip


def named(names: list[str], numbers: np.ndarray) -> pl.Series:
    return pl.Series(names)[numbers]


def seconds(column: str) -> pl.Expr:
    """Seconds with their milliseconds, as NGINX writes them."""
    whole = (pl.col(column) * 1000).round().cast(pl.Int64)
    return pl.format("{}.{}", whole // 1000, (whole % 1000).cast(pl.String).str.zfill(3))


def usable(world: Insurance, quiet: Split, kind: str) -> list[int]:
    """Endpoints that a kind of fault can be on."""
    per_hour = [len(rows) / world.minutes * 60 for rows in quiet.rows]
    fitting = [e for e in range(world.endpoints) if per_hour[e] > 0 and "/v2/policies" not in world.path[e] and world.kind[e] != "probe"]  # fmt: skip
    if kind == "low_traffic_fail":
        return [e for e in fitting if per_hour[e] <= 25]
    if kind in ("traffic_drop", "traffic_spike", "latency_drift"):
        return [e for e in fitting if per_hour[e] > 35 and not set(world.kind[e].split("+")) & set(MACHINES)]
    if kind in COUNTED:  # a batch that does not run, too
        return [e for e in fitting if per_hour[e] > 35 and world.kind[e] not in ("hooks", "export")]
    if kind in ("auth_failure", "rate_limit"):
        return [e for e in fitting if per_hour[e] > 25 and world.kind[e] not in ("site", *MACHINES)]
    if kind == "validation_regression":
        return [e for e in fitting if per_hour[e] > 12 and world.method[e] != "GET"]
    return [e for e in fitting if per_hour[e] > 20]


def drawn(random: np.random.Generator, world: Insurance, quiet: Split, others: list[Fault], kind: str, grade: str, length: int) -> Fault | None:  # fmt: skip
    """A fault of a kind, grade and median length (minutes) apart from the others; None: it came to lie badly."""
    fault = Fault(kind=kind, grade=grade, spans=[], endpoints=[], strength=STRENGTHS[grade])
    fitting = usable(world, quiet, kind)
    call = planted.place(random, fault, length, world, quiet, fitting)
    if call is None:
        return None
    first = int(quiet.calls.endpoint[call])
    if kind == "node_outage":
        fault.gate, fault.endpoints = int(quiet.calls.gate[call]), fitting
    elif kind == "upstream_timeout":
        fault.upstream = world.service[first]
    elif len(fault.endpoints) > 3:
        others_there = [e for e in fault.endpoints if e != first]
        fault.endpoints = sorted([first, *(int(e) for e in random.choice(others_there, 2, replace=False))])
    usual = {code for e in fault.endpoints for code in world.answers[e]}
    fault.code = planted.answer(random, kind, usual)
    planted.of_one_consumer(random, fault, quiet, call, releases=True, anonymous=0)
    strange = kind in COUNTED and int(fault.start // 86_400) == HOLIDAY  # nobody knows how many calls are usual then
    if strange or (kind == "rate_limit" and fault.who is None):
        return None
    return fault if planted.stands(fault, world, quiet, others) else None


def done(random: np.random.Generator, world: Insurance, calls: Asked, fault: Fault) -> Asked:
    """The calls with a fault."""
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in SLOW:
        planted.slow_down(random, calls, fault, inside, draw, 30_000)
        return calls
    hit = np.flatnonzero(inside & (draw < fault.share))
    if fault.kind == "rate_limit":
        return planted.refuse(random, calls, fault, inside, hit)
    assert fault.code is not None
    planted.fail(random, calls, hit, fault.code)
    if fault.code < 500:  # not tried again
        return calls
    failed = np.isin(np.arange(len(calls)), hit)
    return calls.and_those(planted.tried_again(random, world, calls, failed, fault, 0.4, (0.7, 1.4), world.gate))


def look(world: Insurance, quiet: Split, given: Split, fault: Fault) -> Figures:
    """The figures of a fault at its endpoints, as charts of these show them, whoever it concerns; of a node of the gateway there are charts, too.

    What is slow is so beside the same hour of other days of its sort, as everybody knows that nights are slower; and times 1.5: latencies
    wander for hours, and whoever looks sees the edge.
    """
    charted = replace(fault, who=None)
    known, now = (calls.where(charted.hits(calls)) for calls in (quiet.of(fault.endpoints), given.of(fault.endpoints)))
    usual, here = (calls.where(charted.inside(calls.at)) for calls in (known, now))
    compared = known.where(~world.excepted(fault.endpoints, known.at))
    counted, mean = partial(z_of_count, world, charted), partial(z_of_mean, charted)
    seen = planted.figures(charted, compared, here, usual, planted.drifted(fault), mean, counted)
    if fault.kind not in SLOW or not len(here):
        return seen
    late = here.where(here.at >= planted.drifted(fault))
    bound = np.quantile(compared.ms, 0.97)
    values, those = ((calls.ms > bound) if fault.kind == "latency_tail" else np.log(calls.ms + 0.5) for calls in (compared, late))  # fmt: skip
    hour, its = ((calls.at // 3600).astype(int) % 24 + 24 * world.off[(calls.at // 60).astype(int)] for calls in (compared, late))  # fmt: skip
    usually = np.bincount(hour, values, 48) / np.maximum(np.bincount(hour, minlength=48), 1)
    return seen._replace(z=1.5 * mean(compared.at, values - usually[hour], those - usually[its])[0])


def z_of_count(world: Insurance, fault: Fault, at: np.ndarray, count: int) -> float:
    """How far a count is above (of a spike) or below those of the same time on other days of its sort (workdays or days off), in standard deviations.

    Days differ: what is beyond two standard deviations of theirs counts as the deviance of a Poisson count from there.
    """
    at, before = np.sort(at), []
    sort = world.off[int(fault.start // 60)]
    for day in range(-world.days, world.days):
        begin, end = fault.start + day * 86_400, fault.end + day * 86_400
        if not day or begin < 0 or end > world.minutes * 60 or world.off[int(begin // 60)] != sort:
            continue
        if not world.excepted(fault.endpoints, np.array([begin, (begin + end) / 2, end])).any():
            before.append(int(np.searchsorted(at, end) - np.searchsorted(at, begin)))
    if len(before) < 3:
        return 0.0
    middle = float(np.median(before))
    sign = 1 if fault.kind == "traffic_spike" else -1
    unlike = 1.5 * np.median(np.abs(np.array(before) - middle))  # one Friday afternoon or burst among them says little
    spread = np.sqrt(middle + 1 + unlike**2)
    bound = max(middle + 2 * sign * spread, 0.5)
    if (count - bound) * sign <= 0:
        return float((count - middle) * sign / spread)
    return float(2 + np.sqrt(2 * (count * np.log(max(count, 1) / bound) - count + bound)))


def graded(world: Insurance, quiet: Split, given: Split, fault: Fault) -> None:
    """Sets a fault's figures, and its grade by them alone: by z and calls as `measure` does, and by how much the best endpoint changed."""
    fault.grade = "easy"
    planted.measure(fault, SHOWN_BY_COUNT if fault.kind in COUNTED else SHOWN, partial(look, world, quiet, given))
    if fault.endpoints:  # one call of an endpoint that is not named is not told of
        fault.affected = look(world, quiet, given, fault).affected
    change, needed = fault.during - fault.usual, {"easy": 0.2, "medium": 0.08}
    if fault.kind in (*COUNTED, "latency_step", "latency_drift"):
        change = abs(np.log((fault.during + 1) / (fault.usual + 1)))
        needed = {"easy": np.log(3), "medium": np.log(1.6)} if fault.kind in COUNTED else {"easy": np.log(2), "medium": np.log(1.5)}  # fmt: skip
    size = next((grade for grade, least in needed.items() if change >= least), "hard")
    fault.grade = GRADES[max(GRADES.index(fault.grade), GRADES.index(size))]
