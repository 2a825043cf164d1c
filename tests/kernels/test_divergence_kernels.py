"""Distances of tensors on the CPU: both forms of traces, threads, blocks of convolutions, what is not finite."""

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.contract.cases.divergence import TENSORS, tensors
from csrl_core.kernels.cpu.divergence import factors, projections
from csrl_core.kernels.cpu.divergence import tensors as forms
from csrl_core.reference import divergence as reference

kernels = backends.get("numba").divergence


def found(arrays, shape, kernels=kernels):
    Y, ridge, G = (arrays[name] for name in ("Y", "ridge", "G"))
    return kernels.tensor_distances(Y, shape, ridge), kernels.tensor_distances_gradient(G, Y, shape, ridge)


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("form", [factors, projections], ids=["factors", "projections"])
def test_either_form_does_for_every_tensor(monkeypatch, form, name):
    (n, shape), dtype = TENSORS[name], np.float64
    arrays = tensors(n, shape, dtype)
    D = reference.tensor_distances(arrays["Y"], shape, arrays["ridge"])
    dY = reference.tensor_distances_gradient(arrays["G"], arrays["Y"], shape, arrays["ridge"])
    monkeypatch.setattr(forms, "_form", lambda V: form)
    own = found(arrays, shape)
    np.testing.assert_allclose(own[0], D, atol=1e-11)
    np.testing.assert_allclose(own[1], dY, atol=1e-10 * np.abs(dY).max())


def test_both_forms_are_taken():
    taken = {
        forms._form(np.empty((1, min(size, d // size), max(size, d // size))))
        for n, shape in TENSORS.values()
        for d in [int(np.prod(shape))]
        for size in shape
    }
    assert taken == {factors, projections}


@pytest.mark.sensitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_the_number_of_threads(dtype):
    shape = (16, 12, 9)
    arrays, several = tensors(40, shape, dtype), []
    for n_jobs in (1, 2, 5):
        with backends.get("numba").threads(n_jobs):
            several.append((*found(arrays, shape), kernels.distances(arrays["Y"])))
    for other in [*several[1:], (*found(arrays, shape), kernels.distances(arrays["Y"]))]:
        for one, two in zip(several[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_batch_of_a_convolution_in_float32():
    """D and the gradient are no more than twice as far from float64's as the reference is, but for 64 roundings."""
    shape = (32, 20, 20)
    random = np.random.default_rng(0)
    Y = np.maximum(random.normal(size=(24, 12800)), 0).astype(np.float32)
    Y[:, :400] = 0  # a dead channel
    arrays = {"Y": Y, "ridge": reference.ridges(Y, shape, 1e-6), "G": random.normal(size=(24, 24)).astype(np.float32)}
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    theirs, exact = (found(a, shape, reference) for a in (arrays, wide))
    for one, other, wanted in zip(found(arrays, shape), theirs, exact, strict=True):
        budget = 2 * np.abs(other - wanted).max() + 64 * np.finfo(np.float32).eps * np.abs(wanted).max()
        assert np.abs(one - wanted).max() < budget < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["numba", "emulated"])
@pytest.mark.parametrize("shape", [(12, 6, 6), (2, 30, 40), (9,)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_block_has_distance_0_and_no_gradient(name, shape, dtype):
    own, random = backends.get(name).divergence, np.random.default_rng(0)
    Y = np.repeat(30 * random.normal(size=(1, int(np.prod(shape)))), 12, axis=0).astype(dtype)
    A = reference.soft_assignments(random.normal(size=(12, 3)).astype(dtype))
    ridge = own.ridges(Y, shape, 1e-6)
    for D, back in (
        (own.distances(Y), own.distances_gradient),
        (own.tensor_distances(Y, shape, ridge), lambda G, Y: own.tensor_distances_gradient(G, Y, shape, ridge)),
    ):
        variance = own.bandwidth(D)
        K = own.gaussian_kernel(D, variance)
        assert not D.any() and (K == 1).all() and variance[0] == dtype(1e-9)
        _, _, dK = own.cauchy_schwarz(A, K)
        assert not back(own.gaussian_kernel_gradient(dK, D, K, variance), Y).any()


@pytest.mark.parametrize("name", ["numba", "emulated"])
@pytest.mark.parametrize("shape", [(12, 6, 6), (2, 30, 40)], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spreads(name, shape, bad):
    own, random = backends.get(name).divergence, np.random.default_rng(0)
    Y, G = random.normal(size=(5, int(np.prod(shape)))), random.normal(size=(5, 5))
    Y[2, 3] = bad
    with np.errstate(invalid="ignore"):
        ridge = own.ridges(Y, shape, 1e-6)
        for D in (own.distances(Y), own.tensor_distances(Y, shape, ridge)):
            assert np.isnan(D[2]).all() and np.isnan(D[:, 2]).all()
            variance = own.bandwidth(D)
            value, dA, _ = own.cauchy_schwarz(np.full((5, 2), 0.5), own.gaussian_kernel(D, variance))
            assert np.isnan(variance).all() and np.isnan(value).all() and np.isnan(dA).all()
        assert not np.isfinite(own.distances_gradient(G, Y)).all()
        assert not np.isfinite(own.tensor_distances_gradient(G, Y, shape, ridge)).all()
