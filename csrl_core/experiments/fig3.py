"""Figure 3 of the paper, measured: a variational autoencoder for each cluster, beside one for all data.

Images of three classes, {0, 1, 9} of MNIST with dense networks and of Fashion-MNIST with convolutions, 200 of each
class to train on and 100 to test with, latent spaces of two dimensions, batches of 50, Adam at 0.001. Versions:

papers    Assignment by loss from the first step on, images less their cluster's centre and squashed, β = ½, 200 epochs.
ours      The defaults of `TensorizedVAE`: images as they are, β = 2, k-means' clusters stand for 20 of 100 epochs.

In both the standard model is the same with one cluster.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csrl_core import TensorizedVAE, metrics
from csrl_core.experiments.clusters import clusters_of, k_means
from csrl_core.experiments.images import draw_images as images_of
from csrl_core.experiments.runs import Keyed

CLASSES, TRAIN, TEST, SIDE = (0, 1, 9), 200, 100, 28
ARCHITECTURES = {"mnist": "dense", "fashion_mnist": "conv"}  # data set → that of its networks
STANDARD, TENSORIZED = MODELS = ("VAE", "TVAE")
VERSIONS = {
    "papers": {"reg": 0.5, "center": True, "epochs": 200, "standing_epochs": 0, "init": "k-means++"},
    "ours": {},
}


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("data", "version", "model", "repetition", "seed", "epochs")
    data: str
    version: str
    model: str
    repetition: int
    seed: int
    epochs: int


@dataclass(frozen=True)
class Run(Key):
    """One model and repetition.

    ARI, ARI_test : of the clusters; for one model of k-means on its means of codes
    ARI_k_means : of k-means on the training images' pixels
    bound, bound_test : mean importance-weighted bound of log p(x), nats
    loss : the final objective; seconds : of the fit
    """

    ARI: float
    ARI_test: float
    ARI_k_means: float
    bound: float
    bound_test: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made; folder : where the model of the first repetition is kept, for the picture."""

    backend: str
    folder: str
    images: int

    @property
    def path(self):
        """The file of the fitted model."""
        return model_path(self.folder, self.data, self.version, self.model, self.epochs)


def model_path(folder, data, version, model, epochs):
    """The file of the first repetition's fitted model."""
    return Path(folder) / f"fig3-{data}-{version}-{model}-{epochs}.safetensors"


def epochs_of(version):
    """Epochs of a version's fits."""
    return VERSIONS[version].get("epochs", TensorizedVAE().epochs)


def jobs(out, versions, sets, *, repetitions=5, seed=0, epochs=None, backend="auto", images=TRAIN):
    """All jobs of the figure, in order; epochs : int or None, the versions' own; images : of a class, for training"""
    return [
        Job(data, version, model, repetition, seed, epochs or epochs_of(version), backend, str(out), images)
        for data in sets
        for version in versions
        for repetition in range(repetitions)
        for model in MODELS
    ]


def draw_images(data, seed, images=TRAIN):
    """Images of the three classes with values in [0, 1]: ((X, y) for training, (X, y) for the test)."""
    return images_of(data, CLASSES, seed, images, TEST)


def make_run(job):
    """Fit and measure; the first repetition's model is saved."""
    seed = job.seed + job.repetition
    (X, y), (X_test, y_test) = draw_images(job.data, seed, job.images)
    arguments = {"architecture": ARCHITECTURES[job.data], **VERSIONS[job.version], "epochs": job.epochs}
    k = len(CLASSES) if job.model == TENSORIZED else 1
    begin = time.perf_counter()
    model = TensorizedVAE(n_clusters=k, random_state=seed, backend=job.backend, n_jobs=1, **arguments).fit(X)
    seconds = time.perf_counter() - begin
    if job.repetition == 0:
        model.save(job.path)
    labels, labels_test = clusters_of(model, X, X_test, len(CLASSES), seed)
    return Run(
        *job.key,
        ARI=metrics.adjusted_rand_index(y, labels),
        ARI_test=metrics.adjusted_rand_index(y_test, labels_test),
        ARI_k_means=metrics.adjusted_rand_index(y, k_means(X, len(CLASSES), seed).labels_),
        bound=float(np.mean(model.score_samples(X))),
        bound_test=float(np.mean(model.score_samples(X_test))),
        loss=float(model.loss_),
        seconds=seconds,
    )
