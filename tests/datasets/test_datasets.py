"""Data sets: the mixtures' moments, scikit-learn's sets, loading by name, and refusals."""

import subprocess
import sys

import numpy as np
import pytest

from csrl_core import datasets
from csrl_core.datasets import load

# spec of the papers: name → (maker, default n, means, covariances)
ELONGATED = [[5, 4.9], [4.9, 5]]
MIXTURES = {
    "parallel_line": (datasets.make_parallel_line, 150, [(-1, -1), (4, -2)], [[[5, 4.95], [4.95, 5]]] * 2),
    "orthogonal": (datasets.make_orthogonal, 150, [(-1, -1), (7, 7)], [ELONGATED, [[5, -4.9], [-4.9, 5]]]),
    "triangle": (
        datasets.make_triangle,
        150,
        [(-1, -1), (6, 6), (5, -5)],
        [ELONGATED, [[5, -4.5], [-4.5, 5]], [[7, 0], [0, 1]]],
    ),
    "lines_3D": (
        datasets.make_lines_3d,
        300,
        [(2, 0, 0), (0, 0, 4), (2, 2, 3)],
        [
            [[3, 0.01, 0.01], [0.01, 0.01, 0.01], [0.01, 0.01, 0.01]],
            [[0.01, 0.01, 0.01], [0.01, 3, 0.01], [0.01, 0.01, 0.01]],
            [[0.01, 0.01, 0.01], [0.01, 0.01, 0.01], [0.01, 0.01, 3]],
        ],
    ),
}
every_mixture = pytest.mark.parametrize("name", MIXTURES)


# ------------------------------------------------------------------------------------- mixtures


@every_mixture
def test_mixture_sizes_and_seeds(name):
    make, n, means, _ = MIXTURES[name]
    k, d = len(means), len(means[0])
    X, y = make(random_state=3)
    assert X.shape == (n, d + 3)
    assert X.dtype == np.float64
    assert y.dtype == np.int64
    assert np.bincount(y).tolist() == [n // k] * k
    assert np.all(np.diff(y) >= 0)
    X_again, y_again = make(random_state=np.random.RandomState(3))
    assert np.array_equal(X, X_again)
    assert np.array_equal(y, y_again)
    assert not np.any(np.isclose(X, make(random_state=4)[0], rtol=0, atol=1e-12).all(axis=1))


@every_mixture
def test_mixture_sizes_that_do_not_divide(name):
    make, _, means, _ = MIXTURES[name]
    k, d = len(means), len(means[0])
    _, y = make(7 * k + 1, random_state=0)
    assert np.bincount(y).tolist() == [8] + [7] * (k - 1)
    X, y = make(k, n_noise=0, random_state=0)
    assert X.shape == (k, d)
    assert y.tolist() == list(range(k))


@every_mixture
def test_mixture_moments(name):
    """Means and covariances within 5 standard errors, in the axes of the true covariance.

    There the short directions are judged on their own scale: 4.9 in the place of 4.95 doubles a variance.
    At most 81 figures a set and 6e-7 for each to lie outside.
    """
    make, _, means, covs = MIXTURES[name]
    n, d = 20_000, len(means[0])
    X, y = make(n * len(means), noise_std=0.3, random_state=11)
    for c, (mean, cov) in enumerate(zip(means, covs)):
        full = np.zeros((d + 3, d + 3))
        full[:d, :d], full[d:, d:] = cov, 0.09 * np.eye(3)
        variance, axes = np.linalg.eigh(full)
        variance = np.maximum(variance, 0)
        own = (X[y == c] - [*mean, 0, 0, 0]) @ axes
        rounding = 1e-12  # for directions without variance
        assert np.all(np.abs(own.mean(axis=0)) < 5 * np.sqrt(variance / n) + rounding)
        # Var of a sample covariance of normals: (Σ_ii Σ_jj + Σ_ij²) / (n − 1), with Σ diagonal here
        error = np.sqrt((np.outer(variance, variance) + np.diag(variance) ** 2) / (n - 1))
        assert np.all(np.abs(np.cov(own.T) - np.diag(variance)) < 5 * error + rounding)


def test_lines_3d_short_directions_are_one_number():
    X, y = datasets.make_lines_3d(random_state=5)
    for c, (mean, pair) in enumerate(zip(MIXTURES["lines_3D"][2], [(1, 2), (0, 2), (0, 1)])):
        first, second = (X[y == c][:, j] - mean[j] for j in pair)
        # A covariance of rank 2. Roundings: sums of size up to 4 + 0.5, each term 2⁻⁵³ relative.
        assert np.abs(first - second).max() < 1e-14
        assert first.std() > 0.05


@every_mixture
def test_mixture_refuses_bad_arguments(name):
    make, _, means, _ = MIXTURES[name]
    k = len(means)
    with pytest.raises(ValueError, match=rf"n_samples={k - 1}, expected an integer ≥ {k}"):
        make(k - 1)
    with pytest.raises(ValueError, match=r"n_samples=10\.0, expected an integer"):
        make(10.0)
    with pytest.raises(ValueError, match=r"n_noise=-1, expected an integer ≥ 0"):
        make(n_noise=-1)
    with pytest.raises(ValueError, match=r"noise_std=nan, expected a finite number ≥ 0"):
        make(noise_std=float("nan"))


# ----------------------------------------------------------------------------------- load by name


@pytest.mark.parametrize(
    ("name", "shape", "counts"),
    [
        ("parallel_line", (150, 5), [75, 75]),
        ("orthogonal", (150, 5), [75, 75]),
        ("triangle", (150, 5), [50, 50, 50]),
        ("lines_3D", (300, 6), [100, 100, 100]),
        ("iris", (150, 4), [50, 50, 50]),
        ("wine", (178, 13), [59, 71, 48]),
        ("digits", (1797, 64), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]),
        ("digits_0_4", (901, 64), [178, 182, 177, 183, 181]),
        ("breast_cancer", (569, 30), [212, 357]),
    ],
)
def test_sets_without_files(name, shape, counts, check_bunch, monkeypatch):
    monkeypatch.delenv("CSRL_DATA", raising=False)
    assert datasets.available(name)
    check_bunch(load(name), name, shape, counts)


def test_load_passes_options_on():
    X, _ = datasets.make_triangle(20, n_noise=1, random_state=8)
    bunch = load("triangle", n_samples=20, n_noise=1, random_state=8)
    assert np.array_equal(bunch.data, X)
    assert bunch.feature_names == ["x0", "x1", "noise0"]


def test_load_refuses_unknown_names_and_options():
    with pytest.raises(ValueError, match=r"name='irish' is no known data set, expected one of parallel_line,"):
        load("irish")
    with pytest.raises(ValueError, match="'irish' is no known data set"):
        datasets.available("irish")
    with pytest.raises(TypeError, match=r"'iris' has no option 'n_samples', expected none at all"):
        load("iris", n_samples=3)
    with pytest.raises(TypeError, match=r"'triangle' has no option 'seed', expected \['n_samples', 'n_noise'"):
        load("triangle", seed=3)
    with pytest.raises(ValueError, match=r"split='all', expected 'test' or 'train'"):
        load("mnist", split="all")


def test_import_stays_light():
    code = "import sys, csrl_core.datasets, csrl_core.metrics; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
