"""CSV, XLSX and Parquet whose columns are named as in schema.ITEMS: one row per reported item."""

from __future__ import annotations

from apilens.feedback.export import Export
from apilens.feedback.records import Records
from apilens.feedback.tables import columns, rows


class Csv:
    """Comma, semicolon, tab or bar; quoted fields may span lines. Other columns become attributes."""

    name = None

    def recognises(self, export: Export) -> bool:
        return {"id", "created_at"} <= set(columns(export))

    def parse(self, export: Export) -> Records:
        return rows(export)
