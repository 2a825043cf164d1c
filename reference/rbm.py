"""Tensorized restricted Boltzmann machines: every cluster j has weights W_j and hidden biases a_j of its own.

Source: Sabanayagam, Al-Dabooni, Esser, arXiv 2412.03471; contrastive divergence: Hinton, Training products of experts
by minimizing contrastive divergence, Neural Computation 14, 2002; persistent chains: Tieleman, ICML 2008; annealed
importance sampling: Salakhutdinov, Murray, On the quantitative analysis of deep belief networks, ICML 2008.

Hidden units h ∈ {0,1}^m; visible units v, of a sample x in the cluster's coordinates v = x − c_j (c_j = 0 where data
are not centred), are binary, v ∈ {0,1}^d, or real with unit variance. The visible bias b is shared. Free energies

    Bernoulli:  F_j(v) = −bᵀv − Σ_l softplus(a_jl + (W_jᵀv)_l)        p(v_i = 1 | h) = σ(b_i + (W_j h)_i)
    Gaussian:   F_j(v) = ½‖v − b‖² − Σ_l softplus(a_jl + (W_jᵀv)_l)   p(v | h) = N(b + W_j h, I)
                                                                       p(h_l = 1 | v) = σ(a_jl + (W_jᵀv)_l)

and p_j(v) = exp(−F_j(v)) / Z_j. The loss of a sample is a difference of free energies in which Z_j drops out,

    ℓ_j = F_j(v⁰) − F_j(v^K),     v⁰ = x − c_j,     v^K the end of a chain of K steps of block Gibbs sampling,

and with v^K held constant its gradient is that of contrastive divergence (CD-K).

Parameters lie in one flat vector, in the order W (k, d, m), a (k, m), b (d,). Random numbers (see ``philox``): hidden
unit l of row r under cluster j takes element r·(k m) + j m + l of ``stream``, visible unit i element r·(k d) + j d + i
of ``stream`` + VISIBLE_STREAM; the substep is the Gibbs step's number.

Everywhere: n samples, d visible and m hidden units, k clusters, p parameters; params (p,), X and V (n, d), centers
(k, d), weights (n,), all of one float dtype; assign (n,) int64; rows (n,) ints, the samples' places in the data;
visible : int, BERNOULLI or GAUSSIAN.
"""

import numpy as np

from . import assign as assignment
from . import philox
from .sigmoid import sigmoid

BERNOULLI, GAUSSIAN = range(2)
VISIBLE = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN}
VISIBLE_STREAM = 1 << 8  # one layer up: visible units never see the hidden ones' numbers


def views(params, k, d):
    """W (k, d, m), a (k, m), b (d,), as views. Writing to them writes to ``params``."""
    m = (len(params) - d) // (k * (d + 1))
    W, a = params[: k * d * m].reshape(k, d, m), params[k * d * m : k * (d + 1) * m].reshape(k, m)
    return W, a, params[k * (d + 1) * m :]


def softplus(A):
    """log(1 + e^a) = max(a, 0) + log1p(e^−|a|), elementwise, without overflow."""
    return np.maximum(A, 0) + np.log1p(np.exp(-np.abs(A)))


def bernoulli_units(A, offset, key, stream, step, substep, rows, width, column):
    """Binary units: 1 where u < σ(A + offset), else 0.

    A : (n, m) float; offset : (m,) float; u of row i, unit l is the uniform of element rows[i]·width + column + l
    returns (n, m) float. For equal A + offset the bits are equal on all backends
    Cost: a quarter of a block of random words and one exponential a unit
    """
    # 1. pre-activation
    P = sigmoid(A + offset)
    # 2. random number and comparison
    return (_of_columns(philox.uniform, key, stream, step, substep, rows, width, column, A) < P).astype(A.dtype)


def gaussian_units(A, offset, key, stream, step, substep, rows, width, column):
    """Real units of unit variance: A + offset + z, z standard normal.

    A : (n, m) float; offset : (m,) float; z of row i, unit l is the normal of element rows[i]·width + column + l
    returns (n, m) float
    Cost: half a block of random words, a logarithm, a root and a cosine a unit
    """
    # 1. pre-activation
    # 2. random number
    return A + offset + _of_columns(philox.normal, key, stream, step, substep, rows, width, column, A)


