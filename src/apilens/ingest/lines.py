"""Bytes that are no UTF-8 lines yet, turned into such as they stream by: UTF-16, lone carriage returns, JSON over many lines."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Protocol

import numpy as np

#: Bytes of the beginning from which the form is told.
_HEAD = 64 << 10


class Source(Protocol):
    """Where bytes come from: a file or a decoder."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" at the end."""

    def close(self) -> None:
        """Give back what it holds."""


class Lines:
    """The same input as lines. form: what it was before, None: lines; told when the first bytes are read."""

    def __init__(self, source: Source) -> None:
        self._source: Source = _Ahead(source)
        self._told = False
        self.form: str | None = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, or a little more; b"" at the end. Raises what the source raises, after all that came before."""
        if not self._told:
            self._told = True
            if (encoding := _encoding(self._peek())) is not None:
                self._source, self.form = _Ahead(_Utf8(self._source, encoding)), encoding
            if _is_document(self._peek()):
                self._source, self.form = _Elements(self._source), "JSON document"
            elif b"\n" not in self._peek() and b"\r" in self._peek()[:-1]:
                self._source, self.form = _Newlines(self._source), "lines ended by CR"
        return self._source.read(size)

    @property
    def is_tar(self) -> bool:
        """Whether this is a tar archive (POSIX, GNU): lines with the headers of its members between them."""
        # With the NUL: the word alone is one that a caller can put into a log.
        return not self._told and self._peek()[257:265] in (b"ustar\x0000", b"ustar  \0")

    def _peek(self) -> bytes:
        assert isinstance(self._source, _Ahead)
        return self._source.head

    def close(self) -> None:
        """Close the source."""
        self._source.close()


class _Ahead:
    """A source whose head can be looked at before it is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._head: bytearray | None = None
        self._error: Exception | None = None

    @property
    def head(self) -> bytes:
        """The first bytes; fewer than asked for only at the end."""
        if self._head is None:
            self._head = bytearray()
            try:
                while len(self._head) < _HEAD and (data := self._source.read(_HEAD)):
                    self._head += data
            except Exception as error:
                self._error = error
        return bytes(self._head[:_HEAD])

    def read(self, size: int) -> bytes:
        if self._head:
            data = bytes(self._head[:size])
            del self._head[:size]
            return data
        if self._error is not None:
            raise self._error
        return self._source.read(size)

    def close(self) -> None:
        self._source.close()


def _encoding(head: bytes) -> str | None:
    """UTF-16 by its byte order mark, or because half of the bytes are NUL, all on one side."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    nul = np.frombuffer(head, np.uint8) == 0
    even, odd = nul[::2], nul[1::2]
    if odd.size < 32:
        return None
    # A character such as U+4E00 has its NUL on the other side; padding has it on both.
    if odd.mean() > 0.5 and even.mean() < 0.1:
        return "utf-16-le"
    return "utf-16-be" if even.mean() > 0.5 and odd.mean() < 0.1 else None


