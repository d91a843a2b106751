"""Envoy's command operators (%DURATION%, %REQ(:PATH)%, …): what each of them becomes, in a format string and in JSON."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl

from apilens.formats import fields as f


def _upstream_host() -> f.Field:
    """10.0.2.1:80; older Envoys write it as tcp://10.0.2.1:80."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"upstream_address": raw.str.replace("^[a-z]+://", "")}

    return f.Field(read, read)


def parent() -> f.Field:
    """traceparent: version-trace-parent-flags (W3C Trace Context)."""

    def read(raw: pl.Expr) -> f.Columns:
        parts = raw.str.extract_groups(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-")
        return {"trace_id": parts.struct.field("1"), "span_id": parts.struct.field("2"), "attributes.traceparent": raw}

    return f.Field(read, read, rank=1)


def _attempts() -> f.Field:
    return f.integer("upstream_attempts", pl.Int16)


def _details() -> f.Field:
    """via_upstream, upstream_reset_before_response_started{connection failure}: Envoy before 1.18 wrote blanks, in the braces."""
    return replace(
        f.attribute("response_code_details", r'[^\s"{]*(?:\{[^"{}]*\})?'),
        accept=lambda raw, columns: raw.is_null() | ~raw.str.contains(" ", literal=True),
    )


#: Operators without a column whose values never hold a blank.
_BLANKLESS = (
    "connection_termination_details",
    "upstream_local_address",
    "downstream_local_address",
    "requested_server_name",
)

#: Operator in lower case, or one with its argument -> the field it is. What else there is goes to attributes.
_FIELDS: dict[str, f.Field] = {
    "req(:method)": f.token("method"),
    "req(:path)": f.url(),
    "req(x-envoy-original-path)": f.url(),
    "path": f.url(),
    "req(:authority)": f.host(),
    "req(host)": f.host(rank=1),
    "req(:scheme)": f.scheme(),
    "req(x-forwarded-proto)": f.scheme(rank=1),
    "req(x-forwarded-for)": f.text("forwarded_for"),
    "req(user-agent)": f.text("user_agent"),
    "req(referer)": f.text("referrer"),
    "req(x-request-id)": f.token("request_id"),
    "req(x-b3-traceid)": f.token("trace_id", rank=1),
    "req(x-b3-spanid)": f.token("span_id", rank=1),
    "req(traceparent)": parent(),
    "req(x-real-ip)": f.token("client_ip", rank=4),
    **{f"req({header})": f.kept_if_outranked(field, header) for header, field in f.CALLERS.items()},
    "resp(x-envoy-upstream-service-time)": f.duration("upstream_duration_ms", 1.0),
    "protocol": f.http_version(),
    "response_code": f.status(),
    "response_flags": f.token("response_flags"),
    "response_flags_long": f.token("response_flags", rank=1),
    "bytes_received": f.integer("request_body_bytes"),
    "bytes_sent": f.integer("response_body_bytes"),
    "downstream_wire_bytes_received": f.integer("request_bytes"),
    "downstream_wire_bytes_sent": f.integer("response_bytes"),
    "duration": f.duration("duration_ms", 1.0),
    "upstream_host": _upstream_host(),
    "upstream_remote_address": f.token("upstream_address", rank=1),
    "upstream_cluster": f.token("upstream_name"),
    "upstream_cluster_raw": f.token("upstream_name", rank=1),
    "upstream_request_attempt_count": _attempts(),
    "downstream_remote_address": f.address("client_ip", "client_port"),
    "downstream_remote_address_without_port": f.token("client_ip", rank=1),
    "downstream_remote_port": f.integer("client_port", pl.Int32),
    "downstream_direct_remote_address": f.kept(
        f.address("client_ip", "client_port", rank=2), "downstream_direct_remote_address"
    ),
    "downstream_direct_remote_address_without_port": f.kept(
        f.token("client_ip", rank=3), "downstream_direct_remote_address_without_port"
    ),
    "downstream_local_port": f.integer("server_port", pl.Int32),
    "downstream_tls_version": f.token("tls_version"),
    "downstream_peer_uri_san": f.kept_if_outranked(f.CERTIFICATE["san"], "downstream_peer_uri_san"),
    "downstream_peer_subject": f.kept_if_outranked(f.CERTIFICATE["subject"], "downstream_peer_subject"),
    # What Istio's proxies make of a token, and of the certificate of the proxy before.
    **{
        f"dynamic_metadata({key})": f.kept_if_outranked(field, f"dynamic_metadata.{key}")
        for key, field in {
            "istio_authn:request.auth.principal": f.CLAIMS["sub"],
            "istio_authn:source.principal": f.CERTIFICATE["san"],
        }.items()
    },
    # Without quotes around it, what is appended to a line would be part of it if it held blanks.
    "route_name": f.token("gateway_route"),
    "response_code_details": _details(),
    **{name: f.attribute(name, r"\S+") for name in _BLANKLESS},
    "trace_id": f.token("trace_id"),
    "span_id": f.token("span_id"),
    "stream_id": f.token("request_id", rank=1),
    "hostname": f.token("node"),
    **{
        f"environment({name})": f.token("node", rank=1) for name in ("hostname", "pod_name", "node_name", "instance_id")
    },
    **{
        f"common_duration(ds_rx_beg:ds_tx_end:{unit})": f.duration("duration_ms", ms, rank=1)
        for unit, ms in {"ms": 1.0, "us": 1e-3, "ns": 1e-6}.items()
    },
    # What Envoy AI Gateway puts into the call's metadata.
    "req(x-ai-eg-model)": f.text("gen_ai_request_model"),
    "dynamic_metadata(io.envoy.ai_gateway:model_name_override)": f.text("gen_ai_request_model", rank=1),
    "dynamic_metadata(io.envoy.ai_gateway:llm_input_token)": f.integer("gen_ai_usage_input_tokens"),
    "dynamic_metadata(io.envoy.ai_gateway:llm_output_token)": f.integer("gen_ai_usage_output_tokens"),
}

#: A claim of a token that Envoy's filter has checked, under a name for its payload that the configuration chooses.
_CLAIM = re.compile(r"envoy\.filters\.http\.jwt_authn:[^:]+:([^:]+)")

#: %NAME(argument):length%, and %% for a percent sign.
OPERATOR = re.compile(r"%(?:%|([A-Z][A-Z0-9_]+)(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\))?(?::(\d+))?%)")
#: Ways of writing fractions of seconds, and offsets, that Polars calls otherwise.
_SPECIFIERS = ((r"%E(\d)S", r"%S.%\1f"), (r"%E\*S", "%S%.f"), (r"%E\*f|%f", "%9f"), ("%E4Y", "%Y"), ("%Ez", "%z"))
_EPOCHS = {"%s": 1e6, "%s.%3f": 1e6, "%s.%6f": 1e6, "%s.%9f": 1e6, "%s%3f": 1e3, "%s%6f": 1.0, "%s%9f": 1e-3}


def _time(kind: str, argument: str | None, tz: str) -> f.Field:
    """A time in its own layout, or as Envoy writes it; tz: its zone where the layout has none."""
    if not argument:
        return f.utc_time(kind) if tz == "UTC" else f.iso_time(kind, tz)
    if argument in _EPOCHS:
        return f.epoch_time(kind, _EPOCHS[argument])
    for written, read in _SPECIFIERS:
        argument = re.sub(written, read, argument)
    return f.strftime_time(kind, argument, tz)


#: Other names of operators that take a header.
_SAME = {"req_without_query": "req", "request_header": "req", "response_header": "resp"}


def operator(name: str, argument: str | None, tz: str) -> f.Field:
    """What %NAME(argument)% writes. tz: zone of local times."""
    lower = name.lower()
    if lower in ("start_time", "start_time_local", "emit_time", "emit_time_local"):
        # Envoy writes UTC, unless it is told to write its own zone.
        return _time("start" if lower.startswith("start") else "end", argument, tz if "local" in lower else "UTC")
    if argument is None:
        return _FIELDS.get(lower) or f.attribute(lower)
    wanted = argument.lower().split("?")  # A?B: B where the call has no A
    if lower == "path":
        return _FIELDS["path"]
    lower = _SAME.get(lower, lower)
    known = (_FIELDS[key] for one in wanted if (key := f"{lower}({one})") in _FIELDS)
    name = wanted[0] if lower == "req" else f"{lower}.{wanted[0]}"
    if lower == "dynamic_metadata" and (claim := _CLAIM.fullmatch(wanted[0])) is not None and claim[1] in f.CLAIMS:
        return f.kept_if_outranked(f.CLAIMS[claim[1]], name)
    return next(known, None) or f.attribute(name)


#: A format string that is an object all of whose operators stand in strings, as Envoy's json_format is.
_JSON = r"\s*\{(?!.*[\[:,]\s*%[A-Z])"
#: An operator. HAProxy's names, which may stand side by side (%HP%HQ), have up to three capitals.
_USED = r".*(?:%[A-Z][A-Z0-9_]+(?:\([^%]|:\d+%)|%[A-Z][A-Z0-9_]{3,}%)"
IN_JSON, IN_TEXT = re.compile(rf"(?s)^{_JSON}{_USED}"), re.compile(rf"(?s)^(?!{_JSON}){_USED}")
