from collections.abc import Callable

from flask.testing import FlaskClient

from annotator.bootstrap import Toolbox
from annotator.domain import jobs
from annotator.models import Dataset

Token = Callable[[str], dict[str, str]]
MakeDataset = Callable[..., Dataset]


def test_a_job_tells_members_how_far_it_is(
    client: FlaskClient, token: Token, make_dataset: MakeDataset, toolbox: Toolbox
) -> None:
    dataset = make_dataset("annotator")
    with toolbox.transaction() as session:
        job = jobs.enqueue(session, kind="intake", arguments={}, dataset_id=dataset.id)
    answer = client.get(f"/api/v1/jobs/{job.id}", headers=token("annotator"))
    assert answer.json == {
        "id": job.id,
        "kind": "intake",
        "state": "queued",
        "done": 0,
        "total": None,
        "error": None,
        "result": None,
    }
    assert client.get(f"/api/v1/jobs/{job.id}", headers=token("reviewer")).status_code == 404
    assert client.get("/api/v1/jobs/4711", headers=token("admin")).status_code == 404
