"""When the first call of a candidate failed; the next scan fills it in."""

import sqlalchemy as sa
from alembic import op

from apilens.store.tables import UtcTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("candidates", sa.Column("first_affected_at", UtcTime))
