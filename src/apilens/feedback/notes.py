"""Notes of focus sessions and user groups: Markdown, one point of somebody per list entry."""

from __future__ import annotations

import hashlib
import re

from apilens.feedback.export import Export
from apilens.feedback.records import Records

_TITLE = re.compile(r"^#{1,3}\s+(.{1,300})$")
_DATE = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?)(?!\d)")
_ENTRY = re.compile(r"^\s{0,8}(?:[-*+]|\d{1,3}[.)])\s+(\S.*)$")
_WHO = re.compile(
    r"^(?:\*\*)?([^\s:*\[][^:*\n]{0,60}?)(?:\s*\(([^()]{1,60})\))?(?:\*\*)?:(?:\*\*)?\s+(\S.*)$", re.DOTALL
)
_CLOCK = re.compile(r"^(\d\d?:\d\d)\s+[-–]?\s*(.*)$", re.DOTALL)


class Notes:
    """`- Kim (acme): words` is an item by Kim of acme; a heading or line with a date (2026-03-12) dates what follows.

    `- 14:30 Kim: words` adds the time. Lines indented below an entry belong to it.
    """

    name = "notes"

    def recognises(self, export: Export) -> bool:
        head = export.text[:20_000]
        lines = [line for line in head.splitlines() if line.strip()]
        return (
            bool(lines)
            and _DATE.search(head) is not None
            and bool(_TITLE.match(lines[0]))
            and any(map(_ENTRY.match, lines))
        )

    def parse(self, export: Export) -> Records:
        found = Records()
        title = date = None
        entry: list[str] = []
        line = 0

        def close() -> None:
            if entry:
                _add(found, line, "\n".join(entry), title, date)
                entry.clear()

        for number, text in enumerate(export.text.splitlines(), 1):
            heading, point, dated = _TITLE.match(text), _ENTRY.match(text), _DATE.search(text)
            if heading is not None:
                close()
                title = heading[1].strip()
            if point is not None:
                close()
                line = number
                entry.append(point[1])
            elif entry and text.startswith((" ", "\t")) and text.strip():
                entry.append(text.strip())
            elif text.strip():
                close()
                if dated is not None:
                    date = dated[1]
        close()
        return found


def _add(found: Records, line: int, text: str, title: str | None, date: str | None) -> None:
    if date is None:
        found.rejects.append((line, "no date above it, expected one such as 2026-03-12 in the heading"))
        return
    at = date
    if (clock := _CLOCK.match(text)) is not None:
        at, text = f"{date[:10]}T{clock[1].zfill(5)}", clock[2]
    who = _WHO.match(text.replace("**", ""))
    said = {
        # Notes have no numbers, and lines move when notes are edited: the words and their session are the identity.
        "id": hashlib.sha256(f"{title}\x1f{date}\x1f{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "created_at": at,
        "body": who[3] if who else text,
        "reporter": who[1].strip() if who else None,
        "account": who[2] if who else None,
        "session": title,
    }
    found.records.append((line, {name: value for name, value in said.items() if value}))
