"""Jira: CSV and JSON exports, and the search of Cloud (v3) and Data Center (v2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from apilens.errors import InputError
from apilens.feedback.api import Api, Page
from apilens.feedback.export import Export, inner, word
from apilens.feedback.markup import document_text, tidy
from apilens.feedback.records import Records, read_time, renamed
from apilens.feedback.tables import columns, objects_or_rows

#: The export names its columns in the language of who exports: English, German, French, Spanish.
_CSV = {
    "id": ("issue key", "key", "vorgangsschlüssel", "clé de ticket", "clé de la demande", "clave de incidencia"),
    "title": ("summary", "zusammenfassung", "résumé", "resumen"),
    "body": ("description", "beschreibung", "descripción"),
    "created_at": ("created", "erstellt", "création", "créée", "creada", "creado"),
    "updated_at": ("updated", "aktualisiert", "mise à jour", "mis à jour", "actualizada", "actualizado"),
    "resolved_at": ("resolved", "erledigt", "résolue", "résolu", "resuelta", "resuelto"),
    "reporter": ("reporter", "creator", "autor", "berichterstatter", "rapporteur", "informador"),
    "account": ("custom field (organizations)", "organizations", "custom field (customer)", "custom field (account)"),
    "status": ("status", "état", "estado"),
    "type": ("issue type", "work type", "vorgangstyp", "type de ticket", "tipo de incidencia"),
    "priority": ("priority", "priorität", "priorité", "prioridad"),
    "component": ("component/s", "components", "component"),
    "attachments": ("attachment", "attachments"),
    "comments": ("comment", "comments"),
    "duplicate_of": ("outward issue link (duplicate)", "outward issue link (duplicates)"),
}
#: `30/Sep/21 17:20;user;…`, several of them joined by commas.
_NEXT = re.compile(r", (?=\d{1,2}/[^;,\n]{3,30};)")
_FIELDS = "summary,description,created,updated,resolutiondate,reporter,creator,status,issuetype,priority,labels,components,environment,attachment,comment,assignee,issuelinks"
_PAGE = "100"


class Jira:
    """An issue is an item. Jira writes CSV times in the zone of who exports: name it with --tz."""

    name = "jira"

    def recognises(self, export: Export) -> bool:
        first = export.first_object
        header = set(columns(export))
        named = bool(header & set(_CSV["id"])) and bool(header & set(_CSV["title"]))
        return named or ("key" in first and isinstance(first.get("fields"), dict))

    def parse(self, export: Export) -> Records:
        return objects_or_rows(export, _issues, _of_row)


def _of_row(record: dict[str, str]) -> dict[str, str]:
    issue = renamed(record, _CSV)
    if "attachments" in issue:
        # `…;user;name;URL`: only the names are kept.
        parts = [part.split(";") for part in _NEXT.split(issue["attachments"])]
        issue["attachments"] = ", ".join(part[2] if len(part) > 2 else part[0] for part in parts)
    if "comments" in issue:
        said = [part.split(";", 2) for part in _NEXT.split(issue["comments"])]
        issue["comments"] = "\n".join(f"{part[1]}: {part[2]}" if len(part) > 2 else part[0] for part in said)
    return issue


def _issues(found: list[tuple[int, Any]], rejects: list[tuple[int, str]], damage: str | None = None) -> Records:
    records = Records(rejects=rejects, damage=damage)
    for line, issue in found:
        if not isinstance(issue, dict) or not isinstance(issue.get("fields"), dict):
            records.rejects.append((line, "no Jira issue: it has no fields"))
            continue
        records.records.append((line, _of_issue(issue)))
    return records


def _of_issue(issue: dict[str, Any]) -> dict[str, str]:
    fields = issue["fields"]
    said = {
        "id": word(issue.get("key")),
        "title": word(fields.get("summary")),
        "body": tidy(document_text(fields.get("description"))),
        "created_at": word(fields.get("created")),
        "updated_at": word(fields.get("updated")),
        "resolved_at": word(fields.get("resolutiondate")),
        "reporter": _person(fields.get("reporter")) or _person(fields.get("creator")),
        "account": _names(fields.get("organizations")),
        "status": word(inner(fields, "status", "name")),
        "type": word(inner(fields, "issuetype", "name")),
        "priority": word(inner(fields, "priority", "name")),
        "assignee": _person(fields.get("assignee")),
        "labels": _names(fields.get("labels")),
        "component": _names(fields.get("components")),
        "environment": tidy(document_text(fields.get("environment"))),
        "attachments": _names(fields.get("attachment"), "filename"),
        "comments": _comments(inner(fields, "comment", "comments")),
        "resolution": word(inner(fields, "resolution", "name")),
        "duplicate_of": _duplicate_of(fields.get("issuelinks")),
        "history": _history(inner(issue, "changelog", "histories")),
    }
    return {name: text for name, text in said.items() if text}


def _person(value: Any) -> str | None:
    return next((word(inner(value, key)) for key in ("emailAddress", "displayName", "name") if inner(value, key)), None)


def _names(values: Any, key: str = "name") -> str:
    named = values if isinstance(values, list) else []
    return ", ".join(str(value if isinstance(value, str) else inner(value, key)) for value in named)


def _comments(values: Any) -> str:
    return "\n".join(
        f"{_person(inner(value, 'author')) or 'somebody'}: {tidy(document_text(inner(value, 'body')))}"
        for value in (values if isinstance(values, list) else [])
    )


def _duplicate_of(links: Any) -> str:
    """Keys of the issues that people said this one duplicates."""
    return ", ".join(
        str(inner(link, "outwardIssue", "key"))
        for link in (links if isinstance(links, list) else [])
        if inner(link, "outwardIssue", "key") and "duplicat" in str(inner(link, "type", "outward") or "").casefold()
    )


def _history(changes: Any) -> str | None:
    """The changes of status as feedback.history reads them."""
    told = [
        {"at": inner(change, "created"), "from": inner(entry, "fromString"), "to": inner(entry, "toString")}
        for change in (changes if isinstance(changes, list) else [])
        for entry in (inner(change, "items") or [])
        if inner(entry, "field") == "status"
    ]
    return json.dumps(told, ensure_ascii=False) if told else None


def pull_cloud(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """Jira Cloud's `/rest/api/3/search/jql`; its older `/search` answers 410. query: JQL."""
    token: str | None = None
    newest = cursor
    while True:
        params = {"jql": _jql(query, cursor), "fields": _FIELDS, "expand": "changelog", "maxResults": _PAGE}
        answer, _ = api.get("rest/api/3/search/jql", params | ({"nextPageToken": token} if token else {}))
        page = _page(answer, newest)
        newest = page.cursor or newest
        yield page
        token = word(inner(answer, "nextPageToken"))
        if not token or inner(answer, "isLast") is True:
            return


