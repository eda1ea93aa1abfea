"""No gaps and no doubles, whoever writes at the same time; and no action without its entry."""

import datetime as dt
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from annotator.core.db import Base, explain, open_engine
from annotator.core.errors import StorageFull, Tampered
from annotator.domain import audit, consent, erasure, keys
from annotator.models import (
    PURPOSES,
    AuditEntry,
    AuditSalt,
    ConsentEvent,
    Installation,
    Notice,
    Subject,
)
from annotator.vault import create_vault
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeTools, FakeVault, FakeWork

THREADS, ROUNDS = 6, 20
Change = Callable[[FakeWork, int], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        opened = open_engine(f"sqlite:///{tmp_path}/log.sqlite")
    else:
        opened = open_engine(request.getfixturevalue("postgres"))
    Base.metadata.create_all(opened)
    yield opened
    opened.dispose()


def writing(engine: Engine, vault: FakeVault) -> Session:
    session = Session(engine, expire_on_commit=False, info={audit.VAULT: lambda: vault})
    session.connection(execution_options={"writing": True})
    return session


def read_log(session: Session) -> list[AuditEntry]:
    return list(session.scalars(select(AuditEntry).order_by(AuditEntry.position)))


def test_many_writers_leave_no_gap_and_no_double(database: Engine, vault: FakeVault) -> None:
    with writing(database, vault) as session:
        dataset = make_dataset(session)
        people = [make_subject(session, vault, dataset).id for _ in range(2)]
        session.commit()
        before = session.scalar(select(func.count(AuditEntry.id))) or 0
    failures: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def write(thread: int) -> None:
        try:
            start.wait()
            for turn in range(ROUNDS):
                with writing(database, vault) as session:
                    # In either order: the locks of the log never wait for each other.
                    for at in range(2):
                        person = session.get_one(Subject, people[(at + thread) % 2])
                        audit.append(session, action="thing.done", actor="cli", subject=person)
                    if turn % 4 == 3:
                        session.rollback()
                    else:
                        session.commit()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with writing(database, vault) as session:
        log = read_log(session)
        assert len(log) == before + THREADS * ROUNDS * 3 // 4 * 2
        assert [entry.position for entry in log] == list(range(len(log)))
        report = audit.verify_log(session, verifier=audit.verifier_of(vault))
        assert (report.size, report.problems) == (len(log), ())
        assert report.root == audit.read_head(session).root
        for number in people:
            person = session.get_one(Subject, number)
            salt = audit.open_salt(session, vault=vault, subject=person)
            assert salt is not None
            found = audit.find_about(session, salt=salt)
            assert [at for at, _ in found] == list(range(1, 3 + THREADS * ROUNDS * 3 // 4))
            assert [entry.position for _, entry in found] == sorted(
                entry.position or 0 for _, entry in found
            )


def test_a_part_that_is_taken_back_leaves_no_entry(session: Session) -> None:
    audit.append(session, action="thing.one", actor="cli")
    inner = session.begin_nested()
    audit.append(session, action="thing.two", actor="cli")
    inner.rollback()
    with session.begin_nested():
        audit.append(session, action="thing.three", actor="cli")
    assert [entry.position for entry in session.scalars(select(AuditEntry))] == [None, None]
    session.commit()
    assert [(entry.position, entry.action) for entry in read_log(session)] == [
        (0, "thing.one"),
        (1, "thing.three"),
    ]
    audit.append(session, action="thing.four", actor="cli")
    session.commit()
    assert read_log(session)[-1].position == 2


def test_one_person_is_not_recognised_from_entry_to_entry(
    session: Session, vault: FakeVault
) -> None:
    subject = make_subject(session, vault, make_dataset(session))
    for _ in range(3):
        audit.append(session, action="image.received", actor="cli", subject=subject)
    session.commit()
    about = [entry.subject for entry in read_log(session) if entry.subject]
    assert len(about) == len(set(about)) == 5
    assert all(len(item) == 32 for item in about)


def test_an_erasure_takes_the_salt_away_and_still_tells(session: Session, vault: FakeVault) -> None:
    subject = make_subject(session, vault, make_dataset(session))
    session.commit()
    salt = audit.open_salt(session, vault=vault, subject=subject)
    assert salt is not None
    erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    assert session.scalars(select(AuditSalt)).all() == []
    assert audit.open_salt(session, vault=vault, subject=subject) is None
    actions = [entry.action for _, entry in audit.find_about(session, salt=salt)]
    assert actions == ["subject.created", "consent.given", "consent.withdrawn", "subject.erased"]


def test_a_person_is_named_also_when_keys_were_renewed_meanwhile(
    session: Session, work: FakeWork, vault: FakeVault
) -> None:
    subject = make_subject(session, vault, make_dataset(session))
    session.commit()  # and keeps the person as they were loaded
    erasure.renew_epoch(work, epoch=1)
    audit.append(session, action="image.received", actor="cli", subject=subject)
    session.commit()
    assert read_log(session)[-1].subject is not None


def test_an_entry_about_somebody_erased_before_names_nobody(
    session: Session, vault: FakeVault
) -> None:
    subject = make_subject(session, vault, make_dataset(session))
    erasure.withdraw_subject(session, subject=subject, by=None)
    session.commit()
    audit.append(session, action="export.closed", actor="cli", subject=subject)
    session.commit()
    assert read_log(session)[-1].subject is None


def test_a_log_without_a_head_refuses_the_action(session: Session, vault: FakeVault) -> None:
    subject = make_subject(session, vault, make_dataset(session))
    session.commit()
    session.execute(text("DELETE FROM audit_head"))
    session.commit()
    consent.withdraw_purposes(session, subject=subject, purposes=["train"])
    for _ in range(2):  # and no second try slips through
        with pytest.raises(Tampered, match="no head"):
            session.commit()
    session.rollback()
    assert consent.allowed(session, subject=subject, purpose="train") is not None


def test_a_full_disk_refuses_the_action_whole(session: Session, vault: FakeVault) -> None:
    """Whenever the pages run out, the consent and its entry are stored, or neither is."""
    dataset = make_dataset(session)
    subject = make_subject(session, vault, dataset)
    session.commit()
    notice, expires_at = subject.events[0].notice, subject.events[0].expires_at
    assert notice is not None
    assert expires_at is not None
    stored = 0
    for room in range(8):
        session.rollback()
        connection = session.connection(execution_options={"writing": True})
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + room}")
        known = [_count(session)]
        error = _fill(session, subject, notice, expires_at, known)
        assert isinstance(explain(error), StorageFull)
        assert _count(session) == known[-1]
        for before, after in itertools.pairwise(known):
            assert after == (before[0] + len(PURPOSES), before[1] + 1, before[2] + 1)
        stored += len(known) - 1
    assert stored > 0
    report = audit.verify_log(session, verifier=audit.verifier_of(vault))
    assert report.problems == ()


def _fill(
    session: Session,
    subject: Subject,
    notice: Notice,
    expires_at: dt.datetime,
    known: list[tuple[int, int, int]],
) -> DBAPIError:
    while True:
        try:
            _agree(session, subject, notice, expires_at)
            session.commit()
        except DBAPIError as error:
            session.rollback()
            return error
        known.append(_count(session))


def _agree(session: Session, subject: Subject, notice: Notice, expires_at: dt.datetime) -> None:
    consent.record_consent(
        session,
        subject=subject,
        purposes=PURPOSES,
        notice=notice,
        expression="ticked",
        expires_at=expires_at,
    )


def _count(session: Session) -> tuple[int, int, int]:
    events = session.scalar(select(func.count(ConsentEvent.id))) or 0
    entries = session.scalar(select(func.count(AuditEntry.id))) or 0
    return events, entries, audit.read_head(session).size


# Keys that change between an entry and its commit


@pytest.fixture
def real(database: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeWork:
    """Work around a real vault: only that one tells keys apart."""
    monkeypatch.setattr("annotator.domain.keys.rekeying.GRACE_SECONDS", 0.0)
    vault, _ = create_vault(tmp_path / "vault", key_file=tmp_path / "unlock.key")
    with Session(database) as session:
        session.add(Installation(install=vault.install, context="research"))
        session.commit()
    return FakeWork(database, FakeTools(vault=vault))


def add_person(real: FakeWork) -> tuple[int, bytes]:
    """Somebody, and the salt by which the log knows them."""
    vault = real.tools.vault
    with real.transaction() as session:
        number = make_subject(session, vault, make_dataset(session), name="Anna").id
    with Session(real.engine) as session:
        person = session.get_one(Subject, number)
        salt = audit.open_salt(session, vault=vault, subject=person)
    assert salt is not None
    return number, salt


def rekey(real: FakeWork, number: int) -> None:
    with real.transaction() as session:
        person = session.get_one(Subject, number)
        keys.start_rekeying(session, vault=real.tools.vault, subject=person)
    keys.rekey_subject(real, subject_id=number)


def start(real: FakeWork, number: int) -> None:
    with real.transaction() as session:
        person = session.get_one(Subject, number)
        keys.start_rekeying(session, vault=real.tools.vault, subject=person)


def renew(real: FakeWork, number: int) -> None:
    del number
    erasure.renew_epoch(real)


def withdraw(real: FakeWork, number: int) -> None:
    with real.transaction() as session:
        person = session.get_one(Subject, number)
        done = erasure.withdraw_subject(session, subject=person, by=None)
    erasure.finish_withdrawal(real, **done.job.arguments)


def tell(real: FakeWork, number: int, meanwhile: Sequence[Change]) -> None:
    """Writes an entry about a person who was loaded, or told of, before other things happen."""
    info = {audit.VAULT: lambda: real.tools.vault}
    with Session(real.engine, expire_on_commit=False, info=info) as session:
        person = session.get_one(Subject, number)
        if real.engine.dialect.name == "postgresql":
            audit.append(session, action="thing.done", actor="cli", subject=person)
            session.flush()
        else:  # one writer at a time: the person is stale, and what is told comes later
            session.commit()
        for change in meanwhile:
            change(real, number)
        if real.engine.dialect.name == "sqlite":
            session.connection(execution_options={"writing": True})
            audit.append(session, action="thing.done", actor="cli", subject=person)
        session.commit()


@pytest.mark.parametrize(
    "meanwhile",
    [(renew,), (rekey,), (start,), (rekey, renew), (start, renew), (renew, rekey, renew)],
)
def test_new_keys_between_an_entry_and_its_commit_are_no_trouble(
    real: FakeWork, meanwhile: Sequence[Change]
) -> None:
    number, salt = add_person(real)
    for _ in range(2):
        tell(real, number, meanwhile)
    with Session(real.engine) as session:
        found = [entry.action for _, entry in audit.find_about(session, salt=salt)]
        assert found.count("thing.done") == 2
        person = session.get_one(Subject, number)
        assert audit.open_salt(session, vault=real.tools.vault, subject=person) == salt
        report = audit.verify_log(session, verifier=audit.verifier_of(real.tools.vault))
        assert report.problems == ()


@pytest.mark.parametrize("meanwhile", [(withdraw,), (rekey, withdraw), (start, withdraw)])
def test_an_entry_about_somebody_who_withdraws_before_its_commit_names_nobody(
    real: FakeWork, meanwhile: Sequence[Change]
) -> None:
    number, salt = add_person(real)
    tell(real, number, meanwhile)
    with Session(real.engine) as session:
        told = [entry for entry in read_log(session) if entry.action == "thing.done"]
        assert [entry.subject for entry in told] == [None]
        actions = [entry.action for _, entry in audit.find_about(session, salt=salt)]
        assert actions[-1] == "subject.erased"
        assert session.scalars(select(AuditSalt)).all() == []


def test_a_key_that_is_renewed_while_the_head_is_held_is_read_again(
    real: FakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    if real.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer, so nobody renews anything meanwhile")
    number, salt = add_person(real)
    vault = real.tools.vault
    opened, turns = vault.open_field, []

    def renew_first(**named: object) -> str:
        if not turns:
            turns.append(1)
            waiting = audit.append
            # The renewal's own entry waits for the head that we hold; its other steps do not.
            monkeypatch.setattr(audit, "append", lambda *_, **__: None)
            erasure.renew_epoch(real)
            monkeypatch.setattr(audit, "append", waiting)
        return str(opened(**named))

    monkeypatch.setattr(vault, "open_field", renew_first)
    tell(real, number, ())
    with Session(real.engine) as session:
        assert [entry.action for _, entry in audit.find_about(session, salt=salt)][-1] == (
            "thing.done"
        )


def test_a_person_without_a_salt_gets_one_while_somebody_holds_their_row(real: FakeWork) -> None:
    """Added before the log knew of salts; the log must not wait for who waits for the log."""
    if real.engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks no rows")
    number, _ = add_person(real)
    with Session(real.engine) as session:
        session.execute(text("DELETE FROM audit_salts"))
        session.commit()
    with real.transaction() as holding:
        holding.execute(text("SET LOCAL lock_timeout = '5s'"))
        person = holding.get_one(Subject, number)
        keys.start_rekeying(holding, vault=real.tools.vault, subject=person)
        with Session(real.engine, info={audit.VAULT: lambda: real.tools.vault}) as session:
            session.execute(text("SET LOCAL lock_timeout = '2s'"))
            person = session.get_one(Subject, number)
            audit.append(session, action="thing.done", actor="cli", subject=person)
            session.commit()
    with Session(real.engine) as session:
        person = session.get_one(Subject, number)
        assert audit.open_salt(session, vault=real.tools.vault, subject=person) is not None


@pytest.mark.parametrize(
    "harm",
    ["UPDATE subjects SET wrapped_key = sealed_name", "UPDATE audit_salts SET sealed = 'damaged'"],
)
def test_damage_keeps_nobody_from_withdrawing(real: FakeWork, harm: str) -> None:
    number, salt = add_person(real)
    with Session(real.engine) as session:
        session.execute(text(harm))
        session.commit()
    withdraw(real, number)
    with Session(real.engine) as session:
        person = session.get_one(Subject, number)
        assert (person.wrapped_key, person.sealed_name) == (None, None)
        assert session.scalars(select(AuditSalt)).all() == []
        assert [entry.action for entry in read_log(session)][-1] == "erasure.finished"
        assert audit.find_about(session, salt=salt)[-1][1].action != "subject.erased"
