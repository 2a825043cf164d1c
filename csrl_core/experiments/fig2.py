"""Figure 2 of the paper, measured: every run a row of a table, the authors' figures beside.

It compares, on seven data sets, clustering (adjusted Rand index), de-noising (noise N(0, 0.1²) on the input,
clean target, plain mean squared error) and the number of parameters. Two versions:

papers  The papers' models and settings: one run per learning rate and repetition, full batch, λ = 0.1 for TAE and PTAE.
        A mixture is the authors' one draw, noise too: `authors.authors_draw`. Repetitions differ in their
        first centres (in the authors' code because it permutes the rows) and in their parameters. The same models
        again from another start: principal components of k-means' clusters.
ours    The best of ten restarts by the objective, never by classes; also the likelihood and the exact solver. A
        mixture is drawn anew in every repetition.

In both the plain autoencoders (λ = 0, k-means on their embedding) take as many steps as the others. The authors'
are trained with batches of one sample, n steps an epoch, and a weight decay of 0.1, and choose learning rates by ARI.
"""

import time
import warnings
from dataclasses import dataclass, field

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder, datasets, metrics
from csrl_core.datasets import MIXTURES
from csrl_core.experiments.authors import authors_draw
from csrl_core.experiments.demo import PAPERS
from csrl_core.experiments.runs import Keyed
from csrl_core.training.loop import NonFiniteLossError

SETS = (*MIXTURES, "iris", "penguins", "mnist_5")
RATES = (0.001, 0.01, 0.1)
VERSIONS = ("papers", "ours")
NOISE = 0.1
RESTARTS = 10
REG = 0.1
# What identifies a run; all else is measured.
KEY = ("version", "data", "model", "learning_rate", "repetition", "draw", "seed", "epochs", "n_init")


def default_repetitions(version, data):
    """For the papers' version enough that subsets show how means of five runs vary; fewer where a run takes long."""
    if version == "ours":
        return 5
    return 10 if data == "mnist_5" else 40


@dataclass(frozen=True)
class Method:
    """A model of the comparison; ``plain``: one cluster, and k-means on its embedding. "k" in ``hidden`` is k.

    counterpart : the authors' model whose figures stand beside, "" for that of the same name
    """

    name: str
    hidden: tuple = ()
    plain: bool = False
    rates: tuple = RATES
    arguments: dict = field(default_factory=dict)
    counterpart: str = ""

    def build(self, k, **others):
        """The estimator."""
        hidden = tuple(k if width == "k" else width for width in self.hidden)
        own = {"n_clusters": 1, "center": False, "reg": 0.0} if self.plain else {"n_clusters": k, "reg": REG}
        # PAPERS where a method says nothing else
        return TensorizedAutoencoder(**PAPERS | own | {"hidden": hidden} | self.arguments | others)


_EXACT = {"reg": 0.0, "solver": "exact", "init": "k-means"}
_PLAIN = [Method("AE1", (1,), True), Method("AE2", (2, 1), True), Method("AE3", (2, "k"), True)]
_CLUSTERS = [Method("TAE1", (1,)), Method("TAE2", (2, 1)), Method("PTAE", (2, 1), arguments={"shared": 1})]
TENSORIZED = tuple(method.name for method in _CLUSTERS)  # in the papers' version trained as the authors train them
_START = {"start": "components", "init": "k-means"}
_COMPONENTS = [
    Method(f"{method.name} components", method.hidden, arguments=method.arguments | _START, counterpart=method.name)
    for method in _CLUSTERS
]
WIDTH_BY_BIC = "exact likelihood, width by BIC"
METHODS = {
    "papers": [Method("k-means", rates=(None,)), *_PLAIN, *_CLUSTERS, *_COMPONENTS],
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
COUNTERPARTS = {method.name: method.counterpart or method.name for version in METHODS.values() for method in version}


@dataclass(frozen=True)
class Run(Keyed):
    """One method, rate and repetition on one data set: a clustering fit and a de-noising fit.

    draw : the seed of a mixture's samples; None of data of which there is one set, the authors' draw among them
    seed : seed + repetition is that of first centres, parameters and noise
    loss, denoising_loss : the final objectives; score : the mean log-likelihood under the likelihood rule, else −loss;
    error : de-noising, mean squared error per feature, every sample's cluster found from its noisy input alone
    error_assigned : the same with the clusters of training, which saw the clean target
    parameters : trained ones, without centres
    """

    KEY = KEY
    version: str
    data: str
    model: str
    learning_rate: float | None
    repetition: int
    draw: int | None
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


@dataclass(frozen=True)
class Job(Keyed):
    """A run that is to be made; ``epochs`` of clustering, ``denoising_epochs`` of de-noising."""

    KEY = KEY
    version: str
    data: str
    method: Method
    learning_rate: float | None
    repetition: int
    draw: int | None
    seed: int
    epochs: int
    denoising_epochs: int
    n_init: int
    backend: str

    @property
    def model(self):
        """The method's name."""
        return self.method.name


def jobs(versions=VERSIONS, sets=SETS, repetitions=None, seed=0, backend="auto", epochs=None, n_init=RESTARTS):
    """All `Job`s, the short data sets first.

    repetitions : int, instead of `default_repetitions`; epochs : int, instead of the papers' own
    seed : of the repetitions; the authors' draw does not depend on it
    """
    listed = []
    for name in sets:
        clustering, denoising = (150, 100) if name in MIXTURES else (200, 200)
        for version in versions:
            count = repetitions or default_repetitions(version, name)
            for method in METHODS[version]:
                for rate in method.rates:
                    for repetition in range(count):
                        draw = seed + repetition if version == "ours" and name in MIXTURES else None
                        listed.append(
                            Job(
                                *(version, name, method, rate, repetition, draw, seed),
                                *(epochs or clustering, epochs or denoising),
                                1 if version == "papers" else n_init,
                                backend,
                            )
                        )
    return listed


def load(name, version, draw):
    """(X, y); ``draw`` is a mixture's seed. MNIST in float32, pixels up to 255 in the papers' version, to 1 in ours."""
    bunch = datasets.load(name, **({"random_state": draw} if name in MIXTURES else {}))
    if name != "mnist_5":
        return bunch.data, bunch.target
    return (bunch.data / (255 if version == "ours" else 1)).astype(np.float32), bunch.target


def _data(job):
    """(X, y, noisy) of a job; the noise is the repetition's, or the authors' on their draw."""
    if job.version == "papers" and job.data in MIXTURES:
        return authors_draw(job.data)
    X, y = load(job.data, job.version, job.draw)
    random = np.random.default_rng([job.seed + job.repetition, 1])
    return X, y, (X + NOISE * random.standard_normal(X.shape)).astype(X.dtype)


def make_run(job):
    """Make the `Run` of a job; a rate that diverges gives a row of NaN."""
    begin = time.perf_counter()
    seed = job.seed + job.repetition
    X, y, noisy = _data(job)
    k = len(np.unique(y))
    if job.method.name == "k-means":
        values = _k_means(X, y, noisy, k, seed)
    else:
        try:
            with warnings.catch_warnings():  # the experiment fixes epochs and rates, even where they are too few
                warnings.simplefilter("ignore", ConvergenceWarning)
                values = _autoencoder(job, X, y, noisy, k, seed)
        except NonFiniteLossError:
            names = ("ARI", "NMI", "ACC", "loss", "score", "denoising_loss", "error", "error_assigned")
            values = dict.fromkeys(names, float("nan")) | {"hidden": "", "parameters": 0, "n_reseeded": 0}
    return Run(*job.key, **values, seconds=time.perf_counter() - begin)


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
