"""Figures 1 and 2 of the paper, measured: every run a row of a table, the authors' figures beside.

Figure 2 compares, on seven data sets, clustering (adjusted Rand index), de-noising (noise N(0, 0.1²) on the input,
clean target, plain mean squared error) and the number of parameters. Two versions:

papers  The papers' models and settings: one run per learning rate and repetition, full batch, λ = 0.1 for TAE and PTAE.
ours    The best of ten restarts by the objective, never by classes; also the likelihood and the exact solver.

In both the plain autoencoders (λ = 0, k-means on their embedding) take as many steps as the others. The authors
train theirs with batches of one sample, n steps an epoch, and a weight decay of 0.1, and choose learning rates by ARI.

Mixtures are drawn anew in every repetition. Rows are appended as they are finished; a rerun skips what is there.
"""

import csv
import io
import os
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from csrl_core import TensorizedAutoencoder, datasets, metrics
from csrl_core.persistence import write_atomically
from csrl_core.training import NonFiniteLossError

MIXTURES = ("parallel_line", "orthogonal", "triangle", "lines_3D")
SETS = (*MIXTURES, "iris", "penguins", "mnist_5")
RATES = (0.001, 0.01, 0.1)
VERSIONS = ("papers", "ours")
NOISE = 0.1
RESTARTS = 10
REG = 0.1


@dataclass(frozen=True)
class Method:
    """A model of the comparison; ``plain``: one cluster, and k-means on its embedding. "k" in ``hidden`` is k."""

    name: str
    hidden: tuple = ()
    plain: bool = False
    rates: tuple = RATES
    arguments: dict = field(default_factory=dict)

    def build(self, k, **others):
        """The estimator."""
        hidden = tuple(k if width == "k" else width for width in self.hidden)
        own = {"n_clusters": 1, "center": False, "reg": 0.0} if self.plain else {"n_clusters": k, "reg": REG}
        return TensorizedAutoencoder(**own | {"hidden": hidden} | self.arguments | others)


_EXACT = {"reg": 0.0, "solver": "exact", "init": "k-means"}
_PLAIN = [Method("AE1", (1,), True), Method("AE2", (2, 1), True), Method("AE3", (2, "k"), True)]
_CLUSTERS = [Method("TAE1", (1,)), Method("TAE2", (2, 1)), Method("PTAE", (2, 1), arguments={"shared": 1})]
WIDTH_BY_BIC = "exact likelihood, width by BIC"
METHODS = {
    "papers": [Method("k-means", rates=(None,)), *_PLAIN, *_CLUSTERS],
    "ours": [
        Method("k-means", rates=(None,)),
        *_PLAIN,
        *_CLUSTERS,
        Method("TAE1 likelihood", (1,), arguments={"reg": 0.0, "assignment": "likelihood", "init": "k-means"}),
        Method("exact loss", (1,), rates=(None,), arguments=_EXACT | {"init": "k-means++"}),
        Method("exact likelihood", (1,), rates=(None,), arguments=_EXACT | {"assignment": "likelihood"}),
        Method(WIDTH_BY_BIC, (1,), rates=(None,), arguments=_EXACT | {"assignment": "likelihood"}),
    ],
}


@dataclass(frozen=True)
class Run:
    """One method, rate and repetition on one data set: a clustering fit and a de-noising fit.

    loss, denoising_loss : the final objectives; score : the mean log-likelihood under the likelihood rule, else −loss;
    error : de-noising, mean squared error per feature, every sample's cluster found from its noisy input alone
    error_assigned : the same with the clusters of training, which saw the clean target
    parameters : trained ones, without centres
    """

    version: str
    data: str
    model: str
    learning_rate: float | None
    repetition: int
    seed: int
    epochs: int
    n_init: int
    hidden: str
    ARI: float
    NMI: float
    ACC: float
    loss: float
    score: float
    denoising_loss: float
    error: float
    error_assigned: float
    parameters: int
    n_reseeded: int
    seconds: float

    @property
    def key(self):
        """What tells runs apart; the rest is measured."""
        return (
            *(self.version, self.data, self.model, self.learning_rate),
            *(self.repetition, self.seed, self.epochs, self.n_init),
        )


