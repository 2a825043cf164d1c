"""Milliseconds of a training step of tensorized variational autoencoders, beside a vectorised torch program in one run.

    python bench/bench_vae.py                # table, and rows appended to bench/results/vae.csv
    python bench/bench_vae.py --only dense   # cases whose name has this in it
    python bench/bench_vae.py --quick        # smoke run, seconds, nothing appended

A step is "assign-then-step" on images of 28 × 28: noise, losses under all k clusters, of which the trunk runs once, the
assignment, the gradient of the assigned column, Adam. torch does the same: shared layers are one product for all
clusters, layers of clusters a batched one, the losses of all clusters are worked out without a graph, and only the
assigned row of each sample goes through the shared decoder a second time, with one. Ours also keeps the sums of the
clusters' centres. Losses and gradients are compared before anything is timed. torch is timed eagerly and compiled, and
for convolutions with both of its memory layouts; the ratio is to its fastest.
"""

import argparse
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from common import append_rows, machine, percentile, print_table, product_rate, time_in_turns

from csrl_core import TensorizedVAE, backends
from csrl_core.reference import network as table
from csrl_core.reference.optimizer import ADAM, OptimizerState
from csrl_core.training.draws import Draw, Use
from csrl_core.training.parameters import Layout, Parameters

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

RATE, SIDE, REG, LATENT = 1e-3, 28, 2.0, 2
KEY = np.array([1, 2], np.uint32)


@dataclass(frozen=True)
class Setting:
    """One architecture, number of clusters and batch."""

    architecture: str
    k: int
    n: int

    @property
    def name(self):
        """As rows and tables say it."""
        return f"{self.architecture}, k={self.k}, batch {self.n}"


SETTINGS = [
    Setting("dense", 3, 50),
    Setting("dense", 3, 256),
    Setting("dense", 5, 50),
    Setting("dense", 5, 256),
    Setting("conv", 3, 50),
    Setting("conv", 3, 128),
]


class Ours:
    """Steps as the trainer makes them."""

    def __init__(self, setting, threads):
        self.threads, self.backend, random = threads, backends.get("numba"), np.random.default_rng(0)
        estimator = TensorizedVAE(n_clusters=setting.k, architecture=setting.architecture, reg=REG, latent=LATENT)
        estimator.n_features_in_ = SIDE * SIDE
        self.model, self.k = estimator._model(self.backend), setting.k
        self.layout = Layout(self.model.networks.shapes)
        start = self.model.init_parameters(None, setting.k, Draw(self.backend.philox, KEY, 0, 0))
        self.params = Parameters(self.layout, self.layout.flatten(start, np.float32))
        pixels = random.uniform(size=(setting.n, SIDE * SIDE)) ** 3 * (random.uniform(size=SIDE * SIDE) < 0.5)
        self.X, self.weights = pixels.astype(np.float32), np.ones(setting.n, np.float32)
        self.index, self.assign = np.arange(setting.n), np.zeros(setting.n, np.int64)
        self.zeros = np.zeros((setting.k, SIDE * SIDE), np.float32)
        self.sums = self.backend.assign.cluster_sums(self.X, self.assign, self.weights, setting.k)
        self.centers, self.moments, self.number = np.zeros_like(self.zeros, np.float64), np.zeros((2, self.size)), 0
        self.moments = self.moments.astype(np.float32)

    @property
    def size(self):
        """Number of parameters."""
        return self.layout.size

    def context(self):
        """What a fit enters once."""
        return self.backend.threads(self.threads)

    def losses_and_gradient(self):
        """L (n, k), assignment, gradient (p,)."""
        draw = Draw(self.backend.philox, KEY, 0, self.number, use=Use.TRAINING_NOISE, rows=self.index)
        return self.model.losses_and_gradient(self.params, self.X, self.X, self.zeros, None, self.weights, draw)

    def noise(self):
        """That of the step."""
        draw = Draw(self.backend.philox, KEY, 0, self.number, use=Use.TRAINING_NOISE, rows=self.index)
        return self.backend.philox.normal(*draw.words(Use.LATENT_TRAINING), 0, self.index, LATENT, np.float32)

    def step(self):
        """One step."""
        kernels = self.backend
        L, assign, gradient = self.losses_and_gradient()
        _, weight = kernels.assign.objective(L, assign, self.weights)
        new = kernels.assign.assign(L)
        kernels.assign.move(self.X, self.index, new, self.assign, self.weights, *self.sums)
        kernels.assign.means(*self.sums[:2], self.centers, 0)
        scale = kernels.optimizer.mean_scale(gradient, weight, 0.0)
        kernels.optimizer.update(
            self.params.flat, gradient, scale, OptimizerState(ADAM, self.moments, self.number, RATE)
        )
        self.number += 1


