"""Vectors are as wide as those of the processor that Numba compiles for."""

import os
import platform

import llvmlite.binding
import pytest

from csrl_core.kernels.cpu._engine import vectors

X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")


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
