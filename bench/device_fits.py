"""Whole fits on a device beside the Numba backend's: same seed, same data.

    python bench/device_fits.py                      # backend "cupy", data on the host and on the device
    python bench/device_fits.py --backend emulated   # without a device, smaller

Prints a table, writes it to fits.csv in bench/results (or where CSRL_RESULTS says), and exits with 1 where a fit
is not the other's. In float64 curves may differ by rounding. In float32 a machine's bit falls the other way now and
then, where a probability lies within rounding of its number, and from there on the two are different samples of one
distribution: see TOLERANCES.
"""

import argparse
import time

import numpy as np
from common import append_rows, machine, print_table

from csrl_core import TensorizedAutoencoder, TensorizedRBM, datasets
from csrl_core import backends as backend

# Relative differences of the loss curve: of autoencoders, of machines.
TOLERANCES = {"float64": (1e-8, 1e-8), "float32": (1e-3, 2e-2)}
LABELS = {"float64": 1.0, "float32": 0.99}  # labels that must be the same


def models(epochs):
    """Name → (class, arguments, whether it wants numbers in [0, 1])."""
    ae, rbm = {"epochs": epochs, "random_state": 0}, {"epochs": epochs, "random_state": 0, "n_hidden": 24}
    papers = {**ae, "n_clusters": 3, "hidden": (8, 2), "assignment": "loss", "start": "uniform", "init": "k-means++"}
    # The data have 20 features: images of 2 × 2 pixels with five channels.
    conv = {**ae, "n_clusters": 3, "architecture": "conv", "channels": (8,), "image_shape": (5, 2, 2)}
    return {
        "TAE, defaults": (TensorizedAutoencoder, {**ae, "n_clusters": 3}, False),
        "TAE, full batch": (TensorizedAutoencoder, papers, False),
        "TAE, batches": (TensorizedAutoencoder, {**papers, "batch_size": 64}, False),
        "PTAE, tanh, bias": (
            TensorizedAutoencoder,
            {**ae, "n_clusters": 3, "hidden": (8, 3), "shared": 1, "activation": "tanh", "bias": True},
            False,
        ),
        "TAE, likelihood, exact": (
            TensorizedAutoencoder,
            {**ae, "n_clusters": 3, "hidden": (2,), "assignment": "likelihood", "solver": "exact", "reg": 0.0},
            False,
        ),
        "TAE, conv": (TensorizedAutoencoder, {**conv, "standing_epochs": 3}, False),
        "PTAE, conv, no centres": (TensorizedAutoencoder, {**conv, "shared": 1, "center": False}, False),
        "TRBM, CD": (TensorizedRBM, {**rbm, "n_clusters": 3, "assignment": "cd", "batch_size": 64}, True),
        "TRBM, defaults": (TensorizedRBM, {**rbm, "n_clusters": 2}, True),
        "TRBM, CD, likelihood": (
            TensorizedRBM,
            {**rbm, "n_clusters": 2, "batch_size": 100, "standing_epochs": 1, "learning_rate": 0.001},
            True,
        ),
        "TRBM, PCD": (TensorizedRBM, {**rbm, "n_clusters": 2, "persistent": True, "batch_size": 100}, True),
        "TRBM, Gaussian": (TensorizedRBM, {**rbm, "n_clusters": 2, "visible": "gaussian", "batch_size": 100}, False),
        "RBM, PCD": (TensorizedRBM, {**rbm, "n_clusters": 1, "persistent": True, "batch_size": 100}, True),
    }


def compare(name, kind, arguments, X, other):
    """One row: a fit on Numba, one on the other backend, and how they differ."""
    start = time.perf_counter()
    ours = kind(backend="numba", **arguments).fit(X)
    middle = time.perf_counter()
    there = kind(backend=other.name, **arguments).fit(other.own(X)).to_cpu()
    end = time.perf_counter()
    dtype, is_machine = X.dtype.name, kind is TensorizedRBM
    curve, theirs = np.array(ours.loss_curve_), np.array(there.loss_curve_)
    difference = float(np.max(np.abs(curve - theirs)) / np.max(np.abs(curve)))
    same = float(np.mean(ours.labels_ == there.labels_))
    return {
        "fit": name,
        "dtype": dtype,
        "curve": difference,
        "budget": TOLERANCES[dtype][is_machine],
        "same_labels": same,
        "params": float(np.linalg.norm(ours.params_ - there.params_) / np.linalg.norm(ours.params_)),
        "numba_s": middle - start,
        "other_s": end - middle,
        "ok": difference <= TOLERANCES[dtype][is_machine] and same >= LABELS[dtype],
    }


def rows(other, n=1000, epochs=10):
    """Of every model in both dtypes; data of three clusters in 20 dimensions, for machines squeezed into [0, 1]."""
    rng = np.random.default_rng(0)
    X = 3 * rng.standard_normal((3, 20))[rng.integers(0, 3, n)] + rng.standard_normal((n, 20))
    table = []
    for name, (kind, arguments, unit) in models(epochs).items():
        for dtype in (np.float64, np.float32):
            data = (1 / (1 + np.exp(-X)) if unit else X).astype(dtype)
            table.append(compare(name, kind, arguments, data, other))
    lines, _ = datasets.make_lines_3d(random_state=0)
    table.append(
        compare(
            "TAE, lines_3D, 150 epochs",
            TensorizedAutoencoder,
            {"n_clusters": 3, "random_state": 0, "epochs": 15 * epochs},
            lines,
            other,
        )
    )
    return table


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default="cupy")
    other = backend.get(parser.parse_args().backend)
    table = rows(other) if other.on_device else rows(other, n=200, epochs=2)
    print_table(table, list(table[0]))
    print(append_rows("fits", [{**machine(), "backend": other.name, **row} for row in table]))
    raise SystemExit(0 if all(row["ok"] for row in table) else 1)


if __name__ == "__main__":
    main()
