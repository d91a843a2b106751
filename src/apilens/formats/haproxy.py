"""HAProxy: `option httplog`, httpslog, clf and tcplog, and any log-format. Its times have no zone; most are whole milliseconds."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import polars as pl

from apilens.formats import fields as f
from apilens.formats.format import known_or_pasted
from apilens.formats.layout import TextLayout, Variable
from apilens.formats.template import check_time, parts

_CONNECTION = "%ci:%cp [%tr] %ft %b/%s"
_COUNTS = "%ac/%fc/%bc/%sc/%rc %sq/%bq"
HTTP = f"{_CONNECTION} %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc {_COUNTS} %hr %hs %{{+Q}}r"
_TLS_ERRORS = ("fc_err", "ssl_fc_err,hex", "ssl_c_err", "ssl_c_ca_err", "ssl_fc_is_resumed")
_TLS = f" {'/'.join(f'%[{name}]' for name in _TLS_ERRORS)} %[ssl_fc_sni]/%sslv/%sslc"
TCP = f"%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts {_COUNTS}"
CLF = (
    '%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc '
    "%ac %fc %bc %sc %rc %sq %bq %CC %CS"
)

#: With both blocks of captured headers, with one, with none.
_HTTP = (HTTP, HTTP.replace(" %hs", ""), HTTP.replace(" %hr %hs", ""))
#: Lines are cut at 1,024 bytes: inside the request line, or inside the headers before it.
_CUT = (*(layout.replace("%{+Q}r", '"%{cut}r') for layout in _HTTP), HTTP.replace("%hr %hs %{+Q}r", "%{cut}hr"))
#: Layouts tried when no log-format is given, narrow before wide.
KNOWN = (
    *(layout + _TLS for layout in _HTTP),
    *_HTTP,
    *(layout.replace("%TR/", "%[capture.req.hdr(0)] %TR/") for layout in _HTTP),
    *_CUT,
    TCP,
    *(f"haproxy[%pid]: {layout}" for layout in (*_HTTP, *_CUT, TCP)),
    f"{CLF} %{{all}}hrl",
    CLF,
)
#: What `option NAME` of haproxy.cfg stands for.
OPTIONS = {
    "httpslog": tuple(layout + _TLS for layout in _HTTP),
    "httplog": (*_HTTP, *_CUT),
    "tcplog": (TCP,),
    "httplog clf": (f"{CLF} %{{all}}hrl", CLF),
}

#: Messages of the proxy itself between its calls: they are no calls.
_MESSAGES = (
    r"^(?:\[(?:NOTICE|WARNING|ALERT)\] |(?:Proxy|Server|Backup Server|Health check|Connect from|Stopping|Pausing|Loading|New worker|"
    r"backend|Enabling|Disabling) |\S+:\d+ \[[^\]]+\] [^ /]+/\S+: )"
)


def _local_time(tz: str) -> f.Field:
    """09/Mar/2026:14:00:00.125 in the proxy's zone."""

    def read(raw: pl.Expr) -> f.Columns:
        local = raw.str.to_datetime("%d/%b/%Y:%H:%M:%S%.f", time_unit="us", strict=False, cache=True)
        placed = local.dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null")
        return {"timestamp": placed.dt.convert_time_zone("UTC")}

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return columns["timestamp"].is_not_null()

    return f.Field(
        read,
        read,
        accept=accept,
        accept_careful=accept,
        pattern=r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d(?:\.\d+)?",
        mandatory=True,
        timestamp_kind="start",
    )


def _frontend() -> f.Field:
    """`shop~`: the tilde says that the client spoke TLS."""

    def read(raw: pl.Expr) -> f.Columns:
        return {
            "attributes.frontend": raw.str.strip_suffix("~"),
            "scheme": pl.when(raw.str.ends_with("~")).then(pl.lit("https")),
        }

    return f.Field(read, read)


