"""Is the log itself true? Instances that stop writing while others go on, silence of all, clocks that disagree.

Told apart from what the calls say: a hole in the log is no drop of traffic, and a clock that is ahead is no latency.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Bools, Floats, Ints, around_max, back, window_sum
from apilens.detect.breakdowns import Breakdown

#: A gap is at least so many bins long, and so many calls must be missing: a Poisson process is that silent once in 1e13.
LEAST_BINS, LEAST_CALLS = 3, 30.0
#: An instance that was not at work in nine of ten bins of the day before comes and goes by itself; so does a log that was not.
ALWAYS_THERE = 0.9
#: Of the calls that an instance should have written so many must be missing in the sum of all: else others took them over, and the
#: log is whole.
NOT_TAKEN_OVER = 0.6
#: Without two days of past a silence is told only once it is over, and so long at most.
LONGEST_WITHOUT_PAST = 3 * HOUR
#: After a day of silence an instance is gone, and nobody waits for its log.
LONGEST = DAY
#: Standard deviations of the sum of all; its own unrest is 5 %, or what it was on the two days before where that is less (1 % at least):
#: four times 5 % is all that one of five instances writes. Looked at for so long a silence at most, once a quarter of an hour.
SURE, UNREST, LEAST_UNREST = 4.0, 0.05, 0.01
UNREST_DAYS, UNREST_LONGEST, UNREST_EVERY = 2, 2 * HOUR, 3
#: A call may be stamped so long after it was read: clocks differ by seconds, and an end may be stamped rounded up.
AHEAD = timedelta(minutes=5)
#: Hours between two blocks in which clocks disagree that are still one problem.
TOGETHER = timedelta(days=7)


_NO_EVIDENCE = {**dict.fromkeys(field.name for field in schema.EVIDENCE.fields), "kind": "log", "unit": "calls"}


@dataclass(frozen=True)
class _Gap:
    nodes: tuple[str, ...]  # (): everything
    start: int
    opened: int
    end: int  # first bin with a call again, or the end of what is known
    missing: float
    expected: float  # calls per bin
    over: bool
    named: tuple[str, ...] = ()  # those of the nodes that were known when it opened


def find_gaps(instances: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Candidates (schema.CANDIDATES) of signal log_gap. instances: measure.facts.INSTANCES, any order; now: bins that end later are
    not looked at, and what is silent until then is a gap that goes on."""
    bin_ = pl.col("bin_start").dt.epoch("s") // schema.BIN_S
    end_bin = int(now.timestamp()) // schema.BIN_S
    rows = instances.with_columns(bin=bin_, name=pl.coalesce(pl.col("node").replace("", None), "gateway")).filter(
        pl.col("bin") < end_bin
    )
    found = []
    for (environment,), part in rows.group_by("environment", maintain_order=True):
        names = part["name"].unique().sort()
        first = int(part.select(pl.col("bin").min()).item())
        calls = np.zeros((names.len(), end_bin - first))
        np.add.at(
            calls,
            (names.search_sorted(part["name"]).to_numpy(), part["bin"].to_numpy() - first),
            part["calls"].to_numpy(),
        )
        gaps = _gaps(calls, names.to_list())
        found += [_gap_candidate(gap, str(environment), first, end_bin) for gap in gaps]
    return pl.DataFrame(found, schema=schema.CANDIDATES).sort("detected_at", "id")


def _gaps(calls: Floats, names: list[str]) -> list[_Gap]:
    total = calls.sum(axis=0)
    lowest, around = _past(_lowest(total)), _past(_around(total))
    found = []
    for start, end in _zeros(total):
        gap = _silence(total, lowest, around, start, end)
        if gap is not None:
            found.append(gap)
    new = _new(calls)
    alone = [
        gap
        for row, name in enumerate(names if len(names) > 1 else [])
        for start, end in _zeros(calls[row])
        if not new[max(0, start - HOUR) : start + LEAST_BINS].any()
        and (gap := _instance_gap(name, calls[row], total, around, start, end)) is not None
    ]
    # Several that fell silent at one moment have one cause. What is known first names it and says since when; what joins it, or comes back
    # before the others, does not change that.
    for gap in sorted(alone, key=lambda one: (one.opened, one.start, one.nodes)):
        same = next((n for n, one in enumerate(found) if one.nodes and abs(gap.start - one.start) <= 1), None)
        if same is None:
            found.append(gap)
        else:
            one = found[same]
            found[same] = replace(
                one,
                nodes=(*one.nodes, *gap.nodes),
                named=(*one.named, *gap.nodes) if gap.opened == one.opened else one.named,
                end=max(one.end, gap.end),
                missing=one.missing + gap.missing,
                expected=one.expected + gap.expected,
                over=one.over and gap.over,
            )
    return found


