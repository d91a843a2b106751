"""Inputs: what the user named, opened and decompressed, as a stream of bytes."""

from __future__ import annotations

import bz2
import glob
import io
import lzma
import os
import shlex
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from isal import igzip_lib, isal_zlib

from apilens import objects
from apilens.errors import InputError
from apilens.ingest.lines import Lines
from apilens.lake.tables import LAKE_FOLDERS, MARKER

if TYPE_CHECKING:
    import pyarrow as pa

#: The longest line that is read: a call fits in a few KiB, and a longer line would have to be held in memory.
MAX_LINE_BYTES = 8 << 20
#: A log that shrinks further than this is no log: text with equal lines only reaches about 300 (we measured gzip -9
#: on one repeated access-log line: 1:260).
MAX_EXPANSION = 500
_EXPANSION_GRACE = 64 << 20
#: What xz may take to decode: twice what `xz -9` asks for. An archive says itself how much, up to 4 GiB. zstd's own limit is alike.
_XZ_MEMORY = 128 << 20

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    # Frames to be skipped, with which what was compressed in parallel (pzstd) begins: RFC 8878, section 3.1.2.
    **{bytes([kind, 0x2A, 0x4D, 0x18]): "zstd" for kind in range(0x50, 0x60)},
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PAR1": "parquet",
    b"PK\x03\x04": "zip",
}


#: What the decoders raise on damaged input. isal's stub declares its exception class as an instance of it.
_DAMAGE = (EOFError, OSError, lzma.LZMAError, ValueError, zlib.error, cast(type[Exception], igzip_lib.IsalError))


@dataclass(frozen=True)
class Input:
    """One thing to read: a file, an object, or (both None) standard input. name: as the user would recognise it.

    bytes, changed: of an object, as listed.
    """

    name: str
    path: Path | None = None
    found_in_folder: bool = False
    url: str | None = None
    bytes: int | None = None
    changed: datetime | None = None

    @property
    def comes_once(self) -> bool:
        """Whether its bytes are gone when they were read: standard input, a pipe."""
        return self.url is None and (self.path is None or (self.path.exists() and not self.path.is_file()))


def expand(paths: Sequence[str]) -> Iterator[Input | InputError]:
    """The inputs behind files, folders (recursively, hidden files left out), globs (of either), URLs of objects and `-`; each once. Nothing of a lake is one.

    A path that leads to nothing comes back as an InputError in its place, so that the others can go on.
    """
    seen: set[Path] = set()
    for text in dict.fromkeys(paths):
        if text == "-":
            yield Input("-")
            continue
        if objects.is_url(text):
            yield from _expand_url(text)
            continue
        if not text:  # a variable that is not set; as a path it would be the working folder
            yield InputError('"": is no name; expected a file, a folder, a quoted glob or - for standard input')
            continue
        path = Path(text)
        try:
            in_folder, there = path.is_dir(), path.exists()
        except OSError as error:
            yield InputError(f"{text}: cannot be read ({error.strerror})")
            continue
        refused: list[InputError] = []
        found: list[tuple[Path, bool]] = []  # and whether a folder holds it
        if there and _in_a_lake(path):
            yield InputError(
                f"{text}: belongs to a lake, which holds what was ingested, and no logs; ask it by: apilens endpoints --lake DIR"
            )
            continue
        if in_folder:
            found, refused = _in_folder(path)
        elif there:
            found = [(path, False)]
        else:
            matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207 - Path.glob takes no absolute pattern
            there = bool(matches)
            matches = [match for match in matches if not _in_a_lake(match)]
            found = [(match, False) for match in matches if match.is_file()]
            for folder in filter(Path.is_dir, matches):  # as if a shell had put their names here
                inside, closed = _in_folder(folder)
                found, refused = found + inside, refused + closed
        yield from refused
        if not found and not refused:
            what = "matches only folders that hold nothing to read, or files of a lake" if there else "does not exist"
            if path.is_symlink():
                what = f"is a link to {path.readlink()}, which does not exist"
            if in_folder:
                empty = "holds nothing to read (hidden files, links to folders and lakes are left out)"
                what = "is an empty folder" if not any(path.iterdir()) else empty
            yield InputError(f"{text}: {what}; expected a file, a folder, a quoted glob or - for standard input")
        for one, inside_folder in found:
            real = one.resolve()
            if real not in seen:
                seen.add(real)
                # A name that is no UTF-8 must not end a run: the ledger holds text.
                name = os.fsencode(one).decode("utf-8", "backslashreplace")
                yield Input(name, one, found_in_folder=inside_folder)


