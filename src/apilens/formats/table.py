"""Any table: CSV with a header line, or one JSON object per line, by a column mapping or by the names of its columns.

A unit is taken from the mapping or from a name's suffix, never guessed from magnitude. Parquet files are turned into
JSON lines before they come here (ingest.sources).
"""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.block import REJECTED, Layout, Parsed
from apilens.formats.csv_layout import CsvLayout
from apilens.formats.format import Format, Options
from apilens.formats.json_layout import JsonLayout
from apilens.formats.json_paths import dotted, leaves, names, path, plain_name
from apilens.schema import CALLS

_TO_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
#: What a unit is called at the end of a name.
_SUFFIXES = {unit: unit for unit in _TO_MS} | {
    **dict.fromkeys(("sec", "secs", "seconds"), "s"),
    **dict.fromkeys(("msec", "msecs", "millis", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "usecs", "micros", "microseconds"), "us"),
    **dict.fromkeys(("nsec", "nanos", "nanoseconds"), "ns"),
}
_TO_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_DURATIONS = [name for name in CALLS if name.endswith("_ms")]
_BYTES = [name for name in CALLS if name.endswith(("_bytes", "_tokens"))]
#: Columns that the lake derives; a table cannot set them.
_DERIVED = {"start_time", "timestamp_kind", "gateway", "parse_status", "attributes", "unit_id", "consumer", "route"} | {
    "source_file", "source_offset", "synthetic_type", "url", "environment"
}  # fmt: skip


def _headers(column: str) -> list[str]:
    """Plain names of the request headers that fill a column, as they are and as NGINX's variables, best first."""
    found = [plain_name(header) for header, field in f.CALLERS.items() if column in field.careful(pl.lit(""))]
    return [name for header in found for name in (header, f"http_{header}")]


#: column -> plain names under which tables have it, best first: what people choose, then the fields of OpenTelemetry and
#: the Elastic Common Schema. A unit may follow: _s, _ms, _us, _ns, in durations also as a word.
_ALIASES: dict[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "time", "ts", "datetime", "date", "start_time", "time_iso8601", "eventtime", "event_time", "time_stamp"),
    "url": ("url", "uri", "request_uri", "target", "url_original", "http_target", "request_url", "url_full", "http_url"),
    "path": ("path", "url_path", "uri_path", "request_path", "endpoint", "route_path"),
    "query": ("query", "query_string", "args", "url_query"),
    "method": ("method", "http_method", "request_method", "verb", "http_request_method"),
    "status_code": (
        "status_code", "status", "http_status", "response_status", "code", "response_code", "http_status_code",
        "http_response_status_code", "response_status_code",
    ),
    "duration_ms": (
        "duration", "latency", "request_time", "response_time", "elapsed", "took", "total_time", "request_duration",
        "event_duration", "http_server_request_duration", "total_duration", "elapsed_time", "processing_time", "time_taken",
        "response_duration",
    ),
    "upstream_duration_ms": ("upstream_duration", "upstream_response_time", "upstream_latency", "backend_time"),
    "client_ip": (
        "client_ip", "remote_addr", "remote_ip", "ip", "source_ip", "clientip", "client_address", "source_address",
        "remote_address", "http_client_ip",
    ),
    "client_port": ("client_port", "remote_port", "source_port"),
    "forwarded_for": ("forwarded_for", "x_forwarded_for", "http_x_forwarded_for", "network_forwarded_ip"),
    "user_name": ("user_name", "user", "username", "remote_user", "enduser_id", *_headers("user_name")),
    "application_id": (
        "application_id", "application", "app", "app_id", "consumer", "client_id", "api_key_name", *_headers("application_id"),
    ),
    "service": ("service", "service_name", "api", "backend"),
    "host": ("host", "hostname", "server_name", "authority", "url_domain", "server_address", "http_host"),
    "scheme": ("scheme", "url_scheme", "http_scheme"),
    "gateway_route": ("gateway_route", "http_route"),
    "user_agent": ("user_agent", "useragent", "agent", "ua", "http_user_agent", "user_agent_original"),
    "referrer": ("referrer", "referer", "http_referer", "http_request_referrer"),
    "request_id": ("request_id", "requestid", "x_request_id", "correlation_id", "http_request_id"),
    "trace_id": ("trace_id", "traceid"),
    "span_id": ("span_id", "spanid"),
    "upstream_address": ("upstream_address", "upstream_addr", "upstream", "destination_address"),
    "upstream_name": ("upstream_name", "cluster"),
    "upstream_status_code": ("upstream_status_code", "upstream_status"),
    "node": ("node", "instance", "pod", "host_name", "host_hostname"),
    "response_bytes": ("response_bytes", "bytes_sent", "response_size", "bytes", "http_response_bytes"),
    "response_body_bytes": ("response_body_bytes", "body_bytes_sent", "http_response_body_bytes", "http_response_body_size"),
    "request_bytes": ("request_bytes", "request_length", "request_size", "http_request_bytes"),
    "request_body_bytes": ("request_body_bytes", "http_request_body_bytes", "http_request_body_size"),
    "http_version": ("http_version", "protocol", "server_protocol", "network_protocol_version", "http_flavor"),
    "response_flags": ("response_flags", "error_type"),
    "gen_ai_provider": ("gen_ai_provider", "gen_ai_provider_name", "gen_ai_system"),
    "gen_ai_request_model": ("gen_ai_request_model", "gen_ai_response_model"),
    "gen_ai_usage_input_tokens": ("gen_ai_usage_input_tokens",),
    "gen_ai_usage_output_tokens": ("gen_ai_usage_output_tokens",),
}  # fmt: skip
#: Durations whose unit is the specification's: ECS event.duration, OpenTelemetry http.server.request.duration.
_UNITS = {"event_duration": "ns", "http_server_request_duration": "s"}

