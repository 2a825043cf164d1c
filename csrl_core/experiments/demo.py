"""The main job: k-means, AE + k-means, TAE and PTAE on small data sets, as a table and as pictures.

All autoencoders have hidden layers (2, 1), linear, without biases, full batch, Adam, and the same number of
steps. Learning rate and restart are chosen by the objective: classes serve for the scores at the end
and for nothing else. A repetition has its own seed, and its own draw of the data where they are a mixture.
"""

import csv
import io
import time
import warnings
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from csrl_core import TensorizedAutoencoder, datasets, doctor, metrics
from csrl_core.cli.files import MIXTURES
from csrl_core.training.atomic_files import write_atomically
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
    """A data set of the comparison: what its columns are divided by, how long is trained, repetitions at most."""

    name: str
    epochs: int
    scale: float = 1.0
    most: int | None = None

    def repeats(self, wanted):
        """How often it is repeated."""
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
    """The estimator with the lowest final loss among the learning rates; a rate that diverges is out."""
    best = error = None
    for rate in rates:
        try:
            # The papers' epochs are what they are, and a rate at which they are too few is not chosen.
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
    groups = {}
    for run in runs:
        groups.setdefault((run.data, run.method), []).append(run)
    rows = []
    for (data, method), group in groups.items():
        ari = np.array([run.ARI for run in group])
        error = float(ari.std(ddof=1) / np.sqrt(len(ari))) if len(ari) > 1 else float("nan")
        rates = sorted({run.learning_rate for run in group if run.learning_rate is not None})
        means = [float(np.mean([getattr(run, name) for run in group])) for name in ("NMI", "ACC", "loss")]
        seconds = float(np.mean([run.seconds for run in group]))
        rates = " ".join(f"{rate:g}" for rate in rates)
        rows.append(
            Row(data, method, float(ari.mean()), error, *means, group[0].parameters, rates, seconds, len(group))
        )
    return rows


def write_rows(path, rows):
    """A CSV file of `Row`s."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(field.name for field in fields(Row))
    for row in rows:
        table.writerow(f"{value:.6g}" if isinstance(value, float) else value for value in astuple(row))
    write_atomically(path, text.getvalue().encode())


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
    arguments = {
        "hidden": (1,),
        "reg": 0.0,
        "epochs": epochs or PICTURE_1.epochs,
        "learning_rate": 0.1,
        "n_init": n_init,
        "backend": backend,
        "random_state": seed,
    }
    one, several = (TensorizedAutoencoder(n_clusters=k, **PAPERS | arguments).fit(X) for k in (1, len(names)))
    plotting.save_figure(plotting.plot_figure_1(one, several, X, y, names=names), path)


def warm_up(problems, seed, backend, say):
    """Compile, or load from Numba's cache, what the comparison needs, so that no method pays for it."""
    cold = doctor.say_if_compiling(backend, say)
    begin = time.perf_counter()
    for problem in problems:
        X, _, names = problem.load(seed)
        for method, own in METHODS.items():
            k = 1 if method.startswith("AE") else len(names)
            arguments = PAPERS | {"epochs": 1, "backend": backend, "random_state": 0} | own
            TensorizedAutoencoder(n_clusters=k, **arguments).fit(X).transform(X)
    if cold:
        say(f"compiled in {time.perf_counter() - begin:.1f} s")


def run(out, *, backend="auto", seed=0, repeats=3, epochs=None, n_init=RESTARTS, problems=None, say=print, done=None):
    """The comparison and its pictures.

    Parameters
    ----------
    out : path
        Folder, made if need be: ``table.csv``, ``figure-1.png``, ``embedding-….png``.
    backend : str
    seed : int
    repeats : int
        At most; MNIST-5 has one, for the sake of time.
    epochs : int, optional
        Instead of each problem's own.
    n_init : int
        Restarts.
    problems : list of Problem, optional
        Those of `PROBLEMS` whose files are there.
    say : callable
        Takes a line.
    done : callable, optional
        ``done(count, of, what)`` after each method.

    Returns
    -------
    rows : list of Row
    files : list of Path
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_rows(out / "table.csv", [])  # a folder that cannot be written shows now
    if problems is None:
        problems = [problem for problem in PROBLEMS if datasets.available(problem.name)]
    draws = _matplotlib(say)
    warm_up(problems, seed, backend, say)
    total, count = sum(problem.repeats(repeats) for problem in problems) * (1 + len(METHODS)), 0
    runs, files = [], [out / "table.csv"]
    for problem in problems:

        def one_done(problem=problem):
            nonlocal count
            count += 1
            if done is not None:
                done(count, total, problem.name)

        for repeat in range(problem.repeats(repeats)):
            part, fitted, X, y, names = compare(
                problem, seed=seed, repeat=repeat, backend=backend, epochs=epochs, n_init=n_init, done=one_done
            )
            runs += part
            if repeat == 0 and draws:
                path = out / f"embedding-{problem.name}.png"
                draw_embeddings(path, problem, fitted, {run.method: run.ARI for run in part}, y, X, names)
                files.append(path)
    rows = summarise(runs)
    write_rows(out / "table.csv", rows)
    if draws:
        draw_figure_1(out / "figure-1.png", seed=seed, backend=backend, epochs=epochs, n_init=n_init)
        files.insert(1, out / "figure-1.png")
    return rows, files


def _matplotlib(say):
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        say(f"no pictures: matplotlib cannot be imported ({error}); pip install 'csrl_core[plot]'")
        return False
    return True
