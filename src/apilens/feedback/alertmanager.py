"""Prometheus Alertmanager: `amtool alert --output json`, its API's alerts, and what its webhook posts."""

from __future__ import annotations

import hashlib
from typing import Any

from apilens.feedback.export import Export, inner, word
from apilens.feedback.records import Records

_ZERO = "0001-01-01"  # Go's zero time: it has not ended


class Alertmanager:
    """An alert (its labels and when it began) is an item that no person wrote: evidence and frequency, no report."""

    name = "alertmanager"

    def recognises(self, export: Export) -> bool:
        return "labels" in export.first_object and "startsAt" in export.first_object

    def parse(self, export: Export) -> Records:
        objects = export.objects
        records = Records(rejects=list(objects.rejects), damage=objects.damage)
        for line, alert in objects.found:
            if not isinstance(alert, dict) or not isinstance(alert.get("labels"), dict):
                records.rejects.append((line, "no alert: it has no labels"))
                continue
            records.records.append((line, _of_alert(alert)))
        return records


def _of_alert(alert: dict[str, Any]) -> dict[str, str]:
    labels, notes = alert["labels"], alert.get("annotations")
    shown = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "alertname")
    print_ = word(alert.get("fingerprint")) or hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    starts, ends = word(alert.get("startsAt")) or "", word(alert.get("endsAt")) or ""
    status = alert.get("status")
    state = word(inner(status, "state")) if isinstance(status, dict) else word(status)
    over = state == "resolved"
    words = [word(inner(notes, name)) for name in ("summary", "description", "message")]
    said = {
        "id": f"{print_}@{starts}",
        "title": word(labels.get("alertname")),
        "body": "\n".join(part for part in [*words, shown] if part),
        "created_at": starts,
        "status": "resolved" if over else "open",
        "resolved_at": ends if over and not ends.startswith(_ZERO) else None,
        "severity": word(labels.get("severity")),
        "alert": print_,
        "automatic": "true",
    }
    return {name: text for name, text in said.items() if text}
