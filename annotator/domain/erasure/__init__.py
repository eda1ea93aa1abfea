"""Withdrawal: what a person takes back is gone, and what left with it is marked.

The top room of the domain: it knows everything that a person's pictures may have touched.
"""

from annotator.domain.erasure.consequences import Consequences, foresee
from annotator.domain.erasure.keys import renew_epoch
from annotator.domain.erasure.progress import Pending, list_withdrawals, resume_withdrawals
from annotator.domain.erasure.replay import Replayed, replay_ledger
from annotator.domain.erasure.steps import finish_withdrawal
from annotator.domain.erasure.withdrawal import (
    Withdrawal,
    end_use,
    withdraw_purposes,
    withdraw_subject,
)

__all__ = [
    "Consequences",
    "Pending",
    "Replayed",
    "Withdrawal",
    "end_use",
    "finish_withdrawal",
    "foresee",
    "list_withdrawals",
    "renew_epoch",
    "replay_ledger",
    "resume_withdrawals",
    "withdraw_purposes",
    "withdraw_subject",
]
