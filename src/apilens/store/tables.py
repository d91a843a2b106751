"""The tables of the state database, as the newest migration leaves them (a test holds the two equal)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone, so one is taken off on the way in and put back on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData()

#: schema.CANDIDATES, and when this database saw them. Lists and the hint are JSON.
candidates = sa.Table(
    "candidates",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False, index=True),
    sa.Column("detected_at", UtcTime, nullable=False),
    sa.Column("start", UtcTime, nullable=False),
    sa.Column("end", UtcTime, nullable=False),
    sa.Column("first_affected_at", UtcTime),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("environment", sa.Text),
    sa.Column("service", sa.Text),
    sa.Column("endpoints", sa.JSON, nullable=False),
    sa.Column("signal", sa.Text, nullable=False),
    sa.Column("category", sa.Text),
    sa.Column("severity", sa.Text),
    sa.Column("hint", sa.JSON),
    sa.Column("affected_consumers", sa.JSON, nullable=False),
    sa.Column("consumers_hit", sa.BigInteger),
    sa.Column("identity_coverage", sa.Double),
    sa.Column("excess_calls", sa.Double),
    sa.Column("score", sa.Double),
    sa.Column("observed", sa.Double),
    sa.Column("expected", sa.Double),
    sa.Column("unit", sa.Text),
    sa.Column("n", sa.BigInteger),
    sa.Column("request_ids", sa.JSON, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("explanation", sa.Text),
    sa.Column("evidence", sa.JSON(none_as_null=True)),
    sa.Column("saved_at", UtcTime, nullable=False),  # first
    sa.Column("withdrawn_at", UtcTime),  # a later scan of its window no longer raised it; null: it stands
)

#: schema.ITEMS, and when this database saw them. Attributes are JSON.
items = sa.Table(
    "items",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("reporter", sa.Text),
    sa.Column("account", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("body", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("resolved_at", UtcTime),
    sa.Column("attributes", sa.JSON),
    sa.Column("saved_at", UtcTime, nullable=False),  # first
)

#: Append-only: who changed what, when, from which value to which. The only source of the figures of hypercare.
events = sa.Table(
    "item_events",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.Text, nullable=False),  # candidate | item | ticket
    sa.Column("subject", sa.Text, nullable=False, index=True),  # candidate id, channel:item id, or ticket id
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("field", sa.Text, nullable=False),
    sa.Column("old", sa.Text),
    sa.Column("new", sa.Text),
)

#: schema.LINKS. Each triage replaces the links of the items it looked at.
links = sa.Table(
    "links",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("feedback_id", sa.Text, nullable=False),
    sa.Column("candidate_id", sa.Text),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("band", sa.Text, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Index("links_item", "channel", "feedback_id"),
)

#: feedback.duplicates.DUPLICATES, replaced together with the links.
duplicates = sa.Table(
    "duplicates",
    metadata,
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("of_channel", sa.Text, nullable=False),
    sa.Column("of_id", sa.Text, nullable=False),
    sa.Column("similarity", sa.Double, nullable=False),
    sa.Column("band", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

#: One row per problem filed in a tracker; the occurrences that fall within the reopen window share one.
tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("tracker", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),  # of the candidate it was opened for
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("start", UtcTime, nullable=False),
    sa.Column("end", UtcTime, nullable=False),  # of the latest occurrence so far
    sa.Column("reference", sa.Text),  # what the tracker calls it; null: not delivered yet
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Index("tickets_fingerprint", "tracker", "fingerprint"),
)

#: What is to be done in a tracker. A row leaves `sending` only by the hand of who sent it, or as in doubt.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("tracker", sa.Text, nullable=False),
    sa.Column("ticket", sa.Text, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # pending | sending | done
    sa.Column("claim", sa.Text),  # who sends it
    sa.Column("claimed_at", UtcTime),
    sa.Column("in_doubt", sa.Boolean, nullable=False),  # a sender may have died between delivery and its note
    sa.Column("error", sa.Text),
    sa.UniqueConstraint("tracker", "ticket", name="outbox_ticket"),
)

#: What one command leaves for the next, by name; the value is JSON.
settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
)

#: What a quarter of a day's calls say beside their counts (measure.facts), kept so that a scan costs what is new.
blocks = sa.Table(
    "blocks",
    metadata,
    sa.Column("start", UtcTime, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),  # of which calls and under which names: another key makes it anew
    sa.Column("facts", sa.JSON, nullable=False),
)

#: What people decided, append-only: the last row of a (kind, subject, object) counts.
decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column(
        "kind", sa.Text, nullable=False
    ),  # link | category | severity | module | owner | caused_by | blocks | priority | effort | mute
    sa.Column("subject", sa.Text, nullable=False),  # channel:item id, or a candidate's fingerprint
    sa.Column("object", sa.Text, nullable=False),  # candidate id or fingerprint; "": none, or it needs none
    sa.Column("verdict", sa.Text, nullable=False),  # confirmed | rejected, or the value
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("until", UtcTime),  # null: until another one
    sa.Index("decisions_kind", "kind", "subject"),
)
