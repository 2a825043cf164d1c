"""Deep clustering by divergences with companion objectives, and how far these pull the same way (DDC, DDC-AE, DDC-UCO).

Every model learns from two disjoint sets, A and B, of 3000 MNIST test images without their classes, with and without
the invariance term. Models of one set and repetition begin with equal weights and see equal batches and, with the
invariance term, equal copies: their differences are those of the objectives. All have one learning rate.
"""

import time
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from csrl_core import DeepDivergenceClustering, datasets, metrics
from csrl_core.experiments.runs import Keyed

CLASSES, SIDE, PIXEL = 10, 28, 255.0
SETS, IMAGES = ("A", "B"), 3000
ALONE, AUTOENCODER, VECTOR, TENSOR = MODELS = ("DDC", "DDC-AE", "DDC-UCO, vector", "DDC-UCO, tensor")
ARGUMENTS = {
    ALONE: {},
    AUTOENCODER: {"companion": "autoencoder"},
    VECTOR: {"companion": "uco", "kernel": "vector"},
    TENSOR: {"companion": "uco", "kernel": "tensor"},
}
INVARIANCE = (0.0, 1.0)  # weights
REPETITIONS, EPOCHS, RATE = 10, 6, 1e-3
COMPARED = 3  # batches of an epoch, of 25, in which gradients are compared


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("data", "model", "invariance", "repetition", "seed", "epochs")
    data: str
    model: str
    invariance: float
    repetition: int
    seed: int
    epochs: int


@dataclass(frozen=True)
class Run(Key):
    """One model, set and seed.

    ACC, NMI, ARI : of its clusters; loss : of the last epoch; seconds : of the fit
    ofm, ofm_detached, correlation : means over the epochs, NaN without a companion; excluded : the part of epochs in
    which the interval of the regression's slope does not have 0
    curve, detached_curve : an entry an epoch, with blanks between them
    """

    ACC: float
    NMI: float
    ARI: float
    loss: float
    seconds: float
    ofm: float
    ofm_detached: float
    correlation: float
    excluded: float
    curve: str
    detached_curve: str


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made, on one thread; images : the first so many of the set"""

    backend: str
    images: int


def jobs(*, repetitions=REPETITIONS, seed=0, epochs=None, backend="auto", images=IMAGES):
    """All jobs, a repetition after the other, but the tensors', which take longest, at the end."""
    return [
        Job(data, model, invariance, repetition, seed + repetition, epochs or EPOCHS, backend, images)
        for models in ((ALONE, AUTOENCODER, VECTOR), (TENSOR,))
        for repetition in range(repetitions)
        for data in SETS
        for model in models
        for invariance in INVARIANCE
    ]


@lru_cache(maxsize=2)
def load_images(data, images=IMAGES):
    """(X (n, 784) float32 in [0, 1], y (n,)): disjoint sets of the test images in random order, always the same."""
    source = datasets.load("mnist", dtype=np.float32)
    first = IMAGES * SETS.index(data)
    chosen = np.random.default_rng(0).permutation(len(source.data))[first : first + images]
    return source.data[chosen] / np.float32(PIXEL), source.target[chosen]


def model_of(job):
    """The estimator of a job."""
    return DeepDivergenceClustering(
        n_clusters=CLASSES,
        architecture="conv",
        image_shape=(SIDE, SIDE),
        invariance=job.invariance,
        epochs=job.epochs,
        learning_rate=RATE,
        mismatch=0 if job.model == ALONE else COMPARED,
        random_state=job.seed,
        backend=job.backend,
        n_jobs=1,
        **ARGUMENTS[job.model],
    )


def make_run(job):
    """Fit and measure."""
    X, y = load_images(job.data, job.images)
    begin = time.perf_counter()
    with warnings.catch_warnings():  # the experiment fixes the epochs, and clusters stay empty with some seeds
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = model_of(job).fit(X)
    seconds = time.perf_counter() - begin
    scores = metrics.scores(y, model.labels_) | {"loss": float(model.loss_), "seconds": seconds}
    return Run(*job.key, **scores, **mismatch_of(model))


def mismatch_of(model):
    """The fields of a `Run` that tell of the mismatch."""
    names = "ofm", "ofm_detached", "correlation", "excluded"
    if model.companion is None:
        return dict.fromkeys(names, float("nan")) | {"curve": "", "detached_curve": ""}
    curves, lines = (model.ofm_curve_, model.ofm_detached_curve_), model.ofm_regression_curve_
    known = lines[np.isfinite(lines).all(axis=1)]
    excluded = float(((known[:, 1] > 0) | (known[:, 2] < 0)).mean()) if len(known) else float("nan")
    values = *(float(np.mean(curve)) for curve in curves), float(np.mean(lines[:, 3])), excluded
    texts = (" ".join(f"{value:.4f}" for value in curve) for curve in curves)
    return dict(zip((*names, "curve", "detached_curve"), (*values, *texts), strict=True))
