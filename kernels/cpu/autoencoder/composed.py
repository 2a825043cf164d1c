"""Tensorized autoencoders of any width, composed of tasks that are products and a pass over memory around each.

``ops`` is a backend's namespace, for the CPU ``kernels.cpu.autoencoder_ops``. Samples are cut into chunks of ``CHUNK``
rows, within which sums are in the working dtype, and chunks into tasks; all bounds depend on shape (and the gradient's
on the assignment) alone. The losses need all k networks, the gradient only each sample's own: within a chunk samples
are grouped by cluster, stably, so that every cluster's share is one product. Arguments and mathematics are
those of ``reference.autoencoder``.
"""

CHUNK = 1024
_BLOCK = 256  # rows of a product


def losses(ops, params, layers, X, target, centers, reg):
    """L[i, j] = (1/d) ‖g_j(f_j(x_i − c_j)) − (t_i − c_j)‖² + λ ‖f_j(x_i − c_j)‖².

    Cost: 2 n Σ_layers k fan_in fan_out flops (once for a shared first layer); memory 128 Σ widths + 24 d a thread
    """
    n, k = len(X), len(centers)
    L = ops.empty((n, k), X.dtype)
    # 1. centre
    # 2. encode and decode
    # 3. loss
    forward = ops.forward_tasks(layers, n, k)
    ops.run([forward], params, layers, X, target, centers, reg, L, *ops.no_gradient(X.dtype))
    return L


def losses_and_gradient(ops, params, layers, X, target, centers, assign, weights, reg):
    """All losses, the assignment (argmin_j L where ``assign`` is None), and the gradient of Σ_i w_i L[i, s_i].

    Cost: that of ``losses``, and 4 n Σ_layers fan_in fan_out flops for the one column that goes back, 6 where it is
    not known before; memory CHUNK (2 d + 2 Σ widths), and float64 sums (p,) for more than one chunk
    """
    n, k = len(X), len(centers)
    L = ops.empty((n, k), X.dtype)
    s = ops.empty((n,), "int64") if assign is None else assign
    gradient = ops.empty(params.shape, params.dtype)
    if not n or _size(layers) < len(params):
        gradient[...] = 0
    total = ops.zeros(params.shape if n > CHUNK else (0,), "float64")
    m = min(n, CHUNK)
    inputs, G = (ops.empty((m * int(layers[:, side].sum()),), X.dtype) for side in (0, 1))

    def chunk(x, t, L, s, w):
        # 1. losses of every cluster
        forward = ops.forward_tasks(layers, len(x), k)
        if assign is None:
            ops.run([forward], params, layers, x, t, centers, reg, L, *ops.no_gradient(x.dtype))
            # 2. assignment
            s[...] = ops.assign(L)
        order, bounds, place = ops.group(s, k)
        if assign is None:
            # 3. forward, the cluster's own samples
            # 4. gradient at the output
            x, t, s, w = x[order], t[order], s[order], w[order]
            phases, L, place, sorted_w = [], L[:0], ops.everywhere(len(x)), w
        else:
            phases, sorted_w = [forward], w[order]
        # 5. back through the layers
        phases += [ops.backward_tasks(bounds, assign is None), ops.weight_tasks(layers, bounds)]
        arguments = L, s, place, w, sorted_w, inputs, G, gradient, total
        ops.run(phases, params, layers, x, t, centers, reg, *arguments)

    for rows in ops.blocks(n, CHUNK):
        chunk(X[rows], target[rows], L[rows], s[rows], weights[rows])
    if len(total):
        gradient[...] = total
    return L, s, gradient


def _size(layers):
    """Numbers in the flat vector that belong to a layer."""
    return sum(copies * (fan_in + (bias >= 0)) * fan_out for fan_in, fan_out, copies, _, bias, _ in layers.tolist())


class Network:
    """Views of a flat vector: ``weights[l]`` (copies, fan_in, fan_out), ``biases[l]`` (copies or 0, fan_out)."""

    def __init__(self, flat, layers):
        self.weights, self.biases, self.activations = [], [], []
        for fan_in, fan_out, copies, weight, bias, activation in layers.tolist():
            self.weights.append(flat[weight : weight + copies * fan_in * fan_out].reshape(copies, fan_in, fan_out))
            biases = flat[:0] if bias < 0 else flat[bias : bias + copies * fan_out]
            self.biases.append(biases.reshape(-1, fan_out))
            self.activations.append(activation)

    def apply(self, ops, x, j, first, stop):
        """Layers first … stop − 1 of cluster j, on samples x (m, fan_in)."""
        for l in range(first, stop):
            copy = slice(j, j + 1)
            W = self.weights[l][copy] if len(self.weights[l]) > 1 else self.weights[l]
            b = self.biases[l][copy] if len(self.biases[l]) > 1 else self.biases[l]
            y = ops.matmul(x, W)  # (1, m, fan_out)
            ops.offset_activate(y, b, self.activations[l], y)
            x = y[0]
        return x


def encode(ops, params, layers, X, centers):
    """z_j = f_j(x − c_j) for every cluster, (n, k, h)."""
    network, half = Network(params, layers), len(layers) // 2
    Z = ops.empty((len(X), len(centers), int(layers[half - 1, 1])), X.dtype)

    def block(rows):
        for j in range(len(centers)):
            # 1. centre and encode
            Z[rows, j] = network.apply(ops, X[rows] - centers[j], j, 0, half)

    ops.parallel(block, ops.blocks(len(X), _BLOCK))
    return Z


def decode(ops, params, layers, Z, assign, centers):
    """The decoder of each sample's own cluster, in input space: x = g_s(z) + c_s, (n, d)."""
    network, k, half = Network(params, layers), len(centers), len(layers) // 2
    X = ops.empty((len(Z), centers.shape[1]), Z.dtype)
    order, bounds, _ = ops.group(assign, k)
    bounds = bounds.tolist()

    def block(share):
        j, rows = share
        # 1. decode and un-centre
        X[order[rows]] = network.apply(ops, Z[order[rows]], j, half, len(layers)) + centers[j]

    ops.parallel(
        block, [(j, rows) for j in range(k) for rows in ops.blocks(bounds[j + 1] - bounds[j], _BLOCK, bounds[j])]
    )
    return X
