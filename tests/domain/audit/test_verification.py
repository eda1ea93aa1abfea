"""Every single edit of every log of 0 to 64 entries is found, where it is."""

import datetime as dt
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from annotator.domain import audit
from annotator.domain.audit.verification import Report, Row, Signed, check_log, verify_log
from annotator.vault import merkle, notes
from tests.fakes import FakeVault

SIZES = range(65)
ORIGIN = "annotator/test"
KEY, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
VERIFIER = notes.Verifier(ORIGIN, KEY.public_key().public_bytes_raw())
Claims = tuple[Signed, ...]


@pytest.fixture(autouse=True)
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same signature is computed once, not ten thousand times."""
    monkeypatch.setattr(notes, "is_signed", is_signed)
    monkeypatch.setattr(notes, "read_checkpoint", read_checkpoint)


is_signed, read_checkpoint = (
    functools.cache(notes.is_signed),
    functools.cache(notes.read_checkpoint),
)


@dataclass(frozen=True)
class Log:
    """What lies in the database and at the witness."""

    rows: tuple[Row, ...]
    head: tuple[int, bytes] | None
    stored: Claims
    mirror: Claims = ()

    def check(self, verifier: notes.Verifier = VERIFIER) -> Report:
        order = sorted(self.rows, key=lambda row: (row.position is None, row.position, row.id))
        signed = [*self.stored, *self.mirror]
        return check_log(order, head=self.head, nodes={}, signed=signed, verifier=verifier)


def make_row(index: int) -> Row:
    body = {
        "index": index,
        "at": dt.datetime(2026, 1, 1, 0, 0, index, tzinfo=dt.UTC).isoformat()
        if index < 60
        else "2026-01-02T00:00:00+00:00",
        "action": "image.received",
        "actor": f"user-{index}",
        "details": {"dataset": index},
        "subject": f"{index:064x}",
    }
    return Row(index + 1, index, body, merkle.hash_leaf(audit.canonical(body)))


ROWS = tuple(make_row(index) for index in SIZES)


def frontier_of(rows: Sequence[Row]) -> merkle.Frontier:
    frontier = merkle.Frontier()
    for row in rows:
        frontier.append(row.leaf)
    return frontier


def sign(size: int, kept: str, key: Ed25519PrivateKey = KEY, rows: Sequence[Row] = ROWS) -> Signed:
    note = notes.write_checkpoint(
        origin=ORIGIN,
        size=size,
        root=frontier_of(rows[:size]).root,
        key=key.public_key().public_bytes_raw(),
        sign=key.sign,
    )
    return Signed(note, kept, size if kept == STORED else None)


STORED, MIRRORED = "in the database", "at the witness"
NOTES = {kept: [sign(size, kept) for size in SIZES] for kept in (STORED, MIRRORED)}


def make_log(size: int, *, checkpoints: Sequence[int] = ()) -> Log:
    rows = ROWS[:size]
    frontier = frontier_of(rows)
    return Log(
        rows=rows,
        head=(size, frontier.data),
        stored=tuple(NOTES[STORED][at] for at in checkpoints),
        mirror=tuple(NOTES[MIRRORED][at] for at in checkpoints),
    )


def with_row(log: Log, index: int, row: Row) -> Log:
    return replace(log, rows=(*log.rows[:index], row, *log.rows[index + 1 :]))


def move(row: Row, position: int | None) -> Row:
    """The row at another place, as it would be read from the database."""
    assert row.body is not None
    return row._replace(position=position, body=row.body | {"index": position})


def flips(row: Row) -> list[Row]:
    """The entry with one thing changed in every way that there is a field for."""
    assert row.body is not None
    changed: list[Row] = [
        row._replace(body={**row.body, name: value})
        for name, value in {
            "at": "2020-01-01T00:00:00+00:00",
            "action": "image.rejected",
            "actor": "user-999",
            "details": {"dataset": 10**6},
            "subject": "f" * 64,
        }.items()
    ]
    changed += [row._replace(body={k: v for k, v in row.body.items() if k != "subject"})]
    changed += [row._replace(body=None)]
    changed += [
        row._replace(leaf=bytes([row.leaf[0] ^ 1]) + row.leaf[1:]),
        row._replace(leaf=row.leaf[:-1] + bytes([row.leaf[-1] ^ 128])),
        row._replace(leaf=b""),
    ]
    return changed


@pytest.mark.parametrize("size", SIZES)
def test_an_untouched_log_is_good(size: int) -> None:
    report = make_log(size, checkpoints=range(size + 1)).check()
    assert report == Report(size, frontier_of(ROWS[:size]).root, 2 * (size + 1), ())
    assert report.first_bad is None


def test_every_flip_is_found_at_its_entry() -> None:
    count = 0
    for size in SIZES:
        log = make_log(size)
        for index in range(size):
            for row in flips(log.rows[index]):
                assert with_row(log, index, row).check().first_bad == index
                count += 1
    assert count == 10 * sum(SIZES)


def test_every_drop_and_truncation_is_found_at_its_entry() -> None:
    for size in SIZES:
        log = make_log(size)
        for index in range(size):
            dropped = replace(log, rows=log.rows[:index] + log.rows[index + 1 :])
            assert dropped.check().first_bad == index
            cut = replace(log, rows=log.rows[:index])
            assert cut.check().first_bad == index


def test_every_insertion_is_found_at_its_place() -> None:
    for size in SIZES:
        log = make_log(size)
        for index in range(size + 1):
            new = make_row(index)._replace(id=1000)
            assert replace(log, rows=(*log.rows, new)).check().first_bad == index
            # With everybody behind it moved on by one, each where it says that it is not.
            moved = [move(row, row.id) for row in log.rows[index:]]
            rows = (*log.rows[:index], new, *moved)
            expected = min(index + 1, size)
            assert replace(log, rows=rows).check().first_bad == expected
        for position in (None, -1, size + 5):
            stray = move(make_row(size), position)
            assert replace(log, rows=(*log.rows, stray)).check().first_bad == size


def test_every_exchange_of_two_entries_is_found_at_the_first() -> None:
    for size in (2, 3, 5, 8, 33, 64):
        log = make_log(size)
        for first in range(size):
            for second in range(first + 1, size):
                one, two = log.rows[first], log.rows[second]
                swapped = with_row(log, first, move(two, first))
                swapped = with_row(swapped, second, move(one, second))
                assert swapped.check().first_bad == first


Forge = Callable[[Log, int], list[Row]]


def forge_change(log: Log, index: int) -> list[Row]:
    return [row if row.id != index + 1 else rewrite(row, actor="user-999") for row in log.rows]


def forge_drop(log: Log, index: int) -> list[Row]:
    kept = [row for row in log.rows if row.id != index + 1]
    return [rewrite(row, index=at) for at, row in enumerate(kept)]


def forge_insertion(log: Log, index: int) -> list[Row]:
    rows = [*log.rows[:index], rewrite(ROWS[index], action="user.created"), *log.rows[index:]]
    return [rewrite(row, index=at) for at, row in enumerate(rows)]


def forge_exchange(log: Log, index: int) -> list[Row]:
    rows = list(log.rows)
    rows[index], rows[-1] = rows[-1], rows[index]
    return [rewrite(row, index=at) for at, row in enumerate(rows)]


def rewrite(row: Row, **changes: Any) -> Row:
    """An entry that was changed by somebody who knows how leaves are made."""
    assert row.body is not None
    body = row.body | changes
    return Row(body["index"] + 1, body["index"], body, merkle.hash_leaf(audit.canonical(body)))


@pytest.mark.parametrize("forge", [forge_change, forge_drop, forge_insertion, forge_exchange])
def test_a_forger_who_computes_everything_anew_is_found_by_what_was_signed(forge: Forge) -> None:
    for size in range(1, 65, 3):
        log = make_log(size, checkpoints=range(size + 1))
        for index in range(size):
            rows = forge(log, index)
            if [row.leaf for row in rows] == [row.leaf for row in log.rows]:
                continue  # the last entry exchanged with itself
            frontier = frontier_of(rows)
            forged = replace(log, rows=tuple(rows), head=(frontier.size, frontier.data))
            assert forged.check().first_bad == index
            alone = replace(forged, stored=(), mirror=(NOTES[MIRRORED][size],))
            assert alone.check().first_bad in {0, len(rows)}  # no finer than the one signature


def test_a_log_without_any_signature_hides_a_forger_and_the_witness_does_not() -> None:
    rows = tuple(forge_change(make_log(9), 4))
    forged = Log(rows, (9, frontier_of(rows).data), stored=())
    assert forged.check().problems == ()
    assert replace(forged, mirror=(NOTES[MIRRORED][9],)).check().first_bad == 0
    narrowed = replace(forged, mirror=(NOTES[MIRRORED][3], NOTES[MIRRORED][9]))
    assert narrowed.check().first_bad == 3


def test_a_rollback_is_found_with_the_mirror_alone() -> None:
    for size in SIZES:
        for before in range(size):
            back = make_log(before, checkpoints=range(before + 1))
            back = replace(back, mirror=tuple(NOTES[MIRRORED][: size + 1]))
            assert back.check().first_bad == before
            assert replace(back, mirror=()).check().problems == ()


def test_a_change_of_the_key_is_found() -> None:
    other = notes.Verifier(ORIGIN, STRANGER.public_key().public_bytes_raw())
    for size in SIZES:
        log = make_log(size, checkpoints=range(size + 1))
        assert log.check(other).first_bad == 0
        for at in range(size + 1):
            swapped = list(log.stored)
            swapped[at] = sign(at, STORED, STRANGER)
            report = replace(log, stored=tuple(swapped)).check()
            assert report.first_bad == max(0, at - 1)
            assert "not signed by this log's key" in report.problems[0].sentence


def test_a_head_that_was_changed_is_found() -> None:
    for size in SIZES:
        log = make_log(size, checkpoints=[size])
        assert replace(log, head=None).check().first_bad == size
        assert replace(log, head=(size + 1, b"")).check().first_bad == size
        if size:
            assert replace(log, head=(size - 1, b"")).check().first_bad == size - 1
            assert replace(log, head=(size, bytes(32))).check().first_bad == size


def test_a_checkpoint_that_was_changed_is_found() -> None:
    log = make_log(5, checkpoints=[2, 5])
    good = log.stored[1]
    lines = good.note.split("\n")
    for number, line in enumerate(lines):
        for changed in (f"{line}x", line[:-1], ""):
            if changed == line:
                continue
            note = "\n".join([*lines[:number], changed, *lines[number + 1 :]])
            report = replace(log, stored=(log.stored[0], good._replace(note=note))).check()
            assert report.first_bad is not None, note
    for size in (4, 6):
        filed = replace(log, stored=(log.stored[0], good._replace(size=size)))
        assert filed.check().first_bad == 2


@pytest.fixture
def written(session: Session, vault: FakeVault) -> Session:
    """A log of 600 entries in a database, signed in the middle and at its end."""
    for number in range(600):
        audit.append(session, action="thing.done", actor="cli", number=number)
        if number == 299:
            session.commit()
            audit.sign_checkpoint(session, vault=vault)
    session.commit()
    audit.sign_checkpoint(session, vault=vault)
    session.commit()
    return session


def verify(session: Session, vault: FakeVault) -> Report:
    session.rollback()
    return verify_log(session, verifier=audit.verifier_of(vault))


def test_a_log_in_a_database_is_good(written: Session, vault: FakeVault) -> None:
    report = verify(written, vault)
    assert (report.size, report.checkpoints, report.problems) == (600, 2, ())
    assert report.root == audit.read_head(written).root


EDITS = {
    "UPDATE audit_entries SET details = '{\"number\": 0}' WHERE position = 411": 411,
    "UPDATE audit_entries SET details = '{\"number\"' WHERE position = 411": 411,
    "UPDATE audit_entries SET at = 'yesterday' WHERE position = 411": 411,
    "UPDATE audit_entries SET at = '2020-01-01 00:00:00' WHERE position = 3": 3,
    "UPDATE audit_entries SET subject = X'00' WHERE position = 599": 599,
    "UPDATE audit_entries SET leaf = X'00' WHERE position = 17": 17,
    "UPDATE audit_entries SET position = NULL WHERE position = 17": 17,
    "UPDATE audit_entries SET position = 600 WHERE position = 17": 17,
    "DELETE FROM audit_entries WHERE position = 299": 299,
    "DELETE FROM audit_entries WHERE position >= 599": 599,
    "DELETE FROM audit_nodes": 0,
    "UPDATE audit_nodes SET hash = X'00' WHERE number = 1": 256,
    "UPDATE audit_nodes SET number = 2 WHERE number = 1": 256,
    "DELETE FROM audit_head": 600,
    "UPDATE audit_head SET size = 512, frontier = X''": 512,
    "UPDATE checkpoints SET note = replace(note, '600', '500') WHERE id = 2": 300,
    "INSERT INTO audit_entries (at, action, actor, details, leaf)"
    " VALUES ('2026-01-01 00:00:00', 'x', 'cli', '{}', X'00')": 600,
}


@pytest.mark.parametrize(("edit", "index"), EDITS.items())
def test_an_edit_of_the_database_is_found(
    written: Session, engine: Engine, vault: FakeVault, edit: str, index: int
) -> None:
    with engine.begin() as connection:
        connection.execute(text(edit.replace(":", "\\:")))
    assert verify(written, vault).first_bad == index
