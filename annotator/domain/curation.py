"""Groups of faces as the model sees them, and how balanced the labels are."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from annotator.core.db import now
from annotator.core.emotions import LABEL_NAMES
from annotator.core.errors import Conflict, InvalidInput, NotFound
from annotator.domain import agreement, consent, jobs, prediction
from annotator.models import (
    ClusterMember,
    ClusterRun,
    Dataset,
    Face,
    Job,
    Prediction,
    Subject,
    Task,
)

MAX_CLUSTERS = 200
CHUNK = 500  # faces opened in one transaction


@dataclass(frozen=True, slots=True)
class Cluster:
    """One group.

    Attributes:
        number: its number in the run, from 0.
        faces: how many faces it has.
        open: how many of them want votes that nobody holds.
        label: the label that the model suggests most often in it.
        share: the share of its faces for which it does, 0 to 1.
        near: the numbers of the faces nearest to the centre.
    """

    number: int
    faces: int
    open: int
    label: str
    share: float
    near: list[int]


def start_clustering(
    session: Session, *, dataset: Dataset, k: int | None = None, seed: int = 0, by: int | None
) -> Job:
    """Has a worker group a dataset's faces.

    Args:
        session: the open transaction.
        dataset: whose faces.
        k: how many groups, 2 to ``MAX_CLUSTERS``; chosen by the faces when omitted.
        seed: repeats the grouping.
        by: who asked.

    Raises:
        InvalidInput: ``k`` out of bounds.
        Conflict: inference is forbidden here; the sentence says why.
    """
    consent.require_inference(session)
    if k is not None and not 2 <= k <= MAX_CLUSTERS:  # noqa: PLR2004 - one group is none
        raise InvalidInput(f"Choose 2 to {MAX_CLUSTERS} groups.")
    return jobs.enqueue(
        session,
        kind="cluster",
        arguments={"dataset_id": dataset.id, "k": k, "seed": seed},
        dataset_id=dataset.id,
        created_by=by,
    )


def cluster_faces(
    work: jobs.Work, *, dataset_id: int, k: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Job ``cluster``: groups the faces that the current model has looked at.

    Idempotent: the new run replaces the dataset's earlier ones in one transaction. Faces of people
    who do not allow ``prelabel`` (any more) are left out.

    Returns:
        ``faces``, ``clusters``, and the ``run``.

    Raises:
        Conflict: fewer than two faces have an embedding, or inference is forbidden here.
    """
    with work.transaction() as session:
        consent.require_inference(session)
        model_id = prediction.current_model(session).id
    faces, embeddings = _open_embeddings(work, dataset_id, model_id)
    if len(faces) < 2:  # noqa: PLR2004 - one face is no group
        raise Conflict("The model has looked at fewer than two faces; make pre-labels first.")
    found = work.tools.learning.group(embeddings, clusters=k, seed=seed)
    with work.transaction() as session:
        _forget_runs(session, dataset_id)
        run = ClusterRun(
            dataset_id=dataset_id,
            model_id=model_id,
            clusters=found.k,
            seed=seed,
            silhouette=found.silhouette,
        )
        session.add(run)
        session.flush()
        still = set(session.scalars(select(Face.id).where(Face.dataset_id == dataset_id)))
        rows = zip(faces, found.clusters, found.distances, found.places, strict=True)
        session.add_all(
            ClusterMember(run_id=run.id, face_id=face, cluster=cluster, distance=distance, x=x, y=y)
            for face, cluster, distance, (x, y) in rows
            if face in still  # nobody who was erased in the meantime comes back
        )
        run_id = run.id
    work.report(len(faces), len(faces))
    return {"faces": len(faces), "clusters": found.k, "run": run_id}


def _open_embeddings(
    work: jobs.Work, dataset_id: int, model_id: int
) -> tuple[list[int], list[bytes]]:
    query = (
        select(Prediction, Subject)
        .join(Face, Face.id == Prediction.face_id)
        .join(Subject, Subject.id == Face.subject_id)
        .where(Face.dataset_id == dataset_id, Prediction.model_id == model_id)
        .order_by(Face.id)
        .limit(CHUNK)
    )
    faces: list[int] = []
    embeddings: list[bytes] = []
    while True:
        after = faces[-1] if faces else 0
        with work.transaction() as session:
            rows = session.execute(
                query.where(Face.id > after, consent.allowing("prelabel", now()))
            ).all()
            for said, subject in rows:
                faces.append(said.face_id)
                embeddings.append(
                    prediction.open_embedding(work.tools.vault, prediction=said, subject=subject)
                )
        if len(rows) < CHUNK:
            return faces, embeddings
        work.report(len(faces), len(faces) + CHUNK)


