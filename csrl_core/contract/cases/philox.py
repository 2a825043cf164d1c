"""Cases of the ``philox`` kernels: rows that share blocks, odd widths, the ends of the counter."""

import numpy as np

from csrl_core.contract.cases import Case, Kernel
from csrl_core.reference import philox as reference

ARGUMENTS = {
    "counter": ("(..., 4)", "uint32", "(block, substep, step, stream)"),
    "dtype": ("", "dtype", "of what is returned"),
    "count": ("", "int", "how many"),
    "high": ("", "int", "one more than the largest, 1 … 2³²"),
    "n": ("", "int", "how many are ordered"),
    "p": ("(n, width)", "float", "probabilities"),
}
FUNCTIONS = [
    Kernel(reference.philox4x32, "(..., 4) uint32", "exact", "element"),
    Kernel(reference.uniform, "(n, width) dtype", "exact", "element"),
    Kernel(reference.uniform53, "(count,) float64", "exact", "element"),
    Kernel(reference.normal, "(n, width) dtype", "elementwise", "element"),
    Kernel(reference.bernoulli, "(n, width) float, 0 or 1", "exact", "element"),
    Kernel(reference.integers, "(count,) int64", "exact", "element"),
    Kernel(reference.permutation, "(n,) int64", "exact", "element"),
]
CONSTANTS = ("MULTIPLIERS", "KEY_STEPS", "ROUNDS")

KEY = np.array([0xA4093822, 0x299F31D0], dtype=np.uint32)
LAST = 2**32 - 1
DRAW = (KEY, 7, 3, 1)  # key, stream, step, substep


def _counters(shape):
    return np.random.default_rng(0).integers(0, 2**32, size=(*shape, 4), dtype=np.uint32)


# Rows and width; with four elements to a block, and with two.
ROWS = {
    "tiny": ([0], 1),
    "one row": ([5], 7),
    "no rows": ([], 4),
    "no columns": ([0, 1], 0),
    "consecutive": (np.arange(100), 5),
    "whole blocks": (np.arange(64), 8),
    "shuffled": (np.random.default_rng(1).permutation(257), 3),
    "repeated and apart": ([3, 3, 1000, 4, 5, 6, 0], 9),
    "one column": (np.random.default_rng(2).permutation(1000)[:300], 1),
    "several chunks": (np.arange(3, 5003), 10),
    "strided rows": (np.arange(200)[::3], 6),
    "last block of two with this key": ([2**33 - 1], 1),
    "across the keys, four to a block": (2**34 // 7 + np.arange(-2, 3), 7),
    "across the keys, two to a block": (2**33 // 11 + np.arange(-2, 3), 11),
    "keys apart": ([2**58, 0, 2**40, 2**34 // 9], 9),
    "last element": ([2**62 - 1], 1),
}


def _probabilities(rows, width, dtype):
    p = np.random.default_rng(3).random((len(rows), width)).astype(dtype)
    p.ravel()[:3] = [0, 1, 0.5][: p.size]
    return p


CASES = [
    Case("philox", "philox4x32", name, lambda dtype, counter=counter, key=key: [counter, key])
    for name, counter, key in [
        ("zeros", np.zeros(4, dtype=np.uint32), np.zeros(2, dtype=np.uint32)),
        ("ones", np.full(4, LAST, dtype=np.uint32), np.full(2, LAST, dtype=np.uint32)),
        ("many", _counters((999,)), KEY),
        ("three axes", _counters((2, 3)), KEY),
        ("non-contiguous", _counters((40,))[::3], KEY),
        ("none", _counters((0,)), KEY),
    ]
]
CASES += [
    Case("philox", function, name, lambda dtype, rows=rows, width=width: [*DRAW, rows, width, dtype])
    for function in ("uniform", "normal")
    for name, (rows, width) in ROWS.items()
]
CASES += [
    Case("philox", "uniform", "last block with this key", lambda dtype: [*DRAW, [2**34 - 1], 1, dtype]),
    Case("philox", "normal", "last words", lambda dtype: [KEY, LAST, LAST, LAST, np.arange(9), 3, dtype]),
]
CASES += [
    Case("philox", "uniform53", f"{count}", lambda dtype, count=count: [*DRAW, count])
    for count in (0, 1, 2, 1023, 20000)
]
CASES += [
    Case(
        "philox",
        "bernoulli",
        name,
        lambda dtype, rows=rows, width=width: [_probabilities(rows, width, dtype), *DRAW, rows],
    )
    for name, (rows, width) in ROWS.items()
]
CASES += [
    Case(
        "philox",
        "bernoulli",
        "non-contiguous",
        lambda dtype: [_probabilities(np.arange(60), 10, dtype)[::2, 1::2], *DRAW, np.arange(30)],
    )
]
CASES += [
    Case("philox", "integers", f"{count} below {high}", lambda dtype, high=high, count=count: [high, *DRAW, count])
    for high, count in [(1, 5), (2, 1), (10, 0), (10, 1001), (2**31 + 1, 50), (2**32, 40000)]
]
CASES += [Case("philox", "permutation", f"{n}", lambda dtype, n=n: [n, KEY, 7, 3]) for n in (0, 1, 2, 7, 1000, 20001)]
