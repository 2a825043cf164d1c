"""Figure 5 of the paper, measured: Boltzmann machines of two clusters on MNIST's zeros and ones, one machine beside.

For K = 1, 2, 5, 10 and 20 steps of Gibbs sampling, 200 images of each digit, batches of 64, Adam at 0.001, 15 epochs
(10 for K = 5 and 20), 500 hidden units. Versions:

papers    Assignment by contrastive divergence from the first step on; data less their cluster's mean, and then taken as
          binary units. (In the authors' code centres drift to the mean of all data, which is another procedure.)
ours      Assignment by likelihood after an epoch in which the first assignment stands; data as they are.
standard  One machine for all data, with as many hidden units, and with as many parameters as the two machines.

Every repetition draws images and parameters anew. Likelihoods are of binary images, pixels ≥ ½, as machines define
them: of 400 images trained on, and of up to 400 others. Classes serve for the scores and for the clusters' order.
"""

import time
import warnings
from dataclasses import dataclass, field, fields

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedRBM, datasets, metrics
from csrl_core.estimators.uncentred import uncentred
from csrl_core.experiments.runs import Keyed
from csrl_core.plotting.images import reconstructions
from csrl_core.training.loop import NonFiniteLossError

STEPS = (1, 2, 5, 10, 20)
EPOCHS = {5: 10, 20: 10}  # 15 otherwise
VERSIONS = ("papers", "ours")
INPUTS = ("intensities", "binary")
DRAWN = 5  # images of each digit in a picture


@dataclass(frozen=True)
class Problem:
    """Zeros and ones of a data set: images of each digit to train on and to test with, and the machines' size.

    learning_rate : the paper's; ten times as much where there are fewer, smaller steps
    """

    name: str
    scale: float
    train: int
    test: int
    n_hidden: int
    image_shape: tuple
    learning_rate: float

    def load(self, seed):
        """(X, y) to train on and (X, y) to test with: pixels from 0 to 1 in float32, digits in turn."""
        bunch = datasets.load(self.name)
        random = np.random.default_rng(seed)
        places = [random.permutation(np.flatnonzero(bunch.target == digit)) for digit in (0, 1)]
        parts = [slice(self.train), slice(self.train, self.train + self.test)]
        rows = [np.stack([own[part] for own in places], axis=1).ravel() for part in parts]
        return [((bunch.data[own] / self.scale).astype(np.float32), bunch.target[own]) for own in rows]


PROBLEMS = {
    "mnist": Problem("mnist", 255.0, 200, 200, 500, (28, 28), 0.001),
    "digits": Problem("digits", 16.0, 100, 75, 50, (8, 8), 0.01),
}


@dataclass(frozen=True)
class Machine:
    """An estimator of the comparison; ``share`` : its hidden units as a multiple of the problem's."""

    version: str
    model: str
    arguments: dict = field(default_factory=dict)
    share: int = 1


_PAPERS = {"assignment": "cd", "center": True, "standing_epochs": 0, "update": "assign-then-step", "init": "k-means++"}
SAME_SIZE = "RBM of the TRBM's size"
MACHINES = (
    Machine("papers", "TRBM", {"n_clusters": 2} | _PAPERS),
    Machine("ours", "TRBM", {"n_clusters": 2, "init": "k-means", "standing_epochs": 1, "ais_every": 5}),
    Machine("standard", "RBM", {"n_clusters": 1}),
    # Two machines have 2 m (d + 1) + d parameters: exactly those of one with 2 m hidden units.
    Machine("standard", SAME_SIZE, {"n_clusters": 1}, share=2),
)


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("data", "inputs", "version", "model", "gibbs_steps", "repetition", "seed", "epochs", "n_hidden", "ais_betas")
    data: str
    inputs: str
    version: str
    model: str
    gibbs_steps: int
    repetition: int
    seed: int
    epochs: int
    n_hidden: int
    ais_betas: int


@dataclass(frozen=True)
class Run(Key):
    """One machine, K and repetition.

    ARI, ARI_test : of the clusters; for one machine of k-means on its hidden units
    error_own : reconstruction of test images under their own cluster, mean squared error a pixel; error_first and
    error_second : of all of them under cluster one, that of the zeros, and two
    log_likelihood, log_likelihood_test : mean log p of binary images, by annealed importance sampling;
    log_likelihood_error : the sampling's standard error
    pseudo_likelihood, pseudo_likelihood_test : of binary images under their cluster
    loss_first, loss_last : of the curve; seconds : of the fit
    """

    parameters: int
    ARI: float
    ARI_test: float
    ARI_k_means: float
    error_own: float
    error_first: float
    error_second: float
    loss_first: float
    loss_last: float
    log_likelihood: float
    log_likelihood_test: float
    log_likelihood_error: float
    pseudo_likelihood: float
    pseudo_likelihood_test: float
    n_reseeded: int
    seconds: float


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made."""

    ais_chains: int
    backend: str
    n_jobs: int | None
    arguments: dict


def jobs(
    versions=VERSIONS,
    data="mnist",
    inputs="intensities",
    *,
    steps=STEPS,
    repetitions=5,
    seed=0,
    epochs=None,
    n_hidden=None,
    ais_betas=1000,
    ais_chains=100,
    backend="auto",
    n_jobs=None,
):
    """All `Job`s, those of a picture together; ``epochs`` and ``n_hidden`` instead of the paper's own."""
    m = n_hidden or PROBLEMS[data].n_hidden
    return [
        Job(
            *(data, inputs, machine.version, machine.model, K, repetition, seed),
            *(epochs or EPOCHS.get(K, 15), machine.share * m, ais_betas, ais_chains, backend, n_jobs),
            machine.arguments,
        )
        for K in steps
        for repetition in range(repetitions)
        for machine in MACHINES
        if machine.version in (*versions, "standard")
    ]


