"""The cases on which backends are compared hang on no rounding: ties are exact, all else is far from a tie."""

from types import SimpleNamespace

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.contract.cases.autoencoder import TIES, TIES_REG, ties
from csrl_core.reference import autoencoder

pytestmark = pytest.mark.sensitive

DTYPES = ["float32", "float64"]


def _losses(kernels, dtype, shape, order):
    """Losses of a tied case whose features, and with them the terms of sums, stand in another order."""
    a = ties(np.dtype(dtype), *shape)
    last = len(a["layers"]) - 1
    params = a["params"].copy()
    for l, axis in ((0, 1), (last, 2)):
        fan_in, fan_out, copies, start = a["layers"][l, :4]
        W = params[start : start + fan_in * fan_out * copies].reshape(copies, fan_in, fan_out)
        W[...] = np.take(W, order, axis=axis)
    arrays = (np.ascontiguousarray(a[name][:, order]) for name in ("X", "target", "centers"))
    return kernels.losses(params, a["layers"], *arrays, TIES_REG)


@pytest.mark.parametrize("name", ["numpy", "numba", "emulated"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("regime", TIES)
def test_tied_losses_are_exact_in_whatever_order_they_are_added_up(regime, dtype, name):
    shape = TIES[regime]
    kernels = backend.get(name).autoencoder
    expected = _losses(autoencoder, "float64", shape, np.arange(shape[1]))
    np.testing.assert_array_equal(expected[:, 0], expected[:, 1])
    assert set(expected.argmin(axis=1)) == {0, 2}  # the tie decides for some samples, not for all
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(shape[1])
        np.testing.assert_array_equal(_losses(kernels, dtype, shape, order), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("regime", TIES)
def test_ties_to_the_highest_are_caught(regime, dtype):
    def highest(params, layers, X, target, centers, assign, weights, reg):
        L = autoencoder.losses(params, layers, X, target, centers, reg)
        last = L.shape[1] - 1 - L[:, ::-1].argmin(axis=1)
        return autoencoder.losses_and_gradient(params, layers, X, target, centers, last, weights, reg)

    case = next(case for case in all_cases("autoencoder") if case.name == f"{regime}, ties, chosen")
    fake = SimpleNamespace(name="fake", autoencoder=SimpleNamespace(losses_and_gradient=highest))
    assert not verify.check(case, fake, dtype).ok


# Where a rounding could choose another cluster or turn a bit. Of far-away points differences are exact, their squares
# are too, and a rounding of the points themselves is what the case is about.
DECIDES = {"nearest", "losses_and_gradient", "persistent_losses_and_gradient", "fused_epoch", "gibbs", "ais"}
DECIDING = [
    case
    for case in all_cases()
    if case.function in DECIDES | {"bernoulli_units"}
    and not ("ties" in case.name or case.name == "far from the origin")
]


def _roundings(arguments, entry, size):
    """The arguments, every number of the working dtype off by so many roundings of float32, up or down."""
    rng = np.random.default_rng(0)
    off = size * np.finfo(np.float32).eps
    floats = {spec.name for spec in entry.leaves if spec.dtype == "float"}

    def rounded(spec, value):
        return value * (1 + off * rng.choice([-1, 1], value.shape)) if spec.name in floats else value

    return entry.mapped(rounded, arguments)


@pytest.mark.parametrize("function", sorted({(case.stem, case.function) for case in DECIDING}), ids=".".join)
def test_no_case_hangs_on_a_rounding(function):
    entry, float32 = contract.CONTRACT[function], np.dtype(np.float32)
    kernel = getattr(getattr(backend.get("numpy"), function[0]), function[1])
    for case in (case for case in DECIDING if (case.stem, case.function) == function):
        exact, off = (
            verify._run(entry, kernel, _roundings(verify._wide(entry, case.arguments(float32)), entry, size))
            for size in (0, 4)
        )
        for name, expected in exact.items():
            if expected.dtype.kind == "f":
                error = np.abs(off[name] - expected).max(initial=0)
                assert error <= 1e-3 * np.abs(expected).max(initial=0), f"{case}: {name}"
            else:
                np.testing.assert_array_equal(off[name], expected, err_msg=f"{case}: {name}")
