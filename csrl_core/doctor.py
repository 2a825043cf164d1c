"""What ``csrl doctor`` says about this machine and a Dask cluster: versions, backends, threads, cache; and --warm."""

import os
import pkgutil
import platform
import sys
import time
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from csrl_core._version import __version__

CORE = ("numpy", "scipy", "numba", "scikit-learn", "safetensors")
OPTIONAL = {
    "typer": "cli",
    "rich": "cli",
    "matplotlib": "plot",
    "dask": "dask",
    "distributed": "dask",
    "torch": "oracle",
    "cupy-cuda12x": "cuda12",
    "cupy-cuda13x": "cuda13",
}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def examine(scheduler=None):
    """All findings: dict of section → list of (name, finding, whether it is as it should be or None).

    scheduler : address of a Dask cluster's; by default that of the client in use, if there is one
    """
    findings = {
        "versions": versions(),
        "backends": backends(),
        "models": models(),
        "CUDA": cuda(),
        "threads": threads(),
        "JIT cache": cache(),
        "data": data(),
    }
    return findings | dask_cluster(scheduler)


def versions():
    """Python, csrl_core, and what they stand on."""
    rows = [
        ("python", f"{sys.version.split()[0]} ({platform.system()} {platform.machine()})", sys.version_info >= (3, 11)),
        ("csrl_core", f"{__version__} in {Path(__file__).parent}", None),
    ]
    for name in CORE:
        installed = _version(name)
        rows.append((name, installed or "not installed; pip install csrl_core installs it", installed is not None))
    for name, extra in OPTIONAL.items():
        rows.append((name, _version(name) or f"not installed (optional: pip install 'csrl_core[{extra}]')", None))
    return rows


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def backends():
    """Each backend, and why it cannot be used if it cannot; only numpy and numba must be usable."""
    from csrl_core import backends as backend
    from csrl_core import contract

    rows = []
    for name in backend.BACKENDS:
        try:
            resolved = backend.get(name)
            for stem in contract.STEMS:
                if stem not in resolved.missing:
                    resolved.kernels(stem)
            finding, good = "usable" + (" (what 'auto' takes)" if name == backend.AUTO else ""), True
            finding += f"; no kernels of {', '.join(resolved.missing)}" if resolved.missing else ""
        except Exception as error:  # whatever is wrong with a backend is what is asked for here
            finding, good = f"not usable: {error}", False if name in ("numpy", "numba") else None
        rows.append((name, finding, good))
    return rows


def models():
    """The estimators that csrl fit finds, and the files of estimators that cannot be used."""
    from csrl_core import estimators

    classes, faults = estimators.ready()
    rows = [(name, kind.__name__, True) for name, kind in classes.items()]
    return rows + [(name, fault, False) for name, fault in faults.items()]


def cuda():
    """Driver, device, CUDA and CuPy versions, and what the emulator needs; none of it is needed by the others."""
    from csrl_core.kernels.gpu._platform import device, emulator
    from csrl_core.kernels.gpu._platform.launch import DeviceError

    rows = [("CuPy packages", ", ".join(f"{n} {v}" for n, v in sorted(device.wheels().items())) or "none", None)]
    try:
        rows += [(name, finding, None) for name, finding in device.describe()]
    except DeviceError as error:
        rows.append(("device", f"none usable: {error}", None))
    try:
        emulator.check_host()
        rows += [("C++ compiler", emulator.compiler(), None), ("emulator's cache", str(emulator.cache_folder()), None)]
    except DeviceError as error:
        rows.append(("C++ compiler", f"not usable: {error}", None))
    return rows


def threads():
    """Cores, and how many threads each library takes."""
    import numpy  # noqa: F401  (threadpoolctl lists what is loaded)
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

    from csrl_core.backends import usable_threads

    rows = [("cores", f"{usable_threads(-1)} usable of {os.cpu_count()}", None)]
    rows += [(name, os.environ.get(name, "not set"), None) for name in THREAD_VARIABLES]
    for pool in threadpool_info():
        name = f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        rows.append((name, f"{pool['num_threads']} threads, {Path(pool['filepath']).name}", None))
    try:
        from numba import config

        rows.append(("numba", f"{config.NUMBA_NUM_THREADS} threads, layer {config.THREADING_LAYER}", None))
    except ImportError as error:
        rows.append(("numba", f"cannot be imported: {error}", False))
    return rows


def dask_cluster(address=None):
    """The workers of a Dask cluster, and what they have in other versions: a section; none without address or client.

    address : of the scheduler; None: the client in use
    """
    from csrl_core.training.dask import examination

    rows = examination.of_cluster(address)
    return {"Dask cluster": rows} if rows else {}


def cache_folders():
    """Where Numba keeps compiled kernels: sorted list of paths, one for each folder of kernels that are cached."""
    from csrl_core.kernels import cpu

    names = [module.name for module in pkgutil.walk_packages(cpu.__path__, f"{cpu.__name__}.")]
    values = [value for name in names for value in list(vars(import_module(name)).values())]
    kernels = [value for value in values if type(value).__name__ == "CPUDispatcher"]
    return sorted({Path(kernel.stats.cache_path) for kernel in kernels if kernel.stats.cache_path})


