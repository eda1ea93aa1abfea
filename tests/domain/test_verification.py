import base64
import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput
from annotator.domain import exports
from annotator.domain.verification import (
    FORMAT,
    FORMAT_VERSION,
    fingerprint,
    read_key,
    to_pem,
    verify_export,
)
from tests.factories import make_dataset, make_face, make_subject
from tests.fakes import FakeVault, FakeWork


@pytest.fixture
def public_key(vault: FakeVault) -> Any:
    return vault.public_key("export")


@pytest.fixture
def folder(session: Session, vault: FakeVault, work: FakeWork, tmp_path: Path) -> Any:
    dataset = make_dataset(session)
    for number in range(6):
        subject = make_subject(session, vault, dataset)
        make_face(session, vault, subject, ("neutral", "fear")[number % 2])
    export = exports.request_export(
        session, dataset=dataset, recipient="University of X", by=None, wish=exports.Wish()
    )
    session.commit()
    exports.build_export(work, export_id=export.id)
    session.rollback()
    session.refresh(export)
    return exports.write_export(session, vault=vault, export=export, out=tmp_path / "out")


def files(folder: Path) -> Any:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def packed(folder: Path) -> Any:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in files(folder):
            archive.write(path, path.relative_to(folder).as_posix())
    return data


def test_a_sound_export_passes_as_folder_and_as_zip(
    folder: Path, public_key: bytes, tmp_path: Path
) -> None:
    for place in (folder, packed(folder)):
        report = verify_export(place, public_key=public_key)
        assert (report.ok, report.trusted, report.files) == (True, True, len(files(folder)) - 2)
    archive = tmp_path / "export.zip"
    archive.write_bytes(packed(folder).getvalue())
    assert verify_export(archive, public_key=to_pem(public_key)).ok


def test_without_a_key_it_says_what_that_proves(folder: Path, public_key: bytes) -> None:
    report = verify_export(folder)
    assert report.ok
    assert not report.trusted
    assert report.fingerprint == fingerprint(public_key)
    assert "compare its fingerprint" in report.message


def test_every_changed_byte_lost_file_and_swap_is_found_and_named(
    folder: Path, public_key: bytes
) -> None:
    for path in files(folder):
        name = path.relative_to(folder).as_posix()
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            broken = bytearray(whole)
            broken[at] ^= 1
            path.write_bytes(broken)
            report = verify_export(folder, public_key=public_key)
            blamed = "manifest.json" if name == "manifest.sig" else name
            # A flipped newline at the end of the signature changes nothing that is signed.
            if not (name == "manifest.sig" and at == len(whole) - 1):
                assert not report.ok, name
                assert blamed in report.message
        for broken in (whole[:-1], whole + b"x"):
            path.write_bytes(broken)
            if name != "manifest.sig":
                assert not verify_export(folder, public_key=public_key).ok, name
        path.unlink()
        report = verify_export(folder, public_key=public_key)
        assert not report.ok
        assert f"{name} is missing" in report.message
        path.write_bytes(whole)
    assert verify_export(folder, public_key=public_key).ok


def test_a_file_too_many_is_found(folder: Path, public_key: bytes) -> None:
    (folder / "images" / "train" / "extra.png").write_bytes(b"")
    report = verify_export(folder, public_key=public_key)
    assert "extra.png does not belong" in report.message


def test_two_swapped_pictures_are_found(folder: Path, public_key: bytes) -> None:
    one, two, *_ = sorted((folder / "images").rglob("*.png"))
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)
    assert "was changed" in verify_export(folder, public_key=public_key).message


def test_another_key_does_not_do(folder: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    report = verify_export(folder, public_key=other)
    assert "signed by another key" in report.message


def test_a_forger_who_signs_anew_is_caught_by_the_real_key(folder: Path, public_key: bytes) -> None:
    forger = Ed25519PrivateKey.generate()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["recipient"] = "somebody else"
    data = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.sig").write_bytes(base64.b64encode(forger.sign(data)))
    assert not verify_export(folder, public_key=public_key).ok
    assert not verify_export(folder).ok  # the key in the folder is the sender's


def test_links_are_refused(folder: Path, public_key: bytes) -> None:
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/hostname")
    assert "is a link" in verify_export(folder, public_key=public_key).message


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a//b", "./a"]
)
def test_a_zip_that_would_leave_its_folder_is_refused(
    folder: Path, public_key: bytes, name: str
) -> None:
    data = packed(folder)
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "not a path" in verify_export(data, public_key=public_key).message


def test_a_name_twice_is_refused(folder: Path, public_key: bytes) -> None:
    data = packed(folder)
    with zipfile.ZipFile(data, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("README.md", b"evil")
    assert "twice" in verify_export(data, public_key=public_key).message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no json",
        b"[" * 100_000,
        b"[]",
        b'"text"',
        b"{}",
        b"\xff\xfe",
        json.dumps({"format": FORMAT, "format_version": 99}).encode(),
        json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION}).encode(),
        json.dumps({"format": FORMAT, "format_version": FORMAT_VERSION, "files": [1]}).encode(),
        json.dumps(
            {"format": FORMAT, "format_version": FORMAT_VERSION, "files": {"a": 1}}
        ).encode(),
        json.dumps(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "files": {"../../etc/hostname": {"sha256": "00", "bytes": 1}},
            }
        ).encode(),
    ],
)
def test_signed_nonsense_is_one_sentence(tmp_path: Path, data: Any) -> None:
    signer = Ed25519PrivateKey.generate()
    (tmp_path / "manifest.json").write_bytes(data)
    (tmp_path / "manifest.sig").write_bytes(base64.b64encode(signer.sign(data)))
    report = verify_export(tmp_path, public_key=signer.public_key().public_bytes_raw())
    assert not report.ok
    assert report.message.endswith(".")


def test_what_is_no_export_is_one_sentence(tmp_path: Path, public_key: bytes) -> None:
    text = tmp_path / "text"
    text.write_text("not a zip")
    assert "neither a folder nor" in verify_export(text, public_key=public_key).message
    assert "no export" in verify_export(tmp_path / "none", public_key=public_key).message
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "manifest.json is missing" in verify_export(empty, public_key=public_key).message
    assert "public_key.pem is missing" in verify_export(empty).message


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_zip_never_raises(folder: Path, public_key: bytes, data: Any) -> None:
    whole = bytearray(packed(folder).getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    verify_export(io.BytesIO(bytes(whole)), public_key=public_key)


def test_keys_are_read_as_pem_hex_or_raw(public_key: bytes) -> None:
    for form in (public_key, public_key.hex().encode(), to_pem(public_key)):
        assert read_key(form) == public_key
    other = generate_private_key(SECP256R1()).public_key()
    pem = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for form in (b"", b"nonsense", pem):
        with pytest.raises(InvalidInput):
            read_key(form)


def test_openssl_agrees(folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl on this machine")
    signature = base64.b64decode((folder / "manifest.sig").read_bytes())
    (folder.parent / "sig.bin").write_bytes(signature)
    done = subprocess.run(
        [
            *(openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "public_key.pem", "-rawin"),
            *("-in", "manifest.json", "-sigfile", "../sig.bin"),
        ],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
