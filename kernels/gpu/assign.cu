// CUDA twin of reference/assign.py: argmin by warp reduction, segmented sums in fixed order.

#define INFINITE __longlong_as_double(0x7ff0000000000000ll)

// The lower cost, ties to the lower cluster; NaN is never lower.
__device__ __forceinline__ void keep_lower(real* best, int* at, real other, int other_at) {
    if (other < *best || (other == *best && other_at < *at)) {
        *best = other;
        *at = other_at;
    }
}

// ``group`` lanes, a power of two, share a row; every lane holds UNROLL rows so that loads are under way together.
#define UNROLL 4
KERNEL assign(const real* __restrict__ costs, i64* __restrict__ s, i64 n, int k, int group) {
    int lane = threadIdx.x % group;
    i64 groups = (i64)gridDim.x * (blockDim.x / group);
    i64 stride = groups * UNROLL, first = (i64)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    // Every lane of a warp makes the same number of rounds, since all of them take part in the exchange.
    for (i64 round = 0; round * stride < n; round++) {
        real best[UNROLL];
        int at[UNROLL];
        for (int u = 0; u < UNROLL; u++) {
            best[u] = (real)INFINITE;
            at[u] = k;
        }
        for (int j = lane; j < k; j += group) {
            real cost[UNROLL];
            for (int u = 0; u < UNROLL; u++) {
                i64 i = round * stride + u * groups + first;
                cost[u] = i < n ? costs[i * k + j] : (real)INFINITE;
            }
            for (int u = 0; u < UNROLL; u++)
                if (cost[u] < best[u]) {
                    best[u] = cost[u];
                    at[u] = j;
                }
        }
        // 1. lowest cost
        for (int o = group / 2; o; o /= 2)
            for (int u = 0; u < UNROLL; u++)
                keep_lower(&best[u], &at[u], __shfl_xor_sync(EVERY_LANE, best[u], o), __shfl_xor_sync(EVERY_LANE, at[u], o));
        for (int u = 0; u < UNROLL; u++) {
            i64 i = round * stride + u * groups + first;
            if (lane == 0 && i < n) s[i] = at[u] < k ? at[u] : 0;  // a row of nothing but NaN and +∞
        }
    }
}

// A warp a row: differences in double, four clusters at a time so that a row is read k / 4 times.
#define TOGETHER 4
KERNEL nearest(const real* __restrict__ X, const double* __restrict__ centers, i64* __restrict__ s, i64 n, i64 d, int k) {
    int lane = threadIdx.x % WARP;
    i64 warps = (i64)gridDim.x * (blockDim.x / WARP), first = (i64)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    for (i64 i = first; i < n; i += warps) {
        double best = INFINITE;
        int at = 0;
        for (int j = 0; j < k; j += TOGETHER) {
            // 1. squared distance
            double distance[TOGETHER] = {0, 0, 0, 0};
            for (i64 l = lane; l < d; l += WARP) {
                double x = (double)X[i * d + l];
                for (int m = 0; m < TOGETHER; m++) {
                    double difference = x - centers[(j + m < k ? j + m : j) * d + l];
                    distance[m] += difference * difference;
                }
            }
            for (int m = 0; m < TOGETHER; m++)
                for (int o = WARP / 2; o; o /= 2) distance[m] += __shfl_xor_sync(EVERY_LANE, distance[m], o);
            // 2. lowest cost
            for (int m = 0; m < TOGETHER && j + m < k; m++)
                if (distance[m] < best) {
                    best = distance[m];
                    at = j + m;
                }
        }
        if (lane == 0) s[i] = at;
    }
}

