"""What a scan raises beside the detectors of calls, and what it puts behind each candidate: carriers and metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.config import Mark, Mute
from apilens.detect.friction import behind, find_friction
from apilens.detect.log_truth import ahead_units, find_ahead, find_gaps, find_skew, not_in_gaps
from apilens.detect.system import Series, amount, apart_from, coincident, find_system, series_of
from apilens.lens import Lens
from apilens.measure.facts import INSTANCES, SKEW
from apilens.measure.signals import BLOCK_H, FRICTION, REACH
from apilens.pipeline.metrics import rules_of
from apilens.schema import BIN_S, CANDIDATES, ENDPOINT, ROLLUPS, SIGNALS, TIMESTAMP
from apilens.store import Store
from apilens.window import Window

#: Carriers are looked for in so many candidates of a scan, the newest first; others show them with `apilens explain`.
_MOST_EXPLAINED = 200
#: Values of dimensions kept with a candidate.
_CARRIERS = 5
#: Calls whose sequences are sorted at once: some 400 MB.
_MOST_CALLS = 2_000_000
_BIN = timedelta(seconds=BIN_S)
#: Changes when what is kept of a block does.
_FACTS_VERSION = 1
#: What makes a candidate another one: where nothing of it changed, its carriers are those found before.
_SAME = ("start", "end", "n", "observed", "endpoints")


def metrics(lens: Lens, since: datetime, until: datetime) -> Series:
    """The system metrics of a time as five-minute series."""
    return series_of(lens.metrics(since, until).collect(), rules_of(lens.config), now=until)


def calls_by_block(rollups: pl.LazyFrame) -> pl.DataFrame:
    """The calls of some rollups per endpoint, kind of caller and block of BLOCK_H hours, whose start is bin_start."""
    block = pl.col("bin_start").dt.truncate(f"{BLOCK_H}h")
    sums = rollups.group_by(*ENDPOINT, "synthetic_type", block).agg(pl.col("calls").sum())
    return sums.collect(engine="streaming")


def of_metrics(series: Series, found: pl.DataFrame, blocks: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Candidates of system metrics that are not already the evidence of a candidate in `found`."""
    environments = blocks["environment"].unique()
    only = environments[0] if environments.len() == 1 else None
    return apart_from(find_system(series, now=now, environment=only), found)


@dataclass(frozen=True)
class Facts:
    """measure.facts of all calls looked at: INSTANCES, SKEW, FRICTION."""

    instances: pl.DataFrame
    skew: pl.DataFrame
    friction: pl.DataFrame


def facts(lens: Lens, store: Store, blocks: pl.DataFrame, now: datetime) -> Facts:
    """Facts of the calls of some blocks (calls_by_block); those of blocks that are over are made once and kept in the state."""
    width = timedelta(hours=BLOCK_H)
    counts = dict(blocks.group_by("bin_start").agg(pl.col("calls").sum()).sort("bin_start").rows())
    # Another document or merge names the routes anew.
    names = f"{_FACTS_VERSION}:{lens.openapi.version}:{len(lens.openapi.operations)}:{len(lens.merges.merges)}"
    kept = store.blocks()
    wanted = {start: f"{names}:{calls}" for start, calls in counts.items()}
    done = {at: kept[at][1] for at, key in wanted.items() if at in kept and kept[at][0] == key}
    missing = [at for at in wanted if at not in done and at + width + REACH <= now]
    fresh: dict[datetime, tuple[str, dict[str, Any]]] = {}
    for first, end in _stretches(missing, counts, width):
        found = zip(("instances", "skew", "friction"), lens.facts(first, end), strict=True)
        parts = {
            name: frame.with_columns(_block(frame)).partition_by("at", as_dict=True, include_key=False)
            for name, frame in found
        }
        for at in (one for one in missing if first <= one < end):
            body = {
                name: json.loads(of_block[(at,)].write_json()) if (at,) in of_block else []
                for name, of_block in parts.items()
            }
            fresh[at] = (wanted[at], body)
    store.save_blocks(fresh, min(wanted, default=now) - width)
    done |= {at: body for at, (_, body) in fresh.items()}
    late = [at for at in wanted if at not in done]
    running = [lens.instances(min(late), min(max(late) + width, now))] if late else []
    return Facts(
        pl.concat([*_frames(done, "instances", INSTANCES), *running]),
        pl.concat(_frames(done, "skew", SKEW)),
        pl.concat(_frames(done, "friction", FRICTION)),
    )


