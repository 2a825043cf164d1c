"""Milliseconds of the augmentation of 1000 images, and of an epoch of `TensorizedContrastive`, beside SciPy and torch.

    python bench/bench_contrastive.py            # table, and rows appended to bench/results/contrastive.csv
    python bench/bench_contrastive.py --quick    # smoke run, seconds, nothing appended

28 × 28 images, float32, peers in the same run on as many threads. "SciPy": a loop over images of gaussian_filter and
map_coordinates. "torch": the same vectorised, with a separable convolution and grid_sample; "grid_sample alone" has its
grids given. An epoch: 1000 images in batches of 128, five encoders 784-256-128 with batch normalisation, both views
changed, and the assignment at its end.
"""

import argparse
from contextlib import contextmanager, nullcontext

import numpy as np
from common import append_rows, machine, percentile, print_table, time_in_turns
from scipy.ndimage import gaussian_filter, map_coordinates

from csrl_core import TensorizedContrastive, backends
from csrl_core.reference.augment import Augmentation

try:
    import torch
    from torch.nn import functional
except ImportError:
    torch = None

OPTIONS = Augmentation(shift=2.0, rotation=15.0, scale=0.1, elastic=42.0, smoothing=5.0)
KEY, SIDE = np.array([1, 2], np.uint32), 28


def images(n):
    """Blurred squares, (n, 784) float32."""
    X = np.random.default_rng(0).random((n, SIDE, SIDE)).astype(np.float32)
    return np.stack([gaussian_filter(x, 2) for x in X]).reshape(n, -1)


def scipy_loop(X, random):
    """One image after the other."""
    out, c = np.empty_like(X), (SIDE - 1) / 2
    y, x = np.mgrid[:SIDE, :SIDE] - c
    for i, image in enumerate(X.reshape(-1, SIDE, SIDE)):
        t, angle, a = random.uniform(-2, 2, 2), np.deg2rad(random.uniform(-15, 15)), random.uniform(-0.1, 0.1, 2)
        field = random.uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32)
        D = [42 * gaussian_filter(part, 5, mode="constant") for part in field]
        cos, sin = np.cos(angle), np.sin(angle)
        places = [
            c + t[0] + np.exp(a[0]) * (cos * y - sin * x) + D[0],
            c + t[1] + np.exp(a[1]) * (sin * y + cos * x) + D[1],
        ]
        out[i] = map_coordinates(image, places, order=1, mode="grid-constant").ravel()
    return out


class TorchViews:
    """The same, all images at once."""

    def __init__(self):
        reach = np.arange(-20, 21)
        g = np.exp(-0.5 * (reach / 5.0) ** 2)
        self.g = torch.tensor(g / g.sum(), dtype=torch.float32)
        self.base = functional.affine_grid(torch.eye(2, 3)[None], (1, 1, SIDE, SIDE), align_corners=True)

    def grids(self, n):
        """Places (n, h, w, 2) in [−1, 1], x before y."""
        u = torch.rand(n, 5) * 2 - 1
        angle, a, t = np.deg2rad(15) * u[:, 0], torch.exp(0.1 * u[:, 1:3]), 2 * u[:, 3:] / ((SIDE - 1) / 2)
        cos, sin = torch.cos(angle), torch.sin(angle)
        theta = torch.stack([cos, sin, t[:, 0], -sin, cos, t[:, 1]], 1).reshape(n, 2, 3)
        theta[:, :, :2] *= a[:, :, None]
        grid = functional.affine_grid(theta, (n, 1, SIDE, SIDE), align_corners=True)
        field = torch.rand(2 * n, 1, SIDE, SIDE) * 2 - 1
        field = functional.conv2d(field, self.g[None, None, :, None], padding=(20, 0))
        field = functional.conv2d(field, self.g[None, None, None], padding=(0, 20))
        return grid + 42 / ((SIDE - 1) / 2) * field.reshape(n, 2, SIDE, SIDE).permute(0, 2, 3, 1)

    def sample(self, X, grids):
        """Images at the grids' places."""
        return functional.grid_sample(X, grids, align_corners=True, padding_mode="zeros")

    def __call__(self, X):
        return self.sample(X, self.grids(len(X)))


