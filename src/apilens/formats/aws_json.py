"""AWS: access logs of API Gateway in a JSON template, CloudFront's standard and real-time logs as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import Format, Options, fixed
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import names


def _route_key() -> f.Field:
    """`GET /pets/{id}` of an HTTP API: method and route; `$default` and `$connect` as they are."""

    def read(raw: pl.Expr) -> f.Columns:
        parts = raw.str.extract_groups(r"^(?:([A-Z]+) )?(\S+)$")
        method = parts.struct.field("1")
        return {
            "gateway_route": pl.coalesce(parts.struct.field("2"), raw),
            "method": pl.when(method != "ANY").then(method),
        }

    return f.Field(read, read, rank=1)


def _xray() -> f.Field:
    """Root=1-67891233-abcdef012345678912345678: the id as OpenTelemetry writes it, where it is one."""

    def read(raw: pl.Expr) -> f.Columns:
        parts = raw.str.extract_groups(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
        return {"trace_id": pl.coalesce(parts.struct.field("1") + parts.struct.field("2"), raw)}

    return f.Field(read, read)


#: Plain name of a key -> what it holds. Keys are chosen by the user; most name the $context variable.
_CONTEXT: Mapping[str, f.Field] = {
    "request_time_epoch": f.epoch_time("start", 1e3),
    "request_time": replace(f.written_time("start"), rank=1),
    "response_latency": f.duration("duration_ms", 1.0),
    "integration_latency": f.duration("upstream_duration_ms", 1.0),
    "integration_response_latency": f.duration("upstream_duration_ms", 1.0, rank=1),
    "status": f.status(),
    "integration_status": f.upstream_status(),
    "integration_integration_status": f.upstream_status(rank=1),
    "http_method": f.token("method"),
    "method": f.token("method", rank=1),
    "path": f.path_and_query(),
    "resource_path": f.text("gateway_route"),
    "route_key": _route_key(),
    "protocol": f.spoken_version(),
    "ip": f.token("client_ip"),
    "source_ip": f.token("client_ip", rank=1),
    "identity_source_ip": f.token("client_ip", rank=1),
    "user_agent": f.text("user_agent"),
    "identity_user_agent": f.text("user_agent"),
    "domain_name": f.host(),
    "response_length": f.size("response_bytes"),
    "request_id": f.token("request_id"),
    "extended_request_id": f.token("request_id", rank=1),
    "api_id": f.text("api_id"),
    "user": f.text("user_name"),
    "identity_user": f.text("user_name"),
    "api_key_id": f.text("application_id"),
    "identity_api_key_id": f.text("application_id"),
    "authorizer_principal_id": f.text("user_name", rank=1),
    **{f"authorizer_claims_{claim}": field for claim, field in f.CLAIMS.items()},
    **dict.fromkeys(("error_message", "error_message_string"), f.text("response_flags")),
    "xray_trace_id": _xray(),
}


def _open_api_gateway(head: pl.DataFrame, options: Options) -> list[JsonLayout]:
    """A layout of the keys that the head's records have, where they are those of API Gateway."""
    found = _of_keys(tuple(names(head["line"].head(20)).items()))
    return [] if found is None else [found]


@lru_cache(32)
def _of_keys(seen: tuple[tuple[str, str], ...]) -> JsonLayout | None:
    """The layout of records with these keys: path and plain name of each; None: they are not those of API Gateway."""
    found: dict[str, f.Field] = {}
    columns: dict[str, str] = {}
    for path, name in seen:
        plain = name.removeprefix("context_").removeprefix("request_context_")
        if (field := _CONTEXT.get(plain)) is not None:
            found[path] = field
            columns.setdefault(plain, path)
    times = [columns[name] for name in ("request_time_epoch", "request_time") if name in columns]
    own = {"route_key", "resource_path", "integration_latency", "response_latency", "response_length", "xray_trace_id"}
    if not times or "request_id" not in columns or "status" not in columns or not own & columns.keys():
        return None
    signs = (columns["request_id"], columns["status"])
    return JsonLayout("aws_apigateway_json", found, signs=signs, any_of=(tuple(times),))


