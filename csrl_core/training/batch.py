"""The objective of a `BatchModel`, whose loss belongs to a whole batch: the same loop, and clusters at the end."""

import numpy as np

from csrl_core.training import sweeps
from csrl_core.training.draws import Use
from csrl_core.training.file_checks import ModelFileError
from csrl_core.training.objective import ModelObjective
from csrl_core.training.parameters import Layout
from csrl_core.training.passes import CHUNK
from csrl_core.training.run import Batch, Run
from csrl_core.training.starts import best_k_means, first_state


class BatchObjective(ModelObjective):
    """Minimises the loss of a `csrl_core.models.base.BatchModel`.

    The state of a run: assign (n,) int64, 0 until clusters are found; centers (k, d) float64, the means of the data
    over the clusters; shift (d,) float64, zeros; the arrays of the model.

    model : BatchModel; backend : Backend; n_clusters : int, length of the parameters' first axis where that is not 1
    key : (2,) uint32
    """

    running = False  # centres are the means of their clusters

    def start(self, data, restart):
        """Initial parameters and state."""
        draw, (n, d) = self.draw(Use.INITIAL_PARAMETERS, restart), data.X.shape
        named = self.model.init_parameters(data.X, self.n_clusters, draw)
        self.set_layout({name: np.shape(array) for name, array in named.items()})
        zeros = {"centers": np.zeros((self.n_clusters, d)), "shift": np.zeros(d), "assign": np.zeros(n, np.int64)}
        state = {name: self.backend.own(array) for name, array in zeros.items()}
        run = Run(self.backend.own(self.layout.flatten(named, data.X.dtype)), state, restart)
        self.begin(run, data)
        return run

    def set_layout(self, shapes):
        """Set the names and shapes of the parameters."""
        self.layout = Layout(shapes)

    def begin(self, run, data):
        """Add the arrays of the model's state that the run does not have yet."""
        self.add_state(run, data, None, None)

    def check_data(self, run, data, path):
        """Refuse a run whose state has other samples."""
        for name in self.model.of_samples:
            if name in run.state and len(run.state[name]) != len(data.X):
                raise ModelFileError(
                    f"{path} has a {name} of {len(run.state[name])} samples, not of {len(data.X)}; it is damaged"
                )

    def step(self, run, batch):
        """Loss and gradient of a batch."""
        draw = self.training_draw(run, batch)
        loss_sum, weight_sum, gradient = self.model.loss_and_gradient(self.parameters(run), batch, draw)
        gradient = self.flat_gradient(gradient, run, "loss_and_gradient's gradient")
        return float(loss_sum), float(weight_sum), gradient, 0

    def accumulate(self, run, batch, first):
        """A step of `partial_fit`; samples of later batches are added to the state. Returns what `step` does."""
        if not first:
            batch = batch._replace(index=self.model.extend_state(self.parameters(run), batch))
        return self.step(run, batch)[:3]

    # Clusters

    def features(self, run, X):
        """Features (n, h), in chunks."""
        parts, parameters = [], self.parameters(run)
        for first in range(0, len(X), CHUNK):
            parts.append(self.model.features(parameters, X[first : first + CHUNK]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def final(self, run, data):
        """Labels (n,), from which the state's centres follow, and the loss of the last epoch."""
        kernel, state, dtype = self.backend.assign, run.state, data.X.dtype
        Z = self.backend.own(self.features(run, data.X))
        if self.model.clusters_features:
            state["feature_centers"] = self.backend.own(self._clusters(Z, data, run.restart).astype(dtype))
        labels = kernel.assign(self.backend.own(self.model.costs(self.parameters(run), Z)))
        sums, totals, _ = sweeps.cluster_sums(kernel, data.X, labels, data.weight, self.n_clusters)
        kernel.means(sums, totals, state["centers"], 0)
        state["assign"] = labels
        return labels, self.loss(run, data) if run.loss_curve else np.nan

    def known(self, run, data):
        """What `final` returns."""
        return self.final(run, data)

    def _clusters(self, Z, data, restart):
        """Means (k, h) float64 of the best of some k-means on the features."""
        features, self.shift = Batch(Z, Z, data.index, data.weight), np.zeros(Z.shape[1])
        return first_state(self, features, restart, "k-means", best_k_means(self, features, restart))["centers"]
