"""What the Boltzmann machine's compiled kernels promise beyond agreement with the reference, which is in test_verify.

The same bits for any number of threads; the reference's sampled bits for equal pre-activations, and else all but those
that lie within rounding; softplus to the last digits; no memory of size n k m.
"""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core.contract.cases.rbm import KEY, STREAM, arguments
from csrl_core.kernels.cpu.rbm import units
from csrl_core.reference import philox
from csrl_core.reference import rbm as reference
from csrl_core.reference.sigmoid import sigmoid

pytestmark = pytest.mark.sensitive

numba = backend.get("numba")
kernels = numba.rbm
KEY = np.array(KEY, np.uint32)
CLEAR_REFS = Path("/proc/self/clear_refs")
FLOATS = [np.float32, np.float64]
BOTH = [reference.BERNOULLI, reference.GAUSSIAN]


def _special(dtype):
    """Pre-activations at which a sigmoid may go wrong."""
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    edges = [0.0, tiny, huge, np.inf, np.log(2) / 2, 16.6, 36.7, 87.0, 87.5, 88.8, 103.9, 708.0, 709.8, 745.2]
    return np.array([*edges, *np.negative(edges), np.nan]).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("m", "width", "column"), [(512, 512, 0), (500, 1001, 499), (3, 7, 4), (1, 1, 0)])
def test_bits_are_the_references_for_equal_pre_activations(dtype, m, width, column):
    n = 10**6 // m if m > 1 else 1000
    rng = np.random.default_rng(m)
    A = (4 * rng.normal(size=(n, m))).astype(dtype)
    special = _special(dtype)
    A.flat[: A.size // 2 : 7] = rng.choice(special, len(A.flat[: A.size // 2 : 7]))
    offset = rng.normal(size=m).astype(dtype)
    rows = rng.permutation(2 * n)[:n]
    call = offset, KEY, STREAM, 3, 1, rows, width, column
    with numba.threads(2):
        got = kernels.bernoulli_units(A, *call)
    np.testing.assert_array_equal(got, reference.bernoulli_units(A, *call))
    assert set(np.unique(got)) <= {0, 1}
    assert got[np.isnan(A)].sum() == 0


def _softplus(x, scale=1, offset=None):
    """softplus(scale · x + offset) and its derivative, of a row."""
    A, P = x[None].copy(), np.empty_like(x[None])
    units.softplus_and_probabilities(A, x.dtype.type(scale), np.zeros_like(x) if offset is None else offset, P)
    return A[0], P[0]


@pytest.mark.parametrize("dtype", FLOATS)
def test_probabilities_keep_their_bits_beside_softplus(dtype):
    rng = np.random.default_rng(0)
    x = np.concatenate([(6 * rng.normal(size=10**6)).astype(dtype), _special(dtype)])
    offset, Q = rng.normal(size=len(x)).astype(dtype), x[None].copy()
    units.probabilities(Q, dtype(1), offset)
    np.testing.assert_array_equal(Q[0], sigmoid(x + offset))
    np.testing.assert_array_equal(_softplus(x, 1, offset)[1], Q[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_softplus(dtype):
    # Three units in the last place: of e^−|x| one and a half, of the quotient one, of the last addition a half. The
    # oracle has 11 bits more than float64.
    x = np.concatenate([np.linspace(-80, 80, 20001), np.geomspace(1e-30, 1, 500), -np.geomspace(1e-30, 80, 500)])
    x = x.astype(dtype)
    wide = x.astype(np.longdouble)
    exact = np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide)))
    assert float((np.abs(_softplus(x)[0] - exact) / exact).max()) < 3 * np.finfo(dtype).eps
    # Far out it is x, or what is left of e^x where that is no normal number any more.
    far = np.array([100.0, 1e4, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(_softplus(far)[0], far)
    below = _softplus(-far)[0]
    assert (below >= 0).all()
    assert (below < 1e-37).all()


def test_softplus_of_a_scaled_pre_activation():
    rng = np.random.default_rng(0)
    x, offset = 5 * rng.normal(size=1000), rng.normal(size=1000)
    expected, got = reference.softplus(0.7 * x + offset), _softplus(x, 0.7, offset)[0]
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(float).eps)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("m", "width", "column"), [(400, 400, 0), (33, 77, 5)])
def test_normals(dtype, m, width, column):
    n = 2 * 10**5 // m
    rows = np.random.default_rng(0).permutation(2 * n)[:n]
    nothing = np.zeros((n, m), dtype)
    got = kernels.gaussian_units(nothing, nothing[0], KEY, STREAM, 3, 1, rows, width, column)
    z = philox.normal(KEY, STREAM, 3, 1, rows, width, np.float64)[:, column : column + m]
    # Before they are cast: radius up to 5.8, cosine wrong by two roundings in either.
    assert np.abs(got - z).max() < (4 * np.finfo(np.float64).eps + (dtype == np.float32) * 2**-24) * 5.8
    # As one sees them: 24 bits hold moments to a few standard errors of this many.
    assert abs(got.mean()) < 4 / np.sqrt(n * m)
    assert abs(got.std() - 1) < 4 / np.sqrt(2 * n * m)