class _Utf8:
    """UTF-16 as UTF-8; what is no UTF-16 becomes U+FFFD."""

    def __init__(self, source: Source, encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ended = False

    def read(self, size: int) -> bytes:
        while not self._ended:
            data = self._source.read(size)
            self._ended = not data
            if text := self._decoder.decode(data, final=self._ended):
                return text.encode()
        return b""

    def close(self) -> None:
        self._source.close()


class _Newlines:
    """Lone carriage returns as newlines: Mac OS 9, and spreadsheets to this day."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        return self._source.read(size).replace(b"\r", b"\n")

    def close(self) -> None:
        self._source.close()


#: A line after which a printed document goes on; a line of a log that begins with a bracket does not end so.
_OPEN = re.compile(r'\[(?:\s*[\[{"](?:.*[\[{,:])?)?|\{(?:\s*".*[\[{,:])?')
_GOES_ON = re.compile(r"""[\[\]{}"]|-?\d|true|false|null""")


def _is_document(head: bytes) -> bool:
    """Whether the input is JSON whose values are not one line each: printed over several, or several in one without a comma."""
    text = head.decode("utf-8", "replace").lstrip("\ufeff\0 \t\r\n")
    if text[:1] not in ("[", "{"):
        return False
    first, _, rest = text.partition("\n")
    first = first.strip()
    try:
        _, end = json.JSONDecoder().raw_decode(first)
    except (ValueError, RecursionError):
        if not rest:  # a line beyond the head; only of a list is it known where it can be cut
            return len(head) >= _HEAD and re.match(r"\[\s*\{\s*\"", first) is not None
        return _OPEN.fullmatch(first) is not None and _goes_on(rest.lstrip())
    return first[end:].lstrip()[:1] in ("{", "[")


def _goes_on(rest: str) -> bool:
    """Whether a document could go on with `rest`: not with a record of its own, which follows a line that was cut off."""
    if not _GOES_ON.match(rest):
        return False
    second, _, then = rest.partition("\n")
    try:
        alone = isinstance(json.loads(second), dict)
    except (ValueError, RecursionError):
        alone = False
    return not alone or then.lstrip()[:1] in ("]", "}", "")


_QUOTE, _BACKSLASH, _NEWLINE, _COMMA, _ARRAY = b'"\\\n,['
_OPENING, _CLOSING = list(b"{["), list(b"}]")
_WHITE = list(b" \t\r\n\0")

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class _Elements:
    """JSON values of any layout as one line each: the elements of arrays, and objects that stand by themselves.

    Works on all bytes of a step at once: which ones are inside strings follows from the quotes before them, how deep one is
    from the brackets outside strings. No string holds a line break, so a broken line does not turn the rest inside out.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._rest = b""  # a backslash at the end of a step: it belongs to what follows
        self._ended = False
        self._inside = False
        self._depth = 0
        self._in_array = False  # the outermost value is an array: its elements are the records
        self._line_begins = True

    def read(self, size: int) -> bytes:
        while not self._ended:
            data = self._source.read(size)
            self._ended = not data
            data = self._rest + data
            odd = not self._ended and (len(data) - len(data.rstrip(b"\\"))) % 2
            self._rest = data[len(data) - odd :]
            if lines := self._cut(np.frombuffer(data[: len(data) - odd], np.uint8)):
                return lines
        return b""

    def close(self) -> None:
        self._source.close()

    def _cut(self, text: Bytes) -> bytes:
        """The lines of a step."""
        if not text.size:
            return b""
        inside = self._strings(text)
        opens, closes = np.isin(text, _OPENING) & ~inside, np.isin(text, _CLOSING) & ~inside
        deep = self._depth + np.cumsum(opens.astype(np.int64) - closes)
        deep -= np.minimum(np.minimum.accumulate(deep), 0)  # a bracket too many closes nothing
        in_array = self._arrays(text, opens & (deep == 1))
        outer = in_array & ((opens & (deep == 1)) | (closes & (deep == 0)))
        ends = closes & (deep == in_array)
        cuts = outer | ((text == _COMMA) & ~inside & in_array & (deep == 1))
        white = np.isin(text, _WHITE) & ~inside & ((deep > 0) | (text == ord("\r")))
        self._depth, self._inside, self._in_array = int(deep[-1]), bool(inside[-1]), bool(in_array[-1])
        keep = ~white | cuts
        lines = np.where(cuts, _NEWLINE, text)[keep].astype(np.uint8)
        return self._without_blank_lines(np.insert(lines, np.flatnonzero(ends[keep]) + 1, _NEWLINE))

    def _strings(self, text: Bytes) -> Mask:
        """Whether each byte stands in a string."""
        place = np.arange(len(text))
        quotes = text == _QUOTE
        if (slash := text == _BACKSLASH).any():
            other = np.maximum.accumulate(np.where(slash, -1, place))
            run = np.concatenate(([0], (place - other)[:-1]))  # backslashes right before each byte
            quotes &= run % 2 == 0
        count = np.cumsum(quotes) + self._inside
        at_line_begin = np.maximum.accumulate(np.where(text == _NEWLINE, count, 0))
        inside: Mask = (count - at_line_begin) % 2 == 1
        return inside

    def _arrays(self, text: Bytes, outermost: Mask) -> Mask:
        """Whether each byte belongs to an outermost value that is an array."""
        at = np.maximum.accumulate(np.where(outermost, np.arange(len(text)), -1))
        arrays: Mask = np.where(at >= 0, text[at] == _ARRAY, self._in_array)
        return arrays

    def _without_blank_lines(self, lines: Bytes) -> bytes:
        """The lines without what stands between values: blanks and commas at the begin of a line, and empty lines."""
        place = np.arange(len(lines))
        gap = np.isin(lines, list(b" \t,"))
        before = np.maximum.accumulate(np.where(gap, -1, place))  # the last byte that is no gap
        begins = np.where(before >= 0, lines[before] == _NEWLINE, self._line_begins)
        lines = lines[~(gap & begins)]
        if not lines.size:
            return b""
        ends = lines == _NEWLINE
        empty = ends & np.concatenate(([self._line_begins], ends[:-1]))
        self._line_begins = bool(ends[-1])
        kept: Bytes = lines[~empty]
        return kept.tobytes()
