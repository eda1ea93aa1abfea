"""People who work here, their tokens, and the rights of people in pictures."""

import datetime as dt
import json
import secrets
from pathlib import Path
from typing import Any

import click
from sqlalchemy.orm import Session

from annotator.cli.passwords import hash_password
from annotator.cli.tools import answer, finish_job, open_tools, tell
from annotator.core.db import now
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import (
    accounts,
    consent,
    datasets,
    disclosure,
    erasure,
    jobs,
    receipts,
    retention,
)
from annotator.models import ROLES, Subject, User

MOST_RECORD = 10_000_000  # bytes
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


@click.group()
def user() -> None:
    """People with a sign-in."""


@user.command()
@click.argument("email")
@click.option("--name", required=True)
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--dataset", multiple=True, help="A dataset that they may see; more than once.")
@json_option
def add(email: str, name: str, role: str, dataset: tuple[str, ...], as_json: bool) -> None:
    """Adds a person; their first password is shown once."""
    tools, password = open_tools(), secrets.token_urlsafe(15)
    with tools.transaction() as session:
        person = accounts.create_user(
            session, email=email, name=name, role=role, password_hash=hash_password(password)
        )
        for each in dataset:
            target = datasets.find_dataset(session, name=each)
            accounts.add_member(session, user=person, dataset=target, by=None)
        address = person.email
    answer(
        {"email": address, "password": password, "role": role},
        as_json=as_json,
        text=f"{address} may sign in with {password}",
    )


@user.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Everybody with a sign-in."""
    with open_tools().sessions() as session:
        for person in accounts.list_users(session):
            state = "active" if person.active else "disabled"
            answer(
                {
                    "email": person.email,
                    "name": person.name,
                    "role": person.role,
                    "active": person.active,
                },
                as_json=as_json,
                text=f"{person.email}  {person.role}  {state}",
            )


@user.command()
@click.argument("email")
def disable(email: str) -> None:
    """Ends a person's access; their votes stay."""
    with open_tools().transaction() as session:
        accounts.set_active(session, user=_find_user(session, email), active=False, by=None)
    tell(f"{email} may not sign in any more.")


@click.group()
def token() -> None:
    """API tokens."""


@token.command()
@click.argument("email")
@click.option("--name", default="command line", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@json_option
def create(email: str, name: str, days: int, as_json: bool) -> None:
    """Makes a token for a person; it is shown once."""
    with open_tools().transaction() as session:
        row, secret = accounts.create_token(
            session,
            user=_find_user(session, email),
            name=name,
            expires_at=now() + dt.timedelta(days=days),
        )
        number = row.id
    answer({"id": number, "token": secret}, as_json=as_json, text=f"Token {number}: {secret}")


@token.command()
@click.argument("token_id", type=int)
@click.option("--email", required=True, help="Whose it is, or an admin.")
def revoke(token_id: int, email: str) -> None:
    """Ends a token."""
    with open_tools().transaction() as session:
        accounts.revoke_token(session, token_id=token_id, user=_find_user(session, email))
    tell(f"Token {token_id} is revoked.")


@click.group()
def subject() -> None:
    """The rights of people in pictures."""


@subject.command()
@click.argument("subject")
@click.option("--yes", is_flag=True, help="Do not ask again.")
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where their receipt of the erasure goes; it can be made only now.",
)
@json_option
def withdraw(subject: str, yes: bool, receipt: Path | None, as_json: bool) -> None:
    """Withdraws everything for SUBJECT (`DATASET/CODE` or a number): their key is destroyed."""
    tools = open_tools()
    with tools.sessions() as session:
        if find_subject(session, subject).withdrawn_at is not None:
            raise Conflict(f"{subject} has withdrawn everything already; there is nothing to do.")
    if not yes:
        click.confirm(f"Destroy the key of {subject}? Nobody can undo this.", abort=True, err=True)
    with tools.transaction() as session:
        person = find_subject(session, subject)
        opened = None
        if receipt is not None:
            opened = receipts.open_salt(session, vault=tools.vault, subject=person)
        done = erasure.withdraw_subject(session, subject=person, by=None)
        told = done.consequences
        summary = {
            "images": told.images,
            "votes": told.votes,
            "exports": [export.id for export in told.exports],
            "models": [model.name for model in told.models],
            "recipients": told.recipients,
        }
        job_id = done.job.id
    finish_job(tools, job_id, "Renewing keys")
    if receipt is not None and opened is not None:
        with tools.transaction() as session:
            _write(
                receipts.make_erasure_receipt(session, vault=tools.vault, opened=opened), receipt
            )
    recipients = f" Tell: {', '.join(told.recipients)}." if told.recipients else ""
    answer(
        summary,
        as_json=as_json,
        text=f"The key of {subject} is destroyed; {told.images} pictures and {told.votes} votes "
        f"are gone, {len(told.exports)} exports and {len(told.models)} models are marked."
        + recipients,
    )


