"""Further promises: restarts and random numbers, results of single calls, arrays of other libraries."""

import sys

import numpy as np
import pytest

import csrl_core
from csrl_core import TensorizedAutoencoder, TensorizedRBM, datasets
from csrl_core import backends as backend
from csrl_core.backends import as_numpy
from csrl_core.training.draws import RESTARTS, Use, stream

X, Y = datasets.make_lines_3d(random_state=0)
RANDOM = np.random.RandomState(0)
B = (RANDOM.rand(60, 6) < np.repeat([[0.1], [0.9]], 30, axis=0)).astype(float)
KEY = np.array([1, 2], np.uint32)


def machine(**changes):
    return TensorizedRBM(**{"n_hidden": 3, "epochs": 1, "random_state": 0, "ais_betas": 5, "ais_chains": 3} | changes)


# -- random numbers and restarts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_init", [2**16, 10**9])
def test_more_restarts_than_streams_are_refused_at_once(n_init):
    for model in (TensorizedAutoencoder(n_init=n_init, epochs=10**9), machine(n_init=n_init, epochs=10**9)):
        with pytest.raises(ValueError, match=rf"'n_init' .* in the range \[1, 65535\]. Got {n_init}"):
            model.fit(B)
    stream(Use.GIBBS_TRAINING, 0, RESTARTS - 1)  # that of the last restart


@pytest.mark.parametrize("name", ["numpy", "numba", "emulated"])
def test_a_batch_of_the_last_images_of_mnist8m_under_ten_machines(name):
    kernels, (n, d, k, m) = backend.get(name), (8_100_000, 784, 10, 784)
    rows, centers = np.array([0, 5_479_002, n - 2, n - 1]), np.zeros((k, d), np.float32)  # n k m is above 2**34
    params = np.random.RandomState(0).randn(k * d * m + k * m + d).astype(np.float32) / 30
    V, s = np.ones((len(rows), d), np.float32), np.array([0, 9, 9, 0])
    arguments = KEY, stream(Use.GIBBS_TRAINING), 3
    ends = kernels.rbm.gibbs(params, k, V, s, 0, 1, *arguments, 0, rows)
    hidden = kernels.rbm.hidden_probabilities(params, V, centers, s)
    u = kernels.philox.uniform(*arguments, 0, rows, k * m, np.float32).reshape(len(rows), k, m)
    bits = (u[np.arange(len(rows)), s] < hidden).astype(np.float32)
    means = kernels.rbm.visible_means(params, bits, s, centers, 0)
    u = kernels.philox.uniform(KEY, arguments[1] + 256, 3, 0, rows, k * d, np.float32).reshape(len(rows), k, d)
    np.testing.assert_array_equal(ends, (u[np.arange(len(rows)), s] < means).astype(np.float32))
    assert len({row.tobytes() for row in u.reshape(len(rows), -1)}) == len(rows)


# -- results of calls ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e25), (np.float32, 1e18), (np.float64, 1e200)])
@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_embeddings_far_away_are_decoded_by_a_cluster(dtype, size, name):
    model = TensorizedAutoencoder(n_clusters=3, epochs=2, backend=name, random_state=0).fit(X.astype(dtype))
    Z = np.full((4, 1), size, dtype)
    junk = [np.full((4, 6), 12345.678, dtype) for _ in range(200)]  # values that uninitialised memory would have
    del junk
    with np.errstate(over="ignore"):
        decoded = model.inverse_transform(Z)
        each = [model.inverse_transform(Z, np.full(4, j)) for j in range(3)]
    assert any(np.array_equal(decoded, by_cluster) for by_cluster in each)
    if dtype is np.float32:  # in float64 these distances do not overflow
        distances = [((Y.astype(float) - c) ** 2).sum(axis=1)[0] for Y, c in zip(each, model.cluster_centers_)]
        np.testing.assert_array_equal(decoded, each[int(np.argmin(distances))])


