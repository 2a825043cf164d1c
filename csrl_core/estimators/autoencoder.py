"""Tensorized autoencoders (TAE, PTAE) and, with one cluster, the standard autoencoder.

Sources: arXiv 2212.01046 and arXiv 2412.03471. The mathematics is in `csrl_core.reference.autoencoder`.
"""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from csrl_core.backends import as_numpy
from csrl_core.estimators.base import BaseClusterSpecific
from csrl_core.models.components import component_layers, component_weights
from csrl_core.reference.dense import ACTIVATIONS, layer_table
from csrl_core.training.exact import ExactAssignment
from csrl_core.training.joint import ClusterModel
from csrl_core.training.likelihood import orthonormal_decoder

NOISE = 0.1  # what start="auto" adds to principal components, of parameters drawn at random


class AutoencoderModel(ClusterModel):
    """The autoencoder as a `ClusterModel`; all arithmetic is the backend's."""

    translation_invariant = True

    def __init__(
        self,
        backend,
        n_features,
        n_clusters,
        hidden,
        shared,
        activation,
        output_activation,
        bias,
        reg,
        start="uniform",
    ):
        self.kernel, self.own, self.reg = backend.autoencoder, backend.own, float(reg)
        self.n_features, self.hidden, self.shared, self.start = n_features, hidden, shared, start
        self.follows_clusters = start != "uniform"
        self.table, self.size = layer_table(
            layer_rows(n_features, n_clusters, hidden, shared, activation, output_activation, bias)
        )
        self.n_clusters, self.orthonormal_codes = n_clusters, output_activation == "linear"
        # The likelihood's own network: a sample to its coordinates in an orthonormal basis, and back.
        width = min(hidden) if self.orthonormal_codes else hidden[-1]
        self.code_width = width
        self.code_table, _ = layer_table(
            [(n_features, width, n_clusters, "linear", False), (width, n_features, n_clusters, "linear", False)]
        )

    def init_parameters(self, X, n_clusters, random):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        named, shapes = {}, parameter_shapes(self.table)
        for name, shape in shapes.items():
            bound = 1 / np.sqrt(shapes[name.replace("bias", "weight")][1])
            named[name] = random.uniform(shape, -bound, bound)
        return named

    def init_from_clusters(self, data, assign, centers, random):
        """The same, or the target's principal components within the first clusters; "auto" adds a tenth of the same.

        At principal components themselves gradients are nothing but rounding, which Adam would make whole steps of.
        """
        if self.start == "uniform":
            return self.init_parameters(data.X, self.n_clusters, random)
        host = (as_numpy(array) for array in (data.target, data.weight, assign, centers))
        layers = component_layers(*host, self.hidden, self.shared)
        halves = zip(("encoder", "decoder"), component_weights(layers, self.reg, self.n_features), strict=True)
        named = {f"{half}.{number}.weight": W for half, weights in halves for number, W in enumerate(weights)}
        if self.start == "components" or random is None:
            return named
        noise = self.init_parameters(data.X, self.n_clusters, random)
        return {name: W + NOISE * noise[name] for name, W in named.items()}

    def losses(self, params, X, target, centers):
        """L (n, k)."""
        return self.kernel.losses(params.flat, self.table, X, target, centers, self.reg)

    def losses_and_gradient(self, params, X, target, centers, assign, weights):
        """(L, assign, gradient (p,)), one forward pass for both."""
        return self.kernel.losses_and_gradient(params.flat, self.table, X, target, centers, assign, weights, self.reg)

    def gradient(self, params, X, target, centers, assign, weights):
        """Gradient of Σ w L[i, s_i], named."""
        return params.layout.views(self.losses_and_gradient(params, X, target, centers, assign, weights)[2])

    def embed(self, params, X, centers):
        """Z (n, k, h)."""
        return self.kernel.encode(params.flat, self.table, X, centers)

    def decode(self, params, Z, assign, centers):
        """Decoded samples in the space of ``centers``, (n, d)."""
        return self.kernel.decode(params.flat, self.table, Z, assign, centers)

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """What the kernels of a device take for a batch, and four vectors like the parameters."""
        return 4 * itemsize * self.size + self.kernel.workspace_bytes(
            self.table, rows, n_features, n_clusters, itemsize
        )

    def codes(self, params, X, centers):
        """Codes (n, k, h) and squared residuals (n, k), for `csrl_core.training.likelihood`.

        A linear decoder spans a subspace: coordinates in it, which are the optimal code and not the encoder's.
        Otherwise the encoder's code and the reconstruction's error.
        """
        d = X.shape[1]
        if not self.orthonormal_codes:
            Z = self.embed(params, X, centers)
            return Z, d * self.kernel.losses(params.flat, self.table, X, X, centers, 0.0)
        host = {name: as_numpy(array) for name, array in params.items() if name.startswith("decoder")}
        names = [f"decoder.{number}" for number in range(len(self.table) // 2)]
        basis, offset = orthonormal_decoder(
            [host[f"{name}.weight"] for name in names],
            [host.get(f"{name}.bias") for name in names],
            self.n_clusters,
        )
        flat = self.own(np.concatenate([basis.transpose(0, 2, 1).ravel(), basis.ravel()]).astype(X.dtype))
        centers = self.own((as_numpy(centers) + offset).astype(X.dtype))
        Z = self.kernel.encode(flat, self.code_table, X, centers)
        return Z, d * self.kernel.losses(flat, self.code_table, X, X, centers, 0.0)

    def fused_epoch(self, run, data, settings, options):
        """The kernel for a whole epoch of a small network, bound to the run's arrays; None where it does not pay."""
        (n, d), k = data.X.shape, len(run.state["centers"])
        batch_size = n if settings.batch_size is None else min(settings.batch_size, n)
        if not self.kernel.fused_epoch_applies(self.table, n, d, k, batch_size):
            return None
        kernel, table, reg, state = self.kernel.fused_epoch, self.table, self.reg, run.state
        params, moments, hyper = run.params, run.moments, settings.hyper()
        X, target, weight = data.X, data.target, data.weight
        assign, centers, sums, totals, counts = (
            state[name] for name in ("assign", "centers", "sums", "totals", "counts")
        )
        center, assign_first, running = options["center"], options["assign_first"], options["running"]
        rule = options["rule"]
        clip_norm = float(settings.clip_norm or 0.0)

        def epoch(order, batch_size):
            return kernel(
                params,
                table,
                X,
                target,
                weight,
                reg,
                order,
                batch_size,
                assign,
                centers,
                sums,
                totals,
                counts,
                center,
                assign_first,
                running,
                moments,
                rule,
                run.step,
                hyper,
                clip_norm,
            )

        return epoch


def layer_rows(n_features, n_clusters, hidden, shared, activation, output_activation, bias):
    """Rows for `layer_table`: encoder d → h1 → … → hm and its mirror image.

    The activation follows every encoder layer, the last included, and no decoder layer but the
    output's own; the first ``shared`` encoder layers and the last ``shared`` decoder layers have one copy.
    """
    widths = [n_features, *hidden]
    m = len(hidden)
    copies = [1 if l < shared else n_clusters for l in range(m)]
    encoder = [(widths[l], widths[l + 1], copies[l], activation, bias) for l in range(m)]
    decoder = [
        (widths[l + 1], widths[l], copies[l], output_activation if l == 0 else "linear", bias)
        for l in reversed(range(m))
    ]
    return encoder + decoder


def parameter_shapes(table):
    """Name → shape of the parameters of a table of layers, in order: weights (copies, fan_in, fan_out) and biases."""
    shapes, half = {}, len(table) // 2
    for number, (fan_in, fan_out, copies, _, bias, _) in enumerate(table.tolist()):
        name = f"encoder.{number}" if number < half else f"decoder.{number - half}"
        shapes[f"{name}.weight"] = copies, fan_in, fan_out
        if bias >= 0:
            shapes[f"{name}.bias"] = copies, fan_out
    return shapes


class TensorizedAutoencoder(BaseClusterSpecific):
    """One autoencoder per cluster, learnt together with the clusters.

    With x̃ = x − c_j, z = f_j(x̃) and x̂ = g_j(z), minimises over parameters and assignments s the
    weighted mean of L[i, s_i] with L[i, j] = (1/d) ‖g_j(f_j(x̃)) − t̃‖² + λ ‖z‖².

    Parameters
    ----------
    n_clusters : int, default=2
        k. With 1 and ``center=False`` this is the standard autoencoder.
    hidden : tuple of int, default=(2, 1)
        Widths of the encoder's layers; the last is the embedding's. The decoder mirrors them.
    shared : int, default=0
        How many outer layer pairs all clusters share: 0 is the TAE, ``len(hidden) - 1`` the PTAE.
    activation : {"linear", "relu", "leaky_relu", "tanh", "sigmoid"}, default="linear"
        Follows every encoder layer and no decoder layer. The leaky slope is 0.2.
    output_activation : same names, default="linear"
    bias : bool, default=False
    reg : float, default=0.1
        λ, the k-means penalty on the embedding.
    epochs : int, default=150
    batch_size : int or None, default=None
        None is full batch.
    learning_rate : float, default=0.01
    optimizer : {"adam", "sgd"}, default="adam"
    center : bool, default=True
        Whether each cluster's centre is subtracted from input and target.
    update : {"step-then-assign", "assign-then-step"}, default="step-then-assign"
        Whether the gradient uses the assignments as they stand, or new ones.
    center_update : {"mean", "running"}, default="mean"
    assignment : {"auto", "loss", "likelihood"}, default="auto"
        Samples go to the cluster of the lowest loss, the papers' rule, or of the highest likelihood: every cluster is
        then a Gaussian about its subspace, with noise variance, spread and proportion of its own. The
        latent width must be below the number of features. With an output activation it is a heuristic. "auto" is
        "likelihood" wherever that is a density, with several clusters, a linear output and a width below the number
        of features, and else "loss".
    solver : {"gradient", "exact"}, default="gradient"
        "exact" alternates principal components of every cluster and assignment, until nothing changes: the
        optimum that the gradient must reach. Only for linear models without biases, ``reg=0`` and
        ``shared=0``; ``learning_rate``, ``optimizer``, ``update``, ``clip_norm`` and ``tol`` play no part.
    start : {"auto", "uniform", "components"}, default="auto"
        The first parameters. "uniform": at random, U(±1/√fan_in). "components": principal components of the target
        within the first clusters, so scaled that at ``reg > 0`` L[i, j] = ‖x_i − c_j‖²/d: training starts at the loss
        of k-means. Nothing of it is random, so that restarts differ through ``init`` alone. Only for linear models
        without biases, whose encoder nowhere widens, by the gradient solver. "auto" is near the components for these,
        a tenth of "uniform" added, and "uniform" for all others.
    tol : float, default=0
        0 runs all epochs; otherwise training stops when for ``n_iter_no_change`` epochs no
        assignment changed and the best loss improved by no more than tol·max(1, |best|).
    n_iter_no_change : int, default=10
    n_init : int, default=1
        Restarts; the one with the lowest final loss, or the highest mean log-likelihood, is kept.
    init : {"auto", "k-means++", "k-means", "random"}, labels (n,) or centres (k, d), default="auto"
        The first assignment. "auto" tries both where k-means ends and seeds of k-means++, five of each (one, if X has
        more than 2²⁰ values), by five rounds of principal components and assignment, and goes on from the best by
        likelihood or loss. Without principal components (see ``start``) it is "k-means".
    clip_norm : float or None, default=None
        Global norm to which the mean gradient is clipped.
    backend : {"auto", "numpy", "numba", "cupy", "emulated"}, default="auto"
        "auto" takes numba.
    n_jobs : int or None, default=None
        Threads; None takes all usable cores. Results do not depend on it.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0
        1 prints a line every two seconds, 2 one an epoch.

    Attributes
    ----------
    labels_ : (n,) int64, equal to ``predict(X)``, but where ``target`` was given and assignment is by loss: they are
        the clusters that lose least of the target, which `predict` has not
    cluster_centers_ : (k, d), means of the target over the clusters
    params_ : (p,), all trained parameters, in the order of `named_parameters`
    loss_ : float, the final objective; loss_curve_ : list, its mean over each epoch's batches, before their steps
    n_iter_, n_steps_ : epochs and optimizer steps done
    n_reseeded_ : int, empty clusters that were re-seeded
    backend_ : str, what was used
    state_ : dict of arrays that no gradient trains

    Examples
    --------
    >>> from csrl_core import TensorizedAutoencoder, datasets
    >>> X, y = datasets.make_lines_3d(random_state=0)
    >>> model = TensorizedAutoencoder(n_clusters=3, random_state=0).fit(X)
    >>> model.transform(X).shape
    (300, 1)

    Before any step, a start at principal components has each sample with the nearest centre:

    >>> start = TensorizedAutoencoder(n_clusters=3, start="components", init="k-means", epochs=0, random_state=0).fit(X)
    >>> nearest = ((X[:, None] - start.cluster_centers_) ** 2).sum(axis=2).argmin(axis=1)
    >>> bool((start.labels_ == nearest).all())
    True
    """

    _parameter_constraints = {
        **BaseClusterSpecific._parameter_constraints,
        "hidden": ["array-like"],
        "shared": [Interval(Integral, 0, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions(set(ACTIVATIONS))],
        "bias": ["boolean"],
        "reg": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"gradient", "exact"})],
        "start": [StrOptions({"auto", "uniform", "components"})],
        "assignment": [StrOptions({"auto", "loss", "likelihood"})],
        "init": [StrOptions({"auto", "k-means++", "k-means", "random"}), "array-like"],
    }

    def __init__(
        self,
        *,
        n_clusters=2,
        hidden=(2, 1),
        shared=0,
        activation="linear",
        output_activation="linear",
        bias=False,
        reg=0.1,
        epochs=150,
        batch_size=None,
        learning_rate=0.01,
        optimizer="adam",
        center=True,
        update="step-then-assign",
        center_update="mean",
        assignment="auto",
        solver="gradient",
        start="auto",
        tol=0.0,
        n_iter_no_change=10,
        n_init=1,
        init="auto",
        clip_norm=None,
        backend="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.hidden = hidden
        self.shared = shared
        self.activation = activation
        self.output_activation = output_activation
        self.bias = bias
        self.reg = reg
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.center = center
        self.update = update
        self.center_update = center_update
        self.assignment = assignment
        self.solver = solver
        self.start = start
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.n_init = n_init
        self.init = init
        self.clip_norm = clip_norm
        self.backend = backend
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _validate_params(self):
        super()._validate_params()
        hidden = tuple(self.hidden)
        if not hidden or not all(isinstance(width, Integral) and width >= 1 for width in hidden):
            raise ValueError(f"hidden={self.hidden!r}; expected at least one width, each an int of at least 1")
        if self.shared > len(hidden):
            raise ValueError(
                f"shared={self.shared} layer pairs, but hidden={self.hidden!r} has only {len(hidden)}; "
                f"expected 0 (TAE) to {len(hidden)}"
            )
        if self.start == "components" and (why := self._why_no_components(hidden)):
            raise ValueError(f"start='components' needs {why}")
        if self.solver == "exact":
            self._check_exact()

    def _why_no_components(self, hidden, d=None):
        """What keeps the gradient from starting at principal components, or None; d : features, where they are known.

        They are a start for what is linear, and for layers with orthonormal columns.
        """
        wanted = {
            "solver": (self.solver, "gradient", "the exact solver finds its own components, whatever the start"),
            "activation": (self.activation, "linear", "principal components are linear"),
            "output_activation": (self.output_activation, "linear", "principal components are linear"),
            "bias": (self.bias, False, "the centres are the biases"),
        }
        for name, (value, expected, why) in wanted.items():
            if value != expected:
                return f"{name}={expected!r}, got {name}={value!r}: {why}"
        if list(hidden) != sorted(hidden, reverse=True):
            return (
                f"encoder widths that nowhere rise, got hidden={self.hidden!r}: "
                f"a layer has no more orthonormal columns than rows"
            )
        if d is None:
            return None
        if hidden[0] > d:
            return (
                f"encoder widths of at most n_features={d}, got hidden={self.hidden!r}: "
                f"a layer has no more orthonormal columns than rows"
            )
        if not self.center and self.n_clusters > 1 and self.reg > 0 and not self._by_likelihood:
            return (
                f"center=True, got center=False with n_clusters={self.n_clusters}, reg={self.reg!r} and "
                f"assignment={self.assignment!r} by loss: every cluster would start with the same losses, ‖x‖²/d"
            )
        return None

    def _check_exact(self):
        """The exact solver is for what has an exact answer."""
        wanted = {
            "reg": (
                self.reg,
                0,
                "with a penalty a linear model has no minimiser: the encoder shrinks, the decoder grows",
            ),
            "activation": (self.activation, "linear", "principal components are linear"),
            "output_activation": (self.output_activation, "linear", "principal components are linear"),
            "bias": (self.bias, False, "the centres are the biases"),
            "batch_size": (self.batch_size, None, "every step takes all samples"),
            "center_update": (self.center_update, "mean", "centres are exact means"),
        }
        for name, (value, expected, why) in wanted.items():
            if value != expected:
                raise ValueError(f"solver='exact' needs {name}={expected!r}, got {name}={value!r}: {why}")
        if self.shared > 0 and self.n_clusters > 1:
            raise ValueError(
                f"solver='exact' needs shared=0 or n_clusters=1, got shared={self.shared} and "
                f"n_clusters={self.n_clusters}: layers that clusters share are no principal components"
            )

    @property
    def _by_likelihood(self):
        if self.assignment != "auto":
            return self.assignment == "likelihood"
        d = vars(self).get("n_features_in_", np.inf)
        return self.n_clusters > 1 and self.output_activation == "linear" and min(self.hidden) < d

    def partial_fit(self, X, y=None, *, target=None, sample_weight=None):
        """One optimizer step on a batch, see `BaseClusterSpecific.partial_fit`; the exact solver has none."""
        if self.solver == "exact":
            raise ValueError("partial_fit needs solver='gradient', got 'exact', which takes all samples at once")
        return super().partial_fit(X, y, target=target, sample_weight=sample_weight)

    _DESCRIBING = ("n_clusters", "hidden", "shared", "activation", "output_activation", "bias", "assignment")

    def _parameter_shapes(self):
        layers = self.n_features_in_, self.n_clusters, tuple(map(int, self.hidden)), self.shared
        table, _ = layer_table(layer_rows(*layers, self.activation, self.output_activation, self.bias))
        return parameter_shapes(table)

    def _code_width(self):
        return int(min(self.hidden) if self.output_activation == "linear" else self.hidden[-1])

    def _objective_class(self):
        return ExactAssignment if self.solver == "exact" else super()._objective_class()

    def _model(self, backend):
        hidden = tuple(int(width) for width in self.hidden)
        why = None if self.start == "uniform" else self._why_no_components(hidden, self.n_features_in_)
        if why and self.start == "components":
            raise ValueError(f"start='components' needs {why}")
        return AutoencoderModel(
            backend,
            self.n_features_in_,
            self.n_clusters,
            hidden,
            self.shared,
            self.activation,
            self.output_activation,
            self.bias,
            self.reg,
            "uniform" if why else self.start,
        )
