"""kill −9 at random points of fits of every model with checkpoints: resumed, they come to the uninterrupted fit.

    python bench/kill_and_resume.py --points 200

Every fit runs in a process of its own, writes a checkpoint an epoch, and is killed at a random time, every second time
in the middle of a checkpoint's write if one is caught; it is resumed, and killed again, until it ends. Then the model
that it saves must be that of a fit which nobody disturbed, byte for byte, and its callbacks must have seen the same.
Exit code 1 if one is not.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

from csrl_core import ClusterModel, ClusterSpecific, TensorizedAutoencoder, TensorizedRBM, callbacks, datasets

CATCH = 0.3  # seconds that a write is waited for
LINES = datasets.make_lines_3d(random_state=0)[0]
IMAGES = (np.random.default_rng(0).random((300, 16)) < np.repeat([[0.1], [0.5], [0.9]], 100, axis=0)).astype(np.float64)


class Spheres(ClusterModel):
    """A user's model: ‖x − c_j − b_j‖², whose b_j are learnt."""

    def init_parameters(self, X, n_clusters, draw):
        return {"offset": draw.normal((n_clusters, X.shape[1]), 0.1)}

    def losses(self, params, X, target, centers, draw):
        return np.sum((target[:, None] - centers - params["offset"]) ** 2, axis=2)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        gradient = np.zeros_like(params["offset"])
        np.add.at(gradient, assign, -2 * weights[:, None] * (target - centers[assign] - params["offset"][assign]))
        return {"offset": gradient}

    def embed(self, params, X, centers, draw):
        return np.linalg.norm(X[:, None] - centers - params["offset"], axis=2)[:, :, None]


def autoencoder(**arguments):
    return TensorizedAutoencoder(n_clusters=3, random_state=0, **arguments)


def machine(**arguments):
    return TensorizedRBM(**{"n_clusters": 3, "n_hidden": 12, "ais_betas": 200, "random_state": 0} | arguments)


# name → (estimator, X, its callbacks), made anew for every fit
CASES = {
    "TAE, full batch": lambda: (autoencoder(epochs=60, n_init=2, assignment="loss"), LINES, []),
    "TAE, defaults": lambda: (autoencoder(epochs=60, n_init=2), LINES, []),
    "TAE, likelihood": lambda: (
        autoencoder(epochs=60, batch_size=64, activation="tanh", assignment="likelihood"),
        LINES,
        [callbacks.LossHistory()],
    ),
    "PTAE, minibatch": lambda: (
        autoencoder(epochs=300, batch_size=32, shared=1, learning_rate=0.05, assignment="loss", start="uniform"),
        LINES,
        [callbacks.EarlyStopping(patience=20, min_delta=1e-4)],
    ),
    "TAE, components": lambda: (autoencoder(epochs=80, start="components", tol=1e-3), LINES, []),
    "TAE, exact": lambda: (
        autoencoder(solver="exact", reg=0, hidden=(2,), assignment="likelihood", init="random", n_init=8),
        LINES,
        [callbacks.LossHistory()],
    ),
    "TRBM, CD": lambda: (machine(epochs=40, n_init=2, standing_epochs=40, tol=0.2, n_iter_no_change=3), IMAGES, []),
    "TRBM, PCD": lambda: (
        machine(epochs=40, visible="gaussian", persistent=True, n_chains=20, assignment="cd"),
        LINES,
        [],
    ),
    "RBM": lambda: (
        machine(epochs=60, n_clusters=1, learning_rate=0.01),
        IMAGES,
        [callbacks.FreeEnergyGap(IMAGES[:50], IMAGES[50:100], patience=40)],
    ),
    "a user's model": lambda: (
        ClusterSpecific(Spheres(), n_clusters=3, epochs=60, batch_size=50, random_state=0),
        LINES,
        [callbacks.LossHistory()],
    ),
}


def fit(name, folder):
    """A whole fit, or what a checkpoint leaves of it to do; its model and what callbacks saw go into the folder."""
    (model, X, watching), checkpoint = CASES[name](), folder / "checkpoint"
    model.set_callbacks(*watching, callbacks.Checkpoint(checkpoint))
    model.fit(X, resume=checkpoint if checkpoint.exists() else None)
    (folder / "seen").write_text(json.dumps([callback.state_dict() for callback in watching]))
    model.save(folder / "model")


def in_a_process(name, folder):
    """`fit` in a child; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        fit(name, folder)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def kill(child, delay, in_a_write, folder):
    """SIGKILL after a delay; returns whether the child died of it, and whether in the middle of a write."""
    time.sleep(delay)
    end = time.monotonic() + CATCH
    while in_a_write and not list(folder.glob(".*.part")) and time.monotonic() < end:
        time.sleep(1e-4)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"the fit failed with exit code {os.WEXITSTATUS(status)}")
    killed = os.WIFSIGNALED(status)
    writing = [part.unlink() for part in folder.glob(".*.part")]
    return killed, killed and len(writing) > 0


def results(folder):
    return [(folder / file).read_bytes() for file in ("model", "seen")]


def points(name, wanted, rng, root):
    """Kill ``wanted`` times; returns a row of the table."""
    row = {"model": name, "kills": 0, "in a write": 0, "before a checkpoint": 0, "fits": 0, "different": 0}
    whole = root / "whole"
    whole.mkdir()
    fit(name, whole)  # which compiles, or loads, what the children inherit
    begin = time.perf_counter()
    (root / "timed").mkdir()
    fit(name, root / "timed")
    longest, expected = time.perf_counter() - begin, results(whole)
    row["different"] += results(root / "timed") != expected
    while row["kills"] < wanted:
        folder = root / str(row["fits"])
        folder.mkdir()
        while not (folder / "model").exists():
            last = row["kills"] == wanted
            child = in_a_process(name, folder)
            if last:
                if os.waitpid(child, 0)[1]:
                    raise SystemExit(f"{name}: the resumed fit failed")
                break
            killed, writing = kill(child, rng.uniform(0, longest), rng.random() < 0.5, folder)
            row["kills"] += killed
            row["in a write"] += writing
            row["before a checkpoint"] += killed and not (folder / "checkpoint").exists()
        row["fits"] += 1
        row["different"] += results(folder) != expected
    return row


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="kills, over all models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    chosen = parser.parse_args(arguments)
    rng, rows, widest = np.random.default_rng(chosen.seed), [], max(map(len, CASES))
    shares = np.diff(np.linspace(0, chosen.points, len(chosen.only) + 1).round().astype(int))
    for name, share in zip(chosen.only, shares, strict=True):
        with tempfile.TemporaryDirectory() as root:
            rows.append(points(name, int(share), rng, Path(root)))
        if len(rows) == 1:
            print("  ".join(f"{key:{widest if key == 'model' else 1}}" for key in rows[0]))
        print(f"{name:{widest}}  " + "  ".join(f"{rows[-1][key]:{len(key)}}" for key in list(rows[-1])[1:]), flush=True)
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "model"}
    print("all: " + ", ".join(f"{key} {value}" for key, value in total.items()))
    sys.exit(total["different"] > 0)


if __name__ == "__main__":
    main()
