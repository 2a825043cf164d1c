"""The joint assignment objective: it combines assignments, centres and the gradient.

    minimise over Θ, s :   (1/Σw) Σ_i w_i L[i, s_i],        L[i, j] = ℓ_j(x_i; Θ, c_j)

Source: Sabanayagam, Al-Dabooni, Esser, arXiv 2412.03471. A model (`csrl_core.models.base.ClusterModel`) computes its
losses and their gradient; the objective keeps assignments, centres and weights.
"""

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.reference.assign import JointOptions
from csrl_core.training import starts, sweeps
from csrl_core.training.draws import LAYERS
from csrl_core.training.file_checks import ModelFileError
from csrl_core.training.on_disk import is_on_disk
from csrl_core.training.parameters import Layout
from csrl_core.training.passes import FullPasses
from csrl_core.training.reseeding import RESEEDINGS, reseed

LARGE_BATCH = 2**26  # values of a batch; the gradient of a larger one is added up from parts of PART values
PART = 2**24


class JointAssignment(FullPasses):
    """Joint minimisation over parameters and assignments.

    The state of a run: assign (n,) int64; centers (k, d), sums (k, d), totals (k,), all float64; counts (k,) int64, the
    samples with weight; shift (d,), which has been subtracted from the data and the centres; the arrays of the rule
    and of the model.

    Parameters
    ----------
    model : ClusterModel
    backend : Backend
    n_clusters : int
    center : bool
        Whether the loss uses the centres; if not, zeros.
    assign_first : bool
        Whether assignment comes before the gradient ("assign-then-step") or after it.
    running : bool
        Whether centres are the running centres of the authors' code instead of means.
    init : "auto", "k-means++", "k-means", "random", labels (n,) or centres (k, d) (less the shift)
    key : (2,) uint32
    rule : csrl_core.training.likelihood.Rule or None
        The costs that assignment minimises; None: the losses.
    standing_steps : int or inf
        Steps during which the first assignment stands.
    """

    def __init__(
        self,
        model,
        backend,
        *,
        n_clusters,
        center,
        assign_first,
        running,
        init,
        key,
        frame,
        rule=None,
        standing_steps=0,
    ):
        super().__init__(model, backend, n_clusters, key, center, rule, standing_steps)
        self.assign_first, self.running, self.init = assign_first, running, init
        self.shift, self.unit = frame
        # The arrays of a rule depend on the parameters too, not on the assignment alone.
        self.moves_every_epoch = rule is not None and model.minimise is None

    # The start of a run

    def start(self, data, restart):
        """Initial assignment, parameters and state (step 1 of the algorithm)."""
        return starts.start(self, data, restart)

    def begin(self, run, data):
        """Add the arrays of the model's state that the run does not have yet, at its start or when it is resumed."""
        n, known = len(data.X), run.state["assign"]
        assign = known if len(known) == n else np.zeros_like(data.index)  # else of an earlier batch
        self.add_state(run, data, assign, self.loss_centers(run.state, data.X.dtype))

    def for_workers(self):
        """A copy for other processes, without what belongs to the data."""
        other = super().for_workers()
        other.init = None
        return other

    def set_layout(self, shapes):
        """Set the names and shapes of the parameters; the first axis must have length k or 1."""
        for name, shape in shapes.items():
            if not shape or shape[0] not in (1, self.n_clusters):
                raise ValueError(
                    f"parameter {name!r} has shape {tuple(shape)}; its first axis must be the cluster's, "
                    f"of length n_clusters={self.n_clusters} or 1 (shared)"
                )
        if len(shapes) > LAYERS:
            raise ValueError(f"the model has {len(shapes)} arrays of parameters; expected at most {LAYERS}")
        self.layout = Layout(shapes)

    def check_data(self, run, data, path):
        """Refuse a run that was made on other data: then its sums do not agree with its assignment."""
        arguments = data.target, run.state["assign"], data.weight, self.n_clusters
        sums, _, _ = sweeps.cluster_sums(self.backend.assign, *arguments)
        scale = sweeps.largest(data.target)
        if not np.allclose(as_numpy(sums), as_numpy(run.state["sums"]), rtol=1e-4, atol=1e-4 * scale):
            raise ModelFileError(f"{path} was made on other data (or weights) than those to resume with")

    # One batch

    def step(self, run, batch):
        """Compute losses and gradient of a batch, then its assignment and the centres (steps 2a to 2d)."""
        kernel, state = self.backend.assign, run.state
        assign, new = self._assignments(run, batch, not self.assign_first)
        done = None
        for part, own, fixed in self._parts(batch, assign, new):
            evaluated = self.model.losses_and_gradient(*self._arguments(run, part, own), every=fixed is None)
            done = _joined(done, self._checked(evaluated, run, part, own, fixed))
        L, assign, gradient, new = done
        loss_sum, weight_sum = kernel.objective(L, assign, batch.weight)
        moved = self.move(state, batch, new)
        kernel.means(state["sums"], state["totals"], state["centers"], batch.number if self.running else 0)
        return loss_sum, weight_sum, gradient.astype(batch.X.dtype, copy=False), moved

    def move(self, state, batch, assign):
        """Move samples to their new clusters and update the sums; returns how many moved."""
        return sweeps.move(self.backend.assign, batch, assign, state)

    def accumulate(self, run, batch, assigned):
        """A step of `partial_fit`: the batch is added to the sums, and no earlier sample moves.

        assigned : bool, whether the state already holds an assignment of this batch; if not, it is assigned first
        """
        kernel, state, rule = self.backend.assign, run.state, self.rule
        if run.step < self.standing_steps and not assigned:
            state["assign"] = kernel.nearest(batch.target, self.backend.own(state["centers"], batch.target.dtype))
        self.begin(run, batch)
        if rule is not None and rule.when == "epoch" and run.step >= self.standing_steps and not assigned:
            state["assign"] = kernel.assign(rule.costs(state, self._codes(run, batch.X)))
        if rule is not None:
            rule.before_batch(self.parameters(run), state, self._evaluation_draw(run))
        assign, new = self._assignments(run, batch, assigned and not self.assign_first)
        evaluated = self.model.losses_and_gradient(*self._arguments(run, batch, assign), every=new is None)
        L, assign, gradient, new = self._checked(evaluated, run, batch, assign, new)
        loss_sum, weight_sum = kernel.objective(L, assign, batch.weight)
        state["assign"] = new
        if rule is not None:
            rule.add_batch(state, self._codes(run, batch.X), new, batch.weight, first=assigned)
        added = kernel.cluster_sums(batch.target, state["assign"], batch.weight, self.n_clusters)
        for name, part in zip(("sums", "totals", "counts"), added, strict=True):
            state[name] += part
        kernel.means(state["sums"], state["totals"], state["centers"], 0)
        return loss_sum, weight_sum, gradient

    def _assignments(self, run, batch, assigned):
        """(assignment for the gradient, new assignment), each None if it depends on the losses."""
        state, new = run.state, None
        if run.step < self.standing_steps or (self.rule is not None and self.rule.when == "epoch"):
            new = state["assign"][batch.index]
        elif self.rule is not None and self.rule.when == "batch":
            costs = (
                self.costs(run, batch.X) if is_on_disk(batch.X) else self.rule.costs(state, self._codes(run, batch.X))
            )
            new = self.backend.assign.assign(costs)
        return state["assign"][batch.index] if assigned else new, new

    def _parts(self, batch, assign, new):
        """(batch, assignment for the gradient, new assignment), or those of parts of a very large batch."""
        if batch.X.size <= LARGE_BATCH or self.model.couples_batch:
            yield batch, assign, new
            return
        n, rows = len(batch.X), max(1, PART // batch.X.shape[1])
        for own in (slice(first, first + rows) for first in range(0, n, rows)):
            yield batch.part(own), *(None if each is None else each[own] for each in (assign, new))

    def _arguments(self, run, batch, assign):
        """The arguments of a model's `losses_and_gradient`."""
        centers, draw = self.loss_centers(run.state, batch.X.dtype), self.training_draw(run, batch)
        return self.parameters(run), batch.X, batch.target, centers, assign, batch.weight, draw

    def _checked(self, evaluated, run, batch, assign, new):
        """(L, assignment for the gradient, flat gradient, new assignment), checked and as kernels expect them."""
        (L, used, gradient), own = evaluated, self.backend.own
        self._check(L, (len(batch.X), self.n_clusters), "losses")
        gradient = self.flat_gradient(gradient, run, "gradient")
        L = own(L, batch.X.dtype)
        if assign is None:
            assign = self._checked_assignment(own(used, np.int64), len(batch.X))
        return L, assign, gradient, self.backend.assign.assign(L) if new is None else new

    def _checked_assignment(self, assign, n):
        self._check(assign, (n,), "losses_and_gradient's assignment")
        if n and not 0 <= int(assign.min()) <= int(assign.max()) < self.n_clusters:
            raise ValueError(
                f"{type(self.model).__name__}.losses_and_gradient assigned samples to clusters {int(assign.min())} "
                f"to {int(assign.max())}; expected 0 to {self.n_clusters - 1}"
            )
        return assign

    def fused_epoch(self, run, data, settings):
        """The model's kernel for a whole epoch, or None; such kernels assign by loss."""
        if self.rule is not None or self.model.minimise or self.standing_steps > run.step:
            return None
        options = JointOptions(bool(self.center), bool(self.assign_first), bool(self.running))
        return self.model.fused_epoch(run, data, settings, options)

    # Between epochs

    def end_of_epoch(self, run, data, fused):
        """Compute the sums anew and re-seed clusters without weight (step 3); returns how many were re-seeded."""
        state = run.state
        if not fused:  # the fused kernel has done it
            self._sum_anew(state, data)
        filled = 0
        if not state["counts"].all() and run.n_reseeded < RESEEDINGS * self.n_clusters and self._can_fill(run):
            filled = reseed(self, run, data)
        if self.rule is not None:
            self.refresh(run, data)
            if self.rule.when == "epoch" and run.step >= self.standing_steps:
                filled += self._assign_all(run, data)
        return filled

    def _assign_all(self, run, data):
        """Assign all samples by the rule's costs, and refresh the rule for that; returns how many moved."""
        moved = self.move(run.state, data, self.backend.assign.assign(self.costs(run, data.X)))
        if moved:
            self._sum_anew(run.state, data)
            self.refresh(run, data)
        return moved

    def _sum_anew(self, state, data):
        """Compute the clusters' sums and means of all samples."""
        kernel = self.backend.assign
        arguments = data.target, state["assign"], data.weight, self.n_clusters
        sums, totals, counts = sweeps.cluster_sums(kernel, *arguments)
        for name, fresh in (("sums", sums), ("totals", totals), ("counts", counts)):
            state[name][...] = fresh
        if not self.running:
            kernel.means(state["sums"], state["totals"], state["centers"], 0)

    def _can_fill(self, run):
        """Whether a cluster that is re-seeded with one sample could keep it."""
        return self.rule is None or self.rule.reseeds or run.step < self.standing_steps


def _joined(done, part):
    """(L, assignment, gradient, new assignment) of earlier parts, None before the first, and of one more.

    Gradients add up in float64.
    """
    if done is None:
        return part
    gradient = done[2].astype(np.float64) + part[2].astype(np.float64)
    L, assign, new = (np.concatenate([done[i], part[i]]) for i in (0, 1, 3))
    return L, assign, gradient, new
