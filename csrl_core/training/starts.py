"""The start of a run: the first assignment, parameters for it, and the choice of ``init="auto"``.

k-means finds clusters that lie apart, which seeds of k-means++ hardly ever do. For clusters that cross it is the other
way round. So ``init="auto"`` tries starts of both kinds and compares them by the likelihood or the loss. Some models
cannot tell clusters apart before they are trained; they take the best of ten k-means.
"""

import numpy as np
from sklearn.cluster import kmeans_plusplus

from csrl_core.backends import as_numpy
from csrl_core.training import sweeps
from csrl_core.training.draws import Use, stream
from csrl_core.training.exact import exact_round
from csrl_core.training.on_disk import is_on_disk
from csrl_core.training.run import Batch, Run

STARTS = 5  # tries of each kind
LARGE = 2**20  # values in the data; with more, one try of each kind
MOST = 2**26  # values that k-means looks at; of larger data it sees a random sample, and all are assigned afterwards
ROUNDS = 5  # before starts are compared
CLEAR_LEAD = 4  # standard errors of the difference of two starts' scores
SAME = 1e-5  # relative difference below which two tries count as the same solution
LLOYD_ITERATIONS = 300


def start(objective, data, restart):
    """A new run with assignment, parameters and state, as the objective's ``init`` specifies.

    objective : JointAssignment; data : Batch of all samples; restart : int
    returns Run, not yet trained
    """
    if not (isinstance(objective.init, str) and objective.init == "auto"):
        return start_from(objective, objective.init, data, restart)
    if objective.n_clusters == 1 or not (objective.model.follows_clusters or objective.model.minimise):
        return start_from(objective, "k-means", data, restart, best_k_means(objective, data, restart))
    run = best_start(objective, data, restart)
    if not objective.model.minimise:
        fit_clusters(objective, run, data, objective.draw(Use.INITIAL_PARAMETERS, restart))
    return run


def start_from(objective, init, data, restart, number=0):
    """A new run from one kind of first assignment. number : int, of the try; each has its own random numbers."""
    draw, own = objective.draw(Use.INITIAL_PARAMETERS, restart), objective.backend.own
    state = first_state(objective, data, restart, init, number)
    if objective.unit != 1:
        state["unit"] = own(np.array([objective.unit]))
    centers = objective.loss_centers(state, np.float64)
    named = objective.model.init_from_clusters(data, state["assign"], centers, draw)
    objective.set_layout({name: np.shape(array) for name, array in named.items()})
    run = Run(own(objective.layout.flatten(named, data.X.dtype)), state, restart)
    objective.begin(run, data)
    if objective.rule is not None:
        parameters, draw = objective.parameters(run), objective.draw(Use.EVALUATION_NOISE, restart)
        run.state |= objective.rule.state(parameters, data, centers.astype(run.params.dtype), draw)
        objective.refresh(run, data)
    return run


def first_state(objective, data, restart, init, number=0):
    """Assignment, centres and sums at the start; arguments as for `start_from`."""
    backend, k, T = objective.backend, objective.n_clusters, data.target
    kernel, own = backend.assign, backend.own
    if isinstance(init, str):
        centers = own(_first_centers(objective, data, restart, init, number))
    elif init.ndim == 2:
        centers = own(np.array(init, dtype=np.float64))
    else:
        centers = None
    if centers is None:
        assign, centers = own(init.astype(np.int64)), own(np.zeros((k, T.shape[1])))
    else:
        assign = sweeps.nearest(kernel, T, own(centers, T.dtype))
    sums, totals, counts = sweeps.cluster_sums(kernel, T, assign, data.weight, k)
    kernel.means(sums, totals, centers, 0)
    shift = own(np.array(objective.shift, dtype=np.float64))
    return {"assign": assign, "centers": centers, "sums": sums, "totals": totals, "counts": counts, "shift": shift}


def _first_centers(objective, data, restart, init, number):
    """Centres (k, d) float64 on the host. init : the name of a method."""
    philox, k, key = objective.backend.philox, objective.n_clusters, objective.key
    label = stream(Use.INITIAL_CENTERS, number, restart)
    if init == "random":
        rows = np.flatnonzero(as_numpy(data.weight) > 0)
        chosen = rows[as_numpy(philox.permutation(len(rows), key, label, 1)[:k])]
        return as_numpy(data.target[objective.backend.own(chosen)]).astype(np.float64)
    data = _seen_by_k_means(objective, data, restart)
    host, weight = as_numpy(data.target), as_numpy(data.weight)
    seed = int(philox.integers(2**31, key, label, 0, 0, 1)[0])
    centers, _ = kmeans_plusplus(host, k, sample_weight=weight, random_state=seed)
    centers = np.array(centers, dtype=np.float64)
    return as_numpy(_lloyd(objective, data, centers)) if init == "k-means" else centers


