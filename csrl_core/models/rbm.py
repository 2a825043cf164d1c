"""The Boltzmann machine of every cluster as a `ClusterModel`; the mathematics is in `csrl_core.reference.rbm`.

It also has what other models do not: persistent chains in the state of a run, log Z for likelihoods, and samples.
"""

import numpy as np
from scipy.special import xlogy

from csrl_core.backends import as_numpy
from csrl_core.models.base import ClusterModel
from csrl_core.models.partition import PartitionRule
from csrl_core.training.draws import Use, chosen
from csrl_core.training.on_disk import blocks
from csrl_core.training.passes import CHUNK

INITIAL_SCALE = 0.01  # standard deviation of the first weights
ERRORS = 3  # standard errors by which a machine must be less likely than independent units, to be warned of


class RBMModel(ClusterModel):
    """The restricted Boltzmann machine; the backend's kernels do all arithmetic.

    Parameters: "weight" (k, d, m), "hidden_bias" (k, m), "visible_bias" (1, d). State, with persistent chains: "chains"
    (k, n_chains, d), their visible units in the coordinates of their cluster, and "chains_hidden" (k, n_chains, m),
    their hidden units.

    shape : (k, d, m); visible : a name of `csrl_core.reference.rbm.VISIBLE`; gibbs_steps : K
    n_chains : int, persistent chains of every cluster, 0 for chains that start at the data
    weight_decay : float, λ of ½ λ ‖W‖²; annealing : dict, further arguments of `PartitionRule`
    """

    loss_falls = False  # contrastive divergence may rise while the machine gets better
    standing_epochs = None

    def __init__(self, backend, shape, visible, gibbs_steps, n_chains, weight_decay, annealing):
        self.kernel, self.own, self.philox = backend.rbm, backend.own, backend.philox
        self.shape, self.gibbs_steps, self.n_chains = shape, gibbs_steps, n_chains
        self.visible, self.weight_decay = self.kernel.VISIBLE[visible], weight_decay
        self.bernoulli = self.visible == self.kernel.BERNOULLI
        self.translation_invariant, self.couples_batch = not self.bernoulli, n_chains > 0
        self.partition = PartitionRule(self, **annealing)

    # Start

    def init_parameters(self, X, n_clusters, draw):
        """N(0, 0.01²) weights, zero biases."""
        k, d, m = self.shape
        weight = draw.normal((k, d, m), INITIAL_SCALE)
        return {"weight": weight, "hidden_bias": np.zeros((k, m)), "visible_bias": np.zeros((1, d))}

    def init_state(self, params, data, assign, centers, draw):
        """Persistent chains that start at samples of their cluster (any samples, if it has none), and hidden units."""
        if not self.n_chains:
            return {}
        (k, d, _), state, missing = self.shape, params.state, {}
        if "chains" not in state:
            chains = missing["chains"] = self._first_chains(data, assign, centers, draw)
        else:
            chains = state["chains"]
        if chains.shape != (k, self.n_chains, d):
            raise ValueError(
                f"the present persistent chains have shape {chains.shape}; expected "
                f"(n_clusters, n_chains, n_features) = {(k, self.n_chains, d)}"
            )
        if "chains_hidden" not in state:
            missing["chains_hidden"] = self._hidden_units(params, chains, draw)
        return missing

    def _first_chains(self, data, assign, centers, draw):
        assign, centers, weighted = as_numpy(assign), as_numpy(centers), as_numpy(data.weight) > 0
        chains = np.empty((self.shape[0], self.n_chains, data.X.shape[1]), data.X.dtype)
        for j in range(len(chains)):
            members = np.flatnonzero((assign == j) & weighted)
            members = members if len(members) else np.flatnonzero(weighted)
            words = draw.words(Use.PERSISTENT_CHAINS, 2)
            drawn = as_numpy(self.philox.integers(len(members), *words, j, self.n_chains))
            chains[j] = as_numpy(data.X[self.own(members[drawn])]) - centers[j]
        return self.own(chains)

    def _hidden_units(self, params, chains, draw):
        (k, n, d), m = chains.shape, self.shape[2]
        V, assign = chains.reshape(-1, d), self.own(np.repeat(np.arange(k), n))
        P = self.embed_assigned(params, V, self.own(np.zeros((k, d), chains.dtype)), assign, draw)
        words, rows = draw.words(Use.PERSISTENT_CHAINS, 3), self.own(np.arange(k * n))
        return self.philox.bernoulli(P, *words, 0, rows).reshape(k, n, m)

    # Losses and gradients

    def losses(self, params, X, target, centers, draw):
        """L (n, k): F less the F of persistent chains, or of mean-field chains, which need no random numbers."""
        if "chains" not in params.state:
            return self.kernel.mean_field_losses(params.flat, X, centers, self.visible, self.gibbs_steps)
        return (self.free_energy(params, X, centers) - self._chain_energies(params, centers)).astype(X.dtype)

    def _chain_energies(self, params, centers):
        """Mean of F_j over the persistent chains of cluster j, as in training: (k,) float64."""
        zeros = np.zeros_like(centers)
        energies = [
            as_numpy(self.free_energy(params, self.own(chains, centers.dtype), zeros))[:, j].mean(dtype=np.float64)
            for j, chains in enumerate(params.state["chains"])
        ]
        return self.own(np.array(energies))

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient (p,)) of (persistent) contrastive divergence, with weight decay."""
        arguments = (params.flat, X, centers, assign, weights, self.visible)
        if self.n_chains:
            chains = params.state["chains"], params.state["chains_hidden"], self.gibbs_steps
            results = self.kernel.persistent_losses_and_gradient(
                *arguments, *chains, *draw.words(Use.PERSISTENT_CHAINS)
            )
        else:
            words = draw.words(Use.GIBBS_TRAINING)
            results = self.kernel.losses_and_gradient(*arguments, self.gibbs_steps, every, *words, draw.rows)
        if self.weight_decay:
            flat, gradient, n = params.flat, results[2], np.prod(self.shape)
            total = float(weights.sum(dtype=np.float64))
            gradient[:n] += flat.dtype.type(self.weight_decay * total) * flat[:n]
        return results

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of contrastive divergence without weight decay, a dict of named arrays."""
        first = X - centers[assign]
        last = self.chain(params, first, assign, self.gibbs_steps, draw.words(Use.VALUE_AND_GRADIENT))
        return params.layout.views(self._divergence_gradient(params, first, last, assign, weights))

    def _divergence_gradient(self, params, first, last, assign, weights):
        """Gradient (p,) of Σ w (F(v⁰) − F(v^K)), with both ends of the chains held constant."""
        at_first, at_last = (self.energy_gradient(params, V, assign, weights) for V in (first, last))
        return at_first - at_last

    def value_and_gradient(self, params, X, target, centers, assign, weights, fitted, draw):
        """(L, gradient) of one function: the ends of the chains are sampled with the fitted parameters."""
        first = X - centers[assign]
        if "chains" in params.state:
            chains = self.own(params.state["chains"], first.dtype)
            k, m, d = chains.shape
            owner = self.own(np.repeat(np.arange(k), m))
            share = self.own(np.repeat(np.bincount(as_numpy(assign), minlength=k) / m, m).astype(first.dtype))
            at_chains = self.energy_gradient(params, chains.reshape(-1, d), owner, share)
            L = self.losses(params, X, target, centers, draw)
            return L, self.energy_gradient(params, first, assign, weights) - at_chains
        fitted_params, fitted_centers = fitted
        words = draw.words(Use.VALUE_AND_GRADIENT)
        last = self.chain(fitted_params, X - fitted_centers[assign], assign, self.gibbs_steps, words)
        zeros = np.zeros_like(centers)
        L = self.free_energy(params, first, zeros) - self.free_energy(params, last, zeros)
        return L, self._divergence_gradient(params, first, last, assign, weights)

    # Units

    def embed(self, params, X, centers, draw):
        """p(h = 1 | v) under every cluster, (n, k, m)."""
        k, _, m = self.shape
        Z = np.empty_like(X, shape=(len(X), k, m))
        for j in range(k):
            assign = np.full_like(X, j, shape=(len(X),), dtype=np.int64)
            Z[:, j] = self.embed_assigned(params, X, centers, assign, draw)
        return Z

    def embed_assigned(self, params, X, centers, assign, draw):
        """p(h = 1 | v) under each sample's own cluster, (n, m)."""
        return self.kernel.hidden_probabilities(params.flat, X, centers, assign)

    def decode(self, params, Z, assign, centers, draw):
        """E[v | h] in the space of ``centers``, (n, d)."""
        return self.kernel.visible_means(params.flat, Z, assign, centers, self.visible)

    def free_energy(self, params, X, centers):
        """F (n, k)."""
        return self.kernel.free_energy(params.flat, X, centers, self.visible)

    def energy_gradient(self, params, V, assign, weights):
        """Gradient (p,) of Σ w F. V : rows in the coordinates of their clusters."""
        return self.kernel.energy_gradient(params.flat, self.shape[0], V, assign, weights, self.visible)

    def chain(self, params, V, assign, n_steps, words):
        """The ends (n, d) of Gibbs chains that start at V, in the coordinates of their clusters.

        words : (key, stream, step), as `Draw.words` returns them
        """
        rows = self.own(np.arange(len(V)))
        return self.kernel.gibbs(params.flat, self.shape[0], V, assign, self.visible, n_steps, *words, 0, rows)

    def sample(self, params, labels, n_steps, draw):
        """The ends (n, d) of Gibbs chains that start at independent units with their cluster's mean.

        labels : (n,) int64, the cluster of each chain
        """
        base = self.own(self.partition.base(params, params.state).astype(params.flat.dtype))
        mean, rows, d = base[labels], self.own(np.arange(len(labels))), self.shape[1]
        units = self.kernel.bernoulli_units if self.bernoulli else self.kernel.gaussian_units
        V = units(mean, np.zeros_like(mean[0]), *draw.words(Use.SAMPLING, 3), 0, rows, d, 0)
        return self.chain(params, V, labels, n_steps, draw.words(Use.SAMPLING))

    def sample_labels(self, state, n, draw):
        """Clusters (n,) int64, drawn with their shares of the training data as probabilities."""
        u = as_numpy(self.philox.uniform53(*draw.words(Use.SAMPLING, 2), 0, n))
        return chosen(u, self.partition.log_mixing(state))

    # Likelihoods and scores

    def likelihood(self, backend, n_features, centered):
        """The rule with log Z; None for one machine, which assigns nothing and needs no log Z in training."""
        return self.partition if self.shape[0] > 1 else None

    def pseudo_likelihood(self, params, X, centers, assign, draw):
        """d log p(v_i | all other units), for one random unit i of each sample: (n,) float64.

        Its expectation over i is the log of the pseudo-likelihood (Besag 1975); Z drops out.
        """
        (n, d), rows = X.shape, np.arange(len(X))
        begin = 0 if draw.rows is None else int(draw.rows[0])
        unit = as_numpy(self.philox.integers(d, *draw.words(Use.PSEUDO_LIKELIHOOD), 0, begin + n))[begin:]
        scores = np.empty(n)
        for first in range(0, n, CHUNK):
            part = slice(first, first + CHUNK)
            x, labels = X[part], as_numpy(assign[part])
            flipped, units = x.copy(), (self.own(rows[: len(x)]), self.own(unit[part]))
            flipped[units] = 1 - flipped[units]
            before, after = (
                as_numpy(self.free_energy(params, v, centers)).astype(np.float64)[rows[: len(x)], labels]
                for v in (x, flipped)
            )
            scores[part] = -d * np.logaddexp(0, before - after)
        return scores

    def quality(self, params, data, labels, centers, draw):
        """Pseudo-likelihoods, or log-densities for Gaussian units; the loss of a machine cannot rank restarts."""
        if self.bernoulli:
            return self.pseudo_likelihood(params, data.X, centers, labels, draw)
        state = params.state | self.partition.estimate(params, params.state, draw)
        energies = (self.free_energy(params, data.X[rows], centers) for rows in blocks(len(data.X)))
        return np.concatenate([self.partition.log_density(self.partition.costs(state, each)) for each in energies])

    def untaught(self, scores, errors, data, labels, sums):
        """Clusters whose samples are less likely under their machine than under independent units with their means.

        scores : (n,) float64, log-likelihood or pseudo-likelihood of every sample under its cluster
        errors : (k,), standard error that a cluster's scores share; sums : result of ``cluster_sums``, on the host
        returns list of (cluster, mean score, log-likelihood of independent units)
        """
        (sums, totals, counts), untaught, weight = sums, [], as_numpy(data.weight)
        for j in np.flatnonzero(counts > 1):
            members = labels == j
            share = weight[members] / totals[j]
            mean, p = float(share @ scores[members]), np.clip(sums[j] / totals[j], 0, 1)
            independent = float((xlogy(p, p) + xlogy(1 - p, 1 - p)).sum())
            variance = np.sum(share**2 * (scores[members] - mean) ** 2) + errors[j] ** 2
            if mean + ERRORS * np.sqrt(variance) < independent:
                untaught.append((int(j), mean, independent))
        return untaught

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the device's kernels for a batch, of four vectors of parameters, and of persistent chains."""
        k, d, m = self.shape
        values = 4 * (k * d * m + k * m + d) + 2 * self.n_chains * k * (d + m)
        return itemsize * values + self.kernel.workspace_bytes(rows, d, k, m, itemsize)
