"""Pictures that wait for a person to say which face is the subject's."""

import math

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import consent, datasets, redaction
from annotator.domain.ports import Box
from annotator.models import Dataset, Image
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db, toolbox

blueprint = Blueprint("redactions", __name__)
QUEUE = 200  # pictures that one can go through with next and previous
SIDES = ("x", "y", "width", "height")


@blueprint.get("/datasets/<int:dataset_id>/redactions")
@requires("reviewer")
def index(dataset_id: int) -> ResponseReturnValue:
    """One waiting picture, large, with the faces that were found."""
    dataset = current_dataset(dataset_id)
    wanted = request.args.get("image", 0, type=int)
    return _review_page(dataset, wanted)


@blueprint.get("/redactions/<int:image_id>/picture")
@requires("reviewer")
def picture(image_id: int) -> ResponseReturnValue:
    """The waiting picture itself, rebuilt from pixels, for the person who decides."""
    db(writing=True)  # the log keeps who looked
    image = _waiting(image_id)
    data = redaction.open_waiting(db(), vault=toolbox().vault, image=image, by=signed_in().id)
    return Response(data, mimetype="image/png")


@blueprint.post("/redactions/<int:image_id>/approve")
@requires("reviewer")
def approve(image_id: int) -> ResponseReturnValue:
    """Keeps one face; the worker covers everything else and destroys the original."""
    try:
        image = _waiting(image_id)
    except Conflict as error:
        return _decided_already(image_id, error)
    behind = _behind(image)
    try:
        keep, box = _choice()
        redaction.approve(db(), image=image, keep=keep, box=box, by=signed_in().id)
    except InvalidInput as error:
        return _review_page(_dataset(image), image.id, error=error.message), error.status
    flash("That face is kept; a worker covers the rest.", "success")
    return _to_queue(image.dataset_id, behind)


@blueprint.get("/redactions/<int:image_id>/reject")
@requires("reviewer")
def ask_reject(image_id: int) -> ResponseReturnValue:
    """Asks before a picture is destroyed."""
    image = _waiting(image_id)
    return page("redactions/reject.html", dataset=_dataset(image), image=image)


@blueprint.post("/redactions/<int:image_id>/reject")
@requires("reviewer")
def reject(image_id: int) -> ResponseReturnValue:
    """Destroys the picture: the subject is not in it, or nothing of it may be kept."""
    try:
        image = _waiting(image_id)
    except Conflict as error:
        return _decided_already(image_id, error)
    behind = _behind(image)
    redaction.reject(db(), image=image, by=signed_in().id)
    flash("The picture is destroyed.", "success")
    return _to_queue(image.dataset_id, behind)


def _review_page(dataset: Dataset, wanted: int, error: str = "") -> str:
    queue = redaction.list_waiting(db(), dataset=dataset, limit=QUEUE)
    waiting = datasets.count_images(db(), dataset_id=dataset.id).get("review", 0)
    if not queue:
        return page("redactions/index.html", dataset=dataset, image=None, waiting=0)
    place = next((at for at, image in enumerate(queue) if image.id == wanted), 0)
    image = queue[place]
    store = consent.allowed(db(), subject=image.subject, purpose="store")
    return page(
        "redactions/index.html",
        dataset=dataset,
        image=image,
        waiting=waiting,
        place=place,
        previous=queue[place - 1] if place else None,
        next=queue[place + 1] if place + 1 < len(queue) else None,
        may_look=store is not None and image.original_blob is not None,
        error=error,
    )


def _choice() -> tuple[int | None, Box | None]:
    """The face that was chosen, or the box that was drawn; a box wins over a face."""
    sides = [request.form.get(side, "").strip() for side in SIDES]
    if request.form.get("keep") == "box" or (any(sides) and "keep" not in request.form):
        try:
            x, y, width, height = (float(side) for side in sides)
        except ValueError as error:
            raise InvalidInput("The box needs four numbers, in pixels.") from error
        if not all(math.isfinite(side) for side in (x, y, width, height)):
            raise InvalidInput("The box needs four numbers, in pixels.")
        return None, (x, y, width, height)
    return request.form.get("keep", type=int), None


def _waiting(image_id: int) -> Image:
    image = db().get(Image, image_id)
    if image is None:
        raise NotFound("There is no such picture.")
    current_dataset(image.dataset_id)
    return redaction.get_waiting(db(), image_id=image_id)


def _dataset(image: Image) -> Dataset:
    return current_dataset(image.dataset_id)


def _behind(image: Image) -> int | None:
    """The picture to look at next."""
    queue = [item.id for item in redaction.list_waiting(db(), dataset=_dataset(image), limit=QUEUE)]
    later = [image_id for image_id in queue if image_id > image.id]
    return later[0] if later else None


def _decided_already(image_id: int, error: Conflict) -> ResponseReturnValue:
    image = db().get(Image, image_id)
    if image is None:
        raise error
    flash(error.message, "info")
    return _to_queue(image.dataset_id, None)


def _to_queue(dataset_id: int, image_id: int | None) -> ResponseReturnValue:
    return redirect(url_for(".index", dataset_id=dataset_id, image=image_id), 303)
