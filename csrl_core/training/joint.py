"""The joint assignment objective: the one place where assignment meets gradient.

    minimise over Θ, s :   (1/Σw) Σ_i w_i L[i, s_i],        L[i, j] = ℓ_j(x_i; Θ, c_j)

Source: Sabanayagam, Al-Dabooni, Esser, arXiv 2412.03471. A model contributes its losses and their
gradient (`ClusterModel`); clusters, centres and weights are kept here (`JointAssignment`).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from sklearn.cluster import kmeans_plusplus

from csrl_core.backends import aligned_empty, as_numpy, is_device_array
from csrl_core.training.draws import LAYERS, Use, stream
from csrl_core.training.loop import Batch, Objective, Run
from csrl_core.training.parameters import Layout, Parameters
from csrl_core.training.persistence import ModelFileError
from csrl_core.training.starts import best_k_means, best_start

CHUNK = 8192  # rows of a full pass; a multiple of the kernels' own chunks, so that chunking changes no bit
LLOYD_ITERATIONS = 300
RESEEDINGS = 10  # per cluster, after which those that are empty stay so: they would empty again
RESEED_NOISE = 0.01  # of the root mean square of the donor's parameters


class ClusterModel(ABC):
    """A model with one set of parameters per cluster, known by its losses and their gradient.

    Subclass it and pass an instance to `ClusterSpecific` to train a model of your own. In every
    method ``params`` maps names to arrays whose first axis is the cluster (length k, or 1 where
    clusters share); X and target are (n, d), ``centers`` (k, d) (zeros where the estimator has
    ``center=False``), all of one float dtype. Losses may not depend on other samples of the batch.
    """

    translation_invariant = False
    """Whether losses depend on X, target and centers only through X − c and target − c. If so the
    data arrive with the training mean taken off, which keeps digits in float32."""

    codes = None
    """Optional method ``codes(params, X, centers)`` → (Z (n, k, h), residuals (n, k)), which
    ``assignment="likelihood"`` needs: a code of every sample under every cluster, 1 ≤ h < d, about zero within a
    cluster, and the squared distance ‖e‖² from x of what the code stands for."""

    orthonormal_codes = False
    """Whether codes are coordinates in an orthonormal basis of a subspace and e is what they leave over. Only
    then is the likelihood the density of a mixture of Gaussians; else it is a heuristic."""

    follows_clusters = False
    """Whether `init_from_clusters` gives parameters that fit the clusters it is told: ``init="auto"`` compares starts
    by rounds of these and of assignment. Where it does not, all clusters are alike before training, and nothing
    can be compared."""

    @abstractmethod
    def init_parameters(self, X, n_clusters, random):
        """Initial parameters: dict of name → array (k or 1, …), float.

        X : (n, d), the training data; random : `Draws`, host random numbers in float64
        """

    def init_from_clusters(self, data, assign, centers, random):
        """Initial parameters where the first assignment is known; override it where they depend on that.

        data : `Batch` of all samples; assign : (n,) int64; centers : (k, d) float64, as the loss sees them, a cluster
        without samples at zero or its given centre; random : `Draws`, or None in the rounds of ``init="auto"``
        """
        return self.init_parameters(data.X, len(centers), random)

    @abstractmethod
    def losses(self, params, X, target, centers):
        """L (n, k): the loss of every sample under every cluster."""

    @abstractmethod
    def gradient(self, params, X, target, centers, assign, weights):
        """Gradient of Σ_i weights[i] L[i, assign[i]] with respect to ``params``.

        assign : (n,) int64; weights : (n,); returns a dict with the names and shapes of ``params``
        """

    @abstractmethod
    def embed(self, params, X, centers):
        """Z (n, k, latent): every sample's representation under every cluster."""

    def losses_and_gradient(self, params, X, target, centers, assign, weights):
        """(L, assign, gradient); override it where both can share a forward pass.

        ``assign`` None means argmin_j L. The gradient may also be flat, (p,).
        """
        L = self.losses(params, X, target, centers)
        if assign is None:
            assign = np.argmin(L, axis=1)
        return L, assign, self.gradient(params, X, target, centers, assign, weights)

    def fused_epoch(self, run, data, settings, options):
        """A function (order, batch_size) → (loss_sum, weight_sum, moved), or None where there is no such kernel."""
        return None

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory that losses and gradient of a batch take: an estimate, for devices that have little."""
        return rows * itemsize * (2 * n_features + 2 * n_clusters)


class Draws:
    """Random numbers for initial parameters: functions of (seed, restart, number of the draw)."""

    def __init__(self, philox, key, restart):
        self._philox, self._key, self._restart, self._draw = philox, key, restart, 0

    def uniform(self, shape, low=0.0, high=1.0):
        """Array of the given shape, U(low, high), float64, 53 bits."""
        size = int(np.prod(shape))
        label = stream(Use.INITIAL_PARAMETERS, 0, self._restart)
        u = as_numpy(self._philox.uniform53(self._key, label, self._draw, 0, size))
        self._draw += 1
        return low + (high - low) * u.reshape(shape)

    def normal(self, shape, scale=1.0):
        """Array of the given shape, N(0, scale²), float64."""
        size = int(np.prod(shape))
        label = stream(Use.INITIAL_PARAMETERS, 0, self._restart)
        row = np.zeros(1, np.int64)
        z = as_numpy(self._philox.normal(self._key, label, self._draw, 0, row, size, np.float64))
        self._draw += 1
        return scale * z.reshape(shape)


class JointAssignment(Objective):
    """Joint minimisation over parameters and assignments.

    The state of a run: assign (n,) int64; centers (k, d), sums (k, d), totals (k,), all float64;
    counts (k,) int64, samples with weight; shift (d,), taken off the data before they came here and
    off the centres; with a rule also what that keeps.

    Parameters
    ----------
    model : ClusterModel
    backend : Backend
    n_clusters : int
    center : bool
        Whether the loss sees the centres, or zeros.
    assign_first : bool
        Assignment before the gradient ("assign-then-step") or after.
    running : bool
        The authors' running centres.
    init : "auto", "k-means++", "k-means", "random", labels (n,) or centres (k, d) (with the shift taken off)
    key : (2,) uint32
    rule : csrl_core.training.likelihood.Rule or None
        What assignment minimises, where that is not the loss.
    """

    def __init__(self, model, backend, *, n_clusters, center, assign_first, running, init, key, shift, rule=None):
        self.model, self.backend, self.n_clusters = model, backend, n_clusters
        self.center, self.assign_first, self.running = center, assign_first, running
        self.init, self.key, self.shift = init, key, shift
        self.layout = self._last_pass = None
        self.rule = rule
        self.moves_every_epoch = rule is not None  # what it keeps follows the parameters, not only the assignment

    def start(self, data, restart):
        """Initial assignment and parameters (step 1 of the algorithm)."""
        if not (isinstance(self.init, str) and self.init == "auto"):
            return self.start_from(self.init, data, restart)
        if self.n_clusters == 1 or not self.compares_starts:
            return self.start_from("k-means", data, restart, best_k_means(self, data, restart))
        run = best_start(self, data, restart)
        self.fit_clusters(run, data, Draws(self.backend.philox, self.key, restart))
        return run

    @property
    def compares_starts(self):
        """Whether starts can be told apart before training."""
        return self.model.follows_clusters

    def fit_clusters(self, run, data, random):
        """Parameters that the model gives to the clusters as they are, and what the rule keeps of them.

        random : `Draws`, or None where nothing may be left to chance
        """
        centers = self.loss_centers(run.state, np.float64)
        named = self.model.init_from_clusters(data, run.state["assign"], centers, random)
        run.params[...] = self.backend.own(self.layout.flatten(named, data.X.dtype))
        if self.rule is not None:
            self.refresh(run.params, run.state, data)

    def round(self, run, data):
        """Parameters that fit the clusters, then assignment and centres; returns how many samples moved."""
        kernel, state = self.backend.assign, run.state
        self.fit_clusters(run, data, None)
        if self.rule is None:
            A = self.losses(run.params, state, data.X, data.target)
        else:
            A = self.costs(run.params, state, data.X)
        sums = (state["sums"], state["totals"], state["counts"])
        moved = kernel.move(data.target, data.index, kernel.assign(A), state["assign"], data.weight, *sums)
        kernel.means(state["sums"], state["totals"], state["centers"], 0)
        return moved + self.end_of_epoch(run, data, False)

    def start_from(self, init, data, restart, number=0):
        """A run from one first assignment; number : of the try, which has random numbers of its own."""
        draws = Draws(self.backend.philox, self.key, restart)
        state = self.first_state(data, restart, init, number)
        named = self.model.init_from_clusters(data, state["assign"], self.loss_centers(state, np.float64), draws)
        self.set_layout({name: np.shape(array) for name, array in named.items()})
        params = self.backend.own(self.layout.flatten(named, data.X.dtype))
        if self.rule is not None:
            centers = self.loss_centers(state, params.dtype)
            state |= self.rule.state(Parameters(self.layout, params), data, centers)
            self.refresh(params, state, data)
        return Run(params, state, restart)

    def set_layout(self, shapes):
        """Fix names and shapes of the parameters; the cluster axis must be k or 1 long."""
        for name, shape in shapes.items():
            if not shape or shape[0] not in (1, self.n_clusters):
                raise ValueError(
                    f"parameter {name!r} has shape {tuple(shape)}; its first axis must be the cluster's, "
                    f"of length n_clusters={self.n_clusters} or 1 (shared)"
                )
        if len(shapes) > LAYERS:
            raise ValueError(f"the model has {len(shapes)} arrays of parameters; expected at most {LAYERS}")
        self.layout = Layout(shapes)

    def first_state(self, data, restart, init, number=0):
        """The state of a first assignment; arguments as of `start_from`."""
        kernel, k = self.backend.assign, self.n_clusters
        T, own = data.target, self.backend.own
        centers = None
        if isinstance(init, str):
            label = stream(Use.INITIAL_CENTERS, number, restart)
            seed = self.backend.philox.integers(2**31, self.key, label, 0, 0, 1)[0]
            host, weight = as_numpy(T), as_numpy(data.weight)
            if init in ("k-means++", "k-means"):
                centers, _ = kmeans_plusplus(host, k, sample_weight=weight, random_state=int(seed))
                if init == "k-means":
                    centers = as_numpy(self._lloyd(data, centers))
            else:
                rows = np.flatnonzero(weight > 0)
                chosen = self.backend.philox.permutation(len(rows), self.key, label, 1)[:k]
                centers = host[rows[as_numpy(chosen)]]
        elif init.ndim == 2:
            centers = init
        if centers is None:
            assign = own(init.astype(np.int64))
            centers = own(np.zeros((k, T.shape[1])))
        else:
            centers = own(np.array(centers, dtype=np.float64))
            assign = kernel.nearest(T, own(centers, T.dtype))
        sums, totals, counts = kernel.cluster_sums(T, assign, data.weight, k)
        kernel.means(sums, totals, centers, 0)
        return {
            "assign": assign,
            "centers": centers,
            "sums": sums,
            "totals": totals,
            "counts": counts,
            "shift": own(np.array(self.shift, dtype=np.float64)),
        }

    def _lloyd(self, data, centers):
        """Centres after Lloyd's iterations: with these kernels, so that every backend begins alike."""
        kernel, k = self.backend.assign, self.n_clusters
        centers, before = self.backend.own(np.array(centers, dtype=np.float64)), None
        for _ in range(LLOYD_ITERATIONS):
            assign = kernel.nearest(data.target, self.backend.own(centers, data.target.dtype))
            if before is not None and bool((assign == before).all()):
                break
            sums, totals, _ = kernel.cluster_sums(data.target, assign, data.weight, k)
            kernel.means(sums, totals, centers, 0)
            before = assign
        return centers

    def check_data(self, run, data, path):
        """Refuse a run that was made on other data: its sums would not be those of its assignment."""
        sums, _, _ = self.backend.assign.cluster_sums(data.target, run.state["assign"], data.weight, self.n_clusters)
        scale = float(np.abs(data.target).max())
        if not np.allclose(as_numpy(sums), as_numpy(run.state["sums"]), rtol=1e-4, atol=1e-4 * scale):
            raise ModelFileError(f"{path} was made on other data (or weights) than those to resume with")

    def loss_centers(self, state, dtype):
        """The centres that the loss sees, (k, d)."""
        if self.center:
            return state["centers"].astype(dtype)
        return np.zeros_like(state["centers"], dtype=dtype)

    def step(self, params, state, batch, step):
        """Losses and gradient of a batch, then its assignment and the centres (steps 2a to 2d)."""
        kernel = self.backend.assign
        L, assign, gradient, new = self._evaluate(params, state, batch, not self.assign_first, step)
        loss_sum, weight_sum = kernel.objective(L, assign, batch.weight)
        moved = kernel.move(
            batch.target,
            batch.index,
            new,
            state["assign"],
            batch.weight,
            state["sums"],
            state["totals"],
            state["counts"],
        )
        kernel.means(state["sums"], state["totals"], state["centers"], batch.number if self.running else 0)
        return loss_sum, weight_sum, gradient, moved

    def accumulate(self, params, state, batch, assigned, step):
        """Like `step`, for data that come in parts: sums grow by the batch, no earlier sample moves.

        assigned : bool, whether the state's assignment is this batch's; if not, assignment comes first
        """
        kernel = self.backend.assign
        L, assign, gradient, new = self._evaluate(params, state, batch, assigned and not self.assign_first, step)
        loss_sum, weight_sum = kernel.objective(L, assign, batch.weight)
        state["assign"] = new
        if self.rule is not None:
            if assigned:  # the moments that its first assignment came from were its own
                self.rule.clear(state)
            self.rule.add(state, self._codes(params, state, batch.X), new, batch.weight)
        added = kernel.cluster_sums(batch.target, state["assign"], batch.weight, self.n_clusters)
        for name, part in zip(("sums", "totals", "counts"), added, strict=True):
            state[name] += part
        kernel.means(state["sums"], state["totals"], state["centers"], 0)
        return loss_sum, weight_sum, gradient

    def _evaluate(self, params, state, batch, assigned, step):
        """(L, assignment that the gradient uses, gradient, new assignment) at the same parameters."""
        new = None
        if self.rule is not None:
            new = self.backend.assign.assign(self.rule.costs(state, self._codes(params, state, batch.X)))
        assign = state["assign"][batch.index] if assigned else new
        L, found, gradient = self._losses_and_gradient(params, state, batch, assign, step)
        self._check(L, (len(batch.X), self.n_clusters), "losses")
        if isinstance(gradient, Mapping):
            gradient = self.layout.flatten(gradient, params.dtype, "gradient")
        self._check(gradient, params.shape, "gradient")
        own = self.backend.own
        L = own(L, batch.X.dtype)
        if assign is None:
            assign = own(found, np.int64)
            self._check(assign, (len(batch.X),), "losses_and_gradient's assignment")
            if len(assign) and not 0 <= int(assign.min()) <= int(assign.max()) < self.n_clusters:
                raise ValueError(
                    f"{type(self.model).__name__}.losses_and_gradient assigned samples to clusters {int(assign.min())} "
                    f"to {int(assign.max())}; expected 0 to {self.n_clusters - 1}"
                )
        return L, assign, gradient, self.backend.assign.assign(L) if new is None else new

    def _losses_and_gradient(self, params, state, batch, assign, step):
        """What the model says of a batch; ``assign`` None means argmin_j L. Models that draw need the step."""
        centers = self.loss_centers(state, batch.X.dtype)
        return self.model.losses_and_gradient(
            Parameters(self.layout, params), batch.X, batch.target, centers, assign, batch.weight
        )

    def _check(self, array, shape, what):
        check_shape(self.model, array, shape, what)

    def fused_epoch(self, run, data, settings):
        """The model's own kernel for a whole epoch, where it has one: these assign by loss."""
        if self.rule is not None:
            return None
        options = {
            "center": self.center,
            "assign_first": self.assign_first,
            "running": self.running,
            "rule": self.backend.optimizer.RULES[settings.optimizer],
        }
        return self.model.fused_epoch(run, data, settings, options)

    def losses(self, params, state, X, target):
        """L (n, k) of any samples, in chunks."""
        parameters, centers = Parameters(self.layout, params), self.loss_centers(state, X.dtype)
        L = np.empty_like(X, shape=(len(X), self.n_clusters))
        for first in range(0, len(X), CHUNK):
            rows = slice(first, first + CHUNK)
            part = self.model.losses(parameters, X[rows], target[rows], centers)
            self._check(part, L[rows].shape, "losses")
            L[rows] = part
        return L

    def _codes(self, params, state, X):
        """Codes for the rule; those of the last full pass where they are the same."""
        centers = self.loss_centers(state, X.dtype)
        if self._last_pass is not None:
            data, its_params, its_centers, codes = self._last_pass
            if X is data and bool((params == its_params).all()) and bool((centers == its_centers).all()):
                return codes
        return self.rule.codes(Parameters(self.layout, params), X, centers)

    def costs(self, params, state, X):
        """A (n, k) of any samples, in chunks: what the rule minimises."""
        if len(X) <= CHUNK:
            return self.rule.costs(state, self._codes(params, state, X))
        A = np.empty_like(X, shape=(len(X), self.n_clusters))
        for first in range(0, len(X), CHUNK):
            rows = slice(first, first + CHUNK)
            A[rows] = self.rule.costs(state, self._codes(params, state, X[rows]))
        return A

    def refresh(self, params, state, data):
        """What the rule keeps of a full pass, from scratch."""
        self.rule.clear(state)
        whole = len(data.X) <= CHUNK
        for first in range(0, len(data.X), CHUNK):
            rows = slice(first, first + CHUNK)
            codes = self._codes(params, state, data.X if whole else data.X[rows])
            self.rule.add(state, codes, state["assign"][rows], data.weight[rows])
        if whole:  # a full batch needs the same codes again: for its assignment, at the same parameters
            self._last_pass = data.X, params.copy(), self.loss_centers(state, data.X.dtype), codes

    def final(self, run, data):
        """The last full pass: (labels (n,), mean loss); nothing moves."""
        kernel = self.backend.assign
        L = self.losses(run.params, run.state, data.X, data.target)
        labels = kernel.assign(L if self.rule is None else self.costs(run.params, run.state, data.X))
        loss_sum, weight_sum = kernel.objective(L, labels, data.weight)
        return labels, loss_sum / weight_sum

    def loss(self, run, data):
        """That of a full pass."""
        return self.final(run, data)[1]

    def selection_score(self, run, data):
        """−loss of a full pass, or the mean log-likelihood."""
        if self.rule is None:
            return -self.loss(run, data)
        return float(np.average(self.scores(run, data), weights=as_numpy(data.weight).astype(np.float64)))

    def scores(self, run, data):
        """What `selection_score` is the mean of, (n,) float64 on the host: −min_j L, or the log-density."""
        if self.rule is None:
            return -as_numpy(self.losses(run.params, run.state, data.X, data.target)).min(axis=1).astype(np.float64)
        return self.rule.log_density(self.costs(run.params, run.state, data.X))

    def end_of_epoch(self, run, data, fused):
        """Sums from scratch, and clusters without weight re-seeded (step 3); returns how many."""
        kernel, state = self.backend.assign, run.state
        if not fused:  # the fused kernel has done it
            sums, totals, counts = kernel.cluster_sums(data.target, state["assign"], data.weight, self.n_clusters)
            for name, fresh in (("sums", sums), ("totals", totals), ("counts", counts)):
                state[name][...] = fresh
            if not self.running:
                kernel.means(state["sums"], state["totals"], state["centers"], 0)
        filled = 0
        if not state["counts"].all() and run.n_reseeded < RESEEDINGS * self.n_clusters and self.reseeds(run):
            filled = self.reseed(run, data)
        if self.rule is not None:
            self.refresh(run.params, state, data)
        return filled

    def reseeds(self, run):
        """Whether a cluster that is re-seeded with one sample could keep it."""
        return True

    def reseed(self, run, data):
        """Give each empty cluster the sample that its own cluster fits worst, and that cluster's parameters.

        Distinct samples, never a donor's only one. Returns the number of clusters re-seeded.
        """
        kernel, state = self.backend.assign, run.state
        L = self.losses(run.params, state, data.X, data.target)
        own = np.take_along_axis(as_numpy(L), as_numpy(state["assign"])[:, None], axis=1)[:, 0]
        candidates = iter(np.argsort(-own, kind="stable").tolist())
        filled = 0
        for j in np.flatnonzero(as_numpy(state["counts"]) == 0):
            i = next(
                (i for i in candidates if data.weight[i] > 0 and state["counts"][state["assign"][i]] > 1),
                None,
            )
            if i is None:  # fewer samples with weight than clusters
                break
            donor = int(state["assign"][i])
            kernel.move(
                data.target[i : i + 1],
                self.backend.own(np.array([i], np.int64)),
                self.backend.own(np.array([j], np.int64)),
                state["assign"],
                data.weight[i : i + 1],
                state["sums"],
                state["totals"],
                state["counts"],
            )
            state["centers"][j] = data.target[i]
            self._copy_parameters(run, donor, int(j))
            filled += 1
        if not self.running:
            kernel.means(state["sums"], state["totals"], state["centers"], 0)
        run.n_reseeded += filled
        return filled

    def _copy_parameters(self, run, donor, j):
        k, philox = self.n_clusters, self.backend.philox
        pairs = zip(self.layout.cluster(run.params, donor, k), self.layout.cluster(run.params, j, k), strict=True)
        for number, (theirs, ours) in enumerate(pairs):
            label = stream(Use.RESEED_NOISE, number, run.restart)
            noise = philox.normal(self.key, label, run.step, j, np.zeros(1, np.int64), theirs.size, np.float64)
            size = RESEED_NOISE * np.sqrt(np.mean(np.square(theirs, dtype=np.float64))) if theirs.size else 0.0
            ours[...] = theirs + size * noise.reshape(theirs.shape)
        for moment in run.moments:
            for view in self.layout.cluster(moment, j, k):
                view[...] = 0


def check_shape(model, array, shape, what):
    """Raise ValueError unless what a model's method returned has the shape that kernels will take it to have."""
    if np.shape(array) != shape:
        raise ValueError(f"{type(model).__name__}.{what} returned shape {np.shape(array)}; expected {shape}")


def as_batch(X, target, weight, shift, backend=None):
    """The `Batch` of all samples of a data set, less the shift, on the backend (None: the host); target may be X."""
    own = np.ascontiguousarray if backend is None else backend.own
    shift = own(shift.astype(X.dtype))
    moved = _less(own(X), shift)
    index = own(np.arange(len(X), dtype=np.int64))
    return Batch(moved, moved if target is X else _less(own(target), shift), index, own(weight))


def _less(array, shift):
    """``array − shift``; on the host aligned."""
    if is_device_array(array):
        return array - shift
    return np.subtract(array, shift, out=aligned_empty(array.shape, array.dtype))
