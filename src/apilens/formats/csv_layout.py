"""Lines of cells between separators, some of them quoted, whose names stand in a header line or are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from apilens.formats.block import Layout, Parsed
from apilens.formats.fields import Field, attribute, outranked, read_raws, shown

#: A quoted cell; one with doubled quotes in it is two of them side by side.
_QUOTED = r'"[^"]*"'
#: Further cells of a line that may have some.
_MAX_FURTHER = 50
#: Cells of a line that one regex tells: that of 4,000 is larger than Polars compiles.
_MAX_AT_ONCE = 1000


@dataclass(frozen=True)
class CsvLayout(Layout):
    """text: the header line; None: there is none. fields: what the cells are, in their order, by name.

    forms: cell -> regex that it matches as it stands in the line, quotes and all, and what that is in words. further: name of the cells that may follow those with names; None: none may.
    doubts: as in Layout.
    """

    gateway: str
    text: str | None
    separator: str
    fields: Mapping[str, Field]
    forms: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    further: str | None = None
    nulls: tuple[str, ...] = ("-", "")
    doubts: tuple[str, ...] = ()

    def may_fit(self, lines: Sequence[str]) -> bool:
        """Whether a line has separators enough."""
        return any(line.count(self.separator) >= len(self.fields) - 1 for line in lines)

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each line is the header or can be read under it."""
        part = self.read(records)
        return ~records["row"].is_in(part.rejects["row"].implode())

    def nearness(self, records: pl.DataFrame) -> float:
        """Share of the records that can be read under the header, 0..1."""
        return float(self.fits(records).mean() or 0.0)  # type: ignore[arg-type]  # the mean of a boolean column

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls and rejects of `records` (row, line); see Parsed. A quoted line break is not supported: two rejects."""
        is_header = records["line"].is_in([self.text])
        rest = records.filter(~is_header)
        wanted = len(self.fields) - 1
        # Nearly all lines have as many cells as the first one, which one regex tells.
        first = self._separators(rest["line"].head(1)).to_list() or [wanted]
        extra = min(max(first[0] - wanted, 0), self._most_further)
        if wanted + extra < _MAX_AT_ONCE:
            shaped = rest["line"].str.contains(
                f"^{self.separator.join(self._cells)}{f'{self.separator}{self._cell}' * extra}$"
            )
        else:
            shaped = pl.repeat(False, rest.height, eager=True)
        odd = rest.filter(~shaped)
        broken = self._broken(odd)
        odd, rest = (some.join(broken, on="row", how="anti", maintain_order="left") for some in (odd, rest))
        if rest.is_empty():
            return Parsed(pl.DataFrame(schema={"row": pl.UInt32}), broken, header=int(is_header.sum()))
        if odd.height:
            extra = max(extra if shaped.any() else 0, int(self._separators(odd["line"]).max()) - wanted)  # type: ignore[arg-type]  # of a column of numbers
        fields = dict(self.fields) | {
            f"{self.further}-{i + 1}": attribute(f"{self.further}-{i + 1}") for i in range(extra)
        }
        cells = pl.read_csv(
            "\n".join(rest["line"].to_list()).encode(),
            separator=self.separator,
            has_header=False,
            schema={f"v{i}": pl.String for i in range(len(fields))},
            null_values=list(self.nulls),
        )
        raws = cells.with_columns(rest["row"])
        part = read_raws(raws, fields, self.gateway, unused=outranked(fields.items()))
        return Parsed(part.calls, pl.concat([broken, part.rejects]), header=int(is_header.sum()))

    @property
    def _most_further(self) -> int:
        return _MAX_FURTHER if self.further else 0

    def _separators(self, lines: pl.Series) -> pl.Series:
        """How many each line has outside of quotes."""
        return lines.str.replace_all(_QUOTED, "").str.count_matches(self.separator, literal=True)

    def _broken(self, records: pl.DataFrame) -> pl.DataFrame:
        """Those of `records` that cannot be read under the header, and why."""
        cell, separators, wanted = self._cell, self._separators(records["line"]), len(self.fields) - 1
        named = "of the header" if self.text is not None else "that it has"
        wrong = records.select(
            "row",
            pl.when(~records["line"].str.contains(f"^{cell}(?:{self.separator}{cell})*$"))
            .then(
                pl.lit(
                    "a quote stands inside a cell or is not closed on its line; cells with line breaks are not read:"
                    " write each record on one line (docs/commands.md, parse, says how)"
                )
            )
            .when(separators < wanted)
            .then(pl.lit(f"fewer cells than the {len(self.fields)} {named}"))
            .when(separators > wanted + self._most_further)
            .then(pl.lit(f"more cells than the {len(self.fields)} {named}"))
            .alias("reason"),
        )
        if self.forms and records.height:
            wrong = wrong.with_columns(pl.coalesce("reason", self._misshapen(records["line"])))
        return wrong.drop_nulls("reason")

    @property
    def _cell(self) -> str:
        """Regex of any cell."""
        return rf'(?:"[^"]*"(?:"[^"]*")*|[^"{self.separator}]*)'

    @cached_property
    def _cells(self) -> list[str]:
        """Regex of each cell."""
        return [f"(?:{self.forms[name][0]})" if name in self.forms else self._cell for name in self.fields]

    def _misshapen(self, lines: pl.Series) -> pl.Series:
        """The first cell of each line that has another form than it should; null where there is none."""
        left = lines.to_frame("line").with_row_index()
        left = left.filter(~left["line"].str.contains(f"^{self.separator.join(self._cells)}(?:{self.separator}|$)"))
        found = [left.select("index", reason=pl.lit(None, pl.String)).clear()]
        for i, name in enumerate(self.fields):
            if left.is_empty():
                break
            begin = "^" + "".join(f"{one}{self.separator}" for one in self._cells[:i])
            if name not in self.forms:
                continue
            fits = left["line"].str.contains(f"{begin}{self._cells[i]}(?:{self.separator}|$)")
            value = pl.col("line").str.extract(f"{begin}({self._cell})")
            reason = pl.lit(f"{name} is ") + shown(value) + pl.lit(f", expected {self.forms[name][1]}")
            found.append(left.filter(~fits).select("index", reason=reason))
            left = left.filter(fits)
        index = pl.DataFrame({"index": pl.Series(range(len(lines)), dtype=pl.get_index_type())})
        return index.join(pl.concat(found), on="index", how="left", maintain_order="left")["reason"]
