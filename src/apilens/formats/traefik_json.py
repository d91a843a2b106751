"""Traefik: the JSON access log, with the names of 2.x and 3.x and of 1.x (Backend, Frontend)."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import chain

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _header(name: str, field: f.Field) -> dict[str, f.Field]:
    """A request header that the configuration keeps."""
    return {f'$."request_{name}"': field, f'$."request_{name.lower()}"': replace(field, rank=field.rank + 1)}


@cache
def layout(tz: str = "UTC") -> JsonLayout:
    """tz: zone of times that name none."""
    return JsonLayout(
        "traefik_json",
        {
            "$.StartUTC": f.iso_time("start", tz),
            "$.StartLocal": replace(f.iso_time("start", tz), rank=2),
            "$.time": replace(f.iso_time("end", tz), rank=3),
            "$.Duration": f.duration("duration_ms", 1e-6),
            "$.OriginDuration": f.duration("_origin_ms", 1e-6),
            "$.Overhead": f.duration("gateway_duration_ms", 1e-6),
            "$.DownstreamStatus": f.status(),
            "$.OriginStatus": f.upstream_status(),
            "$.RequestMethod": f.token("method"),
            "$.RequestPath": f.url(),
            "$.RequestProtocol": f.spoken_version(),
            "$.RequestHost": f.host(),
            "$.RequestPort": f.integer("server_port", pl.Int32),
            "$.RequestScheme": f.token("scheme"),
            "$.RequestContentSize": f.size("request_body_bytes"),
            "$.DownstreamContentSize": f.size("response_body_bytes"),
            "$.ClientHost": f.peer(),
            "$.ClientPort": f.integer("client_port", pl.Int32),
            "$.ClientUsername": f.text("user_name"),
            "$.RouterName": f.text("gateway_route"),
            "$.FrontendName": f.text("gateway_route", rank=1),
            "$.ServiceName": f.text("upstream_name"),
            "$.BackendName": f.text("upstream_name", rank=1),
            "$.ServiceAddr": f.text("upstream_address"),
            "$.BackendAddr": f.text("upstream_address", rank=1),
            "$.RetryAttempts": f.integer("_retries", pl.Int16),
            **_header("User-Agent", f.text("user_agent")),
            **_header("Referer", f.text("referrer")),
            **_header("X-Forwarded-For", f.text("forwarded_for")),
            **_header("X-Request-Id", f.text("request_id")),
            **dict(chain.from_iterable(_header(name.title(), field).items() for name, field in f.CALLERS.items())),
            "$.TLSClientSubject": f.CERTIFICATE["subject"],
            "$.TLSVersion": f.text("tls_version"),
            "$.trace_id": f.token("trace_id"),
            "$.TraceId": f.token("trace_id", rank=1),
            "$.span_id": f.token("span_id"),
            "$.SpanId": f.token("span_id", rank=1),
        },
        signs=("$.DownstreamStatus",),
        # Any of the others can be dropped by the configuration, but hardly all.
        any_of=(("$.RequestMethod", "$.RequestPath", "$.Duration", "$.StartUTC"),),
        filtered="{$.level} IS NOT NULL AND coalesce({$.msg}, {$.message}) IS NOT NULL AND {$.DownstreamStatus} IS NULL"
        " AND {$.RequestMethod} IS NULL AND {$.request.method} IS NULL",  # Caddy's calls have the other three too
        derived=_DERIVED,
        dropped=("$.request_Authorization", "$.request_Cookie", '$."origin_Set-Cookie"', '$."downstream_Set-Cookie"'),
    )


# Each by its own: the columns of an expression over several are not known before it is given some.
_REACHED = pl.col("upstream_status_code").is_not_null() | pl.col("upstream_address").is_not_null()
_DERIVED = (
    pl.when(_REACHED).then(pl.col("_retries").fill_null(0) + 1).cast(pl.Int16).alias("upstream_attempts"),
    # 0 where no upstream was contacted.
    pl.when(_REACHED | (pl.col("_origin_ms") > 0)).then("_origin_ms").alias("upstream_duration_ms"),
)

FORMAT = fixed(
    "traefik_json",
    "Traefik, one object per call",
    '{"StartUTC":"2026-03-09T14:00:00.125Z","Duration":42000000,"DownstreamStatus":200,"RequestMethod":"GET","RequestPath":"/v1/carts"}',
    lambda options: [layout(options.tz)],
)
