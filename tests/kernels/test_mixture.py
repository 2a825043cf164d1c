"""The likelihood rule: kernels by hand, the density of a mixture of PPCA, and what the estimator makes of it."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, datasets, load
from csrl_core import backends as backend
from csrl_core.callbacks import Checkpoint
from csrl_core.metrics import adjusted_rand_index
from csrl_core.training.likelihood import FLOOR, gaussians, orthonormal_decoder
from csrl_core.training.run import Run

pytestmark = pytest.mark.sensitive

X, Y = datasets.make_triangle(random_state=0)


@pytest.fixture(params=["numpy", "numba"])
def kernels(request):
    return backend.get(request.param).mixture


def fit(X=X, weight=None, **changes):
    arguments = {"n_clusters": 3, "hidden": (2,), "reg": 0.0, "learning_rate": 0.05, "epochs": 40}
    arguments |= {"assignment": "likelihood", "random_state": 0, "backend": "numpy"} | changes
    return TensorizedAutoencoder(**arguments).fit(X, sample_weight=weight)


# ------------------------------------------------------------------------------------- kernels


def test_moments_by_hand(kernels):
    Z = np.array([[[1, 2], [9, 9]], [[9, 9], [3, 0]], [[2, -1], [9, 9]]], np.float32)
    residuals = np.array([[4, 9], [9, 5], [2, 9]], np.float32)
    found = kernels.statistics(Z, residuals, np.array([0, 1, 0]), np.array([1, 2, 0.5], np.float32))
    scatter, noise, totals = found
    assert scatter.tolist() == [[[3, 1], [1, 4.5]], [[18, 0], [0, 0]]]
    assert noise.tolist() == [5, 10]
    assert totals.tolist() == [1.5, 2]
    assert all(array.dtype == np.float64 for array in found)


def test_costs_by_hand(kernels):
    Z, residuals = np.array([[[1.0, 2], [0, 0]], [[0, 1], [2, 2]]]), np.array([[4.0, 6], [2, 0]])
    precision = np.array([[[2, 1], [1, 3]], [[1, 0], [0, 0.5]]])
    A = kernels.costs(Z, residuals, precision, np.array([0.5, 2]), np.array([1.0, np.inf]))
    assert A.tolist() == [[11, np.inf], [3, np.inf]]
    A = kernels.costs(Z, residuals, precision, np.array([0.5, 2]), np.array([1.0, -3]))
    assert A.tolist() == [[11, 3], [3, 0]]


def test_moments_keep_their_digits_over_many_samples(kernels):
    n = 2**18 + 1
    ones = np.ones((n, 1), np.float32)
    scatter, noise, totals = kernels.statistics(64 * ones[:, :, None], 16 * ones, np.zeros(n, np.int64), ones[:, 0])
    assert (scatter[0, 0, 0], noise[0], totals[0]) == (4096.0 * n, 16.0 * n, n)


# ------------------------------------------------------------------------------------- density


def textbook_density(model, X, weight):
    """log Σ π_j N(x; c_j, C_j) from the formula for any basis D of the subspace, by n × n × d arithmetic."""
    state, named = model.state_, model.named_parameters()
    costs, logs = [], []
    for j, c in enumerate(model.cluster_centers_):
        D = named["decoder.0.weight"][j]
        for number in range(1, len(named) // 2):
            D = D @ named[f"decoder.{number}.weight"][j]
        h, d = D.shape
        z = (X - c) @ D.T @ np.linalg.inv(D @ D.T)
        e = X - c - z @ D
        own = state["assign"] == j
        w = weight[own]
        S = (w[:, None] * z[own]).T @ z[own] / w.sum()
        variance = (w * (e[own] ** 2).sum(axis=1)).sum() / (w.sum() * (d - h))
        mixing = w.sum() / weight.sum()
        costs.append(
            -np.log(mixing)
            + 0.5 * (e**2).sum(axis=1) / variance
            + 0.5 * (d - h) * np.log(variance)
            + 0.5 * np.einsum("na,ab,nb->n", z, np.linalg.inv(S), z)
            + 0.5 * np.linalg.slogdet(S)[1]
            + 0.5 * np.linalg.slogdet(D @ D.T)[1]
            + 0.5 * d * np.log(2 * np.pi)
        )
        projector = D.T @ np.linalg.inv(D @ D.T) @ D
        C = D.T @ S @ D + variance * (np.eye(d) - projector)
        logs.append(np.log(mixing) + multivariate_normal(c, C).logpdf(X))
    np.testing.assert_allclose(-np.transpose(costs), np.transpose(logs), rtol=1e-9, atol=1e-9)
    return logsumexp(logs, axis=0)


@pytest.mark.parametrize("hidden", [(1,), (2,), (3, 2), (4,), (2, 3)])
@pytest.mark.parametrize("assign_first", [False, True])
def test_score_samples_is_the_density_of_a_mixture_of_ppca(hidden, assign_first):
    # Few steps from random parameters: bases that are far from orthonormal and from principal.
    weight = np.random.default_rng(1).uniform(0.2, 3, len(X))
    update = "assign-then-step" if assign_first else "step-then-assign"
    model = fit(hidden=hidden, epochs=3, weight=weight, update=update)
    if hidden == (2, 3):  # three latent dimensions, of which a decoder through two can use only two
        named = model.named_parameters()
        equal = fit(hidden=(2,), epochs=0, weight=weight, init=model.state_["assign"])
        equal.named_parameters()["decoder.0.weight"][...] = named["decoder.1.weight"]
        equal.state_ = model.state_
        equal.cluster_centers_ = model.cluster_centers_
        expected = textbook_density(equal, X, weight)
    else:
        expected = textbook_density(model, X, weight)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-8, atol=1e-8)
    assert model.score(X) == pytest.approx(expected.mean(), abs=1e-8)


def test_the_basis_does_not_matter():
    model = fit(epochs=5)
    before, labels = model.score_samples(X), model.predict(X)
    mixer = np.random.default_rng(0).normal(size=(3, 2, 2)) + 2 * np.eye(2)
    model.named_parameters()["decoder.0.weight"][...] = mixer @ model.named_parameters()["decoder.0.weight"]
    # The coordinates turn with the basis, so the state has to be taken anew.
    objective, data = _objective(model)
    objective.refresh(Run(model.params_, model.state_), data)
    np.testing.assert_allclose(model.score_samples(X), before, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(model.predict(X), labels)


def _objective(model):
    """The objective and data of a fitted model."""
    from csrl_core.training.run import as_batch

    floor, shift = backend.get("numpy"), model.state_["shift"]
    objective = model._objective(model._model(floor), floor, model._key, shift, "random", batches=1)
    objective.set_layout(model._shapes)
    return objective, as_batch(X, X, np.ones(len(X)), shift)


@pytest.mark.parametrize("h", [1, 2, 4])
def test_one_cluster_is_pca(h):
    model = fit(n_clusters=1, hidden=(h,), solver="exact")
    pca, n = PCA(h).fit(X), len(X)
    # scikit-learn divides by n − 1, maximum likelihood by n; the rest is equal.
    pca.explained_variance_ = pca.explained_variance_ * (n - 1) / n
    pca.noise_variance_ *= (n - 1) / n
    assert model.score(X) == pytest.approx(pca.score(X), abs=1e-10)
    np.testing.assert_allclose(model.score_samples(X), pca.score_samples(X), rtol=1e-9)
    assert model.gaussians().noise_variance[0] == pytest.approx(pca.noise_variance_, rel=1e-10)
    # The same without touching scikit-learn's numbers, by the change that the factor a = (n − 1)/n makes.
    a, d = (n - 1) / n, X.shape[1]
    assert model.score(X) == pytest.approx(PCA(h).fit(X).score(X) - d / 2 * (np.log(a) + 1 - a), abs=1e-10)


def test_biases_shift_the_subspace():
    model = fit(bias=True, epochs=5, hidden=(3, 2), n_clusters=2)
    named, state = model.named_parameters(), model.state_
    logs = []
    for j, c in enumerate(model.cluster_centers_):
        D = named["decoder.0.weight"][j] @ named["decoder.1.weight"][j]
        offset = named["decoder.0.bias"][j] @ named["decoder.1.weight"][j] + named["decoder.1.bias"][j]
        Q = np.linalg.qr(D.T)[0]
        mean = c + offset - Q @ (Q.T @ offset)
        z, own = (X - mean) @ Q, state["assign"] == j
        e = X - mean - z @ Q.T
        S = z[own].T @ z[own] / own.sum()
        variance = (e[own] ** 2).sum() / (own.sum() * 3)
        C = Q @ S @ Q.T + variance * (np.eye(5) - Q @ Q.T)
        logs.append(np.log(own.mean()) + multivariate_normal(mean, C).logpdf(X))
        assert np.abs(offset).max() > 1e-3
    np.testing.assert_allclose(model.score_samples(X), logsumexp(logs, axis=0), rtol=1e-8)


def test_orthonormal_decoder_is_smooth_and_orthonormal():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 2, 4)), rng.normal(size=(1, 4, 6))]
    basis, offset = orthonormal_decoder(weights, [None, None], 3)
    np.testing.assert_allclose(basis @ basis.transpose(0, 2, 1), np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-14)
    assert not offset.any()
    moved, _ = orthonormal_decoder([weights[0] * (1 + 1e-7), weights[1]], [None, None], 3)
    np.testing.assert_allclose(moved, basis, atol=1e-12)
    weights[0][1, 0, 0] = np.inf
    assert np.isnan(orthonormal_decoder(weights, [None, None], 3)[0]).any()


# ------------------------------------------------------------------------------------ small clusters


def test_floors_and_small_clusters():
    scatter = np.array([[[4.0, 0], [0, 0]], [[2.0, 0], [0, 6]], [[0.0, 0], [0, 0]]])
    noise, totals, counts = np.array([6.0, 12, 0]), np.array([2.0, 2, 0]), np.array([4, 3, 0])
    found = gaussians(scatter, noise, totals, counts, 5, 0.25, True)
    # Enough samples: its own statistics, no eigenvalue below the floor.
    np.testing.assert_allclose(found.covariance[0], [[2, 0], [0, 0.25]])
    assert found.noise_variance[0] == 1.0
    # No more than h + 1 samples, or none: everybody's, the same in all directions.
    for j in (1, 2):
        np.testing.assert_allclose(found.covariance[j], 1.5 * np.eye(2), atol=1e-15)
        assert found.noise_variance[j] == 1.5
    np.testing.assert_allclose(found.precision @ found.covariance, np.broadcast_to(np.eye(2), (3, 2, 2)), atol=1e-15)
    assert found.mixing.tolist() == [0.5, 0.5, 0]
    assert found.constant[2] == np.inf
    # Codes on a scale of their own have a floor on that scale.
    other = gaussians(1e-9 * scatter, noise, totals, counts, 5, 0.25, False)
    np.testing.assert_allclose(np.linalg.eigvalsh(other.covariance[0]), [FLOOR * 1.5e-9, 2e-9], rtol=1e-9)


@pytest.mark.parametrize("solver", ["gradient", "exact"])
def test_a_cluster_of_one_sample_is_no_spike(solver):
    Z = np.vstack([X, [[100.0, 100, 100, 100, 100]]])
    labels = np.append(Y, 3)
    model = fit(Z, n_clusters=4, init=labels, solver=solver, epochs=3)
    assert np.isfinite(model.score_samples(Z)).all()
    assert model.score_samples(Z)[-1] < model.score_samples(Z)[:-1].max()
    np.testing.assert_array_equal(model.labels_, model.predict(Z))


@pytest.mark.parametrize("solver", ["gradient", "exact"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_covariances_and_constant_data(solver, dtype):
    line = np.outer(np.linspace(-1, 1, 40), [1, 2, 0, 0]).astype(dtype)
    twice = np.vstack([line, line[::-1] * dtype(0.5) + dtype(3)])
    for Z in (twice, np.repeat([[0, 1, 5, 0], [2, 3, 5, 0]], 20, axis=0).astype(dtype), np.full((20, 4), 7, dtype)):
        model = fit(Z, n_clusters=2, solver=solver, epochs=20)
        assert np.isfinite(model.score_samples(Z)).all()
        np.testing.assert_allclose(model.predict_proba(Z).sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(model.labels_, model.predict(Z))


def test_more_clusters_than_distinct_samples():
    Z = np.repeat([[0.0, 1.0, 0], [2.0, 3.0, 0]], 10, axis=0)
    model = fit(Z, n_clusters=4, hidden=(1,), epochs=5)
    assert np.isfinite(model.score_samples(Z)).all()
    assert np.isfinite(model.predict_proba(Z)).all()


# ------------------------------------------------------------------------------------ the estimator


def test_responsibilities():
    model = fit()
    P = model.predict_proba(X)
    assert P.shape == (150, 3)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(P.argmax(axis=1), model.predict(X))
    assert (1 - P.max(axis=1)).max() > 1e-3  # some samples are between clusters
    assert fit(X.astype(np.float32)).predict_proba(X.astype(np.float32)).dtype == np.float32


def test_loss_has_no_likelihood():
    model = fit(assignment="loss")
    assert not hasattr(model, "predict_proba")
    assert not hasattr(model, "gaussians")
    with pytest.raises(AttributeError, match="no attribute 'predict_proba'") as caught:
        _ = model.predict_proba
    assert "assignment='likelihood', not 'loss'" in str(caught.value.__cause__)
    np.testing.assert_array_equal(model.score_samples(X), -model.cluster_losses(X).min(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["gradient", "exact"])
def test_labels_are_predictions(solver, dtype):
    Z = X.astype(dtype)
    model = fit(Z, solver=solver, epochs=7)
    np.testing.assert_array_equal(model.labels_, model.predict(Z))
    np.testing.assert_array_equal(model.predict(Z[::-1]), model.labels_[::-1])
    np.testing.assert_array_equal([model.predict(z[None])[0] for z in Z[::10]], model.labels_[::10])


def test_denoising_labels_are_predictions_too():
    # The density is that of the input: what there is to go by at prediction.
    noisy = X + 0.1 * np.random.default_rng(0).normal(size=X.shape)
    model = TensorizedAutoencoder(
        n_clusters=3, hidden=(2,), assignment="likelihood", epochs=20, random_state=0, backend="numpy"
    ).fit(noisy, target=X)
    np.testing.assert_array_equal(model.labels_, model.predict(noisy))


def test_it_finds_what_the_loss_does_not():
    arguments = {"n_init": 10, "epochs": 150, "learning_rate": 0.1}
    likelihood, loss = (fit(assignment=rule, **arguments) for rule in ("likelihood", "loss"))
    assert adjusted_rand_index(Y, likelihood.labels_) >= 0.98
    assert adjusted_rand_index(Y, loss.labels_) < 0.8


def test_restarts_are_chosen_by_the_likelihood():
    scores = [fit(n_init=n, init="random", epochs=30).score(X) for n in (1, 3, 6)]
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_whole_number_weights_are_repetitions():
    weight = np.random.default_rng(3).integers(0, 3, len(X))
    repeated = np.repeat(np.arange(len(X)), weight)
    arguments = {"epochs": 12, "init": "random"}
    a = fit(weight=weight, **arguments | {"init": Y})
    b = fit(X[repeated], **arguments | {"init": Y[repeated]})
    np.testing.assert_allclose(a.params_, b.params_, rtol=1e-8)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(X), rtol=1e-8)


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("solver", ["gradient", "exact"])
def test_an_interrupted_fit_resumes_to_the_same(tmp_path, solver, batch_size):
    if solver == "exact" and batch_size:
        batch_size = None
    arguments = {"solver": solver, "batch_size": batch_size, "init": "random"}
    whole = fit(epochs=6, **arguments)
    part = TensorizedAutoencoder(**clone(whole).set_params(epochs=3).get_params())
    path = tmp_path / "checkpoint"
    part.set_callbacks(Checkpoint(path)).fit(X)
    resumed = clone(whole).fit(X, resume=path)
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    np.testing.assert_array_equal(resumed.score_samples(X), whole.score_samples(X))


def test_a_saved_model_gives_the_same_density(tmp_path):
    model = fit(solver="exact")
    model.save(tmp_path / "model")
    read = load(tmp_path / "model")
    assert (read.assignment, read.solver) == ("likelihood", "exact")
    np.testing.assert_array_equal(read.score_samples(X), model.score_samples(X))


def test_partial_fit_adds_up():
    model = TensorizedAutoencoder(
        n_clusters=3, hidden=(2,), reg=0.0, assignment="likelihood", random_state=0, backend="numpy"
    )
    for _ in range(30):
        for rows in np.array_split(np.random.default_rng(0).permutation(len(X)), 3):
            model.partial_fit(X[rows])
    assert model.state_["moment_totals"].sum() == 30 * len(X)
    np.testing.assert_allclose(model.state_["moment_totals"], model.state_["totals"])
    np.testing.assert_array_equal(model.state_["moment_counts"], model.state_["counts"])
    assert np.isfinite(model.score_samples(X)).all()


def test_numba_is_numpy():
    a, b = (fit(backend=name, epochs=25) for name in ("numpy", "numba"))
    np.testing.assert_array_equal(a.labels_, b.labels_)
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(X), rtol=1e-7)


def test_an_output_activation_makes_it_a_heuristic():
    Z = 1 / (1 + np.exp(-X))
    model = fit(Z, activation="tanh", output_activation="sigmoid", center=False, epochs=30)
    np.testing.assert_array_equal(model.labels_, model.predict(Z))
    assert np.isfinite(model.score_samples(Z)).all()


def test_a_curved_encoder_leaves_the_density_exact():
    model = fit(activation="tanh", epochs=4)
    np.testing.assert_allclose(model.score_samples(X), textbook_density(model, X, np.ones(len(X))), rtol=1e-8)


# ------------------------------------------------------------------------------------ models of one's own


class Axes(ClusterModel):
    """Every cluster is a line along an axis of its own; nothing is trained but the lengths of the axes."""

    translation_invariant = True
    orthonormal_codes = True

    def init_parameters(self, X, n_clusters, draw):
        return {"axis": draw.normal((n_clusters, X.shape[1]))}

    def losses(self, params, X, target, centers, draw):
        return self.codes(params, X, centers, draw)[1]

    def gradient(self, params, X, target, centers, assign, weights, draw):
        return {"axis": np.zeros_like(params["axis"])}

    def embed(self, params, X, centers, draw):
        return self.codes(params, X, centers, draw)[0]

    def codes(self, params, X, centers, draw):
        U = params["axis"] / np.linalg.norm(params["axis"], axis=1, keepdims=True)
        x = X[:, None] - centers
        z = (x * U).sum(axis=2)
        return z[:, :, None], ((x - z[:, :, None] * U) ** 2).sum(axis=2)


class NoCodes(Axes):
    codes = None

    def losses(self, params, X, target, centers, draw):
        return Axes.codes(self, params, X, centers, draw)[1]


class WrongCodes(Axes):
    def codes(self, params, X, centers, draw):
        Z, residuals = super().codes(params, X, centers, draw)
        return Z[:, :, 0], residuals


def test_a_model_of_ones_own():
    arguments = {"n_clusters": 3, "epochs": 10, "backend": "numpy", "random_state": 0, "assignment": "likelihood"}
    model = ClusterSpecific(Axes(), **arguments).fit(X)
    assert adjusted_rand_index(Y, model.labels_) > 0.5
    np.testing.assert_array_equal(model.predict_proba(X).argmax(axis=1), model.labels_)
    with pytest.raises(ValueError, match=r"needs a model with a method codes\(.*, draw\); NoCodes has none"):
        ClusterSpecific(NoCodes(), **arguments).fit(X)
    with pytest.raises(ValueError, match=r"WrongCodes.codes returned shapes \(1, 3\) and \(1, 3\); expected"):
        ClusterSpecific(WrongCodes(), **arguments).fit(X)


# ------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("solver", ["gradient", "exact"])
@pytest.mark.parametrize("hidden", [(5,), (7, 6), (5, 5)])
def test_a_latent_width_of_all_features(solver, hidden):
    with pytest.raises(ValueError, match=r"latent width of at least 1 and below the number of features; .* X has 5"):
        fit(hidden=hidden, solver=solver)


def test_one_feature():
    with pytest.raises(ValueError, match="the model has 1, X has 1 features"):
        fit(X[:, :1], hidden=(1,))


def test_an_unknown_rule():
    with pytest.raises(ValueError, match=r"'assignment' .* must be a str among .*likelihood.* Got 'posterior'"):
        fit(assignment="posterior")
