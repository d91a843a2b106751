"""NGINX: combined, main, ingress and any log_format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.block import Layout
from apilens.formats.escapes import Escape
from apilens.formats.format import Format, Options, fixed, pasted
from apilens.formats.layout import TextLayout, Variable, nearest

COMBINED = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"'
)
MAIN = f'{COMBINED} "$http_x_forwarded_for"'
_UPSTREAM = "$upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id"
INGRESS = (
    f"{COMBINED} $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] {_UPSTREAM}"
)

_OLD_INGRESS = INGRESS.replace("$remote_addr -", "$remote_addr - [$proxy_add_x_forwarded_for] -")
_TIMES = "$request_time $upstream_response_time"
_NAMED_TIMES = 'uct="$upstream_connect_time" uht="$upstream_header_time" urt="$upstream_response_time"'
_APISIX_REQUEST = (
    '$remote_addr - $remote_user [$time_local] $http_host "$request" $status $body_bytes_sent $request_time'
)
_APISIX_UPSTREAM = '"$http_referer" "$http_user_agent" $upstream_addr $upstream_status $apisix_upstream_response_time'
_APISIX_URL = '"$upstream_scheme://$upstream_host$upstream_uri"'
_APISIX_AI = '"$request_type" "$llm_time_to_first_token" "$llm_model" "$request_llm_model" "$llm_prompt_tokens" "$llm_completion_tokens"'

#: Layouts tried when no log_format is given, narrow before wide.
KNOWN = {
    "apisix_access_log": tuple(
        " ".join([_APISIX_REQUEST, _APISIX_UPSTREAM, *rest])
        for rest in (
            (_APISIX_URL, '"$apisix_request_id"', _APISIX_AI),
            (_APISIX_URL, '"$apisix_request_id"'),
            (_APISIX_URL,),
            (),
        )
    ),
    "nginx_ingress": tuple(
        layout.replace(alternative, "").replace(request_id, "")
        for layout in (_OLD_INGRESS, INGRESS)  # else its bracket would be part of a user name, which may hold blanks
        for request_id in ("$none", " $req_id")
        for alternative in ("$none", " [$proxy_alternative_upstream_name]")
    ),
    "nginx_combined": (
        COMBINED,
        *(
            f'{layout} "$request_time"{upstream}'
            for layout in (COMBINED, MAIN)
            for upstream in (' "$upstream_response_time"', "")
        ),
        MAIN,
        f'{COMBINED} kong_request_id: "$kong_request_id"',
        *(f"{layout} {times}" for times in (f"{_TIMES} $pipe", _TIMES, "$request_time") for layout in (COMBINED, MAIN)),
        *(f"{layout} rt=$request_time {_NAMED_TIMES}" for layout in (COMBINED, MAIN)),
        # NGINX Amplify.
        f'{MAIN} "$host" sn="$server_name" rt=$request_time ua="$upstream_addr" us="$upstream_status" '
        'ut="$upstream_response_time" ul="$upstream_response_length" cs=$upstream_cache_status',
        # Alibaba's log service.
        COMBINED.replace('"$request"', '"$request" $request_time $request_length'),
        COMBINED.replace("$body_bytes_sent", "$body_bytes_sent $request_time"),
        *(
            layout.replace("$remote_addr", address, 1)
            # What set-ups behind a load balancer put before or in the place of the client's address.
            for address in (
                "$http_host $remote_addr",
                "$http_host $proxied_addr",
                "$proxied_addr",
                '"$proxied_addr" $remote_addr',
                '$http_host "$proxied_addr" $remote_addr',
            )
            for layout in (COMBINED, f'{COMBINED} "$gzip_ratio"')
        ),
    ),
}

#: Error log lines on the same stream (containers send both to one output) are no calls.
_ERROR_LOG = r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]+\] \d+#\d+: "


def _apisix_time() -> f.Field:
    """Seconds with a fraction where nginx measured it, whole milliseconds where an AI plugin did."""
    seconds = f.upstream_duration("upstream_duration_ms", 1e3, total=True)

    def one(raw: pl.Expr) -> pl.Expr:
        unit = pl.when(raw.str.contains(".", literal=True)).then(1e3).otherwise(1.0)
        return (raw.cast(pl.Float64, strict=False) * unit).round(6)

    def careful(raw: pl.Expr) -> f.Columns:
        return {"upstream_duration_ms": pl.coalesce(one(raw), seconds.careful(raw)["upstream_duration_ms"])}

    return replace(seconds, quick=lambda raw: {"upstream_duration_ms": one(raw)}, careful=careful)


def _upstream_url() -> f.Field:
    """$upstream_scheme://$upstream_host$upstream_uri, which APISIX writes without anything between the last two."""

    def read(raw: pl.Expr) -> f.Columns:
        parts = raw.str.splitn("/", 4).struct
        values = (parts.field("field_0").str.strip_suffix(":"), parts.field("field_2"), "/" + parts.field("field_3"))
        return {
            f"attributes.upstream_{name}": pl.when(value.is_not_null() & ~value.is_in(["", "-"])).then(value)
            for name, value in zip(("scheme", "host", "uri"), values, strict=True)
        }

    return f.Field(read, read, escaped=True)


