"""Boltzmann machines small enough to know: enumeration itself, then chains, divergences and annealing against it."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import dblquad, quad
from scipy.special import logsumexp

from csrl_core.reference import philox, rbm, rbm_exact
from csrl_core.reference.rbm import BERNOULLI, GAUSSIAN, VISIBLE_STREAM
from csrl_core.training.draws import Use, stream

pytestmark = pytest.mark.sensitive

KEY = np.array([0x12345678, 0x9ABCDEF0], np.uint32)
STREAM = stream(Use.SAMPLING)
ALPHA = 1e-4  # chance that a right chain fails; numbers are seeded
UNITS = pytest.mark.parametrize("visible", [BERNOULLI, GAUSSIAN], ids=["bernoulli", "gaussian"])


def machine(d, m, seed, scale=1.0):
    """W (d, m), a (m,), b (d,)."""
    rng = np.random.default_rng([d, m, seed])
    return scale * rng.normal(size=(d, m)), rng.normal(size=m), rng.normal(size=d)


def flat(*parts):
    return np.concatenate([part.ravel() for part in parts])


def energy(V, W, a, b, visible):
    """F (n,) under one machine."""
    return rbm.free_energy(flat(W, a, b), V, np.zeros((1, len(b))), visible)[:, 0]


# ------------------------------------------------------------------------------------- enumeration


def test_a_machine_of_two_units_by_hand():
    # e^W = 5, e^a = 2, e^b = 3: the four states weigh 1, 2, 3 and 30 of 36.
    W, a, b = np.log([[5.0]]), np.log([2.0]), np.log([3.0])
    near, V = {"rtol": 1e-15, "atol": 1e-15}, np.array([[0.0], [1.0]])
    np.testing.assert_allclose(rbm_exact.log_partition(W, a, b, BERNOULLI), np.log(36), **near)
    np.testing.assert_allclose(rbm_exact.joint(W, a, b) * 36, [[1, 2], [3, 30]], rtol=1e-14)
    np.testing.assert_allclose(rbm_exact.log_likelihood(W, a, b, V, BERNOULLI), np.log([3 / 36, 33 / 36]), rtol=1e-14)
    gradient = rbm_exact.likelihood_gradient(W, a, b, V[1:], BERNOULLI)
    np.testing.assert_allclose(flat(*gradient), [10 / 11 - 30 / 36, 10 / 11 - 32 / 36, 1 - 33 / 36], rtol=1e-13)
    # Gaussian with W = 2, a = −3, b = 1: Z = √2π (1 + e^{−3 + 2 + 2}).
    found = rbm_exact.log_partition(np.array([[2.0]]), np.array([-3.0]), np.array([1.0]), GAUSSIAN)
    np.testing.assert_allclose(found, 0.5 * np.log(2 * np.pi) + np.log(1 + np.e), **near)


def test_states_are_all_and_in_order():
    assert rbm_exact.states(2).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len(np.unique(rbm_exact.states(9), axis=0)) == 512


@pytest.mark.parametrize(("d", "m"), [(1, 1), (3, 8), (12, 2), (7, 7)])
def test_summing_over_either_layer_first(d, m):
    W, a, b = machine(d, m, 0)
    log_Z = rbm_exact.log_partition(W, a, b, BERNOULLI)
    V, near = rbm_exact.states(d), {"rtol": 0, "atol": 1e-12}  # sums of up to 4096 terms: √4096 roundings of 30
    np.testing.assert_allclose(log_Z, logsumexp(-energy(V, W, a, b, BERNOULLI)), **near)
    np.testing.assert_allclose(log_Z, rbm_exact.log_partition(W.T, b, a, BERNOULLI), **near)
    joint = rbm_exact.joint(W, a, b)
    np.testing.assert_allclose(joint.sum(), 1, **near)
    np.testing.assert_allclose(np.log(joint.sum(axis=1)), rbm_exact.log_likelihood(W, a, b, V, BERNOULLI), **near)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_gaussian_partition_by_quadrature(d, seed):
    W, a, b = machine(d, 3, seed)

    def density(*v):
        return float(np.exp(-energy(np.array([v]), W, a, b, GAUSSIAN)[0]))

    # Modes lie within Σ|W| of b; 8 standard deviations beyond them is less than 1e-14 of the mass.
    far = np.abs(W).sum(axis=1) + 8
    if d == 1:
        Z, error = quad(density, b[0] - far[0], b[0] + far[0], epsabs=0, epsrel=1e-9, limit=200)
    else:
        Z, error = dblquad(density, b[1] - far[1], b[1] + far[1], b[0] - far[0], b[0] + far[0], epsabs=0, epsrel=1e-6)
    assert error < 1e-5 * Z
    assert abs(np.exp(rbm_exact.log_partition(W, a, b, GAUSSIAN)) - Z) < max(error, 1e-12 * Z)


@UNITS
def test_likelihood_gradient_by_central_differences(visible):
    (d, m), (W, a, b) = (5, 4), machine(5, 4, 1)
    V = np.random.default_rng(2).normal(size=(9, d))
    V = V if visible == GAUSSIAN else (V > 0) * 1.0
    params, gradient = flat(W, a, b), flat(*rbm_exact.likelihood_gradient(W, a, b, V, visible))
    for i in range(len(params)):
        values, h = [], 6e-6  # near eps^(1/3), where truncation and rounding balance
        for sign in (1, -1):
            moved = params.copy()
            moved[i] += sign * h
            parts = moved[: d * m].reshape(d, m), moved[d * m : -d], moved[-d:]
            values.append(rbm_exact.log_likelihood(*parts, V, visible).mean())
        assert abs((values[0] - values[1]) / (2 * h) - gradient[i]) < 1e-7 * max(1, np.abs(gradient).max())


def test_one_unit_given_all_others():
    # log p(v_i | the others) = −softplus(F(v) − F(v with i flipped)): the terms of the pseudo-likelihood.
    W, a, b = machine(4, 3, 3)
    V, p = rbm_exact.states(4), rbm_exact.joint(W, a, b).sum(axis=1)
    for i in range(4):
        flipped = V.copy()
        flipped[:, i] = 1 - flipped[:, i]
        places = (flipped @ [8, 4, 2, 1]).astype(int)
        found = -rbm.softplus(energy(V, W, a, b, BERNOULLI) - energy(flipped, W, a, b, BERNOULLI))
        np.testing.assert_allclose(found, np.log(p / (p + p[places])), rtol=0, atol=1e-13)


def test_intensities_get_a_lower_bound():
    # For v ~ independent Bernoulli(x): E log p(v) ≥ −F(x) − log Z, with equality where x is binary.
    (W, a, b), V = machine(4, 3, 5, 2.0), rbm_exact.states(4)
    X, log_p = np.random.default_rng(8).random((50, 4)), rbm_exact.log_likelihood(W, a, b, V, BERNOULLI)
    mean = np.where(V, X[:, None], 1 - X[:, None]).prod(axis=2) @ log_p
    slack = mean - rbm_exact.log_likelihood(W, a, b, X, BERNOULLI)
    assert slack.min() > 0  # a gap of Jensen's inequality, well above rounding
    assert slack.max() > 0.1
    # … and no density: its integral over the cube (here a mean over midpoints) is at most 2^−d.
    cells = (np.stack(np.meshgrid(*[np.arange(6)] * 4), axis=-1).reshape(-1, 4) + 0.5) / 6
    assert np.exp(rbm_exact.log_likelihood(W, a, b, cells, BERNOULLI)).mean() < 2**-4


# ------------------------------------------------------------------------------------- chains

N = 40_000


def _two_machines(seed, d=3, m=3, scale=1.2):
    """Parameters of two clusters and each one's (W, a, b)."""
    (W, a, b), (W2, a2, _) = machine(d, m, seed, scale), machine(d, m, seed + 1, scale)
    return flat(np.stack([W, W2]), np.stack([a, a2]), b), [(W, a, b), (W2, a2, b)]