@dataclass(frozen=True)
class Job:
    """A run to be made; ``epochs`` of clustering, ``denoising_epochs`` of de-noising."""

    version: str
    data: str
    method: Method
    learning_rate: float | None
    repetition: int
    seed: int
    epochs: int
    denoising_epochs: int
    n_init: int
    backend: str

    @property
    def key(self):
        """The key of its `Run`."""
        return (
            *(self.version, self.data, self.method.name, self.learning_rate),
            *(self.repetition, self.seed, self.epochs, self.n_init),
        )


def jobs(versions=VERSIONS, sets=SETS, repetitions=5, seed=0, backend="auto", epochs=None, n_init=RESTARTS):
    """All `Job`s, the short data sets first; ``epochs`` instead of the papers' own."""
    listed = []
    for name in sets:
        synthetic = name in MIXTURES
        clustering, denoising = (150, 100) if synthetic else (200, 200)
        for version in versions:
            for method in METHODS[version]:
                for rate in method.rates:
                    for repetition in range(repetitions):
                        listed.append(
                            Job(
                                *(version, name, method, rate, repetition, seed),
                                *(epochs or clustering, epochs or denoising),
                                1 if version == "papers" else n_init,
                                backend,
                            )
                        )
    return listed


def load(name, version, seed):
    """(X, y): MNIST in float32, its pixels from 0 to 255 in the papers' version and from 0 to 1 in ours."""
    bunch = datasets.load(name, **({"random_state": seed} if name in MIXTURES else {}))
    if name != "mnist_5":
        return bunch.data, bunch.target
    return (bunch.data / (255 if version == "ours" else 1)).astype(np.float32), bunch.target


def make_run(job):
    """Do one job; a rate that diverges gives a row of NaN."""
    begin = time.perf_counter()
    seed = job.seed + job.repetition
    X, y = load(job.data, job.version, seed)
    noisy = (X + NOISE * np.random.default_rng([seed, 1]).standard_normal(X.shape)).astype(X.dtype)
    k = len(np.unique(y))
    if job.method.name == "k-means":
        values = _k_means(X, y, noisy, k, seed)
    else:
        try:
            values = _autoencoder(job, X, y, noisy, k, seed)
        except NonFiniteLossError:
            names = ("ARI", "NMI", "ACC", "loss", "score", "denoising_loss", "error", "error_assigned")
            values = dict.fromkeys(names, float("nan")) | {"hidden": "", "parameters": 0, "n_reseeded": 0}
    return Run(
        *(job.version, job.data, job.method.name, job.learning_rate),
        *(job.repetition, job.seed, job.epochs, job.n_init),
        **values,
        seconds=time.perf_counter() - begin,
    )


def _k_means(X, y, noisy, k, seed):
    """k-means as an autoencoder with no latent dimension: samples are de-noised to their centre."""
    from sklearn.cluster import KMeans

    means = KMeans(k, n_init=10, random_state=seed).fit(X)
    loss = means.inertia_ / X.size
    other = KMeans(k, n_init=10, random_state=seed).fit(noisy)
    error = float(np.mean((other.cluster_centers_[other.labels_] - X) ** 2))
    return {
        **metrics.scores(y, means.labels_),
        "hidden": "",
        "loss": loss,
        "score": -loss,
        "denoising_loss": other.inertia_ / X.size,
        "error": error,
        "error_assigned": error,
        "parameters": 0,
        "n_reseeded": 0,
    }


