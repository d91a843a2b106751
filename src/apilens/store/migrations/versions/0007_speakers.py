"""Whose calls a report names, in a table of its own: it was a value among the settings."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    speakers = op.create_table(
        "speakers",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("consumer", sa.Text, nullable=False),
    )
    settings = sa.table("settings", sa.column("name", sa.Text), sa.column("value", sa.JSON))
    kept = (
        op.get_bind().execute(sa.select(settings.c.value).where(settings.c.name == "speaks_for")).scalar_one_or_none()
    )
    names = ((*item.split(":", 1), consumer) for item, consumer in (kept or {}).items())
    op.bulk_insert(
        speakers, [{"channel": channel, "id": key, "consumer": consumer} for channel, key, consumer in names]
    )
    op.execute(sa.delete(settings).where(settings.c.name == "speaks_for"))
