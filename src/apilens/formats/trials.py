"""How much of an input's head each format reads, under each chain of wrappers that may be around its lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
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
    """How much of a head one format fits. layouts: those it opened the head with, the first is the likeliest; opened: the same
    in the order of the format."""

    format: str
    layouts: tuple[Layout, ...]
    wrappers: tuple[Wrapper, ...]
    fits: int
    head: pl.DataFrame = field(repr=False)
    opened: tuple[Layout, ...] = field(repr=False)
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


class Sample:
    """The first records of a head under chains of wrappers, each of which is taken off once."""

    def __init__(self, head: Block) -> None:
        self.first_line = head.line
        lines = head.lines
        self._lines = lines.filter(lines["line"].str.contains(FILLED)).head(FEW)
        self._unwrapped: dict[tuple[Wrapper, ...], pl.DataFrame] = {}

    def under(self, wrappers: tuple[Wrapper, ...]) -> pl.DataFrame:
        """What the lines hold, none of it blank; as `unwrap` has it."""
        if wrappers not in self._unwrapped:
            records = unwrap(self._lines, wrappers)
            self._unwrapped[wrappers] = records.filter(records["line"].str.contains(FILLED)) if wrappers else records
        return self._unwrapped[wrappers]


#: Who asks the regexes of heads. Polars keeps 32 compiled ones per thread, and a head is asked more: of a thousand small files each
#: had all of them compiled again, which took more than half of telling its format. These threads ask nothing else.
_ASKERS = [ThreadPoolExecutor(1, thread_name_prefix="apilens-head") for _ in range(2)]


def _asked(records: pl.DataFrame, questions: Mapping[str, pl.Expr]) -> dict[str, pl.Series]:
    """The answer to each question, by its text; the same text is asked by the same thread every time."""
    shares = [[text for text in questions if hash(text) % len(_ASKERS) == i] for i in range(len(_ASKERS))]
    asked = [
        asker.submit(records.select_seq, [questions[text].alias(text) for text in share])
        for asker, share in zip(_ASKERS, shares, strict=True)
    ]
    return {answer.name: answer for part in asked for answer in part.result()}


#: How many lines are each wrapper's.
_WRAPPED = {wrapper.name: wrapper.wraps(pl.col("line")).sum() for wrapper in WRAPPERS}


def chains(sample: Sample) -> list[tuple[Wrapper, ...]]:
    """Chains of wrappers to try on the head, the longest first, the outermost of each first; the last is ().

    What stands in wrappers is meant to be read without them, unless it only looked like it.
    """
    chain: tuple[Wrapper, ...] = ()
    lines = sample.under(chain).select("line")
    while len(chain) < _MAX_WRAPPERS and lines.height:
        counts = {name: count.item() for name, count in _asked(lines, _WRAPPED).items()}
        wrapped = [n if one.sure or 2 * n >= lines.height else 0 for one in WRAPPERS for n in [counts[one.name]]]
        if max(wrapped) == 0:
            break
        longer = (*chain, WRAPPERS[wrapped.index(max(wrapped))])
        inner = sample.under(longer).select("line")
        if inner.equals(lines):
            break
        chain, lines = longer, inner
    return [chain[:n] for n in range(len(chain), -1, -1)]


def try_formats(sample: Sample, options: Options, wrappers: tuple[Wrapper, ...]) -> list[Trial]:
    """How every format that could be meant fits the head under its wrappers, in the registry's order."""
    records = sample.under(wrappers).head(FEW)
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
        found.append(Trial(name, ordered, wrappers, taken, records, layouts, sample.first_line))
    return found


#: Whether each record of a head fits a layout. Arrays: forty formats are combined on each head, and a step of Polars takes as long
#: as a hundred of NumPy on so few.
_Fits = npt.NDArray[np.bool_]


def _fits(records: pl.DataFrame, layouts: Sequence[Layout]) -> dict[int, _Fits]:
    """Whether each record fits, by id of those layouts that a glance or their regex tells it of."""
    lines = records["line"].to_list()
    hopeful = [layout for layout in layouts if layout.may_fit(lines)]
    asked = {
        regex: pl.col("line").str.contains(regex)
        for layout in hopeful
        if (regex := layout.mark if layout.pattern is None else layout.pattern)
    }
    matches = {regex: match.to_numpy() for regex, match in _asked(records, asked).items()}
    nothing = np.zeros(records.height, np.bool_)
    found = dict.fromkeys(map(id, layouts), nothing)
    for layout in hopeful:
        if layout.pattern is not None:
            found[id(layout)] = matches[layout.pattern]
        elif not layout.mark or matches[layout.mark].any():
            del found[id(layout)]
    return found


def _likeliest_first(
    records: pl.DataFrame, layouts: Sequence[Layout], known: Mapping[int, _Fits]
) -> tuple[tuple[Layout, ...], int]:
    """The layouts in the order given, those last that fit nothing an earlier one left; and how many records fit any.

    known: as `_fits` has it.
    """
    left: _Fits = np.ones(records.height, np.bool_)
    taking, idle = [], []
    for layout in layouts:
        fits = known.get(id(layout))
        if fits is None and left.any():
            fits = layout.fits(records).to_numpy()
        if fits is not None and (fits & left).any():
            taking.append(layout)
            left &= ~fits
        else:
            idle.append(layout)
    return (*taking, *idle), int((~left).sum())
