"""CPU kernels of networks: bits do not depend on threads, what is compiled is only what is needed."""

import subprocess
import sys

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.contract.cases.network import NETWORKS, problem
from csrl_core.kernels.cpu import conv
from csrl_core.kernels.cpu.network import passes as passes_of
from csrl_core.reference.layers import Dense, build

ROWS = 70, 3, 0, 60


def passes(name, n_jobs):
    """Everything that a step works out."""
    built, params, X, bounds, state, draws = problem(name, ROWS, np.float32)
    backend = backends.get("numba")
    with backend.threads(n_jobs):
        out, tape, new = backend.network.forward(params, built.network, X, bounds, state, True, draws)
        gradient = np.full_like(params, np.nan)
        dX = backend.network.backward(params, built.network, X, tape, out, bounds, True, draws, True, gradient)
    return [out.copy(), tape, new, gradient, dX]


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_do_not_depend_on_threads(name):
    one = passes(name, 1)
    for n_jobs in (2, 3):
        for a, b in zip(one, passes(name, n_jobs), strict=True):
            np.testing.assert_array_equal(a, b)


def test_products_that_are_cut_are_those_of_the_reference():
    built = build([Dense(300, "leaky_relu", shared=True), Dense(410, "tanh"), Dense(7)], 390, 2)
    random, bounds = np.random.default_rng(0), np.array([0, 260, 400])
    params, X = random.normal(size=built.size) / 20, random.normal(size=(400, 390))
    G = random.normal(size=(400, 7))
    assert len(passes_of._cut(260, 410, 300)) == 2 and len(passes_of._cut(390, 300, 400)) == 4

    def run(name, n_jobs):
        backend, gradient = backends.get(name), np.full_like(params, np.nan)
        with backend.threads(n_jobs):
            out, tape, _ = backend.network.forward(params, built.network, X, bounds, np.empty(0), True, None)
            arguments = params, built.network, X, tape, G, bounds, True, None, True, gradient
            return out, gradient, backend.network.backward(*arguments)

    alone = run("numba", 1)
    for mine, theirs, expected in zip(alone, run("numba", 3), run("numpy", 1), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("rows", "columns", "terms"), [(1, 1, 1), (50, 784, 400), (768, 784, 400), (3000, 17, 5000)])
def test_tasks_of_a_product_cover_it_once(rows, columns, terms):
    counts = np.zeros((rows, columns), int)
    for part, other in passes_of._cut(rows, columns, terms):
        counts[part, other] += 1
    assert (counts == 1).all()
    assert passes_of._cut(0, columns, terms) == []


def test_images_are_shared_out_equally():
    sizes = [part.stop - part.start for part in conv.blocks(50, 7)]
    assert sizes == [13, 13, 13, 11] and conv.blocks(50, 7)[0].start == 7 and conv.blocks(0) == []
    assert len(conv.blocks(10_000)) == conv.BLOCKS
    assert [len(conv.blocks(128, flops=flops)) for flops in (0, 4e7, 1e9)] == [2, 4, 8]


@pytest.mark.parametrize("name", NETWORKS)
def test_arguments_stay_as_they_are(name):
    built, params, X, bounds, state, draws = problem(name, ROWS, np.float64)
    kernels = backends.get("numba").network
    out, tape, _ = kernels.forward(params, built.network, X, bounds, state, True, draws)
    G = np.ones_like(out)
    before = [array.copy() for array in (params, X, state, tape, G)]
    kernels.backward(params, built.network, X, tape, G, bounds, True, draws, True, np.empty_like(params))
    kernels.predict(params, built.network, X, bounds, state)
    for a, b in zip((params, X, state, tape, G), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_layers_are_the_identity():
    built = build([], 3, 2)
    X, bounds = np.ones((4, 3)), np.array([0, 1, 4])
    for name in ("numpy", "numba"):
        kernels = backends.get(name).network
        out, tape, _ = kernels.forward(np.empty(0), built.network, X, bounds, np.empty(0), True, None)
        np.testing.assert_array_equal(out, X)
        np.testing.assert_array_equal(kernels.predict(np.empty(0), built.network, X, bounds, np.empty(0)), X)
        dX = kernels.backward(np.empty(0), built.network, X, tape, X, bounds, True, None, True, np.empty(0))
        np.testing.assert_array_equal(dX, X)


def test_a_dense_network_compiles_no_convolution():
    code = (
        "import numpy as np\n"
        "from csrl_core import backends\n"
        "from csrl_core.contract.cases.network import problem\n"
        "built, params, X, bounds, state, draws = problem('dense', (5, 4), np.float32)\n"
        "kernels = backends.get('numba').network\n"
        "out, tape, _ = kernels.forward(params, built.network, X, bounds, state, True, None)\n"
        "kernels.backward(params, built.network, X, tape, out, bounds, True, None, True, params.copy())\n"
        "from csrl_core.kernels.cpu.conv import columns, direct, rows, winograd\n"
        "assert not columns.multiply.signatures and not rows._multiply.signatures\n"
        "assert not winograd.work.signatures and not direct._multiply_images.signatures\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