@subject.command("import")
@click.argument("dataset")
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--code", default="", help="How staff call them here; the record's own if omitted.")
@json_option
def import_(dataset: str, record: Path, code: str, as_json: bool) -> None:
    """Adds a person to DATASET with the consents in RECORD, a file that Annotator wrote."""
    if record.stat().st_size > MOST_RECORD:
        raise InvalidInput(f"A consent record has at most {MOST_RECORD // 10**6} MB.")
    try:
        document = json.loads(record.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"'{record}' is not JSON.") from error
    with (tools := open_tools()).transaction() as session:
        target = datasets.find_dataset(session, name=dataset)
        person = consent.import_record(
            session, vault=tools.vault, dataset=target, document=document, code=code
        )
        given = list(consent.given_purposes(session, subject=person))
        told = {"subject": person.id, "code": person.code, "allows": given}
    answer(
        told,
        as_json=as_json,
        text=f"{told['code']} is in {dataset} and allows: {', '.join(given) or 'nothing'}.",
    )


@subject.command()
@click.argument("subject")
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path))
def receipt(subject: str, out: Path | None) -> None:
    """The receipt of SUBJECT (`DATASET/CODE` or a number): what they agreed to, with proof."""
    tools = open_tools()
    with tools.transaction() as session:
        person = find_subject(session, subject)
        made = receipts.make_receipt(session, vault=tools.vault, subject=person)
    if out is None:
        click.echo(json.dumps(made, indent=1, ensure_ascii=False))
    else:
        _write(made, out)


def _write(made: dict[str, Any], out: Path) -> None:
    out.write_text(f"{json.dumps(made, indent=1, ensure_ascii=False)}\n", encoding="utf-8")
    tell(f"The receipt is in {out}. Check it with: python3 verify_receipt.py {out} KEY")


@subject.command("export")
@click.argument("subject")
@click.argument("out", type=click.Path(path_type=Path))
@json_option
def export_(subject: str, out: Path, as_json: bool) -> None:
    """Writes everything that is held of SUBJECT into OUT, a new ZIP file, for them (GDPR, 15)."""
    tools = open_tools()
    with tools.transaction() as session:
        person = find_subject(session, subject)
        number = person.id
        receipt = disclosure.begin_copy(session, vault=tools.vault, subject=person, actor="cli")
    with tools.sessions() as session:
        pieces = disclosure.write_copy(
            session, vault=tools.vault, subject_id=number, receipt=receipt
        )
        size = disclosure.save_copy(pieces, out=out)
    answer(
        {"file": str(out), "bytes": size},
        as_json=as_json,
        text=f"{out} holds everything that is held of {subject}, {size:,} bytes. It is not "
        "encrypted: hand it over, then delete it.",
    )


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@json_option
def expire(dry_run: bool, as_json: bool) -> None:
    """Closes consents that ended, erases what was kept long enough; the worker does it daily."""
    tools = open_tools()
    if dry_run:
        with tools.sessions() as session:
            due = retention.find_due(session)
        for each in due:
            ended, why = ", ".join(each.ended) or "nothing", each.erase or "kept"
            answer(
                {"subject": each.subject_id, "ended": list(each.ended), "erase": each.erase},
                as_json=as_json,
                text=f"person {each.subject_id}: ended {ended}; {why}",
            )
        tell(f"{len(due)} people are due; nothing was changed.")
        return
    with tools.transaction() as session:
        job_id = jobs.enqueue(session, kind=retention.KIND, arguments={}).id
    result = finish_job(tools, job_id, "Closing what ended")
    answer(
        result,
        as_json=as_json,
        text=f"{result['expired']} consents ended, {result['erased']} people erased.",
    )


def _find_user(session: Session, email: str) -> User:
    for person in accounts.list_users(session):
        if person.email == email.lower():
            return person
    raise NotFound(f"There is nobody with the address '{email}'.")


def find_subject(session: Session, text: str) -> Subject:
    """A person in pictures by ``DATASET/CODE`` or by number.

    Raises:
        NotFound: there is no such person or dataset.
    """
    name, slash, code = text.rpartition("/")
    if slash:
        target = datasets.find_dataset(session, name=name)
        found = consent.find_subject(session, dataset=target, code=code)
        if found is None:
            raise NotFound(f"There is no person '{code}' in '{name}'.")
        return found
    if not text.isdigit():
        raise NotFound("Name the person as DATASET/CODE, or by number.")
    return consent.get_subject(session, subject_id=int(text))


COMMANDS = (user, token, subject, expire)
