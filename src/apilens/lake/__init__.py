"""The lake: Delta tables of calls, rollups, rejects and the ledger of what was ingested."""

from apilens.lake.lake import DataFile, Lake, Unit, open_lake, refuse_newer

__all__ = ["DataFile", "Lake", "Unit", "open_lake", "refuse_newer"]
