"""Caddy: the JSON object that its access logger writes per call, in any of its encodings of time and duration."""

from __future__ import annotations

from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout, header


def _tls_version() -> f.Field:
    """A protocol number of crypto/tls."""
    numbers = {"769": "1.0", "770": "1.1", "771": "1.2", "772": "1.3"}

    def read(raw: pl.Expr) -> f.Columns:
        return {"tls_version": raw.replace(numbers)}

    return f.Field(read, read)


def _duration() -> f.Field:
    """Seconds, Go's spelling, or whole nanoseconds: a call of 100,000 s, which is more than a day, is none."""
    seconds, nanoseconds = f.go_duration("duration_ms"), f.duration("duration_ms", 1e-6)

    def read(raw: pl.Expr) -> f.Columns:
        whole = raw.str.contains(r"^\d{6,}$")
        ms = pl.when(whole).then(nanoseconds.careful(raw)["duration_ms"]).otherwise(seconds.careful(raw)["duration_ms"])
        return {"duration_ms": ms}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        assert seconds.accept is not None
        return (raw.str.contains(r"^\d{6,}$") & columns["duration_ms"].is_not_null()) | seconds.accept(raw, columns)

    return f.Field(read, read, None, accept, accept)


#: The key of the time can be chosen; these are the usual ones.
_TIMES = ("ts", "time", "timestamp", "@timestamp")


@cache
def layout(tz: str = "UTC") -> JsonLayout:
    """tz: zone of wall clock times."""
    return JsonLayout(
        "caddy_json",
        {
            **{f'$."{name}"': f.written_time("end", tz, rank=rank) for rank, name in enumerate(_TIMES)},
            "$.duration": _duration(),
            "$.status": f.status(),
            "$.size": f.size("response_body_bytes"),
            "$.bytes_read": f.size("request_body_bytes"),
            "$.request.method": f.token("method"),
            "$.request.uri": f.url(),
            "$.request.proto": f.spoken_version(),
            "$.request.host": f.token("host"),
            "$.request.client_ip": f.token("client_ip"),
            "$.request.remote_ip": f.token("client_ip", rank=1),
            "$.request.remote_addr": f.peer(rank=2),
            "$.request.remote_port": f.integer("client_port", pl.Int32),
            "$.user_id": f.text("user_name"),
            **header('$.request.headers."User-Agent"', "user_agent"),
            **header("$.request.headers.Referer", "referrer"),
            **header('$.request.headers."X-Forwarded-For"', "forwarded_for"),
            **header('$.request.headers."X-Request-Id"', "request_id"),
            "$.request.tls.version": _tls_version(),
            "$.traceID": f.token("trace_id"),
            "$.spanID": f.token("span_id"),
        },
        signs=("$.request.method", "$.request.uri", "$.duration", "$.status"),
        # A handler that failed is logged twice: http.log.error tells why, http.log.access is the call.
        filtered="{$.level} IS NOT NULL AND {$.msg} IS NOT NULL"
        " AND ({$.duration} IS NULL OR {$.status} IS NULL OR {$.logger} LIKE 'http.log.error%')",
        dropped=(
            "$.request.headers.Authorization",
            "$.request.headers.Cookie",
            '$.resp_headers."Set-Cookie"',
            "$.common_log",  # the same call once more
        ),
    )


FORMAT = fixed(
    "caddy_json",
    "Caddy, one object per call",
    '{"ts":1773064800.25,"request":{"method":"GET","uri":"/v1/carts"},"duration":0.012,"status":200}',
    lambda options: [layout(options.tz)],
)