@pytest.mark.parametrize("dtype", FLOATS)
def test_bits_end_to_end_differ_only_within_rounding(dtype):
    """One step of 2000 chains: wherever a bit differs, its probability is within the budget of its random number.

    A product's entry is off by at most (d + 2) eps (Σ|v||W| + |a|), a sigmoid's slope is at most ¼, and it adds some
    roundings of its own, 4 in all.
    """
    n, d, m, k = 2000, 64, 50, 2
    a = arguments(dtype, n, d, k, m, reference.BERNOULLI)
    call = 1, KEY, STREAM, 5, 0, a["rows"]
    ours = kernels.gibbs(a["params"], k, a["X"], a["assign"], reference.BERNOULLI, *call)
    theirs = reference.gibbs(a["params"], k, a["X"], a["assign"], reference.BERNOULLI, *call)
    W, hidden, b = reference.views(a["params"].astype(np.float64), k, d)
    eps, near_rows, expected, differing = np.finfo(dtype).eps, 0, 0.0, 0
    for j in range(k):
        own = a["assign"] == j
        V, rows = a["X"][own].astype(np.float64), a["rows"][own]
        budget = 0.25 * (d + 2) * eps * (V @ np.abs(W[j]) + np.abs(hidden[j])) + 4 * eps
        P = sigmoid(V @ W[j] + hidden[j])
        u = philox.uniform(KEY, STREAM, 5, 0, rows, k * m, np.float64)[:, j * m : (j + 1) * m]
        safe = ~(np.abs(u - P) <= budget).any(axis=1)
        near_rows, expected = near_rows + (~safe).sum(), expected + 2 * budget.sum()
        H = (u < P)[safe].astype(np.float64)
        budget = 0.25 * (m + 2) * eps * (H @ np.abs(W[j]).T + np.abs(b)) + 4 * eps
        P = sigmoid(H @ W[j].T + b)
        u = philox.uniform(KEY, STREAM + reference.VISIBLE_STREAM, 5, 0, rows[safe], k * d, np.float64)
        u = u[:, j * d : (j + 1) * d]
        near = np.abs(u - P) <= budget
        for bits in (ours, theirs):
            wrong = bits[own][safe] != (u < P)
            assert not (wrong & ~near).any()
        differing += (ours[own][safe] != theirs[own][safe]).sum()
        assert differing <= near.sum()
    # Few are near: as many as uniform numbers put there, within six standard deviations.
    assert near_rows <= expected + 6 * np.sqrt(expected) + (dtype == np.float32)
    assert (ours != theirs).any(axis=1).sum() <= near_rows + differing


def test_a_chain_goes_on_where_it_stopped():
    n, d, m, k = 700, 24, 20, 3
    for visible in BOTH:
        a = arguments(np.float32, n, d, k, m, visible)
        fixed = a["params"], k
        whole = kernels.gibbs(*fixed, a["X"], a["assign"], visible, 3, KEY, STREAM, 5, 4, a["rows"])
        V = a["X"]
        for t in range(3):
            V = kernels.gibbs(*fixed, V, a["assign"], visible, 1, KEY, STREAM, 5, 4 + t, a["rows"])
        np.testing.assert_array_equal(V, whole)


