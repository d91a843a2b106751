"""Squid: its own access.log, also with request headers behind it, and any logformat.

Source: Squid, cf.data.pre, "logformat" (built-in formats, format codes) and "log_mime_hdrs".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.block import Parsed
from apilens.formats.format import known_or_pasted
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import check_time, parts

NATIVE = "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt"
#: Layouts tried when no logformat is given, narrow before wide: with log_mime_hdrs, with headers that people add.
KNOWN = (
    f"{NATIVE} [%>h] [%<h]",
    f'{NATIVE} "%{{Referer}}>h" "%{{User-Agent}}>h"',
    f'{NATIVE} "%{{User-Agent}}>h"',
    NATIVE,
)

#: Layouts that Squid knows by their names, and the format that reads them: what stands in quotes is not escaped in those of
#: httpd's kind. referrer and useragent say too little of a call.
BUILT_IN = {
    "squid": (NATIVE, "squid"),
    "common": ('%>a %[ui %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st %Ss:%Sh', "apache_combined"),
    "combined": (
        '%>a %[ui %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st "%{Referer}>h" "%{User-Agent}>h" %Ss:%Sh',
        "apache_combined",
    ),
}

#: How Squid came by an answer; the tags that older and newer releases put around it are words of the same kind.
_RESULT = r"(?:TCP|UDP|ICP|TAG|NONE|ERR)(?:_[A-Z]+)*"


def _padded(field: f.Field) -> f.Field:
    """A number that is filled up with blanks to a width."""

    def read(raw: pl.Expr) -> f.Columns:
        return field.careful(raw.str.strip_chars(" "))

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        assert field.accept_careful is not None
        return field.accept_careful(raw.str.strip_chars(" "), columns)

    return f.Field(read, read, None, accept, accept, pattern=r" *-?\d+ *", rank=field.rank, expected=field.expected)


def _target() -> f.Field:
    """A URL; of a tunnel `host:port`; `error:…` where what came was no request."""
    url = f.whole_url()

    def careful(raw: pl.Expr) -> f.Columns:
        none = raw.str.starts_with("error:").fill_null(True)
        columns = url.careful(pl.when(~none).then(raw))
        tunnel = f.split_authority(pl.when(raw.str.contains(r"^[^/?#]+:\d+$") & ~none).then(raw))
        return {
            **columns,
            **{name: pl.coalesce(columns[name], value) for name, value in tunnel.items()},
            **_standing(none),
            "request_line": pl.when(none).then(raw),
        }

    def prepare(raw: pl.Expr) -> pl.Expr:
        return pl.struct(url=raw, parts=raw.str.splitn("/", 4))

    def quick(prepared: pl.Expr) -> f.Columns:
        target = prepared.struct.field("url")
        first, authority, rest = (prepared.struct.field("parts").struct.field(f"field_{i}") for i in (0, 2, 3))
        pieces = rest.str.splitn("?", 2)
        return {
            "url": target,
            "path": pl.coalesce("/" + pieces.struct.field("field_0"), target),
            "query": pieces.struct.field("field_1"),
            "scheme": pl.when(rest.is_not_null()).then(first.str.strip_suffix(":")),
            **f.split_authority(pl.coalesce(authority, target)),
            **_standing(pl.lit(False)),
            "request_line": pl.lit(None, pl.String),
        }

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.str.contains(r"^(?:https?://[^/?#@]+/|[^/?#:]+:\d+$)") & ~raw.str.starts_with("error:")

    return f.Field(quick, careful, prepare, accept, lambda raw, columns: pl.lit(True), pattern=r"\S+", escaped=True)


def _standing(none: pl.Expr) -> f.Columns:
    """What is said of a call; none: it was no request."""
    status = pl.when(none).then(pl.lit("malformed_request")).otherwise(pl.lit("ok"))
    return {"parse_status": status, "http_version": pl.lit(None, pl.String)}  # the version stands apart, if at all


def _method() -> f.Field:
    """A method; NONE where there was no request."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"method": pl.when(raw != "NONE").then(raw)}

    return f.Field(read, read)


def _headers() -> f.Field:
    """User-Agent and Referer out of all headers, which end with `\\r\\n` each; the others may be secrets and are dropped."""
    names = {"user_agent": "User-Agent", "referrer": "Referer"}

    def read(raw: pl.Expr) -> f.Columns:
        return {column: raw.str.extract(rf"(?i)(?:^|\\r\\n){name}: *(.*?)(?:\\r|$)") for column, name in names.items()}

    return f.Field(read, read, pattern=r"[^\[\]]*")


def _dropped() -> f.Field:
    """Headers that may be secrets."""
    return f.Field(lambda raw: {}, lambda raw: {}, pattern=r"[^\[\]]*")


