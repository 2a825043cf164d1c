"""Instance discrimination as a `BatchModel`; the mathematics is in `csrl_core.reference.instance`."""

from typing import NamedTuple

import numpy as np

from csrl_core.models.base import BatchModel
from csrl_core.reference.augment import Augmentation
from csrl_core.reference.network import Draws
from csrl_core.training.draws import Use

ROWS = 8192  # samples whose first features are worked out at a time


class Losses(NamedTuple):
    """What the loss is made of: L_ID with τ, α L_FD with τ₂, and the memory bank's momentum.

    background_temperature : τ_b; decorrelate_background : bool, whether the background's columns are in L_FD
    """

    temperature: float
    decorrelation_temperature: float
    decorrelation: float
    momentum: float
    background_temperature: float = 1.0
    decorrelate_background: bool = False


class InstanceModel(BatchModel):
    """A network whose embeddings of unit norm tell all samples apart, with columns that do not correlate.

    networks : `Networks` with the part "encoder", shared by all clusters; image : (c, h, w) of a sample
    augmentation : `csrl_core.reference.augment.Augmentation`; losses : `Losses`
    background : dict of arrays of the state, "background" (n, e) and what `background_features` takes; empty without a
        background, or where the state has them
    """

    clusters_features = True
    of_samples = ("bank", "bank_weight", "background")

    def __init__(self, backend, networks, image, augmentation, losses, background=()):
        self.kernel, self.network, self.norm = backend.instance, backend.network, backend.norm
        self.augment, self.assign, self.own = backend.augment.augment, backend.assign, backend.own
        self.networks, self.image, self.options, self.of = networks, image, augmentation, losses
        self.encoder, self.background = networks.piece("encoder"), dict(background)
        self.latent = networks.output["encoder"][0]

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        return self.networks.initial(draw)

    def init_state(self, params, data, assign, centers, draw):
        """The memory bank, of the untrained network's features, weights, running averages, the noise's strength."""
        new = {name: array for name, array in self.background.items() if name not in params.state}
        new |= self.networks.initial_state(params.state, data.X.dtype)
        if "bank" not in params.state:
            averages = {name: self.own(array) for name, array in new.items() if name in self.networks.state_shapes}
            state = self.networks.state(params.state | averages, data.X[:1])
            parts = [
                self._features(params, data.X[first : first + ROWS], state) for first in range(0, len(data.X), ROWS)
            ]
            new |= {"bank": np.concatenate(parts), "bank_weight": self.own(data.weight.copy())}
        if "noise" not in params.state:
            new["noise"] = np.array([self.options.noise])
        return new

    def extend_state(self, params, data):
        """Append the features of another batch to the memory bank."""
        n = len(params.state["bank"])
        for name, rows in (("bank", self.features(params, data.X)), ("bank_weight", data.weight)):
            params.state[name] = np.concatenate([params.state[name], rows])
        return n + data.index

    # Features

    def _features(self, params, X, state):
        bounds = np.array([0, len(X)])
        out = self.network.predict(params.flat[self.encoder.params], self.encoder.network, X, bounds, state)
        return self.norm.unit_rows(self.own(out))[0]

    def features(self, params, X):
        """v (n, D) of unit norm after training, of images as they are."""
        return self._features(params, X, self.networks.state(params.state, X))

    def costs(self, params, Z):
        """‖v − m_j‖², the squared distances of features from the clusters' means, (n, k)."""
        if "feature_centers" not in params.state:
            raise ValueError(
                "clusters are found when training ends; before that an estimator has features alone (transform)"
            )
        M = params.state["feature_centers"].astype(Z.dtype)
        squares = (Z * Z).sum(axis=1)[:, None] + (M * M).sum(axis=1)
        return np.maximum(squares - 2 * (Z @ M.T), 0)

    def background_features(self, params, X):
        """b (n, e): every background extractor's features, less their mean of the training samples, of unit norm."""
        state, parts = params.state, []
        names = "background_params", "background_averages", "background_center"
        for flat, averages, center in zip(*(self.own(state[name], X.dtype) for name in names), strict=True):
            bounds = np.array([0, len(X)])
            out = self.network.predict(flat, self.encoder.network, X, bounds, averages)
            V = self.norm.unit_rows(self.own(out))[0]
            parts.append(self.norm.unit_rows(V - center)[0])
        return np.concatenate(parts, axis=1)

    # Learning

    def augmented(self, params, X, draw):
        """Other views of a batch, with noise as at the start of the run."""
        options = self.options._replace(noise=float(params.state["noise"][0]))
        if options == Augmentation():
            return X
        use = Use.AUGMENTATION if draw.training else Use.VALUE_AND_GRADIENT
        return self.augment(X, self.image, options, *draw.words(use), draw.rows)

    def loss_and_gradient(self, params, batch, draw):
        """Σ w L_ID + α W L_FD, W = Σ w, and its gradient (p,)."""
        n, state = len(batch.X), self.networks.state(params.state, batch.X)
        if n < self.networks.fewest_rows():
            raise ValueError(
                f"a batch has {n} sample, and batch normalisation needs at least 2 for statistics; choose a batch_size "
                f"of at least 2 that leaves no single sample for the last batch"
            )
        X, flat, bounds = self.augmented(params, batch.X, draw), params.flat[self.encoder.params], np.array([0, n])
        draws = Draws(*draw.words(Use.DROPOUT), draw.rows)
        # 1. embeddings
        out, tape, state = self.network.forward(flat, self.encoder.network, X, bounds, state, True, draws)
        V, norms = self.norm.unit_rows(out)
        # 2. losses
        loss_sum, weight_sum, G = self.losses(params.state, V, batch)
        # 3. back
        G = self.norm.unit_rows_gradient(G, V, norms)
        gradient = np.empty_like(params.flat)
        self.network.backward(
            *(flat, self.encoder.network, X, tape, G, bounds, True, draws, False, gradient[self.encoder.params])
        )
        if draw.training:
            self.kernel.update_bank(params.state["bank"], batch.index, V, self.of.momentum)
            self.networks.keep(params.state, state)
        return loss_sum, weight_sum, gradient

    def losses(self, state, V, batch):
        """(loss_sum, weight_sum, gradient with respect to V (b, D)) of embeddings of unit norm."""
        of, (weights, index), dtype = self.of, (batch.weight, batch.index), V.dtype
        bank, bank_weight = (self.own(state[name], dtype) for name in ("bank", "bank_weight"))
        background = state.get("background")
        none = np.empty_like(V, shape=(len(bank), 0))
        background = none if background is None else self.own(background, dtype)
        L, G = self.kernel.discrimination(
            V, index, bank, bank_weight, of.temperature, background, of.background_temperature
        )
        loss_sum, weight_sum = float((L * weights).sum(dtype=np.float64)), float(weights.sum(dtype=np.float64))
        if of.decorrelation:
            beside = (background if of.decorrelate_background else none)[index]
            value, H = self.kernel.decorrelation(V, weights, of.decorrelation_temperature, beside)
            share = of.decorrelation * weight_sum
            loss_sum, G = loss_sum + share * value, G + V.dtype.type(share) * H
        return loss_sum, weight_sum, G

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the passes of a batch and of four vectors of parameters."""
        size = sum(int(np.prod(shape)) for shape in self.networks.shapes.values())
        return itemsize * (4 * size + rows * (3 * self.networks.widest() + 3 * n_features))
