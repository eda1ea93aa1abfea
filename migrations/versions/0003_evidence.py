"""The log becomes a tree: every entry has a place in it, and people are named by commitments.

Entries that are there already get their places in the order in which they were written. What named
a person in them (numbers of people, pictures, faces, tasks, consents) is taken out: it cannot be
replaced by a commitment, which needs the vault, and a log that is never changed again must not
hold it. No receipt tells of those entries.
"""

import datetime as dt
import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAMING = ("subject", "image", "face", "task", "review", "consent")
BATCH = 5000

entries = sa.table(
    "audit_entries",
    sa.column("id", sa.Integer),
    sa.column("position", sa.Integer),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("action", sa.String),
    sa.column("actor", sa.String),
    sa.column("details", sa.JSON),
    sa.column("leaf", sa.LargeBinary),
)
head = sa.table(
    "audit_head",
    sa.column("id", sa.Integer),
    sa.column("size", sa.Integer),
    sa.column("frontier", sa.LargeBinary),
)
nodes = sa.table(
    "audit_nodes",
    sa.column("level", sa.Integer),
    sa.column("number", sa.Integer),
    sa.column("hash", sa.LargeBinary),
)


def upgrade() -> None:
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name=op.f("pk_audit_nodes")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mirrored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cosignatures", sa.Text(), nullable=False),
        sa.Column("problem", sa.String(length=300), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_checkpoints_size"), ["size"], unique=False)

    op.create_table(
        "audit_salts",
        sa.Column("subject_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["subject_id"], ["subjects.id"], name=op.f("fk_audit_salts_subject_id_subjects")
        ),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_audit_salts")),
    )
    with op.batch_alter_table(
        "audit_entries", schema=None, table_kwargs={"sqlite_autoincrement": True}
    ) as batch_op:
        batch_op.add_column(sa.Column("position", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("subject", sa.LargeBinary(length=32), nullable=True))
        batch_op.create_index(batch_op.f("ix_audit_entries_subject"), ["subject"], unique=False)
        batch_op.create_unique_constraint(batch_op.f("uq_audit_entries_position"), ["position"])
    plant_tree(op.get_bind())


def plant_tree(connection: sa.Connection) -> None:
    """Gives the entries that are there their places, in batches, and writes the tree's head."""
    frontier: list[bytes] = []
    size, last = 0, 0
    change = entries.update().where(entries.c.id == sa.bindparam("number"))
    while rows := connection.execute(
        sa.select(entries).where(entries.c.id > last).order_by(entries.c.id).limit(BATCH)
    ).all():
        changed, made = [], []
        for row in rows:
            details = {name: value for name, value in row.details.items() if name not in NAMING}
            leaf = hash_entry(row, size, details)
            changed.append({"number": row.id, "position": size, "details": details, "leaf": leaf})
            made += append(frontier, size, leaf)
            size, last = size + 1, row.id
        connection.execute(change, changed)
        if made:
            connection.execute(nodes.insert(), made)
    connection.execute(head.insert().values(id=1, size=size, frontier=b"".join(frontier)))


def hash_entry(row: sa.Row, position: int, details: dict) -> bytes:
    at = row.at.replace(tzinfo=dt.UTC) if row.at.tzinfo is None else row.at.astimezone(dt.UTC)
    body = {
        "index": position,
        "at": at.isoformat(),
        "action": row.action,
        "actor": row.actor,
        "details": details,
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(b"\0" + text.encode()).digest()


def append(frontier: list[bytes], size: int, leaf: bytes) -> list[dict]:
    """Adds a leaf to the tree's right edge; answers the nodes that are stored."""
    made, level, node = [], 0, leaf
    while size >> level & 1:
        node = hashlib.sha256(b"\1" + frontier.pop() + node).digest()
        level += 1
        if level % 8 == 0:
            made.append({"level": level, "number": size >> level, "hash": node})
    frontier.append(node)
    return made


def downgrade() -> None:
    with op.batch_alter_table(
        "audit_entries", schema=None, table_kwargs={"sqlite_autoincrement": True}
    ) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_audit_entries_position"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_audit_entries_subject"))
        batch_op.drop_column("subject")
        batch_op.drop_column("position")

    op.drop_table("audit_salts")
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_checkpoints_size"))

    op.drop_table("checkpoints")
    op.drop_table("audit_nodes")
    op.drop_table("audit_head")