def _in_folder(folder: Path) -> tuple[list[tuple[Path, bool]], list[InputError]]:
    """The files below a folder, sorted, hidden ones and lakes left out, each with True; and what of it cannot be looked into.
    Links to folders are not followed."""
    refused: list[OSError] = []
    found = []
    for where, folders, names in os.walk(folder, onerror=refused.append):
        folders[:] = [name for name in folders if not name.startswith(".") and not _of_a_lake(Path(where, name))]
        found += [Path(where, name) for name in names if not name.startswith(".")]
    return [(file, True) for file in sorted(filter(_is_file, found))], [
        InputError(f"{error.filename}: cannot be read ({error.strerror})") for error in refused
    ]


def _of_a_lake(folder: Path) -> bool:
    """Whether a folder is one of a lake's own: its calls, read as a log, would be stored once more by every run."""
    return folder.name in LAKE_FOLDERS and os.path.isfile(folder.parent / MARKER)  # noqa: PTH113 - Path.is_file raises where the folder may not be looked into


def _in_a_lake(path: Path) -> bool:
    return any(map(_of_a_lake, [path.absolute(), *path.absolute().parents]))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return True  # who opens it says what is wrong with it


def _expand_url(url: str) -> Iterator[Input | InputError]:
    try:
        found = objects.find(url, beside=MARKER, without=LAKE_FOLDERS)
    except InputError as error:
        yield error
        return
    if not found:
        yield InputError(
            f"{url}: no such object; expected an object, a quoted glob or the beginning of names in the bucket"
        )
    for one in found:
        yield Input(one.url, found_in_folder=one.url != url, url=one.url, bytes=one.bytes, changed=one.changed)


#: Of a file: its inode, its bytes, and when its content was changed last, in ns since 1970.
Look = tuple[int, int, int]


@dataclass(frozen=True)
class LastRun:
    """What the last run over the same paths has read to its end. since: inputs that were changed from then on are new to it.

    looks: those of its files. What a rename, a link or a moved folder brings has its old time, and what it was called says nothing.
    """

    since: datetime
    looks: frozenset[Look]

    def has_read(self, item: Input, look: Look | None) -> bool:
        """Whether an input (look: of a file) did not change since."""
        if item.path is None:  # a store stamps an object when it comes
            return item.changed is not None and item.changed < self.since
        return look in self.looks and look[2] < self.since.timestamp() * 1e9


def look_of(item: Input) -> Look | None:
    """How a file looks from outside; None: it is none, or cannot be looked at."""
    if item.path is None or not _is_file(item.path):
        return None
    try:
        state = item.path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


def sizes(inputs: Sequence[Input]) -> int | None:
    """Bytes of all inputs together, compressed as they are; None where one is a pipe or cannot be looked at."""
    try:
        found = [
            item.bytes if item.path is None or not item.path.is_file() else item.path.stat().st_size for item in inputs
        ]
    except OSError:
        return None
    known = [size for size in found if size is not None]
    return sum(known) if len(known) == len(found) else None


