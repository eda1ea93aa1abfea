"""Addresses of crops on a page whose entry in the log counts them.

Such an address carries a sign that the page was written into the log, for one person, one face and
a short while. A crop that is asked for without it is an entry of its own.
"""

from flask import current_app, url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer

from annotator.domain import viewing
from annotator.web.security import signed_in
from annotator.web.transaction import reading, toolbox

SECONDS = 3600  # how long a page's pictures may be loaded after it was counted


def counted_address(face_id: int) -> str:
    """Where a crop is, on a page that wrote into the log that it shows it."""
    return url_for("api.tasks.crop", face_id=face_id, seen=_signer().dumps(_what(face_id)))


def count_look(face_id: int, *, seen: str) -> None:
    """Writes a look at one crop into the log, unless a page or a lease did.

    Args:
        face_id: whose face.
        seen: what the address carried; may be empty.
    """
    try:
        if _signer().loads(seen, max_age=SECONDS) == _what(face_id):
            return
    except BadSignature:
        pass
    if viewing.is_lent(reading(), face_id=face_id, user=signed_in()):
        return
    with toolbox().transaction() as session:  # a request that looks takes no write lock itself
        viewing.count_look(session, user=signed_in(), face_id=face_id)


def _signer() -> URLSafeTimedSerializer:
    assert current_app.secret_key is not None
    return URLSafeTimedSerializer(current_app.secret_key, salt="looks")


def _what(face_id: int) -> list[int]:
    return [signed_in().id, face_id]
