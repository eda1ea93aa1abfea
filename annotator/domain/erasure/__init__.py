"""Withdrawal: what a person takes back is gone, and what left with it is marked.

The top room of the domain: it knows everything that a person's pictures may have touched.
"""

from annotator.domain.erasure.consequences import Consequences, foresee
from annotator.domain.erasure.keys import renew_epoch
from annotator.domain.erasure.withdrawal import (
    Withdrawal,
    end_use,
    withdraw_purposes,
    withdraw_subject,
)

__all__ = [
    "Consequences",
    "Withdrawal",
    "end_use",
    "foresee",
    "renew_epoch",
    "withdraw_purposes",
    "withdraw_subject",
]
