"""
Clusters from changed images
============================

A network learns to tell every image from all others while it is shifted, turned and bent. Images of one digit end up
together, though nothing said so: k-means on the features against k-means on the pixels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from csrl_core import InstanceDiscrimination, metrics

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
pixels = KMeans(10, n_init=10, random_state=0).fit(X).labels_
changes = {"shift": 0.5, "rotation": 10, "zoom": 0.1, "elastic": 3.0, "smoothing": 1.5}
model = InstanceDiscrimination(
    n_clusters=10, image_shape=(8, 8), hidden=(256, 128), epochs=100, random_state=0, **changes
).fit(X)

fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
for ax, name, space, labels in (
    (axes[0], "pixels", X, pixels),
    (axes[1], "features", model.transform(X), model.labels_),
):
    pca = PCA(2).fit(space)
    points, share = pca.transform(space), 100 * pca.explained_variance_ratio_.sum()
    for digit in range(10):
        ax.scatter(*points[y == digit].T, color=f"C{digit}", s=5, label=f"{digit}")
    accuracy = metrics.clustering_accuracy(y, labels)
    ax.set_title(f"{name}: accuracy of k-means {accuracy:.3f}\nPCA of them, {share:.0f} % of the variance", fontsize=11)
    ax.set_xticks([], [])
    ax.set_yticks([], [])
legend = {"title": "digit", "loc": "outside right center", "markerscale": 3}
fig.legend(*axes[0].get_legend_handles_labels(), **legend)
