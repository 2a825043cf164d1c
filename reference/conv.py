"""Convolution of images, its transpose, max-pooling and up-sampling, and what flows back through them.

Loops run over the kernel's places (u, v) only: at each of them, the input pixels that meet weight (u, v), one for every
output pixel, are a strided *view* of the padded input, and what is left is a product over channels.

    conv2d              Y[i, o, y, x] = b[o] + Σ_{c,u,v} W[o, c, u, v] X[i, c, s y + u − p, s x + v − p]
    transposed_conv2d   Y[i, o, s y + u − p, s x + v − p] += W[c, o, u, v] X[i, c, y, x],  over all c, y, x, u, v

and X is 0 outside of the image. The second is the first one's adjoint: ⟨conv2d(X), Y⟩ = ⟨X, transposed_conv2d(Y)⟩.

Everywhere: n images, c channels of h × w pixels, o output channels, a kernel of kh × kw, all arrays of one float dtype;
stride s ≥ 1, padding p ≥ 0 pixels of zeros on every side.
"""

import numpy as np


def conv_size(size, kernel, stride, padding):
    """Pixels of the output of a convolution or a pooling, along one side: (size + 2p − kernel) // s + 1."""
    return (size + 2 * padding - kernel) // stride + 1


def transposed_size(size, kernel, stride, padding, output_padding):
    """Pixels of the output of a transposed convolution, along one side: s (size − 1) + kernel − 2p + output_padding.

    Several input sizes of a convolution have one output size; ``output_padding`` < s says which of them is meant.
    """
    return stride * (size - 1) + kernel - 2 * padding + output_padding


def conv2d(X, weight, bias, stride, padding):
    """Y[i, o, y, x] = b[o] + Σ_{c,u,v} W[o, c, u, v] X[i, c, s y + u − p, s x + v − p].

    X : (n, c, h, w) float; weight : (o, c, kh, kw); bias : (o,), or empty for none
    returns (n, o, h', w'), h' = (h + 2p − kh) // s + 1
    Cost: 2 n o h' w' c kh kw flops
    """
    o, _, kh, kw = weight.shape
    n, _, h, w = X.shape
    size = conv_size(h, kh, stride, padding), conv_size(w, kw, stride, padding)
    # 1. pad
    padded = _pad(X, padding)
    # 2. product over channels, at every place of the kernel
    Y = np.zeros((n, o, *size), X.dtype)
    for u in range(kh):
        for v in range(kw):
            Y += np.einsum("oc,ncyx->noyx", weight[:, :, u, v], _met(padded, u, v, stride, size))
    # 3. bias
    return Y + bias[:, None, None] if bias.size else Y


def conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``conv2d``.

        ∂W[o, c, u, v] = Σ_{i,y,x} G[i, o, y, x] X[i, c, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X[i, c, s y + u − p, s x + v − p] += W[o, c, u, v] G[i, o, y, x],  over all o, y, x, u, v

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w)
    returns (∂W (o, c, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n o h' w' c kh kw flops
    """
    _, _, kh, kw = weight.shape
    size = G.shape[2:]
    padded = _pad(X, padding)
    dW, dX = np.empty_like(weight, order="C"), np.zeros_like(padded)
    for u in range(kh):
        for v in range(kw):
            # 1. weight
            dW[:, :, u, v] = np.einsum("noyx,ncyx->oc", G, _met(padded, u, v, stride, size), optimize=True)
            # 2. input
            view = _met(dX, u, v, stride, size)
            view += np.einsum("oc,noyx->ncyx", weight[:, :, u, v], G)
    # 3. bias
    return dW, G.sum(axis=(0, 2, 3)), _crop(dX, padding, X.shape)


def transposed_conv2d(X, weight, bias, stride, padding, output_padding):
    """Y[i, o, s y + u − p, s x + v − p] += W[c, o, u, v] X[i, c, y, x] over all c, y, x, u, v; then + b[o].

    X : (n, c, h, w) float; weight : (c, o, kh, kw); bias : (o,), or empty for none; output_padding : int, < stride
    returns (n, o, h', w'), h' = s (h − 1) + kh − 2p + output_padding
    Cost: 2 n c h w o kh kw flops
    """
    _, o, kh, kw = weight.shape
    n, _, h, w = X.shape
    size = [transposed_size(m, k, stride, padding, output_padding) for m, k in ((h, kh), (w, kw))]
    Y = np.zeros((n, o, size[0] + 2 * padding, size[1] + 2 * padding), X.dtype)
    # 1. what every pixel adds, at every place of the kernel
    for u in range(kh):
        for v in range(kw):
            view = _met(Y, u, v, stride, (h, w))
            view += np.einsum("co,ncyx->noyx", weight[:, :, u, v], X)
    # 2. crop
    Y = _crop(Y, padding, (n, o, *size))
    # 3. bias
    return Y + bias[:, None, None] if bias.size else Y


def transposed_conv2d_backward(G, X, weight, stride, padding):
    """Gradients of a loss with respect to weight, bias and input of ``transposed_conv2d``.

        ∂W[c, o, u, v] = Σ_{i,y,x} X[i, c, y, x] G[i, o, s y + u − p, s x + v − p]
        ∂b[o] = Σ_{i,y,x} G[i, o, y, x]
        ∂X = conv2d(G, W): the adjoint's adjoint

    G : (n, o, h', w'), gradient with respect to the output; X : (n, c, h, w); weight : (c, o, kh, kw)
    returns (∂W (c, o, kh, kw), ∂b (o,), ∂X (n, c, h, w)), the first two sums over the images
    Cost: 4 n c h w o kh kw flops
    """
    _, _, kh, kw = weight.shape
    size = X.shape[2:]
    padded = _pad(G, padding)
    dW, dX = np.empty_like(weight, order="C"), np.zeros_like(X, order="C")
    for u in range(kh):
        for v in range(kw):
            met = _met(padded, u, v, stride, size)
            # 1. weight
            dW[:, :, u, v] = np.einsum("ncyx,noyx->co", X, met, optimize=True)
            # 2. input
            dX += np.einsum("co,noyx->ncyx", weight[:, :, u, v], met)
    # 3. bias
    return dW, G.sum(axis=(0, 2, 3)), dX


def max_pool(X, size, stride):
    """Y[i, c, y, x] = max_{u,v < size} X[i, c, s y + u, s x + v]; what fills no whole window is left out.

    X : (n, c, h, w) float; size, stride : int; returns (n, c, h', w'), h' = (h − size) // s + 1
    Cost: size² comparisons a pixel of the output
    """
    out = conv_size(X.shape[2], size, stride, 0), conv_size(X.shape[3], size, stride, 0)
    return np.max([_met(X, u, v, stride, out) for u in range(size) for v in range(size)], axis=0)


def max_pool_backward(G, X, size, stride):
    """Gradient of a loss with respect to the input of ``max_pool``: a window's goes to its largest pixel.

    To the first one, row by row, if there are several; which it was is found again from X.

    G : (n, c, h', w'); X : (n, c, h, w); returns (n, c, h, w)
    """
    windows = np.array([_met(X, u, v, stride, G.shape[2:]) for u in range(size) for v in range(size)])
    # 1. the place of the largest pixel in its window
    first = windows.argmax(axis=0)
    # 2. its gradient
    dX = np.zeros_like(X, order="C")
    for place in range(size * size):
        view = _met(dX, *divmod(place, size), stride, G.shape[2:])
        view += np.where(first == place, G, 0)
    return dX


def up_sample(X, factor):
    """Y[i, c, y, x] = X[i, c, y // factor, x // factor]: every pixel becomes a square of equal ones.

    X : (n, c, h, w) float; factor : int; returns (n, c, factor h, factor w)
    """
    return X.repeat(factor, axis=2).repeat(factor, axis=3)


def up_sample_backward(G, factor):
    """Gradient of a loss with respect to the input of ``up_sample``: the sum over a pixel's square.

    G : (n, c, factor h, factor w); returns (n, c, h, w)
    """
    n, c, h, w = G.shape
    return G.reshape(n, c, h // factor, factor, w // factor, factor).sum(axis=(3, 5))


def _pad(X, padding):
    return np.pad(X, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def _crop(padded, padding, shape):
    return np.ascontiguousarray(padded[:, :, padding : padding + shape[2], padding : padding + shape[3]])


def _met(padded, u, v, stride, size):
    """The pixels that meet place (u, v) of a kernel, one for each of (h', w') outputs, as a view."""
    h, w = size
    return padded[:, :, u : u + stride * (h - 1) + 1 : stride, v : v + stride * (w - 1) + 1 : stride]
