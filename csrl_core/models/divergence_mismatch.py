"""Gradients of the objectives of deep clustering by divergences, one by one, and what a fit keeps of their mismatch.

    clustering                 L_DDC
    companion                  λ times squared errors, or λ Σ_l w_l D_cs(A, K_l)
    companion, A constant      the same without its part through the assignments, which L_DDC differentiates too
    separation, orthogonality, corners     the terms of L_DDC, D_cs(A, K_H), Σ A_a · A_b and D_cs(M, K_H)
    block 1, …                 λ w_l D_cs(A, K_l)
    autoencoder                the companion of that name
    invariance                 its weight times −mean log Σ_j A_ij A'_ij, through both views

Gradients are with respect to all parameters; what a fit keeps is of the encoder's.
"""

import numpy as np

from csrl_core.models import mismatch_log
from csrl_core.models.divergence_terms import Term, summed

CLUSTERING, COMPANION, DETACHED = OBJECTIVES = ("clustering", "companion", "companion, A constant")
OF_CLUSTERING = ("separation", "orthogonality", "corners")


def terms_of(companion, blocks, invariance):
    """Names of the terms, in order. companion : as in `Objective`; blocks : int; invariance : its weight"""
    beside = {None: (), "autoencoder": ("autoencoder",), "uco": tuple(f"block {l + 1}" for l in range(blocks))}
    return (*OF_CLUSTERING, *beside[companion], *(("invariance",) if invariance else ()))


def gradients(model, params, done):
    """Dict of name → gradient (p,) of objectives and terms. done : `Evaluated`"""
    return objectives(model, params, done) | terms(model, params, done)


def objectives(model, params, done):
    """Dict of name → gradient (p,) of L_DDC and, where there is one, of the companion, with A and with A constant."""
    found = {CLUSTERING: _gradient(model, params, done, done.terms[0])}
    if len(done.terms) > 1:
        companion = summed(done.terms[1:])
        found[COMPANION] = _gradient(model, params, done, companion) + done.decoder
        detached = companion._replace(assignments=None)
        same = companion.assignments is None
        found[DETACHED] = found[COMPANION] if same else _gradient(model, params, done, detached)
    return found


def terms(model, params, done):
    """Dict of name → gradient (p,) of every term."""
    parts = [*_of_clustering(model, done), *done.terms[1:]]
    found = {term.name: _gradient(model, params, done, term) for term in parts}
    if model.decoder is not None:
        found["autoencoder"] = found["autoencoder"] + done.decoder
    if done.view is not None:
        found["invariance"] = done.view.gradient + _back(model, params, done, {len(model.chain) - 1: done.view.logits})
    return found


def keep(model, params, done, step):
    """Write the row of a step into the state: values of every batch, cosines of those that the log compares."""
    values = done.terms[0].value, sum((term.value for term in done.terms[1:]), 0.0)
    row, log = [*values] if len(done.terms) > 1 else [values[0]], model.log
    if log.compares(step % log.batches):
        backbone = slice(model.encoder[0].params.start, model.encoder[-1].params.stop)

        def only(named):
            return {name: gradient[backbone] for name, gradient in named.items()}

        pairs = only(terms(model, params, done)) if log.pairs else {}
        row = mismatch_log.row_of(values, only(objectives(model, params, done)), OBJECTIVES, pairs)
    log.write(params.state, step, row, model.own)


def _of_clustering(model, done):
    """The terms of L_DDC, each a `Term`."""
    kernel, head, A, w = model.kernel, len(model.chain) - 2, done.A, done.w
    K, back = model.affinities(done.passes[head].out, None)
    value, dA, dK = kernel.cauchy_schwarz(w * A, K)
    yield Term(OF_CLUSTERING[0], float(value[0]), w * dA, {head: back(dK)})
    value, dA = kernel.orthogonality(w * A)
    yield Term(OF_CLUSTERING[1], float(value[0]), w * dA, {})
    M = kernel.corner_kernel(A)
    value, dM, dK = kernel.cauchy_schwarz(w * M, K)
    yield Term(OF_CLUSTERING[2], float(value[0]), kernel.corner_kernel_gradient(w * dM, A, M), {head: back(dK)})


def _gradient(model, params, done, term):
    """The gradient (p,) of a term, a decoder's own part left out."""
    added, last = dict(term.outputs), len(model.chain) - 1
    if term.assignments is not None:
        added[last] = model.kernel.soft_assignments_gradient(term.assignments, done.A)
    return _back(model, params, done, added)


def _back(model, params, done, added):
    gradient = np.zeros_like(done.decoder)
    model.backward(model.chain, params, done.passes, added, done.draws, gradient)
    return gradient
