"""Clusters of `TensorizedContrastive` on images, of training and held-out ones, beside k-means on the pixels.

    CSRL_DATA=/path/to/data python bench/contrastive_quality.py
    python bench/contrastive_quality.py --class-information --set epochs=20
    python bench/contrastive_quality.py --draws 200 201 202 203 204 300 301 302 303
    python bench/contrastive_quality.py --draws 0 1 --sizes 400 300 150 100 50
    python bench/contrastive_quality.py --draws 0 1 --data fashion-mnist
    python bench/contrastive_quality.py --set assignment=prototype learning_rate_schedule=constant
    python bench/contrastive_quality.py --set negatives=own assignment=loss epochs=10 --draws 100

A draw takes 200 images a class for training and 200 others for testing, at random by its number, of the test file or
(``mnist-5k``) of 5,000 of MNIST's training images.
"""

import argparse
import time
import warnings

import image_draws
import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from csrl_core import TensorizedContrastive

EACH = 200  # images of every class, for training and for testing


def main():
    """Print one line a draw, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="mnist, fashion-mnist or mnist-5k")
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(100, 105)))
    parser.add_argument("--sizes", type=int, nargs="+", help="images of every class, in an order of the draw's own")
    parser.add_argument("--class-information", action="store_true", help="positives of the same class")
    parser.add_argument(
        "--set", type=image_draws.argument, nargs="*", default=[], metavar="ARGUMENT=VALUE", help="other arguments"
    )
    given = parser.parse_args()
    (X, y), k, rows = image_draws.images(given.data), len(given.classes), []
    arguments = {"image_shape": (28, 28), "class_information": given.class_information, **dict(given.set)}
    for seed in given.draws:
        if given.sizes:
            train, classes, test, test_classes = image_draws.draw_unequal(X, y, given.classes, seed, given.sizes)
        else:
            train, classes, test, test_classes = image_draws.draw(X, y, given.classes, seed, EACH, EACH)
        k_means = KMeans(k, n_init=10, random_state=0).fit(train)
        start, busy = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = TensorizedContrastive(n_clusters=k, random_state=seed, **arguments).fit(train, classes)
        seconds = time.perf_counter() - start, time.process_time() - busy
        scores = [adjusted_rand_score(classes, labels) for labels in (k_means.labels_, model.labels_)]
        scores += [adjusted_rand_score(test_classes, each.predict(test)) for each in (k_means, model)]
        rows.append([*scores, *seconds])
        print(f"{given.data} draw {seed}: {_line(rows[-1])}; loss {model.loss_:.3f}", flush=True)
    print(f"mean: {_line(np.mean(rows, axis=0))}")


def _line(row):
    one = "k-means {:.3f} TCL {:.3f}"
    return f"ARI {one}; held-out {one}; {{:.1f}} s, of CPU {{:.1f}} s".format(*row)


if __name__ == "__main__":
    main()
