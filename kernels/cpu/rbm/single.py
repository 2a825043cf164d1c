"""One Boltzmann machine, small batches: threads that stay at work, phase after phase.

With one machine the assignment is known and so is every weight. A block of visible units takes the same rows of W and
of the gradient in all phases, and mostly the same thread, in whose cache they are; what it adds to hidden units is
added up by blocks of rows (``rbm_single_tasks``). Threads meet in compiled code (``phases``).
"""

from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from numba import cfunc, njit, types

from .._engine.arrays import aligned
from .._engine.atomic import load
from .._engine.phases import claim, finish, wait
from .._engine.phases import counters as new_counters
from .._engine.team import read_flat, rest, write
from .._engine.team import run as share_job
from . import single_tasks as single
from .blocks import views
from .products import Products
from .subsets import groups

TASKS = 4  # blocks of visible units, and of the rows of samples or chains, at most
_UNITS, _COLUMNS = 48, 16  # the fewest units of a block, and what their bounds are multiples of
_ROWS = 24  # the fewest rows of one

_DATA, _PACK, _ENERGIES, _SAMPLE, _VISIBLE, _STATISTICS, _HIDDEN_BIAS = range(7)

_jit = njit(nogil=True, cache=True, error_model="numpy", fastmath=False)


def _blocks(size, wanted, unit):
    """Blocks (first, next) of about equal length; their bounds are multiples of the unit."""
    units = -(-size // unit)
    return list(pairwise(min(units * part // wanted * unit, size) for part in range(wanted + 1)))


def _half(tasks, which):
    """The first or the second half."""
    middle = (len(tasks) + 1) // 2
    return tasks[middle:] if which else tasks[:middle]


@lru_cache(maxsize=64)
def plan(n, M, d, own, n_steps):
    """Tasks (t, 5) int64, a kind, its step, a block and its bounds; the phases' bounds; number of blocks of units.

    n samples, M chains, d visible units; own : whether the chains begin at the samples; n_steps ≥ 1
    """
    units = _blocks(d, min(max(d // _UNITS, 1), TASKS), _COLUMNS)
    samples, chains = (_blocks(rows, min(max(rows // _ROWS, 1), TASKS), 1) for rows in (n, M))

    def tasks(kind, substep, blocks):
        return [(kind, substep, number, *block) for number, block in enumerate(blocks)]

    def both(one, other):  # half of each where a thread of two begins
        return [task for half in (0, 1) for part in (one, other) for task in _half(part, half)]

    data, energies = tasks(_DATA, 0, units), tasks(_ENERGIES, 0, samples)
    ends = tasks(_ENERGIES, n_steps - 1, [(n + lo, n + hi) for lo, hi in chains])
    phases = [data, energies] if own else [tasks(_PACK, 0, chains)]
    for t in range(n_steps):
        phases += [tasks(_SAMPLE, t if own else t - 1, chains)] if t else []
        phases += [tasks(_VISIBLE, t, units)]
    phases += [ends] if own else [data, both(energies, ends)]
    phases += [tasks(_STATISTICS, 0, units) + tasks(_HIDDEN_BIAS, 0, [(0, 0)])]
    bounds = np.cumsum([0] + [len(phase) for phase in phases])
    return np.array([task for phase in phases for task in phase], np.int64), bounds, len(units)


@_jit
def _padded(size):
    """So many entries that what follows begins with a cache line."""
    return (size + 15) // 16 * 16


@_jit
def workspace(n, M, d, m, blocks, own, centred):
    """Floats and bytes that a `Work` is cut from; the last floats are the centred samples, where they are wanted."""
    rows = n + M
    floats = _padded(blocks * rows * m) + _padded(rows * (blocks + 1)) + (_padded(M * m) if own else 0)
    floats += 0 if centred else n * d
    return floats, 2 * blocks + (groups(n) + groups(M)) * d + M * groups(m)


@_jit
def _cut(memory, start, rows, columns):
    """An array of the memory from ``start`` on, and where the next begins."""
    return memory[start : start + rows * columns].reshape(rows, columns), start + _padded(rows * columns)


@_jit
def _arrange(S, floats, memory, hidden, M, m, blocks):
    n, d = S.shape
    rows = n + M
    F, start = _cut(floats, 0, blocks + 1, rows)
    H, start = _cut(floats, start, blocks * rows, m)
    if len(hidden) == 0:
        hidden = floats[start : start + M * m]
    first = 2 * blocks
    second = first + (groups(n) + groups(M)) * d
    known, across, packed_H = memory[:first].reshape(blocks, 2), memory[first:second], memory[second:]
    H, bits = H.reshape(blocks, rows, m), hidden.reshape(M, m)
    return single.Work(S, H, H[0], F, bits, known, across, packed_H.reshape(M, groups(m)))


@_jit
def _do(task, problem, work, gradient):
    kind, substep, block, first, stop = task[0], task[1], task[2], task[3], task[4]
    if kind == _DATA:
        single.data(block, first, stop, problem, work, gradient)
    elif kind == _PACK:
        single.pack_hidden(first, stop, work)
    elif kind == _ENERGIES:
        single.energies(first, stop, substep, problem, work)
    elif kind == _SAMPLE:
        single.sample(first, stop, substep, problem, work)
    elif kind == _VISIBLE:
        single.visible(block, first, stop, substep, problem, work, gradient)
    elif kind == _STATISTICS:
        single.statistics(block, first, stop, problem, work, gradient)
    elif kind == _HIDDEN_BIAS:
        single.hidden_bias(work, gradient)
    else:
        raise ValueError("no such task")


@cache
def thread_function(dtype):
    """A thread's part of all phases of a `plan`, for ``team``; its address is good as long as it is kept."""
    dtype, number = dtype.type, np.int64

    @cfunc(types.int64(types.int64, types.int64), cache=True, error_model="numpy", fastmath=False)
    def thread(words, me):
        # In the order of ``_share``.
        numbers = read_flat(words, number(0), number)
        counters = read_flat(words, number(1), number)
        claims = read_flat(words, number(2), number)
        tasks = read_flat(words, number(3), number)
        bounds = read_flat(words, number(4), number)
        places = read_flat(words, number(5), number)
        draw = read_flat(words, number(6), np.uint32)
        memory = read_flat(words, number(7), np.uint8)
        params = read_flat(words, number(8), dtype)
        X = read_flat(words, number(9), dtype)
        center = read_flat(words, number(10), dtype)
        weights = read_flat(words, number(11), dtype)
        V = read_flat(words, number(12), dtype)
        floats = read_flat(words, number(13), dtype)
        out = read_flat(words, number(14), dtype)
        share = read_flat(words, number(15), dtype)
        hidden = read_flat(words, number(16), dtype)
        visible, n_steps, threads, blocks = numbers[0], numbers[1], numbers[2], numbers[3]
        own, centred, n, M, d, m = numbers[4] > 0, numbers[5] > 0, numbers[6], numbers[7], numbers[8], numbers[9]
        products, tasks = Products(numbers[10], numbers[11], numbers[12]), tasks.reshape(-1, 5)
        X, V = X.reshape(n, d), V.reshape(M, d)
        (W, a, b), (dW, da, db) = views(params, number(1), d), views(out, number(1), d)
        problem = single.Problem(
            W[0], a[0], b, visible, X, center, centred, weights, share[0], own, n_steps, draw, places, V, products
        )
        S = X if centred else floats[len(floats) - n * d :].reshape(n, d)
        work, gradient = _arrange(S, floats, memory, hidden, M, m, blocks), single.Gradient(dW[0], da[0], db)
        phase = 0
        while phase < len(bounds) - 1:
            first, count = bounds[phase], bounds[phase + 1] - bounds[phase]
            # Each thread begins at its part of every phase, where what it needs is in its cache.
            for t in range(count):
                task = first + (t + count * me // threads) % count
                if claim(claims, task):
                    try:
                        _do(tasks[task], problem, work, gradient)
                    except Exception:
                        claim(claims, len(tasks))  # so that nobody waits for what will not be finished
                        return 0
                    finish(counters, phase)
            if wait(counters, phase, count):
                phase += 1
            elif load(claims, len(tasks)):
                return 0
            else:
                rest()  # something else seems to keep the core busy
        return 1

    return thread


@_jit
def _share(
    board, seats, function, threads, params, X, centers, weights, V, hidden, floats, out, share, draw, places, tasks,
    bounds, counters, claims, memory, numbers
):  # fmt: skip
    """All threads' work. What they work on are arguments here, so that nothing is freed while they do."""
    words = np.empty((17, 3), np.int64)
    write(words, np.int64(0), numbers)
    write(words, np.int64(1), counters)
    write(words, np.int64(2), claims)
    write(words, np.int64(3), tasks)
    write(words, np.int64(4), bounds)
    write(words, np.int64(5), places)
    write(words, np.int64(6), draw)
    write(words, np.int64(7), memory)
    write(words, np.int64(8), params)
    write(words, np.int64(9), X)
    write(words, np.int64(10), centers)
    write(words, np.int64(11), weights)
    write(words, np.int64(12), V)
    write(words, np.int64(13), floats)
    write(words, np.int64(14), out)
    write(words, np.int64(15), share)
    write(words, np.int64(16), hidden)
    share_job(board, seats, function, words, threads)


@_jit
def step(
    board, seats, function, tasks, bounds, blocks, params, X, centers, weights, visible, own, n_steps, draw, places, V,
    hidden, products, L, out
):  # fmt: skip
    """One batch. L : (n, 1), losses, and out : (p,), the gradient, are overwritten.

    board, seats, function : see ``team.run`` and ``thread_function``; tasks, bounds, blocks : see `plan`
    V : (M, d), hidden : (M, m), the chains, moved on; for chains that begin at the samples V is without use
    """
    (n, d), M, threads, phases = X.shape, len(V), seats + 1, len(bounds) - 1
    m = (len(params) - d) // (d + 1)
    total, centred = 0.0, True
    for weight in weights:
        total += weight
    for c in centers[0]:
        centred &= c == 0
    n_floats, n_bytes = workspace(n, M, d, m, blocks, own, centred)
    floats, memory = aligned(1, n_floats, X)[0], np.empty(n_bytes, np.uint8)
    share = np.full(1, 0 if own else total / M).astype(X.dtype)
    counters, claims = new_counters(phases), np.zeros(len(tasks) + 1, np.int64)
    numbers = np.array([visible, n_steps, threads, blocks, np.int64(own), np.int64(centred), n, M, d, m, *products])
    _share(
        board, seats, function, threads, params, X, centers, weights, V, hidden, floats, out, share, draw, places,
        tasks, bounds, counters, claims, memory, numbers
    )  # fmt: skip
    F, mean = _cut(floats, 0, blocks + 1, n + M)[0], 0.0
    for block in range(1, blocks + 1):
        single.accumulate_row(F[0], F[block])
    for i in range(M):
        mean += np.float64(F[0, n + i]) / M
    for i in range(n):
        L[i, 0] = np.float64(F[0, i]) - (F[0, n + i] if own else mean)
