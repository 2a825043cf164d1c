// CUDA twin of reference/rbm.py: what surrounds the products, each pre-activation read once.
//
// The rows of a matrix are either those of all clusters, row r = j n + i for sample i under cluster j, or, where
// ``own`` is set, one for each sample under its own cluster, row r for sample i = order[r], j = s[i]. What belongs to
// a sample and a cluster, L[i, j], has its place there in both.

#define BERNOULLI 0
#define GAUSSIAN 1
#define QUAD 4  // units that take one block of random words

struct place {
    i64 i, j;  // sample, cluster
};

__device__ __forceinline__ place place_of(i64 r, i64 n, int own, const i64* order, const i64* s) {
    place at;
    if (own) {
        at.i = order[r];
        at.j = s[at.i];
    } else {
        at.j = divide(r, n, &at.i);
    }
    return at;
}

// Four units side by side, as many of them as there are; ``wide``: all four, 16 bytes at a time.
struct quad {
    real v[QUAD];
};

__device__ __forceinline__ quad load(const real* p, i64 count, bool wide) {
    quad out;
    if (wide) {
        for (int j = 0; j < QUAD / LANES; j++) {
            vec x = ((const vec*)p)[j];
            for (int l = 0; l < LANES; l++) out.v[j * LANES + l] = x.v[l];
        }
    } else {
        for (int l = 0; l < QUAD; l++) out.v[l] = l < count ? p[l] : (real)0;
    }
    return out;
}

__device__ __forceinline__ void store(real* p, quad x, i64 count, bool wide) {
    if (wide) {
        for (int j = 0; j < QUAD / LANES; j++) {
            vec y;
            for (int l = 0; l < LANES; l++) y.v[l] = x.v[j * LANES + l];
            ((vec*)p)[j] = y;
        }
    } else {
        for (int l = 0; l < QUAD; l++)
            if (l < count) p[l] = x.v[l];
    }
}

__device__ __forceinline__ bool is_wide(const real* in, const real* out, i64 m) {
    return m % QUAD == 0 && aligned(in) && aligned(out);
}

// The words of elements e … e + 3: one block where e is its first element, else the end of it and the next one's begin.
__device__ __forceinline__ words four_words(i64 e, u32 k0, u32 k1, u32 stream, u32 step, u32 substep) {
    i64 block = e >> 2;
    words x = philox_block(block, substep, step, stream, k0, k1);
    if (e & 3) {
        words y = philox_block(block + 1, substep, step, stream, k0, k1);
        // Shifted by one and by two, so that no index is variable and all words stay in registers.
        if (e & 1) {
            x = words{{x.w[1], x.w[2], x.w[3], y.w[0]}};
            y = words{{y.w[1], y.w[2], y.w[3], 0}};
        }
        if (e & 2) x = words{{x.w[2], x.w[3], y.w[0], y.w[1]}};
    }
    return x;
}

__device__ __forceinline__ real bit_of(u32 word, real a) { return unit24(word) < sigmoid(a) ? (real)1 : (real)0; }

// log(1 + e^a), from e^−|a|.
__device__ __forceinline__ real softplus(real a) {
    real s, q;
    exp_parts(a < 0 ? a : -a, &s, &q);
    return (a > 0 ? a : (real)0) + log1p(s + s * q);
}

// b, or (1 − β) base + β b where the machine is tempered.
__device__ __forceinline__ real tempered(real b, real base, real beta, real rest) {
    return rest == 0 ? b : rest * base + beta * b;
}

// A lane's share of −bᵀv, or of ½‖v − b‖², with v less the centre where there is one.
__device__ __forceinline__ real outside_part(const real* v, const real* c, const real* b, i64 d, int visible, int lane,
                                             int group) {
    real sum = 0;
    for (i64 i = lane; i < d; i += group) {
        real x = c ? v[i] - c[i] : v[i];
        if (visible == GAUSSIAN) {
            x -= b[i];
            sum += (real)0.5 * (x * x);
        } else {
            sum -= x * b[i];
        }
    }
    return sum;
}

