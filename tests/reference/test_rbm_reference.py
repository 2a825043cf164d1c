"""The Boltzmann machine's reference alone: hand-worked machines, gradients, chains and their random numbers.

What needs a machine's exact distribution is in test_rbm_exact, σ in test_sigmoid; that twins agree is in test_verify.
"""

import numpy as np
import pytest

from csrl_core.contract.cases.rbm import CASES
from csrl_core.reference import philox, rbm
from csrl_core.reference.rbm import BERNOULLI, GAUSSIAN, VISIBLE_STREAM
from csrl_core.reference.rbm_exact import states
from csrl_core.reference.sigmoid import sigmoid
from csrl_core.training.draws import Use, stream

pytestmark = pytest.mark.sensitive

KEY = np.array([0xA4093822, 0x299F31D0], np.uint32)
STREAM, STEP = stream(Use.GIBBS_TRAINING), 4
UNITS = pytest.mark.parametrize("visible", [BERNOULLI, GAUSSIAN], ids=["bernoulli", "gaussian"])


def problem(visible, n=17, d=5, k=3, m=4, seed=0):
    """Parameters, data, centres, assignment and weights, float64; no cluster is empty."""
    rng = np.random.default_rng([seed, visible])
    params = rng.normal(size=k * d * m + k * m + d)
    X = rng.normal(size=(n, d)) if visible == GAUSSIAN else np.round(rng.random((n, d)))
    assign = rng.permutation(np.arange(n) % k)
    return params, X, rng.uniform(-0.5, 0.5, (k, d)), assign, rng.uniform(0.5, 2, n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arguments_are_left_alone_and_dtypes_kept(dtype):
    for case in CASES:
        arguments = case.arguments(dtype)
        for array in arguments:
            if isinstance(array, np.ndarray) and array.ndim < 3:  # persistent chains, which move, have three axes
                array.flags.writeable = False
        found = getattr(rbm, case.function)(*arguments)
        for array in found if isinstance(found, tuple) else [found]:
            integer = array.dtype == np.int64 and case.function.endswith("losses_and_gradient")
            assert integer or array.dtype == (np.float64 if case.function == "ais" else dtype), case
            assert np.isfinite(array).all(), case


# ------------------------------------------------------------------------------------- energies

TINY = np.log([5.0, 2.0, 3.0])  # d = m = k = 1: e^W = 5, e^a = 2, e^b = 3
CENTER, NOBODY = np.zeros((1, 1)), np.zeros(2, np.int64)
BOTH = np.array([[0.0], [1.0]])


def test_a_machine_of_two_units_by_hand():
    # Σ_h e^{−E}: v = 0: 1 + 2 = 3; v = 1: 3 + 3·2·5 = 33.
    near = {"rtol": 1e-15, "atol": 1e-15}
    np.testing.assert_allclose(rbm.free_energy(TINY, BOTH, CENTER, BERNOULLI), -np.log([[3], [33]]), **near)
    np.testing.assert_allclose(rbm.hidden_probabilities(TINY, BOTH, CENTER, NOBODY), [[2 / 3], [10 / 11]], **near)
    np.testing.assert_allclose(rbm.visible_means(TINY, BOTH, NOBODY, CENTER, BERNOULLI), [[3 / 4], [15 / 16]], **near)
    gradient = rbm.energy_gradient(TINY, 1, BOTH, NOBODY, np.array([3.0, 22.0]), BERNOULLI)
    np.testing.assert_allclose(gradient, [-20, -22, -22], rtol=1e-15)  # −22·10/11; −3·2/3 − 22·10/11; −22
    # Means along the chain: h = 10/11, v = odds 3·5^{10/11}, F(v) = −v log 3 − log(1 + 2·5^v).
    odds = 3 * 5 ** (10 / 11)
    v = odds / (1 + odds)
    loss = -np.log(33) + v * np.log(3) + np.log(1 + 2 * 5**v)
    np.testing.assert_allclose(rbm.mean_field_losses(TINY, BOTH[1:], CENTER, BERNOULLI, 1), [[loss]], rtol=1e-14)


def test_a_gaussian_machine_of_two_units_by_hand():
    # W = 2, a = −3, b = 1, centre ½: x = 2 is v = 1½, a + Wv = 0, and F = ½·¼ − log 2.
    params, X, center = np.array([2.0, -3.0, 1.0]), np.array([[2.0]]), np.array([[0.5]])
    own, w = np.zeros(1, np.int64), np.array([4.0])
    np.testing.assert_allclose(rbm.free_energy(params, X, center, GAUSSIAN), [[0.125 - np.log(2)]], rtol=1e-15)
    assert rbm.hidden_probabilities(params, X, center, own).tolist() == [[0.5]]
    assert rbm.visible_means(params, np.array([[1.0]]), own, center, GAUSSIAN).tolist() == [[3.5]]  # 1 + 2 + ½
    assert rbm.energy_gradient(params, 1, X - center, own, w, GAUSSIAN).tolist() == [-3, -2, -2]
    # Means along the chain: h = ½, v = 1 + 2·½ = 2, F = ½ − log(1 + e).
    loss = 0.125 - np.log(2) - 0.5 + np.log(1 + np.e)
    np.testing.assert_allclose(rbm.mean_field_losses(params, X, center, GAUSSIAN, 1), [[loss]], rtol=1e-14)


@UNITS
def test_free_energy_sums_the_hidden_units_out(visible):
    params, X, centers, *_ = problem(visible)
    W, a, b = rbm.views(params, *centers.shape)
    H, F = states(4), np.empty((len(X), 3))
    for i, j in np.ndindex(*F.shape):
        v = X[i] - centers[j]
        outside = 0.5 * ((v - b) ** 2).sum() if visible == GAUSSIAN else -b @ v
        energies = [outside - a[j] @ h - v @ W[j] @ h for h in H]
        F[i, j] = -np.log(np.exp(-np.array(energies)).sum())
    # Sums of about 20 terms of size up to 10 or so: 1e-13 is some 50 roundings of the largest.
    np.testing.assert_allclose(rbm.free_energy(params, X, centers, visible), F, rtol=0, atol=1e-13)


@UNITS
def test_mean_field_chains_are_composed_of_means(visible):
    params, X, centers, *_ = problem(visible)
    for j in range(3):
        own, V = np.full(len(X), j), X
        for n_steps in range(4):
            F = [rbm.free_energy(params, V_, centers, visible)[:, j] for V_ in (X, V)]
            L = rbm.mean_field_losses(params, X, centers, visible, n_steps)[:, j]
            np.testing.assert_allclose(L, F[0] - F[1], rtol=1e-12, atol=1e-12)
            V = rbm.visible_means(params, rbm.hidden_probabilities(params, V, centers, own), own, centers, visible)


def test_views_are_views():
    params = np.arange(2.0 * 3 * 4 + 2 * 4 + 3)
    W, a, b = rbm.views(params, 2, 3)
    assert (W.shape, a.shape, b.shape) == ((2, 3, 4), (2, 4), (3,))
    assert np.concatenate([W.ravel(), a.ravel(), b]).tolist() == params.tolist()
    W[1, 2, 3] = a[0, 0] = b[2] = -1
    assert np.flatnonzero(params == -1).tolist() == [23, 24, 34]


# ------------------------------------------------------------------------------------- gradients


def _by_differences(value, params, gradient):
    """Central differences, each within 1e-7 of the gradient's largest entry."""
    for i in range(len(params)):
        # Truncation h² and rounding eps/h balance near h = eps^(1/3).
        h, step = 6e-6, np.zeros_like(params)
        step[i] = h
        slope = (value(params + step) - value(params - step)) / (2 * h)
        assert abs(slope - gradient[i]) < 1e-7 * max(1, np.abs(gradient).max())


@UNITS
def test_energy_gradient_by_central_differences(visible):
    params, X, centers, assign, weights = problem(visible)
    weights[::2] *= -1
    rows = np.arange(len(X))
    gradient = rbm.energy_gradient(params, 3, X - centers[assign], assign, weights, visible)
    _by_differences(lambda p: weights @ rbm.free_energy(p, X, centers, visible)[rows, assign], params, gradient)


def _divergence(visible, n_steps=2, every=True, params=None, assign=0, rows=None, part=slice(None)):
    """losses_and_gradient of ``problem``; assign=0 takes the problem's."""
    own, X, centers, s, weights = problem(visible)
    params, s = own if params is None else params, s if isinstance(assign, int) else assign
    s = s if s is None else s[part]
    rows = np.arange(len(X)) if rows is None else rows
    return rbm.losses_and_gradient(
        params, X[part], centers, s, weights[part], visible, n_steps, every, KEY, STREAM, STEP, rows[part]
    )


@UNITS
def test_contrastive_divergence_by_central_differences(visible):
    params, X, centers, assign, weights = problem(visible)
    first, rows = X - centers[assign], np.arange(len(X))
    last = rbm.gibbs(params, 3, first, assign, visible, 2, KEY, STREAM, STEP, 0, rows)
    assert (last != first).any()

    def value(p):  # v^K as it was
        F = [rbm.free_energy(p, V + centers[assign], centers, visible)[rows, assign] for V in (first, last)]
        return weights @ (F[0] - F[1])

    L, s, gradient = _divergence(visible)
    _by_differences(value, params, gradient)
    np.testing.assert_allclose(weights @ L[rows, assign], value(params), rtol=1e-12)
    np.testing.assert_array_equal(s, assign)


@UNITS
def test_gradients_by_autograd(visible):
    torch = pytest.importorskip("torch", reason="a second opinion: pip install csrl_core[oracle]")
    params, X, centers, assign, weights = problem(visible)
    first = X - centers[assign]
    last = rbm.gibbs(params, 3, first, assign, visible, 3, KEY, STREAM, STEP, 0, np.arange(len(X)))
    p = torch.tensor(params, requires_grad=True)
    W, a, b = p[:60].reshape(3, 5, 4), p[60:72].reshape(3, 4), p[72:]

    def energy(V):
        V = torch.tensor(V)
        inside = torch.einsum("nd,ndm->nm", V, W[assign]) + a[assign]
        outside = 0.5 * ((V - b) ** 2).sum(1) if visible == GAUSSIAN else -V @ b
        return outside - torch.nn.functional.softplus(inside, threshold=1000).sum(1)

    (torch.tensor(weights) * (energy(first) - energy(last))).sum().backward()
    gradient = _divergence(visible, n_steps=3)[2]
    np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=1e-12, atol=1e-12 * np.abs(gradient).max())


