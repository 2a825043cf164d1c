"""What the joint objective computes of all samples: losses, codes and costs in chunks of rows, labels, scores."""

from contextlib import suppress

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.training import units
from csrl_core.training.draws import Use
from csrl_core.training.objective import ModelObjective
from csrl_core.training.on_disk import BLOCK, SamplesLostError, is_on_disk, mapped
from csrl_core.training.parameters import check_shape

STATE = ("assign", "centers", "sums", "totals", "counts", "shift", "unit")  # arrays of every run
CHUNK = BLOCK  # rows of a full pass; a multiple of the kernels' own chunks, so that chunking changes no bit


class FullPasses(ModelObjective):
    """Passes over the data for a `ClusterModel`, whose parameters they do not change.

    center : bool, whether losses use the centres; rule : `csrl_core.training.likelihood.Rule` or None
    standing_steps : int or inf, steps during which the first assignment stands
    """

    def __init__(self, model, backend, n_clusters, key, center, rule, standing_steps):
        super().__init__(model, backend, n_clusters, key)
        self.center, self.rule, self.standing_steps, self._last_pass = center, rule, standing_steps, None

    # Arguments of the model's methods

    def model_state(self, run):
        """The arrays of the run's state that belong to the model, a dict."""
        others = {*STATE, *(self.rule.names if self.rule is not None else ())}
        return {name: array for name, array in run.state.items() if name not in others}

    def loss_centers(self, state, dtype):
        """The centres that the loss uses, (k, d)."""
        if self.center:
            return state["centers"].astype(dtype)
        return np.zeros_like(state["centers"], dtype=dtype)

    def _evaluation_draw(self, run, rows=None):
        return self.draw(Use.EVALUATION_NOISE, run.restart, rows=rows)

    def for_workers(self):
        """A copy for other processes, without what belongs to the data."""
        other = super().for_workers()
        other._last_pass = None
        return other

    # Passes

    def losses(self, run, X, target):
        """L (n, k) of any samples, computed in chunks."""
        model, parameters, centers = self.model, self.evaluated(run), self.loss_centers(run.state, X.dtype)
        draw, shape = self._evaluation_draw(run), (len(X), self.n_clusters)

        def losses(x, rows, t=None):
            return model.losses(parameters, x, x if t is None else t, centers, draw.of(rows))

        beside = (self._row_numbers(X), *(() if target is X else (target,)))
        return self._filled(mapped(X, losses, *beside), np.empty_like(run.params, shape=shape, dtype=X.dtype), "losses")

    def _row_numbers(self, X):
        return self.backend.own(np.arange(len(X)))

    def _filled(self, parts, array, what=None):
        """``array``, filled with blocks of rows; ``what`` says which method gave them, whose shape is checked then."""
        first = 0
        for part in parts:
            rows = slice(first, first + len(part))
            if what is not None:
                self._check(part, array[rows].shape, what)
            array[rows], first = part, rows.stop
        return array

    def _codes(self, run, X):
        """Codes for the rule; kept from the last full pass if data, parameters and centres are the same."""
        centers = self.loss_centers(run.state, X.dtype)
        if self._last_pass is not None:
            last_X, last_params, last_centers, codes = self._last_pass
            if X is last_X and bool((run.params == last_params).all()) and bool((centers == last_centers).all()):
                return codes
        return self.rule.codes(self.parameters(run), X, centers, self._evaluation_draw(run))

    def _codes_of_block(self, run, dtype):
        """The function (x) → codes for the rule, of a block of rows; it holds nothing that belongs to all samples."""
        rule, parameters, draw = self.rule, self.evaluated(run), self._evaluation_draw(run)
        centers = self.loss_centers(run.state, dtype)
        return lambda x: rule.codes(parameters, x, centers, draw.again())

    def costs(self, run, X):
        """A (n, k) of any samples, computed in chunks: the costs that the rule minimises."""
        if len(X) <= CHUNK and not is_on_disk(X):
            return self.rule.costs(run.state, self._codes(run, X))
        codes = self._codes_of_block(run, X.dtype)
        rule, state = self.rule, {name: array for name, array in run.state.items() if name != "assign"}
        A = np.empty_like(run.params, shape=(len(X), self.n_clusters), dtype=X.dtype)
        return self._filled(mapped(X, lambda x: rule.costs(state, codes(x))), A)

    def refresh(self, run, data):
        """Compute the rule's arrays anew from a full pass."""

        def passes():
            whole = len(data.X) <= CHUNK and not is_on_disk(data.X)
            if whole:  # the next full batch is assigned by the same codes, at the same parameters
                codes = self._codes(run, data.X)
                yield codes, run.state["assign"], data.weight
                self._last_pass = data.X, run.params.copy(), self.loss_centers(run.state, data.X.dtype), codes
                return
            first, codes_of = 0, self._codes_of_block(run, data.X.dtype)
            for codes, weight in mapped(data.X, lambda x, w: (codes_of(x), w), data.weight):
                yield codes, run.state["assign"][first : first + len(weight)], weight
                first += len(weight)

        standing = run.step < self.standing_steps
        self.rule.refresh(self.parameters(run), run.state, passes(), standing, self._evaluation_draw(run))

    def final(self, run, data):
        """Labels (n,) and mean loss of a full pass; the state's assignment stays as it is."""
        kernel = self.backend.assign
        L = self.losses(run, data.X, data.target)
        if self.rule is not None:
            missing = self.rule.missing_arrays(self.parameters(run), run.state, self._evaluation_draw(run))
            for name, array in missing.items():
                run.state[name][...] = array
        labels = kernel.assign(L if self.rule is None else self.costs(run, data.X))
        loss_sum, weight_sum = kernel.objective(L, labels, data.weight)
        return labels, loss_sum / weight_sum

    def known(self, run, data):
        """What `final` returns, or the present assignment and the last epoch's loss.

        The latter where the former would take long, or the samples have gone.
        """
        if self.rule is None or not self.rule.lacks_arrays(run.state):
            with suppress(SamplesLostError):
                return self.final(run, data)
        return run.state["assign"].copy(), run.loss_curve[-1] / units.of_state(run.state) ** 2

    def loss(self, run, data):
        """The mean loss of a full pass."""
        return self.final(run, data)[1]

    def finish(self, run, data):
        """Let the rule bring its arrays up to date with the last parameters, on which the labels rest."""
        if self.rule is not None:
            self.rule.finish(self.parameters(run), run.state, self._evaluation_draw(run))

    def selection_score(self, run, data):
        """The mean log-likelihood; without a rule the mean of the model's `quality`, or −loss of a full pass."""
        if self.rule is not None:
            scores = self.scores(run, data)
        else:
            labels, loss = self.final(run, data)
            centers = self.loss_centers(run.state, data.X.dtype)
            draw = self._evaluation_draw(run, data.index)
            scores = self.model.quality(self.parameters(run), data, labels, centers, draw)
            if scores is None:
                return -loss * units.of_state(run.state) ** 2  # in the data's units
        return float(np.average(scores, weights=as_numpy(data.weight).astype(np.float64)))

    def scores(self, run, data):
        """The scores by which starts are compared, (n,) float64 on the host: −min_j L, or the log-density."""
        if self.rule is None:
            return -as_numpy(self.losses(run, data.X, data.target)).min(axis=1).astype(np.float64)
        return self.rule.log_density(self.costs(run, data.X))

    def _check(self, array, shape, what):
        check_shape(self.model, array, shape, what)
