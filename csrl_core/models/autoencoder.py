"""The autoencoder of every cluster as a `ClusterModel`; the mathematics is in `csrl_core.reference.autoencoder`."""

from dataclasses import dataclass

import numpy as np

from csrl_core.backends import as_numpy
from csrl_core.models.base import ClusterModel
from csrl_core.models.components import Deviations, component_layers, component_weights, principal_axes
from csrl_core.reference.assign import Clusters, JointOptions
from csrl_core.reference.dense import layer_table
from csrl_core.training import sweeps
from csrl_core.training.likelihood import orthonormal_decoder
from csrl_core.training.on_disk import is_on_disk, on_host
from csrl_core.training.run import Batch, Run, Settings

HOMOGENEOUS = {"linear", "relu", "leaky_relu"}  # activations for which f(c x) = c f(x) for every c > 0
NOISE = 0.1  # share of random parameters that start="auto" adds to principal components


class AutoencoderModel(ClusterModel):
    """The autoencoder as a `ClusterModel`; the backend's kernels do all arithmetic."""

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
        self.kernel, self.assign, self.own, self.reg = backend.autoencoder, backend.assign, backend.own, float(reg)
        self.n_features, self.hidden, self.shared, self.start = n_features, hidden, shared, start
        self.follows_clusters = start != "uniform"
        self.homogeneous = not bias and {activation, output_activation} <= HOMOGENEOUS
        self.table, self.size = layer_table(
            layer_rows(n_features, n_clusters, hidden, shared, activation, output_activation, bias)
        )
        self.n_clusters, self.orthonormal_codes = n_clusters, output_activation == "linear"
        # A linear network for the likelihood: from a sample to its coordinates in an orthonormal basis, and back.
        width = min(hidden) if self.orthonormal_codes else hidden[-1]
        self.code_width = width
        self.code_table, _ = layer_table(
            [(n_features, width, n_clusters, "linear", False), (width, n_features, n_clusters, "linear", False)]
        )

    def init_parameters(self, X, n_clusters, draw):
        """U(±1/√fan_in) for weights and biases, layer by layer."""
        named, shapes = {}, parameter_shapes(self.table)
        for name, shape in shapes.items():
            bound = 1 / np.sqrt(shapes[name.replace("bias", "weight")][1])
            named[name] = draw.uniform(shape, -bound, bound)
        return named

    def init_from_clusters(self, data, assign, centers, draw):
        """Initial parameters as ``start`` specifies: random, or principal components of the target in each cluster.

        "auto" adds a tenth of random parameters to the components. At the components themselves some entries of the
        gradient are only rounding errors, which Adam would scale up to whole steps.
        """
        if self.start == "uniform":
            return self.init_parameters(data.X, self.n_clusters, draw)
        host = (on_host(array) for array in (data.target, data.weight, assign, centers))
        layers = component_layers(*host, self.hidden, self.shared)
        halves = zip(("encoder", "decoder"), component_weights(layers, self.reg, self.n_features), strict=True)
        named = {f"{half}.{number}.weight": W for half, weights in halves for number, W in enumerate(weights)}
        if self.start == "components" or draw is None:
            return named
        noise = self.init_parameters(data.X, self.n_clusters, draw)
        return {name: W + NOISE * noise[name] for name, W in named.items()}

    def losses(self, params, X, target, centers, draw):
        """L (n, k)."""
        return self.kernel.losses(params.flat, self.table, X, target, centers, self.reg)

    def losses_and_gradient(self, params, X, target, centers, assign, weights, draw, every=True):
        """(L, assign, gradient (p,)) from one forward pass."""
        return self.kernel.losses_and_gradient(params.flat, self.table, X, target, centers, assign, weights, self.reg)

    def gradient(self, params, X, target, centers, assign, weights, draw):
        """Gradient of Σ w L[i, s_i], a dict of named arrays."""
        return params.layout.views(self.losses_and_gradient(params, X, target, centers, assign, weights, draw)[2])

    def embed(self, params, X, centers, draw):
        """Z (n, k, h)."""
        return self.kernel.encode(params.flat, self.table, X, centers)

    def decode(self, params, Z, assign, centers, draw):
        """Decoded samples in the space of ``centers``, (n, d)."""
        return self.kernel.decode(params.flat, self.table, Z, assign, centers)

    def batch_bytes(self, rows, n_features, n_clusters, itemsize):
        """Memory of the device's kernels for a batch, and of four vectors of parameters."""
        return 4 * itemsize * self.size + self.kernel.workspace_bytes(
            self.table, rows, n_features, n_clusters, itemsize
        )

    def codes(self, params, X, centers, draw):
        """Codes (n, k, h) and squared residuals (n, k), for `csrl_core.training.likelihood`.

        A linear decoder spans a subspace. Then codes are the coordinates of the projection on it, which is the best
        code, not the encoder's. Otherwise they are the encoder's codes, with the error of the reconstruction.
        """
        d = X.shape[1]
        if not self.orthonormal_codes:
            Z = self.embed(params, X, centers, draw)
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
        """A call of the kernel for a whole epoch on the run's arrays; None for networks that it would not speed up."""
        (n, d), k = data.X.shape, len(run.state["centers"])
        batch_size = n if settings.batch_size is None else min(settings.batch_size, n)
        if not self.kernel.fused_epoch_applies(self.table, n, d, k, batch_size):
            return None
        clusters = Clusters(*(run.state[name] for name in Clusters._fields))
        if is_on_disk(data.X, data.target):
            return OnDiskEpoch(self, run, data, settings, options)
        arguments = run.params, self.table, data.X, data.target, data.weight, self.reg

        def epoch(order, batch_size):
            optimizer = settings.optimizer_state(run)
            return self.kernel.fused_epoch(*arguments, order, batch_size, clusters, options, optimizer)

        return epoch


