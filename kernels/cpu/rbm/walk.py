"""Gibbs chains of a block of rows under one machine, and where they end: the formulas of ``reference.rbm``, compiled.

One call is a whole chain of binary units, for two threads that take Python's lock around every product wait for it:
epochs of one machine and of ten are 1.1 and 1.2 times as long.

V : (r, d), visible units in the machine's coordinates, H : (r, m), hidden ones, contiguous, overwritten; places : (r,)
int64, whose random numbers the rows get.
"""

from collections import namedtuple

import numpy as np

from .._engine.jit import compiled, jit
from .products import SEVERAL, product, transpose
from .units import BERNOULLI, GAUSSIAN, add_normals, draw_bits, probabilities, softplus_and_probabilities

VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers

Machine = namedtuple("Machine", "W a b j k")  # W : (d, m), a : (m,), b : (d,) of machine j of k

# Added up in lanes, for a plain sum waits for every addition; no sampled bit depends on it.
_lanes = compiled(fastmath={"reassoc"})


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


@jit
def _bits(A, scale, offset, words, places, width, column):
    probabilities(A, scale, offset)
    draw_bits(A, words, places, width, column)


@jit
def _walk(machine, V, H, n_steps, words, lag, places):
    """h → v → h → … → v, n_steps of binary v.

    words : of the hidden units' first step; lag : int, steps by which hidden units are drawn later than they count
    """
    W, a, b, j, k = machine
    (d, m), one, replace = W.shape, V.dtype.type(1), np.bool_(0)  # a literal would be a signature of its own
    hidden, visible = words.copy(), words.copy()
    visible[4] += np.uint32(VISIBLE_STREAM)
    several = len(V) >= SEVERAL
    turned = np.empty((m, d) if several else (0, 0), W.dtype)
    if several:
        transpose(W, turned)
    for t in range(n_steps):
        if t > 0:
            # 1. hidden units
            product(V, W, H, replace)
            hidden[2] = words[2] + np.uint32(t - lag)
            _bits(H, one, a, hidden, places, k * m, j * m)
        # 2. visible units
        if several:
            product(H, turned, V, replace)
        else:
            np.dot(H, W.T, V)
        visible[2] = words[2] + np.uint32(t)
        _bits(V, one, b, visible, places, k * d, j * d)


def _walk_gaussian(machine, V, H, n_steps, words, lag, places):
    """The same of real v, one array operation after the other: so nobody compiles normals who draws none."""
    (W, a, b, j, k), one = machine, V.dtype.type(1)
    d, m = W.shape
    for t in range(n_steps):
        if t > 0:
            # 1. hidden units
            product(V, W, H, False)
            _bits(H, one, a, _later(words, t - lag), places, k * m, j * m)
        # 2. visible units
        with np.errstate(all="ignore"):  # what overflows is infinite, and found later
            np.matmul(H, W.T, out=V)
        add_normals(V, one, b, _later(words, t, VISIBLE_STREAM), places, k * d, j * d)


def _later(words, steps, stream=0):
    """The words of so many substeps later, and of another stream."""
    later = words.copy()
    later[2] += np.uint32(steps)
    later[4] += np.uint32(stream)
    return later


@jit
def _energies(V, W, a, b, gaussian, F, P):
    """F (r,) ← free energies of V, P (r, m) ← σ(a + V W)."""
    A = np.empty(P.shape, P.dtype)
    product(V, W, A, np.bool_(0))
    softplus_and_probabilities(A, V.dtype.type(1), a, P)
    for i in range(len(V)):
        F[i] = (_energy_gaussian(V[i], b) if gaussian else _energy_bernoulli(V[i], b)) - _sum(A[i])


def free_energies(machine, visible, V):
    """F (r,), and σ(a + V W) (r, m)."""
    F, P = np.empty(len(V), V.dtype), np.empty((len(V), len(machine.a)), V.dtype)
    _energies(V, machine.W, machine.a, machine.b, visible == GAUSSIAN, F, P)
    return F, P


_WALK = {BERNOULLI: _walk, GAUSSIAN: _walk_gaussian}


def diverge(machine, visible, V, P, n_steps, words, places):
    """v → h → v → … → v, n_steps; V is moved on. P : (r, m), σ(a + V W) of where it begins"""
    H, m = P.copy(), P.shape[1]
    if n_steps:
        draw_bits(H, words, places, machine.k * m, machine.j * m)
        _WALK[visible](machine, V, H, n_steps, words, 0, places)


def persist(machine, visible, V, H, n_steps, words, places):
    """Persistent chains h → v → h → … → h, both moved on; returns F (r,) of where V ends and σ(a + V W) (r, m)."""
    m = H.shape[1]
    _WALK[visible](machine, V, H, n_steps, words, 1, places)
    F, P = free_energies(machine, visible, V)
    if n_steps:
        H[...] = P
        draw_bits(H, _later(words, n_steps - 1), places, machine.k * m, machine.j * m)
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
