"""The autoencoder of every cluster as a network of any layers, a `ClusterModel`; of dense layers alone: `autoencoder`.

With x̃ = x − c_j, t̃ = t − c_j, z = f_j(x̃) and x̂ = g_j(z), the loss and its gradient at the networks' outputs are

    ℓ_j = (1/d) ‖x̂ − t̃‖² + λ ‖z‖²
    ∂ℓ/∂x̂ = (2/d) (x̂ − t̃),    ∂ℓ/∂z = what comes back through g_j, + 2 λ z

and from there back through the layers (docs/network.md).
"""

from dataclasses import dataclass, replace

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.base import ClusterModel
from csrl_core.models.network import Pass, Rows, picked
from csrl_core.reference.network import BATCH_NORM, Draws
from csrl_core.training.draws import Use

ROWS = 256  # samples that are learnt from at a time: larger batches would need memory for all their layers' outputs


@dataclass(frozen=True)
class Learning:
    """A batch's passes through shared encoder layers, the others, and the decoder; draws: of samples, of rows."""

    rows: Rows
    trunk: Pass
    encoder: Pass
    decoder: Pass
    target: np.ndarray
    draws: tuple


class NetworkAutoencoderModel(ClusterModel):
    """An encoder and a decoder, by the backend's kernels.

    networks : `Networks` with the parts "encoder" and "decoder"; reg : λ; centred : bool, whether losses use centres
    """

    translation_invariant = True
    standing_epochs = 10

    def __init__(self, backend, networks, reg, centred):
        self.network, self.assign, self.own = backend.network, backend.assign, backend.own
        self.networks, self.reg, self.centred = networks, float(reg), centred
        # Layers that clusters share see a sample once, unless its cluster's centre is subtracted before.
        border = 0 if centred else networks.shared("encoder")
        self.trunk, self.encoder = networks.piece("encoder", 0, border), networks.piece("encoder", border)
        self.decoder = networks.piece("decoder")
        self.coupled = self.couples_batch = BATCH_NORM in networks.kinds()

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        return self.networks.initial(draw)

    def init_state(self, params, data, assign, centers, draw):
        """Running averages of batch normalisation."""
        return self.networks.initial_state(params.state, data.X.dtype)

    # Passes

    def _relative(self, array, centers, rows):
        """Every row's entry of an array (n, d) of samples, less its cluster's centre."""
        array = rows.spread(array)
        return array - centers[self.own(rows.clusters())] if self.centred else array

    def _predict(self, piece, params, X, bounds, state):
        return self.network.predict(params.flat[piece.params], piece.network, X, bounds, state[piece.state])

    def _encode(self, params, X, centers, rows):
        """Codes (m, h) of rows after training, and the flat state that they were computed with."""
        state = self.networks.state(params.state, X)
        if len(self.trunk.network.layers):
            X = self._predict(self.trunk, params, X, rows.alone(), state)
        return self._predict(self.encoder, params, self._relative(X, centers, rows), rows.bounds, state), state

    def _forward(self, params, X, target, centers, rows, draws):
        """The `Learning` of rows in training, and the new state."""
        state = self.networks.state(params.state, X)

        def run(piece, x, bounds, draws):
            out, tape, state[piece.state] = self.network.forward(
                params.flat[piece.params], piece.network, x, bounds, state[piece.state], True, draws
            )
            return Pass(x, out, tape)

        of_rows = draws._replace(rows=rows.spread(draws.rows))
        trunk = run(self.trunk, X, rows.alone(), draws) if len(self.trunk.network.layers) else Pass(X, X, X[:0].ravel())
        encoder = run(self.encoder, self._relative(trunk.out, centers, rows), rows.bounds, of_rows)
        decoder = run(self.decoder, encoder.out, rows.bounds, of_rows)
        return Learning(rows, trunk, encoder, decoder, self._relative(target, centers, rows), (draws, of_rows)), state

    def _own(self, learning, assign, target, centers):
        """The `Learning` of every sample under its cluster, from that of all clusters."""
        rows, n = Rows.of(assign, len(centers), self.own), len(target)
        index, draws = self.own(rows.clusters() * n + as_numpy(rows.order)), learning.draws[0]
        passes = {name: picked(getattr(self, name), getattr(learning, name), index) for name in ("encoder", "decoder")}
        of_rows = draws._replace(rows=rows.spread(draws.rows))
        return replace(learning, rows=rows, target=learning.target[index], draws=(draws, of_rows), **passes)

    def _backward(self, params, learning, weights):
        """Gradient (p,) of Σ weights ℓ over rows. weights : (m,)"""
        rows, (draws, of_rows), gradient = learning.rows, learning.draws, np.empty_like(params.flat)

        def back(piece, done, G, bounds, draws, wanted):
            flat, own = params.flat[piece.params], gradient[piece.params]
            return self.network.backward(flat, piece.network, done.X, done.tape, G, bounds, True, draws, wanted, own)

        error, Z, w = learning.decoder.out - learning.target, learning.encoder.out, weights[:, None]
        G = back(self.decoder, learning.decoder, w * (error * (2 / error.shape[1])), rows.bounds, of_rows, True)
        deeper = len(self.trunk.network.layers) > 0
        G = back(self.encoder, learning.encoder, G + w * (2 * self.reg) * Z, rows.bounds, of_rows, deeper)
        if deeper:
            back(self.trunk, learning.trunk, rows.gather(G), rows.alone(), draws, False)
        return gradient

    # Losses and gradients

    def _losses(self, A, Z, target):
        """ℓ of rows, (m,). A : (m, d), outputs; Z : (m, h), codes"""
        error = A - target
        return (error * error).mean(axis=1) + self.reg * (Z * Z).sum(axis=1)

    def _table(self, of_rows, n):
        """(n, k, …) of what all samples have under every cluster."""
        return self.own(of_rows.reshape(-1, n, *of_rows.shape[1:]).swapaxes(0, 1))

    def _evaluate(self, params, X, target, centers):
        """(codes (m, h), outputs (m, d), targets (m, d)) of all samples under every cluster after training."""
        rows = Rows.every(len(X), len(centers))
        Z, state = self._encode(params, X, centers, rows)
        A = self._predict(self.decoder, params, Z, rows.bounds, state)
        return Z, A, self._relative(target, centers, rows)

    def losses(self, params, X, target, centers, draw):
        """L (n, k)."""
        Z, A, target = self._evaluate(params, X, target, centers)
        return self._table(self._losses(A, Z, target), len(X))

    def codes(self, params, X, centers, draw):
        """Codes (n, k, h) and squared errors of the reconstruction (n, k), for `csrl_core.training.likelihood`."""
        Z, A, target = self._evaluate(params, X, X, centers)
        error = A - target
        return self._table(Z, len(X)), self._table((error * error).sum(axis=1), len(X))

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient (p,)); a batch is taken in parts, unless batch normalisation couples its rows."""
        n = len(X)
        if n < self.networks.fewest_rows():
            raise ValueError(
                f"a batch has {n} sample, and batch normalisation needs at least 2 for statistics; choose a batch_size "
                f"of at least 2 that leaves no single sample for the last batch"
            )
        draws, parts = Draws(*draw.words(Use.DROPOUT), draw.rows), []
        for first in range(0, n, n if self.coupled else ROWS):
            part = slice(first, first + (n if self.coupled else ROWS))
            own = None if assign is None else assign[part]
            arguments = X[part], target[part], centers, own, weights[part], draws._replace(rows=draws.rows[part])
            *done, state = self._learn(params, *arguments, every)
            parts.append(done)
        if draw.training:
            self.networks.keep(params.state, state)
        if len(parts) == 1:
            return parts[0]
        L, assign, gradients = (list(each) for each in zip(*parts, strict=True))
        gradient = sum(gradients[1:], gradients[0].astype(np.float64)).astype(X.dtype)
        return np.concatenate(L), np.concatenate(assign), gradient

    def _learn(self, params, X, target, centers, assign, weights, draws, every):
        """(L, assign, gradient, state) of a batch or a part of it."""
        n, k = len(X), len(centers)
        if assign is not None and not every and not self.coupled:
            rows = Rows.of(assign, k, self.own)
            learning, state = self._forward(params, X, target, centers, rows, draws)
            L = np.zeros_like(X, shape=(n, k))
            L[rows.order, assign[rows.order]] = self._losses(
                learning.decoder.out, learning.encoder.out, learning.target
            )
        else:
            learning, state = self._forward(params, X, target, centers, Rows.every(n, k), draws)
            L = self._table(self._losses(learning.decoder.out, learning.encoder.out, learning.target), n)
            assign = self.assign.assign(L) if assign is None else assign
            if not self.coupled:
                learning = self._own(learning, assign, target, centers)
        weights = learning.rows.spread(weights)
        if learning.rows.order is None:  # batch normalisation couples rows, of which only the assigned ones count
            own = np.tile(as_numpy(assign), k) == learning.rows.clusters()
            weights = weights * self.own(own.astype(X.dtype))
        return L, assign, self._backward(params, learning, weights), state

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of Σ w L[i, s_i], a dict of named arrays."""
        return params.layout.views(self.losses_and_gradient(params, X, target, centers, assign, weights, draw)[2])

    # Codes

    def embed(self, params, X, centers, draw):
        """Z (n, k, h)."""
        return self._table(self._encode(params, X, centers, Rows.every(len(X), len(centers)))[0], len(X))

    def embed_assigned(self, params, X, centers, assign, draw):
        """Z (n, h) under each sample's own cluster."""
        rows = Rows.of(assign, len(centers), self.own)
        return rows.gather(self._encode(params, X, centers, rows)[0])

    def decode(self, params, Z, assign, centers, draw):
        """Decoded samples in the space of ``centers``, (n, d)."""
        rows = Rows.of(assign, len(centers), self.own)
        A = self._predict(self.decoder, params, Z[rows.order], rows.bounds, self.networks.state(params.state, Z))
        A = rows.gather(A)
        return A + centers[assign] if self.centred else A

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch and of four vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        rows = rows if self.coupled else min(rows, ROWS)
        return itemsize * (4 * size + rows * n_clusters * (3 * self.networks.widest() + 3 * n_features))
