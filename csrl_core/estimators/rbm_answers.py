"""What a fitted Boltzmann machine answers besides: energies, likelihoods, samples."""

from functools import cached_property
from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.estimators.answers import Fitted, home_of
from csrl_core.models.rbm import PartitionRule, chain_energies
from csrl_core.training.draws import Use, draw_key, stream


class FittedRBM(Fitted):
    """A fitted machine in one dtype."""

    def __init__(self, estimator, dtype, params=None, centers=None):
        super().__init__(estimator, dtype, params, centers)
        self.partition = estimator._partition(self.model, estimator._key)
        self.state = estimator.state_

    def assign(self, x):
        if self.model.shape[0] == 1:
            return np.zeros_like(x, shape=(len(x),), dtype=np.int64)
        return super().assign(x)

    def costs(self, x):
        if self.rule is not None and not int(self.state["n_estimates"][0]):
            self.estimator._ensure_partition()  # of an epoch in which assignment did not need it
            self.state = self.estimator.state_
        return super().costs(x)

    def losses(self, x):
        if "chains" in self.state:
            return (self.free_energy(x) - self._chain_energies).astype(x.dtype)
        return super().losses(x)

    @cached_property
    def _chain_energies(self):
        return chain_energies(self.model, self.parameters, self.state, self.centers)

    def free_energy(self, x):
        return self.model.free_energy(self.parameters, x, self.centers)

    def joint(self, x):
        """−log π_j p_j(x), (n, k), whatever assignment goes by."""
        return self.partition.costs(self.state, self.free_energy(x))

    def embed_assigned(self, x):
        assign = self.assign(x)
        return self.model.embed_assigned(self.parameters, x, self.centers, assign), assign

    def losses_and_gradient(self, data, labels):
        """The chains are those of the fitted parameters, so that value and gradient are of one function."""
        estimator, model, own = self.estimator, self.model, self.backend.own
        first = data.X - self.centers[labels]
        if "chains" in self.state:
            chains = own(self.state["chains"], first.dtype)
            k, m, d = chains.shape
            share = np.bincount(as_numpy(labels), minlength=k) / m
            owner = own(np.repeat(np.arange(k), m))
            weight = own(np.repeat(share, m).astype(first.dtype))
            ahead = model.energy_gradient(self.parameters, first, labels, data.weight)
            behind = model.energy_gradient(self.parameters, chains.reshape(k * m, d), owner, weight)
            return self.losses(data.X), ahead - behind
        fitted = estimator._fitted(first.dtype)
        label = stream(Use.VALUE_AND_GRADIENT)
        start = data.X - fitted.centers[labels]
        last = model.chain(fitted.parameters, start, labels, model.gibbs_steps, estimator._key, label)
        nothing = np.zeros_like(self.centers)
        difference = model.free_energy(self.parameters, first, nothing) - model.free_energy(
            self.parameters, last, nothing
        )
        return difference, model.divergence_gradient(self.parameters, first, last, labels, data.weight)


