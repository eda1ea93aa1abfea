"""Everything that is damaged is named, nothing else, and what is whole still opens."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput, Locked
from annotator.domain.holdings import BLOBS, FIELDS, KEY, KEYS, NEXT_KEY
from annotator.domain.upkeep import Damage, Scrub, parse_position
from annotator.domain.upkeep.scrubbing import ORDER
from tests.domain.upkeep.conftest import Place

# Key, texts of the person and their salt, of the statement, file names, embeddings, uploads,
# redacted, crops, paper; export, model.
OWN, ARCHIVES = 1 + 5 + 2 + 2 + 2 + 2 + 2 + 2 + 1, 2


def count_things(place: Place) -> int:
    with Session(place.engine) as session:
        return OWN + ARCHIVES + (session.scalar(select(func.count(NEXT_KEY.column))) or 0)


def scrub(place: Place) -> list[Damage]:
    return list(Scrub(place.engine, vault=place.vault))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_sound_installation_has_nothing_to_say(place: Place) -> None:
    told: list[tuple[int, int]] = []
    work = Scrub(place.engine, vault=place.vault, report=lambda *seen: told.append(seen))
    assert list(work) == []
    assert work.opened == (things := count_things(place))
    assert told == [(number, things) for number in range(1, things + 1)]
    assert work.bytes > 5 * 9_999


def harms(place: Place, blob: str) -> Iterator[str]:
    """Every way in which a blob's file may be harmed; mended after each."""
    path = place.path(blob)
    whole = path.read_bytes()
    other = next(name for name in place.files() if name != blob)
    for name, left in (
        ("flipped", bytes([*whole[:-1], whole[-1] ^ 1])),
        ("cut", whole[:-1]),
        ("empty", b""),
        ("swapped", place.path(other).read_bytes()),
        ("gone", None),
    ):
        if left is None:
            path.unlink()
        else:
            path.write_bytes(left)
        yield name
        path.write_bytes(whole)


def test_a_harmed_blob_is_named_with_what_is_lost(place: Place) -> None:
    for holding in BLOBS:
        with Session(place.engine) as session:
            query = select(holding.number, holding.column).where(holding.column.is_not(None))
            number, blob = session.execute(query.order_by(holding.number).limit(1)).one()
        for harm in harms(place, blob):
            (damage,) = scrub(place)
            assert (damage.what, damage.id, damage.part) == (holding.what, number, holding.part)
            assert (damage.blob, damage.lost) == (blob, holding.lost)
            assert damage.dataset == ("" if holding.what == "model" else "Pilot")
            assert damage.reason == ("missing" if harm == "gone" else "damaged"), harm
            assert "Anna" not in damage.sentence
    assert scrub(place) == []


def test_a_harmed_field_is_named(place: Place) -> None:
    for count, holding in enumerate(FIELDS, start=1):
        owner = holding.column.class_
        with Session(place.engine) as session:
            query = select(holding.number, holding.column).where(holding.column.is_not(None))
            number, sealed = session.execute(query.order_by(holding.number).limit(1)).one()
            harmed = bytes([*sealed[:-1], sealed[-1] ^ 1])
            where = update(owner).where(holding.number == number)
            session.execute(where.values({holding.column: harmed}))
            session.commit()
        found = scrub(place)
        assert len(found) == count
        assert (holding.what, number, holding.part) in {(d.what, d.id, d.part) for d in found}
        assert {(damage.blob, damage.reason) for damage in found} == {("", "damaged")}


def test_a_harmed_key_is_named_first_and_takes_all_of_its_person_along(place: Place) -> None:
    with Session(place.engine) as session:
        session.execute(update(KEY.owner).values(wrapped_key=b"\x01" + bytes(48)))
        session.commit()
    first, *rest = scrub(place)
    assert (first.what, first.part, first.reason) == ("person", "key", "damaged")
    assert len(rest) == OWN - 1  # the archives are not the person's


def test_a_destroyed_epoch_is_told_apart_from_damage(place: Place) -> None:
    place.vault.rotate([])
    place.vault.destroy_epoch(1)
    assert {damage.reason for damage in scrub(place)} == {"its key was destroyed"}


