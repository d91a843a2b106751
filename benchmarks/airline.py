"""A sixth kind of world, by an author who has not read the detector: an airline's platform behind Traefik in Kubernetes.

    python benchmarks/detection.py airline:1 quiet-airline:1

Travellers of three regions (Madrid, New York, Singapore), travel agencies and airports that poll, freight trackers that report on the
full ten minutes, offices, and nightly batches call eleven services. The log is Traefik's JSON behind a syslog header whose host is the
pod; pods come and go with the load, and all are renamed by a rollout. Traffic is compound: a traveller's click repeats, gates push
thousands of phones at once, pollers have period, phase and jitter. Latency is a mixture (cache warm or cold, a Pareto tail, garbage
collection that stops one pod), waits in a queue as the service fills, and wanders. What failed is tried again with jitter.

No fault are: Easter in Europe only, summer time in Europe only, month-end settlement, storms of pushes, deployments (a few 503, cold caches),
a cache that is made larger, quotas that one agency fills by the end of most hours, tokens that run out, monitoring, scanners,
blips of a minute, a pod whose clock is ahead, a hole in the log. What somebody on call may have liked to hear of is `ambiguous`.

Grades are what a person sees in the raw data: easy at a glance, medium on a chart of the endpoint, hard only beside last week's.
A fault is detectable when its window stands out of the windows of the same length of the same calls in the world without faults: the share
of failed or slow calls, or mean log latency, with z >= 5; the number of calls by 2.5 Poisson deviations beyond the fewest or most at that
time of day (an hour around) on weekdays or weekends like it. At least 5 calls failed, or 20 were hit otherwise.
Seeds 1, 2 and 101 are for building, 201 and 202 are held out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from calls import Columns, arrivals, label, ornstein, ticks
from worlds import DAY, SIGNAL, World

WEDNESDAY = 1_774_396_800  # 2026-03-25T00:00:00Z: summer time on day 4, month-end on day 6, Good Friday on day 9, Easter Monday on day 12
MONTH_END, EASTER = 6, range(9, 13)
REGIONS = {"eu": 1.0, "us": -4.0, "asia": 8.0}  # hours before UTC in winter (us: already in summer time)
SHARE_OF_REGION = {"eu": 0.5, "us": 0.28, "asia": 0.22}

#: service, method, path, calls per minute, median ms, whose calls, what is answered beside 200 although nothing is wrong
ROUTES: list[tuple[str, str, str, float, float, str, dict[int, float]]] = [
    ("offers", "GET", "/v1/offers/search", 8.0, 240, "people", {400: 0.012, 404: 0.004}),
    ("flights", "GET", "/v1/flights/{id}/status", 7.0, 22, "phones", {404: 0.01, 304: 0.2}),
    ("offers", "GET", "/v1/availability", 9.0, 60, "polls", {429: 0.0, 401: 0.002}),
    ("bookings", "GET", "/v1/bookings/{id}", 4.0, 55, "people", {404: 0.02, 401: 0.01}),
    ("bookings", "POST", "/v1/bookings", 0.9, 420, "people", {409: 0.02, 422: 0.015}),
    ("checkin", "POST", "/v1/checkins", 1.1, 180, "people", {409: 0.03, 422: 0.01}),
    ("checkin", "GET", "/v1/boarding-passes/{id}", 3.0, 35, "phones", {404: 0.008, 401: 0.006}),
    ("payments", "POST", "/v1/payments", 0.8, 800, "people", {402: 0.05, 400: 0.01}),
    ("payments", "GET", "/v1/payments/{id}", 0.7, 70, "people", {404: 0.01}),
    ("cargo", "POST", "/v1/shipments/{id}/events", 5.0, 28, "trackers", {400: 0.003}),
    ("cargo", "GET", "/v1/shipments/{id}", 1.2, 48, "polls", {404: 0.03}),
    ("loyalty", "GET", "/v1/members/{id}", 2.0, 40, "people", {401: 0.02}),
    ("loyalty", "POST", "/v1/members/{id}/redemptions", 0.06, 350, "people", {409: 0.04, 422: 0.03}),
    ("identity", "POST", "/v1/token", 2.5, 90, "people", {401: 0.04, 400: 0.004}),
    ("airports", "GET", "/v1/airports/departures", 3.0, 18, "polls", {}),
    ("airports", "POST", "/v1/airports/{id}/gates", 0.5, 66, "office", {409: 0.01}),
    ("crew", "GET", "/v1/crew/rosters/{id}", 0.9, 130, "office", {403: 0.01, 404: 0.01}),
    ("crew", "PUT", "/v1/crew/rosters/{id}", 0.12, 260, "office", {409: 0.03}),
    ("offers", "POST", "/v1/quotes", 0.6, 510, "people", {422: 0.02}),
    ("notify", "POST", "/v1/subscriptions", 0.3, 45, "people", {400: 0.01}),
    ("notify", "DELETE", "/v1/subscriptions/{id}", 0.05, 40, "people", {404: 0.05}),
    ("bookings", "DELETE", "/v1/bookings/{id}", 0.07, 300, "people", {409: 0.05}),
    ("bookings", "PUT", "/v1/bookings/{id}/seats", 0.5, 160, "people", {409: 0.06}),
    ("flights", "GET", "/v1/flights/{id}/seatmap", 1.3, 85, "people", {404: 0.01}),
    ("flights", "GET", "/v1/flights/changes", 2.4, 33, "polls", {304: 0.5}),
    ("cargo", "POST", "/v1/manifests", 0.25, 900, "batch", {422: 0.02}),
    ("payments", "POST", "/v1/settlements", 0.35, 1500, "batch", {409: 0.004}),
    ("payments", "POST", "/v1/refunds", 0.05, 640, "office", {422: 0.03}),
    ("loyalty", "GET", "/v1/members/{id}/miles", 0.9, 52, "phones", {401: 0.01}),
    ("identity", "GET", "/v1/keys", 1.0, 6, "polls", {}),
    ("crew", "POST", "/v1/crew/duty-reports", 0.03, 210, "office", {400: 0.02}),
    ("bookings", "POST", "/v1/groups", 0.02, 700, "office", {422: 0.06}),
    ("checkin", "GET", "/v1/baggage/{id}", 0.6, 120, "people", {404: 0.06}),
    ("checkin", "POST", "/v1/baggage/claims", 0.03, 330, "people", {422: 0.04}),
    ("airports", "GET", "/v1/airports/{id}/queues", 0.4, 25, "phones", {}),
    ("flights", "PUT", "/v1/flights/{id}/delays", 0.15, 75, "office", {403: 0.01}),
    ("notify", "POST", "/v1/pushes", 0.2, 110, "office", {}),
    ("cargo", "GET", "/v1/rates", 0.3, 95, "office", {400: 0.02}),
    ("loyalty", "GET", "/v1/partners", 0.5, 14, "polls", {}),
    ("health", "GET", "/v1/ping", 2.0, 2, "monitor", {}),
    ("offers", "GET", "/v1/calendar", 1.5, 130, "people", {400: 0.008}),
    ("crew", "GET", "/v1/crew/hotels", 0.08, 150, "office", {}),
]
CACHED = {"/v1/offers/search", "/v1/calendar", "/v1/flights/{id}/seatmap", "/v1/flights/{id}/status", "/v1/partners"}
CLIENTS = {
    "people": (["web", "ios-app", "android-app", "kiosk-bcn", "call-center"], [0.44, 0.27, 0.2, 0.05, 0.04]),
    "phones": (["ios-app", "android-app", "web"], [0.52, 0.42, 0.06]),
    "office": (["ops-desk", "crew-app", "call-center", "station-jfk", "station-sin"], [0.4, 0.25, 0.15, 0.1, 0.1]),
    "batch": (["settlement-job", "manifest-job"], [0.6, 0.4]),
    "trackers": (["tracker-gw-1", "tracker-gw-2"], [0.6, 0.4]),
    "monitor": (["synthetics"], [1.0]),
}
AGENCIES = [f"agency-{name}" for name in ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "hazel")]
CONSUMERS = sorted({name for names, _ in CLIENTS.values() for name in names} | {*AGENCIES, "-"})

#: Share of calls that fail; factor on latency; share of calls in the tail; what is left of traffic; factor on traffic.
FAILS = {"easy": 0.6, "medium": 0.2, "hard": 0.06}
SLOWER = {"easy": 3.0, "medium": 1.8, "hard": 1.35}
IN_TAIL = {"easy": 0.25, "medium": 0.1, "hard": 0.04}
LEFT = {"easy": 0.05, "medium": 0.35, "hard": 0.6}
MORE = {"easy": 6.0, "medium": 2.5, "hard": 1.8}
GRADES = ("easy", "medium", "hard")
#: kind, how often, median length in minutes
KINDS = [
    ("recurring", 1, 25), ("latency_drift", 1, 3600), ("error_burst", 3, 40), ("upstream_timeout", 2, 30), ("latency_step", 3, 100), ("latency_tail", 2, 150),
    ("auth_failure", 2, 90), ("rate_limit", 2, 90), ("traffic_drop", 2, 100), ("traffic_spike", 2, 80), ("silence", 1, 200), ("new_code", 1, 240),
    ("validation_regression", 1, 600), ("node_outage", 1, 20), ("low_traffic_fail", 2, 900),
]  # fmt: skip


@dataclass
class Calls(Columns):
    """One entry per call: seconds since the world's beginning, numbers of endpoint, consumer and pod, status, ms."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    pod: np.ndarray
    status: np.ndarray
    ms: np.ndarray


