"""Pictures come in: the upload page, and the list of what came of them."""

from dataclasses import dataclass

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import FileStorage

from annotator.core.errors import AnnotatorError, Conflict, InvalidInput, NotFound
from annotator.domain import consent, datasets, intake, jobs, viewing
from annotator.models import IMAGE_STATES, Dataset, Image, Job, Subject
from annotator.web.api.payload import payload, take
from annotator.web.errors import FIRST_SERVER_ERROR, wants_json
from annotator.web.looks import counted_address
from annotator.web.rendering import may_open, page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox
from annotator.web.uploads import keep_in_memory

blueprint = Blueprint("intake", __name__)
blueprint.record_once(keep_in_memory)
PAGE = 50
CROP = "api.tasks.crop"  # the viewing door


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        file: its name, as the sender called it.
        image: the picture's number when it was taken.
        new: whether it was not here before.
        error: why it was refused, in one sentence.
        refusal: the same as an error, for a door that must answer with it.
    """

    file: str
    image: int | None = None
    new: bool = False
    error: str = ""
    refusal: AnnotatorError | None = None


@blueprint.get("/datasets/<int:dataset_id>/upload")
@requires("curator")
def upload(dataset_id: int) -> ResponseReturnValue:
    """Asks whose pictures they are, and for the pictures."""
    return _upload_page(current_dataset(dataset_id), code=request.args.get("person", ""))


@blueprint.post("/datasets/<int:dataset_id>/upload")
@requires("curator")
def receive(dataset_id: int) -> ResponseReturnValue:
    """Takes files in; the script sends one a request, a plain form all at once."""
    dataset = current_dataset(dataset_id)
    if wants_json():
        outcomes = _take_form(dataset)
        return {"files": [as_json(outcome) for outcome in outcomes]}
    try:
        outcomes = _take_form(dataset)
    except AnnotatorError as error:
        if error.status >= FIRST_SERVER_ERROR:
            raise
        code = request.form.get("subject", "")
        return _upload_page(dataset, code=code, error=error), error.status
    images = [outcome.image for outcome in outcomes if outcome.image is not None]
    job = start_job(dataset, images)
    return page(
        "intake/received.html",
        dataset=dataset,
        outcomes=outcomes,
        images=images,
        refused=[outcome for outcome in outcomes if outcome.error],
        job=job,
    )


@blueprint.post("/datasets/<int:dataset_id>/upload/start")
@requires("curator")
def start(dataset_id: int) -> ResponseReturnValue:
    """Has the worker look at received pictures: those named, or all that nobody looks at."""
    dataset = current_dataset(dataset_id)
    if wants_json():
        images = take(payload(), "images", list)
        if not all(type(image) is int for image in images):
            raise InvalidInput("'images' must be a list of whole numbers.")
        job = start_job(dataset, images)
        return {"job": job.id if job else None}
    job = intake.start_received(db(), dataset=dataset, by=signed_in().id)
    flash("A worker looks at them now." if job else "There is nothing to look at.", "info")
    return redirect(url_for(".pictures", dataset_id=dataset.id), 303)


@blueprint.get("/datasets/<int:dataset_id>/pictures")
@requires("curator")
def pictures(dataset_id: int) -> ResponseReturnValue:
    """What came of every picture, newest first."""
    return _pictures_page(current_dataset(dataset_id), faces=False)


@blueprint.post("/datasets/<int:dataset_id>/pictures")
@requires("curator")
def faces(dataset_id: int) -> ResponseReturnValue:
    """The same with the faces; the log says who looked at how many."""
    return _pictures_page(current_dataset(dataset_id), faces=True)


def _pictures_page(dataset: Dataset, *, faces: bool) -> str:
    state = request.values.get("state", "")
    if state and state not in IMAGE_STATES:
        raise NotFound(f"There is no state '{state}'.")
    before = request.values.get("before", 0, type=int)
    found = intake.list_images(db(), dataset=dataset, state=state, before=before, limit=PAGE + 1)
    images, more = found[:PAGE], None
    if len(found) > PAGE:
        more = url_for(
            ".pictures", dataset_id=dataset.id, state=state or None, before=images[-1].id
        )
    return page(
        "intake/pictures.html",
        dataset=dataset,
        images=images,
        names=intake.open_names(db(), vault=toolbox().vault, images=images),
        counts=datasets.count_images(db(), dataset_id=dataset.id),
        states=IMAGE_STATES,
        state=state,
        before=before,
        next=more,
        stranded=intake.count_stranded(db(), dataset=dataset),
        running=_running(dataset),
        may_look=may_open(signed_in(), CROP),
        crops=_crops(dataset, images) if faces else {},
    )


def _crops(dataset: Dataset, images: list[Image]) -> dict[int, str]:
    """Addresses of the faces that may be looked at, by picture; written into the log."""
    shown = {
        image.id: counted_address(image.face.id)
        for image in images
        if image.face and consent.allowed(db(), subject=image.subject, purpose="label")
    }
    viewing.count_views(
        db(), user=signed_in(), dataset_id=dataset.id, faces=len(shown), page="pictures"
    )
    return shown


def find_subject(dataset: Dataset, text: str) -> Subject:
    """The person that a form or a program names by code or by number.

    Raises:
        InvalidInput: nobody is named.
        NotFound: nobody is called so.
    """
    text = text.strip()
    if not text:
        raise InvalidInput("Say whose pictures these are.")
    subject = consent.find_subject(db(), dataset=dataset, code=text)
    if subject is None and text.isascii() and text.isdigit() and len(text) < len(str(2**63)):
        subject = consent.get_subject(db(), subject_id=int(text))
    if subject is None or subject.dataset_id != dataset.id:
        raise NotFound(
            f"There is no person '{text}' in this dataset: record them and their consent first."
        )
    return subject


def take_files(dataset: Dataset, subject: Subject, *, cropped: bool) -> list[Outcome]:
    """Takes the files of the request in; one bad file stops no other.

    Raises:
        ConsentMissing: the person has not consented to keeping; no file can be taken.
        InvalidInput: there is no file.
    """
    files = [file for file in request.files.getlist("file") if file.filename or file.read(1)]
    if not files:
        raise InvalidInput("Choose at least one picture.")
    consent.require(db(), subject=subject, purpose="store")
    return [_take_file(dataset, subject, file, cropped=cropped) for file in files]


def _take_form(dataset: Dataset) -> list[Outcome]:
    subject = find_subject(dataset, request.form.get("subject", ""))
    return take_files(dataset, subject, cropped="cropped" in request.form)


def _take_file(dataset: Dataset, subject: Subject, file: FileStorage, *, cropped: bool) -> Outcome:
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2][:255]
    file.stream.seek(0)
    try:
        image, fresh = intake.receive_image(
            db(),
            vault=toolbox().vault,
            imaging=toolbox().imaging,
            dataset=dataset,
            subject=subject,
            data=file.read(),
            name=name,
            cropped=cropped,
            by=signed_in().id,
        )
        if not fresh and image.state in {"failed", "rejected"}:
            raise Conflict(f"This picture was here before. {image.error or 'It was rejected.'}")
    except AnnotatorError as error:
        if error.status >= FIRST_SERVER_ERROR:
            raise
        return Outcome(name, error=error.message, refusal=error)
    return Outcome(name, image=image.id, new=fresh)


def as_json(outcome: Outcome) -> dict[str, str | int | bool]:
    """What a program is told about one file."""
    if outcome.error or outcome.image is None:
        return {"file": outcome.file, "error": outcome.error}
    return {"file": outcome.file, "id": outcome.image, "new": outcome.new}


def start_job(dataset: Dataset, images: list[int]) -> Job | None:
    """Has the worker look at pictures that came in."""
    return intake.start_received(db(), dataset=dataset, images=images, by=signed_in().id)


def _upload_page(dataset: Dataset, *, code: str, error: AnnotatorError | None = None) -> str:
    return page(
        "intake/upload.html",
        dataset=dataset,
        code=code,
        error=error,
        people=datasets.count_subjects(db(), dataset_id=dataset.id)["present"],
        codes=consent.suggest_codes(db(), dataset=dataset, text=""),
        limit_mb=toolbox().settings.max_upload_mb,
    )


def _running(dataset: Dataset) -> list[Job]:
    newest = jobs.list_jobs(db(), dataset_ids=[dataset.id], limit=20)
    return [job for job in newest if job.kind == "intake" and job.state in {"queued", "running"}]
