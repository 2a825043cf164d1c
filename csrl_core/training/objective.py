"""What the objectives of all models share: arguments of a model's methods, its state, the check of a gradient."""

from collections.abc import Mapping
from copy import copy

from csrl_core.training.draws import Draw, Use
from csrl_core.training.loop import Objective
from csrl_core.training.parameters import Parameters, check_shape


class ModelObjective(Objective):
    """An objective of a `csrl_core.models.base.Model`.

    model : Model; backend : Backend; n_clusters : int; key : (2,) uint32; layout : `Layout`, None until parameters are
    """

    def __init__(self, model, backend, n_clusters, key):
        self.model, self.backend, self.n_clusters, self.key = model, backend, n_clusters, key
        self.loss_falls, self.layout = model.loss_falls, None

    def parameters(self, run):
        """The run's parameters by name, with the run's state."""
        return Parameters(self.layout, run.params, run.state)

    def evaluated(self, run):
        """`parameters` for a pass over the data, without the assignment, which no model's evaluation depends on."""
        state = {name: array for name, array in run.state.items() if name != "assign"}
        return Parameters(self.layout, run.params, state)

    def for_workers(self):
        """A copy for other processes, without what belongs to the data."""
        return copy(self)

    def draw(self, use, restart, step=0, rows=None):
        """The `Draw` for one call of a model's method."""
        return Draw(self.backend.philox, self.key, restart, step, use=use, rows=rows)

    def training_draw(self, run, batch):
        """The `Draw` for a batch that is learnt from."""
        rows = batch.index if batch.rows is None else batch.rows
        return self.draw(Use.TRAINING_NOISE, run.restart, run.step, rows)

    def add_state(self, run, data, assign, centers):
        """Add the arrays of the model's state that the run does not have yet; arguments as of `Model.init_state`."""
        draw = self.draw(Use.INITIAL_STATE, run.restart)
        for name, array in self.model.init_state(self.parameters(run), data, assign, centers, draw).items():
            if name in run.state:
                raise ValueError(
                    f"{type(self.model).__name__}.init_state returned {name!r}, a name that the state has already"
                )
            run.state[name] = self.backend.own(array)

    def flat_gradient(self, gradient, run, name):
        """A gradient (p,), named or flat, of the right shape. name : in messages"""
        if isinstance(gradient, Mapping):
            gradient = self.layout.flatten(gradient, run.params.dtype, "gradient")
        check_shape(self.model, gradient, run.params.shape, name)
        return gradient
