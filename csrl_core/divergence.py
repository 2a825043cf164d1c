"""Distances of vectors and tensors, Gaussian kernels and the Cauchy–Schwarz divergence, each with its gradient by hand.

    D, back = divergence.tensor_distances(Y)           # Y (n, channels, height, width), or any other shape
    K, back_to_D = divergence.gaussian_kernel(D)
    value, dA, dK = divergence.cauchy_schwarz(A, K)    # A (n, k), soft assignments
    dY = back(back_to_D(dK))

The mathematics is in `csrl_core.reference.divergence`, and docs/divergence.md derives it. float32 stays float32;
integers become float64.
"""

from numbers import Real

import numpy as np

from csrl_core import backends

__all__ = ["cauchy_schwarz", "gaussian_kernel", "tensor_distances", "vector_distances"]

_LEAST = 1e-12  # eps: below it X Xᵀ + εI may be singular to float64


def tensor_distances(Y, eps=1e-6, *, backend="auto", n_jobs=None):
    """Squared distances Σ_m ‖P_a − P_b‖²_F between the spaces of rows of tensors, over all their modes m.

    P = Xᵀ (X Xᵀ + εI)⁻¹ X, where X is the tensor as a matrix with mode m along one side, the smaller side along its R
    rows. Of full rank and ε → 0 it is Σ 2 (R − ‖V_aᵀ V_b‖²) with orthonormal bases V. It does not change with a
    tensor's scale; a mode's part does not change when its rows are mixed by an invertible matrix. A square matrix of
    full rank says nothing: its P is I.

    Parameters
    ----------
    Y : array (n, …), n ≥ 2 tensors of one shape and of any number of modes
    eps : float of at least 1e-12, or array (modes, n)
        ε = eps · tr(X Xᵀ)/R + tiny, a constant of the gradient; or every mode's and tensor's ε itself.
    backend, n_jobs : as for estimators

    Returns
    -------
    D : (n, n), symmetric; what is below the rounding of the traces is 0
    gradient : function of G (n, n), the gradient of a loss with respect to the entries of D; it returns that with
        respect to Y, (n, …)

    Raises
    ------
    ValueError
        Y has fewer than two tensors, no modes, no entries, or some that are not finite; eps is too small, or of another
        shape.

    Notes
    -----
    Cost: of a mode with R rows and m columns about n² R² m flops from factors or n² m² / 2 from projections, whichever
    is less, and three to four times as many for the gradient.
    """
    kernels = backends.get(backend)
    rows, shape = _flat("Y", Y, kernels)
    with kernels.threads(n_jobs):
        ridge = _ridge(eps, rows, shape, kernels)
        D = kernels.divergence.tensor_distances(rows, shape, ridge)

    def gradient(G):
        G = _pairs("G", G, rows, kernels)
        with kernels.threads(n_jobs):
            return kernels.divergence.tensor_distances_gradient(G, rows, shape, ridge).reshape(len(rows), *shape)

    return D, gradient


def vector_distances(Y, *, backend="auto", n_jobs=None):
    """Squared distances ‖y_a − y_b‖² of vectors, or of tensors laid out as such.

    Y : array (n, …), n ≥ 2; backend, n_jobs : as for estimators
    returns (D, gradient) as `tensor_distances` does, and raises what it raises
    """
    kernels = backends.get(backend)
    rows, shape = _flat("Y", Y, kernels)
    with kernels.threads(n_jobs):
        D = kernels.divergence.distances(rows)

    def gradient(G):
        G = _pairs("G", G, rows, kernels)
        with kernels.threads(n_jobs):
            return kernels.divergence.distances_gradient(G, rows).reshape(len(rows), *shape)

    return D, gradient


