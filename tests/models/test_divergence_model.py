"""The model of deep divergence-based clustering: gradients, torch, layers, weights of samples, batches, bad input."""

import numpy as np
import pytest
from gradients import differences

from csrl_core import backends
from csrl_core.models.divergence import DivergenceModel
from csrl_core.models.divergence_layers import backbone, divergence_parts
from csrl_core.models.divergence_mismatch import OBJECTIVES as OBJECTIVE_NAMES
from csrl_core.models.divergence_terms import Objective, block_weights
from csrl_core.models.network import Networks
from csrl_core.reference.augment import Augmentation
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters
from csrl_core.training.run import Batch

KEY = np.array([3, 4], np.uint32)
IMAGE, N, K = (1, 6, 6), 13, 3
CHANGES = Augmentation(1.0, 20.0, 0.1, 5.0, 1.5, 0.05)
CONV = ["conv 3 3 activation=tanh", "batch_norm activation=relu", "max_pool 2"], ["up_sample 2", "transposed_conv 1 3"]
LAYERS = {
    "dense": backbone(IMAGE, (7, 5), False),
    "convolutions": (*CONV, (2, 3)),
    "a tail without kernel": (*CONV, (2,)),
    "dropout": (["dense 8 activation=tanh", "dropout 0.3", "dense 4"], ["dense 1x6x6"], (1, 3)),
}
OBJECTIVES = {
    "alone": Objective(),
    "autoencoder": Objective("autoencoder", 0.3),
    "tensors": Objective("uco", 0.5, "tensor"),
    "vectors": Objective("uco", 0.5, "vector"),
    "views": Objective("uco", 0.5, "tensor", invariance=0.7),
    "views and autoencoder": Objective("autoencoder", 0.3, invariance=0.7),
}


class Fixed:
    """A kernel stem whose σ² and ε are those of its first pass, since gradients take them as constants."""

    def __init__(self, kernel):
        self.kernel, self.known, self.place = kernel, [], 0

    def __getattr__(self, name):
        made = getattr(self.kernel, name)
        return made if name not in ("bandwidth", "ridges") else lambda *arguments: self._first(made, arguments)

    def _first(self, made, arguments):
        if self.place == len(self.known):
            self.known.append(made(*arguments))
        self.place += 1
        return self.known[self.place - 1]


def problem(layers="dense", objective="alone", backend="numpy", augmentation=CHANGES, least=0):
    """(model, parameters with state, batch)"""
    random, backend = np.random.default_rng(0), backends.get(backend)
    encoder, decoder, blocks = LAYERS[layers]
    of = OBJECTIVES[objective]
    of = of._replace(block_weights=block_weights("linear", len(blocks)))
    parts = divergence_parts(IMAGE, encoder, decoder if of.companion == "autoencoder" else None, 6, K)
    networks = Networks(parts, 1)
    model, layout = (
        DivergenceModel(backend, networks, blocks, IMAGE, augmentation, of, least),
        Layout(networks.shapes),
    )
    named = model.init_parameters(None, K, Draw(backend.philox, KEY, use=Use.INITIAL_PARAMETERS))
    X = random.uniform(size=(N, 36))
    batch = Batch(X, X, np.arange(N), random.uniform(0.5, 2, N))
    params = Parameters(layout, backend.own(layout.flatten(named, np.float64)), {})
    params.state |= model.init_state(params, batch, None, None, None)
    return model, params, batch


def draw(use=Use.EVALUATION_NOISE, rows=N, step=0):
    return Draw(backends.get("numpy").philox, KEY, step=step, use=use, rows=np.arange(rows))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("layers", LAYERS)
def test_gradient(layers, objective):
    model, params, batch = problem(layers, objective)
    model.kernel = Fixed(model.kernel)
    value, weight_sum, gradient = model.loss_and_gradient(params, batch, draw())
    assert weight_sum == pytest.approx(batch.weight.sum())
    some = np.random.default_rng(1).permutation(len(params.flat))[:60]
    start, steps = params.flat.copy(), np.zeros(60)

    def changed():
        params.flat[...] = start
        params.flat[some] += steps
        model.kernel.place = 0
        return model.loss_and_gradient(params, batch, draw())[0]

    by = differences(changed, steps)
    np.testing.assert_allclose(gradient[some], by, rtol=1e-4, atol=1e-6)
    assert np.abs(by).max() > 1e-3
    steps[:] = 0
    assert changed() == value


