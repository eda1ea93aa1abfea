"""What people are told: every version, a new one with a preview, and whom a change concerns."""

from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotator.core.errors import InvalidInput
from annotator.domain import consent
from annotator.models import PURPOSES, Dataset, Notice
from annotator.web.rendering import page
from annotator.web.security import current_dataset, requires, signed_in
from annotator.web.transaction import db

blueprint = Blueprint("notices", __name__, url_prefix="/datasets/<int:dataset_id>/notices")
# Each field as its author sees it: a name, and what belongs there.
FIELD_WORDS: dict[str, tuple[str, str]] = {
    "controller": ("Who is responsible", "Name and address of the organisation."),
    "contact": ("Contact", "Where people can write or call."),
    "dpo": ("Data protection officer", "How to reach them, if there is one."),
    "about": (
        "What the pictures are for",
        "One or two plain sentences; the uses follow by themselves.",
    ),
    "emotion": (
        "Emotion recognition",
        "That a machine infers emotions from faces, and when; needed where a model may guess.",
    ),
    "recipients": ("Recipients", "Who else gets something, by name, or that nobody does."),
    "transfers": (
        "Other countries",
        "What leaves the European Economic Area, and what protects it.",
    ),
    "retention": ("How long", "When the pictures go."),
    "withdrawal": ("Changing one's mind", "How consent is taken back; as easily as it was given."),
    "complaint": ("Complaints", "The data protection authority that is responsible."),
    "required": (
        "Do they have to?",
        "Whether taking part is free, and what happens if they do not.",
    ),
    "automated": ("Decisions by machines", "Whether a machine decides anything about them."),
    "more": ("Anything else", "Free text."),
}
SHORT = frozenset({"contact", "dpo"})


@blueprint.get("")
@requires("curator")
def index(dataset_id: int) -> ResponseReturnValue:
    """Every version, with what changed, and who has to be asked anew."""
    dataset = current_dataset(dataset_id)
    texts = consent.list_notices(db(), dataset=dataset)
    return page(
        "notices/index.html",
        dataset=dataset,
        versions=_versions(texts),
        due=consent.list_due(db(), dataset=dataset),
        renewals=consent.list_renewals(db(), dataset=dataset),
        purpose_words=consent.WORDS["en"].purposes,
    )


@blueprint.get("/new")
@requires("curator")
def new(dataset_id: int) -> ResponseReturnValue:
    """Asks for the next version; begins with the one in force, or with a text to fill in."""
    dataset = current_dataset(dataset_id)
    current = consent.current_notices(db(), dataset=dataset)
    texts = {
        notice.locale: consent.Facts.read(notice.facts)
        for notice in current
        if notice.facts is not None
    }
    wanted = request.args.getlist("locale") or list(texts) or ["en"]
    for locale in wanted:
        if locale in consent.WORDS and locale not in texts:
            texts[locale] = consent.starter(locale)
    purposes = current[0].purposes if current else list(PURPOSES)
    return _form_page(dataset, texts, purposes, [])


@blueprint.post("")
@requires("curator")
def create(dataset_id: int) -> ResponseReturnValue:
    """Puts the next version in force, or shows what it would look like (``look``, ``add``)."""
    dataset = current_dataset(dataset_id)
    texts = {
        locale: consent.Facts.read(_sent_fields(locale))
        for locale in consent.WORDS
        if locale in request.form.getlist("locale")
    }
    purposes = [name for name in PURPOSES if name in request.form.getlist("purposes")]
    renew = [name for name in PURPOSES if name in request.form.getlist("renew")]
    added = request.form.get("add", "")
    if added in consent.WORDS and added not in texts:
        texts[added] = consent.starter(added)
    if {"look", "add"} & set(request.form):
        return _form_page(dataset, texts, purposes, renew, looked=True)
    gaps = {locale: consent.find_gaps(facts, purposes=purposes) for locale, facts in texts.items()}
    if not texts or any(gaps.values()):
        return _form_page(dataset, texts, purposes, renew, gaps=gaps), 422
    try:
        notices = consent.publish_notice(
            db(), dataset=dataset, texts=texts, purposes=purposes, renew=renew, by=signed_in().id
        )
    except InvalidInput as error:
        return _form_page(dataset, texts, purposes, renew, error=error.message), error.status
    flash(f"Version {notices[0].version} of the notice is in force.", "success")
    return redirect(url_for(".index", dataset_id=dataset.id), 303)


def _sent_fields(locale: str) -> dict[str, str]:
    sent = {name: request.form.get(f"{locale}-{name}", "") for name in FIELD_WORDS}
    return {name: text.replace("\r\n", "\n") for name, text in sent.items()}


def _form_page(
    dataset: Dataset,
    texts: dict[str, consent.Facts],
    purposes: list[str],
    renew: list[str],
    *,
    gaps: dict[str, dict[str, str]] | None = None,
    error: str | None = None,
    looked: bool = False,
) -> str:
    current = consent.current_notices(db(), dataset=dataset)
    shown = gaps if gaps is not None or not looked else {}
    return page(
        "notices/new.html",
        dataset=dataset,
        current=current[0] if current else None,
        texts=texts,
        purposes=purposes,
        renew=renew,
        gaps=shown or {},
        error=error,
        preview=[_preview(locale, facts, purposes, current) for locale, facts in texts.items()],
        asked=[
            name
            for name in PURPOSES
            if current and name in {*renew, *consent.must_renew(current, texts)} & set(purposes)
        ],
        languages={locale: words.language for locale, words in consent.WORDS.items()},
        field_words=FIELD_WORDS,
        short=SHORT,
        optional=("dpo", "more"),
        purpose_words=consent.WORDS["en"].purposes,
        all_purposes=PURPOSES,
    )


def _preview(
    locale: str, facts: consent.Facts, purposes: list[str], current: list[Notice]
) -> dict[str, Any]:
    """One language as people would read it, what is missing, and what would change."""
    text = consent.compose_text(facts, purposes=purposes, locale=locale)
    before = next((notice.text for notice in current if notice.locale == locale), None)
    gaps = consent.find_gaps(facts, purposes=purposes)
    return {
        "locale": locale,
        "language": consent.WORDS[locale].language,
        "text": text,
        "missing": [FIELD_WORDS[name][0] for name in gaps if name in FIELD_WORDS],
        "changes": [] if before is None else consent.compare_texts(before, text),
    }


def _versions(texts: list[Notice]) -> list[dict[str, Any]]:
    """Every version, newest first, its languages, and what changed against the one before."""
    numbers = sorted({notice.version for notice in texts}, reverse=True)
    versions = []
    for number in numbers:
        own = sorted((n for n in texts if n.version == number), key=lambda n: n.locale != "en")
        before = {n.locale: n for n in texts if n.version == number - 1}
        versions.append(
            {
                "number": number,
                "created_at": own[0].created_at,
                "purposes": own[0].purposes,
                "texts": [
                    {
                        "notice": notice,
                        "changes": consent.compare_texts(before[notice.locale].text, notice.text)
                        if notice.locale in before
                        else [],
                    }
                    for notice in own
                ],
            }
        )
    return versions
