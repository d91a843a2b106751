"""Until when a decision holds, as an override of a priority does."""

import sqlalchemy as sa
from alembic import op

from apilens.store.tables import UtcTime

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("until", UtcTime))
