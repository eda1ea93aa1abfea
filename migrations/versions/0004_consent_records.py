"""Consent as a record: statements, renewals, minors, and how long pictures are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "renewals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_renewals_dataset_id_datasets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_renewals")),
        sa.UniqueConstraint(
            "dataset_id", "purpose", "version", name=op.f("uq_renewals_dataset_id")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "statements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("party", sa.String(length=16), nullable=False),
        sa.Column("assent", sa.String(length=16), nullable=True),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("sealed_name", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_note", sa.LargeBinary(), nullable=True),
        sa.Column("evidence_blob", sa.String(length=32), nullable=True),
        sa.Column("evidence_type", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name=op.f("fk_statements_subject_id_subjects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statements")),
        sa.UniqueConstraint("uid", name=op.f("uq_statements_uid")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_statements_subject_id"), "statements", ["subject_id"])
    op.add_column(
        "consent_events",
        sa.Column("party", sa.String(length=16), server_default="subject", nullable=False),
    )
    # Inline, because SQLite would copy the table for a constraint of its own, and rows of exports
    # that point to it forbid that.
    op.add_column(
        "consent_events",
        sa.Column(
            "statement_id",
            sa.Integer(),
            sa.ForeignKey("statements.id", name="fk_consent_events_statement_id_statements"),
            nullable=True,
        ),
        inline_references=True,
    )
    op.add_column("datasets", sa.Column("retention_days", sa.Integer(), nullable=True))
    op.add_column(
        "datasets", sa.Column("grace_days", sa.Integer(), server_default="30", nullable=False)
    )
    op.add_column("notices", sa.Column("facts", sa.JSON(), nullable=True))
    op.add_column("subjects", sa.Column("sealed_guardian_name", sa.LargeBinary(), nullable=True))
    op.add_column("subjects", sa.Column("sealed_guardian_contact", sa.LargeBinary(), nullable=True))
    op.add_column("subjects", sa.Column("majority_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for table, column in (
        ("subjects", "majority_at"),
        ("subjects", "sealed_guardian_contact"),
        ("subjects", "sealed_guardian_name"),
        ("notices", "facts"),
        ("datasets", "grace_days"),
        ("datasets", "retention_days"),
        ("consent_events", "party"),
    ):
        op.drop_column(table, column)
    with op.batch_alter_table("consent_events") as batch_op:
        batch_op.drop_column("statement_id")
    op.drop_index(op.f("ix_statements_subject_id"), table_name="statements")
    op.drop_table("statements")
    op.drop_table("renewals")
