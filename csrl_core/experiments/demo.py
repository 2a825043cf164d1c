"""The demo: k-means, AE + k-means, TAE and PTAE on small data sets, as a table and as pictures.

All autoencoders have hidden layers (2, 1), linear, without biases, full batch, Adam, and the same number of
steps. Learning rate and restart are chosen by the objective: classes serve for the scores at the end
and for nothing else. A repetition has its own seed, and its own draw of the data where they are a mixture.
"""

import itertools
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder, datasets, metrics
from csrl_core.datasets import MIXTURES
from csrl_core.experiments.runs import grouped, mean, mean_and_error, write_rows
from csrl_core.training import compiling
from csrl_core.training.loop import NonFiniteLossError

RATES = (0.01, 0.1)
RESTARTS = 5
REG = 0.1  # of TAE and PTAE; the plain AE has none
# The papers' rule and start, which are no longer the defaults; their experiments and benchmarks state them.
PAPERS = {"assignment": "loss", "start": "uniform", "init": "k-means++"}
METHODS = {
    "AE + k-means": {"reg": 0.0, "center": False},
    "TAE": {"reg": REG, "shared": 0},
    "PTAE": {"reg": REG, "shared": 1},
}


@dataclass(frozen=True)
class Problem:
    """A data set of the comparison; scale : divides its columns; most : repetitions at most."""

    name: str
    epochs: int
    scale: float = 1.0
    most: int | None = None

    def repeats(self, wanted):
        """The number of repetitions."""
        return wanted if self.most is None else min(wanted, self.most)

    def load(self, seed):
        """(X, y, names of the classes)."""
        bunch = datasets.load(self.name, **({"random_state": seed} if self.name in MIXTURES else {}))
        return bunch.data / self.scale, bunch.target, bunch.target_names


PROBLEMS = (
    Problem("triangle", 150),
    Problem("lines_3D", 150),
    Problem("iris", 200),
    Problem("digits_0_4", 200, 16.0),
    Problem("penguins", 200),
    Problem("mnist_5", 200, 255.0, most=1),
)
PICTURE_1 = Problem("parallel_line", 600)


@dataclass(frozen=True)
class Run:
    """One method on one data set with one seed."""

    data: str
    method: str
    repeat: int
    ARI: float
    NMI: float
    ACC: float
    loss: float
    parameters: int
    learning_rate: float | None
    seconds: float


@dataclass(frozen=True)
class Row:
    """A method on a data set over the repetitions: means, and the standard error of the ARI."""

    data: str
    method: str
    ARI: float
    ARI_se: float
    NMI: float
    ACC: float
    loss: float
    parameters: int
    learning_rates: str
    seconds: float
    repeats: int


def fit_by_objective(X, *, rates=RATES, **arguments):
    """The estimator with the lowest final loss among the learning rates; a rate that diverges is left out."""
    best = error = None
    for rate in rates:
        try:
            # The papers fix the number of epochs; a rate for which it is too small is not chosen.
            with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model = TensorizedAutoencoder(learning_rate=rate, **PAPERS | arguments).fit(X)
        except NonFiniteLossError as diverged:
            error = diverged
            continue
        if best is None or model.loss_ < best.loss_:
            best = model
    if best is None:
        raise error
    return best


