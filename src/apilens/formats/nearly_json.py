"""Objects that are JSON but for what a text template put into it: a log_format in braces, of which the gateway knows nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache

import polars as pl

_BYTES = r"\\x"
_ODD_VALUE = r'":\s*(?:-?\s*[,}]|0\d|(?:[\d.]+|-)(?:, | : )[\d.-])'
#: A line in which a quote before a colon may be none that ends a name: only what tells strings apart can read it.
_UNSURE = r'\\|[:,\[{]\s*":'
#: What _VALUE does, in columns and for lines that are sure; the list first, which may begin with a zero or hold a hyphen.
_SURE = (
    (r'":[ \t]*((?:[\d.]+|-)(?:(?:, | : )(?:[\d.]+|-)){1,50})([ \t]*[,}])', '":"${1}"${2}'),
    (r'":[ \t]*0+(\d[\d.]*[ \t]*[,}])', '":${1}'),
    (r'":[ \t]*-?([ \t]*[,}])', '":null${1}'),
)
#: Lines that one pass of a regex goes over: those of a block, as Python's text, would take four times its memory.
_AT_ONCE = 1000
#: Lines, and their bytes, of which is remembered what they are: those of a head.
_HEAD, _HEAD_BYTES = 200, 512 << 10
#: An escape of JSON, or bytes as nginx escapes them without escape=json. A pattern that begins with a literal is looked for soon.
_ESCAPE = re.compile(r"\\(?:(?P<bytes>x[0-9A-Fa-f]{2}(?:\\x[0-9A-Fa-f]{2})*)|.)")
#: A string, which is left alone, also one that the line's end cuts off, or a value without quotes that is none: a list of times, a
#: number with zeros before it, nothing. Nothing is given back once it is taken (`++`), a list has an end, and so has a string: else
#: every part of a long line would be tried with every other.
_VALUE = re.compile(
    r'"(?:[^"\\\n]++|\\.)*+"?|:[ \t]*+(?:(?P<list>(?:[\d.]++|-)(?:(?:, | : )(?:[\d.]++|-)){1,50}+)|(?:0(?=\d))++(?P<number>[\d.]++)|(?P<nothing>-?))(?=[ \t]*+[,}])'
)


def mended(lines: pl.Series) -> pl.Series:
    """The lines, with what is no JSON in objects that a template wrote as it would be in JSON; other lines as they are.

    `\\x22` is the byte that it stands for; a value that is missing, or a hyphen without quotes, is null; several times are text.
    """
    if len(lines) <= _HEAD and int(lines.str.len_bytes().sum()) <= _HEAD_BYTES:
        return _mended_head(tuple(lines))
    return _mended(lines)


@lru_cache(8)
def _mended_head(lines: tuple[str | None, ...]) -> pl.Series:
    """Each format that is tried on a head asks for the same lines."""
    return _mended(pl.Series("line", lines, dtype=pl.String))


def _mended(lines: pl.Series) -> pl.Series:
    # A record that an envelope held may have line breaks in it, and the lines are put together with them: those are left alone.
    alone = lines.str.contains(r"^[^\S\n]*\{[^\n]*$")
    lines = _rewritten(lines, alone & lines.str.contains(_BYTES), _ESCAPE, _escape)
    odd = alone & lines.str.contains(_ODD_VALUE)
    if not odd.any():
        return lines
    sure = odd & ~lines.str.contains(_UNSURE)
    if sure.any():
        plain = lines.filter(sure)
        for pattern, text in _SURE:
            plain = plain.str.replace_all(pattern, text)
        lines = lines.scatter(sure.arg_true(), plain)
    return _rewritten(lines, odd & ~sure, _VALUE, _value)


def _rewritten(
    lines: pl.Series, some: pl.Series, pattern: re.Pattern[str], text: Callable[[re.Match[str]], str]
) -> pl.Series:
    """The lines, `some` of them with what the pattern finds replaced."""
    if not some.any():
        return lines
    plain: list[str] = []
    for part in lines.filter(some).to_frame().iter_slices(_AT_ONCE):
        plain += pattern.sub(text, "\n".join(part.to_series().to_list())).split("\n")
    return lines.scatter(some.arg_true(), pl.Series(plain, dtype=pl.String))


def _escape(found: re.Match[str]) -> str:
    if found["bytes"] is None:
        return found[0]
    return _of_bytes(found["bytes"])


@lru_cache(1024)  # mostly quotes
def _of_bytes(escaped: str) -> str:
    text = bytes.fromhex(escaped.replace("\\", "").replace("x", "")).decode("utf-8", "backslashreplace")
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _value(found: re.Match[str]) -> str:
    if found["list"] is not None:
        return f':"{found["list"]}"'
    if found["number"] is not None:
        return f":{found['number']}"
    return found[0] if found["nothing"] is None else ":null"
