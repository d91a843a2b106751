"""Any table: CSV with a header line, or one JSON object per line, by a column mapping or by the names of its columns.

A unit is taken from the mapping or from a name's suffix, never guessed from magnitude. Parquet files are turned into
JSON lines before they come here (ingest.sources).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping

import polars as pl

from apilens.errors import UsageError
from apilens.formats import fields as f
from apilens.formats.csv_layout import CsvLayout
from apilens.formats.format import Format, Options
from apilens.formats.json_layout import JsonLayout
from apilens.schema import CALLS

_TO_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_TO_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_DURATIONS = [name for name in CALLS if name.endswith("_ms")]
_BYTES = [name for name in CALLS if name.endswith(("_bytes", "_tokens"))]
#: Columns that the lake derives; a table cannot set them.
_DERIVED = {"start_time", "timestamp_kind", "gateway", "parse_status", "attributes", "unit_id", "consumer", "route"} | {
    "source_file", "source_offset", "synthetic_type", "url", "environment"
}  # fmt: skip

#: column -> names under which tables have it, best first. A unit suffix (_s, _ms, _us, _ns) may follow.
_ALIASES: dict[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "@timestamp", "time", "ts", "datetime", "date", "start_time", "time_iso8601", "eventtime"),
    "url": ("url", "uri", "request_uri", "target"),
    "path": ("path", "url_path", "uri_path", "endpoint", "route_path"),
    "query": ("query", "query_string", "args"),
    "method": ("method", "http_method", "request_method", "verb"),
    "status_code": ("status_code", "status", "http_status", "response_status", "code", "response_code"),
    "duration_ms": ("duration", "latency", "request_time", "response_time", "elapsed", "took", "total_time"),
    "upstream_duration_ms": ("upstream_duration", "upstream_response_time", "upstream_latency", "backend_time"),
    "client_ip": ("client_ip", "remote_addr", "remote_ip", "ip", "source_ip", "clientip"),
    "user_name": ("user_name", "user", "username", "remote_user"),
    "application_id": ("application_id", "application", "app", "app_id", "consumer", "client_id", "api_key_name"),
    "service": ("service", "service_name", "api", "backend"),
    "host": ("host", "hostname", "server_name", "authority"),
    "user_agent": ("user_agent", "useragent", "agent", "http_user_agent"),
    "referrer": ("referrer", "referer", "http_referer"),
    "request_id": ("request_id", "requestid", "x_request_id", "correlation_id"),
    "trace_id": ("trace_id", "traceid"),
    "upstream_address": ("upstream_address", "upstream_addr", "upstream"),
    "upstream_name": ("upstream_name", "cluster"),
    "node": ("node", "instance", "pod"),
    "response_bytes": ("response_bytes", "bytes_sent", "response_size", "bytes"),
    "response_body_bytes": ("response_body_bytes", "body_bytes_sent"),
    "request_bytes": ("request_bytes", "request_length", "request_size"),
    "http_version": ("http_version", "protocol", "server_protocol"),
}  # fmt: skip


def _field(column: str, unit: str | None, tz: str) -> f.Field:
    """How a cell becomes `column`. Raises UsageError for a column a table cannot fill."""
    if column == "timestamp":
        if unit is not None:
            return f.epoch_time("start", _TO_US[unit])
        return f.any_time("start", tz)
    if column in _DURATIONS:
        return f.duration(column, _TO_MS[unit or "ms"])
    if column == "url":
        return f.url()
    if column == "status_code":
        return f.status()
    if column in _BYTES:
        return f.integer(column)
    if column == "http_version":
        return f.http_version()
    if column not in CALLS or column in _DERIVED - {"url"}:
        known = ", ".join(name for name in CALLS if name not in _DERIVED)
        raise UsageError(f"--columns names {column!r}, which a table cannot fill; expected one of url, {known}")
    if CALLS[column] in (pl.Int32, pl.Int16, pl.Int64):
        return f.integer(column, type(CALLS[column]))
    return f.text(column)


def _bind(names: list[str], mapping: Mapping[str, str], tz: str) -> dict[str, f.Field]:
    """Field per source name. mapping: column -> source name, or `name:unit`; empty: by name.

    Raises UsageError when the mapping names a source the table does not have.
    """
    bound: dict[str, f.Field] = {}
    for column, source in mapping.items():
        name, _, unit = source.rpartition(":") if source.rpartition(":")[2] in _TO_MS else (source, "", "")
        if name not in names:
            raise UsageError(f"--columns {column}={source}: the input has no column {name!r}, only {', '.join(names)}")
        bound[name] = _field(column, unit or None, tz)
    if not mapping:
        plain = {name.lower().replace("-", "_").replace(".", "_"): name for name in names}
        for column, aliases in _ALIASES.items():
            for alias in (column, *aliases):
                spelled = {alias: None} | {f"{alias}_{unit}": unit for unit in _TO_MS}
                found = next((spelling for spelling in spelled if spelling in plain), None)
                if found is None or plain[found] in bound:
                    continue
                if column in _DURATIONS and found == alias != column:
                    continue  # a duration without a unit says nothing
                bound[plain[found]] = _field(column, spelled[found], tz)
                break
    return bound | {name: f.attribute(name) for name in names if name not in bound}


def csv_layout(header: str, mapping: Mapping[str, str], tz: str) -> CsvLayout | None:
    """The layout of a CSV whose first line is `header`; None when it names no time or no status, URL or path."""
    separator = max(",;\t", key=header.count)
    try:
        names = next(csv.reader(io.StringIO(header), delimiter=separator), [])
    except csv.Error:  # a bare carriage return, or a header beyond any table
        return None
    if len(names) < 2 or len(set(names)) < len(names):
        return None
    fields = _bind(names, mapping, tz)
    ordered = {name: fields[name] for name in names}
    return CsvLayout("table_csv", header, separator, ordered) if _sufficient(ordered) else None


def json_layout(first: str, mapping: Mapping[str, str], tz: str) -> JsonLayout | None:
    """The layout of JSON lines of which `first` is one; None when it names no time or no status, URL or path."""
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not record:
        return None
    names = list(record) + [source.rpartition(":")[0] or source for source in mapping.values() if source not in record]
    fields = _bind(list(dict.fromkeys(names)), mapping, tz)
    # By names alone a time and a status are not enough: nested logs have them at the top and the rest further down.
    if not _sufficient(fields, what_was_called=not mapping):
        return None
    time = next(name for name, field in fields.items() if field.timestamp_kind)
    paths = {_path(name): field for name, field in fields.items()}
    return JsonLayout("table_json", paths, signs=(_path(time),))


def _path(name: str) -> str:
    return '$."' + name.replace('"', '\\"') + '"'


def _sufficient(fields: Mapping[str, f.Field], *, what_was_called: bool = False) -> bool:
    """A call needs a time and something that says what was called, or, unless that is asked for, how it went."""
    probe = pl.lit("")
    columns = {column for field in fields.values() for column in field.quick(probe)}
    wanted = {"path"} if what_was_called else {"status_code", "path", "method"}
    return "timestamp" in columns and bool(columns & wanted)


def _open_csv(head: pl.DataFrame, options: Options) -> list[CsvLayout]:
    first = next(iter(head["line"]), "")
    found = csv_layout(first, options.columns, options.tz)
    return [] if found is None else [found]


def _open_json(head: pl.DataFrame, options: Options) -> list[JsonLayout]:
    first = next((line for line in head["line"].head(20) if line.startswith("{")), "")
    found = json_layout(first, options.columns, options.tz)
    return [] if found is None else [found]


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