def _named(column: str) -> f.Field:
    """A name or an address; `<NOSRV>` and the like mean that there was none, `unix` that it was a socket."""

    def read(raw: pl.Expr) -> f.Columns:
        return {column: pl.when(~(raw.str.starts_with("<") | (raw == "unix"))).then(raw)}

    return f.Field(read, read)


def _of_request(field: f.Field) -> f.Field:
    """A part of the request; `<BADREQ>` stands for every part of what was none."""

    def read(raw: pl.Expr) -> f.Columns:
        none = raw == "<BADREQ>"
        return field.careful(pl.when(~none).then(raw)) | {
            "parse_status": pl.when(none).then(pl.lit("malformed_request"))
        }

    return replace(field, quick=read, careful=read)


def _query() -> f.Field:
    """A query, which is logged with its question mark."""

    def read(raw: pl.Expr) -> f.Columns:
        bare = raw.str.strip_prefix("?")
        return {"query": pl.when(bare != "").then(bare)}

    return f.Field(read, read, pattern=r"\S*", rank=1, escaped=True, opens="?")


def _count(name: str) -> f.Field:
    """A whole number without a column of its own."""

    def accept(raw: pl.Expr, columns: f.Columns) -> pl.Expr:
        return raw.is_null() | raw.cast(pl.Int64, strict=False).is_not_null()

    return replace(f.attribute(name), accept=accept, accept_careful=accept, pattern=r"-?\d+")


def _captured(name: str, *, cut: bool = False) -> f.Field:
    """{a|b}: headers that the configuration captures, in its order. cut: the line ends before it does."""

    def read(raw: pl.Expr) -> f.Columns:
        inside = raw.str.strip_prefix("{").str.strip_suffix("}")
        columns = {f"attributes.{name}": pl.when(inside.str.contains("[^|]")).then(inside)}
        return columns | ({"parse_status": pl.lit("partial")} if cut else {})

    form = r"\{[^{}\"]*" if cut else r"\{[^{}\"]*\}"
    return replace(f.strictly(f.Field(read, read, escaped=True), form), pattern=form)


def _cut_request() -> f.Field:
    """The beginning of a request line: the line ends before it does."""
    whole = f.request_line()

    def read(raw: pl.Expr) -> f.Columns:
        version = r" HTTP/(\d(?:\.\d)?)$"
        begun = raw.str.replace(r"(?:^| )(?:H|HT|HTT|HTTP|HTTP/\d?\.?\d?)?$", "")
        return whole.careful(begun + " HTTP/1.1") | {
            "http_version": raw.str.extract(version).replace({"2.0": "2", "3.0": "3"}),
            "request_line": raw,
            "parse_status": pl.lit("partial"),
        }

    return f.Field(read, read, pattern='[^"]*', escaped=True)


#: Captured headers of the clf layout, each in quotes; none where nothing is captured.
_LIST = '(?:"[^"]*" ?)*'


