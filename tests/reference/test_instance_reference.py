"""Instance discrimination and decorrelation: by hand, finite differences, PyTorch, the least value of decorrelation."""

import tracemalloc

import numpy as np
import pytest
from gradients import differences
from scipy.optimize import minimize

from csrl_core.contract.cases.instance import problem, unit
from csrl_core.reference import instance as reference

SIZE = 30, 8, 4, 3


@pytest.fixture
def arrays():
    return problem(*SIZE, np.float64)


def terms(a, background=True):
    """Arguments after Z of both losses."""
    h = a["background"] if background else a["background"][:, :0]
    return (a["index"], a["bank"], a["weights"], 0.7, h, 0.3), (a["weights"][a["index"]], 1.3, h[a["index"]])


def test_probabilities_of_three_instances_by_hand():
    bank = np.array([[1.0, 0], [0, 1], [-1, 0]])
    Z, none = np.array([[0.6, 0.8]]), np.empty((3, 0))
    p = np.exp(np.array([0.6, 0.8, -0.6]) / 0.5)
    losses, gradient = reference.discrimination(Z, np.array([1]), bank, np.ones(3), 0.5, none, 1.0)
    np.testing.assert_allclose(losses, [-np.log(p[1] / p.sum())], rtol=1e-14)
    np.testing.assert_allclose(gradient, [(p @ bank / p.sum() - bank[1]) / 0.5], rtol=1e-14)


def test_a_background_makes_look_alikes_weigh_more():
    bank = np.array([[1.0, 0], [0, 1], [-1, 0]])
    background = np.array([[1.0, 0], [1, 0], [0, 1]])  # the first two have the same
    p = np.exp(np.array([0.6, 0.8, -0.6]) / 0.5 + np.array([1, 1, 0]) / 0.1)
    losses, _ = reference.discrimination(np.array([[0.6, 0.8]]), np.array([1]), bank, np.ones(3), 0.5, background, 0.1)
    np.testing.assert_allclose(losses, [-np.log(p[1] / p.sum())], rtol=1e-12)


@pytest.mark.parametrize("background", [False, True])
def test_gradients_are_finite_differences(arrays, background):
    of_bank, of_batch = terms(arrays, background)
    Z, w = arrays["Z"], arrays["weights"][arrays["index"]]
    own = reference.discrimination(Z, *of_bank)[1]
    by = differences(lambda: (w * reference.discrimination(Z, *of_bank)[0]).sum(), Z)
    np.testing.assert_allclose(own, by, rtol=1e-6, atol=1e-8)
    own = reference.decorrelation(Z, *of_batch)[1]
    by = differences(lambda: reference.decorrelation(Z, *of_batch)[0], Z)
    np.testing.assert_allclose(own, by, rtol=1e-6, atol=1e-9)
    assert np.abs(own).max() > 1e-3


