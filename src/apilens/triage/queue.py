"""Candidates and what people reported, in one ranked queue, with the feedback gap of each problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from apilens.schema import QUEUE
from apilens.triage.context import Context, matches
from apilens.triage.evidence import AUTOMATIC_REPLY
from apilens.triage.priority import MOSCOW, OVERRIDES, RANKING, SHARES, prioritise, ranking
from apilens.triage.reach import consumers_hit
from apilens.triage.severity import CUTS, label, said_severity, severity
from apilens.triage.words import is_route, paths, stems

#: Status words of the trackers, English, German, French and Spanish, that end an item; a team's own words are known by the
#: date of resolution that goes with them, unless the status says that it is open again.
_CLOSED = ("resolved", "closed", "done", "fixed", "solved", "cancelled", "canceled", "wont_fix", "won't fix", "duplicate", "completed",
           "erledigt", "geschlossen", "gelöst", "fertig", "fermé", "résolu", "terminé", "cerrado", "resuelto", "finalizada")  # fmt: skip
_OPEN = (
    "open",
    "opened",
    "reopened",
    "new",
    "to do",
    "in progress",
    "on hold",
    "pending",
    "hold",
    "offen",
    "neu",
    "ouvert",
    "abierto",
)
_QUOTE = 240  # characters of a report that are quoted
#: Loss at which the revenue part is full, in the context's currency. Picked.
_GREAT_LOSS = 10_000.0
_MONEY = (
    r"(?i)\b(charged|charge|money|refund\w*|paid|payments?|invoice (is )?wrong|revenue|lose orders|losing|€|eur|usd)\b"
)
_LAW = r"(?i)\b(gdpr|dsgvo|audit\w*|regulator\w*|legally|compliance|data protection|personal data)\b"
_ANNOYED = r"(?i)\b(unusable|frustrat\w*|annoy\w*|not happy|painful|lottery|terrible|unacceptable|angry)\b"


#: A row of the queue before it is ranked: severity and the other parts of the weight are still 0..1.
_PROBLEMS = pl.Schema(
    [
        *(
            (name, QUEUE[name])
            for name in QUEUE
            if name
            not in ("rank", "priority", "weight", "parts", "why", "moved", "override", "rice", "moscow", "severity")
        ),
        ("core", pl.Boolean()),  # the product is not usable without it
        *((name, pl.Float64()) for name in SHARES),
    ]
)


def queue(
    candidates: pl.DataFrame,
    items: pl.DataFrame,
    links: pl.DataFrame,
    duplicates: pl.DataFrame,
    categories: pl.DataFrame,
    context: Context,
    now: datetime,
    population: int | None,
    *,
    speaks_for: Mapping[str, str] | None = None,
    before: pl.DataFrame | None = None,
    overrides: pl.DataFrame | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """schema.QUEUE, one row per candidate, and one per item (with its certain repeats) that has no candidate; and RANKING.

    candidates, items, links: as in schema; duplicates: feedback.duplicates.DUPLICATES; categories: as feedback.category makes
    them. population: consumers in the logs, None: unknown. speaks_for: item (CHANNEL:ID) -> the consumer whose calls it names,
    beside those the context tells. before: RANKING of the triage before this one, for hysteresis and
    for what moved. overrides: OVERRIDES.
    Ordered by weight: raw RICE would put a cosmetic issue of many above the loss of few. Priority also asks how
    urgent it is, so what has ended may weigh much and still be P3. told counts a consumer once however many of its
    people wrote, and a person whose consumer is unknown as one; silent = hit - those of the hit who told.
    """
    reports = _reports(items, links, categories)
    named = speaks_for or {}
    mapped = {
        (channel, key): [
            *context.consumers_of(reporter, account),
            *([named[f"{channel}:{key}"]] if f"{channel}:{key}" in named else []),
        ]
        for channel, key, reporter, account in items.select("channel", "id", "reporter", "account").rows()
    }
    problems = pl.concat(
        [
            _of_candidates(candidates, reports, mapped, context, now, population),
            _of_feedback(reports, duplicates, categories, mapped, context, population, candidates),
        ]
    ).with_columns(label=label(pl.col("severity")))
    earlier = pl.DataFrame(schema=RANKING) if before is None else before
    given = pl.DataFrame(schema=OVERRIDES) if overrides is None else overrides
    ranked = (
        prioritise(problems, earlier, given, now)
        # Priority asks both how much and how soon: what weighs much but is over waits behind what still hurts.
        .sort(["priority", "weight", "id"], descending=[False, True, False])
        .with_row_index("rank", offset=1)
        .with_columns(severity="label")
    )
    return ranked.select(pl.col(name).cast(dtype) for name, dtype in QUEUE.items()), ranking(ranked)


def sorted_by(ranked: pl.DataFrame, order: str) -> pl.DataFrame:
    """A queue (schema.QUEUE) by weighted (its own order), rice or moscow; rank stays what it was."""
    if order == "rice":
        return ranked.sort("rice", "rank", descending=[True, False])
    if order == "moscow":
        return ranked.sort(pl.col("moscow").replace_strict({name: n for n, name in enumerate(MOSCOW)}), "rank")
    return ranked


def silent_first(ranked: pl.DataFrame) -> pl.DataFrame:
    """Of a queue (schema.QUEUE) the problems whose consumers were hit and said nothing, most silent first."""
    return ranked.filter(pl.col("silent") > 0).sort("silent", "rank", descending=[True, False])


def surprise(ranked: pl.DataFrame) -> str | None:
    """Why the highest problem that hit far fewer consumers stands above one that hit more; None: there is no such pair.

    ranked: schema.QUEUE. Far fewer: a third at most. The text names the parts that differ most, with their points.
    Problems of whose consumers nothing is known are passed over.
    """
    problems = ranked.filter(pl.col("kind") == "candidate", pl.col("hit").is_not_null()).to_dicts()
    for place, upper in enumerate(problems):
        for lower in problems[place + 1 :]:
            if upper["hit"] < lower["hit"] and 3 * upper["hit"] <= lower["hit"]:
                return f"why {upper['rank']} above {lower['rank']}: {_difference(upper, lower)}"
    return None


def _difference(upper: dict[str, Any], lower: dict[str, Any]) -> str:
    points = {part["name"]: part["points"] for part in upper["parts"]}
    for part in lower["parts"]:
        points[part["name"]] = points.get(part["name"], 0.0) - part["points"]
    largest = sorted(points.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
    return ", ".join(
        f"{name} {'+' if value > 0 else '−'}{abs(value):.0f}" for name, value in largest[:4] if abs(value) >= 0.5
    )


def _reports(items: pl.DataFrame, links: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Each item with its link, and the severity (0..1) and owner that rules or people gave it; an item that triage has not
    seen yet says so."""
    given = categories.select(
        "channel",
        "id",
        given_severity=pl.col("severity").replace_strict(CUTS, default=None, return_dtype=pl.Float64),
        given_owner="owner",
    )
    linked = links.select("channel", "candidate_id", "confidence", "reasons", id="feedback_id")
    text = pl.concat_str(["title", "body"], separator="\n", ignore_nulls=True).fill_null("")
    words = pl.col("body").fill_null(pl.col("title")).fill_null("")
    rating = pl.col("attributes").map.get("score").cast(pl.Float64, strict=False)
    status = pl.col("status").str.to_lowercase()
    dated = pl.col("resolved_at").is_not_null() & ~status.is_in(_OPEN).fill_null(False)
    resolved = status.is_in(_CLOSED).fill_null(False) | dated
    return (
        items.join(linked, on=["channel", "id"], how="left", maintain_order="left")
        .join(said_severity(items), on=["channel", "id"])
        .join(given, on=["channel", "id"], how="left", maintain_order="left")
        .with_columns(
            pl.col("confidence").fill_null(0.0),
            pl.col("reasons").fill_null(pl.lit(["not triaged yet; type: apilens triage"])),
            quote=pl.when(words.str.len_chars() > _QUOTE).then(words.str.slice(0, _QUOTE) + "…").otherwise(words),
            resolved=resolved,
            money=text.str.contains(_MONEY),
            law=text.str.contains(_LAW),
            automatic=(pl.col("attributes").map.get("automatic") == "true").fill_null(False),
            annoyed=text.str.contains(_ANNOYED) | (rating <= 2).fill_null(False),
            text=text,
        )
        .sort("created_at", "channel", "id")
    )


