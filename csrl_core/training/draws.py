"""Random numbers: the table of their uses, the key of a fit, and the `Draw` that every method of a model is given.

A random number is a function of (key, stream, step, substep, element), see ``reference.philox``. Two uses
that must not see the same numbers have different entries here; training and every kind of evaluation are
apart, so that looking at a model never changes how it trains.
"""

from enum import IntEnum

import numpy as np
from sklearn.utils import check_random_state

from csrl_core.backends import as_numpy

RESTARTS = 2**16 - 1  # of a fit, at most: their numbers have 16 bits of a stream
LAYERS = 2**8  # of a use, at most, likewise


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


class Draw:
    """Random numbers for one call of a model's method: functions of the fit's key, the restart and the step.

    Every call gets a fresh one. A method that calls two others passes ``draw.again()`` to both where they should see
    the same numbers, as a loss and its gradient must.

    key : (2,) uint32; restart, step : int; training : bool, False where a fitted model is asked, or data are passed
    through it without learning; rows : (b,) int64 or None, the numbers of the samples in the data
    """

    def __init__(self, philox, key, restart=0, step=0, *, use=Use.TRAINING_NOISE, rows=None):
        self.philox, self.key, self.restart, self.step = philox, key, restart, step
        self.use, self.rows, self._number = use, rows, 0

    def again(self):
        """The same numbers from the beginning."""
        return Draw(self.philox, self.key, self.restart, self.step, use=self.use, rows=self.rows)

    @property
    def training(self):
        """Whether the call is a step of training."""
        return self.use == Use.TRAINING_NOISE

    def words(self, use, layer=0):
        """What a kernel that draws takes: (key, stream, step)."""
        return self.key, stream(use, layer, self.restart), self.step

    def uniform(self, shape, low=0.0, high=1.0):
        """Array of the given shape, U(low, high), float64. As for `normal`, initial values have 53 bits, others 24."""
        if self._initial:
            u = self.philox.uniform53(*self._words(), 0, int(np.prod(shape)))
        else:
            u = self.philox.uniform(*self._words(), 0, *self._rows(shape), np.float64)
        return low + (high - low) * self._placed(u.reshape(shape))

    def normal(self, shape, scale=1.0):
        """Array of the given shape, N(0, scale²), float64: of the host for initial values, else of the backend.

        Where the first axis is that of the samples, a sample's numbers do not depend on the others of its batch.
        """
        z = self.philox.normal(*self._words(), 0, *self._rows(shape), np.float64)
        return scale * self._placed(z.reshape(shape))

    def bernoulli(self, p):
        """Array of 0 and 1 in the shape and dtype of p, which are the probabilities of 1; otherwise as `normal`."""
        rows, width = self._rows(p.shape)
        bits = self.philox.bernoulli(p.reshape(len(rows), width), *self._words(), 0, rows)
        return self._placed(bits.reshape(p.shape))

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
        """Row numbers of an array, and how many numbers a row has."""
        if self.rows is not None and shape and shape[0] == len(self.rows):
            return self.rows, int(np.prod(shape[1:]))
        return np.zeros(1, np.int64), int(np.prod(shape))

    def _placed(self, array):
        return as_numpy(array) if self._initial else array
