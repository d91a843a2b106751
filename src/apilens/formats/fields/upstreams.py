"""Where a call was sent, and what became of each attempt: one value, or a list of them."""

from __future__ import annotations

import polars as pl

from apilens.formats.fields.field import UNQUOTED, Columns, Field, filled
from apilens.formats.fields.numbers import LONGEST_MS


def upstream() -> Field:
    """Where a call was sent: `upstream_address` as host:port as logged, without the scheme and the path of a URL."""

    def read(raw: pl.Expr) -> Columns:
        return {"upstream_address": pl.coalesce(raw.str.extract(r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)"), raw)}

    return Field(read, read, pattern=UNQUOTED, escaped=True)


def upstream_status(*, rank: int = 0) -> Field:
    """One upstream's status as text; 0 and negative: it sent none."""

    def read(raw: pl.Expr) -> Columns:
        return {"upstream_status_code": pl.when(~raw.str.contains(r"^(?:0+|-\d+)$")).then(raw)}

    return Field(read, read, rank=rank)


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

    return Field(quick, careful, None, filled(column), pattern=_LISTED, escaped=True)
