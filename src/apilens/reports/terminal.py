"""What people read on a terminal: tables and the lines which show that nothing was lost. Results go to stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from apilens.reports.visible import safe, safe_lines

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "Column",
    "endpoint_names",
    "lines_equation",
    "records_equation",
    "safe",
    "safe_lines",
    "several_environments",
    "table",
]

#: Blanks between two columns.
_GAP = 2
#: Spare columns go before text is folded narrower than this; our choice: most routes of the samples stay in one line.
_TEXT = 28
#: Text is never folded narrower than this; our choice: two such columns fit beside the usual ones in 80.
_LEAST_TEXT = 20


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column; numbers stand right and are never broken over two lines.

    spare: left out, the last first, where a terminal is too narrow for all.
    """

    name: str
    justify: Literal["left", "right"] = "left"
    spare: bool = False


def endpoint_names(found: pl.DataFrame) -> list[str]:
    """What each row (environment, service, method, route, and more) is called; "?" stands for what was not logged.

    The environment is named only where there are several: the same endpoint has a row in each.
    """
    parts = ["environment", "service"] if several_environments(found) else ["service"]
    return [
        " ".join([*filter(None, row[:-2]), row[-2] or "?", row[-1] or "?"])
        for row in found.select(*parts, "method", "route").iter_rows()
    ]


def several_environments(found: pl.DataFrame) -> bool:
    """Whether these rows (environment and more) have to name their environment: there are several."""
    return found["environment"].drop_nulls().n_unique() > 1


def table(title: str, columns: Sequence[Column | str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to stdout. Cells may be hostile: nothing in them is taken for markup or sent raw.

    rows: one sequence per line with one cell per column; None shows as "–", everything else as str().
    On a terminal long text is folded, then spare columns are left out (stderr says which), and at last lines are longer
    than it is wide: no figure is ever cut. In a pipe every cell keeps its full width. Colours are not used, so NO_COLOR
    holds.
    """
    from rich.cells import cell_len

    def shown(cell: object) -> str:
        return "–" if cell is None else safe(str(cell))

    all_columns = [column if isinstance(column, Column) else Column(column) for column in columns]
    cells = [[shown(cell) for cell in row] for row in rows]
    full = [
        max(1, *(cell_len(cell) for cell in (shown(column.name), *(row[i] for row in cells))))
        for i, column in enumerate(all_columns)
    ]
    if not sys.stdout.isatty():
        heads = [[shown(title)]] if title else []
        heads.append([shown(column.name) for column in all_columns])
        sys.stdout.write("".join(_line(row, all_columns, full) for row in [*heads, *cells]))
        return
    # rich's tables triple the start-up of a command; those that print JSON or into a pipe do without.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    room = console.width
    kept = _kept(all_columns, full, room)
    widths = _widths([all_columns[i] for i in kept], [full[i] for i in kept], room)
    console.width = max(room, sum(widths) + _GAP * (len(widths) - 1))
    grid = Table(
        title=Text(shown(title)) if title else None, title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for i, width in zip(kept, widths, strict=True):
        column = all_columns[i]
        grid.add_column(
            Text(shown(column.name)),
            justify=column.justify,
            width=width,
            no_wrap=column.justify == "right",
            overflow="fold",
        )
    for row in cells:
        grid.add_row(*(Text(row[i]) for i in kept))
    with console.capture() as drawn:
        console.print(grid)
    # Written by us: rich ends the process with the code of a finding when the reader of a pipe has gone.
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))
    if len(kept) < len(all_columns):
        left_out = ", ".join(column.name for i, column in enumerate(all_columns) if i not in kept)
        sys.stderr.write(f"no room in {room} columns for: {left_out}\n")


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    """A line of a table in which every cell has the room it takes."""
    from rich.cells import cell_len

    blanks = (" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False))
    parts = (
        blank + cell if column.justify == "right" else cell + blank
        for cell, column, blank in zip(cells, columns, blanks, strict=False)
    )
    return (" " * _GAP).join(parts).rstrip() + "\n"


def _kept(columns: Sequence[Column], full: Sequence[int], room: int) -> list[int]:
    """Places of the columns that are shown. full: how wide each is at its widest, in cells of the terminal."""
    kept = list(range(len(columns)))
    for i in reversed(range(len(columns))):
        wanted = [full[k] if columns[k].justify == "right" else min(full[k], _TEXT) for k in kept]
        if sum(wanted) + _GAP * (len(kept) - 1) <= room:
            break
        if columns[i].spare:
            kept.remove(i)
    return kept


def _widths(columns: Sequence[Column], full: Sequence[int], room: int) -> list[int]:
    """Widths of columns: figures in full, text an equal share of the rest, what one does not need for the others."""
    widths = list(full)
    texts = sorted((i for i, column in enumerate(columns) if column.justify == "left"), key=lambda i: full[i])
    rest = room - _GAP * (len(columns) - 1) - sum(full) + sum(full[i] for i in texts)
    for place, i in enumerate(texts):
        widths[i] = min(full[i], max(rest // (len(texts) - place), _LEAST_TEXT))
        rest -= widths[i]
    return widths


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
