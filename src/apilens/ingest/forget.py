"""Data that must go: everything before a time, or all of one consumer. Gone from every table and file, and kept out."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote, quote_plus

import polars as pl

from apilens.errors import LakeError
from apilens.ingest.rollup import finish_rollups, roll_up
from apilens.lake import DECIDED, Lake
from apilens.lake.log import Actions, added
from apilens.lake.tables import MERGED, TIME, Table
from apilens.lake.upkeep import sweep
from apilens.schema import BIN_S, ENDPOINT

#: A name is a word of its own: forgetting app-1 leaves app-17 alone.
_WORD = rb"(?<![A-Za-z0-9_])(%s)(?![A-Za-z0-9_])"
#: Units whose rollups are made anew at once: some 16 blocks of calls, ten columns of them.
_UNITS_AT_ONCE = 16


@dataclass(frozen=True)
class Tombstone:
    """What a lake has been told to forget. before: calls that started earlier. consumers: keyed hashes of their names.

    spellings: length in bytes and keyed hash of each way in which a line may write one of the names. unfinished: not all of it is
    gone yet; how far a run came is no part of what is to be forgotten.
    """

    key: bytes = field(repr=False)
    before: datetime | None = None
    consumers: frozenset[str] = frozenset()
    spellings: frozenset[tuple[int, str]] = frozenset()
    unfinished: bool = field(default=False, compare=False)

    def __bool__(self) -> bool:
        return self.before is not None or bool(self.consumers)

    def buried(self, calls: pl.DataFrame) -> pl.Series:
        """Whether each call (start_time, consumer) is to be forgotten."""
        early = pl.lit(False) if self.before is None else pl.col("start_time") < self.before
        theirs = pl.lit(False)
        if self.consumers:
            theirs = pl.col("consumer").is_in(self.named(calls["consumer"]))
        return calls.select("row", (early | theirs).fill_null(False).alias("buried"))["buried"]

    def named(self, consumers: pl.Series) -> list[str]:
        """Those of some consumers that are to be forgotten."""
        names = consumers.drop_nulls().unique().to_list()
        return [name for name in names if _hashed(self.key, name.encode()) in self.consumers]

    def buried_rejects(self, calls: pl.DataFrame, raw: Sequence[bytes]) -> list[bool]:
        """Whether each rejected line is to be forgotten: it names a consumer, as a word, or all calls beside it are too old."""
        if self.before is not None and calls.height and bool((calls["start_time"] < self.before).all()):
            return [True] * len(raw)
        return [self.names_one(line) for line in raw]

    def names_one(self, line: bytes) -> bool:
        """Whether a line names a consumer, as a word."""
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
        return json.dumps(kept | {"unfinished": self.unfinished}) + "\n"


@lru_cache(1 << 16)  # lines that are rejected consist of the same words, and each is asked about
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
        return Tombstone(
            lake.masking_key, before, frozenset(kept["consumers"]), spellings, bool(kept.get("unfinished"))
        )
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
    What a run that died had begun, this one ends as well.
    """
    if before is not None:
        before = datetime.fromtimestamp(before.timestamp() // BIN_S * BIN_S, before.tzinfo)
    with lake.lock("commit"):
        dead = replace(tombstone(lake).with_more(before, consumers), unfinished=True)
        gone = _gone(lake, dead)
        counted = lake.scan("calls").select((gone.early | gone.theirs).sum()).collect().item()
        found = Forgotten(int(counted or 0), gone.open_rejects, 0)
        if dry_run:
            return found
        lake.save_text("forgotten.json", dead.to_json())  # first what keeps it out, and says that there is more to do
        return replace(found, files=_bury(lake, dead, gone))


def finish_forgetting(lake: Lake) -> None:
    """End what a run that died had begun to forget: until then rollups may lack what calls have; the commit lock is held."""
    dead = tombstone(lake)
    if dead.unfinished:
        _bury(lake, dead, _gone(lake, dead))


@dataclass(frozen=True)
class _Gone:
    """What is to be forgotten: whether a call is too old, or a consumer's; which rows of each file of rejects (by its path in
    the table; files without such a row are left out), and how many of those count and were not re-fed."""

    early: pl.Expr
    theirs: pl.Expr
    rejects: dict[str, pl.Series]
    open_rejects: int


def _gone(lake: Lake, dead: Tombstone) -> _Gone:
    before, early, named, old = dead.before, pl.lit(False), list[str](), pl.Series(dtype=pl.String)
    if dead.consumers:
        named = dead.named(lake.scan("calls").select(pl.col("consumer").unique()).collect()["consumer"])
    if before is not None:
        early = pl.col("start_time") < before
        # A unit of rejects alone has no time of its own but that of its ingest.
        old = lake.ledger().filter(pl.coalesce("last_start_time", "ingested_at") < before)["unit_id"]
    # A file at a time: a lake may have more rejected lines than there is memory for. What is kept is a bit per line.
    rejects, count = dict[str, pl.Series](), 0
    for path, rows, is_open in lake.rejects_by_file():
        gone = rows["unit_id"].is_in(old.implode())
        if dead.consumers:  # asked once of each line
            named_here = [raw is not None and dead.names_one(raw) for raw in rows["raw"]]
            gone = gone | pl.Series(named_here, dtype=pl.Boolean)
        if gone.any():
            rejects[path] = gone
            count += int((gone & is_open).sum())
    return _Gone(early, pl.col("consumer").is_in(named).fill_null(False), rejects, count)


def _bury(lake: Lake, dead: Tombstone, gone: _Gone) -> int:
    """Take what is to be forgotten out of every table and off the disk; how many files were deleted."""
    finish_rollups(lake)  # otherwise a later ingest would add the rollups made here once more
    # All that takes long comes before the first commit, and that of rollups right before that of calls: so readers see the two
    # disagree for no longer than behind any other commit.
    rejects = _actions(lake, "rejects", gone.rejects)
    rollups = _without_rollups(lake, dead.before, gone)
    calls = _actions(lake, "calls", gone.early | gone.theirs)
    lake.transact("rejects", rejects)
    lake.transact("rollups", rollups)
    lake.transact("calls", calls)
    # It has names of consumers, and is made again by the next scan.
    if lake.recall(DECIDED) is not None:
        lake.save_text(DECIDED, "")
    if dead.before is not None and "metrics" in lake.tables:
        lake.transact("metrics", _actions(lake, "metrics", pl.col("timestamp") < dead.before))
    files = sweep(lake, 0)
    lake.save_text("forgotten.json", replace(dead, unfinished=False).to_json())
    return files


def _actions(lake: Lake, name: Table, drop: pl.Expr | dict[str, pl.Series]) -> Actions:
    removes, adds = lake.without(name, drop, lake.table(name))
    return [*removes, *adds]


def _without_rollups(lake: Lake, before: datetime | None, gone: _Gone) -> Actions:
    """Rollups without the bins that are too old, and those of every unit that holds a consumer's calls made anew."""
    calls = lake.scan("calls").filter(~gone.early)
    units = calls.filter(gone.theirs).select(pl.col("unit_id").unique().sort()).collect()["unit_id"]
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
        part = calls.filter(~gone.theirs & pl.col("unit_id").is_in(units.slice(at, _UNITS_AT_ONCE).implode()))
        for (unit_id,), rows in part.select("unit_id", *needed).collect().group_by("unit_id"):
            file = lake.write_file("rollups", roll_up(rows, str(unit_id)), {}, f"{MERGED}{secrets.token_hex(16)}")
            actions.append(added(file, TIME["rollups"]))
    return actions