#: Format code -> the field it is; what there is besides is kept in attributes.
_FIELDS: dict[str, f.Field] = {
    "ts.tu": f.epoch_time("end", 1e6),
    "ts": f.epoch_time("end", 1e6, rank=1),
    "tl": f.clf_time("end"),
    "tg": f.clf_time("end"),
    "tr": f.duration("duration_ms", 1.0),
    "<tt": f.duration("upstream_duration_ms", 1.0),
    "<pt": f.duration("upstream_duration_ms", 1.0, rank=1),
    ">a": f.token("client_ip"),
    ">A": f.token("client_ip", rank=1),
    ">p": f.integer("client_port", pl.Int32),
    "Ss": f.strictly(f.text("cache_status"), _RESULT, "a result code like TCP_MISS"),
    ">Hs": f.status(),
    "Hs": f.status(),
    "<Hs": f.upstream_status(),
    "<st": f.integer("response_bytes"),
    ">st": f.integer("request_bytes"),
    "rm": _method(),
    ">rm": _method(),
    "ru": _target(),
    ">ru": _target(),
    "rp": f.url(rank=1),
    ">rp": f.url(rank=1),
    "rv": f.http_version(),
    ">rv": f.http_version(),
    "rd": f.host(rank=1),
    ">rd": f.host(rank=1),
    "un": f.token("user_name"),
    "ul": f.token("user_name", rank=1),
    "ui": f.token("user_name", rank=2),
    "Sh": f.attribute("squid_hierarchy", r"[A-Z_]+|-"),
    "<a": f.token("upstream_address"),
    "<A": f.token("upstream_name"),
    "mt": f.attribute("content_type", r"\S+"),
    ">h": _headers(),
    "<h": _dropped(),
    "{user-agent}>h": f.text("user_agent"),
    "{referer}>h": f.text("referrer"),
    "{host}>h": f.host(rank=2),
    "{x-forwarded-for}>h": f.text("forwarded_for"),
    "{x-request-id}>h": f.token("request_id"),
    **{f"{{{header}}}>h": f.kept_if_outranked(field, header) for header, field in f.CALLERS.items()},
    "ssl::>sni": f.attribute("sni", r"\S+"),
    "ssl::>negotiated_version": f.token("tls_version"),
    "err_code": f.token("response_flags"),
}

_DIRECTIVE = re.compile(r"^\s*logformat\s+\S+\s+(.*?)\s*$", re.DOTALL)
#: An encoding, a width and an argument may stand before a code, the argument also behind it. A time in two pieces is one.
_VARIABLE = re.compile(
    r"%(?:(?P<seconds>ts\.%0?3?tu)|\{(?P<begin>[^}]*)\}t(?P<zone>[lg])(?P<fraction>\.%0?3?tu)?(?:(?P<between>[^%\"\[\]]*)%\{(?P<end>[^}]*)\}t(?P=zone))?|%|(?P<coding>[\"'\[#/])?(?P<width>-?\d*(?:\.\d+)?)(?:\{(?P<before>[^}]*)\})?"
    r"(?P<code>(?:http::|icap::|ssl::|adapt::|transport::)?(?:[<>]?(?:negotiated_version|[A-Za-z]+(?:_[a-z]+)*)))"
    r"(?:\{(?P<behind>[^}]*)\})?)"
)


@dataclass(frozen=True)
class _Native(TextLayout):
    """A layout whose second value is filled up with blanks from the left, in most lines: those are taken off before the line
    is cut at blanks, which takes a seventh of what a regex takes."""

    def read(self, records: pl.DataFrame) -> Parsed:
        """As TextLayout has it."""
        return super().read(records.with_columns(pl.col("line").str.replace(" +", " ")))


@cache
def layout(text: str, tz: str = "UTC") -> TextLayout:
    """The layout of a logformat: its value, or the whole directive as it stands in squid.conf.

    Raises UsageError when it holds no time.
    """
    value = directive[1] if (directive := _DIRECTIVE.match(text)) else text

    def named(match: re.Match[str]) -> tuple[str | Variable, ...]:
        if match["seconds"]:
            return (Variable("%ts.%03tu", _FIELDS["ts.tu"]),)
        if match["zone"]:
            fraction = ".%3f" if match["fraction"] else ""
            whole = "".join((match["begin"], fraction, match["between"] or "", match["end"] or ""))
            return (Variable(match[0], f.strftime_time("end", whole, tz if match["zone"] == "l" else "UTC")),)
        if match["code"] is None:
            return ("%",)
        argument, code = (match["before"] or match["behind"] or "").lower(), match["code"]
        code = code.removeprefix("http::")
        key = f"{{{argument}}}{code}" if argument else code
        field = _FIELDS.get(key) or f.attribute(argument or code)
        # Zeros that fill up are read as a number anyhow; blanks are not.
        filled = match["width"] and not match["width"].startswith("0") and field.accept_careful is not None
        return (Variable(match[0], _padded(field) if filled else field),)

    found = parts(value, _VARIABLE, named)
    if not any(isinstance(part, Variable) for part in found):
        raise UsageError(f"logformat {text!r} has no format code: expected {NATIVE}, for example")
    check_time(found, value, "%ts, %tl or %tg")
    kind = _Native if value.startswith("%ts.%03tu %6tr ") else TextLayout
    # What stands in quotes is escaped with backslashes, what stands in brackets with percent signs.
    return kind("squid_native", value, found, "apache" if '"' in value else "none")


FORMAT = known_or_pasted(
    "squid_native",
    "Squid's own access.log, and any logformat given with --log-format",
    "1773064800.125     42 203.0.113.7 TCP_MISS/200 5120 GET http://api.example/v1/carts - HIER_DIRECT/10.0.4.11 application/json",
    KNOWN,
    re.compile(r"%(?:-?\d*>a|-?\d*Ss|\d*>Hs|\d*<st|#?>?ru)(?![A-Za-z])"),
    layout,
)
