"""A world of API calls of a city's public transport and bike sharing, with planted faults; for detection.py.

From a Friday in May on, with Ascension day and the bridge day after it. A fault is graded against the other days of its endpoints.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from calls import Columns, Hinted, Spells, arrivals, label, ornstein
from worlds import World

FRIDAY = 1_778_198_400  # 2026-05-08T00:00:00Z; local time is two hours ahead
DAY, HOUR, HOLIDAY, BRIDGE, NODES = 86_400, 3_600, 6, 7, 3
WHO = {
    "riders": {"ios-app": 0.34, "android-app": 0.42, "web": 0.12, "cityhop": 0.07, "ridewise": 0.05},
    "bikers": {"ios-app": 0.40, "android-app": 0.48, "cityhop": 0.12},
    "shop": {"ios-app": 0.36, "android-app": 0.40, "web": 0.18, "partner-shop": 0.06},
    "open": {"openmob": 0.45, "cityhop": 0.30, "maps-partner": 0.15, "ridewise": 0.10},
    "gates": {"validators-gen2": 0.65, "validators-gen1": 0.35}, "office": {"ops-desk": 0.7, "service-centre": 0.3},
    "boards": {"display-boards": 1.0}, "vehicles": {"onboard-units": 1.0}, "docks": {"dock-controllers": 1.0}, "batch": {},
}  # fmt: skip
OTHERS = ["-", "uptime-probe", "timetable-import", "settlement", "mobility-lab"]  # programs; "-" is who does not log in
CONSUMERS = sorted({name for shares in WHO.values() for name in shares}) + OTHERS
REGULAR = {"boards", "vehicles", "docks", "open"}  # who calls by the clock
CURVES: dict[str, tuple[float, list[tuple[float, float, float]], list[tuple[float, float, float]]]] = {  # at any hour; (hour, width, height) on days of work; on free days
    "riders": (0.06, [(7.6, 1.0, 1.0), (12.8, 2.2, 0.35), (17.2, 1.6, 0.95), (21, 1.8, 0.2)], [(14.5, 3.6, 0.6), (20, 2.5, 0.3)]),
    "bikers": (0.05, [(8.2, 0.9, 0.7), (13, 2.5, 0.4), (18, 2.0, 1.0), (22, 1.5, 0.3)], [(15.5, 3.4, 0.95), (21.5, 2, 0.35)]),
    "shop": (0.05, [(7.5, 1.2, 0.7), (13, 3.5, 0.6), (18, 2.2, 0.6)], [(11.5, 2.5, 0.6), (17, 3, 0.55)]),
    "docks": (1.0, [], []), "batch": (0.0, [], []), "boards": (0.55, [(12.5, 6.5, 0.45)], [(13.5, 6, 0.4)]),
    "open": (0.8, [(7.6, 1.2, 0.3), (17.2, 1.8, 0.3)], [(14.5, 4, 0.2)]), "office": (0.02, [(10, 1.7, 1.0), (14.5, 2, 0.9)], [(13, 3, 0.08)]),
    "vehicles": (0.12, [(7.6, 1.5, 0.6), (12.5, 4, 0.7), (17, 2, 0.6), (21, 2, 0.3)], [(13.5, 4.5, 0.75), (20, 2.5, 0.3)]),
    "gates": (0.02, [(7.5, 1.0, 1.0), (13, 2.5, 0.4), (17, 1.6, 0.95), (21, 1.5, 0.15)], [(14, 3.5, 0.55), (20, 2.5, 0.25)]),
}  # fmt: skip
ROUTES: list[tuple[str, str, str, float, float, str, dict[int, float]]] = [  # service, method, path, weight, median ms, who calls, share of other answers
    ("planner", "GET", "/v2/journeys", 9.0, 420, "riders", {422: 0.012, 404: 0.01}), ("planner", "GET", "/v2/journeys/{id}", 1.6, 60, "riders", {404: 0.02, 410: 0.01}),
    ("planner", "POST", "/v2/journeys/matrix", 0.25, 1500, "office", {413: 0.02}), ("planner", "GET", "/v2/isochrones", 0.2, 2200, "office", {}),
    ("planner", "GET", "/v2/places", 4.0, 45, "riders", {}), ("planner", "GET", "/v3/journeys/compare", 0.5, 520, "riders", {}),
    ("realtime", "GET", "/v1/stops/{id}/departures", 12.0, 38, "riders", {404: 0.006}), ("realtime", "GET", "/v1/stops/nearby", 3.5, 52, "riders", {}),
    ("realtime", "GET", "/v1/stops/{id}", 1.0, 18, "riders", {404: 0.03}), ("realtime", "GET", "/v1/lines/{id}/vehicles", 1.6, 48, "riders", {}),
    ("realtime", "GET", "/v1/alerts", 2.6, 14, "riders", {304: 0.35}), ("realtime", "GET", "/v1/feeds/trip-updates", 0.9, 110, "open", {304: 0.1}),
    ("realtime", "GET", "/v1/feeds/positions", 0.9, 95, "open", {304: 0.1}), ("realtime", "GET", "/v1/boards/{id}", 4.0, 24, "boards", {304: 0.25}),
    ("telemetry", "POST", "/v1/vehicles/{id}/position", 9.0, 9, "vehicles", {}), ("telemetry", "POST", "/v1/vehicles/{id}/doors", 1.2, 14, "vehicles", {400: 0.004}),
    ("telemetry", "POST", "/v1/vehicles/{id}/defects", 0.06, 20, "vehicles", {}), ("telemetry", "POST", "/v1/docks/{id}/status", 2.5, 12, "docks", {409: 0.004}),
    ("telemetry", "POST", "/v1/validators/{id}/heartbeat", 1.2, 7, "docks", {}), ("tickets", "POST", "/v1/orders", 0.9, 380, "shop", {402: 0.035, 409: 0.01}),
    ("tickets", "GET", "/v1/orders/{id}", 0.9, 35, "shop", {404: 0.01}), ("tickets", "POST", "/v1/orders/{id}/refund", 0.03, 520, "office", {409: 0.08}),
    ("tickets", "GET", "/v1/products", 0.9, 22, "shop", {304: 0.2}), ("tickets", "PUT", "/v1/subscriptions/{id}", 0.05, 240, "shop", {422: 0.05}),
    ("tickets", "GET", "/v1/wallet", 2.2, 40, "riders", {401: 0.008}), ("tickets", "POST", "/v1/vouchers/redeem", 0.08, 95, "shop", {404: 0.12, 410: 0.06}),
    ("gates", "POST", "/v1/validations", 5.0, 16, "gates", {409: 0.02}), ("gates", "GET", "/v1/blocklist", 0.35, 180, "docks", {304: 0.8}),
    ("gates", "POST", "/v1/inspections", 0.3, 55, "office", {404: 0.05}), ("bikes", "GET", "/v1/bikes/nearby", 3.2, 64, "bikers", {}),
    ("bikes", "GET", "/v1/docks/{id}", 0.8, 20, "bikers", {404: 0.01}), ("bikes", "POST", "/v1/rentals", 0.6, 310, "bikers", {409: 0.05, 423: 0.012}),
    ("bikes", "POST", "/v1/rentals/{id}/end", 0.55, 240, "bikers", {409: 0.02}), ("bikes", "POST", "/v1/reservations", 0.2, 150, "bikers", {409: 0.07}),
    ("bikes", "GET", "/v1/feeds/stations", 1.2, 28, "open", {304: 0.4}), ("accounts", "POST", "/v1/sessions", 0.9, 110, "riders", {401: 0.06}),
    ("accounts", "POST", "/v1/sessions/refresh", 1.3, 30, "riders", {401: 0.02}), ("accounts", "GET", "/v1/me", 1.6, 25, "riders", {401: 0.01}),
    ("backoffice", "PUT", "/v1/timetables/{id}", 0.0, 260, "batch", {409: 0.01}), ("backoffice", "GET", "/v1/reports/settlement", 0.0, 2400, "batch", {}),
]  # fmt: skip
NEW, FADING, GROWING = "/v3/journeys/compare", "/v1/orders/{id}", "/v1/wallet"  # an app release moves calls
LOAD = {"planner": 0.22, "tickets": 0.12, "bikes": 0.1}  # how much more (log) a service takes at twice its usual load
HABITS: list[tuple[str, str, int, float]] = [  # clients that have always been a little wrong
    ("cityhop", "/v1/stops/{id}/departures", 404, 0.09), ("ridewise", "/v1/alerts", 401, 0.25), ("openmob", "/v1/feeds/positions", 429, 0.06), ("validators-gen1", "/v1/validations", 409, 0.03),
]  # fmt: skip
PLAN: dict[str, tuple[str, float, float, list[int]]] = {  # grades aimed at, minutes it lasts, and statuses
    "node_outage": ("e", 10, 35, [503]), "upstream_timeout": ("emh", 10, 90, [502, 504]), "error_burst": ("emhhn", 15, 150, [500, 503]),
    "latency_drift": ("mh", 1500, 4000, []), "latency_step": ("emh", 50, 1200, []), "latency_tail": ("mhn", 60, 480, []),
    "auth_failure": ("emh", 40, 480, [401, 403]), "rate_limit": ("mh", 30, 300, [429]), "validation_regression": ("eh", 240, 2200, [400, 422]),
    "traffic_drop": ("emh", 60, 300, []), "traffic_spike": ("eh", 30, 240, []), "traffic_silence": ("ee", 40, 300, []),
    "new_code": ("mh", 60, 600, [415, 426, 451, 406]), "low_traffic_fail": ("m", 360, 1500, [500]),
}  # fmt: skip
AIMS = {"e": (11.0, 20.0), "m": (6.5, 8.0), "h": (5.1, 5.8), "n": (1.5, 2.5)}  # z, see Past.z
SIGNAL = {kind: kind.split("_")[0] for kind in PLAN if kind.startswith(("latency", "traffic", "auth"))} | {"rate_limit": "rate_limit"}  # fmt: skip


@dataclass
class Calls(Columns):
    """Calls; second: since the world's beginning, fault: place in the list of faults or -1."""

    endpoint: np.ndarray
    consumer: np.ndarray
    second: np.ndarray
    status: np.ndarray
    latency_ms: np.ndarray
    node: np.ndarray
    fault: np.ndarray


