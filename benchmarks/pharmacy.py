"""The gateway of a network that joins pharmacies, their wholesalers and health insurers, seeded, with planted faults.

The log is that of `worlds.LOG_FORMAT`, in local time (+02:00). What is usual here, and no fault: counters that open at eight, are emptier
on afternoons without doctors and closed on Sundays but for those on call; orders that pile up before each wholesaler's cut-off and stop at
it; claims that pharmacies send at night, many of them in the same minutes because their software says so, some nights twice, and a
month's end; a price list that is renewed on the first of the month; a public holiday; wholesalers that push their stock every quarter of an
hour; insurers that export at times of their own; software that asks for messages all night; push messages to patients; a shortage that
makes everybody ask for stock; a second version of an endpoint that takes over; crawlers, a scraper; deployments, slow
neighbours, instances that fall over; calls that are tried again; consumers that are always refused something; holes in the log, late lines. Written without looking at the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import planted
import polars as pl
from calls import arrivals, ornstein, peak, ticks, wave
from planted import Fault, Figures, Split, Strength
from services import Calls as Plain
from services import Route, Sent, Services, delayed, joined, packs, probed, refused_sooner, sent, with_tail
from worlds import DAY, World

T0 = 1_776_808_800  # Wednesday 2026-04-22, midnight in Berlin
HOLIDAY = 9  # Friday 1 May: nothing is open but who is on call; the month ended the evening before, a price list begins
MAINTENANCE = (7 * DAY + 1380, 7 * DAY + 1425)  # minutes; announced, of the central service for prescriptions
BUSY = {5: 1.12, 8: 1.2, 10: 1.3, 12: 1.12}  # Mondays, the day before the holiday, the Saturday after it
CUT_OFFS = ([525, 705, 870, 1065], [675], [], [525, 705, 870, 1065])  # minute of the day, by kind of day
PHARMACIES, WHOLESALERS, INSURERS, PATIENTS = 120, 3, 6, 4000
CONSUMERS = [
    *(f"apo-{1000 + 37 * i}" for i in range(PHARMACIES)), "gh-nord", "gh-rhein", "gh-union", *(f"kk-{101 + 4 * i}" for i in range(INSURERS)), "-",
]  # fmt: skip
WHOLESALER, INSURER, ANYBODY = PHARMACIES, PHARMACIES + WHOLESALERS, len(CONSUMERS) - 1
AGENTS = ("Tresen/7.4.1", "ApoKasse/2026.1 (Windows NT 10.0)", "OffizinPlus/11.3")  # what pharmacies work with
BROWSERS = (
    "PillePal/4.2 (iPhone; iOS 18.3)", "PillePal/4.2 (Android 15)", "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/135.0.0.0 Safari/537.36",
)  # fmt: skip
CRAWLER, PROBE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "kube-probe/1.31"
GATES = ["edge-a", "edge-b", "edge-c"]
CRAWLERS, SCRAPER, PROBES = PATIENTS, PATIENTS + 20, PATIENTS + 21  # numbers of clients from which these call
ROUTES: list[Route] = [
    ("erx", "GET", "/v1/prescriptions/{id}", 6.5, 180, 0.55, "counter", {404: 0.012, 410: 0.006, 423: 0.004}), ("erx", "POST", "/v1/prescriptions/{id}/accept", 4.8, 240, 0.5, "counter", {409: 0.01, 403: 0.002}),
    ("erx", "POST", "/v1/prescriptions/{id}/dispense", 4.4, 310, 0.5, "counter", {409: 0.004, 422: 0.012}), ("erx", "POST", "/v1/prescriptions/{id}/return", 0.3, 200, 0.5, "counter", {409: 0.03}),
    ("erx", "GET", "/v2/prescriptions/{id}", 2.6, 150, 0.5, "counter", {404: 0.012, 410: 0.006}), ("checks", "POST", "/v1/interactions", 4.0, 95, 0.6, "counter", {422: 0.005}),
    ("catalog", "GET", "/v1/articles/{id}", 5.2, 14, 0.5, "counter", {404: 0.015, 304: 0.2}), ("catalog", "GET", "/v1/articles/search", 3.0, 60, 0.7, "counter", {400: 0.004}),
    ("catalog", "GET", "/v1/articles/{id}/prices", 2.4, 30, 0.5, "counter", {404: 0.01}), ("catalog", "GET", "/v1/master/deltas/{id}", 0.5, 900, 0.9, "master", {304: 0.4}),
    ("wholesale", "POST", "/v1/availability", 4.6, 350, 0.65, "order", {404: 0.02, 503: 0.002}), ("wholesale", "POST", "/v1/orders", 2.0, 600, 0.55, "order", {409: 0.006, 422: 0.01}),
    ("wholesale", "GET", "/v1/orders/{id}", 1.7, 120, 0.5, "order", {404: 0.004}), ("wholesale", "DELETE", "/v1/orders/{id}", 0.1, 150, 0.5, "order", {409: 0.12}),
    ("stock", "PUT", "/v1/stock/{id}", 2.4, 40, 0.5, "counter", {409: 0.005}), ("stock", "GET", "/v1/stock/{id}", 1.5, 20, 0.45, "portal", {404: 0.03}),
    ("stock", "POST", "/v1/stock/lists", 0.7, 700, 0.8, "supplier", {422: 0.02}), ("stock", "POST", "/v1/backorders", 0.4, 90, 0.5, "supplier", {422: 0.05}),
    ("claims", "POST", "/v1/claims", 3.8, 260, 0.5, "claim", {422: 0.03, 409: 0.01}), ("claims", "POST", "/v1/claims/batches", 0.3, 1800, 0.7, "claim", {422: 0.04, 413: 0.004}),
    ("claims", "GET", "/v1/claims/batches/{id}", 1.2, 70, 0.5, "claim", {404: 0.01, 202: 0.4}), ("claims", "GET", "/v1/claims/{id}", 0.6, 60, 0.6, "counter", {404: 0.02}),
    ("claims", "POST", "/v1/claims/precheck", 2.2, 220, 0.5, "counter", {422: 0.03}), ("claims", "GET", "/v1/insurers/{id}/claims", 0.35, 1400, 0.9, "export", {400: 0.01}),
    ("decisions", "POST", "/v1/hooks/decisions", 1.2, 45, 0.5, "hooks", {409: 0.005}), ("patients", "POST", "/v1/patient/login", 0.9, 280, 0.4, "portal", {401: 0.09}),
    ("patients", "GET", "/v1/patient/prescriptions", 1.7, 130, 0.6, "portal", {401: 0.02}), ("patients", "POST", "/v1/patient/prescriptions/{id}/assign", 0.5, 220, 0.5, "portal", {409: 0.03}),
    ("patients", "GET", "/v1/patient/orders/{id}", 1.0, 60, 0.5, "portal", {404: 0.008}), ("patients", "POST", "/v1/patient/orders", 0.3, 420, 0.5, "portal", {402: 0.03, 422: 0.02}),
    ("duty", "GET", "/v1/pharmacies/nearby", 1.5, 75, 0.6, "portal", {400: 0.01}), ("duty", "GET", "/v1/pharmacies/{id}", 1.2, 22, 0.5, "portal", {404: 0.05, 304: 0.1}),
    ("duty", "GET", "/v1/duty/today", 0.8, 30, 0.5, "duty", {}), ("identity", "POST", "/v1/token", 1.4, 50, 0.4, "counter", {401: 0.012}),
    ("identity", "GET", "/v1/messages", 2.2, 18, 0.4, "poll", {204: 0.8}), ("identity", "GET", "/healthz", 0.5, 2, 0.3, "probe", {}),
    ("checks", "GET", "/v1/substances/{id}", 1.1, 25, 0.4, "counter", {404: 0.02}), ("wholesale", "GET", "/v1/orders/{id}/delivery-notes", 0.5, 220, 0.7, "order", {404: 0.06}),
    ("claims", "GET", "/v1/insurers/{id}/rebates", 0.5, 35, 0.5, "counter", {404: 0.01, 304: 0.3}), ("patients", "POST", "/v1/patient/messages", 0.08, 150, 0.5, "portal", {413: 0.02}),
]  # fmt: skip
#: Path, number of a consumer, code and share of its calls there that are always answered so.
HABITS = [
    ("/v1/backorders", WHOLESALER + 1, 422, 0.3), ("/v1/articles/{id}", 7, 404, 0.5), ("/v1/token", 19, 401, 0.5), ("/v1/prescriptions/{id}", 31, 403, 0.4), ("/v1/orders/{id}", 3, 404, 0.25),
]  # fmt: skip
KINDS = [  # how often, median length in minutes; first what is nowhere beside another
    ("node_outage", 1, 14), ("error_burst", 3, 45), ("recurring", 1, 20), ("upstream_timeout", 3, 50), ("latency_step", 3, 300), ("latency_tail", 2, 300), ("latency_drift", 2, 3000), ("auth_failure", 2, 120), ("rate_limit", 2, 100),
    ("traffic_drop", 2, 150), ("traffic_spike", 2, 60), ("silence", 1, 150), ("new_code", 2, 240), ("validation_regression", 2, 700), ("low_traffic_fail", 2, 1300),
]  # fmt: skip
STRENGTH = {
    "easy": Strength(0.4, 2.6, 0.25, 0.08, 3.5, 0.7, 0.25),
    "medium": Strength(0.15, 2.0, 0.15, 0.25, 2.6, 0.4, 0.1),
    "hard": Strength(0.06, 1.6, 0.1, 0.4, 2.1, 0.25, 0.045),
}
#: What a grade takes: z, calls, by how much a share grows, how many times as long calls take; the square for traffic.
SHOWN = {"easy": (8.0, 40, 0.15, 1.7), "medium": (6.0, 20, 0.05, 1.4)}


@dataclass
class Calls(Plain):
    """As those of services.py, and the number of the consumer. Instances of `wholesale` are the wholesalers' own interfaces."""

    who: np.ndarray


