"""Reading and writing the state database; the same code on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import sqlalchemy as sa

from apilens.schema import CANDIDATES, ITEMS, LINKS, TIMESTAMP
from apilens.store import tables
from apilens.store.database import Database, NoRoomError, connect, default_state
from apilens.window import Window

#: As tickets have it: what comes back within a week is the same problem reopened (FEEDBACK, "Life cycle").
_REOPENS = timedelta(days=7)

#: One row per change in the life of a candidate, an item or a ticket.
EVENTS = pl.Schema(
    [
        ("kind", pl.String),  # candidate | item | ticket
        ("subject", pl.String),  # candidate id, channel:item id, or ticket id
        ("at", TIMESTAMP),
        ("who", pl.String),
        ("field", pl.String),
        ("old", pl.String),  # null: the first value
        ("new", pl.String),
    ]
)
#: One row per item that repeats an earlier one (as feedback.duplicates makes them).
DUPLICATES = pl.Schema(
    [
        ("channel", pl.String),
        ("id", pl.String),
        ("of_channel", pl.String),
        ("of_id", pl.String),
        ("similarity", pl.Float64),
        ("band", pl.String),  # auto | suggested
        ("reason", pl.String),
    ]
)
#: One row per item that names calls of one consumer.
SPEAKERS = pl.Schema([("channel", pl.String), ("id", pl.String), ("consumer", pl.String)])
#: One row per (kind, subject, object) that people decided on: the last decision.
DECISIONS = pl.Schema(
    [
        (
            "kind",
            pl.String,
        ),  # link | category | severity | module | owner | caused_by | blocks | priority | effort | mute
        ("subject", pl.String),  # channel:item id, a candidate's fingerprint, or the endpoints and signals of a mute
        ("object", pl.String),  # candidate id or fingerprint; "": none, or it needs none
        ("verdict", pl.String),  # confirmed | rejected, or the value
        ("who", pl.String),
        ("why", pl.String),
        ("at", TIMESTAMP),
        ("until", TIMESTAMP),  # null: until another one
    ]
)
#: One row per problem filed in a tracker.
TICKETS = pl.Schema(
    [
        ("id", pl.String),
        ("fingerprint", pl.String),
        ("start", TIMESTAMP),
        ("end", TIMESTAMP),  # of the latest occurrence so far
        ("reference", pl.String),  # null: not delivered yet
        ("opened_at", TIMESTAMP),
    ]
)

#: Tables with rows of single items, and the column that has the item's id.
_OF_ITEMS = (
    (tables.items, "id"),
    (tables.links, "feedback_id"),
    (tables.duplicates, "id"),
    (tables.speakers, "id"),
)
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filing:
    """One ticket to be delivered. in_doubt: somebody may have delivered it already and died before saying so."""

    ticket: str
    payload: dict[str, Any]
    in_doubt: bool = False


def open_state(lake: str, state: str | None, *, create: bool = True) -> Store:
    """The state database of a lake, or the one `--state` names; see open_store. create: whether it may be made.

    A lake's own database is made with the lake's first use; one that is named and not there is a mistyped name to those
    who only read.
    """
    if state is None:
        return open_store(default_state(lake, create=create), only_read=not create)
    return open_store(state, create=create, only_read=not create)


def open_store(url: str, *, create: bool = True, only_read: bool = False) -> Store:
    """The state database at `url` (`sqlite:///FILE` or `postgresql+psycopg://…`), created or migrated as needed.

    Raises UsageError for what is no such URL; LakeError, and changes nothing, for a database of a newer version, one that is
    no database, one that cannot be reached, or one that is not there and may not be made (create False); LockedError when
    another run kept it locked for 30 s. only_read: mostly, so that a full disk is no hindrance; who writes all the same meets
    NoRoomError there.
    """
    engine, shown = connect(url, create=create)
    store = Store(engine, shown)
    try:
        store.migrate()
    except NoRoomError as no_room:
        if not only_read:
            raise
        store.close()
        store = Store(connect(url, create=False, full=True)[0], shown, no_room)
        store.migrate()
    return store


class Store(Database):
    """Tables in, tables out. Each method is one transaction; writers queue up, readers never wait."""

    # -- candidates

    def save_candidates(self, candidates: pl.DataFrame, now: datetime, scanned: Window) -> dict[str, int]:
        """Keep what a scan of the window `scanned` raised; the counts new, updated, unchanged, withdrawn.

        candidates: schema.CANDIDATES. A stored candidate that started inside `scanned` and is not among them is
        withdrawn: the scan, seeing more, no longer finds it abnormal. The same scan again changes nothing.
        """
        fresh = {row["id"]: _clean(row) for row in candidates.select(CANDIDATES.names()).to_dicts()}
        counts = {"new": 0, "updated": 0, "unchanged": 0, "withdrawn": 0}
        table = tables.candidates
        with self._write() as db:
            known = {row["id"]: dict(row) for row in db.execute(sa.select(table)).mappings()}
            for key, row in fresh.items():
                old = known.get(key)
                if old is None:
                    db.execute(sa.insert(table).values(**row, saved_at=now))
                    _record(db, [_event("candidate", key, row["detected_at"], "apilens", "state", None, row["state"])])
                    if (earlier := _occurred(known, row)) is not None:
                        _record(db, [_event("candidate", key, row["detected_at"], "apilens", "reopens", None, earlier)])
                    counts["new"] += 1
                elif old["withdrawn_at"] is not None or any(old[name] != value for name, value in row.items()):
                    db.execute(sa.update(table).where(table.c.id == key).values(**row, withdrawn_at=None))
                    was = "withdrawn" if old["withdrawn_at"] is not None else old["state"]
                    _record(db, _changes("candidate", key, now, "apilens", {"state": was, **_watched(old)}, row))
                    counts["updated"] += 1
                else:
                    counts["unchanged"] += 1
            for key, old in known.items():
                if key not in fresh and old["withdrawn_at"] is None and _inside(old["start"], scanned):
                    db.execute(sa.update(table).where(table.c.id == key).values(withdrawn_at=now))
                    _record(db, [_event("candidate", key, now, "apilens", "state", old["state"], "withdrawn")])
                    counts["withdrawn"] += 1
        return counts

    def candidates(self) -> pl.DataFrame:
        """schema.CANDIDATES that stand (not withdrawn), oldest first."""
        table = tables.candidates
        query = sa.select(table).where(table.c.withdrawn_at.is_(None)).order_by(table.c.start, table.c.id)
        return self._frame(query, CANDIDATES)

    def save_states(self, states: pl.DataFrame, *, who: str, now: datetime) -> int:
        """Set the state of stored candidates (columns id, state); each change is an event. How many changed."""
        table = tables.candidates
        with self._write() as db:
            known = {row.id: row.state for row in db.execute(sa.select(table.c.id, table.c.state))}
            changed = [
                (key, state) for key, state in states.select("id", "state").rows() if known.get(key, state) != state
            ]
            for key, state in changed:
                db.execute(sa.update(table).where(table.c.id == key).values(state=state))
                _record(db, [_event("candidate", key, now, who, "state", known[key], state)])
        return len(changed)

    # -- feedback

    def save_items(self, items: pl.DataFrame, history: pl.DataFrame, now: datetime) -> dict[str, int]:
        """Keep reported items; the counts new, updated, unchanged.

        items: schema.ITEMS, (channel, id) unique. An item known already is updated when it differs, unless the
        stored one carries a later `updated_at` attribute: then the older export changes nothing (unchanged).
        history: feedback.history.HISTORY, the changes of status a channel tells; each becomes an event once. For an
        item without history the change of its status is an event of its own.
        """
        table = tables.items
        fresh = {(row["channel"], row["id"]): _clean(row) for row in items.select(ITEMS.names()).to_dicts()}
        counts = {"new": 0, "updated": 0, "unchanged": 0}
        added: list[_Row] = []
        happened: list[_Row] = []
        told = [_told(row) for row in history.to_dicts()]
        with_history = {event["subject"] for event in told}
        with self._write() as db:
            query = sa.select(table).where(table.c.channel.in_(sorted({channel for channel, _ in fresh})))
            known = {(row["channel"], row["id"]): dict(row) for row in db.execute(query).mappings()}
            for (channel, key), row in fresh.items():
                subject, who = f"{channel}:{key}", row["reporter"] or "unknown"
                old = known.get((channel, key))
                if old is None:
                    added.append({**row, "saved_at": now})
                    happened.append(_event("item", subject, row["created_at"], who, "status", None, "new"))
                    if row["status"] not in (None, "new") and subject not in with_history:
                        at = row["resolved_at"] or _updated_at(row) or now
                        happened.append(_event("item", subject, at, channel, "status", "new", row["status"]))
                    counts["new"] += 1
                elif all(old[name] == value for name, value in row.items()) or _is_older(row, old):
                    counts["unchanged"] += 1
                else:
                    this = (table.c.channel == channel) & (table.c.id == key)
                    db.execute(sa.update(table).where(this).values(**row))
                    counts["updated"] += 1
                    if subject in with_history:
                        continue
                    newly = row["resolved_at"] if row["resolved_at"] != old["resolved_at"] else None
                    at = newly or _updated_at(row) or now
                    happened += _changes("item", subject, at, channel, {"status": old["status"]}, row)
            _insert(db, table, added)
            _record(db, happened)
            _record(db, _not_yet(db, told))
        return counts

    def items(self) -> pl.DataFrame:
        """schema.ITEMS, oldest first."""
        table = tables.items
        return self._frame(sa.select(table).order_by(table.c.created_at, table.c.channel, table.c.id), ITEMS)

    # -- links

    def save_links(self, links: pl.DataFrame, duplicates: pl.DataFrame, speakers: pl.DataFrame, now: datetime) -> int:
        """Replace all links (schema.LINKS), duplicates (DUPLICATES) and speakers (SPEAKERS) by these, in one transaction.

        Returns how many items changed their candidate; each such change is an event.
        """
        fresh = [_clean(row) for row in links.select(LINKS.names()).to_dicts()]
        repeats = [_clean(row) for row in duplicates.select(DUPLICATES.names()).to_dicts()]
        speak = [_clean(row) for row in speakers.select(SPEAKERS.names()).to_dicts()]
        table = tables.links
        with self._write() as db:
            before = {
                f"{row.channel}:{row.feedback_id}": row.candidate_id
                for row in db.execute(sa.select(table.c.channel, table.c.feedback_id, table.c.candidate_id))
            }
            happened = []
            for row in fresh:
                subject = f"{row['channel']}:{row['feedback_id']}"
                old, new = before.get(subject), row["candidate_id"]
                if old != new:
                    happened.append(_event("item", subject, now, "apilens", "candidate", old, new))
            for replaced, rows in ((table, fresh), (tables.duplicates, repeats), (tables.speakers, speak)):
                db.execute(sa.delete(replaced))
                _insert(db, replaced, rows)
            _record(db, happened)
        return len(happened)

    def links(self) -> pl.DataFrame:
        """schema.LINKS as the last triage left them."""
        table = tables.links
        return self._frame(sa.select(table).order_by(table.c.channel, table.c.feedback_id, table.c.seq), LINKS)

    def duplicates(self) -> pl.DataFrame:
        """DUPLICATES as the last triage left them."""
        table = tables.duplicates
        return self._frame(sa.select(table).order_by(table.c.channel, table.c.id), DUPLICATES)

    def speakers(self) -> pl.DataFrame:
        """SPEAKERS as the last triage left them."""
        table = tables.speakers
        return self._frame(sa.select(table).order_by(table.c.channel, table.c.id), SPEAKERS)

    def events(self) -> pl.DataFrame:
        """EVENTS: one row per change, in the order they were recorded; old is null for the first value."""
        return self._frame(sa.select(tables.events).order_by(tables.events.c.seq), EVENTS)

    # -- what people decide

    def decide(
        self,
        kind: str,
        subject: str,
        verdict: str,
        *,
        of: str = "",
        who: str,
        why: str | None,
        now: datetime,
        until: datetime | None = None,
    ) -> None:
        """Keep a decision (DECISIONS; of: its object); it takes the place of an earlier one on the same, and is an event."""
        row = {"kind": kind, "subject": subject, "object": of, "verdict": verdict, "who": who, "why": why, "at": now}
        row["until"] = until
        with self._write() as db:
            table = tables.decisions
            query = (
                sa.select(table.c.verdict).filter_by(kind=kind, subject=subject, object=of).order_by(table.c.seq.desc())
            )
            before = db.execute(query.limit(1)).scalar_one_or_none()
            db.execute(sa.insert(table).values(**_clean(row)))
            about = "item" if ":" in subject and kind != "mute" else "candidate"
            field = f"{kind} {of}".strip()
            _record(db, [_clean(_event(about, subject, now, who, field, before, verdict))])

    def decisions(self, *kinds: str) -> pl.DataFrame:
        """DECISIONS of these kinds, in the order they were made."""
        table = tables.decisions
        newest = (
            sa.select(sa.func.max(table.c.seq))
            .where(table.c.kind.in_(kinds))
            .group_by(table.c.kind, table.c.subject, table.c.object)
        )
        return self._frame(sa.select(table).where(table.c.seq.in_(newest)).order_by(table.c.seq), DECISIONS)

    def forget(self, consumers: Sequence[str], items: pl.DataFrame) -> dict[str, int]:
        """Take consumers out of the state for good: off the disk too; the counts items, candidates.

        items: columns channel, id of what is theirs; it goes with its events, links and decisions. Candidates that were
        about one of them alone go as well; in others their names are taken off the list of those hit, whose number stays. A
        ticket that was filed is the tracker's; its text is taken out of the outbox.
        """
        theirs = set(items.select("channel", "id").rows())
        subjects = {f"{channel}:{key}" for channel, key in theirs}
        gone = {"items": 0, "candidates": 0}
        with self._write() as db:
            if db.dialect.name == "sqlite":
                db.exec_driver_sql("PRAGMA secure_delete=ON")
            for channel, key in sorted(theirs):
                for table, column in _OF_ITEMS:
                    this = (table.c.channel == channel) & (table.c[column] == key)
                    deleted = db.execute(sa.delete(table).where(this)).rowcount
                    gone["items"] += deleted if table is tables.items else 0
            db.execute(sa.delete(tables.decisions).where(tables.decisions.c.subject.in_(sorted(subjects))))
            events = tables.events
            names = sorted(subjects | set(consumers))
            db.execute(sa.delete(events).where(events.c.subject.in_(names) | events.c.who.in_(names)))
            db.execute(sa.delete(tables.speakers).where(tables.speakers.c.consumer.in_(list(consumers))))
            # What is kept of blocks names consumers; it is made anew from what is left.
            db.execute(sa.delete(tables.blocks))
            for row in db.execute(sa.select(tables.candidates)).mappings().all():
                only = (row["hint"] or {}).get("consumer") in consumers
                left = [name for name in row["affected_consumers"] if name not in consumers]
                evidence = [one for one in row["evidence"] or [] if one["value"] not in consumers]
                this = tables.candidates.c.id == row["id"]
                if only:
                    db.execute(sa.delete(tables.candidates).where(this))
                    db.execute(sa.delete(events).where(events.c.subject == row["id"]))
                    db.execute(sa.delete(tables.links).where(tables.links.c.candidate_id == row["id"]))
                    gone["candidates"] += 1
                elif len(left) < len(row["affected_consumers"]) or len(evidence) < len(row["evidence"] or []):
                    values = {"affected_consumers": left, "evidence": evidence}
                    db.execute(sa.update(tables.candidates).where(this).values(**values))
                    gone["candidates"] += 1
            box = tables.outbox
            for filed in db.execute(sa.select(box.c.seq, box.c.payload).where(box.c.state == "done")).all():
                if any(name in str(filed.payload) for name in consumers):
                    db.execute(sa.update(box).where(box.c.seq == filed.seq).values(payload={}))
        if self._engine.dialect.name == "sqlite":
            with self._explained(), self._engine.connect() as db:
                raw: Any = db.connection.driver_connection
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return gone

    def save_ranking(self, ranking: dict[str, dict[str, Any]], now: datetime) -> None:
        """Keep how a triage ranked the problems (id -> triage.priority.RANKING); a priority that changed is an event.

        The ranking before it stays beside it, unless nothing changed: then the triage was only run again.
        """
        table = tables.settings
        with self._write() as db:
            kept = {row.name: row.value for row in db.execute(sa.select(table.c.name, table.c.value))}
            last = kept.get("ranking", {})
            if ranking == last:
                return
            happened = [
                _event("item" if ":" in key else "candidate", key, now, "apilens", "priority", old, row["priority"])
                for key, row in ranking.items()
                if (old := last.get(key, {}).get("priority")) != row["priority"]
            ]
            for name, value in (("ranking", ranking), ("ranking_before", last)):
                db.execute(sa.delete(table).where(table.c.name == name))
                db.execute(sa.insert(table).values(name=name, value=_clean(value)))
            _record(db, happened)

    # -- what one command leaves for the next

    def save_settings(self, values: dict[str, Any]) -> None:
        """Keep JSON values by name; others stay."""
        table = tables.settings
        with self._write() as db:
            db.execute(sa.delete(table).where(table.c.name.in_(sorted(values))))
            _insert(db, table, [{"name": name, "value": _clean(value)} for name, value in values.items()])

    def settings(self) -> dict[str, Any]:
        """All values kept by name."""
        with self._read() as db:
            return {row.name: row.value for row in db.execute(sa.select(tables.settings))}

    # -- blocks of calls

    def blocks(self) -> dict[datetime, tuple[str, dict[str, Any]]]:
        """start → (key, facts) of the blocks that were looked at."""
        with self._read() as db:
            return {row.start: (row.key, row.facts) for row in db.execute(sa.select(tables.blocks))}

    def save_blocks(self, facts: dict[datetime, tuple[str, dict[str, Any]]], oldest: datetime) -> None:
        """Keep blocks, in place of those of the same start; those that began before `oldest` go."""
        table = tables.blocks
        with self._write() as db:
            db.execute(sa.delete(table).where(table.c.start.in_(list(facts)) | (table.c.start < oldest)))
            _insert(db, table, [{"start": at, "key": key, "facts": _clean(one)} for at, (key, one) in facts.items()])

    # -- tickets and their outbox

    def tickets(self, tracker: str) -> pl.DataFrame:
        """TICKETS filed, or about to be, in a tracker; reference is null until it was delivered."""
        with self._read() as db:
            return _tickets(db, tracker)

    def enqueue(
        self, tracker: str, decide: Callable[[pl.DataFrame], tuple[pl.DataFrame, list[Filing]]], now: datetime
    ) -> pl.DataFrame:
        """Put what `decide` wants filed into the outbox; the plan it made.

        decide: TICKETS so far → (plan, filings). It runs while nobody else can write, so two processes that
        plan at once cannot both file one problem. plan: columns ticket, fingerprint, start, end at least.
        """
        with self._write() as db:
            plan, filings = decide(_tickets(db, tracker))
            known = {row.id: row for row in db.execute(sa.select(tables.tickets).filter_by(tracker=tracker))}
            spans = plan.group_by("ticket").agg(
                pl.col("fingerprint").first(), pl.col("start").min(), pl.col("end").max()
            )
            for row in spans.sort("ticket").to_dicts():
                key = row.pop("ticket")
                old = known.get(key)
                if old is None:
                    db.execute(sa.insert(tables.tickets).values(tracker=tracker, id=key, opened_at=now, **row))
                    _record(db, [_event("ticket", key, now, "apilens", "state", None, "pending")])
                elif row["end"] > old.end:
                    this = (tables.tickets.c.tracker == tracker) & (tables.tickets.c.id == key)
                    db.execute(sa.update(tables.tickets).where(this).values(end=row["end"]))
            for filing in filings:
                db.execute(
                    sa.insert(tables.outbox).values(
                        tracker=tracker, ticket=filing.ticket, payload=filing.payload, state="pending", in_doubt=False
                    )
                )
        return plan

    def claim(self, tracker: str, who: str, now: datetime, settle: timedelta, skip: list[str]) -> Filing | None:
        """The next filing to deliver, now ours (state sending); None when there is none to take.

        A filing that somebody else has been sending for longer than `settle` is taken over, in doubt.
        skip: tickets not to try again in this run.
        """
        box = tables.outbox
        stale = (box.c.state == "sending") & (box.c.claimed_at <= now - settle)
        query = (
            sa.select(box)
            .where(box.c.tracker == tracker, (box.c.state == "pending") | stale, box.c.ticket.not_in(skip))
            .order_by(box.c.seq)
            .limit(1)
        )
        with self._write() as db:
            row = db.execute(query).first()
            if row is None:
                return None
            in_doubt = row.in_doubt or row.state == "sending"
            values = {"state": "sending", "claim": who, "claimed_at": now, "in_doubt": in_doubt}
            db.execute(sa.update(box).where(box.c.seq == row.seq).values(**values))
        return Filing(row.ticket, row.payload, in_doubt)

    def delivered(self, tracker: str, ticket: str, reference: str, now: datetime) -> None:
        """Note that a ticket is in its tracker, under `reference`."""
        box = tables.outbox
        with self._write() as db:
            this = (box.c.tracker == tracker) & (box.c.ticket == ticket)
            done = db.execute(
                sa.update(box).where(this, box.c.state != "done").values(state="done", error=None, in_doubt=False)
            )
            if done.rowcount:
                that = (tables.tickets.c.tracker == tracker) & (tables.tickets.c.id == ticket)
                db.execute(sa.update(tables.tickets).where(that).values(reference=reference))
                _record(db, [_event("ticket", ticket, now, "apilens", "state", "pending", "filed")])

    def undelivered(self, tracker: str, ticket: str, error: str, who: str) -> None:
        """Note that delivery failed; the filing waits, in doubt, for the next run."""
        box = tables.outbox
        with self._write() as db:
            this = (box.c.tracker == tracker) & (box.c.ticket == ticket) & (box.c.claim == who)
            values = {"state": "pending", "error": error, "in_doubt": True}
            db.execute(sa.update(box).where(this, box.c.state == "sending").values(**values))

    def being_sent(self, tracker: str) -> int:
        """How many filings somebody is sending right now, or died sending."""
        box = tables.outbox
        with self._read() as db:
            query = (
                sa.select(sa.func.count()).select_from(box).where(box.c.tracker == tracker, box.c.state == "sending")
            )
            return int(db.execute(query).scalar_one())

    def _frame(self, query: sa.Select[Any], schema: pl.Schema) -> pl.DataFrame:
        with self._read() as db:
            return _as_frame(db.execute(query).mappings(), schema)


def _as_frame(rows: Iterable[Any], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema, orient="row")


def _tickets(db: sa.Connection, tracker: str) -> pl.DataFrame:
    table = tables.tickets
    query = sa.select(table).where(table.c.tracker == tracker).order_by(table.c.start, table.c.id)
    return _as_frame(db.execute(query).mappings(), TICKETS)


def _insert(db: sa.Connection, table: sa.Table, rows: list[_Row]) -> None:
    if rows:  # SQLAlchemy takes an empty list for one row of defaults
        db.execute(sa.insert(table), rows)


def _record(db: sa.Connection, happened: list[_Row]) -> None:
    _insert(db, tables.events, happened)


def _event(kind: str, subject: str, at: datetime, who: str, field: str, old: str | None, new: str | None) -> _Row:
    return {"kind": kind, "subject": subject, "at": at, "who": who, "field": field, "old": old, "new": new}


def _told(row: _Row) -> _Row:
    subject = f"{row['channel']}:{row['id']}"
    return _clean(_event("item", subject, row["at"], row["channel"], "status", row["old"], row["new"]))  # type: ignore[no-any-return] # a dict stays one


def _not_yet(db: sa.Connection, told: list[_Row]) -> list[_Row]:
    """Those events that are not recorded; the same one again is no news."""
    if not told:
        return []
    table = tables.events
    query = sa.select(table.c.subject, table.c.at, table.c.new).where(table.c.kind == "item", table.c.field == "status")
    known = {tuple(row) for row in db.execute(query)}
    return [event for event in told if (event["subject"], event["at"], event["new"]) not in known]


def _changes(kind: str, subject: str, at: datetime, who: str, old: _Row, new: _Row) -> list[_Row]:
    """One event per field of `old` that differs in `new`."""
    return [_event(kind, subject, at, who, name, old[name], new[name]) for name in old if old[name] != new[name]]


def _occurred(known: dict[str, _Row], row: _Row) -> str | None:
    """The candidate that is back: the same problem, over for at most a week; None: it is none that was here."""
    before = [
        old
        for old in known.values()
        if old["fingerprint"] == row["fingerprint"]
        and old["withdrawn_at"] is None
        and timedelta(0) < row["start"] - old["end"] <= _REOPENS
    ]
    return max(before, key=lambda old: old["end"])["id"] if before else None


def _watched(candidate: _Row) -> _Row:
    """The fields of a candidate, beside its state, whose changes are events."""
    return {"severity": candidate["severity"]}


def _inside(moment: datetime, window: Window) -> bool:
    return (window.start is None or window.start <= moment) and (window.end is None or moment < window.end)


def _updated_at(item: _Row) -> datetime | None:
    text = (item["attributes"] or {}).get("updated_at")
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:  # a channel's own wording; then it decides nothing
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _is_older(item: _Row, stored: _Row) -> bool:
    new, old = _updated_at(item), _updated_at(stored)
    return new is not None and old is not None and new < old


def _clean(value: Any) -> Any:
    """The value as both databases can keep it: NUL characters become U+FFFD (PostgreSQL), NaN null (SQLite)."""
    if isinstance(value, str):
        return value.replace("\0", "�")
    if isinstance(value, list):
        return [_clean(entry) for entry in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(entry) for key, entry in value.items()}
    return None if value != value else value
