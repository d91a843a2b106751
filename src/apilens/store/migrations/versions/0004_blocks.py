"""What a quarter of a day's calls say, kept from scan to scan."""

import sqlalchemy as sa
from alembic import op

from apilens.store.tables import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "blocks",
        sa.Column("start", UtcTime, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