def _uri_and_args() -> f.Field:
    """$uri$is_args$args, with nothing between them: without a query the last one is a hyphen."""
    whole = f.url(rank=1)

    def bare(raw: pl.Expr) -> pl.Expr:
        return pl.when(raw.str.contains("?", literal=True)).then(raw).otherwise(raw.str.strip_suffix("-"))

    # Decoded, so that it may hold blanks.
    return replace(
        whole,
        quick=lambda raw: whole.quick(bare(raw)),
        careful=lambda raw: whole.careful(bare(raw)),
        pattern=".+?",
    )


_FIELDS: dict[str, f.Field] = {
    "remote_addr": f.token("client_ip"),
    "realip_remote_addr": f.token("client_ip", rank=1),
    "proxy_protocol_addr": f.token("client_ip", rank=2),
    "proxied_addr": f.proxied_address(),  # not nginx's own: a list where the layout has $remote_addr
    "remote_port": f.integer("client_port"),
    "remote_user": f.text("user_name"),
    "time_local": f.clf_time("end"),
    "time_iso8601": f.iso_time("end"),
    "msec": f.epoch_time("end", 1e6),
    "request": f.request_line(),
    "request_uri": f.url(),
    "request_method": f.token("method"),
    "uri_and_args": _uri_and_args(),
    "uri": f.path(rank=1),
    "document_uri": f.path(rank=1),
    "args": f.token("query", rank=1),
    "query_string": f.token("query", rank=1),
    "server_protocol": f.http_version(),
    "status": f.status(),
    "body_bytes_sent": f.integer("response_body_bytes"),
    "bytes_sent": f.integer("response_bytes"),
    "request_length": f.integer("request_bytes"),
    "content_length": f.integer("request_body_bytes"),
    "request_time": f.duration("duration_ms", 1e3),
    "upstream_response_time": f.upstream_duration("upstream_duration_ms", 1e3, total=True),
    "upstream_connect_time": f.upstream_duration("upstream_connect_ms", 1e3, total=False),
    "upstream_header_time": f.upstream_duration("upstream_header_ms", 1e3, total=False),
    "upstream_addr": f.upstream_text("upstream_address", count=True),
    "upstream_status": f.upstream_text("upstream_status_code"),
    "upstream_response_length": f.attribute("upstream_response_length", r"\S+(?:(?:, | : )\S+)*"),
    "upstream_bytes_received": f.attribute("upstream_bytes_received", r"\S+(?:(?:, | : )\S+)*"),
    "upstream_bytes_sent": f.attribute("upstream_bytes_sent", r"\S+(?:(?:, | : )\S+)*"),
    "upstream_cache_status": f.token("cache_status"),
    "proxy_host": f.token("upstream_name"),
    "proxy_upstream_name": f.token("upstream_name"),
    "host": f.host(),
    "http_host": f.host(rank=1),
    "server_name": f.host(rank=2),
    "server_port": f.integer("server_port"),
    "scheme": f.scheme(),
    "hostname": f.token("node"),
    "http_referer": f.text("referrer"),
    "http_user_agent": f.text("user_agent"),
    "http_x_forwarded_for": f.text("forwarded_for"),
    "proxy_add_x_forwarded_for": f.text("forwarded_for", rank=1),
    "request_id": f.token("request_id"),
    "req_id": f.token("request_id"),
    "http_x_request_id": f.token("request_id", rank=1),
    "pipe": f.strictly(f.attribute("pipe"), "[.p]"),
    "ssl_protocol": f.token("tls_version"),
    "ssl_client_s_dn": f.kept_if_outranked(f.CERTIFICATE["subject"], "ssl_client_s_dn"),
    # Modules of nginx.org, of the OpenTelemetry project, and of ingress controllers.
    **dict.fromkeys(
        ("otel_trace_id", "opentelemetry_trace_id", "opentracing_context_x_b3_traceid"), f.token("trace_id")
    ),
    **dict.fromkeys(("otel_span_id", "opentelemetry_span_id", "opentracing_context_x_b3_spanid"), f.token("span_id")),
    # APISIX and its AI plugins.
    "request_line": f.request_line(),
    "apisix_request_id": f.token("request_id"),
    "kong_request_id": f.token("request_id"),
    "apisix_upstream_response_time": _apisix_time(),
    "upstream_url": _upstream_url(),
    "route_id": f.token("gateway_route"),
    "route_name": f.text("gateway_route", rank=1),
    "service_name": f.text("service"),
    "consumer_name": f.text("application_id"),
    "llm_model": f.text("gen_ai_request_model", rank=1),
    "request_llm_model": f.text("gen_ai_request_model"),
    "llm_prompt_tokens": f.integer("gen_ai_usage_input_tokens"),
    "llm_completion_tokens": f.integer("gen_ai_usage_output_tokens"),
}

