"""Friction → candidates: what users ran into without an outage, where it is much, by several, and more than it used to be.

Judged a quarter of a day at a time, when that and half an hour more is over. What is the other side of a candidate that is known
already (retries behind errors, 429 behind a rate limit) is that candidate's evidence, not a ticket of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens import schema

BLOCK = timedelta(hours=6)
#: A block's sequences reach half an hour beyond it (measure.signals.REACH).
SETTLED = timedelta(minutes=30)
PAST = timedelta(days=7)
#: So old an endpoint must be before its own past says what is usual.
YOUNG = timedelta(days=2)
#: Times its own share in the past week.
FACTOR = 3.0
#: Blocks of one problem are at most so far apart; then it is back.
TOGETHER = timedelta(days=7)
#: How long after a block with it a problem still counts as open.
QUIET = timedelta(days=1)
#: A candidate of the calls that was raised so long before takes the friction as its evidence.
CAUSE = timedelta(days=2)
#: One consumer with so much of it is whose problem it is.
OWN = 0.85
MAX_REQUEST_IDS = 20


@dataclass(frozen=True)
class Threshold:
    """From when on marked calls of an endpoint are a ticket: so many, by so many known consumers, and such a share (0..1) of its
    calls that is FACTOR times what the week before had; or `always` a share, whatever the past. behind: signals of candidates whose
    other side it is. says: {calls}, {share}, {consumers} are filled in."""

    category: str
    calls: int
    consumers: int
    share: float
    always: float
    behind: tuple[str, ...]
    says: str


#: Ours, measured on worlds without friction (tests/test_friction.py): none of them raises anything.
THRESHOLDS = {
    "retries": Threshold("bug", 20, 3, 0.05, 0.15, ("errors", "latency", "rate_limit"), "{calls} calls ({share}) repeat one that had just failed"),
    "abandonment": Threshold("bug", 10, 3, 0.02, 0.08, ("errors", "latency", "auth"), "{calls} times a consumer stopped working right behind an error"),
    "polling": Threshold("enhancement", 300, 1, 0.2, 0.5, ("traffic",), "{calls} calls ({share}) ask for the same thing over and over"),
    "auth_loop": Threshold("configuration", 30, 1, 0.0, 0.0, ("auth",), "{calls} refusals in a loop"),
    "client_mistakes": Threshold("training_gap", 30, 3, 0.1, 0.3, ("errors",), "{consumers} consumers get it wrong in {share} of the calls"),
    "quota": Threshold("capacity", 20, 1, 0.05, 0.15, ("rate_limit",), "{calls} calls ({share}) refused for a used-up quota"),
    "client_aborts": Threshold("capacity", 20, 3, 0.05, 0.1, ("latency", "errors"), "{calls} callers ({share}) hung up before the answer"),
    "old_version": Threshold("question", 30, 2, 0.0, 0.0, (), "{calls} calls while a newer version is in use"),
}  # fmt: skip
_ENDPOINT = ["environment", "service", "method", "route"]


def find_friction(friction: pl.DataFrame, rollups: pl.DataFrame, *, now: datetime) -> pl.DataFrame:
    """Candidates (schema.CANDIDATES) of the signals of THRESHOLDS, in the order in which they were raised.

    friction: measure.signals.FRICTION. rollups: schema.ROLLUPS of the same time, or their calls summed up by block: what shares
    are of.
    """
    rows = _judged(friction.filter(pl.col("block") + BLOCK + SETTLED <= now), rollups)
    keyed = rows.filter("raised").with_columns(
        key=pl.when((pl.col("top_share") >= OWN) & (pl.col("consumers") == 1))
        .then(pl.concat_str(pl.lit("consumer="), "top_consumer"))
        .when(pl.col("signal") == "old_version")
        .then(pl.lit("service"))
        .otherwise(pl.concat_str(pl.lit("endpoint="), "endpoint")),
    )
    found = []
    groups = keyed.sort("block", "endpoint").group_by("signal", "environment", "service", "key", maintain_order=True)
    for (signal, environment, service, key), part in groups:
        new = (pl.col("block").diff() > TOGETHER).fill_null(True).cum_sum()
        for run in part.with_columns(run=new).partition_by("run", maintain_order=True):
            found.append(_candidate(run, str(signal), str(environment), service, str(key), now))
    return pl.DataFrame(found, schema=schema.CANDIDATES).sort("detected_at", "id")


def _judged(friction: pl.DataFrame, rollups: pl.DataFrame) -> pl.DataFrame:
    """Each block's rows with all (calls of the endpoint), share, before (share in the week before) and raised."""
    block = pl.col("bin_start").dt.truncate("6h").alias("block")
    calls = (
        rollups.filter(pl.col("synthetic_type").is_null())
        .group_by(*_ENDPOINT, block)
        .agg(pl.col("calls").sum().alias("all"))
        .with_columns(born=pl.col("block").min().over(_ENDPOINT))
    )
    rows = friction.join(calls, on=[*_ENDPOINT, "block"], how="inner", nulls_equal=True).with_columns(
        endpoint=pl.concat_str(pl.col("method").fill_null("-"), pl.lit(" "), pl.col("route").fill_null("-"))
    )
    # What is not kept of a block was less than a handful: none.
    marked = rows.select(*_ENDPOINT, "signal", "block", "calls")
    series = (
        rows.select(*_ENDPOINT, "signal")
        .unique()
        .join(calls, on=_ENDPOINT, nulls_equal=True)
        .join(marked, on=[*_ENDPOINT, "signal", "block"], how="left", nulls_equal=True)
        .with_columns(pl.col("calls").fill_null(0))
        .sort("block")
    )
    rolled = series.rolling("block", period=PAST, closed="left", group_by=[*_ENDPOINT, "signal"]).agg(
        past_marked=pl.col("calls").sum(), past_all=pl.col("all").sum()
    )
    past = rolled.select(*_ENDPOINT, "signal", "block", before=pl.col("past_marked") / pl.col("past_all")).unique(
        [*_ENDPOINT, "signal", "block"]
    )
    rows = rows.join(past, on=[*_ENDPOINT, "signal", "block"], how="left", nulls_equal=True).with_columns(
        before=pl.col("before").fill_nan(None), share=(pl.col("calls") / pl.col("all")).clip(0, 1)
    )
    limits = pl.DataFrame(
        [(name, one.calls, one.consumers, one.share, one.always) for name, one in THRESHOLDS.items()],
        schema={
            "signal": pl.String,
            "l_calls": pl.Int64,
            "l_consumers": pl.Int64,
            "l_share": pl.Float64,
            "l_always": pl.Float64,
        },
        orient="row",
    )
    grown = (pl.col("block") - pl.col("born") >= YOUNG) & (pl.col("share") >= FACTOR * pl.col("before").fill_null(0.0))
    return rows.join(limits, on="signal").with_columns(
        raised=(pl.col("calls") >= pl.col("l_calls"))
        & (pl.col("consumers") >= pl.col("l_consumers"))
        & (pl.col("share") >= pl.col("l_share"))
        & ((pl.col("share") >= pl.col("l_always")) | grown)
    )


