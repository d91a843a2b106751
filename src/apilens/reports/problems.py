"""The queue in the report: each problem with its numbers, its picture, who told and who stayed silent."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
from markupsafe import Markup

from apilens.reports import charts, svg, units
from apilens.reports.data import ReportData
from apilens.reports.page import short
from apilens.reports.traces import TRACED, around
from apilens.schema import SIGNALS
from apilens.triage.next_steps import next_steps

_QUOTES = 3
#: Points of a sparkline.
_SPARK = 110


def split(queue: pl.DataFrame, most: int) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Problems shown in full, problems listed, and feedback without a trace; each by rank.

    Feedback without a trace has a section of its own; what is P1 or P2 of it also keeps its place among the problems.
    """
    ranked = queue.sort("rank")
    traced = (pl.col("kind") == "candidate") | pl.col("priority").is_in(["P1", "P2"])
    problems = ranked.filter(traced)
    return problems.head(most), problems.slice(most), ranked.filter(pl.col("kind") == "feedback")


def problems(data: ReportData, shown: pl.DataFrame, consumers: int) -> list[dict[str, Any]]:
    """What the template shows of each problem (rows of schema.QUEUE); at most `consumers` silent ones by name."""
    evidence = {row["id"]: row for row in data.candidates.filter(pl.col("id").is_in(shown["id"].implode())).to_dicts()}
    suggested = {
        (row["channel"], row["feedback_id"])
        for row in data.links.filter(pl.col("band") == "suggested").iter_rows(named=True)
    }
    most = shown.select(pl.max_horizontal("hit", "told").max()).item() or 0
    return [_problem(data, row, evidence.get(row["id"]), suggested, most, consumers) for row in shown.to_dicts()]


def _problem(
    data: ReportData,
    row: dict[str, Any],
    candidate: dict[str, Any] | None,
    suggested: set[tuple[str, str]],
    most: int,
    consumers: int,
) -> dict[str, Any]:
    reports = sorted(row["reports"] or [], key=lambda report: -(report["confidence"] or 0))
    for report in reports:
        report["to_confirm"] = (report["channel"], report["id"]) in suggested
    silent = row["silent_consumers"] or []
    return row | {
        "age": _age(row, candidate["first_affected_at"] if candidate else None, data.now),
        "asks_whom": candidate is None or candidate["signal"] in SIGNALS or row["hit"] is not None,
        "bars": [(name, row[name], svg.bar(row[name] or 0, most, kind=name)) for name in ("hit", "told", "silent")],
        "parts": row["parts"] or [],
        "reports": reports[:_QUOTES],
        "reports_total": len(reports),
        "silent_named": silent[:consumers],
        "silent_unnamed": max(row["silent"] or 0, len(silent)) - len(silent[:consumers]),
        "candidate": candidate and candidate | {"evidence": [_evidence(one) for one in candidate["evidence"] or []]},
        "observed": candidate and units.measured(candidate["observed"], candidate["unit"]),
        "expected": candidate and units.measured(candidate["expected"], candidate["unit"]),
        "spark": candidate and _spark(data, candidate),
        "next_steps": next_steps(candidate) if candidate else [],
    }


def _evidence(one: dict[str, Any]) -> dict[str, Any]:
    """A row of schema.EVIDENCE with a picture: two bars, before above during."""
    most = max(one["before"] or 0.0, one["during"] or 0.0, 1e-12)
    bars = [svg.bar(one[name] or 0.0, most, kind=kind) for name, kind in (("before", "told"), ("during", "hit"))]
    return one | {"picture": Markup("").join(bars)}


def _age(row: dict[str, Any], first: datetime | None, now: datetime) -> str:
    """first: of the affected calls, where it is known to the second."""
    if row["start"] is None:
        return ""
    if row["state"] == "open":
        since = units.moment(row["start"]) if first is None else f"{units.second(first)}Z"
        return f"for {units.lasting(now - row['start'])}, since {since}"
    if row["end"] is None:
        return f"began {units.moment(row['start'])}"
    return f"{units.moment(row['end'])} after {units.lasting(row['end'] - row['start'])}"


