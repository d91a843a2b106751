"""Gravitee API Management: what its reporters write as JSON and as Elasticsearch documents, v2 and v4 APIs."""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import path

#: HttpMethod of gravitee-common: the documents of Elasticsearch hold its code.
_METHODS = dict(
    zip("123456789", ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"), strict=True)
)


def _method() -> f.Field:
    """A name or a code; 0 stands for a method that HTTP does not define."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"method": pl.when(raw != "0").then(raw.replace(_METHODS))}

    return f.Field(read, read)


def _upstream() -> f.Field:
    """Time at the endpoint; 0 and -1 where none was called."""
    field = f.duration("upstream_duration_ms", 1.0)

    def read(raw: pl.Expr) -> f.Columns:
        return {name: pl.when(ms > 0).then(ms) for name, ms in field.careful(raw).items()}

    return f.Field(read, read, accept=field.accept, accept_careful=field.accept_careful)


def _template() -> f.Field:
    """A path that holds variables; any other is no template but the path once more."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"gateway_route": pl.when(raw.str.contains(r"/:|[{*]")).then(raw), "attributes.path": raw}

    return f.Field(read, read, rank=1)


def _layout(
    names: dict[str, f.Field], any_of: tuple[tuple[str, ...], ...], filtered: str, where: str = "true"
) -> JsonLayout:
    """names: those of v2 and v4, the time first -> the field they fill."""
    paths = {path(name): field for both, field in names.items() for name in both.split()}
    times = next(iter(names)).split()
    return JsonLayout(
        "gravitee_json",
        paths,
        signs=(),
        any_of=(tuple(path(name) for name in times), *any_of),
        mark=rf'"(?:{"|".join(times)})"',
        where=where,
        filtered=filtered,
        nulls=("", "-", "-1"),
    )


#: Health checks, node monitoring, captured messages and message metrics share the files with the calls.
_JSON = _layout(
    {
        "timestamp": f.written_time("start"),
        "proxyResponseTimeMs gatewayResponseTimeMs": f.duration("duration_ms", 1.0),
        "apiResponseTimeMs endpointResponseTimeMs": _upstream(),
        "proxyLatencyMs gatewayLatencyMs": f.duration("gateway_duration_ms", 1.0),
        "httpMethod": _method(),
        "status": f.status(),
        "uri": f.url(),
        "mappedPath": f.text("gateway_route"),
        "path": _template(),
        "requestContentLength": f.size("request_body_bytes"),
        "responseContentLength": f.size("response_bytes"),
        "remoteAddress": f.token("client_ip"),
        "api apiId": f.text("api_id"),
        "apiName": f.text("service"),
        "application applicationId": f.text("application_id"),
        "user": f.text("user_name"),
        "userAgent": f.text("user_agent"),
        "host": f.host(),
        "requestId": f.token("request_id"),
        "transactionId": f.token("request_id", rank=1),
        "endpoint": f.text("upstream_address"),
        "errorKey": f.text("response_flags"),
        "failure": f.attribute("failure"),
    },
    any_of=(("$.requestId",), ("$.proxyResponseTimeMs", "$.gatewayResponseTimeMs")),
    filtered="{$.timestamp} IS NOT NULL AND {$.proxyResponseTimeMs} IS NULL AND {$.gatewayResponseTimeMs} IS NULL"
    " AND coalesce({$.clientRequest}, {$.proxyRequest}, {$.entrypointRequest}, {$.endpointRequest}, {$.connectorType},"
    " {$.steps}, {$.jvm}, {$.operation}) IS NOT NULL",
)
_ELASTICSEARCH = _layout(
    {
        "@timestamp timestamp": f.written_time("start"),
        "response-time gateway-response-time-ms": f.duration("duration_ms", 1.0),
        "api-response-time endpoint-response-time-ms": _upstream(),
        "proxy-latency gateway-latency-ms": f.duration("gateway_duration_ms", 1.0),
        "method http-method": _method(),
        "status": f.status(),
        "uri": f.url(),
        "mapped-path": f.text("gateway_route"),
        "path": _template(),
        "request-content-length": f.size("request_body_bytes"),
        "response-content-length": f.size("response_bytes"),
        "remote-address": f.token("client_ip"),
        "api api-id": f.text("api_id"),
        "api-name": f.text("service"),
        "application application-id": f.text("application_id"),
        "user": f.text("user_name"),
        "user-agent": f.text("user_agent"),
        "host": f.host(),
        "request-id": f.token("request_id"),
        "_id": f.token("request_id", rank=1),
        "transaction transaction-id": f.token("request_id", rank=2),
        "endpoint": f.text("upstream_address"),
        "error-key": f.text("response_flags"),
        "gateway": f.text("node"),
        "ai-input-tokens": f.size("gen_ai_usage_input_tokens"),
        "ai-output-tokens": f.size("gen_ai_usage_output_tokens"),
    },
    where='coalesce({$."response-time"}, {$."gateway-response-time-ms"}, {$."request-ended"},'
    " CASE WHEN {$.type} IN ('request', 'v4-metrics') THEN {$.type} END) IS NOT NULL",
    any_of=(("$.transaction", '$."transaction-id"', '$."request-id"'),),
    filtered="{$.index._index} IS NOT NULL OR ({$.gateway} IS NOT NULL AND"
    " {$.type} IN ('health', 'monitor', 'log', 'v4-log', 'v4-message-metrics', 'v4-message-log', 'event-metrics'))",
)

FORMAT = fixed(
    "gravitee_json",
    "Gravitee reporters, JSON and Elasticsearch documents, v2 and v4 APIs",
    '{"timestamp":1773064800125,"requestId":"9f2c","proxyResponseTimeMs":42,"apiResponseTimeMs":39,"httpMethod":"GET","uri":"/v1/carts","status":200}',
    lambda options: [_JSON, _ELASTICSEARCH],
)
