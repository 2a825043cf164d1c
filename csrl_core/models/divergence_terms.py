"""Records of the objective of deep clustering by divergences: which terms there are, and what a batch makes of them."""

from typing import NamedTuple

import numpy as np

from csrl_core.reference.network import Draws

RATES = {"constant": lambda l, B: 1.0, "linear": lambda l, B: l / B, "exponential": lambda l, B: 10.0 ** (l - B)}


class Objective(NamedTuple):
    """The terms beside L_DDC.

    companion : None, "autoencoder" or "uco"; weight : λ; block_weights : w_l, a tuple
    kernel : "tensor" or "vector"; invariance : weight of −mean log Σ_j A_ij A'_ij
    """

    companion: str | None = None
    weight: float = 0.0
    kernel: str = "tensor"
    block_weights: tuple = ()
    invariance: float = 0.0


def block_weights(rule, count):
    """w_l of blocks l = 1 … B: 1, l/B or 10^(l − B)."""
    return tuple(RATES[rule](l, count) for l in range(1, count + 1))


class Term(NamedTuple):
    """A part of the objective of a batch, with its gradients.

    name, value : str, float; assignments : ∂A (n, k), None where A does not matter
    outputs : dict of place in the chain of pieces → gradient with respect to that piece's output
    """

    name: str
    value: float
    assignments: np.ndarray | None
    outputs: dict


def summed(terms):
    """Several terms as one, which has the first one's name."""
    total, *others = terms
    for term in others:
        outputs = dict(total.outputs)
        for place, G in term.outputs.items():
            outputs[place] = outputs[place] + G if place in outputs else G
        dA = total.assignments if term.assignments is None else total.assignments + term.assignments
        total = Term(total.name, total.value + term.value, dA, outputs)
    return total


class View(NamedTuple):
    """The invariance term: its value, ∂logits (n, k) of samples as they are, and the gradient (p,) of their copies."""

    value: float
    logits: np.ndarray
    gradient: np.ndarray


class Evaluated(NamedTuple):
    """A batch after its forward pass.

    w : (n, 1), weights of mean 1; draws : of dropout; passes : list of `Pass`, one a piece of the chain
    A : (n, k); terms : list of `Term`, L_DDC and then the companions; decoder : (p,), the gradient of its parameters
    view : `View` or None
    """

    w: np.ndarray
    draws: Draws
    passes: list
    A: np.ndarray
    terms: list
    decoder: np.ndarray
    view: View | None
