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
