"""Instance discrimination on all test images of MNIST and Fashion-MNIST, beside k-means on the pixels.

Every model learns from the 10,000 test images without their classes, once for each seed, and is asked while it learns
how well k-means on its features meets the classes. Networks: dense (784-512-256-16) and convolutional.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csrl_core import InstanceDiscrimination, callbacks, datasets, metrics
from csrl_core.experiments.runs import Keyed

CLASSES, SIDE, PIXEL = 10, 28, 255.0
SETS = ("mnist", "fashion_mnist")
K_MEANS, DENSE, CONV = MODELS = ("k-means", "IDFD, dense", "IDFD, conv")
ARCHITECTURES = {DENSE: "dense", CONV: "conv"}
# Clothes are centred and have one size, and what is left of a print does not survive a strong deformation.
VIEWS = {"mnist": {}, "fashion_mnist": {"shift": 1.0, "rotation": 5.0, "elastic": 20.0}}
EPOCHS = {DENSE: 60, CONV: 45}
LOOKS = 10  # at the features while a model learns


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("data", "model", "repetition", "seed", "epochs")
    data: str
    model: str
    repetition: int
    seed: int
    epochs: int


@dataclass(frozen=True)
class Run(Key):
    """One model, data set and seed.

    ACC, NMI, ARI : of its clusters; loss : of the last epoch; seconds : of the fit
    curve : "seconds:ACC" of the looks at the features, with blanks between them
    """

    ACC: float
    NMI: float
    ARI: float
    loss: float
    seconds: float
    curve: str


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made; folder : where the model of the first repetition is kept, for the picture."""

    backend: str
    folder: str
    images: int
    n_jobs: int | None

    @property
    def path(self):
        """The file of the fitted model."""
        name = f"idfd-{self.data}-{ARCHITECTURES.get(self.model, 'none')}-{self.epochs}.safetensors"
        return Path(self.folder) / name


def jobs(out, sets, *, repetitions=3, seed=0, epochs=None, backend="auto", images=10_000, n_jobs=None):
    """All jobs, in order. epochs : int or None, each network's own; images : the first so many of the test file"""
    return [
        Job(
            *(data, model, repetition, seed, 0 if model == K_MEANS else epochs or EPOCHS[model]),
            *(backend, str(out), images, n_jobs),
        )
        for data in sets
        for model in MODELS
        for repetition in range(repetitions)
    ]


def load_images(data, images):
    """(X (n, 784) float32 in [0, 1], y (n,)) of the test file."""
    source = datasets.load(data, dtype=np.float32)
    return source.data[:images] / np.float32(PIXEL), source.target[:images]


class Accuracy(callbacks.EpochCallback):
    """Accuracy of k-means on the features, some times in a fit; its own time does not count."""

    def __init__(self, X, y, every):
        self.X, self.y, self.every, self.looks, self.away = X, y, every, [], 0.0

    def setup(self, estimator, context):
        """Start the clock."""
        self._begin, self.away, self.looks = time.perf_counter(), 0.0, []

    def on_epoch_end(self, estimator, epoch):
        """Look at the features if it is time."""
        now = time.perf_counter()
        if (epoch.epoch + 1) % self.every == 0:
            Z = epoch.fitted().transform(self.X)
            accuracy = metrics.clustering_accuracy(self.y, k_means(Z, epoch.epoch, 3))
            self.looks.append((now - self._begin - self.away, accuracy))
            self.away += time.perf_counter() - now
        return False


def k_means(X, seed, tries=10):
    """Clusters (n,) of k-means."""
    from sklearn.cluster import KMeans

    return KMeans(CLASSES, n_init=tries, random_state=seed).fit_predict(X)


def make_run(job):
    """Fit and measure; the first repetition's model is saved."""
    seed = job.seed + job.repetition
    X, y = load_images(job.data, job.images)
    begin, loss, looks = time.perf_counter(), float("nan"), []
    if job.model == K_MEANS:
        labels = k_means(X, seed)
    else:
        accuracy = Accuracy(X, y, max(1, job.epochs // LOOKS))
        model = InstanceDiscrimination(
            n_clusters=CLASSES,
            architecture=ARCHITECTURES[job.model],
            image_shape=(SIDE, SIDE),
            epochs=job.epochs,
            random_state=seed,
            backend=job.backend,
            n_jobs=job.n_jobs,
            **VIEWS[job.data],
        )
        model.set_callbacks(accuracy).fit(X)
        begin += accuracy.away
        labels, loss, looks = model.labels_, float(model.loss_), accuracy.looks
        if job.repetition == 0:
            model.save(job.path)
    seconds = time.perf_counter() - begin
    curve = " ".join(f"{at:.2f}:{value:.4f}" for at, value in looks)
    return Run(*job.key, **metrics.scores(y, labels), loss=loss, seconds=seconds, curve=curve)