@pytest.mark.parametrize("background", [False, True])
def test_torch_has_the_same_losses_and_gradients(arrays, background):
    torch = pytest.importorskip("torch", reason="torch, the independent oracle, is not installed")
    a = {name: torch.tensor(array) for name, array in arrays.items()}
    Z, index, w, h = a["Z"].requires_grad_(), a["index"], a["weights"], a["background"]
    h = h if background else h[:, :0]
    logits = Z @ a["bank"].T / 0.7 + h[index] @ h.T / 0.3
    losses = (logits + w.log()).logsumexp(1) - logits[torch.arange(len(index)), index]
    f, g = (torch.nn.functional.normalize(w[index].sqrt()[:, None] * x, dim=0) for x in (Z, h[index]))
    c = f.T @ f / 1.3
    correlation = (torch.cat([c, (g.T @ f) ** 2 / 1.3]).logsumexp(0) - c.diagonal()).mean()
    ((w[index] * losses).sum() + correlation).backward()
    of_bank, of_batch = terms(arrays, background)
    own, G = reference.discrimination(arrays["Z"], *of_bank)
    value, H = reference.decorrelation(arrays["Z"], *of_batch)
    np.testing.assert_allclose(own, losses.detach(), rtol=1e-12)
    np.testing.assert_allclose(value, correlation.item(), rtol=1e-12)
    np.testing.assert_allclose(G + H, Z.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("D", [2, 3, 5])
def test_decorrelation_alone_is_least_at_columns_that_are_a_simplex(D):
    """Pairwise products of −1/(D − 1), the corners of a regular simplex: no others give a lower value."""
    b, none = 12, np.empty((12, 0))

    def value(z):
        loss, G = reference.decorrelation(z.reshape(b, D), np.ones(b), 2.0, none)
        return loss, G.ravel()

    found = minimize(value, np.random.default_rng(0).normal(size=b * D), jac=True, tol=1e-14)
    F, _ = reference.unit_columns(found.x.reshape(b, D))
    off = -1 / (D - 1)
    np.testing.assert_allclose(F.T @ F, np.where(np.eye(D), 1, off), atol=2e-5)
    np.testing.assert_allclose(found.fun, np.log(np.exp(0.5) + (D - 1) * np.exp(off / 2)) - 0.5, rtol=1e-9)


def test_columns_away_from_the_background_are_better_of_either_sign():
    F, none = np.eye(4)[:, :2], np.ones(4)
    along, across = np.eye(4)[:, :1], np.eye(4)[:, 3:]
    value = {name: reference.decorrelation(F, none, 2.0, h)[0] for name, h in (("along", along), ("across", across))}
    assert value["across"] < value["along"]
    np.testing.assert_allclose(reference.decorrelation(F, none, 2.0, -along)[0], value["along"], rtol=1e-15)


def test_a_weight_counts_a_sample_as_often_as_it_says(arrays):
    """Bank and batch with repeated rows, or rows with weights: the same losses and gradients."""
    a, times = arrays, np.array([1, 2, 3, 0] * 8)[: SIZE[0]]
    again = np.repeat(np.arange(SIZE[0]), times)
    weighted = reference.discrimination(a["Z"], a["index"], a["bank"], times.astype(float), 0.7, a["background"], 0.3)
    first = np.searchsorted(again, a["index"])  # one of its copies
    has = times[a["index"]] > 0
    repeated = reference.discrimination(
        a["Z"][has], first[has], a["bank"][again], np.ones(len(again)), 0.7, a["background"][again], 0.3
    )
    np.testing.assert_allclose(weighted[0][has], repeated[0], rtol=1e-12)
    np.testing.assert_allclose(weighted[1][has], times[a["index"]][has, None] * repeated[1], rtol=1e-12)
    assert (weighted[1][~has] == 0).all()
    counts = np.array([1, 2, 0, 3, 1, 1, 2, 1])
    h, rows = a["background"][a["index"]], np.repeat(np.arange(8), counts)
    one = reference.decorrelation(a["Z"], counts.astype(float), 1.3, h)
    other = reference.decorrelation(a["Z"][rows], np.ones(len(rows)), 1.3, h[rows])
    np.testing.assert_allclose(one[0], other[0], rtol=1e-12)
    sums = np.zeros((8, SIZE[2]))
    np.add.at(sums, rows, other[1])
    np.testing.assert_allclose(one[1], sums, atol=1e-14)


def test_small_temperatures_overflow_nowhere(arrays):
    a = arrays
    losses, G = reference.discrimination(
        a["Z"].astype(np.float32), a["index"], a["bank"].astype(np.float32), a["weights"].astype(np.float32), 1e-3,
        a["background"].astype(np.float32), 1e-3,
    )  # fmt: skip
    assert np.isfinite(losses).all()
    assert np.isfinite(G).all()


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_no_array_has_as_many_numbers_as_batch_times_bank(name):
    from csrl_core import backends

    n, b, D = 40_000, 64, 8
    a, kernel = problem(n, b, D, 0, np.float32), backends.get(name).instance
    arguments = a["Z"], a["index"], a["bank"], a["weights"], 1.0, a["background"], 1.0
    kernel.discrimination(*arguments)
    tracemalloc.start()
    try:
        kernel.discrimination(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.2 * n * b * 4


def test_the_bank_moves_halfway_and_back_to_the_sphere():
    bank = np.array([[1.0, 0], [0, 1], [0.6, 0.8]])
    reference.update_bank(bank, np.array([2, 0]), np.array([[1.0, 0], [0, 1]]), 0.5)
    halfway = unit(np.array([[0.5, 0.5], [0.8, 0.4]]))
    np.testing.assert_allclose(bank, [halfway[0], [0, 1], halfway[1]], rtol=1e-15)
    reference.update_bank(bank, np.array([1]), np.array([[0, -1.0]]), 0.5)  # the mean is 0 and has no direction
    assert (bank[1] == 0).all()
