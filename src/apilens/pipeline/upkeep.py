"""Looking after a lake: what it consists of, smaller, quicker, and without what must be forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from apilens import objects
from apilens.errors import UsageError
from apilens.ingest import forget as _forget
from apilens.lake import DECIDED, open_lake, upkeep
from apilens.store import Store, open_state
from apilens.triage import read_context


def info(lake: str) -> dict[str, object]:
    """What a lake consists of: `tables` (files, small files, bytes, rows, version), `units`, `last_ingest`, `forgotten`,
    `decided_bytes` (what scans remember)."""
    opened = open_lake(lake)
    forgotten = _forget.tombstone(opened)
    return {
        "tables": {name: asdict(table) for name, table in upkeep.info(opened).items()},
        "units": opened.ledger().height,
        "last_ingest": upkeep.last_ingest(opened),
        "forgotten": {
            "before": forgotten.before,
            "consumers": len(forgotten.consumers),
            "unfinished": forgotten.unfinished,
        },
        "decided_bytes": len(opened.recall(DECIDED) or b""),
    }


def compact(lake: str) -> dict[str, tuple[int, int]]:
    """Merge small files; per table how many went and how many came. Raises LakeError."""
    return {str(name): counts for name, counts in upkeep.compact(open_lake(lake)).items()}


def vacuum(lake: str, *, retention_hours: int) -> int:
    """Delete files no reader needs; how many. Raises UsageError for a negative retention, LakeError."""
    if retention_hours < 0:
        raise UsageError(f"--retention-hours {retention_hours} is negative; expected 0 or more")
    return upkeep.vacuum(open_lake(lake), retention_hours=retention_hours)


def forget(
    lake: str, *, state: str | None, before: datetime | None, consumers: Sequence[str], dry_run: bool
) -> Forgotten:
    """Take what is older, and all of some consumers, out of the lake and off the disk, and these out of the state as well.

    What a consumer reported is what came from its name, or from an account of the kept context that speaks for no consumer
    besides. Raises UsageError for nothing to do.
    """
    if before is None and not consumers:
        raise UsageError("nothing to forget: give --before TIME or --consumer NAME")
    if not all(name.strip() for name in consumers):
        raise UsageError(
            '--consumer is empty, which every line would hold; expected a name as in: apilens sql "SELECT DISTINCT consumer FROM calls"'
        )
    opened = open_lake(lake)
    gone = _forget.forget(opened, before=before, consumers=consumers, dry_run=dry_run)
    # A lake on which nothing was scanned or reported has no state, and needs none to forget.
    if not consumers or (state is None and not (Path(lake) / "_apilens" / "state.db").exists()):
        unknown = bool(consumers) and objects.is_url(lake)
        return Forgotten(gone.calls, gone.rejects, gone.files, 0, 0, state_unknown=unknown)
    with open_state(lake, state) as store:
        theirs = _theirs(store, set(consumers))
        if dry_run:
            affected = store.candidates().filter(
                pl.col("affected_consumers").list.eval(pl.element().is_in(list(consumers))).list.any()
            )
            return Forgotten(gone.calls, gone.rejects, gone.files, theirs.height, affected.height)
        counts = store.forget(consumers, theirs)
    return Forgotten(gone.calls, gone.rejects, gone.files, counts["items"], counts["candidates"])


@dataclass(frozen=True)
class Forgotten:
    """What forget took: calls, rejected lines, and files deleted from disk; feedback items; candidates changed or gone.

    state_unknown: whether what the consumers reported may lie in a state database that was not named.
    """

    calls: int
    rejects: int
    files: int
    items: int
    candidates: int
    state_unknown: bool = False


def _theirs(store: Store, consumers: set[str]) -> pl.DataFrame:
    """channel and id of what these consumers reported."""
    context = read_context(store.settings().get("context", ""), "the context of the last triage")
    rows = []
    for channel, key, reporter, account in store.items().select("channel", "id", "reporter", "account").rows():
        names = {reporter, account, (reporter or "").partition("@")[0]}
        mapped = set(context.consumers_of(reporter, account))
        if names & consumers or (mapped and mapped <= consumers):
            rows.append((channel, key))
    return pl.DataFrame(rows, schema={"channel": pl.String, "id": pl.String}, orient="row")
