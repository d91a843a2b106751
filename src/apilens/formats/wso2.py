"""WSO2 API Manager: analytics events, as plain JSON or behind `apimMetrics: … properties :` in apim_metrics.log."""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _payload(raw: pl.Expr) -> pl.Expr:
    """The event inside a log4j line."""
    return raw.str.extract(r"apimMetrics\b.*?\bproperties\s*:\s*(\{.*\})\s*$")


def _ai(inside: str) -> dict[str, f.Field]:
    return {
        f"{inside}.aiMetadata.vendorName": f.text("gen_ai_provider"),
        f"{inside}.aiMetadata.model": f.text("gen_ai_request_model"),
        f"{inside}.aiTokenUsage.promptTokens": f.size("gen_ai_usage_input_tokens"),
        f"{inside}.aiTokenUsage.completionTokens": f.size("gen_ai_usage_output_tokens"),
    }


LAYOUT = JsonLayout(
    "wso2_metrics",
    {
        "$.requestTimestamp": f.written_time("start"),
        "$.responseLatency": f.duration("duration_ms", 1.0),
        "$.backendLatency": f.duration("upstream_duration_ms", 1.0),
        "$.requestMediationLatency": f.duration("_request_ms", 1.0),
        "$.responseMediationLatency": f.duration("_response_ms", 1.0),
        "$.proxyResponseCode": f.status(),
        "$.targetResponseCode": f.upstream_status(),
        "$.apiMethod": f.token("method"),
        "$.apiResourceTemplate": f.text("gateway_route"),
        "$.apiContext": f.path_and_query(),
        "$.destination": f.text("upstream_address"),
        "$.userIp": f.token("client_ip"),
        "$.userName": f.text("user_name"),
        "$.correlationId": f.token("request_id"),
        "$.apiId": f.text("api_id"),
        "$.apiName": f.text("service"),
        "$.applicationId": f.text("application_id"),
        "$.errorType": f.text("response_flags"),
        "$.properties.responseSize": f.size("response_body_bytes"),
        **_ai("$"),
        **_ai("$.properties"),
    },
    signs=("$.requestTimestamp", "$.proxyResponseCode"),
    any_of=(("$.apiName", "$.apiId", "$.apiResourceTemplate", "$.correlationId"),),
    derived=(
        pl.when(pl.col("_request_ms").is_not_null() | pl.col("_response_ms").is_not_null())
        .then((pl.col("_request_ms").fill_null(0) + pl.col("_response_ms").fill_null(0)).round(6))
        .alias("gateway_duration_ms"),
    ),
    nulls=("", "-", "-1", "N/A", "UNKNOWN"),
    json=_payload,
)

FORMAT = fixed(
    "wso2_metrics",
    "WSO2 API Manager analytics events (apim_metrics.log, ELK, Choreo)",
    '{"requestTimestamp":"2026-03-09T14:00:00.125Z","apiMethod":"GET","apiResourceTemplate":"/carts","proxyResponseCode":200,"responseLatency":42,"apiId":"a1"}',
    lambda options: [LAYOUT],
)
