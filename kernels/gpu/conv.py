"""CUDA twin of ``reference.conv``: convolution, its transpose, max-pooling, up-sampling, and what flows back.

A convolution and a transposed one are the same between a *large* image (c, h, w) and a *small* one (o, oh, ow), in two
directions: products with the columns of all windows of the large one, see ``conv_passes``.

Everywhere: n images, c channels of h × w pixels, o output channels, a kernel of kh × kw, all arrays of one float dtype;
stride s ≥ 1, padding p ≥ 0 pixels of zeros on every side.
"""

from . import conv_passes as passes
from . import dense, norm
from ._platform.launch import array, blocks_for, launch, xp
from .conv_passes import Shape
from .groups import Groups


def conv_size(size, kernel, stride, padding):
    """Pixels of the output of a convolution or a pooling, along one side: (size + 2p − kernel) // s + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def transposed_size(size, kernel, stride, padding, output_padding):
    """Pixels of the output of a transposed convolution, along one side: s (size − 1) + kernel − 2p + output_padding."""
    return stride * (size - 1) + kernel - 2 * padding + output_padding


def conv2d(X, weight, bias, stride, padding):
    """Y[i, o, y, x] = b[o] + Σ_{c,u,v} W[o, c, u, v] X[i, c, s y + u − p, s x + v − p].

    X : (n, c, h, w) float; weight : (o, c, kh, kw); bias : (o,), or empty for none
    returns (n, o, h', w'), h' = (h + 2p − kh) // s + 1
    Cost: 2 n o h' w' c kh kw flops; the columns written and read; memory ``WORKSPACE``
    """
    X, weight, bias = array("X", X), array("weight", weight), array("bias", bias)
    o, _, kh, kw = weight.shape
    size = [conv_size(m, k, stride, padding) for m, k in zip(X.shape[2:], (kh, kw), strict=True)]
    shape = Shape(*X.shape[1:], kh, kw, *size, stride, padding)
    Y = xp.empty((len(X), o, *size), X.dtype)
    # 1. pad
    # 2. product over channels, at every place of the kernel
    # 3. bias
    passes.to_small(X, weight.reshape(1, o, -1), bias, dense.LINEAR, Y, shape, Groups.one(len(X)))
    return Y


def conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``conv2d``.

        ∂W[o, c, u, v] = Σ_{i,y,x} G[i, o, y, x] X[i, c, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X[i, c, s y + u − p, s x + v − p] += W[o, c, u, v] G[i, o, y, x],  over all o, y, x, u, v

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w)
    returns (∂W (o, c, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n o h' w' c kh kw flops; the columns written and read twice; memory ``WORKSPACE``
    """
    G, X, weight = array("G", G), array("X", X), array("weight", weight)
    shape = Shape(*X.shape[1:], *weight.shape[2:], *G.shape[2:], stride, padding)
    dX = xp.empty(X.shape, X.dtype)
    # 1. weight
    # 2. input
    dW = _one_group_back(X, G, weight, dX, None, shape)
    # 3. bias
    return dW, _channel_sums(G), dX


def transposed_conv2d(X, weight, bias, stride, padding, output_padding):
    """Y[i, o, s y + u − p, s x + v − p] += W[c, o, u, v] X[i, c, y, x] over all c, y, x, u, v; then + b[o].

    X : (n, c, h, w) float; weight : (c, o, kh, kw); bias : (o,), or empty for none; output_padding : int, < stride
    returns (n, o, h', w'), h' = s (h − 1) + kh − 2p + output_padding
    Cost: 2 n c h w o kh kw flops; the columns written and read; memory ``WORKSPACE``
    """
    X, weight, bias = array("X", X), array("weight", weight), array("bias", bias)
    c, o, kh, kw = weight.shape
    how = stride, padding, output_padding
    size = [transposed_size(m, k, *how) for m, k in zip(X.shape[2:], (kh, kw), strict=True)]
    shape = Shape(o, *size, kh, kw, *X.shape[2:], stride, padding)
    Y = xp.empty((len(X), o, *size), X.dtype)
    # 1. what every pixel adds, at every place of the kernel
    # 2. crop
    # 3. bias
    passes.to_large(X, weight.reshape(1, c, -1), bias, dense.LINEAR, Y, shape, Groups.one(len(X)))
    return Y


