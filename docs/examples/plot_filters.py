"""
What machines look for
======================

A restricted Boltzmann machine for each cluster: every hidden unit has a filter, the weights to all pixels.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from csrl_core import TensorizedRBM, metrics, plotting

X, y = load_digits(n_class=2, return_X_y=True)
X = X / 16
model = TensorizedRBM(n_clusters=2, n_hidden=50, random_state=0).fit(X)
print(f"adjusted Rand index {metrics.adjusted_rand_index(y, model.labels_):.3f}")
plotting.plot_filters(model, (8, 8), 16, fig=plt.figure(figsize=(8, 4)))
