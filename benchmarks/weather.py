"""A world of a company that sells weather data: its gateway as developers, traders, farms, stations on masts and television call it.

Profiles `weather`, and `quiet-weather`: the same without faults. A new run of the forecast model comes every six hours, when everybody
polls and the caches are cold. Among what is usual: storms, keys that are over their quota every evening, programs that call on the
full hour, downloads of the archive at any time, receivers of webhooks that are gone, a holiday, deployments, a second version of an API.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import planted
import polars as pl
from calls import arrivals, ornstein, peak, ticks, wave
from planted import COUNTED, SLOW, Fault, Figures, Split, Strength
from services import Calls, Route, Sent, Services, joined, packs, probed, refused_sooner, sent, with_tail
from worlds import DAY, SIGNAL, World

FRIDAY = 1_778_198_400  # 2026-05-08T00:00:00Z
HOLIDAY, BRIDGE = 6, 7  # Ascension Day, and the Friday after it
GATES = 3
RUN, READY = 360, 220  # minutes: a model run every so many, there so many after its hour
ROUTES: list[Route] = [
    ("current", "GET", "/v1/current", 9.0, 28, 0.45, "apps", {304: 0.08, 400: 0.004, 404: 0.006}),
    ("current", "GET", "/v1/current/stations/{id}", 3.0, 22, 0.4, "poll", {304: 0.25, 404: 0.012}),
    ("current", "POST", "/v1/current/batch", 1.0, 90, 0.5, "poll", {400: 0.01, 413: 0.001}),
    ("current", "GET", "/v1/lightning", 1.2, 35, 0.5, "poll", {204: 0.7}),
    ("forecast", "GET", "/v1/forecast/hourly", 8.0, 60, 0.5, "apps", {304: 0.05, 400: 0.003}),
    ("forecast", "GET", "/v1/forecast/daily", 5.0, 45, 0.5, "apps", {304: 0.12, 400: 0.003}),
    ("forecast", "GET", "/v1/forecast/points/{id}", 2.5, 70, 0.5, "runs", {304: 0.1, 404: 0.008}),
    ("forecast", "GET", "/v1/forecast/ensemble/{id}", 0.8, 260, 0.6, "runs", {404: 0.02}),
    ("forecast", "POST", "/v1/forecast/routes", 0.5, 340, 0.6, "apps", {400: 0.004, 422: 0.02}),
    ("forecast", "GET", "/v1/forecast/texts/{id}", 0.6, 40, 0.4, "tv", {404: 0.01}),
    ("nowcast", "GET", "/v1/nowcast", 3.5, 50, 0.5, "apps", {204: 0.45, 400: 0.005}),
    ("nowcast", "GET", "/v2/nowcast", 2.4, 44, 0.5, "apps", {204: 0.45, 400: 0.005}),
    ("nowcast", "GET", "/v1/nowcast/hail", 0.5, 65, 0.5, "poll", {204: 0.85}),
    ("tiles", "GET", "/v1/tiles/radar/{id}", 6.5, 18, 0.6, "tiles", {304: 0.3, 404: 0.01}),
    ("tiles", "GET", "/v1/tiles/satellite/{id}", 2.5, 24, 0.6, "tiles", {304: 0.25, 404: 0.012}),
    ("tiles", "GET", "/v1/tiles/temperature/{id}", 1.5, 20, 0.6, "tiles", {304: 0.4, 404: 0.01}),
    ("tiles", "GET", "/v1/animations/{id}", 0.4, 420, 0.7, "tv", {404: 0.02}),
    ("tiles", "POST", "/v1/maps/renders", 0.35, 900, 0.6, "tv", {400: 0.01, 429: 0.003}),
    ("warnings", "GET", "/v1/warnings", 3.2, 20, 0.4, "poll", {304: 0.5, 400: 0.003}),
    ("warnings", "GET", "/v1/warnings/{id}", 0.8, 24, 0.4, "apps", {404: 0.03, 410: 0.02}),
    ("warnings", "GET", "/v1/warnings/feed", 0.9, 55, 0.4, "poll", {304: 0.75}),
    ("warnings", "POST", "/v1/warnings/areas", 0.12, 130, 0.5, "office", {400: 0.03, 422: 0.04}),
    ("models", "GET", "/v1/runs/latest", 2.2, 14, 0.4, "waiting", {304: 0.6}),
    ("models", "GET", "/v1/runs/{id}/files", 1.0, 75, 0.5, "runs", {404: 0.03}),
    ("models", "GET", "/v1/runs/{id}/status", 0.7, 16, 0.4, "waiting", {404: 0.04}),
    ("models", "GET", "/v1/power/wind", 0.8, 150, 0.5, "runs", {400: 0.004}),
    ("models", "GET", "/v1/power/solar", 0.7, 140, 0.5, "runs", {400: 0.004}),
    ("history", "POST", "/v1/history/exports", 0.15, 380, 0.5, "batch", {400: 0.02, 402: 0.02, 422: 0.03}),
    ("history", "GET", "/v1/history/exports/{id}", 1.0, 25, 0.4, "exports", {202: 0.7, 404: 0.01}),
    ("history", "GET", "/v1/history/exports/{id}/file", 0.12, 1800, 0.9, "batch", {404: 0.02, 410: 0.01}),
    ("history", "GET", "/v1/history/daily/{id}", 1.2, 220, 0.7, "batch", {404: 0.03}),
    ("stations", "POST", "/v1/observations", 3.0, 15, 0.4, "masts", {400: 0.006, 401: 0.003, 409: 0.004}),
    ("stations", "GET", "/v1/stations", 0.4, 80, 0.4, "poll", {304: 0.3}),
    ("places", "GET", "/v1/places/search", 2.2, 35, 0.6, "apps", {400: 0.01, 404: 0.04}),
    ("agro", "GET", "/v1/agro/fields/{id}", 1.3, 110, 0.5, "farm", {404: 0.01}),
    ("agro", "GET", "/v1/agro/spraying", 0.6, 160, 0.5, "farm", {400: 0.01}),
    ("agro", "GET", "/v1/agro/soil/{id}", 0.4, 95, 0.5, "nightly", {404: 0.01}),
    ("webhooks", "POST", "/v1/deliveries/{id}", 1.5, 120, 0.9, "hooks", {404: 0.012, 410: 0.01, 500: 0.006, 502: 0.003}),
    ("accounts", "GET", "/v1/keys/usage", 0.7, 45, 0.5, "office", {401: 0.02, 403: 0.004}),
    ("accounts", "POST", "/v1/tokens", 1.6, 32, 0.4, "token", {400: 0.004, 401: 0.03}),
    ("accounts", "PUT", "/v1/webhooks/{id}", 0.1, 60, 0.4, "office", {400: 0.04, 404: 0.01}),
    ("places", "GET", "/v1/places/{id}", 0.8, 18, 0.4, "apps", {404: 0.02}),
]  # fmt: skip
#: Consumers of each sort, and what they call with.
SORTS = {
    "app": (9, "StormView/5.2 (Android 14)"), "dev": (24, "okhttp/4.12.0"), "trader": (6, "loader/2.8"), "agro": (5, "AgroDesk/3.1"),
    "tv": (4, "GraphicsEngine/11.0"), "cover": (3, "Java-http-client/21"), "uni": (3, "xarray-fetch/0.9"), "mesh": (2, "mast-fw/1.7"),
    "console": (1, "Mozilla/5.0 (X11; Linux x86_64; rv:138.0) Gecko/20100101 Firefox/138.0"),
}  # fmt: skip
WIDGET = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_4 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"
CONSUMERS = ["-", *(f"{sort}-{i:02d}" for sort, (count, _) in SORTS.items() for i in range(1, count + 1))]
AGENTS = [WIDGET, *(agent for count, agent in SORTS.values() for _ in range(count))]
NOBODY = 0
#: Who calls, and how much of it; NOBODY has no key.
CALLERS: dict[str, dict[str, float]] = {
    "apps": {"app": 0.8, "dev": 0.12, "-": 0.08}, "tiles": {"app": 0.5, "-": 0.35, "tv": 0.05, "dev": 0.1},
    "poll": {"dev": 0.45, "app": 0.1, "cover": 0.2, "trader": 0.1, "agro": 0.15}, "hooks": {"cover": 0.4, "app": 0.4, "agro": 0.2},
    "runs": {"trader": 0.8, "dev": 0.1, "uni": 0.1}, "waiting": {"trader": 0.9, "uni": 0.1}, "tv": {"tv": 1}, "masts": {"mesh": 1},
    "farm": {"agro": 1}, "nightly": {"agro": 1}, "batch": {"uni": 0.6, "cover": 0.4}, "exports": {"uni": 0.6, "cover": 0.4},
    "office": {"console": 1}, "token": {"trader": 0.3, "tv": 0.1, "app": 0.4, "cover": 0.2},
}  # fmt: skip
#: What some consumers do wrong all the time: swapped coordinates, a plan without hourly values, fields that were deleted, an expired key.
HABITS = [
    ("dev-07", "/v1/current", 400, 0.6), ("dev-11", "/v1/forecast/hourly", 403, 1.0), ("agro-03", "/v1/agro/fields/{id}", 404, 0.3),
    ("uni-02", "/v1/history/daily/{id}", 422, 0.15), ("dev-20", None, 401, 1.0),
]  # fmt: skip
#: Keys on the small plan, and the share of their usual day that it has.
OVER_QUOTA = {"dev-03": 0.75, "dev-05": 0.85}
STORMY = {"/v1/nowcast": 1.0, "/v2/nowcast": 1.0, "/v1/nowcast/hail": 0.3, "/v1/tiles/radar/{id}": 1.0, "/v1/warnings/{id}": 1.2,
          "/v1/current": 0.3, "/v1/tiles/satellite/{id}": 0.4, "/v1/deliveries/{id}": 0.7, "/v1/tokens": 0.1}  # fmt: skip
STRENGTH = {
    "easy": Strength(0.45, 2.6, 0.25, 0.04, 5.0, 0.9, 0.12),
    "medium": Strength(0.16, 1.75, 0.14, 0.3, 3.0, 0.6, 0.06),
    "hard": Strength(0.07, 1.4, 0.08, 0.5, 2.2, 0.4, 0.03),
}
#: Kind, how often, median length in minutes; first what is on many endpoints or takes long.
KINDS = [
    ("node_outage", 1, 25), ("latency_drift", 2, 2600), ("upstream_timeout", 3, 30), ("auth_failure", 2, 80), ("validation_regression", 2, 500),
    ("low_traffic_fail", 1, 700), ("new_code", 2, 400), ("recurring", 1, 20), ("error_burst", 4, 40), ("latency_step", 3, 150), ("latency_tail", 2, 150),
    ("rate_limit", 2, 110), ("traffic_drop", 2, 90), ("traffic_spike", 2, 80), ("silence", 1, 55),
]  # fmt: skip
WIDE = {**planted.WIDE, "auth_failure": 0.4, "silence": 0.0}
SHOWN = {"easy": 40, "medium": 15}
#: Least effect of easy and medium faults: a factor on latency, and one on traffic (up or down); of others, a share of calls.
LARGE = {"latency": (1.8, 1.45), "traffic": (3.5, 2.0)}
#: Where noise is that between windows, and not of counting, fewer standard errors (planted.CLEAR) show as much in a plot; picked by eye.
PLAIN = 1.4
UNHEARD = (405, 406, 415, 426, 501, 507)


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60) -> World:
    """A world; profile `weather`, or `quiet-weather` for the same one without faults. 36 to 42 endpoints, 9 days or more."""
    random = np.random.default_rng([seed, 1013])
    world = Weather(random, endpoints, days, calls_per_minute)
    quiet = planted.split(world.answered(world.asked()), endpoints)
    calls, faults = quiet.calls, []
    if not profile.startswith("quiet"):
        calls, faults = planted.plant(random, KINDS, calls, partial(drawn, world, quiet), partial(harmed, world))
        after = planted.split(calls.where(np.argsort(calls.at, kind="stable")), endpoints)
        look = partial(seen, world, quiet, after, levels(world, quiet.calls))
        for fault in faults:
            graded(fault, look)
    gates = [f"gw-{gate}" for gate in range(GATES)]
    told = planted.labels(faults, world, gates, partial(planted.in_words, world, CONSUMERS))
    return world.world([world.logged(calls), world.strangers()], told)


@dataclass
class Asked(Calls):
    """One entry per call; who: number of the consumer."""

    who: np.ndarray


@dataclass
class Weather(Services):
    """Who calls what and how it is answered when nothing is wrong."""

    t0 = FRIDAY

    def __post_init__(self) -> None:
        self.open("weather", ROUTES)
        random, self.day, self.hour = self.random, self.minute // DAY, self.minute % DAY / 60
        self.free = np.isin((np.arange(self.days) + 4) % 7, [5, 6]) | (np.arange(self.days) == HOLIDAY)  # Friday is 4
        self.factor *= 1 + 0.006 * self.minute / DAY
        self.factor[self.called_by("runs", "waiting")] *= np.where(self.free[self.day], 0.65, 1.0)
        self.model_runs()
        self.storms()
        self.curves = self.rhythms()
        moved = np.clip((self.minute - random.uniform(7.3, 7.6) * DAY) / (4 * DAY), 0, 1)
        self.moves("/v1/nowcast", "/v2/nowcast", moved, 0.6)
        for day in (2, 5, 8, 11):
            at = day * DAY + int(random.uniform(7, 15) * 60)
            if at < self.minutes:
                self.deployed(int(random.integers(len(self.services))), at, 0.6, 12, 0.08)
        for day in range(self.days):  # the archive takes in the day before
            begin = day * DAY + 40 + random.normal(0, 8)
            self.slower[self.of("history")] *= 1 + 0.35 * wave(self.minute, begin, begin + 80, 10, 15)
        self.shaky(100, 0.8, 0.006)
        self.gaps(GATES, 240)
        self.numbers = {name: i for i, name in enumerate(CONSUMERS)}
        self.callers = {kind: self.mixed(parts) for kind, parts in CALLERS.items()}
        self.size = random.lognormal(np.log(2500), 0.9, self.endpoints)

    def mixed(self, parts: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of consumers, and how probable each is; few of a sort make most of its calls."""
        numbers, shares = [], []
        for sort, share in parts.items():
            mine = [i for i, name in enumerate(CONSUMERS) if name.split("-")[0] == sort] if sort != "-" else [NOBODY]
            weight = 1 / np.arange(1, len(mine) + 1) ** 0.8
            numbers += mine
            shares += list(share * weight / weight.sum())
        return np.array(numbers), np.array(shares) / sum(shares)

    def model_runs(self) -> None:
        """When runs are there: `waiting` for each (0 or 1 per minute), and how `fresh` the last is (1 when it comes, fading)."""
        random = self.random
        self.waiting, self.fresh = np.zeros(self.minutes), np.zeros(self.minutes)
        tardy = int(random.integers(5 * DAY // RUN, self.minutes // RUN - 2))
        for number, hour in enumerate(range(-RUN, self.minutes, RUN)):
            expected = hour + READY
            there = expected + random.normal(0, 6) + (random.uniform(50, 75) if number == tardy else 0)
            self.waiting[(self.minute >= expected - 12) & (self.minute < there)] = 1
            since = self.minute - there
            self.fresh = np.where(since >= 0, np.exp(-np.maximum(since, 0) / random.uniform(15, 22)), self.fresh)
            if number == tardy:
                late = self.called_by("runs", "waiting")
                self.named("late model run", expected - 10, there + 45, late, ambiguous=True)
        self.slower[self.of("forecast", "models")] *= 1 + 0.3 * self.fresh

    def storms(self) -> None:
        """One in the warm-up, one later, and a great one that somebody may like to hear of."""
        random, stormy = self.random, [e for e in range(self.endpoints) if self.path[e] in STORMY]
        for first, last, most, great in ((1, 3, 1.1, False), (4.5, 7, 0.9, False), (7.5, self.days - 1, 2.2, True)):
            begin = random.uniform(first, last) // 1 * DAY + random.uniform(11, 16) * 60
            end, high = begin + random.uniform(4, 8) * 60, most * random.uniform(0.85, 1.15)
            shape = wave(self.minute, begin, end, 70, 120)
            for e in stormy:
                self.factor[e] *= 1 + high * STORMY[self.path[e]] * shape
            self.named("storm", begin, end, np.array(stormy), ambiguous=great)

    def rhythms(self) -> dict[str, np.ndarray]:
        """Calls per minute of each sort of callers that has hours; 1 in the mean."""
        random, hour, free = self.random, self.hour, self.free[self.day]
        human = np.where(
            free, 0.3 + 1.1 * peak(hour, 8, 2) + 0.9 * peak(hour, 15, 4),
            0.3 + peak(hour, 5.3, 1.3) + 0.6 * peak(hour, 10.5, 3) + 0.95 * peak(hour, 17.5, 2.6),
        )  # fmt: skip
        human *= np.repeat(random.lognormal(0, 0.06, self.days), DAY)  # what the weather is like
        human[self.day == HOLIDAY] *= 1.2
        staff = np.where(free, 0.06, 0.06 + peak(hour, 8.5, 1.8) + peak(hour, 12.8, 1.8))
        staff[self.day == BRIDGE] *= 0.6
        shows = sum(height * peak(hour, at, 0.45) for at, height in ((4.3, 1), (10.4, 0.8), (15.6, 1), (17.6, 1.4)))
        issued = np.zeros(self.minutes)  # warnings, a few times a day
        for at in random.integers(0, self.minutes, 7 * self.days):
            issued[at : at + 6] += random.lognormal(np.log(5), 0.5)
        curves = {
            "apps": human, "tiles": human, "office": staff, "token": 0.7 + 0.5 * human, "tv": 0.1 + shows * np.where(free, 0.75, 1),
            "farm": 0.15 + peak(hour, 4.6, 1.4) + 0.6 * peak(hour, 17, 2), "runs": 0.3 + 3.5 * self.fresh, "waiting": 0.5 + 4 * self.waiting + 1.5 * self.fresh,
            "batch": 0.3 + staff, "exports": 0.5 + staff, "hooks": 0.6 + issued, "nightly": np.ones(self.minutes),
        }  # fmt: skip
        return {kind: curve / curve.mean() for kind, curve in curves.items()}

    def asked(self) -> Asked:
        """The calls of all endpoints, in order of time, not answered yet."""
        at, endpoint, who, client = self.in_order([(e, self.of_endpoint(e)) for e in range(self.endpoints)])
        return Asked(at, endpoint, client, self.gate(at), *np.zeros((2, len(at)), dtype=int), np.zeros(len(at)), who)

    def gate(self, at: np.ndarray) -> np.ndarray:
        return self.random.choice(GATES, len(at), p=[0.36, 0.33, 0.31])

    def by(self, at: np.ndarray, kind: str, behind: int = 60) -> Sent:
        """Calls at these moments, each of one of its callers, from one of so many addresses."""
        numbers, shares = self.callers[kind]
        who = self.random.choice(numbers, len(at), p=shares)
        return at, who, who * 64 + self.random.integers(0, np.where(who == NOBODY, 64, behind))

    def of_endpoint(self, e: int) -> Sent:
        random, rate, kind = self.random, self.rate[e], self.kind[e]
        if kind == "poll":
            return self.kept(self.programs(rate * self.factor[e].max(), kind), self.factor[e])
        if kind == "masts":
            count = max(4, round(rate * 10))
            return joined([sent(ticks(random, 600, 0.004, self.minutes * 60), self.numbers["mesh-01" if i % 3 else "mesh-02"], 60_000 + i) for i in range(count)])  # fmt: skip
        mood = np.exp(ornstein(random, self.minutes, 150, 0.07))
        flow = rate * self.curves[kind] * self.factor[e] * mood
        if kind == "tiles":  # a view of a map
            at, who, client = self.by(arrivals(random, flow / 7), kind)
            size = random.geometric(1 / 7, len(at))
            return np.repeat(at, size) + random.exponential(0.8, size.sum()), np.repeat(who, size), np.repeat(client, size)  # fmt: skip
        if kind == "exports":  # until it is done
            return self.by(packs(random, arrivals(random, flow / 9), 9, 90), kind, 3)
        if kind == "batch" and rate > 0.5:
            at = np.concatenate([self.scraped(rate, 0.45), arrivals(random, 0.5 * flow)])
            turns = random.choice(self.callers[kind][0], self.minutes // 180 + 1, p=self.callers[kind][1])
            who = turns[np.minimum(at // 10_800, len(turns) - 1).astype(int)]
            return at, who, who * 64
        if kind == "nightly":
            return self.by(np.concatenate([self.nightly(0.8 * rate, 135, 7, 40, 80), arrivals(random, 0.2 * flow)]), kind, 2)  # fmt: skip
        if kind == "token":
            return joined([self.by(arrivals(random, 0.6 * flow), kind), self.programs(0.4 * rate, kind)])
        return self.by(arrivals(random, flow), kind, 60 if kind == "apps" else 4)

    def programs(self, rate: float, kind: str) -> Sent:
        """Calls of programs, some at an even pace, some for many places at once and on the full minute; rate: of all."""
        random, (numbers, shares) = self.random, self.callers[kind]
        weights = random.lognormal(0, 0.7, 16)
        parts, end = [], self.minutes * 60
        for each in rate * weights / weights.sum():
            who = int(random.choice(numbers, p=shares))
            if random.random() < 0.5:
                at = ticks(random, 60 / each, 0.02, end)
            else:
                period = int(random.choice([5, 10, 15, 30], p=[0.4, 0.3, 0.2, 0.1])) * 60
                at = np.arange(random.integers(0, 25), end, period) + random.exponential(1.5)
                times = random.poisson(each * period / 60, len(at))
                at = np.repeat(at, times) + random.uniform(0, 20, times.sum())
            parts.append(sent(at, who, who * 64 + int(random.integers(3))))
        return joined(parts)

    def answered(self, calls: Asked) -> Asked:
        """The calls as they are answered on ordinary days, with what clients send again."""
        random, e, minute = self.random, calls.endpoint, (calls.at // 60).astype(int)
        instances, used = self.scaled(calls, 4, 1.3)
        calls.instance = (random.random(len(calls)) * instances[self.of_service[e], minute]).astype(int)
        calls.status = self.usually(calls, self.answers, 300, 2)
        for consumer, path, code, share in HABITS:
            mine = (calls.who == self.numbers[consumer]) & (random.random(len(calls)) < share)
            if path is not None:
                mine &= e == self.path.index(path)
            calls.status[mine] = code
        self.over_quota(calls)
        wrong = np.minimum(self.failing[e, minute] + self.never_good[e], 1)
        wrong = random.random(len(calls)) < wrong
        calls.status[wrong] = random.choice([500, 502, 503], wrong.sum())
        self.fall_over(calls, calls.status, calls.instance, 502, 0.6)
        calls.ms = self.takes(calls, used, 0.35)
        self.slow_neighbours(calls, calls.ms, calls.instance)
        with_tail(random, calls.ms, 2.2)
        quick = np.where(calls.status == 304, 404, calls.status)  # a service looks what has not changed
        calls.ms = refused_sooner(random, quick, calls.ms, [400, 401, 403, 404, 410, 422])
        late = calls.ms >= self.limit[e]
        calls.status[late], calls.ms[late] = 504, self.limit[e][late]
        failed = np.isin(calls.status, [500, 502, 503, 504])
        again = planted.tried_again(random, self, calls, failed, None, 0.5, (0.5, 1.6), self.gate)
        calls = calls.and_those(again)
        calls = calls.where(np.argsort(calls.at, kind="stable"))
        return calls.where((calls.at >= 0) & (calls.at < self.minutes * 60))

    def over_quota(self, calls: Asked) -> None:
        """Keys that have used up their plan are refused until midnight, and go on asking."""
        day = (calls.at // 86_400).astype(int)
        for consumer, share in OVER_QUOTA.items():
            mine = np.flatnonzero(calls.who == self.numbers[consumer])
            count = np.bincount(day[mine], minlength=self.days)
            quota = share * np.median(count)
            first = np.concatenate([[0], np.cumsum(count)])[day[mine]]
            calls.status[mine[np.arange(len(mine)) - first > quota]] = 429

    def logged(self, calls: Asked) -> pl.DataFrame:
        """Lines of the calls; at and order: seconds since the epoch."""
        calls = self.without_holes(calls, calls.gate)
        random, n, e = self.random, len(calls), calls.endpoint
        size = self.size[e] * self.bigger[self.of_service[e], (calls.at // 60).astype(int)] * random.lognormal(0, 0.25, n)  # fmt: skip
        size = np.where(np.isin(calls.status, [204, 304]), 0, np.where(calls.status >= 400, 180, size)).astype(int)
        what = (10_000 + 20_000 * random.random(n) ** 2).astype(int)  # some places are asked for more often
        gone, client = calls.at + calls.ms / 1000 + self.t0, calls.client

        def name(number: np.ndarray, names: list[str]) -> pl.Series:
            return pl.Series(number).replace_strict(dict(enumerate(names)))

        frame = pl.DataFrame({
            "method": name(e, self.method), "path": name(e, self.path), "upstream": name(e, self.service), "consumer": name(calls.who, CONSUMERS), "agent": name(calls.who, AGENTS),
            "subnet": client // 16_384 + 20, "net": client // 64 % 256, "host": client % 64 + 1, "status": calls.status, "size": size, "what": what,
            "done": gone, "took": calls.ms / 1000, "gate": calls.gate, "order": gone + self.late(calls, calls.gate, np.zeros(n)),
        })  # fmt: skip
        return line(frame.with_columns(
            asked=pl.col("path").str.replace("{id}", pl.col("what").cast(pl.String), literal=True), address=pl.format("10.{}.{}.{}", "subnet", "net", "host"),
        ))  # fmt: skip

    def strangers(self) -> pl.DataFrame:
        """Lines of health checks, of a crawler that reads the pages of places and of scanners that look for what is not there."""
        random, end = self.random, self.minutes * 60
        checks, scans = probed(random, 1.0, end), self.scans() - self.t0
        visits = packs(random, np.sort(random.uniform(0, end, 12 * self.days)), 15, 40)
        parts = [
            (checks, np.full(len(checks), "/healthz"), 200, "kube-probe/1.32", "10.9.0.2"),
            (visits, np.char.add("/weather/city-", random.integers(100, 999, len(visits)).astype(str)), 200, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "66.249.66.4"),
            (scans, random.choice(["/.env", "/wp-login.php", "/v1/.git/config", "/admin", "/phpmyadmin/"], len(scans)), 404, "Mozilla/5.0 zgrab/0.x", "185.220.101.7"),
        ]  # fmt: skip
        frames = []
        for at, path, status, agent, address in parts:
            inside = (at >= 0) & (at < end)
            count, done = int(inside.sum()), self.t0 + at[inside]
            frames.append(pl.DataFrame({
                "address": [address] * count, "consumer": "-", "method": "GET", "asked": path[inside].tolist(), "status": status, "size": 120,
                "agent": agent, "done": done, "took": 0.002, "upstream": "-", "gate": random.integers(0, GATES, count), "order": done,
            }))  # fmt: skip
        return line(pl.concat(frames))


def line(frame: pl.DataFrame) -> pl.DataFrame:
    """at, order and line in the layout worlds.LOG_FORMAT."""
    local = pl.from_epoch(pl.col("done").floor().cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")
    return frame.select(
        "order", at="done",
        line=pl.format(
            '{} - {} [{}] "{} {} HTTP/1.1" {} {} "-" "{}" {} {} {} gw-{}', "address", "consumer", local, "method", "asked", "status", "size", "agent",
            pl.col("done").round(3).cast(pl.Decimal(18, 3)).cast(pl.String), pl.col("took").cast(pl.Decimal(12, 3)).cast(pl.String), "upstream", "gate",
        ),
    )  # fmt: skip


def usable(world: Weather, quiet: Split, kind: str) -> list[int]:
    """The endpoints that a kind of fault can be on."""
    rate = np.array([len(rows) for rows in quiet.rows]) / world.minutes
    unsteady = ("batch", "exports", "nightly", "hooks")
    chosen = {
        **dict.fromkeys(COUNTED, lambda e: rate[e] >= 1 and world.kind[e] not in unsteady and world.path[e] != "/v1/nowcast"),
        "low_traffic_fail": lambda e: rate[e] < 0.4,
        "latency_tail": lambda e: rate[e] >= 0.9,
        "validation_regression": lambda e: bool({400, 422} & set(world.answers[e])),
        "rate_limit": lambda e: rate[e] >= 0.7 and world.kind[e] not in ("masts", "hooks"),
    }  # fmt: skip
    fits = chosen.get(kind, lambda e: rate[e] >= 0.35)
    return [e for e in range(world.endpoints) if world.path[e] != "/v2/nowcast" and fits(e)]


def drawn(world: Weather, quiet: Split, others: list[Fault], kind: str, grade: str, length: int) -> Fault | None:
    """A fault at a place and time; None: not there."""
    random, mine = world.random, usable(world, quiet, kind)
    fault = Fault(kind, grade, [], [], strength=STRENGTH[grade])
    met = planted.place(random, fault, length, world, quiet, mine, wide=WIDE)
    if met is None:
        return None
    first = fault.endpoints[0]
    fault.code = planted.answer(random, kind, world.answers[first], UNHEARD)
    if kind == "error_burst" and world.kind[first] == "tiles" and random.random() < 0.5:
        fault.code = 404  # the pictures of a radar do not arrive
    if kind == "validation_regression":
        fault.code = int(random.choice([code for code in (400, 422) if code in world.answers[first]]))
    if kind == "upstream_timeout":
        fault.upstream = world.service[first]
    if kind == "node_outage":
        fault.gate, fault.endpoints = int(random.integers(GATES)), list(range(world.endpoints))
    planted.of_one_consumer(random, fault, quiet, met, True, NOBODY)
    if fault.who is not None and CONSUMERS[fault.who] in {*OVER_QUOTA, *(name for name, *_ in HABITS)}:
        return None
    if fault.who is not None or fault.gate is not None:  # one of many, of whose calls more fail
        fault.strength = fault.strength._replace(fails=min(1.0, 2.2 * fault.strength.fails))
    storms = [one for one in world.events if kind in COUNTED and one["what"] == "storm"]
    free = planted.apart(fault, [], storms, world.t0) and planted.stands(fault, world, quiet, others)
    return fault if free else None


def harmed(world: Weather, calls: Asked, fault: Fault) -> Asked:
    """The calls with a fault."""
    random = world.random
    calls, inside, draw = planted.met(random, calls, fault)
    if fault.kind in COUNTED:
        return planted.other_traffic(random, calls, fault, inside, draw)
    if fault.kind in SLOW:
        planted.slow_down(random, calls, fault, inside, draw)
        return calls
    hit = np.flatnonzero(inside & (draw < fault.share))
    if fault.kind == "rate_limit":
        return planted.refuse(random, calls, fault, inside, hit)
    assert fault.code is not None
    planted.fail(random, calls, hit, fault.code)
    if fault.code < 500:
        return calls
    failed = np.isin(np.arange(len(calls)), hit)
    return calls.and_those(planted.tried_again(random, world, calls, failed, fault, 0.5, (0.5, 1.6), world.gate))


def levels(world: Weather, calls: Asked) -> np.ndarray:
    """How slow each endpoint usually is in each hour of the day, beside itself in all of them (geometric mean); one row per endpoint."""
    place = calls.endpoint * 24 + (calls.at // 3600 % 24).astype(int)
    every, slow = 24 * world.endpoints, np.log(calls.ms + 0.5)
    count, total = (np.bincount(place, weight, every).reshape(-1, 24) for weight in (None, slow))
    mean = total.sum(axis=1, keepdims=True) / np.maximum(count.sum(axis=1, keepdims=True), 1)
    return np.exp((total - count * mean) / (count + 10))


def seen(world: Weather, quiet: Split, after: Split, level: np.ndarray, fault: Fault) -> Figures:
    """The figures of a fault as a chart of its endpoints shows them to somebody who knows what is usual at that hour."""
    without, calls = quiet.of(fault.endpoints), after.of(fault.endpoints)
    for some in (without, calls):  # copies
        some.ms = some.ms / level[some.endpoint, (some.at // 3600 % 24).astype(int)]
    inside = fault.inside(without.at)
    other = without.where(~inside & ~world.excepted(fault.endpoints, without.at))
    mean, count = partial(planted.z_of_mean, fault), partial(z_of_count, world, fault)
    here = calls.where(fault.inside(calls.at))
    found = planted.figures(fault, other, here, without.where(inside), planted.drifted(fault), mean, count)
    return found._replace(z=found.z * (PLAIN if fault.kind in (*COUNTED, *SLOW) else 1))


def graded(fault: Fault, look: Callable[[Fault], Figures]) -> None:
    """Sets the figures of a fault, and its grade by what is seen of it, whatever it was drawn as."""
    fault.grade = "easy"
    planted.measure(fault, SHOWN, look)
    less, more = sorted((max(fault.usual, 1), max(fault.during, 1)))
    signal = "tail" if fault.kind == "latency_tail" else SIGNAL.get(fault.kind, "errors")
    effect = more / less if signal in LARGE else fault.during
    easy, medium = LARGE.get(signal, (0.2, 0.06))
    if effect < easy:
        fault.grade = "hard" if effect < medium or fault.grade == "hard" else "medium"


def z_of_count(world: Weather, fault: Fault, at: np.ndarray, here: int) -> float:
    """How far a number of calls is from what the three hours on both sides lead to expect, in standard errors.

    What they lead to expect is seen on the other days, at the same hours; on days of the same sort (free or not) where there are three.
    """

    def counted(begin: float, end: float) -> int:
        return int(np.searchsorted(at, end) - np.searchsorted(at, begin))

    start, end, side = fault.start, fault.end, 10_800
    around = counted(start - side, start) + counted(end, end + side)
    shares, same = [], []
    for shift in range(-world.days, world.days):
        begin, until = start + shift * 86_400, end + shift * 86_400
        beside = counted(begin - side, begin) + counted(until, until + side)
        if shift and begin >= side and until < world.minutes * 60 - side and beside > 0.3 * around:
            shares.append(counted(begin, until) / beside)
            same.append(world.free[int(begin // 86_400)] == world.free[int(start // 86_400)])
    if sum(same) >= 3:
        shares = [share for share, like in zip(shares, same, strict=True) if like]
    if len(shares) < 3:
        return 0.0
    expected, spread = around * float(np.median(shares)), around * float(np.std(shares))
    left = min(1.0, max(0.35, here / max(expected, 1)))  # fewer calls, less noise; but what to expect is uncertain too
    return abs(here - expected) / float(np.sqrt(expected + (left * spread) ** 2 + 1))
