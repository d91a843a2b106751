"""System metrics → candidates, and what moved while something else went wrong.

A series is abnormal where it stays above its limit, or far above what it had at this time of day and ever in the week before. As
with the calls only the past counts: samples cut at T give the same candidates with detected_at <= T.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from apilens import schema
from apilens.detect.bins import DAY, HOUR, WEEK_DAYS, Bools, Floats, back, window_max, window_sum
from apilens.metrics.naming import UNITS, Rule

#: Share in use from which a resource is short, where nothing else is said. Ours, on the side of silence: 80 % of a CPU is no problem.
LIMITS = {"cpu": 0.9, "memory": 0.92, "disk": 0.9, "database": 0.9, "network": 0.9}
_FREE = r"(?i)free|avail|idle|headroom"
_NO_USE = r"(?i)hit|success|(^|_)up(_|$)|error"
#: Five-minute bins: a value holds for so long where samples are further apart, and so long must be quiet before a run has ended.
HOLDS = 6
QUIET = HOUR // 2
#: Of the robust spread of the days before; far beyond what 300,000 looks at a quiet series bring (tests/test_metrics.py).
OPEN_SPREADS, HOLD_SPREADS = 6.0, 3.0
#: And of the value expected: a CPU at 4 % instead of 2 % is no news.
OPEN_SHARE, HOLD_SHARE = 0.25, 0.15
#: Points of a ratio below which no change counts.
LEAST_POINTS = 0.05
#: Bins beyond a limit before it is raised; what is only unusual has to last an hour: a cause without a symptom can wait, and where
#: there is a symptom the calls show it sooner.
SUSTAINED, PATIENCE = 3, HOUR
SAME_MOMENT = 3
#: Series evaluated at once: 64 × seven days of comparison × 63 days × 8 bytes is 65 MB.
CHUNK = 64
#: Metrics named in one candidate's evidence.
MOST_NAMED = 5


@dataclass(frozen=True)
class Series:
    """names: one row per series (schema.METRIC_SERIES, kind, unit, counter, above, below, bins), row i of values (series, bins):
    five-minute means, NaN: not measured. Of a counter the increase per second. first_bin: epoch seconds / BIN_S of bin 0."""

    names: pl.DataFrame
    values: Floats
    first_bin: int


@dataclass
class _Run:
    series: int
    start: int
    opened: int
    bins: Bools  # abnormal, from bin 0 on
    limited: bool  # raised by its limit, not by its past
    expected: float

    def last(self, upto: int) -> int:
        """Last abnormal bin known at the end of bin `upto`."""
        return int(np.flatnonzero(self.bins[: upto + 1])[-1])


def series_of(samples: pl.DataFrame, rules: tuple[Rule, ...], *, now: datetime) -> Series:
    """Five-minute series of samples (schema.METRICS) before `now`; rules say limits, the first with one counts."""
    keys = list(schema.METRIC_SERIES)
    bin_ = pl.col("timestamp").dt.epoch("s") // schema.BIN_S
    seen = samples.filter((bin_ + 1) * schema.BIN_S <= now.timestamp()).sort(*keys, "timestamp", nulls_last=True)
    grown = pl.col("value").diff().over(keys)
    seconds = pl.col("timestamp").diff().over(keys).dt.total_microseconds() / 1e6
    rate = pl.when((grown >= 0) & (seconds > 0) & (seconds <= schema.BIN_S * HOLDS)).then(grown / seconds)
    means = (
        seen.with_columns(bin=bin_, value=pl.when("counter").then(rate).otherwise("value"))
        .drop_nulls("value")
        .group_by(*keys, "kind", "unit", "counter", "bin")
        .agg(pl.col("value").mean())
    )
    names = (
        means.select(*keys, "kind", "unit", "counter").unique(keys).sort(*keys, nulls_last=True).with_row_index("row")
    )
    names = with_limits(names, rules)
    if means.is_empty():
        return Series(names, np.zeros((0, 1)), 0)
    first, last = means.select(first=pl.col("bin").min(), last=pl.col("bin").max()).row(0)
    placed = means.join(names.select("row", *keys), on=keys, nulls_equal=True)
    values = np.full((names.height, last - first + 1), np.nan)
    values[placed["row"].to_numpy(), placed["bin"].to_numpy() - first] = placed["value"].to_numpy()
    return Series(names, values, int(first))


def with_limits(names: pl.DataFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """Series (metric, kind, unit, counter) with above, below (null: no limit) in their unit, and bins: for how many."""
    limits = [_limits(row, rules) for row in names.iter_rows(named=True)]
    columns = {"above": pl.Float64, "below": pl.Float64, "bins": pl.Int64}
    return pl.concat([names, pl.DataFrame(limits, schema=columns, orient="row")], how="horizontal")


def _limits(row: dict[str, Any], rules: tuple[Rule, ...]) -> tuple[float | None, float | None, int]:
    """above, below, in the series' unit, and for how many bins."""
    for rule in rules:
        if rule.fits(row["metric"]) and (rule.above is not None or rule.below is not None):
            factor = UNITS[rule.unit][1] if rule.unit else 1.0
            scaled = [None if limit is None else limit * factor for limit in (rule.above, rule.below)]
            return scaled[0], scaled[1], -(-rule.minutes * 60 // schema.BIN_S)
    limit = LIMITS.get(row["kind"])
    if limit is None or row["unit"] != "ratio" or row["counter"] or re.search(_NO_USE, row["metric"]):
        return None, None, SUSTAINED
    return (None, 1 - limit, SUSTAINED) if re.search(_FREE, row["metric"]) else (limit, None, SUSTAINED)


def find_system(series: Series, *, now: datetime, environment: str | None) -> pl.DataFrame:
    """Candidates (schema.CANDIDATES) of signal system, in the order in which a scan every 5 minutes had raised them.

    environment: of series that name none. now: decides open or ended.
    """
    runs = sorted(_runs(series), key=lambda run: (run.opened, not run.limited, run.series))
    names = series.names.to_dicts()
    incidents: list[list[_Run]] = []
    for run in runs:
        home = next((one for one in reversed(incidents) if _belongs(run, one, names)), None)
        if home is None:
            incidents.append([run])
        else:
            home.append(run)
    now_bin = int(now.timestamp()) // schema.BIN_S - series.first_bin
    rows = [_candidate(incident, series, names, now_bin, environment) for incident in incidents]
    return pl.DataFrame(rows, schema=schema.CANDIDATES).sort("detected_at", "id")


def _belongs(run: _Run, incident: list[_Run], names: list[dict[str, Any]]) -> bool:
    """On the same machine while the incident goes on; or of the same kind elsewhere at the same moment."""
    mine, first = names[run.series], names[incident[0].series]
    if mine["environment"] != first["environment"]:
        return False
    same = mine["node"] == first["node"] if mine["node"] or first["node"] else mine["metric"] == first["metric"]
    if same:
        return max(other.last(run.opened) for other in incident if other.opened <= run.opened) >= run.start - QUIET
    return mine["kind"] == first["kind"] and run.opened - incident[0].opened <= SAME_MOMENT


def _runs(series: Series) -> Iterator[_Run]:
    for first in range(0, len(series.values), CHUNK):
        part = series.names.slice(first, CHUNK)
        values = _held(series.values[first : first + CHUNK])
        limited, limit_opens = _beyond_limits(values, part)
        usual, spread = _usual(values, series.first_bin)
        risen = values - usual
        least = np.where(part["unit"].to_numpy() == "ratio", LEAST_POINTS, 0.0)[:, None]
        # Above all it had in the week until an hour before, as well.
        highest = back(window_max(np.nan_to_num(values, nan=-np.inf), WEEK_DAYS * DAY), HOUR, -np.inf)
        odd = (risen > np.maximum(OPEN_SPREADS * spread, np.maximum(OPEN_SHARE * np.abs(usual), least))) & (
            values > highest + 2 * spread
        )
        still = risen > np.maximum(HOLD_SPREADS * spread, np.maximum(HOLD_SHARE * np.abs(usual), least / 2))
        odd_opens = window_sum((odd | still).astype(np.float64), PATIENCE) >= PATIENCE
        odd_opens &= window_sum(odd.astype(np.float64), PATIENCE) >= SUSTAINED
        for row in range(len(values)):
            limit = part["above"][row] if part["above"][row] is not None else part["below"][row]
            for start, opened, bins in _spans(limit_opens[row], limited[row]):
                yield _Run(first + row, start, opened, bins, True, float(limit))
            for start, opened, bins in _spans(odd_opens[row], odd[row] | still[row]):
                yield _Run(first + row, start, opened, bins, False, float(usual[row, opened]))


def _spans(opens: Bools, holds: Bools) -> Iterator[tuple[int, int, Bools]]:
    """First bin, bin at whose end it was raised and all abnormal bins of each stretch without QUIET bins in between."""
    raised = np.flatnonzero(opens)
    abnormal = np.flatnonzero(holds | opens)
    parts = np.split(abnormal, np.flatnonzero(np.diff(abnormal) > QUIET) + 1)
    for part in parts:
        inside = raised[(raised >= part[0]) & (raised <= part[-1])] if len(part) else part
        if len(inside):
            bins = np.zeros(len(holds), dtype=bool)
            bins[part] = True
            # Weak signs of hours ago are not its beginning.
            before = part[part <= inside[0]]
            breaks = np.flatnonzero(np.diff(before) > 1)
            yield int(before[breaks[-1] + 1] if len(breaks) else before[0]), int(inside[0]), bins


def _held(values: Floats) -> Floats:
    """Each value until the next one, for HOLDS bins at most."""
    filled = values.copy()
    for _ in range(HOLDS - 1):
        before = back(filled, 1, np.nan)
        filled = np.where(np.isnan(filled), before, filled)
    return filled


def _beyond_limits(values: Floats, names: pl.DataFrame) -> tuple[Bools, Bools]:
    """(series, bins) beyond the limit, and so for as long as the limit asks."""
    above = names["above"].cast(pl.Float64).fill_null(np.inf).to_numpy()[:, None]
    below = names["below"].cast(pl.Float64).fill_null(-np.inf).to_numpy()[:, None]
    beyond = (values > above) | (values < below)
    opens = np.zeros_like(beyond)
    for width in names["bins"].unique():
        rows = names["bins"].to_numpy() == width
        opens[rows] = window_sum(beyond[rows].astype(np.float64), int(width)) >= width
    return beyond, opens


def _usual(values: Floats, first_bin: int) -> tuple[Floats, Floats]:
    """(series, bins) what the same time of the seven days before lets expect, and the robust spread around that; NaN without
    two days.

    Median over days of the mean of the hour around; spread is 1.4826 times the median absolute deviation of a day, the median of
    the days before. Source: Leys et al., Detecting outliers, J. Exp. Soc. Psychol. 49 (2013).
    """
    known = ~np.isnan(values)
    total, count = window_sum(np.nan_to_num(values), HOUR + 1), window_sum(known.astype(np.float64), HOUR + 1)
    around = np.full_like(values, np.nan)
    half = HOUR // 2
    with np.errstate(invalid="ignore", divide="ignore"):
        means = total / np.where(count > 0, count, np.nan)
    around[:, : values.shape[1] - half] = means[:, half:]
    past = np.stack([back(around, day * DAY, np.nan) for day in range(1, WEEK_DAYS + 1)])
    enough = (~np.isnan(past)).sum(axis=0) >= 2
    usual = np.full_like(values, np.nan)
    if enough.any():
        usual[enough] = np.nanmedian(past[:, enough], axis=0)
    off = np.abs(values - usual)
    offset = first_bin % DAY
    days = (values.shape[1] + offset - 1) // DAY + 1
    padded = np.full((len(values), days * DAY), np.nan)
    padded[:, offset : offset + values.shape[1]] = off
    by_day = padded.reshape(len(values), days, DAY)
    daily = np.full((len(values), days), np.nan)
    measured = (~np.isnan(by_day)).sum(axis=2) >= HOUR
    if measured.any():
        daily[measured] = np.nanmedian(by_day[measured], axis=1)
    spread = np.full((len(values), days), np.nan)
    for day in range(1, days):
        recent = daily[:, max(0, day - WEEK_DAYS) : day]
        rows = ~np.isnan(recent).all(axis=1)
        spread[rows, day] = 1.4826 * np.nanmedian(recent[rows], axis=1)
    whole = np.repeat(spread, DAY, axis=1)[:, offset : offset + values.shape[1]]
    return usual, np.maximum(whole, 0.02 * np.abs(usual))


def _candidate(
    incident: list[_Run], series: Series, names: list[dict[str, Any]], now_bin: int, environment: str | None
) -> dict[str, Any]:
    # What it is called and when it was raised is the first run's; a limit that was passed since says more than the past.
    opening = incident[0]
    first = next((run for run in incident if run.limited), opening)
    main, of = names[opening.series], series.values
    last = max(run.last(now_bin if now_bin >= run.opened else run.opened) for run in incident)
    start, end, detected_at = (_time(bin_, series) for bin_ in (opening.start, last + 1, opening.opened + 1))
    nodes = {names[run.series]["node"] for run in incident}
    at_opening = {names[run.series]["node"] for run in incident if run.opened == opening.opened}
    within = of[first.series][first.bins]
    observed = float(np.nanmean(within)) if (~np.isnan(within)).any() else first.expected
    leading = sorted(incident, key=lambda run: run.series != first.series)
    key = f"node={main['node']}" if main["node"] and len(at_opening) == 1 else f"metric={main['metric']}"
    place = main["environment"] or environment or "default"
    mark = hashlib.sha256(
        "\x1f".join((place, key, "system", main["kind"])).encode("utf-8", "surrogatepass")
    ).hexdigest()[:20]
    main = names[first.series]
    what, where = main["metric"], f" on {main['node']}" if main["node"] else ""
    others = [run for run in incident[1:] if run.series != first.series]
    shown, against = amount(observed, main["unit"]), amount(first.expected, main["unit"])
    rule = f"limit {against}" if first.limited else f"expected {against}"
    elsewhere = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
    sentences = [
        f"From {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC, {what}{where} was {shown} on average; "
        + (
            f"its limit is {against}."
            if first.limited
            else f"the same time of the days before lets expect {against}, and it was never so high in the week before."
        ),
        *([f"Also: {', '.join(sorted({_named(names[run.series]) for run in others})[:5])}."] if others else []),
        f"A scan at {detected_at:%Y-%m-%d %H:%M} UTC would have raised it.",
    ]
    return {
        "id": f"{mark}-{start:%Y%m%dT%H%MZ}",
        "fingerprint": mark,
        "detected_at": detected_at,
        "start": start,
        "end": end,
        "state": "open" if now_bin - (last + 1) < QUIET else "ended",
        "environment": place,
        "endpoints": [],
        "signal": "system",
        "category": "dependency" if main["kind"] == "database" else "capacity",
        "severity": _severity(first, observed, main),
        "hint": {"status": None, "upstream": None, "consumer": None, "node": main["node"] if len(nodes) == 1 else None},
        "affected_consumers": [],
        "consumers_hit": None,
        "identity_coverage": None,
        "excess_calls": 0.0,
        "score": 0.0,
        "observed": observed,
        "expected": first.expected,
        "unit": main["unit"],
        "n": int((~np.isnan(within)).sum()),
        "request_ids": [],
        "title": f"{what}{where}{elsewhere}: {main['kind']} {shown}, {rule}".replace(": other ", ": "),
        "explanation": " ".join(sentences),
        # What was observed and expected is of the first of them.
        "evidence": [
            evidence_of(names[run.series], *_before_and_during(run, of))
            for run in {run.series: run for run in reversed(leading)}.values()
        ][::-1][:MOST_NAMED],
    }


def _before_and_during(run: _Run, values: Floats) -> tuple[float | None, float | None]:
    before = values[run.series][max(0, run.start - DAY) : run.start]
    return _median(before), _median(values[run.series][run.bins])


def _severity(run: _Run, observed: float, name: dict[str, Any]) -> str:
    """A resource that is used up is high, one beyond its limit medium; what is only unusual is medium from threefold on."""
    if run.limited:
        return "high" if name["unit"] == "ratio" and (observed >= 0.98 or observed <= 0.02) else "medium"
    return "medium" if observed >= 3 * abs(run.expected) else "low"


def _time(bin_: int, series: Series) -> datetime:
    return datetime.fromtimestamp((bin_ + series.first_bin) * schema.BIN_S, UTC)


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _named(name: dict[str, Any]) -> str:
    return f"{name['metric']} on {name['node']}" if name["node"] else str(name["metric"])


def evidence_of(name: dict[str, Any], before: float | None, during: float | None) -> dict[str, Any]:
    """A row of schema.EVIDENCE about one series."""
    node = str(name["node"] or "")
    labels = {
        key: text
        for key, text in json.loads(name["labels"]).items()
        if text != node and not (node and text.startswith(f"{node}:"))
    }
    shown = ", ".join(f"{key}={text}" for key, text in labels.items())
    value = " ".join(part for part in (name["node"], f"({shown})" if shown else "") if part)
    unit = name["unit"] or ("/s" if name["counter"] else "")
    return {
        **dict.fromkeys(field.name for field in schema.EVIDENCE.fields),
        "kind": "metric",
        "name": name["metric"],
        "value": value[:200],
        "before": before,
        "during": during,
        "unit": unit,
    }


def apart_from(found: pl.DataFrame, incidents: pl.DataFrame) -> pl.DataFrame:
    """The candidates of find_system without those that are only unusual while calls are already known to suffer: they stand in
    that candidate's evidence. What is beyond its limit stays. incidents: schema.CANDIDATES of the calls."""
    return found.filter(
        pl.Series(
            [
                row["limited"]
                or incidents.filter(
                    pl.col("detected_at").is_between(row["start"] - timedelta(hours=1), row["detected_at"])
                ).is_empty()
                for row in found.with_columns(limited=pl.col("explanation").str.contains("its limit is")).to_dicts()
            ],
            dtype=pl.Boolean,
        )
    )


def coincident(series: Series, start: datetime, end: datetime) -> list[dict[str, Any]]:
    """Rows of schema.EVIDENCE: the series that were quite different in [start, end) from the hour before, those that moved most
    first.

    Different: the median by more than four times what a change from hour to hour robustly is, and by a fifth (of ratios five
    points); and as much from the same time a day earlier, so that a morning is no cause. Or beyond the limit, as it was not before.
    """
    first = int(start.timestamp()) // schema.BIN_S - series.first_bin
    # What an incident of a day has in common with a machine shows in its first hours.
    last = min(-(-int(end.timestamp()) // schema.BIN_S) - series.first_bin, first + 6 * HOUR)
    bins = series.values.shape[1]
    if first <= 0 or first >= bins:
        return []
    found = []
    for row, name in enumerate(series.names.to_dicts()):
        values = series.values[row]
        before, during = _median(values[max(0, first - HOUR) : first]), _median(values[first:last])
        day = values[max(0, first - DAY) : first]
        if before is None or during is None or (~np.isnan(day)).sum() < HOUR:
            continue
        spread = _spread(day[HOUR:] - day[:-HOUR], before)
        moved = abs(during - before) > _least(spread, before, name)
        yesterday = _median(values[max(0, first - DAY) : max(0, last - DAY)])
        if moved and yesterday is not None:
            then = values[max(0, first - 2 * DAY) : max(0, first - DAY)]
            daily = _spread(day[-len(then) :] - then, yesterday) if len(then) else spread
            moved = abs(during - yesterday) > _least(daily, yesterday, name)
        short = (name["above"] is not None and during > name["above"] >= before) or (
            name["below"] is not None and during < name["below"] <= before
        )
        if moved or short:
            found.append((abs(during - before) / spread, evidence_of(name, before, during)))
    return [row for _, row in sorted(found, key=lambda item: -item[0])[:MOST_NAMED]]


def _spread(changes: Floats, level: float) -> float:
    """Robust spread of changes, at least a fiftieth of the level."""
    return max(1.4826 * (_median(np.abs(changes)) or 0.0), 0.02 * abs(level), 1e-9)


def _least(spread: float, level: float, name: dict[str, Any]) -> float:
    return max(4 * spread, 0.2 * abs(level), LEAST_POINTS if name["unit"] == "ratio" else 0.0)


def amount(value: float, unit: str) -> str:
    """A value of a metric for people."""
    if unit == "ratio":
        return f"{100 * value:.3g} %"
    if unit == "ms":
        return f"{value:,.0f} ms" if value >= 10 else f"{value:.2g} ms"
    if unit == "bytes":
        for factor, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}"
    return f"{value:,.4g}{f' {unit}' if unit else ''}"
