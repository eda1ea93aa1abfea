"""Making a vault and opening one."""

from pathlib import Path

from annotator.core.errors import InvalidInput, Locked
from annotator.vault import slots
from annotator.vault.blobs import open_store
from annotator.vault.files import Disk, make_folders, remove_quietly
from annotator.vault.keys import KEYS_FOLDER, create_ring, refuse_second_ring, unlock_ring
from annotator.vault.kms import KmsCommand
from annotator.vault.slots import WayIn
from annotator.vault.vault import Vault

BLOBS_FOLDER = "blobs"


def create_vault(
    folder: Path,
    *,
    blobs: str | Path | None = None,
    passphrase: str | None = None,
    key_file: Path | None = None,
    kms: str | None = None,
    disk: Disk | None = None,
) -> tuple[Vault, str]:
    """Makes the keys of a new installation.

    Args:
        folder: the keys go to ``keys/`` below it.
        blobs: where blobs go, see ``open_store``; ``blobs/`` below the folder unless told.
        passphrase: one way in.
        key_file: another: a file to be made, mode 0600.
        kms: another: a command line, see ``annotator.vault.kms``.
        disk: the door to the file system; for tests.

    Returns:
        The open vault and the recovery code, which is shown once and stored nowhere.

    Raises:
        InvalidInput: no way in but the recovery code.
        Conflict: there is a key ring or a key file already.
        Locked: the KMS command failed.
        StorageFull, StorageFailed: no vault was made.
    """
    disk = disk or Disk()
    store = open_store(blobs or folder / BLOBS_FOLDER, disk)
    if passphrase is None and key_file is None and kms is None:
        raise InvalidInput("Give a passphrase, a key file or a KMS command.")
    code = slots.new_recovery_code()
    ways = collect_ways(passphrase=passphrase, recovery_code=code, kms=kms, disk=disk)
    refuse_second_ring(disk, folder / KEYS_FOLDER)
    store.prepare()  # before there are keys, so that a wrong address can be put right
    make_folders(disk, folder / KEYS_FOLDER)
    if key_file is not None:
        ways.append(slots.KnownSecret(slots.KEY_FILE, slots.make_key_file(disk, key_file)))
    try:
        ring = create_ring(folder / KEYS_FOLDER, ways_in=ways, disk=disk)
    except BaseException:
        if key_file is not None:  # made by us a moment ago, and the key of nothing
            remove_quietly(disk, key_file)
        raise
    return Vault(ring, store), code


def open_vault(
    folder: Path,
    *,
    blobs: str | Path | None = None,
    passphrase: str | None = None,
    key_file: Path | None = None,
    recovery_code: str | None = None,
    kms: str | None = None,
    disk: Disk | None = None,
) -> Vault:
    """Opens an installation's vault by any of its ways in; see ``create_vault``.

    The root key is opened here and not kept: a KMS command is called for it once per process.

    Raises:
        NotFound: there is no key ring.
        Locked: no way in was given, or none fits.
        Conflict: the key ring is of a newer format.
        Tampered: the key ring was changed.
    """
    disk = disk or Disk()
    store = open_store(blobs or folder / BLOBS_FOLDER, disk)
    ways = collect_ways(
        passphrase=passphrase, key_file=key_file, recovery_code=recovery_code, kms=kms, disk=disk
    )
    ring = unlock_ring(folder / KEYS_FOLDER, ways_in=ways, disk=disk)
    return Vault(ring, store)


def collect_ways(
    *,
    passphrase: str | None = None,
    key_file: Path | None = None,
    recovery_code: str | None = None,
    kms: str | None = None,
    disk: Disk | None = None,
) -> list[WayIn]:
    """The ways in that were given; local ones first, because a service may be far away.

    Raises:
        InvalidInput: the passphrase is empty, or the KMS command cannot be read.
        Locked: none was given; the key file is missing, open to others, or none; the recovery
            code is none.
    """
    ways: list[WayIn] = []
    if key_file is not None:
        secret = slots.read_key_file(disk or Disk(), key_file)
        ways.append(slots.KnownSecret(slots.KEY_FILE, secret))
    if recovery_code is not None:
        secret = slots.read_recovery_code(recovery_code)
        ways.append(slots.KnownSecret(slots.RECOVERY_CODE, secret))
    if passphrase is not None:
        secret = slots.read_passphrase(passphrase)
        ways.append(slots.KnownSecret(slots.PASSPHRASE, secret))
    if kms is not None:
        ways.append(slots.Kms(KmsCommand.parse(kms)))
    if not ways:
        raise Locked("Give the passphrase, the key file, the recovery code or the KMS command.")
    return ways


def make_way(
    *,
    passphrase: str | None = None,
    key_file: Path | None = None,
    kms: str | None = None,
    disk: Disk | None = None,
) -> tuple[WayIn, str]:
    """A new way in of one kind, to be put into a slot; a key file is made.

    Returns:
        The way in, and the recovery code when no kind was named: then it is a new one.

    Raises:
        Conflict: the key file exists.
        InvalidInput: the passphrase is empty, or the KMS command cannot be read.
    """
    if key_file is not None:
        return slots.KnownSecret(slots.KEY_FILE, slots.make_key_file(disk or Disk(), key_file)), ""
    if passphrase is None and kms is None:
        code = slots.new_recovery_code()
        return collect_ways(recovery_code=code)[0], code
    return collect_ways(passphrase=passphrase, kms=kms)[0], ""
