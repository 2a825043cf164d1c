"""Numba twin of ``reference.optimizer``: Adam and SGD on one flat parameter vector, in place.

One pass over memory each. A gradient arrives as a sum over samples; ``scale`` makes it the mean and
carries the clipping: g = scale · gradient.

Everywhere: p parameters; params, gradient and moments of one float dtype; scale, learning_rate = η,
beta1, beta2, epsilon, momentum floats; step int, from 1 on.
"""

import math
from functools import cache

import numpy as np
from numba import cfunc, njit, types

from ._engine import pool, team
from ._engine.team import read_flat, write

ADAM, SGD = 0, 1
RULES = {"adam": ADAM, "sgd": SGD}

CHUNK = 1024
SHARED = 1 << 15  # parameters from which threads share a step
# Fewest parts of a shared step, and what one has at most: 28 bytes each pass through memory
_PARTS, _LONGEST = 4, 1 << 16

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


# The compiler may add up in lanes: a plain sum waits for every addition, and no sampled bit depends on it.
@njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc"})
def squared_norm(gradient):
    """‖gradient‖², squared and summed in float64, by chunks in order.

    gradient : (p,) float; returns float
    Cost: 2 p flops, one read of the gradient
    """
    n = len(gradient)
    total = 0.0
    for start in range(0, n, CHUNK):
        # 1. sum of squares
        part = 0.0
        for i in range(start, min(start + CHUNK, n)):
            g = np.float64(gradient[i])
            part += g * g
        total += part
    return total


@_jit
def mean_scale(gradient, weight, clip_norm):
    """What turns a gradient summed over samples into the clipped mean gradient.

    1/W · min(1, clip_norm / ‖gradient / W‖); no clipping, and no pass over the gradient, for clip_norm = 0

    gradient : (p,) float, a sum over samples; weight : float, W = Σ w; clip_norm : float
    returns float
    """
    # 1. mean
    scale = 1.0 / weight
    # 2. clipping by the global norm
    if clip_norm > 0:
        norm = math.sqrt(squared_norm(gradient)) * scale
        if norm > clip_norm:
            scale *= clip_norm / norm
    return scale


@_jit
def adam(params, gradient, scale, first, second, step, learning_rate, beta1, beta2, epsilon):
    """One step of Adam, in place.

        g = scale · gradient;   m ← β₁ m + (1 − β₁) g;   v ← β₂ v + (1 − β₂) g²
        θ ← θ − η m̂ / (√v̂ + ε),   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)

    The scalars are made in float64 and cast; elementwise all is in the working dtype.

    params, gradient : (p,) float; first, second : (p,), the moments m and v; step : int, t
    Cost: 13 p flops; 7 p numbers read or written
    """
    t = params.dtype.type
    rate = t(learning_rate / (1 - beta1**step))
    correction = t(1 / math.sqrt(1 - beta2**step))
    a, b1, c1, b2, c2, e = t(scale), t(beta1), t(1 - beta1), t(beta2), t(1 - beta2), t(epsilon)
    for i in range(len(params)):
        # 1. gradient
        g = a * gradient[i]
        # 2. moments
        m = b1 * first[i] + c1 * g
        v = b2 * second[i] + c2 * (g * g)
        first[i] = m
        second[i] = v
        # 3. parameters
        params[i] -= rate * m / (np.sqrt(v) * correction + e)


@_jit
def sgd(params, gradient, scale, velocity, learning_rate, momentum):
    """One step of stochastic gradient descent with momentum, in place.

        v ← μ v + scale · gradient;   θ ← θ − η v

    params, gradient, velocity : (p,) float, the velocity left alone where μ is 0; momentum : float, μ
    Cost: 5 p flops; 5 p numbers read or written, 3 p without momentum
    """
    t = params.dtype.type
    a, rate, mu = t(scale), t(learning_rate), t(momentum)
    if momentum == 0:
        for i in range(len(params)):
            params[i] -= rate * (a * gradient[i])
        return
    for i in range(len(params)):
        # 1. velocity
        v = mu * velocity[i] + a * gradient[i]
        velocity[i] = v
        # 2. parameters
        params[i] -= rate * v


@_jit
def update_alone(params, gradient, scale, moments, rule, step, hyper):
    """As `update`, in compiled code."""
    _update_part(params, gradient, scale, moments[0], moments[1], rule, step, hyper)


@_jit
def _update_part(params, gradient, scale, first, second, rule, step, hyper):
    if rule == ADAM:
        adam(params, gradient, scale, first, second, step, hyper[0], hyper[1], hyper[2], hyper[3])
    else:
        sgd(params, gradient, scale, first, hyper[0], hyper[1])


def update(params, gradient, scale, moments, rule, step, hyper):
    """One step of the optimizer ``rule``, in place.

    moments : (2, p) float, (m, v) for Adam, (velocity, unused) for SGD; rule : int, ADAM or SGD
    hyper : (4,) float64, (η, β₁, β₂, ε) for Adam, (η, μ, -, -) for SGD
    """
    arrays = params, gradient, moments
    plain = all(array.flags.carray and array.dtype == params.dtype for array in arrays)
    if len(params) < SHARED or not plain or not (hyper.flags.carray and hyper.dtype == np.float64):
        update_alone(params, gradient, scale, moments, rule, step, hyper)
        return
    count = max(_PARTS, len(params) // _LONGEST)
    board, seats = pool.summon(count)
    numbers = np.array([count, scale, rule, step])
    _share(board, seats, _part_function(params.dtype).address, params, gradient, moments, hyper, numbers)


@cache
def _part_function(dtype):
    """A part of the step for ``team``, of the words that ``_share`` writes."""
    dtype, number = dtype.type, np.int64

    @cfunc(types.int64(types.int64, types.int64), cache=True, error_model="numpy", fastmath=False)
    def part(words, i):
        numbers, hyper = read_flat(words, number(0), np.float64), read_flat(words, number(1), np.float64)
        params, gradient = read_flat(words, number(2), dtype), read_flat(words, number(3), dtype)
        count, scale, rule, step = number(numbers[0]), numbers[1], number(numbers[2]), number(numbers[3])
        p, moments = len(params), read_flat(words, number(4), dtype)
        first, second = moments[:p], moments[p:]
        here = slice(p * i // count, p * (i + 1) // count)
        _update_part(params[here], gradient[here], scale, first[here], second[here], rule, step, hyper)
        return 1

    return part


@_jit
def _share(board, seats, function, params, gradient, moments, hyper, numbers):
    """Do all parts. What they work on are arguments here, so that nothing is freed while they do."""
    words = np.empty((5, 3), np.int64)
    write(words, np.int64(0), numbers)
    write(words, np.int64(1), hyper)
    write(words, np.int64(2), params)
    write(words, np.int64(3), gradient)
    write(words, np.int64(4), moments)
    team.run(board, seats, function, words, np.int64(numbers[0]))
