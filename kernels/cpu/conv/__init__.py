"""Numba twin of ``reference.conv``: convolution of images, its transpose, max-pooling and up-sampling.

    tasks.py      what a task does: some images, with bias and activation, by one of three ways
    direct.py     few channels: sums in registers; lanes.py their instructions
    winograd.py   many channels, strides 1 and 2: fewer multiplications; tiles.py their matrices, layout.py transforms
    rows.py       all others: products of columns.py, an image's pixels in columns
    gemm.py       products of parts of flat arrays; lines.py, transpose.py such parts, matrices in squares
    pooling.py    max-pooling and up-sampling of some images

Images go through one after the other, or some at a time, so that what they become stays in cache. Blocks of images are
tasks for the threads of ``pool``; their bounds depend on shapes alone. Everywhere: n images, c channels of h × w
pixels, o output channels, a kernel of kh × kw, all arrays of one float dtype.
"""

import numpy as np

from .._engine import pool
from .._engine.arrays import plain
from ..dense import CHUNK, LINEAR
from . import columns, direct, pooling, rows, winograd

BLOCK, BLOCKS, FLOPS = 16, 64, 1e7  # images and flops of a task at least, unless it is one of two; tasks at most


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
    Cost: 2 n o h' w' c kh kw flops
    """
    o, _, *kernel = weight.shape
    size = [conv_size(m, k, stride, padding) for m, k in zip(X.shape[2:], kernel, strict=True)]
    geometry = columns.plan(X.shape[1:], size, kernel, stride, padding)
    X, Y = _rows(X), np.empty((len(X), o * size[0] * size[1]), X.dtype)
    way = way_of(geometry, o)
    packed, bias = way.pack(plain(weight), geometry, False), plain(bias)
    flops = len(X) * flops_of(geometry, o)
    _each(len(X), lambda part: way.convolve(X[part], packed, bias, LINEAR, geometry, False, Y[part]), flops)
    return Y.reshape(len(X), o, *size)


def conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``conv2d``.

        ∂W[o, c, u, v] = Σ_{i,y,x} G[i, o, y, x] X[i, c, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X[i, c, s y + u − p, s x + v − p] += W[o, c, u, v] G[i, o, y, x],  over all o, y, x, u, v

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w)
    returns (∂W (o, c, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n o h' w' c kh kw flops
    """
    geometry = columns.plan(X.shape[1:], G.shape[2:], weight.shape[2:], stride, padding)
    return _backward(False, G, X, weight, geometry)


def transposed_conv2d(X, weight, bias, stride, padding, output_padding):
    """Y[i, o, s y + u − p, s x + v − p] += W[c, o, u, v] X[i, c, y, x] over all c, y, x, u, v; then + b[o].

    X : (n, c, h, w) float; weight : (c, o, kh, kw); bias : (o,), or empty for none; output_padding : int, < stride
    returns (n, o, h', w'), h' = s (h − 1) + kh − 2p + output_padding
    Cost: 2 n c h w o kh kw flops
    """
    _, o, *kernel = weight.shape
    size = [transposed_size(m, k, stride, padding, output_padding) for m, k in zip(X.shape[2:], kernel, strict=True)]
    geometry = columns.plan((o, *size), X.shape[2:], kernel, stride, padding)
    X, Y = _rows(X), np.empty((len(X), o * size[0] * size[1]), X.dtype)
    way = way_of(geometry, len(weight))
    packed, bias = way.pack(plain(weight), geometry, True), plain(bias)
    flops = len(X) * flops_of(geometry, len(weight))
    _each(len(X), lambda part: way.convolve(X[part], packed, bias, LINEAR, geometry, True, Y[part]), flops)
    return Y.reshape(len(X), o, *size)


