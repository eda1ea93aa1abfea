"""Slots added, removed and replaced, epochs disabled, a new root key; and what goes wrong."""

import errno
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotator.core.errors import (
    AnnotatorError,
    Conflict,
    InvalidInput,
    KeyDestroyed,
    Locked,
    NotFound,
    StorageFailed,
    StorageFull,
    SyncFailed,
    Tampered,
)
from annotator.vault import (
    Keyholder,
    Vault,
    collect_ways,
    create_vault,
    make_way,
    open_vault,
    report_ring,
)
from annotator.vault.slots import LABEL_LENGTH
from annotator.vault.ways import MOST_SLOTS

PASSPHRASE = "a passphrase of some length"
CELL = {"table": "t", "column": "c", "row": "1"}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a passphrase costs is shown elsewhere."""
    monkeypatch.setattr("annotator.vault.slots.ARGON2", {"memory_kib": 64, "passes": 1, "lanes": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation with a key file and a recovery code."""
    _, code = create_vault(tmp_path / "data", key_file=tmp_path / "key-file")
    (tmp_path / "code").write_text(code)
    return tmp_path / "data"


def open_it(folder: Path, disk: Any = None, **ways: Any) -> Keyholder:
    ways = ways or {"key_file": folder.parent / "key-file"}
    return Keyholder(folder, ways=collect_ways(**ways), disk=disk)


def code_of(folder: Path) -> str:
    return (folder.parent / "code").read_text()


def kinds(folder: Path) -> list[str]:
    return [slot.kind for slot in report_ring(folder).slots]


def slot_of(folder: Path, kind: str) -> str:
    (found,) = [slot.id for slot in report_ring(folder).slots if slot.kind == kind]
    return found


def add_passphrase(holder: Keyholder, text: str = PASSPHRASE, label: str = "") -> str:
    slot = holder.seal_slot(make_way(passphrase=text)[0], label=label)
    holder.add_slot(slot)
    return str(slot["id"])


def test_a_slot_more_opens_the_same_vault(folder: Path) -> None:
    vault = open_vault(folder, key_file=folder.parent / "key-file")
    before = vault.epochs
    name = add_passphrase(open_it(folder), label="  Bea, since spring ")
    again = open_vault(folder, passphrase=PASSPHRASE)
    assert again.public_key("log") == vault.public_key("log")
    assert vault.epochs == before
    slot = report_ring(folder).slots[-1]
    assert (slot.id, slot.kind, slot.label) == (name, "passphrase", "Bea, since spring")
    assert slot.created.startswith("20")


def test_the_recovery_code_lets_one_in_to_make_a_new_way(folder: Path) -> None:
    (folder.parent / "key-file").unlink()  # lost
    holder = open_it(folder, recovery_code=code_of(folder))
    add_passphrase(holder)
    lost = slot_of(folder, "key-file")
    open_it(folder, passphrase=PASSPHRASE).remove_slot(lost)
    assert kinds(folder) == ["recovery-code", "passphrase"]
    assert open_vault(folder, passphrase=PASSPHRASE)


@pytest.mark.parametrize("label", ["x" * (LABEL_LENGTH + 1), "bell\a", "two\nlines", "\x1b[31m"])
def test_a_label_that_cannot_be_shown_is_refused(folder: Path, label: str) -> None:
    with pytest.raises(InvalidInput, match="label"):
        add_passphrase(open_it(folder), label=label)


def test_a_label_that_somebody_wrote_into_the_file_is_cleaned(folder: Path) -> None:
    edit(folder, lambda ring: ring["slots"][0].update(label="\x1b[2Jgone" * 50, id="a\nb"))
    slot = report_ring(folder).slots[0]
    assert "\x1b" not in slot.label
    assert len(slot.label) <= LABEL_LENGTH
    assert slot.id == "ab"


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "keys" / "ring.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_there_is_a_most_of_slots(folder: Path) -> None:
    holder = open_it(folder)
    for _ in range(MOST_SLOTS - 2):
        holder.add_slot(holder.seal_slot(make_way()[0]))
    with pytest.raises(Conflict, match="at most 32"):
        holder.add_slot(holder.seal_slot(make_way()[0]))
    assert len(kinds(folder)) == MOST_SLOTS


