"""Clusters and held-out bounds of `TensorizedVAE` on images, beside k-means and the standard one of its latent width.

    CSRL_DATA=/path/to/data python bench/vae_quality.py
    python bench/vae_quality.py --data fashion-mnist --set architecture=conv shared=0 --draws 100 101
    python bench/vae_quality.py --classes 0 1 2 3 4 --draws 100 101 102 --no-bound

A draw takes 200 images a class for training and 100 others for testing from the test file, at random by its number.
"""

import argparse
import time

import image_draws
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from csrl_core import TensorizedVAE

TRAIN, TEST = 200, 100  # images of every class


def main():
    """Print one line a draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="folder: mnist or fashion-mnist")
    parser.add_argument("--classes", type=int, nargs="+", default=[0, 1, 9])
    parser.add_argument("--draws", type=int, nargs="+", default=list(range(100, 105)))
    parser.add_argument(
        "--set", type=image_draws.argument, nargs="*", default=[], metavar="ARGUMENT=VALUE", help="other arguments"
    )
    parser.add_argument("--no-bound", action="store_true", help="fit no standard autoencoder to compare bounds with")
    given = parser.parse_args()
    (X, y), arguments, k = image_draws.images(given.data), dict(given.set), len(given.classes)
    for seed in given.draws:
        train, classes, test, test_classes = image_draws.draw(X, y, given.classes, seed, TRAIN, TEST)
        k_means = KMeans(k, n_init=10, random_state=0).fit(train)
        start = time.perf_counter()
        model = TensorizedVAE(n_clusters=k, random_state=seed, **arguments).fit(train)
        seconds, found = time.perf_counter() - start, {}
        for name, each in (("k-means", k_means), ("TVAE", model)):
            scores = adjusted_rand_score(classes, each.labels_), adjusted_rand_score(test_classes, each.predict(test))
            found[name] = "ARI {:.3f} test {:.3f}".format(*scores)
        if not given.no_bound:
            alone = TensorizedVAE(n_clusters=1, random_state=seed, **arguments).fit(train)
            found["bound"] = f"{model.score(test):.2f} VAE {alone.score(test):.2f}"
        said = "; ".join(f"{name} {text}" for name, text in found.items())
        print(f"{given.data} draw {seed}: {said}; loss {model.loss_:.2f}, {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
