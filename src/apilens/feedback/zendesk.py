"""Zendesk: NDJSON and JSON exports of tickets, and the incremental cursor export, with satisfaction ratings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from apilens.errors import InputError
from apilens.feedback.api import Api, Page
from apilens.feedback.export import Export, inner, word
from apilens.feedback.markup import html_text, looks_like_html
from apilens.feedback.rating import rating_fields
from apilens.feedback.records import Records

#: Satisfaction as it is offered or not given: no rating.
_NO_RATING = {"", "offered", "unoffered"}
_MERGED = re.compile(r"(?i)\bclosed and merged into request #(\d{1,18})\b")


class Zendesk:
    """A ticket is an item; its rating, good or bad, becomes `score` with what the customer wrote to it."""

    name = "zendesk"

    def recognises(self, export: Export) -> bool:
        first = export.first_object
        return "id" in first and "subject" in first and bool({"requester_id", "requester", "via"} & set(first))

    def parse(self, export: Export) -> Records:
        objects = export.objects
        people, companies = _named(objects.around)
        return _tickets(objects.found, people, companies, list(objects.rejects), objects.damage)


def _named(answer: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """The people and companies that an answer of the interface lists beside its tickets: id -> mail address or name."""
    people, companies = (
        entries if isinstance(entries := answer.get(name), list) else [] for name in ("users", "organizations")
    )
    return (
        {str(inner(user, "id")): str(inner(user, "email") or inner(user, "name")) for user in people},
        {str(inner(entry, "id")): str(inner(entry, "name")) for entry in companies},
    )


def _tickets(
    found: list[tuple[int, Any]],
    people: dict[str, str],
    companies: dict[str, str],
    rejects: list[tuple[int, str]],
    damage: str | None = None,
) -> Records:
    records = Records(rejects=rejects, damage=damage)
    deleted = 0
    for line, ticket in found:
        if not isinstance(ticket, dict):
            records.rejects.append((line, "no ticket: it is no object"))
        elif ticket.get("status") == "deleted":
            deleted += 1
        else:
            records.records.append((line, _of_ticket(ticket, people, companies)))
    if deleted:
        records.remarks.append(f"{deleted:,} deleted tickets left out")
    return records


def _of_ticket(ticket: dict[str, Any], people: dict[str, str], companies: dict[str, str]) -> dict[str, str]:
    requester, company = word(ticket.get("requester_id")) or "", word(ticket.get("organization_id")) or ""
    status = word(ticket.get("status"))
    solved = inner(ticket, "metric_set", "solved_at") or inner(ticket, "dates", "solved_at") or ticket.get("solved_at")
    over = status in ("solved", "closed")
    body = word(ticket.get("description")) or ""
    comments = ticket.get("comments")
    files = [
        str(inner(file, "file_name"))
        for comment in (comments if isinstance(comments, list) else [])
        for file in (inner(comment, "attachments") or [])
        if inner(file, "file_name")
    ]
    words = [str(inner(comment, "body") or "") for comment in comments] if isinstance(comments, list) else []
    said = {
        "id": word(ticket.get("id")),
        "title": word(ticket.get("subject")) or word(ticket.get("raw_subject")),
        "body": html_text(body) if looks_like_html(body) else body,
        "created_at": word(ticket.get("created_at")),
        "updated_at": word(ticket.get("updated_at")),
        # Without its metrics a ticket does not tell when it was solved; its last change is the nearest that is known.
        "resolved_at": word(solved) or (word(ticket.get("updated_at")) if over else None),
        "reporter": _requester(ticket) or people.get(requester) or (f"user {requester}" if requester else None),
        "account": word(inner(ticket, "organization", "name")) or companies.get(company),
        "status": status,
        "type": word(ticket.get("type")),
        "priority": word(ticket.get("priority")),
        "labels": ", ".join(str(tag) for tag in ticket.get("tags") or [] if tag),
        "attachments": ", ".join(files),
        "comments": "\n".join(words[1:]),  # the first one is the description
        "duplicate_of": _duplicate_of(ticket, words),
        **_rating(ticket.get("satisfaction_rating")),
    }
    return {name: text for name, text in said.items() if text}


def _duplicate_of(ticket: dict[str, Any], comments: list[str]) -> str | None:
    """The ticket this one was merged into, or the problem of which it is an incident."""
    merged = next((found[1] for text in comments if (found := _MERGED.search(text)) is not None), None)
    return merged or word(ticket.get("problem_id"))


def _requester(ticket: dict[str, Any]) -> str | None:
    names = (
        ("requester", "email"),
        ("requester", "name"),
        ("via", "source", "from", "address"),
        ("via", "source", "from", "name"),
    )
    return next((word(found) for path in names if (found := inner(ticket, *path))), None)


def _rating(rating: Any) -> dict[str, str]:
    text = word(inner(rating, "score")) or ""
    if text in _NO_RATING:
        return {}
    comment = word(inner(rating, "comment"))
    return rating_fields(text, "good/bad") | ({"rating_comment": comment} if comment else {})


def pull(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """`/api/v2/incremental/tickets/cursor.json`. query: epoch seconds to begin at; empty: all tickets."""
    while True:
        asked = {"cursor": cursor} if cursor else {"start_time": query or "1"}
        answer, _ = api.get(
            "api/v2/incremental/tickets/cursor.json", asked | {"include": "users,organizations,metric_sets"}
        )
        found = inner(answer, "tickets")
        if not isinstance(found, list):
            raise InputError("the answer has no tickets; expected that of Zendesk's incremental export")
        people, companies = _named(answer)
        last = cursor
        cursor = word(inner(answer, "after_cursor")) or cursor or ""
        yield Page(_tickets(list(enumerate(found, 1)), people, companies, []), cursor)
        if inner(answer, "end_of_stream") is not False or cursor == last:
            return
