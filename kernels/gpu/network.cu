// CUDA twin of reference/network.py: what surrounds a dense layer's products, of rows that belong to k groups.

// Y ← act(Y + bias of the row's group); bias (k, f), or none.
KERNEL add_bias(real* Y, const i64* __restrict__ begins, int k, i64 n, i64 f, const real* __restrict__ bias, int with_bias,
                int activation) {
    bool wide = f % LANES == 0 && aligned(Y) && aligned(bias);
    i64 step = wide ? LANES : 1, across = f / step;
    GRID_STRIDE(e, n * across) {
        i64 l, i = divide(e, across, &l);
        const real* own = bias + (with_bias ? group_of(begins, k, i) * f + l * step : 0);
        if (wide) {
            vec y = ((const vec*)Y)[e];
            for (int p = 0; p < LANES; p++) y.v[p] = activate_one(with_bias ? y.v[p] + own[p] : y.v[p], activation);
            ((vec*)Y)[e] = y;
        } else {
            Y[e] = activate_one(with_bias ? Y[e] + *own : Y[e], activation);
        }
    }
}
