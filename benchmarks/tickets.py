"""The gateway of a company that sells tickets and streams concerts, with labelled faults: a world for detection.py.

On-sales at announced hours fill a waiting room; apps poll; scanners call while doors are open; resale partners poll by the clock;
payments are reconciled at night; scrapers come and go: all of that is normal. A fault's grade is measured from the calls as logged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from calls import Columns, Hinted, arrivals, label, ornstein, ticks
from worlds import World

BEGIN = 1_778_025_600  # 2026-05-06T00:00:00Z, a Wednesday: days 3, 4, 10 and 11 are weekends
HOLIDAY = 8  # Ascension Day; many take the Friday after it off
SUMMER_TIME = 120  # minutes that people and schedules are ahead of UTC
DAY, NODES = 1440, 4
SIGNAL = dict.fromkeys(("latency_step", "latency_tail", "latency_drift"), "latency")
SIGNAL |= dict.fromkeys(("traffic_drop", "traffic_silence", "traffic_spike"), "traffic")
SIGNAL |= {"auth_failure": "auth", "rate_limit": "rate_limit"}  # all others: errors
MIXES: dict[str, dict[str, float]] = {  # who calls, and how much
    "crowd": {"web": 0.45, "app-ios": 0.3, "app-android": 0.25}, "mobile": {"app-ios": 0.53, "app-android": 0.47},
    "partner": {f"resale-{i:02d}": share for i, share in enumerate((0.33, 0.24, 0.17, 0.12, 0.09, 0.05), 1)},
    "promoter": {f"promoter-{i:02d}": share for i, share in enumerate((0.3, 0.2, 0.15, 0.12, 0.09, 0.06, 0.05, 0.03), 1)},
    "gate": {"gate-arena": 5.0, "gate-hall": 2.2, "gate-opera": 1.6, "gate-club": 0.7, "gate-park": 1.8, "gate-dock": 1.0},
    "psp": {"psp-north": 0.7, "psp-south": 0.3}, "wallet": {"wallet-a": 0.6, "wallet-g": 0.4},
    "cms": {"cms": 1.0}, "recon": {"recon": 1.0}, "bot": {"-": 1.0},
}  # fmt: skip
CONSUMERS = [name for mix in MIXES.values() for name in mix]
AGENTS = {
    "web": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/147.0 Safari/537.36",
    "app-ios": "Tickets/7.12 CFNetwork/1568.3 Darwin/25.2", "app-android": "okhttp/4.12.0", "gate": "GateScan/3.4",
    "resale": "python-requests/2.32", "-": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
}  # fmt: skip
# Calls per hour of the local day, on a working day and on a free one.
RHYTHMS: dict[str, tuple[list[float], list[float]]] = {
    "browse": ([3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 13, 14, 16, 14, 12, 12, 13, 15, 18, 22, 24, 22, 15, 7], [5, 3, 2, 1, 1, 1, 2, 5, 9, 14, 18, 19, 18, 17, 17, 18, 19, 20, 21, 23, 23, 20, 14, 8]),
    "mobile": ([6, 4, 3, 3, 3, 5, 10, 16, 16, 14, 13, 14, 16, 14, 13, 14, 16, 18, 20, 21, 21, 19, 15, 9], [8, 6, 4, 3, 3, 4, 6, 10, 14, 17, 18, 18, 18, 17, 17, 17, 18, 19, 20, 21, 20, 18, 14, 10]),
    "stream": ([10, 6, 3, 2, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 9, 13, 20, 28, 31, 27, 18], [15, 10, 5, 3, 2, 1, 1, 2, 4, 6, 8, 9, 10, 11, 11, 11, 12, 14, 17, 24, 32, 35, 31, 23]),
    "office": ([0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 1, 5, 14, 20, 21, 19, 12, 16, 20, 19, 16, 9, 3, 1, 0.6, 0.4, 0.3, 0.2], [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.5, 1, 1.5, 1.8, 1.5, 1, 1, 1.2, 1.2, 1, 1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2]),
}  # fmt: skip


@dataclass
class Route:
    """One endpoint: how often, when and by whom it is called, and how it answers."""

    service: str
    method: str
    path: str
    weight: float
    rhythm: str
    mix: str
    median_ms: float
    habits: dict[int, float] = field(default_factory=dict)  # share of calls with this status, always
    sale: float = 0.0  # how strongly an on-sale pulls at it
    scraped: float = 0.0
    born_day: float = 0.0


ROUTES = [
    Route("catalog", "GET", "/v2/events", 7, "browse", "crowd", 48, {304: 0.06}, 0.8, 0.5),
    Route("catalog", "GET", "/v2/events/{id}", 9, "browse", "crowd", 35, {404: 0.012, 304: 0.08}, 1.0, 1.0),
    Route("seats", "GET", "/v2/events/{id}/seatmap", 5, "browse", "crowd", 92, {404: 0.004}, 3.0, 0.6),
    Route("queue", "GET", "/v2/queue/tokens/{id}", 4, "browse", "crowd", 9, {410: 0.015}, 7.0),
    Route("notify", "GET", "/v2/notifications", 7.5, "mobile", "mobile", 14, {304: 0.4}),
    Route("streams", "POST", "/v2/streams/{id}/heartbeat", 7, "stream", "crowd", 11, {410: 0.006}),
    Route("catalog", "GET", "/v2/search", 5, "browse", "crowd", 130, {400: 0.008}, 0.6, 0.4),
    Route("gates", "POST", "/v2/scans", 4, "gate", "gate", 24, {409: 0.03, 422: 0.015}),
    Route("partner", "GET", "/partner/v1/listings", 4.2, "poll", "partner", 75, {304: 0.3, 429: 0.012}),
    Route("accounts", "POST", "/v2/login", 1.8, "browse", "crowd", 160, {401: 0.08}, 1.2),
    Route("payments", "POST", "/v2/payments", 1.1, "browse", "crowd", 780, {402: 0.05}, 2.2),
    Route("orders", "POST", "/v2/orders", 1.2, "browse", "crowd", 210, {409: 0.01, 422: 0.012}, 2.2),
    Route("seats", "POST", "/v2/holds", 2.0, "browse", "crowd", 65, {409: 0.05}, 3.5),
    Route("orders", "GET", "/v2/orders/{id}", 2.6, "mobile", "crowd", 40, {404: 0.008}, 1.0),
    Route("promoter", "GET", "/v1/reports/sales", 0.8, "office", "promoter", 900, {400: 0.02}),
    Route("settlement", "POST", "/v1/settlements/{id}/match", 0.7, "night", "recon", 55, {409: 0.02}),
    Route("accounts", "POST", "/v2/token/refresh", 3.6, "mobile", "mobile", 28, {401: 0.02}),
    Route("accounts", "GET", "/v2/me", 3.2, "mobile", "mobile", 22, {401: 0.01}),
    Route("wallet", "GET", "/v2/passes/{id}", 1.8, "mobile", "mobile", 60, {304: 0.2, 404: 0.01}),
    Route("payments", "POST", "/hooks/psp", 1.2, "browse", "psp", 32, {409: 0.006}, 1.8),
    Route("streams", "GET", "/v2/streams/{id}/manifest", 2.2, "stream", "crowd", 52, {403: 0.012, 404: 0.006}),
    Route("streams", "POST", "/v2/licences", 1.3, "stream", "crowd", 120, {403: 0.02}),
    Route("catalog", "GET", "/v1/events/{id}", 0.8, "fading", "crowd", 70, {404: 0.03}, 0.0, 0.2),
    Route("partner", "GET", "/partner/v1/inventory/{id}", 1.8, "poll", "partner", 44, {404: 0.02, 429: 0.008}),
    Route("partner", "PUT", "/partner/v1/listings/{id}", 0.9, "mobile", "partner", 85, {409: 0.015, 422: 0.01}),
    Route("queue", "POST", "/v2/queue/tokens", 1.3, "browse", "crowd", 13, {}, 7.0),
    Route("orders", "GET", "/v2/me/orders", 2.4, "mobile", "mobile", 85, {401: 0.008}),
    Route("gates", "GET", "/v2/gates/{id}/manifest", 0.7, "gate", "gate", 310, {304: 0.35}),
    Route("wallet", "POST", "/v2/passes", 0.6, "browse", "crowd", 420, {422: 0.008}, 1.2),
    Route("streams", "GET", "/v2/streams", 1.3, "stream", "crowd", 44, {304: 0.1}),
    Route("catalog", "GET", "/v2/artists/{id}", 1.9, "browse", "crowd", 38, {404: 0.01}, 0.4, 0.5),
    Route("payments", "GET", "/v2/payments/{id}", 0.8, "browse", "crowd", 36, {404: 0.006}, 2.0),
    Route("waitlist", "GET", "/v2/waitlist/{id}", 0.9, "browse", "mobile", 33, {404: 0.02}, 0.5, 0.0, 6.4),
    Route("accounts", "PUT", "/v2/me/preferences", 0.25, "mobile", "mobile", 70, {422: 0.015}),
    Route("promoter", "GET", "/v1/reports/{id}", 0.35, "office", "promoter", 380, {404: 0.04}),
    Route("promoter", "PUT", "/v2/admin/events/{id}", 0.4, "import", "cms", 140, {409: 0.01, 422: 0.02}),
    Route("partner", "POST", "/partner/v1/sales", 0.45, "browse", "partner", 190, {409: 0.04}, 0.8),
    Route("wallet", "POST", "/hooks/wallet", 0.4, "mobile", "wallet", 26, {410: 0.04}),
    Route("orders", "POST", "/v2/orders/{id}/refunds", 0.12, "office", "crowd", 520, {409: 0.05}),
    Route("settlement", "GET", "/v1/settlements", 0.2, "night", "recon", 640, {}),
]  # fmt: skip
COUNTRIES = ["at", "ch", "nl", "be", "dk", "pl", "cz", "se"]  # where a route is offered again, in a larger world


@dataclass
class Calls(Columns):
    """One entry per call; at: seconds since the world's beginning; fault: number of the fault that spoiled it, or -1."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    status: np.ndarray
    ms: np.ndarray
    node: np.ndarray
    fault: np.ndarray


