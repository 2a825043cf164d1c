"""NVRTC, the run-time compiler, by ctypes: device code to machine code without a GPU or a driver."""

import ctypes
import ctypes.util
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .launch import DeviceError

ARCHITECTURES = ("sm_80", "sm_90")
# One rounding for each operation, as in the other backends: sampled bits and sums over clusters depend on it.
OPTIONS = ("--std=c++17", "--fmad=false")


class CompileError(RuntimeError):
    """The device code is wrong; the message is the compiler's."""


@cache
def library():
    """The loaded library.

    Raises
    ------
    DeviceError
        There is none.
    """
    candidates = []
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            continue
        for place in spec.submodule_search_locations if spec else ():
            candidates += sorted(str(path) for path in Path(place).glob("lib/libnvrtc.so*"))
    named = ctypes.util.find_library("nvrtc")
    for path in [*candidates, *([named] if named else [])]:
        if "builtins" in path or ".alt." in path:
            continue
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    raise DeviceError("NVRTC, the run-time compiler of CUDA, was not found; pip install nvidia-cuda-nvrtc-cu12")


def version():
    """(major, minor)."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def options(real):
    """What every compiler of the device code is told; real : "float" or "double"."""
    return (*OPTIONS, f"-DREAL={real}")


def cubin(text, real, architecture):
    """Machine code of a `launch.Source`.

    real : "float" or "double"; architecture : "sm_90", …; returns bytes

    Raises
    ------
    CompileError
        With the compiler's log.
    """
    nvrtc, program = library(), ctypes.c_void_p()
    name = f"{text.stem}.cu".encode()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.whole.encode(), name, 0, None, None))
    try:
        flags = [option.encode() for option in (*options(real), f"--gpu-architecture={architecture}")]
        failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*flags))
        if failed:
            log = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program)
            said = log.rstrip(b"\0").decode()
            raise CompileError(f"{text.stem}.cu, {real}, {architecture}:\n{said}")
        return _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(size_of, content_of, program):
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(content_of(program, buffer))
    return buffer.raw


def _check(code):
    if code:
        nvrtc = library()
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise DeviceError(f"NVRTC: {nvrtc.nvrtcGetErrorString(code).decode()}")
