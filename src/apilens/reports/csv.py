"""CSV for spreadsheets: text that a spreadsheet would run as a formula is defused."""

from __future__ import annotations

import json

import polars as pl

from apilens.reports.ndjson import as_text, records


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with lists, maps and structs as JSON text: CSV has no cells within cells."""
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested()]
    rows = records(frame.select(nested)) if nested else []
    return as_text(frame).with_columns(
        pl.Series(name, [json.dumps(row[name], ensure_ascii=False) for row in rows], pl.String) for name in nested
    )


def csv_text(frame: pl.DataFrame) -> str:
    """The frame as CSV with a header; a text cell that starts with = + - @ TAB or CR gets an apostrophe before it.

    Source: OWASP, CSV Injection.
    """
    text = pl.col(pl.String)
    defused = pl.when(text.str.contains(r"^[=+\-@\t\r]")).then(pl.lit("'") + text).otherwise(text).name.keep()
    return flat(frame).with_columns(defused).write_csv()
