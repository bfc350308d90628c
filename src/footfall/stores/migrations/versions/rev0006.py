"""Under which keys persons were known before they signed in or were merged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "joined",
        sa.Column("was", sa.Text(), primary_key=True),
        sa.Column("person", sa.Text(), nullable=False),
    )
    op.create_index("joined_by_person", "joined", ["person"])
