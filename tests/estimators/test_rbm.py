"""`TensorizedRBM`: scikit-learn's conventions, exact answers, and typical use."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from csrl_core import TensorizedRBM, callbacks, load
from csrl_core import backends as backend
from csrl_core.reference import rbm, rbm_exact

EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": (
        "repeating rows gives each of them other random numbers, and k-means++ draws rows by their position"
    ),
}
SMALL = {"n_hidden": 3, "epochs": 2, "ais_betas": 5, "ais_chains": 4, "visible": "gaussian", "random_state": 0}
SMALL |= {"init": "k-means"}  # one start, so that the expected failure does not depend on the seed


@pytest.mark.filterwarnings("ignore::csrl_core.estimators.rbm.ScaleWarning")
@parametrize_with_checks(
    # Gaussian units, since the data of the checks are not in [0, 1]; tests below have binary ones.
    [
        TensorizedRBM(**SMALL),
        TensorizedRBM(**SMALL, persistent=True, n_chains=5, backend="numpy"),
        TensorizedRBM(**SMALL, assignment="cd", center=False, optimizer="sgd", momentum=0.5, learning_rate=1e-6),
    ],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def two_kinds(n=240, d=12, seed=0):
    """Binary data of two clusters, (n, d), and their classes: half of the units are mostly 1, equal in pairs."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    p = np.where((np.arange(d) < d // 2) == y[:, None], 0.9, 0.05)
    return np.repeat((rng.random((n, d // 2)) < p[:, ::2]).astype(float), 2, axis=1), y


X, Y = two_kinds()
FAST = {"n_hidden": 4, "epochs": 8, "batch_size": 32, "learning_rate": 0.01, "ais_betas": 60, "random_state": 0}


@pytest.fixture(scope="module")
def fitted():
    return TensorizedRBM(**FAST).fit(X)


def exact_log_partitions(model):
    named = model.named_parameters()
    visible = rbm.VISIBLE[model.visible]
    return np.array(
        [
            rbm_exact.log_partition(W.astype(float), a.astype(float), named["visible_bias"][0].astype(float), visible)
            for W, a in zip(named["weight"], named["hidden_bias"])
        ]
    )


# -- attributes of a fit -----------------------------------------------------------------------------


@pytest.mark.sensitive
def test_clusters_are_found(fitted):
    assert adjusted_rand_score(Y, fitted.labels_) > 0.95


@pytest.mark.sensitive
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"assignment": "cd"},
        {"persistent": True, "n_chains": 7},
        {"assignment": "cd", "persistent": True},
        {"n_clusters": 1},
        {"visible": "gaussian"},
        {"visible": "gaussian", "center": False, "persistent": True},
        {"center": True, "gibbs_steps": 3},
        {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3},
        {"update": "step-then-assign", "center_update": "running", "standing_epochs": 0},
    ],
    ids=str,
)
def test_labels_are_predictions_and_files_keep_everything(changes, tmp_path):
    model = TensorizedRBM(**FAST | changes).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert model.params_.size == model.n_clusters * 4 * (12 + 1) + 12
    assert list(model.named_parameters()) == ["weight", "hidden_bias", "visible_bias"]
    assert model.transform(X).shape == (len(X), 4)
    every = model.transform_all(X)
    np.testing.assert_array_equal(every[np.arange(len(X)), model.labels_], model.transform(X))
    assert model.free_energy(X).shape == model.cluster_losses(X).shape == (len(X), model.n_clusters)
    if model.assignment == "likelihood":
        np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
        np.testing.assert_array_equal(model.predict_proba(X).argmax(axis=1), model.labels_)
    else:
        assert not hasattr(model, "predict_proba")
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    for name in ("predict", "score_samples", "cluster_losses", "reconstruct"):
        np.testing.assert_array_equal(getattr(again, name)(X), getattr(model, name)(X))


@pytest.mark.sensitive
def test_results_do_not_depend_on_the_other_rows(fitted):
    some = np.random.default_rng(0).permutation(len(X))[:50]
    for name in ("cluster_losses", "score_samples", "reconstruct", "transform"):
        np.testing.assert_allclose(
            getattr(fitted, name)(X[some]), getattr(fitted, name)(X)[some], rtol=1e-10, atol=1e-12
        )
    np.testing.assert_array_equal(fitted.predict(X[some]), fitted.predict(X)[some])


@pytest.mark.sensitive
@pytest.mark.parametrize("changes", [{}, {"persistent": True}, {"assignment": "cd"}], ids=str)
def test_backends_and_threads_agree_on_a_whole_fit(changes):
    models = [
        TensorizedRBM(**FAST | changes, backend=name, n_jobs=n_jobs).fit(X)
        for name, n_jobs in [("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 7)]
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.labels_, models[0].labels_)
        np.testing.assert_allclose(model.loss_curve_, models[0].loss_curve_, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(model.params_, models[1].params_)


@pytest.mark.sensitive
def test_float32_stays_float32(fitted):
    model = TensorizedRBM(**FAST).fit(X.astype(np.float32))
    assert model.params_.dtype == model.transform(X.astype(np.float32)).dtype == np.float32
    assert adjusted_rand_score(model.labels_, fitted.labels_) > 0.95


@pytest.mark.parametrize("persistent", [False, True])
def test_an_interrupted_fit_resumes_to_the_same_curve(persistent, tmp_path):
    arguments = FAST | {"persistent": persistent, "n_init": 2}
    whole = TensorizedRBM(**arguments).fit(X)

    class Stop(callbacks.EpochCallback):
        def on_epoch_end(self, estimator, epoch):
            if (epoch.restart, epoch.epoch) == (1, 4):
                raise KeyboardInterrupt

    interrupted = TensorizedRBM(**arguments).set_callbacks(callbacks.Checkpoint(tmp_path / "checkpoint"), Stop())
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(X)
    resumed = TensorizedRBM(**arguments).fit(X, resume=tmp_path / "checkpoint")
    assert resumed.loss_curve_ == whole.loss_curve_
    np.testing.assert_array_equal(resumed.params_, whole.params_)
    np.testing.assert_array_equal(resumed.log_partition_, whole.log_partition_)


def test_partial_fit_continues_and_accumulates():
    model = TensorizedRBM(**FAST)
    for _ in range(10):
        for first in range(0, len(X), 60):
            model.partial_fit(X[first : first + 60])
    assert model.n_steps_ == 40
    assert model.state_["totals"].sum() == 10 * len(X)
    assert adjusted_rand_score(Y, model.predict(X)) > 0.9


def test_the_first_assignment_stands_for_standing_epochs():
    labels = np.arange(len(X)) // 2 % 2  # unrelated to the data
    standing = TensorizedRBM(**FAST | {"standing_epochs": 8, "init": labels}).fit(X)
    np.testing.assert_array_equal(standing.state_["assign"], labels)
    moving = TensorizedRBM(**FAST | {"standing_epochs": 1, "init": labels}).fit(X)
    assert (moving.state_["assign"] != labels).any()


def test_weight_decay_and_momentum_by_hand():
    free, decayed = (
        TensorizedRBM(**FAST | {"optimizer": "sgd", "weight_decay": decay, "epochs": 30}).fit(X) for decay in (0.0, 1.0)
    )
    weights = [np.abs(model.named_parameters()["weight"]).mean() for model in (free, decayed)]
    assert weights[1] < 0.5 * weights[0]
    fixed = FAST | {"optimizer": "sgd", "epochs": 2, "batch_size": None, "standing_epochs": 2, "n_clusters": 1}
    slow, fast = (TensorizedRBM(**fixed | {"momentum": momentum}).fit(X) for momentum in (0.0, 0.5))
    # Two steps: θ₂ = θ₀ + g₁ + g₂ without, + ½ g₁ more with, where θ₁ and so g₁ are the same.
    one = TensorizedRBM(**fixed | {"epochs": 1}).fit(X)
    none = TensorizedRBM(**fixed | {"epochs": 0}).fit(X)
    np.testing.assert_allclose(fast.params_ - slow.params_, 0.5 * (one.params_ - none.params_), atol=1e-12)


# -- likelihoods ------------------------------------------------------------------------------------


@pytest.mark.sensitive
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"visible": "gaussian"},
        {"visible": "gaussian", "center": False},
        {"center": True},
        {"assignment": "cd", "n_clusters": 3},
        {"n_clusters": 1, "persistent": True},
    ],
    ids=str,
)
def test_the_partition_function_agrees_with_enumeration(changes):
    model = TensorizedRBM(**FAST | {"ais_chains": 400, "ais_betas": 200} | changes).fit(X)
    exact = exact_log_partitions(model)
    error = model.log_partition_error_
    assert (error > 0).all()
    assert (error < 0.2).all()
    assert (np.abs(model.log_partition_ - exact) < 4 * error).all()
    again, new_error = model.estimate_log_partition(n_chains=1000, n_betas=400)
    assert (np.abs(again - exact) < 4 * new_error).all()
    assert (new_error < error).all()
    np.testing.assert_array_equal(model.log_partition_, again)


@pytest.mark.parametrize("changes", [{"n_clusters": 1}, {"assignment": "cd"}], ids=str)
def test_log_z_is_estimated_anew_after_more_training(changes):
    model = TensorizedRBM(**FAST | {"ais_chains": 400, "ais_betas": 200, "learning_rate": 0.5} | changes).fit(X)
    before = model.log_partition_
    model.partial_fit(X)
    assert (np.abs(model.log_partition_ - exact_log_partitions(model)) < 4 * model.log_partition_error_).all()
    assert (model.log_partition_ != before).all()


@pytest.mark.sensitive
def test_the_likelihood_is_a_mixture_of_machines(fitted):
    named, joint = fitted.named_parameters(), []
    mixing = fitted.state_["totals"] / fitted.state_["totals"].sum()
    for W, a, log_z, share in zip(named["weight"], named["hidden_bias"], fitted.log_partition_, mixing, strict=True):
        exact = rbm_exact.log_partition(W, a, named["visible_bias"][0], rbm.BERNOULLI)
        likelihood = rbm_exact.log_likelihood(W, a, named["visible_bias"][0], X, rbm.BERNOULLI)
        joint.append(np.log(share) + likelihood + exact - log_z)
    joint = np.array(joint).T
    np.testing.assert_allclose(fitted.score_samples(X), np.logaddexp(*joint.T), rtol=1e-10)
    np.testing.assert_allclose(fitted.score(X), fitted.score_samples(X).mean())
    np.testing.assert_array_equal(fitted.labels_, joint.argmax(axis=1))
    np.testing.assert_allclose(fitted.predict_proba(X)[:, 0], 1 / (1 + np.exp(joint[:, 1] - joint[:, 0])), atol=1e-10)


@pytest.mark.sensitive
def test_probabilities_of_all_states_sum_to_one(fitted):
    total = np.exp(fitted.score_samples(rbm_exact.states(12))).sum()
    # Σ_v Σ_j π_j e^−F_j / Ẑ_j = Σ_j π_j Z_j / Ẑ_j, each ratio within four standard errors.
    assert abs(total - 1) < 4 * fitted.log_partition_error_.max()


def test_restarts_are_ranked_by_likelihood():
    arguments = FAST | {"epochs": 3, "init": "random"}
    best = TensorizedRBM(**arguments | {"n_init": 4}).fit(X)
    first = TensorizedRBM(**arguments).fit(X)
    assert best.score(X) >= first.score(X) - 4 * best.log_partition_error_.max()


def test_pseudo_likelihood_agrees_with_its_definition():
    model = TensorizedRBM(**FAST | {"n_clusters": 1}).fit(X)
    named = model.named_parameters()
    arrays = named["weight"][0], named["hidden_bias"][0], named["visible_bias"][0]
    rows = np.repeat(X[:3], 4000, axis=0)
    exact = []
    for x in X[:3]:
        flips = np.where(np.eye(12) == 1, 1 - x, x)
        before = rbm_exact.log_likelihood(*arrays, x[None], rbm.BERNOULLI)
        exact.append(-np.logaddexp(0, rbm_exact.log_likelihood(*arrays, flips, rbm.BERNOULLI) - before))
    drawn = model.pseudo_likelihood(rows).reshape(3, 4000)
    for values, terms in zip(drawn, exact, strict=True):
        assert {round(v, 9) for v in values} <= {round(12 * t, 9) for t in terms}
        assert abs(values.mean() - np.sum(terms)) < 4 * values.std() / np.sqrt(4000)


@pytest.mark.parametrize("persistent", [False, True])
def test_pseudo_likelihood_is_at_least_scikit_learns(persistent):
    """The same learning problem: digits, one machine, equal epochs, batches, rates.

    Over sixteen seeds: the spread between runs is several times the spread between the samples of one run, and
    scikit-learn's runs also depend on the rounding of its BLAS.
    """
    D, gain = load_digits().data / 16, np.empty(16)
    for seed in range(len(gain)):
        equal = {"learning_rate": 0.05, "batch_size": 10, "random_state": seed}
        scikit = TensorizedRBM.from_bernoulli_rbm(BernoulliRBM(64, n_iter=5, **equal).fit(D))
        further = {"optimizer": "sgd", "weight_decay": 0.0, "persistent": persistent}  # scikit-learn has no decay
        machine = TensorizedRBM(n_clusters=1, n_hidden=64, epochs=5, **further, **equal)
        scores = [model.pseudo_likelihood(D).mean() for model in (machine.fit(D), scikit.set_params(random_state=seed))]
        gain[seed] = scores[0] - scores[1]
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    assert gain.mean() >= -3 * error
    assert error < 0.3  # small enough to notice a loss of one


# -- gradients, samples, energies --------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"visible": "gaussian"}, {"persistent": True}, {"gibbs_steps": 4}], ids=str)
def test_value_and_gradient_by_finite_differences(changes):
    model = TensorizedRBM(**FAST | changes).fit(X)
    value, gradient = model.value_and_gradient(X, model.labels_)
    assert value == model.value_and_gradient(X, model.labels_)[0]
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction, h = rng.normal(size=gradient.size), 1e-5
        ahead, behind = (
            model.value_and_gradient(X, model.labels_, params=model.params_ + t * direction)[0] for t in (h, -h)
        )
        np.testing.assert_allclose((ahead - behind) / (2 * h), gradient @ direction, rtol=1e-7)


def test_samples_have_the_exact_marginals():
    model = TensorizedRBM(**FAST | {"epochs": 30}).fit(X)
    named, n = model.named_parameters(), 4000
    for j in range(2):
        samples, labels = model.sample(n, cluster=j, steps=200)
        assert (labels == j).all()
        assert set(np.unique(samples)) == {0, 1}
        p = rbm_exact.joint(named["weight"][j], named["hidden_bias"][j], named["visible_bias"][0]).sum(axis=1)
        exact = p @ rbm_exact.states(12)
        error = np.sqrt(exact * (1 - exact) / n)
        assert (np.abs(samples.mean(axis=0) - exact) < 4.5 * error).all()
    _, labels = model.sample(n, steps=1)
    share = model.state_["totals"][1] / len(X)
    assert abs(labels.mean() - share) < 4 * np.sqrt(share * (1 - share) / n)


def test_samples_differ_from_call_to_call_and_repeat_from_fit_to_fit(fitted):
    model, again = clone(fitted).fit(X), clone(fitted).fit(X)
    first, second = model.sample(50, steps=5)[0], model.sample(50, steps=5)[0]
    assert (first != second).any()
    np.testing.assert_array_equal(first, again.sample(50, steps=5)[0])
    seeded = [model.sample(20, steps=5, random_state=3)[0] for _ in range(2)]
    np.testing.assert_array_equal(*seeded)
    assert (model.gibbs(X) != model.gibbs(X)).any()
    np.testing.assert_array_equal(model.gibbs(X, random_state=1), model.gibbs(X, random_state=1))
    np.testing.assert_array_equal(model.gibbs(X, steps=0), X)


def test_gaussian_samples_lie_near_the_data():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 5)) + 6 * (np.arange(300) % 2)[:, None]
    model = TensorizedRBM(visible="gaussian", **FAST | {"epochs": 30}).fit(Z)
    assert adjusted_rand_score(np.arange(300) % 2, model.labels_) == 1
    for j in range(2):
        samples, _ = model.sample(2000, cluster=j, steps=50)
        # The mean of a trained machine is near the cluster's mean, not equal to it.
        np.testing.assert_allclose(samples.mean(axis=0), model.cluster_centers_[j], atol=0.5)
    moved = model.gibbs(Z, labels=model.labels_)
    np.testing.assert_array_equal(model.predict(moved), model.labels_)


