"""How a run begins: the first assignment, parameters that go with it, and what ``init="auto"`` does.

Where clusters lie apart k-means finds them and seeds of k-means++ hardly ever do; where they cross it is the other way
round. So starts of both kinds are tried, and what is maximised in the end decides: the likelihood, or the loss. Where a
model says nothing of clusters before it is trained, the best of ten k-means is taken.
"""

import numpy as np
from sklearn.cluster import kmeans_plusplus

from csrl_core.backends import as_numpy
from csrl_core.training.draws import Use, stream
from csrl_core.training.exact import exact_round
from csrl_core.training.run import Run

STARTS = 5  # of each kind
LARGE = 2**20  # numbers in the data; with more one of each kind is tried
ROUNDS = 5  # after which it is decided
BEYOND_DOUBT = 4  # standard errors of the difference of two starts' scores
SAME = 1e-5  # relative difference below which two tries are taken for the same solution
LLOYD_ITERATIONS = 300


def start(objective, data, restart):
    """A new run: assignment, parameters and state, as the objective's ``init`` says.

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
    """A run from one first assignment; number : of the try, which has random numbers of its own."""
    draw, own = objective.draw(Use.INITIAL_PARAMETERS, restart), objective.backend.own
    state = first_state(objective, data, restart, init, number)
    centers = objective.loss_centers(state, np.float64)
    named = objective.model.init_from_clusters(data, state["assign"], centers, draw)
    objective.set_layout({name: np.shape(array) for name, array in named.items()})
    run = Run(own(objective.layout.flatten(named, data.X.dtype)), state, restart)
    objective.begin(run, data)
    if objective.rule is not None:
        parameters, seen = objective.parameters(run), centers.astype(run.params.dtype)
        run.state |= objective.rule.state(parameters, data, seen, objective.draw(Use.EVALUATION_NOISE, restart))
        objective.refresh(run, data)
    return run


def first_state(objective, data, restart, init, number=0):
    """Assignment, centres and sums at the start; arguments as of `start_from`."""
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
        assign = kernel.nearest(T, own(centers, T.dtype))
    sums, totals, counts = kernel.cluster_sums(T, assign, data.weight, k)
    kernel.means(sums, totals, centers, 0)
    shift = own(np.array(objective.shift, dtype=np.float64))
    return {"assign": assign, "centers": centers, "sums": sums, "totals": totals, "counts": counts, "shift": shift}


def _first_centers(objective, data, restart, init, number):
    """Centres (k, d) float64 on the host, by name."""
    philox, k, key = objective.backend.philox, objective.n_clusters, objective.key
    label = stream(Use.INITIAL_CENTERS, number, restart)
    host, weight = as_numpy(data.target), as_numpy(data.weight)
    if init == "random":
        rows = np.flatnonzero(weight > 0)
        chosen = philox.permutation(len(rows), key, label, 1)[:k]
        return host[rows[as_numpy(chosen)]].astype(np.float64)
    seed = int(philox.integers(2**31, key, label, 0, 0, 1)[0])
    centers, _ = kmeans_plusplus(host, k, sample_weight=weight, random_state=seed)
    centers = np.array(centers, dtype=np.float64)
    return as_numpy(_lloyd(objective, data, centers)) if init == "k-means" else centers


def _lloyd(objective, data, centers):
    """Centres after Lloyd's iterations: with these kernels, so that every backend begins alike."""
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
    """Parameters that the model gives to the clusters as they are, and what the rule keeps of them.

    draw : `Draw`, or None where nothing may be left to chance
    """
    centers = objective.loss_centers(run.state, np.float64)
    named = objective.model.init_from_clusters(data, run.state["assign"], centers, draw)
    run.params[...] = objective.backend.own(objective.layout.flatten(named, data.X.dtype))
    if objective.rule is not None:
        objective.refresh(run, data)


def one_round(objective, run, data):
    """Parameters that fit the clusters, then assignment and centres; returns how many samples moved."""
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
    """The best k-means, unless after a few rounds another start is better beyond doubt.

    Rounds are `one_round`. Differences of scores within their error are as often wrong as right; on the sets of
    ``csrl reproduce defaults`` worse starts are ahead by up to three standard errors, and those that find crossing
    lines by five and more.

    objective : JointAssignment; data : Batch of all samples; restart : int
    returns Run, not yet trained
    """
    tries, between = [], []
    for number in range(STARTS if data.target.size <= LARGE else 1):
        for kind in ("k-means", "k-means++"):
            run = start_from(objective, kind, data, restart, number)
            between.append(_between(run.state) if kind == "k-means" else -np.inf)
            for _ in range(ROUNDS):
                if not one_round(objective, run, data):
                    break
            tries.append((run, objective.scores(run, data)))
    weight = as_numpy(data.weight).astype(np.float64)
    run, scores = tries[_first_best(between)]
    other, theirs = tries[_first_best([np.average(found, weights=weight) for _, found in tries])]
    gain = np.average(theirs - scores, weights=weight)
    error = np.sqrt(np.sum((weight * (theirs - scores - gain)) ** 2)) / weight.sum()
    if gain > BEYOND_DOUBT * error:
        run = other
    run.n_reseeded = 0  # in training nothing was
    return run


def best_k_means(objective, data, restart):
    """Which of as many tries of k-means ends lowest, int: what there is to go by where starts cannot be compared."""
    tries = 2 * STARTS if objective.n_clusters > 1 and data.target.size <= LARGE else 1
    if tries == 1:
        return 0
    return _first_best([_between(first_state(objective, data, restart, "k-means", number)) for number in range(tries)])


def _between(state):
    """Σ_j W_j ‖c_j − mean‖²: the larger, the lower is the objective of k-means on the same data."""
    sums, totals = as_numpy(state["sums"]), as_numpy(state["totals"])
    means = sums / np.where(totals > 0, totals, 1.0)[:, None]
    return float(np.sum(totals * np.sum((means - sums.sum(axis=0) / totals.sum()) ** 2, axis=1)))


def _first_best(values):
    """The index of the greatest, the first of those that differ by rounding alone."""
    best = 0
    for index, value in enumerate(values):
        if value > values[best] + SAME * max(1.0, abs(values[best])):
            best = index
    return best
