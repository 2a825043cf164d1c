// CUDA twin of reference/dense.py: what surrounds the products of dense layers, one pass over memory each.

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
