"""Clusters of `TensorizedContrastive` on images, of training and held-out ones, beside k-means.

    CSRL_DATA=/path/to/data python bench/contrastive_quality.py
    python bench/contrastive_quality.py --class-information --set epochs=20
    python bench/contrastive_quality.py --set negatives=own assignment=loss epochs=10 --draws 100

A draw takes 200 images a class for training and 200 others for testing from the test file, at random by its number.
"""

import argparse
import ast
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from csrl_core import TensorizedContrastive
from csrl_core.datasets.readers import read_idx

EACH = 200  # images of every class, for training and for testing


def images(name):
    """(X (n, 784) float32 in [0, 1], y (n,)) of a test file in the folder CSRL_DATA."""
    folder = Path(os.environ["CSRL_DATA"]).expanduser() / name
    X, y = (read_idx(folder / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    return X.reshape(len(X), -1).astype(np.float32) / 255, y.astype(int)


def draw(X, y, classes, seed):
    """(training images, their classes, test images, their classes)."""
    random, train, test = np.random.default_rng(seed), [], []
    for c in classes:
        order = random.permutation(np.flatnonzero(y == c))
        train.append(order[:EACH])
        test.append(order[EACH : 2 * EACH])
    train, test = random.permutation(np.concatenate(train)), np.concatenate(test)
    return X[train], y[train], X[test], y[test]


def _value(text):
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main():
    """Print one line a draw, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="folder: mnist or fashion-mnist")
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(100, 105)))
    parser.add_argument("--class-information", action="store_true", help="positives of the same class")
    parser.add_argument("--set", type=_value, nargs="*", default=[], metavar="ARGUMENT=VALUE", help="other arguments")
    given = parser.parse_args()
    (X, y), k, rows = images(given.data), len(given.classes), []
    arguments = {"image_shape": (28, 28), "class_information": given.class_information, **dict(given.set)}
    for seed in given.draws:
        train, classes, test, test_classes = draw(X, y, given.classes, seed)
        k_means = KMeans(k, n_init=10, random_state=0).fit(train)
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = TensorizedContrastive(n_clusters=k, random_state=seed, **arguments).fit(train, classes)
        seconds = time.perf_counter() - start
        rows.append(
            [
                *(adjusted_rand_score(classes, each.labels_) for each in (k_means, model)),
                *(adjusted_rand_score(test_classes, each.predict(test)) for each in (k_means, model)),
                seconds,
            ]
        )
        print(f"{given.data} draw {seed}: {_line(rows[-1])}; loss {model.loss_:.3f}", flush=True)
    print(f"mean: {_line(np.mean(rows, axis=0))}")


def _line(row):
    return "ARI k-means {:.3f} TCL {:.3f}; held-out k-means {:.3f} TCL {:.3f}; {:.1f} s".format(*row)


if __name__ == "__main__":
    main()
