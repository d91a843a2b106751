"""Candidates and what people reported, in one ranked queue, with the feedback gap of each problem."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.schema import QUEUE
from apilens.triage.context import Context, matches
from apilens.triage.priority import prioritise
from apilens.triage.severity import label, said_severity, severity
from apilens.triage.words import is_route, paths, stems

_CLOSED = ("resolved", "closed", "done", "fixed", "cancelled", "canceled", "wont_fix", "won't fix", "duplicate")
_QUOTE = 240  # characters of a report that are quoted
#: Loss at which the revenue part is full, in the context's currency. Picked.
_GREAT_LOSS = 10_000.0
_MONEY = (
    r"(?i)\b(charged|charge|money|refund\w*|paid|payments?|invoice (is )?wrong|revenue|lose orders|losing|€|eur|usd)\b"
)
_LAW = r"(?i)\b(gdpr|dsgvo|audit\w*|regulator\w*|legally|compliance|data protection|personal data)\b"
_ANNOYED = r"(?i)\b(unusable|frustrat\w*|annoy\w*|not happy|painful|lottery|terrible|unacceptable|angry|!!|again and again)\b|!!"


def queue(
    candidates: pl.DataFrame,
    items: pl.DataFrame,
    links: pl.DataFrame,
    duplicates: pl.DataFrame,
    categories: pl.DataFrame,
    context: Context,
    now: datetime,
    population: int | None,
) -> pl.DataFrame:
    """schema.QUEUE: one row per candidate, and one per item (with its certain repeats) that has no candidate.

    candidates, items, links: as in schema; duplicates: feedback.duplicates.DUPLICATES; categories: channel, id,
    category. population: consumers in the logs, None: unknown.
    Ordered by priority, then weight. told counts a consumer once however many of its people wrote, and a person
    whose consumer is unknown as one; silent = hit - those of the hit who told.
    """
    reports = _reports(items, links)
    mapped = {
        (channel, key): context.consumers_of(reporter, account)
        for channel, key, reporter, account in items.select("channel", "id", "reporter", "account").rows()
    }
    problems = pl.concat(
        [
            _of_candidates(candidates, reports, mapped, context, now, population),
            _of_feedback(reports, duplicates, categories, mapped, context, population),
        ],
        how="diagonal_relaxed",
    )
    if problems.is_empty():
        return pl.DataFrame(schema=QUEUE)
    ranked = (
        prioritise(problems)
        .sort(["priority", "weight", "id"], descending=[False, True, False])
        .with_row_index("rank", offset=1)
        .with_columns(severity=label(pl.col("severity")))
    )
    return ranked.select(pl.col(name).cast(dtype) for name, dtype in QUEUE.items())


def _reports(items: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    """Each item with its link; an item that triage has not seen yet says so."""
    linked = links.select("channel", "candidate_id", "confidence", "reasons", id="feedback_id")
    text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
    words = pl.col("body").fill_null(pl.col("title")).fill_null("")
    rating = pl.col("attributes").map.get("score").cast(pl.Float64, strict=False)
    status = pl.col("status").str.to_lowercase()
    resolved = pl.when(status.is_not_null()).then(status.is_in(_CLOSED)).otherwise(pl.col("resolved_at").is_not_null())
    return (
        items.join(linked, on=["channel", "id"], how="left", maintain_order="left")
        .join(said_severity(items), on=["channel", "id"])
        .with_columns(
            pl.col("confidence").fill_null(0.0),
            pl.col("reasons").fill_null(pl.lit(["not triaged yet; type: apilens triage"])),
            quote=pl.when(words.str.len_chars() > _QUOTE).then(words.str.slice(0, _QUOTE) + "…").otherwise(words),
            resolved=resolved,
            money=text.str.contains(_MONEY),
            law=text.str.contains(_LAW),
            annoyed=text.str.contains(_ANNOYED) | (rating <= 2).fill_null(False),
            text=text,
        )
        .sort("created_at", "channel", "id")
    )


def _quoted(reports: pl.DataFrame) -> list[dict[str, Any]]:
    names = ["channel", "id", "reporter", "created_at", "title", "quote", "confidence", "reasons"]
    return reports.select(names).to_dicts()


def _share(reached: int, population: int | None) -> float:
    """How far a problem reaches among all consumers, 0..1 on a logarithmic scale (ten of a thousand are a third)."""
    everyone = max(population or 0, reached, 2)
    return float(pl.select(pl.lit(reached).log1p() / pl.lit(everyone).log1p()).item())


def _demand(told: int) -> float:
    """How much people ask for it: full with ten who told."""
    return min(1.0, float(pl.select(pl.lit(told).log1p() / pl.lit(10).log1p()).item()))


def _person(report: dict[str, Any]) -> str:
    who = report["reporter"] or report["account"]
    return f"person:{who.casefold()}" if who else f"item:{report['channel']}:{report['id']}"


def _of_candidates(
    candidates: pl.DataFrame,
    reports: pl.DataFrame,
    mapped: dict[tuple[str, str], list[str]],
    context: Context,
    now: datetime,
    population: int | None,
) -> pl.DataFrame:
    scores = dict(severity(candidates).rows())
    of_candidate = {key: group for (key,), group in reports.group_by("candidate_id", maintain_order=True)}
    repeats = dict(candidates.group_by("fingerprint").len().rows())
    rows = []
    for candidate in candidates.to_dicts():
        own = of_candidate.get(candidate["id"], reports.clear())
        affected = candidate["affected_consumers"] or []
        hit = max(candidate["consumers_hit"] or 0, len(affected))
        told_hit, others = _told(own, set(affected), mapped)
        endpoints = candidate["endpoints"] or []
        is_open = candidate["state"] == "open"
        fresh = now - candidate["start"] <= timedelta(days=1)
        rows.append(
            {
                "kind": "candidate",
                **{name: candidate[name] for name in ("id", "fingerprint", "category", "state", "start", "end")},
                **{name: candidate[name] for name in ("title", "service", "identity_coverage")},
                "endpoints": endpoints,
                "owner": context.owner(endpoints),
                "hit": hit,
                "told": len(told_hit) + len(others),
                "silent": hit - len(told_hit),
                "silent_consumers": [consumer for consumer in affected if consumer not in told_hit],
                "reports": _quoted(own),
                "severity": max(scores[candidate["id"]], 0.8 * float(own["said"].max() or 0.0)),  # type: ignore[arg-type] # a Float64
                **_meaning(context, endpoints, candidate["excess_calls"], own),
                "reach": _share(hit + len(others), population),
                # Open and new is growing until shown otherwise; open and known lasts; over but back again recurs.
                "trend": (1.0 if fresh else 0.6)
                if is_open
                else (0.4 if repeats[candidate["fingerprint"]] > 1 else 0.0),
                "experience": float(own["annoyed"].cast(pl.Float64).mean()) if own.height else None,  # type: ignore[arg-type] # a Float64
                "demand": _demand(len(told_hit) + len(others)),
            }
        )
    return pl.DataFrame(rows, schema_overrides=_OVERRIDES, infer_schema_length=None)


def _told(
    reports: pl.DataFrame, affected: set[str], mapped: dict[tuple[str, str], list[str]]
) -> tuple[set[str], set[str]]:
    """Of those who wrote: the consumers hit that they speak for, and everybody else once."""
    told_hit: set[str] = set()
    others: set[str] = set()
    for report in reports.select("channel", "id", "reporter", "account").to_dicts():
        reporter = report["reporter"] or ""
        names = {report["account"], reporter, reporter.partition("@")[0], *mapped[report["channel"], report["id"]]}
        speaks_for = names & affected
        if speaks_for:
            told_hit |= speaks_for
        else:
            others.add(_person(report))
    return told_hit, others


def _meaning(context: Context, endpoints: list[str], lost_calls: float | None, reports: pl.DataFrame) -> dict[str, Any]:
    """Revenue and compliance, 0..1; null where neither context nor reports say anything.

    Core and revenue endpoints count 0.6 each; failed calls times their value fill the part at _GREAT_LOSS.
    """
    meanings = context.meanings(endpoints)
    money, law = bool(reports["money"].any()), bool(reports["law"].any())
    loss = max((meaning.value_per_call for meaning in meanings), default=0.0) * max(lost_calls or 0.0, 0.0)
    by_loss = float(pl.select(pl.lit(loss).log1p() / pl.lit(_GREAT_LOSS).log1p()).item())
    flags = 0.6 * any(meaning.core for meaning in meanings) + 0.6 * any(meaning.revenue for meaning in meanings)
    revenue = min(1.0, max(flags, by_loss, 0.5 * money))
    compliance = 1.0 if law or any(meaning.compliance for meaning in meanings) else 0.0
    unknown = context.is_empty
    return {
        "revenue": None if unknown and not money else revenue,
        "compliance": None if unknown and not law else compliance,
    }


def _of_feedback(
    reports: pl.DataFrame,
    duplicates: pl.DataFrame,
    categories: pl.DataFrame,
    mapped: dict[tuple[str, str], list[str]],
    context: Context,
    population: int | None,
) -> pl.DataFrame:
    earlier = {
        (channel, key): (of_channel, of_id)
        for channel, key, of_channel, of_id in duplicates.filter(pl.col("band") == "auto")
        .select("channel", "id", "of_channel", "of_id")
        .rows()
    }
    category_of = {
        (channel, key): category for channel, key, category in categories.select("channel", "id", "category").rows()
    }
    loose = reports.filter(pl.col("candidate_id").is_null())
    here = set(loose.select("channel", "id").rows())
    clusters: dict[tuple[str, str], list[int]] = {}
    for place, key in enumerate(loose.select("channel", "id").rows()):
        root = key
        # Each item points to an earlier one, so this ends; one that is linked elsewhere is no root here.
        while earlier.get(root) in here:
            root = earlier[root]
        clusters.setdefault(root, []).append(place)
    rows = []
    for (channel, key), places in clusters.items():
        own = loose[places]
        first = own.row(0, named=True)
        category = category_of.get((channel, key))
        asks = category in ("question", "enhancement")
        _, people = _told(own, set(), mapped)
        endpoints = [] if asks else _endpoints_named(first["text"], context)
        rows.append(
            {
                "kind": "feedback",
                "id": f"{channel}:{key}",
                "category": category,
                "state": "resolved" if own["resolved"].all() else "open",
                "start": first["created_at"],
                "end": own["created_at"].max(),
                "title": first["title"] or first["quote"],
                "endpoints": endpoints,
                "owner": context.owner(endpoints),
                "told": len(people),
                "reports": _quoted(own),
                "no_trace_reason": "; ".join(first["reasons"]),
                "severity": 0.1 if asks else 0.8 * float(own["said"].max()),  # type: ignore[arg-type] # a Float64
                **({"revenue": 0.0, "compliance": 0.0} if asks else _meaning(context, endpoints, None, own)),
                "reach": _share(len(people), population),
                "trend": 0.3 if not own["resolved"].all() else 0.0,
                "experience": float(own["annoyed"].cast(pl.Float64).mean()),  # type: ignore[arg-type] # a Float64
                "demand": _demand(len(people)),
            }
        )
    return pl.DataFrame(rows, schema_overrides=_OVERRIDES, infer_schema_length=None)


def _endpoints_named(text: str, context: Context) -> list[str]:
    """The endpoints of the context a report speaks of: by path, else by the name of a feature."""
    said, words = paths(text), stems(text)
    by_path = [name for name in context.endpoints if any(is_route(path, name.replace("*", "{id}")) for path in said)]
    return by_path or [
        name
        for name in context.endpoints
        for feature, patterns in context.features.items()
        if stems(feature) <= words and any(matches(pattern, name) for pattern in patterns)
    ]


_OVERRIDES: dict[str, Any] = {
    **{name: QUEUE[name] for name in QUEUE if name not in ("rank", "priority", "weight", "parts", "why", "severity")},
    **dict.fromkeys(("severity", "revenue", "compliance", "reach", "trend", "experience", "demand"), pl.Float64),
}
