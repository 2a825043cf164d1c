"""Restricted Boltzmann machines under the joint assignment objective: the model, its likelihood, its chains.

The mathematics is in `csrl_core.reference.rbm`; here is what it needs of a run: where chains stand, which random
numbers a step takes, and how log Z is kept up to date.
"""

import numpy as np
from scipy.special import logit, logsumexp, xlogy

from csrl_core.backends import as_numpy
from csrl_core.training.draws import Use, stream
from csrl_core.training.joint import CHUNK, ClusterModel, JointAssignment
from csrl_core.training.likelihood import Rule, log_sum
from csrl_core.training.parameters import Parameters

INITIAL_SCALE = 0.01  # standard deviation of the first weights
ROUGH = 100  # temperatures of an estimate in training
EVERY = 5  # epochs between two estimates by default, where every batch is assigned
ERRORS = 3  # standard errors by which a machine must say less than its samples' means to be warned of
_NO_KEY = np.zeros(2, np.uint32)


class RBMModel(ClusterModel):
    """The restricted Boltzmann machine as a `ClusterModel`; all arithmetic is the backend's.

    Parameters: "weight" (k, d, m), "hidden_bias" (k, m), "visible_bias" (1, d). n_chains : int, persistent chains of
    every cluster, 0 for chains that start at the data.
    """

    def __init__(self, backend, n_features, n_clusters, n_hidden, visible, gibbs_steps, n_chains):
        self.kernel, self.own, self.philox = backend.rbm, backend.own, backend.philox
        self.shape = n_clusters, n_features, n_hidden
        self.visible, self.gibbs_steps, self.n_chains = self.kernel.VISIBLE[visible], gibbs_steps, n_chains
        self.bernoulli = self.visible == self.kernel.BERNOULLI
        self.translation_invariant = not self.bernoulli

    def init_parameters(self, X, n_clusters, random):
        """N(0, 0.01²) weights, zero biases."""
        k, d, m = self.shape
        weight = random.normal((k, d, m), INITIAL_SCALE)
        return {"weight": weight, "hidden_bias": np.zeros((k, m)), "visible_bias": np.zeros((1, d))}

    def losses(self, params, X, target, centers):
        """L (n, k) of mean-field chains: no random number in it."""
        return self.kernel.mean_field_losses(params.flat, X, centers, self.visible, self.gibbs_steps)

    def gradient(self, params, X, target, centers, assign, weights):
        """Contrastive divergence with fixed random numbers, named."""
        first = X - centers[assign]
        last = self.chain(params, first, assign, self.gibbs_steps, _NO_KEY, stream(Use.VALUE_AND_GRADIENT))
        return params.layout.views(self.divergence_gradient(params, first, last, assign, weights))

    def divergence_gradient(self, params, first, last, assign, weights):
        """Gradient (p,) of Σ w (F(v⁰) − F(v^K)), both constants."""
        return self.energy_gradient(params, first, assign, weights) - self.energy_gradient(
            params, last, assign, weights
        )

    def embed(self, params, X, centers):
        """p(h = 1 | v) under every cluster, (n, k, m)."""
        k, _, m = self.shape
        Z = np.empty_like(X, shape=(len(X), k, m))
        for j in range(k):
            Z[:, j] = self.embed_assigned(params, X, centers, np.full_like(X, j, shape=(len(X),), dtype=np.int64))
        return Z

    def embed_assigned(self, params, X, centers, assign):
        """p(h = 1 | v) under each sample's own cluster, (n, m)."""
        return self.kernel.hidden_probabilities(params.flat, X, centers, assign)

    def decode(self, params, Z, assign, centers):
        """E[v | h] in the space of ``centers``, (n, d)."""
        return self.kernel.visible_means(params.flat, Z, assign, centers, self.visible)

    def free_energy(self, params, X, centers):
        """F (n, k)."""
        return self.kernel.free_energy(params.flat, X, centers, self.visible)

    def energy_gradient(self, params, V, assign, weights):
        """Gradient (p,) of Σ w F of rows in their clusters' coordinates."""
        return self.kernel.energy_gradient(params.flat, self.shape[0], V, assign, weights, self.visible)

    def chain(self, params, V, assign, n_steps, key, label, step=0, rows=None):
        """The end (n, d) of Gibbs chains from V on, all in their clusters' coordinates."""
        rows = self.own(np.arange(len(V))) if rows is None else rows
        return self.kernel.gibbs(
            params.flat, self.shape[0], V, assign, self.visible, n_steps, key, label, step, 0, rows
        )

    def pseudo_likelihood(self, params, X, centers, assign, key, restart=0):
        """d log p(v_i | all other units) of one unit i of each sample, drawn at random: (n,) float64.

        Its expectation over i is the log of the pseudo-likelihood (Besag 1975); Z drops out.
        """
        (n, d), rows = X.shape, np.arange(len(X))
        label = stream(Use.PSEUDO_LIKELIHOOD, 0, restart)
        unit = as_numpy(self.philox.integers(d, key, label, 0, 0, n))
        scores = np.empty(n)
        for first in range(0, n, CHUNK):
            part = slice(first, first + CHUNK)
            x, own = X[part], as_numpy(assign[part])
            flipped, place = x.copy(), (self.own(rows[: len(x)]), self.own(unit[part]))
            flipped[place] = 1 - flipped[place]
            before, after = (
                as_numpy(self.free_energy(params, v, centers)).astype(np.float64)[rows[: len(x)], own]
                for v in (x, flipped)
            )
            scores[part] = -d * np.logaddexp(0, before - after)
        return scores

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """What the kernels of a device take for a batch, four vectors like the parameters, and persistent chains."""
        k, d, m = self.shape
        held = 4 * (k * d * m + k * m + d) + 2 * self.n_chains * k * (d + m)
        return itemsize * held + self.kernel.workspace_bytes(rows, d, k, m, itemsize)


