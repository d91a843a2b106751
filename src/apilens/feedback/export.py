"""One file that people's feedback arrives in, seen as text, as JSON or as an archive: each reader takes what it needs."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from apilens.errors import InputError
from apilens.feedback.encoding import decode

#: Bytes of one export, decompressed: far above any real one, below what a bomb needs.
MAX_EXPORT = 512 * 2**20
#: Members of an archive, and how far it may shrink: chat exports have one small file per room and day, spreadsheets a dozen;
#: repeated JSON reaches about 60.
_MAX_MEMBERS = 200_000
_MAX_EXPANSION = 500
_EXPANSION_GRACE = 64 << 20

#: Keys under which interfaces and exports wrap their list of records.
_LISTS = (
    "issues",
    "records",
    "result",
    "results",
    "tickets",
    "messages",
    "value",
    "alerts",
    "incidents",
    "items",
    "data",
)
_Json = Any


@dataclass(frozen=True)
class Export:
    """name: as messages call it; path-like. raw: its bytes, decompressed unless it is an archive of several files."""

    name: str
    raw: bytes

    @cached_property
    def _decoded(self) -> tuple[str, str | None]:
        return ("", None) if self.is_zip or self.is_parquet else decode(self.raw)

    @property
    def text(self) -> str:
        """The file as text; empty for archives and Parquet."""
        return self._decoded[0]

    @property
    def remark(self) -> str | None:
        """What is to be said about its encoding."""
        return self._decoded[1]

    @property
    def is_zip(self) -> bool:
        return self.raw.startswith(b"PK\x03\x04")

    @property
    def is_parquet(self) -> bool:
        return self.raw.startswith(b"PAR1")

    @cached_property
    def objects(self) -> Objects:
        """What it holds as JSON; nothing for other files."""
        return _objects(self.text)

    @cached_property
    def first_object(self) -> dict[str, _Json]:
        """The first JSON object in it; empty when there is none."""
        return next((value for _, value in self.objects.found if isinstance(value, dict)), {})

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """Its archive. Raises InputError for a damaged one and for a bomb."""
        try:
            opened = zipfile.ZipFile(io.BytesIO(self.raw))
        except (zipfile.BadZipFile, OSError, ValueError) as bad:
            raise InputError(f"{self.name}: is a damaged zip archive: {bad}; export it again") from None
        members = opened.infolist()
        size = sum(member.file_size for member in members)
        if len(members) > _MAX_MEMBERS or size > MAX_EXPORT:
            raise InputError(
                f"{self.name}: holds {len(members):,} files of {size >> 20:,} MiB; at most {_MAX_MEMBERS:,} of "
                f"{MAX_EXPORT >> 20} MiB are read. Export a shorter period"
            )
        if size > _EXPANSION_GRACE and size > _MAX_EXPANSION * len(self.raw):
            raise InputError(f"{self.name}: expands more than {_MAX_EXPANSION}-fold (a decompression bomb?); not read")
        return opened

    def member(self, name: str) -> Export:
        """One file of the archive. Raises InputError where it is damaged or longer than it says."""
        try:
            with self.archive.open(name) as stream:
                raw = stream.read(self.archive.getinfo(name).file_size + 1)
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError) as bad:
            raise InputError(f"{self.name}: {name} is damaged or encrypted: {bad}") from None
        except Exception as bad:
            # zlib.error and lzma.LZMAError have no common base.
            if type(bad).__module__ not in ("zlib", "_lzma"):
                raise
            raise InputError(f"{self.name}: {name} is damaged: {bad}") from None
        return Export(f"{self.name}/{name}", raw)


@dataclass(frozen=True)
class Objects:
    """JSON values with the line each begins in; rejects: (line, why) of what is none; damage: why the end is missing.

    around: the document that wraps them, without the list itself; empty where there is none.
    """

    found: list[tuple[int, _Json]]
    rejects: list[tuple[int, str]]
    damage: str | None = None
    around: dict[str, _Json] = field(default_factory=dict)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:60]!r} stands twice")
    return found


#: Numbers as text: an id of 20 digits stays what it was.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_no_key_twice)


def _objects(text: str) -> Objects:
    body = text.lstrip("\ufeff \t\r\n")
    if not body.startswith(("{", "[")):
        return Objects([], [])
    try:
        whole = _DECODER.decode(body)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list):
        return Objects([(place, value) for place, value in enumerate(whole, 1)], [])
    if isinstance(whole, dict):
        key = _wraps(whole)
        around = {} if key is None else {name: value for name, value in whole.items() if name != key}
        return Objects(list(enumerate([whole] if key is None else whole[key], 1)), [], around=around)
    if _is_json_lines(body):
        return _json_lines(text)
    begins = _BEGINS.match(body)
    if begins is not None:
        return _cut_short(body, begins.end())
    if body.partition("\n")[0].strip() in ("{", "["):
        return Objects([], [(1, "no JSON object: it is damaged or ends early")], "is damaged JSON; export it again")
    return _json_lines(text)


_BEGINS = re.compile(r"\[|\{[^\[\]]{0,2000}?\"(?:" + "|".join(_LISTS) + r")\"\s*:\s*\[")


def _wraps(whole: dict[str, _Json]) -> str | None:
    """The key of the records a document wraps; None: it is a record itself, as one that has a list of its own is."""
    if "id" not in whole and "key" not in whole:
        for key in _LISTS:
            value = whole.get(key)
            if isinstance(value, list) and (not value or any(isinstance(entry, dict) for entry in value)):
                return key
    return None


def _is_json_lines(body: str) -> bool:
    """A line that is a JSON object on its own among the first ones; a pretty-printed document has none."""
    for line in body[:2_000_000].split("\n")[:20]:
        try:
            if isinstance(_DECODER.decode(line.strip()), dict):
                return True
        except (ValueError, RecursionError):
            continue
    return False


def lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their 1-based number; a line ends with LF, CR LF, or CR where a text has no LF at all."""
    terminator = "\n" if "\n" in text else "\r"
    for number, line in enumerate(text.split(terminator), 1):
        yield number, line.removesuffix("\r")


def _json_lines(text: str) -> Objects:
    found, rejects = [], []
    for number, line in lines(text):
        if not line.strip():
            continue
        try:
            found.append((number, _DECODER.decode(line.strip())))
        except (ValueError, RecursionError) as bad:
            rejects.append((number, f"no JSON object: {bad or 'nested too deep'}"))
    return Objects(found, rejects)


def _cut_short(body: str, at: int) -> Objects:
    """The whole records at the beginning of a document that is damaged or ends too early; the first begins at `at`."""
    found: list[tuple[int, _Json]] = []
    line = body.count("\n", 0, at) + 1
    while True:
        gap = re.compile(r"[\s,]*").match(body, at)
        start = gap.end() if gap else at
        line += body.count("\n", at, start)
        if start >= len(body) or body[start] == "]":
            break
        try:
            value, at = _DECODER.raw_decode(body, start)
        except (ValueError, RecursionError):
            cut = [(line, "the export is damaged or ends within this record")]
            return Objects(found, cut, "ends early or is damaged; what was whole is stored, export it again")
        found.append((line, value))
        line += body.count("\n", start, at)
    return Objects(found, [], "ends early or is damaged behind its records; export it again")


def word(value: _Json) -> str | None:
    """A JSON value as the text of a field: objects and lists stay JSON, null is None."""
    if value is None:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def inner(value: _Json, *keys: str) -> _Json:
    """What stands at a path of keys; None where the path ends early."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
