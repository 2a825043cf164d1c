"""The CUDA code, executed on the host: agreement with the reference, bits, whole fits, shapes of the grid."""

import inspect
import re
from functools import cache
from importlib import import_module

import gpu_helpers
import numpy as np
import pytest
from gpu_helpers import FUNCTIONS, STEMS

from csrl_core import TensorizedAutoencoder, contract, datasets
from csrl_core import backends as backend
from csrl_core.contract import verify
from csrl_core.contract.cases import all_cases
from csrl_core.kernels.gpu import autoencoder
from csrl_core.kernels.gpu._platform import launch

ENTRIES = [pytest.param(contract.CONTRACT[key], id=".".join(key)) for key in FUNCTIONS]


def module(stem):
    return import_module(f"csrl_core.kernels.gpu.{stem}")


@cache
def in_random_order():
    """The device with one order of threads: whether results hang on it does not depend on the dtype."""
    return gpu_helpers.on(("random",))


# Not "sensitive": a C++ compiler made this code, which takes no part of Numba's settings.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", FUNCTIONS, ids=".".join)
def test_agreement(function, dtype):
    device = "emulated" if dtype == "float32" else in_random_order()
    results = [verify.check(case, device, dtype) for case in all_cases(function[0]) if case.function == function[1]]
    assert results
    assert not [str(result) for result in results if not result.ok]


# -- the same functions, steps and constants -------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES)
def test_signatures(entry):
    assert tuple(inspect.signature(getattr(module(entry.stem), entry.name)).parameters) == entry.signature
    bound = getattr(getattr(backend.get("emulated"), entry.stem), entry.name)
    assert tuple(inspect.signature(bound).parameters) == entry.signature


@pytest.mark.parametrize("stem", STEMS)
def test_constants(stem):
    for constant in contract.CONSTANTS[stem]:
        assert getattr(module(stem), constant) == getattr(getattr(backend.get("numpy"), stem), constant), constant


def functions_of(text):
    """Name → body of every function of device code."""
    starts = list(re.finditer(r"^(?:KERNEL|__device__).*?(\w+)\(", text, re.MULTILINE))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start[1]: text[start.end() : end] for start, end in zip(starts, ends, strict=True)}


def device_steps(stem, name):
    """The numbered comments of a kernel, or of the first device function that it calls with any."""
    functions = functions_of(launch.source(stem).whole)
    found = re.findall(r"// (\d+\. .*)$", functions[name], re.MULTILINE)
    for callee in re.findall(r"\b(\w+)\(", functions[name]):
        found = found or (device_steps(stem, callee) if callee in functions and callee != name else [])
    return list(dict.fromkeys(found))


def steps(file, function):
    """The numbered comments of a Python function, else of a kernel that it launches, else of a helper."""
    source = inspect.getsource(function)
    found = re.findall(r"^\s*# (\d+\. .*)$", source, re.MULTILINE)
    for stem, name in [] if found else re.findall(r'"(\w+)", "(\w+)"', source):
        found = found or device_steps(stem, name)
    for callee in re.findall(r"\b(\w+)\(", source.partition(":\n")[2]):
        helper = getattr(file, callee, None)
        if not found and inspect.isfunction(helper) and inspect.getmodule(helper) is file and helper is not function:
            found = steps(file, helper)
    return found


@pytest.mark.parametrize("entry", ENTRIES)
def test_steps(entry):
    reference = getattr(backend.get("numpy"), entry.stem)
    assert steps(module(entry.stem), getattr(module(entry.stem), entry.name)) == steps(
        reference, getattr(reference, entry.name)
    )


# -- bits ------------------------------------------------------------------------------------------------


@pytest.mark.sensitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sampled_bits_are_the_references(dtype):
    key, rows = np.array([7, 11], np.uint32), np.random.default_rng(0).permutation(4000)
    p = np.random.default_rng(1).random((4000, 33)).astype(dtype)
    arguments = p, key, 5, 2**31, 3, rows
    bits = {name: backend.get(name).philox.bernoulli(*arguments) for name in ("numpy", "emulated")}
    np.testing.assert_array_equal(bits["emulated"], bits["numpy"])
    assert 0.45 < bits["emulated"].mean() < 0.55


def activations_differ(device, dtype):
    """How many sigmoids and hyperbolic tangents of the CUDA code have other bits than the Numba twin's."""
    A = np.random.default_rng(0).normal(scale=8, size=(200, 500)).astype(dtype)
    A[0, :6] = [0, -0.0, 800, -800, 1e-30, -1e-30]
    Y = [[b.dense.activate(A, code) for b in (device, backend.get("numba"))] for code in (3, 4)]
    return sum(int((ours != theirs).sum()) for ours, theirs in Y)


