// CUDA twin of reference/conv.py: what surrounds the products of convolutions, pooling, up-sampling.
//
// A convolution and a transposed one have a large image, of c channels and h × w pixels, and a small one, of oh × ow
// pixels, in which every pixel stands for a window of the large one. *Columns* have all windows side by side:
//
//     columns[(c, u, v), (i, y, x)] = large[i, c, stride y + u − padding, stride x + v − padding]
//
// and *planes* a small image with its channels first: planes[o, (i, y, x)]. Either is made for a part of the rows,
// first … first + rows − 1; where rows belong to k groups, every group's share is a matrix of its own, one after the other.

struct share {
    i64 begin, rows;  // within the part
    int group;
};

__device__ __forceinline__ share share_of(const i64* begins, int k, i64 first, i64 rows, i64 i) {
    share own = {0, rows, 0};
    if (k > 1) {
        own.group = group_of(begins, k, first + i);
        i64 begin = begins[own.group] - first, end = begins[own.group + 1] - first;
        own.begin = begin > 0 ? begin : 0;
        own.rows = (end < rows ? end : rows) - own.begin;
    }
    return own;
}

// One thread, the kw columns of a row of the kernel.
KERNEL columns(const real* __restrict__ large, const i64* __restrict__ begins, int k, i64 first, i64 rows,
               real* __restrict__ out, int c, int h, int w, int kh, int kw, int oh, int ow, int stride, int padding) {
    i64 pixels = (i64)oh * ow;
    GRID_STRIDE(e, c * kh * rows * pixels) {
        i64 at, i, u, x, channel = divide(divide(divide(e, pixels, &at), rows, &i), kh, &u);
        int y = (int)divide(at, ow, &x) * stride + (int)u - padding;
        share own = share_of(begins, k, first, rows, i);
        const real* row = large + ((i * c + channel) * h + y) * w;
        i64 next = own.rows * pixels;
        real* to = out + own.begin * pixels * c * kh * kw + (channel * kh + u) * kw * next + (i - own.begin) * pixels + at;
        for (int v = 0; v < kw; v++) {
            int left = (int)x * stride + v - padding;
            to[v * next] = y >= 0 && y < h && left >= 0 && left < w ? row[left] : (real)0;
        }
    }
}

// large[i, c, y, x] = act(Σ of the columns that came from there, in the kernel's order, + bias); bias (k, c), or none.
KERNEL add_columns(const real* __restrict__ columns, const i64* __restrict__ begins, int k, i64 first, i64 rows,
                   const real* __restrict__ bias, int with_bias, int activation, real* __restrict__ large, int c, int h, int w,
                   int kh, int kw, int oh, int ow, int stride, int padding) {
    i64 pixels = (i64)oh * ow;
    GRID_STRIDE(e, rows * c * h * w) {
        i64 x, y, channel, i = divide(divide(divide(e, w, &x), h, &y), c, &channel);
        share own = share_of(begins, k, first, rows, i);
        i64 next = own.rows * pixels;
        const real* from = columns + own.begin * pixels * c * kh * kw + channel * kh * kw * next + (i - own.begin) * pixels;
        // Window (y', x') meets the pixel at place (u, v) of the kernel: stride y' + u = y + padding.
        int down = (int)y + padding, right = (int)x + padding;
        real sum = 0;
        for (int u = down % stride; u < kh && u <= down; u += stride) {
            int yy = (down - u) / stride;
            if (yy >= oh) continue;
            for (int v = right % stride; v < kw && v <= right; v += stride) {
                int xx = (right - v) / stride;
                if (xx < ow) sum += from[(u * kw + v) * next + yy * ow + xx];
            }
        }
        large[e] = activate_one(with_bias ? sum + bias[(i64)own.group * c + channel] : sum, activation);
    }
}

