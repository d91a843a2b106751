"""Anomalies → runs: one uninterrupted anomaly of one endpoint, signal and status code, and who carries it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from scipy.special import bdtrc

from apilens.detect.bins import DAY, HOUR, MINUTES, Ints

#: An anomaly goes on while its abnormal windows are not further apart than this (DETECTION: 45-90 quiet minutes).
QUIET = HOUR
#: A strong anomaly that begins this long after the last strong one is a new occurrence, even if weak ones lie between.
NEW_OCCURRENCE = HOUR
#: DETECTION: the hint is the value with more than 85 % of the excess and less than 70 % of the traffic.
HINT_EXCESS, HINT_TRAFFIC = 0.85, 0.70
HINT_P = 0.01
DIMENSIONS = ("consumer", "node", "upstream", "address")


@dataclass(slots=True)
class Profile:
    """Calls and excess per value of each dimension, summed over the runs of an incident."""

    calls: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    excess: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    sizes: float = 0.0  # spread of one call's share in the excess: 1 for counts, for latency that of a log duration

    def plus(self, other: Profile) -> Profile:
        """The profile of both together."""
        merged = Profile(sizes=max(self.sizes, other.sizes))
        for source in (self, other):
            for name in DIMENSIONS:
                for value, calls in source.calls[name].items():
                    merged.calls[name][value] = merged.calls[name].get(value, 0.0) + calls
                    merged.excess[name][value] = merged.excess[name].get(value, 0.0) + source.excess[name][value]
        return merged

    def top(self, dimension: str) -> tuple[str | None, float, float]:
        """The value with most of the excess, its share of the excess and its share of the calls."""
        excess = {value: max(part, 0.0) for value, part in self.excess[dimension].items()}
        total, calls = sum(excess.values()), sum(self.calls[dimension].values())
        if total <= 0:
            return None, 0.0, 0.0
        value = max(excess, key=lambda name: (excess[name], name))
        # A surge at a time that had no calls the day before is somebody's as well.
        return value, excess[value] / total, self.calls[dimension][value] / calls if calls > 0 else 0.0

    def shares(self, dimension: str) -> dict[str, float]:
        """The values that have a part of the excess, and their shares of it."""
        excess = {value: part for value, part in self.excess[dimension].items() if part > 0}
        total = sum(excess.values())
        return {value: part / total for value, part in excess.items()}

    def carrier(self, dimension: str) -> str | None:
        """The one value that carries the excess beyond chance, or None.

        One-sided binomial tail of its share against its share of the traffic, corrected for the number of values
        looked at.
        """
        value, share, traffic = self.top(dimension)
        if value is None or value == "" or share < HINT_EXCESS or traffic > HINT_TRAFFIC:
            return None
        total = sum(max(part, 0.0) for part in self.excess[dimension].values()) / self.sizes
        hits = math.floor(share * total)
        chance = float(bdtrc(hits - 1, max(math.ceil(total), hits), traffic)) if hits > 0 else 1.0
        return value if chance * len(self.calls[dimension]) < HINT_P else None


@dataclass(slots=True)
class Run:
    """One uninterrupted anomaly of one endpoint, signal and status code."""

    endpoint: int
    signal: str
    status: int | None
    direction: int
    start: int  # bin
    known: int  # minute (of bin 0 on) at whose end a scheduled scan raised it; these, too, are counted from 1
    bins: Ints  # abnormal bins, ascending
    early: dict[int, int]  # bins known as abnormal before they were over, and since which minute
    strong: Ints  # minutes since which it was known of windows that they open by themselves
    proofs: list[tuple[int, float, float]]  # of these: first bin, calls that speak for it, expected ratio
    at_open: dict[str, float | str]
    at_peak: dict[str, float | str]
    expected: float  # mean over its abnormal windows, in the unit of at_open
    profile: Profile = field(default_factory=Profile)
    recent: Profile = field(default_factory=Profile)  # of the last hour before it was raised
    node: str | None = None  # that carries what failed alike on other endpoints as well (nodes.py)
    watched: bool = False  # followed until it recovered (lasting.py)
    recovered: int | None = None  # bin at whose end that was known; None: not yet
    alone: bool = False  # others behind its upstream are well (alone.py)
    well: int = -1  # bin before `start` from which on its calls would have shown it (alone.py); -1: not known
    turned: int | None = None  # bin in which calls turned (begins.py); None: not asked
    came: int | None = None  # a late job: bin by which most of it had come; None: it is none, or has not

    @property
    def series(self) -> tuple[int, str, int | None, int]:
        """What is watched: the same for a run and its later repetition."""
        return self.endpoint, self.signal, self.status, self.direction

    @property
    def opened(self) -> int:
        """The bin in which it was raised."""
        return (self.known - 1) // MINUTES

    @property
    def begin(self) -> int:
        """The bin in which it began, as far as was known when it was raised."""
        return self.start if self.turned is None else self.turned

    @property
    def lasts_a_day(self) -> bool:
        """Whether it is slowness that only windows of a day told (latency.py: drifts)."""
        return self.signal == "latency" and self.opened - self.start >= DAY - 1

    def last(self, upto: int) -> int:
        """Last abnormal bin known at the end of minute `upto`; a watched run goes on until its recovery is known."""
        bin_ = (upto - 1) // MINUTES
        if self.watched and bin_ > self.opened and (self.recovered is None or upto < (self.recovered + 1) * MINUTES):
            return bin_
        if self.early.get(bin_, upto + 1) <= upto:
            return bin_
        at = int(np.searchsorted(self.bins, upto // MINUTES))
        return int(self.bins[at - 1]) if at else self.start

    def last_strong(self, upto: int) -> int:
        """As last(), without the weak windows that keep a latency or traffic run alive: weeks of a slightly higher
        level must not swallow the next step."""
        if self.status is not None:
            return self.last(upto)
        at = int(np.searchsorted(self.strong, upto, side="right"))
        return (int(self.strong[at - 1]) - 1) // MINUTES if at else self.start


def runs_of(found: pl.DataFrame) -> list[Run]:
    """Runs from anomalies.ANOMALIES, in the order in which they were raised."""
    series = ["endpoint", "signal", "status_code", "direction"]
    span = pl.col("bin") - pl.col("start_bin") + 1
    known = pl.col("bin") * MINUTES + pl.col("minutes").fill_null(MINUTES)
    rows = (
        found.with_columns(known=known)
        .sort(*series, "known", nulls_last=True, maintain_order=True)
        .with_columns(new=(pl.col("start_bin") > pl.col("bin").shift(1).over(series) + QUIET).fill_null(True))
    )
    rows = (
        rows.with_columns(run=(pl.col("new") | _again(rows)).cum_sum())
        .filter(pl.col("opens").any().over("run"))
        # A burst of minutes echoes in the windows of a day long after it ended: only windows of its own size prolong it.
        .with_columns(lasts=span <= pl.max_horizontal(2 * span.filter("opens").first().over("run"), HOUR))
    )
    result = []
    measures = ["detector", "observed", "expected", "unit", "n", "excess", "log10_p"]
    for part in rows.partition_by("run", maintain_order=True):
        opening = part.filter("opens").row(0, named=True)
        peak = part.filter(pl.col("excess") == pl.col("excess").max()).row(0, named=True)
        lasting = part.filter(pl.col("lasts") & (pl.col("bin") >= opening["start_bin"]))
        early = lasting.filter(pl.col("minutes").is_not_null())
        result.append(
            Run(
                endpoint=opening["endpoint"],
                signal=opening["signal"],
                status=opening["status_code"],
                direction=opening["direction"],
                start=opening["start_bin"],
                known=opening["known"],
                bins=np.unique(lasting["bin"].to_numpy()),
                early=dict(early.select("bin", "known").iter_rows()),
                strong=lasting.filter("opens")["known"].to_numpy(),
                proofs=lasting.filter("opens").select("start_bin", pl.col("observed") * pl.col("n"), "expected").rows(),
                at_open={name: opening[name] for name in measures},
                at_peak={name: peak[name] for name in measures},
                expected=float(np.mean(lasting["expected"].to_numpy())),
            )
        )
    return sorted(result, key=when_raised)


def _again(rows: pl.DataFrame) -> pl.Series:
    """Which rows are a new occurrence on top of what goes on: they open, and begin NEW_OCCURRENCE after the last window that opened
    and was not longer than those of its own occurrence may be.

    rows: ANOMALIES in the order of their series, and `new`: where a row has nothing to do with the one before. A new occurrence may
    be a slower one: its own first window says how long its windows are.
    """
    opening = rows.with_columns(at=pl.int_range(pl.len()), chain=pl.col("new").cum_sum()).filter("opens")
    again = np.zeros(rows.height, dtype=np.bool_)
    known, longest, strong = 0, 0, 0
    for begin, end, at, chain in opening.select("start_bin", "bin", "at", "chain").iter_rows():
        span = end - begin + 1
        again[at] = chain == known and begin > strong + NEW_OCCURRENCE
        if chain != known or again[at]:
            known, longest = chain, max(2 * span, HOUR)
        if span <= longest:
            strong = end
    return pl.Series(again)


def when_raised(run: Run) -> tuple[int, int, float, int, str]:
    """The order in which a scheduled scan meets runs."""
    rank = ("errors", "auth", "rate_limit", "latency", "traffic").index(run.signal)
    return run.known, rank, float(run.at_open["log10_p"]), run.endpoint, str(run.status)


def reopened(runs: list[Run], opened: dict[int, int | None]) -> list[Run]:
    """The runs in the order in which they are raised, those in `opened` (by id) in the minute given there; None: never."""
    kept = []
    for run in runs:
        known = opened.get(id(run), run.known)
        if known is not None:
            kept.append(run if known == run.known else replace(run, known=known))
    return sorted(kept, key=when_raised)
