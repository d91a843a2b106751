"""A column as its distinct values: what is worked out per value then costs once, however often the value stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import polars as pl

#: Share of distinct values from which on telling them apart costs more than it saves. Measured on paths.
_MANY = 1 / 3
#: Rows of the beginning whose values are counted first: where hardly any or nearly each is another (a sixteenth, as picked), the
#: others need not be.
_GLANCE = 2048


@dataclass(frozen=True)
class Distinct:
    """rows: a column of text, as categories of its own; as text where most rows have a value of their own."""

    rows: pl.Series

    @cached_property
    def at(self) -> pl.Series | None:
        """Per row the index of its value, null where the row is null; None: values are the rows themselves."""
        return None if self.rows.dtype == pl.String else self.rows.to_physical()

    @cached_property
    def values(self) -> pl.Series:
        """Each value once, no null among them; or the rows themselves, nulls included."""
        if self.at is None:
            return self.rows
        # The numbers are those of the values met here, without a gap.
        last = self.at.max()
        numbers = pl.Series(self.rows.name, range(last + 1 if isinstance(last, int) else 0), pl.UInt32)
        return numbers.cat.to(self.rows.dtype).cast(pl.String)

    def spread(self, made: pl.Series) -> pl.Series:
        """What was made of `values`, one for one, per row; null where the row is null. Text comes as categories: copying
        a number costs a fraction of copying text, and so do comparing, grouping and writing it.
        """
        if self.at is None:
            return made
        return (categories(made) if made.dtype == pl.String else made).gather(self.at)

    def changed(self, change: Callable[[pl.Series], pl.Series]) -> Distinct:
        """The same rows with what `change`, as `make` of `map`, makes of each value; two values may become one."""
        made = change(self.values)
        return self if made is self.values else Distinct(self.spread(made))

    def map(self, make: Callable[[pl.Series], pl.Series]) -> pl.Series:
        """What `make`, which judges each value alone and leaves null null, makes of every row."""
        return self.spread(make(self.values))


def distinct(column: pl.Series) -> Distinct:
    """A String column as its distinct values."""
    few = column.head(_GLANCE).n_unique()
    if few == 1 and column[0] is not None and (column == column[0]).all(ignore_nulls=False):
        return Distinct(constant(column[0], column.len()).alias(column.name))
    many = few > _GLANCE * 15 / 16 or (few > _GLANCE / 16 and _many(column))
    return Distinct(column if many else categories(column))


def constant(value: str, rows: int) -> pl.Series:
    """So many rows of one value, as categories."""
    return categories(pl.Series([value])).new_from_index(0, rows)


def coded(column: pl.Series) -> pl.Series:
    """The same text, as categories where that pays."""
    return distinct(column).rows if column.dtype == pl.String else column


def _many(column: pl.Series) -> bool:
    return bool(column.to_frame("value").select(pl.col("value").approx_n_unique() > _MANY * pl.len()).item())


def categories(column: pl.Series) -> pl.Series:
    """A String column as categories of its own, so that their numbers are those of the values met in it."""
    return column.cast(pl.Categorical(pl.Categories.random()))
