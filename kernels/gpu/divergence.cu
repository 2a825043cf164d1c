// CUDA twin of reference/divergence.py: passes around the products of divergences, kernels and distances of tensors.

// -- assignments: a thread owns a row, whose k numbers are few -----------------------------------------

__device__ __forceinline__ real largest(const real* a, i64 k) {
    real most = a[0];
    for (i64 j = 1; j < k; j++) most = a[j] > most ? a[j] : most;
    return most;
}

KERNEL soft_assignments(const real* __restrict__ logits, i64 n, i64 k, real* __restrict__ A) {
    GRID_STRIDE(i, n) {
        const real* a = logits + i * k;
        real *out = A + i * k, most = largest(a, k), sum = 0;
        for (i64 j = 0; j < k; j++) sum += out[j] = exp(a[j] - most);
        for (i64 j = 0; j < k; j++) out[j] /= sum;
    }
}

KERNEL soft_assignments_gradient(const real* __restrict__ G, const real* __restrict__ A, i64 n, i64 k, real* __restrict__ out) {
    GRID_STRIDE(i, n) {
        const real *g = G + i * k, *a = A + i * k;
        real sum = 0;
        for (i64 j = 0; j < k; j++) sum += g[j] * a[j];
        for (i64 j = 0; j < k; j++) out[i * k + j] = a[j] * (g[j] - sum);
    }
}

// log Σ exp a
__device__ __forceinline__ real log_total(const real* a, i64 k, real most) {
    real sum = 0;
    for (i64 j = 0; j < k; j++) sum += exp(a[j] - most);
    return log(sum);
}

KERNEL invariance(const real* __restrict__ logits, const real* __restrict__ other, i64 n, i64 k, real* __restrict__ losses,
                  real* __restrict__ dlogits, real* __restrict__ dother) {
    GRID_STRIDE(i, n) {
        const real *a = logits + i * k, *b = other + i * k;
        real *da = dlogits + i * k, *db = dother + i * k;
        // 1. log A, log A' and log Σ A A'
        real most_a = largest(a, k), most_b = largest(b, k), total_a = log_total(a, k, most_a), total_b = log_total(b, k, most_b);
        for (i64 j = 0; j < k; j++) {
            da[j] = (a[j] - most_a) - total_a;
            db[j] = (b[j] - most_b) - total_b;
        }
        real most = da[0] + db[0], sum = 0;
        for (i64 j = 1; j < k; j++) most = da[j] + db[j] > most ? da[j] + db[j] : most;
        for (i64 j = 0; j < k; j++) sum += exp((da[j] + db[j]) - most);
        real total = most + log(sum);
        losses[i] = -total;
        // 2. gradients
        for (i64 j = 0; j < k; j++) {
            real q = exp((da[j] + db[j]) - total);
            da[j] = exp(da[j]) - q;
            db[j] = exp(db[j]) - q;
        }
    }
}

KERNEL corner_kernel(const real* __restrict__ A, i64 n, i64 k, real* __restrict__ M) {
    GRID_STRIDE(i, n) {
        const real* a = A + i * k;
        real squares = 0;
        for (i64 j = 0; j < k; j++) squares += a[j] * a[j];
        for (i64 j = 0; j < k; j++) M[i * k + j] = exp(-(squares + (1 - 2 * a[j])));
    }
}

KERNEL corner_kernel_gradient(const real* __restrict__ G, const real* __restrict__ A, const real* __restrict__ M, i64 n, i64 k,
                              real* __restrict__ out) {
    GRID_STRIDE(i, n) {
        real sum = 0;
        for (i64 j = 0; j < k; j++) sum += G[i * k + j] * M[i * k + j];
        for (i64 j = 0; j < k; j++) out[i * k + j] = 2 * (G[i * k + j] * M[i * k + j] - A[i * k + j] * sum);
    }
}

// sums[j] = Σ A_ij and sums[k + j] = Σ A_ij²; a block a cluster.
KERNEL cluster_moments(const real* __restrict__ A, i64 n, i64 k, double* __restrict__ sums) {
    __shared__ double scratch[32];
    for (i64 j = blockIdx.x; j < k; j += gridDim.x) {
        double sum = 0, squares = 0;
        for (i64 i = threadIdx.x; i < n; i += blockDim.x) {
            double a = (double)A[i * k + j];
            sum += a;
            squares += a * a;
        }
        sum = block_sum(sum, scratch);
        squares = block_sum(squares, scratch);
        if (threadIdx.x == 0) {
            sums[j] = sum;
            sums[k + j] = squares;
        }
    }
}