#: Values told from Apache's by their form, where the layout itself was guessed: seconds to the millisecond, a size of 0 for none.
_WRITTEN = {
    "request_time": f.duration("duration_ms", 1e3, decimals=3),
    "body_bytes_sent": f.integer("response_body_bytes", optional=False),
    # What stands in their places where another layout, or a prefix, was written is none of them.
    "remote_addr": f.client(),
    "realip_remote_addr": f.client(rank=1),
    "remote_user": f.strictly(f.text("user_name"), f.USER, "a user's name"),
    "http_host": f.strictly(f.host(rank=1), f.HOST, "a host name"),
    "pipe": f.strictly(f.attribute("pipe"), "[.p]", ". or p"),
}


#: $http_x_client_id and the like, and the claims of a token that NGINX Plus has checked.
_CALLERS = {
    name: f.kept_if_outranked(field, name)
    for header, field in f.CALLERS.items()
    if (name := f"http_{header.replace('-', '_')}")
} | {f"jwt_claim_{claim}": f.kept_if_outranked(field, f"jwt_claim_{claim}") for claim, field in f.CLAIMS.items()}

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))", re.ASCII)
_URI_AND_ARGS = re.compile(r"\$\{?(?:document_)?uri\}?\$\{?is_args\}?\$\{?(?:args|query_string)\b\}?", re.ASCII)
#: `log_format name [escape=…] 'piece' 'piece';` as it stands in nginx.conf
_DIRECTIVE = re.compile(r"^\s*log_format\s+\S+\s+(?:escape=(\w+)\s+)?(.*?);?\s*$", re.DOTALL)
_PIECE = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
_ESCAPES: dict[str, Escape] = {"default": "nginx", "json": "json", "none": "none"}


