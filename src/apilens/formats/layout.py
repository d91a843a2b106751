"""Text layouts: a sequence of literals and variables, compiled into column expressions.

Quick reading cuts every line at the layout's quotes and then at its literals: no regex, no copy. What that does not
accept (escapes, lists, garbage; a few lines in a thousand) is read once more with one anchored linear-time regex.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property

import polars as pl

from apilens.formats.attributes import gather_attributes
from apilens.formats.block import FEW, REJECTED, Layout, Parsed
from apilens.formats.classes import plain
from apilens.formats.escapes import Escape
from apilens.formats.fields import Field, decoded, read_carefully, shown, typed


@dataclass(frozen=True)
class Variable:
    """One variable of a layout as its author wrote it, and what it becomes."""

    name: str
    field: Field


#: Names that are spelt right, however near they come to one that has a column.
_SPELT_RIGHT = ("port", "host", "proto", "prefix", "server", "ssl")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant; None: `name` is one of its own. Tried on nginx's and httpd's own names."""
    if re.fullmatch(rf"(?:http_)?x[-_]forwarded[-_](?:{'|'.join(_SPELT_RIGHT)})", name):
        return None
    names = list(known)
    swapped = (other for other in names if len(other) > 3 and sorted(other) == sorted(name))
    return next(swapped, None) or next(iter(get_close_matches(name, names, n=1, cutoff=0.88)), None)


def _in_order(literals: Sequence[str], line: str) -> int:
    """How many of the literals a line holds one behind the other, the first of all first."""
    at = 0
    for held, literal in enumerate(literals):
        found = line.find(literal, at)
        if found < 0:
            return held
        at = found + len(literal)
    return len(literals)


#: Lines that are asked whether a layout is near.
_ASKED = 20
#: Reason of a record that has not the shape of the layout, before it is told where it leaves it.
_MISFIT = "does not fit the layout"
_NO_CALLS = pl.DataFrame(schema={"row": pl.UInt32})


