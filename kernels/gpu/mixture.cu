// CUDA twin of reference/mixture.py: clusters as Gaussians about a subspace each.

// What column l of sample i adds to its own cluster j: w z_a z_b for l = a h + b < h², then w r, then w.
__device__ __forceinline__ double contribution(const real* Z, const real* residuals, const real* weights, i64 i, i64 j, i64 k,
                                               i64 h, i64 l) {
    real w = weights[i];
    if (l < h * h) {
        const real* z = Z + (i * k + j) * h;
        i64 b, a = divide(l, h, &b);
        // 1. coordinates
        return (double)(w * z[a] * z[b]);
    }
    // 2. what is left over
    // 3. weights
    return l == h * h ? (double)(w * residuals[i * k + j]) : (double)w;
}

// partial[c, j, l] = Σ of the contributions of chunk c's samples of cluster j, samples in order. A thread owns a
// column; its running sums of ``height`` clusters lie in shared memory.
KERNEL statistics(const real* __restrict__ Z, const real* __restrict__ residuals, const i64* __restrict__ s,
                  const real* __restrict__ weights, i64 n, int k, i64 h, i64 rows, i64 tiles, i64 chunks, int height,
                  double* __restrict__ partial) {
    extern __shared__ double running[];
    i64 groups = (k + height - 1) / height, width = h * h + 2;
    for (i64 b = blockIdx.x; b < tiles * chunks * groups; b += gridDim.x) {
        i64 l = b % tiles * blockDim.x + threadIdx.x, c = b / tiles % chunks;
        int low = (int)(b / (tiles * chunks)) * height, high = low + height < k ? low + height : k;
        for (int j = 0; j < high - low; j++) running[j * blockDim.x + threadIdx.x] = 0;
        i64 end = (c + 1) * rows < n ? (c + 1) * rows : n;
        if (l < width) {
            for (i64 i = c * rows; i < end; i++) {
                int j = (int)s[i];
                if (j >= low && j < high)
                    running[(j - low) * blockDim.x + threadIdx.x] += contribution(Z, residuals, weights, i, j, k, h, l);
            }
            for (int j = low; j < high; j++) partial[(c * k + j) * width + l] = running[(j - low) * blockDim.x + threadIdx.x];
        }
    }
}

KERNEL finish_statistics(const double* __restrict__ partial, i64 chunks, int k, i64 h, double* __restrict__ scatter,
                         double* __restrict__ noise, double* __restrict__ totals) {
    i64 width = h * h + 2;
    GRID_STRIDE(e, k * width) {
        double sum = 0;
        for (i64 c = 0; c < chunks; c++) sum += partial[c * k * width + e];
        i64 l, j = divide(e, width, &l);
        if (l < h * h)
            scatter[j * h * h + l] = sum;
        else if (l == h * h)
            noise[j] = sum;
        else
            totals[j] = sum;
    }
}

// A[i, j] from V = Σ⁻¹ z of every sample and cluster, (k, n, h); ``group`` lanes, a power of two, share one (i, j).
KERNEL costs(const real* __restrict__ Z, const real* __restrict__ V, const real* __restrict__ residuals,
             const real* __restrict__ inverse_noise, const real* __restrict__ constant, real* __restrict__ A, i64 n, i64 k,
             i64 h, int group) {
    int lane = threadIdx.x % group;
    i64 groups = (i64)gridDim.x * (blockDim.x / group), first = (i64)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    // Every lane of a warp makes the same number of rounds, since all of them take part in the exchange.
    for (i64 round = 0; round * groups < n * k; round++) {
        i64 e = round * groups + first, i = 0, j = 0;
        bool own = e < n * k;
        real within = 0;
        if (own) {
            i = divide(e, k, &j);
            for (i64 a = lane; a < h; a += group) within += V[(j * n + i) * h + a] * Z[e * h + a];
        }
        within = group_sum(within, group);
        // 3. cost
        if (own && lane == 0) A[e] = (real)0.5 * (within + residuals[e] * inverse_noise[j]) + constant[j];
    }
}
