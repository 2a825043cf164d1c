"""Deep clustering by divergences, DDC, DDC-AE and DDC-UCO, as a `BatchModel`; mathematics: `reference.divergence`.

    L_DDC = D_cs(A, K_H) + 2/(n(n − 1)) Σ_{a<b} A_a · A_b + D_cs(M, K_H)
    L_AE  = L_DDC + λ · mean squared error of a decoder's reconstruction
    L_UCO = L_DDC + λ Σ_l w_l D_cs(A, K_l),   K_l the kernel of the outputs of the network's block l

Sample weights w of mean 1 stand beside A, M and the squared errors: of A it is w_a A_a of which overlaps are sums.
"""

from typing import NamedTuple

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.base import BatchModel
from csrl_core.models.network import Networks, Part, Pass
from csrl_core.reference.augment import Augmentation
from csrl_core.reference.layers import BatchNorm, Conv, Dense, MaxPool, TransposedConv, UpSample
from csrl_core.reference.network import OUT_CHANNELS, OUT_WIDTH, Draws
from csrl_core.training.draws import Use

EPS = 1e-6  # ε of the projections of tensors, as a part of the mean eigenvalue
RATES = {"constant": lambda l, B: 1.0, "linear": lambda l, B: l / B, "exponential": lambda l, B: 10.0 ** (l - B)}


class Objective(NamedTuple):
    """The terms beside L_DDC.

    companion : None, "autoencoder" or "uco"; weight : λ; block_weights : w_l, a tuple
    kernel : "tensor" or "vector"; invariance : weight of −mean log Σ_j A_ij A'_ij
    """

    companion: str | None = None
    weight: float = 0.0
    kernel: str = "tensor"
    block_weights: tuple = ()
    invariance: float = 0.0


def block_weights(rule, count):
    """w_l of blocks l = 1 … B: 1, l/B or 10^(l − B)."""
    return tuple(RATES[rule](l, count) for l in range(1, count + 1))


# -- layers ----------------------------------------------------------------------------------------------


def backbone(shape, widths, conv):
    """(encoder, decoder, blocks): layers, and after how many of the encoder's layers a block ends.

    Dense layers with ReLU, each a block; or of every width two convolutions without padding, 5 × 5 and then 3 × 3,
    batch normalisation, ReLU, and pooling, which comes after the block's end but for the last block.

    shape : (c, h, w); widths : units of the layers, or channels of the blocks; conv : bool
    """
    if not conv:
        sizes = [tuple(shape), *widths]
        decoder = [Dense(sizes[l], "relu" if l else "linear") for l in reversed(range(len(widths)))]
        return [Dense(width, "relu") for width in widths], decoder, tuple(range(1, len(widths) + 1))
    encoder, decoder, blocks = [], [], []
    for l, width in enumerate(widths):
        kernel, below = (3, widths[l - 1]) if l else (5, shape[0])
        encoder += [Conv(width, kernel, activation="relu"), Conv(width, kernel), BatchNorm("relu")]
        blocks.append(len(encoder) + (l == len(widths) - 1))
        encoder.append(MaxPool(2))
        last = TransposedConv(below, kernel, activation="relu" if l else "linear")
        decoder = [UpSample(2), TransposedConv(width, kernel), BatchNorm("relu"), last, *decoder]
    return encoder, decoder, tuple(blocks)


def divergence_parts(shape, encoder, decoder, hidden, n_clusters):
    """The parts of the model, a dict of `Part`: encoder, clustering head, and decoder unless that is None.

    shape : (c, h, w); hidden : width of H
    """
    parts = {"encoder": Part(list(encoder), tuple(shape))}
    code = Networks(parts, 1).output["encoder"]
    parts["head"] = Part([Dense(hidden, "relu"), BatchNorm(), Dense(n_clusters)], code)
    if decoder is not None:
        parts["decoder"] = Part(list(decoder), code, tuple(shape))
    return parts


# -- model -----------------------------------------------------------------------------------------------


