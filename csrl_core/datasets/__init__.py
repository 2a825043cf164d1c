"""Data sets of the papers: Gaussian mixtures, scikit-learn's own sets, and real data from a folder.

`load(name)` gives any of `NAMES` with its origin and licence. Penguins, MNIST and Fashion-MNIST are
read from the folder that the environment variable CSRL_DATA names; nothing is ever downloaded.

The mixtures are those of the experiments in Sabanayagam, Al-Dabooni & Esser, *Cluster Specific
Representation Learning* (arXiv 2412.03471), and Esser, Mukherjee, Sabanayagam & Ghoshdastidar,
*Improved Representation Learning Through Tensorized Autoencoders* (arXiv 2212.01046). Their samples lie
class after class in equal numbers; where n_samples is no multiple of the number of classes, the first
ones have one more. `n_noise` columns of noise N(0, noise_std²) follow the columns of the mixture.
"""

import inspect
from collections import namedtuple
from numbers import Integral

import numpy as np

from csrl_core.datasets import folder as _data_folder
from csrl_core.datasets.folder import DATA_VARIABLE, ORIGINS, DataNotFoundError
from csrl_core.datasets.readers import DataFileError, read_idx, read_table

__all__ = [
    "DATA_VARIABLE",
    "NAMES",
    "DataFileError",
    "DataNotFoundError",
    "available",
    "load",
    "make_lines_3d",
    "make_orthogonal",
    "make_parallel_line",
    "make_triangle",
    "read_idx",
    "read_table",
]

# ------------------------------------------------------------------------------ Gaussian mixtures


def _square_root(cov):
    """Lower triangular F with F Fᵀ = cov, for covariances that may be singular (lines_3D's are).

    A pivot that is zero to rounding leaves its column zero. Unlike a root by SVD or eigenvectors F is
    unique, so a seed gives the same data with every LAPACK.
    """
    F = np.zeros_like(cov)
    for j in range(len(cov)):
        pivot = cov[j, j] - F[j] @ F[j]
        if pivot > 1e-12 * cov[j, j]:
            F[j:, j] = (cov[j:, j] - F[j:] @ F[j]) / np.sqrt(pivot)
    return F


def _mixture(means, covs, n_samples, n_noise, noise_std, random_state):
    from sklearn.utils import check_random_state

    k = len(means)
    if not isinstance(n_samples, Integral) or n_samples < k:
        raise ValueError(f"n_samples={n_samples!r}, expected an integer ≥ {k}, the number of clusters")
    if not isinstance(n_noise, Integral) or n_noise < 0:
        raise ValueError(f"n_noise={n_noise!r}, expected an integer ≥ 0")
    if not 0 <= noise_std < np.inf:
        raise ValueError(f"noise_std={noise_std!r}, expected a finite number ≥ 0")
    rng = check_random_state(random_state)
    means, covs = np.array(means, dtype=np.float64), np.array(covs, dtype=np.float64)
    sizes = n_samples // k + (np.arange(k) < n_samples % k)
    y = np.repeat(np.arange(k), sizes)
    normal = rng.standard_normal((n_samples, means.shape[1]))
    X = means[y] + np.einsum("nij,nj->ni", np.array([_square_root(cov) for cov in covs])[y], normal)
    return np.hstack([X, noise_std * rng.standard_normal((n_samples, n_noise))]), y


_PAPERS = (
    "Sabanayagam, Al-Dabooni & Esser, Cluster Specific Representation Learning (arXiv 2412.03471); "
    "Esser et al., Improved Representation Learning Through Tensorized Autoencoders (arXiv 2212.01046)"
)


def make_parallel_line(n_samples=150, *, n_noise=3, noise_std=0.1, random_state=None):
    """Two parallel elongated Gaussians: means (−1,−1), (4,−2), covariance [[5, 4.95], [4.95, 5]] twice.

    n_samples : int ≥ 2; n_noise : int ≥ 0; noise_std : float ≥ 0; random_state : int, RandomState or None
    returns (X, y) : X (n_samples, 2 + n_noise) float64, y (n_samples,) int64 (see the module)
    """
    cov = [[5, 4.95], [4.95, 5]]
    return _mixture([(-1, -1), (4, -2)], [cov, cov], n_samples, n_noise, noise_std, random_state)


