"""Services behind a gateway, as the authors of arcade, delivery and portal make them: what is usual of each endpoint, and what happens on ordinary days.

Who calls, in which rhythm, what else happens and what the log looks like is each world's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
import polars as pl
from calls import Columns, arrivals, ticks, within
from worlds import DAY, World, by_endpoint, wander

WARM_UP = 4  # days without faults
#: service, method, path, calls per minute, median ms, spread of log ms, who calls, what is answered beside 200 although nothing is wrong
Route = tuple[str, str, str, float, float, float, str, dict[int, float]]
#: Calls of somebody: seconds since the world's beginning, numbers of consumer and client.
Sent = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Calls(Columns):
    """One entry per call: seconds since the world's beginning, numbers of endpoint, client, the gateway's node and instance, status, ms."""

    at: np.ndarray
    endpoint: np.ndarray
    client: np.ndarray
    gate: np.ndarray
    instance: np.ndarray
    status: np.ndarray
    ms: np.ndarray


Some = TypeVar("Some", bound=Calls)


@dataclass
class Services:
    """Base of what a seed decides before anybody calls; t0: the world's beginning, in seconds since the epoch."""

    t0: ClassVar[int]
    random: np.random.Generator
    endpoints: int
    days: int
    calls_per_minute: float
    events: list[dict[str, Any]] = field(default_factory=list)
    ambiguous: list[dict[str, Any]] = field(default_factory=list)

    def open(self, name: str, routes: list[Route]) -> None:
        """Draws what is usual of each endpoint; what changes from minute to minute is 1 or none as yet."""
        random, chosen = self.random, routes[: self.endpoints]
        if len(chosen) < self.endpoints or self.endpoints < 36 or self.days < 9:
            raise ValueError(f"{name} has 36 to {len(routes)} endpoints and at least 9 days")
        self.service, self.method, self.path, rates, medians, widths, self.kind, self.answers = map(list, zip(*chosen, strict=True))  # fmt: skip
        self.services = sorted(set(self.service))
        self.of_service = np.array([self.services.index(name) for name in self.service])
        self.minutes = self.days * DAY
        self.minute = np.arange(self.minutes)
        self.rate = np.array(rates) * np.exp(random.normal(0, 0.25, self.endpoints)) * self.calls_per_minute / sum(rates)  # fmt: skip
        self.median = np.array(medians) * np.exp(random.normal(0, 0.2, self.endpoints))
        self.width = np.array(widths)
        self.limit = np.full(self.endpoints, 30_000)  # ms after which 504 is answered
        self.factor = np.ones((self.endpoints, self.minutes))  # of traffic
        self.slower = np.ones((self.endpoints, self.minutes))
        self.failing = np.zeros((self.endpoints, self.minutes))  # share that fails although nothing is wrong
        self.generation = np.zeros((len(self.services), self.minutes), dtype=int)  # of a service's instances
        self.bigger = np.ones((len(self.services), self.minutes))  # of sizes

    def of(self, *services: str) -> np.ndarray:
        """Numbers of the endpoints of services."""
        return np.array([e for e in range(self.endpoints) if self.service[e] in services])

    def called_by(self, *kinds: str) -> np.ndarray:
        """Numbers of the endpoints that such callers call."""
        return np.array([e for e in range(self.endpoints) if self.kind[e] in kinds])

    def named(self, what: str, start: float, end: float, endpoints: np.ndarray, *, ambiguous: bool = False) -> None:
        """Notes an event; minutes since the world's beginning."""
        told = {"what": what, "start": self.t0 + int(start * 60), "end": self.t0 + int(end * 60), "endpoints": [int(e) for e in endpoints]}  # fmt: skip
        (self.ambiguous if ambiguous else self.events).append(told)

    def excepted(self, endpoints: list[int], at: np.ndarray) -> np.ndarray:
        """Which moments fall into an event of these endpoints that is no fault and no usual time either."""
        return within(self.ambiguous, endpoints, at + self.t0)

    def cold(self, at: int, endpoints: np.ndarray, more: float, fading: float) -> None:
        """From this minute on the code or the cache of these endpoints is cold: slower by so much, which fades within minutes."""
        after = np.maximum(self.minute - at, 0)
        self.slower[endpoints] *= np.where(self.minute >= at, 1 + more * np.exp(-after / fading), 1)

    def deployed(self, service: int, at: int, more: float, fading: float, spread: float) -> None:
        """A service is deployed in a minute: cold code, a new level of latency (spread: of its logarithm) and size, new addresses."""
        mine = self.of(self.services[service])
        self.cold(at, mine, more, fading)
        self.slower[mine, at:] *= np.exp(self.random.normal(0, spread))
        self.bigger[service, at:] *= np.exp(self.random.normal(0, 0.1))
        self.generation[service, at:] += 1
        self.named("deployment", at, at + 30, mine)

    def moves(self, old: str, new: str, moved: np.ndarray, most: float) -> None:
        """Calls move from one path to another; moved: how far, per minute; most: the share of them that ever does."""
        for path, share in ((old, 1 - most * moved), (new, moved)):
            if path in self.path:
                self.factor[self.path.index(path)] *= share

    def held_back(self, days: tuple[int, ...], service: str) -> list[tuple[float, float]]:
        """When webhooks are held back, on some days, and for how long, in minutes; they come at once then."""
        random = self.random
        held = [(day * DAY + random.uniform(9, 20) * 60, random.uniform(25, 50)) for day in days]
        for at, length in held:
            self.named("webhooks held back", at, at + length + 15, self.of(service), ambiguous=True)
        return held

    def shaky(self, longest: float, spread: float, worst: float) -> None:
        """Blips, slow neighbours, instances that fall over, endpoints that were never good.

        longest: seconds until what fell over is there again. spread, worst: of the share of calls that fail at all times.
        """
        random, minutes, number = self.random, self.minutes, len(self.services)
        for at in random.integers(0, minutes, 2 * self.days):  # half of one minute's calls
            self.failing[random.choice(self.endpoints, 3, replace=False), at] += 0.25
        self.failing = np.minimum(self.failing, 1)
        #: A service, whose first instance is slow from a minute on, for minutes.
        self.neighbour = [(int(random.integers(number)), random.uniform(0, minutes), random.uniform(5, 25)) for _ in range(self.days * 3)]  # fmt: skip
        #: A service, whose second instance is away from a second on, for seconds.
        self.fallen = [(int(random.integers(number)), random.uniform(0, minutes * 60), random.uniform(30, longest)) for _ in range(self.days * 2)]  # fmt: skip
        self.never_good = np.minimum(random.lognormal(np.log(0.0006), spread, self.endpoints), worst)

    def gaps(self, gates: int, length: float) -> None:
        """Holes in the log: of one node of the gateway, and for so many seconds of all; and a shipper that stalls, whose lines come late."""
        random = self.random
        self.holes = [(random.uniform(4, self.days) * 86_400, 60 * random.uniform(8, 18), int(random.integers(gates)))]
        self.holes.append((random.uniform(4, self.days) * 86_400, length, -1))
        self.stalled = (random.uniform(4, self.days - 0.5) * 86_400, 60 * random.uniform(10, 25), int(random.integers(gates)))  # fmt: skip

    def kept(self, sent: Sent, strength: np.ndarray) -> Sent:
        """The calls in the world's time, those of a minute thinned to its strength beside the greatest."""
        sent = chosen(sent, (sent[0] >= 0) & (sent[0] < self.minutes * 60))
        draw = self.random.random(len(sent[0])) * strength.max()
        return chosen(sent, draw < strength[(sent[0] // 60).astype(int)])

    def in_order(self, parts: list[tuple[int, Sent]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Seconds, endpoint, consumer and client of the calls of endpoints in the world's time, in order of time."""
        at, who, client = joined([sent for _, sent in parts])
        endpoint = np.repeat([e for e, _ in parts], [len(sent[0]) for _, sent in parts])
        inside = np.flatnonzero((at >= 0) & (at < self.minutes * 60))
        order = inside[np.argsort(at[inside], kind="stable")]
        return at[order], endpoint[order], who[order].astype(int), client[order].astype(int)

    def nightly(self, rate: float, begin: float, jitter: float, shortest: float, longest: float) -> np.ndarray:
        """Seconds of the calls of a batch that begins every night in about that minute, and takes minutes; rate: of the whole day."""
        random, found = self.random, []
        for day in range(self.days):
            start, length = day * DAY + begin + random.normal(0, jitter), random.uniform(shortest, longest)
            found.append(self.session(start, length, rate * DAY / ((shortest + longest) // 2)))
        return np.concatenate(found)

    def session(self, begin: float, length: float, rate: float) -> np.ndarray:
        """Seconds of calls at a rate per minute, from a minute on and for minutes."""
        return arrivals(self.random, np.where((self.minute >= begin) & (self.minute < begin + length), rate, 0))

    def scraped(self, rate: float, share: float) -> np.ndarray:
        """Seconds of the calls of a scraper, that comes for hours until it has made its share of those of an endpoint."""
        random, found, spent = self.random, [np.zeros(0)], 0.0
        while spent < share * rate * self.minutes:
            begin, length, speed = random.uniform(0, self.minutes), 60 * random.lognormal(np.log(2), 0.6), rate * random.uniform(1, 3)  # fmt: skip
            found.append(self.session(begin, length, speed))
            spent += length * speed
        return np.concatenate(found)

    def notices(self, rate: np.ndarray, nightly: float, within_s: float) -> np.ndarray:
        """Seconds of the webhooks of a payment provider: through the day, and a settlement at half past two every night.

        rate: per minute, through the day. nightly: so many a night. within_s: seconds.
        """
        random = self.random
        found = [arrivals(random, rate)]
        for day in range(self.days):
            count = random.poisson(nightly * random.lognormal(0, 0.35))
            found.append((day * DAY + 150) * 60 + random.normal(0, 30) + random.uniform(0, within_s, count))
        return np.concatenate(found)

    def load(self, calls: Calls, lag: int) -> np.ndarray:
        """Calls per service and minute, in their mean over so many minutes."""
        minute, number = (calls.at // 60).astype(int), len(self.services)
        count = np.bincount(self.of_service[calls.endpoint] * self.minutes + minute, minlength=number * self.minutes)
        return np.stack([np.convolve(row, np.ones(lag) / lag)[: self.minutes] for row in count.reshape(number, -1).astype(float)])  # fmt: skip

    def scaled(self, calls: Calls, lag: int, most: float) -> tuple[np.ndarray, np.ndarray]:
        """Instances of each service per minute, and how much of them is used (at most `most`).

        The autoscaler follows what it saw so many minutes ago.
        """
        busy = self.load(calls, lag)
        usual = np.maximum(np.quantile(busy[:, : WARM_UP * DAY], 0.95, axis=1, keepdims=True), 0.3)
        instances = np.clip(np.ceil(4.5 * np.roll(busy, lag, axis=1) / usual), 2, 8)
        return instances, np.minimum(4.5 * busy / usual / instances, most)

    def usually(self, calls: Calls, answers: list[dict[int, float]], memory: float, power: int) -> np.ndarray:
        """What calls are answered on ordinary days. answers: share of each code but 200, per endpoint.

        Those shares wander, and forget within `memory` minutes; those of 5xx with the power of what those of 4xx do.
        """
        random, minute = self.random, (calls.at // 60).astype(int)
        status = np.full(len(calls), 200)
        wobble = wander(random, self.endpoints, self.minutes, np.full(self.endpoints, 0.25), memory)
        draw = random.random(len(calls))
        for e, rows in enumerate(by_endpoint(calls.endpoint, self.endpoints)):
            lower = np.zeros(len(rows))
            for code, share in answers[e].items():
                moving = 1.0 if code < 400 else wobble[e, minute[rows]] ** (power if code >= 500 else 1)
                upper = lower + share * moving
                status[rows[(draw[rows] >= lower) & (draw[rows] < upper)]] = code
                lower = upper
        return status

    def fall_over(self, calls: Calls, status: np.ndarray, slot: np.ndarray, code: int, share: float) -> None:
        """Answers a share of the calls of instances that fell over with a code."""
        service = self.of_service[calls.endpoint]
        for number, begin, length in self.fallen:
            hit = (service == number) & (slot == 1) & (calls.at >= begin) & (calls.at < begin + length)
            status[hit & (self.random.random(len(calls)) < share)] = code

    def takes(self, calls: Calls, used: np.ndarray, weight: float) -> np.ndarray:
        """Milliseconds that calls take on ordinary days; used, weight: how much services are used per minute, and what that does."""
        random, n, e = self.random, len(calls), calls.endpoint
        service, minute, services = self.of_service[e], (calls.at // 60).astype(int), len(self.services)
        ms = self.median[e] * np.exp(random.normal(0, 1, n) * self.width[e])
        slow = wander(random, services, self.minutes, np.full(services, 0.1), 240)
        mood = wander(random, self.endpoints, self.minutes, random.uniform(0.03, 0.12, self.endpoints), 60)
        ms *= slow[service, minute] * mood[e, minute] * self.slower[e, minute] * (1 + weight * used[service, minute] ** 3)  # fmt: skip
        return ms

    def slow_neighbours(self, calls: Calls, ms: np.ndarray, slot: np.ndarray) -> None:
        service, minute = self.of_service[calls.endpoint], calls.at // 60
        for number, begin, length in self.neighbour:
            ms[(service == number) & (slot == 0) & (minute >= begin) & (minute < begin + length)] *= 1.8

    def cold_starts(self, calls: Calls, ms: np.ndarray, endpoints: np.ndarray) -> None:
        """Functions start cold when nobody called for a quarter of an hour."""
        rows = by_endpoint(calls.endpoint, self.endpoints)
        for e in endpoints:
            cold = rows[e][np.diff(calls.at[rows[e]], prepend=-1e9) > 900]
            ms[cold] += self.random.lognormal(np.log(1500), 0.4, len(cold))

    def without_holes(self, calls: Some, gate: np.ndarray) -> Some:
        """The calls that are in the log; gate: the node that logs each."""
        keep = np.ones(len(calls), dtype=bool)
        for at, length, node in self.holes:
            keep &= ~((calls.at >= at) & (calls.at < at + length) & ((node < 0) | (gate == node)))
        return calls.where(keep)

    def late(self, calls: Calls, gate: np.ndarray, usual: np.ndarray) -> np.ndarray:
        """By how many seconds lines come later than they should: the usual, minutes, or until a shipper has stalled enough."""
        begin, length, node = self.stalled
        wait = (gate == node) & (calls.at >= begin) & (calls.at < begin + length)
        return np.where(wait, begin + length - calls.at, usual)

    def scans(self) -> np.ndarray:
        """Seconds since the epoch at which scanners ask for what is not there."""
        random = self.random
        begin = np.repeat(random.uniform(0, self.minutes * 60, self.days), random.integers(20, 200, self.days))
        return self.t0 + np.minimum(begin + random.exponential(60, len(begin)), self.minutes * 60 - 1)

    def world(self, lines: list[pl.DataFrame], faults: list[dict[str, Any]]) -> World:
        """The world with its log; lines: at and order (seconds since the epoch) and line."""
        span = {"t0": self.t0, "minutes": self.minutes}
        return World(
            calls=pl.concat(lines).sort("order", maintain_order=True).select("at", "line"),
            labels=span | {"faults": faults, "events": sorted(self.events, key=lambda one: one["start"]), "ambiguous": self.ambiguous},
            catalog=span | {"endpoints": [{"id": e, "method": self.method[e], "path": self.path[e], "upstream": self.service[e]} for e in range(self.endpoints)]},
        )  # fmt: skip


def sent(at: np.ndarray, who: int | np.ndarray, client: int | np.ndarray) -> Sent:
    """Calls at these moments, of a consumer and client or of one for each."""
    return at, np.full(len(at), who), np.full(len(at), client)


def chosen(calls: Sent, rows: np.ndarray) -> Sent:
    at, who, client = calls
    return at[rows], who[rows], client[rows]


def joined(parts: list[Sent]) -> Sent:
    at, who, client = (np.concatenate(column) for column in zip(*parts, strict=True))
    return at, who, client


def probed(random: np.random.Generator, rate: float, end: float) -> np.ndarray:
    """Seconds at which two health checks ask; rate: of both, per minute."""
    return np.concatenate([ticks(random, 120 / rate, 0.01, end) for _ in range(2)])


def packs(random: np.random.Generator, at: np.ndarray, size: float, spread: float) -> np.ndarray:
    """Seconds of calls that come together: so many in the mean (geometric) from each moment on, apart by seconds (exponential)."""
    times = random.geometric(1 / size, len(at))
    return np.repeat(at, times) + random.exponential(spread, times.sum())


def delayed(random: np.random.Generator, at: np.ndarray, held: list[tuple[float, float]]) -> np.ndarray:
    """These moments (seconds), those within what is held back (minutes, and for how many) at its end."""
    for begin, length in held:
        late = (at >= begin * 60) & (at < (begin + length) * 60)
        at[late] = (begin + length) * 60 + random.exponential(100, late.sum())
    return at


def with_tail(random: np.random.Generator, ms: np.ndarray, alpha: float) -> None:
    """Two in a hundred calls take a Pareto's time longer."""
    tail = random.random(len(ms)) < 0.02
    ms[tail] *= 2 * (1 + random.pareto(alpha, tail.sum()))


def refused_sooner(random: np.random.Generator, status: np.ndarray, ms: np.ndarray, checked: list[int]) -> np.ndarray:
    """Milliseconds of calls, fewer of those that are answered one of these codes, next to none of those that no service worked for."""
    ms = np.where(np.isin(status, checked), 0.6 * ms, ms)
    return np.where(np.isin(status, [304, 429, 502, 503]), np.minimum(ms, random.exponential(2, len(ms))), ms)
