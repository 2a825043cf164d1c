"""Arrays as the CPU kernels want them."""


def plain(array, dtype=None):
    """The array as the kernels are compiled for it: contiguous and writeable. Nothing is written to it."""
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    return array if array.flags.carray else array.copy()
