"""Microsoft Teams: messages as Microsoft Graph and the exports built on it write them (JSON)."""

from __future__ import annotations

from typing import Any

from apilens.feedback.export import Export, inner, word
from apilens.feedback.markup import html_text
from apilens.feedback.records import Records


class Teams:
    """A message is an item, and names the thread it belongs to; replies may be nested or beside it."""

    name = "teams"

    def recognises(self, export: Export) -> bool:
        first = export.first_object
        return "createdDateTime" in first and ("messageType" in first or "contentType" in (first.get("body") or {}))

    def parse(self, export: Export) -> Records:
        objects = export.objects
        records = Records(rejects=list(objects.rejects), damage=objects.damage)
        system = 0
        for line, value in objects.found:
            replies = inner(value, "replies")
            for message in [value, *(replies if isinstance(replies, list) else [])]:
                if not isinstance(message, dict) or "createdDateTime" not in message:
                    records.rejects.append((line, "no Teams message: it has no createdDateTime"))
                elif message.get("messageType", "message") != "message" or message.get("deletedDateTime"):
                    system += 1
                else:
                    records.records.append((line, _of_message(message, value)))
        if system:
            records.remarks.append(f"{system} deleted messages and those the client wrote itself left out")
        return records


def _of_message(message: dict[str, Any], root: dict[str, Any]) -> dict[str, str]:
    body = word(inner(message, "body", "content")) or ""
    if (word(inner(message, "body", "contentType")) or "").lower() == "html":
        body = html_text(body)
    files = message.get("attachments")
    answered = word(message.get("replyToId")) or (word(root.get("id")) if message is not root else None)
    said = {
        "id": word(message.get("id")),
        "title": word(message.get("subject")),
        "body": body,
        "created_at": word(message.get("createdDateTime")),
        "updated_at": word(message.get("lastModifiedDateTime")),
        "reporter": word(
            inner(message, "from", "user", "email")
            or inner(message, "from", "user", "userPrincipalName")
            or inner(message, "from", "user", "displayName")
            or inner(message, "from", "application", "displayName")
        ),
        "room": word(inner(message, "channelIdentity", "channelId") or message.get("chatId")),
        "thread": answered or word(message.get("id")),
        "attachments": ", ".join(str(inner(file, "name")) for file in files if inner(file, "name"))
        if isinstance(files, list)
        else None,
        "automatic": "true" if inner(message, "from", "application") else None,
    }
    return {name: text for name, text in said.items() if text}