@dataclass
class Fault:
    kind: str
    grade: str
    start: float  # seconds since the world's beginning
    end: float
    endpoints: list[int]
    code: int | None = None
    upstream: str | None = None
    consumer: str | None = None
    node: str | None = None
    spans: list[tuple[float, float]] = field(default_factory=list)  # when it is there
    affected: int = 0
    z: float = 0.0

    def holds(self, calls: Calls, world: Airline) -> np.ndarray:
        """Which calls are of its endpoints, consumer and pod, at any time."""
        mine = np.isin(calls.endpoint, self.endpoints)
        if self.consumer is not None:
            mine &= calls.consumer == CONSUMERS.index(self.consumer)
        if self.node is not None:
            mine &= calls.pod == world.pods.index(self.node)
        return mine

    def lasts(self, at: np.ndarray) -> np.ndarray:
        return np.any([(at >= start) & (at < end) for start, end in self.spans], axis=0)


class Airline:
    """What a seed decides before anybody calls."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, calls_per_minute: float) -> None:
        self.random, self.days, self.minutes = random, days, days * DAY
        routes = [ROUTES[i % len(ROUTES)] for i in range(endpoints)]
        self.rate = np.array([route[3] for route in routes]) * random.lognormal(0, 0.35, endpoints)
        self.rate *= calls_per_minute / self.rate.sum()
        self.median = np.array([route[4] for route in routes]) * random.lognormal(0, 0.2, endpoints)
        self.service = [route[0] for route in routes]
        self.kind = np.array([route[5] for route in routes])
        self.codes = [route[6] for route in routes]
        self.method = [route[1] for route in routes]
        self.paths = [route[2].replace("/v1", f"/v{1 + i // len(ROUTES)}") for i, route in enumerate(routes)]
        self.cached = np.array([route[2] in CACHED for route in routes])
        self.services = sorted(set(self.service))
        self.of_service = np.array([self.services.index(name) for name in self.service])
        self.events: list[dict] = []
        self.ambiguous: list[dict] = []
        self._pods()
        # what wanders: one path per service, minutes
        self.wander = np.stack([ornstein(random, self.minutes, 300, 0.09) for _ in self.services])
        self.deployed = [
            (float(random.uniform(0.3, days - 0.2) * DAY * 60), s)
            for s in range(len(self.services))
            for _ in range(random.poisson(1.6 * days / 14))
        ]
        for at, s in self.deployed:
            self.tell("deployment", at, at + 900, np.flatnonzero(self.of_service == s), open_to=False)

    def tell(self, what: str, start: float, end: float, endpoints: np.ndarray, *, open_to: bool) -> None:
        """Note an event; open_to: somebody on call may have liked to hear of it."""
        event = {
            "what": what,
            "start": WEDNESDAY + int(start),
            "end": WEDNESDAY + int(end),
            "endpoints": [int(e) for e in endpoints],
        }
        self.events.append(event)
        if open_to:
            self.ambiguous.append(event)

    def _pods(self) -> None:
        """pods: names; in_slot: number of the pod in each of four slots by hour (-1: none); a rollout renames all."""
        hours = self.days * 24
        self.pods: list[str] = []
        self.in_slot = np.full((4, hours), -1)
        rollout = int(self.random.uniform(0.35, 0.6) * hours)
        for slot in range(4):
            up = (
                np.ones(hours, bool)
                if slot < 2
                else ((np.arange(hours) % 24 >= 7 + slot) & (np.arange(hours) % 24 < 23 - slot))
            )
            for hour in np.flatnonzero(up):
                if hour == rollout or hour == 0 or not up[hour - 1]:
                    letters = "".join(self.random.choice(list("bcdfghjklmnpqrstvwxz2456789"), 5))
                    self.pods.append(f"traefik-{'6d9f7c' if hour < rollout else '5b84cd'}-{letters}")
                self.in_slot[slot, hour] = len(self.pods) - 1
        self.tell(
            "rollout of the gateway", rollout * 3600, rollout * 3600 + 900, np.arange(len(self.rate)), open_to=False
        )

    # traffic -----------------------------------------------------------------------------------------------------------------

    def traffic(self) -> Calls:
        """Who calls what and when, without answers."""
        random, minute = self.random, np.arange(self.minutes)
        growth = 1 + 0.006 * minute / DAY
        people, office = {}, {}
        for region, offset in REGIONS.items():
            summer = (minute >= 4 * DAY + 60) & (region == "eu")
            local = minute / 60 + offset + summer
            hour, day = local % 24, np.floor(local / 24).astype(int)
            weekend = np.isin((day + 2) % 7, (5, 6))
            easter = (region == "eu") & np.isin(day, EASTER)
            day_noise = np.exp(ornstein(random, self.minutes, 240, 0.07) + ornstein(random, self.minutes, 20, 0.05))
            curve = 0.08 + np.exp(-(((hour - 10.5) / 3.2) ** 2)) * 0.8 + np.exp(-(((hour - 19.5) / 2.6) ** 2))
            people[region] = curve * np.where(weekend, 1.12, 1.0) * np.where(easter, 0.8, 1.0) * growth * day_noise
            at_work = 0.12 + 0.9 / (1 + np.exp(-2.2 * (hour - 7.5))) / (1 + np.exp(1.8 * (hour - 18)))
            office[region] = at_work * np.where(weekend, 0.35, 1.0) * np.where(easter, 0.4, 1.0) * day_noise
        crowd = sum(SHARE_OF_REGION[r] * people[r] / people[r].mean() for r in REGIONS)
        desk = sum(SHARE_OF_REGION[r] * office[r] / office[r].mean() for r in REGIONS)
        waves = np.where(minute % 10 < 2, 3.2, 0.45) * (0.6 + 0.4 * np.roll(crowd, 180) / crowd.mean())
        parts: list[Calls] = []
        for e, kind in enumerate(self.kind):
            rate = self.rate[e]
            own = np.exp(ornstein(random, self.minutes, 90, 0.06))
            if kind in ("people", "phones"):
                repeats = 1.6 if kind == "people" else 1.3
                starts = arrivals(random, rate * 0.92 / repeats * crowd / crowd.mean() * own)
                more = np.repeat(starts, random.geometric(1 / repeats, len(starts)) - 1)
                at = np.concatenate([starts, more + random.exponential(50, len(more))])
            elif kind == "office":
                at = arrivals(random, rate * desk / desk.mean() * own)
            elif kind == "trackers":
                at = arrivals(random, rate * waves / waves.mean() * own)
            elif kind == "batch":
                at = self._batch(e, rate)
            elif kind == "monitor":
                at = ticks(random, 60 / rate, 0.02, self.minutes * 60)
            else:
                parts.extend(self._polls(e, rate))
                continue
            names, share = CLIENTS[kind]
            numbers = np.array([CONSUMERS.index(name) for name in names])
            parts.append(self._calls(at, e, random.choice(numbers, len(at), p=share)))
        parts.extend(self._pushes(people))
        parts.extend(self._visitors())
        calls = parts[0].and_those(*parts[1:])
        calls = calls.where((calls.at >= 0) & (calls.at < self.minutes * 60))
        return calls.where(np.argsort(calls.at, kind="stable"))

    def _calls(self, at: np.ndarray, endpoint: int | np.ndarray, consumer: int | np.ndarray) -> Calls:
        hours = np.clip(at // 3600, 0, self.days * 24 - 1).astype(int)
        slots = self.in_slot[:, hours]
        alive = (slots >= 0).sum(0)
        pod = slots[np.minimum((self.random.random(len(at)) * alive).astype(int), 3), np.arange(len(at))]
        fill = lambda value: np.broadcast_to(value, len(at)).astype(np.int64)  # noqa: E731
        return Calls(at, fill(endpoint), fill(consumer), pod, np.full(len(at), 200), np.zeros(len(at)))

    def _polls(self, e: int, rate: float) -> list[Calls]:
        """Agencies by period, phase and jitter; one has no calls at weekends, one is down now and then."""
        random = self.random
        many = int(np.clip(rate * 2, 1, len(AGENCIES)))
        share = random.dirichlet(np.full(many, 3.0))
        found = []
        for i, part in enumerate(share):
            at = ticks(random, 60 / (rate * part), 0.12, self.minutes * 60)
            if i == 2:
                at = at[~np.isin((at // 86_400 + 2) % 7, (5, 6))]
            if i == 3:
                for start in random.uniform(0, self.minutes * 60, random.poisson(self.days / 7)):
                    at = at[(at < start) | (at > start + 2400)]
            found.append(self._calls(at, e, CONSUMERS.index(AGENCIES[i])))
        return found

    def _batch(self, e: int, rate: float) -> np.ndarray:
        """A run per night and a few calls by day; more and longer at month-end."""
        random, found = self.random, [arrivals(random=self.random, rate=np.full(self.minutes, rate * 0.05))]
        begin = random.uniform(0.5, 4.0) * 3600
        for day in range(self.days):
            size = rate * DAY * 0.95 * random.lognormal(0, 0.12) * (4 if day in (MONTH_END, MONTH_END + 1) else 1)
            start = day * 86_400 + begin + random.normal(0, 240)
            length = 2400 * (size / (rate * DAY)) ** 0.5
            found.append(start + np.sort(random.beta(1.2, 2.0, random.poisson(size))) * length * 2)
            if day in (MONTH_END, MONTH_END + 1):
                self.tell("month-end", start, start + 2 * length, np.array([e]), open_to=True)
        return np.concatenate(found)

    def _pushes(self, people: dict[str, np.ndarray]) -> list[Calls]:
        """Gates and delays pushed to phones: many small ones, a few large, and one day of a snow storm."""
        random, found = self.random, []
        phones = np.flatnonzero(self.kind == "phones")
        weight = self.rate[phones] / self.rate[phones].sum()
        total = self.rate[phones].sum() * self.minutes * 0.08
        crowd = people["eu"] + people["us"]
        count = random.poisson(9 * self.days)
        when = random.choice(self.minutes, count, p=crowd / crowd.sum()) * 60.0
        size = random.lognormal(0, 0.8, count)
        for at, calls in zip(when, (size / size.sum() * total).astype(int), strict=True):
            found.append(self._opened(at, calls, phones, weight))
        storm = (random.integers(5, self.days - 1) * DAY + random.integers(700, 1000)) * 60.0
        for at in storm + np.sort(random.uniform(0, 5 * 3600, 14)):
            found.append(self._opened(at, int(total / count * random.lognormal(0.9, 0.4)), phones, weight))
        self.tell("snow storm", storm, storm + 6 * 3600, phones, open_to=True)
        return found

    def _opened(self, at: float, calls: int, phones: np.ndarray, weight: np.ndarray) -> Calls:
        names, share = CLIENTS["phones"]
        consumer = self.random.choice([CONSUMERS.index(name) for name in names], calls, p=share)
        return self._calls(
            at + self.random.gamma(1.3, 70, calls), self.random.choice(phones, calls, p=weight), consumer
        )

    def _visitors(self) -> list[Calls]:
        """Scanners try tokens on a few endpoints; anonymous, refused."""
        random, found = self.random, []
        for start in random.uniform(0, self.minutes * 60, random.poisson(4 * self.days / 14)):
            seen = random.choice(len(self.rate), 4, replace=False)
            at = start + np.sort(random.uniform(0, 500, random.integers(40, 160)))
            calls = self._calls(at, random.choice(seen, len(at)), CONSUMERS.index("-"))
            calls.status[:] = random.choice([401, 403], len(at), p=[0.8, 0.2])
            self.tell("scanner", start, start + 500, np.sort(seen), open_to=True)
            found.append(calls)
        return found

    # answers -----------------------------------------------------------------------------------------------------------------

    def answered(self, calls: Calls) -> Calls:
        """Status and ms of every call when nothing is wrong."""
        random, n = self.random, len(calls)
        minute = (calls.at // 60).astype(int)
        service = self.of_service[calls.endpoint]
        log = np.log(self.median)[calls.endpoint] + random.normal(0, 0.32, n) + self.wander[service, minute]
        # queue: 1 / (1 - load) of the service in this minute against its busiest hours
        load = np.zeros((len(self.services), self.minutes))
        np.add.at(load, (service, minute), 1)
        smooth = np.stack([np.convolve(row, np.ones(3) / 3, "same") for row in load])
        busy = np.clip(smooth / (1.6 * np.quantile(smooth, 0.99, axis=1)[:, None] + 1), 0, 0.85)
        log -= np.log(1 - busy[service, minute])
        # caches: warm with the calls of the last ten minutes, cold after a deployment; one cache is made larger midway
        recent = np.zeros((len(self.rate), self.minutes))
        np.add.at(recent, (calls.endpoint, minute), 1)
        recent = np.stack([np.convolve(row, np.ones(10), "full")[: self.minutes] for row in recent])
        warm = 0.85 * (1 - np.exp(-recent / 12))[calls.endpoint, minute]
        larger = random.choice(np.flatnonzero(self.cached))
        moved = random.uniform(0.4, 0.7) * self.minutes * 60
        warm = np.where((calls.endpoint == larger) & (calls.at > moved), np.minimum(1.1 * warm, 0.93), warm)
        self.tell("a larger cache", moved, moved + 43_200, np.array([larger]), open_to=False)
        for at, s in self.deployed:
            since = calls.at - at
            mine = (service == s) & (since >= 0) & (since < 900)
            log += np.where(mine, 0.6 * np.exp(-np.maximum(since, 0) / 240), 0)
            warm = np.where(mine, warm * np.clip(since / 900, 0.1, 1), warm)
            gone = np.flatnonzero((service == s) & (since >= 0) & (since < 90))
            calls.status[gone[random.random(len(gone)) < 0.06]] = 503
        hit = self.cached[calls.endpoint] & (random.random(n) < warm)
        log = np.where(hit, np.log(4 + 0.05 * self.median[calls.endpoint]) + random.normal(0, 0.25, n), log)
        tail = random.random(n) < 0.012
        log[tail] += random.pareto(1.7, tail.sum()).clip(0, 40) ** 0.8
        ms = np.exp(log)
        # one pod stops for garbage collection, every 40 minutes or so, for up to a second
        for pod in range(len(self.pods)):
            mine = np.flatnonzero(calls.pod == pod)
            stops = np.cumsum(random.exponential(2400, int(self.minutes / 30) + 2))
            nearest = np.searchsorted(stops, calls.at[mine])
            wait = np.where(nearest < len(stops), stops[np.minimum(nearest, len(stops) - 1)] - calls.at[mine], np.inf)
            ms[mine] += np.where(wait < 0.9, 900 - 1000 * wait, 0).clip(0)
        calls.ms = np.minimum(ms, 30_000)
        plain = calls.status == 200
        for e, codes in enumerate(self.codes):
            mine = np.flatnonzero((calls.endpoint == e) & plain)
            drawn, above = random.random(len(mine)), 0.0
            by_day = np.exp(ornstein(random, self.minutes, 600, 0.2))[minute[mine]]
            for code, share in {**codes, 500: 0.0006, 502: 0.0002}.items():
                chosen = (drawn >= above) & (drawn < above + share * by_day)
                calls.status[mine[chosen]] = code
                above = above + share * by_day
        self._blips(calls, service)
        self._quota(calls)
        return calls

    def _blips(self, calls: Calls, service: np.ndarray) -> None:
        """A minute in which some calls of one service fail, about every other day."""
        for at in self.random.uniform(0, self.minutes * 60, self.random.poisson(0.6 * self.days)):
            s, length = self.random.integers(len(self.services)), self.random.uniform(20, 80)
            low, high = np.searchsorted(calls.at, (at, at + length))
            mine = low + np.flatnonzero(service[low:high] == s)
            calls.status[mine[self.random.random(len(mine)) < 0.3]] = 503

    def _quota(self, calls: Calls) -> None:
        """One agency's plan has a quota per hour on what it polls most, a little below what it calls."""
        agency, e = CONSUMERS.index(AGENCIES[0]), self.paths.index("/v1/availability")
        mine = np.flatnonzero((calls.consumer == agency) & (calls.endpoint == e))
        hour = (calls.at[mine] // 3600).astype(int)
        first = np.searchsorted(hour, np.arange(self.days * 24 + 1))
        nth = np.arange(len(mine)) - first[hour]
        quota = np.median(np.diff(first)) * 0.985
        calls.status[mine[nth > quota]] = 429
        calls.ms[mine[nth > quota]] = 1.2

    # the log -----------------------------------------------------------------------------------------------------------------

    def logged(self, calls: Calls) -> pl.DataFrame:
        """One row per line: `at` (seconds since the epoch) and `line`; a hole of minutes, and a pod whose clock is ahead."""
        random = np.random.default_rng(len(self.pods))
        hole = random.uniform(0.5, 0.8) * self.minutes * 60
        self.tell("a hole in the log", hole, hole + 840, np.arange(len(self.rate)), open_to=True)
        calls = calls.where(((calls.at < hole) | (calls.at > hole + 840)) & (calls.at < self.minutes * 60))
        calls = calls.where(np.argsort(calls.at, kind="stable"))
        at = calls.at + np.where(calls.pod == 1, 41.0, 0.0) * (calls.at > 2 * 86_400)
        number = random.integers(10_000, 9_999_999, len(calls))
        client = pl.Series(random.integers(0, 1 << 16, len(calls)))
        names = pl.DataFrame({
            "at": WEDNESDAY + at, "endpoint": calls.endpoint, "consumer": calls.consumer, "pod": calls.pod, "status": calls.status, "ms": calls.ms,
            "number": number, "client": client,
        })  # fmt: skip
        pick = lambda column, values: pl.col(column).replace_strict(  # noqa: E731
            list(range(len(values))), list(values), return_dtype=pl.String
        )
        address = pl.format("10.{}.{}.{}", pl.col("consumer") + 20, pl.col("client") // 256, pl.col("client") % 256)
        time = pl.from_epoch((pl.col("at") * 1e6).cast(pl.Int64), "us")
        path = pl.concat_str(pick("endpoint", [p.split("{id}")[0] for p in self.paths]),
            pl.when(pick("endpoint", [str("{id}" in p) for p in self.paths]) == "True").then(pl.concat_str(
                pl.col("number").cast(pl.String), pick("endpoint", [p.partition("{id}")[2] for p in self.paths]))).otherwise(pl.lit("")))  # fmt: skip
        service = pick("endpoint", self.service)
        ns = (pl.col("ms") * 1e6).cast(pl.Int64)
        line = pl.concat_str(
            time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00 "), pick("pod", self.pods), pl.lit(' traefik[1]: {"ClientAddr":"'), address,
            pl.lit(':41782","ClientHost":"'), address, pl.lit('","ClientUsername":"'), pick("consumer", CONSUMERS),
            pl.lit('","DownstreamStatus":'), pl.col("status"), pl.lit(',"Duration":'), ns, pl.lit(',"OriginDuration":'), ns * 0.97 // 1,
            pl.lit(',"OriginStatus":'), pl.col("status"), pl.lit(',"RequestMethod":"'), pick("endpoint", self.method),
            pl.lit('","RequestPath":"'), path, pl.lit('","RequestProtocol":"HTTP/2.0","RouterName":"'), service, pl.lit('@kubernetes","ServiceName":"'),
            service, pl.lit('@kubernetes","StartUTC":"'), time.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"), pl.lit('","level":"info","msg":""}'),
        )  # fmt: skip
        return names.select("at", line=line)


# faults ----------------------------------------------------------------------------------------------------------------------


def plant(random: np.random.Generator, world: Airline, calls: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults in them, and the faults. What stands out is measured in the calls as they were."""
    faults: list[Fault] = []
    quiet = calls.copy()
    counts = np.stack([
        np.bincount((calls.at[calls.endpoint == e] // 3600).astype(int), minlength=world.days * 24) for e in range(len(world.rate))
    ])  # fmt: skip
    for kind, times, length in KINDS:
        for i in range(times):
            grade = GRADES[(i + random.integers(3)) % 3] if times < 3 else GRADES[i % 3]
            fault = _drawn(random, world, counts, kind, grade, length, faults, calls)
            if fault is not None:
                faults.append(fault)
    for fault in faults:
        calls = _done(random, world, calls, quiet, fault)
    return calls, faults


def _drawn(
    random: np.random.Generator, world: Airline, counts: np.ndarray, kind: str, grade: str, length: float, others: list[Fault], calls: Calls
) -> Fault | None:  # fmt: skip
    """A place and a time that no other fault has within half a day; null when none is found."""
    per_hour = counts.mean(1)
    steady = ~np.isin(world.kind, ("batch", "monitor"))
    busy, busier = (np.flatnonzero((per_hour > rate) & steady) for rate in (12, 30))
    sparse = np.flatnonzero((per_hour > 0.8) & (per_hour < 12))
    latest = (world.days - 0.5) * DAY
    for _ in range(60):
        minutes = min(length * random.lognormal(0, 0.4), 4 * DAY)
        begin = 4.3 * DAY
        start = max(
            (random.uniform(begin, latest - minutes) for _ in range(3)), key=lambda m: counts[busy, int(m // 60)].sum()
        )
        end = min(start + minutes, latest)
        spans, code, upstream, consumer, node = [(start * 60, end * 60)], None, None, None, None
        endpoints = [int(random.choice(busier if SIGNAL.get(kind) in ("latency", "traffic") else busy))]
        if kind == "error_burst":
            code = int(random.choice([500, 502, 503]))
        elif kind == "upstream_timeout":
            upstream, code = str(random.choice([s for s in world.services if s != "health"])), 504
            endpoints = [e for e, s in enumerate(world.service) if s == upstream]
        elif kind == "auth_failure":
            consumer, code = str(random.choice(["ios-app", "android-app", "ops-desk", *AGENCIES[:5]])), 401
            endpoints = [int(e) for e in np.unique(calls.endpoint[calls.consumer == CONSUMERS.index(consumer)])]
        elif kind == "rate_limit":
            consumer, code = str(random.choice(["web", "tracker-gw-1", *AGENCIES[1:5]])), 429
            theirs = calls.endpoint[calls.consumer == CONSUMERS.index(consumer)]
            endpoints = [int(np.bincount(theirs).argmax())]
        elif kind == "new_code":
            code = int(random.choice([410, 415, 507, 501]))
        elif kind == "validation_regression":
            code = 422 if random.random() < 0.5 else 400
            endpoints = [int(random.choice(np.flatnonzero([m in ("POST", "PUT") for m in world.method])))]
        elif kind == "low_traffic_fail":
            endpoints, code = [int(random.choice(sparse))], 500
        elif kind == "node_outage":
            node, code = world.pods[world.in_slot[random.integers(2), int(start // 60)]], 502
            endpoints = list(range(len(world.rate)))
        elif kind == "recurring":
            code, days = 503, random.integers(4, 7)
            start = random.uniform(4.3, 5.3) * DAY
            nights = [start + day * DAY + random.normal(0, 4) for day in range(days)]
            spans = [(at * 60, (at + minutes) * 60) for at in nights]
            end = min(nights[-1] + minutes, latest)
        clash = [
            o
            for o in others
            if set(o.endpoints) & set(endpoints) and o.start < (end + DAY / 2) * 60 and o.end > (start - DAY / 2) * 60
        ]
        wide = kind == "node_outage"
        if not clash or (wide and not [o for o in clash if o.start < (end + 90) * 60 and o.end > (start - 90) * 60]):
            return Fault(kind, grade, spans[0][0], end * 60, endpoints, code, upstream, consumer, node, spans)
    return None


def _done(random: np.random.Generator, world: Airline, calls: Calls, quiet: Calls, fault: Fault) -> Calls:
    """The calls with the fault in them; sets what it affected and whether it stands out."""
    mine = np.flatnonzero(fault.holds(calls, world) & fault.lasts(calls.at))
    grade, plain = fault.grade, calls.status[mine] < 400
    if fault.code is not None:
        share = FAILS[grade]
        if fault.kind in ("low_traffic_fail", "auth_failure", "node_outage"):
            share = {"easy": 0.95, "medium": 0.5, "hard": 0.2}[grade]
        elif fault.kind in ("new_code", "validation_regression"):
            share = {"easy": 0.3, "medium": 0.12, "hard": 0.04}[grade]
        if fault.kind == "rate_limit":  # the client calls more than it may
            calls = calls.and_those(_copies(random, calls.where(mine), MORE[grade] - 1))
            mine = np.flatnonzero(fault.holds(calls, world) & fault.lasts(calls.at))
            plain = calls.status[mine] < 400
        hit = mine[plain & (random.random(len(mine)) < share)]
        calls.status[hit] = fault.code
        calls.ms[hit] = calls.ms[hit] * random.uniform(0.2, 0.8, len(hit))
        if fault.kind == "upstream_timeout":  # the first wait in vain, then a breaker answers at once for a while
            opened = (calls.at[hit] // 30) % 4 != 0
            wait = random.random(len(hit)) < 0.5
            calls.ms[hit] = np.where(opened & ~wait, 1.5, 10_000 + random.exponential(40, len(hit)))
            calls.status[hit[opened & ~wait]] = 503
        # tried again after about 1, 2 and 4 seconds, and failing again with the same share
        again = hit if fault.code >= 500 or fault.code == 429 else hit[:0]
        for pause in (1.0, 2.0, 4.0):
            again = again[random.random(len(again)) < 0.6]
            retried = calls.where(again)
            retried.at = retried.at + pause * random.uniform(0.5, 1.5, len(again))
            fails = random.random(len(again)) < share
            retried.status = np.where(fails, retried.status, 200)
            retried.ms = np.where(
                fails, retried.ms, world.median[retried.endpoint] * random.lognormal(0, 0.3, len(again))
            )
            first = len(calls)
            calls = calls.and_those(retried)
            again = first + np.flatnonzero(fails)
        codes = (503, 504) if fault.kind == "upstream_timeout" else (fault.code,)
        failed = lambda those: np.isin(those.status, codes)  # noqa: E731
        slot = fault.holds(calls, world) & fault.lasts(calls.at)
        fault.affected = int((slot & failed(calls)).sum())
        fault.z = (
            _stands_out(fault, world, calls, quiet, lambda those: failed(those).astype(float), "share")
            if fault.affected >= 5
            else 0.0
        )
        per_endpoint = np.bincount(calls.endpoint[slot & failed(calls)], minlength=len(world.rate))
        if len(fault.endpoints) > 1:
            fault.endpoints = [e for e in fault.endpoints if per_endpoint[e] >= 2]
    elif fault.kind.startswith("latency"):
        if fault.kind == "latency_step":
            hit, factor = mine, SLOWER[grade] * random.lognormal(0, 0.05, len(mine))
        elif fault.kind == "latency_tail":
            hit = mine[random.random(len(mine)) < IN_TAIL[grade]]
            factor = 6 + random.pareto(2.0, len(hit)) * 4
        else:
            hit = mine
            way = ((calls.at[mine] - fault.start) / (fault.end - fault.start)) ** 1.2
            factor = np.exp(way * np.log(SLOWER[grade] * 0.85))
        calls.ms[hit] = np.minimum(calls.ms[hit] * factor, 30_000)
        fault.affected = len(hit)
        tail = {e: np.quantile(quiet.ms[quiet.endpoint == e], 0.97) for e in fault.endpoints}
        value = (
            (lambda those: (those.ms > tail[fault.endpoints[0]]).astype(float))
            if fault.kind == "latency_tail"
            else (lambda those: np.log(those.ms))
        )
        fault.z = _stands_out(fault, world, calls, quiet, value, "share") if fault.affected >= 20 else 0.0
    else:
        if fault.kind == "traffic_spike":
            more = _copies(random, calls.where(mine), MORE[grade] - 1)
            fault.affected = len(more)
            calls = calls.and_those(more)
        else:
            left = 0.0 if fault.kind == "silence" else LEFT[grade]
            gone = mine[random.random(len(mine)) >= left]
            fault.affected = len(gone)
            calls = calls.where(np.setdiff1d(np.arange(len(calls)), gone))
        fault.z = (
            _stands_out(fault, world, calls, quiet, lambda those: np.ones(len(those)), "count")
            if fault.affected >= 20
            else 0.0
        )
    return calls


def _copies(random: np.random.Generator, calls: Calls, times: float) -> Calls:
    """So many times as many calls again, within a minute or two of those there are."""
    more = calls.where(np.repeat(np.arange(len(calls)), random.poisson(times, len(calls))))
    more.at = more.at + random.normal(0, 40, len(more))
    return more


def _stands_out(fault: Fault, world: Airline, calls: Calls, quiet: Calls, value, how: str) -> float:
    """z of the fault's window among those of its length without faults: of the mean (share) or the sum (count) of a value.

    Of a count: twice the Poisson deviations beyond the fewest or most. A drift is measured over its last twelve hours, a recurring fault the first time.
    """
    start, end = fault.spans[0] if fault.kind != "latency_drift" else (fault.end - 12 * 3600, fault.end)
    width = end - start
    before, after = (those.where(fault.holds(those, world)) for those in (quiet, calls))
    inside = after.where((after.at >= start) & (after.at < start + width))
    if how == "share" and not len(inside):
        return 0.0
    if how == "count":  # at that time of day, one hour around, on days of the same sort
        weekend = lambda day: (day + 2) % 7 in (5, 6)  # noqa: E731
        day0 = int(start // 86_400)
        begins = np.array([
            start + (day - day0) * 86_400 + shift for day in range(world.days) if weekend(day) == weekend(day0) for shift in (-3600, -1800, 0, 1800, 3600)
        ])  # fmt: skip
    else:
        begins = np.arange(0, world.minutes * 60 - width, width / 2)
    order = np.argsort(before.at)
    times, sums = before.at[order], np.concatenate([[0.0], np.cumsum(value(before)[order])])
    low, high = np.searchsorted(times, begins), np.searchsorted(times, begins + width)
    total, number = sums[high] - sums[low], high - low
    if how == "count":
        edge, way = (total.max(), 1) if fault.kind == "traffic_spike" else (total.min(), -1)
        return float(2 * way * (len(inside) - edge) / (edge + 1) ** 0.5)
    enough = number >= max(3, 0.2 * min(len(inside), np.median(number)))
    ratio = total[enough] / number[enough]
    own, whole = value(inside), value(before)
    mean = float(whole.mean())
    noise = max(float(whole.std()), (1 / len(whole)) ** 0.5) / len(inside) ** 0.5
    return float((own.mean() - mean) / max(float(ratio.std()) if len(ratio) > 4 else 0.0, noise))


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `airline`, or `quiet-airline` for the same one without faults. At least 20 endpoints and 9 days."""
    random = np.random.default_rng([seed, 1903])
    world = Airline(random, endpoints, days, calls_per_minute)
    calls = world.answered(world.traffic())
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = plant(random, world, calls)
    lines = world.logged(calls)
    labels = [
        label(
            number, fault, WEDNESDAY + int(fault.start), WEDNESDAY + int(fault.end), SIGNAL, endpoints=fault.endpoints, affected_calls=fault.affected,
            upstream=None if fault.upstream is None else f"{fault.upstream}@kubernetes", detectable=bool(fault.z >= 5 and fault.endpoints), figures={"z": round(fault.z, 2)},
        )
        for number, fault in enumerate(sorted(faults, key=lambda one: one.start))
    ]  # fmt: skip
    return World(
        calls=lines,
        labels={
            "t0": WEDNESDAY, "minutes": world.minutes, "faults": labels,
            "events": sorted(world.events, key=lambda one: one["start"]), "ambiguous": world.ambiguous,
        },
        catalog={
            "t0": WEDNESDAY, "minutes": world.minutes,
            "endpoints": [
                {"id": e, "method": world.method[e], "path": world.paths[e], "upstream": f"{world.service[e]}@kubernetes"} for e in range(endpoints)
            ],
        },
    )  # fmt: skip
