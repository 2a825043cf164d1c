"""Adam and SGD: steps by hand, torch as an independent oracle, clipping. Agreement is in test_verify."""

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core.reference.optimizer import OptimizerState


@pytest.fixture(params=["numpy", "numba"])
def kernels(request):
    return backend.get(request.param).optimizer


def test_first_step_of_adam_by_hand(kernels):
    # m̂ = g and v̂ = g², so θ moves by η g / (|g| + ε); with ε inside the root it would not be so.
    params, first, second = np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
    kernels.adam(params, np.array([4.0, -0.5, 0.0]), 0.5, first, second, 1, 0.1, 0.9, 0.99, 0.5)
    np.testing.assert_allclose(params, [1 - 0.1 * 2 / 2.5, -2 + 0.1 * 0.25 / 0.75, 3], rtol=1e-14)
    np.testing.assert_allclose(first, [0.2, -0.025, 0], rtol=1e-14)
    np.testing.assert_allclose(second, [0.04, 0.000625, 0], rtol=1e-13)


def test_second_step_of_adam_by_hand(kernels):
    # β₁ = β₂ = ½, g = 2 then 0: m = ½, v = 1, both corrected by 1 − ¼: m̂ = ⅔, v̂ = 4/3.
    params, first, second = np.zeros(1), np.zeros(1), np.zeros(1)
    for step, g in ((1, 2.0), (2, 0.0)):
        before = params.copy()
        kernels.adam(params, np.array([g]), 1.0, first, second, step, 1.0, 0.5, 0.5, 0.0)
    np.testing.assert_allclose(params - before, -(2 / 3) / np.sqrt(4 / 3), rtol=1e-14)


def test_momentum_by_hand(kernels):
    params, velocity = np.array([1.0, 2.0]), np.array([10.0, 0.0])
    kernels.sgd(params, np.array([4.0, -8.0]), 0.25, velocity, 0.1, 0.5)
    np.testing.assert_allclose(velocity, [6, -2], rtol=1e-15)
    np.testing.assert_allclose(params, [0.4, 2.2], rtol=1e-15)


@pytest.mark.parametrize("method", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_takes_the_same_steps(kernels, method, dtype):
    torch = pytest.importorskip("torch", reason="torch, the independent oracle, is not installed")
    rng = np.random.default_rng(0)
    params = rng.normal(size=50).astype(dtype)
    theirs = torch.tensor(params.copy(), requires_grad=True)
    if method == "adam":
        optimizer = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    else:
        optimizer = torch.optim.SGD([theirs], lr=0.01, momentum=0.9)
    moments = np.zeros((2, 50), dtype=dtype)
    steps, scale = 30, 0.125  # a power of two: scaling rounds nothing
    travelled = 0.0
    for step in range(1, steps + 1):
        gradient = rng.normal(size=50).astype(dtype)
        before = params.copy()
        state = OptimizerState(kernels.METHODS[method], moments, step - 1, 0.01, momentum=0.9)
        kernels.update(params, gradient, scale, state)
        travelled += np.abs(params - before).max()
        theirs.grad = torch.tensor(gradient * dtype(scale))
        optimizer.step()
    # A step subtracts once, half an eps of the largest parameter for either side, and its size comes from
    # about ten roundings.
    eps = np.finfo(dtype).eps
    bound = eps * (steps * np.abs(params).max() + 20 * travelled)
    assert np.abs(params - theirs.detach().numpy()).max() <= bound


def test_update_dispatches(kernels):
    rng = np.random.default_rng(1)
    params, gradient, moments = rng.normal(size=9), rng.normal(size=9), np.abs(rng.normal(size=(2, 9)))
    for method in (kernels.ADAM, kernels.SGD):
        a, b = (params.copy(), moments.copy()), (params.copy(), moments.copy())
        kernels.update(a[0], gradient, 0.5, OptimizerState(method, a[1], 2, 0.1, 0.8, 0.9, 1e-3, 0.7))
        if method == kernels.ADAM:
            kernels.adam(b[0], gradient, 0.5, b[1][0], b[1][1], 3, 0.1, 0.8, 0.9, 1e-3)
        else:
            kernels.sgd(b[0], gradient, 0.5, b[1][0], 0.1, 0.7)
        assert np.array_equal(a[0], b[0])
        assert np.array_equal(a[1], b[1])
        assert not np.array_equal(a[0], params)


def test_clipping(kernels):
    gradient = np.array([30.0, 40.0])  # mean over W = 5: (6, 8), norm 10
    assert kernels.squared_norm(gradient) == 2500
    assert kernels.mean_scale(gradient, 5.0, 0.0) == pytest.approx(0.2, rel=1e-15)
    assert kernels.mean_scale(gradient, 5.0, 20.0) == pytest.approx(0.2, rel=1e-15)
    assert kernels.mean_scale(gradient, 5.0, 1.0) == pytest.approx(0.02, rel=1e-15)
    clipped = kernels.mean_scale(gradient, 5.0, 2.5) * gradient
    assert np.linalg.norm(clipped) == pytest.approx(2.5, rel=1e-14)
    assert kernels.mean_scale(np.zeros(2), 4.0, 1.0) == 0.25
    assert type(kernels.mean_scale(gradient, 5.0, 1.0)) is float


def test_norm_of_a_huge_float32_gradient(kernels):
    # Its square is beyond float32; clipped, it is an ordinary step.
    gradient = np.full(4, 1e30, dtype=np.float32)
    scale = kernels.mean_scale(gradient, 1.0, 1.0)
    np.testing.assert_allclose(gradient.astype(np.float64) * scale, 0.5, rtol=1e-12)


def test_a_gradient_that_is_not_finite_is_not_hidden(kernels):
    for bad in (np.nan, np.inf):
        params, moments = np.zeros(2), np.zeros((2, 2))
        gradient = np.array([1.0, bad])
        with np.errstate(invalid="ignore"):
            scale = kernels.mean_scale(gradient, 1.0, 1.0)
            kernels.update(params, gradient, scale, OptimizerState(kernels.ADAM, moments, 0, 0.1))
        assert not np.isfinite(params).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["adam", "sgd"])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_shared_step_is_the_step(threads, method, dtype):
    from csrl_core.kernels.cpu import optimizer

    rng, p = np.random.default_rng(0), 5 * optimizer._PART + 7  # parts of different lengths
    params, moments = rng.normal(size=p).astype(dtype), rng.random((2, p)).astype(dtype)
    shared, alone = (params.copy(), moments.copy()), (params.copy(), moments.copy())
    with backend.get("numba").threads(threads):
        for step in range(1, 40):  # helpers come and go
            call = rng.normal(size=p).astype(dtype), 0.125
            states = [OptimizerState(optimizer.METHODS[method], side[1], step - 1, 0.01) for side in (shared, alone)]
            optimizer.update(shared[0], *call, states[0])
            constants = states[1][3:8]
            optimizer.update_part(alone[0], *call, *alone[1], states[1].method, step, constants)
    np.testing.assert_array_equal(shared[0], alone[0])
    np.testing.assert_array_equal(shared[1], alone[1])
    assert (shared[0] != params).mean() > 0.99  # a few come back to where they were
