"""The variational autoencoder of every cluster as a `ClusterModel`; the mathematics is in `csrl_core.reference.vae`."""

from dataclasses import dataclass, replace

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.base import ClusterModel
from csrl_core.models.network import Pass, Rows, picked
from csrl_core.reference.network import BATCH_NORM, Draws
from csrl_core.training.draws import Use

ROWS = 1024  # samples whose densities are worked out at a time


@dataclass(frozen=True)
class Learning:
    """A batch's passes through trunk, heads and decoder, and what else the loss took; draws: of samples, of rows."""

    rows: Rows
    trunk: Pass
    heads: Pass
    decoder: Pass
    target: np.ndarray
    noise: np.ndarray
    draws: tuple


class VAEModel(ClusterModel):
    """An encoder whose last layer gives means and log-variances, and a decoder, by the backend's kernels.

    networks : `Networks` with the parts "encoder" and "decoder"; output : a name of `csrl_core.reference.vae.OUTPUTS`
    variance : σ² of Gaussian output; reg : β; centred : bool, whether losses use centres
    """

    translation_invariant = True
    standing_epochs = 20

    def __init__(self, backend, networks, output, variance, reg, centred):
        self.kernel, self.network, self.philox = backend.vae, backend.network, backend.philox
        self.assign, self.own, self.networks, self.centred = backend.assign, backend.own, networks, centred
        self.output, self.variance, self.reg = self.kernel.OUTPUTS[output], float(variance), float(reg)
        self.bernoulli = self.output == self.kernel.BERNOULLI
        border = networks.shared("encoder")
        self.trunk, self.heads = networks.piece("encoder", 0, border), networks.piece("encoder", border)
        self.decoder = networks.piece("decoder")
        self.latent = networks.output["encoder"][0] // 2
        self.coupled = self.couples_batch = BATCH_NORM in networks.kinds()

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        return self.networks.initial(draw)

    def init_state(self, params, data, assign, centers, draw):
        """Running averages of batch normalisation."""
        return self.networks.initial_state(params.state, data.X.dtype)

    # Passes

    def _relative(self, X, centers, rows):
        """x̃ of every row: x − c_j, squashed for Bernoulli output."""
        x = rows.spread(X) - centers[self.own(rows.clusters())]
        return 1 / (1 + np.exp(-x)) if self.bernoulli else x

    def _target(self, target, centers, rows):
        """t̃ of every row, or of every sample where rows repeat them."""
        if self.centred:
            return self._relative(target, centers, rows)
        return target if rows.order is None else target[rows.order]

    def _predict(self, piece, params, X, bounds, state):
        return self.network.predict(params.flat[piece.params], piece.network, X, bounds, state[piece.state])

    def _encode(self, params, X, centers, rows):
        """Heads (m, 2 h) after training, with the state that they were computed with."""
        state = self.networks.state(params.state, X)
        if self.centred:
            x = self._predict(self.trunk, params, self._relative(X, centers, rows), rows.bounds, state)
        else:
            x = rows.spread(self._predict(self.trunk, params, X, rows.alone(), state))
        return self._predict(self.heads, params, x, rows.bounds, state), state

    def _forward(self, params, X, target, centers, rows, noise, draws):
        """The `Learning` of rows in training, and the new state."""
        state = self.networks.state(params.state, X)

        def run(piece, x, bounds, draws):
            out, tape, state[piece.state] = self.network.forward(
                params.flat[piece.params], piece.network, x, bounds, state[piece.state], True, draws
            )
            return Pass(x, out, tape)

        of_rows = draws._replace(rows=rows.spread(draws.rows))
        if self.centred:
            trunk = run(self.trunk, self._relative(X, centers, rows), rows.bounds, of_rows)
            heads = run(self.heads, trunk.out, rows.bounds, of_rows)
        else:
            trunk = run(self.trunk, X, rows.alone(), draws)
            heads = run(self.heads, rows.spread(trunk.out), rows.bounds, of_rows)
        noise = noise if rows.order is None else noise[rows.order]
        decoder = run(self.decoder, self.kernel.reparameterise(heads.out, noise), rows.bounds, of_rows)
        target = self._target(target, centers, rows)
        return Learning(rows, trunk, heads, decoder, target, noise, (draws, of_rows)), state

    def _own(self, learning, assign, target, centers, noise):
        """The `Learning` of every sample under its cluster, from that of all clusters."""
        rows, n = Rows.of(assign, len(centers), self.own), len(noise)
        index = self.own(rows.clusters() * n + as_numpy(rows.order))
        passes = {name: picked(getattr(self, name), getattr(learning, name), index) for name in ("heads", "decoder")}
        trunk = picked(self.trunk, learning.trunk, index) if self.centred else learning.trunk
        draws = learning.draws[0], learning.draws[0]._replace(rows=rows.spread(learning.draws[0].rows))
        return replace(
            learning,
            rows=rows,
            trunk=trunk,
            target=self._target(target, centers, rows),
            noise=noise[rows.order],
            draws=draws,
            **passes,
        )

    def _backward(self, params, learning, weights):
        """Gradient (p,) of Σ weights ℓ over rows. weights : (m,)"""
        rows, (draws, of_rows), gradient = learning.rows, learning.draws, np.empty_like(params.flat)

        def back(piece, done, G, bounds, draws, wanted):
            flat, own = params.flat[piece.params], gradient[piece.params]
            return self.network.backward(flat, piece.network, done.X, done.tape, G, bounds, True, draws, wanted, own)

        out, heads = learning.decoder.out, learning.heads.out
        G = self.kernel.output_gradient(out, learning.target, weights, self.output, self.variance)
        G = back(self.decoder, learning.decoder, G, rows.bounds, of_rows, True)
        G = self.kernel.heads_gradient(G, heads, learning.noise, weights, self.reg)
        deeper = len(self.trunk.network.layers) > 0
        G = back(self.heads, learning.heads, G, rows.bounds, of_rows, deeper)
        if deeper and self.centred:
            back(self.trunk, learning.trunk, G, rows.bounds, of_rows, False)
        elif deeper:
            back(self.trunk, learning.trunk, rows.gather(G), rows.alone(), draws, False)
        return gradient

    # Losses and gradients

    def losses(self, params, X, target, centers, draw):
        """L (n, k), with the means as codes."""
        rows = Rows.every(len(X), len(centers))
        heads, state = self._encode(params, X, centers, rows)
        codes = self.own(heads[:, : self.latent])
        A = self._predict(self.decoder, params, codes, rows.bounds, state)
        return self._table(self._losses(A, heads, self._target(target, centers, rows)), len(X))

    def _losses(self, A, heads, target):
        return self.kernel.losses(A, heads, target, self.output, self.variance, self.reg)

    def _table(self, of_rows, n):
        """(n, k) of the numbers of all samples under every cluster."""
        return self.own(of_rows.reshape(-1, n).T)

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient (p,)) with codes of random noise, which clusters share."""
        return self._learn(params, X, target, centers, assign, weights, draw, every, Use.LATENT_TRAINING)

    def _learn(self, params, X, target, centers, assign, weights, draw, every, use):
        (n, _), k = X.shape, len(centers)
        if n < self.networks.fewest_rows():
            raise ValueError(
                f"a batch has {n} sample, and batch normalisation needs at least 2 for statistics; choose a batch_size "
                f"of at least 2 that leaves no single sample for the last batch"
            )
        noise = self.philox.normal(*draw.words(use), 0, draw.rows, self.latent, X.dtype)
        draws = Draws(*draw.words(Use.DROPOUT), draw.rows)
        if assign is not None and not every and not self.coupled:
            rows = Rows.of(assign, k, self.own)
            learning, state = self._forward(params, X, target, centers, rows, noise, draws)
            L = np.zeros_like(X, shape=(n, k))
            L[rows.order, assign[rows.order]] = self._losses(learning.decoder.out, learning.heads.out, learning.target)
        else:
            learning, state = self._forward(params, X, target, centers, Rows.every(n, k), noise, draws)
            L = self._table(self._losses(learning.decoder.out, learning.heads.out, learning.target), n)
            assign = self.assign.assign(L) if assign is None else assign
            if not self.coupled:
                learning = self._own(learning, assign, target, centers, noise)
        weights = learning.rows.spread(weights)
        if learning.rows.order is None:  # batch normalisation couples rows, of which only the assigned ones count
            own = np.tile(as_numpy(assign), k) == learning.rows.clusters()
            weights = weights * self.own(own.astype(X.dtype))
        if draw.training:
            self.networks.keep(params.state, state)
        return L, assign, self._backward(params, learning, weights)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of Σ w L[i, s_i], a dict of named arrays."""
        return params.layout.views(self.losses_and_gradient(params, X, target, centers, assign, weights, draw)[2])

    def value_and_gradient(self, params, X, target, centers, assign, weights, fitted, draw):
        """(L, gradient) of one function: noise and dropout are always the same, statistics those of X."""
        arguments = params, X, target, centers, assign, weights, draw, True, Use.VALUE_AND_GRADIENT
        L, _, gradient = self._learn(*arguments)
        return L, gradient

    # Codes and samples

    def embed(self, params, X, centers, draw):
        """Means (n, k, h)."""
        heads, _ = self._encode(params, X, centers, Rows.every(len(X), len(centers)))
        return self.own(heads[:, : self.latent].reshape(len(centers), len(X), -1).swapaxes(0, 1))

    def embed_assigned(self, params, X, centers, assign, draw):
        """Means (n, h) under each sample's own cluster."""
        rows = Rows.of(assign, len(centers), self.own)
        heads, _ = self._encode(params, X, centers, rows)
        return rows.gather(heads[:, : self.latent])

    def decode(self, params, Z, assign, centers, draw):
        """The mean of p(x | z) under each code's cluster, in the space of ``centers``, (n, d)."""
        rows = Rows.of(assign, len(centers), self.own)
        A = self._predict(self.decoder, params, Z[rows.order], rows.bounds, self.networks.state(params.state, Z))
        A = rows.gather(A)
        if self.centred:  # σ(x − c) is what a Bernoulli's a is the logit of
            return A + centers[assign]
        return (1 + np.tanh(A / 2)) / 2 if self.bernoulli else A  # σ, which does not overflow

    def log_densities(self, params, X, centers, n_samples, draw):
        """log (1/S) Σ_s exp(log-weight) of every sample under every cluster, (n, k) float64 on the host.

        A bound of log p_j(x), of Bernoulli probabilities or of a density. All samples have the same noise, so that no
        sample's bound depends on the others.
        """
        n, k = len(X), len(centers)
        total, variance = np.empty((n, k)), self.variance
        if self.output == self.kernel.MSE:  # 1/d ‖x̂ − x‖² beside β times twice the divergence
            variance = self.reg * X.shape[1]
        for first in range(0, n, ROWS):
            x = self.own(X[first : first + ROWS])
            rows = Rows.every(len(x), k)
            heads, state = self._encode(params, x, centers, rows)
            target, sums = self._target(x, centers, rows), np.full((k, len(x)), -np.inf)
            for s in range(n_samples):
                one = self.own(np.zeros(1, np.int64))
                noise = self.philox.normal(*draw.words(Use.LATENT_EVALUATION), s, one, self.latent, x.dtype)
                Z = self.kernel.reparameterise(heads, noise)
                A = self._predict(self.decoder, params, Z, rows.bounds, state)
                weights = self.kernel.log_weights(A, heads, noise, target, self.output, variance)
                sums = np.logaddexp(sums, as_numpy(weights).astype(np.float64).reshape(k, -1))
            total[first : first + ROWS] = sums.T - np.log(n_samples)
        return total

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch and of four vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        return itemsize * (4 * size + rows * n_clusters * (3 * self.networks.widest() + 3 * n_features))
