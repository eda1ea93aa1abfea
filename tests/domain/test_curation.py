"""Grouping faces, and what a sweep page makes of the groups."""

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import accounts, consent, curation, labelling
from annotator.models import (
    ClusterMember,
    ClusterRun,
    Dataset,
    Installation,
    Job,
    Subject,
    Task,
    User,
)
from tests.factories import (
    make_dataset,
    make_face,
    make_model,
    make_open_task,
    make_prediction,
    make_subject,
    make_user,
)
from tests.fakes import FakeVault, FakeWork

FACES = 8


@pytest.fixture
def dataset(session: Session) -> Dataset:
    return make_dataset(session, votes_per_face=1, blind_share=0)


@pytest.fixture
def tasks(session: Session, vault: FakeVault, dataset: Dataset) -> list[Task]:
    """Faces 0, 2, 4, 6 in one group, the odd ones in the other; the later, the nearer."""
    model = make_model(session)
    made = [make_open_task(session, vault, dataset) for _ in range(FACES)]
    for at, task in enumerate(made):
        make_prediction(
            session,
            vault,
            task.face,
            model,
            label="anger" if at in {1, 3, 5, 0} else "fear",
            embedding=bytes([at % 2, FACES - at, 0, 0]),
        )
    session.commit()
    return made


@pytest.fixture
def run(dataset: Dataset, tasks: list[Task], work: FakeWork) -> dict[str, Any]:
    return curation.cluster_faces(work, dataset_id=dataset.id, k=2, seed=3)


@pytest.fixture
def ann(session: Session, dataset: Dataset) -> User:
    user = make_user(session)
    accounts.add_member(session, user=user, dataset=dataset, by=None)
    return user


def test_grouping_is_a_job(session: Session, dataset: Dataset) -> None:
    job = curation.start_clustering(session, dataset=dataset, k=4, seed=3, by=None)
    assert (job.kind, job.arguments) == ("cluster", {"dataset_id": dataset.id, "k": 4, "seed": 3})
    assert session.get_one(Job, job.id).dataset_id == dataset.id
    with pytest.raises(InvalidInput):
        curation.start_clustering(session, dataset=dataset, k=1, by=None)


def test_the_job_twice_gives_the_same(
    session: Session, dataset: Dataset, run: dict[str, Any], work: FakeWork
) -> None:
    assert (run["faces"], run["clusters"]) == (FACES, 2)
    again = curation.cluster_faces(work, dataset_id=dataset.id, k=2, seed=3)
    assert (again["faces"], again["clusters"]) == (FACES, 2)
    assert session.scalar(select(func.count()).select_from(ClusterRun)) == 1
    assert session.scalar(select(func.count()).select_from(ClusterMember)) == FACES
    assert work.reports[-1] == (FACES, FACES)


def test_too_few_faces_are_refused(session: Session, dataset: Dataset, work: FakeWork) -> None:
    make_model(session)
    session.commit()
    with pytest.raises(Conflict, match="fewer than two"):
        curation.cluster_faces(work, dataset_id=dataset.id)


def test_who_does_not_allow_a_model_is_left_out(
    session: Session, vault: FakeVault, dataset: Dataset, tasks: list[Task], work: FakeWork
) -> None:
    subject = session.get_one(Subject, tasks[0].face.subject_id)
    consent.withdraw_purposes(session, subject=subject, purposes=["prelabel"])
    session.commit()
    assert curation.cluster_faces(work, dataset_id=dataset.id, k=2)["faces"] == FACES - 1


def test_groups_tell_label_share_and_open_faces(
    session: Session, dataset: Dataset, tasks: list[Task], run: dict[str, Any]
) -> None:
    newest = curation.newest_run(session, dataset=dataset)
    assert newest is not None
    tasks[0].free = 0
    session.flush()
    odd, even = curation.list_clusters(session, run=newest)
    assert (odd.number, odd.faces, odd.open, odd.label, odd.share) == (1, 4, 4, "anger", 0.75)
    assert (even.number, even.faces, even.open, even.label) == (0, 4, 3, "fear")
    assert odd.near == [tasks[at].face_id for at in (7, 5, 3, 1)]
    assert curation.get_cluster(session, dataset=dataset, number=1).label == "anger"
    with pytest.raises(NotFound):
        curation.get_cluster(session, dataset=dataset, number=9)


