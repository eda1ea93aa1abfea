"""Makes the golden files of the vault's present format. Run once per format, then kept for ever.

    python tests/vault/golden/make.py tests/vault/golden/format-1

The secrets in it are for these files alone. Never make a format's files again: they show that
what was sealed by the first version that wrote it still opens.
"""

import json
import sys
from pathlib import Path
from typing import Any

from annotator.vault import Vault, WrappedKey, create_vault

PASSPHRASE = "golden files, not a secret"
SIZES = [0, 20, 16_384, 20_000]
CELL = {"table": "subject", "column": "name", "row": "1"}


def data_of(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


def write_key(key: WrappedKey) -> dict[str, Any]:
    return {"wrapped": key.wrapped.hex(), "epoch": key.epoch, "version": key.version}


def describe(vault: Vault, code: str) -> dict[str, Any]:
    """Seals one of everything; epoch 1 destroyed, 2 enabled, 3 primary."""
    first = vault.create_key("anna")
    ((_, second),) = vault.rotate([("anna", first)])
    ((_, third),) = vault.rotate([("anna", second)])
    vault.destroy_epoch(1)
    cell = {"subject": "anna", "key": third, **CELL}
    blob = {"subject": "anna", "key": third, "kind": "crop", "revision": 3}
    return {
        "install": vault.install,
        "passphrase": PASSPHRASE,
        "recovery_code": code,
        "subject": "anna",
        "keys": [write_key(key) for key in (first, second, third)],
        "blobs": {str(size): vault.seal_blob(**blob, data=data_of(size)) for size in SIZES},
        "archive": vault.store_archive(purpose="export", data=data_of(20)),
        "field": vault.seal_field(**cell, text="Anna Ärmel").hex(),
        "bytes": vault.seal_bytes(purpose="model", data=data_of(20)).hex(),
        "index": vault.blind_index("e-mail", "anna@example.org").hex(),
        "public_keys": {purpose: vault.public_key(purpose).hex() for purpose in ("log", "export")},
        "signature": vault.sign("log", b"golden").hex(),
    }


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()  # never over files that are there
    vault, code = create_vault(folder, passphrase=PASSPHRASE, key_file=folder / "key-file")
    text = json.dumps(describe(vault, code), indent=1, ensure_ascii=False)
    (folder / "golden.json").write_text(text + "\n")
    (folder / "keys" / "lock").unlink()


if __name__ == "__main__":
    main()