def transposed_conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``transposed_conv2d``.

        ∂W[c, o, u, v] = Σ_{i,y,x} X[i, c, y, x] G[i, o, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X = conv2d(G, W): the adjoint's adjoint

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w); weight : (c, o, kh, kw)
    returns (∂W (c, o, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n c h w o kh kw flops; the columns written once, read twice; memory ``WORKSPACE``
    """
    G, X, weight = array("G", G), array("X", X), array("weight", weight)
    shape = Shape(*G.shape[1:], *weight.shape[2:], *X.shape[2:], stride, padding)
    dX = xp.empty(X.shape, X.dtype)
    # 1. weight
    # 2. input
    dW = _one_group_back(G, X, weight, None, dX, shape)
    # 3. bias
    return dW, _channel_sums(G), dX


def max_pool(X, size, stride):
    """Y[i, c, y, x] = max_{u,v < size} X[i, c, s y + u, s x + v]; what fills no whole window is left out.

    X : (n, c, h, w) float; size, stride : int; returns (n, c, h', w'), h' = (h − size) // s + 1
    Cost: size² comparisons a pixel of the output
    """
    X = array("X", X)
    Y = xp.empty((*X.shape[:2], *(conv_size(m, size, stride, 0) for m in X.shape[2:])), X.dtype)
    pool(X, size, stride, Y)
    return Y


def max_pool_backward(G, X, size, stride):
    """Gradient of a loss with respect to the input of ``max_pool``: a window's goes to its largest pixel.

    To the first one, row by row, if there are several; which it was is found again from X.

    G : (n, c, h', w'); X : (n, c, h, w); returns (n, c, h, w)
    Cost: size² comparisons for each window that a pixel is in
    """
    G, X = array("G", G), array("X", X)
    n, c, h, w = X.shape
    dX = xp.empty(X.shape, X.dtype)
    launch(
        *("conv", "max_pool_backward", X.dtype, blocks_for(dX.size)),
        *(G, X, n * c, h, w, *G.shape[2:], size, stride, dX),
    )
    return dX


def up_sample(X, factor):
    """Y[i, c, y, x] = X[i, c, y // factor, x // factor]: every pixel becomes a square of equal ones.

    X : (n, c, h, w) float; factor : int; returns (n, c, factor h, factor w)
    """
    X = array("X", X)
    n, c, h, w = X.shape
    Y = xp.empty((n, c, h * factor, w * factor), X.dtype)
    repeat(X, factor, Y)
    return Y


def up_sample_backward(G, factor):
    """Gradient of a loss with respect to the input of ``up_sample``: the sum over a pixel's square.

    G : (n, c, factor h, factor w); returns (n, c, h, w)
    """
    G = array("G", G)
    n, c, h, w = G.shape
    dX = xp.empty((n, c, h // factor, w // factor), G.dtype)
    launch("conv", "up_sample_backward", G.dtype, blocks_for(dX.size), G, n * c, *dX.shape[2:], factor, dX)
    return dX


def pool(X, size, stride, Y):
    """Y ← the largest pixels of windows of X; both images."""
    n, c, h, w = X.shape
    launch("conv", "max_pool", X.dtype, blocks_for(Y.size), X, n * c, h, w, *Y.shape[2:], size, stride, Y)


def repeat(X, factor, Y):
    """Y ← every pixel of X as a square."""
    n, c, h, w = X.shape
    launch("conv", "up_sample", X.dtype, blocks_for(Y.size), X, n * c, h, w, factor, Y)


def _one_group_back(large, small, weight, to_large, to_small, shape):
    dW = xp.zeros(weight.shape, weight.dtype)
    matrix = 1, len(weight), shape.window
    passes.back(
        large, small, weight.reshape(matrix), dW.reshape(matrix), to_large, to_small, shape, Groups.one(len(large))
    )
    return dW


def _channel_sums(G):
    sums = xp.empty(G.shape[1], G.dtype)
    n, o, h, w = G.shape
    norm.channel_sums(G.reshape(n, o, h * w), Groups.one(n), sums)
    return sums
