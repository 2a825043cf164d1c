"""Contrastive encoders, one for each cluster, as a `ClusterModel`.

The mathematics is in `csrl_core.reference.contrastive`.
"""

from dataclasses import dataclass

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.base import ClusterModel
from csrl_core.models.mean_embeddings import SUMS, TOTAL, WEIGHTS
from csrl_core.models.network import Pass, Rows
from csrl_core.reference.network import BATCH_NORM, Draws
from csrl_core.training import sweeps
from csrl_core.training.draws import Use
from csrl_core.training.on_disk import on_host

COUNT = "without_negatives"  # state: (1,) int64, draws of negatives with no sample of another cluster
NOISE = "noise"  # state: (1,) float64, standard deviation of the noise


@dataclass(frozen=True)
class Objective:
    """What is minimised. loss : a name of `csrl_core.reference.contrastive.LOSSES`; reg : λ

    normalize : bool, whether embeddings are on the unit sphere; negatives : "column", or "own", the paper's rule
    assignment : "prototype" or "loss", see
        `csrl_core.models.mean_embeddings.MeanEmbeddings`
    """

    loss: str = "triplet"
    reg: float = 0.0
    normalize: bool = True
    negatives: str = "column"
    assignment: str = "prototype"


@dataclass(frozen=True)
class Learning:
    """A batch's passes: of its 2 n views (anchors, then positives) through what clusters share, then by cluster.

    source : (m,) int64, the view of every row; V, norms : unit embeddings and what they were divided by (or None)
    anchors, positives, negatives : (n,) int64, rows of the triplets of the assigned clusters
    """

    rows: Rows
    source: np.ndarray
    trunk: Pass
    branch: Pass
    V: np.ndarray
    norms: np.ndarray | None
    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray
    draws: tuple


