"""
A model of your own
===================

Losses for every sample under every cluster, and their gradient: the package does the rest. Here every cluster is a
circle of its own radius.
"""

import matplotlib.pyplot as plt
import numpy as np

from csrl_core import ClusterModel, ClusterSpecific, metrics


class Circles(ClusterModel):
    """ℓ_j = (‖x − m_j‖ − r_j)², with the middle m and the radius r of every cluster."""

    def init_parameters(self, X, n_clusters, draw):
        """Start: middles near the mean, radii of different sizes."""
        spread = X.std()
        radius = np.linspace(0.5, 1.5, n_clusters) * spread
        return {"middle": X.mean(axis=0) + draw.normal((n_clusters, X.shape[1]), 0.1 * spread), "radius": radius}

    def losses(self, params, X, target, centers, draw):
        """L (n, k)."""
        return (np.linalg.norm(X[:, None] - params["middle"], axis=2) - params["radius"]) ** 2

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Of the sum of the assigned losses."""
        away = X - params["middle"][assign]
        distance = np.linalg.norm(away, axis=1)
        error = 2 * weights * (distance - params["radius"][assign])
        gradient = {name: np.zeros_like(params[name]) for name in ("middle", "radius")}
        np.add.at(gradient["middle"], assign, -(error / distance)[:, None] * away)
        np.add.at(gradient["radius"], assign, -error)
        return gradient

    def embed(self, params, X, centers, draw):
        """The angle, (n, k, 1)."""
        away = X[:, None] - params["middle"]
        return np.arctan2(away[..., 1], away[..., 0])[..., None]


rng = np.random.default_rng(0)
y, angle = np.repeat([0, 1], 150), rng.uniform(0, 2 * np.pi, 300)
radius = np.array([1.0, 2.5])[y] + rng.normal(scale=0.1, size=300)
X = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
model = ClusterSpecific(Circles(), n_clusters=2, center=False, n_init=10, epochs=200, random_state=0).fit(X)
print(f"adjusted Rand index {metrics.adjusted_rand_index(y, model.labels_):.3f}")

fig, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for cluster, marker in enumerate("os"):
    ax.scatter(*X[model.labels_ == cluster].T, s=14, marker=marker, label=f"cluster {cluster}")
ax.set_title("Clusters that are circles")
ax.set_xlabel("first feature")
ax.set_ylabel("second feature")
ax.set_aspect("equal")
ax.legend()
