"""Envoy's JSON access log: Istio's and Envoy Gateway's keys, those of Envoy AI Gateway, and keys chosen by the user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.format import Format, Options
from apilens.formats.grpc import is_grpc_status
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import dotted, names, path, plain_name
from apilens.formats.operators import IN_JSON, OPERATOR, operator, parent

_METHOD, _URL, _STATUS = f.token("method"), f.url(rank=1), f.status()
_AGENT, _REQUEST_ID, _FORWARDED = f.text("user_agent"), f.token("request_id"), f.text("forwarded_for")
_UPSTREAM_MS = f.duration("upstream_duration_ms", 1.0)
_CLIENT, _HOST, _FLAGS = f.peer(), f.host(), f.text("response_flags")
_MODEL, _INPUT, _OUTPUT = (
    f.text("gen_ai_request_model"),
    f.size("gen_ai_usage_input_tokens"),
    f.size("gen_ai_usage_output_tokens"),
)

#: Names of the headers that say who called, also as the operator that logs them, and without what all of them begin with.
_CALLERS = {
    name: field
    for header, field in f.CALLERS.items()
    for plain in [plain_name(header)]
    for name in (plain, f"req_{plain}", plain.removeprefix("x_"))
}


def _latency(name: str) -> f.Field:
    """What may be %DURATION%, or only the upstream's time: taken where nothing else is the duration, and where it is whole ms,
    as Envoy writes them. What an author made of it otherwise (seconds, a unit) stays an attribute."""

    def read(raw: pl.Expr) -> f.Columns:
        whole = raw.str.contains(r"^\d{1,10}$")
        ms = pl.when(whole).then(raw).cast(pl.Float64, strict=False)
        return {"duration_ms": ms, f"attributes.{name}": pl.when(~whole).then(raw)}

    return f.Field(read, read, rank=1)


#: Plain name of a key -> what its operator writes. %DURATION% and the header of the upstream's time are in ms.
_KEYS: dict[str, f.Field] = {
    **dict.fromkeys(("start_time", "timestamp", "time", "request_start_time", "ts"), f.written_time("start")),
    **dict.fromkeys(("duration", "duration_ms", "total_duration", "request_time"), f.duration("duration_ms", 1.0)),
    **{name: _latency(name) for name in ("latency", "latency_ms", "response_time")},
    **dict.fromkeys(
        ("upstream_service_time", "x_envoy_upstream_service_time", "resp_x_envoy_upstream_service_time"), _UPSTREAM_MS
    ),
    **dict.fromkeys(("response_code", "status", "status_code", "http_status"), _STATUS),
    **dict.fromkeys(("response_flags", "response_flag"), _FLAGS),
    **dict.fromkeys(("method", "request_method", "http_method"), _METHOD),
    **dict.fromkeys(("x_envoy_origin_path", "x_envoy_original_path", "original_path"), f.url()),
    **dict.fromkeys(("path", "uri", "url", "request_path", "request_uri"), _URL),
    **dict.fromkeys(("authority", "host", "request_authority"), _HOST),
    **dict.fromkeys(("protocol", "http_version"), f.spoken_version()),
    **dict.fromkeys(("route_name", "route"), f.text("gateway_route")),
    **dict.fromkeys(("upstream_cluster", "upstream_cluster_raw", "cluster"), f.text("upstream_name")),
    **dict.fromkeys(("upstream_host", "upstream_address", "upstream_remote_address"), f.text("upstream_address")),
    **dict.fromkeys(("downstream_remote_address", "client_address", "remote_address", "source_address"), _CLIENT),
    **dict.fromkeys(
        ("client_ip", "remote_addr", "remote_ip", "downstream_remote_address_without_port"), f.peer(rank=1)
    ),
    **dict.fromkeys(("bytes_received", "request_body_bytes"), f.size("request_body_bytes")),
    **dict.fromkeys(("bytes_sent", "response_body_bytes"), f.size("response_body_bytes")),
    **dict.fromkeys(("user_agent", "http_user_agent"), _AGENT),
    **dict.fromkeys(("request_id", "x_request_id"), _REQUEST_ID),
    **dict.fromkeys(("x_forwarded_for", "forwarded_for"), _FORWARDED),
    **dict.fromkeys(("referer", "referrer", "http_referer"), f.text("referrer")),
    **dict.fromkeys(("x_forwarded_proto", "scheme"), f.token("scheme")),
    **dict.fromkeys(("upstream_request_attempt_count", "upstream_attempts"), f.integer("upstream_attempts", pl.Int16)),
    **dict.fromkeys(("downstream_tls_version", "tls_version"), f.text("tls_version")),
    **dict.fromkeys(("trace_id", "x_b3_traceid", "x_b3_trace_id"), f.token("trace_id")),
    **dict.fromkeys(("span_id", "x_b3_spanid", "x_b3_span_id"), f.token("span_id")),
    "traceparent": parent(),
    **_CALLERS,
    **dict.fromkeys(("consumer", "user", "user_name"), f.CALLERS["x-consumer-username"]),
    **dict.fromkeys(("jwt_sub", "sub"), f.CLAIMS["sub"]),
    **dict.fromkeys(("downstream_peer_uri_san", "source_principal"), f.CERTIFICATE["san"]),
    "downstream_peer_subject": f.CERTIFICATE["subject"],
    **dict.fromkeys(("hostname", "node", "node_id", "pod_name", "pod"), f.token("node")),
    **dict.fromkeys(("gen_ai_provider_name", "gen_ai_system", "genai_provider_name"), f.text("gen_ai_provider")),
    "genai_backend_name": f.text("gen_ai_provider", rank=1),
    **dict.fromkeys(("gen_ai_request_model", "genai_model_name", "genai_request_model"), _MODEL),
    **dict.fromkeys(("gen_ai_response_model", "genai_model_name_override"), f.text("gen_ai_request_model", rank=1)),
    **dict.fromkeys(("gen_ai_usage_input_tokens", "genai_tokens_input", "llm_input_token", "llm_input_tokens"), _INPUT),
    **dict.fromkeys(
        ("gen_ai_usage_output_tokens", "genai_tokens_output", "llm_output_token", "llm_output_tokens"), _OUTPUT
    ),
}

#: Keys that Istio, Envoy Gateway and Envoy AI Gateway write by default; a null one may be left out of the head's records.
_DEFAULTS = (
    *(
        "method",
        "path",
        "x-envoy-origin-path",
        "protocol",
        "response_flags",
        "duration",
        "bytes_received",
        "bytes_sent",
    ),
    *("upstream_service_time", "x-envoy-upstream-service-time", "x_forwarded_for", "x-forwarded-for", "user_agent"),
    *("user-agent", "request_id", "x-request-id", "authority", ":authority", "upstream_host", "upstream_cluster"),
    *(
        "downstream_remote_address",
        "route_name",
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.provider.name",
    ),
    *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
)

#: Names that only Envoy's operators suggest.
_OWN = {"response_flags", "response_flag", "upstream_cluster", "upstream_cluster_raw", "upstream_service_time"} | {
    "x_envoy_upstream_service_time", "x_envoy_origin_path", "x_envoy_original_path", "downstream_remote_address",
    "response_code_details", "upstream_transport_failure_reason", "upstream_local_address", "downstream_local_address",
}  # fmt: skip
#: Names that are those of operators, and that others have as well; so many of them beside one of Envoy's own are no accident.
_SPELT = {
    "start_time", "response_code", "bytes_received", "bytes_sent", "duration", "protocol", "upstream_host", "route_name", "authority",
    "requested_server_name", "x_forwarded_for", "connection_termination_details", "upstream_request_attempt_count", "hostname",
    "grpc_status", "request_duration", "response_duration", "response_tx_duration", "virtual_cluster_name", "stream_id",
}  # fmt: skip
_TELLING = 3


def _is_envoys(seen: set[str]) -> bool:
    """Whether an object with such plain names is Envoy's."""
    own = len(_OWN & seen)
    return own > 1 or (own == 1 and len(_SPELT & seen) >= _TELLING)


