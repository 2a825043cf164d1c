// CUDA twin of reference/norm.py: batch normalisation of rows that belong to k groups, and dropout.
//
// A row has f = c s numbers, channel after channel. Sums go over the rows of a group first, in chunks, feature by feature,
// so that neighbouring threads read neighbours whatever s is; then over chunks and positions. ``used`` (k, 2, c) has the
// means and variances of every group.

#define ACROSS WARP           // features of a block
#define DOWN (BLOCK / ACROSS)  // rows that it reads at once

// partial[((j · chunks + q) · 2 + a) · f + l] = Σ over the rows of chunk q of group j of the two numbers that
// ``term(j, begin of the group, place of the number, l, channel)`` gives, in double.
template <class Term>
__device__ __forceinline__ void feature_sums(const i64* begins, int k, i64 n, i64 c, i64 s, i64 rows, i64 chunks,
                                             double* partial, double (*scratch)[DOWN][ACROSS], Term term) {
    i64 f = c * s, tiles = (f + ACROSS - 1) / ACROSS;
    int lane = threadIdx.x % ACROSS, warp = threadIdx.x / ACROSS;
    for (i64 b = blockIdx.x; b < tiles * chunks * k; b += gridDim.x) {
        i64 q = b / tiles % chunks, l = b % tiles * ACROSS + lane;
        int j = (int)(b / (tiles * chunks));
        i64 begin = k > 1 ? begins[j] : 0, end = k > 1 ? begins[j + 1] : n;
        i64 last = begin + (q + 1) * rows < end ? begin + (q + 1) * rows : end;
        double first = 0, second = 0;
        if (l < f) {
            i64 channel = l / s;
            for (i64 i = begin + q * rows + warp; i < last; i += DOWN) term(j, begin, i * f + l, channel, &first, &second);
        }
        scratch[0][warp][lane] = first;
        scratch[1][warp][lane] = second;
        __syncthreads();
        if (warp < 2 && l < f) {
            double sum = 0;
            for (int d = 0; d < DOWN; d++) sum += scratch[warp][d][lane];
            partial[((j * chunks + q) * 2 + warp) * f + l] = sum;
        }
        __syncthreads();  // the scratch may be used again
    }
}

__device__ __forceinline__ real inverse_deviation(real variance, real eps) { return (real)1 / sqrt(variance + eps); }

// Σ (x − x₀) and Σ (x − x₀)², x₀ the channel's first value of the group. The variance is a difference of squares, but as x₀ is
// one of the m values, m (x₀ − μ)² ≤ m Σ (x − μ)²: at worst m times the rounding of double, a few times it where x₀ is
// a usual value.
KERNEL moments(const real* __restrict__ X, const i64* __restrict__ begins, int k, i64 n, i64 c, i64 s, i64 rows, i64 chunks,
               double* __restrict__ partial) {
    __shared__ double scratch[2][DOWN][ACROSS];
    feature_sums(begins, k, n, c, s, rows, chunks, partial, scratch,
                 [=](int j, i64 begin, i64 at, i64 channel, double* first, double* second) {
                     double x = (double)X[at] - (double)X[begin * c * s + channel * s];
                     *first += x;
                     *second += x * x;
                 });
}

// Σ G x̂ and Σ G.
KERNEL products(const real* __restrict__ G, const real* __restrict__ X, const real* __restrict__ used, real eps,
                const i64* __restrict__ begins, int k, i64 n, i64 c, i64 s, i64 rows, i64 chunks, double* __restrict__ partial) {
    __shared__ double scratch[2][DOWN][ACROSS];
    feature_sums(begins, k, n, c, s, rows, chunks, partial, scratch,
                 [=](int j, i64 begin, i64 at, i64 channel, double* first, double* second) {
                     const real* own = used + 2 * j * c + channel;
                     real g = G[at];
                     *first += (double)(g * ((X[at] - own[0]) * inverse_deviation(own[c], eps)));
                     *second += (double)g;
                 });
}

// 0 and Σ G.
KERNEL totals(const real* __restrict__ G, const i64* __restrict__ begins, int k, i64 n, i64 c, i64 s, i64 rows, i64 chunks,
              double* __restrict__ partial) {
    __shared__ double scratch[2][DOWN][ACROSS];
    feature_sums(begins, k, n, c, s, rows, chunks, partial, scratch,
                 [=](int j, i64 begin, i64 at, i64 channel, double* first, double* second) { *second += (double)G[at]; });
}

