"""Kong: the JSON object that file-log, http-log, tcp-log, udp-log and syslog write per call."""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import callers, header


def _last_try() -> f.Field:
    """ip:port out of the last object of `tries`."""

    def read(raw: pl.Expr) -> f.Columns:
        port = raw.str.extract(r'"port"\s*:\s*(\d+)')
        ip = raw.str.extract(r'"ip"\s*:\s*"([^"]+)"').str.replace(r"^([^\[]*:.*)$", "[${1}]")
        return {"upstream_address": pl.concat_str(ip, pl.lit(":"), port)}

    return f.Field(read, read)


#: Names under which the plugins that proxy to models log.
_AI_PLUGINS = ("proxy", "ai-proxy", "ai-proxy-advanced")


def _asked_model() -> f.Field:
    """The model that the request names; null where it names none."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"gen_ai_request_model": pl.when(raw != "UNSPECIFIED").then(raw)}

    return f.Field(read, read)


def _ai(plugin: str) -> dict[str, f.Field]:
    """What one of the AI plugins logs."""
    inside = f'$.ai."{plugin}"'
    return {
        f"{inside}.meta.provider_name": f.text("gen_ai_provider"),
        f"{inside}.meta.request_model": _asked_model(),
        f"{inside}.meta.response_model": f.text("gen_ai_request_model", rank=1),
        f"{inside}.usage.prompt_tokens": f.size("gen_ai_usage_input_tokens"),
        f"{inside}.usage.completion_tokens": f.size("gen_ai_usage_output_tokens"),
    }


LAYOUT = JsonLayout(
    "kong_json",
    {
        "$.started_at": f.epoch_time("start", 1e3),
        "$.latencies.request": f.duration("duration_ms", 1.0),
        "$.latencies.proxy": f.duration("upstream_duration_ms", 1.0),
        "$.latencies.kong": f.duration("gateway_duration_ms", 1.0),
        "$.response.status": f.status(),
        "$.request.method": f.token("method"),
        "$.request.uri": f.url(),
        "$.request.size": f.size("request_bytes"),
        "$.response.size": f.size("response_bytes"),
        "$.client_ip": f.token("client_ip"),
        "$.route.name": f.text("gateway_route"),
        "$.route.id": f.text("gateway_route", rank=1),
        "$.service.name": f.text("service"),
        "$.consumer.username": f.text("user_name"),
        **callers('$.request.headers."{}"'),
        "$.consumer.custom_id": f.attribute("consumer.custom_id"),
        "$.request.id": f.token("request_id"),
        # Before Kong 3.5 a request has no id of Kong's own.
        **header('$.request.headers."x-request-id"', "request_id", rank=1),
        **{
            f'$.request.headers."{name}"': f.unlisted(f.token("request_id", rank=rank))
            for rank, name in enumerate(("X-Request-Id", "X-Request-ID"), 3)
        },
        "$.upstream_status": f.upstream_text("upstream_status_code"),
        "$.tries[#-1]": _last_try(),
        "#$.tries": f.integer("upstream_attempts", pl.Int16),
        **header('$.request.headers."user-agent"', "user_agent"),
        **header("$.request.headers.host", f.host()),
        **header('$.request.headers."x-forwarded-for"', "forwarded_for"),
        **header("$.request.headers.referer", "referrer"),
        "$.request.tls.version": f.text("tls_version"),
        "$.trace_id": f.unlisted(f.text("trace_id")),
        "$.trace_id.w3c": f.text("trace_id", rank=1),
        "$.workspace_name": f.attribute("workspace_name"),
        "$.source": f.attribute("source"),
        "$.upstream_uri": f.attribute("upstream_uri"),
        **{path: field for plugin in _AI_PLUGINS for path, field in _ai(plugin).items()},
    },
    signs=("$.started_at", "$.latencies", "$.request"),
    dropped=(
        "$.request.headers.authorization",
        "$.request.headers.cookie",
        '$.response.headers."set-cookie"',
        "$.request.body",
        "$.response.body",
        *(f'$.ai."{plugin}".payload' for plugin in _AI_PLUGINS),
    ),
)

FORMAT = fixed(
    "kong_json",
    "Kong log plugins (file-log, http-log, tcp-log, …)",
    '{"started_at":1773064800125,"latencies":{"request":42,"proxy":39,"kong":3},"request":{"method":"GET","uri":"/v1/carts"},"response":{"status":200}}',
    lambda options: [LAYOUT],
)