def test_the_free_energy_gap_leaves_log_z_out(fitted):
    train, valid = X[:160], X[160:]
    F = fitted.free_energy
    gap = sum(
        share * (F(valid[v == j])[:, j].mean() - F(train[t == j])[:, j].mean())
        for t, v in [(fitted.predict(train), fitted.predict(valid))]
        for j, share in enumerate(np.bincount(v) / len(v))
    )
    np.testing.assert_allclose(fitted.free_energy_gap(train, valid), gap)
    assert fitted.free_energy_gap(train, train) == 0
    shifted = clone(fitted).fit(X)
    shifted.state_["log_partition"] += [3, -5]  # must not change the gap, only the assignment
    shifted.state_["log_partition"] -= [3, -5]
    np.testing.assert_allclose(shifted.free_energy_gap(train, valid), gap)


def test_training_stops_when_the_free_energy_gap_grows():
    rng = np.random.default_rng(0)
    noise, held_out = (rng.random((2, 60, 30)) < 0.5).astype(float)
    gap = callbacks.FreeEnergyGap(noise, held_out, patience=3)
    model = TensorizedRBM(n_clusters=1, n_hidden=50, epochs=100, learning_rate=0.02, batch_size=20, random_state=0)
    model.set_callbacks(gap).fit(noise)
    assert model.n_iter_ < 50
    gaps = [row[2] for row in gap.history]
    assert len(gaps) == model.n_iter_
    assert min(gaps[-3:]) > min(gaps)
    np.testing.assert_allclose(gaps[-1], model.free_energy_gap(noise, held_out))


