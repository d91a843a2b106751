"""From exports and interfaces to items in the state: what people reported comes in."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from urllib.parse import urlsplit

import polars as pl

from apilens.config import PullSource, load_config
from apilens.errors import ApilensError, ConfigError, Exit, InputError
from apilens.feedback import PULLS, Export, recognise
from apilens.feedback.api import Api, Page
from apilens.feedback.export import MAX_EXPORT
from apilens.feedback.history import history
from apilens.feedback.mail import pull_imap
from apilens.feedback.mapping import mapped, read_mapping
from apilens.feedback.records import REJECTS as REJECTED_RECORDS
from apilens.feedback.records import Records, newest, slashed_times, to_items
from apilens.ingest.sources import Input, expand
from apilens.pipeline.exports import whole
from apilens.schema import ITEMS
from apilens.store import Store, open_state


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
    mapping: str | None = None,
) -> Imported:
    """Store what people reported, from files, folders, globs or `-`; what is there already is not added again.

    channel: of records that name none. tz: zone of times without one. now: stamped on what is new. mapping: file that says
    what the columns of tables mean. An input that cannot be used is a failure, and the others are read.
    """
    limit = load_config(config).max_reject_ratio
    meaning = None if mapping is None else read_mapping(mapping)
    gathered = _Gathered(tz)
    inputs = 0
    for item in expand(paths):
        inputs += 1
        if isinstance(item, ApilensError):
            gathered.failures.append(str(item))
            continue
        try:
            export, damage = _export(item)
            if not export.raw.strip():
                gathered.remarks.append(f"{item.name}: is empty")
                continue
            if meaning is not None:
                records, name = mapped(export, meaning), None
            else:
                kind = recognise(export)
                records, name = kind.parse(export), kind.name
        except ApilensError as unusable:
            gathered.failures.append(str(unusable))
            continue
        # A mail says itself how each of its parts is encoded.
        gathered.remarks += [f"{item.name}: {export.remark}"] if export.remark and name != "mail" else []
        gathered.failures += [damage] if damage else []
        gathered.add(item.name, records, channel or name)
    with open_state(lake, state) as store:
        return gathered.stored(store, now, inputs, limit)


class _Gathered:
    """Items on their way into the state database, and what is to be said about them."""

    def __init__(self, tz: tzinfo) -> None:
        self.tz, self.read = tz, 0
        self.items = [pl.DataFrame(schema=ITEMS)]
        self.rejects = [pl.DataFrame(schema={"input": pl.String, **REJECTED_RECORDS})]
        self.remarks: list[str] = []
        self.failures: list[str] = []

    def add(self, name: str, records: Records, channel: str | None) -> None:
        """The records of one input."""
        good, bad = to_items(records, channel=channel, tz=self.tz)
        guessed = slashed_times(records)[1]
        self.remarks += [f"{name}: {guessed}"] if guessed else []
        self.read += records.read
        self.items.append(good)
        self.rejects.append(bad.select(pl.lit(name).alias("input"), "line", "reason"))
        self.remarks += [f"{name}: {remark}" for remark in records.remarks]
        self.failures += [f"{name}: {records.damage}"] if records.damage else []

    def stored(self, store: Store, now: datetime, inputs: int, limit: float) -> Imported:
        """All of it stored."""
        found, rejected = pl.concat(self.items), pl.concat(self.rejects)
        unique = newest(found)
        counts = store.save_items(unique, history(unique, self.tz), now)
        duplicate = found.height - unique.height + counts["unchanged"]
        return Imported(
            self.read,
            counts["new"],
            counts["updated"],
            rejected.height,
            duplicate,
            rejected,
            self.remarks,
            self.failures,
            inputs,
            limit,
        )


def _export(item: Input) -> tuple[Export, str | None]:
    """One input in memory, decompressed unless it is an archive of files, and its damage. Raises InputError."""
    if item.path is not None and item.path.is_file():
        with item.path.open("rb") as head:
            packed = head.read(4) in (b"PK\x03\x04", b"PAR1")
        if packed:
            if item.path.stat().st_size > MAX_EXPORT:
                raise InputError(f"{item.name}: more than {MAX_EXPORT >> 20} MiB; export a shorter period")
            return Export(item.name, item.path.read_bytes()), None
    raw, damage = whole(item, most=MAX_EXPORT, advice="split the export, import the parts")
    return Export(item.name, raw), damage


def pull_feedback(
    names: Sequence[str], *, lake: str, state: str | None, tz: tzinfo, now: datetime, config: str | None = None
) -> Imported:
    """Ask the [pulls.NAME] of the configuration (names empty: all) for what is new since the last time, and store it.

    A page is stored before the next one is asked for, with the place to go on from, so a run that dies is simply started
    again. A pull that fails is a failure, and the others go on. Raises ConfigError for a name that is not configured.
    """
    settings = load_config(config)
    unknown = [name for name in names if name not in settings.pulls]
    if unknown or not settings.pulls:
        known = ", ".join(settings.pulls) or "none; add [pulls.NAME] to apilens.toml, see docs/configuration.md"
        raise ConfigError(f"no pull named {', '.join(unknown) or 'anything'} is configured; configured: {known}")
    done: list[Imported] = []
    failures: list[str] = []
    chosen = list(names) or list(settings.pulls)
    with open_state(lake, state) as store:
        for name in chosen:
            try:
                for page, channel in _pages(name, settings.pulls[name], store.settings().get(f"cursor:{name}")):
                    gathered = _Gathered(tz)
                    gathered.add(name, page.records, channel)
                    done.append(gathered.stored(store, now, 1, settings.max_reject_ratio))
                    store.save_settings({f"cursor:{name}": page.cursor})
            except ApilensError as unusable:
                failures.append(f"{name}: {unusable}")
    return Imported(
        read=sum(part.read for part in done),
        new=sum(part.new for part in done),
        updated=sum(part.updated for part in done),
        rejected=sum(part.rejected for part in done),
        duplicate=sum(part.duplicate for part in done),
        rejects=pl.concat(
            [pl.DataFrame(schema={"input": pl.String, **REJECTED_RECORDS}), *(part.rejects for part in done)]
        ),
        remarks=list(dict.fromkeys(remark for part in done for remark in part.remarks)),
        failures=[*failures, *(failure for part in done for failure in part.failures)],
        inputs=len(chosen),
        max_reject_ratio=settings.max_reject_ratio,
    )


def _pages(name: str, source: PullSource, cursor: str | None) -> Iterator[tuple[Page, str]]:
    """The pages of one pull with the channel of their items. Raises ConfigError, InputError."""
    variable = source.secret or f"APILENS_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_SECRET"
    secret = os.environ.get(variable, "")
    if not secret:
        raise ConfigError(f"the environment has no {variable}; put the token or password there, never into a file")
    if source.kind == "imap":
        for page in pull_imap(source.url, source.user or "", secret, cursor):
            yield page, source.channel or "mail"
        return
    if source.kind not in PULLS:
        near = difflib.get_close_matches(source.kind, [*PULLS, "imap"], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"kind is {source.kind!r}, expected one of {', '.join([*PULLS, 'imap'])}{hint}")
    channel, pull = PULLS[source.kind]
    local = urlsplit(source.url).hostname in ("127.0.0.1", "::1", "localhost")
    if not local and not source.url.startswith("https://"):
        raise ConfigError(f"url is {source.url!r}, expected https://…: a secret is sent over TLS only")
    with Api(source.url, user=source.user, secret=secret, secret_name=variable, proxies=not local) as api:
        for page in pull(api, source.query, cursor):
            yield page, source.channel or channel
