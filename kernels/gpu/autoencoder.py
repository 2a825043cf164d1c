"""CUDA twin of ``reference.autoencoder``: every cluster j has its own encoder f_j and decoder g_j.

The first layer of all clusters is one product X [W_1 … W_k], from which c_j W_j is taken off; the
other layers are one batched product each. What goes back is grouped by cluster: padded to the largest, so that all
clusters' shares are one batched product, where that pays, else one product each.

Everywhere: n samples, d features, k clusters, p parameters, h latent dimensions;
params (p,), X and target (n, d), centers (k, d), weights (n,), all of one float dtype;
layers (n_layers, 6) int64, on the host; assign (n,) int64; reg = λ, a Python float.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from . import assign as assignment
from . import dense
from ._platform.launch import array, blocks_for, launch, xp
from .optimizer import mean_scale, update

WORKSPACE = 1 << 26  # bytes that a layer's outputs of all clusters may take; more rows go through in parts
LAUNCH_FLOPS = 5e8  # about what a device does in the time of one launch


def losses(params, layers, X, target, centers, reg):
    """L[i, j] = (1/d) ‖g_j(f_j(x_i − c_j)) − (t_i − c_j)‖² + λ ‖f_j(x_i − c_j)‖².

    returns L (n, k), one loss per sample and cluster
    Cost: 2 n Σ_layers k fan_in fan_out flops; memory n k and ``WORKSPACE``, never n k d
    """
    params, X, target, centers = _arrays(params, X, target, centers)
    n, d = X.shape
    k, half = len(centers), len(layers) // 2
    L = xp.empty((n, k), X.dtype)
    for rows in _parts(n, k, layers, X.itemsize):
        # 1. centre
        # 2. encode and decode
        outputs = _forward_all(params, layers, X[rows], centers)
        z, m = outputs[half - 1], rows.stop - rows.start
        # 3. loss
        group = assignment.lanes_for(d)
        launch(
            *("autoencoder", "losses", X.dtype, blocks_for(m * k * group)),
            *(outputs[-1], z, target[rows], centers, L[rows], m, k, d, z.shape[2], reg, group),
        )
    return L


def losses_and_gradient(params, layers, X, target, centers, assign, weights, reg):
    """All losses, and the gradient of the assigned column.

    F = Σ_i w_i L[i, s_i], with s = argmin_j L where ``assign`` is None. Centres are constants.

        ∂F/∂x̂ = w (2/d) (x̂ − t̃);   back through the decoder;   ∂F/∂z gains w 2λ z;   back through the encoder

    A shared layer gathers the gradients of every cluster's samples in its one copy.

    assign : (n,) int64 or None; weights : (n,)
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: that of ``losses``, and 6 n Σ_layers fan_in fan_out flops for the one column that goes forward
    once more, its samples side by side, and back; memory n Σ widths
    """
    params, X, target, centers = _arrays(params, X, target, centers)
    weights = array("weights", weights)
    (k, d), half, last = centers.shape, len(layers) // 2, len(layers) - 1
    # 1. losses of every cluster
    L = losses(params, layers, X, target, centers, reg)
    # 2. assignment
    assign = assignment.assign(L) if assign is None else array("assign", assign, np.int64)
    gradient = xp.zeros(len(params), X.dtype)
    # 3. forward, the cluster's own samples
    own = _grouped(assign, k, layers, X.itemsize)
    order, rows = own.order, len(own.order)
    outputs = [xp.empty((rows, d), X.dtype)]
    launch(
        *("autoencoder", "gather_centered", X.dtype, blocks_for(rows * d)),
        *(X, centers, order, assign, outputs[0], rows, d),
    )
    for layer in layers:
        outputs.append(_forward_own(params, layer, outputs[-1], own))
    # 4. gradient at the output
    sorted_weights, G = xp.empty(rows, X.dtype), xp.empty((rows, d), X.dtype)
    launch(
        *("autoencoder", "output_gradient", X.dtype, blocks_for(rows * d)),
        *(outputs[-1], target, centers, order, assign, weights, 2 / d, G, sorted_weights, rows, d),
    )
    # 5. back through the layers
    for l in range(last, -1, -1):
        penalty = 2 * reg if l == half - 1 else 0.0
        activation = int(layers[l, dense.ACTIVATION])
        if penalty or activation != dense.LINEAR:
            dense.through_activation(G, outputs[l + 1], activation, G, penalty, sorted_weights)
        G = _backward_own(params, gradient, layers[l], outputs[l], G, own, l > 0)
    return L, assign, gradient


def encode(params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster.

    returns (n, k, h)
    """
    params, X, centers = array("params", params), array("X", X), array("centers", centers)
    encoder = layers[: len(layers) // 2]
    Z = xp.empty((len(X), len(centers), int(encoder[-1, dense.FAN_OUT])), X.dtype)
    for rows in _parts(len(X), len(centers), encoder, X.itemsize):
        # 1. centre and encode
        Z[rows] = _forward_all(params, encoder, X[rows], centers)[-1].transpose(1, 0, 2)
    return Z


def decode(params, layers, Z, assign, centers):
    """x = g_s(z) + c_s, the decoder of each sample's own cluster, in input space.

    Z : (n, h) float; assign : (n,) int64; returns (n, d)
    """
    params, Z, centers = array("params", params), array("Z", Z), array("centers", centers)
    assign = array("assign", assign, np.int64)
    (n, _), (k, d) = Z.shape, centers.shape
    own = Own(*by_cluster(assign, k))
    order, Y = own.order, Z[own.order]
    for layer in layers[len(layers) // 2 :]:
        Y = _forward_own(params, layer, Y, own)
    X = xp.empty((n, d), Z.dtype)
    # 1. decode and un-centre
    launch("autoencoder", "scatter_uncentered", Z.dtype, blocks_for(n * d), Y, centers, order, assign, X, n, d)
    return X


def fused_epoch(params, layers, X, target, weights, reg, order, batch_size, clusters, options, optimizer):
    """One epoch of the joint algorithm, everything updated in place; see ``reference.autoencoder``.

    The composition of the kernels of this backend: a launch takes microseconds whatever it does, and the
    products in between are the array library's.

    order : (n,) int64; clusters : ``assign.Clusters``; options : ``assign.JointOptions``
    optimizer : ``optimizer.OptimizerState``; all arrays on the device
    returns (loss_sum, weight_sum, moved)
    """
    X, target, weights, order = (
        array(name, value) for name, value in [("X", X), ("target", target), ("weights", weights), ("order", order)]
    )
    assign, centers, sums, totals, counts = clusters
    loss_sum = weight_sum = 0.0
    moved = 0
    for b, start in enumerate(range(0, len(X), batch_size)):
        # 1. batch
        index = order[start : start + batch_size]
        x, t, w, s = X[index], target[index], weights[index], assign[index]
        c = centers.astype(X.dtype) if options.center else xp.zeros(centers.shape, X.dtype)
        # 2. losses and gradient
        L, s, gradient = losses_and_gradient(params, layers, x, t, c, None if options.assign_first else s, w, reg)
        batch_loss, batch_weight = assignment.objective(L, s, w)
        loss_sum, weight_sum = loss_sum + batch_loss, weight_sum + batch_weight
        # 3. optimizer step on the mean gradient
        if batch_weight > 0:
            scale = mean_scale(gradient, batch_weight, optimizer.clip_norm)
            update(params, gradient, scale, optimizer._replace(step=optimizer.step + b))
        # 4. assignment and centres
        moved += assignment.move(t, index, assignment.assign(L), assign, w, sums, totals, counts)
        assignment.means(sums, totals, centers, b if options.running else 0)
    # 5. sums from scratch
    sums[...], totals[...], counts[...] = assignment.cluster_sums(target, assign, weights, len(centers))
    if not options.running:
        assignment.means(sums, totals, centers, 0)
    return loss_sum, weight_sum, moved


def fused_epoch_applies(layers, n, d, k, batch_size):
    """Whether a trainer should call ``fused_epoch`` rather than compose an epoch: never here.

    It would make the same launches. One kernel for an epoch would need a barrier across the whole grid at
    every layer, which costs as much as the launch that it saves.

    n, d, k, batch_size : int; returns bool
    """
    return False


def workspace_bytes(layers, b, d, k, itemsize):
    """Memory that ``losses_and_gradient`` takes at most for a batch of b rows, beside its arguments.

    returns int
    """
    widest = max(d, int(layers[:, dense.FAN_OUT].max()))
    grouped = max(b, min(k * b, WORKSPACE // (widest * itemsize)))  # with the rows that pad
    everyone = itemsize * k * sum(int(width) for width in layers[:, dense.FAN_OUT])
    rows = min(b, _rows_at_once(k, widest, itemsize))
    own = itemsize * (2 * d + 2 * widest + 2 + sum(int(width) for width in layers[:, dense.FAN_OUT])) + 3 * 8
    parameters = itemsize * sum(int(copies * i * o + copies * o) for i, o, copies in layers[:, :3])
    return rows * everyone * 2 + grouped * own + b * itemsize * (k + d) + 2 * parameters


# -- layers --------------------------------------------------------------------------------------------


def _arrays(params, X, target, centers):
    named = {"params": params, "X": X, "target": target, "centers": centers}
    return [array(name, value) for name, value in named.items()]


def _rows_at_once(k, widest, itemsize):
    return max(1, WORKSPACE // (k * widest * itemsize))


def _parts(n, k, layers, itemsize):
    """Slices of rows for which the outputs of the widest layer of all clusters fit into the workspace."""
    rows = _rows_at_once(k, int(layers[:, dense.FAN_OUT].max()), itemsize)
    return [slice(start, min(start + rows, n)) for start in range(0, n, rows)]


def _weight(params, layer):
    """All copies of a layer's weight, (copies, fan_in, fan_out), and of its bias, (copies, fan_out) or None."""
    fan_in, fan_out, copies, weight, bias, _ = (int(entry) for entry in layer)
    W = params[weight : weight + copies * fan_in * fan_out].reshape(copies, fan_in, fan_out)
    return W, params[bias : bias + copies * fan_out].reshape(copies, fan_out) if bias >= 0 else None


def _forward_all(params, layers, X, centers):
    """Outputs (k, n, width) of all layers, of every cluster."""
    n, k, outputs = len(X), len(centers), []
    for l, layer in enumerate(layers):
        W, bias = _weight(params, layer)
        copies, fan_in, h = W.shape
        activation = int(layer[dense.ACTIVATION])
        if l == 0:
            # Centring the input takes c W off the output.
            offset = -xp.matmul(centers[:, None], W)[:, 0]
            offset = offset if bias is None else offset + bias
            A = xp.matmul(X, xp.ascontiguousarray(W.transpose(1, 0, 2)).reshape(fan_in, copies * h))
            Y = xp.empty((k, n, h), X.dtype)
            dense.offset_activate(A, copies * h, h if copies > 1 else 0, offset, activation, Y)
        else:
            if copies == 1:
                Y = xp.matmul(outputs[-1].reshape(k * n, fan_in), W[0]).reshape(k, n, h)
            else:
                Y = xp.matmul(outputs[-1], W)
            if bias is not None or activation != dense.LINEAR:
                dense.offset_activate(Y, h, n * h, bias, activation, Y)
        outputs.append(Y)
    return outputs


def by_cluster(assign, k):
    """(order (n,), begins): samples sorted by cluster, stably; where every cluster begins, k + 1 ints on the host."""
    n = len(assign)
    order = xp.argsort(assign, kind="stable").astype(np.int64, copy=False)
    begins = xp.empty(k + 1, np.int64)
    launch("autoencoder", "cluster_begins", np.float32, blocks_for(k + 1), assign, order, n, k, begins)
    return order, begins.tolist()


@dataclass(frozen=True)
class Own:
    """Samples grouped by cluster.

    order (rows,) int64, which sample a row is; begins : where every cluster begins, k + 1 ints on the host; height :
    rows of every cluster where it is padded with rows of zeros, whose order is −1; 0 where it is not
    """

    order: object
    begins: list
    height: int = 0

    def by_cluster(self, rows):
        """(k, height, ·) of padded (k · height, ·)."""
        return rows.reshape(len(self.begins) - 1, self.height, rows.shape[1])


def _grouped(assign, k, layers, itemsize):
    """`Own` of a batch: padded where the products of zeros cost less than the launches that they save."""
    order, begins = by_cluster(assign, k)
    height, widest = int(np.diff(begins).max()), int(layers[:, : dense.FAN_OUT + 1].max())
    weights = int((layers[:, dense.FAN_IN] * layers[:, dense.FAN_OUT]).sum())
    extra, saved = 6 * (k * height - len(assign)) * weights, 3 * (k - 1) * len(layers) * LAUNCH_FLOPS
    if k == 1 or extra > saved or k * height * widest * itemsize > WORKSPACE:
        return Own(order, begins)
    padded = xp.empty(k * height, np.int64)
    launch(
        *("autoencoder", "pad", np.float32, blocks_for(k * height)),
        *(order, xp.asarray(np.array(begins, np.int64)), padded, k, height),
    )
    return Own(padded, begins, height)


def shares(copies, begins):
    """(copy, rows) of every copy of a layer that has samples."""
    if copies == 1:
        return [(0, slice(0, begins[-1]))] if begins[-1] else []
    return [(j, slice(lo, hi)) for j, (lo, hi) in enumerate(pairwise(begins)) if hi > lo]


def _forward_own(params, layer, Y, own):
    """Act(Y W_s + b_s) of grouped samples, (rows, fan_out)."""
    W, bias = _weight(params, layer)
    activation, (copies, _, h) = int(layer[dense.ACTIVATION]), W.shape
    out = xp.empty((len(Y), h), Y.dtype)
    if own.height:
        if copies > 1:
            xp.matmul(own.by_cluster(Y), W, out=own.by_cluster(out))
        else:
            xp.matmul(Y, W[0], out=out)
        if bias is not None or activation != dense.LINEAR:
            dense.offset_activate(out, h, own.height * h, bias, activation, own.by_cluster(out))
        return out
    for copy, rows in shares(copies, own.begins):
        part = out[rows]
        xp.matmul(Y[rows], W[copy], out=part)
        if bias is not None or activation != dense.LINEAR:
            dense.offset_activate(part, h, 0, bias if bias is None else bias[copy : copy + 1], activation, part[None])
    return out


def _backward_own(params, gradient, layer, Y, G, own, wanted):
    """Adds ∂W and ∂b of a layer to the gradient; returns that of its input where it is wanted.

    G : (rows, fan_out), gradient with respect to Y W + b, samples grouped
    """
    W, _ = _weight(params, layer)
    dW, db = _weight(gradient, layer)
    below = xp.empty(Y.shape, Y.dtype) if wanted else None
    if own.height and len(W) > 1:
        y, g = own.by_cluster(Y), own.by_cluster(G)
        xp.matmul(y.transpose(0, 2, 1), g, out=dW)
        if db is not None:
            db[...] = dense.column_sums(G, xp.repeat(xp.arange(len(W)), own.height), len(W))
        if wanted:
            xp.matmul(g, W.transpose(0, 2, 1), out=own.by_cluster(below))
        return below
    for copy, rows in [(0, slice(0, len(Y)))] if own.height else shares(len(W), own.begins):
        xp.matmul(Y[rows].T, G[rows], out=dW[copy])
        if db is not None:
            db[copy] = dense.column_sums(G[rows], xp.zeros(rows.stop - rows.start, np.int64), 1)[0]
        if wanted:
            xp.matmul(G[rows], W[copy].T, out=below[rows])
    return below