# -- a machine from scikit-learn ---------------------------------------------------------------------


def test_a_machine_from_scikit_learn(tmp_path):
    scikit = BernoulliRBM(5, n_iter=4, random_state=0).fit(X)
    machine = TensorizedRBM.from_bernoulli_rbm(scikit, random_state=0)
    assert machine.weight_decay == 0  # as in scikit-learn
    np.testing.assert_allclose(machine.transform(X), scikit.transform(X), rtol=1e-12)
    np.testing.assert_allclose(machine.free_energy(X)[:, 0], scikit._free_energy(X), rtol=1e-12)
    np.testing.assert_array_equal(machine.predict(X), 0)
    exact = exact_log_partitions(machine)
    assert abs(machine.log_partition_ - exact) < 4 * machine.log_partition_error_
    machine.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").score_samples(X), machine.score_samples(X))
    before = machine.params_.copy()
    machine.partial_fit(X)
    assert (machine.params_ != before).any()
    assert machine.labels_.shape == (len(X),)
    persistent = TensorizedRBM.from_bernoulli_rbm(scikit, persistent=True).partial_fit(X)
    assert persistent.state_["chains"].shape == (1, scikit.batch_size, 12)
    with pytest.raises(ValueError, match=r"n_hidden=7.*a BernoulliRBM of 5 components needs 1, 5"):
        TensorizedRBM.from_bernoulli_rbm(scikit, n_hidden=7)


