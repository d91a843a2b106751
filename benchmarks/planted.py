"""Faults of arcade, delivery and portal: drawn where calls are, done to the calls, and measured beside the same calls without them.

A world says which endpoints a kind of fault can be on, whom it concerns, and what is its own in what it does; `Strength` says how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from calls import Hinted, label
from services import WARM_UP, Calls, Services
from worlds import SIGNAL, by_endpoint

GRADES = ("easy", "medium", "hard")
CLEAR = {"easy": 15.0, "medium": 8.0, "hard": 5.0}  # least z
COUNTED = ("traffic_drop", "traffic_spike", "silence")
SLOW = ("latency_step", "latency_tail", "latency_drift")
UNHEARD = (405, 406, 410, 426, 501, 507)  # codes that are new
#: Share of faults that are on all endpoints of a service.
WIDE = {"upstream_timeout": 0.8, "auth_failure": 0.7, "latency_step": 0.4, "latency_tail": 0.4, "error_burst": 0.35, "silence": 0.3}  # fmt: skip

Some = TypeVar("Some", bound=Calls)


class Strength(NamedTuple):
    """What a fault of a grade does."""

    fails: float  # share of calls
    slower: float  # factor on latency
    in_tail: float  # share of calls
    left: float  # share of traffic
    more: float  # factor on traffic
    low_fails: float  # share of the calls of an endpoint that is rarely called
    new: float  # share of calls answered a code that is new


@dataclass(kw_only=True)
class Fault(Hinted):
    """A fault and its figures; who, gate, instance: numbers of the one consumer, node of the gateway or instance that it concerns."""

    strength: Strength
    who: int | None = None
    gate: int | None = None
    instance: int | None = None
    affected: int = 0
    z: float = 0.0
    usual: float = 0.0  # share of calls that fail or are slow; of the same window: mean ms (geometric), or calls
    during: float = 0.0

    @property
    def share(self) -> float:
        """Share of the calls that can meet it which fail."""
        if self.instance is not None:
            return 0.9
        return {"low_traffic_fail": self.strength.low_fails, "new_code": self.strength.new}.get(
            self.kind, self.strength.fails
        )

    def hits(self, calls: Calls) -> np.ndarray:
        """Which calls can meet it, at whatever time."""
        mine = np.isin(calls.endpoint, self.endpoints)
        for name in ("who", "gate", "instance"):
            if (chosen := getattr(self, name)) is not None:
                mine &= getattr(calls, name) == chosen
        return mine


@dataclass
class Split:
    """Calls, and the numbers of those of each endpoint."""

    calls: Any
    rows: list[np.ndarray]

    def of(self, endpoints: list[int]) -> Any:
        """The calls of these endpoints, in the calls' order."""
        return self.calls.where(np.sort(np.concatenate([self.rows[e] for e in endpoints])))


class Figures(NamedTuple):
    """How far a fault stands out, calls affected, what is usual and what was (as `Fault` has them), whether so many were that it counts."""

    z: float
    affected: int
    usual: float
    during: float
    enough: bool


def split(calls: Calls, endpoints: int) -> Split:
    return Split(calls, by_endpoint(calls.endpoint, endpoints))


def plant(
    random: np.random.Generator, kinds: list[tuple[str, int, int]], calls: Some,
    draw: Callable[[list[Fault], str, str, int], Fault | None], do: Callable[[Some, Fault], Some],
) -> tuple[Some, list[Fault]]:  # fmt: skip
    """The calls with faults, and the faults; kinds: kind, how often, median length in minutes.

    draw: of those before it, kind, grade and length, or None where it came to lie badly (300 times at most). do: the calls with a fault.
    """
    every = [(kind, length) for kind, times, length in kinds for _ in range(times)]
    grades = [GRADES[i % 3] for i in range(len(every))]
    random.shuffle(grades)
    faults: list[Fault] = []
    for (kind, length), grade in zip(every, grades, strict=True):
        fault = next((one for _ in range(300) if (one := draw(faults, kind, grade, length)) is not None), None)
        if fault is not None:
            calls = do(calls, fault)
            faults.append(fault)
    return calls, faults


