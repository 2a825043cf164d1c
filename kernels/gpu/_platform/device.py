"""Platform "cupy": a CUDA device, by CuPy."""

from functools import cache
from importlib.metadata import distributions

from .launch import THREADS, DeviceError, Platform, source
from .nvrtc import options

WAVES = 16  # blocks for every multiprocessor, at most: enough to keep it busy, whatever n


class Device(Platform):
    """The current CUDA device."""

    name = "cupy"

    def __init__(self, cupy):
        self.cupy = self.xp = cupy
        self.array = cupy.ndarray
        self.max_blocks = WAVES * cupy.cuda.Device().attributes["MultiProcessorCount"]
        self._modules = {}

    def kernel(self, stem, name, dtype):
        key = stem, dtype.char, self.cupy.cuda.Device().id
        if key not in self._modules:
            real = {"f": "float", "d": "double"}[dtype.char]
            self._modules[key] = self.cupy.RawModule(code=source(stem).whole, options=options(real))
        return self._modules[key].get_function(name)

    def run(self, kernel, blocks, arguments, shared):
        kernel((blocks,), (THREADS,), tuple(arguments), shared_mem=shared)

    def misplaced(self, array):
        current = self.cupy.cuda.Device().id
        if array.device.id != current:
            return (
                f"lies on CUDA device {array.device.id}, the current one is {current}; move it there, "
                f"or work under `with cupy.cuda.Device({array.device.id}):`"
            )
        return None

    def free_bytes(self):
        """(free, total) bytes of device memory; what CuPy's pool holds unused counts as free."""
        free, total = self.cupy.cuda.runtime.memGetInfo()
        return free + self.cupy.get_default_memory_pool().free_bytes(), total


def wheels():
    """Names and versions of all installed CuPy packages."""
    found = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name == "cupy" or name.startswith("cupy-"):
            found[name] = distribution.version
    return found


INSTALL = "pip install 'csrl_core[cuda12]' (or [cuda13], to match your driver)"


@cache
def device():
    """The `Device`, once.

    Raises
    ------
    DeviceError
        There is no CuPy, there are two, or no driver or GPU.
    """
    packages = wheels()
    if len(packages) > 1:
        listed = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
        raise DeviceError(
            f"backend='cupy': several CuPy packages are installed ({listed}), which overwrite each other's files; "
            f"pip uninstall {' '.join(sorted(packages))}, then {INSTALL}"
        )
    try:
        import cupy
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise
        raise DeviceError(f"backend='cupy' needs CuPy, which is not installed; {INSTALL}") from None
    except ImportError as error:
        raise DeviceError(f"backend='cupy': CuPy cannot be imported ({error}); reinstall it: {INSTALL}") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"backend='cupy': CuPy {cupy.__version__} finds no usable NVIDIA driver or GPU ({error}); "
            f"check nvidia-smi, install a driver for CUDA {_cuda(cupy)}, or use backend='numba'"
        ) from None
    if count == 0:
        raise DeviceError(
            "backend='cupy': the driver lists no GPU (CUDA_VISIBLE_DEVICES hides it?); use backend='numba'"
        )
    return Device(cupy)


def _cuda(cupy):
    version = cupy.cuda.runtime.runtimeGetVersion()
    return f"{version // 1000}.{version % 1000 // 10}"


def describe():
    """Driver, device, CUDA and CuPy versions, as (name, finding) pairs; for the user to read.

    Raises
    ------
    DeviceError
        As `device`.
    """
    platform = device()
    cupy = platform.cupy
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    driver, (free, total) = cupy.cuda.runtime.driverGetVersion(), platform.free_bytes()
    return [
        ("CuPy", cupy.__version__),
        ("CUDA runtime", _cuda(cupy)),
        ("CUDA of the driver", f"{driver // 1000}.{driver % 1000 // 10}"),
        ("device", f"{properties['name'].decode()}, compute capability {properties['major']}.{properties['minor']}"),
        ("device memory", f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f}"),
    ]