@dataclass
class Fault(Hinted):
    """strength: share of calls that fail, are slow or are missing, or a factor; affected: calls per endpoint."""

    strength: float = 0.0
    affected: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `tickets`, or `quiet-tickets` for the same one without faults. 12 to 360 endpoints, at least 8 days."""
    company = Company(np.random.default_rng([seed, 41]), endpoints, days, calls_per_minute)
    calls, faults = company.answered(), list[Fault]()
    if not profile.startswith("quiet"):
        calls, faults = Saboteur(np.random.default_rng([seed, 42]), company, calls).plant()
    calls = company.kept(tried_again(np.random.default_rng([seed, 43]), company, calls, faults))
    told = []
    for number, fault in enumerate(faults):
        hit, count = [int(e) for e in np.flatnonzero(fault.affected >= 2)], int(fault.affected.sum())
        if count:
            span, more = (BEGIN + fault.start, BEGIN + fault.end), measured(company, calls, fault, number)
            told.append(label(number, fault, *span, SIGNAL, hit, count, **more))
    frame = {"t0": BEGIN, "minutes": company.minutes}
    ambiguous = [event for event in company.events if event["ambiguous"]]
    labels = {**frame, "faults": told, "events": company.events, "ambiguous": ambiguous}
    return World(company.logged(calls), labels, {**frame, "endpoints": company.catalog})


def free(day: int) -> bool:
    """Whether a local day is a Saturday, a Sunday or the holiday."""
    return (day + 2) % 7 >= 5 or day == HOLIDAY


def at_local(day: int, hour: float) -> int:
    """Minute of an hour of a local day."""
    return int(day * DAY + hour * 60 - SUMMER_TIME)


class Company:
    """Who calls what, and how it is answered when nothing is wrong. Arrays per minute begin with the world."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, rate: float) -> None:
        self.random, self.days, self.minutes, self.events = random, days, days * DAY, []
        places = [(ROUTES[n % len(ROUTES)], ["", *COUNTRIES][n // len(ROUTES)]) for n in range(endpoints)]
        self.routes = [route for route, _ in places]
        self.paths = [f"/{country}{route.path}".replace("//", "/") for route, country in places]
        self.upstreams = [f"{route.service}-{country}".strip("-") for route, country in places]
        columns = {"id": range(endpoints), "method": [r.method for r in self.routes], "path": self.paths}
        self.catalog = pl.DataFrame({**columns, "upstream": self.upstreams}).to_dicts()
        self.logins = [e for e, path in enumerate(self.paths) if path == "/v2/login"]
        sizes = 0.6 ** (np.arange(endpoints) // len(ROUTES)) * random.lognormal(0, 0.35, endpoints)
        weights = np.array([route.weight for route in self.routes]) * sizes
        self.rates = weights / weights.sum() * rate * 0.97  # the rest is bots and tried again
        self.local = np.arange(self.minutes) + SUMMER_TIME
        self.free = np.array([free(day) for day in range(days + 1)])[self.local // DAY]
        self.sale, self.shows = self.on_sales(), self.evenings()
        self.live, self.pushes, self.scraping = self.spells()
        self.gaps, self.stuffing, self.releases = self.incidents()
        self.five_xx, self.sigma = random.uniform(0.0004, 0.004, endpoints), random.uniform(0.35, 0.7, endpoints)
        self.cached = np.array([random.uniform(0.3, 0.8) if route.scraped else 0.0 for route in self.routes])

    def event(self, what: str, start: float, end: float, endpoints: list[int], ambiguous: bool = False) -> None:
        """Note something that is no fault; start, end: minutes."""
        event = {"what": what, "endpoints": endpoints, "ambiguous": ambiguous}
        self.events.append({**event, "start": int(BEGIN + start * 60), "end": int(BEGIN + end * 60)})

    def bump(self, start: int, before: int, decay: float) -> np.ndarray:
        """Calls per minute when people gather for some minutes before a moment, and then lose interest."""
        since = np.arange(self.minutes) - start
        return np.where(since < 0, np.clip(0.5 + since / before / 2, 0, 0.5), np.exp(-np.maximum(since, 0) / decay))

    def on_sales(self) -> np.ndarray:
        """Sales begin at 10:00 on most working days and now and then at noon; one of them is larger than all others."""
        random, total = self.random, np.zeros(self.minutes)
        queued = [e for e, route in enumerate(self.routes) if route.sale >= 0.4]
        giant = int(random.choice([day for day in (5, 6, 7, 9, 12, 13) if day < self.days]))
        for day in range(self.days):
            size = random.lognormal(-1.1, 0.5) if random.random() < (0.15 if free(day) else 0.75) else 0.0
            if day in (1, 9, giant):  # large tours; the first is seen while a detector still learns
                size = 2.2 if day == giant else random.uniform(1.1, 1.4)
            start = at_local(day, 10 if random.random() < 0.75 else 12)
            total += size * self.bump(start, 12, random.uniform(18, 40))
            if size:
                self.event(f"on-sale of size {size:.1f}", start - 15, start + 180, queued, ambiguous=day == giant)
        return total

    def evenings(self) -> np.ndarray:
        """Calls of scanners per venue and minute: doors open at half past six or seven, on evenings with a show."""
        likely = [0.1, 0.35, 0.45, 0.55, 0.85, 0.95, 0.5]
        shows = np.full((len(MIXES["gate"]), self.minutes), 0.002)  # box office and tests by day
        for venue, seats in enumerate(MIXES["gate"].values()):
            doors = self.random.choice([18.3, 18.6, 19.0])
            for day in range(self.days):
                if self.random.random() < (0.8 if day == HOLIDAY else likely[(day + 2) % 7]):
                    since = np.arange(self.minutes) - at_local(day, doors + 0.75)
                    shows[venue] += seats * self.random.lognormal(-0.1, 0.25) * np.exp(-((since / 32) ** 2))
        return shows

    def spells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How much more is called per minute for a concert streamed live, after a push notification, by scrapers."""
        random, minute = self.random, np.arange(self.minutes)
        live, pushes, scraping = np.zeros(self.minutes), np.zeros(self.minutes), np.full(self.minutes, 0.06)
        for day in range(self.days):
            if (day + 2) % 7 == 5 or day == HOLIDAY - 1:  # Saturdays at nine, and the eve of the holiday
                since = minute - at_local(day, 21)
                live += random.uniform(0.9, 1.3) * np.clip((since + 15) / 20, 0, 1) * np.clip((135 - since) / 15, 0, 1)
            for _ in range(random.poisson(1.2)):
                pushes += random.uniform(0.5, 1.6) * self.bump(at_local(day, random.uniform(9.5, 20.5)), 1, 7)
            for _ in range(random.poisson(0.7)):
                since = minute - day * DAY - random.uniform(0, DAY)
                scraping += random.uniform(0.25, 0.9) * ((since >= 0) & (since < random.uniform(20, 120)))
        return live, pushes, scraping

    def incidents(self) -> tuple[list[tuple[float, float, int | None]], np.ndarray, dict[int, tuple[int, float]]]:
        """When a node's log was lost, or everybody's; passwords tried out, per minute; where latency changed a little for good."""
        random, releases, everywhere = self.random, {}, list(range(len(self.routes)))
        gaps = [
            (random.uniform(0.3, 0.97) * self.minutes, *gap) for gap in ((14, None), (45, int(random.integers(NODES))))
        ]
        for start, lasts, node in gaps:
            self.event(f"log lost, node {node}", start, start + lasts, everywhere)
        start = at_local(int(random.integers(5, self.days - 1)), random.uniform(1, 22))
        self.event("passwords tried out", start, start + 50, self.logins, ambiguous=True)
        since = np.arange(self.minutes) - start
        for e in random.choice(everywhere, len(everywhere) // 10, replace=False).tolist():
            start = at_local(int(random.integers(3, self.days - 2)), random.uniform(9.5, 15))
            releases[e] = (start, float(random.choice([0.82, 0.9, 1.06, 1.09])))
            self.event(f"release, latency times {releases[e][1]}", start, self.minutes, [e])
        return gaps, np.where((since >= 0) & (since < 50), 2.5, 0.0), releases

    def rate(self, e: int) -> np.ndarray:
        """Expected calls per minute of an endpoint, without bots; of scanners, per venue."""
        route, random, day = self.routes[e], self.random, self.local // DAY
        if route.rhythm == "gate":
            return self.rates[e] * self.shows / self.shows.sum(axis=0).mean()
        if route.rhythm == "night":
            until = 138 + random.uniform(50, 80, self.days + 1)[day]
            shape = np.where((self.local % DAY >= 138) & (self.local % DAY < until), 1, 0.01)
        else:
            named = {"import": "office", "fading": "browse"}.get(route.rhythm, route.rhythm)
            work, idle = (np.interp(self.local % DAY, np.arange(25) * 60, [*a, a[0]]) for a in RHYTHMS[named])
            bridge = np.where(day == HOLIDAY + 1, 0.6 if named == "office" else 1.05, 1.0)
            shape = np.where(self.free, idle, work) * bridge / np.mean(RHYTHMS[named][0])
        if route.rhythm == "import":
            for _ in range(random.poisson(self.days * 0.5)):
                start = at_local(int(random.integers(self.days)), random.uniform(7, 19))
                shape[start : start + int(random.uniform(10, 45))] += random.uniform(5, 14)
        shape *= (1 + 1.3 * self.live * (route.rhythm == "stream")) * (1 + self.pushes * (route.mix == "mobile"))
        shape *= (1 + route.sale * self.sale) * np.exp(ornstein(random, self.minutes, 40, 0.07))
        shape *= 1 + (-0.03 if route.rhythm == "fading" else 0.006) * np.arange(self.minutes) / DAY
        return np.where(np.arange(self.minutes) >= route.born_day * DAY, shape / shape.mean() * self.rates[e], 0.0)

    def callers(self, e: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Moments (seconds) and consumers of the calls of an endpoint."""
        route, random = self.routes[e], self.random
        numbers = np.array([CONSUMERS.index(name) for name in MIXES[route.mix]])
        shares = np.array(list(MIXES[route.mix].values())) / sum(MIXES[route.mix].values())
        if route.rhythm == "gate":
            for number, mine in zip(numbers, self.rate(e), strict=True):
                yield (moments := arrivals(random, mine)), np.full(len(moments), number)
        elif route.rhythm == "poll":
            for number, share in zip(numbers, shares, strict=True):
                moments = ticks(random, 60 / (self.rates[e] * share), 0.06, self.minutes * 60)
                for _ in range(random.poisson(self.days / 5)):  # its owner deploys
                    start, lasts = random.uniform(0, self.minutes * 60), random.uniform(300, 2400)
                    moments = moments[(moments < start) | (moments > start + lasts)]
                yield moments, np.full(len(moments), number)
        else:
            yield (moments := arrivals(random, self.rate(e))), random.choice(numbers, len(moments), p=shares)
        robots = route.scraped * self.scraping + (self.stuffing if e in self.logins else 0)
        yield (moments := arrivals(random, self.rates[e] * robots)), np.full(len(moments), CONSUMERS.index("-"))

    def answered(self) -> Calls:
        """All calls with their usual statuses and latencies."""
        parts = [(e, *part) for e in range(len(self.routes)) for part in self.callers(e)]
        at, consumer = (np.concatenate([part[field] for part in parts]) for field in (1, 2))
        endpoint = np.concatenate([np.full(len(moments), e) for e, moments, _ in parts])
        random, node = self.random, self.random.integers(0, NODES, len(at))
        calls = Calls(at, endpoint, consumer, np.full(len(at), 200), np.zeros(len(at)), node, np.full(len(at), -1))
        calls = calls.where((at >= 0) & (at < self.minutes * 60))
        minute, count = (calls.at // 60).astype(int), len(calls)
        calls.ms = self.usual_ms(random, calls)
        calls.status[random.random(count) < self.five_xx[calls.endpoint]] = 500
        for name in sorted(set(self.upstreams)):
            mine, service = np.array([up == name for up in self.upstreams])[calls.endpoint], name.split("-")[0]
            load = np.convolve(np.bincount(minute[mine], minlength=self.minutes), np.ones(5) / 5, mode="same")
            busy = np.clip(load / load.mean() - 1, 0, 8)
            steep = {"seats": 0.1, "queue": 0.03, "gates": 0.02}.get(service, 0.05)
            outside = service in ("payments", "wallet")  # somebody else's moods
            mood = ornstein(random, self.minutes, 150 if outside else 600, 0.1 if outside else 0.05)
            calls.ms[mine] *= ((1 + steep * busy) * np.exp(mood))[minute[mine]]
            for day in range(self.days):  # a rolling restart loses a few calls
                if not free(day) and random.random() < 0.35:
                    since = calls.at - at_local(day, random.uniform(9.5, 16.5)) * 60
                    calls.status[mine & (since >= 0) & (since < 80) & (random.random(count) < 0.1)] = 502
        for e, (start, factor) in self.releases.items():
            calls.ms[(calls.endpoint == e) & (minute >= start)] *= factor
        for e, route in enumerate(self.routes):
            mine = np.flatnonzero((calls.endpoint == e) & (calls.status == 200))
            for status, share in route.habits.items():
                taken = 0.3 if status == 409 and route.sale > 3 else 0.0  # somebody else was faster
                likely = share + taken * self.sale / (1 + self.sale)
                calls.status[mine[random.random(len(mine)) < likely[minute[mine]]]] = status
        by, mood = np.array(CONSUMERS)[calls.consumer], random.random(count)
        calls.status[(by == "resale-03") & (calls.status == 200) & (mood < 0.18)] = 404  # asks for what is sold out
        calls.status[(by == "promoter-05") & (mood < 0.3)] = 401  # one of its keys expired long ago
        calls.status[(by == "-") & (mood < 0.35)] = 403
        calls.status[(by == "-") & (mood > 0.8)] = 429
        calls.status[(by == "-") & np.isin(calls.endpoint, self.logins) & (mood < 0.97)] = 401
        calls.ms[np.isin(calls.status, (304, 401, 403, 404, 410, 429))] *= 0.5
        return calls

    def usual_ms(self, random: np.random.Generator, calls: Calls) -> np.ndarray:
        """Latency at no load: lognormal, faster from a cache, with a heavy tail."""
        count, tail = len(calls), random.random(len(calls)) < 0.012
        ms = np.array([route.median_ms for route in self.routes])[calls.endpoint]
        ms = ms * np.exp(random.normal(0, 1, count) * self.sigma[calls.endpoint])
        ms[random.random(count) < self.cached[calls.endpoint]] *= 0.3
        ms[tail] *= 1.5 + random.pareto(1.3, tail.sum())
        return np.clip(ms, 1, 29_000)

    def kept(self, calls: Calls) -> Calls:
        """The calls whose lines were not lost, in order."""
        calls = calls.where(np.argsort(calls.at, kind="stable"))
        lost = calls.at >= self.minutes * 60
        for start, lasts, node in self.gaps:
            then = (calls.at >= start * 60) & (calls.at < (start + lasts) * 60)
            lost |= then & ((calls.node == node) | (node is None))
        return calls.where(~lost)

    def logged(self, calls: Calls) -> pl.DataFrame:
        """at: seconds since the epoch when the answer was sent; line: as nginx writes it."""
        random, count, col = np.random.default_rng(len(calls)), len(calls), pl.col
        crowd = np.isin(np.array(CONSUMERS)[calls.consumer], [*MIXES["crowd"], "-"])
        address = np.where(crowd, random.integers(0, 9000, count), 60_000 + calls.consumer)  # programs keep theirs
        number = np.minimum(1000 + random.pareto(0.9, count) * 40, 99_999).astype(int)
        requests = [f"{route.method} {path}" for route, path in zip(self.routes, self.paths, strict=True)]
        agents = [next((AGENTS[a] for a in AGENTS if name.startswith(a)), "Java-http-client/21") for name in CONSUMERS]
        caught = (calls.consumer == CONSUMERS.index("-")) & np.isin(calls.status, (401, 403, 429))
        agent = np.where(caught, CONSUMERS.index("web"), calls.consumer)  # poses as a browser
        frame = pl.DataFrame(
            {
                "at": BEGIN + np.round(calls.at + calls.ms / 1000, 3),
                "status": calls.status, "ms": calls.ms, "id": number, "node": calls.node + 1,
                "size": (random.lognormal(6.8, 0.9, count) * np.where(calls.status < 300, 1, 0.15)).astype(int) + 90,
                "client": [f"10.{a // 62_500}.{a // 250 % 250}.{a % 250 + 1}" for a in address.tolist()],
                "consumer": pl.Series(CONSUMERS).gather(calls.consumer), "agent": pl.Series(agents).gather(agent),
                "request": pl.Series(requests).gather(calls.endpoint), "upstream": pl.Series(self.upstreams).gather(calls.endpoint),
            }
        ).sort("at")  # fmt: skip
        line = pl.format(
            '{} - {} [{}] "{} HTTP/1.1" {} {} "-" "{}" {} {} {} gw-{}', "client", "consumer",
            (col("at") * 1000).cast(pl.Int64).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            col("request").str.replace("{id}", col("id").cast(pl.String), literal=True),
            "status", "size", "agent", col("at").cast(pl.Decimal(14, 3)).cast(pl.String), (col("ms") / 1000).round(3), "upstream", "node",
        )  # fmt: skip
        return frame.select("at", line=line)


def tried_again(random: np.random.Generator, company: Company, calls: Calls, faults: list[Fault]) -> Calls:
    """The calls, and those that clients sent a second time after a failure; what still fails, fails again."""
    broken = np.isin(calls.status, (429, 500, 502, 503, 504)) & (calls.consumer != CONSUMERS.index("-"))
    again = calls.where(broken & (random.random(len(calls)) < 0.4))
    again.at = again.at + again.ms / 1000 + random.lognormal(0.7, 0.6, len(again))
    well = np.ones(len(again), dtype=bool)
    for number, fault in enumerate(faults):
        well &= (again.fault != number) | ~fault.inside(again.at) | (random.random(len(again)) > fault.strength)
    again.status[well], again.fault[well] = 200, -1
    again.ms[well] = company.usual_ms(random, again)[well]
    return calls.and_those(again)


# At most how many; minutes from and to; how strong when loud, plain or faint (of errors: not more than that); statuses.
PLANS: dict[str, tuple[int, tuple[float, float], tuple[float, float, float], tuple[int, ...]]] = {
    "node_outage": (1, (10, 35), (0.9, 0.4, 0.3), (502, 503)), "upstream_timeout": (3, (10, 50), (0.6, 0.15, 0.1), (504, 504, 502)),
    "auth_failure": (3, (60, 420), (0.95, 0.4, 0.5), (401, 403)), "rate_limit": (2, (40, 240), (0.8, 0.35, 0.5), (429,)),
    "error_burst": (4, (15, 110), (0.4, 0.1, 0.2), (500, 500, 502, 503)), "low_traffic_fail": (2, (500, 1500), (0.6, 0.2, 0.3), (500, 503)),
    "validation_regression": (2, (400, 1800), (0.3, 0.06, 0.2), (400, 422)), "new_code": (2, (180, 900), (0.2, 0.05, 0.15), (415, 423, 426, 451, 507)),
    "latency_drift": (2, (2600, 5000), (0.9, 0.45, 0.28), ()), "latency_step": (3, (60, 700), (2.0, 1.5, 1.35), ()),
    "latency_tail": (2, (60, 400), (0.25, 0.13, 0.1), ()), "traffic_drop": (2, (60, 300), (0.9, 0.65, 0.45), ()),
    "traffic_silence": (2, (60, 480), (1.2, 1.2, 1.2), ()), "traffic_spike": (2, (30, 180), (4.0, 2.5, 1.9), ()),
}  # fmt: skip


class Saboteur:
    """Plants faults in answered calls, no two of them on one endpoint within four hours."""

    def __init__(self, random: np.random.Generator, company: Company, calls: Calls) -> None:
        self.random, self.company, self.calls = random, company, calls
        self.faults: list[Fault] = []
        self.rows = [np.flatnonzero(calls.endpoint == e) for e in range(len(company.routes))]
        self.volume = np.array([len(rows) for rows in self.rows]) / company.days  # calls per day

    def plant(self) -> tuple[Calls, list[Fault]]:
        """The calls with the faults in them, and the faults in the order of planting."""
        again = self.random.permutation([kind for kind, plan in PLANS.items() for _ in range(plan[0] - 1)])
        for kind in [*PLANS, *again[self.random.integers(2, 6) :].tolist()]:
            if fault := self.arranged(kind):
                self.faults.append(fault)
        missing, more = np.zeros(len(self.calls), dtype=bool), []
        for number, fault in enumerate(self.faults):
            rows, calls = self.reached(fault), self.calls
            if fault.kind == "traffic_spike":  # one consumer sends the same again and again
                looped = calls.where(self.random.choice(rows, int(len(rows) * (fault.strength - 1))))
                fault.consumer = CONSUMERS[int(np.bincount(looped.consumer).argmax())]
                looped.consumer[:], looped.fault[:] = CONSUMERS.index(fault.consumer), number
                looped.at = self.random.uniform(fault.start, fault.end, len(looped))
                hit, more = looped.endpoint, [*more, looped]
            else:
                rows = self.spoiled(fault, rows)
                missing[rows] |= SIGNAL.get(fault.kind) == "traffic"
                calls.fault[rows], hit = number, calls.endpoint[rows]
            fault.affected = np.bincount(hit, minlength=len(self.rows))
        return self.calls.where(~missing).and_those(*more), self.faults

    def arranged(self, kind: str) -> Fault | None:
        """A fault of this kind when its endpoints are called and are not in trouble; None if there was no place."""
        random, (_, (least, most), strengths, codes) = self.random, PLANS[kind]
        for _ in range(400):
            lasts = np.exp(random.uniform(np.log(least), np.log(most))) * 60
            level = random.choice(3, p=[0.2, 0.4, 0.4])
            fault = Fault(kind, "hard", [], [], strength=strengths[level] * random.uniform(0.9, 1.1))
            fault.code = int(random.choice(codes)) if codes else None
            lead = int(random.choice(len(self.rows), p=self.chances(kind)))
            if kind == "latency_drift":
                start = random.uniform(4 * 86_400, self.company.minutes * 60 - lasts)
            else:  # as likely as its calls: who changes or overloads something does it while it is used
                start = self.calls.at[random.choice(self.rows[lead])] - random.uniform(0, 0.6) * lasts
            fault.spans = [(start, start + lasts)]
            if kind == "error_burst" and random.random() < 0.3:  # comes and goes
                fault.spans = np.sort(random.uniform(start, start + lasts * 2, 6)).reshape(3, 2).tolist()
            self.involve(fault, lead)
            if codes and level == 2:  # so few fail that they barely stand out of what fails there anyhow
                status = self.calls.status[np.concatenate([self.rows[e] for e in fault.endpoints])]
                usual = np.mean(status >= 500 if fault.code >= 500 else status == fault.code)
                noise = np.sqrt(usual * len(self.reached(fault, everybody=True)) + 1)
                few = random.uniform(6.5, 9.5) * noise / max(len(self.reached(fault)), 1)
                fault.strength = min(fault.strength, few)
            enough = {"latency": 60, "traffic": 25}.get(SIGNAL.get(kind, ""), 6) if random.random() < 0.94 else 2
            if len(self.reached(fault)) * min(fault.strength, 1) >= enough and self.possible(fault):
                return fault
        return None

    def chances(self, kind: str) -> np.ndarray:
        """How likely each endpoint is to be the first that is hit."""
        weight = np.sqrt(self.volume)
        tenth, quarter, half = np.quantile(self.volume, [0.1, 0.25, 0.5])
        rare = kind == "low_traffic_fail"
        weight[(self.volume < min(40 if rare else 150, tenth if rare else half)) | (rare & (self.volume > quarter))] = 0
        for e, route in enumerate(self.company.routes):
            uneven = route.rhythm in ("gate", "night", "import") or route.sale > 3
            apps = route.mix in ("crowd", "mobile") and not (kind == "auth_failure" and route.service == "accounts")
            unfit = {
                "traffic": uneven or route.born_day > 0, "latency": e in self.company.releases or route.born_day > 0,
                "auth": apps, "rate_limit": apps, "validation_regression": route.method == "GET" and 400 not in route.habits,
            }  # fmt: skip
            if unfit.get(SIGNAL.get(kind, kind), False):
                weight[e] = 0
        return weight / weight.sum()

    def involve(self, fault: Fault, lead: int) -> None:
        """Say on which endpoints it is, and behind what."""
        company, random, fault.endpoints = self.company, self.random, [lead]
        mates = [e for e, name in enumerate(company.upstreams) if name == company.upstreams[lead] and e != lead]
        if fault.kind == "node_outage":
            fault.node, fault.endpoints = f"gw-{random.integers(NODES) + 1}", list(range(len(company.routes)))
        elif fault.kind == "upstream_timeout":
            fault.upstream, fault.endpoints = company.upstreams[lead], [lead, *mates]
        elif fault.kind in ("auth_failure", "rate_limit"):
            named = self.calls.consumer[self.reached(fault)]
            named = named[named != CONSUMERS.index("-")]
            fault.consumer = CONSUMERS[int(random.choice(named)) if len(named) else 0]
            if fault.kind == "auth_failure" and company.routes[lead].service != "accounts":  # a key opens all it is for
                fault.endpoints = [e for e, route in enumerate(company.routes) if fault.consumer in MIXES[route.mix]]
        elif fault.kind in ("error_burst", "latency_step", "traffic_drop") and mates and random.random() < 0.25:
            fault.endpoints.append(int(random.choice(mates)))

    def possible(self, fault: Fault) -> bool:
        """Whether it is inside the days that count, at a free time; what nobody would see in a rush is not in one."""
        company, margin = self.company, 4 * 3600
        if fault.start < 4 * 86_400 or fault.end > company.minutes * 60:
            return False
        then = slice(int(fault.start // 60), int(fault.end // 60))
        rush = max(company.sale[then].max() / 0.1, company.pushes[then].max() / 0.2, company.live[then].max())
        if rush > 1 and SIGNAL.get(fault.kind) == "traffic":
            return False
        others = [other for other in self.faults if set(other.endpoints) & set(fault.endpoints)]
        return not any(fault.start < other.end + margin and fault.end > other.start - margin for other in others)

    def reached(self, fault: Fault, everybody: bool = False) -> np.ndarray:
        """Positions of the calls that could be hit; everybody: and of those of other consumers and nodes."""
        rows, calls = np.concatenate([self.rows[e] for e in fault.endpoints]), self.calls
        rows = rows[fault.inside(calls.at[rows])]
        if fault.consumer and not everybody:
            rows = rows[calls.consumer[rows] == CONSUMERS.index(fault.consumer)]
        return rows[calls.node[rows] == int(fault.node[-1]) - 1] if fault.node and not everybody else rows

    def spoiled(self, fault: Fault, rows: np.ndarray) -> np.ndarray:
        """Make these calls slow or let them fail, as many as it is strong; the positions of those that are hit."""
        random, calls = self.random, self.calls
        if fault.kind in ("latency_step", "latency_drift"):
            gone = (calls.at[rows] - fault.start) / (fault.end - fault.start)
            grown = 1 + fault.strength * np.minimum(gone * 1.5, 1)
            calls.ms[rows] *= grown if fault.kind == "latency_drift" else fault.strength
            return rows
        hit = rows[random.random(len(rows)) < fault.strength]
        if fault.kind == "latency_tail":
            calls.ms[hit] *= random.uniform(4, 12, len(hit))
        if fault.kind in SIGNAL and not fault.code:
            return hit
        hit = hit[calls.consumer[hit] != CONSUMERS.index("-")]  # robots are refused anyhow
        calls.status[hit] = fault.code
        if fault.code == 504:
            calls.ms[hit] = random.choice([5000, 10_000]) + random.exponential(40, len(hit))
        elif fault.kind in SIGNAL:  # the gateway itself says no
            calls.ms[hit] = random.uniform(2, 7, len(hit))
        return hit


def measured(company: Company, calls: Calls, fault: Fault, number: int) -> dict[str, Any]:
    """detectable; z: how far its endpoints left the noise of other times; effect: by what share. Sets the fault's grade."""
    signal, count = SIGNAL.get(fault.kind, "errors"), int(fault.affected.sum())
    others = ~np.isin(calls.fault, (-1, number)) & (signal != "traffic")
    calls = calls.where(np.isin(calls.endpoint, np.flatnonzero(fault.affected)) & ~others)
    limits = (14, 9.5, 6)  # z of what is easy, medium, detectable
    if fault.kind == "latency_tail":
        slow = np.quantile(calls.ms[~fault.inside(calls.at) & (calls.status < 400)], 0.97)
        (z, effect), clear, visible = more_of(calls.ms > slow, calls, fault), 0.1, 0.05
    elif signal in ("latency", "traffic"):
        (z, effect), limits = shifted(company, calls, fault), (8.5, 6.5, 4)
        clear, visible = (0.45, 0.2) if signal == "latency" else (1.0 if fault.kind == "traffic_spike" else 0.7, 0.45)
    else:
        same = calls.status >= 500 if (fault.code or 0) >= 500 else calls.status == fault.code
        (z, effect), clear, visible = more_of(same, calls, fault), 0.1, 0.03
    if z >= limits[0] and effect >= clear and count >= 20:
        fault.grade = "easy"
    elif z >= limits[1] and effect >= visible and count >= 8:
        fault.grade = "medium"
    detectable = z >= limits[2] and count >= 5 and int(fault.affected.max()) >= 2
    return {"detectable": bool(detectable), "z": round(float(z), 1), "effect": round(float(effect), 3)}


def more_of(hits: np.ndarray, calls: Calls, fault: Fault) -> tuple[float, float]:
    """z and excess share of calls that are hits, against spells of the same length at other times."""
    inside = fault.inside(calls.at)
    usual, count = hits[~inside].mean(), inside.sum()
    tile = (calls.at[~inside] // np.clip(fault.end - fault.start, 1800, 86_400)).astype(int)
    others, hit = np.bincount(tile), np.bincount(tile, weights=hits[~inside])
    noise = np.std(((hit - others * usual) / np.sqrt(others * usual + 1))[others > 0])
    excess = hits[inside].sum() - count * usual
    return excess / np.sqrt(count * usual + 1) / max(1.0, noise), excess / max(count, 1)


def shifted(company: Company, calls: Calls, fault: Fault) -> tuple[float, float]:
    """z and relative change of the number of calls, or of the latency (of a drift: late in it), against other days."""
    counted, begin = SIGNAL[fault.kind] == "traffic", fault.start
    if fault.kind == "latency_drift":
        begin += (fault.end - begin) * 2 / 3
    calls, length = calls if counted else calls.where(calls.status < 400), fault.end - begin
    found: dict[str, list[float]] = {"then": [], "like": [], "unlike": []}
    for start in begin + np.arange(-company.days, company.days + 1) * 86_400.0:
        spell = calls.ms[(calls.at >= start) & (calls.at < start + length)]
        known = start >= 0 and start + length <= company.minutes * 60 and (counted or len(spell) >= 5)
        if known and (start == begin or start + length <= fault.start or start >= fault.end):
            like, then = (company.free[int((moment + length / 2) / 60)] for moment in (start, begin))
            sort = "then" if start == begin else "like" if like == then else "unlike"
            found[sort].append(np.log(len(spell) + 1) if counted else np.log(spell).mean())
    alike = counted and len(found["like"]) >= 4  # a latency hardly knows what day it is
    others = np.array(found["like"] if alike else found["like"] + found["unlike"])
    if len(others) < 3 or not found["then"]:
        return 0.0, 0.0
    usual, change = np.median(others), found["then"][0] - np.median(others)
    number = np.exp(usual) if counted else ((calls.at >= begin) & (calls.at < fault.end)).sum()
    by_chance = (1 if counted else np.std(np.log(calls.ms))) / np.sqrt(number)
    return abs(change) / max(1.48 * np.median(np.abs(others - usual)), by_chance), abs(np.exp(change) - 1)
