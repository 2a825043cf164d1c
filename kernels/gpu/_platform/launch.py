"""Where kernels run: the array module ``xp`` and one function ``launch``, for CuPy and for the emulator alike.

Both backends share the modules of this folder. Which of the two is meant is known while one of their
functions runs: ``bind(module, platform)`` gives a module's functions that say so, and
``csrl_core.backends`` hands out nothing else.
"""

import re
from abc import ABC, abstractmethod
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from types import FunctionType

import numpy as np

FOLDER = Path(__file__).parent  # of the headers
KERNELS = FOLDER.parent  # of the stems
THREADS = 256  # of a block, everywhere
WARP = 32
SHARED_BYTES = 48 * 1024  # what every device gives a block without being asked

_active = ContextVar("csrl_core_platform")


class DeviceError(RuntimeError):
    """The platform cannot be used here; the message says why and what to do."""


class KernelError(RuntimeError):
    """A kernel did what no kernel may; only the emulator can see it."""


class Platform(ABC):
    """What kernels need of the place where they run.

    name : the backend's; xp : array module; array : its array type; max_blocks : of a grid
    """

    name, xp, array, max_blocks = "", np, np.ndarray, 1

    @abstractmethod
    def kernel(self, stem, name, dtype):
        """A compiled kernel, to be given to `run`."""

    @abstractmethod
    def run(self, kernel, blocks, arguments, shared):
        """Run a kernel on arguments whose types have been checked."""

    def misplaced(self, array):
        """Why an array of the right type cannot be used, or None."""
        return None


def active():
    """The platform of the call that is going on."""
    try:
        return _active.get()
    except LookupError:
        raise DeviceError(
            "kernels of csrl_core.kernels.gpu run under a backend: "
            "csrl_core.backends.get('cupy').assign, not csrl_core.kernels.gpu.assign"
        ) from None


class _ArrayModule:
    """The array module of the active platform."""

    def __getattr__(self, name):
        return getattr(active().xp, name)


xp = _ArrayModule()


class Bound:
    """A module's functions on one platform; everything else is the module's own."""

    def __init__(self, module, platform):
        self._module, self._platform = module, platform

    def __getattr__(self, name):
        value = getattr(self._module, name)
        if isinstance(value, FunctionType) and value.__module__ == self._module.__name__:
            value = _on(self._platform, value)
        object.__setattr__(self, name, value)
        return value


def _on(platform, function):
    @wraps(function)
    def bound(*args, **kwargs):
        token = _active.set(platform)
        try:
            return function(*args, **kwargs)
        finally:
            _active.reset(token)

    return bound


# -- source ------------------------------------------------------------------------------------------