// small[i, o, ·] = act(planes[o, i, ·] + bias); bias (k, o), or none.
KERNEL from_planes(const real* __restrict__ planes, const i64* __restrict__ begins, int k, i64 first, i64 rows,
                   const real* __restrict__ bias, int with_bias, int activation, real* __restrict__ small, int o, i64 pixels) {
    GRID_STRIDE(e, rows * o * pixels) {
        i64 at, channel, i = divide(divide(e, pixels, &at), o, &channel);
        share own = share_of(begins, k, first, rows, i);
        real a = planes[own.begin * o * pixels + (channel * own.rows + i - own.begin) * pixels + at];
        small[e] = activate_one(with_bias ? a + bias[(i64)own.group * o + channel] : a, activation);
    }
}

// planes[o, i, ·] = small[i, o, ·].
KERNEL to_planes(const real* __restrict__ small, const i64* __restrict__ begins, int k, i64 first, i64 rows,
                 real* __restrict__ planes, int o, i64 pixels) {
    GRID_STRIDE(e, rows * o * pixels) {
        i64 at, channel, i = divide(divide(e, pixels, &at), o, &channel);
        share own = share_of(begins, k, first, rows, i);
        planes[own.begin * o * pixels + (channel * own.rows + i - own.begin) * pixels + at] = small[e];
    }
}

// -- pooling and up-sampling -------------------------------------------------------------------------

// The first largest pixel of a window, as u · size + v; NaN is the largest.
__device__ __forceinline__ int largest(const real* window, i64 w, int size, real* value) {
    int place = 0;
    *value = window[0];
    for (int u = 0; u < size; u++)
        for (int v = 0; v < size; v++) {
            real x = window[u * w + v];
            if (x > *value || (x != x && *value == *value)) {
                *value = x;
                place = u * size + v;
            }
        }
    return place;
}

KERNEL max_pool(const real* __restrict__ X, i64 planes, int h, int w, int oh, int ow, int size, int stride,
                real* __restrict__ Y) {
    GRID_STRIDE(e, planes * oh * ow) {
        i64 x, y, plane = divide(divide(e, ow, &x), oh, &y);
        real value;
        largest(X + (plane * h + y * stride) * w + x * stride, w, size, &value);
        Y[e] = value;
    }
}

// A thread looks at every window that has its pixel: no two write to one place.
KERNEL max_pool_backward(const real* __restrict__ G, const real* __restrict__ X, i64 planes, int h, int w, int oh, int ow,
                         int size, int stride, real* __restrict__ dX) {
    GRID_STRIDE(e, planes * h * w) {
        i64 x, y, plane = divide(divide(e, w, &x), h, &y);
        real sum = 0;
        for (int u = (int)y % stride; u < size && u <= y; u += stride) {
            int yy = ((int)y - u) / stride;
            if (yy >= oh) continue;
            for (int v = (int)x % stride; v < size && v <= x; v += stride) {
                int xx = ((int)x - v) / stride;
                if (xx >= ow) continue;
                // 1. the place of the largest pixel in its window
                real value;
                int place = largest(X + (plane * h + yy * stride) * w + xx * stride, w, size, &value);
                // 2. its gradient
                if (place == u * size + v) sum += G[(plane * oh + yy) * ow + xx];
            }
        }
        dX[e] = sum;
    }
}

KERNEL up_sample(const real* __restrict__ X, i64 planes, int h, int w, int factor, real* __restrict__ Y) {
    i64 wide = (i64)w * factor;
    GRID_STRIDE(e, planes * h * factor * wide) {
        i64 x, down, plane = divide(divide(e, wide, &x), (i64)h * factor, &down);
        Y[e] = X[(plane * h + down / factor) * w + x / factor];
    }
}

KERNEL up_sample_backward(const real* __restrict__ G, i64 planes, int h, int w, int factor, real* __restrict__ dX) {
    i64 wide = (i64)w * factor;
    GRID_STRIDE(e, planes * h * w) {
        i64 x, down = divide(e, w, &x);  // plane · h + y
        const real* square = G + down * factor * wide + x * factor;
        real sum = 0;
        for (int u = 0; u < factor; u++)
            for (int v = 0; v < factor; v++) sum += square[u * wide + v];
        dX[e] = sum;
    }
}
