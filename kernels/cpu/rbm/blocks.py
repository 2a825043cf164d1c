"""Tasks of ``kernels.cpu.rbm``: a block of rows with all that happens to it, products and the loops around them.

A call never takes the interpreter's lock, for which threads with products of some ten microseconds would mostly wait.
A block's units lie in a few buffers, which stay in cache along its chain.

V : (r, d), visible units; H : (r, m), hidden ones; W : (d, m), a : (m,), b : (d,), those of cluster j; draw : (4,)
uint32, the key, step and stream; places : (r,) int64, whose random numbers the rows get; ``row`` : a buffer of at
least d and m entries; products : those of the dtype, see ``products``. Else see ``reference.rbm``. Constants passed on
are given a type: each literal would be a compiled signature of its own.
"""

import numpy as np
from numba import njit, uint32

from .._engine.arrays import aligned, copy_row
from .hidden_products import into_hidden, into_visible, into_weights
from .units import GAUSSIAN, annealed_row, bernoulli_row, energy_row, gaussian_row, outside_row, probabilities_row

VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers
PIECE = 2048  # rows of one product in the gradient: a chunk's data and as many rows of chains

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def views(params, k, d):
    """W (k, d, m), a (k, m), b (d,), as views."""
    m = (len(params) - d) // (k * (d + 1))
    W, a = params[: k * d * m].reshape(k, d, m), params[k * d * m : k * (d + 1) * m].reshape(k, m)
    return W, a, params[k * (d + 1) * m :]


@_jit
def centre_row(x, c, out):
    """Out ← x − c."""
    for i in range(len(out)):
        out[i] = x[i] - c[i]


@_jit
def add_row(v, c, out):
    """Out ← v + c; out may be v."""
    for i in range(len(out)):
        out[i] = v[i] + c[i]


@_jit
def energies(V, W, a, b, visible, H, P, F, products):
    """F (r,) ← free energies of V, P (r, m) ← σ(a + V W); one pass over the product, which is left in H.

    W and H may have more columns than there are units.
    """
    into_hidden(V, W, H, products)
    for i in range(len(V)):
        F[i] = outside_row(V[i], b, visible) - energy_row(H[i, : len(a)], a, P[i])


@_jit
def sample_rows(A, scale, offset, gaussian, draw, layer, substep, places, width, column, row):
    """A ← units sampled at scale · A + offset, in place; columns beyond the last unit stay."""
    k0, k1, c2, c3 = draw[0], draw[1], draw[2], uint32(draw[3] + layer)
    c1, n = uint32(substep), len(offset)
    for i in range(len(A)):
        first = places[i] * width + column
        if gaussian:
            gaussian_row(A[i, :n], scale, offset, k0, k1, c1, c2, c3, first, row[:n])
            copy_row(row, A[i, :n])
        else:
            probabilities_row(A[i, :n], scale, offset, row[:n])
            bernoulli_row(row[:n], k0, k1, c1, c2, c3, first, A[i, :n])


@_jit
def draw_rows(P, draw, substep, places, width, column, H):
    """H ← binary units of known probabilities P; H may have more columns, which stay."""
    m = P.shape[1]
    k0, k1, c1, c2, c3 = draw[0], draw[1], uint32(substep), draw[2], draw[3]
    for i in range(len(P)):
        bernoulli_row(P[i], k0, k1, c1, c2, c3, places[i] * width + column, H[i, :m])


@_jit
def walk(V, H, W, a, b, j, k, visible, n_steps, draw, substep, places, P, row, products):
    """``n_steps`` of Gibbs sampling, in place.

    W : (d, m), or with columns of zeros besides; H : (r, W.shape[1])
    P : (r, m), σ(a + V W) where it is known already, else (0, m)
    """
    one, d, m = V.dtype.type(1), len(b), len(a)
    for t in range(substep, substep + n_steps):
        if t == substep and len(P):
            draw_rows(P, draw, t, places, k * m, j * m, H)
        else:
            into_hidden(V, W, H, products)
            sample_rows(H, one, a, np.bool_(0), draw, np.int64(0), t, places, k * m, j * m, row)
        into_visible(H, W, V, products)
        sample_rows(V, one, b, visible == GAUSSIAN, draw, np.int64(VISIBLE_STREAM), t, places, k * d, j * d, row)


