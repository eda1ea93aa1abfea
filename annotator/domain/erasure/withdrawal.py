"""Taking consent back: one purpose, some, or everything.

Everything is a key event, not a delete. In one transaction the log is told, the subject's wrapped
keys and every row that came from their face go, what left is marked, and what is still to be
destroyed is written down. From then on nobody needs to ask again: the job ``erase`` does the rest,
after a crash as well; see ``annotator.domain.erasure.steps``.

Votes on a face go with the face: they say how a certain person looked, and no figure needs them
once the picture is gone. The log keeps how many there were.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit, consent, holdings, jobs
from annotator.domain.erasure.consequences import Consequences, foresee
from annotator.domain.erasure.keys import destroy_keys
from annotator.domain.labelling.lending import give_back
from annotator.models import (
    PURPOSES,
    Annotation,
    ClusterMember,
    Erasure,
    ExportItem,
    Face,
    Image,
    Job,
    Lease,
    Prediction,
    RetiredBlob,
    Review,
    Skip,
    Subject,
    Task,
    User,
)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was done.

    Attributes:
        consequences: pictures, votes, exports and models that it touched.
        job: does the rest: deletes what nothing points to and renews everybody else's keys.
        blobs: ids of the sealed bytes that the job deletes.
    """

    consequences: Consequences
    job: Job
    blobs: tuple[str, ...]


def withdraw_subject(
    session: Session,
    *,
    subject: Subject,
    by: User | None,
    actor: str | None = None,
    told: bool = False,
) -> Withdrawal:
    """Takes everything back: afterwards nothing that is left can bring the face back.

    The blobs are deleted by the job, not by whoever commits this: there may be thousands, and a
    crash must not forget one.

    Args:
        session: the open transaction.
        subject: who withdraws.
        by: who recorded it; ``None`` is the command line, or the person themselves.
        actor: how the log names whoever did it; by default what ``by`` says.
        told: the consent events are written already, because consent ended by itself.

    Raises:
        Conflict: they withdrew before.
    """
    _lock(session, subject)
    actor = actor or audit.actor_of(by.id if by else None)
    consequences = foresee(session, subject=subject, purposes=PURPOSES)
    if not told:
        _tell_consent(session, subject, PURPOSES, by, actor)
    # The erasure is the last that the log tells of a person; a receipt of it is checked for that.
    marked = _mark(session, subject, consequences, actor)
    audit.append(
        session,
        action="subject.erased",
        actor=actor,
        subject=subject,
        images=consequences.images,
        votes=consequences.votes,
    )
    epoch = destroy_keys(session, subject=subject)
    subject.sealed_name = subject.sealed_contact = subject.group = None
    subject.sealed_guardian_name = subject.sealed_guardian_contact = subject.majority_at = None
    subject.withdrawn_at = now()
    blobs = [*holdings.list_blobs(session, subject_id=subject.id), *marked]
    _delete_faces(session, subject)
    consent.forget_statements(session, subject=subject)
    job = _begin(session, subject, PURPOSES, blobs=blobs, epoch=epoch, by=by)
    return Withdrawal(consequences, job, tuple(blobs))


def withdraw_purposes(
    session: Session,
    *,
    subject: Subject,
    purposes: Iterable[str],
    by: User | None,
    actor: str | None = None,
    told: bool = False,
) -> Withdrawal:
    """Takes some purposes back, with their effect; ``store`` takes everything back.

    Args:
        session: the open transaction.
        subject: who withdraws.
        purposes: what they take back.
        by: who recorded it; ``None`` is the command line, or the person themselves.
        actor: how the log names whoever did it; by default what ``by`` says.
        told: the consent events are written already, because consent ended by itself.

    Raises:
        InvalidInput: none or an unknown purpose.
        Conflict: they withdrew everything before.
    """
    chosen = tuple(dict.fromkeys(purposes))
    consent.check_purposes(chosen)
    if not chosen:
        raise InvalidInput("Say which purpose is withdrawn.")
    if "store" in chosen:
        return withdraw_subject(session, subject=subject, by=by, actor=actor, told=told)
    _lock(session, subject)
    actor = actor or audit.actor_of(by.id if by else None)
    consequences = foresee(session, subject=subject, purposes=chosen)
    if not told:
        _tell_consent(session, subject, chosen, by, actor)
    if "prelabel" in chosen:
        _delete_guesses(session, subject)
    if "label" in chosen:
        _take_from_people(session, subject)
    blobs = _mark(session, subject, consequences, actor)
    job = _begin(session, subject, chosen, blobs=blobs, epoch=None, by=by)
    return Withdrawal(consequences, job, tuple(blobs))


