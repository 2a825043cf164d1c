"""Tensorized restricted Boltzmann machines (TRBM) and, with one cluster, the standard machine.

Source: arXiv 2412.03471. The mathematics is in `csrl_core.reference.rbm`.
"""

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.backends import as_numpy
from csrl_core.estimators.arguments import estimator
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.estimators.bernoulli_rbm import as_machine
from csrl_core.estimators.input_checks import in_unit_interval
from csrl_core.estimators.rbm_methods import MachineMethods
from csrl_core.models.partition import PartitionRule
from csrl_core.models.rbm import RBMModel
from csrl_core.reference.rbm import VISIBLE
from csrl_core.training import sweeps
from csrl_core.training.draws import Use

STEPS, LEAST_EPOCHS = 1000, 10  # optimizer steps and epochs that a fit makes at least, by default
RATES = {"bernoulli": 0.003, "gaussian": 0.001}  # default learning rates
FULL_BATCH_CHAINS = 100  # persistent chains of each cluster if the batch is all data
SCALES = 1 / 3, 3.0  # least and greatest standard deviation of features for Gaussian units of unit variance


class ScaleWarning(UserWarning):
    """Gaussian visible units have unit variance, and the data's features are far from it."""


@estimator
class TensorizedRBM(MachineMethods, BaseClusterSpecific):
    """One restricted Boltzmann machine for each cluster, learnt together with the clusters.

    F_j is the free energy of cluster j's machine, and v^K the end of K steps of Gibbs sampling that start at the
    sample. Training minimises the mean of L[i, s_i] over parameters and assignments s, where
    L[i, j] = F_j(x_i − c_j) − F_j(v^K). This is contrastive divergence (CD-K), or PCD with persistent chains. All
    machines share the visible bias.

    Parameters
    ----------
    n_clusters : int, default=2
        The number of clusters, k. With 1 this is the standard machine.
    n_hidden : int, default=500
        m, the number of hidden units of each machine.
    visible : {"bernoulli", "gaussian"}, default="bernoulli"
        Binary units for data in [0, 1] (values in between are taken as probabilities), or real units of unit variance
        for scaled data.
    gibbs_steps : int, default=1
        K, Gibbs steps of the chains in each optimizer step.
    persistent : bool, default=False
        Whether chains continue from batch to batch (PCD) instead of starting at the data.
    n_chains : int or None, default=None
        Persistent chains of each cluster; None: ``batch_size`` (100 if that is None).
    epochs : int or "auto", default="auto"
        "auto": as many as give 1000 optimizer steps, and at least ten.
    learning_rate : float or "auto", default="auto"
        "auto": 0.003, for Gaussian units 0.001.
    momentum : float, default=0
        Of the optimizer "sgd", in [0, 1).
    weight_decay : float, default=0.01
        λ of a penalty ½ λ ‖W‖², whose gradient is added to the mean gradient. It does not act on biases, and losses do
        not include it. With few samples and many features it helps labels to keep a good start.
    center : bool or "auto", default="auto"
        Whether each cluster's centre is subtracted. "auto": for Gaussian units only. (The paper's code subtracts it
        and then treats the result as binary units: ``center=True`` with Bernoulli units.)
    standing_epochs : int or "auto", default="auto"
        Epochs at the start of training during which the first assignment stands. With weights near zero all machines
        are alike and cannot tell clusters apart. After these epochs every batch is assigned anew; 0 is the paper's
        procedure. "auto": the first assignment stands in all epochs, and the final labels are by likelihood. (In
        `partial_fit` each sample is assigned to the nearest centre during these epochs.)
    assignment : {"likelihood", "cd"}, default="likelihood"
        Samples go to the cluster of the highest likelihood, or ("cd") of the lowest loss, the paper's rule. The highest
        likelihood is the lowest −log π_j + F_j + log Z_j, with log Z_j by annealed importance sampling. Without log Z_j
        the free energies of two machines are not on one scale. With "cd" `predict` has means instead of samples in the
        chains.
    ais_chains, ais_betas : int, default=100, 1000
        Chains and temperatures of annealed importance sampling.
    ais_every : int or "auto", default="auto"
        Epochs between two estimates of log Z in training, with ``assignment="likelihood"`` and several clusters. These
        are rough, with at most 100 temperatures; the last estimate of a fit has all. "auto": five, and no estimate
        while the first assignment stands.
    n_init : int, default=1
        Restarts; the one with the highest mean log-likelihood is kept, or pseudo-likelihood if log Z is not known.
    init : {"auto", "k-means", "k-means++", "random"}, labels (n,) or centres (k, d), default="auto"
        The first assignment; "auto": the best of ten k-means (one, if X has more than 2²⁰ values). Training hardly
        changes the clusters that it starts with, so a good first assignment matters.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``
    cluster_centers_ : (k, d), means of the data over the clusters
    params_ : (p,), all trained parameters: "weight" (k, d, m), "hidden_bias" (k, m), "visible_bias" (1, d)
    loss_ : float, the final objective, which does not tell how good a machine is; loss_curve_ : list
    log_partition_, log_partition_error_ : (k,), log Z of every machine and its standard error, estimated on first
        access, or in training if the assignment needs it
    n_iter_, n_steps_, n_reseeded_, backend_, state_ : as for every estimator

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

    n_hidden: int = 500
    visible: str = "bernoulli"
    gibbs_steps: int = 1
    persistent: bool = False
    n_chains: int | None = None
    epochs: int | str = "auto"
    batch_size: int | None = 64
    learning_rate: float | str = "auto"
    momentum: float = 0.0
    weight_decay: float = 0.01
    center: bool | str = "auto"
    update: str = "assign-then-step"
    assignment: str = "likelihood"
    ais_chains: int = 100
    ais_betas: int = 1000
    ais_every: int | str = "auto"

    _parameter_constraints = {
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "visible": [StrOptions(set(VISIBLE))],
        "gibbs_steps": [Interval(Integral, 1, None, closed="left")],
        "persistent": ["boolean"],
        "n_chains": [None, Interval(Integral, 1, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "center": ["boolean", StrOptions({"auto"})],
        "epochs": [StrOptions({"auto"}), Interval(Integral, 0, None, closed="left")],
        "learning_rate": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "assignment": [StrOptions({"cd", "likelihood"})],
        "ais_chains": [Interval(Integral, 2, None, closed="left")],
        "ais_betas": [Interval(Integral, 2, None, closed="left")],
        "ais_every": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    # Methods for the base class

    def _validate_params(self):
        super()._validate_params()
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum={self.momentum!r} needs optimizer='sgd', got {self.optimizer!r}, which has its own momentum"
            )

    _made_for_a_size = False  # `_check_data` looks at the scale of Gaussian units itself

    @property
    def _centred(self):
        return self.visible == "gaussian" if isinstance(self.center, str) else self.center

    @property
    def _loss_name(self):
        K = self.gibbs_steps
        chains = "persistent chains" if self.persistent else f"after {K} Gibbs step{'s' * (K > 1)}"
        return f"contrastive divergence, no measure of quality\nF(data) − F({chains}), nats"

    _DESCRIBING = ("n_clusters", "n_hidden", "visible", "assignment")
    takes_target = False

    def _parameter_shapes(self):
        k, d, m = self.n_clusters, self.n_features_in_, self.n_hidden
        return {"weight": (k, d, m), "hidden_bias": (k, m), "visible_bias": (1, d)}

    def _state_shapes(self):
        required, optional = super(BaseClusterSpecific, self)._state_shapes()
        k, d, m = self.n_clusters, self.n_features_in_, self.n_hidden
        partition = PartitionRule.shapes(k)
        chains = {"chains": ((k, None, d), None), "chains_hidden": ((k, None, m), None)}
        needed = self.assignment == "likelihood" and k > 1
        return (required | partition, chains) if needed else (required, optional | partition | chains)

    def _model(self, backend):
        chains = (self.n_chains or self.batch_size or FULL_BATCH_CHAINS) if self.persistent else 0
        shape = self.n_clusters, self.n_features_in_, self.n_hidden
        annealing = {
            "chains": self.ais_chains,
            "betas": self.ais_betas,
            "centered": self._centred,
            "every": None if self.ais_every == "auto" else self.ais_every,
        }
        return RBMModel(backend, shape, self.visible, self.gibbs_steps, chains, self.weight_decay, annealing)

    def _settings(self, key, batches):
        rate = RATES[self.visible] if self.learning_rate == "auto" else self.learning_rate
        return replace(super()._settings(key, batches), learning_rate=rate, momentum=self.momentum)

    def _epochs(self, batches):
        return max(LEAST_EPOCHS, -(-STEPS // batches)) if self.epochs == "auto" else self.epochs

    def partial_fit(self, X, y=None, *, target=None, sample_weight=None):
        """One optimizer step on a batch, see `BaseClusterSpecific.partial_fit`; log Z is estimated anew when needed."""
        super().partial_fit(X, y, target=target, sample_weight=sample_weight)
        if "n_estimates" in self.state_ and not (self._by_likelihood and self.n_clusters > 1):
            # The estimate of log Z is that of the old parameters.
            self.state_ = self.state_ | {"n_estimates": self.state_["n_estimates"] * 0}
        return self

    def _convergence_messages(self, objective, run, data, settings, advice=""):
        if self.assignment == "likelihood" and self.standing_epochs != "auto":
            advice = f", or a first assignment that stands longer (standing_epochs={self.standing_epochs}, or 'auto')"
        messages = super()._convergence_messages(objective, run, data, settings, advice)
        untaught = self._untaught(objective, run, data)
        if untaught:
            j, score, independent = untaught[0]
            messages.append(
                f"{len(untaught)} of {self.n_clusters} machines have learnt next to nothing in {run.step} steps: the "
                f"machine of cluster {j} gives its samples a log-likelihood of {score:.4g}, independent units with "
                f"their means would give {independent:.4g}. Its samples are noise; raise epochs (now {run.epoch}) or "
                f"learning_rate (now {settings.learning_rate:g})"
            )
        return messages

    def _untaught(self, objective, run, data):
        """See `RBMModel.untaught`: compared by log-likelihoods if log Z is known, otherwise by pseudo-likelihoods."""
        model, labels, rule = objective.model, as_numpy(self.labels_), objective.rule
        if not model.bernoulli:
            return []
        own, errors = objective.backend.own(labels), np.zeros(self.n_clusters)
        # Centred data are not binary units, so log Z does not give their likelihood.
        if rule is None or self._centred or not int(run.state["n_estimates"][0]):
            centers = objective.loss_centers(run.state, data.X.dtype)
            draw = objective.draw(Use.EVALUATION_NOISE, run.restart)
            scores = model.pseudo_likelihood(objective.parameters(run), data.X, centers, own, draw)
        else:
            costs = np.take_along_axis(as_numpy(objective.costs(run, data.X)), labels[:, None], axis=1)[:, 0]
            scores = -costs.astype(np.float64) - rule.log_mixing(run.state)[labels]
            errors = as_numpy(run.state["log_partition_error"])
        sums = sweeps.cluster_sums(objective.backend.assign, data.X, own, data.weight, self.n_clusters)
        return model.untaught(scores, errors, data, labels, [as_numpy(array) for array in sums])

    def _check_X(self, X, reset, **options):
        X = super()._check_X(X, reset, **options)
        if self.visible == "bernoulli":
            X = in_unit_interval(X, "X", "visible='bernoulli'", "visible='gaussian'")
        return X

    def _check_target(self, target, X):
        if target is not None:
            raise ValueError("TensorizedRBM takes no target: a machine models the distribution of X itself")
        return X

    def _check_data(self, X, target, sample_weight, reset):
        X, target, weight = super()._check_data(X, target, sample_weight, reset)
        if self.visible == "gaussian" and int((weight > 0).sum()) > 1:
            deviation = sweeps.deviation(X, weight)
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
        raise AttributeError("TensorizedRBM has no gaussians(): its clusters are Boltzmann machines, not Gaussians")

    @classmethod
    def from_bernoulli_rbm(cls, rbm, **arguments):
        """A fitted `sklearn.neural_network.BernoulliRBM` as a `TensorizedRBM` with one cluster.

        All methods work, and `partial_fit` continues its training. Labels and losses are empty, since a BernoulliRBM
        does not store them. Persistent chains start at the first batch of `partial_fit`.

        Parameters
        ----------
        rbm : BernoulliRBM, fitted
        **arguments
            Constructor arguments of the new estimator. By default ``n_hidden``, ``learning_rate``, ``batch_size`` and
            ``epochs`` are those of ``rbm``, with SGD and without weight decay.
        """
        return as_machine(cls, rbm, arguments)