class RBMAnswers:
    """Mixin of the fitted machine's methods, before `csrl_core.estimators.answers.Answers`."""

    def free_energy(self, X):
        """F_j(x − c_j) under every cluster's machine, (n, k): −log p_j(x) − log Z_j.

        Comparable between samples, not between clusters: every machine has a log Z of its own.
        """
        return self._map(X, lambda fitted, x: fitted.free_energy(x))

    @property
    def log_partition_(self):
        """log Z_j, (k,) float64, by annealed importance sampling; estimated when first asked for."""
        self._ensure_partition()
        return as_numpy(self.state_["log_partition"])

    @property
    def log_partition_error_(self):
        """The standard error of `log_partition_` as the chains' spread shows it, (k,) float64."""
        self._ensure_partition()
        return as_numpy(self.state_["log_partition_error"])

    def _ensure_partition(self):
        self._check_fitted()
        if "n_estimates" not in self.state_ or not int(self.state_["n_estimates"][0]):
            self.estimate_log_partition()

    def estimate_log_partition(self, n_chains=None, n_betas=None):
        """Estimate log Z of every machine anew, with other random numbers than before.

        Parameters
        ----------
        n_chains, n_betas : int, optional
            Chains and temperatures, ``ais_chains`` and ``ais_betas`` by default. The standard error falls with the
            root of the chains; bias, which it does not show, with the temperatures.

        Returns
        -------
        log_partition, standard_error : ndarray (k,) float64, what `log_partition_` and its error are from now on

        Raises
        ------
        ValueError
            Parameters are not finite.
        """
        self._check_fitted()
        for name, value in (("n_chains", n_chains), ("n_betas", n_betas)):
            if value is not None and (not isinstance(value, Integral) or value < 2):
                raise ValueError(f"{name}={value!r}; expected an int of at least 2")
        fitted = self._fitted(self.params_.dtype)
        rule = PartitionRule(
            *(fitted.model, n_chains or self.ais_chains, n_betas or self.ais_betas, self._key, self._centred)
        )
        state = {name: fitted.backend.own(array) for name, array in self.state_.items()}
        fresh = rule.state(fitted.parameters, None, fitted.centers)
        state |= {name: state[name].copy() if name in state else array for name, array in fresh.items()}
        with fitted.threads():
            rule.estimate(fitted.parameters, state)
        home = home_of(self.params_)
        self.state_ = self.state_ | {name: home(state[name]) for name in fresh}
        return self.log_partition_, self.log_partition_error_

    def score_samples(self, X):
        """log Σ_j π_j p_j(x), (n,), with `log_partition_`.

        For values between 0 and 1 under Bernoulli units it is no density but a lower bound on the mean log-probability
        of binary samples drawn from them.
        """
        self._ensure_partition()
        return self._map(X, lambda fitted, x: fitted.partition.log_density(fitted.joint(x)))

    def pseudo_likelihood(self, X):
        """d · log p(v_i | all other units) under each sample's cluster, for one unit i drawn for each sample: (n,).

        Its mean estimates the log of the pseudo-likelihood, which needs no log Z. For Bernoulli units.
        """
        self._check_fitted()
        if self.visible != "bernoulli":
            raise ValueError("pseudo_likelihood needs visible='bernoulli', whose units can be flipped, got 'gaussian'")
        X = self._check_X(X, False)
        fitted = self._fitted(X.dtype)
        with fitted.threads():
            x = fitted.backend.own(X)
            labels = fitted.backend.own(self.predict(X))
            return fitted.model.pseudo_likelihood(fitted.parameters, x, fitted.centers, labels, self._key)

    def free_energy_gap(self, X_train, X_valid):
        """Mean free energy of samples held out less that of samples trained on: it grows with overfitting (float).

        Within a cluster log Z drops out of the difference. Clusters count by their share of X_valid; one that has no
        samples in either is left out.
        """
        pairs = [
            (as_numpy(self.free_energy(X)).astype(np.float64), as_numpy(self.predict(X))) for X in (X_train, X_valid)
        ]
        gaps, shares = [], []
        for j in range(self.n_clusters):
            train, valid = (F[labels == j, j] for F, labels in pairs)
            if len(train) and len(valid):
                gaps.append(valid.mean() - train.mean())
                shares.append(len(valid))
        if not gaps:
            raise ValueError("no cluster has samples in both X_train and X_valid")
        return float(np.average(gaps, weights=shares))

    def gibbs(self, V, steps=1, labels=None, random_state=None):
        """Samples after steps of block Gibbs sampling from V on, (n, d).

        Parameters
        ----------
        V : array-like (n, d)
            Where the chains stand, in input space.
        steps : int
        labels : array-like (n,) of int, optional
            Whose machine moves each row; `predict` says where left out.
        random_state : int, RandomState or None
            None continues the fit's own random numbers, so that calls one after the other differ, and a program
            that is run again repeats them.
        """
        self._check_fitted()
        _check_steps(steps)
        V = self._check_chains(V)
        if labels is None:  # not by `predict`, which refuses where chains of centred binary units may stand
            labels = as_numpy(self._map_checked(V, lambda fitted, v: fitted.assign(v)))
        else:
            labels = self._check_labels(labels, len(V))
        fitted = self._fitted(V.dtype)
        own, home = fitted.backend.own, home_of(V)
        with fitted.threads():
            labels = own(labels)
            offset = fitted.shift + fitted.centers[labels]
            return home(self._chain(fitted, own(V) - offset, labels, steps, *self._draw(random_state)) + offset)

    def _chain(self, fitted, V, labels, steps, key, number):
        label = stream(Use.SAMPLING)
        return fitted.model.chain(fitted.parameters, V, labels, steps, key, label, number)

    def _check_chains(self, V):
        """Like X; where chains stand, Gaussian or centred units may have any value."""
        V = super()._check_X(V, False) if self._centred or self.visible == "gaussian" else self._check_X(V, False)
        return V if V.dtype == self.params_.dtype else V.astype(self.params_.dtype)

    def _draw(self, random_state):
        """(key, step) of random numbers that no earlier call has seen."""
        if random_state is not None:
            return draw_key(random_state), 0
        number = vars(self).get("_n_draws", 0)
        self._n_draws = number + 1
        return self._key, number

    def sample(self, n_samples=1, cluster=None, *, steps=1000, random_state=None):
        """Draw from the model: Gibbs chains that begin at independent units with the cluster's mean.

        Parameters
        ----------
        n_samples : int
        cluster : int, optional
            Whose machine; otherwise a cluster is drawn for every sample, by its share of the training data.
        steps : int
            Of every chain; a machine that mixes slowly needs more.
        random_state : as for `gibbs`

        Returns
        -------
        X : ndarray (n_samples, d), in input space
        labels : ndarray (n_samples,) int64
        """
        self._check_fitted()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples={n_samples!r}; expected an int of at least 1")
        _check_steps(steps)
        if cluster is not None and (not isinstance(cluster, Integral) or not 0 <= cluster < self.n_clusters):
            raise ValueError(f"cluster={cluster!r}; expected None, or an int from 0 to {self.n_clusters - 1}")
        fitted = self._fitted(self.params_.dtype)
        own, kernel, model = fitted.backend.own, fitted.backend.philox, fitted.model
        key, number = self._draw(random_state)
        if cluster is None:
            u = as_numpy(kernel.uniform53(key, stream(Use.SAMPLING, 2), number, 0, n_samples))
            edges = np.cumsum(np.exp(fitted.partition.log_mixing(self.state_)))
            labels = np.searchsorted(edges[:-1] / edges[-1], u, side="right").astype(np.int64)
        else:
            labels = np.full(n_samples, cluster, np.int64)
        with fitted.threads():
            base = own(fitted.partition.base(fitted.parameters, self.state_).astype(self.params_.dtype))
            draw = model.kernel.bernoulli_units if model.bernoulli else model.kernel.gaussian_units
            mean, (d, rows) = base[own(labels)], (self.n_features_in_, own(np.arange(n_samples)))
            V = draw(mean, np.zeros_like(mean[0]), key, stream(Use.SAMPLING, 3), number, 0, rows, d, 0)
            V = self._chain(fitted, V, own(labels), steps, key, number)
            X = V + fitted.centers[own(labels)] + fitted.shift
        return home_of(self.params_)(X), labels


def _check_steps(steps):
    if not isinstance(steps, Integral) or steps < 0:
        raise ValueError(f"steps={steps!r}; expected an int of at least 0")