@dataclass(frozen=True)
class TextLayout(Layout):
    """A compiled layout.

    text: as the user would paste it. parts: literals and variables in order. gateway: format named in the rows.
    strict: only what this server writes fits; of the known layouts, none must take a sister's lines.
    filtered: regex of records that this gateway writes between its calls but which are none (error log lines).
    derived: columns made of those that the fields filled; names that begin with `_` are only steps. doubts: as in Layout.
    """

    gateway: str
    text: str
    parts: tuple[str | Variable, ...]
    escape: Escape
    filtered: str | None = None
    nulls: tuple[str, ...] = ("-", "")
    strict: bool = False
    derived: tuple[pl.Expr, ...] = ()
    doubts: tuple[str, ...] = ()
    reads_quickly: bool = field(init=False)

    def __post_init__(self) -> None:
        # Variables side by side have no literal to cut at: only the regex can tell them apart, but for two of which the second
        # has a beginning.
        sides = [isinstance(part, Variable) for part in self.parts]
        known = all(
            second.field.opens and first.field.blankless and second.field.blankless for first, second in self._touching
        )
        told = known and not any(all(sides[i : i + 3]) for i in range(len(sides) - 2))
        object.__setattr__(self, "reads_quickly", bool(self._literals) and told)

    @cached_property
    def _touching(self) -> list[tuple[Variable, Variable]]:
        """Variables with no literal between them."""
        pairs = zip(self.parts, self.parts[1:], strict=False)
        return [(a, b) for a, b in pairs if isinstance(a, Variable) and isinstance(b, Variable)]

    @cached_property
    def _literals(self) -> list[str]:
        """What stands between the variables, in the layout's order."""
        return [part for part in self.parts if isinstance(part, str)]

    @cached_property
    def _rarest_first(self) -> list[str]:
        """The literals, each once; a long one stands in fewer lines than a blank."""
        return sorted(set(self._literals), key=len, reverse=True)

    @cached_property
    def _quotes(self) -> int:
        """How many quotes the literals have."""
        return sum(literal.count('"') for literal in self._literals)

    @cached_property
    def _fields(self) -> dict[str, Field]:
        """Field per variable, in the layout's order."""
        return {part.name: part.field for part in self.parts if isinstance(part, Variable)}

    @property
    def pattern(self) -> str:
        """The whole line, one group per variable."""
        return self._regex

    def may_fit(self, lines: Sequence[str]) -> bool:
        """Whether a line holds all literals in their order: an eighth of the known layouts is left after that."""
        literals, quotes, text = self._literals, self._quotes, "\n".join(lines)
        # Most layouts have a literal that stands nowhere at all, and only the others are looked for line by line; most of
        # these lines lack a quote.
        return all(literal in text for literal in self._rarest_first) and any(
            line.count('"') >= quotes and _in_order(literals, line) == len(literals) for line in lines
        )

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each line has this layout's shape."""
        return records["line"].str.contains(self._regex)

    def nearness(self, records: pl.DataFrame) -> float:
        """Share of the layout's literals that the records hold in its order, 0..1; or of records that begin with all of it.

        Blanks and quotes are in every line: above 0.9 is only what reads the line up to something appended.
        """
        literals = self._literals
        # The lines of a head: as expressions, each cut works out those before it again.
        found = sum(_in_order(literals, line) for line in records["line"])
        held = found / max(len(literals) * records.height, 1)
        if held <= 0.9:
            return held
        begins = records["line"].str.contains(f"(?s)^{''.join(self._pieces)}").mean()
        return max(0.9, begins if isinstance(begins, float) else 0.0)

    def is_near(self, records: pl.DataFrame) -> bool:
        """Whether a record begins with half of the layout: blanks and quotes, and values that may be any word, are in every text."""
        half = (len(self.parts) + 1) // 2
        literals = [part for part in self.parts[:half] if isinstance(part, str)]
        lines = records["line"].to_list()[:_ASKED]
        lines = [line for line in lines if _in_order(literals, line) == len(literals)]
        begins = pl.Series(lines, dtype=pl.String).str.contains(f"(?s)^{''.join(self._pieces[:half])}")
        return bool(begins.any())

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); see Parsed."""
        done, left = self._read_quickly(records) if self.reads_quickly else (records.clear(), records)
        if left.is_empty():
            return Parsed(done, REJECTED.to_frame())
        part = self._read_carefully(left)
        found = [frame for frame in (done, part.calls) if frame.height]
        calls = pl.concat(found, how="diagonal") if found else part.calls
        return Parsed(calls, part.rejects)

    def take(self, records: pl.DataFrame) -> Parsed:
        """As `read`, of records that another layout has refused; those without this one's shape are looked at no further."""
        part, others = Parsed(_NO_CALLS, REJECTED.to_frame()), records
        if records.height > FEW or self.may_fit(records["line"].to_list()):
            fits = self.fits(records)
            if fits.any():
                part, others = self.read(records.filter(fits)), records.filter(~fits)
        misfit = others.select("row", reason=pl.when(~self._no_call).then(pl.lit(_MISFIT)))
        return replace(part, rejects=pl.concat([part.rejects, misfit]))

    @property
    def _no_call(self) -> pl.Expr:
        """Whether a line is one that the gateway writes between its calls."""
        return pl.lit(False) if self.filtered is None else pl.col("line").str.contains(self.filtered)

    # -- quick ---------------------------------------------------------------------------------------------------

    @cached_property
    def _segments(self) -> list[list[str | Variable]]:
        """The parts between the layout's double quotes, literals without them; variables that touch as one of both names."""
        segments: list[list[str | Variable]] = [[]]
        for part in self.parts:
            if isinstance(part, Variable):
                if segments[-1] and isinstance(before := segments[-1][-1], Variable):
                    part = replace(part, name=before.name + part.name)
                    segments[-1].pop()
                segments[-1].append(part)
                continue
            for i, piece in enumerate(part.split('"')):
                if i:
                    segments.append([])
                if piece:
                    segments[-1].append(piece)
        return segments

    def _read_quickly(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """(calls, records that need care)."""
        segments = self._segments
        cut = records.lazy()
        fits: list[pl.Expr] = []
        if len(segments) > 1:
            names = [f"s{i}" for i in range(len(segments))]
            split = pl.col("line").str.splitn('"', len(segments) + 1).struct.rename_fields([*names, "extra"])
            cut = cut.with_columns(split.alias("cut")).unnest("cut")
            fits += [pl.col(names[-1]).is_not_null(), pl.col("extra").is_null()]
        else:
            names = ["line"]
        raws: dict[str, pl.Expr] = {}
        blankless: list[str] = []
        for name, segment in zip(names, segments, strict=True):
            cut = self._cut_segment(cut, name, segment, raws, fits, blankless)
        for i, (first, second) in enumerate(self._touching):
            both = first.name + second.name
            cut = cut.with_columns(raws.pop(both).alias(f"t{i}"))
            cut = cut.with_columns(pl.col(f"t{i}").str.find(second.field.opens, literal=True).alias(f"t{i}at"))
            whole, at = pl.col(f"t{i}").cast(pl.Binary), pl.col(f"t{i}at")
            if second.field.pattern == r"\S*":
                at = at.fill_null(whole.bin.size())  # it may be empty
            fits.append(at.is_not_null())
            raws[first.name] = whole.bin.slice(0, at).cast(pl.String)
            fits.append(~raws[first.name].str.contains('"', literal=True))  # as _pieces has it
            raws[second.name] = whole.bin.slice(at).cast(pl.String)
            if both in blankless:
                blankless.remove(both)
                blankless += [first.name, second.name]
        styles = {field.escape or self.escape for field in self._fields.values()} | {self.escape}
        for sign in sorted({"#" if style == "hash" else "\\" for style in styles - {"none"}}):
            escaped = records["line"].str.contains(sign, literal=True)
            if escaped.any():
                fits.append(pl.lit(~escaped))
        # Step by step: Polars works an expression out again wherever it is named.
        cut = cut.with_columns(raws[name].alias(f"v{i}") for i, name in enumerate(self._fields))
        cut = cut.with_columns(self._without_nulls(pl.col(f"v{i}")).alias(f"v{i}") for i in range(len(self._fields)))
        place = {name: i for i, name in enumerate(self._fields)}
        fits += [~pl.col(f"v{place[name]}").str.contains(" ", literal=True).fill_null(False) for name in blankless]
        inner = cut.collect_schema().names()
        read = typed(cut, self._fields, self.gateway, careful=False, derived=self.derived)
        fits += [pl.col(name) for name in read.collect_schema().names() if name.startswith("ok")]
        fits.append(pl.col("timestamp").is_not_null())
        read = read.with_columns(fits=pl.all_horizontal(fits).fill_null(False))
        done = read.select("row", pl.exclude(*inner, r"^(?:w|ok)\d+$")).collect(engine="in-memory")
        good = done["fits"]
        done = gather_attributes(decoded((done if good.all() else done.filter(good)).drop("fits"), self._fields))
        return done, records.filter(~good) if not good.all() else records.clear()

    def _cut_segment(
        self,
        frame: pl.LazyFrame,
        name: str,
        segment: list[str | Variable],
        raws: dict[str, pl.Expr],
        fits: list[pl.Expr],
        blankless: list[str],
    ) -> pl.LazyFrame:
        """Cut one segment at its literals; adds raw expressions per variable, conditions that must hold, and the names of
        variables that might have caught a blank although they have none.
        """
        parts = list(segment)
        variables = [part for part in parts if isinstance(part, Variable)]
        if not variables:
            fits.append(pl.col(name) == pl.lit("".join(part for part in parts if isinstance(part, str))))
            return frame
        if len(parts) == 1:
            raws[variables[0].name] = pl.col(name)
            return frame
        literals = [part for part in parts if isinstance(part, str)]
        closed = isinstance(parts[-1], str)
        if len(literals) > 1 and len(set(literals)) == 1 and not (closed and variables[-1].field.has_blanks):
            # The same text between all values, and perhaps around them: cut in one go, where it stands first or last to nothing.
            names = [f"{name}n{i}" for i in range(len(literals) + 1)]
            pieces = pl.col(name).str.splitn(literals[0], len(names)).struct.rename_fields(names)
            frame = frame.with_columns(pieces.alias(f"{name}n")).unnest(f"{name}n")
            values = names[isinstance(parts[0], str) : len(names) - closed]
            raws |= {part.name: pl.col(piece) for part, piece in zip(variables, values, strict=True)}
            fits += [pl.col(piece) == "" for piece in names if piece not in values]
            fits.append(pl.col(names[-1]).is_not_null())
            apart = variables if literals[0] != " " else [] if closed else variables[-1:]
            blankless += [part.name for part in apart if part.field.blankless]
            return frame
        rest = pl.col(name).cast(pl.Binary)
        if isinstance(head := parts[0], str):
            del parts[0]
            begins = rest.bin.starts_with(head.encode())
            fits.append(begins)
            rest = pl.when(begins).then(rest.bin.slice(len(head.encode())))
        if isinstance(last := parts[-1], str):
            del parts[-1]
            tail = last.encode()
            # Null where the segment ends otherwise: cut there, it might end inside a character.
            ends = rest.bin.ends_with(tail)
            fits.append(ends)
            rest = pl.when(ends).then(rest.bin.head(-len(tail)))
        step = 0
        while len(parts) > 1:
            variable, literal = parts[:2]
            assert isinstance(variable, Variable) and isinstance(literal, str)
            several = next((i for i, other in enumerate(parts[1::2]) if other != literal), len(parts) // 2)
            if several > 1:
                # Values with the same text between them are cut in one go.
                names = [f"{name}r{step}n{i}" for i in range(several + 1)]
                pieces = rest.cast(pl.String).str.splitn(literal, several + 1).struct.rename_fields(names)
                frame = frame.with_columns(pieces.alias(f"{name}r{step}")).unnest(f"{name}r{step}")
                here = [part for part in parts[: 2 * several] if isinstance(part, Variable)]
                raws |= {part.name: pl.col(piece) for part, piece in zip(here, names[:-1], strict=True)}
                rest = pl.col(names[-1]).cast(pl.Binary)
                fits.append(rest.is_not_null())
                if literal != " ":
                    blankless += [part.name for part in here if part.field.blankless]
                del parts[: 2 * several]
                step += 1
                continue
            del parts[:2]
            left, at = f"{name}r{step}", f"{name}p{step}"
            frame = frame.with_columns(rest.cast(pl.String).alias(left))
            frame = frame.with_columns(pl.col(left).str.find(literal, literal=True).alias(at))
            raws[variable.name] = pl.col(left).cast(pl.Binary).bin.slice(0, pl.col(at)).cast(pl.String)
            fits.append(pl.col(at).is_not_null())
            if variable.field.blankless and literal != " ":
                blankless.append(variable.name)
            rest = pl.col(left).cast(pl.Binary).bin.slice(pl.col(at) + len(literal.encode()))
            step += 1
        (variable,) = parts
        assert isinstance(variable, Variable)
        raws[variable.name] = rest.cast(pl.String)
        if variable.field.blankless:
            blankless.append(variable.name)
        return frame

    # -- careful -------------------------------------------------------------------------------------------------

    @cached_property
    def _regex(self) -> str:
        """The whole line, one group per variable."""
        pieces = (f"{piece[:-1]}?)" if self._ends_early(i) else piece for i, piece in enumerate(self._pieces))
        return f"(?s)^{''.join(pieces)}$"

    def _ends_early(self, i: int) -> bool:
        """Whether part i ends at the first text that may stand behind it, as in quick reading: a list with commas behind a value
        without blanks is no part of it. In a path such a text may stand many times."""
        part, after = self.parts[i], self.parts[i + 1] if i + 1 < len(self.parts) else ""
        if self.strict or not isinstance(part, Variable) or not part.field.blankless or part.field.opens:
            return False
        return isinstance(after, str) and after[:1] not in ("", " ", '"')

    @cached_property
    def _pieces(self) -> list[str]:
        """A regex per part."""
        pieces = []
        for i, part in enumerate(self.parts):
            if isinstance(part, str):
                pieces.append(re.escape(part).replace("\\ ", " "))
                continue
            escape = part.field.escape or self.escape
            quoted = {"none": r".*?", "hash": '[^"]*'}.get(escape, r'(?:[^"\\]|\\.)*')
            if self.strict and escape == "nginx":
                quoted = r'(?:[^"\\]|\\x[0-9A-Fa-f]{2})*'  # the only escape nginx writes; \" and \\ are Apache's
            before = self.parts[i - 1] if i else ""
            after = self.parts[i + 1] if i + 1 < len(self.parts) else ""
            inside = isinstance(before, str) and isinstance(after, str) and before[-1:] == '"' and after[:1] == '"'
            # A number in quotes is told from text in quotes where the layout was guessed.
            unquoted = part.field.pattern if self.strict and not part.field.escaped else quoted
            if escape == "hash" and part.field.has_blanks:
                unquoted = ".*?"  # a header that HAProxy captured: quotes in it stay as they are
            # Where nothing is escaped, a quote in a value stands as it is; one before it would mean that the layout is another.
            quotes = escape == "none" and not self.strict and part.field.has_blanks
            bare = r'(?:[^"].*?|"")?' if quotes else part.field.pattern
            if part.field.has_blanks and escape in ("apache", "json"):
                bare = r'(?:(?:[^"\\]|\\.)*?|"")'  # quotes in it are escaped, though the place has none
            if "null" in self.nulls:
                bare = f"(?:{bare}|null)"
            if isinstance(after, Variable) and after.field.opens:
                bare = rf'[^"{after.field.opens}]*'  # $host$request_uri: nothing else parts the two
            pieces.append(f"({unquoted if inside else bare})")
        return [plain(piece) for piece in pieces]

    def _read_carefully(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of the records that quick reading did not take."""
        names = [f"v{i}" for i in range(len(self._fields))]
        groups = pl.col("line").str.extract_groups(self._regex).struct.rename_fields(names)
        raws = (
            records.lazy()
            .select("row", "line", groups=groups)
            .unnest("groups")
            .with_columns(misfit=pl.all_horizontal(pl.col(names).is_null()))
            # "" in an unquoted place is how Apache and nginx write an empty value there.
            .with_columns(
                pl.when(pl.col(name) != '""').then(self._without_nulls(pl.col(name))).alias(name) for name in names
            )
            .collect(engine="in-memory")
        )
        part = read_carefully(
            raws,
            self._fields,
            self.gateway,
            misfit=pl.when("misfit").then(pl.lit(_MISFIT)),
            escape=self.escape,
            derived=self.derived,
        )
        if self.filtered is None or part.rejects.is_empty():
            return part
        none = records.select(pl.col("row").filter(self._no_call)).to_series()
        if none.is_empty():
            return part
        reason = pl.when(~pl.col("row").is_in(none.implode())).then("reason")
        return replace(part, rejects=part.rejects.select("row", reason=reason))

    def explain(self, records: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
        """Where each line that does not fit leaves the layout: `status is "2OO", expected a number 100..999`.

        That is the first part which no way of reading those before it lets follow.
        """
        vague = pl.col("reason") == _MISFIT
        left = rejects.filter(vague).select("row").join(records, on="row", how="left", maintain_order="left")
        if left.is_empty():
            return rejects
        found = []
        for i, lines in self._followed(left, 0, len(self.parts)):
            reason = (
                self._departure(i)
                if i < len(self.parts)
                else pl.lit("the layout ends before ") + shown(self._rest(len(self.parts)))
            )
            found.append(lines.select("row", exact=pl.lit(f"{_MISFIT}: ") + reason))
        exact = rejects.join(pl.concat(found), on="row", how="left", maintain_order="left")
        return exact.select("row", reason=pl.coalesce("exact", "reason"))

    def _followed(self, lines: pl.DataFrame, least: int, most: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """The lines, which have the first `least` parts from their start on and at most `most`, by how many they have.

        Halved: to compile the regex of each number of parts costs more than to try it on the few lines that come here.
        """
        if least == most:
            yield most, lines
            return
        middle = (least + most + 1) // 2
        holds = lines["line"].str.contains(f"(?s)^{''.join(self._pieces[:middle])}")
        if holds.any():
            yield from self._followed(lines.filter(holds), middle, most)
        if not holds.all():
            yield from self._followed(lines.filter(~holds), least, middle - 1)

    def _rest(self, i: int) -> pl.Expr:
        """What stands in a line from part i on."""
        group = 1 + sum(isinstance(part, Variable) for part in self.parts[:i])
        return pl.col("line").str.extract(f"(?s)^{''.join(self._pieces[:i])}(.*)$", group)

    def _departure(self, i: int) -> pl.Expr:
        """Why part i does not stand in a line, in which those before it do."""
        part, before, rest = self.parts[i], self.parts[i - 1] if i else None, self._rest(i)
        stands = pl.when(rest == "").then(pl.lit("the line ends")).otherwise(pl.lit("found ") + shown(rest))
        if isinstance(part, Variable):
            after = self.parts[i + 1] if i + 1 < len(self.parts) else None
            value = rest.str.splitn(after, 2).struct.field("field_0") if isinstance(after, str) else rest
            expected = part.field.expected or "a value without blanks or quotes"
            return pl.lit(f"{part.name} is ") + shown(value) + pl.lit(f", expected {expected}")
        if not isinstance(before, Variable):
            return stands + pl.lit(f" at the start, expected {part!r}")
        missing = pl.lit(f"after {before.name} ") + stands + pl.lit(f", expected {part!r}")
        if not before.field.expected:
            return missing
        # The value before may have been cut short: "2OO" is no status, although it begins with a digit.
        value = self._rest(i - 1).str.splitn(part, 2)
        wrong = pl.lit(f"{before.name} is ") + shown(value.struct.field("field_0"))
        wrong += pl.lit(f", expected {before.field.expected}")
        return pl.when(value.struct.field("field_1").is_not_null()).then(wrong).otherwise(missing)

    def _without_nulls(self, raw: pl.Expr) -> pl.Expr:
        """Null where the gateway wrote one of its null markers."""
        return pl.when(pl.all_horizontal(raw != null for null in self.nulls)).then(raw)