def compare(problem, *, seed, repeat, backend, epochs=None, n_init=RESTARTS, done=lambda: None):
    """All methods on one data set with one seed.

    problem : Problem; seed, repeat : int; backend : str; epochs : int, instead of the problem's own
    n_init : restarts; done : called after each method
    returns (list of Run, dict of method → (estimator, labels), X, y, class names)
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    X, y, names = problem.load(seed + repeat)
    k, runs, fitted = len(names), [], {}

    def record(method, labels, loss, parameters, rate, begin):
        seconds = time.perf_counter() - begin
        runs.append(
            Run(problem.name, method, repeat, *metrics.scores(y, labels).values(), loss, parameters, rate, seconds)
        )
        done()

    def k_means(data):
        with threadpool_limits(1):  # on data this small threads wait for each other longer than they compute
            return KMeans(k, n_init=10, random_state=seed + repeat).fit(data)

    begin = time.perf_counter()
    means = k_means(X)
    # k-means as an autoencoder with no latent dimension: the same unit of loss, and no trained parameter.
    record("k-means", means.labels_, means.inertia_ / X.size, 0, None, begin)
    for method, own in METHODS.items():
        begin = time.perf_counter()
        plain = method.startswith("AE")
        model = fit_by_objective(
            X,
            n_clusters=1 if plain else k,
            epochs=epochs or problem.epochs,
            n_init=n_init,
            backend=backend,
            random_state=seed + repeat,
            **own,
        )
        labels = model.labels_
        if plain:
            labels = k_means(model.transform(X)).labels_
        fitted[method] = model, labels
        record(method, labels, model.loss_, len(model.params_), model.learning_rate, begin)
    return runs, fitted, X, y, names


def summarise(runs):
    """`Row`s of `Run`s, in order of first appearance."""
    rows = []
    for key, group in grouped(runs, "data", "method").items():
        rates = sorted({run.learning_rate for run in group if run.learning_rate is not None})
        rows.append(
            Row(
                *(*key, *mean_and_error([run.ARI for run in group])),
                *(mean(group, name) for name in ("NMI", "ACC", "loss")),
                *(group[0].parameters, " ".join(f"{rate:g}" for rate in rates), mean(group, "seconds"), len(group)),
            )
        )
    return rows


def draw_embeddings(path, problem, fitted, scores, y, X, names):
    """AE, TAE and PTAE side by side: one picture a data set."""
    from csrl_core import plotting

    fig = plotting.new_figure(13, 1.9 + 0.55 * len(names))
    axes = fig.subplots(1, len(fitted), sharex=False)
    for ax, (method, (model, _)) in zip(axes, fitted.items()):
        last = ax is axes[-1]
        plotting.plot_embedding(model, X, y, ax, names=names, legend=last)
        how = "one for all the data" if model.n_clusters == 1 else "one per cluster"
        if method == "PTAE":
            how += ", outer layers shared"
        ax.set_title(f"{method}: {how}\nARI {scores[method]:.2f}", fontsize=10)
    fig.suptitle(f"{problem.name}: one-dimensional embeddings; colours are the known classes", fontsize=11)
    plotting.save_figure(fig, path)


def draw_figure_1(path, *, seed, backend, epochs=None, n_init=RESTARTS):
    """One linear autoencoder for all the data beside one for each cluster; both have the mean taken off."""
    from csrl_core import plotting

    X, y, names = PICTURE_1.load(seed)
    arguments = {"hidden": (1,), "reg": 0.0, "epochs": epochs or PICTURE_1.epochs, "learning_rate": 0.1}
    arguments |= {"n_init": n_init, "backend": backend, "random_state": seed}
    one, several = (TensorizedAutoencoder(n_clusters=k, **PAPERS | arguments).fit(X) for k in (1, len(names)))
    plotting.save_figure(plotting.plot_figure_1(one, several, X, y, names=names), path)


def warm_up(problems, seed, backend, say):
    """Compile, or load from Numba's cache, what the comparison needs, so that no method pays for it."""
    with compiling.announced(say, TensorizedAutoencoder, backend) as compiled:
        for problem in problems:
            X, _, names = problem.load(seed)
            for method, own in METHODS.items():
                k = 1 if method.startswith("AE") else len(names)
                arguments = PAPERS | {"epochs": 1, "backend": backend, "random_state": 0} | own
                TensorizedAutoencoder(n_clusters=k, **arguments).fit(X).transform(X)
    if compiled.functions:
        say(f"compiled in {compiled.seconds:.1f} s")


def run(out, *, backend="auto", seed=0, repeats=3, epochs=None, n_init=RESTARTS, problems=None, say=print, done=None):
    """The comparison and its pictures.

    out : folder, made if need be: ``table.csv``, ``figure-1.png``, ``embedding-….png``; backend : str; seed : int
    repeats : int, at most: MNIST-5 has one, for the sake of time; epochs : int, instead of each problem's own
    n_init : int, restarts; problems : list of Problem, by default those of `PROBLEMS` whose files are there
    say : takes a line; done : callable, optional, ``done(count, of, what)`` after each method
    returns (list of `Row`, list of paths)
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "table.csv", [], Row)  # a folder that cannot be written shows now
    if problems is None:
        problems = [problem for problem in PROBLEMS if datasets.available(problem.name)]
    draws = _matplotlib(say)
    warm_up(problems, seed, backend, say)
    total, count = sum(problem.repeats(repeats) for problem in problems) * (1 + len(METHODS)), itertools.count(1)
    runs, files, options = [], [out / "table.csv"], {"backend": backend, "epochs": epochs, "n_init": n_init}
    for problem in problems:
        one_done = (lambda name=problem.name: done(next(count), total, name)) if done else lambda: None
        for repeat in range(problem.repeats(repeats)):
            part, fitted, X, y, names = compare(problem, seed=seed, repeat=repeat, done=one_done, **options)
            runs += part
            if repeat == 0 and draws:
                path = out / f"embedding-{problem.name}.png"
                draw_embeddings(path, problem, fitted, {run.method: run.ARI for run in part}, y, X, names)
                files.append(path)
    rows = summarise(runs)
    write_rows(out / "table.csv", rows, Row, nan="nan")
    if draws:
        draw_figure_1(out / "figure-1.png", seed=seed, **options)
        files.insert(1, out / "figure-1.png")
    return rows, files


def _matplotlib(say):
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        say(f"no pictures: matplotlib cannot be imported ({error}); pip install 'csrl_core[plot]'")
        return False
    return True
