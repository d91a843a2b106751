"""Frames between Polars, DuckDB and PyArrow by Arrow's C interface. What they offer for it imports modules: 0.15 s of CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


class Stream:
    """A frame that DuckDB can register."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


class _Array:
    """A PyArrow array that Polars takes for anybody's: for PyArrow's own it imports pyarrow.compute."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        schema, array = self._array.__arrow_c_array__(requested_schema)
        return schema, array


def series(array: pa.Array) -> pl.Series:
    """The values of an array, which shares its memory where Polars has the same layout."""
    return pl.Series(_Array(array))


def frame(found: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """The rows of a relation, read to their end. Raises duckdb.Error as the query does."""
    return pl.DataFrame(found)
