"""One line of the registry: a format, and what a user may say about an input."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from apilens.errors import UsageError
from apilens.formats.block import Layout


@dataclass(frozen=True)
class FoundLayout:
    """A layout that stands in a gateway's configuration.

    text: as --log-format takes it. where: file:line. name: what the configuration calls it; "" where it has no name.
    logs: paths of the logs that are written in it. gateway: beginning of the format's name; "": told by its variables.
    """

    text: str
    where: str
    name: str = ""
    logs: tuple[str, ...] = ()
    gateway: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.name}" if self.name else self.where


@dataclass(frozen=True)
class Options:
    """What the user says about an input.

    format: name of a format; None: found by detection. log_format: a pasted layout. tz: zone of times that name none.
    columns: canonical column -> `name` or `name:unit` of a table. layouts: those of a gateway's configuration; the one that
    fits best is taken. Raises UsageError for a zone that Polars does not know (the operating system has more of them).
    """

    format: str | None = None
    log_format: str | None = None
    tz: str = "UTC"
    columns: Mapping[str, str] = field(default_factory=dict)
    layouts: tuple[FoundLayout, ...] = ()

    def __post_init__(self) -> None:
        try:
            pl.Series([0]).cast(pl.Datetime("us", self.tz))
        except pl.exceptions.ComputeError:
            raise UsageError(f"{self.tz!r} is no time zone; expected a name like UTC or Europe/Berlin") from None


#: (head of the input: row, line, none of them blank; options) -> layouts to try in order; none: it cannot be this format.
Open = Callable[[pl.DataFrame, Options], Sequence[Layout]]


@dataclass(frozen=True)
class Format:
    """What apilens knows of one way of writing calls.

    description: for people. example: one line as this gateway writes it, or the layout of a pasted one.
    pasted: regex of the layouts that are this format's when given with --log-format; None: it takes none.
    plain: its lines are an access log's, and the known layouts of all such formats are tried on a line it refuses.
    """

    name: str
    description: str
    example: str
    open: Open
    pasted: re.Pattern[str] | None = None
    plain: bool = False


def fixed(name: str, description: str, example: str, layout: Callable[[Options], Sequence[Layout]]) -> Format:
    """A format whose layouts do not depend on the input."""
    return Format(name, description, example, lambda head, options: layout(options))


def pasted(
    name: str, description: str, example: str, reads: re.Pattern[str], layout: Callable[[str, str], Layout]
) -> Format:
    """A format that is read by the layout the user gives; layout: (its text, time zone) -> Layout.

    reads: told from the layouts of other gateways by this regex.
    """

    def layouts(head: pl.DataFrame, options: Options) -> Sequence[Layout]:
        return [] if options.log_format is None else [layout(options.log_format, options.tz)]

    return Format(name, description, example, layouts, pasted=reads)


def known_or_pasted(
    name: str,
    description: str,
    example: str,
    known: Sequence[str],
    reads: re.Pattern[str],
    layout: Callable[[str, str], Layout],
    variants: Callable[[str], Sequence[str]] = lambda text: [text],
) -> Format:
    """A format with known layouts that also reads one the user gives. reads, layout: as in `pasted`; variants: of its text, all
    of which the gateway writes for it."""

    def layouts(head: pl.DataFrame, options: Options) -> Sequence[Layout]:
        texts = known if options.log_format is None else variants(options.log_format)
        return [layout(text, options.tz) for text in texts]

    return Format(name, description, example, layouts, pasted=reads)
