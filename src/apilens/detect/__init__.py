"""Rollups → anomalies → incidents → candidate tickets.

Each detector looks at one kind of signal in one chunk of endpoints, and at the past only: the rollups cut at minute T give
the same candidates with detected_at <= T. A new detector is one file with `detect(series, fleet)` and one line in DETECTORS;
one that costs much says in MAY_OPEN which endpoints need it when only the last bins are new.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from apilens import schema
from apilens.config import Detect
from apilens.detect import (
    anomalies,
    auth,
    baseline,
    campaigns,
    candidates,
    errors,
    habits,
    incidents,
    lasting,
    latency,
    memory,
    new_status,
    nowhere,
    pooled,
    rate_limit,
    standing,
    traffic,
)
from apilens.detect.settings import anyway, sensitised

DETECTORS: dict[str, memory.Detector] = {
    "errors": errors.detect,
    "new_status": new_status.detect,
    "auth": auth.detect,
    "rate_limit": rate_limit.detect,
    "standing": standing.detect,
    "latency": latency.detect,
    "traffic": traffic.detect,
}
#: Significant digits of a candidate's figures.
_FIGURES = 9
MAY_OPEN: dict[str, memory.MayOpen] = {"latency": latency.may_open, "traffic": traffic.may_open}


def find_candidates(
    rollups: pl.DataFrame | pl.LazyFrame,
    breakdown: incidents.Breakdown,
    refusals: habits.Refusals,
    clients: pooled.Clients,
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
    of bots, scanners and health checks are left out unless include_synthetic. breakdown: given schema.BREAKDOWN_WINDOWS,
    returns schema.BREAKDOWN of the same calls; asked seven times per environment, for some windows per endpoint and
    incident. refusals: given schema.REFUSALS_ASKED, returns schema.REFUSALS of them; asked once where a client is refused. clients: given start
    and end, returns schema.CLIENTS of the same calls. now: minutes that end later are not looked
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
    spans = seen.group_by("environment").agg(bin_.min().alias("first"), bin_.max().alias("last"))
    environments = sorted(spans.collect(engine="streaming").rows(), key=lambda row: str(row[0]))
    begin = min((first * schema.BIN_S for _, first, _ in environments), default=minute * 60)
    refused = clients(datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(minute * 60, UTC))
    for environment, first, last in environments:
        part = seen.filter(pl.col("environment").eq_missing(pl.lit(environment, pl.String)))
        fleet, rows = baseline.fleet(part, (first, last + 1), launch=launch)
        behind = incidents.upstreams_of(rows, fleet, breakdown)
        bins = memory.digests(fleet, rows, behind)
        if (last + 1) * baseline.MINUTES > minute:
            # What is said of a bin that is not over does not hold, even if nothing more comes.
            bins[-1] = ~bins[-1]
        chunks = baseline.chunks(fleet, rows, behind)
        least = anyway(settings, anomalies.OPEN_LOG10_P)
        abnormal, known = memory.judge(chunks, fleet, DETECTORS, MAY_OPEN, remembered.of(str(environment)), bins, least)
        remembered.learn(str(environment), known)
        theirs = refused.filter(pl.col("environment").eq_missing(pl.lit(environment, pl.String)))
        abnormal = pl.concat([abnormal, pooled.refusals(theirs, rows, fleet)])
        over = pl.col("bin") * baseline.MINUTES + pl.col("minutes").fill_null(baseline.MINUTES)
        abnormal = abnormal.filter(over <= minute - first * baseline.MINUTES)
        if settings is not None:
            abnormal = sensitised(abnormal, fleet.endpoints, settings, anomalies.OPEN_LOG10_P)
        abnormal = nowhere.existing(abnormal, rows)
        runs = incidents.patient(incidents.runs_of(abnormal), rows, fleet, breakdown)
        runs = campaigns.without_campaigns(runs, fleet, breakdown)
        runs = habits.unaccustomed(runs, rows, fleet, breakdown, refusals)
        problems = incidents.group(lasting.outlasting(runs, rows, fleet), fleet, breakdown)
        found.append(candidates.describe(problems, fleet, breakdown, now=now))
    # The last digits of a sum depend on which thread came first; a candidate would change with each scan.
    figures = pl.col(pl.Float64).round_sig_figs(_FIGURES)
    return pl.concat(found).with_columns(figures).sort("detected_at", "id")


def _until(rollups: pl.LazyFrame, minute: int) -> pl.LazyFrame:
    """Rollups of the minutes before a minute (since 1970). Of the bin in which that lies only the calls are cut, as only those of
    status codes are looked at before a bin is over."""
    over = minute % baseline.MINUTES
    begun = pl.lit(datetime.fromtimestamp((minute - over) * 60, UTC), schema.ROLLUPS["bin_start"])
    known = [
        (pl.col("minute_calls").list.get(at) if at < over else pl.lit(0)).cast(pl.Int32)
        for at in range(baseline.MINUTES)
    ]
    running = rollups.filter(pl.col("bin_start") == begun).with_columns(minute_calls=pl.concat_list(known))
    running = running.with_columns(calls=pl.col("minute_calls").list.sum().cast(pl.Int64))
    return pl.concat([rollups.filter(pl.col("bin_start") < begun), running.filter(pl.col("calls") > 0)])
