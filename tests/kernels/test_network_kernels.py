"""CPU kernels of networks: bits do not depend on threads, what is compiled is only what is needed."""

import subprocess
import sys

import numpy as np
import pytest

from csrl_core import backends
from csrl_core.contract.cases.network import NETWORKS, problem
from csrl_core.reference.layers import build

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
        "from csrl_core.kernels.cpu.conv import columns, rows\n"
        "assert not rows.convolve.signatures and not columns.multiply.signatures\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
