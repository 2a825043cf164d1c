"""What turns a convolution of one image into products: its pixels in columns, one for each output pixel.

Of a kernel's kh × kw places only the kw of one row are laid out (a place's copy of the image is shifted sideways); the
kernel's other rows meet the same columns some rows of outputs later. So

    Y = Σ_u W_u columns[:, from u on],    W_u (o, c kw),    columns (c kw, rows of all phases × w')

with a product for each of kh taps, and columns are kh times fewer than in the textbook's form, which has one product
and all kh × kw places. (Where channels are few, products over c kw numbers would be too thin: see ``direct``.) A
stride's phases (input rows 0, s, 2s, …, then 1, s + 1, …) lie one after the other.

Columns are copied, line by line, from the *combed* image: for a stride s, pixels 0, s, 2s, … of every line, then pixels
1, s + 1, …, so that no copy has a stride. What lies outside of the image is 0: columns begin as zeros, and those places
are never written.

Flags are bool(1) and bool(0), for whatever is given literals is compiled for each of them.
Everything is flat, of one float dtype: image (c h w), columns (K L), weights (kh, o, K), outputs (o, h' w').
"""

from numba import types

from .._engine.jit import jit
from .gemm import SMALL, gemm
from .lines import clear
from .transpose import transpose

# A line is too short for a loop of vectors: .1 ns a number instead of .3.
_memcpy = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))


def plan(image, size, kernel, stride, padding):
    """Geometry of a convolution, as all functions here take it: a tuple of ints.

    image : (c, h, w); size : (h', w'); kernel : (kh, kw)
    returns (c, h, w, h', w', kh, kw, stride, padding)
    """
    return tuple(int(m) for m in (*image, *size, *kernel, stride, padding))


@jit
def extent(geometry):
    """(K, rows of a phase, L): terms of a product's sums, and how columns lie."""
    c, _, _, height, width, kh, kw, stride, _ = geometry
    rows = height + (kh - 1) // stride
    return c * kw, rows, min(kh, stride) * rows * width


