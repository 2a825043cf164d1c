"""A stand-in for CuPy on machines without a GPU, stricter than CuPy: host and device never mix.

Its arrays wrap NumPy arrays but refuse to become them; its kernels run in the emulator. With it, everything that
backend "cupy" does beside the kernels is executed: where arrays lie, what is copied, which types kernels get.
"""

import re
import types

import numpy as np

from csrl_core.kernels.gpu._platform import emulator


def _wrap(value):
    if isinstance(value, np.ndarray) or (isinstance(value, np.generic) and value.dtype.kind in "biuf"):
        return ndarray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(_wrap(item) for item in value)
    return value


def _unwrap(value):
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, (tuple, list)):
        return type(value)(_unwrap(item) for item in value)
    return value


class ndarray:
    __module__ = "cupy"

    def __init__(self, host, device=0):
        self._host, self.device = host, types.SimpleNamespace(id=device)

    @property
    def __cuda_array_interface__(self):
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self._host.ctypes.data, False), "version": 3}

    def get(self):
        return self._host.copy()

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        out = kwargs.pop("out", None)
        result = getattr(ufunc, method)(*_unwrap(inputs), **kwargs)
        if out is not None:
            out[0]._host[...] = result
            return out[0]
        return _wrap(result)

    def __array_function__(self, function, kinds, args, kwargs):
        return _wrap(function(*_unwrap(args), **{name: _unwrap(value) for name, value in kwargs.items()}))

    def __getitem__(self, index):
        return _wrap(self._host[_unwrap(index)])

    def __setitem__(self, index, value):
        self._host[_unwrap(index)] = _unwrap(value)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return (_wrap(item) for item in self._host)

    def __bool__(self):
        return bool(self._host)

    def __int__(self):
        return int(self._host)

    def __float__(self):
        return float(self._host)

    def __index__(self):
        return self._host.__index__()

    def tolist(self):
        return self._host.tolist()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._host, name)
        if callable(value):
            return lambda *args, **kwargs: _wrap(value(*_unwrap(args), **{k: _unwrap(v) for k, v in kwargs.items()}))
        return (
            value
            if name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "flags", "strides")
            else _wrap(value)
        )


def _operator(name):
    def apply(self, *others):
        result = getattr(self._host, name)(*_unwrap(others))
        return self if name.startswith("__i") and name != "__invert__" else _wrap(result)

    return apply


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow"):
    for _prefix in ("", "r", "i"):
        setattr(ndarray, f"__{_prefix}{_name}__", _operator(f"__{_prefix}{_name}__"))
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert", "and", "or"):
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))
ndarray.__hash__ = None


class CUDARuntimeError(RuntimeError):
    pass


class RawModule:
    """Runs the kernels of our own files in the emulator."""

    platform = None

    def __init__(self, code, options):
        self.stem = re.findall(r'^#line 1 "(\w+)\.cu"$', code, re.MULTILINE)[-1]
        assert "--fmad=false" in options
        (real,) = (option.removeprefix("-DREAL=") for option in options if option.startswith("-DREAL="))
        self.dtype = np.dtype({"float": np.float32, "double": np.float64}[real])

    def get_function(self, name):
        kernel = RawModule.platform.kernel(self.stem, name, self.dtype)

        def run(grid, block, args, shared_mem=0):
            assert (len(grid), block, type(args)) == (1, (256,), tuple)
            # CuPy passes a Python number with 8 bytes, whatever the kernel takes.
            assert all(isinstance(value, (ndarray, np.generic)) for value in args)
            values = [value._host if isinstance(value, ndarray) else value for value in args]
            RawModule.platform.run(kernel, grid[0], values, shared_mem)

        return run


class _Module(types.ModuleType):
    """cupy itself: NumPy's functions on wrapped arrays, where what makes arrays brings them to the device."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value
        return lambda *args, **kwargs: _wrap(value(*_unwrap(args), **{k: _unwrap(v) for k, v in kwargs.items()}))

    @staticmethod
    def asarray(value, dtype=None):
        if isinstance(value, ndarray):
            return value if dtype is None else value.astype(dtype, copy=False)
        return ndarray(np.array(value, dtype=dtype))

    @staticmethod
    def ascontiguousarray(value, dtype=None):
        if isinstance(value, ndarray):
            host = np.ascontiguousarray(value._host, dtype)
            return value if host is value._host else ndarray(host)
        return ndarray(np.array(value, dtype=dtype, order="C"))


def make(devices=1, free=2**33, orders=("forward",)):
    """A fresh module to be put in ``sys.modules["cupy"]``."""
    RawModule.platform = emulator.Emulator(orders)
    cupy = _Module("cupy")
    cupy.__version__, cupy.ndarray, cupy.RawModule = "14.0.0", ndarray, RawModule
    cupy.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0)

    def count():
        if devices is None:
            raise CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return devices

    runtime = types.SimpleNamespace(
        getDeviceCount=count,
        CUDARuntimeError=CUDARuntimeError,
        memGetInfo=lambda: (free, 2**34),
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 12080,
        getDeviceProperties=lambda device: {"name": b"Double", "major": 9, "minor": 0},
    )
    current = types.SimpleNamespace(id=0, attributes={"MultiProcessorCount": 1})
    cupy.cuda = types.SimpleNamespace(runtime=runtime, Device=lambda *number: current)
    return cupy
