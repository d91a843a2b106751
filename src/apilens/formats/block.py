"""A newline-aligned piece of input, and its lines as a column that shares the block's memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from apilens import arrow
from apilens.formats.attributes import add_attributes
from apilens.formats.escapes import decode

_NEWLINE = 10
_BOM = "\ufeff".encode()
#: Bytes of an input's beginning from which its format is told.
_HEAD_BYTES = 256 << 10


def _lines(data: bytes, starts: np.ndarray[Any, np.dtype[np.int64]]) -> pl.Series:
    """The lines that begin at `starts`, of which the last is the end of the data, with their terminators."""
    column = pa.LargeStringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(data))
    return arrow.series(column)


@dataclass(frozen=True)
class Block:
    """Whole lines of one input, uncompressed; only the last may lack its terminator.

    offset: byte offset in the input at which the first line starts. line: 1-based number of the first line.
    left_out: bytes of the block's only line that data lacks, as the line is too long. cut: what is left out is not only NUL
    padding, so that the line is a reject.
    """

    data: bytes = field(repr=False)
    offset: int = 0
    line: int = 1
    left_out: int = 0
    cut: bool = False

    @property
    def size(self) -> int:
        """How many bytes of the input the block stands for."""
        return len(self.data) + self.left_out

    @cached_property
    def _starts(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Start of every line and, last, the end of the data."""
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == _NEWLINE) + 1
        if not self.data or (ends.size and ends[-1] == len(self.data)):
            return np.concatenate(([0], ends))
        return np.concatenate(([0], ends, [len(self.data)]))

    @cached_property
    def begins_filled(self) -> bool:
        """Whether each line begins with a visible ASCII character, so that none is blank; told at a glance."""
        first = np.frombuffer(self.data, np.uint8)[self._starts[:-1]]
        return bool(((first > ord(" ")) & (first < 0x7F)).all())

    @cached_property
    def line_count(self) -> int:
        """Lines in the block, blank ones included; counted apart from `lines`, which is held against it."""
        return int(np.count_nonzero(np.frombuffer(self.data, np.uint8) == _NEWLINE)) + (
            self.data[-1:] not in (b"", b"\n")
        )

    @cached_property
    def lines(self) -> pl.DataFrame:
        """One row per line: `row` (0-based), `line` (text without terminator; bytes that are no UTF-8 as in escapes.decode).

        The text column is built on the block's own bytes, without a copy, when they are valid UTF-8.
        """
        data, ascii_only = self.data, self.data.isascii()
        try:
            if not ascii_only:
                data.decode()
            text = _lines(data, self._starts)
        except UnicodeDecodeError:
            # Decoding keeps every newline, so the repaired copies have the same lines at other offsets.
            text, json = (
                _lines(copy.data, copy._starts)
                for copy in (Block(decode(data, json=json).encode()) for json in (False, True))
            )
            text = json.zip_with(json.str.contains('{"', literal=True), text)
        text = text.str.strip_chars_end("\r\n")
        if not ascii_only and _BOM in data:
            text = text.str.strip_prefix("\ufeff")  # exports begin with it, and so do the parts of joined ones
        if b"\0" in data:
            text = text.str.strip_chars_start("\0")  # copytruncate leaves a run of NUL before the first new line
        return pl.DataFrame({"line": text}).with_row_index("row")

    @property
    def directives(self) -> bytes:
        """The lines that say how those after them are read, of each kind the last (W3C extended log format); where no line
        begins with one, those that hold one: a wrapper may stand around them.
        """
        if b"#" not in self.data:
            return b""
        bare = self.data.startswith(b"#") or b"\n#" in self.data
        found = []
        for mark in (b"#Software:", b"#Start-Date:", b"#Date:", b"#Fields:"):
            if bare and not self.data.startswith(mark):
                at = self.data.rfind(b"\n" + mark) + 1 or -1
            else:
                at = self.data.rfind(b"\n" + mark) + 1 if bare else self.data.rfind(mark)
            if at >= 0:
                begin = self.data.rfind(b"\n", 0, at) + 1
                found.append(self.data[begin:].partition(b"\n")[0] + b"\n")
        return b"".join(found)

    @property
    def head(self) -> Block:
        """The first lines, from which a format is told: whole, however long, and the same whoever asks."""
        end = self.data.rfind(b"\n", 0, _HEAD_BYTES) + 1 or self.data.find(b"\n") + 1 or len(self.data)
        return Block(self.data[:end], self.offset, self.line)

    @property
    def has_records(self) -> bool:
        """Whether any line is more than blank, and whole."""
        return not self.cut and bool(self.lines["line"].str.contains(FILLED).any())

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


