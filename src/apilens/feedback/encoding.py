"""Bytes of an export → text, whatever wrote them."""

from __future__ import annotations

import codecs

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(raw: bytes) -> tuple[str, str | None]:
    """The text, and a remark when it is not plain UTF-8 or something could not be read; None: nothing to say.

    Told by a byte order mark, else by NUL bytes in every second place, else UTF-8; what is none of these is
    read as Windows-1252, the likeliest for spreadsheets. Unreadable bytes become U+FFFD, and the remark says so.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _lenient(raw, encoding, said=encoding != "utf-8-sig")
    head = raw[:1000]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        # Mostly Latin letters in UTF-16 show as NUL in every second byte.
        if len(head) >= 4 and head[first::2].count(0) > 0.4 * len(head) and head[1 - first :: 2].count(0) == 0:
            return _lenient(raw, encoding, said=True)
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError as bad:
        text = raw.decode("cp1252", errors="replace")
        return text, f"is not UTF-8 (byte {bad.start}); read as Windows-1252, look at its umlauts and accents"


def _lenient(raw: bytes, encoding: str, *, said: bool) -> tuple[str, str | None]:
    try:
        return raw.decode(encoding), f"read as {encoding.upper()}" if said else None
    except UnicodeDecodeError as bad:
        return raw.decode(encoding, errors="replace"), f"read as {encoding.upper()}, broken at byte {bad.start}"