def _seen_by_k_means(objective, data, restart):
    """A `Batch` in memory: all samples, or a random sample of at most MOST values, the same for every try."""
    (n, d), rows = data.target.shape, data.index
    if n * d <= MOST:
        if not is_on_disk(data.target):
            return data
    else:
        weighted = np.flatnonzero(as_numpy(data.weight) > 0)
        label = stream(Use.INITIAL_CENTERS, 0, restart)
        order = as_numpy(objective.backend.philox.permutation(len(weighted), objective.key, label, 2))
        chosen = np.sort(weighted[order[: max(objective.n_clusters, MOST // d)]])
        rows = objective.backend.own(chosen)
    target = data.target[rows]
    return Batch(target, target, rows, data.weight[rows])


def _lloyd(objective, data, centers):
    """Centres after Lloyd's iterations, by the backend's kernels, so that all backends start alike."""
    kernel, k, own = objective.backend.assign, objective.n_clusters, objective.backend.own
    centers, before = own(centers), None
    for _ in range(LLOYD_ITERATIONS):
        assign = kernel.nearest(data.target, own(centers, data.target.dtype))
        if before is not None and bool((assign == before).all()):
            break
        sums, totals, _ = kernel.cluster_sums(data.target, assign, data.weight, k)
        kernel.means(sums, totals, centers, 0)
        before = assign
    return centers


def fit_clusters(objective, run, data, draw):
    """Set the run's parameters to the model's start for the present clusters, and update the rule's arrays.

    draw : `Draw`, or None for a start without random numbers
    """
    centers = objective.loss_centers(run.state, np.float64)
    named = objective.model.init_from_clusters(data, run.state["assign"], centers, draw)
    run.params[...] = objective.backend.own(objective.layout.flatten(named, data.X.dtype))
    if objective.rule is not None:
        objective.refresh(run, data)


def one_round(objective, run, data):
    """Fit parameters to the clusters, then compute assignment and centres; returns how many samples moved."""
    if objective.model.minimise:
        moved = exact_round(objective, run, data)[2]
    else:
        kernel, state = objective.backend.assign, run.state
        fit_clusters(objective, run, data, None)
        A = objective.losses(run, data.X, data.target) if objective.rule is None else objective.costs(run, data.X)
        moved = objective.move(state, data, kernel.assign(A))
        kernel.means(state["sums"], state["totals"], state["centers"], 0)
    return moved + objective.end_of_epoch(run, data, False)


def best_start(objective, data, restart):
    """The best k-means, unless another start is clearly better after a few rounds of `one_round`.

    Differences of scores within their standard error are wrong as often as right. On the data sets of
    ``csrl reproduce defaults`` worse starts lead by up to three standard errors, and starts that find crossing lines
    lead by five and more.

    objective : JointAssignment; data : Batch of all samples; restart : int
    returns Run, not yet trained
    """
    tries, separations = [], []
    for number in range(STARTS if data.target.size <= LARGE else 1):
        for kind in ("k-means", "k-means++"):
            run = start_from(objective, kind, data, restart, number)
            separations.append(_separation(run.state) if kind == "k-means" else -np.inf)
            for _ in range(ROUNDS):
                if not one_round(objective, run, data):
                    break
            tries.append((run, objective.scores(run, data)))
    weight = as_numpy(data.weight).astype(np.float64)
    run, scores = tries[_first_best(separations)]
    rival, rival_scores = tries[_first_best([np.average(values, weights=weight) for _, values in tries])]
    lead = np.average(rival_scores - scores, weights=weight)
    error = np.sqrt(np.sum((weight * (rival_scores - scores - lead)) ** 2)) / weight.sum()
    if lead > CLEAR_LEAD * error:
        run = rival
    run.n_reseeded = 0  # counts re-seeding in training alone
    return run


def best_k_means(objective, data, restart):
    """The number of the try of k-means with the lowest objective, int: for models whose starts cannot be compared."""
    tries = 2 * STARTS if objective.n_clusters > 1 and data.target.size <= LARGE else 1
    if tries == 1:
        return 0
    states = (first_state(objective, data, restart, "k-means", number) for number in range(tries))
    return _first_best([_separation(state) for state in states])


def _separation(state):
    """Σ_j W_j ‖c_j − mean‖²: the larger it is, the lower is the objective of k-means on the same data."""
    sums, totals = as_numpy(state["sums"]), as_numpy(state["totals"])
    means = sums / np.where(totals > 0, totals, 1.0)[:, None]
    return float(np.sum(totals * np.sum((means - sums.sum(axis=0) / totals.sum()) ** 2, axis=1)))


def _first_best(values):
    """The index of the greatest value; the first, if values differ by rounding alone."""
    best = 0
    for index, value in enumerate(values):
        if value > values[best] + SAME * max(1.0, abs(values[best])):
            best = index
    return best