def test_a_removed_slot_opens_no_more(folder: Path) -> None:
    name = add_passphrase(open_it(folder))
    open_it(folder).remove_slot(name)
    with pytest.raises(Locked):
        open_vault(folder, passphrase=PASSPHRASE)
    assert kinds(folder) == ["recovery-code", "key-file"]


def test_nobody_removes_the_way_in_that_they_use(folder: Path) -> None:
    add_passphrase(open_it(folder))
    with pytest.raises(Conflict, match="that you use"):
        open_it(folder).remove_slot(slot_of(folder, "key-file"))
    both = open_it(folder, key_file=folder.parent / "key-file", passphrase=PASSPHRASE)
    both.remove_slot(slot_of(folder, "key-file"))
    assert open_vault(folder, passphrase=PASSPHRASE)


def test_a_slot_that_is_left_must_open(folder: Path) -> None:
    """A damaged slot counts for nothing: it would leave nobody in."""
    name = add_passphrase(open_it(folder))
    edit(folder, lambda ring: ring["slots"][-1].update(wrapped="00" * 49))
    with pytest.raises(Conflict, match="that you use"):
        open_it(folder).remove_slot(slot_of(folder, "key-file"))
    open_it(folder).remove_slot(name)


def test_the_recovery_code_is_never_left_alone(folder: Path) -> None:
    with pytest.raises(Conflict, match="Only the recovery code"):
        open_it(folder, recovery_code=code_of(folder)).remove_slot(slot_of(folder, "key-file"))
    assert kinds(folder) == ["recovery-code", "key-file"]


def test_the_recovery_code_itself_can_be_replaced(folder: Path) -> None:
    holder = open_it(folder)
    way, code = make_way()
    holder.add_slot(holder.seal_slot(way))
    holder.remove_slot(report_ring(folder).slots[0].id)
    assert open_vault(folder, recovery_code=code)
    with pytest.raises(Locked):
        open_vault(folder, recovery_code=code_of(folder))


@pytest.mark.parametrize("name", ["", "00000000", "../ring", "key-file"])
def test_a_slot_that_is_not_there_is_not_found(folder: Path, name: str) -> None:
    holder = open_it(folder)
    with pytest.raises(NotFound, match="no slot"):
        holder.remove_slot(name)
    with pytest.raises(NotFound, match="no slot"):
        holder.replace_slot(name, holder.seal_slot(make_way()[0]))


def test_changing_a_passphrase_rewrites_one_slot(folder: Path) -> None:
    old = add_passphrase(open_it(folder), label="Bea")
    ring = json.loads((folder / "keys" / "ring.json").read_text())
    holder = open_it(folder, passphrase=PASSPHRASE)
    present = holder.find_slot(collect_ways(passphrase=PASSPHRASE)[0])
    assert present.id == old
    new = holder.seal_slot(make_way(passphrase="another one of length")[0], label=present.label)
    holder.replace_slot(old, new)
    with pytest.raises(Locked):
        open_vault(folder, passphrase=PASSPHRASE)
    assert open_vault(folder, passphrase="another one of length")
    after = json.loads((folder / "keys" / "ring.json").read_text())
    assert after["slots"][:-1] == ring["slots"][:-1]
    assert after["slots"][-1]["label"] == "Bea"
    for part in ("epochs", "secrets", "primary", "install"):
        assert after[part] == ring[part]


def test_a_slot_may_not_cost_the_whole_machine(folder: Path) -> None:
    """Slots are not authenticated, so a stranger's file must not make Argon2id take everything."""
    add_passphrase(open_it(folder))
    for name, value in (("memory_kib", 2**40), ("passes", 10**9), ("lanes", 0), ("passes", "3")):
        edit(folder, lambda ring, n=name, v=value: ring["slots"][-1].update({n: v}))  # type: ignore[misc]
        started = time.monotonic()
        with pytest.raises(Locked):
            open_vault(folder, passphrase=PASSPHRASE)
        assert time.monotonic() - started < 5


