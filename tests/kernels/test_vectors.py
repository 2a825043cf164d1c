"""Vectors are as wide as those of the processor that Numba compiles for, and kernels work with the narrowest."""

import os
import platform
import subprocess
import sys

import llvmlite.binding
import pytest

from csrl_core.kernels.cpu._engine import vectors

X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
# Two lanes of float64, fewer than the four terms of a group.
NARROW = """
import numpy as np
from csrl_core.kernels.cpu import subsets, vectors

assert vectors.BYTES == 16, vectors.BYTES
for p in (1, 4, 29):
    A = (np.random.default_rng(p).random((3, p)) < 0.4).astype(np.float64)
    packed = np.empty((3, -(-p // 4)), np.uint8)
    assert subsets.pack_rows(A, packed)
    assert not subsets.pack_rows(A + 0.5, packed.copy())
    whole = np.pad(A, ((0, 0), (0, 4 * packed.shape[1] - p))).reshape(3, -1, 4)
    np.testing.assert_array_equal(packed, whole @ [1, 2, 4, 8])
"""


@X86
@pytest.mark.parametrize(
    ("cpu", "features", "expected"),
    [
        ("x86-64-v2", "", 16),
        ("generic", "", 16),
        ("haswell", "", 32),
        ("znver3", "", 32),
        ("skylake-avx512", "", 64),
        ("znver4", "", 64),
        ("generic", "+avx2", 32),
        ("haswell", "+avx512f", 64),
        ("znver4", "-avx512f", 32),
    ],
)
def test_width_of_a_processor(cpu, features, expected):
    assert vectors.width(llvmlite.binding.get_default_triple(), cpu, features) == expected


def test_width_of_this_one():
    if not os.environ.get("NUMBA_CPU_NAME") and "NUMBA_CPU_FEATURES" not in os.environ:
        features = llvmlite.binding.get_host_cpu_features().flatten()
        found = vectors.width(llvmlite.binding.get_default_triple(), llvmlite.binding.get_host_cpu_name(), features)
        assert found == vectors.BYTES


def test_bits_in_vectors_of_16_bytes(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CPU_FEATURES"}
    environment |= {"NUMBA_CPU_NAME": "generic", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", NARROW], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