_Report = dict[str, Any]


def _quoted(reports: list[_Report]) -> list[_Report]:
    names = ("channel", "id", "reporter", "created_at", "title", "quote", "confidence", "reasons")
    return [{name: report[name] for name in names} for report in reports]


def _share(reached: int, population: int | None) -> float:
    """How far a problem reaches among all consumers, 0..1 on a logarithmic scale (ten of a thousand are a third)."""
    everyone = max(population or 0, reached, 2)
    return math.log1p(reached) / math.log1p(everyone)


def _demand(told: int) -> float:
    """How much people ask for it: full with ten who told."""
    return min(1.0, math.log1p(told) / math.log1p(10))


def _annoyed(reports: list[_Report]) -> float | None:
    """Share of the reports whose words or rating show annoyance; None without a report."""
    return sum(report["annoyed"] for report in reports) / len(reports) if reports else None


def _said(reports: list[_Report]) -> float:
    """The severity that is read from texts; 0.8: people see their own case, not the whole."""
    return 0.8 * max((report["said"] for report in reports), default=0.0)


def _given_severity(reports: list[_Report]) -> float | None:
    """The highest severity that rules or people gave a report; None: none did."""
    return max((given for report in reports if (given := report["given_severity"]) is not None), default=None)


def _given_owner(reports: list[_Report]) -> str | None:
    """The owner that rules or people gave the earliest report that has one."""
    return next((report["given_owner"] for report in reports if report["given_owner"]), None)


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
    of_candidate: dict[str, list[_Report]] = {}
    for report in reports.drop_nulls("candidate_id").to_dicts():
        of_candidate.setdefault(report["candidate_id"], []).append(report)
    repeats = dict(candidates.group_by("fingerprint").len().rows())
    rows = []
    for candidate in candidates.to_dicts():
        own = of_candidate.get(candidate["id"], [])
        affected = candidate["affected_consumers"] or []
        hit = consumers_hit(candidate)
        told_hit, others = _told(own, set(affected), mapped)
        endpoints = candidate["endpoints"] or []
        is_open = candidate["state"] == "open"
        fresh = now - candidate["start"] <= timedelta(days=1)
        rows.append(
            {
                "kind": "candidate",
                **{name: candidate[name] for name in ("id", "fingerprint", "category", "state", "start", "end")},
                **{name: candidate[name] for name in ("title", "environment", "service", "identity_coverage")},
                "endpoints": endpoints,
                "owner": context.owner(endpoints) or _given_owner(own),
                "hit": hit,
                "told": len(told_hit) + len(others),
                "silent": None if hit is None else hit - len(told_hit),
                "silent_consumers": [consumer for consumer in affected if consumer not in told_hit],
                "reports": _quoted(own),
                "severity": max(scores[candidate["id"]], _said(own), _given_severity(own) or 0.0),
                **_meaning(context, endpoints, candidate["excess_calls"], own),
                "reach": None if hit is None else _share(hit + len(others), population),
                # Open and new is growing until shown otherwise; open and known lasts; over but back again recurs.
                "trend": (1.0 if fresh else 0.6)
                if is_open
                else (0.4 if repeats[candidate["fingerprint"]] > 1 else 0.0),
                "experience": _annoyed(own),
                "demand": _demand(len(told_hit) + len(others)),
            }
        )
    return pl.DataFrame(rows, schema=_PROBLEMS, orient="row")


