// What every kernel file starts with. REAL is float or double, given by the compiler's command line.
// No standard header is included: the run-time compiler has none.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef REAL real;

#define WARP 32
#define EVERY_LANE 0xffffffffu
#define BLOCK 256  // threads of a block, everywhere

#ifndef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(BLOCK)
#endif

// Grid-stride loop: any number of blocks covers any n.
#define GRID_STRIDE(i, n)                                                                            \
    for (i64 i = blockIdx.x * (i64)blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

// 16 bytes at a time, where every address is a multiple of 16.
#define LANES (16 / (int)sizeof(real))
struct alignas(16) vec {
    real v[LANES];
};

__device__ inline bool aligned(const void* p) { return ((u64)p & 15) == 0; }

// Quotient and remainder: division of 64 bits costs as much as a whole block of random numbers.
__device__ inline i64 divide(i64 a, i64 b, i64* remainder) {
    if (((u64)a | (u64)b) >> 32 == 0) {
        u32 q = (u32)a / (u32)b;
        *remainder = (u32)a - q * (u32)b;
        return q;
    }
    i64 q = a / b;
    *remainder = a - q * b;
    return q;
}

// Σ over a block's threads in an order that never changes; thread 0 gets it. ``scratch``: 32 doubles.
__device__ inline double block_sum(double value, double* scratch) {
    int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (int o = WARP / 2; o; o /= 2) value += __shfl_down_sync(EVERY_LANE, value, o);
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = lane < (int)blockDim.x / WARP ? scratch[lane] : 0.0;
        for (int o = WARP / 2; o; o /= 2) value += __shfl_down_sync(EVERY_LANE, value, o);
    }
    __syncthreads();  // the scratch may be used again
    return value;
}

// Σ over ``group`` neighbouring lanes, a power of two; every lane of the warp takes part and gets its group's sum.
__device__ inline real group_sum(real value, int group) {
    for (int o = group / 2; o; o /= 2) value += __shfl_xor_sync(EVERY_LANE, value, o);
    return value;
}

// -- σ: the same bits as in the reference and the Numba twin ----------------------------------------

// exp is a polynomial of + and × in fixed order, compiled without contraction. From Taylor's coefficients 1/i!: with
// |r| ≤ ln 2 / 2 the first one left out adds 5e-9 in float and 4e-18 in double.

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

// -- activations, and what goes back through them -----------------------------------------------------

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

// -- random numbers: Philox4x32-10, every number a function of its counter --------------------------

struct words {
    u32 w[4];
};

__device__ __forceinline__ words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        // 1. multiply
        u64 p0 = (u64)0xD2511F53u * c0, p1 = (u64)0xCD9E8D57u * c2;
        // 2. exchange
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c1 = (u32)p1;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c3 = (u32)p0;
        // 3. next key
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words out = {{c0, c1, c2, c3}};
    return out;
}

// Of a block's number the lower half is c0, the upper half goes into the key, see reference/philox.py.
__device__ __forceinline__ words philox_block(i64 block, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
    return philox((u32)block, c1, c2, c3, k0, k1 ^ (u32)(block >> 32));
}

__device__ __forceinline__ real unit24(u32 word) { return (real)(word >> 8) * (real)5.9604644775390625e-8; }

// A standard normal number of two words, computed in double: both dtypes see the same.
__device__ __forceinline__ real normal_of(u32 w0, u32 w1) {
    double u1 = (w0 >> 8) * 5.9604644775390625e-8, u2 = (w1 >> 8) * 5.9604644775390625e-8;
    return (real)(sqrt(-2 * log(1 - u1)) * cos(6.283185307179586 * u2));
}

// -- rows that are sorted by cluster ------------------------------------------------------------------

// Which of k groups row i is in; those of group j are begins[j] … begins[j + 1] − 1. Nothing is read for k = 1.
__device__ __forceinline__ int group_of(const i64* begins, int k, i64 i) {
    int low = 0, high = k;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (begins[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    return low;
}
