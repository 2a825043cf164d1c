"""The CUDA code of the Boltzmann machine on the host: bits, grids, parts of the workspace, what breaking it does."""

import re
import tracemalloc

import gpu_helpers
import numpy as np
import pytest

from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.contract.cases import rbm as cases
from csrl_core.kernels.gpu import rbm_passes
from csrl_core.kernels.gpu._platform import emulator
from csrl_core.kernels.gpu._platform.launch import KernelError
from csrl_core.reference import rbm as reference
from csrl_core.reference.sigmoid import sigmoid

DTYPES = [np.float32, np.float64]


def forward(changes=None, **options):
    """An emulator of one thread order: the cases run in all three."""
    return gpu_helpers.on(("forward",), changes, **options).rbm


def arguments(dtype, visible=reference.BERNOULLI, shape=(290, 21, 3, 18)):
    return cases.arguments(np.dtype(dtype), *shape, visible)


def divergence(a, **options):
    return cases._divergence(a, **{"n_steps": 2, **options})


def copied(a):
    """With copies of what is moved in place."""
    return a | {name: a[name].copy() for name in ("chains", "hidden")}


# -- bits ------------------------------------------------------------------------------------------------


def probabilities_differ(device, dtype):
    """How many p(h = 1 | v) of a machine without weights, σ(a) then, have other bits than the reference's σ."""
    m = 100_000
    a = np.random.default_rng(0).normal(scale=8, size=m).astype(dtype)
    a[:6] = [0, -0.0, 800, -800, 1e-30, -1e-30]
    params, nothing = np.concatenate([np.zeros(m, dtype), a, np.zeros(1, dtype)]), np.zeros((1, 1), dtype)
    P = device.hidden_probabilities(params, nothing, nothing, np.zeros(1, np.int64))
    return int((P[0] != sigmoid(a)).sum())


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_are_the_references_to_the_bit(dtype):
    assert probabilities_differ(forward(), dtype) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_fused_multiply_add_in_the_exponential_is_caught(dtype):
    one = "1.0f" if dtype == np.float32 else "1.0"
    fused = {"rbm": {f"p = p * r + {one};": f"p = fma(p, r, {one});"}}
    assert probabilities_differ(forward(fused), dtype) > 0