API_GATEWAY_FORMAT = Format(
    "aws_apigateway_json",
    "AWS API Gateway access logs in a JSON template (REST, HTTP and WebSocket APIs)",
    '{"requestId":"9f2c","ip":"203.0.113.7","requestTime":"09/Mar/2026:14:00:00 +0000","httpMethod":"GET","resourcePath":"/v1/carts","status":"200","protocol":"HTTP/1.1","responseLength":"512"}',
    _open_api_gateway,
)


def _percent(column: str, *, twice: bool = False) -> f.Field:
    """Text of which CloudFront percent-encodes blanks, quotes and what is no ASCII. twice: blanks came as %2520 once."""

    def read(raw: pl.Expr) -> f.Columns:
        plain = raw.str.replace_all("+", "%2B", literal=True)
        return {column: plain.str.replace_all("%2520", "%20", literal=True) if twice else plain}

    return f.Field(read, read, percent=(column,))


CLOUDFRONT = JsonLayout(
    "aws_cloudfront_json",
    {
        '$."timestamp(ms)"': f.epoch_time("end", 1e3),
        "$.timestamp": f.written_time("end", rank=1),
        "$.date": f.text("_date"),
        "$.time": f.text("_time"),
        '$."time-taken"': f.duration("duration_ms", 1e3),
        '$."sc-status"': f.status(),
        '$."cs-method"': f.token("method"),
        '$."cs-uri-stem"': f.path_and_query(),
        '$."cs-uri-query"': f.token("query", rank=-1),
        '$."x-host-header"': f.host(),
        '$."cs(Host)"': f.host(rank=1),
        '$."cs-host"': f.host(rank=2),
        '$."c-ip"': f.token("client_ip"),
        '$."c-port"': f.integer("client_port", pl.Int32),
        '$."cs-bytes"': f.size("request_bytes"),
        '$."sc-bytes"': f.size("response_bytes"),
        '$."sc-content-len"': f.size("response_body_bytes"),
        '$."cs(User-Agent)"': _percent("user_agent", twice=True),
        '$."cs-user-agent"': _percent("user_agent", twice=True),
        '$."cs(Referer)"': _percent("referrer"),
        '$."cs-referer"': _percent("referrer"),
        '$."x-forwarded-for"': _percent("forwarded_for"),
        '$."x-edge-request-id"': f.token("request_id"),
        '$."x-edge-result-type"': f.token("cache_status"),
        '$."x-edge-detailed-result-type"': f.error("x-edge-detailed-result-type", f.CLOUDFRONT_FINE),
        '$."cs-protocol-version"': f.spoken_version(),
        '$."cs-protocol"': f.token("scheme"),
        '$."ssl-protocol"': f.text("tls_version"),
    },
    signs=('$."sc-status"', '$."cs-uri-stem"'),
    any_of=(('$."x-edge-location"', '$."x-edge-result-type"', '$."c-ip"', '$."time-taken"'),),
    derived=(
        pl.coalesce(
            "timestamp",
            (pl.col("_date") + "T" + pl.col("_time")).str.to_datetime(
                "%Y-%m-%dT%H:%M:%S", time_unit="us", time_zone="UTC", strict=False
            ),
        ).alias("timestamp"),
    ),
    dropped=('$."cs(Cookie)"', '$."cs-cookie"'),
)

CLOUDFRONT_FORMAT = fixed(
    "aws_cloudfront_json",
    "AWS CloudFront, standard (v2) and real-time logs as JSON",
    '{"date":"2026-03-09","time":"14:00:00","x-edge-location":"FRA56-P1","c-ip":"203.0.113.7","cs-method":"GET","cs-uri-stem":"/v1/carts","sc-status":"200","time-taken":"0.042"}',
    lambda options: [CLOUDFRONT],
)