def place(
    random: np.random.Generator, fault: Fault, length: float, world: Services, quiet: Split, usable: list[int],
    pauses: Iterable[int] = (6, 12, 24), wide: dict[str, float] = WIDE,
) -> int | None:  # fmt: skip
    """Puts a fault around a call of one of the usable endpoints, or of all of its service: the number of the call; None: too early or late.

    length: median, in minutes. quiet: the calls without faults. pauses: hours between the spells of what comes back.
    """
    seconds = 60 * length * random.lognormal(0, 0.35)
    first = int(random.choice(usable))
    met = int(random.choice(quiet.rows[first]))
    start = float(quiet.calls.at[met]) - random.uniform(0, 0.5) * seconds
    fault.spans, fault.endpoints = [(start, start + seconds)], [first]
    if fault.kind == "recurring":
        pause = random.choice(list(pauses)) * 3600
        fault.spans = [(start + i * pause, start + i * pause + seconds) for i in range(int(random.integers(4, 7)))]
    if start < (WARM_UP + 0.1) * 86_400 or fault.end > world.minutes * 60 - 1800:
        return None
    if random.random() < wide.get(fault.kind, 0):
        fault.endpoints = siblings(world, usable, first)
    return met


def siblings(world: Services, usable: list[int], first: int) -> list[int]:
    """The usable endpoints of the first one's service."""
    return [e for e in usable if world.service[e] == world.service[first]]


def answer(random: np.random.Generator, kind: str, usual: Iterable[int], unheard: Iterable[int] = UNHEARD) -> int | None:  # fmt: skip
    """The code that a kind of fault answers at an endpoint which usually answers those; None: those still."""
    several = {
        "error_burst": [500, 502, 503], "recurring": [500, 502, 503], "auth_failure": [401, 403], "low_traffic_fail": [500, 504],
        "new_code": [code for code in unheard if code not in usual],
    }  # fmt: skip
    if kind in several:
        return int(random.choice(several[kind]))
    return {"node_outage": 503, "upstream_timeout": 504, "rate_limit": 429, "validation_regression": 422}.get(kind)


def of_one_consumer(
    random: np.random.Generator, fault: Fault, quiet: Split, met: int, releases: bool, anonymous: int
) -> None:
    """Some faults concern one consumer, the call's: its tokens, its quota, what its release sends (where it has releases), a loop it is in.

    Not where nearly all of the calls are its: that it is this consumer says nothing then.
    """
    looped = fault.kind == "traffic_spike" and random.random() < 0.5
    if fault.kind in ("auth_failure", "rate_limit") or (fault.kind == "validation_regression" and releases) or looped:
        who = int(quiet.calls.who[met])
        if who != anonymous and (quiet.of(fault.endpoints).who == who).mean() <= 0.8:
            fault.who = who


def apart(fault: Fault, others: list[Fault], events: list[dict[str, Any]], t0: int) -> bool:
    """Whether a fault is four hours away from the others on its endpoints, and one hour from the events there."""
    mine, start, end = set(fault.endpoints), fault.start, fault.end
    for other in others:
        if mine & set(other.endpoints) and start < other.end + 14_400 and end > other.start - 14_400:
            return False
    for event in events:
        if mine & set(event["endpoints"]) and start < event["end"] - t0 + 3600 and end > event["start"] - t0 - 3600:
            return False
    return True


def met_by(fault: Fault, quiet: Split) -> int:
    """How many of the quiet calls can meet a fault while it is there."""
    mine = quiet.of(fault.endpoints)
    return int((fault.hits(mine) & fault.inside(mine.at)).sum())


def stands(fault: Fault, world: Services, quiet: Split, others: list[Fault]) -> bool:
    """Whether a fault is apart from the others and from what is ambiguous (a drift takes too long for that), and meets enough calls to show."""
    events = [] if fault.kind == "latency_drift" else world.ambiguous
    if not apart(fault, others, events, world.t0):
        return False
    seen = met_by(fault, quiet)
    return seen >= 40 if fault.kind in (*COUNTED, *SLOW) else seen * fault.share >= 9


def met(random: np.random.Generator, calls: Some, fault: Fault) -> tuple[Some, np.ndarray, np.ndarray]:
    """A copy of the calls, which of them meet a fault, and a uniform draw for each."""
    return calls.copy(), fault.hits(calls) & fault.inside(calls.at), random.random(len(calls))


def other_traffic(random: np.random.Generator, calls: Some, fault: Fault, inside: np.ndarray, draw: np.ndarray) -> Some:
    """The calls with fewer or more of those that a fault of traffic meets; draw: uniform, per call."""
    if fault.kind != "traffic_spike":
        return calls.where(~(inside & (draw > (0 if fault.kind == "silence" else fault.strength.left))))
    everybody = replace(fault, who=None)
    count = int((everybody.hits(calls) & fault.inside(calls.at)).sum() * (fault.strength.more - 1))
    more = calls.where(random.choice(np.flatnonzero(inside), count))
    more.at = random.uniform(fault.start, fault.end, count)
    return calls.and_those(more)