@_jit
def _whole_lines(m, like):
    """Columns that make whole cache lines of a row, m or a few more."""
    line = 64 // like.itemsize
    return (m + line - 1) // line * line


@_jit
def divergence(
    params, X, order, lo, hi, first, stop, centers, assign, visible, n_steps, draw, rows, L, slot, P0, VK, PK, products
):
    """Samples order[lo:hi] under clusters first … stop − 1: free energies, less those of the chains' ends.

    n_steps : -1 for no chain; L : (n, k); assign : (n,) int64, or (0,) where it is not known
    P0, PK : (slots, n, m), VK : (slots, n, d): in ``slot`` they get what the gradient needs of each sample's own
    cluster, or, where that is not known, of the one with the lowest L of these; without slots nothing is kept
    """
    k, d = centers.shape
    W, a, b = views(params, k, d)
    r, m, dtype = hi - lo, a.shape[1], X.dtype
    columns = m if k == 1 else _whole_lines(m, X)
    V, H, P = aligned(r, d, X), aligned(r, columns, X), aligned(r, m, X)
    F, row, places, lowest = np.empty(r, dtype), np.empty(max(d, m), dtype), np.empty(r, np.int64), np.full(r, np.inf)
    for i in range(r):
        places[i] = rows[order[lo + i]]
    # Products are faster in a place that is in cache, and whose rows begin with a cache line.
    Wj = W[first] if k == 1 else aligned(d, columns, X)
    Wj[:, m:] = 0
    for j in range(first, stop):
        for f in range(d if k > 1 else 0):
            copy_row(W[j, f], Wj[f, :m])
        for i in range(r):
            centre_row(X[order[lo + i]], centers[j], V[i])
        energies(V, Wj, a[j], b, visible, H, P, F, products)
        if n_steps >= 0:
            walk(V, H, Wj, a[j], b, j, k, visible, n_steps, draw, np.int64(0), places, P, row, products)
            into_hidden(V, Wj, H, products)
        for i in range(r):
            s, loss = order[lo + i], F[i]
            if n_steps >= 0:
                loss -= outside_row(V[i], b, visible) - energy_row(H[i, :m], a[j], row[:m])
            L[s, j] = loss
            if len(P0) and (assign[s] == j if len(assign) else j == first or loss < lowest[i]):
                lowest[i] = loss
                copy_row(P[i], P0[slot, s])
                if n_steps >= 0:
                    copy_row(V[i], VK[slot, s])
                    copy_row(row, PK[slot, s])


@_jit
def persist(params, chains, hidden, j, lo, hi, visible, n_steps, draw, F, P, products):
    """Chains lo … hi − 1 of cluster j go on; F (k, M) ← free energies of where they end, P (k, M, m) ← σ(a + Wᵀv)."""
    k, _, d = chains.shape
    W, a, b = views(params, k, d)
    m, one, gaussian = a.shape[1], chains.dtype.type(1), visible == GAUSSIAN
    V, H, row = chains[j, lo:hi], hidden[j, lo:hi], np.empty(max(d, m), chains.dtype)
    A, places = aligned(hi - lo, m, chains), np.arange(lo, hi)
    for t in range(n_steps):
        if t > 0:
            into_hidden(V, W[j], H, products)
            sample_rows(H, one, a[j], np.bool_(0), draw, np.int64(0), t - 1, places, k * m, j * m, row)
        into_visible(H, W[j], V, products)
        sample_rows(V, one, b, gaussian, draw, np.int64(VISIBLE_STREAM), t, places, k * d, j * d, row)
    energies(V, W[j], a[j], b, visible, A, P[j, lo:hi], F[j, lo:hi], products)
    if n_steps:
        draw_rows(P[j, lo:hi], draw, n_steps - 1, places, k * m, j * m, H)


