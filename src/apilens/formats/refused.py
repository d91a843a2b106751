"""The lines that an input's own layouts refuse: read by other layouts, or told why they are no calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import polars as pl

from apilens.formats.asked import NOTHING
from apilens.formats.block import Layout, Parsed, ask
from apilens.formats.format import Options
from apilens.formats.json_layout import JsonLayout, shapes
from apilens.formats.json_paths import dotted, names
from apilens.formats.registry import FORMATS

#: What the known layouts of plain access logs have in common. Garbage is told by this one regex instead of by forty.
_ACCESS_LINE = r'\[\d\d/[A-Za-z]{3}/\d{4}:[^\]]+\] (?:\S+ )?".*" (?:[\d.]+|-) '


@dataclass(frozen=True)
class OneOf(Layout):
    """Layouts for the few lines that an input's own layout refuses."""

    layouts: tuple[Layout, ...]
    gateway: str = "other"
    text: str | None = None

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether any of the layouts fits."""
        return pl.select(pl.any_horizontal(layout.fits(records) for layout in self.layouts)).to_series()

    def nearness(self, records: pl.DataFrame) -> float:
        """That of the nearest layout."""
        return max(layout.nearness(records) for layout in self.layouts)

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls of the first layout that takes a line; the reasons of rejects are of no interest."""
        plain = all(FORMATS[layout.gateway].plain for layout in self.layouts)
        left = records.filter(pl.col("line").str.contains(_ACCESS_LINE)) if plain else records
        hopeless = records.join(left, on="row", how="anti").select("row", pl.lit("no layout fits").alias("reason"))
        part = ask(left, self.layouts)
        return replace(part, rejects=pl.concat([part.rejects, hopeless]))


#: Kinds of objects among the rejects of a block for which a nearest format is looked for.
_SHAPES = 50


@dataclass(frozen=True)
class Objects(Layout):
    """The JSON objects among the lines that an input's own layouts refuse: read by the format that knows them, if its
    head had none of them; of the others it can be said why they are no calls.

    explains: whether that is to be said; layouts of JSON know better what a record of theirs lacks.
    """

    options: Options
    explains: bool
    gateway: str = "JSON"
    text: str | None = None

    @property
    def last_resort(self) -> bool:
        """Always: to tell the formats of many lines costs as much as reading them."""
        return True

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """None does."""
        return pl.repeat(False, records.height, eager=True)

    def nearness(self, records: pl.DataFrame) -> float:
        """As `fits`."""
        return 0.0

    def read(self, records: pl.DataFrame) -> Parsed:
        """Calls of the formats that know such objects; rejects that begin with a brace say what they lack of the nearest."""
        nothing = records.select("row", pl.lit("no JSON").alias("reason"))
        like = records["line"].str.contains(r"^\s*\{")
        if not like.any():
            return Parsed(NOTHING.select("row"), nothing)
        lines = records.filter(like).with_columns(shape=shapes(records["line"].filter(like)))
        one_each = lines.filter(pl.col("shape").is_not_null() & pl.col("shape").is_first_distinct()).head(_SHAPES)
        layouts = self._layouts(one_each.select("row", "line"))
        part = ask(lines.select("row", "line"), layouts)
        refused = part.rejects if layouts else nothing.filter(like)
        if self.explains:
            refused = self._explained(lines.join(refused, on="row", maintain_order="left"))
        return replace(part, rejects=pl.concat([nothing.filter(~like), refused]))

    def _explained(self, refused: pl.DataFrame) -> pl.DataFrame:
        """Rejects of `refused` (row, shape, reason) with what each lacks of the format it is nearest to."""
        known = refused["shape"].drop_nulls().unique(maintain_order=True).head(_SHAPES)
        said = pl.DataFrame({"shape": known, "lacks": [self._reason(one) for one in known.to_list()]})
        value = pl.col("reason").str.contains(' is (?:".*|missing), ')
        return refused.join(said, on="shape", how="left", maintain_order="left").select(
            "row",
            reason=pl.when(pl.col("reason").is_null())
            .then(None)
            .when(pl.col("shape").is_null())
            .then(pl.lit("JSON that is cut off, broken or nested too deep"))
            .when(value)
            .then(pl.lit("JSON, but ") + pl.col("reason"))
            .otherwise(pl.coalesce("lacks", pl.lit("JSON of no known format"))),
        )

    def _layouts(self, samples: pl.DataFrame) -> list[Layout]:
        """The layouts of the formats that take one of the samples."""
        options = replace(self.options, format=None, log_format=None, layouts=(), columns={})
        formats = (format for name, format in FORMATS.items() if not name.startswith("table"))
        opened = (layout for format in formats for layout in format.open(samples, options))
        return [layout for layout in opened if isinstance(layout, JsonLayout) and layout.fits(samples).any()]

    def _reason(self, shape: str) -> str:
        leaves = _leaves([shape])
        layout = _nearest(leaves, self.options)
        if layout is None:
            return f"JSON of no known format, with {', '.join(leaves[:5])}"
        return f"JSON, nearest to {layout.gateway}, but without {', '.join(layout.lacking(leaves)) or 'its values'}"


#: Share of what tells a format, and of the fields of a record, from which on the two are called near.
_NEAR = 0.5


def near_miss(lines: pl.Series, options: Options) -> str | None:
    """The format that the objects were of if they had one field more, in words; None: there is none."""
    leaves = _leaves(lines.head(20))
    layout = _nearest(leaves, options)
    if layout is None or len(missing := layout.lacking(leaves)) != 1:
        return None
    return f"they would be {layout.gateway} if they had {missing[0]}"


def _leaves(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(dotted(path) for path in names(lines)))


def _nearest(leaves: Sequence[str], options: Options) -> JsonLayout | None:
    """The layout of JSON that a record with these fields is nearest to; None: it has little of any."""
    layouts = [
        layout
        for format in FORMATS.values()
        for layout in format.open(NOTHING, replace(options, format=None, log_format=None, layouts=(), columns={}))
        if isinstance(layout, JsonLayout)
    ]
    ranked = sorted(layouts, key=lambda layout: -sum(layout.kinship(leaves)))
    told, known = ranked[0].kinship(leaves)
    return ranked[0] if told >= _NEAR and known >= _NEAR else None