def test_in_a_pipeline_and_a_search():
    pipeline = make_pipeline(MinMaxScaler(), TensorizedRBM(**FAST | {"epochs": 2}))
    assert pipeline.fit_transform(10 * X - 3).shape == (len(X), 4)
    search = GridSearchCV(TensorizedRBM(**FAST | {"epochs": 2}), {"n_hidden": [2, 3]}, cv=2, n_jobs=2).fit(X)
    assert search.best_params_["n_hidden"] in (2, 3)
    frame = TensorizedRBM(**FAST | {"epochs": 1}).set_output(transform="default").fit(X)
    assert list(frame.get_feature_names_out()[:2]) == ["tensorizedrbm0", "tensorizedrbm1"]


# -- bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("Z", "changes", "message"),
    [
        (2 * X, {}, r"visible='bernoulli' needs values in \[0, 1\], X has values from 0 to 2; scale it .*'gaussian'"),
        (X - 0.5, {}, r"needs values in \[0, 1\], X has values from -0.5 to 0.5"),
        (X, {"n_hidden": 0}, "'n_hidden' .* Got 0"),
        (X, {"gibbs_steps": -1}, "'gibbs_steps' .* Got -1"),
        (X, {"gibbs_steps": 0}, "'gibbs_steps' .* Got 0"),
        (X, {"visible": "softmax"}, "'visible' .* Got 'softmax'"),
        (X, {"n_chains": 0}, "'n_chains' .* Got 0"),
        (X, {"momentum": 1.0, "optimizer": "sgd"}, "'momentum' .* Got 1.0"),
        (X, {"momentum": 0.5}, "momentum=0.5 needs optimizer='sgd', got 'adam'"),
        (X, {"weight_decay": -1}, "'weight_decay' .* Got -1"),
        (X, {"assignment": "loss"}, "'assignment' .* Got 'loss'"),
        (X, {"ais_betas": 1}, "'ais_betas' .* Got 1"),
        (X, {"standing_epochs": -1}, "'standing_epochs' .* Got -1"),
        (X, {"center": "mean"}, "'center' .* Got 'mean'"),
        (X[:1], {}, "n_samples=1 should be >= n_clusters=2"),
    ],
)
def test_bad_arguments(Z, changes, message):
    with pytest.raises(ValueError, match=message):
        TensorizedRBM(**FAST | changes).fit(Z)


