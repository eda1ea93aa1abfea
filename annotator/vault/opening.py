"""Making a vault and opening one."""

from pathlib import Path

from annotator.core.errors import InvalidInput, Locked
from annotator.vault import slots
from annotator.vault.blobs import open_store
from annotator.vault.files import Disk, make_folders, remove_quietly
from annotator.vault.keys import KEYS_FOLDER, create_ring, refuse_second_ring, unlock_ring
from annotator.vault.vault import Vault

BLOBS_FOLDER = "blobs"


def create_vault(
    folder: Path,
    *,
    blobs: str | Path | None = None,
    passphrase: str | None = None,
    key_file: Path | None = None,
    disk: Disk | None = None,
) -> tuple[Vault, str]:
    """Makes the keys of a new installation.

    Args:
        folder: the keys go to ``keys/`` below it.
        blobs: where blobs go, see ``open_store``; ``blobs/`` below the folder unless told.
        passphrase: one way in.
        key_file: another: a file to be made, mode 0600.
        disk: the door to the file system; for tests.

    Returns:
        The open vault and the recovery code, which is shown once and stored nowhere.

    Raises:
        InvalidInput: neither a passphrase nor a key file.
        Conflict: there is a key ring or a key file already.
        StorageFull, StorageFailed: no vault was made.
    """
    disk = disk or Disk()
    store = open_store(blobs or folder / BLOBS_FOLDER, disk)
    if passphrase is None and key_file is None:
        raise InvalidInput("Give a passphrase or a key file.")
    code = slots.new_recovery_code()
    ways_in = {slots.RECOVERY_CODE: slots.read_recovery_code(code)}
    if passphrase is not None:
        ways_in[slots.PASSPHRASE] = slots.read_passphrase(passphrase)
    refuse_second_ring(disk, folder / KEYS_FOLDER)
    store.prepare()  # before there are keys, so that a wrong address can be put right
    make_folders(disk, folder / KEYS_FOLDER)
    if key_file is not None:
        ways_in[slots.KEY_FILE] = slots.make_key_file(disk, key_file)
    try:
        ring = create_ring(folder / KEYS_FOLDER, ways_in=ways_in, disk=disk)
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
    disk: Disk | None = None,
) -> Vault:
    """Opens an installation's vault by any of its ways in; see ``create_vault``.

    Raises:
        NotFound: there is no key ring.
        Locked: no way in was given, or none fits.
        Conflict: the key ring is of a newer format.
        Tampered: the key ring was changed.
    """
    disk = disk or Disk()
    store = open_store(blobs or folder / BLOBS_FOLDER, disk)
    ways_in: dict[str, bytes] = {}
    if key_file is not None:
        ways_in[slots.KEY_FILE] = slots.read_key_file(disk, key_file)
    if passphrase is not None:
        ways_in[slots.PASSPHRASE] = slots.read_passphrase(passphrase)
    if recovery_code is not None:
        ways_in[slots.RECOVERY_CODE] = slots.read_recovery_code(recovery_code)
    if not ways_in:
        raise Locked("Give the passphrase, the key file or the recovery code.")
    ring = unlock_ring(folder / KEYS_FOLDER, ways_in=ways_in, disk=disk)
    return Vault(ring, store)
