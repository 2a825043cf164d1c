"""What ``conv`` and ``network`` do for convolutions: columns of windows, products with them, and columns added up.

Either direction of a convolution is one between a *large* image (c, h, w) and a *small* one (o, oh, ow), of which every
pixel stands for a window of the large one. The *columns* of all windows, (c kh kw, rows · oh · ow), and the *planes* of
the small image, (o, rows · oh · ow), are made for as many rows at a time as fit into the workspace. Rows may be of
several groups with weights of their own, every one's share a matrix of its own: each pass over memory is one launch for
all of them, and so is the product where they are equally large.
"""

from typing import NamedTuple

import numpy as np

from . import dense
from ._platform.launch import blocks_for, launch, xp

# Bytes of columns and planes at a time: less than a data centre device's second-level cache, from which products
# then read them.
WORKSPACE = 1 << 25


class Shape(NamedTuple):
    """Of the large image, the kernel, and the small image, in the order that kernels take them."""

    c: int
    h: int
    w: int
    kh: int
    kw: int
    oh: int
    ow: int
    stride: int
    padding: int

    @property
    def window(self):
        """Numbers of a window of the large image."""
        return self.c * self.kh * self.kw

    @property
    def pixels(self):
        """Of the small image."""
        return self.oh * self.ow


def to_small(large, W, bias, activation, small, shape, groups):
    """Small ← act(W columns(large) + bias): a convolution.

    large, small : rows first, of any shape; W : (k, o, c kh kw); bias : k o numbers, or none
    """
    for part in groups.parts(_rows_at_once(W, shape)):
        columns = _columns(large[part.rows], part, groups, shape)
        planes = xp.empty(len(part) * W.shape[1] * shape.pixels, W.dtype)
        for w, a, out in _matched(W, columns, planes, part, shape):
            xp.matmul(w, a, out=out)
        _from_planes(planes, W, bias, activation, small[part.rows], part, groups, shape)


def to_large(small, W, bias, activation, large, shape, groups):
    """Large ← act(Σ of the columns Wᵀ small + bias): a transposed convolution. Arrays as in ``to_small``."""
    for part in groups.parts(_rows_at_once(W, shape)):
        planes = _planes(small[part.rows], W, part, groups, shape)
        columns = xp.empty(len(part) * shape.window * shape.pixels, W.dtype)
        for w, a, out in _matched(W, columns, planes, part, shape):
            xp.matmul(w.swapaxes(-1, -2), out, out=a)
        _add_columns(columns, bias, activation, large[part.rows], part, groups, shape)


def back(large, small, W, dW, to_large, to_small, shape, groups):
    """∂W ← small columns(large)ᵀ of either direction; one of the two is the input, the other G.

    dW : (k, o, c kh kw), of groups without rows left as it is; to_large, to_small : where the input's gradient goes;
    None for the one that is no input, and for both where that is not wanted
    """
    parts = groups.parts(_rows_at_once(W, shape))
    shares = [j for part in parts for j, _, _ in part.shares]
    sums = {j: xp.zeros(W.shape[1:], np.float64) for j in set(shares) if shares.count(j) > 1}
    for part in parts:
        columns = _columns(large[part.rows], part, groups, shape)
        planes = _planes(small[part.rows], W, part, groups, shape)
        each = [p.reshape(-1, *p.shape[-2:]) for p in part.matrices(planes, W.shape[1])]
        windows = [a.reshape(-1, *a.shape[-2:]) for a in part.matrices(columns, shape.window)]
        pairs = [(p[i], a[i]) for p, a in zip(each, windows, strict=True) for i in range(len(p))]
        for (j, _, _), (p, a) in zip(part.shares, pairs, strict=True):
            if j in sums:
                sums[j] += xp.matmul(p, a.T)
            else:
                xp.matmul(p, a.T, out=dW[j])
        for w, a, p in _matched(W, columns, planes, part, shape):
            if to_large is not None:
                xp.matmul(w.swapaxes(-1, -2), p, out=a)
            if to_small is not None:
                xp.matmul(w, a, out=p)
        if to_large is not None:
            _add_columns(columns, None, dense.LINEAR, to_large[part.rows], part, groups, shape)
        if to_small is not None:
            _from_planes(planes, W, None, dense.LINEAR, to_small[part.rows], part, groups, shape)
    for j, total in sums.items():
        dW[j] = total


def _rows_at_once(W, shape):
    return max(1, WORKSPACE // ((shape.window + W.shape[1]) * shape.pixels * W.itemsize))


def _matched(W, columns, planes, part, shape):
    """(weight, columns, planes) of every product of a part."""
    return zip(part.copies(W), part.matrices(columns, shape.window), part.matrices(planes, W.shape[1]), strict=True)


def _place(part, groups):
    """What kernels are told of a part."""
    return groups.device, len(groups), part.first, len(part)


def _columns(large, part, groups, shape):
    out = xp.empty(len(part) * shape.window * shape.pixels, large.dtype)
    work = blocks_for(len(part) * shape.c * shape.kh * shape.pixels)
    launch("conv", "columns", large.dtype, work, large, *_place(part, groups), out, *shape)
    return out


def _planes(small, W, part, groups, shape):
    out, o = xp.empty(small.size, small.dtype), W.shape[1]
    work = blocks_for(small.size)
    launch("conv", "to_planes", small.dtype, work, small, *_place(part, groups), out, o, shape.pixels)
    return out


def _from_planes(planes, W, bias, activation, small, part, groups, shape):
    given, o = bias is not None and bias.size > 0, W.shape[1]
    launch(
        *("conv", "from_planes", planes.dtype, blocks_for(planes.size), planes, *_place(part, groups)),
        *(bias if given else planes, given, activation, small, o, shape.pixels),
    )


def _add_columns(columns, bias, activation, large, part, groups, shape):
    given = bias is not None and bias.size > 0
    launch(
        *("conv", "add_columns", columns.dtype, blocks_for(large.size), columns, *_place(part, groups)),
        *(bias if given else columns, given, activation, large, *shape),
    )