// partial[c, :] = Σ w L[i, s_i] and Σ w of the rows of chunk c.
KERNEL objective(const real* __restrict__ losses, const i64* __restrict__ s, const real* __restrict__ weights, i64 n,
                 int k, i64 rows, double* __restrict__ partial) {
    __shared__ double scratch[WARP];
    for (i64 c = blockIdx.x; c * rows < n; c += gridDim.x) {
        double loss = 0, weight = 0;
        i64 end = (c + 1) * rows < n ? (c + 1) * rows : n;
        for (i64 i = c * rows + threadIdx.x; i < end; i += blockDim.x) {
            // 1. assigned losses
            real assigned = losses[i * k + s[i]];
            // 2. sums
            loss += (double)(weights[i] * assigned);
            weight += (double)weights[i];
        }
        loss = block_sum(loss, scratch);
        weight = block_sum(weight, scratch);
        if (threadIdx.x == 0) {
            partial[2 * c] = loss;
            partial[2 * c + 1] = weight;
        }
    }
}

// out[f] = Σ_c partial[c, f] of one block's width, in fixed order.
KERNEL add_partials(const double* __restrict__ partial, i64 chunks, int width, double* __restrict__ out) {
    __shared__ double scratch[WARP];
    for (int f = 0; f < width; f++) {
        double sum = 0;
        for (i64 c = threadIdx.x; c < chunks; c += blockDim.x) sum += partial[c * width + f];
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) out[f] = sum;
    }
}

// What column l of sample i adds to its cluster: w x for l < d, then w, then 1 where w > 0 (exact in double).
__device__ __forceinline__ double contribution(const real* X, i64 d, i64 i, i64 l, real w) {
    return l < d ? (double)(w * X[i * d + l]) : l == d ? (double)w : (w > 0 ? 1.0 : 0.0);
}

// partial[c, j, l] = Σ of the contributions of chunk c's samples in cluster j, samples in order. A thread owns a
// column; its k running sums lie in shared memory. Blocks: tiles of columns × chunks × groups of ``height`` clusters.
KERNEL cluster_sums(const real* __restrict__ X, const i64* __restrict__ s, const real* __restrict__ weights, i64 n, i64 d,
                    int k, i64 rows, i64 tiles, i64 chunks, int height, double* __restrict__ partial) {
    extern __shared__ double running[];
    i64 groups = (k + height - 1) / height;
    for (i64 b = blockIdx.x; b < tiles * chunks * groups; b += gridDim.x) {
        i64 l = b % tiles * blockDim.x + threadIdx.x, c = b / tiles % chunks;
        int low = (int)(b / (tiles * chunks)) * height, high = low + height < k ? low + height : k;
        for (int j = 0; j < high - low; j++) running[j * blockDim.x + threadIdx.x] = 0;
        i64 end = (c + 1) * rows < n ? (c + 1) * rows : n;
        if (l < d + 2) {
#pragma unroll 4
            for (i64 i = c * rows; i < end; i++) {
                int j = (int)s[i];
                // 1. sums
                // 2. counts
                if (j >= low && j < high) running[(j - low) * blockDim.x + threadIdx.x] += contribution(X, d, i, l, weights[i]);
            }
            for (int j = low; j < high; j++) partial[(c * k + j) * (d + 2) + l] = running[(j - low) * blockDim.x + threadIdx.x];
        }
    }
}

KERNEL finish_sums(const double* __restrict__ partial, i64 chunks, int k, i64 d, double* __restrict__ sums,
                   double* __restrict__ totals, i64* __restrict__ counts) {
    GRID_STRIDE(e, k * (d + 2)) {
        double sum = 0;
        for (i64 c = 0; c < chunks; c++) sum += partial[c * k * (d + 2) + e];
        i64 l, j = divide(e, d + 2, &l);
        if (l < d)
            sums[j * d + l] = sum;
        else if (l == d)
            totals[j] = sum;
        else
            counts[j] = (i64)sum;
    }
}

// assign[index] ← new, the old one kept; moved += how many with weight changed (integers: the order does not matter).
KERNEL relabel(const i64* __restrict__ index, const i64* __restrict__ fresh, i64* __restrict__ s, i64* __restrict__ old,
               const real* __restrict__ weights, i64 b, u64* __restrict__ moved) {
    GRID_STRIDE(r, b) {
        i64 before = s[index[r]];
        old[r] = before;
        if (before != fresh[r]) {
            s[index[r]] = fresh[r];
            if (weights[r] > 0) atomicAdd(moved, 1ull);
        }
    }
}