#: NGINX's variables under their own names, the usual keys of a JSON log_format; their times are in seconds.
_NGINX: dict[str, f.Field] = {
    "msec": f.epoch_time("end", 1e6),
    "time_iso8601": f.iso_time("end"),
    "time_local": f.clf_time("end"),
    "request": f.request_line(),
    "request_time": f.duration("duration_ms", 1e3),
    "upstream_response_time": f.upstream_duration("upstream_duration_ms", 1e3, total=True),
    "upstream_connect_time": f.upstream_duration("upstream_connect_ms", 1e3, total=False),
    "upstream_header_time": f.upstream_duration("upstream_header_ms", 1e3, total=False),
    "upstream_addr": f.upstream_text("upstream_address", count=True),
    "upstream_status": f.upstream_text("upstream_status_code"),
    "request_length": f.integer("request_bytes"),
    "bytes_sent": f.integer("response_bytes"),
    "body_bytes_sent": f.integer("response_body_bytes"),
}
#: So many of these names are no accident.
_TELLING = 3
_OF_NGINX = {"remote_addr", "remote_user", "time_local", "time_iso8601", "body_bytes_sent", "http_user_agent", "http_referer"} | {
    "request_time", "request_method", "request_uri", "request_length", "upstream_addr", "upstream_response_time", "server_protocol",
    "http_x_forwarded_for", "upstream_status", "bytes_sent",
}  # fmt: skip


def _field(column: str, unit: str | None, tz: str) -> f.Field:
    """How a cell becomes `column`. Raises UsageError for a column a table cannot fill."""
    if column == "timestamp":
        if unit is not None:
            return f.epoch_time("start", _TO_US[unit])
        return f.written_time("start", tz)
    if column in _DURATIONS:
        return f.duration(column, _TO_MS[unit or "ms"])
    if column == "request_line":
        return f.request_line()
    if column == "url":
        return f.whole_url(rank=2)
    if column == "path":
        return _path()
    if column == "query":
        return _query()
    if column == "method":
        return _method()
    if column == "host":
        return f.host()
    if column == "status_code":
        return f.status()
    if column in _BYTES:
        return f.integer(column)
    if column == "http_version":
        return f.spoken_version()
    if column == "client_ip":
        return f.peer()
    if column not in CALLS or column in _DERIVED - {"url"}:
        known = ", ".join(name for name in CALLS if name not in _DERIVED)
        raise UsageError(f"--columns names {column!r}, which a table cannot fill; expected one of url, {known}")
    if CALLS[column] in (pl.Int32, pl.Int16, pl.Int64):
        return f.integer(column, type(CALLS[column]))
    return f.text(column)


