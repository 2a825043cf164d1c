"""The contrastive model: gradients, passes that agree, views, positives, mean embeddings."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.models.architectures import encoder_parts
from csrl_core.models.contrastive import ContrastiveModel, Objective
from csrl_core.models.mean_embeddings import MeanEmbeddings
from csrl_core.models.network import Networks
from csrl_core.reference.augment import Augmentation
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters
from csrl_core.training.run import Batch

KEY = np.array([3, 4], np.uint32)
IMAGE, N, K = (1, 6, 6), 9, 3
CHANGES = Augmentation(1.0, 20.0, 0.1, 5.0, 1.5, 0.05)
SMALL = {
    "batch normalisation": encoder_parts(IMAGE, None, (7,), False, 0, 4),
    "batch normalisation, shared layers": encoder_parts(IMAGE, None, (7, 5), False, 2, 4),
    "convolutions": encoder_parts(IMAGE, None, (3, 4), True, 2, 4),
    "own rows": encoder_parts(IMAGE, ["dense 7 activation=tanh", "dropout 0.2"], (), False, 0, 4),
    "own rows, shared layers": encoder_parts(IMAGE, ["dense 7 activation=tanh shared", "dropout 0.2"], (), False, 0, 4),
    "linear": encoder_parts(IMAGE, [], (), False, 0, 4),
}
OBJECTIVES = {
    "usual": Objective(),
    "cosine": Objective("cosine", 0.5, False),
    "norms": Objective("triplet", 0.5, False),
    "the paper's": Objective(negatives="own", assignment="loss"),
}


def problem(name, objective="usual", backend="numpy", augmentation=CHANGES):
    """A model with its rule, parameters with state, the data, and arguments of `losses_and_gradient` but the draw."""
    random, backend = np.random.default_rng(0), backends.get(backend)
    networks = Networks(SMALL[name], K)
    model = ContrastiveModel(backend, networks, IMAGE, augmentation, OBJECTIVES[objective])
    rule, layout = MeanEmbeddings(model), Layout(networks.shapes)
    flat = layout.flatten(
        model.init_parameters(None, K, Draw(backend.philox, KEY, use=Use.INITIAL_PARAMETERS)), np.float64
    )
    X, assign, weights = random.uniform(size=(N, 36)), np.arange(N) % K, random.uniform(0.5, 2, N)
    data, params = Batch(X, X, np.arange(N), weights), Parameters(layout, flat, {})
    params.state |= model.init_state(params, data, assign, None, None)
    params.state |= rule.state(params, data, np.zeros((K, 36)), None)
    rule.refresh(params, params.state, [(rule.codes(params, X, np.zeros((K, 36)), None), assign, weights)], False, None)
    return model, rule, params, data, [X, X, np.zeros((K, 36)), assign, weights]


def training(model, step=5, rows=N):
    return Draw(backends.get("numpy").philox, KEY, step=step, rows=np.arange(rows))


def _kept(params, call):
    """What a call returns, with the state as it was before."""
    state = {key: array.copy() for key, array in params.state.items()}
    result = call()
    for key, array in state.items():
        params.state[key][...] = array
    return result


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_are_finite_differences(name, objective):
    model, _, params, _, arguments = problem(name, objective)
    assign, weights = arguments[3:]

    def evaluate():
        return _kept(params, lambda: model.losses_and_gradient(params, *arguments, training(model)))

    def value():
        return (weights * evaluate()[0][np.arange(N), assign]).sum()

    gradient = evaluate()[2]
    for seed in range(4):
        direction = np.random.default_rng(seed).normal(size=params.flat.shape)
        params.flat[...] += 1e-6 * direction
        above = value()
        params.flat[...] -= 2e-6 * direction
        slope = (above - value()) / 2e-6
        params.flat[...] += 1e-6 * direction
        assert abs(slope - gradient @ direction) < 2e-6 * max(1, abs(slope))


@pytest.mark.parametrize("name", ["own rows", "own rows, shared layers", "linear"])
def test_rows_of_the_own_cluster_give_what_all_rows_give(name):
    model, _, params, _, arguments = problem(name)
    narrow = model.losses_and_gradient(params, *arguments, training(model))
    model.coupled = True
    wide = model.losses_and_gradient(params, *arguments, training(model))
    np.testing.assert_allclose(wide[0], narrow[0], rtol=1e-12)
    np.testing.assert_allclose(wide[2], narrow[2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("backend", ["numba", "emulated"])
def test_backends_agree(name, backend):
    def results(each):
        model, rule, params, data, arguments = problem(name, backend=each)
        L, _, gradient = _kept(params, lambda: model.losses_and_gradient(params, *arguments, training(model)))
        A = rule.costs(params.state, rule.codes(params, data.X, np.zeros((K, 36)), None))
        return L, gradient, model.losses(params, data.X, data.X, arguments[2], None), A

    for own, other in zip(results("numpy"), results(backend), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-8, atol=1e-10)


def test_the_papers_rule_gives_the_losses_of_all_columns():
    model, _, params, _, arguments = problem("linear", "the paper's")
    assign = arguments[3]
    L, _, _ = model.losses_and_gradient(params, *arguments, training(model))
    assert (L != 0).all()
    model.every_loss = False
    alone, _, _ = model.losses_and_gradient(params, *arguments, training(model))
    rows = np.arange(N)
    np.testing.assert_allclose(L[rows, assign], alone[rows, assign], rtol=1e-12)


def test_views_with_and_without_classes():
    model, _, params, data, _ = problem("linear")
    X = data.X
    views, numbers = model._views(X, params.state, training(model), Use.AUGMENTATION)
    assert views.shape == (2 * N, 36)
    assert len(set(numbers)) == 2 * N
    assert np.abs(views[:N] - X).max(axis=1).min() > 0.01
    assert np.abs(views[:N] - views[N:]).max(axis=1).min() > 0.01
    classes = np.array([0, 0, 0, 1, 1, 1, -1, -1, 1])
    model.supervise(classes)
    views, _ = model._views(X, params.state, training(model), Use.AUGMENTATION)
    known = classes >= 0
    np.testing.assert_array_equal(views[:N][known], X[known])
    for i in np.flatnonzero(known):
        same = [j for j in np.flatnonzero(classes == classes[i]) if j != i]
        assert any(np.array_equal(views[N + i], X[j]) for j in same)
    assert np.abs(views[:N][~known] - X[~known]).max(axis=1).min() > 0.01


def test_costs_are_those_of_mean_embeddings():
    model, rule, params, data, arguments = problem("linear")
    assign, weights = arguments[3:]
    E = model.embed(params, data.X, arguments[2], None)
    np.testing.assert_allclose((E * E).sum(axis=2), 1)
    A = rule.costs(params.state, rule.codes(params, data.X, np.zeros((K, 36)), None))
    L = model.losses(params, data.X, data.X, arguments[2], None)
    for j in range(K):
        own = np.average(E[assign == j, j], axis=0, weights=weights[assign == j])
        others = np.average(E[assign != j, j], axis=0, weights=weights[assign != j])
        np.testing.assert_allclose(A[:, j], -E[:, j] @ own / np.linalg.norm(own), rtol=1e-12)
        np.testing.assert_allclose(L[:, j], E[:, j] @ others - 1, rtol=1e-12)
    params.state["embedding_weights"][1] = 0
    assert np.isinf(rule.costs(params.state, rule.codes(params, data.X, np.zeros((K, 36)), None))[:, 1]).all()


def test_noise_of_vectors_follows_the_data():
    _, _, params, data, _ = problem("linear", augmentation=Augmentation(noise=None))
    w = data.weight / data.weight.sum()
    variance = (w @ (data.X - w @ data.X) ** 2).mean()
    np.testing.assert_allclose(params.state["noise"], 0.1 * np.sqrt(variance))