@_jit
def own_chains(params, k, V, order, lo, hi, j, visible, n_steps, draw, substep, rows, products):
    """Chains order[lo:hi], all of cluster j, go on in place."""
    d = V.shape[1]
    W, a, b = views(params, k, d)
    v, H = aligned(hi - lo, d, V), aligned(hi - lo, a.shape[1], V)
    row, own = np.empty(max(W.shape[1:]), V.dtype), order[lo:hi]
    for i in range(hi - lo):
        copy_row(V[own[i]], v[i])
    walk(v, H, W[j], a[j], b, j, k, visible, n_steps, draw, substep, rows[own], H[:0], row, products)
    for i in range(hi - lo):
        copy_row(v[i], V[own[i]])


@_jit
def own_hidden(params, X, order, lo, hi, j, centers, P, products):
    """P ← σ(a + Wᵀ(x − c)) of samples order[lo:hi], all of cluster j."""
    k, d = centers.shape
    W, a, _ = views(params, k, d)
    V, H = aligned(hi - lo, d, X), aligned(hi - lo, a.shape[1], X)
    for i in range(hi - lo):
        centre_row(X[order[lo + i]], centers[j], V[i])
    into_hidden(V, W[j], H, products)
    for i in range(hi - lo):
        probabilities_row(H[i], X.dtype.type(1), a[j], P[order[lo + i]])


@_jit
def means_rows(A, b, visible, row):
    """A ← σ(A + b), or A + b for Gaussian units."""
    for i in range(len(A)):
        if visible == GAUSSIAN:
            add_row(A[i], b, A[i])
        else:
            probabilities_row(A[i], A.dtype.type(1), b, row[: len(b)])
            copy_row(row, A[i])


@_jit
def own_visible(params, H, order, lo, hi, j, centers, visible, X, products):
    """X ← E[v | h] + c of samples order[lo:hi], all of cluster j."""
    k, d = centers.shape
    W, _, b = views(params, k, d)
    h, V, row = aligned(hi - lo, H.shape[1], H), aligned(hi - lo, d, H), np.empty(d, H.dtype)
    for i in range(hi - lo):
        copy_row(H[order[lo + i]], h[i])
    into_visible(h, W[j], V, products)
    means_rows(V, b, visible, row)
    for i in range(hi - lo):
        add_row(V[i], centers[j], X[order[lo + i]])


@_jit
def free_energies(params, X, lo, hi, j, centers, visible, F, products):
    """F[lo:hi, j] ← F_j(x − c_j)."""
    k, d = centers.shape
    W, a, b = views(params, k, d)
    r, m = hi - lo, a.shape[1]
    V, H, P, own = aligned(r, d, X), aligned(r, m, X), aligned(r, m, X), np.empty(r, X.dtype)
    for i in range(r):
        centre_row(X[lo + i], centers[j], V[i])
    energies(V, W[j], a[j], b, visible, H, P, own, products)
    for i in range(r):
        F[lo + i, j] = own[i]


@_jit
def mean_field(params, X, lo, hi, j, centers, visible, n_steps, L, products):
    """L[lo:hi, j], with means along the chain."""
    k, d = centers.shape
    W, a, b = views(params, k, d)
    r, m, dtype = hi - lo, a.shape[1], X.dtype
    V, H, P = aligned(r, d, X), aligned(r, m, X), aligned(r, m, X)
    F, G, row = np.empty(r, dtype), np.empty(r, dtype), np.empty(d, dtype)
    for i in range(r):
        centre_row(X[lo + i], centers[j], V[i])
    energies(V, W[j], a[j], b, visible, H, P, F, products)
    G[:] = F
    for _ in range(n_steps):
        into_visible(P, W[j], V, products)
        means_rows(V, b, visible, row)
        energies(V, W[j], a[j], b, visible, H, P, G, products)
    for i in range(r):
        L[lo + i, j] = F[i] - G[i]


@_jit
def weigh_row(p, w, t, total):
    """T ← w p, and total += t."""
    for l in range(len(t)):
        t[l] = w * p[l]
        total[l] += t[l]


@_jit
def add_weighed_row(v, b, w, visible, total):
    """Total += w v, or w (v − b) for Gaussian units."""
    if visible == GAUSSIAN:
        for f in range(len(total)):
            total[f] += w * (v[f] - b[f])
    else:
        for f in range(len(total)):
            total[f] += w * v[f]


