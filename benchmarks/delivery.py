"""A ninth kind of world, by an author who has not read the detector: a marketplace for meals and parcels behind Envoy.

    python benchmarks/detection.py delivery:1 quiet-delivery:1

Hungry people of three cities open the app at noon and in the evening, look at menus, order, and watch the courier's dot until the bell
rings; couriers' apps tell where they are, tablets in restaurants (all switched on at ten) poll the kitchen's queue, tills of chains poll
too, merchants send parcels (many at the full hour), depots scan them at night and at dawn, a payment provider delivers webhooks, a
settlement runs at night, scrapers read menus. The log is Envoy's text (`LOG_FORMAT`): whole milliseconds, flags and details, the
cluster and the address that answered, attempts, the id of the client that authentication knows, the pod of the gateway. A third of the services are
deployed blue and green (the cluster's name changes with each release), the others roll; addresses change with each release, and the pods
of the gateway are all renamed twice.

Latency is lognormal with a Pareto tail, pauses for garbage collection, grows with the load until the autoscaler follows (new pods are slow at
first), and is cut by the route's time limit. Envoy tries reads a second and third time (the log has one line, with attempts), then the client does
after 1, 2 and 4 seconds, webhooks after minutes. Clients hang up on what is slow (code 0, DC).

No fault are: rain (one city's appetite for hours), offers pushed to phones (twice the calls within two minutes), weekends, a holiday on a Monday after
the warm-up, tablets and their expired tokens at ten, shifts that begin together, bulk at the full hour, a merchant and a till at their quota
every day, maps and the payment provider that are slow for a quarter of an hour several times a day, its circuit breaker, caches that run out every six
hours, rolling releases (some 502 and 503, cold code, other sizes, levels a few percent apart for good), canaries slower by a sixth, a release of
the app that moves an endpoint to v3 and one that polls more often, pods that fall over, slow neighbours, blips, vacuum at night, endpoints that were never
good, scrapers and scanners, health checks, lines that come late, holes in the log. What somebody on call may have liked to hear of is `ambiguous`:
an evening of football, a thunderstorm, a day of free delivery, maintenance of payments at night, webhooks that were held back.

Every fault says in `effect` what it did to users, measured in the calls beside the same world without faults (where it is clearest). Grades are what was
done, lowered where few calls show it (`CLEAR`, `SHOWN`); a fault is detectable from z = 5 on, when besides at least 8 calls failed by 2 points more than
usual, 25 were slow by a fifth (of a tail: 25 more calls were in it), or 25 came too many or too few. z compares the window with those as long of the same
calls without faults at the same time of day, half an hour earlier and later, on all other days (counts: on days of the same kind): the mean's
distance in standard errors, of so many calls and of the spread between those windows. Seeds 1, 2 and 101 are for building, 201 and 202 are held out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np
import planted
import polars as pl
import services
from calls import arrivals, peak, ticks, wave
from planted import COUNTED, SLOW, Fault, Split, Strength
from services import Sent, joined, packs, sent
from worlds import DAY, World, by_endpoint, wander

LOG_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER% '
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQ(X-CLIENT-ID)% %HOSTNAME%"
)
THURSDAY = int(datetime(2026, 5, 14, tzinfo=UTC).timestamp())  # days 2, 3, 9 and 10 are weekends
HOLIDAY = 11  # Whit Monday in Berlin, a bank holiday in London
FOOTBALL, APP, FREE, UPKEEP = 6, 5, 8, 12  # days
CITIES = {"berlin": (2, 0.4), "london": (1, 0.34), "sao-paulo": (-3, 0.26)}  # hours ahead of UTC, share of the orders
PLATFORMS = {"ios": 0.42, "android": 0.38, "web": 0.2}
MERCHANTS, TILLS, TABLETS = 14, 6, 24
CONSUMERS = [
    *PLATFORMS, "courier", "tablet", "payhub", "settlement", "support", "probe", *(f"depot-{city}" for city in CITIES),
    *(f"merchant-{i:02}" for i in range(MERCHANTS)), *(f"till-{i}" for i in range(TILLS)), "",
]  # fmt: skip
ANONYMOUS = len(CONSUMERS) - 1
PODS = [f"edge-{name}" for name in ("7d9c5b6f4-4kxqz", "7d9c5b6f4-9mhbt", "7d9c5b6f4-c2wvl", "7d9c5b6f4-jr8sn", "7d9c5b6f4-zx5dp",
        "5f6b8c7d9-2hqlm", "5f6b8c7d9-6tkzw", "5f6b8c7d9-b9vxr", "5f6b8c7d9-nd4cj", "5f6b8c7d9-w7psg",
        "66b4d9f8c-5jzvn", "66b4d9f8c-8qwkl", "66b4d9f8c-d6xht", "66b4d9f8c-m3rbz", "66b4d9f8c-vt2cs")]  # fmt: skip
AT_ONCE = 5  # pods of the gateway

ROUTES: list[services.Route] = [
    ("identity", "POST", "/identity/v1/token", 2.0, 75, 0.35, "open", {401: 0.05, 400: 0.004}),
    ("identity", "POST", "/identity/v1/refresh", 1.2, 28, 0.3, "browse", {401: 0.03}),
    ("identity", "POST", "/identity/v1/couriers/login", 0.12, 160, 0.4, "shift", {401: 0.08}),
    ("catalog", "GET", "/catalog/v2/restaurants", 4.0, 90, 0.6, "open", {304: 0.1, 401: 0.005}),
    ("catalog", "GET", "/catalog/v2/restaurants/{id}", 2.6, 35, 0.5, "browse", {404: 0.01}),
    ("catalog", "GET", "/catalog/v2/restaurants/{id}/menu", 3.2, 55, 0.7, "browse", {404: 0.01}),
    ("catalog", "GET", "/catalog/v3/restaurants/{id}/menu", 3.2, 42, 0.6, "browse", {404: 0.01}),
    ("catalog", "GET", "/catalog/v2/search", 1.6, 210, 0.8, "browse", {400: 0.02}),
    ("catalog", "PUT", "/catalog/v2/restaurants/{id}/availability", 0.3, 65, 0.4, "opening", {409: 0.02}),
    ("catalog", "GET", "/catalog/v2/feeds/menus", 0.9, 140, 0.8, "scraped", {}),
    ("basket", "PUT", "/basket/v1/baskets/{id}", 2.2, 32, 0.4, "browse", {409: 0.02, 404: 0.01}),
    ("basket", "POST", "/basket/v1/quotes", 1.4, 130, 0.6, "checkout", {422: 0.03}),
    ("orders", "POST", "/orders/v3/orders", 0.6, 420, 0.5, "checkout", {402: 0.05, 409: 0.02, 422: 0.02}),
    ("orders", "GET", "/orders/v3/orders/{id}", 2.4, 26, 0.4, "poll", {404: 0.005}),
    ("orders", "POST", "/orders/v3/orders/{id}/cancel", 0.05, 180, 0.4, "checkout", {409: 0.15}),
    ("orders", "POST", "/orders/v3/orders/{id}/accept", 0.5, 60, 0.4, "kitchen", {409: 0.02}),
    ("orders", "POST", "/orders/v3/orders/{id}/rating", 0.07, 50, 0.4, "after", {409: 0.03}),
    ("orders", "GET", "/orders/v3/kitchen/queue", 5.0, 14, 0.35, "tablets", {304: 0.5, 401: 0.01}),
    ("dispatch", "PUT", "/dispatch/v1/couriers/{id}/location", 7.5, 6, 0.3, "couriers", {401: 0.01}),
    ("dispatch", "GET", "/dispatch/v1/couriers/{id}/tasks", 3.0, 18, 0.4, "couriers", {304: 0.3, 401: 0.006}),
    ("dispatch", "POST", "/dispatch/v1/offers/{id}/response", 0.7, 45, 0.4, "job", {409: 0.06, 410: 0.03}),
    ("dispatch", "POST", "/dispatch/v1/deliveries/{id}/events", 0.9, 38, 0.4, "job", {409: 0.01}),
    ("dispatch", "POST", "/dispatch/v1/shifts", 0.06, 110, 0.4, "shift", {409: 0.05}),
    ("tracking", "GET", "/tracking/v1/deliveries/{id}/position", 6.0, 9, 0.35, "poll", {404: 0.02}),
    ("tracking", "GET", "/tracking/v1/parcels/{id}", 2.2, 45, 0.7, "recipient", {404: 0.06}),
    ("tracking", "POST", "/tracking/v1/subscriptions", 0.12, 70, 0.4, "recipient", {409: 0.05}),
    ("parcels", "POST", "/parcels/v2/shipments", 1.2, 340, 0.6, "merchants", {422: 0.04, 400: 0.01, 429: 0.004}),
    ("parcels", "GET", "/parcels/v2/shipments/{id}", 1.4, 40, 0.5, "merchants", {404: 0.02, 429: 0.004}),
    ("parcels", "GET", "/parcels/v2/shipments/{id}/label", 0.9, 800, 0.6, "merchants", {404: 0.01}),
    ("parcels", "POST", "/parcels/v2/scans", 2.4, 22, 0.4, "depot", {409: 0.02}),
    ("parcels", "POST", "/parcels/v2/pickups", 0.08, 260, 0.4, "merchants", {422: 0.06, 409: 0.03}),
    ("payments", "POST", "/payments/v1/intents", 0.6, 520, 0.7, "checkout", {402: 0.07}),
    ("payments", "POST", "/payments/v1/webhooks/payhub", 0.7, 65, 0.5, "hooks", {}),
    ("payments", "POST", "/payments/v1/refunds", 0.04, 610, 0.5, "support", {409: 0.04}),
    ("payments", "POST", "/payments/v1/payouts/run", 0.5, 380, 0.5, "batch", {409: 0.01}),
    ("geo", "GET", "/geo/v1/eta", 2.0, 160, 0.7, "browse", {}),
    ("geo", "GET", "/geo/v1/addresses", 1.0, 190, 0.6, "open", {400: 0.03, 404: 0.02}),
    ("promo", "GET", "/promo/v1/banners", 1.2, 8, 0.4, "open", {304: 0.35}),
    ("promo", "POST", "/promo/v1/vouchers/redeem", 0.12, 95, 0.4, "checkout", {404: 0.12, 409: 0.06, 410: 0.04}),
    ("partners", "GET", "/partners/v1/orders", 1.3, 75, 0.6, "tills", {429: 0.004, 401: 0.004}),
    ("partners", "POST", "/partners/v1/menus/import", 0.06, 2_400, 0.9, "merchants", {422: 0.1, 413: 0.02}),
    ("support", "GET", "/support/v1/cases/{id}", 0.3, 420, 0.9, "support", {404: 0.02, 403: 0.01}),
    ("edge", "GET", "/healthz", 2.0, 1, 0.2, "probe", {}),
    ("notify", "POST", "/notify/v1/devices", 0.15, 40, 0.4, "open", {}),
]  # fmt: skip
OLD, NEW_PATH = "/catalog/v2/restaurants/{id}/menu", "/catalog/v3/restaurants/{id}/menu"
POSITION = "/tracking/v1/deliveries/{id}/position"
BLUE_GREEN = {"orders", "payments", "catalog", "geo"}
JVM = ("orders", "dispatch", "payments", "parcels")
COLD = {
    "/parcels/v2/shipments/{id}/label",
    "/partners/v1/menus/import",
    "/parcels/v2/pickups",
}  # run only while they are called
CACHED = {"/catalog/v2/restaurants", "/catalog/v2/restaurants/{id}", OLD, NEW_PATH, "/promo/v1/banners", "/geo/v1/addresses"}  # fmt: skip
PATIENT = {"payments": 30_000, "partners": 60_000}  # ms of a route's time limit; 15 seconds where none is set
PEOPLE = ("open", "browse", "checkout", "poll", "kitchen", "after", "job")

STRENGTHS = {
    "easy": Strength(fails=0.5, slower=3.0, in_tail=0.22, left=0.05, more=5.0, low_fails=0.9, new=0.2),
    "medium": Strength(fails=0.16, slower=1.9, in_tail=0.1, left=0.35, more=3.0, low_fails=0.55, new=0.06),
    "hard": Strength(fails=0.055, slower=1.5, in_tail=0.05, left=0.6, more=2.0, low_fails=0.35, new=0.025),
}
SHOWN = {"easy": 25, "medium": 12, "hard": 8}  # least calls that failed; of other faults 25
#: kind, how often, median length in minutes
KINDS = [
    ("node_outage", 1, 15), ("recurring", 1, 28), ("latency_drift", 1, 2900), ("error_burst", 3, 30), ("upstream_timeout", 2, 30), ("latency_step", 2, 100),
    ("latency_tail", 1, 170), ("auth_failure", 1, 80), ("rate_limit", 1, 60), ("traffic_drop", 2, 100), ("traffic_spike", 1, 70), ("silence", 1, 150),
    ("new_code", 1, 260), ("validation_regression", 1, 420), ("low_traffic_fail", 2, 900),
]  # fmt: skip


@dataclass
class Calls(services.Calls):
    """One entry per call, with the number of its consumer and Envoy's attempts."""

    who: np.ndarray
    tries: np.ndarray


