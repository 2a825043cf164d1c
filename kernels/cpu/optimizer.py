"""Numba twin of ``reference.optimizer``: Adam and SGD on one flat parameter vector, in place.

One pass over memory each. A gradient arrives as a sum over samples; ``scale`` makes it the mean and
carries the clipping: g = scale · gradient. Threads share a step of many parameters: 1.4 times on one machine of
784 × 256 with two threads (piece "parts of the optimizer's step" in bench/results/ladder_rbm.csv; a wide autoencoder
gains nothing, ladder.csv).

Everywhere: p parameters; params, gradient and moments of one float dtype; scale, learning_rate = η,
beta1, beta2, epsilon, momentum floats; step int, from 1 on.
"""

import math

import numpy as np

from ._engine import pool
from ._engine.jit import compiled, jit, jitable

ADAM, SGD = 0, 1
METHODS = {"adam": ADAM, "sgd": SGD}

CHUNK = 1024
_PART = 1 << 16  # parameters of a part of the step that one thread makes


# The compiler may add up in lanes: a plain sum waits for every addition, and no sampled bit depends on it.
@compiled(fastmath={"reassoc"})
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


@jitable
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


def adam(params, gradient, scale, first, second, step, learning_rate, beta1, beta2, epsilon):
    """One step of Adam, in place.

        g = scale · gradient;   m ← β₁ m + (1 − β₁) g;   v ← β₂ v + (1 − β₂) g²
        θ ← θ − η m̂ / (√v̂ + ε),   m̂ = m / (1 − β₁ᵗ),   v̂ = v / (1 − β₂ᵗ)

    The scalars are made in float64 and cast; elementwise all is in the working dtype.

    params, gradient : (p,) float; first, second : (p,), the moments m and v; step : int, t
    Cost: 13 p flops; 7 p numbers read or written
    """
    _adam(params, gradient, scale, first, second, *_corrected(step, learning_rate, beta1, beta2), beta1, beta2, epsilon)


@jitable
def _corrected(step, learning_rate, beta1, beta2):
    """The rate for m in the place of m̂, and the factor of √v in that of √v̂."""
    t = float(step)  # compiled code would multiply for an integer power, with other bits than Python's
    return learning_rate / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t)


@jit
def _adam(params, gradient, scale, first, second, learning_rate, correction, beta1, beta2, epsilon):
    t = params.dtype.type
    a, rate, root, e = t(scale), t(learning_rate), t(correction), t(epsilon)
    b1, c1, b2, c2 = t(beta1), t(1 - beta1), t(beta2), t(1 - beta2)
    for i in range(len(params)):
        # 1. gradient
        g = a * gradient[i]
        # 2. moments
        m = b1 * first[i] + c1 * g
        v = b2 * second[i] + c2 * (g * g)
        first[i] = m
        second[i] = v
        # 3. parameters
        params[i] -= rate * m / (math.sqrt(v) * root + e)


@jit
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


@jitable
def decayed(learning_rate, step, decay_steps):
    """The rate of a step: η_t = ½ η (1 + cos(π t / T)), from η in the first step on towards 0; η itself for T = 0.

    step : int, t, steps taken before; decay_steps : int, T; returns float
    """
    if decay_steps == 0:
        return learning_rate
    return learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(step, decay_steps) / decay_steps))


@jit
def update_part(params, gradient, scale, first, second, method, step, constants):
    """Step number ``step``, in compiled code; first, second : (p,), the moments; constants : (η, β₁, β₂, ε, μ)."""
    learning_rate, beta1, beta2, epsilon, momentum = constants
    if method == ADAM:
        rate, correction = _corrected(step, learning_rate, beta1, beta2)
        _adam(params, gradient, scale, first, second, rate, correction, beta1, beta2, epsilon)
    else:
        sgd(params, gradient, scale, first, learning_rate, momentum)


def update(params, gradient, scale, optimizer):
    """The next step of an optimizer, in place; clipping is part of ``scale``, see `mean_scale`.

    optimizer : ``reference.optimizer.OptimizerState``, whose moments change
    """
    o, (first, second) = optimizer, optimizer.moments
    rate = decayed(o.learning_rate, o.step, o.decay_steps)

    def part(here):
        vectors = params[here], gradient[here], scale, first[here]
        if o.method == ADAM:
            adam(*vectors, second[here], o.step + 1, rate, o.beta1, o.beta2, o.epsilon)
        else:
            sgd(*vectors, rate, o.momentum)

    pool.parallel(part, pool.blocks(len(params), _PART))
