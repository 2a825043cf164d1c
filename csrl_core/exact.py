"""The exact solver of linear models: principal components of every cluster, then assignment, in turn.

For a linear autoencoder without penalty the best subspace of a cluster is that of its leading principal
components (Eckart & Young 1936), so parameters need no gradient: each half of an epoch is a minimum over its own
unknowns. Under the loss the objective never rises; under the likelihood this is classification expectation
maximisation (Celeux & Govaert 1992) of a mixture of probabilistic principal component analysers.
"""

import numpy as np
from scipy.linalg import eigh

from csrl_core.algorithm import CHUNK, JointAssignment
from csrl_core.parameters import Parameters


def principal_axes(X, weights, h):
    """Orthonormal basis of the leading h-dimensional principal subspace of rows about zero.

    From the eigenvectors of the smaller of Σ w xxᵀ (d, d) and of the Gram matrix (n, n), in float64. Where fewer than h
    directions have any variance the basis is filled up. The largest entry of each axis is positive.

    X : (n, d) float, at least one row; weights : (n,), not all zero; h : int, 1 ≤ h ≤ d
    returns (d, h) float64, columns in descending order of variance
    """
    n, d = X.shape
    if n >= d:
        S = np.zeros((d, d))
        for first in range(0, n, CHUNK):
            rows = slice(first, first + CHUNK)
            x = np.sqrt(weights[rows, None].astype(np.float64)) * X[rows]
            S += x.T @ x
        axes = eigh(S, subset_by_index=[d - h, d - 1])[1][:, ::-1]
    else:
        x = np.sqrt(weights[:, None].astype(np.float64)) * X
        found = min(h, n)
        values, vectors = eigh(x @ x.T, subset_by_index=[n - found, n - 1])
        values, vectors = values[::-1], vectors[:, ::-1]
        axes = np.zeros((d, h))
        real = values > n * np.finfo(np.float64).eps * values[0]
        axes[:, :found][:, real] = x.T @ (vectors[:, real] / np.sqrt(values[real]))
    # Orthonormal to rounding, and complete: Householder's Q is, also for columns of zeros.
    axes = np.linalg.qr(axes)[0]
    return axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(h)] < 0, -1.0, 1.0)


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
        state, named = run.state, Parameters(self.layout, run.params)
        centers = self.loss_centers(state, np.float64)
        depth = len(named) // 2
        widths = [named[f"encoder.{number}.weight"].shape[1:] for number in range(depth)]
        h = min(fan_out for _, fan_out in widths)
        for j in range(self.n_clusters):
            own = np.flatnonzero((state["assign"] == j) & (data.weight > 0))
            if len(own) < (2 if self.center else 1):
                continue
            axes = principal_axes(data.X[own] - centers[j], data.weight[own], h)
            for number, shape in enumerate(widths):
                identity = axes if number == 0 else np.eye(h)
                encoder = np.zeros(shape)
                encoder[: len(identity), :h] = identity
                named[f"encoder.{number}.weight"][j] = encoder
                named[f"decoder.{depth - 1 - number}.weight"][j] = encoder.T
