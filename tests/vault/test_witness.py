"""What a witness signs, and what it does not."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from annotator.core.errors import InvalidInput, StorageFull, Tampered
from annotator.vault import merkle, notes
from annotator.vault.files import Disk
from annotator.vault.witness import Request, Witness, open_seed, read_request, write_request

KEY = Ed25519PrivateKey.generate()
LOG = notes.Verifier("log.example", KEY.public_key().public_bytes_raw())
LEAVES = [merkle.hash_leaf(bytes([number])) for number in range(40)]


def note_of(size: int, leaves: list[bytes] = LEAVES, key: Ed25519PrivateKey = KEY) -> str:
    root = merkle.compute_root(leaves[:size])
    return notes.write_checkpoint(origin=LOG.name, size=size, root=root, key=LOG.key, sign=key.sign)


def request(old: int, size: int, leaves: list[bytes] = LEAVES) -> str:
    source = merkle.source_of(leaves)
    proof = merkle.prove_consistency(old=old, size=size, source=source)
    return write_request(Request(old, proof, note_of(size, leaves)))


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    made = Witness(tmp_path / "state.json", seed=bytes(range(32)))
    made.trust(LOG)
    return made


def test_a_log_that_grows_is_signed_and_remembered(witness: Witness, tmp_path: Path) -> None:
    assert witness.newest(LOG.name) == ""
    for old, size in ((0, 3), (3, 3), (3, 8), (8, 40)):
        said = witness.add(request(old, size))
        assert said.status == 200
        signed = notes.read_checkpoint(note_of(size) + said.text)
        assert notes.is_signed(signed, witness.verifier)
        again = Witness(tmp_path / "state.json", seed=bytes(range(32)))
        assert again.newest(LOG.name) == note_of(size) + said.text


def test_a_wrong_old_size_is_answered_with_the_right_one(witness: Witness) -> None:
    witness.add(request(0, 5))
    said = witness.add(request(3, 8))
    assert (said.status, said.text, said.kind) == (409, "5\n", "text/x.tlog.size")


def test_a_log_that_was_changed_or_set_back_is_not_signed(witness: Witness) -> None:
    witness.add(request(0, 5))
    forged = [LEAVES[1], *LEAVES[1:]]
    assert witness.add(request(5, 8, forged)).status == 422
    assert witness.add(request(5, 5, forged)).status == 409
    assert witness.add(write_request(Request(5, (), note_of(4)))).status == 400
    assert witness.add(write_request(Request(0, (), note_of(4)))).status == 409
    assert witness.add(write_request(Request(5, (), note_of(8)))).status == 422
    assert notes.read_checkpoint(witness.newest(LOG.name)).size == 5


def test_strangers_are_not_signed(witness: Witness) -> None:
    assert (
        witness.add(
            write_request(Request(0, (), note_of(3, key=Ed25519PrivateKey.generate())))
        ).status
        == 403
    )
    other = note_of(3).replace("log.example", "other.example")
    assert witness.add(write_request(Request(0, (), other))).status == 404


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 0\n",
        "old x\n\n" + note_of(1),
        "new 0\n\n" + note_of(1),
        "old 0\nAAAA\n\n" + note_of(1),
        "old 0\n!\n\n" + note_of(1),
        "old 0\n\nno note\n",
        f"old 0\n{'A' * 43}=\n" * 1 + f"{'A' * 43}=\n" * 64 + "\n" + note_of(1),
    ],
)
def test_what_is_no_request_is_refused(witness: Witness, body: str) -> None:
    assert witness.add(body).status == 400


def test_the_first_checkpoint_comes_without_a_proof(witness: Witness) -> None:
    assert witness.add(write_request(Request(0, (LEAVES[0],), note_of(3)))).status == 422


def test_a_request_is_read_as_it_was_written() -> None:
    made = Request(7, LEAVES[:2], note_of(9))
    assert read_request(write_request(made)) == made


def test_a_log_keeps_its_key(witness: Witness) -> None:
    witness.trust(LOG)
    assert witness.logs == ["log.example"]
    with pytest.raises(InvalidInput, match="another key"):
        witness.trust(notes.Verifier(LOG.name, bytes(32)))


def test_nothing_is_signed_that_cannot_be_remembered(tmp_path: Path) -> None:
    class Full(Disk):
        full = False

        def write(self, descriptor: int, data: bytes | memoryview) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(descriptor, data)

    disk = Full()
    witness = Witness(tmp_path / "state.json", seed=bytes(32), disk=disk)
    witness.trust(LOG)
    witness.add(request(0, 3))
    disk.full = True
    with pytest.raises(StorageFull):
        witness.add(request(3, 5))
    disk.full = False
    assert notes.read_checkpoint(witness.newest(LOG.name)).size == 3
    assert witness.add(request(3, 5)).status == 200


def test_a_damaged_state_is_not_taken_for_an_empty_one(witness: Witness, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(Tampered, match="state file is damaged"):
        witness.add(request(0, 3))


def test_a_key_is_made_once(tmp_path: Path) -> None:
    seed = open_seed(tmp_path / "key")
    assert len(seed) == 32
    assert open_seed(tmp_path / "key") == seed
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").write_text("something else")
    with pytest.raises(InvalidInput, match="does not hold a key"):
        open_seed(tmp_path / "key")
