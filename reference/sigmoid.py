"""σ(a) = 1 / (1 + e⁻ᵃ), the same bits in NumPy, Numba and CUDA.

Libraries' exponentials differ by an ulp or two, and one ulp of a probability is enough to turn a sampled bit. So e^y
is made of additions, multiplications and shifts, which round alike everywhere (without fused multiply-adds):

    y = k ln 2 + r, k an integer, −½ ln 2 ≤ r ≤ ½ ln 2 or so,     e^y = 2^k e^r,     e^r by its Taylor polynomial

with ln 2 = high + low, the high part short enough for k · high to be exact.
"""

from math import factorial, log

import numpy as np

# dtype → (lowest y, high and low part of ln 2, degree, exponent's bias, bits below the exponent, integer of its size).
# At |r| = ½ ln 2 the first term left out is 5e-9 (degree 7) or 4e-18 (degree 13).
_TABLE = {
    np.dtype(np.float32): (-87.0, 0.693145751953125, 1.4286068203094173e-06, 7, 127, 23, np.int32),
    np.dtype(np.float64): (-708.0, 0.6931471805598903, 5.497923018708371e-14, 13, 1023, 52, np.int64),
}


def sigmoid(A):
    """σ(A), elementwise, from e^−|a|, so that nothing overflows; NaN stays NaN.

    Relative error below 5 roundings u = ½ eps: r ¼, polynomial ⅓, e^y 2½ in all, 1 + e^y 1, the quotient 1. Below the
    table's lowest y σ stays what it is there, about 2⁻¹²⁵ or 2⁻¹⁰²¹: positive and a normal number.

    A : array of float32 or float64; returns an array of its shape and dtype
    """
    real = A.dtype.type
    lowest, high, low, degree, bias, bits, integer = _TABLE[A.dtype]
    # 1. e^y = s (1 + q) for y = −|a|
    y = np.maximum(-np.abs(A), real(lowest))  # and NaN stays NaN
    k = np.where(np.isnan(y), 0, y * real(1 / log(2)) - real(0.5)).astype(np.int32)
    s = ((k.astype(integer) + integer(bias)) << integer(bits)).view(A.dtype)
    r = (y - k.astype(A.dtype) * real(high)) - k.astype(A.dtype) * real(low)
    q = np.full_like(r, real(1 / factorial(degree)))
    for i in range(degree - 1, 0, -1):
        q = q * r + real(1 / factorial(i))
    # 2. 1 / (1 + e^y) or e^y / (1 + e^y)
    e = s + s * (q * r)
    return np.where(A >= 0, real(1), e) / (real(1) + e)
