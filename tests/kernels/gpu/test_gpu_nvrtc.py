"""The compile gate: NVIDIA's own compiler takes every kernel, without a GPU."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from csrl_core import contract
from csrl_core.kernels.gpu._platform import launch, nvrtc

try:
    nvrtc.library()
    missing = ""
except launch.DeviceError as error:
    missing = str(error)

pytestmark = pytest.mark.skipif(bool(missing), reason=missing)


def test_every_kernel_compiles_in_both_dtypes_and_for_every_architecture():
    kinds = list(zip(("float", "double"), nvrtc.ARCHITECTURES, strict=True))  # no code asks for its architecture
    jobs = [(stem, *kind) for stem in launch.stems() for kind in kinds]
    with ThreadPoolExecutor(2) as threads:
        codes = list(threads.map(lambda job: nvrtc.cubin(launch.source(job[0]), *job[1:]), jobs))
    for (stem, *_), code in zip(jobs, codes, strict=True):
        assert code.startswith(b"\x7fELF")
        for kernel in launch.source(stem).kernels:
            assert f".text.{kernel}\0".encode() in code, f"{stem}.{kernel} is not in the machine code"


def test_device_code_is_of_a_stem():
    assert {"assign", "autoencoder", "dense", "mixture", "optimizer", "philox", "rbm"} <= set(launch.stems())
    assert set(launch.stems()) <= set(contract.STEMS)


def test_what_g_plus_plus_takes_and_the_compiler_refuses():
    # The host's <cmath> knows it, the device does not.
    text = "KERNEL k(real* out) { out[0] = std::fmax(out[0], out[1]); }"
    with pytest.raises(nvrtc.CompileError, match=r"(?s)broken.cu, float, sm_90:.*broken.cu\(1\): error"):
        nvrtc.cubin(launch.Source("broken", text), "float", "sm_90")


def test_the_architectures_and_the_version():
    assert nvrtc.ARCHITECTURES == ("sm_80", "sm_90")
    assert nvrtc.version() >= (12, 0)
