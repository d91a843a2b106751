"""uWSGI: the line it writes per request unless told otherwise, and any log-format.

Source: uWSGI, core/logging.c (log_request) and "Formatting uWSGI requests logs".
"""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import known_or_pasted
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import check_time, parts

#: In uWSGI's own variables where there are such; with --memory-report sizes of the process stand before it.
DEFAULT = (
    "[pid: %(pid)|app: %(app)|req: %(req)] %(addr) (%(user)) {%(vars) vars in %(pktsize) bytes} [%(ctime)] %(method) %(uri)"
    " => generated %(rsize) bytes in %(span)(%(proto) %(status)) %(headers) headers in %(hsize) bytes"
    " (%(switches) switches on core %(core))"
)
KNOWN = (DEFAULT, f"{{address space usage: %(vsz)}} {{rss usage: %(rss)}} {DEFAULT}")

#: What uWSGI itself says, and an exception's lines. Whatever else an application prints there is told line by line.
_MESSAGES = (
    r"^(?:\*\*\*|\.\.\.|u?WSGI |uwsgi|Python |[Ss]pawned |Respawned |your |mapped |detected |compiled with|os: |nodename: |machine: "
    r"|clock source: |pcre |current working directory: |lock engine: |thunder lock: |python threads support|worker \d|DAMN ! "
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} - |Traceback \(most recent|  |invalid HTTP request size)"
)
_SPAN = r"^(\d+) (msecs|micros)(?: via \S+)?\s*$"


def _span() -> f.Field:
    """`13 msecs `, with --log-micros `12875 micros `; behind it how a file was sent, if one was."""

    def read(raw: pl.Expr) -> f.Columns:
        found = raw.str.extract_groups(_SPAN).struct
        count = found.field("1").cast(pl.Float64, strict=False)
        ms = pl.when(found.field("2") == "micros").then(count * 1e-3).otherwise(count).round(6)
        return {"duration_ms": pl.when(ms < f.LONGEST_MS).then(ms)}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return columns["duration_ms"].is_not_null()

    return f.Field(read, read, None, accept, accept, pattern=r"\d+ (?:msecs|micros)(?: via [^\s(]+(?:\(\))?)? ")


def _ctime(tz: str) -> f.Field:
    return f.strftime_time("start", "%a %b %e %H:%M:%S %Y", tz)


@cache
def _fields(tz: str) -> dict[str, f.Field]:
    """Variable -> the field it is; tz: zone of the server, which ctime does not name."""
    return {
        "addr": f.token("client_ip"),
        "user": f.text("user_name"),
        "ctime": _ctime(tz),
        "ltime": f.clf_time("start"),
        "time": f.epoch_time("start", 1e6, rank=1),
        "tmsecs": f.epoch_time("start", 1e3),
        "tmicros": f.epoch_time("start", 1.0),
        "epoch": f.epoch_time("end", 1e6, rank=3),
        "method": f.token("method"),
        "uri": f.url(),
        "proto": f.http_version(),
        "host": f.host(),
        "status": f.status(),
        "rsize": f.integer("response_body_bytes"),
        "size": f.integer("response_bytes"),
        "cl": f.integer("request_body_bytes"),
        "referer": f.text("referrer"),
        "uagent": f.text("user_agent"),
        "secs": f.duration("duration_ms", 1e3, rank=2),
        "msecs": f.duration("duration_ms", 1.0, rank=1),
        "micros": f.duration("duration_ms", 1e-3),
        "span": _span(),
        "var.HTTP_X_FORWARDED_FOR": f.text("forwarded_for"),
        "var.HTTP_X_REQUEST_ID": f.token("request_id"),
        # Numbers that cannot be text: a URI may hold anything.
        **{name: f.attribute(name, r"[\d/-]+") for name in ("pid", "app", "req", "vars", "pktsize", "headers", "hsize", "switches", "core")},
    }  # fmt: skip


_VARIABLE = re.compile(r"%\(([\w.-]+)\)")
#: `log-format = …` of an ini file, or as it stands on the command line.
_DIRECTIVE = re.compile(r"^\s*(?:--)?log-?format\s*=?\s+(.*?)\s*$|^\s*(?:--)?log-?format=(.*?)\s*$", re.DOTALL)


@cache
def layout(text: str, tz: str = "UTC") -> TextLayout:
    """The layout of a log-format: its value, or the whole line of the ini file.

    Raises UsageError when it holds no time.
    """
    if (directive := _DIRECTIVE.match(text)) is not None:
        text = directive[1] or directive[2]
    fields = _fields(tz)

    def named(match: re.Match[str]) -> tuple[Variable]:
        return (Variable(match[0], fields.get(match[1]) or f.attribute(match[1])),)

    found = parts(text, _VARIABLE, named)
    check_time(found, text, "%(ltime), %(ctime), %(time) or %(tmsecs)")
    # A quote or a backslash in a value stands as it came.
    return TextLayout("uwsgi", text, found, "none", filtered=_MESSAGES)


FORMAT = known_or_pasted(
    "uwsgi",
    "uWSGI, its request log and any log-format given with --log-format",
    "[pid: 17|app: 0|req: 7/9] 203.0.113.7 () {24 vars in 293 bytes} [Mon Mar  9 14:00:00 2026] GET /v1/carts"
    " => generated 512 bytes in 42 msecs (HTTP/1.1 200) 2 headers in 70 bytes (1 switches on core 0)",
    KNOWN,
    re.compile(r"%\((?:addr|ltime|ctime|time|tmsecs|tmicros|method|uri|uagent|referer|status|rsize|msecs|micros)\)"),
    layout,
)
