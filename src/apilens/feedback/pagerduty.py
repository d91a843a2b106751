"""PagerDuty: incidents as JSON of the REST interface, and the CSV of its reports."""

from __future__ import annotations

from typing import Any

from apilens.feedback.export import Export, inner, word
from apilens.feedback.records import Records, renamed
from apilens.feedback.tables import columns, rows

_CSV = {
    "id": ("id", "incident_id", "incident id", "incident_number", "incident number", "number"),
    "title": ("description", "title", "summary"),
    "created_at": ("created_on", "created_at", "created on", "created at"),
    "resolved_at": ("resolved_on", "resolved_at", "resolved on", "resolved at"),
    "status": ("status",),
    "severity": ("urgency",),
    "component": ("service_name", "service name", "service"),
    "team": ("team_name", "escalation_policy_name"),
}


class PagerDuty:
    """An incident is an item that no person wrote: evidence and frequency, no report."""

    name = "pagerduty"

    def recognises(self, export: Export) -> bool:
        first, header = export.first_object, set(columns(export))
        return {"incident_number", "urgency"} <= set(first) or (
            bool(header & {"incident_number", "incident number"}) and bool(header & {"service_name", "service name"})
        )

    def parse(self, export: Export) -> Records:
        if not export.first_object:
            found = rows(export)
            found.records = [
                (line, _closed(renamed(record, _CSV) | {"automatic": "true"})) for line, record in found.records
            ]
            return found
        objects = export.objects
        records = Records(rejects=list(objects.rejects), damage=objects.damage)
        for line, incident in objects.found:
            if isinstance(incident, dict):
                records.records.append((line, _of_incident(incident)))
            else:
                records.rejects.append((line, "no incident: it is no object"))
        return records


def _closed(incident: dict[str, str]) -> dict[str, str]:
    return {"status": "resolved" if "resolved_at" in incident else "open"} | (
        incident | ({"status": "open"} if incident.get("status") == "triggered" else {})
    )


def _of_incident(incident: dict[str, Any]) -> dict[str, str]:
    status = word(incident.get("status"))
    ended = incident.get("resolved_at") or (incident.get("last_status_change_at") if status == "resolved" else None)
    said = {
        "id": word(incident.get("id")) or word(incident.get("incident_number")),
        "title": word(incident.get("title") or incident.get("summary")),
        "body": word(inner(incident, "body", "details") or incident.get("description")),
        "created_at": word(incident.get("created_at")),
        "updated_at": word(incident.get("updated_at")),
        "resolved_at": word(ended),
        "status": {"triggered": "open"}.get(status or "", status),
        "severity": word(incident.get("urgency")),
        "component": word(inner(incident, "service", "summary")),
        "team": word(inner(incident, "escalation_policy", "summary")),
        "alert": word(incident.get("incident_key")),
        "url": word(incident.get("html_url")),
        "automatic": "true",
    }
    return {name: text for name, text in said.items() if text}
