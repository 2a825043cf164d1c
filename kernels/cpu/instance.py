"""Numba twin of ``reference.instance``: instance discrimination, feature decorrelation, the memory bank.

The bank goes by in blocks that stay in the second-level cache: a product of the library, one compiled pass that turns
logits into terms, another product. Threads take shares of the bank, whose sums are put together in their order.
"""

import numpy as np

from ._engine.arrays import plain
from ._engine.jit import compiled, jit
from ._engine.pool import blocks, parallel, single_blas_thread
from .dense import exp_parts

ROWS = 256  # of the bank that are looked at together, with their logits in the second-level cache

_SHARES = 16  # of the bank at most

# Sums over samples are contracted to fused multiply-adds and added up in lanes; no sampled bit depends on it.
_in_lanes = compiled(fastmath={"contract", "reassoc"})


def discrimination(Z, index, bank, weights, temperature, background, background_temperature):
    """−log P(i | v) of every sample against the whole bank, which is constant, and the gradient of their weighted sum.

        ∂/∂v_i of Σ w_i ℓ_i = w_i/τ (Σ_m p_m v_m − v_i of the bank),     p_m = w_m exp(s_m) / Σ w exp(s)

    weights : (n,), of all samples; background : (n, e), rows of unit norm, of all samples
    returns (losses (b,), gradient (b, D))
    Cost: 2 b n (2 D + e) flops and b n exponentials
    """
    Z, bank, weights, background, index = map(plain, (Z, bank, weights, background, index))
    t, (b, D) = Z.dtype.type, Z.shape
    own = np.concatenate([Z / t(temperature), background[index] / t(background_temperature)], axis=1)
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights)
    with single_blas_thread():
        parts = parallel(lambda rows: _share(own, bank[rows], background[rows], log_weights[rows]), _shares(len(bank)))
    highest, total, pulled = parts[0] if parts else _nothing(b, D)
    for part in parts[1:]:
        _add_part(highest, total, pulled, *part)
    # 4. less the sample's own
    return _finished(Z, own, index, bank, weights, background, t(temperature), highest, total, pulled)