def _of_columns(draw, key, stream, step, substep, rows, width, column, A):
    """``draw``'s numbers for the columns column … column + m − 1 of the rows' ``width``."""
    return draw(key, stream, step, substep, rows, width, A.dtype)[:, column : column + A.shape[1]]


def free_energy(params, X, centers, visible):
    """F[i, j] = F_j(x_i − c_j).

    returns F (n, k)
    Cost: 2 n k d m flops; memory n k and a block of pre-activations, never n k m
    """
    W, a, b = views(params, *centers.shape)
    F = np.empty((len(X), len(centers)), dtype=X.dtype)
    for j, c in enumerate(centers):
        # 1. centre
        # 2. free energy
        F[:, j] = _energy(X - c, W[j], a[j], b, visible)
    return F


def _energy(V, W, a, b, visible):
    """F (n,) of rows under one cluster."""
    outside = 0.5 * ((V - b) ** 2).sum(axis=1) if visible == GAUSSIAN else -(V * b).sum(axis=1)
    return outside - softplus(V @ W + a).sum(axis=1)


def hidden_probabilities(params, X, centers, assign):
    """p(h = 1 | v) = σ(a + Wᵀv) under each sample's own cluster, v = x − c.

    returns (n, m)
    """
    W, a, _ = views(params, *centers.shape)
    P = np.empty((len(X), a.shape[1]), dtype=X.dtype)
    for j, c in enumerate(centers):
        own = assign == j
        # 1. centre
        # 2. hidden probabilities
        P[own] = sigmoid((X[own] - c) @ W[j] + a[j])
    return P


def visible_means(params, H, assign, centers, visible):
    """E[v | h] + c under each sample's own cluster: σ(b + W h) + c, or b + W h + c for Gaussian units.

    H : (n, m) float; returns (n, d), in input space
    """
    W, _, b = views(params, *centers.shape)
    X = np.empty((len(H), centers.shape[1]), dtype=H.dtype)
    for j, c in enumerate(centers):
        own = assign == j
        # 1. visible means
        # 2. un-centre
        X[own] = _visible_means(H[own], W[j], b, visible) + c
    return X


def _visible_means(H, W, b, visible):
    A = H @ W.T + b
    return A if visible == GAUSSIAN else sigmoid(A)


def gibbs(params, k, V, assign, visible, n_steps, key, stream, step, substep, rows):
    """Chains of block Gibbs sampling, each under its own cluster: v → h → v → … → v.

    Step t (t = substep … substep + n_steps − 1) samples hidden units given v, then visible units given these.

    V : (n, d), where the chains stand, in their cluster's coordinates; returns (n, d)
    Cost: 4 n d m n_steps flops, and d + m random numbers a step
    """
    W, a, b = views(params, k, V.shape[1])
    V = V.copy()
    for j in range(k):
        own = assign == j
        V[own] = _chain(V[own], W, a, b, j, visible, n_steps, key, stream, step, substep, rows[own])
    return V


def _chain(V, W, a, b, j, visible, n_steps, key, stream, step, substep, rows):
    """Chains under cluster j; see ``gibbs``."""
    (k, d, m), draw = W.shape, gaussian_units if visible == GAUSSIAN else bernoulli_units
    for t in range(substep, substep + n_steps):
        # 1. hidden units
        H = bernoulli_units(V @ W[j], a[j], key, stream, step, t, rows, k * m, j * m)
        # 2. visible units
        V = draw(H @ W[j].T, b, key, stream + VISIBLE_STREAM, step, t, rows, k * d, j * d)
    return V


