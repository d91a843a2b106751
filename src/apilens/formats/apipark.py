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
            "$.request_uri": f.whole_url(rank=1),
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
            "$.ai_model_input_token": f.size("gen_ai_usage_input_tokens"),
            "$.ai_model_output_token": f.size("gen_ai_usage_output_tokens"),
        },
        signs=("$.request_time", "$.request_uri"),
        # NGINX's variables have some of these names, but its times are decimal numbers of seconds.
        where="coalesce({$.src_ip}, {$.proxy_addr}, {$.proxy_status}, {$.proxy_uri}, {$.strategy}, {$.ai_model}, {$.api},"
        " {$.application}, {$.response_time}, {$.proxy_time}) IS NOT NULL AND NOT contains({$.request_time}, '.')",
        dropped=(
            *(f"$.{name}" for name in ("request_body", "response_body", "proxy_body", "response")),
            "$.response_header",
        ),
    )


def _point(raw: pl.Expr) -> pl.Expr:
    """A point in InfluxDB's line protocol, `measurement,tag=a,… field=1i,… time`, as a JSON object of strings."""
    # Escaped delimiters become characters that no text holds, as long as the others are cut at.
    plain = raw
    for escaped, stand_in in _STAND_INS.items():
        plain = plain.str.replace_all(escaped, stand_in, literal=True)
    plain = plain.str.replace_all("\\", "\\\\", literal=True)
    parts = plain.str.extract_groups(r"^(request|proxy),([^ ]+) ([^ ]+)(?: (\d+))?\s*$")
    tags, values = (parts.struct.field(name) for name in "23")
    values = values.str.replace_all(r"(=-?\d+)[iu](,|$)", "${1}${2}").str.replace_all(r'="([^"]*)"', "=${1}")
    members = [part.str.replace_all(r"([^,=]+)=([^,]*)", '"${1}":"${2}"') for part in (tags, values)]
    pieces = ('{"measurement":"', parts.struct.field("1"), '",', members[0], ",", members[1], ',"time":"')
    text = pl.lit("")
    for piece in (*pieces, parts.struct.field("4"), '"}'):
        text += pl.lit(piece) if isinstance(piece, str) else piece
    for escaped, stand_in in _STAND_INS.items():
        text = text.str.replace_all(stand_in, escaped[1:].replace('"', '\\"'), literal=True)
    return text


_STAND_INS = {"\\,": "\ue000", "\\ ": "\ue001", "\\=": "\ue002", '\\"': "\ue003"}

INFLUX = JsonLayout(
    "apipark_influx",
    {
        "$.time": f.written_time("start"),
        "$.timing": f.duration("duration_ms", 1.0),
        "$.status": f.status(),
        "$.method": f.token("method"),
        "$.host": f.token("host"),
        "$.request": f.size("request_body_bytes"),
        "$.response": f.size("response_body_bytes"),
        "$.retry": f.integer("_retries", pl.Int16),
        "$.api": f.text("api_id"),
        "$.app": f.text("application_id"),
        "$.upstream": f.text("service"),
        "$.node": f.text("node"),
        "$.provider": f.text("gen_ai_provider"),
        "$.input_token": f.size("gen_ai_usage_input_tokens"),
        "$.output_token": f.size("gen_ai_usage_output_tokens"),
    },
    signs=("$.timing", "$.status", "$.retry"),
    filtered="{$.measurement} = 'proxy'",  # one try of a request, which is a point of its own
    derived=(
        (pl.col("_retries") + 1).alias("upstream_attempts"),
        # Other calls than those to a model have 0 tokens.
        *(
            pl.when((pl.col(name) > 0) | pl.col("gen_ai_provider").is_not_null()).then(name).alias(name)
            for name in ("gen_ai_usage_input_tokens", "gen_ai_usage_output_tokens")
        ),
    ),
    json=_point,
)

INFLUX_FORMAT = fixed(
    "apipark_influx",
    "APIPark / Apinto monitoring points in InfluxDB's line protocol",
    "request,api=a1,app=app1,host=api.example,method=GET,status_code=2xx request=0i,response=512i,retry=0i,status=200i,timing=42i 1773064800125000000",
    lambda options: [INFLUX],
)

FORMAT = fixed(
    "apipark_json",
    "APIPark / Apinto, one object per call",
    '{"msec":"1773064800125","request_time":"42","response_time":"39000000","request_method":"GET","request_uri":"/v1/carts","status":"200"}',
    lambda options: [layout(options.tz)],
)
