"""
Where new images lie
====================

Codes of images that a variational autoencoder has not seen, each in the plane of its own cluster, with the Gaussian
that codes are drawn from. What lies far outside is unlike what the cluster has learnt.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from csrl_core import TensorizedVAE

X, y = load_digits(n_class=3, return_X_y=True)
X = (X / 16).astype(np.float32)
train, test = slice(0, 400), slice(400, None)
model = TensorizedVAE(n_clusters=3, hidden=(64, 32), reg=0.5, random_state=0).fit(X[train])

labels, codes = model.predict(X[test]), model.transform(X[test])
fig, axes = plt.subplots(1, 3, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained")
angle = np.linspace(0, 2 * np.pi, 200)
for cluster, ax in enumerate(axes):
    for digit, marker in enumerate("os^"):
        own = (labels == cluster) & (y[test] == digit)
        ax.scatter(*codes[own].T, s=14, marker=marker, label=f"digit {digit}")
    for radius in (1, 2):
        ring = "1 and 2 standard deviations" if radius == 1 else None
        ax.plot(radius * np.cos(angle), radius * np.sin(angle), color="0.7", linewidth=0.8, label=ring)
    ax.set_title(f"cluster {cluster}")
    ax.set_xlabel("first dimension of the code")
    ax.set_aspect("equal")
axes[0].set_ylabel("second dimension")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
