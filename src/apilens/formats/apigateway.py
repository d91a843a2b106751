"""AWS API Gateway: access logs in CLF, CSV or any text of $context variables."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import Format, Options
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import check_time, parts

_CALLER = "$context.identity.sourceIp $context.identity.caller $context.identity.user"
#: The console offers it without a blank behind the time.
CLF = (
    f'{_CALLER} [$context.requestTime]"$context.httpMethod $context.resourcePath $context.protocol" '
    "$context.status $context.responseLength $context.requestId"
)
_EXTENDED = "$context.extendedRequestId"
#: With a blank there it could be another server's.
_BLANK = CLF.replace(']"', '] "')
#: Of HTTP APIs and of WebSocket APIs, as the documentation has them.
_HTTP = (
    '$context.identity.sourceIp - - [$context.requestTime] "$context.httpMethod $context.routeKey $context.protocol" '
    "$context.status $context.responseLength $context.requestId"
)
_SOCKET = (
    f'{_CALLER} [$context.requestTime] "$context.eventType $context.routeKey $context.connectionId" '
    "$context.status $context.requestId"
)


def _csv(layout: str) -> str:
    return ",".join(re.findall(r"\$context\.[\w.]+", layout))


def _xml(names: str) -> str:
    """A layout in XML, of elements with the names of variables."""
    variables = {"ip": "identity.sourceIp", "caller": "identity.caller", "user": "identity.user"}
    elements = (f"<{name}>$context.{variables.get(name, name)}</{name}>" for name in names.split())
    return f'<request id="$context.requestId"> {" ".join(elements)} </request>'


CSV = _csv(CLF)
_XML = tuple(
    _xml(names)
    for names in (
        "ip caller user requestTime httpMethod resourcePath status protocol responseLength",
        "ip caller user requestTime httpMethod resourcePath status protocol responseLength extendedRequestId",
        "ip requestTime httpMethod routeKey status protocol responseLength",
        "ip caller user requestTime eventType routeKey status connectionId",
    )
)
KNOWN = (
    *(
        text
        for layout in (CLF, _BLANK, CSV)
        for text in (f"{layout}{',' if layout is CSV else ' '}{_EXTENDED}", layout)
    ),
    *(text for layout in (_HTTP, _SOCKET) for text in (layout, _csv(layout))),
    *_XML,
)

#: A request id: a UUID, or 16 characters of Base64 (HTTP APIs). An Apache log may hold a number there.
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9+/_-]{11,15}="


def _id(*, rank: int = 0) -> f.Field:
    """A request id, which no call lacks."""

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.str.contains(f"^(?:{_ID})$")

    return replace(f.token("request_id", rank=rank), accept=accept, accept_careful=accept, pattern=f"(?:{_ID})")


def _wide(field: f.Field) -> f.Field:
    """The same between commas as well."""
    return replace(field, pattern=r'[^\s,"]*')


def _route_key() -> f.Field:
    """`GET /pets/{id}` of an HTTP API: method and route; `$default` and `$connect` as they are."""

    def read(raw: pl.Expr) -> f.Columns:
        parts = raw.str.extract_groups(r"^(?:([A-Z]+) )?(\S+)$").struct
        method = parts.field("1")
        return {
            "gateway_route": pl.coalesce(parts.field("2"), raw),
            "method": pl.when(method != "ANY").then(method),
        }

    return f.Field(read, read, pattern=r'[^"]*?', rank=1)


#: Name behind $context. in lower case -> the field it is. What else there is goes to attributes.
_FIELDS: dict[str, f.Field] = {
    "requesttime": f.clf_time("start"),
    "requesttimeepoch": f.epoch_time("start", 1e3, rank=1),
    "identity.sourceip": _wide(f.token("client_ip")),
    "http.sourceip": _wide(f.token("client_ip", rank=1)),
    "identity.user": _wide(f.token("user_name")),
    "authorizer.principalid": f.text("user_name", rank=1),
    **{
        f"authorizer.claims.{claim}": f.kept_if_outranked(field, f"authorizer.claims.{claim}")
        for claim, field in f.CLAIMS.items()
    },
    "identity.useragent": f.text("user_agent"),
    "identity.apikeyid": _wide(f.token("application_id")),
    "httpmethod": f.token("method"),
    "path": f.url(),
    "resourcepath": f.token("gateway_route"),
    "routekey": _route_key(),
    "protocol": f.http_version(),
    "status": f.status(),
    "responselength": f.integer("response_bytes"),
    "responselatency": f.duration("duration_ms", 1.0),
    "integrationlatency": f.duration("upstream_duration_ms", 1.0),
    "integration.latency": f.duration("upstream_duration_ms", 1.0, rank=1),
    "integrationstatus": f.token("upstream_status_code"),
    "integration.integrationstatus": f.token("upstream_status_code", rank=1),
    "integration.status": f.token("upstream_status_code", rank=2),
    "requestid": f.token("request_id"),
    "extendedrequestid": f.kept(f.token("request_id", rank=1), "extendedRequestId"),
    "domainname": f.host(),
    "apiid": f.token("api_id"),
    "error.message": f.text("response_flags"),
    "error.messagestring": f.text("response_flags", rank=1),
    "error.responsetype": f.text("response_flags", rank=2),
    "xraytraceid": f.xray_trace(),
}
#: How these stand in the layouts that are tried unasked, and the ids in the one that another server might write.
_WRITTEN = {
    "requestid": _wide(f.token("request_id")),
    "extendedrequestid": f.kept(_wide(f.token("request_id", rank=1)), "extendedRequestId"),
    "resourcepath": f.text("gateway_route", pattern=r"[^\s,]+"),
    "identity.caller": f.attribute("identity.caller", r"[^\s,]+"),
    "routekey": replace(_route_key(), pattern=r"(?:[A-Z]+ /[^\s,\"<]*|\$[a-z]+|[A-Za-z0-9_-]+)"),
    "eventtype": f.attribute("eventType", "(?:CONNECT|MESSAGE|DISCONNECT|-)"),
    "connectionid": f.attribute("connectionId", r"[A-Za-z0-9+/=_-]+"),
}
_WRITTEN_IDS = {"requestid": _id(), "extendedrequestid": f.kept(_id(rank=1), "extendedRequestId")}

_VARIABLE = re.compile(r"\$context\.([A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*)")


@cache
def layout(text: str, *, unasked: bool = False) -> TextLayout:
    """The layout of a stage's access log format; unasked: tried on any log. Raises UsageError when it holds no time."""
    fields = _FIELDS
    if unasked:
        fields = _FIELDS | _WRITTEN | (_WRITTEN_IDS if text.startswith((_BLANK, _HTTP, _SOCKET)) else {})

    def named(match: re.Match[str]) -> tuple[Variable]:
        return (Variable(match[0], fields.get(match[1].lower()) or f.attribute(match[1])),)

    found = parts(text, _VARIABLE, named)
    check_time(found, text, "$context.requestTime or $context.requestTimeEpoch")
    return TextLayout("aws_apigateway_text", text, found, "none")


def _open(head: pl.DataFrame, options: Options) -> list[TextLayout]:
    if options.log_format is not None:
        return [layout(options.log_format)]
    return [layout(text, unasked=True) for text in KNOWN]


FORMAT = Format(
    "aws_apigateway_text",
    "AWS API Gateway: CLF, CSV and any text of $context variables given with --log-format",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000]"GET /v1/carts/{id} HTTP/1.1" 200 512 caa4a500-2651-4476-aa1f-a639b858819b',
    _open,
    pasted=re.compile(r"\$context\."),
)
