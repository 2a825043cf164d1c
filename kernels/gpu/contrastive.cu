// CUDA twin of reference/contrastive.py: a warp a row, whose lanes share a row's dimensions.

#define TRIPLET 0

#define EACH_ROW(i, m) \
    for (i64 i = (blockIdx.x * (i64)blockDim.x + threadIdx.x) / WARP; i < (m); i += (i64)gridDim.x * blockDim.x / WARP)
#define EACH_LANE(a, D) for (i64 a = threadIdx.x % WARP; a < (D); a += WARP)

__device__ __forceinline__ real product(const real* a, const real* b, i64 D) {
    real sum = 0;
    EACH_LANE(l, D) sum += a[l] * b[l];
    return group_sum(sum, WARP);
}

// ‖a‖, or 1 for zeros.
__device__ __forceinline__ real norm(const real* a, i64 D) {
    real size = sqrt(product(a, a, D));
    return size > 0 ? size : (real)1;
}

__device__ __forceinline__ real cosine(const real* a, const real* b, i64 D) {
    return product(a, b, D) / (norm(a, D) * norm(b, D));
}

// ‖a‖² − 1
__device__ __forceinline__ real excess(const real* a, i64 D) { return product(a, a, D) - (real)1; }

KERNEL losses(const real* __restrict__ U, const real* __restrict__ P, const real* __restrict__ N, i64 m, i64 D, int loss,
              real reg, real* __restrict__ L) {
    EACH_ROW(i, m) {
        const real *u = U + i * D, *p = P + i * D, *n = N + i * D;
        real value;
        // 1. triplet
        if (loss == TRIPLET) {
            real sum = 0;
            EACH_LANE(a, D) sum += u[a] * (n[a] - p[a]);
            value = group_sum(sum, WARP);
        } else {
            real toward = cosine(u, p, D) - (real)1, away = cosine(u, n, D);
            value = (toward * toward + away * away) / 2;
        }
        // 2. norms
        if (reg != 0) {
            real eu = excess(u, D), ep = excess(p, D), en = excess(n, D);
            value += reg * eu * eu + reg * ep * ep + reg * en * en;
        }
        if (threadIdx.x % WARP == 0) L[i] = value;
    }
}

KERNEL gradients(const real* __restrict__ U, const real* __restrict__ P, const real* __restrict__ N,
                 const real* __restrict__ weights, i64 m, i64 D, int loss, real reg, real* __restrict__ dU,
                 real* __restrict__ dP, real* __restrict__ dN) {
    EACH_ROW(i, m) {
        const real *u = U + i * D, *p = P + i * D, *n = N + i * D;
        real w = weights[i], like = 0, unlike = 0, of_u = 1, of_p = 1, of_n = 1, fu = 0, fp = 0, fn = 0;
        if (loss != TRIPLET) {
            like = cosine(u, p, D), unlike = cosine(u, n, D);
            of_u = norm(u, D), of_p = norm(p, D), of_n = norm(n, D);
        }
        if (reg != 0) {
            real factor = w * 4 * reg;
            fu = factor * excess(u, D), fp = factor * excess(p, D), fn = factor * excess(n, D);
        }
        real toward = w * (like - 1), away = w * unlike;
        EACH_LANE(a, D) {
            real du, dp, dn;
            // 1. triplet
            if (loss == TRIPLET) {
                du = w * (n[a] - p[a]), dp = -w * u[a], dn = w * u[a];
            } else {
                real x = u[a] / of_u, y = p[a] / of_p, z = n[a] / of_n;
                du = (toward * (y - like * x) + away * (z - unlike * x)) / of_u;
                dp = toward * (x - like * y) / of_p, dn = away * (x - unlike * z) / of_n;
            }
            // 2. norms
            dU[i * D + a] = du + fu * u[a];
            dP[i * D + a] = dp + fp * p[a];
            dN[i * D + a] = dn + fn * n[a];
        }
    }
}

// A warp a sample and column: the lanes look through the batch side by side, 32 samples at a time.
KERNEL negatives(const i64* __restrict__ clusters, const double* __restrict__ u, i64 n, i64 k, int own,
                 i64* __restrict__ out, i64* __restrict__ none) {
    EACH_ROW(e, n * k) {
        i64 j, i = divide(e, k, &j);
        i64 barred = own ? clusters[i] : j, before = 0, outside = 0;
        int lane = threadIdx.x % WARP;
        for (i64 t = lane; t < n; t += WARP)
            if (clusters[t] != barred) {
                outside++;
                if (t < i) before++;
            }
        for (int o = WARP / 2; o; o /= 2) {
            outside += __shfl_xor_sync(EVERY_LANE, outside, o);
            before += __shfl_xor_sync(EVERY_LANE, before, o);
        }
        if (lane) continue;
        double number = u[i * k + (own ? 0 : j)];
        bool self = clusters[i] != barred;
        i64 others = outside - self;
        none[e] = others < 1;
        if (others < 1) {
            i64 at = (i64)(number * (n - 1));
            out[e] = n > 1 ? at + (at >= i) : 0;
            continue;
        }
        i64 at = (i64)(number * others), seen = 0, t = 0;
        if (self && at >= before) at++;
        for (; t < n; t++)
            if (clusters[t] != barred && seen++ == at) break;
        out[e] = t;
    }
}

// Rows of G in the order of their index; those of target t are order[begins[t]] … order[begins[t + 1] − 1].
KERNEL add_rows(const real* __restrict__ G, const i64* __restrict__ order, const i64* __restrict__ begins, i64 n, i64 D,
                real* __restrict__ out) {
    GRID_STRIDE(e, n * D) {
        i64 a, t = divide(e, D, &a);
        real sum = 0;
        for (i64 i = begins[t]; i < begins[t + 1]; i++) sum += G[order[i] * D + a];
        out[e] = sum;
    }
}
