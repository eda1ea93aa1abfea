"""Subjects, notices, consent events, and the one gate: ``allowed``.

The gate denies by default. Views, jobs, exporter and trainer all ask it, and nobody reads a pixel
past it.
"""

from annotator.domain.consent.context import (
    FORBIDDEN_CONTEXTS,
    inference_forbidden,
    require_inference,
)
from annotator.domain.consent.events import (
    MAX_YEARS,
    expire_purposes,
    record_consent,
    withdraw_purposes,
)
from annotator.domain.consent.facts import (
    ARTICLES,
    Facts,
    compose_text,
    find_gaps,
    starter,
    words_in,
)
from annotator.domain.consent.gate import (
    GRANTING,
    allowed,
    allowing,
    check_purposes,
    given_purposes,
    require,
)
from annotator.domain.consent.importing import import_record
from annotator.domain.consent.notices import (
    create_notice,
    current_notice,
    current_notices,
    fill_notice,
    list_locales,
    list_notices,
    publish_notice,
)
from annotator.domain.consent.overview import (
    STATES,
    Standing,
    count_holdings,
    count_over_time,
    count_states,
    list_standings,
    standing_of,
)
from annotator.domain.consent.reading import RecordedEvent, read_record
from annotator.domain.consent.record import describe_record, take_record
from annotator.domain.consent.renewals import (
    Due,
    compare_texts,
    list_due,
    list_renewals,
    must_renew,
)
from annotator.domain.consent.statements import (
    LONGEST_NAME,
    LONGEST_NOTE,
    Evidence,
    Statement,
    forget_statements,
    get_statement,
    open_evidence,
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
    open_guardian,
    present_key_of,
    set_guardian,
    suggest_codes,
)
from annotator.domain.consent.table import Refusal, Row, read_table, record_rows
from annotator.domain.consent.wording import WORDS, Words

__all__ = [
    "ARTICLES",
    "FORBIDDEN_CONTEXTS",
    "GRANTING",
    "LONGEST_NAME",
    "LONGEST_NOTE",
    "MAX_YEARS",
    "STATES",
    "WORDS",
    "Due",
    "Evidence",
    "Facts",
    "RecordedEvent",
    "Refusal",
    "Row",
    "Standing",
    "Statement",
    "Words",
    "allowed",
    "allowing",
    "check_purposes",
    "compare_texts",
    "compose_text",
    "count_holdings",
    "count_over_time",
    "count_states",
    "create_notice",
    "create_subject",
    "current_notice",
    "current_notices",
    "describe_record",
    "expire_purposes",
    "fill_notice",
    "find_gaps",
    "find_subject",
    "forget_statements",
    "get_statement",
    "get_subject",
    "given_purposes",
    "hold_if_sealing",
    "hold_key",
    "import_record",
    "inference_forbidden",
    "key_of",
    "list_due",
    "list_locales",
    "list_notices",
    "list_renewals",
    "list_standings",
    "must_renew",
    "next_key_of",
    "open_contact",
    "open_evidence",
    "open_guardian",
    "present_key_of",
    "publish_notice",
    "read_record",
    "read_table",
    "record_consent",
    "record_rows",
    "require",
    "require_inference",
    "set_guardian",
    "standing_of",
    "starter",
    "suggest_codes",
    "take_record",
    "withdraw_purposes",
    "words_in",
]
