"""Products with zeros and ones or with what is mostly zero, transposed copies: to rounding, at the edges of blocks."""

import numpy as np
import pytest
from kernel_helpers import for_any_strides
from numba import types

from csrl_core.kernels.cpu._engine import transpose
from csrl_core.kernels.cpu.rbm import products, sparse, subsets

pytestmark = pytest.mark.sensitive

DTYPES = [np.float32, np.float64]
# Around groups of four terms, the groups of a table, lanes of vectors and columns of a block.
SHAPES = [(1, 1, 1), (3, 4, 16), (5, 7, 15), (2, 28, 17), (4, 29, 64), (9, 33, 65), (6, 113, 127), (25, 300, 140)]


def _bits(m, p, dtype, density=0.4):
    return (np.random.default_rng([m, p]).random((m, p)) < density).astype(dtype)


def _normal(m, n, dtype):
    return np.random.default_rng([m, n, 1]).standard_normal((m, n)).astype(dtype)


def _pack(A, packed):
    return subsets.pack_rows(A, packed)


def _listed(A):
    return sparse.listed(A)


def _product_with_lists(A, B, out, add):
    columns, values, ends = sparse.listed(A)
    sparse.multiply_listed(columns, values, ends, B, out, add)
    return len(columns)


def _packed(A):
    """The rows' bits, four to a byte, and whether they are bits."""
    packed = np.full((len(A), -(-A.shape[1] // 4)), 255, np.uint8)
    return packed, for_any_strides(_pack, A.dtype, np.uint8)(A, packed)


def _multiply_bits(packed, B, out, add):
    products.bits(products.products(B.dtype), packed, B, out, add)


def _framed(m, n, dtype):
    """An array with others around it, and a view of what is to be written."""
    frame = np.full((m + 2, n + 9), 7, dtype)
    return frame, frame[1 : m + 1, 3 : n + 3]


def _close(got, A, B, before=0):
    """|error| ≤ γ_p |A| |B| (Higham 2002, 3.5), twice that: the expected is a product too, of as many terms."""
    p, u = A.shape[1] + 1, np.finfo(B.dtype).eps / 2
    bound = 2 * p * u / (1 - p * u) * (np.abs(A).astype(np.float64) @ np.abs(B).astype(np.float64) + abs(before))
    assert (np.abs(got - before - A.astype(np.float64) @ B.astype(np.float64)) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
def test_packed_rows_and_columns_are_the_bits(dtype, m, p, n):
    A = _bits(m, p, dtype)
    packed, known = _packed(A)
    assert known
    whole = np.zeros((m, 4 * packed.shape[1]), int)
    whole[:, :p] = A
    expected = whole.reshape(m, -1, 4) @ [1, 2, 4, 8]
    np.testing.assert_array_equal(packed, expected)
    across = np.full((packed.shape[1], m), 99, np.uint8)
    beside = np.pad(A.T, ((0, 0), (1, 1)), constant_values=0.5)  # not asked for
    assert subsets.pack_columns(beside, 1, m + 1, across)
    np.testing.assert_array_equal(across, expected.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", [0.5, 2, -1, -1e-40, np.nan, np.inf, 1 - 1e-7])
@pytest.mark.parametrize("column", [0, 3, 16, 36])
def test_a_row_that_is_not_bits_is_found(dtype, other, column):
    A = _bits(3, 37, dtype)
    A[1, column] = other
    assert not _packed(A)[1]
    assert _packed(A[::2])[1]
    assert not subsets.pack_columns(np.ascontiguousarray(A.T), 0, 3, np.empty((10, 3), np.uint8))


def test_packing_some_columns_writes_no_others():
    A = _bits(3, 64, np.float32)
    A[:, :16] = 0.5  # not asked for
    packed = np.full((3, 16), 99, np.uint8)
    assert for_any_strides(_pack, A.dtype, np.uint8)(A[:, 16:44], packed[:, 4:11])
    np.testing.assert_array_equal(packed[:, 4:11], _packed(A[:, 16:44].copy())[0])
    assert (packed[:, :4] == 99).all()
    assert (packed[:, 11:] == 99).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
@pytest.mark.parametrize("add", [False, True])
def test_product_with_bits_to_rounding_and_nothing_beside_it(dtype, m, p, n, add):
    A, B = _bits(m, p, dtype), _normal(p, n, dtype)
    frame, out = _framed(m, n, dtype)
    _multiply_bits(_packed(A)[0], B, out, add)
    _close(out, A, B, 7 * add)
    frame[1 : m + 1, 3 : n + 3] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_entry_does_not_depend_on_its_neighbours(dtype):
    A, B = _bits(23, 300, dtype), _normal(300, 150, dtype)
    whole, part = np.empty((23, 150), dtype), np.empty((4, 37), dtype)
    _multiply_bits(_packed(A)[0], B, whole, False)
    _multiply_bits(_packed(A[9:13])[0], B[:, 80:117], part, False)
    np.testing.assert_array_equal(part, whole[9:13, 80:117])


def test_a_row_of_b_that_is_not_finite_counts_only_where_its_bit_is_set():
    A, B = _bits(30, 40, np.float32), _normal(40, 20, np.float32)
    A[:, 5] = np.arange(30) % 2
    expected, out = np.empty((30, 20), np.float32), np.empty((30, 20), np.float32)
    _multiply_bits(_packed(A)[0], B, expected, False)
    B[5] = np.nan
    _multiply_bits(_packed(A)[0], B, out, False)
    np.testing.assert_array_equal(out[::2], expected[::2])
    assert np.isnan(out[1::2]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "p", "n"), SHAPES)
@pytest.mark.parametrize("add", [False, True])
def test_product_with_lists_to_rounding_and_nothing_beside_it(dtype, m, p, n, add):
    A, B = _bits(m, p, dtype, 0.1) * _normal(m, p, dtype), _normal(p, n, dtype)
    A[0] = 0  # an empty list
    _, _, ends = for_any_strides(_listed, A.dtype)(A)
    assert ends[:, -1].sum() == (A != 0).sum()
    frame, out = _framed(m, n, dtype)
    multiply = for_any_strides(_product_with_lists, *[A.dtype] * 3, types.boolean)
    assert multiply(A, B, out, add) == m
    _close(out, A, B, 7 * add)
    frame[1 : m + 1, 3 : n + 3] = 7
    assert (frame == 7).all()


def test_lists_keep_what_is_not_finite_and_leave_out_both_zeros():
    A = np.zeros((2, 40), np.float32)
    A[0, [3, 17, 39]], A[1, 5] = [np.nan, np.inf, 1], -0.0
    columns, values, ends = for_any_strides(_listed, A.dtype)(A)
    assert ends[:, -1].tolist() == [3, 0]
    assert columns[0, :3].tolist() == [3, 17, 39]
    np.testing.assert_array_equal(values[0, :3], A[0, [3, 17, 39]])


@pytest.mark.parametrize("rows", [slice(None), slice(0, 20)])
def test_what_is_not_mostly_zero_is_not_listed(rows):
    A = np.zeros((100, 50), np.float32)
    A[20 if rows == slice(None) else 0 :] = 1  # seen at once, or only after a sample of rows
    assert len(for_any_strides(_listed, A.dtype)(A)[0]) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 8), (16, 16), (17, 15), (33, 50), (5, 100)])
def test_transposed_copy(dtype, m, n):
    A, (frame, out) = _normal(m, n, dtype), _framed(n, m, dtype)
    transpose.transpose(A, out)
    np.testing.assert_array_equal(out, A.T)
    out[...] = 7
    assert (frame == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.1, 1.0])
@pytest.mark.parametrize("add", [False, True])
def test_products_at_an_address(dtype, density, add):
    found = products.products(dtype)
    A, B, before = (
        _bits(40, 60, dtype, density) * _normal(40, 60, dtype),
        _normal(60, 70, dtype),
        _normal(40, 70, dtype),
    )
    for a in (A, np.asfortranarray(A)):  # rows contiguous, or columns
        out = before.copy()
        products.real(found, a, np.pad(B, ((0, 0), (0, 3))), out, add)  # columns beyond the last are not asked for
        _close(out, A, B, before * add)
    bits, out = _bits(40, 60, dtype), before.copy()
    products.bits(found, _packed(bits)[0], B, out, add)
    _close(out, bits, B, before * add)
    products.turned(found, A, np.ascontiguousarray(B.T), out)
    _close(out, A, B)
