"""The camera page: a person takes their own pictures, throws away what they do not like, sends."""

from flask import Blueprint, flash, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import FileStorage

from annotator.core.emotions import EMOTION_NAMES
from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import consent, datasets, intake, invitations
from annotator.models import Image, Subject
from annotator.web.errors import wants_json
from annotator.web.headers import HEADERS
from annotator.web.languages import ngettext
from annotator.web.links import by_link, keep_private, open_link
from annotator.web.rendering import page
from annotator.web.transaction import db, toolbox
from annotator.web.uploads import keep_in_memory

blueprint = Blueprint("capture", __name__)
blueprint.record_once(keep_in_memory)
keep_private(blueprint)
POLICY = HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")


@blueprint.get("/me/<secret>/camera")
@by_link()
def show(secret: str) -> ResponseReturnValue:
    """The camera, and what to show it."""
    subject = open_link(secret, "own").subject
    consent.require(db(), subject=subject, purpose="store")
    body = page(
        "capture/show.html",
        secret=secret,
        dataset=datasets.get_dataset(db(), dataset_id=subject.dataset_id),
        emotions=EMOTION_NAMES,
        limit_mb=toolbox().settings.max_upload_mb,
    )
    response = make_response(body)
    response.headers["Permissions-Policy"] = POLICY  # the one page that may ask for the camera
    return response


@blueprint.post("/me/<secret>/camera")
@by_link()
def receive(secret: str) -> ResponseReturnValue:
    """Takes pictures in; the script sends one a request, a plain form all at once."""
    subject = open_link(secret, "own").subject
    files = [file for file in request.files.getlist("file") if file.filename]
    if not files:
        raise InvalidInput("There is no picture.")
    images = [_take(subject, file) for file in files]
    dataset = datasets.get_dataset(db(), dataset_id=subject.dataset_id)
    intake.start_received(db(), dataset=dataset, images=[image.id for image in images])
    if wants_json():
        return {"received": len(images)}
    flash(
        ngettext("One picture is with us.", "%(number)s pictures are with us.", len(images))
        % {"number": len(images)},
        "success",
    )
    return redirect(url_for("own.show", secret=secret), 303)


def _take(subject: Subject, file: FileStorage) -> Image:
    try:
        image, _ = intake.receive_image(
            db(),
            vault=toolbox().vault,
            imaging=toolbox().imaging,
            dataset=datasets.get_dataset(db(), dataset_id=subject.dataset_id),
            subject=subject,
            data=file.read(),
            name=(file.filename or "").replace("\\", "/").rpartition("/")[2][:255],
            actor=invitations.SUBJECT,
        )
    except Conflict as error:  # its sentence names the other person; that is not theirs to know
        raise InvalidInput("This picture cannot be taken.") from error
    return image
