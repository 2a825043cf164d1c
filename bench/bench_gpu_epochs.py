"""Seconds an epoch on the device: ours, torch's on the same device, and the CPU's.

Part of ``bench_gpu.py``. An epoch of tensorized autoencoders is everything: losses under all k clusters, the gradient
of the assigned column, Adam, assignments, centres. One of Boltzmann machines is that of ``bench_rbm.py``. Losses, or
statistics and reconstructions, of all contestants are compared before anything is timed.
"""

import time
from contextlib import contextmanager

import bench_rbm
import numpy as np
from common import percentile

from csrl_core import TensorizedAutoencoder
from csrl_core.experiments.demo import PAPERS  # what torch does here, too
from csrl_core.kernels.gpu import autoencoder

# n, d, k, hidden, batch
CASES = {
    "MNIST-like, (64, 10), full": (10000, 784, 10, (64, 10), None),
    "MNIST-like, (64, 10), 1000": (10000, 784, 10, (64, 10), 1000),
    "MNIST-like, (256, 32), full": (10000, 784, 10, (256, 32), None),
}
QUICK = {"small, full": (400, 20, 3, (6, 2), None), "small, 100": (400, 20, 3, (6, 2), 100)}
REG, RATE = 0.1, 1e-3


def ours(X, k, hidden, batch, name, count):
    """Times of ``count`` epochs of a fit, the first two left out, and its loss curve."""
    from csrl_core.callbacks import EpochCallback

    class Clock(EpochCallback):
        def __init__(self):
            self.at = []

        def on_epoch_end(self, estimator, epoch):
            self.at.append(time.perf_counter())

    clock = Clock()
    model = TensorizedAutoencoder(
        n_clusters=k, hidden=hidden, batch_size=batch, reg=REG, learning_rate=RATE, epochs=count + 2,
        random_state=0, backend=name, **PAPERS,
    )  # fmt: skip
    model.set_callbacks(clock).fit(X)
    return sorted(np.diff(clock.at)[1:].tolist()), model.loss_curve_, model


class Torch:
    """The same in torch: batched products over the clusters, autograd, fused Adam, centres from one-hot products."""

    def __init__(self, torch, X, start, k, batch, device):
        self.torch, self.k, self.batch = torch, k, batch or len(X)
        self.X = torch.as_tensor(X, device=device)
        named = start.named_parameters()
        self.weights = [torch.as_tensor(W.copy(), device=device).requires_grad_() for W in named.values()]
        self.assign = torch.as_tensor(start.state_["assign"].copy(), device=device)
        self.optimizer = torch.optim.Adam(self.weights, lr=RATE, fused=True)
        hot = self.hot(self.assign)
        self.sums, self.totals = hot.T @ self.X, hot.sum(0)
        self.centers()

    def hot(self, labels):
        return self.torch.nn.functional.one_hot(labels, self.k).to(self.X.dtype)

    def centers(self):
        self.C = self.sums / self.totals.clamp_min(1)[:, None]

    def losses(self, x):
        """L (b, k): the first layer is one product for all clusters, never k copies of centred data."""
        W, half = self.weights[0], len(self.weights) // 2
        k, d, h = W.shape
        y = (x @ W.permute(1, 0, 2).reshape(d, k * h)).reshape(-1, k, h).transpose(0, 1) - self.C[:, None] @ W
        for l, weight in enumerate(self.weights[1:], start=1):
            if l == half:
                z = y
            y = y @ weight
        residual = y - (x[None] - self.C[:, None])
        return (residual.square().mean(-1) + REG * z.square().sum(-1)).T

    def epoch(self):
        """One epoch; returns its mean loss."""
        n, torch = len(self.X), self.torch
        order, total = torch.randperm(n, device=self.X.device), 0.0
        for first in range(0, n, self.batch):
            rows = order[first : first + self.batch] if self.batch < n else slice(None)
            x, old = self.X[rows], self.assign[rows].clone()
            L = self.losses(x)
            self.optimizer.zero_grad()
            own = L.gather(1, old[:, None])
            own.mean().backward()
            self.optimizer.step()
            with torch.no_grad():
                new = L.argmin(1)
                self.assign[rows] = new
                change = self.hot(new) - self.hot(old)  # only what moved changes the sums over all samples
                self.sums += change.T @ x
                self.totals += change.sum(0)
                self.centers()
                total += float(own.sum())
        return total / n


