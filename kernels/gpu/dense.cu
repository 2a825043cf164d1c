// CUDA twin of reference/dense.py: what surrounds the products of dense layers, one pass over memory each.

#define LINEAR 0
#define RELU 1
#define LEAKY_RELU 2
#define TANH 3
#define SIGMOID 4
#define LEAKY_SLOPE ((real)0.2)

// −t / (t + 2) with t = e^(−2|a|) − 1: all digits near 0 as well.
__device__ __forceinline__ real tanh_of(real a) {
    real s, q, m = a < 0 ? a : -a;
    exp_parts(m + m, &s, &q);
    real t = s * q + (s - (real)1), y = t / (t + (real)1 + (real)1);
    return a < 0 ? y : -y;
}

__device__ __forceinline__ real activate_one(real a, int activation) {
    switch (activation) {
        case RELU: return a < 0 ? (real)0 : a;
        case LEAKY_RELU: return a < 0 ? LEAKY_SLOPE * a : a;
        case TANH: return tanh_of(a);
        case SIGMOID: return sigmoid(a);
        default: return a;
    }
}

// From the output y = act(a) alone; at the kink of relu the slope of the left side.
__device__ __forceinline__ real through_one(real g, real y, int activation) {
    switch (activation) {
        case RELU: return y > 0 ? g : (real)0;
        case LEAKY_RELU: return y > 0 ? g : LEAKY_SLOPE * g;
        case TANH: return g * ((real)1 - y * y);
        case SIGMOID: return g * (y * ((real)1 - y));
        default: return g;
    }
}

// Y[j, i, f] = act(A[i · row + j · column + f] + offset[j · per + f]); offset is empty for per = -1. Y may be A.
KERNEL offset_activate(const real* A, i64 row, i64 column, const real* __restrict__ offset, i64 per, real* Y, i64 k, i64 n,
                       i64 h, int activation) {
    bool wide = h % LANES == 0 && row % LANES == 0 && column % LANES == 0 && aligned(A) && aligned(Y);
    i64 step = wide ? LANES : 1, across = h / step;
    GRID_STRIDE(e, k * n * across) {
        i64 f, i, j = divide(divide(e, across, &f), n, &i);
        f *= step;
        const real* a = A + i * row + j * column + f;
        real* y = Y + (j * n + i) * h + f;
        const real* c = offset + j * per + f;
        if (wide) {
            vec x = *(const vec*)a;
            for (int l = 0; l < LANES; l++) {
                real b = per >= 0 ? x.v[l] + c[l] : x.v[l];
                x.v[l] = activate_one(b, activation);
            }
            *(vec*)y = x;
        } else {
            *y = activate_one(per >= 0 ? *a + *c : *a, activation);
        }
    }
}

// G' = (G + penalty w Y) ∘ act'(A), row by row; weights is empty for penalty = 0. out may be G.
KERNEL through_activation(const real* G, const real* __restrict__ Y, const real* __restrict__ weights, real penalty, real* out,
                          i64 n, i64 m, int activation) {
    bool wide = m % LANES == 0 && aligned(G) && aligned(Y) && aligned(out);
    i64 step = wide ? LANES : 1, across = m / step;
    GRID_STRIDE(e, n * across) {
        i64 f, i = divide(e, across, &f);
        real w = penalty == 0 ? (real)0 : penalty * weights[i];
        if (wide) {
            vec g = ((const vec*)G)[e], y = ((const vec*)Y)[e];
            for (int l = 0; l < LANES; l++)
                g.v[l] = through_one(penalty == 0 ? g.v[l] : g.v[l] + w * y.v[l], y.v[l], activation);
            ((vec*)out)[e] = g;
        } else {
            out[e] = through_one(penalty == 0 ? G[e] : G[e] + w * Y[e], Y[e], activation);
        }
    }
}
