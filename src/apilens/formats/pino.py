"""pino, the logger of Node's services and gateways: the object that pino-http (Express, NestJS) and hapi-pino write per call.

Fastify's own request log is none of it: it parts a call into two records, of which only the first says what was called.
Source: pino-std-serializers (req, res); pino-http, "responseTime" in milliseconds.
"""

from __future__ import annotations

from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.json_layout import JsonLayout


def _method() -> f.Field:
    """A method; hapi has it in lower case."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"method": raw.str.to_uppercase()}

    return f.Field(read, read)


def _request_id() -> f.Field:
    """An id of the request. pino-http counts unless told otherwise, from 1 in each process: that tells no request."""

    def read(raw: pl.Expr) -> f.Columns:
        counted = raw.str.contains(r"^\d{1,15}$")
        return {"request_id": pl.when(~counted).then(raw), "attributes.req.id": pl.when(counted).then(raw)}

    return f.Field(read, read, rank=1)


@cache
def layout(tz: str = "UTC") -> JsonLayout:
    """tz: zone of times that name none."""
    return JsonLayout(
        "pino_json",
        {
            "$.time": f.written_time("end", tz),
            "$.responseTime": f.duration("duration_ms", 1.0),
            "$.req.method": _method(),
            "$.req.url": f.url(),
            "$.req.id": _request_id(),
            "$.req.remoteAddress": f.text("client_ip"),
            "$.req.remotePort": f.integer("client_port", pl.Int32),
            "$.req.headers.host": f.host(),
            '$.req.headers."user-agent"': f.text("user_agent"),
            "$.req.headers.referer": f.text("referrer"),
            '$.req.headers."x-forwarded-for"': f.text("forwarded_for"),
            '$.req.headers."x-request-id"': f.token("request_id"),
            "$.res.statusCode": f.status(),
            '$.res.headers."content-length"': f.size("response_body_bytes"),
            "$.hostname": f.text("node"),
        },
        signs=(
            "$.req.method",
            "$.req.url",
            "$.responseTime",
        ),  # a call that its client gave up has a null as its status
        # The service's own messages, on the same stream.
        filtered="{$.level} IS NOT NULL AND {$.time} IS NOT NULL AND {$.responseTime} IS NULL AND {$.req.url} IS NULL",
        dropped=(
            "$.req.headers.authorization",
            "$.req.headers.cookie",
            '$.res.headers."set-cookie"',
            "$.req.query",  # what the URL has already
            "$.err.stack",
        ),
    )


FORMAT = fixed(
    "pino_json",
    "pino-http and hapi-pino (Node), one object per call",
    '{"level":30,"time":1773064800125,"req":{"method":"GET","url":"/v1/carts"},"res":{"statusCode":200},"responseTime":42}',
    lambda options: [layout(options.tz)],
)
