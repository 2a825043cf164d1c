"""The exact solver: the best parameters for the assignment, then a new assignment, in turn.

Some models can compute the best parameters for given clusters (`ClusterModel.minimise`). For a linear autoencoder
without penalty these are principal components (`csrl_core.models.components`). Then no gradient is needed: each half
of an epoch minimises over its own unknowns. With assignment by loss the objective never rises. With assignment by
likelihood this is classification expectation maximisation (Celeux & Govaert 1992) for a mixture of probabilistic
principal component analysers.
"""

import numpy as np

from csrl_core.training.loop import Trainer


def exact_round(objective, run, data):
    """The best parameters for the present assignment, then a new assignment and new centres.

    objective : JointAssignment of a model with `minimise`; data : Batch of all samples
    returns (loss_sum, weight_sum, moved), with the loss at the new parameters and the old assignment
    """
    kernel, state = objective.backend.assign, run.state
    # 1. parameters
    centers = objective.loss_centers(state, np.float64)
    objective.model.minimise(objective.parameters(run), data, state["assign"], centers)
    A = objective.losses(run, data.X, data.X)
    loss_sum, weight_sum = kernel.objective(A, state["assign"], data.weight)
    # 2. the likelihood's arrays
    if objective.rule is not None:
        objective.refresh(run, data)
        A = objective.costs(run, data.X)
    # 3. assignment and centres
    moved = objective.move(state, data, kernel.assign(A))
    kernel.means(state["sums"], state["totals"], state["centers"], 0)
    return loss_sum, weight_sum, moved


class ExactSolver(Trainer):
    """Trains runs by exact rounds instead of gradient steps: one round an epoch, until no sample moves."""

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
        """Whether no sample moved: then the next epoch would give the same result."""
        return super().converged(run, loss, moved) or moved == 0