def _candidate(
    run: pl.DataFrame, signal: str, environment: str, service: object, key: str, now: datetime
) -> dict[str, Any]:
    threshold = THRESHOLDS[signal]
    mark = hashlib.sha256(
        "\x1f".join((environment, str(service or ""), key, signal)).encode("utf-8", "surrogatepass")
    ).hexdigest()[:20]
    first, last = run["block"][0], run["block"][-1]
    start, end = run.filter(pl.col("block") == first)["first_seen"].min(), run["last_seen"].max()
    assert isinstance(start, datetime)
    assert isinstance(end, datetime)
    calls, every = int(run["calls"].sum()), int(run["all"].sum())
    share = calls / max(every, 1)
    # Counted per block and endpoint: the largest of them is the least that it can be in all.
    consumers = int(run.select(pl.col("consumers").max()).item())
    past = run.filter(pl.col("block") == first).select(pl.col("before").mean()).item()
    before = float(past or 0.0)
    endpoints = (
        run.group_by("endpoint")
        .agg(pl.col("calls").sum())
        .sort(["calls", "endpoint"], descending=[True, False])["endpoint"]
    )
    tops = (
        run.group_by("top_consumer")
        .agg(pl.col("calls").sum())
        .drop_nulls()
        .sort("calls", "top_consumer", descending=[True, False])
    )
    own = key.startswith("consumer=")
    words = threshold.says.format(calls=f"{calls:,}", share=_percent(share), consumers=f"{consumers:,}")
    where = endpoints[0] if endpoints.len() == 1 else f"{endpoints[0]} and {endpoints.len() - 1} more"
    detected_at = first + BLOCK + SETTLED
    who = (
        f" by {tops['top_consumer'][0]}"
        if own
        else ""
        if "{consumers}" in threshold.says or not consumers
        else f" by {consumers:,} consumer{'' if consumers == 1 else 's'}"
    )
    ids = run.select(pl.col("request_ids").explode()).drop_nulls().unique(maintain_order=True)["request_ids"]
    return {
        "id": f"{mark}-{start:%Y%m%dT%H%MZ}",
        "fingerprint": mark,
        "detected_at": detected_at,
        "start": start,
        "end": end,
        "state": "open" if now - (last + BLOCK) < QUIET else "ended",
        "environment": environment,
        "service": service,
        "endpoints": endpoints.to_list(),
        "signal": signal,
        "category": threshold.category,
        "severity": "medium" if consumers >= 10 or (share >= 0.3 and consumers >= 3) else "low",
        "hint": {"status": None, "upstream": None, "consumer": tops["top_consumer"][0] if own else None, "node": None},
        "affected_consumers": tops["top_consumer"].to_list(),
        "consumers_hit": consumers or None,  # marked calls always have a caller: nobody means that none is named
        "identity_coverage": None,
        "excess_calls": max(calls - before * every, 0.0),
        "score": max(calls - before * every, 0.0),
        "observed": share,
        "expected": before,
        "unit": "ratio",
        "n": every,
        "request_ids": ids.head(MAX_REQUEST_IDS).to_list(),
        "title": f"{where}: {words}{who}",
        "explanation": (
            f"From {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC: {words}{who}, of {every:,} calls in the quarter days concerned; "
            f"{'of the week before nothing is known' if past is None else f'the week before had {_percent(before)}'}. No outage: what users run into ({signal.replace('_', ' ')}). A scan at"
            f" {detected_at:%Y-%m-%d %H:%M} UTC would have raised it."
        ),
        "evidence": [],
    }


