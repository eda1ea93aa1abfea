"""The vault: keys, sealed blobs and sealed fields. It knows no tables."""

from annotator.vault.cipher import verify_signature
from annotator.vault.files import copy_file
from annotator.vault.keys import RING_NAME
from annotator.vault.ledger import LEDGER_NAME, Ledger
from annotator.vault.opening import collect_ways, create_vault, make_way, open_vault
from annotator.vault.ring_report import EpochInfo, RingReport, report_ring
from annotator.vault.slots import SlotInfo, WayIn
from annotator.vault.subject_keys import WrappedKey
from annotator.vault.vault import Vault
from annotator.vault.ways import Keyholder

__all__ = [
    "LEDGER_NAME",
    "RING_NAME",
    "EpochInfo",
    "Keyholder",
    "Ledger",
    "RingReport",
    "SlotInfo",
    "Vault",
    "WayIn",
    "WrappedKey",
    "collect_ways",
    "copy_file",
    "create_vault",
    "make_way",
    "open_vault",
    "report_ring",
    "verify_signature",
]
