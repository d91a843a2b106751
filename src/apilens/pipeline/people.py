"""From what people reported to the ranked queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import polars as pl

from apilens.config import load_config
from apilens.errors import ApilensError, ConfigError, Exit, InputError
from apilens.feedback import recognise
from apilens.feedback.category import categories
from apilens.feedback.completeness import completeness
from apilens.feedback.duplicates import duplicates
from apilens.feedback.encoding import decode
from apilens.feedback.history import history
from apilens.feedback.records import REJECTS as REJECTED_RECORDS
from apilens.feedback.records import Records, newest, to_items
from apilens.ingest.sources import Input, expand, open_input
from apilens.lens import Lens
from apilens.schema import ITEMS
from apilens.store import Store, default_state, open_store
from apilens.triage import CALLS_NAMED, inherit, link, read_context, request_ids
from apilens.triage import queue as rank
from apilens.window import Window


@dataclass(frozen=True)
class Imported:
    """What an import did: read = new + updated + rejected + duplicate.

    rejects: columns input, line, reason. remarks: what was noticed about inputs that were read. failures: inputs that
    could not be used, or only in part. max_reject_ratio: share of rejects from which the import counts as partial.
    """

    read: int
    new: int
    updated: int
    rejected: int
    duplicate: int
    rejects: pl.DataFrame
    remarks: list[str]
    failures: list[str]
    inputs: int
    max_reject_ratio: float

    @property
    def exit_code(self) -> Exit:
        """INPUT when no input could be used, PARTIAL when one was missing or damaged or too much was rejected."""
        if self.failures and len(self.failures) == self.inputs and not self.read:
            return Exit.INPUT
        too_many = self.rejected > self.max_reject_ratio * max(self.read, 1)
        return Exit.PARTIAL if self.failures or too_many else Exit.DONE

    @property
    def stored(self) -> int:
        """Items that are in the state database now and were not, or not like this."""
        return self.new + self.updated


def import_feedback(
    paths: Sequence[str],
    *,
    lake: str,
    state: str | None,
    channel: str | None,
    tz: tzinfo,
    now: datetime,
    config: str | None = None,
) -> Imported:
    """Store what people reported, from files, folders, globs or `-`; what is there already is not added again.

    channel: of records that name none. tz: zone of times without one. now: stamped on what is new. An input that
    cannot be used is a failure, and the others are read.
    """
    limit = load_config(config).max_reject_ratio
    items, rejects = [pl.DataFrame(schema=ITEMS)], [pl.DataFrame(schema={"input": pl.String, **REJECTED_RECORDS})]
    remarks: list[str] = []
    failures: list[str] = []
    inputs = read = 0
    for item in expand(paths):
        inputs += 1
        if isinstance(item, ApilensError):
            failures.append(str(item))
            continue
        try:
            records, remark, damage = _records(item)
        except ApilensError as unusable:
            failures.append(str(unusable))
            continue
        good, bad = to_items(records, channel=channel, tz=tz)
        read += records.read
        items.append(good)
        rejects.append(bad.select(pl.lit(item.name).alias("input"), "line", "reason"))
        remarks += [remark] if remark else []
        failures += [damage] if damage else []
    found, rejected = pl.concat(items), pl.concat(rejects)
    unique = newest(found)
    with open_store(state or default_state(lake)) as store:
        counts = store.save_items(unique, history(unique, tz), now)
    duplicate = found.height - unique.height + counts["unchanged"]
    return Imported(
        read, counts["new"], counts["updated"], rejected.height, duplicate, rejected, remarks, failures, inputs, limit
    )


_MAX_EXPORT = 512 * 2**20  # bytes of one export, decompressed: far above any real one, below what a bomb needs


def _records(item: Input) -> tuple[Records, str | None, str | None]:
    """The records of one input, a remark on it, and its damage. Raises InputError, FormatError."""
    stream = open_input(item)
    try:
        parts, size = [], 0
        while part := stream.read(2**20):
            parts.append(part)
            size += len(part)
            if size > _MAX_EXPORT:
                raise InputError(f"{item.name}: more than {_MAX_EXPORT >> 20} MiB; split the export, import the parts")
    finally:
        stream.close()
    text, remark = decode(b"".join(parts))
    said = f"{item.name}: {remark}" if remark else None
    damage = f"{item.name}: {stream.problem}; what was readable is stored" if stream.problem else None
    if not text.strip():
        return Records(), f"{item.name}: is empty", damage
    return recognise(text, item.name).parse(text), said, damage


def reported(*, lake: str, state: str | None) -> pl.DataFrame:
    """schema.ITEMS with category, why it is that category, what a report lacks (missing) and questions to send back."""
    with open_store(state or default_state(lake, create=False)) as store:
        items = store.items()
    kinds = categories(items).rename({"reason": "category_reason"})
    complete = completeness(items)
    return items.join(kinds, on=["channel", "id"], maintain_order="left").join(
        complete, on=["channel", "id"], maintain_order="left"
    )


@dataclass(frozen=True)
class Triaged:
    """links: schema.LINKS, one row per item; duplicates: DUPLICATES; changed: items whose candidate is another now."""

    links: pl.DataFrame
    duplicates: pl.DataFrame
    categories: pl.DataFrame
    changed: int
    now: datetime

    def counts(self) -> dict[str, int]:
        """items = linked + to_confirm + no_trace; beside them merged (certain repeats) and questions without trace."""
        bands = dict(self.links["band"].value_counts().rows())
        loose = self.links.filter(pl.col("candidate_id").is_null()).select("channel", id="feedback_id")
        kinds = loose.join(self.categories, on=["channel", "id"])["category"]
        return {
            "items": self.links.height,
            "merged": self.duplicates.filter(pl.col("band") == "auto").height,
            "linked": bands.get("auto", 0),
            "to_confirm": bands.get("suggested", 0),
            "no_trace": bands.get("none", 0),
            "questions": kinds.is_in(["question", "enhancement"]).sum(),
        }


def triage(*, lake: str, state: str | None, context: str | None, now: datetime | None) -> Triaged:
    """Join what people reported with the candidates, find repeats, and keep both with the context for `queue`.

    context: file of the business context; None: the one of the last triage. now: None: the end of the logged data.
    """
    lens = Lens(lake)
    with open_store(state or default_state(lake)) as store:
        text = _context_text(context) if context is not None else store.settings().get("context", "")
        meaning = read_context(text, context or "the context of the last triage")
        items, candidates = store.items(), store.candidates()
        end = lens.data_end
        moment = now or end or datetime.now(UTC)
        logged = Window(lens.period[0], end) if lens.period else Window()
        named = request_ids(items)
        calls = _calls_named(lens, named["request_id"].unique())
        kinds = categories(items)
        known = named.join(calls.select("request_id").unique(), on="request_id")
        repeats = duplicates(items, known)
        population = _population(lens)
        links = inherit(link(items, candidates, calls, kinds, meaning, logged, population), repeats)
        changed = store.save_links(links, repeats, moment)
        store.save_settings({"context": text, "population": population, "now": moment.isoformat()})
    return Triaged(links, repeats, kinds, changed, moment)


def queue(*, lake: str, state: str | None, context: str | None, now: datetime | None) -> pl.DataFrame:
    """schema.QUEUE: candidates and reports ranked together, as the last triage linked them.

    context: None: the one of the last triage. now: None: the moment of the last triage.
    """
    with open_store(state or default_state(lake, create=False)) as store:
        return ranked(store, context, now)


def ranked(store: Store, context: str | None, now: datetime | None) -> pl.DataFrame:
    """schema.QUEUE of an opened store; see queue."""
    kept = store.settings()
    text = _context_text(context) if context is not None else kept.get("context", "")
    meaning = read_context(text, context or "the context of the last triage")
    items, candidates = store.items(), store.candidates()
    last = datetime.fromisoformat(kept["now"]) if "now" in kept else None
    moment = now or last or candidates.select(pl.col("end").max()).item() or datetime.now(UTC)
    kinds = categories(items)
    links, repeats = store.links(), store.duplicates()
    return rank(candidates, items, links, repeats, kinds, meaning, moment, kept.get("population"))


def _context_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}; expected a context.toml") from None


def _calls_named(lens: Lens, ids: pl.Series) -> pl.DataFrame:
    """CALLS_NAMED: the calls whose request or trace id is among `ids`."""
    calls = lens.calls()
    return pl.concat(
        [
            calls.filter(pl.col(column).is_in(ids.implode()))
            .select(
                pl.col(column).alias("request_id"),
                pl.format("{} {}", pl.col("method").fill_null("?"), pl.col("route").fill_null("?")).alias("endpoint"),
                "start_time",
                "consumer",
                "status_code",
            )
            .collect()
            for column in ("request_id", "trace_id")
        ]
    ).select(CALLS_NAMED.names())


def _population(lens: Lens) -> int:
    """Consumers seen in the logs, bots and health checks left out."""
    calls = lens.lake.scan("calls").filter(pl.col("synthetic_type").is_null())
    return int(calls.select(pl.col("consumer").drop_nulls().n_unique()).collect().item())