def _p_values(params, machines):
    """χ² of (v, h) after three steps from exact draws, under each of two clusters: p-values."""
    rng, V, assign = np.random.default_rng(0), rbm_exact.states(3), np.arange(N) % 2
    start = np.empty((N, 3))
    for j, parts in enumerate(machines):
        drawn = rng.choice(64, size=N // 2, p=rbm_exact.joint(*parts).ravel())
        start[assign == j] = V[drawn // 8]
    rows = np.arange(N)
    end = rbm.gibbs(params, 2, start, assign, BERNOULLI, 3, KEY, STREAM, 0, 0, rows)
    assert (end != start).any(axis=1).mean() > 0.3  # a chain that stands still leaves everything unchanged, too
    W, a, _ = rbm.views(params, 2, 3)
    found = []
    for j, parts in enumerate(machines):
        own = assign == j
        H = rbm.bernoulli_units(end[own] @ W[j], a[j], KEY, STREAM, 0, 3, rows[own], 6, 3 * j)
        counts = np.bincount((end[own] @ [32, 16, 8] + H @ [4, 2, 1]).astype(int), minlength=64)
        expected = rbm_exact.joint(*parts).ravel() * (N // 2)
        rare = expected < 8  # taken together, so that counts are near normal
        counts, expected = (np.append(v[~rare], v[rare].sum()) for v in (counts, expected))
        found.append(stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue)
    return found


def test_gibbs_leaves_the_joint_distribution_unchanged():
    params, machines = _two_machines(7)
    assert min(_p_values(params, machines)) > ALPHA


@pytest.mark.parametrize("fault", ["biases swapped", "weights transposed", "clusters swapped", "weights 10 % more"])
def test_a_wrong_chain_is_found_out(fault):
    params, machines = _two_machines(7)
    W, a, b = (view.copy() for view in rbm.views(params, 2, 3))
    wrong = {
        "biases swapped": [W, np.stack([b, b]), a[0]],
        "weights transposed": [W.transpose(0, 2, 1), a, b],
        "clusters swapped": [W[::-1], a[::-1], b],
        "weights 10 % more": [1.1 * W, a, b],
    }[fault]
    assert min(_p_values(flat(*wrong), machines)) < ALPHA / 100


def _deviations(wrong=1.0):
    """Moments of Gaussian units after three steps from exact draws, less the exact ones, in standard errors."""
    W, a, b = machine(3, 4, 11, 0.8)
    H, logs = rbm_exact._log_weights(W, a, b, GAUSSIAN)
    p, means, rng = np.exp(logs - logsumexp(logs)), H @ W.T + b, np.random.default_rng(1)
    V = means[rng.choice(16, size=N, p=p)] + rng.normal(size=(N, 3))
    V = rbm.gibbs(flat(wrong * W, a, b), 1, V, np.zeros(N, np.int64), GAUSSIAN, 3, KEY, STREAM, 0, 0, np.arange(N))
    pairs = np.triu_indices(3)
    found = np.concatenate([V, V[:, pairs[0]] * V[:, pairs[1]]], axis=1)
    second = (means * p[:, None]).T @ means + np.eye(3)
    exact = np.concatenate([p @ means, second[pairs]])
    return (found.mean(axis=0) - exact) / (found.std(axis=0) / np.sqrt(N))


def test_gibbs_leaves_the_moments_of_gaussian_units_unchanged():
    assert np.abs(_deviations()).max() < 4
    assert np.abs(_deviations(wrong=0.95)).max() > 10


# ------------------------------------------------------------------------------------- divergence


@pytest.mark.slow
@pytest.mark.parametrize(("visible", "seed", "scale"), [(BERNOULLI, 12, 2.5), (GAUSSIAN, 3, 0.9)])
def test_contrastive_divergence_tends_to_the_likelihood_gradient(visible, seed, scale):
    # Machines that mix slowly, their bias falling to 0.73 a step: still plain after 10 steps, below the noise after 30.
    d, m, n = 5, 3, 24_000
    W, a, b = machine(d, m, seed, scale)
    data = np.random.default_rng(4).normal(1, 1, size=(6, d))
    data = data if visible == GAUSSIAN else (data > 0.8) * 1.0
    X, params, nobody = np.tile(data, (n // 6, 1)), flat(W, a, b), np.zeros(n, np.int64)
    exact = -flat(*rbm_exact.likelihood_gradient(W, a, b, data, visible))
    distances, last, before = [], X, 0
    for K in (1, 3, 10, 30):
        last = rbm.gibbs(params, 1, last, nobody, visible, K - before, KEY, STREAM, 0, before, np.arange(n))
        before = K
        _, _, gradient = rbm.losses_and_gradient(
            *(params, X, np.zeros((1, d)), nobody, np.ones(n), visible, K, False, KEY, STREAM, 0, np.arange(n))
        )
        difference = gradient / n - exact
        distances.append(np.linalg.norm(difference))
        # ∂F(v^K) chain by chain, for its standard error; ∂F(v⁰) is the same in both.
        P = rbm.sigmoid(last @ W + a)
        each = np.concatenate([(last[:, :, None] * P[:, None]).reshape(n, -1), P, last], axis=1)
        error = each.std(axis=0) / np.sqrt(n)
        if visible == BERNOULLI:  # every K against the exact expectation of CD-K, from the matrix of transitions
            np.testing.assert_array_less(np.abs(gradient / n - _expected(W, a, b, data, K)), 4 * error)
    assert distances[0] > distances[1] > distances[2] > distances[3]
    assert distances[2] > 4 * np.linalg.norm(error) > distances[3]
    assert np.abs(difference / error).max() < 4


def _expected(W, a, b, data, K):
    """The expectation of CD-K's mean gradient, by K-fold transitions between all 2^d states."""
    joint = rbm_exact.joint(W, a, b)
    transition = (joint / joint.sum(axis=1, keepdims=True)) @ (joint / joint.sum(axis=0)).T
    V = rbm_exact.states(len(b))
    start = (data[:, None] == V).all(axis=2).mean(axis=0)
    q = start @ np.linalg.matrix_power(transition, K)
    P = rbm.sigmoid(V @ W + a)
    each = np.concatenate([(V[:, :, None] * P[:, None]).reshape(len(V), -1), P, V], axis=1)
    return (q - start) @ each


# ------------------------------------------------------------------------------------- annealing


def _log_base(base, m, visible):
    """log Z⁰ of the machine that annealing starts from."""
    outside = np.log1p(np.exp(base)).sum() if visible == BERNOULLI else 0.5 * len(base) * np.log(2 * np.pi)
    return m * np.log(2) + outside


@pytest.mark.slow
@UNITS
def test_annealing_finds_the_partition_function(visible):
    scores, rng, M = [], np.random.default_rng([5, visible]), 200
    for seed in range(20):
        d, m = int(rng.integers(2, 13)), int(rng.integers(1, 9))
        W, a, b = machine(d, m, 50 + seed, 1.0 if visible == BERNOULLI else 1.2 / np.sqrt(d))
        base = b + 0.3 * rng.normal(size=d)
        logs = rbm.ais(flat(W, a, b), base[None], visible, np.linspace(0, 1, 200), M, KEY, stream(Use.AIS), seed)[0]
        w = np.exp(logs - logs.max())
        error = w.std(ddof=1) / (w.mean() * np.sqrt(M))
        log_Z, log_base = rbm_exact.log_partition(W, a, b, visible), _log_base(base, m, visible)
        found = log_base + logs.max() + np.log(w.mean())
        assert abs(found - log_Z) < 4 * error
        assert error < 0.1  # log of a mean is then near normal, and the bound says something
        assert abs(log_base - log_Z) > 4 * error
        scores.append((found - log_Z) / error)
    # The errors are as large as they say: neither too small nor too large.
    low, high = stats.chi2.ppf([ALPHA, 1 - ALPHA], 20)
    assert low < np.square(scores).sum() < high


@UNITS
def test_two_temperatures_are_importance_sampling(visible):
    d, m, M, k = 4, 3, 50, 2
    params, machines = _two_machines(21, d, m)
    base = np.random.default_rng(6).normal(size=(k, d))
    logs = rbm.ais(params, base, visible, np.array([0.0, 1.0]), M, KEY, STREAM, 9)
    draw = philox.normal if visible == GAUSSIAN else philox.uniform
    numbers = draw(KEY, STREAM + VISIBLE_STREAM, 9, 0, np.arange(M), k * d, np.float64).reshape(M, k, d)
    for j, parts in enumerate(machines):
        if visible == GAUSSIAN:
            V = base[j] + numbers[:, j]
            log_proposal = stats.norm.logpdf(V, base[j]).sum(axis=1)
        else:
            V = (numbers[:, j] < 1 / (1 + np.exp(-base[j]))) * 1.0
            log_proposal = stats.bernoulli.logpmf(V, 1 / (1 + np.exp(-base[j]))).sum(axis=1)
        # log w = log (e^−F / q), relative to Z⁰
        expected = -energy(V, *parts, visible) - log_proposal - _log_base(base[j], m, visible)
        np.testing.assert_allclose(logs[j], expected, rtol=0, atol=1e-12)


def test_annealing_to_the_base_model_itself_is_exact():
    # W = 0, a = 0, b = base: every weight is 1, whatever the temperatures.
    base = np.array([[0.3, -1.0, 2.0]])
    for visible in (BERNOULLI, GAUSSIAN):
        logs = rbm.ais(
            flat(np.zeros((3, 2)), np.zeros(2), base), base, visible, np.linspace(0, 1, 7), 5, KEY, STREAM, 0
        )
        np.testing.assert_allclose(logs, np.zeros((1, 5)), rtol=0, atol=1e-14)
        np.testing.assert_allclose(
            rbm_exact.log_partition(np.zeros((3, 2)), np.zeros(2), base[0], visible), _log_base(base[0], 2, visible)
        )