@pytest.mark.parametrize(("m", "width", "column"), [(32, 64, 32), (33, 99, 33), (31, 64, 30), (1, 1, 0), (5, 7, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_units_are_the_references(dtype, m, width, column):
    rng = np.random.default_rng(m)
    A, offset = 2 * rng.normal(size=(500, m)).astype(dtype), rng.normal(size=m).astype(dtype)
    draw = A, offset, np.array([7, 11], np.uint32), 5, 2**31, 3, rng.permutation(4000)[:500], width, column
    np.testing.assert_array_equal(forward().bernoulli_units(*draw), reference.bernoulli_units(*draw))
    # Normal numbers of float64 cast once: an ulp of the libraries' log and cos, and the rounding of the sum.
    error = np.abs(forward().gaussian_units(*draw) - reference.gaussian_units(*draw))
    assert error.max() <= 2 * np.finfo(dtype).eps * np.abs(A + offset).max() + 4 * np.finfo(np.float64).eps * 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_units_that_do_not_begin_at_16_bytes(dtype):
    n, m = 40, 16
    numbers = np.random.default_rng(0).normal(size=n * m + 1).astype(dtype)
    offset = np.zeros(m, dtype)
    for start in (0, 1):
        A = numbers[start : start + n * m].reshape(n, m)
        draw = A, offset, np.array([7, 11], np.uint32), 5, 1, 3, np.arange(n), m, 0
        np.testing.assert_array_equal(forward().bernoulli_units(*draw), reference.bernoulli_units(*draw))
    with pytest.raises(KernelError, match=r"rbm.cu:\d+: the address 0x\w+ is not aligned"):
        forward({"rbm": {"return ((u64)p & 15) == 0;": "return true;"}}).bernoulli_units(*draw)


def test_units_without_numbers_left():
    A, offset = np.zeros((2, 4)), np.zeros(4)
    for device in (forward(), reference):
        with pytest.raises(OverflowError, match=rf"rows 0 to {2**60} of width 4: elements must lie in 0 to"):
            device.bernoulli_units(A, offset, np.array([7, 11], np.uint32), 5, 1, 3, np.array([0, 2**60]), 4, 0)
    a = arguments(np.float64, shape=(4, 3, 2, 2))
    rows = np.array(
        [0, 1, 2, 2**62 // 5]
    )  # the visible units' 2 · 3 elements a row are beyond, the hidden 2 · 2 are not
    with pytest.raises(OverflowError, match="of width 6"):
        forward().losses_and_gradient(*divergence(a | {"rows": rows}))


@pytest.mark.parametrize("visible", [reference.BERNOULLI, reference.GAUSSIAN])
def test_long_chains_are_the_references(visible):
    # Products' roundings move a probability by 10⁻¹⁵ or so, and as seldom does that turn a bit: of these 200,000 none.
    a = arguments(np.float64, visible)
    chains = [b.gibbs(*cases._gibbs(a, n_steps=20)) for b in (forward(), reference)]
    if visible == reference.BERNOULLI:
        np.testing.assert_array_equal(*chains)
        assert 0.2 < chains[0].mean() < 0.8
    else:
        np.testing.assert_allclose(*chains, rtol=0, atol=1e-12)


# -- shapes of the grid, parts of the data ---------------------------------------------------------------


@pytest.mark.parametrize("visible", [reference.BERNOULLI, reference.GAUSSIAN])
def test_results_do_not_depend_on_the_grid(visible):
    a, found = arguments(np.float32, visible), []
    for blocks in (1, 4, 1000):
        device = forward(max_blocks=blocks)
        found.append([*device.losses_and_gradient(*divergence(a)), device.ais(*cases._ais(a))])
        found[-1] += device.persistent_losses_and_gradient(*cases._persistent(copied(a)))
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("visible", [reference.BERNOULLI, reference.GAUSSIAN])
def test_rows_go_through_in_parts_and_sums_in_chunks(monkeypatch, visible):
    a = arguments(np.float64, visible)
    calls = {
        "free_energy": cases._free_energy,
        "hidden_probabilities": cases._hidden,
        "visible_means": cases._means,
        "gibbs": cases._gibbs,
        "energy_gradient": cases._energy_gradient,
        "mean_field_losses": cases._mean_field,
        "losses_and_gradient": divergence,
        "persistent_losses_and_gradient": lambda a: cases._persistent(copied(a)),
        "ais": lambda a: cases._ais(a, n_chains=30),
    }
    calls = list(calls.items())
    calls += [("losses_and_gradient", lambda a, o=o: divergence(a, **o)) for o in ({"every": False}, {"chosen": True})]

    def results():
        found = [getattr(forward(), name)(*make(a)) for name, make in calls]
        return [array for result in found for array in (result if isinstance(result, tuple) else [result])]

    whole = results()
    monkeypatch.setattr(rbm_passes, "WORKSPACE", 8 * 3 * (2 * 21 + 3 * 18) * 13)
    monkeypatch.setattr(rbm_passes, "CHUNK", 5)
    machines = rbm_passes.Machines(np.empty((3, 21, 18)), None, None, visible)
    assert [p.stop - p.start for p in machines.parts(29, 3)] == [13, 13, 3]
    for mine, theirs in zip(results(), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-11, atol=1e-11)


def test_a_chain_of_no_steps_loses_nothing():
    a = arguments(np.float64)
    L, s, gradient = forward().losses_and_gradient(*divergence(a, n_steps=0, chosen=True))
    assert not L.any() and not s.any() and not gradient.any()
    assert not forward().mean_field_losses(*cases._mean_field(a, n_steps=0)).any()


@pytest.mark.parametrize("shape", [(300, 60, 3, 40), (2000, 30, 2, 20), (100, 5, 10, 200)])
def test_the_memory_that_a_batch_takes(monkeypatch, shape):
    n, d, k, m = shape
    monkeypatch.setattr(rbm_passes, "WORKSPACE", 1 << 20)
    taken, most, run = [], [], emulator.Emulator.run

    def watched(self, *launch):  # before the emulator makes its copies
        taken[:] = [max(*taken, tracemalloc.get_traced_memory()[0], 0)]
        run(self, *launch)

    monkeypatch.setattr(emulator.Emulator, "run", watched)
    for every in (True, False):
        call = divergence(arguments(np.float32, shape=shape), every=every)
        device = forward()
        device.losses_and_gradient(*call)  # compiled, before anything is counted
        tracemalloc.start()
        try:
            device.losses_and_gradient(*call)
        finally:
            tracemalloc.stop()
        most.append(taken.pop())
    assert max(most) <= rbm_passes.workspace_bytes(n, d, k, m, 4) <= 1.5 * max(most)


# -- broken on purpose -------------------------------------------------------------------------------------

# function, {what stands there: what is put there}, what must be said at least once
BROKEN = {
    "an element one too far": (
        "bernoulli_units",
        {"column + at.j * m + f, k0": "column + at.j * m + f + 1, k0"},
        "return",
    ),
    "a second block of words left out": ("bernoulli_units", {"if (e & 3) {": "if (false) {"}, "return"),
    "words shifted by one only": ("gaussian_units", {"if (e & 2) x =": "if (false) x ="}, "return"),
    "an end of a row that is not clipped": (
        *("bernoulli_units", {"if (l < count) p[l] = x.v[l];": "p[l] = x.v[l];"}),
        "wrote outside of out|depends on the order of threads",
    ),
    "a lane missing from a shuffle": (
        *("free_energy", {"F = group_sum(F, group);": "if (r < count) F = group_sum(F, group);"}),
        r"common.h:\d+: lane \d+ is missing from the shuffle",
    ),
    "bits of the next cluster's numbers": (
        *("losses_and_gradient", {"rows[at.i] * width + at.j * m + f, k0": "rows[at.i] * width + f, k0"}),
        "return",
    ),
    "a sample's place in the sorted rows": ("gibbs", {"at.i = order[r];": "at.i = r;"}, "return"),
    "a chain that takes the data's row": (
        *("losses_and_gradient", {"P[(stride * r + at) * m + f]": "P[stride * r * m + f]"}),
        r"return\[2\]",
    ),
    "a temperature that is not taken off": ("ais", {" - softplus(before * a.v[l])": ""}, "return"),
}


@pytest.mark.parametrize(("function", "changes", "said"), BROKEN.values(), ids=BROKEN)
def test_broken_device_code_is_caught(function, changes, said):
    device = gpu_helpers.on(changes={"rbm": changes})
    results = (verify.check(case, device, "float32") for case in all_cases("rbm") if case.function == function)
    found = [result.where for result in results if not result.ok]
    assert any(re.search(said, where) for where in found), found


@pytest.mark.parametrize("function", ["gibbs", "losses_and_gradient", "persistent_losses_and_gradient", "ais"])
def test_visible_units_of_the_hidden_ones_stream_are_caught(monkeypatch, function):
    monkeypatch.setattr(rbm_passes, "VISIBLE_STREAM", 0)
    some = [case for case in all_cases("rbm") if case.function == function and "odd" in case.name]
    assert len(some) == 2
    assert not any(verify.check(case, gpu_helpers.on(("forward",)), "float64").ok for case in some)
