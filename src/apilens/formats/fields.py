"""What one logged value becomes: the columns it fills, and when it cannot be meant.

A Field turns the raw text of a variable (null where the gateway wrote its null marker) into typed columns. It reads in two
manners: `quick`, for the plain value that nearly every line has, and `careful`, for escapes, lists and garbage. A row that
quick reading does not accept is read again carefully; only what careful reading refuses is a reject.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from apilens.formats.attributes import gather_attributes
from apilens.formats.block import REJECTED, Parsed
from apilens.formats.escapes import Escape, unescape
from apilens.schema import TIMESTAMP

Columns = dict[str, pl.Expr]
Read = Callable[[pl.Expr], Columns]
Accept = Callable[[pl.Expr, Columns], pl.Expr]


@dataclass(frozen=True)
class Field:
    """One kind of logged value.

    pattern: regex (no groups) of the raw value including null markers, for careful reading in an unquoted place.
    prepare: raw text -> what `quick` is given instead, worked out once (Polars would repeat it per column).
    quick, careful: raw text -> columns. accept: (raw text, columns) -> whether the value could be read quickly; null is no.
    accept_careful: the same for careful reading; the line is a reject where it does not hold.
    rank: where two variables fill one column, the lower rank wins; null falls to the next.
    """

    quick: Read
    careful: Read
    prepare: Callable[[pl.Expr], pl.Expr] | None = None
    accept: Accept | None = None
    accept_careful: Accept | None = None
    pattern: str = r"\S+"
    rank: int = 0
    escaped: bool = False  # the gateway escapes this value
    mandatory: bool = False  # a null value makes the line a reject
    timestamp_kind: str | None = None
    percent: tuple[str, ...] = ()  # columns that are percent-encoded text
    expected: str = ""  # what it accepts, in words, for the reason of a reject

    @property
    def blankless(self) -> bool:
        """Whether its value never holds a blank."""
        return self.pattern in (r"\S+", r"\S*")

    @property
    def has_blanks(self) -> bool:
        """Whether its value may be any text."""
        return self.pattern == _UNQUOTED


def _filled(column: str) -> Accept:
    """The column is null only where the raw value is."""
    return lambda raw, columns: columns[column].is_not_null() | raw.is_null()


#: A value that may hold blanks, in an unquoted place. A quote in it would mean that the layout is another one.
_UNQUOTED = r'(?:[^"]*?|"")'


def text(column: str, *, rank: int = 0, pattern: str = _UNQUOTED) -> Field:
    """A string as logged; rank as in Field."""
    return Field(lambda raw: {column: raw}, lambda raw: {column: raw}, pattern=pattern, rank=rank, escaped=True)


def token(column: str, *, rank: int = 0) -> Field:
    """A string without blanks; it may be empty."""
    return text(column, rank=rank, pattern=r"\S*")


#: Host and port; an IPv6 address may stand in brackets or (HAProxy, AWS) without them: the last colon parts them.
_ADDRESS = r"^\[?([^\[\]]*?)\]?:(\d+)$"


def address(ip: str, port: str, *, rank: int = 0) -> Field:
    """An address with its port, in two columns; `-` for one of them reads as null. rank as in Field."""

    def quick(raw: pl.Expr) -> Columns:
        # Digits taken off the end: a regex with groups takes five times as long.
        before = raw.str.strip_chars_end("0123456789")
        host = before.str.strip_suffix(":").str.strip_chars("[]")
        known = ~host.is_in(["-", "", "unix"])
        return {
            ip: pl.when(known).then(host),
            port: pl.when(host != "unix").then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False),
        }

    def careful(raw: pl.Expr) -> Columns:
        whole = raw.str.contains(_ADDRESS)
        columns = {column: pl.when(whole).then(value) for column, value in quick(raw).items()}
        # A pipe or an unknown port: then all of it is the address.
        alone = pl.when(~raw.str.contains(r"^unix:|:(?:\d+|-)?$")).then(raw.str.strip_chars("[]"))
        return columns | {ip: pl.coalesce(columns[ip], alone)}

    return Field(quick, careful, accept=lambda raw, columns: raw.is_null() | raw.str.contains(_ADDRESS), rank=rank)


def kept(field: Field, name: str) -> Field:
    """The same, and the raw value in `attributes` as well, for a field of which a column holds only a part."""
    return replace(
        field,
        quick=lambda raw: {**field.quick(field.prepare(raw) if field.prepare else raw), f"attributes.{name}": raw},
        careful=lambda raw: {**field.careful(raw), f"attributes.{name}": raw},
        prepare=None,
    )


def xray_trace(*, rank: int = 0) -> Field:
    """AWS X-Ray's Root=1-69aed4e0-36d228ad5d99923122bbe354 (Self=… before it): its two numbers are OpenTelemetry's id."""

    def read(raw: pl.Expr) -> Columns:
        parts = raw.str.extract_groups("(?:^|Root=)1-([0-9a-f]{8})-([0-9a-f]{24})").struct
        return {"trace_id": pl.coalesce(parts.field("1") + parts.field("2"), raw)}

    return Field(read, read, pattern=r"\S+", rank=rank)


_IP = r"^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$"
#: RFC 1918, RFC 6598, loopback, link-local, unique local
_PRIVATE = r"^(?:10\.|127\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|::1$|f[cd]|fe80)"


#: IPv4; IPv6 with all its groups or `::`, and a zone.
_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"(?:[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*|(?:[0-9A-Fa-f]{1,4}:){6,7}[0-9A-Fa-f.]+)(?:%[\w.-]+)?"
#: A host's name, or what an anonymiser made of an address. It has a letter, so that no date and no time of day is one.
_NAME = r"[\d.-]*(?:[^\W\d]|\*)[\w.*-]*"
_CLIENT = rf"{_IPV4}|{_IPV6}|{_NAME}|unix:"
#: What a Host header may be in a layout that was guessed: it stands where others have an address, a date or a tag.
HOST = rf"(?:{_IPV4}|\[{_IPV6}\]|{_NAME}|[^\s,|\"\d\[\]<{{(:][^\s,|\":]*)(?::\d+)?"


def client(*, rank: int = 0) -> Field:
    """The client's address or host name where the layout was guessed: a tag, a time or a bar in its place is none. A port
    behind it is the client's. rank as in Field."""

    def careful(raw: pl.Expr) -> Columns:
        parts = raw.str.extract_groups(rf"^({_IPV4}|\[{_IPV6}\]):(\d{{1,5}})$").struct
        return {
            "client_ip": pl.coalesce(parts.field("1"), raw).str.strip_chars("[]"),
            "client_port": parts.field("2").cast(pl.Int32, strict=False),
        }

    return Field(
        lambda raw: {"client_ip": raw},
        careful,
        accept=lambda raw, columns: raw.is_null() | raw.str.contains(f"^(?:{_CLIENT})$"),
        pattern=rf"(?:{_CLIENT}|(?:{_IPV4}|\[{_IPV6}\])(?::\d{{1,5}})?|-)",
        rank=rank,
        escaped=True,
        expected="an address or a host name",
    )


