"""gRPC: to HTTP a call that failed is a 200 like any other; how it ended stands in its gRPC status, in trailer or header."""

from __future__ import annotations

import re

import polars as pl

#: The statuses of gRPC in the order of their numbers -> the HTTP status that is published for each. Source: google.rpc.Code,
#: github.com/googleapis/googleapis, google/rpc/code.proto.
_HTTP = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
#: The same by number, and by name in small letters with nothing between its words.
_WRITTEN = {
    written: http
    for number, (name, http) in enumerate(_HTTP.items())
    for written in (str(number), name.lower().replace("_", ""))
} | {"canceled": _HTTP["CANCELLED"]}

#: What gateways call it in `attributes`: grpc_status, grpc_status_number, trailer.grpc-status, sent_trailer_grpc_status,
#: upstream_http_grpc_status, response.headers.grpc-status, downstream_Grpc-Status, res.hdr(grpc-status), rpc.grpc.status_code, …
_NAME = re.compile(
    r"(?:.*[^a-z])?(?:grpc[-_.]?(?:code|(?:response[-_.])?status(?:[-_.]?(?:code|number|camel_string|snake_string))?)"
    r"|rpc[-_.]response[-_.]status[-_.]code)\)?",
    re.IGNORECASE,
)
#: What is, or may be, of the request: there a client writes what it likes, and could make its calls look failed.
_ASKED = re.compile(
    r".*req|(?!.*res).*header|(?:.*[^a-z])?(?:query|(?:args?|params?|cookies?|claims?)[^a-z])|http_|cs[^a-z]",
    re.IGNORECASE,
)


def is_grpc_status(name: str) -> bool:
    """Whether an attribute of this name is the gRPC status of a response."""
    return _NAME.fullmatch(name) is not None and _ASKED.match(name) is None


def http_status(grpc_status: pl.Expr) -> pl.Expr:
    """The HTTP status of a gRPC status as logged, also as the only one in a list of JSON; null where it is none.

    Each language spells the names in its own way: DEADLINE_EXCEEDED, DeadlineExceeded, deadline-exceeded,
    StatusCode.DEADLINE_EXCEEDED; and stores of documents make 4.0 of a 4.
    """
    plain = grpc_status.cast(pl.String).str.strip_chars('[]"').str.to_lowercase()
    bare = plain.str.replace(r"^(?:status)?codes?\.|\.0$", "").str.replace_all(r"([a-z])[ _-]", "${1}")
    return bare.replace_strict(_WRITTEN, default=None, return_dtype=pl.Int16)


def judged(calls: pl.DataFrame, told: pl.Expr) -> pl.DataFrame:
    """Calls with their status_code as gRPC tells it, where HTTP says only that there was an answer: with 200, or with nothing.

    told: HTTP status of the gRPC status; null leaves a call as it is.
    """
    logged = pl.col("status_code") if "status_code" in calls.columns else pl.lit(None, pl.Int16)
    status = pl.when((logged == 200).fill_null(True)).then(pl.coalesce(told, logged)).otherwise(logged)
    return calls.with_columns(status_code=status)