def binary(X):
    """Pixels that are at least ½."""
    return (X >= 0.5).astype(X.dtype)


def make_run(job):
    """Make a job's run: (`Run`, images to draw); a fit that diverges gives a row of NaN and no images."""
    problem, seed = PROBLEMS[job.data], job.seed + job.repetition
    (X, y), (T, t) = problem.load(seed)
    if job.inputs == "binary":
        X, T = binary(X), binary(T)
    model = TensorizedRBM(
        **job.arguments,
        **{"n_hidden": job.n_hidden, "gibbs_steps": job.gibbs_steps, "epochs": job.epochs, "batch_size": 64},
        **{"learning_rate": problem.learning_rate, "weight_decay": 0.0},
        **{"ais_betas": job.ais_betas, "ais_chains": job.ais_chains},
        **{"backend": job.backend, "n_jobs": job.n_jobs, "random_state": seed},
    )
    begin = time.perf_counter()
    try:
        with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the papers' settings learn little, as the table says
            model.fit(X)
    except NonFiniteLossError:
        measured, images = {}, None
    else:
        seconds = time.perf_counter() - begin
        order = _order(model, y)
        measured = _measure(model, order, X, y, T, t) | {"seconds": seconds}
        images = _images(model, order, T[: 2 * DRAWN])
    nothing = {c.name: 0 if c.type is int else float("nan") for c in fields(Run)}
    keys = dict(zip(nothing, job.key))
    return Run(**nothing | measured | keys | {"ARI_k_means": _k_means(X, y, seed)}), images


def _k_means(X, y, seed):
    from sklearn.cluster import KMeans

    return metrics.adjusted_rand_index(y, KMeans(2, n_init=10, random_state=seed).fit_predict(X))


def _order(model, y):
    """Clusters in the order of their share of zeros: cluster one is that of the zeros."""
    ones = np.bincount(model.labels_, weights=y, minlength=model.n_clusters)
    return np.argsort(ones / np.maximum(np.bincount(model.labels_, minlength=model.n_clusters), 1), kind="stable")


def _measure(model, order, X, y, T, t):
    """The columns of a `Run` that are measured on a fitted model."""
    from sklearn.cluster import KMeans

    if model.n_clusters == 1:
        means = KMeans(2, n_init=10, random_state=0).fit(model.transform(X))
        labels, labels_test = means.labels_, means.predict(model.transform(T))
    else:
        labels, labels_test = model.labels_, model.predict(T)
    images, own = reconstructions(model, T)
    errors = np.mean((images - T[:, None]) ** 2, axis=2, dtype=np.float64)
    by_cluster = dict(zip(("error_first", "error_second"), errors.mean(axis=0)[order].tolist()))
    machine = uncentred(model)
    _, log_error = machine.estimate_log_partition()
    weight = machine.predict_proba(binary(T)).mean(axis=0, dtype=np.float64)
    return {
        "parameters": len(model.params_),
        "ARI": metrics.adjusted_rand_index(y, labels),
        "ARI_test": metrics.adjusted_rand_index(t, labels_test),
        "error_own": float(errors[np.arange(len(T)), own].mean()),
        **by_cluster,
        "loss_first": model.loss_curve_[0],
        "loss_last": model.loss_curve_[-1],
        "log_likelihood": machine.score(binary(X)),
        "log_likelihood_test": machine.score(binary(T)),
        "log_likelihood_error": float(np.sqrt(np.sum((weight * log_error) ** 2))),
        "pseudo_likelihood": float(model.pseudo_likelihood(binary(X)).mean()),
        "pseudo_likelihood_test": float(model.pseudo_likelihood(binary(T)).mean()),
        "n_reseeded": model.n_reseeded_,
    }


def _images(model, order, T):
    """For a picture: (1 + k, n, d), samples and reconstructions, and own (k, n), whether a cluster is the sample's."""
    images, own = reconstructions(model, T)
    return np.concatenate([T[None], images.swapaxes(0, 1)[order]]), own == order[:, None]
