"""Which first assignment: what ``init="auto"`` does.

Where clusters lie apart k-means finds them and seeds of k-means++ hardly ever do; where they cross it is the other way
round. So starts of both kinds are tried, and what is maximised in the end decides: the likelihood, or the loss. Where a
model says nothing of clusters before it is trained, the best of ten k-means is taken.
"""

import numpy as np

from csrl_core.backends import as_numpy

STARTS = 5  # of each kind
LARGE = 2**20  # numbers in the data; with more one of each kind is tried
ROUNDS = 5  # after which it is decided
BEYOND_DOUBT = 4  # standard errors of the difference of two starts' scores
SAME = 1e-5  # relative difference below which two tries are taken for the same solution


def best_start(objective, data, restart):
    """The best k-means, unless after a few rounds another start is better beyond doubt.

    Rounds are `JointAssignment.round`: parameters that fit the clusters, then assignment. Differences of scores within
    their error are as often wrong as right; on the sets of ``csrl reproduce defaults`` worse starts are ahead by up to
    three standard errors, and those that find crossing lines by five and more.

    objective : JointAssignment; data : Batch of all samples; restart : int
    returns Run, not yet trained
    """
    tries, between = [], []
    for number in range(STARTS if data.target.size <= LARGE else 1):
        for kind in ("k-means", "k-means++"):
            run = objective.start_from(kind, data, restart, number)
            between.append(_between(run.state) if kind == "k-means" else -np.inf)
            for _ in range(ROUNDS):
                if not objective.round(run, data):
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
    return _first_best([_between(objective.first_state(data, restart, "k-means", number)) for number in range(tries)])


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
