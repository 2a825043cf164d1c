"""Max-pooling and up-sampling of some images, and back: what one task does. Images are rows (n, c h w)."""

from .._engine.jit import jit

# Comparisons select a value rather than branch: which pixel is the largest cannot be predicted (12 times on ReLU's).


@jit
def pool(X, c, h, w, size, stride, Y):
    """Y ← the largest pixel of every window."""
    height, width = (h - size) // stride + 1, (w - size) // stride + 1
    for i in range(len(X)):
        for channel in range(c):
            for y in range(height):
                for x in range(width):
                    first = (channel * h + stride * y) * w + stride * x
                    best = X[i, first]
                    for u in range(size):
                        for v in range(size):
                            value = X[i, first + u * w + v]
                            best = value if value > best else best
                    Y[i, (channel * height + y) * width + x] = best


@jit
def pool_back(G, X, c, h, w, size, stride, dX):
    """Adds every window's gradient to that of its largest pixel, the first of several. dX : overwritten"""
    height, width = (h - size) // stride + 1, (w - size) // stride + 1
    for i in range(len(X)):
        for f in range(dX.shape[1]):
            dX[i, f] = 0
        for channel in range(c):
            for y in range(height):
                for x in range(width):
                    first = (channel * h + stride * y) * w + stride * x
                    largest, best = first, X[i, first]
                    for u in range(size):
                        for v in range(size):
                            at = first + u * w + v
                            larger = X[i, at] > best
                            largest = at if larger else largest
                            best = X[i, at] if larger else best
                    dX[i, largest] += G[i, (channel * height + y) * width + x]


@jit
def grow(X, c, h, w, factor, Y):
    """Y ← every pixel as a square of factor × factor."""
    for i in range(len(X)):
        for line in range(c * h):
            for u in range(factor):
                start = (line * factor + u) * w * factor
                for x in range(w):
                    for v in range(factor):
                        Y[i, start + x * factor + v] = X[i, line * w + x]


@jit
def grow_back(G, c, h, w, factor, dX):
    """DX ← the sums of the squares."""
    for i in range(len(G)):
        for line in range(c * h):
            for x in range(w):
                dX[i, line * w + x] = 0
            for u in range(factor):
                start = (line * factor + u) * w * factor
                for x in range(w):
                    for v in range(factor):
                        dX[i, line * w + x] += G[i, start + x * factor + v]
