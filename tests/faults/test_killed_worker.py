"""A worker is killed in mid-job; nothing is lost and nothing is done twice."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotator.bootstrap import Toolbox
from annotator.bootstrap.artist import DrawingArtist
from annotator.core.config import Settings
from annotator.domain import intake
from annotator.models import Dataset, Face, Image, Job
from tests.factories import make_dataset, make_subject
from tests.installation import Installation, wait_for

PICTURES = 5


@pytest.fixture(params=["folder", "redis"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    settings = {}
    if request.param == "redis":
        url = os.environ.get("ANNOTATOR_TEST_REDIS")
        if not url:
            pytest.skip("no Redis server: ANNOTATOR_TEST_REDIS is not set")
        settings["ANNOTATOR_BROKER_URL"] = url
    made = Installation(tmp_path / "data", **settings)
    made.init()
    return made


@pytest.fixture
def tools(installation: Installation) -> Iterator[Toolbox]:
    box = Toolbox(Settings.load(installation.environ))
    yield box
    box.engine.dispose()


def start_intake(tools: Toolbox) -> int:
    artist = DrawingArtist(tools.imaging)
    with tools.transaction() as session:
        dataset = make_dataset(session)
        subject = make_subject(session, tools.vault, dataset)
        images = [
            intake.receive_image(
                session,
                vault=tools.vault,
                imaging=tools.imaging,
                dataset=dataset,
                subject=subject,
                data=artist.draw_portrait(number, "neutral", seed=number),
            )[0]
            for number in range(PICTURES)
        ]
        job = intake.start_received(session, dataset=dataset, images=[image.id for image in images])
        assert job is not None
        return job.id


def read(tools: Toolbox, job_id: int) -> Job:
    with tools.sessions() as session:
        return session.get_one(Job, job_id)


def test_a_killed_job_is_found_and_finished(installation: Installation, tools: Toolbox) -> None:
    job_id = start_intake(tools)
    with installation.process("worker") as worker:
        wait_for(lambda: 0 < read(tools, job_id).done < PICTURES)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    assert read(tools, job_id).state == "running"  # nobody has noticed yet
    with installation.process("worker"):
        job = wait_for(lambda: (j := read(tools, job_id)).state == "done" and j, 120)
    assert job.attempts == 2
    with tools.sessions() as session:
        rows = session.execute(select(Image.state, func.count()).group_by(Image.state)).all()
        faces = session.scalar(select(func.count()).select_from(Face))
        assert [tuple(row) for row in rows] == [("ready", PICTURES)]
        assert faces == PICTURES
        assert session.scalar(select(func.count()).select_from(Dataset)) == 1


def test_a_worker_that_is_asked_to_stop_puts_its_job_back(
    installation: Installation, tools: Toolbox
) -> None:
    job_id = start_intake(tools)
    with installation.process("worker") as worker:
        wait_for(lambda: 0 < read(tools, job_id).done < PICTURES)
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
    job = read(tools, job_id)
    assert (job.state, job.attempts) == ("queued", 0)
    with installation.process("worker"):
        wait_for(lambda: read(tools, job_id).state == "done", 120)
