"""What people are told. A notice is immutable; a change is a new version.

One version has one set of purposes and one text per locale. A version that changes what a purpose
means, or who receives something, begins a renewal: see ``renewals``.
"""

import hashlib
from collections.abc import Collection, Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput
from annotator.domain import audit
from annotator.domain.consent.facts import Facts, compose_text, find_gaps, starter
from annotator.domain.consent.gate import check_purposes
from annotator.domain.consent.renewals import begin_renewal, must_renew
from annotator.models import PURPOSES, Dataset, Notice

ENGLISH = "en"
MOST_LETTERS = 30_000
LONGEST_LOCALE = 16


def publish_notice(
    session: Session,
    *,
    dataset: Dataset,
    texts: Mapping[str, Facts],
    purposes: Collection[str] = PURPOSES,
    renew: Collection[str] = (),
    by: int | None = None,
) -> list[Notice]:
    """Puts a new version in force, in all its languages at once.

    Args:
        session: the open transaction.
        dataset: whose people are told.
        texts: the fields of the notice, by locale.
        purposes: what people may agree to.
        renew: purposes about which everybody is asked anew, beside those that must be: see
            ``must_renew``.
        by: who wrote it.

    Raises:
        InvalidInput: a field that the law asks for is missing (``find_gaps`` names each), no
            language, an unknown purpose, or nothing would change.
    """
    check_purposes([*purposes, *renew])
    if not texts:
        raise InvalidInput("A notice needs a text in at least one language.")
    for locale, facts in texts.items():
        gaps = find_gaps(facts, purposes=purposes)
        if gaps:
            raise InvalidInput(f"{locale}, {next(iter(gaps))}: {next(iter(gaps.values()))}")
    before = {notice.locale: notice for notice in current_notices(session, dataset=dataset)}
    written = {
        locale: compose_text(facts, purposes=purposes, locale=locale)
        for locale, facts in texts.items()
    }
    chosen = [purpose for purpose in PURPOSES if purpose in purposes]
    if _is_same(before, written, chosen):
        raise InvalidInput("This is what is in force already; nothing would change.")
    version = _newest_version(session, dataset) + 1
    notices = [
        _write(
            session,
            dataset,
            version=version,
            locale=locale,
            text=text,
            purposes=chosen,
            facts=texts[locale],
            by=by,
        )
        for locale, text in written.items()
    ]
    asked = {*renew, *must_renew(list(before.values()), texts)} & set(chosen) if before else set()
    begin_renewal(session, dataset=dataset, version=version, purposes=asked, by=by)
    return notices


def create_notice(
    session: Session,
    *,
    dataset: Dataset,
    text: str,
    purposes: Collection[str] = PURPOSES,
    locale: str = ENGLISH,
    by: int | None = None,
) -> Notice:
    """Writes down a text that was brought from elsewhere; earlier versions stay as they were.

    Whoever brings it has made sure that it says what the law asks for; ``publish_notice`` makes
    sure itself. The same purposes in another language join the newest version.

    Raises:
        InvalidInput: an empty text or an unknown purpose.
    """
    if not text.strip():
        raise InvalidInput("A notice needs a text.")
    check_purposes(purposes)
    chosen = [purpose for purpose in PURPOSES if purpose in purposes]
    current = current_notices(session, dataset=dataset)
    version = _newest_version(session, dataset)
    joins = current and locale not in {each.locale for each in current}
    if not (joins and all(each.purposes == chosen for each in current)):
        version += 1
    return _write(
        session, dataset, version=version, locale=locale, text=text, purposes=chosen, by=by
    )