@dataclass
class Fault(Hinted):
    """strength: share of calls that fail or are lost, or factor of latency or traffic."""

    strength: float = 0.0
    z: float = 0.0
    affected: Counter[int] = field(default_factory=Counter)

    @property
    def counted(self) -> bool:
        """Whether it is calls of a sort that it adds: errors or slow ones."""
        return self.kind == "latency_tail" or SIGNAL.get(self.kind) not in ("latency", "traffic")


def make(profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0) -> World:
    """A world; profile `mobility`, or `quiet-mobility` for the same one without faults. At least 20 endpoints."""
    network, random = Network(np.random.default_rng([seed, 31]), endpoints, days, calls_per_minute), np.random.default_rng([seed, 32])  # fmt: skip
    past = Past(network, network.answered(network.traffic()))
    faults = [] if profile.startswith("quiet") else plan(random, network, past)
    calls = tried_again(random, planted(random, past.calls, faults))
    calls = calls.where(~network.gaps.inside(calls.second) & (calls.second < network.seconds))
    measure(faults, past, Past(network, calls))
    told = [
        label(
            number, fault, FRIDAY + fault.start, FRIDAY + fault.end, SIGNAL, affected_calls=fault.affected.total(),
            endpoints=sorted(e for e, count in fault.affected.items() if count >= 2), z=round(fault.z, 1),
            strength=round(fault.strength, 3), detectable=fault.z >= 4.2 and max(fault.affected.values()) > 1,
        )
        for number, fault in enumerate(faults)
    ]  # fmt: skip
    labels = {"t0": FRIDAY, "minutes": network.minutes, "faults": told, "ambiguous": network.ambiguous}
    return World(network.logged(calls), labels, {"t0": FRIDAY, "minutes": network.minutes, "endpoints": network.catalog})  # fmt: skip


