"""Copies of a running installation, and making one again from a copy.

A backup holds the database and the sealed blobs. The key ring is copied apart, and such a copy
lives for seven days: then what was erased since cannot come back from it. A restore replays the
erasure ledger before anything opens.
"""

from annotator.domain.backups.manifest import Manifest, read_manifest
from annotator.domain.backups.restoring import (
    Restored,
    check_target,
    note_restore,
    publish_database,
    restore_blobs,
    restore_database,
)
from annotator.domain.backups.ringcopies import (
    KEYS_DAYS,
    RingCopy,
    RingSource,
    find_ring_copy,
)
from annotator.domain.backups.taking import Backup, note_backup, take_backup
from annotator.domain.backups.verifying import check_blobs, check_files

__all__ = [
    "KEYS_DAYS",
    "Backup",
    "Manifest",
    "Restored",
    "RingCopy",
    "RingSource",
    "check_blobs",
    "check_files",
    "check_target",
    "find_ring_copy",
    "note_backup",
    "note_restore",
    "publish_database",
    "read_manifest",
    "restore_blobs",
    "restore_database",
    "take_backup",
]