def proxied_address() -> Field:
    """A proxy chain in the client's place: the first public address is the client, else the first one; list kept."""

    def read(raw: pl.Expr) -> Columns:
        ips = raw.str.extract_all(r"[^\s,]+").list.eval(pl.element().filter(pl.element().str.contains(_IP)))
        public = ips.list.eval(pl.element().filter(~pl.element().str.contains(_PRIVATE)))
        return {"client_ip": pl.coalesce(public.list.first(), ips.list.first()), "forwarded_for": raw}

    ip = rf"(?:{_IPV4}(?::\d+)?|{_IPV6}|\[{_IPV6}\](?::\d+)?)"
    one = rf"(?:{ip}|{_NAME}|-)"
    form = rf"(?:{one}(?:, ?{one})+|{ip})(?: {ip})*|{_NAME}|-"
    return Field(
        read,
        read,
        accept=lambda raw, columns: raw.is_null() | raw.str.contains(f"^(?:{form})$"),
        pattern=f"(?:{form})",
        escaped=True,
        expected="a list of addresses",
    )


#: A user's name where the layout was guessed: a hyphen or a bar by itself belongs to what another layout has there.
_WORD = r"(?:(?:[^\s\"\\|-]|\\.)(?:[^\s\"\\]|\\.)*|[|-](?:[^\s\"\\]|\\.)+)"
USER = rf"(?: *{_WORD}(?: +{_WORD})* *|\"\"|-)"


def host(*, rank: int = 0) -> Field:
    """A Host header or an authority: `host` without a port and, where it is IPv6, without brackets; `server_port` where it
    is written. rank as in Field.
    """

    def read(raw: pl.Expr) -> Columns:
        return split_authority(raw)

    return Field(read, read, rank=rank, pattern=r"\S*", escaped=True)


def split_authority(raw: pl.Expr) -> Columns:
    """`api.example:8443`, `[2001:db8::1]:8443`, or without a port; an IPv6 address without brackets has none."""
    # Digits taken off the end: a regex with groups takes five times as long.
    before = raw.str.strip_chars_end("0123456789")
    one = raw.str.count_matches(":", literal=True) == 1
    ported = before.str.ends_with(":") & (one | raw.str.starts_with("["))
    name = pl.when(ported).then(before.str.strip_suffix(":")).otherwise(raw)
    port = pl.when(ported).then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False)
    return {"host": name.str.strip_chars("[]"), "server_port": port}


