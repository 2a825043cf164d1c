"""Default arguments of `TensorizedRBM` on small data: keeping a good start, and warnings of a fit."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from csrl_core import TensorizedAutoencoder, TensorizedRBM, callbacks, load
from csrl_core.training.joint import JointAssignment

QUICK = {"n_hidden": 12, "ais_betas": 100, "ais_chains": 50}


def two_classes():
    """The docstring's example."""
    rng = np.random.default_rng(0)
    return (rng.random((200, 12)) < np.repeat([[0.1], [0.9]], 100, axis=0)).astype(float), np.repeat([0, 1], 100)


def bernoulli(sizes, d, low, high, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    p = np.where(rng.random((len(sizes), d)) < 0.5, low, high)
    return (rng.random((len(y), d)) < p[y]).astype(float), y


def gaussian():
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [80, 50, 30])
    X = 2 * rng.normal(size=(3, 6))[y] + rng.normal(size=(160, 6))
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def digits():
    D = load_digits()
    rows = np.isin(D.target, [3, 5])
    return D.data[rows] / 16, D.target[rows]


X, Y = two_classes()
SETS = {
    "two classes": (two_classes, {}),
    "unequal": (lambda: bernoulli((120, 50, 30), 20, 0.1, 0.9), {}),
    "near": (lambda: bernoulli((60, 60), 40, 0.35, 0.65), {}),
    "Gaussian": (gaussian, {"visible": "gaussian"}),
    "digits": (digits, {"n_hidden": 50}),
}


@pytest.mark.parametrize("name", SETS)
def test_defaults_keep_a_good_start(name):
    draw, changes = SETS[name]
    Z, y = draw()
    k, trained, start = len(np.unique(y)), [], []
    for seed in range(3):
        arguments = QUICK | {"n_clusters": k, "random_state": seed} | changes
        model = TensorizedRBM(**arguments).fit(Z)
        assert np.bincount(model.labels_, minlength=k).all()
        np.testing.assert_array_equal(model.labels_, model.predict(Z))
        trained.append(adjusted_rand_score(y, model.labels_))
        start.append(adjusted_rand_score(y, TensorizedRBM(**arguments | {"epochs": 0}).fit(Z).state_["assign"]))
    assert np.mean(trained) > np.mean(start) - 0.05
    if name == "digits":  # on digits training improves the labels of k-means
        assert np.mean(trained) > np.mean(start) + 0.02


@pytest.mark.parametrize("epochs", [1, 3, 15, 60])
def test_a_short_fit_keeps_a_good_start(epochs):
    for seed in range(3):
        model = TensorizedRBM(n_hidden=4, epochs=epochs, random_state=seed).fit(X)
        assert adjusted_rand_score(Y, model.labels_) == 1
        assert model.n_reseeded_ == 0


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs"), [(90, 64, 500), (200, 64, 250), (3000, 64, 22), (60_000, 64, 10), (200, None, 1000)]
)
def test_epochs_follow_from_steps(n, batch_size, epochs):
    model = TensorizedRBM(batch_size=batch_size)
    assert model._epochs(model._batches(n)) == epochs
    assert model.set_params(epochs=7)._epochs(model._batches(n)) == 7


def test_this_number_of_epochs_is_run_and_reported():
    history = callbacks.LossHistory()
    model = TensorizedRBM(n_hidden=2, batch_size=None, ais_betas=2).set_callbacks(history).fit(X[::10])
    assert model.n_iter_ == model.n_steps_ == len(history.history) == 1000


class Assignments(callbacks.EpochCallback):
    """Stores the assignment of every epoch, and the predictions of the estimator at its end."""

    def __init__(self, ask=()):
        self.assigned, self.asked, self.ask = [], {}, ask

    def on_epoch_end(self, estimator, epoch):
        self.assigned.append(np.array(epoch.run.state["assign"]))
        if epoch.epoch in self.ask:
            self.asked[epoch.epoch] = epoch.fitted().predict(X)
        return False


FLAWED = np.where(np.arange(200) % 100 < 20, 1 - Y, Y)  # a fifth of each class starts in the other's cluster


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("assignment", ["likelihood", "cd"])
def test_the_first_assignment_stands_and_labels_are_by_likelihood(visible, assignment):
    seen = Assignments()
    arguments = QUICK | {"init": FLAWED, "visible": visible, "assignment": assignment, "random_state": 0}
    model = TensorizedRBM(**arguments).set_callbacks(seen).fit(X)
    assert len(seen.assigned) == 250
    assert (np.array(seen.assigned) == FLAWED).all()
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    told = TensorizedRBM(**arguments | {"standing_epochs": 250}).fit(X)
    np.testing.assert_array_equal(model.params_, told.params_)
    np.testing.assert_array_equal(model.labels_, told.labels_)


