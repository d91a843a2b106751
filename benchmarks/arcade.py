"""An eighth kind of world, by an author who has not read the detector: a maker of online games behind Kong.

    python benchmarks/detection.py arcade:1 quiet-arcade:1

Players of three regions open sessions and play matches; what they call follows from that: a login is a bundle of calls, a match is queued
for (polled every few seconds), played for twenty minutes, and its end calls again. Game servers beat and hand in results, streamers' overlays
poll for the hours of a stream (many at the full hour), payment providers deliver webhooks, a scraper comes and goes, staff keep office hours,
a batch ranks at night. The log is Kong's syslog plugin: whole milliseconds, a consumer per client or partner, the address of the instance
that answered and no name of an upstream. Some endpoints have a lognormal latency so wide that its mean is useless, all a Pareto tail; latency grows
with the load until the autoscaler follows; rarely called functions start cold. Clients try again after 1, 2 and 4 seconds, webhooks after minutes.

No fault are: weekends, a holiday in Europe, a weekend of double points, the rotation of the shop (a herd twice a day), a settlement
every night, overlays that come and go, the scraper and its 429, a partner at its quota, tokens that run out, deployments (a few 502, new
addresses, cold caches, other sizes), the patch's 6 % for good and its move of an endpoint to v3 within days, flash events at any hour, farmers (bots that play for days), endpoints
that were never good, timeouts at the day's peak, housekeeping of databases, an instance that falls over for a minute or two, a slow neighbour, blips of half
a minute, scanners, health checks, lines that come late, holes in the log. What somebody on call may have liked to hear of is `ambiguous`: the
patch's maintenance (which lets in who tries again) and the rush after it, a final on stream, the reindex on Sundays, webhooks that were held back and come at once.

Every fault says in `effect` what it did to users, measured in the calls beside the same world without faults (where it is clearest). Grades are what was done,
lowered where few calls show it (`CLEAR`, `SHOWN`); a fault is detectable from z = 5 on, when besides at least 8 calls failed by 2 points more than
usual, 25 were slow by a fifth, or 25 came too many or too few. z compares the window with the windows as long of the same calls without faults; counts with
the same time of day on days of the same kind. Seeds 1, 2 and 101 are for building, 201 and 202 are held out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl
from calls import Columns, Spells, arrivals, ticks, within
from worlds import DAY, SIGNAL, World, wander

WEDNESDAY = int(datetime(2026, 6, 10, tzinfo=UTC).timestamp())  # days 3, 4, 10 and 11 are weekends
PATCH, HOLIDAY, FINAL = 6, 8, 10  # days: a Tuesday, a Thursday (Europe), a Saturday
REGIONS = {"eu": (2, 0.45), "us": (-5, 0.33), "asia": (8, 0.22)}  # hours ahead of UTC, share of players
PLATFORMS = {"pc": 0.4, "console-a": 0.25, "android": 0.15, "ios": 0.1, "console-b": 0.1}
OVERLAYS = 30
CONSUMERS = [
    *PLATFORMS, *(f"servers-{region}" for region in REGIONS), "paypipe", "wallet", "ranking", "staff", "probe", "website",
    *(f"overlay-{i:02}" for i in range(OVERLAYS)), "",
]  # fmt: skip
ANONYMOUS = len(CONSUMERS) - 1
NODES = ["kong-1", "kong-2", "kong-3", "kong-4"]
WARM_UP = 4  # days without faults

#: service, method, path, calls per minute, median ms, spread of log ms, who calls, what is answered beside 200 although nothing is wrong
ROUTES: list[tuple[str, str, str, float, float, float, str, dict[int, float]]] = [
    ("auth", "POST", "/auth/v1/token", 3.0, 85, 0.35, "login", {401: 0.05, 400: 0.004}),
    ("auth", "POST", "/auth/v1/refresh", 1.6, 30, 0.3, "menu", {401: 0.02}),
    ("auth", "GET", "/auth/v1/jwks", 0.8, 3, 0.3, "overlays", {304: 0.4}),
    ("auth", "POST", "/auth/v1/devices", 0.06, 140, 0.4, "login", {409: 0.05}),
    ("players", "GET", "/players/v2/{id}", 4.0, 28, 0.4, "login", {404: 0.004, 401: 0.01}),
    ("players", "GET", "/players/v2/{id}/inventory", 3.2, 60, 0.6, "login", {401: 0.01}),
    ("players", "GET", "/players/v3/{id}/inventory", 3.2, 45, 0.5, "login", {401: 0.01}),
    ("players", "PATCH", "/players/v2/{id}/settings", 0.25, 55, 0.4, "menu", {422: 0.02}),
    ("players", "GET", "/players/v2/{id}/stats", 1.2, 110, 0.8, "web", {404: 0.05}),
    ("matchmaking", "POST", "/matchmaking/v3/tickets", 3.0, 40, 0.35, "begin", {409: 0.02, 403: 0.004}),
    ("matchmaking", "GET", "/matchmaking/v3/tickets/{id}", 9.0, 8, 0.35, "queue", {404: 0.03}),
    ("matchmaking", "DELETE", "/matchmaking/v3/tickets/{id}", 0.3, 15, 0.35, "begin", {404: 0.1}),
    ("matches", "POST", "/matches/v3/{id}/results", 0.45, 180, 0.5, "servers", {409: 0.01}),
    ("matches", "GET", "/matches/v3/{id}", 2.2, 70, 0.5, "end", {404: 0.03}),
    ("matches", "POST", "/matches/v3/{id}/reports", 0.08, 95, 0.4, "end", {429: 0.01}),
    ("fleet", "PUT", "/fleet/v1/servers/{id}/heartbeat", 4.0, 5, 0.25, "fleet", {}),
    ("fleet", "POST", "/fleet/v1/allocations", 0.45, 900, 0.7, "servers", {409: 0.02}),
    ("social", "GET", "/social/v1/friends", 2.6, 45, 0.45, "login", {401: 0.01}),
    ("social", "POST", "/social/v1/invites", 0.7, 35, 0.4, "menu", {404: 0.02, 429: 0.004}),
    ("social", "PUT", "/social/v1/presence", 4.5, 6, 0.3, "menu", {}),
    ("social", "GET", "/social/v1/feed", 0.9, 240, 1.1, "menu", {}),
    ("social", "POST", "/social/v1/clans", 0.04, 120, 0.4, "menu", {409: 0.08, 422: 0.05}),
    ("store", "GET", "/store/v2/rotation", 2.2, 12, 0.4, "login", {304: 0.25}),
    ("store", "GET", "/store/v2/offers/{id}", 1.4, 26, 0.4, "menu", {404: 0.01}),
    ("store", "POST", "/store/v2/orders", 0.4, 650, 0.6, "menu", {402: 0.06, 409: 0.02}),
    ("store", "POST", "/store/v2/refunds", 0.03, 480, 0.4, "staff", {409: 0.05}),
    ("pay", "POST", "/pay/v1/webhooks/paypipe", 0.6, 75, 0.5, "hooks", {}),
    ("pay", "POST", "/pay/v1/webhooks/wallet", 0.3, 60, 0.5, "hooks", {400: 0.01}),
    ("ugc", "POST", "/ugc/v1/maps", 0.07, 700, 0.5, "web", {413: 0.03, 422: 0.04}),
    ("ugc", "GET", "/ugc/v1/maps/{id}", 0.9, 130, 0.9, "menu", {404: 0.03}),
    ("ugc", "POST", "/ugc/v1/thumbnails", 0.09, 1_100, 0.5, "web", {415: 0.02}),
    ("telemetry", "POST", "/telemetry/v1/batches", 4.0, 10, 0.4, "menu", {413: 0.003}),
    ("telemetry", "POST", "/telemetry/v1/crashes", 0.15, 40, 0.5, "menu", {413: 0.02}),
    ("ranks", "GET", "/ranks/v1/leaderboards/{id}", 3.0, 18, 0.5, "overlays", {429: 0.004}),
    ("ranks", "GET", "/ranks/v1/players/{id}", 1.2, 24, 0.5, "overlays", {404: 0.03}),
    ("ranks", "POST", "/ranks/v1/recompute", 0.6, 350, 0.5, "night", {}),
    ("web", "GET", "/web/v1/news", 1.0, 9, 0.4, "web", {304: 0.3}),
    ("web", "GET", "/status", 2.0, 1, 0.2, "probe", {}),
    ("market", "GET", "/market/v1/listings", 2.0, 85, 0.7, "scraped", {}),
    ("market", "POST", "/market/v1/bids", 0.3, 95, 0.5, "menu", {409: 0.12}),
    ("tools", "GET", "/tools/v1/players/{id}/audit", 0.3, 900, 1.0, "staff", {403: 0.01, 404: 0.02}),
    ("ugc", "GET", "/ugc/v1/search", 0.5, 320, 0.8, "menu", {400: 0.02}),
    ("web", "GET", "/web/v1/streams", 0.8, 55, 0.6, "web", {}),
    ("store", "GET", "/store/v2/orders/{id}", 0.6, 22, 0.4, "menu", {404: 0.01}),
]  # fmt: skip
OLD, NEW_PATH = "/players/v2/{id}/inventory", "/players/v3/{id}/inventory"
FUNCTIONS = {"ugc", "tools"}  # run only while they are called

#: Share of calls that fail; factor on latency; share of calls in the tail; what is left of traffic; factor on traffic.
FAILS = {"easy": 0.5, "medium": 0.16, "hard": 0.055}
SLOWER = {"easy": 2.8, "medium": 1.7, "hard": 1.35}
IN_TAIL = {"easy": 0.22, "medium": 0.1, "hard": 0.05}
LEFT = {"easy": 0.05, "medium": 0.35, "hard": 0.6}
MORE = {"easy": 5.0, "medium": 3.0, "hard": 2.0}
LOW_FAILS = {"easy": 0.9, "medium": 0.55, "hard": 0.35}
NEW = {"easy": 0.2, "medium": 0.06, "hard": 0.025}
GRADES = ("easy", "medium", "hard")
CLEAR = {"easy": 15.0, "medium": 8.0, "hard": 5.0}  # least z
SHOWN = {"easy": 25, "medium": 12, "hard": 8}  # least calls that failed; of other faults 25
#: kind, how often, median length in minutes
KINDS = [
    ("node_outage", 1, 16), ("recurring", 1, 30), ("latency_drift", 1, 2900), ("error_burst", 3, 32), ("upstream_timeout", 2, 30), ("latency_step", 2, 100),
    ("latency_tail", 1, 170), ("auth_failure", 1, 80), ("rate_limit", 1, 60), ("traffic_drop", 1, 100), ("traffic_spike", 1, 70), ("silence", 1, 150),
    ("new_code", 1, 260), ("validation_regression", 1, 420), ("low_traffic_fail", 1, 900),
]  # fmt: skip
SIGNALS = SIGNAL | {"silence": "traffic"}
COUNTED = ("traffic_drop", "traffic_spike", "silence")
SLOW = ("latency_step", "latency_tail", "latency_drift")


@dataclass
class Calls(Columns):
    """One entry per call: seconds since the world's beginning, numbers of endpoint, consumer, client, node and instance, status, ms."""

    at: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    client: np.ndarray
    node: np.ndarray
    instance: np.ndarray
    status: np.ndarray
    ms: np.ndarray


