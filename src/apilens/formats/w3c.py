"""W3C extended log files: lines of cells under directives that name them, which may change inside a file.

Source: W3C Working Draft WD-logfile-960323, Extended Log File Format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from apilens.formats import fields as f
from apilens.formats.block import REJECTED, Block, Layout, Parsed
from apilens.formats.fields import read_raws

#: Values that are never kept: they hold what lets one in.
_SECRET = re.compile(r"(?i)cookie|authorization|body")
#: (cell, quoted or not) of a line with blanks inside quotes; a quote in a quoted cell is doubled.
_CELL = r'"(?:[^"]|"")*"|\S+'

#: Software (#Software, null: not said) -> the field that a lower-case name is; None: kept as attribute.
Kinds = Callable[[str | None], Mapping[str, f.Field]]


@dataclass(frozen=True)
class Directives:
    """What was said last. fields: names of the cells; date: of times without one; software: who wrote the lines."""

    fields: str | None = None
    date: str | None = None
    software: str | None = None


@dataclass(frozen=True)
class W3cLayout(Layout):
    """kinds: fields by name. known: the lines `#Fields:` of files that have none. whose: regex of the field names by which
    lines are this gateway's. said: directives before the first line.
    """

    gateway: str
    kinds: Kinds
    known: tuple[str, ...]
    patterns: Mapping[str, str]
    whose: str
    tz: str = "UTC"
    said: Directives = Directives()
    text: str | None = None

    def may_fit(self, lines: Sequence[str]) -> bool:
        """Whether a line is a directive, or begins as one does where directives are missing."""
        begin = "|".join({self.patterns.get(known.split()[0].lower(), r"\S+") for known in self.known})
        return self.said.fields is not None or any(line.startswith("#") or re.match(begin, line) for line in lines)

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each line is a directive, or has as many cells as the fields that apply to it."""
        told = self._told(records)
        return told.select(
            pl.when("directive")
            .then(pl.col("fields").is_null() | pl.col("fields").str.contains(self.whose))
            .otherwise((pl.col("cells").list.len() == pl.col("wanted")) & pl.col("fields").str.contains(self.whose))
            .fill_null(False)
        ).to_series()

    def nearness(self, records: pl.DataFrame) -> float:
        """Share of the lines that fit, 0..1."""
        return float(self.fits(records).mean() or 0.0)  # type: ignore[arg-type]  # the mean of a boolean column

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); directives are headers."""
        told = self._told(records)
        header = int(told["directive"].sum())
        rows = told.filter(~pl.col("directive"))
        parts = [self._read_under(part) for _, part in rows.group_by("fields", "date", "software", maintain_order=True)]
        calls = [part.calls for part in parts if part.calls.height]
        nothing = pl.DataFrame(schema={"row": pl.UInt32})
        rejects = pl.concat([REJECTED.to_frame(), *(part.rejects for part in parts)])
        return Parsed(pl.concat(calls, how="diagonal") if calls else nothing, rejects.sort("row"), header)

    def after(self, block: Block) -> W3cLayout:
        """The layout under the directives that stand last in `block`."""
        lines = Block(block.directives).lines
        if lines.is_empty():
            return self
        last = self._told(lines).row(-1, named=True)
        return replace(self, said=Directives(last["fields"], last["date"], last["software"]))

    # -- directives ----------------------------------------------------------------------------------------------

    def _told(self, records: pl.DataFrame) -> pl.DataFrame:
        """`records` with what applies to each: directive, fields, date, software, cells and how many are wanted."""
        line = pl.col("line")
        said = records.filter(line.str.starts_with("#")).select(
            "row",
            directive=line.str.contains(r"^#\s*[A-Za-z][A-Za-z-]*:"),
            fields=line.str.extract(r"^#\s*Fields:\s*(.*\S)"),
            date=line.str.extract(r"^#\s*(?:Start-)?Date:\s*(\d{4}-\d\d-\d\d)"),
            software=line.str.extract(r"^#\s*Software:\s*(.*)"),
        )
        told = records.select("row", "line").join(said, on="row", how="left", maintain_order="left")
        told = told.with_columns(
            pl.col("directive").fill_null(False),
            *(
                pl.col(name).forward_fill().fill_null(pl.lit(getattr(self.said, name), pl.String))
                for name in ("fields", "date", "software")
            ),
        )
        tabs = told["line"].str.contains("\t", literal=True).any()
        told = told.with_columns(cells=_cells(line) if tabs else line.str.split(" "), wanted=_wanted(pl.col("fields")))
        # Few lines need more: cells in quotes or several blanks between them; no header, or another's, above them.
        for mend in (_by_quotes, self._by_shape):
            lost = (told["cells"].list.len() != told["wanted"]).fill_null(True) & ~told["directive"]
            if lost.any():
                told = pl.concat([told.filter(~lost), mend(told.filter(lost))]).sort("row")
        return told

    def _by_shape(self, lines: pl.DataFrame) -> pl.DataFrame:
        """The lines under the fields that files without a header are known to have, where they look like it."""
        line = pl.col("line")
        guess = pl.coalesce(
            *(pl.when(line.str.contains(self._regex(known))).then(pl.lit(known)) for known in self.known)
        )
        lines = lines.with_columns(cells=_cells(line), fields=pl.coalesce(guess, "fields"))
        return lines.with_columns(wanted=_wanted(pl.col("fields")))

    def _regex(self, known: str) -> str:
        """What a line under these names looks like."""
        cells = [self.patterns.get(name.lower(), r"\S+") for name in known.split()]
        return r"^" + r"[ \t]".join(cells) + r"\s*$"

    # -- cells ---------------------------------------------------------------------------------------------------

    def _read_under(self, rows: pl.DataFrame) -> Parsed:
        """Lines to which the same directives apply."""
        text, date, software = rows.row(0, named=True)["fields"], rows["date"][0], rows["software"][0]
        if text is None:
            reason = "no #Fields line stands before it and it has no layout known without one"
            return Parsed(rows.select("row").clear(), rows.select("row", reason=pl.lit(reason)))
        names = [name.lower() for name in text.split()]
        wrong = (rows["cells"].list.len() != len(names)).fill_null(True)
        broken = rows.filter(wrong).select(
            "row", reason=pl.format("{} cells under the {} names of #Fields", pl.col("cells").list.len(), len(names))
        )
        rows = rows.filter(~wrong)
        if rows.is_empty():
            return Parsed(rows.select("row"), broken)
        fields, sources = self._fields(text.split(), software)
        quoted = bool(rows["line"].str.contains('"', literal=True).any())
        cells = {name: _cell(i, quoted=quoted) for i, name in enumerate(names)}
        moment = _moment(cells, date)
        raws = rows.select("row", *(
            (moment if source == "" else cells[source]).alias(f"v{i}") for i, source in enumerate(sources)
        ))  # fmt: skip
        part = read_raws(raws, fields, self.gateway)
        return Parsed(part.calls, pl.concat([broken, part.rejects]))

    def _fields(self, names: Sequence[str], software: str | None) -> tuple[dict[str, f.Field], list[str]]:
        """Field per name, and the lower-case name of the cell it reads; "" is the moment."""
        kinds = self.kinds(software)
        local = any(name.lower() == "date-local" for name in names)
        fields, sources = {"date and time": f.iso_time("end", self.tz) if local else _UTC}, [""]
        for name in dict.fromkeys(names):
            low = name.lower()
            if low in _MOMENT or _SECRET.search(low):
                continue
            fields[name] = kinds.get(low) or f.attribute(name)
            sources.append(low)
        return fields, sources


def _utc_time() -> f.Field:
    """Date and time in UTC, which have no zone."""
    zoned, careful = f.utc_time("end"), f.iso_time("end")
    return replace(careful, quick=lambda raw: zoned.quick(raw + "Z"))


_UTC = _utc_time()
_MOMENT = ("date", "time", "date-local", "time-local", "x-date", "x-time")


def _moment(cells: Mapping[str, pl.Expr], date: str | None) -> pl.Expr:
    """Date and time of a row; the date of the directive where it has none."""
    time = cells.get("time", cells.get("time-local", pl.lit(None, pl.String)))
    day = cells.get("date", cells.get("date-local", pl.lit(date, pl.String)))
    return day + "T" + time


def _cell(i: int, *, quoted: bool) -> pl.Expr:
    """Cell number i without its quotes (quoted: there may be some); null where the null marker stands."""
    value = pl.col("cells").list.get(i)
    if quoted:
        bare = value.str.strip_prefix('"').str.strip_suffix('"').str.replace_all('""', '"', literal=True)
        value = pl.when(value.str.contains(r'^".*"$')).then(bare).otherwise(value)
    return pl.when((value != "-") & (value != "")).then(value)


def _cells(line: pl.Expr) -> pl.Expr:
    """The cells between tabs, or between single blanks where there are no tabs."""
    even = line.str.strip_chars_end(" \t")
    return pl.when(even.str.contains("\t", literal=True)).then(even.str.split("\t")).otherwise(even.str.split(" "))


def _by_quotes(lines: pl.DataFrame) -> pl.DataFrame:
    """The lines with the cells between any blanks, some of them in quotes."""
    return lines.with_columns(cells=pl.col("line").str.extract_all(_CELL))


def _wanted(fields: pl.Expr) -> pl.Expr:
    return fields.str.count_matches(r"\S+")


def method() -> f.Field:
    """A method; what is none (commands of FTP sessions) is kept as attribute, and the request counts as malformed."""

    def read(raw: pl.Expr) -> f.Columns:
        token = raw.str.contains(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
        return {
            "method": pl.when(token).then(raw),
            "attributes.cs-method": pl.when(~token).then(raw),
            "parse_status": pl.when(token.fill_null(False)).then(pl.lit("ok")).otherwise(pl.lit("malformed_request")),
        }

    return f.Field(read, read)


def address(column: str, name: str) -> f.Field:
    """An IP address, without brackets and zone; where it has a zone, all of it is the attribute `name` as well."""

    def read(raw: pl.Expr) -> f.Columns:
        return {
            column: raw.str.strip_prefix("[").str.replace(r"(?:%[^\]]*)?\]?(?:\(http[^)]*\))?$", ""),
            f"attributes.{name}": pl.when(raw.str.contains("%", literal=True)).then(raw),
        }

    return f.Field(read, read)


def spaced(column: str) -> f.Field:
    """Text whose blanks were written as +."""

    def read(raw: pl.Expr) -> f.Columns:
        return {column: raw.str.replace_all("+", " ", literal=True)}

    return f.Field(read, read)


def path() -> f.Field:
    """The path of a request; a query may be logged apart."""
    return f.text("path")
