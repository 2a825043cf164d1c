"""
One autoencoder for all, or one for each cluster
================================================

Three lines in space. One autoencoder with a code of one number can only learn one line through all of them. With an
autoencoder for each cluster every line gets its own, and the samples find theirs.
"""

import matplotlib.pyplot as plt

from csrl_core import TensorizedAutoencoder, datasets, metrics, plotting

X, y = datasets.make_lines_3d(random_state=0)
one = TensorizedAutoencoder(n_clusters=1, center=False, random_state=0).fit(X)
several = TensorizedAutoencoder(n_clusters=3, random_state=0).fit(X)
print(f"adjusted Rand index {metrics.adjusted_rand_index(y, several.labels_):.3f}")

plotting.plot_figure_1(one, several, X, y, fig=plt.figure(figsize=(10, 7), layout="constrained"))
