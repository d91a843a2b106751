"""Objects that are JSON but for what a text template put into it: a log_format in braces, of which the gateway knows nothing."""

from __future__ import annotations

import json
import re

import polars as pl

_ODD = r'\\x|":\s*(?:-?\s*[,}]|0\d|(?:[\d.]+|-)(?:, | : )[\d.-])'
#: Lines that one pass of a regex goes over: those of a block, as Python's text, would take four times its memory.
_AT_ONCE = 1000
#: An escape of JSON, or bytes as nginx escapes them without escape=json.
_ESCAPE = re.compile(r"(?P<bytes>(?:\\x[0-9A-Fa-f]{2})+)|\\.")
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
    # A record that an envelope held may have line breaks in it, and the lines are put together with them: those are left alone.
    odd = lines.str.contains(r"^[^\S\n]*\{[^\n]*$") & lines.str.contains(_ODD)
    if not odd.any():
        return lines
    plain: list[str] = []
    for part in lines.filter(odd).to_frame().iter_slices(_AT_ONCE):
        text = "\n".join(part.to_series().to_list())
        plain += _VALUE.sub(_value, _ESCAPE.sub(_escape, text)).split("\n")
    return lines.scatter(odd.arg_true(), pl.Series(plain, dtype=pl.String))


def _escape(found: re.Match[str]) -> str:
    if found["bytes"] is None:
        return found[0]
    text = bytes.fromhex(found["bytes"].replace("\\x", "")).decode("utf-8", "backslashreplace")
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _value(found: re.Match[str]) -> str:
    if found["list"] is not None:
        return f':"{found["list"]}"'
    if found["number"] is not None:
        return f":{found['number']}"
    return found[0] if found["nothing"] is None else ":null"
