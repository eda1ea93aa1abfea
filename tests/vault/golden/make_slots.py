"""Makes the golden key ring with a slot of every kind. Run once, then kept for ever.

    python tests/vault/golden/make_slots.py tests/vault/golden/slots-1

The secrets in it are for these files alone. Never make them again: they show that a ring with a
KMS slot, labels, a disabled epoch and a second root key still opens as it was first written.
"""

import json
import shlex
import sys
from pathlib import Path

from annotator.vault import Keyholder, collect_ways, create_vault, make_way, open_vault

PASSPHRASE = "golden files, not a secret"
PROGRAM = Path(__file__).parents[1] / "kms_program.py"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()  # never over files that are there
    (folder / "service-key").write_text(bytes(range(32)).hex())
    kms = shlex.join([sys.executable, str(PROGRAM), str(folder / "service-key")])
    create_vault(folder, kms=kms, key_file=folder / "key-file")
    ways = collect_ways(kms=kms, key_file=folder / "key-file")
    code = Keyholder(folder, ways=ways).renew_root()
    holder = Keyholder(folder, ways=ways)
    holder.add_slot(holder.seal_slot(make_way(passphrase=PASSPHRASE)[0], label="Bea Ärmel"))
    vault = open_vault(folder, key_file=folder / "key-file")
    first = vault.create_key("anna")
    ((_, second),) = vault.rotate([("anna", first)])
    holder.set_disabled(1, disabled=True)
    told = {
        "install": vault.install,
        "passphrase": PASSPHRASE,
        "recovery_code": code,
        "public_key": vault.public_key("log").hex(),
        "keys": [
            {"wrapped": key.wrapped.hex(), "epoch": key.epoch, "version": key.version}
            for key in (first, second)
        ],
    }
    text = json.dumps(told, indent=1, ensure_ascii=False)
    (folder / "golden.json").write_text(text + "\n")
    for name in ("keys/lock", "service-key.calls", "service-key.seen"):
        (folder / name).unlink()
    (folder / "blobs").rmdir()


if __name__ == "__main__":
    main()
