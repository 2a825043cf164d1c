"""Ctrl-C at random moments of everything an estimator does: what arrives, and what is left.

    python bench/bench_interrupts.py [--interrupts 40] [--seed 0] [--models NAME …] [--actions NAME …]

One row for each model and action. ``interrupts`` came while it ran; of these ``keyboard`` arrived as
KeyboardInterrupt, ``system`` as SystemError, ``other`` as something else, ``lost`` not at all. The last three columns
count what was wrong afterwards: an estimator that is neither as before nor as after the action (of a fit: not that of
its last whole epoch, which is replayed), BLAS with other threads than before, and helpers that are still at work.
Exits with 1 if anything was.
"""

import argparse
import signal
import sys
import time
import warnings
from copy import deepcopy
from dataclasses import astuple, dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_info, threadpool_limits

from csrl_core import TensorizedAutoencoder, TensorizedRBM
from csrl_core.kernels.cpu._engine import pool

_random = np.random.default_rng(0)
SMALL, WIDE = _random.random((300, 6)), _random.random((1500, 60))
BITS = (_random.random((300, 40)) < 0.4).astype(float)
_TAE, _RBM = {"n_clusters": 3, "random_state": 0}, {"n_hidden": 16, "batch_size": 50, "random_state": 0}
_RBM |= {"ais_chains": 20, "ais_betas": 50}
MODELS = {
    "autoencoder": (SMALL, TensorizedAutoencoder(epochs=200, assignment="loss", **_TAE)),
    "autoencoder, batches": (SMALL, TensorizedAutoencoder(epochs=40, batch_size=50, assignment="loss", **_TAE)),
    "autoencoder, likelihood": (SMALL, TensorizedAutoencoder(epochs=40, assignment="likelihood", **_TAE)),
    "autoencoder, exact": (
        SMALL,
        TensorizedAutoencoder(epochs=30, hidden=(2,), reg=0, assignment="likelihood", solver="exact", **_TAE),
    ),
    "autoencoder, skinny": (WIDE, TensorizedAutoencoder(epochs=40, hidden=(3,), assignment="loss", **_TAE)),
    "autoencoder, wide": (WIDE, TensorizedAutoencoder(epochs=5, hidden=(40, 10), assignment="loss", **_TAE)),
    "one machine, CD": (BITS, TensorizedRBM(n_clusters=1, epochs=15, **_RBM)),
    "one machine, PCD": (BITS, TensorizedRBM(n_clusters=1, epochs=15, persistent=True, **_RBM)),
    "machines, CD": (BITS, TensorizedRBM(n_clusters=3, epochs=10, **_RBM)),
    "machines, PCD": (BITS, TensorizedRBM(n_clusters=3, epochs=10, persistent=True, **_RBM)),
    "machines, Gaussian": (BITS - BITS.mean(0), TensorizedRBM(n_clusters=3, epochs=10, visible="gaussian", **_RBM)),
}
_QUESTIONS = (
    *("predict", "transform", "transform_all", "cluster_losses", "score_samples", "reconstruct", "predict_proba"),
    *("free_energy", "pseudo_likelihood"),
)
ACTIONS = {
    "fit": lambda model, X: model.fit(X),
    "partial_fit": lambda model, X: model.partial_fit(X[:100]),
    **{name: lambda model, X, name=name: getattr(model, name)(X) for name in _QUESTIONS},
    "inverse_transform": lambda model, X: model.inverse_transform(np.ones((50, model._n_features_out), X.dtype)),
    "value_and_gradient": lambda model, X: model.value_and_gradient(X, model.labels_),
    "sample": lambda model, X: model.sample(50, steps=20, random_state=1),
    "gibbs": lambda model, X: model.gibbs(X[:50], 20, random_state=1),
    "estimate_log_partition": lambda model, X: model.estimate_log_partition(),
}


@dataclass
class Row:
    """Counts of one model and action, see the head of this file."""

    model: str
    action: str
    interrupts: int = 0
    keyboard: int = 0
    system: int = 0
    other: int = 0
    lost: int = 0
    inconsistent: int = 0
    blas: int = 0
    helpers: int = 0

    @property
    def wrong(self):
        """Whether there is anything that should not be."""
        return self.keyboard != self.interrupts or self.inconsistent + self.blas + self.helpers > 0


