"""APIPark (apinto): one JSON object or one formatted line per call. request_time is in ms, response_time in ns (a Go duration)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.block import Layout, Parsed
from apilens.formats.format import Format, Options, fixed
from apilens.formats.json_layout import JsonLayout, asked_for
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import check_time, joined
from apilens.schema import CALLS, TIMESTAMP


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
            "$.request_host": f.host(),
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


_MEMBER = r'[^\\",= \x00-\x1f]+=[^\\",= \x00-\x1f]*'
#: A point without escapes and quotes, as nearly all are.
_PLAIN = rf"^(?:request|proxy)(?:,{_MEMBER})+ {_MEMBER}(?:,{_MEMBER})* \d+$"


def _point(raw: pl.Expr) -> pl.Expr:
    """A point in InfluxDB's line protocol, `measurement,tag=a,… field=1i,… time`, as a JSON object of strings."""
    plain = raw.str.contains(_PLAIN)
    return pl.coalesce(_plain_point(pl.when(plain).then(raw)), _odd_point(pl.when(~plain).then(raw)))


def _plain_point(raw: pl.Expr) -> pl.Expr:
    """The same where there is nothing to escape: every delimiter is one."""
    parts = raw.str.splitn(" ", 3).struct
    tags = parts.field("field_0").str.replace_many([",", "="], ['","', '":"'])
    values = parts.field("field_1").str.replace_many(["i,", "u,", ",", "="], [*['","'] * 3, '":"'], leftmost=True)
    return pl.concat_str(
        pl.lit('{"measurement":"'),
        tags,
        pl.lit('","'),
        values.str.replace("[iu]$", ""),
        pl.lit('","time":"'),
        parts.field("field_2"),
        pl.lit('"}'),
    )


def _odd_point(raw: pl.Expr) -> pl.Expr:
    """The same with escaped delimiters, texts in quotes, or without a time."""
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
        "$.host": f.host(),
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

#: A value in a point without escapes and quotes.
_BARE = r'[^\\",= \x00-\x1f]*'


@dataclass(frozen=True)
class _Points(TextLayout):
    """Points that have what one point of the head has, in its order, and nothing to undo: cut at their names, which takes a
    third of what it takes to make objects of them."""

    def read(self, records: pl.DataFrame) -> Parsed:
        """As TextLayout has it; points with an escape or a quote are left to the layout of objects."""
        odd = records["line"].str.contains(r'[\\"]')
        if not odd.any():
            return super().read(records)
        part = super().read(records.filter(~odd))
        left = records.filter(odd).select("row", reason=pl.lit("a point with escapes"))
        return replace(part, rejects=pl.concat([part.rejects, left]))


def _nanoseconds() -> f.Field:
    """The time of a point, to the microsecond."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"timestamp": (raw.cast(pl.Int64, strict=False) // 1000).cast(TIMESTAMP)}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.str.len_bytes() == 19

    return f.Field(read, read, None, accept, accept, pattern=r"\d{19}", mandatory=True, timestamp_kind="start")


def _points(lines: pl.Series) -> list[_Points]:
    """The layouts of the most usual points of calls among the lines."""
    plain = lines.filter(lines.str.contains(_PLAIN) & lines.str.starts_with("request,"))
    shapes = plain.str.replace_all(rf"=(?:-?\d+([iu])|{_BARE})([, ])", "=\x00${1}${2}").str.replace(r"\d+$", "\x00")
    usual = shapes.value_counts(sort=True).head(_SHAPES)[shapes.name].to_list()
    return [found for shape in usual if (found := _points_like(shape)) is not None]


#: Points that lack a tag have another shape; of so many the most usual are read quickly. Names that a point may have then.
_SHAPES, _MOST_NAMES = 4, 100


@cache
def _points_like(shape: str) -> _Points | None:
    """The layout of points; shape: one of them with a NUL in each value's place. None: they are no calls, or odd ones."""
    literals = shape.split("\x00")[:-1]
    names = [re.split("[, ]", literal)[-1].removesuffix("=") for literal in literals[:-1]]
    if len(names) > _MOST_NAMES or "time" in names or not {"timing", "status", "retry"} <= set(names):
        return None
    fields = [replace(INFLUX.paths.get(f"$.{name}") or f.attribute(name), pattern=_BARE) for name in names]
    variables = [*map(Variable, names, fields), Variable("time", _nanoseconds())]
    columns = {column for one in variables for column in one.field.careful(pl.lit(""))}
    needed = asked_for(INFLUX.derived, CALLS)
    lacking = [pl.lit(None, CALLS[name]).alias(name) for name in needed if name not in columns]
    measured = pl.lit("request").alias("attributes.measurement")
    pieces = [piece for pair in zip(literals, variables, strict=True) for piece in pair]
    text = shape.replace("\x00", "…")
    return _Points(
        INFLUX.gateway, text, joined(pieces), "none", derived=(*lacking, *INFLUX.derived, measured), strict=True
    )


