"""People and their consents from a table (CSV), looked at line by line before anything is kept.

Columns: ``code``, ``name``, ``contact``, ``group``, ``purposes`` (with spaces between),
``expression``, ``expires`` and ``at`` (dates, 2029-11-23), and for minors ``majority`` (the date
from which they speak for themselves), ``party``, ``assent``, ``guardian`` and
``guardian_contact``; ``locale`` names the language of the notice that was read. ``code``,
``purposes``, ``expression`` and ``expires`` are needed; the others may be missing or empty.
"""

import csv
import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import InvalidInput
from annotator.domain.consent.events import check_terms, record_consent
from annotator.domain.consent.gate import check_purposes
from annotator.domain.consent.statements import Statement, check_speaker
from annotator.domain.consent.subjects import create_subject
from annotator.domain.ports import Vault
from annotator.models import Dataset, Notice, Subject

COLUMNS = (
    "code",
    "name",
    "contact",
    "group",
    "purposes",
    "expression",
    "expires",
    "at",
    "majority",
    "party",
    "assent",
    "guardian",
    "guardian_contact",
    "locale",
)
NEEDED = ("code", "purposes", "expression", "expires")
LONGEST = {
    "code": 80,
    "name": 200,
    "contact": 300,
    "group": 80,
    "guardian": 200,
    "guardian_contact": 300,
    "locale": 16,
}
MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line that can be recorded."""

    line: int
    code: str
    name: str
    contact: str
    group: str
    purposes: tuple[str, ...]
    expression: str
    expires_at: dt.datetime
    at: dt.datetime
    majority_at: dt.datetime | None
    guardian: str
    guardian_contact: str
    statement: Statement


@dataclass(frozen=True, slots=True)
class Refusal:
    """One line that cannot, and why."""

    line: int
    code: str
    reason: str


def read_table(
    session: Session, *, dataset: Dataset, notice: Notice, data: bytes
) -> tuple[list[Row], list[Refusal]]:
    """Reads a table and changes nothing.

    Args:
        session: the open transaction.
        dataset: where the people would go.
        notice: what they were told.
        data: CSV in UTF-8, with commas or semicolons.

    Returns:
        The lines that can be recorded, and those that are refused.

    Raises:
        InvalidInput: not a table at all: not UTF-8, no header, needed columns missing, too long.
    """
    reader = _open(data)
    known = set(session.scalars(select(Subject.code).where(Subject.dataset_id == dataset.id)))
    rows: list[Row] = []
    refused: list[Refusal] = []
    try:
        for cells in reader:
            if not any(isinstance(cell, str) and cell.strip() for cell in cells.values()):
                continue
            line, code = reader.line_num, (cells.get("code") or "").strip()
            try:
                row = _read(line, cells, notice)
                _check_new(row.code, known)
            except InvalidInput as error:
                refused.append(Refusal(line, code, error.message))
                continue
            known.add(row.code)
            rows.append(row)
            if len(rows) + len(refused) > MOST_ROWS:
                raise InvalidInput(f"A table may have {MOST_ROWS:,} lines; split this one.")
    except csv.Error as error:
        raise InvalidInput(f"Line {reader.line_num + 1} cannot be read as CSV.") from error
    if not rows and not refused:
        raise InvalidInput("The table has a header but no lines.")
    return rows, refused


def record_rows(
    session: Session,
    *,
    vault: Vault,
    dataset: Dataset,
    notice: Notice,
    rows: Sequence[Row],
    by: int | None = None,
) -> list[Subject]:
    """Records people and consents that ``read_table`` found good."""
    people = []
    for row in rows:
        subject = create_subject(
            session,
            vault=vault,
            dataset=dataset,
            code=row.code,
            name=row.name,
            contact=row.contact,
            group=row.group,
            majority_at=row.majority_at,
            guardian_name=row.guardian,
            guardian_contact=row.guardian_contact,
            by=by,
        )
        record_consent(
            session,
            subject=subject,
            purposes=row.purposes,
            notice=notice,
            expression=row.expression,
            expires_at=row.expires_at,
            at=row.at,
            by=by,
            statement=row.statement,
        )
        people.append(subject)
    return people


def _open(data: bytes) -> "csv.DictReader[str]":
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("The table is not text in UTF-8; save it as CSV UTF-8.") from error
    first = text.partition("\n")[0]
    if not first.strip():
        raise InvalidInput("The table is empty.")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise InvalidInput("The first line cannot be read as CSV.") from error
    reader.fieldnames = names
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise InvalidInput(f"The first line must name the columns; missing: {', '.join(missing)}.")
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        raise InvalidInput(f"There is no column '{unknown[0]}'; there are {', '.join(COLUMNS)}.")
    return reader


def _read(line: int, cells: dict[str, str], notice: Notice) -> Row:
    if None in cells or any(value is None for value in cells.values()):
        raise InvalidInput("The line has more or fewer cells than the first line.")
    text = {name: (cells.get(name) or "").strip() for name in COLUMNS}
    if not text["code"]:
        raise InvalidInput("The code is missing.")
    for name, longest in LONGEST.items():
        if len(text[name]) > longest:
            raise InvalidInput(f"The {name} is longer than {longest} characters.")
    purposes = tuple(dict.fromkeys(text["purposes"].split()))
    check_purposes(purposes)
    if not purposes:
        raise InvalidInput("No purpose is named.")
    at = _date(text["at"], "at") if text["at"] else now()
    expires_at = _date(text["expires"], "expires")
    check_terms(
        purposes=purposes,
        notice=notice,
        expression=text["expression"],
        at=at,
        expires_at=expires_at,
    )
    majority_at = _date(text["majority"], "majority") if text["majority"] else None
    said = Statement(
        party=text["party"] or "subject", assent=text["assent"] or None, locale=text["locale"]
    )
    check_speaker(subject=Subject(majority_at=majority_at), statement=said, at=at)
    return Row(
        line=line,
        code=text["code"],
        name=text["name"],
        contact=text["contact"],
        group=text["group"],
        purposes=purposes,
        expression=text["expression"],
        expires_at=expires_at,
        at=at,
        majority_at=majority_at,
        guardian=text["guardian"],
        guardian_contact=text["guardian_contact"],
        statement=said,
    )


def _check_new(code: str, known: set[str]) -> None:
    if code in known:
        raise InvalidInput(f"'{code}' is in this dataset already, or twice in the table.")


def _date(text: str, column: str) -> dt.datetime:
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"'{text}' in '{column}' is not a date like 2029-11-23.") from error
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
