"""The log: what happened, as an RFC 6962 tree, so that no entry can be changed unnoticed."""

from annotator.domain.audit.checkpoints import (
    newest_checkpoint,
    origin_of,
    read_note,
    sign_checkpoint,
    verifier_of,
)
from annotator.domain.audit.entries import (
    VAULT,
    actor_of,
    append,
    canonical,
    commit_to,
    describe,
    entrust,
    find_about,
    list_actions,
    list_entries,
    open_salt,
    place_entries,
)
from annotator.domain.audit.mirroring import (
    Mirrored,
    Standing,
    checkpoint_log,
    mirror_log,
    read_standing,
)
from annotator.domain.audit.tree import (
    Head,
    prove_consistency,
    prove_inclusion,
    read_head,
    root_at,
    source_of,
)
from annotator.domain.audit.verification import Problem, Report, Signed, verify_log

__all__ = [
    "VAULT",
    "Head",
    "Mirrored",
    "Problem",
    "Report",
    "Signed",
    "Standing",
    "actor_of",
    "append",
    "canonical",
    "checkpoint_log",
    "commit_to",
    "describe",
    "entrust",
    "find_about",
    "list_actions",
    "list_entries",
    "mirror_log",
    "newest_checkpoint",
    "open_salt",
    "origin_of",
    "place_entries",
    "prove_consistency",
    "prove_inclusion",
    "read_head",
    "read_note",
    "read_standing",
    "root_at",
    "sign_checkpoint",
    "source_of",
    "verifier_of",
    "verify_log",
]
