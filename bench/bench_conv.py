"""Milliseconds of a convolution, forward and back, beside torch in the same run.

    python bench/bench_conv.py            # table, and rows appended to bench/results/conv.csv
    python bench/bench_conv.py --quick    # smoke run, seconds, nothing appended

128 images, float32. The gradient of the input is worked out but for single-channel layers, which are a network's first.
"limit" is what the three products of a layer would take at the machine's product rate on as many threads.
torch is timed with both of its memory layouts, and its faster one is what the ratio is to.
"""

import argparse
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from common import append_rows, machine, percentile, print_table, product_rate, time_in_turns

from csrl_core import backends
from csrl_core.reference.layers import Conv, TransposedConv, build

try:
    import torch
except ImportError:
    torch = None


@dataclass(frozen=True)
class Shape:
    """One layer."""

    name: str
    image: tuple
    layer: object

    @property
    def first(self):
        """Whether it is a network's first, whose input needs no gradient."""
        return self.image[0] == 1

    def flops(self, n):
        """2 a multiplication; forward, weights, and the input where its gradient is wanted."""
        built = build([self.layer], self.image, 1)
        pixels = self.image[1:] if isinstance(self.layer, TransposedConv) else built.output[1:]
        products = n * pixels[0] * pixels[1] * self.image[0] * self.layer.channels * self.layer.kernel**2
        return 2 * products * (2 if self.first else 3)


SHAPES = [
    Shape("3x3 stride 2, 1-32", (1, 32, 32), Conv(32, 3, 2, 1, "relu")),
    Shape("5x5 stride 2, 1-32", (1, 28, 28), Conv(32, 5, 2, 2, "relu")),
    Shape("5x5, 1-32", (1, 28, 28), Conv(32, 5, activation="relu")),
    Shape("3x3 stride 2, 32-64", (32, 16, 16), Conv(64, 3, 2, 1, "relu")),
    Shape("3x3 stride 2, 64-128", (64, 8, 8), Conv(128, 3, 2, 1, "relu")),
    Shape("5x5, 32-32", (32, 24, 24), Conv(32, 5, activation="relu")),
    Shape("5x5, 32-64", (32, 24, 24), Conv(64, 5, activation="relu")),
    Shape("3x3, 32-32", (32, 10, 10), Conv(32, 3, activation="relu")),
    Shape("3x3 same size, 32-32", (32, 28, 28), Conv(32, 3, 1, 1, "relu")),
    Shape("transposed 3x3 stride 2, 128-64", (128, 4, 4), TransposedConv(64, 3, 2, 1, 1, "relu")),
    Shape("transposed 3x3 stride 2, 64-32", (64, 8, 8), TransposedConv(32, 3, 2, 1, 1, "relu")),
    Shape("transposed 3x3 stride 2, 32-1", (32, 16, 16), TransposedConv(1, 3, 2, 1, 1)),
]


class Ours:
    """The layer as a network of its own."""

    def __init__(self, shape, n, threads, dtype=np.float32):
        random = np.random.default_rng(0)
        self.built, self.threads, self.wanted = build([shape.layer], shape.image, 1), threads, not shape.first
        self.kernels = backends.get("numba").network
        self.params = (random.uniform(-1, 1, self.built.size) * 0.1).astype(dtype)
        self.X = random.standard_normal((n, int(np.prod(shape.image)))).astype(dtype)
        self.G = random.standard_normal((n, int(np.prod(self.built.output)))).astype(dtype)
        self.bounds, self.state, self.gradient = np.array([0, n]), np.empty(0, dtype), np.empty_like(self.params)

    def context(self):
        """Threads as in a fit."""
        return backends.get("numba").threads(self.threads)

    def run(self):
        """(output, gradient of the parameters, gradient of the input or nothing)."""
        network = self.built.network
        out, tape, _ = self.kernels.forward(self.params, network, self.X, self.bounds, self.state, True, None)
        back = self.X, tape, self.G, self.bounds, True, None, self.wanted, self.gradient
        return out, self.gradient, self.kernels.backward(self.params, network, *back)