def _told(
    reports: list[_Report], affected: set[str], mapped: dict[tuple[str, str], list[str]]
) -> tuple[set[str], set[str]]:
    """Of those who wrote: the consumers hit that they speak for, and everybody else once."""
    told_hit: set[str] = set()
    others: set[str] = set()
    for report in reports:
        if report["automatic"]:
            continue  # an alert is evidence and nobody's report
        reporter = report["reporter"] or ""
        names = {report["account"], reporter, reporter.partition("@")[0], *mapped[report["channel"], report["id"]]}
        speaks_for = names & affected
        if speaks_for:
            told_hit |= speaks_for
        else:
            others.add(_person(report))
    return told_hit, others


def _meaning(
    context: Context, endpoints: list[str], lost_calls: float | None, reports: list[_Report]
) -> dict[str, Any]:
    """Revenue and compliance, 0..1; null where neither context nor reports say anything.

    Core and revenue endpoints count 0.6 each; failed calls times their value fill the part at _GREAT_LOSS.
    """
    meanings = context.meanings(endpoints)
    money, law = any(report["money"] for report in reports), any(report["law"] for report in reports)
    loss = max((meaning.value_per_call for meaning in meanings), default=0.0) * max(lost_calls or 0.0, 0.0)
    by_loss = math.log1p(loss) / math.log1p(_GREAT_LOSS)
    flags = 0.6 * any(meaning.core for meaning in meanings) + 0.6 * any(meaning.revenue for meaning in meanings)
    revenue = min(1.0, max(flags, by_loss, 0.5 * money))
    compliance = 1.0 if law or any(meaning.compliance for meaning in meanings) else 0.0
    unknown = context.is_empty
    return {
        "core": any(meaning.core for meaning in meanings),
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
    candidates: pl.DataFrame,
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
    loose = {(report["channel"], report["id"]): report for report in reports.to_dicts() if not report["candidate_id"]}
    clusters: dict[tuple[str, str], list[_Report]] = {}
    for key, report in loose.items():
        root = key
        # Each item points to an earlier one, so this ends; one that is linked to a candidate is no root here.
        while (before := earlier.get(root)) is not None and before in loose:
            root = before
        clusters.setdefault(root, []).append(report)
    problems = candidates.to_dicts()
    named = _Named(context)
    rows = []
    for (channel, name), own in clusters.items():
        first = own[0]
        # Nobody waits for an answer to an automatic reply.
        resolved = all(report["resolved"] or report["reasons"][0] == AUTOMATIC_REPLY for report in own)
        category = category_of.get((channel, name))
        asks = category in ("question", "enhancement")
        _, people = _told(own, set(), mapped)
        endpoints = named.endpoints(first["text"])
        lifts = _struggle(first, endpoints, mapped[channel, name], problems) if category == "enhancement" else None
        if asks and lifts is None:
            endpoints = []
        rows.append(
            {
                "kind": "feedback",
                "id": f"{channel}:{name}",
                "category": category,
                "state": "resolved" if resolved else "open",
                "start": first["created_at"],
                "end": max(report["created_at"] for report in own),
                "title": first["title"] or first["quote"],
                "endpoints": endpoints,
                # What people or rules set about a report counts before what its words and the context say.
                "owner": _given_owner(own) or context.owner(endpoints),
                "told": len(people),
                "reports": _quoted(own),
                "no_trace_reason": first["reasons"][0],
                "severity": given if (given := _given_severity(own)) is not None else 0.1 if asks else _said(own),
                **(
                    {"core": False, "revenue": 0.0, "compliance": 0.0}
                    if asks and lifts is None
                    else _meaning(context, endpoints, None, own)
                ),
                "reach": _share(max(len(people), lifts or 0), population),
                "trend": 0.0 if resolved else 0.3 if lifts is None else 0.6,
                "experience": _annoyed(own) if lifts is None else 1.0,
                "demand": _demand(len(people)),
            }
        )
    return pl.DataFrame(rows, schema=_PROBLEMS, orient="row")


def _struggle(
    wish: _Report, endpoints: list[str], consumers: list[str], candidates: list[dict[str, Any]]
) -> int | None:
    """Consumers a wish would help who struggle: those hit by the problems of what it speaks of, or of who asks for it.

    None: nobody struggles there. A wish that lifts a struggling segment weighs by that segment, not by the one who wrote.
    """
    hit: set[str] = set()
    many = 0
    said_paths = paths(wish["text"])
    for candidate in candidates:
        affected = set(candidate["affected_consumers"] or [])
        own = [
            endpoint for pattern in endpoints for endpoint in candidate["endpoints"] or [] if matches(pattern, endpoint)
        ]
        said = any(is_route(path, endpoint) for path in said_paths for endpoint in candidate["endpoints"] or [])
        if own or said:
            hit |= affected
            many = max(many, candidate["consumers_hit"] or 0)
        elif affected & set(consumers):
            hit |= affected & set(consumers)
    return max(len(hit), many) or None


class _Named:
    """Which endpoints of the context a text speaks of: by path, else by the name of a feature."""

    def __init__(self, context: Context) -> None:
        self._endpoints = list(context.endpoints)
        self._routes = {name: name.replace("*", "{id}") for name in self._endpoints}
        self._features = [
            (name, stems(feature))
            for name in self._endpoints
            for feature, patterns in context.features.items()
            if any(matches(pattern, name) for pattern in patterns)
        ]

    def endpoints(self, text: str) -> list[str]:
        if not self._endpoints:
            return []
        said = paths(text)
        by_path = [name for name in self._endpoints if any(is_route(path, self._routes[name]) for path in said)]
        if by_path or not self._features:
            return by_path
        words = stems(text)
        return [name for name, feature in self._features if feature <= words]


def beside(queue: pl.DataFrame, pairs: pl.DataFrame, talk: pl.DataFrame) -> pl.DataFrame:
    """schema.QUEUE with what stands beside a problem: related, what it is caused by, causes, blocks or is blocked by, in words
    with the other's id; and escalate, why it should be a ticket where only talk is about it. Lists, empty where there is none.

    pairs: related.RELATED, rejected ones are left out; talk: escalation.ESCALATIONS.
    """
    words: dict[str, list[str]] = {}
    for row in pairs.filter(pl.col("verdict") != "rejected").to_dicts():
        there, back = _WAYS[row["kind"]]
        sure = "" if row["verdict"] == "confirmed" else ", proposed"
        for own, way, other in ((row["id"], there, row["other"]), (row["other"], back, row["id"])):
            words.setdefault(own, []).append(f"{way} {other} ({row['why']}{sure})")
    named = pl.coalesce("candidate_id", pl.format("{}:{}", "channel", "id"))
    found = {"related": words, "escalate": dict(talk.select(named, "why").rows())}
    return queue.with_columns(
        pl.Series(name, [of.get(key, []) for key in queue["id"]], pl.List(pl.String)) for name, of in found.items()
    )


#: Kind of a pair -> how its problem stands to the other one, and the other one to it.
_WAYS = {"caused_by": ("caused by", "causes"), "blocks": ("blocks", "blocked by")}
