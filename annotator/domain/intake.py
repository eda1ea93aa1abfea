"""Taking pictures in: consent first, then bytes, sealed before anything looks at them."""

import hashlib
import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, NotFound
from annotator.domain import audit, consent, jobs
from annotator.domain.ports import Imaging, Vault
from annotator.models import Dataset, Image, Job, Subject

HEAD_BYTES = 512  # enough for every magic number
MOST_PER_JOB = 1000  # pictures


def receive_image(
    session: Session,
    *,
    vault: Vault,
    imaging: Imaging,
    dataset: Dataset,
    subject: Subject,
    data: bytes,
    name: str = "",
    cropped: bool = False,
    by: int | None = None,
    actor: str | None = None,
) -> tuple[Image, bool]:
    """Takes one picture in: asks the gate, looks at the first bytes, seals, writes the row.

    Args:
        session: the open transaction.
        vault: seals the bytes under the subject's key.
        imaging: knows magic numbers; nothing is decoded here.
        dataset: where it belongs.
        subject: whose picture it is; of the same dataset.
        data: the file as it came.
        name: the file's name, sealed, for the report.
        cropped: the picture is a face crop already.
        by: who sent it.
        actor: who sent it, for the log, when it was no colleague.

    Returns:
        The row, and whether it is new: the same bytes twice are one picture.

    Raises:
        ConsentMissing: the subject has not consented to ``store``.
        UnsupportedImage: not a JPEG, PNG or WebP.
        Conflict: the same bytes are there already as somebody else's picture.
        NotFound: the subject is of another dataset.
    """
    if subject.dataset_id != dataset.id:
        raise NotFound("There is no such person in this dataset.")
    consent.require(session, subject=subject, purpose="store")
    imaging.sniff(data[:HEAD_BYTES])
    fingerprint = vault.blind_index(f"upload-{dataset.id}", hashlib.sha256(data).digest())
    known = session.scalar(
        select(Image).where(Image.dataset_id == dataset.id, Image.fingerprint == fingerprint)
    )
    if known is not None:
        if known.subject_id != subject.id:
            raise Conflict(f"This picture is here already, as a picture of {known.subject.code}.")
        return known, False
    uid, key = secrets.token_hex(16), consent.hold_key(session, vault=vault, subject=subject)
    image = Image(
        uid=uid,
        dataset_id=dataset.id,
        subject_id=subject.id,
        cropped=cropped,
        fingerprint=fingerprint,
        original_blob=vault.seal_blob(subject=subject.uid, key=key, kind="original", data=data),
        received_by=by,
    )
    if name:
        image.sealed_name = vault.seal_field(
            subject=subject.uid, key=key, table="images", column="name", row=uid, text=name
        )
    session.add(image)
    session.flush()
    audit.append(
        session,
        action="image.received",
        actor=actor or audit.actor_of(by),
        subject=subject,
        dataset=dataset.id,
    )
    return image, True


def start_received(
    session: Session,
    *,
    dataset: Dataset,
    images: Sequence[int] | None = None,
    by: int | None = None,
) -> Job | None:
    """Has the worker look at received pictures that no job is going to look at.

    Asked twice for the same pictures, it answers with the job that has them. A job that still
    waits takes more pictures along, so that many small requests do not become many jobs.

    Args:
        session: the open transaction.
        dataset: where they are.
        images: their ids; all of the dataset when omitted, which picks up an upload that broke
            off. Ids of other datasets and of pictures already looked at are passed over.
        by: who asks.

    Returns:
        The job that will look at them (at the last of them), or ``None`` when nothing is to do.
    """
    query = select(Image.id).where(Image.dataset_id == dataset.id, Image.state == "received")
    wanted = set(session.scalars(query))
    if images is not None:
        wanted &= set(images)
    holder = waiting = None
    for job in _active(session, dataset):
        held = wanted.intersection(job.arguments["images"])
        holder = job if held else holder
        wanted -= held
        if job.state == "queued" and len(job.arguments["images"]) < MOST_PER_JOB:
            waiting = job
    if not wanted:
        return holder
    if waiting is not None:  # the lock keeps workers from taking it meanwhile
        waiting.arguments = {"images": [*waiting.arguments["images"], *sorted(wanted)]}
        session.flush()
        return waiting
    return jobs.enqueue(
        session,
        kind="intake",
        arguments={"images": sorted(wanted)},
        dataset_id=dataset.id,
        created_by=by,
    )


def _active(session: Session, dataset: Dataset) -> Sequence[Job]:
    """Intake jobs that wait or run, locked until the transaction ends."""
    return session.scalars(
        select(Job)
        .where(
            Job.dataset_id == dataset.id,
            Job.kind == "intake",
            Job.state.in_(("queued", "running")),
        )
        .order_by(Job.id)
        .with_for_update()
    ).all()


def count_stranded(session: Session, *, dataset: Dataset) -> int:
    """Received pictures that no job is going to look at: an upload that broke off."""
    received = set(
        session.scalars(
            select(Image.id).where(Image.dataset_id == dataset.id, Image.state == "received")
        )
    )
    if not received:
        return 0
    active = select(Job.arguments).where(
        Job.dataset_id == dataset.id, Job.kind == "intake", Job.state.in_(("queued", "running"))
    )
    for arguments in session.scalars(active):
        received.difference_update(arguments["images"])
    return len(received)


def list_images(
    session: Session, *, dataset: Dataset, state: str = "", before: int = 0, limit: int = 50
) -> list[Image]:
    """Pictures of a dataset, newest first, from behind a cursor; of one state, or all."""
    query = select(Image).where(Image.dataset_id == dataset.id).order_by(Image.id.desc())
    if state:
        query = query.where(Image.state == state)
    if before:
        query = query.where(Image.id < before)
    return list(session.scalars(query.limit(limit)))


def open_names(session: Session, *, vault: Vault, images: Sequence[Image]) -> dict[int, str]:
    """The names that the files of some pictures had, by image id; a withdrawn person's are gone."""
    names = {}
    for image in images:
        subject = image.subject
        allowed = consent.allowed(session, subject=subject, purpose="store")
        if image.sealed_name is None or subject.wrapped_key is None or allowed is None:
            continue
        names[image.id] = vault.open_field(
            subject=subject.uid,
            key=consent.key_of(vault, subject),
            table="images",
            column="name",
            row=image.uid,
            sealed=image.sealed_name,
        )
    return names
