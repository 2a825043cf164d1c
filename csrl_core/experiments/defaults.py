"""Every cluster model with its default arguments on many data sets, beside k-means and beside its own start.

The sets are those of `defaults_sets`. A repetition has a seed of its own, for the model and, where there is more than
one draw, for the data. Classes give the number of clusters and the scores, and nothing else.
"""

import time
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from csrl_core import TensorizedAutoencoder, TensorizedRBM, metrics
from csrl_core.experiments.defaults_sets import SETS
from csrl_core.experiments.runs import Keyed

SEEDS = 3
QUICK = ("Bernoulli, small", "Gaussian, small", "parallel_line", "iris")


def _machine(problem, **arguments):
    return TensorizedRBM(visible="bernoulli" if problem.binary else "gaussian", **arguments)


# Default arguments, but for what says which model it is.
MODELS = {
    "TAE": lambda problem, **arguments: TensorizedAutoencoder(**arguments),
    "PTAE": lambda problem, **arguments: TensorizedAutoencoder(shared=1, **arguments),
    "TRBM": _machine,
}


@dataclass(frozen=True)
class Key(Keyed):
    """The fields that identify a run."""

    KEY = ("data", "model", "seed")
    data: str
    model: str
    seed: int


@dataclass(frozen=True)
class Run(Key):
    """One model with its defaults on one draw of a data set.

    ARI : of the fit; ARI_start : of its own start, what its ``init`` gives without training; ARI_k_means : of
    scikit-learn's, the best of ten; score : mean log-likelihood; smallest : samples of the smallest cluster;
    n_warnings : how often the fit warned; seconds : of the fit
    """

    n: int
    d: int
    k: int
    ARI: float
    ARI_start: float
    ARI_k_means: float
    score: float
    smallest: int
    n_reseeded: int
    n_warnings: int
    seconds: float


@dataclass(frozen=True)
class Job(Key):
    """A run that is to be made; n_jobs : threads of the fit."""

    backend: str = "auto"
    n_jobs: int | None = 1


def jobs(sets=None, models=tuple(MODELS), repetitions=SEEDS, seed=0, backend="auto"):
    """All `Job`s; sets : names, by default all whose files are there."""
    names = [name for name, problem in SETS.items() if problem.available] if sets is None else sets
    seeds = range(seed, seed + repetitions)
    return [Job(name, model, own, backend) for name in names for own in seeds for model in models]


def make_run(job):
    """Make the `Run` of a `Job`."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    problem = SETS[job.data]
    X, y, k = problem.load(job.seed)
    arguments = {"n_clusters": k, "backend": job.backend, "n_jobs": job.n_jobs, "random_state": job.seed}
    model = MODELS[job.model](problem, **arguments)
    if isinstance(model, TensorizedRBM) and not problem.binary:
        # Gaussian units have unit variance: one number for all features.
        X = (X - X.mean(axis=0)) / np.sqrt(X.var(axis=0).mean())
    begin = time.perf_counter()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        model.fit(X)
    seconds = time.perf_counter() - begin
    with threadpool_limits(1):
        means = KMeans(k, n_init=10, random_state=job.seed).fit_predict(X)
    return Run(
        *job.key,
        *(*X.shape, k),
        ARI=metrics.adjusted_rand_index(y, model.labels_),
        ARI_start=metrics.adjusted_rand_index(y, first_assignment(model, X, arguments)),
        ARI_k_means=metrics.adjusted_rand_index(y, means),
        score=float(model.score(X)),
        smallest=int(np.bincount(model.labels_, minlength=k).min()),
        n_reseeded=model.n_reseeded_,
        n_warnings=len(warned),
        seconds=seconds,
    )


def first_assignment(model, X, arguments):
    """The labels (n,) that the model's ``init`` gives without training: for each sample the nearest first centre.

    Of an autoencoder, whose ``init`` goes some rounds further, that of one component for each cluster.
    """
    if isinstance(model, TensorizedRBM):
        return clone(model).set_params(epochs=0, ais_betas=2).fit(X).state_["assign"]
    start = TensorizedAutoencoder(
        init=model.init, epochs=0, hidden=(1,), assignment="loss", start="components", **arguments
    )
    return start.fit(X).labels_
