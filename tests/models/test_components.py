"""The start at principal components: the losses of k-means, eigenvectors, clusters with few samples, refusals."""

import numpy as np
import pytest
from sklearn.base import clone

import csrl_core
from csrl_core import TensorizedAutoencoder, callbacks, datasets
from csrl_core.metrics import adjusted_rand_index
from csrl_core.models.components import component_layers, component_weights

pytestmark = pytest.mark.sensitive

X, Y = datasets.make_lines_3d(random_state=0)
WEIGHTS = np.random.default_rng(5).uniform(0, 2, len(X)) * (np.arange(len(X)) % 7 > 0)


def started(X=X, weight=None, target=None, **changes):
    """An estimator at its first parameters and assignment."""
    arguments = {
        "n_clusters": 3,
        "start": "components",
        "assignment": "loss",
        "init": "k-means",
        "random_state": 0,
        "epochs": 0,
    }
    arguments |= {"backend": "numpy"} | changes
    return TensorizedAutoencoder(**arguments).fit(X, target=target, sample_weight=weight)


def products(model):
    """Encoder (k, d, h) and decoder (k, h, d), each the product of its layers."""
    named, halves = model.named_parameters(), []
    for half in ("encoder", "decoder"):
        product = None
        for name in sorted(name for name in named if name.startswith(half)):
            W = np.broadcast_to(named[name], (model.n_clusters, *named[name].shape[1:]))
            product = W if product is None else product @ W
        halves.append(product)
    return halves


def leading(S, h):
    return np.linalg.eigh(S)[1][:, ::-1][:, :h]


def projector(B):
    return B @ np.swapaxes(B, -1, -2)


def scatters(T, labels, centers, weights):
    """S_j = Σ w (t − c_j)(t − c_j)ᵀ of every cluster."""
    parts = []
    for j, c in enumerate(centers):
        D = (T - c)[labels == j]
        parts.append((weights[labels == j, None] * D).T @ D)
    return parts


# -- where training starts -------------------------------------------------------------------------

SHAPES = [
    ((1,), 0),
    ((2, 1), 0),
    ((2, 1), 1),
    ((2, 1), 2),
    ((4, 3, 3, 1), 0),
    ((4, 3, 3, 1), 2),
    ((6,), 0),
    ((6, 5), 1),
]


