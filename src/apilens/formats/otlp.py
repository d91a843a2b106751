"""OpenTelemetry: traces and logs as OTLP/JSON, one export request per line.

The wrapper cuts a request into its spans and log records, each an object with its attributes under their names beside `span`
or `log`, `resource` and `scope`. SERVER spans are calls; CLIENT spans that belong to one tell of its upstream.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.block import Wrapper
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout, connection
from apilens.formats.json_paths import callers, header
from apilens.schema import TIMESTAMP

_SERVER, _CLIENT = "('2', 'SPAN_KIND_SERVER')", "('3', 'SPAN_KIND_CLIENT')"
#: Spans between a CLIENT span and the SERVER span it belongs to (balancers, middlewares, routers) that are climbed.
_LEVELS = 16
#: Attributes that make a log record a call by itself: those of HTTP, Traefik's and Envoy's. Without one its body may be it.
_HTTP = (
    "http.request.method",
    "http.method",
    "http.response.status_code",
    "http.status_code",
    "url.path",
    "http.target",
)
_TOLD = (*_HTTP, "DownstreamStatus", "response_code")
#: Resource attributes that name what wrote a record, the narrowest first; the last is Envoy's own.
_NODES = ("k8s.pod.name", "service.instance.id", "host.name", "node_name")


def _members(listed: str) -> str:
    """The key-value pairs of a list as members of an object: `"name":value,…`, empty where there are none."""
    plain = ", ".join(f"'$.value.{kind}Value'" for kind in ("string", "int", "bool", "double", "bytes"))
    return f"""array_to_string(list_transform(coalesce({listed}, []), lambda one:
        to_json(coalesce(json_extract_string(one, '$.key'), ''))::VARCHAR || ':' || coalesce(
            list_filter(json_extract(one, [{plain}]), lambda value: value IS NOT NULL)[1]::VARCHAR,
            CASE WHEN json_exists(one, '$.value.arrayValue')
                 THEN to_json(json_extract(one, '$.value.arrayValue.values[*].*'))::VARCHAR END,
            json_extract(one, '$.value.kvlistValue.values')::VARCHAR,
            'null')), ',')"""


def _attributes(of: str) -> str:
    return _members(f"json_extract({of}, '$.attributes[*]')")


def _pairs(of: str, prefix: str) -> str:
    """The attributes of an object as a list of keys and values in text."""
    plain = ", ".join(f"'$.value.{kind}Value'" for kind in ("string", "int", "bool", "double", "bytes"))
    return f"""list_transform(coalesce(json_extract({of}, '$.attributes[*]'), []), lambda one: struct_pack(
        key := '{prefix}' || coalesce(json_extract_string(one, '$.key'), ''),
        value := coalesce(list_filter(json_extract_string(one, [{plain}]), lambda value: value IS NOT NULL)[1],
            json_extract(one, '$.value')::VARCHAR)))"""


#: What an export request says of a log record whose body is a line.
_AROUND = f"""list_transform([{", ".join(f"'$.{name}'" for name in ("traceId", "spanId", "timeUnixNano", "observedTimeUnixNano", "severityText"))}],
        lambda place: struct_pack(
            key := CASE place WHEN '$.traceId' THEN 'trace_id' WHEN '$.spanId' THEN 'span_id' ELSE 'log.' || substr(place, 3) END,
            value := json_extract_string(item, place)))
    || {_pairs("item", "")}
    || list_transform({_pairs("described", "resource.")}, lambda one: struct_pack(
        key := CASE one.key WHEN 'resource.service.name' THEN 'service' ELSE one.key END, value := one.value))"""


def _bare(of: str, *names: str) -> str:
    """An object without its attributes and what else is named; empty where it is no object."""
    nulls = ",".join(f'"{name}":null' for name in ("attributes", *names))
    return f"CASE WHEN json_type({of}) = 'OBJECT' THEN json_merge_patch({of}, '{{{nulls}}}')::VARCHAR ELSE '{{}}' END"


def _items(name: str, groups: str, scopes: tuple[str, str], items: str) -> str:
    """CTE `name`: row, n (ascending in the document's order), item, and what is said around it as members of an object."""
    scoped = " || ".join(f"coalesce(json_extract(one, '$.{scope}[*]'), [])" for scope in scopes)
    nodes = ", ".join(f"""('{{' || resource || '}}')::JSON ->> '$."{node}"'""" for node in _NODES)
    return f"""
        {name}_resources AS (
            SELECT row, json_extract(one, '$.resource') AS described,
                {_attributes("json_extract(one, '$.resource')")} AS resource, {scoped} AS listed, g
            FROM (SELECT row, unnest(listed) AS one, generate_subscripts(listed, 1) AS g
                  FROM (SELECT row, json_extract(doc, '$.{groups}[*]') AS listed FROM docs))
        ), {name}_scopes AS (
            SELECT row, described, resource, g, s, json_extract(one, '$.{items}[*]') AS listed,
                coalesce(json_extract(one, '$.scope'), json_extract(one, '$.instrumentationLibrary')) AS scope
            FROM (SELECT row, described, resource, g, unnest(listed) AS one, generate_subscripts(listed, 1) AS s FROM {name}_resources)
        ), {name} AS (
            SELECT row, item, described, row_number() OVER (ORDER BY row, g, s, i) AS n, coalesce({nodes}) AS node,
                '"resource":{{' || resource || '}},"scope":' || {_bare("scope")} AS around
            FROM (SELECT row, described, resource, scope, g, s, unnest(listed) AS item, generate_subscripts(listed, 1) AS i
                  FROM {name}_scopes)
        )"""


def _asked(*names: str) -> str:
    """The first of several attributes of a CLIENT span."""
    return "coalesce({})".format(", ".join(f"""asked ->> '$."{name}"'""" for name in names))


def _peer(address: str, port: str) -> str:
    return f"""(asked ->> '$."{address}"') || coalesce(':' || (asked ->> '$."{port}"'), '')"""


#: What the CLIENT spans of each SERVER span say of the upstream, the last one's where there are several. Calls to a database
#: or cache are none to an upstream. Spans are joined only within one line: it must not matter where a block ends.
_UPSTREAMS = f"""
    named AS (
        SELECT row, n, item, item ->> '$.traceId' AS trace, item ->> '$.spanId' AS id, item ->> '$.parentSpanId' AS parent,
            coalesce(item ->> '$.kind', '0') AS kind
        FROM spans
    ), parents AS (
        SELECT row, trace, id, arg_min(parent, n) AS parent, arg_min(kind, n) AS kind, min(n) AS n
        FROM named GROUP BY row, trace, id
    ), climb(client, row, trace, up, level, server) AS (
        SELECT n, row, trace, parent, 0, NULL::BIGINT FROM named WHERE kind IN {_CLIENT}
        UNION ALL
        SELECT client, climb.row, climb.trace, parents.parent, level + 1, CASE WHEN kind IN {_SERVER} THEN n END
        FROM climb JOIN parents ON parents.row = climb.row AND parents.trace = climb.trace AND parents.id = up
        WHERE server IS NULL AND level < {_LEVELS}
    ), upstreams AS (
        SELECT server, json_object('ns', sum(ns), 'tries', count(*), 'address', arg_max(address, n),
            'status', arg_max(status, n), 'provider', arg_max(provider, n), 'model', arg_max(model, n),
            'input_tokens', sum(input), 'output_tokens', sum(output))::VARCHAR AS client
        FROM (
            SELECT server, n, TRY_CAST(item ->> '$.endTimeUnixNano' AS HUGEINT) - TRY_CAST(item ->> '$.startTimeUnixNano' AS HUGEINT) AS ns,
                coalesce({_peer("network.peer.address", "network.peer.port")}, {_peer("server.address", "server.port")},
                    {_peer("net.peer.ip", "net.peer.port")}, {_peer("net.sock.peer.addr", "net.sock.peer.port")},
                    {_peer("net.peer.name", "net.peer.port")}) AS address,
                {_asked("http.response.status_code", "http.status_code")} AS status,
                {_asked("gen_ai.provider.name", "gen_ai.system")} AS provider,
                {_asked("gen_ai.request.model", "gen_ai.response.model")} AS model,
                TRY_CAST({_asked("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")} AS HUGEINT) AS input,
                TRY_CAST({_asked("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")} AS HUGEINT) AS output
            FROM (
                SELECT climb.server, named.n, named.item, ('{{' || {_attributes("named.item")} || '}}')::JSON AS asked
                FROM climb JOIN named ON named.n = climb.client WHERE climb.server IS NOT NULL
            )
            WHERE {_asked("db.system", "db.system.name")} IS NULL
        ) GROUP BY server
    )"""


def _line(kind: str, item: str) -> str:
    """The object that an item becomes. Attributes stand last: of two members with one name the first counts."""
    return f"""'{{"{kind}":' || {_bare(item)} || ',' || around || CASE WHEN members = '' THEN '' ELSE ',' || members END || '}}'"""


_SPANS = _items("spans", "resourceSpans", ("scopeSpans", "instrumentationLibrarySpans"), "spans")
_LOGS = _items("logs", "resourceLogs", ("scopeLogs", "instrumentationLibraryLogs"), "logRecords")
_OF_SPANS = f"""
    SELECT row, n, {_line("span", "item")} AS line, NULL AS node, NULL AS around
    FROM (SELECT row, n, item, around, {_attributes("item")} AS members FROM spans)"""
_OF_SPANS_WITH_UPSTREAMS = f"""
    SELECT row, n, {_line("span", "item")} AS line, NULL AS node, NULL AS around
    FROM (SELECT row, n, item, around || coalesce(',"client":' || client, '') AS around, {_attributes("item")} AS members
          FROM spans LEFT JOIN upstreams ON server = n)"""
_OF_LOGS = f"""
    SELECT row, n, CASE WHEN body IS NOT NULL AND NOT told THEN body ELSE {_line("log", "kept")} END AS line, node,
        CASE WHEN body IS NOT NULL AND NOT told THEN {_AROUND} END AS around
    FROM (
        SELECT row, n, item, described, around, node,
            rtrim(json_extract_string(item, '$.body.stringValue'), chr(10)) AS body,
            CASE WHEN json_exists(item, '$.body.kvlistValue') THEN json_merge_patch(item, '{{"body":null}}') ELSE item END AS kept,
            list_has_any(coalesce(json_extract_string(item, '$.attributes[*].key'), []), {list(_TOLD)}) AS told,
            array_to_string(list_filter([{_members("json_extract(item, '$.body.kvlistValue.values[*]')")},
                {_attributes("item")}], lambda part: part <> ''), ',') AS members
        FROM logs
    )"""


@cache
def _sql(*, spans: bool, upstreams: bool, logs: bool) -> str:
    """The query for lines of which some may hold spans, CLIENT spans among them, and log records: to plan all of it takes as
    long as to take off thousands of spans."""
    named = [_SPANS] * spans + [_UPSTREAMS] * (spans and upstreams) + [_LOGS] * logs
    parts = [_OF_SPANS_WITH_UPSTREAMS if upstreams else _OF_SPANS] * spans + [_OF_LOGS] * logs
    return f"""
WITH RECURSIVE lines AS MATERIALIZED (
    SELECT row, line, coalesce(CASE WHEN json_valid(line) THEN json_type(line) = 'OBJECT' END, false) AS valid FROM records
), docs AS MATERIALIZED (
    SELECT row, CASE WHEN valid THEN line END::JSON AS doc FROM lines WHERE valid
){"".join(f", {one}" for one in named)}
SELECT row, line, node, around FROM (
    SELECT row, 0 AS n, line, NULL::VARCHAR AS node, NULL::STRUCT(key VARCHAR, value VARCHAR)[] AS around
    FROM lines WHERE NOT valid
    {" ".join(f"UNION ALL {part}" for part in parts)}
) ORDER BY row, n
"""


#: What stands in lines that hold spans, CLIENT spans and log records; a name may also be written with escapes by number.
_HOLDS = {
    name: pl.col("line").str.contains(rf"{regex}|\\u").any().alias(name)
    for name, regex in {
        "spans": '"resourceSpans"',
        "upstreams": r'"kind"\s*:\s*(?:3|"3"|"SPAN_KIND_CLIENT")',
        "logs": '"resourceLogs"',
    }.items()
}


@dataclass(frozen=True)
class Otlp(Wrapper):
    """An export request of OTLP/JSON: what the collector's file exporter writes, and what exporters send."""

    name: str = "OTLP"
    sure: bool = True
    #: Picked: 60,000 spans of 13 attributes took 760 to 1,060 MiB, as many of them as there were to a line.
    at_once: int | None = 2 << 20

    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Objects with resourceSpans or resourceLogs."""
        return line.str.contains(r'^\s*\{.*"resource(?:Spans|Logs)"\s*:\s*\[')

    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """One record per span or log record; of a log record without attributes of a call its body, which may be a line.

        What is said around such a body goes to the call's columns and attributes. A body that no format reads is a reject:
        it may be an access line of a layout that has to be given.
        """
        holds = records.select(**_HOLDS).row(0, named=True)
        with connection().cursor() as cursor:
            cursor.register("records", records.select("row", "line"))
            found: pl.DataFrame = cursor.sql(_sql(**holds)).pl()
        return found.with_columns(pl.col("row").cast(pl.UInt32))


def _id(column: str, base64: str) -> f.Field:
    """An id in hex, as OTLP/JSON has it, in lower case as everybody else; or in the base64 of plain protobuf JSON (told by its
    padding)."""

    def read(raw: pl.Expr) -> f.Columns:
        coded = pl.when(raw.str.contains(base64)).then(raw).str.decode("base64", strict=False).bin.encode("hex")
        return {column: pl.coalesce(coded, raw.str.to_lowercase())}

    return f.Field(read, read)


def _method() -> f.Field:
    """`_OTHER` stands for one that is not well known; its original is an attribute of its own."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"method": pl.when(raw != "_OTHER").then(raw)}

    return f.Field(read, read)


def _own_path() -> f.Field:
    """url.path: with url.query it is the target as received, which url.full is not."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"path": raw, "_own": raw}

    return f.Field(read, read, rank=-1)


def _rpc(name: str) -> f.Field:
    """What a span of RPC says was called: an attribute, and a step to the path."""

    def read(raw: pl.Expr) -> f.Columns:
        return {f"attributes.rpc.{name}": raw, f"_rpc_{name.partition('.')[0]}": raw}

    return f.Field(read, read)


def _peer_address() -> f.Field:
    """The peer's address, which is the client's unless that is named apart: a proxy may stand between them."""
    peer = f.peer(rank=2)

    def read(raw: pl.Expr) -> f.Columns:
        columns = peer.careful(raw)
        return columns | {"_peer_ip": columns["client_ip"]}

    return replace(peer, quick=read, careful=read)


def _nanoseconds(column: str) -> f.Field:
    """A moment as a step; a duration is made of two of them, exact to the ns."""

    def read(raw: pl.Expr) -> f.Columns:
        number = raw.cast(pl.Int64, strict=False)
        return {column: pl.when(number >= 0).then(number)}

    return f.Field(read, read)


def _time(kind: str, *, step: str | None = None, rank: int = 0) -> f.Field:
    """Nanoseconds since 1970 as the call's time, and as a step if one is named. rank as in Field."""
    like = f.epoch_time(kind, 1e-3, rank=rank)

    def read(raw: pl.Expr) -> f.Columns:
        number = raw.cast(pl.Int64, strict=False)
        columns = {"timestamp": pl.when(number >= 0).then(number // 1000).cast(TIMESTAMP)}
        return columns | (_nanoseconds(step).careful(raw) if step else {})

    return replace(like, quick=read, careful=read)


def _first_of(field: f.Field, *names: str) -> dict[str, f.Field]:
    """Attributes of which the first that is there fills the field."""
    return {f'$."{name}"': replace(field, rank=field.rank + rank) for rank, name in enumerate(names)}


#: Semantic conventions of HTTP, the stable names before those of before 1.20, and of generative AI.
_ATTRIBUTES: dict[str, f.Field] = {
    **_first_of(_method(), "http.request.method", "http.method", "http.request.method_original"),
    '$."url.path"': _own_path(),
    '$."url.query"': f.token("query", rank=-1),
    '$."http.target"': f.url(),
    **_first_of(f.whole_url(rank=1), "url.full", "http.url"),
    '$."http.route"': f.text("gateway_route"),
    **_first_of(f.status(), "http.response.status_code", "http.status_code"),
    **_first_of(f.token("scheme"), "url.scheme", "http.scheme"),
    **_first_of(f.host(), "server.address", "http.host", "http.server_name", "net.host.name"),
    **_first_of(
        f.integer(
            "server_port",
            pl.Int32,
        ),
        "server.port",
        "net.host.port",
    ),
    **_first_of(f.peer(), "client.address", "http.client_ip"),
    **_first_of(_peer_address(), "network.peer.address", "net.sock.peer.addr", "net.peer.ip"),
    '$."client.port"': f.integer("client_port", pl.Int32),
    **_first_of(f.integer("_peer_port", pl.Int32), "network.peer.port", "net.sock.peer.port", "net.peer.port"),
    **_first_of(f.spoken_version(), "network.protocol.version", "net.protocol.version", "http.flavor"),
    **_first_of(f.text("user_agent"), "user_agent.original", "http.user_agent"),
    **_first_of(f.size("request_body_bytes"), "http.request.body.size", "http.request_content_length"),
    **_first_of(f.size("response_body_bytes"), "http.response.body.size", "http.response_content_length"),
    '$."rpc.system.name"': _rpc("system.name"),
    '$."rpc.system"': _rpc("system"),
    '$."rpc.service"': _rpc("service"),
    '$."rpc.method"': _rpc("method"),
    '$."http.request.size"': f.size("request_bytes"),
    '$."http.response.size"': f.size("response_bytes"),
    '$."error.type"': f.text("response_flags"),
    **_first_of(f.text("user_name"), "user.name", "enduser.id", "user.id"),
    **_first_of(f.text("gen_ai_provider"), "gen_ai.provider.name", "gen_ai.system"),
    **_first_of(f.text("gen_ai_request_model"), "gen_ai.request.model", "gen_ai.response.model"),
    **_first_of(f.size("gen_ai_usage_input_tokens"), "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    **_first_of(f.size("gen_ai_usage_output_tokens"), "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    **callers('$."http.request.header.{}"'),
    **header('$."http.request.header.user-agent"', "user_agent", rank=5),
    **header('$."http.request.header.referer"', "referrer"),
    **header('$."http.request.header.x-forwarded-for"', "forwarded_for"),
    **header('$."http.request.header.x-request-id"', "request_id"),
    '$.resource."service.name"': f.text("service"),
    **{f'$.resource."{name}"': f.text("node", rank=rank) for rank, name in enumerate(_NODES)},
}
_URL = pl.when(pl.col("_own").is_null()).then("url").alias("url")
_OF_GRPC = pl.when((pl.col("_rpc_system") == "grpc") & (pl.col("_rpc_method") != "_OTHER"))
#: Before version 1.38 of the conventions a method does not name its service.
_CALLED = (
    pl.when(pl.col("_rpc_method").str.contains("/", literal=True))
    .then("/" + pl.col("_rpc_method"))
    .otherwise("/" + pl.col("_rpc_service") + "/" + pl.col("_rpc_method"))
)
#: Spans of gRPC say nothing of HTTP: there each call is a POST to /service/method. Source: "gRPC over HTTP2", Requests.
_GRPC = (
    pl.coalesce("path", _OF_GRPC.then(_CALLED)).alias("path"),
    pl.coalesce("method", _OF_GRPC.then(pl.lit("POST"))).alias("method"),
)
_PORTS = f.port_of_peer("network.peer.port")
_SECRET = tuple(
    f'$."http.{header}"'
    for header in ("request.header.authorization", "request.header.cookie", "response.header.set-cookie")
)
_TRACE, _SPAN = _id("trace_id", r"^[A-Za-z0-9+/]{22}==$"), _id("span_id", r"^[A-Za-z0-9+/]{11}=$")

TRACE = JsonLayout(
    "otlp_trace",
    {
        "$.span.startTimeUnixNano": _time("start", step="_start"),
        "$.span.endTimeUnixNano": _nanoseconds("_end"),
        "$.span.traceId": _TRACE,
        "$.span.spanId": _SPAN,
        **_ATTRIBUTES,
        "$.client.ns": f.duration("upstream_duration_ms", 1e-6),
        "$.client.tries": f.integer("upstream_attempts", pl.Int16),
        "$.client.address": f.text("upstream_address"),
        "$.client.status": f.upstream_status(),
        "$.client.provider": f.text("gen_ai_provider", rank=9),
        "$.client.model": f.text("gen_ai_request_model", rank=9),
        "$.client.input_tokens": f.size("gen_ai_usage_input_tokens", rank=9),
        "$.client.output_tokens": f.size("gen_ai_usage_output_tokens", rank=9),
    },
    signs=("$.span.spanId", "$.span.startTimeUnixNano"),
    filtered=f"{{$.span.spanId}} IS NOT NULL AND coalesce({{$.span.kind}}, '0') NOT IN {_SERVER}",
    derived=(
        _URL,
        *_GRPC,
        *_PORTS,
        pl.when(pl.col("_end") >= pl.col("_start"))
        .then(((pl.col("_end") - pl.col("_start")) / 1e6).round(6))
        .alias("duration_ms"),
    ),
    dropped=_SECRET,
    nulls=("",),
)
LOGS = JsonLayout(
    "otlp_logs",
    {
        "$.log.timeUnixNano": _time("end"),
        "$.log.observedTimeUnixNano": _time("end", rank=1),
        "$.log.traceId": _TRACE,
        "$.log.spanId": _SPAN,
        **_ATTRIBUTES,
        '$."http.server.request.duration"': f.duration("duration_ms", 1e3),
    },
    signs=("$.log",),
    any_of=(tuple(f'$."{name}"' for name in _HTTP),),
    derived=(_URL, *_GRPC, *_PORTS),
    dropped=_SECRET,
    nulls=("", "0"),
)

TRACE_FORMAT = fixed(
    "otlp_trace",
    "OpenTelemetry spans (OTLP/JSON): the SERVER spans, with old and new names of attributes",
    '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8e…","spanId":"eee1…","kind":2,"startTimeUnixNano":"1773064800125000000","endTimeUnixNano":"1773064800167000000","attributes":[{"key":"url.path","value":{"stringValue":"/v1/carts"}}]}]}]}]}',
    lambda options: [TRACE],
)
LOGS_FORMAT = fixed(
    "otlp_logs",
    "OpenTelemetry log records (OTLP/JSON) with HTTP attributes; one whose body is a line is read as that line",
    '{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1773064800125000000","attributes":[{"key":"url.path","value":{"stringValue":"/v1/carts"}}]}]}]}]}',
    lambda options: [LOGS],
)