@_jit
def statistics(
    j, left, right, X, centers, own, weights, P0, V, others, share, PK, b, visible, gradient, total, sums, products
):
    """Cluster j's gradient of Σ w F over its own samples less that over ``others``, features left … right − 1.

    X : (n, d), own : int64, cluster j's rows of X, weights and P0; V : (n', d), others : int64, rows of V, share and PK
    gradient : (p,), where it is put; total : (p,) float64, to which it is added instead, or (0,), which wants no more
    than PIECE rows; sums : (k, d) float64, to which the visible bias's is added
    """
    (k, d), m, dtype = centers.shape, P0.shape[1], X.dtype
    width, count = right - left, len(own) + len(others)
    W = gradient[j * d * m : (j + 1) * d * m].reshape(d, m)[left:right]
    a = gradient[k * d * m + j * m : k * d * m + (j + 1) * m]
    for start in range(0, max(count, 1), PIECE):
        end = min(start + PIECE, count)
        S, T, f = aligned(end - start, width, X), aligned(end - start, m, X), np.zeros(width, dtype)
        bias = np.zeros(m, dtype)
        for r in range(start, end):
            s, t = S[r - start], T[r - start]
            if r < len(own):
                i = own[r]
                w, p = -weights[i], P0[i]
                centre_row(X[i, left:right], centers[j, left:right], s)
            else:
                i = others[r - len(own)]
                w, p = share[i], PK[i]
                copy_row(V[i, left:right], s)
            weigh_row(p, w, t, bias)
            add_weighed_row(s, b[left:right], w, visible, f)
        into_weights(S, T, min(max(len(own) - start, 0), end - start), W, products)
        if left == 0:
            a[:] = bias
        for e in range(width):
            sums[j, left + e] += f[e]
        if len(total):
            begin = (j * d + left) * m
            for i in range(begin, begin + width * m):
                total[i] += gradient[i]
            if left == 0:
                for i in range(k * d * m + j * m, k * d * m + (j + 1) * m):
                    total[i] += gradient[i]


@_jit
def anneal(params, base, j, lo, hi, visible, betas, draw, log_weights, products):
    """log_weights[j, lo:hi] of annealed importance sampling; see ``reference.rbm.ais``."""
    k, d = base.shape
    W, a, b = views(params, k, d)
    r, m, dtype = hi - lo, a.shape[1], params.dtype
    V, H = aligned(r, d, params), aligned(r, m, params)
    row, bias, places = np.empty(max(d, m), dtype), np.empty(d, dtype), np.arange(lo, hi)
    nothing, one, gaussian = np.zeros(m, dtype), dtype.type(1), visible == GAUSSIAN
    # 1. sample of the base model
    V[:] = 0
    sample_rows(V, one, base[j], gaussian, draw, np.int64(VISIBLE_STREAM), np.int64(0), places, k * d, j * d, row)
    for i in range(r):
        log_weights[j, lo + i] = 0
    for t in range(1, len(betas)):
        beta, before = dtype.type(betas[t]), dtype.type(betas[t - 1])
        # 2. what the next temperature adds
        into_hidden(V, W[j], H, products)
        for i in range(r):
            if gaussian:
                outside = outside_row(V[i], base[j], visible) - outside_row(V[i], b, visible)
            else:
                for f in range(d):
                    bias[f] = base[j, f] - b[f]
                outside = outside_row(V[i], bias, visible)
            added = (beta - before) * outside + annealed_row(H[i], a[j], beta, before)
            log_weights[j, lo + i] += added
        if t == len(betas) - 1:
            break
        # 3. hidden units
        sample_rows(H, beta, nothing, np.bool_(0), draw, np.int64(0), t, places, k * m, j * m, row)
        # 4. visible units
        into_visible(H, W[j], V, products)
        for f in range(d):
            bias[f] = (one - beta) * base[j, f] + beta * b[f]
        sample_rows(V, beta, bias, gaussian, draw, np.int64(VISIBLE_STREAM), t, places, k * d, j * d, row)
