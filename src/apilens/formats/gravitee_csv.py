"""Gravitee API Management: what its file reporter writes as CSV, v2 and v4 APIs; there is no header line.

Source: gravitee-reporter-common, formatter/csv/MetricsFormatter and formatter/csv/v4/MetricsFormatter.
"""

from __future__ import annotations

import polars as pl

from apilens.formats import fields as f
from apilens.formats.csv_layout import CsvLayout
from apilens.formats.format import fixed


def _upstream() -> f.Field:
    """Time at the endpoint; 0 where none was called."""
    field = f.duration("upstream_duration_ms", 1.0)

    def read(raw: pl.Expr) -> f.Columns:
        return {name: pl.when(ms > 0).then(ms) for name, ms in field.careful(raw).items()}

    return f.Field(read, read, accept_careful=field.accept_careful)


_FIELDS = {
    "timestamp": f.epoch_time("start", 1e3),
    "remote-address": f.token("client_ip"),
    "api": f.text("api_id"),
    "api-name": f.text("service"),
    "application": f.text("application_id"),
    "user": f.text("user_name"),
    "uri": f.url(),
    "mapped-path": f.text("gateway_route"),
    "method": f.token("method"),
    "status": f.status(),
    "endpoint": f.text("upstream_address"),
    "error-key": f.text("response_flags"),
    "user-agent": f.text("user_agent"),
    "host": f.host(),
    "request-content-length": f.integer("request_body_bytes"),
    "response-content-length": f.integer("response_bytes"),
    "api-response-time": _upstream(),
    "response-time": f.duration("duration_ms", 1.0),
    "latency": f.duration("gateway_duration_ms", 1.0),
    "request": f.token("request_id"),
}
_NUMBERS = (
    "timestamp",
    "status",
    "request-content-length",
    "response-content-length",
    "api-response-time",
    "response-time",
    "latency",
)


def _layout(*, organization: bool, entrypoint: bool) -> CsvLayout:
    """organization: as newer versions write it, with organization and environment. entrypoint: of a v4 API."""
    names = (
        "transaction request timestamp remote-address local-address api api-name"
        f"{' organization environment' if organization else ''} application plan subscription user tenant uri path mapped-path method"
        f" status{' entrypoint' if entrypoint else ''} endpoint error-key message user-agent host request-content-length"
        " response-content-length api-response-time response-time latency security-type security-token"
    ).split()
    quoted, number = (r'"[^"]*(?:""[^"]*)*"', "a text in quotes"), (r"-?\d+", "a number")
    forms = {name: number if name in _NUMBERS else quoted for name in names}
    fields = {name: _FIELDS.get(name) or f.attribute(name) for name in names}
    return CsvLayout("gravitee_csv", None, ";", fields, forms, "custom", ("", "-1"))


LAYOUTS = [_layout(organization=new, entrypoint=v4) for new in (True, False) for v4 in (False, True)]

FORMAT = fixed(
    "gravitee_csv",
    "Gravitee file reporter, CSV, v2 and v4 APIs",
    '"9f2c";"9f2c";1773064800125;"203.0.113.7";"10.0.0.1";"api-1";"Shop";"org-1";"env-1";"app-1";"plan-1";"sub-1";"mia";"";'
    '"/v1/carts";"";"";"GET";200;"http://10.0.4.11:8080";"";"";"curl/8.5";"api.example";0;302;42;40;2;"API_KEY";"api-1";"eu-1"',
    lambda options: LAYOUTS,
)
