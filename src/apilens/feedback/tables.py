"""CSV, spreadsheets and Parquet as rows of texts, whoever wrote them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date, datetime
from functools import cache
from typing import Any

from apilens.errors import InputError
from apilens.feedback.export import Export, word
from apilens.feedback.records import MAX_TEXT, Records

_DELIMITERS = ",;\t|"
_MAX_ROWS = 2_000_000  # Excel's own limit is 1,048,576


def columns(export: Export) -> list[str]:
    """The names in the first line of a CSV, the first row of a workbook, or Parquet's; lower case; empty for other files."""
    if export.is_parquet:
        return [name.strip().lower() for name in _parquet(export).schema_arrow.names]
    if export.is_zip:
        return _sheet(export)[0] if is_workbook(export) else []
    return _header(export.text)


def is_workbook(export: Export) -> bool:
    """Whether it is an XLSX workbook."""
    return export.is_zip and "xl/workbook.xml" in export.archive.namelist()


def rows(export: Export) -> Records:
    """One record per row, column (lower case) → text; values of a column that is named several times are joined.

    Raises InputError for a damaged workbook or Parquet file.
    """
    if export.is_parquet:
        return _parquet_rows(export)
    return _sheet_rows(export) if export.is_zip else _csv_rows(export.text)


def objects_or_rows(
    export: Export,
    of_objects: Callable[[list[tuple[int, Any]], list[tuple[int, str]], str | None], Records],
    of_row: Callable[[dict[str, str]], dict[str, str]],
) -> Records:
    """The records of a tracker whose exports are JSON as its interface answers it, or tables.

    of_objects: (numbered objects, rejects, damage) -> records. of_row: one row under the tracker's names -> under ours.
    """
    if export.first_object:
        return of_objects(export.objects.found, list(export.objects.rejects), export.objects.damage)
    found = rows(export)
    found.records = [(line, of_row(record)) for line, record in found.records]
    return found


def _csv_rows(text: str) -> Records:
    csv.field_size_limit(MAX_TEXT + 1)  # the limit is the interpreter's, not the reader's; ours is in to_items
    header = _header(text)
    body = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    skipped = next((number for number, line in enumerate(body) if line.strip()), 0) + 1
    found = Records()
    delimiter = _delimiter(_first_line(text))
    while skipped < len(body):
        reader = csv.reader((line + "\n" for line in body[skipped:]), delimiter=delimiter, strict=True)
        first = skipped
        while True:
            line = first + reader.line_num + 1
            try:
                cells = next(reader, None)
            except csv.Error as bad:
                if "end of data" in str(bad):
                    # An open quote swallowed all the rest: set this one line aside and go on behind it.
                    found.rejects.append((line, "a quote opens here and never closes"))
                    skipped = line
                    break
                found.rejects.append((line, f"no CSV row: {bad}"))
                continue
            if cells is None:
                return found
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                found.rejects.append((line, f"has {len(cells)} cells, expected {len(header)} as in the first line"))
                continue
            found.records.append((line, _record(header, cells)))
    return found


def _record(header: list[str], cells: list[str]) -> dict[str, str]:
    record: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=True):
        if cell.strip():
            record[name] = f"{record[name]}, {cell}" if name in record else cell
    return record


def _first_line(text: str) -> str:
    return next((line for line in text[:100_000].splitlines() if line.strip()), "")


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)


@cache
def _columns(line: str) -> tuple[str, ...]:
    cells = next(csv.reader([line], delimiter=_delimiter(line)), [])
    return tuple(cell.strip().lower() or f"column_{place}" for place, cell in enumerate(cells, 1))


def _header(text: str) -> list[str]:
    return list(_columns(_first_line(text)))


def _sheet(export: Export) -> tuple[list[str], list[list[Any]]]:
    """Header and rows of the first sheet that has any."""
    import python_calamine

    assert export.archive  # refuses bombs before anything is unpacked
    try:
        book = python_calamine.load_workbook(io.BytesIO(export.raw))
        for name in book.sheet_names:
            cells = book.get_sheet_by_name(name).to_python(skip_empty_area=True, nrows=_MAX_ROWS)
            filled = next((place for place, row in enumerate(cells) if any(str(cell).strip() for cell in row)), None)
            if filled is not None:
                header = [str(cell).strip().lower() or f"column_{n}" for n, cell in enumerate(cells[filled], 1)]
                return header, cells[filled + 1 :]
    except (python_calamine.CalamineError, OSError, ValueError) as bad:
        raise InputError(f"{export.name}: is a damaged or protected workbook: {bad}") from None
    return [], []


def _sheet_rows(export: Export) -> Records:
    header, cells = _sheet(export)
    found = Records()
    for line, row in enumerate(cells, 2):
        texts = [_cell(cell) for cell in row]
        if any(texts):
            found.records.append((line, _record(header, texts)))
    return found


def _cell(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, datetime | date) else str(value)


def _parquet(export: Export) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(io.BytesIO(export.raw))
    except (pa.ArrowException, OSError, ValueError) as bad:
        raise InputError(f"{export.name}: is a damaged Parquet file: {str(bad).splitlines()[0]}") from None


def _parquet_rows(export: Export) -> Records:
    import pyarrow as pa

    file, found = _parquet(export), Records()
    if file.metadata.num_rows > _MAX_ROWS:
        raise InputError(f"{export.name}: has {file.metadata.num_rows:,} rows, at most {_MAX_ROWS:,} are read")
    try:
        for batch in file.iter_batches(batch_size=10_000):
            for row in batch.to_pylist():
                texts = {
                    name.strip().lower(): text for name, value in row.items() if (text := _stored(value)) is not None
                }
                found.records.append((len(found.records) + 1, texts))
    except (pa.ArrowException, OSError, ValueError) as bad:
        found.damage = f"is a damaged Parquet file ({str(bad).splitlines()[0]}); what was readable is stored"
    return found


def _stored(value: Any) -> str | None:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return word(value if not isinstance(value, float | int) or isinstance(value, bool) else str(value))
    except TypeError:
        return str(value)