class Torch:
    """The same in torch, from the same parameters."""

    def __init__(self, ours, threads, layout, compiled):
        self.threads, self.k, model = threads, ours.k, ours.model
        self.layout = torch.channels_last if layout == "channels last" else torch.contiguous_format
        self.X = torch.from_numpy(ours.X)
        self.layers = {name: self._layers(getattr(model, name), ours) for name in ("trunk", "heads", "decoder")}
        self.leaves = [leaf for layers in self.layers.values() for _, *own in layers for leaf in own]
        self.optimizer = torch.optim.Adam(self.leaves, lr=RATE, fused=True)
        wrap = torch.compile(dynamic=False) if compiled else lambda function: function
        self.codes, self.all_losses, self.own_loss = map(wrap, (self._codes, self._all_losses, self._own_loss))

    def _layers(self, piece, ours):
        """[(row of the table, weight, bias)], leaves of a graph, cluster axis first where there are several."""
        flat, found = ours.params.flat[piece.params], []
        for row in piece.network.layers:
            weight, bias = (
                np.stack(each) for each in zip(*(table.views(flat, row, j) for j in range(row[table.CLUSTERS])))
            )
            weight, bias = (torch.from_numpy(a[0] if len(a) == 1 else a).clone() for a in (weight, bias))
            weight = weight.contiguous(memory_format=self.layout) if weight.dim() == 4 else weight
            found.append((row.tolist(), weight.requires_grad_(), bias.requires_grad_()))
        return found

    @contextmanager
    def context(self):
        """So many threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _run(self, layers, x):
        """Layers that all clusters share, of rows (m, f); or those of clusters, (k, n, f)."""
        for row, weight, bias in layers:
            if row[table.KIND] == table.DENSE:
                x = x.flatten(1) if x.dim() == 4 else x
                x = torch.baddbmm(bias[:, None], x, weight) if weight.dim() == 3 else torch.addmm(bias, x, weight)
            else:
                x = x.reshape(len(x), *row[table.CHANNELS : table.OUT_CHANNELS]).contiguous(memory_format=self.layout)
                stride, padding, extra = row[table.STRIDE : table.OUTPUT_PADDING + 1]
                if row[table.KIND] == table.CONV:
                    x = functional.conv2d(x, weight, bias, stride, padding)
                else:
                    x = functional.conv_transpose2d(x, weight, bias, stride, padding, extra)
            if row[table.ACTIVATION] == 1:
                x = torch.relu(x)
            elif row[table.ACTIVATION] == 2:
                x = functional.leaky_relu(x, 0.2)
        return x.flatten(1) if x.dim() == 4 else x

    def _codes(self, x, noise):
        """(output of the decoder's first layer, which is a cluster's (k, n, f); divergences (k, n))."""
        trunk = self._run(self.layers["trunk"], x).flatten(1)
        heads = self._run(self.layers["heads"], trunk.expand(self.k, *trunk.shape))
        mean, logvar = heads.chunk(2, dim=2)
        y = self._run(self.layers["decoder"][:1], mean + torch.exp(0.5 * logvar) * noise)
        return y, (mean.square() + logvar.exp() - 1 - logvar).sum(2)

    def _entropy(self, y, x):
        A = self._run(self.layers["decoder"][1:], y)
        return functional.binary_cross_entropy_with_logits(A, x, reduction="none").sum(1)

    def _all_losses(self, y, divergence, x):
        entropy = self._entropy(y.flatten(0, 1), x.repeat(self.k, 1)).reshape(self.k, -1)
        return (entropy + REG * divergence).T

    def _own_loss(self, y, divergence, x, assign):
        own = assign, torch.arange(len(x))
        return (self._entropy(y[own], x) + REG * divergence[own]).sum()

    def losses_and_gradient(self, noise):
        """(L, assignment), gradients are left in the leaves."""
        y, divergence = self.codes(self.X, noise)
        with torch.no_grad():
            L = self.all_losses(y.detach(), divergence.detach(), self.X)
            assign = L.argmin(1)
        self.optimizer.zero_grad()
        (self.own_loss(y, divergence, self.X, assign) / len(self.X)).backward()
        return L, assign

    def step(self):
        """One step."""
        self.losses_and_gradient(torch.randn(len(self.X), LATENT))
        self.optimizer.step()


def check(ours, theirs):
    """Raise where losses or gradients do not agree."""
    with ours.context():
        L, _, gradient = ours.losses_and_gradient()
    with theirs.context():
        wanted, _ = theirs.losses_and_gradient(torch.from_numpy(ours.noise()))
    own = np.concatenate([leaf.grad.contiguous().numpy().ravel() for leaf in theirs.leaves])
    for mine, other in ((L, wanted.numpy()), (gradient / len(L), own)):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4 * np.abs(other).max())


def contestants(setting, threads, quick):
    """Name → contestant, checked and warm."""
    found = {"numba": Ours(setting, threads)}
    if torch is not None:
        torch._dynamo.reset()
        for layout in ("contiguous", "channels last") if setting.architecture == "conv" else ("contiguous",):
            for compiled in (False,) if quick else (False, True):
                theirs = Torch(found["numba"], threads, layout, compiled)
                check(found["numba"], theirs)
                found[f"torch {layout} {'compiled' if compiled else 'eager'}"] = theirs
    for each in found.values():
        with each.context():
            each.step()
            each.step()
    return found


def flops(ours, n):
    """2 a multiplication: trunk once, heads and decoder k times; back the assigned row, no gradient of the input."""
    model, total = ours.model, 0
    for name, forward in (("trunk", 1), ("heads", ours.k), ("decoder", ours.k)):
        for l, row in enumerate(getattr(model, name).network.layers):
            weight, _ = table.shapes(row)
            pixels = {table.CONV: row[table.OUT_HEIGHT] * row[table.OUT_WIDTH], table.DENSE: 1}
            count = int(np.prod(weight)) * int(pixels.get(row[table.KIND], row[table.HEIGHT] * row[table.WIDTH]))
            total += 2 * n * count * (forward + (1 if name == "trunk" and l == 0 else 2))
    return total


def measure(setting, threads, seconds, rate, quick):
    """Rows of one setting."""
    all_of_them = contestants(setting, threads, quick)
    times = time_in_turns({name: (each.step, each.context) for name, each in all_of_them.items()}, seconds)
    ms = {name: 1e3 * percentile(values, 50) for name, values in times.items()}
    peers = {name: value for name, value in ms.items() if name != "numba"}
    best = min(peers, key=peers.get, default=None)
    work = flops(all_of_them["numba"], setting.n)
    return {
        **{"case": setting.name, "threads": threads, "ms": round(ms["numba"], 3)},
        **{"torch ms": round(peers[best], 3) if best else float("nan"), "torch": (best or "torch none")[6:]},
        "ratio": round(peers[best] / ms["numba"], 3) if best else float("nan"),
        "torch eager ms": round(min((v for name, v in peers.items() if "eager" in name), default=float("nan")), 3),
        "mflop": round(work / 1e6, 1),
        "product GFLOP/s": round(rate, 1),
        "part of the limit": round(work / rate / 1e6 / ms["numba"], 3),
    }


def main():
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small case, torch not compiled, nothing appended")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each contestant")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--eager", action="store_true", help="do not compile torch, append nothing")
    options = parser.parse_args()
    settings = [Setting("dense", 3, 8)] if options.quick else [s for s in SETTINGS if options.only in s.name]
    quick, seconds, rows = options.quick or options.eager, 0.1 if options.quick else options.seconds, []
    for threads in options.threads:
        rate = product_rate(np.float32, threads)
        rows += [{**measure(setting, threads, seconds, rate, quick), **machine()} for setting in settings]
    print_table(rows, [name for name in rows[0] if name not in machine()])
    if not quick:
        print(append_rows("vae", rows))


if __name__ == "__main__":
    main()
