"""A person's own page: what is held of them, for what, who got it, and how to end it."""

import base64
import json
import logging
from collections.abc import Iterator
from typing import Any

import segno
from flask import Blueprint, Response, current_app, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from markupsafe import Markup

from annotator.bootstrap import Toolbox
from annotator.core.errors import AnnotatorError, NotFound
from annotator.domain import (
    consent,
    datasets,
    disclosure,
    erasure,
    invitations,
    receipts,
    viewing,
)
from annotator.models import PURPOSES, Image, Subject
from annotator.web.allowing import needs_guardian, offered
from annotator.web.languages import gettext
from annotator.web.links import by_link, keep_private, open_link, outside
from annotator.web.rendering import page
from annotator.web.transaction import commit_early, db, toolbox

log = logging.getLogger(__name__)
blueprint = Blueprint("own", __name__)
keep_private(blueprint)
PAGE = 24  # pictures
SECONDS = 3600  # how long a page's pictures may be loaded after it was counted
PICTURES = "600 per minute"  # of one link; a page asks for 24 at once
COPIES = "6 per hour"  # of one link; each reads every picture
EVERYTHING = "all"


@blueprint.get("/me/<secret>")
@by_link()
def show(secret: str) -> ResponseReturnValue:
    """What is held, for what, and who received it; or that nothing is."""
    subject = _subject(secret)
    held = disclosure.describe_holdings(db(), subject=subject)
    template = "gone" if subject.withdrawn_at else "show"
    return _page(
        template,
        secret,
        subject,
        held=held,
        purposes=PURPOSES,
        offered=offered(subject),
        needs_guardian=needs_guardian(subject),
        before={event.purpose for event in subject.events if event.kind in consent.GRANTING},
    )


@blueprint.get("/me/<secret>/keep")
@by_link()
def keep(secret: str) -> ResponseReturnValue:
    """The address of the page, to be kept: as text, as a QR code, on paper."""
    subject = _subject(secret)
    address = outside("own.show", secret=secret)
    given = consent.given_purposes(db(), subject=subject)
    return _page("keep", secret, subject, address=address, code=draw_code(address), given=given)


@blueprint.route("/me/<secret>/renew", methods=["GET", "POST"])
@by_link()
def renew(secret: str) -> ResponseReturnValue:
    """Changes the lock: another address, and the one before ends."""
    invitation = open_link(secret, "own")
    if request.method == "GET":
        return _page("renew", secret, invitation.subject)
    fresh = invitations.renew_own(db(), vault=toolbox().vault, invitation=invitation)
    return redirect(url_for(".keep", secret=fresh), 303)


@blueprint.post("/me/<secret>/look")
@by_link()
def look(secret: str) -> ResponseReturnValue:
    """Their pictures, as they are kept; the log says that somebody looked at how many."""
    subject = _subject(secret)
    consent.require(db(), subject=subject, purpose="store")
    before = request.form.get("before", 0, type=int)
    found = disclosure.list_own_images(db(), subject=subject, before=before, limit=PAGE + 1)
    images = found[:PAGE]
    viewing.count_own_views(db(), subject=subject, faces=sum(bool(each.face) for each in images))
    more = images[-1].id if len(found) > PAGE else None
    rows = [(image, _counted_address(secret, image)) for image in images]
    return _page("look", secret, subject, rows=rows, more=more)


@blueprint.get("/me/<secret>/pictures/<seen>")
@by_link(PICTURES)
def picture(secret: str, seen: str) -> ResponseReturnValue:
    """One of their pictures, on a page that the log has counted, which its address proves."""
    subject = _subject(secret)
    try:
        owner, image_id, part = _signer().loads(seen, max_age=SECONDS)
    except BadSignature as error:
        raise NotFound from error
    if owner != subject.id:
        raise NotFound
    image = disclosure.get_own_image(db(), subject=subject, image_id=image_id)
    data = viewing.open_own(db(), vault=toolbox().vault, subject=subject, image=image, part=part)
    if data is None:
        raise NotFound
    return Response(data, mimetype="image/png")


@blueprint.get("/me/<secret>/receipt")
@by_link()
def receipt(secret: str) -> ResponseReturnValue:
    """What they agreed to, on one page to print, and how to check that it is in the log."""
    subject = _subject(secret, writing=True)
    proof = receipts.make_receipt(db(), vault=toolbox().vault, subject=subject)
    given = consent.given_purposes(db(), subject=subject)
    return _page("receipt", secret, subject, given=given, proof=proof)


@blueprint.get("/me/<secret>/receipt.json")
@by_link()
def proof(secret: str) -> ResponseReturnValue:
    """The receipt for a program: the log's entries and the way from each to the signed root."""
    subject = _subject(secret, writing=True)
    told = receipts.make_receipt(db(), vault=toolbox().vault, subject=subject)
    return _download(told, "receipt.json", "application/json")


@blueprint.get("/me/<secret>/record.jsonld")
@by_link()
def record(secret: str) -> ResponseReturnValue:
    """The consent record as JSON-LD."""
    subject = _subject(secret)
    told = consent.describe_record(db(), vault=toolbox().vault, subject=subject)
    return _download(told, "consent.jsonld", "application/ld+json")


