"""APIPark (apinto): one JSON object per call. request_time is in ms, response_time in ns (a Go duration)."""

from __future__ import annotations

from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _headers() -> f.Field:
    """User-Agent and Referer out of request_header, the request's headers written as a query string."""
    names = {"user_agent": "User-Agent", "referrer": "Referer"}

    def read(raw: pl.Expr) -> f.Columns:
        return {column: raw.str.extract(rf"(?i)(?:^|&){name}=([^&]*)") for column, name in names.items()}

    return f.Field(read, read, percent=tuple(names))


@cache
def layout(tz: str = "UTC") -> JsonLayout:
    """tz: zone of time_local, which names none and is used where msec and time_iso8601 are missing."""
    return JsonLayout(
        "apipark_json",
        {
            "$.msec": f.epoch_time("start", 1e3),
            "$.time_iso8601": f.iso_time("start", tz),
            "$.time_local": f.iso_time("start", tz),
            "$.timestamp": f.epoch_time("start", 1e6, rank=3),
            "$.request_time": f.duration("duration_ms", 1.0),
            "$.response_time": f.duration("upstream_duration_ms", 1e-6),
            "$.proxy_time": f.duration("upstream_duration_ms", 1e-6, rank=1),
            "$.status": f.status(),
            "$.proxy_status": f.upstream_text("upstream_status_code"),
            "$.request_method": f.token("method"),
            "$.request_uri": f.url(),
            "$.request_scheme": f.token("scheme"),
            "$.request_host": f.token("host"),
            "$.src_ip": f.token("client_ip"),
            "$.remote_addr": f.token("client_ip", rank=1),
            "$.proxy_addr": f.upstream_text("upstream_address", count=True),
            "$.request_id": f.token("request_id"),
            "$.api": f.text("api_id"),
            "$.service": f.text("service"),
            "$.provider": f.text("service", rank=1),
            "$.application": f.text("application_id"),
            "$.node": f.text("node"),
            "$.cluster": f.attribute("cluster"),
            "$.strategy": f.attribute("strategy"),
            "$.content_type": f.attribute("content_type"),
            "$.proxy_uri": f.attribute("proxy_uri"),
            "$.request_header": _headers(),
            "$.ai_provider": f.text("gen_ai_provider"),
            "$.ai_model": f.text("gen_ai_request_model"),
            "$.ai_model_input_token": f.integer("gen_ai_usage_input_tokens"),
            "$.ai_model_output_token": f.integer("gen_ai_usage_output_tokens"),
        },
        signs=("$.request_time", "$.request_uri"),
    )


FORMAT = fixed(
    "apipark_json",
    "APIPark / Apinto, one object per call",
    '{"msec":"1773064800125","request_time":"42","response_time":"39000000","request_method":"GET","request_uri":"/v1/carts","status":"200"}',
    lambda options: [layout(options.tz)],
)
