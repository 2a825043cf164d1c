// CUDA twin of reference/philox.py: Philox4x32-10, every number a function of its counter.
//
// One thread computes one block of four words and writes those of them that were asked for. In a row of
// ``width`` elements from element row · width on lie parts of ``per_row`` blocks at most.

__device__ __forceinline__ double unit53(u32 w0, u32 w1) {
    return ((w0 >> 5) * 67108864.0 + (w1 >> 6)) * 1.1102230246251565e-16;
}

KERNEL philox4x32(const u32* __restrict__ counter, u32 k0, u32 k1, u32* __restrict__ out, i64 n) {
    GRID_STRIDE(i, n) {
        const u32* c = counter + 4 * i;
        words x = philox(c[0], c[1], c[2], c[3], k0, k1);
        for (int j = 0; j < 4; j++) out[4 * i + j] = x.w[j];
    }
}

// out[r, :] of one block of row r, of which the elements begin … begin + 3 belong to it, clipped to the row.
__device__ __forceinline__ void write_uniform(words x, i64 begin, i64 width, real* out) {
    vec u[4 / LANES];
    for (int j = 0; j < 4; j++) u[j / LANES].v[j % LANES] = unit24(x.w[j]);
    if (begin >= 0 && begin + 4 <= width && aligned(out + begin)) {
        for (int j = 0; j < 4 / LANES; j++) ((vec*)(out + begin))[j] = u[j];
    } else {
        for (int j = 0; j < 4; j++)
            if (begin + j >= 0 && begin + j < width) out[begin + j] = u[j / LANES].v[j % LANES];
    }
}

KERNEL uniform(u32 k0, u32 k1, u32 stream, u32 step, u32 substep, const i64* __restrict__ rows, i64 n, i64 width,
               i64 per_row, real* __restrict__ out) {
    GRID_STRIDE(t, n * per_row) {
        i64 q, r = divide(t, per_row, &q);
        i64 first = rows[r] * width, block = (first >> 2) + q, begin = 4 * block - first;
        if (begin < width) write_uniform(philox_block(block, substep, step, stream, k0, k1), begin, width, out + r * width);
    }
}

KERNEL bernoulli(const real* __restrict__ p, u32 k0, u32 k1, u32 stream, u32 step, u32 substep,
                 const i64* __restrict__ rows, i64 n, i64 width, i64 per_row, real* __restrict__ out) {
    GRID_STRIDE(t, n * per_row) {
        i64 q, r = divide(t, per_row, &q);
        i64 first = rows[r] * width, block = (first >> 2) + q, begin = 4 * block - first;
        if (begin >= width) continue;
        words x = philox_block(block, substep, step, stream, k0, k1);
        const real* own = p + r * width;
        real* bits = out + r * width;
        if (begin >= 0 && begin + 4 <= width && aligned(own + begin) && aligned(bits + begin)) {
            for (int j = 0; j < 4 / LANES; j++) {
                vec probability = ((const vec*)(own + begin))[j], bit;
                for (int l = 0; l < LANES; l++)
                    bit.v[l] = unit24(x.w[j * LANES + l]) < probability.v[l] ? (real)1 : (real)0;
                ((vec*)(bits + begin))[j] = bit;
            }
        } else {
            for (int j = 0; j < 4; j++) {
                i64 e = begin + j;
                if (e >= 0 && e < width) bits[e] = unit24(x.w[j]) < own[e] ? (real)1 : (real)0;
            }
        }
    }
}

KERNEL uniform53(u32 k0, u32 k1, u32 stream, u32 step, u32 substep, i64 count, double* __restrict__ out) {
    GRID_STRIDE(b, (count + 1) / 2) {
        words x = philox_block(b, substep, step, stream, k0, k1);
        out[2 * b] = unit53(x.w[0], x.w[1]);
        if (2 * b + 1 < count) out[2 * b + 1] = unit53(x.w[2], x.w[3]);
    }
}

KERNEL normal(u32 k0, u32 k1, u32 stream, u32 step, u32 substep, const i64* __restrict__ rows, i64 n, i64 width,
              i64 per_row, real* __restrict__ out) {
    GRID_STRIDE(t, n * per_row) {
        i64 q, r = divide(t, per_row, &q);
        i64 first = rows[r] * width, block = (first >> 1) + q, begin = 2 * block - first;
        if (begin >= width) continue;
        words x = philox_block(block, substep, step, stream, k0, k1);
        for (int j = 0; j < 2; j++) {
            if (begin + j < 0 || begin + j >= width) continue;
            // 1. two uniforms
            // 2. radius and angle
            out[r * width + begin + j] = normal_of(x.w[2 * j], x.w[2 * j + 1]);
        }
    }
}

KERNEL integers(u64 high, u32 k0, u32 k1, u32 stream, u32 step, u32 substep, i64 count, i64* __restrict__ out) {
    GRID_STRIDE(b, (count + 3) / 4) {
        words x = philox_block(b, substep, step, stream, k0, k1);
        for (int j = 0; j < 4; j++)
            if (4 * b + j < count) out[4 * b + j] = (i64)((x.w[j] * high) >> 32);
    }
}

KERNEL sort_keys(u32 k0, u32 k1, u32 stream, u32 step, i64 n, u64* __restrict__ out) {
    GRID_STRIDE(b, (n + 1) / 2) {
        words x = philox_block(b, 0, step, stream, k0, k1);
        out[2 * b] = (u64)x.w[0] << 32 | x.w[1];
        if (2 * b + 1 < n) out[2 * b + 1] = (u64)x.w[2] << 32 | x.w[3];
    }
}