def test_a_target_is_refused():
    with pytest.raises(ValueError, match="TensorizedRBM takes no target"):
        TensorizedRBM(**FAST).fit(X, target=X)


def test_values_out_of_range_are_refused_later_too(fitted):
    for call in (fitted.predict, fitted.transform, fitted.score_samples, fitted.free_energy, fitted.partial_fit):
        with pytest.raises(ValueError, match=r"needs values in \[0, 1\]"):
            call(3 * X)


def test_unscaled_gaussian_data_are_warned_of():
    Z = np.random.default_rng(0).normal(size=(50, 4))
    arguments = FAST | {"visible": "gaussian", "epochs": 1}
    for factor in (100, 0.01):
        scale = np.sqrt(np.mean((factor * Z).std(axis=0) ** 2))
        with pytest.warns(UserWarning, match=f"unit variance, but X's .* deviation of {scale:.3g} .*StandardScaler"):
            TensorizedRBM(**arguments).fit(factor * Z)


def test_annealing_needs_finite_weights(fitted):
    broken = clone(fitted).fit(X)
    broken.params_[3] = np.nan
    broken.params_[5] = np.inf
    with pytest.raises(ValueError, match=f"2 of {broken.params_.size} parameters are not finite; annealed importance"):
        broken.estimate_log_partition()


