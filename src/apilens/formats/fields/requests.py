"""What was asked for: request lines, targets and versions, and how a stored call spells them again."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from apilens.formats.fields.addresses import split_authority
from apilens.formats.fields.field import SCHEME, Columns, Field, text, token

_VERSIONS = {"HTTP/1.1": "1.1", "HTTP/2.0": "2", "HTTP/1.0": "1.0", "HTTP/3.0": "3"}
#: request_line of a call whose line is rebuilt byte for byte from method, url and http_version; see `rebuild`.
REBUILT = ""
_METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
#: A method is a token (RFC 9110 section 5.6.2); version as in RFC 9112 section 2.3, its short form, or (hypercorn) bare: other
#: numbers are the end of a target with a blank in it.
_REQUEST = r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+|\S.*\S) (?:HTTP/(\d(?:\.\d)?)|(1\.[01]|[23]))$"
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
    if not {"request_line", "method", "http_version"} <= set(calls.columns):
        return calls
    same = pl.col("request_line") == built_request_line(pl.coalesce("url", built_url()))
    return calls.with_columns(
        request_line=pl.when(same.fill_null(False)).then(pl.lit(REBUILT)).otherwise("request_line")
    )


def _spelt(version: pl.Expr) -> pl.Expr:
    """1.1 for HTTP/1.1 and so on; null for a spelling that is not usual. Compared one by one: a third of what a look-up takes."""
    found = pl.lit(None, pl.String)
    for spelling, short in _VERSIONS.items():
        found = pl.when(version == spelling).then(pl.lit(short)).otherwise(found)
    return found


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

    return Field(quick, target, None, accept, pattern=r"\S+", escaped=True, rank=rank, opens="/")


def path(*, rank: int = 0) -> Field:
    """A path without its query, decoded. rank as in Field."""
    return replace(token("path", rank=rank), opens="/")


def scheme(*, rank: int = 0) -> Field:
    """http, https, as logged. rank as in Field."""
    return text("scheme", rank=rank, pattern=SCHEME)


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
            "http_version": _spelt(parts.struct.field("version")),
            "request_line": pl.lit(REBUILT),
        }

    def careful(raw: pl.Expr) -> Columns:
        full = raw.str.extract_groups(_REQUEST)
        old = raw.str.extract_groups(_REQUEST_09)
        # A target with blanks in it is no target (RFC 9112 section 3.2): the line is malformed, its parts a best guess.
        method = pl.coalesce(full.struct.field("1"), old.struct.field("1"))
        where = pl.coalesce(full.struct.field("2"), old.struct.field("2"))
        version = _version(pl.coalesce(full.struct.field("3"), full.struct.field("4")))
        whole = ~where.str.contains(" ", literal=True)
        if blanks:
            whole |= where.str.contains("^[a-z]+://[^/ ]+/") & version.is_not_null()
        # A hyphen stands where Varnish knew no method and Tomcat no target.
        good = method.is_not_null() & whole & (method != "-") & (where != "-")
        return {
            "method": pl.when(good).then(method),
            **{name: pl.when(good).then(part) for name, part in target(where).items()},
            "http_version": pl.when(good).then(pl.coalesce(version, pl.lit("0.9"))),
            "request_line": raw,
            "parse_status": pl.when(good).then(pl.lit("ok")).otherwise(pl.lit("malformed_request")),
        }

    def accept(parts: pl.Expr, columns: Columns) -> pl.Expr:
        known = pl.any_horizontal(columns["method"] == method for method in _METHODS)
        return known & columns["http_version"].is_not_null() & columns["path"].str.starts_with("/")

    return Field(quick, careful, prepare, accept, pattern=r".*?", escaped=True)
