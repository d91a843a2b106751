"""JSON layouts: paths into one object per line, each read by a Field.

DuckDB takes all paths out of a line in one parse; a line it cannot parse is a reject and disturbs no other line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import polars as pl

from apilens.formats.block import Parsed
from apilens.formats.fields import Field, read_carefully

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class JsonLayout:
    """paths: DuckDB JSON path -> the Field it fills; `#$.tries` is the length of an array.

    signs: paths of which a record must have every one to be a call of this format.
    """

    gateway: str
    paths: Mapping[str, Field]
    signs: tuple[str, ...]
    text: str | None = None

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each line is a JSON object with this layout's signs."""
        return self._extract(records)["signed"]

    def nearness(self, records: pl.DataFrame) -> float:
        """Half for being JSON objects, half for the signs, 0..1."""
        found = self._extract(records)
        return float(found.select((pl.col("valid").mean() + pl.col("signed").mean()) / 2).item() or 0.0)

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); see Parsed."""
        values = self._extract(records)
        raws = values.with_columns(
            pl.when(~pl.col(f"v{i}").is_in(["", "-"])).then(pl.col(f"v{i}")).alias(f"v{i}")
            for i in range(len(self.paths))
        )
        misfit = pl.coalesce(
            pl.when(~pl.col("valid")).then(pl.lit("not a JSON object")),
            pl.when(~pl.col("signed")).then(pl.lit(f"JSON, but without {', '.join(self.signs)}")),
        )
        return read_carefully(raws, self.paths, self.gateway, misfit=misfit)

    @cached_property
    def _sql(self) -> str:
        """One row per record: row, valid, signed, and per path its text (v0, v1, …)."""

        def quote(path: str) -> str:
            return "'" + path.replace("'", "''") + "'"

        plain = [path for path in self.paths if not path.startswith("#")]
        wanted = [*plain, *self.signs]
        place = {path: f"found[{i + 1}]" for i, path in enumerate(wanted)}
        columns = [
            f"{place[path]} AS v{i}" if path in place else f"json_array_length(doc, {quote(path[1:])})::VARCHAR AS v{i}"
            for i, path in enumerate(self.paths)
        ]
        signed = " AND ".join(f"{place[sign]} IS NOT NULL" for sign in self.signs)
        return f"""
            WITH docs AS (
                SELECT row, CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN line END AS doc FROM records
            ), parts AS (
                SELECT row, doc, json_extract_string(doc, [{", ".join(map(quote, wanted))}]) AS found FROM docs
            )
            SELECT row, doc IS NOT NULL AS valid, coalesce({signed}, false) AS signed, {", ".join(columns)}
            FROM parts ORDER BY row"""

    def _extract(self, records: pl.DataFrame) -> pl.DataFrame:
        with _connection().cursor() as cursor:
            cursor.register("records", records.select("row", "line"))
            values: pl.DataFrame = cursor.sql(self._sql).pl()
        return values


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """One in-memory database per process; each read takes a cursor, which is a connection of its own."""
    import duckdb

    return duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