// out = 1 where u < σ(scale A + offset), else 0; u of column f is that of element rows[i] · width + column + j m + f.
// offset[j · per …] is tempered with base[j · base_per …]. out may be A.
KERNEL bernoulli_units(const real* A, real scale, const real* __restrict__ offset, i64 per, const real* __restrict__ base,
                       i64 base_per, real rest, u32 k0, u32 k1, u32 stream, u32 step, u32 substep,
                       const i64* __restrict__ rows, const i64* __restrict__ order, const i64* __restrict__ s, int own,
                       i64 count, i64 n, i64 m, i64 width, i64 column, real* out) {
    bool wide = is_wide(A, out, m);
    i64 across = (m + QUAD - 1) / QUAD;
    GRID_STRIDE(t, count * across) {
        i64 f, r = divide(t, across, &f);
        f *= QUAD;
        place at = place_of(r, n, own, order, s);
        const real *b = offset + at.j * per + f, *b0 = base + at.j * base_per + f;
        quad a = load(A + r * m + f, m - f, wide);
        words x = four_words(rows[at.i] * width + column + at.j * m + f, k0, k1, stream, step, substep);
        for (int l = 0; l < QUAD; l++) {
            if (f + l >= m) continue;
            // 1. pre-activation
            real pre = scale * a.v[l] + tempered(b[l], b0[l], scale, rest);
            // 2. random number and comparison
            a.v[l] = bit_of(x.w[l], pre);
        }
        store(out + r * m + f, a, m - f, wide);
    }
}

// out = scale A + offset + z, z standard normal; all else as ``bernoulli_units``. Two columns a thread: one block of
// words where the first element is even.
KERNEL gaussian_units(const real* A, real scale, const real* __restrict__ offset, i64 per, const real* __restrict__ base,
                      i64 base_per, real rest, u32 k0, u32 k1, u32 stream, u32 step, u32 substep,
                      const i64* __restrict__ rows, const i64* __restrict__ order, const i64* __restrict__ s, int own,
                      i64 count, i64 n, i64 m, i64 width, i64 column, real* out) {
    i64 across = (m + 1) / 2;
    GRID_STRIDE(t, count * across) {
        i64 f, r = divide(t, across, &f);
        f *= 2;
        place at = place_of(r, n, own, order, s);
        const real *b = offset + at.j * per + f, *b0 = base + at.j * base_per + f;
        // Words 2e … 2e + 3 of the numbers e and e + 1.
        words x = four_words(2 * (rows[at.i] * width + column + at.j * m + f), k0, k1, stream, step, substep);
        for (int l = 0; l < 2; l++) {
            if (f + l >= m) continue;
            // 1. pre-activation
            real pre = scale * A[r * m + f + l] + tempered(b[l], b0[l], scale, rest);
            // 2. random number
            out[r * m + f + l] = pre + normal_of(x.w[2 * l], x.w[2 * l + 1]);
        }
    }
}

// L[i, j] = F_j(v), or L[i, j] − F_j(v) where ``difference`` is set, of A = v W and an offset (k, m); in the same pass,
// into H, nothing, the hidden units' bits as ``bernoulli_units``, or their means. H may be A. v is row r of V, or V's
// row i less the centre where ``raw`` is set. ``group`` lanes, a power of two, share a row.
#define BITS 1
#define MEANS 2
KERNEL energies(const real* A, const real* __restrict__ offset, const real* __restrict__ V, int raw,
                const real* __restrict__ centers, const real* __restrict__ b, int visible, const i64* __restrict__ order,
                const i64* __restrict__ s, int own, i64 count, i64 n, i64 k, i64 d, i64 m, int group, int difference,
                real* __restrict__ L, int units, u32 k0, u32 k1, u32 stream, u32 step, u32 substep,
                const i64* __restrict__ rows, i64 width, real* H) {
    bool wide = is_wide(A, H, m);
    int lane = threadIdx.x % group;
    i64 groups = (i64)gridDim.x * (blockDim.x / group), first = (i64)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    // Every lane of a warp makes the same number of rounds, since all of them take part in the exchange.
    for (i64 round = 0; round * groups < count; round++) {
        i64 r = round * groups + first;
        place at = {0, 0};
        real F = 0;
        if (r < count) {
            at = place_of(r, n, own, order, s);
            const real* c = raw ? centers + at.j * d : (const real*)0;
            F = outside_part(V + (raw ? at.i : r) * d, c, b, d, visible, lane, group);
            for (i64 f = QUAD * lane; f < m; f += QUAD * group) {
                quad a = load(A + r * m + f, m - f, wide);
                words x = {{0, 0, 0, 0}};
                if (units == BITS) x = four_words(rows[at.i] * width + at.j * m + f, k0, k1, stream, step, substep);
                for (int l = 0; l < QUAD; l++) {
                    if (f + l >= m) continue;
                    real pre = a.v[l] + offset[at.j * m + f + l];
                    F -= softplus(pre);
                    if (units) a.v[l] = units == MEANS ? sigmoid(pre) : bit_of(x.w[l], pre);
                }
                if (units) store(H + r * m + f, a, m - f, wide);
            }
        }
        F = group_sum(F, group);
        if (r < count && lane == 0) {
            real* to = L + at.i * k + at.j;
            *to = difference ? *to - F : F;
        }
    }
}