def upstream() -> Field:
    """Where a call was sent: `upstream_address` as host:port as logged, without the scheme and the path of a URL."""

    def read(raw: pl.Expr) -> Columns:
        return {"upstream_address": pl.coalesce(raw.str.extract(r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)"), raw)}

    return Field(read, read, pattern=_UNQUOTED, escaped=True)


def unlisted(field: Field) -> Field:
    """The same, null where the value is a JSON array of strings or an object."""

    def read(raw: pl.Expr) -> Columns:
        return field.careful(pl.when(~raw.str.contains(r'^(?:\["|\{"|\[\]$|\{\}$)')).then(raw))

    return replace(field, quick=read, careful=read)


def port_of_peer(name: str) -> tuple[pl.Expr, pl.Expr]:
    """Derived columns: `_peer_port` is the client's where it is the peer (`_peer_ip`) that called, else the attribute `name`: a
    proxy's port is not that of the client behind it."""
    direct = (pl.col("client_ip") == pl.col("_peer_ip")).fill_null(False)
    return (
        pl.coalesce("client_port", pl.when(direct).then("_peer_port")).alias("client_port"),
        pl.when(~direct).then("_peer_port").alias(f"attributes.{name}"),
    )


def error(name: str, none: str) -> Field:
    """What went wrong, as response_flags; a value that says that nothing did (regex `none`) is the attribute `name`."""

    def read(raw: pl.Expr) -> Columns:
        fine = raw.str.contains(f"^(?:{none})$")
        return {"response_flags": pl.when(~fine).then(raw), f"attributes.{name}": pl.when(fine).then(raw)}

    return Field(read, read, pattern=_UNQUOTED, escaped=True)


#: What CloudFront calls the result of a call that did not fail: where it came from, and who made it.
CLOUDFRONT_FINE = "(?:Refresh|OriginShield)?Hit|Miss|Redirect|[A-Za-z]*GeneratedResponse"


def peer(ip: str = "client_ip", port: str = "client_port", *, rank: int = 0) -> Field:
    """`ip`, `ip:port`, `[ipv6]:port`, `ipv6`; a scheme before it is dropped. rank as in Field."""

    def read(raw: pl.Expr) -> Columns:
        plain = raw.str.replace(r"^[a-z]+://", "")
        parts = plain.str.extract_groups(r"^\[?([^\[\]]*?)\]?(?::(\d{1,5}))?$")
        bare = plain.str.contains(r"^[^\[]*:[^\]]*:[^\]]*$")  # IPv6 without a port, hence without brackets
        return {
            ip: pl.when(bare).then(plain).otherwise(pl.coalesce(parts.struct.field("1"), plain)),
            port: pl.when(~bare).then(parts.struct.field("2").cast(pl.Int32, strict=False)),
        }

    def quick(raw: pl.Expr) -> Columns:
        before = raw.str.strip_chars_end("0123456789")
        ported = before.str.ends_with(":")
        return {
            ip: pl.when(ported).then(before.str.strip_suffix(":")).otherwise(raw),
            port: pl.when(ported).then(raw.str.strip_prefix(before)).cast(pl.Int32, strict=False),
        }

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains(r"^\d+\.\d+\.\d+\.\d+(?::\d{1,5})?$")

    return Field(quick, read, None, accept, rank=rank)


def strictly(field: Field, pattern: str, expected: str = "") -> Field:
    """The same, where only values of this form (expected: in words) fit: the layout is guessed, and another one has something
    else there.

    For careful reading, whose values are unescaped, the pattern says so.
    """

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains(f"^(?:{pattern})$")

    return replace(field, accept=accept, pattern=f"(?:{pattern}|-)", expected=expected or field.expected)


def attribute(name: str, pattern: str = _UNQUOTED) -> Field:
    """A value without a column of its own: kept in `attributes` under its name."""
    return text(f"attributes.{name}", pattern=pattern)


def integer(
    column: str, dtype: type[pl.DataType] = pl.Int64, *, null_is_zero: bool = False, optional: bool = True
) -> Field:
    """A whole number; null_is_zero: the null marker is how this gateway writes 0 (Apache %b). optional: there is a marker."""

    def read(raw: pl.Expr) -> Columns:
        number = raw.cast(dtype, strict=False)
        return {column: pl.when(raw.is_null()).then(0).otherwise(number) if null_is_zero else number}

    def given(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return columns[column].is_not_null()

    accept = _filled(column) if optional else given
    form = r"[-+]?\d+|-" if optional else r"\d+"
    return Field(read, read, None, accept, accept, pattern=form, expected="a whole number")


def size(column: str, *, rank: int = 0) -> Field:
    """A number of bytes or tokens; negative (-1) is how a gateway says that it does not know. rank as in Field."""

    def read(raw: pl.Expr) -> Columns:
        number = raw.cast(pl.Int64, strict=False)
        return {column: pl.when(number >= 0).then(number)}

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.cast(pl.Int64, strict=False).is_not_null()

    return Field(read, read, None, accept, accept, pattern=r"-?\d+|-", rank=rank)


def upstream_status(*, rank: int = 0) -> Field:
    """One upstream's status as text; 0 and negative: it sent none."""

    def read(raw: pl.Expr) -> Columns:
        return {"upstream_status_code": pl.when(~raw.str.contains(r"^(?:0+|-\d+)$")).then(raw)}

    return Field(read, read, rank=rank)


def status(column: str = "status_code") -> Field:
    """An HTTP status, 100..999; 0 and 000 mean that none was sent and read as null."""

    def read(raw: pl.Expr) -> Columns:
        code = raw.cast(pl.Int16, strict=False)
        return {column: pl.when(code.is_between(100, 999)).then(code)}

    def accept_careful(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return columns[column].is_not_null() | raw.is_null() | raw.str.contains("^0+$")

    form = r"-?\d{1,3}|-"
    return Field(read, read, None, _filled(column), accept_careful, pattern=form, expected="a number 100..999")


#: No call takes a year: a longer span is garbage, and a start that far back would be as well.
LONGEST_MS = 3.2e10


def duration(column: str, ms_per_unit: float, *, rank: int = 0, decimals: int | None = None) -> Field:
    """A time span below a year in ms, exact to the ns; negative (Envoy's and Kong's -1) reads as null. rank as in Field.

    decimals: how many the gateway always writes; None: any. They tell nginx's seconds from Apache's microseconds.
    """
    fraction = {None: r"(?:\.\d+)?", 0: ""}.get(decimals, rf"\.\d{{{decimals}}}")
    form = rf"(?:[-+]?\d+{fraction}|-)"

    def read(raw: pl.Expr) -> Columns:
        ms = (raw.cast(pl.Float64, strict=False) * ms_per_unit).round(6)
        return {column: pl.when(ms >= 0).then(ms)}

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return written(raw, columns[column] < LONGEST_MS)

    def accept_careful(raw: pl.Expr, columns: Columns) -> pl.Expr:
        span = raw.cast(pl.Float64, strict=False)
        return written(raw, span.is_finite() & (span < LONGEST_MS / ms_per_unit))

    def written(raw: pl.Expr, readable: pl.Expr) -> pl.Expr:
        return raw.is_null() | (readable if decimals is None else readable & raw.str.contains(f"^{form}$"))

    units = {1e3: "seconds", 1.0: "milliseconds", 1e-3: "microseconds", 1e-6: "nanoseconds"}
    form_in_words = {None: "", 0: "whole "}.get(decimals, f"decimal ({decimals} digits) ")
    expected = f"{form_in_words}{units.get(ms_per_unit, 'a number')} below a year"
    return Field(read, read, None, accept, accept_careful, pattern=form, rank=rank, expected=expected)


_GO_UNITS = {"h": 3.6e6, "m": 6e4, "s": 1e3, "ms": 1.0, "[uµμ]s": 1e-3, "ns": 1e-6}
_GO_SPAN = r"^-?(?:\d+h\d+m|\d+m|)\d+(?:\.\d+)?(?:s|ms|[uµμ]s|ns)$"


def go_duration(column: str, ms_per_unit: float = 1e3, *, rank: int = 0) -> Field:
    """A span as Go and protobuf write it (1m2.5s, 17.5ms, 0.042s), or a plain number of ms_per_unit; else as `duration`."""
    plain = duration(column, ms_per_unit)

    def read(raw: pl.Expr) -> Columns:
        spelled = pl.sum_horizontal(
            (raw.str.extract(rf"(?:^|[hms])(\d+(?:\.\d+)?){unit}(?:\d|$)").cast(pl.Float64) * ms).fill_null(0.0)
            for unit, ms in _GO_UNITS.items()
        )
        told = raw.str.contains(_GO_SPAN) & ~raw.str.starts_with("-")
        return {column: pl.when(told).then(spelled.round(6)).otherwise(plain.careful(raw)[column])}

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        assert plain.accept is not None
        return (raw.str.contains(_GO_SPAN) & (columns[column] < LONGEST_MS).fill_null(True)) | plain.accept(
            raw, columns
        )

    return Field(read, read, None, accept, accept, rank=rank)


#: One value of nginx's $upstream_* lists: "a, b" between servers, "a : b" between groups after an internal redirect.
_LISTED = r"[^\s,]+(?:(?:, | : )[^\s,]+)*"


def _listed(raw: pl.Expr) -> pl.Expr:
    return raw.str.replace_all(" : ", ", ", literal=True).str.split(", ")


def upstream_duration(column: str, ms_per_unit: float, *, total: bool) -> Field:
    """Time spent upstream: the sum over all attempts, or the last attempt's; null where none was contacted."""
    longest = LONGEST_MS / ms_per_unit

    def quick(raw: pl.Expr) -> Columns:
        return {column: (raw.cast(pl.Float64, strict=False) * ms_per_unit).round(6)}

    def careful(raw: pl.Expr) -> Columns:
        tries = _listed(raw).list.eval(pl.element().cast(pl.Float64, strict=False))
        known = tries.list.drop_nulls()
        ms = (known.list.sum() if total else tries.list.last()) * ms_per_unit
        return {column: pl.when(known.list.len() > 0).then(ms.round(6))}

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | columns[column].is_between(0, LONGEST_MS, closed="left")

    def accept_careful(raw: pl.Expr, columns: Columns) -> pl.Expr:
        one = (pl.element() == "-") | pl.element().cast(pl.Float64, strict=False).is_between(0, longest, closed="left")
        return raw.is_null() | _listed(raw).list.eval(one.fill_null(False)).list.all()

    return Field(quick, careful, None, accept, accept_careful, pattern=_LISTED, expected="a number, or a list of them")


def upstream_text(column: str, *, count: bool = False) -> Field:
    """The last attempt's value; the whole list stays in attributes where it has several.

    count: also fill upstream_attempts with the length of the list; null where no upstream was contacted.
    """

    def quick(raw: pl.Expr) -> Columns:
        single = pl.when(~raw.str.contains(", | : ")).then(raw)
        attempts = pl.when(raw.is_not_null()).then(1).cast(pl.Int16)
        return {column: single} | ({"upstream_attempts": attempts} if count else {})

    def careful(raw: pl.Expr) -> Columns:
        tries = _listed(raw)
        last = tries.list.last()
        columns = {
            column: pl.when(last != "-").then(last),
            f"attributes.{column}es" if column.endswith("s") else f"attributes.{column}s": (
                pl.when(tries.list.len() > 1).then(raw)
            ),
        }
        return columns | ({"upstream_attempts": tries.list.len().cast(pl.Int16)} if count else {})

    return Field(quick, careful, None, _filled(column), pattern=_LISTED, escaped=True)


_VERSIONS = {"HTTP/1.1": "1.1", "HTTP/2.0": "2", "HTTP/1.0": "1.0", "HTTP/3.0": "3"}
#: request_line of a call whose line is rebuilt byte for byte from method, url and http_version; see `rebuild`.
REBUILT = ""
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
#: A method is a token (RFC 9110 section 5.6.2); version as in RFC 9112 section 2.3, or its short form.
_REQUEST = r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+|\S.*\S) HTTP/(\d(?:\.\d)?)$"
_REQUEST_09 = r"^([A-Z]+) (\S+)$"


def built_url() -> pl.Expr:
    """The request target that path and query make together."""
    return pl.concat_str(
        "path", pl.when(pl.col("query").is_not_null()).then("?" + pl.col("query")).otherwise(pl.lit(""))
    )


def built_request_line(url: pl.Expr) -> pl.Expr:
    """The request line that method, url and http_version make together; HTTP/2 logs itself as HTTP/2.0."""
    version = pl.col("http_version").replace({"2": "2.0", "3": "3.0"})
    return pl.concat_str("method", pl.lit(" "), url, pl.lit(" HTTP/"), version)


def rebuild(calls: pl.LazyFrame) -> pl.LazyFrame:
    """Calls as schema.CALLS describes them: url and request_line filled in where `compact` left them out."""
    url = pl.coalesce("url", built_url())
    line = pl.when(pl.col("request_line") == REBUILT).then(built_request_line(url)).otherwise("request_line")
    return calls.with_columns(url=url, request_line=line)


def compact(calls: pl.DataFrame) -> pl.DataFrame:
    """Calls without the text that can be rebuilt from other columns: url becomes null, request_line REBUILT."""
    if "url" not in calls.columns or "query" not in calls.columns:
        return calls
    calls = calls.with_columns(url=pl.when(pl.col("url") != built_url()).then("url"))
    if "request_line" not in calls.columns:
        return calls
    same = pl.col("request_line") == built_request_line(pl.coalesce("url", built_url()))
    return calls.with_columns(
        request_line=pl.when(same.fill_null(False)).then(pl.lit(REBUILT)).otherwise("request_line")
    )


def _version(digits: pl.Expr) -> pl.Expr:
    """1.1 and 1.0 as they are, 2.0 as 2, 3.0 as 3."""
    return digits.replace({"2.0": "2", "3.0": "3"})


def http_version() -> Field:
    """$server_protocol, %H: HTTP/1.1."""

    def read(raw: pl.Expr) -> Columns:
        return {"http_version": _version(raw.str.strip_prefix("HTTP/"))}

    return Field(read, read, pattern=r"\S*")


def spoken_version(column: str = "http_version", *, rank: int = 0) -> Field:
    """However a gateway names it: HTTP/2, h2, http/1.1, 2.0.0.0, 1.1."""

    def read(raw: pl.Expr) -> Columns:
        digits = raw.str.extract(r"(?i)^(?:HTTPS?/|h)?(\d(?:\.\d)?)(?:\.0)*$")
        return {column: digits.replace({"2.0": "2", "3.0": "3", "1": "1.0"})}

    return Field(read, read, rank=rank)


def target(url: pl.Expr) -> Columns:
    """url, path and query of a request target; origin, absolute, authority and asterisk form (RFC 9112 section 3.2)."""
    parts = url.str.splitn("?", 2)
    path = parts.struct.field("field_0")
    absolute = path.str.contains(r"^[A-Za-z][A-Za-z0-9+.-]*://")
    inner = path.str.replace(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*", "")
    return {
        "url": url,
        "path": pl.when(absolute).then(pl.when(inner == "").then(pl.lit("/")).otherwise(inner)).otherwise(path),
        "query": parts.struct.field("field_1"),
    }


def url(*, rank: int = 0) -> Field:
    """A request target logged apart from method and version. rank as in Field."""

    def quick(raw: pl.Expr) -> Columns:
        pieces = raw.str.splitn("?", 2)
        return {"url": raw, "path": pieces.struct.field("field_0"), "query": pieces.struct.field("field_1")}

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.starts_with("/")

    return Field(quick, target, None, accept, pattern=r"\S+", escaped=True, rank=rank)


def whole_url(*, rank: int = 0) -> Field:
    """The same where it is absolute: scheme, host and port come out of it too, unless the log names them itself."""

    def read(raw: pl.Expr) -> Columns:
        parts = raw.str.extract_groups(r"^([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@?#]*@)?([^/?#]*)")
        scheme, authority = parts.struct.field("1"), parts.struct.field("2")
        return target(raw) | {"scheme": scheme.str.to_lowercase()} | split_authority(authority)

    def prepare(raw: pl.Expr) -> pl.Expr:
        return pl.struct(url=raw, parts=raw.str.splitn("/", 4))

    def quick(prepared: pl.Expr) -> Columns:
        scheme, authority, rest = (prepared.struct.field("parts").struct.field(f"field_{i}") for i in (0, 2, 3))
        pieces = rest.str.splitn("?", 2)
        return {
            "url": prepared.struct.field("url"),
            "path": "/" + pieces.struct.field("field_0"),
            "query": pieces.struct.field("field_1"),
            "scheme": scheme.str.strip_suffix(":"),
        } | split_authority(authority)

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains("^https?://[^/?#@]+/")

    return Field(quick, read, prepare, accept, pattern=r"\S+", escaped=True, rank=rank)


def path_and_query() -> Field:
    """A path that is logged apart from its query, or with it."""

    def read(raw: pl.Expr) -> Columns:
        return {name: part for name, part in target(raw).items() if name != "url"}

    return Field(read, read, escaped=True)


def request_line(*, blanks: bool = False) -> Field:
    """`METHOD target HTTP/version`; anything else is kept as request_line with parse_status malformed_request.

    blanks: the gateway serves absolute targets that have blanks in them, which RFC 9112 section 3.2 does not know.
    """

    def prepare(raw: pl.Expr) -> pl.Expr:
        return raw.str.splitn(" ", 3).struct.rename_fields(["method", "target", "version"])

    def quick(parts: pl.Expr) -> Columns:
        target = parts.struct.field("target")
        pieces = target.str.splitn("?", 2)
        return {
            "method": parts.struct.field("method"),
            "path": pieces.struct.field("field_0"),
            "query": pieces.struct.field("field_1"),
            "http_version": parts.struct.field("version").replace_strict(
                _VERSIONS, default=None, return_dtype=pl.String
            ),
            "request_line": pl.lit(REBUILT),
        }

    def careful(raw: pl.Expr) -> Columns:
        full = raw.str.extract_groups(_REQUEST)
        old = raw.str.extract_groups(_REQUEST_09)
        # A target with blanks in it is no target (RFC 9112 section 3.2): the line is malformed, its parts a best guess.
        method = pl.coalesce(full.struct.field("1"), old.struct.field("1"))
        where = pl.coalesce(full.struct.field("2"), old.struct.field("2"))
        version = _version(full.struct.field("3"))
        whole = ~where.str.contains(" ", literal=True)
        if blanks:
            whole |= where.str.contains("^[a-z]+://[^/ ]+/") & version.is_not_null()
        good = method.is_not_null() & whole
        return {
            "method": pl.when(good).then(method),
            **{name: pl.when(good).then(part) for name, part in target(where).items()},
            "http_version": pl.when(good).then(pl.coalesce(version, pl.lit("0.9"))),
            "request_line": raw,
            "parse_status": pl.when(good).then(pl.lit("ok")).otherwise(pl.lit("malformed_request")),
        }

    def accept(parts: pl.Expr, columns: Columns) -> pl.Expr:
        known = columns["method"].is_in(_METHODS) & columns["http_version"].is_not_null()
        return known & columns["path"].str.starts_with("/")

    return Field(quick, careful, prepare, accept, pattern=r".*?", escaped=True)


_ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|[+-]\d\d:?\d\d))?"


def clf_time(kind: str) -> Field:
    """02/Mar/2026:00:00:00 +0000, without the brackets; kind: start or end."""

    def read(raw: pl.Expr) -> Columns:
        return {"timestamp": raw.str.to_datetime("%d/%b/%Y:%H:%M:%S %z", time_unit="us", strict=False, cache=True)}

    return Field(
        read, read, accept=_filled("timestamp"), accept_careful=_filled("timestamp"), pattern=r"\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}", rank=2,
        mandatory=True, timestamp_kind=kind, expected="a time like 09/Mar/2026:14:00:00 +0000",
    )  # fmt: skip


def iso_time(kind: str, tz: str = "UTC") -> Field:
    """ISO 8601 with an offset; where it has none, tz is its zone. Times in a DST gap do not exist and are refused."""

    def zoned(raw: pl.Expr) -> pl.Expr:
        return raw.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False, cache=True)

    def quick(raw: pl.Expr) -> Columns:
        return {"timestamp": zoned(raw)}

    def careful(raw: pl.Expr) -> Columns:
        even = raw.str.replace(" ", "T", literal=True).str.replace(",", ".", literal=True).str.replace(r" ?Z$", "+0000")
        local = even.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False, cache=True)
        placed = local.dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        return {"timestamp": pl.coalesce(zoned(even), placed)}

    return Field(
        quick,
        careful,
        accept=_filled("timestamp"),
        accept_careful=_filled("timestamp"),
        pattern=_ISO,
        rank=1,
        mandatory=True,
        timestamp_kind=kind,
        expected="a time like 2026-03-09T14:00:00Z that exists in its zone",
    )


