"""Re-seeding: a new sample for a cluster that has lost its last one (step 3 of the joint assignment)."""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training.draws import Use, stream

RESEEDINGS = 10  # most re-seedings for each cluster; after that an empty cluster stays empty
NOISE = 0.01  # of the root mean square of the donor's parameters


def reseed(objective, run, data):
    """Give each empty cluster one sample, and the parameters of the cluster that gives it, the donor.

    The samples are those with the largest losses under their own clusters. They are distinct, and a donor never gives
    its only sample.

    objective : JointAssignment; data : Batch of all samples
    returns int, clusters re-seeded
    """
    kernel, state, own = objective.backend.assign, run.state, objective.backend.own
    L = objective.losses(run, data.X, data.target)
    assigned_losses = np.take_along_axis(as_numpy(L), as_numpy(state["assign"])[:, None], axis=1)[:, 0]
    candidates = iter(np.argsort(-assigned_losses, kind="stable").tolist())
    filled = 0
    for j in np.flatnonzero(as_numpy(state["counts"]) == 0):
        i = next(
            (i for i in candidates if data.weight[i] > 0 and state["counts"][state["assign"][i]] > 1),
            None,
        )
        if i is None:  # fewer samples with weight than clusters
            break
        donor = int(state["assign"][i])
        objective.move(state, data.take(own(np.array([i], np.int64)), 0), own(np.array([j], np.int64)))
        state["centers"][j] = data.target[i]
        _copy_cluster(objective, run, donor, int(j))
        filled += 1
    if not objective.running:
        kernel.means(state["sums"], state["totals"], state["centers"], 0)
    run.n_reseeded += filled
    return filled


def _copy_cluster(objective, run, donor, j):
    """Copy the donor's parameters with a little noise, and its state; the optimizer's moments start at zero."""
    k, philox, layout = objective.n_clusters, objective.backend.philox, objective.layout
    pairs = zip(layout.cluster(run.params, donor, k), layout.cluster(run.params, j, k), strict=True)
    for number, (source, copy) in enumerate(pairs):
        label = stream(Use.RESEED_NOISE, number, run.restart)
        noise = philox.normal(objective.key, label, run.step, j, np.zeros(1, np.int64), source.size, np.float64)
        size = NOISE * np.sqrt(np.mean(np.square(source, dtype=np.float64))) if source.size else 0.0
        copy[...] = source + size * noise.reshape(source.shape)
    for moment in run.moments:
        for view in layout.cluster(moment, j, k):
            view[...] = 0
    for array in objective.model_state(run).values():
        if array.ndim and len(array) == k:
            array[j] = array[donor]