def _everything(a, chains):
    """Results of all functions, as a list of arrays."""
    params, X, C, s, w, k, visible = (a[x] for x in ("params", "X", "centers", "assign", "weights", "k", "visible"))
    draw = KEY, STREAM, 5
    results = [
        kernels.free_energy(params, X, C, visible),
        kernels.hidden_probabilities(params, X, C, s),
        kernels.visible_means(params, a["H"], s, C, visible),
        kernels.gibbs(params, k, X, s, visible, 2, *draw, 0, a["rows"]),
        kernels.energy_gradient(params, k, X, s, w, visible),
        kernels.mean_field_losses(params, X, C, visible, 2),
        kernels.ais(params, a["base"], visible, np.linspace(0, 1, 5), 150, *draw),
        kernels.bernoulli_units(a["A"], a["offset"], *draw, 0, a["rows"], a["width"], a["column"]),
        kernels.gaussian_units(a["A"], a["offset"], *draw, 0, a["rows"], a["width"], a["column"]),
    ]
    for assign, every in ((None, True), (s, True), (s, False)):
        results += kernels.losses_and_gradient(params, X, C, assign, w, visible, 2, every, *draw, a["rows"])
    for assign in (None, s):
        moved = [chains.copy(), _some_bits(chains, a["H"].shape[1])]
        results += [*kernels.persistent_losses_and_gradient(params, X, C, assign, w, visible, *moved, 2, *draw), *moved]
    return results


def _some_bits(chains, m):
    """Hidden units (k, M, m) of chains."""
    return np.random.default_rng(1).integers(0, 2, (*chains.shape[:2], m)).astype(chains.dtype)


@pytest.mark.parametrize("visible", BOTH)
@pytest.mark.parametrize(("n", "k", "M"), [(2500, 3, 300), (200, 1, 130), (1100, 1, 64), (500, 2, 1100)])
def test_any_number_of_threads_gives_the_same_bits(n, k, M, visible):
    a = arguments(np.float32, n, 21, k, 18, visible, center=True)
    chains = np.random.default_rng(0).normal(size=(k, M, 21)).astype(np.float32)
    with numba.threads(1):
        expected = _everything(a, chains)
    for number in (2, 7):
        with numba.threads(number):
            for got, wanted in zip(_everything(a, chains), expected, strict=True):
                assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("visible", BOTH)
@pytest.mark.parametrize(
    ("n", "k", "M"), [(2500, 3, 40), (300, 1, 250), (100, 1, 1), (1, 1, 130), (2500, 1, 40), (60, 2, 1100)]
)
def test_beyond_a_chunk_the_reference_is_met(n, k, M, visible):
    """More samples, or chains, than a chunk, and one machine's tasks: larger than test_verify's cases, in float64."""
    a = arguments(np.float64, n, 21, k, 18, visible, center=True)
    chains = np.random.default_rng(0).normal(size=(k, M, 21)).round(visible == reference.GAUSSIAN)
    fixed = a["weights"], visible

    def check(got, wanted):
        # Up to 2500 terms, which rounding leaves with 2500 eps = 6e-13 of the largest sum.
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * max(1, np.abs(wanted).max()))

    for assign, every in ((None, True), (a["assign"], True), (a["assign"], False)):
        call = a["params"], a["X"], a["centers"], assign, *fixed, 2, every, KEY, STREAM, 5, a["rows"]
        for got, wanted in zip(kernels.losses_and_gradient(*call), reference.losses_and_gradient(*call), strict=True):
            check(got, wanted)
    for assign in (None, a["assign"]):
        results = []
        for floor in (kernels, reference):
            moved = [chains.copy(), _some_bits(chains, 18)]
            call = a["params"], a["X"], a["centers"], assign, *fixed, *moved, 2, KEY, STREAM, 5
            results.append((*floor.persistent_losses_and_gradient(*call), *moved))
        for got, wanted in zip(*results, strict=True):
            check(got, wanted)


