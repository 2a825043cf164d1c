// CUDA twin of reference/autoencoder.py: what surrounds the products. Samples of a batch in rows.

// L[i, j] = (1/d) ‖Y[j, i] − (t_i − c_j)‖² + λ ‖Z[j, i]‖²; ``group`` lanes, a power of two, share one (i, j).
KERNEL losses(const real* __restrict__ Y, const real* __restrict__ Z, const real* __restrict__ target,
              const real* __restrict__ centers, real* __restrict__ L, i64 n, i64 k, i64 d, i64 h, real reg, int group) {
    int lane = threadIdx.x % group;
    i64 groups = (i64)gridDim.x * (blockDim.x / group), first = (i64)blockIdx.x * (blockDim.x / group) + threadIdx.x / group;
    // Every lane of a warp makes the same number of rounds, since all of them take part in the exchange.
    for (i64 round = 0; round * groups < n * k; round++) {
        i64 e = round * groups + first, j, i;
        bool own = e < n * k;
        real residuals = 0, codes = 0;
        if (own) {
            // Neighbouring groups share a cluster: their rows of Y lie side by side.
            j = divide(e, n, &i);
            const real *y = Y + e * d, *z = Z + e * h, *t = target + i * d, *c = centers + j * d;
            for (i64 f = lane; f < d; f += group) {
                real residual = y[f] - (t[f] - c[f]);
                residuals += residual * residual;
            }
            for (i64 f = lane; f < h; f += group) codes += z[f] * z[f];
        }
        // 3. loss
        residuals = group_sum(residuals, group);
        codes = group_sum(codes, group);
        if (own && lane == 0) L[i * k + j] = residuals / (real)d + reg * codes;
    }
}

// out[j · height + r] = the r-th sample of cluster j, or −1 where it has no more.
KERNEL pad(const i64* __restrict__ order, const i64* __restrict__ begins, i64* __restrict__ out, i64 k, i64 height) {
    GRID_STRIDE(e, k * height) {
        i64 r, j = divide(e, height, &r);
        out[e] = begins[j] + r < begins[j + 1] ? order[begins[j] + r] : -1;
    }
}

// out[r] = X[order[r]] − c of its cluster; 0 where order[r] is −1.
KERNEL gather_centered(const real* __restrict__ X, const real* __restrict__ centers, const i64* __restrict__ order,
                       const i64* __restrict__ s, real* __restrict__ out, i64 n, i64 d) {
    GRID_STRIDE(e, n * d) {
        i64 f, r = divide(e, d, &f), i = order[r];
        out[e] = i < 0 ? (real)0 : X[i * d + f] - centers[s[i] * d + f];
    }
}

// G[r] = w (2/d) (x̂[r] − (t − c)) of sample order[r], w_sorted[r] = w; 0 where that is −1. G may be x̂'s place.
KERNEL output_gradient(const real* Y, const real* __restrict__ target, const real* __restrict__ centers,
                       const i64* __restrict__ order, const i64* __restrict__ s, const real* __restrict__ weights, real factor,
                       real* G, real* __restrict__ sorted_weights, i64 n, i64 d) {
    GRID_STRIDE(e, n * d) {
        i64 f, r = divide(e, d, &f), i = order[r];
        // 4. gradient at the output
        real w = i < 0 ? (real)0 : weights[i];
        G[e] = i < 0 ? (real)0 : w * factor * (Y[e] - (target[i * d + f] - centers[s[i] * d + f]));
        if (f == 0) sorted_weights[r] = w;
    }
}

// X[order[r]] = Y[r] + c of its cluster.
KERNEL scatter_uncentered(const real* __restrict__ Y, const real* __restrict__ centers, const i64* __restrict__ order,
                          const i64* __restrict__ s, real* __restrict__ X, i64 n, i64 d) {
    GRID_STRIDE(e, n * d) {
        i64 f, r = divide(e, d, &f), i = order[r];
        // 1. decode and un-centre
        X[i * d + f] = Y[e] + centers[s[i] * d + f];
    }
}

// begins[j] = how many samples belong to clusters before j, for j = 0 … k, given labels in ascending order.
KERNEL cluster_begins(const i64* __restrict__ s, const i64* __restrict__ order, i64 n, i64 k, i64* __restrict__ begins) {
    GRID_STRIDE(j, k + 1) {
        i64 low = 0, high = n;
        while (low < high) {
            i64 middle = (low + high) / 2;
            if (s[order[middle]] < j)
                low = middle + 1;
            else
                high = middle;
        }
        begins[j] = low;
    }
}
