"""Tasks of ``rbm_single``: blocks of visible units with all that they take part in, and blocks of rows.

Names are those of ``rbm_blocks``; in arrays of rows the n samples come first and then the M chains.
"""

from collections import namedtuple

import numpy as np
from numba import njit, uint32

from .._engine.arrays import copy_row, fetch_row
from .blocks import VISIBLE_STREAM, add_weighed_row, centre_row
from .hidden_products import bits_into_visible, into_hidden
from .products import SEVERAL, bits, real, turned
from .subsets import groups, pack_columns, pack_rows
from .units import GAUSSIAN, bernoulli_row, energy_row, gaussian_row, outside_row, probabilities_row

# X : (n, d), center : (d,), weights : (n,); share : weight of a chain that belongs to no sample; places : (M,), rows
# of the chains' random numbers; V : (M, d), where chains stand
Problem = namedtuple("Problem", "W a b visible X center centred weights share own n_steps draw places V products")
# S : (n, d), centred samples; H : (blocks, n + M, m), their summands of pre-activations; T : (n + M, m), w σ, for
# samples −w σ, in the place of the first summands; F : (blocks + 1, n + M), summands of the free energy; bits : (M, m),
# the chains' hidden units, and packed_H : (M, groups(m)), packed; known : (blocks, 2), whether a block's units, of the
# samples and of the chains, were taken for bits; if so their columns are packed, block after block: see `_across`. What
# a thread writes lies together, for two that write to one cache line wait for each other.
Work = namedtuple("Work", "S H T F bits known across packed_H")
Gradient = namedtuple("Gradient", "W a b")  # as the parameters

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


@_jit
def _across(left, right, rows, work):
    """Packed columns of a block of visible units, (groups(r), right − left)."""
    n = len(work.S)
    G, width = groups(n) + groups(len(work.T) - n), right - left
    every = work.across[G * left : G * right].reshape(G, width)
    return every[: groups(n)] if rows.start == 0 else every[groups(n) :]


@_jit
def _weight(row, problem):
    """Of a row's energy in the gradient."""
    n = len(problem.X)
    if row < n:
        return -problem.weights[row]
    return problem.weights[row - n] if problem.own else problem.share


@_jit
def _into_hidden(V, first, block, left, right, problem, work):
    """What a block of visible units adds to the hidden units' pre-activations. V : (r, d), rows from ``first`` on."""
    H = work.H[block, first : first + len(V)]
    known = into_hidden(V[:, left:right], problem.W[left:right], H, problem.products)
    work.known[block, min(first, 1)] = known


@_jit
def _account(V, first, block, left, right, added, problem, work, gradient):
    """What a block of visible units adds to F, its ∂b, or what is ``added`` to that, and the units packed for ∂W."""
    b, total = problem.b[left:right], np.zeros(right - left, V.dtype)
    for i in range(len(V)):
        work.F[1 + block, first + i] = outside_row(V[i, left:right], b, problem.visible)
        add_weighed_row(V[i, left:right], b, _weight(first + i, problem), problem.visible, total)
    if added:
        accumulate_row(gradient.b[left:right], total)
    else:
        copy_row(total, gradient.b[left:right])
    if work.known[block, min(first, 1)]:
        pack_columns(V, left, right, _across(left, right, slice(first, first + len(V)), work))


@_jit
def data(block, left, right, problem, work, gradient):
    """A block of the samples' visible units."""
    n = len(problem.X)
    if not problem.centred:
        for i in range(n):
            centre_row(problem.X[i, left:right], problem.center[left:right], work.S[i, left:right])
    _into_hidden(work.S, np.int64(0), block, left, right, problem, work)
    _account(work.S, np.int64(0), block, left, right, not problem.own, problem, work, gradient)


@_jit
def _add_blocks(row, work):
    """A row's pre-activations without bias, the sum over blocks of visible units."""
    total = work.H[0, row]
    for block in range(1, len(work.H)):
        accumulate_row(total, work.H[block, row])
    return total