def test_chains_without_stored_hidden_units_continue():
    model = TensorizedRBM(**FAST | {"persistent": True, "n_chains": 5}).fit(X)
    before, shape = model.state_["chains"].copy(), model.state_.pop("chains_hidden").shape
    model.partial_fit(X)
    hidden = model.state_["chains_hidden"]
    assert hidden.shape == shape
    assert set(np.unique(hidden)) == {0, 1}
    assert (model.state_["chains"] != before).any()


def test_chains_of_another_shape_are_refused(tmp_path):
    model = TensorizedRBM(**FAST | {"persistent": True, "n_chains": 5}).fit(X)
    model.set_params(n_chains=6)
    with pytest.raises(ValueError, match=r"persistent chains have shape \(2, 5, 12\); expected .* = \(2, 6, 12\)"):
        model.partial_fit(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(0), "n_samples=0; expected an int of at least 1"),
        (lambda m: m.sample(3, cluster=2), "cluster=2; expected None, or an int from 0 to 1"),
        (lambda m: m.gibbs(X, steps=-1), "steps=-1; expected an int of at least 0"),
        (lambda m: m.gibbs(X, labels=[0, 1]), r"labels has shape \(2,\)"),
        (lambda m: m.estimate_log_partition(n_chains=1), "n_chains=1; expected an int of at least 2"),
        (lambda m: m.free_energy_gap(X[m.labels_ == 0], X[m.labels_ == 1]), "no cluster has samples in both"),
    ],
)
def test_bad_questions(fitted, call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted)


