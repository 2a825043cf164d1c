"""
What machines dream
===================

Samples of every machine by Gibbs sampling, and how likely each sample of the data is under all of them together.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from csrl_core import TensorizedRBM, plotting

X, y = load_digits(n_class=2, return_X_y=True)
X = X / 16
model = TensorizedRBM(n_clusters=2, n_hidden=50, persistent=True, random_state=0).fit(X)
plotting.plot_samples(model, (8, 8), 25, random_state=0, fig=plt.figure(figsize=(8, 4)))

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.hist([model.score_samples(X[y == digit]) for digit in (0, 1)], 30, label=["digit 0", "digit 1"])
ax.set_xlabel("log p(x), nats")
ax.set_ylabel("images")
ax.legend()
