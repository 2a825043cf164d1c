"""Distances of tensors and their gradient, and an epoch of DDC, beside torch: ``python bench/bench_divergence.py``.

A batch of 120 block outputs of 32 × 20 × 20 (--samples, --shape), float32: D (n, n), and the gradient of Σ G D for a
given G. Contestants in one run, on equally many threads:

    numba         csrl_core.kernels.cpu.divergence
    torch eigh    orthonormal bases from linalg.eigh of X Xᵀ, D = Σ 2 (R − ‖V_aᵀV_b‖²), gradient by autograd
    torch plain   the gradient by hand as well, factors from a Cholesky decomposition, all pairs in one product

``part of the limit``: what the flops of the form that is taken would need at the machine's product rate on as many
threads, over what they took. Tiles on the diagonal, done whole, count as half, flops of float64 as others.

An epoch of DDC, 3000 images in batches of 120 (`bench/divergence_epoch.py`; --epoch: nothing else), goes to
bench/results/divergence_epoch.csv.
"""

import argparse
from contextlib import contextmanager

import numpy as np
from common import append_rows, machine, percentile, print_table, product_rate, time_in_turns
from divergence_epoch import OurEpoch, TorchEpoch, images
from divergence_epoch import check as check_epoch

from csrl_core import backends
from csrl_core.reference import divergence as reference

try:
    import torch
except ImportError:
    torch = None

EPS = 1e-6


def problem(n, shape):
    """(Y, G, ridge): outputs of a ReLU, a gradient with respect to D, ε."""
    random = np.random.default_rng(0)
    Y = np.maximum(random.standard_normal((n, int(np.prod(shape)))), 0).astype(np.float32)
    G = (random.standard_normal((n, n)) / n**2).astype(np.float32)
    return Y, G, reference.ridges(Y, shape, EPS)


def ours(Y, G, shape, ridge):
    """(D, gradient)."""
    kernels = backends.get("numba").divergence
    return kernels.tensor_distances(Y, shape, ridge), kernels.tensor_distances_gradient(G, Y, shape, ridge)


def matrices(Y, shape, mode):
    """X (n, R, m) of a torch tensor."""
    X = torch.movedim(Y.reshape(len(Y), *shape), 1 + mode, 1).reshape(len(Y), shape[mode], -1)
    return X if X.shape[1] <= X.shape[2] else X.transpose(1, 2)


def torch_eigh(Y, G, shape):
    """(D, gradient), the gradient by autograd."""
    Y, n, D = Y.detach().requires_grad_(), len(Y), 0
    for mode in range(len(shape)):
        X = matrices(Y, shape, mode)
        values, vectors = torch.linalg.eigh(X @ X.transpose(1, 2))
        V = (vectors / values.sqrt()[:, None]).transpose(1, 2) @ X
        flat, R = V.reshape(-1, V.shape[2]), V.shape[1]
        D = D + 2 * (R - (flat @ flat.T).square().reshape(n, R, n, R).sum(dim=(1, 3)))
    (gradient,) = torch.autograd.grad(D, Y, G)
    return D.detach(), gradient


def torch_plain(Y, G, shape, ridge):
    """(D, gradient), the gradient by hand."""
    with torch.no_grad():
        n, S, dY, T = len(Y), 0, torch.zeros_like(Y).reshape(len(Y), *shape), G + G.T
        C = 2 * (torch.diag(T.sum(dim=1)) - T)
        for mode in range(len(shape)):
            X = matrices(Y, shape, mode).contiguous()
            R, m = X.shape[1:]
            L = torch.linalg.cholesky(X @ X.transpose(1, 2) + ridge[mode][:, None, None] * torch.eye(R))
            V = torch.linalg.solve_triangular(L, X, upper=False)
            flat = V.reshape(-1, m)
            W = flat @ flat.T
            S = S + W.square().reshape(n, R, n, R).sum(dim=(1, 3))
            VB = ((W.reshape(n, R, n, R) * C[:, None, :, None]).reshape(n * R, n * R) @ flat).reshape(V.shape)
            Z = VB - VB @ V.transpose(1, 2) @ V
            dX = 2 * torch.linalg.solve_triangular(L.transpose(1, 2), Z, upper=True)
            dX = dX if shape[mode] == R else dX.transpose(1, 2)
            rest = [*shape[:mode], *shape[mode + 1 :]]
            dY += torch.movedim(dX.reshape(n, shape[mode], *rest), 1, 1 + mode)
        s = torch.diagonal(S)
        return s[:, None] + s - 2 * S, dY.reshape(Y.shape)


