"""The exact solver: parameters that are best for the assignment, then assignment, in turn.

Where a model can say which parameters are best for given clusters (`ClusterModel.minimise`; of a linear autoencoder
without penalty they are principal components, `csrl_core.models.components`), no gradient is needed: each half of an
epoch is a minimum over its own unknowns. Under the loss the objective never rises; under the likelihood this is
classification expectation maximisation (Celeux & Govaert 1992) of a mixture of probabilistic principal component
analysers.
"""

import numpy as np

from csrl_core.training.loop import Trainer


def exact_round(objective, run, data):
    """Parameters of the assignment as it stands, then a new assignment and centres.

    objective : JointAssignment of a model with `minimise`; data : Batch of all samples
    returns (loss_sum, weight_sum, moved), the loss at the new parameters and the old assignment
    """
    kernel, state = objective.backend.assign, run.state
    # 1. parameters
    centers = objective.loss_centers(state, np.float64)
    objective.model.minimise(objective.parameters(run), data, state["assign"], centers)
    A = objective.losses(run, data.X, data.X)
    loss_sum, weight_sum = kernel.objective(A, state["assign"], data.weight)
    # 2. what the likelihood keeps of them
    if objective.rule is not None:
        objective.refresh(run, data)
        A = objective.costs(run, data.X)
    # 3. assignment and centres
    moved = objective.move(state, data, kernel.assign(A))
    kernel.means(state["sums"], state["totals"], state["centers"], 0)
    return loss_sum, weight_sum, moved


class ExactSolver(Trainer):
    """Trains runs by rounds instead of gradients; an epoch is one round, and the end is where nothing moves."""

    def __init__(self, objective, data, settings, backend):
        if data.target is not data.X:
            raise ValueError(
                "solver='exact' got a target; it expects none: principal components reconstruct X itself. "
                "De-noising needs solver='gradient'"
            )
        super().__init__(objective, data, settings, backend)

    def epoch(self, run):
        """One round; returns (loss_sum, weight_sum, moved)."""
        run.step += 1
        return exact_round(self.objective, run, self.data)

    def converged(self, run, loss, moved):
        """Nothing moved: the next epoch would be the same."""
        return super().converged(run, loss, moved) or moved == 0
