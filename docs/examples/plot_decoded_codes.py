"""
A plane of images for each cluster
==================================

A variational autoencoder for each cluster turns codes from a Gaussian into images. A grid over its quantiles shows what
each cluster holds. With ``reg=0.5`` the loss is the evidence lower bound; the default, 2, keeps clusters of larger
images apart, and would leave little of the codes of images as small as these.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from csrl_core import TensorizedVAE, metrics, plotting

X, y = load_digits(n_class=3, return_X_y=True)
X = (X / 16).astype(np.float32)
model = TensorizedVAE(n_clusters=3, hidden=(64, 32), reg=0.5, random_state=0).fit(X)
print(f"adjusted Rand index {metrics.adjusted_rand_index(y, model.labels_):.3f}")

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for cluster, ax in enumerate(axes):
    grid = model.traverse(cluster, 7)
    ax.imshow(plotting.mosaic(grid.reshape(-1, 64), (8, 8), columns=7), cmap="Greys")
    ax.set_title(f"cluster {cluster}")
    ax.set_axis_off()
fig.suptitle("Decoded codes, both dimensions from the 1 % to the 99 % quantile of N(0, 1)", fontsize=11)
