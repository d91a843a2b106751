"""Google Cloud: LogEntry objects with an httpRequest (external and internal load balancers, Cloud Run, …)."""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _cache() -> f.Field:
    """cacheHit as the word that other gateways log."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"cache_status": raw.replace({"true": "HIT", "false": "MISS"})}

    return f.Field(read, read)


def _trace() -> f.Field:
    """projects/P/traces/ID, or the id alone."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"trace_id": raw.str.replace("^.*/", "")}

    return f.Field(read, read)


LAYOUT = JsonLayout(
    "gcp_lb",
    {
        "$.timestamp": f.written_time("start"),
        "$.httpRequest.latency": f.go_duration("duration_ms"),
        "$.httpRequest.status": f.status(),
        "$.httpRequest.requestMethod": f.token("method"),
        "$.httpRequest.requestUrl": f.whole_url(),
        "$.httpRequest.requestSize": f.size("request_bytes"),
        "$.httpRequest.responseSize": f.size("response_bytes"),
        "$.httpRequest.remoteIp": f.peer(),
        "$.httpRequest.serverIp": f.token("upstream_address"),
        "$.httpRequest.userAgent": f.text("user_agent"),
        "$.httpRequest.referer": f.text("referrer"),
        "$.httpRequest.protocol": f.spoken_version(),
        "$.httpRequest.cacheHit": _cache(),
        "$.jsonPayload.statusDetails": f.text("response_flags"),
        "$.resource.labels.backend_service_name": f.text("upstream_name"),
        "$.resource.labels.url_map_name": f.text("gateway_route"),
        "$.resource.labels.service_name": f.text("service"),
        "$.trace": _trace(),
        "$.spanId": f.token("span_id"),
        "$.insertId": f.token("request_id"),
    },
    signs=("$.timestamp", "$.httpRequest"),
    any_of=(("$.httpRequest.requestMethod", "$.httpRequest.requestUrl", "$.httpRequest.status"),),
    filtered="{$.insertId} IS NOT NULL AND {$.logName} IS NOT NULL AND {$.httpRequest} IS NULL",
)

FORMAT = fixed(
    "gcp_lb",
    "Google Cloud load balancers (Cloud Logging entries)",
    '{"timestamp":"2026-03-09T14:00:00.125Z","resource":{"type":"http_load_balancer"},"httpRequest":{"requestMethod":"GET","requestUrl":"https://api.example/v1/carts","status":200,"latency":"0.042s"}}',
    lambda options: [LAYOUT],
)
