// CUDA twin of reference/dense.py: what surrounds the products of dense layers, one pass over memory each.
//
// exp is a polynomial of + and × in fixed order, compiled without contraction: the same bits as in the Numba twin,
// and wherever this file runs. From Taylor's coefficients 1/i!: with |r| ≤ ln 2 / 2 the first one left out adds
// 5e-9 in float and 4e-18 in double.

#define LINEAR 0
#define RELU 1
#define LEAKY_RELU 2
#define TANH 3
#define SIGMOID 4
#define LEAKY_SLOPE ((real)0.2)

// (s, q) with exp(y) = s (1 + q), s a power of two, for y ≤ 0; below the smallest normal number, that.
__device__ __forceinline__ void exp_parts(float y, float* s, float* q) {
    y = y < -87.0f ? -87.0f : y;  // and NaN stays NaN
    int k = y == y ? (int)(y * 1.44269502162933349609375f - 0.5f) : 0;
    *s = __int_as_float((k + 127) << 23);
    float f = (float)k, r = (y - f * 0.693145751953125f) - f * 1.4286068203094173e-06f;
    float p = (float)(1.0 / 5040);
    p = p * r + (float)(1.0 / 720);
    p = p * r + (float)(1.0 / 120);
    p = p * r + (float)(1.0 / 24);
    p = p * r + (float)(1.0 / 6);
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    *q = p * r;
}

__device__ __forceinline__ void exp_parts(double y, double* s, double* q) {
    y = y < -708.0 ? -708.0 : y;
    int k = y == y ? (int)(y * 1.4426950408889634 - 0.5) : 0;
    *s = __longlong_as_double((i64)(k + 1023) << 52);
    double f = (double)k, r = (y - f * 0.6931471805598903) - f * 5.497923018708371e-14;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    *q = p * r;
}

__device__ __forceinline__ real sigmoid(real a) {
    real s, q;
    exp_parts(a < 0 ? a : -a, &s, &q);
    real e = s + s * q;
    return (a >= 0 ? (real)1 : e) / ((real)1 + e);
}

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