def _open(head: pl.DataFrame, options: Options) -> list[JsonLayout]:
    """The layout given; else one of the keys that the head's records have, where these are Envoy's own."""
    if options.log_format is not None:
        return [_pasted(options.log_format, options.tz)]
    found = _of_keys(tuple(names(head["line"].head(50)).items()), options.tz)
    return [] if found is None else [found]


@lru_cache(32)
def _of_keys(keys: tuple[tuple[str, str], ...], tz: str) -> JsonLayout | None:
    """The layout of records with these keys: path and plain name of each; None: they are not Envoy's own."""
    seen = dict(keys)
    if not _is_envoys(set(seen.values())):
        return None
    found = {path: _KEYS[name] for path, name in seen.items() if name in _KEYS}
    times = [path for name in _KEYS for path in found if seen[path] == name and found[path].timestamp_kind]
    statuses = [path for path, field in found.items() if field is _STATUS]
    if not times or not statuses:
        return None
    # Of several times the one of the request is the first: shippers add the others.
    found = {path: field for path, field in found.items() if not field.timestamp_kind}
    found[times[0]] = f.written_time("start", tz)
    for key in _DEFAULTS:
        found.setdefault(path(key), _KEYS[key.strip(":").replace("-", "_").replace(".", "_")])
    return JsonLayout("envoy_json", found, signs=(times[0], statuses[0]))


def _pasted(text: str, tz: str) -> JsonLayout:
    """The layout of a json_format or typed_json_format: keys as its author chose them, and what their operators write.

    Keys of other operators, and of texts with several, are kept in attributes. Raises UsageError where it is no object or
    has no time.
    """
    try:
        chosen = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{text[:60]!r} is no JSON ({error}); expected an object as in Envoy's json_format") from None
    found: dict[str, f.Field] = {}
    for where, value in _leaves(chosen, ()):
        if (used := OPERATOR.fullmatch(value)) is None or used[1] is None:
            continue
        field = operator(used[1], used[2], tz)
        column = next(iter(field.careful(pl.lit(""))))
        if not column.startswith("attributes."):
            found[path(*where)] = field
        elif is_grpc_status(column.removeprefix("attributes.")):
            # Known by its name, which the author's key need not be.
            found[path(*where)] = f.kept(field, dotted(path(*where)))
    times = tuple(where for where, field in found.items() if field.timestamp_kind)
    if not times:
        raise UsageError(f"the layout {text[:60]!r} has no time: expected %START_TIME% among its values")
    others = tuple(where for where in found if where not in times)
    return JsonLayout("envoy_json", found, signs=(), any_of=(times, *((others,) if others else ())), text=text)


def _leaves(value: Any, inside: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names on the way to each text in objects, and the text."""
    if isinstance(value, str):
        yield inside, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name:
                yield from _leaves(inner, (*inside, name))


FORMAT = Format(
    "envoy_json",
    "Envoy JSON access logs: Istio, Envoy Gateway, Envoy AI Gateway, keys of one's own",
    '{"start_time":"2026-03-09T14:00:00.125Z","method":"GET","path":"/v1/carts","protocol":"HTTP/1.1","response_code":200,"response_flags":"-","duration":42,"upstream_service_time":"39"}',
    _open,
    pasted=IN_JSON,
)
