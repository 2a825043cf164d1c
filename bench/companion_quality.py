"""Does a companion objective on its encoder help a tensorized autoencoder? Clusters of MNIST digits, pair by pair.

    CSRL_DATA=/path/to/data python bench/companion_quality.py

The encoder has a layer h = tanh(W x + b) that clusters share; every cluster has a linear bottleneck and decoder:
ℓ_ij = ‖x_i − c_j − U_jᵀ V_jᵀ h_i‖². Beside Σ ℓ the model minimises n λ D_cs(A, K_h), A_i = softmax_j(−ℓ_ij / T) with T
the mean of the lowest losses, K_h the Gaussian kernel of h; σ² and T are constants of the gradient. A draw has 100
images of each of five digits, and one initial assignment, initial weights and order for every λ. Intervals are
Student's, 95 %.
"""

import argparse

import numpy as np

from csrl_core import ClusterModel, ClusterSpecific, divergence, metrics, mismatch
from csrl_core.experiments.images import draw_images
from csrl_core.experiments.ofm_summary import student


class CompanionAutoencoder(ClusterModel):
    """A tensorized autoencoder with a companion objective of weight λ on what its encoder's layer gives."""

    def __init__(self, weight, hidden=64, latent=8):
        self.weight, self.hidden, self.latent = weight, hidden, latent

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in)."""
        d, h, m = X.shape[1], self.hidden, self.latent
        shapes = {"W": (1, d, h), "b": (1, h), "V": (n_clusters, h, m), "U": (n_clusters, m, d)}
        bounds = {"W": d, "b": d, "V": h, "U": m}
        return {name: draw.uniform(shape, -1, 1) / np.sqrt(bounds[name]) for name, shape in shapes.items()}

    def _forward(self, params, X, centers):
        """(h, codes (n, k, m), residuals (n, k, d), L (n, k))."""
        h = np.tanh(X @ params["W"][0] + params["b"][0])
        Z = np.stack([h @ V for V in params["V"]], axis=1)
        R = np.stack([X - c - Z[:, j] @ params["U"][j] for j, c in enumerate(centers)], axis=1)
        return h, Z, R, (R * R).sum(axis=2)

    def losses(self, params, X, target, centers, draw):
        """ℓ (n, k)."""
        return self._forward(params, X, centers)[3]

    def embed(self, params, X, centers, draw):
        """Z (n, k, m)."""
        return self._forward(params, X, centers)[1]

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Of the losses and of the companion."""
        return self.losses_and_gradient(params, X, target, centers, assign, weights, draw)[2]

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient of Σ w ℓ and of Σ w · λ · companion)."""
        h, Z, R, L = self._forward(params, X, centers)
        assign = L.argmin(axis=1) if assign is None else assign
        dL, dh = np.zeros_like(L), np.zeros_like(h)
        dL[np.arange(len(X)), assign] = weights
        if self.weight:
            scale = L.dtype.type(self.weight * weights.sum())
            _, own, dh = self.companion(L, h)
            dL, dh = dL + scale * own, scale * dh
        return L, assign, self._backward(params, X, (h, Z, R), dL, dh)

    @staticmethod
    def companion(L, h, temperature=None, variance=None):
        """(D_cs(A, K_h), its gradients with respect to L and h)."""
        temperature = L.dtype.type(L.min(axis=1).mean() if temperature is None else temperature)
        E = np.exp((L.min(axis=1, keepdims=True) - L) / temperature)
        A = E / E.sum(axis=1, keepdims=True)
        D, back = divergence.vector_distances(h, backend="numpy")
        K, back_to_D = divergence.gaussian_kernel(D, variance, backend="numpy")
        value, dA, dK = divergence.cauchy_schwarz(A, K, backend="numpy")
        logits = A * (dA - (A * dA).sum(axis=1, keepdims=True))
        return value, -logits / temperature, back(back_to_D(dK))

    def _backward(self, params, X, kept, dL, dh):
        h, Z, R = kept
        gradient = {"V": np.empty_like(params["V"]), "U": np.empty_like(params["U"])}
        for j, (V, U) in enumerate(zip(params["V"], params["U"])):
            G = -2 * dL[:, j, None] * R[:, j]
            dZ = G @ U.T
            gradient["U"][j], gradient["V"][j], dh = Z[:, j].T @ G, h.T @ dZ, dh + dZ @ V.T
        before = dh * (1 - h * h)
        return gradient | {"W": (X.T @ before)[None], "b": before.sum(axis=0)[None]}


def check():
    """Raise where the gradient is not that of differences, σ² and T being fixed."""
    random = np.random.default_rng(0)
    model, X, centers = CompanionAutoencoder(3.0, 4, 2), random.normal(size=(9, 5)), random.normal(size=(3, 5))
    shapes = {"W": (1, 5, 4), "b": (1, 4), "V": (3, 4, 2), "U": (3, 2, 5)}
    params = {name: random.normal(size=shape) for name, shape in shapes.items()}
    weights, assign = random.uniform(1, 2, 9), np.arange(9) % 3
    h, _, _, L = model._forward(params, X, centers)
    T, variance = L.min(axis=1).mean(), 0.15 * np.median(divergence.vector_distances(h)[0])

    def value():
        h, _, _, L = model._forward(params, X, centers)
        return weights @ L[np.arange(9), assign] + 3 * weights.sum() * model.companion(L, h, T, variance)[0]

    gradient = model.gradient(params, X, X, centers, assign, weights, None)
    for name, array in params.items():
        for at in list(np.ndindex(array.shape))[:6]:
            array[at] += 1e-6
            above = value()
            array[at] -= 2e-6
            by = (above - value()) / 2e-6
            array[at] += 1e-6
            np.testing.assert_allclose(gradient[name][at], by, rtol=1e-5, atol=1e-6)


def fit(weight, X, y, seed, epochs):
    """(ARI, mean loss, cosine of both objectives' gradients in the encoder at the end)."""
    model = ClusterSpecific(
        CompanionAutoencoder(weight), n_clusters=5, init="k-means", epochs=epochs, batch_size=100, learning_rate=2e-3
    )
    model.set_params(backend="numpy", random_state=seed).fit(X)
    gradients = []
    for value in (0.0, 1.0):
        model.model.weight = value
        gradients.append(mismatch.gradient(model, X, model.labels_))
    model.model.weight = weight
    companion = {name: gradients[1][name] - gradients[0][name] for name in gradients[0]}
    cosine = mismatch.cosine(gradients[0], companion, ("W", "b"))
    return metrics.adjusted_rand_index(y, model.labels_), model.loss_, cosine


def interval(values):
    """mean [low, high]"""
    values = np.array(values)
    half = student(len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def main():
    """Print a row for every λ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.3, 3.0, 30.0])
    given = parser.parse_args()
    check()
    found = {weight: [] for weight in given.weights}
    for seed in range(given.draws):
        (X, y), _ = draw_images("mnist", range(5), seed, 100, 0)
        for weight in given.weights:
            found[weight].append(fit(weight, X, y, seed, given.epochs))
    first = np.array(found[given.weights[0]])
    print(f"{'λ':>6}{'ARI, median':>13}{'ARI less that of the first':>31}{'loss':>8}{'cosine':>29}")
    for weight, rows in found.items():
        ARI, loss, cosine = np.array(rows).T
        gain = interval(ARI - first[:, 0]) if weight != given.weights[0] else ""
        print(f"{weight:>6g}{np.median(ARI):>13.3f}{gain:>31}{loss.mean():>8.2f}{interval(cosine):>29}", flush=True)


if __name__ == "__main__":
    main()
