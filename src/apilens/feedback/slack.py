"""Slack: the workspace's export (zip, or single days of it), and conversations by the Web API."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import Any, NamedTuple

from apilens.errors import InputError
from apilens.feedback.api import Api, Page
from apilens.feedback.export import Export, inner, word
from apilens.feedback.markup import slack_text
from apilens.feedback.records import Records

#: What the client writes itself: joins, topics, names, pins. A message by a person has no subtype or one of these.
_SAID = {None, "thread_broadcast", "me_message", "file_share", "bot_message"}
_WEEK_S = 7 * 86400
_MAX_DEPTH = 10  # of blocks within blocks; Slack nests three
_BATCH = 500  # messages stored at once

_ROOMS = ("channels.json", "groups.json", "mpims.json", "dms.json")


class Slack:
    """A message is an item, and names the thread it belongs to; what the client writes itself is left out."""

    name = "slack"

    def recognises(self, export: Export) -> bool:
        if export.is_zip:
            return any(posixpath.basename(name) in _ROOMS for name in export.archive.namelist())
        first = export.first_object
        return (first.get("type") == "message" and "ts" in first) or _is_list(first)

    def parse(self, export: Export) -> Records:
        if _is_list(export.first_object):
            return Records(
                remarks=["lists people or rooms of a Slack export; their names are known where its zip is imported"]
            )
        if not export.is_zip:
            # An unpacked export: the folder is named after the room, and who the people are stands elsewhere.
            room = posixpath.basename(posixpath.dirname(export.name.replace("\\", "/")))
            found = _messages(export.objects.found, room, _People({}, {}))
            found.rejects += export.objects.rejects
            found.damage = export.objects.damage
            return found
        return _archive(export)


def _is_list(first: dict[str, Any]) -> bool:
    """users.json or channels.json of an unpacked export."""
    return {"team_id", "profile"} <= set(first) or {"creator", "members", "created"} <= set(first)


def _archive(export: Export) -> Records:
    whole = Records()
    names = export.archive.namelist()
    people, ids = _People({}, {}), dict[str, str]()
    for name in names:
        base = posixpath.basename(name)
        if base == "users.json":
            people = _people([value for _, value in export.member(name).objects.found])
        elif base in _ROOMS:
            listed = [value for _, value in export.member(name).objects.found]
            ids |= {str(inner(room, "name") or inner(room, "id")): str(inner(room, "id")) for room in listed}
    for name in sorted(names):
        folder, file = posixpath.split(name)
        if not folder or not file.endswith(".json") or not file[:4].isdigit():
            continue
        try:
            day = export.member(name)
        except InputError as damaged:
            whole.damage = str(damaged)
            continue
        room = posixpath.basename(folder)
        part = _messages(day.objects.found, room, people, ids.get(room))
        # Line numbers of one day would mean nothing beside those of another: they count through.
        before = whole.read
        whole.records += [(before + line, record) for line, record in part.records]
        whole.rejects += [(before + line, f"{name}: {why}") for line, why in [*part.rejects, *day.objects.rejects]]
        whole.remarks += part.remarks
        if day.objects.damage:
            whole.damage = f"{name} {day.objects.damage}"
    left_out = sum(int(remark.partition(" ")[0]) for remark in whole.remarks)
    whole.remarks = [f"{left_out} messages the client wrote itself (joins, topics) left out"] if left_out else []
    return whole


class _People(NamedTuple):
    """Slack's user id -> who reports (the mail address where it is told, else the name), and -> what people are called."""

    reporters: dict[str, str]
    names: dict[str, str]


def _people(users: list[Any]) -> _People:
    called = {
        str(inner(user, "id")): str(inner(user, "profile", "real_name") or inner(user, "name") or inner(user, "id"))
        for user in users
    }
    mails = {str(inner(user, "id")): str(mail) for user in users if (mail := inner(user, "profile", "email"))}
    return _People(called | mails, called)


def _messages(found: list[tuple[int, Any]], room: str, people: _People, room_id: str | None = None) -> Records:
    """room_id: of the room, where the export tells it; the interface knows rooms by it alone, so messages are numbered by it."""
    records = Records()
    system = 0
    for line, message in found:
        if not isinstance(message, dict) or "ts" not in message:
            records.rejects.append((line, "no Slack message: it has no ts"))
        elif message.get("subtype") not in _SAID:
            system += 1
        else:
            records.records.append((line, _of_message(message, room, people, room_id or room)))
    if system:
        records.remarks.append(f"{system} messages the client wrote itself (joins, topics) left out")
    return records


