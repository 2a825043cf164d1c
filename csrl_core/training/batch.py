"""The objective of a `BatchModel`, whose loss belongs to a whole batch: the same loop, no assignment."""

import numpy as np

from csrl_core.training.draws import Use
from csrl_core.training.objective import ModelObjective
from csrl_core.training.parameters import Layout
from csrl_core.training.run import Run


class BatchObjective(ModelObjective):
    """Minimises the loss of a `csrl_core.models.base.BatchModel`.

    model : BatchModel; backend : Backend; n_clusters : int, length of the parameters' first axis where that is not 1
    key : (2,) uint32
    """

    def start(self, data, restart):
        """Initial parameters and state."""
        draw = self.draw(Use.INITIAL_PARAMETERS, restart)
        named = self.model.init_parameters(data.X, self.n_clusters, draw)
        self.layout = Layout({name: np.shape(array) for name, array in named.items()})
        run = Run(self.backend.own(self.layout.flatten(named, data.X.dtype)), {}, restart)
        self.begin(run, data)
        return run

    def begin(self, run, data):
        """Add the arrays of the model's state that the run does not have yet."""
        self.add_state(run, data, None, None)

    def step(self, run, batch):
        """Loss and gradient of a batch."""
        draw = self.training_draw(run, batch)
        loss_sum, weight_sum, gradient = self.model.loss_and_gradient(self.parameters(run), batch, draw)
        gradient = self.flat_gradient(gradient, run, "loss_and_gradient's gradient")
        return float(loss_sum), float(weight_sum), gradient, 0
