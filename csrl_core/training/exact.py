"""The exact solver of linear models: principal components of every cluster, then assignment, in turn.

For a linear autoencoder without penalty the best subspace of a cluster is that of its leading principal components
(`csrl_core.models.components`), so parameters need no gradient: each half of an epoch is a minimum over its own
unknowns. Under the loss the objective never rises; under the likelihood this is classification expectation
maximisation (Celeux & Govaert 1992) of a mixture of probabilistic principal component analysers.
"""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.components import principal_axes
from csrl_core.training.joint import JointAssignment
from csrl_core.training.parameters import Parameters


class ExactAssignment(JointAssignment):
    """Joint minimisation over subspaces and assignments without a gradient; an epoch is one round of both."""

    moves_every_epoch = False

    def start(self, data, restart):
        """Initial parameters and assignment; the parameters of clusters with samples are never used."""
        if data.target is not data.X:
            raise ValueError(
                "solver='exact' got a target; it expects none: principal components reconstruct X itself. "
                "De-noising needs solver='gradient'"
            )
        return super().start(data, restart)

    @property
    def compares_starts(self):
        """Starts are told apart by what they lead to."""
        return True

    def fit_clusters(self, run, data, random):
        """Nothing: every epoch begins with it."""

    def round(self, run, data):
        """An epoch, with what follows it."""
        moved = self.fused_epoch(run, data, None)(data.index, len(data.X))[2]
        return moved + self.end_of_epoch(run, data, False)

    def fused_epoch(self, run, data, settings):
        """A function that does an epoch: subspaces of the assignment as it stands, then a new assignment."""
        kernel, state = self.backend.assign, run.state

        def epoch(order, batch_size):
            # 1. subspaces
            self._fit_subspaces(run, data)
            L = self.losses(run.params, state, data.X, data.X)
            loss_sum, weight_sum = kernel.objective(L, state["assign"], data.weight)
            # 2. Gaussians
            if self.rule is not None:
                self.refresh(run.params, state, data)
                L = self.costs(run.params, state, data.X)
            # 3. assignment and centres
            sums = (state["sums"], state["totals"], state["counts"])
            moved = kernel.move(data.X, data.index, kernel.assign(L), state["assign"], data.weight, *sums)
            kernel.means(state["sums"], state["totals"], state["centers"], 0)
            return loss_sum, weight_sum, moved

        return epoch

    def end_of_epoch(self, run, data, fused):
        """Sums from scratch, empty clusters re-seeded."""
        return super().end_of_epoch(run, data, False)

    def settled(self, moved):
        """Nothing moved: the next epoch would be the same."""
        return moved == 0

    def _fit_subspaces(self, run, data):
        """Write every cluster's principal axes into its layers; a single sample has none and keeps its donor's."""
        named, X, weight = Parameters(self.layout, run.params), as_numpy(data.X), as_numpy(data.weight)
        assign, centers = as_numpy(run.state["assign"]), as_numpy(self.loss_centers(run.state, np.float64))
        depth = len(named) // 2
        widths = [named[f"encoder.{number}.weight"].shape[1:] for number in range(depth)]
        h = min(fan_out for _, fan_out in widths)
        for j in range(self.n_clusters):
            own = np.flatnonzero((assign == j) & (weight > 0))
            if len(own) < (2 if self.center else 1):
                continue
            axes = principal_axes(X[own] - centers[j], weight[own], h)
            for number, shape in enumerate(widths):
                identity = axes if number == 0 else np.eye(h)
                encoder = np.zeros(shape)
                encoder[: len(identity), :h] = identity
                encoder = self.backend.own(encoder)
                named[f"encoder.{number}.weight"][j] = encoder
                named[f"decoder.{depth - 1 - number}.weight"][j] = encoder.T
