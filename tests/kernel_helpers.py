"""What tests of compiled products share."""

from functools import cache

import numpy as np
from numba import from_dtype, njit, types


@cache
def for_any_strides(function, *kinds):
    """The function compiled for matrices of these dtypes and any strides, or for numbers where a kind is Numba's.

    Once, as products of kernels are, whatever arrays it gets; called as it is, it would be compiled for every layout.
    Not cached in files: a cache of this one would not see that a kernel changes.
    """
    arguments = [
        kind if isinstance(kind, types.Type) else types.Array(from_dtype(np.dtype(kind)), 2, "A") for kind in kinds
    ]
    return njit([tuple(arguments)], nogil=True)(function)
