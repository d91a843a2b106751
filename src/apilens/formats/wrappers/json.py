"""Members of JSON lines as columns; a line that is no JSON object disturbs no other."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from apilens.formats.json_layout import connection

#: The records as `doc`, null where one is neither a JSON object nor an array.
DOCS = "SELECT row, CASE WHEN json_valid(line) AND json_type(line) IN ('OBJECT', 'ARRAY') THEN line END AS doc FROM records"


def query(records: pl.DataFrame, sql: str) -> pl.DataFrame:
    """The answer to `sql`, which may read `docs` (row, doc) and `records` (row, line)."""
    with connection().cursor() as cursor:
        cursor.register("records", records.select("row", "line"))
        found: pl.DataFrame = cursor.sql(f"WITH docs AS ({DOCS}) {sql}").pl()
    return found.with_columns(pl.col("row").cast(pl.UInt32))


def strings(records: pl.DataFrame, paths: Mapping[str, str]) -> pl.DataFrame:
    """`row` and a column per path, in the records' order; null where there is nothing at a path."""
    listed = ", ".join(f"'{path}'" for path in paths.values())
    found = query(records, f"SELECT row, json_extract_string(doc, [{listed}]) AS found FROM docs ORDER BY row")
    return found.select("row", *(pl.col("found").list.get(i).alias(name) for i, name in enumerate(paths)))
