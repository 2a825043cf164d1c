"""One Boltzmann machine, small batches: two phases, rows and then features of the gradient, for threads at work.

With one machine the assignment is known and so is every weight: a task does all for its rows, and the statistics of
all rows wait side by side for the gradient. Threads meet in compiled code (``phases``). Names are those of
``rbm_blocks``.
"""

import numpy as np
from numba import njit

from .phases import finish, take, wait
from .product import multiply
from .rbm_blocks import add_weighed_row, centre_row, copy_row, energies, into_hidden, views, walk, weigh_row
from .rbm_units import energy_row, outside_row, probabilities_row

TASKS, PARTS = 4, 4  # most of the first phase, and of the second
PHASES = 2

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def _rows(
    params, X, task, centers, weights, visible, n_steps, draw, rows, chains, share, L, FK, S_all, T_all, bias,
    visible_bias
):  # fmt: skip
    """A task of the first phase; see ``run``. bias : (m,), visible_bias : (d,), what its rows add to ∂a and ∂b."""
    (k, d), own = centers.shape, len(chains) == 0
    W, a, b = views(params, k, d)
    lo, hi, first, stop, start = task[0], task[1], task[2], task[3], task[4]
    r, c, m, dtype = hi - lo, stop - first, a.shape[1], X.dtype
    S, T, H = S_all[start : start + r + c], T_all[start : start + r + c], np.empty((r + c, m), dtype)
    F, row = np.empty(r + c, dtype), np.empty(max(d, m), dtype)
    V, P, v, p = S[:r], T[:r], S[r:], T[r:]
    for i in range(r):
        centre_row(X[lo + i], centers[0], V[i])
    for i in range(c):
        copy_row(V[i] if own else chains[first + i], v[i])
    # One product for samples and chains.
    known = r if own else r + c
    into_hidden(S[:known], W[0], H[:known])
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
    bias[:] = 0
    visible_bias[:] = 0
    for i in range(r + c):
        w = -weights[lo + i] if i < r else weights[lo + i - r] if own else share
        add_weighed_row(S[i], b, w, visible, visible_bias)
        weigh_row(T[i], w, T[i], bias)


@_jit
def run(
    counters, tasks, parts, params, X, centers, weights, visible, n_steps, draw, rows, chains, share, L, FK, S, T,
    biases, visible_biases, W
):  # fmt: skip
    """Tasks of both phases, until none is left; False if a phase's end is long in coming: call it again then.

    tasks : (t, 5) int64, rows lo … hi − 1 of X, the chains first … stop − 1, and where their statistics begin in S, T;
    parts : (u, 2), features of the gradient; X : (n, d); centers : (1, d); weights : (n,); chains : (M, d), moved on,
    or (0, d), in which case the samples' own are first … stop − 1; rows : (n,) or (M,), the chains' places
    share : the chains' weight; L : (n, 1) ← F of the samples, less that of the chains' ends if these are their own;
    FK : (M,) ← F of where chains end; S : (·, d), T : (·, m) ← v and −w σ or w σ of all of them; biases : (t, m),
    visible_biases : (t, d); W : (d, m) ← Σ w ∂F/∂W over the samples less that over the chains' ends
    """
    while True:
        t = take(counters, np.int64(0))
        if t >= len(tasks):
            break
        _rows(
            *(params, X, tasks[t], centers, weights, visible, n_steps, draw, rows, chains, share, L, FK, S, T),
            *(biases[t], visible_biases[t]),
        )
        finish(counters, np.int64(0))
    if not wait(counters, np.int64(0), len(tasks)):
        return False
    while True:
        u = take(counters, np.int64(1))
        if u >= len(parts):
            return True
        left, right = parts[u, 0], parts[u, 1]
        multiply(S[:, left:right].T, T, W[left:right])
        finish(counters, np.int64(1))
