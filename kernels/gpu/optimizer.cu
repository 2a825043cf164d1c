// CUDA twin of reference/optimizer.py: each rule is one pass over memory, 16 bytes at a time.

// partial[c] = Σ g² of chunk c, in double.
KERNEL squared_norm(const real* __restrict__ gradient, i64 p, i64 rows, double* __restrict__ partial) {
    __shared__ double scratch[WARP];
    for (i64 c = blockIdx.x; c * rows < p; c += gridDim.x) {
        // 1. sum of squares
        double sum = 0;
        i64 end = (c + 1) * rows < p ? (c + 1) * rows : p;
        for (i64 i = c * rows + threadIdx.x; i < end; i += blockDim.x) sum += (double)gradient[i] * (double)gradient[i];
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) partial[c] = sum;
    }
}

__device__ __forceinline__ void adam_one(real* theta, real gradient, real* m, real* v, real scale, real rate, real beta1,
                                         real rest1, real beta2, real rest2, real correction, real epsilon) {
    // 1. gradient
    real g = scale * gradient;
    // 2. moments
    *m = beta1 * *m + rest1 * g;
    *v = beta2 * *v + rest2 * (g * g);
    // 3. parameters
    *theta -= rate * *m / (sqrt(*v) * correction + epsilon);
}

KERNEL adam(real* __restrict__ params, const real* __restrict__ gradient, real scale, real* __restrict__ first,
            real* __restrict__ second, i64 p, real rate, real beta1, real rest1, real beta2, real rest2, real correction,
            real epsilon) {
    bool wide = aligned(params) && aligned(gradient) && aligned(first) && aligned(second);
    i64 vectors = wide ? p / LANES : 0;
    GRID_STRIDE(e, vectors) {
        vec theta = ((vec*)params)[e], g = ((const vec*)gradient)[e], m = ((vec*)first)[e], v = ((vec*)second)[e];
        for (int l = 0; l < LANES; l++)
            adam_one(&theta.v[l], g.v[l], &m.v[l], &v.v[l], scale, rate, beta1, rest1, beta2, rest2, correction, epsilon);
        ((vec*)params)[e] = theta;
        ((vec*)first)[e] = m;
        ((vec*)second)[e] = v;
    }
    GRID_STRIDE(r, p - vectors * LANES) {
        i64 i = vectors * LANES + r;
        adam_one(params + i, gradient[i], first + i, second + i, scale, rate, beta1, rest1, beta2, rest2, correction, epsilon);
    }
}

__device__ __forceinline__ void sgd_one(real* theta, real gradient, real* v, real scale, real rate, real momentum) {
    // 1. velocity
    *v = momentum * *v + scale * gradient;
    // 2. parameters
    *theta -= rate * *v;
}

KERNEL sgd(real* __restrict__ params, const real* __restrict__ gradient, real scale, real* __restrict__ velocity, i64 p,
           real rate, real momentum) {
    bool wide = aligned(params) && aligned(gradient) && aligned(velocity);
    i64 vectors = wide ? p / LANES : 0;
    if (momentum == 0) {  // The velocity is left alone.
        GRID_STRIDE(e, vectors) {
            vec theta = ((vec*)params)[e], g = ((const vec*)gradient)[e];
            for (int l = 0; l < LANES; l++) theta.v[l] -= rate * (scale * g.v[l]);
            ((vec*)params)[e] = theta;
        }
        GRID_STRIDE(r, p - vectors * LANES) {
            i64 i = vectors * LANES + r;
            params[i] -= rate * (scale * gradient[i]);
        }
        return;
    }
    GRID_STRIDE(e, vectors) {
        vec theta = ((vec*)params)[e], g = ((const vec*)gradient)[e], v = ((vec*)velocity)[e];
        for (int l = 0; l < LANES; l++) sgd_one(&theta.v[l], g.v[l], &v.v[l], scale, rate, momentum);
        ((vec*)params)[e] = theta;
        ((vec*)velocity)[e] = v;
    }
    GRID_STRIDE(r, p - vectors * LANES) {
        i64 i = vectors * LANES + r;
        sgd_one(params + i, gradient[i], velocity + i, scale, rate, momentum);
    }
}
