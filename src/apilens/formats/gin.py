"""Gin, and KrakenD on top of it: one text line per call, coloured where it went to a terminal."""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import parts

#: Of today, with the path quoted as Go quotes it; and before Gin 1.6, with the path bare.
KNOWN = (
    '[GIN] {time} |{status}|{latency}|{client}|{method} "{path}"',
    "[GIN] {time} |{status}|{latency}|{client}|{bare_call}",
)

#: Error texts on the lines behind a call, Gin's own notes and KrakenD's log are no calls.
_MESSAGES = r"^(?:Error #\d+: |\[GIN-debug\]|\[GIN-warning\]|(?:\[\w+\] )?\d{4}/\d\d/\d\d \d\d:\d\d:\d\d |\s+\W)"

_COLOUR = r"\x1b\[[\d;]*m"
#: Hours and minutes before the seconds, or one number with its unit; µ may have been spoilt on the way.
_SPAN = r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(ns|us|\\xb5s|\D{1,3}s|ms|s))?$"
_TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}


def _plain(raw: pl.Expr) -> pl.Expr:
    return raw.str.replace_all(_COLOUR, "").str.strip_chars(" ")


def _padded(field: f.Field, pattern: str) -> f.Field:
    """A field between blanks and colours."""

    def read(raw: pl.Expr) -> f.Columns:
        return field.careful(_plain(raw))

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return field.accept_careful(_plain(raw), columns) if field.accept_careful else pl.lit(True)

    around = rf"(?: |{_COLOUR})*"
    return f.Field(read, read, None, accept, accept, pattern=f"{around}(?:{pattern}){around}")


def go_duration(column: str) -> f.Field:
    """4.529µs, 1m2.5s, 1h0m0s, as Go writes a duration."""

    def read(raw: pl.Expr) -> f.Columns:
        found = raw.str.extract_groups(_SPAN).struct
        hours, minutes, value = (found.field(str(i)).cast(pl.Float64, strict=False) for i in (1, 2, 3))
        unit = found.field("4").replace_strict(_TO_MS, default=1e-3, return_dtype=pl.Float64)  # the spoilt ones are µs
        ms = hours.fill_null(0) * 3.6e6 + minutes.fill_null(0) * 6e4 + (value * unit).fill_null(0)
        return {column: pl.when(raw.str.contains(r"\d")).then(ms.round(6))}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | (raw.str.contains(_SPAN) & (columns[column] < 3.2e10))

    return f.Field(read, read, None, accept, accept, pattern=r"\S+")


def _bare_call() -> f.Field:
    """Method and path with any number of blanks between them."""

    def read(raw: pl.Expr) -> f.Columns:
        found = _plain(raw.str.replace(_COLOUR, "")).str.extract_groups(r"^(\S+) +(\S.*)$").struct
        return {"method": found.field("1"), **f.target(found.field("2"))}

    return f.Field(read, read, pattern=rf"(?: |{_COLOUR})*\S+(?: |{_COLOUR})+[^\s\"].*")


@cache
def layout(text: str, tz: str) -> TextLayout:
    """tz: zone of the server, which the line does not name."""
    fields = {
        "time": f.strftime_time("end", "%Y/%m/%d - %H:%M:%S", tz),
        "status": _padded(f.status(), r"\d{1,3}"),
        "latency": _padded(go_duration("duration_ms"), r"[\dhm.]*[^\s|]{1,6}"),
        "client": _padded(f.token("client_ip"), r"[^\s|]*"),
        "method": _padded(f.token("method"), r"[^\s|]*"),
        "path": f.url(),
        "bare_call": _bare_call(),
    }
    found = parts(text, re.compile(r"\{(\w+)\}"), lambda match: (Variable(match[1], fields[match[1]]),))
    return TextLayout("krakend_gin", text, found, "go", filtered=_MESSAGES)


FORMAT = fixed(
    "krakend_gin",
    "KrakenD and other gateways on Gin, with or without colours",
    '[GIN] 2026/03/09 - 14:00:00 | 200 |    4.529µs |     203.0.113.7 | GET      "/v1/carts"',
    lambda options: [layout(text, options.tz) for text in KNOWN],
)
