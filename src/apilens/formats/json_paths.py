"""Paths to the values of a JSON object, and what they are called.

A path is DuckDB's: `$.request."x-id"[0]`; `#$.tries` stands for the length of an array.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import polars as pl

from apilens.formats.fields import CALLERS, Field, text, unlisted
from apilens.formats.nearly_json import mended

#: One step of a path: `.name` or `."any name"`.
_STEP = re.compile(r'\.(?:"((?:[^"\\]|\\.)*)"|([^."\[]+))')
#: A name that stands in a path without quotes.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def header(path: str, column: str | Field, *, rank: int = 0) -> dict[str, Field]:
    """Fields for a header at `path`, which is a string, or an array of them where it came more than once."""
    field = text(column) if isinstance(column, str) else column
    return {f"{path}[0]": replace(field, rank=rank), path: replace(unlisted(field), rank=rank + 1)}


def callers(where: str, *, capitals: bool = False) -> dict[str, Field]:
    """Fields for the headers that say who called. where: path of one, {} for its name. capitals: its words begin with one."""
    named = {name.title() if capitals else name: field for name, field in CALLERS.items()}
    found = (header(where.format(name), field, rank=field.rank) for name, field in named.items())
    return {path: field for fields in found for path, field in fields.items()}


def names(lines: Iterable[str]) -> dict[str, str]:
    """Path -> plain name of every value in the JSON objects among `lines`: words in lower case, parted by `_`."""
    return dict(_names(tuple(lines)))


@lru_cache(8)
def _names(lines: tuple[str, ...]) -> dict[str, str]:
    """Four formats ask for those of a head."""
    found: dict[str, str] = {}
    for line in mended(pl.Series(lines, dtype=pl.String)):
        try:
            record = json.loads(line) if line.lstrip().startswith("{") else None
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            _name(record, "$", "", found, _DEEPEST)
    return found


def leaves(line: str) -> dict[str, str]:
    """Path -> value, as text, of what a JSON object holds that is no object itself; nothing of a line that is none."""
    try:
        record = json.loads(line) if line.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        return {}
    return dict(_leaves(record, "$", _DEEPEST)) if isinstance(record, dict) else {}


def _leaves(record: dict[str, object], inside: str, levels: int) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if key and isinstance(value, dict) and value and levels:
            yield from _leaves(value, child(inside, key), levels - 1)
        elif key:
            yield child(inside, key), str(value)


#: Objects inside one another that are looked into for names.
_DEEPEST = 5


def _name(record: dict[str, object], inside: str, prefix: str, found: dict[str, str], levels: int) -> None:
    for key, value in record.items():
        if not key:
            continue
        path, name = child(inside, key), f"{prefix}{plain_name(key)}"
        if isinstance(value, dict) and value and levels:
            _name(value, path, f"{name}_", found, levels - 1)
        else:
            found.setdefault(path, name)


@lru_cache(4096)
def plain_name(name: str) -> str:
    """`requestId`, `x-request-id`, `http.request.id` as words in lower case, parted by `_`."""
    return re.sub(r"[^0-9a-z]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def path(*on_the_way: str) -> str:
    """The path of a value from the names on the way to it."""
    found = "$"
    for name in on_the_way:
        found = child(found, name)
    return found


def dotted(path: str) -> str:
    """The names on the way to a value, joined by dots."""
    return ".".join(steps(path))


def steps(path: str) -> list[str]:
    """The names on the way to a value."""
    return [_unescaped(quoted) or plain for quoted, plain in _STEP.findall(path)]


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def child(parent: str, name: str) -> str:
    """The path of `name` in the object at `parent`."""
    if _PLAIN.fullmatch(name):
        return f"{parent}.{name}"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{parent}."{escaped}"'


def attribute_name(parent: str, name: str) -> str:
    """What a field is called in attributes: its path with dots."""
    return f"{dotted(parent)}.{name}" if parent != "$" else name


def key_of(where: str) -> str:
    """The path of the name under which a value stands, or the array it stands in."""
    return path(*steps(where))


def parents_of(where: str) -> list[str]:
    """The paths of the objects around a value, but for the record itself."""
    on_the_way = steps(where)
    return [path(*on_the_way[:n]) for n in range(1, len(on_the_way))]
