"""Seconds per epoch of tensorized autoencoders, beside a vectorised torch program in the same run.

    python bench/bench_autoencoder.py            # table, and rows appended to bench/results/autoencoder.csv
    python bench/bench_autoencoder.py --quick    # smoke run, seconds, nothing appended
    python bench/bench_autoencoder.py --regimes  # where the three ways of kernels/cpu/autoencoder.py meet

An epoch is everything: batches, losses under all k clusters, the gradient of the assigned column, Adam, new
assignments, centres. Both sides start from the same parameters, data, assignments and centres, and their losses
and gradients are compared before anything is timed. "numba" is a bare loop over the kernels, "numba fit" the
estimator with all that it does besides.
"""

import argparse
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from common import append_rows, machine, peak_memory, percentile, print_table, product_rate, time_in_turns

from csrl_core import TensorizedAutoencoder
from csrl_core import backends as backend
from csrl_core.reference.assign import Clusters, JointOptions
from csrl_core.reference.dense import layer_table
from csrl_core.reference.optimizer import ADAM, OptimizerState
from csrl_core.training.run import as_batch

try:
    import torch
except ImportError:
    torch = None

REG, RATE = 0.1, 1e-3


@dataclass(frozen=True)
class Setting:
    """One data set and network."""

    name: str
    n: int
    d: int
    k: int
    hidden: tuple
    batch: int | None
    activation: str = "linear"

    def title(self):
        """As rows and tables say it."""
        return f"{self.name} {self.n}x{self.d} k={self.k} {self.hidden} batch {self.batch or 'full'}"

    def layers(self):
        """(table, number of parameters)."""
        widths = [self.d, *self.hidden]
        encoder = [(a, b, self.k, self.activation, False) for a, b in pairwise(widths)]
        return layer_table(encoder + [(b, a, k, "linear", bias) for a, b, k, _, bias in reversed(encoder)])

    def flops(self):
        """Of an epoch: 2 a multiplication; forward for k clusters, backward for one, no gradient of the input."""
        table, _ = self.layers()
        products = [int(fan_in * fan_out) for fan_in, fan_out in table[:, :2]]
        return 2 * self.n * (self.k * sum(products) + 2 * sum(products) - products[0])

    def bytes(self, dtype):
        """That an epoch must at least move: data and target once, 7 numbers a parameter and step."""
        steps = -(-self.n // (self.batch or self.n))
        return np.dtype(dtype).itemsize * (2 * self.n * self.d + 7 * steps * self.layers()[1])


SETTINGS = [
    Setting("lines_3D", 300, 6, 3, (2, 1), None),
    Setting("MNIST-5", 1000, 784, 5, (2, 1), None),
    Setting("wide", 10000, 784, 10, (64, 10), 256),
]


class Problem:
    """Data and state of one setting, the same for every contestant."""

    def __init__(self, setting, dtype):
        rng = np.random.default_rng(0)
        self.setting, self.dtype = setting, np.dtype(dtype)
        self.table, size = setting.layers()
        labels = rng.integers(0, setting.k, setting.n)
        X = rng.standard_normal((setting.n, setting.d)) + 2 * rng.standard_normal((setting.k, setting.d))[labels]
        X, self.weights = X.astype(dtype), np.ones(setting.n, dtype)
        self.X = as_batch(X, X, self.weights, X.mean(axis=0)).X  # laid out as the estimators lay out their data
        bounds = np.concatenate([np.full(a * b * c, a**-0.5) for a, b, c, *_ in self.table])
        self.params = (rng.uniform(-1, 1, size) * bounds).astype(dtype)
        # Nearly the right clusters, so that none empties (the trainer would re-seed it) and some samples move.
        self.assign = np.where(rng.random(setting.n) < 0.1, rng.integers(0, setting.k, setting.n), labels)
        kernel = backend.get("numba").assign
        self.sums, self.totals, self.counts = kernel.cluster_sums(self.X, self.assign, self.weights, setting.k)
        self.centers = np.zeros((setting.k, setting.d))
        kernel.means(self.sums, self.totals, self.centers, 0)


class Ours:
    """Epochs as the trainer makes them: the fused kernel where it applies, else kernel by kernel."""

    def __init__(self, problem, threads):
        self.p, self.threads, self.step = problem, threads, 0
        self.backend = backend.get("numba")
        self.params, self.assign, self.centers = problem.params.copy(), problem.assign.copy(), problem.centers.copy()
        self.sums, self.totals, self.counts = problem.sums.copy(), problem.totals.copy(), problem.counts.copy()
        self.moments = np.zeros((2, len(self.params)), problem.dtype)
        self.clusters = Clusters(self.assign, self.centers, self.sums, self.totals, self.counts)
        s = problem.setting
        self.batch, self.index, self.rng = s.batch or s.n, np.arange(s.n), np.random.default_rng(1)
        self.fused = self.backend.autoencoder.fused_epoch_applies(problem.table, s.n, s.d, s.k, self.batch)

    def context(self):
        """What a fit enters once."""
        return self.backend.threads(self.threads)

    def epoch(self):
        """One epoch."""
        if self.fused:
            self._fused()
        else:
            self._composed()

    def optimizer(self):
        """Adam before its next step."""
        return OptimizerState(ADAM, self.moments, self.step, RATE)

    def _fused(self):
        p = self.p
        order = self.index if self.batch >= p.setting.n else self.rng.permutation(p.setting.n)
        self.backend.autoencoder.fused_epoch(
            *(self.params, p.table, p.X, p.X, p.weights, REG, order, self.batch),
            *(self.clusters, JointOptions(True, False, False), self.optimizer()),
        )
        self.step += -(-p.setting.n // self.batch)

    def _composed(self):
        p, kernels = self.p, self.backend
        n = p.setting.n
        order = self.index if self.batch >= n else self.rng.permutation(n)
        moved = 0
        for first in range(0, n, self.batch):
            rows = order[first : first + self.batch]
            x, w = (p.X, p.weights) if len(rows) == n else (p.X[rows], p.weights[rows])
            L, s, gradient = kernels.autoencoder.losses_and_gradient(
                self.params, p.table, x, x, self.centers.astype(p.dtype), self.assign[rows], w, REG
            )
            _, weight = kernels.assign.objective(L, s, w)
            scale = kernels.optimizer.mean_scale(gradient, weight, 0.0)
            kernels.optimizer.update(self.params, gradient, scale, self.optimizer())
            self.step += 1
            new = kernels.assign.assign(L)
            moved += kernels.assign.move(x, rows, new, self.assign, w, self.sums, self.totals, self.counts)
            kernels.assign.means(self.sums, self.totals, self.centers, 0)
        if moved:  # else the sums are still those from scratch
            self.sums[:], self.totals[:], self.counts[:] = kernels.assign.cluster_sums(
                p.X, self.assign, p.weights, p.setting.k
            )
            kernels.assign.means(self.sums, self.totals, self.centers, 0)

    def losses_and_gradient(self):
        """L and the gradient at the starting point, on the whole data or the first batch."""
        p, rows = self.p, self.index[: self.batch]
        x = p.X[rows]
        L, _, gradient = self.backend.autoencoder.losses_and_gradient(
            *(p.params, p.table, x, x, p.centers.astype(p.dtype), p.assign[rows], p.weights[rows], REG)
        )
        return L, gradient

    def losses(self):
        """L alone, as `losses_and_gradient`."""
        p, x = self.p, self.p.X[self.index[: self.batch]]
        return self.backend.autoencoder.losses(p.params, p.table, x, x, p.centers.astype(p.dtype), REG)


class Torch:
    """The same in torch: batched products over the clusters, autograd, fused Adam, centres from one-hot products."""

    def __init__(self, problem, threads, compiled):
        self.p, self.threads = problem, threads
        torch.set_num_threads(threads)
        flat = torch.from_numpy(problem.params.copy())
        self.weights = [
            flat[w : w + a * b * c].reshape(c, a, b).clone().requires_grad_()
            for a, b, c, w, *_ in problem.table.tolist()
        ]
        self.X = torch.from_numpy(problem.X)
        self.assign = torch.from_numpy(problem.assign.copy())
        self.sums = torch.from_numpy(problem.sums.astype(problem.dtype))
        self.totals = torch.from_numpy(problem.totals.astype(problem.dtype))
        self.C = torch.from_numpy(problem.centers.astype(problem.dtype))
        self.optimizer = torch.optim.Adam(self.weights, lr=RATE, fused=True)
        # One graph a shape and thread count, so that the peer is never silently back in eager mode.
        torch._dynamo.config.recompile_limit = 64
        self.losses = torch.compile(self._losses, dynamic=False) if compiled else self._losses
        self.batch = problem.setting.batch or problem.setting.n

    @contextmanager
    def context(self):
        """Its number of threads."""
        torch.set_num_threads(self.threads)
        yield

    def _losses(self, x, C, weights):
        """L (b, k): the first layer is one product for all clusters, never k copies of centred data."""
        half = len(weights) // 2
        W = weights[0]
        k, d, h = W.shape
        y = (x @ W.permute(1, 0, 2).reshape(d, k * h)).reshape(-1, k, h).transpose(0, 1) - torch.bmm(C[:, None], W)
        if self.p.setting.activation == "relu":
            y = torch.relu(y)
        for l in range(1, half):
            y = torch.bmm(y, weights[l])
            if self.p.setting.activation == "relu":
                y = torch.relu(y)
        z = y
        for l in range(half, len(weights)):
            y = torch.bmm(y, weights[l])
        residual = y - (x[None] - C[:, None])
        return (residual.square().mean(-1) + REG * z.square().sum(-1)).T

    def epoch(self):
        """One epoch."""
        n = self.p.setting.n
        if self.batch >= n:
            self._step(None)
            return
        order = torch.randperm(n)
        for first in range(0, n, self.batch):
            self._step(order[first : first + self.batch])

    def _step(self, rows):
        x = self.X if rows is None else self.X[rows]
        old = self.assign if rows is None else self.assign[rows]
        L = self.losses(x, self.C, self.weights)
        self.optimizer.zero_grad()
        L.gather(1, old[:, None]).mean().backward()
        self.optimizer.step()
        with torch.no_grad():
            new = L.argmin(1)
            k = self.p.setting.k
            if rows is None:
                self.assign = new
                hot = torch.nn.functional.one_hot(new, k).to(x.dtype)
                self.sums, self.totals = hot.T @ x, hot.sum(0)
            else:  # only what moved changes the sums over all samples
                self.assign[rows] = new
                one_hot = torch.nn.functional.one_hot
                change = (one_hot(new, k) - one_hot(old, k)).to(x.dtype)
                self.sums += change.T @ x
                self.totals += change.sum(0)
            has = self.totals > 0
            self.C = torch.where(has[:, None], self.sums / self.totals.clamp_min(1)[:, None], self.C)

    def losses_and_gradient(self):
        """As in `Ours`; the sum over samples."""
        x, s = self.X[: self.batch], self.assign[: self.batch]
        L = self.losses(x, self.C, self.weights)
        gradient = torch.autograd.grad(L.gather(1, s[:, None]).sum(), self.weights)
        return L.detach().numpy(), np.concatenate([g.numpy().ravel() for g in gradient])


def validate(contestants, dtype):
    """Losses and gradients of all agree with the first; raises if not."""
    results = []
    for name, contestant in contestants.items():
        with contestant.context():
            results.append((name, contestant.losses_and_gradient()))
    (first, reference), *others = results
    bound = 2000 * np.finfo(dtype).eps  # sums of up to 1000 terms in different orders
    for name, values in others:
        for what, a, b in zip(("losses", "gradient"), values, reference, strict=True):
            error = np.abs(a - b).max() / np.abs(b).max()
            if not error < bound:
                raise SystemExit(f"{what} of {name} and {first} differ by {error:.2g}, allowed {bound:.2g}")


def fit_times(problem, threads, quick, fits):
    """Seconds per epoch of the whole estimator: fits of more epochs less fits of fewer, by the epochs between."""
    setting = problem.setting
    few, many = (1, 3) if setting.batch else (50, 250 if quick else 1050 if setting.d < 100 else 250)
    times = []
    for _ in range(fits):
        seconds = []
        for epochs in (few, many):
            model = TensorizedAutoencoder(
                n_clusters=setting.k,
                hidden=setting.hidden,
                activation=setting.activation,
                reg=REG,
                epochs=epochs,
                batch_size=setting.batch,
                learning_rate=RATE,
                init=problem.assign,
                assignment="loss",
                start="uniform",
                n_jobs=threads,
                random_state=0,
            )
            begin = time.perf_counter()
            model.fit(problem.X)
            seconds.append(time.perf_counter() - begin)
        times.append((seconds[1] - seconds[0]) / (many - few))
    return sorted(times)


def run(setting, dtype, seconds, quick, fits, rates):
    """Rows of one setting."""
    if torch is not None and not quick:  # what was compiled for earlier settings would count against a limit
        torch._dynamo.reset()
        torch._dynamo.config.recompile_limit = 64
    problem, everything = Problem(setting, dtype), {}
    for threads in (1, 2):
        everything[f"numba, {threads} thread{'s'[: threads - 1]}"] = Ours(problem, threads)
    if torch is not None:
        for threads in (1, 2):
            for compiled in (False,) if quick else (False, True):
                kind = "compile" if compiled else "eager"
                everything[f"torch {kind}, {threads} thread{'s'[: threads - 1]}"] = Torch(problem, threads, compiled)
    validate(everything, problem.dtype)
    for contestant in everything.values():
        with contestant.context():
            contestant.epoch()
            contestant.epoch()
    times = time_in_turns({name: (c.epoch, c.context) for name, c in everything.items()}, seconds)
    for threads in (1, 2):
        times[f"numba fit, {threads} thread{'s'[: threads - 1]}"] = fit_times(problem, threads, quick, fits)
    with everything["numba, 2 threads"].context():
        peak = peak_memory(everything["numba, 2 threads"].epoch)
    torch_best = min((percentile(t, 50) for name, t in times.items() if name.startswith("torch")), default=None)
    flops, rows = setting.flops(), []
    for name, values in times.items():
        median = percentile(values, 50)
        threads = int(name.split()[-2])
        rows.append(
            {
                **machine(),
                "threads": threads,
                "case": setting.title(),
                "activation": setting.activation,
                "dtype": problem.dtype.name,
                "backend": name.partition(",")[0],
                "p20": percentile(values, 20),
                "p50": median,
                "p80": percentile(values, 80),
                "ratio": torch_best / median if torch_best else float("nan"),
                "gflop": flops / 1e9,
                "gflop_s": flops / median / 1e9,
                "of_product_rate": flops / median / 1e9 / rates[problem.dtype.name, threads],
                "mbytes": setting.bytes(dtype) / 1e6,
                "peak_mbytes": peak / 1e6 if name.startswith("numba") else float("nan"),
            }
        )
    return rows


def regimes(seconds):
    """Each way on networks around the bounds between them: milliseconds of losses_and_gradient, one thread.

    "skinny, L" and "wide, L" are those of losses without a gradient.
    """
    from csrl_core.kernels.cpu import autoencoder as kernels

    choose, limit, rows = kernels.regime, kernels.SKINNY_LOSSES, []
    kernels.SKINNY_LOSSES = 1 << 20
    try:
        for d in (16, 32, 64, 128, 784):
            for h in (1, 2, 4, 6, 8, 16, 32):
                problem = Problem(Setting("", 2000, d, 4, (h, max(1, h // 2)), None), np.float32)
                kinds = ["small"] if d <= 128 else []
                kinds += ["skinny"] if d >= 16 and h <= 16 else []
                times = {}
                for kind in [*kinds, "wide"]:
                    kernels.regime = lambda layers, kind=kind: kind
                    contestant = Ours(problem, 1)
                    calls = {kind: contestant.losses_and_gradient, f"{kind}, L": contestant.losses}
                    calls = {name: (call, contestant.context) for name, call in calls.items()}
                    times |= time_in_turns(calls, seconds, 1, 0.0)
                row = {"d": d, "hidden": str(problem.setting.hidden), "chosen": choose(problem.table)}
                for kind in ("small", "skinny", "wide", "skinny, L", "wide, L"):
                    row[kind] = percentile(times[kind], 20) * 1e3 if kind in times else "-"
                rows.append(row)
    finally:
        kernels.regime, kernels.SKINNY_LOSSES = choose, limit
    print_table(rows, ["d", "hidden", "chosen", "small", "skinny", "wide", "skinny, L", "wide, L"])


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smoke run, nothing is appended")
    parser.add_argument("--regimes", action="store_true", help="time the kernels' regimes against each other")
    parser.add_argument("--dtype", choices=["float32", "float64", "both"], default="both")
    parser.add_argument("--case", choices=[s.name for s in SETTINGS])
    parser.add_argument("--activation", choices=["linear", "relu"], default="linear")
    parser.add_argument("--seconds", type=float, default=4.0, help="spent on each contestant")
    parser.add_argument("--fits", type=int, default=7, help="pairs of whole fits that are timed")
    options = parser.parse_args()
    if options.regimes:
        regimes(0.1)
        return
    if torch is None:
        print("torch is not installed: no peer to compare with (pip install 'csrl_core[oracle]')")
    dtypes = ["float32", "float64"] if options.dtype == "both" else [options.dtype]
    size = 512 if options.quick else 2048
    rates = {(dtype, threads): product_rate(dtype, threads, size) for dtype in dtypes for threads in (1, 2)}
    print("product rate, GFLOP/s:", {f"{d}, {t}": round(rate) for (d, t), rate in rates.items()})
    rows = []
    for setting in SETTINGS:
        if options.case in (None, setting.name):
            for dtype in dtypes:
                n = min(setting.n, 2000) if options.quick else setting.n
                setting_ = Setting(
                    *(setting.name, n, setting.d, setting.k, setting.hidden, setting.batch, options.activation)
                )
                seconds, fits = (0.2, 2) if options.quick else (options.seconds, options.fits)
                rows += run(setting_, dtype, seconds, options.quick, fits, rates)
    columns = ["case", "dtype", "backend", "threads", "p20", "p50", "p80", "ratio", "gflop", "gflop_s"]
    print_table(rows, [*columns, "of_product_rate", "mbytes", "peak_mbytes"])
    if not options.quick:
        print("appended to", append_rows("autoencoder", rows))


if __name__ == "__main__":
    main()