def test_partial_fit_assigns_to_the_nearest_centre(monkeypatch):
    # Noise, for which the likelihood would give other assignments.
    noise = (np.random.default_rng(0).random((120, 12)) < 0.5).astype(float)
    accumulated = JointAssignment.accumulate
    seen = []

    def recorded(objective, run, batch, assigned):
        centers = np.array(run.state["centers"])
        result = accumulated(objective, run, batch, assigned)
        seen.append((assigned, np.array(run.state["assign"]), np.array(batch.target), centers))
        return result

    monkeypatch.setattr(JointAssignment, "accumulate", recorded)
    model = TensorizedRBM(init="k-means", **QUICK | {"random_state": 0})
    for _ in range(130):
        model.partial_fit(noise)
    last = [entry for entry in seen if not entry[0]][-1]
    nearest = ((last[2][:, None] - last[3]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(last[1], nearest)
    assert (model.predict(noise) != nearest).any()


@pytest.mark.parametrize(("visible", "rate"), [("bernoulli", 0.003), ("gaussian", 0.001)])
def test_default_rate_and_weight_decay(visible, rate):
    arguments = QUICK | {"visible": visible, "epochs": 3, "random_state": 0}
    told = TensorizedRBM(**arguments, learning_rate=rate, weight_decay=0.01).fit(X)
    np.testing.assert_array_equal(TensorizedRBM(**arguments).fit(X).params_, told.params_)
    assert (TensorizedRBM(**arguments, weight_decay=0.0).fit(X).params_ != told.params_).any()


def estimates(**changes):
    return int(TensorizedRBM(**QUICK | {"epochs": 6} | changes).fit(X).state_["n_estimates"][0])


def test_log_z_is_estimated_when_it_is_needed():
    assert estimates() == 1  # for the labels
    assert estimates(standing_epochs=3) == 2  # at the start of the fourth epoch, and for the labels
    # With ais_every, even while an assignment stands: at the start, every other epoch, and for the labels.
    assert estimates(ais_every=2, standing_epochs=3) == estimates(ais_every=2) == 5


def test_predicting_during_a_fit_does_not_change_the_fit():
    arguments = QUICK | {"epochs": 6, "random_state": 0}
    seen = Assignments(ask=[1, 4])
    asked, alone = TensorizedRBM(**arguments).set_callbacks(seen).fit(X), TensorizedRBM(**arguments).fit(X)
    np.testing.assert_array_equal(asked.params_, alone.params_)
    np.testing.assert_array_equal(asked.log_partition_, alone.log_partition_)
    assert [adjusted_rand_score(Y, labels) for labels in seen.asked.values()] == [1, 1]


# -- warnings ----------------------------------------------------------------------------------------


def fitted_with_warnings(model, Z):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(Z)
    return model, caught


def test_an_empty_cluster_gives_one_warning_and_is_not_re_seeded():
    early = {"epochs": 60, "standing_epochs": 1, "learning_rate": 0.001, "n_hidden": 4, "random_state": 0}
    model, caught = fitted_with_warnings(TensorizedRBM(**early), X)
    assert np.bincount(model.labels_, minlength=2).min() == 0
    assert model.n_reseeded_ == 0
    (empty,) = [w for w in caught if "no samples" in str(w.message)]
    assert empty.category is ConvergenceWarning
    assert empty.filename == __file__
    for word in ("cluster ", "sizes: ", "n_clusters=1", "init='k-means'", "n_init", "standing_epochs=1, or 'auto'"):
        assert word in str(empty.message)


def test_every_model_warns_of_empty_clusters_and_stops_re_seeding_them():
    Z = np.repeat([[0.0, 1.0], [2.0, 3.0]], 20, axis=0)
    model = TensorizedAutoencoder(n_clusters=4, epochs=60, hidden=(1,), random_state=0)
    model, caught = fitted_with_warnings(model, Z)
    assert 0 < model.n_reseeded_ <= 40 + 2
    assert sum("no samples after training" in str(w.message) for w in caught) == 1


def test_a_fit_warns_of_a_machine_that_has_learnt_nothing(tmp_path):
    D, _ = digits()
    slow = TensorizedRBM(**QUICK | {"epochs": 2, "learning_rate": 0.001, "random_state": 0})
    model, caught = fitted_with_warnings(slow, D)
    (noise,) = [w for w in caught if "learnt next to nothing" in str(w.message)]
    assert noise.category is ConvergenceWarning
    assert noise.filename == __file__
    for word in ("2 of 2 machines", "12 steps", "epochs (now 2)", "learning_rate (now 0.001)"):
        assert word in str(noise.message)
    _, caught = fitted_with_warnings(TensorizedRBM(**QUICK | {"n_hidden": 50, "random_state": 0}), D)
    assert not caught
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").get_params()["standing_epochs"] == "auto"


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "standing_epochs", "ais_every"])
def test_strings_other_than_auto_are_refused(name):
    with pytest.raises(ValueError, match=f"'{name}' .* Got 'always'"):
        TensorizedRBM(**{name: "always"}).fit(X)
