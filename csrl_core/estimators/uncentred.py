"""A Boltzmann machine that was trained on centred binary units as a machine of the binary units themselves."""

from copy import copy

import numpy as np


def uncentred(model):
    """A copy of a fitted `TensorizedRBM` without centres, whose energies are the same but for a constant.

    The hidden units' input a + Wᵀ(x − c) is (a − Wᵀc) + Wᵀx: what training took from x goes into the biases. Only so
    has a machine that was trained on x − c a distribution over binary samples, with a log Z of its own; it assigns by
    that. A machine without centres is returned as it is.

    model : TensorizedRBM with Bernoulli units, fitted; returns TensorizedRBM
    """
    if not model._centred:
        return model
    other = copy(model).set_params(center=False, assignment="likelihood")
    other.params_ = model.params_.copy()
    other._fitted_as = other._description()  # the parameters are adapted to it below
    named, centers = other.named_parameters(), model.cluster_centers_
    named["hidden_bias"] -= np.einsum("jd,jdm->jm", centers, named["weight"])
    return other
