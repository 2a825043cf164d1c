"""Autoencoder kernels: the reference against differences, torch and hand-worked cases; the twin's own promises.

That the twin agrees with the reference is in test_verify.
"""

import tracemalloc
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from csrl_core import backends as backend
from csrl_core import contract
from csrl_core.contract.cases.autoencoder import SHAPES, SKINNY, SMALL, WIDE, arguments, fused
from csrl_core.kernels.cpu.autoencoder import skinny
from csrl_core.reference import assign as assignment
from csrl_core.reference import autoencoder as reference
from csrl_core.reference import dense, optimizer

pytestmark = pytest.mark.sensitive

numba = backend.get("numba")
REGIMES = {"small": SMALL, "skinny": SKINNY, "wide": WIDE}
CLEAR_REFS = Path("/proc/self/clear_refs")
MANY = [name for name in SHAPES if "many samples" in name]


@pytest.fixture(params=["numpy", "numba"])
def kernels(request):
    return backend.get(request.param).autoencoder


def _call(kernels, a, reg=0.1, assign=None):
    return kernels.losses_and_gradient(
        a["params"], a["layers"], a["X"], a["target"], a["centers"], assign, a["weights"], reg
    )


def test_losses_by_hand(kernels):
    # One linear layer each way, one unit: z = x̃·W, x̂ = z D, d = 2.
    layers, size = dense.layer_table([(2, 1, 2, "linear", False), (1, 2, 2, "linear", False)])
    params = np.array([1.0, 1.0, 2.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    assert size == len(params)
    X, centers = np.array([[1.0, 2.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    # Cluster 0: x̃ = (1, 1), z = 2, x̂ = (2, 0), e = (1, −1): ½·2 + ¼·4 = 2.
    # Cluster 1: x̃ = (0, 2), z = 0, x̂ = (0, 0), e = (0, −2): ½·4 + 0 = 2.
    L, s, gradient = kernels.losses_and_gradient(params, layers, X, X, centers, None, np.array([3.0]), 0.25)
    np.testing.assert_array_equal(L, [[2.0, 2.0]])
    assert s.tolist() == [0]  # ties to the lowest
    # G = w (2/d) e = (3, −3); ∂D = z G = (6, −6); ∂z = G·D + w 2λz = 3 + 3 = 6; ∂W = x̃ ∂z = (6, 6).
    np.testing.assert_array_equal(gradient, [6, 6, 0, 0, 6, -6, 0, 0])


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shared", [0, 1, 2])
@pytest.mark.parametrize("activation", list(dense.ACTIVATIONS))
def test_gradient_by_central_differences(kernels, activation, shared, bias):
    output = "sigmoid" if bias and shared else "linear"
    a = arguments(
        np.float64, 19, 6, 3, (4, 2), activation=activation, shared=shared, bias=bias, output=output, zeros=True
    )
    assign, params = a["assign"], a["params"]
    # Pre-activations must not come near the kinks of relu, or a difference straddles one.
    for j in range(3):
        x = a["X"][assign == j] - a["centers"][j]
        for layer in a["layers"][:2]:
            W, b = dense.layer_views(params, layer, j)
            A = x @ W + (b if b.size else 0)
            live = np.abs(A[A != 0])  # exactly 0 is a unit all of whose inputs are off, which stay off
            assert live.min(initial=np.inf) > 1e-4
            x = dense.activate(A, int(layer[dense.ACTIVATION]))
    _, _, gradient = _call(kernels, a, assign=assign)

    def value():
        L = kernels.losses(params, a["layers"], a["X"], a["target"], a["centers"], 0.1)
        return assignment.objective(L, assign, a["weights"])[0]

    for i in range(len(params)):
        # Truncation h² and rounding eps/h balance near h = eps^(1/3).
        h, at = 6e-6, params[i]
        params[i] = at + h
        above = value()
        params[i] = at - h
        slope = (above - value()) / (2 * h)
        params[i] = at
        assert abs(slope - gradient[i]) < 1e-7 * max(1, np.abs(gradient).max())


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
def test_directional_derivative(kernels, shape):
    a = arguments(np.float64, *shape, activation="tanh", bias=True, shared=1)
    _, _, gradient = _call(kernels, a, assign=a["assign"])
    direction = np.random.default_rng(0).normal(size=len(gradient))
    h, values = 6e-6 / np.linalg.norm(direction), []
    for sign in (1, -1):
        moved = a["params"] + sign * h * direction
        L = kernels.losses(moved, a["layers"], a["X"], a["target"], a["centers"], 0.1)
        values.append(assignment.objective(L, a["assign"], a["weights"])[0])
    slope = (values[0] - values[1]) / (2 * h)
    assert abs(slope - gradient @ direction) < 1e-7 * np.linalg.norm(gradient) * np.linalg.norm(direction)


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
@pytest.mark.parametrize(
    ("activation", "shared", "bias"), [("relu", 0, False), ("leaky_relu", 1, True), ("sigmoid", 2, True)]
)
def test_torch_autograd_agrees(kernels, shape, activation, shared, bias):
    torch = pytest.importorskip("torch", reason="torch, the independent oracle, is not installed")
    a = arguments(np.float64, *shape, activation=activation, shared=shared, bias=bias)
    functions = {"relu": torch.relu, "sigmoid": torch.sigmoid}
    functions["leaky_relu"] = lambda y: torch.nn.functional.leaky_relu(y, dense.LEAKY_SLOPE)
    params, k = torch.tensor(a["params"], requires_grad=True), len(a["centers"])
    X, T, C = (torch.tensor(a[name]) for name in ("X", "target", "centers"))
    columns, half = [], len(a["layers"]) // 2
    for j in range(k):
        y = X - C[j]
        for l, (fan_in, fan_out, copies, weight, offset, _) in enumerate(a["layers"].tolist()):
            copy = j if copies > 1 else 0
            start = weight + copy * fan_in * fan_out
            y = y @ params[start : start + fan_in * fan_out].reshape(fan_in, fan_out)
            if bias:
                y = y + params[offset + copy * fan_out : offset + (copy + 1) * fan_out]
            if l < half:
                y = functions[activation](y)
            if l == half - 1:
                z = y
        columns.append(((y - (T - C[j])) ** 2).mean(1) + 0.1 * (z**2).sum(1))
    expected = torch.stack(columns, 1)
    w, s = torch.tensor(a["weights"]), torch.tensor(a["assign"])
    (w * expected[torch.arange(len(X)), s]).sum().backward()
    L, _, gradient = _call(kernels, a, assign=a["assign"])
    np.testing.assert_allclose(L, expected.detach().numpy(), rtol=1e-11)
    scale = np.abs(params.grad.numpy()).max()
    np.testing.assert_allclose(gradient, params.grad.numpy(), rtol=1e-11, atol=1e-13 * scale)


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
def test_identities(kernels, shape):
    a = arguments(np.float64, *shape, activation="tanh", bias=True)
    L, s, gradient = _call(kernels, a)
    np.testing.assert_array_equal(s, assignment.assign(L))
    np.testing.assert_allclose(
        kernels.losses(a["params"], a["layers"], a["X"], a["target"], a["centers"], 0.1), L, rtol=1e-13
    )
    # Losses are those of the embedding decoded again: 1/d ‖x̂ − t̃‖² + λ‖z‖², for any cluster.
    Z = kernels.encode(a["params"], a["layers"], a["X"], a["centers"])
    for j in range(len(a["centers"])):
        x_hat = kernels.decode(a["params"], a["layers"], Z[:, j], np.full(len(Z), j), a["centers"])
        direct = ((x_hat - a["target"]) ** 2).mean(axis=1) + 0.1 * (Z[:, j] ** 2).sum(axis=1)
        np.testing.assert_allclose(L[:, j], direct, rtol=1e-11)
    # Linear in the weights, and a sum: two parts of the data add up to the whole.
    halves = [a["assign"] * 0 == 0, np.arange(len(s)) % 2 == 0]
    halves[0] &= ~halves[1]
    total = np.zeros_like(gradient)
    for rows in halves:
        part = a | {name: a[name][rows] for name in ("X", "target", "weights")}
        part["weights"] = 2 * part["weights"]
        total += _call(kernels, part, assign=s[rows])[2]
    np.testing.assert_allclose(total, 2 * gradient, rtol=1e-9, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
def test_moving_everything_together_changes_nothing(kernels, shape):
    # Losses see X, target and centres only through differences.
    a = arguments(np.float64, *shape)
    shift = np.random.default_rng(1).normal(size=shape[1])
    moved = a | {name: a[name] + shift for name in ("X", "target", "centers")}
    for one, other in zip(_call(kernels, a), _call(kernels, moved), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11 * max(1, np.abs(one).max()))


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
def test_non_finite_stays_where_it_is(kernels, shape):
    a = arguments(np.float64, *shape)
    L, _, _ = _call(kernels, a, assign=a["assign"])
    a["X"][4, 0] = np.nan
    with np.errstate(invalid="ignore"):
        spoilt, s, gradient = _call(kernels, a)
    assert np.isnan(spoilt[4]).all()
    assert s[4] == 0  # NaN counts as infinite
    rest = np.arange(len(L)) != 4
    np.testing.assert_allclose(spoilt[rest], L[rest], rtol=1e-12)
    assert np.isnan(gradient).any()


def test_regimes_are_reached():
    for name, shape in SHAPES.items():
        layers = arguments(np.float32, *shape)["layers"]
        assert numba.autoencoder.regime(layers) == name.partition(",")[0]


@pytest.mark.parametrize("width", [6, 7])
def test_losses_alone_of_many_units_have_nothing_compiled(width, monkeypatch):
    a, ran = arguments(np.float32, 20, 70, 2, (width,)), []
    monkeypatch.setattr(skinny, "run", lambda *arguments: ran.append(arguments))
    numba.autoencoder.losses(a["params"], a["layers"], a["X"], a["target"], a["centers"], 0.1)
    assert bool(ran) == (width <= 6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("name", MANY)
def test_same_bits_on_any_number_of_threads(name, shared, dtype):
    a = arguments(dtype, *SHAPES[name], activation="sigmoid", bias=True, shared=shared)
    Z = np.random.default_rng(0).normal(size=(len(a["X"]), a["latent"])).astype(dtype)
    kernels, results = numba.autoencoder, []
    for threads in (None, 1, 2, 7):
        with numba.threads(threads) if threads else nullcontext():
            results.append(
                [
                    *_call(kernels, a, assign=a["assign"]),
                    *_call(kernels, a),
                    kernels.losses(a["params"], a["layers"], a["X"], a["target"], a["centers"], 0.1),
                    kernels.encode(a["params"], a["layers"], a["X"], a["centers"]),
                    kernels.decode(a["params"], a["layers"], Z, a["assign"], a["centers"]),
                ]
            )
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", MANY)
def test_sums_over_samples_keep_their_digits(name):
    # 2500 terms of float32: within a chunk they round like a random walk, across chunks not at all.
    a = arguments(np.float32, *SHAPES[name])
    wide = {
        key: value.astype(np.float64) if np.asarray(value).dtype == np.float32 else value for key, value in a.items()
    }
    exact = _call(reference, wide, assign=a["assign"])[2]
    error = np.abs(_call(numba.autoencoder, a, assign=a["assign"])[2] - exact).max()
    assert error < np.sqrt(1024) * np.finfo(np.float32).eps * np.abs(exact).max()


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="the peak of resident memory is read from /proc, of Linux")
@pytest.mark.parametrize("d", [50, 784])
def test_never_an_array_of_n_k_d(d):
    n, k = 3000, 20
    hidden = (40, 5) if d == 784 else (2, 1)
    a = arguments(np.float32, n, d, k, hidden, target=False)
    whole = n * k * d * 4
    with numba.threads(2):
        _call(numba.autoencoder, a)  # compile outside of the measurement
        resident = _resident("VmRSS")
        CLEAR_REFS.write_text("5")  # the peak starts again
        tracemalloc.start()
        _call(numba.autoencoder, a)
        numba.autoencoder.losses(a["params"], a["layers"], a["X"], a["X"], a["centers"], 0.1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # What compiled code allocates is not traced, but resident.
        assert _resident("VmHWM") - resident < whole / 5
    # Chunks of 1024 rows, the gradient in float64 and losses: far below one array for every cluster.
    chunk = 1024 * (6 * d + 4 * sum(hidden)) * 4 + 2 * 128 * (d + 3 * k * sum(hidden)) * 4
    assert peak < chunk + 40 * len(a["params"]) + 8 * n * (k + 6)
    assert peak < whole / 5


def _resident(field):
    """VmRSS, resident bytes, or VmHWM, their peak."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) * 1024


OPTIONS = {
    "full batch": {},
    "assignment first": {"assign_first": True},
    "mini-batches": {"batch_size": 10, "permuted": True},
    "mini-batches, assignment first, running, clipped": {
        **{"batch_size": 10, "permuted": True, "assign_first": True, "running": True, "clip_norm": 0.05},
    },
    "SGD, no centres": {"method": optimizer.SGD, "center": False, "batch_size": 8},
    "relu, shared": {"activation": "relu", "bias": True, "shared": 1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_fused_epochs_are_the_composed_ones(options):
    """Five epochs in one call each against the kernels one by one, on the compiled floor, in float64."""
    entry = contract.CONTRACT["autoencoder", "fused_epoch"]
    build = fused(SMALL, **options)
    ours, theirs = build(np.float64), build(np.float64)
    steps = -(-len(ours[6]) // ours[7])
    for epoch in range(5):
        for side in (ours, theirs):
            side[-1] = side[-1]._replace(step=epoch * steps)
        one, two = numba.autoencoder.fused_epoch(*ours), _composed_epoch(*theirs)
        np.testing.assert_allclose(one[:2], two[:2], rtol=1e-10)
        assert one[2] == two[2]
    for spec, a, b in zip(entry.leaves, entry.values(ours), entry.values(theirs), strict=True):
        if spec.in_place:
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10, err_msg=spec.name)


def _composed_epoch(params, layers, X, target, weights, reg, order, batch_size, clusters, options, state):
    (assign, centers, sums, totals, counts), (center, assign_first, running) = clusters, options
    kernels, k = numba, len(centers)
    loss_sum = weight_sum = moved = 0
    for b, first in enumerate(range(0, len(order), batch_size)):
        rows = order[first : first + batch_size]
        x, t, w = X[rows], target[rows], weights[rows]
        c = centers if center else np.zeros_like(centers)
        L, s, gradient = kernels.autoencoder.losses_and_gradient(
            params, layers, x, t, c, None if assign_first else assign[rows], w, reg
        )
        loss, weight = kernels.assign.objective(L, s, w)
        loss_sum, weight_sum = loss_sum + loss, weight_sum + weight
        scale = optimizer.mean_scale(gradient, weight, state.clip_norm)
        kernels.optimizer.update(params, gradient, scale, state._replace(step=state.step + b))
        moved += kernels.assign.move(t, rows, kernels.assign.assign(L), assign, w, sums, totals, counts)
        kernels.assign.means(sums, totals, centers, b if running else 0)
    sums[:], totals[:], counts[:] = kernels.assign.cluster_sums(target, assign, weights, k)
    if not running:
        kernels.assign.means(sums, totals, centers, 0)
    return loss_sum, weight_sum, moved


def test_fused_epoch_applies_to_small_networks_and_short_batches():
    applies = numba.autoencoder.fused_epoch_applies
    small, wide = (arguments(np.float32, *shape)["layers"] for shape in (SMALL, WIDE))
    assert applies(small, 300, 6, 3, 300)
    assert applies(small, 10**7, 6, 3, 100)
    assert not applies(small, 10**7, 6, 3, 10**7)
    assert not applies(wide, 300, 40, 3, 300)
    assert not reference.fused_epoch_applies(small, 300, 6, 3, 300)


@pytest.mark.parametrize("shape", REGIMES.values(), ids=REGIMES)
def test_read_only_input_and_no_samples(shape):
    a = arguments(np.float32, *shape)
    expected = _call(numba.autoencoder, a)
    for value in a.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    for one, other in zip(_call(numba.autoencoder, a), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    none = a | {name: a[name][:0] for name in ("X", "target", "weights")}
    L, s, gradient = _call(numba.autoencoder, none)
    assert (L.shape, s.shape) == ((0, shape[2]), (0,))
    np.testing.assert_array_equal(gradient, 0)
