"""CUDA twin of ``reference.rbm``: tensorized restricted Boltzmann machines.

Rows of a matrix are those of all clusters, (k, n, ·), in batched products, or of every sample under its own cluster,
(n, ·), sorted by cluster so that every cluster's share is one product. Bias, σ, random number and comparison are one
pass over a product, and a row's free energy comes out of the same pass (see ``rbm_passes``).

Everywhere: n samples, d visible and m hidden units, k clusters, p parameters; params (p,), X and V (n, d), centers
(k, d), weights (n,), all of one float dtype; assign (n,) int64; rows (n,) ints, the samples' places in the data;
visible : int, BERNOULLI or GAUSSIAN.
"""

import numpy as np

from . import assign as assignment
from . import dense
from . import rbm_passes as passes
from ._platform.launch import array, in_place, xp
from .rbm_passes import BERNOULLI, BITS, GAUSSIAN, MEANS, Gradient, Machines, Rows, Statistics

VISIBLE = {"bernoulli": BERNOULLI, "gaussian": GAUSSIAN}
VISIBLE_STREAM, workspace_bytes = passes.VISIBLE_STREAM, passes.workspace_bytes


def bernoulli_units(A, offset, key, stream, step, substep, rows, width, column):
    """Binary units: 1 where u < σ(A + offset), else 0.

    A : (n, m) float; offset : (m,) float; u of row i, unit l is the uniform of element rows[i]·width + column + l
    returns (n, m) float. For equal A + offset the bits are equal on all backends
    Cost: a quarter of a block of random words and one exponential a unit; one number read, one written
    """
    return passes.units(("rbm", "bernoulli_units"), A, offset, key, stream, step, substep, rows, width, column)


def gaussian_units(A, offset, key, stream, step, substep, rows, width, column):
    """Real units of unit variance: A + offset + z, z standard normal.

    A : (n, m) float; offset : (m,) float; z of row i, unit l is the normal of element rows[i]·width + column + l
    returns (n, m) float
    Cost: half a block of random words, a logarithm, a root and a cosine a unit; one number read, one written
    """
    return passes.units(("rbm", "gaussian_units"), A, offset, key, stream, step, substep, rows, width, column)


def free_energy(params, X, centers, visible):
    """F[i, j] = F_j(x_i − c_j).

    returns F (n, k)
    Cost: 2 n k d m flops; memory n k and ``WORKSPACE``, never n k m
    """
    X, centers = array("X", X), array("centers", centers)
    machines = Machines.of(params, *centers.shape, visible)
    F = xp.empty((len(X), len(centers)), X.dtype)
    for part in machines.parts(len(X), len(centers)):
        # 1. centre
        A, offset = passes.centred_product(machines, X[part], centers)
        # 2. free energy
        passes.energies(machines, A, offset, X[part], centers, Rows(A.shape[1]), F[part])
    return F


def hidden_probabilities(params, X, centers, assign):
    """p(h = 1 | v) = σ(a + Wᵀv) under each sample's own cluster, v = x − c.

    returns (n, m)
    Cost: 2 n d m flops
    """
    X, centers, assign = array("X", X), array("centers", centers), array("assign", assign, np.int64)
    machines = Machines.of(params, *centers.shape, BERNOULLI)
    P = xp.empty((len(X), machines.shape[2]), X.dtype)
    for part in machines.parts(len(X), 1):
        own = Rows(part.stop - part.start, len(centers), assign[part])
        # 1. centre
        V = passes.centred(X[part], centers, own)
        # 2. hidden probabilities
        passes.scatter_means(own.product(V, machines.W), machines.a, False, None, own, P[part])
    return P


