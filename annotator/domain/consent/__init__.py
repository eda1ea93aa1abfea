"""Subjects, notices, consent events, and the one gate: ``allowed``.

The gate denies by default. Views, jobs, exporter and trainer all ask it, and nobody reads a pixel
past it.
"""

from annotator.domain.consent.events import MAX_YEARS, record_consent, withdraw_purposes
from annotator.domain.consent.gate import (
    allowed,
    allowing,
    check_purposes,
    given_purposes,
    require,
)
from annotator.domain.consent.notices import (
    NOTICE,
    create_notice,
    current_notice,
    fill_notice,
    list_notices,
)
from annotator.domain.consent.overview import (
    Standing,
    count_holdings,
    list_standings,
    standing_of,
)
from annotator.domain.consent.subjects import (
    create_subject,
    find_subject,
    get_subject,
    hold_if_sealing,
    hold_key,
    key_of,
    next_key_of,
    open_contact,
    present_key_of,
    suggest_codes,
)
from annotator.domain.consent.table import Refusal, Row, read_table, record_rows

__all__ = [
    "MAX_YEARS",
    "NOTICE",
    "Refusal",
    "Row",
    "Standing",
    "allowed",
    "allowing",
    "check_purposes",
    "count_holdings",
    "create_notice",
    "create_subject",
    "current_notice",
    "fill_notice",
    "find_subject",
    "get_subject",
    "given_purposes",
    "hold_if_sealing",
    "hold_key",
    "key_of",
    "list_notices",
    "list_standings",
    "next_key_of",
    "open_contact",
    "present_key_of",
    "read_table",
    "record_consent",
    "record_rows",
    "require",
    "standing_of",
    "suggest_codes",
    "withdraw_purposes",
]
