"""Mail: mbox, single messages (.eml, Maildir), and IMAP."""

from __future__ import annotations

import email
import email.policy
import hashlib
import imaplib
import json
import re
import ssl
from collections.abc import Iterator
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from apilens.errors import InputError
from apilens.feedback.api import Page
from apilens.feedback.export import Export
from apilens.feedback.markup import html_text, tidy
from apilens.feedback.records import MAX_TEXT, Records

_HEADER = re.compile(
    rb"(?i)(return-path|received|from|to|date|subject|message-id|mime-version|delivered-to|dkim-signature|x-[\w-]+|reply-to|content-type):[ \t]"
)
_NEEDED = re.compile(rb"(?im)^(from|message-id|date):[ \t]")
_PARTS = 1000  # of one message: more is a bomb
_MAX_MESSAGE = 32 << 20  # bytes that one message may have, attachments included

_FORWARDED = re.compile(r"(?i)^\s*(fwd?|wg|tr|rv|i)\s*:")
_MARK_FORWARDED = re.compile(
    r"(?im)^\s*(-{2,}\s*(forwarded message|weitergeleitete nachricht|message transféré|mensaje reenviado)\s*-{2,}"
    r"|begin forwarded message:)\s*$"
)
#: The head of a message within a text.
_INNER_HEAD = re.compile(
    r"(?im)^[> ]*\*?(from|von|de|date|sent|gesendet|datum|envoyé|enviado|to|an|à|para|cc|subject|betreff|objet|asunto)\*?\s?:\s.{0,500}$"
)
_INNER_FROM = re.compile(
    r"(?im)^[> ]*\*?(?:from|von|de)\*?\s?:\s.{0,200}?([\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8})"
)
_SENT_FROM = re.compile(
    r"(?i)^\s*(sent from my|get outlook for|von meinem .{1,40} gesendet|envoyé de mon|enviado desde mi)\b"
)
#: What stands above the message that is answered, as the programs write it. Each looks at one line.
_ABOVE_QUOTE = re.compile(
    r"(?i)^\s*(-{2,}\s*(original message|ursprüngliche nachricht|message d'origine|mensaje original|forwarded message|"
    r"weitergeleitete nachricht)\s*-{2,}|_{10,}|\*?(from|von|de)\*?:\s.{0,200}[@<].{0,200})\s*$"
)
_WROTE = re.compile(r"(?i)\b(wrote|schrieb|a écrit|escribió|ha scritto|schreef)\b[^\n]{0,80}:\s*$")
_WROTE_BEGINS = re.compile(r"(?i)^\s*(on|am|le|el|il|op)\s")


class Mail:
    """A message is an item; what it quotes and its signature are cut, its thread and attachments are named."""

    name = "mail"

    def recognises(self, export: Export) -> bool:
        head = export.raw.lstrip()[:20_000]
        return (head.startswith(b"From ") and b"\n" in head) or (
            bool(_HEADER.match(head)) and bool(_NEEDED.search(head))
        )

    def parse(self, export: Export) -> Records:
        return _messages(list(_split(export.raw)))


