"""What a fitted Boltzmann machine can be asked besides clusters: energies, likelihoods, samples."""

from copy import copy
from numbers import Integral

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.estimators.fitted import to_device_of
from csrl_core.estimators.row_by_row import row_by_row
from csrl_core.estimators.sampling import Sampling
from csrl_core.training.draws import Use
from csrl_core.training.on_disk import is_on_disk, loaded


class MachineMethods(Sampling):
    """Mixin of the methods that `TensorizedRBM` has besides those of every estimator."""

    @row_by_row
    def free_energy(self, X):
        """F_j(x − c_j) under every cluster's machine, (n, k): −log p_j(x) − log Z_j.

        Comparable between samples, but not between clusters: every machine has its own log Z.
        """
        return self._map(X, lambda fitted, x: fitted.model.free_energy(fitted.parameters, x, fitted.centers))

    @property
    def log_partition_(self):
        """log Z_j, (k,) float64, by annealed importance sampling; estimated on first access."""
        self._ensure_partition()
        return as_numpy(self.state_["log_partition"])

    @property
    def log_partition_error_(self):
        """The standard error of `log_partition_`, (k,) float64, from the spread of the chains."""
        self._ensure_partition()
        return as_numpy(self.state_["log_partition_error"])

    def _ensure_partition(self):
        self._check_fitted()
        if "n_estimates" not in self.state_ or not int(self.state_["n_estimates"][0]):
            self.estimate_log_partition()

    def estimate_log_partition(self, n_chains=None, n_betas=None):
        """Estimate log Z of every machine anew, with new random numbers.

        Parameters
        ----------
        n_chains, n_betas : int, optional
            Chains and temperatures, ``ais_chains`` and ``ais_betas`` by default. More chains reduce the standard
            error, by their square root. More temperatures reduce the bias, which the standard error does not show.

        Returns
        -------
        log_partition, standard_error : ndarray (k,) float64, the new values of the attributes

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
        rule = copy(fitted.model.partition)
        rule.chains, rule.betas = n_chains or self.ais_chains, n_betas or self.ais_betas
        with fitted.threads():
            fitted.keep(rule.estimate(fitted.parameters, fitted.parameters.state, fitted.draw()))
        return self.log_partition_, self.log_partition_error_

    def score_samples(self, X):
        """log Σ_j π_j p_j(x), (n,), with `log_partition_`.

        For Bernoulli units and values between 0 and 1 it is not a density, but a lower bound on the mean
        log-probability of binary samples that are drawn with these values as probabilities.
        """
        self._ensure_partition()
        return self._log_densities(X)

    @row_by_row
    def _log_densities(self, X):
        def log_densities(fitted, x):
            rule, energies = fitted.model.partition, fitted.model.free_energy(fitted.parameters, x, fitted.centers)
            return rule.log_density(rule.costs(fitted.parameters.state, energies))

        return self._map(X, log_densities)

    @row_by_row(numbered=True)
    def pseudo_likelihood(self, X):
        """d · log p(v_i | all other units) under each sample's cluster, for one random unit i of each sample: (n,).

        Its mean estimates the log of the pseudo-likelihood, which needs no log Z. Only for Bernoulli units.
        """
        self._check_fitted()
        if self.visible != "bernoulli":
            raise ValueError("pseudo_likelihood needs visible='bernoulli', whose units can be flipped, got 'gaussian'")
        X = self._check_X(X, False)
        fitted = self._fitted(X.dtype)
        with fitted.threads():
            x = X if is_on_disk(X) else fitted.backend.own(X)
            labels = fitted.backend.own(self._map_checked(X, lambda fitted, x: fitted.assign(x)))
            fitted.rows = self._first_row + np.arange(len(X))
            return fitted.model.pseudo_likelihood(fitted.parameters, x, fitted.centers, labels, fitted.draw())

    def free_energy_gap(self, X_train, X_valid):
        """Mean free energy of held-out samples less that of training samples, a float; it grows with overfitting.

        Within a cluster log Z drops out of the difference. Clusters are weighted by their shares of X_valid; a cluster
        without samples in X_train or in X_valid is left out.
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
        """The ends of Gibbs chains that start at V, (n, d); each step is one step of block Gibbs sampling.

        Parameters
        ----------
        V : array-like (n, d)
            The starts of the chains, in input space.
        steps : int
        labels : array-like (n,) of int, optional
            The cluster whose machine samples each row; by default as in `predict`.
        random_state : int, RandomState or None
            None continues the random numbers of the fit: successive calls differ, and the same program gives the same
            samples when it is run again.
        """
        self._check_fitted()
        _check_steps(steps)
        V = self._check_chains(V)
        if labels is None:  # not by `predict`, which refuses values that chains of centred binary units may have
            labels = as_numpy(self._map_checked(V, lambda fitted, v: fitted.assign(v)))
        else:
            labels = self._check_labels(labels, len(V))
        fitted = self._fitted(V.dtype)
        own, to_device_of_V = fitted.backend.own, to_device_of(V)
        with fitted.threads():
            labels = own(labels)
            offset = fitted.shift + fitted.centers[labels]
            words = fitted.draw(*self._draw(random_state)).words(Use.SAMPLING)
            ends = fitted.model.chain(fitted.parameters, own(V) - offset, labels, steps, words)
            return self._input_units(to_device_of_V(ends + offset))

    def _check_chains(self, V):
        """V, checked like X; but Gaussian or centred units may have any value."""
        check = super()._check_X if self._centred or self.visible == "gaussian" else self._check_X
        [V] = loaded(check(V, False))
        return V if V.dtype == self.params_.dtype else V.astype(self.params_.dtype)

    def sample(self, n_samples=1, cluster=None, *, steps=1000, random_state=None):
        """Draw samples from the model, by Gibbs chains that start at independent units with the cluster's mean.

        Parameters
        ----------
        n_samples : int
        cluster : int, optional
            The cluster whose machine is sampled. By default a cluster is drawn for every sample, with the clusters'
            shares of the training data as probabilities.
        steps : int
            Gibbs steps of every chain; a machine that mixes slowly needs more.
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
        own, draw = fitted.backend.own, fitted.draw(*self._draw(random_state))
        if cluster is None:
            labels = fitted.model.sample_labels(self.state_, n_samples, draw)
        else:
            labels = np.full(n_samples, cluster, np.int64)
        with fitted.threads():
            V = fitted.model.sample(fitted.parameters, own(labels), steps, draw)
            X = V + fitted.centers[own(labels)] + fitted.shift
        return self._input_units(to_device_of(self.params_)(X)), labels


def _check_steps(steps):
    if not isinstance(steps, Integral) or steps < 0:
        raise ValueError(f"steps={steps!r}; expected an int of at least 0")
