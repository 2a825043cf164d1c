"""Contrastive losses: by hand, finite differences, torch, bounds; draws: who may be drawn, and how often."""

import numpy as np
import pytest

from csrl_core.reference import contrastive, norm
from csrl_core.reference.contrastive import COSINE, LOSSES, TRIPLET

DRAW = np.array([3, 4], np.uint32), 23, 5


def _arrays(m=7, width=5, seed=0):
    random = np.random.default_rng(seed)
    return [*random.normal(size=(3, m, width)), random.uniform(0.5, 2, m)]


def test_losses_by_hand():
    U, P, N = np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
    np.testing.assert_allclose(contrastive.losses(U, P, N, TRIPLET, 0.0), [3 * -1 + 4 * 2])
    np.testing.assert_allclose(contrastive.losses(U, P, N, COSINE, 0.0), [(0.16 + 0.64) / 2])
    np.testing.assert_allclose(contrastive.losses(U, P, N, TRIPLET, 0.5), [5 + 0.5 * (24**2 + 0 + 9)])
    dU, dP, dN = contrastive.gradients(U, P, N, np.array([2.0]), TRIPLET, 0.0)
    np.testing.assert_allclose([dU[0], dP[0], dN[0]], [[-2, 4], [-6, -8], [6, 8]])


@pytest.mark.parametrize("loss", LOSSES.values())
@pytest.mark.parametrize("reg", [0.0, 0.3])
def test_gradients_are_those_of_finite_differences(loss, reg):
    *arrays, weights = _arrays()
    for number, G in enumerate(contrastive.gradients(*arrays, weights, loss, reg)):
        for place in np.ndindex(G.shape):
            ends = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[number][place] += sign * 1e-6
                ends.append(weights @ contrastive.losses(*moved, loss, reg))
            assert abs((ends[0] - ends[1]) / 2e-6 - G[place]) < 1e-7 * max(1, np.abs(G).max())


@pytest.mark.parametrize("loss", LOSSES.values())
def test_torch_agrees(loss):
    torch = pytest.importorskip("torch")
    *arrays, weights = _arrays(11, 6)
    u, p, n = leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    if loss == TRIPLET:
        value = (u * (n - p)).sum(1)
    else:
        cosine = torch.nn.functional.cosine_similarity
        value = ((cosine(u, p) - 1) ** 2 + cosine(u, n) ** 2) / 2
    value = value + 0.7 * sum(((a * a).sum(1) - 1) ** 2 for a in leaves)
    (torch.tensor(weights) * value).sum().backward()
    np.testing.assert_allclose(contrastive.losses(*arrays, loss, 0.7), value.detach(), rtol=1e-12)
    for G, leaf in zip(contrastive.gradients(*arrays, weights, loss, 0.7), leaves, strict=True):
        np.testing.assert_allclose(G, leaf.grad, rtol=1e-10, atol=1e-12)


def test_bounds():
    *arrays, _ = _arrays(500)
    sphere = [norm.unit_rows(array)[0] for array in arrays]
    assert contrastive.losses(*sphere, TRIPLET, 0.0).min() >= -2
    assert contrastive.losses(*arrays, COSINE, 0.0).min() >= 0
    v = np.array([[1.0, 0.0]])
    for reg in (1e-3, 0.1, 1.0):  # −2 t² + 3 λ (t² − 1)² has its minimum −2 − 1/(3 λ) at t² = 1 + 1/(3 λ)
        t = np.geomspace(0.1, 1e4, 4000)[:, None] * v
        lowest = contrastive.losses(t, t, -t, TRIPLET, reg).min()
        assert lowest == pytest.approx(-2 - 1 / (3 * reg), rel=1e-3)
        random = [10.0 ** np.random.default_rng(0).uniform(-2, 3, (9000, 1)) * np.tile(a, (18, 1)) for a in sphere]
        assert contrastive.losses(*random, TRIPLET, reg).min() >= -2 - 1 / (3 * reg)
    assert contrastive.losses(1e3 * v, 1e3 * v, -1e3 * v, TRIPLET, 0.0) == -2e6  # nothing holds the bare loss


def test_negatives_come_from_other_clusters_and_are_all_as_likely():
    clusters, times = np.array([0, 0, 1, 1, 1, 2]), 4000
    drawn = np.stack([contrastive.negatives(clusters, 3, False, *DRAW[:2], s, np.arange(6))[0] for s in range(times)])
    for i in range(6):
        for j in range(3):
            allowed = [other for other in range(6) if clusters[other] != j and other != i]
            values, counts = np.unique(drawn[:, i, j], return_counts=True)
            assert list(values) == allowed
            np.testing.assert_allclose(counts / times, 1 / len(allowed), atol=0.035)
    assert contrastive.negatives(clusters, 3, False, *DRAW, np.arange(6))[1] == 0


def test_the_papers_negatives_are_the_same_in_all_columns():
    clusters = np.array([0, 0, 1, 1, 1, 2])
    for step in range(50):
        drawn, missing = contrastive.negatives(clusters, 3, True, *DRAW[:2], step, np.arange(6))
        assert missing == 0
        np.testing.assert_array_equal(drawn, np.repeat(drawn[:, :1], 3, axis=1))
        assert (clusters[drawn[:, 0]] != clusters).all()


def test_without_another_cluster_any_other_sample_is_taken_and_counted():
    for step in range(20):
        drawn, missing = contrastive.negatives(np.zeros(5, int), 1, False, *DRAW[:2], step, np.arange(5))
        assert missing == 5
        assert (drawn[:, 0] != np.arange(5)).all()
    drawn, missing = contrastive.negatives(np.array([1, 1]), 2, False, *DRAW, np.arange(2))
    np.testing.assert_array_equal(drawn[:, 1], [1, 0])
    assert missing == 2
    np.testing.assert_array_equal(contrastive.negatives(np.array([0]), 2, False, *DRAW, [7])[0], [[0, 0]])


def test_positives_are_of_the_same_class_and_all_as_likely():
    classes = np.array([1, 0, 1, -1, 1, 2, 0])
    order = np.argsort(classes, kind="stable")
    begins = np.searchsorted(classes[order], np.arange(4))
    arguments = order, begins, np.argsort(order, kind="stable"), classes
    times, rows = 3000, np.array([4, 1, 3, 5, 0])
    drawn = np.stack([contrastive.positives(*arguments, *DRAW[:2], step, rows) for step in range(times)])
    for column, allowed in zip(drawn.T, ([0, 2], [6], [3], [5], [2, 4]), strict=True):
        values, counts = np.unique(column, return_counts=True)
        assert list(values) == allowed
        np.testing.assert_allclose(counts / times, 1 / len(allowed), atol=0.04)


def test_rows_are_added_up_by_index():
    G = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(
        contrastive.add_rows(G, np.array([2, 0, 2, 2]), 4), [[2, 3], [0, 0], [10, 13], [0, 0]]
    )
