"""Many people at once on one file: nobody gets a face twice, no face gets too many votes."""

import threading
import uuid
from collections import Counter

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from annotator.domain import accounts, labelling
from annotator.models import Annotation, Dataset, Lease, Task, User
from tests.factories import make_dataset, make_open_task, make_subject, make_user
from tests.fakes import FakeVault

PEOPLE, FACES, WANTED = 8, 40, 3


def test_eight_people_at_once(engine: Engine, session: Session, vault: FakeVault) -> None:
    dataset = make_dataset(session, votes_per_face=WANTED)
    subject = make_subject(session, vault, dataset)
    for _ in range(FACES):
        make_open_task(session, vault, dataset, subject)
    users = [make_user(session) for _ in range(PEOPLE)]
    for user in users:
        accounts.add_member(session, user=user, dataset=dataset, by=None)
    session.commit()
    lent: dict[int, list[int]] = {user.id: [] for user in users}
    failures: list[BaseException] = []
    start = threading.Barrier(PEOPLE)

    def work(user_id: int) -> None:
        try:
            start.wait()
            _label_all(engine, dataset.id, user_id, lent[user_id])
        except BaseException as error:  # noqa: BLE001 - told in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(user.id,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for tasks in lent.values():
        assert len(tasks) == len(set(tasks))  # nobody got a face twice
    votes = Counter(session.scalars(select(Annotation.task_id)))
    assert set(votes.values()) == {WANTED}
    assert len(votes) == FACES
    assert session.scalar(select(Lease.id).where(Lease.held)) is None
    assert {(task.given, task.free, task.state) for task in session.scalars(select(Task))} == {
        (WANTED, 0, "done")
    }


def _label_all(engine: Engine, dataset_id: int, user_id: int, lent: list[int]) -> None:
    maker = sessionmaker(engine, expire_on_commit=False)
    while True:
        with maker() as session:
            session.connection(execution_options={"writing": True})
            user = session.get_one(User, user_id)
            dataset = session.get_one(Dataset, dataset_id)
            leased = labelling.lease_tasks(session, dataset=dataset, user=user, n=4)
            ids = [item.task.id for item in leased]
            session.commit()
        if not ids:
            return
        lent += ids
        for task_id in ids:
            with maker() as session:
                session.connection(execution_options={"writing": True})
                user = session.get_one(User, user_id)
                client_id = str(uuid.uuid4())
                for _ in range(2):  # a repeat is not a second vote
                    labelling.annotate(
                        session, user=user, client_id=client_id, task_id=task_id, label="fear"
                    )
                session.commit()
