"""ServiceNow: CSV, XLSX and JSON exports of incidents, and the Table API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apilens.errors import InputError
from apilens.feedback.api import Api, Page
from apilens.feedback.export import Export, inner, word
from apilens.feedback.markup import html_text, looks_like_html
from apilens.feedback.records import Records, renamed
from apilens.feedback.tables import columns, objects_or_rows

_FIELDS = {
    "id": ("number", "incident number"),
    "title": ("short_description", "short description"),
    "body": ("description",),
    "created_at": ("opened_at", "opened", "sys_created_on", "created"),
    "updated_at": ("sys_updated_on", "updated"),
    "resolved_at": ("resolved_at", "resolved", "closed_at", "closed"),
    "reporter": ("caller_id", "caller", "opened_by", "opened by"),
    "account": ("company", "account", "customer"),
    "status": ("state", "incident_state", "incident state"),
    "component": ("cmdb_ci", "configuration item", "business_service", "service"),
    "type": ("contact_type", "contact type"),
    "team": ("assignment_group", "assignment group"),
    "duplicate_of": ("parent_incident", "parent incident"),
    "comments": ("comments_and_work_notes", "comments and work notes", "comments", "work_notes"),
}
#: The states of an incident as the platform ships them; exports with raw values have the number.
_STATES = {"1": "New", "2": "In Progress", "3": "On Hold", "6": "Resolved", "7": "Closed", "8": "Canceled"}
_PAGE = 500


class ServiceNow:
    """An incident (or a record of any task table) is an item. Exports have times in the zone of who exports: --tz."""

    name = "servicenow"

    def recognises(self, export: Export) -> bool:
        names = set(export.first_object) or set(columns(export))
        return bool(names & {"number", "incident number"}) and bool(names & {"short_description", "short description"})

    def parse(self, export: Export) -> Records:
        return objects_or_rows(export, _incidents, _of_row)


def _incidents(found: list[tuple[int, Any]], rejects: list[tuple[int, str]], damage: str | None = None) -> Records:
    records = Records(rejects=rejects, damage=damage)
    for line, value in found:
        if not isinstance(value, dict):
            records.rejects.append((line, "no incident: it is no object"))
            continue
        texts = {str(name): text for name, entry in value.items() if (text := _shown(str(name), entry))}
        records.records.append((line, _of_row(texts)))
    return records


def _shown(name: str, entry: Any) -> str | None:
    """A plain value, or the one of {value, display_value}: times as stored (UTC), everything else as people see it."""
    if isinstance(entry, dict) and ("display_value" in entry or "value" in entry):
        stored = name.endswith(("_at", "_on"))
        shown = entry.get("display_value")
        return word(entry.get("value") if stored or not shown else shown)
    return word(entry)


def _of_row(record: dict[str, str]) -> dict[str, str]:
    incident = renamed(record, _FIELDS)
    if "status" in incident:
        incident["status"] = _STATES.get(incident["status"].strip(), incident["status"])
    if looks_like_html(incident.get("body", "")):
        incident["body"] = html_text(incident["body"])
    return incident


def pull(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """`/api/now/table/TABLE`, oldest change first. query: TABLE or TABLE?ENCODED_QUERY; empty: incident."""
    table, _, condition = (query or "incident").partition("?")
    offset, newest, asked = 0, cursor or "", cursor or ""
    while True:
        # The platform's default zone for the API is UTC, and so is every stored time.
        since = [f"sys_updated_on>={asked}"] if asked else []
        params = {
            "sysparm_query": "^".join([*([condition] if condition else []), *since, "ORDERBYsys_updated_on"]),
            "sysparm_display_value": "all",
            "sysparm_exclude_reference_link": "true",
            "sysparm_limit": str(_PAGE),
            "sysparm_offset": str(offset),
        }
        answer, headers = api.get(f"api/now/table/{table}", params)
        found = inner(answer, "result")
        if not isinstance(found, list):
            raise InputError("the answer has no result; expected that of ServiceNow's Table API, is the URL right?")
        updated = [_shown("sys_updated_on", inner(row, "sys_updated_on")) or "" for row in found]
        newest = max([newest, *updated])
        yield Page(_incidents(list(enumerate(found, 1)), []), newest)
        offset += len(found)
        if not found or offset >= int(headers.get("x-total-count", "0")) > 0 or len(found) < _PAGE:
            return
        if newest > asked and newest > min(updated):
            # An earlier row that somebody changes meanwhile moves to the end: by offset the next page would begin one too far.
            offset, asked = 0, newest
