"""Problems that cause or block each other: proposed from what they share, decided by people."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

#: A consequence shows at once or after the caches and queues between have run dry. Picked.
_SOON = timedelta(minutes=30)
_SHARE = 0.5  # of the smaller problem's consumers, for problems that share no machine. Picked.

#: One row per pair of problems. `id` is caused by, or blocks, `other`.
RELATED = pl.Schema(
    [
        ("kind", pl.String),  # caused_by | blocks
        ("id", pl.String),  # candidate
        ("other", pl.String),  # candidate
        ("verdict", pl.String),  # proposed | confirmed | rejected
        ("why", pl.String),
    ]
)


def related(candidates: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """RELATED: proposals, and what people decided (kind, subject and object fingerprints, verdict, who).

    Proposed as caused by an earlier problem: one that began at most 30 minutes after it, while it lasted, on another endpoint
    and behind the same upstream or node; or, where the logs name none, that hit at least half of the same consumers in the
    same service. Each has at most one proposed cause, the earliest. A decision is about fingerprints: it holds for every
    occurrence.
    """
    rows = candidates.sort("start", "id").to_dicts()
    decided = {(row["kind"], row["subject"], row["object"]): row for row in decisions.to_dicts()}
    found: list[dict[str, Any]] = []
    for place, later in enumerate(rows):
        for earlier in rows[:place]:
            key = ("caused_by", later["fingerprint"], earlier["fingerprint"])
            why = _reason(earlier, later)
            if why is not None and key not in decided and later["fingerprint"] != earlier["fingerprint"]:
                found.append(
                    {"kind": "caused_by", "id": later["id"], "other": earlier["id"], "verdict": "proposed", "why": why}
                )
                break
    latest = {row["fingerprint"]: row["id"] for row in rows}
    for (kind, subject, other), row in decided.items():
        if subject in latest and other in latest:
            why = f"{row['who']} says so" + (f": {row['why']}" if row["why"] else "")
            found.append(
                {"kind": kind, "id": latest[subject], "other": latest[other], "verdict": row["verdict"], "why": why}
            )
    return pl.DataFrame(found, schema=RELATED, orient="row")


def _reason(earlier: dict[str, Any], later: dict[str, Any]) -> str | None:
    """What the two share, in words; None: nothing that speaks for a cause."""
    minutes = (later["start"] - earlier["start"]) // timedelta(minutes=1)
    if later["start"] - earlier["start"] > _SOON or (earlier["end"] <= later["start"] and earlier["state"] != "open"):
        return None
    if set(earlier["endpoints"] or []) & set(later["endpoints"] or []):
        return None  # two sides of one problem
    one, two = earlier["hint"] or {}, later["hint"] or {}
    for name in ("upstream", "node"):
        if one.get(name) and one.get(name) == two.get(name):
            return f"both behind {name} {one[name]}, {minutes} minutes after it began"
        if one.get(name) and two.get(name):
            return None  # each has a machine of its own
    a, b = set(earlier["affected_consumers"] or []), set(later["affected_consumers"] or [])
    if earlier["service"] and earlier["service"] == later["service"] and min(len(a), len(b)) >= 3:
        share = len(a & b) / min(len(a), len(b))
        if share >= _SHARE:
            return f"the same service, {share:.0%} of the same consumers, {minutes} minutes after it began"
    return None
