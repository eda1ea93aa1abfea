"""Withdrawals on their way; those from before still have to be told to the erasure ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

EVERYTHING = (
    "store",
    "label",
    "prelabel",
    "train",
    "export_pseudonymised",
    "export_anonymised",
    "publish_weights",
)


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("purposes", sa.JSON(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("blobs", sa.JSON(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=300), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_erasures_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name=op.f("fk_erasures_subject_id_subjects")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("erasures", schema=None) as batch_op:
        batch_op.create_index("ix_erasures_open", ["finished_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_erasures_subject_id"), ["subject_id"], unique=False)
    # Without them every erased face is looked for in all votes and all files of exports.
    op.create_index("ix_annotations_task_id", "annotations", ["task_id"])
    op.create_index(op.f("ix_export_items_face_id"), "export_items", ["face_id"])
    _note_earlier_ones()


def _note_earlier_ones() -> None:
    """Their keys are gone and renewed; a worker finds the rows and writes the ledger."""
    subjects = sa.table("subjects", sa.column("id"), sa.column("withdrawn_at"))
    erasures = sa.table(
        "erasures",
        *(sa.column(name) for name in ("subject_id", "step", "attempts", "created_at")),
        *(sa.column(name, sa.JSON()) for name in ("purposes", "blobs")),
    )
    gone = sa.select(
        subjects.c.id,
        sa.literal("close"),
        sa.literal(0),
        subjects.c.withdrawn_at,
        sa.literal(EVERYTHING, sa.JSON()),
        sa.literal([], sa.JSON()),
    ).where(subjects.c.withdrawn_at.is_not(None))
    columns = ["subject_id", "step", "attempts", "created_at", "purposes", "blobs"]
    op.execute(erasures.insert().from_select(columns, gone.order_by(subjects.c.withdrawn_at)))


def downgrade() -> None:
    op.drop_index(op.f("ix_export_items_face_id"), "export_items")
    op.drop_index("ix_annotations_task_id", "annotations")
    with op.batch_alter_table("erasures", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_erasures_subject_id"))
        batch_op.drop_index("ix_erasures_open")

    op.drop_table("erasures")
