"""The joint assignment objective against a plain implementation, and its edge cases."""

import numpy as np
import pytest

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, callbacks, datasets
from csrl_core import backends as backend
from csrl_core.estimators.autoencoder import AutoencoderModel
from csrl_core.reference import autoencoder as reference
from csrl_core.reference.assign import Clusters, JointOptions
from csrl_core.training.joint import JointAssignment
from csrl_core.training.loop import Trainer
from csrl_core.training.reseeding import reseed
from csrl_core.training.run import Settings, as_batch
from csrl_core.training.units import Frame

KEY = np.array([3, 5], np.uint32)


def problem(n=60, k=3, weights=None, dtype=np.float64, **changes):
    """An objective, its data and its run, on one backend."""
    X, _ = datasets.make_lines_3d(n_samples=n, random_state=1)
    X = X.astype(dtype)
    on = backend.get(changes.pop("backend", "numpy"))
    model = AutoencoderModel(on, X.shape[1], k, (2, 1), changes.pop("shared", 0), "tanh", "linear", False, 0.1)
    arguments = {"center": True, "assign_first": False, "running": False, "init": "random"} | changes
    shift = np.zeros(X.shape[1])
    objective = JointAssignment(model, on, n_clusters=k, key=KEY, frame=Frame(shift), **arguments)
    data = as_batch(X, X, np.ones(n, dtype) if weights is None else weights.astype(dtype), shift)
    return objective, data, objective.start(data, 0)


def settings(**changes):
    return Settings(
        **{"epochs": 1, "batch_size": None, "optimizer": "adam", "learning_rate": 0.05, "key": KEY} | changes
    )


@pytest.mark.parametrize("assign_first", [False, True])
@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("batch_size", [None, 17])
def test_the_composed_epoch_is_the_references_epoch(assign_first, running, center, batch_size):
    weights = np.random.default_rng(2).uniform(0, 2, 60)
    objective, data, run = problem(weights=weights, assign_first=assign_first, running=running, center=center)
    chosen = settings(epochs=4, batch_size=batch_size, clip_norm=0.5)
    trainer = Trainer(objective, data, chosen, objective.backend)
    expected, curve = run.copy(), []
    for _ in range(4):
        order, state = trainer._order(expected), expected.state
        loss_sum, weight_sum, _ = reference.fused_epoch(
            expected.params, objective.model.table, data.X, data.target, data.weight, 0.1, order, trainer.batch_size,
            Clusters(*(state[name] for name in Clusters._fields)), JointOptions(center, assign_first, running),
            chosen.optimizer_state(expected),
        )  # fmt: skip
        assert state["counts"].all(), "the case must not need re-seeding"
        expected.step += -(-60 // trainer.batch_size)
        curve.append(loss_sum / weight_sum)
    trainer.train(run)
    assert run.loss_curve == curve
    np.testing.assert_array_equal(run.params, expected.params)
    for name, array in expected.state.items():
        np.testing.assert_array_equal(run.state[name], array, err_msg=name)


def test_centres_are_the_weighted_means_of_the_target_after_every_epoch():
    weights = np.random.default_rng(2).uniform(0.1, 2, 60)
    objective, data, run = problem(weights=weights)

    def check(run):
        for j in range(3):
            own = run.state["assign"] == j
            mean = np.average(data.target[own], axis=0, weights=weights[own])
            np.testing.assert_allclose(run.state["centers"][j], mean, rtol=1e-12)

    Trainer(objective, data, settings(epochs=20, batch_size=7), objective.backend).train(run, check)


def test_assignment_is_of_the_losses_before_the_step():
    objective, data, run = problem()
    before = run.copy()
    Trainer(objective, data, settings(), objective.backend).train(run)
    L = objective.losses(before, data.X, data.target)
    np.testing.assert_array_equal(run.state["assign"], L.argmin(axis=1))


def empty_cluster(weights=None, init=None):
    labels = np.zeros(60, int) if init is None else init
    return problem(weights=weights, init=labels)


def test_an_empty_cluster_gets_the_worst_fitted_sample_and_its_donors_parameters():
    objective, data, run = empty_cluster()
    run.moments += 1
    L = objective.losses(run, data.X, data.target)
    worst = np.argsort(-L[:, 0], kind="stable")[:2]
    assert reseed(objective, run, data) == 2
    assert run.n_reseeded == 2
    np.testing.assert_array_equal(np.flatnonzero(run.state["assign"] == 1), worst[:1])
    np.testing.assert_array_equal(np.flatnonzero(run.state["assign"] == 2), worst[1:])
    np.testing.assert_allclose(run.state["centers"][1:], data.target[worst])
    np.testing.assert_allclose(run.state["centers"][0], data.target[run.state["assign"] == 0].mean(axis=0), rtol=1e-10)
    for name, view in objective.layout.views(run.params).items():
        for j in (1, 2):
            size = np.sqrt(np.mean(view[0] ** 2))
            difference = np.abs(view[j] - view[0]) / size
            assert 0 < difference.max() < 0.06, name  # 0.01 × a normal number
    for moment in run.moments:
        for view in objective.layout.views(moment).values():
            assert view[0].all()
            assert not view[1:].any()


def test_a_donor_keeps_its_only_sample_and_weightless_samples_are_not_used():
    weights = np.zeros(60)
    weights[:2] = 1
    objective, data, run = empty_cluster(weights=weights)
    assert reseed(objective, run, data) == 1  # two samples with weight: one cluster can be filled, not two
    np.testing.assert_array_equal(np.sort(run.state["counts"]), [0, 1, 1])


def test_duplicate_rows_and_too_few_distinct_rows_are_harmless():
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 20, axis=0)
    model = TensorizedAutoencoder(n_clusters=4, epochs=5, hidden=(1,), random_state=0).fit(X)
    assert np.isfinite(model.loss_)
    assert model.n_reseeded_ > 0


