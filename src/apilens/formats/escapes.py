"""Undo the escapes a gateway puts into logged text."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence
from typing import Literal

import polars as pl

Escape = Literal["nginx", "apache", "json", "percent", "uri", "hash", "quote", "go", "none"]


def _in_json(error: UnicodeError) -> tuple[str, int]:
    """As backslashreplace, with the backslash that a JSON string needs before a backslash."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"\\\\x{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("apilens.json", _in_json)


def decode(data: bytes, *, json: bool = False) -> str:
    """The text of logged bytes. What is no UTF-8 becomes `\\xff`, as gateways write it, so that different bytes stay
    different; json: it stands in JSON, which reads that back."""
    return data.decode("utf-8", "apilens.json" if json else "backslashreplace")


_SHORT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"b": b"\b", b"f": b"\f"}
_HEX = re.compile(rb"\\x([0-9A-Fa-f]{2})")
# A backslash at the end of a value escapes nothing: the line feed behind it only parts the values.
_APACHE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|([^\n]))")
_JSON = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|([^\n]))")
#: Joins values for one pass of the regex. A value that holds one (JSON can say \n) takes a pass of its own.
_JOIN = b"\n"
#: Stands for a newline that an escape produced, until the values are apart again. Not a valid UTF-8 byte.
_NEWLINE = b"\xff\xfe\xff"


def _nginx(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)])


def _apache(match: re.Match[bytes]) -> bytes:
    """Tomcat writes \\u00fc as well. What none of them escapes is a backslash of a server that leaves those alone."""
    if match[2]:
        return chr(int(match[2], 16)).encode("utf-8", "surrogatepass")
    if match[1]:
        return bytes([int(match[1], 16)])
    return _SHORT.get(match[3], match[3] if match[3] in b"\"\\'" else match[0])


def _json(match: re.Match[bytes]) -> bytes:
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass") if match[1] else _SHORT.get(match[2], match[2])


def _percent(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)]) if match[1] else b" "


def _go(match: re.Match[bytes]) -> bytes:
    if code := match[2] or match[3]:
        return chr(min(int(code, 16), 0x10FFFF)).encode("utf-8", "surrogatepass")
    return bytes([int(match[1], 16)]) if match[1] else _SHORT.get(match[4], match[4])


def _quote(match: re.Match[bytes]) -> bytes:
    return b'"'


#: What every escaped value of a style has in it: a character, or a regex.
_SIGNS = {"uri": r"%", "percent": r"[%+]", "hash": "#"}

_STYLES: dict[str, tuple[re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]] = {
    "nginx": (_HEX, _nginx),
    "apache": (_APACHE, _apache),
    "json": (_JSON, _json),
    "percent": (re.compile(rb"%([0-9A-Fa-f]{2})|\+"), _percent),
    "go": (re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([^\n]))"), _go),
    "hash": (re.compile(rb"#([0-9A-F]{2})"), _nginx),  # HAProxy
    "quote": (re.compile(rb'\\"'), _quote),  # Traefik escapes nothing but quotes
    "uri": (re.compile(rb"%([0-9A-Fa-f]{2})"), _percent),
}


def unescape_columns(texts: pl.DataFrame, names: Sequence[str], escape: Escape) -> pl.DataFrame:
    """The frame with `unescape` applied to the columns named; most hold no escape at all, which is asked of all together."""
    if escape == "none" or not names:
        return texts
    sign = _SIGNS.get(escape, "\\")
    held = texts.select(pl.col(names).str.contains(sign, literal=len(sign) == 1).any()).row(0)
    return texts.with_columns(unescape(texts[name], escape) for name, found in zip(names, held, strict=True) if found)


def unescape(values: pl.Series, escape: Escape) -> pl.Series:
    """The values as they were before the gateway escaped them; bytes that are no UTF-8 as in `decode`, null stays null.

    Escaped bytes of one character (`\\xE4\\xBE\\x8B`) are joined before decoding. Values without an escape are returned
    as they are; the others are rewritten in one pass of a regex over all of them together.
    """
    if escape == "none":
        return values
    sign = _SIGNS.get(escape, "\\")
    escaped = values.str.contains(sign, literal=len(sign) == 1).fill_null(False)
    if not escaped.any():
        return values
    pattern, replace = _STYLES[escape]
    distinct = values.filter(escaped).unique()
    broken = distinct.str.contains("\n", literal=True)
    passes = [distinct.filter(~broken), *(pl.Series([value]) for value in distinct.filter(broken).to_list())]
    decoded: list[str] = []
    for several in passes:
        if several.is_empty():
            continue
        joined = _JOIN.join(text.encode() for text in several.to_list())
        plain = pattern.sub(lambda match: _NEWLINE if (made := replace(match)) == b"\n" else made, joined)
        parts = plain.split(_JOIN) if several.len() > 1 else [plain]
        decoded += [decode(part.replace(_NEWLINE, b"\n")) for part in parts]
    return values.replace(pl.concat([part for part in passes if part.len()]), pl.Series(decoded, dtype=pl.String))
