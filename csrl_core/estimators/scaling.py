"""The scaling that a model brings along: what its data are shifted and divided by before it sees them."""

import warnings
from dataclasses import dataclass

import numpy as np

from csrl_core import backends
from csrl_core.backends import is_device_array
from csrl_core.training.on_disk import is_on_disk

KINDS = "divide", "standardize", "minmax"


@dataclass(frozen=True)
class Scaling:
    """(X − offset) / scale of every feature, in X's dtype.

    kind : one of `KINDS`; offset, scale : (d,) float64, scale positive
    """

    kind: str
    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, kind, X, divisor=1.0):
        """The scaling of this kind for data.

        kind : "divide" by ``divisor``; "standardize" to mean 0 and standard deviation 1; "minmax" to [0, 1]
        X : (n, d) array or `Samples`; a constant feature is only shifted
        """
        d = X.shape[1]
        if kind == "divide":
            return cls(kind, np.zeros(d), np.full(d, float(divisor)))
        if kind == "minmax":
            low, high = X.min(axis=0).astype(np.float64), X.max(axis=0).astype(np.float64)
            return cls(kind, low, np.where(high > low, high - low, 1.0))
        mean, deviation = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
        constant = deviation <= 10 * np.finfo(X.dtype).eps * np.abs(mean)
        return cls(kind, mean, np.where(constant, 1.0, deviation))

    def apply(self, X):
        """X in the model's units. Of "minmax", what lies outside the training data's range is set to its ends.

        Warns
        -----
        UserWarning
            Values were set to the ends of the range.
        """
        if is_on_disk(X):
            return X.changed(self.apply)
        offset, scale = self._beside(X)
        if self.kind == "divide":
            return X / scale
        scaled = ((X - offset) / scale).astype(X.dtype)
        if self.kind == "minmax":
            outside = int(((scaled < 0) | (scaled > 1)).sum())
            if outside:
                warnings.warn(
                    f"{outside} of {scaled.size} values lie outside the range of the model's training data and were "
                    f"set to its ends (scale minmax)",
                    UserWarning,
                    stacklevel=5,
                )
                scaled = scaled.clip(0, 1)
        return scaled

    def undo(self, X):
        """X of the model's units in those of the data."""
        offset, scale = self._beside(X)
        return (X * scale + offset).astype(X.dtype)

    def _beside(self, X):
        """(offset, scale) where X lies: float64, so that a large mean keeps its digits; a divisor in X's dtype."""
        if is_device_array(X):
            own = backends.get("cupy").own
            return own(self.offset), own(self.scale.astype(X.dtype) if self.kind == "divide" else self.scale)
        return self.offset, self.scale.astype(X.dtype) if self.kind == "divide" else self.scale