def test_a_stranger_who_writes_the_file_makes_no_slot_that_opens(
    folder: Path, tmp_path: Path
) -> None:
    """They do not know the root key; a slot of their own installation is refused as well."""
    create_vault(tmp_path / "theirs", passphrase=PASSPHRASE)
    theirs = json.loads((tmp_path / "theirs" / "keys" / "ring.json").read_text())
    edit(folder, lambda ring: ring["slots"].extend(theirs["slots"]))
    with pytest.raises(Locked):
        open_vault(folder, passphrase=PASSPHRASE)
    edit(folder, lambda ring: ring.update(install=theirs["install"]))
    with pytest.raises(Tampered):
        open_vault(folder, passphrase=PASSPHRASE)


def test_an_old_slot_put_back_opens_for_who_knows_its_secret(folder: Path) -> None:
    """By design: slots stand outside the MAC. Against that there is only a new root key."""
    name = add_passphrase(open_it(folder))
    old = json.loads((folder / "keys" / "ring.json").read_text())["slots"][-1]
    open_it(folder).remove_slot(name)
    edit(folder, lambda ring: ring["slots"].append(old))
    assert open_vault(folder, passphrase=PASSPHRASE)
    open_it(folder).renew_root()
    edit(folder, lambda ring: ring["slots"].append(old))
    with pytest.raises(Tampered):  # it opens the old root key, which opens nothing
        open_vault(folder, passphrase=PASSPHRASE)
    assert open_vault(folder, key_file=folder.parent / "key-file")


# A new root key


def test_a_new_root_key_leaves_one_way_in_and_a_new_code(folder: Path) -> None:
    add_passphrase(open_it(folder))
    vault = open_vault(folder, key_file=folder.parent / "key-file")
    key = vault.create_key("anna")
    sealed = vault.seal_field(subject="anna", key=key, **CELL, text="Anna")
    stored = vault.seal_bytes(purpose="p", data=b"data")
    list(vault.rotate([]))
    epochs, public = vault.epochs, vault.public_key("log")
    stolen = (folder / "keys" / "ring.json").read_bytes()

    code = open_it(folder).renew_root()

    for way in ({"key_file": folder.parent / "key-file"}, {"recovery_code": code}):
        again = open_vault(folder, **way)  # type: ignore[arg-type]
        assert (again.epochs, again.public_key("log")) == (epochs, public)
        assert again.open_field(subject="anna", key=key, **CELL, sealed=sealed) == "Anna"
        assert again.open_bytes(purpose="p", sealed=stored) == b"data"
    for old in ({"passphrase": PASSPHRASE}, {"recovery_code": code_of(folder)}):
        with pytest.raises(Locked):
            open_vault(folder, **old)  # type: ignore[arg-type]
    assert (kinds(folder), report_ring(folder).root) == (["key-file", "recovery-code"], 2)
    with pytest.raises(Locked, match="start this program again"):
        vault.create_key("bert")  # a process of before
    check_old_root(folder, stolen)


def check_old_root(folder: Path, stolen: bytes) -> None:
    """The root key out of an old copy opens no ring that was written after it."""
    thief = folder.parent / "thief"
    (thief / "keys").mkdir(parents=True)
    (thief / "keys" / "ring.json").write_bytes(stolen)
    root = Keyholder(thief, ways=collect_ways(passphrase=PASSPHRASE))._root
    from annotator.vault.files import Disk
    from annotator.vault.keys import KeyRing

    install = report_ring(folder).install
    with pytest.raises(Tampered):
        KeyRing(folder / "keys", install=install, root=root, disk=Disk())


def test_the_recovery_code_alone_makes_no_new_root_key(folder: Path) -> None:
    with pytest.raises(Conflict, match="not by the recovery code"):
        open_it(folder, recovery_code=code_of(folder)).renew_root()
    assert report_ring(folder).root == 1


def test_a_holder_of_before_changes_nothing_after_a_new_root_key(folder: Path) -> None:
    late = open_it(folder)
    slot = late.seal_slot(make_way()[0])
    open_it(folder).renew_root()
    before = (folder / "keys" / "ring.json").read_bytes()
    with pytest.raises(Locked, match="renewed"):
        late.add_slot(slot)
    assert (folder / "keys" / "ring.json").read_bytes() == before