class Network:
    """Who calls what, and how it is answered when nothing is wrong."""

    def __init__(self, random: np.random.Generator, endpoints: int, days: int, rate: float) -> None:
        self.random, self.days, self.minutes, self.seconds = random, days, days * 1440, days * DAY
        picked = np.linspace(0, len(ROUTES) - 1, min(endpoints, len(ROUTES))).astype(int)
        self.routes = [ROUTES[picked[i % len(picked)]] for i in range(endpoints)]
        self.paths = [f"/region{i}{route[2]}" if i >= len(picked) else route[2] for i, route in enumerate(self.routes)]
        self.service = np.array([route[0] for route in self.routes])
        self.upstream = {name: f"{name}.internal" for name in sorted(set(self.service))}
        self.catalog = [{"id": i, "method": route[1], "path": self.paths[i], "upstream": self.upstream[route[0]]} for i, route in enumerate(self.routes)]  # fmt: skip
        local = np.arange(self.minutes) / 60 + 2
        self.hour, self.day = local % 24, (local // 24).astype(int)
        self.weekday = np.where(self.day == HOLIDAY, 6, (self.day + 4) % 7)
        self.work = np.where(self.day == BRIDGE, 0.5, np.where(self.weekday < 5, 1.0, 0.0))
        holes = [self.moment(first, last, 0, 24, 25, 70) for first, last in ((1, 3), (5, days - 1))]
        self.gaps = Spells("log missing", "", holes, [])
        self.expected = np.array([self.profile(i) for i in range(endpoints)])  # by who knows weekdays and growth
        self.expected *= rate / self.expected.sum(axis=0).mean()
        weather = self.forecast()
        self.rate = np.array([self.expected[i] * weather[route[5]] for i, route in enumerate(self.routes)])

    def moment(self, first: int, last: int, since: float, until: float, shortest: float, longest: float) -> tuple[float, float]:  # fmt: skip
        """A spell on one of these days between these local hours, so many minutes long."""
        start = self.random.integers(first, max(last, first + 1)) * DAY + (self.random.uniform(since, until) - 2) * HOUR
        return start, start + self.random.uniform(shortest, longest) * 60

    def forecast(self) -> dict[str, np.ndarray]:
        """Factor of traffic per minute by caller: rain now and then, and one thunderstorm."""
        wet = {who: np.ones(self.minutes) for who in WHO}
        spells = [(self.moment(0, self.days, 6, 20, 120, 420), 0.68, 1.08) for _ in range(self.random.integers(3, 6))]
        storm = self.moment(8, self.days - 1, 15, 18, 90, 170)
        minute = np.arange(0, self.seconds, 60)
        for (start, end), bikers, riders in [*spells, (storm, 0.25, 1.7)]:
            inside = np.clip(np.minimum(minute - start, end - minute) / 2400 + 0.5, 0, 1)
            wet["bikers"] *= bikers**inside
            wet["riders"] *= riders**inside
        places = [i for i, name in enumerate(self.service) if name not in ("telemetry", "gates", "backoffice")]
        self.ambiguous = [{"what": "thunderstorm", "start": int(FRIDAY + storm[0] - 1200), "end": int(FRIDAY + storm[1] + 1200), "endpoints": places}]  # fmt: skip
        return wet

    def profile(self, i: int) -> np.ndarray:
        """Calls per minute of an endpoint, before weather and noise, in the scale of the weights."""
        service, _, path, weight, _, who, _ = self.routes[i]
        base, work, free = CURVES[who]
        busy, idle = (
            base + sum((tall * np.exp(-0.5 * ((self.hour - at) / wide) ** 2) for at, wide, tall in bells), np.zeros(self.minutes))
            for bells in (work, free)
        )  # fmt: skip
        shape = self.work * busy + (1 - self.work) * idle * (1 - 0.2 * (self.weekday == 6) * (who not in REGULAR))
        shape /= max((0.65 * busy + 0.35 * idle).mean(), 1e-9)
        day = np.arange(self.minutes) / 1440
        shape *= 1 + {"bikers": 0.008, "riders": 0.004, "open": 0.004}.get(who, 0.0) * day
        if service in ("realtime", "gates") and who in ("riders", "gates"):  # football on Saturdays
            shape *= 1 + 0.5 * (self.weekday == 5) * np.exp(-0.5 * ((self.hour - 17.6) / 0.5) ** 2)
        moved = np.clip((day - 5) / 4, 0, 1)
        change = {NEW: (day > 5.4) * (0.3 + 0.7 * moved), FADING: 1 - 0.25 * moved, GROWING: 1 + 0.1 * moved}
        return weight * shape * change.get(path, 1.0)

    def traffic(self) -> Calls:
        """Who calls what and when; nothing of it is answered yet."""
        service = {name: ornstein(self.random, self.minutes, 200, 0.05) for name in self.upstream}
        parts = self.programs()
        for i, route in enumerate(self.routes):
            rate = self.rate[i] * np.exp(ornstein(self.random, self.minutes, 120, 0.05) + service[route[0]])
            second = polls(self.random, rate) if route[5] in REGULAR else arrivals(self.random, rate)
            parts.append(self.calls_of(i, WHO[route[5]] or {"-": 1.0}, second))
        calls = parts[0].and_those(*parts[1:])
        return calls.where((calls.second >= 0) & (calls.second < self.seconds))

    def calls_of(self, endpoint: int | np.ndarray, names: dict[str, float], second: np.ndarray) -> Calls:
        count, node = len(second), self.random.integers(0, NODES, len(second))
        consumer = self.random.choice([CONSUMERS.index(name) for name in names], count, p=list(names.values()))
        return Calls(
            np.zeros_like(node) + endpoint, consumer, second, node * 0 + 404, np.ones(count), node, node * 0 - 1
        )

    def programs(self) -> list[Calls]:
        """Batches of each night and of some day, crawlers, scanners and the probe."""
        random = self.random
        readable = [i for i, route in enumerate(self.routes) if route[1] == "GET" and route[5] in ("riders", "shop", "bikers") and route[2] != NEW]  # fmt: skip
        parts, jobs = [], [("/v1/alerts", "uptime-probe", np.arange(0, self.seconds, 60) + random.normal(7, 0.3, self.minutes))]  # fmt: skip
        for day in range(self.days + 1):
            midnight, some_time = day * DAY - 2 * HOUR, day * DAY + random.uniform(0, 20, 2) * HOUR
            count = random.integers(500, 900) if (day + 4) % 7 == 0 else random.integers(150, 260)
            jobs.append(("/v1/timetables/{id}", "timetable-import", midnight + random.normal(7800, 120) + random.uniform(0, 4 * count, count)))  # fmt: skip
            jobs += [("/v1/reports/settlement", "settlement", some_time[0] + random.uniform(0, 2400, random.integers(10, 50)))] * (random.random() < 0.65)  # fmt: skip
            jobs += [("/v1/docks/{id}", "mobility-lab", some_time[1] + random.uniform(0, 7200, random.integers(60, 160)))] * (random.random() < 0.55)  # fmt: skip
            for pages in (readable, [-1]):  # crawlers and scanners pass by
                for begin in midnight + random.uniform(0, DAY, random.poisson(2.5)):
                    read = random.choice(pages, random.integers(12, 60))
                    parts.append(self.calls_of(read, {"-": 1.0}, begin + np.cumsum(random.exponential(9, len(read)))))
        return parts + [self.calls_of(self.paths.index(path), {name: 1.0}, second) for path, name, second in jobs if path in self.paths]  # fmt: skip

    def answered(self, calls: Calls) -> Calls:
        """The calls with status and latency."""
        random, minute = self.random, (calls.second // 60).astype(int)
        slow = {name: ornstein(random, self.minutes, 300, 0.05) for name in self.upstream}
        for name in slow:
            rate = self.rate[self.service == name].sum(axis=0)
            slow[name] += LOAD.get(name, 0.04) * (rate / max(rate.mean(), 1e-9) - 1)
            if name in ("planner", "realtime"):  # caches are cold after the import
                slow[name] += 0.2 * ((self.hour > 2.4) & (self.hour < 2.9))
        for name in random.permutation(list(slow))[:3]:  # deployments nobody minds
            since = int(self.moment(1, self.days - 1, 9, 16, 0, 1)[0] // 60)
            slow[name][since:] += random.choice([-1, 1]) * random.uniform(0.04, 0.1)
        order = np.argsort(calls.endpoint, kind="stable")
        bounds = np.searchsorted(calls.endpoint[order], np.arange(len(self.routes) + 1))
        for i, (name, method, _, _, median, who, habits) in enumerate(self.routes):
            rows = order[bounds[i] : bounds[i + 1]]
            at, draw = minute[rows], random.random(len(rows))
            failing = random.lognormal(-6.6, 0.5) * np.exp(ornstein(random, self.minutes, 90, 0.4))[at]
            usual = {"POST": 201 if who in ("riders", "shop", "bikers") else 202, "PUT": 204}.get(method, 200)
            status, failed, edge = np.full(len(rows), usual), draw < failing, failing.copy()
            for code, share in habits.items():
                status[(draw >= edge) & (draw < edge + share)] = code
                edge += share
            status[failed] = random.choice([500, 500, 500, 502, 503, 504], failed.sum())
            for caller, path, code, share in [*HABITS, ("-", self.paths[i], 404, 0.3)]:
                wrong = (calls.consumer[rows] == CONSUMERS.index(caller)) & (random.random(len(rows)) < share)
                status[wrong & (path == self.paths[i])] = code
            calls.status[rows] = status
            noise = random.normal(0, random.uniform(0.25, 0.5), len(rows))
            rare = random.random(len(rows)) < random.uniform(0.006, 0.025)
            noise[rare] += np.minimum(np.log(1.5) + random.exponential(1 / 1.7, rare.sum()), 3.5)
            noise += (ornstein(random, self.minutes, 150, 0.04) + slow[name])[at]
            calls.latency_ms[rows] = median * np.exp(noise - 0.7 * ((status >= 300) & (status < 500)))
        return calls

    def logged(self, calls: Calls) -> pl.DataFrame:
        """`at` (seconds since the epoch) and `line` in order of time, as worlds.LOG_FORMAT has it; NGINX logs what has ended."""
        random, number = self.random, self.random.integers(1, 9_000, len(calls))
        which = np.where(calls.endpoint < 0, len(self.routes) + number % 4, calls.endpoint)
        large = 200 * np.exp(random.uniform(0, 4.5, len(self.routes) + 4))[which] * random.lognormal(0, 0.3, len(calls))
        agents = [f"{name}/{i}.2" if name != "-" else "Mozilla/5.0 (compatible; SeekBot/1.1)" for i, name in enumerate(CONSUMERS)]  # fmt: skip
        frame = pl.DataFrame(
            {
                "at": FRIDAY + calls.second + calls.latency_ms / 1000, "number": number, "status": calls.status, "ms": calls.latency_ms,
                "bytes": np.where(calls.status < 300, large, 160).astype(int), "node": calls.node, "path": pl.Series([*self.paths, "/wp-login.php", "/.env", "/admin/config", "/api/swagger"]).gather(which),
                "consumer": pl.Series(CONSUMERS).gather(calls.consumer), "agent": pl.Series(agents).gather(calls.consumer),
                "method": pl.Series([route[1] for route in self.routes] + ["GET"] * 4).gather(which),
                "upstream": pl.Series([*(self.upstream[name] for name in self.service), *"----"]).gather(which),
            }
        ).sort("at")  # fmt: skip
        return frame.select(
            "at", line=pl.format(
                '10.4.{}.{} - {} [{}] "{} {} HTTP/1.1" {} {} "-" "{}" {} {} {} gw-{}',
                pl.col("number") % 7, pl.col("number") * 11 % 251, "consumer",
                pl.from_epoch(pl.col("at").floor().cast(pl.Int64), time_unit="s").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
                "method", pl.col("path").str.replace("{id}", pl.col("number").cast(pl.String), literal=True), "status", "bytes", "agent",
                pl.col("at").cast(pl.Decimal(18, 3)).cast(pl.String), (pl.col("ms") / 1000).cast(pl.Decimal(12, 3)).cast(pl.String), "upstream", "node",
            ),
        )  # fmt: skip


def polls(random: np.random.Generator, rate: np.ndarray) -> np.ndarray:
    """Seconds of the calls of many devices with clocks: as many as the rate per minute says, and little chance about it."""
    total = np.concatenate([[0.0], np.cumsum(rate)])
    moments = np.interp(np.arange(random.random(), total[-1]), total, np.arange(len(total)) * 60.0)
    return moments + random.normal(0, 25, len(moments))


def tried_again(random: np.random.Generator, calls: Calls) -> Calls:
    """The calls and what the clients try again after a 5xx; it fares as the next call of the endpoint does."""
    calls = calls.where(np.lexsort((calls.second, calls.endpoint)))
    patient = ~np.isin(calls.consumer, [CONSUMERS.index(name) for name in [*OTHERS, *WHO["open"]]])
    failed = np.flatnonzero((calls.status >= 500) & patient & (random.random(len(calls)) < 0.55))
    again = calls.where(failed + np.append(np.diff(calls.endpoint) == 0, False)[failed])
    again.consumer = calls.consumer[failed]
    again.second = calls.second[failed] + calls.latency_ms[failed] / 1000 + random.uniform(0.5, 4, len(failed))
    return calls.and_those(again)


class Past:
    """What was seen of each endpoint, and how a spell compares with the same hours of other days."""

    def __init__(self, network: Network, calls: Calls) -> None:
        self.network = network
        self.calls = calls.where(np.lexsort((calls.second, calls.endpoint)))
        self.bounds = np.searchsorted(self.calls.endpoint, np.arange(len(network.routes) + 1))
        self.luck = [0.3 if route[5] in REGULAR else 1.0 for route in network.routes]  # clocks leave little to chance

    def window(self, endpoint: int, start: float, end: float) -> Calls:
        mine = slice(*self.bounds[endpoint : endpoint + 2])
        inside = np.searchsorted(self.calls.second[mine], [start, end]) + mine.start
        return self.calls.where(slice(*inside))

    def windows(self, fault: Fault, endpoint: int) -> list[tuple[float, Calls]]:
        """The calls expected and seen while a fault is there, then at the same time of the other days with a whole log."""
        rate, network = self.network.expected[endpoint], self.network
        grown = (fault.end - fault.start) * 2 / 3 if fault.kind == "latency_drift" else 0.0  # before, it is too small
        spans = [
            (n, fault.start + grown + n * DAY, fault.end + n * DAY)
            for n in sorted(range(-network.days, network.days), key=abs)
        ]
        kept = [(a, b) for n, a, b in spans if not n or (a >= 0 and b <= network.seconds and all(b < gap or a > over for gap, over in network.gaps.spans))]  # fmt: skip
        return [(float(rate[int(a // 60) : int(b // 60)].sum()), self.window(endpoint, a, b)) for a, b in kept]

    def count(self, fault: Fault, endpoint: int, calls: Calls) -> int:
        """How many calls are of the sort that a fault adds: its 4xx or any 5xx, or slow ones."""
        if fault.kind == "latency_tail":
            return int((calls.latency_ms > 2.5 * self.network.routes[endpoint][4]).sum())
        return int(((calls.status == fault.code) if (fault.code or 500) < 500 else (calls.status >= 500)).sum())

    def usual(self, fault: Fault, endpoint: int) -> tuple[float, float]:
        """Level and noise: share of calls, variance over mean; or mean and deviation of log latency; or calls, deviation of their log."""
        (expected, _), *others = self.windows(fault, endpoint)
        if fault.counted:
            counts = np.array([[self.count(fault, endpoint, w), len(w)] for _, w in others] or [[0, 0]])
            ratio = counts[:, 0].sum() / max(counts[:, 1].sum(), 1)
            spread = ((counts[:, 0] - counts[:, 1] * ratio) ** 2).sum() / max(counts[:, 0].sum(), 1)
            return ratio, max(float(spread), 1.0)
        if SIGNAL[fault.kind] == "latency":
            like = [w for calls, w in others if len(w) > 2 and 0.6 < (calls + 1) / (expected + 1) < 1.7]  # as much load
            means = np.array([np.log(w.latency_ms).mean() for w in like] or [0.0])
            chance = 0.5 / np.sqrt(np.median([len(w) for w in like])) if len(like) > 2 else 9.0
            return float(np.median(means)), spread_of(means, max(0.03, float(chance)))
        ratios = np.array([(len(w) + 0.5) / (e + 0.5) for e, w in others] or [1.0])
        least = max(0.06, self.luck[endpoint] / max(expected, 0.1) ** 0.5)
        return expected * float(np.median(ratios)), spread_of(np.log(ratios), least)

    def z(self, fault: Fault, endpoint: int, now: Past) -> tuple[float, float]:
        """How many standard deviations a fault is away from the usual; and its size, 1 if nobody can overlook it in a plot."""
        level, noise = self.usual(fault, endpoint)
        calls = now.windows(fault, endpoint)[0][1]
        if fault.counted:
            seen, mean = self.count(fault, endpoint, calls), max(level * len(calls), 0.2)
            plain = len(calls) * (0.1 if fault.kind == "latency_tail" else 0.05)
            return deviance(seen, mean) / np.sqrt(noise), (seen - mean) / max(plain, 0.1)
        if SIGNAL[fault.kind] == "latency":
            more = float(np.log(calls.latency_ms).mean()) - level if len(calls) else 0.0
            return more / noise, more / np.log(1.5)
        change = float(abs(np.log((len(calls) + 0.5) / (level + 0.5))))
        rare = abs(deviance(len(calls), max(level, 0.2))) / self.luck[endpoint]
        return min(change / noise, rare), change / np.log(1.8)


def spread_of(values: np.ndarray, least: float) -> float:
    """Standard deviation, of which one strange day in two weeks (a storm, a deployment) makes at most the double."""
    usual = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    return max(usual, float(np.std(values)) / 2, least)


def deviance(seen: float, mean: float) -> float:
    """How many standard deviations a count is above (below: negative) the mean of a Poisson distribution."""
    return float(np.sign(seen - mean) * np.sqrt(max(2 * (seen * np.log(max(seen, 1e-9) / mean) - seen + mean), 0)))


def strength(random: np.random.Generator, fault: Fault, endpoint: int, past: Past, z: float) -> float:
    """What makes a fault z deviations large on an endpoint; 0 when that is nothing a fault would do, or too few calls."""
    level, noise = past.usual(fault, endpoint)
    calls = past.window(endpoint, fault.start, fault.end)
    mine = int((calls.consumer == CONSUMERS.index(fault.consumer)).sum()) if fault.consumer else len(calls)
    if fault.kind == "low_traffic_fail" and not 8 <= mine <= 120:
        return 0.0
    if fault.node:
        return random.uniform(0.4, 0.9)
    if fault.counted:
        mean = max(level * len(calls), 0.2)
        added = next((k for k in range(3, 4000) if deviance(mean + k, mean) / np.sqrt(noise) >= z), 4000)
        share, least = added / max(mine, 1), 0.1 if fault.consumer else 0.02
        share = max(share, least * random.uniform(2, 6)) if z > 9 else share
        return share if least <= share <= (0.35 if fault.kind == "latency_tail" else 0.95) else 0.0
    largest, smallest, few = (3.5, 1.12, 60) if SIGNAL[fault.kind] == "latency" else (6.0, 1.35, 25)
    factor = float(np.exp(min(z * noise, np.log(largest))))
    if len(calls) < few or factor < smallest:
        return 0.0
    return {"traffic_silence": 1.0, "traffic_drop": 1 - 1 / factor}.get(fault.kind, factor)


def plan(random: np.random.Generator, network: Network, past: Past) -> list[Fault]:
    """The faults of a world, each on endpoints and in hours that no other fault is near."""
    wanted = [(kind, aim) for kind, (aims, *_) in PLAN.items() for aim in aims]
    few, faults = round(random.integers(28, 31) * min(max(network.days - 4, 1) / 10, 1.0)), list[Fault]()
    for kind, aim in (wanted[i] for i in sorted(random.choice(len(wanted), few, replace=False))):
        for _ in range(300):
            fault = drawn(random, network, kind)
            if fault is not None and apart(fault, faults, network):
                busiest = max(fault.endpoints, key=lambda e: network.expected[e].sum())
                fault.strength = strength(random, fault, busiest, past, random.uniform(*AIMS[aim]))
                if fault.strength:
                    faults.append(fault)
                    break
    return sorted(faults, key=lambda fault: fault.start)


def drawn(random: np.random.Generator, network: Network, kind: str) -> Fault | None:
    """A fault somewhere, of no strength yet; None when it would not fit into the world."""
    _, shortest, longest, codes = PLAN[kind]
    lasts = 60 * np.exp(random.uniform(np.log(shortest), np.log(longest)))
    start = 4.1 * DAY + random.random() * (network.seconds - 2 * HOUR - lasts - 4.1 * DAY)
    if start < 4.1 * DAY or (random.random() < 0.75 and not 7 < (start / HOUR + 2) % 24 < 21):
        return None  # people change things by day
    known = [i for i, route in enumerate(network.routes) if route[2] != NEW and route[5] != "batch"]
    first = int(random.choice(known))
    service = [i for i in known if network.service[i] == network.service[first]]
    some = random.permutation([i for i in service if i != first])[: random.choice([0, 0, 0, 1, 2])].tolist()
    fault = Fault(kind, "hard", [(start, start + lasts)], [first, *some], int(random.choice(codes)) if codes else None)
    if kind == "node_outage":
        fault.endpoints, fault.node = list(range(len(network.routes))), f"gw-{random.integers(NODES)}"
    elif kind == "upstream_timeout":
        fault.endpoints, fault.upstream = service, network.upstream[network.service[first]]
    elif kind in ("auth_failure", "rate_limit", "validation_regression"):
        names = WHO[network.routes[first][5]]
        fault.consumer = str(random.choice(list(names), p=list(names.values())))
        if kind == "auth_failure":
            fault.endpoints = [i for i in service if fault.consumer in WHO[network.routes[i][5]]]
    elif kind == "error_burst" and lasts > 5400:  # it comes and goes
        fault.spans = [
            (beat, min(beat + 600, start + lasts)) for beat in np.arange(start, start + lasts, 1500).tolist()
        ]
    elif kind.startswith("traffic"):
        fault.endpoints = [first]
        if BRIDGE in network.day[int(start // 60) : int((start + lasts) // 60)]:  # nobody knows what to expect
            return None
    return fault


def apart(fault: Fault, faults: list[Fault], network: Network) -> bool:
    """Whether a fault is away from the others of its endpoints, from holes in the log and from what is ambiguous."""
    brief = fault.end - fault.start < 12 * HOUR
    edges = [*network.gaps.spans, *((one["start"] - FRIDAY, one["end"] - FRIDAY) for one in network.ambiguous)]
    if brief and any(fault.start < end + HOUR and fault.end > start - HOUR for start, end in edges):
        return False
    for other in faults:
        margin = 13 * HOUR if "latency_drift" in (fault.kind, other.kind) else 4 * HOUR
        near = fault.start < other.end + margin and fault.end > other.start - margin
        anyway = other.kind == "node_outage" and not brief  # it hits all: a long fault could be nowhere else
        if near and not anyway and set(fault.endpoints) & set(other.endpoints):
            return False
    return True


def planted(random: np.random.Generator, clean: Calls, faults: list[Fault]) -> Calls:
    """The calls with the faults in them."""
    calls = clean.copy()
    lost, more = np.zeros(len(calls), dtype=bool), []
    for number, fault in enumerate(faults):
        who = [CONSUMERS.index(fault.consumer)] if fault.consumer else range(len(CONSUMERS))
        nodes = [int(fault.node[-1])] if fault.node else range(NODES)
        mine = np.isin(calls.endpoint, fault.endpoints) & np.isin(calls.consumer, who) & np.isin(calls.node, nodes)
        rows = np.flatnonzero(mine & fault.inside(calls.second))
        hit = rows[random.random(len(rows)) < fault.strength]
        if fault.kind in ("traffic_drop", "traffic_silence"):
            lost[hit] = True
            fault.affected = Counter(calls.endpoint[hit].tolist())
        elif fault.kind == "traffic_spike":  # one client asks in a loop
            fault.consumer = CONSUMERS[random.choice(calls.consumer[rows])]
            extra = calls.where(random.choice(rows, round((fault.strength - 1) * len(rows))))
            extra.second = random.uniform(fault.start, fault.end, len(extra))
            extra.consumer[:], extra.fault[:] = CONSUMERS.index(fault.consumer), number
            more.append(extra)
        elif fault.counted:
            calls.fault[hit], calls.status[hit] = number, fault.code or calls.status[hit]
            if fault.kind == "latency_tail":
                calls.latency_ms[hit] *= random.uniform(4, 9, len(hit))
            elif fault.code == 504:
                calls.latency_ms[hit] = 10_000 + random.exponential(20, len(hit))
            elif fault.code in (401, 403, 429, 503):
                calls.latency_ms[hit] = random.lognormal(1.3, 0.4, len(hit))
        else:
            grown = np.clip((calls.second[rows] - fault.start) / (fault.end - fault.start) * 1.5, 0, 1)
            calls.latency_ms[rows] *= fault.strength ** (grown if fault.kind == "latency_drift" else 1.0)
            calls.fault[rows] = number
    return calls.where(~lost).and_those(*more)


def measure(faults: list[Fault], past: Past, now: Past) -> None:
    """Count what each fault touched, and grade it by its best endpoint."""
    for number, fault in enumerate(faults):
        fault.affected = fault.affected or Counter(now.calls.endpoint[now.calls.fault == number].tolist())
        fault.z, size = map(float, max((past.z(fault, e, now) for e in fault.affected), default=(0, 0)))
        sure = fault.z * (1 if fault.code else 1 + 0.3 * min(size, 1.5))  # a dozen days tell little about noise
        fault.grade = "easy" if sure >= 9 and size >= 1 else "medium" if sure >= 6 and size >= 0.2 else "hard"
