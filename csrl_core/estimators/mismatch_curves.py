"""What estimators with a companion objective tell of its mismatch with their own objective, epoch by epoch."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from csrl_core import mismatch
from csrl_core.backends import as_numpy
from csrl_core.models.mismatch_log import COSINE, DETACHED, NAME, PAIRS, VALUES


class MismatchCurves:
    """Mixin of estimators with the arguments ``mismatch``, ``mismatch_pairs`` and ``companion``.

    Curves are of the run that `fit` kept, an entry an epoch; `partial_fit` adds none.
    """

    _parameter_constraints = {
        "mismatch": [Interval(Integral, 0, None, closed="left")],
        "mismatch_pairs": ["boolean"],
    }

    def _check_mismatch(self):
        """Refuse arguments by which nothing would be kept."""
        if self.mismatch_pairs and not self.mismatch:
            raise ValueError("mismatch_pairs=True, but mismatch=0; expected a number of batches to compare terms in")
        if self.mismatch and self.companion is None and not self.mismatch_pairs:
            raise ValueError(
                f"mismatch={self.mismatch} compares the objective with a companion, but companion=None; choose a "
                f"companion, or mismatch_pairs=True, which compares the terms of the objective"
            )

    def _epochs_of(self, what, needs, wanted="a companion"):
        """The rows (n_iter_, batches, columns) that were kept; AttributeError where there are none."""
        rows = vars(self).get("state_", {}).get(NAME)
        if rows is None or not needs:
            raise AttributeError(f"{type(self).__name__} has {what} after a fit with mismatch above 0 and {wanted}")
        return as_numpy(rows)[: self.n_iter_]

    @property
    def ofm_curve_(self):
        """(epochs,), mean cosine of the gradients of objective and companion with respect to the backbone."""
        return _mean(self._epochs_of("ofm_curve_", self.companion)[:, :, COSINE])

    @property
    def ofm_detached_curve_(self):
        """(epochs,), the same with the assignments constant in the companion."""
        return _mean(self._epochs_of("ofm_detached_curve_", self.companion)[:, :, DETACHED])

    @property
    def ofm_regression_curve_(self):
        """(epochs, 4): slope, low and high end of its 95 % interval, correlation, see `csrl_core.mismatch`."""
        rows = self._epochs_of("ofm_regression_curve_", self.companion)[:, :, VALUES]
        return np.array([mismatch.regression(*values.T)[:4] for values in rows]).reshape(len(rows), 4)

    @property
    def ofm_pairs_(self):
        """Dict of (term, term) → (epochs,), the mean cosine of their gradients with respect to the backbone."""
        rows = self._epochs_of("ofm_pairs_", self.mismatch_pairs, "mismatch_pairs=True")[:, :, PAIRS:]
        names = self._term_names()
        of = [(one, other) for number, one in enumerate(names) for other in names[number + 1 :]]
        return {pair: _mean(rows[:, :, place]) for place, pair in enumerate(of)}


def _mean(cosines):
    """Means over the batches of every epoch, without those that are not defined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN where an epoch has none
        return np.nanmean(cosines, axis=1)