def _split(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """(line, message) of an mbox, in which `From ` behind an empty line begins one; or of one message."""
    if not raw.lstrip().startswith(b"From "):
        yield 1, raw.lstrip()
        return
    starts = [found.start() for found in re.finditer(rb"(?:\A\s*|(?<=\n\n)|(?<=\r\n\r\n))From [^\n]*\n", raw)]
    line, at = 1, 0
    for start, end in zip(starts, [*starts[1:], len(raw)], strict=True):
        line += raw.count(b"\n", at, start)
        at = start
        _, _, body = raw[start:end].lstrip().partition(b"\n")
        yield line, re.sub(rb"(?m)^>(>*From )", rb"\1", body)


def _messages(messages: list[tuple[int, bytes]]) -> Records:
    records = Records()
    for line, raw in messages:
        if len(raw) > _MAX_MESSAGE:
            records.rejects.append((line, f"a message of {len(raw) >> 20} MiB; at most {_MAX_MESSAGE >> 20} are read"))
            continue
        try:
            records.records.append((line, _of_message(raw)))
        except (RecursionError, ValueError, LookupError, TypeError, AttributeError, IndexError) as bad:
            # The parser takes nearly everything; what it stumbles over was built to that end.
            records.rejects.append((line, f"no mail that can be read: {str(bad)[:100] or type(bad).__name__}"))
    return records


def _of_message(raw: bytes) -> dict[str, str]:
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    key = _id(message.get("Message-ID")) or "sha256-" + hashlib.sha256(raw).hexdigest()[:32]
    answered = [_id(word) for word in " ".join(map(str, message.get_all("References", []))).split()]
    parent = _id(message.get("In-Reply-To"))
    text, files = _content(message)
    sender = parseaddr(_decoded(message.get("Reply-To") or message.get("From")))
    automatic = (str(message.get("Auto-Submitted") or "no").strip().lower() != "no") or str(
        message.get("Precedence") or ""
    ).strip().lower() in ("bulk", "junk", "auto_reply")
    title, who = _decoded(message.get("Subject")), sender[1] or sender[0]
    # What somebody forwards is the report, and who wrote it is who reports it.
    forwards = _FORWARDED.match(title) is not None or _MARK_FORWARDED.search(text) is not None
    first = _INNER_FROM.search(text) if forwards else None
    said = {
        "id": key,
        "title": title,
        "body": (forwarded(text) if forwards else new_words(text))[:MAX_TEXT],
        "created_at": str(message.get("Date") or _received(message)),
        "reporter": first[1] if first else who,
        "forwarded_by": who if first else None,
        "thread": next((found for found in [*answered, parent, key] if found), key),
        "attachments": ", ".join(files),
        "automatic": "true" if automatic else None,
    }
    return {name: value for name, value in said.items() if value}


def _id(text: object) -> str | None:
    found = re.search(r"<([^<>\s]{1,500})>", str(text or ""))
    return found[1] if found else None


def _decoded(value: object) -> str:
    """A header's words, whatever it was encoded with."""
    text = str(value or "")
    try:
        return str(make_header(decode_header(text))).replace("\n", " ").replace("\r", "")
    except (ValueError, LookupError):
        return text


def _received(message: Message) -> str:
    """When the last server took it, of a message without a date of its own."""
    return str(message.get("Received") or "").rpartition(";")[2].strip()


def _content(message: Message) -> tuple[str, list[str]]:
    """The text, plain before HTML, and the names of attachments, of which nothing is decoded."""
    plain: list[str] = []
    html: list[str] = []
    files: list[str] = []
    for count, part in enumerate(message.walk()):
        if count >= _PARTS:
            raise ValueError(f"more than {_PARTS:,} parts")
        name = part.get_filename()
        kind = part.get_content_type()
        if name or part.get_content_disposition() == "attachment":
            files.append(_decoded(name or kind))
        elif part.is_multipart() or kind not in ("text/plain", "text/html"):
            continue
        else:
            (plain if kind == "text/plain" else html).append(_text(part))
    words = "\n".join(plain).strip()
    return words or "\n".join(html_text(part) for part in html), files


def _text(part: Message) -> str:
    raw = part.get_payload(decode=True)
    raw = raw if isinstance(raw, bytes) else b""
    raw = raw[: 4 * MAX_TEXT]
    for charset in (part.get_content_charset(), "utf-8"):
        try:
            return raw.decode(charset or "utf-8")
        except (LookupError, UnicodeDecodeError, ValueError):
            continue
    return raw.decode("cp1252", "replace")


def new_words(text: str) -> str:
    """What a message says itself: without the message it answers and without its signature.

    Where nothing is left, as in a forwarded message, the text stays whole without its quote marks. Own rules: the parser on
    PyPI that knows more languages takes minutes for hostile lines.
    """
    kept: list[str] = []
    lines = text.replace("\r\n", "\n").split("\n")
    for place, line in enumerate(lines):
        if line.rstrip(" ") == "--" or _SENT_FROM.match(line[:200]):
            break
        if _ABOVE_QUOTE.match(line[:500]):
            break
        # `On Monday, Bob` may go on in the next line with `wrote:`.
        ahead = line[:300] + (" " + lines[place + 1][:300] if place + 1 < len(lines) else "")
        if _WROTE.search(line[:500]) or (_WROTE_BEGINS.match(line) and _WROTE.search(ahead)):
            break
        if not line.lstrip().startswith(">"):
            kept.append(line)
    own = tidy("\n".join(kept))
    return own or tidy(re.sub(r"(?m)^[> ]+", "", text))


def forwarded(text: str) -> str:
    """What a message that forwards another one says, and what that one says, without its head and quote marks."""
    plain = re.sub(r"(?m)^(?:> ?)+", "", text.replace("\r\n", "\n"))
    lines = [
        line for line in plain.split("\n") if not _SENT_FROM.match(line[:200]) and not re.fullmatch(r"_{10,}", line)
    ]
    return tidy(_INNER_HEAD.sub("", _MARK_FORWARDED.sub("", "\n".join(lines))))


def pull_imap(url: str, user: str, secret: str, cursor: str | None) -> Iterator[Page]:
    """Messages of one folder that came since the cursor; the folder is opened read-only.

    url: imaps://HOST[:PORT]/FOLDER (imap:// without TLS, on this machine only). Cursor: UIDVALIDITY and the last UID.
    """
    where = urlsplit(url)
    folder = unquote(where.path.strip("/")) or "INBOX"
    host = where.hostname or ""
    if where.scheme != "imaps" and host not in ("127.0.0.1", "::1", "localhost"):
        raise InputError(f"{url}: expected imaps://HOST/FOLDER; a password is sent over TLS only")
    try:
        box: imaplib.IMAP4 = (
            imaplib.IMAP4_SSL(host, where.port or 993, ssl_context=ssl.create_default_context(), timeout=30)
            if where.scheme == "imaps"
            else imaplib.IMAP4(host, where.port or 143, timeout=30)
        )
        try:
            box.login(user, secret)
            quoted = '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'
            answer, _ = box.select(quoted, readonly=True)
            if answer != "OK":
                raise InputError(f"{url}: has no folder {folder!r}")
            _, validity = box.response("UIDVALIDITY")
            now_valid = (validity[0] or b"").decode() if validity and validity[0] else ""
            known: dict[str, str] = json.loads(cursor) if cursor else {}
            last = int(known.get("uid", 0)) if known.get("validity") == now_valid else 0
            _, found = box.uid("SEARCH", f"UID {last + 1}:*")
            uids = sorted(int(uid) for uid in (found[0] or b"").split() if int(uid) > last)
            for uid in uids:
                # The size first: a message that is too large is not even asked for.
                _, told = box.uid("FETCH", str(uid), "(RFC822.SIZE)")
                size = re.search(rb"RFC822\.SIZE (\d+)", told[0] if told and isinstance(told[0], bytes) else b"")
                page_cursor = json.dumps({"uid": str(uid), "validity": now_valid}, sort_keys=True)
                if size is not None and int(size[1]) > _MAX_MESSAGE:
                    yield Page(
                        Records(rejects=[(uid, f"a message of {int(size[1]) >> 20} MiB; not read")]), page_cursor
                    )
                    continue
                _, parts = box.uid("FETCH", str(uid), "(BODY.PEEK[])")
                raw = next((part[1] for part in parts if isinstance(part, tuple)), None)
                if raw is not None:  # deleted between search and fetch
                    yield Page(_messages([(uid, raw)]), page_cursor)
        finally:
            box.shutdown()
    except imaplib.IMAP4.error as refused:
        raise InputError(f"{host}: refuses: {str(refused)[:200]}; are user and secret right?") from None
    except OSError as error:
        raise InputError(f"{host}: cannot be reached: {error}") from None