@contextmanager
def torch_threads(threads):
    """So many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def flops(n, shape):
    """2 a multiplication: of the traces, of V B, of V and of what goes through it, of every mode."""
    total, d = 0, int(np.prod(shape))
    for size in shape:
        R, m = min(size, d // size), max(size, d // size)
        # Projections are made twice, for distances and gradient; symmetric ones and symmetric products half.
        projections = n * n * m * m / 2 + n * n * m * m + (2 / 2 + 2 / 2 + 2) * n * R * m * m
        factors = n * n * R * R * m * (1 + 4)
        total += (projections if m <= 2 * R * R else factors) + 2 * (1 + 2 + 2) * n * R * R * m
    return total


def check(one, other):
    """Raise where (D, gradient) are not the same but for float32's roundings and what ε makes of them."""
    for own, theirs in zip(one, other, strict=True):
        theirs = theirs.numpy() if torch is not None and isinstance(theirs, torch.Tensor) else theirs
        np.testing.assert_allclose(own, theirs, rtol=0, atol=1e-3 * np.abs(theirs).max())


def measure(n, shape, threads, seconds, rate):
    """A row of results."""
    Y, G, ridge = problem(n, shape)
    with backends.get("numba").threads(threads):
        found = ours(Y, G, shape, ridge)
    contestants = {"numba": (lambda: ours(Y, G, shape, ridge), lambda: backends.get("numba").threads(threads))}
    if torch is not None:
        tensors = [torch.from_numpy(array) for array in (Y, G, ridge)]
        for name, run in (
            ("torch eigh", lambda: torch_eigh(*tensors[:2], shape)),
            ("torch plain", lambda: torch_plain(*tensors[:2], shape, tensors[2])),
        ):
            check(found, run())
            contestants[name] = run, lambda: torch_threads(threads)
    times = time_in_turns(contestants, seconds)
    s = {name: percentile(values, 50) for name, values in times.items()}
    eigh, plain = (s.get(name, float("nan")) for name in ("torch eigh", "torch plain"))
    return {
        **{"samples": n, "shape": "x".join(map(str, shape)), "threads": threads, "ms": round(1e3 * s["numba"], 3)},
        **{"torch eigh ms": round(1e3 * eigh, 3), "torch plain ms": round(1e3 * plain, 3)},
        **{"eigh / numba": round(eigh / s["numba"], 3), "plain / numba": round(plain / s["numba"], 3)},
        "GFLOP": round(flops(n, shape) / 1e9, 2),
        "product GFLOP/s": round(rate, 1),
        "part of the limit": round(flops(n, shape) / 1e9 / rate / s["numba"], 3),
    }


def measure_epoch(n, threads, seconds, rounds=3):
    """A row of results of epochs."""
    X = images(n)
    with backends.get("numba").threads(threads):
        ours = OurEpoch(X)
        ours.first_batch()
    contestants = {"numba": (ours, lambda: backends.get("numba").threads(threads))}
    if torch is not None:
        with torch_threads(threads):
            theirs = TorchEpoch(X)
            check_epoch(ours, theirs)
        contestants["torch"] = theirs, lambda: torch_threads(threads)
    times = time_in_turns(contestants, seconds, rounds)
    s = {name: percentile(values, 50) for name, values in times.items()}
    row = {"images": n, "threads": threads, "s": round(s["numba"], 3), "torch s": round(s.get("torch", np.nan), 3)}
    return row | {"torch / numba": round(s.get("torch", np.nan) / s["numba"], 3)}


def main():
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small batch, nothing appended")
    parser.add_argument("--samples", type=int, default=120)
    parser.add_argument("--shape", type=int, nargs="+", default=[32, 20, 20])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="spent on each contestant")
    parser.add_argument("--epoch", action="store_true", help="epochs of DDC alone")
    parser.add_argument("--dry", action="store_true", help="append nothing")
    options = parser.parse_args()
    n, shape = (12, (8, 5, 5)) if options.quick else (options.samples, tuple(options.shape))
    tables, seconds = {"divergence": [], "divergence_epoch": []}, 0.1 if options.quick else options.seconds
    for threads in options.threads:
        if not options.epoch:
            rate = product_rate(np.float32, threads)
            tables["divergence"].append({**measure(n, shape, threads, seconds, rate), **machine()})
        row = measure_epoch(240 if options.quick else 3000, threads, seconds)
        tables["divergence_epoch"].append({**row, **machine()})
    for name, rows in tables.items():
        if rows:
            print_table(rows, [column for column in rows[0] if column not in machine()])
        if rows and not (options.quick or options.dry):
            print(append_rows(name, rows))


if __name__ == "__main__":
    main()
