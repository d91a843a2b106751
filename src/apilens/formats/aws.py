"""AWS load balancers: access logs of Application Load Balancers and of classic ones."""

from __future__ import annotations

import re
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import fixed
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import parts

_COMMON = (
    "{client:port} {target:port} {request_processing_time} {target_processing_time} {response_processing_time} "
    '{elb_status_code} {target_status_code} {received_bytes} {sent_bytes} "{request}" "{user_agent}"'
)
_ALB = f'{{type}} {{time}} {{elb}} {_COMMON} {{ssl_cipher}} {{ssl_protocol}} {{target_group_arn}} "{{trace_id}}"'
#: What AWS has added behind the trace id over the years, in order. Whatever comes next is kept under its number.
_TAIL = (
    "domain_name", "chosen_cert_arn", "matched_rule_priority", "request_creation_time", "actions_executed",
    "redirect_url", "error_reason", "target:port_list", "target_status_code_list", "classification",
    "classification_reason", "conn_trace_id", "transformed_host", "transformed_uri", "request_transform_status",
)  # fmt: skip
_BARE = {"matched_rule_priority", "request_creation_time", "conn_trace_id"}
_CELLS = [f"{{{name}}}" if name in _BARE else f'"{{{name}}}"' for name in _TAIL]

#: Layouts of the load balancers of today; then a wide one, which takes a tail of any length, in quotes or without.
ALB = (
    *(" ".join([_ALB, *_CELLS[:length]]) for length in (len(_TAIL), 12, 11)),
    f"{_ALB}{{tail}}",
)
#: Since 2015 with the user agent and the cipher.
CLASSIC = (
    f"{{time}} {{elb}} {_COMMON} {{ssl_cipher}} {{ssl_protocol}}",
    f"{{time}} {{elb}} {_COMMON}".replace(' "{user_agent}"', ""),
)

_SCHEMES = {"http": "http", "https": "https", "h2": "https", "ws": "ws", "wss": "wss", "grpc": "grpc", "grpcs": "grpc"}
_ABSOLUTE = r"^[A-Z]+ [a-z]+://[^/?# ]+/[^?# ]*(?:\?[^# ]*)? HTTP/(?:1\.1|2\.0|1\.0)$"


def _type() -> f.Field:
    def read(raw: pl.Expr) -> f.Columns:
        return {"attributes.type": raw, "scheme": raw.replace_strict(_SCHEMES, default=None, return_dtype=pl.String)}

    return f.Field(read, read, pattern="(?:https?|h2|grpcs?|wss?)")


def _authority(raw: pl.Expr) -> f.Columns:
    """Host and port out of a URL's authority; AWS always writes the port."""
    return f.address("host", "server_port").quick(raw)


def _request() -> f.Field:
    """`GET https://shop.example:443/v1/carts HTTP/2.0`; `- http://…:80- -` and `- - - ` stand for what was no HTTP."""
    whole = f.request_line(blanks=True)  # a balancer calls them SpaceInUri and Acceptable

    def prepare(raw: pl.Expr) -> pl.Expr:
        # Method and scheme, nothing, authority, the rest: a regex with groups takes far longer.
        return raw.str.splitn("/", 4)

    def quick(parts: pl.Expr) -> f.Columns:
        begin = parts.struct.field("field_0").str.splitn(" ", 2).struct
        authority = parts.struct.field("field_2")
        end = parts.struct.field("field_3").str.splitn(" ", 2).struct
        target = end.field("field_0").str.splitn("?", 2).struct
        return {
            "method": begin.field("field_0"),
            "url": pl.concat_str(begin.field("field_1"), pl.lit("//"), authority, pl.lit("/"), end.field("field_0")),
            "path": "/" + target.field("field_0"),
            "query": target.field("field_1"),
            "http_version": end.field("field_1").str.strip_prefix("HTTP/").replace({"2.0": "2"}),
            "request_line": pl.lit(f.REBUILT),
            **_authority(authority),
        }

    def careful(raw: pl.Expr) -> f.Columns:
        return whole.careful(raw) | _authority(raw.str.extract(r"^[A-Z]+ [a-z]+://([^/?# ]+:\d+)"))

    return f.Field(
        quick, careful, prepare, lambda raw, columns: raw.str.contains(_ABSOLUTE), pattern=".*?", escaped=True
    )


def _target_status() -> f.Field:
    """0 and - where no target was reached."""

    def read(raw: pl.Expr) -> f.Columns:
        return {"upstream_status_code": pl.when(raw != "0").then(raw)}

    return f.Field(read, read, pattern=r"\d{1,3}|-")


def _span(name: str, column: str) -> f.Field:
    """Seconds; -1 where the part was never reached."""
    return f.kept(f.duration(column, 1e3), name)


def _moment(column: str) -> f.Field:
    """A second time beside that of the record."""

    def read(raw: pl.Expr) -> f.Columns:
        return {column: f.iso_time("start").careful(raw)["timestamp"]}

    def quick(raw: pl.Expr) -> f.Columns:
        return {column: f.utc_time("start").quick(raw)["timestamp"]}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | columns[column].is_not_null()

    return f.Field(quick, read, None, accept)