def _path() -> f.Field:
    """A path, which some tools log with its query, or as the whole URL; columns of their own for these go before."""
    whole = f.whole_url(rank=1)

    def read(raw: pl.Expr) -> f.Columns:
        columns = whole.careful(raw)
        return columns | {"url": pl.when(columns["host"].is_not_null()).then(raw)}

    return replace(whole, quick=read, careful=read)


def _query() -> f.Field:
    """A query, with its question mark or without."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"query": raw.str.strip_prefix("?")}

    return f.Field(read, read)


def _method() -> f.Field:
    """A method; tools that log it in lower case mean the same."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"method": raw.str.to_uppercase()}

    return f.Field(read, read)


def _bind(
    names: Mapping[str, str], mapping: Mapping[str, str], tz: str, *, of_nginx: bool = False, all_aliases: bool = False
) -> dict[str, f.Field]:
    """Field per source name. names: source name -> plain name. mapping: column -> source name, or `name:unit`; empty: by name.

    of_nginx: names that NGINX's variables have are those. all_aliases: lines may have other names for a column than the best
    one that is there; the first that a line has is taken.

    Raises UsageError when the mapping names a source the table does not have.
    """
    bound: dict[str, f.Field] = {}
    for column, source in mapping.items():
        name, unit = _source(source, names)
        if name not in names:
            raise UsageError(f"--columns {column}={source}: the input has no column {name!r}, only {', '.join(names)}")
        bound[name] = _field(column, unit, tz)
    if mapping:
        return bound
    plain: dict[str, list[str]] = {}
    for name, words in names.items():
        plain.setdefault(words, []).append(name)
    if of_nginx:
        bound |= {name: field for words, field in _NGINX.items() for name in plain.get(words, [])}
    filled = {column for field in bound.values() for column in _columns(field)}
    for column, aliases in _ALIASES.items():
        if column in filled:
            continue
        place = 0
        for alias in dict.fromkeys((column, *aliases)):
            units = _SUFFIXES if column in _DURATIONS else {unit: unit for unit in _TO_MS}
            spelt = {alias: _UNITS.get(alias)} | {f"{alias}_{suffix}": unit for suffix, unit in units.items()}
            for spelling, unit in spelt.items():
                if column in _DURATIONS and spelling == alias != column and unit is None:
                    continue  # a duration without a unit says nothing
                for name in plain.get(spelling, []):
                    if name in bound or (place and not all_aliases):
                        continue
                    field = _field(column, unit, tz)
                    bound[name] = replace(field, rank=_ALIASES_AT_MOST * field.rank + place)
                    place += 1
    return bound


def _unsaid(plain: Mapping[str, str], bound: Mapping[str, f.Field], format: str) -> tuple[str, ...]:
    """What to type for a duration that is lost, because nothing says in which unit it is; plain, bound: as in `_bind`."""
    filled: dict[str, str] = {}
    for name, field in bound.items():
        column = next(iter(field.careful(pl.lit(""))))
        column = "path" if column == "url" and plain[name] in _ALIASES["path"] else column
        word = plain[name].rpartition("_")[2]
        unit = f":{_UNITS.get(plain[name]) or _SUFFIXES.get(word, 'ms')}" if column in _DURATIONS else ""
        filled.setdefault(column, f"{column}={name}{unit}")
    named: dict[str, str] = {}
    for name, words in plain.items():
        named.setdefault(words, name)
    lost = {
        column: names[0]
        for column in ("duration_ms", "upstream_duration_ms")
        if column not in filled and (names := [named[alias] for alias in _ALIASES[column] if alias in named])
    }
    if not lost:
        return ()
    meant = (*filled.values(), *(f"{column}={name}:ms" for column, name in lost.items()))
    typed = " ".join(f"--columns {shlex.quote(one)}" for one in meant)
    return (
        f"nothing says whether {' and '.join(lost.values())} is in s, ms, us or ns: it is kept in attributes, and the calls have no"
        f" duration. If it is in ms, add: --format {format} {typed}",
    )


#: A field's rank is of more weight than the place of its name among the aliases of a column.
_ALIASES_AT_MOST = 1000


def _of_nginx(plain: Iterable[str]) -> set[str]:
    """Names of NGINX's variables among plain ones; none where there are so few that they may be anybody's.

    Apinto's fields have some of these names too, and other units; its format stands before the tables.
    """
    found = _OF_NGINX & set(plain)
    return found if len(found) >= _TELLING else set()


