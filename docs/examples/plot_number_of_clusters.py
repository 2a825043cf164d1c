"""
How many clusters?
==================

The Bayesian information criterion weighs the likelihood of a mixture against its number of parameters, without a label.
"""

import matplotlib.pyplot as plt

from csrl_core import datasets, selection

X, y = datasets.make_lines_3d(random_state=0)
chosen = selection.select(X, n_clusters=range(1, 6), latent=(1, 2), random_state=0)
print(f"best: {chosen.best.n_clusters} clusters with codes of {chosen.best.latent}")

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
chosen.plot(ax=ax)