@dataclass
class Delivery(services.Services):
    """What a seed decides before anybody is hungry."""

    t0 = THURSDAY

    def __post_init__(self) -> None:
        self.open("a delivery", ROUTES)
        self.limit = np.array([PATIENT.get(name, 15_000) for name in self.service])
        self.canary = np.zeros((len(self.services), self.minutes))  # share of calls that a canary answers
        self.appetite = [self.hungry(city) for city in CITIES]
        self._cities()
        self._releases()
        self._machines()

    def free(self, city: str) -> np.ndarray:
        """Whether people there need not work, per minute."""
        day = (self.minute / 60 + CITIES[city][0]) // 24
        return ((day + 3) % 7 >= 5) | ((day == HOLIDAY) & (city != "sao-paulo"))

    def hour(self, city: str) -> np.ndarray:
        return (self.minute / 60 + CITIES[city][0]) % 24

    def hungry(self, city: str) -> np.ndarray:
        """People who open the app, per minute, in their mean over a working day."""
        hour = self.hour(city)
        working = 0.03 + 0.75 * peak(hour, 12.4, 0.9) + peak(hour, 19.2, 1.4) + 0.15 * peak(hour, 22.5, 1.2)
        day_off = 0.05 + 0.6 * peak(hour, 13.3, 1.5) + 1.15 * peak(hour, 19.4, 1.8) + 0.25 * peak(hour, 23, 1.5)
        friday = ((self.minute / 60 + CITIES[city][0]) // 24 + 3) % 7 == 4
        return np.where(self.free(city), day_off, working) / working.mean() * np.where(friday, 1.15, 1.0)

    def office(self, city: str) -> np.ndarray:
        """Traffic of people at work, per minute, in its mean of a working day."""
        shape = 0.01 + np.exp(-(((self.hour(city) - 13) / 4) ** 4))
        return np.where(self.free(city), 0.06, 1) * shape / shape.mean()

    def _cities(self) -> None:
        """What changes people's appetite: moods, rain, offers, and four days that somebody on call may have liked to know of."""
        random, minute, people = self.random, self.minute, self.called_by(*PEOPLE)
        self.rain = np.zeros((len(CITIES), self.minutes))
        for number, city in enumerate(CITIES):
            shape = self.appetite[number]
            shape *= np.repeat(random.lognormal(0, 0.09, self.days), DAY)
            shape *= wander(random, 1, self.minutes, np.array([0.13]), 150)[0]
            shape *= wander(random, 1, self.minutes, np.array([0.1]), 20)[0]
            for _ in range(random.poisson(self.days / 1.8)):
                at, length, strong = random.uniform(0, self.minutes), random.uniform(40, 240), random.uniform(0.2, 0.7)
                wet = wave(minute, at, at + length, 15, 25)
                shape *= 1 + strong * wet
                self.rain[number] = np.maximum(self.rain[number], strong * wet)
                self.named(f"rain in {city}", at, at + length, people)
            # Offers: pushed to all phones of a city before meals, now and then at another hour.
            for _ in range(random.poisson(0.55 * self.days)):
                day = int(random.integers(self.days))
                local = random.choice([11.25, 17.25, random.uniform(9, 23)]) + random.normal(0, 0.1)
                at = day * DAY + 60 * (local - CITIES[city][0])
                strong = random.uniform(0.8, 2.4)
                shape *= 1 + strong * np.clip((minute - at) / 2, 0, 1) * np.exp(-np.maximum(minute - at, 0) / 14)
                self.named(f"offer pushed in {city}", at, at + 60, people)
        at = FOOTBALL * DAY + 17 * 60
        for number, strong in enumerate((0.9, 0.7, 0.1)):
            self.appetite[number] *= 1 + strong * wave(minute, at, at + 150, 40, 60)
        self.named("football", at, at + 180, people, ambiguous=True)
        at = (FREE * DAY) + 9 * 60
        self.appetite[1] *= 1 + 0.8 * wave(minute, at, at + 840, 10, 120)
        self.named("free delivery in london", at, at + 840, people, ambiguous=True)
        city = int(random.integers(3))
        at = random.uniform(4.3, self.days - 0.5) * DAY
        storm = wave(minute, at, at + 130, 10, 40)
        self.appetite[city] *= 1 + 1.3 * storm
        self.slower[self.of("dispatch", "geo")] *= 1 + 0.35 * storm
        self.named("thunderstorm", at, at + 150, np.union1d(people, self.of("dispatch", "geo")), ambiguous=True)
        self.held = self.held_back((1, 7), "payments")  # once in the warm-up

    def _releases(self) -> None:
        """Deployments of services, canaries, two releases of the app, and the gateway's own."""
        random, minute = self.random, self.minute
        for _ in range(int(self.days * 1.6)):
            service = int(random.integers(len(self.services)))
            at = int(random.uniform(0.3, self.days - 0.4) * DAY)
            mine = self.of(self.services[service])
            if random.random() < 0.45:
                length = int(random.uniform(90, 360))
                self.canary[service, at : at + length] = random.choice([0.05, 0.1, 0.25])
                self.named("canary", at, at + length, mine)
                at += length
            self.failing[mine, at : at + 3] = np.maximum(self.failing[mine, at : at + 3], random.uniform(0.03, 0.25))
            self.deployed(service, at, 0.8, 7, 0.035)
        begin = APP * DAY + 7 * 60
        since = np.maximum(minute - begin, 0)
        moved = np.where(minute >= begin, 1 - np.exp(-since / 1100), 0)
        self.moves(OLD, NEW_PATH, moved, 0.96)
        self.named("app release moves menus to v3", begin, begin + 4 * DAY, self.of("catalog"))
        self.factor[self.path.index(POSITION)] *= 1 + 0.2 * moved
        self.named("app release polls more often", begin, begin + 4 * DAY, np.array([self.path.index(POSITION)]))
        self.renamed = [2.4 * DAY, 7.3 * DAY]
        for at in self.renamed:
            self.failing[:, int(at) : int(at) + 2] += 0.01
            self.named("gateway release", at, at + 10, np.arange(self.endpoints))

    def _machines(self) -> None:
        """What machines, caches and third parties do on ordinary days."""
        random, minute, end = self.random, self.minute, self.minutes * 60
        if self.days > UPKEEP:
            at = UPKEEP * DAY + 90
            self.failing[self.of("payments"), at : at + 40] = 0.9
            self.named("maintenance of payments", at, at + 45, self.of("payments"), ambiguous=True)
        for day in range(self.days):
            at = int(day * DAY + 3.5 * 60 + random.normal(0, 4))
            self.slower[self.of("orders", "parcels", "identity"), at : at + 18] *= 1.45
        cached = np.array([e for e in range(self.endpoints) if self.path[e] in CACHED])
        for at in [*range(200, self.minutes, 360), *random.integers(0, self.minutes, self.days // 2)]:
            begin = int(at + random.normal(0, 3)) if at else 0
            self.slower[cached, max(begin, 0) : max(begin, 0) + 4] *= random.uniform(1.6, 3)
        for name, mine in (("maps are slow", self.of("geo")), ("payhub is slow", np.array([self.path.index("/payments/v1/intents")]))):  # fmt: skip
            for at in random.uniform(0, self.minutes, random.poisson(3 * self.days)):
                length, strong = random.lognormal(np.log(11), 0.5), random.uniform(0.4, 1.3)
                self.slower[mine] *= 1 + strong * wave(minute, at, at + length, 1, 3)
                self.named(name, at, at + length, mine)
        # The payment provider's circuit breaker opens for half a minute.
        self.breaker = [(at, at + random.uniform(20, 55)) for at in random.uniform(0, end, random.poisson(0.8 * self.days))]  # fmt: skip
        for begin, stop in self.breaker:
            self.named("circuit breaker", begin / 60, stop / 60 + 1, self.of("payments"))
        self.shaky(130, 1.2, 0.025)
        self.never_good[self.path.index("/payments/v1/refunds")] = 0.04
        self.gaps(3, 260.0)
        # How busy the cities were eight minutes ago decides how many pods the gateway has.
        total = sum(share * shape for (_, share), shape in zip(CITIES.values(), self.appetite, strict=True))
        self.pods = np.where(np.roll(total, 8) > 1.1, 5, np.where(np.roll(total, 8) > 0.35, 4, 3))

    def traffic(self) -> Calls:
        """Who calls what and when, without answers."""
        random = self.random
        base = self.rate[self.path.index("/catalog/v2/restaurants")] / 1.5
        found = [arrivals(random, share * base * self.appetite[i]) for i, (_, share) in enumerate(CITIES.values())]
        begin, city = np.concatenate(found), np.repeat(np.arange(len(found)), [len(one) for one in found])
        platform = random.choice(len(PLATFORMS), len(begin), p=list(PLATFORMS.values()))
        person = random.zipf(1.3, len(begin)) % 40_000
        ordering = np.flatnonzero(random.random(len(begin)) < 0.4)
        ordered = begin[ordering] + 60 * random.lognormal(np.log(5), 0.5, len(ordering))
        wet = self.rain[city[ordering], np.minimum(begin[ordering] // 60, self.minutes - 1).astype(int)]
        takes = 60 * random.lognormal(np.log(31), 0.3, len(ordering)) * (1 + 0.4 * wet)
        shifts, lengths = self._shifts()
        own = wander(random, self.endpoints, self.minutes, random.uniform(0.04, 0.16, self.endpoints), 90)
        parts: list[tuple[int, Sent]] = []
        for e in range(self.endpoints):
            kind, strength = self.kind[e], self.factor[e] * own[e]
            # calls, before those beyond the factor are taken out again
            wanted = self.rate[e] * self.minutes * float(strength.max())
            if kind in ("open", "browse"):
                chosen = np.repeat(np.arange(len(begin)), _times(random, wanted / len(begin), len(begin), kind))
                at = begin[chosen] + (random.exponential(5, len(chosen)) if kind == "open" else random.gamma(1.3, 200, len(chosen)))  # fmt: skip
                calls = at, platform[chosen], person[chosen]
            elif kind == "poll":
                at, chosen = _beats(random, ordered, takes, wanted)
                calls = at, platform[ordering[chosen]], person[ordering[chosen]]
            elif kind in ("checkout", "kitchen", "job", "after"):
                chosen = np.repeat(np.arange(len(ordered)), _times(random, wanted / len(ordered), len(ordered), kind))
                wait = {
                    "checkout": random.exponential(20, len(chosen)),
                    "kitchen": 50 + random.exponential(40, len(chosen)),
                    "job": takes[chosen] * random.random(len(chosen)),
                    "after": takes[chosen] + random.exponential(3000, len(chosen)),
                }[kind]
                at, by = ordered[chosen] + wait, {"kitchen": "tablet", "job": "courier"}.get(kind)
                calls = at, platform[ordering[chosen]], person[ordering[chosen]]
                if by is not None:
                    calls = sent(at, CONSUMERS.index(by), 41_000 + chosen % 90)
            elif kind == "couriers":
                at, chosen = _beats(random, shifts, lengths, wanted)
                calls = sent(at, CONSUMERS.index("courier"), 41_000 + chosen % 90)
            elif kind == "shift":
                chosen = np.repeat(np.arange(len(shifts)), _times(random, wanted / len(shifts), len(shifts), kind))
                at = shifts[chosen] - random.exponential(90, len(chosen))
                calls = sent(at, CONSUMERS.index("courier"), 41_000 + chosen % 90)
            else:
                calls = self._others(kind, wanted / self.minutes)
            parts.append((e, self.kept(calls, strength)))
        at, endpoint, who, client = self.in_order(parts)
        none = np.zeros(len(at))
        return Calls(at, endpoint, client, self._pod(random, at), none, none, none, who, none)

    def _pod(self, random: np.random.Generator, at: np.ndarray) -> np.ndarray:
        """The pod of the gateway that a call meets."""
        minute = np.minimum(at // 60, self.minutes - 1).astype(int)
        slot = (random.random(len(at)) * self.pods[minute]).astype(int)
        return slot + AT_ONCE * np.searchsorted(self.renamed, at / 60)

    def _shifts(self) -> tuple[np.ndarray, np.ndarray]:
        """Seconds at which couriers begin, and how long they ride; most begin at the full or half hour together."""
        random, begins, lengths = self.random, [], []
        for city, (ahead, share) in CITIES.items():
            for day in range(-1, self.days):
                busy = self.free(city)[min(max(day, 0) * DAY + 720, self.minutes - 1)]
                for local, count, hours in ((9.0, 5, 8.0), (11.0, 18, 3.5), (17.5, 26 if busy else 21, 4.2)):
                    n = random.poisson(2 * share * count)
                    late = np.where(random.random(n) < 0.75, random.exponential(150, n), random.normal(0, 2400, n))
                    begins.append((day * DAY + (local - ahead) * 60) * 60 + late)
                    lengths.append(3600 * hours * random.lognormal(0, 0.15, n))
        return np.concatenate(begins), np.concatenate(lengths)

    def _others(self, kind: str, rate: float) -> Sent:
        """The calls of those who are not hungry; rate: calls per minute."""
        random, end, number = self.random, self.minutes * 60.0, CONSUMERS.index
        if kind == "probe":
            return sent(services.probed(random, rate, end), number("probe"), 60_000)
        if kind in ("tablets", "opening"):
            return self._tablets(kind, rate)
        if kind == "tills":
            found = []
            for till in range(TILLS):
                at = ticks(random, 60 * TILLS / rate, 0.04, end)
                if till >= 3:  # asks at the full hour for all at once
                    at = at // 3600 * 3600 + random.exponential(35, len(at))
                found.append(sent(at, number(f"till-{till}"), 60_300 + till))
            return joined(found)
        if kind == "merchants":
            return self._merchants(rate)
        if kind == "depot":
            found = []
            for city, (ahead, share) in CITIES.items():
                hour, day = self.hour(city), (self.minute / 60 + ahead) // 24
                night = np.exp(-(((np.minimum(np.abs(hour - 1), 24 - np.abs(hour - 1))) / 2.2) ** 4))
                shape = (0.02 + night + 1.4 * np.exp(-(((hour - 6.8) / 0.8) ** 2))) * np.where((day + 3) % 7 == 6, 0.05, 1)  # fmt: skip
                shape *= np.repeat(random.lognormal(0, 0.15, self.days), DAY) / shape.mean()
                # A lorry at a time: scans come in packs.
                lorries = arrivals(random, share * rate / 9 * shape)
                times = random.geometric(1 / 9, len(lorries))
                at = np.repeat(lorries, times) + random.uniform(0, 50, times.sum())
                found.append(sent(at, number(f"depot-{city}"), 60_400 + random.integers(0, 20, len(at))))
            return joined(found)
        if kind == "batch":
            return sent(self.nightly(rate, 120, 5, 45, 80), number("settlement"), 60_001)
        if kind == "support":
            at = arrivals(random, rate / 2 * (0.6 * self.office("berlin") + 0.4 * self.appetite[1]))
            at = np.repeat(at, 2) + random.exponential(20, 2 * len(at))
            return sent(at, number("support"), 60_100 + random.integers(0, 25, len(at)))
        if kind == "hooks":
            orders = sum(share * shape for (_, share), shape in zip(CITIES.values(), self.appetite, strict=True))
            at = services.delayed(random, self.notices(0.8 * rate * orders, 0.2 * rate * DAY, 400), self.held)
            return sent(at, number("payhub"), 60_200)
        if kind == "scraped":
            at = arrivals(random, 0.5 * rate * self.appetite[0])
            people = sent(at, number("web"), random.integers(0, 40_000, len(at)))
            return joined([people, sent(self.scraped(rate, 0.5), ANONYMOUS, 61_000)])
        # Recipients wait for parcels by day, and look again.
        shape = sum(share * np.exp(-(((self.hour(city) - 14) / 5) ** 4)) for city, (_, share) in CITIES.items())
        at = arrivals(random, rate / 1.6 * shape / np.mean(shape) * np.where(self.free("berlin"), 0.6, 1.15))
        at = packs(random, at, 1.6, 40)
        return at, random.choice(len(PLATFORMS), len(at), p=[0.2, 0.2, 0.6]), random.integers(0, 40_000, len(at))

    def _tablets(self, kind: str, rate: float) -> Sent:
        """Tablets are switched on at ten (some at five), say so, and poll until the kitchen closes."""
        random, begins, lengths, which = self.random, [], [], []
        for number, ahead in enumerate(ahead for ahead, _ in CITIES.values()):
            for day in range(self.days):
                late = random.random(TABLETS) < 0.3
                begin = (day * DAY + 60 * np.where(late, 17.0, 10.0) - 60 * ahead) * 60 + random.exponential(110, TABLETS)  # fmt: skip
                open_today = random.random(TABLETS) < 0.93
                begins.append(begin[open_today])
                lengths.append((3600 * np.where(late, 6.0, 12.5) * random.lognormal(0, 0.05, TABLETS))[open_today])
                which.append(60_500 + number * TABLETS + np.flatnonzero(open_today))
        begin, length, tablet = np.concatenate(begins), np.concatenate(lengths), np.concatenate(which)
        if kind == "tablets":
            at, chosen = _beats(random, begin, length, rate * self.minutes)
        else:
            wanted = rate * self.minutes
            chosen = np.repeat(np.arange(len(begin)), _times(random, 0.6 * wanted / len(begin), len(begin), kind))
            at = begin[chosen] + random.exponential(25, len(chosen))
            # A dish is sold out in the midst of the rush.
            more, whose = _beats(random, begin, length, 0.4 * wanted)
            at, chosen = np.concatenate([at, more + random.normal(0, 600, len(more))]), np.concatenate([chosen, whose])
        return sent(at, CONSUMERS.index("tablet"), tablet[chosen])

    def _merchants(self, rate: float) -> Sent:
        """Merchants in office hours; a third sends everything at the full hour, all hurry before the van comes at four."""
        random, found = self.random, []
        weight = 1 / np.arange(1, MERCHANTS + 1) ** 0.8
        for i, share in enumerate(weight / weight.sum()):
            city = list(CITIES)[i % 3]
            hour = self.hour(city)
            shape = self.office(city) * (1 + 1.2 * np.exp(-(((hour - 15.6) / 0.5) ** 2)))
            shape = shape * np.repeat(random.lognormal(0, 0.3, self.days), DAY)
            at = packs(random, arrivals(random, rate * share * shape / 2), 2, 12)
            if i % 3 == 1:
                at = at // 3600 * 3600 + random.exponential(60, len(at))
            found.append(sent(at, CONSUMERS.index(f"merchant-{i:02}"), 60_600 + i))
        return joined(found)

    def answered(self, calls: Calls) -> Calls:
        """The calls with instance, status, ms and attempts, and what clients tried again."""
        random, n = self.random, len(calls)
        minute, e = (calls.at // 60).astype(int), calls.endpoint
        service = self.of_service[e]
        instances, used = self.scaled(calls, 8, 1.4)
        grown = np.diff(instances, axis=1, prepend=instances[:, :1]) > 0
        fresh = grown | np.roll(grown, 1, axis=1)  # a pod is new, and its code cold
        slot = (random.random(n) * instances[service, minute]).astype(int)
        slot[random.random(n) < self.canary[service, minute]] = 9
        calls.instance = service * 10_000 + (self.generation[service, minute] % 50) * 10 + slot
        bad = self.never_good
        answers = [self.answers[one] | {500: 0.6 * bad[one], 503: 0.3 * bad[one]} for one in range(self.endpoints)]
        status = self.usually(calls, answers, 500, 2)
        # What a full service does not take: Envoy's limit of pending requests.
        status[random.random(n) < 0.004 * used[service, minute] ** 4] = 503
        self.fall_over(calls, status, slot, 503, 0.6)
        payments = service == self.services.index("payments")
        for begin, stop in self.breaker:
            status[payments & (calls.at >= begin) & (calls.at < stop)] = 503
        # Tokens that ran out overnight: each tablet's first polls.
        tablets = calls.who == CONSUMERS.index("tablet")
        for ahead, _ in CITIES.values():
            opening = (calls.at / 60 + 60 * ahead) % DAY - 600
            status[tablets & (opening >= 0) & (opening < 6) & (random.random(n) < 0.2)] = 401
        # Who lives at a quota: the scraper, a till always, a merchant in the last minutes of busy hours.
        merchant = calls.who == CONSUMERS.index("merchant-01")
        held = np.where(calls.who == ANONYMOUS, 0.12, np.where(calls.who == CONSUMERS.index("till-1"), 0.15, np.where(merchant & (calls.at % 3600 < 300), 0.2, 0)))  # fmt: skip
        status[random.random(n) < held] = 429
        status[(calls.who == ANONYMOUS) & (random.random(n) < 0.08)] = 403
        rolling = random.random(n) < self.failing[e, minute]
        status[rolling] = random.choice([502, 503], rolling.sum(), p=[0.35, 0.65])
        ms = self.takes(calls, used, 0.3)
        ms *= np.where(slot == 9, 1.16, 1) * np.where(fresh[service, minute] & (slot >= instances[service, minute] - 1), 1.7, 1)  # fmt: skip
        services.with_tail(random, ms, 1.3)
        self.slow_neighbours(calls, ms, slot)
        for name in JVM:
            ms += self._pauses(calls.at, np.where(service == self.services.index(name), slot, -1))
        self.cold_starts(calls, ms, np.array([one for one in range(self.endpoints) if self.path[one] in COLD]))
        ms = services.refused_sooner(random, status, ms, [400, 401, 403, 404, 409, 422])
        status, ms = self._cut(status, ms, e)
        # Phones hang up, sooner on what is slow.
        handheld = np.isin(calls.who, [0, 1, CONSUMERS.index("courier")])
        status[handheld & (status < 300) & (random.random(n) < 0.002 + 0.05 * (ms > 4000))] = 0
        calls.status, calls.ms = status, ms
        # Some of what came through needed a second attempt.
        reads = np.isin(np.array(self.method), ["GET", "PUT"])[e]
        calls.tries = np.where(np.isin(status, [401, 403, 429]), 0, np.where(reads & (random.random(n) < 0.003), 2, 1))
        calls.tries[reads & (status >= 502)] = 3
        return self.tried_again(random, calls, np.flatnonzero(status >= 500), None)

    def _cut(self, status: np.ndarray, ms: np.ndarray, e: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What runs beyond its route's time limit is answered 504 then."""
        over = ms >= self.limit[e]
        return np.where(over, 504, status), np.where(over, self.limit[e], ms)

    def _pauses(self, at: np.ndarray, slot: np.ndarray) -> np.ndarray:
        """Milliseconds that calls wait for the garbage collection of one of a service's instances; slot: -1 for calls of others."""
        random, wait = self.random, np.zeros(len(at))
        for one in range(8):
            begin = np.sort(random.uniform(0, self.minutes * 60, random.poisson(self.days * 30)))
            length = np.minimum(random.lognormal(np.log(0.5), 1.0, len(begin)), 12)
            mine = np.flatnonzero(slot == one)
            last = np.searchsorted(begin, at[mine]) - 1
            left = np.where(last >= 0, begin[last] + length[last] - at[mine], 0)
            wait[mine] = 1000 * np.maximum(left, 0)
        return wait

    def tried_again(self, random: np.random.Generator, calls: Calls, failed: np.ndarray, fault: Fault | None) -> Calls:
        """Calls and what clients send after calls failed."""
        more = planted.tried_again(random, self, calls, failed, fault, 0.65, (0.7, 1.5), partial(self._pod, random))
        more.tries = np.where(more.status == 200, 1, more.tries)
        found = calls.and_those(more)
        return found.where(found.at < self.minutes * 60)

    def clusters(self, instance: np.ndarray) -> pl.Series:
        """Name of Envoy's cluster of instances."""
        table = [
            f"{name}-{('blue', 'green')[generation % 2]}" if name in BLUE_GREEN else name
            for name in self.services for generation in range(50)
        ]  # fmt: skip
        instance = instance.astype(int)
        frame = pl.DataFrame({
            "name": pl.Series(table).gather(instance // 10_000 * 50 + instance % 10_000 // 10),
            "service": pl.Series(self.services).gather(instance // 10_000), "canary": instance % 10 == 9,
        })  # fmt: skip
        named = pl.when("canary").then(pl.col("service") + "-canary").otherwise("name")
        return frame.select(cluster=pl.concat_str(pl.lit("market/"), named))["cluster"]

    def logged(self, calls: Calls) -> list[pl.DataFrame]:
        """The log: `at` and `order` (when Envoy's line was collected; seconds since the epoch) and `line`."""
        random = self.random
        calls = self.without_holes(calls, calls.gate % AT_ONCE)
        n = len(calls)
        # Envoy flushes once a second or when its buffer is full.
        late = np.where(random.random(n) < 0.003, random.exponential(120, n), random.uniform(0, 1, n))
        late = self.late(calls, calls.gate % AT_ONCE, late)
        minute = (calls.at // 60).astype(int)
        status, e = calls.status.astype(int), calls.endpoint
        reads = np.isin(np.array(self.method), ["GET", "PUT"])[e]
        early = np.isin(status, [401, 403, 429])
        flag = np.select(
            [status == 0, status == 429, status == 403, status == 504, (status == 503) & (calls.ms < 1), (status == 503) & reads, status == 503, (status >= 500) & reads],
            ["DC", "RL", "UAEX", "UT", "UO", "UF,URX", "UF", "URX"], "-",
        )  # fmt: skip
        agent = np.array(["Market/8.4 (iPhone; iOS 18.4)", "Market/8.4 (Android 15)", "Mozilla/5.0 (X11; Linux x86_64) Firefox/139.0", "Rider/5.2 (Android 14)", "Kitchen/3.1", "payhub-hooks/2.0",
                          "settle/1.9", "Mozilla/5.0 (Windows NT 10.0) Chrome/136.0", "GoogleHC/1.0", *["scan-gw/4"] * 3, *["okhttp/4.12.0"] * MERCHANTS, *["till/2.7"] * TILLS, "python-requests/2.32.3"])  # fmt: skip
        frame = pl.DataFrame({
            "at": THURSDAY + calls.at, "order": THURSDAY + calls.at + calls.ms / 1000 + late, "client": calls.client, "tries": calls.tries.astype(int),
            "consumer": pl.Series(CONSUMERS).gather(calls.who), "agent": pl.Series(agent).gather(calls.who), "pod": pl.Series(PODS).gather(calls.gate), "status": status,
            "ms": np.rint(calls.ms).astype(int), "size": (random.lognormal(6.5, 1, n) * self.bigger[self.of_service[e], minute]).astype(int),
            "host": np.isin(flag, ["RL", "UAEX", "UO"]) | early, "waits": ~np.isin(flag, ["DC", "RL", "UAEX", "UO", "UT", "UF", "UF,URX"]) & ~early,
            "ip": _addresses(calls.instance), "cluster": self.clusters(calls.instance), "number": random.integers(10_000_000, 99_999_999, n),
            "hex": pl.Series(np.frombuffer(random.bytes(16 * n).hex().encode(), "S32")).cast(pl.String), "flag": flag,
            "method": pl.Series(self.method).gather(e), "path": pl.Series(self.path).gather(e), "service": pl.Series(self.service).gather(e),
        })  # fmt: skip
        uuid = _uuid(pl.col("hex").str.reverse())
        known = pl.when(pl.col("service") == "dispatch").then(uuid).when(pl.col("path").str.contains("parcels|shipments")).then(pl.format("RX{}DE", "number")).otherwise(pl.col("number").cast(pl.String))  # fmt: skip
        frame = frame.with_columns(
            uri=pl.concat_str(pl.col("path").str.split_exact("{id}", 1).struct[0], pl.when(pl.col("path").str.contains("{id}", literal=True)).then(known).otherwise(pl.lit("")),
                              pl.col("path").str.split_exact("{id}", 1).struct[1].fill_null("")),
            peer=pl.format("100.{}.{}.{}", 64 + pl.col("client") // 65_536, pl.col("client") // 256 % 256, pl.col("client") % 256),
            ip=pl.when("host").then(pl.lit("-")).otherwise(pl.col("ip") + ":8080"),
        )  # fmt: skip
        return [frame.select("at", "order", line=_line()), self._scanned()]

    def _scanned(self) -> pl.DataFrame:
        """Scanners ask for what is not there; Envoy has no route for it."""
        random = self.random
        guesses = ["/wp-login.php", "/.env", "/actuator/env", "/vendor/phpunit/x.php", "/.git/config", "/admin.php"]
        at = self.scans()
        frame = pl.DataFrame({
            "at": at, "order": at, "uri": random.choice(guesses, len(at)), "hex": pl.Series(np.frombuffer(random.bytes(16 * len(at)).hex().encode(), "S32")).cast(pl.String),
        }).with_columns(
            ms=pl.lit(0), status=pl.lit(404), method=pl.lit("GET"), consumer=pl.lit(""), cluster=pl.lit("-"), tries=pl.lit(0), agent=pl.lit("Mozilla/5.0 zgrab/0.x"), flag=pl.lit("NR"),
            pod=pl.lit(PODS[0]), waits=pl.lit(False), ip=pl.lit("-"), size=pl.lit(0), peer=pl.lit("203.0.113.9"),
        )  # fmt: skip
        return frame.select("at", "order", line=_line())


#: Flag → %RESPONSE_CODE_DETAILS%.
DETAILS = {
    "DC": "downstream_remote_disconnect", "RL": "request_rate_limited", "UAEX": "ext_authz_denied", "UT": "response_timeout", "UO": "overflow", "NR": "route_not_found",
    "UF": "upstream_reset_before_response_started{connection_termination}", "UF,URX": "upstream_reset_before_response_started{remote_connection_failure}",
}  # fmt: skip


def _line() -> pl.Expr:
    """A line of `LOG_FORMAT`."""
    number = {name: pl.col(name).cast(pl.String) for name in ("ms", "status", "size", "tries")}
    served = pl.when("waits").then((pl.col("ms") - 1).clip(0).cast(pl.String)).otherwise(pl.lit("-"))
    named = pl.when(pl.col("consumer") != "").then("consumer").otherwise(pl.lit("-"))
    return pl.concat_str(
        pl.lit("["), pl.from_epoch((pl.col("at") * 1000).cast(pl.Int64), time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), pl.lit('] "'), "method", pl.lit(" "), "uri",
        pl.lit(' HTTP/2" '), number["status"], pl.lit(" "), "flag", pl.lit(" "), pl.col("flag").replace_strict(DETAILS, default="via_upstream"), pl.lit(" 310 "), number["size"], pl.lit(" "),
        number["ms"], pl.lit(" "), served, pl.lit(" "), "peer", pl.lit(' "'), "peer", pl.lit('" "'), "agent", pl.lit('" "'), _uuid(pl.col("hex")), pl.lit('" "api.market.example" "'), "ip",
        pl.lit('" '), "cluster", pl.lit(" "), number["tries"], pl.lit(" "), named, pl.lit(" "), "pod",
    )  # fmt: skip


def _uuid(digits: pl.Expr) -> pl.Expr:
    """32 hexadecimal digits as a UUID."""
    return pl.concat_str([digits.str.slice(at, n) for at, n in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))], separator="-")  # fmt: skip


def address(instance: int) -> str:
    """ip:port of an instance, as Envoy logs it."""
    return f"{_addresses(np.array([instance]))[0]}:8080"


def _addresses(instance: np.ndarray) -> pl.Series:
    """Addresses of instances; 25 generations of a service share a third octet."""
    frame = pl.DataFrame({"i": instance.astype(int)})
    number = pl.col("i") % 10_000
    return frame.select(ip=pl.format("10.36.{}.{}", pl.col("i") // 10_000 * 3 + number // 250, 1 + number % 250))["ip"]


def _times(random: np.random.Generator, mean: float, count: int, kind: str) -> np.ndarray:
    """How often each of so many does it: browsing is uneven, what belongs to a step is done once or twice."""
    if kind == "browse":
        return random.poisson(mean * random.gamma(1.5, 1 / 1.5, count))
    return (int(mean) + (random.random(count) < mean % 1)).astype(int)


def _beats(random: np.random.Generator, begin: np.ndarray, length: np.ndarray, wanted: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Seconds of so many calls at even distances within spans (seconds), and the span of each."""
    times = np.floor(length * wanted / length.sum() + random.random(len(length))).astype(int)
    chosen = np.repeat(np.arange(len(begin)), times)
    turn = np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)
    step = (length / np.maximum(times, 1))[chosen]
    return begin[chosen] + (turn + random.random(len(begin))[chosen] + random.normal(0, 0.05, len(chosen))) * step, chosen  # fmt: skip


def plant(random: np.random.Generator, world: Delivery, quiet: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults, and the faults with their figures, measured beside the calls without."""
    before = planted.split(quiet, world.endpoints)
    drawn, done = partial(_drawn, random, world, before), partial(_done, random, world)
    calls, faults = planted.plant(random, KINDS, quiet, drawn, done)
    now, usual = (_by_time(every, world.endpoints) for every in (calls, quiet))
    for fault in faults:
        planted.measure(fault, SHOWN, partial(_looked_at, world, now, usual))
    return calls, faults


def _by_time(calls: Calls, endpoints: int) -> list[Calls]:
    """The calls of each endpoint in order of time."""
    calls = calls.where(np.argsort(calls.at, kind="stable"))
    return [calls.where(rows) for rows in by_endpoint(calls.endpoint, endpoints)]


def _usable(world: Delivery, kind: str, per_minute: np.ndarray) -> list[int]:
    """Endpoints at which a fault of a kind can be."""
    usable = [e for e in range(world.endpoints) if world.kind[e] != "probe" and world.path[e] not in (OLD, NEW_PATH)]
    callers = {
        "auth_failure": ("open", "browse", "checkout", "poll", "couriers", "merchants"),
        "rate_limit": ("merchants", "tills", "browse", "couriers"),
    }
    least = {"validation_regression": 0.1, "auth_failure": 0.4, "rate_limit": 0.4, "recurring": 0.2, "low_traffic_fail": 0, **dict.fromkeys((*COUNTED, *SLOW), 0.2)}  # fmt: skip
    usable = [e for e in usable if per_minute[e] >= least.get(kind, 0)]
    if kind == "low_traffic_fail":
        usable = [e for e in usable if per_minute[e] < 0.15]
    elif kind == "validation_regression":
        usable = [e for e in usable if world.method[e] in ("POST", "PUT", "PATCH")]
    elif kind in callers:
        usable = [e for e in usable if world.kind[e] in callers[kind]]
    elif kind in COUNTED or kind in SLOW or kind == "recurring":
        usable = [e for e in usable if world.kind[e] not in ("batch", "scraped", "hooks")]
    return usable


def _drawn(
    random: np.random.Generator, world: Delivery, quiet: Split, others: list[Fault], kind: str, grade: str, length: int
) -> Fault | None:  # fmt: skip
    """A fault of a kind at a time when its endpoint is called; None where it falls on another, on an event, or on too few calls."""
    per_minute = np.array([len(rows) for rows in quiet.rows]) / world.minutes
    usable = _usable(world, kind, per_minute)
    fault = Fault(kind, "easy" if kind == "silence" else grade, [], [], strength=STRENGTHS[grade])
    met = planted.place(random, fault, length, world, quiet, usable)
    if met is None:
        return None
    first = int(quiet.calls.endpoint[met])
    if kind == "node_outage":
        fault.endpoints = [e for e in usable if per_minute[e] > 0.02]
        fault.gate = int(quiet.calls.gate[met])
    elif kind == "upstream_timeout":
        fault.upstream = str(world.clusters(quiet.calls.instance[[met]])[0])
        if random.random() < 0.5:  # one instance does not answer
            fault.endpoints, fault.instance = planted.siblings(world, usable, first), int(quiet.calls.instance[met])
            fault.upstream = address(fault.instance)
    fault.code = planted.answer(random, kind, world.answers[first])
    releases = world.kind[first] in ("open", "browse", "checkout", "merchants")
    planted.of_one_consumer(random, fault, quiet, met, releases, ANONYMOUS)
    return fault if planted.stands(fault, world, quiet, others) else None


def _done(random: np.random.Generator, world: Delivery, calls: Calls, fault: Fault) -> Calls:
    """The calls with a fault in them."""
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in SLOW:
        grown = planted.factor(fault, calls.at[inside])
        if fault.kind == "latency_tail":
            grown = np.where(draw[inside] < fault.strength.in_tail, random.uniform(5, 15, inside.sum()), 1)
        calls.ms[inside] *= grown
        calls.status, calls.ms = world._cut(calls.status, calls.ms, calls.endpoint)
        return calls
    hit = np.flatnonzero(inside & (draw < fault.share))
    reads = np.isin(np.array(world.method), ["GET", "PUT"])[calls.endpoint]
    if fault.code == 429:
        calls = planted.refuse(random, calls, fault, inside, hit)
        calls.tries[calls.status == 429] = 0
        return calls
    calls.status[hit] = fault.code
    if fault.code == 504:
        calls.ms[hit] = world.limit[calls.endpoint[hit]]
    elif fault.code in (502, 503):
        calls.ms[hit] = 1 + random.exponential(4, len(hit)) + 60 * reads[hit] * random.random(len(hit))
    elif (fault.code or 0) < 500:
        calls.ms[hit] *= 0.6
    if (fault.code or 0) < 500:
        return calls
    # Envoy asked three times for what failed; as many came through at the second attempt.
    calls.tries[hit[reads[hit] & (fault.code != 504)]] = 3
    second = np.flatnonzero(inside & reads & (draw > 1 - 0.5 * fault.share) & (calls.status < 400))
    if fault.code != 504:
        calls.tries[second] = 2
        calls.ms[second] = np.minimum(calls.ms[second] * 1.8 + 25, world.limit[calls.endpoint[second]] - 1)
    return world.tried_again(random, calls, hit, fault)


def _looked_at(world: Delivery, now: list[Calls], before: list[Calls], fault: Fault) -> planted.Figures:
    """A fault's figures at its endpoints. now, before: calls of each endpoint with and without faults, in order of time."""
    every, quiet = (_joined_calls([calls[e] for e in fault.endpoints], fault) for calls in (now, before))
    last = replace(fault, spans=[(planted.drifted(fault), fault.end)]) if fault.kind == "latency_drift" else fault
    here, usual = (calls.where(last.inside(calls.at)) for calls in (every, quiet))
    return planted.figures(
        last, quiet, here, usual, last.start, partial(_z_of_mean, last, world), partial(_z_of_count, last, world)
    )


def _joined_calls(parts: list[Calls], fault: Fault) -> Calls:
    """The calls that can meet a fault, in order of time."""
    calls = parts[0].and_those(*parts[1:]) if len(parts) > 1 else parts[0]
    calls = calls.where(fault.hits(calls))
    return calls.where(np.argsort(calls.at, kind="stable")) if len(parts) > 1 else calls


def _windows(fault: Fault, world: Delivery, *, same_kind: bool) -> list[tuple[float, float]]:
    """Windows as long at the same time of day, and half an hour earlier and later, on the other days; none in an ambiguous event."""
    off, found = world.free("berlin"), []
    for begin, stop in fault.spans:
        for day in range(-world.days, world.days + 1):
            for shift in (-1800, 0, 1800):
                start = begin + day * 86_400 + shift
                if start < 0 or start + stop - begin > world.minutes * 60 or day == 0:
                    continue
                if same_kind and off[int(start // 60)] != off[int(begin // 60)]:
                    continue
                if not world.excepted(fault.endpoints, np.linspace(start, start + stop - begin, 9)).any():
                    found.append((start, start + stop - begin))
    return found


def _z_of_mean(fault: Fault, world: Delivery, at: np.ndarray, values: np.ndarray, here: np.ndarray) -> tuple[float, float]:  # fmt: skip
    """How far the mean of the fault's values lies above that of the windows, in standard errors; and the windows' mean.

    at: seconds of the values without faults, in order. Where fewer than four windows have a quarter as many calls, all calls are the
    comparison, and no spread between windows is known.
    """
    if len(here) < 3 or len(at) < 30:
        return 0.0, 0.0
    values, here = values.astype(float), here.astype(float)
    windows = np.array(_windows(fault, world, same_kind=False)).reshape(-1, 2)
    first, last = np.searchsorted(at, windows[:, 0]), np.searchsorted(at, windows[:, 1])
    count = last - first
    full = count >= max(4, len(here) / len(fault.spans) / 4)
    mean, within, between = values.mean(), max(values.var(), 1e-4), 0.0
    if full.sum() >= 4:
        total = np.concatenate([[0.0], np.cumsum(values)])
        square = np.concatenate([[0.0], np.cumsum(values**2)])
        sums, count = (total[last] - total[first])[full], count[full]
        mean = sums.sum() / count.sum()
        within = max((square[last] - square[first])[full].sum() / count.sum() - mean**2, 1e-4)
        between = max(0.0, (sums / count).var() - within * (1 / count).mean())
    error = np.sqrt(within / len(here) + between / len(fault.spans) + 0.25 / len(here) ** 2)
    return float((here.mean() - mean) / error), float(mean)


def _z_of_count(fault: Fault, world: Delivery, at: np.ndarray, here: int) -> float:
    """How far the number of calls lies beyond those of the windows on days of the same kind, in their deviations."""
    counts = np.array([np.searchsorted(at, stop) - np.searchsorted(at, start) for start, stop in _windows(fault, world, same_kind=True)])  # fmt: skip
    if len(counts) < 3:
        return 0.0
    beyond = here - counts.mean() if fault.kind == "traffic_spike" else counts.mean() - here
    # Fewer than none cannot be: silence is as far away as the quietest of the windows allows.
    spread = np.sqrt(counts.mean() + counts.var() + 1)
    quietest = (counts.min() - here) / np.sqrt(counts.min() + 1)
    return float(max(beyond / spread, quietest if fault.kind != "traffic_spike" else (here - counts.max()) / np.sqrt(counts.max() + 1)))  # fmt: skip


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `delivery`, or `quiet-delivery` for the same one without faults. 36 to 44 endpoints, at least 9 days."""
    world = Delivery(np.random.default_rng([seed, 1405]), endpoints, days, calls_per_minute)
    calls = world.answered(world.traffic())
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = plant(np.random.default_rng([seed, 1405, 9]), world, calls)
    return world.world(
        world.logged(calls), planted.labels(faults, world, PODS, partial(planted.in_words, world, CONSUMERS))
    )
