"""CSV for spreadsheets: text that a spreadsheet would run as a formula is defused."""

from __future__ import annotations

import polars as pl


def csv_text(frame: pl.DataFrame) -> str:
    """The frame as CSV with a header; a text cell that starts with = + - @ TAB or CR gets an apostrophe before it.

    Source: OWASP, CSV Injection.
    """
    text = pl.col(pl.String)
    defused = pl.when(text.str.contains(r"^[=+\-@\t\r]")).then(pl.lit("'") + text).otherwise(text).name.keep()
    return frame.with_columns(defused).write_csv()
