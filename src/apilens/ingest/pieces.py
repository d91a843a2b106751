"""Cut a stream into pieces: known ones, which are skipped, and new ones, which become units.

A piece is recognised where it may begin: the first line is looked up, and the content hash decides. See
docs/decisions/0001-lake-units-and-identity.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from apilens.formats.block import Block
from apilens.ingest.sources import MAX_LINE_BYTES, Stream

#: Bytes parsed at once where lines are as long as those of most logs, and half as many where they are not: what a block costs
#: by itself is then halved, but the text of long lines is copied most often, and short lines are most rows.
BLOCK_BYTES = 2 * MAX_LINE_BYTES
#: Mean bytes of such lines, and bytes of which each run holds a line's end. Picked; measured are 70 to 230.
_USUAL, _RUN = (64, 512), 64 << 10
#: Lines parsed at once. A line takes some 80 bytes beside its text: eight million blank ones took 800 MiB.
MAX_LINES = 1 << 20
#: Cells of a table parsed at once, and half as many of JSON. One that no column takes is some 110 bytes beside its text, one of
#: JSON 330: 100 columns of one digit each took 1.9 GB. Only where cells are narrower than gateways write them, in bytes with
#: what stands between them: in lines of so many cells, and in lines of more. Picked: theirs have 6 to 25.
MAX_CELLS = 1 << 19
_FEW_CELLS, _NARROW, _NARROW_AMONG_MANY = 40, 6, 13
#: What stands between cells, and of how many bytes one is looked at: a prime, or the columns of a table would be hit or missed.
_SEPARATORS, _GLANCE = b",;\t ", 1021
_READ = 1 << 20
#: Bytes that are kept of a line that is longer than a block: enough to see what it is.
_KEPT = 64 << 10


@dataclass(frozen=True)
class Origin:
    """What is declared about an input and belongs to the identity of its data. source "": not declared."""

    source: str = ""
    environment: str = "default"

    def hash(self) -> hashlib._Hash:
        """A sha256 into which source and environment have gone, unambiguously."""
        seed = f"{len(self.source)}:{self.source}{len(self.environment)}:{self.environment}"
        return hashlib.sha256(seed.encode())


@dataclass(frozen=True)
class Known:
    """What the ledger remembers of a unit: enough to recognise its bytes and to account for them again."""

    unit_id: str
    bytes: int


@dataclass(frozen=True)
class Piece:
    """Some whole lines of an input. known: the unit these bytes were ingested as before; None: new.

    longer: units with the same first line that are longer than what is left of the input: this may be a copy of one, cut short.
    """

    unit_id: str
    head_sha256: str
    block: Block = field(repr=False)
    known: Known | None = None
    longer: tuple[Known, ...] = ()


@dataclass
class Cut:
    """How far an input was read. waiting: bytes of an unterminated last line that were left for the next run."""

    bytes: int = 0
    lines: int = 0
    waiting: int = 0
    problem: str | None = None


def cut(
    stream: Stream, origin: Origin, known: Callable[[str], list[Known]], state: Cut, *, final: bool
) -> Iterator[Piece]:
    """The pieces of a stream in order; `state` is brought up to date as they are handed out.

    known: sha256 of (origin, first line) -> units that begin with this line. final: take an unterminated last line.
    """
    buffer = bytearray()
    ended = False
    while True:
        while not ended and len(buffer) <= BLOCK_BYTES:
            data = stream.read(_READ)
            ended = not data
            buffer += data
        state.problem = stream.problem
        if not buffer:
            return
        first = buffer.find(b"\n") + 1 or len(buffer)
        head = origin.hash()
        head.update(memoryview(buffer)[: first - buffer.endswith(b"\n", 0, first)])
        head_sha256 = head.hexdigest()
        unit_id, taken, unit = _longest(buffer, origin, known(head_sha256), ended)
        length = taken if unit is None else unit.bytes
        longer: tuple[Known, ...] = ()
        if unit is None:
            if ended:
                longer = tuple(one for one in known(head_sha256) if one.bytes > len(buffer))
            whole = buffer.rfind(b"\n") + 1
            if first > MAX_LINE_BYTES or (whole == 0 and not ended):
                piece = _long_line(buffer, stream, origin, known, state, final=final)
                if piece is None:
                    return
                yield piece
                state.bytes += piece.block.size
                state.lines += 1
                continue
            if whole == 0 and (state.problem is not None or not (final or stream.complete)):
                state.waiting = len(buffer)
                return
            # An unterminated last line is a piece of its own: when the file grows, what came before it is still known.
            whole = whole or len(buffer)
            length = whole if whole <= BLOCK_BYTES else buffer.rfind(b"\n", 0, BLOCK_BYTES) + 1 or first
            if not longer:  # of a copy cut short only the first piece would be recognised
                length = _not_too_wide(buffer, _short_enough(buffer, length, first, ended=ended))
            length = _not_too_many(buffer, length)
            before = _before_parts(buffer, length)
            if before == 0 and ended and not (final or stream.complete):
                state.waiting = len(buffer)
                return
            length = taken = before or length
            full = origin.hash()
            full.update(memoryview(buffer)[:length])
            unit_id = full.hexdigest()
        block = Block(bytes(memoryview(buffer)[:length]), state.bytes, state.lines + 1)
        del buffer[:taken]
        yield Piece(unit_id, head_sha256, block, unit, longer)
        state.bytes += taken
        state.lines += block.line_count


def reads_differently(stream: Stream, origin: Origin, first: Known, others: Sequence[Known]) -> bool:
    """Whether an input whose first piece was `first`, opened once more, begins with one of some other units; True also where
    that cannot be told: it begins with something else by now, or a unit is longer than a piece."""
    most = max(one.bytes for one in (first, *others))
    if most > BLOCK_BYTES:
        return True
    buffer, ended = bytearray(), False
    while not ended and len(buffer) <= most:
        data = stream.read(_READ)
        ended = not data
        buffer += data
    itself = _longest(buffer, origin, [first], ended)[2]
    return itself is None or _longest(buffer, origin, list(others), ended)[2] is not None


def _short_enough(buffer: bytearray, length: int, first: int, *, ended: bool) -> int:
    """Where a piece of at most `length` bytes ends that is longer than half a block only where its lines are usual. first:
    where its first line ends. ended: nothing follows, so that two threads share what is left."""
    half = BLOCK_BYTES // 2
    if length <= max(half, first):
        return length
    usual = not ended and all(buffer.find(b"\n", at, at + _RUN) >= 0 for at in range(0, length - _RUN, _RUN))
    if usual:
        lines = int(np.count_nonzero(np.frombuffer(buffer, np.uint8, length) == ord("\n")))
        usual = _USUAL[0] * lines <= length <= _USUAL[1] * lines
    if usual:
        return length
    return _before_parts(buffer, buffer.rfind(b"\n", 0, half) + 1 or first) or length


def _not_too_wide(buffer: bytearray, length: int) -> int:
    """Where a piece of `length` bytes ends that has not many more than MAX_CELLS cells, if it is of a wide table."""
    text = np.frombuffer(buffer, np.uint8, length)
    glance = text[::_GLANCE].copy()
    cells = max(int(np.count_nonzero(glance == separator)) for separator in _SEPARATORS) * _GLANCE
    most = MAX_CELLS // 2 if buffer.startswith(b"{") else MAX_CELLS
    if cells <= most:
        return length
    ends = np.flatnonzero(text == ord("\n")) + 1
    narrow = _NARROW if cells <= _FEW_CELLS * ends.size else _NARROW_AMONG_MANY
    if length >= narrow * cells:
        return length
    return int(ends[max(ends.size * most // cells, 1) - 1]) if ends.size else length


def _not_too_many(buffer: bytearray, length: int) -> int:
    """Where a piece of `length` bytes ends that has no more than MAX_LINES lines."""
    # bytearray.count takes six times as long, and holds up the threads that parse meanwhile.
    breaks = np.frombuffer(buffer, np.uint8, length) == ord("\n")
    if np.count_nonzero(breaks) <= MAX_LINES:
        return length
    return int(np.flatnonzero(breaks)[MAX_LINES - 1]) + 1


def _long_line(
    buffer: bytearray, stream: Stream, origin: Origin, known: Callable[[str], list[Known]], state: Cut, *, final: bool
) -> Piece | None:
    """The line that the buffer begins with, read to its end in little memory; the buffer is left with what follows it.

    None: it has no end yet, see cut. NUL padding before it (copytruncate leaves as much as the file was long) is left out, and
    so is most of the line where that alone is longer than MAX_LINE_BYTES.
    """
    full, head = origin.hash(), origin.hash()
    kept, length, ended = bytearray(), 0, False
    most = min(BLOCK_BYTES, MAX_LINE_BYTES)
    while not ended:
        at = buffer.find(b"\n")
        end = at + 1 or len(buffer)
        part = bytes(buffer[:end])
        del buffer[:end]
        full.update(part)
        head.update(part[:-1] if at >= 0 else part)
        length += end
        kept += (part if kept else part.lstrip(b"\0"))[: most + 1 - len(kept)]
        if at >= 0:
            break
        data = stream.read(_READ)
        state.problem = stream.problem
        ended = not data
        buffer += data
    cut = len(kept) > most
    if ended and (state.problem is not None or not (final or stream.complete)):
        state.waiting = length
        if cut and state.problem is None:
            state.problem = (
                f"line {state.lines + 1} (byte {state.bytes}) is longer than {MAX_LINE_BYTES >> 20} MiB and has no end"
            )
        return None
    if cut:
        del kept[min(_KEPT, most) :]
    unit_id, head_sha256 = full.hexdigest(), head.hexdigest()
    unit = next((one for one in known(head_sha256) if one == Known(unit_id, length)), None)
    block = Block(bytes(kept), state.bytes, state.lines + 1, left_out=length - len(kept), cut=cut)
    return Piece(unit_id, head_sha256, block, unit)


#: A line of a container: (CRI's stream, tag) or (Docker's text, stream).
_CONTAINER = re.compile(
    rb'\S+ (stdout|stderr) ([PF])[: ]|\{"log": ?"((?:[^"\\]|\\.)*)", ?"(?:stream": ?"(stdout|stderr)"|attrs")'
)
#: Lines before the end of a piece among which the other stream's last one is looked for.
_NEAR = 1000


def _before_parts(buffer: bytearray, end: int) -> int:
    """Where the parts begin (CRI's tag P, Docker's text without a line break) whose line goes on behind `end`: they are joined
    only within a piece. The lines of two streams may stand between one another.
    """
    while (start := _open_part(buffer, end)) < end:
        end = start
    return end


def _open_part(buffer: bytearray, end: int) -> int:
    """Where the first of the parts stands with which a stream ends before `end`; `end` where none does."""
    first, whole, at = end, set(), end
    for _ in range(_NEAR):
        start = buffer.rfind(b"\n", 0, at - 1) + 1
        found = _CONTAINER.match(buffer, start, at) if at > 0 else None
        if found is None:
            break
        stream = found[1] or found[4]
        part = found[2] == b"P" if found[2] else not found[3].endswith(b"\\n")
        if not part:
            whole.add(stream)
        elif stream not in whole:
            first = start
        if len(whole) == 2:
            break
        at = start
    return first


def _longest(buffer: bytearray, origin: Origin, candidates: list[Known], ended: bool) -> tuple[str, int, Known | None]:
    """The longest known unit whose bytes the buffer begins with, and how many bytes of the buffer are thereby known."""
    content, at = origin.hash(), 0
    best: tuple[str, int, Known | None] = ("", 0, None)
    for candidate in sorted(candidates, key=lambda unit: unit.bytes):
        end = candidate.bytes
        if end > len(buffer):
            break
        content.update(memoryview(buffer)[at:end])
        at = end
        if content.hexdigest() != candidate.unit_id:
            continue
        if buffer.endswith(b"\n", 0, end) or (ended and end == len(buffer)):
            best = (candidate.unit_id, end, candidate)
        elif buffer.startswith(b"\n", end):  # it was taken without the line end that it has by now
            best = (candidate.unit_id, end + 1, candidate)
    return best