def test_constant_columns_and_one_sample_per_cluster():
    X = np.array([[1.0, 0.0, 5.0], [1.0, 0.0, 6.0], [1.0, 0.0, 9.0]])
    model = TensorizedAutoencoder(n_clusters=3, epochs=5, hidden=(1,), random_state=0).fit(X)
    np.testing.assert_array_equal(np.sort(model.labels_), [0, 1, 2])
    np.testing.assert_allclose(model.loss_, 0, atol=1e-20)


def test_the_best_of_several_restarts_is_kept(monkeypatch):
    X, _ = datasets.make_triangle(random_state=0)
    arguments = {"n_clusters": 3, "epochs": 30, "init": "random", "assignment": "loss", "random_state": 4}
    scores, selection_score = [], JointAssignment.selection_score

    def spy(objective, run, data):
        scores.append(selection_score(objective, run, data))
        return scores[-1]

    monkeypatch.setattr(JointAssignment, "selection_score", spy)
    best = TensorizedAutoencoder(n_init=6, **arguments).fit(X)
    assert len(scores) == 6
    assert best.loss_ == -max(scores)
    assert best.loss_ <= TensorizedAutoencoder(n_init=1, **arguments).fit(X).loss_
    assert best.loss_ <= TensorizedAutoencoder(n_init=3, **arguments).fit(X).loss_


class Lines(ClusterModel):
    """k lines through the clusters' centres: the loss is the squared distance from the line along u_j."""

    translation_invariant = True

    def init_parameters(self, X, n_clusters, draw):
        return {"direction": draw.normal((n_clusters, X.shape[1]))}

    def losses(self, params, X, target, centers, draw):
        U = params["direction"]
        L = np.empty((len(X), len(centers)), X.dtype)
        for j, c in enumerate(centers):
            x, u = X - c, U[j]
            L[:, j] = (x**2).sum(axis=1) - (x @ u) ** 2 / (u @ u)
        return L

    def gradient(self, params, X, target, centers, assign, weights, draw):
        U = params["direction"]
        gradient = np.zeros_like(U)
        for j, c in enumerate(centers):
            own = assign == j
            x, w, u = X[own] - c, weights[own], U[j]
            p, q = x @ u, u @ u
            gradient[j] = -2 * (w * p) @ x / q + 2 * (w * p**2).sum() * u / q**2
        return {"direction": gradient}

    def embed(self, params, X, centers, draw):
        U = params["direction"]
        return np.stack([(X - c) @ U[j] / np.linalg.norm(U[j]) for j, c in enumerate(centers)], axis=1)[:, :, None]


def test_a_users_own_model_finds_the_principal_axes():
    X, y = datasets.make_lines_3d(random_state=0)
    model = ClusterSpecific(Lines(), n_clusters=3, epochs=300, learning_rate=0.05, random_state=0).fit(X)
    optimum = 0.0
    for j in range(3):
        own = X[model.labels_ == j]
        values = np.linalg.svd(own - own.mean(axis=0), compute_uv=False)
        optimum += (values[1:] ** 2).sum() / len(X)
    assert optimum <= model.loss_ * (1 + 1e-12)
    np.testing.assert_allclose(model.loss_, optimum, rtol=1e-4)
    assert model.transform(X).shape == (300, 1)
    assert model.get_feature_names_out().tolist() == ["clusterspecific0"]
    assert not hasattr(model, "reconstruct")
    assert len(np.unique(model.labels_[y == 0])) == 1