def _tell_consent(
    session: Session, subject: Subject, purposes: tuple[str, ...], by: User | None, actor: str
) -> None:
    number = by.id if by else None
    consent.withdraw_purposes(session, subject=subject, purposes=purposes, by=number, actor=actor)


def _begin(
    session: Session,
    subject: Subject,
    purposes: tuple[str, ...],
    *,
    blobs: list[str],
    epoch: int | None,
    by: User | None,
) -> Job:
    """Writes down what is still to be destroyed, and wakes a worker for it."""
    erasure = Erasure(
        subject_id=subject.id, purposes=list(purposes), blobs=list(blobs), epoch=epoch
    )
    session.add(erasure)
    session.flush()
    job = jobs.enqueue(
        session,
        kind="erase",
        arguments={"erasure_id": erasure.id},
        created_by=by.id if by else None,
    )
    erasure.job_id = job.id
    return job


def end_use(session: Session, *, subject: Subject) -> None:
    """Takes a person's faces from everybody's sight and forgets what models said of them.

    For a consent to ``store`` that ended: until it is renewed, or everything is erased after the
    dataset's days of grace, nothing is done with the pictures.
    """
    _lock(session, subject)
    _delete_guesses(session, subject)
    _take_from_people(session, subject)


def _lock(session: Session, subject: Subject) -> None:
    """Waits for an export that is just being written down, and keeps the next one waiting."""
    # Rows may still be added that point to theirs, as the log does when it holds its head.
    session.refresh(subject, with_for_update={"key_share": True})
    if subject.withdrawn_at is not None:
        raise Conflict("This person withdrew everything already.")


def _faces(subject: Subject) -> Select[int]:
    return select(Face.id).where(Face.subject_id == subject.id)


def _tasks(subject: Subject) -> Select[int]:
    return select(Task.id).where(Task.face_id.in_(_faces(subject)))


def _delete_faces(session: Session, subject: Subject) -> None:
    """Deletes every row that came from the person's face."""
    session.execute(delete(RetiredBlob).where(RetiredBlob.subject_id == subject.id))
    _delete_guesses(session, subject)
    for table in (Annotation, Lease, Skip, Review):
        session.execute(delete(table).where(table.task_id.in_(_tasks(subject))))
    session.execute(delete(Task).where(Task.face_id.in_(_faces(subject))))
    session.execute(
        update(ExportItem).where(ExportItem.subject_id == subject.id).values(face_id=None)
    )
    session.execute(delete(Face).where(Face.subject_id == subject.id))
    session.execute(delete(Image).where(Image.subject_id == subject.id))
    session.expire_all()


def _delete_guesses(session: Session, subject: Subject) -> None:
    """Deletes what models said about the person: predictions, embeddings, places in clusters.

    What a person who labels was suggested is forgotten on leases and votes, too.
    """
    for table in (Prediction, ClusterMember):
        session.execute(delete(table).where(table.face_id.in_(_faces(subject))))
    for marked in (Lease, Annotation):
        session.execute(
            update(marked)
            .where(marked.task_id.in_(_tasks(subject)))
            .values(prelabel=None, prelabel_probability=None, model_id=None)
        )


def _take_from_people(session: Session, subject: Subject) -> None:
    """Ends the leases on the person's faces at once; the gate lends them to nobody again."""
    held = select(Lease.task_id).where(Lease.held, Lease.task_id.in_(_tasks(subject)))
    task_ids = list(session.scalars(held))
    session.execute(delete(Lease).where(Lease.task_id.in_(_tasks(subject))))
    give_back(session, task_ids=task_ids)


def _mark(session: Session, subject: Subject, consequences: Consequences, actor: str) -> list[str]:
    """Closes exports and marks models; answers the archives that nobody may open any more."""
    moment = now()
    blobs = []
    for export in consequences.exports:
        if export.withdrawn_at is None:
            export.withdrawn_at = moment
            audit.append(
                session,
                action="export.closed",
                actor=actor,
                export=export.id,
                subject=subject,
            )
        if export.sealed_blob is not None:
            blobs.append(export.sealed_blob)
            export.sealed_blob = None
    for model in consequences.models:
        if model.withdrawn_at is None:
            model.withdrawn_at = moment
            audit.append(
                session, action="model.marked", actor=actor, model=model.id, subject=subject
            )
    session.flush()
    return blobs
