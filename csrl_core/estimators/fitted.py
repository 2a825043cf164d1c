"""A fitted model with parameters, state, centres and random numbers in one dtype on one backend."""

import numpy as np

from csrl_core import backends
from csrl_core.backends import as_numpy, is_device_array
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters, check_shape


class FittedModel:
    """A fitted model in one dtype; its methods take rows from which the shift has been subtracted.

    rows : (n,) int64, the numbers of these rows, for models that draw
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
        """Context in which the backend uses as many threads as the estimator's ``n_jobs`` says."""
        return self.backend.threads(self.estimator.n_jobs)

    def draw(self, key=None, number=0):
        """The `Draw` for one call. key : by default the fit's; number : int, the step of the random numbers."""
        key = self.estimator._key if key is None else key
        return Draw(self.backend.philox, key, step=number, use=Use.EVALUATION_NOISE, rows=self.rows)

    def losses(self, x):
        """L (n, k)."""
        L = self.model.losses(self.parameters, x, x, self.centers, self.draw())
        check_shape(self.model, L, (len(x), self.estimator.n_clusters), "losses")
        return L

    def costs(self, x):
        """The costs that assignment minimises, (n, k)."""
        if self.rule is None:
            return self.backend.own(self.losses(x), x.dtype)
        self.complete()
        return self.rule.costs(self.parameters.state, self.codes(x))

    def complete(self):
        """Compute what assignment needs, if the fit was stopped before it needed that."""
        if self.rule is None:
            return
        missing = self.rule.missing_arrays(self.parameters, self.parameters.state, self.draw())
        if missing:
            self.keep(missing)

    def codes(self, x):
        """The quantities from which the rule computes costs."""
        return self.rule.codes(self.parameters, x, self.centers, self.draw())

    def keep(self, arrays):
        """Add computed arrays to the estimator's state."""
        self.parameters.state.update(arrays)
        convert = to_device_of(self.estimator.params_)
        self.estimator.state_ = self.estimator.state_ | {name: convert(array) for name, array in arrays.items()}

    def assign(self, x):
        """Clusters (n,) int64."""
        if self.estimator.n_clusters == 1:
            return np.zeros_like(x, shape=(len(x),), dtype=np.int64)
        return self.backend.assign.assign(self.costs(x))

    def embed(self, x):
        """Embeddings under every cluster, (n, k, latent)."""
        return self.model.embed(self.parameters, x, self.centers, self.draw())

    def embed_assigned(self, x):
        """(Embeddings under the assigned clusters (n, latent), these clusters (n,))."""
        assign = self.assign(x)
        return self.backend.own(
            self.model.embed_assigned(self.parameters, x, self.centers, assign, self.draw())
        ), assign

    def decode(self, z, assign):
        """Decoded embeddings less the shift, (n, d)."""
        return self.model.decode(self.parameters, z, assign, self.centers, self.draw())


def to_device_of(X):
    """The function that brings results to where X lies: to the host, unless X is on the GPU."""
    return (lambda array: array) if is_device_array(X) else as_numpy