def timed_torch(torch, X, start, k, batch, device, count):
    """Times of ``count`` epochs, and the first loss."""
    contestant, times = Torch(torch, X, start, k, batch, device), []
    first = contestant.epoch()
    contestant.epoch()
    for _ in range(count):
        begin = time.perf_counter()
        contestant.epoch()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return sorted(times), first


@contextmanager
def a_product_a_cluster():
    """Context in which clusters' gradients are never padded to one batched product: what that gains."""
    kept, autoencoder.LAUNCH_FLOPS = autoencoder.LAUNCH_FLOPS, 0.0
    try:
        yield
    finally:
        autoencoder.LAUNCH_FLOPS = kept


def epochs(b, quick, torch):
    """Rows of all cases and contestants."""
    rows = []
    for title, (n, d, k, hidden, batch) in (QUICK if quick else CASES).items():
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, d), np.float32) + 2 * rng.standard_normal((k, d), np.float32)[rng.integers(0, k, n)]
        X -= X.mean(axis=0)
        count, found = 3 if quick else 20, {}
        found["cupy"], curve, _ = ours(b.own(X), k, hidden, batch, b.name, count)
        with a_product_a_cluster():
            found["cupy, a product a cluster"], _, _ = ours(b.own(X), k, hidden, batch, b.name, count)
        found["numba"], theirs, _ = ours(X, k, hidden, batch, "numba", 3)
        # Batches of the first epoch differ from the second on: only its first value is comparable in every case.
        if not np.isclose(curve[0], theirs[0], rtol=1e-4):
            raise SystemExit(f"{title}: first losses are {curve[0]} on cupy and {theirs[0]} on numba")
        if torch is not None and torch.cuda.is_available():
            start = TensorizedAutoencoder(
                n_clusters=k, hidden=hidden, reg=REG, epochs=0, random_state=0, backend="numba", **PAPERS
            ).fit(X)
            found["torch"], first = timed_torch(torch, X, start, k, batch, "cuda", count)
            expected = start.value_and_gradient(X, start.state_["assign"])[0] / n
            if batch is None and not np.isclose(first, expected, rtol=1e-4):
                raise SystemExit(f"{title}: torch's first loss is {first}, ours {expected}")
        rows += table(title, found)
    return rows


def table(title, found):
    """A row for every contestant; found : name → sorted times, "cupy" among them."""
    ours = percentile(found["cupy"], 50)
    return [
        {"case": title, "backend": name, **{f"p{p}": percentile(times, p) for p in (20, 50, 80)}}
        | {"over_cupy": percentile(times, 50) / ours}
        for name, times in found.items()
    ]


QUICK_MACHINES = [
    bench_rbm.Setting("PCD-1", 1000, 784, 32, 1, 10),
    bench_rbm.Setting("TRBM CD-1", 1000, 784, 16, 3, 10),
]


def machines(b, quick, torch):
    """Rows of Boltzmann machines."""
    rows = []
    for setting in QUICK_MACHINES if quick else bench_rbm.SETTINGS:
        problem = bench_rbm.Problem(setting)
        contestants = {"cupy": bench_rbm.Ours(problem, None, b.name), "numba": bench_rbm.Ours(problem, None)}
        if torch is not None and torch.cuda.is_available():
            contestants["torch"] = bench_rbm.Torch(problem, 1, False, "bernoulli", "cuda")
        bench_rbm.validate(contestants, problem)
        wait = {"cupy": b.xp.cuda.Device().synchronize if b.on_device else None}
        wait |= {name: torch.cuda.synchronize for name in contestants if name.startswith("torch")}
        found = {}
        for name, contestant in contestants.items():
            with contestant.context():
                found[name] = epoch_times(contestant.epoch, wait.get(name), 3 if quick else 10)
        rows += table(setting.title(), found)
    return rows


def epoch_times(epoch, wait, count):
    """Sorted times of ``count`` epochs after one that warms up; wait : returns when the device is done, or None."""
    times = []
    for _ in range(count + 1):
        begin = time.perf_counter()
        epoch()
        if wait is not None:
            wait()
        times.append(time.perf_counter() - begin)
    return sorted(times[1:])
