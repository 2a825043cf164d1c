// Runs CUDA kernels on the host, one thread at a time, to see whether they are right, not to be fast.
//
// Blocks come one after the other; the threads of a block are fibers that change places at barriers and shuffles
// only. Reported with file and line: barriers that not all threads reach, lanes missing from a shuffle, indices
// outside of an array in shared memory. Shared memory is filled with NaN before every block.

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__x86_64__) && !defined(CSRL_PORTABLE)
#define CSRL_ASSEMBLY
#else
#include <ucontext.h>
#endif

#define __device__
#define __host__
#define __global__
#define __constant__ static const
#define __restrict__ __restrict
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("csrl_shared")))
#define KERNEL static void

namespace csrl {

struct Triple {
    unsigned x, y, z;
};
enum State { NEW, READY, BARRIER, SHUFFLE, DONE };
const int MOST = 1024;
const size_t STACK = 64 * 1024;

struct Thread {
    Triple index;
    State state;
    const char* file;  // where it waits
    int line;
    unsigned mask;  // of the shuffle it waits in
    int source;     // the lane it wants
    uint64_t given, got;
    char* stack;
#if defined(CSRL_ASSEMBLY)
    void* context;
#else
    ucontext_t context;
#endif
};

static Thread threads[MOST], *self;
static int count, free_stacks;
static char* stacks[MOST];
static char* dynamic_shared;
static size_t dynamic_size;
static char message[512];
static bool failed;
static void (*body)(void**);
static void** arguments;
static Triple block_index, block_size, grid_size;
#if defined(CSRL_ASSEMBLY)
static void* scheduler;
#else
static ucontext_t scheduler;
#endif

extern "C" {
extern char __start_csrl_shared[] __attribute__((weak, visibility("hidden")));
extern char __stop_csrl_shared[] __attribute__((weak, visibility("hidden")));
}

#if defined(CSRL_ASSEMBLY)
// Saves what a call preserves, changes stacks, restores: void switch(void** save, void* load).
extern "C" void csrl_switch(void** save, void* load) __attribute__((visibility("hidden")));
asm(".text\n.hidden csrl_switch\n.globl csrl_switch\n.type csrl_switch,@function\ncsrl_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp,(%rdi)\nmovq %rsi,%rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
static void to_scheduler() { csrl_switch(&self->context, scheduler); }
static void to_thread() { csrl_switch(&scheduler, self->context); }
#else
static void to_scheduler() { swapcontext(&self->context, &scheduler); }
static void to_thread() { swapcontext(&scheduler, &self->context); }
#endif

static void say(const char* format, ...) {
    if (failed) return;  // the first error is the one to tell
    failed = true;
    va_list list;
    va_start(list, format);
    vsnprintf(message, sizeof message, format, list);
    va_end(list);
}

static void entry() {
    body(arguments);
    self->state = DONE;
    to_scheduler();
}

static void start(Thread* t) {
    if (!free_stacks) {
        void* fresh = mmap(0, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (fresh == MAP_FAILED) {
            say("no memory for the stacks of a block's threads");
            return;
        }
        stacks[free_stacks++] = (char*)fresh;
    }
    t->stack = stacks[--free_stacks];
#if defined(CSRL_ASSEMBLY)
    void** top = (void**)(t->stack + STACK) - 2;  // as if called: the stack pointer at 8 modulo 16
    top[0] = (void*)entry;
    top[1] = 0;
    t->context = top - 6;
#else
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK;
    t->context.uc_link = 0;
    makecontext(&t->context, entry, 0);
#endif
}

static void wait(State state, const char* file, int line) {
    self->state = state;
    self->file = file;
    self->line = line;
    to_scheduler();
}

static int missing[MOST / 32];  // a warp's lane that some shuffle waited for: the first one to look for

// The last lane of a mask to arrive hands out all values and goes on; the others wait for it.
static uint64_t exchange(unsigned mask, uint64_t value, int source, const char* file, int line) {
    int me = (int)(self - threads), warp = me / 32 * 32;
    self->mask = mask;
    self->given = value;
    self->source = source;
    self->file = file;
    self->line = line;
    if (!(mask >> (me - warp) & 1)) {
        say("%s:%d: thread %d calls a shuffle whose mask %08x leaves it out", file, line, me, mask);
        to_scheduler();
    }
    for (int i = 0; i < 32; i++) {
        int lane = (missing[me / 32] + i) % 32;
        Thread* t = threads + warp + lane;
        if (!(mask >> lane & 1) || t == self) continue;
        bool there = warp + lane < count && t->state == SHUFFLE && t->line == line && t->file == file && t->mask == mask;
        if (!there) {
            missing[me / 32] = lane;
            wait(SHUFFLE, file, line);
            return self->got;
        }
    }
    for (int lane = 0; lane < 32; lane++) {
        if (!(mask >> lane & 1)) continue;
        Thread* t = threads + warp + lane;
        if (!(mask >> t->source & 1)) {
            say("%s:%d: lane %d reads lane %d, which the mask %08x leaves out", file, line, lane, t->source, mask);
            to_scheduler();
        }
        t->got = threads[warp + t->source].given;
    }
    for (int lane = 0; lane < 32; lane++)
        if (mask >> lane & 1) threads[warp + lane].state = READY;
    return self->got;
}

template <class T>
static T shuffle(unsigned mask, T value, int source, const char* file, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits, source, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int lane() { return (int)(self - threads) % 32; }

// Why nothing can go on: some thread waits for others that will not come.
static void deadlock() {
    for (int i = 0; i < count; i++) {
        Thread* t = threads + i;
        if (t->state != SHUFFLE) continue;
        for (int lane = 0; lane < 32; lane++) {
            int o = i / 32 * 32 + lane;
            if (!(t->mask >> lane & 1)) continue;
            const char* what = o >= count || threads[o].state == DONE ? "has ended" : "waits elsewhere, at line";
            if (o < count && threads[o].state == SHUFFLE && threads[o].line == t->line && threads[o].mask == t->mask) continue;
            char where[16] = "";
            if (o < count && threads[o].state != DONE) snprintf(where, sizeof where, " %d", threads[o].line);
            say("%s:%d: lane %d is missing from the shuffle with mask %08x: it %s%s (block %u)", t->file, t->line, lane, t->mask,
                what, where, block_index.x);
            return;
        }
    }
    for (int i = 0; i < count; i++) {
        Thread* t = threads + i;
        if (t->state != BARRIER) continue;
        for (int o = 0; o < count; o++) {
            if (threads[o].state == BARRIER && threads[o].line == t->line && threads[o].file == t->file) continue;
            if (threads[o].state == DONE)
                say("%s:%d: divergent barrier: thread %d waits there, thread %d has ended (block %u)", t->file, t->line, i, o,
                    block_index.x);
            else
                say("%s:%d: divergent barrier: thread %d waits there, thread %d at line %d (block %u)", t->file, t->line, i, o,
                    threads[o].line, block_index.x);
            return;
        }
    }
    say("threads wait for ever");
}

static uint64_t random_state;
static unsigned random_below(unsigned n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((random_state >> 33) % n);
}

// 0 forward, 1 reverse, 2 random.
static void arrange(int* order, int n, int how) {
    for (int i = 0; i < n; i++) order[i] = how == 1 ? n - 1 - i : i;
    if (how == 2)
        for (int i = n - 1; i > 0; i--) {
            int j = (int)random_below(i + 1), kept = order[i];
            order[i] = order[j];
            order[j] = kept;
        }
}

static void run_block(int how) {
    static int order[MOST];
    memset(__start_csrl_shared, 0xff, __stop_csrl_shared - __start_csrl_shared);
    memset(dynamic_shared, 0xff, dynamic_size);
    for (int i = 0; i < count; i++) {
        unsigned u = i;
        threads[i].index = {u % block_size.x, u / block_size.x % block_size.y, u / (block_size.x * block_size.y)};
        threads[i].state = NEW;
    }
    arrange(order, count, how);
    // In random order threads of all warps take turns; else a warp goes on until all its threads wait at a barrier,
    // so that what it uses stays in the processor's cache.
    int left = count, together = how == 2 ? count : 32;
    while (left) {
        bool progress = false;
        int at_barrier = 0;
        for (int first = 0; first < count; first += together) {
            bool ran;
            do {
                ran = false;
                for (int o = first; o < first + together && o < count; o++) {
                    self = threads + order[o];
                    if (self->state != NEW && self->state != READY) continue;
                    if (self->state == NEW) start(self);
                    if (failed) return;
                    ran = progress = true;
                    to_thread();
                    if (failed) return;
                    if (self->state == DONE) {
                        stacks[free_stacks++] = self->stack;
                        left--;
                    }
                }
            } while (ran && together < count);
        }
        for (int i = 0; i < count; i++)
            at_barrier += threads[i].state == BARRIER && threads[i].line == threads[0].line && threads[i].file == threads[0].file;
        if (at_barrier == count) {
            for (int i = 0; i < count; i++) threads[i].state = READY;
        } else if (!progress) {
            deadlock();
            return;
        }
    }
}

static const char* launch(void (*call)(void**), void** values, unsigned grid, unsigned block, unsigned shared, int how) {
    if (block < 1 || block > MOST || block % 32) {
        snprintf(message, sizeof message, "%u threads a block; expected a multiple of 32, at most %d", block, MOST);
        return message;
    }
    body = call;
    arguments = values;
    count = (int)block;
    failed = false;
    random_state = 20011;
    grid_size = {grid, 1, 1};
    block_size = {block, 1, 1};
    size_t page = 4096, whole = ((size_t)shared + 2 * page - 1) / page * page;
    dynamic_size = shared;
    char* memory = (char*)mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == (char*)MAP_FAILED) return "no memory for shared memory";
    dynamic_shared = memory;
    memset(memory + shared, 0xa5, whole - shared);
    for (unsigned i = 0; i < grid && !failed; i++) {
        block_index = {how == 0 ? i : how == 1 ? grid - 1 - i : (i + grid / 2) % grid, 0, 0};
        run_block(how);
    }
    for (size_t i = shared; i < whole && !failed; i++)
        if (memory[i] != (char)0xa5) say("a write past the end of the %u bytes of dynamic shared memory", shared);
    munmap(memory, whole);
    if (!failed) return 0;
    free_stacks = 0;  // those of threads that never ended are given up with them
    return message;
}

}  // namespace csrl

#define threadIdx (csrl::self->index)
#define blockIdx (csrl::block_index)
#define blockDim (csrl::block_size)
#define gridDim (csrl::grid_size)
#define warpSize 32

#define __syncthreads() csrl::wait(csrl::BARRIER, __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane) csrl::shuffle(mask, value, (lane) & 31, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits) csrl::shuffle(mask, value, csrl::lane() ^ (bits), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, by) \
    csrl::shuffle(mask, value, csrl::lane() + (by) < 32 ? csrl::lane() + (by) : csrl::lane(), __FILE__, __LINE__)

template <class T>
static inline T atomicAdd(T* place, T value) {
    T old = *place;
    *place = old + value;
    return old;
}
static inline float __int_as_float(int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// What -fsanitize=bounds,alignment calls; the library that usually answers is not linked.
struct csrl_place {
    const char* file;
    unsigned line, column;
};
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds(csrl_place* place, uintptr_t index) {
    csrl::say("%s:%u: index %lld is outside of an array of fixed size", place->file, place->line, (long long)index);
    csrl::to_scheduler();
}
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(csrl_place* place, uintptr_t address) {
    csrl::say("%s:%u: the address %#llx is not aligned for what is read or written there", place->file, place->line,
              (unsigned long long)address);
    csrl::to_scheduler();
}
