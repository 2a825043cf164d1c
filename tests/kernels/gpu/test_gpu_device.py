"""The CUDA code on a GPU, where there is one: agreement, whole fits, arrays that stay there."""

import numpy as np
import pytest
from gpu_helpers import STEMS

from csrl_core import BackendError, TensorizedAutoencoder, datasets
from csrl_core import backends as backend
from csrl_core.contract import verify
from csrl_core.contract.cases import rbm as rbm_cases
from csrl_core.reference import rbm as rbm_reference

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    try:
        return backend.get("cupy")
    except BackendError as error:
        pytest.skip(f"this test needs a CUDA device: {error}")


@pytest.mark.parametrize("stem", STEMS)
def test_agreement(device, stem):
    failed = [str(result) for result in verify.verify([device], [stem]) if not result.ok]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampled_bits_are_the_references_on_the_device(device, dtype):
    key, rows = np.array([7, 11], np.uint32), np.random.default_rng(0).permutation(40_000)
    p = np.random.default_rng(1).random((40_000, 33)).astype(dtype)
    bits = device.philox.bernoulli(device.own(p), key, 5, 2**31, 3, rows)
    np.testing.assert_array_equal(bits.get(), backend.get("numpy").philox.bernoulli(p, key, 5, 2**31, 3, rows))


@pytest.mark.parametrize(("m", "width", "column"), [(500, 1000, 500), (33, 99, 33)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_are_the_references_on_the_device(device, dtype, m, width, column):
    rng = np.random.default_rng(0)
    A, offset = 2 * rng.normal(size=(20_000, m)).astype(dtype), rng.normal(size=m).astype(dtype)
    key, rows = np.array([7, 11], np.uint32), rng.permutation(40_000)[:20_000]
    bits = device.rbm.bernoulli_units(device.own(A), device.own(offset), key, 5, 2**31, 3, rows, width, column)
    expected = backend.get("numpy").rbm.bernoulli_units(A, offset, key, 5, 2**31, 3, rows, width, column)
    np.testing.assert_array_equal(bits.get(), expected)


def test_chains_are_the_references_on_the_device(device):
    # Products' roundings move a probability by 10⁻¹⁵ or so, and as seldom does that turn a bit: of two million none.
    a = rbm_cases.arguments(np.dtype(np.float64), 2000, 64, 3, 36, rbm_reference.BERNOULLI)
    call = rbm_cases._gibbs(a, n_steps=10)
    there = [device.own(x) if isinstance(x, np.ndarray) and x is not a["key"] else x for x in call]
    np.testing.assert_array_equal(device.rbm.gibbs(*there).get(), rbm_reference.gibbs(*call))


def test_repeated_divergences_are_equal_to_the_bit(device):
    a = rbm_cases.arguments(np.dtype(np.float32), 3000, 64, 3, 36, rbm_reference.BERNOULLI)
    call = rbm_cases._divergence(a, n_steps=3, chosen=True)
    there = [device.own(x) if isinstance(x, np.ndarray) and x is not a["key"] else x for x in call]
    for mine, again in zip(*(device.rbm.losses_and_gradient(*there) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(mine.get(), again.get())


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
