"""The objective of a `BatchModel`, whose loss belongs to a whole batch: the same loop, no assignment."""

from collections.abc import Mapping

import numpy as np

from csrl_core.training.draws import Draw, Use
from csrl_core.training.loop import Objective
from csrl_core.training.parameters import Layout, Parameters, check_shape
from csrl_core.training.run import Run


class BatchObjective(Objective):
    """Minimises the loss of a `csrl_core.models.base.BatchModel`.

    model : BatchModel; backend : Backend; n_clusters : int, length of the parameters' first axis where that is not 1
    key : (2,) uint32
    """

    def __init__(self, model, backend, n_clusters, key):
        self.model, self.backend, self.n_clusters, self.key = model, backend, n_clusters, key
        self.loss_falls, self.layout = model.loss_falls, None

    def start(self, data, restart):
        """Initial parameters and state."""
        draw = self._draw(Use.INITIAL_PARAMETERS, restart)
        named = self.model.init_parameters(data.X, self.n_clusters, draw)
        self.layout = Layout({name: np.shape(array) for name, array in named.items()})
        run = Run(self.backend.own(self.layout.flatten(named, data.X.dtype)), {}, restart)
        self.begin(run, data)
        return run

    def begin(self, run, data):
        """Add the arrays of the model's state that the run does not have yet."""
        draw = self._draw(Use.INITIAL_STATE, run.restart)
        missing = self.model.init_state(self._parameters(run), data, None, None, draw)
        run.state |= {name: self.backend.own(array) for name, array in missing.items()}

    def step(self, run, batch):
        """Loss and gradient of a batch."""
        draw = self._draw(Use.TRAINING_NOISE, run.restart, run.step, batch.index)
        loss_sum, weight_sum, gradient = self.model.loss_and_gradient(self._parameters(run), batch, draw)
        if isinstance(gradient, Mapping):
            gradient = self.layout.flatten(gradient, run.params.dtype, "gradient")
        check_shape(self.model, gradient, run.params.shape, "loss_and_gradient's gradient")
        return float(loss_sum), float(weight_sum), gradient, 0

    def _parameters(self, run):
        return Parameters(self.layout, run.params, run.state)

    def _draw(self, use, restart, step=0, rows=None):
        return Draw(self.backend.philox, self.key, restart, step, use=use, rows=rows)
