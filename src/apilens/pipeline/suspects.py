"""What a scan raises beside the detectors of calls, and what it puts behind each candidate: carriers and metrics."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl

from apilens.detect.system import Series, amount, apart_from, coincident, find_system, series_of
from apilens.lens import Lens
from apilens.pipeline.metrics import rules_of
from apilens.schema import CANDIDATES, SIGNALS

#: Carriers are looked for in so many candidates of a scan, the newest first; others show them with `apilens explain`.
_MOST_EXPLAINED = 200
#: Values of dimensions kept with a candidate.
_CARRIERS = 5
#: What makes a candidate another one: where nothing of it changed, its carriers are those found before.
_SAME = ("start", "end", "n", "observed", "endpoints")


def metrics(lens: Lens, since: datetime, until: datetime) -> Series:
    """The system metrics of a time as five-minute series."""
    return series_of(lens.metrics(since, until).collect(), rules_of(lens.config), now=until)


def of_metrics(series: Series, found: pl.DataFrame, rollups: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Candidates of system metrics that are not already the evidence of a candidate in `found`."""
    environments = rollups["environment"].unique()
    only = environments[0] if environments.len() == 1 else None
    return apart_from(find_system(series, now=now, environment=only), found)


def with_evidence(lens: Lens, found: pl.DataFrame, series: Series, known: pl.DataFrame) -> pl.DataFrame:
    """Candidates with their evidence, and a sentence about the metrics in their explanation.

    known: candidates as the state has them; what did not change since is not explained again.
    """
    before = {row["id"]: row for row in known.to_dicts()}
    rows = found.to_dicts()
    fresh = [row for row in rows if row["signal"] in SIGNALS and not _unchanged(row, before.get(row["id"]))]
    explained = {row["id"] for row in sorted(fresh, key=lambda row: row["start"], reverse=True)[:_MOST_EXPLAINED]}
    for row in rows:
        if row["signal"] not in SIGNALS:
            continue
        if row["id"] in explained:
            carriers = _carriers(lens, row)
        else:
            kept = (before.get(row["id"]) or {}).get("evidence") or []
            carriers = [one for one in kept if one["kind"] == "carrier"]
        moved = coincident(series, row["start"], row["end"])
        row["evidence"] = carriers + moved
        if moved:
            row["explanation"] = f"{row['explanation']} {_at_the_same_time(moved)}"
    return pl.DataFrame(rows, schema=CANDIDATES)


def _unchanged(row: dict[str, Any], old: dict[str, Any] | None) -> bool:
    return old is not None and old["evidence"] is not None and all(row[name] == old[name] for name in _SAME)


def _carriers(lens: Lens, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The values that carry a candidate, as rows of schema.EVIDENCE."""
    unit = {"latency": "ms", "traffic": "calls"}.get(row["signal"], "ratio")
    found = lens.explain(row).filter("carries").head(_CARRIERS)
    return [
        {
            "kind": "carrier",
            "name": one["dimension"],
            "value": one["value"],
            "before": one["measure_before"],
            "during": one["measure"],
            "unit": unit,
            "share": one["excess_share"],
            "traffic_share": one["traffic_share"],
            "p": one["p"],
        }
        for one in found.to_dicts()
    ]


def _at_the_same_time(moved: list[dict[str, Any]]) -> str:
    said = [
        f"{one['name']}{' of ' + one['value'] if one['value'] else ''} went from {amount(one['before'], one['unit'])}"
        f" to {amount(one['during'], one['unit'])}"
        for one in moved[:3]
    ]
    return f"At the same time {', '.join(said)}."
