"""A fitted model, ready to be asked: parameters, state, centres and random numbers in one dtype on one backend."""

import numpy as np

from csrl_core import backends
from csrl_core.backends import as_numpy, is_device_array
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters, check_shape


class Fitted:
    """A fitted model in one dtype: what its methods say of shifted rows.

    rows : (n,) int64, the numbers of the rows that are asked about, for models that draw
    """

    def __init__(self, estimator, dtype, params=None, centers=None):
        estimator._check_fitted()
        self.estimator = estimator
        self.backend = backends.get(estimator.backend)
        self.model = estimator._model(self.backend)
        params = estimator.params_ if params is None else params
        own = self.backend.own
        state = {name: own(array) for name, array in estimator.state_.items()}
        self.parameters = Parameters(Layout(estimator._shapes), own(params, dtype), state)
        if centers is None:
            centers = estimator.state_["centers"] if estimator._centred else np.zeros_like(estimator.state_["centers"])
        self.centers = own(centers.astype(dtype))
        self.shift = own(estimator.state_["shift"].astype(dtype))
        self.rule, self.rows = estimator._rule(self.model, self.backend), None

    def threads(self):
        return self.backend.threads(self.estimator.n_jobs)

    def draw(self, key=None, number=0):
        """Random numbers for one call; key, number : others than the fit's."""
        key = self.estimator._key if key is None else key
        return Draw(self.backend.philox, key, step=number, use=Use.EVALUATION_NOISE, rows=self.rows)

    def losses(self, x):
        L = self.model.losses(self.parameters, x, x, self.centers, self.draw())
        check_shape(self.model, L, (len(x), self.estimator.n_clusters), "losses")
        return L

    def costs(self, x):
        """What assignment minimises, (n, k)."""
        if self.rule is None:
            return self.backend.own(self.losses(x), x.dtype)
        lacking = self.rule.ready(self.parameters, self.parameters.state, self.draw())
        if lacking:  # of an epoch in which assignment did not need it
            self.keep(lacking)
        return self.rule.costs(self.parameters.state, self.codes(x))

    def codes(self, x):
        return self.rule.codes(self.parameters, x, self.centers, self.draw())

    def keep(self, arrays):
        """Arrays that were worked out for an answer become part of the estimator's state."""
        self.parameters.state.update(arrays)
        home = home_of(self.estimator.params_)
        self.estimator.state_ = self.estimator.state_ | {name: home(array) for name, array in arrays.items()}

    def assign(self, x):
        if self.estimator.n_clusters == 1:
            return np.zeros_like(x, shape=(len(x),), dtype=np.int64)
        return self.backend.assign.assign(self.costs(x))

    def embed(self, x):
        return self.model.embed(self.parameters, x, self.centers, self.draw())

    def embed_assigned(self, x):
        assign = self.assign(x)
        return self.backend.own(
            self.model.embed_assigned(self.parameters, x, self.centers, assign, self.draw())
        ), assign

    def decode(self, z, assign):
        return self.model.decode(self.parameters, z, assign, self.centers, self.draw())


def home_of(X):
    """Where results and fitted arrays go, a function of an array: where X came from."""
    return (lambda array: array) if is_device_array(X) else as_numpy
