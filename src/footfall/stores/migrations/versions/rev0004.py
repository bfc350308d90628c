"""Coupons and gifts: what was issued, and each use of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "offer_counts",
        sa.Column("offer", sa.Text(), primary_key=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))
            for name in ("issued", "reserved", "committed", "reserved_minor", "committed_minor")
        ),
    )
    op.create_table(
        "coupons",
        sa.Column("code", sa.Text(), primary_key=True),
        sa.Column("offer", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.UniqueConstraint("offer", "person", name="one_coupon_a_person"),
    )
    op.create_table(
        "redemptions",
        sa.Column("redemption_id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("offer", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("off_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reserved_at", sa.DateTime(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
        sa.Column("settled_at", sa.DateTime(), nullable=True),
    )
    op.create_index("redemptions_by_person", "redemptions", ["offer", "person", "status"])
    op.create_index("redemptions_by_status", "redemptions", ["status", "expires_at"])
