"""Rows as JSON: one object per line, ended by a line feed and by nothing else."""

from __future__ import annotations

import json
from typing import Any

import polars as pl


def ndjson_text(frame: pl.DataFrame) -> str:
    """The frame, a JSON object per row. Binary columns are shown as text, invalid UTF-8 in them as U+FFFD."""
    return as_text(frame).write_ndjson()


def records(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """The same as Python objects. A logged U+2028 or U+0085 is no line end here, as it is for str.splitlines."""
    return [json.loads(line) for line in ndjson_text(frame).split("\n")[:-1]]


def for_machines(frame: pl.DataFrame, output: str, name: str) -> str | None:
    """The frame as `--output` json (an object with the rows under `name`) or ndjson; None: for people."""
    if output == "ndjson":
        return ndjson_text(frame)
    if output == "json":
        return json.dumps({"schema_version": 1, name: records(frame)}, ensure_ascii=False) + "\n"
    return None


def as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with its binary columns as text; JSON and CSV have no form for bytes."""
    names = [name for name, dtype in frame.schema.items() if dtype == pl.Binary]
    return frame.with_columns(
        pl.Series(name, [None if cell is None else cell.decode("utf-8", "replace") for cell in frame[name]], pl.String)
        for name in names
    )
