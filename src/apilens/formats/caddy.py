"""Caddy: the JSON object that its access logger writes per call, in any of its encodings of time and duration."""

from __future__ import annotations

from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import callers, header


def _tls_version() -> f.Field:
    """A protocol number of crypto/tls."""
    numbers = {"769": "1.0", "770": "1.1", "771": "1.2", "772": "1.3"}

    def read(raw: pl.Expr) -> f.Columns:
        return {"tls_version": raw.replace(numbers)}

    return f.Field(read, read)


def _duration() -> f.Field:
    """Seconds, Go's spelling, or whole nanoseconds: no call is answered within one microsecond, and few take whole seconds."""
    seconds, nanoseconds = f.go_duration("duration_ms"), f.duration("duration_ms", 1e-6)

    def read(raw: pl.Expr) -> f.Columns:
        whole = raw.str.contains(r"^\d{4,}$")
        ms = pl.when(whole).then(nanoseconds.careful(raw)["duration_ms"]).otherwise(seconds.careful(raw)["duration_ms"])
        return {"duration_ms": ms}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        assert seconds.accept is not None
        return (raw.str.contains(r"^\d{4,}$") & columns["duration_ms"].is_not_null()) | seconds.accept(raw, columns)

    return f.Field(read, read, None, accept, accept)


def _address(*columns: str, rank: int = 0) -> f.Field:
    """An address; `<nil>` is how Go writes that it has none."""

    def read(raw: pl.Expr) -> f.Columns:
        return dict.fromkeys(columns, pl.when(raw != "<nil>").then(raw))

    return f.Field(read, read, rank=rank)


#: What the console encoder writes, between tabs (copies make blanks of them): time, level in colour or not, logger, message,
#: and the other fields as JSON.
_CONSOLE = (
    r"^(\S+(?: \d\d:\d\d:\d\d\S*)?)[\t ]+(?:\x1b\[\d+m)?((?i)debug|info|warn|error|panic|fatal)(?:\x1b\[0m)?[\t ]+"
    r"(?:([a-z][\w.-]*)\t|(http\.[\w.-]+)[\t ]+)?([^\t{]*?)[\t ]*(\{.*\})?\s*$"
)


def _console(line: pl.Expr) -> pl.Expr:
    """A console line as the object that the JSON encoder would have written; null where it is none."""
    parts = pl.when(~line.str.starts_with("{")).then(line).str.extract_groups(_CONSOLE).struct
    written = [parts.field("1"), parts.field("2"), pl.coalesce(parts.field("3"), parts.field("4")), parts.field("5")]
    members = [
        pl.concat_str(pl.lit(f'"{name}":"'), text.str.replace_all(r'(["\\])', r"\${1}"), pl.lit('"'))
        for name, text in zip(("ts", "level", "logger", "msg"), written, strict=True)
    ]
    rest = parts.field("6").str.strip_prefix("{").str.strip_suffix("}").str.replace(r"^\s+$", "")
    told = pl.concat_str(
        *(pl.coalesce(member + ",", pl.lit("")) for member in (*members[:3], pl.when(rest != "").then(rest)))
    )
    return pl.concat_str(pl.lit("{"), told, members[3], pl.lit("}"))


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
            "$.request.host": f.host(),
            "$.request.client_ip": _address("client_ip"),
            # The peer's, which is the client's unless a trusted proxy forwarded the call.
            "$.request.remote_ip": _address("client_ip", "_peer_ip", rank=1),
            "$.request.remote_addr": f.peer(rank=2),
            "$.request.remote_port": f.integer("_peer_port", pl.Int32),
            "$.user_id": f.text("user_name"),
            **callers('$.request.headers."{}"', capitals=True),
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
        filtered="{$.level} IS NOT NULL AND {$.msg} IS NOT NULL AND {$.DownstreamStatus} IS NULL"
        " AND ({$.duration} IS NULL OR {$.status} IS NULL OR {$.logger} LIKE 'http.log.error%')",
        derived=f.port_of_peer("request.remote_port"),
        json=_console,
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