def keep_foreign_notice(
    session: Session,
    *,
    dataset: Dataset,
    text: str,
    digest: str,
    purposes: Collection[str],
    locale: str,
    by: int | None = None,
) -> Notice:
    """The notice that somebody read in another installation: the same text here, else kept as is.

    A text that is kept so is never in force: nobody is asked to agree to it here, and any renewal
    outdates it. Its version is 0 or less.

    Raises:
        InvalidInput: the text is not what its SHA-256 says, or it names an unknown purpose.
    """
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise InvalidInput("A notice in the record is not the text that was agreed to.")
    check_purposes(purposes)
    known = session.scalar(
        select(Notice)
        .where(Notice.dataset_id == dataset.id, Notice.digest == digest, Notice.locale == locale)
        .order_by(Notice.id.desc())
        .limit(1)
    )
    if known is not None:
        return known
    lowest = session.scalar(select(func.min(Notice.version)).where(Notice.dataset_id == dataset.id))
    chosen = [purpose for purpose in PURPOSES if purpose in purposes]
    version = min(lowest if lowest is not None else 1, 1) - 1
    return _write(
        session, dataset, version=version, locale=locale, text=text, purposes=chosen, by=by
    )


def current_notice(session: Session, *, dataset: Dataset, locale: str = ENGLISH) -> Notice:
    """The notice in force: in this language, else in English, else in any.

    Raises:
        Conflict: there is none yet, so nobody can consent.
    """
    found = {each.locale: each for each in current_notices(session, dataset=dataset)}
    if not found:
        raise Conflict("This dataset has no notice yet; write what people are told first.")
    for wanted in (locale, locale.partition("-")[0], ENGLISH):
        if wanted in found:
            return found[wanted]
    return next(iter(found.values()))


def current_notices(session: Session, *, dataset: Dataset) -> list[Notice]:
    """Every language of the version in force, English first; none when there is no notice."""
    newest = select(func.max(Notice.version)).where(
        Notice.dataset_id == dataset.id, Notice.version > 0
    )
    found = session.scalars(
        select(Notice).where(
            Notice.dataset_id == dataset.id, Notice.version == newest.scalar_subquery()
        )
    )
    return sorted(found, key=lambda notice: (notice.locale != ENGLISH, notice.locale))


def list_locales(session: Session, *, dataset: Dataset) -> list[str]:
    """The languages of the notice in force, English first."""
    return [notice.locale for notice in current_notices(session, dataset=dataset)]


def list_notices(session: Session, *, dataset: Dataset) -> list[Notice]:
    """Every text of every version, newest first; without those that came with a record."""
    query = select(Notice).where(Notice.dataset_id == dataset.id, Notice.version > 0)
    return list(session.scalars(query.order_by(Notice.id.desc())))


def fill_notice(*, organisation: str, contact: str, years: int) -> Facts:
    """English fields with an organisation's own words in them, complete enough to go out."""
    words = starter(ENGLISH).as_dict()
    words |= {
        "controller": organisation,
        "contact": contact,
        "retention": words["retention"].replace("{number}", str(years)),
        "complaint": "You may complain to the data protection authority where you live.",
    }
    return Facts(**words)


def _write(
    session: Session,
    dataset: Dataset,
    *,
    version: int,
    locale: str,
    text: str,
    purposes: list[str],
    facts: Facts | None = None,
    by: int | None = None,
) -> Notice:
    if len(text) > MOST_LETTERS:
        raise InvalidInput(f"A notice has at most {MOST_LETTERS:,} letters.")
    if not 1 < len(locale) <= LONGEST_LOCALE:
        raise InvalidInput("A language is named by its code, such as en or de.")
    notice = Notice(
        dataset_id=dataset.id,
        version=version,
        locale=locale,
        text=text,
        digest=hashlib.sha256(text.encode()).hexdigest(),
        purposes=purposes,
        facts=None if facts is None else facts.as_dict(),
    )
    session.add(notice)
    session.flush()
    audit.append(
        session,
        action="notice.created",
        actor=audit.actor_of(by),
        notice=notice.id,
        digest=notice.digest,
    )
    return notice


def _newest_version(session: Session, dataset: Dataset) -> int:
    query = select(func.max(Notice.version)).where(Notice.dataset_id == dataset.id)
    return max(session.scalar(query) or 0, 0)


def _is_same(before: Mapping[str, Notice], written: Mapping[str, str], purposes: list[str]) -> bool:
    texts = {locale: notice.text for locale, notice in before.items()}
    return texts == dict(written) and all(each.purposes == purposes for each in before.values())
