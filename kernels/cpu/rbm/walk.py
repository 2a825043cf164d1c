"""Gibbs chains of a block of rows under one machine, and where they end: the formulas of ``reference.rbm``, compiled.

One call does all that happens to a block: two threads that take Python's lock around every product mostly wait for it.

V : (r, d), visible units in the machine's coordinates, H : (r, m), hidden ones, contiguous, overwritten; places : (r,)
int64, whose random numbers the rows get.
"""

from collections import namedtuple

import numpy as np
from numba import njit

from .products import product, turned_product
from .units import GAUSSIAN, add_normals, draw_bits, probabilities, softplus_and_probabilities

VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers

Machine = namedtuple("Machine", "W a b j k")  # W : (d, m), a : (m,), b : (d,) of machine j of k

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)
# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
_lanes = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})


def views(params, k, d):
    """W (k, d, m), a (k, m), b (d,), as views."""
    m = (len(params) - d) // (k * (d + 1))
    W, a = params[: k * d * m].reshape(k, d, m), params[k * d * m : k * (d + 1) * m].reshape(k, m)
    return W, a, params[k * (d + 1) * m :]


def machines(params, k, d):
    """The k machines, list of Machine."""
    W, a, b = views(params, k, d)
    return [Machine(W[j], a[j], b, j, k) for j in range(k)]


def words(key, substep, step, stream):
    """(5,) uint32 for ``units``."""
    return np.array([*key, substep, step, stream], np.uint32)


@_lanes
def _sum(x):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i]
    return total


@_lanes
def _energy_bernoulli(v, b):
    """−bᵀv."""
    total = v.dtype.type(0)
    for i in range(len(v)):
        total += v[i] * b[i]
    return -total


@_lanes
def _energy_gaussian(v, b):
    """½‖v − b‖²."""
    total = v.dtype.type(0)
    for i in range(len(v)):
        total += (v[i] - b[i]) * (v[i] - b[i])
    return v.dtype.type(0.5) * total


@_jit
def _bits(A, scale, offset, words, places, width, column):
    probabilities(A, scale, offset)
    draw_bits(A, words, places, width, column)


@_jit
def _walk(machine, gaussian, V, H, n_steps, words, lag, places, F, P):
    """h → v → h → … → v, n_steps of v; then F (r,) ← free energies of V, P (r, m) ← σ(a + V W).

    words : of the hidden units' first step; lag : int, steps by which hidden units are drawn later than they count
    n_steps : int, 0 for F and P of V as it is, H being without use; F may be (0,), where it and P are not wanted
    """
    W, a, b, j, k = machine
    (d, m), one, replace = W.shape, V.dtype.type(1), np.bool_(0)  # a literal would be a signature of its own
    hidden, visible = words.copy(), words.copy()
    visible[4] += np.uint32(VISIBLE_STREAM)
    for t in range(n_steps):
        if t > 0:
            # 1. hidden units
            product(V, W, H, replace)
            hidden[2] = words[2] + np.uint32(t - lag)
            _bits(H, one, a, hidden, places, k * m, j * m)
        # 2. visible units
        turned_product(H, W, V)
        visible[2] = words[2] + np.uint32(t)
        if gaussian:
            add_normals(V, one, b, visible, places, k * d, j * d)
        else:
            _bits(V, one, b, visible, places, k * d, j * d)
    if len(F) == 0:
        return
    # 3. free energies
    A = np.empty(P.shape, P.dtype)
    product(V, W, A, replace)
    softplus_and_probabilities(A, one, a, P)
    for i in range(len(V)):
        F[i] = (_energy_gaussian(V[i], b) if gaussian else _energy_bernoulli(V[i], b)) - _sum(A[i])


def free_energies(machine, visible, V):
    """F (r,), and σ(a + V W) (r, m)."""
    F, P = np.empty(len(V), V.dtype), np.empty((len(V), len(machine.a)), V.dtype)
    _walk(machine, visible == GAUSSIAN, V, P[:0], 0, np.zeros(5, np.uint32), 0, np.empty(0, np.int64), F, P)
    return F, P


def chain(machine, visible, V, P, n_steps, words, places, energies=True):
    """v → h → v → … → v, n_steps, V moved on; P : (r, m), σ(a + V W) of where it begins, moved on; returns F (r,).

    words : of the first step's hidden units; energies : bool; without, neither F nor P is computed
    """
    F, H, m = np.empty(len(V) if energies else 0, V.dtype), P.copy(), P.shape[1]
    if n_steps:
        draw_bits(H, words, places, machine.k * m, machine.j * m)
    _walk(machine, visible == GAUSSIAN, V, H, n_steps, words, 0, places, F, P)
    return F


def persist(machine, visible, V, H, n_steps, words, places):
    """Persistent chains h → v → h → … → h, both moved on; returns F (r,) of where V ends and σ(a + V W) (r, m)."""
    F, P, m = np.empty(len(V), V.dtype), np.empty_like(H), H.shape[1]
    _walk(machine, visible == GAUSSIAN, V, H, n_steps, words, 1, places, F, P)
    if n_steps:
        H[...] = P
        last = words.copy()
        last[2] += np.uint32(n_steps - 1)
        draw_bits(H, last, places, machine.k * m, machine.j * m)
    return F, P


def hidden_probabilities(machine, V):
    """σ(a + V W), (r, m)."""
    P = np.empty((len(V), len(machine.a)), V.dtype)
    product(V, machine.W, P, False)
    probabilities(P, P.dtype.type(1), machine.a)
    return P


def visible_means(machine, visible, H):
    """σ(b + H Wᵀ), or b + H Wᵀ for Gaussian units, (r, d)."""
    A = H @ machine.W.T
    if visible == GAUSSIAN:
        return A + machine.b
    probabilities(A, A.dtype.type(1), machine.b)
    return A