def can(name, action, model):
    if action == "partial_fit":
        return "exact" not in name
    if action == "pseudo_likelihood":
        return "Gaussian" not in name and hasattr(model, action)
    return action in ("fit", "value_and_gradient") or hasattr(model, action)


class _Clock:
    """A signal at a moment, whose handler is that of Ctrl-C, and whether it has come."""

    def __init__(self):
        self.came = False
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, number, frame):
        self.came = True
        raise KeyboardInterrupt

    def interrupt(self, seconds, function):
        """(Whether a signal came, what was raised) while ``function()`` ran."""
        self.came, error = False, None
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
                function()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as raised:
            error = type(raised)
        return self.came, error


def left(model):
    """What a fitted estimator holds, to be compared."""
    if not hasattr(model, "params_"):
        return None
    names = ("params_", "_moments", "labels_", "cluster_centers_", "loss_", "n_iter_", "n_steps_", "loss_curve_")
    held = {name: np.array(getattr(model, name)).tobytes() for name in names}
    return held | {name: np.array(array).tobytes() for name, array in model.state_.items()}


def _blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def busy_helpers():
    """Whether a helper works on an array of a call that has ended, or could begin to."""
    jobs = pool._helpers._jobs
    return any(job.function is not None or job.working.any() or not job.stopped for job in jobs)


def is_whole(model, action, before, after, replays):
    """Whether the estimator is as before the action, as after it, or that of a whole epoch of its fit."""
    found = left(model)
    if found in (before, after):
        return True
    if action != "fit":
        return False
    if model.n_iter_ not in replays:
        first = deepcopy(model).set_params(epochs=model.n_iter_, n_init=1)  # of several restarts the first is kept
        replays[model.n_iter_] = left(first.fit(replays["X"]))
    if {**found, "loss_": 0, "labels_": 0} == {**replays[model.n_iter_], "loss_": 0, "labels_": 0}:
        return True
    # What a fit does when it ends (log Z of its last parameters, say) a fit that was stopped has not done.
    same = ("params_", "_moments", "n_iter_", "n_steps_", "loss_curve_")
    return all(found[name] == replays[model.n_iter_][name] for name in same)


def measure(name, action, count, random):
    """The `Row` of a model and an action with so many interrupts."""
    X, template = MODELS[name]
    act, row, clock = ACTIONS[action], Row(name, action), _Clock()
    fresh = deepcopy(template) if action == "fit" else deepcopy(template).fit(X)
    before, model = left(fresh), deepcopy(fresh)
    act(model, X)
    after, model = left(model), deepcopy(fresh)
    begin = time.perf_counter()
    act(model, X)
    seconds, replays, blas = time.perf_counter() - begin, {"X": X}, _blas_threads()
    for _ in range(20 * count):
        if row.interrupts == count:
            break
        model = deepcopy(fresh)
        came, error = clock.interrupt(random.uniform(0, seconds), lambda: act(model, X))  # noqa: B023
        if not came:
            continue
        row.interrupts += 1
        row.keyboard += error is KeyboardInterrupt
        row.system += error is SystemError
        row.other += error not in (None, KeyboardInterrupt, SystemError)
        row.lost += error is None
        row.blas += _blas_threads() != blas
        row.helpers += busy_helpers()
        row.inconsistent += not is_whole(model, action, before, after, replays)
    return row


def main(arguments=None):
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interrupts", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=MODELS, metavar="NAME")
    parser.add_argument("--actions", nargs="*", default=list(ACTIONS), choices=ACTIONS, metavar="NAME")
    given = parser.parse_args(arguments)
    random, rows = np.random.default_rng(given.seed), []
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(("{:26}{:24}" + 8 * "{:>13}").format(*Row.__dataclass_fields__))
    with threadpool_limits(2, user_api="blas"):
        for name in given.models:
            for action in given.actions:
                if can(name, action, deepcopy(MODELS[name][1])):
                    rows.append(measure(name, action, given.interrupts, random))
                    print(("{:26}{:24}" + 8 * "{:>13}").format(*astuple(rows[-1])), flush=True)
    wrong = sum(row.wrong for row in rows)
    print(f"{sum(row.interrupts for row in rows)} interrupts, {wrong} rows of {len(rows)} with something wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