def _shares(n):
    """Slices of the bank, by its length alone."""
    return blocks(n, ROWS * max(1, -(-n // (ROWS * _SHARES))))


def _nothing(b, D):
    return np.full(b, -np.inf), np.zeros(b), np.zeros((b, D))


def _share(own, bank, background, log_weights):
    """(largest logit, sum of terms, sum of terms times v_m) of a share of the bank: (b,), (b,), (b, D) float64."""
    b, D = len(own), bank.shape[1]
    highest, total, pulled = _nothing(b, D)
    shrink, part, S = np.empty(b), np.empty((b, D), own.dtype), np.empty((min(ROWS, len(bank)), b), own.dtype)
    for rows in blocks(len(bank), ROWS):
        V = bank[rows]
        both, terms = np.concatenate([V, background[rows]], axis=1) if background.shape[1] else V, S[: len(V)]
        # 1. logits of a block
        np.matmul(both, own.T, out=terms)
        # 2. relative to the largest so far
        _terms(terms, log_weights[rows], highest, total, shrink)
        # 3. sums
        np.matmul(terms.T, V, out=part)
        _accumulate(pulled, shrink, part)
    return highest, total, pulled


@_in_lanes
def _terms(S, log_weights, highest, total, shrink):
    """S (m, b) ← exp(S + log w − highest); highest, total and shrink, the factor of earlier sums, (b,) each."""
    m, b = S.shape
    t = S.dtype.type
    top, sums = np.full(b, t(-np.inf)), np.zeros(b, S.dtype)
    for l in range(m):
        s, w = S[l], log_weights[l]
        for i in range(b):
            y = s[i] + w
            s[i] = y
            top[i] = y if y > top[i] else top[i]
    for i in range(b):
        before = highest[i]
        highest[i] = max(before, np.float64(top[i]))
        shrink[i] = np.exp(before - highest[i]) if before > -np.inf else 0.0
        top[i] = t(highest[i]) if highest[i] > -np.inf else t(0)
    for l in range(m):
        s = S[l]
        for i in range(b):
            c, q = exp_parts(s[i] - top[i])
            e = c + c * q
            s[i] = e
            sums[i] += e
    for i in range(b):
        total[i] = total[i] * shrink[i] + np.float64(sums[i])


@jit
def _accumulate(pulled, shrink, part):
    for i in range(len(pulled)):
        for d in range(pulled.shape[1]):
            pulled[i, d] = pulled[i, d] * shrink[i] + np.float64(part[i, d])


@jit
def _add_part(highest, total, pulled, other_highest, other_total, other_pulled):
    """Adds the sums of a later share of the bank to those of the earlier ones."""
    for i in range(len(total)):
        top = max(highest[i], other_highest[i])
        left = np.exp(highest[i] - top) if highest[i] > -np.inf else 0.0
        right = np.exp(other_highest[i] - top) if other_highest[i] > -np.inf else 0.0
        highest[i], total[i] = top, left * total[i] + right * other_total[i]
        for d in range(pulled.shape[1]):
            pulled[i, d] = left * pulled[i, d] + right * other_pulled[i, d]


@jit
def _finish(Z, own, index, bank, weights, background, temperature, sums, losses, gradient):
    highest, total, pulled = sums
    D = Z.shape[1]
    for i in range(len(Z)):
        place, pull = index[i], 0.0
        for d in range(D):
            pull += np.float64(own[i, d] * bank[place, d])
            mean = Z.dtype.type(pulled[i, d] / total[i])
            gradient[i, d] = weights[place] / temperature * (mean - bank[place, d])
        for d in range(background.shape[1]):
            pull += np.float64(own[i, D + d] * background[place, d])
        losses[i] = np.log(total[i]) + highest[i] - pull


def _finished(Z, own, index, bank, weights, background, temperature, *sums):
    losses, gradient = np.empty(len(Z), Z.dtype), np.empty_like(Z)
    _finish(Z, own, index, bank, weights, background, temperature, sums, losses, gradient)
    return losses, gradient


def decorrelation(Z, weights, temperature, background):
    """L_FD of a batch, a mean over columns, and its gradient; a loss of the whole batch, not a sum over samples.

        c_ml = f_mᵀf_l,   L_FD = (1/D) Σ_l log(Σ_m exp(c_ml/τ₂) + Σ_m exp(a_ml²/τ₂)) − c_ll/τ₂,   a_ml = h_mᵀf_l
        ∂/∂f_l = (1/(D τ₂)) [Σ_m (p_ml + p_lm) f_m − 2 f_l + Σ_m 2 a_ml q_ml h_m],   through the norm to z_l

    weights : (b,); background : (b, e), of the batch; returns (float, gradient (b, D))
    Cost: 8 b D (D + e) flops
    """
    Z, weights, background = plain(Z), plain(weights), plain(background)
    t, D = Z.dtype.type, Z.shape[1]
    with single_blas_thread():
        # 1. columns of unit norm
        root = np.sqrt(weights)[:, None]
        F, norms = _unit_columns(root * Z)
        H, _ = _unit_columns(root * background)
        # 2. shares of correlations
        C, A = F.T @ F / t(temperature), H.T @ F
        T = np.concatenate([C, A * A / t(temperature)])
        highest = T.max(axis=0)
        P = np.exp(T - highest)
        total = P.sum(axis=0)
        P /= total
        value = float((np.log(total) + highest - np.diag(C)).sum(dtype=np.float64)) / D
        # 3. back
        P, Q = P[:D], P[D:]
        G = F @ (P + P.T - 2 * np.eye(D, dtype=Z.dtype)) + H @ (2 * A * Q)
        G = (G - F * (F * G).sum(axis=0)) / norms
        return value, root * G * t(1 / (D * temperature))


def _unit_columns(A):
    norms = np.sqrt((A * A).sum(axis=0))
    norms = np.where(norms > 0, norms, A.dtype.type(1))
    return A / norms, norms


def update_bank(bank, index, Z, momentum):
    """v_i ← momentum v_i + (1 − momentum) z_i, then of unit norm, of the batch's samples, in place.

    Z : (b, D), of unit norm; index : without repetitions; momentum : float in [0, 1)
    Cost: 6 b D flops
    """
    t = bank.dtype.type
    # 1. average
    mixed = t(momentum) * bank[index] + t(1 - momentum) * Z
    # 2. unit norm
    norms = np.sqrt((mixed * mixed).sum(axis=1, keepdims=True))
    bank[index] = mixed / np.where(norms > 0, norms, t(1))