@cache
def _fields(tz: str) -> dict[str, f.Field]:
    """Variable -> the field it is; tz: zone of the proxy's times."""
    return {
        "ci:%cp": f.address("client_ip", "client_port"),
        "ci": _named("client_ip"),
        "cp": f.integer("client_port", pl.Int32),
        "t": _local_time(tz),
        "tr": _local_time(tz),
        "T": f.clf_time("start"),
        "trg": f.clf_time("start"),
        "trl": f.clf_time("start"),
        "Tl": f.clf_time("start"),
        "Ts": f.epoch_time("start", 1e6, rank=4),
        "ms": f.integer("_milliseconds"),
        "f": f.attribute("frontend", r"\S+"),
        "ft": _frontend(),
        "b": _named("upstream_name"),
        "s": _named("upstream_address"),
        "si": f.attribute("server_ip", r"\S+"),
        "sp": f.attribute("server_port", r"\S+"),
        "TR": _count("request_ms"),
        "Tq": _count("request_ms"),
        "Tw": _count("queue_ms"),
        "Th": _count("handshake_ms"),
        "Ti": _count("idle_ms"),
        "Td": _count("data_ms"),
        "Tc": f.duration("upstream_connect_ms", 1.0),
        "Tr": f.duration("upstream_header_ms", 1.0),
        "Ta": f.duration("duration_ms", 1.0),
        "Tt": f.duration("duration_ms", 1.0, rank=1),
        "Tu": f.duration("duration_ms", 1.0, rank=2),
        "ST": f.status(),
        "B": f.integer("response_bytes"),
        "U": f.integer("request_bytes"),
        "CC": f.attribute("captured_request_cookie", r"\S+"),
        "CS": f.attribute("captured_response_cookie", r"\S+"),
        "ts": f.token("response_flags"),
        "tsc": f.token("response_flags"),
        "ac": _count("active_connections"),
        "fc": _count("frontend_connections"),
        "bc": _count("backend_connections"),
        "sc": _count("server_connections"),
        "rc": f.kept(f.integer("_retries", pl.Int16), "retries"),
        "sq": _count("server_queue"),
        "bq": _count("backend_queue"),
        "hr": _captured("captured_request_headers"),
        "hs": _captured("captured_response_headers"),
        "r": f.request_line(),
        "{cut}r": _cut_request(),
        "{cut}hr": _captured("captured_request_headers", cut=True),
        "hrl": f.text("attributes.captured_request_headers", pattern=_LIST),
        "hsl": f.text("attributes.captured_response_headers", pattern=_LIST),
        "{all}hrl": f.text("attributes.captured_headers", pattern=_LIST),
        "pid": f.attribute("pid", r"\d+"),
        "[src]": f.token("client_ip", rank=1),
        "[src_port]": f.integer("client_port", pl.Int32),
        "[capture.req.method]": _of_request(f.token("method")),
        "[capture.req.uri]": _of_request(f.url()),
        "[capture.req.ver]": _of_request(f.http_version()),
        "[req.hdr(host)]": f.host(),
        "[req.hdr(user-agent)]": f.text("user_agent"),
        "[req.hdr(referer)]": f.text("referrer"),
        "[req.hdr(x-forwarded-for)]": f.text("forwarded_for"),
        "[req.hdr(x-request-id)]": f.token("request_id", rank=1),
        **{
            f"[req.hdr({header})]": f.kept_if_outranked(field, f"req.hdr({header})")
            for header, field in f.CALLERS.items()
        },
        "[ssl_c_s_dn]": f.kept_if_outranked(f.CERTIFICATE["subject"], "ssl_c_s_dn"),
        "[unique-id]": f.token("request_id"),
        "[capture.req.hdr(0)]": f.strictly(f.attribute("captured_request_headers"), r"[\w.:-]+"),
        "[ssl_fc_sni]": f.attribute("ssl_fc_sni", r"\S+"),
        **{f"[{name}]": f.attribute(name.split(",")[0], r"\S+") for name in _TLS_ERRORS},
        "HM": _of_request(f.token("method")),
        "HU": _of_request(f.url()),
        "HP": _of_request(f.path(rank=1)),
        "HPO": _of_request(f.path(rank=2)),
        "HQ": _of_request(_query()),
        "HV": _of_request(f.http_version()),
        "ID": f.token("request_id"),
        "H": f.token("node"),
        "sslv": f.token("tls_version"),
        "sslc": f.attribute("tls_cipher", r"\S+"),
    }


_VARIABLE = re.compile(r"%(ci:%cp)|%(?:%|(?:\{([^}]*)\})?(\[[^\]]*\]|o(?![A-Za-z]) ?|[A-Za-z]+))")
_DIRECTIVE = re.compile(r"^\s*log-format\s+(.*?)\s*$", re.DOTALL)
#: The converter that escapes a value for a JSON string, at the end of an expression.
_FOR_JSON = re.compile(r",\s*json(?:\([^)]*\))?\s*(?=\]$)")
#: What the flag +Q does not quote: numbers, times, and lists, whose members it quotes.
_NUMBERS = {"cp", "fp", "sp", "bp", "ST", "B", "U", "ms", "pid", "rc", "ac", "fc", "bc", "sc", "sq", "bq", "lc", "rt", "hrl", "hsl", "ts", "tsc"} | {
    "t", "tr", "T", "Tl", "trg", "trl", "Ts", "TR", "Tq", "Tw", "Th", "Ti", "Td", "Tc", "Tr", "Ta", "Tt", "Tu"
}  # fmt: skip


