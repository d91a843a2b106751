"""A newline-aligned piece of input, and its lines as a column that shares the block's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

_NEWLINE = 10
_BOM = "\ufeff".encode()


@dataclass(frozen=True)
class Block:
    """Whole lines of one input, uncompressed; only the last may lack its terminator.

    offset: byte offset of data[0] in the input. line: 1-based number of the first line.
    """

    data: bytes = field(repr=False)
    offset: int = 0
    line: int = 1

    @cached_property
    def _starts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Start of every line and, last, the end of the data."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == _NEWLINE) + 1
        if not self.data or (ends.size and ends[-1] == len(self.data)):
            return np.concatenate(([0], ends))
        return np.concatenate(([0], ends, [len(self.data)]))

    @property
    def line_count(self) -> int:
        """Lines in the block, blank ones included."""
        return len(self._starts) - 1

    @cached_property
    def lines(self) -> pl.DataFrame:
        """One row per line: `row` (0-based), `line` (text without terminator; invalid UTF-8 as U+FFFD).

        The text column is built on the block's own bytes, without a copy, when they are valid UTF-8.
        """
        data, starts = self.data, self._starts
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError:
                # Decoding keeps every newline, so the repaired copy has the same lines at other offsets.
                repaired = Block(data.decode("utf-8", "replace").encode())
                data, starts = repaired.data, repaired._starts
        column = pa.LargeStringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(data))
        text = pl.from_arrow(column)
        assert isinstance(text, pl.Series)
        text = text.str.strip_chars_end("\r\n")
        if _BOM in data:
            text = text.str.strip_prefix("\ufeff")  # exports begin with it, and so do the parts of joined ones
        if b"\0" in data:
            text = text.str.strip_chars_start("\0")  # copytruncate leaves a run of NUL before the first new line
        return pl.DataFrame({"line": text}).with_row_index("row")

    @property
    def has_records(self) -> bool:
        """Whether any line is more than blank."""
        return not self.lines["line"].str.contains(BLANK).all()

    def offsets(self, rows: pl.Series) -> pl.Series:
        """Byte offsets in the input at which the lines `rows` (0-based) start; Int64."""
        return pl.Series("source_offset", self._starts[rows.to_numpy()] + self.offset, dtype=pl.Int64)

    def raw(self, rows: pl.Series) -> pl.Series:
        """The lines `rows` as logged, byte for byte, without their terminator; Binary."""
        # Row by row, because only rejects come here and Arrow cannot slice invalid UTF-8 as text.
        at = self._starts
        return pl.Series(
            "raw", [self.data[at[row] : at[row + 1]].rstrip(b"\r\n") for row in rows.to_list()], dtype=pl.Binary
        )


#: What counts as a blank line: nothing, or only white space and the NUL padding that copytruncate leaves.
BLANK = r"^[\s\x00]*$"


@dataclass(frozen=True)
class Parsed:
    """What a format made of some records; together the parts hold every record once.

    calls: `row` and the columns of schema.CALLS that the format logs (an absent column is null throughout).
    rejects: `row` and `reason`, one row per record that does not fit.
    header: lines that name columns. filtered: records that are no calls (error log lines between them).
    blank: lines that are no records.
    """

    calls: pl.DataFrame
    rejects: pl.DataFrame
    header: int = 0
    filtered: int = 0
    blank: int = 0


class Layout(Protocol):
    """One way of writing calls, compiled: what a format opens an input with."""

    @property
    def gateway(self) -> str:
        """Name of the format, as it stands in the rows."""

    @property
    def text(self) -> str | None:
        """The layout as its author wrote it; None: the format has only one."""

    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each of `records` (row, line) has this layout's shape; `read` may still refuse a value in it."""

    def nearness(self, records: pl.DataFrame) -> float:
        """How much of this layout's shape the records have, 0..1; ranks formats none of which fits."""

    def read(self, records: pl.DataFrame) -> Parsed:
        """Parse `records` (row, line), none of them blank. Raises nothing: what does not fit is a reject."""


REJECTED = pl.Schema({"row": pl.UInt32, "reason": pl.String})


def parse(block: Block, layouts: Sequence[Layout]) -> Parsed:
    """Every line of the block by the first of `layouts` that takes it; reasons are those of the first layout."""
    lines = block.lines
    blank = lines["line"].str.contains(BLANK)
    records = lines.filter(~blank) if blank.any() else lines
    part = parse_records(records, layouts)
    return Parsed(part.calls, part.rejects, part.header, part.filtered, lines.height - records.height)


def parse_records(records: pl.DataFrame, layouts: Sequence[Layout]) -> Parsed:
    """The same for records (row, line), none of them blank."""
    left, calls, rejects = records, [], REJECTED.to_frame()
    header = filtered = 0
    for i, layout in enumerate(layouts):
        if left.is_empty():
            break
        part = layout.read(left)
        calls.append(part.calls)
        header, filtered = header + part.header, filtered + part.filtered
        rejects = part.rejects if i == 0 else rejects.join(part.rejects, on="row", how="semi")
        left = left.join(part.rejects, on="row", how="semi") if part.rejects.height else left.clear()
    found = [frame for frame in calls if frame.height]
    nothing = pl.DataFrame(schema={"row": pl.UInt32})
    return Parsed(pl.concat(found, how="diagonal") if found else nothing, rejects, header, filtered)
