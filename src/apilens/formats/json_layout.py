"""JSON layouts: paths into one object per line, each read by a Field.

DuckDB takes all paths out of a line in one parse; a line it cannot parse is a reject and disturbs no other line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import polars as pl

from apilens.formats.block import Layout, Parsed
from apilens.formats.fields import EXTRAS, Field, add_attributes, read_carefully

if TYPE_CHECKING:
    import duckdb


#: One step of a path: `.name` or `."any name"`.
_STEP = re.compile(r'\.(?:"((?:[^"\\]|\\.)*)"|([^."\[]+))')
#: Fields of one record that are kept although no layout names them: a log that has more of them is no log.
_MAX_EXTRAS = 500


@dataclass(frozen=True)
class JsonLayout(Layout):
    """paths: DuckDB JSON path -> the Field it fills; `#$.tries` is the length of an array.

    signs: paths of which a record must have every one to be a call of this format. where: SQL condition on the record
    `doc` that must hold besides. derived: columns made of those that the fields filled; names that begin with `_` are
    only steps. dropped: paths that are never kept. Whatever else a record has is kept in attributes under its path.
    """

    gateway: str
    paths: Mapping[str, Field]
    signs: tuple[str, ...]
    text: str | None = None
    where: str = "true"
    derived: tuple[pl.Expr, ...] = ()
    dropped: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("", "-")

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
            pl.when(~pl.col(f"v{i}").is_in(self.nulls)).then(pl.col(f"v{i}")).alias(f"v{i}")
            for i in range(len(self.paths))
        )
        misfit = pl.coalesce(
            pl.when(~pl.col("valid")).then(pl.lit("not a JSON object")),
            pl.when(~pl.col("signed")).then(pl.lit(f"JSON, but without {', '.join(self.signs)}")),
        )
        part = read_carefully(raws, self.paths, self.gateway, misfit=misfit, derived=self.derived)
        extras = self._extras(records.join(values.filter("valid"), on="row", how="semi"))
        if extras.is_empty() or part.calls.is_empty():
            return part
        return replace(part, calls=add_attributes(part.calls, extras))

    @cached_property
    def _sql(self) -> str:
        """One row per record: row, valid, signed, and per path its text (v0, v1, …)."""
        plain = [path for path in self.paths if not path.startswith("#")]
        wanted = [*plain, *self.signs]
        place = {path: f"found[{i + 1}]" for i, path in enumerate(wanted)}
        columns = [
            f"{place[path]} AS v{i}"
            if path in place
            else f"json_array_length(doc, {_quote(path[1:])})::VARCHAR AS v{i}"
            for i, path in enumerate(self.paths)
        ]
        # What is valid and begins with a brace is an object: every JSON function parses its argument anew.
        signed = " AND ".join([*(f"{place[sign]} IS NOT NULL" for sign in self.signs), f"({self.where})"])
        return f"""
            WITH docs AS (
                SELECT row, CASE WHEN json_valid(line) AND ltrim(line, ' \t\r\n')[1] = '{{' THEN line END AS doc FROM records
            ), parts AS (
                SELECT row, doc, json_extract_string(doc, [{", ".join(map(_quote, wanted))}]) AS found FROM docs
            )
            SELECT row, doc IS NOT NULL AS valid, coalesce({signed}, false) AS signed, {", ".join(columns)}
            FROM parts ORDER BY row"""

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        """Path of an object -> names in it that this layout reads, drops, or looks into."""
        known: dict[str, set[str]] = {"$": set()}
        for path in (*self.paths, *self.dropped):
            inside = "$"
            for quoted, name in _STEP.findall(path.removeprefix("#")):
                known.setdefault(inside, set()).add(quoted or name)
                inside = _inside(inside, quoted or name)
        return known

    def _extras(self, records: pl.DataFrame) -> pl.DataFrame:
        """What the records, all of them objects, hold besides: one row per (row, key, value), key as in attributes."""
        with connection().cursor() as cursor:
            cursor.register("records", records.select("row", "line"))
            parents = list(self._known)
            listed = ", ".join(map(_quote, parents))
            seen = cursor.sql(f"""
                WITH objects AS (
                         SELECT unnest(json_keys(line, [{listed}])) AS names, unnest([{listed}]) AS parent FROM records
                     ),
                     keys AS (SELECT parent, unnest(names) AS name FROM objects)
                SELECT parent, name, count(*) AS n FROM keys GROUP BY ALL ORDER BY n DESC, parent, name
                """).fetchall()
            found = {
                _inside(parent, name): _attribute(parent, name)
                for parent, name, _ in seen
                if name not in self._known[parent]
            }
            if not found:
                return EXTRAS.to_frame()
            paths = list(found)[:_MAX_EXTRAS]
            extras: pl.DataFrame = cursor.sql(f"""
                WITH parts AS (
                         SELECT row, json_extract_string(line, [{", ".join(map(_quote, paths))}]) AS found FROM records
                     )
                SELECT row, unnest([{", ".join(_quote(found[path]) for path in paths)}]) AS key, unnest(found) AS value
                FROM parts
                """).pl()
        return extras.filter(pl.col("value").is_not_null() & ~pl.col("value").is_in(["", "-", "[]", "{}"]))

    def _extract(self, records: pl.DataFrame) -> pl.DataFrame:
        with connection().cursor() as cursor:
            cursor.register("records", records.select("row", "line"))
            values: pl.DataFrame = cursor.sql(self._sql).pl()
        return values


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _inside(parent: str, name: str) -> str:
    """The path of `name` in the object at `parent`."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{parent}."{escaped}"'


def _attribute(parent: str, name: str) -> str:
    """What a field is called in attributes: its path with dots."""
    return ".".join([*(quoted or plain for quoted, plain in _STEP.findall(parent)), name])


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """One in-memory database per process; each read takes a cursor, which is a connection of its own."""
    import duckdb

    return duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
