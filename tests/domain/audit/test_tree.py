"""Proofs from the rows of a log that is larger than one stored node."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from annotator.core.errors import Tampered
from annotator.domain import audit
from annotator.models import AuditEntry
from annotator.vault import merkle

SIZE = 1300


@pytest.fixture
def grown(session: Session) -> Session:
    for number in range(SIZE):
        audit.append(session, action="thing.done", actor="cli", number=number)
    session.commit()
    return session


@pytest.fixture
def asked(grown: Session) -> Iterator[list[str]]:
    """The statements that were sent to the database."""
    said: list[str] = []
    bind = grown.get_bind()

    def listen(_c: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(bind, "before_cursor_execute", listen)
    yield said
    event.remove(bind, "before_cursor_execute", listen)


def test_proofs_are_those_of_the_whole_tree(grown: Session) -> None:
    leaves = list(grown.scalars(select(AuditEntry.leaf).order_by(AuditEntry.position)))
    for size in (1, 255, 256, 257, 512, 1024, 1025, SIZE):
        root = merkle.compute_root(leaves[:size])
        assert audit.root_at(grown, size=size) == root
        for index in {0, size // 3, size - 1}:
            proof = audit.prove_inclusion(grown, index=index, size=size)
            assert merkle.check_inclusion(
                leaf=leaves[index], index=index, size=size, root=root, proof=proof
            )
        proof = audit.prove_consistency(grown, old=size, size=SIZE)
        assert merkle.check_consistency(
            old=size,
            size=SIZE,
            old_root=root,
            root=audit.read_head(grown).root,
            proof=proof,
        )


def test_a_proof_reads_few_rows(grown: Session, asked: list[str]) -> None:
    audit.prove_inclusion(grown, index=700, size=SIZE)
    assert sum(said.startswith("SELECT") for said in asked) == 3
    source = audit.source_of(grown)
    for index in range(512, 768):
        audit.prove_inclusion(grown, index=index, size=SIZE, source=source)
    assert sum(said.startswith("SELECT") for said in asked) == 6


def test_what_is_missing_is_not_proven(grown: Session) -> None:
    grown.execute(text("DELETE FROM audit_entries WHERE position = 1030"))
    with pytest.raises(Tampered, match="part of the log is missing"):
        audit.prove_inclusion(grown, index=1031, size=SIZE)
    grown.execute(text("DELETE FROM audit_nodes WHERE number = 2"))
    with pytest.raises(Tampered, match="part of the log is missing"):
        audit.root_at(grown, size=SIZE)