def _header(expression: str) -> str:
    """`[req.fhdr(User-Agent)]`, the whole of a header, as the fields know it."""
    return expression.lower().replace("req.fhdr(", "req.hdr(")


@cache
def layout(log_format: str, tz: str = "UTC") -> TextLayout:
    """The layout of a log-format: its value, or the whole directive as it stands in haproxy.cfg. tz: the proxy's zone.

    Raises UsageError when it holds no time.
    """
    text = directive[1] if (directive := _DIRECTIVE.match(log_format)) else log_format
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" and "%{+Q}o" not in text[:8]:
        text = text[1:-1]
    text = text.replace('\\"', '"').replace("\\ ", " ").replace("\\[", "[").replace("\\]", "]")
    fields = _fields(tz)
    quoting = False

    def named(match: re.Match[str]) -> tuple[str | Variable, ...]:
        nonlocal quoting
        flags, name = match[2] or "", match[1] or match[3]
        if name is None:
            return ("%",)
        for_json = False
        if name[0] == "[" and (bare := _FOR_JSON.sub("", name)) != name:
            name, for_json = bare, True
        quoted = ("+Q" in flags or (quoting and "-Q" not in flags)) and name not in _NUMBERS
        if name.strip() == "o":  # sets the flags of those behind it
            quoting = "+Q" in flags or (quoting and "-Q" not in flags)
            return ()
        key = f"{{{flags}}}{name}" if flags in ("cut", "all") else name
        field = fields.get(key) or fields.get(_header(key)) or f.attribute(name.strip("[]").split(",")[0])
        if quoted and name == "[capture.req.hdr(0)]":
            field = f.attribute("captured_request_headers")  # without quotes it is told by its form
        if for_json:
            field = replace(field, escape="json", escaped=True)
        variable = Variable(f"%{key}", field)
        return ('"', variable, '"') if quoted else (variable,)

    found = parts(text.strip(), _VARIABLE, named)
    check_time(found, text, "%tr, %t, %trg, %T or %Ts")
    names = {part.name for part in found if isinstance(part, Variable)}
    derived = []
    if "%rc" in names:
        derived.append((pl.col("_retries") + 1).alias("upstream_attempts"))
    if "%ms" in names:  # the fraction of a second that %trg and %T lack
        derived.append(pl.col("timestamp") + pl.duration(milliseconds=pl.col("_milliseconds")))
    return TextLayout(
        "haproxy_http",
        text,
        found,
        "hash",
        filtered=_MESSAGES,
        nulls=("-", "", "-1"),
        derived=tuple(derived),
    )


def _variants(text: str) -> list[str]:
    """A log-format, and what is written by it for a request of which no header was captured, as of one that is none: at the end
    of a line the blank before them stays."""
    at_end = re.sub(r" %h[rs](?: %hs)?$", " %{all}hrl", text)
    return list(dict.fromkeys((text, re.sub(r" %h[rs](?![a-z])|%h[rs](?![a-z]) ", "", at_end))))


FORMAT = known_or_pasted(
    "haproxy_http",
    "HAProxy: httplog, httpslog, clf, tcplog and any log-format given with --log-format",
    '203.0.113.7:42514 [09/Mar/2026:14:00:00.125] shop~ api/api1 0/0/1/40/42 200 512 - - ---- 2/2/0/0/0 0/0 "GET /v1/carts HTTP/1.1"',
    KNOWN,
    re.compile(r"%(?:\{[+-][QEX]|\[|(?:ci|cp|tr|trg|ft|ST|TR|Ta|Tw|Tq|HM|HU|HPO?|HQ|HV|hr|hs|sslv)(?![A-Za-z]))"),
    layout,
    _variants,
)
