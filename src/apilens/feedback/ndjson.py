"""NDJSON: one JSON object per line, one object per reported item."""

from __future__ import annotations

import json
from typing import Any

from apilens.feedback.records import Records, lines


class Ndjson:
    """Fields are named as in schema.ITEMS; numbers keep their digits, nested values become JSON text."""

    def recognises(self, text: str) -> bool:
        return text.lstrip().startswith("{")

    def parse(self, text: str) -> Records:
        found = Records()
        for number, line in lines(text):
            if not line.strip():
                continue
            try:
                # Numbers as text: an id of 20 digits stays what it was.
                value = json.loads(
                    line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_no_key_twice
                )
            except (ValueError, RecursionError) as bad:
                found.rejects.append((number, f"no JSON object: {bad or 'nested too deep'}"))
                continue
            if isinstance(value, dict):
                record = {str(key).strip().lower(): _text(entry) for key, entry in value.items() if entry is not None}
                found.records.append((number, record))
            else:
                found.rejects.append((number, f"a JSON {type(value).__name__}, expected an object"))
        return found


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:60]!r} stands twice")
    return dict(pairs)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