// log w += log f_β(v) − log f_β'(v), β' = before, of n chains of every cluster, and unless this is the ``last`` term the
// hidden units' bits at β, in A's place.
KERNEL anneal(real* __restrict__ A, const real* __restrict__ offset, const real* __restrict__ V,
              const real* __restrict__ base, const real* __restrict__ b, int visible, real beta, real before, int last,
              u32 k0, u32 k1, u32 stream, u32 step, u32 substep, const i64* __restrict__ rows, i64 count, i64 n, i64 d, i64 m,
              int group, i64 width, double* __restrict__ log_weights) {
    bool wide = is_wide(A, A, m);
    int lane = threadIdx.x % group;
    i64 groups = (i64)gridDim.x * (blockDim.x / group), first = (i64)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    for (i64 round = 0; round * groups < count; round++) {
        i64 r = round * groups + first;
        real added = 0;
        if (r < count) {
            i64 i, j = divide(r, n, &i);
            // 2. what the next temperature adds
            const real *v = V + r * d, *b0 = base + j * d;
            real outside = 0;
            for (i64 f = lane; f < d; f += group) {
                real x = v[f] - b0[f], y = v[f] - b[f];
                outside += visible == GAUSSIAN ? (real)0.5 * (x * x - y * y) : v[f] * (b[f] - b0[f]);
            }
            added = (beta - before) * outside;
            for (i64 f = QUAD * lane; f < m; f += QUAD * group) {
                quad a = load(A + r * m + f, m - f, wide);
                for (int l = 0; l < QUAD; l++) {
                    if (f + l >= m) continue;
                    a.v[l] += offset[j * m + f + l];
                    added += softplus(beta * a.v[l]) - softplus(before * a.v[l]);
                }
                if (last) continue;
                // 3. hidden units
                words x = four_words(rows[i] * width + j * m + f, k0, k1, stream, step, substep);
                for (int l = 0; l < QUAD; l++) a.v[l] = bit_of(x.w[l], beta * a.v[l]);
                store(A + r * m + f, a, m - f, wide);
            }
        }
        added = group_sum(added, group);
        if (r < count && lane == 0) log_weights[r] += (double)added;
    }
}

// Row stride r + at of S: what sample order[r] is under its own cluster, X's row less the centre where ``raw`` is set,
// else its row of V; beside it the cluster, and sign · weight.
KERNEL gather_visible(const real* __restrict__ V, int raw, const real* __restrict__ centers, real sign,
                      const real* __restrict__ weights, const i64* __restrict__ order, const i64* __restrict__ s, int own,
                      i64 n, i64 d, i64 stride, i64 at, real* __restrict__ S, real* __restrict__ signed_weights,
                      i64* __restrict__ labels) {
    GRID_STRIDE(e, n * d) {
        i64 f, r = divide(e, d, &f), i = order[r], j = s[i], to = stride * r + at;
        S[to * d + f] = raw ? V[i * d + f] - centers[j * d + f] : V[(own ? r : j * n + i) * d + f];
        if (f == 0) {
            signed_weights[to] = sign * weights[i];
            labels[to] = j;
        }
    }
}

// Row stride r + at of P: sign · weight · p(h = 1 | v) of sample order[r] under its own cluster.
KERNEL gather_hidden(const real* __restrict__ A, const real* __restrict__ offset, real sign,
                     const real* __restrict__ weights, const i64* __restrict__ order, const i64* __restrict__ s, int own,
                     i64 n, i64 m, i64 stride, i64 at, real* __restrict__ P) {
    GRID_STRIDE(e, n * m) {
        i64 f, r = divide(e, m, &f), i = order[r], j = s[i];
        real a = A[(own ? r : j * n + i) * m + f] + offset[j * m + f];
        P[(stride * r + at) * m + f] = sign * weights[i] * sigmoid(a);
    }
}

// out[order[r]] = A[r] + offset or σ of it, plus the centre where ``centred``, of the sample's own cluster.
KERNEL scatter_means(const real* __restrict__ A, const real* __restrict__ offset, i64 per, int linear, int centred,
                     const real* __restrict__ centers, const i64* __restrict__ order, const i64* __restrict__ s, i64 n,
                     i64 width, real* __restrict__ out) {
    GRID_STRIDE(e, n * width) {
        i64 f, r = divide(e, width, &f), i = order[r], j = s[i];
        real a = A[e] + offset[j * per + f], mean = linear ? a : sigmoid(a);
        out[i * width + f] = centred ? mean + centers[j * width + f] : mean;
    }
}