KERNEL orthogonality(const real* __restrict__ A, const double* __restrict__ sums, i64 n, i64 k, double* __restrict__ value,
                     real* __restrict__ dA) {
    double pairs = (double)n * (n - 1);
    real scale = (real)(2 / pairs);
    GRID_STRIDE(e, n * k) {
        i64 j;
        divide(e, k, &j);
        dA[e] = scale * ((real)sums[j] - A[e]);
        if (e == 0) {
            double s = 0, squares = 0;
            for (i64 l = 0; l < k; l++) {
                s += sums[l] * sums[l];
                squares += sums[k + l];
            }
            value[0] = (s - squares) / pairs;
        }
    }
}

// -- divergence ----------------------------------------------------------------------------------------

// The divergence of overlaps N (k, k) and H, of N_ij and N_ji half of their gradient each; one block, a thread a row.
// What is no number stays none.
KERNEL overlap_ratios(const real* __restrict__ N, i64 k, double least, double* __restrict__ value, real* __restrict__ H) {
    __shared__ double scratch[32];
    double sum = 0, pairs = (double)k * (k - 1);
    for (i64 i = threadIdx.x; i < k; i += blockDim.x) {
        double own = (double)N[i * k + i], through = 0;
        for (i64 j = 0; j < k; j++) {
            if (j == i) continue;
            double overlap = (double)N[i * k + j], product = own * (double)N[j * k + j];
            double root = sqrt(product < least * least ? least * least : product);
            double ratio = (overlap < least ? least : overlap) / root;
            sum += ratio;
            H[i * k + j] = (real)((overlap > least ? 1 / root : overlap <= least ? 0 : overlap) / pairs);
            if (!(product <= least * least)) through += ratio;
        }
        H[i * k + i] = through != 0 ? (real)(-through / own / pairs) : (real)0;
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) value[0] = sum / pairs;
}

// -- kernels -------------------------------------------------------------------------------------------

// Of sorted distances, NaN last.
KERNEL bandwidth(const real* __restrict__ sorted, i64 size, real part, real least, real* __restrict__ variance) {
    if (blockIdx.x * blockDim.x + threadIdx.x) return;
    real last = sorted[size - 1], median = (sorted[(size - 1) / 2] + sorted[size / 2]) / 2, wanted = part * median;
    variance[0] = last != last ? last : wanted < least ? least : wanted;
}

KERNEL gaussian_kernel(const real* __restrict__ D, const real* __restrict__ variance, i64 size, real* __restrict__ K) {
    GRID_STRIDE(e, size) K[e] = exp(D[e] / (-2 * variance[0]));
}

KERNEL gaussian_kernel_gradient(const real* __restrict__ G, const real* __restrict__ D, const real* __restrict__ K,
                                const real* __restrict__ variance, i64 size, real* __restrict__ out) {
    GRID_STRIDE(e, size) out[e] = D[e] == 0 ? (real)0 : G[e] * K[e] / (-2 * variance[0]);
}

// X less the mean of every feature, whose sum is in double; a thread a feature.
KERNEL center(const real* __restrict__ X, i64 n, i64 d, real* __restrict__ out) {
    GRID_STRIDE(l, d) {
        double sum = 0;
        for (i64 i = 0; i < n; i++) sum += (double)X[i * d + l];
        real mean = (real)(sum / n);
        for (i64 i = 0; i < n; i++) out[i * d + l] = X[i * d + l] - mean;
    }
}

// D_ab = S_aa + S_bb − 2 S_ab, 0 where it is at most ``resolution`` of S_aa + S_bb; NaN stays.
KERNEL from_products(const double* __restrict__ S, i64 n, double resolution, real* __restrict__ D) {
    GRID_STRIDE(e, n * n) {
        i64 b, a = divide(e, n, &b);
        double both = S[a * n + a] + S[b * n + b], distance = both - 2 * S[e];
        D[e] = distance <= resolution * both ? (real)0 : (real)distance;
    }
}