def _block(frame: pl.DataFrame) -> pl.Expr:
    column = pl.col("block") if "block" in frame.columns else pl.col("bin_start").dt.truncate(f"{BLOCK_H}h")
    return column.alias("at")


def _frames(done: dict[datetime, dict[str, Any]], name: str, columns: pl.Schema) -> list[pl.DataFrame]:
    """The rows kept of each block under their types; times were written as text."""
    rows = [row for at in sorted(done) for row in done[at][name]]
    texts = pl.Schema({key: pl.String if dtype == TIMESTAMP else dtype for key, dtype in columns.items()})
    times = [
        pl.col(key).str.to_datetime(time_unit="us", time_zone="UTC")
        for key, dtype in columns.items()
        if dtype == TIMESTAMP
    ]
    return [pl.DataFrame(rows, schema=texts, orient="row").with_columns(times)]


def _stretches(
    missing: list[datetime], counts: dict[datetime, int], width: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Neighbouring blocks together, up to _MOST_CALLS of them at once."""
    first, end, calls = None, None, 0
    for at in missing:
        if first is not None and (at != end or calls + counts[at] > _MOST_CALLS):
            assert end is not None
            yield first, end
            first, calls = None, 0
        first, end, calls = first or at, at + width, calls + counts[at]
    if first is not None and end is not None:
        yield first, end


def of_calls(
    lens: Lens, found: pl.DataFrame, known: Facts, blocks: pl.DataFrame, now: datetime
) -> tuple[pl.DataFrame, dict[str, list[dict[str, Any]]]]:
    """The candidates with those of the log's truth and of friction, without drops that are holes in the log; and the friction that
    is the other side of a candidate, by its id."""
    gaps = find_gaps(known.instances, now=now)
    found = not_in_gaps(found, gaps, lens.breakdown)
    skewed = find_skew(known.skew, block=timedelta(hours=BLOCK_H), now=now)
    friction, evidence = behind(find_friction(known.friction, blocks, now=now), found)
    ledger = lens.lake.ledger()
    units = ahead_units(ledger)
    since = units["ingested_at"].min()
    later = lens.lake.scan("rollups", Window(since)).collect() if isinstance(since, datetime) else ROLLUPS.to_frame()
    ahead = find_ahead(units, later, int(ledger["stored"].sum()), now=now)
    return pl.concat([found, gaps, skewed, ahead, friction]), evidence


def with_evidence(
    lens: Lens,
    found: pl.DataFrame,
    series: Series,
    friction: dict[str, list[dict[str, Any]]],
    known: pl.DataFrame,
) -> pl.DataFrame:
    """Candidates with their evidence, and a sentence about the metrics in their explanation.

    friction: rows of schema.EVIDENCE by candidate id. known: candidates as the state has them; what did not change since is not explained again.
    """
    before = {row["id"]: row for row in known.to_dicts()}
    rows = found.to_dicts()
    marks = lens.marks
    for row in rows:
        # A candidate begins with a five-minute bin, its deployment somewhere in it; how long after is that of its first failed call.
        near = [one for one in marks if -_BIN < row["start"] - one.time <= timedelta(hours=1)]
        row["explanation"] += _after_marks(near, row["first_affected_at"] or row["start"])
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
        row["evidence"] = carriers + moved + friction.get(row["id"], [])
        if moved:
            row["explanation"] = f"{row['explanation']} {_at_the_same_time(moved)}"
    return pl.DataFrame(rows, schema=CANDIDATES)


def mutes(store: Store) -> list[Mute]:
    """What people muted with `apilens mute`, as the state has it."""
    return [Mute.model_validate_json(text) for text in store.decisions("mute")["verdict"]]


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


def _after_marks(marks: list[Mark], start: datetime) -> str:
    """What was deployed in the hour before a candidate began: no proof, but what everybody asks first."""
    said = [f"{max(round((start - mark.time).total_seconds() / 60), 0)} minutes after {mark.label!r}" for mark in marks]
    return f" It began {' and '.join(said)}." if said else ""


def _at_the_same_time(moved: list[dict[str, Any]]) -> str:
    said = [
        f"{one['name']}{' of ' + one['value'] if one['value'] else ''} went from {amount(one['before'], one['unit'])}"
        f" to {amount(one['during'], one['unit'])}"
        for one in moved[:3]
    ]
    return f"At the same time {', '.join(said)}."