def factor(fault: Fault, at: np.ndarray) -> np.ndarray:
    """How many times as long calls at these moments take; what drifts grows to it."""
    if fault.kind == "latency_drift":
        return 1 + (fault.strength.slower - 1) * (at - fault.start) / (fault.end - fault.start)
    return np.full(len(at), fault.strength.slower)


def slow_down(
    random: np.random.Generator, calls: Calls, fault: Fault, inside: np.ndarray, draw: np.ndarray, most: float = 60_000
) -> None:
    """What a fault of latency does to the calls that it meets; most: ms."""
    if fault.kind == "latency_tail":
        inside = inside & (draw < fault.strength.in_tail)
        grown = random.uniform(5, 15, inside.sum())
    else:
        grown = factor(fault, calls.at[inside])
    calls.ms[inside] = np.minimum(calls.ms[inside] * grown, most)


def refuse(random: np.random.Generator, calls: Some, fault: Fault, inside: np.ndarray, hit: np.ndarray) -> Some:
    """The calls with a consumer at its limit: these are answered 429, and twice as many more, which it sends on top."""
    more = calls.where(random.choice(np.flatnonzero(inside), len(hit) * 2))
    more.at = random.uniform(fault.start, fault.end, len(more))
    more.status, more.ms = np.full(len(more), 429), random.exponential(1, len(more))
    calls.status[hit], calls.ms[hit] = 429, random.exponential(1, len(hit))
    return calls.and_those(more)


def fail(random: np.random.Generator, calls: Calls, hit: np.ndarray, code: int) -> None:
    """Answers these calls a code: after 30 s, at once, or a little sooner than usual."""
    calls.status[hit] = code
    if code == 504:
        calls.ms[hit] = 30_000 + random.exponential(2, len(hit))
    elif code in (502, 503):
        calls.ms[hit] = random.exponential(4, len(hit))
    elif code < 500:
        calls.ms[hit] *= 0.6


def figures(
    fault: Fault, quiet: Calls, here: Calls, usual: Calls, since: float,
    z_of_mean: Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[float, float]], z_of_count: Callable[[np.ndarray, int], float],
) -> Figures:  # fmt: skip
    """The figures of a fault. here, usual: calls of its window with and without it, quiet: those without it of which the windows are compared.

    since: from when on, in seconds, what is slow counts. z_of_mean: of the quiet calls' moments and values and the values here: z, and the
    quiet values' mean. z_of_count: of the quiet calls' moments and the number of calls here.
    """
    if fault.kind in COUNTED:
        affected = abs(len(usual) - len(here))
        return Figures(z_of_count(quiet.at, len(here)), affected, float(len(usual)), float(len(here)), affected >= 25)
    if fault.code is not None:
        failed = here.status == fault.code
        affected = max(0, int(failed.sum() - (usual.status == fault.code).sum()))
        z, mean = z_of_mean(quiet.at, quiet.status == fault.code, failed)
        share = float(failed.mean()) if len(failed) else 0.0
        return Figures(z, affected, mean, share, affected >= 8 and share - mean >= 0.02)
    if fault.kind == "latency_tail":
        slow = np.quantile(quiet.ms, 0.97) if len(quiet) else 0
        affected = max(0, int((here.ms > slow).sum() - (usual.ms > slow).sum()))
        z, mean = z_of_mean(quiet.at, quiet.ms > slow, here.ms > slow)
        return Figures(z, affected, mean, float((here.ms > slow).mean()) if len(here) else 0.0, affected >= 25)
    late, before = here.ms[here.at >= since], usual.ms[usual.at >= since]
    z, _ = z_of_mean(quiet.at, np.log(quiet.ms + 0.5), np.log(late + 0.5))
    mean, during = (float(np.exp(np.log(ms + 0.5).mean())) if len(ms) else 0.0 for ms in (before, late))
    return Figures(z, len(here), mean, during, len(here) >= 25 and during >= 1.2 * mean)


def drifted(fault: Fault) -> float:
    """From when on, in seconds, a drift counts as slow: its last three tenths; others from their beginning on."""
    return fault.start + 0.7 * (fault.end - fault.start) if fault.kind == "latency_drift" else fault.start


def measure(fault: Fault, shown: dict[str, int], look: Callable[[Fault], Figures]) -> None:
    """Sets z, usual, during, affected, endpoints and grade: from the figures of all of a fault's endpoints, and of each of them.

    look: the figures of a fault at its endpoints. shown: least calls that show a grade, at the endpoints that show it best.
    """
    alone: dict[int, int] = {}
    best, clearest = 0, -np.inf
    for mine in [fault.endpoints, *([e] for e in fault.endpoints if len(fault.endpoints) > 1)]:
        one = replace(fault, endpoints=mine)
        if fault.kind == "traffic_spike":
            one.who = None  # what a chart of the endpoint shows
        seen = look(one)
        if seen.z > clearest:
            clearest, fault.usual, fault.during = seen.z, seen.usual, seen.during
        if len(mine) == 1:
            alone[mine[0]] = seen.affected
        if seen.enough:
            fault.z, best = max(fault.z, seen.z), max(best, seen.affected)
    fault.endpoints = [e for e, count in alone.items() if count >= 2]
    fault.affected = sum(alone.values())
    lower(fault, best, shown)


