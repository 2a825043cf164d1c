"""Milliseconds of instance discrimination beside torch in the same run: losses with their gradient, and whole epochs.

    python bench/bench_instance.py            # table, and rows appended to bench/results/instance.csv
    python bench/bench_instance.py --quick    # smoke run, seconds, nothing appended

losses    of a batch of 128 against a memory bank of 10,000, with decorrelation; float32, D = 16 and 128
epoch     79 batches: other views of 28 × 28 images, the network forward and back, losses, Adam, the memory bank
torch's losses are vectorised (cross entropy of b × n logits), its views are grid_sample of affine and smoothed random
fields made for the whole batch.
"""

import argparse
import math
from contextlib import contextmanager

import numpy as np
from common import append_rows, machine, percentile, print_table, time_in_turns

from csrl_core import backends
from csrl_core.models.architectures import instance_parts
from csrl_core.models.instance import InstanceModel, Losses
from csrl_core.models.network import Networks
from csrl_core.reference.augment import Augmentation
from csrl_core.training.batch import BatchObjective
from csrl_core.training.loop import Trainer
from csrl_core.training.run import Batch, Settings

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    torch = None

BATCH, SIDE, LATENT, TAU_2 = 128, 28, 16, 2.0
VIEWS = Augmentation(shift=2.0, rotation=15.0, scale=0.1, elastic=42.0, smoothing=5.0)


def unit(array):
    """Rows of unit norm, float32."""
    return (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32)


class OurLosses:
    """Both losses and their gradient, by the kernels."""

    def __init__(self, n, D):
        random, self.kernel = np.random.default_rng(0), backends.get("numba").instance
        self.bank, self.Z = unit(random.normal(size=(n, D))), unit(random.normal(size=(BATCH, D)))
        self.index, self.weights = random.permutation(n)[:BATCH], np.ones(n, np.float32)
        self.none, self.none_here = np.empty((n, 0), np.float32), np.empty((BATCH, 0), np.float32)

    def run(self):
        """(mean loss, gradient (b, D))."""
        arguments = self.Z, self.index, self.bank, self.weights, 1.0, self.none, 1.0
        L, G = self.kernel.discrimination(*arguments)
        value, H = self.kernel.decorrelation(self.Z, self.weights[self.index], TAU_2, self.none_here)
        return float(L.mean()) + value, G / BATCH + H


def torch_loss(V, index, bank):
    """Both losses."""
    columns = F.normalize(V, dim=0)
    return F.cross_entropy(V @ bank.T, index) + F.cross_entropy(columns.T @ columns / TAU_2, torch.arange(V.shape[1]))


class TorchLosses:
    """The same numbers."""

    def __init__(self, ours):
        self.Z, self.bank = torch.from_numpy(ours.Z).requires_grad_(), torch.from_numpy(ours.bank)
        self.index = torch.from_numpy(ours.index)

    def run(self):
        """(mean loss, gradient (b, D))."""
        loss = torch_loss(self.Z, self.index, self.bank)
        return float(loss.detach()), torch.autograd.grad(loss, self.Z)[0]


class OurEpoch:
    """An epoch as the estimator trains it."""

    def __init__(self, X, conv):
        backend, n = backends.get("numba"), len(X)
        widths = (32, 64, 128) if conv else (512, 256)
        networks = Networks(instance_parts((1, SIDE, SIDE), widths, LATENT, conv), 1)
        model = InstanceModel(backend, networks, (1, SIDE, SIDE), VIEWS, Losses(1.0, TAU_2, 1.0, 0.5))
        objective = BatchObjective(model, backend, 10, np.array([1, 2], np.uint32))
        data = Batch(X, X, np.arange(n), np.ones(n, X.dtype))
        self.trainer = Trainer(objective, data, Settings(1, BATCH, "adam", 0.001), backend)
        self.start = lambda: objective.start(data, 0)
        self.runs = None

    def run(self):
        """The mean loss of the next epoch."""
        self.runs = self.runs or self.start()
        self.runs.epoch = 0
        return self.trainer.train(self.runs).loss_curve[-1]