@jit
def comb(image, lines, width, stride, out):
    """Out ← of every line the pixels 0, s, 2s, …, in a part of their own, then pixels 1, s + 1, ….

    out : (stride, lines, ⌈width / stride⌉) flat
    """
    if stride == 2 and width % 2 == 0:
        even, odd = out[: lines * width // 2], out[lines * width // 2 :]
        for i in range(len(even)):
            even[i] = image[2 * i]
            odd[i] = image[2 * i + 1]
        return
    pitch = (width + stride - 1) // stride
    for phase in range(stride):
        for y in range(lines):
            for x in range((width - phase + stride - 1) // stride):
                out[(phase * lines + y) * pitch + x] = image[y * width + phase + stride * x]


@jit
def uncomb(combed, lines, width, stride, image):
    """The way back of ``comb``."""
    if stride == 2 and width % 2 == 0:
        even, odd = combed[: lines * width // 2], combed[lines * width // 2 :]
        for i in range(len(even)):
            image[2 * i] = even[i]
            image[2 * i + 1] = odd[i]
        return
    pitch = (width + stride - 1) // stride
    for phase in range(stride):
        for y in range(lines):
            for x in range((width - phase + stride - 1) // stride):
                image[y * width + phase + stride * x] = combed[(phase * lines + y) * pitch + x]


@jit
def _within(first, stride, size, count):
    """(lo, hi) : which of the places first, first + stride, …, ``count`` of them, lie in 0 … size − 1."""
    lo = 0 if first >= 0 else (-first + stride - 1) // stride
    hi = min((size - first + stride - 1) // stride if size > first else 0, count)
    return min(lo, hi), hi


@jit
def lay_out(combed, geometry, columns):
    """Columns, zeros before, of a combed image."""
    _visit(combed, geometry, columns, bool(1))


@jit
def add_up(columns, geometry, combed):
    """Combed ← of every pixel the sum of the numbers of all columns in which it was: the adjoint of ``lay_out``."""
    clear(combed)
    _visit(combed, geometry, columns, bool(0))


@jit
def _visit(combed, geometry, columns, there):
    """Every line that image and columns have in common, copied there or added back."""
    c, h, w, _, width, kh, kw, stride, padding = geometry
    pitch, (_, rows, length) = (w + stride - 1) // stride, extent(geometry)
    for v in range(kw):
        lo, hi = _within(v - padding, stride, w, width)
        # Pixel v − p + s x is pixel skip + x of the part (v − p) mod s.
        part, skip = (v - padding) % stride, (v - padding) // stride
        for phase in range(min(kh, stride)):
            top = phase - padding
            first, last = _within(top, stride, h, rows)
            source = (part * c * h + top + stride * first) * pitch + skip + lo
            at = v * length + (phase * rows + first) * width + lo
            steps = h * pitch, stride * pitch, kw * length, width
            if hi > lo:
                move(combed, source, columns, at, c, last - first, hi - lo, steps, there)


@jit
def move(combed, source, columns, at, channels, lines, size, steps, there):
    """Lines of ``size`` numbers of all channels, copied to columns, or added back.

    steps : numbers from a channel to the next and from a line to the next in the image, and in columns
    """
    channel_step, line_step, columns_channel, columns_line = steps
    size_of = columns.itemsize
    for channel in range(channels):
        one, other = source + channel * channel_step, at + channel * columns_channel
        for _ in range(lines):
            if there:
                _memcpy(columns.ctypes.data + other * size_of, combed.ctypes.data + one * size_of, size * size_of)
            else:
                add(columns[other : other + size], combed[one : one + size])
            one, other = one + line_step, other + columns_line


@jit
def add(values, to):
    for x in range(len(to)):
        to[x] += values[x]


@jit
def multiply(weights, columns, geometry, m, out):
    """Out ← Σ_u W_u columns: the outputs of one image before the bias.

    weights : (kh, m, K) flat; out : (m, h' w') flat
    """
    height, width, kh, stride = geometry[3], geometry[4], geometry[5], geometry[7]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(kh):
            W, meet = weights[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(bool(0), bool(0), m, pixels, terms, W, terms, meet, length, u > 0, out[y * width :], height * width)


@jit
def multiply_back(weights, G, geometry, m, columns):
    """Columns ← Σ_u W_uᵀ G, each tap where it met them: gradient of the columns of one image."""
    height, width, kh, stride = geometry[3], geometry[4], geometry[5], geometry[7]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    clear(columns)
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(kh):
            W, meet = weights[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(bool(1), bool(0), terms, pixels, m, W, terms, G[y * width :], height * width, bool(1), meet, length)


@jit
def add_weights(G, turned, columns, geometry, m, gradient):
    """Gradient of the weights, what one image adds, in place: columns Gᵀ of every tap.

    Faster than G columnsᵀ by more than it takes to turn G.

    G : (m, h' w') flat; turned : Gᵀ flat, to be overwritten; gradient : (kh, K, m) flat
    """
    height, width, kh, stride = geometry[3], geometry[4], geometry[5], geometry[7]
    terms, rows, length = extent(geometry)
    strip = _strip(m, terms, height, width)
    transpose(G, m, turned)
    for y in range(0, height, strip):
        pixels = (min(y + strip, height) - y) * width
        for u in range(kh):
            dW, meet = gradient[u * m * terms :], columns[_meeting(u, stride, rows, y) * width :]
            gemm(bool(0), bool(0), terms, m, pixels, meet, length, turned[y * width * m :], m, bool(1), dW, m)


@jit
def _strip(m, terms, height, width):
    """Rows of outputs at a time, so that products stay small."""
    return max(1, min(height, SMALL // (m * terms * width)))


@jit
def _meeting(u, stride, rows, y):
    """The row of columns that tap u meets for the outputs of row y."""
    return u % stride * rows + u // stride + y
