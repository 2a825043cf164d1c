"""The likelihood of Boltzmann machines: log Z of every cluster, estimated when it is due, and costs with it."""

import numpy as np
from scipy.special import logit, logsumexp

from csrl_core.backends import as_numpy
from csrl_core.training.draws import Use
from csrl_core.training.likelihood import Rule, log_sum

ROUGH = 100  # temperatures of an estimate in training
EVERY = 5  # epochs between two estimates by default, where every batch is assigned


class PartitionRule(Rule):
    """Costs −log π_j + F_j(x) + log Z_j, with log Z_j by annealed importance sampling.

    Its part of a run's state: log_partition (k,), log_partition_error (k,) its standard error, both float64;
    n_estimates (1,) int64, how many there have been; age (1,) int64, epochs since the last. π is the assignment's.

    model : RBMModel; chains, betas : int, of the annealing; centered : bool, whether centres are taken off
    every : int, epochs between two estimates; None : where assignment needs them
    """

    names = ("log_partition", "log_partition_error", "n_estimates", "age")

    def __init__(self, model, chains, betas, centered, every=None):
        self.model, self.chains, self.betas = model, chains, betas
        self.centered, self.every = centered, every

    @property
    def reseeds(self):
        """Not without centres: with its donor's parameters a machine is as likely, but π is 1/n."""
        return self.centered

    def state(self, parameters, data, centers, draw):
        """Nothing estimated yet."""
        k = len(centers)
        shapes = (k, np.float64), (k, np.float64), (1, np.int64), (1, np.int64)
        return {name: self.model.own(np.zeros(*shape)) for name, shape in zip(self.names, shapes, strict=True)}

    def base(self, parameters, state):
        """Visible bias (k, d) of the machines without weights that annealing starts from.

        Fitted to each cluster's data: smoothed log-odds of the means, or the means; 0 in centred coordinates.
        """
        sums, totals = as_numpy(state["sums"]) + 0.0, as_numpy(state["totals"])[:, None]
        if self.centered:
            return np.zeros_like(sums)
        if not self.model.bernoulli:
            return sums / np.where(totals > 0, totals, 1)
        known = totals > 0
        return np.where(known, logit((sums + 1) / (totals + 2)), as_numpy(parameters["visible_bias"]))

    def estimate(self, parameters, state, draw, rough=False):
        """A new estimate of log Z of every cluster, a dict of the rule's arrays.

        rough : bool, with ROUGH temperatures at most: enough to tell clusters apart while they are learnt

        Raises
        ------
        ValueError
            Parameters are not finite.
        """
        flat, (_, d, m), own = parameters.flat, self.model.shape, self.model.own
        bad = int((~np.isfinite(as_numpy(flat))).sum())
        if bad:
            raise ValueError(
                f"{bad} of {flat.size} parameters are not finite; annealed importance sampling needs finite weights"
            )
        base, betas = self.base(parameters, state), np.linspace(0, 1, min(self.betas, ROUGH) if rough else self.betas)
        number = int(state["n_estimates"][0]) if "n_estimates" in state else 0
        key, label, _ = draw.words(Use.AIS)
        log_weights = as_numpy(
            self.model.kernel.ais(
                *(flat, own(base.astype(flat.dtype)), self.model.visible, betas, self.chains, key, label, number)
            )
        )
        outside = np.logaddexp(0, base).sum(axis=1) if self.model.bernoulli else 0.5 * d * np.log(2 * np.pi)
        log_mean = logsumexp(log_weights, axis=1) - np.log(self.chains)
        # sd(w) / (mean(w) √M), the weights scaled by their mean
        error = np.exp(log_weights - log_mean[:, None]).std(axis=1, ddof=min(1, self.chains - 1)) / np.sqrt(self.chains)
        arrays = m * np.log(2) + outside + log_mean, error, np.array([number + 1]), np.array([0])
        return {name: own(array) for name, array in zip(self.names, arrays, strict=True)}

    def _update(self, parameters, state, draw, rough=False):
        for name, array in self.estimate(parameters, state, draw, rough).items():
            state[name][...] = array

    def _update_when_due(self, parameters, state, draw):
        if int(state["age"][0]) >= (self.every or EVERY) or not int(state["n_estimates"][0]):
            self._update(parameters, state, draw, rough=True)

    def refresh(self, parameters, state, passes, standing, draw):
        """A new rough estimate when it is due; while an assignment stands, only where that was asked for."""
        state["age"] += 1
        if self.every is not None or not standing:
            self._update_when_due(parameters, state, draw)

    def before_batch(self, parameters, state, draw):
        """As `refresh`, a batch being an epoch."""
        state["age"] += 1
        self._update_when_due(parameters, state, draw)

    def add_batch(self, state, codes, assign, weight, alone):
        """Nothing is kept of samples but their assignment."""

    def ready(self, parameters, state, draw):
        """An estimate where there is none: of a fit that is stopped before assignment needed it."""
        return {} if int(state["n_estimates"][0]) else self.estimate(parameters, state, draw)

    def finish(self, parameters, state, draw):
        """The labels of a fit rest on log Z of its last parameters."""
        self._update(parameters, state, draw)

    def codes(self, parameters, X, centers, draw):
        """Free energies (n, k)."""
        return self.model.free_energy(parameters, X, centers)

    def log_mixing(self, state):
        """log π (k,) float64, −∞ for a cluster without weight; equal where nothing is known."""
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
