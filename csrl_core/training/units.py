"""The unit in which a model learns: a power of two near the size of the data, so that results do not depend on theirs.

The loss of some models is homogeneous: of c·X, c·target and c·centres it is c² that of X, target and centres, with the
same parameters. What training adds has a size of its own, Adam's ε above all: gradients of data in volts instead of
microvolts are 10⁻¹² times as large, and vanish beside it. So such models learn from (X − shift) / unit. Division by
a power of two rounds nothing: data in another unit, if a power of two is between both, give the same bits.

Parameters have no unit. What has one is kept in the data's: the loss curve, and all attributes of a fitted estimator.
Only the state of a run that is still training is in the unit; its array "unit" (1,) float64 says so, where it is not 1.
"""

from typing import NamedTuple

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training.on_disk import mapped

STATE = {"centers": 1, "sums": 1, "shift": 1, "scatter": 2, "noise": 2, "floor": 2}  # arrays with a unit, its power
WIDEST = {4: 45, 8: 400}  # bytes of a float → the powers of two whose squares leave room for errors and for sums
EXPECTED = 2.0**-10, 2.0**6  # sizes of data that starts and step sizes of other models are made for


class Frame(NamedTuple):
    """The coordinates in which a model learns, (X − shift) / unit. shift : (d,), in that unit; unit : float"""

    shift: np.ndarray
    unit: float = 1.0


def size(data):
    """Weighted root mean square of a `Batch` of all samples, float; not finite where squares are not.

    Where the squares of what is not zero are, the largest value.
    """

    def squares(block, weight):
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.square(block, dtype=np.float64).sum(axis=1) @ weight.astype(np.float64))

    total = sum(mapped(data.target, squares, data.weight), 0.0)
    if total == 0:
        return float(max(mapped(data.target, lambda block: np.abs(block).max(initial=0.0)), default=0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sqrt(total / (float(data.weight.sum(dtype=np.float64)) * data.target.shape[1])))


def near(size, itemsize):
    """The power of two nearest to a size, in ratio; 1 where there is none, or where its square would not fit.

    itemsize : int, bytes of the data's float type
    """
    if not (np.isfinite(size) and size > 0):
        return 1.0
    power = round(float(np.log2(size)))
    return 2.0**power if abs(power) <= WIDEST[itemsize] else 1.0


def scale(data, unit):
    """A `Batch` in the unit; its arrays, which must be its own, are divided in place."""
    if unit == 1:
        return data
    X = _divided(data.X, unit)
    return data._replace(X=X, target=X if data.target is data.X else _divided(data.target, unit))


def _divided(array, unit):
    factor = array.dtype.type(1 / unit)
    if hasattr(array, "changed"):  # samples that are read in blocks
        return array.changed(lambda rows: rows * factor)
    return np.multiply(array, factor, out=array)


def of_state(state):
    """The unit of a state, float."""
    return float(as_numpy(state["unit"])[0]) if "unit" in state else 1.0


def in_unit(state):
    """A state in the data's units, as a fitted estimator has it, brought into its unit; a dict of new arrays."""
    return _times(state, 1 / of_state(state))


def given_back(state):
    """The state of a run, brought into the data's units; a dict of new arrays where the unit is not 1."""
    return _times(state, of_state(state))


def _times(state, factor):
    if factor == 1:
        return state
    return {name: array * factor ** STATE[name] if name in STATE else array for name, array in state.items()}


def unusual(size, name):
    """The warning for data of an unusual size, in a model that is made for values near 1; None for usual ones.

    name : str, of the estimator
    """
    if not np.isfinite(size) or size <= 0 or EXPECTED[0] <= size <= EXPECTED[1]:
        return None
    return (
        f"X has values of the size {size:.1e} (root mean square); {name} starts and learns in steps made for values "
        f"near 1. Scale X: sklearn.preprocessing.StandardScaler, X / 255 for bytes, or another unit (csrl fit: "
        f"--standardize, --divide-by)"
    )