def test_what_a_machine_does_not_have(fitted):
    assert not hasattr(fitted, "gaussians")
    gaussian = TensorizedRBM(**FAST | {"visible": "gaussian", "epochs": 1}).fit(X)
    with pytest.raises(ValueError, match=r"pseudo_likelihood needs visible='bernoulli'.*'gaussian'"):
        gaussian.pseudo_likelihood(X)
    with pytest.raises(ValueError, match="FreeEnergyGap is for Boltzmann machines"):
        from csrl_core import TensorizedAutoencoder

        TensorizedAutoencoder(epochs=1).set_callbacks(callbacks.FreeEnergyGap(X, X)).fit(X)


def test_a_diverging_fit_leaves_the_last_finite_parameters():
    from csrl_core import NonFiniteLossError

    model = TensorizedRBM(**FAST | {"visible": "gaussian", "learning_rate": 1e9, "optimizer": "sgd"})
    with pytest.raises(NonFiniteLossError, match="smaller learning_rate"), np.errstate(all="ignore"):
        model.fit(100 * X)
    if hasattr(model, "params_"):
        assert np.isfinite(model.params_).all()


def test_nothing_as_large_as_all_hidden_units_is_kept():
    import tracemalloc

    n, m = 20_000, 200
    Z = np.tile(X.astype(np.float32), (n // len(X) + 1, 1))[:n]
    model = TensorizedRBM(n_hidden=m, n_clusters=4, epochs=0, random_state=0, ais_betas=2).fit(Z)
    tracemalloc.start()
    model.free_energy(Z)
    model.predict(Z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * n * 4 * m * 4


def test_the_rule_names_what_it_keeps(fitted):
    rule = fitted._model(backend.get("numpy")).partition
    state = rule.state(None, None, fitted.cluster_centers_, None)
    assert set(state) == set(rule.names) <= set(fitted.state_)
    assert all(state[name].shape == fitted.state_[name].shape for name in state)
