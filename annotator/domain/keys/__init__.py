"""Keys of people: how many there are, and a new one for one person.

Keys of the installation (ways in, root key, epochs) are the vault's own; everybody's keys are
wrapped anew by ``erasure.renew_epoch``.
"""

from annotator.domain.keys.counting import KeyCount, Unfinished, count_keys, count_unfinished
from annotator.domain.keys.rekeying import rekey_subject, start_rekeying
from annotator.domain.keys.renewing import start_renewal

__all__ = [
    "KeyCount",
    "Unfinished",
    "count_keys",
    "count_unfinished",
    "rekey_subject",
    "start_rekeying",
    "start_renewal",
]
