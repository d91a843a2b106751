"""JSON layouts: paths into one object per line, each read by a Field.

DuckDB takes all paths out of a line in one parse; a line it cannot parse is a reject and disturbs no other line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from apilens.formats.block import Layout, Parsed
from apilens.formats.fields import EXTRAS, Field, add_attributes, outranked, read_carefully, text, unlisted

if TYPE_CHECKING:
    import duckdb


#: One step of a path: `.name` or `."any name"`.
_STEP = re.compile(r'\.(?:"((?:[^"\\]|\\.)*)"|([^."\[]+))')
#: A name that stands in a path without quotes.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: A path in a condition.
_NAMED_PATH = re.compile(r"\{(\$[^{}]*)\}")
#: Fields of one record that are kept although no layout names them: a log that has more of them is no log.
_MAX_EXTRAS = 500


@dataclass(frozen=True, eq=False)  # layouts are told apart by identity: a mapping has no hash
class JsonLayout(Layout):
    """paths: DuckDB JSON path -> the Field it fills; `#$.tries` is the length of an array.

    signs: paths of which a record must have every one to be a call of this format; any_of: of each of these it must have one.
    where: SQL condition that must hold
    besides, with paths in braces: `{$.category} = 'GatewayLogs'`. mark: regex that such a line matches, to tell others soon.
    filtered: as where, for records that this gateway writes between its calls but which are none. derived: columns made of
    those that the fields filled; names that begin with `_` are only steps. dropped: paths that are never kept. json: what of
    a line is the JSON; None: all of it. Whatever else a record has is kept in attributes under its path.
    """

    gateway: str
    paths: Mapping[str, Field]
    signs: tuple[str, ...]
    any_of: tuple[tuple[str, ...], ...] = ()
    text: str | None = None
    where: str = "true"
    mark: str = ""
    filtered: str = "false"
    derived: tuple[pl.Expr, ...] = ()
    dropped: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ("", "-")
    json: Callable[[pl.Expr], pl.Expr] | None = None

    @cached_property
    def _names(self) -> list[str]:
        """What the line of a record has in it somewhere. Most formats tried on a head are not meant: that tells, without a
        parse."""
        return [dotted(sign).rsplit(".")[-1] for sign in self.signs]

    def may_fit(self, lines: Sequence[str]) -> bool:
        """Whether a line has the names of all signs, and a brace where it is all JSON."""
        brace = "{" if self.json is None else ""
        return any(brace in line and all(name in line for name in self._names) for line in lines)

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each line is a JSON object with this layout's signs."""
        hopeful = records.select(
            pl.all_horizontal(
                pl.col("line").str.contains(self.mark),
                *(pl.col("line").str.contains(name, literal=True) for name in self._names),
            ).alias("hopeful")
        ).to_series()
        if not hopeful.any():
            return hopeful
        found = self._extract(records.filter(hopeful)).select("row", "signed")
        return records.join(found, on="row", how="left", maintain_order="left")["signed"].fill_null(False)

    def nearness(self, records: pl.DataFrame) -> float:
        """Half for being JSON objects, half for the signs, 0..1."""
        found = self._extract(records)
        like = pl.col("valid") | pl.col("deep")
        return float(found.select((like.mean() + pl.col("signed").mean()) / 2).item() or 0.0)

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); see Parsed."""
        values = self._extract(records)
        if filtered := int(values["filtered"].sum()):
            values = values.filter(~pl.col("filtered"))
        raws = values.with_columns(
            pl.when(~pl.col(f"v{i}").is_in(self.nulls)).then(pl.col(f"v{i}")).alias(f"v{i}")
            for i in range(len(self.paths))
        )
        misfit = pl.coalesce(
            pl.when(~pl.col("valid")).then(
                pl.when("deep")
                .then(pl.lit(f"nested deeper than {DEEPEST}"))
                .otherwise(pl.lit("not a JSON object" if self.json is None else f"no record of {self.gateway}"))
            ),
            pl.when(~pl.col("signed")).then(
                pl.lit("JSON, but ") + pl.coalesce("lacks", pl.lit(f"not of {self.gateway}"))
            ),
        )
        part = replace(
            read_carefully(raws, self.paths, self.gateway, misfit=misfit, derived=self.derived), filtered=filtered
        )
        if part.calls.is_empty():
            return part
        called = records if part.calls.height == records.height else records.join(part.calls, on="row", how="semi")
        unused = outranked(raws, ((dotted(path), field) for path, field in self.paths.items()))
        extras = pl.concat([unused, self._extras(called)], how="diagonal_relaxed")
        return part if extras.is_empty() else replace(part, calls=add_attributes(part.calls, extras))

    @cached_property
    def _sql(self) -> str:
        """One row per record: row, valid, signed, lacks (why it is not, in words), filtered, and per path its text (v0, …)."""
        plain = [path for path in self.paths if not path.startswith("#")]
        asked = _NAMED_PATH.findall(self.where + self.filtered)
        groups = [*((sign,) for sign in self.signs), *self.any_of]
        wanted = list(dict.fromkeys([*plain, *(path for group in groups for path in group), *asked]))
        place = {path: f"found[{i + 1}]" for i, path in enumerate(wanted)}
        where, filtered = (
            _NAMED_PATH.sub(lambda path: place[path[1]], condition) for condition in (self.where, self.filtered)
        )
        columns = [
            f"{place[path]} AS v{i}"
            if path in place
            else f"json_array_length(doc, {_quote(path[1:])})::VARCHAR AS v{i}"
            for i, path in enumerate(self.paths)
        ]
        # What is valid and begins with a brace is an object: every JSON function parses its argument anew.
        has = [f"coalesce({', '.join(place[path] for path in group)}) IS NOT NULL" for group in groups]
        words = (" or ".join(map(dotted, group)) for group in groups)
        missing = "".join(
            f" || CASE WHEN {one} THEN '' ELSE {_quote(f', {name}')} END" for one, name in zip(has, words, strict=True)
        )
        signed = " AND ".join([*has, f"({where})"])
        return f"""
            WITH docs AS (
                SELECT row, deep, CASE WHEN json_valid(line) AND ltrim(line, ' \t\r\n')[1] = '{{' THEN line END AS doc
                FROM records
            ), parts AS (
                SELECT row, deep, doc, json_extract_string(doc, [{", ".join(map(_quote, wanted))}]) AS found FROM docs
            )
            SELECT row, deep, doc IS NOT NULL AS valid, coalesce({signed}, false) AS signed,
                   CASE WHEN NOT ({" AND ".join(has) or "true"}) THEN 'without' || substr(''{missing}, 2) END AS lacks,
                   coalesce({filtered}, false) AS filtered, {", ".join(columns)}
            FROM parts"""

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        """Path of an object -> names in it that this layout reads, drops, or looks into."""
        known: dict[str, set[str]] = {"$": set()}
        for path in (*self.paths, *self.dropped):
            inside = "$"
            for quoted, name in _STEP.findall(path.removeprefix("#")):
                known.setdefault(inside, set()).add(_unescaped(quoted) or name)
                inside = _inside(inside, _unescaped(quoted) or name)
        return known

    def _extras(self, records: pl.DataFrame) -> pl.DataFrame:
        """What the records, all of them objects, hold besides: one row per (row, key, value), key as in attributes."""
        with connection().cursor() as cursor:
            cursor.register("records", self._json(records))
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
                if name and name not in self._known[parent]  # DuckDB has no path to an empty name
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

    def _json(self, records: pl.DataFrame) -> pl.DataFrame:
        records = records.select("row", "line", deep=too_deep(records["line"]))
        line = pl.when(~pl.col("deep")).then("line")
        return records.with_columns(line=line if self.json is None else pl.coalesce(self.json(line), line))

    def _extract(self, records: pl.DataFrame) -> pl.DataFrame:
        with connection().cursor() as cursor:
            cursor.register("records", self._json(records))
            values: pl.DataFrame = cursor.sql(self._sql).pl()
        return values.sort("row")  # DuckDB would carry every column through its sort


#: Objects and arrays inside one another that a record may have. Gateways write ten; garbage of 100,000 costs seconds, once
#: per format that is tried on it.
DEEPEST = 500


def too_deep(lines: pl.Series) -> pl.Series:
    """Whether each line nests deeper than DEEPEST, told by its brackets outside of strings."""
    # Nearly all lines are too short for that, or have too few brackets.
    long = (lines.str.len_bytes() > 2 * DEEPEST) & (lines.str.count_matches(r"[\[{]") > DEEPEST)
    if not long.any():
        return pl.repeat(False, len(lines), eager=True)
    bare = lines.filter(long).str.replace_all(r'"(?:[^"\\]|\\.)*"', "").str.replace_all(r"[^\[\]{}]", "")
    text = np.frombuffer("".join(bare.to_list()).encode(), np.uint8)
    lengths = bare.str.len_bytes().to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    level = np.concatenate(([0], np.cumsum(np.where((text == ord("[")) | (text == ord("{")), 1, -1))))
    # A segment ends where the next begins, with the level that both share.
    highest = np.maximum.reduceat(level, starts) - level[starts]
    return pl.repeat(False, len(lines), eager=True).scatter(long.arg_true(), pl.Series(highest > DEEPEST))


def header(path: str, column: str | Field, *, rank: int = 0) -> dict[str, Field]:
    """Fields for a header at `path`, which is a string, or an array of them where it came more than once."""
    field = text(column) if isinstance(column, str) else column
    return {f"{path}[0]": replace(field, rank=rank), path: replace(unlisted(field), rank=rank + 1)}


def names(lines: Iterable[str]) -> dict[str, str]:
    """Path -> plain name of every value in the JSON objects among `lines`: words in lower case, parted by `_`."""
    found: dict[str, str] = {}
    for line in lines:
        try:
            record = json.loads(line) if line.lstrip().startswith("{") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            _name(record, "$", "", found, _DEEPEST)
    return found


#: Objects inside one another that are looked into for names.
_DEEPEST = 5


def _name(record: dict[str, object], inside: str, prefix: str, found: dict[str, str], levels: int) -> None:
    for key, value in record.items():
        if not key:
            continue
        path, name = _inside(inside, key), f"{prefix}{plain_name(key)}"
        if isinstance(value, dict) and value and levels:
            _name(value, path, f"{name}_", found, levels - 1)
        else:
            found.setdefault(path, name)


def plain_name(name: str) -> str:
    """`requestId`, `x-request-id`, `http.request.id` as words in lower case, parted by `_`."""
    return re.sub(r"[^0-9a-z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def path(*steps: str) -> str:
    """The path of a value from the names on the way to it."""
    found = "$"
    for name in steps:
        found = _inside(found, name)
    return found


def dotted(path: str) -> str:
    """The names on the way to a value, joined by dots."""
    return ".".join(_unescaped(quoted) or plain for quoted, plain in _STEP.findall(path))


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _inside(parent: str, name: str) -> str:
    """The path of `name` in the object at `parent`."""
    if _PLAIN.fullmatch(name):
        return f"{parent}.{name}"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{parent}."{escaped}"'


def _attribute(parent: str, name: str) -> str:
    """What a field is called in attributes: its path with dots."""
    return f"{dotted(parent)}.{name}" if parent != "$" else name


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """One in-memory database per process; each read takes a cursor, which is a connection of its own."""
    import duckdb

    return duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
