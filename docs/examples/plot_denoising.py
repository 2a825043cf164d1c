"""
De-noising
==========

With a target the model learns from noisy samples what the clean ones are. A code of ten numbers under a cluster's own
autoencoder cannot hold the noise.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from csrl_core import TensorizedAutoencoder, plotting

X, y = load_digits(n_class=5, return_X_y=True)
X = X / 16
noisy = X + np.random.default_rng(0).normal(scale=0.25, size=X.shape)
train, test = slice(0, 700), slice(700, None)
model = TensorizedAutoencoder(n_clusters=5, hidden=(10,), reg=0, epochs=200, random_state=0)
model.fit(noisy[train], target=X[train])

restored = model.reconstruct(noisy[test])
before, after = (((array - X[test]) ** 2).mean() for array in (noisy[test], restored))
print(f"mean squared error of new images: {before:.4f} with the noise, {after:.4f} restored")
rows = {"clean": X[test][:12], "noisy": noisy[test][:12], "restored": restored[:12]}
plotting.plot_image_rows(rows, (8, 8), fig=plt.figure(figsize=(9, 2.6)))
