"""
Layers that clusters share
==========================

The outer layers of the encoders and decoders can be the same for all clusters (PTAE). That takes fewer parameters, and
helps or hurts depending on whether the clusters have anything in common. Here the lines have different directions,
which the shared layer can hold only as far as its width allows.
"""

import matplotlib.pyplot as plt

from csrl_core import TensorizedAutoencoder, datasets, metrics

X, y = datasets.make_lines_3d(random_state=0)
found = []
for hidden, shared in (((2, 1), 0), ((2, 1), 1), ((3, 1), 1), ((5, 1), 1)):
    settings = {"hidden": hidden, "shared": shared, "assignment": "loss", "n_init": 5}
    model = TensorizedAutoencoder(n_clusters=3, random_state=0, **settings).fit(X)
    name = f"{'PTAE' if shared else 'TAE'} {hidden}\n{len(model.params_)} parameters"
    found.append((name, metrics.adjusted_rand_index(y, model.labels_)))

fig, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.bar(*zip(*found, strict=True), color="0.45")
ax.set_ylabel("adjusted Rand index")
ax.set_ylim(0, 1.05)
ax.set_title("Three lines, clusters by the lowest loss")
