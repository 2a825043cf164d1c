"""What a fit keeps of the mismatch of its objectives: an array of the run's state, a row a batch.

Columns of a row: the value of the objective, that of its companion, the cosine of their gradients, the cosine with the
companion's detached gradient, then the cosines of all pairs of terms. NaN: not computed, or not defined.
"""

from typing import NamedTuple

import numpy as np

from csrl_core import mismatch
from csrl_core.backends import as_numpy

NAME = "mismatch"  # of the array (epochs, batches, columns) float64 in the state
VALUES, COSINE, DETACHED, PAIRS = slice(0, 2), 2, 3, 4


class MismatchLog(NamedTuple):
    """How much is kept.

    epochs : rows of the array; batches : of an epoch, ``full`` of them are learnt from
    compared : batches of an epoch in which gradients are compared; pairs : number of pairs of terms, 0: left out
    """

    epochs: int
    batches: int
    full: int
    compared: int
    pairs: int = 0

    def state(self, known):
        """The array, with the rows that are known (None: none); it grows if there are more epochs than before.

        Raises
        ------
        ValueError
            The known array has other batches or columns.
        """
        rows = np.full((self.epochs, self.batches, PAIRS + self.pairs), np.nan)
        if known is not None:
            if known.ndim != 3 or known.shape[1:] != rows.shape[1:]:
                raise ValueError(
                    f"the state's {NAME!r} has shape {known.shape}; expected {self.batches} batches of an epoch and "
                    f"{PAIRS + self.pairs} columns"
                )
            if len(known) >= self.epochs:
                return known
            rows[: len(known)] = as_numpy(known)
        return rows

    def compares(self, number):
        """Whether gradients are compared in the batch of this number in its epoch; such batches lie evenly."""
        count = min(self.compared, self.full)
        return number < self.full and ((number + 1) * count) // self.full > (number * count) // self.full

    def write(self, state, step, row, own):
        """Write the row of a step. row : numbers from the first column on; own : brings an array to the backend"""
        epoch, number = divmod(step, self.batches)
        state[NAME][epoch, number, : len(row)] = own(np.array(row, np.float64))


def row_of(values, gradients, names, pairs):
    """The row of a batch in which gradients are compared.

    values : of objective and companion; gradients : dict of name → gradient of the objective, its companion, and that
    with detached inputs, ``names`` in this order; without a companion that of the objective alone
    pairs : dict of term → gradient, empty: left out
    """
    cosines = [np.nan, np.nan]
    if names[1] in gradients:
        cosines = [mismatch.cosine(gradients[names[0]], gradients[name]) for name in names[1:]]
    return [values[0], values[1] if names[1] in gradients else np.nan, *cosines, *mismatch.pairs(pairs).values()]
