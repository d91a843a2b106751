"""GitHub issues: JSON of the REST interface or of `gh issue list --json`, and the REST interface itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from apilens.errors import InputError
from apilens.feedback.api import Api, Page, pages
from apilens.feedback.export import Export, inner, word
from apilens.feedback.records import Records

_DUPLICATE = re.compile(
    r"(?im)^\s*duplicate of\s+(?:https://[\w.-]{1,100}/)?(?:([\w.-]{1,100}/[\w.-]{1,100}))?(?:#|/issues/)(\d{1,9})\b"
)


class GitHub:
    """An issue is an item; pull requests are left out."""

    name = "github"

    def recognises(self, export: Export) -> bool:
        first = export.first_object
        return "number" in first and "title" in first and bool({"user", "author", "html_url", "createdAt"} & set(first))

    def parse(self, export: Export) -> Records:
        return _issues(export.objects.found, list(export.objects.rejects), export.objects.damage)


def _issues(found: list[tuple[int, Any]], rejects: list[tuple[int, str]], damage: str | None = None) -> Records:
    records = Records(rejects=rejects, damage=damage)
    pulls = 0
    for line, issue in found:
        if not isinstance(issue, dict):
            records.rejects.append((line, "no GitHub issue: it is no object"))
        elif "pull_request" in issue:
            pulls += 1
        else:
            records.records.append((line, _of_issue(issue)))
    if pulls:
        records.remarks.append(f"{pulls:,} pull requests left out")
    return records


def _of_issue(issue: dict[str, Any]) -> dict[str, str]:
    comments = issue.get("comments")
    said = {
        # Numbers count per repository: an export of several would mix them up without its name.
        "id": f"{_repository(issue)}#{word(issue.get('number'))}" if issue.get("number") else None,
        "title": word(issue.get("title")),
        "body": word(issue.get("body")),
        "created_at": word(issue.get("created_at") or issue.get("createdAt")),
        "updated_at": word(issue.get("updated_at") or issue.get("updatedAt")),
        "resolved_at": word(issue.get("closed_at") or issue.get("closedAt")),
        "reporter": word(inner(issue, "user", "login") or inner(issue, "author", "login")),
        "status": (word(issue.get("state")) or "").lower(),
        "resolution": word(issue.get("state_reason") or issue.get("stateReason")),
        "type": word(inner(issue, "type", "name")),
        "duplicate_of": _duplicate_of(issue),
        "labels": ", ".join(
            str(label if isinstance(label, str) else inner(label, "name")) for label in issue.get("labels") or []
        ),
        "assignee": word(inner(issue, "assignee", "login")),
        "url": word(issue.get("html_url") or issue.get("url")),
        "comments": "\n".join(
            f"{inner(comment, 'author', 'login') or 'somebody'}: {inner(comment, 'body') or ''}" for comment in comments
        )
        if isinstance(comments, list)
        else None,
    }
    return {name: text for name, text in said.items() if text}


def _duplicate_of(issue: dict[str, Any]) -> str | None:
    """The issue that a comment `Duplicate of #12` names, as GitHub's own marking writes it."""
    comments = issue.get("comments")
    texts = [inner(comment, "body") for comment in comments] if isinstance(comments, list) else []
    for text in [issue.get("body"), *texts]:
        if (found := _DUPLICATE.search(str(text or ""))) is not None:
            return f"{found[1] or _repository(issue)}#{found[2]}"
    return None


def _repository(issue: dict[str, Any]) -> str:
    url = word(issue.get("html_url") or issue.get("url")) or ""
    parts = url.partition("/issues/")[0].rstrip("/").split("/")
    return "/".join(parts[-2:]) if "/issues/" in url else ""


def pull(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """`/repos/OWNER/NAME/issues`, oldest change first. query: OWNER/NAME."""
    if query.count("/") != 1:
        raise InputError(f"query is {query!r}, expected the repository as OWNER/NAME")
    params = {"state": "all", "sort": "updated", "direction": "asc", "per_page": "100"}
    yield from pages(api, f"repos/{query}/issues", params, ("since", cursor), _issues)
