"""Fills a new installation with the demo's content."""

import secrets
from typing import Any

from annotator.bootstrap import Toolbox
from annotator.bootstrap.artist import DrawingArtist
from annotator.cli.passwords import hash_password
from annotator.cli.tools import finish_job, tell
from annotator.domain import accounts, demo, intake, jobs
from annotator.models import Dataset, User

PEOPLE = (
    ("admin", "Ada (admin)", "admin"),
    ("curator", "Cem (curator)", "curator"),
    ("reviewer", "Rita (reviewer)", "reviewer"),
    ("annotator", "Anna (annotator)", "annotator"),
    ("annotator2", "Anton (annotator)", "annotator"),
)


def fill(tools: Toolbox) -> dict[str, Any]:
    """Makes sign-ins, people, consents, pictures and votes.

    Returns:
        ``users`` (with passwords and tokens) and ``token``, the admin's.
    """
    artist = DrawingArtist(tools.imaging)
    with tools.transaction() as session:
        users, sheet = [], []
        for local, name, role in PEOPLE:
            password = secrets.token_urlsafe(12)
            user = accounts.create_user(
                session,
                email=f"{local}@demo.example",
                name=name,
                role=role,
                password_hash=hash_password(password),
            )
            _, secret = accounts.create_token(session, user=user, name="demo")
            users.append(user)
            sheet.append({"email": user.email, "password": password, "role": role, "token": secret})
    dataset_id, drawn = _draw_labelled(tools, artist, users)
    _draw_open(tools, artist, dataset_id, drawn)
    tell("The demo is filled; the worker goes on with portraits and pre-labels while you look.")
    return {"users": sheet, "token": sheet[0]["token"]}


def _draw_labelled(
    tools: Toolbox, artist: DrawingArtist, users: list[User]
) -> tuple[int, list[demo.Drawn]]:
    with tools.transaction() as session:
        dataset, people = demo.make_people(session, vault=tools.vault, artist=artist, members=users)
        tell(f"{len(people)} drawn people have given their consent.")
        drawn = demo.receive_crops(
            session,
            vault=tools.vault,
            imaging=tools.imaging,
            artist=artist,
            dataset=dataset,
            people=people,
        )
        images = [picture.image_id for picture in drawn]
        job = intake.start_received(session, dataset=dataset, images=images)
        assert job is not None
        job_id = job.id
        dataset_id = dataset.id
    finish_job(tools, job_id, "Sealing faces")
    return dataset_id, drawn


def _draw_open(
    tools: Toolbox, artist: DrawingArtist, dataset_id: int, drawn: list[demo.Drawn]
) -> None:
    with tools.transaction() as session:
        tasks = [job.id for job in jobs.list_jobs(session) if job.kind == "tasks"]
    for job_id in tasks:
        finish_job(tools, job_id, "Opening tasks")
    with tools.transaction() as session:
        dataset = session.get_one(Dataset, dataset_id)
        demo.vote(session, dataset=dataset, drawn=drawn)
        staying, leaving = demo.list_people(session, dataset=dataset)
        demo.receive_pictures(
            session,
            vault=tools.vault,
            imaging=tools.imaging,
            artist=artist,
            dataset=dataset,
            people=staying,
        )
        demo.withdraw_people(session, people=leaving)