def _source(source: str, names: Container[str]) -> tuple[str, str | None]:
    """Name and unit of a mapping's source; names: those there are, of which one may end as if a unit stood behind it."""
    name, _, unit = source.rpartition(":")
    return (name, unit) if unit in _TO_MS and (name in names or source not in names) else (source, None)


#: Columns of a table: 20,000 take .4 GB to read, 100,000 took 1.9 GB. Picked.
_MAX_COLUMNS = 20_000


def csv_layout(header: str, mapping: Mapping[str, str], tz: str) -> CsvLayout | None:
    """The layout of a CSV whose first line is `header`; None when it names no time or no status, URL or path."""
    separator = max(",;\t", key=header.count)
    try:
        names = next(csv.reader(io.StringIO(header), delimiter=separator), [])
    except csv.Error:  # a bare carriage return, or a header beyond any table
        return None
    if not 2 <= len(names) <= _MAX_COLUMNS or len(set(names)) < len(names):
        return None
    plain = {name: plain_name(name) for name in names}
    bound = _bind(plain, mapping, tz, of_nginx=bool(_of_nginx(plain.values())))
    fields = {name: bound.get(name, f.attribute(name)) for name in names}
    doubts = () if mapping else _unsaid(plain, bound, "table_csv")
    return CsvLayout("table_csv", header, separator, fields, doubts=doubts) if _sufficient(fields) else None


def json_layouts(lines: Iterable[str], mapping: Mapping[str, str], tz: str) -> list[JsonLayout]:
    """Layouts of JSON lines like `lines`, whose shapes may differ; none when they name no time or nothing that was called.

    The first is of lines with NGINX's variables, where there are such.
    """
    return list(_json_layouts(tuple(names(lines).items()), tuple(mapping.items()), tz))


@lru_cache(32)
def _json_layouts(
    seen: tuple[tuple[str, str], ...], mapped: tuple[tuple[str, str], ...], tz: str
) -> tuple[JsonLayout, ...]:
    """The same of lines with these names; seen: path and plain name of each, mapped: the items of the mapping."""
    plain, mapping = dict(seen), dict(mapped)
    if not plain:
        return ()
    paths = {dotted(where): where for where in reversed(plain)}
    # A field that the first records lack can be meant all the same.
    meant = (_source(source, paths)[0] for source in mapping.values())
    paths |= {name: path(*name.split(".")) for name in list(meant) if name not in paths}
    spelled = {name: plain.get(where, "") for name, where in reversed(paths.items())}
    telling = [] if mapping else [name for name, words in spelled.items() if words in _of_nginx(spelled.values())]
    found = []
    for of_nginx in (True, False) if telling else (False,):
        bound = _bind(spelled, mapping, tz, of_nginx=of_nginx, all_aliases=True)
        # By names alone a time and a status are not enough: nested logs have them at the top and the rest further down.
        if not _sufficient(bound, what_was_called=not mapping):
            continue
        fields = {paths[name]: _apart(field, paths[name], plain) for name, field in bound.items()}
        times = tuple(where for where, field in fields.items() if field.timestamp_kind)
        calls = tuple(where for where, field in fields.items() if _CALLED & _columns(field))
        count = " + ".join(f"({{{paths[name]}}} IS NOT NULL)::INT" for name in telling)
        where = f"{count} >= {_TELLING}" if of_nginx else "true"
        doubts = () if mapping else _unsaid(spelled, bound, "table_json")
        found.append(JsonLayout("table_json", fields, signs=(), any_of=(times, calls), where=where, doubts=doubts))
    return tuple(found)


