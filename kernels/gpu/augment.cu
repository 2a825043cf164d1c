// CUDA twin of reference/augment.py: random changes of images. A block of threads does one image after the other, in one
// pass: draw the field, smooth it along both axes in memory of the block's own, then a thread a pixel.

#define ZEROS 0
#define NUMBERS 12

struct counter {
    u32 k0, k1, stream, step;
};

// The image's own uniforms, four a thread.
__device__ __forceinline__ void uniforms(counter at, i64 row, double* u) {
    for (int b = threadIdx.x; b < NUMBERS / 4; b += blockDim.x) {
        words x = philox_block(row * (NUMBERS / 4) + b, 0, at.step, at.stream, at.k0, at.k1);
        for (int j = 0; j < 4; j++) u[4 * b + j] = (x.w[j] >> 8) * 5.9604644775390625e-8;
    }
}

// field ← 2u − 1, of a length that is whole blocks.
__device__ __forceinline__ void draw_field(counter at, i64 row, i64 blocks, real* field) {
    for (i64 b = threadIdx.x; b < blocks; b += blockDim.x) {
        words x = philox_block(row * blocks + b, 1, at.step, at.stream, at.k0, at.k1);
        for (int j = 0; j < 4; j++) field[4 * b + j] = (real)2 * unit24(x.w[j]) - (real)1;
    }
}

// out ← down · field · acrossᵀ for both axes; ``half`` is as large as they are. The matrices are symmetric.
__device__ __forceinline__ void smooth(const real* field, const real* down, const real* across, int h, int w, real* half,
                                       real* out) {
    for (int e = threadIdx.x; e < 2 * h * w; e += blockDim.x) {
        int p = e % (h * w), y = p / w, x = p % w;
        const real* own = field + (e - p);
        real sum = 0;
        for (int t = 0; t < h; t++) sum += down[y * h + t] * own[t * w + x];
        half[e] = sum;
    }
    __syncthreads();
    for (int e = threadIdx.x; e < 2 * h * w; e += blockDim.x) {
        int x = e % w;
        real sum = 0;
        for (int t = 0; t < w; t++) sum += half[e - x + t] * across[t * w + x];
        out[e] = sum;
    }
}

struct place {
    int y, x;
    real fy, fx;
};

// A place between the border's sides, as a whole pixel and what is left over.
__device__ __forceinline__ void split(double p, int border, int length, int* whole, real* left) {
    real low = border == ZEROS ? (real)-1 : (real)0, high = (real)(border == ZEROS ? length : length - 1), q = (real)p;
    q = q < low ? low : q > high ? high : q;
    real base = floor(q);
    *whole = (int)base;
    *left = q - base;
}

// Where pixel (y, x) comes from. strengths: shift, rotation in radians, scale
__device__ __forceinline__ place source_of(const double* u, double shift, double rotation, double scale, real elastic,
                                           const real* field, int h, int w, int y, int x, int border) {
    double angle = rotation * (2 * u[2] - 1), c = cos(angle), s = sin(angle);
    double ey = exp(scale * (2 * u[4] - 1)), ex = exp(scale * (2 * u[5] - 1));
    double cy = (h - 1) / 2.0, cx = (w - 1) / 2.0, qy = y - cy, qx = x - cx;
    double py = (ey * c * qy + ey * -s * qx) + (cy + shift * (2 * u[0] - 1));
    double px = (ex * s * qy + ex * c * qx) + (cx + shift * (2 * u[1] - 1));
    if (elastic != 0) {
        py += (double)(elastic * field[y * w + x]);
        px += (double)(elastic * field[h * w + y * w + x]);
    }
    place out;
    split(py, border, h, &out.y, &out.fy);
    split(px, border, w, &out.x, &out.fx);
    return out;
}

__device__ __forceinline__ real pixel(const real* image, int h, int w, int y, int x, int border) {
    if (border == ZEROS && (y < 0 || y >= h || x < 0 || x >= w)) return (real)0;
    y = y < 0 ? 0 : y >= h ? h - 1 : y;
    x = x < 0 ? 0 : x >= w ? w - 1 : x;
    return image[y * w + x];
}

// The mean of four pixels.
__device__ __forceinline__ real interpolate(const real* image, int h, int w, place p, int border) {
    real one = 1;
    real above = (one - p.fx) * pixel(image, h, w, p.y, p.x, border) + p.fx * pixel(image, h, w, p.y, p.x + 1, border);
    real below =
        (one - p.fx) * pixel(image, h, w, p.y + 1, p.x, border) + p.fx * pixel(image, h, w, p.y + 1, p.x + 1, border);
    return (one - p.fy) * above + p.fy * below;
}

// Whether a place lies in a rectangle's side, whose length and first place are whole numbers.
__device__ __forceinline__ bool within(double size, double first, int erase, int length, int at) {
    int extent = (int)(size * ((erase < length ? erase : length) + 1));
    int start = (int)(first * (length - extent + 1));
    return at >= start && at < start + extent;
}

__device__ __forceinline__ real noise_of(counter at, i64 row, i64 width, i64 e) {
    words x = philox_block((row * width + e) >> 1, 2, at.step, at.stream, at.k0, at.k1);
    return e & 1 ? normal_of(x.w[2], x.w[3]) : normal_of(x.w[0], x.w[1]);
}

// scratch: 3 × (2 h w, made whole blocks of random numbers) a block of threads
KERNEL augment(const real* __restrict__ X, const i64* __restrict__ rows, i64 n, int c, int h, int w, double shift,
               double rotation, double scale, real elastic, real noise, int erase, int border, int moved,
               const real* __restrict__ down, const real* __restrict__ across, u32 k0, u32 k1, u32 stream, u32 step,
               real* __restrict__ scratch, real* __restrict__ out) {
    __shared__ double u[NUMBERS];
    counter at = {k0, k1, stream, step};
    i64 blocks = (2 * h * w + 3) / 4, width = ((i64)c * h * w + 1) / 2 * 2;
    real *field = scratch + blockIdx.x * 12 * blocks, *half = field + 4 * blocks, *smoothed = half + 4 * blocks;
    for (i64 i = blockIdx.x; i < n; i += gridDim.x) {
        __syncthreads();  // the last image may still be read
        uniforms(at, rows[i], u);
        if (elastic != 0) {
            draw_field(at, rows[i], blocks, field);
            __syncthreads();
            smooth(field, down, across, h, w, half, smoothed);
        }
        __syncthreads();
        for (int p = threadIdx.x; p < h * w; p += blockDim.x) {
            int y = p / w, x = p % w;
            place from;
            // 1. move
            if (moved) from = source_of(u, shift, rotation, scale, elastic, smoothed, h, w, y, x, border);
            bool gone = erase && within(u[8], u[10], erase, h, y) && within(u[9], u[11], erase, w, x);
            for (int channel = 0; channel < c; channel++) {
                i64 e = (i64)channel * h * w + p;
                const real* image = X + i * c * h * w + (i64)channel * h * w;
                real value = moved ? interpolate(image, h, w, from, border) : image[p];
                // 2. noise
                if (noise != 0) value = value + noise * noise_of(at, rows[i], width, e);
                // 3. erase
                out[i * c * h * w + e] = gone ? (real)0 : value;
            }
        }
    }
}
