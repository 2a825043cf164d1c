"""The CUDA code on a GPU, where there is one: agreement, whole fits, arrays that stay there."""

import numpy as np
import pytest

from csrl_core import BackendError, TensorizedAutoencoder, backend, contract, datasets, verify

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    try:
        return backend.get("cupy")
    except BackendError as error:
        pytest.skip(f"this test needs a CUDA device: {error}")


@pytest.mark.parametrize("stem", contract.STEMS)
def test_agreement(device, stem):
    failed = [str(result) for result in verify.verify([device], [stem]) if not result.ok]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampled_bits_are_the_references_on_the_device(device, dtype):
    key, rows = np.array([7, 11], np.uint32), np.random.default_rng(0).permutation(40_000)
    p = np.random.default_rng(1).random((40_000, 33)).astype(dtype)
    bits = device.philox.bernoulli(device.own(p), key, 5, 2**31, 3, rows)
    np.testing.assert_array_equal(bits.get(), backend.get("numpy").philox.bernoulli(p, key, 5, 2**31, 3, rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_emulator_told_the_device_s_bits(device, dtype):
    # Nothing is summed here but in a fixed order, and nothing is contracted: the two must agree exactly.
    X = np.random.default_rng(0).normal(scale=4, size=(3000, 200)).astype(dtype)
    s, w = np.arange(3000) % 7, np.linspace(0.5, 2, 3000).astype(dtype)
    emulated = backend.get("emulated")
    results = []
    for b in (emulated, device):
        there = [b.own(a) for a in (X, s, w)]
        found = [*b.assign.cluster_sums(*there, 7), b.dense.activate(there[0], 3), b.dense.activate(there[0], 4)]
        results.append([backend.as_numpy(a) for a in found])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("batch_size", [None, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_fits_have_the_references_labels(device, batch_size, dtype):
    X = datasets.make_lines_3d(random_state=0)[0].astype(dtype)
    arguments = {"n_clusters": 3, "epochs": 50, "random_state": 0, "batch_size": batch_size}
    reference = TensorizedAutoencoder(backend="numpy", **arguments).fit(X)
    host = TensorizedAutoencoder(backend="cupy", **arguments).fit(X)
    there = TensorizedAutoencoder(backend="cupy", **arguments).fit(device.own(X))
    assert type(host.params_) is np.ndarray
    assert isinstance(there.params_, device.xp.ndarray)
    np.testing.assert_array_equal(host.labels_, reference.labels_)
    np.testing.assert_array_equal(there.predict(device.own(X)).get(), reference.labels_)
    np.testing.assert_allclose(host.loss_curve_, reference.loss_curve_, rtol=1e-9 if dtype == np.float64 else 1e-4)


def test_repeated_fits_are_equal_to_the_bit(device):
    X = np.random.default_rng(0).normal(size=(3000, 50)).astype(np.float32)
    fit = lambda: TensorizedAutoencoder(backend="cupy", n_clusters=4, hidden=(16, 4), epochs=5, random_state=0).fit(X)  # noqa: E731
    np.testing.assert_array_equal(fit().params_, fit().params_)
