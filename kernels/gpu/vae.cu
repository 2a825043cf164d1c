// CUDA twin of reference/vae.py: random codes, reconstruction and divergence, and what flows back.
// Row i of m belongs to sample i mod q, whose target and noise it has.

#define BERNOULLI 0

__device__ __forceinline__ i64 sample_of(i64 i, i64 q) {
    i64 sample;
    divide(i, q, &sample);
    return sample;
}

KERNEL reparameterise(const real* __restrict__ heads, const real* __restrict__ noise, i64 m, i64 q, i64 h,
                      real* __restrict__ Z) {
    GRID_STRIDE(e, m * h) {
        i64 a, i = divide(e, h, &a);
        const real* own = heads + 2 * i * h;
        Z[e] = own[a] + exp(own[h + a] / 2) * noise[sample_of(i, q) * h + a];
    }
}

// log(1 + eᵃ) − a t
__device__ __forceinline__ real cross_entropy(real a, real t) {
    real size = a < 0 ? -a : a;
    return ((a > 0 ? a : (real)0) - a * t) + log1p(exp(-size));
}

// What a row's code adds: β (mean² + exp(logvar) − 1 − logvar), or ½ (logvar + ε² − z²) for log-weights.
__device__ __forceinline__ double latent(const real* heads, const real* noise, i64 h, i64 a, real reg, int weights) {
    real mean = heads[a], logvar = heads[h + a];
    if (!weights) return (double)(reg * (mean * mean + exp(logvar) - 1 - logvar));
    real e = noise[a], z = mean + exp(logvar / 2) * e;
    return (double)((logvar + e * e - z * z) / 2);
}

// R[i] = sign · Σ reconstruction + Σ latent + constant; a block of threads a row, sums in float64. Of Gaussian output
// ``scale`` is what squares are multiplied by. ``noise`` is read for log-weights only.
KERNEL rows(const real* __restrict__ A, const real* __restrict__ heads, const real* __restrict__ noise,
            const real* __restrict__ target, i64 m, i64 q, i64 d, i64 h, int output, real scale, real reg, int weights,
            double constant, real* __restrict__ R) {
    __shared__ double scratch[32];
    for (i64 i = blockIdx.x; i < m; i += gridDim.x) {
        i64 sample = sample_of(i, q);
        const real *a = A + i * d, *t = target + sample * d;
        double reconstruction = 0, code = 0;
        for (i64 l = threadIdx.x; l < d; l += blockDim.x) {
            real difference = a[l] - t[l];
            reconstruction += (double)(output == BERNOULLI ? cross_entropy(a[l], t[l]) : scale * (difference * difference));
        }
        for (i64 l = threadIdx.x; l < h; l += blockDim.x)
            code += latent(heads + 2 * i * h, noise + (weights ? sample * h : 0), h, l, reg, weights);
        double sum = block_sum(weights ? code - reconstruction : code + reconstruction, scratch);
        if (threadIdx.x == 0) R[i] = (real)(sum + constant);
    }
}

KERNEL output_gradient(const real* __restrict__ A, const real* __restrict__ target, const real* __restrict__ weights, i64 m,
                       i64 q, i64 d, int output, real scale, real* __restrict__ G) {
    GRID_STRIDE(e, m * d) {
        i64 l, i = divide(e, d, &l);
        real t = target[sample_of(i, q) * d + l];
        G[e] = output == BERNOULLI ? weights[i] * (sigmoid(A[e]) - t) : weights[i] * scale * (A[e] - t);
    }
}

KERNEL heads_gradient(const real* __restrict__ G, const real* __restrict__ heads, const real* __restrict__ noise,
                      const real* __restrict__ weights, i64 m, i64 q, i64 h, real reg, real* __restrict__ out) {
    GRID_STRIDE(e, m * h) {
        i64 a, i = divide(e, h, &a);
        const real* own = heads + 2 * i * h;
        real w = reg * weights[i], deviation = exp(own[h + a] / 2);
        // 1. through the random code
        real through = G[e] * deviation * noise[sample_of(i, q) * h + a] / 2;
        // 2. divergence
        out[2 * i * h + a] = G[e] + 2 * w * own[a];
        out[2 * i * h + h + a] = through + w * (deviation * deviation - 1);
    }
}