def make_orthogonal(n_samples=150, *, n_noise=3, noise_std=0.1, random_state=None):
    """Two elongated Gaussians at right angles: means (−1,−1), (7,7), covariances [[5, ±4.9], [±4.9, 5]].

    n_samples : int ≥ 2; n_noise : int ≥ 0; noise_std : float ≥ 0; random_state : int, RandomState or None
    returns (X, y) : X (n_samples, 2 + n_noise) float64, y (n_samples,) int64 (see the module)
    """
    covs = [[[5, 4.9], [4.9, 5]], [[5, -4.9], [-4.9, 5]]]
    return _mixture([(-1, -1), (7, 7)], covs, n_samples, n_noise, noise_std, random_state)


def make_triangle(n_samples=150, *, n_noise=3, noise_std=0.1, random_state=None):
    """Three elongated Gaussians along a triangle's sides: means (−1,−1), (6,6), (5,−5).

    Covariances [[5, 4.9], [4.9, 5]], [[5, −4.5], [−4.5, 5]] and [[7, 0], [0, 1]].

    n_samples : int ≥ 3; n_noise : int ≥ 0; noise_std : float ≥ 0; random_state : int, RandomState or None
    returns (X, y) : X (n_samples, 2 + n_noise) float64, y (n_samples,) int64 (see the module)
    """
    covs = [[[5, 4.9], [4.9, 5]], [[5, -4.5], [-4.5, 5]], [[7, 0], [0, 1]]]
    return _mixture([(-1, -1), (6, 6), (5, -5)], covs, n_samples, n_noise, noise_std, random_state)


def make_lines_3d(n_samples=300, *, n_noise=3, noise_std=0.1, random_state=None):
    """Three lines in space, one along each axis: means (2,0,0), (0,0,4), (2,2,3).

    Covariances: .01 everywhere, but 3 at (0,0), at (1,1), at (2,2) respectively. Each has rank 2: a
    cluster's two short directions are one and the same random number.

    n_samples : int ≥ 3; n_noise : int ≥ 0; noise_std : float ≥ 0; random_state : int, RandomState or None
    returns (X, y) : X (n_samples, 3 + n_noise) float64, y (n_samples,) int64 (see the module)
    """
    covs = np.full((3, 3, 3), 0.01)
    covs[range(3), range(3), range(3)] = 3
    return _mixture([(2, 0, 0), (0, 0, 4), (2, 2, 3)], covs, n_samples, n_noise, noise_std, random_state)


def _synthetic(make, k, d):
    def load_synthetic(*, n_noise=3, **options):
        X, y = make(n_noise=n_noise, **options)
        names = [f"x{j}" for j in range(d)] + [f"noise{j}" for j in range(n_noise)]
        return X, y, names, [f"line {c}" for c in range(k)]

    load_synthetic.__signature__ = inspect.signature(make)
    return load_synthetic


# --------------------------------------------------------------------------- scikit-learn's own


def _from_sklearn(loader):
    def load_bundled():
        from sklearn import datasets

        bunch = getattr(datasets, loader)()
        return bunch.data, bunch.target, list(bunch.feature_names), [str(c) for c in bunch.target_names]

    return load_bundled


def _digits_0_4():
    X, y, names, _ = _from_sklearn("load_digits")()
    return X[y < 5], y[y < 5], names, [str(c) for c in range(5)]


# --------------------------------------------------------------------------------- the registry

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
    "penguins": _Set(_data_folder.load_penguins, ORIGINS["penguins"], "CC0"),
    "mnist": _Set(_data_folder.load_mnist, ORIGINS["mnist"], _MNIST_LICENCE),
    "mnist_5k": _Set(_data_folder.load_mnist_5k, ORIGINS["mnist_5k"], _MNIST_LICENCE),
    "mnist_5": _Set(_data_folder.load_mnist_5, ORIGINS["mnist_5"], _MNIST_LICENCE),
    "fashion_mnist": _Set(_data_folder.load_fashion_mnist, ORIGINS["fashion_mnist"], "MIT"),
}

NAMES = tuple(_SETS)


def _entry(name):
    if name not in _SETS:
        raise ValueError(f"name={name!r} is no known data set, expected one of {', '.join(NAMES)}")
    return _SETS[name]


def available(name):
    """Whether `load(name)` finds its files; always true of sets that need none."""
    _entry(name)
    return all(
        any(place.is_file() for place in _data_folder.candidates(file)) for file in _data_folder.FILES.get(name, ())
    )


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