def energy_gradient(params, k, V, assign, weights, visible):
    """Gradient of Σ_i w_i F_{s_i}(v_i) with respect to the parameters.

        ∂F/∂W = −v σ(a + Wᵀv)ᵀ,     ∂F/∂a = −σ(a + Wᵀv),     ∂F/∂b = −v  or  b − v for Gaussian units

    V : (n, d), in the coordinates of each row's cluster; weights : (n,), of either sign
    returns (p,), a sum over samples
    Cost: 4 n d m flops
    """
    W, a, b = views(params, k, V.shape[1])
    gradient = np.zeros_like(params)
    gW, ga, gb = views(gradient, k, V.shape[1])
    for j in range(k):
        own = assign == j
        v, w = V[own], weights[own, None]
        # 1. hidden probabilities
        P = w * sigmoid(v @ W[j] + a[j])
        # 2. statistics
        gW[j], ga[j] = -(v.T @ P), -P.sum(axis=0)
        gb -= (w * (v - b if visible == GAUSSIAN else v)).sum(axis=0)
    return gradient


def mean_field_losses(params, X, centers, visible, n_steps):
    """L[i, j] = F_j(v⁰) − F_j(v^K), with means instead of samples along the chain: deterministic.

    returns L (n, k)
    Cost: (4 n_steps + 4) n k d m flops
    """
    W, a, b = views(params, *centers.shape)
    L = np.empty((len(X), len(centers)), dtype=X.dtype)
    for j, c in enumerate(centers):
        # 1. centre
        first = v = X - c
        # 2. chain of means
        for _ in range(n_steps):
            v = _visible_means(sigmoid(v @ W[j] + a[j]), W[j], b, visible)
        # 3. difference of free energies
        L[:, j] = _energy(first, W[j], a[j], b, visible) - _energy(v, W[j], a[j], b, visible)
    return L


def losses_and_gradient(params, X, centers, assign, weights, visible, n_steps, every, key, stream, step, rows):
    """Contrastive divergence: L[i, j] = F_j(v⁰) − F_j(v^K), and the gradient of Σ_i w_i L[i, s_i].

    s = argmin_j L where ``assign`` is None. v^K is a constant of the gradient, which is therefore
    Σ w (∂F(v⁰) − ∂F(v^K)) of the assigned cluster's chain.

    assign : (n,) int64, or None, which needs ``every``; every : bool, whether all columns of L are wanted; without,
    chains run under the assigned cluster alone, and the other columns are 0
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: (4 n_steps + 4) n k d m flops (k = 1 in effect without ``every``), and 4 n d m for the gradient
    """
    k, d = centers.shape
    W, a, b = views(params, k, d)
    L = np.zeros((len(X), k), dtype=X.dtype)
    for j, c in enumerate(centers):
        mine = np.full(len(X), True) if every else assign == j
        # 1. centre
        first = X[mine] - c
        # 2. chain
        last = _chain(first, W, a, b, j, visible, n_steps, key, stream, step, 0, rows[mine])
        # 3. difference of free energies
        L[mine, j] = _energy(first, W[j], a[j], b, visible) - _energy(last, W[j], a[j], b, visible)
    # 4. assignment
    if assign is None:
        assign = assignment.assign(L)
    # 5. gradient: data less chain
    first = X - centers[assign]
    last = gibbs(params, k, first, assign, visible, n_steps, key, stream, step, 0, rows)
    gradient = energy_gradient(params, k, first, assign, weights, visible)
    return L, assign, gradient - energy_gradient(params, k, last, assign, weights, visible)


