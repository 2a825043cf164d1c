"""What turns a convolution of one image into products: its pixels in columns, one for each output pixel.

Of a kernel's kh × kw places only the kw of one row are laid out (a place's copy of the image is shifted sideways); the
kernel's other rows meet the same columns some rows of outputs later. So

    Y = Σ_u W_u columns[:, from u on],    W_u (o, c kw),    columns (c kw, rows of all phases × w')

with a product for each of kh ``taps``, and columns are kh times fewer than in the textbook's form, which has one
product and all kh × kw places. Where channels are few, products over c kw numbers would be too thin, and the textbook's
form is taken: one tap. A stride's phases (input rows 0, s, 2s, …, then 1, s + 1, …) lie one after the other.

Everything is flat, of one float dtype: image (c h w), columns (K L), weights (taps, o, K), outputs (o, h' w').
"""

from numba import njit

from .._engine.gemm import SMALL, gemm

THIN = 24  # terms of a sum, c kw, below which the textbook's form is taken

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def plan(image, size, kernel, stride, padding):
    """Geometry of a convolution, as all functions here take it: a tuple of ints.

    image : (c, h, w); size : (h', w'); kernel : (kh, kw)
    returns (c, h, w, h', w', kh, kw, stride, padding, taps)
    """
    c, kh, kw = int(image[0]), int(kernel[0]), int(kernel[1])
    taps = kh if c * kw >= THIN else 1
    return (*(int(m) for m in image), int(size[0]), int(size[1]), kh, kw, int(stride), int(padding), taps)


@_jit
def extent(geometry):
    """(K, rows of a phase, L): terms of a product's sums, and how columns lie."""
    c, _, _, height, width, kh, kw, stride, _, taps = geometry
    if taps == 1:
        return c * kh * kw, height, height * width
    rows = height + (kh - 1) // stride
    return c * kw, rows, min(kh, stride) * rows * width


@_jit
def lay_out(image, geometry, columns):
    """Columns of an image; what lies outside of it is 0."""
    c, h, w, _, width, kh, kw, stride, padding, taps = geometry
    _, rows, length = extent(geometry)
    at = 0
    for channel in range(c):
        if taps == 1:
            for u in range(kh):
                for v in range(kw):
                    _lay_out_place(
                        image, channel * h * w, h, w, u - padding, v - padding, stride, rows, width, columns, at
                    )
                    at += length
        else:
            for v in range(kw):
                for phase in range(min(kh, stride)):
                    start = at + phase * rows * width
                    _lay_out_place(
                        image, channel * h * w, h, w, phase - padding, v - padding, stride, rows, width, columns, start
                    )
                at += length


@_jit
def _within(first, stride, size, count):
    """(lo, hi) : of the places first, first + stride, … of ``count`` outputs, which lie in 0 … size − 1."""
    lo = 0 if first >= 0 else (-first + stride - 1) // stride
    hi = (size - first + stride - 1) // stride if size > first else 0
    hi = min(hi, count)
    return min(lo, hi), hi


@_jit
def _lay_out_place(image, channel, h, w, top, left, stride, rows, width, columns, at):
    """The pixels (top + stride y, left + stride x) of one channel, y < rows, x < width."""
    lo, hi = _within(left, stride, w, width)
    for y in range(rows):
        line = top + stride * y
        to = at + y * width
        if line < 0 or line >= h:
            for x in range(width):
                columns[to + x] = 0
            continue
        for x in range(lo):
            columns[to + x] = 0
        source = image[channel + line * w : channel + line * w + w]
        target = columns[to : to + width]
        if stride == 1:
            for x in range(lo, hi):
                target[x] = source[left + x]
        else:
            for x in range(lo, hi):
                target[x] = source[left + stride * x]
        for x in range(hi, width):
            columns[to + x] = 0


@_jit
def add_up(columns, geometry, image):
    """Adds to every pixel of an image the numbers of all columns in which it was: the adjoint of ``lay_out``."""
    c, h, w, _, width, kh, kw, stride, padding, taps = geometry
    _, rows, length = extent(geometry)
    at = 0
    for channel in range(c):
        if taps == 1:
            for u in range(kh):
                for v in range(kw):
                    _add_up_place(
                        columns, at, channel * h * w, h, w, u - padding, v - padding, stride, rows, width, image
                    )
                    at += length
        else:
            for v in range(kw):
                for phase in range(min(kh, stride)):
                    start = at + phase * rows * width
                    _add_up_place(
                        columns, start, channel * h * w, h, w, phase - padding, v - padding, stride, rows, width, image
                    )
                at += length


@_jit
def _add_up_place(columns, at, channel, h, w, top, left, stride, rows, width, image):
    lo, hi = _within(left, stride, w, width)
    first, last = _within(top, stride, h, rows)
    for y in range(first, last):
        line = channel + (top + stride * y) * w
        source = columns[at + y * width : at + (y + 1) * width]
        target = image[line : line + w]
        if stride == 1:
            for x in range(lo, hi):
                target[left + x] += source[x]
        else:
            for x in range(lo, hi):
                target[left + stride * x] += source[x]


@_jit
def multiply(weights, columns, geometry, m, out):
    """Out ← Σ_u W_u columns: the outputs of one image before the bias.

    weights : (taps, m, K) flat; out : (m, h' w') flat
    """
    height, width, stride, taps = geometry[3], geometry[4], geometry[7], geometry[9]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(taps):
            W, meet = weights[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(False, False, m, pixels, terms, W, terms, meet, length, u > 0, out[y * width :], height * width)


@_jit
def multiply_back(weights, G, geometry, m, columns):
    """Columns ← Σ_u W_uᵀ G, each tap where it met them: gradient of the columns of one image."""
    height, width, stride, taps = geometry[3], geometry[4], geometry[7], geometry[9]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    if taps > 1:
        for i in range(len(columns)):
            columns[i] = 0
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(taps):
            W, meet = weights[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(True, False, terms, pixels, m, W, terms, G[y * width :], height * width, taps > 1, meet, length)


@_jit
def add_weights(G, columns, geometry, m, gradient):
    """Gradient of the weights, W_u + G columnsᵀ, in place: what one image adds.

    gradient : (taps, m, K) flat
    """
    height, width, stride, taps = geometry[3], geometry[4], geometry[7], geometry[9]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(taps):
            dW, meet = gradient[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(False, True, m, terms, pixels, G[y * width :], height * width, meet, length, True, dW, terms)


@_jit
def _strip(m, terms, height, width):
    """Rows of outputs at a time, so that products stay small."""
    return max(1, min(height, SMALL // (m * terms * width)))


@_jit
def _meeting(u, stride, rows, y):
    """The row of columns that tap u meets for the outputs of row y."""
    return u % stride * rows + u // stride + y


@_jit
def pack(weight, geometry, m, out):
    """Weights (m, c, kh, kw) in the order of products, (taps, m, K); both flat."""
    c, kh, kw, taps = geometry[0], geometry[5], geometry[6], geometry[9]
    for u in range(kh):
        for row in range(m * c):
            to = (u * m * c + row) * kw if taps > 1 else (row * kh + u) * kw
            for v in range(kw):
                out[to + v] = weight[(row * kh + u) * kw + v]


@_jit
def unpack(packed, geometry, m, out):
    """The way back of ``pack``."""
    c, kh, kw, taps = geometry[0], geometry[5], geometry[6], geometry[9]
    for u in range(kh):
        for row in range(m * c):
            at = (u * m * c + row) * kw if taps > 1 else (row * kh + u) * kw
            for v in range(kw):
                out[(row * kh + u) * kw + v] = packed[at + v]
