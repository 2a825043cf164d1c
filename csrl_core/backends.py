"""The backends "numpy", "numba", "cupy" and "emulated": where each has its kernels, and its arrays.

A backend is a name and one module per kernel stem; all backends have the same functions with the
same arguments (see ``contract``). An explicit choice never falls back to another one.

    backend          backend.rbm is
    get("numpy")     reference/rbm.py
    get("numba")     kernels/cpu/rbm.py, or the folder of that name
    get("cupy")      kernels/gpu/rbm.py, which launches kernels/gpu/rbm.cu on a CUDA device and keeps arrays there
    get("emulated")  the same, but the device code is compiled for the host, where it runs slowly, to verify it
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np

# Name → package that has a module for each stem.
BACKENDS = {
    "numpy": "csrl_core.reference",
    "numba": "csrl_core.kernels.cpu",
    "cupy": "csrl_core.kernels.gpu",
    "emulated": "csrl_core.kernels.gpu",
}
AUTO = "numba"  # what "auto" takes


class BackendError(RuntimeError):
    """A backend that was asked for cannot be used here; the message says why and what to do."""


class DeviceMemoryError(MemoryError):
    """The device has too little memory; the message names what was wanted, what is free, and what would fit."""


@dataclass(frozen=True)
class Backend:
    """A backend that can be used here: ``backend.assign``, ``backend.optimizer``, … are the kernel modules.

    ``platform`` is where device code runs, None for "numpy" and "numba".
    """

    name: str
    platform: object = None

    def kernels(self, stem):
        """The module of one stem.

        Raises
        ------
        AttributeError
            This backend has no kernels of that stem.
        """
        home = f"{BACKENDS[self.name]}.{stem}"
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name != home:
                raise
            raise AttributeError(f"backend {self.name!r} has no kernels of the stem {stem!r}") from None
        if self.platform is None:
            return module
        from csrl_core.kernels.gpu._platform.launch import Bound

        return Bound(module, self.platform)  # its functions, which launch on this platform

    def __getattr__(self, stem):
        if stem.startswith("_"):
            raise AttributeError(stem)
        module = self.kernels(stem)
        object.__setattr__(self, stem, module)  # an ordinary attribute from now on
        return module

    def __dir__(self):
        from csrl_core import contract

        return sorted({*super().__dir__(), *contract.STEMS} - {*self.missing})

    @property
    def missing(self):
        """Stems of the contract that this backend has no kernels of."""
        from csrl_core import contract

        return tuple(stem for stem in contract.STEMS if find_spec(f"{BACKENDS[self.name]}.{stem}") is None)

    def threads(self, n_jobs):
        """Context in which kernels use ``n_jobs`` threads (None: all usable cores), and BLAS one."""
        from csrl_core.kernels.cpu._engine import pool

        return pool.threads(n_jobs)

    @property
    def on_device(self):
        """Whether its arrays are not the host's."""
        return self.name == "cupy"

    @property
    def xp(self):
        """The array module of its arrays."""
        return self.platform.xp if self.on_device else np

    def own(self, array, dtype=None):
        """``array`` as a contiguous array of this backend; a copy only where it is not one already."""
        if not self.on_device:
            return np.ascontiguousarray(as_numpy(array), dtype)
        return self.xp.ascontiguousarray(self.xp.asarray(array), dtype)

    def check_memory(self, fixed, of_batch, rows):
        """Raise `DeviceMemoryError` unless the device holds ``fixed`` bytes and a batch of ``rows`` rows.

        of_batch : function of a number of rows → bytes, growing
        """
        if not self.on_device:
            return
        free, total = self.platform.free_bytes()
        wanted = fixed + of_batch(rows)
        if wanted <= free:
            return
        said = f"backend='cupy': {wanted} bytes of device memory are wanted, {free} of {total} are free; "
        if fixed + of_batch(1) > free:
            raise DeviceMemoryError(f"{said}data and parameters alone take {fixed}, so no batch_size would fit")
        low, high = 1, rows  # fits, does not
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fixed + of_batch(middle) <= free else (low, middle)
        raise DeviceMemoryError(f"{said}batch_size={low} would fit (it is {rows})")


def usable_threads(n_jobs=None):
    """How many threads ``n_jobs`` means here: None takes all usable cores, −1 too, −2 all but one."""
    from csrl_core.kernels.cpu._engine import pool

    return pool.usable_threads(n_jobs)


def is_device_array(array):
    """Whether an array lies on a CUDA device: CuPy's, or that of any library with the same interface."""
    return hasattr(array, "__cuda_array_interface__")


def as_numpy(array):
    """A host array: ``array`` itself, or a copy of what lies on a device, whatever library it is of.

    Raises
    ------
    TypeError
        The library of a device array can neither bring it to the host nor give it to CuPy.
    """
    if not is_device_array(array):
        return np.asarray(array)
    if hasattr(array, "get"):  # CuPy's own
        return array.get()
    try:
        return np.array(np.from_dlpack(array, device="cpu", copy=True))  # the library of the array copies it
    except (AttributeError, TypeError, BufferError, RuntimeError, ValueError) as error:
        reason = error  # no DLPack, one that does not cross devices, or a NumPy before 2.1
    try:
        return get("cupy").xp.asarray(array).get()
    except BackendError:
        kind = f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}"
        raise TypeError(
            f"a {kind} on a device cannot be brought to the host ({reason}), and there is no CuPy to do it; "
            f"expected an array of the host, or one that DLPack or CuPy can copy there"
        ) from None


@cache
def get(name="auto"):
    """Resolve a backend by name.

    Parameters
    ----------
    name : {"auto", "numpy", "numba", "cupy", "emulated"}
        "auto" takes "numba".

    Returns
    -------
    Backend

    Raises
    ------
    ValueError
        The name is none of these.
    BackendError
        The backend cannot be used on this machine.
    """
    if name == "auto":
        name = AUTO
    if name not in BACKENDS:
        raise ValueError(f"backend={name!r} is unknown; expected 'auto' or one of {', '.join(map(repr, BACKENDS))}")
    return Backend(name, _platform(name))


def _platform(name):
    """Where the device code of a backend runs, or None."""
    if name == "numba":
        from csrl_core.kernels.cpu._engine import compiler

        if compiler.missing is not None:
            raise BackendError(compiler.missing)
    if name not in ("cupy", "emulated"):
        return None
    from csrl_core.kernels.gpu._platform.launch import DeviceError

    try:
        if name == "cupy":
            from csrl_core.kernels.gpu._platform.device import device

            return device()
        from csrl_core.kernels.gpu._platform.emulator import Emulator

        return Emulator()
    except DeviceError as error:
        raise BackendError(str(error)) from error
