"""All data sets by name: where each comes from, how it is loaded, under what licence."""

import inspect
from collections import namedtuple

import numpy as np

from csrl_core.datasets import folder
from csrl_core.datasets.folder import ORIGINS
from csrl_core.datasets.mixtures import make_lines_3d, make_orthogonal, make_parallel_line, make_triangle


def _synthetic(make, k, d):
    def load_synthetic(*, n_noise=3, **options):
        X, y = make(n_noise=n_noise, **options)
        names = [f"x{j}" for j in range(d)] + [f"noise{j}" for j in range(n_noise)]
        return X, y, names, [f"line {c}" for c in range(k)]

    load_synthetic.__signature__ = inspect.signature(make)
    return load_synthetic


def _from_sklearn(loader):
    def load_bundled():
        from sklearn import datasets

        bunch = getattr(datasets, loader)()
        return bunch.data, bunch.target, list(bunch.feature_names), [str(c) for c in bunch.target_names]

    return load_bundled


def _digits_0_4():
    X, y, names, _ = _from_sklearn("load_digits")()
    return X[y < 5], y[y < 5], names, [str(c) for c in range(5)]


_PAPERS = (
    "Sabanayagam, Al-Dabooni & Esser, Cluster Specific Representation Learning (arXiv 2412.03471); "
    "Esser et al., Improved Representation Learning Through Tensorized Autoencoders (arXiv 2212.01046)"
)
_Set = namedtuple("_Set", "loader source licence")

_UCI = "UCI Machine Learning Repository, by scikit-learn"
_MNIST_LICENCE = "commonly listed as CC BY-SA 3.0"
_MIXTURE_LICENCE = "generated"

_SETS = {
    "parallel_line": _Set(_synthetic(make_parallel_line, 2, 2), _PAPERS, _MIXTURE_LICENCE),
    "orthogonal": _Set(_synthetic(make_orthogonal, 2, 2), _PAPERS, _MIXTURE_LICENCE),
    "triangle": _Set(_synthetic(make_triangle, 3, 2), _PAPERS, _MIXTURE_LICENCE),
    "lines_3D": _Set(_synthetic(make_lines_3d, 3, 3), _PAPERS, _MIXTURE_LICENCE),
    "iris": _Set(_from_sklearn("load_iris"), f"Fisher 1936; {_UCI}", "CC BY 4.0"),
    "wine": _Set(_from_sklearn("load_wine"), f"Forina et al.; {_UCI}", "CC BY 4.0"),
    "digits": _Set(_from_sklearn("load_digits"), f"Alpaydin & Kaynak; {_UCI}", "CC BY 4.0"),
    "digits_0_4": _Set(_digits_0_4, f"Alpaydin & Kaynak; {_UCI}; the digits 0–4", "CC BY 4.0"),
    "breast_cancer": _Set(_from_sklearn("load_breast_cancer"), f"Wolberg, Street & Mangasarian; {_UCI}", "CC BY 4.0"),
    "penguins": _Set(folder.load_penguins, ORIGINS["penguins"], "CC0"),
    "mnist": _Set(folder.load_mnist, ORIGINS["mnist"], _MNIST_LICENCE),
    "mnist_5k": _Set(folder.load_mnist_5k, ORIGINS["mnist_5k"], _MNIST_LICENCE),
    "mnist_5": _Set(folder.load_mnist_5, ORIGINS["mnist_5"], _MNIST_LICENCE),
    "fashion_mnist": _Set(folder.load_fashion_mnist, ORIGINS["fashion_mnist"], "MIT"),
}

NAMES = tuple(_SETS)


def _entry(name):
    if name not in _SETS:
        raise ValueError(f"name={name!r} is no known data set, expected one of {', '.join(NAMES)}")
    return _SETS[name]


def available(name):
    """Whether `load(name)` finds its files; always true of sets that need none."""
    _entry(name)
    return all(any(place.is_file() for place in folder.candidates(file)) for file in folder.FILES.get(name, ()))


def load(name, **options):
    """Load a data set by name.

    name : one of `NAMES`
    options : those of the `make_…` functions for the mixtures; `dtype` (float64) for the MNIST family,
        whose pixels are 0–255, and `split` ("test", "train") for mnist and fashion_mnist
    returns a scikit-learn Bunch: data (n, d) float, target (n,) int64, feature_names, target_names,
        name, source, licence

    Raises ValueError for an unknown name, TypeError for an option the set does not have,
    `DataNotFoundError` if a file is missing, `DataFileError` if it is damaged or mislabelled. A test file
    of MNIST or Fashion-MNIST with other contents than the published ones is used with a warning.
    """
    from sklearn.utils import Bunch

    entry = _entry(name)
    known = list(inspect.signature(entry.loader).parameters)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise TypeError(f"data set {name!r} has no option {unknown[0]!r}, expected {known or 'none at all'}")
    X, y, feature_names, target_names = entry.loader(**options)
    return Bunch(
        data=X,
        target=y.astype(np.int64, copy=False),
        feature_names=list(feature_names),
        target_names=list(target_names),
        name=name,
        source=entry.source,
        licence=entry.licence,
    )
