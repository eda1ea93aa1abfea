"""The vault: keys, sealed blobs and sealed fields. It knows no tables."""

from annotator.vault.cipher import verify_signature
from annotator.vault.files import copy_file
from annotator.vault.keys import RING_NAME
from annotator.vault.ledger import LEDGER_NAME, Ledger
from annotator.vault.opening import create_vault, open_vault
from annotator.vault.vault import Vault, WrappedKey

__all__ = [
    "LEDGER_NAME",
    "RING_NAME",
    "Ledger",
    "Vault",
    "WrappedKey",
    "copy_file",
    "create_vault",
    "open_vault",
    "verify_signature",
]