@dataclass(frozen=True)
class OnDiskEpoch:
    """The kernel for a whole epoch, called for one batch after the other, as they are read: the result is the same.

    The kernel ends by computing sums over all the samples that it was given. So it gets copies of the clusters' arrays,
    and assignment and centres of each batch, and the sums over all samples, are computed here.
    """

    model: AutoencoderModel
    run: Run
    data: Batch
    settings: Settings
    options: JointOptions

    def __call__(self, order, batch_size):
        """(loss_sum, weight_sum, moved) of the epoch. order : (n,) int64"""
        run, model, kernel = self.run, self.model, self.model.assign
        state, loss_sum, weight_sum, moved = run.state, 0.0, 0.0, 0
        for number, first in enumerate(range(0, len(order), batch_size)):
            batch = self.data.take(order[first : first + batch_size], number)
            copies = {name: state[name].copy() for name in Clusters._fields if name != "assign"}
            clusters = Clusters(assign=state["assign"][batch.index], **copies)
            optimizer = self.settings.optimizer_state(run)._replace(step=run.step + number)
            loss, weight, _ = model.kernel.fused_epoch(
                *(run.params, model.table, batch.X, batch.target, batch.weight, model.reg),
                *(np.arange(len(batch.X)), len(batch.X), clusters, self.options, optimizer),
            )
            loss_sum, weight_sum = loss_sum + loss, weight_sum + weight
            moved += sweeps.move(kernel, batch, clusters.assign, state)
            kernel.means(state["sums"], state["totals"], state["centers"], number if self.options.running else 0)
        arguments = self.data.target, state["assign"], self.data.weight, len(state["centers"])
        for name, sums in zip(("sums", "totals", "counts"), sweeps.cluster_sums(kernel, *arguments), strict=True):
            state[name][...] = sums
        if not self.options.running:
            kernel.means(state["sums"], state["totals"], state["centers"], 0)
        return loss_sum, weight_sum, moved


class ExactAutoencoderModel(AutoencoderModel):
    """The linear autoencoder without penalty, whose best layers for an assignment are principal components.

    centered : bool, whether centres are subtracted; other arguments as for `AutoencoderModel`
    """

    def __init__(self, *arguments, centered):
        super().__init__(*arguments)
        self.fewest = 2 if centered else 1  # samples that define an axis

    def minimise(self, params, data, assign, centers):
        """Write every cluster's principal axes into its layers; a cluster with too few samples keeps its parameters."""
        X, weight, assign, centers = (on_host(array) for array in (data.X, data.weight, assign, centers))
        depth = len(self.hidden)
        widths = [params[f"encoder.{number}.weight"].shape[1:] for number in range(depth)]
        h = min(fan_out for _, fan_out in widths)
        for j in range(self.n_clusters):
            members = np.flatnonzero((assign == j) & (weight > 0))
            if len(members) < self.fewest:
                continue
            axes = principal_axes(Deviations(X, centers, assign, members), weight, h)
            for number, shape in enumerate(widths):
                identity = axes if number == 0 else np.eye(h)
                encoder = np.zeros(shape)
                encoder[: len(identity), :h] = identity
                encoder = self.own(encoder)
                params[f"encoder.{number}.weight"][j] = encoder
                params[f"decoder.{depth - 1 - number}.weight"][j] = encoder.T


def layer_rows(n_features, n_clusters, hidden, shared, activation, output_activation, bias):
    """Rows for `layer_table`: encoder d → h1 → … → hm and its mirror image.

    The activation follows every encoder layer, the last included. Decoder layers are linear, but for the output's own
    activation. The first ``shared`` encoder layers and the last ``shared`` decoder layers have one copy.
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
