"""Amazon CloudFront: standard logs, one line of tab-separated cells per call.

Source: Amazon CloudFront Developer Guide, "Standard logging reference".
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from apilens.formats import fields as f
from apilens.formats.escapes import unescape
from apilens.formats.format import Format, Options
from apilens.formats.w3c import W3cLayout, method, path

_OLDEST = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query"
    " cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken"
)
_OLD = _OLDEST + " x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version"
_ENCRYPTED = _OLD + " fle-status fle-encrypted-fields"
_NEW = _ENCRYPTED + (
    " c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len sc-range-start sc-range-end"
)
_PATTERNS = {
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d:\d\d",
    "x-edge-location": r"[A-Z]{3}\d+(?:-[A-Z]+\d*)?",
    "sc-bytes": r"\d+",
    "c-ip": r"[0-9A-Fa-f.:]+",
    "cs-method": r"\S+",
    "sc-status": r"\d{3}",
    "cs-bytes": r"\d+",
    "time-taken": r"[\d.]+",
}


def _decoded(column: str) -> f.Field:
    """Percent-encoded text; some of it was encoded twice."""

    def read(raw: pl.Expr) -> f.Columns:
        return {column: raw.map_batches(_decode, return_dtype=pl.String)}

    return f.Field(read, read)


def _decode(values: pl.Series) -> pl.Series:
    once = unescape(values, "uri")
    return unescape(once, "uri") if once.str.contains("%20", literal=True).any() else once


def _host() -> f.Field:
    """The distribution's own name, which is not what the viewer asked for."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"host": raw, "attributes.cs(Host)": raw}

    return f.Field(read, read, rank=1)


def _kinds(software: str | None) -> Mapping[str, f.Field]:
    return {
        "cs-method": method(),
        "cs-uri-stem": path(),
        "cs-uri-query": f.text("query"),
        "sc-status": f.status(),
        "time-taken": f.duration("duration_ms", 1e3),
        "c-ip": f.text("client_ip"),
        "c-port": f.integer("client_port", pl.Int32),
        "x-host-header": f.text("host"),
        "cs(host)": _host(),
        "cs-protocol": f.text("scheme"),
        "cs-protocol-version": f.http_version(),
        "cs-bytes": f.integer("request_bytes"),
        "sc-bytes": f.integer("response_bytes"),
        "sc-content-len": f.integer("response_body_bytes"),
        "cs(user-agent)": _decoded("user_agent"),
        "cs(referer)": _decoded("referrer"),
        "x-forwarded-for": _decoded("forwarded_for"),
        "ssl-protocol": f.text("tls_version"),
        "x-edge-request-id": f.text("request_id"),
        "x-edge-result-type": f.text("cache_status"),
        "x-edge-detailed-result-type": f.error("x-edge-detailed-result-type", f.CLOUDFRONT_FINE),
    }


def _open(head: pl.DataFrame, options: Options) -> list[W3cLayout]:
    known = (_NEW, _ENCRYPTED, _OLD, _OLDEST)
    return [W3cLayout("aws_cloudfront", _kinds, known, _PATTERNS, r"x-edge-location", options.tz)]


FORMAT = Format(
    "aws_cloudfront",
    "Amazon CloudFront, standard logs",
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status time-taken\n"
    "2026-03-09\t14:00:00\tFRA56-P1\t734\t203.0.113.7\tGET\td111111abcdef8.cloudfront.net\t/v1/carts\t200\t0.042",
    _open,
)
