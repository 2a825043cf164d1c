// CUDA twin of reference/network.py: what surrounds a dense layer's products, of rows that belong to k groups.

// out[j · height + r] = the r-th row of group j, or 0 where it has no more.
KERNEL pad(const real* __restrict__ X, const i64* __restrict__ begins, int k, i64 f, i64 height, real* __restrict__ out) {
    GRID_STRIDE(e, k * height * f) {
        i64 l, r, j = divide(divide(e, f, &l), height, &r), i = begins[j] + r;
        out[e] = i < begins[j + 1] ? X[i * f + l] : (real)0;
    }
}

// Y ← act(A + bias of the row's group); bias (k, f), or none. A has the rows of Y, and may be Y, or with a height those that
// ``pad`` gives.
KERNEL add_bias(const real* A, i64 height, real* Y, const i64* __restrict__ begins, int k, i64 n, i64 f,
                const real* __restrict__ bias, int with_bias, int activation) {
    bool wide = f % LANES == 0 && aligned(A) && aligned(Y) && aligned(bias);
    i64 step = wide ? LANES : 1, across = f / step;
    GRID_STRIDE(e, n * across) {
        i64 l, i = divide(e, across, &l);
        int j = group_of(begins, k, i);
        const real* own = bias + (with_bias ? j * f + l * step : 0);
        i64 from = height ? (j * height + i - begins[j]) * across + l : e;
        if (wide) {
            vec y = ((const vec*)A)[from];
            for (int p = 0; p < LANES; p++) y.v[p] = activate_one(with_bias ? y.v[p] + own[p] : y.v[p], activation);
            ((vec*)Y)[e] = y;
        } else {
            Y[e] = activate_one(with_bias ? A[from] + *own : A[from], activation);
        }
    }
}
