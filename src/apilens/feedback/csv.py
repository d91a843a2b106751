"""CSV: the first line names the columns, one row per reported item."""

from __future__ import annotations

import csv

from apilens.feedback.records import MAX_TEXT, Records

_DELIMITERS = ",;\t|"


class Csv:
    """Columns are named as in schema.ITEMS; comma, semicolon, tab or bar; quoted fields may span lines."""

    def recognises(self, text: str) -> bool:
        header = _header(text)
        return "id" in header and "created_at" in header

    def parse(self, text: str) -> Records:
        csv.field_size_limit(MAX_TEXT + 1)  # the limit is the interpreter's, not the reader's; ours is in to_items
        header = _header(text)
        body = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        skipped = next((number for number, line in enumerate(body) if line.strip()), 0) + 1
        found = Records()
        delimiter = _delimiter(text)
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
    """Field -> text; the values of a column that is named several times (labels, comments) are joined."""
    record: dict[str, str] = {}
    for name, cell in zip(header, cells, strict=True):
        if cell.strip():
            record[name] = f"{record[name]}, {cell}" if name in record else cell
    return record


def _first_line(text: str) -> str:
    return next((line for line in text[:100_000].splitlines() if line.strip()), "")


def _delimiter(text: str) -> str:
    return max(_DELIMITERS, key=_first_line(text).count)


def _header(text: str) -> list[str]:
    cells = next(csv.reader([_first_line(text)], delimiter=_delimiter(text)), [])
    return [cell.strip().lower() or f"column_{place}" for place, cell in enumerate(cells, 1)]