@pytest.mark.parametrize("objective", ["autoencoder", "tensors", "views", "views and autoencoder"])
def test_gradients_of_terms_are_those_of_their_values_and_add_up(objective):
    model, params, batch = problem("convolutions", objective)
    model.kernel = Fixed(model.kernel)
    found = model.objective_gradients(params, batch, draw())
    some, steps, start = np.random.default_rng(1).permutation(len(params.flat))[:25], np.zeros(25), params.flat.copy()

    def value(name, fixed=None):
        params.flat[...] = start
        params.flat[some] += steps
        model.kernel.place = 0
        done, _, _ = model.evaluate(params, batch, draw())
        if fixed is not None:  # the companion with these assignments
            share = [model.of.weight * weight for weight in model.of.block_weights]
            rows = [model.chain[block].network.layers[-1] for block in range(model.blocks)]
            model.kernel.place = 1
            kernels = [model.affinities(done.passes[block].out, row)[0] for block, row in enumerate(rows)]
            return sum(c * model.kernel.cauchy_schwarz(done.w * fixed, K)[0][0] for c, K in zip(share, kernels))
        return {"clustering": done.terms[0], "invariance": done.view}.get(name, done.terms[-1]).value

    names = ["clustering", *(["invariance"] if model.of.invariance else []), list(found)[-1]]
    names[-1] = model.of.companion if model.of.companion == "autoencoder" else f"block {model.blocks}"
    for name in names:
        np.testing.assert_allclose(found[name][some], differences(lambda n=name: value(n), steps), rtol=1e-4, atol=1e-6)
    if model.of.companion == "uco":
        A = model.evaluate(params, batch, draw())[0].A
        by = differences(lambda: value(None, A), steps)
        np.testing.assert_allclose(found["companion, A constant"][some], by, rtol=1e-4, atol=1e-6)
        assert np.abs(found["companion"] - found["companion, A constant"]).max() > 1e-3
    params.flat[...], model.kernel.place = start, 0
    whole, views = model.loss_and_gradient(params, batch, draw())[2] / batch.weight.sum(), found.get("invariance", 0.0)
    np.testing.assert_allclose(found["clustering"] + found["companion"] + views, whole, rtol=1e-9, atol=1e-12)
    terms = sum(gradient for name, gradient in found.items() if name not in OBJECTIVE_NAMES)
    np.testing.assert_allclose(terms, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", ["autoencoder", "tensors", "vectors", "views"])
def test_the_whole_loss_is_that_of_torch(objective):
    torch = pytest.importorskip("torch")
    model, params, batch = problem("convolutions", objective, augmentation=Augmentation())
    weighted = model.loss_and_gradient(params, batch._replace(weight=np.ones(N)), draw())
    flat = torch.tensor(params.flat, requires_grad=True)
    views, first = {}, 0
    for name, shape in params.layout.shapes.items():
        size = int(np.prod(shape))
        views[name], first = flat[first : first + size].reshape(shape)[0], first + size
    loss = torch_loss(torch, views, torch.tensor(batch.X), model.of)
    loss.backward()
    np.testing.assert_allclose(weighted[0], N * loss.item(), rtol=1e-9)
    np.testing.assert_allclose(weighted[2], N * flat.grad.numpy(), rtol=1e-6, atol=1e-9)


def torch_loss(torch, p, X, of):
    """The loss of the layers "convolutions" as written, by automatic differentiation."""
    F, n = torch.nn.functional, len(X)

    def normed(Y, name):
        return F.batch_norm(Y, None, None, p[f"{name}.weight"], p[f"{name}.bias"], True)

    def gaussian(D):
        D = D.clamp(min=0)
        median = np.median(D.detach().numpy())
        return torch.exp(-D / (2 * max(0.15 * median, 1e-9)))

    def cauchy_schwarz(A, K):
        overlaps = A.T @ K @ A
        root = torch.sqrt(torch.outer(overlaps.diagonal(), overlaps.diagonal()))
        return 2 / (K_ * (K_ - 1)) * torch.triu(overlaps / root, 1).sum()

    def vectors(Y):
        return ((Y.reshape(n, 1, -1) - Y.reshape(1, n, -1)) ** 2).sum(2)

    def tensors(Y):
        D = 0
        for mode in range(3):
            M = Y.movedim(1 + mode, 1).reshape(n, Y.shape[1 + mode], -1)
            M = M if M.shape[1] <= M.shape[2] else M.transpose(1, 2)
            S = M @ M.transpose(1, 2)
            eps = 1e-6 * S.diagonal(dim1=1, dim2=2).sum(1).detach() / M.shape[1]
            P = M.transpose(1, 2) @ torch.linalg.solve(S + eps[:, None, None] * torch.eye(M.shape[1]), M)
            D = D + ((P[:, None] - P[None]) ** 2).sum((2, 3))
        return D

    K_ = p["head.2.bias"].shape[0]
    one = torch.tanh(F.conv2d(X.reshape(n, *IMAGE), p["encoder.0.weight"], p["encoder.0.bias"]))
    one = torch.relu(normed(one, "encoder.1"))
    two = F.max_pool2d(one, 2)
    H = normed(torch.relu(two.reshape(n, -1) @ p["head.0.weight"] + p["head.0.bias"]), "head.1")
    A = torch.softmax(H @ p["head.2.weight"] + p["head.2.bias"], 1)
    K = gaussian(vectors(H))
    M = torch.exp(-((A[:, None] - torch.eye(K_)[None]) ** 2).sum(2))
    loss = cauchy_schwarz(A, K) + 2 / (n * (n - 1)) * torch.triu(A @ A.T, 1).sum() + cauchy_schwarz(M, K)
    if of.companion == "autoencoder":
        up = two.repeat_interleave(2, 2).repeat_interleave(2, 3)
        Y = F.conv_transpose2d(up, p["decoder.1.weight"], p["decoder.1.bias"])
        loss = loss + of.weight * ((Y.reshape(n, -1) - X) ** 2).mean()
    for block, w in zip((one, two), of.block_weights, strict=True) if of.companion == "uco" else ():
        D = tensors(block) if of.kernel == "tensor" else vectors(block)
        loss = loss + of.weight * w * cauchy_schwarz(A, gaussian(D))
    return loss - of.invariance * torch.log((A * A).sum(1)).mean()


def test_block_weights():
    assert block_weights("constant", 3) == (1, 1, 1)
    assert block_weights("linear", 4) == (0.25, 0.5, 0.75, 1)
    assert block_weights("exponential", 3) == pytest.approx((0.01, 0.1, 1))


def test_the_backbone_of_the_sources():
    encoder, decoder, blocks = backbone((1, 28, 28), (32, 32), True)
    networks = Networks(divergence_parts((1, 28, 28), encoder, decoder, 100, 10), 1)
    assert networks.output == {"encoder": (32, 3, 3), "head": (10, 1, 1), "decoder": (1, 28, 28)}
    model = DivergenceModel(backends.get("numpy"), networks, blocks, (1, 28, 28), Augmentation(), Objective())
    ends = [tuple(int(size) for size in piece.network.layers[-1][5:8]) for piece in model.chain]
    assert ends == [(32, 20, 20), (32, 3, 3), (100, 1, 1), (10, 1, 1)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_backends_agree(objective):
    found = {}
    for name in ("numpy", "numba", "emulated"):
        model, params, batch = problem("convolutions", objective, name)
        own = backends.get(name).own
        batch = batch._replace(**{key: own(getattr(batch, key)) for key in ("X", "target", "index", "weight")})
        there = Draw(backends.get(name).philox, KEY, use=Use.EVALUATION_NOISE, rows=batch.index)
        value, _, gradient = model.loss_and_gradient(params, batch, there)
        found[name] = value, backends.as_numpy(gradient)
    for name in ("numba", "emulated"):
        np.testing.assert_allclose(found[name][0], found["numpy"][0], rtol=1e-10)
        np.testing.assert_allclose(found[name][1], found["numpy"][1], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("objective", ["tensors", "views and autoencoder"])
def test_samples_without_weight_are_left_out(objective):
    model, params, batch = problem("convolutions", objective)
    weight = batch.weight * (np.arange(N) % 4 > 0)
    kept = np.flatnonzero(weight)
    value, _, gradient = model.loss_and_gradient(params, batch._replace(weight=weight), draw())
    some = Batch(batch.X[kept], batch.X[kept], kept, weight[kept])
    there = Draw(backends.get("numpy").philox, KEY, use=Use.EVALUATION_NOISE, rows=kept)
    alone, _, own = model.loss_and_gradient(params, some, there)
    assert alone == value
    np.testing.assert_array_equal(own, gradient)


def test_only_ratios_of_weights_count():
    model, params, batch = problem("dense", "views and autoencoder")
    once = model.loss_and_gradient(params, batch, draw())
    twice = model.loss_and_gradient(params, batch._replace(weight=2 * batch.weight), draw())
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-12)


def test_a_short_batch_is_not_learnt_from_but_answered():
    model, params, batch = problem("dense", "alone", least=N + 1)
    loss, weight_sum, gradient = model.loss_and_gradient(params, batch, draw(Use.TRAINING_NOISE))
    assert (loss, weight_sum) == (0, 0)
    np.testing.assert_array_equal(gradient, 0)
    assert model.loss_and_gradient(params, batch, draw())[0] > 0


def test_training_moves_averages_and_answers_do_not():
    model, params, batch = problem("convolutions", "views")
    before = {name: array.copy() for name, array in params.state.items()}
    model.loss_and_gradient(params, batch, draw())
    for name, array in before.items():
        np.testing.assert_array_equal(params.state[name], array)
    model.loss_and_gradient(params, batch, draw(Use.TRAINING_NOISE))
    assert np.abs(params.state["encoder.1.mean"] - before["encoder.1.mean"]).max() > 0


# -- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("layers", LAYERS)
def test_blocks_with_a_constant_output(layers, objective):
    """All parameters 0: every distance and its median are 0, assignments are uniform, clusters the same."""
    model, params, batch = problem(layers, objective)
    params.flat[...] = 0
    value, weight_sum, gradient = model.loss_and_gradient(params, batch, draw())
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    if objective == "alone":
        w = batch.weight / batch.weight.mean()
        apart = (w.sum() ** 2 - (w * w).sum()) / (K * N * (N - 1))
        assert value / weight_sum == pytest.approx(2 + apart)


def test_modes_of_size_one():
    """A block of shape 1 × 4 × 1 compares directions: one part of 2 (1 − cos²) for every mode that is 4 long or not."""
    model, _, _ = problem("convolutions", "tensors")
    Y = np.random.default_rng(2).normal(size=(5, 4))
    layer = np.zeros(17, np.int64)
    layer[5:8] = 1, 4, 1
    D = -2 * np.log(model.affinities(Y, layer)[0])
    cosines = (Y @ Y.T) ** 2 / np.outer((Y * Y).sum(1), (Y * Y).sum(1))
    distances = 3 * 2 * (1 - cosines)
    np.testing.assert_allclose(D, distances / (0.15 * np.median(distances)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("layers", ["dense", "convolutions"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_activations_that_are_not_finite_make_the_loss_so(wrong, objective, layers, backend):
    model, params, batch = problem(layers, objective, backend, Augmentation())
    params.flat[model.chain[-2].params.start] = wrong
    with np.errstate(all="ignore"):
        value, _, _ = model.loss_and_gradient(params, batch, draw())
    assert not np.isfinite(value)


def test_fewer_samples_than_clusters():
    model, params, batch = problem()
    weight = np.where(np.arange(N) < 2, 1.0, 0.0)
    with pytest.raises(ValueError, match="a batch has 2 samples with a positive weight, fewer than its 3 clusters"):
        model.loss_and_gradient(params, batch._replace(weight=weight), draw())