_EPOCHS = {1e6: "seconds", 1e3: "milliseconds", 1.0: "microseconds", 1e-3: "nanoseconds"}


def utc_time(kind: str) -> Field:
    """ISO 8601 as most gateways write it: in UTC, with a Z. Other forms are read carefully."""

    def quick(raw: pl.Expr) -> Columns:
        moment = raw.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False, cache=True)
        return {"timestamp": moment.dt.replace_time_zone("UTC")}

    return replace(iso_time(kind), quick=quick)


def epoch_time(kind: str, us_per_unit: float, *, rank: int = 0) -> Field:
    """Time since 1970-01-01 UTC as a decimal number; us_per_unit: microseconds in one unit. rank as in Field."""

    def read(raw: pl.Expr) -> Columns:
        # float64 holds microseconds of this epoch exactly (2^53 us reaches the year 2255).
        us = (raw.cast(pl.Float64, strict=False) * us_per_unit).round()
        plausible = us.is_between(0, 2**52)
        return {"timestamp": pl.when(plausible).then(us).cast(pl.Int64).cast(TIMESTAMP)}

    return Field(
        read,
        read,
        accept=_filled("timestamp"),
        accept_careful=_filled("timestamp"),
        pattern=r"\d+(?:\.\d+)?",
        rank=rank,
        mandatory=True,
        timestamp_kind=kind,
        expected=f"a time as {_EPOCHS.get(us_per_unit, 'a number')} since 1970",
    )