#: What a blank line has nothing of: it is empty, or only white space and the NUL padding that copytruncate leaves.
FILLED = r"[^\s\x00]"


@dataclass(frozen=True)
class Parsed:
    """What was made of some records; together the parts hold every record once.

    calls: `row` and the columns of schema.CALLS that the format logs (an absent column is null throughout).
    rejects: `row` and `reason`, one row per record that does not fit; of a whole block also `record` and `text`, see parse.
    A null reason, of a layout's own: a record that its gateway writes between the calls but which is none (an error log
    line). It may be a call of a sister's, so that only who asks several layouts can count it.
    header: lines that name columns. filtered: records of which no layout makes a call and one says that they are none.
    blank: lines that hold no record. read: records given. lines: those that records took.
    """

    calls: pl.DataFrame
    rejects: pl.DataFrame
    header: int = 0
    filtered: int = 0
    blank: int = 0
    read: int = 0
    lines: int = 0


#: Lines so few that each may be looked at by itself: those of a head, and those that are left of a block.
FEW = 200


class Layout(ABC):
    """One way of writing calls, compiled: what a format opens an input with.

    gateway: name of the format, as it stands in the rows. text: the layout as its author wrote it; None: the format has
    only one. doubts: what in it may be a slip of its author, or is lost because nobody says what it is, in words. mark: regex
    that every line matches which fits, and perhaps others.
    """

    gateway: str
    text: str | None
    mark: str = ""
    doubts: tuple[str, ...] = ()

    @property
    def pattern(self) -> str | None:
        """The regex that every line matches which fits, and no other; None: no regex alone tells."""
        return None

    def may_fit(self, lines: Sequence[str]) -> bool:
        """Whether any of a few lines may fit, told at a glance; False is certain, True is not."""
        return True

    @abstractmethod
    def fits(self, records: pl.DataFrame) -> pl.Series:
        """Whether each of `records` (row, line) has this layout's shape; `read` may still refuse a value in it."""

    @abstractmethod
    def nearness(self, records: pl.DataFrame) -> float:
        """How much of this layout's shape the records have, 0..1; ranks formats none of which fits."""

    def is_near(self, records: pl.DataFrame) -> bool:
        """Whether it helps to hear where records, none of which fits, leave this layout."""
        return self.nearness(records) > 0

    @abstractmethod
    def read(self, records: pl.DataFrame) -> Parsed:
        """Parse `records` (row, line), none of them blank. Raises nothing: what does not fit is a reject."""

    def explain(self, records: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
        """`rejects` that `read` made of `records`, their reasons as exact as can be told; that costs more than reading."""
        return rejects

    def take(self, records: pl.DataFrame) -> Parsed:
        """As `read`, of records that another layout has refused: why this one refuses them as well matters little."""
        return self.read(records)

    @property
    def last_resort(self) -> bool:
        """Whether it is asked only for records that are refused, and not for those that are no calls of another layout's."""
        return False

    def after(self, block: Block) -> Layout:
        """The layout of what follows `block`, where lines inside it may name other columns; else the layout itself."""
        return self


class Wrapper(ABC):
    """Something that carries the lines of a gateway: a container runtime, syslog, an exporter.

    name: what it is called. sure: no gateway writes such lines itself, so that one of them in a head is enough to look for
    more; of the others it takes half. at_once: bytes of lines that are read together (None: those of a block), where one line
    may hold thousands of records, each with what is said around all of them.
    """

    name: str
    sure: bool = False
    at_once: int | None = None

    @abstractmethod
    def wraps(self, line: pl.Expr) -> pl.Expr:
        """Whether a line is one of this wrapper's; String -> Boolean."""

    @abstractmethod
    def unwrap(self, records: pl.DataFrame) -> pl.DataFrame:
        """What `records` (row, line, node), all of which it wraps, hold: `row` of the record it stood in, `line` (null: the
        record stays as it is).

        Several rows may come out of one record, and none. Optional columns: `rows`, of all records that were joined into
        this one (row is the first of them); `node`, the machine or container that wrote it; `around`, what else is said of
        a record that stands inside another one: its columns of AROUND where it has none itself, and attributes.
        """


@dataclass(frozen=True)
class Reader:
    """How an input is read: wrappers to take off, the outermost first, then layouts to try in order."""

    layouts: tuple[Layout, ...] = ()
    wrappers: tuple[Wrapper, ...] = ()

    def after(self, block: Block) -> Reader:
        """The reader of what follows `block`."""
        if self.wrappers and (said := block.directives):
            block = Block("\n".join(unwrap(Block(said).lines, self.wrappers)["line"]).encode())
        layouts = tuple(layout.after(block) for layout in self.layouts)
        return (
            self if all(a is b for a, b in zip(layouts, self.layouts, strict=True)) else Reader(layouts, self.wrappers)
        )


#: Keys and values beside a record; keys that are columns.
_AROUND = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
AROUND = ("trace_id", "span_id", "service")

REJECTED = pl.Schema({"row": pl.UInt32, "reason": pl.String})


def unwrap(lines: pl.DataFrame, wrappers: Sequence[Wrapper]) -> pl.DataFrame:
    """What lines (row, line) hold under their wrappers: `row` (counted anew), `line`, and where it stood: `at` (row of the
    first line), `record` (how many before it in that line), `took` (rows of all lines it was joined from; null: only that
    one), `node` (null: not said), `around` (as Wrapper.unwrap has it), `whole` (it is all of its line but the wrapper's own
    words).

    A line that a wrapper does not know stays as it is.
    """
    joined = pl.List(pl.UInt32)
    records = lines.with_columns(
        at=pl.col("row"),
        took=pl.lit(None, joined),
        node=pl.lit(None, pl.String),
        around=pl.lit(None, _AROUND),
        whole=pl.lit(True),
    )
    for wrapper in wrappers:
        inside = records.select(wrapper.wraps(pl.col("line")).fill_null(False)).to_series()
        if not inside.any():
            continue
        wrapped = records.filter(inside)
        found = wrapper.unwrap(wrapped.select("row", "line", "node"))
        extra = {"rows": pl.lit(None, joined), "node": pl.lit(None, pl.String), "around": pl.lit(None, _AROUND)}
        found = found.with_columns(value.alias(name) for name, value in extra.items() if name not in found.columns)
        outer = wrapped.select("row", "at", "took", "whole", outer="node", beside="around", as_it_is="line")
        found = found.join(outer, on="row", maintain_order="left").with_columns(
            line=pl.coalesce("line", "as_it_is"),
            node=pl.coalesce("node", "outer"),
            around=pl.coalesce("around", "beside"),
            whole=pl.col("whole") & pl.col("rows").is_null() & pl.col("row").is_unique(),
        )
        if found["rows"].null_count() < found.height:
            found = _joined(found, wrapped)
        records = pl.concat([records.filter(~inside), found.select(records.columns)]).sort("row", maintain_order=True)
        records = records.with_columns(row=pl.int_range(pl.len(), dtype=pl.UInt32))
    before = pl.int_range(pl.len(), dtype=pl.Int64).over("at") if wrappers else pl.lit(0, pl.Int64)
    return records.with_columns(record=before)


def _joined(found: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Found records that were joined from `rows`, with the lines that those took."""
    lines = parts.select(rows="row", lines=pl.coalesce("took", pl.concat_list("at")))
    of = found.drop_nulls("rows").select("row", "rows").with_row_index("n").explode("rows").join(lines, on="rows")
    took = of.group_by("n", "row").agg(pl.col("lines").explode().unique().sort()).select("row", "lines")
    return found.join(took, on="row", how="left", maintain_order="left").with_columns(
        took=pl.when(pl.col("rows").is_null()).then("took").otherwise("lines")
    )


def parse(block: Block, reader: Reader) -> Parsed:
    """Every record of the block by the first layout that takes it; reasons are those of the first layout that it fits but
    for a value, else of the first one.

    `row` of calls and rejects is the line of the block; rejects also have `record`, how many records stand before it in
    that line, and `text`, the record where it is not its whole line (null: it is).
    """
    if block.cut:
        return _cut(block)
    most = min((one.at_once for one in reader.wrappers if one.at_once is not None), default=block.size)
    parts = [_parse(lines, reader, begins_filled=block.begins_filled) for lines in _by_size(block.lines, most)]
    if len(parts) == 1:
        return parts[0]
    calls = [part.calls for part in parts if part.calls.height] or [parts[0].calls]
    counts = {
        name: sum(getattr(part, name) for part in parts) for name in ("header", "filtered", "blank", "read", "lines")
    }
    return Parsed(pl.concat(calls, how="diagonal"), pl.concat([part.rejects for part in parts]), **counts)


def _by_size(lines: pl.DataFrame, most: int) -> list[pl.DataFrame]:
    """The lines, in parts that begin within each `most` bytes."""
    size = lines["line"].str.len_bytes().cum_sum()
    if lines.height < 2 or size[-1] <= most:
        return [lines]
    return lines.with_columns(part=(size - lines["line"].str.len_bytes()) // most).partition_by(
        "part", include_key=False
    )


def _parse(lines: pl.DataFrame, reader: Reader, *, begins_filled: bool) -> Parsed:
    """The same for some of the lines of a block."""
    records = unwrap(lines, reader.wrappers) if reader.wrappers else lines
    if reader.wrappers or not begins_filled:
        records = records.filter(pl.col("line").str.contains(FILLED))
    part = parse_records(records.select("row", "line"), reader.layouts)
    if part.rejects.height:
        part = replace(part, rejects=reader.layouts[0].explain(records, part.rejects))
    if not reader.wrappers:
        rejects = part.rejects.with_columns(record=pl.lit(0, pl.Int64), text=pl.lit(None, pl.String))
        took = records.height
        calls = part.calls
    else:
        where = records.select("row", "at", "record", "around", text=pl.when(~pl.col("whole")).then("line"))
        rejects = part.rejects.join(where, on="row", maintain_order="left")
        inside = (
            pl.when(pl.col("around").is_not_null()).then(pl.lit("the body of a log record: ")).otherwise(pl.lit(""))
        )
        rejects = rejects.select(row="at", reason=inside + pl.col("reason"), record="record", text="text")
        calls = _placed(part.calls, records)
        took = _lines_of(records)
    # A line that names columns may stand beside records in one line of a wrapper.
    header = min(part.header, took)
    return Parsed(
        calls,
        rejects,
        header,
        part.filtered,
        blank=lines.height - took,
        read=records.height - part.header,
        lines=took - header,
    )


def _cut(block: Block) -> Parsed:
    """The reject that a line becomes of which only the beginning is kept."""
    long, kept = (f"{size / 2**20:,.1f} MiB" for size in (block.size, len(block.data)))
    reason = (
        f"the line has {long}, more than is read at once; its first {kept} are kept. "
        "If it holds many records, have each written as a line of its own"
    )
    rejects = pl.DataFrame({"row": [0], "reason": [reason], "record": [0], "text": [None]})
    schema = {"row": pl.UInt32, "record": pl.Int64, "text": pl.String}
    return Parsed(pl.DataFrame(schema={"row": pl.UInt32}), rejects.cast(schema), read=1, lines=1)  # type: ignore[arg-type]


def _lines_of(records: pl.DataFrame) -> int:
    """How many lines the records took."""
    further = records["took"].drop_nulls().explode()
    return pl.concat([records["at"], further]).n_unique()


def _placed(calls: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Calls with `row` as the line of the block, and the wrapper's node where the format logs none."""
    found = calls.sort("row").join(records.select("row", "at", outer="node"), on="row", maintain_order="left")
    if found["outer"].null_count() < found.height:
        logged = pl.col("node") if "node" in calls.columns else pl.lit(None, pl.String)
        found = found.with_columns(node=pl.coalesce(logged, "outer"))
    if records["around"].null_count() < records.height:
        found = _with_what_is_around(found, records)
    return found.with_columns(row=pl.col("at")).drop("at", "outer")


def _with_what_is_around(calls: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Calls with what stands around their records: columns that they do not fill themselves, and attributes."""
    said = records.select("row", "around").drop_nulls("around").join(calls, on="row", how="semi")
    said = (
        said.explode("around")
        .unnest("around")
        .filter(pl.col("value") != "")
        .unique(["row", "key"], keep="first", maintain_order=True)
    )
    for name in AROUND:
        beside = said.filter(pl.col("key") == name).select("row", beside="value")
        own = pl.col(name) if name in calls.columns else pl.lit(None, pl.String)
        calls = calls.join(beside, on="row", how="left", maintain_order="left")
        calls = calls.with_columns(pl.coalesce(own, "beside").alias(name)).drop("beside")
    return add_attributes(calls, said.filter(~pl.col("key").is_in(AROUND)))


def parse_records(records: pl.DataFrame, layouts: Sequence[Layout]) -> Parsed:
    """The same for records (row, line), none of them blank."""
    part = ask(records, layouts)
    refused = part.rejects["reason"].is_not_null()
    return replace(part, rejects=part.rejects.filter(refused), filtered=int((~refused).sum()))


def ask(records: pl.DataFrame, layouts: Sequence[Layout]) -> Parsed:
    """What one layout after the other makes of records (row, line), none of them blank; reasons may be null, as in Parsed."""
    left, calls, rejects = records, [], REJECTED.to_frame()
    header = 0
    for i, layout in enumerate(layouts):
        if layout.last_resort:
            left = left.join(rejects.filter(pl.col("reason").is_not_null()), on="row", how="semi")
        if left.is_empty():
            break
        part = layout.take(left) if i else layout.read(left)
        if (
            i
            and part.rejects.height == left.height
            and not (_named(part.rejects) | part.rejects["reason"].is_null()).any()
        ):
            continue  # neither a call nor a better reason
        calls.append(part.calls)
        header += part.header
        if i == 0:
            rejects = part.rejects
        else:
            aside = rejects.join(left, on="row", how="anti")
            rejects = pl.concat([aside, _reasoned(rejects.join(part.rejects, on="row", how="semi"), part.rejects)])
        left = left.join(part.rejects, on="row", how="semi") if part.rejects.height else left.clear()
    found = [frame for frame in calls if frame.height]
    nothing = pl.DataFrame(schema={"row": pl.UInt32})
    return Parsed(pl.concat(found, how="diagonal") if found else nothing, rejects, header)


def _reasoned(rejects: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Rejects with the reason of another layout where only that one names a value, or says that the record is no call."""
    told = others.filter(_named(others) | others["reason"].is_null()).with_columns(told=pl.lit(True))
    found = rejects.join(told, on="row", how="left", suffix="_other", maintain_order="left")
    no_call = pl.col("reason").is_null() | (pl.col("told") & pl.col("reason_other").is_null())
    better = pl.when(pl.col("told") & ~_named(found)).then("reason_other").otherwise("reason")
    return found.select("row", reason=pl.when(~no_call.fill_null(False)).then(better))


def _named(rejects: pl.DataFrame) -> pl.Series:
    """Whether each reason names a value, or what a JSON object lacks: a text layout knows nothing of those."""
    return rejects["reason"].str.contains("^JSON| cannot be read$").fill_null(False)
