"""JSON layouts: paths into one object per line, each read by a Field.

DuckDB takes all paths out of a line in one parse; a line it cannot parse is a reject and disturbs no other line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from polars import selectors

from apilens.formats.attributes import EXTRAS, add_attributes
from apilens.formats.block import FEW, REJECTED, Layout, Parsed
from apilens.formats.fields import Field, attribute, outranked, quickest, read_carefully, read_quickly
from apilens.formats.json_paths import attribute_name, child, dotted, key_of, names, parents_of, steps
from apilens.formats.nearly_json import mended

if TYPE_CHECKING:
    import duckdb


#: A path in a condition.
_NAMED_PATH = re.compile(r"\{(\$[^{}]*)\}")
#: Lines that are asked whether a layout is near.
_ASKED = 20
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
    a line is the JSON; None: all of it. Whatever else a record has is kept in attributes under its path. doubts: as in Layout.
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
    doubts: tuple[str, ...] = ()

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
        if records.height <= FEW and not self.may_fit(records["line"].to_list()):
            return pl.repeat(False, records.height, eager=True)
        hopeful = records.select(
            pl.all_horizontal(
                pl.col("line").str.contains(self.mark),
                *(pl.col("line").str.contains(name, literal=True) for name in self._names),
            ).alias("hopeful")
        ).to_series()
        if not hopeful.any():
            return hopeful
        found = self._extract(self._json(records.filter(hopeful)), self._sql_of_signs)
        return records.join(found, on="row", how="left", maintain_order="left")["signed"].fill_null(False)

    def nearness(self, records: pl.DataFrame) -> float:
        """Half for being JSON objects, half for the signs, 0..1."""
        docs = self._json(records)
        objects = docs.select(pl.col("deep") | pl.col("line").str.contains(r"^\s*\{").fill_null(False))
        if not objects.to_series().any():
            return 0.0  # no object, no sign: what is no JSON is not put into DuckDB for each layout
        found = self._extract(docs, self._sql_of_signs)
        like = pl.col("valid") | pl.col("deep")
        return float(found.select((like.mean() + pl.col("signed").mean()) / 2).item() or 0.0)

    def is_near(self, records: pl.DataFrame) -> bool:
        """Whether records have half of what tells this layout; where that is no name, half of their own are known."""
        leaves = set(map(dotted, names(records["line"].head(_ASKED))))
        told, known = self.kinship(leaves)
        return bool(leaves) and (told if self._groups else known) >= 0.5

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); see Parsed.

        Lines that have what the first of them have, which is nearly all, are read in one go; the others are looked into.
        """
        usual = self._read_usual(records, self._of_lines)
        if usual.height == records.height:
            return Parsed(usual, REJECTED.to_frame())
        rest, more = records.join(usual, on="row", how="anti", maintain_order="left"), usual.clear()
        if rest.height >= _MANY and not (lines := mended(rest["line"])).equals(rest["line"]):
            rest = rest.with_columns(lines)
            more = self._read_usual(rest, self._of_mended)
            rest = rest.join(more, on="row", how="anti", maintain_order="left")
        part = self._look_into(rest)
        found = [frame for frame in (usual, more, part.calls) if frame.height]
        return replace(part, calls=pl.concat(found, how="diagonal") if found else part.calls)

    def _look_into(self, records: pl.DataFrame) -> Parsed:
        """The same for any lines: all paths are asked for, and what else there is is found out."""
        docs = self._json(records)
        whole = docs["deep"] | _closed(docs["line"]).fill_null(False)
        cut_off = docs.filter(~whole).select("row", reason=pl.lit(self._no_object))
        if cut_off.height == records.height:
            return Parsed(records.select("row").clear(), cut_off)
        values = self._extract(docs.filter(whole), self._sql)
        no_calls = values.filter("filtered").select("row", pl.lit(None, pl.String).alias("reason"))
        if no_calls.height:
            values = values.filter(~pl.col("filtered"))
        raws = values.with_columns(
            pl.when(~pl.col(f"v{i}").is_in(self.nulls)).then(pl.col(f"v{i}")).alias(f"v{i}")
            for i in range(len(self.paths))
        )
        misfit = pl.coalesce(
            pl.when(~pl.col("valid")).then(
                pl.when("deep").then(pl.lit(f"nested deeper than {DEEPEST}")).otherwise(pl.lit(self._no_object))
            ),
            pl.when(~pl.col("signed")).then(
                pl.lit("JSON, but ") + pl.coalesce("lacks", pl.lit(f"not of {self.gateway}"))
            ),
        )
        part = read_carefully(
            raws, self.paths, self.gateway, misfit=misfit, derived=self.derived, unused=self._outranked
        )
        part = replace(part, rejects=pl.concat([part.rejects, no_calls, cut_off]).sort("row"))
        if part.calls.is_empty():
            return part
        called = records if part.calls.height == records.height else records.join(part.calls, on="row", how="semi")
        extras = self._extras(called)
        return part if extras.is_empty() else replace(part, calls=add_attributes(part.calls, extras))

    @property
    def _no_object(self) -> str:
        """What is wrong with a line that is not even JSON."""
        return "not a JSON object" if self.json is None else f"no record of {self.gateway}"

    @cached_property
    def _outranked(self) -> list[pl.Expr]:
        return outranked((dotted(path), field) for path, field in self.paths.items())

    @cached_property
    def _groups(self) -> list[tuple[str, ...]]:
        """Of each of these paths a record has one."""
        return [*((sign,) for sign in self.signs), *self.any_of]

    def kinship(self, leaves: Collection[str]) -> tuple[float, float]:
        """How much of what tells this layout a record has, and how many of its fields the layout knows, 0..1 each.

        leaves: the record's fields, as `dotted` has them.
        """
        groups = len(self._groups)
        told = (groups - len(self.lacking(leaves))) / groups if groups else 0.0
        known = {dotted(path) for path in (*self.paths, *self.dropped)}
        return told, sum(leaf in known for leaf in leaves) / max(len(leaves), 1)

    def lacking(self, leaves: Collection[str]) -> list[str]:
        """What a record with these fields lacks to be of this layout, in words."""

        def has(path: str) -> bool:
            name = dotted(path)
            return any(leaf == name or leaf.startswith(f"{name}.") for leaf in leaves)

        return [" or ".join(map(dotted, group)) for group in self._groups if not any(map(has, group))]

    @cached_property
    def _sql_of_signs(self) -> str:
        """The same without the texts: of a head, forty columns take longer to plan than its lines to parse."""
        return self._select([])

    @cached_property
    def _sql(self) -> str:
        """One row per record: row, valid, signed, lacks (why it is not, in words), filtered, and per path its text (v0, …)."""
        return self._select(list(self.paths))

    def _select(self, paths: Sequence[str]) -> str:
        """As `_sql`, with the texts of so many paths."""
        plain = [path for path in paths if not path.startswith("#")]
        asked = _NAMED_PATH.findall(self.where + self.filtered)
        groups = self._groups
        wanted = list(dict.fromkeys([*plain, *(path for group in groups for path in group), *asked]))
        place = {path: f"found[{i + 1}]" for i, path in enumerate(wanted)}
        where, filtered = (
            _NAMED_PATH.sub(lambda path: place[path[1]], condition) for condition in (self.where, self.filtered)
        )
        columns = [
            f"{place[path]} AS v{i}"
            if path in place
            else f"json_array_length(doc, {_quote(path[1:])})::VARCHAR AS v{i}"
            for i, path in enumerate(paths)
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
                   {", ".join([f"coalesce({filtered}, false) AS filtered", *columns])}
            FROM parts"""

    @cached_property
    def _known(self) -> dict[str, set[str]]:
        """Path of an object -> names in it that this layout reads, drops, or looks into."""
        known: dict[str, set[str]] = {"$": set()}
        for path in (*self.paths, *self.dropped):
            inside = "$"
            for name in steps(path):
                known.setdefault(inside, set()).add(name)
                inside = child(inside, name)
        return known

    def _extras(self, records: pl.DataFrame) -> pl.DataFrame:
        """What the records, all of them objects, hold besides: one row per (row, key, value), key as in attributes."""
        with connection().cursor() as cursor:
            cursor.register("records", self._json(records))
            found = {
                child(parent, name): attribute_name(parent, name)
                for parent, name in self._names_in(cursor)
                if name not in self._known[parent]
            }
            if not found:
                return EXTRAS.to_frame()
            # In one order, whatever stands beside a record.
            paths = sorted(list(found)[:_MAX_EXTRAS])
            extras: pl.DataFrame = cursor.sql(f"""
                WITH parts AS (
                         SELECT row, json_extract_string(line, [{", ".join(map(_quote, paths))}]) AS found FROM records
                     )
                SELECT row, unnest([{", ".join(_quote(found[path]) for path in paths)}]) AS key, unnest(found) AS value
                FROM parts
                """).pl()
        return extras.filter(pl.col("value").is_not_null() & ~pl.col("value").is_in(["", "-", "[]", "{}"]))

    def _names_in(self, cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
        """Path of a known object and a name in it, for all names that its table `records` of objects has, the usual first."""
        listed = ", ".join(map(_quote, self._known))
        seen = cursor.sql(f"""
            WITH objects AS (
                     SELECT unnest(json_keys(line, [{listed}])) AS names, unnest([{listed}]) AS parent FROM records
                 ),
                 keys AS (SELECT parent, unnest(names) AS name FROM objects)
            SELECT parent, name, count(*) AS n FROM keys GROUP BY ALL ORDER BY n DESC, parent, name
            """).fetchall()
        return [(parent, name) for parent, name, _ in seen if name]  # DuckDB has no path to an empty name

    # -- usual lines -----------------------------------------------------------------------------------------------

    def _read_usual(self, records: pl.DataFrame, memory: _Memory) -> pl.DataFrame:
        """Calls of those records that have nothing which the first of them, or those read before, have not; the others are
        left out.

        Whether a line has more is told by counting: each value that was found, and each object on the way to one, is a
        name in the line. A line with more names than that has others.
        """
        few = records.height < _MANY
        if memory.usual is None and not memory.may_learn(few=few):
            return records.select("row").clear()
        docs = self._json(records, mend=False)
        # One line that is no JSON has DuckDB parse the thousands beside it one by one, and most of those are cut off.
        plain = docs.filter(_closed(docs["line"]) & ~docs["line"].str.contains(_UNCOUNTED))
        plain = plain.with_columns(named=_count_names(plain["line"]))
        # What was usual in the block before is so in the next, mostly.
        if (usual := memory.usual) is not None:
            values, others = self._values(plain, usual)
            if values.height >= others:
                memory.proved()
            elif memory.may_learn(few=few):
                usual = None
        if usual is None:
            usual = self._usual(docs.head(_LEARNED))
            if usual is None:
                memory.learned(None, proven=False)
                return records.select("row").clear()
            values, others = self._values(plain, usual)
            most = 0 < values.height >= others
            memory.learned(usual if most else None, proven=most and not few)
        raws = values.with_columns(usual.without_nulls)
        calls, left = read_quickly(raws, usual.quick, self.gateway, derived=self.derived, unused=usual.outranked)
        if left.is_empty():
            return calls
        part = read_carefully(
            left,
            usual.fields,
            self.gateway,
            misfit=pl.lit(None, pl.String),
            derived=self.derived,
            unused=usual.outranked,
        )
        return pl.concat([calls, part.calls], how="diagonal")

    @cached_property
    def _of_lines(self) -> _Memory:
        """What is usual among lines as they stand."""
        return _Memory()

    @cached_property
    def _of_mended(self) -> _Memory:
        """What is usual among lines that had to be mended."""
        return _Memory()

    def _values(self, plain: pl.DataFrame, usual: _Usual) -> tuple[pl.DataFrame, int]:
        """What the fields are of those of `plain` (row, line, deep, named) that have nothing unusual; and how many of the others
        are not told to be no calls, of which there may be any number (spans between those of servers).
        """
        with connection().cursor() as cursor:
            cursor.register("records", plain)
            values: pl.DataFrame = cursor.sql(usual.sql).pl()
        if not values["row"].is_sorted():
            values = values.sort("row")
        beside = values.height - int(values["filtered"].sum())
        values = usual.columns(values)
        values = values.filter((plain["named"] == values.select(usual.names).to_series()) & values["signed"])
        return values, beside - values.height

    def _usual(self, head: pl.DataFrame) -> _Usual | None:
        """What the lines of a head (row, line, deep) have; None where none of them is a call."""
        with connection().cursor() as cursor:
            cursor.register("records", head)
            values: pl.DataFrame = cursor.sql(self._sql).pl()
            good = head.join(values.filter("signed"), on="row", how="semi")
            if good.is_empty():
                return None
            cursor.register("records", good)
            seen = self._names_in(cursor)
        places = {child(parent, name) for parent, name in seen}
        unknown: dict[str, str] = {}
        for parent, name in seen:
            if name not in self._known[parent] and attribute_name(parent, name) not in unknown.values():
                unknown[child(parent, name)] = attribute_name(parent, name)
        unknown = dict(sorted(list(unknown.items())[:_MOST_UNUSUAL]))
        there = [path for i, path in enumerate(self.paths) if values[f"v{i}"].null_count() < values.height]
        filled = {path: set(field.careful(pl.lit(""))) for path, field in self.paths.items()}
        needed = asked_for(self.derived, set().union(*filled.values()))
        fields = {
            path: field
            for path, field in self.paths.items()
            if path in there or field.timestamp_kind or needed.keys() & filled[path]
        }
        fields |= {path: attribute(name) for path, name in unknown.items()}
        keys = {key_of(path) for path in (*there, *unknown)} | {
            path for path in map(key_of, self.dropped) if path in places
        }
        keys = {path for path in keys if path in places}
        # What stands inside another key's value is counted there.
        keys = {path for path in keys if not any(path.startswith(f"{other}.") for other in keys)}
        # An object in which nothing is known, since it is empty: a name all the same.
        objects = {path for path in self._known if path in places}
        empty = {path for path in objects if not any(one.startswith(f"{path}.") for one in keys | objects)} - keys
        ordered = sorted(keys | empty)
        with connection().cursor() as cursor:
            cursor.register("records", good)
            listed = ", ".join(map(_quote, ordered))
            texts: pl.DataFrame = cursor.sql(f"SELECT json_extract_string(line, [{listed}]) AS found FROM records").pl()
        inside = (bool(texts["found"].list.get(i).str.contains(_NAMED).any()) for i in range(len(ordered)))
        nested = [names and key not in empty for names, key in zip(inside, ordered, strict=True)]
        usual = _Usual(
            fields=fields,
            quick=fields,
            nulls=[list(self.nulls) if path in self.paths else _EMPTY for path in fields],
            there=[*there, *unknown],
            keys=ordered,
            nested=nested,
            lists=[key for path in self.paths if path not in there and (key := key_of(path)) != path and key in keys],
            groups=self._groups,
            where=self.where,
            filtered=self.filtered,
        )
        counted = good.with_columns(named=_count_names(good["line"]))
        raws = self._values(counted, usual)[0].with_columns(usual.without_nulls)
        return replace(usual, quick=quickest(raws, fields))

    def _json(self, records: pl.DataFrame, *, mend: bool = True) -> pl.DataFrame:
        """Records (row, line) as row, line (the JSON; null where it is too deep) and deep. mend: what is nearly JSON, too."""
        if mend:
            records = records.with_columns(mended(records["line"]))
        records = records.select("row", "line", deep=too_deep(records["line"]))
        line = pl.when(~pl.col("deep")).then("line") if records["deep"].any() else pl.col("line")
        return records.with_columns(line=line if self.json is None else pl.coalesce(self.json(line), line))

    def _extract(self, docs: pl.DataFrame, sql: str) -> pl.DataFrame:
        """What one of the layout's queries says of docs (row, line, deep), in their order."""
        with connection().cursor() as cursor:
            cursor.register("records", docs)
            values: pl.DataFrame = cursor.sql(sql).pl()
        return values.sort("row")  # DuckDB would carry every column through its sort


#: Objects and arrays inside one another that a record may have. Gateways write ten; garbage of 100,000 costs seconds, once
#: per format that is tried on it.
DEEPEST = 1000


def too_deep(lines: pl.Series) -> pl.Series:
    """Whether each line that closes its brackets nests deeper than DEEPEST, told by those outside of strings."""
    # Nearly all lines are too short for that, or have too few brackets.
    at = (lines.str.len_bytes() > 2 * DEEPEST).arg_true()
    at = at.filter(lines.gather(at).str.count_matches(r"[\[{]") > DEEPEST)
    if at.is_empty():
        return pl.repeat(False, len(lines), eager=True)
    bare = lines.gather(at).str.replace_all(r'"(?:[^"\\]|\\.)*"', "").str.replace_all(r"[^\[\]{}]", "")
    text = np.frombuffer("".join(bare.to_list()).encode(), np.uint8)
    lengths = bare.str.len_bytes().to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    level = np.concatenate(([0], np.cumsum(np.where((text == ord("[")) | (text == ord("{")), 1, -1))))
    # A segment ends where the next begins, with the level that both share.
    highest = np.maximum.reduceat(level, starts) - level[starts]
    return pl.repeat(False, len(lines), eager=True).scatter(at, pl.Series(highest > DEEPEST))


#: Records from which on it pays to learn what is usual among them, and how many are learned from.
_MANY, _LEARNED = 2000, 300
#: Blocks that are at most waited for between two attempts to learn what is usual. Picked.
_LONGEST_WAIT = 64
#: Names that no layout knows but that every line has: so many are read with the others.
_MOST_UNUSUAL = 100
#: Values that say nothing, of names that no layout knows.
_EMPTY = ["", "-", "[]", "{}"]
#: A name and the beginning of its value, unless that is null: then it is as if there were no such name.
_NAMED = r'": ?[^ n]'
#: What hides a name from being counted, or looks like one where it is read: escapes by number, white space around a colon.
#: `\\x` is no JSON, but written by gateways that escape for another reader.
_UNCOUNTED = r'\\[ux]|":  |"[ \t\r][ \t\r:]'


def _closed(lines: pl.Series) -> pl.Series:
    """Whether each line ends as an object does; null stays null."""
    return lines.str.strip_chars_end(" \t\r\n").str.ends_with("}")


def _count_names(lines: pl.Series) -> pl.Series:
    """How many _NAMED each line has; three counts of literals take half the time of one of the regex."""
    counted = lines.str.count_matches('":', literal=True)
    for null in ('":n', '": n'):
        if lines.str.contains(null, literal=True).any():
            counted -= lines.str.count_matches(null, literal=True)
    return counted


def asked_for(columns: Iterable[pl.Expr], known: Iterable[str]) -> dict[str, None]:
    """Names that some columns are made of, in their order; known: what a column may mean that names several at once."""
    columns = list(columns)
    schema = pl.Schema(dict.fromkeys([*known, *(column.meta.output_name() for column in columns)], pl.String))
    names: dict[str, None] = {}
    left = list(reversed(columns))
    while left:
        column = left.pop()
        inner = column.meta.pop()
        left += inner  # the last of them first, which is the first that was written
        if not inner and column.meta.is_column_selection():
            # root_names() is empty for `pl.col("a", "b")`, which is a selector.
            several = column.meta.has_multiple_outputs()
            names |= dict.fromkeys(
                selectors.expand_selector(schema, column, strict=False) if several else column.meta.root_names()
            )
    return names


@dataclass
class _Memory:
    """What was usual among the lines that a layout read last; it only makes reading quicker, so threads may share it.

    usual: None: nothing is known. Each attempt to find out that brought nothing makes the next one wait twice as long: to
    learn from lines of which hardly any two have the same names takes as long as looking into thousands of them.
    """

    usual: _Usual | None = None
    vain: int = 0
    waits: int = 0
    few_met: bool = False

    def may_learn(self, *, few: bool) -> bool:
        """Whether to find out what is usual; of a few lines not when they are the first, since more may never come."""
        if few and not self.few_met:
            self.few_met = True
            return False
        self.waits -= 1
        return self.waits < 0

    def learned(self, usual: _Usual | None, *, proven: bool) -> None:
        """So much is usual. proven: most lines of many have nothing else."""
        self.usual = usual
        self.vain = 0 if proven else self.vain + 1
        self.waits = 0 if proven else min(2 ** (self.vain - 1), _LONGEST_WAIT)

    def proved(self) -> None:
        """What is remembered was usual among other lines, too."""
        self.vain = self.waits = 0


@dataclass(frozen=True)
class _Usual:
    """How lines are read that have what is usual among them.

    fields: path -> Field, those of unknown names among them. quick: the same, read quickly where that took the first lines. nulls: null markers of each. there: paths that lines have.
    keys: paths under which values stand, none of them inside another; nested: whether names stand in those values. lists: keys
    whose values are read otherwise where they are arrays, which none of the first was.
    """

    fields: dict[str, Field]
    quick: dict[str, Field]
    nulls: list[list[str]]
    there: list[str]
    keys: list[str]
    nested: list[bool]
    lists: list[str]
    groups: list[tuple[str, ...]]
    where: str
    filtered: str

    @cached_property
    def without_nulls(self) -> list[pl.Expr]:
        """The fields' texts, null where a null marker stands."""
        return [
            pl.when(~pl.col(f"v{i}").is_in(nulls)).then(pl.col(f"v{i}")).alias(f"v{i}")
            for i, nulls in enumerate(self.nulls)
        ]

    @cached_property
    def outranked(self) -> list[pl.Expr]:
        """As attributes: values for which another field of the same column was preferred."""
        return outranked((dotted(path), field) for path, field in self.fields.items())

    @cached_property
    def _wanted(self) -> list[str]:
        return list(dict.fromkeys([*(path for path in self.there if not path.startswith("#")), *self.keys]))

    @cached_property
    def sql(self) -> str:
        """One row per record: row, signed, filtered, found (the texts at _wanted), v{i} per field that is a length."""
        place = {path: f"found[{i + 1}]" for i, path in enumerate(self._wanted)}
        where, filtered = (
            _NAMED_PATH.sub(lambda path: place.get(path[1], "NULL::VARCHAR"), text)
            for text in (self.where, self.filtered)
        )
        signed = " AND ".join(
            [f"({self._has(group, place)})" for group in self.groups]
            + [f"NOT coalesce(starts_with({place[path]}, '['), false)" for path in self.lists]
            + [f"coalesce({where}, false)", "NOT filtered"]
        )
        lengths = "".join(
            f", TRY(json_array_length(line, {_quote(path[1:])}))::VARCHAR AS v{i}"
            for i, path in enumerate(self.fields)
            if path.startswith("#") and path in self.there
        )
        # Of what is no JSON, nothing is found: asking for that before would parse every line twice.
        return f"""
            WITH parts AS (
                SELECT row, line, TRY(json_extract_string(line, [{", ".join(map(_quote, self._wanted))}])) AS found FROM records
            ), told AS (SELECT *, coalesce({filtered}, false) AS filtered FROM parts)
            SELECT row, coalesce({signed}, false) AS signed, filtered, found{lengths} FROM told"""

    def columns(self, found: pl.DataFrame) -> pl.DataFrame:
        """What `sql` has found as row, signed, v{i} per field, k{i} per key that is none.

        Taking the list apart here costs a quarter of what it costs there.
        """
        place = {path: pl.col(f"f{i}") for i, path in enumerate(self._wanted)}
        fields = {f"v{i}": path for i, path in enumerate(self.fields) if f"v{i}" not in found.columns}
        keys = {f"k{i}": path for i, path in enumerate(self.keys) if path not in self.fields}
        nothing = pl.lit(None, pl.String)
        names = [f"f{i}" for i in range(len(self._wanted))]
        parts = found.with_columns(pl.col("found").list.to_struct(fields=names)).unnest("found")
        return parts.select(
            "row",
            "signed",
            pl.col("^v\\d+$"),
            *(place.get(path, nothing).alias(name) for name, path in (fields | keys).items()),
        )

    def _has(self, group: tuple[str, ...], place: Mapping[str, str]) -> str:
        """SQL: whether one of the paths is there, or something in the object at it."""
        inside = [where for path, where in place.items() for one in group if path == one or path.startswith(f"{one}.")]
        return " OR ".join(f"{where} IS NOT NULL" for where in inside) or "false"

    @cached_property
    def names(self) -> pl.Expr:
        """How many names a line has if it has no others."""
        fields = {path: f"v{i}" for i, path in enumerate(self.fields)}
        texts = [fields.get(path, f"k{i}") for i, path in enumerate(self.keys)]
        there = {path: pl.col(text).is_not_null() for path, text in zip(self.keys, texts, strict=True)}
        parents = {parent for path in self.keys for parent in parents_of(path)}
        objects = [
            pl.any_horizontal(found for path, found in there.items() if path.startswith(f"{parent}."))
            for parent in sorted(parents)
        ]
        inside = [
            pl.col(text).str.count_matches(_NAMED).fill_null(0)
            for text, nested in zip(texts, self.nested, strict=True)
            if nested
        ]
        return pl.sum_horizontal(*(one.cast(pl.UInt32) for one in (*there.values(), *objects)), *inside)


def shapes(lines: pl.Series) -> pl.Series:
    """What each line that is a JSON object has in it: an object with the same names, and types as values; else null."""
    records = (
        mended(lines)
        .to_frame("line")
        .with_columns(pl.when(~too_deep(lines)).then("line").alias("line"))
        .with_row_index("row")
    )
    with connection().cursor() as cursor:
        cursor.register("records", records)
        found: pl.DataFrame = cursor.sql("""
            SELECT CASE WHEN json_valid(line) AND json_type(line) = 'OBJECT' THEN json_structure(line)::VARCHAR END AS shape
            FROM records ORDER BY row""").pl()
    return found["shape"]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@cache
def connection() -> duckdb.DuckDBPyConnection:
    """One in-memory database per process; each read takes a cursor, which is a connection of its own."""
    import duckdb

    return duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
