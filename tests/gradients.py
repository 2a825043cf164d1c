"""Finite differences, for tests of gradients."""

import numpy as np


def differences(function, array, size=1e-6):
    """Central differences of a number with respect to every entry of an array, in its shape.

    function : without arguments, of the array as it then is
    """
    gradient = np.empty_like(array)
    for at in np.ndindex(array.shape):
        old = array[at]
        array[at] = old + size
        above = function()
        array[at] = old - size
        gradient[at] = (above - function()) / (2 * size)
        array[at] = old
    return gradient
