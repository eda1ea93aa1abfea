"""The log at its witness: a file, a second machine over loopback, and one that is down."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from annotator.bootstrap.witness import open_witness, split_notes
from annotator.cli.evidence import open_server
from annotator.core.config import Settings
from annotator.core.errors import InvalidInput, Tampered
from annotator.domain import audit
from annotator.models import Checkpoint
from annotator.vault import notes
from annotator.vault.witness import Witness
from tests.fakes import FakeTools, FakeVault, FakeWork


@pytest.fixture
def server(tmp_path: Path, vault: FakeVault) -> Iterator[tuple[str, Witness]]:
    watching = Witness(tmp_path / "witness.json", seed=bytes(32))
    watching.trust(audit.verifier_of(vault))
    with open_server(watching, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", watching
        server.shutdown()
        thread.join()


def happen(session: Session, count: int = 1) -> None:
    session.rollback()
    for _ in range(count):
        audit.append(session, action="thing.done", actor="cli")
    session.commit()


def rows(session: Session) -> list[Checkpoint]:
    session.rollback()
    session.expire_all()
    return list(session.scalars(select(Checkpoint).order_by(Checkpoint.id)))


def verify(session: Session, vault: FakeVault, kept: list[str]) -> audit.Report:
    session.rollback()
    mirrored = [audit.Signed(note, "at the witness") for note in kept]
    return audit.verify_log(session, verifier=audit.verifier_of(vault), mirrored=mirrored)


def test_a_file_gets_one_note_a_checkpoint(
    session: Session, work: FakeWork, tools: FakeTools, vault: FakeVault, tmp_path: Path
) -> None:
    file = tmp_path / "mirror"
    tools.witness = open_witness(Settings(witness=f"file:{file}"))
    for size in (3, 4):
        happen(session, size if size == 3 else 1)
        assert audit.checkpoint_log(work) == {"size": size, "problem": None}
        assert audit.checkpoint_log(work) == {"size": size, "problem": None}
    kept = tools.witness.read(audit.origin_of(vault))
    assert kept == [row.note for row in rows(session)]
    assert [notes.read_checkpoint(note).size for note in kept] == [3, 4]
    assert all(row.mirrored_at for row in rows(session))
    assert verify(session, vault, kept).checkpoints == 4


def test_standard_output_gets_the_note(
    session: Session, work: FakeWork, tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    tools.witness = open_witness(Settings(witness="stdout"))
    happen(session)
    audit.checkpoint_log(work)
    assert split_notes(capsys.readouterr().out) == [rows(session)[0].note]


def test_a_second_machine_signs_a_log_that_grows(
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    vault: FakeVault,
    server: tuple[str, Witness],
) -> None:
    url, watching = server
    tools.witness = open_witness(Settings(witness=url, witness_key=str(watching.verifier)))
    for count in (1, 3, 300):
        happen(session, count)
        assert audit.checkpoint_log(work)["problem"] is None
    last = rows(session)[-1]
    signed = notes.read_checkpoint(last.note + last.cosignatures)
    assert (signed.size, notes.is_signed(signed, watching.verifier)) == (304, True)
    (kept,) = tools.witness.read(audit.origin_of(vault))
    assert kept == last.note + last.cosignatures
    assert verify(session, vault, [kept]).problems == ()


def test_what_the_witness_knows_better_is_proven_from_there(
    session: Session, work: FakeWork, tools: FakeTools, server: tuple[str, Witness]
) -> None:
    tools.witness = open_witness(Settings(witness=server[0]))
    happen(session, 5)
    audit.checkpoint_log(work)
    for row in rows(session):
        row.mirrored_at = None  # its answer was lost
    session.commit()
    happen(session, 2)
    assert audit.checkpoint_log(work) == {"size": 7, "problem": None}


def test_a_log_that_was_set_back_is_refused_and_found(
    session: Session,
    work: FakeWork,
    tools: FakeTools,
    vault: FakeVault,
    server: tuple[str, Witness],
) -> None:
    tools.witness = open_witness(Settings(witness=server[0]))
    happen(session, 3)
    size, frontier = session.execute(text("SELECT size, frontier FROM audit_head")).one()
    happen(session, 4)
    audit.checkpoint_log(work)
    session.rollback()
    session.execute(text("DELETE FROM audit_entries WHERE position >= 3"))  # a backup comes back
    session.execute(text("DELETE FROM checkpoints"))
    back = text("UPDATE audit_head SET size = :size, frontier = :data")
    session.execute(back, {"size": size, "data": frontier})
    session.commit()
    assert verify(session, vault, []).problems == ()
    kept = tools.witness.read(audit.origin_of(vault))
    assert verify(session, vault, kept).first_bad == 3
    done = audit.checkpoint_log(work)
    assert "seen 7 entries and the log has 3: the log was set back" in done["problem"]
    happen(session, 10)  # and grows another way
    assert "refuses the checkpoint (answer 422)" in audit.checkpoint_log(work)["problem"]


def test_a_witness_that_is_down_holds_nothing_up(
    session: Session, work: FakeWork, tools: FakeTools, server: tuple[str, Witness], free_port: int
) -> None:
    tools.witness = open_witness(Settings(witness=f"http://127.0.0.1:{free_port}"))
    happen(session)
    assert "could not be reached" in audit.checkpoint_log(work)["problem"]
    standing = audit.read_standing(session)
    assert standing.newest is not None
    assert (standing.newest.problem, standing.mirrored) == (
        "The witness could not be reached.",
        None,
    )
    tools.witness = open_witness(Settings(witness=server[0]))  # it is up again
    assert audit.checkpoint_log(work)["problem"] is None
    assert [row.problem for row in rows(session)] == [None]


def test_a_witness_with_another_key_is_not_believed(
    session: Session, work: FakeWork, tools: FakeTools, server: tuple[str, Witness]
) -> None:
    other = notes.Verifier("annotator-witness", bytes(32), notes.COSIGNATURE)
    tools.witness = open_witness(Settings(witness=server[0], witness_key=str(other)))
    happen(session)
    assert "not by the key that was set" in audit.checkpoint_log(work)["problem"]


def test_a_file_that_cannot_be_written_is_told(
    session: Session, work: FakeWork, tools: FakeTools, tmp_path: Path
) -> None:
    tools.witness = open_witness(Settings(witness=f"file:{tmp_path}/nowhere/mirror"))
    happen(session)
    assert "cannot be written" in audit.checkpoint_log(work)["problem"]


@pytest.mark.parametrize("place", ["nowhere", "file:relative", "ftp://a", "http://example.org"])
def test_a_witness_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput, match="ANNOTATOR_WITNESS"):
        open_witness(Settings(witness=place))


def test_a_log_that_was_changed_is_never_signed_again(
    session: Session, engine: Engine, work: FakeWork
) -> None:
    happen(session, 3)
    audit.checkpoint_log(work)
    happen(session, 3)
    session.rollback()
    with engine.begin() as connection:
        connection.execute(text("UPDATE audit_entries SET leaf = X'00' WHERE position = 2"))
        frontier = connection.execute(text("SELECT frontier FROM audit_head")).scalar_one()
        connection.execute(
            text("UPDATE audit_head SET frontier = :data"), {"data": bytes(len(frontier))}
        )
    with pytest.raises(Tampered, match="changed after it was signed"):
        audit.checkpoint_log(work)
