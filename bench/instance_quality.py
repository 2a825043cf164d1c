"""Clusters of `InstanceDiscrimination` on images, beside k-means on pixels.

    CSRL_DATA=/path/to/data python bench/instance_quality.py --set image_shape=28,28
    python bench/instance_quality.py --set architecture=conv epochs=40 --seeds 0 1 2
    python bench/instance_quality.py --data fashion_mnist --set image_shape=28,28 shift=1 rotation=5 elastic=20
    python bench/instance_quality.py --data mnist_5k --set architecture=conv --seeds 3 4 5

The images are all test images of MNIST or Fashion-MNIST, or 5,000 of MNIST's training images. One line a seed:
accuracy, normalised mutual information and adjusted Rand index of ``labels_``, loss, seconds.
"""

import argparse
import time

import image_draws
import numpy as np
from sklearn.cluster import KMeans

from csrl_core import InstanceDiscrimination, metrics

CLASSES = 10


def line(name, y, labels, rest=""):
    """Print the three indices of labels."""
    of = metrics.scores(y, labels)
    print(f"{name:<24}" + "  ".join(f"{key} {value:.3f}" for key, value in of.items()), rest, flush=True)
    return of


def main():
    """Print one line a seed, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", choices=["mnist", "fashion_mnist", "mnist_5k"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=10_000, help="how many of the images, from the first on")
    parser.add_argument("--n-jobs", type=int, default=None)
    parser.add_argument(
        "--set", type=image_draws.argument, nargs="*", default=[], metavar="ARGUMENT=VALUE", help="other arguments"
    )
    given = parser.parse_args()
    X, y = (part[: given.images] for part in image_draws.images(given.data))
    line("k-means on pixels", y, KMeans(CLASSES, n_init=10, random_state=0).fit(X).labels_)
    found = []
    for seed in given.seeds:
        begin, busy = time.perf_counter(), time.process_time()
        arguments = {"n_clusters": CLASSES, "random_state": seed, "n_jobs": given.n_jobs} | dict(given.set)
        model = InstanceDiscrimination(**arguments).fit(X)
        seconds = f"{time.perf_counter() - begin:.1f} s, of CPU {time.process_time() - busy:.1f} s"
        rest = f" loss {model.loss_:.4f}  {seconds}  {model.n_iter_} epochs"
        found.append(line(f"seed {seed}", y, model.labels_, rest))
    means = {key: np.mean([of[key] for of in found]) for key in found[0]}
    print(f"{'mean':<24}" + "  ".join(f"{key} {value:.3f}" for key, value in means.items()))


if __name__ == "__main__":
    main()
