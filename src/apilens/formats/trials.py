"""How much of an input's head each format reads, under each chain of wrappers that may be around its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from apilens.formats.asked import named_format
from apilens.formats.block import FEW, FILLED, Block, Layout, Wrapper, unwrap
from apilens.formats.format import Options
from apilens.formats.registry import FORMATS
from apilens.formats.wrappers import WRAPPERS

#: Wrappers inside one another that are looked for: a container's line in a journal in an exporter's document.
_MAX_WRAPPERS = 5


@dataclass(frozen=True)
class Trial:
    """How much of a head one format fits. layouts: those it opened the head with, the first is the likeliest."""

    format: str
    layouts: tuple[Layout, ...]
    wrappers: tuple[Wrapper, ...]
    fits: int
    head: pl.DataFrame = field(repr=False)
    first_line: int = 1

    @property
    def records(self) -> int:
        """Records of the head."""
        return self.head.height

    @property
    def nearness(self) -> float:
        """How much of its nearest layout the head has, 0..1."""
        return self._nearest.nearness(self.head.select("row", "line"))

    @property
    def is_near(self) -> bool:
        """Whether that is near enough to be told."""
        return self._nearest.is_near(self.head.select("row", "line"))

    @cached_property
    def _nearest(self) -> Layout:
        return max(self.layouts, key=lambda layout: layout.nearness(self.head.select("row", "line")))

    @property
    def weight(self) -> float:
        """The share of the head that fits; of a table half, which any object fits that has the usual names."""
        return self.fits / max(self.records, 1) * (0.5 if self.is_table else 1)

    @property
    def is_table(self) -> bool:
        """Whether the format reads whatever has the usual names."""
        return self.format.startswith("table")

    @property
    def first_reject(self) -> str | None:
        """The first record of the head that its likeliest layout refuses, and why; None: it takes all."""
        records = self.head.select("row", "line")
        layout = self.layouts[0] if self.fits else self._nearest
        reject = layout.read(records).rejects.drop_nulls("reason").sort("row").head(1)
        if reject.is_empty():
            return None
        reject = layout.explain(records, reject)
        at = self.head.filter(pl.col("row") == reject["row"][0])["at"][0]
        return f"line {int(at) + self.first_line}: {reject['reason'][0]}"


def chains(head: Block) -> list[tuple[Wrapper, ...]]:
    """Chains of wrappers to try on the head, the longest first, the outermost of each first; the last is ().

    What stands in wrappers is meant to be read without them, unless it only looked like it.
    """
    chain: tuple[Wrapper, ...] = ()
    lines = _sample(head).select("line")
    while len(chain) < _MAX_WRAPPERS and lines.height:
        wrapped = [int(one.wraps(lines["line"]).sum()) for one in WRAPPERS]
        wrapped = [n if one.sure or 2 * n >= lines.height else 0 for one, n in zip(WRAPPERS, wrapped, strict=True)]
        chain = (*chain, WRAPPERS[wrapped.index(max(wrapped))])
        inner = unwrap(_sample(head), chain).select("line")
        inner = inner.filter(inner["line"].str.contains(FILLED))
        if max(wrapped) == 0 or inner.equals(lines):
            chain = chain[:-1]
            break
        lines = inner
    return [chain[:n] for n in range(len(chain), -1, -1)]


def _sample(head: Block) -> pl.DataFrame:
    lines = head.lines
    return lines.filter(lines["line"].str.contains(FILLED)).head(FEW)


def try_formats(head: Block, options: Options, wrappers: tuple[Wrapper, ...]) -> list[Trial]:
    """How every format that could be meant fits the head under its wrappers, in the registry's order."""
    records = unwrap(_sample(head), wrappers)
    records = records.filter(records["line"].str.contains(FILLED)).head(FEW)
    plain = records.select("row", "line")
    named = named_format(options)
    opened = {
        name: layouts
        for name in (FORMATS if named is None else (named,))
        if (layouts := tuple(FORMATS[name].open(plain, options)))
    }
    fits = _fits(plain, [layout for layouts in opened.values() for layout in layouts])
    found = []
    for name, layouts in opened.items():
        ordered, taken = _likeliest_first(plain, layouts, fits)
        found.append(Trial(name, ordered, wrappers, taken, records, head.line))
    return found


def _fits(records: pl.DataFrame, layouts: Sequence[Layout]) -> dict[int, pl.Series | None]:
    """Whether each record fits (None: none does), by id of those layouts that a glance or their regex tells it of; all regexes in one go."""
    lines = records["line"].to_list()
    hopeful = {id(layout): layout.pattern for layout in layouts if layout.may_fit(lines)}
    told = records.select(
        pl.col("line").str.contains(pattern).alias(str(key)) for key, pattern in hopeful.items() if pattern is not None
    )
    return {
        id(layout): told[str(id(layout))] if hopeful.get(id(layout)) is not None else None
        for layout in layouts
        if id(layout) not in hopeful or hopeful[id(layout)] is not None
    }


def _likeliest_first(
    records: pl.DataFrame, layouts: Sequence[Layout], known: Mapping[int, pl.Series | None]
) -> tuple[tuple[Layout, ...], int]:
    """The layouts in the order given, those last that fit nothing an earlier one left; and how many records fit any.

    known: as `_fits` has it.
    """
    taken, taking, idle = None, list[Layout](), list[Layout]()
    for layout in layouts:
        fits = known[id(layout)] if id(layout) in known else layout.fits(records)
        more = fits if fits is None or taken is None else fits & ~taken
        if more is not None and more.any():
            taking.append(layout)
            taken = more if taken is None else taken | more
        else:
            idle.append(layout)
    return (*taking, *idle), 0 if taken is None else int(taken.sum())
