"""Cloudflare Logpush: HTTP requests, any subset of their fields, times as RFC 3339 or as seconds, ms or ns since 1970."""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _moment(column: str) -> f.Field:
    """Nanoseconds since 1970 as a step; null where the time is logged in whole seconds, which makes no duration."""

    def read(raw: pl.Expr) -> f.Columns:
        number = raw.cast(pl.Int64, strict=False)
        unit = pl.when(number >= 10**17).then(1).when(number >= 10**14).then(1000).when(number >= 10**11).then(10**6)
        written = raw.str.replace("Z$", "+0000").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="ns", strict=False)
        fine = raw.str.contains(r":\d\d\.\d+")
        return {column: pl.coalesce(number * unit, pl.when(fine).then(written.dt.epoch("ns")))}

    return f.Field(read, read)


def _both(one: f.Field, other: f.Field) -> f.Field:
    """What the two make of the same value."""

    def read(raw: pl.Expr) -> f.Columns:
        return one.careful(raw) | other.careful(raw)

    return f.Field(
        read,
        read,
        accept=one.accept,
        accept_careful=one.accept_careful,
        rank=one.rank,
        timestamp_kind=one.timestamp_kind,
    )


def _origin(ms_per_unit: float, *, rank: int = 0) -> f.Field:
    return f.duration("_origin_ms", ms_per_unit, rank=rank)


LAYOUT = JsonLayout(
    "cloudflare_logpush",
    {
        "$.EdgeStartTimestamp": _both(f.written_time("start"), _moment("_start_ns")),
        "$.EdgeEndTimestamp": _moment("_end_ns"),
        "$.OriginResponseDurationMs": _origin(1.0),
        "$.OriginResponseTime": _origin(1e-6, rank=1),
        "$.EdgeResponseStatus": f.status(),
        "$.OriginResponseStatus": f.upstream_status(),
        "$.ClientRequestMethod": f.token("method"),
        "$.ClientRequestURI": f.url(),
        "$.ClientRequestPath": f.url(rank=1),
        "$.ClientRequestHost": f.host(),
        "$.ClientRequestScheme": f.token("scheme"),
        "$.ClientRequestProtocol": f.spoken_version(),
        "$.ClientIP": f.token("client_ip"),
        "$.ClientSrcPort": f.integer("client_port", pl.Int32),
        "$.ClientRequestUserAgent": f.text("user_agent"),
        "$.ClientRequestReferer": f.text("referrer"),
        "$.ClientRequestBytes": f.size("request_bytes"),
        "$.EdgeResponseBytes": f.size("response_bytes"),
        "$.EdgeResponseBodyBytes": f.size("response_body_bytes"),
        "$.OriginIP": f.token("upstream_address"),
        "$.CacheCacheStatus": f.token("cache_status"),
        "$.ClientSSLProtocol": f.text("tls_version"),
        "$.RayID": f.token("request_id"),
    },
    signs=("$.EdgeStartTimestamp",),
    any_of=(("$.RayID", "$.ClientRequestMethod", "$.ClientRequestURI", "$.EdgeResponseStatus"),),
    derived=(
        pl.when(pl.col("_end_ns") >= pl.col("_start_ns"))
        .then(((pl.col("_end_ns") - pl.col("_start_ns")) / 1e6).round(6))
        .alias("duration_ms"),
        # 0 where the answer came from the cache or from the edge.
        pl.when((pl.col("_origin_ms") > 0) | pl.col("upstream_status_code").is_not_null())
        .then("_origin_ms")
        .alias("upstream_duration_ms"),
    ),
    dropped=(
        "$.Cookies",
        "$.RequestHeaders.authorization",
        "$.RequestHeaders.cookie",
        '$.ResponseHeaders."set-cookie"',
    ),
)

FORMAT = fixed(
    "cloudflare_logpush",
    "Cloudflare Logpush, HTTP requests",
    '{"EdgeStartTimestamp":"2026-03-09T14:00:00Z","RayID":"8a1b2c","ClientRequestMethod":"GET","ClientRequestURI":"/v1/carts","EdgeResponseStatus":200}',
    lambda options: [LAYOUT],
)
