"""The ledger of live decisions: allowances, leases with their holders, pacing versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Make the four tables; amounts are whole millionths of a visit."""
    version = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    nothing = sa.text("0")
    op.create_table(
        "allowances",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("provider_id", sa.Text(), primary_key=True),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("leased", sa.BigInteger(), nullable=False, server_default=nothing),
        sa.Column("released", sa.BigInteger(), nullable=False, server_default=nothing),
        sa.Column("committed", sa.BigInteger(), nullable=False, server_default=nothing),
        sa.Column("outstanding", sa.BigInteger(), nullable=False, server_default=nothing),
        sa.Column("organic", sa.BigInteger(), nullable=False, server_default=nothing),
    )
    op.create_table(
        "lease_holders",
        sa.Column("worker_id", sa.Text(), primary_key=True),
        sa.Column("host_id", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("worker_id", sa.Text(), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("provider_id", sa.Text(), primary_key=True),
        sa.Column("granted", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "pacings",
        sa.Column("version", version, primary_key=True, autoincrement=True),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("plan_version", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("pacings_by_day", "pacings", ["day", "plan_version", "version"])
