"""Tensorized autoencoders: every cluster j has its own encoder f_j and decoder g_j.

Source: Esser, Mukherjee, Sabanayagam, Ghoshdastidar, arXiv 2212.01046; Sabanayagam, Al-Dabooni,
Esser, arXiv 2412.03471. For a sample x with target t and a cluster with centre c_j,

    x̃ = x − c_j,   t̃ = t − c_j,   z = f_j(x̃),   x̂ = g_j(z)
    L[i, j] = (1/d) ‖x̂ − t̃‖² + λ ‖z‖²

The network is a flat vector and a table of layers (see ``dense``): the first half of the table is
the encoder, the second the decoder. Layers with one copy are shared by all clusters.

Everywhere: n samples, d features, k clusters, p parameters, h latent dimensions;
params (p,), X and target (n, d), centers (k, d), weights (n,), all of one float dtype;
layers (n_layers, 6) int64; assign (n,) int64; reg = λ, a Python float.
"""

import numpy as np

from . import assign as assignment
from . import dense
from .optimizer import mean_scale, update


def forward(params, layers, x, cluster):
    """Outputs of all layers of one cluster's network: [x̃, Y_1, …, z, …, x̂].

    x : (n, d) float, centred; returns a list of n_layers + 1 arrays, the first being x itself
    """
    outputs = [x]
    for layer in layers:
        W, b = dense.layer_views(params, layer, cluster)
        outputs.append(dense.forward(outputs[-1], W, b, int(layer[dense.ACTIVATION])))
    return outputs


def losses(params, layers, X, target, centers, reg):
    """L[i, j] = (1/d) ‖g_j(f_j(x_i − c_j)) − (t_i − c_j)‖² + λ ‖f_j(x_i − c_j)‖².

    returns L (n, k), one loss per sample and cluster
    Cost: 2 n Σ_layers k fan_in fan_out flops; memory n (d + Σ widths) + n k, never n k d
    """
    n, d = X.shape
    L = np.empty((n, len(centers)), dtype=X.dtype)
    for j, c in enumerate(centers):
        # 1. centre
        x, t = X - c, target - c
        # 2. encode and decode
        outputs = forward(params, layers, x, j)
        z, residual = outputs[len(layers) // 2], outputs[-1] - t
        # 3. loss
        L[:, j] = (residual * residual).sum(axis=1) / d + reg * (z * z).sum(axis=1)
    return L


def losses_and_gradient(params, layers, X, target, centers, assign, weights, reg):
    """All losses, and the gradient of the assigned column.

    F = Σ_i w_i L[i, s_i], with s = argmin_j L where ``assign`` is None. Centres are constants.

        ∂F/∂x̂ = w (2/d) (x̂ − t̃);   back through the decoder;   ∂F/∂z gains w 2λ z;   back through the encoder

    A shared layer gathers the gradients of every cluster's samples in its one copy.

    assign : (n,) int64 or None; weights : (n,)
    returns (L (n, k), assign (n,) int64, gradient (p,)), the gradient a sum over samples
    Cost: that of ``losses``, and 4 n Σ_layers fan_in fan_out flops for the one column that goes back
    """
    d = X.shape[1]
    # 1. losses of every cluster
    L = losses(params, layers, X, target, centers, reg)
    # 2. assignment
    if assign is None:
        assign = assignment.assign(L)
    gradient = np.zeros_like(params)
    half = len(layers) // 2
    for j, c in enumerate(centers):
        # 3. forward, the cluster's own samples
        own = assign == j
        w = weights[own, None]
        outputs = forward(params, layers, X[own] - c, j)
        # 4. gradient at the output
        G = w * (2 / d) * (outputs[-1] - (target[own] - c))
        # 5. back through the layers
        for l in reversed(range(len(layers))):
            if l == half - 1:
                G = G + w * (2 * reg) * outputs[half]
            W, _ = dense.layer_views(params, layers[l], j)
            dW, db, G = dense.backward(G, outputs[l], outputs[l + 1], W, int(layers[l, dense.ACTIVATION]))
            gW, gb = dense.layer_views(gradient, layers[l], j)
            gW += dW
            gb += db[: len(gb)]
    return L, assign, gradient


def encode(params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster.

    returns (n, k, h)
    """
    encoder = layers[: len(layers) // 2]
    # 1. centre and encode
    return np.stack([forward(params, encoder, X - c, j)[-1] for j, c in enumerate(centers)], axis=1)


def decode(params, layers, Z, assign, centers):
    """x = g_s(z) + c_s, the decoder of each sample's own cluster, in input space.

    Z : (n, h) float; assign : (n,) int64; returns (n, d)
    """
    decoder = layers[len(layers) // 2 :]
    X = np.empty((len(Z), centers.shape[1]), dtype=Z.dtype)
    for j, c in enumerate(centers):
        own = assign == j
        # 1. decode and un-centre
        X[own] = forward(params, decoder, Z[own], j)[-1] + c
    return X


def fused_epoch(params, layers, X, target, weights, reg, order, batch_size, clusters, options, optimizer):
    """One epoch of the joint algorithm, everything updated in place: what the loop does with single kernels.

    order : (n,) int64, the samples in the order of the epoch, cut into batches of ``batch_size``
    clusters : ``assign.Clusters``; options : ``assign.JointOptions``; optimizer : ``optimizer.OptimizerState``
    returns (loss_sum, weight_sum, moved) : Σ w L[i, s_i] before each batch's step, Σ w, and how
    many samples with weight moved
    """
    (assign, centers, sums, totals, counts), n, k = clusters, len(X), len(clusters.centers)
    loss_sum = weight_sum = 0.0
    moved = 0
    for b, start in enumerate(range(0, n, batch_size)):
        # 1. batch
        index = order[start : start + batch_size]
        x, t, w, s = X[index], target[index], weights[index], assign[index]
        c = centers.astype(X.dtype) if options.center else np.zeros((k, X.shape[1]), X.dtype)
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
    sums[:], totals[:], counts[:] = assignment.cluster_sums(target, assign, weights, k)
    if not options.running:
        assignment.means(sums, totals, centers, 0)
    return loss_sum, weight_sum, moved


def fused_epoch_applies(layers, n, d, k, batch_size):
    """Whether a trainer should call ``fused_epoch`` rather than compose an epoch: never here.

    The composition is what the fused kernels of the other backends are compared with.

    n, d, k, batch_size : int; returns bool
    """
    return False
