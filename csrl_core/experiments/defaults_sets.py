"""The data sets of ``csrl reproduce defaults``: many sizes, shapes and origins, by name.

Mixtures are drawn anew for every seed, images of MNIST and Fashion-MNIST too (others of the test images); of the other
sets there is one. Classes give the number of clusters and the scores; nothing else is made with them.
"""

from dataclasses import dataclass, field

import numpy as np

from csrl_core import datasets
from csrl_core.datasets import MIXTURES

IMAGES = 100  # of each class of MNIST and Fashion-MNIST, that many others for every seed


@dataclass(frozen=True)
class Problem:
    """A data set of the comparison.

    name : str; source : str, what it is made of
    binary : bool, values in [0, 1], which machines take as probabilities of binary units; else real
    options : of its maker
    """

    name: str
    source: str
    binary: bool = False
    options: dict = field(default_factory=dict)

    @property
    def available(self):
        """Whether its files exist."""
        return self.source in _MAKERS or datasets.available(self.source)

    def load(self, seed):
        """(X (n, d) float64, y (n,) int64, k)."""
        X, y = _MAKERS.get(self.source, _loaded)(seed, **self._arguments)
        _, y = np.unique(y, return_inverse=True)
        return X, y, int(y.max()) + 1

    @property
    def _arguments(self):
        return self.options if self.source in _MAKERS else {"name": self.source} | self.options


def bernoulli_mixture(seed, sizes, d, low=0.2, high=0.8, share=0.5):
    """Binary features: in each cluster a feature is 1 with probability ``high``, or ``low`` for a share of them.

    sizes : samples of each cluster; d : features; low, high : probabilities; share : of features with the lower one
    """
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    p = np.where(random.random((len(sizes), d)) < share, low, high)
    return (random.random((len(y), d)) < p[y]).astype(np.float64), y


def gaussian_mixture(seed, sizes, d, spread=3.0, stretch=1.0):
    """Gaussians with means N(0, spread²) and standard deviations between 1/stretch and stretch along random axes."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    means = spread * random.standard_normal((len(sizes), d))
    roots = []
    for _ in sizes:
        Q = np.linalg.qr(random.standard_normal((d, d)))[0]
        roots.append(Q * np.exp(random.uniform(-1, 1, d) * np.log(stretch)))
    X = means[y] + np.einsum("nij,nj->ni", np.array(roots)[y], random.standard_normal((len(y), d)))
    return X, y


def subspaces(seed, sizes, d, h=1, apart=0.0, noise=0.1, length=1.0):
    """Clusters about random h-dimensional subspaces that cross: centres N(0, apart²), the same if that is 0."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    bases = np.array([np.linalg.qr(random.standard_normal((d, h)))[0] for _ in sizes])
    centers = apart * random.standard_normal((len(sizes), d))
    along = length * np.einsum("ndh,nh->nd", bases[y], random.standard_normal((len(y), h)))
    return centers[y] + along + noise * random.standard_normal((len(y), d)), y


def _loaded(seed, name, classes=None, divide=None, standardised=False):
    """A set of `csrl_core.datasets`; classes : those to keep; divide : number by which all values are divided."""
    if name in MIXTURES:
        bunch = datasets.load(name, random_state=seed)
    else:
        bunch = datasets.load(name)
    X, y = bunch.data, bunch.target
    if classes is not None:
        rows = [np.flatnonzero(y == c) for c in classes]
        if name in _LARGE:
            rows = [np.take(own, np.arange(IMAGES * seed, IMAGES * (seed + 1)), mode="wrap") for own in rows]
        rows = np.sort(np.concatenate(rows))
        X, y = X[rows], y[rows]
    if standardised:
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    return np.asarray(X if divide is None else X / divide, dtype=np.float64), y


_LARGE = ("mnist", "fashion_mnist")
_MAKERS = {"bernoulli": bernoulli_mixture, "gaussian": gaussian_mixture, "subspaces": subspaces}


def _images(name, *classes):
    source, divide = ("digits", 16.0) if name == "digits" else (name, 255.0)
    title = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion"}[name]
    return Problem(f"{title} {' '.join(map(str, classes))}", source, True, {"classes": classes, "divide": divide})


def _of(name, source, **options):
    return Problem(name, source, source == "bernoulli", options)


# Neighbours are alike: every other set is as varied as all of them.
SETS = {
    problem.name: problem
    for problem in (
        _of("Bernoulli, two", "bernoulli", sizes=(100, 100), d=12, low=0.1, high=0.9),
        _of("Bernoulli, small", "bernoulli", sizes=(30, 30, 30), d=10),
        _of("Bernoulli, five", "bernoulli", sizes=(200,) * 5, d=50),
        _of("Bernoulli, wide", "bernoulli", sizes=(75,) * 4, d=200, low=0.3, high=0.7),
        _of("Bernoulli, unequal", "bernoulli", sizes=(280, 80, 40), d=30),
        _of("Bernoulli, sparse", "bernoulli", sizes=(150, 100, 50), d=100, low=0.02, high=0.3, share=0.7),
        _of("Gaussian, round", "gaussian", sizes=(100,) * 3, d=2),
        _of("Gaussian, small", "gaussian", sizes=(30, 30), d=5, spread=1.5),
        _of("Gaussian, five", "gaussian", sizes=(400,) * 5, d=20, spread=1.0, stretch=2.0),
        _of("Gaussian, wide", "gaussian", sizes=(50,) * 3, d=100, spread=0.5, stretch=2.0),
        _of("Gaussian, unequal", "gaussian", sizes=(250, 150, 75, 25), d=8, spread=1.5, stretch=2.0),
        _of("Gaussian, stretched", "gaussian", sizes=(150, 100, 50), d=4, spread=2.0, stretch=4.0),
        _of("lines, crossing", "subspaces", sizes=(100,) * 3, d=3, noise=0.03),
        _of("lines, near", "subspaces", sizes=(100,) * 3, d=3, noise=0.03, apart=0.3),
        _of("lines, many", "subspaces", sizes=(150,) * 4, d=10),
        _of("planes, crossing", "subspaces", sizes=(100, 100), d=6, h=2),
        _of("planes, near", "subspaces", sizes=(150, 100, 50), d=12, h=2, apart=0.2),
        _of("planes, four", "subspaces", sizes=(200,) * 4, d=20, h=2),
        _of("parallel_line", "parallel_line"),
        _of("orthogonal", "orthogonal"),
        _of("triangle", "triangle"),
        _of("lines_3D", "lines_3D"),
        _of("iris", "iris"),
        _of("penguins", "penguins", standardised=True),
        _of("wine", "wine", standardised=True),
        _of("breast cancer", "breast_cancer", standardised=True),
        _images("digits", 3, 5),
        _images("digits", 1, 7, 8),
        _images("digits", 0, 4, 6, 9),
        _images("digits", 0, 1, 2, 3, 4),
        _images("mnist", 0, 1),
        _images("fashion_mnist", 5, 8),
        _images("mnist", 1, 4, 7),
        _images("fashion_mnist", 1, 3, 9),
        _images("mnist", 0, 1, 2, 3, 4),
        _images("fashion_mnist", 0, 1, 5, 8, 9),
    )
}