def written_time(kind: str, tz: str = "UTC", *, rank: int = 0) -> Field:
    """The time of a gateway that has several encoders: RFC 3339, `2006/01/02 15:04:05`, CLF, or a number since 1970.

    A number is in s, ms, us or ns: 30 years of one unit lie clear of those of the next. rank as in Field.
    """
    iso, clf = iso_time(kind, tz), clf_time(kind)

    def read(raw: pl.Expr) -> Columns:
        number = raw.str.contains(r"^\d+(?:\.\d+)?(?:[eE]\+?\d+)?$")
        # Each is read of its own kind only: what is null costs nothing.
        digits, words = pl.when(number).then(raw), pl.when(~number).then(raw)
        since = digits.cast(pl.Float64, strict=False)
        unit = pl.when(since < 1e11).then(1e6).when(since < 1e14).then(1e3).when(since < 1e17).then(1.0).otherwise(1e-3)
        # float64 does not hold the ns of this epoch, but an integer does.
        us = pl.coalesce(
            digits.cast(pl.Int64, strict=False) // pl.when(since >= 1e17).then(1000), (since * unit).round()
        )
        us = us.cast(pl.Int64, strict=False)
        text = words.str.replace(r"^(\d{4})/(\d\d)/(\d\d) ", "${1}-${2}-${3} ").str.replace(r"^\[(.*)\]$", "${1}")
        times = [iso.careful(text)["timestamp"], clf.careful(text)["timestamp"]]
        return {
            "timestamp": pl.when(number & us.is_between(0, 2**52))
            .then(us.cast(TIMESTAMP))
            .otherwise(pl.coalesce(times))
        }

    return Field(
        utc_time(kind).quick,
        read,
        accept=_filled("timestamp"),
        accept_careful=_filled("timestamp"),
        rank=rank,
        mandatory=True,
        timestamp_kind=kind,
        expected="a time like 2026-03-09T14:00:00Z, or seconds since 1970",
    )


