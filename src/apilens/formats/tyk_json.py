"""Tyk: analytics records as Tyk Pump writes them (stdout, Kafka, Logzio, Elasticsearch, …)."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _key() -> f.Field:
    """A key as Tyk hashes it (murmur32, murmur64, SHA-256) names an application; an unhashed one is a secret, and stays
    one in attributes. Zeros stand for a call without a key.
    """

    def read(raw: pl.Expr) -> f.Columns:
        hashed = raw.str.contains(r"^[0-9a-f]{8}$|^[0-9a-f]{16}$|^[0-9a-f]{64}$")
        none = raw.str.contains("^0+$")
        return {
            "application_id": pl.when(hashed & ~none).then(raw),
            "attributes.api_key": pl.when(~hashed & ~none).then(raw),
        }

    return f.Field(read, read, rank=1)


def _without_zero(field: f.Field) -> f.Field:
    """The same with 0 as null: a record that lacks a latency has it."""

    def read(raw: pl.Expr) -> f.Columns:
        return {name: pl.when(value != 0).then(value) for name, value in field.careful(raw).items()}

    return f.Field(read, read, accept=field.accept, accept_careful=field.accept_careful, rank=field.rank)


def _record(raw: pl.Expr) -> pl.Expr:
    """The record inside the line of the stdout pump, which logs it as one member; of one that was exported from MongoDB, the
    values without their types: `{"$numberLong":"42"}` is "42". Source: MongoDB Extended JSON, version 2."""
    typed = pl.when(raw.str.contains('"$', literal=True)).then(raw)
    return pl.coalesce(
        raw.str.extract(r'"tyk-analytics-record"\s*:\s*(\{.*\})\s*\}\s*$'),
        typed.str.replace_all(_NUMBER, "${1}").str.replace_all(_DATE, "${1}"),
    )


_NUMBER = r'\{\s*"\$(?:oid|number(?:Int|Long|Double|Decimal))"\s*:\s*("[^"\\]*")\s*\}'
#: Around a number, or a text.
_DATE = r'\{\s*"\$date"\s*:\s*("[^"\\]*"|-?\d+)\s*\}'

#: Names of the Elasticsearch pump follow those of most others.
_FIELDS = {
    "$.timestamp": f.written_time("end"),
    '$."@timestamp"': f.written_time("end", rank=1),
    "$.time_stamp": f.written_time("end", rank=2),
    "$.latency.total": _without_zero(f.duration("duration_ms", 1.0)),
    "$.request_time": f.duration("duration_ms", 1.0, rank=1),
    "$.request_time_ms": f.duration("duration_ms", 1.0, rank=2),
    "$.latency.upstream": _without_zero(f.duration("upstream_duration_ms", 1.0)),
    "$.latency.gateway": f.duration("gateway_duration_ms", 1.0),
    "$.response_code": f.status(),
    "$.method": f.token("method"),
    "$.http_method": f.token("method", rank=1),
    "$.raw_path": f.url(),
    "$.request_uri_full": f.url(rank=1),
    "$.path": f.url(rank=2),
    "$.request_uri": f.url(rank=3),
    "$.host": f.host(),
    "$.user_agent": f.text("user_agent"),
    "$.ip_address": f.peer(),
    "$.api_id": f.text("api_id"),
    "$.api_name": f.text("service"),
    "$.alias": f.text("application_id"),
    "$.api_key": _key(),
    "$.content_length": f.size("request_body_bytes"),
    "$.trace_id": f.token("trace_id"),
}


def _in_go(path: str) -> str:
    """The path in Go's own names, as programs write it that know nothing of the record's tags."""
    words = {"api": "API", "id": "ID", "ip": "IP"}
    return re.sub(r"_?([a-z]+)", lambda word: words.get(word[1], word[1].title()), path)


def _layout(spelled: Callable[[str], str]) -> JsonLayout:
    """spelled: how a path of _FIELDS is written."""

    def named(*paths: str) -> tuple[str, ...]:
        return tuple(map(spelled, paths))

    fields: dict[str, f.Field] = {}
    for path, field in zip(named(*_FIELDS), _FIELDS.values(), strict=True):
        fields.setdefault(path, field)  # of two names that became equal the better one
    return JsonLayout(
        "tyk_json",
        fields,
        signs=named("$.response_code", "$.api_id", "$.org_id"),
        any_of=(named("$.request_time", "$.request_time_ms", "$.latency.total"),),
        dropped=named("$.raw_request", "$.raw_response"),  # base64 of whole messages: bodies, credentials
        json=_record,
    )


#: The second is that of the Mongo pump, whose names have no underscores.
LAYOUTS = (_layout(str), _layout(lambda path: path.replace("_", "")), _layout(_in_go))

FORMAT = fixed(
    "tyk_json",
    "Tyk Pump, one analytics record per call",
    '{"timestamp":"2026-03-09T14:00:00.125Z","method":"GET","raw_path":"/v1/carts","response_code":200,"request_time":42,"api_id":"a1","org_id":"o1"}',
    lambda options: LAYOUTS,
)
