"""Tensorized restricted Boltzmann machines (TRBM) and, with one cluster, the standard machine.

Source: arXiv 2412.03471. The mathematics is in `csrl_core.reference.rbm`.
"""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, check_is_fitted

from csrl_core import backends
from csrl_core.backends import as_numpy
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.estimators.device_input import FLOATS
from csrl_core.estimators.rbm_answers import FittedRBM, RBMAnswers
from csrl_core.models.rbm import PartitionRule, RBMAssignment, RBMModel
from csrl_core.reference.rbm import VISIBLE
from csrl_core.training.draws import draw_key

STEPS, LEAST_EPOCHS = 1000, 10  # of the optimizer, and passes over the data, that a fit makes at least by default
RATES = {"bernoulli": 0.003, "gaussian": 0.001}  # learning rates by default
FULL_BATCH_CHAINS = 100  # persistent chains of a cluster where the batch is all data
SCALES = 1 / 3, 3.0  # typical standard deviations that Gaussian units of unit variance still suit


class ScaleWarning(UserWarning):
    """Gaussian visible units have unit variance, and the data's features are far from it."""


class TensorizedRBM(RBMAnswers, BaseClusterSpecific):
    """One restricted Boltzmann machine per cluster, learnt together with the clusters.

    With F_j the free energy of cluster j's machine and v^K the end of K steps of Gibbs sampling from the sample,
    minimises over parameters and assignments s the mean of L[i, s_i], L[i, j] = F_j(x_i − c_j) − F_j(v^K): contrastive
    divergence (CD-K), or with persistent chains PCD. All machines share the visible bias.

    Parameters
    ----------
    n_clusters : int, default=2
        k. With 1 this is the standard machine.
    n_hidden : int, default=500
        m, hidden units of each machine.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Binary units, for data in [0, 1] (values between are taken as probabilities), or real ones of unit variance,
        for scaled data.
    gibbs_steps : int, default=1
        K.
    persistent : bool, default=False
        Whether chains go on from batch to batch (PCD) instead of starting at the data.
    n_chains : int or None, default=None
        Persistent chains of each cluster; None takes ``batch_size`` (100 where that is None).
    epochs : int or "auto", default="auto"
        "auto": as many as make 1000 steps of the optimizer, and ten at least.
    batch_size : int or None, default=64
        None is full batch.
    learning_rate : float or "auto", default="auto"
        "auto": 0.003, and 0.001 for Gaussian units.
    optimizer : {"adam", "sgd"}, default="adam"
    momentum : float, default=0
        Of "sgd", in [0, 1).
    weight_decay : float, default=0.01
        λ of a penalty ½ λ ‖W‖² whose gradient is added to the mean one's; biases have none, and losses leave it out.
        With it labels keep more of a good start where samples are few and features many.
    center : bool or "auto", default="auto"
        Whether each cluster's centre is subtracted. "auto": for Gaussian units only. (The paper's code subtracts it
        from what it then takes as binary units: ``center=True`` with Bernoulli units.)
    update : {"assign-then-step", "step-then-assign"}, default="assign-then-step"
    standing_epochs : int or "auto", default="auto"
        Epochs at the beginning during which the first assignment stands: with weights near zero all machines are
        alike, and say nothing of clusters. Afterwards every batch is assigned anew; 0 is the paper's procedure.
        "auto": it stands throughout, and labels are by likelihood in the end. (In `partial_fit` samples stand with
        the nearest centre.)
    center_update : {"mean", "running"}, default="mean"
    assignment : {"likelihood", "cd"}, default="likelihood"
        Samples go to the cluster of the highest likelihood, −log π_j + F_j + log Z_j being the lowest; or to that of
        the lowest loss, the paper's rule (with means instead of samples in the chains when predicting). Differences of
        free energies of two machines are not on one scale; with log Z_j, by annealed importance sampling, they are.
    ais_chains, ais_betas : int, default=100, 1000
        Chains and temperatures of the annealing.
    ais_every : int or "auto", default="auto"
        Epochs between two estimates of log Z in training with ``assignment="likelihood"`` and several clusters: rough
        ones, with at most 100 temperatures. The fit's last estimate has all. "auto": five, and none while an
        assignment stands and needs none.
    tol, n_iter_no_change : float and int, default=0 and 10
        0 runs all epochs; otherwise training stops when for ``n_iter_no_change`` epochs no assignment changed and the
        best loss improved by no more than tol·max(1, |best|).
    n_init : int, default=1
        Restarts; the one with the highest mean log-likelihood, or pseudo-likelihood where log Z is not known, is kept.
    init : {"auto", "k-means", "k-means++", "random"}, labels (n,) or centres (k, d), default="auto"
        The first assignment; "auto": the best of ten k-means (one, if X has more than 2²⁰ values).
        Machines keep what they first learn, so that it should be a good one.
    clip_norm : float or None, default=None
    backend : {"auto", "numpy", "numba", "cupy", "emulated"}, default="auto"
    n_jobs : int or None, default=None
        Threads; None takes all usable cores. Results do not depend on it.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``
    cluster_centers_ : (k, d), means of the data over the clusters
    params_ : (p,), all trained parameters: "weight" (k, d, m), "hidden_bias" (k, m), "visible_bias" (1, d)
    loss_ : float, the final objective: says nothing of how good a machine is; loss_curve_ : list
    log_partition_, log_partition_error_ : (k,), log Z of every machine and its standard error, estimated when first
        asked for, or in training where the assignment needs it
    n_iter_, n_steps_, n_reseeded_, backend_, state_ : as for every clustering estimator

    Examples
    --------
    >>> import numpy as np
    >>> from csrl_core import TensorizedRBM, metrics
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.random((200, 12)) < np.repeat([[0.1], [0.9]], 100, axis=0)).astype(float)
    >>> model = TensorizedRBM(n_hidden=4, random_state=0).fit(X)
    >>> metrics.adjusted_rand_index(np.repeat([0, 1], 100), model.labels_)
    1.0
    """

    _parameter_constraints = {
        **BaseClusterSpecific._parameter_constraints,
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "visible": [StrOptions(set(VISIBLE))],
        "gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "persistent": ["boolean"],
        "n_chains": [None, Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "center": ["boolean", StrOptions({"auto"})],
        "init": [StrOptions({"auto", "k-means++", "k-means", "random"}), "array-like"],
        "epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "standing_epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "assignment": [StrOptions({"cd", "likelihood"})],
        "ais_chains": [Interval(Integral, 2, None, closed="left")],
        "ais_betas": [Interval(Integral, 2, None, closed="left")],
        "ais_every": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        n_clusters=2,
        n_hidden=500,
        visible="bernoulli",
        gibbs_steps=1,
        persistent=False,
        n_chains=None,
        epochs="auto",
        batch_size=64,
        learning_rate="auto",
        optimizer="adam",
        momentum=0.0,
        weight_decay=0.01,
        center="auto",
        update="assign-then-step",
        standing_epochs="auto",
        center_update="mean",
        assignment="likelihood",
        ais_chains=100,
        ais_betas=1000,
        ais_every="auto",
        tol=0.0,
        n_iter_no_change=10,
        n_init=1,
        init="auto",
        clip_norm=None,
        backend="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.n_hidden = n_hidden
        self.visible = visible
        self.gibbs_steps = gibbs_steps
        self.persistent = persistent
        self.n_chains = n_chains
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.center = center
        self.update = update
        self.standing_epochs = standing_epochs
        self.center_update = center_update
        self.assignment = assignment
        self.ais_chains = ais_chains
        self.ais_betas = ais_betas
        self.ais_every = ais_every
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.n_init = n_init
        self.init = init
        self.clip_norm = clip_norm
        self.backend = backend
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # What the base class asks for

    def _validate_params(self):
        super()._validate_params()
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum={self.momentum!r} needs optimizer='sgd', got {self.optimizer!r}, whose moments are its own"
            )

    @property
    def _centred(self):
        return self.visible == "gaussian" if isinstance(self.center, str) else self.center

    _DESCRIBING = ("n_clusters", "n_hidden", "visible", "assignment")

    def _parameter_shapes(self):
        k, d, m = self.n_clusters, self.n_features_in_, self.n_hidden
        return {"weight": (k, d, m), "hidden_bias": (k, m), "visible_bias": (1, d)}

    def _state_shapes(self):
        required, optional = super(BaseClusterSpecific, self)._state_shapes()
        k, d, m = self.n_clusters, self.n_features_in_, self.n_hidden
        partition = {
            "log_partition": ((k,), np.float64),
            "log_partition_error": ((k,), np.float64),
            "n_estimates": ((1,), np.int64),
            "age": ((1,), np.int64),
        }
        chains = {"chains": ((k, None, d), None), "chains_hidden": ((k, None, m), None)}
        needed = self.assignment == "likelihood" and k > 1
        return (required | partition, chains) if needed else (required, optional | partition | chains)

    def _model(self, backend):
        chains = (self.n_chains or self.batch_size or FULL_BATCH_CHAINS) if self.persistent else 0
        return RBMModel(
            *(backend, self.n_features_in_, self.n_clusters, self.n_hidden, self.visible, self.gibbs_steps, chains)
        )

    def _partition(self, model, key):
        return PartitionRule(model, self.ais_chains, self.ais_betas, key, self._centred)

    def _rule(self, model, backend, key):
        # One machine assigns nothing: its log Z can wait until somebody asks.
        by_likelihood = self.assignment == "likelihood" and self.n_clusters > 1
        return self._partition(model, key) if by_likelihood else None

    def _fitted(self, dtype, params=None, centers=None):
        return FittedRBM(self, dtype, params, centers)

    def _settings(self, key, batches):
        rate = RATES[self.visible] if self.learning_rate == "auto" else self.learning_rate
        return replace(super()._settings(key, batches), learning_rate=rate, momentum=self.momentum)

    def _objective_class(self):
        return RBMAssignment

    def _epochs(self, batches):
        return max(LEAST_EPOCHS, -(-STEPS // batches)) if self.epochs == "auto" else self.epochs

    def _objective_options(self, model, key, batches):
        return {
            "weight_decay": self.weight_decay,
            "standing_steps": None if self.standing_epochs == "auto" else self.standing_epochs * batches,
            "refresh_every": None if self.ais_every == "auto" else self.ais_every,
            "partition": self._partition(model, key),
        }

    def _complaints(self, objective, run, data, settings, advice=""):
        if self.assignment == "likelihood" and self.standing_epochs != "auto":
            advice = f", or a first assignment that stands longer (standing_epochs={self.standing_epochs}, or 'auto')"
        messages = super()._complaints(objective, run, data, settings, advice)
        untaught = objective.untaught(run, data, objective.backend.own(as_numpy(self.labels_)))
        if untaught:
            j, found, independent = untaught[0]
            messages.append(
                f"{len(untaught)} of {self.n_clusters} machines have learnt next to nothing in {run.step} steps: that "
                f"of cluster {j} gives its samples a log-likelihood of {found:.4g}, the means of single features alone "
                f"would give them {independent:.4g}. What it draws is noise; raise epochs (now {run.epoch}) or "
                f"learning_rate (now {settings.learning_rate:g})"
            )
        return messages

    def _check_X(self, X, reset, **options):
        X = super()._check_X(X, reset, **options)
        if self.visible == "bernoulli":
            low, high = float(X.min()), float(X.max())
            if low < 0 or high > 1:
                raise ValueError(
                    f"visible='bernoulli' needs values in [0, 1], X has values from {low:g} to {high:g}; scale it "
                    f"(MinMaxScaler, or X / 255 for images), or use visible='gaussian'"
                )
        return X

    def _check_target(self, target, X):
        if target is not None:
            raise ValueError("TensorizedRBM takes no target: a machine models the distribution of X itself")
        return X

    def _check_data(self, X, target, sample_weight, reset):
        X, target, weight = super()._check_data(X, target, sample_weight, reset)
        seen = X[weight > 0]
        if self.visible == "gaussian" and len(seen) > 1:
            deviation = as_numpy(seen.std(axis=0, dtype=np.float64))
            deviation = deviation[deviation > 0]
            scale = float(np.sqrt(np.mean(deviation**2))) if len(deviation) else 1.0
            if not SCALES[0] <= scale <= SCALES[1]:
                warnings.warn(
                    f"visible='gaussian' units have unit variance, but X's features have a standard deviation of "
                    f"{scale:.3g} (root mean square); scale it, for instance by sklearn.preprocessing.StandardScaler",
                    ScaleWarning,
                    stacklevel=4,
                )
        return X, target, weight

    @property
    def _n_features_out(self):
        self._check_fitted()
        return self.n_hidden

    def _has_gaussians(self):
        raise AttributeError("TensorizedRBM has no gaussians(): its clusters are Boltzmann machines")

    @classmethod
    def from_bernoulli_rbm(cls, rbm, **arguments):
        """A fitted `sklearn.neural_network.BernoulliRBM` as a machine of one cluster.

        It answers everything, and `partial_fit` goes on with it. What scikit-learn's does not keep is empty: labels
        and losses; chains begin at the first batch of `partial_fit`.

        Parameters
        ----------
        rbm : BernoulliRBM, fitted
        **arguments
            Constructor arguments of the new estimator, where they are not the old one's: persistent chains, SGD
            without ``weight_decay``, ``learning_rate``, ``batch_size`` and ``n_iter``.
        """
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
