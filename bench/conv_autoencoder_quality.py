"""Clusters of convolutional `TensorizedAutoencoder`s on images, beside k-means and the clusters that they start from.

    CSRL_DATA=/path/to/data python bench/conv_autoencoder_quality.py
    python bench/conv_autoencoder_quality.py --data fashion-mnist --set shared=2
    python bench/conv_autoencoder_quality.py --classes 0 1 2 3 4
    python bench/conv_autoencoder_quality.py --data digits
    python bench/conv_autoencoder_quality.py --draws 101 --set standing_epochs=0

A draw takes 200 images a class for training and 100 others for testing from the test file, at random by its number; of
scikit-learn's digits, 8 × 8 pixels, which need no file, 120 and 50.
"""

import argparse
import time

import image_draws
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from csrl_core import TensorizedAutoencoder


def images(name):
    """(X (n, d) float32 in [0, 1], y (n,))."""
    if name != "digits":
        return image_draws.images(name)
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype("float32"), y


def main():
    """Print one line a draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="mnist or fashion-mnist (folders), or digits")
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 1, 9])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(100, 105)))
    parser.add_argument(
        "--set", type=image_draws.argument, nargs="*", default=[], metavar="ARGUMENT=VALUE", help="other arguments"
    )
    given = parser.parse_args()
    (X, y), k = images(given.data), len(given.classes)
    sizes = (120, 50) if given.data == "digits" else (200, 100)
    for seed in given.draws:
        train, classes, test, test_classes = image_draws.draw(X, y, given.classes, seed, *sizes)
        arguments = {"architecture": "conv", "n_clusters": k, "random_state": seed} | dict(given.set)
        k_means = KMeans(k, n_init=10, random_state=0).fit(train)
        start = TensorizedAutoencoder(**arguments | {"epochs": 0}).fit(train).state_["assign"]
        begin = time.perf_counter()
        model = TensorizedAutoencoder(**arguments).fit(train)
        seconds, found = time.perf_counter() - begin, {}
        for name, each in (("k-means", k_means), ("autoencoder", model)):
            scores = adjusted_rand_score(classes, each.labels_), adjusted_rand_score(test_classes, each.predict(test))
            found[name] = "ARI {:.3f} test {:.3f}".format(*scores)
        found["its start"] = f"{adjusted_rand_score(classes, start):.3f}"
        said = "; ".join(f"{name} {text}" for name, text in found.items())
        print(f"{given.data} draw {seed}: {said}; loss {model.loss_:.4f}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