// C = scale (diag(T 1) − T), T = G + Gᵀ; a block a row.
KERNEL laplacian(const real* __restrict__ G, i64 n, real scale, real* __restrict__ C) {
    __shared__ double scratch[32];
    __shared__ double whole;
    for (i64 a = blockIdx.x; a < n; a += gridDim.x) {
        double sum = 0;
        for (i64 b = threadIdx.x; b < n; b += blockDim.x) sum += (double)(G[a * n + b] + G[b * n + a]);
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) whole = sum;
        __syncthreads();
        for (i64 b = threadIdx.x; b < n; b += blockDim.x)
            C[a * n + b] = scale * ((a == b ? (real)whole : (real)0) - (G[a * n + b] + G[b * n + a]));
        __syncthreads();  // ``whole`` is written again
    }
}

// -- tensors -------------------------------------------------------------------------------------------

// trace[a] = ‖Y_a‖²; a block a sample.
KERNEL square_sums(const real* __restrict__ Y, i64 n, i64 d, double* __restrict__ trace) {
    __shared__ double scratch[32];
    for (i64 a = blockIdx.x; a < n; a += gridDim.x) {
        double sum = 0;
        for (i64 l = threadIdx.x; l < d; l += blockDim.x) sum += (double)Y[a * d + l] * (double)Y[a * d + l];
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) trace[a] = sum;
    }
}

KERNEL ridges(const double* __restrict__ trace, i64 n, double eps, i64 rows, real tiny, real* __restrict__ ridge) {
    GRID_STRIDE(a, n) ridge[a] = (real)(eps * trace[a] / rows) + tiny;
}

// inverse ← L⁻¹ with L Lᵀ = S + εI of every sample; a block a sample. The upper half of S becomes Lᵀ.
KERNEL inverse_root(double* __restrict__ S, const real* __restrict__ ridge, i64 n, i64 R, double* __restrict__ inverse) {
    for (i64 a = blockIdx.x; a < n; a += gridDim.x) {
        double *s = S + a * R * R, *out = inverse + a * R * R;
        for (i64 r = threadIdx.x; r < R; r += blockDim.x) s[r * R + r] += (double)ridge[a];
        for (i64 r = 0; r < R; r++) {
            __syncthreads();
            double scale = 1 / sqrt(s[r * R + r]);
            __syncthreads();  // every thread has read it
            for (i64 c = r + threadIdx.x; c < R; c += blockDim.x) s[r * R + c] *= scale;
            __syncthreads();
            i64 left = R - r - 1;
            for (i64 e = threadIdx.x; e < left * left; e += blockDim.x) {
                i64 column, row = divide(e, left, &column);
                if (column >= row) s[(r + 1 + row) * R + r + 1 + column] -= s[r * R + r + 1 + row] * s[r * R + r + 1 + column];
            }
        }
        __syncthreads();
        // A thread owns columns of the inverse, each solved from above.
        for (i64 c = threadIdx.x; c < R; c += blockDim.x) {
            for (i64 r = 0; r < R; r++) {
                double sum = r == c ? 1.0 : 0.0;
                for (i64 above = c; above < r; above++) sum -= s[above * R + r] * out[above * R + c];
                out[r * R + c] = r < c ? 0.0 : sum / s[r * R + r];
            }
        }
    }
}

// S[a, b] += the sum of squares of block (a, b), R × R, of W (rows R, n R); a block of threads for each.
KERNEL add_squares(const real* __restrict__ W, i64 rows, i64 n, i64 R, double* __restrict__ S) {
    __shared__ double scratch[32];
    for (i64 pair = blockIdx.x; pair < rows * n; pair += gridDim.x) {
        i64 b, a = divide(pair, n, &b);
        double sum = 0;
        for (i64 e = threadIdx.x; e < R * R; e += blockDim.x) {
            i64 c, r = divide(e, R, &c);
            double w = (double)W[(a * R + r) * n * R + b * R + c];
            sum += w * w;
        }
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) S[pair] += sum;
    }
}

// Block (a, b) of W times C[a, b].
KERNEL scale_pairs(real* __restrict__ W, const real* __restrict__ C, i64 rows, i64 n, i64 R) {
    GRID_STRIDE(e, rows * R * n * R) {
        i64 column, row = divide(e, n * R, &column);
        W[e] *= C[row / R * n + column / R];
    }
}