_STRFTIME = {"Y": r"\d{4}", "b": "[A-Za-z]{3}", "z": r"[+-]\d{4}", "T": r"\d\d:\d\d:\d\d", "F": r"\d{4}-\d\d-\d\d"}
_STRFTIME |= dict.fromkeys("mdHMSyI", r"\d\d") | {"e": r"[ \d]\d", ":z": r"[+-]\d\d:\d\d", "s": r"\d+"}
_STRFTIME |= {f"{digits}f": rf"\d{{{digits}}}" for digits in "369"} | {".f": r"(?:\.\d+)?"}


def _strftime_pattern(layout: str) -> str:
    """What a strftime layout writes, as a regex; a directive we do not know may write anything."""
    pieces = re.split(r"%([.:]?\d?.)", layout)
    return "".join(_STRFTIME.get(piece, ".+?") if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))


def strftime_time(kind: str, layout: str, tz: str = "UTC") -> Field:
    """A time in a strftime layout, in zone tz unless the layout has %z."""

    def read(raw: pl.Expr) -> Columns:
        zoned = "%z" in layout
        moment = raw.str.to_datetime(layout, time_unit="us", strict=False, cache=True)
        if not zoned:
            moment = moment.dt.replace_time_zone(tz, ambiguous="earliest", non_existent="null")
        return {"timestamp": moment.dt.convert_time_zone("UTC")}

    return Field(
        read,
        read,
        accept=_filled("timestamp"),
        accept_careful=_filled("timestamp"),
        pattern=_strftime_pattern(layout),
        rank=2,
        mandatory=True,
        timestamp_kind=kind,
        expected=f"a time in the layout {layout}",
    )


