"""The job that opens tasks for faces that became ready."""

from sqlalchemy import select

from annotator.domain import jobs
from annotator.domain.labelling.tasks import open_task
from annotator.models import Dataset, Face, Image, Task

CHUNK = 500


def open_tasks(work: jobs.Work, *, dataset_id: int) -> dict[str, int]:
    """Job ``tasks``: one task for every face of a ready picture that has none.

    Returns:
        ``faces`` that can be labelled from now on.
    """
    waiting = (
        select(Face)
        .join(Image, Image.id == Face.image_id)
        .where(
            Face.dataset_id == dataset_id,
            Image.state == "ready",
            ~select(Task.id).where(Task.face_id == Face.id).exists(),
        )
        .order_by(Face.id)
        .limit(CHUNK)
    )
    opened = 0
    while True:
        with work.transaction() as session:
            dataset = session.get_one(Dataset, dataset_id)
            faces = list(session.scalars(waiting))
            for face in faces:
                open_task(session, face=face, dataset=dataset)
        opened += len(faces)
        if len(faces) < CHUNK:
            return {"faces": opened}
        work.report(opened, opened + CHUNK)