_TYPES = {
    "double": np.dtype(np.float64),
    "u32": np.dtype(np.uint32),
    "u64": np.dtype(np.uint64),
    "i64": np.dtype(np.int64),
    "int": np.dtype(np.int32),
}
_DECLARATION = re.compile(r"^KERNEL\s+(\w+)\(([^)]*)\)", re.MULTILINE)
_PARAMETER = re.compile(r"^(const\s+)?(\w+)\s*(\*)?\s*(?:__restrict__\s+)?(\w+)$")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel; ``dtype`` None stands for the working dtype."""

    name: str
    type: str
    pointer: bool
    constant: bool

    def dtype(self, working):
        return working if self.type == "real" else _TYPES[self.type]


@dataclass(frozen=True)
class Source:
    """The device code of one stem."""

    stem: str
    text: str

    @property
    def whole(self):
        """The text as compilers get it: what all files start with, then the file, lines numbered as in it."""
        common = (FOLDER / "common.h").read_text()
        return f'#line 1 "common.h"\n{common}\n#line 1 "{self.stem}.cu"\n{self.text}'

    @property
    def kernels(self):
        """Name → tuple of Parameter, of every kernel of the file."""
        found = {}
        for name, parameters in _DECLARATION.findall(self.text):
            found[name] = tuple(_parameter(self.stem, name, text) for text in parameters.split(","))
        return found


def _parameter(stem, kernel, text):
    match = _PARAMETER.match(" ".join(text.split()))
    if not match or (match[2] != "real" and match[2] not in _TYPES):
        raise ValueError(f"{stem}.cu: parameter {text.strip()!r} of {kernel} is not understood")
    return Parameter(match[4], match[2], bool(match[3]), bool(match[1]))


@cache
def source(stem):
    """The `Source` of a stem."""
    return Source(stem, (KERNELS / f"{stem}.cu").read_text())


def stems():
    """The stems that have device code."""
    return sorted(path.stem for path in KERNELS.glob("*.cu"))


@cache
def _kernels(stem):
    return source(stem).kernels


# -- launching ---------------------------------------------------------------------------------------


def blocks_for(threads):
    """How many blocks cover so many threads; grid-stride loops do the rest where there are more."""
    return min(-(-threads // THREADS), active().max_blocks)


def launch(stem, name, dtype, blocks, *arguments, shared=0):
    """Run one kernel, on the current stream.

    dtype : what ``real`` stands for; blocks : of the grid (0: nothing to do); arguments : in the kernel's
    order, arrays contiguous and of the kernel's dtypes, numbers of any type; shared : bytes of dynamic
    shared memory

    Raises
    ------
    TypeError
        An argument's type is not the kernel's, or an array lives elsewhere.
    """
    if blocks < 1:
        return
    platform, dtype = active(), np.dtype(dtype)
    parameters = _kernels(stem)[name]
    if len(arguments) != len(parameters):
        raise TypeError(f"{stem}.{name}: {len(arguments)} arguments, the kernel has {len(parameters)}")
    values = []
    for parameter, value in zip(parameters, arguments):
        wanted = parameter.dtype(dtype)
        if parameter.pointer:
            _check_array(f"{stem}.{name}", parameter.name, value, wanted, platform)
        else:
            value = wanted.type(value)  # the kernel's own width
        values.append(value)
    platform.run(platform.kernel(stem, name, dtype), min(blocks, platform.max_blocks), values, shared)


def _check_array(kernel, name, value, dtype, platform):
    if not isinstance(value, platform.array):
        raise TypeError(f"{kernel}: {describe_type(name, value, platform)}")
    if value.dtype != dtype:
        raise TypeError(f"{kernel}: {name} has dtype {value.dtype}; the kernel takes {dtype}")
    if not value.flags.c_contiguous:
        raise TypeError(f"{kernel}: {name} is not contiguous")
    reason = platform.misplaced(value)
    if reason:
        raise TypeError(f"{kernel}: {name} {reason}")


def describe_type(name, value, platform):
    """What to say of an argument that is no array of the platform."""
    came, own = (f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in (type(value), platform.array))
    cure = "; cupy.asarray brings it to the device" if isinstance(value, np.ndarray) else ""
    return f"{name} is a {came}; backend {platform.name!r} expected a {own}{cure}"


def array(name, value, dtype=None):
    """``value`` contiguous, of ``dtype`` where that is given; a copy only where it is neither.

    Raises
    ------
    TypeError
        ``value`` is no array of the active platform, or lies on another device.
    """
    platform = active()
    if not isinstance(value, platform.array):
        raise TypeError(describe_type(name, value, platform))
    reason = platform.misplaced(value)
    if reason:
        raise TypeError(f"{name} {reason}")
    if dtype is not None and value.dtype != dtype:
        value = value.astype(dtype)
    return platform.xp.ascontiguousarray(value)


class in_place:
    """Context that gives contiguous stand-ins of arrays that change in place, and writes them back where they are.

    with in_place(params=params, first=first) as (params, first): …
    """

    def __init__(self, **arrays):
        self._arrays = list(arrays.values())
        self._working = [array(name, value) for name, value in arrays.items()]

    def __enter__(self):
        return self._working

    def __exit__(self, error, *_):
        for target, working in zip(self._arrays, self._working):
            if working is not target and error is None:
                target[...] = working
