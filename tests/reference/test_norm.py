"""Batch normalisation, dropout, the unit sphere: cases by hand, finite differences, identities, and PyTorch."""

import numpy as np
import pytest
from gradients import differences

from csrl_core.contract.cases.norm import KEY, values
from csrl_core.reference import norm, philox

EPS = 1e-5


def channels(c):
    random = np.random.default_rng(c)
    return random.normal(size=c), random.normal(size=c)


def test_a_batch_by_hand():
    X = np.array([1.0, 3.0, 0.0, 4.0, 5.0, 5.0]).reshape(2, 3, 1)  # channels (1, 4), (3, 5), (0, 5)
    mean, variance = norm.batch_statistics(X)
    np.testing.assert_array_equal(mean, [2.5, 4, 2.5])
    np.testing.assert_array_equal(variance, [2.25, 1, 6.25])
    Y = norm.batch_norm(X, np.array([1.0, 2, 3]), np.array([0.0, 10, 0]), mean, variance, 0.0)
    np.testing.assert_allclose(Y[..., 0], [[-1, 8, -3], [1, 12, 3]])
    np.testing.assert_allclose(norm.running_average(np.array([1.0]), np.array([2.0]), 0.25), [1.25])


def test_what_is_normalised_has_mean_beta_and_deviation_gamma():
    X, (gamma, beta) = values(40, 6, 5, np.float64), channels(6)
    Y = norm.batch_norm(X, gamma, beta, *norm.batch_statistics(X), 0.0)
    np.testing.assert_allclose(Y.mean(axis=(0, 2)), beta)
    np.testing.assert_allclose(Y.std(axis=(0, 2)), np.abs(gamma))


@pytest.mark.parametrize("shape", [(7, 3, 1), (4, 2, 6), (1, 2, 5)])
@pytest.mark.parametrize("coupled", [False, True])
def test_gradients_are_finite_differences(shape, coupled):
    X, (gamma, beta) = values(*shape, np.float64), channels(shape[1])
    mean, variance = np.linspace(-1, 1, shape[1]), np.linspace(0.5, 2, shape[1])
    G = values(*shape, np.float64, seed=1)

    def statistics():
        return norm.batch_statistics(X) if coupled else (mean, variance)

    def loss():
        return (G * norm.batch_norm(X, gamma, beta, *statistics(), EPS)).sum()

    expected = [differences(loss, array) for array in (gamma, beta, X)]
    got = norm.batch_norm_backward(G, X, gamma, *statistics(), EPS, coupled)
    for own, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(own, wanted, rtol=1e-6, atol=1e-7)


def test_a_coupled_gradient_is_at_right_angles_to_shifts_and_scalings():
    # The output does not change if a channel is shifted, nor (without ε) if it is stretched.
    X, G, (gamma, _) = values(30, 4, 3, np.float64), values(30, 4, 3, np.float64, seed=1), channels(4)
    _, _, dX = norm.batch_norm_backward(G, X, gamma, *norm.batch_statistics(X), 0.0, True)
    np.testing.assert_allclose(dX.sum(axis=(0, 2)), 0, atol=1e-12)
    np.testing.assert_allclose((dX * X).sum(axis=(0, 2)), 0, atol=1e-12)


@pytest.mark.parametrize("shape", [(7, 3, 1), (4, 2, 6), (1, 2, 5)])
@pytest.mark.parametrize("training", [False, True])
def test_torch_agrees(shape, training):
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm1d(shape[1], eps=EPS, momentum=0.3, dtype=torch.float64).train(training)
    layer.weight.data, layer.bias.data = (torch.tensor(a) for a in channels(shape[1]))
    layer.running_mean.data, layer.running_var.data = torch.linspace(-1, 1, shape[1]), torch.linspace(0.5, 2, shape[1])
    layer.double()
    before = [layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()]
    X, G = values(*shape, np.float64), values(*shape, np.float64, seed=1)
    x = torch.tensor(X, requires_grad=True)
    Y = layer(x)
    Y.backward(torch.tensor(G))
    gamma, beta = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    mean, variance = norm.batch_statistics(X) if training else before
    np.testing.assert_allclose(norm.batch_norm(X, gamma, beta, mean, variance, EPS), Y.detach(), rtol=1e-9, atol=1e-12)
    got = norm.batch_norm_backward(G, X, gamma, mean, variance, EPS, training)
    for own, theirs in zip(got, (layer.weight.grad, layer.bias.grad, x.grad), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-7, atol=1e-10)
    if training:
        m = shape[0] * shape[2]
        np.testing.assert_allclose(norm.running_average(before[0], mean, 0.3), layer.running_mean)
        np.testing.assert_allclose(norm.running_average(before[1], variance * m / (m - 1), 0.3), layer.running_var)


def test_dropout_is_philox():
    X, rows = values(50, 8, 1, np.float64)[..., 0], np.arange(100, 150)
    u = philox.uniform(KEY, 19, 7, 0, rows, 8, np.float64)
    Y = norm.dropout(X, 0.3, KEY, 19, 7, rows)
    np.testing.assert_array_equal(Y == 0, u < 0.3)
    np.testing.assert_allclose(Y[u >= 0.3], X[u >= 0.3] / 0.7)


def test_dropout_keeps_the_mean_and_does_not_depend_on_the_batch():
    X, rows = np.ones((2000, 50)), np.arange(2000)
    Y = norm.dropout(X, 0.4, KEY, 19, 7, rows)
    assert abs(Y.mean() - 1) < 4 * np.sqrt(0.4 / 0.6 / X.size)
    order = np.random.default_rng(0).permutation(2000)[:300]
    np.testing.assert_array_equal(norm.dropout(X[order], 0.4, KEY, 19, 7, rows[order]), Y[order])
    assert (norm.dropout(X, 0.4, KEY, 19, 8, rows) != Y).any()


def test_dropout_is_its_own_way_back():
    X, G, rows = (*values(2, 30, 5, np.float64), np.arange(30))
    forward, back = (norm.dropout(A, 0.5, KEY, 1, 2, rows) for A in (X, G))
    np.testing.assert_allclose((forward * G).sum(), (X * back).sum())


def test_unit_rows_and_what_goes_back_through_them():
    random = np.random.default_rng(0)
    X, G = random.normal(size=(5, 4)), random.normal(size=(5, 4))
    V, norms = norm.unit_rows(X)
    np.testing.assert_allclose((V * V).sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(V * norms[:, None], X, rtol=1e-14)
    own = norm.unit_rows_gradient(G, V, norms)
    np.testing.assert_allclose(own, differences(lambda: (G * norm.unit_rows(X)[0]).sum(), X), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose((own * X).sum(axis=1), 0, atol=1e-14)  # along x nothing changes
    zeros = norm.unit_rows(np.zeros((2, 3)))
    assert (zeros[0] == 0).all()
    assert (zeros[1] == 1).all()
