"""The lake: Delta tables of calls, rollups, rejects and the ledger of what was ingested."""

from apilens.lake.lake import DECIDED, Lake, no_lake, open_lake, refuse_newer
from apilens.lake.tables import DataFile, Unit

__all__ = ["DECIDED", "DataFile", "Lake", "Unit", "no_lake", "open_lake", "refuse_newer"]