def lower(fault: Fault, seen: int, shown: dict[str, int]) -> None:
    """Lowers a fault's grade to what its z and so many calls show."""
    while fault.grade != "hard" and (fault.z < CLEAR[fault.grade] or seen < shown[fault.grade]):
        fault.grade = GRADES[GRADES.index(fault.grade) + 1]


def z_of_mean(fault: Fault, at: np.ndarray, values: np.ndarray, here: np.ndarray) -> tuple[float, float]:
    """How far the mean of the fault's values lies above that of windows as long without faults, in standard errors; and the mean of all of these.

    The error is that of a mean of so many values, and the spread of the means of the windows that have a quarter as many calls.
    """
    mean = float(values.mean()) if len(values) else 0.0
    if len(here) < 3 or len(at) < 30:
        return 0.0, mean
    length = min(max(fault.spans[0][1] - fault.spans[0][0], 600), 43_200)
    values, bucket = values.astype(float), (at // length).astype(int)
    count, total = np.bincount(bucket), np.bincount(bucket, weights=values)
    full = count >= max(4, len(here) / len(fault.spans) / 4)
    within, between = max(values.var(), 1e-4), 0.0
    if full.sum() >= 4:
        between = max(0.0, (total[full] / count[full]).var() - within * (1 / count[full]).mean())
    error = np.sqrt(within / len(here) + between / len(fault.spans) + 0.25 / len(here) ** 2)
    return float((here.mean() - mean) / error), mean


def effect(fault: Fault, world: Services) -> str:
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


def labels(
    faults: list[Fault], world: Services, gates: list[str], more: Callable[[Fault], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The faults in order of time as scoring.py wants them; gates: names of the gateway's nodes. more: what a world says besides."""
    return [
        label(
            number, fault, world.t0 + int(fault.start), world.t0 + int(fault.end), SIGNAL, fault.endpoints, fault.affected,
            detectable=bool(fault.z >= CLEAR["hard"] and fault.endpoints), node=None if fault.gate is None else gates[fault.gate], **more(fault),
        )
        for number, fault in enumerate(sorted(faults, key=lambda one: one.start))
    ]  # fmt: skip


def in_words(world: Services, consumers: list[str], fault: Fault) -> dict[str, Any]:
    """Whom a fault concerns, what users had of it, and the figures behind that."""
    return {
        "consumer": None if fault.who is None else consumers[fault.who],
        "figures": {"z": round(fault.z, 2), "usual": round(fault.usual, 5), "during": round(fault.during, 5)},
        "effect": effect(fault, world),
    }


def tried_again(
    random: np.random.Generator, world: Services, calls: Some, failed: np.ndarray, fault: Fault | None,
    share: float, jitter: tuple[float, float], gate: Callable[[np.ndarray], np.ndarray],
) -> Some:  # fmt: skip
    """What clients send after those calls failed: up to three more, which fail again while a fault lasts.

    share: of what failed that is tried again. jitter: of the pause between. gate: the node of the gateway that calls meet at these seconds.
    """
    hook = np.array([kind == "hooks" for kind in world.kind])
    parts, more = [calls.where(failed[:0])], calls.where(failed)
    for pause in (1.0, 2.0, 4.0):
        more = more.where(random.random(len(more)) < share)
        if not len(more):
            break
        wait = np.where(hook[more.endpoint], 60 * pause**2, pause * random.uniform(*jitter, len(more)))
        more.at = more.at + more.ms / 1000 + wait
        more.gate = gate(more.at)
        if fault is not None and fault.instance is not None:  # the next one round
            more.instance = more.instance // 10 * 10 + random.integers(0, 3, len(more))
        again = np.zeros(len(more), dtype=bool)
        if fault is not None:
            again = fault.inside(more.at) & fault.hits(more) & (random.random(len(more)) < fault.share)
        more.status = np.where(again, (fault.code if fault else None) or 0, 200)
        more.ms = np.where(more.status == 504, world.limit[more.endpoint], world.median[more.endpoint] * random.lognormal(0, 0.4, len(more)))  # fmt: skip
        parts.append(more)
        more = more.where(again)
    return parts[0].and_those(*parts[1:])