@cache
def layout(log_format: str, tz: str = "UTC", gateway: str = "nginx_log_format") -> TextLayout:
    """The layout of a log_format: its value, or the whole directive as it stands in nginx.conf.

    Raises UsageError when it holds no variable or no time.
    """
    text, escape = log_format, "default"
    if (directive := _DIRECTIVE.match(log_format)) is not None:
        escape = directive[1] or "default"
        text = "".join(
            (a or b).replace("\\'", "'").replace('\\"', '"').replace("\\t", "\t")
            for a, b in _PIECE.findall(directive[2])
        )
    if escape not in _ESCAPES:
        raise UsageError(f"log_format has escape={escape}; expected one of {', '.join(_ESCAPES)}")
    text = text.replace("$upstream_scheme://$upstream_host$upstream_uri", "$upstream_url")
    text = _URI_AND_ARGS.sub("$uri_and_args", text)
    parts: list[str | Variable] = []
    at = 0
    seen: dict[str, int] = {}
    for found in _VARIABLE.finditer(text):
        if found.start() > at:
            parts.append(text[at : found.start()])
        name = found[1] or found[2]
        seen[name] = seen.get(name, 0) + 1
        field = (
            f.iso_time("end", tz)
            if name == "time_iso8601"
            else _FIELDS.get(name) or _CALLERS.get(name) or f.attribute(name)
        )
        field = _WRITTEN.get(name, field) if gateway in KNOWN else field
        parts.append(Variable(name if seen[name] == 1 else f"{name}#{seen[name]}", field))
        at = found.end()
    if at < len(text):
        parts.append(text[at:])
    if not any(isinstance(part, Variable) and part.field.mandatory for part in parts):
        raise UsageError(
            f"log_format {log_format!r} has no time: expected $time_local, $time_iso8601 or $msec among its variables"
        )
    meant = {
        name: nearest(name, _FIELDS) for name in seen if not (name in _FIELDS or name in _CALLERS or gateway in KNOWN)
    }
    doubts = tuple(
        f"log_format has ${name}; did you mean ${near}? Its values are kept in attributes"
        for name, near in meant.items()
        if near
    )
    return TextLayout(
        gateway, text, tuple(parts), _ESCAPES[escape], filtered=_ERROR_LOG, strict=gateway in KNOWN, doubts=doubts
    )


#: Labels that people give nginx's variables, beside the variables' own names; the user agent has its place before them.
_LABELS = {
    **dict.fromkeys(("rt", "req_time", "reqtime", "response_time"), "request_time"),
    **dict.fromkeys(("urt", "ut", "upstream_time", "upstream_rt"), "upstream_response_time"),
    **dict.fromkeys(("uct", "upstream_connect"), "upstream_connect_time"),
    **dict.fromkeys(("uht", "upstream_header"), "upstream_header_time"),
    **dict.fromkeys(("ua", "upstream", "up", "backend"), "upstream_addr"),
    **dict.fromkeys(("us", "ups", "ust"), "upstream_status"),
    **dict.fromkeys(("rid", "reqid", "request-id", "x_request_id"), "request_id"),
    **dict.fromkeys(("xff", "x_forwarded_for", "forwarded_for"), "http_x_forwarded_for"),
    **dict.fromkeys(("cs", "cache", "cache_status"), "upstream_cache_status"),
    **dict.fromkeys(("h", "vhost"), "host"),
    **dict.fromkeys(("client_id", "clientid"), "http_x_client_id"),
    "consumer": "http_x_consumer_username",
    "ul": "upstream_response_length",
    "rl": "request_length",
    "sn": "server_name",
}
#: A combined or main line and what stands behind it; one labelled value there.
_LABELLED = re.compile(
    r'\S+ - [^"\[]*\[[^\]"]*\] "(?:[^"\\]|\\.)*" \S+ \S+ "(?:[^"\\]|\\.)*" "(?:[^"\\]|\\.)*"( "(?:[^"\\]|\\.)*")?'
    r'((?: [A-Za-z_][\w-]*(?:=|: ?)(?:"(?:[^"\\]|\\.)*"|[^\s"]\S*)){1,40})',
    re.ASCII,
)
_LABEL = re.compile(r' ([A-Za-z_][\w-]*)(=|: ?)("(?:[^"\\]|\\.)*"|[^\s"]\S*)', re.ASCII)