def _zeros(calls: Floats) -> list[tuple[int, int]]:
    """First and one past the last bin of each silence of at least LEAST_BINS that begins after a call."""
    silent = np.r_[False, calls == 0, False]
    edges = np.flatnonzero(np.diff(silent.astype(np.int8)))
    spans = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, end) for start, end in spans if start > 0 and end - start >= LEAST_BINS]


def _new(calls: Floats) -> Bools:
    """Bins in which an instance begins to write that did not on the day before: it takes the place of one that ends, as in a rollout."""
    there = calls > 0
    day_before = window_sum(there.astype(np.float64), DAY + 1) - there > 0
    new: Bools = np.any(there & ~day_before, axis=0)
    return new


def _past(per_bin: Floats) -> Floats:
    """(7, bins) the same time on the seven days before; NaN where there was no log yet."""
    return np.stack([back(per_bin, day * DAY, np.nan) for day in range(1, WEEK_DAYS + 1)])


def _around(total: Floats) -> Floats:
    """Mean of the hour around each bin; NaN where it is not over."""
    around = np.full_like(total, np.nan)
    half = HOUR // 2
    over = (window_sum(total, HOUR + 1) / (HOUR + 1))[half:]  # none in a log of half an hour or less
    around[: len(over)] = over
    return around


def _lowest(total: Floats) -> Floats:
    """The lowest quarter of an hour within some 40 minutes of each bin: who closes at seven may close at half past six."""
    return -around_max(-window_sum(total, LEAST_BINS) / LEAST_BINS, 7)