def _spark(data: ReportData, candidate: dict[str, Any]) -> dict[str, Any] | None:
    """The problem's own signal around its window: a day before it, as long after it as it lasted, at least 2 h."""
    first, last = around(candidate, data.last_call or data.now)
    if candidate["signal"] in TRACED:
        series = data.traces.filter((pl.col("id") == candidate["id"]) & pl.col("bin_start").is_between(first, last))
        if data.first_call is not None:
            series = series.filter(pl.col("bin_start") + pl.duration(seconds="every_s") > data.first_call)
        if series["value"].drop_nulls().is_empty():
            return None
        return _drawn(candidate, series, series["name"][0], series["every_s"][0], candidate["unit"], series["beside"])
    # A shift of latency or traffic is measured on the endpoint that shows it most, errors on all of them together.
    alone = candidate["signal"] in ("latency", "traffic")
    rows = charts.of_problem(
        data.rollups,
        environment=candidate["environment"],
        service=candidate["service"],
        endpoints=candidate["endpoints"][:1] if alone else candidate["endpoints"],
    ).filter(pl.col("bin_start").is_between(first, last))
    if rows.is_empty():
        return None
    every_s = max(charts.width_s(first, last, at_most=_SPARK), data.rollup_s)
    series = charts.signal_over_time(
        rows,
        signal=candidate["signal"],
        unit=candidate["unit"],
        status=candidate["hint"]["status"],
        every_s=every_s,
    )
    if series.is_empty():
        return None
    unit = {"latency": "ms", "traffic": "calls"}.get(candidate["signal"], "ratio")
    names = {"latency": "typical duration" if candidate["unit"] == "ms" else "p95", "traffic": "calls"}
    name = names.get(candidate["signal"], f"share of {candidate['hint']['status'] or candidate['signal']}")
    return _drawn(candidate, series, name, every_s, unit, ())


def _drawn(
    candidate: dict[str, Any], series: pl.DataFrame, name: str, every_s: int, unit: str, beside: svg.Values | pl.Series
) -> dict[str, Any]:
    """A picture of a series (bin_start, value in `unit`), from zero up, and what stands below it; beside: of all others."""
    begin, end = series["bin_start"][0], series["bin_start"][-1] + timedelta(seconds=every_s)
    whole = (end - begin) / timedelta(seconds=1)
    window = tuple((moment - begin).total_seconds() / whole for moment in (candidate["start"], candidate["end"]))
    values, others = series["value"].to_list(), list(beside)
    highest = units.measured(max((value for value in [*values, *others] if value is not None), default=None), unit)
    same_unit = candidate["unit"] == unit
    return {
        "picture": svg.sparkline(
            values,
            label=f"{short(name)} over time, highest {highest}; shaded: the abnormal window",
            expected=candidate["expected"] if same_unit else None,
            abnormal=(window[0], window[1]),
            beside=others,
        ),
        "name": name,
        "highest": highest,
        "begin": begin,
        "end": end,
        "expected": same_unit and candidate["expected"] is not None,
    }


def related(data: ReportData) -> pl.DataFrame:
    """Pairs of problems of the report with their titles; what people rejected is left out."""
    if data.related.is_empty():
        return data.related
    titles = data.candidates.select("id", "title")
    return (
        data.related.filter(pl.col("verdict") != "rejected")
        .join(titles, on="id", maintain_order="left")
        .join(titles.rename({"id": "other", "title": "other_title"}), on="other", maintain_order="left")
    )


def feedback_counts(links: pl.DataFrame) -> dict[str, int]:
    """Feedback items in all, and by the best band of their links."""
    order = {"auto": 0, "suggested": 1, "none": 2}
    best = links.group_by("channel", "feedback_id").agg(
        pl.col("band").replace_strict(order, default=2, return_dtype=pl.Int8).min()
    )
    return {"items": best.height} | {band: best.filter(pl.col("band") == place).height for band, place in order.items()}
