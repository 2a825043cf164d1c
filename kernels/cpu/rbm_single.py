"""One Boltzmann machine, small batches: a task does all for its rows, down to their share of the gradient.

With one machine the assignment is known and so is every weight, and nothing has to wait for other tasks' rows: threads
meet once a step. Names are those of ``rbm_blocks``.
"""

import numpy as np
from numba import njit

from .rbm_blocks import add_weighed_row, centre_row, copy_row, energies, views, walk, weigh_row
from .rbm_units import energy_row, outside_row, probabilities_row

TASKS = 4  # as many gradients exist at a time

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def step(
    params, X, lo, hi, centers, weights, visible, n_steps, draw, rows, chains, first, stop, share, L, FK, part
):  # fmt: skip
    """Samples lo … hi − 1, and the chains first … stop − 1, or, where there are no chains (0, d), the samples' own.

    X : (n, d); centers : (1, d); weights : (n,); rows : (n,), or (M,) those of the chains; chains : (M, d), moved on;
    share : the chains' weight; L : (n, 1) ← F of the samples, less that of the chains' ends if these are their own;
    FK : (M,) ← F of where chains end; part : (p,) ← Σ w ∂F over the samples less that over the chains' ends
    """
    (k, d), own = centers.shape, len(chains) == 0
    W, a, b = views(params, k, d)
    r, m, dtype = hi - lo, a.shape[1], X.dtype
    if own:
        first, stop = lo, hi
    c = stop - first
    S, T, H = np.empty((r + c, d), dtype), np.empty((r + c, m), dtype), np.empty((r + c, m), dtype)
    F, row = np.empty(r + c, dtype), np.empty(max(d, m), dtype)
    V, P, v, p = S[:r], T[:r], S[r:], T[r:]
    for i in range(r):
        centre_row(X[lo + i], centers[0], V[i])
    for i in range(c):
        copy_row(V[i] if own else chains[first + i], v[i])
    # One product for samples and chains: BLAS rearranges W once.
    known = r if own else r + c
    np.dot(S[:known], W[0], H[:known])
    for i in range(r):
        F[i] = outside_row(V[i], b, visible) - energy_row(H[i], a[0], P[i])
    for i in range(c):
        if own:
            copy_row(P[i], p[i])
        else:
            probabilities_row(H[r + i], dtype.type(1), a[0], p[i])
    walk(v, H[r:], W[0], a[0], b, k - 1, k, visible, n_steps, draw, np.int64(0), rows[first:stop], p, row)
    energies(v, W[0], a[0], b, visible, H[r:], p, F[r:])
    for i in range(r):
        L[lo + i, 0] = F[i] - F[r + i] if own else F[i]
    if not own:
        for i in range(c):
            copy_row(v[i], chains[first + i])
            FK[first + i] = F[r + i]
    gW, ga, gb = views(part, k, d)
    ga[:] = 0
    gb[:] = 0
    for i in range(r + c):
        w = -weights[lo + i] if i < r else weights[lo + i - r] if own else share
        add_weighed_row(S[i], b, w, visible, gb)
        weigh_row(T[i], w, T[i], ga[0])
    np.dot(S.T, T, gW[0])


@_jit
def add_parts(parts, gradient):
    """Gradient ← the parts' sum, added up in float64 in their order.

    parts : (n_parts, p) float; gradient : (p,)
    """
    block = 1024
    total = np.empty(block)
    for start in range(0, len(gradient), block):
        out = gradient[start : start + block]
        for i in range(len(out)):
            total[i] = 0
        for t in range(len(parts)):
            part = parts[t, start : start + block]
            for i in range(len(out)):
                total[i] += part[i]
        for i in range(len(out)):
            out[i] = total[i]
