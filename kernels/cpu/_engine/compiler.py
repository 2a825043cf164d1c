"""Whether functions can be compiled here. ``backend="numpy"`` needs the threads' context alone, and no Numba."""

try:
    from numba import config

    missing = (
        "backend='numba' compiles nothing while NUMBA_DISABLE_JIT is set; unset it, or take backend='numpy', which "
        "computes the same in plain NumPy"
        if config.DISABLE_JIT
        else None
    )
except ImportError as error:
    missing = (
        f"backend='numba' needs Numba, which cannot be imported ({error}); pip install numba, or take "
        f"backend='numpy', which needs none"
    )
