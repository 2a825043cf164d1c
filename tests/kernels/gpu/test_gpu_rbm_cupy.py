"""TensorizedRBM on backend "cupy", with a stand-in for CuPy whose arrays cannot be mistaken for the host's."""

import numpy as np
import pytest

import csrl_core
from csrl_core import TensorizedRBM
from csrl_core import backends as backend

rng = np.random.default_rng(0)
Y = np.arange(120) % 2
X = (rng.random((120, 10)) < np.where((np.arange(10) < 5) == Y[:, None], 0.9, 0.1)).astype(float)
ARGUMENTS = {
    **{"n_hidden": 4, "epochs": 3, "batch_size": 40, "learning_rate": 0.01},
    **{"ais_betas": 20, "ais_chains": 6, "random_state": 0},
}
VARIANTS = {
    "likelihood": {},
    "contrastive divergence": {"assignment": "cd", "gibbs_steps": 2},
    "persistent": {"persistent": True, "n_chains": 7},
    "gaussian": {"visible": "gaussian", "weight_decay": 1e-3, "optimizer": "sgd", "momentum": 0.5},
    "one machine": {"n_clusters": 1, "persistent": True},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_fits_and_answers_of_host_and_device_arrays(cupy, changes, tmp_path):
    arguments = ARGUMENTS | changes
    reference = TensorizedRBM(backend="numpy", **arguments).fit(X)
    host = TensorizedRBM(backend="cupy", **arguments).fit(X)
    there = TensorizedRBM(backend="cupy", **arguments).fit(cupy.asarray(X))
    assert type(host.params_) is np.ndarray
    assert type(there.params_) is cupy.ndarray
    close = {"rtol": 1e-9, "atol": 1e-9}
    for model in (host, there):
        np.testing.assert_array_equal(backend.as_numpy(model.labels_), reference.labels_)
        np.testing.assert_allclose(model.loss_curve_, reference.loss_curve_, **close)
    for name in ["predict", "transform", "transform_all", "reconstruct", "cluster_losses", "free_energy"]:
        expected, a, b = getattr(reference, name)(X), getattr(host, name)(X), getattr(there, name)(cupy.asarray(X))
        assert (type(a), type(b)) == (np.ndarray, cupy.ndarray), name
        np.testing.assert_allclose(a, expected, err_msg=name, **close)
        np.testing.assert_allclose(b.get(), expected, err_msg=name, **close)
    np.testing.assert_allclose(there.log_partition_, reference.log_partition_, **close)
    np.testing.assert_allclose(there.score(cupy.asarray(X)), reference.score(X), **close)
    np.testing.assert_allclose(
        there.free_energy_gap(cupy.asarray(X[:80]), cupy.asarray(X[80:])),
        reference.free_energy_gap(X[:80], X[80:]),
        **close,
    )
    value, gradient = reference.value_and_gradient(X, reference.labels_)
    same, also = there.value_and_gradient(cupy.asarray(X), there.labels_)
    np.testing.assert_allclose(same, value, **close)
    np.testing.assert_allclose(also.get(), gradient, **close)
    samples, labels = there.sample(9, steps=3)
    expected, theirs = reference.sample(9, steps=3)
    np.testing.assert_allclose(backend.as_numpy(samples), expected, **close)
    np.testing.assert_array_equal(labels, theirs)
    np.testing.assert_allclose(backend.as_numpy(there.gibbs(cupy.asarray(X))), reference.gibbs(X), **close)
    if reference.visible == "bernoulli":
        np.testing.assert_allclose(there.pseudo_likelihood(cupy.asarray(X)), reference.pseudo_likelihood(X), **close)
    there.save(tmp_path / "model")
    here = csrl_core.load(tmp_path / "model", backend="numpy")
    np.testing.assert_array_equal(here.predict(X), reference.labels_)
    reference.partial_fit(X)
    there.partial_fit(cupy.asarray(X))
    np.testing.assert_allclose(there.params_.get(), reference.params_, **close)
    there.to_cpu()
    assert not any(backend.is_device_array(value) for value in [*vars(there).values(), *there.state_.values()])


def test_too_little_memory(use):
    use(free=300_000)
    arguments = {"backend": "cupy", "n_hidden": 50, "epochs": 1, "ais_betas": 2}
    with pytest.raises(backend.DeviceMemoryError, match=r"batch_size=\d+ would fit") as raised:
        TensorizedRBM(**arguments, batch_size=None).fit(np.tile(X, (10, 1)))
    fits = int(str(raised.value).partition("batch_size=")[2].partition(" ")[0])
    with pytest.raises(backend.DeviceMemoryError):
        TensorizedRBM(**arguments, batch_size=fits + 1).fit(np.tile(X, (10, 1)))
    TensorizedRBM(**arguments, batch_size=fits).fit(np.tile(X, (10, 1)))