# ------------------------------------------------------------------------------------- chains and their numbers


def _by_number(V, W, a, b, j, visible, n_steps, step, substep, rows, width):
    """A chain under cluster j with every unit's random number looked up by its element."""
    for t in range(substep, substep + n_steps):
        hidden = philox.uniform(KEY, STREAM, step, t, range(max(rows) + 1), width * len(a), V.dtype)
        H = (hidden.reshape(-1, width, len(a))[rows, j] < sigmoid(V @ W + a)) * 1.0
        draw = philox.normal if visible == GAUSSIAN else philox.uniform
        z = draw(KEY, STREAM + VISIBLE_STREAM, step, t, range(max(rows) + 1), width * len(b), V.dtype)
        z, A = z.reshape(-1, width, len(b))[rows, j], H @ W.T + b
        V = A + z if visible == GAUSSIAN else (z < sigmoid(A)) * 1.0
    return V


@UNITS
def test_gibbs_by_element_number(visible):
    params, X, centers, assign, _ = problem(visible)
    W, a, b = rbm.views(params, *centers.shape)
    V, rows = X - centers[assign], np.random.default_rng(1).permutation(50)[: len(X)]
    last = rbm.gibbs(params, 3, V, assign, visible, 3, KEY, STREAM, STEP, 2, rows)
    for j in range(3):
        own = assign == j
        expected = _by_number(V[own], W[j], a[j], b, j, visible, 3, STEP, 2, rows[own], 3)
        np.testing.assert_allclose(last[own], expected, rtol=1e-12, atol=1e-12)
    # One step, then two more, is three; no step is a copy.
    part = rbm.gibbs(params, 3, V, assign, visible, 1, KEY, STREAM, STEP, 2, rows)
    np.testing.assert_array_equal(rbm.gibbs(params, 3, part, assign, visible, 2, KEY, STREAM, STEP, 3, rows), last)
    still = rbm.gibbs(params, 3, V, assign, visible, 0, KEY, STREAM, STEP, 0, rows)
    np.testing.assert_array_equal(still, V)
    assert not np.shares_memory(still, V)