def persistent_losses_and_gradient(
    params, X, centers, assign, weights, visible, chains, hidden, n_steps, key, stream, step
):
    """Persistent contrastive divergence: L[i, j] = F_j(v⁰) − mean over cluster j's chains of F_j.

    The chains go on from where the last batch left them; they belong to no sample, so the gradient of
    Σ_i w_i L[i, s_i] is Σ_i w_i ∂F(v⁰_i) − Σ_j (Σ_{i of j} w_i) · mean_chains ∂F_j. A step goes h → v → h: the last
    probabilities of hidden units are those of the gradient and of the next step's h, which saves a product.

    chains : (k, M, d) float, where the visible units stand; hidden : (k, M, m) float, bits, where the hidden ones do,
    from which chains go on; both are moved on by ``n_steps``; random numbers of chain c as of row c
    assign : (n,) int64 or None; returns (L (n, k), assign (n,) int64, gradient (p,))
    Cost: 2 n k d m + (4 n_steps + 2) k M d m flops, and 4 (n + k M) d m for the gradient
    """
    (k, d, m), M = (*centers.shape, hidden.shape[2]), chains.shape[1]
    W, a, b = views(params, k, d)
    draw, rows = gaussian_units if visible == GAUSSIAN else bernoulli_units, np.arange(M)
    energies = np.empty(k, dtype=X.dtype)
    for j in range(k):
        # 1. chains
        for t in range(n_steps):
            A = hidden[j] @ W[j].T
            chains[j] = draw(A, b, key, stream + VISIBLE_STREAM, step, t, rows, k * d, j * d)
            hidden[j] = bernoulli_units(chains[j] @ W[j], a[j], key, stream, step, t, rows, k * m, j * m)
        energies[j] = _energy(chains[j], W[j], a[j], b, visible).mean()
    # 2. difference of free energies
    L = free_energy(params, X, centers, visible) - energies
    # 3. assignment
    if assign is None:
        assign = assignment.assign(L)
    # 4. gradient: data less chains
    gradient = energy_gradient(params, k, X - centers[assign], assign, weights, visible)
    share = (np.bincount(assign, weights, k) / M).astype(X.dtype)
    return (
        L,
        assign,
        gradient
        - energy_gradient(
            params, k, chains.reshape(k * M, d), np.repeat(np.arange(k), M), np.repeat(share, M), visible
        ),
    )


def ais(params, base, visible, betas, n_chains, key, stream, step):
    """Annealed importance sampling: log weights whose mean exponential is Z_j / Z⁰_j.

    From a machine without weights and with visible bias ``base``, Z⁰_j = 2^m Π_i (1 + e^base_ji) (Gaussian:
    2^m (2π)^{d/2}), to the machine itself, along

        Bernoulli:  f_β(v) = exp(((1 − β) base + β b)ᵀv) Π_l (1 + e^{β A_l}),     A = a + Wᵀv
        Gaussian:   f_β(v) = exp(−(1 − β) ½‖v − base‖² − β ½‖v − b‖²) Π_l (1 + e^{β A_l})

    Each chain starts from a sample at β₀ = 0 and has log w = Σ_t log f_{β_t}(v_{t−1}) − log f_{β_{t−1}}(v_{t−1}), with
    one step of Gibbs sampling at β_t after each term but the last.

    base : (k, d) float; betas : (T,) float64, from 0 up to 1; random numbers of chain c as of row c, substep t
    returns (k, n_chains) float64
    Cost: 4 k n_chains T d m flops
    """
    k, d = base.shape
    W, a, b = views(params, k, d)
    m, rows, float_ = a.shape[1], np.arange(n_chains), params.dtype.type
    draw = gaussian_units if visible == GAUSSIAN else bernoulli_units
    log_weights = np.zeros((k, n_chains))
    for j in range(k):
        # 1. sample of the base model
        nothing = np.zeros((n_chains, d), dtype=params.dtype)
        V = draw(nothing, base[j], key, stream + VISIBLE_STREAM, step, 0, rows, k * d, j * d)
        for t in range(1, len(betas)):
            beta, before = float_(betas[t]), float_(betas[t - 1])
            # 2. what the next temperature adds
            A = V @ W[j] + a[j]
            if visible == GAUSSIAN:
                outside = 0.5 * ((V - base[j]) ** 2 - (V - b) ** 2).sum(axis=1)
            else:
                outside = (V * (b - base[j])).sum(axis=1)
            log_weights[j] += (beta - before) * outside + (softplus(beta * A) - softplus(before * A)).sum(axis=1)
            if t == len(betas) - 1:
                break
            # 3. hidden units
            H = bernoulli_units(beta * A, np.zeros_like(a[j]), key, stream, step, t, rows, k * m, j * m)
            # 4. visible units
            bias = (1 - beta) * base[j] + beta * b
            V = draw(beta * (H @ W[j].T), bias, key, stream + VISIBLE_STREAM, step, t, rows, k * d, j * d)
    return log_weights