@pytest.mark.parametrize("visible", BOTH)
@pytest.mark.parametrize(("n", "M"), [(20, 20), (60, 10), (10, 60), (60, 60)])
def test_few_samples_or_chains_meet_the_reference(n, M, visible):
    """For few rows other products are taken than for several."""
    a = arguments(np.float64, n, 220, 1, 18, visible, center=True)
    chains = np.random.default_rng(0).normal(size=(1, M, 220)).round(visible == reference.GAUSSIAN)
    fixed = a["params"], a["X"], a["centers"], None, a["weights"], visible

    def results(backend):
        moved = [chains.copy(), _some_bits(chains, 18)]
        found = backend.losses_and_gradient(*fixed, 2, True, KEY, STREAM, 5, a["rows"])
        return [*found, *backend.persistent_losses_and_gradient(*fixed, *moved, 2, KEY, STREAM, 5), *moved]

    expected = results(reference)
    for threads in (1, 2, 4):
        with numba.threads(threads):
            for got, wanted in zip(results(kernels), expected, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12 * max(1, np.abs(wanted).max()))


def test_chains_that_are_a_view_are_moved_too():
    a = arguments(np.float32, 60, 12, 2, 8, reference.BERNOULLI)
    bases = [np.zeros((2, 5, 2 * width), np.float32) for width in (12, 8)]
    views = [base[:, :, ::2] for base in bases]
    plain = [view.copy() for view in views]
    for moved in (views, plain):
        kernels.persistent_losses_and_gradient(
            a["params"], a["X"], a["centers"], None, a["weights"], reference.BERNOULLI, *moved, 1, KEY, STREAM, 5
        )
    for base, view, array in zip(bases, views, plain, strict=True):
        np.testing.assert_array_equal(view, array)
        assert array.any()
        assert not base[:, :, 1::2].any()


@pytest.mark.parametrize("visible", BOTH)
@pytest.mark.parametrize("k", [1, 3])
def test_no_rows(k, visible):
    a = arguments(np.float32, 0, 5, k, 4, visible)
    chains = np.ones((k, 6, 5), np.float32)
    p = len(a["params"])
    shapes = [(0, k), (0, 4), (0, 5), (0, 5), (p,), (0, k), (k, 150), (0, 4), (0, 4)]
    shapes += 3 * [(0, k), (0,), (p,)] + 2 * [(0, k), (0,), (p,), (k, 6, 5), (k, 6, 4)]
    results = _everything(a, chains)
    assert [r.shape for r in results] == shapes
    for gradient in (r for r in results if r.shape == (p,)):
        assert not gradient.any()
    assert (results[-2] != chains).any()  # chains move on without data


def test_rows_without_random_numbers_of_their_own_are_refused():
    a = arguments(np.float32, 4, 5, 2, 4, reference.BERNOULLI)
    rows = np.array([0, 1, 2, 2**61])
    with pytest.raises(OverflowError, match="2305843009213693952"):
        kernels.gibbs(a["params"], 2, a["X"], a["assign"], 0, 1, KEY, STREAM, 5, 0, rows)
    with pytest.raises(OverflowError, match="2305843009213693952"):
        kernels.losses_and_gradient(
            a["params"], a["X"], a["centers"], None, a["weights"], 0, 1, True, KEY, STREAM, 5, rows
        )


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="the peak of resident memory is read from /proc, of Linux")
def test_never_an_array_of_n_k_m():
    n, d, m, k = 3000, 50, 400, 20
    a = arguments(np.float32, n, d, k, m, reference.BERNOULLI)
    whole = n * k * m * 4
    fixed = a["params"], a["X"], a["centers"]

    def call():
        kernels.free_energy(*fixed, reference.BERNOULLI)
        kernels.losses_and_gradient(*fixed, None, a["weights"], 0, 1, True, KEY, STREAM, 5, a["rows"])

    with numba.threads(2):
        call()  # compile outside of the measurement
        resident = _resident("VmRSS")
        CLEAR_REFS.write_text("5")  # the peak starts again
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert _resident("VmHWM") - resident < whole / 4
    # A chunk's units under two clusters, two tasks' (both ends of the chain, both probabilities, a product) with a
    # transposed weight, the gradient in both precisions, losses.
    buffers = 4 * (2 * 1024 * (d + 2 * m) + 2 * 256 * (2 * d + 3 * m)) + 8 * d * m
    assert peak < buffers + 12 * len(a["params"]) + 16 * n * (k + 4) + (1 << 19)
    assert peak < whole / 4


def _resident(field):
    """VmRSS, resident bytes, or VmHWM, their peak."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) * 1024
