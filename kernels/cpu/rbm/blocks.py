"""A block of rows under one machine: the formulas of ``reference.rbm``, one array operation after the other.

V : (r, d), visible units in the machine's coordinates, H : (r, m), hidden ones, contiguous; draw : Draw; places : (r,)
int64, whose random numbers the rows get. What is said to be moved on is overwritten.
"""

from collections import namedtuple

import numpy as np

from .products import product
from .units import GAUSSIAN, add_normals, draw_bits, probabilities, softplus_and_probabilities

VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers

# W : (d, m), a : (m,), b : (d,) of machine j of k; visible : BERNOULLI or GAUSSIAN
Machine = namedtuple("Machine", "W a b j k visible")


class Draw(namedtuple("Draw", "key stream step")):
    """Which random numbers a call takes."""

    def words(self, substep, layer=0):
        """(5,) uint32 for ``units``; layer : 0, or VISIBLE_STREAM."""
        return np.array([*self.key, substep, self.step, self.stream + layer], np.uint32)


def views(params, k, d):
    """W (k, d, m), a (k, m), b (d,), as views."""
    m = (len(params) - d) // (k * (d + 1))
    W, a = params[: k * d * m].reshape(k, d, m), params[k * d * m : k * (d + 1) * m].reshape(k, m)
    return W, a, params[k * (d + 1) * m :]


def machines(params, k, d, visible):
    """The k machines, list of Machine."""
    W, a, b = views(params, k, d)
    return [Machine(W[j], a[j], b, j, k, visible) for j in range(k)]


def into_hidden(machine, V):
    """V W, (r, m)."""
    A = np.empty((len(V), len(machine.a)), V.dtype)
    product(V, machine.W, A)
    return A


def into_visible(machine, H):
    """H Wᵀ, (r, d)."""
    A = np.empty((len(H), len(machine.b)), H.dtype)
    product(H, machine.W.T, A)
    return A


def hidden_probabilities(machine, V):
    """σ(a + V W), (r, m)."""
    P = into_hidden(machine, V)
    probabilities(P, P.dtype.type(1), machine.a)
    return P


def visible_means(machine, H):
    """σ(b + H Wᵀ), or b + H Wᵀ for Gaussian units, (r, d)."""
    A = into_visible(machine, H)
    if machine.visible == GAUSSIAN:
        A += machine.b
    else:
        probabilities(A, A.dtype.type(1), machine.b)
    return A


def free_energies(machine, V):
    """F (r,), and σ(a + V W) (r, m)."""
    A = into_hidden(machine, V)
    P = np.empty_like(A)
    softplus_and_probabilities(A, A.dtype.type(1), machine.a, P)
    return outside(V, machine.b, machine.visible) - A.sum(axis=1), P


def outside(V, b, visible):
    """What visible units add to the free energy, (r,): −bᵀv, or ½‖v − b‖² for Gaussian ones."""
    if visible == GAUSSIAN:
        return 0.5 * ((V - b) ** 2).sum(axis=1)
    return -(V @ b)


def sample_hidden(machine, A, scale, offset, draw, substep, places):
    """A ← binary units of pre-activations scale · A + offset."""
    m = len(machine.a)
    probabilities(A, A.dtype.type(scale), offset)
    draw_bits(A, draw.words(substep), places, machine.k * m, machine.j * m)


def sample_visible(machine, A, scale, offset, draw, substep, places):
    """A ← visible units of pre-activations scale · A + offset."""
    d = len(machine.b)
    numbers = draw.words(substep, VISIBLE_STREAM), places, machine.k * d, machine.j * d
    if machine.visible == GAUSSIAN:
        add_normals(A, A.dtype.type(scale), offset, *numbers)
    else:
        probabilities(A, A.dtype.type(scale), offset)
        draw_bits(A, *numbers)


def chain(machine, V, n_steps, draw, substep, places, P=None):
    """v → h → v → … → v. P : (r, m), σ(a + V W) where it is known already. Returns the end, (r, d)."""
    m = len(machine.a)
    for t in range(substep, substep + n_steps):
        # 1. hidden units
        if P is None:
            H = into_hidden(machine, V)
            sample_hidden(machine, H, 1, machine.a, draw, t, places)
        else:
            H, P = P.copy(), None
            draw_bits(H, draw.words(t), places, machine.k * m, machine.j * m)
        # 2. visible units
        V = into_visible(machine, H)
        sample_visible(machine, V, 1, machine.b, draw, t, places)
    return V


def persist(machine, V, H, n_steps, draw, places):
    """Persistent chains h → v → h → … → h, both moved on; returns F (r,) of where they end and σ(a + V W) (r, m)."""
    m = len(machine.a)
    for t in range(n_steps):
        if t > 0:
            product(V, machine.W, H)
            sample_hidden(machine, H, 1, machine.a, draw, t - 1, places)
        product(H, machine.W.T, V)
        sample_visible(machine, V, 1, machine.b, draw, t, places)
    F, P = free_energies(machine, V)
    if n_steps:
        H[...] = P
        draw_bits(H, draw.words(n_steps - 1), places, machine.k * m, machine.j * m)
    return F, P


def mean_field(machine, V, n_steps):
    """F(v⁰) − F(v^K) (r,), with means instead of samples along the chain."""
    first, P = free_energies(machine, V)
    last = first
    for _ in range(n_steps):
        last, P = free_energies(machine, visible_means(machine, P))
    return first - last


def anneal(machine, base, betas, draw, places):
    """Annealed importance sampling from a machine without weights: log weights (r,) float64; see ``reference.rbm``."""
    a, b = machine.a, machine.b
    # 1. sample of the base model
    V, nothing = np.zeros((len(places), len(b)), a.dtype), np.zeros_like(a)
    sample_visible(machine, V, 1, base, draw, 0, places)
    log_weights, float_ = np.zeros(len(V)), a.dtype.type
    for t in range(1, len(betas)):
        beta, before = float_(betas[t]), float_(betas[t - 1])
        # 2. what the next temperature adds
        A = into_hidden(machine, V)
        A += a
        if machine.visible == GAUSSIAN:
            difference = outside(V, base, GAUSSIAN) - outside(V, b, GAUSSIAN)
        else:
            difference = V @ (b - base)
        after, now, P = A.copy(), A.copy(), np.empty_like(A)
        softplus_and_probabilities(now, before, nothing, P)
        softplus_and_probabilities(after, beta, nothing, P)
        after -= now
        log_weights += (beta - before) * difference + after.sum(axis=1)
        if t == len(betas) - 1:
            break
        # 3. hidden units
        H = P
        draw_bits(H, draw.words(t), places, machine.k * len(a), machine.j * len(a))
        # 4. visible units
        V = into_visible(machine, H)
        sample_visible(machine, V, beta, (1 - beta) * base + beta * b, draw, t, places)
    return log_weights
