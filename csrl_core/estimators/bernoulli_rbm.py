"""A fitted `sklearn.neural_network.BernoulliRBM` as a `TensorizedRBM` of one cluster."""

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted

from csrl_core import backends
from csrl_core.estimators.device_input import FLOATS
from csrl_core.training.draws import draw_key


def as_machine(cls, rbm, arguments):
    """See `TensorizedRBM.from_bernoulli_rbm`. cls : the estimator class; arguments : dict of constructor arguments."""
    check_is_fitted(rbm, "components_")
    weight = check_array(rbm.components_, dtype=FLOATS, input_name="components_").T
    d, m = weight.shape
    arguments = {
        "n_clusters": 1,
        "n_hidden": m,
        "epochs": rbm.n_iter,
        "batch_size": rbm.batch_size,
        "learning_rate": rbm.learning_rate,
        "optimizer": "sgd",
        "weight_decay": 0.0,
    } | arguments
    estimator = cls(**arguments)
    if (estimator.n_clusters, estimator.n_hidden, estimator.visible) != (1, m, "bernoulli"):
        raise ValueError(
            f"n_clusters={estimator.n_clusters}, n_hidden={estimator.n_hidden}, visible={estimator.visible!r}; a "
            f"BernoulliRBM of {m} components needs 1, {m} and 'bernoulli'"
        )
    estimator._validate_params()
    biases = np.ravel(rbm.intercept_hidden_), np.ravel(rbm.intercept_visible_)
    params = np.concatenate([np.ravel(weight), *biases]).astype(weight.dtype)
    zeros = np.zeros((1, d))
    estimator._install(
        {
            "params_": params,
            "state_": {
                "assign": np.empty(0, np.int64),
                "centers": zeros,
                "sums": zeros.copy(),
                "totals": np.zeros(1),
                "counts": np.zeros(1, np.int64),
                "shift": np.zeros(d),
            },
            "labels_": np.empty(0, np.int64),
            "loss_": float("nan"),
            "loss_curve_": [],
            "n_iter_": rbm.n_iter,
            "n_steps_": 0,
            "n_reseeded_": 0,
            "cluster_centers_": zeros.astype(weight.dtype),
            "backend_": backends.get(estimator.backend).name,
            "_moments": np.zeros((2, len(params)), weight.dtype),
            "_key": draw_key(estimator.random_state),
            "_fitted_as": estimator._description(),
            "_shapes": {"weight": (1, d, m), "hidden_bias": (1, m), "visible_bias": (1, d)},
            "n_features_in_": d,
        }
    )
    return estimator