class Torch:
    """The same numbers."""

    def __init__(self, shape, ours, threads, layout):
        self.threads, self.wanted = threads, not shape.first
        layer, channels = shape.layer, shape.image[0]
        flat = torch.from_numpy(ours.params)
        how = {"dtype": flat.dtype, "kernel_size": layer.kernel, "stride": layer.stride, "padding": layer.padding}
        if isinstance(layer, TransposedConv):
            self.layer = torch.nn.ConvTranspose2d(channels, layer.channels, output_padding=layer.output_padding, **how)
        else:
            self.layer = torch.nn.Conv2d(channels, layer.channels, **how)
        self.relu = layer.activation == "relu"
        with torch.no_grad():
            self.layer.weight.copy_(flat[: self.layer.weight.numel()].reshape(self.layer.weight.shape))
            self.layer.bias.copy_(flat[self.layer.weight.numel() :])
        layout = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}[layout]
        self.layer = self.layer.to(memory_format=layout)
        n = len(ours.X)
        self.X = torch.from_numpy(ours.X).reshape(n, *shape.image).contiguous(memory_format=layout)
        self.G = torch.from_numpy(ours.G).reshape(n, *ours.built.output).contiguous(memory_format=layout)
        self.X.requires_grad_(self.wanted)

    @contextmanager
    def context(self):
        """So many threads."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def run(self):
        """(output, gradient of weights, of biases, of the input or None)."""
        Y = self.layer(self.X)
        Y = torch.relu(Y) if self.relu else Y
        inputs = [self.layer.weight, self.layer.bias, *([self.X] if self.wanted else [])]
        return Y, *torch.autograd.grad(Y, inputs, self.G)


def check(shape, n, threads, layout):
    """Raise where the two do not agree, in float64: at the kink of relu rounding decides on whole gradients."""
    ours = Ours(shape, n, threads, np.float64)
    theirs = Torch(shape, ours, threads, layout)
    out, gradient, dX = ours.run()
    Y, dW, db, *rest = (array.detach().contiguous().numpy() for array in theirs.run())
    pairs = [(out, Y), (gradient, np.concatenate([dW.ravel(), db.ravel()])), *((dX, array) for array in rest)]
    for own, other in pairs:
        np.testing.assert_allclose(own.ravel(), other.ravel(), rtol=1e-9, atol=1e-9 * np.abs(other).max())


def measure(shape, n, threads, seconds, rate):
    """A row of results."""
    ours = Ours(shape, n, threads)
    contestants = {"numba": (ours.run, ours.context)}
    if torch is not None:
        for layout in ("contiguous", "channels last"):
            theirs = Torch(shape, ours, threads, layout)
            check(shape, n, threads, layout)
            contestants[layout] = theirs.run, theirs.context
    ours.run()
    times = time_in_turns(contestants, seconds)
    ms = {name: 1e3 * percentile(values, 50) for name, values in times.items()}
    best = min((ms[name] for name in ms if name != "numba"), default=float("nan"))
    limit = 1e3 * shape.flops(n) / (rate * 1e9)
    return {
        **{"shape": shape.name, "n": n, "threads": threads, "ms": round(ms["numba"], 4)},
        "torch contiguous ms": round(ms.get("contiguous", float("nan")), 4),
        "torch channels last ms": round(ms.get("channels last", float("nan")), 4),
        "ratio": round(best / ms["numba"], 3),
        "GFLOP/s": round(shape.flops(n) / ms["numba"] / 1e6, 1),
        "product GFLOP/s": round(rate, 1),
        "part of the limit": round(limit / ms["numba"], 3),
        "torch part of the limit": round(limit / best, 3),
    }


def main():
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two shapes, few images, nothing appended")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="spent on each contestant")
    parser.add_argument("--only", default="", help="shapes whose name has this in it")
    parser.add_argument("--dry", action="store_true", help="append nothing")
    options = parser.parse_args()
    n, seconds = (8, 0.05) if options.quick else (128, options.seconds)
    shapes = [shape for shape in (SHAPES[2:4] if options.quick else SHAPES) if options.only in shape.name]
    rows = []
    for threads in options.threads:
        with nullcontext():
            rate = product_rate(np.float32, threads)
        rows += [{**measure(shape, n, threads, seconds, rate), **machine()} for shape in shapes]
    print_table(rows, [name for name in rows[0] if name not in machine()])
    if not (options.quick or options.dry):
        print(append_rows("conv", rows))


if __name__ == "__main__":
    main()
