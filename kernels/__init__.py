"""Compiled twins of ``csrl_core.reference``: ``cpu`` (Numba) and ``gpu`` (CuPy and CUDA C++).

Imported as ``csrl_core.kernels``. The folder stands beside the package in a checkout and inside it
in an installation, so any other import name is refused: no module is ever loaded twice.
"""

if __name__ != "csrl_core.kernels":
    raise ImportError(f"import csrl_core.kernels, not {__name__!r} (the name belongs to another package)")
