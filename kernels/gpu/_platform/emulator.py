"""Platform "emulated": the same device code, compiled for the host, to verify it where there is no GPU.

Every launch runs in three orders of threads and blocks, on copies of its arrays that lie between
canaries; the results of the three must be the same to the bit. Much slower than any other backend.
"""

import ctypes
import hashlib
import os
import platform as host
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path

import numpy as np

from .launch import FOLDER, THREADS, DeviceError, KernelError, Platform, source

ORDERS = ("forward", "reverse", "random")
FLAGS = ("-std=c++17", "-O2", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-fsanitize=bounds,alignment")
MARGIN = 256  # bytes of canaries before and after an array
CANARY = np.uint32(0xFFFFA5A5)  # NaN in either dtype, far out of range among integers


class PoisonedArrays:
    """NumPy, but what ``empty`` gives is filled with NaN, so that what a kernel leaves unwritten shows."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=np.float64):
        out = np.empty(shape, dtype)
        out.reshape(-1).view(np.uint32)[:] = CANARY  # no dtype of a kernel is narrower
        return out


class Emulator(Platform):
    """The host as a device.

    orders : which thread orders to run, of `ORDERS`; the first one's results are kept
    few blocks, so that loops over a grid take more than one round
    """

    name, xp, array, max_blocks = "emulated", PoisonedArrays(), np.ndarray, 3

    def __init__(self, orders=ORDERS, sources=source):
        check_host()
        self.orders, self._sources, self._libraries = orders, sources, {}
        self._lock = threading.RLock()  # the compiled code keeps its state in static memory

    def kernel(self, stem, name, dtype):
        key = stem, dtype.char
        if key not in self._libraries:
            with self._lock:
                text = self._sources(stem)
                self._libraries[key] = ctypes.CDLL(str(compiled(text, dtype))), text.kernels
        library, kernels = self._libraries[key]
        function = getattr(library, f"csrl_run_{name}")
        function.restype = ctypes.c_char_p
        return f"{stem}.{name}", function, kernels[name]

    def run(self, kernel, blocks, arguments, shared):
        title, function, parameters = kernel
        with self._lock:
            kept = None
            for order in self.orders:
                guarded = _Guarded(arguments, parameters)
                error = function(
                    guarded.pointers, ctypes.c_uint(blocks), ctypes.c_uint(THREADS), ctypes.c_uint(shared),
                    ctypes.c_int(ORDERS.index(order)),
                )  # fmt: skip
                if error:
                    raise KernelError(f"{title}, threads in {order} order: {error.decode()}")
                guarded.check(title)
                if kept is None:
                    kept = guarded
                else:
                    guarded.compare(kept, title, self.orders[0], order)
            kept.give_back()


class _Guarded:
    """Copies of a launch's arrays between canaries; an array that is given twice has one copy."""

    def __init__(self, arguments, parameters):
        self._copies, self._changing, self._keep = {}, {}, []
        self.pointers = (ctypes.c_void_p * len(arguments))()
        for i, (value, parameter) in enumerate(zip(arguments, parameters)):
            if not parameter.pointer:
                cell = np.array([value])
            else:
                place = value.ctypes.data, value.nbytes
                if place not in self._copies:
                    self._copies[place] = self._guard(value), value, parameter.name
                if not parameter.constant:
                    self._changing[place] = self._copies[place]
                cell = np.array([self._copies[place][0][1].ctypes.data], np.uintp)
            self._keep.append(cell)
            self.pointers[i] = cell.ctypes.data

    @staticmethod
    def _guard(value):
        whole = np.full((MARGIN * 2 + 16 + value.nbytes) // 4, CANARY).view(np.uint8)
        # As far from a multiple of 16 bytes as the array itself, in which vector loads depend on it.
        start = MARGIN + (value.ctypes.data - (whole.ctypes.data + MARGIN)) % 16
        inner = whole[start : start + value.nbytes]
        inner[:] = value.reshape(-1).view(np.uint8)
        return whole, inner, start

    def check(self, title):
        """No canary may have changed."""
        for (whole, inner, start), _, name in self._copies.values():
            end = start + len(inner)
            before, after = (np.flatnonzero(part.view(np.uint32) != CANARY) for part in (whole[:start], whole[end:]))
            if len(before) or len(after):
                where = f"{start - 4 * before[0]} bytes before its start" if len(before) else ""
                where = where or f"{4 * after[0]} bytes past its end"
                raise KernelError(f"{title} wrote outside of {name}, {where}")

    def compare(self, first, title, one, other):
        """The results in another order of threads must be the same."""
        for place, ((_, inner, _), value, name) in self._changing.items():
            expected = first._changing[place][0][1]
            if not np.array_equal(inner, expected):
                at = int(np.flatnonzero(inner != expected)[0]) // value.itemsize
                raise KernelError(
                    f"{title}: {name} (element {at}) depends on the order of threads, {one} or {other}: "
                    f"a barrier is missing, or two threads write to one place"
                )

    def give_back(self):
        for (_, inner, _), value, _ in self._changing.values():
            value.reshape(-1).view(np.uint8)[:] = inner


# -- compiling ---------------------------------------------------------------------------------------


def check_host():
    """Raise DeviceError where the emulator cannot work."""
    if not sys.platform.startswith("linux") or sys.byteorder != "little":
        raise DeviceError(
            f"backend='emulated' runs on little-endian Linux only, this is {sys.platform} on {host.machine()}; "
            f"use backend='numba', or 'cupy' where there is a GPU"
        )
    compiler()


def compiler():
    """Path of the C++ compiler: what CXX names, else g++, clang++ or c++."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["g++", "clang++", "c++"]:
        path = shutil.which(name)
        if path:
            return path
    looked = f"CXX={named!r} names none" if named else "none of g++, clang++, c++ is on PATH"
    raise DeviceError(
        f"backend='emulated' compiles the CUDA code for the host and needs a C++17 compiler: {looked}; "
        f"install one (for instance: apt-get install g++) or set CXX"
    )


def cache_folder():
    """Where compiled code is kept: CSRL_CACHE_DIR, else the user's cache folder."""
    chosen = os.environ.get("CSRL_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "csrl_core" / "emulator"


@cache
def _version(path):
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout


def host_code(text, dtype):
    """A stem's device code as C++ for the host, an exported function a kernel."""
    body = text.whole.replace("extern __shared__ double running[];", "double* running = (double*)csrl::dynamic_shared;")
    lines = [f"#define REAL {_real(dtype)}", f'#line 1 "emulator.h"\n{(FOLDER / "emulator.h").read_text()}', body]
    for name, parameters in text.kernels.items():
        casts = [
            f"*({'const ' if p.constant else ''}{p.type}{'*' if p.pointer else ''}*)a[{i}]"
            for i, p in enumerate(parameters)
        ]
        lines.append(f"static void csrl_call_{name}(void** a) {{ {name}({', '.join(casts)}); }}")
        lines.append(
            f'extern "C" const char* csrl_run_{name}(void** a, unsigned g, unsigned b, unsigned s, int o) '
            f"{{ return csrl::launch(csrl_call_{name}, a, g, b, s, o); }}"
        )
    return "\n".join(lines)


def _real(dtype):
    return {"f": "float", "d": "double"}[np.dtype(dtype).char]


def compiled(text, dtype):
    """Path of the shared object of a stem in a dtype, compiled where it is not yet."""
    path, code = compiler(), host_code(text, dtype)
    digest = hashlib.sha256("\0".join([path, _version(path), *FLAGS, host.machine(), code]).encode()).hexdigest()
    folder = cache_folder()
    target = folder / f"{text.stem}-{_real(dtype)}-{digest[:24]}.so"
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            cpp, obj, so = (str(Path(work) / f"kernels.{suffix}") for suffix in ("cpp", "o", "so"))
            Path(cpp).write_text(code)
            _compile([path, *FLAGS, "-c", cpp, "-o", obj], text.stem)
            # Linked without -fsanitize: the header answers for the library that would come with it.
            _compile([path, "-shared", "-Wl,-Bsymbolic", obj, "-o", so], text.stem)
            Path(so).replace(target)
    except OSError as error:
        raise DeviceError(
            f"backend='emulated' cannot keep compiled code in {folder} ({error}); "
            f"set CSRL_CACHE_DIR to a folder that it can"
        ) from None
    return target


def _compile(command, stem):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise DeviceError(
            f"backend='emulated': {command[0]} cannot compile {stem}.cu for this host:\n{result.stderr[-2000:]}"
        )