@pytest.mark.sensitive
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_numbas_to_the_bit(dtype):
    assert activations_differ(backend.get("emulated"), dtype) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_do_not_depend_on_the_grid(dtype):
    X = np.random.default_rng(0).normal(size=(2000, 300)).astype(dtype)
    s, w = np.arange(2000) % 7, np.linspace(0.5, 2, 2000).astype(dtype)
    found = []
    for blocks in (1, 4, 1000):
        b = gpu_helpers.on(("forward",), max_blocks=blocks)
        sums, totals, counts = b.assign.cluster_sums(X, s, w, 7)
        labels = s.copy()
        moved = b.assign.move(X, np.arange(2000), (s * s) % 7, labels, w, sums, totals, counts)
        found.append([sums, totals, counts, labels, moved, b.optimizer.squared_norm(X.ravel())])
        found[-1].append(b.assign.objective(X, s, w))
    for other in found[1:]:
        for mine, theirs in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_more_clusters_than_shared_memory_holds():
    rng = np.random.default_rng(0)
    X, s, w = rng.normal(size=(700, 3)), rng.integers(0, 200, 700), rng.uniform(0.5, 2, 700)
    height = launch.SHARED_BYTES // (8 * launch.THREADS)
    assert height < 200 and height % 200  # several groups, the last one shorter
    results = [backend.get(name).assign.cluster_sums(X, s, w, 200) for name in ("numpy", "emulated")]
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    new = rng.integers(0, 200, 700)
    state = [[s.copy(), *(a.copy() for a in results[0])] for _ in range(2)]
    for name, (labels, *sums) in zip(("numpy", "emulated"), state, strict=True):
        backend.get(name).assign.move(X, np.arange(700), new, labels, w, *sums)
    for expected, got in zip(*state, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("offset", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_that_do_not_begin_at_16_bytes(offset, dtype):
    rng = np.random.default_rng(0)
    vectors = [np.abs(rng.normal(size=1000)).astype(dtype) for _ in range(4)]
    expected = [v[offset:].copy() for v in vectors]
    backend.get("numpy").optimizer.adam(*expected[:2], 0.1, *expected[2:], 3, 0.01, 0.9, 0.999, 1e-8)
    got = [v[offset:] for v in vectors]
    backend.get("emulated").optimizer.adam(*got[:2], 0.1, *got[2:], 3, 0.01, 0.9, 0.999, 1e-8)
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


# -- autoencoders ----------------------------------------------------------------------------------------


def test_rows_go_through_in_parts_that_fit_the_workspace(monkeypatch):
    from csrl_core.reference.dense import layer_table

    table, size = layer_table([(40, 9, 3, "tanh", True), (9, 40, 3, "linear", True)])
    rng = np.random.default_rng(0)
    params, X, centers = rng.normal(size=size), rng.normal(size=(100, 40)), rng.normal(size=(3, 40))
    b = gpu_helpers.on(("forward",))
    whole = b.autoencoder.losses(params, table, X, X, centers, 0.1), b.autoencoder.encode(params, table, X, centers)
    monkeypatch.setattr(autoencoder, "WORKSPACE", 3 * 40 * 8 * 7)
    assert [rows.stop - rows.start for rows in autoencoder._parts(100, 3, table, 8)] == [7] * 14 + [2]
    parts = b.autoencoder.losses(params, table, X, X, centers, 0.1), b.autoencoder.encode(params, table, X, centers)
    for mine, theirs in zip(parts, whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"shared": 1, "update": "assign-then-step", "batch_size": 32},
        {"hidden": (5, 3), "activation": "relu", "bias": True, "center_update": "running"},
        {
            "hidden": (3,),
            "activation": "sigmoid",
            "center": False,
            "optimizer": "sgd",
            "clip_norm": 0.1,
            "batch_size": 32,
        },
        {"n_clusters": 12, "epochs": 4},
        {"assignment": "likelihood", "reg": 0.0},
    ],
    ids=["TAE", "PTAE", "deep", "sgd", "clusters-that-empty", "likelihood"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_whole_fits_have_the_references_labels(arguments, dtype, request):
    if dtype == np.float32:  # whether results hang on the order of threads does not depend on the dtype
        request.getfixturevalue("one_order")
    data = datasets.make_lines_3d(random_state=0)[0][::3]  # a step has its launches, however many the rows
    arguments = {"n_clusters": 3, "epochs": 5, "random_state": 0} | arguments
    exact = TensorizedAutoencoder(backend="numpy", **arguments).fit(data)
    reference = TensorizedAutoencoder(backend="numpy", **arguments).fit(data.astype(dtype))
    device = TensorizedAutoencoder(backend="emulated", **arguments).fit(data.astype(dtype))
    assert device.backend_ == "emulated"
    np.testing.assert_array_equal(device.labels_, reference.labels_)
    assert device.n_reseeded_ == reference.n_reseeded_
    if dtype == np.float64:
        np.testing.assert_allclose(device.loss_curve_, reference.loss_curve_, rtol=1e-10)
        np.testing.assert_allclose(device.params_, reference.params_, rtol=1e-7, atol=1e-9)
    else:  # twice what the reference itself loses in float32, and a floor of the steps' rounding
        budget = 2 * np.abs(np.subtract(reference.loss_curve_, exact.loss_curve_)).max() + 20 * 2**-23
        assert np.abs(np.subtract(device.loss_curve_, exact.loss_curve_)).max() <= budget


def test_gradients_one_cluster_at_a_time_are_the_same(monkeypatch, one_order):
    # Where padding all clusters to the largest would cost more than the launches that it saves.
    padded = []
    original = autoencoder.Own
    monkeypatch.setattr(autoencoder, "Own", lambda *a: padded.append(len(a) > 2) or original(*a))
    cases = [
        case
        for case in all_cases("autoencoder")
        if case.function == "losses_and_gradient" and case.name.startswith(("small", "wide")) and "chosen" in case.name
    ]
    for flops, expected in ((autoencoder.LAUNCH_FLOPS, True), (0.0, False)):
        monkeypatch.setattr(autoencoder, "LAUNCH_FLOPS", flops)
        padded.clear()
        results = [verify.check(case, "emulated", "float64") for case in cases]
        assert all(result.ok for result in results)
        assert any(padded) == expected
