"""Results do not depend on the unit of the data, or a warning says so."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import csrl_core
from csrl_core import TensorizedAutoencoder, TensorizedVAE, datasets, metrics
from csrl_core.callbacks import Checkpoint
from csrl_core.training import units

X, Y = datasets.make_lines_3d(random_state=0)
X = 0.1 * X  # so that its own unit is not 1
ARGUMENTS = {"n_clusters": 3, "epochs": 12, "batch_size": 70, "random_state": 0, "backend": "numpy"}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def model(**arguments):
    return TensorizedAutoencoder(**ARGUMENTS | arguments)


def assert_same(scaled, expected, factor, data):
    """Two fits, of data and of the factor times these, are the same, bit for bit."""
    np.testing.assert_array_equal(scaled.params_, expected.params_)
    np.testing.assert_array_equal(scaled.labels_, expected.labels_)
    np.testing.assert_array_equal(scaled.cluster_centers_, factor * expected.cluster_centers_)
    assert scaled.loss_curve_ == [factor**2 * loss for loss in expected.loss_curve_]
    assert scaled.loss_ == factor**2 * expected.loss_
    many = (factor * data).astype(data.dtype)
    np.testing.assert_array_equal(scaled.predict(many), scaled.labels_)
    np.testing.assert_array_equal(scaled.transform(many), factor * expected.transform(data))
    np.testing.assert_array_equal(scaled.reconstruct(many), factor * expected.reconstruct(data))
    np.testing.assert_array_equal(scaled.cluster_losses(many), factor**2 * expected.cluster_losses(data))


@pytest.mark.parametrize(
    ("dtype", "power", "arguments"),
    [
        (np.float64, -30, {"tol": 1e-3, "n_init": 2}),
        (np.float64, 11, {"assignment": "loss", "center_update": "running", "activation": "relu"}),
        (np.float32, -40, {"backend": "numba", "batch_size": None}),
        (np.float32, 5, {"solver": "exact", "reg": 0.0, "batch_size": None}),
    ],
)
def test_a_power_of_two_changes_no_bit(dtype, power, arguments):
    factor, data = dtype(2.0**power), X.astype(dtype)
    expected = model(**arguments).fit(data)
    assert_same(model(**arguments).fit(factor * data), expected, factor, data)


def test_centres_that_are_given_are_in_the_unit_of_the_data():
    factor, centers = 2.0**-20, X[[0, 120, 250]]
    expected = model(init=centers, hidden=(1,), activation="relu").fit(X)
    scaled = model(init=factor * centers, hidden=(1,), activation="relu").fit(factor * X)
    assert_same(scaled, expected, factor, X)


def test_a_resumed_fit_and_a_loaded_model_keep_the_unit(tmp_path):
    factor, path = 2.0**-20, tmp_path / "state"
    expected = model(tol=1e-3).fit(factor * X)
    assert expected.state_["unit"] == factor / 8
    model(epochs=5, tol=1e-3).set_callbacks(Checkpoint(path)).fit(factor * X)
    resumed = model(tol=1e-3).fit(factor * X, resume=path)
    assert_same(resumed, expected, 1.0, factor * X)
    resumed.save(path)
    loaded = csrl_core.load(path)
    for estimator in (expected, loaded):
        estimator.partial_fit(factor * X[:50])
    np.testing.assert_array_equal(loaded.params_, expected.params_)
    assert loaded.loss_curve_ == expected.loss_curve_
    np.testing.assert_array_equal(loaded.state_["sums"], expected.state_["sums"])


def test_steps_on_batches_do_not_depend_on_the_unit():
    factor, (one, other) = 2.0**-20, (model(), model())
    for rows in (X[:100], X[100:160], X[160:]):
        one.partial_fit(rows)
        other.partial_fit(factor * rows)
    np.testing.assert_array_equal(other.params_, one.params_)
    assert other.loss_curve_ == [factor**2 * loss for loss in one.loss_curve_]


def test_small_data_are_learnt_as_well_as_others():
    lines = model(epochs=150, batch_size=None).fit(1e-4 * X)
    assert metrics.adjusted_rand_index(Y, lines.labels_) == 1
    rng = np.random.default_rng(0)
    volts = 1e-6 * rng.normal(size=(200, 3)) @ rng.normal(size=(3, 10))
    of_rank_3 = model(n_clusters=1, hidden=(3,), reg=0.0, epochs=100, batch_size=None).fit(volts)
    assert of_rank_3.loss_ < 1e-6 * volts.var()


def test_where_the_unit_matters_a_warning_says_so():
    for estimator, factor, size in (
        (model(activation="tanh", epochs=1), 1e-5, "1.[0-9]e-06"),
        (model(optimizer="sgd", epochs=1), 1e-5, "1.[0-9]e-06"),
        (model(epochs=1), 1e-200, "[0-9.]+e-201"),  # squares are zero
        (
            TensorizedVAE(hidden=(2,), epochs=1, backend="numpy", reconstruction_loss="mse", random_state=0),
            1e3,
            "1.[0-9]e[+]02",
        ),
    ):
        with pytest.warns(UserWarning, match=f"X has values of the size {size}.*StandardScaler") as caught:
            estimator.fit(factor * X)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            estimator.fit(X)
    bits = (X > 0).astype(float) * 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        TensorizedVAE(hidden=(2,), epochs=1, backend="numpy", random_state=0, bound_samples=1).fit(bits)


def test_a_unit_is_the_power_of_two_next_to_the_size():
    assert [units.near(size, 8) for size in (0.8, 1.4, 1.5, 3e-6)] == [1, 1, 2, 2.0**-18]
    assert [units.near(size, 4) for size in (0, np.inf, np.nan, 1e30, 1e-30)] == [1] * 5
