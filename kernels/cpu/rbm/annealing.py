"""Annealed importance sampling of one machine, one array operation after the other; see ``reference.rbm.ais``."""

import numpy as np

from .._engine import pool
from .products import product
from .units import GAUSSIAN, add_normals, draw_bits, probabilities, softplus_and_probabilities
from .walk import VISIBLE_STREAM, words


def anneal(machine, visible, base, betas, key, step, stream, places):
    """Log weights (r,) float64 of chains from a machine without weights and with visible bias ``base`` (d,)."""
    (W, a, b, j, k), float_ = machine, base.dtype.type
    (d, m), r = W.shape, len(places)

    def sample(A, scale, offset, t):
        numbers = words(key, t, step, stream + VISIBLE_STREAM), places, k * d, j * d
        if visible == GAUSSIAN:
            add_normals(A, scale, offset, *numbers)
        else:
            probabilities(A, scale, offset)
            draw_bits(A, *numbers)

    # 1. sample of the base model
    V, A, nothing = np.zeros((r, d), base.dtype), np.empty((r, m), base.dtype), np.zeros(m, base.dtype)
    sample(V, float_(1), base, 0)
    log_weights = np.zeros(r)
    for t in range(1, len(betas)):
        if pool.stopped():  # a Ctrl-C
            break
        beta, before = float_(betas[t]), float_(betas[t - 1])
        # 2. what the next temperature adds
        product(V, W, A, False)
        A += a
        if visible == GAUSSIAN:
            outside = 0.5 * ((V - base) ** 2 - (V - b) ** 2).sum(axis=1)
        else:
            outside = V @ (b - base)
        now, after, P = A.copy(), A.copy(), np.empty_like(A)
        softplus_and_probabilities(now, before, nothing, P)
        softplus_and_probabilities(after, beta, nothing, P)
        log_weights += (beta - before) * outside + (after - now).sum(axis=1)
        if t == len(betas) - 1:
            break
        # 3. hidden units
        draw_bits(P, words(key, t, step, stream), places, k * m, j * m)
        # 4. visible units
        with np.errstate(all="ignore"):  # what overflows is infinite, and found later
            np.matmul(P, W.T, out=V)
        sample(V, beta, (1 - beta) * base + beta * b, t)
    return log_weights