def test_a_users_model_may_start_from_the_first_clusters():
    X, y = datasets.make_lines_3d(random_state=0)
    weights = np.random.default_rng(0).uniform(0.1, 1, len(X))
    seen = []

    class Started(Lines):
        def init_from_clusters(self, data, assign, centers, draw):
            seen.append((data, assign.copy(), centers, draw.uniform((2,))))
            return {"direction": np.ones((len(centers), data.X.shape[1]))}

    ClusterSpecific(Started(), n_clusters=3, epochs=1, init=y, random_state=0, n_init=2).fit(X, sample_weight=weights)
    for data, assign, centers, _ in seen:
        np.testing.assert_array_equal(assign, y)
        means = [np.average(data.target[y == j], axis=0, weights=weights[y == j]) for j in range(3)]
        np.testing.assert_allclose(centers, means, rtol=1e-12)
    assert not np.array_equal(seen[0][3], seen[1][3])  # the restart's own random numbers
    model = ClusterSpecific(Started(), n_clusters=3, center=False, epochs=0, init=y, random_state=0).fit(X)
    np.testing.assert_array_equal(seen[-1][2], np.zeros((3, 6)))
    np.testing.assert_array_equal(model.params_, np.ones(18))


def test_a_users_gradient_is_checked_by_finite_differences_through_the_estimator():
    X, _ = datasets.make_triangle(n_samples=30, random_state=0)
    model = ClusterSpecific(Lines(), n_clusters=3, epochs=2, random_state=0).fit(X)
    value, gradient = model.value_and_gradient(X, model.labels_)
    for i in range(0, len(gradient), 3):
        step = np.zeros_like(gradient)
        step[i] = 1e-6
        up, _ = model.value_and_gradient(X, model.labels_, params=model.params_ + step)
        down, _ = model.value_and_gradient(X, model.labels_, params=model.params_ - step)
        np.testing.assert_allclose((up - down) / 2e-6, gradient[i], rtol=1e-6, atol=1e-6 * abs(value))


@pytest.mark.parametrize(
    ("method", "wrong", "message"),
    [
        (
            "init_parameters",
            lambda *a: {"direction": np.ones((5, 6))},
            "first axis must be the cluster's.*n_clusters=3",
        ),
        ("losses", lambda *a: np.ones((7, 3)), r"Lines.losses returned shape \(7, 3\); expected \(300, 3\)"),
        ("gradient", lambda *a: {"directions": np.ones((3, 6))}, "names.*'directions'.*expected.*'direction'"),
        ("gradient", lambda *a: {"direction": np.ones((3, 5))}, r"gradient\['direction'\] has shape \(3, 5\)"),
    ],
)
def test_a_wrong_method_of_a_users_model_is_named(method, wrong, message):
    X, _ = datasets.make_lines_3d(random_state=0)
    model = Lines()
    setattr(model, method, wrong)
    with pytest.raises(ValueError, match=message):
        ClusterSpecific(model, n_clusters=3, epochs=1, random_state=0).fit(X)


def test_a_model_of_an_earlier_convention_is_named():
    class Old(Lines):
        def losses(self, params, X, target, centers):
            return np.zeros((len(X), len(centers)))

    X, _ = datasets.make_lines_3d(random_state=0)
    with pytest.raises(ValueError, match=r"Old.losses takes \(params, X, target, centers\); expected \(.*, draw\)"):
        ClusterSpecific(Old(), n_clusters=3, epochs=1, random_state=0).fit(X)


@pytest.mark.parametrize("estimator", [lambda **a: ClusterSpecific(Lines(), **a), TensorizedAutoencoder])
@pytest.mark.parametrize("batch_size", [None, 50])
def test_the_first_assignment_stands_for_standing_epochs(estimator, batch_size):
    X, y = datasets.make_lines_3d(random_state=0)
    wrong, seen = np.random.default_rng(0).permutation(y), []

    class Watch(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            seen.append(epoch.run.state["assign"].copy())

    arguments = {"n_clusters": 3, "epochs": 5, "init": wrong, "batch_size": batch_size, "random_state": 0}
    model = estimator(**arguments, standing_epochs=3, assignment="loss").set_callbacks(Watch()).fit(X)
    assert [bool((assign == wrong).all()) for assign in seen] == [True, True, True, False, False]
    assert (model.labels_ != wrong).any()


def test_a_re_seeded_cluster_gets_its_donors_state():
    class Marked(Lines):
        def init_state(self, params, data, assign, centers, draw):
            mark = np.arange(1.0, len(centers) + 1)
            return {} if "mark" in params.state else {"mark": mark, "all": np.zeros(2)}

    X, y = datasets.make_lines_3d(random_state=0)
    two = np.minimum(y, 1)  # the third cluster begins without samples
    model = ClusterSpecific(Marked(), n_clusters=3, epochs=1, init=two, standing_epochs=1, random_state=0).fit(X)
    assert model.n_reseeded_ == 1
    assert model.state_["mark"][2] in (1.0, 2.0)
    np.testing.assert_array_equal(model.state_["mark"][:2], [1, 2])


def test_a_models_state_may_not_take_the_name_of_another():
    class Clash(Lines):
        def init_state(self, params, data, assign, centers, draw):
            return {"centers": np.zeros(3)}

    X, _ = datasets.make_lines_3d(random_state=0)
    with pytest.raises(ValueError, match=r"Clash.init_state returned 'centers', a name that the state has already"):
        ClusterSpecific(Clash(), n_clusters=3, epochs=1, random_state=0).fit(X)
