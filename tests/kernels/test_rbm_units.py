"""Loops over the units of a row: their sums are the same wherever rows lie in memory."""

import numpy as np
import pytest

from csrl_core.kernels.cpu.rbm.units import annealed_row, energy_row

FAR = 1 << 14  # bytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [4, 5, 8, 16, 17, 40])
def test_sums_do_not_depend_on_how_near_rows_lie_to_each_other(n, dtype):
    size, rng = n * np.dtype(dtype).itemsize, np.random.default_rng(n)
    A, b, memory = rng.normal(size=n).astype(dtype), rng.normal(size=n).astype(dtype), np.empty(4 * FAR, np.uint8)
    base = -memory.ctypes.data % 64 + FAR

    def row(place):
        return memory[base + place : base + place + size].view(dtype)

    energies, annealed = set(), set()
    for gap in [*range(size, 600, 16), FAR]:
        for a, other in ((row(0), row(gap)), (row(gap), row(0))):
            a[:] = A
            energies.add(float(energy_row(a, b, other)))
            a[:], other[:] = A, b
            annealed.add(float(annealed_row(a, other, dtype(0.7), dtype(0.6))))
    assert len(energies) == 1
    assert len(annealed) == 1
