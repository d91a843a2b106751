"""What stands behind a candidate: carriers, metrics, friction."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("candidates", sa.Column("evidence", sa.JSON))
