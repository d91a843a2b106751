"""Tyk: what the CSV pump writes; a header line stands only in the first file of an hour.

Source: tyk-pump, pumps/csv.go and AnalyticsRecord.GetFieldNames.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping

import polars as pl

from apilens.formats import fields as f
from apilens.formats.csv_layout import CsvLayout
from apilens.formats.format import Format, Options

_RECORD = (
    "Method Host Path RawPath ContentLength UserAgent Day Month Year Hour ResponseCode APIKey TimeStamp APIVersion APIName APIID"
    " OrgID OauthID RequestTime RawRequest RawResponse IPAddress GeoData.Country.ISOCode GeoData.City.GeoNameID"
    " GeoData.City.Names GeoData.Location.Latitude GeoData.Location.Longitude GeoData.Location.TimeZone"
    " NetworkStats.OpenConnections NetworkStats.ClosedConnection NetworkStats.BytesIn NetworkStats.BytesOut Latency.Total"
    " Latency.Upstream"
)
_TAGS = " Tags Alias TrackPath ExpireAt"
#: Of files without a header, the newest first; told by how many there are.
_KNOWN = tuple(
    names.split()
    for names in (
        f"{_RECORD} Latency.Gateway{_TAGS} ApiSchema OriginalPath ListenPath",
        f"{_RECORD}{_TAGS} ApiSchema",
        f"{_RECORD}{_TAGS}",
    )
)
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"


def _cell(form: str) -> str:
    """The regex of a cell of this form, with quotes around it or without any."""
    return f'(?:{form}|"{form}")'


#: Cells by which a line without a header is told.
_FORMS = {
    "Month": (_cell(_MONTH), "the name of a month, as March"),
    "Year": (_cell(r"\d{1,4}"), "a year"),
    "Hour": (_cell(r"\d{1,2}"), "an hour, 0..23"),
    "ResponseCode": (_cell(r"\d+"), "a number 100..999"),
    "TimeStamp": (
        _cell(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4} [^",]*'),
        "a time like 2026-03-09 14:00:00.125 +0000 UTC",
    ),
}
#: A negative number, which Go turns into an unsigned one: unknown.
_NEGATIVE = r"^18446744\d{12}$"


def _time() -> f.Field:
    """Go's time.Time.String(): 2026-03-09 14:00:00.125 +0000 UTC m=+0.1."""
    iso = f.iso_time("end")

    def read(raw: pl.Expr) -> f.Columns:
        return iso.careful(
            raw.str.extract(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4})").str.replace(r" ([+-])", "${1}")
        )

    return f.Field(read, read, accept_careful=iso.accept_careful, mandatory=True, timestamp_kind="end")


def _unsigned(field: f.Field, *, zero: bool = True) -> f.Field:
    """The same without negative numbers and, where it means that nothing was measured, without zero."""
    none = _NEGATIVE if zero else f"{_NEGATIVE}|^0$"

    def read(raw: pl.Expr) -> f.Columns:
        return field.careful(pl.when(~raw.str.contains(none)).then(raw))

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        assert field.accept_careful is not None
        return raw.str.contains(none) | field.accept_careful(raw, columns)

    return f.Field(read, read, accept_careful=accept, rank=field.rank)


def _key() -> f.Field:
    """A key as Tyk hashes it names an application; any other is a secret. Zeros stand for a call without a key."""

    def read(raw: pl.Expr) -> f.Columns:
        hashed = raw.str.contains(r"^(?:[0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{64})$")
        none = raw.str.contains("^0+$")
        return {
            "application_id": pl.when(hashed & ~none).then(raw),
            "attributes.api_key": pl.when(~hashed & ~none).then(raw),
        }

    return f.Field(read, read, rank=1)


def _dropped() -> f.Field:
    """Whole messages in base64: bodies and credentials."""
    return f.Field(lambda raw: {}, lambda raw: {})


_FIELDS: Mapping[str, f.Field] = {
    "TimeStamp": _time(),
    "Latency.Total": _unsigned(f.duration("duration_ms", 1.0), zero=False),
    "RequestTime": _unsigned(f.duration("duration_ms", 1.0, rank=1)),
    "Latency.Upstream": _unsigned(f.duration("upstream_duration_ms", 1.0), zero=False),
    "Latency.Gateway": _unsigned(f.duration("gateway_duration_ms", 1.0)),
    "ResponseCode": f.status(),
    "Method": f.token("method"),
    "RawPath": f.url(),
    "Host": f.host(),
    "IPAddress": f.peer(),
    "APIID": f.text("api_id"),
    "APIName": f.text("service"),
    "Alias": f.text("application_id"),
    "APIKey": _key(),
    "UserAgent": f.text("user_agent"),
    "ContentLength": _unsigned(f.integer("request_body_bytes")),
    "RawRequest": _dropped(),
    "RawResponse": _dropped(),
}


def _layout(names: list[str], header: str | None) -> CsvLayout:
    fields = {name: _FIELDS.get(name) or f.attribute(name) for name in names}
    return CsvLayout("tyk_csv", header, ",", fields, _FORMS)


def _open(head: pl.DataFrame, options: Options) -> list[CsvLayout]:
    headers = head["line"].filter(head["line"].str.contains("^Method,Host,Path,RawPath,")).unique(maintain_order=True)
    named = [_layout(next(csv.reader([header])), header) for header in headers.to_list()]
    return [*named, *(_layout(names, None) for names in _KNOWN)]


FORMAT = Format(
    "tyk_csv",
    "Tyk Pump, CSV",
    "Method,Host,Path,RawPath,ContentLength,UserAgent,Day,Month,Year,Hour,ResponseCode,APIKey,TimeStamp,APIVersion,APIName,"
    "APIID,OrgID,OauthID,RequestTime,RawRequest,RawResponse,IPAddress,GeoData.Country.ISOCode,GeoData.City.GeoNameID,"
    "GeoData.City.Names,GeoData.Location.Latitude,GeoData.Location.Longitude,GeoData.Location.TimeZone,"
    "NetworkStats.OpenConnections,NetworkStats.ClosedConnection,NetworkStats.BytesIn,NetworkStats.BytesOut,Latency.Total,"
    "Latency.Upstream,Latency.Gateway,Tags,Alias,TrackPath,ExpireAt,ApiSchema,OriginalPath,ListenPath\n"
    "GET,api.example,/v1/carts,/v1/carts,0,curl/8.5,9,March,2026,14,200,00000000,2026-03-09 14:00:00.125 +0000 UTC,"
    "Non Versioned,shop,a1,o1,,42,,,203.0.113.7,,0,,0,0,,0,0,0,0,42,39,3,,,false,2026-03-16 14:00:00 +0000 UTC,http,"
    "/v1/carts,/v1/",
    _open,
)