def _autoencoder(job, X, y, noisy, k, seed):
    from sklearn.cluster import KMeans

    method, exact = job.method, job.method.arguments.get("solver") == "exact"
    others = {"n_init": job.n_init, "backend": job.backend, "random_state": seed, "n_jobs": 1}
    if job.learning_rate is not None:
        others["learning_rate"] = job.learning_rate
    if method.name == WIDTH_BY_BIC:
        from csrl_core.selection import select

        estimator = method.build(k, epochs=job.epochs, **others)
        widths = [h for h in (1, 2) if h < X.shape[1]]
        others["hidden"] = select(X, n_clusters=k, latent=widths, estimator=estimator).estimator.hidden
    model = method.build(k, epochs=job.epochs, **others).fit(X)
    labels = model.labels_
    if method.plain:
        labels = KMeans(k, n_init=10, random_state=seed).fit_predict(model.transform(X))
    # The exact solver has no target: it de-noises without ever having seen a clean sample.
    cleaner = method.build(k, epochs=job.denoising_epochs, **others).fit(noisy, **({} if exact else {"target": X}))
    Z = cleaner.transform_all(noisy)[np.arange(len(X)), cleaner.labels_]
    return {
        **metrics.scores(y, labels),
        "hidden": " ".join(map(str, model.hidden)),
        "loss": model.loss_,
        "score": model.score(X) if model.assignment == "likelihood" else -model.loss_,
        "denoising_loss": cleaner.loss_,
        "error": float(np.mean((cleaner.reconstruct(noisy) - X) ** 2)),
        "error_assigned": float(np.mean((cleaner.inverse_transform(Z, cleaner.labels_) - X) ** 2)),
        "parameters": len(model.params_),
        "n_reseeded": model.n_reseeded_,
    }


# --------------------------------------------------------------------------------- the table of runs


class RunTable:
    """A CSV file that grows by a row whenever a run is finished; a half-written last row is dropped."""

    def __init__(self, path):
        self.path = Path(path)
        self.names = [column.name for column in fields(Run)]
        self.runs = self._read() if self.path.exists() else []
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([self.names, *(_cells(run) for run in self.runs)])
        write_atomically(self.path, text.getvalue().encode())

    def _read(self):
        text = self.path.read_text()
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines()) if "\n" in text else [[]]
        if header != self.names:
            raise ValueError(
                f"{self.path} has other columns than this version writes; give another folder, or move the file away"
            )
        return [_parsed(dict(zip(self.names, row))) for row in rows if len(row) == len(self.names)]

    def append(self, run):
        """Add a row, on disk before this returns."""
        self.runs.append(run)
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(_cells(run))
            file.flush()
            os.fsync(file.fileno())


def _cells(run):
    return [
        "" if value is None else repr(value) if isinstance(value, float) else value for value in asdict(run).values()
    ]


def _parsed(row):
    kinds = {column.name: column.type for column in fields(Run)}
    values = {}
    for name, cell in row.items():
        kind = kinds[name]
        values[name] = (None if cell == "" else float(cell)) if kind not in (str, int) else kind(cell)
    return Run(**values)


def complete(table, wanted, *, n_processes=None, done=None):
    """Make the runs that the table lacks, on several processes, and append each when it is finished.

    table : RunTable; wanted : list of Job; n_processes : int or None, all usable cores
    done : callable, optional, ``done(count, of, run)`` after each
    returns list of Run, those wanted, in their order
    """
    from joblib import Parallel, delayed

    from csrl_core.kernels.cpu import pool

    known = {run.key: run for run in table.runs}
    missing = [job for job in wanted if job.key not in known]
    processes = min(pool.usable_threads(n_processes), len(missing)) or 1
    if processes == 1:
        results = map(make_run, missing)
    else:
        parallel = Parallel(processes, return_as="generator_unordered", pre_dispatch="2*n_jobs")
        results = parallel(delayed(make_run)(job) for job in missing)
    for count, run in enumerate(results, 1):
        table.append(run)
        known[run.key] = run
        if done is not None:
            done(count, len(missing), run)
    return [known[job.key] for job in wanted]