@dataclass
class Fault(Spells):
    code: int | None = None
    consumer: int | None = None
    node: int | None = None
    instance: int | None = None
    affected: int = 0
    z: float = 0.0
    usual: float = 0.0  # share of calls that fail or are slow; of the same window: mean ms (geometric), or calls
    during: float = 0.0

    def hits(self, calls: Calls) -> np.ndarray:
        """Which calls can meet it, at whatever time."""
        mine = np.isin(calls.endpoint, self.endpoints)
        for chosen, values in ((self.consumer, calls.consumer), (self.node, calls.node), (self.instance, calls.instance)):  # fmt: skip
            if chosen is not None:
                mine &= values == chosen
        return mine


@dataclass
class Arcade:
    """What a seed decides before anybody plays."""

    random: np.random.Generator
    endpoints: int
    days: int
    calls_per_minute: float
    events: list[dict] = field(default_factory=list)
    ambiguous: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        random, routes = self.random, ROUTES[: self.endpoints]
        if len(routes) < self.endpoints or self.endpoints < 36 or self.days < 9:
            raise ValueError(f"an arcade has 36 to {len(ROUTES)} endpoints and at least 9 days")
        self.service, self.method, self.path, rates, medians, widths, self.kind, self.answers = map(list, zip(*routes, strict=True))  # fmt: skip
        self.services = sorted(set(self.service))
        self.of_service = np.array([self.services.index(name) for name in self.service])
        self.minutes = self.days * DAY
        self.minute = np.arange(self.minutes)
        self.rate = np.array(rates) * np.exp(random.normal(0, 0.25, self.endpoints)) * self.calls_per_minute / sum(rates)  # fmt: skip
        self.median = np.array(medians) * np.exp(random.normal(0, 0.2, self.endpoints))
        self.width = np.array(widths)
        self.factor = np.ones((self.endpoints, self.minutes))  # of traffic
        self.slower = np.ones((self.endpoints, self.minutes))
        self.failing = np.zeros((self.endpoints, self.minutes))  # share answered 502 although nothing is wrong
        self.generation = np.zeros((len(self.services), self.minutes), dtype=int)  # of a service's instances
        self.bigger = np.ones((len(self.services), self.minutes))  # of sizes
        self._happens()

    def of(self, *services: str) -> np.ndarray:
        return np.array([e for e in range(self.endpoints) if self.service[e] in services])

    def named(self, what: str, start: float, end: float, endpoints: np.ndarray, *, ambiguous: bool = False) -> None:
        """Notes an event; minutes since the world's beginning."""
        told = {"what": what, "start": WEDNESDAY + int(start * 60), "end": WEDNESDAY + int(end * 60), "endpoints": [int(e) for e in endpoints]}  # fmt: skip
        (self.ambiguous if ambiguous else self.events).append(told)

    def _happens(self) -> None:
        random, minute = self.random, self.minute
        players = np.array([e for e in range(self.endpoints) if self.kind[e] in ("login", "menu", "begin", "queue", "end", "servers")])  # fmt: skip
        # The patch: two hours of maintenance, then everybody wants to play.
        begin = PATCH * DAY + 8 * 60
        closed = (minute >= begin) & (minute < begin + 110)
        game = self.of("matchmaking", "store", "matches")
        self.failing[np.ix_(game, closed)] = 1.0
        since = minute - begin - 110
        self.rush = np.where(since >= 0, 1 + 1.3 * np.exp(-np.maximum(since, 0) / 300), np.where(closed, 0.5, 1.0))
        self.named("patch: maintenance", begin, begin + 115, np.union1d(game, players), ambiguous=True)
        self.named("patch: rush", begin + 110, begin + 480, players, ambiguous=True)
        self.slower[self.of("matchmaking"), begin:] *= 1.06
        moved = np.where(since >= 0, 1 - np.exp(-np.maximum(since, 0) / 900), 0)
        for path, share in ((OLD, 1 - 0.97 * moved), (NEW_PATH, moved)):
            if path in self.path:
                self.factor[self.path.index(path)] *= share
        self.named("client release moves an endpoint to v3", begin, begin + 3 * DAY, self.of("players"))
        # The final: who watches does not play; the website is full.
        if self.days > FINAL:
            at = FINAL * DAY + 17 * 60
            wave = np.clip((minute - at) / 45, 0, 1) * np.clip((at + 270 - minute) / 30, 0, 1)
            watching = [e for e in self.of("web", "ranks", "players") if self.kind[e] in ("web", "overlays")]
            self.factor[watching] *= 1 + 2.2 * wave
            self.rush *= 1 - 0.18 * wave
            self.named("final on stream", at, at + 300, np.union1d(watching, self.of("web")), ambiguous=True)
        # Flash events in the game, announced to phones: at any hour, one or two a day, for half an hour.
        for _ in range(int(1.4 * self.days)):
            at, strong = random.uniform(0, self.minutes), random.uniform(0.3, 1.0)
            self.rush *= 1 + strong * np.clip((minute - at) / 4, 0, 1) * np.clip((at + 35 - minute) / 10, 0, 1)
            self.named("flash event", at, at + 45, players)
        # Farmers: bots that play around the clock, for a day or two; one is there in the warm-up.
        self.farmers = [(day + random.uniform(0, 1), random.uniform(0.8, 2.0)) for day in (1, 5, 9)]
        for day, length in self.farmers:
            self.named("farmers", day * DAY, (day + length) * DAY, players)
        # Housekeeping of databases: every night, and for two hours on Sundays.
        for day in range(self.days):
            at = int(day * DAY + 4 * 60 + random.normal(0, 4))
            self.slower[self.of("players", "store"), at : at + 20] *= 1.5
            if (day + 2) % 7 == 6:
                self.slower[self.of("ugc", "matches"), at + 60 : at + 180] *= 1.7
                self.named("reindex on Sunday", at + 60, at + 185, self.of("ugc", "matches"), ambiguous=True)
        # Deployments: a few 502, new addresses, cold caches, other sizes.
        for _ in range(int(self.days * 1.2)):
            service = int(random.integers(len(self.services)))
            at = int(random.uniform(0.3, self.days - 0.3) * DAY)
            mine = self.of(self.services[service])
            self.failing[mine, at : at + 2] = np.maximum(self.failing[mine, at : at + 2], 0.06)
            after = np.maximum(minute - at, 0)
            self.slower[mine] *= np.where(minute >= at, 1 + 0.7 * np.exp(-after / 6), 1)
            self.slower[mine, at:] *= np.exp(random.normal(0, 0.02))
            self.bigger[service, at:] *= np.exp(random.normal(0, 0.1))
            self.generation[service, at:] += 1
            self.named("deployment", at, at + 30, mine)
        # Blips: half of one minute's calls.
        for at in random.integers(0, self.minutes, 2 * self.days):
            self.failing[random.choice(self.endpoints, 3, replace=False), at] += 0.25
        self.failing = np.minimum(self.failing, 1)
        # A slow neighbour: the first instance of a service, for minutes.
        self.neighbour = [(int(random.integers(len(self.services))), random.uniform(0, self.minutes), random.uniform(5, 25)) for _ in range(self.days * 3)]  # fmt: skip
        # An instance that falls over and is restarted within two minutes.
        self.fallen = [(int(random.integers(len(self.services))), random.uniform(0, self.minutes * 60), random.uniform(30, 120)) for _ in range(self.days * 2)]  # fmt: skip
        #: Share of calls that fail at all times; some endpoints were never good.
        self.never_good = np.minimum(random.lognormal(np.log(0.0006), 1.1, self.endpoints), 0.02)
        # Webhooks are held back and come at once, twice; one of the times is in the warm-up.
        self.held = [(day * DAY + random.uniform(9, 20) * 60, random.uniform(25, 50)) for day in (2, 7)]
        for at, length in self.held:
            self.named("webhooks held back", at, at + length + 15, self.of("pay"), ambiguous=True)
        # Holes in the log: of one node, and of all; and a shipper that stalls, whose lines come late.
        self.holes = [(random.uniform(4, self.days) * 86_400, 60 * random.uniform(8, 18), int(random.integers(4)))]
        self.holes.append((random.uniform(4, self.days) * 86_400, 240.0, -1))
        self.stalled = (random.uniform(4, self.days - 0.5) * 86_400, 60 * random.uniform(10, 25), int(random.integers(4)))  # fmt: skip

    def excepted(self, endpoints: list[int], at: np.ndarray) -> np.ndarray:
        """Which moments fall into an event of these endpoints that is no fault and no usual time either."""
        return within(self.ambiguous, endpoints, at + WEDNESDAY)

    def free(self, region: str) -> np.ndarray:
        """Whether people there need not work, per minute."""
        day = (self.minute / 60 + REGIONS[region][0]) // 24
        return ((day + 2) % 7 >= 5) | ((day == HOLIDAY) & (region == "eu"))

    def playing(self, region: str) -> np.ndarray:
        """Sessions that open, per minute, in their mean over a working day."""
        hour = (self.minute / 60 + REGIONS[region][0]) % 24

        def peak(at: float, width: float) -> np.ndarray:
            away = np.minimum(np.abs(hour - at), 24 - np.abs(hour - at))
            return np.exp(-((away / width) ** 2) / 2)

        working = 0.07 + 0.45 * peak(16.5, 1.8) + 1.0 * peak(20.5, 1.9)
        day_off = 0.14 + 0.8 * peak(14, 3.5) + 1.05 * peak(20.8, 2.4)
        weekend = (self.minute >= FINAL * DAY) & (self.minute < (FINAL + 2) * DAY)  # double points
        return np.where(self.free(region), day_off, working) / working.mean() * np.where(weekend, 1.2, 1.0)

    def office(self) -> np.ndarray:
        """Traffic of staff in Europe, per minute, in its mean of a working day."""
        hour = (self.minute / 60 + 2) % 24
        shape = 0.01 + np.exp(-(((hour - 13) / 3.6) ** 4))
        return np.where(self.free("eu"), 0.03, 1) * shape / shape.mean()

    def traffic(self) -> Calls:
        """Who calls what and when, without answers."""
        random, end = self.random, self.minutes * 60.0
        # Sessions: beginning, region, platform, player; friends come together.
        rate = self.rate[self.path.index("/players/v2/{id}")] / 1.6
        begins, regions = [], []
        for number, (region, (_, share)) in enumerate(REGIONS.items()):
            wave = (
                wander(random, 1, self.minutes, np.array([0.15]), 200)[0]
                * wander(random, 1, self.minutes, np.array([0.12]), 20)[0]
            )
            at = arrivals(random, share * rate / 1.4 * self.playing(region) * wave * self.rush)
            at = np.repeat(at, random.geometric(1 / 1.4, len(at)))
            begins.append(at + random.exponential(40, len(at)))
            regions.append(np.full(len(at), number))
        for day, length in self.farmers:
            farming = (self.minute >= day * DAY) & (self.minute < (day + length) * DAY)
            begins.append(arrivals(random, np.where(farming, random.uniform(0.1, 0.2) * rate, 0)))
            regions.append(np.full(len(begins[-1]), 2))
        begin, region = np.concatenate(begins), np.concatenate(regions)
        platform = random.choice(len(PLATFORMS), len(begin), p=list(PLATFORMS.values()))
        player = random.zipf(1.3, len(begin)) % 40_000
        bots = len(begin) - sum(len(one) for one in begins[-len(self.farmers) :])
        platform[bots:], player[bots:] = 0, 40_000 + np.arange(len(begin) - bots) % 12
        matches = random.geometric(1 / 2.6, len(begin))
        session = np.repeat(np.arange(len(begin)), matches)
        length = 60 * random.lognormal(np.log(22), 0.35, len(session))
        before = np.cumsum(length) - length
        first = np.cumsum(matches) - matches
        begin_of = begin[session] + 90 + before - before[first][session]
        end_of = begin_of + 0.85 * length
        last = begin + 90 + np.add.reduceat(length, first)
        results = np.sort(random.permutation(len(session))[: len(session) // 8])  # eight play one match
        parts: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]] = []
        own = wander(random, self.endpoints, self.minutes, random.uniform(0.05, 0.18, self.endpoints), 90)
        for e in range(self.endpoints):
            kind, most = self.kind[e], float((self.factor[e] * own[e]).max())
            wanted = self.rate[e] * self.minutes * most  # calls, before those beyond the factor are taken out again
            who: np.ndarray
            if kind in ("login", "menu", "begin", "end", "queue"):
                anchors = len(begin) if kind in ("login", "menu") else len(session)
                times = _times(random, wanted / anchors, anchors, kind)
                chosen = np.repeat(np.arange(anchors), times)
                of = chosen if kind in ("login", "menu") else session[chosen]
                if kind == "login":
                    at = begin[chosen] + random.exponential(6, len(chosen))
                elif kind == "menu":
                    at = begin[chosen] + random.random(len(chosen)) * (last - begin)[chosen]
                elif kind == "queue":
                    at = begin_of[chosen] + 5.0 * (np.arange(len(chosen)) - np.repeat(np.cumsum(times) - times, times)) + random.normal(0, 0.3, len(chosen))  # fmt: skip
                else:
                    at = (begin_of if kind == "begin" else end_of)[chosen] + random.exponential(4, len(chosen))
                who, client = platform[of], player[of]
            elif kind == "servers":
                chosen = np.repeat(results, _times(random, wanted / len(results), len(results), kind))
                at = (begin_of if "allocations" in self.path[e] else end_of)[chosen] + random.exponential(3, len(chosen))  # fmt: skip
                who, client = len(PLATFORMS) + region[session[chosen]], 50_000 + chosen % 60
            else:
                at, who, client = self._others(e, kind, wanted / self.minutes)
            keep = (at >= 0) & (at < end)
            at, who, client = at[keep], who[keep], client[keep]
            keep = random.random(len(at)) * most < (self.factor[e] * own[e])[(at // 60).astype(int)]
            parts.append((at[keep], e, who[keep], client[keep]))
        if "/store/v2/rotation" in self.path:  # the shop rotates at noon and midnight: who is in the game asks at once
            for turn in np.arange(0, end, 43_200):
                there = np.flatnonzero((begin < turn) & (last > turn))
                at = turn + random.exponential(25, len(there))
                parts.append((at, self.path.index("/store/v2/rotation"), platform[there], player[there]))
        at = np.concatenate([part[0] for part in parts])
        endpoint = np.concatenate([np.full(len(part[0]), part[1]) for part in parts])
        who, client = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
        keep = (at >= 0) & (at < end)
        order = np.flatnonzero(keep)[np.argsort(at[keep], kind="stable")]
        node = random.choice(len(NODES), len(order), p=[0.3, 0.28, 0.22, 0.2])
        return Calls(at[order], endpoint[order], who[order].astype(int), client[order].astype(int), node, *(np.zeros(len(order)) for _ in range(3)))  # fmt: skip

    def _others(self, e: int, kind: str, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Seconds, consumer and client of the calls of those who do not play; rate: calls per minute."""
        random, end, number = self.random, self.minutes * 60.0, CONSUMERS.index
        if kind == "fleet":
            count = max(3, round(rate))
            at = np.concatenate([ticks(random, 60 * count / rate, 0.01, end) for _ in range(count)])
            client = np.sort(np.arange(len(at)) % count) + 50_000
            return at, len(PLATFORMS) + client % 3, client
        if kind == "probe":
            at = np.concatenate([ticks(random, 120 / rate, 0.01, end) for _ in range(2)])
            return at, np.full(len(at), number("probe")), np.full(len(at), 60_000)
        if kind == "overlays":
            return self._overlays(rate)
        if kind == "night":
            found = []
            for day in range(self.days):
                begin, length = day * DAY + 200 + random.normal(0, 4), random.uniform(60, 90)
                found.append(arrivals(random, np.where((self.minute >= begin) & (self.minute < begin + length), rate * DAY / 75, 0)))  # fmt: skip
            at = np.concatenate(found)
            return at, np.full(len(at), number("ranking")), np.full(len(at), 60_001)
        if kind == "staff":
            at = arrivals(random, rate / 2 * self.office())
            at = np.repeat(at, 2) + random.exponential(20, 2 * len(at))
            return at, np.full(len(at), number("staff")), 60_100 + random.integers(0, 25, len(at))
        if kind == "hooks":
            return self._hooks(rate, "wallet" if "wallet" in self.path[e] else "paypipe")
        shape = sum(share * self.playing(region) for region, (_, share) in REGIONS.items())
        if kind == "scraped":
            at = arrivals(random, 0.6 * rate * shape)
            who, client = np.full(len(at), number("website")), random.integers(0, 40_000, len(at))
            spent = 0.0
            while spent < 0.4 * rate * self.minutes:
                begin, length, speed = random.uniform(0, self.minutes), 60 * random.lognormal(np.log(2), 0.6), rate * random.uniform(1, 3)  # fmt: skip
                more = arrivals(random, np.where((self.minute >= begin) & (self.minute < begin + length), speed, 0))
                at, who, client = np.concatenate([at, more]), np.concatenate([who, np.full(len(more), ANONYMOUS)]), np.concatenate([client, np.full(len(more), 61_000)])  # fmt: skip
                spent += length * speed
            return at, who, client
        at = arrivals(random, rate / 1.5 * shape)
        times = random.geometric(1 / 1.5, len(at))
        at = np.repeat(at, times) + random.exponential(15, times.sum())
        return at, np.full(len(at), number("website")), random.integers(0, 40_000, len(at))

    def _overlays(self, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Overlays poll during streams, a third of them at the full hour; one that never sleeps."""
        random, found = self.random, []
        per_overlay = rate * self.minutes / OVERLAYS
        for overlay in range(OVERLAYS):
            if overlay % 3 == 0:
                hours = np.arange(0, self.minutes * 60, 3600.0)
                at = np.repeat(hours, random.poisson(per_overlay / len(hours), len(hours)))
                at = at + random.exponential(20, len(at))
            elif overlay == 1:
                at = ticks(random, self.minutes * 60 / per_overlay, 0.05, self.minutes * 60.0)
            else:
                streams = [_stream(random, day) for day in range(self.days) if random.random() < 0.6]
                at = np.concatenate([np.zeros(0), *streams])
                at = at[random.random(len(at)) < per_overlay / max(len(at), 1)]
            found.append((at, np.full(len(at), CONSUMERS.index(f"overlay-{overlay:02}")), np.full(len(at), 62_000 + overlay)))  # fmt: skip
        at, who, client = (np.concatenate(column) for column in zip(*found, strict=True))
        return at, who, client

    def _hooks(self, rate: float, provider: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Notices of payments, and a settlement at half past two every night; held back now and then."""
        random = self.random
        shape = sum(share * self.playing(region) for region, (_, share) in REGIONS.items())
        at = [arrivals(random, 0.75 * rate * shape)]
        for day in range(self.days):
            count = random.poisson(0.25 * rate * DAY * random.lognormal(0, 0.35))
            at.append((day * DAY + 150) * 60 + random.normal(0, 30) + random.uniform(0, 360, count))
        found = np.concatenate(at)
        if provider == "paypipe":
            for begin, length in self.held:
                late = (found >= begin * 60) & (found < (begin + length) * 60)
                found[late] = (begin + length) * 60 + random.exponential(100, late.sum())
        return found, np.full(len(found), CONSUMERS.index(provider)), np.full(len(found), 60_200)

    def answered(self, calls: Calls) -> Calls:
        """The calls with instance, status and ms, and what was tried again."""
        random, n = self.random, len(calls.at)
        minute, e = (calls.at // 60).astype(int), calls.endpoint
        service = self.of_service[e]
        # Load against capacity; the autoscaler follows what it saw ten minutes ago.
        load = np.zeros((len(self.services), self.minutes))
        np.add.at(load, (service, minute), 1)
        busy = np.stack([np.convolve(row, np.ones(10) / 10)[: self.minutes] for row in load])
        usual = np.maximum(np.quantile(busy[:, : WARM_UP * DAY], 0.95, axis=1, keepdims=True), 0.3)
        instances = np.clip(np.ceil(4.5 * np.roll(busy, 10, axis=1) / usual), 2, 8)
        used = np.minimum(4.5 * busy / usual / instances, 1.6)
        calls.instance = service * 10_000 + (self.generation[service, minute] % 20) * 10 + (random.random(n) * instances[service, minute]).astype(int)  # fmt: skip
        status = np.full(n, 200)
        wobble = wander(random, self.endpoints, self.minutes, np.full(self.endpoints, 0.25), 500)
        draw = random.random(n)
        for number in range(self.endpoints):
            mine = np.flatnonzero(e == number)
            lower = np.zeros(len(mine))
            for code, share in [
                *self.answers[number].items(),
                (500, 0.6 * self.never_good[number]),
                (503, 0.3 * self.never_good[number]),
            ]:
                upper = lower + share * (
                    wobble[number, minute[mine]] ** (2 if code >= 500 else 1) if code >= 400 else 1
                )
                status[mine[(draw[mine] >= lower) & (draw[mine] < upper)]] = code
                lower = upper
        # What waits too long in a full service is given up.
        status[random.random(n) < 0.004 * used[service, minute] ** 4] = 504
        for number, begin, length in self.fallen:
            hit = (service == number) & (calls.instance % 10 == 1) & (calls.at >= begin) & (calls.at < begin + length)
            status[hit & (random.random(n) < 0.7)] = 502
        # The scraper is held off; one overlay lives at its quota.
        held = np.where(calls.consumer == ANONYMOUS, 0.12, np.where(calls.consumer == CONSUMERS.index("overlay-01"), 0.15, 0))  # fmt: skip
        status[random.random(n) < held] = 429
        status[(calls.consumer == ANONYMOUS) & (random.random(n) < 0.08)] = 403
        status[random.random(n) < self.failing[e, minute]] = 502
        closed = (calls.at >= (PATCH * DAY + 480) * 60) & (calls.at < (PATCH * DAY + 590) * 60) & (status == 502)
        status[closed] = 503
        ms = self.median[e] * np.exp(random.normal(0, 1, n) * self.width[e])
        slow = wander(random, len(self.services), self.minutes, np.full(len(self.services), 0.1), 240)
        mood = wander(random, self.endpoints, self.minutes, random.uniform(0.03, 0.12, self.endpoints), 60)
        ms *= slow[service, minute] * mood[e, minute] * self.slower[e, minute] * (1 + 0.4 * used[service, minute] ** 3)
        tail = random.random(n) < 0.02
        ms[tail] *= 2 * (1 + random.pareto(1.3, tail.sum()))
        for number, begin, length in self.neighbour:
            mine = (service == number) & (calls.instance % 10 == 0) & (minute >= begin) & (minute < begin + length)
            ms[mine] *= 1.8
        # Functions start cold when nobody called for a quarter of an hour.
        for number in range(self.endpoints):
            if self.service[number] in FUNCTIONS:
                mine = np.flatnonzero(e == number)
                cold = mine[np.diff(calls.at[mine], prepend=-1e9) > 900]
                ms[cold] += random.lognormal(np.log(1500), 0.4, len(cold))
        ms = np.where(np.isin(status, [400, 401, 403, 404, 409, 422]), 0.6 * ms, ms)
        ms = np.where(np.isin(status, [304, 429, 502, 503]), np.minimum(ms, random.exponential(2, n)), ms)
        calls.status, calls.ms = status, np.where(status == 504, 30_000, np.minimum(ms, 60_000))
        return self.tried_again(random, calls, np.flatnonzero(status >= 500), None)

    def tried_again(self, random: np.random.Generator, calls: Calls, failed: np.ndarray, fault: Fault | None) -> Calls:
        """Calls and what clients send after calls failed: up to three more, which fail again while a fault lasts."""
        hook = np.array([kind == "hooks" for kind in self.kind])
        parts, more = [calls], calls.where(failed)
        for pause in (1.0, 2.0, 4.0):
            more = more.where(random.random(len(more.at)) < 0.7)
            if not len(more.at):
                break
            wait = np.where(hook[more.endpoint], 60 * pause**2, pause * random.uniform(0.8, 1.4, len(more.at)))
            more.at = more.at + more.ms / 1000 + wait
            more.node = random.integers(0, len(NODES), len(more.at))
            if fault is not None and fault.instance is not None:  # the next one round
                more.instance = more.instance // 10 * 10 + random.integers(0, 3, len(more.at))
            again = np.zeros(len(more.at), dtype=bool)
            if fault is not None:
                again = fault.inside(more.at) & fault.hits(more) & (random.random(len(more.at)) < _share(fault))
            more.status = np.where(again, (fault.code if fault else None) or 0, 200)
            more.ms = np.where(more.status == 504, 30_000, self.median[more.endpoint] * random.lognormal(0, 0.4, len(more.at)))  # fmt: skip
            parts.append(more)
            more = more.where(again)
        found = Calls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(calls)})
        return found.where(np.flatnonzero(found.at < self.minutes * 60))

    def logged(self, calls: Calls) -> pl.DataFrame:
        """The log in the order in which syslog wrote it: `at` (seconds since the epoch) and `line`."""
        random = self.random
        keep = np.ones(len(calls.at), dtype=bool)
        for at, length, node in self.holes:
            keep &= ~((calls.at >= at) & (calls.at < at + length) & ((node < 0) | (calls.node == node)))
        calls = calls.where(keep)
        n = len(calls.at)
        late = np.where(random.random(n) < 0.003, random.exponential(120, n), 0)
        begin, length, node = self.stalled
        wait = (calls.node == node) & (calls.at >= begin) & (calls.at < begin + length)
        late[wait] = begin + length - calls.at[wait]
        service = self.of_service[calls.endpoint]
        minute = (calls.at // 60).astype(int)
        frame = pl.DataFrame({
            "at": WEDNESDAY + calls.at, "order": WEDNESDAY + calls.at + calls.ms / 1000 + late, "endpoint": calls.endpoint, "client": calls.client,
            "consumer": pl.Series(CONSUMERS).gather(calls.consumer), "node": pl.Series(NODES).gather(calls.node), "status": calls.status.astype(int),
            "ms": np.rint(calls.ms).astype(int), "size": (random.lognormal(6.5, 1, n) * self.bigger[service, minute]).astype(int),
            "ip": _addresses(calls.instance.astype(int)), "id": random.integers(10_000_000, 99_999_999, n),
            "service": pl.Series(self.service).gather(calls.endpoint), "method": pl.Series(self.method).gather(calls.endpoint),
            "path": pl.Series(self.path).gather(calls.endpoint),
        })  # fmt: skip
        frame = frame.with_columns(
            uri=pl.col("path").str.replace("{id}", pl.col("id").cast(pl.String), literal=True),
            started=(pl.col("at") * 1000).cast(pl.Int64), reached=~pl.col("status").is_in([429, 401]),
            peer=pl.format("100.{}.{}.{}", 64 + pl.col("client") // 65_536, pl.col("client") // 256 % 256, pl.col("client") % 256),
        )  # fmt: skip
        return pl.concat([frame.select("at", "order", line=_line()), self._scanned()]).sort("order", maintain_order=True).select("at", "line")  # fmt: skip

    def _scanned(self) -> pl.DataFrame:
        """Scanners ask for what is not there; Kong has no route for it."""
        random = self.random
        guesses = ["/wp-login.php", "/.env", "/actuator/env", "/graphql/v1/x.php", "/.git/config", "/admin.php"]
        begin = np.repeat(random.uniform(0, self.minutes * 60, self.days), random.integers(20, 200, self.days))
        at = WEDNESDAY + np.minimum(begin + random.exponential(60, len(begin)), self.minutes * 60 - 1)
        frame = pl.DataFrame({"at": at, "order": at, "uri": random.choice(guesses, len(at))}).with_columns(
            started=(pl.col("at") * 1000).cast(pl.Int64), ms=pl.lit(0), status=pl.lit(404), method=pl.lit("GET"), consumer=pl.lit(""), service=pl.lit(""),
            node=pl.lit("kong-1"), reached=pl.lit(False), ip=pl.lit(""), size=pl.lit(52), peer=pl.lit("203.0.113.9"),
        )  # fmt: skip
        return frame.select("at", "order", line=_line())


def _line() -> pl.Expr:
    """A line of Kong's syslog plugin."""
    number = {name: pl.col(name).cast(pl.String) for name in ("started", "ms", "status", "size")}
    named = pl.when(pl.col("consumer") != "").then(pl.concat_str(pl.lit(',"consumer":{"username":"'), "consumer", pl.lit('"}')))  # fmt: skip
    routed = pl.when(pl.col("service") != "").then(pl.concat_str(pl.lit(',"service":{"name":"'), "service", pl.lit('"}')))  # fmt: skip
    tried = pl.when("reached").then(pl.concat_str(pl.lit('{"ip":"'), "ip", pl.lit('","port":8080}'))).otherwise(pl.lit(""))  # fmt: skip
    proxied = pl.when("reached").then((pl.col("ms") - 1).clip(0).cast(pl.String)).otherwise(pl.lit("-1"))
    return pl.concat_str(
        pl.from_epoch(pl.col("order").cast(pl.Int64), time_unit="s").dt.strftime("%b %e %H:%M:%S"), pl.lit(" "), "node", pl.lit(' kong[71]: {"started_at":'),
        number["started"], pl.lit(',"latencies":{"request":'), number["ms"], pl.lit(',"proxy":'), proxied, pl.lit(',"kong":1},"request":{"method":"'), "method",
        pl.lit('","uri":"'), "uri", pl.lit('","size":"310"},"response":{"status":'), number["status"], pl.lit(',"size":"'), number["size"],
        pl.lit('"},"client_ip":"'), "peer", pl.lit('"'), routed.fill_null(""), named.fill_null(""), pl.lit(',"tries":['), tried, pl.lit("]}"),
    )  # fmt: skip


def address(instance: int) -> str:
    """ip:port of an instance, as Kong logs it."""
    return f"{_addresses(np.array([instance]))[0]}:8080"


def _addresses(instance: np.ndarray) -> pl.Series:
    frame = pl.DataFrame({"i": instance})
    return frame.select(pl.format("10.4.{}.{}", pl.col("i") // 10_000, 10 + pl.col("i") % 10_000))["i"]


def _share(fault: Fault) -> float:
    """Share of the calls that can meet a fault which fail."""
    if fault.instance is not None:
        return 0.9
    return {"low_traffic_fail": LOW_FAILS, "new_code": NEW}.get(fault.kind, FAILS)[fault.grade]


def _times(random: np.random.Generator, mean: float, count: int, kind: str) -> np.ndarray:
    """How often each of so many does it: polls geometric, what belongs to a step once or twice, the rest Poisson."""
    if kind == "queue":
        return random.geometric(1 / (1 + mean), count) - 1
    if kind == "menu":
        return random.poisson(mean * random.gamma(1.5, 1 / 1.5, count))
    return (int(mean) + (random.random(count) < mean % 1)).astype(int)


def _stream(random: np.random.Generator, day: int) -> np.ndarray:
    """Seconds at which an overlay polls while somebody streams on an evening."""
    begin, period, hours = day * 86_400 + random.normal(18, 3) * 3600, random.choice([20.0, 30.0, 60.0]), random.uniform(2, 6)  # fmt: skip
    return begin + ticks(random, period, 0.05, 3600 * hours)


def plant(random: np.random.Generator, world: Arcade, quiet: Calls) -> tuple[Calls, list[Fault]]:
    """The calls with faults, and the faults with their figures, measured beside the calls without."""
    kinds = [(kind, length) for kind, times, length in KINDS for _ in range(times)]
    grades = [GRADES[i % 3] for i in range(len(kinds))]
    random.shuffle(grades)
    calls, faults = quiet, []
    for (kind, length), grade in zip(kinds, grades, strict=True):
        for _ in range(300):
            fault = _drawn(random, world, quiet, faults, kind, grade, length)
            if fault is not None:
                calls = _done(random, world, calls, fault)
                faults.append(fault)
                break
    for fault in faults:
        _measured(fault, world, calls, quiet)
    return calls, faults


def _drawn(
    random: np.random.Generator, world: Arcade, quiet: Calls, others: list[Fault], kind: str, grade: str, length: int
) -> Fault | None:
    """A fault of a kind at a time when its endpoint is called; None where it falls on another, on an event, or on too few calls."""
    end, seconds = world.minutes * 60.0, 60 * length * random.lognormal(0, 0.35)
    per_minute = np.bincount(quiet.endpoint, minlength=world.endpoints) / world.minutes
    usable = [e for e in range(world.endpoints) if world.kind[e] != "probe" and world.path[e] not in (OLD, NEW_PATH)]
    if kind == "low_traffic_fail":
        usable = [e for e in usable if per_minute[e] < 0.15]
    elif kind == "validation_regression":
        usable = [e for e in usable if world.method[e] in ("POST", "PUT", "PATCH") and per_minute[e] > 0.1]
    elif kind == "auth_failure":
        usable = [e for e in usable if world.kind[e] in ("login", "menu", "begin", "queue") and per_minute[e] > 0.5]
    elif kind == "rate_limit":
        usable = [e for e in usable if world.kind[e] in ("overlays", "menu", "servers") and per_minute[e] > 0.4]
    elif kind in COUNTED or kind in SLOW or kind == "recurring":
        usable = [e for e in usable if per_minute[e] > 0.2 and world.kind[e] not in ("night", "scraped", "hooks")]
    first = int(random.choice(usable))
    mine = np.flatnonzero(quiet.endpoint == first)
    met = int(random.choice(mine))
    start = float(quiet.at[met]) - random.uniform(0, 0.5) * seconds
    spans = [(start, start + seconds)]
    if kind == "recurring":
        pause = random.choice([6, 12, 24]) * 3600
        spans = [(start + i * pause, start + i * pause + seconds) for i in range(int(random.integers(4, 7)))]
    if start < (WARM_UP + 0.1) * 86_400 or spans[-1][1] > end - 1800:
        return None
    fault = Fault(kind, "easy" if kind == "silence" else grade, spans, [first])
    siblings = [e for e in usable if world.service[e] == world.service[first]]
    wide = {"upstream_timeout": 0.8, "auth_failure": 0.7, "latency_step": 0.4, "latency_tail": 0.4, "error_burst": 0.35, "silence": 0.3}  # fmt: skip
    if random.random() < wide.get(kind, 0):
        fault.endpoints = siblings
    if kind == "node_outage":
        fault.endpoints = [e for e in usable if per_minute[e] > 0.02]
        fault.node, fault.code = int(random.integers(len(NODES))), 503
    elif kind in ("error_burst", "recurring"):
        fault.code = int(random.choice([500, 502, 503]))
    elif kind == "upstream_timeout":
        fault.code = 504
        if random.random() < 0.7:  # one instance does not answer
            fault.endpoints, fault.instance = siblings, int(quiet.instance[met])
    elif kind == "auth_failure":  # the tokens of one platform are no longer believed
        fault.code, fault.consumer = int(random.choice([401, 403])), int(quiet.consumer[met])
    elif kind == "rate_limit":
        fault.code, fault.consumer = 429, int(quiet.consumer[met])
    elif kind == "new_code":
        fault.code = int(random.choice([code for code in (405, 406, 410, 426, 501, 507) if code not in world.answers[first]]))  # fmt: skip
    elif kind == "validation_regression":  # a client's release sends what is not accepted
        fault.code = 422
        if world.kind[first] in ("login", "menu", "begin"):
            fault.consumer = int(quiet.consumer[met])
    elif kind == "low_traffic_fail":
        fault.code = int(random.choice([500, 504]))
    elif kind == "traffic_spike" and random.random() < 0.5:  # a client that calls in a loop
        fault.consumer = int(quiet.consumer[met])
    if fault.consumer is not None:
        mine = np.flatnonzero(np.isin(quiet.endpoint, fault.endpoints))
        if (quiet.consumer[mine] == fault.consumer).mean() > 0.8:  # that it is this consumer's says nothing
            fault.consumer = None
    for other in others:
        if set(fault.endpoints) & set(other.endpoints) and start < other.end + 14_400 and fault.end > other.start - 14_400:  # fmt: skip
            return None
    for event in world.ambiguous:
        begin, stop = event["start"] - WEDNESDAY, event["end"] - WEDNESDAY
        if kind != "latency_drift" and set(fault.endpoints) & set(event["endpoints"]) and start < stop + 3600 and fault.end > begin - 3600:  # fmt: skip
            return None
    seen = int((fault.hits(quiet) & fault.inside(quiet.at)).sum())
    if seen < 40 if kind in COUNTED or kind in SLOW else seen * _share(fault) < 9:
        return None
    return fault


def _done(random: np.random.Generator, world: Arcade, calls: Calls, fault: Fault) -> Calls:
    """The calls with a fault in them."""
    kind, grade = fault.kind, fault.grade
    calls = calls.where(np.arange(len(calls.at)))
    inside = fault.hits(calls) & fault.inside(calls.at)
    draw = random.random(len(calls.at))
    if kind in ("traffic_drop", "silence"):
        return calls.where(~(inside & (draw > (0 if kind == "silence" else LEFT[grade]))))
    if kind == "traffic_spike":
        everybody = Fault(kind, grade, fault.spans, fault.endpoints)
        count = int((everybody.hits(calls) & fault.inside(calls.at)).sum() * (MORE[grade] - 1))
        more = calls.where(random.choice(np.flatnonzero(inside), count))
        more.at = random.uniform(fault.start, fault.end, count)
        return calls.and_those(more)
    if kind == "latency_step":
        calls.ms[inside] = np.minimum(calls.ms[inside] * SLOWER[grade], 60_000)
        return calls
    if kind == "latency_drift":
        grown = 1 + (SLOWER[grade] - 1) * (calls.at[inside] - fault.start) / (fault.end - fault.start)
        calls.ms[inside] = np.minimum(calls.ms[inside] * grown, 60_000)
        return calls
    if kind == "latency_tail":
        hit = inside & (draw < IN_TAIL[grade])
        calls.ms[hit] = np.minimum(calls.ms[hit] * random.uniform(5, 15, hit.sum()), 60_000)
        return calls
    hit = np.flatnonzero(inside & (draw < _share(fault)))
    if kind == "rate_limit":  # the consumer sends twice as much, and the limit stays
        more = calls.where(random.choice(np.flatnonzero(inside), len(hit) * 2))
        more.at = random.uniform(fault.start, fault.end, len(more.at))
        more.status, more.ms = np.full(len(more.at), 429), random.exponential(1, len(more.at))
        calls.status[hit], calls.ms[hit] = 429, random.exponential(1, len(hit))
        return calls.and_those(more)
    calls.status[hit] = fault.code
    if fault.code == 504:
        calls.ms[hit] = 30_000 + random.exponential(2, len(hit))
    elif fault.code in (502, 503):
        calls.ms[hit] = random.exponential(4, len(hit))
    elif (fault.code or 0) < 500:
        calls.ms[hit] *= 0.6
    return world.tried_again(random, calls, hit, fault) if (fault.code or 0) >= 500 else calls


def _measured(fault: Fault, world: Arcade, calls: Calls, quiet: Calls) -> None:
    """Sets z, usual, during, affected, endpoints and grade."""
    shown: dict[int, int] = {}
    best, clearest = 0, -np.inf
    chosen = [fault.endpoints, *([e] for e in fault.endpoints if len(fault.endpoints) > 1)]
    for mine in chosen:
        one = Fault(fault.kind, fault.grade, fault.spans, mine, fault.code, fault.consumer, fault.node, fault.instance)
        if fault.kind == "traffic_spike":
            one.consumer = None  # what a chart of the endpoint shows
        now, before = (every.where(np.flatnonzero(one.hits(every))) for every in (calls, quiet))
        here, usual = now.where(np.flatnonzero(one.inside(now.at))), before.where(np.flatnonzero(one.inside(before.at)))
        before = before.where(np.flatnonzero(~world.excepted(mine, before.at)))
        if fault.kind in COUNTED:
            affected, figures = abs(len(usual.at) - len(here.at)), (float(len(usual.at)), float(len(here.at)))
            enough, z = affected >= 25, _traffic_z(one, world, before.at, len(here.at))
        elif fault.code is not None:
            failed, fails = here.status == fault.code, before.status == fault.code
            affected = max(0, int(failed.sum() - (usual.status == fault.code).sum()))
            figures = (float(fails.mean()) if len(fails) else 0.0, float(failed.mean()) if len(failed) else 0.0)
            enough, z = affected >= SHOWN["hard"] and figures[1] - figures[0] >= 0.02, _share_z(one, before.at, fails, failed)  # fmt: skip
        elif fault.kind == "latency_tail":
            slow = np.quantile(before.ms, 0.97) if len(before.ms) else 0
            affected = max(0, int((here.ms > slow).sum() - (usual.ms > slow).sum()))
            figures = (0.03, float((here.ms > slow).mean()) if len(here.ms) else 0.0)
            enough, z = affected >= 25, _share_z(one, before.at, before.ms > slow, here.ms > slow)
        else:
            since = fault.start + 0.7 * (fault.end - fault.start) if fault.kind == "latency_drift" else 0
            logs = np.log(before.ms + 0.5), np.log(here.ms[here.at >= since] + 0.5)
            both = usual.ms[usual.at >= since], here.ms[here.at >= since]
            affected, figures = len(here.at), tuple(float(np.exp(np.log(ms + 0.5).mean())) if len(ms) else 0.0 for ms in both)  # fmt: skip
            enough, z = affected >= 25 and figures[1] >= 1.2 * figures[0], _share_z(one, before.at, *logs)
        if z > clearest:
            clearest, (fault.usual, fault.during) = z, figures
        if len(mine) == 1:
            shown[mine[0]] = affected
        if enough:
            fault.z, best = max(fault.z, z), max(best, affected)
    fault.endpoints = [e for e, count in shown.items() if count >= 2]
    fault.affected = sum(shown.values())
    while fault.grade != "hard" and (fault.z < CLEAR[fault.grade] or best < SHOWN[fault.grade]):
        fault.grade = GRADES[GRADES.index(fault.grade) + 1]


def _share_z(fault: Fault, at: np.ndarray, values: np.ndarray, here: np.ndarray) -> float:
    """How far the mean of the fault's values lies above that of windows as long without faults, in standard errors.

    The error is that of a mean of so many values, and the spread of the means of the windows that have a quarter as many calls.
    """
    if len(here) < 3 or len(at) < 30:
        return 0.0
    length = min(max(fault.spans[0][1] - fault.spans[0][0], 600), 43_200)
    values, bucket = values.astype(float), (at // length).astype(int)
    count, total = np.bincount(bucket), np.bincount(bucket, weights=values)
    full = count >= max(4, len(here) / len(fault.spans) / 4)
    mean, within = values.mean(), max(values.var(), 1e-4)
    between = 0.0
    if full.sum() >= 4:
        between = max(0.0, (total[full] / count[full]).var() - within * (1 / count[full]).mean())
    return float((here.mean() - mean) / np.sqrt(within / len(here) + between / len(fault.spans) + 0.25 / len(here) ** 2))  # fmt: skip


def _traffic_z(fault: Fault, world: Arcade, at: np.ndarray, here: int) -> float:
    """How far the number of calls lies beyond that at this time (an hour around) on days of the same kind, in Poisson deviations."""
    at, length = np.sort(at), fault.end - fault.start
    off = world.free("eu")
    kind = off[int(fault.start // 60)]
    starts = [fault.start + day * 86_400 + shift for day in range(-world.days, world.days) for shift in (-1800, 0, 1800)]  # fmt: skip
    starts = [s for s in starts if s >= 0 and s + length <= world.minutes * 60 and off[int(s // 60)] == kind]
    starts = [s for s in starts if not world.excepted(fault.endpoints, np.linspace(s, s + length, 9)).any()]
    counts = np.array([np.searchsorted(at, s + length) - np.searchsorted(at, s) for s in starts])
    if len(counts) < 3:
        return 0.0
    low, high, mean = counts.min(), counts.max(), counts.mean()
    beyond = max((low - here) / np.sqrt(low + 1), (here - high) / np.sqrt(high + 1))
    return 0.0 if beyond <= 0 else float(max(2 * beyond, abs(here - mean) / np.sqrt(mean + counts.var())))


def _effect(fault: Fault, world: Arcade) -> str:
    """What users had of it, in words."""
    minutes = sum(end - begin for begin, end in fault.spans) / 60
    where = " and ".join(f"{world.method[e]} {world.path[e]}" for e in fault.endpoints[:2]) + (f" and {len(fault.endpoints) - 2} more" if len(fault.endpoints) > 2 else "")  # fmt: skip
    if fault.kind in COUNTED:
        what = f"{fault.during:.0f} calls instead of {fault.usual:.0f}"
    elif fault.code is not None:
        what = f"{fault.affected} calls answered {fault.code}: {100 * fault.during:.1f} % instead of {100 * fault.usual:.2f} %"  # fmt: skip
    elif fault.kind == "latency_tail":
        what = f"{100 * fault.during:.0f} % of calls slower than 97 % usually are"
    else:
        what = f"{fault.during:.0f} ms instead of {fault.usual:.0f} (geometric mean)"
    return f"{where}: {what}, for {minutes:.0f} min"


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `arcade`, or `quiet-arcade` for the same one without faults. 36 to 44 endpoints, at least 9 days."""
    world = Arcade(np.random.default_rng([seed, 2606]), endpoints, days, calls_per_minute)
    calls = world.answered(world.traffic())
    faults: list[Fault] = []
    if not profile.startswith("quiet"):
        calls, faults = plant(np.random.default_rng([seed, 2606, 8]), world, calls)
    label = [
        {
            "id": f"F{i:03d}", "kind": fault.kind, "grade": fault.grade, "start": WEDNESDAY + int(fault.start), "end": WEDNESDAY + int(fault.end),
            "signal": SIGNALS.get(fault.kind, "errors"), "endpoints": fault.endpoints, "affected_calls": fault.affected, "code": fault.code,
            "upstream": None if fault.instance is None else address(fault.instance), "consumer": None if fault.consumer is None else CONSUMERS[fault.consumer],
            "node": None if fault.node is None else NODES[fault.node], "detectable": bool(fault.z >= CLEAR["hard"] and fault.endpoints),
            "figures": {"z": round(fault.z, 2), "usual": round(fault.usual, 5), "during": round(fault.during, 5)}, "effect": _effect(fault, world),
        }
        for i, fault in enumerate(sorted(faults, key=lambda one: one.start))
    ]  # fmt: skip
    span = {"t0": WEDNESDAY, "minutes": world.minutes}
    return World(
        calls=world.logged(calls),
        labels=span | {"faults": label, "events": sorted(world.events, key=lambda one: one["start"]), "ambiguous": world.ambiguous},
        catalog=span | {"endpoints": [{"id": e, "method": world.method[e], "path": world.path[e], "upstream": world.service[e]} for e in range(endpoints)]},
    )  # fmt: skip