def test_what_is_erased_meanwhile_is_no_damage(place: Place) -> None:
    image = BLOBS[1].column.class_

    def erase(_done: int, _total: int) -> None:
        # When the uploads are read every redacted picture goes away, as a withdrawal would do it.
        with Session(place.engine) as session:
            for blob in session.scalars(select(image.redacted_blob)).all():
                if blob:
                    place.vault.delete_blob(blob)
            session.execute(update(image).values(redacted_blob=None))
            session.commit()

    start = ("images.original_blob", 0)
    assert list(Scrub(place.engine, vault=place.vault, start=start, report=erase)) == []


def test_a_blob_that_is_replaced_between_row_and_file_is_looked_up_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = BLOBS[0].column.class_
    real, done = place.vault.stream_blob, []

    def replace_first(**names: object) -> object:
        if names["kind"] == "redacted" and not done:
            done.append(names["blob"])
            with Session(place.engine) as session:
                old = session.scalars(select(image).where(image.redacted_blob == names["blob"]))
                row = old.one()
                key = place.vault.restore_key(
                    row.subject.wrapped_key, row.subject.key_epoch, row.subject.key_version
                )
                row.redacted_blob = place.vault.seal_blob(
                    subject=row.subject.uid, key=key, kind="redacted", data=b"new"
                )
                session.commit()
            place.vault.delete_blob(str(names["blob"]))
        return real(**names)  # type: ignore[arg-type]

    monkeypatch.setattr(place.vault, "stream_blob", replace_first)
    assert scrub(place) == []
    assert done


def test_it_goes_on_where_it_was_stopped(place: Place) -> None:
    for name in place.files():
        flip(place.path(name))
    whole = scrub(place)
    for cut in range(1, len(whole)):
        work = Scrub(place.engine, vault=place.vault)
        before = [damage for damage, _ in zip(work, range(cut), strict=False)]
        rest = list(Scrub(place.engine, vault=place.vault, start=parse_position(work.position)))
        assert {damage.sentence for damage in (*before, *rest)} == {d.sentence for d in whole}


def test_a_place_that_does_not_exist_is_refused() -> None:
    assert parse_position("faces.crop_blob:12") == ("faces.crop_blob", 12)
    for text in ("", "faces.crop_blob", "faces.crop_blob:x", "nowhere:1", "faces.crop_blob:²"):
        with pytest.raises(InvalidInput, match="no place"):
            parse_position(text)


def test_a_locked_vault_is_no_damage(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise Locked

    monkeypatch.setattr(place.vault, "open_archive", refuse)
    with pytest.raises(Locked):
        scrub(place)


def test_an_unreadable_file_is_told_apart(place: Place) -> None:
    if os.geteuid() != 0:
        blob = next(iter(place.files()))
        place.path(blob).chmod(0)
    else:  # root may read anything but a folder
        blob = next(iter(place.files()))
        place.path(blob).unlink()
        place.path(blob).mkdir()
    assert [damage.reason for damage in scrub(place)] == ["the disk cannot read it"]


def test_memory_does_not_grow_with_a_blob(place: Place) -> None:
    import tracemalloc

    def peak(size: int) -> int:
        class Zeros:
            left = size

            def read(self, count: int) -> bytes:
                piece = bytes(min(count, self.left))
                self.left -= len(piece)
                return piece

        with Session(place.engine) as session:
            export = session.scalars(select(BLOBS[3].column.class_)).one()
            export.sealed_blob = place.vault.store_archive(purpose="export", data=Zeros())  # type: ignore[arg-type]
            session.commit()
        tracemalloc.start()
        assert scrub(place) == []
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small, large = peak(1_000_000), peak(30_000_000)
    assert large < small + 1_000_000


def test_every_kind_is_counted_once(place: Place) -> None:
    assert len({holding.name for holding in ORDER}) == len(ORDER) == len({*BLOBS, *FIELDS, *KEYS})
    with Session(place.engine) as session:
        counted = sum(session.scalar(select(func.count(holding.column))) or 0 for holding in ORDER)
    assert counted == count_things(place)