def behind(found: pl.DataFrame, incidents: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, list[dict[str, Any]]]]:
    """The friction that stands on its own, and that which is the other side of an incident: rows of schema.EVIDENCE by its id.

    An incident takes friction of the signals that go with it on one of its endpoints, when it was raised at most CAUSE before the
    friction was; that never changes later. incidents: schema.CANDIDATES of the calls.
    """
    own = []
    evidence: dict[str, list[dict[str, Any]]] = {}
    known = incidents.sort("detected_at").to_dicts()
    for row in found.to_dicts():
        home = next(
            (
                one
                for one in reversed(known)
                if one["signal"] in THRESHOLDS[row["signal"]].behind
                and (one["signal"] != "traffic" or one["observed"] > one["expected"])
                and one["environment"] == row["environment"]
                and set(one["endpoints"]) & set(row["endpoints"])
                and row["detected_at"] - CAUSE <= one["detected_at"] <= row["detected_at"]
            ),
            None,
        )
        if home is None:
            own.append(row)
        else:
            evidence.setdefault(home["id"], []).append(
                {
                    **dict.fromkeys(field.name for field in schema.EVIDENCE.fields),
                    "kind": "friction",
                    "name": row["signal"],
                    "value": row["endpoints"][0],
                    "before": row["expected"],
                    "during": row["observed"],
                    "unit": "ratio",
                }
            )
    return pl.DataFrame(own, schema=schema.CANDIDATES), evidence


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