def visible_means(params, H, assign, centers, visible):
    """E[v | h] + c under each sample's own cluster: σ(b + W h) + c, or b + W h + c for Gaussian units.

    H : (n, m) float; returns (n, d), in input space
    Cost: 2 n d m flops
    """
    H, centers, assign = array("H", H), array("centers", centers), array("assign", assign, np.int64)
    machines = Machines.of(params, *centers.shape, visible)
    X = xp.empty((len(H), centers.shape[1]), H.dtype)
    for part in machines.parts(len(H), 1):
        own = Rows(part.stop - part.start, len(centers), assign[part])
        # 1. visible means
        A = own.product(H[part][own.order], machines.back(own))
        # 2. un-centre
        passes.scatter_means(A, machines.b[None], visible == GAUSSIAN, centers, own, X[part])
    return X


def gibbs(params, k, V, assign, visible, n_steps, key, stream, step, substep, rows):
    """Chains of block Gibbs sampling, each under its own cluster: v → h → v → … → v.

    Step t (t = substep … substep + n_steps − 1) samples hidden units given v, then visible units given these.

    V : (n, d), where the chains stand, in their cluster's coordinates; returns (n, d)
    Cost: 4 n d m n_steps flops, and d + m random numbers a step
    """
    V, assign = array("V", V), array("assign", assign, np.int64)
    machines = Machines.of(params, k, V.shape[1], visible)
    numbers, out = machines.numbers(key, stream, step, rows), xp.empty(V.shape, V.dtype)
    for part in machines.parts(len(V), 1):
        own, there = Rows(part.stop - part.start, k, assign[part]), out[part]
        there[own.order] = _chain(machines, V[part][own.order], own, numbers.of(part), substep, n_steps)
    return out


def _chain(machines, V, rows, numbers, first, n_steps, H=None):
    """Where chains are after the steps first … first + n_steps − 1; H : the first one's hidden units, if drawn."""
    back = machines.back(rows)
    for t in range(first, first + n_steps):
        # 1. hidden units
        if H is None:
            H = machines.hidden_units(rows.product(V, machines.W), rows, numbers, t)
        # 2. visible units
        V, H = machines.visible_units(rows.product(H, back), rows, numbers, t), None
    return V


def energy_gradient(params, k, V, assign, weights, visible):
    """Gradient of Σ_i w_i F_{s_i}(v_i) with respect to the parameters.

        ∂F/∂W = −v σ(a + Wᵀv)ᵀ,     ∂F/∂a = −σ(a + Wᵀv),     ∂F/∂b = −v  or  b − v for Gaussian units

    V : (n, d), in the coordinates of each row's cluster; weights : (n,), of either sign
    returns (p,), a sum over samples
    Cost: 4 n d m flops
    """
    V, assign, weights = array("V", V), array("assign", assign, np.int64), array("weights", weights)
    machines = Machines.of(params, k, V.shape[1], visible)
    gradient = Gradient(machines, len(V))
    for part in machines.parts(len(V), 1):
        own = Rows(part.stop - part.start, k, assign[part])
        v, statistics = V[part][own.order], Statistics(machines, own, 1)
        # 1. hidden probabilities
        statistics.put(0, -1, weights[part], v, None, own.product(v, machines.W), machines.a, own)
        # 2. statistics
        gradient.add(statistics)
    return gradient.sum()


def mean_field_losses(params, X, centers, visible, n_steps):
    """L[i, j] = F_j(v⁰) − F_j(v^K), with means instead of samples along the chain: deterministic.

    returns L (n, k)
    Cost: (4 n_steps + 2) n k d m flops; memory n k and ``WORKSPACE``
    """
    X, centers = array("X", X), array("centers", centers)
    machines = Machines.of(params, *centers.shape, visible)
    k, d, m = machines.shape
    L, activation = xp.zeros((len(X), k), X.dtype), dense.LINEAR if visible == GAUSSIAN else dense.SIGMOID
    for part in machines.parts(len(X), k) if n_steps else ():
        # 1. centre
        H, offset = passes.centred_product(machines, X[part], centers)
        n, rows = H.shape[1], Rows(H.shape[1])
        back = machines.back(rows)
        # 2. chain of means
        passes.energies(machines, H, offset, X[part], centers, rows, L[part], leaves=MEANS, units=H)
        for left in range(n_steps - 1, -1, -1):
            V = xp.matmul(H, back)
            dense.offset_activate(V, d, n * d, machines.b[None], activation, V)
            H = xp.matmul(V, machines.W)
            if left:
                dense.offset_activate(H, m, n * m, machines.a, dense.SIGMOID, H)
        # 3. difference of free energies
        passes.energies(machines, H, machines.a, V, None, rows, L[part], difference=True)
    return L