def test_a_sweep_page_is_one_group_nearest_first(
    session: Session, dataset: Dataset, tasks: list[Task], run: dict[str, Any], ann: User
) -> None:
    tasks[3].blind = True
    session.flush()
    page = labelling.sweep_page(
        session, dataset=dataset, user=ann, theme=labelling.Theme(cluster=1), n=60
    )
    assert [item.task.id for item in page] == [tasks[at].id for at in (7, 5, 1)]
    assert {item.prelabel.label for item in page if item.prelabel} == {"anger", "fear"}
    again = labelling.sweep_page(
        session, dataset=dataset, user=ann, theme=labelling.Theme(cluster=1), n=60
    )
    assert [item.task.id for item in again] == [item.task.id for item in page]


def test_a_sweep_page_by_label(
    session: Session, dataset: Dataset, tasks: list[Task], run: dict[str, Any], ann: User
) -> None:
    theme = labelling.Theme(label="anger")
    page = labelling.sweep_page(session, dataset=dataset, user=ann, theme=theme, n=60)
    assert [item.task.id for item in page] == [tasks[at].id for at in (0, 5, 3, 1)]


def test_an_unfinished_page_is_given_back(
    session: Session, dataset: Dataset, tasks: list[Task], run: dict[str, Any], ann: User
) -> None:
    for cluster in (0, 1):
        theme = labelling.Theme(cluster=cluster)
        labelling.sweep_page(session, dataset=dataset, user=ann, theme=theme)
    held = labelling.list_held(session, dataset=dataset, user=ann)
    assert {item.task.id for item in held} == {tasks[at].id for at in (1, 3, 5, 7)}
    assert {tasks[at].free for at in (0, 2, 4, 6)} == {1}


def test_odd_ones_go_to_focus_and_a_page_is_taken_back(
    session: Session, dataset: Dataset, tasks: list[Task], run: dict[str, Any], ann: User
) -> None:
    theme = labelling.Theme(cluster=1)
    page = labelling.sweep_page(session, dataset=dataset, user=ann, theme=theme)
    odd, *rest = [item.task.id for item in page]
    labelling.lend_to_focus(session, user=ann, task_ids=[odd])
    for task_id in rest:
        labelling.annotate(
            session,
            user=ann,
            client_id=f"00000000-0000-4000-8000-{task_id:012}",
            task_id=task_id,
            label="anger",
            mode="sweep",
            page="page-1",
        )
    (first,) = labelling.lease_tasks(session, dataset=dataset, user=ann, n=1)
    assert first.task.id == odd
    assert labelling.take_back_page(session, user=ann, page="page-1") == len(rest)
    again = labelling.list_page(session, dataset=dataset, user=ann, theme=theme)
    assert [item.task.id for item in again] == rest
    assert labelling.take_back_page(session, user=ann, page="page-1") == 0


def test_a_theme_is_one_of_two() -> None:
    for both in ({}, {"cluster": 1, "label": "fear"}):
        with pytest.raises(InvalidInput):
            labelling.Theme(**both)


def test_balance_counts_majorities(session: Session, vault: FakeVault, dataset: Dataset) -> None:
    subject = make_subject(session, vault, dataset)
    for votes in ({"fear": 2, "anger": 1}, {"fear": 3}, {"fear": 1, "anger": 1}):
        make_face(session, vault, subject, votes)
    assert dict(curation.count_labels(session, dataset=dataset))["fear"] == 2
    assert sum(count for _, count in curation.count_labels(session, dataset=dataset)) == 2


@pytest.mark.parametrize("context", ["workplace", "education"])
def test_where_inference_is_forbidden_nobody_is_grouped(
    session: Session, work: FakeWork, context: str
) -> None:
    dataset = make_dataset(session)
    session.add(Installation(install="test", context=context))
    session.commit()
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        curation.start_clustering(session, dataset=dataset, by=None)
    with pytest.raises(Conflict, match=r"Article 5\(1\)\(f\)"):
        curation.cluster_faces(work, dataset_id=dataset.id)
