"""A fourth kind of world, by an author who has not read the detector: the API gateway of a telecom operator.

    python benchmarks/detection.py telco:1 quiet-telco:1

Devices, people, set-top boxes, packet gateways and partners call ten services through four APISIX nodes; the log is that of APISIX's
file-logger. Nobody draws calls per endpoint and minute: a device reports at its own period and phase (most at the full quarter hour) and
fetches a token twice a day, a phone opens a bundle of calls and browses on, a set-top box beats every two minutes, a charging session is
reserved, renewed and released, partners run cron jobs in local time. Rates carry 1/f noise and shots; latency waits in a queue, has two
modes and a Pareto tail, and wanders; what failed is tried again after 1, 4 and 15 s by most clients, and fails again while its cause lasts.

No fault are: two league matches and a final on television, a public holiday, the change to summer time, a new firmware that moves devices
from v1 to v2 within days, an app version adopted within days, an endpoint that is born and one that is retired, deployments (a minute of
502s, cold caches, 4 % for good, another address of the upstream), a drained node, nightly backups, a noisy tenant whose devices send rubbish
in spells, a partner that lives at its quota, late or heavy batch jobs, campaigns of text messages, blips of one minute, pauses of a node,
scanners, health checks and two holes in the log. `labels["events"]` lists them. Those that somebody on call might have liked to hear of all
the same (a power cut whose devices come back as a herd, load tests, maintenance that answers 503, the end of an endpoint, the final)
are `labels["ambiguous"]`: a ticket about one is neither right nor false.

What is planted is drawn without a grade in mind. `Judge` then grades it by what the finished log shows, against what the log shows at all
other times: easy, medium, hard or invisible, which is in the labels and not counted. Seeds 1-9 are for looking at, 101 and up held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import polars as pl
from calls import Columns, label
from scipy.signal import lfilter
from worlds import DAY, SIGNAL, World

THURSDAY = int(datetime(2026, 3, 19, tzinfo=UTC).timestamp())
SUMMER_TIME = 10 * DAY + 60  # Sunday 29 March, 01:00 UTC, in minutes since THURSDAY
WARM = 4 * DAY + 150  # no fault begins before
NODES = ("apisix-0", "apisix-1", "apisix-2", "apisix-3")

# service: endpoints, and the milliseconds that a call takes
SERVICES: dict[str, tuple[float, tuple[str, ...]]] = {
    "idp": (18, ("POST /oauth/token", "POST /oauth/introspect", "GET /oauth/keys", "POST /v1/devices/{id}/attestations")),
    "iot": (12, ("POST /v1/devices/{id}/telemetry", "POST /v2/devices/{id}/telemetry", "GET /v1/devices/{id}/shadow", "PUT /v1/devices/{id}/shadow", "GET /v1/devices/{id}/commands", "POST /v1/devices/{id}/events")),
    "firmware": (45, ("GET /v1/firmware/{id}", "GET /v1/firmware/{id}/chunks/{id}", "POST /v1/firmware/{id}/results")),
    "selfcare": (70, ("GET /v1/lines/{id}", "GET /v1/lines/{id}/usage", "GET /v1/lines/{id}/balance", "POST /v1/lines/{id}/topups", "GET /v1/invoices", "GET /v1/invoices/{id}", "GET /v1/offers", "POST /v1/offers/{id}/orders")),
    "provisioning": (260, ("POST /v1/sims", "GET /v1/sims/{id}", "PUT /v1/sims/{id}/state", "POST /v1/portings", "GET /v1/portings/{id}")),
    "charging": (9, ("POST /v1/reservations", "PUT /v1/reservations/{id}", "DELETE /v1/reservations/{id}")),
    "messaging": (35, ("POST /v1/sms", "GET /v1/sms/{id}", "POST /v1/push")),
    "mediation": (150, ("POST /v1/cdrs", "GET /v1/cdrs/{id}", "GET /v1/reports/daily")),
    "tv": (28, ("GET /v1/tv/guide", "GET /v1/tv/streams/{id}", "POST /v1/tv/streams/{id}/beats")),
    "network": (110, ("GET /v1/cells/{id}/status", "GET /v1/locations/{id}")),
}  # fmt: skip
NAMES = [name for _, names in SERVICES.values() for name in names]
SERVICE = np.array([i for i, (_, names) in enumerate(SERVICES.values()) for _ in names])
NUMBER = {name: i for i, name in enumerate(NAMES)}
TENANTS = ("metering", "homehub", "trackers", "vending")  # trackers are the noisy ones
PARTNERS = tuple(f"mvno-{i:02d}" for i in range(1, 9))
CONSUMERS = [*TENANTS, "selfcare-ios", "selfcare-android", "tv-box", "pgw-1", "pgw-2", *PARTNERS, "bank-otp", "courier", "roaming-hub", "mediation", "noc", "crm", "bulk-lookup", "qa-load"]  # fmt: skip
WHO = {name: i for i, name in enumerate(CONSUMERS)}
AGENTS = [
    "hub-fw/4.2.1", "hub-fw/5.0.0", "selfcare/6.0.4", "selfcare/6.1.0", "tvbox/12.3", "pgw/21", "okhttp/4.12.0", "Java/21.0.2", "python-requests/2.32.3",
    "Go-http-client/1.1", "kube-probe/1.31", "Mozilla/5.0 zgrab/0.x", "k6/0.54.0",
]  # fmt: skip
AGENT = {name: i for i, name in enumerate(AGENTS)}
SIGNALS = SIGNAL | {"slow_degradation": "latency"}
TRAFFIC = ("traffic_drop", "traffic_spike", "silence", "polling_storm", "traffic_drop")
OTHERS = (
    "error_burst", "upstream_timeout", "latency_step", "latency_tail", "latency_drift", "slow_degradation", "auth_failure", "rate_limit", "new_code",
    "validation_regression", "node_outage", "low_traffic_fail", "recurring", "client_aborts", "auth_loop", "error_burst", "upstream_timeout", "latency_step",
)  # fmt: skip
SPAN = {  # minutes, drawn evenly on a logarithmic scale
    "error_burst": (8, 180), "upstream_timeout": (6, 90), "latency_step": (40, 480), "latency_tail": (60, 600), "latency_drift": (480, 2000),
    "slow_degradation": (5 * DAY, 8 * DAY), "auth_failure": (15, 400), "rate_limit": (20, 300), "new_code": (20, 400), "validation_regression": (180, 1800),
    "node_outage": (5, 50), "low_traffic_fail": (400, 2200), "recurring": (10, 35), "client_aborts": (25, 240), "auth_loop": (30, 300),
    "traffic_drop": (25, 300), "traffic_spike": (15, 240), "silence": (60, 700), "polling_storm": (30, 400),
}  # fmt: skip


@dataclass
class Calls(Columns):
    """Calls as columns of one length: second since the beginning, and indices of NAMES, CONSUMERS, AGENTS and NODES."""

    second: np.ndarray
    endpoint: np.ndarray
    consumer: np.ndarray
    agent: np.ndarray
    number: np.ndarray  # of the device, line, …
    node: np.ndarray


@dataclass
class Fault:
    """What was planted. What is null does not narrow it."""

    kind: str
    start: int  # minutes since the world's beginning
    end: int
    endpoints: list[int]
    code: int | None = None
    share: float = 1.0  # of the calls in scope: those that fail, stay away or are slow
    factor: float = 1.0  # on latency or on traffic
    consumer: int | None = None
    agent: int | None = None
    node: int | None = None
    upstream: str | None = None
    told: bool = True  # whether consumer is something a chart could single out
    grade: str = "invisible"
    affected: dict[int, int] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def scope(self, calls: Calls) -> np.ndarray:
        """Rows of `calls`, which are in order of time, that the fault can touch."""
        lo, hi = np.searchsorted(calls.second, [self.start * 60, self.end * 60])
        inside = np.isin(calls.endpoint[lo:hi], self.endpoints)
        for wanted, column in ((self.consumer, calls.consumer), (self.agent, calls.agent), (self.node, calls.node)):
            if wanted is not None:
                inside &= column[lo:hi] == wanted
        if self.kind == "recurring":
            inside &= (calls.second[lo:hi] / 60 - self.start) % DAY < self.figures["spell_minutes"]
        return lo + np.flatnonzero(inside)


def make(
    profile: str, seed: int, endpoints: int = 40, days: int = 14, calls_per_minute: float = 60.0, faults: int = 23
) -> World:
    """One world: log lines in order of time, the faults planted in it, its endpoints. Same arguments, same world. endpoints: of the 40 that there are."""
    random, planting = np.random.default_rng([31, seed, days]), np.random.default_rng([97, seed, days])
    network = Network(random, days, calls_per_minute)
    calls = network.demand()
    chosen = np.sort(np.random.default_rng([5, endpoints]).permutation(len(NAMES))[:endpoints])
    calls = calls.where(np.flatnonzero(np.isin(calls.endpoint, chosen) & (calls.second < days * DAY * 60)))
    planted: list[Fault] = []
    if not profile.startswith("quiet"):
        kinds = (*TRAFFIC, *OTHERS)
        kinds = tuple(planting.permutation(kinds)[:faults]) if faults < len(kinds) else kinds
        calls = plant(planting, network, calls, [str(kind) for kind in kinds], planted)
    table = network.answers(calls, planted, np.random.default_rng([11, seed, days]))
    Judge(network, table, planted).grade()
    planted.sort(key=lambda fault: fault.start)
    gaps = network.gaps
    frame = pl.concat([table, network.strangers(chosen)], how="diagonal_relaxed").filter(
        pl.col("second") < days * DAY * 60
    )
    for begin, end, node in gaps:
        inside = pl.col("second").is_between(begin * 60, end * 60)
        frame = frame.filter(~(inside if node is None else inside & (pl.col("node") == node)))
    catalog = {
        "t0": THURSDAY,
        "minutes": days * DAY,
        "endpoints": [
            {
                "id": int(i),
                "method": NAMES[i].split()[0],
                "path": NAMES[i].split()[1],
                "upstream": list(SERVICES)[SERVICE[i]],
            }
            for i in chosen
        ],
    }
    events = [event | {"endpoints": [i for i in event["endpoints"] if i in chosen]} for event in network.events]
    events = [event for event in events if event["endpoints"] and event["end"] < THURSDAY + days * DAY * 60]
    labels = {
        "t0": THURSDAY,
        "minutes": days * DAY,
        "gaps": gaps,
        "events": events,
        "ambiguous": [event for event in events if event["ambiguous"]],
        "faults": [
            label(
                number, fault, THURSDAY + fault.start * 60, THURSDAY + fault.end * 60, SIGNALS, endpoints=sorted(fault.affected), affected_calls=sum(fault.affected.values()),
                consumer=CONSUMERS[fault.consumer] if fault.consumer is not None and fault.told else None, node=None if fault.node is None else NODES[fault.node],
                detectable=fault.grade != "invisible", figures={name: round(float(value), 3) for name, value in fault.figures.items()},
            )
            for number, fault in enumerate(planted)
        ],
    }  # fmt: skip
    return World(lines(frame.sort("second"), network), labels, catalog)


def in_order(parts: list[Calls]) -> Calls:
    every = parts[0].and_those(*parts[1:])
    return every.where(np.argsort(every.second, kind="stable"))


# -- who calls, when, and what the gateway answers


def pink(random: np.random.Generator, rows: int, minutes: int, spread: float) -> np.ndarray:
    """1/f noise: three memories of 7 minutes, 70 minutes and 12 hours, and shots that fade; row × minute, mean about 0."""
    total = np.zeros((rows, minutes), dtype=np.float32)
    for memory in (7, 70, 720):
        keep = np.exp(-1 / memory)
        drawn = random.standard_normal((rows, minutes), dtype=np.float32)
        total += lfilter([np.sqrt(1 - keep**2)], [1, -keep], drawn, axis=1).astype(np.float32) * spread / np.sqrt(3)
    shots = np.where(random.random((rows, minutes)) < 5 / DAY, random.exponential(1.3 * spread, (rows, minutes)), 0)
    return total + lfilter([1], [1, -np.exp(-1 / 25)], shots, axis=1).astype(np.float32)


class Network:
    """The operator without its faults: customers, calendar, machines."""

    def __init__(self, random: np.random.Generator, days: int, calls_per_minute: float) -> None:
        self.random, self.days, self.minutes, self.scale = random, days, days * DAY, calls_per_minute / 60
        minute = np.arange(self.minutes)
        self.local = minute + 60 + 60 * (minute >= SUMMER_TIME)  # of the clock on the wall
        self.hour, self.day = self.local % DAY / 60, self.local // DAY
        self.holiday = int(random.choice([day for day in (6, 7, 8, 11, 12) if day < days - 1] or [days - 2]))
        weekday = (self.day + 3) % 7  # Monday is 0
        self.off = (weekday >= 5) | (self.day == self.holiday)
        self.events: list[dict[str, object]] = []
        self.gaps: list[tuple[int, int, int | None]] = []
        self.note("public holiday", self.holiday * DAY, (self.holiday + 1) * DAY, range(len(NAMES)))
        if days > 10:
            self.note("summer time", SUMMER_TIME, SUMMER_TIME + DAY, range(len(NAMES)))
        self.matches = [(day * DAY + 19 * 60 - 60, 2.5) for day in (6, 13)] + [
            (int(random.choice([5, 9, 12])) * DAY + 18 * 60 + 45, 7.0)
        ]
        self._machines()

    def note(
        self, what: str, start: float, end: float, endpoints: Iterable[int], ambiguous: bool = False, **more: object
    ) -> None:
        """Keep a benign event for the labels; minutes since the beginning."""
        self.events.append(
            {
                "what": what, "start": THURSDAY + int(start * 60), "end": THURSDAY + int(end * 60), "endpoints": sorted({int(i) for i in endpoints}),
                "ambiguous": ambiguous, **more,
            }
        )  # fmt: skip

    def _machines(self) -> None:
        """Deployments, maintenance, blips, pauses, backups, holes: what follows from nobody's calls."""
        random, minutes = self.random, self.minutes
        count = len(SERVICES)
        self.slow = pink(random, count, minutes, 0.07)  # log factor on latency of a service
        self.refused = np.zeros((count, minutes), dtype=np.float32)  # share of calls answered 502/503
        self.deployed: list[np.ndarray] = []
        for one in range(count):
            mine = np.flatnonzero(one == SERVICE)
            times = np.sort(random.integers(DAY // 2, minutes - 200, max(1, random.poisson(self.days / 6))))
            self.deployed.append(times)
            for at in times:
                self.refused[one, at : at + 2] = random.uniform(0.01, 0.05)
                cold = np.arange(min(60, minutes - at))
                self.slow[one, at : at + 60] += random.uniform(0.3, 1.1) * np.exp(-cold / random.uniform(3, 12))
                self.slow[one, at:] += random.normal(0, 0.04)
                self.note(f"deployment of {list(SERVICES)[one]}", at, at + 60, mine)
            for at in random.integers(0, minutes, random.poisson(self.days / 3)):
                self.refused[one, at] = random.uniform(0.08, 0.3)
                self.note("blip of one minute", at, at + 1, mine)
        for one in random.choice(count, 2, replace=False):  # backups, each night by the wall's clock
            self.slow[one, (self.hour >= 3) & (self.hour < 3.5)] += random.uniform(0.25, 0.5)
        for one in random.choice(count, 2, replace=False):  # a neighbour on the same machines, in spells
            spell = np.repeat(random.random(minutes // 45 + 1) < 0.15, 45)[:minutes]
            self.slow[one, spell] += 0.13
        names = list(SERVICES)
        for day in (0, 7):  # every week, known to all
            self._maintenance(names.index("provisioning"), day * DAY + 60, 45, "weekly maintenance")
        self._maintenance(
            names.index(str(random.choice(["mediation", "messaging", "firmware"]))),
            int(random.integers(5, self.days - 1)) * DAY + 75,
            int(random.integers(20, 50)),
            "maintenance that nobody announced",
        )
        for length, node in ((int(random.integers(15, 50)), None), (int(random.integers(30, 120)), int(random.integers(4)))):  # fmt: skip
            start = int(random.integers(WARM, minutes - DAY))
            self.gaps.append((start, start + length, node))
            what = "hole in the log" if node is None else f"hole in the log of {NODES[node]}"
            self.note(what, start, start + length, range(len(NAMES)))
        self.pauses = [random.uniform(0, minutes, self.days * 4) for _ in NODES]
        self.drained = [(int(random.integers(DAY, minutes - DAY)), node) for node in range(4)]
        for at, node in self.drained:
            self.note(f"{NODES[node]} drained", at, at + 12, range(len(NAMES)))

    def _maintenance(self, service: int, start: int, length: int, what: str) -> None:
        if start + length < self.minutes:
            self.refused[service, start : start + length] = 0.97
            self.note(what, start, start + length + 5, np.flatnonzero(service == SERVICE), ambiguous=True)

    # -- demand

    def demand(self) -> Calls:
        """First attempts of all clients, in order of time."""
        random = self.random
        noise = pink(random, 6, self.minutes, 0.13)
        hill = lambda at, width: np.exp(-(((self.hour - at + 12) % 24 - 12) ** 2) / (2 * width**2))  # noqa: E731
        work = 0.07 + 0.55 * hill(8, 1.2) + 0.7 * hill(12.5, 2.2) + hill(18.5, 2.8)
        human = np.where(self.off, 0.08 + 0.75 * hill(11.5, 2.5) + 0.85 * hill(18.5, 3), work)
        human = human / human.mean()
        office = np.where(self.off, 0.04, 0.03 + hill(10.5, 1.8) + 0.8 * hill(15, 1.7))
        office = office / office.mean()
        evening = 0.05 + 1.2 * hill(20.5, 1.7) + 0.35 * hill(13, 2.5) * np.where(self.off, 2.2, 1.0)
        evening = evening / evening.mean()
        parts = [
            *self._devices(),
            *self._phones(human * np.exp(noise[0])),
            *self._television(evening * np.exp(noise[1])),
            *self._charging((0.4 + 0.6 * human) * np.exp(noise[2])),
            *self._partners(office * np.exp(noise[3])),
            *self._messages(human * np.exp(noise[4]), office),
            *self._batches(human * np.exp(noise[5])),
            *self._load_tests(),
        ]
        return in_order(parts)

    def calls(
        self,
        second: np.ndarray,
        endpoint: str | np.ndarray,
        consumer: str | int | np.ndarray,
        agent: str | np.ndarray,
        number: np.ndarray | None = None,
        node: np.ndarray | None = None,
    ) -> Calls:
        """Columns of one length from scalars and arrays; a node is drawn where none is given."""
        second = np.asarray(second, dtype=float)
        count = len(second)
        fill = lambda value: np.broadcast_to(np.asarray(value), count).astype(np.int32)  # noqa: E731
        if node is None:
            node = self.random.integers(0, 4, count)
            for at, drained in self.drained:
                away = (second >= at * 60) & (second < (at + 12) * 60) & (node == drained)
                node = np.where(away, (node + 1 + self.random.integers(0, 3, count)) % 4, node)
        return Calls(
            second,
            fill(NUMBER[endpoint] if isinstance(endpoint, str) else endpoint),
            fill(WHO[consumer] if isinstance(consumer, str) else consumer),
            fill(AGENT[agent] if isinstance(agent, str) else agent),
            fill(self.random.integers(1, 90_000, count) if number is None else number),
            fill(node),
        )

    def moments(self, rate: np.ndarray, per_day: float) -> np.ndarray:
        """Seconds of a Poisson process whose rate follows `rate` (per minute, mean about 1), per_day events a day."""
        count = self.random.poisson(np.maximum(rate, 0) * per_day * self.scale / DAY)
        at = np.repeat(np.arange(self.minutes), count) * 60.0
        return at + self.random.uniform(0, 60, len(at))

    def _devices(self) -> list[Calls]:
        random = self.random
        count = max(30, int(230 * self.scale))
        tenant = random.choice(4, count, p=[0.4, 0.3, 0.18, 0.12])
        period = np.array([15, 15, 10, 60])[tenant] * 60
        phase = np.where(
            random.random(count) < 0.55, np.abs(random.normal(0, 40, count)), random.uniform(0, 3600, count)
        )
        region, sticky = random.random(count), random.integers(0, 4, count)
        rounds = self.minutes * 60 // period + 1
        device = np.repeat(np.arange(count), rounds)
        turn = np.arange(len(device)) - np.repeat(np.cumsum(rounds) - rounds, rounds)
        second = phase[device] % period[device] + turn * period[device] + np.abs(random.normal(0, 4, len(device)))
        alive = random.random(len(device)) > 0.02  # out of reach now and then
        # a power cut in one region: silent, then a herd that fetches tokens and delivers what it kept
        cut = int(random.integers(WARM, self.minutes - DAY))
        restored = cut + int(random.integers(20, 75))
        dark = region < random.uniform(0.2, 0.4)
        alive &= ~(dark[device] & (second >= cut * 60) & (second < restored * 60))
        iot = [NUMBER[name] for name in NAMES if "/devices/" in name] + [NUMBER["POST /oauth/token"]]
        self.note("power cut, and the herd after it", cut, restored + 20, iot, ambiguous=True)
        device, second = device[alive], second[alive]
        # firmware: devices go to v2 along a logistic curve, at night; homehubs and meters only
        begin = int(random.integers(5, 7)) * DAY
        updated = begin + (np.floor(random.logistic(2.2, 0.6, count).clip(0, 7)) + random.uniform(0.02, 0.16, count)) * DAY  # fmt: skip
        updated[(tenant > 1) | (random.random(count) < 0.12)] = np.inf
        self.note("firmware 5.0.0 moves devices from v1 to v2", begin, begin + 5 * DAY, [*iot, *(NUMBER[n] for n in NAMES if "firmware" in n)])  # fmt: skip
        newer = second / 60 >= updated[device]
        agent = np.where(newer, AGENT["hub-fw/5.0.0"], AGENT["hub-fw/4.2.1"])

        def of(rows: np.ndarray, endpoint: str | np.ndarray, wait: float = 0.0) -> Calls:
            late = random.exponential(wait, len(rows)) if wait else 0.0
            return self.calls(second[rows] + late, endpoint, tenant[device[rows]], agent[rows], device[rows] + 352_000, sticky[device[rows]])  # fmt: skip

        every = np.arange(len(device))
        telemetry = np.where(newer, NUMBER["POST /v2/devices/{id}/telemetry"], NUMBER["POST /v1/devices/{id}/telemetry"])  # fmt: skip
        some = lambda share: np.flatnonzero(random.random(len(device)) < share)  # noqa: E731
        parts = [of(every, telemetry), of(some(0.2), "GET /v1/devices/{id}/shadow", 3), of(some(0.15), "GET /v1/devices/{id}/commands", 5)]  # fmt: skip
        parts += [of(some(0.03), "PUT /v1/devices/{id}/shadow", 9), of(some(0.02), "POST /oauth/token", 0.5)]
        parts.append(of(some(0.012), "POST /v1/devices/{id}/events", 30))
        back = np.repeat(np.flatnonzero(dark), random.integers(2, 5, dark.sum()))
        at = restored * 60 + random.gamma(1.3, 110, len(back))
        parts.append(self.calls(at, "POST /v1/devices/{id}/telemetry", tenant[back], "hub-fw/4.2.1", back + 352_000, sticky[back]))  # fmt: skip
        once = np.repeat(np.flatnonzero(dark), 2)
        herd = np.tile([NUMBER["POST /oauth/token"], NUMBER["POST /v1/devices/{id}/attestations"]], dark.sum())
        parts.append(self.calls(restored * 60 + random.gamma(1.3, 80, len(once)), herd, tenant[once], "hub-fw/4.2.1", once + 352_000, sticky[once]))  # fmt: skip
        going = np.flatnonzero(np.isfinite(updated) & (updated < self.minutes - 60))
        for name, copies in (("GET /v1/firmware/{id}", 1), ("GET /v1/firmware/{id}/chunks/{id}", 40), ("POST /v1/firmware/{id}/results", 1)):  # fmt: skip
            who = np.repeat(going, copies)
            parts.append(self.calls(updated[who] * 60 - random.uniform(30, 900, len(who)), name, tenant[who], "hub-fw/4.2.1", random.integers(410, 414, len(who)), sticky[who]))  # fmt: skip
        usual = np.ones(self.minutes)
        for name, per_day in (("GET /v1/firmware/{id}", 160), ("POST /v1/devices/{id}/attestations", 60), ("GET /v1/firmware/{id}/chunks/{id}", 90), ("POST /v1/firmware/{id}/results", 40)):  # fmt: skip
            at = self.moments(usual, per_day)
            parts.append(self.calls(at, name, random.choice(4, len(at), p=[0.4, 0.3, 0.18, 0.12]), "hub-fw/4.2.1"))
        return parts

    def _phones(self, rate: np.ndarray) -> list[Calls]:
        random = self.random
        begin = self.moments(rate, 2600)
        apple = random.random(len(begin)) < 0.55
        adopted = 1 / (1 + np.exp(-(begin / 60 / DAY - 7.5) / 0.7))
        newer = random.random(len(begin)) < adopted
        self.note("app 6.1.0 adopted", 5 * DAY, 10 * DAY, np.flatnonzero(list(SERVICES).index("selfcare") == SERVICE))
        consumer = np.where(apple, WHO["selfcare-ios"], WHO["selfcare-android"])
        agent = np.where(newer, AGENT["selfcare/6.1.0"], AGENT["selfcare/6.0.4"])
        number = random.integers(1_000_000, 9_000_000, len(begin))
        parts = []
        for name, share, spread in (
            ("GET /v1/lines/{id}", 1.0, 0.4), ("GET /v1/lines/{id}/balance", 0.95, 1.0), ("GET /v1/lines/{id}/usage", 0.7, 1.5), ("GET /v1/offers", 0.4, 3.0),
            ("POST /oauth/token", 0.25, 0.05), ("POST /oauth/introspect", 0.3, 0.3), ("POST /v1/push", 0.12, 20),
        ):  # fmt: skip
            rows = np.flatnonzero(random.random(len(begin)) < share)
            parts.append(self.calls(begin[rows] + random.exponential(spread, len(rows)), name, consumer[rows], agent[rows], number[rows]))  # fmt: skip
        more = np.minimum((random.pareto(1.5, len(begin)) * 1.1).astype(int), 60)
        who = np.repeat(np.arange(len(begin)), more)
        step = np.arange(len(who)) - np.repeat(np.cumsum(more) - more, more)
        names = ("GET /v1/lines/{id}/usage", "GET /v1/invoices", "GET /v1/invoices/{id}", "GET /v1/offers", "POST /v1/lines/{id}/topups", "POST /v1/offers/{id}/orders", "GET /v1/lines/{id}/balance")  # fmt: skip
        endpoint = random.choice([NUMBER[name] for name in names], len(who), p=[0.3, 0.17, 0.15, 0.13, 0.11, 0.02, 0.12])  # fmt: skip
        parts.append(self.calls(begin[who] + (step + 1) * random.gamma(2, 7, len(who)), endpoint, consumer[who], agent[who], number[who]))  # fmt: skip
        return parts

    def _television(self, rate: np.ndarray) -> list[Calls]:
        random = self.random
        begin = [self.moments(rate, 480)]
        lasts = [random.lognormal(np.log(35), 0.8, len(begin[0]))]
        tv = np.flatnonzero(list(SERVICES).index("tv") == SERVICE)
        for kick, size in self.matches:
            fans = random.poisson(45 * size * self.scale) if kick < self.minutes else 0
            begin.append((kick + random.normal(-4, 7, fans)) * 60)
            lasts.append(random.normal(112, 14, fans).clip(5))
            self.note(f"football, {size:g} times 45 viewers", kick - 20, kick + 140, tv, ambiguous=size > 5)
        start, length = np.concatenate(begin), np.concatenate(lasts)
        number = random.integers(100, 999, len(start))
        parts = [self.calls(start, "GET /v1/tv/guide", "tv-box", "tvbox/12.3", number)]
        zaps = np.repeat(np.arange(len(start)), random.geometric(0.45, len(start)))
        parts.append(self.calls(start[zaps] + 5 + random.exponential(60, len(zaps)), "GET /v1/tv/streams/{id}", "tv-box", "tvbox/12.3", number[zaps]))  # fmt: skip
        beats = np.maximum((np.minimum(length, 400) / 2).astype(int), 1)
        who = np.repeat(np.arange(len(start)), beats)
        step = np.arange(len(who)) - np.repeat(np.cumsum(beats) - beats, beats)
        parts.append(self.calls(start[who] + 20 + step * 120 + random.normal(0, 1, len(who)), "POST /v1/tv/streams/{id}/beats", "tv-box", "tvbox/12.3", number[who]))  # fmt: skip
        return parts

    def _charging(self, rate: np.ndarray) -> list[Calls]:
        random = self.random
        begin = self.moments(rate, 2300)
        gateway = np.where(random.random(len(begin)) < 0.6, WHO["pgw-1"], WHO["pgw-2"])
        renewals = random.geometric(0.5, len(begin)) - 1
        who = np.repeat(np.arange(len(begin)), renewals)
        step = np.arange(len(who)) - np.repeat(np.cumsum(renewals) - renewals, renewals)
        return [
            self.calls(begin, "POST /v1/reservations", gateway, "pgw/21"),
            self.calls(begin[who] + (step + 1) * 300, "PUT /v1/reservations/{id}", gateway[who], "pgw/21"),
            self.calls(begin + renewals * 300 + random.uniform(5, 300, len(begin)), "DELETE /v1/reservations/{id}", gateway, "pgw/21"),
        ]  # fmt: skip

    def cron(self, minutes_of_day: np.ndarray, days: np.ndarray) -> np.ndarray:
        """Minutes since the beginning at which a job starts, by the wall's clock."""
        local = (days[:, None] * DAY + minutes_of_day[None, :]).ravel()
        at = local - 60
        return at - 60 * (at >= SUMMER_TIME + 60)

    def _partners(self, office: np.ndarray) -> list[Calls]:
        random, parts = self.random, []
        weight = 1 / np.arange(1, 9) ** 1.1
        weight /= weight.sum()
        names = ("POST /v1/sims", "GET /v1/sims/{id}", "PUT /v1/sims/{id}/state", "POST /v1/portings", "POST /oauth/token")  # fmt: skip
        for name, per_day in zip(names, (90, 420, 260, 110, 50), strict=True):
            at = self.moments(office, per_day)
            parts.append(self.calls(at, name, WHO["mvno-01"] + random.choice(8, len(at), p=weight), "Java/21.0.2"))
        # a porting takes hours, and is asked for every ten minutes
        begin = self.moments(office, 9)
        polls = random.integers(6, 50, len(begin))
        who = np.repeat(np.arange(len(begin)), polls)
        step = np.arange(len(who)) - np.repeat(np.cumsum(polls) - polls, polls)
        partner = random.choice(8, len(begin), p=weight)
        parts.append(self.calls(begin[who] + step * 600 + random.normal(0, 3, len(who)), "GET /v1/portings/{id}", WHO["mvno-01"] + partner[who], "Java/21.0.2", who + 5000))  # fmt: skip
        days = np.arange(self.days + 1)
        working = days[((days + 3) % 7 < 5) & (days != self.holiday)]
        for partner, when, on, size in ((1, np.arange(0, DAY, 15), days, 5), (3, np.arange(8 * 60, 18 * 60, 30), working, 14), (5, np.array([1290]), days, 160)):  # fmt: skip
            start = self.cron(when, on) + random.exponential(0.6, len(when) * len(on))
            batch = random.poisson(size * self.scale * random.gamma(6, 1 / 6, len(start)))
            at = np.repeat(start, batch) * 60 + random.uniform(0, 240, batch.sum())
            parts.append(self.calls(at[at > 0], "GET /v1/sims/{id}", f"mvno-{partner:02d}", "python-requests/2.32.3"))
        # lives at its quota: what is above 3 calls a minute is refused in answers()
        at = self.moments(0.6 + 0.4 * office, 3300)
        parts.append(self.calls(at, "GET /v1/cells/{id}/status", "bulk-lookup", "Go-http-client/1.1"))
        beat = np.arange(11.0, self.minutes * 60, 60)
        parts.append(self.calls(beat, "GET /v1/cells/{id}/status", "noc", "Go-http-client/1.1"))
        at = self.moments(office, 70)
        parts.append(self.calls(at, "GET /v1/locations/{id}", WHO["mvno-01"] + random.choice(8, len(at), p=weight[::-1]), "okhttp/4.12.0"))  # fmt: skip
        return parts

    def _messages(self, human: np.ndarray, office: np.ndarray) -> list[Calls]:
        random = self.random
        at = [self.moments(human, 1900)]
        who = [np.full(len(at[0]), WHO["bank-otp"])]
        for begin in self.moments(office, 2.2 / self.scale):
            size = int(min(random.lognormal(5, 0.7), 900) * self.scale)
            at.append(begin + random.uniform(0, random.uniform(300, 1200), size))
            who.append(np.full(size, WHO["courier"]))
            self.note("campaign of text messages", begin / 60, begin / 60 + 25, [NUMBER["POST /v1/sms"], NUMBER["GET /v1/sms/{id}"]])  # fmt: skip
        second, consumer = np.concatenate(at), np.concatenate(who)
        asked = np.flatnonzero(random.random(len(second)) < 0.4)
        return [
            self.calls(second, "POST /v1/sms", consumer, "okhttp/4.12.0"),
            self.calls(second[asked] + random.uniform(5, 60, len(asked)), "GET /v1/sms/{id}", consumer[asked], "okhttp/4.12.0"),
        ]  # fmt: skip

    def _batches(self, human: np.ndarray) -> list[Calls]:
        random, days = self.random, np.arange(self.days + 1)
        every = np.arange(2, self.minutes, 5)
        size = random.poisson(2.2 * self.scale * human[every])
        at = np.repeat(every, size) * 60 + random.uniform(0, 40, size.sum())
        parts = [self.calls(at, "POST /v1/cdrs", "mediation", "Java/21.0.2")]
        start = self.cron(np.array([130]), days) + np.where(random.random(len(days)) < 0.12, random.uniform(50, 200, len(days)), random.exponential(3, len(days)))  # fmt: skip
        size = (random.lognormal(5.6, 0.35, len(days)) * self.scale).astype(int)
        at = np.repeat(start, size) * 60 + random.uniform(0, 1500, size.sum())
        parts.append(self.calls(at[at > 0], "POST /v1/cdrs", "roaming-hub", "Java/21.0.2"))
        some = np.flatnonzero(random.random(len(at)) < 0.25)
        parts.append(self.calls(np.maximum(at[some], 0) + 600, "GET /v1/cdrs/{id}", "roaming-hub", "Java/21.0.2"))
        at = self.moments(human, 160)
        parts.append(self.calls(at, "GET /v1/cdrs/{id}", "crm", "okhttp/4.12.0"))
        # the daily report is retired on day 8, announced; a new one would be no endpoint of this catalogue
        start = self.cron(np.array([365]), days[days < 8]) * 60.0
        at = np.repeat(start, random.integers(8, 30, len(start))) + 0.0
        parts.append(self.calls(at[at > 0] + random.uniform(0, 3000, (at > 0).sum()), "GET /v1/reports/daily", "crm", "okhttp/4.12.0"))  # fmt: skip
        self.note("GET /v1/reports/daily retired", 8 * DAY, 10 * DAY, [NUMBER["GET /v1/reports/daily"]], ambiguous=True)
        # born on day 6: events of devices by the CRM
        at = self.moments((np.arange(self.minutes) > 6.4 * DAY) * human, 260)
        parts.append(self.calls(at, "POST /v1/devices/{id}/events", "crm", "okhttp/4.12.0"))
        self.note("the CRM begins to call POST /v1/devices/{id}/events", 6.4 * DAY, 7.4 * DAY, [NUMBER["POST /v1/devices/{id}/events"]])  # fmt: skip
        return parts

    def _load_tests(self) -> list[Calls]:
        random, parts = self.random, []
        for day in (2, int(random.integers(5, 13))):
            if day >= self.days:
                continue
            start, length = day * DAY + int(random.integers(8 * 60, 15 * 60)), int(random.integers(10, 25))
            targets = random.choice([NUMBER[n] for n in ("GET /v1/lines/{id}", "GET /v1/offers", "POST /v1/reservations", "GET /v1/sims/{id}", "GET /v1/tv/guide")], 2, replace=False)  # fmt: skip
            size = int(random.uniform(40, 120) * length * self.scale)
            at = start * 60 + length * 60 * np.sqrt(random.random(size))
            parts.append(self.calls(at, random.choice(targets, size), "qa-load", "k6/0.54.0"))
            self.note("load test of qa-load", start, start + length, targets, ambiguous=True)
        return parts

    # -- answers

    def load(self, calls: Calls) -> np.ndarray:
        """Log factor on latency by waiting: service × minute, from the calls of the last 3 minutes against what the service was built for."""
        count = len(SERVICES)
        busy = np.bincount(SERVICE[calls.endpoint] * self.minutes + np.minimum(calls.second // 60, self.minutes - 1).astype(int), minlength=count * self.minutes).reshape(count, -1)  # fmt: skip
        smooth = lfilter(np.ones(3) / 3, [1], busy, axis=1)
        built = np.quantile(smooth, 0.9985, axis=1, keepdims=True) / 0.8 + 2
        return -0.45 * np.log(1 - np.minimum(smooth / built, 0.93))

    def answers(self, calls: Calls, planted: list[Fault], random: np.random.Generator) -> pl.DataFrame:
        """A row per call, retries among them: columns of Calls, status, ms, fault (index into planted, -1: none)."""
        habits = np.random.default_rng([3, self.days])
        count = len(NAMES)
        base = {
            404: np.where([("{id}" in name) and name.startswith("GET") for name in NAMES], habits.uniform(0.005, 0.05, count), 0.001),
            400: habits.uniform(0.0005, 0.01, count), 409: np.where([name.startswith("P") for name in NAMES], habits.uniform(0, 0.008, count), 0),
            401: habits.uniform(0.001, 0.01, count), 500: habits.exponential(0.0012, count), 503: habits.exponential(0.0006, count),
        }  # fmt: skip
        base[404][NUMBER["GET /v1/portings/{id}"]] = 0.3  # not ready yet
        level = np.log(np.array([ms for ms, _ in SERVICES.values()])[SERVICE]) + habits.normal(0, 0.45, count)
        narrow, slow_path = habits.uniform(0.15, 0.4, count), habits.uniform(0.02, 0.2, count)
        rubbish = np.repeat(random.random(self.minutes // 50 + 1) < 0.3, 50)  # spells of the noisy tenant
        waiting = self.load(calls)
        found, attempt = [], calls
        for wait in (1.0, 4.0, 15.0, None):
            n = len(attempt.second)
            minute = np.minimum((attempt.second // 60).astype(int), self.minutes - 1)
            endpoint, service = attempt.endpoint, SERVICE[attempt.endpoint]
            status = np.where(np.isin([name.split()[0] for name in NAMES], ["POST"])[endpoint], 201, 200)
            lot = random.random(n)
            for code, share in base.items():
                here = (lot >= 0) & (lot < share[endpoint])
                status[here] = code
                lot = np.where(here, -1, lot - share[endpoint])
            bad = (attempt.consumer == WHO["trackers"]) & rubbish[minute] & np.isin(endpoint, [NUMBER["POST /v1/devices/{id}/telemetry"], NUMBER["PUT /v1/devices/{id}/shadow"]])  # fmt: skip
            status[bad & (random.random(n) < 0.35)] = 422
            bulk = np.flatnonzero(attempt.consumer == WHO["bulk-lookup"])
            if len(bulk):
                first = np.r_[True, minute[bulk][1:] != minute[bulk][:-1]]
                place = np.arange(len(bulk)) - np.maximum.accumulate(np.where(first, np.arange(len(bulk)), 0))
                status[bulk[place >= max(1, int(3 * self.scale))]] = 429
            gone = random.random(n) < self.refused[service, minute]
            status[gone] = np.where(random.random(gone.sum()) < 0.25, 502, 503)
            log_ms = level[endpoint] + self.slow[service, minute] + waiting[service, minute]
            log_ms += random.normal(0, 1, n) * narrow[endpoint]
            detour = random.random(n) < slow_path[endpoint]
            log_ms[detour] += random.gamma(3, 0.45, detour.sum())
            tail = random.random(n) < 0.006
            log_ms[tail] += np.minimum(random.pareto(1.4, tail.sum()), 5)
            for node, pauses in enumerate(self.pauses):
                hit = np.flatnonzero(attempt.node == node)
                since = attempt.second[hit] / 60 - np.r_[-99, np.sort(pauses)][np.searchsorted(np.sort(pauses), attempt.second[hit] / 60)]  # fmt: skip
                log_ms[hit[since < 0.1]] = np.maximum(log_ms[hit[since < 0.1]], np.log(random.uniform(300, 4000)))
            log_ms[np.isin(status, (401, 429))] = np.log(2.5) + random.normal(0, 0.3, np.isin(status, (401, 429)).sum())
            mark = np.full(n, -1, dtype=np.int32)
            for number, fault in enumerate(planted):
                fault_answers(random, fault, number, attempt, status, log_ms, mark)
            patience = np.where(np.isin(attempt.consumer, [WHO["selfcare-ios"], WHO["selfcare-android"], WHO["tv-box"]]), 12_000, 120_000)  # fmt: skip
            gave_up = np.exp(log_ms) > patience * random.uniform(0.8, 1.2, n)
            status[gave_up], log_ms[gave_up] = 499, np.log(patience[gave_up])
            found.append(pl.DataFrame({**vars(attempt), "status": status, "ms": np.exp(log_ms), "fault": mark}))
            if wait is None:
                break
            again = ((status >= 500) | (status == 429)) & (random.random(n) < np.where(status == 429, 0.25, 0.65))
            attempt = attempt.where(np.flatnonzero(again))
            attempt.second = attempt.second + np.exp(log_ms[again]) / 1000 + wait * random.uniform(0.7, 1.6, again.sum())  # fmt: skip
            attempt = attempt.where(np.argsort(attempt.second, kind="stable"))
        return pl.concat(found).sort("second")

    def strangers(self, chosen: np.ndarray) -> pl.DataFrame:
        """Health checks and scanners; endpoint -1 where the path is none of the catalogue's."""
        random = self.random
        beat = np.arange(0, self.minutes * 60, 30.0)
        parts = [pl.DataFrame({"second": beat, "endpoint": -1, "agent": AGENT["kube-probe/1.31"], "status": 200, "ms": 0.6, "path": "/apisix/status", "node": np.arange(len(beat)) % 4})]  # fmt: skip
        odd = ["/.git/config", "/.env", "/wp-login.php", "/actuator/env", "/cgi-bin/luci", "/api/v1/pods", "/boaform/admin", "/solr/admin"]  # fmt: skip
        for begin in random.uniform(0, self.minutes * 60, self.days * 4):
            n, probing = int(random.lognormal(4, 0.9)), random.random() < 0.4
            known = np.where(random.random(n) < 0.5 if probing else False, random.choice(chosen, n), -1)
            parts.append(
                pl.DataFrame(
                    {
                        "second": begin + np.cumsum(random.exponential(random.choice([0.3, 4.0]), n)),
                        "endpoint": known,
                        "agent": AGENT[str(random.choice(["Mozilla/5.0 zgrab/0.x", "Go-http-client/1.1", "python-requests/2.32.3"]))],
                        "status": np.where(known >= 0, random.choice([401, 403], n), random.choice([404, 404, 403], n)),
                        "ms": random.uniform(0.5, 4, n),
                        "path": random.choice(odd, n),
                        "node": random.integers(0, 4, n),
                    }
                )
            )  # fmt: skip
            if (known >= 0).any():
                self.note("scanner at known endpoints", begin / 60, begin / 60 + 20, known[known >= 0])
        return pl.concat(parts, how="vertical_relaxed").with_columns(
            consumer=pl.lit(-1), number=pl.col("second").cast(pl.Int64) % 9000
        )


# -- faults


def even(random: np.random.Generator, low: float, high: float) -> float:
    """Drawn evenly on a logarithmic scale."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def fault_answers(
    random: np.random.Generator,
    fault: Fault,
    number: int,
    calls: Calls,
    status: np.ndarray,
    log_ms: np.ndarray,
    mark: np.ndarray,
) -> None:
    """Let a fault change what is answered to one round of attempts."""
    if fault.kind in TRAFFIC:
        return
    rows = fault.scope(calls)
    if fault.code is not None:
        rows = rows[(random.random(len(rows)) < fault.share) & (status[rows] < 400)]
        status[rows] = fault.code
        if fault.code == 504:
            log_ms[rows] = np.log(15_000) + random.exponential(0.003, len(rows))
        elif fault.code == 499:
            log_ms[rows] = np.log(random.uniform(3_000, 11_000, len(rows)))
        elif fault.code in (401, 403, 429):
            log_ms[rows] = np.log(2.5) + random.normal(0, 0.3, len(rows))
    else:
        rows = rows[~np.isin(status[rows], (401, 429))]
        if fault.kind == "latency_tail":
            rows = rows[random.random(len(rows)) < fault.share]
            log_ms[rows] += np.log(random.uniform(4, 14, len(rows)))
        elif fault.kind == "latency_step":
            log_ms[rows] += np.log(fault.factor)
        else:
            log_ms[rows] += np.log(fault.factor) * (calls.second[rows] / 60 - fault.start) / (fault.end - fault.start)
    mark[rows] = number


def plant(random: np.random.Generator, network: Network, calls: Calls, kinds: list[str], planted: list[Fault]) -> Calls:
    """Draw the faults, one after another where no other one is; returns the calls with those of traffic taken away and added."""
    taken = np.zeros((len(NAMES), network.minutes), dtype=bool)
    for begin, end, _ in network.gaps:
        taken[:, begin:end] = True
    for event in network.events:
        if event["ambiguous"]:
            first, last = ((event[name] - THURSDAY) // 60 for name in ("start", "end"))
            taken[event["endpoints"], max(0, first - 30) : last + 60] = True
    per_hour = np.bincount(calls.endpoint, minlength=len(NAMES)) / network.minutes * 60
    for kind in kinds:
        for _ in range(40):
            fault = draw(random, network, calls, kind, per_hour)
            if fault is None or fault.end > network.minutes - 90:
                continue
            rows = fault.scope(calls)
            touched = np.unique(calls.endpoint[rows])
            if len(rows) < 6 or taken[touched, fault.start : fault.end].mean() > (0.05 if len(touched) > 5 else 0):
                continue
            taken[touched, max(0, fault.start - 90) : fault.end + 90] = True
            planted.append(fault)
            if kind in TRAFFIC:
                calls = divert(random, network, fault, calls, rows)
            break
    return calls


def draw(random: np.random.Generator, network: Network, calls: Calls, kind: str, per_hour: np.ndarray) -> Fault | None:
    """A fault of a kind: where and when somebody calls, so that busy hours and busy endpoints have more of them."""
    span = int(even(random, *SPAN[kind]))
    lo = np.searchsorted(calls.second, WARM * 60)
    pool = np.arange(lo, len(calls.second))
    if kind == "low_traffic_fail":
        pool = pool[(per_hour < 15)[calls.endpoint[pool]]]
    elif kind == "validation_regression":  # what the new version of an app or a firmware writes
        writes = np.array([name.startswith("P") for name in NAMES])
        newer = np.isin(calls.agent[pool], [AGENT["selfcare/6.1.0"], AGENT["hub-fw/5.0.0"]])
        pool = pool[newer & writes[calls.endpoint[pool]]]
    elif kind not in TRAFFIC:  # half of the time any endpoint, however rare
        one = random.integers(len(NAMES))
        pool = pool[calls.endpoint[pool] == one] if random.random() < 0.5 else pool
    elif kind == "polling_storm":
        reads = np.array([name.startswith("GET") and "{id}" in name for name in NAMES])
        pool = pool[reads[calls.endpoint[pool]] & (calls.consumer[pool] != WHO["bulk-lookup"])]
    if len(pool) == 0:
        return None
    row = int(random.choice(pool))
    one, client = int(calls.endpoint[row]), int(calls.consumer[row])
    start = int(calls.second[row] // 60) - int(random.integers(0, max(1, min(span, 240) // 2)))
    start = max(start, WARM)
    if kind == "slow_degradation":
        start = int(random.integers(WARM, max(WARM + 1, network.minutes - span - 100)))
        span = min(span, network.minutes - start - 100)
    service = int(SERVICE[one])
    whole = np.flatnonzero(service == SERVICE).tolist()
    fault = Fault(kind, start, start + span, [one], share=even(random, 0.02, 0.7))
    address = upstream_of(network, service, start)
    if kind == "error_burst":
        fault.code = int(random.choice([500, 500, 502, 503]))
        if random.random() < 0.3:
            fault.endpoints, fault.upstream = whole, address
    elif kind == "upstream_timeout":
        fault.code, fault.endpoints, fault.upstream = 504, whole, address
        if ((network.deployed[service] > start) & (network.deployed[service] < start + span)).any():
            return None
    elif kind in ("latency_step", "latency_drift", "slow_degradation"):
        fault.factor = even(random, 1.15, 3.5 if kind == "latency_step" else 2.5)
        if random.random() < 0.4:
            fault.endpoints, fault.upstream = whole, address
    elif kind == "latency_tail":
        fault.share = even(random, 0.04, 0.4)
    elif kind == "auth_failure":  # the certificate or the key of one customer
        fault.code, fault.consumer, fault.endpoints = int(random.choice([401, 403])), client, list(range(len(NAMES)))
        fault.share = even(random, 0.1, 1.0)
    elif kind == "rate_limit":
        if client == WHO["bulk-lookup"]:
            return None
        fault.code, fault.consumer, fault.endpoints = 429, client, whole
        fault.share = even(random, 0.1, 0.9)
    elif kind == "new_code":
        fault.code = int(random.choice([405, 406, 413, 415, 421, 501]))
    elif kind == "validation_regression":
        fault.code, fault.consumer, fault.agent = int(random.choice([400, 422])), client, int(calls.agent[row])
        fault.share = even(random, 0.15, 1.0)
    elif kind == "node_outage":
        fault.code, fault.node, fault.endpoints = int(random.choice([500, 502])), int(random.integers(4)), list(range(len(NAMES)))  # fmt: skip
        fault.share = even(random, 0.08, 1.0)
    elif kind == "low_traffic_fail":
        fault.code, fault.share = int(random.choice([500, 502, 403])), even(random, 0.3, 1.0)
    elif kind == "recurring":
        fault.code, fault.end = 503, start + int(random.integers(3, 6)) * DAY + span
        fault.figures["spell_minutes"], fault.share = span, even(random, 0.1, 1.0)
    elif kind == "client_aborts":
        fault.code, fault.share = 499, even(random, 0.04, 0.5)
    elif kind == "auth_loop":  # tokens that are issued and not accepted, for one firmware
        devices = [NUMBER[name] for name in NAMES if name.startswith(("POST /v1/dev", "POST /v2/dev", "GET /v1/dev", "PUT /v1/dev"))]  # fmt: skip
        if client > 3:
            return None
        fault.code, fault.consumer, fault.endpoints, fault.agent = 401, client, devices, int(calls.agent[row])
        fault.share = even(random, 0.1, 0.9)
    elif kind == "traffic_drop":
        fault.share = 1 - even(random, 0.02, 0.7)
        if random.random() < 0.4:
            fault.endpoints, fault.upstream = whole, None
    elif kind == "silence":
        fault.share = 1.0
        if random.random() < 0.5:
            fault.consumer = client
    elif kind in ("traffic_spike", "polling_storm"):
        fault.consumer, fault.factor = client, even(random, 1.6, 14.0)
    return fault


def divert(random: np.random.Generator, network: Network, fault: Fault, calls: Calls, rows: np.ndarray) -> Calls:
    """Take away or add the calls of a traffic fault, and say how well that can be seen."""
    own = np.flatnonzero(np.isin(calls.endpoint, fault.endpoints))
    if fault.kind in ("traffic_drop", "silence"):
        gone = rows[random.random(len(rows)) < fault.share]
        changed, sign = gone, -1
    else:
        everyone = ((calls.second[own] >= fault.start * 60) & (calls.second[own] < fault.end * 60)).sum()
        size = int((fault.factor - 1) * everyone)
        if fault.kind == "polling_storm":
            size = max(size, int((fault.end - fault.start) * random.uniform(0.3, 3) * network.scale))
        changed, sign = random.choice(rows, size), 1
    best = ("invisible", 0.0, 1.0, 0, 0)
    for endpoint in np.unique(calls.endpoint[changed]):
        mine = calls.second[own[calls.endpoint[own] == endpoint]] / 60
        without = int(((mine >= fault.start) & (mine < fault.end)).sum())
        change = int((calls.endpoint[changed] == endpoint).sum())
        days = [
            day for day in range(-network.days, network.days + 1)
            if day and fault.start + day * DAY >= 0 and fault.end + day * DAY <= network.minutes
        ]  # fmt: skip
        alike = [day for day in days if network.off[min(fault.start + day * DAY, network.minutes - 1)] == network.off[fault.start]]  # fmt: skip
        days = alike if len(alike) > 3 else days
        span = fault.end - fault.start
        edges = np.array([fault.start - span, fault.start, fault.end, fault.end + span])
        before, others, after = np.array([np.diff(np.searchsorted(mine, edges + day * DAY)) for day in days] or [[0] * 3]).T  # fmt: skip
        swing = min(
            float(np.std(np.log((others + 1) / (np.median(others) + 1)))),  # against the same hours of other days
            float(np.std(np.log((others + 1) / ((before + after) / 2 + 1)))),  # against the hours around it
        )
        observed = without + sign * change
        ratio = (observed + 1) / (without + 1)
        z = abs(np.log(ratio)) / max(swing if len(days) > 2 else 1.0, 1 / np.sqrt(max(without, 1)))
        factor = max(ratio, 1 / ratio)
        grade = "invisible"
        for name, least_z, least, calls_changed in (("hard", 3, 1.5, 25), ("medium", 4, 2, 40), ("easy", 6, 3, 60)):
            if z >= least_z and factor >= least and change >= calls_changed:
                grade = name
        if GRADES.index(grade) > GRADES.index(best[0]) or (grade == best[0] and z > best[1]):
            best = (grade, z, ratio, without, observed)
    fault.grade = best[0]
    fault.figures |= dict(zip(("z", "ratio", "calls_without", "calls_with"), best[1:], strict=True))
    which, count = np.unique(calls.endpoint[changed], return_counts=True)
    fault.affected = dict(zip(which.tolist(), count.tolist(), strict=True))
    fault.told = sign > 0 or len(fault.endpoints) > 1
    if sign < 0:
        keep = np.ones(len(calls.second), dtype=bool)
        keep[changed] = False
        return calls.where(np.flatnonzero(keep))
    more = calls.where(changed)
    more.second = random.uniform(fault.start * 60, fault.end * 60, len(changed))
    return in_order([calls, more])


def upstream_of(network: Network, service: int, minute: float) -> str:
    """Address of a service's upstream: each deployment moves it to the other one of two."""
    return f"10.40.{service}.{11 + int(np.searchsorted(network.deployed[service], minute, side='right')) % 2}:8080"


# -- how well a fault can be seen

GRADES = ("invisible", "hard", "medium", "easy")
#: Least z, share of the calls of the view that fail, and failing calls
FAILING = (("hard", 4, 0.0, 5), ("medium", 6, 0.06, 12), ("easy", 12, 0.2, 30))
#: Least z and mean factor on latency; least z and excess share of calls beyond the usual 97th percentile
SLOWER = (("hard", 3, 1.15), ("medium", 4, 1.35), ("easy", 6, 1.7))
TAILED = (("hard", 3, 0.03), ("medium", 4, 0.07), ("easy", 6, 0.15))


class Judge:
    """Grades by the finished log. A view is what somebody could chart: an endpoint, a service, a consumer, a node. In the view where a
    fault shows best, its figure is compared with the same figure over all other windows of its length (10 minutes to 6 hours; of a
    drift the last third, at most half a day): z = difference / larger of their standard deviation and the counting noise."""

    def __init__(self, network: Network, table: pl.DataFrame, planted: list[Fault]) -> None:
        self.network, self.planted = network, planted
        self.endpoint, self.consumer, self.node, self.status, self.fault = (
            table[name].to_numpy() for name in ("endpoint", "consumer", "node", "status", "fault")
        )
        self.minute = np.minimum(table["second"].to_numpy() / 60, network.minutes - 1)
        self.log_ms = np.log(table["ms"].to_numpy())

    def grade(self) -> None:
        """Fill in grade, affected and figures of all faults but those of traffic, which divert() has judged."""
        for number, fault in enumerate(self.planted):
            hit = self.fault == number
            if fault.kind not in TRAFFIC:
                which, count = np.unique(self.endpoint[hit], return_counts=True)
                fault.affected = dict(zip(which.tolist(), count.tolist(), strict=True))
                if fault.code is None:
                    self._latency(fault)
                else:
                    self._errors(fault, hit)
            if fault.consumer is not None and fault.kind not in ("traffic_spike", "polling_storm"):
                inside = (self.minute >= fault.start) & (self.minute < fault.end) & np.isin(self.endpoint, list(fault.affected))  # fmt: skip
                if inside.any() and (self.consumer[inside] == fault.consumer).mean() > 0.9:
                    fault.told = False

    def views(self, fault: Fault) -> Iterator[np.ndarray]:
        for endpoint in fault.affected:
            yield self.endpoint == endpoint
        if len(fault.affected) > 1 and len({int(SERVICE[i]) for i in fault.affected}) == 1:
            yield SERVICE[self.endpoint] == SERVICE[next(iter(fault.affected))]
        if fault.consumer is not None:
            yield self.consumer == fault.consumer
        if fault.node is not None:
            yield self.node == fault.node

    def _errors(self, fault: Fault, hit: np.ndarray) -> None:
        spell = fault.figures.get("spell_minutes", 0)
        length = int(np.clip(spell or fault.end - fault.start, 10, 360))
        if len(np.unique(self.minute[hit].astype(int))) < 3:
            return
        codes, count = np.unique(self.status[hit], return_counts=True)
        fault.code = int(codes[count.argmax()])  # 499 where the clients do not wait for the 504
        best = -1.0
        for view in self.views(fault):
            failing = view & (self.status == fault.code)
            if spell:
                spells = np.bincount(((self.minute[hit & view] - fault.start) // DAY).astype(int))
                if (spells >= 4).sum() < 3:
                    continue
                seen = float(np.median(spells))
            else:
                start = np.arange(fault.start, max(fault.start + 1, fault.end - length + 1), 10)
                at = np.sort(self.minute[failing])
                seen = float((np.searchsorted(at, start + length) - np.searchsorted(at, start)).max())
            usual = np.bincount((self.minute[failing & ~hit] // length).astype(int), minlength=self.network.minutes // length)  # fmt: skip
            away = np.ones(len(usual), dtype=bool)
            if not spell:
                away[fault.start // length : fault.end // length + 1] = False
            usual = usual[away]
            z = (seen - usual.mean()) / np.sqrt(max(usual.var(), usual.mean(), 1.0))
            inside = view & (self.minute >= fault.start) & (self.minute < fault.end)
            if spell:
                inside &= (self.minute - fault.start) % DAY < spell
            share = (hit & view).sum() / max(inside.sum(), 1)
            grade = "invisible"
            for name, least_z, least_share, least in FAILING:
                if z >= least_z and share >= least_share and (hit & view).sum() >= least:
                    grade = name
            if (GRADES.index(grade), z) > (GRADES.index(fault.grade), best):
                fault.grade, best = grade, float(z)
                fault.figures |= {
                    "z": z,
                    "share": share,
                    "failing": int((hit & view).sum()),
                    "calls_in_view": int(inside.sum()),
                    "usual_per_window": usual.mean(),
                    "seen_in_window": seen,
                    "window_minutes": length,
                }

    def _latency(self, fault: Fault) -> None:
        rising = fault.kind in ("latency_drift", "slow_degradation")
        length = fault.end - fault.start
        length = min(length // 3, DAY // 2) if rising else length
        bounds = TAILED if fault.kind == "latency_tail" else SLOWER
        best = -1.0
        for endpoint in fault.affected:
            own = np.flatnonzero((self.endpoint == endpoint) & ~np.isin(self.status, (401, 403, 429, 499, 502, 503, 504)))  # fmt: skip
            minute, value = self.minute[own], self.log_ms[own]
            during = (minute >= fault.start) & (minute < fault.end)
            inside = (minute >= fault.end - length) & (minute < fault.end)
            if inside.sum() < 20 or (~during).sum() < 100:
                continue
            if fault.kind == "latency_tail":
                value = (value > np.quantile(value[~during], 0.97)).astype(float)
            hour = (minute % DAY // 60).astype(int)
            size = np.bincount(hour[~during], minlength=24)
            mean = np.bincount(hour[~during], value[~during], minlength=24) / np.maximum(size, 1)
            mean[size < 5] = value[~during].mean()
            value = value - mean[hour]
            window = (minute[~during] // length).astype(int)
            count = np.bincount(window)
            means = (np.bincount(window, value[~during]) / np.maximum(count, 1))[count >= 10]
            counting = value[~during].std() / np.sqrt(inside.sum())
            effect = value[inside].mean()
            z = effect / max(means.std() if len(means) > 2 else 1.0, counting)
            size_of = effect if fault.kind == "latency_tail" else np.exp(effect)
            grade = "invisible"
            for name, least_z, least in bounds:
                if z >= least_z and size_of >= least:
                    grade = name
            if (GRADES.index(grade), z) > (GRADES.index(fault.grade), best):
                fault.grade, best = grade, float(z)
                fault.figures |= {
                    "z": z, "effect": size_of, "endpoint": endpoint, "calls_in_window": int(inside.sum()),
                    "spread_of_windows": means.std() if len(means) else 0, "window_minutes": length,
                }  # fmt: skip


# -- the log


def lines(frame: pl.DataFrame, network: Network) -> pl.DataFrame:
    """The calls as lines of APISIX's file-logger, one row per line: `at` (seconds since the epoch) and `line`."""
    routes = pl.DataFrame(
        {
            "endpoint": np.arange(len(NAMES)),
            "method": [name.split()[0] for name in NAMES],
            "template": [name.split()[1] for name in NAMES],
            "service": [list(SERVICES)[i] for i in SERVICE],
        }
    )
    upstream = np.full(len(frame), "", dtype=object)
    endpoint, minute = frame["endpoint"].to_numpy(), frame["second"].to_numpy() / 60
    for service in range(len(SERVICES)):
        rows = np.flatnonzero((endpoint >= 0) & (SERVICE[endpoint] == service))
        turn = np.searchsorted(network.deployed[service], minute[rows], side="right") % 2
        upstream[rows] = np.array([f"10.40.{service}.11:8080", f"10.40.{service}.12:8080"], dtype=object)[turn]
    at = pl.lit(THURSDAY) + pl.col("second")
    return (
        frame.with_columns(upstream=pl.Series(upstream, dtype=pl.String), endpoint=pl.col("endpoint").cast(pl.Int64))
        .join(routes, on="endpoint", how="left", maintain_order="left")
        .with_columns(
            uri=pl.coalesce(
                pl.col("template").str.replace_all("{id}", (pl.col("number") + 4_917_000_000).cast(pl.String), literal=True),
                "path" if "path" in frame.columns else pl.lit(None, pl.String),
            ),
            person=pl.when(pl.col("consumer") >= 0).then(pl.concat_str(pl.lit(',"consumer":{"username":"'), pl.col("consumer").replace_strict(dict(enumerate(CONSUMERS)), default="", return_dtype=pl.String), pl.lit('"}'))).otherwise(pl.lit("")),
            behind=pl.when(pl.col("endpoint") >= 0).then(pl.concat_str(pl.lit(',"service_id":"'), "service", pl.lit('","route_id":"r'), pl.col("endpoint").cast(pl.String), pl.lit('"'))).otherwise(pl.lit("")),
            ms=pl.col("ms").round(1),
        )
        .select(
            at=at,
            line=pl.concat_str(
                pl.lit('{"start_time":'), (at * 1000).cast(pl.Int64).cast(pl.String), pl.lit(',"latency":'), (pl.col("ms") + 1).round(1).cast(pl.String),
                pl.lit(',"upstream_latency":'), pl.col("ms").cast(pl.String), pl.lit(',"apisix_latency":1,"client_ip":"100.64.'),
                (pl.col("number") // 250 % 250).cast(pl.String), pl.lit("."), (pl.col("number") % 250).cast(pl.String), pl.lit('"'),
                "behind", "person", pl.lit(',"upstream":"'), "upstream", pl.lit('","server":{"hostname":"'), pl.col("node").replace_strict(dict(enumerate(NODES)), return_dtype=pl.String),
                pl.lit('","version":"3.13.0"},"request":{"method":"'), pl.col("method").fill_null("GET"), pl.lit('","uri":"'), "uri",
                pl.lit('","size":340,"headers":{"host":"api.telco.example","user-agent":"'), pl.col("agent").replace_strict(dict(enumerate(AGENTS)), return_dtype=pl.String),
                pl.lit('"}},"response":{"status":'), pl.col("status").cast(pl.String), pl.lit(',"size":"'), (pl.col("number") % 7000 + 120).cast(pl.String), pl.lit('","headers":{}}}'),
            ),
        )
    )  # fmt: skip
