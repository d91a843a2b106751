"""When talk becomes a ticket, and whether what it is about is widespread."""

from __future__ import annotations

from typing import Any

import polars as pl

from apilens.triage.context import Context
from apilens.triage.reach import consumers_hit
from apilens.triage.severity import CUTS, said_severity

#: Channels whose items are tickets already, or alerts that have their own.
_TICKETS = ("jira", "servicenow", "zendesk", "github", "gitlab", "ticket", "alertmanager", "pagerduty")
_MANY = 3  # people who say the same. Picked.

#: One row per matter that only talk is about and that should be a ticket.
ESCALATIONS = pl.Schema(
    [
        ("channel", pl.String),  # of the first who wrote
        ("id", pl.String),
        ("reporters", pl.List(pl.String)),  # everybody who wrote about it, the first one first
        ("candidate_id", pl.String),  # null: no trace in telemetry
        ("why", pl.List(pl.String)),
        ("hit", pl.Int64),  # consumers hit in the logs; null: no trace, or no call says whom it hit
        ("widespread", pl.String),  # in words
    ]
)


def escalations(
    items: pl.DataFrame,
    links: pl.DataFrame,
    duplicates: pl.DataFrame,
    categories: pl.DataFrame,
    candidates: pl.DataFrame,
    context: Context,
    population: int | None,
) -> pl.DataFrame:
    """ESCALATIONS, the one with the most reasons first.

    A matter is a candidate with all items linked to it, or an item with its certain repeats. It becomes a ticket when three
    people wrote, when it is severe by rule or by words, when a VIP account wrote, or when the logs show it; never for a
    question or a wish, and not where a ticket is about it already. widespread is answered from the logs alone.
    """
    of = dict(links.select(pl.format("{}:{}", "channel", "feedback_id"), "candidate_id").rows())
    first = {
        f"{row['channel']}:{row['id']}": f"{row['of_channel']}:{row['of_id']}"
        for row in duplicates.filter(pl.col("band") == "auto").to_dicts()
    }
    kinds = {f"{row['channel']}:{row['id']}": row for row in categories.to_dicts()}
    said = {f"{channel}:{key}": value for channel, key, value in said_severity(items).rows()}
    problems = {row["id"]: row for row in candidates.to_dicts()}
    matters: dict[str, list[dict[str, Any]]] = {}
    for row in items.sort("created_at", "channel", "id").to_dicts():
        name = root = f"{row['channel']}:{row['id']}"
        if (row["attributes"] or {}).get("automatic") == "true":
            continue
        while root in first:  # each points to an earlier one, so this ends
            root = first[root]
        matters.setdefault(of.get(name) or of.get(root) or root, []).append(row | {"name": name})
    rows = []
    for key, own in matters.items():
        names = [row["name"] for row in own]
        kind = kinds.get(names[0], {})
        if any(row["channel"] in _TICKETS for row in own) or kind.get("category") in ("question", "enhancement"):
            continue
        problem = problems.get(key)
        reporters = list(dict.fromkeys(row["reporter"] or row["account"] or row["name"] for row in own))
        why = [f"{len(reporters)} people wrote about it"] if len(reporters) >= _MANY else []
        ruled = next((kinds[name]["severity"] for name in names if kinds.get(name, {}).get("severity")), None)
        if ruled in ("critical", "high"):
            why.append(
                f"severity {ruled}: {next(kinds[name]['severity_reason'] for name in names if kinds[name]['severity'])}"
            )
        elif max(said[name] for name in names) >= CUTS["critical"]:
            why.append("its words are those of something severe")
        vip = next((row for row in own if context.is_vip(row["reporter"], row["account"])), None)
        if vip is not None:
            why.append(f"{vip['reporter'] or vip['account']} writes for a VIP account")
        if problem is not None:
            why.append(f"the logs show it: {problem['title']}")
        if why:
            hit = None if problem is None else consumers_hit(problem)
            rows.append({"channel": own[0]["channel"], "id": own[0]["id"], "reporters": reporters, "why": why,
                         "candidate_id": None if problem is None else key, "hit": hit, "widespread": _widespread(hit, population, traced=problem is not None)})  # fmt: skip
    found = pl.DataFrame(rows, schema=ESCALATIONS, orient="row")
    return found.sort(pl.col("why").list.len(), pl.col("reporters").list.len(), descending=True, maintain_order=True)


def _widespread(hit: int | None, population: int | None, *, traced: bool) -> str:
    if hit is None:
        return "unknown: the calls name no consumer" if traced else "unknown: no trace in the logs"
    of = f" of {population:,}" if population else ""
    if hit <= 1:
        return f"no: {hit} consumer{of} hit"
    share = hit / max(population or 0, hit)
    return f"{'yes' if share >= 0.1 or hit >= 20 else 'no'}: {hit:,} consumers{of} hit"