def _tail() -> f.Field:
    """All that stands behind the trace id, each value in quotes or not."""
    value = r'(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^ "]+))'
    pattern = ""
    for _ in _TAIL:
        pattern = f"(?: {value}{pattern}" + ")?"
    # One more group for what AWS may add.
    pattern = f"^{pattern}(.*)$"

    def read(raw: pl.Expr) -> f.Columns:
        found = raw.str.extract_groups(pattern).struct
        columns: f.Columns = {}
        for i, name in enumerate(_TAIL):
            cell = pl.coalesce(found.field(str(2 * i + 1)), found.field(str(2 * i + 2)))
            cell = pl.when(~cell.is_in(["-", ""])).then(cell)
            columns |= _FIELDS[name].careful(cell)
        more = found.field(str(2 * len(_TAIL) + 1)).str.strip_chars()
        columns["attributes.more"] = pl.when(more != "").then(more)
        return columns

    return f.Field(read, read, pattern="(?: .*)?")


_FIELDS: dict[str, f.Field] = {
    "type": _type(),
    "elb": f.attribute("elb", r"\S+"),
    "client:port": f.address("client_ip", "client_port"),
    "target:port": f.token("upstream_address"),
    "request_processing_time": _span("request_processing_time", "_request_ms"),
    "target_processing_time": f.duration("upstream_duration_ms", 1e3),
    "response_processing_time": _span("response_processing_time", "_response_ms"),
    "elb_status_code": f.status(),
    "target_status_code": _target_status(),
    "request": _request(),
    "user_agent": f.text("user_agent"),
    "ssl_cipher": f.attribute("ssl_cipher", r"\S+"),
    "ssl_protocol": f.token("tls_version"),
    "target_group_arn": f.token("upstream_name"),
    "trace_id": f.kept(f.xray_trace(), "trace_id"),
    "domain_name": f.text("host", rank=-1),
    "matched_rule_priority": f.token("gateway_route"),
    "request_creation_time": f.kept(_moment("_created"), "request_creation_time"),
    "error_reason": f.text("response_flags"),
}
_FIELDS |= {name: f.attribute(name) for name in _TAIL if name not in _FIELDS}
_FIELDS["conn_trace_id"] = f.attribute("conn_trace_id", r"[^ \"]+")
_FIELDS["tail"] = _tail()
_SIZES = {
    # With headers at the one, without at the other.
    "aws_alb": {"received_bytes": f.integer("request_bytes"), "sent_bytes": f.integer("response_bytes")},
    "aws_classic_elb": {
        "received_bytes": f.integer("request_body_bytes"),
        "sent_bytes": f.integer("response_body_bytes"),
    },
}

_VARIABLE = re.compile(r"\{([a-z_:]+)\}")


@cache
def layout(text: str, gateway: str) -> TextLayout:
    """A layout whose variables are AWS's names of the fields."""
    alb = gateway == "aws_alb"
    fields = _FIELDS | _SIZES[gateway] | {"time": f.utc_time("end" if alb else "start")}
    found = parts(text, _VARIABLE, lambda match: (Variable(match[1], fields[match[1]]),))
    total = pl.col("_request_ms") + pl.col("upstream_duration_ms") + pl.col("_response_ms")
    if alb and ("request_creation_time" in text or "{tail}" in text):
        waited = (pl.col("timestamp") - pl.col("_created")).dt.total_microseconds() / 1e3
        total = pl.coalesce(total, pl.when(waited.is_between(0, f.LONGEST_MS, closed="left")).then(waited))
    return TextLayout(gateway, text, found, "apache", derived=(total.round(6).alias("duration_ms"),))


ALB_FORMAT = fixed(
    "aws_alb",
    "AWS Application Load Balancer, of all years",
    'https 2026-03-09T14:00:00.125041Z app/shop/50dc6c495c0c9188 203.0.113.7:42514 10.0.4.11:8080 0.001 0.040 0.001 200 200 301 512 "GET https://shop.example:443/v1/carts HTTP/2.0" "curl/8.5" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/73e2d6bc24d8a067 "Root=1-69aed4e0-36d228ad5d99923122bbe354" "shop.example" "-" 1 2026-03-09T14:00:00.083000Z "forward" "-" "-" "10.0.4.11:8080" "200" "-" "-" TID_dc57cebed65b444ebc8177bb698fe166',
    lambda options: [layout(text, "aws_alb") for text in ALB],
)
CLASSIC_FORMAT = fixed(
    "aws_classic_elb",
    "AWS Classic Load Balancer",
    '2026-03-09T14:00:00.125041Z shop 203.0.113.7:42514 10.0.4.11:8080 0.00004 0.0402 0.00003 200 200 0 512 "GET http://shop.example:80/v1/carts HTTP/1.1" "curl/8.5" - -',
    lambda options: [layout(text, "aws_classic_elb") for text in CLASSIC],
)
