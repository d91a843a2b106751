"""How well candidate tickets match the faults that were planted in a world.

A ticket belongs to a fault when it was raised from an hour before the fault until an hour (a drift: twelve) after it, has an
endpoint in common, and at least half of its endpoints are the fault's. What belongs to none is a false ticket, unless it belongs to
an event that the world calls ambiguous: no fault, but somebody on call may have liked to hear of it. Tickets of the warm-up are left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any

import numpy as np

HINTS = {"code": "status", "upstream": "upstream", "consumer": "consumer", "node": "node"}


@dataclass
class Score:
    """Sums over worlds; the ratios are methods."""

    endpoint_weeks: float = 0.0
    tickets: int = 0
    false: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    planted: Counter[tuple[str, str]] = field(default_factory=Counter)
    per_fault: list[int] = field(default_factory=list)
    delays_min: dict[str, list[float]] = field(default_factory=dict)
    right_signal: list[bool] = field(default_factory=list)
    right_hint: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in HINTS})
    hits: set[tuple[int, str]] = field(default_factory=set)  # world in order of add(), fault id
    worlds: int = 0
    rho: list[float] = field(default_factory=list)

    def recall(self, *, kind: str | None = None, grade: str | None = None) -> float:
        """Share of the detectable faults that have a ticket; nan without any."""
        keys = [key for key in self.planted if kind in (None, key[0]) and grade in (None, key[1])]
        total = sum(self.planted[key] for key in keys)
        return sum(self.found[key] for key in keys) / total if total else float("nan")

    def false_rate(self) -> float:
        """False tickets per endpoint-week."""
        return len(self.false) / self.endpoint_weeks

    def add(
        self,
        labels: dict[str, Any],
        catalog: dict[str, Any],
        tickets: list[dict[str, Any]],
        warmup_days: float = 4.0,
        until_day: float | None = None,
    ) -> None:
        """Count one world: the faults that begin, and the false tickets that are raised, after the warm-up and before a day (None:
        its end).

        tickets: rows of schema.CANDIDATES with times as datetimes.
        """
        number = {f"{one['method']} {one['path']}": one["id"] for one in catalog["endpoints"]}
        last_day = labels["minutes"] / 1440 if until_day is None else until_day
        begin, end = (labels["t0"] + day * 86_400 for day in (warmup_days, last_day))
        faults = [fault for fault in labels["faults"] if fault["detectable"] and begin <= fault["start"] < end]
        self.endpoint_weeks += len(number) * (last_day - warmup_days) / 7
        hits: dict[str, list[dict[str, Any]]] = {fault["id"]: [] for fault in labels["faults"]}
        for ticket in tickets:
            raised = _seconds(ticket["detected_at"])
            if raised < begin:
                continue
            endpoints = {number.get(name, -1) for name in ticket["endpoints"]}
            fits = []
            for fault in labels["faults"]:
                grace = 43_200 if fault["kind"] == "latency_drift" else 3_600
                if _belongs(ticket, endpoints, fault, grace):
                    same = ticket["signal"] == fault["signal"]
                    common = len(endpoints & set(fault["endpoints"]))
                    fits.append((same, common / len(endpoints | set(fault["endpoints"])), fault["id"]))
            text = f"day {(raised - labels['t0']) / 86_400:.2f} {ticket['signal']} {ticket['title']}"
            known = [
                event["what"] for event in labels.get("ambiguous", []) if _belongs(ticket, endpoints, event, 3_600)
            ]
            if fits:
                hits[max(fits)[2]].append(ticket)
            elif raised >= end:
                continue
            elif known:
                self.ambiguous.append(f"{text} [{known[0]}]")
            else:
                self.false.append(text)
            self.tickets += 1
        impact, score = [], []
        for fault in faults:
            key = (fault["kind"], fault["grade"])
            self.planted[key] += 1
            mine = sorted(hits[fault["id"]], key=lambda ticket: _seconds(ticket["detected_at"]))
            if not mine:
                self.missed.append(f"{fault['id']} {' '.join(key)} {fault['affected_calls']} calls")
                continue
            self.found[key] += 1
            self.hits.add((self.worlds, fault["id"]))
            self.per_fault.append(len(mine))
            delay = max(0.0, (_seconds(mine[0]["detected_at"]) - fault["start"]) / 60)
            self.delays_min.setdefault(fault["kind"], []).append(delay)
            best = max(mine, key=lambda ticket: ticket["signal"] == fault["signal"])
            self.right_signal.append(best["signal"] == fault["signal"])
            for name, hint in HINTS.items():
                if fault[name] is not None:
                    self.right_hint[name].append(best["hint"][hint] == str(fault[name]))
            impact.append(fault["affected_calls"])
            score.append(max(ticket["score"] for ticket in mine))
        self.worlds += 1
        if len(impact) > 3:
            self.rho.append(float(np.corrcoef(_ranks(impact), _ranks(score))[0, 1]))

    def table(self) -> str:
        """The figures in lines of text, then recall by kind and grade, then what was missed and what was false."""
        delays = [delay for mine in self.delays_min.values() for delay in mine]
        hints = ", ".join(f"{name} {sum(right)}/{len(right)}" for name, right in self.right_hint.items())
        lines = [
            f"recall {self.recall():.3f} ({sum(self.found.values())}/{sum(self.planted.values())}): "
            + ", ".join(f"{grade} {self.recall(grade=grade):.2f}" for grade in ("easy", "medium", "hard")),
            f"false tickets {len(self.false)} of {self.tickets}: {self.false_rate():.4f} per endpoint-week",
            f"tickets per fault {np.mean(self.per_fault) if self.per_fault else 0:.2f}, delay median "
            f"{median(delays) if delays else 0:.1f} min, signal right "
            f"{np.mean(self.right_signal) if self.right_signal else 0:.2f}, rho {np.mean(self.rho) if self.rho else 0:.2f}",
            f"hints right: {hints}",
        ]
        for kind in sorted({kind for kind, _ in self.planted}):
            cells = [
                f"{grade} {self.found[kind, grade]}/{self.planted[kind, grade]}"
                for grade in ("easy", "medium", "hard")
                if self.planted[kind, grade]
            ]
            mine = self.delays_min.get(kind)
            lines.append(f"  {kind:<22}{', '.join(cells):<38}" + (f"after {median(mine):.0f} min" if mine else ""))
        return "\n".join(
            [
                *lines,
                *(f"  missed {text}" for text in self.missed),
                *(f"  ambiguous {text}" for text in self.ambiguous),
                *(f"  false {text}" for text in self.false),
            ]
        )


def _belongs(ticket: dict[str, Any], endpoints: set[int], event: dict[str, Any], grace: int) -> bool:
    """Whether a ticket about these endpoints was raised about an event; grace: seconds after its end."""
    raised, common = _seconds(ticket["detected_at"]), len(endpoints & set(event["endpoints"]))
    in_time = event["start"] - 3_600 <= raised <= event["end"] + grace
    return in_time and _seconds(ticket["end"]) >= event["start"] and common > 0 and 2 * common >= len(endpoints)


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))