class PartitionRule(Rule):
    """Costs −log π_j + F_j(x) + log Z_j, with log Z_j by annealed importance sampling.

    Its part of a run's state: log_partition (k,), log_partition_error (k,) its standard error, both float64;
    n_estimates (1,) int64, how many there have been; age (1,) int64, epochs since the last. π is the assignment's.

    model : RBMModel; chains, betas : int, of the annealing; key : (2,) uint32; center : bool
    """

    def __init__(self, model, chains, betas, key, center):
        self.model, self.chains, self.betas = model, chains, betas
        self.key, self.center = key, center

    def state(self, parameters, data, centers):
        """Nothing estimated yet."""
        k = len(centers)
        names = {"log_partition": (k, float), "log_partition_error": (k, float)}
        names |= {"n_estimates": (1, np.int64), "age": (1, np.int64)}
        return {name: self.model.own(np.zeros(size, dtype)) for name, (size, dtype) in names.items()}

    def base(self, parameters, state):
        """Visible bias (k, d) of the machines without weights that annealing starts from.

        Fitted to each cluster's data: smoothed log-odds of the means, or the means; 0 in centred coordinates.
        """
        sums, totals = as_numpy(state["sums"]) + 0.0, as_numpy(state["totals"])[:, None]
        if self.center:
            return np.zeros_like(sums)
        if not self.model.bernoulli:
            return sums / np.where(totals > 0, totals, 1)
        known = totals > 0
        return np.where(known, logit((sums + 1) / (totals + 2)), as_numpy(parameters["visible_bias"]))

    def estimate(self, parameters, state, restart=0, rough=False):
        """Estimate log Z of every cluster anew, into the state.

        rough : bool, with ROUGH temperatures at most: enough to tell clusters apart while they are learnt

        Raises
        ------
        ValueError
            Parameters are not finite.
        """
        flat, (_, d, m) = parameters.flat, self.model.shape
        bad = int((~np.isfinite(as_numpy(flat))).sum())
        if bad:
            raise ValueError(
                f"{bad} of {flat.size} parameters are not finite; annealed importance sampling needs finite weights"
            )
        base, betas = self.base(parameters, state), np.linspace(0, 1, min(self.betas, ROUGH) if rough else self.betas)
        label, number = stream(Use.AIS, 0, restart), int(state["n_estimates"][0])
        log_weights = as_numpy(
            self.model.kernel.ais(
                *(flat, self.model.own(base.astype(flat.dtype)), self.model.visible, betas, self.chains),
                *(self.key, label, number),
            )
        )
        outside = np.logaddexp(0, base).sum(axis=1) if self.model.bernoulli else 0.5 * d * np.log(2 * np.pi)
        log_mean = logsumexp(log_weights, axis=1) - np.log(self.chains)
        # sd(w) / (mean(w) √M), the weights scaled by their mean
        error = np.exp(log_weights - log_mean[:, None]).std(axis=1, ddof=min(1, self.chains - 1)) / np.sqrt(self.chains)
        state["log_partition"][...] = self.model.own(m * np.log(2) + outside + log_mean)
        state["log_partition_error"][...] = self.model.own(error)
        state["n_estimates"][...] = number + 1
        state["age"][...] = 0

    def codes(self, parameters, X, centers):
        """Free energies (n, k)."""
        return self.model.free_energy(parameters, X, centers)

    def clear(self, state):
        """Nothing is kept of samples but their assignment."""

    def add(self, state, codes, assign, weight):
        """Nothing is kept of samples but their assignment."""

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


