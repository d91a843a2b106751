"""Candidates, items, events, links, duplicates, tickets, outbox, settings."""

import sqlalchemy as sa
from alembic import op

from apilens.store.tables import UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "candidates",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False, index=True),
        sa.Column("detected_at", UtcTime, nullable=False),
        sa.Column("start", UtcTime, nullable=False),
        sa.Column("end", UtcTime, nullable=False),
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
        sa.Column("saved_at", UtcTime, nullable=False),
        sa.Column("withdrawn_at", UtcTime),
    )
    op.create_table(
        "items",
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
        sa.Column("saved_at", UtcTime, nullable=False),
    )
    op.create_table(
        "item_events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False, index=True),
        sa.Column("at", UtcTime, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("old", sa.Text),
        sa.Column("new", sa.Text),
    )
    op.create_table(
        "links",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("feedback_id", sa.Text, nullable=False),
        sa.Column("candidate_id", sa.Text),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("band", sa.Text, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
    )
    op.create_index("links_item", "links", ["channel", "feedback_id"])
    op.create_table(
        "duplicates",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("of_channel", sa.Text, nullable=False),
        sa.Column("of_id", sa.Text, nullable=False),
        sa.Column("similarity", sa.Double, nullable=False),
        sa.Column("band", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "tickets",
        sa.Column("tracker", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("start", UtcTime, nullable=False),
        sa.Column("end", UtcTime, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("opened_at", UtcTime, nullable=False),
    )
    op.create_index("tickets_fingerprint", "tickets", ["tracker", "fingerprint"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("tracker", sa.Text, nullable=False),
        sa.Column("ticket", sa.Text, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("claim", sa.Text),
        sa.Column("claimed_at", UtcTime),
        sa.Column("in_doubt", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("tracker", "ticket", name="outbox_ticket"),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