@_jit
def _draw(chain, substep, P, problem, work):
    """A chain's hidden units from their probabilities, before they are packed."""
    draw, first = problem.draw, problem.places[chain] * len(P)
    bernoulli_row(P, draw[0], draw[1], uint32(substep), draw[2], draw[3], first, work.bits[chain])


@_jit
def energies(first, stop, substep, problem, work):
    """Rows' part of F that hidden units make, and T; hidden units of chains that begin here or end here for now."""
    n, p = len(problem.X), np.empty(len(problem.a), work.S.dtype)
    draws, chains = problem.own == (stop <= n), 0 if problem.own else n
    for row in range(first, stop):
        work.F[0, row] = -energy_row(_add_blocks(row, work), problem.a, p)
        if draws:
            _draw(row - chains, substep, p, problem, work)
        scale_row(p, _weight(row, problem), work.T[row])
    if draws and problem.own:
        pack_hidden(first, stop, work)


@_jit
def accumulate_row(total, v):
    """Total += v."""
    for i in range(len(total)):
        total[i] += v[i]


@_jit
def scale_row(p, w, out):
    """Out ← w p."""
    for l in range(len(out)):
        out[l] = w * p[l]


@_jit
def sample(first, stop, substep, problem, work):
    """Hidden units of some chains."""
    p, one = np.empty(len(problem.a), work.S.dtype), work.S.dtype.type(1)
    for chain in range(first, stop):
        probabilities_row(_add_blocks(len(problem.X) + chain, work), one, problem.a, p)
        _draw(chain, substep, p, problem, work)
    pack_hidden(first, stop, work)


@_jit
def pack_hidden(first, stop, work):
    """Some chains' hidden units, for products."""
    pack_rows(work.bits[first:stop], work.packed_H[first:stop])


@_jit
def visible(block, left, right, substep, problem, work, gradient):
    """A block of the chains' visible units, and what follows of them."""
    n, d, draw, V = len(problem.X), len(problem.b), problem.draw, problem.V
    if len(V) >= SEVERAL:
        bits_into_visible(work.packed_H, problem.W[left:right], V[:, left:right], problem.products)
    else:
        turned(problem.products, work.bits, problem.W[left:right], V[:, left:right])
    k0, k1, c1, c2, c3 = draw[0], draw[1], uint32(substep), draw[2], uint32(draw[3] + VISIBLE_STREAM)
    early = not problem.own and substep == 0
    b, row, one = problem.b[left:right], np.empty(right - left, V.dtype), V.dtype.type(1)
    for chain in range(len(V)):
        v, first = V[chain, left:right], problem.places[chain] * d + left
        if early and chain < n:  # while there is something else to do
            fetch_row(problem.X, chain, left, right)
        if problem.visible == GAUSSIAN:
            gaussian_row(v, one, b, k0, k1, c1, c2, c3, first, row)
            copy_row(row, v)
        else:
            probabilities_row(v, one, b, row)
            bernoulli_row(row, k0, k1, c1, c2, c3, first, v)
    _into_hidden(V, n, block, left, right, problem, work)
    if substep == problem.n_steps - 1:
        _account(V, n, block, left, right, problem.own, problem, work, gradient)


@_jit
def statistics(block, left, right, problem, work, gradient):
    """A block of ∂W."""
    n, W, added = len(problem.X), gradient.W[left:right], np.bool_(0)
    for V, rows in ((work.S, slice(0, n)), (problem.V, slice(n, len(work.T)))):
        if work.known[block, min(rows.start, 1)]:
            bits(problem.products, _across(left, right, rows, work).T, work.T[rows], W, added)
        else:
            real(problem.products, V[:, left:right].T, work.T[rows], W, added)
        added = True


@_jit
def hidden_bias(work, gradient):
    """∂a."""
    total = np.zeros(len(gradient.a), work.T.dtype)
    for i in range(len(work.T)):
        accumulate_row(total, work.T[i])
    copy_row(total, gradient.a)
