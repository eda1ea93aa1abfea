"""The jobs that turn received pictures into redacted ones."""

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from annotator.core.errors import AnnotatorError, Conflict, KeyDestroyed, NotFound
from annotator.domain import consent, jobs
from annotator.domain.ports import Box, Detection, Pixels, SubjectKey, Tools, Vault
from annotator.domain.redaction.rendition import (
    Rendition,
    Undecided,
    examine,
    from_json,
    render,
    without_double,
)
from annotator.domain.redaction.storing import accept, await_review, drop_original
from annotator.models import Dataset, Image

CHUNK = {True: 64, False: 1}  # pictures per transaction: cropped ones are small
CERTAIN = 1.0  # the score of a face that a person drew, or that fills a cropped picture
OUR_FAULT = 500  # errors from this status on are not the picture's
# A person's key may be renewed while their picture is being looked at; then it is looked at again.
ATTEMPTS = 5
RENEWED = "Keys were renewed again and again while this was being done; try again later."


@dataclass(frozen=True, slots=True)
class _Taken:
    """One picture, read in one transaction and worked on outside of it."""

    image_id: int
    cropped: bool
    approve_alone: bool
    subject: str
    key: SubjectKey
    blob: str
    detections: list[Detection]


def process_images(work: jobs.Work, *, images: list[int]) -> dict[str, int]:
    """Job ``intake``: rebuilds, detects, redacts and crops; one bad picture stops no other.

    Idempotent: a picture that has left the state ``received`` is passed over.

    Returns:
        How many pictures are now in which state.
    """
    position = 0
    while position < len(images):
        with work.transaction() as session:
            cropped = session.scalar(select(Image.cropped).where(Image.id == images[position]))
        chunk = images[position : position + CHUNK[bool(cropped)]]
        _process(work, chunk)
        position += len(chunk)
        work.report(position, len(images))
    with work.transaction() as session:
        rows = session.scalars(select(Image.state).where(Image.id.in_(images))).all()
        dataset_id = session.scalar(select(Image.dataset_id).where(Image.id.in_(images)).limit(1))
        if dataset_id is not None and "ready" in rows:
            _announce(session, dataset_id)
    return {state: rows.count(state) for state in sorted(set(rows))}


def _process(work: jobs.Work, chunk: list[int]) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        with work.transaction() as session:
            taken = [_take(session, work.tools.vault, image_id, "received") for image_id in chunk]
        looked = [
            (item, _look(work.tools, item, last=attempt == ATTEMPTS)) for item in taken if item
        ]
        with work.transaction() as session:
            chunk = [
                item.image_id
                for item, result in looked
                if not _write(session, item, result, "received", "worker")
            ]
        if not chunk:
            return
    raise Conflict(RENEWED)


