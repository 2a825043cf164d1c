"""Instance discrimination against a background: digits on patches of photographs, patches alone as the background.

A sample is a patch of 28 × 28 pixels, cut at random from the two photographs that scikit-learn ships, in grey, plus a
digit of MNIST's test images; the background is other patches, without digits. Both are scaled by the background's mean
and standard deviation.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csrl_core import ContrastiveInstanceDiscrimination, InstanceDiscrimination, datasets, metrics
from csrl_core.experiments.idfd import CLASSES, PIXEL, SIDE, k_means
from csrl_core.experiments.runs import Keyed

SAMPLES, PATCHES, EPOCHS = 5000, 3000, 60
K_MEANS, CENTRED, ALONE, AGAINST = MODELS = ("k-means", "k-means, less each image's mean", "IDFD", "cIDFD")
NETWORKS = (ALONE, AGAINST)


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("model", "repetition", "seed", "epochs")
    model: str
    repetition: int
    seed: int
    epochs: int


@dataclass(frozen=True)
class Run(Key):
    """One model on one draw of digits and patches.

    ACC, NMI, ARI : of its clusters; seconds : of the fit, the background's included
    explained : of cIDFD the share of the variance of its features that a linear function of the background's has
    """

    ACC: float
    NMI: float
    ARI: float
    seconds: float
    explained: float


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made; folder : where the model of the first repetition is kept, for the picture."""

    backend: str
    folder: str
    samples: int
    patches: int
    n_jobs: int | None

    @property
    def path(self):
        """The file of the fitted model."""
        return Path(self.folder) / f"cidfd-{self.model}-{self.epochs}.safetensors"


def jobs(out, *, repetitions=3, seed=0, epochs=None, backend="auto", samples=SAMPLES, patches=PATCHES, n_jobs=None):
    """All jobs, in order."""
    return [
        Job(
            *(model, repetition, seed, (epochs or EPOCHS) if model in NETWORKS else 0),
            *(backend, str(out), samples, patches, n_jobs),
        )
        for model in MODELS
        for repetition in range(repetitions)
    ]


def photographs():
    """The two photographs in grey, values in [0, 1]."""
    from sklearn.datasets import load_sample_images

    return [image.astype(np.float32).mean(axis=2) / np.float32(PIXEL) for image in load_sample_images().images]


def draw_patches(n, rng):
    """n patches as rows (n, 784), from random places."""
    images, out = photographs(), np.empty((n, SIDE, SIDE), np.float32)
    for patch, which in zip(out, rng.integers(len(images), size=n)):
        y, x = (rng.integers(length - SIDE + 1) for length in images[which].shape)
        patch[...] = images[which][y : y + SIDE, x : x + SIDE]
    return out.reshape(n, -1)


def draw(seed, samples=SAMPLES, patches=PATCHES):
    """(X (n, 784), its digits' classes y (n,), background (m, 784)), float32, scaled."""
    source, rng = datasets.load("mnist", dtype=np.float32), np.random.default_rng(seed)
    rows = rng.permutation(len(source.data))[:samples]
    X = draw_patches(samples, rng) + source.data[rows] / np.float32(PIXEL)
    background = draw_patches(patches, rng)
    mean, scale = background.mean(), background.std()
    return (X - mean) / scale, source.target[rows], (background - mean) / scale


def make_run(job):
    """Fit and measure; the first repetition's models are saved."""
    seed = job.seed + job.repetition
    X, y, background = draw(seed, job.samples, job.patches)
    arguments = {"n_clusters": CLASSES, "image_shape": (SIDE, SIDE), "epochs": job.epochs, "random_state": seed}
    arguments |= {"backend": job.backend, "n_jobs": job.n_jobs}
    begin, explained = time.perf_counter(), float("nan")
    if job.model in NETWORKS:
        if job.model == ALONE:
            model = InstanceDiscrimination(**arguments).fit(X)
        else:
            model = ContrastiveInstanceDiscrimination(**arguments).fit(X, background=background)
        labels, seconds = model.labels_, time.perf_counter() - begin
        if job.model == AGAINST:
            explained = share_explained(model.transform(X), model.state_["background"])
        if job.repetition == 0:
            model.save(job.path)
    else:
        pixels = X if job.model == K_MEANS else X - X.mean(axis=1, keepdims=True)
        labels = k_means(pixels, seed)
        seconds = time.perf_counter() - begin
    return Run(*job.key, **metrics.scores(y, labels), seconds=seconds, explained=explained)


def share_explained(V, B):
    """The share of the variance of V (n, D) that the best linear function of B (n, e) has."""
    design = np.concatenate([B, np.ones((len(B), 1), B.dtype)], axis=1).astype(np.float64)
    residual = V - design @ np.linalg.lstsq(design, V.astype(np.float64), rcond=None)[0]
    return float(1 - residual.var(axis=0).sum() / V.astype(np.float64).var(axis=0).sum())