@blueprint.post("/me/<secret>/copy")
@by_link()
@by_link(COPIES)
def copy(secret: str) -> ResponseReturnValue:
    """Everything that is held of them, as a ZIP that is written while it is read."""
    subject, tools = _subject(secret), toolbox()
    receipt = disclosure.begin_copy(
        db(), vault=tools.vault, subject=subject, actor=invitations.SUBJECT
    )
    return Response(
        _stream_copy(tools, subject.id, receipt),
        mimetype="application/zip",
        headers={"Content-Disposition": 'attachment; filename="my-pictures.zip"'},
    )


@blueprint.get("/me/<secret>/withdraw")
@by_link()
def confirm(secret: str) -> ResponseReturnValue:
    """What withdrawing one use (``?purpose=train``) or everything would do."""
    subject = _subject(secret)
    purpose = request.args.get("purpose", EVERYTHING)
    chosen = _purposes(purpose)
    if subject.withdrawn_at is not None:
        return redirect(url_for(".show", secret=secret))
    told = erasure.foresee(db(), subject=subject, purposes=chosen)
    return _page("confirm", secret, subject, purpose=purpose, told=told)


@blueprint.post("/me/<secret>/withdraw")
@by_link()
def withdraw(secret: str) -> ResponseReturnValue:
    """Withdraws; when it was everything, the page shows the proof of the erasure, once."""
    subject = _subject(secret)
    chosen = _purposes(request.form.get("purpose", EVERYTHING))
    if subject.withdrawn_at is not None:
        return redirect(url_for(".show", secret=secret), 303)
    opened = _open_salt(subject)
    done = erasure.withdraw_purposes(
        db(), subject=subject, purposes=chosen, by=None, actor=invitations.SUBJECT
    )
    if done.consequences.everything:
        commit_early()
        return _page(
            "erased", secret, subject, told=done.consequences, proof=_prove_erasure(opened)
        )
    flash(gettext("Done. It counts from this moment."), "success")
    return redirect(url_for(".show", secret=secret), 303)


def draw_code(address: str) -> Markup:
    """An address as a QR code, drawn in the page: SVG without style or script."""
    code = segno.make_qr(address, error="m")
    drawn = code.svg_inline(omitsize=True, svgclass="qr", lineclass=None, light="#fff", border=4)
    return Markup(drawn).replace(  # noqa: S704 - drawn by us from an address, which it encodes
        "<svg ", Markup('<svg role="img" aria-label="QR" '), 1
    )


def _counted_address(secret: str, image: Image) -> str | None:
    """Where a picture is, on a page that wrote into the log that it shows it."""
    if image.face is None:
        return None
    part = "redacted" if image.redacted_blob else "crop"
    seen = _signer().dumps([image.subject_id, image.id, part])
    return url_for(".picture", secret=secret, seen=seen)


def _signer() -> URLSafeTimedSerializer:
    assert current_app.secret_key is not None
    return URLSafeTimedSerializer(current_app.secret_key, salt="own-looks")


def _subject(secret: str, *, writing: bool | None = None) -> Subject:
    return open_link(secret, "own", writing=writing).subject


def _open_salt(subject: Subject) -> receipts.OpenedSalt | None:
    """What the proof of an erasure needs; without it the erasure goes on unproven."""
    try:
        return receipts.open_salt(db(), vault=toolbox().vault, subject=subject)
    except NotFound:
        return None


def _prove_erasure(opened: receipts.OpenedSalt | None) -> tuple[str, str] | None:
    """The proof as an address that holds it, and the key that it is checked with.

    ``None`` when it cannot be made, which undoes nothing.

    It is in the page and nowhere else: the salt in it would tie the log to the person again.
    """
    if opened is None:
        return None
    try:
        told = receipts.make_erasure_receipt(db(), vault=toolbox().vault, opened=opened)
    except AnnotatorError:
        log.exception("the proof of an erasure could not be made")
        return None
    address = "data:application/json;base64," + base64.b64encode(_text(told)).decode()
    return address, told["log"]["public_key"]


def _stream_copy(tools: Toolbox, subject_id: int, receipt: dict[str, Any]) -> Iterator[bytes]:
    """The copy, read in a session of its own: the request's ends before the last byte has left."""
    with tools.sessions() as session:
        yield from disclosure.write_copy(
            session, vault=tools.vault, subject_id=subject_id, receipt=receipt
        )


def _download(told: dict[str, Any], name: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(_text(told), mimetype=kind, headers=headers)


def _text(told: dict[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, indent=2).encode()


def _purposes(purpose: str) -> tuple[str, ...]:
    if purpose in {EVERYTHING, "store"}:
        return PURPOSES
    consent.check_purposes([purpose])
    return (purpose,)


def _page(template: str, secret: str, subject: Subject, /, **values: object) -> str:
    dataset = datasets.get_dataset(db(), dataset_id=subject.dataset_id)
    return page(f"own/{template}.html", secret=secret, subject=subject, dataset=dataset, **values)
