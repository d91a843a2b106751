"""Data that must go: everything before a time, or all of one consumer. Gone from every table and file, and kept out."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote, quote_plus

import polars as pl

from apilens.errors import LakeError
from apilens.ingest.rollup import finish_rollups, roll_up
from apilens.lake import DECIDED, Lake
from apilens.lake.log import Actions, added
from apilens.lake.tables import MERGED, TIME, Table
from apilens.lake.upkeep import vacuum
from apilens.schema import BIN_S, ENDPOINT

#: A name is a word of its own: forgetting app-1 leaves app-17 alone.
_WORD = rb"(?<![A-Za-z0-9_])(%s)(?![A-Za-z0-9_])"
#: Units whose rollups are made anew at once: some 16 blocks of calls, ten columns of them.
_UNITS_AT_ONCE = 16


@dataclass(frozen=True)
class Tombstone:
    """What a lake has been told to forget. before: calls that started earlier. consumers: keyed hashes of their names.

    spellings: length in bytes and keyed hash of each way in which a line may write one of the names.
    """

    key: bytes = field(repr=False)
    before: datetime | None = None
    consumers: frozenset[str] = frozenset()
    spellings: frozenset[tuple[int, str]] = frozenset()

    def __bool__(self) -> bool:
        return self.before is not None or bool(self.consumers)

    def buried(self, calls: pl.DataFrame) -> pl.Series:
        """Whether each call (start_time, consumer) is to be forgotten."""
        early = pl.lit(False) if self.before is None else pl.col("start_time") < self.before
        theirs = pl.lit(False)
        if self.consumers:
            names = calls["consumer"].drop_nulls().unique()
            named = [name for name in names.to_list() if _hashed(self.key, name.encode()) in self.consumers]
            theirs = pl.col("consumer").is_in(named)
        return calls.select("row", (early | theirs).fill_null(False).alias("buried"))["buried"]

    def buried_rejects(self, calls: pl.DataFrame, raw: Sequence[bytes]) -> list[bool]:
        """Whether each rejected line is to be forgotten: it names a consumer, as a word, or all calls beside it are too old."""
        if self.before is not None and calls.height and bool((calls["start_time"] < self.before).all()):
            return [True] * len(raw)
        return [self._names_one(line) for line in raw]

    def _names_one(self, line: bytes) -> bool:
        for length in {length for length, _ in self.spellings}:
            words = re.finditer(rb"(?=%s)" % (_WORD % (b".{%d}" % length)), line, re.DOTALL)
            if any((length, _hashed(self.key, found[1])) in self.spellings for found in words):
                return True
        return False

    def with_more(self, before: datetime | None, consumers: Sequence[str]) -> Tombstone:
        """This and what is to be forgotten now; a time never moves back."""
        times = [time for time in (self.before, before) if time is not None]
        hashed = {_hashed(self.key, name.encode()) for name in consumers}
        written = {(len(text), _hashed(self.key, text)) for name in consumers for text in _spellings(name)}
        return Tombstone(self.key, max(times, default=None), self.consumers | hashed, self.spellings | written)

    def to_json(self) -> str:
        """As it is kept in the lake: no name can be read from it."""
        before = None if self.before is None else self.before.isoformat()
        kept = {"before": before, "consumers": sorted(self.consumers), "spellings": sorted(self.spellings)}
        return json.dumps(kept) + "\n"


def _hashed(key: bytes, consumer: bytes) -> str:
    return hmac.digest(key, b"consumer:" + consumer, "sha256").hex()


def _spellings(consumer: str) -> list[bytes]:
    """How a line may write a name: as it is, in JSON, in a URL."""
    texts = {consumer, json.dumps(consumer)[1:-1], quote(consumer), quote_plus(consumer)}
    return sorted(text.encode() for text in texts)


def tombstone(lake: Lake) -> Tombstone:
    """What the lake was told to forget so far. Raises LakeError when that cannot be read: it must not come back for it."""
    text = lake.read_text("forgotten.json")
    if text is None:
        return Tombstone(lake.masking_key)
    try:
        kept = json.loads(text)
        before = None if kept["before"] is None else datetime.fromisoformat(kept["before"])
        # Lakes of the first versions have no spellings.
        spellings = frozenset((int(length), str(digest)) for length, digest in kept.get("spellings", []))
        return Tombstone(lake.masking_key, before, frozenset(kept["consumers"]), spellings)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LakeError(
            f"{lake.storage.uri('_apilens/forgotten.json')}: is damaged, so what must stay forgotten is not known. Restore it from a backup, or remove it"
            " and forget the same once more: apilens lake forget"
        ) from None


@dataclass(frozen=True)
class Forgotten:
    """What forget took: calls and rejected lines, and files deleted from disk."""

    calls: int
    rejects: int
    files: int


def forget(lake: Lake, *, before: datetime | None, consumers: Sequence[str], dry_run: bool = False) -> Forgotten:
    """Take calls that started before a time, and all of some consumers, out of the lake and off the disk.

    before: brought down to a full five minutes, so that calls and rollups go together. A tombstone keeps the same data from
    coming back by another ingest. Rejected lines go with their unit when all of it is older, and where they name a
    consumer. Older versions of the tables can no longer be read afterwards. dry_run: only count.
    """
    if before is not None:
        before = datetime.fromtimestamp(before.timestamp() // BIN_S * BIN_S, before.tzinfo)
    with lake.lock("commit"):
        dead = tombstone(lake).with_more(before, consumers)
        early = pl.lit(False) if before is None else pl.col("start_time") < before
        theirs = pl.col("consumer").is_in(list(consumers)).fill_null(False)
        stale = _stale_rejects(lake, before, consumers)
        counted = lake.scan("calls").select((early | theirs).sum()).collect().item()
        found = Forgotten(int(counted or 0), int(lake.rejects().select(stale.sum()).item() or 0), 0)
        if dry_run:
            return found
        # Otherwise a later ingest would add the rollups made here once more.
        finish_rollups(lake)
        # First what keeps it out, last what counts it: a run that dies here is simply started again.
        lake.save_text("forgotten.json", dead.to_json())
        lake.transact("rollups", _without_rollups(lake, before, early, theirs))
        lake.transact("rejects", _actions(lake, "rejects", stale))
        lake.transact("calls", _actions(lake, "calls", early | theirs))
        # It has names of consumers, and is made again by the next scan.
        if lake.recall(DECIDED) is not None:
            lake.save_text(DECIDED, "")
        if before is not None and "metrics" in lake.tables:
            lake.transact("metrics", _actions(lake, "metrics", pl.col("timestamp") < before))
    return replace(found, files=vacuum(lake, retention_hours=0))


def _actions(lake: Lake, name: Table, drop: pl.Expr) -> Actions:
    removes, adds = lake.without(name, drop, lake.table(name))
    return [*removes, *adds]


def _without_rollups(lake: Lake, before: datetime | None, early: pl.Expr, theirs: pl.Expr) -> Actions:
    """Rollups without the bins that are too old, and those of every unit that holds a consumer's calls made anew."""
    calls = lake.scan("calls").filter(~early)
    units = calls.filter(theirs).select(pl.col("unit_id").unique().sort()).collect()["unit_id"]
    old = pl.lit(False) if before is None else pl.col("bin_start") < before
    actions = _actions(lake, "rollups", old | pl.col("unit_id").is_in(units.implode()))
    needed = [
        "start_time",
        *ENDPOINT,
        "status_code",
        "synthetic_type",
        "duration_ms",
        "response_bytes",
        "response_body_bytes",
    ]
    for at in range(0, units.len(), _UNITS_AT_ONCE):
        part = calls.filter(~theirs & pl.col("unit_id").is_in(units.slice(at, _UNITS_AT_ONCE).implode()))
        for (unit_id,), rows in part.select("unit_id", *needed).collect().group_by("unit_id"):
            file = lake.write_file("rollups", roll_up(rows, str(unit_id)), {}, f"{MERGED}{secrets.token_hex(16)}")
            actions.append(added(file, TIME["rollups"]))
    return actions


def _stale_rejects(lake: Lake, before: datetime | None, consumers: Sequence[str]) -> pl.Expr:
    """Rejects that name a consumer, or whose unit holds nothing but calls that are too old."""
    stale = pl.lit(False)
    if before is not None:
        ledger = lake.ledger()
        # A unit of rejects alone has no time of its own but that of its ingest.
        old = ledger.filter(pl.coalesce("last_start_time", "ingested_at") < before)["unit_id"]
        stale = stale | pl.col("unit_id").is_in(old.implode())
    if consumers:
        texts = b"|".join(re.escape(text) for name in consumers for text in _spellings(name))
        named = re.compile(_WORD % texts)

        def names_one(raw: pl.Series) -> pl.Series:
            found = [line is not None and named.search(line) is not None for line in raw.to_list()]
            return pl.Series(found, dtype=pl.Boolean)

        stale = stale | pl.col("raw").map_batches(names_one, return_dtype=pl.Boolean)
    return stale.fill_null(False)