def _forget_runs(session: Session, dataset_id: int) -> None:
    runs = select(ClusterRun.id).where(ClusterRun.dataset_id == dataset_id)
    session.execute(delete(ClusterMember).where(ClusterMember.run_id.in_(runs)))
    session.execute(delete(ClusterRun).where(ClusterRun.dataset_id == dataset_id))


def newest_run(session: Session, *, dataset: Dataset) -> ClusterRun | None:
    """The grouping in force; none where no model may look at a face, also not an older one."""
    if consent.inference_forbidden(session) is not None:
        return None
    return session.scalar(
        select(ClusterRun)
        .where(ClusterRun.dataset_id == dataset.id)
        .order_by(ClusterRun.id.desc())
        .limit(1)
    )


def list_clusters(session: Session, *, run: ClusterRun, near: int = 6) -> list[Cluster]:
    """The groups of a run, those with the most open faces first.

    Args:
        session: the open transaction.
        run: the grouping.
        near: how many faces stand for a group; people who may not be shown are left out.
    """
    labels: dict[int, Counter[str]] = defaultdict(Counter)
    for number, label, count in session.execute(_labels(run)):
        labels[number][label] = count
    waiting = {number: count for number, count in session.execute(_open(run))}  # noqa: C416 - rows
    found = []
    for number, counts in labels.items():
        label, most = counts.most_common(1)[0]
        faces = counts.total()
        found.append(
            Cluster(
                number=number,
                faces=faces,
                open=waiting.get(number, 0),
                label=label,
                share=most / faces,
                near=_near(session, run, number, near),
            )
        )
    return sorted(found, key=lambda cluster: (-cluster.open, cluster.number))


def get_cluster(session: Session, *, dataset: Dataset, number: int) -> Cluster:
    """One group of the newest run.

    Raises:
        NotFound: there is no run, or no such group in it.
    """
    run = newest_run(session, dataset=dataset)
    found = list_clusters(session, run=run, near=0) if run else []
    for cluster in found:
        if cluster.number == number:
            return cluster
    raise NotFound("There is no such group; the faces may have been grouped anew.")


def _labels(run: ClusterRun) -> Any:
    return (
        select(ClusterMember.cluster, Prediction.label, func.count())
        .join(
            Prediction,
            (Prediction.face_id == ClusterMember.face_id) & (Prediction.model_id == run.model_id),
        )
        .where(ClusterMember.run_id == run.id)
        .group_by(ClusterMember.cluster, Prediction.label)
        .order_by(ClusterMember.cluster, Prediction.label)
    )


def _open(run: ClusterRun) -> Any:
    return (
        select(ClusterMember.cluster, func.count())
        .join(Task, Task.face_id == ClusterMember.face_id)
        .where(ClusterMember.run_id == run.id, Task.free > 0, ~Task.blind)
        .group_by(ClusterMember.cluster)
    )


def _near(session: Session, run: ClusterRun, number: int, count: int) -> list[int]:
    if not count:
        return []
    return list(
        session.scalars(
            select(ClusterMember.face_id)
            .join(Face, Face.id == ClusterMember.face_id)
            .join(Subject, Subject.id == Face.subject_id)
            .where(
                ClusterMember.run_id == run.id,
                ClusterMember.cluster == number,
                consent.allowing("label", now()),
            )
            .order_by(ClusterMember.distance)
            .limit(count)
        )
    )


def count_labels(session: Session, *, dataset: Dataset) -> list[tuple[str, int]]:
    """Class balance: faces per majority label, in the order of ``LABEL_NAMES``; ties left out."""
    votes = agreement.count_votes(session, dataset=dataset)
    counts = Counter(agreement.majority(unit) for unit in votes.values())
    return [(label, counts[label]) for label in LABEL_NAMES]