class TorchEpoch:
    """The same network, views, losses and steps, every batch's made at once."""

    def __init__(self, X, conv):
        torch.manual_seed(0)
        self.X, self.conv = torch.from_numpy(X), conv
        layers = []
        if conv:
            for (kernel, stride, padding), (fan_in, fan_out) in zip(
                ((5, 2, 2), (3, 2, 1), (3, 1, 0)), ((1, 32), (32, 64), (64, 128)), strict=True
            ):
                layers += [nn.Conv2d(fan_in, fan_out, kernel, stride, padding, bias=False), nn.BatchNorm2d(fan_out)]
                layers += [nn.ReLU()]
            layers += [nn.Flatten(), nn.Linear(3200, LATENT)]
        else:
            layers = [nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU()]
            layers += [nn.Linear(256, LATENT)]
        self.network, self.bank = nn.Sequential(*layers), None
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.001)
        taps = torch.arange(-20, 21).float()
        kernel = torch.exp(-0.5 * (taps / VIEWS.smoothing) ** 2)
        self.gauss = kernel / kernel.sum()

    def views(self, x):
        """Other views of a batch (b, 1, 28, 28)."""
        b = len(x)
        u = 2 * torch.rand(b, 5) - 1
        angle, scales = math.radians(VIEWS.rotation) * u[:, 0], torch.exp(VIEWS.scale * u[:, 1:3])
        cos, sin = torch.cos(angle), torch.sin(angle)
        shift = VIEWS.shift * u[:, 3:] * 2 / SIDE
        rows = [torch.stack([scales[:, 0] * cos, -scales[:, 0] * sin, shift[:, 0]], 1)]
        rows += [torch.stack([scales[:, 1] * sin, scales[:, 1] * cos, shift[:, 1]], 1)]
        grid = F.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
        field = 2 * torch.rand(2 * b, 1, SIDE, SIDE) - 1
        for shape in ((1, 1, 41, 1), (1, 1, 1, 41)):
            padding = (20, 0) if shape[2] > 1 else (0, 20)
            field = F.conv2d(field, self.gauss.reshape(shape), padding=padding)
        field = field.reshape(b, 2, SIDE, SIDE).permute(0, 2, 3, 1) * (VIEWS.elastic * 2 / SIDE)
        return F.grid_sample(x, grid + field, align_corners=False)

    def run(self):
        """The mean loss of the next epoch."""
        n, total = len(self.X), 0.0
        images = self.X.reshape(-1, 1, SIDE, SIDE)
        if self.bank is None:
            with torch.no_grad():
                self.bank = F.normalize(self.network.eval()(images))
            self.network.train()
        order = torch.randperm(n)
        for first in range(0, n, BATCH):
            index = order[first : first + BATCH]
            V = F.normalize(self.network(self.views(images[index])))
            loss = torch_loss(V, index, self.bank)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.bank[index] = F.normalize(0.5 * self.bank[index] + 0.5 * V.detach())
            total += float(loss.detach()) * len(index)
        return total / n


@contextmanager
def torch_threads(threads):
    """So many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(name, ours, theirs, threads, seconds):
    """A row of results; theirs : None without torch."""
    contestants = {"numba": (ours.run, lambda: backends.get("numba").threads(threads))}
    own = ours.run()
    if theirs is not None:
        contestants["torch"] = theirs.run, lambda: torch_threads(threads)
        other = theirs.run()
        if isinstance(own, tuple):
            np.testing.assert_allclose(own[0], other[0], rtol=1e-5)
            np.testing.assert_allclose(own[1], other[1].numpy(), atol=1e-6)
        else:  # other random numbers
            np.testing.assert_allclose(own, other, rtol=0.05)
    times = time_in_turns(contestants, seconds)
    ms = {contestant: 1e3 * percentile(values, 50) for contestant, values in times.items()}
    row = {"what": name, "threads": threads, "ms": round(ms["numba"], 3)}
    best = ms.get("torch", float("nan"))
    return row | {"torch ms": round(best, 3), "ratio": round(best / ms["numba"], 3)}


def main():
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images, nothing appended")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="spent on each contestant of losses")
    parser.add_argument("--epoch-seconds", type=float, default=12.0, help="spent on each contestant of epochs")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--dry", action="store_true", help="append nothing")
    options = parser.parse_args()
    n, seconds, epochs = (400, 0.05, 0.05) if options.quick else (10_000, options.seconds, options.epoch_seconds)
    X = np.random.default_rng(0).random((n, SIDE * SIDE)).astype(np.float32)
    rows = []
    for threads in options.threads:
        for D in (16, 128):
            if options.only in f"losses, D = {D}":
                ours = OurLosses(n, D)
                theirs = TorchLosses(ours) if torch else None
                rows.append(measure(f"losses, D = {D}", ours, theirs, threads, seconds))
        for name, conv in (("epoch, dense", False), ("epoch, conv", True)):
            if options.only in name:
                theirs = TorchEpoch(X, conv) if torch else None
                rows.append(measure(name, OurEpoch(X, conv), theirs, threads, epochs))
    rows = [{**row, "n": n, "batch": BATCH, **machine()} for row in rows]
    print_table(rows, ["what", "threads", "ms", "torch ms", "ratio"])
    if not (options.quick or options.dry):
        print(append_rows("instance", rows))


if __name__ == "__main__":
    main()