class TorchEpoch:
    """Five encoders, trained and assigned as ours are."""

    def __init__(self, X, k=5):
        self.X, self.k, self.views = torch.tensor(X), k, TorchViews()
        self.nets = torch.nn.ModuleList(
            torch.nn.Sequential(
                *(torch.nn.Linear(784, 256, bias=False), torch.nn.BatchNorm1d(256), torch.nn.ReLU()),
                torch.nn.Linear(256, 128),
            )
            for _ in range(k)
        )
        self.adam = torch.optim.Adam(self.nets.parameters(), 1e-3)
        self.s = torch.randint(0, k, (len(X),))

    def __call__(self):
        normalize = functional.normalize
        self.nets.train()
        for rows in torch.randperm(len(self.X)).split(128):
            X, s, n = self.X[rows].reshape(-1, 1, SIDE, SIDE), self.s[rows], len(rows)
            both = torch.cat([self.views(X), self.views(X)]).reshape(2 * n, -1)
            E = torch.stack([normalize(net(both)) for net in self.nets])
            other = (s[:, None] != s[None]).float() + 1e-9
            negative = torch.multinomial(other, 1)[:, 0]
            own, i = E[s], torch.arange(n)
            u, p, m = own[i, i], own[i, n + i], own[i, negative]
            loss = (u * (m - p)).sum(1).mean()
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        self.nets.eval()
        with torch.no_grad():
            E = torch.stack([normalize(net(self.X)) for net in self.nets], 1)
            M = torch.stack([E[self.s == j, j].mean(0) for j in range(self.k)])
            self.s = (E * M).sum(2).argmax(1)


@contextmanager
def torch_threads(threads):
    """So many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check(X):
    """Raise where ours is not what SciPy makes of the same numbers."""
    from csrl_core.reference import augment

    rows = np.arange(len(X))
    got = backends.get("numba").augment.augment(X, (1, SIDE, SIDE), OPTIONS, KEY, 22, 0, rows)
    wanted = augment.augment(X.astype(np.float64), (1, SIDE, SIDE), OPTIONS, KEY, 22, 0, rows)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def measure_augmentation(n, threads, seconds):
    """A row of results."""
    X, backend, random = images(n), backends.get("numba"), np.random.default_rng(0)
    check(X[:20])
    rows = np.arange(n)

    def ours():
        return backend.augment.augment(X, (1, SIDE, SIDE), OPTIONS, KEY, 22, 0, rows)

    contestants = {"numba": (ours, lambda: backend.threads(threads))}
    contestants["SciPy"] = (lambda: scipy_loop(X, random), nullcontext)
    if torch is not None:
        views, T = TorchViews(), torch.tensor(X).reshape(n, 1, SIDE, SIDE)
        grids = views.grids(n)
        contestants["torch"] = (lambda: views(T), lambda: torch_threads(threads))
        contestants["grid_sample alone"] = (lambda: views.sample(T, grids), lambda: torch_threads(threads))
    return _row(f"augment {n} images", threads, contestants, seconds)


def measure_epoch(n, threads, seconds):
    """A row of results: ours is the difference of fits of nine and of one epochs, a time an epoch."""
    X = images(n)

    def fit(epochs):
        return TensorizedContrastive(
            n_clusters=5, image_shape=(SIDE, SIDE), epochs=epochs, init="random", standing_epochs=0, n_jobs=threads,
            random_state=0,
        ).fit(X)  # fmt: skip

    fit(1)
    contestants = {"eight epochs more": (lambda: fit(9), nullcontext), "one epoch": (lambda: fit(1), nullcontext)}
    if torch is not None:
        contestants["torch"] = TorchEpoch(X), lambda: torch_threads(threads)
    times = {name: 1e3 * percentile(t, 50) for name, t in time_in_turns(contestants, seconds, rounds=3).items()}
    ours = (times["eight epochs more"] - times["one epoch"]) / 8
    return _named(f"epoch of {n} images", threads, {"numba": ours, "torch": times.get("torch", float("nan"))})


def _row(what, threads, contestants, seconds):
    for function, context in contestants.values():
        with context():
            function()
    times = {name: 1e3 * percentile(values, 50) for name, values in time_in_turns(contestants, seconds).items()}
    return _named(what, threads, times)


def _named(what, threads, times):
    row = {"what": what, "threads": threads}
    for name in ("numba", "SciPy", "torch", "grid_sample alone"):
        row[f"{name} ms"] = round(times.get(name, float("nan")), 3)
    return row | {f"{name} / numba": round(row[f"{name} ms"] / row["numba ms"], 2) for name in ("SciPy", "torch")}


def main():
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, one thread, nothing appended")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each contestant")
    parser.add_argument("--only", choices=("augment", "epoch"), help="one of the two measurements")
    given = parser.parse_args()
    n, seconds, threads = (64, 0.1, [1]) if given.quick else (1000, given.seconds, given.threads)
    what = {"augment": measure_augmentation, "epoch": measure_epoch}
    rows = [
        measure(n, each, seconds) | machine()
        for name, measure in what.items()
        if given.only in (None, name)
        for each in threads
    ]
    print_table(rows, [name for name in rows[0] if name not in machine()])
    if not given.quick:
        print(append_rows("contrastive", rows))


if __name__ == "__main__":
    main()