def redact_image(
    work: jobs.Work,
    *,
    image_id: int,
    by: int,
    keep: int | None = None,
    box: list[float] | None = None,
) -> None:
    """Job ``redact``: finishes a picture that a person decided on.

    Idempotent: a picture that has left the state ``approved`` is passed over.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with work.transaction() as session:
            taken = _take(session, work.tools.vault, image_id, "approved")
        if taken is None:
            return
        try:
            rendition = _decide(work.tools, taken, keep, box)
        except (KeyDestroyed, NotFound):
            if attempt == ATTEMPTS:
                raise
            continue
        with work.transaction() as session:
            if not _write(session, taken, rendition, "approved", f"user-{by}"):
                continue
            dataset_id = session.scalar(select(Image.dataset_id).where(Image.id == image_id))
            if dataset_id is not None:
                _announce(session, dataset_id)
        return
    raise Conflict(RENEWED)


def _decide(tools: Tools, taken: _Taken, keep: int | None, box: list[float] | None) -> Rendition:
    faces = list(taken.detections)
    if box is not None:
        x, y, width, height = box
        drawn = Detection((x, y, width, height), (), CERTAIN)
        faces = [*without_double(faces, drawn), drawn]
        keep = len(faces) - 1
    pixels = _open_sanitised(tools, taken)
    return render(
        tools,
        subject=taken.subject,
        key=taken.key,
        pixels=pixels,
        faces=faces,
        keep=keep or 0,
    )


def _announce(session: Session, dataset_id: int) -> None:
    """Faces are ready: somebody may label them, and where it is allowed the model looks at them."""
    forbidden = consent.inference_forbidden(session) is not None
    for kind in ("tasks",) if forbidden else ("tasks", "predict"):
        jobs.enqueue(
            session, kind=kind, arguments={"dataset_id": dataset_id}, dataset_id=dataset_id
        )


def _take(session: Session, vault: Vault, image_id: int, state: str) -> _Taken | None:
    image = session.get(Image, image_id)
    if image is None or image.state != state or image.original_blob is None:
        return None
    if consent.allowed(session, subject=image.subject, purpose="store") is None:
        image.state, image.error = "failed", "The person does not consent to 'store' any more."
        drop_original(session, image=image)
        return None
    return _Taken(
        image_id=image.id,
        cropped=image.cropped,
        approve_alone=session.get_one(Dataset, image.dataset_id).approve_alone,
        subject=image.subject.uid,
        key=consent.key_of(vault, image.subject),
        blob=image.original_blob,
        detections=[from_json(item) for item in image.detections or []],
    )


def _look(tools: Tools, taken: _Taken, *, last: bool) -> Rendition | Undecided | str | None:
    """Everything with pixels in it.

    Returns:
        A sentence when the picture cannot be used; nothing when its key or its blob were replaced
        since it was taken, which is not the picture's fault.
    """
    try:
        data = tools.vault.open_blob(
            subject=taken.subject, key=taken.key, blob=taken.blob, kind="original"
        )
        pixels = tools.imaging.decode(data)
        if taken.cropped:
            return _keep_whole(tools, taken, pixels)
        return examine(
            tools,
            subject=taken.subject,
            key=taken.key,
            pixels=pixels,
            approve_alone=taken.approve_alone,
        )
    except KeyDestroyed:
        return None
    except AnnotatorError as error:
        if isinstance(error, NotFound) and not last:
            return None
        if error.status >= OUR_FAULT:
            raise
        return error.message


def _open_sanitised(tools: Tools, taken: _Taken) -> Pixels:
    data = tools.vault.open_blob(
        subject=taken.subject, key=taken.key, blob=taken.blob, kind="sanitised"
    )
    return tools.imaging.decode(data)


def _keep_whole(tools: Tools, taken: _Taken, pixels: Pixels) -> Rendition:
    width, height = tools.imaging.size(pixels)
    box: Box = (0.0, 0.0, float(width), float(height))
    whole = Detection(box, (), CERTAIN)
    crop = tools.vault.seal_blob(
        subject=taken.subject, key=taken.key, kind="crop", data=tools.imaging.encode(pixels)
    )
    return Rendition(
        width=width,
        height=height,
        detections=[whole],
        face=whole,
        redacted_blob=None,
        crop_blob=crop,
        quality=tools.imaging.measure(pixels),
    )


def _write(
    session: Session,
    taken: _Taken,
    result: Rendition | Undecided | str | None,
    state: str,
    actor: str,
) -> bool:
    """Writes down what became of a picture; tells whether that is so, or has to be done again."""
    if result is None:
        return False
    image = session.get(Image, taken.image_id)
    if image is None:  # withdrawn meanwhile
        _discard(session, result)
        return True
    if not consent.hold_if_sealing(session, subject=image.subject, key=taken.key):
        _discard(session, result)
        return False
    # Only one worker may move the picture on; whoever comes second finds it moved.
    moved = session.execute(
        update(Image)
        .where(Image.id == taken.image_id, Image.state == state)
        .values(state="review")
        .returning(Image.id)
    ).scalar_one_or_none()
    image = session.get(Image, taken.image_id, populate_existing=True)
    if moved is None or image is None:
        _discard(session, result)
        return True
    if isinstance(result, str):
        image.state, image.error = "failed", result
        drop_original(session, image=image)
    elif isinstance(result, Undecided):
        await_review(session, image=image, found=result)
    else:
        accept(session, image=image, rendition=result, actor=actor)
    return True


def _discard(session: Session, result: Rendition | Undecided | str) -> None:
    """Has blobs deleted that no row will name."""
    if isinstance(result, Undecided):
        blobs = [result.blob]
    elif isinstance(result, Rendition):
        blobs = [blob for blob in (result.redacted_blob, result.crop_blob) if blob is not None]
    else:
        blobs = []
    session.info.setdefault("dead_blobs", []).extend(blobs)
