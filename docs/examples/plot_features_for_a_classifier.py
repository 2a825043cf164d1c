"""
Features of a machine before a classifier
=========================================

Scikit-learn's example of restricted Boltzmann machines: handwritten digits, moved by one pixel in each direction, and a
logistic regression on pixels, on features of `BernoulliRBM`, and on those of one `TensorizedRBM`.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import shift
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline

from csrl_core import TensorizedRBM

X, y = load_digits(return_X_y=True)
images = X.reshape(-1, 8, 8) / 16
moves = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
X = np.concatenate([shift(images, (0, *move), order=0).reshape(len(images), -1) for move in moves])
train, test, train_y, test_y = train_test_split(X, np.tile(y, len(moves)), test_size=0.2, random_state=0)

features = {
    "pixels": [],
    "BernoulliRBM": [BernoulliRBM(100, learning_rate=0.06, n_iter=10, random_state=0)],
    "TensorizedRBM": [
        TensorizedRBM(n_clusters=1, n_hidden=100, optimizer="sgd", learning_rate=0.06, batch_size=10, epochs=10,
                      weight_decay=0.0, random_state=0)
    ],
}  # fmt: skip
scores = {}
for name, before in features.items():
    pipeline = make_pipeline(*before, LogisticRegression(C=100, solver="newton-cg", tol=1e-3))
    scores[name] = pipeline.fit(train, train_y).score(test, test_y)
    print(f"{name:14} {scores[name]:.3f}")

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), color="0.45")
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set_xlabel("accuracy on new images")
ax.set_xlim(0, 1.12)
