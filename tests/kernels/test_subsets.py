"""Products with zeros and ones or with what is mostly zero, transposed copies: to rounding, at the edges of blocks."""

import numpy as np
import pytest

from csrl_core.kernels.cpu.rbm import products, sparse, subsets

pytestmark = pytest.mark.sensitive

DTYPES = [np.float32, np.float64]
# Around groups of four terms, the groups whose tables are kept, and the columns of a table (128 or 256).
SHAPES = [(1, 1, 1), (3, 4, 16), (5, 7, 15), (2, 28, 129), (4, 32, 127), (9, 33, 256), (6, 113, 257), (25, 300, 520)]


def _bits(m, p, dtype, density=0.4):
    return (np.random.default_rng([m, p]).random((m, p)) < density).astype(dtype)


def _normal(m, n, dtype):
    return np.random.default_rng([m, n, 1]).standard_normal((m, n)).astype(dtype)


def _close(got, A, B, before=0):
    """|error| ≤ γ_p |A| |B| (Higham 2002, 3.5), twice that: the expected is a product too, of as many terms."""
    p, u = A.shape[1] + 1, np.finfo(B.dtype).eps / 2
    bound = 2 * p * u / (1 - p * u) * (np.abs(A).astype(np.float64) @ np.abs(B).astype(np.float64) + abs(before))
    assert (np.abs(got - before - A.astype(np.float64) @ B.astype(np.float64)) <= bound).all()


def _framed(m, n, dtype):
    """An array with others before and after it, and the view that is to be written."""
    frame = np.full((m + 2, n), 7, dtype)
    return frame, frame[1 : m + 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
def test_numbers_are_the_bits(dtype, m, p, n):
    A, groups = _bits(m, p, dtype), -(-p // 4)
    numbers = np.full((m, groups + 3), 255, np.uint8)
    subsets.pack(A, groups, numbers)
    whole = np.zeros((m, 4 * groups), int)
    whole[:, :p] = A
    np.testing.assert_array_equal(numbers[:, :groups], np.tensordot([1, 2, 4, 8], whole.reshape(m, 4, groups), (0, 1)))
    assert not numbers[:, groups:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [0.5, 2, -1, -1e-30, np.nan, np.inf, 1 - 1e-7])
@pytest.mark.parametrize("column", [0, 3, 16, 36])
def test_what_is_not_bits_is_found(dtype, other, column):
    A = _bits(3, 37, dtype)
    assert sparse.count(A) == ((A != 0).sum(), 0)
    A[1, column] = other
    assert sparse.count(A)[1] == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
@pytest.mark.parametrize("multiply", [subsets.multiply, sparse.multiply])
def test_product_with_bits_to_rounding_and_nothing_beside_it(dtype, m, p, n, multiply):
    A, B = _bits(m, p, dtype), _normal(p, n, dtype)
    A[0] = 0
    frame, out = _framed(m, n, dtype)
    multiply(A, B, out)
    _close(out, A, B, 7)
    out[...] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
def test_product_with_what_is_mostly_zero(dtype, m, p, n):
    A, B = _bits(m, p, dtype, 0.1) * _normal(m, p, dtype), _normal(p, n, dtype)
    frame, out = _framed(m, n, dtype)
    sparse.multiply(A, B, out)
    _close(out, A, B, 7)
    out[...] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("multiply", [subsets.multiply, sparse.multiply])
def test_an_entry_does_not_depend_on_its_neighbours(dtype, multiply):
    A, B = _bits(23, 300, dtype), _normal(300, 550, dtype)
    whole, part = np.zeros((23, 550), dtype), np.zeros((4, 37), dtype)
    multiply(A, B, whole)
    multiply(A[9:13], B[:, 480:517].copy(), part)
    np.testing.assert_array_equal(part, whole[9:13, 480:517])


@pytest.mark.parametrize("multiply", [subsets.multiply, sparse.multiply])
@pytest.mark.parametrize("row", [0, 5, 39])
def test_a_row_of_b_that_is_not_finite_counts_only_where_its_bit_is_set(multiply, row):
    A, B = _bits(30, 40, np.float32), _normal(40, 20, np.float32)
    A[:, row] = np.arange(30) % 2
    expected, out = np.zeros((30, 20), np.float32), np.zeros((30, 20), np.float32)
    multiply(A, B, expected)
    B[row] = np.nan
    multiply(A, B, out)
    np.testing.assert_array_equal(out[::2], expected[::2])
    assert np.isnan(out[1::2]).all()


def test_lists_keep_what_is_not_finite():
    A = np.zeros((2, 40), np.float32)
    A[0, 3], A[1, 5] = np.nan, np.inf
    out = np.zeros((2, 40), np.float32)
    sparse.multiply(A, np.eye(40, dtype=np.float32), out)
    assert np.isnan(out[0, 3])
    assert np.isinf(out[1, 5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 8), (16, 16), (17, 15), (33, 50), (5, 100)])
def test_transposed_copy(dtype, m, n):
    A, (frame, out) = _normal(m, n, dtype), _framed(n, m, dtype)
    products.transpose(A, out)
    np.testing.assert_array_equal(out, A.T)
    out[...] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [5, 40])
@pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize("add", [False, True])
def test_product_whatever_the_values(dtype, rows, density, bits, add):
    A, B, before = _bits(rows, 60, dtype, density), _normal(60, 70, dtype), _normal(rows, 70, dtype)
    A *= 1 if bits else _normal(rows, 60, dtype)
    out = before.copy()
    products.product(A, B, out, add)
    _close(out, A, B, before * add)


def test_which_way_a_product_goes():
    for rows, density, factor, expected in (
        (40, 0.1, 0.5, products.LISTS),
        (40, 0.1, 1, products.LISTS),
        (40, 0.2, 1, products.SUBSETS),
        (40, 0.2, 0.5, products.LISTS),
        (40, 0.5, 0.5, products.BLAS),
        (40, 1, 1, products.SUBSETS),
        (5, 0.1, 1, products.BLAS),
    ):
        A = np.zeros((rows, 60), np.float32)
        A[:, : int(60 * density)] = factor
        assert products.way(A) == expected