// partial[c, 0, j, l] and partial[c, 1, j, l]: what leaves and what enters cluster j in chunk c. As ``cluster_sums``,
// with two running sums a cluster; rows that stay cost one comparison.
KERNEL moves(const real* __restrict__ X, const i64* __restrict__ old, const i64* __restrict__ fresh,
             const real* __restrict__ weights, i64 b, i64 d, int k, i64 rows, i64 tiles, i64 chunks, int height,
             double* __restrict__ partial) {
    extern __shared__ double running[];
    i64 groups = (k + height - 1) / height;
    for (i64 t = blockIdx.x; t < tiles * chunks * groups; t += gridDim.x) {
        i64 l = t % tiles * blockDim.x + threadIdx.x, c = t / tiles % chunks;
        int low = (int)(t / (tiles * chunks)) * height, high = low + height < k ? low + height : k;
        double* out = running + threadIdx.x;
        double* in = out + (i64)height * blockDim.x;
        for (int j = 0; j < high - low; j++) out[j * blockDim.x] = in[j * blockDim.x] = 0;
        i64 end = (c + 1) * rows < b ? (c + 1) * rows : b;
        if (l < d + 2) {
            for (i64 r = c * rows; r < end; r++) {
                int from = (int)old[r], to = (int)fresh[r];
                if (from == to) continue;
                double value = contribution(X, d, r, l, weights[r]);
                if (from >= low && from < high) out[(from - low) * blockDim.x] += value;
                if (to >= low && to < high) in[(to - low) * blockDim.x] += value;
            }
            for (int j = low; j < high; j++) {
                partial[(c * 2 * k + j) * (d + 2) + l] = out[(j - low) * blockDim.x];
                partial[((c * 2 + 1) * k + j) * (d + 2) + l] = in[(j - low) * blockDim.x];
            }
        }
    }
}

// delta[side, j, l] = Σ_c partial[c, side, j, l].
KERNEL add_moves(const double* __restrict__ partial, i64 chunks, i64 width, double* __restrict__ delta) {
    GRID_STRIDE(e, width) {
        double sum = 0;
        for (i64 c = 0; c < chunks; c++) sum += partial[c * width + e];
        delta[e] = sum;
    }
}

// sums and totals first, counts by ``finish_counts``: every column looks at the counts before they change.
KERNEL finish_move(const double* __restrict__ delta, int k, i64 d, double* __restrict__ sums, double* __restrict__ totals,
                   const i64* __restrict__ counts) {
    GRID_STRIDE(e, k * (d + 1)) {
        i64 l, j = divide(e, d + 1, &l), at = j * (d + 2) + l;
        double* sum = l < d ? sums + j * d + l : totals + j;
        // 1. out of the old cluster
        double value = *sum - delta[at];
        i64 left = (i64)delta[j * (d + 2) + d + 1];
        // 2. an empty cluster is exactly zero
        if (left > 0 && counts[j] == left) value = 0;
        // 3. into the new cluster
        *sum = value + delta[(i64)k * (d + 2) + at];
    }
}

KERNEL finish_counts(const double* __restrict__ delta, int k, i64 d, i64* __restrict__ counts) {
    GRID_STRIDE(j, k) {
        i64 at = j * (d + 2) + d + 1;
        counts[j] += (i64)delta[(i64)k * (d + 2) + at] - (i64)delta[at];
    }
}

KERNEL means(const double* __restrict__ sums, const double* __restrict__ totals, double* __restrict__ centers, int k, i64 d,
             i64 b) {
    GRID_STRIDE(e, k * d) {
        i64 l, j = divide(e, d, &l);
        // 1. means of the clusters that have weight
        if (totals[j] > 0) centers[e] = (b * centers[e] + sums[e] / totals[j]) / (b + 1);
    }
}