// Σ over chunks and positions of one of a channel's two sums; all lanes of a warp take part and get it.
__device__ __forceinline__ double channel_sum(const double* partial, i64 j, int which, i64 channel, i64 c, i64 s, i64 chunks) {
    double sum = 0;
    for (i64 t = threadIdx.x % WARP; t < chunks * s; t += WARP) {
        i64 at, q = divide(t, s, &at);
        sum += partial[((j * chunks + q) * 2 + which) * c * s + channel * s + at];
    }
    for (int o = WARP / 2; o; o /= 2) sum += __shfl_xor_sync(EVERY_LANE, sum, o);
    return sum;
}

// A warp a channel of a group: ``used`` ← mean and variance of its m values, and running ← keep running + (1 − keep) new,
// the new variance unbiased, where m ≥ least; else used ← running. running (2, k, c).
KERNEL finish_moments(const double* __restrict__ partial, const real* __restrict__ X, const i64* __restrict__ begins, int k,
                      i64 n, i64 c, i64 s, i64 chunks, i64 least, real keep, real momentum, real* __restrict__ running,
                      real* __restrict__ used) {
    i64 warps = (i64)gridDim.x * (BLOCK / WARP);
    for (i64 e = blockIdx.x * (i64)(BLOCK / WARP) + threadIdx.x / WARP; e < k * c; e += warps) {
        i64 channel, j = divide(e, c, &channel);
        i64 begin = k > 1 ? begins[j] : 0, m = ((k > 1 ? begins[j + 1] : n) - begin) * s;
        real *mean = running + e, *variance = running + k * c + e, *own = used + 2 * j * c + channel;
        if (m < least) {
            if (threadIdx.x % WARP == 0) {
                own[0] = *mean;
                own[c] = *variance;
            }
            continue;  // with its whole warp
        }
        double first = channel_sum(partial, j, 0, channel, c, s, chunks) / m;
        double second = channel_sum(partial, j, 1, channel, c, s, chunks) / m - first * first;
        if (threadIdx.x % WARP == 0) {
            // 1. mean
            own[0] = (real)((double)X[begin * c * s + channel * s] + first);
            // 2. variance
            own[c] = (real)(second > 0 ? second : second == second ? 0 : second);
            *mean = keep * *mean + momentum * own[0];
            *variance = keep * *variance + momentum * (own[c] * (real)((double)m / (double)(m > 1 ? m - 1 : 1)));
        }
    }
}

// first, second (k, c) ← the two sums, of which the first is wanted for ``both`` only.
KERNEL finish_sums(const double* __restrict__ partial, i64 k, i64 c, i64 s, i64 chunks, int both, real* __restrict__ first,
                   real* __restrict__ second) {
    i64 warps = (i64)gridDim.x * (BLOCK / WARP);
    for (i64 e = blockIdx.x * (i64)(BLOCK / WARP) + threadIdx.x / WARP; e < k * c; e += warps) {
        i64 channel, j = divide(e, c, &channel);
        double one = both ? channel_sum(partial, j, 0, channel, c, s, chunks) : 0;
        double other = channel_sum(partial, j, 1, channel, c, s, chunks);
        if (threadIdx.x % WARP == 0) {
            if (both) first[e] = (real)one;
            second[e] = (real)other;
        }
    }
}

// Y = act(γ (x − μ) / √(σ² + ε) + β).
KERNEL normalize(const real* __restrict__ X, const real* __restrict__ used, const real* __restrict__ gamma,
                 const real* __restrict__ beta, const i64* __restrict__ begins, int k, i64 n, i64 c, i64 s, real eps,
                 int activation, real* __restrict__ Y) {
    GRID_STRIDE(e, n * c * s) {
        i64 at, channel, i = divide(divide(e, s, &at), c, &channel), j = group_of(begins, k, i);
        const real* own = used + 2 * j * c + channel;
        // 1. normalise
        real normalised = (X[e] - own[0]) * inverse_deviation(own[c], eps);
        // 2. scale and shift
        Y[e] = activate_one(gamma[j * c + channel] * normalised + beta[j * c + channel], activation);
    }
}

