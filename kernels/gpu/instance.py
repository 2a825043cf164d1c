"""CUDA twin of ``reference.instance``: instance discrimination, feature decorrelation, the memory bank.

The bank goes by in blocks: a product of the library, one kernel that turns logits into terms, another product.
Arguments are those of the reference, arrays on the device.
"""

import numpy as np

from ._platform.launch import THREADS, WARP, array, blocks_for, in_place, launch, xp

ROWS = 1024  # of the bank that are looked at together, at least

_LOGITS = 1 << 22  # of a block of the bank, where it has more rows


def discrimination(Z, index, bank, weights, temperature, background, background_temperature):
    """−log P(i | v) of every sample against the whole bank, which is constant, and the gradient of their weighted sum.

        ∂/∂v_i of Σ w_i ℓ_i = w_i/τ (Σ_m p_m v_m − v_i of the bank),     p_m = w_m exp(s_m) / Σ w exp(s)

    weights : (n,), of all samples; background : (n, e), rows of unit norm, of all samples
    returns (losses (b,), gradient (b, D))
    Cost: 2 b n (2 D + e) flops and b n exponentials; 1 + 4 n / ``rows`` launches
    """
    Z, index, bank = array("Z", Z), array("index", index, np.int64), array("bank", bank)
    weights, background = array("weights", weights), array("background", background)
    t, (b, D), e = Z.dtype.type, Z.shape, background.shape[1]
    own = Z / t(temperature)
    if e:
        own = xp.concatenate([own, background[index] / t(background_temperature)], axis=1)
    highest, total, shrink = xp.full(b, -np.inf), xp.zeros(b), xp.empty(b)
    pulled, rows = xp.zeros((b, D)), max(ROWS, _LOGITS // max(b, 1))
    for start in range(0, len(bank), rows):
        here = slice(start, start + rows)
        # 1. logits of a block
        V = bank[here]
        S = xp.matmul(own, (xp.concatenate([V, background[here]], axis=1) if e else V).T)
        # 2. relative to the largest so far
        # 3. sums
        sums = weights[here], b, len(V), highest, total, shrink
        launch("instance", "terms", Z.dtype, blocks_for(b * THREADS), S, *sums)
        pulled *= shrink[:, None]
        pulled += xp.matmul(S, V)
    # 4. less the sample's own
    losses, gradient = xp.empty(b, Z.dtype), xp.empty(Z.shape, Z.dtype)
    launch(
        *("instance", "finish", Z.dtype, blocks_for(b * THREADS), own, index, bank, weights, background, b, D, e),
        *(temperature, highest, total, pulled, losses, gradient),
    )
    return losses, gradient


def decorrelation(Z, weights, temperature, background):
    """L_FD of a batch, a mean over columns, and its gradient; a loss of the whole batch, not a sum over samples.

        c_ml = f_mᵀf_l,   L_FD = (1/D) Σ_l log(Σ_m exp(c_ml/τ₂) + Σ_m exp(a_ml²/τ₂)) − c_ll/τ₂,   a_ml = h_mᵀf_l
        ∂/∂f_l = (1/(D τ₂)) [Σ_m (p_ml + p_lm) f_m − 2 f_l + Σ_m 2 a_ml q_ml h_m],   through the norm to z_l

    weights : (b,); background : (b, e), of the batch; returns (float, gradient (b, D))
    Cost: 8 b D (D + e) flops; waits for the device
    """
    Z, weights, background = array("Z", Z), array("weights", weights), array("background", background)
    (b, D), e, dtype = Z.shape, background.shape[1], Z.dtype
    # 1. columns of unit norm
    F, norms = _unit_columns(Z, weights)
    H, _ = _unit_columns(background, weights)
    # 2. shares of correlations
    C, A = xp.matmul(F.T, F), xp.matmul(H.T, F) if e else xp.empty((0, D), dtype)
    values = xp.empty(D, np.float64)
    launch("instance", "shares", dtype, blocks_for(D * THREADS), C, A, D, e, temperature, values)
    # 3. back
    P = xp.empty(C.shape, dtype)
    launch("instance", "both_ways", dtype, blocks_for(D * D), C, D, P)
    G = xp.matmul(F, P)
    if e:
        G += xp.matmul(H, A)
    scale = 1 / (D * temperature)
    launch("instance", "through_norm", dtype, blocks_for(D * THREADS), G, F, norms, weights, b, D, scale)
    return float(values.sum()) / D, G


def _unit_columns(A, weights):
    (b, D), F = A.shape, xp.empty(A.shape, A.dtype)
    norms = xp.empty(D, A.dtype)
    launch("instance", "unit_columns", A.dtype, blocks_for(D * THREADS), A, weights, b, D, F, norms)
    return F, norms


def update_bank(bank, index, Z, momentum):
    """v_i ← momentum v_i + (1 − momentum) z_i, then of unit norm, of the batch's samples, in place.

    Z : (b, D), of unit norm; index : without repetitions; momentum : float in [0, 1)
    Cost: 6 b D flops
    """
    index, Z = array("index", index, np.int64), array("Z", Z)
    b, D = Z.shape
    with in_place(bank=bank) as (bank,):
        # 1. average
        # 2. unit norm
        launch(
            *("instance", "update_bank", Z.dtype, blocks_for(b * WARP), bank, index, Z, b, D),
            *(momentum, 1 - momentum),
        )