def _labelled(lines: Iterable[str]) -> Iterator[str]:
    """The layouts of lines that are combined or main and say behind it what the other values are: `rt=0.042 urt="0.041"`.

    The usual first. At least one label must be known; what has another one goes into attributes under it.
    """
    shapes: Counter[tuple[bool, tuple[tuple[str, str, bool], ...]]] = Counter()
    for line in lines:
        if (found := _LABELLED.fullmatch(line)) is not None:
            values = tuple((name, sign, value[0] == '"') for name, sign, value in _LABEL.findall(found[2]))
            shapes[found[1] is not None, values] += 1
    for (main, values), _ in shapes.most_common(3):
        names = [_LABELS.get(name.lower(), name.replace("-", "_")) for name, _, _ in values]
        if not any(name in _FIELDS for name in names):
            continue
        pairs = (
            f'{label}{sign}"${name}"' if quoted else f"{label}{sign}${name}"
            for (label, sign, quoted), name in zip(values, names, strict=True)
        )
        yield " ".join((MAIN if main else COMBINED, *pairs))


def _known(name: str, description: str, example: str) -> Format:
    known = fixed(name, description, example, lambda options: [layout(text, options.tz, name) for text in KNOWN[name]])
    return replace(known, plain=True)


APISIX_FORMAT = _known(
    "apisix_access_log",
    "APISIX access log, default log format of all releases",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] shop.example "GET /v1/carts HTTP/1.1" 200 512 0.042 "-" "curl/8.5" 10.0.4.11:8080 200 0.041 "http://shop.example/v1/carts" "9f2c"',
)
INGRESS_FORMAT = _known(
    "nginx_ingress",
    "NGINX Ingress Controller (Kubernetes)",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5" 301 0.042 [shop-api-80] [] 10.0.4.11:8080 512 0.041 200 9f2c',
)
_COMBINED = _known(
    "nginx_combined",
    "NGINX combined and main, with request and upstream times, and with labelled values behind them",
    '203.0.113.7 - - [09/Mar/2026:14:00:00 +0000] "GET /v1/carts HTTP/1.1" 200 512 "-" "curl/8.5" 0.042 0.041',
)
#: From this median on nobody can tell whether seconds are meant: three digits behind the point is also how morgan writes its
#: milliseconds, of which most calls take more than one.
_SLOW_S = 1.0
_UNIT = (
    "the time at the end of its lines is read as seconds (nginx), of which half of the first calls take more than {:.0f}. If they"
    ' are milliseconds (morgan\'s :response-time), say so: --log-format \'%h %l %u %t "%r" %>s %b "%{{Referer}}i"'
    ' "%{{User-Agent}}i" %{{ms}}T\''
)


def _open_combined(head: pl.DataFrame, options: Options) -> list[Layout]:
    known = list(_COMBINED.open(head, options))
    times = head["line"].str.extract(r'" (\d{1,9}\.\d{3})$').drop_nulls().cast(pl.Float64)
    if not times.is_empty() and times.median() > _SLOW_S:  # type: ignore[operator]  # the median of floats
        doubt = _UNIT.format(_SLOW_S)
        known = [
            replace(one, doubts=(doubt,))
            if isinstance(one, TextLayout) and (one.text or "").endswith('" $request_time')
            else one
            for one in known
        ]
    return [*known, *(layout(text, options.tz, _COMBINED.name) for text in _labelled(head["line"].to_list()))]


COMBINED_FORMAT = replace(_COMBINED, open=_open_combined)
PASTED_FORMAT = pasted("nginx_log_format", "NGINX, any log_format given with --log-format", MAIN, _VARIABLE, layout)