# Epochs


def test_a_disabled_epoch_locks_at_once_in_every_process(folder: Path) -> None:
    web = open_vault(folder, key_file=folder.parent / "key-file")
    worker = open_vault(folder, key_file=folder.parent / "key-file")
    key = web.create_key("anna")
    blob = web.seal_blob(subject="anna", key=key, kind="crop", data=b"face")
    sealed = web.seal_field(subject="anna", key=key, **CELL, text="Anna")
    assert open_face(worker, key, blob) == b"face"  # in the caches of both

    assert open_it(folder).set_disabled(1, disabled=True)
    assert not open_it(folder).set_disabled(1, disabled=True)

    for vault in (web, worker, open_vault(folder, key_file=folder.parent / "key-file")):
        for use in (
            lambda v=vault: open_face(v, key, blob),
            lambda v=vault: v.open_field(subject="anna", key=key, **CELL, sealed=sealed),
            lambda v=vault: v.seal_field(subject="anna", key=key, **CELL, text="Anna"),
            lambda v=vault: v.seal_blob(subject="anna", key=key, kind="crop", data=b"x"),
            lambda v=vault: v.create_key("bert"),
            lambda v=vault: v.rewrap("anna", key),
        ):
            with pytest.raises(Locked, match="keys enable"):
                use()  # type: ignore[no-untyped-call]
    assert report_ring(folder).epochs[0].state == "disabled"

    assert open_it(folder).set_disabled(1, disabled=False)
    assert report_ring(folder).epochs[0].state == "primary"
    assert open_face(web, key, blob) == open_face(worker, key, blob) == b"face"


def open_face(vault: Vault, key: Any, blob: str) -> bytes:
    return vault.open_blob(subject="anna", key=key, kind="crop", blob=blob)


def test_an_old_epoch_is_disabled_alone_and_can_be_destroyed(folder: Path) -> None:
    vault = open_vault(folder, key_file=folder.parent / "key-file")
    key = vault.create_key("anna")
    ((_, moved),) = vault.rotate([("anna", key)])
    open_it(folder).set_disabled(1, disabled=True)
    with pytest.raises(Locked):
        vault.rewrap("anna", key)
    assert vault.rewrap("anna", moved).epoch == 2
    list(vault.rotate([]))
    assert [epoch.state for epoch in report_ring(folder).epochs] == [
        "disabled",
        "enabled",
        "primary",
    ]
    vault.destroy_epoch(1)
    with pytest.raises(KeyDestroyed):
        open_it(folder).set_disabled(1, disabled=False)
    for none in (0, 9):
        with pytest.raises(Conflict, match="no epoch"):
            open_it(folder).set_disabled(none, disabled=True)


# Faults


def attempt(change: Callable[[], object]) -> AnnotatorError | None:
    try:
        change()
    except AnnotatorError as error:
        return error
    return None


@pytest.mark.parametrize("what", ["add", "remove", "replace", "disable", "root"])
@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EIO, StorageFailed)]
)
def test_a_change_that_cannot_be_written_happened_or_not(
    folder: Path, disk: Any, number: int, error: type[AnnotatorError], what: str
) -> None:
    """At every call of the disk: the old ring or the new one, and whoever got in still does."""
    holder = open_it(folder, disk)
    extra = add_passphrase(holder)
    slot = holder.seal_slot(make_way()[0])
    changes: dict[str, Callable[[], object]] = {
        "add": lambda: holder.add_slot(slot),
        "remove": lambda: holder.remove_slot(extra),
        "replace": lambda: holder.replace_slot(extra, slot),
        "disable": lambda: holder.set_disabled(1, disabled=True),
        "root": holder.renew_root,
    }
    old = json.loads((folder / "keys" / "ring.json").read_text())
    for call in range(100):
        disk.plan(call, number)
        caught = attempt(changes[what])
        if caught is None:
            break
        name, *rest = disk.calls[call:]
        disk.heal()
        assert isinstance(caught, SyncFailed if name[0] in {"fsync", "fsync_folder"} else error), (
            name
        )
        assert name[0] not in {"fsync", "fsync_folder"} or name not in rest
        left = {path.name for path in (folder / "keys").iterdir()}
        assert left == {"ring.json", "lock"}, name
        found = json.loads((folder / "keys" / "ring.json").read_text())
        if found != old:  # renamed, but perhaps not durably: a whole new ring
            assert found["generation"] == old["generation"] + 1
            assert name[0] == "fsync_folder"
            restore(folder, old)
            holder = open_it(folder, disk)
        assert open_vault(folder, key_file=folder.parent / "key-file").epochs == (1,)
    assert call >= 8
    disk.heal()
    assert json.loads((folder / "keys" / "ring.json").read_text()) != old