class DivergenceModel(BatchModel):
    """A network with a clustering head, whose soft assignments are to be clusters of its hidden features.

    networks : `Networks` with the parts of `divergence_parts`; blocks : after how many encoder layers a block ends
    image : (c, h, w) of a sample; augmentation : `csrl_core.reference.augment.Augmentation`; objective : `Objective`
    least : int, batches of fewer samples are not learnt from
    """

    def __init__(self, backend, networks, blocks, image, augmentation, objective, least=0):
        self.kernel, self.network, self.own = backend.divergence, backend.network, backend.own
        self.augment, self.assign = backend.augment.augment, backend.assign
        self.networks, self.image, self.options, self.of, self.least = networks, image, augmentation, objective, least
        self.k, self.blocks = networks.output["head"][0], len(blocks)
        layers = len(networks.piece("encoder").network.layers)
        stops = [*blocks, layers] if blocks[-1] < layers else list(blocks)
        cuts = zip([0, *stops[:-1]], stops, strict=True)
        self.encoder = [networks.piece("encoder", first, stop) for first, stop in cuts]
        self.chain = [*self.encoder, networks.piece("head", 0, 2), networks.piece("head", 2)]
        self.decoder = networks.piece("decoder") if "decoder" in networks.output else None

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        return self.networks.initial(draw)

    def init_state(self, params, data, assign, centers, draw):
        """Running averages of batch normalisation, and the strength of the noise in other views."""
        new = self.networks.initial_state(params.state, data.X.dtype)
        return new if "noise" in params.state else new | {"noise": np.array([self.options.noise])}

    # Clusters

    def features(self, params, X):
        """Hidden features H (n, h) after training."""
        state, bounds = self.networks.state(params.state, X), np.array([0, len(X)])
        for piece in self.chain[:-1]:
            X = self.network.predict(params.flat[piece.params], piece.network, X, bounds, state[piece.state])
        return X

    def costs(self, params, Z):
        """−log A (n, k) of hidden features (n, h)."""
        piece, bounds, state = self.chain[-1], np.array([0, len(Z)]), np.empty_like(Z, shape=(0,))
        logits = self.own(self.network.predict(params.flat[piece.params], piece.network, Z, bounds, state))
        logits = logits - logits.max(axis=1)[:, None]
        return np.log(np.exp(logits).sum(axis=1))[:, None] - logits

    # Passes

    def _forward(self, pieces, params, X, state, draws):
        """The `Pass` of every piece, one after the other, in training; the flat state moves on."""
        passes, bounds = [], np.array([0, len(X)])
        for piece in pieces:
            flat, own = params.flat[piece.params], state[piece.state]
            out, tape, state[piece.state] = self.network.forward(flat, piece.network, X, bounds, own, True, draws)
            passes.append(Pass(X, out, tape))
            X = out
        return passes

    def _backward(self, pieces, params, passes, added, draws, gradient):
        """Write the parameters' gradient; returns that with respect to the input, (0, d) where it is the samples.

        added : dict of place in ``pieces`` → gradient with respect to that piece's output, beside what comes back
        """
        G, bounds = None, np.array([0, len(passes[0].X)])
        for place in reversed(range(len(pieces))):
            piece, done = pieces[place], passes[place]
            if place in added:
                G = added[place] if G is None else G + added[place]
            wanted = piece is not self.chain[0]
            flat, own = params.flat[piece.params], gradient[piece.params]
            G = self.network.backward(flat, piece.network, done.X, done.tape, G, bounds, True, draws, wanted, own)
        return G

    # Learning

    def loss_and_gradient(self, params, batch, draw):
        """W times the loss, W = Σ w, and its gradient (p,); samples without weight are left out."""
        if draw.training and len(batch.X) < self.least:
            return 0.0, 0.0, np.zeros_like(params.flat)
        X, weight, rows = self._weighted(batch, draw)
        weight_sum = float(weight.sum(dtype=np.float64))
        w = (weight / X.dtype.type(weight_sum / len(X)))[:, None]
        draws, state = Draws(*draw.words(Use.DROPOUT), rows), self.networks.state(params.state, X)
        gradient = np.zeros_like(params.flat)
        # 1. assignments, and every term with its gradient with respect to them and to the outputs of pieces
        passes = self._forward(self.chain, params, X, state, draws)
        A = self.kernel.soft_assignments(passes[-1].out)
        value, dA, added = self._divergences(A, passes, w)
        G = self.kernel.soft_assignments_gradient(dA, A)
        if self.decoder is not None:
            value += self._reconstruct(params, X, passes[len(self.encoder) - 1].out, w, (state, draws), added, gradient)
        # 2. another view
        if self.of.invariance:
            own, dG, other = self._other_view(params, X, passes[-1].out, w, draw, draws)
            value, G = value + own, G + dG
            gradient += other
        # 3. back
        first = np.zeros_like(params.flat)
        self._backward(self.chain, params, passes, added | {len(self.chain) - 1: G}, draws, first)
        if not bool(np.isfinite(state).all()):  # a variance that overflows would hide in outputs of 0
            value = np.nan
        if draw.training:
            self.networks.keep(params.state, state)
        return value * weight_sum, weight_sum, (gradient + first) * gradient.dtype.type(weight_sum)

    def _weighted(self, batch, draw):
        """(X, weight, numbers for draws) of the samples with a weight.

        Raises
        ------
        ValueError
            They are fewer than clusters.
        """
        kept = as_numpy(batch.weight) > 0
        if kept.sum() < self.k:
            raise ValueError(
                f"a batch has {kept.sum()} samples with a positive weight, fewer than its {self.k} clusters, which no "
                f"divergence can tell apart; choose a larger batch_size"
            )
        if kept.all():
            return batch.X, batch.weight, draw.rows
        index = self.own(np.flatnonzero(kept))
        return batch.X[index], batch.weight[index], draw.rows[index]

    def _divergences(self, A, passes, w):
        """(value, ∂A, dict of place → ∂output) of L_DDC and of the blocks' divergences. w : (n, 1), of mean 1"""
        kernel, head, weighted = self.kernel, len(self.chain) - 2, w * A
        # 1. separate, compact clusters of hidden features
        K, back = self._kernel(passes[head].out, None)
        value, dA, dK = kernel.cauchy_schwarz(weighted, K)
        # 2. different clusters of different samples
        apart, G = kernel.orthogonality(weighted)
        dA = dA + G
        # 3. corners of the simplex
        M = kernel.corner_kernel(A)
        corners, dM, G = kernel.cauchy_schwarz(w * M, K)
        dA = w * dA + kernel.corner_kernel_gradient(w * dM, A, M)
        value, added = float(value[0]) + float(apart[0]) + float(corners[0]), {head: back(dK + G)}
        # 4. clusters of the blocks' outputs
        for block in range(self.blocks if self.of.companion == "uco" else 0):
            share = self.of.weight * self.of.block_weights[block]
            row = self.chain[block].network.layers[-1]
            K, back = self._kernel(passes[block].out, row if self.of.kernel == "tensor" else None)
            own, G, dK = kernel.cauchy_schwarz(weighted, K)
            scale = A.dtype.type(share)
            value, dA, added[block] = value + share * float(own[0]), dA + scale * (w * G), back(scale * dK)
        return value, dA, added

    def _kernel(self, Y, layer):
        """(K (n, n) of outputs Y, function of ∂K → ∂Y), σ² and ε being constants.

        layer : the row of the layer table whose output is a tensor; None for distances of vectors
        """
        if layer is None:
            D = self.kernel.distances(Y)
        else:
            shape = tuple(int(size) for size in layer[OUT_CHANNELS : OUT_WIDTH + 1])
            shape = shape if max(shape[1:]) > 1 else shape[:1]
            ridge = self.kernel.ridges(Y, shape, EPS)
            D = self.kernel.tensor_distances(Y, shape, ridge)
        variance = self.kernel.bandwidth(D)
        K = self.kernel.gaussian_kernel(D, variance)

        def back(dK):
            dD = self.kernel.gaussian_kernel_gradient(dK, D, K, variance)
            if layer is None:
                return self.kernel.distances_gradient(dD, Y)
            return self.kernel.tensor_distances_gradient(dD, Y, shape, ridge)

        return K, back

    def _reconstruct(self, params, X, code, w, state_and_draws, added, gradient):
        """λ times the mean squared error; the encoder's part is put to ``added``, the decoder's to ``gradient``."""
        state, draws = state_and_draws
        passes = self._forward([self.decoder], params, code, state, draws)
        error = passes[-1].out - X
        scale = X.dtype.type(2 * self.of.weight / error.size)
        G = self._backward([self.decoder], params, passes, {0: scale * w * error}, draws, gradient)
        last = len(self.encoder) - 1
        added[last] = added[last] + G if last in added else G
        return self.of.weight * float((w * error * error).sum(dtype=np.float64)) / error.size

    def _other_view(self, params, X, logits, w, draw, draws):
        """(value, ∂logits, gradient (p,) through the other view) of the invariance term."""
        options = self.options._replace(noise=float(params.state["noise"][0]))
        if options != Augmentation():
            use = Use.AUGMENTATION if draw.training else Use.VALUE_AND_GRADIENT
            X = self.augment(X, self.image, options, *draw.words(use), draws.rows)
        passes = self._forward(self.chain, params, X, self.networks.state(params.state, X), draws)
        each, G, other = self.kernel.invariance(logits, passes[-1].out)
        scale, gradient = w * X.dtype.type(self.of.invariance / len(X)), np.zeros_like(params.flat)
        self._backward(self.chain, params, passes, {len(self.chain) - 1: scale * other}, draws, gradient)
        value = self.of.invariance * float((w[:, 0] * each).sum(dtype=np.float64)) / len(X)
        return value, scale * G, gradient

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch, of its kernels and of five vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        views = 2 if self.of.invariance else 1
        return itemsize * (5 * size + rows * (3 * views * self.networks.widest() + 3 * n_features + 8 * rows))