_CELL = r'(?:"(?:[^"]|"")*"|[^",]*),'
#: Columns of a query's answer that say nothing of the call.
_OF_THE_QUERY = {"", "result", "table", "_start", "_stop"}


def _in_table(header: str) -> JsonLayout:
    """Rows under the header of InfluxDB's annotated CSV, pivoted so that a point is a row; annotations and headers are no
    calls. Source: InfluxDB documentation, "Annotated CSV"."""
    names = [name.removeprefix("_") if name not in _OF_THE_QUERY else "" for name in header.split(",")]

    def row(raw: pl.Expr) -> pl.Expr:
        """A row as an object of strings."""
        cells = (raw + ",").str.extract_all(_CELL)
        members = []
        for i, name in enumerate(names):
            cell = cells.list.get(i, null_on_oob=True).str.strip_suffix(",")
            bare = cell.str.replace('(?s)^"(.*)"$', "${1}").str.replace_all('""', '"', literal=True)
            escaped = bare.str.replace_many(["\\", '"'], ["\\\\", '\\"'])
            members += [pl.lit(f',"{name}":"') + escaped + '"'] if name else []
        said = raw.str.starts_with("#") | raw.is_in([header])
        whole = pl.lit('{"in":"table"') + pl.concat_str(members) + "}"
        return pl.when(said).then(pl.lit('{"measurement":"proxy"}')).when(cells.list.len() == len(names)).then(whole)

    return replace(INFLUX, signs=(), any_of=(("$.time",), ("$.timing",), ("$.status",)), dropped=("$.in",), json=row)


@dataclass(frozen=True)
class _Unpivoted(Layout):
    """Rows of InfluxDB's annotated CSV that hold one field of a point each: a call stands in many tables, and is not read."""

    gateway: str = "apipark_influx"
    text: str | None = None

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """None does."""
        return pl.repeat(False, records.height, eager=True)

    def nearness(self, records: pl.DataFrame) -> float:
        """All of it, for the reason to be read."""
        return 1.0

    def read(self, records: pl.DataFrame) -> Parsed:
        """Rejects that say how the query gives points instead."""
        reason = (
            'one field of a point in each row, expected one point; add to the query: |> pivot(rowKey: ["_time"],'
            ' columnKey: ["_field"], valueColumn: "_value")'
        )
        return Parsed(records.select("row").clear(), records.select("row", reason=pl.lit(reason)))


def _influx(head: pl.DataFrame, options: Options) -> list[Layout]:
    if head["line"].str.contains(r"^,result,table,(?:.*,)?_value,(?:.*,)?_field,").any():
        return [_Unpivoted()]
    headers = head["line"].filter(head["line"].str.contains(r"^,result,table,(?:.*,)?_time,"))
    tables = [
        header
        for header in headers.unique(maintain_order=True).to_list()
        if {"timing", "status"} <= {*header.split(",")}
    ]
    return [*_points(head["line"]), INFLUX, *map(_in_table, tables)]


INFLUX_FORMAT = Format(
    "apipark_influx",
    "APIPark / Apinto monitoring points in InfluxDB's line protocol, or as its annotated CSV (pivoted)",
    "request,api=a1,app=app1,host=api.example,method=GET,status_code=2xx request=0i,response=512i,retry=0i,status=200i,timing=42i 1773064800125000000",
    _influx,
)

FORMAT = fixed(
    "apipark_json",
    "APIPark / Apinto, one object per call",
    '{"msec":"1773064800125","request_time":"42","response_time":"39000000","request_method":"GET","request_uri":"/v1/carts","status":"200"}',
    lambda options: [layout(options.tz)],
)


# -- the line formatter --------------------------------------------------------------------------------------------------

#: What parts the values of one level (earlier releases: a bar on the last), and what holds an object that stands on it.
_SEPARATORS = (("\t", " ", ",", ":"), ("\t", " ", ",", "|"))
_BRACKETS = (('"', '"'), ("[", "]"), ("<", ">"), ("", ""))

#: The formatter of Apinto's own examples, tried when none is given.
_EXAMPLE = json.dumps(
    {
        "fields": ["$time_iso8601", "$request_id", "@request", "@proxy", "@response", "@status_code", "@time"],
        "request": ["$request_method", "$scheme", "$request_uri", "$host", "$header", "$remote_addr"],
        "proxy": ["$proxy_method", "$proxy_scheme", "$proxy_uri", "$proxy_host", "$proxy_header", "$proxy_addr"],
        "response": ["$response_header"],
        "status_code": ["$status", "$proxy_status"],
        "time": ["$request_time", "$response_time"],
    }
)