def typed(
    raws: pl.LazyFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    careful: bool,
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> pl.LazyFrame:
    """The columns that the fields make of raw values, and per field i that can fail `ok{i}`: whether it could be read.

    raws: field i in column `v{i}`, null where the gateway wrote its null marker; other columns are kept.
    derived: columns made of finished ones, one after the other; a name that begins with `_` is only a step to others.
    unused: what `outranked` has found.
    """
    if not careful:
        raws = raws.with_columns(
            field.prepare(pl.col(f"v{i}")).alias(f"w{i}") for i, field in enumerate(fields.values()) if field.prepare
        )
    reads = [
        (
            field,
            field.careful(pl.col(f"v{i}")) if careful else field.quick(pl.col(f"w{i}" if field.prepare else f"v{i}")),
        )
        for i, field in enumerate(fields.values())
    ]
    found: dict[str, list[pl.Expr]] = {}
    for _, columns in sorted(reads, key=lambda read: read[0].rank):
        for name, value in columns.items():
            found.setdefault(name, []).append(value)
    # Where several fields fill one column, the first non-null one by rank.
    merged = {name: values[0] if len(values) == 1 else pl.coalesce(values) for name, values in found.items()}
    times = [field for field in fields.values() if field.timestamp_kind]
    if times:
        merged["timestamp_kind"] = pl.lit(min(times, key=lambda field: field.rank).timestamp_kind)
    merged["gateway"] = pl.lit(gateway)
    accepts = {}
    for i, field in enumerate(fields.values()):
        if (accept := field.accept_careful if careful else field.accept or field.accept_careful) is not None:
            accepts[f"ok{i}"] = accept(pl.col(f"v{i}"), {name: pl.col(name) for name in reads[i][1]})
    # In a step of its own: a condition then reads the finished column instead of working it out again.
    read = raws.with_columns(**merged).with_columns(*unused, **accepts)
    for column in derived:
        read = read.with_columns(column)
    return read.drop([name for name in merged if name.startswith("_")])


def quickest(raws: pl.DataFrame, fields: Mapping[str, Field]) -> dict[str, Field]:
    """The fields, each read quickly if that takes nearly all of its raw values, else carefully from the start.

    raws: as in `read_carefully`.
    """

    def quick(i: int, field: Field) -> bool:
        if field.quick is field.careful or field.percent:
            return False
        if field.accept is None:
            return True
        # A condition may ask for a column that other fields fill.
        one = raws.lazy().select(pl.lit(None, pl.Datetime("us", "UTC")).alias("timestamp"), v0=f"v{i}")
        taken = typed(one, {"": field}, "", careful=False).select(pl.col("ok0").fill_null(False).mean())
        return (taken.collect(engine="in-memory").item() or 0.0) > _NEARLY_ALL

    return {
        name: field
        if quick(i, field)
        else replace(field, quick=field.careful, prepare=None, accept=field.accept_careful)
        for i, (name, field) in enumerate(fields.items())
    }


#: Share of values from which on it pays to read the others twice.
_NEARLY_ALL = 0.9


def read_quickly(
    raws: pl.DataFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Calls from raw values, and those of `raws` that want care. Arguments as in `read_carefully`; no escapes."""
    plan = typed(raws.lazy(), fields, gateway, careful=False, derived=derived, unused=unused)
    conditions = [pl.col(name) for name in plan.collect_schema().names() if name.startswith("ok")]
    read = plan.with_columns(fits=pl.all_horizontal(*conditions, pl.col("timestamp").is_not_null()).fill_null(False))
    done = read.select("row", "fits", pl.exclude("row", "fits", *raws.columns, r"^(?:v|w|ok)\d+$")).collect(
        engine="in-memory"
    )
    good = done["fits"]
    calls = decoded(done.filter(good).drop("fits"), fields)
    return compact(gather_attributes(calls)), raws.filter(~good)


def decoded(calls: pl.DataFrame, fields: Mapping[str, Field]) -> pl.DataFrame:
    """Calls with those columns decoded that are percent-encoded text."""
    encoded = dict.fromkeys(column for field in fields.values() for column in field.percent)
    return calls.with_columns(unescape(calls[column], "percent") for column in encoded)


def read_raws(
    raws: pl.DataFrame, fields: Mapping[str, Field], gateway: str, *, unused: Sequence[pl.Expr] = ()
) -> Parsed:
    """Calls and rejects from raw values that have a record's shape, quickly where that goes. Arguments as in `read_carefully`."""
    calls, left = read_quickly(raws, quickest(raws.head(_TRIED), fields), gateway, unused=unused)
    if left.is_empty():
        return Parsed(calls, REJECTED.to_frame())
    part = read_carefully(left, fields, gateway, misfit=pl.lit(None, pl.String), unused=unused)
    found = [frame for frame in (calls, part.calls) if frame.height]
    return replace(part, calls=pl.concat(found, how="diagonal") if found else part.calls)


#: Records of which it is tried how quickly the others can be read.
_TRIED = 300


def read_carefully(
    raws: pl.DataFrame,
    fields: Mapping[str, Field],
    gateway: str,
    *,
    misfit: pl.Expr,
    escape: Escape = "none",
    derived: Sequence[pl.Expr] = (),
    unused: Sequence[pl.Expr] = (),
) -> Parsed:
    """Calls and rejects from raw values.

    raws: `row` and per field i its text in `v{i}`, null markers already null, log escapes still in place.
    misfit: why the record as a whole does not fit; null where it does. derived, unused: as in `typed`.
    """
    names = list(fields)
    raws = raws.with_columns(
        unescape(raws[f"v{i}"], escape) for i, name in enumerate(names) if fields[name].escaped and escape != "none"
    )
    plan = typed(raws.lazy(), fields, gateway, careful=True, derived=derived, unused=unused)
    read = plan.with_columns(misfit=misfit).collect(engine="in-memory")
    complaints = [
        pl.when(~pl.col(f"ok{i}").fill_null(False)).then(_complaint(name.removeprefix("$."), pl.col(f"v{i}"), field))
        for i, (name, field) in enumerate(fields.items())
        if f"ok{i}" in read.columns
    ]
    lost = pl.when(pl.col("timestamp").is_null()).then(pl.lit("the time is missing"))
    read = read.select(
        "row",
        pl.exclude("row", "line", "misfit", *raws.columns, r"^(?:v|w|ok)\d+$"),
        pl.coalesce("misfit", *complaints, lost).alias("reason"),
    )
    read = decoded(read, fields)
    good = read["reason"].is_null()
    return Parsed(
        compact(gather_attributes(read.filter(good).drop("reason"))), read.filter(~good).select("row", "reason")
    )


#: Characters of a value that a reason shows.
_SHOWN = 40


def shown(value: pl.Expr) -> pl.Expr:
    """The beginning of a value, in quotes, for the reason of a reject."""
    cut = pl.when(value.str.len_chars() > _SHOWN).then(value.str.head(_SHOWN) + "…").otherwise(value)
    return pl.concat_str(pl.lit('"'), cut, pl.lit('"'))


def _complaint(name: str, value: pl.Expr, field: Field) -> pl.Expr:
    """`status is "2OO", expected a number 100..999`."""
    found = pl.coalesce(pl.lit(f"{name} is ") + shown(value), pl.lit(f"{name} is missing"))
    return found + pl.lit(f", expected {field.expected}" if field.expected else ", which cannot be read")


def outranked(fields: Iterable[tuple[str, Field]]) -> list[pl.Expr]:
    """Values for which another field of the same column was preferred, as columns `attributes.*`, unless they are the same.

    fields: key in attributes and field of each, in the order of `raws` in `read_carefully`. A value that is the only one of
    an array in JSON is the same as that array. What a field keeps under the same key itself comes first.
    """
    columns: dict[str, list[tuple[int, int]]] = {}
    names, kept = [], set()
    for i, (name, field) in enumerate(fields):
        names.append(name)
        if read := field.careful(pl.lit("")):
            columns.setdefault(next(iter(read)), []).append((field.rank, i))
            kept |= set(read)
    found: dict[str, list[pl.Expr]] = {}
    for contenders in columns.values():
        ranked = [i for _, i in sorted(contenders)]
        for k, i in enumerate(ranked[1:], start=1):
            value, best = pl.col(f"v{i}"), pl.coalesce(f"v{other}" for other in ranked[:k])
            other = (value != best) & (value != pl.concat_str(pl.lit('["'), best, pl.lit('"]')))
            found.setdefault(f"attributes.{names[i]}", []).append(pl.when(other).then(value))
    return [
        pl.coalesce(*([column] if column in kept else []), *values).alias(column) for column, values in found.items()
    ]
