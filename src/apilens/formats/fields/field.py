"""A kind of logged value: what it becomes, and when it cannot be meant; text, and what is made of any other kind.

A Field turns the raw text of a variable (null where the gateway wrote its null marker) into typed columns. It reads in two
manners: `quick`, for the plain value that nearly every line has, and `careful`, for escapes, lists and garbage. A row that
quick reading does not accept is read again carefully; only what careful reading refuses is a reject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import polars as pl

from apilens.formats.escapes import Escape

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
    escape: Escape | None = None  # in a way of its own; None: as all of its layout
    mandatory: bool = False  # a null value makes the line a reject
    timestamp_kind: str | None = None
    percent: tuple[str, ...] = ()  # columns that are percent-encoded text
    expected: str = ""  # what it accepts, in words, for the reason of a reject
    outranked_as: str = ""  # key in attributes under which a text stays where another field filled its column
    opens: str = ""  # what its value begins with, and the value of a variable right before it does not hold

    @property
    def blankless(self) -> bool:
        """Whether its value never holds a blank."""
        return self.pattern in (r"\S+", r"\S*", SCHEME)

    @property
    def has_blanks(self) -> bool:
        """Whether its value may be any text."""
        return self.pattern == UNQUOTED


#: Of a URL; a target may hold `://` once more.
SCHEME = r"[^\s:/]*"

#: A value that may hold blanks, in an unquoted place. A quote in it would mean that the layout is another one.
UNQUOTED = r'(?:[^"]*?|"")'


def filled(column: str) -> Accept:
    """The column is null only where the raw value is."""
    return lambda raw, columns: columns[column].is_not_null() | raw.is_null()


def text(column: str, *, rank: int = 0, pattern: str = UNQUOTED) -> Field:
    """A string as logged; rank as in Field."""
    return Field(lambda raw: {column: raw}, lambda raw: {column: raw}, pattern=pattern, rank=rank, escaped=True)


def token(column: str, *, rank: int = 0) -> Field:
    """A string without blanks; it may be empty."""
    return text(column, rank=rank, pattern=r"\S*")


def kept(field: Field, name: str) -> Field:
    """The same, and the raw value in `attributes` as well, for a field of which a column holds only a part."""
    return replace(
        field,
        quick=lambda raw: {**field.quick(field.prepare(raw) if field.prepare else raw), f"attributes.{name}": raw},
        careful=lambda raw: {**field.careful(raw), f"attributes.{name}": raw},
        prepare=None,
    )


def kept_if_outranked(field: Field, name: str) -> Field:
    """The same, of a text; in a text layout its value stays in `attributes` where another variable filled its column."""
    return replace(field, outranked_as=name)


def xray_trace(*, rank: int = 0) -> Field:
    """AWS X-Ray's Root=1-69aed4e0-36d228ad5d99923122bbe354 (Self=… before it): its two numbers are OpenTelemetry's id."""

    def read(raw: pl.Expr) -> Columns:
        parts = raw.str.extract_groups("(?:^|Root=)1-([0-9a-f]{8})-([0-9a-f]{24})").struct
        return {"trace_id": pl.coalesce(parts.field("1") + parts.field("2"), raw)}

    return Field(read, read, pattern=r"\S+", rank=rank)


def unlisted(field: Field) -> Field:
    """The same, null where the value is a JSON array of strings or an object."""

    def read(raw: pl.Expr) -> Columns:
        return field.careful(pl.when(~raw.str.contains(r'^(?:\["|\{"|\[\]$|\{\}$)')).then(raw))

    return replace(field, quick=read, careful=read)


def error(name: str, none: str) -> Field:
    """What went wrong, as response_flags; a value that says that nothing did (regex `none`) is the attribute `name`."""

    def read(raw: pl.Expr) -> Columns:
        fine = raw.str.contains(f"^(?:{none})$")
        return {"response_flags": pl.when(~fine).then(raw), f"attributes.{name}": pl.when(fine).then(raw)}

    return Field(read, read, pattern=UNQUOTED, escaped=True)


#: What CloudFront calls the result of a call that did not fail: where it came from, and who made it.
CLOUDFRONT_FINE = "(?:Refresh|OriginShield)?Hit|Miss|Redirect|[A-Za-z]*GeneratedResponse"


def strictly(field: Field, pattern: str, expected: str = "") -> Field:
    """The same, where only values of this form (expected: in words) fit: the layout is guessed, and another one has something
    else there.

    For careful reading, whose values are unescaped, the pattern says so.
    """

    def accept(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return raw.is_null() | raw.str.contains(f"^(?:{pattern})$")

    return replace(field, accept=accept, pattern=f"(?:{pattern}|-)", expected=expected or field.expected)


def attribute(name: str, pattern: str = UNQUOTED) -> Field:
    """A value without a column of its own: kept in `attributes` under its name."""
    return text(f"attributes.{name}", pattern=pattern)
