"""A column as its distinct values: what is worked out per value then costs once, however often the value stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

#: Share of distinct values from which on telling them apart costs more than it saves. Measured on paths.
_MANY = 1 / 3


@dataclass(frozen=True)
class Distinct:
    """values: each value once, no null among them; at: per row the index of its value, null where the row is null.

    Where most rows have a value of their own, values are the rows themselves, nulls included, and at is None.
    """

    values: pl.Series
    at: pl.Series | None

    def spread(self, made: pl.Series) -> pl.Series:
        """What was made of `values`, one for one, per row; null where the row is null."""
        return made if self.at is None else made.gather(self.at)

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
    if column.to_frame("value").select(pl.col("value").approx_n_unique() > _MANY * pl.len()).item():
        return Distinct(column, None)
    # Categories of their own, so that their numbers are those of the values met here; one pass, and a gather to come back.
    coded = column.cast(pl.Categorical(pl.Categories.random()))
    once = pl.col("value").drop_nulls().unique()
    values = coded.to_frame("value").select(once.sort_by(once.to_physical()).cast(pl.String)).to_series()
    return Distinct(values.alias(column.name), coded.to_physical())
