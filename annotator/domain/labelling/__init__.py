"""Labelling: faces are lent to people, and people vote on them.

A vote is one person's opinion, not a verdict. ``k`` different people vote on a face without seeing
each other's votes; nobody gets a face twice.
"""

from annotator.domain.labelling.lending import (
    MAX_LEASES,
    Leased,
    Prelabel,
    lease_tasks,
    lend_back,
    list_held,
)
from annotator.domain.labelling.opening import open_tasks
from annotator.domain.labelling.sweeping import (
    Theme,
    lend_to_focus,
    list_page,
    sweep_page,
    take_back_page,
)
from annotator.domain.labelling.tasks import (
    Own,
    count_own,
    get_task,
    import_votes,
    open_task,
    review,
)
from annotator.domain.labelling.voting import annotate, skip, take_back, unskip

__all__ = [
    "MAX_LEASES",
    "Leased",
    "Own",
    "Prelabel",
    "Theme",
    "annotate",
    "count_own",
    "get_task",
    "import_votes",
    "lease_tasks",
    "lend_back",
    "lend_to_focus",
    "list_held",
    "list_page",
    "open_task",
    "open_tasks",
    "review",
    "skip",
    "sweep_page",
    "take_back",
    "take_back_page",
    "unskip",
]
