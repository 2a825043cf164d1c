"""
Watch the loss, and stop
========================

Callbacks follow scikit-learn's own protocol. `EarlyStopping` ends a fit whose loss has stopped falling; the curve is
kept either way.
"""

import matplotlib.pyplot as plt

from csrl_core import TensorizedAutoencoder, callbacks, datasets

X, _ = datasets.make_lines_3d(random_state=0)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, kept in (("to the end", []), ("stopped", [callbacks.EarlyStopping(patience=20, min_delta=2e-4)])):
    model = TensorizedAutoencoder(n_clusters=3, start="uniform", assignment="loss", epochs=600, random_state=0)
    model.set_callbacks(*kept).fit(X)
    ax.plot(model.loss_curve_, label=f"{name}: {model.n_iter_} epochs, loss {model.loss_:.4f}")
ax.set_yscale("log")
ax.set_xlabel("epoch")
ax.set_ylabel("mean loss of an epoch's batches")
ax.legend()
