"""What an estimator's file says about its model, and the checks of arguments, data, targets and labels."""

from abc import ABC, abstractmethod

import numpy as np
from sklearn.utils.validation import check_is_fitted

from csrl_core.backends import as_numpy
from csrl_core.estimators.device_input import check_beside, check_X, scaled
from csrl_core.training.file_checks import plain


class Checks(ABC):
    """Base class of `FittedMethods`: what a subclass must or may say, and what is checked before anything is done."""

    # With other values of these arguments, and of `center`, the fitted parameters would mean something else.
    _DESCRIBING = ("n_clusters", "assignment")

    @abstractmethod
    def _model(self, backend):
        """The `ClusterModel` that the constructor's arguments describe."""

    @abstractmethod
    def _rule(self, model, backend):
        """The `csrl_core.training.likelihood.Rule` of assignment; None if assignment is by loss."""

    @property
    def _centred(self):
        """Whether the loss uses the centres."""
        return self.center

    def _description(self):
        """The arguments on which the meaning of the fitted parameters depends, as plain values by name."""
        return {name: plain(getattr(self, name)) for name in self._DESCRIBING} | {"center": self._centred}

    def _check_fitted(self):
        """Check that the estimator is fitted, and that its parameters still fit its arguments.

        Raises
        ------
        NotFittedError
        ValueError
            An argument was changed since, so that the parameters would mean something else.
        """
        check_is_fitted(self)
        fitted_as = vars(self).get("_fitted_as", {})
        for name, value in self._description().items():
            if name in fitted_as and fitted_as[name] != value:
                raise ValueError(
                    f"{name}={value!r}, but this {type(self).__name__} was fitted with {name}={fitted_as[name]!r}; "
                    f"fit it again, or set {name} back"
                )

    def _parameter_shapes(self):
        """Dict of name → shape of the parameters, from the arguments, in order; None if only the model knows them."""
        return None

    def _state_shapes(self):
        """(required, optional): dicts of name → (shape, dtype) of the state's arrays.

        None in a shape is any length; None as dtype is that of the parameters.
        """
        k, d = self.n_clusters, self.n_features_in_
        required = {
            "assign": ((None,), np.int64),
            "centers": ((k, d), np.float64),
            "sums": ((k, d), np.float64),
            "totals": ((k,), np.float64),
            "counts": ((k,), np.int64),
            "shift": ((d,), np.float64),
        }
        return required, {"unit": ((1,), np.float64)}

    def _flat(self, X, name):
        """Samples as rows. name : of the argument, for messages"""
        return X

    def _check_X(self, X, reset, **options):
        """X, checked. reset : bool, whether X sets the number of features, as in `fit`."""
        return check_X(self, X, reset, **options)

    def _check_target(self, target, X):
        """``target``, checked, with X's dtype and shape; X itself for None."""
        if target is None:
            return X
        target = scaled(self, check_beside(self, target, X, "target"))
        if target.shape != X.shape:
            raise ValueError(f"target has shape {target.shape}; expected that of X, {X.shape}")
        return target

    def _input_units(self, X):
        """X of the model's units in those of its input."""
        scaling = vars(self).get("scaling_")
        return X if scaling is None else scaling.undo(X)

    def _check_labels(self, labels, n, argument="labels"):
        """``labels``, checked, as (n,) int64."""
        labels = as_numpy(labels)
        if labels.shape != (n,) or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{argument} has shape {labels.shape} and dtype {labels.dtype}; expected shape ({n},) and integers"
            )
        if n and (labels.min() < 0 or labels.max() >= self.n_clusters):
            raise ValueError(
                f"{argument} range from {labels.min()} to {labels.max()}; expected 0 to {self.n_clusters - 1}"
            )
        return labels.astype(np.int64)