def losses_and_gradient(params, X, centers, assign, weights, visible, n_steps, every, key, stream, step, rows):
    """Contrastive divergence: L[i, j] = F_j(v⁰) − F_j(v^K), and the gradient of Σ_i w_i L[i, s_i].

    s = argmin_j L where ``assign`` is None. v^K is a constant of the gradient, which is therefore
    Σ w (∂F(v⁰) − ∂F(v^K)) of the assigned cluster's chain.

    assign : (n,) int64 or None; every : bool, whether all columns of L are wanted; without, chains run under the
    assigned cluster alone, and the other columns are 0
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: (4 n_steps + 2) n k d m flops (k = 1 in effect without ``every``), and 4 n d m for the gradient; memory
    n k and ``WORKSPACE``
    """
    X, centers, weights = array("X", X), array("centers", centers), array("weights", weights)
    machines = Machines.of(params, *centers.shape, visible)
    n, k = len(X), len(centers)
    L, chosen = xp.zeros((n, k), X.dtype), assign is None
    s, every = xp.zeros(n, np.int64) if chosen else array("assign", assign, np.int64), every or chosen
    numbers, gradient = machines.numbers(key, stream, step, rows), Gradient(machines, 2 * n)
    for part in machines.parts(n, k if every else 1) if n_steps else ():
        x, w, draws = X[part], weights[part], numbers.of(part)
        own = None if every else Rows(len(x), k, s[part])
        those = own or Rows(len(x))
        # 1. centre
        first, taken, A, offset = passes.begin(machines, x, centers, own)
        # 2. chain
        H = passes.energies(machines, A, offset, first, taken, those, L[part], leaves=BITS, counter=draws.counter(0))
        last = _chain(machines, first, those, draws, 0, n_steps, H)
        # 3. difference of free energies
        B = those.product(last, machines.W)
        passes.energies(machines, B, machines.a, last, None, those, L[part], difference=True)
        # 4. assignment
        if chosen:
            s[part] = assignment.assign(L[part])
        # 5. gradient: data less chain
        #    (picked from the chains of all rather than run once more; a sample's two rows lie side by side)
        statistics = Statistics(machines, own or Rows(len(x), k, s[part]), 2)
        statistics.put(0, -1, w, x, centers, A, offset, those)
        statistics.put(1, 1, w, last, None, B, machines.a, those)
        gradient.add(statistics)
        del A, B, H, first, last, statistics  # before the next part makes its own
    return L, s, gradient.sum()


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
    Cost: 2 n k d m + 4 n_steps k M d m flops, and 2 (n + k M) d m for the gradient
    """
    X, centers, weights = array("X", X), array("centers", centers), array("weights", weights)
    machines = Machines.of(params, *centers.shape, visible)
    n, (k, M, d) = len(X), chains.shape
    L, chosen = xp.empty((n, k), X.dtype), assign is None
    s = xp.empty(n, np.int64) if chosen else array("assign", assign, np.int64)
    rows, gradient, energies = Rows(M), Gradient(machines, n + k * M), xp.empty((M, k), X.dtype)
    numbers, back = machines.numbers(key, stream, step, np.arange(M)), machines.back(rows)
    # 1. chains
    with in_place(chains=chains, hidden=hidden) as (V, H):
        for t in range(n_steps):
            if t:
                xp.matmul(V, machines.W, out=H)
                machines.hidden_units(H, rows, numbers, t - 1)
            xp.matmul(H, back, out=V)
            machines.visible_units(V, rows, numbers, t)
        B = xp.matmul(V, machines.W)
        last = {"leaves": BITS, "units": H, "counter": numbers.counter(n_steps - 1)} if n_steps else {}
        passes.energies(machines, B, machines.a, V, None, rows, energies, **last)
    energies = energies.mean(axis=0, dtype=np.float64).astype(X.dtype)
    for part in machines.parts(n, k):
        x, w, losses = X[part], weights[part], L[part]
        those = Rows(len(x))
        # 2. difference of free energies
        A, offset = passes.centred_product(machines, x, centers)
        passes.energies(machines, A, offset, x, centers, those, losses)
        losses -= energies
        # 3. assignment
        if chosen:
            s[part] = assignment.assign(losses)
        # 4. gradient: data less chains
        statistics = Statistics(machines, Rows(len(x), k, s[part]), 1)
        statistics.put(0, -1, w, x, centers, A, offset, those)
        gradient.add(statistics)
        del A, statistics  # before the next part makes its own
    share = (assignment.cluster_sums(weights[:, None], s, weights, k)[1] / M).astype(X.dtype)
    own = Rows(k * M, k, xp.repeat(xp.arange(k, dtype=np.int64), M))
    statistics = Statistics(machines, own, 1)
    statistics.put(0, 1, xp.repeat(share, M), V.reshape(k * M, d), None, B, machines.a, own)
    gradient.add(statistics)
    return L, s, gradient.sum()


def ais(params, base, visible, betas, n_chains, key, stream, step):
    """Annealed importance sampling: log weights whose mean exponential is Z_j / Z⁰_j.

    From a machine without weights and with visible bias ``base``, Z⁰_j = 2^m Π_i (1 + e^base_ji) (Gaussian:
    2^m (2π)^{d/2}), to the machine itself, along

        Bernoulli:  f_β(v) = exp(((1 − β) base + β b)ᵀv) Π_l (1 + e^{β A_l}),     A = a + Wᵀv
        Gaussian:   f_β(v) = exp(−(1 − β) ½‖v − base‖² − β ½‖v − b‖²) Π_l (1 + e^{β A_l})

    Each chain starts from a sample at β₀ = 0 and has log w = Σ_t log f_{β_t}(v_{t−1}) − log f_{β_{t−1}}(v_{t−1}), with
    one step of Gibbs sampling at β_t after each term but the last.

    base : (k, d) float; betas : (T,) float64, on the host, from 0 up to 1; random numbers of chain c as of row c,
    substep t
    returns (k, n_chains) float64
    Cost: 4 k n_chains T d m flops; memory k n_chains and ``WORKSPACE``
    """
    base = array("base", base)
    machines = Machines.of(params, *base.shape, visible)
    (k, d, _), real = machines.shape, base.dtype.type
    betas = [real(beta) for beta in betas.tolist()]
    numbers, out = machines.numbers(key, stream, step, np.arange(n_chains)), xp.empty((k, n_chains), np.float64)
    for part in machines.parts(n_chains, k):
        n, draws = part.stop - part.start, numbers.of(part)
        rows, log_weights = Rows(n), xp.zeros((k, n), np.float64)
        back = machines.back(rows)
        # 1. sample of the base model
        V = machines.visible_units(xp.zeros((k, n, d), base.dtype), rows, draws, 0, 0, base, 1)
        for t in range(1, len(betas)):
            # 2. what the next temperature adds
            beta, before, last = betas[t], betas[t - 1], t == len(betas) - 1
            A = xp.matmul(V, machines.W)
            passes.anneal(machines, A, V, base, beta, before, last, draws.counter(t), log_weights)
            if last:
                break
            # 3. hidden units
            # 4. visible units
            V = machines.visible_units(xp.matmul(A, back), rows, draws, t, beta, base, real(1) - beta)
        out[:, part] = log_weights
    return out