// ∂X from the sums ∂γ = Σ G x̂ and ∂β = Σ G; groups of m ≥ least values are coupled by their statistics.
KERNEL normalize_back(const real* __restrict__ G, const real* __restrict__ X, const real* __restrict__ used,
                      const real* __restrict__ gamma, const real* __restrict__ dgamma, const real* __restrict__ dbeta,
                      const i64* __restrict__ begins, int k, i64 n, i64 c, i64 s, real eps, i64 least, real* __restrict__ dX) {
    GRID_STRIDE(e, n * c * s) {
        i64 at, channel, i = divide(divide(e, s, &at), c, &channel), j = group_of(begins, k, i), l = j * c + channel;
        i64 m = (k > 1 ? begins[j + 1] - begins[j] : n) * s;
        const real* own = used + 2 * j * c + channel;
        real deviation = inverse_deviation(own[c], eps), g = G[e];
        if (m >= least) g = g - (dbeta[l] + (X[e] - own[0]) * deviation * dgamma[l]) / (real)m;
        dX[e] = gamma[l] * deviation * g;
    }
}

// -- dropout -----------------------------------------------------------------------------------------

// Y = x · scale where u ≥ rate, else 0. One thread, one block of four words; the elements that are the row's own.
KERNEL dropout(const real* __restrict__ X, real rate, real scale, u32 k0, u32 k1, u32 stream, u32 step,
               const i64* __restrict__ rows, i64 n, i64 width, i64 per_row, real* __restrict__ Y) {
    GRID_STRIDE(t, n * per_row) {
        i64 q, r = divide(t, per_row, &q), element = rows[r] * width, block = (element >> 2) + q;
        i64 begin = 4 * block - element;
        if (begin >= width) continue;
        // 1. random numbers
        words u = philox_block(block, 0, step, stream, k0, k1);
        // 2. what is kept, so much larger that the mean stays
        const real* x = X + r * width + begin;
        real* y = Y + r * width + begin;
        if (begin >= 0 && begin + 4 <= width && aligned(x) && aligned(y)) {
            for (int p = 0; p < 4 / LANES; p++) {
                vec values = ((const vec*)x)[p];
                for (int l = 0; l < LANES; l++)
                    values.v[l] = unit24(u.w[p * LANES + l]) >= rate ? values.v[l] * scale : (real)0;
                ((vec*)y)[p] = values;
            }
        } else {
            for (int l = 0; l < 4; l++)
                if (begin + l >= 0 && begin + l < width) y[l] = unit24(u.w[l]) >= rate ? x[l] * scale : (real)0;
        }
    }
}

// -- the unit sphere: a warp a row, all lanes of it together -------------------------------------------

#define WARPS_STRIDE(i, n)                                                                              \
    for (i64 i = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / WARP; i < (n); i += gridDim.x * (i64)blockDim.x / WARP)

KERNEL unit_rows(const real* __restrict__ X, i64 n, i64 d, real* __restrict__ V, real* __restrict__ norms) {
    int lane = threadIdx.x % WARP;
    WARPS_STRIDE(i, n) {
        real sum = 0;
        for (i64 l = lane; l < d; l += WARP) sum += X[i * d + l] * X[i * d + l];
        real norm = sqrt(group_sum(sum, WARP));
        norm = norm > 0 ? norm : (real)1;
        for (i64 l = lane; l < d; l += WARP) V[i * d + l] = X[i * d + l] / norm;
        if (lane == 0) norms[i] = norm;
    }
}

KERNEL unit_rows_gradient(const real* __restrict__ G, const real* __restrict__ V, const real* __restrict__ norms, i64 n,
                          i64 d, real* __restrict__ dX) {
    int lane = threadIdx.x % WARP;
    WARPS_STRIDE(i, n) {
        real sum = 0;
        for (i64 l = lane; l < d; l += WARP) sum += V[i * d + l] * G[i * d + l];
        sum = group_sum(sum, WARP);
        for (i64 l = lane; l < d; l += WARP) dX[i * d + l] = (G[i * d + l] - V[i * d + l] * sum) / norms[i];
    }
}
