"""Candidates and reported items for tests, with only what a test cares about spelled out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from apilens.schema import CANDIDATES, ITEMS

MONDAY = datetime(2026, 3, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def candidate(name: str = "pay", **given: Any) -> dict[str, Any]:
    """A row of schema.CANDIDATES: 502s of POST /v1/orders/{id}/pay since Monday 10:00, still open."""
    start = given.get("start", MONDAY + 10 * HOUR)
    affected = given.get("affected_consumers", ["app-01", "app-02", "app-03"])
    return {
        "id": f"{name}-1",
        "fingerprint": (name.encode().hex() + "0" * 20)[:20],
        "detected_at": start + timedelta(minutes=5),
        "start": start,
        "end": start + 2 * HOUR,
        "first_affected_at": start + timedelta(seconds=42),
        "state": "open",
        "environment": "prod",
        "service": "shop",
        "endpoints": ["POST /v1/orders/{id}/pay"],
        "signal": "errors",
        "category": "dependency",
        "severity": "medium",
        "hint": {"status": "502", "upstream": None, "consumer": None, "node": None},
        "affected_consumers": affected,
        "consumers_hit": len(affected),
        "identity_coverage": 0.95,
        "excess_calls": 40.0,
        "score": 10.0,
        "observed": 0.05,
        "expected": 0.002,
        "unit": "ratio",
        "n": 2000,
        "request_ids": ["req-0001-abcdef"],
        "title": "pay: 502",
        "explanation": "5 % of the calls ended with 502, expected 0.2 %.",
        **given,
    }


def candidates(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=CANDIDATES, orient="row")


def item(name: str = "T-1", **given: Any) -> dict[str, Any]:
    """A row of schema.ITEMS: somebody wrote on Monday at 11:00."""
    return {
        "id": name,
        "channel": "ticket",
        "created_at": MONDAY + 11 * HOUR,
        "reporter": "dana@acme.example",
        "account": None,
        "title": None,
        "body": None,
        "status": "new",
        "resolved_at": None,
        "attributes": None,
        **given,
    }


def items(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ITEMS, orient="row")
