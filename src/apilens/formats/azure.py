"""Azure resource logs: API Management, Application Gateway and Front Door.

A record has its values in `properties` (blobs, event hubs); exports of Log Analytics have them beside each other under names
in Pascal case, and those of its table AzureDiagnostics with the type as a suffix: one layout each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from apilens.formats import fields as f
from apilens.formats.escapes import unescape
from apilens.formats.format import Format, fixed
from apilens.formats.json_layout import DEEPEST, JsonLayout

_TIMES = ("$.time", "$.timestamp", "$.timeStamp", "$.TimeGenerated", '$."TimeGenerated [UTC]"')

#: name -> its paths.
_Spelling = Callable[[str], tuple[str, ...]]
_SPELLINGS: tuple[_Spelling, ...] = (
    lambda name: (f"$.properties.{name}",),
    lambda name: (f"$.{name[0].upper()}{name[1:]}",),
    lambda name: (f"$.{name}_s", f"$.{name}_d"),
)
#: Categories of the records that are calls.
_CALLS = "('gatewaylogs', 'applicationgatewayaccesslog', 'frontdooraccesslog')"


#: What exports of the portal and of older agents write: month first, with or without AM and PM, a fraction, an offset.
_AMERICAN = tuple(f"%m/%d/%Y {clock}{zone}" for clock in ("%I:%M:%S%.f %p", "%H:%M:%S%.f") for zone in (" %:z", ""))


def _time(kind: str, rank: int) -> f.Field:
    """As `written_time`; a time with the month first is UTC where it has no offset."""
    field = f.written_time(kind, rank=rank)

    def read(raw: pl.Expr) -> f.Columns:
        text = raw.str.replace(", ", " ", literal=True)
        times = [text.str.to_datetime(layout, time_unit="us", strict=False) for layout in _AMERICAN]
        utc = [
            time if ":z" in layout else time.dt.replace_time_zone("UTC")
            for time, layout in zip(times, _AMERICAN, strict=True)
        ]
        american = pl.when(raw.str.contains(r"^\d{1,2}/\d{1,2}/\d{4},? ")).then(pl.coalesce(utc))
        return {"timestamp": pl.coalesce(field.careful(raw)["timestamp"], american)}

    return replace(field, careful=read)


_TEXT = r'(?s)^(.*?"properties"\s*:\s*)"(\s*\{(?:[^"\\]|\\.)*)"(.*)$'


def _opened(line: pl.Expr) -> pl.Expr:
    """The record whose properties are a text that holds an object (exports that went through a table or a queue), as if they
    were the object; null where they are none."""
    # How deep the object nests is not known before it is opened; garbage that nests deeper than any stays a text.
    textual = line.str.contains(r'"properties"\s*:\s*"') & (line.str.count_matches(r"[\[{]") < DEEPEST)
    parts = pl.when(textual).then(line).str.extract_groups(_TEXT).struct
    inner = parts.field("2").map_batches(lambda text: unescape(text, "json"), return_dtype=pl.String)
    return parts.field("1") + inner + parts.field("3")


def _layouts(
    gateway: str,
    category: str,
    table: str,
    kind: str,
    names: Mapping[str, f.Field],
    *,
    common: Mapping[str, f.Field] | None = None,
    told_by: str = "",
    derived: tuple[pl.Expr, ...] = (),
    dropped: tuple[str, ...] = (),
    nulls: tuple[str, ...] = ("", "-"),
) -> list[JsonLayout]:
    """One layout per spelling of `names`. common: paths outside of them. told_by: names of which a record must have one."""
    times = {path: _time(kind, rank) for rank, path in enumerate(_TIMES)}
    is_call = f"(lower(coalesce({{$.category}}, {{$.Category}})) = '{category.lower()}' OR {{$.Type}} = '{table}')"
    # Records of other logs of the same resource come to the same place.
    other = f"{{$.resourceId}} IS NOT NULL AND {{$.time}} IS NOT NULL AND lower({{$.category}}) NOT IN {_CALLS}"
    return [
        JsonLayout(
            gateway,
            {**times, **(common or {}), **{path: field for name, field in names.items() for path in spelling(name)}},
            signs=(),
            where=f"{is_call} AND coalesce({_listed(spelling, told_by)}) IS NOT NULL",
            mark=f"(?i){category}|{table}",
            filtered=other,
            derived=derived,
            dropped=tuple(path for name in dropped for path in spelling(name)),
            nulls=nulls,
            json=_opened,
        )
        for spelling in _SPELLINGS
    ]


def _listed(spelling: _Spelling, names: str) -> str:
    return ", ".join(f"{{{path}}}" for name in names.split() for path in spelling(name))


#: Of Front Door and of Application Gateway: there was no error.
_FINE = "(?i)NoError|ERRORINFO_NO_ERROR"
_SIDES = ("request", "response", "backendRequest", "backendResponse")
APIM = _layouts(
    "azure_apim",
    "GatewayLogs",
    "ApiManagementGatewayLogs",
    "start",
    {
        "totalTime": f.duration("duration_ms", 1.0),
        "backendTime": f.duration("upstream_duration_ms", 1.0),
        "responseCode": f.status(),
        "backendResponseCode": f.upstream_status(),
        "method": f.token("method"),
        "url": f.whole_url(),
        "apiId": f.text("api_id"),
        "operationId": f.text("gateway_route"),
        "apimSubscriptionId": f.text("application_id"),
        "userId": f.text("user_name"),
        "requestSize": f.size("request_bytes"),
        "responseSize": f.size("response_bytes"),
        "cache": f.token("cache_status"),
        "clientProtocol": f.spoken_version(),
        "clientTlsVersion": f.text("tls_version"),
        "lastErrorReason": f.text("response_flags"),
        "backendUrl": f.text("upstream_address"),
    },
    common={
        "$.durationMs": f.duration("duration_ms", 1.0),
        "$.DurationMs": f.duration("duration_ms", 1.0),
        "$.callerIpAddress": f.peer(),
        "$.CallerIpAddress": f.peer(),
        "$.CallerIPAddress": f.peer(),
        "$.correlationId": f.token("request_id"),
        "$.CorrelationId": f.token("request_id"),
    },
    told_by="method responseCode",
    # 0 where no backend was called.
    derived=(
        pl.when((pl.col("upstream_duration_ms") > 0) | pl.col("upstream_status_code").is_not_null())
        .then("upstream_duration_ms")
        .alias("upstream_duration_ms"),
    ),
    dropped=tuple(f"{side}{what}" for side in _SIDES for what in ("Body", "Headers")),
)

_APPGW_NAMES = {
    "clientIP": f.peer(),
    "clientIp": f.peer(),
    "clientPort": f.integer("client_port", pl.Int32),
    "httpMethod": f.token("method"),
    "requestUri": f.path_and_query(),
    "requestQuery": f.token("query", rank=-1),
    "userAgent": f.text("user_agent"),
    "httpStatus": f.status(),
    "httpVersion": f.spoken_version(),
    "receivedBytes": f.size("request_bytes"),
    "sentBytes": f.size("response_bytes"),
    "serverResponseLatency": f.duration("upstream_duration_ms", 1e3),
    "serverStatus": f.upstream_status(),
    "serverRouted": f.text("upstream_address"),
    "host": f.host(),
    "originalHost": f.host(rank=1),
    "transactionId": f.token("request_id"),
    "sslProtocol": f.text("tls_version"),
    "backendPoolName": f.text("upstream_name"),
    "ruleName": f.text("gateway_route"),
    "error_info": f.error("error_info", _FINE),
    "errorInfo": f.error("errorInfo", _FINE),
}
#: Only v2 gateways log one of these; timeTaken is in seconds there, and in milliseconds in v1.
_V2 = "serverRouted serverStatus serverResponseLatency transactionId sslProtocol ruleName"


def _appgw(ms_per_unit: float, told_by: str) -> list[JsonLayout]:
    names = {**_APPGW_NAMES, "timeTaken": f.duration("duration_ms", ms_per_unit)}
    return _layouts("azure_appgw", "ApplicationGatewayAccessLog", "AGWAccessLogs", "end", names, told_by=told_by)


APPGW = [
    layout for layouts in zip(_appgw(1e3, _V2), _appgw(1.0, "httpStatus httpMethod"), strict=True) for layout in layouts
]

FRONTDOOR = _layouts(
    "azure_frontdoor",
    "FrontDoorAccessLog",
    "AzureFrontDoorAccessLog",
    "end",
    {
        "timeTaken": f.duration("duration_ms", 1e3),
        "httpStatusCode": f.status(),
        "httpMethod": f.token("method"),
        "requestUri": f.whole_url(rank=1),
        "clientIp": f.peer(),
        "clientIP": f.peer(),
        "clientPort": f.integer("client_port", pl.Int32),
        "requestBytes": f.size("request_bytes"),
        "responseBytes": f.size("response_bytes"),
        "httpVersion": f.spoken_version(),
        "userAgent": f.text("user_agent"),
        "referer": f.text("referrer"),
        "referrer": f.text("referrer"),
        "hostName": f.host(),
        "hostname": f.host(),
        "trackingReference": f.token("request_id"),
        "cacheStatus": f.token("cache_status"),
        "errorInfo": f.error("errorInfo", _FINE),
        "ErrorInfo": f.error("ErrorInfo", _FINE),
        "routingRuleName": f.text("gateway_route"),
        "routeName": f.text("gateway_route"),
        "securityProtocol": f.text("tls_version"),
        "backendHostname": f.text("upstream_address"),
        "originIp": f.text("upstream_address"),
        "originName": f.text("upstream_name"),
    },
    told_by="httpStatusCode httpMethod requestUri",
    nulls=("", "-", "N/A", "n/a"),
)


def _format(name: str, description: str, example: str, layouts: list[JsonLayout]) -> Format:
    return fixed(name, description, example, lambda options: layouts)


APIM_FORMAT = _format(
    "azure_apim",
    "Azure API Management gateway logs",
    '{"time":"2026-03-09T14:00:00.1250000Z","category":"GatewayLogs","durationMs":42,"properties":{"method":"GET","url":"https://api.example/v1/carts","responseCode":200}}',
    APIM,
)
APPGW_FORMAT = _format(
    "azure_appgw",
    "Azure Application Gateway access logs, v1 and v2",
    '{"timeStamp":"2026-03-09T14:00:00+00:00","category":"ApplicationGatewayAccessLog","properties":{"httpMethod":"GET","requestUri":"/v1/carts","httpStatus":200,"timeTaken":42}}',
    APPGW,
)
FRONTDOOR_FORMAT = _format(
    "azure_frontdoor",
    "Azure Front Door access logs",
    '{"time":"2026-03-09T14:00:00Z","category":"FrontDoorAccessLog","properties":{"httpMethod":"GET","requestUri":"https://api.example/v1/carts","httpStatusCode":"200","timeTaken":"0.042"}}',
    FRONTDOOR,
)
