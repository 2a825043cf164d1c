"""Deep clustering by divergences, DDC, DDC-AE and DDC-UCO, as a `BatchModel`; mathematics: `reference.divergence`.

    L_DDC = D_cs(A, K_H) + 2/(n(n − 1)) Σ_{a<b} A_a · A_b + D_cs(M, K_H)
    L_AE  = L_DDC + λ · mean squared error of a decoder's reconstruction
    L_UCO = L_DDC + λ Σ_l w_l D_cs(A, K_l),   K_l the kernel of the outputs of the network's block l

Sample weights w of mean 1 stand beside A, M and the squared errors: of A it is w_a A_a of which overlaps are sums.
"""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models import divergence_mismatch, mismatch_log
from csrl_core.models.base import BatchModel
from csrl_core.models.divergence_terms import Evaluated, Term, View, summed
from csrl_core.models.network import Pass
from csrl_core.reference.augment import Augmentation
from csrl_core.reference.network import OUT_CHANNELS, OUT_WIDTH, Draws
from csrl_core.training.draws import Use

EPS = 1e-6  # ε of the projections of tensors, as a part of the mean eigenvalue


# -- model -----------------------------------------------------------------------------------------------


class DivergenceModel(BatchModel):
    """A network with a clustering head, whose soft assignments are to be clusters of its hidden features.

    networks : `Networks` with the parts of `divergence_parts`; blocks : after how many encoder layers a block ends
    image : (c, h, w) of a sample; augmentation : `csrl_core.reference.augment.Augmentation`; objective : `Objective`
    least : int, batches of fewer samples are not learnt from
    log : `csrl_core.models.mismatch_log.MismatchLog`, None: no mismatch is kept
    """

    log = None

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
        """Running averages of batch normalisation, the strength of the noise in other views, and kept mismatches."""
        new, known = self.networks.initial_state(params.state, data.X.dtype), params.state.get(mismatch_log.NAME)
        new |= {} if "noise" in params.state else {"noise": np.array([self.options.noise])}
        if self.log is not None:
            kept = self.log.state(known)
            if known is None:
                new[mismatch_log.NAME] = kept
            else:  # longer, where a run is resumed for more epochs
                params.state[mismatch_log.NAME] = self.own(kept)
        return new

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

    def forward(self, pieces, params, X, state, draws):
        """The `Pass` of every piece, one after the other, in training; the flat state moves on."""
        passes, bounds = [], np.array([0, len(X)])
        for piece in pieces:
            flat, own = params.flat[piece.params], state[piece.state]
            out, tape, state[piece.state] = self.network.forward(flat, piece.network, X, bounds, own, True, draws)
            passes.append(Pass(X, out, tape))
            X = out
        return passes

    def backward(self, pieces, params, passes, added, draws, gradient):
        """Write the parameters' gradient; returns that with respect to the input, (0, d) where it is the samples.

        added : dict of place in ``pieces`` → gradient with respect to that piece's output, beside what comes back;
        parameters of the pieces after the last of them keep what they have
        """
        G, bounds = None, np.array([0, len(passes[0].X)])
        for place in reversed(range(len(pieces))):
            piece, done = pieces[place], passes[place]
            if place in added:
                G = added[place] if G is None else G + added[place]
            if G is None:
                continue
            wanted = piece is not self.chain[0]
            flat, own = params.flat[piece.params], gradient[piece.params]
            G = self.network.backward(flat, piece.network, done.X, done.tape, G, bounds, True, draws, wanted, own)
        return G

    # Learning

    def loss_and_gradient(self, params, batch, draw):
        """W times the loss, W = Σ w, and its gradient (p,); samples without weight are left out."""
        if draw.training and len(batch.X) < self.least:
            return 0.0, 0.0, np.zeros_like(params.flat)
        done, state, weight_sum = self.evaluate(params, batch, draw)
        # 1. all terms together
        total = summed(done.terms)
        value, G = total.value, self.kernel.soft_assignments_gradient(total.assignments, done.A)
        gradient = done.decoder
        # 2. another view
        if done.view is not None:
            value, G = value + done.view.value, G + done.view.logits
            gradient = gradient + done.view.gradient
        # 3. back
        first = np.zeros_like(params.flat)
        self.backward(self.chain, params, done.passes, total.outputs | {len(self.chain) - 1: G}, done.draws, first)
        if not bool(np.isfinite(state).all()):  # a variance that overflows would hide in outputs of 0
            value = np.nan
        if draw.training:
            self.networks.keep(params.state, state)
            if self.log is not None:
                divergence_mismatch.keep(self, params, done, draw.step)
        return value * weight_sum, weight_sum, (gradient + first) * gradient.dtype.type(weight_sum)

    def evaluate(self, params, batch, draw):
        """(`Evaluated`, running averages afterwards, Σ w) of a batch."""
        X, weight, rows = self._weighted(batch, draw)
        weight_sum = float(weight.sum(dtype=np.float64))
        w = (weight / X.dtype.type(weight_sum / len(X)))[:, None]
        draws, state = Draws(*draw.words(Use.DROPOUT), rows), self.networks.state(params.state, X)
        passes, decoder = self.forward(self.chain, params, X, state, draws), np.zeros_like(params.flat)
        A = self.kernel.soft_assignments(passes[-1].out)
        terms, view = [self._clustering(A, passes, w), *self._blocks(A, passes, w)], None
        if self.decoder is not None:
            code = passes[len(self.encoder) - 1].out
            terms.append(self._reconstruct(params, X, code, w, (state, draws), decoder))
        if self.of.invariance:
            view = self._other_view(params, X, passes[-1].out, w, draw, draws)
        return Evaluated(w, draws, passes, A, terms, decoder, view), state, weight_sum

    def objective_gradients(self, params, batch, draw):
        """Dict of name → gradient (p,) of objectives and terms, see `csrl_core.models.divergence_mismatch`."""
        done, _, _ = self.evaluate(params, batch, draw)
        return divergence_mismatch.gradients(self, params, done)

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

    def _clustering(self, A, passes, w):
        """L_DDC, a `Term`. w : (n, 1), of mean 1"""
        kernel, head, weighted = self.kernel, len(self.chain) - 2, w * A
        # 1. separate, compact clusters of hidden features
        K, back = self.affinities(passes[head].out, None)
        value, dA, dK = kernel.cauchy_schwarz(weighted, K)
        # 2. different clusters of different samples
        apart, G = kernel.orthogonality(weighted)
        dA = dA + G
        # 3. corners of the simplex
        M = kernel.corner_kernel(A)
        corners, dM, G = kernel.cauchy_schwarz(w * M, K)
        dA = w * dA + kernel.corner_kernel_gradient(w * dM, A, M)
        return Term("clustering", float(value[0]) + float(apart[0]) + float(corners[0]), dA, {head: back(dK + G)})

    def _blocks(self, A, passes, w):
        """λ w_l D_cs(A, K_l) of every block's output, a `Term` each."""
        for block in range(self.blocks if self.of.companion == "uco" else 0):
            share = self.of.weight * self.of.block_weights[block]
            row = self.chain[block].network.layers[-1]
            K, back = self.affinities(passes[block].out, row if self.of.kernel == "tensor" else None)
            value, G, dK = self.kernel.cauchy_schwarz(w * A, K)
            scale = A.dtype.type(share)
            yield Term(f"block {block + 1}", share * float(value[0]), scale * (w * G), {block: back(scale * dK)})

    def affinities(self, Y, layer):
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

    def _reconstruct(self, params, X, code, w, state_and_draws, gradient):
        """λ times the mean squared error, a `Term`; the decoder's part is written to ``gradient``."""
        state, draws = state_and_draws
        passes = self.forward([self.decoder], params, code, state, draws)
        error = passes[-1].out - X
        scale = X.dtype.type(2 * self.of.weight / error.size)
        G = self.backward([self.decoder], params, passes, {0: scale * w * error}, draws, gradient)
        value = self.of.weight * float((w * error * error).sum(dtype=np.float64)) / error.size
        return Term("autoencoder", value, None, {len(self.encoder) - 1: G})

    def _other_view(self, params, X, logits, w, draw, draws):
        """The invariance term, a `View`."""
        options = self.options._replace(noise=float(params.state["noise"][0]))
        if options != Augmentation():
            use = Use.AUGMENTATION if draw.training else Use.VALUE_AND_GRADIENT
            X = self.augment(X, self.image, options, *draw.words(use), draws.rows)
        passes = self.forward(self.chain, params, X, self.networks.state(params.state, X), draws)
        each, G, other = self.kernel.invariance(logits, passes[-1].out)
        scale, gradient = w * X.dtype.type(self.of.invariance / len(X)), np.zeros_like(params.flat)
        self.backward(self.chain, params, passes, {len(self.chain) - 1: scale * other}, draws, gradient)
        value = self.of.invariance * float((w[:, 0] * each).sum(dtype=np.float64)) / len(X)
        return View(value, scale * G, gradient)

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch, of its kernels and of five vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        views = 2 if self.of.invariance else 1
        return itemsize * (5 * size + rows * (3 * views * self.networks.widest() + 3 * n_features + 8 * rows))