def test_labels_are_predictions_unless_there_is_a_target():
    noisy = X + np.random.RandomState(0).randn(*X.shape)
    model = TensorizedAutoencoder(n_clusters=3, assignment="loss", epochs=30, random_state=0).fit(noisy)
    np.testing.assert_array_equal(model.labels_, model.predict(noisy))
    model.fit(noisy, target=X)
    own = model.value_and_gradient(noisy, model.labels_, target=X)[0]
    assert own < model.value_and_gradient(noisy, model.predict(noisy), target=X)[0]
    np.testing.assert_allclose(own / len(X), model.loss_, rtol=1e-9)
    likelihood = TensorizedAutoencoder(n_clusters=3, epochs=5, assignment="likelihood", random_state=0)
    likelihood.fit(noisy, target=X)
    np.testing.assert_array_equal(likelihood.labels_, likelihood.predict(noisy))


@pytest.mark.parametrize(
    "changes", [{}, {"center": True}, {"visible": "gaussian"}, {"assignment": "cd", "center": True}]
)
def test_gibbs_accepts_its_own_output(changes):
    model = machine(**changes).fit(B)
    V = model.gibbs(B[:10], steps=2)
    again = model.gibbs(V, steps=2)
    assert again.shape == V.shape
    assert model.gibbs(model.sample(5, steps=3)[0]).shape == (5, 6)


@pytest.mark.parametrize("steps", [-3, -1, 0.5, "2", None])
def test_steps_that_are_not_a_count_are_refused(steps):
    model = machine().fit(B)
    for call in (lambda: model.sample(2, steps=steps), lambda: model.gibbs(B, steps=steps)):
        with pytest.raises(ValueError, match=rf"steps={steps!r}; expected an int of at least 0"):
            call()
    assert model.sample(2, steps=0)[0].shape == (2, 6)


def test_a_loaded_machine_draws_new_numbers(tmp_path):
    model = machine().fit(B)
    first = model.sample(20, steps=2)[0]
    model.save(tmp_path / "model")
    second = model.sample(20, steps=2)[0]
    loaded = csrl_core.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.sample(20, steps=2)[0], second)
    assert (first != second).any()
    untouched = machine().fit(B)
    untouched.save(tmp_path / "untouched")
    np.testing.assert_array_equal(csrl_core.load(tmp_path / "untouched").sample(20, steps=2)[0], first)


# -- arrays of other device libraries ----------------------------------------------------------------------------


class Foreign:
    """An array on a device, of a library that is not CuPy: its own DLPack copies it to the host."""

    def __init__(self, host):
        self.host = np.asarray(host)
        self.__cuda_array_interface__ = {"shape": self.host.shape, "typestr": self.host.dtype.str, "version": 3}

    def __len__(self):
        return len(self.host)

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, *, dl_device=None, copy=None, **options):
        assert dl_device == (1, 0)
        assert copy
        return self.host.copy().__dlpack__()


class Bare:
    """An array on a device without DLPack, which CuPy can read."""

    def __init__(self, host):
        self.host = np.asarray(host)
        self.__cuda_array_interface__ = {"shape": self.host.shape, "typestr": self.host.dtype.str, "version": 3}

    def __array__(self, dtype=None, copy=None):
        return self.host


def test_arguments_other_than_data_may_lie_on_a_device_of_any_library():
    labels = np.arange(300) % 3
    for array in (labels, X[:3], X.astype(np.float32)):
        host = as_numpy(Foreign(array))
        assert type(host) is np.ndarray
        np.testing.assert_array_equal(host, array)
        host[...] = 0  # it is a copy
    fit = TensorizedAutoencoder(n_clusters=3, epochs=1, random_state=0, init=Foreign(labels)).fit(X)
    same = TensorizedAutoencoder(n_clusters=3, epochs=1, random_state=0, init=labels).fit(X)
    np.testing.assert_array_equal(fit.params_, same.params_)
    assert fit.score(X, sample_weight=Foreign(labels * 1.0)) == same.score(X, sample_weight=labels * 1.0)
    value, _ = same.value_and_gradient(X, Foreign(labels), params=Foreign(same.params_), centers=Foreign(X[:3]))
    assert value == same.value_and_gradient(X, labels, centers=X[:3])[0]


def test_cupy_reads_arrays_without_dlpack(cupy):
    np.testing.assert_array_equal(as_numpy(Bare(np.arange(3))), [0, 1, 2])


def test_an_array_that_no_library_can_read_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    backend.get.cache_clear()
    with pytest.raises(TypeError, match=r"a test_promises\.Bare on a device cannot be brought to the host"):
        as_numpy(Bare(np.arange(3)))
