"""An epoch of deep divergence-based clustering for `bench_divergence.py`: ours, and torch with channels_last.

3000 images of 28 × 28, batches of 120, the convolutions of spec DDC: two blocks of 32 channels, 100 hidden features, 10
clusters, Adam, the gradient clipped to norm 10, float32.
"""

from dataclasses import replace

import numpy as np

from csrl_core import backends
from csrl_core.models.divergence import DivergenceModel
from csrl_core.models.divergence_layers import backbone, divergence_parts
from csrl_core.models.divergence_terms import Objective
from csrl_core.models.network import Networks
from csrl_core.reference.augment import Augmentation
from csrl_core.training.batch import BatchObjective
from csrl_core.training.loop import Trainer
from csrl_core.training.run import Settings, as_batch

try:
    import torch
except ImportError:
    torch = None

IMAGE, BATCH, CLUSTERS, HIDDEN = (1, 28, 28), 120, 10, 100


def images(n):
    """(n, 784) float32 in [0, 1]: a bright square somewhere."""
    random = np.random.default_rng(0)
    X = 0.1 * random.random((n, 28, 28), np.float32)
    for image, (y, x) in zip(X, random.integers(4, 16, (n, 2)), strict=True):
        image[y : y + 8, x : x + 8] += 0.8
    return X.reshape(n, 784)


class OurEpoch:
    """Every call is an epoch more of one run."""

    def __init__(self, X, backend="numba"):
        backend, key = backends.get(backend), np.array([1, 2], np.uint32)
        encoder, _, blocks = backbone(IMAGE, (32, 32), True)
        networks = Networks(divergence_parts(IMAGE, encoder, None, HIDDEN, CLUSTERS), 1)
        self.model = DivergenceModel(backend, networks, blocks, IMAGE, Augmentation(), Objective(), BATCH)
        self.objective = BatchObjective(self.model, backend, CLUSTERS, key)
        self.data = as_batch(X, X, np.ones(len(X), np.float32), np.zeros(X.shape[1]), backend)
        settings = Settings(0, BATCH, "adam", 1e-3, clip_norm=10.0, key=key)
        self.trainer = Trainer(self.objective, self.data, settings, backend)
        self.run = self.objective.start(self.data, 0)

    def __call__(self):
        self.trainer.settings = replace(self.trainer.settings, epochs=self.run.epoch + 1)
        self.trainer.train(self.run)

    def first_batch(self):
        """(loss, gradient dict) of the first samples, and the parameters there, a dict."""
        parameters = self.objective.parameters(self.run)
        batch = self.data.take(np.arange(BATCH), 0)
        draw = self.objective.draw(64, 0, 0, batch.index)
        value, _, gradient = self.model.loss_and_gradient(parameters, batch, draw)
        named = {name: view[0] for name, view in parameters.layout.views(gradient / BATCH).items()}
        return value / BATCH, named, {name: view[0] for name, view in parameters.items()}


class TorchEpoch:
    """The same by torch."""

    def __init__(self, X):
        nn = torch.nn
        first = nn.Conv2d(1, 32, 5), nn.ReLU(), nn.Conv2d(32, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)
        second = nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)
        self.encoder = nn.Sequential(*first, *second).to(memory_format=torch.channels_last)
        self.hidden = nn.Sequential(nn.Linear(288, HIDDEN), nn.ReLU(), nn.BatchNorm1d(HIDDEN))
        self.last = nn.Linear(HIDDEN, CLUSTERS)
        self.all = nn.ModuleList([self.encoder, self.hidden, self.last])
        self.X = torch.from_numpy(X).reshape(-1, *IMAGE).to(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(self.all.parameters(), 1e-3)

    def loss(self, X):
        """L_DDC of a batch."""
        H = self.hidden(self.encoder(X).flatten(1))
        A, n = torch.softmax(self.last(H), 1), len(H)
        s = (H * H).sum(1)
        D = (s[:, None] + s - 2 * H @ H.T).clamp(min=0)
        K = torch.exp(-D / (2 * (0.15 * D.detach().median()).clamp(min=1e-9)))
        M = torch.exp(-((A[:, None] - torch.eye(CLUSTERS)) ** 2).sum(2))
        apart = (A.sum(0).square().sum() - A.square().sum()) / (n * (n - 1))
        return self.divergence(A, K) + apart + self.divergence(M, K)

    @staticmethod
    def divergence(A, K):
        """D_cs(A, K)."""
        N = (A.T @ K @ A).clamp(min=1e-9)
        d = N.diagonal()
        ratios = N / (d[:, None] * d).clamp(min=1e-18).sqrt()
        return 2 / (CLUSTERS * (CLUSTERS - 1)) * torch.triu(ratios, 1).sum()

    def __call__(self):
        for rows in torch.randperm(len(self.X)).split(BATCH):
            self.adam.zero_grad()
            loss = self.loss(self.X[rows].to(memory_format=torch.channels_last))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.all.parameters(), 10.0)
            self.adam.step()

    def named(self):
        """Our names → parameters."""
        places = {"encoder.0": 0, "encoder.1": 2, "encoder.2": 3, "encoder.4": 6, "encoder.5": 8, "encoder.6": 9}
        layers = {name: self.encoder[place] for name, place in places.items()}
        layers |= {"head.0": self.hidden[0], "head.1": self.hidden[2], "head.2": self.last}
        return {f"{name}.{what}": getattr(layer, what) for name, layer in layers.items() for what in ("weight", "bias")}


def check(ours, theirs):
    """Raise where torch's loss and gradient at our parameters are others than ours."""
    value, gradient, params = ours.first_batch()
    for name, parameter in theirs.named().items():
        own = params[name].T if parameter.ndim == 2 else params[name]
        parameter.data.copy_(torch.from_numpy(np.ascontiguousarray(own)))
    loss = theirs.loss(theirs.X[:BATCH])
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-4)
    # The encoder's biases before batch normalisation have no gradient but for rounding.
    for name in ("encoder.0.weight", "encoder.5.weight", "head.0.weight", "head.2.weight"):
        other = theirs.named()[name].grad.numpy()
        other = other.T if other.ndim == 2 else other
        np.testing.assert_allclose(gradient[name], other, rtol=0, atol=2e-2 * np.abs(other).max())