def gaussian_kernel(D, variance=None, *, backend="auto"):
    """K = exp(−D / 2σ²) of squared distances.

    D : (n, n), n ≥ 2; variance : σ² > 0, a float; None takes max(0.15 · median of all entries of D, 1e-9)
    returns (K (n, n), function of the gradient with respect to K → that with respect to D, σ² being constant)

    Raises
    ------
    ValueError
        D is not square, or not finite; variance is not positive.
    """
    kernels = backends.get(backend)
    D, _ = _flat("D", D, kernels)
    if D.shape[0] != D.shape[1]:
        raise ValueError(f"D has shape {D.shape}, expected (n, n), a distance for every pair")
    if variance is not None and not (_is_number(variance) and 0 < variance < np.inf):
        raise ValueError(f"variance={variance!r}, expected a positive number or None")
    if variance is None:
        variance = kernels.divergence.bandwidth(D)
    else:
        variance = kernels.xp.full(1, variance, D.dtype)
    K = kernels.divergence.gaussian_kernel(D, variance)
    return K, lambda G: kernels.divergence.gaussian_kernel_gradient(_pairs("G", G, D, kernels), D, K, variance)


def cauchy_schwarz(A, K, *, backend="auto", n_jobs=None):
    """D_cs = 2/(k(k − 1)) Σ_{i<j} N_ij / √(N_ii N_jj) with N = Aᵀ K A: 0 for clusters far apart, 1 for equal ones.

    A : (n, k), soft assignments, k ≥ 2; K : (n, n), symmetric kernel; backend, n_jobs : as for estimators
    returns (D_cs, a float, its gradients ∂A (n, k) and ∂K (n, n))

    Raises
    ------
    ValueError
        There are fewer than two clusters, K has another shape, or something is not finite.
    """
    kernels = backends.get(backend)
    A, shape = _flat("A", A, kernels)
    if len(shape) != 1 or shape[0] < 2:
        raise ValueError(
            f"A has shape {(len(A), *shape)}, expected (n, k) with k ≥ 2: between clusters, not within one"
        )
    K = _pairs("K", K, A, kernels)
    with kernels.threads(n_jobs):
        value, dA, dK = kernels.divergence.cauchy_schwarz(A, K)
    return float(value[0]), dA, dK


def _flat(name, array, kernels):
    """(rows (n, d) of the backend, shape of a sample), checked."""
    array = array if backends.is_device_array(array) else np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}, expected numbers")
    shape = tuple(int(size) for size in array.shape[1:])
    if len(array.shape) < 2 or array.shape[0] < 2 or 0 in shape:
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected (n, …) with n ≥ 2 and no size of 0")
    rows = kernels.own(array, np.float32 if array.dtype == np.float32 else np.float64)
    rows = rows.reshape(len(rows), -1)
    _check_finite(name, rows, (len(rows), *shape), kernels)
    return rows, shape


def _check_finite(name, array, shape, kernels):
    finite = kernels.xp.isfinite(array)
    if not finite.all():
        first = int((~finite).reshape(-1).argmax())
        where = tuple(int(i) for i in np.unravel_index(first, shape))
        raise ValueError(f"{name} contains {float(array.reshape(-1)[first])} at {where}, expected finite numbers")


def _pairs(name, array, rows, kernels):
    """An array (n, n) of the backend, in the dtype of the rows."""
    array = kernels.own(array, rows.dtype)
    if array.shape != (len(rows), len(rows)):
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}, expected {(len(rows), len(rows))}, one for every pair"
        )
    _check_finite(name, array, array.shape, kernels)
    return array


def _ridge(eps, rows, shape, kernels):
    """ε of every mode and sample."""
    if _is_number(eps):
        if not _LEAST <= eps < np.inf:
            raise ValueError(f"eps={eps!r}, expected a number of at least {_LEAST}, or an array (modes, n)")
        return kernels.divergence.ridges(rows, shape, float(eps))
    ridge, wanted = kernels.own(eps, rows.dtype), (len(shape), len(rows))
    if ridge.shape != wanted:
        raise ValueError(
            f"eps has shape {tuple(ridge.shape)}, expected a number or {wanted}, one for every mode and tensor"
        )
    _check_finite("eps", ridge, wanted, kernels)
    if not (ridge > 0).all():
        raise ValueError(f"eps contains {float(ridge.min())}, expected positive numbers")
    return ridge


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)
