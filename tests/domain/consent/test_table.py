import pytest
from sqlalchemy.orm import Session

from annotator.core.errors import InvalidInput
from annotator.domain import consent
from annotator.models import Dataset
from tests.factories import make_dataset, make_subject
from tests.fakes import FakeVault

HEADER = "code,purposes,expression,expires,at\n"
GOOD = "P-1,store train,paper,2029-01-01,2026-01-01\n"


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session)


def read(session: Session, dataset: Dataset, data: str | bytes) -> tuple[list, list]:
    notice = consent.current_notice(session, dataset=dataset)
    raw = data.encode() if isinstance(data, str) else data
    return consent.read_table(session, dataset=dataset, notice=notice, data=raw)


def test_a_good_table_is_recorded(session: Session, dataset: Dataset, vault: FakeVault) -> None:
    rows, refused = read(session, dataset, HEADER + GOOD)
    assert refused == []
    notice = consent.current_notice(session, dataset=dataset)
    (subject,) = consent.record_rows(
        session, vault=vault, dataset=dataset, notice=notice, rows=rows
    )
    assert subject.code == "P-1"
    assert set(consent.given_purposes(session, subject=subject)) == {"store", "train"}


def test_semicolons_capitals_and_a_byte_order_mark_are_read(
    session: Session, dataset: Dataset
) -> None:
    table = "\ufeffCode; Purposes;expression;EXPIRES\r\nP-1;store;ticked;2029-01-01\r\n\r\n"
    rows, refused = read(session, dataset, table)
    assert [row.code for row in rows] == ["P-1"]
    assert refused == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",store,paper,2029-01-01,", "The code is missing."),
        ("P-2,,paper,2029-01-01,", "No purpose is named."),
        ("P-2,dance,paper,2029-01-01,", "There is no purpose 'dance'"),
        ("P-2,store,shrug,2029-01-01,", "Consent is expressed as one of"),
        ("P-2,store,paper,,", "is not a date"),
        ("P-2,store,paper,2029-13-01,", "is not a date"),
        ("P-2,store,paper,2025-01-01,2026-01-01", "Consent must end after it begins"),
        ("P-2,store,paper,2999-01-01,", "within 10 years"),
        ("P-2,store,paper,2999-01-01,2998-01-01", "in the future"),
        ("P-2,store,paper,2029-01-01,,more", "more or fewer cells"),
        ("P-2,store", "more or fewer cells"),
        ("P-1,store,paper,2029-01-01,", "twice in the table"),
        (f"{'x' * 81},store,paper,2029-01-01,", "longer than 80"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_a_reason(
    session: Session, dataset: Dataset, line: str, reason: str
) -> None:
    rows, (refusal,) = read(session, dataset, HEADER + GOOD + line + "\n")
    assert [row.line for row in rows] == [2]
    assert refusal.line == 3
    assert reason in refusal.reason


def test_a_person_who_is_there_already_is_refused(
    session: Session, dataset: Dataset, vault: FakeVault
) -> None:
    make_subject(session, vault, dataset, code="P-1")
    _, (refusal,) = read(session, dataset, HEADER + GOOD)
    assert "in this dataset already" in refusal.reason


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The table is empty."),
        (b"\xff\xfe\x00c", "not text in UTF-8"),
        ("code,purposes\n", "missing: expression, expires"),
        (HEADER.strip() + ",shoe\n", "There is no column 'shoe'"),
        (HEADER, "no lines"),
        (HEADER + '"P-1', "Line 2 cannot be read"),
    ],
)
def test_what_is_no_table_is_refused_whole(
    session: Session, dataset: Dataset, data: str | bytes, sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read(session, dataset, data)


MINOR = "code,purposes,expression,expires,at,majority,party,assent,guardian,locale\n"


def test_minors_come_with_their_guardian_and_their_own_word(
    session: Session, dataset: Dataset, vault: FakeVault
) -> None:
    line = "M-1,store,paper,2029-01-01,2026-01-01,2080-05-01,guardian,given,Any Parent,de\n"
    rows, refused = read(session, dataset, MINOR + line)
    assert refused == []
    notice = consent.current_notice(session, dataset=dataset)
    (subject,) = consent.record_rows(
        session, vault=vault, dataset=dataset, notice=notice, rows=rows
    )
    (event,) = subject.events
    assert event.statement is not None
    said = (event.party, event.statement.assent, event.statement.locale)
    assert said == ("guardian", "given", "de")
    opened = consent.open_guardian(session, vault=vault, subject=subject, by=1)
    assert opened == ("Any Parent", "")
    assert set(consent.given_purposes(session, subject=subject)) == {"store"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("2080-05-01,subject,,,", "their guardian consents"),
        ("2080-05-01,guardian,,,", "Say what the minor said"),
        ("2080-05-01,guardian,refused,,", "own word is one of"),
        ("2020-05-01,guardian,given,,", "of age by now"),
        (",neighbour,,,", "given by one of"),
        ("soon,guardian,given,,", "is not a date"),
    ],
)
def test_who_may_not_speak_is_refused_with_the_line(
    session: Session, dataset: Dataset, cells: str, reason: str
) -> None:
    table = MINOR + f"M-1,store,paper,2029-01-01,2026-01-01,{cells}\n"
    rows, (refusal,) = read(session, dataset, table)
    assert rows == []
    assert refusal.line == 2
    assert reason in refusal.reason
