"""
Four kinds of data
==================

Lines that differ in direction, round clouds, binary answers and images: what k-means finds in them, and what a model
with a representation for each cluster does. Numbers are adjusted Rand indices; classes are used for nothing else.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA

from csrl_core import TensorizedAutoencoder, TensorizedRBM, TensorizedVAE, datasets, metrics

rng = np.random.default_rng(0)
kind = np.repeat([0, 1, 2], 100)
likely = rng.choice([0.25, 0.75], size=(3, 12))
answers = (rng.random((300, 12)) < likely[kind]).astype(float)
images, digits = load_digits(n_class=5, return_X_y=True)
cases = {
    "lines": (*datasets.make_lines_3d(random_state=0), TensorizedAutoencoder(n_clusters=3, random_state=0)),
    "round clouds": (
        *make_blobs(300, 2, centers=3, cluster_std=1.5, random_state=3),
        TensorizedAutoencoder(n_clusters=3, hidden=(1,), epochs=600, random_state=0),
    ),
    "binary answers": (answers, kind, TensorizedRBM(n_clusters=3, n_hidden=10, random_state=0)),
    "images": (images / 16, digits, TensorizedVAE(n_clusters=5, hidden=(64, 32), reg=0.5, random_state=0)),
}

fig, axes = plt.subplots(1, 4, figsize=(14, 3.8), layout="constrained")
for ax, (name, (X, y, model)) in zip(axes, cases.items(), strict=True):
    k_means = KMeans(model.n_clusters, n_init=10, random_state=0).fit(X)
    scores = [metrics.adjusted_rand_index(y, each.labels_) for each in (k_means, model.fit(X))]
    pca = PCA(2).fit(X)
    points, share = pca.transform(X), 100 * pca.explained_variance_ratio_.sum()
    for c, marker in zip(range(model.n_clusters), "os^Dv", strict=False):
        ax.scatter(*points[y == c].T, s=8, marker=marker, label=f"class {c}")
    ax.set_title(f"{name}\nk-means {scores[0]:.2f}, {type(model).__name__} {scores[1]:.2f}", fontsize=10)
    what = "both dimensions" if X.shape[1] == 2 else f"PCA of {X.shape[1]}, {share:.0f} % of the variance"
    ax.set_xlabel(what, fontsize=9)
    ax.set_xticks([], [])
    ax.set_yticks([], [])
fig.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=5, markerscale=2, frameon=False)
