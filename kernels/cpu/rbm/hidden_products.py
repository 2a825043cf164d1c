"""Products of visible or hidden units with the weights: those of ``products``, as the units' values allow.

Also ``np.dot``, which is BLAS here, one thread by ``pool``. V : (r, d), visible units; H : (r, m), hidden ones;
W : (d, m). W, H and T may have a few columns more than there are units, W's and H's of zeros.
"""

import numpy as np
from numba import njit

from .._engine.arrays import aligned
from .._engine.transpose import transpose
from .products import SEVERAL, bits, real, turned
from .subsets import groups, pack_columns, pack_rows

_FEW = 64  # rows up to which tiles beat BLAS in H Wᵀ. Measured.
_TURNED = 64  # rows of W of which there is a transposed copy at a time: a block of ``subsets``

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def packed_rows(A):
    """A's rows as packed bits, (len(A), groups(A.shape[1])), or (0, ·) if they are too few or no bits."""
    packed = np.empty((len(A) if len(A) >= SEVERAL else 0, groups(A.shape[1])), np.uint8)
    return packed if len(packed) and pack_rows(A, packed) else packed[:0]


@_jit
def into_hidden(V, W, H, products):
    """H ← V W; whether V was taken for bits."""
    packed = packed_rows(V)
    if len(packed):
        bits(products, packed, W, H, np.bool_(0))
    else:
        real(products, V, W, H, np.bool_(0))
    return len(packed) > 0


@_jit
def bits_into_visible(packed, W, V, products):
    """V ← H Wᵀ for packed bits. Of Wᵀ there is a little at a time, for all of it would fill a cache."""
    d, m = W.shape
    upright = aligned(m, min(d, _TURNED), W)
    for left in range(0, d, _TURNED):
        right = min(left + _TURNED, d)
        piece = upright[:, : right - left]
        transpose(W[left:right], piece)
        bits(products, packed, piece, V[:, left:right], np.bool_(0))


@_jit
def into_visible(H, W, V, products):
    """V ← H Wᵀ."""
    packed = packed_rows(H)
    if len(packed):
        bits_into_visible(packed, W, V, products)
    elif len(H) <= _FEW:
        turned(products, H, W, V)
    else:
        np.dot(H, W.T, V)


@_jit
def _packed_columns(A, wanted):
    """A's columns as packed bits, (groups(len(A)), A.shape[1]), or (0, ·) if they are not wanted, or no bits."""
    packed = np.empty((groups(len(A)) if wanted else 0, A.shape[1]), np.uint8)
    return packed if len(packed) and pack_columns(A, np.int64(0), A.shape[1], packed) else packed[:0]


@_jit
def into_weights(S, T, cut, W, products):
    """W ← Sᵀ T, for rows of data before ``cut`` and of chains after, either of which may be bits."""
    data, chains = _packed_columns(S[:cut], len(W) >= SEVERAL), _packed_columns(S[cut:], len(W) >= SEVERAL)
    lo, hi = cut if len(data) else 0, cut if len(chains) else len(S)
    added = lo < hi or len(S) == 0
    if added:
        real(products, S[lo:hi].T, T[lo:hi], W, np.bool_(0))
    if len(data):
        bits(products, data.T, T[:cut], W, added)
    if len(chains):
        bits(products, chains.T, T[cut:], W, added or len(data) > 0)
