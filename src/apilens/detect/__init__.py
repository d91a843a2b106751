"""Rollups → anomalies → incidents → candidate tickets.

Each detector looks at one kind of signal in one chunk of endpoints, and at the past only: the rollups cut at minute T give
the same candidates with detected_at <= T. A new detector is one file with `detect(series, fleet)` and one line in DETECTORS;
one that costs much says in MAY_OPEN which endpoints need it when only the last bins are new.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import polars as pl

from apilens import schema
from apilens.config import Detect
from apilens.detect import (
    ahead,
    alone,
    anomalies,
    auth,
    baseline,
    begins,
    bursts,
    campaigns,
    candidates,
    counting,
    early_latency,
    errors,
    gave_up,
    habits,
    incidents,
    lasting,
    latency,
    latency_bounds,
    memory,
    mixes,
    nameless,
    new_status,
    nodes,
    nowhere,
    pooled,
    rate_limit,
    scanners,
    standing,
    traffic,
    traffic_bounds,
)
from apilens.detect.bins import MINUTES, Ints
from apilens.detect.breakdowns import upstreams_of
from apilens.detect.convincing import patient
from apilens.detect.runs import runs_of
from apilens.detect.settings import anyway, sensitised

DETECTORS: dict[str, memory.Detector] = {
    "errors": errors.detect,
    "new_status": new_status.detect,
    "auth": auth.detect,
    "rate_limit": rate_limit.detect,
    "standing": standing.detect,
    "latency": latency.detect,
    "early_latency": early_latency.detect,
    "traffic": traffic.detect,
}
#: Those that look at calls and their status codes alone.
OF_CODES = {"errors", "new_status", "auth", "rate_limit", "standing"}
#: Significant digits of a candidate's figures.
_FIGURES = 9
MAY_OPEN: dict[str, memory.MayOpen] = {
    **dict.fromkeys(("errors", "new_status", "auth", "rate_limit"), counting.may_open),
    "latency": latency_bounds.may_open,
    "early_latency": early_latency.may_open,
    "traffic": traffic_bounds.may_open,
}


class Log(Protocol):
    """What calls say beyond their rollups; every frame is asked for seldom, and for few of the calls."""

    def breakdown(self, windows: pl.DataFrame) -> pl.DataFrame:
        """schema.BREAKDOWN of schema.BREAKDOWN_WINDOWS: some windows per endpoint and incident."""

    def refusals(self, asked: pl.DataFrame) -> pl.DataFrame:
        """schema.REFUSALS of schema.REFUSALS_ASKED: consumers that make most of the refusals of an endpoint."""

    def strangers(self, asked: pl.DataFrame) -> pl.DataFrame:
        """schema.STRANGERS of schema.STRANGERS_ASKED: clients without a name that were refused."""

    def clients(self, environment: str | None, start: datetime, since: datetime, end: datetime) -> pl.DataFrame:
        """schema.CLIENTS of the calls in [start, end) of consumers of an environment that were refused on several endpoints in
        [since, end)."""


def find_candidates(
    rollups: pl.DataFrame | pl.LazyFrame,
    log: Log,
    *,
    now: datetime,
    include_synthetic: bool = False,
    go_live: datetime | None = None,
    settings: Detect | None = None,
    remembered: memory.Memory | None = None,
) -> pl.DataFrame:
    """Candidate tickets (schema.CANDIDATES), one per incident, in the order in which a scan every minute had raised
    them.

    rollups: schema.ROLLUPS in any order; several rows per key add up; lazily, they are never in memory as a whole. Calls
    of bots, scanners and health checks are left out unless include_synthetic. log: of the same calls; each of its questions
    is asked about what is new or not remembered. now: minutes that end later are not looked
    at. go_live: since when the endpoints are in use (None: since their first call); what is bad since then is a
    standing fault. settings: how much proof is asked for where (None: the usual). remembered: what earlier scans decided,
    which is taken over where it still holds, and brought up to date; without it the result is the same. Empty where nothing
    is abnormal.
    """
    bin_ = pl.col("bin_start").dt.epoch("s") // schema.BIN_S
    minute = int(now.timestamp()) // 60
    seen = _until(rollups.lazy(), minute)
    if not include_synthetic:
        seen = seen.filter(pl.col("synthetic_type").is_null())
    launch = 0 if go_live is None else int(go_live.timestamp()) // schema.BIN_S
    remembered = remembered if remembered is not None else memory.Memory()
    found = [schema.CANDIDATES.to_frame()]
    spans = seen.group_by(schema.ENDPOINT).agg(bin_.min().alias("first"), bin_.max().alias("last"))
    parts = spans.collect(engine="streaming").partition_by("environment", as_dict=True)
    for (environment,), names in sorted(parts.items(), key=lambda one: str(one[0][0])):
        first, last = names.select(pl.col("first").min(), pl.col("last").max()).row(0)
        part = seen.filter(pl.col("environment").eq_missing(pl.lit(environment, pl.String)))
        endpoints = baseline.numbered(names)
        rows = baseline.narrow(part, endpoints, first)
        bins = memory.digests(endpoints, rows, last + 1 - first)
        if (last + 1) * MINUTES > minute:
            # What is said of a bin that is not over does not hold, even if nothing more comes.
            bins[-1] = ~bins[-1]
        before = remembered.of(str(environment))
        least = anyway(settings, anomalies.OPEN_LOG10_P)
        since = memory.first_new(before, first, bins, least)
        moved = None if before is None else before.movements
        fleet = baseline.together(endpoints, rows, (first, last + 1), launch, moved, since)
        holds = (first + since) * schema.BIN_S
        answers = memory.Answers(log.breakdown, before, datetime.fromtimestamp(holds, UTC))
        behind = upstreams_of(fleet, answers)
        abnormal, known = judged(fleet, rows, behind, before, bins, least)
        fresh = pooled.refusals(log.clients, rows, fleet, since, datetime.fromtimestamp(minute * 60, UTC))
        together = pl.concat([memory.pooled_before(before, fleet, since), fresh])
        abnormal = pl.concat([abnormal, together])
        over = pl.col("bin") * MINUTES + pl.col("minutes").fill_null(MINUTES)
        abnormal = abnormal.filter(over <= minute - first * MINUTES)
        if settings is not None:
            abnormal = sensitised(abnormal, fleet.endpoints, settings, anomalies.OPEN_LOG10_P)
        abnormal = nowhere.existing(abnormal, rows, fleet.endpoints)
        runs = gave_up.by_themselves(runs_of(abnormal), abnormal, rows, fleet, behind)
        runs = patient(runs, rows, fleet, answers)
        runs = campaigns.without_campaigns(runs, fleet, answers)
        accustomed, scanned = (
            ({}, {}) if before is None else (memory.decided(before.habits, since), memory.decided(before.scans, since))
        )
        runs, again = bursts.unusual(runs, rows, fleet, answers)
        runs = habits.unaccustomed(runs, rows, fleet, answers, log.refusals, accustomed)
        runs = nameless.turned_away(runs, fleet, answers)
        runs = mixes.without_mixes(runs, fleet, answers)
        runs = scanners.unscanned(runs, rows, fleet, log.strangers, scanned)
        runs = nodes.suspected(runs, rows, fleet, answers)
        runs = alone.apart(runs, rows, fleet, behind)
        runs = begins.turned(lasting.outlasting(runs, rows, fleet), rows, fleet)
        problems = incidents.group(runs, fleet, answers)
        problems = lasting.coming_back(bursts.recurring(problems, again), rows, fleet)
        found.append(candidates.describe(problems, fleet, answers, now=now))
        if known is not before:
            windows, said = answers.asked()
            known = replace(
                known,
                windows=windows,
                answers=said,
                habits=memory.to_remember(accustomed),
                scans=memory.to_remember(scanned),
                pooled=memory.named(together, fleet),
            )
        remembered.learn(str(environment), known)
    # The last digits of a sum depend on which thread came first; a candidate would change with each scan.
    figures = pl.col(pl.Float64).round_sig_figs(_FIGURES)
    return pl.concat(found).with_columns(figures).sort("detected_at", "id")


def judged(
    fleet: baseline.Fleet,
    rows: pl.DataFrame,
    behind: dict[int, str],
    known: memory.Known | None,
    seen: Ints,
    anyway: float,
) -> tuple[pl.DataFrame, memory.Known]:
    """memory.judge of a fleet by all rules; rows as baseline.fleet returns them, behind: upstreams by endpoint, for the others see there."""
    since = memory.first_new(known, fleet.first_bin, seen, anyway)
    if known is not None and (since == fleet.bins or ahead.holds(known.outlook, fleet, since)):
        named = (
            ahead.named(known.outlook, fleet, rows, since, anyway)
            if since < fleet.bins
            else dict.fromkeys(ahead.TOLD, np.zeros(0, np.int64))
        )
        few = memory.Few(named, lambda numbers: baseline.chunks(fleet, rows, behind, numbers))
        enough = DETECTORS.keys() - named.keys() <= OF_CODES
        chunks = baseline.coded(fleet, rows) if enough else baseline.chunks(fleet, rows, behind)
        abnormal, judged = memory.judge(chunks, fleet, DETECTORS, MAY_OPEN, known, seen, anyway, few)
        return abnormal, judged if judged is known else replace(judged, outlook=known.outlook)
    made: list[pl.DataFrame] = []
    chunks = ahead.made_of(baseline.chunks(fleet, rows, behind), fleet, made)
    abnormal, judged = memory.judge(chunks, fleet, DETECTORS, MAY_OPEN, known, seen, anyway)
    return abnormal, replace(judged, outlook=pl.concat([ahead.OUTLOOK.to_frame(), *made]))


def _until(rollups: pl.LazyFrame, minute: int) -> pl.LazyFrame:
    """Rollups of the minutes before a minute (since 1970). Of the bin in which that lies only the calls are cut, as only those of
    status codes are looked at before a bin is over."""
    over = minute % MINUTES
    begun = pl.lit(datetime.fromtimestamp((minute - over) * 60, UTC), schema.ROLLUPS["bin_start"])
    known = [(pl.col("minute_calls").list.get(at) if at < over else pl.lit(0)).cast(pl.Int32) for at in range(MINUTES)]
    running = rollups.filter(pl.col("bin_start") == begun).with_columns(minute_calls=pl.concat_list(known))
    running = running.with_columns(calls=pl.col("minute_calls").list.sum().cast(pl.Int64))
    return pl.concat([rollups.filter(pl.col("bin_start") < begun), running.filter(pl.col("calls") > 0)])
