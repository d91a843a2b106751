"""CSV: Grafana's panels (a column per series, or series in rows), and any table with a time column and numbers."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo

from apilens.errors import InputError
from apilens.metrics.samples import Samples

_TIME = ("time", "timestamp", "date", "datetime", "ts", "_time", "@timestamp", "when")
_NAME = ("metric", "series", "name", "__name__", "measurement", "_field", "field", "key")
_VALUE = ("value", "_value", "val")
#: Unit in a cell -> unit of schema.METRICS and factor; Grafana writes them behind the number.
_UNITS = {
    "%": ("ratio", 0.01), "percent": ("ratio", 0.01), "ns": ("ms", 1e-6), "µs": ("ms", 1e-3), "us": ("ms", 1e-3),
    "ms": ("ms", 1.0), "s": ("ms", 1e3), "min": ("ms", 6e4), "mins": ("ms", 6e4), "hour": ("ms", 3.6e6), "hours": ("ms", 3.6e6),
    "b": ("bytes", 1.0), "kb": ("bytes", 1e3), "mb": ("bytes", 1e6), "gb": ("bytes", 1e9), "tb": ("bytes", 1e12),
    "kib": ("bytes", 2.0**10), "mib": ("bytes", 2.0**20), "gib": ("bytes", 2.0**30), "tib": ("bytes", 2.0**40),
}  # fmt: skip
_CELL = re.compile(r"([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)\s*([^\W\d_]{1,7}|%)?(?:/s)?")
#: `12,5 %`, `1.234,5`: digits behind one comma; `1,234.5`, `1,234,567`: commas between groups of three.
_ONE_COMMA = re.compile(r"[-+]?[\d.]*\d,\d+\s*(?:[^\W\d_]{1,7}|%)?(?:/s)?")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?![\d.])\D*")
_ONLY_GROUPED = re.compile(r"[-+]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})\D*")
_DOTTED_GROUPS = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+(?![\d.])")
#: `2026/03/09 10:00`, `09.03.2026 10:00` (with dots the day stands first), `2026-03-09 10:00:00 UTC`.
_DATE = re.compile(r"(?:(\d{4})/(\d\d?)/(\d\d?)|(\d\d?)\.(\d\d?)\.(\d{4}))(?:,?[ T](.+))?")
_LABEL = re.compile(r'([A-Za-z_][\w.]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_MISSING = ("", "nan", "null", "none", "n/a", "-", "undefined", "+inf", "-inf", "inf")


def recognises(text: str) -> bool:
    """A first line of several names."""
    head = text.lstrip("\ufeff").partition("\n")[0]
    return any(mark in head for mark in ",;\t") or head.lower().startswith("sep=")


def read(text: str, name: str, tz: tzinfo) -> Samples:
    """Samples per column of numbers, or per name in a column of names. Raises InputError where no column holds times."""
    text = text.lstrip("\ufeff")
    given = re.match(r"(?i)sep=(.)\r?\n", text)
    text = text[given.end() :] if given else text
    # InfluxDB's annotated CSV says its types first.
    text = re.sub(r"\A(?:#[^\n]*\n)+", "", text)
    separator = given[1] if given else max(",;\t", key=text.partition("\n")[0].count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        numbered = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{name}: is no CSV ({error}); expected a header and rows") from None
    if not numbered:
        raise InputError(f"{name}: holds no row; expected a header and rows")
    header = [cell.strip() for cell in numbered[0][1]]
    lower = [title.lower() for title in header]
    # Beside the name of a time others may be numbers (CPUs, disks).
    if not set(lower) & set(_TIME) and any(_micros(cell, tz) is not None for cell in header):
        raise InputError(
            f"{name}: begins with {', '.join(header)[:60]!r}, a sample; expected a first line of names, such as time,cpu"
        )
    found, rows = Samples(), []
    for line, row in numbered[1:]:
        if len(row) == len(header):
            rows.append((line, row))
        else:
            found.rejects.append((f"line {line}", f"has {len(row)} fields, expected {len(header)}"))
    columns: list[list[str]] = [list(column) for column in zip(*(row for _, row in rows), strict=True)] or [
        [] for _ in header
    ]
    when = next((lower.index(word) for word in _TIME if word in lower), 0)
    times = [_micros(cell, tz) for cell in columns[when]]
    if rows and all(at is None for at in times):
        raise InputError(
            f"{name}: column {header[when][:40]!r} holds no times, found {columns[when][0][:40]!r}; expected ISO 8601 or epoch"
            f" seconds or milliseconds under one of {', '.join(_TIME[:5])}"
        )
    where = [f"line {line}" for line, _ in rows]
    decimal_comma = _decimal_comma(
        (cell for place, column in enumerate(columns) if place != when for cell in column), separator
    )
    value = next((lower.index(word) for word in _VALUE if word in lower), None)
    if value is None:
        numbers = [
            place for place in range(len(header)) if place != when and _is_numeric(columns[place], decimal_comma)
        ]
        if rows and not numbers:
            raise InputError(f"{name}: no column holds numbers; found {', '.join(header)[:120]}")
    else:
        numbers = [value]
    named = next((lower.index(word) for word in _NAME if word in lower), None) if value is not None else None
    texts = [place for place in range(len(header)) if place not in (when, named, *numbers)]
    # A series is what has the same texts beside its numbers.
    groups: dict[tuple[str, ...], list[int]] = {}
    for row_number in range(len(rows)):
        key = tuple(columns[place][row_number] for place in (texts if named is None else [named, *texts]))
        groups.setdefault(key, []).append(row_number)
    for key, members in groups.items():
        beside = dict(zip([header[place] for place in texts], key if named is None else key[1:], strict=True))
        for place in numbers:
            spelled = header[place] if value is None else key[0] if named is not None else ""
            labels = {**{title: cell for title, cell in beside.items() if cell}, **_labels(spelled)}
            cells = [columns[place][number] for number in members]
            read_cells = [_cell(cell, decimal_comma) for cell in cells]
            units = {unit for _, unit in read_cells if unit is not None}
            found.add(
                labels,
                [where[number] for number in members],
                [times[number] for number in members],
                # Mixed dimensions are no series; the odd ones out are set aside.
                [number if len(units) < 2 or unit == min(units) else None for number, unit in read_cells],
                [f"{columns[when][number]} {cell}" for number, cell in zip(members, cells, strict=True)],
                min(units, default=None),
            )
    return found


def _labels(spelled: str) -> dict[str, str]:
    """`cpu`, `cpu{instance="a"}` or `{instance="a"}` as labels."""
    name, brace, inside = spelled.partition("{")
    if not brace:
        return {"__name__": spelled} if spelled else {}
    labels = {key: re.sub(r"\\(.)", r"\1", text) for key, text in _LABEL.findall(inside)}
    return {**labels, **({"__name__": name.strip()} if name.strip() else {})}


def _decimal_comma(cells: Iterable[str], separator: str) -> bool:
    """Whether `1,5` is one and a half here: some number is not in groups of three, or the table is separated by semicolons
    because its commas are taken."""
    commas = [text for text in map(str.strip, cells) if "," in text]
    if any(_ONLY_GROUPED.fullmatch(text) for text in commas):
        return False
    numbers = [text for text in commas if _ONE_COMMA.fullmatch(text)]
    return bool(numbers) and (separator == ";" or any(_GROUPED.fullmatch(text) is None for text in numbers))


def _is_numeric(cells: list[str], decimal_comma: bool) -> bool:
    filled = [cell for cell in cells[:1000] if cell.strip().lower() not in _MISSING]
    return bool(filled) and sum(_cell(cell, decimal_comma)[0] is not None for cell in filled) > len(filled) / 2


def _cell(cell: str, decimal_comma: bool) -> tuple[float | None, str | None]:
    """Number in its unit, and the unit (None: not written); (None, None) for what is no number, NaN for a blank."""
    text = cell.strip()
    if text.lower() in _MISSING:
        return math.nan, None
    if decimal_comma:
        text = text.replace(".", "").replace(",", ".") if "," in text or _DOTTED_GROUPS.match(text) else text
    match = _CELL.fullmatch(text)
    if match is None:
        return None, None
    number = float(match[1].replace(",", ""))
    if match[2] is None:
        return number, None
    unit = _UNITS.get(match[2].lower())
    return (None, None) if unit is None else (number * unit[1], unit[0])


def _micros(cell: str, tz: tzinfo) -> int | None:
    text = cell.strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        # Seconds until the year 5138, then milliseconds, microseconds, nanoseconds.
        for limit, factor in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0), (1e20, 1e-3)):
            if abs(number) < limit:
                return round(number * factor)
        return None
    text = re.sub(r"\s*(?:UTC|GMT)$", "+00:00", text)
    if (date := _DATE.fullmatch(text)) is not None:
        year, month, day = (date[1], date[2], date[3]) if date[1] else (date[6], date[5], date[4])
        text = f"{year}-{month:>02}-{day:>02}" + (f"T{date[7]}" if date[7] else "")
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=tz)
        return round(moment.astimezone(UTC).timestamp() * 1e6)
    except (ValueError, OverflowError):
        return None