def _silence(total: Floats, lowest: Floats, around: Floats, start: int, end: int) -> _Gap | None:
    before = float(total[max(0, start - HOUR) : start].mean())
    known = (~np.isnan(lowest[:, start:end])).sum(axis=0) >= 2
    if known.all():
        then, usual = (np.nanmedian(past[:, start:end], axis=0) for past in (lowest, around))
        missing = np.cumsum(np.minimum(then, before))
        enough = np.flatnonzero((missing >= LEAST_CALLS) & (np.arange(len(missing)) >= LEAST_BINS - 1))
        if len(enough) == 0:
            return None
        calls = float(np.minimum(usual, 2 * before).sum())
        return _Gap((), start, start + int(enough[0]), end, calls, calls / len(missing), end < len(total))
    after = total[end : end + LEAST_BINS]
    lately = total[max(0, start - DAY // 4) : start]
    # A sample, or what is shipped once an hour, is silent by habit.
    if len(lately) < HOUR or (lately > 0).mean() < ALWAYS_THERE:
        return None
    if len(after) < LEAST_BINS or end - start > LONGEST_WITHOUT_PAST:
        return None
    # It broke off and came back at full height: a night does neither.
    low, high = sorted((float(total[max(0, start - LEAST_BINS) : start].mean()), float(after.mean())))
    steady = low >= 0.5 * before and high <= 3 * low
    missing_calls = min(low, before) * (end - start)
    if not steady or missing_calls < LEAST_CALLS:
        return None
    return _Gap((), start, end + LEAST_BINS - 1, end, missing_calls, missing_calls / (end - start), True)


def _instance_gap(name: str, mine: Floats, total: Floats, past: Floats, start: int, end: int) -> _Gap | None:
    day = slice(max(0, start - DAY), start)
    logged = total[day] > 0
    if start < DAY // 4 or logged.sum() < DAY // 4 or (mine[day][logged] > 0).mean() < ALWAYS_THERE:
        return None
    share = float(mine[day].sum() / total[day].sum())
    last = min(end, start + LONGEST)
    every = np.cumsum(_forecast(total, past, np.array([start]), last - start)[0])
    missing = every - np.cumsum(total[start:last])
    own = share * every
    others = np.cumsum(total[start:last] > 0) >= 0.8 * np.arange(1, last - start + 1)
    lost = (own >= LEAST_CALLS) & (missing >= NOT_TAKEN_OVER * own) & others
    lost &= np.arange(last - start) >= LEAST_BINS - 1

    def sure(unrest: float) -> Bools:
        return lost & (missing >= SURE * np.sqrt(every * (1 + unrest**2 * every)))

    opens = sure(UNREST)
    for at in np.flatnonzero(sure(LEAST_UNREST)[:UNREST_LONGEST] & ~opens[:UNREST_LONGEST]).tolist():
        opens[at] = sure(_unrest(total, past, start, at + 1))[at]
    if not opens.any():
        return None
    over = end < len(total) or last < end
    opened = start + int(opens.argmax())
    return _Gap((name,), start, opened, last, float(own[-1]), float(own[-1]) / (last - start), over, named=(name,))


def _forecast(total: Floats, past: Floats, starts: Ints, width: int) -> Floats:
    """(starts, width) calls that the hour before each start lets expect, if they grow from it as on the days before. past: means of the
    hour around each bin."""
    hour = np.maximum(starts - 1 - HOUR // 2, 0)
    before = np.array([total[max(0, start - HOUR) : start].mean() for start in starts])
    growth = past[:, starts[:, None] + np.arange(width)] / np.maximum(past[:, hour, None], 1e-9)
    known = (~np.isnan(growth)).sum(axis=0) >= 2
    return before[:, None] * np.where(known, np.nanmedian(np.where(known, growth, 1.0), axis=0), 1.0)


def _unrest(total: Floats, past: Floats, start: int, width: int) -> float:
    """By how much of itself the sum of all fell below its forecast for so many bins, on the two days before a silence: as a standard
    deviation, of that side. At most UNREST, which holds where these days, or what to forecast them from, are not known."""
    starts = np.arange(start - width, max(start - UNREST_DAYS * DAY, UNREST_DAYS * DAY), -UNREST_EVERY)
    if len(starts) < DAY // UNREST_EVERY:
        return UNREST
    expected = _forecast(total, past, starts, width).sum(axis=1)
    seen = total[starts[:, None] + np.arange(width)].sum(axis=1)
    below = np.minimum(seen / np.maximum(expected, 1.0) - 1, 0.0)
    return float(np.clip(math.sqrt(2 * float(np.mean(below**2))), LEAST_UNREST, UNREST))


def _gap_candidate(gap: _Gap, environment: str, first: int, end_bin: int) -> dict[str, Any]:
    start, end, detected_at = (_time(first + bin_) for bin_ in (gap.start, gap.end, gap.opened + 1))
    named = ", ".join(gap.nodes[:5]) + (f" and {len(gap.nodes) - 5} more" if len(gap.nodes) > 5 else "")
    who = f"gateway{'s' if len(gap.nodes) > 1 else ''} {named}" if gap.nodes else "every gateway"
    others = "while others went on" if gap.nodes else "as a whole"
    still = "" if gap.over else " so far"
    return {
        **_common("log_gap", environment, "|".join(gap.named), start, end, detected_at),
        "state": "ended" if gap.over else "open",
        "severity": "medium",
        "hint": {
            "status": None,
            "upstream": None,
            "consumer": None,
            "node": gap.nodes[0] if len(gap.nodes) == 1 else None,
        },
        "evidence": [
            {
                **_NO_EVIDENCE,
                "name": "silent",
                "value": node,
                "before": 12 * gap.expected / len(gap.nodes),
                "during": 0.0,
            }
            for node in gap.nodes
        ],
        "excess_calls": gap.missing,
        "observed": 0.0,
        "expected": gap.expected,
        "unit": "calls",
        "title": f"Gap in the log: nothing from {who} for {_lasting(end - start)}{still}",
        "explanation": (
            f"From {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC nothing was logged by {who}, {others}; about"
            f" {gap.missing:,.0f} calls are missing. Figures of this time are too low, and nothing can be said about errors in it: look"
            " for the file, the shipper or the disk, then ingest what is found. If the gateway itself was down, its callers know."
            f" A scan at {detected_at:%Y-%m-%d %H:%M} UTC would have raised it."
        ),
    }


def find_skew(skew: pl.DataFrame, *, block: timedelta, now: datetime) -> pl.DataFrame:
    """Candidates of signal clock_skew: pairs of instances whose clocks disagree. skew: measure.facts.SKEW; block: its width."""
    found = []
    pairs = skew.with_columns(
        a=pl.min_horizontal("outer_node", "inner_node"), b=pl.max_horizontal("outer_node", "inner_node")
    ).sort("block", "environment", "a", "b")
    for (environment, a, b), part in pairs.group_by("environment", "a", "b", maintain_order=True):
        for run in _runs(part, block):
            off = pl.when(pl.col("inner_node") == pl.col("b")).then("offset_s").otherwise(-pl.col("offset_s"))
            seconds = float(run.select((off * pl.col("pairs")).sum() / pl.col("pairs").sum()).item())
            start, last = run["block"][0], run["block"][-1] + block
            detected_at = start + block + _SETTLED
            ahead, behind = (b, a) if seconds > 0 else (a, b)
            found.append(
                {
                    **_common("clock_skew", str(environment), f"{a}|{b}", start, last, detected_at),
                    "state": "open" if now - last < timedelta(days=1) else "ended",
                    "severity": "medium" if abs(seconds) >= 60 else "low",
                    "hint": dict.fromkeys(("status", "upstream", "consumer", "node")),
                    "excess_calls": 0.0,
                    "observed": abs(seconds),
                    "expected": 0.0,
                    "unit": "s",
                    "n": int(run["pairs"].sum()),
                    "title": f"Clock skew: {ahead} is {_seconds(abs(seconds))} ahead of {behind}",
                    "explanation": (
                        f"From {start:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC both {a} and {b} logged {int(run['pairs'].sum()):,} calls under"
                        f" one request id or trace id; by {ahead}'s clock they were {_seconds(abs(seconds))} later than they can have been by"
                        f" {behind}'s. Their order, and what happened around a moment, cannot be told from these logs: look at the time"
                        " service (NTP) of both, and at the zone of their logs where it is whole hours."
                    ),
                }
            )
    return pl.DataFrame(found, schema=schema.CANDIDATES).sort("detected_at", "id")


#: A block's facts are known half an hour after its end (measure.signals.REACH).
_SETTLED = timedelta(minutes=30)


def _runs(part: pl.DataFrame, block: timedelta) -> list[pl.DataFrame]:
    new = (pl.col("block").diff() > TOGETHER + block).fill_null(True).cum_sum()
    return part.with_columns(run=new).partition_by("run", maintain_order=True)


def ahead_units(ledger: pl.DataFrame) -> pl.DataFrame:
    """The units of a ledger (schema.INGESTS) whose last call is stamped later than they were read."""
    return ledger.filter(pl.col("last_start_time") - pl.col("ingested_at") > AHEAD)


def find_ahead(units: pl.DataFrame, rollups: pl.DataFrame, stored: int, *, now: datetime) -> pl.DataFrame:
    """Candidates of signal clock_skew: inputs whose calls are stamped later than they were read.

    units: as ahead_units makes them; rollups: schema.ROLLUPS of these from when they were read; stored: calls in all. Not where
    most of the calls are so: then it is this machine's clock, or a log that was made up.
    """
    late = (
        rollups.join(units.select("unit_id", "ingested_at"), on="unit_id")
        .filter(pl.col("last_seen") - pl.col("ingested_at") > AHEAD)
        .group_by("unit_id")
        .agg(pl.col("calls").sum())
    )
    future = units.join(late, on="unit_id").with_columns(late=pl.col("last_start_time") - pl.col("ingested_at"))
    if int(future["calls"].sum()) > stored / 2:
        future = future.clear()
    found = []
    for (environment, source), part in future.sort("ingested_at", "input").group_by(
        "environment", "source", maintain_order=True
    ):
        first, most = part["ingested_at"].min(), part["late"].max()
        assert isinstance(first, datetime)
        assert isinstance(most, timedelta)
        at = first - timedelta(seconds=first.timestamp() % schema.BIN_S)
        what = str(source) or str(part["input"][0])
        names = sorted(set(part["input"]))[:5]
        found.append(
            {
                **_common(
                    "clock_skew", str(environment), f"future={what}", at, at + timedelta(seconds=schema.BIN_S), first
                ),
                "state": "open" if now - first < timedelta(days=1) else "ended",
                "severity": "low",
                "hint": dict.fromkeys(("status", "upstream", "consumer", "node")),
                "excess_calls": 0.0,
                "observed": most.total_seconds(),
                "expected": 0.0,
                "unit": "s",
                "n": int(part["calls"].sum()),
                "title": f"Clock ahead: calls of {what[:100]} are stamped up to {_seconds(most.total_seconds())} after they were read",
                "explanation": (
                    f"{', '.join(names)}: read at {first:%Y-%m-%d %H:%M} UTC, and the last call claims to be {_seconds(most.total_seconds())}"
                    " later. The clock of the gateway is ahead, or its times are in a zone that the log does not name (--tz). Such calls are"
                    " left out of what a scan looks at until their time has come."
                ),
            }
        )
    return pl.DataFrame(found, schema=schema.CANDIDATES).sort("detected_at", "id")


def not_in_gaps(found: pl.DataFrame, gaps: pl.DataFrame, breakdown: Breakdown) -> pl.DataFrame:
    """Candidates without the traffic drops that are a hole in the log: they began in the gap of an instance which wrote most of the
    endpoint's calls in the day before, or of everything.

    breakdown: as detect.find_candidates takes it.
    """
    drops = found.filter((pl.col("signal") == "traffic") & (pl.col("observed") < pl.col("expected")))
    gone = []
    for drop in drops.to_dicts():
        for gap in gaps.filter(pl.col("environment") == drop["environment"]).to_dicts():
            margin = timedelta(minutes=15)
            inside = (
                gap["start"] - margin <= drop["start"] <= gap["end"]
                and gap["detected_at"] <= drop["detected_at"] + margin
            )
            if inside and _wrote_most(drop, gap, breakdown):
                gone.append(drop["id"])
    return found.filter(~pl.col("id").is_in(gone))


def _wrote_most(drop: dict[str, Any], gap: dict[str, Any], breakdown: Breakdown) -> bool:
    silent = [one["value"] for one in gap["evidence"]]
    if not silent:
        return True
    method, _, route = drop["endpoints"][0].partition(" ")
    window = pl.DataFrame(
        [
            {
                "window_id": 0,
                "environment": drop["environment"],
                "service": drop["service"],
                "method": None if method == "-" else method,
                "route": None if route == "-" else route,
                "start": gap["start"] - timedelta(days=1),
                "end": gap["start"],
            }
        ],
        schema=schema.BREAKDOWN_WINDOWS,
    )
    calls = breakdown(window)
    return int(calls.filter(pl.col("node").is_in(silent))["calls"].sum()) >= 0.6 * max(int(calls["calls"].sum()), 1)


def fingerprint(environment: str, signal: str, key: str) -> str:
    """The fingerprint of a candidate about the log itself; key: what it is about, of a clock_skew the two instances as `a|b`."""
    return hashlib.sha256("\x1f".join((environment, signal, key)).encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _common(
    signal: str, environment: str, key: str, start: datetime, end: datetime, detected_at: datetime
) -> dict[str, Any]:
    mark = fingerprint(environment, signal, key)
    return {
        "id": f"{mark}-{start:%Y%m%dT%H%MZ}",
        "fingerprint": mark,
        "detected_at": detected_at,
        "start": start,
        "end": end,
        "environment": environment,
        "endpoints": [],
        "signal": signal,
        "category": "configuration",
        "affected_consumers": [],
        "consumers_hit": None,
        "score": 0.0,
        "n": 0,
        "request_ids": [],
        "evidence": [],
    }


def _time(bin_: int) -> datetime:
    return datetime.fromtimestamp(bin_ * schema.BIN_S, UTC)


def _lasting(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 180 else f"{minutes / 60:.3g} h"


def _seconds(seconds: float) -> str:
    return (
        f"{seconds:,.3g} s"
        if seconds < 120
        else f"{seconds / 60:,.3g} min"
        if seconds < 5_400
        else f"{seconds / 3600:,.3g} h"
        if seconds < 172_800
        else f"{seconds / 86_400:,.0f} days"
    )