def transposed_conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``transposed_conv2d``.

        ∂W[c, o, u, v] = Σ_{i,y,x} X[i, c, y, x] G[i, o, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X = conv2d(G, W): the adjoint's adjoint

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w); weight : (c, o, kh, kw)
    returns (∂W (c, o, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n c h w o kh kw flops
    """
    geometry = columns.plan(G.shape[1:], X.shape[2:], weight.shape[2:], stride, padding)
    return _backward(True, G, X, weight, geometry)


def _backward(transposed, G, X, weight, geometry):
    shape, outputs = X.shape, G.shape[1]
    G, X, weight = _rows(G), _rows(X), plain(weight)
    m, dX = len(weight), np.empty(X.shape, X.dtype)
    parts = blocks(len(X), flops=len(X) * flops_of(geometry, m))
    way = way_of(geometry, m)
    packed = way.pack(weight, geometry, not transposed)
    dW, db = np.zeros((len(parts), weight.size), X.dtype), np.zeros((len(parts), outputs), X.dtype)

    def task(part):
        images = parts[part]
        arguments = packed, LINEAR, geometry, transposed, dW[part], db[part], dX[images]
        way.convolve_back(G[images], X[images], G[images], *arguments)

    with pool.single_blas_thread():
        pool.parallel(task, range(len(parts)))
    gradient = np.ascontiguousarray(way.unpack(total(dW, len(X)), geometry))
    return gradient, total(db, len(X)), dX.reshape(shape)


def way_of(geometry, m):
    """The module that convolves: ``direct`` or ``winograd`` where that suits, else ``rows``.

    geometry : see ``columns.plan``; m : channels of the output, of the input of a transposed convolution
    """
    if direct.suits(geometry):
        return direct
    return winograd if winograd.suits(geometry, m) else rows


def max_pool(X, size, stride):
    """Y[i, c, y, x] = max_{u,v < size} X[i, c, s y + u, s x + v]; what fills no whole window is left out.

    X : (n, c, h, w) float; size, stride : int; returns (n, c, h', w'), h' = (h − size) // s + 1
    Cost: size² comparisons a pixel of the output
    """
    n, c, h, w = X.shape
    out = c, conv_size(h, size, stride, 0), conv_size(w, size, stride, 0)
    X, Y = _rows(X), np.empty((n, out[0] * out[1] * out[2]), X.dtype)
    _each(n, lambda part: pooling.pool(X[part], c, h, w, size, stride, Y[part]))
    return Y.reshape(n, *out)


def max_pool_backward(G, X, size, stride):
    """Gradient of a loss with respect to the input of ``max_pool``: a window's goes to its largest pixel.

    To the first one, row by row, if there are several; which it was is found again from X.

    G : (n, c, h', w'); X : (n, c, h, w); returns (n, c, h, w)
    """
    shape = n, c, h, w = X.shape
    G, X = _rows(G), _rows(X)
    dX = np.empty(X.shape, X.dtype)
    _each(n, lambda part: pooling.pool_back(G[part], X[part], c, h, w, size, stride, dX[part]))
    return dX.reshape(shape)


def up_sample(X, factor):
    """Y[i, c, y, x] = X[i, c, y // factor, x // factor]: every pixel becomes a square of equal ones.

    X : (n, c, h, w) float; factor : int; returns (n, c, factor h, factor w)
    """
    n, c, h, w = X.shape
    X, Y = _rows(X), np.empty((n, c * h * w * factor * factor), X.dtype)
    _each(n, lambda part: pooling.grow(X[part], c, h, w, factor, Y[part]))
    return Y.reshape(n, c, factor * h, factor * w)


def up_sample_backward(G, factor):
    """Gradient of a loss with respect to the input of ``up_sample``: the sum over a pixel's square.

    G : (n, c, factor h, factor w); returns (n, c, h, w)
    """
    n, c, h, w = G.shape[0], G.shape[1], G.shape[2] // factor, G.shape[3] // factor
    G, dX = _rows(G), np.empty((n, c * h * w), G.dtype)
    _each(n, lambda part: pooling.grow_back(G[part], c, h, w, factor, dX[part]))
    return dX.reshape(n, c, h, w)


def blocks(n, start=0, flops=np.inf):
    """Images of every task, slices from ``start`` on: as equal as they can be. flops : of all"""
    count = max(1, min(-(-n // BLOCK), BLOCKS, max(2, flops / FLOPS)))
    return pool.blocks(n, max(1, -(-n // int(count))), start)


def flops_of(geometry, m):
    """Of an image; see ``columns.plan``, m as in ``way_of``."""
    c, _, _, height, width, kh, kw, _, _ = geometry
    return 2 * m * c * kh * kw * height * width


def total(parts, n):
    """Σ of the shares of tasks, in order; shares (tasks, ·), of n images: in float64 if these are many."""
    return parts.sum(axis=0, dtype=np.float64 if n > CHUNK else None).astype(parts.dtype, copy=False)


def _rows(images):
    images = plain(images)
    return images.reshape(len(images), images.shape[1] * images.shape[2] * images.shape[3])


def _each(n, task, flops=np.inf):
    with pool.single_blas_thread():
        pool.parallel(task, blocks(n, flops=flops))
