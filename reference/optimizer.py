"""Adam and SGD on one flat parameter vector, in place.

Sources: Kingma, Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1 (ε outside the
root, bias corrections as there); SGD with momentum in the form v ← μ v + g, θ ← θ − η v. The decaying rate is that of
Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, equation 5, without restarts.

A gradient arrives as a sum over samples. ``scale`` makes it the mean and carries the clipping, so
that neither costs a pass over memory of its own: g = scale · gradient.

Everywhere: p parameters; params, gradient and moments of one float dtype; scale, learning_rate = η,
beta1, beta2, epsilon, momentum floats; step int, from 1 on.
"""

import math
from typing import NamedTuple

import numpy as np

ADAM, SGD = 0, 1
METHODS = {"adam": ADAM, "sgd": SGD}

CHUNK = 1024


class OptimizerState(NamedTuple):
    """A method with its constants, those of the other method unread, and what it keeps from step to step.

    method : int, ADAM or SGD; moments : (2, p) float, (m, v) for Adam, (velocity, unused) for SGD
    step : int, steps taken before; clip_norm : float, largest norm of the mean gradient, 0 for no limit
    decay_steps : int, steps in which the rate decays to 0, see `decayed`, 0 for a constant rate
    """

    method: int
    moments: np.ndarray
    step: int
    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum: float = 0.0
    clip_norm: float = 0.0
    decay_steps: int = 0


def squared_norm(gradient):
    """‖gradient‖², squared and summed in float64, by chunks in order.

    gradient : (p,) float; returns float
    Cost: 2 p flops, one read of the gradient
    """
    total = 0.0
    for start in range(0, len(gradient), CHUNK):
        # 1. sum of squares
        part = gradient[start : start + CHUNK].astype(np.float64)
        total += float((part * part).sum())
    return total


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
    t = params.dtype.type
    rate = t(learning_rate / (1 - beta1**step))
    correction = t(1 / math.sqrt(1 - beta2**step))
    # 1. gradient
    g = t(scale) * gradient
    # 2. moments
    first[:] = t(beta1) * first + t(1 - beta1) * g
    second[:] = t(beta2) * second + t(1 - beta2) * (g * g)
    # 3. parameters
    params -= rate * first / (np.sqrt(second) * correction + t(epsilon))


def sgd(params, gradient, scale, velocity, learning_rate, momentum):
    """One step of stochastic gradient descent with momentum, in place.

        v ← μ v + scale · gradient;   θ ← θ − η v

    params, gradient, velocity : (p,) float, the velocity left alone where μ is 0; momentum : float, μ
    Cost: 5 p flops; 5 p numbers read or written, 3 p without momentum
    """
    t = params.dtype.type
    # 1. velocity
    v = t(scale) * gradient
    if momentum != 0:
        velocity[:] = t(momentum) * velocity + v
        v = velocity
    # 2. parameters
    params -= t(learning_rate) * v


def decayed(learning_rate, step, decay_steps):
    """The rate of a step: η_t = ½ η (1 + cos(π t / T)), from η in the first step on towards 0; η itself for T = 0.

    step : int, t, steps taken before; decay_steps : int, T; returns float
    """
    if decay_steps == 0:
        return learning_rate
    return learning_rate * (0.5 + 0.5 * math.cos(math.pi * min(step, decay_steps) / decay_steps))


def update(params, gradient, scale, optimizer):
    """The next step of an optimizer, in place; clipping is part of ``scale``, see `mean_scale`.

    optimizer : OptimizerState, whose moments change
    """
    o, (first, second) = optimizer, optimizer.moments
    rate = decayed(o.learning_rate, o.step, o.decay_steps)
    if o.method == ADAM:
        adam(params, gradient, scale, first, second, o.step + 1, rate, o.beta1, o.beta2, o.epsilon)
    else:
        sgd(params, gradient, scale, first, rate, o.momentum)
