"""Who draws which random numbers: the table of uses, and the key.

A random number is a function of (key, stream, step, substep, element), see ``reference.philox``. Two uses
that must not see the same numbers have different entries here; training and every kind of evaluation are
apart, so that looking at a model never changes how it trains.
"""

from enum import IntEnum

import numpy as np
from sklearn.utils import check_random_state

RESTARTS = 2**16 - 1  # of a fit, at most: their numbers have 16 bits of a stream
LAYERS = 2**8  # of a use, at most, likewise


class Use(IntEnum):
    """What a stream of random numbers is for. The numbers are part of every saved model: never renumber."""

    # once a restart
    INITIAL_PARAMETERS = 0
    INITIAL_CENTERS = 1
    INITIAL_LABELS = 2
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
