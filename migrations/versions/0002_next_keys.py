"""A person's next key, and blobs that were sealed anew under it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("subjects", sa.Column("next_wrapped_key", sa.LargeBinary(), nullable=True))
    op.add_column("subjects", sa.Column("next_key_epoch", sa.Integer(), nullable=True))
    op.add_column("subjects", sa.Column("next_key_version", sa.Integer(), nullable=True))
    op.create_table(
        "retired_blobs",
        sa.Column("blob", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name=op.f("fk_retired_blobs_subject_id_subjects")
        ),
        sa.PrimaryKeyConstraint("blob", name=op.f("pk_retired_blobs")),
    )
    op.create_index(op.f("ix_retired_blobs_subject_id"), "retired_blobs", ["subject_id"])


def downgrade() -> None:
    # Not in a batch: SQLite would make the table anew, and other rows point to its rows.
    op.drop_index(op.f("ix_retired_blobs_subject_id"), "retired_blobs")
    op.drop_table("retired_blobs")
    op.drop_column("subjects", "next_key_version")
    op.drop_column("subjects", "next_key_epoch")
    op.drop_column("subjects", "next_wrapped_key")
