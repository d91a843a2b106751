"""What people read on a terminal: tables and the lines which show that nothing was lost. Results go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from apilens.reports.visible import safe, safe_lines

__all__ = ["Column", "lines_equation", "records_equation", "safe", "safe_lines", "table"]

#: No line of a table comes near it: in a pipe every cell is written in full.
_PIPE_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column; numbers stand right and are never broken over two lines."""

    name: str
    justify: Literal["left", "right"] = "left"


def table(title: str, columns: Sequence[Column | str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout. Cells may be hostile: nothing in them is taken for markup or sent raw.

    rows: one sequence per line with one cell per column; None shows as "–", everything else as str().
    On a terminal long text is folded, in a pipe it keeps its full width. Colours are not used, so NO_COLOR holds.
    """
    # rich triples the start-up of a command; those that print JSON do without.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def words(cell: object) -> Text:
        return Text("–" if cell is None else safe(str(cell)))

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    grid = Table(
        title=words(title) if title else None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        heading = column if isinstance(column, Column) else Column(column)
        grid.add_column(
            words(heading.name), justify=heading.justify, no_wrap=heading.justify == "right", overflow="fold"
        )
    for row in rows:
        grid.add_row(*map(words, row))
    console.print(grid)


def records_equation(*, read: int, stored: int, rejected: int, filtered: int, duplicate: int) -> str:
    """`read 10 = stored 8 + rejected 1 + filtered 1 + duplicate 0`; ≠ and the difference where it does not hold."""
    parts = {"stored": stored, "rejected": rejected, "filtered": filtered, "duplicate": duplicate}
    return _equation("read", read, parts)


def lines_equation(*, lines: int, records: int, header: int, blank: int) -> str:
    """`lines 12 = record lines 10 + header 1 + blank 1`, counted apart from the parser; ≠ where it does not hold."""
    return _equation("lines", lines, {"records": records, "header": header, "blank": blank})


def _equation(name: str, total: int, parts: dict[str, int]) -> str:
    missing = total - sum(parts.values())
    right = " + ".join(f"{part} {count:,}" for part, count in parts.items())
    if missing == 0:
        return f"{name} {total:,} = {right}"
    return f"{name} {total:,} ≠ {right} ({missing:+,} not accounted for)"
