"""The Gaussian mixtures of the papers' experiments.

Sabanayagam, Al-Dabooni & Esser, *Cluster Specific Representation Learning* (arXiv 2412.03471), and Esser, Mukherjee,
Sabanayagam & Ghoshdastidar, *Improved Representation Learning Through Tensorized Autoencoders* (arXiv 2212.01046).
Samples lie class after class in equal numbers; where n_samples is no multiple of the number of classes, the first
ones have one more. `n_noise` columns of noise N(0, noise_std²) follow the columns of the mixture.
"""

from numbers import Integral

import numpy as np

MIXTURES = ("parallel_line", "orthogonal", "triangle", "lines_3D")  # their names in `load`


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
