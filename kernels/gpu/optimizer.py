"""CUDA twin of ``reference.optimizer``: Adam and SGD on one flat parameter vector, in place.

One pass over memory each. A gradient arrives as a sum over samples; ``scale`` makes it the mean and
carries the clipping: g = scale · gradient.

Everywhere: p parameters; params, gradient and moments of one float dtype, on the device; scale,
learning_rate = η, beta1, beta2, epsilon, momentum floats; step int, from 1 on.
"""

import math

import numpy as np

from ._platform.launch import active, array, blocks_for, in_place, launch, xp

ADAM, SGD = 0, 1
METHODS = {"adam": ADAM, "sgd": SGD}

CHUNK = 1024
CHUNKS = 4096  # at most, so that one block can add them up


def squared_norm(gradient):
    """‖gradient‖², squared and summed in float64, by chunks in order.

    gradient : (p,) float; returns float
    Cost: 2 p flops, one read of the gradient; waits for the device
    """
    gradient = array("gradient", gradient)
    p = len(gradient)
    if p == 0:
        return 0.0
    rows = max(CHUNK, -(-p // CHUNKS))
    chunks = -(-p // rows)
    partial, total = xp.empty(chunks, np.float64), xp.empty(1, np.float64)
    launch("optimizer", "squared_norm", gradient.dtype, min(chunks, active().max_blocks), gradient, p, rows, partial)
    launch("assign", "add_partials", gradient.dtype, 1, partial, chunks, 1, total)
    return float(total[0])


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
    rate, correction = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    gradient = array("gradient", gradient)
    with in_place(params=params, first=first, second=second) as (params, first, second):
        p = len(params)
        launch(
            *("optimizer", "adam", params.dtype, blocks_for(p), params, gradient, scale, first, second),
            *(p, rate, beta1, 1 - beta1, beta2, 1 - beta2, correction, epsilon),
        )


def sgd(params, gradient, scale, velocity, learning_rate, momentum):
    """One step of stochastic gradient descent with momentum, in place.

        v ← μ v + scale · gradient;   θ ← θ − η v

    params, gradient, velocity : (p,) float, the velocity left alone where μ is 0; momentum : float, μ
    Cost: 5 p flops; 5 p numbers read or written, 3 p without momentum
    """
    gradient = array("gradient", gradient)
    with in_place(params=params, velocity=velocity) as (params, velocity):
        p = len(params)
        launch(
            *("optimizer", "sgd", params.dtype, blocks_for(p), params, gradient),
            *(scale, velocity, p, learning_rate, momentum),
        )


def decayed(learning_rate, step, decay_steps):
    """The rate of a step: η_t = ½ η (1 + cos(π t / T)), from η in the first step on towards 0; η itself for T = 0.

    step : int, t, steps taken before; decay_steps : int, T; returns float
    """
    if decay_steps == 0:
        return learning_rate
    return learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(step, decay_steps) / decay_steps))


def update(params, gradient, scale, optimizer):
    """The next step of an optimizer, in place; clipping is part of ``scale``, see `mean_scale`.

    optimizer : ``reference.optimizer.OptimizerState``, whose moments, on the device, change
    """
    o, (first, second) = optimizer, optimizer.moments
    rate = decayed(o.learning_rate, o.step, o.decay_steps)
    if o.method == ADAM:
        adam(params, gradient, scale, first, second, o.step + 1, rate, o.beta1, o.beta2, o.epsilon)
    else:
        sgd(params, gradient, scale, first, rate, o.momentum)
