"""Looking after a lake: what it consists of, smaller, quicker, and without what must be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from apilens.errors import UsageError
from apilens.ingest import forget as _forget
from apilens.lake import open_lake, upkeep


def info(lake: str) -> dict[str, object]:
    """What a lake consists of: `tables` (files, small files, bytes, rows, version), `units`, `last_ingest`, `forgotten`."""
    opened = open_lake(lake)
    forgotten = _forget.tombstone(opened)
    return {
        "tables": {name: asdict(table) for name, table in upkeep.info(opened).items()},
        "units": opened.ledger().height,
        "last_ingest": upkeep.last_ingest(opened),
        "forgotten": {"before": forgotten.before, "consumers": len(forgotten.consumers)},
    }


def compact(lake: str) -> dict[str, tuple[int, int]]:
    """Merge small files; per table how many went and how many came. Raises LakeError."""
    return {str(name): counts for name, counts in upkeep.compact(open_lake(lake)).items()}


def vacuum(lake: str, *, retention_hours: int) -> int:
    """Delete files no reader needs; how many. Raises UsageError for a negative retention, LakeError."""
    if retention_hours < 0:
        raise UsageError(f"--retention-hours {retention_hours} is negative; expected 0 or more")
    return upkeep.vacuum(open_lake(lake), retention_hours=retention_hours)


def forget(lake: str, *, before: datetime | None, consumers: Sequence[str], dry_run: bool) -> _forget.Forgotten:
    """Take what is older, and all of some consumers, out of the lake and off the disk. Raises UsageError for nothing to do."""
    if before is None and not consumers:
        raise UsageError("nothing to forget: give --before TIME or --consumer NAME")
    return _forget.forget(open_lake(lake), before=before, consumers=consumers, dry_run=dry_run)
