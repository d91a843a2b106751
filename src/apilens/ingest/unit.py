"""A piece of input becomes a unit: parsed, enriched, masked, rolled up. Pure: bytes in, frames and counts out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from apilens.distinct import constant
from apilens.formats.block import Reader, parse
from apilens.ingest.enrich import Declared, enrich
from apilens.ingest.forget import Tombstone
from apilens.ingest.pieces import Origin, Piece
from apilens.ingest.redact import Redactor
from apilens.ingest.rollup import roll_up
from apilens.schema import CALLS, REJECTS
from apilens.version import __version__


@dataclass(frozen=True)
class Counts:
    """The conservation equations of some input, in records and in lines.

    read = stored + rejected + filtered + duplicate (records); lines = record_lines + header + blank. A record is a line,
    unless a wrapper cut it into several or put several into one.
    """

    read: int = 0
    stored: int = 0
    rejected: int = 0
    filtered: int = 0
    duplicate: int = 0
    record_lines: int = 0
    header: int = 0
    blank: int = 0
    lines: int = 0
    bytes: int = 0
    units: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """All counts, in the order of the fields."""
        return (
            self.read, self.stored, self.rejected, self.filtered, self.duplicate,
            self.record_lines, self.header, self.blank, self.lines, self.bytes, self.units,
        )  # fmt: skip

    def balanced(self) -> bool:
        """Whether both equations hold."""
        records = self.stored + self.rejected + self.filtered + self.duplicate
        return self.read == records and self.lines == self.record_lines + self.header + self.blank


@dataclass(frozen=True)
class Made:
    """What became of one new piece. calls: the columns of schema.CALLS that have a value, those of few values as
    categories instead of text; entry: its row of the ledger."""

    entry: dict[str, object]
    counts: Counts
    calls: pl.DataFrame = field(repr=False)
    rollups: pl.DataFrame = field(repr=False)
    rejects: pl.DataFrame = field(repr=False)

    @property
    def formats(self) -> dict[str, int]:
        """Stored calls by the format that read them, the most first."""
        return dict(self.calls["gateway"].value_counts(sort=True).iter_rows())


def make_unit(
    piece: Piece,
    reader: Reader,
    redactor: Redactor,
    *,
    forgotten: Tombstone,
    origin: Origin,
    declared: Declared,
    attempt: int,
    now: datetime,
) -> Made:
    """Parse a piece (without layouts: it holds blank lines only); see Made. Calls and rejected
    lines that are to stay forgotten count as filtered. The number of lines is counted on the bytes, apart from the parser."""
    block = piece.block
    parsed = enrich(parse(block, reader), block, declared, redactor)
    calls = parsed.calls
    buried = forgotten.buried(calls) if calls.height and forgotten else None
    kept_out = 0 if buried is None else int(buried.sum())
    calls = calls.filter(~buried) if buried is not None and kept_out else calls
    calls = _stored(calls, piece.unit_id)
    format_name = reader.layouts[0].gateway if reader.layouts else "blank"
    rejects = _rejects(parsed.rejects, piece, declared, attempt, format_name, redactor)
    if forgotten and rejects.height:
        hidden = pl.Series(forgotten.buried_rejects(parsed.calls, rejects["raw"].to_list()), dtype=pl.Boolean)
        kept_out += int(hidden.sum())
        rejects = rejects.filter(~hidden)
    counts = Counts(
        read=parsed.read,
        stored=calls.height,
        rejected=rejects.height,
        filtered=parsed.filtered + kept_out,
        record_lines=parsed.lines,
        header=parsed.header,
        blank=parsed.blank,
        lines=block.line_count,
        bytes=block.size,
        units=1,
    )
    if not counts.balanced():
        raise AssertionError(f"{declared.source_file}: lines were lost or doubled at byte {block.offset}: {counts}")
    entry = {
        "unit_id": piece.unit_id,
        "attempt": attempt,
        "source": origin.source,
        "environment": origin.environment,
        "input": declared.source_file,
        "format": format_name,
        "log_format": reader.layouts[0].text if reader.layouts else None,
        "offset": block.offset,
        "bytes": counts.bytes,
        "head_sha256": piece.head_sha256,
        "lines": counts.lines,
        "header": counts.header,
        "blank": counts.blank,
        "record_lines": counts.record_lines,
        "read": counts.read,
        "stored": counts.stored,
        "rejected": counts.rejected,
        "filtered": counts.filtered,
        "first_start_time": calls["start_time"].min(),
        "last_start_time": calls["start_time"].max(),
        "ingested_at": now,
        "apilens_version": __version__,
    }
    return Made(entry, counts, calls, roll_up(calls, piece.unit_id), rejects)


def _stored(calls: pl.DataFrame, unit_id: str) -> pl.DataFrame:
    """Made.calls of enriched calls."""
    if calls.is_empty():
        return CALLS.to_frame()
    # Only those with a value: to fill the others of a block with nulls takes as long as grouping it.
    empty = calls.null_count().row(0, named=True)
    calls = calls.select(name for name in CALLS if empty.get(name, calls.height) < calls.height)
    return calls.select(
        name if isinstance(dtype, pl.Categorical) else pl.col(name).cast(CALLS[name])
        for name, dtype in calls.schema.items()
    ).with_columns(unit_id=constant(unit_id, calls.height))


def _rejects(
    rejects: pl.DataFrame, piece: Piece, declared: Declared, attempt: int, format_name: str, redactor: Redactor
) -> pl.DataFrame:
    """schema.REJECTS of a block's rejects: raw bytes, equal to the input outside masked spans."""
    block = piece.block
    if rejects.is_empty():
        return REJECTS.to_frame()
    # A record that is not its whole line is kept by itself: fed again, its line would bring its neighbours too.
    raw = [
        line if text is None else text.encode()
        for line, text in zip(block.raw(rejects["row"]).to_list(), rejects["text"].to_list(), strict=True)
    ]
    masked = [redactor.mask(line) for line in raw]
    return pl.DataFrame(
        {
            "unit_id": piece.unit_id,
            "attempt": attempt,
            "source_file": declared.source_file,
            "source_offset": block.offsets(rejects["row"]),
            "line": rejects["row"].cast(pl.Int64) + block.line,
            "record": rejects["record"],
            "reason": pl.Series(
                [
                    _safe_reason(reason, redactor, secret=line != hidden)
                    for reason, line, hidden in zip(rejects["reason"].to_list(), raw, masked, strict=True)
                ],
                dtype=pl.String,
            ),
            "raw": pl.Series(masked, dtype=pl.Binary),
            "format": format_name,
            "resolves_unit_id": None,
        },
        schema=REJECTS,
    )


#: What a reason quotes of its line.
_QUOTED = re.compile(r'"[^"]*(?:"(?!, expected|$)[^"]*)*"(?=, expected|$)', re.DOTALL)


def _safe_reason(reason: str, redactor: Redactor, *, secret: bool) -> str:
    """The reason without secrets. Where its line holds one, it quotes nothing: a quote that begins inside a secret no longer
    shows what it is.
    """
    if secret:
        reason = _QUOTED.sub("a masked value", reason)
    return redactor.mask(reason.encode("utf-8", "replace")).decode()