@cache
def _variables(tz: str) -> dict[str, f.Field]:
    """Variable of a formatter -> the field it is: what it is in an object, and some that only formatters name."""
    headers, path = _headers(), f.url()
    return {path.removeprefix("$."): field for path, field in layout(tz).paths.items()} | {
        # A formatter's is a path mostly, an object's a whole URL.
        "request_uri": replace(f.whole_url(rank=1), quick=path.quick, prepare=None, accept=path.accept),
        "scheme": f.token("scheme"),
        "host": f.host(),
        "header": headers,
        "request_header": headers,
        "url": f.url(),
        "uri": f.token("path", rank=1),
        "query": f.token("query", rank=1),
        "remote_port": f.integer("client_port", pl.Int32),
        "src_port": f.integer("client_port", pl.Int32),
        "response": f.attribute("response_body"),  # which is never stored
    }


def _tries(key: str, names: Sequence[str], separator: str, fields: Mapping[str, f.Field]) -> f.Field:
    """A list with one bracketed object per attempt: the last one's values, and how many there were."""

    def read(raw: pl.Expr) -> f.Columns:
        last = raw.str.extract(r"\[([^\[\]]*)\]$").str.split(separator)
        columns: f.Columns = {
            f"attributes.{key}": raw,
            "upstream_attempts": raw.str.count_matches("[", literal=True).cast(pl.Int16),
        }
        for i, name in enumerate(names):
            value = last.list.get(i, null_on_oob=True)
            if name in ("proxy_status", "proxy_addr"):
                column = "upstream_status_code" if name == "proxy_status" else "upstream_address"
                columns[column] = pl.when(value != "-").then(value)
        return columns

    return f.Field(read, read, pattern=r'[^"]*')


def _formatter(text: str) -> dict[str, list[str]]:
    """Object -> what stands in it; `fields` is the line. Raises UsageError for what is none."""
    try:
        given = json.loads(text)
    except ValueError as wrong:
        raise UsageError(f"the formatter is no JSON: {wrong}") from None
    given = given.get("formatter", given)
    found = {key: value for key, value in given.items() if isinstance(value, list)}
    if "fields" not in found or not all(isinstance(one, str) for value in found.values() for one in value):
        raise UsageError('the formatter has no list "fields" of names')
    return found


@cache
def line_layout(text: str, tz: str, separators: tuple[str, ...]) -> TextLayout:
    """The layout of a line formatter: its configuration as JSON. Raises UsageError when it has no time."""
    objects = _formatter(text)
    fields = _variables(tz)

    def pieces(names: Sequence[str], level: int) -> list[str | Variable]:
        found: list[str | Variable] = []
        for i, written in enumerate(names):
            name = written.split(" ")[0]  # "as …" only names a key of the JSON type
            if i:
                found.append(separators[level])
            left, right = _BRACKETS[level]
            key, _, child = name.removeprefix("@").partition("#")
            if name.startswith("$"):
                found.append(Variable(name, fields.get(name[1:]) or f.attribute(name[1:])))
            elif not name.startswith("@"):
                found.append(name)
            elif key not in objects or level + 1 >= len(separators):
                found.append("-")
            elif child:
                children = [one.split(" ")[0].removeprefix("$") for one in objects[key]]
                parting = separators[min(level + 2, len(separators) - 1)]
                found += [left, Variable(name, _tries(key, children, parting, fields)), right]
            else:
                found += [left, *pieces(objects[key], level + 1), right]
        return found

    found = joined(pieces(objects["fields"], 0))
    check_time(found, text, "$time_iso8601, $time_local, $msec or $timestamp")
    return TextLayout("apinto_line", text, found, "none")


def _line_layouts(head: pl.DataFrame, options: Options) -> Sequence[Layout]:
    text = options.log_format or _EXAMPLE
    return list(dict.fromkeys(line_layout(text, options.tz, separators) for separators in _SEPARATORS))


LINE_FORMAT = Format(
    "apinto_line",
    "APIPark / Apinto, line formatter; its configuration as JSON with --log-format",
    "2026-03-09T15:00:00.125+01:00\t9f2c\t"
    '"GET http /v1/carts shop.example Accept=%2A 203.0.113.7"\t"GET http /carts up.example Accept=%2A 10.0.4.11:80"\t'
    '"Content-Type=text"\t"200 200"\t"42 41000000"',
    _line_layouts,
    pasted=re.compile(r'"fields"\s*:\s*\['),
)
