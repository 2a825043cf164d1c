// CUDA twin of reference/instance.py: what lies between the products, and the memory bank.

// The largest of the values of a block's threads; every thread gets it. ``scratch``: 32 numbers.
__device__ __forceinline__ real block_max(real value, real* scratch) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int o = WARP / 2; o; o /= 2) {
        real other = __shfl_xor_sync(EVERY_LANE, value, o);
        value = other > value ? other : value;
    }
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    value = scratch[0];
    for (int w = 1; w < (int)blockDim.x / WARP; w++) value = scratch[w] > value ? scratch[w] : value;
    __syncthreads();  // the scratch may be used again
    return value;
}

// Σ over a block's threads; every thread gets it.
__device__ __forceinline__ double block_total(double value, double* scratch) {
    value = block_sum(value, scratch);
    if (threadIdx.x == 0) scratch[0] = value;
    __syncthreads();
    value = scratch[0];
    __syncthreads();
    return value;
}

// S ← w exp(s − highest) of a block of the bank, highest and total go on, shrink is what earlier sums are to be multiplied
// with. A block of threads a row.
KERNEL terms(real* __restrict__ S, const real* __restrict__ weights, i64 b, i64 m, double* __restrict__ highest,
             double* __restrict__ total, double* __restrict__ shrink) {
    __shared__ double scratch[32];
    __shared__ real largest[32];
    for (i64 i = blockIdx.x; i < b; i += gridDim.x) {
        real* s = S + i * m;
        // 2. relative to the largest so far
        real top = (real)highest[i];
        for (i64 l = threadIdx.x; l < m; l += blockDim.x) top = weights[l] > 0 && s[l] > top ? s[l] : top;
        top = block_max(top, largest);
        // 3. sums
        double sum = 0;
        for (i64 l = threadIdx.x; l < m; l += blockDim.x) {
            s[l] = weights[l] > 0 ? weights[l] * exp(s[l] - top) : (real)0;
            sum += (double)s[l];
        }
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) {
            shrink[i] = total[i] > 0 ? exp(highest[i] - (double)top) : 0.0;
            highest[i] = (double)top;
            total[i] = total[i] * shrink[i] + sum;
        }
    }
}

// 4. less the sample's own. A block of threads a sample.
KERNEL finish(const real* __restrict__ own, const i64* __restrict__ index, const real* __restrict__ bank,
              const real* __restrict__ weights, const real* __restrict__ background, i64 b, i64 d, i64 e, real temperature,
              const double* __restrict__ highest, const double* __restrict__ total, const double* __restrict__ pulled,
              real* __restrict__ losses, real* __restrict__ gradient) {
    __shared__ double scratch[32];
    for (i64 i = blockIdx.x; i < b; i += gridDim.x) {
        const real *v = bank + index[i] * d, *h = background + index[i] * e, *z = own + i * (d + e);
        real w = weights[index[i]] / temperature;
        double pull = 0;
        for (i64 l = threadIdx.x; l < d; l += blockDim.x) {
            pull += (double)(z[l] * v[l]);
            gradient[i * d + l] = w * ((real)(pulled[i * d + l] / total[i]) - v[l]);
        }
        for (i64 l = threadIdx.x; l < e; l += blockDim.x) pull += (double)(z[d + l] * h[l]);
        pull = block_sum(pull, scratch);
        if (threadIdx.x == 0) losses[i] = (real)(log(total[i]) + highest[i] - pull);
    }
}

// 1. columns of unit norm: F = √w A / norm, norm 1 instead of 0. A block of threads a column.
KERNEL unit_columns(const real* __restrict__ A, const real* __restrict__ weights, i64 b, i64 d, real* __restrict__ F,
                    real* __restrict__ norms) {
    __shared__ double scratch[32];
    for (i64 l = blockIdx.x; l < d; l += gridDim.x) {
        double sum = 0;
        for (i64 i = threadIdx.x; i < b; i += blockDim.x) {
            real f = sqrt(weights[i]) * A[i * d + l];
            F[i * d + l] = f;
            sum += (double)(f * f);
        }
        real norm = sqrt((real)block_total(sum, scratch));
        norm = norm > 0 ? norm : (real)1;
        for (i64 i = threadIdx.x; i < b; i += blockDim.x) F[i * d + l] /= norm;
        if (threadIdx.x == 0) norms[l] = norm;
    }
}