@dataclass
class Stream:
    """An opened input: plain bytes, whatever it was compressed with.

    form: what its bytes were turned into, so that offsets count in that; None: they are as they stand in the input.
    complete: the end of what was read is the end of the input, as known once read() returned b"". An intact archive,
    standard input and a pipe are complete; a plain file is not, because a gateway may still be writing to it.
    problem: why reading stopped early; None: it did not.
    """

    name: str
    compression: str | None
    complete: bool
    _source: Lines = field(repr=False)
    _raw: BinaryIO = field(repr=False)
    form: str | None = None
    problem: str | None = None
    bytes_out: int = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end. A damaged archive ends where it is damaged, with `problem` set."""
        if self.problem is not None:
            return b""
        try:
            data = self._source.read(size)
        except _DAMAGE as error:
            self.complete = False
            # Only what the decoder handed out before the damage is kept; it ends at the last whole line.
            self.problem = f"{self.compression or 'file'} ends early or is damaged ({_words(error)})"
            if "memory" in str(error).lower():
                self.problem = (
                    f"{self.compression} asks for more memory than is taken for an input ({_words(error)});"
                    " decompress it first and ingest the plain file"
                )
            return b""
        self.bytes_out += len(data)
        self.form = self._source.form
        if self.compression not in (None, "parquet") and self.bytes_out > _EXPANSION_GRACE:
            read = max(self._raw.tell(), 1)
            if self.bytes_out / read > MAX_EXPANSION:
                self.complete = False
                self.problem = (
                    f"expands more than {MAX_EXPANSION}-fold (a decompression bomb?); reading stopped after"
                    f" {self.bytes_out >> 20} MiB. If it is a real log, decompress it first and ingest the plain file"
                )
        return data

    @property
    def as_it_is(self) -> bool:
        """Whether the bytes stand in the input as they are read here, to be read again; known once some were read."""
        return self.compression is None and self.form is None and self._raw.seekable()

    @property
    def position(self) -> int:
        """Bytes of the input taken so far, compressed as they are; of a pipe what came out of it."""
        return self._raw.tell() if self._raw.seekable() else self.bytes_out

    def close(self) -> None:
        self._source.close()
        self._raw.close()


def _words(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def open_input(item: Input) -> Stream:
    """Open an input and see through its compression, told by its first bytes and never by its name.

    Raises InputError when it cannot be opened, or is of a kind that is no log.
    """
    try:
        raw = _opened(item)
        head = _peek(raw)
        kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
    except OSError as error:
        raise InputError(f"{item.name}: cannot be read: {error.strerror or error}") from None
    if kind == "zip":
        raise _archive(item, kind, "unzip {} -d logs")
    is_stdin = item.path is None and item.url is None
    if is_stdin and kind == "parquet":
        raise InputError("-: Parquet cannot be read from standard input; give the file's path")
    if kind is not None and not raw.seekable():
        raw = io.BufferedReader(_Pipe(raw), 1 << 20)
    try:
        source = _decoder(raw, kind)
    except (OSError, ValueError) as error:
        raise InputError(f"{item.name}: is a damaged {kind} file: {_words(error)}") from None
    lines = Lines(source)
    if lines.is_tar:
        raise _archive(item, "tar", "tar -xf {} -C logs")
    # What came through a pipe does not come again.
    return Stream(item.name, kind, complete=kind is not None or is_stdin or not raw.seekable(), _source=lines, _raw=raw)


def _archive(item: Input, kind: str, unpack: str) -> InputError:
    file = shlex.quote(item.name) if item.path is not None else "ARCHIVE"
    return InputError(
        f"{item.name}: is a {kind} archive, which may hold many logs; unpack it, gzip, zstd, bzip2 and xz are read as they are:"
        f" mkdir logs && {unpack.format(file)} && apilens ingest logs"
    )


def _opened(item: Input) -> BinaryIO:
    if item.url is not None:
        return io.BufferedReader(objects.ObjectReader(item.url), 1 << 20)
    if item.path is not None:
        return item.path.open("rb")
    if sys.stdin is None:  # closed by who started this process
        raise InputError("-: standard input is closed; expected logs from a pipe, or give a file")
    return sys.stdin.buffer


class _Pipe(io.RawIOBase):
    """A pipe that can tell how many bytes came through it."""

    def __init__(self, raw: BinaryIO) -> None:
        assert isinstance(raw, io.BufferedReader)
        self._raw, self._taken = raw, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io types it as any writable buffer
        taken = self._raw.readinto1(buffer)
        self._taken += taken
        return taken

    def close(self) -> None:
        self._raw.close()
        super().close()


def _peek(raw: BinaryIO) -> bytes:
    assert isinstance(raw, io.BufferedReader)
    return raw.peek(6)[:6]


def _decoder(raw: BinaryIO, kind: str | None) -> BinaryIO:
    match kind:
        case "gzip":
            quick, exact = (lambda: isal_zlib.decompressobj(wbits=31)), (lambda: zlib.decompressobj(wbits=31))
            return cast(BinaryIO, _Members(raw, quick, exact))
        case "zstd":
            import pyarrow as pa

            return cast(BinaryIO, _Small(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd")))
        case "bzip2":
            return cast(BinaryIO, _Members(raw, bz2.BZ2Decompressor, bz2.BZ2Decompressor))
        case "xz":
            new = partial(lzma.LZMADecompressor, memlimit=_XZ_MEMORY)
            return cast(BinaryIO, _Members(raw, new, new))
        case "parquet":
            return io.BufferedReader(_ParquetLines(raw))
        case _:
            return raw


class _Small:
    """Reads in small steps, because Arrow drops what it decoded in the step that meets the damage."""

    _STEP = 64 << 10

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        return bytes(self._stream.read(min(size, self._STEP)))

    def close(self) -> None:
        self._stream.close()


class _Members:
    """gzip, bzip2 or xz, one member after the other, down to the last byte that can be decoded of a cut or damaged one.

    The file objects of the standard library throw away what they decoded in the call that meets the end; the decoders
    do so with what they decoded in the call that meets damage, hence small steps, of which the last one is made once more, byte by
    byte (of a pipe, which cannot be read again, it is lost). exact: makes decoders that need not be quick and can do that.
    """

    _STEP = 64 << 10
    #: When that is done: bytes of input taken at once, until no more than so many of text are left before the last step. Picked.
    _BITE, _NEAR = 1 << 10, 1 << 20

    def __init__(self, raw: BinaryIO, new: Callable[[], Any], exact: Callable[[], Any]) -> None:
        self._raw, self._new, self._exact, self._member, self._input = raw, new, exact, new(), b""
        self._fresh = False  # between two members the input may end
        self._begin, self._given = raw.tell() if raw.seekable() else None, 0  # of this member: where, bytes handed out
        self._damage: Exception | None = None

    def read(self, size: int) -> bytes:
        if self._damage is not None:
            raise self._damage
        try:
            data = self._read(size)
        except _DAMAGE as error:
            self._damage = error
            # One that is only cut has given what it has.
            if not isinstance(error, EOFError) and (rest := self._before_damage()):
                return rest
            raise
        self._given += len(data)
        return data

    def _before_damage(self) -> bytes:
        """What can be decoded of the step that met the damage: bytes go in one by one, and come out so, since both what a
        decoder makes of its last input and what it makes before it meets the damage are lost with the call."""
        if self._begin is None:
            return b""
        self._raw.seek(self._begin)
        member, given, rest, part, data = self._exact(), 0, bytearray(), b"", b""
        try:
            while not member.eof:
                if not part and not data:
                    data = self._raw.read(self._BITE if given + self._NEAR < self._given else 1)
                    if not data:
                        break
                part = member.decompress(data, self._STEP if given < self._given else 1)
                data = getattr(member, "unconsumed_tail", b"")
                rest += part[max(self._given - given, 0) :]
                given += len(part)
        except _DAMAGE:
            pass  # that is where it is
        return bytes(rest)

    def _read(self, size: int) -> bytes:
        while True:
            if not self._input and getattr(self._member, "needs_input", True):
                self._input = self._raw.read(self._STEP)
                if not self._input:
                    if self._fresh:
                        return b""
                    # isal takes input whose text is more than a step, and keeps the rest.
                    if held := self._member.decompress(b"", self._STEP):
                        return bytes(held)
                    raise EOFError("it was cut short")
            if self._fresh and self._input.startswith(b"\0"):
                self._input = self._input.lstrip(b"\0")  # padding behind a member
                continue
            self._fresh = False
            data: bytes = self._member.decompress(self._input, min(size, self._STEP))
            self._input = getattr(self._member, "unconsumed_tail", b"")
            if self._member.eof:
                self._input, self._member, self._fresh = self._member.unused_data, self._new(), True
                # What is handed out now belongs to the member before.
                self._begin = None if self._begin is None else self._raw.tell() - len(self._input)
                self._given = -len(data)
            if data:
                return data

    def close(self) -> None:
        self._member = None


def _without_decimal256(table: pa.Table) -> pa.Table:
    """The table with numbers of more than 38 digits as text, as narrower ones are written: Polars ends the process over them."""
    schema = table.schema
    for i, column in enumerate(schema):
        schema = schema.set(i, column.with_type(_as_text(column.type)))
    return table if schema == table.schema else table.cast(schema)


def _as_text(kind: pa.DataType) -> pa.DataType:
    """The type with text for each decimal256 in it."""
    import pyarrow as pa

    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_text(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_as_text(kind.key_type), _as_text(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_as_text(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_text(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_as_text(kind.value_type)), kind.list_size)
    return kind


class _ParquetLines(io.RawIOBase):
    """A Parquet file as JSON lines, some rows at a time."""

    #: Rows decoded at once, fewer where they are more bytes than these; and bytes of them that are written as lines at once, since
    #: fewer narrow rows cost more. Picked: 50,000 rows at once took 1.2 GB for rows of 2 KB, 256 took .5 GB for rows of 200 KB.
    _ROWS, _DECODED, _BYTES = 256, 4 << 20, 1 << 20
    #: Bytes read ahead of all columns together, and of one at most and at least.
    _AHEAD, _MOST_AHEAD, _LEAST_AHEAD = 16 << 20, 1 << 20, 8 << 10

    def __init__(self, raw: BinaryIO) -> None:
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(raw)
        ahead = self._AHEAD // max(metadata.num_columns, 1)
        ahead = min(max(ahead, self._LEAST_AHEAD), self._MOST_AHEAD)
        # With a buffer a column of a row group is read as it is needed, else whole; what is fetched before that is all columns.
        self._file = pq.ParquetFile(raw, metadata=metadata, buffer_size=ahead, pre_buffer=False)
        self._tables = self._cut(self._batches())
        self._rest = b""

    def _batches(self) -> Iterator[Any]:
        """The rows of one row group after the other, some at a time."""
        for number in range(self._file.num_row_groups):
            group = self._file.metadata.row_group(number)
            rows = self._DECODED * group.num_rows // max(group.total_byte_size, 1)
            yield from self._file.iter_batches(min(max(rows, 1), self._ROWS), row_groups=[number])

    def readable(self) -> bool:
        return True

    def _cut(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The rows of the batches in tables of about _BYTES."""
        import pyarrow as pa

        held, size = [], 0
        for batch in batches:
            held.append(batch)
            size += batch.nbytes
            if size >= self._BYTES:
                table, held = pa.Table.from_batches(held), []
                step = max(table.num_rows * self._BYTES // size, 1)
                yield from (table.slice(at, step) for at in range(0, table.num_rows, step))
                size = 0
        if held:
            yield pa.Table.from_batches(held)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # io types it as any writable buffer
        import polars as pl

        while not self._rest:
            table = next(self._tables, None)
            if table is None:
                return 0
            rows = pl.DataFrame(_without_decimal256(table))
            # Bytes are no text, and JSON has no form for them: neither alone nor inside a list or struct.
            rows = rows.select(name for name, dtype in rows.schema.items() if "Binary" not in str(dtype))
            self._rest = rows.write_ndjson().encode()
        part = self._rest[: len(buffer)]
        buffer[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)
