"""Instance discrimination with feature decorrelation, and both against a background.

Sources: Wu, Xiong, Yu, Lin, Unsupervised feature learning via non-parametric instance discrimination, CVPR 2018 (the
memory bank, P(i | v)); Tao, Takagi, Nakata, Clustering-friendly representation learning via instance discrimination
and feature decorrelation, ICLR 2021 (both losses). Of Oshima, Takagi, Nakata, arXiv 2408.04891, only the abstract was
at hand: what a background adds here is our reading of it.

    P(i | v) = exp(s_i) / Σ_m w_m exp(s_m),     s_m = v_mᵀv/τ + b_mᵀb_i/τ_b          (v_m, b_m : rows of the banks)
    f_l : column l of a batch's embeddings, of unit norm;    L_FD = mean over l of  log Σ_m exp(f_mᵀf_l/τ₂) − f_lᵀf_l/τ₂

Without a background its arrays have no columns. A weight counts a sample as often as it says, in every sum.

Everywhere: b samples of a batch, n of all, D dimensions, e of the background; Z (b, D), embeddings of unit norm, index
(b,) int64, the batch's places in the bank, bank (n, D), background (n, e) or (b, e), weights (n,) or (b,), all of one
float dtype; temperatures τ, τ_b and τ₂ floats above 0.
"""

import numpy as np

CHUNK = 1024  # rows of the bank that are looked at together


def discrimination(Z, index, bank, weights, temperature, background, background_temperature):
    """−log P(i | v) of every sample against the whole bank, which is constant, and the gradient of their weighted sum.

        ∂/∂v_i of Σ w_i ℓ_i = w_i/τ (Σ_m p_m v_m − v_i of the bank),     p_m = w_m exp(s_m) / Σ w exp(s)

    The bank is read in blocks, and of a block's logits only their largest, their sum and their mean of v_m are kept: no
    array has b × n numbers. Logits are taken relative to the largest so far.

    weights : (n,), of all samples; background : (n, e), rows of unit norm, of all samples
    returns (losses (b,), gradient (b, D))
    Cost: 2 b n (2 D + e) flops and b n exponentials
    """
    t = Z.dtype.type
    own = np.concatenate([Z / t(temperature), background[index] / t(background_temperature)], axis=1)
    highest, total = np.full(len(Z), -np.inf), np.zeros(len(Z))
    pulled = np.zeros(Z.shape)
    for start in range(0, len(bank), CHUNK):
        rows = slice(start, start + CHUNK)
        # 1. logits of a block
        with np.errstate(divide="ignore"):
            S = own @ np.concatenate([bank[rows], background[rows]], axis=1).T + np.log(weights[rows])
        # 2. relative to the largest so far
        before, highest = highest, np.maximum(highest, S.max(axis=1))
        P = np.exp(S - _finite(highest)[:, None].astype(Z.dtype))
        shrink = np.exp(before - _finite(highest))
        # 3. sums
        total = total * shrink + P.sum(axis=1, dtype=np.float64)
        pulled = pulled * shrink[:, None] + P @ bank[rows]
    # 4. less the sample's own
    pull = own[:, : Z.shape[1]] * bank[index], own[:, Z.shape[1] :] * background[index]
    losses = np.log(total) + highest - sum(part.sum(axis=1, dtype=np.float64) for part in pull)
    gradient = (weights[index] / t(temperature))[:, None] * ((pulled / total[:, None]).astype(Z.dtype) - bank[index])
    return losses.astype(Z.dtype), gradient


def _finite(highest):
    return np.where(np.isfinite(highest), highest, 0)


def decorrelation(Z, weights, temperature, background):
    """L_FD of a batch, a mean over columns, and its gradient; a loss of the whole batch, not a sum over samples.

        c_ml = f_mᵀf_l,   L_FD = (1/D) Σ_l log(Σ_m exp(c_ml/τ₂) + Σ_m exp(a_ml²/τ₂)) − c_ll/τ₂,   a_ml = h_mᵀf_l
        ∂/∂f_l = (1/(D τ₂)) [Σ_m (p_ml + p_lm) f_m − 2 f_l + Σ_m 2 a_ml q_ml h_m],   through the norm to z_l

    h_m : column m of the background, of unit norm; p and q : the terms' shares in their sums. Squared, since opposite
    columns are as alike as equal ones. Its least value without background has c_ml = −1/(D − 1).

    weights : (b,); background : (b, e), of the batch; returns (float, gradient (b, D))
    Cost: 8 b D (D + e) flops
    """
    t, D = Z.dtype.type, Z.shape[1]
    # 1. columns of unit norm
    root = np.sqrt(weights)[:, None]
    F, norms = unit_columns(root * Z)
    H, _ = unit_columns(root * background)
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


def unit_columns(A):
    """Columns of unit norm, and the norms that they had, 1 instead of 0: ((b, D), (D,))."""
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
