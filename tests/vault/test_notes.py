"""Signed notes and checkpoints, against the example of the specification and against damage."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from annotator.core.errors import InvalidInput, Tampered
from annotator.vault import notes

KEY, OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
LOG = notes.Verifier("example.org/log", PUBLIC)
WITNESS = notes.Verifier("witness.example", PUBLIC, notes.COSIGNATURE)
# The example of c2sp.org/tlog-cosignature.
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501 - as it is published


def write(size: int = 7, key: Ed25519PrivateKey = KEY) -> str:
    return notes.write_checkpoint(
        origin=LOG.name, size=size, root=bytes(range(32)), key=PUBLIC, sign=key.sign
    )


def test_the_published_example_is_read() -> None:
    found = notes.read_checkpoint(EXAMPLE)
    assert (found.origin, found.size, len(found.root)) == (
        "example.com/behind-the-sofa",
        20852163,
        32,
    )
    assert [name for name, _ in found.signatures] == [
        "example.com/behind-the-sofa",
        "witness.example.com/w1",
    ]
    assert found.signatures[0][1][:4].hex() == "033de0ae"


def test_a_verifier_key_is_that_of_the_published_example() -> None:
    # The key of Go's checksum database, as the Go command carries it.
    known = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    verifier = notes.Verifier.parse(known)
    assert str(verifier) == known
    assert verifier.kind == notes.ED25519


def test_what_is_written_is_read_and_signed() -> None:
    found = notes.read_checkpoint(write())
    assert (found.origin, found.size, found.root) == (LOG.name, 7, bytes(range(32)))
    assert found.text == write().split("\n\n")[0] + "\n"
    assert notes.is_signed(found, LOG)


def test_only_the_key_that_is_named_counts() -> None:
    found = notes.read_checkpoint(write())
    assert not notes.is_signed(found, notes.Verifier("other.example", PUBLIC))
    stranger = OTHER.public_key().public_bytes_raw()
    assert not notes.is_signed(found, notes.Verifier(LOG.name, stranger))
    assert not notes.is_signed(notes.read_checkpoint(write(key=OTHER)), LOG)


def test_a_wrong_line_spoils_a_right_one() -> None:
    wrong = write(key=OTHER).split("\n\n")[1]
    assert not notes.is_signed(notes.read_checkpoint(write() + wrong), LOG)


def test_a_witness_signs_beside_the_log() -> None:
    line = notes.cosign(notes.read_checkpoint(write()), verifier=WITNESS, at=1, sign=KEY.sign)
    found = notes.read_checkpoint(write() + line)
    assert notes.is_signed(found, LOG)
    assert notes.is_signed(found, WITNESS)
    moved = notes.read_checkpoint(write(size=8) + line)
    assert not notes.is_signed(moved, WITNESS)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "one line\n",
        write().replace("\n7\n", "\n07\n"),
        write().replace("\n7\n", "\n-7\n"),
        write().replace("\n7\n", "\nseven\n"),
        write().replace("\n7\n", "\n\n"),
        write().replace("\n7\n", "\n7\r\n"),
        write().replace("=\n\n", "\n\n"),
        write().replace("Hh8=\n\n", "Hh9=\n\n"),
        write().replace("\u2014", "-"),
        write()[:-1],
        write() + "\u2014 short AAAA\n",
        write() + "x" * notes.MOST_BYTES,
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    assert note != write()
    with pytest.raises(Tampered, match="not a checkpoint"):
        notes.read_checkpoint(note)


@pytest.mark.parametrize("vkey", ["", "a+b", f"{LOG}x", str(LOG).replace("+", "-"), "a b+0+AA=="])
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(InvalidInput, match="verifier key"):
        notes.Verifier.parse(vkey)


def test_a_log_with_a_space_in_its_name_signs_nothing() -> None:
    with pytest.raises(InvalidInput, match="spaces"):
        notes.write_checkpoint(origin="a b", size=0, root=bytes(32), key=PUBLIC, sign=KEY.sign)
