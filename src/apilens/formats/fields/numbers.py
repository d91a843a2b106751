"""Numbers: counts, sizes, statuses and spans of time."""

from __future__ import annotations

import polars as pl

from apilens.formats.fields.field import Columns, Field, filled


def integer(
    column: str, dtype: type[pl.DataType] = pl.Int64, *, null_is_zero: bool = False, optional: bool = True
) -> Field:
    """A whole number; null_is_zero: the null marker is how this gateway writes 0 (Apache %b). optional: there is a marker."""

    def read(raw: pl.Expr) -> Columns:
        number = raw.cast(dtype, strict=False)
        return {column: pl.when(raw.is_null()).then(0).otherwise(number) if null_is_zero else number}

    def given(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return columns[column].is_not_null()

    accept = filled(column) if optional else given
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


def status(column: str = "status_code") -> Field:
    """An HTTP status, 100..999; 0 and 000 mean that none was sent and read as null."""

    def read(raw: pl.Expr) -> Columns:
        code = raw.cast(pl.Int16, strict=False)
        return {column: pl.when(code.is_between(100, 999)).then(code)}

    def accept_careful(raw: pl.Expr, columns: Columns) -> pl.Expr:
        return columns[column].is_not_null() | raw.is_null() | raw.str.contains("^0+$")

    form = r"-?\d{1,3}|-"
    return Field(read, read, None, filled(column), accept_careful, pattern=form, expected="a number 100..999")


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