@UNITS
def test_no_random_number_is_used_twice(visible, monkeypatch):
    # Every (stream, step, substep, block, word) of three steps, AIS included, under all clusters.
    drawn, of_columns = [], rbm._of_columns

    def record(draw, key, stream, step, substep, rows, width, column, A):
        per_block = 4 if draw is philox.uniform else 2
        elements = np.asarray(rows)[:, None] * width + column + np.arange(A.shape[1])
        assert column + A.shape[1] <= width
        drawn.extend((stream, step, substep, e // per_block, e % per_block) for e in elements.ravel().tolist())
        return of_columns(draw, key, stream, step, substep, rows, width, column, A)

    monkeypatch.setattr(rbm, "_of_columns", record)
    params, X, centers, assign, weights = problem(visible)
    n, (k, d), m = len(X), centers.shape, 4
    rbm.gibbs(params, k, X, assign, visible, 3, KEY, STREAM, STEP, 0, np.arange(n))
    assert len(set(drawn)) == len(drawn) == 3 * n * (d + m)
    drawn.clear()
    chains = np.zeros((k, 6, d)), np.zeros((k, 6, m))
    persistent = stream(Use.PERSISTENT_CHAINS)
    rbm.persistent_losses_and_gradient(params, X, centers, assign, weights, visible, *chains, 3, KEY, persistent, STEP)
    rbm.ais(params, np.zeros((k, d)), visible, np.linspace(0, 1, 4), 7, KEY, stream(Use.AIS), 0)
    assert len(set(drawn)) == len(drawn) == k * (3 * 6 * (d + m) + 7 * (3 * d + 2 * m))


def test_streams_of_hidden_and_visible_units_are_apart():
    labels = [stream(use, restart=restart) for use in Use for restart in (0, 1, 2**16 - 1)]
    assert [label + VISIBLE_STREAM for label in labels] == [
        stream(use, 1, restart) for use in Use for restart in (0, 1, 2**16 - 1)
    ]
    assert len({*labels, *(label + VISIBLE_STREAM for label in labels)}) == 2 * len(labels)


@UNITS
def test_assigned_columns_are_columns_of_all(visible):
    assign, rows = problem(visible)[3], np.arange(17)
    L, _, gradient = _divergence(visible)
    own, _, again = _divergence(visible, every=False)
    np.testing.assert_array_equal(own, np.where(assign[:, None] == np.arange(3), own, 0))
    np.testing.assert_allclose(own[rows, assign], L[rows, assign], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(again, gradient)
    # Chosen: the lowest, with the gradient of that choice.
    L_chosen, s, chosen = _divergence(visible, assign=None)
    np.testing.assert_array_equal(s, L.argmin(axis=1))
    np.testing.assert_array_equal(L_chosen, L)
    np.testing.assert_array_equal(chosen, _divergence(visible, assign=s)[2])


@UNITS
def test_noise_belongs_to_the_sample_and_the_cluster(visible):
    params, X, centers, *_ = problem(visible)
    W, a, b = (view.copy() for view in rbm.views(params, 3, 5))
    alike = np.concatenate([np.repeat(W[:1], 3, axis=0).ravel(), np.repeat(a[:1], 3, axis=0).ravel(), b])
    nothing, rows = np.zeros_like(centers), np.arange(len(X))
    F = rbm.free_energy(alike, X, nothing, visible)
    np.testing.assert_array_equal(F, np.repeat(F[:, :1], 3, axis=1))
    everyone = [np.full(len(X), j) for j in range(3)]
    ends = [rbm.gibbs(alike, 3, X, s, visible, 1, KEY, STREAM, STEP, 0, rows) for s in everyone]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (ends[one] != ends[other]).any(axis=1).mean() > 0.5
    # A permuted batch has the permuted losses and the same gradient, to the rounding of sums of 17.
    order = np.random.default_rng(3).permutation(len(X))
    L, _, gradient = _divergence(visible)
    moved, _, same = _divergence(visible, part=order)
    np.testing.assert_allclose(moved, L[order], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(same, gradient, rtol=1e-12, atol=1e-12 * np.abs(gradient).max())
    other = _divergence(visible, rows=rows + 1)[0]
    assert (np.abs(other - L) > 1e-3).any(axis=1).mean() > 0.5


@UNITS
def test_persistent_chains_go_on(visible):
    """The visible and hidden units of every step by hand, then loss and gradient where they stand."""
    params, X, centers, assign, weights = problem(visible)
    (W, a, b), every = rbm.views(params, 3, 5), np.repeat(np.arange(3), 6)
    chains, n, rows = np.zeros((3, 6, 5)), np.arange(len(X)), np.arange(6)
    hidden = np.round(np.random.default_rng(5).random((3, 6, 4)))
    expected, draw = hidden.copy(), rbm.gaussian_units if visible == GAUSSIAN else rbm.bernoulli_units
    for step in (STEP, STEP + 1):
        L, s, gradient = rbm.persistent_losses_and_gradient(
            params, X, centers, None, weights, visible, chains, hidden, 2, KEY, STREAM, step
        )
        for j in range(3):
            h = expected[j]
            for t in (0, 1):
                v = draw(h @ W[j].T, b, KEY, STREAM + VISIBLE_STREAM, step, t, rows, 15, 5 * j)
                h = rbm.bernoulli_units(v @ W[j], a[j], KEY, STREAM, step, t, rows, 12, 4 * j)
            np.testing.assert_allclose(chains[j], v, rtol=1e-12, atol=1e-12)
            expected[j] = h
        np.testing.assert_array_equal(hidden, expected)
    flat = chains.reshape(18, 5)
    means = rbm.free_energy(params, flat, np.zeros((3, 5)), visible)[np.arange(18), every].reshape(3, 6).mean(axis=1)
    np.testing.assert_allclose(L, rbm.free_energy(params, X, centers, visible) - means, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(s, L.argmin(axis=1))

    def value(p):  # the chains as they stand
        F = rbm.free_energy(p, X, centers, visible)[n, s]
        outside = rbm.free_energy(p, flat, np.zeros((3, 5)), visible)[np.arange(18), every].reshape(3, 6).mean(axis=1)
        return weights @ (F - outside[s])

    _by_differences(value, params, gradient)
    moved = chains.copy(), hidden.copy()
    _, _, given = rbm.persistent_losses_and_gradient(
        params, X, centers, assign, weights, visible, *moved, 0, KEY, STREAM, 0
    )
    s = assign
    for array, before in zip(moved, (chains, hidden), strict=True):
        np.testing.assert_array_equal(array, before)
    _by_differences(value, params, given)
