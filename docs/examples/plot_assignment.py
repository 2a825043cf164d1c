"""
Clusters by loss, or by likelihood
==================================

Two lines that cross. The lowest reconstruction error alone does not know how wide a cluster is, nor how far its codes
reach; the likelihood of a mixture does (``assignment="likelihood"``).
"""

import matplotlib.pyplot as plt

from csrl_core import TensorizedAutoencoder, datasets, metrics

X, y = datasets.make_orthogonal(random_state=0)
fig, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for ax, assignment in zip(axes, ("loss", "likelihood"), strict=True):
    model = TensorizedAutoencoder(n_clusters=2, hidden=(1,), reg=0, assignment=assignment, n_init=5, random_state=0)
    labels = model.fit(X).labels_
    for cluster, marker in enumerate("os"):
        ax.scatter(*X[labels == cluster, :2].T, s=14, marker=marker, label=f"cluster {cluster}")
    ax.set_title(f"assignment={assignment!r}\nadjusted Rand index {metrics.adjusted_rand_index(y, labels):.2f}")
    ax.set_xlabel(f"first of {X.shape[1]} features")
axes[0].set_ylabel("second feature")
axes[1].legend()
