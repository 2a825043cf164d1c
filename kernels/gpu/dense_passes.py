"""What ``network`` does for dense layers: products of several groups of rows, each with weights of its own.

One batched product where groups have equally many rows, or are padded to that with rows of zeros; else one a group.
W : (k, fan_in, fan_out); X (n, fan_in), G and out (n, fan_out), rows sorted by group.
"""

from . import dense
from ._platform.launch import blocks_for, launch, xp
from .autoencoder import LAUNCH_FLOPS

WORKSPACE = 1 << 27  # bytes of a layer's padded rows


def forward(W, b, activation, X, out, groups):
    """Out ← act(X W + b) of every group."""
    height = _height(W, groups)
    if height:
        return add_bias(xp.matmul(pad(X, height, groups), W), height, out, groups, b, activation)
    for part in groups.parts(max(1, len(X))):
        for w, x, y in zip(part.copies(W), part.blocks(X), part.blocks(out), strict=True):
            xp.matmul(x, w, out=y)
    if b is not None or activation != dense.LINEAR:
        add_bias(out, 0, out, groups, b, activation)
    return None


def back(W, dW, G, X, dX, groups):
    """∂W ← Xᵀ G and ∂X ← G Wᵀ of every group."""
    height = _height(W, groups)
    if height:
        x, g = pad(X, height, groups), pad(G, height, groups)
        xp.matmul(x.swapaxes(-1, -2), g, out=dW)
        if dX is not None:
            add_bias(xp.matmul(g, W.swapaxes(-1, -2)), height, dX, groups, None, dense.LINEAR)
        return
    for part in groups.parts(max(1, len(X))):
        g = part.blocks(G)
        for x, y, out in zip(part.blocks(X), g, part.copies(dW), strict=True):
            xp.matmul(x.swapaxes(-1, -2), y, out=out)
        for y, w, below in zip(g, part.copies(W), part.blocks(dX) if dX is not None else (), strict=dX is not None):
            xp.matmul(y, w.swapaxes(-1, -2), out=below)


def _height(W, groups):
    """Rows of every group, padded, where a batched product costs less than the launches that it saves; or 0."""
    k, fan_in, fan_out = W.shape
    padded = k * groups.tallest
    extra, saved = 2 * (padded - groups.n) * fan_in * fan_out, (k - 1) * LAUNCH_FLOPS
    fits = padded * max(fan_in, fan_out) * W.itemsize <= WORKSPACE
    return groups.tallest if 0 < extra <= saved and fits else 0


def pad(X, height, groups):
    """Rows of every group with rows of zeros after them, (k, height, f)."""
    out = xp.empty((len(groups), height, X.shape[1]), X.dtype)
    shape = groups.device, len(groups), X.shape[1], height
    launch("network", "pad", X.dtype, blocks_for(out.size), X, *shape, out)
    return out


def add_bias(A, height, Y, groups, bias, activation):
    """Y ← act(A + bias); bias : k f numbers, or None; A : Y itself, or with a height the padded rows."""
    launch(
        *("network", "add_bias", Y.dtype, blocks_for(Y.size), A, height, Y, groups.device, len(groups), *Y.shape),
        *(Y if bias is None else bias, bias is not None, activation),
    )
