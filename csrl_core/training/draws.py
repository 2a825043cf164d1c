"""Random numbers: the table of their uses, the key of a fit, and the `Draw` that every method of a model is given.

A random number is a function of (key, stream, step, substep, element), see ``reference.philox``. Uses that must have
different numbers have different entries in the table. Training has its own entries, so that evaluating a model never
changes how it trains.
"""

from enum import IntEnum

import numpy as np
from sklearn.utils import check_random_state

from csrl_core.backends import as_numpy

RESTARTS = 2**16 - 1  # most restarts of a fit: the number of a restart has 16 bits of the stream word
LAYERS = 2**8  # most layers of a use: the number of a layer has 8 bits of the stream word


class Use(IntEnum):
    """What a stream of random numbers is for. The numbers are part of every saved model: never renumber."""

    # once a restart
    INITIAL_PARAMETERS = 0
    INITIAL_CENTERS = 1
    INITIAL_LABELS = 2
    INITIAL_STATE = 3
    # training
    PERMUTATION = 16
    RESEED_NOISE = 17
    TRAINING_NOISE = 18
    DROPOUT = 19
    GIBBS_TRAINING = 20
    LATENT_TRAINING = 21
    AUGMENTATION = 22
    NEGATIVES = 23
    PERSISTENT_CHAINS = 24
    POSITIVES = 25
    # evaluation
    EVALUATION_NOISE = 64
    GIBBS_EVALUATION = 65
    LATENT_EVALUATION = 66
    AIS = 67
    SAMPLING = 68
    PSEUDO_LIKELIHOOD = 69
    VALUE_AND_GRADIENT = 70


def stream(use, layer=0, restart=0):
    """The stream word of a counter: use | layer << 8 | restart << 16.

    Parameters
    ----------
    use : Use
    layer : int, 0 to 255
    restart : int, 0 to 65535

    Returns
    -------
    int, below 2**32
    """
    for name, value, high in (("use", use, 2**8), ("layer", layer, 2**8), ("restart", restart, 2**16)):
        if not 0 <= value < high:
            raise ValueError(f"{name}={value!r} is out of range; expected 0 to {high - 1}")
    return int(use) | int(layer) << 8 | int(restart) << 16


def draw_key(random_state):
    """The 64-bit key of a fit, drawn once.

    Parameters
    ----------
    random_state : None, int or numpy.random.RandomState
        As everywhere in scikit-learn; a RandomState moves on by two draws.

    Returns
    -------
    ndarray (2,) uint32
    """
    return check_random_state(random_state).randint(0, 2**32, size=2, dtype=np.uint32)


def chosen(u, log_shares):
    """For each uniform of u (n,) the index of a share, with the shares as probabilities: (n,) int64.

    log_shares : (k,), of numbers that need not add up to 1
    """
    edges = np.cumsum(np.exp(log_shares))
    return np.searchsorted(edges[:-1] / edges[-1], u, side="right").astype(np.int64)


class Draw:
    """Random numbers for one call of a model's method: functions of the fit's key, the restart and the step.

    Every call gets a new `Draw`. A loss and its gradient must see the same numbers: a method that calls two others
    passes ``draw.again()`` to both.

    key : (2,) uint32; restart, step : int; use : Use; rows : (b,) int64 or None, the row numbers of the samples
    """

    def __init__(self, philox, key, restart=0, step=0, *, use=Use.TRAINING_NOISE, rows=None):
        self.philox, self.key, self.restart, self.step = philox, key, restart, step
        self.use, self.rows, self._number = use, rows, 0

    def again(self):
        """A `Draw` that gives the same numbers from the beginning."""
        return Draw(self.philox, self.key, self.restart, self.step, use=self.use, rows=self.rows)

    def of(self, rows):
        """A `Draw` of the same numbers for samples with these row numbers, from the beginning."""
        return Draw(self.philox, self.key, self.restart, self.step, use=self.use, rows=rows)

    @property
    def training(self):
        """Whether the call is a training step: False for a fitted model, and for passes that only evaluate."""
        return self.use == Use.TRAINING_NOISE

    def words(self, use, layer=0):
        """(key, stream, step), the arguments of a kernel that draws."""
        return self.key, stream(use, layer, self.restart), self.step

    def uniform(self, shape, low=0.0, high=1.0):
        """Array of the given shape, U(low, high), float64, with 53 random bits for initial values and 24 otherwise.

        It lies where that of `normal` does.
        """
        if self._initial:
            u = self.philox.uniform53(*self._words(), 0, int(np.prod(shape)))
        else:
            u = self.philox.uniform(*self._words(), 0, *self._rows(shape), np.float64)
        return low + (high - low) * self._to_host_if_initial(u.reshape(shape))

    def normal(self, shape, scale=1.0):
        """Array of the given shape, N(0, scale²), float64: on the host for initial values, else on the backend.

        If the first axis counts the samples, a sample's numbers do not depend on the other samples of its batch.
        """
        z = self.philox.normal(*self._words(), 0, *self._rows(shape), np.float64)
        return scale * self._to_host_if_initial(z.reshape(shape))

    def bernoulli(self, p):
        """Array of zeros and ones in the shape and dtype of p, the probabilities of a one; otherwise as `normal`."""
        rows, width = self._rows(p.shape)
        bits = self.philox.bernoulli(p.reshape(len(rows), width), *self._words(), 0, rows)
        return self._to_host_if_initial(bits.reshape(p.shape))

    @property
    def _initial(self):
        return self.use in (Use.INITIAL_PARAMETERS, Use.INITIAL_STATE)

    def _words(self):
        """(key, stream, step) of the next array."""
        number = self._number
        self._number += 1
        if self._initial:
            return self.key, stream(self.use, 0, self.restart), number
        return self.words(self.use, number)

    def _rows(self, shape):
        """Row numbers of an array, and the number of elements in a row."""
        if self.rows is not None and shape and shape[0] == len(self.rows):
            return self.rows, int(np.prod(shape[1:]))
        return np.zeros(1, np.int64), int(np.prod(shape))

    def _to_host_if_initial(self, array):
        return as_numpy(array) if self._initial else array
