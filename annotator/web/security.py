"""Who may call what. Every endpoint says it; one that says nothing is refused.

    @blueprint.get("/datasets/<int:dataset_id>")
    @requires("curator")
    def show(dataset_id: int) -> ResponseReturnValue: ...

Pages know a person by the browser session, ``/api`` also by a bearer token. Requests with a token
carry no cookie that a foreign page could misuse, so only those need no CSRF token.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, cast

from flask import Flask, Response, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_limiter import Limiter
from flask_login import current_user
from flask_wtf.csrf import CSRFProtect

from annotator.core.errors import Forbidden, NotFound, NotSignedIn
from annotator.domain import accounts, datasets
from annotator.models import ROLES, Dataset, User
from annotator.web import errors
from annotator.web.identity import Account
from annotator.web.transaction import SAFE_METHODS, db, reading

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")

SIGN_IN_LIMIT = "10 per minute"  # per address and account
ADDRESS_LIMIT = "60 per minute"  # sign-ins from one address, whatever the account
API_LIMIT = "3000 per minute"  # per person; a sweep page asks for 60 crops at once


def _caller() -> str:
    user = cast("User | None", g.get("user"))
    return f"user-{user.id}" if user else address()


def address() -> str:
    """Where the request comes from."""
    return request.remote_addr or "unknown"


csrf = CSRFProtect()
limiter = Limiter(key_func=_caller, storage_uri="memory://", strategy="moving-window")


def limited(
    limit: str,
    *,
    key: Callable[[], str] = _caller,
    methods: Sequence[str] = ("POST",),
    counts: Callable[[Response], bool] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Limits how often a view may be called.

    Args:
        limit: such as ``10 per minute``.
        key: whose calls are counted together; by default one person's.
        methods: the HTTP methods that count.
        counts: which answers count; every call when omitted.
    """
    decorator = limiter.limit(limit, key_func=key, methods=list(methods), deduct_when=counts)
    return cast("Callable[[Callable[P, R]], Callable[P, R]]", decorator)


@dataclass(frozen=True, slots=True)
class Access:
    """What an endpoint asks of its caller; ``role`` is ``None`` for everybody."""

    role: str | None


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Declares an endpoint open to strangers."""
    return _declare(view, Access(role=None))


def requires(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declares the lowest role that may call an endpoint.

    Args:
        role: one of ``ROLES``; every role includes those before it.
    """
    if role not in ROLES:
        raise ValueError(f"no such role: {role}")
    return lambda view: _declare(view, Access(role=role))


def _declare(view: Callable[P, R], access: Access) -> Callable[P, R]:
    view.__access__ = access  # type: ignore[attr-defined]
    return view


def access_of(app: Flask, endpoint: str) -> Access | None:
    """What an endpoint declared, or ``None``."""
    return cast("Access | None", getattr(app.view_functions[endpoint], "__access__", None))


def signed_in() -> User:
    """The person who asks.

    Raises:
        NotSignedIn: a stranger, on a public endpoint.
    """
    user = known_user()
    if user is None:
        raise NotSignedIn
    return user


def known_user() -> User | None:
    """The person who asks, or ``None`` for a stranger."""
    return cast("User | None", g.get("user"))


def current_dataset(dataset_id: int) -> Dataset:
    """The dataset, if the person who asks may see it.

    Raises:
        NotFound: there is none, or not for this person; the two look the same.
    """
    session = db()
    if not accounts.is_member(session, user=signed_in(), dataset_id=dataset_id):
        raise NotFound("There is no such dataset.")
    return datasets.get_dataset(session, dataset_id=dataset_id)


def init_security(app: Flask) -> None:
    """Guards every request: who is it, did they mean it, may they."""
    app.config["WTF_CSRF_CHECK_DEFAULT"] = False  # _guard checks, because tokens are exempt
    app.config["WTF_CSRF_TIME_LIMIT"] = None  # as long as the session
    # Pages behind a person's own link send no Referer; Sec-Fetch-Site says the same, and better.
    app.config["WTF_CSRF_SSL_STRICT"] = False
    csrf.init_app(app)
    app.before_request(_guard)
    limiter.init_app(app)
    public(app.view_functions["static"])


def _guard() -> ResponseReturnValue | None:
    g.user = None
    if request.endpoint is None:
        return None  # 404 or 405, raised when the request is dispatched
    access = access_of(current_app, request.endpoint)
    if access is None:
        log.error("the endpoint %s declares no access", request.endpoint)
        raise Forbidden
    if request.endpoint == "static":
        return None
    by_token = _identify()
    if access.role is not None and g.user is None:
        return _ask_to_sign_in()
    if access.role is not None and not accounts.has_role(g.user, access.role):
        raise Forbidden(f"This needs the role {access.role}; yours is {g.user.role}.")
    if request.method not in SAFE_METHODS and not by_token:
        csrf.protect()
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise Forbidden("This form was sent from another site; open it here and send it again.")
    return None


def _identify() -> bool:
    """Finds out who asks; returns whether a token said so."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if request.path.startswith("/api/") and scheme.lower() == "bearer":
        g.user = accounts.check_token(reading(), secret=secret.strip())
        return True
    if isinstance(current_user._get_current_object(), Account):  # noqa: SLF001 - the proxy's way
        g.user = current_user.user
    return False


def _ask_to_sign_in() -> ResponseReturnValue:
    if errors.wants_json() or request.method not in SAFE_METHODS:
        raise NotSignedIn
    wanted = request.full_path.rstrip("?")
    return redirect(url_for("account.sign_in", next=wanted if wanted != "/" else None))
