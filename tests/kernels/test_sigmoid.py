"""The reference's σ and softplus: operation by operation, against exact arithmetic, at the ends of the range."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from csrl_core.reference.rbm import softplus
from csrl_core.reference.sigmoid import _TABLE, sigmoid

pytestmark = pytest.mark.sensitive

FLOATS = pytest.mark.parametrize("real", [np.float32, np.float64])


def _points(real):
    """Arguments where a rule changes, and random ones of every size."""
    rng, lowest = np.random.default_rng(0), _TABLE[np.dtype(real)][0]
    edges = np.arange(0, 130) * np.log(2) / 2
    sizes = 10.0 ** rng.uniform(-8, np.log10(-lowest), 1500)
    some = np.concatenate([[0.0, -lowest, 1e-40, 1.0], edges, sizes]).astype(real)
    return np.concatenate([some, -some])


@FLOATS
def test_sigmoid_rounds_once_an_operation(real):
    # The same operations one by one on Python's numbers, each rounded to ``real``: what every backend must reproduce.
    lowest, high, low, degree, *_ = _TABLE[np.dtype(real)]

    def r_(value):  # float64 is wide enough for one float32 operation to be rounded twice and yet correctly
        return float(real(value))

    def by_hand(a):
        y = max(-abs(a), lowest)
        k = int(r_(r_(y * r_(1 / np.log(2))) - 0.5))
        r = r_(r_(y - r_(k * r_(high))) - r_(k * r_(low)))
        q = r_(1 / factorials[degree])
        for i in range(degree - 1, 0, -1):
            q = r_(r_(q * r) + r_(1 / factorials[i]))
        e = r_(2.0**k + r_(2.0**k * r_(q * r)))  # the product is inexact where it is subnormal
        return r_((1.0 if a >= 0 else e) / r_(1 + e))

    factorials = np.cumprod(np.arange(1.0, 15)).tolist()
    factorials.insert(0, 1.0)
    A = _points(real)
    np.testing.assert_array_equal(sigmoid(A), np.array([by_hand(a) for a in A.tolist()], real))


@FLOATS
def test_parts_of_log_2(real):
    lowest, high, low, *_ = (Fraction(float(real(v))) for v in _TABLE[np.dtype(real)][:3])
    for k in range(int(lowest / high) - 1, 1):
        assert Fraction(float(real(k) * real(high))) == k * high  # exact, so that nothing is lost before low is taken
    with localcontext() as context:
        context.prec = 40
        rest = Fraction(Decimal(2).ln()) - high - low
    assert abs(rest) <= Fraction(float(np.spacing(real(low)))) / 2


@FLOATS
def test_sigmoid_is_accurate(real):
    # In units of the rounding u, relative: r ¼, polynomial ⅓, e^y 2½ in all, 1 + e^y 1, the quotient 1: below 5.
    A, u = _points(real), np.finfo(real).eps / 2
    P = sigmoid(A)
    with localcontext() as context:
        context.prec = 40
        exact = [1 / (1 + (-Decimal(a)).exp()) for a in A.tolist()]
        error = [abs(Decimal(p) / e - 1) for p, e in zip(P.tolist(), exact, strict=True)]
    assert P.dtype == real
    assert max(error) < 5 * u


@FLOATS
def test_sigmoid_is_monotone(real):
    # Steps of 16 u and more outdo its rounding errors of 5 u on both sides, where the slope of log σ is ½ or more.
    A, u = np.sort(_points(real)), np.finfo(real).eps / 2
    for B in (A[1:], A[:-1] + real(16 * u) * np.maximum(1, np.abs(A[:-1]))):
        far = B - A[:-1] >= 16 * u
        assert far.sum() > 1000
        assert (sigmoid(B) >= sigmoid(A[:-1]))[far].all()
        below = far & (B < 0) & (A[:-1] > _TABLE[np.dtype(real)][0])
        assert (sigmoid(B) > sigmoid(A[:-1]))[below].all()


@FLOATS
def test_sigmoid_at_the_ends(real):
    A = np.array([0, -0.0, np.inf, -np.inf, np.nan, np.finfo(real).max, np.finfo(real).min, 200], real)
    P = sigmoid(A)
    assert P[[0, 1, 2, 5]].tolist() == [0.5, 0.5, 1, 1]
    assert np.isnan(P[4])
    floor = np.exp(_TABLE[np.dtype(real)][0])  # e^y is cut off there: still a normal number, and still positive
    np.testing.assert_allclose(P[[3, 6]], floor, rtol=1e-6)
    assert np.finfo(real).tiny < floor < np.finfo(real).tiny * 4
    grid = np.linspace(-3, 3, 24, dtype=real).reshape(4, 6)
    np.testing.assert_array_equal(sigmoid(grid[:, ::2].T), sigmoid(grid)[:, ::2].T)


@FLOATS
def test_softplus(real):
    # Two library functions within 2.5 units in the last place (5 u) and 2, and a sum: below 10 u, relative.
    A, u = _points(real), np.finfo(real).eps / 2
    with localcontext() as context:
        context.prec = 40
        tails = [(-abs(Decimal(a))).exp() for a in A.tolist()]
        tails = [(1 + x).ln() if x > 1e-15 else x - x * x / 2 for x in tails]
        exact = [max(Decimal(a), 0) + tail for a, tail in zip(A.tolist(), tails, strict=True)]
        error = [abs(Decimal(s) / e - 1) for s, e in zip(softplus(A).tolist(), exact, strict=True)]
    assert max(error) < 10 * u
    ends = softplus(np.array([1e30, -1e30, np.inf, -np.inf, np.nan], real))
    np.testing.assert_array_equal(ends, np.array([1e30, 0, np.inf, 0, np.nan], real))