def _of_message(message: dict[str, Any], room: str, people: _People, place: str) -> dict[str, str]:
    ts, root = str(message["ts"]), word(message.get("thread_ts"))
    user = word(message.get("user") or message.get("bot_id")) or ""
    files = message.get("files")
    edited = word(inner(message, "edited", "ts"))
    profile = inner(message, "bot_profile", "name")
    text = word(message.get("text")) or _in_blocks(message.get("blocks")) or _in_attachments(message)
    said = {
        "id": f"{place}:{ts}" if place else ts,
        "body": slack_text(text, people.names),
        "created_at": ts,
        "updated_at": edited,
        "reporter": people.reporters.get(user)
        or word(inner(message, "user_profile", "real_name") or message.get("username") or profile)
        or user,
        "room": room,
        "thread": f"{place}:{root}" if root and place else root,
        "attachments": ", ".join(str(inner(file, "name")) for file in files if inner(file, "name"))
        if isinstance(files, list)
        else None,
        "automatic": "true" if message.get("subtype") == "bot_message" or message.get("bot_id") else None,
    }
    return {name: text for name, text in said.items() if text}


def _in_attachments(message: dict[str, Any]) -> str:
    """Words of alerts and apps, which write into attachments instead of the text."""
    parts = message.get("attachments")
    return "\n".join(
        str(words)
        for part in (parts if isinstance(parts, list) else [])
        for words in (inner(part, "title"), inner(part, "text") or inner(part, "fallback"))
        if words
    ).strip()


def _in_blocks(blocks: Any, depth: int = 0) -> str:
    """Words of a message that has only blocks: rich text, sections."""
    if not isinstance(blocks, list) or depth > _MAX_DEPTH:
        return ""
    words = []
    for block in blocks:
        text = inner(block, "text")
        own = word(inner(text, "text") if isinstance(text, dict) else text) or word(inner(block, "url")) or ""
        line = own + _in_blocks(inner(block, "elements"), depth + 1)
        words.append(line + ("\n" if str(inner(block, "type")).startswith(("rich_text_", "section")) else ""))
    return "".join(words).strip() if depth == 0 else "".join(words)


def pull(api: Api, query: str, cursor: str | None) -> Iterator[Page]:
    """`conversations.history` with the replies of each thread. query: ids of rooms, separated by commas.

    Each run looks at the last week again: replies are found only by their thread's first message.
    """
    newest: dict[str, str] = json.loads(cursor) if cursor else {}
    people = _people(list(_listed(api, "users.list", {}, "members")))
    rooms = [room.strip() for room in query.split(",") if room.strip()]
    if not rooms:
        raise InputError("query is empty, expected the ids of the rooms, for example C024BE91L,C0G9QF9GW")
    for room in rooms:
        since = {"oldest": f"{max(0.0, float(newest[room]) - _WEEK_S):.6f}"} if room in newest else {}
        # The newest message comes first, so the cursor moves only when the room is done: a run that dies begins it again.
        last, batch = newest.get(room, "0"), list[Any]()
        for message in _listed(api, "conversations.history", {"channel": room} | since, "messages"):
            ts = str(inner(message, "ts"))
            if int(word(inner(message, "reply_count")) or 0):
                batch += _listed(api, "conversations.replies", {"channel": room, "ts": ts}, "messages")
            else:
                batch.append(message)
            last = max(last, ts, key=float)
            if len(batch) >= _BATCH:
                yield Page(_messages(list(enumerate(batch, 1)), room, people), json.dumps(newest, sort_keys=True))
                batch = []
        newest[room] = last
        yield Page(_messages(list(enumerate(batch, 1)), room, people), json.dumps(newest, sort_keys=True))


def _listed(api: Api, method: str, params: dict[str, str], key: str) -> Iterator[Any]:
    """All entries of a method that answers page by page."""
    further: str | None = ""
    while further is not None:
        asked = params | {"limit": "200"} | ({"cursor": further} if further else {})
        answer, _ = api.get(f"api/{method}", asked)
        if inner(answer, "ok") is not True:
            raise InputError(
                f"Slack answers {method} with {inner(answer, 'error')!r}; does the token have the scope for it?"
            )
        yield from inner(answer, key) or []
        further = word(inner(answer, "response_metadata", "next_cursor")) or None
