import math

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from annotator.core.errors import InvalidInput, TooLarge
from annotator.ml import clustering
from annotator.ml.clustering import (
    choose_k,
    cluster_agglomerative,
    cluster_kmeans,
    project_pca,
    project_tsne,
)


def blobs(n: int, groups: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points about directions at right angles, of lengths that mean nothing."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % groups
    points = np.eye(groups, 12)[truth] + rng.normal(0, 0.05, (n, 12))
    return (points * rng.uniform(1, 20, (n, 1))).astype(np.float32), truth


def test_kmeans_finds_groups_whatever_the_length() -> None:
    points, truth = blobs(120, 4)

    found = cluster_kmeans(points, k=4, seed=7)

    assert adjusted_rand_score(truth, found.labels) == 1
    assert (found.k, found.seed) == (4, 7)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    assert found.silhouette == pytest.approx(silhouette_score(unit, truth), abs=1e-5)
    own = np.linalg.norm(unit - found.centres[found.labels], axis=1)
    np.testing.assert_allclose(found.distances, own, atol=1e-6)
    everything = np.linalg.norm(unit[:, None] - found.centres[None], axis=2)
    np.testing.assert_array_equal(everything.argmin(axis=1), found.labels)


def test_the_seed_fixes_the_clusters() -> None:
    points = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)

    first, again = (cluster_kmeans(points, k=5, seed=3) for _ in range(2))

    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.centres, again.centres)


def test_large_sets_go_by_mini_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "MINI_BATCH_FROM", 100)
    monkeypatch.setattr(clustering, "SILHOUETTE_SAMPLE", 50)
    points, truth = blobs(300, 3)

    found = cluster_kmeans(points, k=3, seed=0)

    assert adjusted_rand_score(truth, found.labels) == 1
    assert found.silhouette > 0.5


def test_agglomerative_finds_the_same_groups() -> None:
    points, truth = blobs(60, 3)

    found = cluster_agglomerative(points, k=3)

    assert adjusted_rand_score(truth, found.labels) == 1
    assert found.distances.max() < 0.5


def test_agglomerative_says_when_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "AGGLOMERATIVE_MOST", 10)
    with pytest.raises(TooLarge, match="k-means"):
        cluster_agglomerative(blobs(11, 2)[0], k=2)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_faces_and_equal_faces_are_no_trouble(n: int) -> None:
    same = np.ones((n, 12), np.float32)
    for points in (same, np.zeros_like(same), blobs(n, 2)[0]):
        for found in (cluster_kmeans(points, k=n, seed=0), cluster_agglomerative(points, k=n)):
            assert found.labels.shape == (n,)
            assert math.isnan(found.silhouette) or n > 2
            assert np.isfinite(found.distances).all()
        for plane in (project_pca(points, seed=0), project_tsne(points, seed=0)):
            assert plane.shape == (n, 2)
            assert np.isfinite(plane).all()
    assert not project_pca(same, seed=0).any()


@pytest.mark.parametrize(
    ("points", "k"),
    [
        (np.zeros((0, 12), np.float32), 1),
        (np.zeros(12, np.float32), 1),
        (np.ones((3, 12), np.float32), 0),
        (np.ones((3, 12), np.float32), 4),
        (np.full((3, 12), np.nan, np.float32), 2),
    ],
)
def test_what_cannot_be_grouped_is_refused(points: np.ndarray, k: int) -> None:
    with pytest.raises(InvalidInput):
        cluster_kmeans(points, k=k, seed=0)
    with pytest.raises(InvalidInput):
        cluster_agglomerative(points, k=k)


@pytest.mark.parametrize("project", [project_pca, project_tsne])
def test_planes_keep_groups_apart_and_are_seeded(project) -> None:  # noqa: ANN001 - either
    points, truth = blobs(60, 3)

    plane = project(points, seed=1)

    assert plane.dtype == np.float32
    assert plane.shape == (60, 2)
    assert silhouette_score(plane, truth) > 0.7
    np.testing.assert_array_equal(plane, project(points, seed=1))


def test_the_number_of_clusters_grows_slowly() -> None:
    assert [choose_k(n) for n in (0, 1, 5, 8, 100, 3579, 10**6)] == [1, 1, 5, 8, 8, 42, 200]