// 2. shares of correlations: C ← p, A ← 2 a q, and the column's loss. A block of threads a column.
KERNEL shares(real* __restrict__ C, real* __restrict__ A, i64 d, i64 e, real temperature, double* __restrict__ values) {
    __shared__ double scratch[32];
    __shared__ real largest[32];
    for (i64 l = blockIdx.x; l < d; l += gridDim.x) {
        real own = C[l * d + l] / temperature, top = own;
        for (i64 m = threadIdx.x; m < d; m += blockDim.x) {
            real c = C[m * d + l] / temperature;
            top = c > top ? c : top;
        }
        for (i64 m = threadIdx.x; m < e; m += blockDim.x) {
            real a = A[m * d + l], c = a * a / temperature;
            top = c > top ? c : top;
        }
        top = block_max(top, largest);
        double sum = 0;
        for (i64 m = threadIdx.x; m < d; m += blockDim.x) {
            C[m * d + l] = exp(C[m * d + l] / temperature - top);
            sum += (double)C[m * d + l];
        }
        for (i64 m = threadIdx.x; m < e; m += blockDim.x) {
            real a = A[m * d + l];
            sum += (double)exp(a * a / temperature - top);
        }
        real total = (real)block_total(sum, scratch);
        for (i64 m = threadIdx.x; m < d; m += blockDim.x) C[m * d + l] /= total;
        for (i64 m = threadIdx.x; m < e; m += blockDim.x) {
            real a = A[m * d + l];
            A[m * d + l] = 2 * a * (exp(a * a / temperature - top) / total);
        }
        if (threadIdx.x == 0) values[l] = (double)(log(total) + top - own);
    }
}

// out = P + Pᵀ − 2 · identity
KERNEL both_ways(const real* __restrict__ P, i64 d, real* __restrict__ out) {
    GRID_STRIDE(at, d * d) {
        i64 l, m = divide(at, d, &l);
        real sum = P[at] + P[l * d + m];
        out[at] = l == m ? sum - 2 : sum;
    }
}

// 3. back: G ← √w scale (g − f fᵀg) / norm. A block of threads a column.
KERNEL through_norm(real* __restrict__ G, const real* __restrict__ F, const real* __restrict__ norms,
                    const real* __restrict__ weights, i64 b, i64 d, real scale) {
    __shared__ double scratch[32];
    for (i64 l = blockIdx.x; l < d; l += gridDim.x) {
        double sum = 0;
        for (i64 i = threadIdx.x; i < b; i += blockDim.x) sum += (double)(F[i * d + l] * G[i * d + l]);
        real along = (real)block_total(sum, scratch);
        for (i64 i = threadIdx.x; i < b; i += blockDim.x)
            G[i * d + l] = sqrt(weights[i]) * scale * ((G[i * d + l] - F[i * d + l] * along) / norms[l]);
    }
}

// v ← momentum v + (1 − momentum) z, of unit norm; a warp a sample, all lanes of it together.
KERNEL update_bank(real* __restrict__ bank, const i64* __restrict__ index, const real* __restrict__ Z, i64 b, i64 d,
                   real momentum, real rest) {
    int lane = threadIdx.x % WARP;
    for (i64 i = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / WARP; i < b; i += gridDim.x * (i64)blockDim.x / WARP) {
        real *v = bank + index[i] * d, sum = 0;
        // 1. average
        for (i64 l = lane; l < d; l += WARP) {
            v[l] = momentum * v[l] + rest * Z[i * d + l];
            sum += v[l] * v[l];
        }
        // 2. unit norm
        real norm = sqrt(group_sum(sum, WARP));
        norm = norm > 0 ? norm : (real)1;
        for (i64 l = lane; l < d; l += WARP) v[l] /= norm;
    }
}