_NAME_SHOWN = 80
#: What the values of a column look like where its name says nothing: column, and the unit that they seem to be in.
_LOOKS = {
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*|\[?\d\d/[A-Z][a-z]{2}/\d{4}:.*": ("timestamp", ""),
    r"1\d{9}(?:\.\d+)?": ("timestamp", ":s"),
    r"1\d{12}": ("timestamp", ":ms"),
    r"1\d{15}": ("timestamp", ":us"),
    r"[A-Z]+ \S+ HTTP/\d.*": ("request_line", ""),
    r"GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS": ("method", ""),
    r"/[^ ]*": ("path", ""),
    r"[1-5]\d\d": ("status_code", ""),
    r"\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]*:){2,}[0-9a-f.]*": ("client_ip", ""),
}


def guessed(lines: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """The names of the fields in JSON lines, and those of them that may be meant by a column, told by the values they have first.

    Nothing where no value looks like one of a call. Names that cannot be shown as they are, or are too long for it, are left out.
    """
    values: dict[str, str] = {}
    for line in lines:
        for where, value in leaves(line).items():
            if (name := dotted(where)).isprintable() and len(name) <= _NAME_SHOWN:
                values.setdefault(name, value)
    found: dict[str, str] = {}
    for looks, (column, unit) in _LOOKS.items():
        like = [name for name, value in values.items() if re.fullmatch(looks, value)]
        if like and column not in found:
            # A parameter of the query may look like a status; what is called one comes first.
            named = next((name for name in like if _last_word(name) in _ALIASES.get(column, ())), like[0])
            found[column] = f"{named}{unit}"
    if not found.keys() & {"request_line", "method", "status_code"}:
        return [], {}
    called = {} if "request_line" in found else {"path": "NAME"}
    return list(values), {"timestamp": "NAME", **called, **found}


def _last_word(name: str) -> str:
    """The plain name of the innermost field of a dotted one."""
    return plain_name(name.rpartition(".")[2])


def _apart(field: f.Field, where: str, plain: Mapping[str, str]) -> f.Field:
    """The field, of a name that is an object in some lines: there it is not what is meant, and stays an attribute."""
    if not any(other.startswith(f"{where}.") for other in plain):
        return field

    def read(raw: pl.Expr) -> f.Columns:
        structured = raw.str.starts_with("{")
        return field.careful(pl.when(~structured).then(raw)) | {
            f"attributes.{dotted(where)}": pl.when(structured).then(raw)
        }

    return replace(field, quick=read, careful=read)


@dataclass(frozen=True)
class _Further(Layout):
    """Lines of shapes that the head has none of: read by their own names."""

    mapping: Mapping[str, str]
    tz: str
    gateway: str = "table_json"
    text: str | None = None

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """None: what is in the head is the business of the other layouts."""
        return pl.repeat(False, records.height, eager=True)

    def nearness(self, records: pl.DataFrame) -> float:
        """As `fits`."""
        return 0.0

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line) by the names in the first of them."""
        left, calls = records, []
        for layout in json_layouts(records["line"].head(_SHOWING), self.mapping, self.tz):
            part = layout.read(left)
            calls.append(part.calls)
            left = left.join(part.rejects, on="row", how="semi")
        rejects = left.select("row", pl.lit("no table").alias("reason"))
        return Parsed(pl.concat(calls, how="diagonal") if calls else REJECTED.to_frame().select("row"), rejects)


#: Lines whose names are looked at.
_SHOWING = 200


#: Of these a record has one, if it is a call.
_CALLED = {"path", "status_code", "method"}


def _columns(field: f.Field) -> set[str]:
    return set(field.careful(pl.lit("")))


def _sufficient(fields: Mapping[str, f.Field], *, what_was_called: bool = False) -> bool:
    """A call needs a time and something that says what was called or how it went; or, if that is asked for, both."""
    columns = {column for field in fields.values() for column in _columns(field)}
    if what_was_called:
        return {"timestamp", "path"} <= columns and bool(columns & {"status_code", "method", "duration_ms"})
    return "timestamp" in columns and bool(columns & _CALLED)


def _open_csv(head: pl.DataFrame, options: Options) -> list[CsvLayout]:
    first = next(iter(head["line"]), "")
    if first.startswith("{"):
        return []
    found = csv_layout(first, options.columns, options.tz)
    return [] if found is None else [found]


def _open_json(head: pl.DataFrame, options: Options) -> list[Layout]:
    found = json_layouts(head["line"].head(_SHOWING), options.columns, options.tz)
    return [*found, _Further(options.columns, options.tz)] if found else []


JSON_FORMAT = Format(
    "table_json",
    "JSON lines by the names of their fields, or by --columns",
    '{"timestamp":"2026-03-09T14:00:00Z","method":"GET","path":"/v1/carts","status":200,"duration_ms":42.1}',
    _open_json,
)
CSV_FORMAT = Format(
    "table_csv",
    "CSV with a header line by its names, or by --columns",
    "timestamp,method,path,status,duration_ms",
    _open_csv,
)
