"""What worlds of several authors have in common: calls as columns, when people and programs call, what wanders, what a label says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np


class Columns:
    """Base of a dataclass whose fields are arrays of one length, one entry per call."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def where(self, rows: np.ndarray | slice) -> Self:
        """A copy of the calls at these positions, or where a mask is true; of a slice the calls themselves."""
        if isinstance(rows, np.ndarray) and rows.dtype == bool:  # looked through once, not for each column
            rows = np.flatnonzero(rows)
        return type(self)(**{name: values[rows] for name, values in vars(self).items()})

    def copy(self) -> Self:
        return type(self)(**{name: values.copy() for name, values in vars(self).items()})

    def and_those(self, *more: Self) -> Self:
        """These calls, then those."""
        every = (self, *more)
        return type(self)(**{name: np.concatenate([getattr(one, name) for one in every]) for name in vars(self)})


@dataclass
class Spells:
    """Base of a fault: what it is, when it is there, in seconds since the world's beginning, and on which endpoints."""

    kind: str
    grade: str
    spans: list[tuple[float, float]]
    endpoints: list[int]

    @property
    def start(self) -> float:
        return self.spans[0][0]

    @property
    def end(self) -> float:
        return self.spans[-1][1]

    def inside(self, at: np.ndarray) -> np.ndarray:
        """Which moments it is there."""
        return np.logical_or.reduce([(at >= begin) & (at < end) for begin, end in self.spans])


@dataclass
class Hinted(Spells):
    """Base of a fault that somebody or something has a part in: what a hint about it should say; None: nothing."""

    code: int | None = None
    upstream: str | None = None
    consumer: str | None = None
    node: str | None = None


def within(events: list[dict[str, Any]], endpoints: list[int], at: np.ndarray) -> np.ndarray:
    """Which moments (seconds since the epoch) fall into an event of any of these endpoints."""
    inside = np.zeros(len(at), dtype=bool)
    for event in events:
        if set(endpoints) & set(event["endpoints"]):
            inside |= (at >= event["start"]) & (at < event["end"])
    return inside


def arrivals(random: np.random.Generator, rate: np.ndarray) -> np.ndarray:
    """Seconds of the arrivals of a Poisson process with a rate per minute."""
    counts = random.poisson(rate)
    return (np.repeat(np.arange(len(rate)), counts) + random.random(counts.sum())) * 60


def ticks(random: np.random.Generator, period: float, jitter: float, end: float) -> np.ndarray:
    """Seconds at which a program calls; jitter: a share of the period."""
    moments = np.arange(random.uniform(0, period), end, period)
    return moments + random.normal(0, jitter * period, len(moments))


def peak(hour: np.ndarray, at: float, width: float) -> np.ndarray:
    """A bell over the hours of the day, 1 at one of them; width: its standard deviation, in hours."""
    away = np.minimum(np.abs(hour - at), 24 - np.abs(hour - at))
    return np.exp(-((away / width) ** 2) / 2)


def wave(minute: np.ndarray, begin: float, end: float, rise: float, fall: float) -> np.ndarray:
    """0, up to 1 within some minutes from the beginning on, down to 0 within some before the end."""
    return np.clip((minute - begin) / rise, 0, 1) * np.clip((end - minute) / fall, 0, 1)


def ornstein(random: np.random.Generator, minutes: int, memory: float, spread: float, every: int = 5) -> np.ndarray:
    """Noise around 0 per minute that forgets within `memory` minutes; spread is its standard deviation.

    Drawn once in so many minutes, joined by lines.
    """
    keep = np.exp(-every / memory)
    shocks = random.normal(0, spread * np.sqrt(1 - keep**2), minutes // every + 2)
    path = np.empty(len(shocks))
    value = random.normal(0, spread)
    for i, shock in enumerate(shocks):
        path[i] = value = keep * value + shock
    return np.interp(np.arange(minutes), np.arange(len(path)) * every, path)


def label(
    number: int,
    fault: Any,
    start: float,
    end: float,
    signals: dict[str, str],
    endpoints: list[int],
    affected_calls: int,
    **more: object,
) -> dict[str, Any]:
    """A fault as scoring.py wants it.

    fault: has kind, grade, code, upstream, consumer and node. start, end: seconds since the epoch. signals: of the kinds that are no errors.
    more: detectable; and what a world says in its own way.
    """
    return {
        "id": f"F{number:03d}",
        "kind": fault.kind,
        "grade": fault.grade,
        "start": int(start),
        "end": int(end),
        "signal": signals.get(fault.kind, "errors"),
        "endpoints": endpoints,
        "affected_calls": affected_calls,
        **{name: getattr(fault, name) for name in ("code", "upstream", "consumer", "node")},
        **more,
    }
