"""Assignment by likelihood for Boltzmann machines: an estimate of log Z for every cluster, and costs from it."""

import numpy as np
from scipy.special import logit, logsumexp

from csrl_core.backends import as_numpy
from csrl_core.training.draws import Use
from csrl_core.training.likelihood import Rule, log_sum

ROUGH = 100  # most temperatures of a rough estimate, as in training
EVERY = 5  # epochs between two estimates by default, when every batch is assigned


class PartitionRule(Rule):
    """Costs −log π_j + F_j(x) + log Z_j, with log Z_j by annealed importance sampling.

    Its arrays in a run's state: log_partition (k,) and its standard error log_partition_error (k,), both float64;
    n_estimates (1,) int64, the number of estimates so far; age (1,) int64, epochs since the last one. π_j is cluster
    j's share of the assigned weight.

    model : RBMModel; chains, betas : int, chains and temperatures of the annealing
    centered : bool, whether centres are subtracted
    every : int, epochs between two estimates in training; None: EVERY, and none while the first assignment stands
    """

    names = ("log_partition", "log_partition_error", "n_estimates", "age")

    @classmethod
    def shapes(cls, k):
        """Name → (shape, dtype) of its arrays for k clusters."""
        numbers, counts = ((k,), np.float64), ((1,), np.int64)
        return dict(zip(cls.names, (numbers, numbers, counts, counts), strict=True))

    def __init__(self, model, chains, betas, centered, every=None):
        self.model, self.chains, self.betas = model, chains, betas
        self.centered, self.every = centered, every

    @property
    def reseeds(self):
        """Only with centres: without them the donor's machine is as likely for the sample, and has a larger π."""
        return self.centered

    def state(self, parameters, data, centers, draw):
        """Zeros: there is no estimate yet."""
        return {name: self.model.own(np.zeros(*shape)) for name, shape in self.shapes(len(centers)).items()}

    def base(self, parameters, state):
        """Visible bias (k, d) of the machines without weights at which annealing starts.

        Smoothed log-odds of each cluster's means (Bernoulli units), or the means (Gaussian units); 0 for centred data.
        """
        sums, totals = as_numpy(state["sums"]) + 0.0, as_numpy(state["totals"])[:, None]
        if self.centered:
            return np.zeros_like(sums)
        if not self.model.bernoulli:
            return sums / np.where(totals > 0, totals, 1)
        smoothed = logit((sums + 1) / (totals + 2))
        return np.where(totals > 0, smoothed, as_numpy(parameters["visible_bias"]))

    def estimate(self, parameters, state, draw, rough=False):
        """A new estimate of log Z for every cluster, a dict of the rule's arrays.

        rough : bool, with at most ROUGH temperatures, which is enough to assign samples during training

        Raises
        ------
        ValueError
            Parameters are not finite.
        """
        flat, (_, d, m), own = parameters.flat, self.model.shape, self.model.own
        not_finite = int((~np.isfinite(as_numpy(flat))).sum())
        if not_finite:
            raise ValueError(
                f"{not_finite} of {flat.size} parameters are not finite; annealed importance sampling needs finite "
                f"weights"
            )
        base, betas = self.base(parameters, state), np.linspace(0, 1, min(self.betas, ROUGH) if rough else self.betas)
        number = int(state["n_estimates"][0]) if "n_estimates" in state else 0
        key, label, _ = draw.words(Use.AIS)
        log_weights = as_numpy(
            self.model.kernel.ais(
                *(flat, own(base.astype(flat.dtype)), self.model.visible, betas, self.chains, key, label, number)
            )
        )
        log_visible = np.logaddexp(0, base).sum(axis=1) if self.model.bernoulli else 0.5 * d * np.log(2 * np.pi)
        log_mean = logsumexp(log_weights, axis=1) - np.log(self.chains)
        # sd(w) / (mean(w) √M), the weights scaled by their mean
        error = np.exp(log_weights - log_mean[:, None]).std(axis=1, ddof=min(1, self.chains - 1)) / np.sqrt(self.chains)
        arrays = m * np.log(2) + log_visible + log_mean, error, np.array([number + 1]), np.array([0])
        return {name: own(array) for name, array in zip(self.names, arrays, strict=True)}

    def _update(self, parameters, state, draw, rough=False):
        for name, array in self.estimate(parameters, state, draw, rough).items():
            state[name][...] = array

    def _update_when_due(self, parameters, state, draw):
        if int(state["age"][0]) >= (self.every or EVERY) or not int(state["n_estimates"][0]):
            self._update(parameters, state, draw, rough=True)

    def refresh(self, parameters, state, passes, standing, draw):
        """Make a rough estimate when it is due; while the first assignment stands, only if ``every`` is given."""
        state["age"] += 1
        if self.every is not None or not standing:
            self._update_when_due(parameters, state, draw)

    def before_batch(self, parameters, state, draw):
        """Make a rough estimate when it is due; a batch counts as an epoch."""
        state["age"] += 1
        self._update_when_due(parameters, state, draw)

    def add_batch(self, state, codes, assign, weight, first):
        """Do nothing: the arrays do not depend on single samples."""

    def missing_arrays(self, parameters, state, draw):
        """An estimate, if there is none: a fit may be stopped before assignment needs one."""
        return self.estimate(parameters, state, draw) if self.lacks_arrays(state) else {}

    def lacks_arrays(self, state):
        """Whether there is no estimate yet."""
        return not int(state["n_estimates"][0])

    def finish(self, parameters, state, draw):
        """Make a full estimate for the last parameters, on which the labels rest."""
        self._update(parameters, state, draw)

    def codes(self, parameters, X, centers, draw):
        """Free energies (n, k)."""
        return self.model.free_energy(parameters, X, centers)

    def log_mixing(self, state):
        """log π (k,) float64: −∞ for a cluster without weight, equal shares if no cluster has weight."""
        totals = as_numpy(state["totals"])
        if not totals.sum() > 0:
            return np.full(len(totals), -np.log(len(totals)))
        with np.errstate(divide="ignore"):
            return np.log(totals / totals.sum())

    def costs(self, state, codes):
        """−log π_j + F_j + log Z_j."""
        constant = as_numpy(state["log_partition"]) - self.log_mixing(state)
        return (codes + self.model.own(constant)).astype(codes.dtype)

    def log_density(self, costs):
        """log Σ_j π_j p_j(x)."""
        return log_sum(costs)