def cache():
    """Where compiled kernels lie, and whether they can be kept."""
    try:
        folders = cache_folders()
    except (ImportError, RuntimeError) as error:  # no Numba, or no place where it can keep anything
        return [("folder", f"none: {error}", False)]
    if not folders:
        return [("folder", "none: no kernel is cached, each process compiles anew", False)]
    compiled = [path for folder in folders for path in folder.glob("*.nb[ic]") if path.is_file()]
    size = sum(path.stat().st_size for path in compiled)
    writable = all(os.access(_nearest(folder), os.W_OK) for folder in folders)
    advice = "" if writable else "; set NUMBA_CACHE_DIR to a folder that is"
    shared = Path(os.path.commonpath(folders))
    return [
        ("folder", str(shared) if len(folders) == 1 else f"{len(folders)} folders in {shared}", None),
        ("writable", ("yes" if writable else "no") + advice, writable),
        ("kept", f"{len(compiled)} files, {size / 2**20:.1f} MiB", None),
    ]


def _nearest(folder):
    """The folder itself, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def warm(say, dtypes=("float64", "float32")):
    """Compile all that default fits of the estimators need, so that no later fit has to: tiny fits, kept nowhere.

    Parameters
    ----------
    say : callable
        Takes a line about each estimator.
    dtypes : sequence of str
        Of the data to come.

    Returns
    -------
    bool
        Whether all of them could be fitted.
    """
    from csrl_core import estimators
    from csrl_core.training import compiling

    classes, faults = estimators.ready()
    for fault in faults.values():
        say(fault)
    fine, begin = not faults, time.perf_counter()
    for kind in classes.values():
        with compiling.announced(say, kind) as compiled:
            try:
                for dtype in dtypes:
                    _fit_all_ways(kind, dtype)
            except Exception as error:  # whatever is wrong with one estimator, the others can be compiled
                say(f"{kind.__name__}: {type(error).__name__}: {error}")
                fine = False
                continue
        what = f"{compiled.functions} functions compiled in {compiled.seconds:.1f} s"
        say(f"{kind.__name__}: {what if compiled.functions else 'all was compiled before'}")
    say(f"done in {time.perf_counter() - begin:.1f} s: fits of {' and '.join(dtypes)} data compile nothing more")
    return fine


# Samples and features of tiny fits: few and many of either, as kernels are chosen by shape.
WARM_SHAPES = ((150, 4), (16010, 40), (150, 56), (150, 100))


def _fit_all_ways(kind, dtype):
    """Fit and ask a default estimator, of one cluster and of several, on data of every shape."""
    for n, d in WARM_SHAPES:
        for n_clusters in (1, 2) if _takes_one_cluster(kind) else (2,):
            model, rows = _fit_tiny(kind, n, d, dtype, n_clusters=n_clusters)
            model.predict(rows), model.transform(rows), model.transform_all(rows), model.score(rows)
            if hasattr(model, "reconstruct"):
                model.reconstruct(rows)


def _takes_one_cluster(kind):
    from sklearn.utils._param_validation import validate_parameter_constraints

    try:
        constraints = getattr(kind, "_parameter_constraints", {})  # a broken file may lack them: its fit will say so
        validate_parameter_constraints(constraints, {"n_clusters": 1}, kind.__name__)
    except ValueError:
        return False
    return True


def _fit_tiny(kind, n, d, dtype, **arguments):
    """(fitted estimator, some rows of its data)."""
    import inspect
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    X = np.random.default_rng(0).random((n, d)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        others = {"background": X} if "background" in inspect.signature(kind.fit).parameters else {}
        short = {"epochs": 1} | ({"ais_betas": 3} if "ais_betas" in inspect.signature(kind).parameters else {})
        return kind(**short, random_state=0, **arguments).fit(X, **others), X[:100]


def compile_ahead(kind, backend, say, d=4, dtype="float64", **arguments):
    """Compile what small data need of an estimator in this process: others that it starts find it in the cache.

    d, dtype : of these data; arguments : of the estimator
    """
    from csrl_core.training import compiling

    with compiling.announced(say, kind(**arguments), backend):
        _fit_tiny(kind, 60, d, dtype, backend=backend, **arguments)


def data():
    """The folder of real data, and which sets lie in it."""
    from csrl_core import datasets
    from csrl_core.datasets.folder import FILES

    folder = os.environ.get(datasets.DATA_VARIABLE)
    rows = [(datasets.DATA_VARIABLE, folder or "not set; penguins, MNIST and Fashion-MNIST need it", None)]
    if folder and not Path(folder).is_dir():
        rows[0] = (datasets.DATA_VARIABLE, f"{folder} is no folder", False)
    for name in datasets.NAMES:
        here = "built in" if name not in FILES else "found" if datasets.available(name) else "no files"
        rows.append((name, here, None))
    return rows