@pytest.mark.parametrize(("hidden", "shared"), SHAPES)
@pytest.mark.parametrize("reg", [1e-3, 0.1, 7.0])
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["equal", "weighted"])
def test_it_starts_at_the_losses_of_k_means(hidden, shared, reg, weight):
    model = started(hidden=hidden, shared=shared, reg=reg, weight=weight)
    distances = ((X[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    L = model.cluster_losses(X)
    # Columns are orthonormal to a few ε = 2⁻⁵², and products have up to four layers: a hundred roundings in all.
    np.testing.assert_allclose(L, distances / 6, rtol=0, atol=100 * 2**-52 * distances.max())
    np.testing.assert_array_equal(L.argmin(axis=1), distances.argmin(axis=1))
    np.testing.assert_array_equal(model.labels_, distances.argmin(axis=1))
    w = np.ones(len(X)) if weight is None else weight
    assert model.loss_ == pytest.approx(np.average(distances.min(axis=1), weights=w) / 6, rel=1e-12)


def test_the_first_epoch_is_at_this_loss_and_the_first_step_goes_down():
    curve = started(epochs=30, learning_rate=1e-3).loss_curve_
    assert curve[0] == pytest.approx(started().loss_, rel=1e-12)
    assert curve[-1] < 0.95 * curve[0]


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("hidden", [(1,), (3, 2)])
def test_one_cluster(center, hidden):
    model = started(n_clusters=1, center=center, hidden=hidden)
    c = X.mean(axis=0) if center else np.zeros(6)
    np.testing.assert_allclose(model.cluster_losses(X)[:, 0], ((X - c) ** 2).sum(axis=1) / 6, rtol=1e-12)
    # Second moments about the mean if it is subtracted, otherwise about zero.
    E, _ = products(model)
    P = projector(leading((X - c).T @ (X - c), hidden[-1]))
    np.testing.assert_allclose(projector(E[0]) * 0.1 * 6, P, atol=1e-10)


@pytest.mark.parametrize("center", [True, False])
def test_without_a_penalty_it_starts_at_k_subspaces(center):
    model = started(reg=0, center=center, init=Y, hidden=(2,))
    c = model.cluster_centers_ if center else np.zeros((3, 6))
    for j, S in enumerate(scatters(X, Y, c, np.ones(len(X)))):
        x = X - c[j]
        left = x - x @ projector(leading(S, 2))
        np.testing.assert_allclose(model.cluster_losses(X)[:, j], (left**2).mean(axis=1), rtol=1e-9)


def test_the_likelihood_needs_no_centres():
    model = started(center=False, assignment="likelihood", epochs=5)
    assert np.isfinite(model.loss_)


# -- the components --------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("weight", [None, WEIGHTS], ids=["equal", "weighted"])
def test_layers_are_eigenvectors(shared, weight):
    w = np.ones(len(X)) if weight is None else weight
    hidden = (4, 2, 1)
    model = started(hidden=hidden, shared=shared, weight=weight, init=Y, reg=0)  # λ = 0: orthonormal layers
    S = scatters(X, Y, model.cluster_centers_, w)
    named = model.named_parameters()
    for j in range(3):
        B = np.eye(6)
        for number, h in enumerate(hidden):
            Q = named[f"encoder.{number}.weight"]
            assert len(Q) == (1 if number < shared else 3)
            Q = Q[j if len(Q) > 1 else 0]
            wanted = leading(B.T @ (sum(S) if number < shared else S[j]) @ B, h)
            np.testing.assert_allclose(np.abs(np.sum(Q * wanted, axis=0)), 1, rtol=1e-10)
            np.testing.assert_allclose(Q.T @ Q, np.eye(h), atol=1e-14)
            assert (Q[np.abs(Q).argmax(axis=0), range(h)] > 0).all()
            decoder = named[f"decoder.{2 - number}.weight"]
            np.testing.assert_array_equal(decoder[j if len(decoder) > 1 else 0], Q.T)
            B = B @ Q


@pytest.mark.parametrize("hidden", [(1,), (2, 1), (3, 3, 2)])
def test_the_scale_is_spread_over_the_layers(hidden):
    m, d, reg = len(hidden), 6, 0.3
    model = started(hidden=hidden, reg=reg)
    for name, W in model.named_parameters().items():
        factor = (reg * d) ** (-1 / (2 * m) if name.startswith("encoder") else 1 / (2 * m))
        np.testing.assert_allclose(np.linalg.svd(W, compute_uv=False), factor, rtol=1e-13)
    E, D = products(model)
    np.testing.assert_allclose(np.linalg.svd(E, compute_uv=False), 1 / np.sqrt(reg * d), rtol=1e-13)
    np.testing.assert_allclose(D, reg * d * np.swapaxes(E, 1, 2), rtol=1e-12)


@pytest.mark.parametrize("shared", [0, 1])
def test_data_wider_than_its_clusters(shared):
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(60, 90)) * np.linspace(3, 0.1, 90)
    labels = np.repeat([0, 1, 2], 20)
    model = started(Z, init=labels, hidden=(5, 2), shared=shared)
    S = scatters(Z, labels, model.cluster_centers_, np.ones(60))
    E, _ = products(model)
    for j in range(3):
        B = leading(sum(S) if shared else S[j], 5)
        P = projector(B @ leading(B.T @ S[j] @ B, 2))
        np.testing.assert_allclose(projector(E[j]) * 0.1 * 90, P, atol=1e-9)


def test_denoising_starts_at_the_components_of_the_target():
    noisy = X + np.random.default_rng(0).normal(size=X.shape)
    a, b = started(noisy, target=X), started(X)
    np.testing.assert_allclose(a.params_, b.params_, rtol=1e-12)
    np.testing.assert_allclose(a.cluster_centers_, b.cluster_centers_, rtol=1e-12)


# -- clusters with too few samples -----------------------------------------------------------------


def test_missing_directions_come_from_all_samples_and_then_are_arbitrary():
    rng = np.random.default_rng(2)
    T = np.zeros((13, 7))
    T[:10, :3] = rng.normal(size=(10, 3)) * [3, 2, 1]
    T[10:12, [0, 4]] = [[4.0, 3.0], [-4.0, -3.0]]  # one direction
    T[12] = 8.0  # a single sample
    T = T @ np.linalg.qr(rng.normal(size=(7, 7)))[0]
    labels = np.repeat([0, 1, 2, 3], [10, 2, 1, 0])  # and an empty cluster
    centers = np.array([T[:10].mean(axis=0), np.zeros(7), T[12], np.zeros(7)])
    S = sum(scatters(T, labels, centers, np.ones(13)))
    u = T[10] / 5
    rest = (np.eye(7) - np.outer(u, u)) @ S @ (np.eye(7) - np.outer(u, u))
    for h in (1, 2, 3, 4, 6):
        (Q,) = component_layers(T, np.ones(13), labels, centers, (h,), 0)
        np.testing.assert_allclose(np.swapaxes(Q, 1, 2) @ Q, np.broadcast_to(np.eye(h), (4, h, h)), atol=1e-14)
        np.testing.assert_array_equal(Q[2], Q[3])
        # Four directions have variance: the second cluster's own come first, the last two clusters have those of all.
        known = min(h, 4)
        own = np.column_stack([u, leading(rest, known - 1)])
        np.testing.assert_allclose(projector(Q[1][:, :known]), projector(own), atol=1e-10)
        np.testing.assert_allclose(projector(Q[2][:, :known]), projector(leading(S, known)), atol=1e-10)


@pytest.mark.parametrize("shared", [0, 1])
def test_rounding_is_not_a_direction(shared):
    # One line: the completed basis may not depend on the order of the rows, with which rounding varies.
    rng = np.random.default_rng(3)
    T = np.outer(rng.normal(size=40), rng.normal(size=5)) + 1
    labels, order = np.repeat([0, 1], 20), rng.permutation(40)
    fits = [
        started(T[rows], n_clusters=2, hidden=(4, 2), shared=shared, init=labels[rows])
        for rows in (np.arange(40), order)
    ]
    np.testing.assert_allclose(fits[0].params_, fits[1].params_, atol=1e-12)


@pytest.mark.parametrize("T", [np.ones((6, 4)), np.outer(np.arange(6.0), [1, 2, 0, -1])], ids=["constant", "line"])
@pytest.mark.parametrize("shared", [0, 1])
def test_a_basis_is_always_found_and_always_the_same(T, shared):
    fits = [started(T, n_clusters=2, hidden=(3, 2), shared=shared, init=[0, 0, 0, 1, 1, 1], reg=0) for _ in range(2)]
    np.testing.assert_array_equal(fits[0].params_, fits[1].params_)
    for Q in fits[0].named_parameters().values():
        G = Q @ np.swapaxes(Q, 1, 2) if Q.shape[1] < Q.shape[2] else np.swapaxes(Q, 1, 2) @ Q
        np.testing.assert_allclose(G, np.broadcast_to(np.eye(G.shape[1]), G.shape), atol=1e-14)
    assert fits[0].loss_ == pytest.approx(0, abs=1e-28)


def test_samples_without_weight_do_not_count():
    own = WEIGHTS > 0
    a = started(weight=WEIGHTS, init=Y, hidden=(3, 1))
    b = started(X[own], weight=WEIGHTS[own], init=Y[own], hidden=(3, 1))
    np.testing.assert_allclose(a.params_, b.params_, rtol=1e-9, atol=1e-12)


def test_component_weights_of_a_single_layer():
    Q = np.array([[[0.6], [0.8]]])
    encoder, decoder = component_weights([Q], 0.5, 2)
    np.testing.assert_allclose(encoder[0], Q)  # λd = 1
    encoder, decoder = component_weights([Q], 2.0, 2)
    np.testing.assert_allclose(encoder[0], Q / 2)
    np.testing.assert_allclose(decoder[0], [[[1.2, 1.6]]])


# -- as an option ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("backend", ["numpy", "numba", "emulated"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_backends_start_alike(backend, dtype, shared):
    exact = started(shared=shared)
    model = started(X.astype(dtype), backend=backend, shared=shared)
    assert model.params_.dtype == dtype
    # Rounding of the data, 2⁻²⁴, turns an axis by this times the inverse of its gap, here below a hundred.
    np.testing.assert_allclose(model.params_, exact.params_, atol=1e-12 if dtype == np.float64 else 100 * 2**-24)
    np.testing.assert_array_equal(model.labels_, exact.labels_)


@pytest.mark.parametrize("backend", ["numba", "emulated"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_whole_fits_agree_between_backends(backend, dtype):
    # By gradient descent: at components some entries of the gradient are only rounding errors, which Adam scales up to
    # whole steps.
    arguments = {"epochs": 30, "optimizer": "sgd", "learning_rate": 0.02}
    exact = started(**arguments)
    reference, other = (started(X.astype(dtype), backend=name, **arguments) for name in ("numpy", backend))
    np.testing.assert_array_equal(other.labels_, reference.labels_)
    if dtype == np.float64:
        np.testing.assert_allclose(other.loss_curve_, reference.loss_curve_, rtol=1e-9)
    else:  # twice the reference's own error in float32, plus the rounding of 30 steps
        budget = 2 * np.abs(np.subtract(reference.loss_curve_, exact.loss_curve_)).max() + 30 * 2**-23
        assert np.abs(np.subtract(other.loss_curve_, exact.loss_curve_)).max() <= budget


def test_threads_change_no_bit():
    Z = np.random.default_rng(0).normal(size=(2500, 100)).astype(np.float32)
    fits = [started(Z, hidden=(9, 3), shared=1, backend="numba", n_jobs=n, epochs=2) for n in (1, 2, 7)]
    for other in fits[1:]:
        np.testing.assert_array_equal(other.params_, fits[0].params_)


def test_restarts_differ_only_by_init():
    same = [started(random_state=seed, init=Y) for seed in (1, 2)]
    np.testing.assert_array_equal(same[0].params_, same[1].params_)
    random = [started(random_state=seed, init="random") for seed in (1, 2)]
    assert not np.array_equal(random[0].params_, random[1].params_)
    one, best = (started(init="random", n_init=n, epochs=20) for n in (1, 6))
    assert best.loss_ <= one.loss_


def test_uniform_has_its_bounds():
    assert TensorizedAutoencoder().start == "auto"
    bound = 1 / np.sqrt([6, 2, 1, 2])
    for W, b in zip(started(start="uniform").named_parameters().values(), bound, strict=True):
        assert np.abs(W).max() <= b


def test_partial_fit_starts_at_the_components_of_the_first_batch():
    model = clone(started(hidden=(4, 1), learning_rate=0.05))
    model.partial_fit(X[:5])  # five samples in three clusters: hardly any cluster has four directions
    assert model.loss_curve_[0] == pytest.approx(started(X[:5], hidden=(4, 1)).loss_, rel=1e-9)
    first = model.params_.copy()
    for rows in np.split(np.random.default_rng(0).permutation(300), 30):
        model.partial_fit(X[rows])
    assert np.abs(model.params_ - first).max() > 0
    assert model.n_steps_ == 31
    assert np.isfinite(model.loss_curve_).all()


def test_saved_and_resumed(tmp_path):
    model = started(epochs=10)
    model.save(tmp_path / "model")
    again = csrl_core.load(tmp_path / "model")
    assert again.start == "components"
    np.testing.assert_array_equal(again.predict(X), model.labels_)
    np.testing.assert_array_equal(again.fit(X).params_, model.params_)
    # The second restart begins after the checkpoint.
    arguments = {"init": "random", "epochs": 12}
    first = TensorizedAutoencoder(**started(**arguments).get_params())
    first.set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint", every=12)).fit(X)
    whole = started(n_init=2, **arguments)
    resumed = TensorizedAutoencoder(**whole.get_params()).fit(X, resume=tmp_path / "checkpoint")
    np.testing.assert_array_equal(resumed.params_, whole.params_)


@pytest.mark.parametrize("name", ["parallel_line", "orthogonal"])
def test_lines_are_found_whatever_the_seed(name):
    for seed in range(3):
        data = datasets.load(name, random_state=seed)
        k = len(np.unique(data.target))
        model = started(data.data, n_clusters=k, hidden=(1,), epochs=150, learning_rate=0.1, random_state=seed)
        assert adjusted_rand_index(data.target, model.labels_) > 0.97


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "tanh"}, r"start='components' needs activation='linear', got activation='tanh'"),
        ({"output_activation": "sigmoid"}, r"needs output_activation='linear', got output_activation='sigmoid'"),
        ({"bias": True}, r"start='components' needs bias=False, got bias=True: the centres are the biases"),
        ({"solver": "exact", "reg": 0}, r"start='components' needs solver='gradient', got solver='exact'"),
        ({"hidden": (2, 3)}, r"needs encoder widths that nowhere rise, got hidden=\(2, 3\)"),
        ({"hidden": (7, 1)}, r"needs encoder widths of at most n_features=6, got hidden=\(7, 1\)"),
        ({"center": False}, r"needs center=True, got center=False with n_clusters=3, reg=0.1 and assignment='loss'"),
        ({"start": "pca"}, r"'start' .* must be a str among .*components.* Got 'pca'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        started(**changes)
    if changes.get("solver") != "exact":  # which has no partial_fit
        with pytest.raises(ValueError, match=message):
            TensorizedAutoencoder(
                **{"n_clusters": 3, "start": "components", "assignment": "loss"} | changes
            ).partial_fit(X)
