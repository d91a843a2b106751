"""The changes of status that a channel tells about its items."""

from __future__ import annotations

import json
from datetime import UTC, tzinfo
from typing import Any

import polars as pl

from apilens.feedback.records import BadRecordError, read_time
from apilens.schema import TIMESTAMP

#: One row per change of status.
HISTORY = pl.Schema(
    [("channel", pl.String), ("id", pl.String), ("at", TIMESTAMP), ("old", pl.String), ("new", pl.String)]
)


def history(items: pl.DataFrame, tz: tzinfo = UTC) -> pl.DataFrame:
    """HISTORY from the attribute `history`: a JSON list of {at, from, to}; what is not of that form tells nothing.

    items: schema.ITEMS.
    """
    told = items.select("channel", "id", text=pl.col("attributes").map.get("history")).drop_nulls("text")
    rows = [
        {"channel": channel, "id": key, **change} for channel, key, text in told.rows() for change in _changes(text, tz)
    ]
    return pl.DataFrame(rows, schema=HISTORY, orient="row")


def _changes(text: str, tz: tzinfo) -> list[dict[str, Any]]:
    try:
        entries = json.loads(text)
        return [
            {"at": read_time(str(entry["at"]), tz), "old": _word(entry.get("from")), "new": str(entry["to"])}
            for entry in entries
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, BadRecordError):
        return []


def _word(value: object) -> str | None:
    return None if value is None else str(value)