def pull_data_center(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """Jira Data Center's `/rest/api/2/search`, by startAt. query: JQL."""
    start, newest = 0, cursor
    seen, before = set[str](), 0
    while True:
        params = {"jql": _jql(query, cursor), "fields": _FIELDS, "expand": "changelog", "maxResults": _PAGE}
        answer, _ = api.get("rest/api/2/search", params | {"startAt": str(start)})
        page = _page(answer, newest)
        newest = page.cursor or newest
        seen |= {record["id"] for _, record in page.records.records if "id" in record}
        yield page
        start += page.records.read
        total = int(word(inner(answer, "total")) or 0)
        if page.records.read and start < total:
            continue
        # An issue that somebody changes meanwhile moves to the end, and one behind it is skipped: look for it once more.
        if len(seen) >= total or len(seen) == before:
            return
        start, before = 0, len(seen)


def _page(answer: Any, newest: str | None) -> Page:
    issues = inner(answer, "issues")
    if not isinstance(issues, list):
        raise InputError("the answer has no issues; expected that of a Jira search, is the URL right?")
    updated = [word(inner(issue, "fields", "updated")) for issue in issues]
    moments = [read_time(text, UTC).isoformat() for text in updated if text]
    return Page(_issues(list(enumerate(issues, 1)), []), max([newest or "", *moments]))


def _jql(query: str, cursor: str | None) -> str:
    """The query, restricted to what changed since the cursor, oldest change first.

    A day earlier: JQL's times are in the zone of who asks, which no answer tells; what is met again changes nothing.
    """
    asked = [f"({query})"] if query.strip() else []
    if cursor:
        since = datetime.fromisoformat(cursor) - timedelta(days=1)
        asked.append(f'updated >= "{since:%Y-%m-%d %H:%M}"')
    return (" AND ".join(asked) + " ORDER BY updated ASC").strip()
