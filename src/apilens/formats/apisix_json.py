"""Apache APISIX: the object that file-logger, http-logger, kafka-logger and their like write per call."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import Format, Options
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import callers, header, names, plain_name

_AI = {
    "request_model": f.text("gen_ai_request_model"),
    "model": f.text("gen_ai_request_model", rank=1),  # of releases that log no other; else the one that answered
    "prompt_tokens": f.size("gen_ai_usage_input_tokens"),
    "completion_tokens": f.size("gen_ai_usage_output_tokens"),
}

LAYOUT = JsonLayout(
    "apisix_json",
    {
        "$.start_time": f.epoch_time("start", 1e3),
        "$.latency": f.duration("duration_ms", 1.0),
        "$.upstream_latency": f.duration("upstream_duration_ms", 1.0),
        "$.apisix_latency": f.duration("gateway_duration_ms", 1.0),
        "$.request.method": f.token("method"),
        "$.request.uri": f.url(),
        "$.request.url": f.whole_url(rank=2),
        "$.request.size": f.size("request_bytes"),
        "$.response.status": f.status(),
        "$.response.size": f.size("response_bytes"),
        "$.client_ip": f.token("client_ip"),
        "$.upstream": f.upstream_text("upstream_address", count=True),
        "$.route_id": f.text("gateway_route"),
        "$.service_id": f.text("service"),
        "$.consumer.username": f.text("user_name"),
        "$.server.hostname": f.text("node"),
        **callers('$.request.headers."{}"'),
        **header("$.request.headers.host", f.host()),
        **header('$.request.headers."user-agent"', "user_agent"),
        **header("$.request.headers.referer", "referrer"),
        **header('$.request.headers."x-forwarded-for"', "forwarded_for"),
        **header('$.request.headers."x-request-id"', "request_id"),
        **{f"$.llm_summary.{name}": field for name, field in _AI.items()},
    },
    signs=("$.start_time", "$.latency", "$.request.method", "$.response"),
    dropped=(
        "$.request.headers.authorization",
        "$.request.headers.cookie",
        '$.response.headers."set-cookie"',
        "$.request.body",
        "$.response.body",
        "$.llm_request",
        "$.llm_response_text",
    ),
)

#: Plain names of keys that documentation and users give to NGINX's variables in a custom log_format.
_CUSTOM: dict[str, f.Field] = {
    **dict.fromkeys(("timestamp", "time", "time_iso8601", "time_local"), f.written_time("end")),
    **dict.fromkeys(("client_ip", "remote_addr", "remote_ip", "ip"), f.token("client_ip")),
    **dict.fromkeys(("host", "http_host"), f.host()),
    "request": f.request_line(),
    **dict.fromkeys(("method", "request_method"), f.token("method")),
    **dict.fromkeys(("request_uri", "uri", "url", "path"), f.url()),
    **dict.fromkeys(("status", "status_code", "http_status"), f.status()),
    **dict.fromkeys(("request_time", "duration"), f.duration("duration_ms", 1e3)),
    "upstream_response_time": f.upstream_duration("upstream_duration_ms", 1e3, total=True),
    "upstream_connect_time": f.upstream_duration("upstream_connect_ms", 1e3, total=False),
    "upstream_header_time": f.upstream_duration("upstream_header_ms", 1e3, total=False),
    **dict.fromkeys(("upstream_addr", "upstream"), f.upstream_text("upstream_address", count=True)),
    "upstream_status": f.upstream_text("upstream_status_code"),
    "request_length": f.size("request_bytes"),
    "bytes_sent": f.size("response_bytes"),
    "body_bytes_sent": f.size("response_body_bytes"),
    **dict.fromkeys(("http_user_agent", "user_agent"), f.text("user_agent")),
    **dict.fromkeys(("http_referer", "referer"), f.text("referrer")),
    **dict.fromkeys(("http_x_forwarded_for", "x_forwarded_for"), f.text("forwarded_for")),
    **dict.fromkeys(("apisix_request_id", "request_id", "x_request_id"), f.token("request_id")),
    **dict.fromkeys(("consumer_name", "consumer", "remote_user"), f.text("user_name")),
    **{plain_name(name): field for header, field in f.CALLERS.items() for name in (header, f"http-{header}")},
    "scheme": f.token("scheme"),
    "hostname": f.token("node"),
}
_ROUTED = {"route_id": f.text("gateway_route"), "service_id": f.text("service")}


def _open(head: pl.DataFrame, options: Options) -> list[JsonLayout]:
    """The default layout, and that of a custom log_format: chosen keys, to which route_id is added."""
    custom = _custom(tuple(names(head["line"].head(20)).items()), options.tz)
    return [LAYOUT] if custom is None else [LAYOUT, custom]


@lru_cache(32)
def _custom(seen: tuple[tuple[str, str], ...], tz: str) -> JsonLayout | None:
    """The layout of records with these keys: path and plain name of each; None: they are not of a custom log_format."""
    found: dict[str, f.Field] = {}
    time = None
    for path, name in seen:
        field = (_CUSTOM | _ROUTED).get(name)
        if field is None or field in found.values():
            continue
        if field.timestamp_kind:
            time, field = path, f.written_time("end", tz)
        found[path] = field
    filled = {column for field in found.values() for column in field.careful(pl.lit(""))}
    if time is None or "$.route_id" not in found or not filled & {"status_code", "path", "method"}:
        return None
    return JsonLayout("apisix_json", found, signs=(time, "$.route_id"))


FORMAT = Format(
    "apisix_json",
    "Apache APISIX log plugins (file-logger, http-logger, …), default fields or a custom log_format",
    '{"start_time":1773064800125,"latency":42,"upstream_latency":39,"apisix_latency":3,"request":{"method":"GET","uri":"/v1/carts"},"response":{"status":200},"route_id":"1"}',
    _open,
)