def restore(folder: Path, ring: dict[str, Any]) -> None:
    (folder / "keys" / "ring.json").write_text(json.dumps(ring, indent=1))


CHANGER = """
import sys
from pathlib import Path
from annotator.vault import Keyholder, collect_ways, make_way
folder, count = Path(sys.argv[1]), int(sys.argv[2])
holder = Keyholder(folder, ways=collect_ways(key_file=folder.parent / "key-file"))
for number in range(count):
    slot = holder.seal_slot(make_way()[0], label=f"{sys.argv[3]}-{number}")
    holder.add_slot(slot)
    if number % 2:
        holder.remove_slot(slot["id"])
"""


def test_two_processes_change_slots_at_once_and_none_is_lost(folder: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", CHANGER, str(folder), "10", name])
        for name in ("one", "two")
    ]
    assert [process.wait(60) for process in running] == [0, 0]
    labels = {slot.label for slot in report_ring(folder).slots}
    assert labels == {"", *(f"{name}-{n}" for name in ("one", "two") for n in range(0, 10, 2))}
    assert report_ring(folder).generation == 30
    assert open_vault(folder, key_file=folder.parent / "key-file")


def test_two_who_remove_each_others_way_leave_one(folder: Path) -> None:
    """Each proves itself by the slot that the other removes; the second finds that out."""
    passphrase = add_passphrase(open_it(folder))
    key_file = slot_of(folder, "key-file")
    one, two = open_it(folder), open_it(folder, passphrase=PASSPHRASE)
    one.remove_slot(passphrase)
    with pytest.raises(Conflict):
        two.remove_slot(key_file)
    assert open_vault(folder, key_file=folder.parent / "key-file")


def test_a_removal_between_proof_and_lock_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passphrase = add_passphrase(open_it(folder))
    add_passphrase(open_it(folder), "of somebody else")
    key_file = slot_of(folder, "key-file")
    two = open_it(folder, passphrase=PASSPHRASE)
    prove = two._prove

    def meanwhile(slot_id: str) -> Any:
        proof = prove(slot_id)
        open_it(folder).remove_slot(passphrase)
        return proof

    monkeypatch.setattr(two, "_prove", meanwhile)
    with pytest.raises(Conflict, match="meanwhile"):
        two.remove_slot(key_file)
    assert open_vault(folder, key_file=folder.parent / "key-file")


def test_rings_that_replace_each_other_within_a_tick_are_told_apart(folder: Path) -> None:
    """An inode and a time of change may come again, so the size tells the generation."""
    vault = open_vault(folder, key_file=folder.parent / "key-file")
    for generation in range(1, 30):
        list(vault.rotate([])) if generation % 3 else vault.destroy_epoch(vault.epochs[0])
        size = (folder / "keys" / "ring.json").stat().st_size
        assert (size % 1024, report_ring(folder).generation) == (generation, generation)


def test_a_ring_that_looks_like_the_one_before_the_last_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that gives every file one inode and one time hides no destroyed epoch."""
    from annotator.vault.files import Disk

    monkeypatch.setattr(Disk, "identify", lambda _self, path: (1, 1, path.stat().st_size))
    web = open_vault(folder, key_file=folder.parent / "key-file")
    worker = open_vault(folder, key_file=folder.parent / "key-file")
    key = web.create_key("anna")
    web.seal_field(subject="anna", key=key, **CELL, text="Anna")
    list(worker.rotate([]))
    worker.destroy_epoch(1)
    with pytest.raises(KeyDestroyed):
        web.seal_field(subject="anna", key=key, **CELL, text="Anna")
