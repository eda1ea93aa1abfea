"""The only door through which a screen gets pixels.

Opening a crop writes nothing, so that a page of sixty is sixty reads; the log counts views when
faces are lent (``faces.lent``), when a page of faces is made up for a reviewer, and when a reviewer
asks for a crop that is on no such page (``faces.shown``).
"""

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from annotator.core.errors import Forbidden, KeyDestroyed, NotFound
from annotator.domain import accounts, audit, consent
from annotator.domain.ports import Vault
from annotator.models import Annotation, Face, Image, Lease, Subject, Task, User


def open_crop(
    session: Session, *, vault: Vault, face_id: int, user: User, purpose: str = "label"
) -> bytes:
    """Opens the crop of one face for one signed-in person.

    Args:
        session: the open transaction; it reads only.
        vault: opens the blob.
        face_id: whose face.
        user: who looks. They hold a lease on the face, have voted on it or skipped it, or are
            reviewers or more.
        purpose: what the subject must have agreed to.

    Returns:
        The PNG's bytes.

    Raises:
        NotFound: no such face, or not for this person.
        Forbidden: the face was never lent to them.
        ConsentMissing: the gate said no.
        KeyDestroyed: the subject withdrew.
    """
    face = _find_face(session, face_id=face_id, user=user, purpose=purpose)
    try:
        return _open(vault, face.subject, face.crop_blob, "crop")
    except (KeyDestroyed, NotFound) as gone:
        # Keys may have been renewed since this transaction began to read: then its row is too old.
        with Session(session.get_bind()) as fresh:
            try:
                face = _find_face(fresh, face_id=face_id, user=user, purpose=purpose)
            except NotFound:
                raise gone from None
            return _open(vault, face.subject, face.crop_blob, "crop")


def _find_face(session: Session, *, face_id: int, user: User, purpose: str) -> Face:
    """The face, with its person; asks every time who looks and what was agreed to."""
    face = session.scalar(
        select(Face).where(Face.id == face_id).options(joinedload(Face.subject, innerjoin=True))
    )
    if face is None or not accounts.is_member(session, user=user, dataset_id=face.dataset_id):
        raise NotFound("There is no such face.")
    if not accounts.has_role(user, "reviewer") and not is_lent(session, face_id=face.id, user=user):
        raise Forbidden("This face was not lent to you.")
    consent.require(session, subject=face.subject, purpose=purpose)
    return face


def _open(vault: Vault, subject: Subject, blob: str, kind: str) -> bytes:
    key = consent.key_of(vault, subject)
    return vault.open_blob(subject=subject.uid, key=key, blob=blob, kind=kind)


def open_own(
    session: Session, *, vault: Vault, subject: Subject, image: Image, part: str = "crop"
) -> bytes | None:
    """Opens something of one of their own pictures for the person in it.

    Args:
        session: the open transaction; it reads only.
        vault: opens the blob.
        subject: who looks, and whose picture it must be.
        image: which picture.
        part: ``crop`` (the face) or ``redacted`` (the picture with everybody else covered). What
            was not redacted yet is shown to nobody: others may be in it.

    Returns:
        The file's bytes, or ``None`` when the picture has no such part (yet).

    Raises:
        NotFound: it is somebody else's picture.
        ConsentMissing: the gate said no: without ``store`` nobody opens a picture.
        KeyDestroyed: they withdrew.
    """
    if image.subject_id != subject.id:
        raise NotFound("There is no such picture.")
    try:
        return _open_part(session, vault, subject, image, part)
    except (KeyDestroyed, NotFound):  # as in ``open_crop``
        with Session(session.get_bind()) as fresh:
            found, theirs = fresh.get(Image, image.id), fresh.get(Subject, subject.id)
            if found is None or theirs is None:
                raise
            return _open_part(fresh, vault, theirs, found, part)


def _open_part(
    session: Session, vault: Vault, subject: Subject, image: Image, part: str
) -> bytes | None:
    consent.require(session, subject=subject, purpose="store")
    crop = image.face.crop_blob if image.face else None
    blob = {"crop": crop, "redacted": image.redacted_blob}[part]
    return None if blob is None else _open(vault, subject, blob, part)


def count_views(session: Session, *, user: User, dataset_id: int, faces: int, page: str) -> None:
    """Writes into the log that a page showed a person some faces that were not lent to them.

    Args:
        session: the open transaction; it writes.
        user: who looks.
        dataset_id: whose faces.
        faces: how many the page shows.
        page: which page.
    """
    if faces:
        actor = audit.actor_of(user.id)
        audit.append(
            session, action="faces.shown", actor=actor, dataset=dataset_id, faces=faces, page=page
        )


def count_own_views(session: Session, *, subject: Subject, faces: int) -> None:
    """Writes into the log that a person was shown their own pictures."""
    audit.append(session, action="faces.shown", actor="subject", subject=subject, faces=faces)


def count_look(session: Session, *, user: User, face_id: int) -> None:
    """Writes into the log that a person looked at one face that no page and no lease counted."""
    face = session.get_one(Face, face_id)
    count_views(session, user=user, dataset_id=face.dataset_id, faces=1, page="crop")


def is_lent(session: Session, *, face_id: int, user: User) -> bool:
    """Whether a face was lent to a person, which the log counted then."""
    # A skip leaves the lease's row behind, and so does a lease that ran out.
    task = select(Task.id).where(Task.face_id == face_id).scalar_subquery()
    lent = select(Lease.id).where(Lease.task_id == task, Lease.user_id == user.id)
    voted = select(Annotation.id).where(
        Annotation.task_id == task,
        Annotation.rater == str(user.id),
        Annotation.taken_back_at.is_(None),
    )
    return session.scalar(select(lent.exists() | voted.exists())) or False