class RBMAssignment(JointAssignment):
    """Joint assignment of machines that learn by (persistent) contrastive divergence.

    The state has besides, where the model has persistent chains, chains (k, n_chains, d): where the visible units of
    those of every cluster stand, in its coordinates, and chains_hidden (k, n_chains, m), where the hidden ones do.

    weight_decay : float, λ of ½ λ ‖W‖²
    standing_steps : int, steps during which the first assignment stands; None : all
    refresh_every : int, epochs between two estimates of log Z; None : where assignment needs them
    partition : PartitionRule
    """

    loss_falls = False  # of contrastive divergence: it may rise while the machine gets better

    def __init__(self, *arguments, weight_decay, standing_steps, refresh_every, partition, **options):
        super().__init__(*arguments, **options)
        self.n_chains = self.model.n_chains
        self.standing_steps = np.inf if standing_steps is None else standing_steps
        self.weight_decay, self.step_done = weight_decay, 0
        self.refresh_every, self.partition, self.restart = refresh_every, partition, 0

    def start(self, data, restart):
        """Parameters and assignment, and persistent chains at samples of their cluster."""
        self.restart, self.step_done = restart, 0
        run = super().start(data, restart)
        if self.n_chains:
            self._start_chains(run.params, run.state, data)
        return run

    def _start_chains(self, params, state, data):
        """Persistent chains at samples of their cluster, or any where it has none, and hidden units given these."""
        n, weighted = len(data.X), as_numpy(data.weight) > 0
        assign = as_numpy(state["assign"]) if len(state["assign"]) == n else np.zeros(n, np.int64)
        centers, X = as_numpy(self.loss_centers(state, data.X.dtype)), as_numpy(data.X)
        chains = np.empty((self.n_clusters, self.n_chains, X.shape[1]), X.dtype)
        for j in range(self.n_clusters):
            own = np.flatnonzero((assign == j) & weighted)
            own = own if len(own) else np.flatnonzero(weighted)
            label = stream(Use.PERSISTENT_CHAINS, 2, self.restart)
            drawn = as_numpy(self.backend.philox.integers(len(own), self.key, label, 0, j, self.n_chains))
            chains[j] = X[own[drawn]] - centers[j]
        state["chains"] = self.backend.hold(chains)
        self._draw_hidden(params, state)

    def _draw_hidden(self, params, state):
        """Hidden units of persistent chains, of which visible ones are known."""
        chains, (k, d, m) = state["chains"], self.model.shape
        V, parameters = chains.reshape(-1, d), Parameters(self.layout, params)
        assign = self.backend.own(np.repeat(np.arange(k), self.n_chains))
        P = self.model.embed_assigned(parameters, V, self.backend.own(np.zeros((k, d), chains.dtype)), assign)
        label, rows = stream(Use.PERSISTENT_CHAINS, 3, self.restart), self.backend.own(np.arange(len(V)))
        bits = self.backend.philox.bernoulli(P, self.key, label, 0, 0, rows)
        state["chains_hidden"] = self.backend.hold(bits.reshape(k, self.n_chains, m))

    def begin(self, run):
        """Take up a run: its chains must be this objective's.

        Raises
        ------
        ValueError
            They have another shape.
        """
        self.restart, self.step_done = run.restart, run.step
        if not self.n_chains or "chains" not in run.state:
            return
        expected = (self.n_clusters, self.n_chains, run.state["centers"].shape[1])
        if run.state["chains"].shape != expected:
            raise ValueError(
                f"the persistent chains to go on with have shape {run.state['chains'].shape}; expected "
                f"(n_clusters, n_chains, n_features) = {expected}"
            )
        if "chains_hidden" not in run.state:  # of a file that was written when only visible units were kept
            self._draw_hidden(run.params, run.state)

    def _evaluate(self, params, state, batch, assigned, step):
        if step >= self.standing_steps:
            return super()._evaluate(params, state, batch, assigned, step)
        stands = state["assign"][batch.index]
        L, _, gradient = self._losses_and_gradient(params, state, batch, stands, step)
        return L, stands, gradient, stands

    def _losses_and_gradient(self, params, state, batch, assign, step):
        model, centers = self.model, self.loss_centers(state, batch.X.dtype)
        arguments = (params, batch.X, centers, assign, batch.weight, model.visible)
        if self.n_chains:
            label = stream(Use.PERSISTENT_CHAINS, 0, self.restart)
            found = model.kernel.persistent_losses_and_gradient(
                *(*arguments, state["chains"], state["chains_hidden"], model.gibbs_steps, self.key, label, step)
            )
        else:
            label, every = (
                stream(Use.GIBBS_TRAINING, 0, self.restart),
                self.rule is None and step >= self.standing_steps,
            )
            found = model.kernel.losses_and_gradient(
                *arguments, model.gibbs_steps, every, self.key, label, step, batch.index
            )
        if self.weight_decay:
            k, d, m = model.shape
            total = float(batch.weight.sum(dtype=np.float64))
            found[2][: k * d * m] += params.dtype.type(self.weight_decay * total) * params[: k * d * m]
        return found

    def losses(self, params, state, X, target):
        """L (n, k) of any samples: mean-field chains, or the persistent ones where they stand."""
        if not self.n_chains:
            return super().losses(params, state, X, target)
        parameters, centers = Parameters(self.layout, params), self.loss_centers(state, X.dtype)
        energies = chain_energies(self.model, parameters, state, centers)
        return (self.model.free_energy(parameters, X, centers) - energies).astype(X.dtype)

    def _copy_parameters(self, run, donor, j):
        super()._copy_parameters(run, donor, j)
        if self.n_chains:
            for name in ("chains", "chains_hidden"):
                run.state[name][j] = run.state[name][donor]

    def refresh(self, params, state, data):
        """A new rough estimate of log Z when it is due; while an assignment stands, only where that was asked for."""
        state["age"] += 1
        if self.refresh_every is not None or self.step_done >= self.standing_steps:
            self._estimate_when_due(params, state)

    def _estimate_when_due(self, params, state):
        if int(state["age"][0]) >= (self.refresh_every or EVERY) or not int(state["n_estimates"][0]):
            self.rule.estimate(Parameters(self.layout, params), state, self.restart, rough=True)

    def end_of_epoch(self, run, data, fused):
        """As for every model; how far the run is tells whether its assignment stands."""
        self.step_done = run.step
        return super().end_of_epoch(run, data, fused)

    def reseeds(self, run):
        """Not by likelihood without centres: with its donor's parameters a machine is as likely, but π is 1/n."""
        return self.rule is None or self.center or run.step < self.standing_steps

    def accumulate(self, params, state, batch, assigned, step):
        """As for every model, a call being an epoch: samples may stand with the nearest centre, log Z may be due."""
        if step < self.standing_steps and not assigned:
            centers = self.backend.own(state["centers"], batch.target.dtype)
            state["assign"] = self.backend.assign.nearest(batch.target, centers)
        if self.rule is not None:
            state["age"] += 1
            self._estimate_when_due(params, state)
        elif "n_estimates" in state:  # log Z that somebody asked for is that of other parameters
            state["n_estimates"][...] = 0
        if self.n_chains and "chains" not in state:  # of a machine that had none so far
            self._start_chains(params, state, batch)
        return super().accumulate(params, state, batch, assigned, step)

    def final(self, run, data):
        """As for every model; of a fit that is stopped before assignment needed log Z, that is estimated here."""
        if self.rule is not None and not int(run.state["n_estimates"][0]):
            self.rule.estimate(Parameters(self.layout, run.params), run.state, self.restart)
        return super().final(run, data)

    def untaught(self, run, data, labels):
        """Clusters whose machine says less of its samples than independent units with their means would.

        labels : (n,) int64, of data
        returns list of (cluster, mean log-likelihood, or pseudo-likelihood without log Z, that of independent units)
        """
        if not self.model.bernoulli:
            return []
        parameters, centers = Parameters(self.layout, run.params), self.loss_centers(run.state, data.X.dtype)
        found, error, rows = [], np.zeros(self.n_clusters), np.arange(len(data.X))
        own = as_numpy(labels)
        # Less the centres they are no binary units, and log Z is that of something else.
        if self.rule is None or self.center or not int(run.state["n_estimates"][0]):
            scores = self.model.pseudo_likelihood(parameters, data.X, centers, labels, self.key, run.restart)
        else:
            costs = as_numpy(self.costs(run.params, run.state, data.X))[rows, own].astype(np.float64)
            scores, error = -costs - self.rule.log_mixing(run.state)[own], as_numpy(run.state["log_partition_error"])
        sums, totals, counts = map(
            as_numpy, self.backend.assign.cluster_sums(data.X, labels, data.weight, self.n_clusters)
        )
        for j in np.flatnonzero(counts > 1):
            share = as_numpy(data.weight)[own == j] / totals[j]
            mean, p = float(share @ scores[own == j]), np.clip(sums[j] / totals[j], 0, 1)
            independent = float((xlogy(p, p) + xlogy(1 - p, 1 - p)).sum())
            variance = np.sum(share**2 * (scores[own == j] - mean) ** 2) + error[j] ** 2
            if mean + ERRORS * np.sqrt(variance) < independent:
                found.append((int(j), mean, independent))
        return found

    def finish(self, run, data):
        """The labels of a fit rest on log Z of its last parameters."""
        if self.rule is not None:
            self.rule.estimate(Parameters(self.layout, run.params), run.state, self.restart)

    def selection_score(self, run, data):
        """Mean log-likelihood, or mean pseudo-likelihood where log Z is not known: a difference ranks nothing."""
        if self.rule is not None:
            return super().selection_score(run, data)
        weight, parameters = as_numpy(data.weight).astype(np.float64), Parameters(self.layout, run.params)
        centers = self.loss_centers(run.state, data.X.dtype)
        if self.model.bernoulli:
            labels = self.final(run, data)[0]
            scores = self.model.pseudo_likelihood(parameters, data.X, centers, labels, self.key, run.restart)
        else:
            state = run.state | self.partition.state(parameters, data, centers)
            self.partition.estimate(parameters, state, run.restart)
            scores = self.partition.log_density(
                self.partition.costs(state, self.partition.codes(parameters, data.X, centers))
            )
        return float(np.average(scores, weights=weight))


def chain_energies(model, parameters, state, centers):
    """Mean of F_j over the persistent chains of cluster j, as training had it: (k,) float64."""
    nothing = np.zeros_like(centers)
    energies = [
        as_numpy(model.free_energy(parameters, model.own(chains, centers.dtype), nothing))[:, j].mean(dtype=np.float64)
        for j, chains in enumerate(state["chains"])
    ]
    return model.own(np.array(energies))