class ContrastiveModel(ClusterModel):
    """Encoders u_j whose embeddings of a sample and of one like it are near, and far from those of other clusters.

    networks : `Networks` with the part "encoder"; shape : (c, h, w) of a sample
    augmentation : `csrl_core.reference.augment.Augmentation`; its noise is replaced by the state's
    objective : `Objective`
    """

    standing_epochs = 5
    couples_batch = True  # by its negatives

    def __init__(self, backend, networks, shape, augmentation, objective):
        self.kernel, self.network, self.norm = backend.contrastive, backend.network, backend.norm
        self.augment, self.own, self.assign = backend.augment.augment, backend.own, backend.assign
        self.networks, self.shape, self.augmentation = networks, shape, augmentation
        self.loss, self.normalize = self.kernel.LOSSES[objective.loss], objective.normalize
        self.reg = 0.0 if objective.normalize else float(objective.reg)
        self.own_negatives, self.by_prototype = objective.negatives == "own", objective.assignment == "prototype"
        # By the paper's rule a batch is assigned by its own losses, of which all columns are needed in training.
        self.every_loss = self.own_negatives and not self.by_prototype
        border = networks.shared("encoder")
        self.trunk, self.branch = networks.piece("encoder", 0, border), networks.piece("encoder", border)
        self.width = networks.output["encoder"][0]
        self.coupled = BATCH_NORM in networks.kinds()
        self.classes = self._data = None

    def supervise(self, classes):
        """Take positives from the same class. classes : (n,) int64 of the samples of the next fit, −1 if not known."""
        order = np.argsort(classes, kind="stable")
        begins = np.searchsorted(classes[order], np.arange(classes.max(initial=0) + 2))
        tables = order, begins, np.argsort(order, kind="stable"), classes
        self.classes = tuple(self.own(table.astype(np.int64)) for table in tables)

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        return self.networks.initial(draw)

    def init_state(self, params, data, assign, centers, draw):
        """Running averages of batch normalisation, the noise's deviation, a count; keeps the data for positives."""
        self._data = data
        arrays = self.networks.initial_state(params.state, data.X.dtype)
        if COUNT not in params.state:
            arrays[COUNT] = np.zeros(1, np.int64)
            noise = self.augmentation.noise
            arrays[NOISE] = np.array([_tenth_of_deviation(data) if noise is None else float(noise)])
        return arrays

    # Views of a batch

    def _views(self, X, state, draw, use):
        """(views (2 n, d), anchors first, and the row numbers of their draws). use : Use of augmentation"""
        positives, strengths = None, self.augmentation._replace(noise=float(state[NOISE][0]))
        if use == Use.AUGMENTATION and self.classes is not None:
            places = self.kernel.positives(*self.classes, *draw.words(Use.POSITIVES), draw.rows)
            known = self.classes[-1][draw.rows] >= 0
            positives = self._data.X[places]
        if positives is None or not bool(known.all()):
            changed = [self.augment(X, self.shape, strengths, *draw.words(use, view), draw.rows) for view in range(2)]
        if positives is None:
            views = changed
        elif bool(known.all()):
            views = [X, positives]
        else:
            pairs = ((X, changed[0]), (positives, changed[1]))
            views = [np.where(known[:, None], like, view) for like, view in pairs]
        return np.concatenate(views), np.concatenate([2 * draw.rows, 2 * draw.rows + 1])

    # Passes

    def predict(self, params, X, rows):
        """Embeddings of rows after training, (m, D)."""
        state = self.networks.state(params.state, X)

        def run(piece, x, bounds):
            return self.network.predict(params.flat[piece.params], piece.network, x, bounds, state[piece.state])

        E = run(self.branch, rows.spread(run(self.trunk, X, rows.alone())), rows.bounds)
        return self.norm.unit_rows(E)[0] if self.normalize else self.own(E)

    def _forward(self, params, views, numbers, assign, negatives, every, words):
        """The `Learning` of a batch, and the new state. negatives : (n, k) int64; every : bool, all rows everywhere"""
        n, k = negatives.shape
        own_negatives = np.take_along_axis(negatives, assign[:, None], axis=1)[:, 0]
        each = self.own(np.arange(n))
        if every:
            rows = Rows.every(2 * n, k)
            source = np.concatenate([self.own(np.arange(2 * n))] * k)
            first = 2 * n * assign
            places = first + each, first + n + each, first + own_negatives
        else:
            rows = Rows.of(np.tile(as_numpy(assign), 3), k, self.own)
            source = np.concatenate([each, n + each, own_negatives])[rows.order]
            inverse = np.empty_like(rows.order)
            inverse[rows.order] = self.own(np.arange(3 * n))
            places = inverse[:n], inverse[n : 2 * n], inverse[2 * n :]
        state, alone = self.networks.state(params.state, views), np.array([0] * k + [2 * n])
        draws = Draws(*words, numbers), Draws(*words, numbers[source])

        def run(piece, x, bounds, draws):
            out, tape, state[piece.state] = self.network.forward(
                params.flat[piece.params], piece.network, x, bounds, state[piece.state], True, draws
            )
            return Pass(x, out, tape)

        trunk = run(self.trunk, views, alone, draws[0])
        branch = run(self.branch, trunk.out[source], rows.bounds, draws[1])
        V, norms = self.norm.unit_rows(branch.out) if self.normalize else (branch.out, None)
        return Learning(rows, source, trunk, branch, V, norms, *places, draws), state

    def _every_loss(self, learning, negatives):
        """L (n, k) from rows of all views under all clusters."""
        n, k = negatives.shape
        anchors = (self.own(2 * n * np.arange(k))[:, None] + self.own(np.arange(n))).ravel()
        others = (self.own(2 * n * np.arange(k))[:, None] + negatives.T).ravel()
        V = learning.V
        L = self.kernel.losses(V[anchors], V[anchors + n], V[others], self.loss, self.reg)
        return self.own(L.reshape(k, n).T)

    def _backward(self, params, learning, triplets, weights):
        """Gradient (p,) of Σ weights ℓ of the assigned clusters' triplets."""
        rows, gradient = learning.rows, np.empty_like(params.flat)
        parts = self.kernel.gradients(*triplets, weights, self.loss, self.reg)
        index = np.concatenate([learning.anchors, learning.positives, learning.negatives])
        G = self.kernel.add_rows(np.concatenate(parts), index, len(learning.V))
        if self.normalize:
            G = self.norm.unit_rows_gradient(G, learning.V, learning.norms)

        def back(piece, done, G, bounds, draws, wanted):
            flat, own = params.flat[piece.params], gradient[piece.params]
            return self.network.backward(flat, piece.network, done.X, done.tape, G, bounds, True, draws, wanted, own)

        deeper = len(self.trunk.network.layers) > 0
        G = back(self.branch, learning.branch, G, rows.bounds, learning.draws[1], deeper)
        if deeper:
            views = len(learning.trunk.X)
            alone = np.array([0] * (len(rows.bounds) - 1) + [views])
            G = self.kernel.add_rows(G, learning.source, views)
            back(self.trunk, learning.trunk, G, alone, learning.draws[0], False)
        return gradient

    # Losses and gradients

    def losses(self, params, X, target, centers, draw):
        """L (n, k) with the sample as its own positive and the mean embedding of other clusters as negative."""
        V = self.predict(params, X, Rows.every(len(X), len(centers)))
        return self.losses_of(V, self.mean_negatives(params.state, V.dtype))

    def losses_of(self, V, negatives):
        """L (n, k) of embeddings (k n, D), cluster by cluster, with one negative a column, (k, D)."""
        k = len(negatives)
        n = len(V) // k
        repeated = self.own(np.repeat(negatives, n, axis=0))
        return self.own(self.kernel.losses(V, V, repeated, self.loss, self.reg).reshape(k, n).T)

    def mean_negatives(self, state, dtype):
        """The mean embedding under u_j of samples outside cluster j, (k, D); of all, by the paper's rule."""
        sums, total, weights = state[SUMS], state[TOTAL], state[WEIGHTS]
        outside = weights.sum() - weights
        alone = outside <= 0 if not self.own_negatives else outside > -1  # then of all samples
        rest = np.where(alone[:, None], total, total - sums)
        size = np.where(alone, weights.sum(), outside)
        return self.own((rest / np.where(size > 0, size, 1)[:, None]).astype(dtype))

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient (p,)) with random views and negatives."""
        return self._learn(params, X, assign, weights, draw, every, len(centers))

    def _learn(self, params, X, assign, weights, draw, every, k, evaluating=False):
        n = len(X)
        if assign is None:  # a batch of `partial_fit`, of which nothing is known
            assign = self.assign.assign(self.losses(params, X, X, np.zeros((k, 0)), draw))
        uses = (Use.VALUE_AND_GRADIENT,) * 2 if evaluating else (Use.AUGMENTATION, Use.NEGATIVES)
        words = draw.words(Use.VALUE_AND_GRADIENT, 3) if evaluating else draw.words(Use.DROPOUT)
        counter = draw.words(uses[1], 2 if evaluating else 0)
        negatives, missing = self.kernel.negatives(assign, k, self.own_negatives, *counter, draw.rows)
        views, numbers = self._views(X, params.state, draw, uses[0])
        wide = self.coupled or (every and self.every_loss)
        learning, state = self._forward(params, views, numbers, assign, negatives, wide, words)
        V = learning.V
        triplets = V[learning.anchors], V[learning.positives], V[learning.negatives]
        if every and self.every_loss:
            L = self._every_loss(learning, negatives)
        else:
            L = np.zeros_like(X, shape=(n, k))
            L[self.own(np.arange(n)), assign] = self.kernel.losses(*triplets, self.loss, self.reg)
        if draw.training:
            self.networks.keep(params.state, state)
            params.state[COUNT][...] += missing
        return L, assign, self._backward(params, learning, triplets, weights)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of Σ w L[i, s_i], a dict of named arrays."""
        return params.layout.views(self.losses_and_gradient(params, X, target, centers, assign, weights, draw)[2])

    def value_and_gradient(self, params, X, target, centers, assign, weights, fitted, draw):
        """(L, gradient) of one function: views and negatives are always the same, statistics those of X."""
        L, _, gradient = self._learn(params, X, assign, weights, draw, False, len(centers), evaluating=True)
        return L, gradient

    # Embeddings

    def embed(self, params, X, centers, draw):
        """Embeddings (n, k, D)."""
        V = self.predict(params, X, Rows.every(len(X), len(centers)))
        return self.own(V.reshape(len(centers), len(X), -1).swapaxes(0, 1))

    def embed_assigned(self, params, X, centers, assign, draw):
        """Embeddings (n, D) under each sample's own cluster."""
        rows = Rows.of(assign, len(centers), self.own)
        return rows.gather(self.predict(params, X, rows))

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch and of four vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        return itemsize * (4 * size + 2 * rows * n_clusters * (3 * self.networks.widest() + 3 * n_features))


def _tenth_of_deviation(data):
    """A tenth of the root of the features' mean variance, a float."""
    X, w = on_host(data.X), as_numpy(data.weight).astype(np.float64)
    mean = sweeps.weighted_mean(X, w)
    squares = sweeps.of_rows(X, lambda rows: ((rows.astype(np.float64) - mean) ** 2).mean(axis=1))
    return 0.1 * float(np.sqrt(np.average(squares, weights=w)))
