"""Groups of alike faces and their places on a plane, from embeddings.

Embeddings are scaled to length 1 first, so that a distance speaks of direction alone. Everything
is fixed by its seed.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import AgglomerativeClustering, KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score

from annotator.core.errors import InvalidInput, TooLarge
from annotator.ml.arrays import FEWEST_CLASSES, FloatArray, IntArray

MINI_BATCH_FROM = 20_000
"""Faces from which k-means looks at small batches instead of at everything."""
AGGLOMERATIVE_MOST = 20_000
"""Faces; the method keeps all pairwise distances, 1.5 GiB at this number."""
SILHOUETTE_SAMPLE = 2_000
TSNE_LEAST = 4
TSNE_DIMENSIONS = 50
MOST_CLUSTERS = 200
USUAL_LEAST = 8


@dataclass(frozen=True)
class Clusters:
    """A clustering of N embeddings.

    Attributes:
        labels: int32 (N,), from 0 to k - 1.
        distances: float32 (N,), from each to its own centre, from 0 to 2.
        centres: float32 (k, D).
        silhouette: mean silhouette of at most 2,000 of them (Rousseeuw, 1987), from -1 to 1;
            NaN where it is not defined (one cluster, or each face its own).
        seed: what fixed it.
        k: how many clusters were asked for; identical faces may fill fewer.
    """

    labels: IntArray
    distances: FloatArray
    centres: FloatArray
    silhouette: float
    seed: int
    k: int


def choose_k(n: int) -> int:
    """How many clusters n faces are shown in by default: sqrt(n / 2), from 8 to 200, at most n."""
    return max(1, min(n, MOST_CLUSTERS, max(USUAL_LEAST, round(math.sqrt(n / 2)))))


def cluster_kmeans(embeddings: FloatArray, *, k: int, seed: int) -> Clusters:
    """Clusters by k-means, by mini-batches (Sculley, WWW 2010) from 20,000 faces on.

    Args:
        embeddings: (N, D).
        k: number of clusters, from 1 to N.
        seed: fixes the first centres.

    Raises:
        InvalidInput: no faces, or a k that is out of bounds.
    """
    points = _normalise(embeddings, k)
    if len(points) < MINI_BATCH_FROM:
        model = KMeans(k, n_init=4, random_state=seed)
    else:
        model = MiniBatchKMeans(k, n_init=3, batch_size=4096, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different faces than clusters: some stay empty, which does no harm here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit_predict(points)
    return _describe(points, labels, model.cluster_centers_, seed)


def cluster_agglomerative(embeddings: FloatArray, *, k: int) -> Clusters:
    """Clusters by merging the closest groups (Ward, 1963); needs no seed.

    Args:
        embeddings: (N, D), N at most 20,000.
        k: number of clusters, from 1 to N.

    Raises:
        InvalidInput: no faces, or a k that is out of bounds.
        TooLarge: more faces than fit into memory.
    """
    points = _normalise(embeddings, k)
    if len(points) > AGGLOMERATIVE_MOST:
        raise TooLarge(
            f"Agglomerative clustering takes at most {AGGLOMERATIVE_MOST} faces; "
            "use k-means for more."
        )
    labels = np.zeros(len(points), np.int32)
    if len(points) > 1:
        labels = AgglomerativeClustering(k, linkage="ward").fit_predict(points)
    centres = np.stack([points[labels == label].mean(axis=0) for label in range(k)])
    return _describe(points, labels, centres, 0)


def project_pca(embeddings: FloatArray, *, seed: int) -> FloatArray:
    """Places faces on the plane of greatest variance.

    Args:
        embeddings: (N, D).
        seed: fixes the solver.

    Returns:
        float32 (N, 2); zeros when all faces are the same.
    """
    points = _normalise(embeddings, 1)
    plane = np.zeros((len(points), 2), np.float32)
    if np.ptp(points, axis=0).any():
        parts = min(2, *points.shape)
        plane[:, :parts] = PCA(parts, random_state=seed).fit_transform(points)
    return plane


def project_tsne(embeddings: FloatArray, *, seed: int) -> FloatArray:
    """Places faces so that neighbours stay neighbours (van der Maaten and Hinton, 2008).

    Distances between far groups mean nothing on this plane. Takes up to half a minute
    for 3,000 faces on two busy cores; with fewer than four, or all the same, it is the PCA plane.

    Args:
        embeddings: (N, D).
        seed: fixes the result.

    Returns:
        float32 (N, 2).
    """
    points = _normalise(embeddings, 1)
    if len(points) < TSNE_LEAST or not np.ptp(points, axis=0).any():
        return project_pca(embeddings, seed=seed)
    parts = min(TSNE_DIMENSIONS, *points.shape)
    reduced = PCA(parts, random_state=seed).fit_transform(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="random", random_state=seed).fit_transform(reduced)
    result: FloatArray = plane.astype(np.float32)
    return result


def _normalise(embeddings: FloatArray, k: int) -> FloatArray:
    if not embeddings.size or embeddings.shape != (len(embeddings), embeddings.shape[-1]):
        raise InvalidInput("There are no faces to group.")
    if not 1 <= k <= len(embeddings):
        raise InvalidInput(
            f"The number of clusters must be from 1 to {len(embeddings)}, the number of faces."
        )
    if not np.isfinite(embeddings).all():
        raise InvalidInput("Some embeddings are not numbers; run the predictions again.")
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1, keepdims=True)
    scaled: FloatArray = embeddings.astype(np.float32) / np.maximum(lengths, np.float32(1e-12))
    return scaled


def _describe(points: FloatArray, labels: IntArray, centres: FloatArray, seed: int) -> Clusters:
    labels = labels.astype(np.int32)
    centres = centres.astype(np.float32)
    distances = np.linalg.norm(points - centres[labels], axis=1).astype(np.float32)
    silhouette = _sampled_silhouette(points, labels, seed)
    return Clusters(labels, distances, centres, silhouette, seed, len(centres))


def _sampled_silhouette(points: FloatArray, labels: IntArray, seed: int) -> float:
    if len(points) > SILHOUETTE_SAMPLE:
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(points), SILHOUETTE_SAMPLE, replace=False)
        points, labels = points[chosen], labels[chosen]
    if not FEWEST_CLASSES <= len(np.unique(labels)) < len(points):
        return math.nan
    return float(silhouette_score(points, labels))
