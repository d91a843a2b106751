"""Traefik: access log in its own common log format, of all versions."""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import parts

_BEGIN = '{ClientHost} - {ClientUsername} [{StartUTC}] "{Request}" {OriginStatus} {OriginContentSize}'
_LENIENT = f"{_BEGIN} {{'Referer'}} {{'User-Agent'}} {{RequestCount}} {{'RouterName'}} {{'ServiceURL'}} {{Duration}}ms"
#: The second takes each of the quoted values without quotes as well: older versions write a missing one as a bare hyphen.
#: The third takes quotes inside the request, which no version escapes.
KNOWN = (
    f'{_BEGIN} "{{Referer}}" "{{User-Agent}}" {{RequestCount}} "{{RouterName}}" "{{ServiceURL}}" {{Duration}}ms',
    _LENIENT,
    _LENIENT.replace('"{Request}"', "{'Request'}"),
)

_FIELDS: dict[str, f.Field] = {
    "ClientHost": f.client(),
    "ClientUsername": f.strictly(f.text("user_name"), f.USER, "a user's name"),
    "StartUTC": f.clf_time("start"),
    "Request": f.request_line(),
    "OriginStatus": f.status(),
    "OriginContentSize": f.integer("response_body_bytes"),
    "Referer": f.text("referrer"),
    "User-Agent": f.text("user_agent"),
    "RequestCount": f.attribute("RequestCount", r"\d+|-"),
    "RouterName": f.text("gateway_route"),
    "ServiceURL": f.upstream(),
    "Duration": f.duration("duration_ms", 1.0, decimals=0),
}


def _maybe_quoted(field: f.Field, pattern: str = r'(?:"(?:[^"\\]|\\.)*"|-)') -> f.Field:
    def read(raw: pl.Expr) -> f.Columns:
        inside = raw.str.strip_prefix('"').str.strip_suffix('"')
        return field.careful(pl.when(~inside.is_in(["-", ""])).then(inside))

    return f.Field(read, read, pattern=pattern, escaped=True)


#: Fields that take their quotes with them, by the name that a layout has in quotes.
_WITH_QUOTES = {f"'{name}'": _maybe_quoted(field) for name, field in _FIELDS.items()} | {
    "'Request'": _maybe_quoted(_FIELDS["Request"], '".*?"')
}


@cache
def layout(text: str) -> TextLayout:
    """A layout whose variables are Traefik's names of the fields."""

    def named(match: re.Match[str]) -> tuple[Variable]:
        return (Variable(match[1].strip("'"), (_FIELDS | _WITH_QUOTES)[match[1]]),)

    return TextLayout("traefik_clf", text, parts(text, re.compile(r"\{([\w'-]+)\}"), named), "quote")


FORMAT = fixed(
    "traefik_clf",
    "Traefik, common log format",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5" 13 "shop@docker" "http://10.0.4.11:8080" 42ms',
    lambda options: [layout(text) for text in KNOWN],
)
