"""Bulk import: a folder or a ZIP of pictures, a table of people, a table of votes.

Run twice, the result is the same: known people, pictures and votes are passed over. Nothing is
kept of a line or a file that is refused, and each refusal has its sentence.
"""

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.emotions import LABEL_NAMES
from annotator.core.errors import AnnotatorError, InvalidInput
from annotator.domain import consent, intake, labelling
from annotator.domain.ports import Imaging, Vault
from annotator.models import Dataset, Face, Image, Subject

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
MOST_FILES = 1_000_000
MOST_BYTES = 50 * 10**6  # of one picture
MOST_RATIO = 200  # a ZIP member that shrinks more than this is a bomb
MOST_VOTES = 10
# What the standard library raises for a ZIP that is damaged, locked, or packed in an unknown way.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One picture to import: its name below the source, whose it is, and votes it already has."""

    name: str
    code: str
    votes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """One file or line that is not imported, and why."""

    name: str
    reason: str


@dataclass(slots=True)
class Plan:
    """What an import would do."""

    pictures: list[Planned] = field(default_factory=list)
    people: list[consent.Row] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


class Source:
    """Pictures in a folder or a ZIP, by their names relative to it.

    Args:
        path: a folder, or a file that ends in ``.zip``.

    Raises:
        InvalidInput: neither, or a ZIP that is damaged or hostile.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path if path.is_dir() else None
        self._zip = None
        if self._folder is None:
            if path.suffix.lower() != ".zip" or not path.is_file():
                raise InvalidInput(f"'{path}' is neither a folder nor a ZIP file.")
            try:
                self._zip = zipfile.ZipFile(path)
            except _UNREADABLE as error:
                raise InvalidInput(f"'{path}' is not a ZIP file that can be read.") from error

    def names(self) -> Iterator[str]:
        """Every file in it, sorted."""
        if self._folder is not None:
            root = self._folder
            found = (p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
            yield from sorted(p.relative_to(root).as_posix() for p in found)
        elif self._zip is not None:
            yield from sorted(i.filename for i in self._zip.infolist() if not i.is_dir())

    def read(self, name: str) -> bytes:
        """One file's bytes.

        Raises:
            InvalidInput: too large, packed like a bomb, or not readable.
        """
        if self._folder is not None:
            path = self._folder / name
            try:
                data = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
            except OSError as error:
                raise InvalidInput("The file cannot be read.") from error
            if data is None:
                raise InvalidInput(f"The file is larger than {MOST_BYTES // 10**6} MB.")
            return data
        assert self._zip is not None
        info = self._zip.getinfo(name)
        packed = max(info.compress_size, 1)
        if info.file_size > MOST_BYTES or info.file_size / packed > MOST_RATIO:
            raise InvalidInput("The file in the ZIP is too large or packed like a bomb.")
        try:
            with self._zip.open(info) as member:
                return member.read(MOST_BYTES)
        except _UNREADABLE as error:
            raise InvalidInput("The file in the ZIP is damaged or has a password.") from error


def plan_import(
    session: Session,
    *,
    dataset: Dataset,
    source: Source,
    subjects: bytes | None = None,
    votes: bytes | None = None,
) -> Plan:
    """Looks at everything and changes nothing.

    Args:
        session: the open transaction.
        dataset: where it goes.
        source: the pictures.
        subjects: a table of people (see ``consent.read_table``); with a ``file`` column it also
            says whose each picture is. Without that column a picture's folder names its person.
        votes: a table with ``file`` and either a count for each label, as FER+ has it, or columns
            ``vote_1``, ``vote_2``, ... with a label each.

    Raises:
        InvalidInput: a table that is none.
    """
    plan = Plan()
    owners: Mapping[str, str] = {}
    if subjects is not None:
        owners = _plan_people(session, dataset, subjects, plan)
    given = read_votes(votes) if votes is not None else {}
    known = set(session.scalars(select(Subject.code).where(Subject.dataset_id == dataset.id)))
    known |= {row.code for row in plan.people}
    for number, name in enumerate(source.names()):
        if number >= MOST_FILES:
            raise InvalidInput(f"One import takes {MOST_FILES:,} files at most; split this one.")
        if not name.lower().endswith(ENDINGS):
            continue
        code = owners.get(name) or PurePosixPath(name).parent.name
        if code in known:
            plan.pictures.append(Planned(name, code, given.get(name, ())))
        else:
            plan.refused.append(Refused(name, _unknown_person(code)))
    return plan


def record_people(
    session: Session, *, vault: Vault, dataset: Dataset, rows: Sequence[consent.Row]
) -> None:
    """Records the people of a plan, with their consents to the notice in force."""
    notice = consent.current_notice(session, dataset=dataset)
    consent.record_rows(session, vault=vault, dataset=dataset, notice=notice, rows=rows)


def receive_pictures(
    session: Session,
    *,
    vault: Vault,
    imaging: Imaging,
    dataset: Dataset,
    source: Source,
    pictures: Sequence[Planned],
    cropped: bool,
) -> tuple[list[tuple[Planned, Image]], list[Refused]]:
    """Takes a batch in; a bad file stops no other.

    Returns:
        The pictures that are in (known ones too), and those that were refused.
    """
    people = {
        subject.code: subject
        for subject in session.scalars(
            select(Subject).where(
                Subject.dataset_id == dataset.id, Subject.code.in_({p.code for p in pictures})
            )
        )
    }
    taken, refused = [], []
    for picture in pictures:
        try:
            image, _ = intake.receive_image(
                session,
                vault=vault,
                imaging=imaging,
                dataset=dataset,
                subject=people[picture.code],
                data=source.read(picture.name),
                # A name in an old encoding holds what UTF-8 cannot say.
                name=PurePosixPath(picture.name).name.encode("utf-8", "replace").decode(),
                cropped=cropped,
            )
        except AnnotatorError as error:
            if error.status >= 500:  # noqa: PLR2004 - ours, and the rest would fail as well
                raise
            refused.append(Refused(picture.name, error.message))
        else:
            taken.append((picture, image))
    return taken, refused


def record_votes(
    session: Session, *, dataset: Dataset, votes: Iterable[tuple[int, Sequence[str]]]
) -> int:
    """Adds imported votes to faces that are ready, by picture id; returns how many were new."""
    count = 0
    for image_id, labels in votes:
        face = session.scalar(select(Face).where(Face.image_id == image_id))
        if face is not None and labels:
            task = labelling.open_task(session, face=face, dataset=dataset)
            count += labelling.import_votes(session, task=task, votes=labels)
    return count


def list_failed(session: Session, *, images: Sequence[int]) -> list[Image]:
    """Those of some pictures that could not be used; ``error`` says why."""
    wanted = set(images)
    rows = session.scalars(select(Image).where(Image.state == "failed").order_by(Image.id))
    return [image for image in rows if image.id in wanted]


def read_votes(data: bytes) -> dict[str, tuple[str, ...]]:
    """Reads a table of votes.

    Returns:
        For each file its votes, one label a rater.

    Raises:
        InvalidInput: not such a table; the sentence names the line.
    """
    reader = _open(data, "votes")
    columns = reader.fieldnames or []
    singles = [column for column in columns if column.startswith("vote_")]
    counts = [column for column in columns if column in LABEL_NAMES]
    if "file" not in columns or not (singles or counts):
        raise InvalidInput(
            "The table of votes needs a column 'file' and either a column for each label "
            "(counts) or columns 'vote_1', 'vote_2', ... (labels)."
        )
    votes = {}
    for line, cells in _lines(reader, "votes"):
        labels = (
            [(cells[column] or "").strip() for column in singles]
            if singles
            else list(_spread(cells, counts, line))
        )
        if len(labels) > MOST_VOTES or not set(labels) - {""} <= set(LABEL_NAMES):
            raise InvalidInput(f"Line {line} of the votes is not understood.")
        votes[(cells["file"] or "").strip()] = tuple(labels)
    return votes


def _spread(cells: Mapping[str, str], counts: Sequence[str], line: int) -> Iterator[str]:
    for column in counts:
        text = (cells[column] or "0").strip()
        if not (text.isascii() and text.isdigit()):
            raise InvalidInput(f"Line {line} of the votes: '{column}' must be a whole number.")
        yield from [column] * min(int(text), MOST_VOTES + 1)


def _plan_people(session: Session, dataset: Dataset, table: bytes, plan: Plan) -> Mapping[str, str]:
    """People who are not known yet go into the plan; returns whose each file is."""
    owners: dict[str, str] = {}
    for line, cells in _lines(_open(table, "people"), "people"):
        name, code = (_cell(cells, column) for column in ("file", "code"))
        if name and owners.setdefault(name, code) != code:
            raise InvalidInput(f"Line {line} of the people gives '{name}' to a second person.")
    notice = consent.current_notice(session, dataset=dataset)
    known = set(session.scalars(select(Subject.code).where(Subject.dataset_id == dataset.id)))
    fresh = _without_known(table, known)
    if fresh is not None:
        plan.people, refused = consent.read_table(
            session, dataset=dataset, notice=notice, data=fresh
        )
        plan.refused += [Refused(f"line {r.line} ({r.code})", r.reason) for r in refused]
    return owners


def _without_known(table: bytes, known: set[str]) -> bytes | None:
    """The table without known people and repeats, each line at its number; or ``None``.

    A person may have a line for each file; one that says something else about them stays in, and
    is refused as a second line of the same person.
    """
    reader = _open(table, "people")
    columns = [column for column in reader.fieldnames or [] if column != "file"]
    kept, height = _as_line(columns), 1
    first: dict[str, dict[str, str]] = {}
    passed_over = False
    for line, cells in _lines(reader, "people"):
        code = _cell(cells, "code")
        earlier = first.setdefault(code, cells) if code else cells
        if code in known or (earlier is not cells and _repeats(cells, earlier)):
            passed_over = True
        elif any(_cell(cells, column) for column in columns):
            text = _as_line([c for column in columns if (c := cells[column]) is not None], cells)
            kept += "\n" * (line - height - text.count("\n")) + text
            height = line
    return None if passed_over and height == 1 else kept.encode()


def _repeats(cells: Mapping[str, str], earlier: Mapping[str, str]) -> bool:
    return None not in cells and all(
        _cell(cells, column) in {"", _cell(earlier, column)} for column in cells if column != "file"
    )


def _as_line(row: Sequence[str], cells: Mapping[Any, Any] | None = None) -> str:
    """One line of CSV; what ``cells`` has beyond the header comes last, so that it is refused."""
    out = io.StringIO()
    surplus = (cells or {}).get(None) or ()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow([*row, *surplus])
    return out.getvalue()


def _open(data: bytes, what: str) -> "csv.DictReader[str]":
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The table of {what} is not UTF-8 text.") from error
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise InvalidInput(f"The first line of the {what} cannot be read as CSV.") from error
    return reader


def _lines(reader: "csv.DictReader[str]", what: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InvalidInput(
            f"Line {reader.line_num + 1} of the {what} cannot be read as CSV."
        ) from error


def _cell(cells: Mapping[str, str], column: str) -> str:
    return (cells.get(column) or "").strip()


def _unknown_person(code: str) -> str:
    if not code:
        return (
            "Whose picture is it? Put it into a folder named like the person's code, or give "
            "--subjects with a column 'file'."
        )
    return f"There is no person '{code}' in this dataset; add them with --subjects or in the app."
