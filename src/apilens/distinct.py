"""A column as its distinct values: what is worked out per value then costs once, however often the value stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

#: Share of distinct values from which on telling them apart costs more than it saves. Measured on paths.
_MANY = 1 / 3
#: Rows of the beginning whose values are counted first: where they are a sixteenth at most, as picked, the others need not be.
_GLANCE = 2048


@dataclass(frozen=True)
class Distinct:
    """values: each value once, no null among them; at: per row the index of its value, null where the row is null.

    Where most rows have a value of their own, values are the rows themselves, nulls included, and at is None.
    """

    values: pl.Series
    at: pl.Series | None

    def spread(self, made: pl.Series) -> pl.Series:
        """What was made of `values`, one for one, per row; null where the row is null. Text comes as categories: copying
        a number costs a fraction of copying text, and so do comparing, grouping and writing it.
        """
        if self.at is None:
            return made
        return (categories(made) if made.dtype == pl.String else made).gather(self.at)

    def changed(self, change: Callable[[pl.Series], pl.Series]) -> Distinct:
        """The same rows with what `change`, as `make` of `map`, makes of each value; two values may become one."""
        return Distinct(change(self.values), self.at)

    @property
    def rows(self) -> pl.Series:
        """The column itself."""
        return self.spread(self.values)

    def map(self, make: Callable[[pl.Series], pl.Series]) -> pl.Series:
        """What `make`, which judges each value alone and leaves null null, makes of every row."""
        return self.spread(make(self.values))


def distinct(column: pl.Series) -> Distinct:
    """A String column as its distinct values."""
    if column.null_count() == column.len():
        return Distinct(column.clear(), pl.repeat(None, column.len(), dtype=pl.UInt32, eager=True))
    few = column.head(_GLANCE).n_unique()
    if few == 1 and column[0] is not None and (column == column[0]).all(ignore_nulls=False):
        return Distinct(column.head(1), pl.repeat(0, column.len(), dtype=pl.UInt32, eager=True))
    if few > _GLANCE / 16 and _many(column):
        return Distinct(column, None)
    # One pass, and a gather to come back. The numbers are those of the values met here, without a gap.
    coded = categories(column)
    at = coded.to_physical()
    values = pl.int_range(at.max() + 1, dtype=pl.UInt32, eager=True).cat.to(coded.dtype).cast(pl.String)
    return Distinct(values.alias(column.name), at)


def coded(column: pl.Series) -> pl.Series:
    """The same text, as categories where that pays."""
    return distinct(column).rows if column.dtype == pl.String else column


def _many(column: pl.Series) -> bool:
    return bool(column.to_frame("value").select(pl.col("value").approx_n_unique() > _MANY * pl.len()).item())


def categories(column: pl.Series) -> pl.Series:
    """A String column as categories of its own, so that their numbers are those of the values met in it."""
    return column.cast(pl.Categorical(pl.Categories.random()))
