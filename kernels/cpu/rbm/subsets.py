"""Products with a matrix of zeros and ones, by sums of subsets of the other's rows: the method of the four Russians.

Source: Arlazarov, Dinic, Kronrod, Faradžev, *On economical construction of the transitive closure of an oriented
graph* (1970). Four terms of a product with bits are the sum of some of four rows of B; there are 16 such sums. They
are made once, 11 additions, and then found for every row of bits by its four bits as a number: one addition instead
of four multiplications.

The rows of B that belong together are g, g + G, g + 2G and g + 3G, of G = ⌈p / 4⌉ groups, so that the bits of one row
become numbers in four loops over neighbours.

Gain: epochs of one machine on MNIST, 1.3 times as fast on two threads and 1.35 times on one; it and lists together 1.6
and 1.8 times ("subsets" in bench/results/ladder_rbm.csv).
"""

import numpy as np
from numba import int32, uint8, uintp

from .._engine.disjoint import disjoint
from .._engine.jit import jit

_TABLES = 8  # groups whose sums are kept at a time, 16 rows of a table each
_BYTES = 512  # of a table's row: tables stay in the second-level cache


@jit
def multiply(A, B, out):
    """out ← out + A B for a matrix A of zeros and ones.

    A : (m, p) float, B : (p, n), out : (m, n), all contiguous
    Cost: m n p / 4 additions of what is read in cache, and 11 n p / 4 for the sums
    """
    groups = (A.shape[1] + 3) // 4
    numbers = np.empty((len(A), (groups + _TABLES - 1) // _TABLES * _TABLES), np.uint8)
    pack(A, groups, numbers)
    _multiply(numbers, B, out)


@jit
def pack(A, groups, numbers):
    """numbers[i, g] ← A[i, g] + 2 A[i, g + G] + 4 A[i, g + 2G] + 8 A[i, g + 3G], G = ``groups``; 0 beyond the last.

    A : (m, p) float, numbers : (m, at least G) uint8
    """
    p = A.shape[1]
    for i in range(len(A)):
        row, bits = numbers[i], A[i]
        for g in range(len(row)):
            row[g] = 0
        for q in range(4):
            first, one = q * groups, A.dtype.type(1 << q)
            for g in range(min(groups, p - first)):
                row[g] += uint8(int32(one * bits[first + g]))


@jit
def _multiply(numbers, B, out):
    p, n, columns = len(B), B.shape[1], _BYTES // B.itemsize
    groups, table, zero = (p + 3) // 4, np.empty((16 * _TABLES, columns), B.dtype), B.dtype.type(0)
    for t in range(len(table)):
        for c in range(columns):
            table[t, c] = zero
    nothing = table[0]  # the sum of no rows
    for left in range(0, n, columns):
        right = min(left + columns, n)
        for first in range(0, groups, _TABLES):
            for g in range(first, min(first + _TABLES, groups)):
                sums = table[16 * (g - first) : 16 * (g - first + 1)]  # of the rows whose bits are set in the number
                for q in range(4):
                    row = B[g + q * groups, left:right] if g + q * groups < p else nothing
                    for s in range(1 << q):
                        _sum(sums[s], row, sums[s + (1 << q)])
            _add(table, numbers, uintp(first), out, uintp(left), uintp(right - left))


@jit
def _sum(x, y, out):
    """out ← x + y, as long as y is."""
    disjoint()
    for c in range(len(y)):
        out[c] = x[c] + y[c]


@jit
def _add(table, numbers, g, out, left, width):
    """out[:, left : left + width] ← that + a row of each table, those that numbers[:, g : g + 8] say."""
    disjoint()
    for i in range(len(out)):
        a, b = uintp(numbers[i, g]), uintp(16) + numbers[i, g + uintp(1)]
        c, d = uintp(32) + numbers[i, g + uintp(2)], uintp(48) + numbers[i, g + uintp(3)]
        e, f = uintp(64) + numbers[i, g + uintp(4)], uintp(80) + numbers[i, g + uintp(5)]
        h, k = uintp(96) + numbers[i, g + uintp(6)], uintp(112) + numbers[i, g + uintp(7)]
        for l in range(width):
            out[i, left + l] += ((table[a, l] + table[b, l]) + (table[c, l] + table[d, l])) + (
                (table[e, l] + table[f, l]) + (table[h, l] + table[k, l])
            )