@dataclass(kw_only=True)
class Trouble(Fault):
    """A fault that may concern all pharmacies with the same software; members: their numbers."""

    members: list[int] | None = None

    @property
    def share(self) -> float:
        if self.kind == "node_outage":
            return min(0.9, 0.4 + self.strength.fails)
        if self.instance is not None or self.members is not None:  # of those whom it meets: a third of all
            return min(0.9, 2 * self.strength.fails)
        return super().share

    def hits(self, calls: Any) -> np.ndarray:
        return super().hits(calls) & (self.members is None or np.isin(calls.who, self.members))


def kind_of_day(day: int) -> int:
    """0: a working day, 1: a Saturday, 2: a Sunday or a holiday, 3: a working day without doctors after noon."""
    return 2 if day == HOLIDAY else (0, 0, 3, 0, 3, 1, 2)[(day + 2) % 7]


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `pharmacy`, or `quiet-pharmacy` for the same one without faults. 36 to 40 endpoints, at least 9 days."""
    random = np.random.default_rng([seed, 1511])
    network = Network(random, endpoints, days, calls_per_minute)
    calls = network.answered(network.traffic())
    calls = calls.and_those(network.again(calls, np.flatnonzero(calls.status >= 500), None))
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        quiet = planted.split(calls, endpoints)
        calls, faults = planted.plant(random, KINDS, calls, partial(drawn, network, quiet), partial(struck, network))
        loud = planted.split(calls, endpoints)
        for fault in faults:
            graded(fault, network, quiet, loud)
    told = planted.labels(faults, network, GATES, partial(planted.in_words, network, CONSUMERS))
    return network.world([network.logged(calls, np.random.default_rng([seed, 1512]))], told)


@dataclass
class Network(Services):
    """Who calls what, and how it is answered when nothing is wrong."""

    t0: ClassVar[int] = T0

    def __post_init__(self) -> None:
        random = self.random
        self.open("pharmacy", ROUTES)
        self.size = random.dirichlet(np.full(PHARMACIES, 1.6))
        self.software = random.choice(3, PHARMACIES, p=[0.45, 0.3, 0.25])
        self.supplier = random.choice(WHOLESALERS, PHARMACIES, p=[0.45, 0.35, 0.2])
        self.on_call = [random.choice(PHARMACIES, 11, replace=False) for _ in range(self.days)]
        early, own = random.uniform(1200, 1240, PHARMACIES), random.uniform(1140, 1560, PHARMACIES)
        self.habit = np.choose(self.software, [early, np.full(PHARMACIES, 1350.0), own])  # minute of the evening at which claims are sent  # fmt: skip
        self.shape: dict[str, np.ndarray] = {}
        self.kinds = np.array([kind_of_day(day) for day in range(self.days)])
        self.shapes()
        self.changes()
        self.shaky(80, 0.8, 0.008)
        self.gaps(len(GATES), 240)

    def shapes(self) -> None:
        """How many calls of each kind come per minute, 1 in the mean; volume: what pharmacies sell per day, as well."""
        random, m = self.random, np.arange(DAY)
        h = m / 60
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in ("counter", "portal", "duty", "cut-off")}
        for day in range(self.days):
            kind = kind_of_day(day)
            work = wave(m, 475, 1130, 25, 35) * (0.35 + 0.8 * peak(h, 10.3, 1.4) + 0.75 * peak(h, 16.7, 1.5))
            saturday = wave(m, 500, 810, 30, 40) * (0.4 + 0.6 * peak(h, 10.8, 1.3))
            open_now = (
                (work, saturday, 0 * h, work * np.where(h > 13, 0.72, 1))[kind]
                * BUSY.get(day, 1.0)
                * random.lognormal(0, 0.04)
            )
            drawn["counter"].append(open_now + 0.012 + 0.05 * wave(m, 540, 1290, 60, 90))
            evening = 0.05 + 0.5 * peak(h, 12, 3.5) + 0.8 * peak(h, 19.8, 2.2)
            drawn["portal"].append(evening * (1, 0.85, 0.75, 1)[kind] * random.lognormal(0, 0.06))
            closed = (0, peak(h, 15, 2.5), 1.4 * peak(h, 11, 3) + peak(h, 18, 2.5), 0)[kind]
            drawn["duty"].append((0.06 + 0.5 * peak(h, 20.5, 1.8) + closed) * random.lognormal(0, 0.1))
            before = [at + random.normal(0, 2) - m for at in CUT_OFFS[kind]]
            drawn["cut-off"].append(sum((np.exp(-np.maximum(left, 0) / 20) * (left > 0) for left in before), 0.1 * open_now))  # fmt: skip
        for name, parts in drawn.items():
            shape = np.concatenate(parts) * np.exp(ornstein(random, self.minutes, 150, 0.08))
            self.shape[name] = shape / shape.mean()
        self.volume = self.shape["counter"].reshape(self.days, DAY).mean(axis=1)

    def changes(self) -> None:
        """What changes in two weeks although nothing is wrong."""
        random, minute = self.random, self.minute
        portal, day = self.called_by("portal"), minute / DAY
        self.factor[portal] *= 1 + 0.012 * day
        self.moves("/v1/prescriptions/{id}", "/v2/prescriptions/{id}", np.clip((day - 5.4) / 5, 0, 1), 0.4)
        self.factor[self.path.index("/v1/availability")] *= 1 + 0.35 * np.clip((day - 6.2) / 2.5, 0, 1)  # a shortage
        self.factor[self.called_by("poll")] *= 1 - 0.3 * np.clip((day - 7.4) / 2, 0, 1)  # a release asks less often
        for when in (2, 5, 7, 12):
            at = when * DAY + 1110 + random.normal(0, 3)
            faded = np.where(minute > at, np.exp(-np.abs(minute - at) / 25), 0)
            self.factor[portal] *= 1 + random.uniform(0.7, 1.3) * faded
            self.named("push message to patients", at, at + 60, portal)
        for when in random.choice([day for day in range(1, self.days) if kind_of_day(day) in (0, 3)], 6, replace=False):
            at = int(when * DAY + random.uniform(9.5, 16) * 60)
            self.deployed(int(random.integers(len(self.services))), at, 0.8, 6, 0.06)
        self.named("public holiday", HOLIDAY * DAY, HOLIDAY * DAY + DAY, np.arange(self.endpoints))
        self.named("maintenance of the central service", *MAINTENANCE, self.of("erx"), ambiguous=True)
        self.named("month's end", 8 * DAY + 1080, 10 * DAY + 180, self.called_by("claim"), ambiguous=True)
        self.named("new price list", 8 * DAY + 1430, 9 * DAY + 360, self.called_by("master"), ambiguous=True)
        self.held = self.held_back((2, int(random.integers(5, 8))), "decisions")

    def traffic(self) -> Calls:
        """Calls as they are sent, in order of time, without answers."""
        random, self.most, self.came = self.random, {}, {}
        for shape in ("counter", "portal"):  # somebody comes as often as what is called most often
            mine = self.called_by(shape)
            self.most[shape] = (self.rate[mine] * self.factor[mine].max(axis=1)).max()
            self.came[shape] = arrivals(random, self.most[shape] * self.shape[shape])
        self.batches()
        at, endpoint, who, client = self.in_order([(e, self.sent_to(e)) for e in range(self.endpoints)])
        instance = random.choice(3, len(at))
        first = np.isin(endpoint, self.of("wholesale")) & (who < PHARMACIES) & (random.random(len(at)) < 0.8)
        instance[first] = self.supplier[who[first]]  # else they ask another
        nothing = np.zeros(len(at), dtype=int)
        return Calls(at, endpoint, client, self.gate(at), instance, nothing, nothing.astype(float), who)

    def sent_to(self, e: int) -> Sent:
        kind, rate = self.kind[e], self.rate[e]
        if kind == "counter":
            return self.pharmacies(self.some(e, 20))
        if kind == "duty":
            return self.patients(arrivals(self.random, rate * self.shape["duty"]))
        if kind == "probe":
            return sent(probed(self.random, rate, self.minutes * 60), ANYBODY, PROBES)
        if kind == "export":  # at times of their own, an insurer for hours
            at = self.scraped(rate, 1.0)
            return sent(at, *(INSURER + (at // 9000).astype(int) % INSURERS for _ in range(2)))
        return getattr(self, f"by_{kind}")(e)

    def gate(self, at: np.ndarray) -> np.ndarray:
        return self.random.choice(len(GATES), len(at), p=[0.36, 0.34, 0.3])

    def some(self, e: int, lag: float) -> np.ndarray:
        """Seconds of the calls of an endpoint by those who came, soon after."""
        came = self.came[self.kind[e]]
        share = self.rate[e] * self.factor[e, (came // 60).astype(int)] / self.most[self.kind[e]]
        mine = came[self.random.random(len(came)) < share]
        return mine + self.random.exponential(lag, len(mine))

    def pharmacies(self, at: np.ndarray) -> Sent:
        """These calls, each of a pharmacy that is open or on call then."""
        random = self.random
        who = random.choice(PHARMACIES, len(at), p=self.size)
        day, hour = np.minimum(at // 86_400, self.days - 1).astype(int), at % 86_400 / 3600
        closed = (self.kinds[day] == 2) | (hour < 7.9) | (hour > 19) | ((self.kinds[day] == 1) & (hour > 13.6))
        who[closed] = np.array(self.on_call)[day[closed], random.integers(0, 11, closed.sum())]
        return sent(at, who, who)

    def patients(self, at: np.ndarray) -> Sent:
        return sent(at, ANYBODY, (PATIENTS * self.random.random(len(at)) ** 2).astype(int))

    def by_portal(self, e: int) -> Sent:
        """Patients; of what is public also crawlers, and one who copies it."""
        parts = [self.patients(self.some(e, 30))]
        if self.path[e].startswith("/v1/pharmacies/"):
            crawled = self.scraped(self.rate[e], 0.08)
            parts.append(sent(crawled, ANYBODY, self.random.integers(CRAWLERS, SCRAPER, len(crawled))))
            parts.append(sent(self.scraped(self.rate[e], 0.04), ANYBODY, SCRAPER))
        return joined(parts)

    def by_order(self, e: int) -> Sent:
        """What pharmacies do before a cut-off; what is on stock they also ask while somebody waits."""
        mixed = 0.55 if self.path[e] == "/v1/availability" else 0
        shape = mixed * self.shape["counter"] + (1 - mixed) * self.shape["cut-off"]
        return self.pharmacies(arrivals(self.random, self.rate[e] * self.factor[e] * shape))

    def batches(self) -> None:
        """Who sends claims each night, from which second on: what was sold that day, and what was left of the month at its end."""
        day, who = np.divmod(np.arange(PHARMACIES * (self.days + 1)) - PHARMACIES, PHARMACIES)
        today = np.maximum(day, 0)
        often = self.random.choice(3, len(who), p=[0.08, 0.86, 0.06])  # some forget
        sold = self.volume[today] * self.size[who] * often
        sold[(self.kinds[today] == 2) & (np.array(self.on_call)[today] != who[:, None]).all(axis=1)] = 0
        sold *= np.select([day == 8, day == 9], [3.5, 1.8], 1)
        self.sending = (day * DAY + self.habit[who] + self.random.exponential(3, len(who))) * 60, who, sold

    def by_claim(self, e: int) -> Sent:
        """One claim after the other; what is sent, or asked, about all of them comes more slowly."""
        begin, who, weight = self.sending
        weight, slowest = (weight, 5) if self.path[e] == "/v1/claims" else (weight > 0, 90)
        count = self.random.poisson(weight / weight.sum() * self.rate[e] * self.minutes)
        number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        at = np.repeat(begin, count) + number * np.repeat(self.random.uniform(0.3, 1, len(begin)) * slowest, count)
        whose = np.repeat(who, count)
        return sent(at + self.random.exponential(0.5, len(at)), whose, whose)

    def by_master(self, e: int) -> Sent:
        """What articles and prices changed: every night; all of the list when it is new."""
        by_day = arrivals(self.random, 0.2 * self.rate[e] * self.shape["counter"])
        new_list = self.session(9 * DAY + 5, 220, 8 * self.rate[e])
        at = np.concatenate([self.nightly(self.rate[e] * 0.8, 225, 6, 70, 110), by_day, new_list])
        who = self.random.choice(PHARMACIES, len(at))
        return sent(at, who, who)

    def by_supplier(self, e: int) -> Sent:
        """What a wholesaler has on stock, in parts, every quarter of an hour while it works."""
        random, parts = self.random, []
        until = np.array([20, 13, 0, 20])[self.kinds]
        for who in range(WHOLESALER, INSURER):
            at = ticks(random, 900, 0.03, self.minutes * 60)
            day, hour = np.clip(at // 86_400, 0, self.days - 1).astype(int), at % 86_400 / 3600
            at = at[(hour >= 5) & (hour < until[day])]
            size = np.maximum(self.rate[e] * self.minutes / WHOLESALERS / len(at), 1.01)
            parts.append(sent(packs(random, at, size, 12), who, who))
        return joined(parts)

    def by_hooks(self, e: int) -> Sent:
        """What insurers decided: most of it in the morning, some together."""
        hour, day = self.minute % DAY / 60, self.minute // DAY
        level = np.array([1, 0.35, 0.12, 1])[self.kinds][day]
        shape = level * (0.08 + 1.6 * peak(hour, 8, 1.6) + 0.6 * peak(hour, 14, 2.5))
        at = packs(self.random, arrivals(self.random, self.rate[e] / 4 * shape / shape.mean()), 4, 6)
        who = INSURER + self.random.choice(INSURERS, len(at), p=[0.3, 0.25, 0.2, 0.12, 0.08, 0.05])
        return sent(delayed(self.random, at, self.held), who, who)

    def by_poll(self, e: int) -> Sent:
        """Computers with the third software ask every few minutes; two in five of them at all times."""
        random, asking, parts = self.random, np.flatnonzero(self.software == 2), []
        for who in asking:
            at = ticks(random, 60 * 0.6 * len(asking) / self.rate[e], 0.02, self.minutes * 60)
            closed = self.kinds[np.clip(at // 86_400, 0, self.days - 1).astype(int)] == 2
            on = (at % 86_400 > 27_000) & (at % 86_400 < 70_000) & ~closed | (random.random() < 0.4)
            parts.append(sent(at[on], who, who))
        return self.kept(joined(parts), self.factor[e])

    def answered(self, calls: Calls) -> Calls:
        """Sets status and ms as they are on ordinary days."""
        random, e, minute = self.random, calls.endpoint, (calls.at // 60).astype(int)
        _, used = self.scaled(calls, 5, 1.2)
        status = self.usually(calls, self.answers, 400, 2)
        draw, day = random.random(len(calls)), (calls.at // 86_400).astype(int)
        for path, who, code, share in HABITS:
            if path in self.path:
                status[(e == self.path.index(path)) & (calls.who == who) & (draw < share)] = code
        wrong = random.random((self.days, len(CONSUMERS))) < 0.012  # half of what is sent in that night
        status[(e == self.path.index("/v1/claims")) & wrong[day, calls.who] & (draw < 0.5)] = 422
        down = np.isin(e, self.of("erx")) & (minute >= MAINTENANCE[0]) & (minute < MAINTENANCE[1])
        status[down & (random.random(len(calls)) < 0.7)] = 503
        bad = random.random(len(calls)) < self.never_good[e] + self.failing[e, minute]
        status[bad] = random.choice([500, 502, 503], bad.sum())
        self.fall_over(calls, status, calls.instance, 502, 0.8)
        ms = self.takes(calls, used, 0.15)
        with_tail(random, ms, 1.7)
        self.slow_neighbours(calls, ms, calls.instance)
        ms = refused_sooner(random, status, ms, [400, 401, 403, 404, 409, 422])
        calls.status, calls.ms = np.where(ms > self.limit[e], 504, status), np.minimum(ms, self.limit[e] + random.exponential(2, len(ms)))  # fmt: skip
        return calls

    def again(self, calls: Calls, failed: np.ndarray, fault: Fault | None) -> Calls:
        """What is sent once more; whoever cannot reach a wholesaler asks another."""
        more = planted.tried_again(self.random, self, calls, failed, fault, 0.5, (0.8, 1.6), self.gate)
        return more.where((more.at >= 0) & (more.at < self.minutes * 60))

    def logged(self, calls: Calls, random: np.random.Generator) -> pl.DataFrame:
        """at, order and line of the calls that are in the log."""
        calls = self.without_holes(calls, calls.gate)
        e, n, clients = calls.endpoint, len(calls), range(PATIENTS)
        agents = [AGENTS[i] for i in self.software] + [f"{name}-edi/3.1" for name in CONSUMERS[WHOLESALER:INSURER]]
        agents += ["kk-connect/2.8"] * INSURERS + [BROWSERS[i % 4] for i in clients] + [CRAWLER] * 20 + [BROWSERS[3], PROBE]  # fmt: skip
        ips = [f"10.{40 + i % 3}.{i}.17" for i in range(ANYBODY)]
        ips += [f"84.{133 + i % 50}.{i // 50}.{1 + i * 7 % 250}" for i in clients] + [f"66.249.66.{i}" for i in range(1, 21)] + ["193.27.14.9", "10.2.0.4"]  # fmt: skip
        seat = np.where(calls.who == ANYBODY, ANYBODY + calls.client, calls.who)
        upstreams = [*self.services, *(f"wholesale-{name[3:]}" for name in CONSUMERS[WHOLESALER:INSURER])]
        upstream = np.where(np.isin(e, self.of("wholesale")), len(self.services) + calls.instance, self.of_service[e])
        before, _, after = zip(*(path.partition("{id}") for path in self.path), strict=True)
        number, pool = random.integers(10**8, 10**15, 20_000), random.integers(0, 20_000, n)
        dotted = [f"{i % 10**14:014d}" for i in number]
        names = [f"160.{i[:3]}.{i[3:6]}.{i[6:9]}.{i[9:12]}.{i[12:]}" for i in dotted] + [i[:8] for i in dotted]
        names += [f"{i * 7919 % 2**32:08x}-{i % 65_521:04x}-4{i % 4093:03x}-a{i % 4091:03x}-{i % 2**48:012x}" for i in number]  # fmt: skip
        first = np.array([40_000 if "order" in path else 20_000 * ("prescr" not in path) for path in self.path])
        name = np.where(np.array(["{id}" in path for path in self.path])[e], first[e] + pool, len(names))
        size = np.exp(random.normal(7, 0.8, self.endpoints)[e] + random.normal(0, 0.3, n))
        size *= self.bigger[self.of_service[e], (calls.at // 60).astype(int)]
        done = self.t0 + calls.at + calls.ms / 1000
        asked = ["?radius=5" if path.endswith("/nearby") else "?q=" * path.endswith("/search") for path in self.path]

        def texts(of: Any, rows: np.ndarray) -> pl.Series:
            return pl.Series(of, dtype=pl.String).gather(rows)

        parts = pl.DataFrame({
            "ip": texts(ips, seat), "user": texts(CONSUMERS, calls.who), "method": texts(self.method, e), "before": texts(before, e),
            "name": texts([*names, ""], name), "after": texts(after, e), "asked": texts(asked, e), "agent": texts(agents, seat),
            "upstream": texts(upstreams, upstream), "node": texts(GATES, calls.gate), "status": calls.status,
            "size": np.where(np.isin(calls.status, [204, 304]), 0, np.where(calls.status >= 400, 160, size)).astype(int),
            "at": self.t0 + calls.at, "order": done + self.late(calls, calls.gate, random.exponential(0.05, n)), "done": done, "s": calls.ms / 1000,
        })  # fmt: skip
        when = pl.from_epoch((pl.col("done") + 7200).cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%S+02:00")
        seconds = [(pl.col(name) + 0.0005).cast(pl.Decimal(14, 3)).cast(pl.String) for name in ("done", "s")]
        form = '{} - {} [{}] "{} {}{}{}{} HTTP/1.1" {} {} "-" "{}" {} {} {} {}'
        line = pl.format(form, "ip", "user", when, "method", "before", "name", "after", "asked", "status", "size", "agent", *seconds, "upstream", "node")  # fmt: skip
        return parts.select("at", "order", line=line)


def usable(kind: str, network: Network, quiet: Split) -> list[int]:
    """Endpoints that a kind of fault can be on."""
    per_day = np.array([len(rows) for rows in quiet.rows]) / network.days
    able = [e for e in range(network.endpoints) if network.kind[e] != "probe"]
    if kind == "low_traffic_fail":
        return sorted(able, key=lambda e: per_day[e])[:6]
    callers = {
        "auth_failure": ("counter", "order", "poll", "portal"), "rate_limit": ("order", "supplier", "export"),
        "traffic_drop": ("counter", "portal", "order", "claim", "poll"), "silence": ("supplier", "hooks", "counter", "poll", "duty"),
        "traffic_spike": ("counter", "portal", "duty", "poll"),
    }.get(kind, network.kind)  # fmt: skip
    methods = ("POST", "PUT") if kind == "validation_regression" else network.method
    able = [e for e in able if network.kind[e] in callers and network.method[e] in methods and per_day[e] > 250]
    return [e for e in able if kind not in planted.COUNTED or not network.path[e].startswith("/v2/")]  # that is growing


def drawn(network: Network, quiet: Split, others: list[Fault], kind: str, grade: str, length: int) -> Fault | None:
    """A fault somewhere in the calls without faults; None: it came to lie badly."""
    random = network.random
    fault = Trouble(kind, grade, [], [], strength=STRENGTH[grade])
    first = planted.place(random, fault, length, network, quiet, usable(kind, network, quiet))
    if first is None:
        return None
    e, who = int(quiet.calls.endpoint[first]), int(quiet.calls.who[first])
    if kind == "node_outage":
        fault.gate, fault.endpoints = int(random.integers(len(GATES))), list(range(network.endpoints))
    elif kind == "upstream_timeout":
        fault.upstream = network.service[e]
        if network.service[e] == "wholesale":  # one wholesaler's interface
            fault.instance = int(quiet.calls.instance[first])
            fault.upstream = f"wholesale-{CONSUMERS[WHOLESALER + fault.instance][3:]}"
    elif len(fault.endpoints) > 3:
        fault.endpoints = sorted({e, *(int(one) for one in random.choice(fault.endpoints, 2, replace=False))})
    fault.code = planted.answer(random, kind, network.answers[e])
    if who < PHARMACIES and random.random() < {"auth_failure": 0.6, "validation_regression": 0.9}.get(kind, 0):
        fault.members = np.flatnonzero(network.software == network.software[who]).tolist()  # a release, a certificate  # fmt: skip
    else:
        planted.of_one_consumer(random, fault, quiet, first, True, ANYBODY)
    if kind in ("latency_drift", "node_outage"):
        moments = quiet.of(fault.endpoints).at
        if (fault.inside(moments) & (moments >= planted.drifted(fault))).sum() < 300:
            return None
    return fault if planted.stands(fault, network, quiet, others) else None


def struck(network: Network, calls: Calls, fault: Fault) -> Calls:
    """The calls with a fault."""
    random = network.random
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in planted.COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in planted.SLOW:
        planted.slow_down(random, calls, fault, inside, draw, 29_000)
        return calls
    bad = np.clip(random.lognormal(-0.04, 0.3, 512), 0.4, 1.8)  # it is worse in some minutes than in others
    hit = np.flatnonzero(inside & (draw < fault.share * bad[(calls.at // 180).astype(int) % 512]))
    if fault.kind == "rate_limit":
        return planted.refuse(random, calls, fault, inside, hit)
    planted.fail(random, calls, hit, fault.code)
    return calls if fault.code < 500 else calls.and_those(network.again(calls, hit, fault))


def z_of_mean(fault: Fault, at: np.ndarray, values: np.ndarray, here: np.ndarray) -> tuple[float, float]:
    """As planted.py has it; where a fault is there once, beside what is usual in its hours of the day, and in one before and after."""
    length = fault.spans[0][1] - fault.start if len(fault.spans) == 1 else 86_400
    such = (at - fault.start + 3600) % 86_400 < length + 7200
    return planted.z_of_mean(fault, at[such], values[such], here)


def z_of_count(fault: Fault, at: np.ndarray, count: int) -> float:
    """How far a count lies from those of the same hours of other days alike, in their standard deviations and Poisson's.

    at: moments of the calls without faults. Days are as large as their other hours, and differ by 8 % at least (17 % where one alone is alike).
    """
    own = int(fault.start // 86_400)
    others = [day for day in range(int(at.max() // 86_400) + 1) if day != own and kind_of_day(day) == kind_of_day(own)]

    def counted(day: int) -> tuple[int, int]:
        inside = fault.inside(at - (day - own) * 86_400)
        return int(inside.sum()), int(((at // 86_400 == day) & ~inside).sum())

    rest = counted(own)[1]
    seen = [here * rest / beside for here, beside in map(counted, others) if here and beside]
    if not seen:
        return 0.0
    mean = float(np.mean(seen))
    spread = max(float(np.std(seen, ddof=1)) / mean, 0.08) if len(seen) > 1 else 0.17
    return float(max(abs(count / mean - 1), -np.log((count + 1) / (mean + 1))) / np.sqrt(1 / mean + spread**2))


def graded(fault: Fault, network: Network, quiet: Split, loud: Split) -> None:
    """Sets a fault's figures, and the grade that they show: what the endpoints' own calls were, with it and without."""

    def look(one: Fault) -> Figures:
        usual, here = quiet.of(one.endpoints), loud.of(one.endpoints)
        ordinary = usual.where(~network.excepted(one.endpoints, usual.at))
        usual, here = usual.where(one.inside(usual.at)), here.where(one.inside(here.at))
        z_mean, z_count = partial(z_of_mean, one), partial(z_of_count, one)
        return planted.figures(one, ordinary, here, usual, planted.drifted(one), z_mean, z_count)

    planted.measure(fault, dict.fromkeys(planted.GRADES, 8), look)
    more, times = fault.during - fault.usual, (fault.during + 1) / (fault.usual + 1)
    shares, fault.grade = fault.code is not None or fault.kind == "latency_tail", "hard"
    for grade in ("medium", "easy"):
        z, calls, added, factor = SHOWN[grade]
        grown = more >= added if shares else max(times, 1 / times) >= factor ** (1 + (fault.kind in planted.COUNTED))
        if fault.z >= z and fault.affected >= calls and grown:
            fault.grade = grade
