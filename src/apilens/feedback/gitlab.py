"""GitLab issues: CSV export, JSON of the REST interface, and the REST interface itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from apilens.errors import InputError
from apilens.feedback.api import Api, Page, pages
from apilens.feedback.export import Export, inner, word
from apilens.feedback.records import Records, renamed
from apilens.feedback.tables import columns, objects_or_rows

_CSV = {
    "id": ("issue id",),
    "title": ("title",),
    "body": ("description",),
    "created_at": ("created at (utc)", "created at"),
    "updated_at": ("updated at (utc)", "updated at"),
    "resolved_at": ("closed at (utc)", "closed at"),
    "reporter": ("author username", "author"),
    "status": ("state",),
}


class GitLab:
    """An issue is an item."""

    name = "gitlab"

    def recognises(self, export: Export) -> bool:
        return {"iid", "title"} <= set(export.first_object) or {"issue id", "title", "state"} <= set(columns(export))

    def parse(self, export: Export) -> Records:
        return objects_or_rows(export, _issues, _of_row)


def _of_row(record: dict[str, str]) -> dict[str, str]:
    issue = renamed(record, _CSV)
    if "id" in issue:
        issue["id"] = _project(issue.get("url", "")) + "#" + issue["id"]
    if "status" in issue:
        issue["status"] = issue["status"].lower()
    return issue


def _project(url: str) -> str:
    path = url.partition("://")[2].partition("/")[2]
    return path.partition("/-/")[0] if "/-/" in path else ""


def _issues(found: list[tuple[int, Any]], rejects: list[tuple[int, str]], damage: str | None = None) -> Records:
    records = Records(rejects=rejects, damage=damage)
    for line, issue in found:
        if not isinstance(issue, dict):
            records.rejects.append((line, "no GitLab issue: it is no object"))
            continue
        said = {
            "id": f"{_project(word(issue.get('web_url')) or '')}#{word(issue.get('iid'))}"
            if issue.get("iid")
            else None,
            "title": word(issue.get("title")),
            "body": word(issue.get("description")),
            "created_at": word(issue.get("created_at")),
            "updated_at": word(issue.get("updated_at")),
            "resolved_at": word(issue.get("closed_at")),
            "reporter": word(inner(issue, "author", "username") or inner(issue, "author", "name")),
            "status": word(issue.get("state")),
            "type": word(issue.get("issue_type")) if issue.get("issue_type") != "issue" else None,
            "severity": word(issue.get("severity")) if issue.get("severity") != "UNKNOWN" else None,
            "labels": ", ".join(
                str(label if isinstance(label, str) else inner(label, "name")) for label in issue.get("labels") or []
            ),
            "assignee": word(inner(issue, "assignee", "username")),
            "duplicate_of": _duplicate_of(issue),
            "url": word(issue.get("web_url")),
        }
        records.records.append((line, {name: text for name, text in said.items() if text}))
    return records


def _duplicate_of(issue: dict[str, Any]) -> str | None:
    """The issue of the same project this one was closed as a duplicate of; of another project only a number is told."""
    link = (word(inner(issue, "_links", "closed_as_duplicate_of")) or "").rstrip("/").split("/")
    same = len(link) > 2 and link[-3] == word(issue.get("project_id"))
    return f"{_project(word(issue.get('web_url')) or '')}#{link[-1]}" if same else None


def pull(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """`/api/v4/projects/ID/issues`, oldest change first. query: the project's path or number."""
    if not query:
        raise InputError("query is empty, expected the project's path (GROUP/NAME) or number")
    params = {"scope": "all", "order_by": "updated_at", "sort": "asc", "per_page": "100"}
    path = f"api/v4/projects/{quote(query, safe='')}/issues"
    yield from pages(api, path, params, ("updated_after", cursor), _issues)
